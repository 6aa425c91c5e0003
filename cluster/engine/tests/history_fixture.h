/* SPDX-License-Identifier: Apache-2.0
 *
 * A generator of valid random histories: batches as an executor would write them, and the state
 * that folding them event by event gave.
 */
#ifndef CLUSTER_ENGINE_TESTS_HISTORY_FIXTURE_H
#define CLUSTER_ENGINE_TESTS_HISTORY_FIXTURE_H

#include "cluster/engine/fold.h"

#define HISTORY_BATCHES_MAX 256

/** One generated history. */
struct history_fixture {
    uint64_t random;
    int64_t now_ns;
    int64_t version;
    int counter; /* for unique ids */
    struct run *run;
    struct blob *batches[HISTORY_BATCHES_MAX];
    size_t batch_count;
};

/** From the environment's TEST_SEED or the clock; prints how to replay. */
uint64_t history_seed(void);
uint64_t history_random(struct history_fixture *fixture, uint64_t bound);

/** A run with its Started event and first workflow task. */
void history_begin(struct history_fixture *fixture, uint64_t seed);
/** Adds one batch of a random kind; false when the run is closed or full. */
bool history_grow(struct history_fixture *fixture);
void history_release(struct history_fixture *fixture);

/** An empty run with the fixture's ids. */
struct run *history_new_run(const struct history_fixture *fixture);
/** run_describe as a string of the heap. */
char *history_text(const struct run *run);

#endif
