/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/decide_command.h"

#include <stdarg.h>
#include <stdio.h>

/* One row per command type: what must hold, what is written. */
struct command_kind {
    Api__CommandType type;
    Api__Command__AttributesCase attributes;
    command_check_fn *check;
    command_apply_fn *apply;
    bool closes;
    const char *name; /* for texts */
    /* check == NULL: not implemented; the workflow task fails and says so */
};

#define KIND(kind, check, apply, closes, name)                                               \
    {                                                                                        \
        API__COMMAND_TYPE__COMMAND_TYPE_##kind,                                              \
            API__COMMAND__ATTRIBUTES_##kind##_COMMAND_ATTRIBUTES, check, apply, closes, name \
    }

static const struct command_kind KINDS[] = {
    KIND(SCHEDULE_ACTIVITY_TASK, check_schedule_activity, apply_schedule_activity, false,
        "ScheduleActivityTask"),
    KIND(REQUEST_CANCEL_ACTIVITY_TASK, check_cancel_activity, apply_cancel_activity, false,
        "RequestCancelActivityTask"),
    KIND(START_TIMER, check_start_timer, apply_start_timer, false, "StartTimer"),
    KIND(CANCEL_TIMER, check_cancel_timer, apply_cancel_timer, false, "CancelTimer"),
    KIND(RECORD_MARKER, check_record_marker, apply_record_marker, false, "RecordMarker"),
    KIND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, check_upsert_search_attributes,
        apply_upsert_search_attributes, false, "UpsertWorkflowSearchAttributes"),
    KIND(MODIFY_WORKFLOW_PROPERTIES, check_modify_properties, apply_modify_properties, false,
        "ModifyWorkflowProperties"),
    KIND(COMPLETE_WORKFLOW_EXECUTION, check_complete_workflow, apply_complete_workflow, true,
        "CompleteWorkflowExecution"),
    KIND(FAIL_WORKFLOW_EXECUTION, check_fail_workflow, apply_fail_workflow, true,
        "FailWorkflowExecution"),
    KIND(CANCEL_WORKFLOW_EXECUTION, check_cancel_workflow, apply_cancel_workflow, true,
        "CancelWorkflowExecution"),
    KIND(CONTINUE_AS_NEW_WORKFLOW_EXECUTION, check_continue_as_new, apply_continue_as_new, true,
        "ContinueAsNewWorkflowExecution"),
    KIND(START_CHILD_WORKFLOW_EXECUTION, NULL, NULL, false, "StartChildWorkflowExecution"),
    KIND(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, NULL, NULL, false, "SignalExternalWorkflowExecution"),
    KIND(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION, NULL, NULL, false,
        "RequestCancelExternalWorkflowExecution"),
    KIND(PROTOCOL_MESSAGE, NULL, NULL, false, "ProtocolMessage"),
    KIND(SCHEDULE_NEXUS_OPERATION, NULL, NULL, false, "ScheduleNexusOperation"),
    KIND(REQUEST_CANCEL_NEXUS_OPERATION, NULL, NULL, false, "RequestCancelNexusOperation"),
};

static const struct command_kind *kind_of(const Api__Command *command)
{
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        if (KINDS[i].type == command->command_type)
            return &KINDS[i];
    }
    return NULL;
}

/* ---- check ---------------------------------------------------------------------------------- */

void command_fault(
    struct command_check *check, Api__WorkflowTaskFailedCause cause, const char *fmt, ...)
{
    char text[ERROR_TEXT_BYTES_MAX];
    if (check->cause)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    check->cause = cause;
    check->text = arena_strdup(check->d->arena, text);
}

bool command_too_large(
    struct command_check *check, Api__WorkflowTaskFailedCause cause, const char *what, size_t bytes)
{
    if (bytes <= BLOB_BYTES_MAX || check->cause)
        return false;
    command_fault(check, cause, "%s exceeds size limit.", what);
    check->terminate = true;
    return true;
}

static void check_one(struct command_check *check, const Api__Command *command)
{
    const struct command_kind *kind = kind_of(command);
    if (!kind) {
        command_fault(check, TASK_FAILED(FEATURE_DISABLED),
            "command type %d is not known to this server", (int)command->command_type);
        return;
    }
    if (!kind->check) {
        /* The cause that comes nearest: the server does not offer what the worker wants. */
        command_fault(check, TASK_FAILED(FEATURE_DISABLED),
            "command %s is not implemented by this server yet", kind->name);
        return;
    }
    if (command->attributes_case != kind->attributes) {
        command_fault(check, TASK_FAILED(UNHANDLED_COMMAND),
            "%sCommandAttributes is not set on command.", kind->name);
        return;
    }
    if (kind->closes && check->run->buffered_count) {
        /* The workflow decided without having seen these events. */
        check->cause = TASK_FAILED(UNHANDLED_COMMAND);
        return;
    }
    kind->check(check, command);
    check->closed = kind->closes;
}

void commands_check(struct decision *d, struct run *run,
    const Api__RespondWorkflowTaskCompletedRequest *completed, struct command_check *ret_check)
{
    /* Behind the Started event comes Completed, then the commands' events. */
    *ret_check = (struct command_check){.d = d,
        .run = run,
        .next_event_id = run->task.mark.started_event_id + 2,
        .activity_count = run->activities.count};
    for (size_t i = 0; i < completed->n_commands; i++) {
        check_one(ret_check, completed->commands[i]);
        if (ret_check->cause)
            return;
        ret_check->used = i + 1;
        /* Nothing can follow a close; what a worker sends behind it has no effect any more. */
        if (ret_check->closed)
            return;
    }
}

void commands_check_release(struct command_check *check)
{
    map_release(&check->taken_ids);
    map_release(&check->timers_added);
    map_release(&check->timers_removed);
    map_release(&check->activities_cancelled);
}

/* ---- apply ---------------------------------------------------------------------------------- */

Api__HistoryEvent *command_event(
    struct command_apply *apply, const Api__Command *command, Api__EventType type)
{
    Api__HistoryEvent *event = event_now(apply->d, type);
    event->n_user_metadata = command->n_user_metadata;
    event->user_metadata = command->user_metadata;
    event->n_event_group_markers = command->n_event_group_markers;
    event->event_group_markers = command->event_group_markers;
    return event;
}

void commands_apply(struct command_apply *apply,
    const Api__RespondWorkflowTaskCompletedRequest *completed, size_t count)
{
    apply->unstarted = arena_zalloc(apply->d->arena, count + 1, sizeof(int64_t));
    for (size_t i = 0; i < count; i++) {
        const struct command_kind *kind = kind_of(completed->commands[i]);
        CHECK(run_is_open(apply->run));
        kind->apply(apply, completed->commands[i]);
    }
}
