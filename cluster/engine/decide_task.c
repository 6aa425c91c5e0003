/* SPDX-License-Identifier: Apache-2.0
 *
 * RespondWorkflowTaskCompleted and RespondWorkflowTaskFailed.
 *
 * Only the attempt that is in flight can be completed: the mark knows its nonce. A mark is memory;
 * when it is lost, the worker is told NotFound, drops its cached run and gets the task again.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/engine/decide_command.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/dispatch.h"
#include "cluster/engine/failure_build.h"
#include "proto/api_errors.pb-c.h"

/* The run whose task in flight the token means; otherwise answers NotFound and returns NULL. */
static struct run *run_of_token(
    struct decision *d, struct request *request, ProtobufCBinaryData encoded)
{
    struct task_token token;
    struct run *run = d->run;
    if (task_token_read(d->arena, bytes_make(encoded.data, encoded.len), &token)) {
        answer_invalid(d, run, request, "Invalid TaskToken.");
        return NULL;
    }
    const struct workflow_task *task = run ? &run->task : NULL;
    if (run && run_is_open(run) && task->mark.set && task->mark.nonce == token.nonce &&
        task->scheduled_event_id == token.scheduled_event_id &&
        task->mark.started_event_id == token.started_event_id && task->attempt == token.attempt)
        return run;
    /* A pending task that nobody holds must not wait for a scan. */
    if (run && run_is_open(run) && task->scheduled_event_id && !task->mark.set && !task->offered &&
        task->not_before_ns <= d->now_ns)
        dispatch_workflow_task(d, run);
    answer_not_found(d, run, request, "Workflow task not found.");
    return NULL;
}

/* ---- completed ------------------------------------------------------------------------------ */

static bool is_heartbeat(const Api__RespondWorkflowTaskCompletedRequest *completed)
{
    return completed->force_create_new_workflow_task && !completed->n_commands &&
           !completed->n_messages;
}

/* Since when the worker keeps the workflow waiting for its local activities. */
static int64_t heartbeat_since_ns(const struct run *run)
{
    if (run->task_heartbeat_since_ns)
        return run->task_heartbeat_since_ns;
    return run->task.original_scheduled_ns;
}

static int64_t write_completed(
    struct decision *d, struct run *run, const Api__RespondWorkflowTaskCompletedRequest *completed)
{
    int64_t scheduled_id = run->task.scheduled_event_id;
    int64_t started_id = workflow_task_write_started(d, run);
    Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_COMPLETED);
    Api__WorkflowTaskCompletedEventAttributes *attributes =
        event->workflow_task_completed_event_attributes;
    attributes->scheduled_event_id = scheduled_id;
    attributes->started_event_id = started_id;
    attributes->identity = completed->identity;
    attributes->binary_checksum = completed->binary_checksum;
    attributes->worker_version = completed->worker_version_stamp;
    attributes->n_sdk_metadata = completed->n_sdk_metadata;
    attributes->sdk_metadata = completed->sdk_metadata;
    attributes->n_metering_metadata = completed->n_metering_metadata;
    attributes->metering_metadata = completed->metering_metadata;
    attributes->n_deployment = completed->n_deployment;
    attributes->deployment = completed->deployment;
    attributes->versioning_behavior = completed->versioning_behavior;
    int64_t id = decision_append(d, run, event);
    run->task.scheduled_event_id = 0;
    run->task.transient = false;
    run->task.attempt = 1;
    run->task.not_before_ns = 0;
    decision_touch(d, run);
    return id;
}

static void store_sticky(
    struct decision *d, struct run *run, const Api__StickyExecutionAttributes *sticky)
{
    const Api__TaskQueue *queue = sticky ? sticky->worker_task_queue : NULL;
    if (!queue || !*queue->name) {
        sticky_clear(d, run);
        return;
    }
    int64_t timeout_ms = duration_ms(sticky->schedule_to_start_timeout);
    if (run->sticky_queue && strcmp(run->sticky_queue, queue->name) == 0 &&
        run->sticky_timeout_ms == timeout_ms)
        return;
    mem_free(run->sticky_queue);
    run->sticky_queue = mem_strdup(queue->name);
    run->sticky_timeout_ms = timeout_ms;
    decision_touch(d, run);
}

/* The next task at once, in the answer, when the worker wants it and it can be had. */
static void next_task(struct decision *d, struct run *run, struct request *request,
    Api__RespondWorkflowTaskCompletedResponse *response)
{
    const Api__RespondWorkflowTaskCompletedRequest *completed = request->message;
    if (completed->return_new_workflow_task && request->call) {
        struct arena *arena = &request->call->arena;
        struct uuid poll = uuid_new(d->env);
        char poll_id[UUID_TEXT_LEN + 1];
        uuid_format(poll, poll_id);
        Api__PollWorkflowTaskQueueResponse *task =
            arena_new(arena, Api__PollWorkflowTaskQueueResponse);
        if (dispatch_start_task_now(
                d, run, completed->identity, poll_id, run->sticky_queue != NULL, arena, task)) {
            response->workflow_task = task;
            return;
        }
    }
    dispatch_workflow_task(d, run);
}

static void complete(struct decision *d, struct run *run, struct request *request, size_t count)
{
    const Api__RespondWorkflowTaskCompletedRequest *completed = request->message;
    bool heartbeat = is_heartbeat(completed);
    int64_t since_ns = heartbeat ? heartbeat_since_ns(run) : 0;
    struct command_apply apply = {.d = d, .run = run, .identity = completed->identity};
    apply.completed_event_id = write_completed(d, run, completed);
    store_sticky(d, run, completed->sticky_attributes);
    run->task_heartbeat_since_ns = since_ns;
    commands_apply(&apply, completed, count);
    bool follow_up = false;
    if (run_is_open(run)) {
        follow_up = buffered_flush(d, run);
        follow_up |= timers_fire_due(d, run);
        follow_up |= commands_apply_late(&apply);
        follow_up |= completed->force_create_new_workflow_task;
        history_limits_enforce(d, run);
        follow_up = follow_up && run_is_open(run);
    }
    queries_answered(d, run, completed, follow_up);
    dispatch_clear_mark(run);
    Api__RespondWorkflowTaskCompletedResponse response;
    api__respond_workflow_task_completed_response__init(&response);
    if (follow_up) {
        workflow_task_schedule_silent(d, run, since_ns);
        next_task(d, run, request, &response);
    }
    answer(d, run, request, &response.base);
}

/* A fault at a later attempt leaves no event: the worker is told, and the attempt runs into its
 * timeout, which paces the retries. Only a close that overlooked events is tried again at once. */
static void refuse(
    struct decision *d, struct run *run, struct request *request, const struct command_check *check)
{
    const Api__RespondWorkflowTaskCompletedRequest *completed = request->message;
    const char *name = task_failed_cause_name(d->arena, check->cause);
    const char *text = check->text ? arena_printf(d->arena, "%s: %s", name, check->text) : name;
    struct task_failure failure = {.cause = check->cause,
        .failure = failure_server(d->arena, text, true),
        .identity = completed->identity,
        .binary_checksum = completed->binary_checksum,
        .worker_version = completed->worker_version_stamp};
    bool unhandled = check->cause == TASK_FAILED(UNHANDLED_COMMAND);
    if (check->terminate) {
        workflow_task_fail_last(d, run, &failure);
        terminate_run(d, run, text, bytes_make(NULL, 0), SERVER_IDENTITY);
    } else if (run->task.attempt == 1 || unhandled) {
        workflow_task_fail_with(d, run, &failure);
    }
    answer_invalid(d, run, request, "%s", text);
}

void decide_task_completed(struct decision *d, struct request *request)
{
    const Api__RespondWorkflowTaskCompletedRequest *completed = request->message;
    struct run *run = run_of_token(d, request, completed->task_token);
    if (!run)
        return;
    if (is_heartbeat(completed) &&
        d->now_ns - heartbeat_since_ns(run) > WORKFLOW_TASK_HEARTBEAT_MAX_MS * NS_PER_MS) {
        run->task_heartbeat_since_ns = 0;
        workflow_task_time_out(d, run, API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE);
        answer_not_found(d, run, request, "workflow task heartbeat timeout");
        return;
    }
    struct command_check check;
    commands_check(d, run, completed, &check);
    if (check.cause)
        refuse(d, run, request, &check);
    else
        complete(d, run, request, check.used);
    commands_check_release(&check);
}

/* ---- failed --------------------------------------------------------------------------------- */

void decide_task_failed(struct decision *d, struct request *request)
{
    const Api__RespondWorkflowTaskFailedRequest *failed = request->message;
    struct run *run = run_of_token(d, request, failed->task_token);
    if (!run)
        return;
    struct task_failure failure = {.cause = failed->cause,
        .failure = failure_truncate(
            d->arena, opaque_get(d->arena, failed->n_failure, failed->failure), BLOB_BYTES_MAX),
        .identity = failed->identity,
        .binary_checksum = failed->binary_checksum,
        .worker_version = failed->worker_version};
    run->task_heartbeat_since_ns = 0;
    if (failed->cause == TASK_FAILED(GRPC_MESSAGE_TOO_LARGE)) {
        /* The same history would give the same message again. */
        workflow_task_fail_last(d, run, &failure);
        terminate_run(d, run, task_failed_cause_name(d->arena, failed->cause), bytes_make(NULL, 0),
            SERVER_IDENTITY);
    } else {
        workflow_task_fail_with(d, run, &failure);
    }
    Api__RespondWorkflowTaskFailedResponse response;
    api__respond_workflow_task_failed_response__init(&response);
    answer(d, run, request, &response.base);
}
