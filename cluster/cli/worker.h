/* SPDX-License-Identifier: Apache-2.0
 *
 * A small worker on raw gRPC: runs workflows whose type spells their steps. For `strait load` and
 * `strait demo`; real workers use the SDKs.
 *
 * A type is "steps-" and then one letter per step: a = an activity that returns its input, t = a
 * timer; after the last step the workflow completes with its input. "steps-" alone completes at
 * once. The type "signals" completes when the signal "finish" arrives.
 */
#ifndef CLUSTER_CLI_WORKER_H
#define CLUSTER_CLI_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/rpc/rpc_client.h"

struct worker;

struct worker_options {
    struct rpc_client *client; /* outlives the worker */
    const char *namespace_name;
    const char *task_queue;
    const char *identity;
    int workflow_pollers;
    int activity_pollers;
    bool sticky;      /* keep runs on a queue of this worker */
    int64_t timer_ms; /* of every t step */
};

/** Counters; may be read while the worker runs. */
struct worker_stats {
    _Atomic(int64_t) workflow_tasks;
    _Atomic(int64_t) activities;
    _Atomic(int64_t) completed;  /* workflows this worker completed, acknowledged */
    _Atomic(int64_t) mismatches; /* an activity result was not the input */
    _Atomic(int64_t) errors;     /* failed calls other than polls that ended empty */
};

/** Starts polling. Thread-safe from then on; callbacks run on the client's threads. */
struct worker *worker_open(const struct worker_options *options);
const struct worker_stats *worker_stats(const struct worker *worker);
/** Stops polling, waits for calls under way (up to the poll's few seconds), frees. */
void worker_close(struct worker *worker);

/** A Payloads message with one json/plain payload of `len` bytes (a JSON string). */
struct bytes worker_payload(struct arena *arena, const char *text, size_t len);

#endif
