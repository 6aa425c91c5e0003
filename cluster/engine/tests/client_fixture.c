/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/tests/client_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/executor_private.h"
#include "proto/api_history.pb-c.h"

static struct {
    struct engine *engine;
    const struct env *env;
    struct matching *matching;
    struct metrics *metrics;
    struct uuid namespace_id;
    struct list clients;
} world;

/* ---- calls ----------------------------------------------------------------------------------- */

static struct client *client_of(struct call *call)
{
    return CONTAINER_OF(call, struct client, call);
}

static void end(struct call *call, struct outcome outcome)
{
    struct client *client = client_of(call);
    assert_false(client->outcome.done);
    client->outcome = outcome;
    arena_release(&call->arena);
}

static void on_reply(struct call *call, struct bytes body)
{
    end(call, (struct outcome){.done = true, .body = bytes_copy(harness_arena(), body)});
}

static void on_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    (void)detail;
    end(call, (struct outcome){.done = true,
                  .code = code,
                  .message = arena_strdup(harness_arena(), message),
                  .detail_type = arena_strdup(harness_arena(), detail_type ? detail_type : "")});
}

static bool is_cancelled(struct call *call)
{
    struct client *client = client_of(call);
    if (client->looks_until_gone && --client->looks_until_gone == 0)
        client->cancelled = true;
    return client->cancelled;
}

static void on_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    struct client *client = client_of(call);
    assert_null(client->watch);
    if (client->cancelled) {
        mailbox_complete(mailbox, watch);
        return;
    }
    client->watch = watch;
    client->watch_mailbox = mailbox;
}

static bool on_unwatch(struct call *call)
{
    struct client *client = client_of(call);
    bool watched = client->watch != NULL;
    client->watch = NULL;
    return watched;
}

static const struct call_ops call_ops = {
    .reply = on_reply,
    .fail = on_fail,
    .is_cancelled = is_cancelled,
    .watch = on_watch,
    .unwatch = on_unwatch,
};

static struct client *client_new(int64_t timeout_ms)
{
    struct client *client = mem_new(struct client);
    client->call.ops = &call_ops;
    client->call.method = "test";
    client->call.received_mono_ns = env_monotonic_ns(world.env);
    client->call.deadline_mono_ns =
        timeout_ms ? client->call.received_mono_ns + timeout_ms * NS_PER_MS : INT64_MAX;
    list_push_back(&world.clients, &client->link);
    return client;
}

static struct request *request_new(struct client *client)
{
    struct request *request = arena_new(&client->call.arena, struct request);
    request->call = &client->call;
    request->namespace_id = world.namespace_id;
    request->workflow_id = bytes_of("w");
    return request;
}

struct client *client_send(
    request_handler *handler, const void *message, const char *run_id, int64_t timeout_ms)
{
    struct client *client = client_new(timeout_ms);
    struct request *request = request_new(client);
    request->handle = handler;
    request->message = message;
    if (run_id) {
        request->want = REQUEST_RUN;
        assert_true(uuid_parse(bytes_of(run_id), &request->run_id));
    }
    assert_int_equal(engine_submit(world.engine, request), OK);
    clients_settle();
    return client;
}

static struct client *poll_with(
    enum task_kind kind, const char *queue, const char *normal_queue, int looks_until_gone)
{
    struct client *client = client_new(60000);
    client->looks_until_gone = looks_until_gone;
    struct poll *poll = arena_new(&client->call.arena, struct poll);
    poll->call = &client->call;
    poll->kind = kind;
    poll->namespace_id = world.namespace_id;
    poll->queue = arena_strdup(&client->call.arena, queue);
    poll->normal_queue = arena_strdup(&client->call.arena, normal_queue ? normal_queue : "");
    poll->sticky = normal_queue != NULL;
    poll->identity = "poller";
    poll->worker_instance_key = "";
    poll->build_id = "";
    poll->deadline_mono_ns = client->call.deadline_mono_ns;
    assert_int_equal(matching_poll(world.matching, poll, false), OK);
    clients_settle();
    return client;
}

struct client *client_poll(enum task_kind kind, const char *queue, const char *normal_queue)
{
    return poll_with(kind, queue, normal_queue, 0);
}

struct client *client_poll_and_vanish(const char *queue, int looks)
{
    return poll_with(TASK_WORKFLOW, queue, NULL, looks);
}

void client_cancel(struct client *client)
{
    client->cancelled = true;
    if (client->watch) {
        mailbox_complete(client->watch_mailbox, client->watch);
        client->watch = NULL;
    }
    clients_settle();
}

/* ---- matching -------------------------------------------------------------------------------- */

static void on_match_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)executor;
    (void)err;
    (void)text;
    struct match *match = request->ctx;
    task_free(match->task);
    call_reply(match->poll->call, bytes_of(""));
}

static void on_match(void *ctx, struct task *task, struct poll *poll)
{
    (void)ctx;
    struct match *match = arena_new(&poll->call->arena, struct match);
    match->task = task;
    match->poll = poll;
    struct request *request = &match->request;
    request->namespace_id = task->namespace_id;
    request->workflow_id =
        bytes_copy(&poll->call->arena, bytes_make(task->workflow_id, task->workflow_id_len));
    request->want = REQUEST_RUN;
    request->run_id = task->run_id;
    request->access = task->kind == TASK_QUERY ? REQUEST_READ : REQUEST_WRITE;
    request->handle = decide_dispatch;
    request->failed = on_match_failed;
    request->ctx = match;
    assert_int_equal(engine_submit(world.engine, request), OK);
}

static void on_poll_empty(void *ctx, struct poll *poll)
{
    (void)ctx;
    call_reply(poll->call, bytes_of(""));
}

static void ignore_namespace(void *ctx, struct uuid namespace_id)
{
    (void)ctx;
    (void)namespace_id;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void look_around(struct decision *d, struct run *run, void *ctx)
{
    (void)run;
    (void)ctx;
    world.engine = executor_engine(d->executor);
    world.env = d->env;
    world.namespace_id = d->ns->id;
    engine_set_matching(world.engine, world.matching);
}

void clients_settle(void)
{
    for (int i = 0; i < 8; i++) {
        harness_look(look_around, NULL); /* settles the engine, which a restart replaced */
        matching_step(world.matching, env_monotonic_ns(world.env));
    }
}

int clients_setup(void **state)
{
    harness_setup(state);
    list_init(&world.clients);
    harness_look(look_around, NULL);
    world.metrics = metrics_open();
    struct matching_options options = {.env = world.env,
        .metrics = world.metrics,
        .sink = {.matched = on_match,
            .poll_empty = on_poll_empty,
            .overflow = ignore_namespace,
            .room = ignore_namespace},
        .backlog_bytes_max = MIB};
    assert_int_equal(matching_open(&options, &world.matching), OK);
    clients_settle();
    return 0;
}

int clients_teardown(void **state)
{
    while (!list_empty(&world.clients)) {
        struct client *client = CONTAINER_OF(world.clients.next, struct client, link);
        if (!client->outcome.done)
            client_cancel(client);
        harness_advance_ms(client->outcome.done ? 0 : 30000);
        clients_settle();
        assert_true(client->outcome.done);
        list_remove(&client->link);
        mem_free(client);
    }
    engine_set_matching(world.engine, NULL);
    matching_close(world.matching);
    metrics_close(world.metrics);
    world.matching = NULL;
    return harness_teardown(state);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void *answer_of(struct client *client, const ProtobufCMessageDescriptor *descriptor)
{
    assert_true(client->outcome.done);
    if (client->outcome.code != GRPC_OK)
        print_message("failed: %s\n", client->outcome.message);
    assert_int_equal(client->outcome.code, GRPC_OK);
    void *message = proto_unpack(harness_arena(), descriptor, client->outcome.body);
    assert_non_null(message);
    return message;
}

Api__PollWorkflowTaskQueueResponse *client_task(struct client *client)
{
    return answer_of(client, &api__poll_workflow_task_queue_response__descriptor);
}

Api__PollActivityTaskQueueResponse *client_activity(struct client *client)
{
    return answer_of(client, &api__poll_activity_task_queue_response__descriptor);
}

const char *history_types(size_t n_history, const ProtobufCBinaryData *history)
{
    assert_int_equal(n_history, 1);
    Api__History *all = proto_unpack(
        harness_arena(), &api__history__descriptor, bytes_make(history[0].data, history[0].len));
    assert_non_null(all);
    char *text = arena_zalloc(harness_arena(), all->n_events + 1, 64);
    size_t at = 0;
    for (size_t i = 0; i < all->n_events; i++) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
            &api__event_type__descriptor, (int)all->events[i]->event_type);
        const char *name = value->name + strlen("EVENT_TYPE_WORKFLOW_");
        if (strncmp(value->name, "EVENT_TYPE_WORKFLOW_", 20) != 0)
            name = value->name + strlen("EVENT_TYPE_");
        if (strncmp(name, "EXECUTION_", 10) == 0)
            name += 10;
        at += (size_t)snprintf(
            text + at, 64, "%s%lld:%s", i ? " " : "", (long long)all->events[i]->event_id, name);
    }
    return text;
}
