/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/frontend/tests/frontend_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/store/store_memory.h"
#include "proto/record.pb-c.h"
#include "proto/replication.pb-c.h"
#include "replicator/bus.h"
#include "replicator/bus_memory.h"

#define SHARDS 4

struct world *world;
static const char *const names[SITES] = {"us", "eu"};

/* ---- surroundings --------------------------------------------------------------------------- */

static int64_t wall(void *ctx)
{
    return ((struct world *)ctx)->wall_ns;
}

static int64_t mono(void *ctx)
{
    return ((struct world *)ctx)->mono_ns;
}

static int64_t engine_mono(void *ctx)
{
    return mono(ctx) + ((struct world *)ctx)->engine_ns;
}

static void random_bytes(void *ctx, void *ret_data, size_t len)
{
    struct world *w = ctx;
    uint8_t *out = ret_data;
    for (size_t i = 0; i < len; i++) {
        w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
        out[i] = (uint8_t)(w->random >> 56);
    }
}

/* ---- peers ---------------------------------------------------------------------------------- */

static void respond(const struct forward_answer *answer, void *ctx)
{
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.format = 1;
    response.grpc_code = (uint32_t)answer->code;
    response.message = event_text(answer->message);
    response.detail_type = event_text(answer->detail_type ? answer->detail_type : "");
    response.detail.data = (uint8_t *)(uintptr_t)answer->detail.data;
    response.detail.len = answer->detail.len;
    response.body.data = (uint8_t *)(uintptr_t)answer->body.data;
    response.body.len = answer->body.len;
    bus_respond(ctx, proto_pack(&world->arena, &response.base));
}

static void serve(struct mail *mail, void *owner)
{
    struct site *site = owner;
    struct bus_msg *msg = CONTAINER_OF(mail, struct bus_msg, mail);
    const Replication__PeerRequest *request =
        proto_unpack(&world->arena, &replication__peer_request__descriptor, msg->data);
    assert_non_null(request);
    assert_int_equal(request->body_case, REPLICATION__PEER_REQUEST__BODY_FORWARD);
    const Replication__Forward *forward = request->forward;
    frontend_handle_forward(site->frontend, forward->method,
        bytes_make(forward->body.data, forward->body.len), forward->timeout_ms, respond, msg);
}

/* ---- sites ---------------------------------------------------------------------------------- */

static bool forward(void *ctx, struct call *call, const struct namespace_view *view)
{
    return frontend_forward(((struct site *)ctx)->frontend, call, view);
}

static void matched(void *ctx, struct task *task, struct poll *poll)
{
    frontend_matched(((struct site *)ctx)->frontend, task, poll);
}

static void poll_empty(void *ctx, struct poll *poll)
{
    frontend_poll_empty(((struct site *)ctx)->frontend, poll);
}

static void overflow(void *ctx, struct uuid namespace_id)
{
    (void)ctx;
    (void)namespace_id;
}

static void room(void *ctx, struct uuid namespace_id)
{
    engine_namespace_changed(((struct site *)ctx)->engine, namespace_id);
}

static void start_failover(
    void *ctx, struct call *call, const char *namespace_name, const char *target)
{
    struct site *site = ctx;
    (void)snprintf(site->failover_target, sizeof(site->failover_target), "%s", target);
    frontend_reply_namespace(site->frontend, call, namespace_name);
}

static bool step_site(struct site *site)
{
    bool moved = false;
    for (int i = 0; i < engine_executor_count(site->engine); i++)
        (void)executor_step(engine_executor(site->engine, i), engine_mono(world));
    (void)matching_step(site->matching, world->mono_ns);
    if (site->frontend)
        (void)frontend_step(site->frontend, world->mono_ns);
    moved |= store_step(site->store, 1000) > 0;
    moved |= mailbox_step(site->peer_mailbox, 100) > 0;
    return moved;
}

void world_settle(void)
{
    int quiet = 0;
    for (int i = 0; i < 10000 && quiet < 8; i++) {
        bool moved = false;
        world->engine_ns += NS_PER_MS;
        for (int k = 0; k < SITES; k++) {
            moved |= step_site(&world->sites[k]);
            moved |= bus_memory_step(world->hubs[k], world->mono_ns) > 0;
        }
        quiet = moved ? 0 : quiet + 1;
    }
    assert_int_equal(quiet, 8);
}

void world_advance_ms(int64_t ms)
{
    world->wall_ns += ms * NS_PER_MS;
    world->mono_ns += ms * NS_PER_MS;
    world_settle();
}

static void open_engine(struct site *site, int index)
{
    char text[256];
    struct engine_options engine = {.env = &site->engine_env,
        .store = site->store,
        .metrics = world->metrics,
        .namespaces = registry_source(site->registry),
        .forward = {site, forward},
        .cluster_name = names[index],
        .node_id = "node",
        .shards = SHARDS,
        .executors = 1,
        .cache_bytes_max = MIB};
    assert_int_equal(engine_open(&engine, &site->engine, text), OK);
    struct matching_options matching = {.env = &site->env,
        .metrics = world->metrics,
        .sink = {site, matched, poll_empty, overflow, room},
        .backlog_bytes_max = MIB};
    assert_int_equal(matching_open(&matching, &site->matching), OK);
    engine_set_matching(site->engine, site->matching);
    registry_set_engine(site->registry, site->engine);
}

static void open_frontend(struct site *site)
{
    char text[256];
    struct frontend_options frontend = {.env = &site->env,
        .engine = site->engine,
        .matching = site->matching,
        .registry = site->registry,
        .federation = &site->federation,
        .store = site->store,
        .metrics = world->metrics,
        .server_version = "1.2.3",
        .failover = {site, start_failover}};
    assert_int_equal(frontend_open(&frontend, &site->frontend, text), OK);
}

static void open_site(int index)
{
    char text[256];
    struct site *site = &world->sites[index];
    site->env = (struct env){world, wall, mono, random_bytes};
    site->engine_env = (struct env){world, wall, engine_mono, random_bytes};
    site->federation = (struct federation){
        .increment = 10, .self = index, .count = SITES, .clusters = site->clusters};
    for (int i = 0; i < SITES; i++)
        site->clusters[i] = (struct federation_cluster){.name = names[i],
            .initial_version = i + 1,
            .address = "",
            .bus = bus_memory_open(world->hubs[i])};
    site->database = memory_database_new();
    struct store_options store = {.driver = store_driver_memory(),
        .driver_ctx = site->database,
        .readers = 1,
        .writers = 1,
        .migrate = true};
    assert_int_equal(store_open(&store, &site->store, text), OK);
    assert_int_equal(
        registry_open(&site->env, &site->federation, site->store, &site->registry, text), OK);
    open_engine(site, index);
    site->peer_mailbox = mailbox_open(site, NULL, 1000);
    char subject[32];
    (void)snprintf(subject, sizeof(subject), "strait.peer.%s", names[index]);
    assert_int_equal(bus_subscribe(site->clusters[index].bus, subject, NULL, site->peer_mailbox,
                         serve, NULL, &site->peer_subscription),
        OK);
    engine_start(site->engine);
    for (int i = 0; i < 1000 && !engine_is_ready(site->engine); i++)
        (void)step_site(site);
    assert_true(engine_is_ready(site->engine));
    open_frontend(site);
}

static void close_site(int index)
{
    struct site *site = &world->sites[index];
    bus_unsubscribe(site->clusters[index].bus, site->peer_subscription);
    for (int i = 0; i < SITES; i++)
        bus_close(site->clusters[i].bus);
    frontend_close(site->frontend);
    matching_close(site->matching);
    store_close(site->store);
    engine_close(site->engine);
    registry_close(site->registry);
    mailbox_close(site->peer_mailbox, NULL);
    memory_database_free(site->database);
}

static void register_namespace(void)
{
    Api__RegisterNamespaceRequest request;
    api__register_namespace_request__init(&request);
    request.namespace_ = event_text("ns");
    Api__ClusterReplicationConfig clusters[SITES];
    Api__ClusterReplicationConfig *pointers[SITES];
    for (int i = 0; i < SITES; i++) {
        api__cluster_replication_config__init(&clusters[i]);
        clusters[i].cluster_name = event_text(names[i]);
        pointers[i] = &clusters[i];
    }
    request.n_clusters = SITES;
    request.clusters = pointers;
    request.is_global_namespace = true;
    assert_int_equal(call_run(US, "RegisterNamespace", &request.base)->code, GRPC_OK);
    site_share(US, "ns");
}

int world_setup(void **state)
{
    (void)state;
    log_set_level(LOG_OFF);
    world = mem_new(struct world);
    world->wall_ns = 1700000000 * NS_PER_S;
    world->mono_ns = 1000 * NS_PER_S;
    world->random = 1;
    world->metrics = metrics_open();
    for (int i = 0; i < SITES; i++)
        world->hubs[i] = bus_memory_hub_open();
    for (int i = 0; i < SITES; i++)
        open_site(i);
    register_namespace();
    return 0;
}

int world_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < SITES; i++) {
        site_cut(i, true);
        frontend_stop(world->sites[i].frontend);
    }
    world_advance_ms(100000);
    for (int i = 0; i < SITES; i++)
        engine_stop(world->sites[i].engine);
    world_settle();
    for (int i = 0; i < SITES; i++)
        close_site(i);
    for (int i = 0; i < SITES; i++)
        bus_memory_hub_close(world->hubs[i]);
    calls_release();
    metrics_close(world->metrics);
    arena_release(&world->arena);
    mem_free(world);
    return 0;
}

/* ---- namespaces ----------------------------------------------------------------------------- */

static void changed(void *ctx, enum err err, const char *text)
{
    (void)text;
    assert_int_equal(err, OK);
    *(bool *)ctx = true;
}

void site_share(int from, const char *name)
{
    bool done = false;
    const Record__Namespace *record =
        registry_record(world->sites[from].registry, &world->arena, name);
    assert_non_null(record);
    registry_merge(world->sites[1 - from].registry, record, changed, &done);
    world_settle();
    assert_true(done);
}

static enum err activate(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    (void)text;
    int active = *(const int *)ctx;
    *ret_record =
        proto_unpack(arena, &record__namespace__descriptor, proto_pack(arena, &present->base));
    (*ret_record)->active_cluster = arena_strdup(arena, names[active]);
    (*ret_record)->failover_version =
        federation_next_version(&world->sites[US].federation, active, present->failover_version);
    return OK;
}

static void activated(void *ctx, enum err err, const char *text)
{
    (void)ctx;
    (void)text;
    assert_int_equal(err, OK);
}

void site_activate(int site, const char *name, int active)
{
    registry_change(world->sites[site].registry, name, activate, activated, &active);
    world_settle();
}

void site_cut(int site, bool connected)
{
    for (int i = 0; i < SITES; i++)
        bus_memory_set_connected(world->sites[site].clusters[i].bus, connected);
}
