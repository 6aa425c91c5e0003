/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting: policies, dedupe, delays, signal-with-start.
 */
#include "cluster/engine/tests/decide_fixture.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"

#define REUSE(name)     API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_##name
#define CONFLICT(name)  API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_##name
#define ALREADY_STARTED "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure"

static Api__StartWorkflowExecutionRequest *start_request(const char *request_id)
{
    struct arena *arena = harness_arena();
    Api__StartWorkflowExecutionRequest *start =
        arena_new(arena, Api__StartWorkflowExecutionRequest);
    api__start_workflow_execution_request__init(start);
    start->workflow_type = arena_new(arena, Api__WorkflowType);
    api__workflow_type__init(start->workflow_type);
    start->workflow_type->name = event_text("type");
    start->task_queue = task_queue_new(arena, "queue");
    start->request_id = event_text(request_id);
    start->identity = event_text("client");
    return start;
}

static Api__StartWorkflowExecutionResponse *started(struct outcome outcome)
{
    assert_int_equal(outcome.code, GRPC_OK);
    Api__StartWorkflowExecutionResponse *response = proto_unpack(
        harness_arena(), &api__start_workflow_execution_response__descriptor, outcome.body);
    assert_non_null(response);
    return response;
}

static struct outcome start(const Api__StartWorkflowExecutionRequest *request)
{
    return harness_call(decide_start, request, NULL, NULL);
}

static void the_started_event_is_complete(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("r1");
    request->workflow_execution_timeout = duration_new(harness_arena(), 60000);
    const char *run_id = started(start(request))->run_id;
    const Api__WorkflowExecutionStartedEventAttributes *event =
        harness_event(1)->workflow_execution_started_event_attributes;
    assert_string_equal(event->workflow_id, "w");
    assert_string_equal(event->workflow_type->name, "type");
    assert_string_equal(event->first_execution_run_id, run_id);
    assert_string_equal(event->original_execution_run_id, run_id);
    assert_string_equal(event->identity, "client");
    assert_int_equal(event->attempt, 1);
    assert_int_equal(duration_ms(event->workflow_execution_timeout), 60000);
    assert_int_equal(duration_ms(event->workflow_run_timeout), 60000);
    assert_int_equal(duration_ms(event->workflow_task_timeout), 10000);
    assert_non_null(event->first_workflow_task_backoff);
    assert_int_equal(
        timestamp_ns(event->workflow_execution_expiration_time), HARNESS_START_NS + 60 * NS_PER_S);
    assert_null(event->retry_policy);
}

static void the_same_request_starts_once(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionResponse *first = started(start(start_request("r1")));
    Api__StartWorkflowExecutionResponse *again = started(start(start_request("r1")));
    assert_string_equal(first->run_id, again->run_id);
    assert_true(again->started);
    harness_restart();
    again = started(start(start_request("r1")));
    assert_string_equal(first->run_id, again->run_id);
}

static void a_running_one_is_in_the_way(void **state)
{
    (void)state;
    const char *run_id = started(start(start_request("r1")))->run_id;
    struct outcome outcome = start(start_request("r2"));
    assert_int_equal(outcome.code, GRPC_ALREADY_EXISTS);
    assert_string_equal(outcome.detail_type, ALREADY_STARTED);
    assert_string_equal(outcome.message,
        arena_printf(harness_arena(),
            "Workflow execution is already running. WorkflowId: w, RunId: %s.", run_id));
}

static void a_running_one_may_be_used(void **state)
{
    (void)state;
    const char *run_id = started(start(start_request("r1")))->run_id;
    Api__StartWorkflowExecutionRequest *request = start_request("r2");
    request->workflow_id_conflict_policy = CONFLICT(USE_EXISTING);
    Api__StartWorkflowExecutionResponse *response = started(start(request));
    assert_string_equal(response->run_id, run_id);
    assert_false(response->started);
    assert_history("Started TaskScheduled");
}

static void callers_attach_to_a_running_one(void **state)
{
    (void)state;
    started(start(start_request("r1")));
    Api__StartWorkflowExecutionRequest *request = start_request("r2");
    Api__OnConflictOptions options = API__ON_CONFLICT_OPTIONS__INIT;
    options.attach_request_id = true;
    request->workflow_id_conflict_policy = CONFLICT(USE_EXISTING);
    request->on_conflict_options = &options;
    assert_false(started(start(request))->started);
    assert_false(started(start(request))->started);
    assert_history("Started TaskScheduled OptionsUpdated");
    assert_true(harness_event(3)->worker_may_ignore);
}

static void a_running_one_may_be_terminated(void **state)
{
    (void)state;
    const char *run_id = started(start(start_request("r1")))->run_id;
    Api__StartWorkflowExecutionRequest *request = start_request("r2");
    request->workflow_id_reuse_policy = REUSE(TERMINATE_IF_RUNNING);
    Api__StartWorkflowExecutionResponse *response = started(start(request));
    assert_true(response->started);
    assert_string_not_equal(response->run_id, run_id);
    assert_history("Started TaskScheduled");
}

static void a_closed_one_is_reused_by_policy(void **state)
{
    (void)state;
    started(start(start_request("r1")));
    Api__Command *commands[] = {command_complete()};
    harness_run_task(commands, 1);
    Api__StartWorkflowExecutionRequest *request = start_request("r2");
    request->workflow_id_reuse_policy = REUSE(REJECT_DUPLICATE);
    struct outcome outcome = start(request);
    assert_int_equal(outcome.code, GRPC_ALREADY_EXISTS);
    assert_non_null(strstr(outcome.message, "Workflow execution already finished."));
    request->workflow_id_reuse_policy = REUSE(ALLOW_DUPLICATE_FAILED_ONLY);
    outcome = start(request);
    assert_int_equal(outcome.code, GRPC_ALREADY_EXISTS);
    assert_non_null(strstr(outcome.message, "Workflow execution already finished successfully."));
    request->workflow_id_reuse_policy = REUSE(ALLOW_DUPLICATE);
    assert_true(started(start(request))->started);
}

static void a_failed_one_may_be_followed(void **state)
{
    (void)state;
    started(start(start_request("r1")));
    Api__Command *commands[] = {command_fail(false)};
    harness_run_task(commands, 1);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted Failed");
    Api__StartWorkflowExecutionRequest *request = start_request("r2");
    request->workflow_id_reuse_policy = REUSE(ALLOW_DUPLICATE_FAILED_ONLY);
    assert_true(started(start(request))->started);
}

static void cron_is_not_there_yet(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("r1");
    request->cron_schedule = event_text("* * * * *");
    assert_int_equal(start(request).code, GRPC_UNIMPLEMENTED);
}

static void a_delay_holds_back_the_first_task(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("r1");
    request->workflow_start_delay = duration_new(harness_arena(), 60000);
    started(start(request));
    harness_signal("one", "s1");
    assert_history("Started Signaled");
    harness_restart();
    harness_advance_ms(59000);
    assert_history("Started Signaled");
    harness_advance_ms(1000);
    assert_history("Started Signaled TaskScheduled");
}

/* ---- signal with start ---------------------------------------------------------------------- */

static Api__SignalWithStartWorkflowExecutionResponse *signal_with_start(const char *request_id)
{
    struct arena *arena = harness_arena();
    Api__SignalWithStartWorkflowExecutionRequest request =
        API__SIGNAL_WITH_START_WORKFLOW_EXECUTION_REQUEST__INIT;
    Api__WorkflowType type = API__WORKFLOW_TYPE__INIT;
    type.name = event_text("type");
    request.workflow_type = &type;
    request.task_queue = task_queue_new(arena, "queue");
    request.request_id = event_text(request_id);
    request.signal_name = event_text("hello");
    struct outcome outcome = harness_call(decide_signal_with_start, &request, NULL, NULL);
    assert_int_equal(outcome.code, GRPC_OK);
    return proto_unpack(
        arena, &api__signal_with_start_workflow_execution_response__descriptor, outcome.body);
}

static void signal_with_start_starts(void **state)
{
    (void)state;
    assert_true(signal_with_start("r1")->started);
    assert_history("Started Signaled TaskScheduled");
    assert_true(signal_with_start("r1")->started);
    assert_history("Started Signaled TaskScheduled");
    assert_false(signal_with_start("r2")->started);
    assert_history("Started Signaled TaskScheduled Signaled");
}

static void signal_with_start_ends_a_delay(void **state)
{
    (void)state;
    Api__StartWorkflowExecutionRequest *request = start_request("r1");
    request->workflow_start_delay = duration_new(harness_arena(), 60000);
    started(start(request));
    assert_false(signal_with_start("r2")->started);
    assert_history("Started Signaled TaskScheduled");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_started_event_is_complete),
        TEST(the_same_request_starts_once),
        TEST(a_running_one_is_in_the_way),
        TEST(a_running_one_may_be_used),
        TEST(callers_attach_to_a_running_one),
        TEST(a_running_one_may_be_terminated),
        TEST(a_closed_one_is_reused_by_policy),
        TEST(a_failed_one_may_be_followed),
        TEST(cron_is_not_there_yet),
        TEST(a_delay_holds_back_the_first_task),
        TEST(signal_with_start_starts),
        TEST(signal_with_start_ends_a_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
