/* SPDX-License-Identifier: Apache-2.0
 *
 * How events enter a run: limits of the buffer and of the history, flushing, timers.
 */
#include <stdlib.h>

#include "cluster/engine/decide_private.h"

Api__HistoryEvent *event_now(struct decision *d, Api__EventType type)
{
    return event_new(d->arena, type, d->now_ns);
}

/* The worker does not finish while events pile up behind it: it starts over and sees them. */
void event_room(struct decision *d, struct run *run, size_t count, size_t bytes)
{
    if (!run->task.mark.set)
        return;
    if (run->buffered_count + count <= BUFFERED_EVENTS_MAX &&
        run->buffered_bytes + bytes <= BUFFERED_BYTES_MAX)
        return;
    workflow_task_fail_with(d, run,
        &(struct task_failure){
            .cause = TASK_FAILED(FORCE_CLOSE_COMMAND), .identity = SERVER_IDENTITY});
}

int64_t event_add(
    struct decision *d, struct run *run, Api__HistoryEvent *event, const char *request_id)
{
    event_room(d, run, 1, protobuf_c_message_get_packed_size(&event->base));
    return decision_append_or_buffer(d, run, event, request_id);
}

/* The rows of settled activities go with the events that close them: those are in the buffer. */
static void remove_settled_facts(struct decision *d, struct run *run)
{
    size_t cursor = 0;
    for (struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        if (activity_is_settled(activity))
            decision_touch_activity(d, run, activity, true);
    }
}

bool buffered_flush(struct decision *d, struct run *run)
{
    CHECK(!run->task.mark.set);
    if (!run->buffered_count)
        return false;
    remove_settled_facts(d, run);
    decision_flush_buffered(d, run);
    return true;
}

void history_limits_enforce(struct decision *d, struct run *run)
{
    if (!run_is_open(run))
        return;
    if (run_branch(run)->history_bytes > (int64_t)HISTORY_BYTES_MAX)
        terminate_run(
            d, run, "Workflow history size exceeds limit.", bytes_make(NULL, 0), SERVER_IDENTITY);
    else if (run_next_event_id(run) - 1 > HISTORY_EVENTS_MAX)
        terminate_run(
            d, run, "Workflow history count exceeds limit.", bytes_make(NULL, 0), SERVER_IDENTITY);
}

/* ---- timers --------------------------------------------------------------------------------- */

static int by_fire_time(const void *a, const void *b)
{
    const struct timer *left = *(struct timer *const *)a;
    const struct timer *right = *(struct timer *const *)b;
    if (left->fire_ns != right->fire_ns)
        return left->fire_ns < right->fire_ns ? -1 : 1;
    if (left->started_event_id == right->started_event_id)
        return 0;
    return left->started_event_id < right->started_event_id ? -1 : 1;
}

bool timers_fire_due(struct decision *d, struct run *run)
{
    CHECK(!run->task.mark.set);
    if (!run->timers.count)
        return false;
    struct timer **due = arena_zalloc(d->arena, run->timers.count, sizeof(struct timer *));
    size_t count = 0;
    size_t cursor = 0;
    for (struct timer *timer = map_next(&run->timers, &cursor); timer;
         timer = map_next(&run->timers, &cursor)) {
        if (timer->fire_ns <= d->now_ns)
            due[count++] = timer;
    }
    qsort(due, count, sizeof(struct timer *), by_fire_time);
    for (size_t i = 0; i < count; i++) {
        Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_TIMER_FIRED);
        Api__TimerFiredEventAttributes *fired = event->timer_fired_event_attributes;
        fired->timer_id = bytes_string(d->arena, due[i]->timer_id);
        fired->started_event_id = due[i]->started_event_id;
        decision_append(d, run, event);
    }
    return count > 0;
}
