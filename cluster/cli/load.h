/* SPDX-License-Identifier: Apache-2.0
 *
 * The client side of `strait load`: starts or signals workflows, waits for their results, measures.
 */
#ifndef CLUSTER_CLI_LOAD_H
#define CLUSTER_CLI_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/rpc/rpc_client.h"

enum load_scenario { LOAD_NOOP, LOAD_ACTIVITY, LOAD_SIGNAL, LOAD_TIMER };

struct load_options {
    struct rpc_client *client;
    const char *namespace_name;
    const char *task_queue;
    enum load_scenario scenario;
    int concurrency; /* closed loop: operations under way */
    double rate;     /* open loop: operations per second; 0 = closed loop */
    double seconds;
    int64_t limit; /* stop after so many operations; 0 = by time only */
    int payload_bytes;
    int signal_targets; /* workflows that share the signals */
    const char *id_prefix;
};

#define LATENCY_BUCKETS 512

/** Log-linear histogram of nanoseconds: 16 buckets per power of two, so within 6 %. */
struct latency {
    _Atomic(int64_t) buckets[LATENCY_BUCKETS];
    _Atomic(int64_t) count;
};

void latency_add(struct latency *latency, int64_t ns);
/** The q-quantile (0 to 1) in milliseconds; 0 when empty. */
double latency_quantile_ms(const struct latency *latency, double q);

struct load_result {
    double seconds;            /* measured, until the last answer */
    _Atomic(int64_t) started;  /* starts (or signals) acknowledged */
    _Atomic(int64_t) finished; /* workflows seen closed with the right result; signals: = started */
    _Atomic(int64_t) wrong;    /* closed otherwise, or with another result */
    _Atomic(int64_t) errors;   /* calls that failed */
    _Atomic(int64_t) late;     /* open loop: operations begun later than due by over 10 ms */
    char first_error[200];
    struct latency start; /* the start (or signal) call */
    struct latency whole; /* start until the result is known */
};

/** Runs the load; blocks. The result is the caller's and zeroed by it. */
void load_run(const struct load_options *options, struct load_result *ret_result);

#endif
