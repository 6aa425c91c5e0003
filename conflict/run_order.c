/* SPDX-License-Identifier: Apache-2.0 */
#include "conflict/run_order.h"

enum run_order run_order(
    const struct conflict_incoming *incoming, const struct conflict_current *current)
{
    if (incoming->version != current->version)
        return incoming->version > current->version ? RUN_NEWER : RUN_OLDER;
    if (!incoming->source_commit_no || !current->source_commit_no)
        return RUN_EQUAL; /* one of them was written before these were recorded */
    if (incoming->source_epoch != current->source_epoch)
        return incoming->source_epoch > current->source_epoch ? RUN_NEWER : RUN_OLDER;
    if (incoming->source_commit_no != current->source_commit_no)
        return incoming->source_commit_no > current->source_commit_no ? RUN_NEWER : RUN_OLDER;
    return RUN_EQUAL;
}

/* One writer starts a run only when the one before is closed. So behind a closed run an equal order
 * means that the next one arrives; against an open run it means that an old one arrives late. */
struct run_place run_place(
    const struct conflict_incoming *incoming, const struct conflict_current *current)
{
    struct run_place place = {false, false};
    if (!current->exists)
        return place;
    enum run_order order = run_order(incoming, current);
    if (order == RUN_EQUAL)
        order = current->open && !current->continued_as_incoming ? RUN_OLDER : RUN_NEWER;
    place.zombie = order == RUN_OLDER;
    place.suppress = order == RUN_NEWER && current->open;
    return place;
}
