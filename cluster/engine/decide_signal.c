/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients do to a run: signal, request cancellation, terminate, delete, reset stickiness.
 */
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "proto/record.pb-c.h"

/* ---- signal --------------------------------------------------------------------------------- */

void run_signal(struct decision *d, struct run *run, const struct signal *signal)
{
    Api__HistoryEvent *event =
        event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED);
    event->n_links = signal->n_links;
    event->links = signal->links;
    Api__WorkflowExecutionSignaledEventAttributes *signaled =
        event->workflow_execution_signaled_event_attributes;
    signaled->signal_name = event_text(signal->name);
    signaled->n_input = signal->n_input;
    signaled->input = signal->input;
    signaled->n_header = signal->n_header;
    signaled->header = signal->header;
    signaled->identity = event_text(signal->identity);
    signaled->request_id = event_text(signal->request_id);
    event_add(d, run, event, signal->dedupe_id);
}

bool signal_admit(struct decision *d, struct run *run, struct request *request, size_t input_bytes)
{
    if (input_bytes > BLOB_BYTES_MAX) {
        answer_invalid(d, run, request, "Blob data size exceeds limit.");
        return false;
    }
    if (run && run->signal_count >= SIGNALS_PER_RUN_MAX) {
        answer_invalid(d, run, request, "exceeded workflow execution limit for signal events");
        return false;
    }
    return true;
}

void decide_signal(struct decision *d, struct request *request)
{
    const Api__SignalWorkflowExecutionRequest *message = request->message;
    Api__SignalWorkflowExecutionResponse response;
    api__signal_workflow_execution_response__init(&response);
    struct run *run = asked_open_run(d, request);
    if (!run)
        return;
    if (*message->request_id && run_has_request_id(run, message->request_id)) {
        answer(d, run, request, &response.base);
        return;
    }
    if (!signal_admit(d, run, request, opaque_size(message->n_input, message->input)))
        return;
    run_signal(d, run,
        &(struct signal){.name = message->signal_name,
            .n_input = message->n_input,
            .input = message->input,
            .n_header = message->n_header,
            .header = message->header,
            .n_links = message->n_links,
            .links = message->links,
            .identity = message->identity,
            .request_id = message->request_id,
            .dedupe_id = message->request_id});
    workflow_task_schedule(d, run);
    history_limits_enforce(d, run);
    answer(d, run, request, &response.base);
}

/* ---- cancel --------------------------------------------------------------------------------- */

/* Whether the caller's chain of runs is not this one. */
static bool is_other_chain(const struct run *run, const char *first_execution_run_id)
{
    return *first_execution_run_id &&
           strcmp(run->first_execution_run_id ? run->first_execution_run_id : run->run_id_text,
               first_execution_run_id) != 0;
}

/* Also when the request waits in the buffer and is not folded yet. */
static bool is_cancel_requested(struct arena *arena, const struct run *run)
{
    if (run->cancel_requested)
        return true;
    for (struct list *node = run->buffered.next; node != &run->buffered; node = node->next) {
        const struct buffered_event *buffered = CONTAINER_OF(node, struct buffered_event, link);
        const Record__BufferedFact *fact =
            proto_unpack(arena, &record__buffered_fact__descriptor, blob_view(buffered->record));
        CHECK(fact);
        const Api__HistoryEvent *event = proto_unpack(
            arena, &api__history_event__descriptor, bytes_make(fact->event.data, fact->event.len));
        CHECK(event);
        if (event->event_type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
            return true;
    }
    return false;
}

void decide_request_cancel(struct decision *d, struct request *request)
{
    const Api__RequestCancelWorkflowExecutionRequest *message = request->message;
    Api__RequestCancelWorkflowExecutionResponse response;
    api__request_cancel_workflow_execution_response__init(&response);
    struct run *run = asked_run(d, request);
    if (!run)
        return;
    /* Who wants a workflow to end is content when it has ended. */
    if (!run_is_open(run)) {
        answer(d, run, request, &response.base);
        return;
    }
    if (is_other_chain(run, message->first_execution_run_id)) {
        answer_not_found(d, run, request, "workflow execution not found");
        return;
    }
    bool repeated = *message->request_id && run_has_request_id(run, message->request_id);
    if (repeated || is_cancel_requested(d->arena, run)) {
        answer(d, run, request, &response.base);
        return;
    }
    Api__HistoryEvent *event =
        event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED);
    event->n_links = message->n_links;
    event->links = message->links;
    Api__WorkflowExecutionCancelRequestedEventAttributes *requested =
        event->workflow_execution_cancel_requested_event_attributes;
    requested->cause = message->reason;
    requested->identity = message->identity;
    event_add(d, run, event, message->request_id);
    workflow_task_schedule(d, run);
    answer(d, run, request, &response.base);
}

/* ---- terminate, delete ---------------------------------------------------------------------- */

void decide_terminate(struct decision *d, struct request *request)
{
    const Api__TerminateWorkflowExecutionRequest *message = request->message;
    struct run *run = asked_open_run(d, request);
    if (!run)
        return;
    if (is_other_chain(run, message->first_execution_run_id)) {
        answer_not_found(d, run, request, "workflow execution not found");
        return;
    }
    struct bytes details = opaque_get(d->arena, message->n_details, message->details);
    if (details.len > BLOB_BYTES_MAX) {
        answer_invalid(d, run, request, "Blob data size exceeds limit.");
        return;
    }
    terminate_run_linked(
        d, run, message->reason, details, message->identity, message->n_links, message->links);
    Api__TerminateWorkflowExecutionResponse response;
    api__terminate_workflow_execution_response__init(&response);
    answer(d, run, request, &response.base);
}

void decide_delete(struct decision *d, struct request *request)
{
    struct run *run = asked_run(d, request);
    if (!run)
        return;
    if (run_is_open(run))
        terminate_run(d, run, "Delete workflow execution", bytes_make(NULL, 0), SERVER_IDENTITY);
    decision_delete_run(d, run);
    Api__DeleteWorkflowExecutionResponse response;
    api__delete_workflow_execution_response__init(&response);
    answer(d, run, request, &response.base);
}

/* ---- reset sticky --------------------------------------------------------------------------- */

void decide_reset_sticky(struct decision *d, struct request *request)
{
    struct run *run = asked_open_run(d, request);
    if (!run)
        return;
    struct workflow_task *task = &run->task;
    sticky_clear(d, run);
    /* A task that waits on the sticky queue goes to the normal one at once; whichever offer meets a
     * worker first wins. */
    if (task->scheduled_event_id && !task->mark.set && task->offered && task->offered_sticky) {
        task->offered = false;
        dispatch_workflow_task(d, run);
    }
    Api__ResetStickyTaskQueueResponse response;
    api__reset_sticky_task_queue_response__init(&response);
    answer(d, run, request, &response.base);
}
