/* SPDX-License-Identifier: Apache-2.0
 *
 * StartWorkflowExecution and SignalWithStartWorkflowExecution: a new run, or what the policies say
 * about the one that is there.
 */
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/fold.h"
#include "cluster/engine/retry_policy.h"
#include "proto/api_errors.pb-c.h"

/* ---- the run that is there ------------------------------------------------------------------ */

/* The request that started this run; the start is its first event. "" when unknown. */
static const char *start_request_id(struct arena *arena, const struct run *run)
{
    size_t cursor = 0;
    const struct fold_key *key = NULL;
    while ((key = map_next(&run->request_ids, &cursor))) {
        if (key->event_id == 1)
            return arena_copy(arena, key->data, key->len);
    }
    return "";
}

static bool was_started_by(const struct run *run, const char *request_id)
{
    if (!*request_id)
        return false;
    const struct fold_key *key = map_get(&run->request_ids, bytes_of(request_id));
    return key && key->event_id == 1;
}

static void answer_exists(struct decision *d, const struct run *run, struct request *request,
    const char *before, const char *after)
{
    if (!request->call)
        return;
    Api__WorkflowExecutionAlreadyStartedFailure detail;
    api__workflow_execution_already_started_failure__init(&detail);
    detail.start_request_id = event_text(start_request_id(d->arena, run));
    detail.run_id = event_text(run->run_id_text);
    detail.first_execution_run_id = event_text(run->first_execution_run_id);
    decision_fail(d, run, request->call, GRPC_ALREADY_EXISTS,
        "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure", &detail.base,
        "%s. WorkflowId: %s, RunId: %s.%s", before, bytes_string(d->arena, run->workflow_id),
        run->run_id_text, after);
}

/* True when a closed run allows a new one; otherwise the request was answered. */
static bool reuse_allowed(struct decision *d, const struct run *run, struct request *request,
    Api__WorkflowIdReusePolicy policy)
{
    if (policy == API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE) {
        answer_exists(d, run, request, "Workflow execution already finished",
            " Workflow Id reuse policy: reject duplicate workflow Id.");
        return false;
    }
    if (policy !=
        API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY)
        return true;
    switch (run->status) {
    case API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_FAILED:
    case API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_CANCELED:
    case API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_TERMINATED:
    case API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
        return true;
    default:
        answer_exists(d, run, request, "Workflow execution already finished successfully",
            " Workflow Id reuse policy: allow duplicate workflow Id if last run failed.");
        return false;
    }
}

/* The old policy that says both things at once, and what is meant when nothing is said. */
static Api__WorkflowIdConflictPolicy conflict_policy(
    const Api__StartWorkflowExecutionRequest *start, Api__WorkflowIdConflictPolicy fallback)
{
    if (start->workflow_id_reuse_policy ==
        API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING)
        return API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING;
    return start->workflow_id_conflict_policy ? start->workflow_id_conflict_policy : fallback;
}

static void terminate_existing(struct decision *d, struct run *run, struct uuid new_run_id)
{
    char id[UUID_TEXT_LEN + 1];
    uuid_format(new_run_id, id);
    terminate_run(d, run, "TerminateIfRunning WorkflowIdReusePolicy",
        payloads_text(d->arena, arena_printf(d->arena, "terminated by new runID: %s", id)),
        SERVER_IDENTITY);
}

/* ---- the new run ---------------------------------------------------------------------------- */

static const char *check_start(const Api__StartWorkflowExecutionRequest *start)
{
    if (duration_ns(start->workflow_execution_timeout) < 0)
        return "Invalid WorkflowExecutionTimeoutSeconds.";
    if (duration_ns(start->workflow_run_timeout) < 0)
        return "Invalid WorkflowRunTimeoutSeconds.";
    if (duration_ns(start->workflow_task_timeout) < 0)
        return "Invalid WorkflowTaskTimeoutSeconds.";
    if (duration_ns(start->workflow_start_delay) < 0)
        return "An invalid WorkflowStartDelay is set on request.";
    if (opaque_size(start->n_input, start->input) > BLOB_BYTES_MAX)
        return "Blob data size exceeds limit.";
    if (start->memo && protobuf_c_message_get_packed_size(&start->memo->base) > MEMO_BYTES_MAX)
        return "Memo size exceeds limit.";
    return retry_policy_check(start->retry_policy);
}

/* False when the request was answered. */
static bool admit_start(
    struct decision *d, struct request *request, const Api__StartWorkflowExecutionRequest *start)
{
    if (*start->cron_schedule) {
        if (request->call)
            decision_fail(d, d->current, request->call, GRPC_UNIMPLEMENTED, NULL, NULL,
                "cron_schedule is not implemented by this server yet; use a schedule of the "
                "client or continue-as-new");
        return false;
    }
    const char *fault = check_start(start);
    if (fault)
        answer_invalid(d, d->current, request, "%s", fault);
    return !fault;
}

static int64_t min_nonzero(int64_t a, int64_t b)
{
    if (!a || !b)
        return a ? a : b;
    return a < b ? a : b;
}

/* No timeout is longer than the one that contains it. */
static void fill_timeouts(struct decision *d, const Api__StartWorkflowExecutionRequest *start,
    Api__WorkflowExecutionStartedEventAttributes *started)
{
    int64_t execution_ms = duration_ms(start->workflow_execution_timeout);
    int64_t run_ms = min_nonzero(duration_ms(start->workflow_run_timeout), execution_ms);
    int64_t task_ms = duration_ms(start->workflow_task_timeout);
    int64_t backoff_ns = duration_ns(start->workflow_start_delay);
    if (!task_ms)
        task_ms = WORKFLOW_TASK_TIMEOUT_DEFAULT_MS;
    task_ms = min_nonzero(min_nonzero(task_ms, WORKFLOW_TASK_TIMEOUT_MAX_MS), run_ms);
    started->workflow_execution_timeout = duration_new(d->arena, execution_ms);
    started->workflow_run_timeout = duration_new(d->arena, run_ms);
    started->workflow_task_timeout = duration_new(d->arena, task_ms);
    started->first_workflow_task_backoff = duration_new_ns(d->arena, backoff_ns);
    int64_t expires_ns = 0;
    if (execution_ms && !__builtin_mul_overflow(execution_ms, NS_PER_MS, &expires_ns) &&
        !__builtin_add_overflow(expires_ns, d->now_ns, &expires_ns) &&
        !__builtin_add_overflow(expires_ns, backoff_ns, &expires_ns))
        started->workflow_execution_expiration_time = timestamp_new(d->arena, expires_ns);
}

static void fill_started(struct decision *d, const struct run *run,
    const Api__StartWorkflowExecutionRequest *start,
    Api__WorkflowExecutionStartedEventAttributes *started)
{
    started->workflow_type = start->workflow_type;
    started->task_queue =
        task_queue_new(d->arena, start->task_queue ? start->task_queue->name : "");
    started->n_input = start->n_input;
    started->input = start->input;
    fill_timeouts(d, start, started);
    started->n_continued_failure = start->n_continued_failure;
    started->continued_failure = start->continued_failure;
    started->n_last_completion_result = start->n_last_completion_result;
    started->last_completion_result = start->last_completion_result;
    started->original_execution_run_id = event_text(run->run_id_text);
    started->first_execution_run_id = event_text(run->run_id_text);
    started->identity = start->identity;
    started->attempt = 1;
    if (start->retry_policy)
        started->retry_policy = retry_policy_effective(d->arena, start->retry_policy);
    started->memo = start->memo;
    started->search_attributes = start->search_attributes;
    started->n_header = start->n_header;
    started->header = start->header;
    started->workflow_id = bytes_string(d->arena, run->workflow_id);
    started->n_completion_callbacks = start->n_completion_callbacks;
    started->completion_callbacks = start->completion_callbacks;
    started->n_versioning_override = start->n_versioning_override;
    started->versioning_override = start->versioning_override;
    started->priority = start->priority;
    started->n_time_skipping_config = start->n_time_skipping_config;
    started->time_skipping_config = start->time_skipping_config;
}

/* The run with its Started event. The caller schedules the first workflow task. */
static struct run *create(
    struct decision *d, const Api__StartWorkflowExecutionRequest *start, struct uuid run_id)
{
    struct run *run = decision_create_run(d, run_id, true);
    Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_STARTED);
    event->n_user_metadata = start->n_user_metadata;
    event->user_metadata = start->user_metadata;
    event->n_links = start->n_links;
    event->links = start->links;
    fill_started(d, run, start, event->workflow_execution_started_event_attributes);
    decision_append(d, run, event);
    decision_note_request_id(d, run, start->request_id);
    return run;
}

/* ---- StartWorkflowExecution ----------------------------------------------------------------- */

static void answer_started(
    struct decision *d, struct run *run, struct request *request, bool started)
{
    Api__StartWorkflowExecutionResponse response;
    api__start_workflow_execution_response__init(&response);
    response.run_id = run->run_id_text;
    response.first_execution_run_id =
        event_text(run->first_execution_run_id ? run->first_execution_run_id : run->run_id_text);
    response.started = started;
    response.status = (Api__WorkflowExecutionStatus)run->status;
    answer(d, run, request, &response.base);
}

/* Another caller joins the run that is there and leaves what it wants to be told of. */
static void attach(
    struct decision *d, struct run *run, const Api__StartWorkflowExecutionRequest *start)
{
    const Api__OnConflictOptions *options = start->on_conflict_options;
    if (!options || !(options->attach_request_id || options->attach_completion_callbacks ||
                        options->attach_links))
        return;
    if (*start->request_id && run_has_request_id(run, start->request_id))
        return;
    Api__HistoryEvent *event =
        event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED);
    event->worker_may_ignore = true;
    Api__WorkflowExecutionOptionsUpdatedEventAttributes *updated =
        event->workflow_execution_options_updated_event_attributes;
    updated->identity = start->identity;
    if (options->attach_request_id)
        updated->attached_request_id = start->request_id;
    if (options->attach_completion_callbacks) {
        updated->n_attached_completion_callbacks = start->n_completion_callbacks;
        updated->attached_completion_callbacks = start->completion_callbacks;
    }
    if (options->attach_links) {
        event->n_links = start->n_links;
        event->links = start->links;
    }
    event_add(d, run, event, options->attach_request_id ? start->request_id : NULL);
    /* Nothing for the workflow to do, but a transient task must not be numbered over it. */
    if (run->task.scheduled_event_id)
        workflow_task_schedule(d, run);
}

void decide_start(struct decision *d, struct request *request)
{
    const Api__StartWorkflowExecutionRequest *start = request->message;
    struct run *current = d->current;
    struct uuid run_id = uuid_new(d->env);
    if (current && was_started_by(current, start->request_id)) {
        answer_started(d, current, request, true);
        return;
    }
    if (!admit_start(d, request, start))
        return;
    if (current && !run_is_open(current) &&
        !reuse_allowed(d, current, request, start->workflow_id_reuse_policy))
        return;
    if (current && run_is_open(current)) {
        switch ((int)conflict_policy(
            start, API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_FAIL)) {
        case API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING:
            attach(d, current, start);
            answer_started(d, current, request, false);
            return;
        case API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING:
            terminate_existing(d, current, run_id);
            break;
        default:
            answer_exists(d, current, request, "Workflow execution is already running", "");
            return;
        }
    }
    struct run *run = create(d, start, run_id);
    workflow_task_schedule(d, run);
    answer_started(d, run, request, true);
}

/* ---- SignalWithStart ------------------------------------------------------------------------ */

static void start_part(const Api__SignalWithStartWorkflowExecutionRequest *message,
    Api__StartWorkflowExecutionRequest *ret_start)
{
    api__start_workflow_execution_request__init(ret_start);
    ret_start->workflow_type = message->workflow_type;
    ret_start->task_queue = message->task_queue;
    ret_start->n_input = message->n_input;
    ret_start->input = message->input;
    ret_start->workflow_execution_timeout = message->workflow_execution_timeout;
    ret_start->workflow_run_timeout = message->workflow_run_timeout;
    ret_start->workflow_task_timeout = message->workflow_task_timeout;
    ret_start->identity = message->identity;
    ret_start->request_id = message->request_id;
    ret_start->workflow_id_reuse_policy = message->workflow_id_reuse_policy;
    ret_start->workflow_id_conflict_policy = message->workflow_id_conflict_policy;
    ret_start->retry_policy = message->retry_policy;
    ret_start->cron_schedule = message->cron_schedule;
    ret_start->memo = message->memo;
    ret_start->search_attributes = message->search_attributes;
    ret_start->n_header = message->n_header;
    ret_start->header = message->header;
    ret_start->workflow_start_delay = message->workflow_start_delay;
    ret_start->n_user_metadata = message->n_user_metadata;
    ret_start->user_metadata = message->user_metadata;
    ret_start->n_links = message->n_links;
    ret_start->links = message->links;
    ret_start->n_versioning_override = message->n_versioning_override;
    ret_start->versioning_override = message->versioning_override;
    ret_start->priority = message->priority;
    ret_start->n_time_skipping_config = message->n_time_skipping_config;
    ret_start->time_skipping_config = message->time_skipping_config;
}

static void answer_signaled(
    struct decision *d, struct run *run, struct request *request, bool started)
{
    Api__SignalWithStartWorkflowExecutionResponse response;
    api__signal_with_start_workflow_execution_response__init(&response);
    response.run_id = run->run_id_text;
    response.first_execution_run_id =
        event_text(run->first_execution_run_id ? run->first_execution_run_id : run->run_id_text);
    response.started = started;
    answer(d, run, request, &response.base);
}

/* The signal of a signal-with-start. A run that it starts remembers the request id already. */
static void signal_part(struct decision *d, struct run *run,
    const Api__SignalWithStartWorkflowExecutionRequest *message, bool started)
{
    run_signal(d, run,
        &(struct signal){.name = message->signal_name,
            .n_input = message->n_signal_input,
            .input = message->signal_input,
            .n_header = message->n_header,
            .header = message->header,
            .n_links = message->n_links,
            .links = message->links,
            .identity = message->identity,
            .request_id = message->request_id,
            .dedupe_id = started ? NULL : message->request_id});
}

void decide_signal_with_start(struct decision *d, struct request *request)
{
    const Api__SignalWithStartWorkflowExecutionRequest *message = request->message;
    Api__StartWorkflowExecutionRequest start;
    start_part(message, &start);
    struct run *current = d->current;
    struct uuid run_id = uuid_new(d->env);
    if (current && *message->request_id && run_has_request_id(current, message->request_id)) {
        answer_signaled(d, current, request, was_started_by(current, message->request_id));
        return;
    }
    bool open = current && run_is_open(current);
    Api__WorkflowIdConflictPolicy policy = conflict_policy(
        &start, API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING);
    bool join =
        open &&
        policy == API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING;
    if (!admit_start(d, request, &start) ||
        !signal_admit(d, join ? current : NULL, request,
            opaque_size(message->n_signal_input, message->signal_input)))
        return;
    if (current && !open && !reuse_allowed(d, current, request, start.workflow_id_reuse_policy))
        return;
    if (open && policy == API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_FAIL) {
        answer_exists(d, current, request, "Workflow execution is already running", "");
        return;
    }
    if (join) {
        signal_part(d, current, message, false);
        /* Unlike a plain signal, this one does not wait for the end of a start delay. */
        workflow_task_schedule_now(d, current);
        history_limits_enforce(d, current);
        answer_signaled(d, current, request, false);
        return;
    }
    if (open)
        terminate_existing(d, current, run_id);
    struct run *run = create(d, &start, run_id);
    signal_part(d, run, message, true);
    workflow_task_schedule(d, run);
    answer_signaled(d, run, request, true);
}
