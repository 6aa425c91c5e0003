/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/tests/client_fixture.h"

#define MANY_SIGNALS 300

static const char *types_of(const Api__PollWorkflowTaskQueueResponse *task)
{
    return history_types(task->n_history, task->history);
}

/* Completes with a sticky queue named "sticky". */
static void complete_sticky(
    const Api__PollWorkflowTaskQueueResponse *task, Api__Command **commands, size_t count)
{
    struct arena *arena = harness_arena();
    Api__StickyExecutionAttributes sticky = API__STICKY_EXECUTION_ATTRIBUTES__INIT;
    sticky.worker_task_queue = task_queue_new(arena, "sticky");
    sticky.schedule_to_start_timeout = duration_new(arena, 5000);
    Api__RespondWorkflowTaskCompletedRequest completed =
        API__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
    completed.task_token = task->task_token;
    completed.commands = commands;
    completed.n_commands = count;
    completed.sticky_attributes = &sticky;
    struct outcome outcome = harness_call(decide_task_completed, &completed, NULL, NULL);
    assert_int_equal(outcome.code, GRPC_OK);
}

static void a_poll_gets_the_first_task(void **state)
{
    (void)state;
    struct client *poll = client_poll(TASK_WORKFLOW, "queue", NULL);
    assert_false(poll->outcome.done);
    const char *run_id = harness_start(0, NULL);
    clients_settle();
    Api__PollWorkflowTaskQueueResponse *task = client_task(poll);
    assert_string_equal(types_of(task), "1:STARTED 2:TASK_SCHEDULED 3:TASK_STARTED");
    assert_string_equal(task->workflow_execution->workflow_id, "w");
    assert_string_equal(task->workflow_execution->run_id, run_id);
    assert_string_equal(task->workflow_type->name, "type");
    assert_string_equal(task->workflow_execution_task_queue->name, "queue");
    assert_int_equal(task->started_event_id, 3);
    assert_int_equal(task->previous_started_event_id, 0);
    assert_int_equal(task->attempt, 1);
    assert_int_equal(task->next_page_token.len, 0);
    assert_non_null(task->scheduled_time);
    assert_non_null(task->started_time);
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskCompleted");
}

static void a_stale_task_gives_the_poll_back(void **state)
{
    (void)state;
    harness_start(0, NULL);
    clients_settle();
    Api__PollWorkflowTaskQueueResponse *taken = harness_take_task();
    assert_non_null(taken);
    struct client *poll = client_poll(TASK_WORKFLOW, "queue", NULL);
    assert_false(poll->outcome.done);
    assert_int_equal(harness_complete(taken, NULL, 0).code, GRPC_OK);
    harness_signal("go", "s1");
    clients_settle();
    assert_int_equal(client_task(poll)->started_event_id, 7);
}

static void the_sticky_queue_gets_only_what_is_new(void **state)
{
    (void)state;
    harness_start(0, NULL);
    complete_sticky(client_task(client_poll(TASK_WORKFLOW, "queue", NULL)), NULL, 0);
    struct client *poll = client_poll(TASK_WORKFLOW, "sticky", "queue");
    harness_signal("go", "s1");
    clients_settle();
    Api__PollWorkflowTaskQueueResponse *task = client_task(poll);
    assert_string_equal(
        types_of(task), "4:TASK_COMPLETED 5:SIGNALED 6:TASK_SCHEDULED 7:TASK_STARTED");
    assert_int_equal(task->previous_started_event_id, 3);
    assert_string_equal(task->workflow_execution_task_queue->name, "queue");
}

static void a_cancelled_poll_loses_no_task(void **state)
{
    (void)state;
    struct client *gone = client_poll(TASK_WORKFLOW, "queue", NULL);
    client_cancel(gone);
    harness_start(0, NULL);
    struct client *poll = client_poll(TASK_WORKFLOW, "queue", NULL);
    assert_int_equal(client_task(poll)->started_event_id, 3);
}

static void a_transient_attempt_shows_what_is_not_written(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    Api__RespondWorkflowTaskFailedRequest failed = API__RESPOND_WORKFLOW_TASK_FAILED_REQUEST__INIT;
    failed.task_token = task->task_token;
    assert_int_equal(harness_call(decide_task_failed, &failed, NULL, NULL).code, GRPC_OK);
    task = client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_string_equal(types_of(task), "1:STARTED 2:TASK_SCHEDULED 3:TASK_STARTED 4:TASK_FAILED "
                                        "5:TASK_SCHEDULED 6:TASK_STARTED");
    assert_int_equal(task->attempt, 2);
    assert_int_equal(task->started_event_id, 6);
    assert_history("Started TaskScheduled TaskStarted TaskFailed");
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_OK);
    assert_history("Started TaskScheduled TaskStarted TaskFailed TaskScheduled TaskStarted "
                   "TaskCompleted");
}

/* More events than memory keeps, and than a page holds. */
static void send_signals(void)
{
    char name[600];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < MANY_SIGNALS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "s%d", i);
        assert_int_equal(harness_signal(name, id).code, GRPC_OK);
    }
}

/* The worker goes away while its history is read: the task is taken back. */
static void an_undelivered_task_is_offered_again(void **state)
{
    (void)state;
    harness_start(0, NULL);
    send_signals();
    struct client *gone = client_poll_and_vanish("queue", 2);
    assert_true(gone->outcome.done);
    assert_int_equal(gone->outcome.body.len, 0);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_int_equal(task->attempt, 1);
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_OK);
}

static void a_long_history_comes_in_pages(void **state)
{
    (void)state;
    const char *run_id = harness_start(0, NULL);
    send_signals();
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    struct bytes first = bytes_make(task->history[0].data, task->history[0].len);
    Api__History *history = proto_unpack(harness_arena(), &api__history__descriptor, first);
    assert_int_equal(history->n_events, HISTORY_PAGE_EVENTS_MAX);
    assert_int_not_equal(task->next_page_token.len, 0);
    Api__GetWorkflowExecutionHistoryRequest more =
        API__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
    more.next_page_token = task->next_page_token;
    struct client *reader = client_send(decide_history, &more, run_id, 0);
    Api__GetWorkflowExecutionHistoryResponse *page = proto_unpack(harness_arena(),
        &api__get_workflow_execution_history_response__descriptor, reader->outcome.body);
    assert_int_equal(page->next_page_token.len, 0);
    history = proto_unpack(harness_arena(), &api__history__descriptor,
        bytes_make(page->history[0].data, page->history[0].len));
    const Api__HistoryEvent *last = history->events[history->n_events - 1];
    assert_int_equal(last->event_id, task->started_event_id);
    assert_int_equal(last->event_type, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_STARTED);
    assert_int_equal(history->events[0]->event_id, HISTORY_PAGE_EVENTS_MAX + 1);
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_OK);
}

static void an_activity_start_is_durable(void **state)
{
    (void)state;
    Api__Command *commands[] = {command_activity("a", 5000, 3)};
    harness_start(0, NULL);
    harness_run_task(commands, 1);
    Api__PollActivityTaskQueueResponse *task =
        client_activity(client_poll(TASK_ACTIVITY, "queue", NULL));
    assert_string_equal(task->activity_id, "a");
    assert_string_equal(task->activity_type->name, "activity");
    assert_string_equal(task->workflow_namespace, "default");
    assert_string_equal(task->workflow_type->name, "type");
    assert_int_equal(task->attempt, 1);
    assert_int_equal(task->start_to_close_timeout->seconds, 5);
    assert_non_null(task->schedule_to_close_timeout);
    assert_non_null(task->heartbeat_timeout);
    assert_non_null(task->scheduled_time);
    assert_non_null(task->current_attempt_scheduled_time);
    assert_non_null(task->started_time);
    assert_non_null(task->retry_policy);
    harness_restart();
    clients_settle();
    struct client *second = client_poll(TASK_ACTIVITY, "queue", NULL);
    assert_false(second->outcome.done);
    Api__RespondActivityTaskCompletedRequest completed =
        API__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
    completed.task_token = task->task_token;
    struct outcome outcome = harness_call(decide_activity_completed, &completed,
        target_by_token(task), task->workflow_execution->run_id);
    assert_int_equal(outcome.code, GRPC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_poll_gets_the_first_task, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            a_stale_task_gives_the_poll_back, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            the_sticky_queue_gets_only_what_is_new, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            a_cancelled_poll_loses_no_task, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            a_transient_attempt_shows_what_is_not_written, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            a_long_history_comes_in_pages, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            an_undelivered_task_is_offered_again, clients_setup, clients_teardown),
        cmocka_unit_test_setup_teardown(
            an_activity_start_is_durable, clients_setup, clients_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
