/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/decide_query.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/tests/client_fixture.h"

static Api__WorkflowQuery query_state_of = API__WORKFLOW_QUERY__INIT;

static struct client *ask(Api__QueryRejectCondition condition, int64_t timeout_ms)
{
    Api__QueryWorkflowRequest *message = arena_new(harness_arena(), Api__QueryWorkflowRequest);
    api__query_workflow_request__init(message);
    query_state_of.query_type = event_text("state");
    message->query = &query_state_of;
    message->query_reject_condition = condition;
    return client_send(decide_query, message, NULL, timeout_ms);
}

static struct client *ask_now(void)
{
    return ask(API__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_UNSPECIFIED, 0);
}

static const char *result_of(struct client *client)
{
    assert_true(client->outcome.done);
    assert_int_equal(client->outcome.code, GRPC_OK);
    Api__QueryWorkflowResponse *response = proto_unpack(
        harness_arena(), &api__query_workflow_response__descriptor, client->outcome.body);
    assert_non_null(response);
    assert_int_equal(response->n_query_result, 1);
    return bytes_string(
        harness_arena(), bytes_make(response->query_result[0].data, response->query_result[0].len));
}

static Api__RespondQueryTaskCompletedRequest respond(
    const Api__PollWorkflowTaskQueueResponse *task, Api__QueryResultType type)
{
    Api__RespondQueryTaskCompletedRequest message = API__RESPOND_QUERY_TASK_COMPLETED_REQUEST__INIT;
    message.task_token = task->task_token;
    message.completed_type = type;
    message.n_query_result = 1;
    message.query_result = one_binary(bytes_of("42"));
    return message;
}

static struct outcome answer_query(const Api__PollWorkflowTaskQueueResponse *task)
{
    Api__RespondQueryTaskCompletedRequest message =
        respond(task, API__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED);
    return harness_call(decide_query_completed, &message, NULL, task->workflow_execution->run_id);
}

static void complete_with_results(
    const Api__PollWorkflowTaskQueueResponse *task, const char *sticky_queue, bool answered)
{
    Api__RespondWorkflowTaskCompletedRequest completed =
        API__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
    completed.task_token = task->task_token;
    Api__StickyExecutionAttributes sticky = API__STICKY_EXECUTION_ATTRIBUTES__INIT;
    if (sticky_queue) {
        sticky.worker_task_queue = task_queue_new(harness_arena(), sticky_queue);
        sticky.schedule_to_start_timeout = duration_new(harness_arena(), 5000);
        completed.sticky_attributes = &sticky;
    }
    Api__WorkflowQueryResult result = API__WORKFLOW_QUERY_RESULT__INIT;
    result.result_type = API__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
    result.n_answer = 1;
    result.answer = one_binary(bytes_of("attached"));
    Api__RespondWorkflowTaskCompletedRequest__QueryResultsEntry entry =
        API__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__QUERY_RESULTS_ENTRY__INIT;
    Api__RespondWorkflowTaskCompletedRequest__QueryResultsEntry *entries[] = {&entry};
    if (answered) {
        entry.key = task->queries[0]->key;
        entry.value = &result;
        completed.n_query_results = 1;
        completed.query_results = entries;
    }
    assert_int_equal(harness_call(decide_task_completed, &completed, NULL, NULL).code, GRPC_OK);
}

static void a_query_between_tasks_is_a_task_of_its_own(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    struct client *query = ask_now();
    assert_false(query->outcome.done);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_non_null(task->query);
    assert_string_equal(task->query->query_type, "state");
    assert_int_equal(task->started_event_id, 0);
    assert_int_equal(task->previous_started_event_id, 3);
    assert_string_equal(history_types(task->n_history, task->history),
        "1:STARTED 2:TASK_SCHEDULED 3:TASK_STARTED 4:TASK_COMPLETED");
    assert_int_equal(answer_query(task).code, GRPC_OK);
    clients_settle();
    assert_string_equal(result_of(query), "42");
    assert_int_equal(answer_query(task).code, GRPC_NOT_FOUND);
}

static void a_failed_query_says_so(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    struct client *query = ask_now();
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    Api__RespondQueryTaskCompletedRequest message =
        respond(task, API__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_FAILED);
    message.error_message = event_text("no such query");
    assert_int_equal(harness_call(decide_query_completed, &message, NULL, NULL).code, GRPC_OK);
    clients_settle();
    assert_int_equal(query->outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(query->outcome.message, "no such query");
    assert_string_equal(
        query->outcome.detail_type, "temporal.api.errordetails.v1.QueryFailedFailure");
}

static void a_query_travels_with_a_pending_task(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    harness_signal("go", "s1");
    struct client *query = ask_now();
    struct client *second = ask_now();
    assert_int_equal(second->outcome.code, GRPC_RESOURCE_EXHAUSTED);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_null(task->query);
    assert_int_equal(task->n_queries, 1);
    assert_string_equal(task->queries[0]->value->query_type, "state");
    complete_with_results(task, NULL, true);
    clients_settle();
    assert_string_equal(result_of(query), "attached");
}

static void an_unanswered_query_is_dispatched_directly(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    harness_signal("go", "s1");
    struct client *query = ask_now();
    complete_with_results(client_task(client_poll(TASK_WORKFLOW, "queue", NULL)), NULL, false);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_non_null(task->query);
    assert_int_equal(answer_query(task).code, GRPC_OK);
    clients_settle();
    assert_string_equal(result_of(query), "42");
}

static void a_lost_task_returns_its_query(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    harness_signal("go", "s1");
    struct client *query = ask_now();
    assert_int_equal(client_task(client_poll(TASK_WORKFLOW, "queue", NULL))->n_queries, 1);
    harness_advance_ms(WORKFLOW_TASK_TIMEOUT_DEFAULT_MS + 2000);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_int_equal(task->attempt, 2);
    assert_int_equal(task->n_queries, 1);
    complete_with_results(task, NULL, true);
    clients_settle();
    assert_string_equal(result_of(query), "attached");
}

static void before_the_first_task_a_query_waits(void **state)
{
    (void)state;
    harness_start(0, NULL);
    struct client *hurried =
        ask(API__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_UNSPECIFIED, 2000);
    assert_false(hurried->outcome.done);
    harness_advance_ms(3000);
    assert_int_equal(hurried->outcome.code, GRPC_FAILED_PRECONDITION);
    assert_string_equal(
        hurried->outcome.detail_type, "temporal.api.errordetails.v1.WorkflowNotReadyFailure");
    struct client *patient = ask_now();
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_int_equal(task->n_queries, 0);
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_OK);
    task = client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_non_null(task->query);
    assert_int_equal(answer_query(task).code, GRPC_OK);
    clients_settle();
    assert_string_equal(result_of(patient), "42");
}

static void closed_runs_answer_or_reject(void **state)
{
    (void)state;
    Api__Command *commands[] = {command_complete()};
    harness_start(0, NULL);
    harness_run_task(commands, 1);
    struct client *rejected = ask(API__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_OPEN, 0);
    Api__QueryWorkflowResponse *response = proto_unpack(
        harness_arena(), &api__query_workflow_response__descriptor, rejected->outcome.body);
    assert_int_equal(response->query_rejected->status,
        API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_COMPLETED);
    struct client *query =
        ask(API__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY, 0);
    Api__PollWorkflowTaskQueueResponse *task =
        client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_int_equal(answer_query(task).code, GRPC_OK);
    clients_settle();
    assert_string_equal(result_of(query), "42");
}

static void the_sticky_worker_is_asked_first(void **state)
{
    (void)state;
    harness_start(0, NULL);
    complete_with_results(client_task(client_poll(TASK_WORKFLOW, "queue", NULL)), "sticky", false);
    struct client *poll = client_poll(TASK_WORKFLOW, "sticky", "queue");
    struct client *query = ask_now();
    Api__PollWorkflowTaskQueueResponse *task = client_task(poll);
    assert_string_equal(history_types(task->n_history, task->history), "");
    /* That worker dies; another one starts from nothing. */
    harness_advance_ms(6000);
    clients_settle();
    task = client_task(client_poll(TASK_WORKFLOW, "queue", NULL));
    assert_string_equal(history_types(task->n_history, task->history),
        "1:STARTED 2:TASK_SCHEDULED 3:TASK_STARTED 4:TASK_COMPLETED");
    assert_int_equal(answer_query(task).code, GRPC_OK);
    clients_settle();
    assert_string_equal(result_of(query), "42");
}

static void a_cancelled_query_leaves_nothing(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    struct client *query = ask_now();
    client_cancel(query);
    assert_true(query->outcome.done);
    struct client *poll = client_poll(TASK_WORKFLOW, "queue", NULL);
    assert_false(poll->outcome.done);
    client_cancel(poll);
    harness_signal("go", "s1");
    client_cancel(ask_now());
    assert_int_equal(client_task(client_poll(TASK_WORKFLOW, "queue", NULL))->n_queries, 0);
}

static void a_restart_fails_open_queries(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    struct client *query = ask_now();
    harness_restart();
    assert_int_equal(query->outcome.code, GRPC_UNAVAILABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clients_setup, clients_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_query_between_tasks_is_a_task_of_its_own),
        TEST(a_failed_query_says_so),
        TEST(a_query_travels_with_a_pending_task),
        TEST(an_unanswered_query_is_dispatched_directly),
        TEST(a_lost_task_returns_its_query),
        TEST(before_the_first_task_a_query_waits),
        TEST(closed_runs_answer_or_reject),
        TEST(the_sticky_worker_is_asked_first),
        TEST(a_cancelled_query_leaves_nothing),
        TEST(a_restart_fails_open_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
