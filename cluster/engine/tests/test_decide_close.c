/* SPDX-License-Identifier: Apache-2.0
 *
 * How runs end, and what follows: retries, continue-as-new, timeouts, termination, deletion.
 */
#include "cluster/engine/tests/decide_fixture.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"

static Api__RetryPolicy retry_policy(int32_t max_attempts)
{
    Api__RetryPolicy policy = API__RETRY_POLICY__INIT;
    policy.maximum_attempts = max_attempts;
    return policy;
}

static void a_failed_run_is_retried(void **state)
{
    (void)state;
    Api__RetryPolicy policy = retry_policy(2);
    const char *first = harness_start(0, &policy);
    Api__Command *commands[] = {command_fail(false)};
    harness_run_task(commands, 1);
    assert_history("Started");
    const Api__WorkflowExecutionStartedEventAttributes *started =
        harness_event(1)->workflow_execution_started_event_attributes;
    assert_string_equal(started->continued_execution_run_id, first);
    assert_string_equal(started->first_execution_run_id, first);
    assert_string_not_equal(started->original_execution_run_id, first);
    assert_int_equal(started->attempt, 2);
    assert_int_equal(
        started->initiator, API__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_RETRY);
    assert_int_equal(started->n_continued_failure, 1);
    assert_int_equal(duration_ms(started->first_workflow_task_backoff), 1000);
    harness_advance_ms(1000);
    assert_history("Started TaskScheduled");
    harness_run_task(commands, 1);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted Failed");
    assert_int_equal(harness_event(5)->workflow_execution_failed_event_attributes->retry_state,
        API__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED);
}

static void a_final_failure_is_not_retried(void **state)
{
    (void)state;
    Api__RetryPolicy policy = retry_policy(0);
    harness_start(0, &policy);
    Api__Command *commands[] = {command_fail(true)};
    harness_run_task(commands, 1);
    const Api__WorkflowExecutionFailedEventAttributes *failed =
        harness_event(-1)->workflow_execution_failed_event_attributes;
    assert_int_equal(failed->retry_state, API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE);
    assert_string_equal(failed->new_execution_run_id, "");
}

static void a_run_continues_as_new(void **state)
{
    (void)state;
    const char *first = harness_start(0, NULL);
    harness_advance_ms(5000);
    Api__Command *commands[] = {command_continue()};
    harness_run_task(commands, 1);
    assert_history("Started TaskScheduled");
    const Api__WorkflowExecutionStartedEventAttributes *started =
        harness_event(1)->workflow_execution_started_event_attributes;
    assert_string_equal(started->continued_execution_run_id, first);
    assert_string_equal(started->first_execution_run_id, first);
    assert_string_equal(started->workflow_type->name, "type");
    assert_string_equal(started->task_queue->name, "queue");
    assert_int_equal(started->attempt, 1);
    assert_int_equal(duration_ms(started->workflow_task_timeout), 10000);
}

static void continuing_does_not_spin(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *commands[] = {command_continue()};
    harness_run_task(commands, 1);
    assert_history("Started");
    harness_advance_ms(1000);
    assert_history("Started TaskScheduled");
    /* The new run began only now: it has to wait as well. */
    harness_run_task(commands, 1);
    assert_history("Started");
}

static void a_run_times_out(void **state)
{
    (void)state;
    harness_start(30000, NULL);
    harness_take_task();
    harness_advance_ms(9000);
    harness_restart();
    harness_advance_ms(21000);
    assert_history("Started TaskScheduled TimedOut");
    assert_int_equal(harness_event(-1)->workflow_execution_timed_out_event_attributes->retry_state,
        API__RETRY_STATE__RETRY_STATE_RETRY_POLICY_NOT_SET);
}

static void a_run_that_timed_out_is_retried(void **state)
{
    (void)state;
    Api__RetryPolicy policy = retry_policy(0);
    harness_start(30000, &policy);
    harness_advance_ms(32000);
    assert_history("Started TaskScheduled");
    assert_int_equal(harness_event(1)->workflow_execution_started_event_attributes->attempt, 2);
}

static void a_timeout_ends_the_task_in_flight(void **state)
{
    (void)state;
    harness_start(5000, NULL);
    harness_take_task();
    harness_signal("one", "r1");
    harness_advance_ms(5000);
    /* The task's own timeout is capped at the run's. */
    const char *history = harness_history();
    assert_non_null(strstr(history, "Signaled"));
    assert_string_equal(history + strlen(history) - strlen("TimedOut"), "TimedOut");
}

static struct outcome terminate(void)
{
    Api__TerminateWorkflowExecutionRequest request =
        API__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
    request.reason = event_text("enough");
    return harness_call(decide_terminate, &request, NULL, NULL);
}

static void termination_ends_the_task_in_flight(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    harness_signal("one", "r1");
    assert_int_equal(terminate().code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskFailed Signaled Terminated");
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_NOT_FOUND);
    struct outcome outcome = terminate();
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    assert_string_equal(outcome.message, "workflow execution already completed");
}

static void signals_need_an_open_run(void **state)
{
    (void)state;
    struct outcome outcome = harness_signal("one", "r1");
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    assert_string_equal(outcome.message, "workflow not found for ID: w");
    harness_start(0, NULL);
    terminate();
    outcome = harness_signal("one", "r1");
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    assert_string_equal(outcome.message, "workflow execution already completed");
}

static struct outcome request_cancel(const char *request_id, const char *first_run_id)
{
    Api__RequestCancelWorkflowExecutionRequest request =
        API__REQUEST_CANCEL_WORKFLOW_EXECUTION_REQUEST__INIT;
    request.request_id = event_text(request_id);
    request.first_execution_run_id = event_text(first_run_id);
    return harness_call(decide_request_cancel, &request, NULL, NULL);
}

static void cancellation_is_requested_once(void **state)
{
    (void)state;
    const char *run_id = harness_start(0, NULL);
    struct outcome outcome = request_cancel("c0", "01890000-0000-7000-8000-000000000000");
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    assert_int_equal(request_cancel("c1", run_id).code, GRPC_OK);
    assert_int_equal(request_cancel("c1", run_id).code, GRPC_OK);
    assert_int_equal(request_cancel("c1b", run_id).code, GRPC_OK);
    harness_complete(task, NULL, 0);
    assert_int_equal(request_cancel("c2", "").code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted CancelRequested "
                   "TaskScheduled");
    terminate();
    assert_int_equal(request_cancel("c3", "").code, GRPC_OK);
}

static void look_is_gone(struct decision *d, struct run *run, void *ctx)
{
    (void)d;
    (void)ctx;
    assert_null(run);
}

static void deletion_removes_everything(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__DeleteWorkflowExecutionRequest request = API__DELETE_WORKFLOW_EXECUTION_REQUEST__INIT;
    assert_int_equal(harness_call(decide_delete, &request, NULL, NULL).code, GRPC_OK);
    harness_look(look_is_gone, NULL);
    harness_restart();
    harness_look(look_is_gone, NULL);
    harness_start(0, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failed_run_is_retried),
        TEST(a_final_failure_is_not_retried),
        TEST(a_run_continues_as_new),
        TEST(continuing_does_not_spin),
        TEST(a_run_times_out),
        TEST(a_run_that_timed_out_is_retried),
        TEST(a_timeout_ends_the_task_in_flight),
        TEST(termination_ends_the_task_in_flight),
        TEST(signals_need_an_open_run),
        TEST(cancellation_is_requested_once),
        TEST(deletion_removes_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
