/* SPDX-License-Identifier: Apache-2.0
 *
 * Two lines share everything up to their lowest common ancestor and nothing behind it, because one
 * version is written by one cluster only, which never writes two different events with one id. So
 * the ancestor is found by versions alone, from the tail: equal versions share the shorter part.
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
    size_t i = a.count;
    size_t k = b.count;
    while (i > 0 && k > 0) {
        struct version_item x = a.items[i - 1];
        struct version_item y = b.items[k - 1];
        if (x.version == y.version) {
            *ret_common = x.event_id < y.event_id ? x : y;
            return true;
        }
        if (x.version > y.version)
            i--;
        else
            k--;
    }
    return false;
}

bool version_history_contains(struct version_history history, struct version_item item)
{
    return item.event_id > 0 && version_history_version_of(history, item.event_id) == item.version;
}
