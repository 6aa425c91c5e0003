/* SPDX-License-Identifier: Apache-2.0
 *
 * A driver that wraps any other and makes calls fail, on purpose and repeatably.
 *
 *   struct store_fault *fault = store_fault_new(&options, seed);
 *   store_fault_options(fault, &options);          now open the store with these
 *   store_fault_arm(fault, &(struct store_fault_rule){
 *       .calls = STORE_FAULT_COMMIT, .action = STORE_FAULT_LOSE_ANSWER, .number = 3});
 *
 * Any thread. Which call is the k-th is certain only where calls have an order: one session, or a
 * stepped store.
 */
#ifndef CLUSTER_STORE_STORE_FAULT_H
#define CLUSTER_STORE_STORE_FAULT_H

#include "cluster/store/store.h"

/* Calls, as a set. */
#define STORE_FAULT_COMMIT     1u
#define STORE_FAULT_GET        2u
#define STORE_FAULT_SCAN       4u
#define STORE_FAULT_DUE        8u
#define STORE_FAULT_LIST       16u
#define STORE_FAULT_COUNT      32u
#define STORE_FAULT_TAKE_SHARD 64u
#define STORE_FAULT_READS \
    (STORE_FAULT_GET | STORE_FAULT_SCAN | STORE_FAULT_DUE | STORE_FAULT_LIST | STORE_FAULT_COUNT)
#define STORE_FAULT_ALL (STORE_FAULT_READS | STORE_FAULT_COMMIT | STORE_FAULT_TAKE_SHARD)

enum store_fault_action {
    STORE_FAULT_FAIL,        /* executes nothing, reports `err` */
    STORE_FAULT_LOSE_ANSWER, /* executes, then reports ERR_UNKNOWN_COMMIT (reads: unavailable) */
    STORE_FAULT_LOSE_CALL,   /* executes nothing, reports the same */
    STORE_FAULT_DELAY,       /* sleeps, then executes; no effect on a stepped store */
};

/** When, and what. Among the calls of the set made since it was armed, the `number`-th and the
 *  `repeat` - 1 after it fail; or, when number is 0, each with the given probability. */
struct store_fault_rule {
    unsigned calls;
    enum store_fault_action action;
    uint64_t number;      /* from 1; 0 = by probability */
    uint64_t repeat;      /* 0 = 1 */
    uint32_t per_million; /* probability, when number is 0 */
    enum err err;         /* FAIL */
    int64_t delay_ns;     /* DELAY */
};

#define STORE_FAULT_RULES_MAX 16

struct store_fault;

/** Wraps options->driver; what the options point to must outlive the fault. */
struct store_fault *store_fault_new(const struct store_options *options, uint64_t seed);
/** After the store was closed. NULL is ignored. */
void store_fault_free(struct store_fault *fault);
/** The wrapped options, with the fault driver in front. */
void store_fault_options(struct store_fault *fault, struct store_options *ret_options);
/** Adds a rule; the first that fires counts. */
void store_fault_arm(struct store_fault *fault, const struct store_fault_rule *rule);
/** Forgets all rules. */
void store_fault_disarm(struct store_fault *fault);
/** Calls made so far, and those on which a rule fired. */
uint64_t store_fault_calls(struct store_fault *fault);
uint64_t store_fault_fired(struct store_fault *fault);

#endif
