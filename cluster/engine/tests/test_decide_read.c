/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/tests/client_fixture.h"
#include "proto/api_service_describe.pb-c.h"

static Api__GetWorkflowExecutionHistoryRequest request(void)
{
    return (
        Api__GetWorkflowExecutionHistoryRequest)API__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
}

static Api__GetWorkflowExecutionHistoryResponse *page_of(struct client *client)
{
    assert_true(client->outcome.done);
    assert_int_equal(client->outcome.code, GRPC_OK);
    Api__GetWorkflowExecutionHistoryResponse *page = proto_unpack(harness_arena(),
        &api__get_workflow_execution_history_response__descriptor, client->outcome.body);
    assert_non_null(page);
    assert_int_equal(page->n_history, 1);
    return page;
}

static const char *types_of(const Api__GetWorkflowExecutionHistoryResponse *page)
{
    return history_types(page->n_history, page->history);
}

static void terminate(void)
{
    Api__TerminateWorkflowExecutionRequest message =
        API__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
    message.reason = event_text("enough");
    assert_int_equal(harness_call(decide_terminate, &message, NULL, NULL).code, GRPC_OK);
}

static void all_events_come_without_a_token(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_run_task(NULL, 0);
    Api__GetWorkflowExecutionHistoryRequest message = request();
    Api__GetWorkflowExecutionHistoryResponse *page =
        page_of(client_send(decide_history, &message, NULL, 0));
    assert_string_equal(
        types_of(page), "1:STARTED 2:TASK_SCHEDULED 3:TASK_STARTED 4:TASK_COMPLETED");
    assert_int_equal(page->next_page_token.len, 0);
}

/* A worker that lost its cached run reads from the start in the middle of its task. */
static void a_task_in_flight_shows_its_start(void **state)
{
    (void)state;
    harness_start(0, NULL);
    assert_non_null(harness_take_task());
    Api__GetWorkflowExecutionHistoryRequest message = request();
    message.maximum_page_size = 1;
    Api__GetWorkflowExecutionHistoryResponse *page =
        page_of(client_send(decide_history, &message, NULL, 0));
    assert_string_equal(types_of(page), "1:STARTED");
    message.next_page_token = page->next_page_token;
    page = page_of(client_send(decide_history, &message, NULL, 0));
    assert_string_equal(types_of(page), "2:TASK_SCHEDULED 3:TASK_STARTED");
    assert_int_equal(page->next_page_token.len, 0);
}

/* Serialized histories of many pages, spliced. */
static struct bytes splice(request_handler *handler, int32_t size, bool reverse)
{
    struct buffer all = {0};
    Api__GetWorkflowExecutionHistoryRequest forward = request();
    Api__GetWorkflowExecutionHistoryReverseRequest backward =
        API__GET_WORKFLOW_EXECUTION_HISTORY_REVERSE_REQUEST__INIT;
    forward.maximum_page_size = size;
    backward.maximum_page_size = size;
    do {
        struct client *client = client_send(
            handler, reverse ? (const void *)&backward : (const void *)&forward, NULL, 0);
        /* The reverse response has the same fields. */
        Api__GetWorkflowExecutionHistoryResponse *page = page_of(client);
        buffer_append(&all, page->history[0].data, page->history[0].len);
        forward.next_page_token = page->next_page_token;
        backward.next_page_token = page->next_page_token;
    } while (forward.next_page_token.len > 0);
    struct bytes copy = bytes_copy(harness_arena(), buffer_view(&all));
    buffer_release(&all);
    return copy;
}

static void assert_both_directions(int32_t size, int signals)
{
    struct bytes whole = splice(decide_history, HISTORY_PAGE_EVENTS_MAX, false);
    assert_true(bytes_equal(whole, splice(decide_history, size, false)));
    Api__History *forward = proto_unpack(harness_arena(), &api__history__descriptor, whole);
    Api__History *backward = proto_unpack(
        harness_arena(), &api__history__descriptor, splice(decide_history_reverse, size, true));
    assert_int_equal(forward->n_events, backward->n_events);
    assert_int_equal(forward->n_events, signals + 4);
    for (size_t i = 0; i < forward->n_events; i++) {
        assert_int_equal(forward->events[i]->event_id, i + 1);
        assert_int_equal(backward->events[i]->event_id, forward->n_events - i);
    }
}

/* Signals that reach history in one batch, behind a task, then one batch each. */
static void pages_splice_to_the_whole(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    char name[900];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "a%d", i);
        assert_int_equal(harness_signal("early", id).code, GRPC_OK);
    }
    assert_int_equal(harness_complete(task, NULL, 0).code, GRPC_OK);
    for (int i = 0; i < 129; i++) {
        char id[16];
        snprintf(id, sizeof(id), "b%d", i);
        assert_int_equal(harness_signal(name, id).code, GRPC_OK);
    }
    /* One more event: the second task is scheduled behind the early signals. */
    assert_both_directions(7, 150);
    assert_both_directions(150, 150);
    harness_restart();
    clients_settle();
    assert_both_directions(10, 150);
}

static void the_close_event_is_waited_for(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__GetWorkflowExecutionHistoryRequest message = request();
    message.wait_new_event = true;
    message.history_event_filter_type =
        API__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    struct client *waiting = client_send(decide_history, &message, NULL, 0);
    assert_false(waiting->outcome.done);
    harness_signal("not the end", "s1");
    clients_settle();
    assert_false(waiting->outcome.done);
    terminate();
    clients_settle();
    Api__GetWorkflowExecutionHistoryResponse *page = page_of(waiting);
    assert_string_equal(types_of(page), "4:TERMINATED");
    assert_int_equal(page->next_page_token.len, 0);
    assert_string_equal(
        types_of(page_of(client_send(decide_history, &message, NULL, 0))), "4:TERMINATED");
}

static void a_long_poll_ends_empty_with_a_token(void **state)
{
    (void)state;
    const char *run_id = harness_start(0, NULL);
    Api__GetWorkflowExecutionHistoryRequest message = request();
    message.wait_new_event = true;
    message.history_event_filter_type =
        API__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    struct client *waiting = client_send(decide_history, &message, NULL, 0);
    harness_advance_ms(19000);
    assert_false(waiting->outcome.done);
    harness_advance_ms(2000);
    Api__GetWorkflowExecutionHistoryResponse *page = page_of(waiting);
    assert_string_equal(types_of(page), "");
    assert_int_not_equal(page->next_page_token.len, 0);
    struct client *hurried = client_send(decide_history, &message, NULL, 3000);
    harness_advance_ms(2500);
    assert_true(hurried->outcome.done);
    message.next_page_token = page->next_page_token;
    waiting = client_send(decide_history, &message, run_id, 0);
    terminate();
    clients_settle();
    assert_string_equal(types_of(page_of(waiting)), "3:TERMINATED");
}

static void a_stream_brings_events_as_they_come(void **state)
{
    (void)state;
    const char *run_id = harness_start(0, NULL);
    Api__GetWorkflowExecutionHistoryRequest message = request();
    message.wait_new_event = true;
    Api__GetWorkflowExecutionHistoryResponse *page =
        page_of(client_send(decide_history, &message, NULL, 0));
    assert_string_equal(types_of(page), "1:STARTED 2:TASK_SCHEDULED");
    message.next_page_token = page->next_page_token;
    struct client *waiting = client_send(decide_history, &message, run_id, 0);
    assert_false(waiting->outcome.done);
    harness_signal("go", "s1");
    clients_settle();
    page = page_of(waiting);
    assert_string_equal(types_of(page), "3:SIGNALED");
    message.next_page_token = page->next_page_token;
    waiting = client_send(decide_history, &message, run_id, 0);
    terminate();
    clients_settle();
    page = page_of(waiting);
    assert_string_equal(types_of(page), "4:TERMINATED");
    assert_int_equal(page->next_page_token.len, 0);
}

static void foreign_tokens_are_refused(void **state)
{
    (void)state;
    harness_start(0, NULL);
    Api__GetWorkflowExecutionHistoryRequest message = request();
    message.next_page_token = (ProtobufCBinaryData){3, (uint8_t *)event_text("abc")};
    struct client *client = client_send(decide_history, &message, NULL, 0);
    assert_int_equal(client->outcome.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(client->outcome.message, "Invalid NextPageToken.");
}

static void describe_shows_the_run(void **state)
{
    (void)state;
    Api__Command *commands[] = {command_activity("a", 5000, 3)};
    const char *run_id = harness_start(60000, NULL);
    harness_run_task(commands, 1);
    struct client *client = client_send(decide_describe, NULL, NULL, 0);
    Api__DescribeWorkflowExecutionResponse *answer = proto_unpack(harness_arena(),
        &api__describe_workflow_execution_response__descriptor, client->outcome.body);
    assert_non_null(answer);
    assert_string_equal(answer->workflow_execution_info->execution->run_id, run_id);
    assert_string_equal(answer->workflow_execution_info->type->name, "type");
    assert_string_equal(answer->workflow_execution_info->first_run_id, run_id);
    assert_int_equal(answer->workflow_execution_info->history_length, 5);
    assert_int_equal(answer->workflow_execution_info->status,
        API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING);
    assert_int_equal(answer->execution_config->workflow_run_timeout->seconds, 60);
    assert_string_equal(answer->execution_config->task_queue->name, "queue");
    assert_int_equal(answer->n_pending_activities, 1);
    assert_string_equal(answer->pending_activities[0]->activity_id, "a");
    assert_int_equal(answer->pending_activities[0]->maximum_attempts, 3);
    assert_int_equal(answer->pending_activities[0]->state,
        API__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_SCHEDULED);
    assert_null(answer->pending_workflow_task);
    terminate();
    client = client_send(decide_describe, NULL, run_id, 0);
    answer = proto_unpack(harness_arena(), &api__describe_workflow_execution_response__descriptor,
        client->outcome.body);
    assert_non_null(answer->workflow_execution_info->close_time);
    assert_int_equal(answer->n_pending_activities, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clients_setup, clients_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_events_come_without_a_token),
        TEST(a_task_in_flight_shows_its_start),
        TEST(pages_splice_to_the_whole),
        TEST(the_close_event_is_waited_for),
        TEST(a_long_poll_ends_empty_with_a_token),
        TEST(a_stream_brings_events_as_they_come),
        TEST(foreign_tokens_are_refused),
        TEST(describe_shows_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
