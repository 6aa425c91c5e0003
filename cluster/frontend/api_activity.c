/* SPDX-License-Identifier: Apache-2.0
 *
 * What workers and others say about activities, by token or by id.
 */
#include "cluster/engine/decide.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_activity.pb-c.h"

static void by_token(struct api_call *api, request_handler *handle, ProtobufCBinaryData data,
    const char *namespace_name, const char *identity)
{
    struct arena *arena = &api->call->arena;
    if (data.len == 0) {
        fail_invalid(api->call, "Task token not set on request.");
        return;
    }
    struct activity_target *target = arena_new(arena, struct activity_target);
    if (task_token_read(arena, bytes_make(data.data, data.len), &target->token) ||
        target->token.kind != TASK_ACTIVITY) {
        fail_invalid(api->call, "Error deserializing task token.");
        return;
    }
    if (api_namespace_by_id(api, target->token.namespace_id, namespace_name) &&
        check_text(api, identity, "Identity"))
        api_submit_run(api, handle, target->token.workflow_id, target->token.run_id, target);
}

/* How a …ById request names an activity. */
struct activity_name {
    const char *namespace_name;
    const char *workflow_id;
    const char *run_id;
    const char *activity_id;
    const char *identity;
};

static void by_id(struct api_call *api, request_handler *handle, const struct activity_name *name)
{
    if (!api_namespace(api, name->namespace_name) ||
        !check_required(api, name->workflow_id, "WorkflowId") || !check_run_id(api, name->run_id) ||
        !check_required(api, name->activity_id, "ActivityId") ||
        !check_text(api, name->identity, "Identity"))
        return;
    struct activity_target *target = arena_new(&api->call->arena, struct activity_target);
    target->by_id = true;
    target->activity_id = bytes_of(name->activity_id);
    api_submit(api, handle, bytes_of(name->workflow_id), name->run_id, target);
}

void api_respond_activity_completed(struct api_call *api)
{
    const Api__RespondActivityTaskCompletedRequest *req = api->message;
    by_token(api, decide_activity_completed, req->task_token, req->namespace_, req->identity);
}

void api_respond_activity_completed_by_id(struct api_call *api)
{
    const Api__RespondActivityTaskCompletedByIdRequest *req = api->message;
    by_id(api, decide_activity_completed,
        &(struct activity_name){
            req->namespace_, req->workflow_id, req->run_id, req->activity_id, req->identity});
}

void api_respond_activity_failed(struct api_call *api)
{
    const Api__RespondActivityTaskFailedRequest *req = api->message;
    by_token(api, decide_activity_failed, req->task_token, req->namespace_, req->identity);
}

void api_respond_activity_failed_by_id(struct api_call *api)
{
    const Api__RespondActivityTaskFailedByIdRequest *req = api->message;
    by_id(api, decide_activity_failed,
        &(struct activity_name){
            req->namespace_, req->workflow_id, req->run_id, req->activity_id, req->identity});
}

void api_respond_activity_canceled(struct api_call *api)
{
    const Api__RespondActivityTaskCanceledRequest *req = api->message;
    by_token(api, decide_activity_canceled, req->task_token, req->namespace_, req->identity);
}

void api_respond_activity_canceled_by_id(struct api_call *api)
{
    const Api__RespondActivityTaskCanceledByIdRequest *req = api->message;
    by_id(api, decide_activity_canceled,
        &(struct activity_name){
            req->namespace_, req->workflow_id, req->run_id, req->activity_id, req->identity});
}

void api_record_heartbeat(struct api_call *api)
{
    const Api__RecordActivityTaskHeartbeatRequest *req = api->message;
    by_token(api, decide_activity_heartbeat, req->task_token, req->namespace_, req->identity);
}

void api_record_heartbeat_by_id(struct api_call *api)
{
    const Api__RecordActivityTaskHeartbeatByIdRequest *req = api->message;
    by_id(api, decide_activity_heartbeat,
        &(struct activity_name){
            req->namespace_, req->workflow_id, req->run_id, req->activity_id, req->identity});
}
