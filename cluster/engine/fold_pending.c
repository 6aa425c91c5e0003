/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run waits for: activities and timers.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/engine/fold_private.h"

/* ---- activities ------------------------------------------------------------------------------ */

enum err fold_add_activity(struct run *run, int64_t scheduled_event_id, int64_t scheduled_time_ns,
    int64_t version, const Api__ActivityTaskScheduledEventAttributes *attributes,
    struct bytes packed)
{
    struct bytes id = bytes_of(attributes->activity_id);
    if (!attributes->task_queue || run_activity(run, scheduled_event_id) ||
        run_activity_by_id(run, id))
        return ERR_CORRUPT;
    struct activity *activity = mem_zalloc(1, sizeof(*activity) + id.len + packed.len);
    uint8_t *own = (uint8_t *)(activity + 1);
    if (id.len > 0)
        memcpy(own, id.data, id.len);
    if (packed.len > 0)
        memcpy(own + id.len, packed.data, packed.len);
    activity->scheduled_event_id = scheduled_event_id;
    for (int i = 0; i < 8; i++)
        activity->event_key[i] = (uint8_t)((uint64_t)scheduled_event_id >> (56 - 8 * i));
    activity->activity_id = bytes_make(own, id.len);
    activity->scheduled = bytes_make(own + id.len, packed.len);
    activity->scheduled_time_ns = scheduled_time_ns;
    activity->version = version;
    activity->schedule_to_close_ms = fold_span_ms(attributes->schedule_to_close_timeout);
    activity->schedule_to_start_ms = fold_span_ms(attributes->schedule_to_start_timeout);
    activity->start_to_close_ms = fold_span_ms(attributes->start_to_close_timeout);
    activity->heartbeat_ms = fold_span_ms(attributes->heartbeat_timeout);
    activity->attempt = 1;
    activity->attempt_scheduled_ns = scheduled_time_ns;
    activity->fact_version = version;
    map_put(
        &run->activities, bytes_make(activity->event_key, sizeof(activity->event_key)), activity);
    map_put(&run->activity_ids, activity->activity_id, activity);
    return OK;
}

enum err fold_activity_scheduled(const struct fold_step *step)
{
    const Api__ActivityTaskScheduledEventAttributes *attributes =
        step->event->activity_task_scheduled_event_attributes;
    struct arena scratch CLEANUP(arena_release) = {0};
    return fold_add_activity(step->run, step->event->event_id, step->time_ns, step->event->version,
        attributes, fold_pack(&scratch, &attributes->base));
}

enum err fold_activity_started(const struct fold_step *step)
{
    int64_t id = step->event->activity_task_started_event_attributes->scheduled_event_id;
    return run_activity(step->run, id) ? OK : ERR_CORRUPT;
}

enum err fold_activity_cancel_requested(const struct fold_step *step)
{
    struct activity *activity = run_activity(step->run,
        step->event->activity_task_cancel_requested_event_attributes->scheduled_event_id);
    if (!activity)
        return ERR_CORRUPT;
    activity->cancel_requested_event_id = step->event->event_id;
    return OK;
}

static enum err activity_closed(struct run *run, int64_t scheduled_event_id)
{
    struct activity *activity = run_activity(run, scheduled_event_id);
    if (!activity)
        return ERR_CORRUPT;
    map_remove(&run->activity_ids, activity->activity_id);
    map_remove(&run->activities, bytes_make(activity->event_key, sizeof(activity->event_key)));
    mem_free(activity->started_identity);
    mem_free(activity->last_identity);
    blob_unref(activity->heartbeat_details);
    blob_unref(activity->last_failure);
    mem_free(activity);
    return OK;
}

enum err fold_activity_completed(const struct fold_step *step)
{
    return activity_closed(
        step->run, step->event->activity_task_completed_event_attributes->scheduled_event_id);
}

enum err fold_activity_failed(const struct fold_step *step)
{
    return activity_closed(
        step->run, step->event->activity_task_failed_event_attributes->scheduled_event_id);
}

enum err fold_activity_timed_out(const struct fold_step *step)
{
    return activity_closed(
        step->run, step->event->activity_task_timed_out_event_attributes->scheduled_event_id);
}

enum err fold_activity_canceled(const struct fold_step *step)
{
    return activity_closed(
        step->run, step->event->activity_task_canceled_event_attributes->scheduled_event_id);
}

/* ---- timers ---------------------------------------------------------------------------------- */

enum err fold_add_timer(
    struct run *run, struct bytes timer_id, int64_t started_event_id, int64_t fire_ns)
{
    if (run_timer(run, timer_id))
        return ERR_CORRUPT;
    struct timer *timer = mem_zalloc(1, sizeof(*timer) + timer_id.len);
    if (timer_id.len > 0)
        memcpy(timer + 1, timer_id.data, timer_id.len);
    timer->timer_id = bytes_make(timer + 1, timer_id.len);
    timer->started_event_id = started_event_id;
    timer->fire_ns = fire_ns;
    map_put(&run->timers, timer->timer_id, timer);
    return OK;
}

enum err fold_timer_started(const struct fold_step *step)
{
    const Api__TimerStartedEventAttributes *attributes =
        step->event->timer_started_event_attributes;
    int64_t span_ns = fold_span_ms(attributes->start_to_fire_timeout) * 1000000;
    return fold_add_timer(
        step->run, bytes_of(attributes->timer_id), step->event->event_id, step->time_ns + span_ns);
}

static enum err timer_closed(struct run *run, const char *timer_id, int64_t started_event_id)
{
    struct timer *timer = run_timer(run, bytes_of(timer_id));
    if (!timer || timer->started_event_id != started_event_id)
        return ERR_CORRUPT;
    map_remove(&run->timers, timer->timer_id);
    mem_free(timer);
    return OK;
}

enum err fold_timer_fired(const struct fold_step *step)
{
    const Api__TimerFiredEventAttributes *fired = step->event->timer_fired_event_attributes;
    return timer_closed(step->run, fired->timer_id, fired->started_event_id);
}

enum err fold_timer_canceled(const struct fold_step *step)
{
    const Api__TimerCanceledEventAttributes *canceled =
        step->event->timer_canceled_event_attributes;
    return timer_closed(step->run, canceled->timer_id, canceled->started_event_id);
}
