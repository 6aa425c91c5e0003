/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands against a server that answers what it is told: what is sent, what is shown.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/cli/cli_private.h"
#include "cluster/cli/tests/cli_fixture.h"
#include "proto/admin.pb-c.h"
#include "proto/api_history.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

/* What the server saw last; the command has ended when it is read. */
static char seen_method[256];
static struct buffer seen_request;

static void note(const struct call *call)
{
    snprintf(seen_method, sizeof(seen_method), "%s", call->method);
    buffer_clear(&seen_request);
    buffer_append(&seen_request, call->request.data, call->request.len);
}

static void reply(struct call *call, const ProtobufCMessage *message)
{
    note(call);
    call_reply(call, proto_pack(&call->arena, message));
}

/* ---- namespaces ----------------------------------------------------------------------------- */

static void answer_namespaces(struct call *call)
{
    char *clusters[] = {(char[]){"us"}, (char[]){"eu"}};
    Admin__Namespace shown;
    admin__namespace__init(&shown);
    shown.name = arena_strdup(&call->arena, "orders");
    shown.state = arena_strdup(&call->arena, "normal");
    shown.n_clusters = 2;
    shown.clusters = clusters;
    shown.active_cluster = clusters[1];
    shown.failover_version = 12;
    shown.retention_ms = 3ll * 24 * 3600 * 1000;
    Admin__Namespace *list[] = {&shown};
    Admin__ListNamespacesResponse response;
    admin__list_namespaces_response__init(&response);
    response.n_namespaces = 1;
    response.namespaces = list;
    reply(call, &response.base);
}

static void namespaces_as_table_and_json(void **state)
{
    (void)state;
    server_answer = answer_namespaces;
    const struct printed *printed = run_against_server("namespace list");
    assert_string_equal(printed->err, "");
    assert_string_equal(printed->out, "NAME    STATE   CLUSTERS  ACTIVE  VERSION  RETENTION\n"
                                      "orders  normal  us,eu     eu      12       3d\n");
    assert_int_equal(printed->status, CLI_OK);
    assert_string_equal(seen_method, "/strait.admin.v1.AdminService/ListNamespaces");
    printed = run_against_server("namespace list -o json");
    json_t *json = json_loads(printed->out, 0, NULL);
    assert_non_null(json);
    const json_t *shown = json_array_get(json_object_get(json, "namespaces"), 0);
    assert_string_equal(json_string_value(json_object_get(shown, "active_cluster")), "eu");
    assert_int_equal(json_integer_value(json_object_get(shown, "failover_version")), 12);
    assert_int_equal(json_array_size(json_object_get(shown, "clusters")), 2);
    json_decref(json);
}

/* ---- failover ------------------------------------------------------------------------------- */

static Admin__FailoverResponse *failover_response(struct arena *arena, Admin__ShardLoss **losses)
{
    Admin__FailoverResponse *response = arena_new(arena, Admin__FailoverResponse);
    admin__failover_response__init(response);
    response->from = arena_strdup(arena, "us");
    response->to = arena_strdup(arena, "eu");
    losses[0] = arena_new(arena, Admin__ShardLoss);
    admin__shard_loss__init(losses[0]);
    losses[0]->shard = 3;
    losses[0]->applied_seq = 41;
    losses[0]->known_seq = 44;
    losses[0]->known_time = 1700000000000000000;
    response->n_losses = 1;
    response->losses = losses;
    return response;
}

static void answer_failover(struct call *call)
{
    Admin__FailoverResponse response;
    admin__failover_response__init(&response);
    response.from = arena_strdup(&call->arena, "us");
    response.to = arena_strdup(&call->arena, "eu");
    response.kind = arena_strdup(&call->arena, "graceful");
    response.version = 12;
    response.pause_ms = 7;
    reply(call, &response.base);
}

static void refuse_failover(struct call *call)
{
    note(call);
    Admin__ShardLoss *losses[1];
    Admin__FailoverResponse *response = failover_response(&call->arena, losses);
    call_fail(call, GRPC_FAILED_PRECONDITION, "nothing was changed: see the table",
        "strait.admin.v1.FailoverResponse", proto_pack(&call->arena, &response->base));
}

static void graceful(void **state)
{
    (void)state;
    server_answer = answer_failover;
    const struct printed *printed =
        run_against_server("failover orders --to eu --deadline 5s --reason 'a drill'");
    assert_string_equal(
        printed->out, "orders: us -> eu, graceful, version 12, writes waited 7 ms\n");
    assert_int_equal(printed->status, CLI_OK);
    struct arena arena = {0};
    const Admin__FailoverRequest *request =
        proto_unpack(&arena, &admin__failover_request__descriptor, buffer_view(&seen_request));
    assert_non_null(request);
    assert_string_equal(request->namespace_, "orders");
    assert_string_equal(request->target, "eu");
    assert_int_equal(request->deadline_ms, 5000);
    assert_string_equal(request->reason, "a drill");
    assert_false(request->force);
    assert_non_null(strchr(request->identity, '@'));
    arena_release(&arena);
}

static void forced_shows_losses(void **state)
{
    (void)state;
    server_answer = refuse_failover;
    const struct printed *printed = run_against_server("failover orders --to eu --force");
    assert_int_equal(printed->status, CLI_FAILED);
    assert_string_equal(printed->err, "strait failover: nothing was changed: see the table\n");
    assert_string_equal(printed->out,
        "SHARD  APPLIED  APPLIED AT  KNOWN  KNOWN AT              MISSING\n"
        "3      41       -           44     2023-11-14T22:13:20Z  3\n"
        "\"missing\" is as far as known: the old active cluster may have accepted more\n");
    printed = run_against_server("failover orders --to eu --force -o json");
    assert_int_equal(printed->status, CLI_FAILED);
    json_t *json = json_loads(printed->out, 0, NULL);
    assert_non_null(json);
    assert_string_equal(
        json_string_value(json_object_get(json, "error")), "nothing was changed: see the table");
    json_decref(json);
}

static void answer_missing(struct call *call)
{
    note(call);
    call_fail(call, GRPC_NOT_FOUND, "Namespace nothing is not found.", NULL, (struct bytes){0});
}

static void a_namespace_called_list(void **state)
{
    (void)state;
    server_answer = answer_missing;
    const struct printed *printed = run_against_server("failover list --to eu");
    assert_string_equal(seen_method, "/strait.admin.v1.AdminService/Failover");
    assert_string_equal(printed->err, "strait failover: Namespace nothing is not found.\n");
    printed = run_against_server("failover list orders");
    assert_string_equal(seen_method, "/strait.admin.v1.AdminService/DescribeNamespace");
    assert_int_equal(printed->status, CLI_FAILED);
}

/* ---- replication ---------------------------------------------------------------------------- */

static void answer_verify(struct call *call)
{
    Admin__VerifyResponse response;
    admin__verify_response__init(&response);
    response.runs_compared = 10;
    response.runs_equal = 9;
    response.difference_count = 1;
    Admin__Difference difference;
    admin__difference__init(&difference);
    difference.cluster = arena_strdup(&call->arena, "eu");
    difference.workflow_id = arena_strdup(&call->arena, "w-1");
    difference.run_id = arena_strdup(&call->arena, "r");
    difference.what = arena_strdup(&call->arena, "behind there");
    difference.event_id_here = 12;
    difference.event_id_there = 9;
    Admin__Difference *list[] = {&difference};
    response.n_differences = 1;
    response.differences = list;
    reply(call, &response.base);
}

static void differences_fail(void **state)
{
    (void)state;
    server_answer = answer_verify;
    const struct printed *printed = run_against_server("replication verify orders --cluster eu");
    assert_int_equal(printed->status, CLI_FAILED);
    assert_string_equal(printed->out,
        "CLUSTER  WORKFLOW  RUN  DIFFERENCE    LAST EVENT HERE  THERE\n"
        "eu       w-1       r    behind there  12               9\n"
        "10 runs compared, 9 equal, 1 different\n");
}

/* ---- workflows ------------------------------------------------------------------------------ */

static void answer_start(struct call *call)
{
    Api__StartWorkflowExecutionResponse response;
    api__start_workflow_execution_response__init(&response);
    response.run_id = arena_strdup(&call->arena, "run-1");
    response.started = true;
    reply(call, &response.base);
}

static void start_sends_payloads(void **state)
{
    (void)state;
    server_answer = answer_start;
    const struct printed *printed = run_against_server(
        "workflow start w-1 --type order -t q -n shop --input '{\"a\": 1}' --input 2 "
        "--run-timeout 1500ms");
    assert_string_equal(printed->out, "started w-1, run run-1\n");
    struct arena arena = {0};
    const Api__StartWorkflowExecutionRequest *request = proto_unpack(
        &arena, &api__start_workflow_execution_request__descriptor, buffer_view(&seen_request));
    assert_non_null(request);
    assert_string_equal(request->namespace_, "shop");
    assert_string_equal(request->workflow_type->name, "order");
    assert_string_equal(request->task_queue->name, "q");
    assert_int_equal(request->workflow_run_timeout->seconds, 1);
    assert_int_equal(request->workflow_run_timeout->nanos, 500000000);
    assert_int_equal(strlen(request->request_id), 36);
    json_t *values = cli_json_payloads(request->n_input, request->input);
    assert_int_equal(json_array_size(values), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(values, 0), "a")), 1);
    assert_int_equal(json_integer_value(json_array_get(values, 1)), 2);
    json_decref(values);
    arena_release(&arena);
}

static Api__HistoryEvent *event_new(struct arena *arena, int64_t id)
{
    Api__HistoryEvent *event = arena_new(arena, Api__HistoryEvent);
    api__history_event__init(event);
    event->event_id = id;
    event->version = 1;
    event->event_time = arena_new(arena, Api__Timestamp);
    api__timestamp__init(event->event_time);
    event->event_time->seconds = 1700000000;
    return event;
}

/* Two pages of one event each; the second one fails a timer. */
static void answer_history(struct call *call)
{
    struct arena *arena = &call->arena;
    const Api__GetWorkflowExecutionHistoryRequest *request = proto_unpack(
        arena, &api__get_workflow_execution_history_request__descriptor, call->request);
    bool second = request->next_page_token.len > 0;
    Api__HistoryEvent *event = event_new(arena, second ? 2 : 1);
    Api__TimerFiredEventAttributes fired;
    api__timer_fired_event_attributes__init(&fired);
    fired.timer_id = arena_strdup(arena, "t1");
    Api__WorkflowExecutionSignaledEventAttributes signaled;
    api__workflow_execution_signaled_event_attributes__init(&signaled);
    signaled.signal_name = arena_strdup(arena, "go");
    if (second) {
        event->event_type = API__EVENT_TYPE__EVENT_TYPE_TIMER_FIRED;
        event->attributes_case = API__HISTORY_EVENT__ATTRIBUTES_TIMER_FIRED_EVENT_ATTRIBUTES;
        event->timer_fired_event_attributes = &fired;
    } else {
        event->event_type = API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED;
        event->attributes_case =
            API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_SIGNALED_EVENT_ATTRIBUTES;
        event->workflow_execution_signaled_event_attributes = &signaled;
    }
    Api__History history;
    api__history__init(&history);
    history.n_events = 1;
    history.events = &event;
    struct bytes packed = proto_pack(arena, &history.base);
    ProtobufCBinaryData data = {packed.len, arena_copy(arena, packed.data, packed.len)};
    Api__GetWorkflowExecutionHistoryResponse response;
    api__get_workflow_execution_history_response__init(&response);
    response.n_history = 1;
    response.history = &data;
    if (!second) {
        response.next_page_token.data = arena_copy(arena, "more", 4);
        response.next_page_token.len = 4;
    }
    reply(call, &response.base);
}

static void history_over_pages(void **state)
{
    (void)state;
    server_answer = answer_history;
    const struct printed *printed = run_against_server("workflow history w-1");
    assert_string_equal(printed->err, "");
    assert_string_equal(printed->out,
        "ID  TIME                  EVENT                        VERSION  DETAIL\n"
        "1   2023-11-14T22:13:20Z  WORKFLOW_EXECUTION_SIGNALED  1        signal_name=\"go\"\n"
        "2   2023-11-14T22:13:20Z  TIMER_FIRED                  1        timer_id=\"t1\"\n");
    printed = run_against_server("workflow history w-1 -o json");
    json_t *json = json_loads(printed->out, 0, NULL);
    assert_int_equal(json_array_size(json), 2);
    const json_t *event = json_array_get(json, 1);
    assert_string_equal(
        json_string_value(json_object_get(event, "event_type")), "EVENT_TYPE_TIMER_FIRED");
    assert_string_equal(
        json_string_value(json_object_get(event, "event_time")), "2023-11-14T22:13:20.000000000Z");
    assert_null(json_object_get(event, "workflow_execution_signaled_event_attributes"));
    json_decref(json);
}

/* ---- answers that do not help --------------------------------------------------------------- */

static void answer_garbage(struct call *call)
{
    note(call);
    call_reply(call, bytes_of("\xff\xff\xff"));
}

static void answer_unknown(struct call *call)
{
    note(call);
    call_fail(call, GRPC_UNIMPLEMENTED, "unknown service", NULL, (struct bytes){0});
}

static void useless_answers(void **state)
{
    (void)state;
    server_answer = answer_garbage;
    const struct printed *printed = run_against_server("cluster list");
    assert_int_equal(printed->status, CLI_FAILED);
    assert_non_null(strstr(printed->err, "does not decode"));
    server_answer = answer_unknown;
    printed = run_against_server("cluster status");
    assert_int_equal(printed->status, CLI_FAILED);
    assert_non_null(strstr(printed->err, "does not know this command (unknown service)"));
}

static int setup(void **state)
{
    (void)state;
    server_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_close();
    buffer_release(&seen_request);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespaces_as_table_and_json),
        cmocka_unit_test(graceful),
        cmocka_unit_test(forced_shows_losses),
        cmocka_unit_test(a_namespace_called_list),
        cmocka_unit_test(differences_fail),
        cmocka_unit_test(start_sends_payloads),
        cmocka_unit_test(history_over_pages),
        cmocka_unit_test(useless_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
