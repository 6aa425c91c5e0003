/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/frontend/tests/admin_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/failover/failover_private.h"
#include "replicator/replicator.h"

struct admin *admin;
static struct failover *failover;
static struct config config;

/* ---- the replicator's part ------------------------------------------------------------------ */

char admin_verified[64];

void replicator_cluster(
    struct replicator *replicator, int cluster, struct replication_cluster *ret_cluster)
{
    (void)replicator;
    *ret_cluster = (struct replication_cluster){.connected = cluster == US,
        .heard_mono_ns = cluster == EU ? world->mono_ns - 40 * NS_PER_MS : 0,
        .shards = 8,
        .server_version = "9.9"};
}

size_t replicator_lanes(struct replicator *replicator, struct arena *arena,
    struct uuid namespace_id, struct replication_lane **ret_lanes)
{
    (void)replicator;
    *ret_lanes = arena_new(arena, struct replication_lane);
    **ret_lanes = (struct replication_lane){.namespace_name = "ns",
        .namespace_id = namespace_id,
        .source = "us",
        .target = "eu",
        .lag_events = 3,
        .state = LANE_WAITING};
    return 1;
}

const char *lane_state_text(enum lane_state state)
{
    return state == LANE_WAITING ? "waiting" : "?";
}

int64_t replicator_dead_letters(struct replicator *replicator, struct uuid namespace_id)
{
    (void)replicator;
    return uuid_is_zero(namespace_id) ? 7 : 2;
}

void replicator_list_dead_letters(
    struct replicator *replicator, uint32_t limit, dead_letters_done_fn *done, void *ctx)
{
    (void)replicator;
    if (limit == 13) {
        done(ctx, ERR_UNAVAILABLE, NULL, 0);
        return;
    }
    Record__DeadLetter letter;
    record__dead_letter__init(&letter);
    char source[] = "eu";
    char reason[] = "corrupt";
    letter.source = source;
    letter.reason = reason;
    letter.seq = limit;
    Record__DeadLetter *items[] = {&letter};
    done(ctx, OK, items, 1);
}

const char *verify_kind_text(enum verify_kind kind)
{
    return kind == VERIFY_DIFFERENT ? "different" : "?";
}

void replicator_verify(struct replicator *replicator, struct uuid namespace_id, int cluster,
    verify_done_fn *done, void *ctx)
{
    (void)replicator;
    (void)namespace_id;
    (void)snprintf(
        admin_verified, sizeof(admin_verified), "%s%d", admin_verified[0] ? "," : "", cluster);
    struct verify_difference difference = {
        .kind = VERIFY_DIFFERENT, .workflow_id = "w", .run_id = "r", .event_id_here = 4};
    struct verify_result result = {.runs_compared = 10,
        .runs_equal = 9,
        .difference_count = 1,
        .differences = &difference,
        .listed = 1};
    done(ctx, &result);
}

/* ---- the failover's peers ------------------------------------------------------------------- */

static void peer_call(void *ctx, int cluster, Replication__PeerRequest *request, int64_t timeout_ns,
    failover_answer_fn *answer, void *answer_ctx)
{
    (void)ctx;
    (void)cluster;
    (void)request;
    (void)timeout_ns;
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    answer(answer_ctx, OK, &response);
}

static int32_t peer_barriers(void *ctx, int target, const char *handover_id)
{
    (void)ctx;
    (void)target;
    (void)handover_id;
    return INT32_MAX;
}

static int64_t peer_dead_letters(void *ctx, struct uuid namespace_id)
{
    (void)ctx;
    (void)namespace_id;
    return 0;
}

#define LOSSES 300 /* shards of the source; the last one misses something */

static size_t peer_losses(
    void *ctx, int source, struct arena *arena, Replication__ShardLoss ***ret_losses)
{
    (void)ctx;
    (void)source;
    *ret_losses = arena_zalloc(arena, LOSSES, sizeof(**ret_losses));
    for (int32_t i = 0; i < LOSSES; i++) {
        Replication__ShardLoss *loss = arena_new(arena, Replication__ShardLoss);
        replication__shard_loss__init(loss);
        loss->shard = i;
        loss->known_seq = i == LOSSES - 1 ? 5 : 0;
        (*ret_losses)[i] = loss;
    }
    return LOSSES;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static struct answer *answer_of(struct call *call)
{
    return CONTAINER_OF(call, struct answer, call);
}

static void answer_reply(struct call *call, struct bytes body)
{
    struct answer *answer = answer_of(call);
    assert_false(answer->done);
    answer->done = true;
    answer->body = bytes_copy(&world->arena, body);
}

static void answer_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    struct answer *answer = answer_of(call);
    assert_false(answer->done);
    answer->done = true;
    answer->code = code;
    answer->message = arena_strdup(&world->arena, message);
    answer->detail_type = arena_strdup(&world->arena, detail_type ? detail_type : "");
    answer->body = bytes_copy(&world->arena, detail);
}

static const struct call_ops ops = {.reply = answer_reply, .fail = answer_fail};

static void settle(void)
{
    for (int i = 0; i < 10; i++) {
        world_settle();
        (void)failover_step(failover, world->mono_ns);
    }
}

struct answer *admin_run_bytes(const char *method, struct bytes request)
{
    struct answer *answer = arena_new(&world->arena, struct answer);
    answer->call.ops = &ops;
    answer->call.method = arena_printf(&world->arena, "%s%s", ADMIN_SERVICE_PREFIX, method);
    answer->call.request = request;
    answer->call.deadline_mono_ns = INT64_MAX;
    assert_true(admin_handle(admin, &answer->call));
    settle();
    assert_true(answer->done);
    arena_release(&answer->call.arena);
    return answer;
}

struct answer *admin_run(const char *method, const ProtobufCMessage *request)
{
    return admin_run_bytes(method, proto_pack(&world->arena, request));
}

void *admin_ok(const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor)
{
    const struct answer *answer = admin_run(method, request);
    if (answer->code != GRPC_OK)
        fail_msg("%s: %s", method, answer->message);
    void *message = proto_unpack(&world->arena, descriptor, answer->body);
    assert_non_null(message);
    return message;
}

void assert_refused(const struct answer *answer, enum grpc_code code, const char *text)
{
    assert_int_equal(answer->code, code);
    if (!strstr(answer->message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, answer->message);
}

int admin_setup(void **state)
{
    assert_int_equal(world_setup(state), 0);
    const struct site *us = &world->sites[US];
    config.retention.default_ms = 72 * 3600 * 1000;
    struct failover_options options = {.env = &us->env,
        .registry = us->registry,
        .engine = us->engine,
        .federation = &us->federation,
        .handover_ms = 1000};
    struct failover_peers peers = {NULL, peer_call, peer_barriers, peer_dead_letters, peer_losses};
    assert_int_equal(failover_open_with(&options, &peers, &failover), OK);
    struct admin_options service = {.env = &us->env,
        .registry = us->registry,
        .engine = us->engine,
        .failover = failover,
        .frontend = us->frontend,
        .federation = &us->federation,
        .config = &config,
        .node_id = "us-1",
        .database = "memory",
        .server_version = "1.2.3"};
    assert_int_equal(admin_open(&service, &admin), OK);
    admin_verified[0] = 0;
    return 0;
}

int admin_teardown(void **state)
{
    failover_stop(failover);
    settle();
    failover_close(failover);
    admin_close(admin);
    return world_teardown(state);
}

Admin__CreateNamespaceRequest admin_create_request(const char *name)
{
    Admin__CreateNamespaceRequest request;
    admin__create_namespace_request__init(&request);
    request.name = arena_strdup(&world->arena, name);
    return request;
}

struct answer *admin_run_failover_call(const char *target)
{
    struct answer *answer = arena_new(&world->arena, struct answer);
    answer->call.ops = &ops;
    admin_failover_call(admin, &answer->call, "ns", target);
    settle();
    assert_true(answer->done);
    arena_release(&answer->call.arena);
    return answer;
}
