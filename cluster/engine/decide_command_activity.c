/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands ScheduleActivityTask and RequestCancelActivityTask.
 */
#include <string.h>

#include "cluster/engine/decide_command.h"
#include "cluster/engine/retry_policy.h"

#define BAD_SCHEDULE TASK_FAILED(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES)
#define BAD_CANCEL   TASK_FAILED(BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES)
#define DUPLICATE_ID TASK_FAILED(SCHEDULE_ACTIVITY_DUPLICATE_ID)
#define TOO_MANY     TASK_FAILED(PENDING_ACTIVITIES_LIMIT_EXCEEDED)

/* What workers get as details of an activity that never ran. */
#define NOT_STARTED_TEXT "ACTIVITY_ID_NOT_STARTED"

/* ---- schedule ------------------------------------------------------------------------------- */

static const char *check_names(const Api__ScheduleActivityTaskCommandAttributes *schedule)
{
    if (!*schedule->activity_id)
        return "ActivityId is not set on ScheduleActivityTaskCommand.";
    if (!schedule->activity_type || !*schedule->activity_type->name)
        return "ActivityType is not set on ScheduleActivityTaskCommand.";
    if (!schedule->task_queue || !*schedule->task_queue->name)
        return "TaskQueue is not set on ScheduleActivityTaskCommand.";
    if (strlen(schedule->activity_id) > ID_BYTES_MAX)
        return "ActivityId on ScheduleActivityTaskCommand exceeds length limit.";
    if (strlen(schedule->activity_type->name) > ID_BYTES_MAX)
        return "ActivityType on ScheduleActivityTaskCommand exceeds length limit.";
    if (strlen(schedule->task_queue->name) > ID_BYTES_MAX)
        return "TaskQueue on ScheduleActivityTaskCommand exceeds length limit.";
    return NULL;
}

static const char *check_timeouts(const Api__ScheduleActivityTaskCommandAttributes *schedule)
{
    if (duration_ns(schedule->schedule_to_close_timeout) < 0)
        return "Invalid ScheduleToCloseTimeout: it is negative.";
    if (duration_ns(schedule->schedule_to_start_timeout) < 0)
        return "Invalid ScheduleToStartTimeout: it is negative.";
    if (duration_ns(schedule->start_to_close_timeout) < 0)
        return "Invalid StartToCloseTimeout: it is negative.";
    if (duration_ns(schedule->heartbeat_timeout) < 0)
        return "Invalid HeartbeatTimeout: it is negative.";
    if (!duration_ns(schedule->schedule_to_close_timeout) &&
        !duration_ns(schedule->start_to_close_timeout))
        return "A valid StartToClose or ScheduleToCloseTimeout is not set on "
               "ScheduleActivityTaskCommand.";
    return NULL;
}

void check_schedule_activity(struct command_check *check, const Api__Command *command)
{
    const Api__ScheduleActivityTaskCommandAttributes *schedule =
        command->schedule_activity_task_command_attributes;
    const char *fault = check_names(schedule);
    if (!fault)
        fault = check_timeouts(schedule);
    if (!fault)
        fault = retry_policy_check(schedule->retry_policy);
    if (fault) {
        command_fault(check, BAD_SCHEDULE, "%s ActivityId=%.100s", fault, schedule->activity_id);
        return;
    }
    struct bytes id = bytes_of(schedule->activity_id);
    if (run_activity_by_id(check->run, id) || map_get(&check->taken_ids, id)) {
        command_fault(
            check, DUPLICATE_ID, "activity id %s is in use already", schedule->activity_id);
        return;
    }
    if (check->activity_count >= PENDING_PER_KIND_MAX) {
        command_fault(check, TOO_MANY,
            "the number of pending activities, %zu, has reached the per-workflow limit of %d",
            check->activity_count, PENDING_PER_KIND_MAX);
        return;
    }
    if (command_too_large(check, BAD_SCHEDULE, "ScheduleActivityTaskCommandAttributes.Input",
            opaque_size(schedule->n_input, schedule->input)))
        return;
    struct planned_activity *planned = arena_new(check->d->arena, struct planned_activity);
    planned->activity_id = id;
    planned->scheduled_event_id = check->next_event_id++;
    planned->next = check->planned;
    check->planned = planned;
    CHECK(!map_put(&check->taken_ids, id, planned));
    check->activity_count++;
}

/* Timeouts as they take effect; 0 = none. */
struct effective_timeouts {
    int64_t schedule_to_close_ms;
    int64_t schedule_to_start_ms;
    int64_t start_to_close_ms;
    int64_t heartbeat_ms;
};

static int64_t min_nonzero(int64_t a, int64_t b)
{
    if (!a || !b)
        return a ? a : b;
    return a < b ? a : b;
}

/* Missing ones follow from the others, and none is longer than what contains it. */
static struct effective_timeouts effective_timeouts(
    const Api__ScheduleActivityTaskCommandAttributes *schedule, int64_t run_timeout_ms)
{
    struct effective_timeouts e = {
        .schedule_to_close_ms = duration_ms(schedule->schedule_to_close_timeout),
        .schedule_to_start_ms = duration_ms(schedule->schedule_to_start_timeout),
        .start_to_close_ms = duration_ms(schedule->start_to_close_timeout),
        .heartbeat_ms = duration_ms(schedule->heartbeat_timeout)};
    if (e.schedule_to_close_ms) {
        e.schedule_to_start_ms = min_nonzero(e.schedule_to_start_ms, e.schedule_to_close_ms);
        e.start_to_close_ms = min_nonzero(e.start_to_close_ms, e.schedule_to_close_ms);
    } else {
        e.schedule_to_close_ms = run_timeout_ms;
        if (!e.schedule_to_start_ms)
            e.schedule_to_start_ms = run_timeout_ms;
    }
    if (run_timeout_ms) {
        e.schedule_to_close_ms = min_nonzero(e.schedule_to_close_ms, run_timeout_ms);
        e.schedule_to_start_ms = min_nonzero(e.schedule_to_start_ms, run_timeout_ms);
        e.start_to_close_ms = min_nonzero(e.start_to_close_ms, run_timeout_ms);
    }
    if (e.heartbeat_ms)
        e.heartbeat_ms = min_nonzero(e.heartbeat_ms, e.start_to_close_ms);
    return e;
}

void apply_schedule_activity(struct command_apply *apply, const Api__Command *command)
{
    struct arena *arena = apply->d->arena;
    const Api__ScheduleActivityTaskCommandAttributes *schedule =
        command->schedule_activity_task_command_attributes;
    struct effective_timeouts timeouts = effective_timeouts(schedule, apply->run->run_timeout_ms);
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_SCHEDULED);
    Api__ActivityTaskScheduledEventAttributes *scheduled =
        event->activity_task_scheduled_event_attributes;
    scheduled->activity_id = schedule->activity_id;
    scheduled->activity_type = schedule->activity_type;
    scheduled->task_queue = task_queue_new(arena, schedule->task_queue->name);
    scheduled->n_header = schedule->n_header;
    scheduled->header = schedule->header;
    scheduled->n_input = schedule->n_input;
    scheduled->input = schedule->input;
    scheduled->schedule_to_close_timeout = duration_new(arena, timeouts.schedule_to_close_ms);
    scheduled->schedule_to_start_timeout = duration_new(arena, timeouts.schedule_to_start_ms);
    scheduled->start_to_close_timeout = duration_new(arena, timeouts.start_to_close_ms);
    scheduled->heartbeat_timeout = duration_new(arena, timeouts.heartbeat_ms);
    scheduled->workflow_task_completed_event_id = apply->completed_event_id;
    scheduled->retry_policy = retry_policy_effective(arena, schedule->retry_policy);
    scheduled->use_workflow_build_id = schedule->use_workflow_build_id;
    scheduled->priority = schedule->priority;
    int64_t id = decision_append(apply->d, apply->run, event);
    dispatch_activity(apply->d, apply->run, run_activity(apply->run, id));
}

/* ---- cancel --------------------------------------------------------------------------------- */

void check_cancel_activity(struct command_check *check, const Api__Command *command)
{
    int64_t id = command->request_cancel_activity_task_command_attributes->scheduled_event_id;
    struct planned_activity *planned = check->planned;
    while (planned && planned->scheduled_event_id != id)
        planned = planned->next;
    struct activity *activity = planned ? NULL : run_activity(check->run, id);
    check->next_event_id++;
    if (planned && !planned->cancelled) {
        planned->cancelled = true;
        return;
    }
    if (activity && !activity->cancel_requested_event_id) {
        struct bytes key = bytes_make(activity->event_key, sizeof(activity->event_key));
        if (!map_put(&check->activities_cancelled, key, activity))
            return;
    }
    command_fault(check, BAD_CANCEL, "%s of scheduled event %lld.",
        activity || planned ? "Cancellation was requested already of the activity"
                            : "There is no pending activity",
        (long long)id);
}

void apply_cancel_activity(struct command_apply *apply, const Api__Command *command)
{
    int64_t id = command->request_cancel_activity_task_command_attributes->scheduled_event_id;
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED);
    Api__ActivityTaskCancelRequestedEventAttributes *requested =
        event->activity_task_cancel_requested_event_attributes;
    requested->scheduled_event_id = id;
    requested->workflow_task_completed_event_id = apply->completed_event_id;
    decision_append(apply->d, apply->run, event);
    if (!run_activity(apply->run, id)->started)
        apply->unstarted[apply->unstarted_count++] = id;
}

bool commands_apply_late(struct command_apply *apply)
{
    struct decision *d = apply->d;
    for (size_t i = 0; i < apply->unstarted_count; i++) {
        struct activity *activity = run_activity(apply->run, apply->unstarted[i]);
        if (!activity)
            continue;
        Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_CANCELED);
        Api__ActivityTaskCanceledEventAttributes *canceled =
            event->activity_task_canceled_event_attributes;
        opaque_set(d->arena, &canceled->n_details, &canceled->details,
            payloads_text(d->arena, NOT_STARTED_TEXT));
        canceled->latest_cancel_requested_event_id = activity->cancel_requested_event_id;
        canceled->scheduled_event_id = activity->scheduled_event_id;
        canceled->identity = event_text(apply->identity);
        activity_close(d, apply->run, activity, event, &canceled->started_event_id);
    }
    return apply->unstarted_count > 0;
}
