/* SPDX-License-Identifier: Apache-2.0
 *
 * How runs end: closing commands, termination, timeouts.
 */
#include <string.h>

#include "cluster/engine/decide_command.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/failure_build.h"
#include "cluster/engine/retry_policy.h"

#define BAD_COMPLETE TASK_FAILED(BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES)
#define BAD_FAIL     TASK_FAILED(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES)
#define BAD_CANCEL   TASK_FAILED(BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES)

void run_closed(struct decision *d, struct run *run)
{
    CHECK(!run_is_open(run));
    run->visibility_changed = true;
    decision_touch(d, run);
    queries_closed(d, run);
}

/* ---- complete, cancel ----------------------------------------------------------------------- */

void check_complete_workflow(struct command_check *check, const Api__Command *command)
{
    const Api__CompleteWorkflowExecutionCommandAttributes *complete =
        command->complete_workflow_execution_command_attributes;
    command_too_large(check, BAD_COMPLETE, "CompleteWorkflowExecutionCommandAttributes.Result",
        opaque_size(complete->n_result, complete->result));
}

void apply_complete_workflow(struct command_apply *apply, const Api__Command *command)
{
    const Api__CompleteWorkflowExecutionCommandAttributes *complete =
        command->complete_workflow_execution_command_attributes;
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED);
    Api__WorkflowExecutionCompletedEventAttributes *completed =
        event->workflow_execution_completed_event_attributes;
    completed->n_result = complete->n_result;
    completed->result = complete->result;
    completed->workflow_task_completed_event_id = apply->completed_event_id;
    decision_append(apply->d, apply->run, event);
    run_closed(apply->d, apply->run);
}

void check_cancel_workflow(struct command_check *check, const Api__Command *command)
{
    const Api__CancelWorkflowExecutionCommandAttributes *cancel =
        command->cancel_workflow_execution_command_attributes;
    command_too_large(check, BAD_CANCEL, "CancelWorkflowExecutionCommandAttributes.Details",
        opaque_size(cancel->n_details, cancel->details));
}

void apply_cancel_workflow(struct command_apply *apply, const Api__Command *command)
{
    const Api__CancelWorkflowExecutionCommandAttributes *cancel =
        command->cancel_workflow_execution_command_attributes;
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED);
    Api__WorkflowExecutionCanceledEventAttributes *canceled =
        event->workflow_execution_canceled_event_attributes;
    canceled->n_details = cancel->n_details;
    canceled->details = cancel->details;
    canceled->workflow_task_completed_event_id = apply->completed_event_id;
    decision_append(apply->d, apply->run, event);
    run_closed(apply->d, apply->run);
}

/* ---- fail, with the workflow's retry policy ------------------------------------------------- */

/* Decides whether the chain goes on after this failure; then the successor is prepared. */
static Api__RetryState plan_retry(struct decision *d, const struct run *run, struct bytes failure,
    struct run_successor *ret_successor)
{
    const Api__WorkflowExecutionStartedEventAttributes *started =
        run_started_attributes(d->arena, run);
    struct retry_decision next = retry_next(started->retry_policy, run->attempt,
        failure_read(d->arena, failure), d->now_ns, run->execution_expires_ns);
    *ret_successor = (struct run_successor){
        .initiator = API__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_RETRY,
        .backoff_ns = next.backoff_ns,
        .failure = failure};
    if (next.state == API__RETRY_STATE__RETRY_STATE_IN_PROGRESS)
        ret_successor->run_id = uuid_new(d->env);
    return next.state;
}

static char *successor_text(struct decision *d, const struct run_successor *successor)
{
    if (uuid_is_zero(successor->run_id))
        return event_text("");
    char *text = arena_alloc(d->arena, UUID_TEXT_LEN + 1);
    uuid_format(successor->run_id, text);
    return text;
}

void check_fail_workflow(struct command_check *check, const Api__Command *command)
{
    const Api__FailWorkflowExecutionCommandAttributes *fail =
        command->fail_workflow_execution_command_attributes;
    if (!fail->n_failure) {
        command_fault(check, BAD_FAIL, "Failure is not set on FailWorkflowExecutionCommand.");
        return;
    }
    struct bytes failure = opaque_get(check->d->arena, fail->n_failure, fail->failure);
    if (command_too_large(
            check, BAD_FAIL, "FailWorkflowExecutionCommandAttributes.Failure", failure.len))
        return;
    if (!failure_read(check->d->arena, failure))
        command_fault(check, BAD_FAIL, "Failure on FailWorkflowExecutionCommand is malformed.");
}

void apply_fail_workflow(struct command_apply *apply, const Api__Command *command)
{
    struct decision *d = apply->d;
    const Api__FailWorkflowExecutionCommandAttributes *fail =
        command->fail_workflow_execution_command_attributes;
    struct run_successor successor;
    struct bytes failure = opaque_get(d->arena, fail->n_failure, fail->failure);
    Api__RetryState state = plan_retry(d, apply->run, failure, &successor);
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_FAILED);
    Api__WorkflowExecutionFailedEventAttributes *failed =
        event->workflow_execution_failed_event_attributes;
    failed->n_failure = fail->n_failure;
    failed->failure = fail->failure;
    failed->retry_state = state;
    failed->workflow_task_completed_event_id = apply->completed_event_id;
    failed->new_execution_run_id = successor_text(d, &successor);
    decision_append(d, apply->run, event);
    run_closed(d, apply->run);
    if (state == API__RETRY_STATE__RETRY_STATE_IN_PROGRESS)
        run_create_successor(d, apply->run, &successor);
}

/* ---- from outside --------------------------------------------------------------------------- */

/* No worker holds the run any more, and nothing that was acknowledged stays behind its end. */
static void end_task(struct decision *d, struct run *run)
{
    if (!run->task.mark.set) {
        buffered_flush(d, run);
        return;
    }
    workflow_task_fail_last(d, run,
        &(struct task_failure){
            .cause = TASK_FAILED(FORCE_CLOSE_COMMAND), .identity = SERVER_IDENTITY});
}

void terminate_run_linked(struct decision *d, struct run *run, const char *reason,
    struct bytes details, const char *identity, size_t n_links, ProtobufCBinaryData *links)
{
    CHECK(run_is_open(run));
    end_task(d, run);
    Api__HistoryEvent *event =
        event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED);
    event->n_links = n_links;
    event->links = links;
    Api__WorkflowExecutionTerminatedEventAttributes *terminated =
        event->workflow_execution_terminated_event_attributes;
    terminated->reason = event_text(reason);
    opaque_set(d->arena, &terminated->n_details, &terminated->details, details);
    terminated->identity = event_text(identity);
    decision_append(d, run, event);
    run_closed(d, run);
}

void terminate_run(struct decision *d, struct run *run, const char *reason, struct bytes details,
    const char *identity)
{
    terminate_run_linked(d, run, reason, details, identity, 0, NULL);
}

void run_time_out(struct decision *d, struct run *run, bool execution)
{
    CHECK(run_is_open(run));
    end_task(d, run);
    struct run_successor successor = {0};
    Api__RetryState state = API__RETRY_STATE__RETRY_STATE_TIMEOUT;
    if (!execution) {
        struct bytes failure = failure_timeout(d->arena, "workflow timeout",
            API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE, bytes_make(NULL, 0),
            bytes_make(NULL, 0));
        state = plan_retry(d, run, failure, &successor);
    }
    Api__HistoryEvent *event =
        event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT);
    Api__WorkflowExecutionTimedOutEventAttributes *timed_out =
        event->workflow_execution_timed_out_event_attributes;
    timed_out->retry_state = state;
    timed_out->new_execution_run_id = successor_text(d, &successor);
    decision_append(d, run, event);
    run_closed(d, run);
    if (state == API__RETRY_STATE__RETRY_STATE_IN_PROGRESS)
        run_create_successor(d, run, &successor);
}

int64_t run_expires_ns(const struct run *run)
{
    int64_t run_ns = 0;
    if (run->run_timeout_ms &&
        (__builtin_mul_overflow(run->run_timeout_ms, NS_PER_MS, &run_ns) ||
            __builtin_add_overflow(run_ns, run->started_ns + run->first_backoff_ns, &run_ns)))
        run_ns = 0; /* beyond all time */
    if (!run_ns || !run->execution_expires_ns)
        return run_ns ? run_ns : run->execution_expires_ns;
    return run_ns < run->execution_expires_ns ? run_ns : run->execution_expires_ns;
}
