/* SPDX-License-Identifier: Apache-2.0
 *
 * Methods, form and refusals.
 */
#include <string.h>

#include "cluster/frontend/tests/frontend_fixture.h"
#include "proto/api_service_activity.pb-c.h"
#include "proto/api_service_describe.pb-c.h"
#include "proto/api_service_system.pb-c.h"

/* ---- methods -------------------------------------------------------------------------------- */

static void methods_are_sorted_and_named_like_their_requests(void **state)
{
    (void)state;
    size_t count;
    const struct api_method *methods = api_methods(&count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            assert_true(strcmp(methods[i - 1].path, methods[i].path) < 0);
        assert_ptr_equal(api_method_find(methods[i].path), &methods[i]);
        const char *name = strrchr(methods[i].path, '/') + 1;
        const char *message = methods[i].descriptor->short_name;
        assert_int_equal(strncmp(name, message, strlen(name)), 0);
        assert_string_equal(message + strlen(name), "Request");
    }
}

static struct fake_call *call_empty(const char *method)
{
    struct fake_call *call = call_begin_bytes(US, method, (struct bytes){0}, 0, false);
    assert_true(call->done);
    return call;
}

static void unknown_methods_are_unimplemented(void **state)
{
    (void)state;
    assert_failed(call_empty("UpdateWorkflowExecution"), GRPC_UNIMPLEMENTED,
        "unknown method UpdateWorkflowExecution for service "
        "temporal.api.workflowservice.v1.WorkflowService");
    assert_failed(call_empty("/temporal.api.operatorservice.v1.OperatorService/Nothing"),
        GRPC_UNIMPLEMENTED, "unknown method Nothing for service");
    assert_failed(
        call_empty("/other.Service/Method"), GRPC_UNIMPLEMENTED, "unknown service other.Service");
    assert_failed(call_empty("/"), GRPC_UNIMPLEMENTED, "malformed method name");
}

static void malformed_requests_name_their_method(void **state)
{
    (void)state;
    struct fake_call *call =
        call_begin_bytes(US, "StartWorkflowExecution", bytes_of("\x0a\xff\xff"), 0, false);
    assert_failed(call, GRPC_INVALID_ARGUMENT, "request of StartWorkflowExecution");
}

/* Random bytes for every method: an end, and never a crash. */
static void random_requests_never_crash(void **state)
{
    (void)state;
    size_t count;
    const struct api_method *methods = api_methods(&count);
    print_message("seed %llu\n", (unsigned long long)world->random);
    for (int i = 0; i < 2000; i++) {
        uint8_t data[32];
        world->sites[US].env.random(world, data, sizeof(data));
        struct bytes request =
            bytes_copy(&world->arena, bytes_make(data + 1, (size_t)(data[0] % (sizeof(data) - 1))));
        (void)call_begin_bytes(
            US, methods[(size_t)i % count].path, request, 5000, false); /* the end is enough */
    }
    world_advance_ms(6000);
}

/* ---- start ---------------------------------------------------------------------------------- */

static char *long_text(void)
{
    char *text = arena_alloc(&world->arena, ID_BYTES_MAX + 2);
    memset(text, 'x', ID_BYTES_MAX + 1);
    text[ID_BYTES_MAX + 1] = 0;
    return text;
}

static void refuse_start(const Api__StartWorkflowExecutionRequest *request, const char *text)
{
    assert_failed(
        call_run(US, "StartWorkflowExecution", &request->base), GRPC_INVALID_ARGUMENT, text);
}

static void starts_are_checked(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("w");
    request->namespace_ = event_text("");
    refuse_start(request, "Namespace not set on request.");
    request = start_request("");
    refuse_start(request, "WorkflowId is not set on request.");
    request = start_request(long_text());
    refuse_start(request, "WorkflowId length exceeds limit.");
    request = start_request("bad\xff");
    refuse_start(request, "WorkflowId is not valid UTF-8.");
    request = start_request("w");
    request->workflow_type = NULL;
    refuse_start(request, "WorkflowType is not set on request.");
    request = start_request("w");
    request->workflow_type->name = long_text();
    refuse_start(request, "WorkflowType length exceeds limit.");
    request = start_request("w");
    request->task_queue = NULL;
    refuse_start(request, "TaskQueue is not set on request.");
    request = start_request("w");
    request->task_queue->name = long_text();
    refuse_start(request, "TaskQueue length exceeds limit.");
    request = start_request("w");
    request->request_id = long_text();
    refuse_start(request, "RequestId length exceeds limit.");
    request = start_request("w");
    request->identity = long_text();
    refuse_start(request, "Identity length exceeds limit.");
    request = start_request("w");
    request->workflow_run_timeout = duration_new(&world->arena, -1);
    refuse_start(request, "Invalid WorkflowRunTimeoutSeconds.");
    request = start_request("w");
    request->workflow_id_reuse_policy =
        API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING;
    request->workflow_id_conflict_policy =
        API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_FAIL;
    refuse_start(request, "cannot be used together with a WorkflowIDConflictPolicy");
    request = start_request("w");
    ProtobufCBinaryData input = {BLOB_BYTES_MAX + 1, NULL};
    input.data = arena_zalloc(&world->arena, input.len, 1);
    request->n_input = 1;
    request->input = &input;
    refuse_start(request, "Blob data size exceeds limit.");
}

static void unknown_namespaces_are_not_found(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("w");
    request->namespace_ = event_text("nowhere");
    const struct fake_call *call = call_run(US, "StartWorkflowExecution", &request->base);
    assert_failed(call, GRPC_NOT_FOUND, "Namespace nowhere is not found.");
    assert_detail(call, "NamespaceNotFoundFailure");
    const Api__NamespaceNotFoundFailure *detail =
        proto_unpack(&world->arena, &api__namespace_not_found_failure__descriptor, call->detail);
    assert_string_equal(detail->namespace_, "nowhere");
}

/* ---- executions ----------------------------------------------------------------------------- */

static void executions_are_checked(void **state)
{
    (void)state;
    struct arena *arena = &world->arena;
    Api__DescribeWorkflowExecutionRequest request;
    api__describe_workflow_execution_request__init(&request);
    request.namespace_ = event_text("nowhere");
    request.execution = execution_new(arena, bytes_of("w"), "no uuid");
    /* Clients probe like this: the namespace comes first. */
    assert_failed(call_run(US, "DescribeWorkflowExecution", &request.base), GRPC_NOT_FOUND,
        "Namespace nowhere is not found.");
    request.namespace_ = event_text("ns");
    assert_failed(call_run(US, "DescribeWorkflowExecution", &request.base), GRPC_INVALID_ARGUMENT,
        "Invalid RunId.");
    request.execution = NULL;
    assert_failed(call_run(US, "DescribeWorkflowExecution", &request.base), GRPC_INVALID_ARGUMENT,
        "Execution is not set on request.");
    request.execution = execution_new(arena, bytes_of(""), "");
    assert_failed(call_run(US, "DescribeWorkflowExecution", &request.base), GRPC_INVALID_ARGUMENT,
        "WorkflowId is not set on request.");
    request.execution = execution_new(arena, bytes_of("w"), "");
    const struct fake_call *call = call_run(US, "DescribeWorkflowExecution", &request.base);
    assert_failed(call, GRPC_NOT_FOUND, "workflow not found");
    assert_detail(call, "NotFoundFailure");
}

static void tokens_are_checked(void **state)
{
    (void)state;
    Api__RespondWorkflowTaskCompletedRequest request;
    api__respond_workflow_task_completed_request__init(&request);
    request.namespace_ = event_text("ns");
    assert_failed(call_run(US, "RespondWorkflowTaskCompleted", &request.base),
        GRPC_INVALID_ARGUMENT, "Task token not set on request.");
    request.task_token = (ProtobufCBinaryData){7, (uint8_t *)event_text("garbage")};
    assert_failed(call_run(US, "RespondWorkflowTaskCompleted", &request.base),
        GRPC_INVALID_ARGUMENT, "Error deserializing task token.");
    Api__RecordActivityTaskHeartbeatRequest beat;
    api__record_activity_task_heartbeat_request__init(&beat);
    beat.task_token = request.task_token;
    assert_failed(call_run(US, "RecordActivityTaskHeartbeat", &beat.base), GRPC_INVALID_ARGUMENT,
        "Error deserializing task token.");
    Api__RespondActivityTaskCompletedByIdRequest by_id;
    api__respond_activity_task_completed_by_id_request__init(&by_id);
    by_id.namespace_ = event_text("ns");
    by_id.workflow_id = event_text("w");
    assert_failed(call_run(US, "RespondActivityTaskCompletedById", &by_id.base),
        GRPC_INVALID_ARGUMENT, "ActivityId is not set on request.");
}

static void history_tokens_are_checked(void **state)
{
    (void)state;
    Api__GetWorkflowExecutionHistoryRequest request;
    api__get_workflow_execution_history_request__init(&request);
    request.namespace_ = event_text("ns");
    request.execution = execution_new(&world->arena, bytes_of("w"), "");
    request.next_page_token = (ProtobufCBinaryData){7, (uint8_t *)event_text("garbage")};
    assert_failed(call_run(US, "GetWorkflowExecutionHistory", &request.base), GRPC_INVALID_ARGUMENT,
        "Invalid NextPageToken.");
}

/* ---- system --------------------------------------------------------------------------------- */

static void the_server_describes_itself(void **state)
{
    (void)state;
    Api__GetSystemInfoRequest request;
    api__get_system_info_request__init(&request);
    const Api__GetSystemInfoResponse *info =
        call_ok(US, "GetSystemInfo", &request.base, &api__get_system_info_response__descriptor);
    assert_string_equal(info->server_version, "1.2.3");
    assert_true(info->capabilities->sdk_metadata);
    assert_false(info->capabilities->nexus);
    const Api__GetClusterInfoResponse *cluster =
        call_ok(US, "GetClusterInfo", &request.base, &api__get_cluster_info_response__descriptor);
    assert_string_equal(cluster->cluster_name, "us");
    assert_int_equal(cluster->history_shard_count, 4);
    assert_int_equal(cluster->failover_version_increment, 10);
    const Api__ListClustersResponse *clusters =
        call_ok(US, "/temporal.api.operatorservice.v1.OperatorService/ListClusters", &request.base,
            &api__list_clusters_response__descriptor);
    assert_int_equal(clusters->n_clusters, 2);
    assert_string_equal(clusters->clusters[0]->cluster_id, cluster->cluster_id);
    const Api__GetSearchAttributesResponse *attributes = call_ok(
        US, "GetSearchAttributes", &request.base, &api__get_search_attributes_response__descriptor);
    assert_true(attributes->n_keys > 16);
    const Api__ListSearchAttributesResponse *listed =
        call_ok(US, "/temporal.api.operatorservice.v1.OperatorService/ListSearchAttributes",
            &request.base, &api__list_search_attributes_response__descriptor);
    assert_int_equal(listed->n_system_attributes, attributes->n_keys);
}

static void utf8_is_recognised(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a",
        "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf0\x9f\x8c", "\xff", "a\xe2\x82"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(text_is_utf8(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(text_is_utf8(bad[i]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(methods_are_sorted_and_named_like_their_requests),
        TEST(unknown_methods_are_unimplemented),
        TEST(malformed_requests_name_their_method),
        TEST(random_requests_never_crash),
        TEST(starts_are_checked),
        TEST(unknown_namespaces_are_not_found),
        TEST(executions_are_checked),
        TEST(tokens_are_checked),
        TEST(history_tokens_are_checked),
        TEST(the_server_describes_itself),
        TEST(utf8_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
