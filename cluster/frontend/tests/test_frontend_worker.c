/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker does, from the first poll to the last answer.
 */
#include <string.h>

#include "cluster/frontend/tests/frontend_fixture.h"
#include "proto/api_history.pb-c.h"
#include "proto/api_service_activity.pb-c.h"
#include "proto/api_service_describe.pb-c.h"
#include "proto/api_service_taskqueue.pb-c.h"

#define POLL_MS 70000

static struct fake_call *poll_workflow(int site, const char *queue)
{
    return call_begin(site, "PollWorkflowTaskQueue", &poll_request(queue)->base, POLL_MS);
}

static Api__PollWorkflowTaskQueueResponse *task_of(const struct fake_call *call)
{
    Api__PollWorkflowTaskQueueResponse *task =
        call_unpack(call, &api__poll_workflow_task_queue_response__descriptor);
    assert_true(task->task_token.len > 0);
    return task;
}

static Api__PollWorkflowTaskQueueResponse *take_task(int site, const char *queue)
{
    struct fake_call *call = poll_workflow(site, queue);
    world_settle();
    return task_of(call);
}

static Api__RespondWorkflowTaskCompletedRequest *completion(
    const Api__PollWorkflowTaskQueueResponse *task, Api__Command **command)
{
    Api__RespondWorkflowTaskCompletedRequest *request =
        arena_new(&world->arena, Api__RespondWorkflowTaskCompletedRequest);
    api__respond_workflow_task_completed_request__init(request);
    request->task_token = task->task_token;
    request->namespace_ = event_text("ns");
    request->n_commands = command && *command ? 1 : 0;
    request->commands = command;
    return request;
}

static Api__Command *complete_workflow(void)
{
    Api__Command *command = arena_new(&world->arena, Api__Command);
    api__command__init(command);
    command->command_type = API__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION;
    command->attributes_case =
        API__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    command->complete_workflow_execution_command_attributes =
        arena_new(&world->arena, Api__CompleteWorkflowExecutionCommandAttributes);
    api__complete_workflow_execution_command_attributes__init(
        command->complete_workflow_execution_command_attributes);
    return command;
}

static Api__Command *schedule_activity(const char *id)
{
    struct arena *arena = &world->arena;
    Api__Command *command = arena_new(arena, Api__Command);
    api__command__init(command);
    command->command_type = API__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK;
    command->attributes_case = API__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
    Api__ScheduleActivityTaskCommandAttributes *attributes =
        arena_new(arena, Api__ScheduleActivityTaskCommandAttributes);
    api__schedule_activity_task_command_attributes__init(attributes);
    attributes->activity_id = event_text(id);
    attributes->activity_type = arena_new(arena, Api__ActivityType);
    api__activity_type__init(attributes->activity_type);
    attributes->activity_type->name = event_text("Charge");
    attributes->task_queue = task_queue_new(arena, "queue");
    attributes->start_to_close_timeout = duration_new(arena, 60000);
    command->schedule_activity_task_command_attributes = attributes;
    return command;
}

/* ---- workflow tasks ------------------------------------------------------------------------- */

static void a_workflow_runs(void **state)
{
    (void)state;
    struct fake_call *poll = poll_workflow(US, "queue");
    world_settle();
    assert_false(poll->done);
    const char *run_id = start_workflow(US, "w");
    world_settle();
    const Api__PollWorkflowTaskQueueResponse *task = task_of(poll);
    assert_string_equal(task->workflow_execution->workflow_id, "w");
    assert_string_equal(task->workflow_execution->run_id, run_id);
    assert_string_equal(task->workflow_type->name, "Order");
    assert_int_equal(task->started_event_id, 3);
    assert_int_equal(task->n_history, 1);
    Api__Command *command = complete_workflow();
    (void)call_ok(US, "RespondWorkflowTaskCompleted", &completion(task, &command)->base,
        &api__respond_workflow_task_completed_response__descriptor);
    Api__DescribeWorkflowExecutionRequest describe;
    api__describe_workflow_execution_request__init(&describe);
    describe.namespace_ = event_text("ns");
    describe.execution = execution_new(&world->arena, bytes_of("w"), run_id);
    const Api__DescribeWorkflowExecutionResponse *description =
        call_ok(US, "DescribeWorkflowExecution", &describe.base,
            &api__describe_workflow_execution_response__descriptor);
    assert_int_equal(description->workflow_execution_info->status,
        API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_COMPLETED);
    /* A task is done once. */
    assert_failed(call_run(US, "RespondWorkflowTaskCompleted", &completion(task, &command)->base),
        GRPC_NOT_FOUND, "");
}

static void history_is_read_in_pages(void **state)
{
    (void)state;
    (void)start_workflow(US, "w");
    (void)take_task(US, "queue");
    Api__GetWorkflowExecutionHistoryRequest request;
    api__get_workflow_execution_history_request__init(&request);
    request.namespace_ = event_text("ns");
    request.execution = execution_new(&world->arena, bytes_of("w"), "");
    request.maximum_page_size = 1;
    int64_t last = 0;
    do {
        const Api__GetWorkflowExecutionHistoryResponse *page =
            call_ok(US, "GetWorkflowExecutionHistory", &request.base,
                &api__get_workflow_execution_history_response__descriptor);
        const Api__History *history = proto_unpack(&world->arena, &api__history__descriptor,
            bytes_make(page->history[0].data, page->history[0].len));
        assert_true(history->n_events > 0); /* whole batches, at least one */
        for (size_t i = 0; i < history->n_events; i++)
            assert_int_equal(history->events[i]->event_id, ++last);
        request.next_page_token = page->next_page_token;
    } while (request.next_page_token.len);
    assert_int_equal(last, 3); /* the Started event of the task in flight is shown, too */
    Api__GetWorkflowExecutionHistoryReverseRequest reverse;
    api__get_workflow_execution_history_reverse_request__init(&reverse);
    reverse.namespace_ = event_text("ns");
    reverse.execution = request.execution;
    (void)call_ok(US, "GetWorkflowExecutionHistoryReverse", &reverse.base,
        &api__get_workflow_execution_history_reverse_response__descriptor);
}

static void a_signal_reaches_the_worker(void **state)
{
    (void)state;
    (void)start_workflow(US, "w");
    Api__Command *none = NULL;
    (void)call_ok(US, "RespondWorkflowTaskCompleted",
        &completion(take_task(US, "queue"), &none)->base,
        &api__respond_workflow_task_completed_response__descriptor);
    Api__SignalWorkflowExecutionRequest signal;
    api__signal_workflow_execution_request__init(&signal);
    signal.namespace_ = event_text("ns");
    signal.workflow_execution = execution_new(&world->arena, bytes_of("w"), "");
    assert_failed(call_run(US, "SignalWorkflowExecution", &signal.base), GRPC_INVALID_ARGUMENT,
        "SignalName is not set on request.");
    signal.signal_name = event_text("note");
    (void)call_ok(US, "SignalWorkflowExecution", &signal.base,
        &api__signal_workflow_execution_response__descriptor);
    assert_int_equal(take_task(US, "queue")->previous_started_event_id, 3);
}

static void an_activity_runs(void **state)
{
    (void)state;
    (void)start_workflow(US, "w");
    Api__Command *command = schedule_activity("a");
    (void)call_ok(US, "RespondWorkflowTaskCompleted",
        &completion(take_task(US, "queue"), &command)->base,
        &api__respond_workflow_task_completed_response__descriptor);
    Api__PollActivityTaskQueueRequest poll;
    api__poll_activity_task_queue_request__init(&poll);
    poll.namespace_ = event_text("ns");
    poll.task_queue = task_queue_new(&world->arena, "queue");
    struct fake_call *call = call_begin(US, "PollActivityTaskQueue", &poll.base, POLL_MS);
    world_settle();
    const Api__PollActivityTaskQueueResponse *task =
        call_unpack(call, &api__poll_activity_task_queue_response__descriptor);
    assert_string_equal(task->activity_id, "a");
    Api__RecordActivityTaskHeartbeatRequest beat;
    api__record_activity_task_heartbeat_request__init(&beat);
    beat.task_token = task->task_token;
    (void)call_ok(US, "RecordActivityTaskHeartbeat", &beat.base,
        &api__record_activity_task_heartbeat_response__descriptor);
    Api__RespondActivityTaskCompletedRequest done;
    api__respond_activity_task_completed_request__init(&done);
    done.task_token = task->task_token;
    (void)call_ok(US, "RespondActivityTaskCompleted", &done.base,
        &api__respond_activity_task_completed_response__descriptor);
    assert_failed(call_run(US, "RespondActivityTaskCompleted", &done.base), GRPC_NOT_FOUND, "");
    (void)take_task(US, "queue");
}

static void a_query_is_answered(void **state)
{
    (void)state;
    (void)start_workflow(US, "w");
    Api__Command *none = NULL;
    (void)call_ok(US, "RespondWorkflowTaskCompleted",
        &completion(take_task(US, "queue"), &none)->base,
        &api__respond_workflow_task_completed_response__descriptor);
    Api__QueryWorkflowRequest query;
    api__query_workflow_request__init(&query);
    query.namespace_ = event_text("ns");
    query.execution = execution_new(&world->arena, bytes_of("w"), "");
    assert_failed(call_run(US, "QueryWorkflow", &query.base), GRPC_INVALID_ARGUMENT,
        "Query is not set on request.");
    Api__WorkflowQuery body;
    api__workflow_query__init(&body);
    body.query_type = event_text("state");
    query.query = &body;
    struct fake_call *asking = call_begin(US, "QueryWorkflow", &query.base, 10000);
    world_settle();
    const Api__PollWorkflowTaskQueueResponse *task = take_task(US, "queue");
    assert_string_equal(task->query->query_type, "state");
    Api__RespondQueryTaskCompletedRequest answer;
    api__respond_query_task_completed_request__init(&answer);
    answer.task_token = task->task_token;
    answer.completed_type = API__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
    ProtobufCBinaryData result = {2, (uint8_t *)event_text("\x0a\x00")};
    answer.n_query_result = 1;
    answer.query_result = &result;
    (void)call_ok(US, "RespondQueryTaskCompleted", &answer.base,
        &api__respond_query_task_completed_response__descriptor);
    const Api__QueryWorkflowResponse *response =
        call_unpack(asking, &api__query_workflow_response__descriptor);
    assert_int_equal(response->n_query_result, 1);
}

/* ---- polls ---------------------------------------------------------------------------------- */

static void polls_need_a_deadline(void **state)
{
    (void)state;
    const ProtobufCMessage *request = &poll_request("queue")->base;
    assert_failed(call_begin(US, "PollWorkflowTaskQueue", request, 0), GRPC_INVALID_ARGUMENT,
        "Context timeout is not set.");
    assert_failed(call_begin(US, "PollWorkflowTaskQueue", request, 1999), GRPC_INVALID_ARGUMENT,
        "Context timeout is too short.");
}

static void a_poll_ends_empty(void **state)
{
    (void)state;
    struct fake_call *patient = poll_workflow(US, "queue");
    struct fake_call *hasty =
        call_begin(US, "PollWorkflowTaskQueue", &poll_request("queue")->base, 5000);
    world_advance_ms(3999);
    assert_false(hasty->done);
    world_advance_ms(1);
    assert_true(hasty->done);
    assert_int_equal(hasty->body.len, 0);
    world_advance_ms(55999);
    assert_false(patient->done);
    world_advance_ms(1);
    assert_true(patient->done);
    assert_int_equal(patient->body.len, 0);
}

static void a_poll_whose_client_left_gets_nothing(void **state)
{
    (void)state;
    struct fake_call *gone = poll_workflow(US, "queue");
    world_settle();
    call_cancel(gone);
    assert_true(gone->done);
    (void)start_workflow(US, "w");
    (void)take_task(US, "queue");
}

static void nexus_polls_wait_for_nothing(void **state)
{
    (void)state;
    Api__PollNexusTaskQueueRequest poll;
    api__poll_nexus_task_queue_request__init(&poll);
    poll.namespace_ = event_text("ns");
    poll.task_queue = task_queue_new(&world->arena, "queue");
    struct fake_call *call = call_begin(US, "PollNexusTaskQueue", &poll.base, POLL_MS);
    struct fake_call *leaving = call_begin(US, "PollNexusTaskQueue", &poll.base, POLL_MS);
    world_settle();
    call_cancel(leaving);
    assert_true(leaving->done);
    world_advance_ms(59999);
    assert_false(call->done);
    world_advance_ms(1);
    assert_true(call->done);
    assert_int_equal(call->code, GRPC_OK);
    struct fake_call *stopped = call_begin(US, "PollNexusTaskQueue", &poll.base, POLL_MS);
    world_settle();
    frontend_stop(world->sites[US].frontend);
    world_settle();
    assert_true(stopped->done);
}

/* ---- queues --------------------------------------------------------------------------------- */

static void queues_are_described(void **state)
{
    (void)state;
    (void)poll_workflow(US, "queue");
    (void)start_workflow(US, "w1");
    (void)start_workflow(US, "w2");
    Api__DescribeTaskQueueRequest request;
    api__describe_task_queue_request__init(&request);
    request.namespace_ = event_text("ns");
    request.task_queue = task_queue_new(&world->arena, "queue");
    request.report_stats = true;
    const Api__DescribeTaskQueueResponse *plain = call_ok(
        US, "DescribeTaskQueue", &request.base, &api__describe_task_queue_response__descriptor);
    assert_int_equal(plain->n_pollers, 1);
    assert_string_equal(plain->pollers[0]->identity, "worker");
    assert_int_equal(plain->stats->approximate_backlog_count, 1);
    request.api_mode = API__DESCRIBE_TASK_QUEUE_MODE__DESCRIBE_TASK_QUEUE_MODE_ENHANCED;
    request.report_pollers = true;
    const Api__DescribeTaskQueueResponse *enhanced = call_ok(
        US, "DescribeTaskQueue", &request.base, &api__describe_task_queue_response__descriptor);
    assert_int_equal(enhanced->n_versions_info, 1);
    const Api__TaskQueueVersionInfo *info = enhanced->versions_info[0]->value;
    assert_int_equal(info->n_types_info, 2);
    assert_int_equal(info->types_info[0]->key, API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_WORKFLOW);
    assert_int_equal(info->types_info[0]->value->n_pollers, 1);
    assert_int_equal(info->types_info[1]->value->n_pollers, 0);
    Api__ListTaskQueuePartitionsRequest partitions;
    api__list_task_queue_partitions_request__init(&partitions);
    partitions.namespace_ = event_text("ns");
    partitions.task_queue = request.task_queue;
    const Api__ListTaskQueuePartitionsResponse *listed = call_ok(US, "ListTaskQueuePartitions",
        &partitions.base, &api__list_task_queue_partitions_response__descriptor);
    assert_int_equal(listed->n_workflow_task_queue_partitions, 1);
}

static void workers_may_say_goodbye(void **state)
{
    (void)state;
    Api__ShutdownWorkerRequest request;
    api__shutdown_worker_request__init(&request);
    request.namespace_ = event_text("ns");
    request.sticky_task_queue = event_text("sticky");
    (void)call_ok(US, "ShutdownWorker", &request.base, &api__shutdown_worker_response__descriptor);
    Api__RecordWorkerHeartbeatRequest beat;
    api__record_worker_heartbeat_request__init(&beat);
    beat.namespace_ = event_text("ns");
    (void)call_ok(US, "RecordWorkerHeartbeat", &beat.base,
        &api__record_worker_heartbeat_response__descriptor);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_workflow_runs),
        TEST(history_is_read_in_pages),
        TEST(a_signal_reaches_the_worker),
        TEST(an_activity_runs),
        TEST(a_query_is_answered),
        TEST(polls_need_a_deadline),
        TEST(a_poll_ends_empty),
        TEST(a_poll_whose_client_left_gets_nothing),
        TEST(nexus_polls_wait_for_nothing),
        TEST(queues_are_described),
        TEST(workers_may_say_goodbye),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
