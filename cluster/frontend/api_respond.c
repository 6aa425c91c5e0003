/* SPDX-License-Identifier: Apache-2.0
 *
 * Outcomes of workflow and query tasks. The token says which run; whether it still fits is decided
 * by the engine.
 */
#include "cluster/engine/decide.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_task.pb-c.h"

/* Reads the token and finds its namespace; false = the call was ended. */
static bool open_token(struct api_call *api, ProtobufCBinaryData data, const char *namespace_name,
    struct task_token **ret_token)
{
    if (data.len == 0) {
        fail_invalid(api->call, "Task token not set on request.");
        return false;
    }
    struct arena *arena = &api->call->arena;
    struct task_token *token = arena_new(arena, struct task_token);
    if (task_token_read(arena, bytes_make(data.data, data.len), token)) {
        fail_invalid(api->call, "Error deserializing task token.");
        return false;
    }
    *ret_token = token;
    return api_namespace_by_id(api, token->namespace_id, namespace_name);
}

static bool check_kind(struct api_call *api, const struct task_token *token, enum task_kind wanted)
{
    if (token->kind == (int32_t)wanted)
        return true;
    fail_invalid(api->call, "Task token is of another kind of task.");
    return false;
}

static void submit(struct api_call *api, request_handler *handle, struct task_token *token)
{
    api_submit_run(api, handle, token->workflow_id, token->run_id, token);
}

void api_respond_workflow_task_completed(struct api_call *api)
{
    const Api__RespondWorkflowTaskCompletedRequest *req = api->message;
    struct task_token *token = NULL;
    if (open_token(api, req->task_token, req->namespace_, &token) &&
        check_kind(api, token, TASK_WORKFLOW) && check_text(api, req->identity, "Identity"))
        submit(api, decide_task_completed, token);
}

void api_respond_workflow_task_failed(struct api_call *api)
{
    const Api__RespondWorkflowTaskFailedRequest *req = api->message;
    struct task_token *token = NULL;
    if (open_token(api, req->task_token, req->namespace_, &token) &&
        check_kind(api, token, TASK_WORKFLOW) && check_text(api, req->identity, "Identity"))
        submit(api, decide_task_failed, token);
}

void api_respond_query_task_completed(struct api_call *api)
{
    Api__RespondQueryTaskCompletedRequest *req = api->message;
    struct task_token *token = NULL;
    if (!open_token(api, req->task_token, req->namespace_, &token) ||
        !check_kind(api, token, TASK_QUERY))
        return;
    if (opaque_size(req->n_query_result, req->query_result) > BLOB_BYTES_MAX) {
        req->completed_type = API__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_FAILED;
        req->n_query_result = 0;
        req->error_message = event_text("Query result size exceeds limit.");
    }
    submit(api, decide_query_completed, token);
}
