/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a piece of history belongs among the branches of a run. Pure.
 */
#ifndef CONFLICT_BRANCH_H
#define CONFLICT_BRANCH_H

#include <stdbool.h>
#include <stddef.h>

#include "conflict/resolver.h"

/** The branch nearest to an incoming line. */
struct branch_place {
    size_t index;               /* in run->branches */
    struct version_item common; /* the last event that both share */
    bool known;                 /* the branch has every event of the incoming line */
    bool appendable;            /* it ends where the incoming line goes on */
};

/** Chooses the branch with the highest common event; on a tie the shorter one, which is the one
 *  that can be appended to. False: no branch shares an event with the line. */
bool branch_find(const struct conflict_run *run, struct version_history incoming,
    struct branch_place *ret_place);
/** A version that wrote events behind `common` in both lines: two writers used it. 0 = none. */
int64_t branch_shared_version(
    struct version_history a, struct version_history b, struct version_item common);

#endif
