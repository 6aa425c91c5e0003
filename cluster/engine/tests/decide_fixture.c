/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/tests/decide_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/dispatch.h"
#include "cluster/engine/dispatch_private.h"
#include "cluster/matching/matching.h"
#include "cluster/store/store_fault.h"
#include "cluster/store/store_memory.h"
#include "proto/api_history.pb-c.h"

struct harness {
    struct env env;
    int64_t wall_ns;
    uint64_t random;
    struct metrics *metrics;
    struct memory_database *database;
    struct store_fault *fault;
    struct store *store;
    struct engine *engine;
    struct namespace_view *view;
    struct uuid namespace_id;
    struct arena arena;
};

struct harness *harness;

/* ---- surroundings --------------------------------------------------------------------------- */

static int64_t clock_ns(void *ctx)
{
    return ((struct harness *)ctx)->wall_ns;
}

static void random_bytes(void *ctx, void *ret_data, size_t len)
{
    struct harness *h = ctx;
    uint8_t *out = ret_data;
    for (size_t i = 0; i < len; i++) {
        h->random = h->random * 6364136223846793005ull + 1442695040888963407ull;
        out[i] = (uint8_t)(h->random >> 56);
    }
}

static struct namespace_view *view_new(struct uuid id, int64_t version)
{
    struct namespace_view *view = mem_new(struct namespace_view);
    view->refs = 1;
    view->id = id;
    view->name = "default";
    view->active = true;
    view->failover_version = version;
    view->retention_ns = 3600 * NS_PER_S;
    view->active_cluster = "here";
    view->handover_id = "";
    return view;
}

static struct namespace_view *get_view(void *ctx, struct uuid id)
{
    struct harness *h = ctx;
    return uuid_equal(id, h->namespace_id) ? namespace_view_retain(h->view) : NULL;
}

static bool step_once(void)
{
    executor_step(engine_executor(harness->engine, 0), harness->wall_ns);
    return store_step(harness->store, 1000) > 0;
}

static void settle(void)
{
    int quiet = 0;
    for (int i = 0; i < 10000 && quiet < 4; i++)
        quiet = step_once() ? 0 : quiet + 1;
    assert_int_equal(quiet, 4);
}

static void open_engine(void)
{
    char text[256];
    static struct waker *wakers[1];
    struct store_options store = {.driver = store_driver_memory(),
        .driver_ctx = harness->database,
        .readers = 1,
        .writers = 1,
        .migrate = true};
    harness->fault = store_fault_new(&store, 1);
    struct store_options faulty;
    store_fault_options(harness->fault, &faulty);
    assert_int_equal(store_open(&faulty, &harness->store, text), OK);
    struct engine_options options = {.env = &harness->env,
        .store = harness->store,
        .metrics = harness->metrics,
        .namespaces = {.ctx = harness, .get = get_view},
        .cluster_name = "here",
        .node_id = "node",
        .shards = 1,
        .executors = 1,
        .wakers = wakers,
        .cache_bytes_max = 64u * MIB};
    assert_int_equal(engine_open(&options, &harness->engine, text), OK);
    engine_start(harness->engine);
    for (int i = 0; i < 1000 && !engine_is_ready(harness->engine); i++)
        step_once();
    assert_true(engine_is_ready(harness->engine));
    engine_namespace_changed(harness->engine, harness->namespace_id);
    settle();
}

static void close_engine(void)
{
    engine_stop(harness->engine);
    for (int i = 0; i < 1000 && !engine_is_idle(harness->engine); i++)
        step_once();
    engine_close(harness->engine);
    store_close(harness->store);
    store_fault_free(harness->fault);
}

struct store_fault *harness_fault(void)
{
    return harness->fault;
}

int harness_setup(void **state)
{
    (void)state;
    harness = mem_new(struct harness);
    harness->env = (struct env){harness, clock_ns, clock_ns, random_bytes};
    harness->wall_ns = HARNESS_START_NS;
    harness->random = 42;
    harness->metrics = metrics_open();
    harness->database = memory_database_new();
    harness->namespace_id = uuid_new(&harness->env);
    harness->view = view_new(harness->namespace_id, 1);
    open_engine();
    return 0;
}

int harness_teardown(void **state)
{
    (void)state;
    close_engine();
    memory_database_free(harness->database);
    metrics_close(harness->metrics);
    namespace_view_unref(harness->view);
    arena_release(&harness->arena);
    mem_free(harness);
    harness = NULL;
    return 0;
}

int64_t harness_now(void)
{
    return harness->wall_ns;
}

void harness_advance_ms(int64_t ms)
{
    /* In steps, so that what becomes due happens in its order. */
    int64_t end_ns = harness->wall_ns + ms * NS_PER_MS;
    while (harness->wall_ns < end_ns) {
        int64_t left_ns = end_ns - harness->wall_ns;
        harness->wall_ns += left_ns < NS_PER_S ? left_ns : NS_PER_S;
        settle();
    }
}

void harness_restart(void)
{
    close_engine();
    open_engine();
}

void harness_set_version(int64_t version)
{
    namespace_view_unref(harness->view);
    harness->view = view_new(harness->namespace_id, version);
    engine_namespace_changed(harness->engine, harness->namespace_id);
    settle();
}

struct arena *harness_arena(void)
{
    return &harness->arena;
}

/* ---- calls ---------------------------------------------------------------------------------- */

struct test_call {
    struct call call;
    struct request request;
    struct outcome *outcome;
    harness_look_fn *look;
    void *ctx;
};

static void finish(struct call *call, struct outcome outcome)
{
    struct test_call *test = CONTAINER_OF(call, struct test_call, call);
    assert_false(test->outcome->done);
    *test->outcome = outcome;
    arena_release(&call->arena);
    mem_free(test);
}

static void on_reply(struct call *call, struct bytes body)
{
    finish(call, (struct outcome){.done = true, .body = bytes_copy(&harness->arena, body)});
}

static void on_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    (void)detail;
    finish(call, (struct outcome){.done = true,
                     .code = code,
                     .message = arena_strdup(&harness->arena, message),
                     .detail_type = arena_strdup(&harness->arena, detail_type ? detail_type : "")});
}

static bool never_cancelled(struct call *call)
{
    (void)call;
    return false;
}

static void no_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    (void)call;
    (void)mailbox;
    (void)watch;
}

static bool no_unwatch(struct call *call)
{
    (void)call;
    return true;
}

static const struct call_ops call_ops = {
    .reply = on_reply,
    .fail = on_fail,
    .is_cancelled = never_cancelled,
    .watch = no_watch,
    .unwatch = no_unwatch,
};

static struct test_call *call_new(struct outcome *outcome)
{
    struct test_call *test = mem_new(struct test_call);
    test->call.ops = &call_ops;
    test->call.method = "test";
    test->call.deadline_mono_ns = INT64_MAX;
    test->outcome = outcome;
    test->request.call = &test->call;
    test->request.namespace_id = harness->namespace_id;
    test->request.workflow_id = bytes_of("w");
    test->request.want = REQUEST_CURRENT;
    test->request.access = REQUEST_WRITE;
    return test;
}

static struct outcome submit(struct test_call *test)
{
    struct outcome *outcome = test->outcome;
    assert_int_equal(engine_submit(harness->engine, &test->request), OK);
    settle();
    assert_true(outcome->done);
    return *outcome;
}

struct outcome harness_call(
    request_handler *handler, const void *message, void *ctx, const char *run_id)
{
    struct outcome outcome = {0};
    struct test_call *test = call_new(&outcome);
    test->request.handle = handler;
    test->request.message = message;
    test->request.ctx = ctx;
    if (run_id) {
        test->request.want = REQUEST_RUN;
        assert_true(uuid_parse(bytes_of(run_id), &test->request.run_id));
    }
    return submit(test);
}

static void handle_look(struct decision *d, struct request *request)
{
    struct test_call *test = CONTAINER_OF(request, struct test_call, request);
    test->look(d, d->run, test->ctx);
    decision_reply_bytes(d, d->run, request->call, bytes_make(NULL, 0));
}

void harness_look(harness_look_fn *look, void *ctx)
{
    struct outcome outcome = {0};
    struct test_call *test = call_new(&outcome);
    test->look = look;
    test->ctx = ctx;
    test->request.handle = handle_look;
    assert_int_equal(submit(test).code, GRPC_OK);
}

/* ---- clients -------------------------------------------------------------------------------- */

const char *harness_start(int64_t run_timeout_ms, const Api__RetryPolicy *retry)
{
    struct arena *arena = &harness->arena;
    Api__StartWorkflowExecutionRequest *start =
        arena_new(arena, Api__StartWorkflowExecutionRequest);
    api__start_workflow_execution_request__init(start);
    Api__WorkflowType type = API__WORKFLOW_TYPE__INIT;
    type.name = event_text("type");
    start->workflow_type = &type;
    start->task_queue = task_queue_new(arena, "queue");
    start->workflow_id = event_text("w");
    start->request_id = event_text("start-1");
    start->identity = event_text("client");
    if (run_timeout_ms)
        start->workflow_run_timeout = duration_new(arena, run_timeout_ms);
    Api__RetryPolicy policy;
    if (retry) {
        policy = *retry;
        start->retry_policy = &policy;
    }
    struct outcome outcome = harness_call(decide_start, start, NULL, NULL);
    assert_int_equal(outcome.code, GRPC_OK);
    Api__StartWorkflowExecutionResponse *response =
        proto_unpack(arena, &api__start_workflow_execution_response__descriptor, outcome.body);
    assert_non_null(response);
    assert_true(response->started);
    return response->run_id;
}

struct outcome harness_signal(const char *name, const char *request_id)
{
    Api__SignalWorkflowExecutionRequest signal = API__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
    signal.signal_name = event_text(name);
    signal.request_id = event_text(request_id);
    return harness_call(decide_signal, &signal, NULL, NULL);
}

/* ---- workers -------------------------------------------------------------------------------- */

static void take_task(struct decision *d, struct run *run, void *ctx)
{
    Api__PollWorkflowTaskQueueResponse **ret = ctx;
    Api__PollWorkflowTaskQueueResponse *response =
        arena_new(&harness->arena, Api__PollWorkflowTaskQueueResponse);
    *ret = NULL;
    if (run &&
        dispatch_start_task_now(d, run, "worker", "poll-1", false, &harness->arena, response))
        *ret = response;
}

Api__PollWorkflowTaskQueueResponse *harness_take_task(void)
{
    Api__PollWorkflowTaskQueueResponse *response = NULL;
    harness_look(take_task, &response);
    return response;
}

static void handle_take_activity(struct decision *d, struct request *request)
{
    struct run *run = d->run;
    struct poll poll = {.call = request->call, .identity = "worker"};
    struct activity *activity = run ? run_activity_by_id(run, bytes_of(request->message)) : NULL;
    struct task *task = task_new(TASK_ACTIVITY, harness->namespace_id, bytes_of("w"),
        run ? run->run_id : (struct uuid){0}, 0, activity ? activity->scheduled_event_id : 0,
        activity ? activity->attempt : 0, "queue", NULL);
    struct match match = {.task = task, .poll = &poll};
    if (!dispatch_activity_task(d, &match))
        decision_fail(d, run, request->call, GRPC_NOT_FOUND, NULL, NULL, "nothing waits");
    task_free(task);
}

Api__PollActivityTaskQueueResponse *harness_take_activity(const char *activity_id)
{
    struct outcome outcome = harness_call(handle_take_activity, activity_id, NULL, NULL);
    if (outcome.code != GRPC_OK)
        return NULL;
    return proto_unpack(
        &harness->arena, &api__poll_activity_task_queue_response__descriptor, outcome.body);
}

struct outcome harness_complete(
    const Api__PollWorkflowTaskQueueResponse *task, Api__Command **commands, size_t count)
{
    Api__RespondWorkflowTaskCompletedRequest completed =
        API__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
    completed.task_token = task->task_token;
    completed.identity = event_text("worker");
    completed.commands = commands;
    completed.n_commands = count;
    return harness_call(decide_task_completed, &completed, NULL, task->workflow_execution->run_id);
}

void harness_run_task(Api__Command **commands, size_t count)
{
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    assert_non_null(task);
    struct outcome outcome = harness_complete(task, commands, count);
    if (outcome.code != GRPC_OK)
        print_message("completion failed: %s\n", outcome.message);
    assert_int_equal(outcome.code, GRPC_OK);
}

/* ---- history -------------------------------------------------------------------------------- */

static void read_history(struct decision *d, struct run *run, void *ctx)
{
    (void)d;
    Api__History **ret = ctx;
    struct buffer all = {0};
    struct list *node = NULL;
    assert_non_null(run);
    assert_true(run_tail_from(run, 1, &node));
    for (; node != &run->tail; node = node->next) {
        struct batch batch;
        const struct run_batch *kept = CONTAINER_OF(node, struct run_batch, link);
        assert_int_equal(batch_decode(blob_view(kept->value), &batch), OK);
        buffer_append(&all, batch.events.data, batch.events.len);
    }
    *ret = proto_unpack(&harness->arena, &api__history__descriptor, buffer_view(&all));
    buffer_release(&all);
    assert_non_null(*ret);
}

static void append_short(struct buffer *text, const char *name)
{
    static const struct {
        const char *prefix;
        const char *instead;
    } prefixes[] = {
        {"EVENT_TYPE_WORKFLOW_EXECUTION_", ""},
        {"EVENT_TYPE_WORKFLOW_TASK_", "Task"},
        {"EVENT_TYPE_ACTIVITY_TASK_", "Activity"},
        {"EVENT_TYPE_", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t len = strlen(prefixes[i].prefix);
        if (strncmp(name, prefixes[i].prefix, len) == 0) {
            buffer_printf(text, "%s%s", text->len ? " " : "", prefixes[i].instead);
            name += len;
            break;
        }
    }
    bool upper = true;
    for (; *name; name++) {
        if (*name != '_')
            buffer_printf(text, "%c", upper ? *name : *name - 'A' + 'a');
        upper = *name == '_';
    }
}

const char *harness_history(void)
{
    Api__History *history = NULL;
    harness_look(read_history, &history);
    struct buffer text = {0};
    for (size_t i = 0; i < history->n_events; i++) {
        assert_int_equal(history->events[i]->event_id, i + 1);
        append_short(&text, protobuf_c_enum_descriptor_get_value(
                                &api__event_type__descriptor, (int)history->events[i]->event_type)
                                ->name);
    }
    char *copy = bytes_string(&harness->arena, buffer_view(&text));
    buffer_release(&text);
    return copy;
}

int64_t harness_event_count(void)
{
    Api__History *history = NULL;
    harness_look(read_history, &history);
    return (int64_t)history->n_events;
}

Api__HistoryEvent *harness_event(int64_t id)
{
    Api__History *history = NULL;
    harness_look(read_history, &history);
    int64_t index = id > 0 ? id - 1 : (int64_t)history->n_events + id;
    assert_in_range(index, 0, history->n_events - 1);
    return history->events[index];
}
