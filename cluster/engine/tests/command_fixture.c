/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands and other messages that tests of the deciding files send.
 */
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/tests/decide_fixture.h"

/* ---- commands ------------------------------------------------------------------------------- */

static Api__Command *command_new(Api__CommandType type)
{
    Api__Command *command = arena_new(harness_arena(), Api__Command);
    api__command__init(command);
    command->command_type = type;
    return command;
}

Api__Command *command_activity(const char *id, int64_t start_to_close_ms, int32_t max_attempts)
{
    struct arena *arena = harness_arena();
    Api__Command *command = command_new(API__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK);
    Api__ScheduleActivityTaskCommandAttributes *schedule =
        arena_new(arena, Api__ScheduleActivityTaskCommandAttributes);
    api__schedule_activity_task_command_attributes__init(schedule);
    schedule->activity_id = arena_strdup(arena, id);
    schedule->activity_type = arena_new(arena, Api__ActivityType);
    api__activity_type__init(schedule->activity_type);
    schedule->activity_type->name = event_text("activity");
    schedule->task_queue = task_queue_new(arena, "queue");
    schedule->start_to_close_timeout = duration_new(arena, start_to_close_ms);
    schedule->retry_policy = arena_new(arena, Api__RetryPolicy);
    api__retry_policy__init(schedule->retry_policy);
    schedule->retry_policy->maximum_attempts = max_attempts;
    command->attributes_case = API__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
    command->schedule_activity_task_command_attributes = schedule;
    return command;
}

Api__Command *command_cancel_activity(int64_t scheduled_event_id)
{
    Api__Command *command =
        command_new(API__COMMAND_TYPE__COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK);
    Api__RequestCancelActivityTaskCommandAttributes *cancel =
        arena_new(harness_arena(), Api__RequestCancelActivityTaskCommandAttributes);
    api__request_cancel_activity_task_command_attributes__init(cancel);
    cancel->scheduled_event_id = scheduled_event_id;
    command->attributes_case =
        API__COMMAND__ATTRIBUTES_REQUEST_CANCEL_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
    command->request_cancel_activity_task_command_attributes = cancel;
    return command;
}

Api__Command *command_timer(const char *id, int64_t ms)
{
    Api__Command *command = command_new(API__COMMAND_TYPE__COMMAND_TYPE_START_TIMER);
    Api__StartTimerCommandAttributes *start =
        arena_new(harness_arena(), Api__StartTimerCommandAttributes);
    api__start_timer_command_attributes__init(start);
    start->timer_id = arena_strdup(harness_arena(), id);
    start->start_to_fire_timeout = duration_new(harness_arena(), ms);
    command->attributes_case = API__COMMAND__ATTRIBUTES_START_TIMER_COMMAND_ATTRIBUTES;
    command->start_timer_command_attributes = start;
    return command;
}

Api__Command *command_cancel_timer(const char *id)
{
    Api__Command *command = command_new(API__COMMAND_TYPE__COMMAND_TYPE_CANCEL_TIMER);
    Api__CancelTimerCommandAttributes *cancel =
        arena_new(harness_arena(), Api__CancelTimerCommandAttributes);
    api__cancel_timer_command_attributes__init(cancel);
    cancel->timer_id = arena_strdup(harness_arena(), id);
    command->attributes_case = API__COMMAND__ATTRIBUTES_CANCEL_TIMER_COMMAND_ATTRIBUTES;
    command->cancel_timer_command_attributes = cancel;
    return command;
}

Api__Command *command_complete(void)
{
    Api__Command *command =
        command_new(API__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION);
    Api__CompleteWorkflowExecutionCommandAttributes *complete =
        arena_new(harness_arena(), Api__CompleteWorkflowExecutionCommandAttributes);
    api__complete_workflow_execution_command_attributes__init(complete);
    command->attributes_case =
        API__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    command->complete_workflow_execution_command_attributes = complete;
    return command;
}

Api__Command *command_fail(bool non_retryable)
{
    Api__Command *command = command_new(API__COMMAND_TYPE__COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION);
    Api__FailWorkflowExecutionCommandAttributes *fail =
        arena_new(harness_arena(), Api__FailWorkflowExecutionCommandAttributes);
    api__fail_workflow_execution_command_attributes__init(fail);
    fail->n_failure = 1;
    fail->failure = one_binary(application_failure("Broken", non_retryable));
    command->attributes_case = API__COMMAND__ATTRIBUTES_FAIL_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    command->fail_workflow_execution_command_attributes = fail;
    return command;
}

Api__Command *command_continue(void)
{
    Api__Command *command =
        command_new(API__COMMAND_TYPE__COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION);
    Api__ContinueAsNewWorkflowExecutionCommandAttributes *attributes =
        arena_new(harness_arena(), Api__ContinueAsNewWorkflowExecutionCommandAttributes);
    api__continue_as_new_workflow_execution_command_attributes__init(attributes);
    command->attributes_case =
        API__COMMAND__ATTRIBUTES_CONTINUE_AS_NEW_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    command->continue_as_new_workflow_execution_command_attributes = attributes;
    return command;
}

/* ---- odds and ends -------------------------------------------------------------------------- */

struct bytes application_failure(const char *type, bool non_retryable)
{
    Api__Failure failure = API__FAILURE__INIT;
    Api__ApplicationFailureInfo info = API__APPLICATION_FAILURE_INFO__INIT;
    failure.message = event_text("it broke");
    info.type = event_text(type);
    info.non_retryable = non_retryable;
    failure.failure_info_case = API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
    failure.application_failure_info = &info;
    return proto_pack(harness_arena(), &failure.base);
}

ProtobufCBinaryData *one_binary(struct bytes value)
{
    ProtobufCBinaryData *field = NULL;
    size_t count = 0;
    opaque_set(harness_arena(), &count, &field, value);
    return field;
}

struct activity_target *target_by_token(const Api__PollActivityTaskQueueResponse *task)
{
    struct activity_target *target = arena_new(harness_arena(), struct activity_target);
    struct bytes token = bytes_make(task->task_token.data, task->task_token.len);
    assert_int_equal(task_token_read(harness_arena(), token, &target->token), OK);
    return target;
}

struct activity_target *target_by_id(const char *activity_id)
{
    struct activity_target *target = arena_new(harness_arena(), struct activity_target);
    target->by_id = true;
    target->activity_id = bytes_of(activity_id);
    return target;
}
