/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists, counts and namespaces.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/frontend/tests/frontend_fixture.h"
#include "proto/api_service_visibility.pb-c.h"
#include "proto/record.pb-c.h"

/* ---- lists ---------------------------------------------------------------------------------- */

static Api__ListWorkflowExecutionsRequest *list_request(const char *query, int32_t page_size)
{
    Api__ListWorkflowExecutionsRequest *request =
        arena_new(&world->arena, Api__ListWorkflowExecutionsRequest);
    api__list_workflow_executions_request__init(request);
    request->namespace_ = event_text("ns");
    request->query = event_text(query);
    request->page_size = page_size;
    return request;
}

static const Api__ListWorkflowExecutionsResponse *list(
    const Api__ListWorkflowExecutionsRequest *request)
{
    return call_ok(US, "ListWorkflowExecutions", &request->base,
        &api__list_workflow_executions_response__descriptor);
}

static void start_many(int count)
{
    for (int i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "w-%d", i);
        (void)start_workflow(US, id);
        world_advance_ms(1000);
    }
}

static void lists_come_in_pages(void **state)
{
    (void)state;
    start_many(7);
    Api__ListWorkflowExecutionsRequest *request = list_request("WorkflowType = 'Order'", 3);
    int seen = 7;
    for (int page = 0; page < 3; page++) {
        const Api__ListWorkflowExecutionsResponse *response = list(request);
        assert_int_equal(response->n_executions, page < 2 ? 3 : 1);
        for (size_t i = 0; i < response->n_executions; i++) {
            char id[16];
            (void)snprintf(id, sizeof(id), "w-%d", --seen);
            const Api__WorkflowExecutionInfo *info = response->executions[i];
            assert_string_equal(info->execution->workflow_id, id);
            assert_string_equal(info->type->name, "Order");
            assert_string_equal(info->task_queue, "queue");
            assert_int_equal(info->status, 1);
            assert_null(info->close_time);
        }
        request->next_page_token = response->next_page_token;
    }
    assert_int_equal(request->next_page_token.len, 0);
}

static void refuse_list(const Api__ListWorkflowExecutionsRequest *request, const char *text)
{
    assert_failed(
        call_run(US, "ListWorkflowExecutions", &request->base), GRPC_INVALID_ARGUMENT, text);
}

static void bad_lists_are_refused(void **state)
{
    (void)state;
    start_many(2);
    refuse_list(list_request("Color = 'red'", 0), "invalid query: 'Color'");
    refuse_list(list_request("WorkflowId = 'a' ORDER BY StartTime", 0), "ORDER BY");
    refuse_list(list_request("", 1001), "PageSize is larger than allowed 1000.");
    Api__ListWorkflowExecutionsRequest *request = list_request("", 1);
    request->next_page_token = (ProtobufCBinaryData){7, (uint8_t *)event_text("garbage")};
    refuse_list(request, "Invalid NextPageToken.");
    request->next_page_token.len = 0;
    request->next_page_token = list(request)->next_page_token;
    assert_true(request->next_page_token.len > 0);
    request->query = event_text("WorkflowId != 'x'");
    refuse_list(request, "Invalid NextPageToken."); /* another query's */
    request->query = event_text("");
    request->next_page_token.data[20] ^= 1;
    refuse_list(request, "Invalid NextPageToken.");
}

static void the_older_lists_filter_too(void **state)
{
    (void)state;
    start_many(3);
    Api__ListOpenWorkflowExecutionsRequest open;
    api__list_open_workflow_executions_request__init(&open);
    open.namespace_ = event_text("ns");
    Api__WorkflowExecutionFilter filter;
    api__workflow_execution_filter__init(&filter);
    filter.workflow_id = event_text("w-1");
    open.filters_case = API__LIST_OPEN_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_EXECUTION_FILTER;
    open.execution_filter = &filter;
    Api__StartTimeFilter times;
    api__start_time_filter__init(&times);
    times.earliest_time = timestamp_new(&world->arena, 0);
    times.latest_time = timestamp_new(&world->arena, world->wall_ns);
    open.start_time_filter = &times;
    const Api__ListOpenWorkflowExecutionsResponse *listed =
        call_ok(US, "ListOpenWorkflowExecutions", &open.base,
            &api__list_open_workflow_executions_response__descriptor);
    assert_int_equal(listed->n_executions, 1);
    filter.workflow_id = event_text("it's \\ not there");
    listed = call_ok(US, "ListOpenWorkflowExecutions", &open.base,
        &api__list_open_workflow_executions_response__descriptor);
    assert_int_equal(listed->n_executions, 0);
    Api__ListClosedWorkflowExecutionsRequest closed;
    api__list_closed_workflow_executions_request__init(&closed);
    closed.namespace_ = event_text("ns");
    const Api__ListClosedWorkflowExecutionsResponse *none =
        call_ok(US, "ListClosedWorkflowExecutions", &closed.base,
            &api__list_closed_workflow_executions_response__descriptor);
    assert_int_equal(none->n_executions, 0);
    const Api__ListWorkflowExecutionsResponse *scanned = call_ok(US, "ScanWorkflowExecutions",
        &list_request("", 0)->base, &api__scan_workflow_executions_response__descriptor);
    assert_int_equal(scanned->n_executions, 3);
}

static void counts_are_grouped_by_status(void **state)
{
    (void)state;
    start_many(3);
    Api__TerminateWorkflowExecutionRequest terminate;
    api__terminate_workflow_execution_request__init(&terminate);
    terminate.namespace_ = event_text("ns");
    terminate.workflow_execution = execution_new(&world->arena, bytes_of("w-0"), "");
    (void)call_ok(US, "TerminateWorkflowExecution", &terminate.base,
        &api__terminate_workflow_execution_response__descriptor);
    Api__CountWorkflowExecutionsRequest request;
    api__count_workflow_executions_request__init(&request);
    request.namespace_ = event_text("ns");
    request.query = event_text("WorkflowType = 'Order' GROUP BY ExecutionStatus");
    const Api__CountWorkflowExecutionsResponse *response = call_ok(US, "CountWorkflowExecutions",
        &request.base, &api__count_workflow_executions_response__descriptor);
    assert_int_equal(response->count, 3);
    assert_int_equal(response->n_groups, 2);
    assert_int_equal(response->groups[0]->count, 2);
    ProtobufCBinaryData value = response->groups[1]->group_values[0];
    const Api__Payload *payload =
        proto_unpack(&world->arena, &api__payload__descriptor, bytes_make(value.data, value.len));
    assert_true(
        bytes_equal(bytes_make(payload->data.data, payload->data.len), bytes_of("\"Terminated\"")));
    assert_int_equal(payload->n_metadata, 2);
    request.query = event_text("");
    response = call_ok(US, "CountWorkflowExecutions", &request.base,
        &api__count_workflow_executions_response__descriptor);
    assert_int_equal(response->count, 3);
    assert_int_equal(response->n_groups, 0);
}

/* ---- namespaces ----------------------------------------------------------------------------- */

static Api__RegisterNamespaceRequest *register_request(const char *name)
{
    Api__RegisterNamespaceRequest *request =
        arena_new(&world->arena, Api__RegisterNamespaceRequest);
    api__register_namespace_request__init(request);
    request->namespace_ = event_text(name);
    request->workflow_execution_retention_period = duration_new(&world->arena, 24 * 3600 * 1000);
    return request;
}

static const Api__DescribeNamespaceResponse *describe(const char *name)
{
    Api__DescribeNamespaceRequest request;
    api__describe_namespace_request__init(&request);
    request.namespace_ = event_text(name);
    return call_ok(
        US, "DescribeNamespace", &request.base, &api__describe_namespace_response__descriptor);
}

static void namespaces_are_registered(void **state)
{
    (void)state;
    Api__RegisterNamespaceRequest *request = register_request("shop");
    request->description = event_text("orders");
    assert_int_equal(call_run(US, "RegisterNamespace", &request->base)->code, GRPC_OK);
    const Api__DescribeNamespaceResponse *shop = describe("shop");
    assert_string_equal(shop->namespace_info->name, "shop");
    assert_string_equal(shop->namespace_info->description, "orders");
    assert_int_equal(shop->config->workflow_execution_retention_ttl->seconds, 24 * 3600);
    assert_string_equal(shop->replication_config->active_cluster_name, "us");
    assert_int_equal(shop->replication_config->n_clusters, 1);
    assert_int_equal(shop->failover_version, 1);
    assert_false(shop->is_global_namespace);
    Api__DescribeNamespaceRequest by_id;
    api__describe_namespace_request__init(&by_id);
    by_id.id = shop->namespace_info->id;
    const Api__DescribeNamespaceResponse *same = call_ok(
        US, "DescribeNamespace", &by_id.base, &api__describe_namespace_response__descriptor);
    assert_string_equal(same->namespace_info->name, "shop");
    const struct fake_call *again = call_run(US, "RegisterNamespace", &request->base);
    assert_failed(again, GRPC_ALREADY_EXISTS, "Namespace shop already exists.");
    assert_detail(again, "NamespaceAlreadyExistsFailure");
}

static void refuse_register(const Api__RegisterNamespaceRequest *request, const char *text)
{
    assert_failed(call_run(US, "RegisterNamespace", &request->base), GRPC_INVALID_ARGUMENT, text);
}

static void bad_namespaces_are_refused(void **state)
{
    (void)state;
    refuse_register(register_request(""), "Namespace not set");
    refuse_register(register_request("a\nb"), "bytes of text");
    Api__RegisterNamespaceRequest *request = register_request("x");
    request->workflow_execution_retention_period = duration_new(&world->arena, 1000);
    refuse_register(request, "A valid retention period is not set");
    request = register_request("x");
    request->active_cluster_name = event_text("eu");
    refuse_register(request, "must be among the namespace's clusters");
    request = register_request("x");
    Api__ClusterReplicationConfig mars;
    api__cluster_replication_config__init(&mars);
    mars.cluster_name = event_text("mars");
    Api__ClusterReplicationConfig *only = &mars;
    request->n_clusters = 1;
    request->clusters = &only;
    refuse_register(request, "Invalid cluster name: mars");
}

static void namespaces_are_listed_in_pages(void **state)
{
    (void)state;
    assert_int_equal(call_run(US, "RegisterNamespace", &register_request("a")->base)->code, 0);
    assert_int_equal(call_run(US, "RegisterNamespace", &register_request("z")->base)->code, 0);
    static const char *const expected[] = {"a", "ns", "z"};
    Api__ListNamespacesRequest request;
    api__list_namespaces_request__init(&request);
    request.page_size = 1;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const Api__ListNamespacesResponse *page = call_ok(
            US, "ListNamespaces", &request.base, &api__list_namespaces_response__descriptor);
        assert_int_equal(page->n_namespaces, 1);
        assert_string_equal(page->namespaces[0]->namespace_info->name, expected[i]);
        request.next_page_token = page->next_page_token;
    }
    assert_int_equal(request.next_page_token.len, 0);
}

static void namespaces_are_updated(void **state)
{
    (void)state;
    Api__UpdateNamespaceRequest request;
    api__update_namespace_request__init(&request);
    request.namespace_ = event_text("ns");
    Api__UpdateNamespaceInfo info;
    api__update_namespace_info__init(&info);
    info.description = event_text("changed");
    Api__UpdateNamespaceInfo__DataEntry entry;
    api__update_namespace_info__data_entry__init(&entry);
    entry.key = event_text("team");
    entry.value = event_text("orders");
    Api__UpdateNamespaceInfo__DataEntry *only = &entry;
    info.n_data = 1;
    info.data = &only;
    request.update_info = &info;
    Api__NamespaceConfig config;
    api__namespace_config__init(&config);
    config.workflow_execution_retention_ttl = duration_new(&world->arena, 7200000);
    request.config = &config;
    const Api__UpdateNamespaceResponse *response =
        call_ok(US, "UpdateNamespace", &request.base, &api__update_namespace_response__descriptor);
    assert_string_equal(response->namespace_info->description, "changed");
    assert_int_equal(response->namespace_info->n_data, 1);
    assert_int_equal(response->config->workflow_execution_retention_ttl->seconds, 7200);
    const Record__Namespace *record =
        registry_record(world->sites[US].registry, &world->arena, "ns");
    assert_int_equal(record->config_version, 2);
    config.workflow_execution_retention_ttl = duration_new(&world->arena, 1);
    assert_failed(
        call_run(US, "UpdateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "retention");
    request.namespace_ = event_text("nowhere");
    assert_failed(call_run(US, "UpdateNamespace", &request.base), GRPC_NOT_FOUND, "nowhere");
}

static void another_active_cluster_is_a_failover(void **state)
{
    (void)state;
    Api__UpdateNamespaceRequest request;
    api__update_namespace_request__init(&request);
    request.namespace_ = event_text("ns");
    Api__NamespaceReplicationConfig replication;
    api__namespace_replication_config__init(&replication);
    replication.active_cluster_name = event_text("eu");
    request.replication_config = &replication;
    (void)call_ok(
        US, "UpdateNamespace", &request.base, &api__update_namespace_response__descriptor);
    assert_string_equal(world->sites[US].failover_target, "eu");
    request.promote_namespace = true;
    assert_failed(
        call_run(US, "UpdateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "in one request");
    /* The present one is none. */
    world->sites[US].failover_target[0] = 0;
    replication.active_cluster_name = event_text("us");
    (void)call_ok(
        US, "UpdateNamespace", &request.base, &api__update_namespace_response__descriptor);
    assert_string_equal(world->sites[US].failover_target, "");
    /* The active cluster stays one of them. */
    Api__ClusterReplicationConfig eu;
    api__cluster_replication_config__init(&eu);
    eu.cluster_name = event_text("eu");
    Api__ClusterReplicationConfig *only = &eu;
    replication.n_clusters = 1;
    replication.clusters = &only;
    assert_failed(
        call_run(US, "UpdateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "fail over first");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_come_in_pages),
        TEST(bad_lists_are_refused),
        TEST(the_older_lists_filter_too),
        TEST(counts_are_grouped_by_status),
        TEST(namespaces_are_registered),
        TEST(bad_namespaces_are_refused),
        TEST(namespaces_are_listed_in_pages),
        TEST(namespaces_are_updated),
        TEST(another_active_cluster_is_a_failover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
