/* SPDX-License-Identifier: Apache-2.0
 *
 * Version histories: which failover version wrote which events of a line.
 */
#ifndef CONFLICT_VERSION_HISTORY_H
#define CONFLICT_VERSION_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The last event id written at a version. */
struct version_item {
    int64_t event_id;
    int64_t version;
};

/** Items strictly increasing in both fields. A view. */
struct version_history {
    const struct version_item *items;
    size_t count;
};

/** Both fields strictly increasing and positive, at least one item. */
bool version_history_valid(struct version_history history);
/** The last item; {0, 0} when empty. */
struct version_item version_history_last(struct version_history history);
/** The version that wrote the event; 0 when it is not in the history. */
int64_t version_history_version_of(struct version_history history, int64_t event_id);
/** Lowest common ancestor: the last event that both lines share. False: they share none. */
bool version_history_common(
    struct version_history a, struct version_history b, struct version_item *ret_common);
bool version_history_contains(struct version_history history, struct version_item item);

#endif
