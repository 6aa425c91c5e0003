/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of two runs of one workflow id is the current one. Pure.
 *
 * Runs are ordered by version (of the close event, else of the last event), then by where the
 * source wrote them (epoch, commit number); never by wall clock. All clusters see the same numbers,
 * so all choose the same run.
 */
#ifndef CONFLICT_RUN_ORDER_H
#define CONFLICT_RUN_ORDER_H

#include "conflict/resolver.h"

enum run_order {
    RUN_OLDER,
    RUN_EQUAL, /* the numbers do not tell */
    RUN_NEWER,
};

/** How the incoming run relates to the current one, which must exist. */
enum run_order run_order(
    const struct conflict_incoming *incoming, const struct conflict_current *current);

/** What becomes of a run that begins. */
struct run_place {
    bool zombie;   /* it loses: not the current run */
    bool suppress; /* it wins against an open run */
};
struct run_place run_place(
    const struct conflict_incoming *incoming, const struct conflict_current *current);

#endif
