/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole clusters in one process on a clock that only tests move: engine, registry and replicator
 * over memory stores, with one memory NATS each. Numbers of shards differ on purpose.
 */
#ifndef REPLICATOR_TESTS_SITES_FIXTURE_H
#define REPLICATOR_TESTS_SITES_FIXTURE_H

#include "cluster/base/tests/support_cmocka.h"

#include "cluster/namespace/registry.h"
#include "replicator/bus_memory.h"
#include "replicator/replicator.h"

#define SITES     2
#define US        0
#define EU        1
#define START_NS  (1700000000ll * NS_PER_S)
#define SHARDS_US 4
#define SHARDS_EU 3
#define NAMESPACE "orders"

/** One cluster. */
struct site {
    int index;
    struct federation federation;
    struct federation_cluster clusters[SITES];
    struct bus_memory_hub *hub; /* its NATS; the others connect to it too */
    struct memory_database *database;
    struct store *store;
    struct metrics *metrics;
    struct registry *registry;
    struct engine *engine;
    struct replicator *replicator;
    int32_t shards;
    bool up;
    bool offline; /* comes back without a connection to its own NATS */
};

struct sites {
    struct env env;
    int64_t now_ns; /* wall and monotonic */
    uint64_t random;
    struct config_replication config;
    struct site site[SITES];
    struct uuid namespace_id;
    struct arena arena;
};

extern struct sites *sites;

int sites_setup(void **state);
int sites_teardown(void **state);

/** A crash: memory is gone, the database stays; and its return. */
void site_stop(int index);
void site_start(int index);
/** Lets everything run for so long. */
void sites_run(int64_t ms);
/** Runs until the condition holds; fails the test after 60 s of its clock. */
void sites_until(bool (*done)(void *ctx), void *ctx);
/** Runs until all is drained and applied in all directions. */
void sites_drain(void);
/** Cuts or restores the connection from one cluster to the NATS of another. */
void sites_connect(int from, int to, bool connected);

/** Creates the global namespace, active at `active`. */
void sites_namespace(int active);
/** Makes another cluster active, by a change there, as a forced failover does. */
void sites_activate(int index);

/** Calls on a cluster; the outcome's code. */
enum grpc_code site_start_workflow(int index, const char *workflow_id);
enum grpc_code site_signal(int index, const char *workflow_id, size_t bytes);
enum grpc_code site_terminate(int index, const char *workflow_id);
/** "w<i>"; until the next call. */
const char *workflow_name(int i);
/** Starts the workflows [from, to) and signals each three times. */
void sites_work(int active, int from, int to);

/** All rows of a table of a cluster, as readable text without shards; of the test's arena. */
const char *site_table(int index, enum table table);
size_t site_rows(int index, enum table table);
/** Histories and current runs of both clusters are the same bytes. */
void assert_alike(void);
/** Runs the operation on the cluster's store, now. */
void site_store(int index, struct store_op *op);
/** Adds an item to a shard's outbox, as the failover does with barriers. */
void site_outbox_add(int index, int32_t shard, Record__OutboxItem *item);

#endif
