/* SPDX-License-Identifier: Apache-2.0
 *
 * Two lines share everything up to their lowest common ancestor and nothing behind it. It is found
 * from the front: event n of two lines is one event when all items before its own are equal and its
 * own version is. For lines whose versions were each written by one cluster, comparing from the
 * tails would give the same; for others (two writers with one version) it would not.
 */
#include "conflict/version_history.h"

bool version_history_valid(struct version_history history)
{
    struct version_item last = {0, 0};
    for (size_t i = 0; i < history.count; i++) {
        struct version_item item = history.items[i];
        if (item.event_id <= last.event_id || item.version <= last.version)
            return false;
        last = item;
    }
    return history.count > 0;
}

struct version_item version_history_last(struct version_history history)
{
    if (history.count == 0)
        return (struct version_item){0, 0};
    return history.items[history.count - 1];
}

int64_t version_history_version_of(struct version_history history, int64_t event_id)
{
    if (event_id < 1)
        return 0;
    for (size_t i = 0; i < history.count; i++) {
        if (event_id <= history.items[i].event_id)
            return history.items[i].version;
    }
    return 0;
}

bool version_history_common(
    struct version_history a, struct version_history b, struct version_item *ret_common)
{
    struct version_item common = {0, 0};
    for (size_t i = 0; i < a.count && i < b.count; i++) {
        struct version_item x = a.items[i];
        struct version_item y = b.items[i];
        if (x.version != y.version)
            break;
        common = x.event_id < y.event_id ? x : y;
        if (x.event_id != y.event_id)
            break;
    }
    if (common.event_id == 0)
        return false;
    *ret_common = common;
    return true;
}

bool version_history_contains(struct version_history history, struct version_item item)
{
    return item.version > 0 && version_history_version_of(history, item.event_id) == item.version;
}
