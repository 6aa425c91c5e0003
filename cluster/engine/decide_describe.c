/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeWorkflowExecution: the run as memory has it.
 */
#include <stdlib.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "proto/api_service_describe.pb-c.h"

static Api__Timestamp *time_or_none(struct arena *arena, int64_t ns)
{
    return ns ? timestamp_new(arena, ns) : NULL;
}

static Api__WorkflowExecutionConfig *config_of(struct arena *arena, const struct run *run,
    const Api__WorkflowExecutionStartedEventAttributes *started)
{
    Api__WorkflowExecutionConfig *config = arena_new(arena, Api__WorkflowExecutionConfig);
    api__workflow_execution_config__init(config);
    config->task_queue = task_queue_new(arena, run->task_queue);
    config->workflow_execution_timeout = started->workflow_execution_timeout
                                             ? started->workflow_execution_timeout
                                             : duration_new(arena, 0);
    config->workflow_run_timeout = duration_new(arena, run->run_timeout_ms);
    config->default_workflow_task_timeout = duration_new(arena, run->default_task_timeout_ms);
    return config;
}

static enum err attach_maps(
    struct arena *arena, const struct run *run, Api__WorkflowExecutionInfo *info)
{
    if (run->memo) {
        info->memo = proto_unpack(arena, &api__memo__descriptor, blob_view(run->memo));
        if (!info->memo)
            return ERR_CORRUPT;
    }
    if (run->search_attributes) {
        info->search_attributes = proto_unpack(
            arena, &api__search_attributes__descriptor, blob_view(run->search_attributes));
        if (!info->search_attributes)
            return ERR_CORRUPT;
    }
    return OK;
}

static Api__WorkflowExecutionInfo *info_of(struct arena *arena, const struct run *run,
    const Api__WorkflowExecutionStartedEventAttributes *started)
{
    Api__WorkflowExecutionInfo *info = arena_new(arena, Api__WorkflowExecutionInfo);
    api__workflow_execution_info__init(info);
    int64_t execution_ns = run->started_ns + run->first_backoff_ns;
    info->execution = execution_new(arena, run->workflow_id, run->run_id_text);
    info->type = started->workflow_type;
    info->start_time = timestamp_new(arena, run->started_ns);
    info->execution_time = timestamp_new(arena, execution_ns);
    info->status = (Api__WorkflowExecutionStatus)run->status;
    if (!run_is_open(run)) {
        int64_t span_ns = run->close_ns - execution_ns;
        info->close_time = timestamp_new(arena, run->close_ns);
        info->execution_duration = duration_new_ns(arena, span_ns > 0 ? span_ns : 0);
    }
    info->history_length = run_next_event_id(run) - 1;
    info->history_size_bytes = run_branch(run)->history_bytes;
    info->state_transition_count = run->state_transitions;
    info->parent_namespace_id = started->parent_workflow_namespace_id;
    info->parent_execution = started->parent_workflow_execution;
    info->root_execution =
        started->root_workflow_execution ? started->root_workflow_execution : info->execution;
    info->first_run_id = event_text(run->first_execution_run_id && *run->first_execution_run_id
                                        ? run->first_execution_run_id
                                        : run->run_id_text);
    info->task_queue = event_text(run->task_queue);
    info->priority = started->priority;
    return info;
}

static Api__WorkflowExecutionExtendedInfo *extended_of(struct arena *arena, const struct run *run)
{
    Api__WorkflowExecutionExtendedInfo *info = arena_new(arena, Api__WorkflowExecutionExtendedInfo);
    api__workflow_execution_extended_info__init(info);
    info->execution_expiration_time = time_or_none(arena, run->execution_expires_ns);
    if (run->run_timeout_ms)
        info->run_expiration_time = timestamp_new(
            arena, run->started_ns + run->first_backoff_ns + run->run_timeout_ms * NS_PER_MS);
    info->cancel_requested = run->cancel_requested;
    info->original_start_time = timestamp_new(arena, run->started_ns);
    return info;
}

/* ---- pending --------------------------------------------------------------------------------- */

static Api__PendingActivityState activity_state(const struct activity *activity)
{
    if (activity->cancel_requested_event_id)
        return API__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_CANCEL_REQUESTED;
    if (activity->started)
        return API__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_STARTED;
    return API__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_SCHEDULED;
}

static Api__ActivityOptions *options_of(struct arena *arena, const struct activity *activity,
    const Api__ActivityTaskScheduledEventAttributes *scheduled)
{
    Api__ActivityOptions *options = arena_new(arena, Api__ActivityOptions);
    api__activity_options__init(options);
    options->task_queue = scheduled->task_queue;
    options->schedule_to_close_timeout = duration_new(arena, activity->schedule_to_close_ms);
    options->schedule_to_start_timeout = duration_new(arena, activity->schedule_to_start_ms);
    options->start_to_close_timeout = duration_new(arena, activity->start_to_close_ms);
    options->heartbeat_timeout = duration_new(arena, activity->heartbeat_ms);
    options->retry_policy = scheduled->retry_policy;
    options->priority = scheduled->priority;
    return options;
}

static void set_times(struct arena *arena, const struct decision *d,
    const struct activity *activity, Api__PendingActivityInfo *info)
{
    info->last_heartbeat_time = time_or_none(arena, activity->heartbeat_ns);
    info->last_started_time = time_or_none(arena, activity->started_ns);
    info->last_attempt_complete_time = time_or_none(arena, activity->last_attempt_complete_ns);
    info->scheduled_time = timestamp_new(arena, activity->scheduled_time_ns);
    if (activity->schedule_to_close_ms)
        info->expiration_time = timestamp_new(
            arena, activity->scheduled_time_ns + activity->schedule_to_close_ms * NS_PER_MS);
    if (activity->started || activity->not_before_ns <= d->now_ns)
        return;
    info->next_attempt_schedule_time = timestamp_new(arena, activity->not_before_ns);
    int64_t interval_ns = activity->not_before_ns - activity->last_attempt_complete_ns;
    if (activity->last_attempt_complete_ns && interval_ns > 0)
        info->current_retry_interval = duration_new_ns(arena, interval_ns);
}

static void set_opaque(struct arena *arena, const struct blob *blob, size_t *ret_count,
    ProtobufCBinaryData **ret_field)
{
    if (blob)
        opaque_set(arena, ret_count, ret_field, blob_view(blob));
}

static Api__PendingActivityInfo *activity_of(struct decision *d, const struct activity *activity)
{
    struct arena *arena = d->arena;
    const Api__ActivityTaskScheduledEventAttributes *scheduled = proto_unpack(
        arena, &api__activity_task_scheduled_event_attributes__descriptor, activity->scheduled);
    CHECK(scheduled);
    Api__PendingActivityInfo *info = arena_new(arena, Api__PendingActivityInfo);
    api__pending_activity_info__init(info);
    info->activity_id = scheduled->activity_id;
    info->activity_type = scheduled->activity_type;
    info->state = activity_state(activity);
    info->attempt = activity->attempt;
    info->maximum_attempts =
        scheduled->retry_policy ? scheduled->retry_policy->maximum_attempts : 0;
    set_opaque(
        arena, activity->heartbeat_details, &info->n_heartbeat_details, &info->heartbeat_details);
    set_opaque(arena, activity->last_failure, &info->n_last_failure, &info->last_failure);
    const char *identity = activity->started && activity->started_identity
                               ? activity->started_identity
                               : activity->last_identity;
    info->last_worker_identity = event_text(identity ? identity : "");
    info->priority = scheduled->priority;
    info->activity_options = options_of(arena, activity, scheduled);
    set_times(arena, d, activity, info);
    return info;
}

static int by_event(const void *a, const void *b)
{
    const struct activity *const *left = a;
    const struct activity *const *right = b;
    int64_t x = (*left)->scheduled_event_id;
    int64_t y = (*right)->scheduled_event_id;
    return (x > y) - (x < y);
}

static void set_activities(
    struct decision *d, const struct run *run, Api__DescribeWorkflowExecutionResponse *response)
{
    size_t count = run->activities.count;
    const struct activity **sorted = arena_zalloc(d->arena, count, sizeof(*sorted));
    size_t cursor = 0;
    for (size_t i = 0; i < count; i++)
        sorted[i] = map_next(&run->activities, &cursor);
    qsort(sorted, count, sizeof(*sorted), by_event);
    response->n_pending_activities = count;
    response->pending_activities =
        arena_zalloc(d->arena, count, sizeof(*response->pending_activities));
    for (size_t i = 0; i < count; i++)
        response->pending_activities[i] = activity_of(d, sorted[i]);
}

static Api__PendingWorkflowTaskInfo *task_of(struct arena *arena, const struct workflow_task *task)
{
    Api__PendingWorkflowTaskInfo *info = arena_new(arena, Api__PendingWorkflowTaskInfo);
    api__pending_workflow_task_info__init(info);
    info->state = API__PENDING_WORKFLOW_TASK_STATE__PENDING_WORKFLOW_TASK_STATE_SCHEDULED;
    if (task->mark.set) {
        info->state = API__PENDING_WORKFLOW_TASK_STATE__PENDING_WORKFLOW_TASK_STATE_STARTED;
        info->started_time = timestamp_new(arena, task->mark.started_ns);
    }
    info->scheduled_time = timestamp_new(arena, task->scheduled_ns);
    info->original_scheduled_time = timestamp_new(arena, task->original_scheduled_ns);
    info->attempt = task->attempt;
    return info;
}

void decide_describe(struct decision *d, struct request *request)
{
    const struct run *run = asked_run(d, request);
    if (!run)
        return;
    const Api__WorkflowExecutionStartedEventAttributes *started =
        run_started_attributes(d->arena, run);
    Api__DescribeWorkflowExecutionResponse response;
    api__describe_workflow_execution_response__init(&response);
    response.execution_config = config_of(d->arena, run, started);
    response.workflow_execution_info = info_of(d->arena, run, started);
    if (attach_maps(d->arena, run, response.workflow_execution_info)) {
        decision_fail(d, run, request->call, GRPC_DATA_LOSS, NULL, NULL,
            "memo or search attributes of the run are corrupt");
        return;
    }
    response.workflow_extended_info = extended_of(d->arena, run);
    if (run_is_open(run)) {
        set_activities(d, run, &response);
        if (run->task.scheduled_event_id)
            response.pending_workflow_task = task_of(d->arena, &run->task);
    }
    decision_reply(d, run, request->call, &response.base);
}
