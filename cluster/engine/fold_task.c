/* SPDX-License-Identifier: Apache-2.0
 *
 * Workflow tasks. Started always comes in one batch with the task's outcome, so a folded state
 * never shows a started task.
 */
#include "cluster/engine/fold_private.h"

void fold_task_clear(struct run *run)
{
    struct workflow_task *task = &run->task;
    task->scheduled_event_id = 0;
    task->scheduled_ns = 0;
    task->original_scheduled_ns = 0;
    task->timeout_ms = 0;
    task->not_before_ns = 0;
    task->transient = false;
    task->offered = false;
    task->offered_sticky = false;
    task->sticky_deadline_ns = 0;
}

enum err fold_task_scheduled(const struct fold_step *step)
{
    const Api__WorkflowTaskScheduledEventAttributes *attributes =
        step->event->workflow_task_scheduled_event_attributes;
    struct workflow_task *task = &step->run->task;
    if (task->scheduled_event_id && !task->transient)
        return ERR_CORRUPT;
    /* The event of a transient task is written with its outcome: it was offered already. */
    bool written_late = task->transient;
    task->scheduled_event_id = step->event->event_id;
    task->scheduled_ns = step->time_ns;
    if (!written_late)
        task->original_scheduled_ns = step->time_ns;
    task->timeout_ms = fold_span_ms(attributes->start_to_close_timeout);
    task->attempt = attributes->attempt > 0 ? attributes->attempt : 1;
    task->transient = false;
    task->not_before_ns = 0;
    return OK;
}

static enum err check_task(const struct run *run, int64_t scheduled_event_id)
{
    if (!scheduled_event_id || run->task.scheduled_event_id != scheduled_event_id)
        return ERR_CORRUPT;
    return OK;
}

enum err fold_task_started(const struct fold_step *step)
{
    return check_task(
        step->run, step->event->workflow_task_started_event_attributes->scheduled_event_id);
}

enum err fold_task_completed(const struct fold_step *step)
{
    const Api__WorkflowTaskCompletedEventAttributes *attributes =
        step->event->workflow_task_completed_event_attributes;
    struct run *run = step->run;
    if (check_task(run, attributes->scheduled_event_id))
        return ERR_CORRUPT;
    if (attributes->started_event_id <= attributes->scheduled_event_id ||
        attributes->started_event_id >= step->event->event_id)
        return ERR_CORRUPT;
    run->last_completed_started_event_id = attributes->started_event_id;
    run->workflow_tasks_completed++;
    fold_task_clear(run);
    run->task.attempt = 1;
    return OK;
}

static enum err next_attempt(struct run *run)
{
    int32_t attempt = run->task.attempt;
    fold_task_clear(run);
    run->task.attempt = attempt < INT32_MAX ? attempt + 1 : attempt;
    return OK;
}

enum err fold_task_failed(const struct fold_step *step)
{
    if (check_task(
            step->run, step->event->workflow_task_failed_event_attributes->scheduled_event_id))
        return ERR_CORRUPT;
    return next_attempt(step->run);
}

enum err fold_task_timed_out(const struct fold_step *step)
{
    const Api__WorkflowTaskTimedOutEventAttributes *attributes =
        step->event->workflow_task_timed_out_event_attributes;
    if (check_task(step->run, attributes->scheduled_event_id))
        return ERR_CORRUPT;
    /* Nobody took it from the sticky queue: not the workflow's fault. */
    if (attributes->timeout_type == API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START) {
        fold_task_clear(step->run);
        return OK;
    }
    return next_attempt(step->run);
}
