/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls at a cluster where their namespace is passive.
 */
#include <string.h>

#include "cluster/frontend/tests/frontend_fixture.h"
#include "proto/api_service_activity.pb-c.h"
#include "proto/api_service_visibility.pb-c.h"
#include "replicator/bus_memory.h"

static int64_t count_at(int site)
{
    Api__CountWorkflowExecutionsRequest request;
    api__count_workflow_executions_request__init(&request);
    request.namespace_ = event_text("ns");
    const Api__CountWorkflowExecutionsResponse *response = call_ok(site, "CountWorkflowExecutions",
        &request.base, &api__count_workflow_executions_response__descriptor);
    return response->count;
}

static void writes_run_where_the_namespace_is_active(void **state)
{
    (void)state;
    const char *run_id = start_workflow(EU, "w");
    assert_int_equal(strlen(run_id), UUID_TEXT_LEN);
    assert_int_equal(count_at(US), 1);
    assert_int_equal(count_at(EU), 0); /* reads are answered here */
}

static void errors_come_back_whole(void **state)
{
    (void)state;
    (void)start_workflow(EU, "w");
    const struct fake_call *call =
        call_run(EU, "StartWorkflowExecution", &start_request("w")->base);
    assert_failed(call, GRPC_ALREADY_EXISTS, "Workflow execution is already running");
    assert_detail(call, "WorkflowExecutionAlreadyStartedFailure");
    const Api__WorkflowExecutionAlreadyStartedFailure *detail = proto_unpack(
        &world->arena, &api__workflow_execution_already_started_failure__descriptor, call->detail);
    /* The first cluster gave the start a request id. */
    assert_int_equal(strlen(detail->start_request_id), UUID_TEXT_LEN);
}

static void clients_may_refuse_to_be_forwarded(void **state)
{
    (void)state;
    struct bytes request = proto_pack(&world->arena, &start_request("w")->base);
    struct fake_call *call = call_begin_bytes(EU, "StartWorkflowExecution", request, 30000, true);
    world_settle();
    assert_failed(call, GRPC_FAILED_PRECONDITION, "Namespace: ns is active in cluster: us");
    assert_detail(call, "NamespaceNotActiveFailure");
}

static void without_nats_writes_are_unavailable(void **state)
{
    (void)state;
    site_cut(EU, false);
    assert_failed(call_run(EU, "StartWorkflowExecution", &start_request("w")->base),
        GRPC_UNAVAILABLE, "whose NATS cannot be reached from cluster eu");
}

static void a_silent_cluster_is_a_timeout(void **state)
{
    (void)state;
    /* The peer's own connection is gone: nobody listens, or nobody answers. */
    bus_memory_set_connected(world->sites[US].clusters[US].bus, false);
    struct fake_call *call =
        call_begin(EU, "StartWorkflowExecution", &start_request("w")->base, 5000);
    world_settle();
    world_advance_ms(6000);
    assert_true(call->done);
    assert_true(call->code == GRPC_UNAVAILABLE || call->code == GRPC_DEADLINE_EXCEEDED);
    bus_memory_set_connected(world->sites[US].clusters[US].bus, true);
}

static void oversized_requests_say_so(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("w");
    ProtobufCBinaryData input = {3 * MIB / 2, NULL};
    input.data = arena_zalloc(&world->arena, input.len, 1);
    request->n_input = 1;
    request->input = &input;
    assert_failed(call_run(EU, "StartWorkflowExecution", &request->base), GRPC_INVALID_ARGUMENT,
        "too large to be forwarded to cluster us");
}

/* A failover is under way: one cluster knows of it, the other does not yet. */
static void a_call_waits_until_the_clusters_agree(void **state)
{
    (void)state;
    site_activate(US, "ns", EU);
    /* Both think that the other is active. */
    struct fake_call *call =
        call_begin(US, "StartWorkflowExecution", &start_request("w")->base, 30000);
    world_settle();
    world_advance_ms(500);
    assert_false(call->done);
    site_share(US, "ns");
    world_advance_ms(1000);
    assert_true(call->done);
    assert_int_equal(call->code, GRPC_OK);
    assert_int_equal(count_at(EU), 1);
}

static void it_does_not_wait_forever(void **state)
{
    (void)state;
    site_activate(US, "ns", EU);
    struct fake_call *call = call_begin(US, "StartWorkflowExecution", &start_request("w")->base, 0);
    for (int i = 0; i < 13; i++)
        world_advance_ms(1000);
    assert_failed(call, GRPC_UNAVAILABLE, "cluster eu does not hold the namespace active");
}

static void shutting_down_ends_waiting_calls(void **state)
{
    (void)state;
    site_activate(US, "ns", EU);
    struct fake_call *call =
        call_begin(US, "StartWorkflowExecution", &start_request("w")->base, 30000);
    world_settle();
    frontend_stop(world->sites[US].frontend);
    world_settle();
    assert_failed(call, GRPC_UNAVAILABLE, "shutting down");
}

static void tasks_of_the_past_are_void(void **state)
{
    (void)state;
    (void)start_workflow(US, "w");
    struct fake_call *poll =
        call_begin(US, "PollWorkflowTaskQueue", &poll_request("queue")->base, 70000);
    world_settle();
    const Api__PollWorkflowTaskQueueResponse *task =
        call_unpack(poll, &api__poll_workflow_task_queue_response__descriptor);
    site_activate(US, "ns", EU);
    Api__RespondWorkflowTaskCompletedRequest request;
    api__respond_workflow_task_completed_request__init(&request);
    request.task_token = task->task_token;
    const struct fake_call *call = call_run(US, "RespondWorkflowTaskCompleted", &request.base);
    assert_failed(call, GRPC_NOT_FOUND, "Workflow task not found.");
    const Api__NotFoundFailure *detail =
        proto_unpack(&world->arena, &api__not_found_failure__descriptor, call->detail);
    assert_string_equal(detail->active_cluster, "eu");
    assert_string_equal(detail->current_cluster, "us");
}

static void passive_clusters_let_workers_wait(void **state)
{
    (void)state;
    struct fake_call *poll =
        call_begin(EU, "PollWorkflowTaskQueue", &poll_request("queue")->base, 70000);
    (void)start_workflow(EU, "w");
    world_settle();
    assert_false(poll->done); /* the task is the active cluster's */
}

static void answered(const struct forward_answer *answer, void *ctx)
{
    *(enum grpc_code *)ctx = answer->code;
}

static void only_writes_are_served_for_others(void **state)
{
    (void)state;
    enum grpc_code code = GRPC_OK;
    struct bytes body = proto_pack(&world->arena, &poll_request("queue")->base);
    frontend_handle_forward(world->sites[US].frontend,
        "/temporal.api.workflowservice.v1.WorkflowService/PollWorkflowTaskQueue", body, 5000,
        answered, &code);
    assert_int_equal(code, GRPC_FAILED_PRECONDITION);
    frontend_handle_forward(
        world->sites[US].frontend, "/no.Such/Method", body, 5000, answered, &code);
    assert_int_equal(code, GRPC_UNIMPLEMENTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_run_where_the_namespace_is_active),
        TEST(errors_come_back_whole),
        TEST(clients_may_refuse_to_be_forwarded),
        TEST(without_nats_writes_are_unavailable),
        TEST(a_silent_cluster_is_a_timeout),
        TEST(oversized_requests_say_so),
        TEST(a_call_waits_until_the_clusters_agree),
        TEST(it_does_not_wait_forever),
        TEST(shutting_down_ends_waiting_calls),
        TEST(tasks_of_the_past_are_void),
        TEST(passive_clusters_let_workers_wait),
        TEST(only_writes_are_served_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
