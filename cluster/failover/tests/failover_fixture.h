/* SPDX-License-Identifier: Apache-2.0
 *
 * Three clusters in one thread, each with memory store, stepped engine, registry and failover, and
 * between them peers that do what the test says instead of a replicator.
 */
#ifndef CLUSTER_FAILOVER_TESTS_FAILOVER_FIXTURE_H
#define CLUSTER_FAILOVER_TESTS_FAILOVER_FIXTURE_H

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/failover/failover_private.h"

#define WORLD_CLUSTERS 3
#define WORLD_SHARDS   4

enum { US, EU, AP };

/** How a failover ended; text in the world's arena. */
struct outcome {
    int times;
    enum grpc_code code;
    const char *message;
    Replication__FailoverResult *detail;
};

struct member {
    struct env env;
    struct env engine_env; /* a clock that runs while the world settles: commits are paced */
    struct memory_database *database;
    struct store *store;
    struct federation federation;
    struct registry *registry;
    struct engine *engine;
    struct failover *failover;
    bool down;          /* does not answer peers */
    int calls;          /* requests it was asked */
    int grants_to_lose; /* grants it answers with silence */
};

struct world {
    int64_t wall_ns;
    int64_t mono_ns;
    int64_t engine_ns; /* how far the engines' clock is ahead */
    uint64_t random;
    struct metrics *metrics;
    struct arena arena;
    struct federation_cluster clusters[WORLD_CLUSTERS];
    struct member members[WORLD_CLUSTERS];
    bool apply_barriers; /* the targets report barriers as soon as they are stored */
    int64_t dead_letters;
    int64_t known_seq; /* of every shard of the source; 3 of them applied */
};

extern struct world *world;

int world_setup(void **state);
int world_teardown(void **state);
/** Steps everything until nothing moves at this time. */
void world_settle(void);
void world_advance_ms(int64_t ms);
/** Creates "orders" in all three clusters, active in us; ap is one of its clusters when `ap`. */
void world_create(bool ap);
/** The record as a cluster has it. */
Record__Namespace *world_record(int cluster);
/** Starts one at a cluster; `outcome` is filled when it ends. */
void world_start(int cluster, const struct failover_request *request, struct outcome *outcome);
/** Starts and settles. */
struct outcome world_failover(int cluster, const char *target, bool force, bool accept_loss);
/** Barriers in a cluster's outbox rows of this handover; "" = all. */
int world_barriers(int cluster, const char *handover_id);

#endif
