/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of clients at one of the clusters.
 */
#include <stdio.h>

#include "cluster/base/mem.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/event_build.h"
#include "proto/api_service_workflow.pb-c.h"
#include "replicator/tests/sites_fixture.h"

struct site_call {
    struct call call;
    struct request request;
    bool *done;
    enum grpc_code *code;
};

static void call_end(struct call *call, enum grpc_code code)
{
    struct site_call *self = CONTAINER_OF(call, struct site_call, call);
    *self->done = true;
    *self->code = code;
    arena_release(&call->arena);
    mem_free(self);
}

static void on_reply(struct call *call, struct bytes body)
{
    (void)body;
    call_end(call, GRPC_OK);
}

static void on_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    (void)message;
    (void)detail_type;
    (void)detail;
    call_end(call, code);
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

static bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

static enum grpc_code site_call(
    int index, request_handler *handler, const char *workflow_id, const void *message)
{
    bool done = false;
    enum grpc_code code = GRPC_UNKNOWN;
    struct site_call *call = mem_new(struct site_call);
    call->call.ops = &call_ops;
    call->call.method = "test";
    call->call.deadline_mono_ns = INT64_MAX;
    call->done = &done;
    call->code = &code;
    call->request.call = &call->call;
    call->request.namespace_id = sites->namespace_id;
    call->request.workflow_id = bytes_of(workflow_id);
    call->request.want = REQUEST_CURRENT;
    call->request.access = REQUEST_WRITE;
    call->request.handle = handler;
    call->request.message = message;
    assert_int_equal(engine_submit(sites->site[index].engine, &call->request), OK);
    sites_until(is_true, &done);
    return code;
}

static const char *fresh_id(void)
{
    char text[UUID_TEXT_LEN + 1];
    uuid_format(uuid_new(&sites->env), text);
    return arena_strdup(&sites->arena, text);
}

enum grpc_code site_start_workflow(int index, const char *workflow_id)
{
    struct arena *arena = &sites->arena;
    Api__StartWorkflowExecutionRequest start;
    api__start_workflow_execution_request__init(&start);
    Api__WorkflowType type = API__WORKFLOW_TYPE__INIT;
    type.name = event_text("type");
    start.workflow_type = &type;
    start.task_queue = task_queue_new(arena, "queue");
    start.workflow_id = event_text(workflow_id);
    start.request_id = event_text(fresh_id());
    start.identity = event_text("client");
    return site_call(index, decide_start, workflow_id, &start);
}

enum grpc_code site_signal(int index, const char *workflow_id, size_t bytes)
{
    Api__SignalWorkflowExecutionRequest signal = API__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
    signal.signal_name = event_text("signal");
    signal.request_id = event_text(fresh_id());
    if (bytes > 0) {
        char *text = arena_alloc(&sites->arena, bytes + 1);
        for (size_t i = 0; i < bytes; i++) { /* hard to compress */
            sites->env.random(sites, text + i, 1);
            text[i] = (char)('a' + (text[i] & 15));
        }
        text[bytes] = 0;
        opaque_set(
            &sites->arena, &signal.n_input, &signal.input, payloads_text(&sites->arena, text));
    }
    return site_call(index, decide_signal, workflow_id, &signal);
}

enum grpc_code site_terminate(int index, const char *workflow_id)
{
    Api__TerminateWorkflowExecutionRequest terminate =
        API__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
    terminate.reason = event_text("test");
    return site_call(index, decide_terminate, workflow_id, &terminate);
}

const char *workflow_name(int i)
{
    static char name[32];
    snprintf(name, sizeof(name), "w%d", i);
    return name;
}

void sites_work(int active, int from, int to)
{
    for (int i = from; i < to; i++)
        assert_int_equal(site_start_workflow(active, workflow_name(i)), GRPC_OK);
    for (int k = 0; k < 3; k++) {
        for (int i = from; i < to; i++)
            assert_int_equal(site_signal(active, workflow_name(i), 100), GRPC_OK);
    }
}
