/* SPDX-License-Identifier: Apache-2.0
 *
 * Offering tasks to matching. An offer is memory: it leaves once the decisions it rests on are
 * committed, and losing it costs only that the run is found due again.
 */
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/matching/matching.h"

struct offer {
    struct effect effect;
    struct matching *matching;
    struct task *task;
};

static void offer_fire(struct effect *effect, enum err err)
{
    struct offer *offer = CONTAINER_OF(effect, struct offer, effect);
    /* Not committed: the executor discards the run, and with it the note that it was offered. */
    if (err || !offer->matching)
        task_free(offer->task);
    else
        matching_offer(offer->matching, offer->task);
    mem_free(offer);
}

static void offer(struct decision *d, const struct run *run, struct task *task)
{
    struct offer *waiting = mem_new(struct offer);
    waiting->effect.fire = offer_fire;
    waiting->matching = executor_matching(d->executor);
    waiting->task = task;
    decision_defer(d, run, &waiting->effect);
}

void dispatch_workflow_task(struct decision *d, struct run *run)
{
    struct workflow_task *task = &run->task;
    if (!run_is_open(run) || run->zombie || !task->scheduled_event_id || task->mark.set ||
        task->offered)
        return;
    if (task->not_before_ns > d->now_ns || task->scheduled_ns > d->now_ns)
        return;
    bool sticky = run->sticky_queue && !task->transient;
    task->offered = true;
    task->offered_sticky = sticky;
    task->sticky_deadline_ns = DUE_NONE;
    if (sticky && run->sticky_timeout_ms &&
        (__builtin_mul_overflow(run->sticky_timeout_ms, NS_PER_MS, &task->sticky_deadline_ns) ||
            __builtin_add_overflow(task->sticky_deadline_ns, d->now_ns, &task->sticky_deadline_ns)))
        task->sticky_deadline_ns = DUE_NONE;
    offer(d, run,
        task_new(TASK_WORKFLOW, run->namespace_id, run->workflow_id, run->run_id, run->shard,
            task->scheduled_event_id, task->attempt, sticky ? run->sticky_queue : run->task_queue,
            sticky ? run->task_queue : NULL));
}

void dispatch_activity(struct decision *d, struct run *run, struct activity *activity)
{
    if (!run_is_open(run) || run->zombie || activity->started || activity->offered ||
        activity_offer_ns(activity) > d->now_ns)
        return;
    const Api__ActivityTaskScheduledEventAttributes *scheduled = proto_unpack(
        d->arena, &api__activity_task_scheduled_event_attributes__descriptor, activity->scheduled);
    CHECK(scheduled && scheduled->task_queue);
    activity->offered = true;
    offer(d, run,
        task_new(TASK_ACTIVITY, run->namespace_id, run->workflow_id, run->run_id, run->shard,
            activity->scheduled_event_id, activity->attempt, scheduled->task_queue->name, NULL));
}

void run_forget_offers(struct run *run)
{
    size_t cursor = 0;
    if (!run->task.mark.set)
        run->task.offered = false;
    for (struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        if (!activity->started)
            activity->offered = false;
    }
}
