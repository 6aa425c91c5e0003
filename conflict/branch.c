/* SPDX-License-Identifier: Apache-2.0 */
#include "conflict/branch.h"

static bool nearer(
    const struct conflict_run *run, const struct branch_place *a, const struct branch_place *b)
{
    if (a->common.event_id != b->common.event_id)
        return a->common.event_id > b->common.event_id;
    return run->branches[a->index].next_event_id < run->branches[b->index].next_event_id;
}

bool branch_find(
    const struct conflict_run *run, struct version_history incoming, struct branch_place *ret_place)
{
    bool found = false;
    int64_t incoming_last = version_history_last(incoming).event_id;
    for (size_t i = 0; i < run->branch_count; i++) {
        struct branch_place place = {.index = i};
        if (!version_history_common(run->branches[i].history, incoming, &place.common))
            continue;
        place.known = place.common.event_id == incoming_last;
        place.appendable = place.common.event_id + 1 == run->branches[i].next_event_id;
        if (found && !nearer(run, &place, ret_place))
            continue;
        *ret_place = place;
        found = true;
    }
    return found;
}

int64_t branch_shared_version(
    struct version_history a, struct version_history b, struct version_item common)
{
    for (size_t i = 0; i < a.count; i++) {
        if (a.items[i].event_id <= common.event_id)
            continue;
        for (size_t k = 0; k < b.count; k++) {
            if (b.items[k].event_id > common.event_id && b.items[k].version == a.items[i].version)
                return a.items[i].version;
        }
    }
    return 0;
}
