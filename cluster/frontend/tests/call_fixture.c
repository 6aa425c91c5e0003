/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of clients that note how they end.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/frontend/tests/frontend_fixture.h"

#define CALLS_MAX 4096

static struct fake_call *calls[CALLS_MAX];
static size_t call_count;

void calls_release(void)
{
    for (size_t i = 0; i < call_count; i++) {
        assert_true(calls[i]->done);
        arena_release(&calls[i]->call.arena);
        mem_free(calls[i]);
    }
    call_count = 0;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static struct fake_call *fake_of(struct call *call)
{
    return CONTAINER_OF(call, struct fake_call, call);
}

static void end(struct fake_call *fake)
{
    assert_false(fake->done);
    fake->done = true;
    fake->watch = NULL;
}

static void fake_reply(struct call *call, struct bytes body)
{
    struct fake_call *fake = fake_of(call);
    end(fake);
    fake->body = bytes_copy(&world->arena, body);
}

static void fake_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    struct fake_call *fake = fake_of(call);
    end(fake);
    fake->code = code;
    fake->message = arena_strdup(&world->arena, message);
    fake->detail_type = detail_type ? arena_strdup(&world->arena, detail_type) : NULL;
    fake->detail = bytes_copy(&world->arena, detail);
}

static bool fake_is_cancelled(struct call *call)
{
    return fake_of(call)->cancelled;
}

static void fake_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    struct fake_call *fake = fake_of(call);
    fake->mailbox = mailbox;
    fake->watch = watch;
}

static bool fake_unwatch(struct call *call)
{
    fake_of(call)->watch = NULL;
    return !fake_of(call)->cancelled;
}

static const struct call_ops fake_ops = {
    fake_reply, fake_fail, fake_is_cancelled, fake_watch, fake_unwatch};

struct fake_call *call_begin_bytes(
    int site, const char *method, struct bytes request, int64_t timeout_ms, bool no_forward)
{
    assert_true(call_count < CALLS_MAX);
    struct fake_call *fake = mem_new(struct fake_call);
    calls[call_count++] = fake;
    struct call *call = &fake->call;
    call->ops = &fake_ops;
    call->method = *method == '/'
                       ? method
                       : arena_printf(&call->arena,
                             "/temporal.api.workflowservice.v1.WorkflowService/%s", method);
    call->request = request;
    call->received_mono_ns = world->mono_ns;
    call->deadline_mono_ns = timeout_ms ? world->mono_ns + timeout_ms * NS_PER_MS : INT64_MAX;
    call->no_forward = no_forward;
    frontend_handle(world->sites[site].frontend, call);
    return fake;
}

struct fake_call *call_begin(
    int site, const char *method, const ProtobufCMessage *request, int64_t timeout_ms)
{
    return call_begin_bytes(site, method, proto_pack(&world->arena, request), timeout_ms, false);
}

void call_cancel(struct fake_call *call)
{
    struct mail *watch = call->watch;
    call->cancelled = true;
    call->watch = NULL;
    if (watch)
        mailbox_complete(call->mailbox, watch);
    world_settle();
}

struct fake_call *call_run(int site, const char *method, const ProtobufCMessage *request)
{
    struct fake_call *call = call_begin(site, method, request, 30000);
    world_settle();
    assert_true(call->done);
    return call;
}

void *call_unpack(const struct fake_call *call, const ProtobufCMessageDescriptor *response)
{
    assert_true(call->done);
    if (call->code != GRPC_OK)
        print_error("%s: %s\n", call->call.method, call->message);
    assert_int_equal(call->code, GRPC_OK);
    void *message = proto_unpack(&world->arena, response, call->body);
    assert_non_null(message);
    return message;
}

void *call_ok(int site, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response)
{
    return call_unpack(call_run(site, method, request), response);
}

void assert_failed(const struct fake_call *call, enum grpc_code code, const char *text)
{
    assert_true(call->done);
    if (call->code != code || !strstr(call->message, text))
        print_error("%s: %d %s\n", call->call.method, (int)call->code, call->message);
    assert_int_equal(call->code, code);
    assert_non_null(strstr(call->message, text));
}

void assert_detail(const struct fake_call *call, const char *name)
{
    assert_non_null(call->detail_type);
    assert_string_equal(strrchr(call->detail_type, '.') + 1, name);
}

/* ---- requests ------------------------------------------------------------------------------- */

Api__StartWorkflowExecutionRequest *start_request(const char *workflow_id)
{
    struct arena *arena = &world->arena;
    Api__StartWorkflowExecutionRequest *request =
        arena_new(arena, Api__StartWorkflowExecutionRequest);
    api__start_workflow_execution_request__init(request);
    request->namespace_ = event_text("ns");
    request->workflow_id = arena_strdup(arena, workflow_id);
    request->workflow_type = arena_new(arena, Api__WorkflowType);
    api__workflow_type__init(request->workflow_type);
    request->workflow_type->name = event_text("Order");
    request->task_queue = task_queue_new(arena, "queue");
    return request;
}

Api__PollWorkflowTaskQueueRequest *poll_request(const char *queue)
{
    struct arena *arena = &world->arena;
    Api__PollWorkflowTaskQueueRequest *request =
        arena_new(arena, Api__PollWorkflowTaskQueueRequest);
    api__poll_workflow_task_queue_request__init(request);
    request->namespace_ = event_text("ns");
    request->task_queue = task_queue_new(arena, queue);
    request->identity = event_text("worker");
    return request;
}

const char *start_workflow(int site, const char *workflow_id)
{
    const Api__StartWorkflowExecutionResponse *response = call_ok(site, "StartWorkflowExecution",
        &start_request(workflow_id)->base, &api__start_workflow_execution_response__descriptor);
    assert_true(response->started);
    return response->run_id;
}
