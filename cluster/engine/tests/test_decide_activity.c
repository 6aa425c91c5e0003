/* SPDX-License-Identifier: Apache-2.0
 *
 * Activities: attempts, timeouts, cancellation, reports by token and by id.
 */
#include "cluster/engine/tests/decide_fixture.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/failure_build.h"

#define BEFORE "Started TaskScheduled TaskStarted TaskCompleted ActivityScheduled"

static void schedule(int64_t start_to_close_ms, int32_t max_attempts)
{
    harness_start(0, NULL);
    Api__Command *commands[] = {command_activity("a", start_to_close_ms, max_attempts)};
    harness_run_task(commands, 1);
    assert_history(BEFORE);
}

static struct outcome complete(const Api__PollActivityTaskQueueResponse *task)
{
    Api__RespondActivityTaskCompletedRequest completed =
        API__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
    completed.identity = event_text("worker");
    return harness_call(decide_activity_completed, &completed, target_by_token(task), NULL);
}

static struct outcome fail_attempt(
    const Api__PollActivityTaskQueueResponse *task, bool non_retryable)
{
    Api__RespondActivityTaskFailedRequest failed = API__RESPOND_ACTIVITY_TASK_FAILED_REQUEST__INIT;
    failed.n_failure = 1;
    failed.failure = one_binary(application_failure("Broken", non_retryable));
    return harness_call(decide_activity_failed, &failed, target_by_token(task), NULL);
}

static Api__RecordActivityTaskHeartbeatResponse *beat(
    const Api__PollActivityTaskQueueResponse *task)
{
    Api__RecordActivityTaskHeartbeatRequest request =
        API__RECORD_ACTIVITY_TASK_HEARTBEAT_REQUEST__INIT;
    request.n_details = 1;
    request.details = one_binary(bytes_of("progress"));
    struct outcome outcome =
        harness_call(decide_activity_heartbeat, &request, target_by_token(task), NULL);
    if (outcome.code != GRPC_OK)
        return NULL;
    return proto_unpack(
        harness_arena(), &api__record_activity_task_heartbeat_response__descriptor, outcome.body);
}

static void an_activity_completes(void **state)
{
    (void)state;
    schedule(10000, 0);
    Api__PollActivityTaskQueueResponse *task = harness_take_activity("a");
    assert_int_equal(task->attempt, 1);
    assert_int_equal(complete(task).code, GRPC_OK);
    assert_history(BEFORE " ActivityStarted ActivityCompleted TaskScheduled");
    assert_int_equal(
        harness_event(7)->activity_task_completed_event_attributes->started_event_id, 6);
    assert_int_equal(complete(task).code, GRPC_NOT_FOUND);
}

static void an_outcome_waits_for_the_task_in_flight(void **state)
{
    (void)state;
    schedule(10000, 0);
    harness_signal("one", "r1");
    Api__PollWorkflowTaskQueueResponse *workflow = harness_take_task();
    Api__PollActivityTaskQueueResponse *task = harness_take_activity("a");
    assert_int_equal(complete(task).code, GRPC_OK);
    assert_int_equal(complete(task).code, GRPC_NOT_FOUND);
    assert_null(beat(task));
    harness_signal("two", "r2");
    harness_advance_ms(9000);
    assert_int_equal(harness_complete(workflow, NULL, 0).code, GRPC_OK);
    assert_history(BEFORE " Signaled TaskScheduled TaskStarted TaskCompleted ActivityStarted "
                          "Signaled ActivityCompleted TaskScheduled");
    assert_int_equal(
        harness_event(12)->activity_task_completed_event_attributes->started_event_id, 10);
}

static void a_settled_activity_survives_a_crash(void **state)
{
    (void)state;
    schedule(10000, 0);
    harness_signal("one", "r1");
    harness_take_task();
    assert_int_equal(complete(harness_take_activity("a")).code, GRPC_OK);
    harness_restart();
    harness_signal("two", "r2");
    assert_history(BEFORE " Signaled TaskScheduled ActivityStarted ActivityCompleted Signaled");
    Api__Command *commands[] = {command_complete()};
    harness_run_task(commands, 1);
}

static void failures_are_retried_with_backoff(void **state)
{
    (void)state;
    schedule(10000, 3);
    assert_int_equal(fail_attempt(harness_take_activity("a"), false).code, GRPC_OK);
    assert_history(BEFORE);
    assert_null(harness_take_activity("a"));
    harness_advance_ms(1000);
    Api__PollActivityTaskQueueResponse *task = harness_take_activity("a");
    assert_int_equal(task->attempt, 2);
    harness_restart();
    assert_int_equal(fail_attempt(task, false).code, GRPC_OK);
    harness_advance_ms(2000);
    task = harness_take_activity("a");
    assert_int_equal(task->attempt, 3);
    assert_int_equal(fail_attempt(task, false).code, GRPC_OK);
    assert_history(BEFORE " ActivityStarted ActivityFailed TaskScheduled");
    const Api__HistoryEvent *started = harness_event(6);
    assert_int_equal(started->activity_task_started_event_attributes->attempt, 3);
    assert_int_equal(started->activity_task_started_event_attributes->n_last_failure, 1);
    assert_int_equal(harness_event(7)->activity_task_failed_event_attributes->retry_state,
        API__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED);
}

static void final_failures_are_not_retried(void **state)
{
    (void)state;
    schedule(10000, 0);
    assert_int_equal(fail_attempt(harness_take_activity("a"), true).code, GRPC_OK);
    assert_history(BEFORE " ActivityStarted ActivityFailed TaskScheduled");
    assert_int_equal(harness_event(7)->activity_task_failed_event_attributes->retry_state,
        API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE);
}

static void only_application_failures_are_reported(void **state)
{
    (void)state;
    schedule(10000, 0);
    Api__RespondActivityTaskFailedRequest failed = API__RESPOND_ACTIVITY_TASK_FAILED_REQUEST__INIT;
    failed.n_failure = 1;
    failed.failure = one_binary(failure_server(harness_arena(), "mine", false));
    struct outcome outcome = harness_call(
        decide_activity_failed, &failed, target_by_token(harness_take_activity("a")), NULL);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(outcome.message, "Failure must have ApplicationFailureInfo.");
}

static void an_attempt_times_out_and_is_retried(void **state)
{
    (void)state;
    schedule(10000, 2);
    Api__PollActivityTaskQueueResponse *task = harness_take_activity("a");
    harness_advance_ms(10000);
    assert_int_equal(complete(task).code, GRPC_NOT_FOUND);
    harness_advance_ms(1000);
    assert_int_equal(harness_take_activity("a")->attempt, 2);
    harness_advance_ms(10000);
    assert_history(BEFORE " ActivityStarted ActivityTimedOut TaskScheduled");
    const Api__ActivityTaskTimedOutEventAttributes *timed_out =
        harness_event(7)->activity_task_timed_out_event_attributes;
    assert_int_equal(
        timed_out->retry_state, API__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED);
    const Api__Failure *failure = failure_read(
        harness_arena(), opaque_get(harness_arena(), timed_out->n_failure, timed_out->failure));
    assert_string_equal(failure->message, "activity StartToClose timeout");
    assert_int_equal(failure->n_cause, 1);
}

static void an_activity_that_nobody_takes_times_out(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *command = command_activity("a", 10000, 0);
    command->schedule_activity_task_command_attributes->schedule_to_start_timeout =
        duration_new(harness_arena(), 3000);
    harness_run_task(&command, 1);
    harness_advance_ms(3000);
    assert_history(BEFORE " ActivityTimedOut TaskScheduled");
    assert_int_equal(
        harness_event(6)->activity_task_timed_out_event_attributes->started_event_id, 0);
}

static void heartbeats_keep_it_alive(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *command = command_activity("a", 60000, 2);
    command->schedule_activity_task_command_attributes->heartbeat_timeout =
        duration_new(harness_arena(), 2000);
    harness_run_task(&command, 1);
    Api__PollActivityTaskQueueResponse *task = harness_take_activity("a");
    for (int i = 0; i < 5; i++) {
        harness_advance_ms(1500);
        assert_non_null(beat(task));
    }
    harness_advance_ms(2000);
    assert_null(beat(task));
    harness_advance_ms(1000);
    task = harness_take_activity("a");
    assert_int_equal(task->attempt, 2);
    assert_int_equal(task->n_heartbeat_details, 1);
    assert_memory_equal(task->heartbeat_details[0].data, "progress", 8);
}

static void cancelling_before_the_start_ends_it(void **state)
{
    (void)state;
    schedule(10000, 0);
    harness_signal("one", "r1");
    Api__Command *commands[] = {command_cancel_activity(5), command_timer("t", 5000)};
    harness_run_task(commands, 2);
    assert_history(BEFORE " Signaled TaskScheduled TaskStarted TaskCompleted "
                          "ActivityCancelRequested TimerStarted ActivityCanceled TaskScheduled");
    assert_null(harness_take_activity("a"));
}

static void cancelling_what_was_just_scheduled(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *commands[] = {command_activity("a", 1000, 0), command_cancel_activity(5)};
    harness_run_task(commands, 2);
    assert_history(BEFORE " ActivityCancelRequested ActivityCanceled TaskScheduled");
}

static void a_worker_learns_of_the_cancellation(void **state)
{
    (void)state;
    schedule(10000, 0);
    Api__PollActivityTaskQueueResponse *task = harness_take_activity("a");
    Api__RespondActivityTaskCanceledRequest canceled =
        API__RESPOND_ACTIVITY_TASK_CANCELED_REQUEST__INIT;
    assert_false(beat(task)->cancel_requested);
    struct outcome outcome =
        harness_call(decide_activity_canceled, &canceled, target_by_token(task), NULL);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    harness_signal("one", "r1");
    Api__Command *commands[] = {command_cancel_activity(5)};
    harness_run_task(commands, 1);
    assert_true(beat(task)->cancel_requested);
    outcome = harness_call(decide_activity_canceled, &canceled, target_by_token(task), NULL);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_history(BEFORE " Signaled TaskScheduled TaskStarted TaskCompleted "
                          "ActivityCancelRequested ActivityStarted ActivityCanceled "
                          "TaskScheduled");
}

static void reports_by_id(void **state)
{
    (void)state;
    schedule(10000, 0);
    Api__RespondActivityTaskCompletedByIdRequest completed =
        API__RESPOND_ACTIVITY_TASK_COMPLETED_BY_ID_REQUEST__INIT;
    completed.identity = event_text("somebody");
    assert_int_equal(
        harness_call(decide_activity_completed, &completed, target_by_id("b"), NULL).code,
        GRPC_NOT_FOUND);
    assert_int_equal(
        harness_call(decide_activity_completed, &completed, target_by_id("a"), NULL).code, GRPC_OK);
    assert_history(BEFORE " ActivityStarted ActivityCompleted TaskScheduled");
}

static void ids_are_unique_while_pending(void **state)
{
    (void)state;
    schedule(10000, 0);
    harness_signal("one", "r1");
    Api__Command *commands[] = {command_activity("a", 1000, 0)};
    struct outcome outcome = harness_complete(harness_take_task(), commands, 1);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(
        outcome.message, "ScheduleActivityDuplicateId: activity id a is in use already");
}

static void timeouts_are_filled_in(void **state)
{
    (void)state;
    harness_start(30000, NULL);
    Api__Command *command = command_activity("a", 60000, 0);
    command->schedule_activity_task_command_attributes->retry_policy = NULL;
    harness_run_task(&command, 1);
    const Api__ActivityTaskScheduledEventAttributes *scheduled =
        harness_event(-1)->activity_task_scheduled_event_attributes;
    assert_int_equal(duration_ms(scheduled->schedule_to_close_timeout), 30000);
    assert_int_equal(duration_ms(scheduled->schedule_to_start_timeout), 30000);
    assert_int_equal(duration_ms(scheduled->start_to_close_timeout), 30000);
    assert_non_null(scheduled->heartbeat_timeout);
    assert_int_equal(duration_ms(scheduled->retry_policy->maximum_interval), 100000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_activity_completes),
        TEST(an_outcome_waits_for_the_task_in_flight),
        TEST(a_settled_activity_survives_a_crash),
        TEST(failures_are_retried_with_backoff),
        TEST(final_failures_are_not_retried),
        TEST(only_application_failures_are_reported),
        TEST(an_attempt_times_out_and_is_retried),
        TEST(an_activity_that_nobody_takes_times_out),
        TEST(heartbeats_keep_it_alive),
        TEST(cancelling_before_the_start_ends_it),
        TEST(cancelling_what_was_just_scheduled),
        TEST(a_worker_learns_of_the_cancellation),
        TEST(reports_by_id),
        TEST(ids_are_unique_while_pending),
        TEST(timeouts_are_filled_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
