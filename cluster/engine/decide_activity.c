/* SPDX-License-Identifier: Apache-2.0
 *
 * What workers say about activities: completed, failed, canceled, still alive. Each call exists in
 * two forms, by task token and by activity id; both become one `report` here.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/failure_build.h"
#include "proto/api_service_activity.pb-c.h"

/* The message of either form. */
struct report {
    size_t n_payload; /* result, failure or details */
    ProtobufCBinaryData *payload;
    size_t n_heartbeat;
    ProtobufCBinaryData *heartbeat;
    const char *identity;
    Api__WorkerVersionStamp *worker_version;
};

/* ---- which activity ------------------------------------------------------------------------- */

static bool token_fits(const struct activity *activity, const struct task_token *token)
{
    return activity->started && activity->nonce == token->nonce &&
           activity->attempt == token->attempt;
}

/* The activity meant; otherwise the request was answered. `unstarted`: by id, an attempt that no
 * worker has taken will do as well. */
static struct activity *target_of(struct decision *d, struct request *request, bool unstarted)
{
    const struct activity_target *target = request->ctx;
    struct run *run = asked_open_run(d, request);
    if (!run)
        return NULL;
    struct activity *activity = target->by_id ? run_activity_by_id(run, target->activity_id)
                                              : run_activity(run, target->token.scheduled_event_id);
    bool found = activity && !activity_is_settled(activity);
    if (found && !target->by_id)
        found = token_fits(activity, &target->token);
    else if (found)
        found = activity->started || unstarted;
    if (found)
        return activity;
    answer_not_found(d, run, request,
        "invalid activityID or activity already timed out or invoking workflow is completed");
    return NULL;
}

/* Somebody reports the end of an attempt that was never handed out (by id): it starts here. */
static void start_unstarted(struct decision *d, struct activity *activity, const char *identity)
{
    if (activity->started)
        return;
    activity->started = true;
    activity->started_ns = d->now_ns;
    activity->nonce = 1; /* not settled; nobody has a token of it */
    mem_free(activity->started_identity);
    activity->started_identity = mem_strdup(identity);
}

/* ---- completed ------------------------------------------------------------------------------ */

static struct report completed_report(const struct request *request)
{
    const struct activity_target *target = request->ctx;
    if (target->by_id) {
        const Api__RespondActivityTaskCompletedByIdRequest *m = request->message;
        return (struct report){
            .n_payload = m->n_result, .payload = m->result, .identity = m->identity};
    }
    const Api__RespondActivityTaskCompletedRequest *m = request->message;
    return (struct report){.n_payload = m->n_result,
        .payload = m->result,
        .identity = m->identity,
        .worker_version = m->worker_version};
}

void decide_activity_completed(struct decision *d, struct request *request)
{
    struct report report = completed_report(request);
    struct activity *activity = target_of(d, request, true);
    if (!activity)
        return;
    struct run *run = d->run;
    start_unstarted(d, activity, report.identity);
    if (opaque_size(report.n_payload, report.payload) > BLOB_BYTES_MAX) {
        activity_fail(d, run, activity,
            failure_server(d->arena, "Complete result exceeds size limit.", true),
            API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE, report.identity,
            report.worker_version);
    } else {
        Api__HistoryEvent *event =
            event_now(d, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_COMPLETED);
        Api__ActivityTaskCompletedEventAttributes *completed =
            event->activity_task_completed_event_attributes;
        completed->n_result = report.n_payload;
        completed->result = report.payload;
        completed->scheduled_event_id = activity->scheduled_event_id;
        completed->identity = event_text(report.identity);
        completed->worker_version = report.worker_version;
        activity_close(d, run, activity, event, &completed->started_event_id);
    }
    workflow_task_schedule(d, run);
    /* The response of either form is empty. */
    Api__RespondActivityTaskCompletedResponse response;
    api__respond_activity_task_completed_response__init(&response);
    answer(d, run, request, &response.base);
}

/* ---- failed --------------------------------------------------------------------------------- */

static struct report failed_report(const struct request *request)
{
    const struct activity_target *target = request->ctx;
    if (target->by_id) {
        const Api__RespondActivityTaskFailedByIdRequest *m = request->message;
        return (struct report){.n_payload = m->n_failure,
            .payload = m->failure,
            .n_heartbeat = m->n_last_heartbeat_details,
            .heartbeat = m->last_heartbeat_details,
            .identity = m->identity};
    }
    const Api__RespondActivityTaskFailedRequest *m = request->message;
    return (struct report){.n_payload = m->n_failure,
        .payload = m->failure,
        .n_heartbeat = m->n_last_heartbeat_details,
        .heartbeat = m->last_heartbeat_details,
        .identity = m->identity,
        .worker_version = m->worker_version};
}

/* NULL when the failure is one that an activity may report. */
static const char *check_failure(struct arena *arena, struct bytes encoded)
{
    if (!encoded.data)
        return NULL;
    const Api__Failure *failure = failure_read(arena, encoded);
    if (!failure)
        return "Failure is malformed.";
    if (failure->failure_info_case != API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO)
        return "Failure must have ApplicationFailureInfo.";
    return NULL;
}

void decide_activity_failed(struct decision *d, struct request *request)
{
    struct report report = failed_report(request);
    struct bytes failure = opaque_get(d->arena, report.n_payload, report.payload);
    struct bytes heartbeat = opaque_get(d->arena, report.n_heartbeat, report.heartbeat);
    struct activity *activity = target_of(d, request, false);
    if (!activity)
        return;
    struct run *run = d->run;
    const char *fault = check_failure(d->arena, failure);
    if (fault) {
        answer_invalid(d, run, request, "%s", fault);
        return;
    }
    if (heartbeat.len > BLOB_BYTES_MAX) {
        failure = failure_server(d->arena, "Heartbeat details exceed size limit.", true);
        heartbeat = bytes_make(NULL, 0);
    }
    activity_set_heartbeat_details(activity, heartbeat);
    Api__RetryState state = activity_retry(d, run, activity, failure);
    if (state != API__RETRY_STATE__RETRY_STATE_IN_PROGRESS) {
        activity_fail(d, run, activity, failure_truncate(d->arena, failure, BLOB_BYTES_MAX), state,
            report.identity, report.worker_version);
        workflow_task_schedule(d, run);
    }
    Api__RespondActivityTaskFailedResponse response;
    api__respond_activity_task_failed_response__init(&response);
    answer(d, run, request, &response.base);
}

/* ---- canceled ------------------------------------------------------------------------------- */

static struct report canceled_report(const struct request *request)
{
    const struct activity_target *target = request->ctx;
    if (target->by_id) {
        const Api__RespondActivityTaskCanceledByIdRequest *m = request->message;
        return (struct report){
            .n_payload = m->n_details, .payload = m->details, .identity = m->identity};
    }
    const Api__RespondActivityTaskCanceledRequest *m = request->message;
    return (struct report){.n_payload = m->n_details,
        .payload = m->details,
        .identity = m->identity,
        .worker_version = m->worker_version};
}

void decide_activity_canceled(struct decision *d, struct request *request)
{
    struct report report = canceled_report(request);
    struct activity *activity = target_of(d, request, false);
    if (!activity)
        return;
    struct run *run = d->run;
    if (!activity->cancel_requested_event_id) {
        answer_invalid(d, run, request,
            "ActivityTask cancellation was not requested. "
            "ActivityId: %s",
            bytes_string(d->arena, activity->activity_id));
        return;
    }
    if (opaque_size(report.n_payload, report.payload) > BLOB_BYTES_MAX) {
        activity_fail(d, run, activity,
            failure_server(d->arena, "Cancel details exceed size limit.", true),
            API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE, report.identity,
            report.worker_version);
    } else {
        Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_CANCELED);
        Api__ActivityTaskCanceledEventAttributes *canceled =
            event->activity_task_canceled_event_attributes;
        canceled->n_details = report.n_payload;
        canceled->details = report.payload;
        canceled->latest_cancel_requested_event_id = activity->cancel_requested_event_id;
        canceled->scheduled_event_id = activity->scheduled_event_id;
        canceled->identity = event_text(report.identity);
        canceled->worker_version = report.worker_version;
        activity_close(d, run, activity, event, &canceled->started_event_id);
    }
    workflow_task_schedule(d, run);
    Api__RespondActivityTaskCanceledResponse response;
    api__respond_activity_task_canceled_response__init(&response);
    answer(d, run, request, &response.base);
}

/* ---- heartbeat ------------------------------------------------------------------------------ */

static struct report heartbeat_report(const struct request *request)
{
    const struct activity_target *target = request->ctx;
    if (target->by_id) {
        const Api__RecordActivityTaskHeartbeatByIdRequest *m = request->message;
        return (struct report){
            .n_payload = m->n_details, .payload = m->details, .identity = m->identity};
    }
    const Api__RecordActivityTaskHeartbeatRequest *m = request->message;
    return (struct report){
        .n_payload = m->n_details, .payload = m->details, .identity = m->identity};
}

void decide_activity_heartbeat(struct decision *d, struct request *request)
{
    struct report report = heartbeat_report(request);
    struct bytes details = opaque_get(d->arena, report.n_payload, report.payload);
    struct activity *activity = target_of(d, request, false);
    if (!activity)
        return;
    struct run *run = d->run;
    /* The response of either form has the same fields. */
    Api__RecordActivityTaskHeartbeatResponse response;
    api__record_activity_task_heartbeat_response__init(&response);
    if (details.len > BLOB_BYTES_MAX) {
        /* The worker is asked to stop, because nobody waits for the activity any more. */
        activity_fail(d, run, activity,
            failure_server(d->arena, "Heartbeat details exceed size limit.", true),
            API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE, report.identity, NULL);
        workflow_task_schedule(d, run);
        response.cancel_requested = true;
    } else {
        activity->heartbeat_ns = d->now_ns;
        activity_set_heartbeat_details(activity, details);
        decision_touch_activity(d, run, activity, false);
        response.cancel_requested = activity->cancel_requested_event_id != 0;
    }
    answer(d, run, request, &response.base);
}
