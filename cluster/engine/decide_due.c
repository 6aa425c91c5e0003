/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run owes to the clock. run_due_ns() and decide_due() look at the same conditions in the
 * same order; after decide_due() nothing of them is due at that moment any more.
 */
#include <stdlib.h>

#include "cluster/engine/decide_private.h"

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- when ----------------------------------------------------------------------------------- */

/* A run whose first task waits for the end of a backoff. A run that went through a task once always
 * has one pending when it needs one. */
static bool awaits_first_task(const struct run *run)
{
    return !run->task.scheduled_event_id && run->workflow_tasks_completed == 0;
}

static int64_t task_due_ns(const struct run *run)
{
    const struct workflow_task *task = &run->task;
    if (task->mark.set)
        return task->mark.deadline_ns;
    if (awaits_first_task(run))
        return run->started_ns + run->first_backoff_ns;
    if (!task->scheduled_event_id)
        return DUE_NONE;
    if (task->offered)
        return task->offered_sticky ? task->sticky_deadline_ns : DUE_NONE;
    return task->not_before_ns > task->scheduled_ns ? task->not_before_ns : task->scheduled_ns;
}

static bool awaits_offer(const struct activity *activity)
{
    return !activity->started && !activity->offered;
}

int64_t run_due_ns(const struct run *run)
{
    if (!run_is_open(run) || run->zombie)
        return DUE_NONE;
    int64_t expires_ns = run_expires_ns(run);
    int64_t due = earlier(expires_ns ? expires_ns : DUE_NONE, task_due_ns(run));
    /* Buffered events without a task in flight: the mark was lost with the memory. */
    if (run->buffered_count && !run->task.mark.set)
        due = earlier(due, run->started_ns);
    size_t cursor = 0;
    for (const struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        due = earlier(due, activity_timeout_ns(activity, NULL));
        if (awaits_offer(activity))
            due = earlier(due, activity_offer_ns(activity));
    }
    if (run->task.mark.set)
        return due;
    cursor = 0;
    for (const struct timer *timer = map_next(&run->timers, &cursor); timer;
         timer = map_next(&run->timers, &cursor))
        due = earlier(due, timer->fire_ns);
    return due;
}

/* ---- what ----------------------------------------------------------------------------------- */

static void task_step(struct decision *d, struct run *run)
{
    struct workflow_task *task = &run->task;
    if (task->mark.set && task->mark.deadline_ns <= d->now_ns) {
        run->task_heartbeat_since_ns = 0;
        workflow_task_time_out(d, run, API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE);
    } else if (task->scheduled_event_id && !task->mark.set && task->offered &&
               task->offered_sticky && task->sticky_deadline_ns <= d->now_ns) {
        workflow_task_time_out(d, run, API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START);
    }
}

struct due_activity {
    int64_t due_ns;
    int64_t scheduled_event_id;
    Api__TimeoutType type;
};

static int by_due_time(const void *a, const void *b)
{
    const struct due_activity *left = a;
    const struct due_activity *right = b;
    if (left->due_ns != right->due_ns)
        return left->due_ns < right->due_ns ? -1 : 1;
    if (left->scheduled_event_id == right->scheduled_event_id)
        return 0;
    return left->scheduled_event_id < right->scheduled_event_id ? -1 : 1;
}

static void activities_step(struct decision *d, struct run *run)
{
    if (!run->activities.count)
        return;
    struct due_activity *due = arena_zalloc(d->arena, run->activities.count, sizeof(*due));
    size_t count = 0;
    size_t cursor = 0;
    for (const struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        due[count].due_ns = activity_timeout_ns(activity, &due[count].type);
        due[count].scheduled_event_id = activity->scheduled_event_id;
        if (due[count].due_ns <= d->now_ns)
            count++;
    }
    qsort(due, count, sizeof(*due), by_due_time);
    for (size_t i = 0; i < count; i++) {
        struct activity *activity = run_activity(run, due[i].scheduled_event_id);
        if (activity && run_is_open(run))
            activity_time_out(d, run, activity, due[i].type);
    }
}

static void offers_step(struct decision *d, struct run *run)
{
    size_t cursor = 0;
    dispatch_workflow_task(d, run);
    for (struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor))
        dispatch_activity(d, run, activity);
}

void decide_due(struct decision *d, struct run *run)
{
    if (!run_is_open(run) || run->zombie)
        return;
    int64_t expires_ns = run_expires_ns(run);
    if (expires_ns && expires_ns <= d->now_ns) {
        bool execution = run->execution_expires_ns && run->execution_expires_ns <= d->now_ns;
        run_time_out(d, run, execution);
        return;
    }
    if (run->buffered_count && !run->task.mark.set)
        run_recover(d, run);
    task_step(d, run);
    activities_step(d, run);
    if (!run->task.mark.set && timers_fire_due(d, run))
        workflow_task_schedule(d, run);
    if (awaits_first_task(run))
        workflow_task_schedule(d, run);
    offers_step(d, run);
    history_limits_enforce(d, run);
}

/* ---- after loading, after a takeover -------------------------------------------------------- */

/* An outcome that is in no buffer any more: the attempt's timeouts decide again. */
static void unsettle_activities(struct decision *d, struct run *run)
{
    size_t cursor = 0;
    for (struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        if (!activity_is_settled(activity))
            continue;
        env_random(d->env, &activity->nonce, sizeof(activity->nonce));
        activity->nonce |= 1;
        decision_touch_activity(d, run, activity, false);
    }
}

void run_recover(struct decision *d, struct run *run)
{
    if (!run_is_open(run) || run->zombie)
        return;
    bool takeover = run_last_version(run) != d->ns->failover_version;
    if (takeover && run->task.mark.set)
        workflow_task_clear_mark(d, run);
    if (run->task.mark.set)
        return;
    bool wants_task = buffered_flush(d, run);
    unsettle_activities(d, run);
    if (takeover) {
        /* Matching dropped its tasks when the namespace was passive. */
        run_forget_offers(run);
        sticky_clear(d, run);
        run->task_heartbeat_since_ns = 0;
        if (run->task.transient) {
            run->task.scheduled_event_id = 0;
            run->task.transient = false;
            wants_task = true;
        }
    }
    /* A failed task whose next attempt was known to the other cluster only. */
    wants_task |= !run->task.scheduled_event_id && run->task.attempt > 1;
    if (wants_task)
        workflow_task_schedule(d, run);
}
