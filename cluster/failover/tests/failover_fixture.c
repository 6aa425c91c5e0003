/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/failover/tests/failover_fixture.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/store/store_memory.h"

#define START_NS (1700000000ll * NS_PER_S)

struct world *world;

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
    const struct world *w = ctx;
    return w->mono_ns + w->engine_ns;
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

struct route {
    failover_answer_fn *answer;
    void *ctx;
};

static void respond(void *responder, const Replication__PeerResponse *response)
{
    struct route *route = responder;
    route->answer(route->ctx, OK, response);
    mem_free(route);
}

static void respond_status(struct route *route, int cluster)
{
    Replication__StatusReply status;
    replication__status_reply__init(&status);
    status.cluster = arena_strdup(&world->arena, world->clusters[cluster].name);
    struct bytes packed = proto_pack(&world->arena, &status.base);
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.body.data = (uint8_t *)(uintptr_t)packed.data;
    response.body.len = packed.len;
    respond(route, &response);
}

static void call(void *ctx, int cluster, Replication__PeerRequest *request, int64_t timeout_ns,
    failover_answer_fn *answer, void *answer_ctx)
{
    (void)ctx;
    assert_true(timeout_ns > 0);
    struct member *peer = &world->members[cluster];
    peer->calls++;
    bool lost = request->body_case == REPLICATION__PEER_REQUEST__BODY_HANDOVER_GRANT &&
                peer->grants_to_lose-- > 0;
    if (peer->down || lost) {
        answer(answer_ctx, ERR_TIMEOUT, NULL);
        return;
    }
    struct route *route = mem_new(struct route);
    *route = (struct route){answer, answer_ctx};
    if (request->body_case == REPLICATION__PEER_REQUEST__BODY_STATUS)
        respond_status(route, cluster);
    else if (request->body_case == REPLICATION__PEER_REQUEST__BODY_HANDOVER_GRANT)
        failover_peer_grant(peer->failover, request->handover_grant, respond, route);
    else if (request->body_case == REPLICATION__PEER_REQUEST__BODY_FAILOVER_COMMAND)
        failover_peer_command(peer->failover, request->failover_command, respond, route);
    else
        fail_msg("request %d is not expected", (int)request->body_case);
}

static int32_t barriers(void *ctx, int target, const char *handover_id)
{
    (void)target;
    const struct member *member = ctx;
    if (!world->apply_barriers)
        return WORLD_SHARDS - 1;
    return world_barriers((int)(member - world->members), handover_id);
}

static int64_t dead_letters(void *ctx, struct uuid namespace_id)
{
    (void)ctx;
    (void)namespace_id;
    return world->dead_letters;
}

static size_t losses(
    void *ctx, int source, struct arena *arena, Replication__ShardLoss ***ret_losses)
{
    (void)ctx;
    (void)source;
    *ret_losses = arena_zalloc(arena, WORLD_SHARDS, sizeof(**ret_losses));
    for (int32_t i = 0; i < WORLD_SHARDS; i++) {
        Replication__ShardLoss *loss = arena_new(arena, Replication__ShardLoss);
        replication__shard_loss__init(loss);
        loss->shard = i;
        loss->applied_seq = 3;
        loss->applied_time = START_NS;
        loss->known_seq = world->known_seq;
        loss->known_time = START_NS + 2 * NS_PER_S;
        (*ret_losses)[i] = loss;
    }
    return WORLD_SHARDS;
}

/* ---- members -------------------------------------------------------------------------------- */

static bool step_member(struct member *member)
{
    for (int i = 0; i < engine_executor_count(member->engine); i++)
        executor_step(engine_executor(member->engine, i), engine_mono(world));
    bool moved = store_step(member->store, 1000) > 0;
    failover_step(member->failover, world->mono_ns);
    return moved;
}

static bool step_all(void)
{
    bool moved = false;
    world->engine_ns += NS_PER_MS;
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        moved |= step_member(&world->members[i]);
    return moved;
}

void world_settle(void)
{
    int quiet = 0;
    for (int i = 0; i < 10000 && quiet < 6; i++)
        quiet = step_all() ? 0 : quiet + 1;
    assert_int_equal(quiet, 6);
}

void world_advance_ms(int64_t ms)
{
    world->wall_ns += ms * NS_PER_MS;
    world->mono_ns += ms * NS_PER_MS;
    world_settle();
}

static void member_open(int index)
{
    char text[256];
    struct member *member = &world->members[index];
    member->env = (struct env){world, wall, mono, random_bytes};
    member->engine_env = (struct env){world, wall, engine_mono, random_bytes};
    member->database = memory_database_new();
    member->federation = (struct federation){
        .increment = 10, .self = index, .count = WORLD_CLUSTERS, .clusters = world->clusters};
    struct store_options store = {.driver = store_driver_memory(),
        .driver_ctx = member->database,
        .readers = 1,
        .writers = 1,
        .migrate = true};
    assert_int_equal(store_open(&store, &member->store, text), OK);
    assert_int_equal(
        registry_open(&member->env, &member->federation, member->store, &member->registry, text),
        OK);
    struct engine_options engine = {.env = &member->engine_env,
        .store = member->store,
        .metrics = world->metrics,
        .namespaces = registry_source(member->registry),
        .cluster_name = world->clusters[index].name,
        .node_id = "node",
        .shards = WORLD_SHARDS,
        .executors = 2,
        .cache_bytes_max = 1u * MIB};
    assert_int_equal(engine_open(&engine, &member->engine, text), OK);
    registry_set_engine(member->registry, member->engine);
    struct failover_options options = {.env = &member->env,
        .registry = member->registry,
        .engine = member->engine,
        .federation = &member->federation,
        .handover_ms = 1000};
    struct failover_peers peers = {member, call, barriers, dead_letters, losses};
    assert_int_equal(failover_open_with(&options, &peers, &member->failover), OK);
    engine_start(member->engine);
    for (int i = 0; i < 1000 && !engine_is_ready(member->engine); i++)
        step_member(member);
    assert_true(engine_is_ready(member->engine));
}

static void member_close(struct member *member)
{
    engine_stop(member->engine);
    for (int i = 0; i < 1000 && !engine_is_idle(member->engine); i++)
        step_member(member);
    assert_true(engine_is_idle(member->engine));
    failover_close(member->failover);
    engine_close(member->engine);
    store_close(member->store);
    registry_close(member->registry);
    memory_database_free(member->database);
}

int world_setup(void **state)
{
    (void)state;
    static const char *const names[] = {"us", "eu", "ap"};
    world = mem_new(struct world);
    world->wall_ns = START_NS;
    world->mono_ns = NS_PER_S;
    world->random = 7;
    world->metrics = metrics_open();
    world->apply_barriers = true;
    world->known_seq = 5;
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        world->clusters[i] =
            (struct federation_cluster){.name = names[i], .initial_version = i + 1};
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        member_open(i);
    return 0;
}

int world_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        failover_stop(world->members[i].failover);
    world_settle();
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        member_close(&world->members[i]);
    metrics_close(world->metrics);
    arena_release(&world->arena);
    mem_free(world);
    return 0;
}

/* ---- actions -------------------------------------------------------------------------------- */

void world_create(bool ap)
{
    uint8_t id[16] = {1, 2, 3};
    char *clusters[WORLD_CLUSTERS];
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        clusters[i] = arena_strdup(&world->arena, world->clusters[i].name);
    Record__Namespace record;
    record__namespace__init(&record);
    record.format = 1;
    record.id.data = id;
    record.id.len = sizeof(id);
    record.name = arena_strdup(&world->arena, "orders");
    record.n_clusters = ap ? 3 : 2;
    record.clusters = clusters;
    record.active_cluster = clusters[0];
    record.global = true;
    record.failover_version = 1;
    record.config_version = 1;
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        registry_merge(world->members[i].registry, &record, NULL, NULL);
    world_settle();
    for (int i = 0; i < WORLD_CLUSTERS; i++)
        assert_non_null(world_record(i));
}

Record__Namespace *world_record(int cluster)
{
    return registry_record(world->members[cluster].registry, &world->arena, "orders");
}

static void ended(void *ctx, const struct failover_result *result)
{
    struct outcome *outcome = ctx;
    outcome->times++;
    outcome->code = result->code;
    outcome->message = arena_strdup(&world->arena, result->message);
    outcome->detail = proto_unpack(&world->arena, &replication__failover_result__descriptor,
        proto_pack(&world->arena, &result->detail->base));
}

void world_start(int cluster, const struct failover_request *request, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    failover_start(world->members[cluster].failover, request, ended, outcome);
}

struct outcome world_failover(int cluster, const char *target, bool force, bool accept_loss)
{
    struct failover_request request = {.namespace_name = "orders",
        .target = target,
        .force = force,
        .accept_loss = accept_loss,
        .reason = "a drill",
        .identity = "me"};
    struct outcome outcome;
    world_start(cluster, &request, &outcome);
    world_settle();
    assert_int_equal(outcome.times, 1);
    return outcome;
}

int world_barriers(int cluster, const char *handover_id)
{
    int count = 0;
    for (int32_t shard = 0; shard < WORLD_SHARDS; shard++) {
        struct store_op op = {.kind = STORE_SCAN,
            .arena = &world->arena,
            .scan = {.table = TABLE_OUTBOX, .shard = shard, .limit_rows = 1000}};
        assert_int_equal(store_run(world->members[cluster].store, &op), OK);
        for (size_t i = 0; i < op.scan.row_count; i++) {
            const Record__OutboxRow *row =
                proto_unpack(&world->arena, &record__outbox_row__descriptor, op.scan.rows[i].value);
            assert_non_null(row);
            for (size_t k = 0; k < row->n_items; k++) {
                const Record__OutboxItem *item = row->items[k];
                count += item->kind == RECORD__OUTBOX_ITEM__KIND__BARRIER &&
                         (!*handover_id || strcmp(item->handover_id, handover_id) == 0);
            }
        }
    }
    return count;
}
