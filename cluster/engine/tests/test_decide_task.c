/* SPDX-License-Identifier: Apache-2.0
 *
 * The workflow task: its life cycle, buffering, commands, refusals.
 */
#include "cluster/engine/tests/decide_fixture.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"

#define TASK_FAILED(name) API__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_##name

static void a_workflow_completes(void **state)
{
    (void)state;
    harness_start(0, NULL);
    assert_history("Started TaskScheduled");
    Api__Command *commands[] = {command_complete()};
    harness_run_task(commands, 1);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted Completed");
    const Api__HistoryEvent *completed = harness_event(-1);
    assert_int_equal(
        completed->workflow_execution_completed_event_attributes->workflow_task_completed_event_id,
        4);
    assert_null(harness_take_task());
}

static void events_wait_for_the_task_in_flight(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    assert_int_equal(harness_signal("one", "r1").code, GRPC_OK);
    assert_int_equal(harness_signal("two", "r2").code, GRPC_OK);
    assert_int_equal(harness_signal("two again", "r2").code, GRPC_OK);
    assert_history("Started TaskScheduled");
    Api__Command *commands[] = {command_timer("t", 60000)};
    assert_int_equal(harness_complete(task, commands, 1).code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted TimerStarted Signaled "
                   "Signaled TaskScheduled");
}

static void a_close_that_overlooked_a_signal_is_refused(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    harness_signal("one", "r1");
    Api__Command *commands[] = {command_complete()};
    struct outcome outcome = harness_complete(task, commands, 1);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(outcome.message, "UnhandledCommand");
    assert_history("Started TaskScheduled TaskStarted TaskFailed Signaled TaskScheduled");
    task = harness_take_task();
    assert_int_equal(task->attempt, 1);
    assert_int_equal(harness_complete(task, commands, 1).code, GRPC_OK);
}

static void fail_task(const Api__PollWorkflowTaskQueueResponse *task)
{
    Api__RespondWorkflowTaskFailedRequest failed = API__RESPOND_WORKFLOW_TASK_FAILED_REQUEST__INIT;
    failed.task_token = task->task_token;
    failed.cause = TASK_FAILED(WORKFLOW_WORKER_UNHANDLED_FAILURE);
    failed.identity = event_text("worker");
    assert_int_equal(harness_call(decide_task_failed, &failed, NULL, NULL).code, GRPC_OK);
}

static void later_attempts_leave_no_events(void **state)
{
    (void)state;
    harness_start(0, NULL);
    fail_task(harness_take_task());
    assert_history("Started TaskScheduled TaskStarted TaskFailed");
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    assert_int_equal(task->attempt, 2);
    assert_int_equal(task->started_event_id, 6);
    fail_task(task);
    assert_history("Started TaskScheduled TaskStarted TaskFailed");
    task = harness_take_task();
    assert_int_equal(task->attempt, 3);
    Api__Command *commands[] = {command_complete()};
    assert_int_equal(harness_complete(task, commands, 1).code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskFailed TaskScheduled TaskStarted "
                   "TaskCompleted Completed");
    assert_int_equal(harness_event(5)->workflow_task_scheduled_event_attributes->attempt, 3);
}

static void a_new_event_makes_a_first_attempt_again(void **state)
{
    (void)state;
    harness_start(0, NULL);
    fail_task(harness_take_task());
    harness_signal("one", "r1");
    assert_history("Started TaskScheduled TaskStarted TaskFailed Signaled TaskScheduled");
    assert_int_equal(harness_take_task()->attempt, 1);
}

static void attempts_are_delayed_from_the_fourth_on(void **state)
{
    (void)state;
    harness_start(0, NULL);
    for (int i = 0; i < 4; i++)
        fail_task(harness_take_task());
    assert_null(harness_take_task());
    harness_advance_ms(4900);
    assert_null(harness_take_task());
    harness_advance_ms(200);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    assert_non_null(task);
    assert_int_equal(task->attempt, 5);
}

static void a_silent_worker_times_out(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_take_task();
    harness_signal("one", "r1");
    harness_advance_ms(9000);
    assert_history("Started TaskScheduled");
    harness_advance_ms(1000);
    assert_history("Started TaskScheduled TaskStarted TaskTimedOut Signaled TaskScheduled");
}

static void a_stale_token_is_not_found(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    harness_advance_ms(10000);
    struct outcome outcome = harness_complete(task, NULL, 0);
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    assert_string_equal(outcome.message, "Workflow task not found.");
    assert_string_equal(outcome.detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
}

static void a_crash_forgets_the_mark_but_no_signal(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    harness_signal("one", "r1");
    harness_restart();
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_NOT_FOUND);
    assert_int_equal(harness_signal("one", "r1").code, GRPC_OK);
    assert_history("Started TaskScheduled Signaled");
    Api__Command *commands[] = {command_complete()};
    harness_run_task(commands, 1);
    assert_history("Started TaskScheduled Signaled TaskStarted TaskCompleted Completed");
}

static void bad_commands_fail_the_first_attempt_only(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *commands[] = {command_timer("t", 1000), command_timer("t", 1000)};
    struct outcome outcome = harness_complete(harness_take_task(), commands, 2);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(outcome.message, "StartTimerDuplicateId: timer id t is in use already");
    assert_history("Started TaskScheduled TaskStarted TaskFailed");
    outcome = harness_complete(harness_take_task(), commands, 2);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_history("Started TaskScheduled TaskStarted TaskFailed");
    assert_null(harness_take_task()); /* still in flight */
    harness_advance_ms(10000);
    assert_int_equal(harness_take_task()->attempt, 3);
}

static void unknown_commands_say_so(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command command = API__COMMAND__INIT;
    command.command_type = API__COMMAND_TYPE__COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION;
    Api__Command *commands[] = {&command};
    struct outcome outcome = harness_complete(harness_take_task(), commands, 1);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(outcome.message, "FeatureDisabled: command StartChildWorkflowExecution is "
                                         "not implemented by this server yet");
}

static Api__RespondWorkflowTaskCompletedResponse *heartbeat(
    const Api__PollWorkflowTaskQueueResponse *task, struct outcome *ret_outcome)
{
    Api__RespondWorkflowTaskCompletedRequest completed =
        API__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
    completed.task_token = task->task_token;
    Api__StickyExecutionAttributes sticky = API__STICKY_EXECUTION_ATTRIBUTES__INIT;
    sticky.worker_task_queue = task_queue_new(harness_arena(), "sticky");
    completed.sticky_attributes = &sticky;
    completed.force_create_new_workflow_task = true;
    completed.return_new_workflow_task = true;
    *ret_outcome = harness_call(decide_task_completed, &completed, NULL, NULL);
    if (ret_outcome->code != GRPC_OK)
        return NULL;
    return proto_unpack(harness_arena(), &api__respond_workflow_task_completed_response__descriptor,
        ret_outcome->body);
}

static void heartbeats_get_the_next_task_for_half_an_hour(void **state)
{
    (void)state;
    harness_start(0, NULL);
    struct outcome outcome;
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    int count = 0;
    for (;; count++) {
        harness_advance_ms(8000);
        Api__RespondWorkflowTaskCompletedResponse *response = heartbeat(task, &outcome);
        if (!response)
            break;
        assert_non_null(response->workflow_task);
        task = response->workflow_task;
    }
    assert_in_range(count, 1800 / 8 - 1, 1800 / 8 + 1);
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    assert_string_equal(outcome.message, "workflow task heartbeat timeout");
    assert_int_equal(
        harness_event(-1)->event_type, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT);
}

static void timers_fire_in_order_behind_the_task(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *commands[] = {command_timer("late", 3000), command_timer("early", 2000)};
    harness_run_task(commands, 2);
    harness_signal("one", "r1");
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    harness_advance_ms(5000);
    Api__Command *cancel[] = {command_cancel_timer("late")};
    assert_int_equal(harness_complete(task, cancel, 1).code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted TimerStarted TimerStarted "
                   "Signaled TaskScheduled TaskStarted TaskCompleted TimerCanceled TimerFired "
                   "TaskScheduled");
    assert_string_equal(harness_event(12)->timer_fired_event_attributes->timer_id, "early");
}

static void timers_survive_a_crash(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__Command *commands[] = {command_timer("t", 30000)};
    harness_run_task(commands, 1);
    harness_restart();
    harness_advance_ms(29000);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted TimerStarted");
    harness_advance_ms(1000);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted TimerStarted TimerFired "
                   "TaskScheduled");
}

static void too_many_buffered_signals_fail_the_task(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_take_task();
    for (int i = 0; i < BUFFERED_EVENTS_MAX; i++)
        assert_int_equal(
            harness_signal("s", arena_printf(harness_arena(), "r%d", i)).code, GRPC_OK);
    assert_history("Started TaskScheduled");
    assert_int_equal(harness_signal("s", "last").code, GRPC_OK);
    const Api__HistoryEvent *failed = harness_event(4);
    assert_int_equal(failed->event_type, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_FAILED);
    assert_int_equal(harness_event(-1)->event_id, 4 + BUFFERED_EVENTS_MAX + 2);
}

static void a_sticky_queue_that_nobody_polls_is_given_up(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__StickyExecutionAttributes sticky = API__STICKY_EXECUTION_ATTRIBUTES__INIT;
    Api__TaskQueue *queue = task_queue_new(harness_arena(), "sticky");
    sticky.worker_task_queue = queue;
    sticky.schedule_to_start_timeout = duration_new(harness_arena(), 5000);
    Api__RespondWorkflowTaskCompletedRequest completed =
        API__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
    completed.task_token = harness_take_task()->task_token;
    completed.sticky_attributes = &sticky;
    assert_int_equal(harness_call(decide_task_completed, &completed, NULL, NULL).code, GRPC_OK);
    harness_signal("one", "r1");
    const Api__TaskQueue *scheduled =
        harness_event(-1)->workflow_task_scheduled_event_attributes->task_queue;
    assert_string_equal(scheduled->name, "sticky");
    assert_string_equal(scheduled->normal_name, "queue");
    harness_advance_ms(5000);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted Signaled TaskScheduled "
                   "TaskTimedOut TaskScheduled");
    scheduled = harness_event(-1)->workflow_task_scheduled_event_attributes->task_queue;
    assert_string_equal(scheduled->name, "queue");
}

static void a_takeover_begins_attempts_anew(void **state)
{
    (void)state;
    harness_start(0, NULL);
    fail_task(harness_take_task());
    harness_set_version(2);
    harness_advance_ms(1000);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    assert_history("Started TaskScheduled TaskStarted TaskFailed TaskScheduled");
    assert_int_equal(harness_event(-1)->version, 2);
    assert_int_equal(task->attempt, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_workflow_completes),
        TEST(events_wait_for_the_task_in_flight),
        TEST(a_close_that_overlooked_a_signal_is_refused),
        TEST(later_attempts_leave_no_events),
        TEST(a_new_event_makes_a_first_attempt_again),
        TEST(attempts_are_delayed_from_the_fourth_on),
        TEST(a_silent_worker_times_out),
        TEST(a_stale_token_is_not_found),
        TEST(a_crash_forgets_the_mark_but_no_signal),
        TEST(bad_commands_fail_the_first_attempt_only),
        TEST(unknown_commands_say_so),
        TEST(heartbeats_get_the_next_task_for_half_an_hour),
        TEST(timers_fire_in_order_behind_the_task),
        TEST(timers_survive_a_crash),
        TEST(too_many_buffered_signals_fail_the_task),
        TEST(a_sticky_queue_that_nobody_polls_is_given_up),
        TEST(a_takeover_begins_attempts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
