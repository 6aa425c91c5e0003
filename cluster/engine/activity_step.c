/* SPDX-License-Identifier: Apache-2.0
 *
 * How activities go on: attempts, timeouts, ends.
 *
 * Attempts are facts; history sees only that an activity was scheduled and how it ended. The
 * Started event is written just before the end, with the attempt that mattered.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/failure_build.h"
#include "cluster/engine/retry_policy.h"

bool activity_is_settled(const struct activity *activity)
{
    return activity->started && activity->nonce == 0;
}

static int64_t deadline_ns(int64_t from_ns, int64_t timeout_ms)
{
    int64_t ns = 0;
    if (!timeout_ms || __builtin_mul_overflow(timeout_ms, NS_PER_MS, &ns) ||
        __builtin_add_overflow(ns, from_ns, &ns))
        return DUE_NONE;
    return ns;
}

static void take_earlier(
    int64_t *ns, Api__TimeoutType *type, int64_t other_ns, Api__TimeoutType other)
{
    if (other_ns >= *ns)
        return;
    *ns = other_ns;
    *type = other;
}

int64_t activity_timeout_ns(const struct activity *activity, Api__TimeoutType *ret_type)
{
    int64_t ns = DUE_NONE;
    Api__TimeoutType type = API__TIMEOUT_TYPE__TIMEOUT_TYPE_UNSPECIFIED;
    if (!activity_is_settled(activity)) {
        take_earlier(&ns, &type,
            deadline_ns(activity->scheduled_time_ns, activity->schedule_to_close_ms),
            API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_CLOSE);
        if (activity->started) {
            int64_t alive_ns = activity->heartbeat_ns > activity->started_ns
                                   ? activity->heartbeat_ns
                                   : activity->started_ns;
            take_earlier(&ns, &type, deadline_ns(activity->started_ns, activity->start_to_close_ms),
                API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE);
            take_earlier(&ns, &type, deadline_ns(alive_ns, activity->heartbeat_ms),
                API__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT);
        } else {
            take_earlier(&ns, &type,
                deadline_ns(activity_offer_ns(activity), activity->schedule_to_start_ms),
                API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START);
        }
    }
    if (ret_type)
        *ret_type = type;
    return ns;
}

int64_t activity_offer_ns(const struct activity *activity)
{
    int64_t ns = activity->attempt_scheduled_ns;
    return activity->not_before_ns > ns ? activity->not_before_ns : ns;
}

/* ---- end ------------------------------------------------------------------------------------ */

static Api__HistoryEvent *started_event(struct decision *d, const struct activity *activity)
{
    Api__HistoryEvent *event = event_new(
        d->arena, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_STARTED, activity->started_ns);
    Api__ActivityTaskStartedEventAttributes *started =
        event->activity_task_started_event_attributes;
    started->scheduled_event_id = activity->scheduled_event_id;
    started->identity =
        arena_strdup(d->arena, activity->started_identity ? activity->started_identity : "");
    started->request_id = arena_printf(d->arena, "%016llx", (unsigned long long)activity->nonce);
    started->attempt = activity->attempt;
    if (activity->last_failure)
        opaque_set(d->arena, &started->n_last_failure, &started->last_failure,
            bytes_copy(d->arena, blob_view(activity->last_failure)));
    return event;
}

void activity_close(struct decision *d, struct run *run, struct activity *activity,
    Api__HistoryEvent *event, int64_t *started_field)
{
    Api__HistoryEvent *started = activity->started ? started_event(d, activity) : NULL;
    size_t bytes = protobuf_c_message_get_packed_size(&event->base);
    if (started)
        bytes += protobuf_c_message_get_packed_size(&started->base);
    /* Both or none: the flush ties them together. */
    event_room(d, run, 2, bytes);
    *started_field = started ? decision_append_or_buffer(d, run, started, NULL) : 0;
    if (run->task.mark.set) {
        activity->started = true;
        activity->nonce = 0;
        activity->offered = false;
        decision_touch_activity(d, run, activity, false);
    } else {
        decision_touch_activity(d, run, activity, true);
    }
    decision_append_or_buffer(d, run, event, NULL);
}

void activity_fail(struct decision *d, struct run *run, struct activity *activity,
    struct bytes failure, Api__RetryState state, const char *identity,
    Api__WorkerVersionStamp *worker_version)
{
    Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_FAILED);
    Api__ActivityTaskFailedEventAttributes *failed = event->activity_task_failed_event_attributes;
    opaque_set(d->arena, &failed->n_failure, &failed->failure, failure);
    failed->scheduled_event_id = activity->scheduled_event_id;
    failed->identity = event_text(identity);
    failed->retry_state = state;
    failed->worker_version = worker_version;
    activity_close(d, run, activity, event, &failed->started_event_id);
}

/* ---- next attempt --------------------------------------------------------------------------- */

static void begin_attempt(struct decision *d, struct run *run, struct activity *activity,
    int64_t backoff_ns, struct bytes failure)
{
    failure = failure_truncate(d->arena, failure, RETRY_FAILURE_BYTES_MAX);
    blob_unref(activity->last_failure);
    activity->last_failure = failure.data ? blob_from(failure) : NULL;
    if (activity->started_identity) {
        mem_free(activity->last_identity);
        activity->last_identity = activity->started_identity;
        activity->started_identity = NULL;
    }
    activity->attempt++;
    activity->started = false;
    activity->started_ns = 0;
    activity->nonce = 0;
    activity->heartbeat_ns = 0;
    activity->last_attempt_complete_ns = d->now_ns;
    activity->attempt_scheduled_ns = d->now_ns + backoff_ns;
    activity->not_before_ns = backoff_ns ? d->now_ns + backoff_ns : 0;
    activity->offered = false;
    decision_touch_activity(d, run, activity, false);
    dispatch_activity(d, run, activity);
}

Api__RetryState activity_retry(
    struct decision *d, struct run *run, struct activity *activity, struct bytes failure)
{
    if (activity->cancel_requested_event_id)
        return API__RETRY_STATE__RETRY_STATE_CANCEL_REQUESTED;
    const Api__ActivityTaskScheduledEventAttributes *scheduled = proto_unpack(
        d->arena, &api__activity_task_scheduled_event_attributes__descriptor, activity->scheduled);
    CHECK(scheduled);
    int64_t expires_ns = deadline_ns(activity->scheduled_time_ns, activity->schedule_to_close_ms);
    struct retry_decision next = retry_next(scheduled->retry_policy, activity->attempt,
        failure_read(d->arena, failure), d->now_ns, expires_ns == DUE_NONE ? 0 : expires_ns);
    if (next.state == API__RETRY_STATE__RETRY_STATE_IN_PROGRESS)
        begin_attempt(d, run, activity, next.backoff_ns, failure);
    return next.state;
}

/* ---- timeouts ------------------------------------------------------------------------------- */

static struct bytes timeout_failure(
    struct decision *d, const struct activity *activity, Api__TimeoutType type)
{
    struct bytes none = bytes_make(NULL, 0);
    return failure_timeout(d->arena,
        arena_printf(d->arena, "activity %s timeout", timeout_name(type)), type,
        activity->heartbeat_details ? blob_view(activity->heartbeat_details) : none,
        activity->last_failure ? blob_view(activity->last_failure) : none);
}

void activity_time_out(
    struct decision *d, struct run *run, struct activity *activity, Api__TimeoutType type)
{
    /* What is remembered of the attempt is the timeout alone: causes must not pile up. */
    struct bytes attempt_failure =
        failure_timeout(d->arena, arena_printf(d->arena, "activity %s timeout", timeout_name(type)),
            type, bytes_make(NULL, 0), bytes_make(NULL, 0));
    Api__RetryState state = activity_retry(d, run, activity, attempt_failure);
    if (state == API__RETRY_STATE__RETRY_STATE_IN_PROGRESS)
        return;
    /* Time for another attempt ran out: that is what ended it. */
    if (state == API__RETRY_STATE__RETRY_STATE_TIMEOUT)
        type = API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_CLOSE;
    Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT);
    Api__ActivityTaskTimedOutEventAttributes *timed_out =
        event->activity_task_timed_out_event_attributes;
    struct bytes failure = timeout_failure(d, activity, type);
    opaque_set(d->arena, &timed_out->n_failure, &timed_out->failure, failure);
    timed_out->scheduled_event_id = activity->scheduled_event_id;
    timed_out->retry_state = state;
    activity_close(d, run, activity, event, &timed_out->started_event_id);
    workflow_task_schedule(d, run);
}

void activity_set_heartbeat_details(struct activity *activity, struct bytes details)
{
    if (!details.data)
        return;
    blob_unref(activity->heartbeat_details);
    activity->heartbeat_details = blob_from(details);
}
