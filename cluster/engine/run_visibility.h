/* SPDX-License-Identifier: Apache-2.0
 *
 * What a list shows of a run.
 */
#ifndef CLUSTER_ENGINE_RUN_VISIBILITY_H
#define CLUSTER_ENGINE_RUN_VISIBILITY_H

#include "cluster/engine/run.h"

/** Fills the row with views into the run and the arena. */
void run_visibility_row(const struct run *run, struct arena *arena, struct visibility_row *ret_row);

#endif
