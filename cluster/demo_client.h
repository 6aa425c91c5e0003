/* SPDX-License-Identifier: Apache-2.0
 *
 * The demo's own client: starts workflows at a steady rate wherever the namespace accepts them, and
 * remembers what was acknowledged.
 */
#ifndef CLUSTER_DEMO_CLIENT_H
#define CLUSTER_DEMO_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/rpc/rpc_client.h"

#define DEMO_CLUSTERS 2

struct demo_client;

struct demo_client_options {
    const char *addresses[DEMO_CLUSTERS];
    const char *namespace_name;
    const char *task_queue;
    const char *workflow_type;
    int rate; /* starts per second */
};

struct demo_counts {
    int64_t accepted;       /* starts acknowledged */
    int64_t longest_gap_ns; /* between two acknowledged starts */
};

/** What the two clusters hold of the accepted workflows. */
struct demo_comparison {
    int64_t workflows;
    int64_t completed[DEMO_CLUSTERS];
    int64_t missing[DEMO_CLUSTERS]; /* accepted, not found */
    int64_t equal;                  /* histories equal, byte by byte */
    int64_t events;
};

NODISCARD enum err demo_client_open(const struct demo_client_options *options,
    struct demo_client **ret_client, char ret_reason[256]);
void demo_client_close(struct demo_client *client);
/** Runs the starting thread until demo_client_pause(). */
void demo_client_resume(struct demo_client *client);
void demo_client_pause(struct demo_client *client);
struct demo_counts demo_client_counts(struct demo_client *client);
/** Forgets the longest gap, to measure one phase. */
void demo_client_reset_gap(struct demo_client *client);
/** Reads the history of every accepted workflow from both clusters. While paused. */
void demo_client_compare(struct demo_client *client, struct demo_comparison *ret_comparison);
struct rpc_client *demo_client_rpc(struct demo_client *client, int cluster);

#endif
