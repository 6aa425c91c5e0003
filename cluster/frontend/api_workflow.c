/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls about a workflow that is there: signal, cancel, terminate, delete, describe, query,
 * history.
 */
#include "cluster/engine/decide.h"
#include "cluster/engine/decide_read.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_describe.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

static void submit(
    struct api_call *api, request_handler *handle, const Api__WorkflowExecution *execution)
{
    api_submit(api, handle, bytes_of(execution->workflow_id), execution->run_id, NULL);
}

void api_signal(struct api_call *api)
{
    Api__SignalWorkflowExecutionRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_execution(api, req->workflow_execution) ||
        !check_required(api, req->signal_name, "SignalName") ||
        !check_text(api, req->request_id, "RequestId") ||
        !check_text(api, req->identity, "Identity") || !check_blob(api, req->n_input, req->input))
        return;
    api_assign_request_id(api, &req->request_id);
    submit(api, decide_signal, req->workflow_execution);
}

void api_request_cancel(struct api_call *api)
{
    Api__RequestCancelWorkflowExecutionRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_execution(api, req->workflow_execution) ||
        !check_run_id(api, req->first_execution_run_id) ||
        !check_text(api, req->request_id, "RequestId") ||
        !check_text(api, req->identity, "Identity"))
        return;
    api_assign_request_id(api, &req->request_id);
    submit(api, decide_request_cancel, req->workflow_execution);
}

void api_terminate(struct api_call *api)
{
    const Api__TerminateWorkflowExecutionRequest *req = api->message;
    if (api_namespace(api, req->namespace_) && check_execution(api, req->workflow_execution) &&
        check_run_id(api, req->first_execution_run_id) &&
        check_text(api, req->identity, "Identity"))
        submit(api, decide_terminate, req->workflow_execution);
}

void api_delete(struct api_call *api)
{
    const Api__DeleteWorkflowExecutionRequest *req = api->message;
    if (api_namespace(api, req->namespace_) && check_execution(api, req->workflow_execution))
        submit(api, decide_delete, req->workflow_execution);
}

void api_describe(struct api_call *api)
{
    const Api__DescribeWorkflowExecutionRequest *req = api->message;
    if (api_namespace(api, req->namespace_) && check_execution(api, req->execution))
        submit(api, decide_describe, req->execution);
}

void api_reset_sticky(struct api_call *api)
{
    const Api__ResetStickyTaskQueueRequest *req = api->message;
    if (api_namespace(api, req->namespace_) && check_execution(api, req->execution))
        submit(api, decide_reset_sticky, req->execution);
}

void api_query(struct api_call *api)
{
    const Api__QueryWorkflowRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_execution(api, req->execution))
        return;
    if (!req->query) {
        fail_invalid(api->call, "Query is not set on request.");
        return;
    }
    if (check_required(api, req->query->query_type, "QueryType") &&
        check_blob(api, req->query->n_query_args, req->query->query_args))
        submit(api, decide_query, req->execution);
}

/* ---- history ------------------------------------------------------------------------------- */

static int32_t page_size(int32_t wanted)
{
    return wanted <= 0 || wanted > HISTORY_PAGE_EVENTS_MAX ? HISTORY_PAGE_EVENTS_MAX : wanted;
}

/* A page token is pinned to a run: a workflow id alone means that run, then. */
static void submit_history(struct api_call *api, request_handler *handle,
    const Api__WorkflowExecution *execution, ProtobufCBinaryData token)
{
    struct uuid pinned = {{0}};
    if (history_token_run(bytes_make(token.data, token.len), &pinned)) {
        fail_invalid(api->call, "Invalid NextPageToken.");
        return;
    }
    if (uuid_is_zero(pinned))
        submit(api, handle, execution);
    else
        api_submit_run(api, handle, bytes_of(execution->workflow_id), pinned, NULL);
}

void api_history(struct api_call *api)
{
    Api__GetWorkflowExecutionHistoryRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_execution(api, req->execution))
        return;
    req->maximum_page_size = page_size(req->maximum_page_size);
    submit_history(api, decide_history, req->execution, req->next_page_token);
}

void api_history_reverse(struct api_call *api)
{
    Api__GetWorkflowExecutionHistoryReverseRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_execution(api, req->execution))
        return;
    req->maximum_page_size = page_size(req->maximum_page_size);
    submit_history(api, decide_history_reverse, req->execution, req->next_page_token);
}
