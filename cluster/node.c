/* SPDX-License-Identifier: Apache-2.0
 *
 * The composition root.
 *
 * Threads: one loop per executor (the first also steps matching), one service loop (frontend,
 * replicator, failover), gRPC's completion threads, one thread per database session, the NATS
 * clients' own. Start order is the order of dependencies, stop order its reverse; both are written
 * down in cluster/README.md.
 */
#include "cluster/node.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/metrics.h"
#include "cluster/base/thread.h"
#include "cluster/base/uuid.h"
#include "cluster/engine/executor.h"
#include "cluster/failover/failover.h"
#include "cluster/frontend/admin.h"
#include "cluster/frontend/frontend.h"
#include "cluster/loop.h"
#include "cluster/matching/matching.h"
#include "cluster/namespace/registry.h"
#include "cluster/node_private.h"
#include "cluster/rpc/rpc_server.h"
#include "cluster/version.h"
#include "replicator/bus.h"
#include "replicator/replicator.h"

#define STOP_LIMIT_NS (30 * NS_PER_S)

/* ---- surroundings ---------------------------------------------------------------------------- */

static enum err open_buses(struct node *node, char reason[256])
{
    const struct config_federation *config = &node->config->federation;
    node->clusters = mem_zalloc(config->clusters_count, sizeof(*node->clusters));
    node->federation = (struct federation){.increment = config->increment,
        .count = (int)config->clusters_count,
        .clusters = node->clusters};
    for (unsigned i = 0; i < config->clusters_count; i++) {
        const struct config_cluster *cluster = &config->clusters[i];
        node->clusters[i].name = cluster->name;
        node->clusters[i].initial_version = cluster->initial_version;
        node->clusters[i].address = cluster->grpc ? cluster->grpc : "";
        if (strcmp(cluster->name, node->config->cluster.name) == 0)
            node->federation.self = (int)i;
        if (!cluster->nats.url)
            continue;
        char name[128];
        snprintf(name, sizeof(name), "strait-%s", node->config->cluster.name);
        struct bus_nats_options options = {.url = cluster->nats.url,
            .name = name,
            .user = cluster->nats.user,
            .password = cluster->nats.password,
            .token = cluster->nats.token,
            .credentials_file = cluster->nats.credentials_file,
            .nkey_seed_file = cluster->nats.nkey_seed_file,
            .tls_ca_file = cluster->nats.tls_ca_file,
            .tls_cert_file = cluster->nats.tls_cert_file,
            .tls_key_file = cluster->nats.tls_key_file};
        enum err err = bus_nats_open(&options, &node->clusters[i].bus, reason);
        if (err)
            return err;
        node->bus_count++;
    }
    return OK;
}

static const char *tls_mode(enum config_database_tls tls)
{
    switch (tls) {
    case CONFIG_TLS_PREFER:
        return "prefer";
    case CONFIG_TLS_DISABLE:
        return "disable";
    case CONFIG_TLS_REQUIRE:
        return "require";
    case CONFIG_TLS_VERIFY_FULL:
        return "verify-full";
    }
    return NULL;
}

static const struct store_driver *driver_of(enum config_driver driver)
{
    switch (driver) {
    case CONFIG_DRIVER_SQLITE:
        return store_driver_sqlite();
    case CONFIG_DRIVER_POSTGRES:
        return store_driver_postgres();
    case CONFIG_DRIVER_MARIADB:
        return store_driver_mariadb();
    case CONFIG_DRIVER_MEMORY:
        return store_driver_sqlite(); /* without a file it lives in memory */
    }
    return NULL;
}

static enum err open_store(struct node *node, char reason[256])
{
    const struct config_database *config = &node->config->database;
    struct store_options options = {.driver = driver_of(config->driver),
        .host = config->host,
        .port = (int)config->port,
        .socket = config->socket,
        .user = config->user,
        .password = config->password,
        .name = config->name,
        .file = config->driver == CONFIG_DRIVER_MEMORY ? NULL : config->file,
        .tls_mode = tls_mode(config->tls),
        .tls_ca_file = config->tls_ca_file,
        .readers = (int)config->pool_readers,
        .writers = (int)node->config->cluster.executors,
        .migrate = true,
        .metrics = node->metrics};
    return store_open(&options, &node->store, reason);
}

/* ---- the parts ------------------------------------------------------------------------------- */

static bool forward(void *ctx, struct call *call, const struct namespace_view *view)
{
    struct node *node = ctx;
    return frontend_forward(node->frontend, call, view);
}

static void deliver_task(void *ctx, struct task *task, struct poll *poll)
{
    struct node *node = ctx;
    frontend_matched(node->frontend, task, poll);
}

static void poll_empty(void *ctx, struct poll *poll)
{
    struct node *node = ctx;
    frontend_poll_empty(node->frontend, poll);
}

static void matching_room(void *ctx, struct uuid namespace_id)
{
    struct node *node = ctx;
    engine_offers_lost(node->engine, namespace_id);
}

static void matching_overflow(void *ctx, struct uuid namespace_id)
{
    (void)ctx;
    (void)namespace_id; /* what was dropped is offered again when there is room */
}

static enum err open_engine(struct node *node, char reason[256])
{
    int executors = (int)node->config->cluster.executors;
    struct waker **wakers = mem_zalloc((size_t)executors, sizeof(*wakers));
    node->loops = mem_zalloc((size_t)executors, sizeof(*node->loops));
    node->loop_count = executors;
    for (int i = 0; i < executors; i++) {
        node->loops[i] = loop_open(node->env, "executor");
        wakers[i] = loop_waker(node->loops[i]);
    }
    struct engine_options options = {.env = node->env,
        .store = node->store,
        .metrics = node->metrics,
        .namespaces = registry_source(node->registry),
        .sink = replicator_sink(node->replicator),
        .forward = {node, forward},
        .cluster_name = node->config->cluster.name,
        .node_id = node->id,
        .shards = (int32_t)node->config->cluster.shards,
        .executors = executors,
        .wakers = wakers,
        .cache_bytes_max = 256u * MIB};
    enum err err = engine_open(&options, &node->engine, reason);
    mem_free(wakers);
    if (err)
        return err;
    struct matching_options matching = {.env = node->env,
        .metrics = node->metrics,
        .waker = loop_waker(node->loops[0]),
        .sink = {node, deliver_task, poll_empty, matching_overflow, matching_room},
        .backlog_bytes_max = 64u * MIB};
    err = matching_open(&matching, &node->matching);
    if (err) {
        snprintf(reason, 256, "matching: %s", err_text(err));
        return err;
    }
    engine_set_matching(node->engine, node->matching);
    registry_set_engine(node->registry, node->engine);
    replicator_set_engine(node->replicator, node->engine);
    return OK;
}

static enum err open_service(struct node *node, char reason[256])
{
    struct waker *waker = loop_waker(node->service);
    struct failover_options failover = {.env = node->env,
        .registry = node->registry,
        .engine = node->engine,
        .replicator = node->replicator,
        .federation = &node->federation,
        .waker = waker,
        .handover_ms = node->config->failover.handover_ms};
    enum err err = failover_open(&failover, &node->failover);
    if (err) {
        snprintf(reason, 256, "failover: %s", err_text(err));
        return err;
    }
    struct frontend_options frontend = {.env = node->env,
        .engine = node->engine,
        .matching = node->matching,
        .registry = node->registry,
        .federation = &node->federation,
        .store = node->store,
        .metrics = node->metrics,
        .waker = waker,
        .config = node->config,
        .server_version = STRAIT_VERSION,
        .failover = {node, node_failover_call}};
    err = frontend_open(&frontend, &node->frontend, reason);
    if (err)
        return err;
    struct admin_options admin = {.env = node->env,
        .registry = node->registry,
        .engine = node->engine,
        .replicator = node->replicator,
        .failover = node->failover,
        .frontend = node->frontend,
        .federation = &node->federation,
        .config = node->config,
        .node_id = node->id,
        .database = store_driver_name(node->store),
        .server_version = STRAIT_VERSION};
    err = admin_open(&admin, &node->admin);
    if (err)
        snprintf(reason, 256, "admin service: %s", err_text(err));
    node_wire_peers(node);
    return err;
}

/* ---- start ----------------------------------------------------------------------------------- */

static int64_t step_executor(void *ctx, int64_t now)
{
    return executor_step(ctx, now);
}

static int64_t step_matching(void *ctx, int64_t now)
{
    return matching_step(ctx, now);
}

static int64_t step_frontend(void *ctx, int64_t now)
{
    return frontend_step(ctx, now);
}

static int64_t step_replicator(void *ctx, int64_t now)
{
    return replicator_step(ctx, now);
}

static int64_t step_failover(void *ctx, int64_t now)
{
    return failover_step(ctx, now);
}

static void start_loops(struct node *node)
{
    for (int i = 0; i < node->loop_count; i++)
        loop_add(node->loops[i], step_executor, engine_executor(node->engine, i));
    loop_add(node->loops[0], step_matching, node->matching);
    loop_add(node->service, step_frontend, node->frontend);
    loop_add(node->service, step_replicator, node->replicator);
    loop_add(node->service, step_failover, node->failover);
    engine_start(node->engine);
    for (int i = 0; i < node->loop_count; i++)
        loop_start(node->loops[i]);
    loop_start(node->service);
}

/* Wakes when the engine is ready; a database that is down keeps us here until it is back or the
 * process is told to stop. */
static enum err wait_ready(struct node *node, char reason[256])
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    cond_init(&cond);
    int64_t end = env_monotonic_ns(node->env) + 60 * NS_PER_S;
    pthread_mutex_lock(&mutex);
    while (!engine_is_ready(node->engine) && env_monotonic_ns(node->env) < end)
        cond_wait_for(&cond, &mutex, NS_PER_MS);
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
    if (engine_is_ready(node->engine))
        return OK;
    snprintf(reason, 256, "the shards could not be taken within 60 s: see the log");
    return ERR_UNAVAILABLE;
}

static void announce_namespaces(struct node *node)
{
    struct arena arena = {0};
    Record__Namespace **records;
    size_t count = registry_list(node->registry, &arena, &records);
    for (size_t i = 0; i < count; i++) {
        struct uuid id;
        memcpy(id.bytes, records[i]->id.data, 16);
        engine_namespace_changed(node->engine, id);
    }
    arena_release(&arena);
}

static void handle_call(void *ctx, struct call *call)
{
    struct node *node = ctx;
    if (strncmp(call->method, ADMIN_SERVICE_PREFIX, strlen(ADMIN_SERVICE_PREFIX)) == 0)
        admin_handle(node->admin, call);
    else
        frontend_handle(node->frontend, call);
}

static enum err open_rpc(struct node *node, char reason[256])
{
    struct rpc_server_options options = {.listen = node->config->listen.grpc,
        .tls_cert_file = node->config->tls.cert_file,
        .tls_key_file = node->config->tls.key_file,
        .tls_client_ca_file = node->config->tls.client_ca_file,
        .threads = 1,
        .metrics = node->metrics,
        .handle = handle_call,
        .ctx = node};
    return rpc_server_open(&options, &node->rpc, reason);
}

static enum err open_parts(struct node *node, char reason[256])
{
    enum err err = open_buses(node, reason);
    if (!err)
        err = open_store(node, reason);
    if (!err)
        err = registry_open(node->env, &node->federation, node->store, &node->registry, reason);
    if (err)
        return err;
    node->service = loop_open(node->env, "service");
    struct replicator_options replicator = {.env = node->env,
        .store = node->store,
        .registry = node->registry,
        .federation = &node->federation,
        .metrics = node->metrics,
        .waker = loop_waker(node->service),
        .config = &node->config->replication,
        .server_version = STRAIT_VERSION,
        .shards = (int32_t)node->config->cluster.shards};
    err = replicator_open(&replicator, &node->replicator, reason);
    if (!err)
        err = open_engine(node, reason);
    if (!err)
        err = open_service(node, reason);
    return err;
}

enum err node_open(const struct node_options *options, struct node **ret_node, char ret_reason[256])
{
    struct node *node = mem_new(struct node);
    node->config = options->config;
    node->env = options->env;
    node->metrics = metrics_open();
    struct uuid id = uuid_new(node->env);
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    snprintf(node->id, sizeof(node->id), "%s-%.8s", node->config->cluster.name, text + 28);
    enum err err = open_parts(node, ret_reason);
    if (!err) {
        start_loops(node);
        node->started = true;
        err = wait_ready(node, ret_reason);
    }
    if (!err) {
        node_sync_namespaces(node);
        announce_namespaces(node);
        err = open_rpc(node, ret_reason);
    }
    if (!err)
        err = node_console_open(node, ret_reason);
    if (err) {
        node_close(node, 0);
        return err;
    }
    rpc_server_set_serving(node->rpc, 1);
    log_info("node.serving", "cluster=%s node=%s grpc_port=%d console_port=%d database=%s",
        node->config->cluster.name, node->id, rpc_server_port(node->rpc), node_console_port(node),
        store_driver_name(node->store));
    *ret_node = node;
    return OK;
}

/* ---- stop ------------------------------------------------------------------------------------ */

static bool engine_done(struct node *node)
{
    return engine_is_idle(node->engine);
}

/* What is committed here has been taken by every cluster that listens. */
static bool shipped(struct node *node)
{
    struct arena arena = {0};
    struct replication_lane *lanes;
    size_t count = replicator_lanes(node->replicator, &arena, (struct uuid){0}, &lanes);
    bool done = true;
    for (size_t i = 0; i < count; i++) {
        bool outgoing = strcmp(lanes[i].source, node->config->cluster.name) == 0;
        if (outgoing && lanes[i].outbox_rows > 0)
            done = false;
    }
    arena_release(&arena);
    return done;
}

static bool replicator_done(struct node *node)
{
    return replicator_is_idle(node->replicator);
}

/* Waits while the loops go on working. */
static void wait_until(struct node *node, bool (*done)(struct node *node), int64_t limit_ns)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    cond_init(&cond);
    int64_t end = env_monotonic_ns(node->env) + limit_ns;
    pthread_mutex_lock(&mutex);
    while (!done(node) && env_monotonic_ns(node->env) < end)
        cond_wait_for(&cond, &mutex, NS_PER_MS);
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
}

void node_close(struct node *node, int64_t grace_ns)
{
    if (!node)
        return;
    if (node->rpc) {
        rpc_server_set_serving(node->rpc, 0);
        frontend_stop(node->frontend); /* parked polls end empty */
        rpc_server_drain(node->rpc, grace_ns);
    }
    if (node->started) {
        failover_stop(node->failover);
        engine_stop(node->engine);
        wait_until(node, engine_done, STOP_LIMIT_NS);
        wait_until(node, shipped, grace_ns); /* a planned stop leaves nothing behind */
        replicator_stop(node->replicator);
        wait_until(node, replicator_done, STOP_LIMIT_NS);
    }
    if (node->rpc)
        rpc_server_close(node->rpc);
    node_console_close(node);
    for (int i = 0; i < node->loop_count; i++)
        loop_stop(node->loops[i]);
    if (node->service)
        loop_stop(node->service);
    admin_close(node->admin);
    frontend_close(node->frontend);
    failover_close(node->failover);
    matching_close(node->matching);
    for (int i = 0; i < node->federation.count; i++) {
        if (node->clusters[i].bus)
            bus_close(node->clusters[i].bus);
    }
    store_close(node->store);
    engine_close(node->engine);
    replicator_close(node->replicator);
    registry_close(node->registry);
    for (int i = 0; i < node->loop_count; i++)
        loop_close(node->loops[i]);
    loop_close(node->service);
    mem_free(node->loops);
    mem_free(node->clusters);
    metrics_close(node->metrics);
    mem_free(node);
}

int node_grpc_port(const struct node *node)
{
    return rpc_server_port(node->rpc);
}

const char *node_cluster(const struct node *node)
{
    return node->config->cluster.name;
}
