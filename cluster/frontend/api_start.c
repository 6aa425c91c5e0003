/* SPDX-License-Identifier: Apache-2.0
 *
 * StartWorkflowExecution and SignalWithStartWorkflowExecution: form only; what the policies mean is
 * decided by the engine.
 */
#include "cluster/engine/decide.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_workflow.pb-c.h"

/* What the two requests have in common. */
struct start_form {
    const char *workflow_id;
    const char *identity;
    const char *cron_schedule;
    const Api__WorkflowType *type;
    const Api__TaskQueue *queue;
    const Api__Duration *start_delay;
    Api__WorkflowIdReusePolicy reuse;
    Api__WorkflowIdConflictPolicy conflict;
    char **request_id;
};

static bool check_policies(struct api_call *api, const struct start_form *form)
{
    if (form->conflict &&
        form->reuse ==
            API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING) {
        fail_invalid(api->call,
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot "
            "be used together with a WorkflowIDConflictPolicy.");
        return false;
    }
    if (form->conflict ==
            API__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING &&
        form->reuse == API__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE) {
        fail_invalid(api->call,
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be "
            "used together with WorkflowIdConflictPolicy "
            "WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING");
        return false;
    }
    return true;
}

static bool check_form(struct api_call *api, const struct start_form *form)
{
    if (!check_required(api, form->workflow_id, "WorkflowId"))
        return false;
    if (!form->type || !*form->type->name) {
        fail_invalid(api->call, "WorkflowType is not set on request.");
        return false;
    }
    if (!check_text(api, form->type->name, "WorkflowType") || !check_task_queue(api, form->queue) ||
        !check_text(api, *form->request_id, "RequestId") ||
        !check_text(api, form->identity, "Identity"))
        return false;
    if (*form->cron_schedule && duration_ns(form->start_delay) != 0) {
        fail_invalid(api->call, "CronSchedule and WorkflowStartDelay may not be used together.");
        return false;
    }
    return check_policies(api, form);
}

void api_start(struct api_call *api)
{
    Api__StartWorkflowExecutionRequest *req = api->message;
    if (!api_namespace(api, req->namespace_))
        return;
    struct start_form form = {.workflow_id = req->workflow_id,
        .identity = req->identity,
        .cron_schedule = req->cron_schedule,
        .type = req->workflow_type,
        .queue = req->task_queue,
        .start_delay = req->workflow_start_delay,
        .reuse = req->workflow_id_reuse_policy,
        .conflict = req->workflow_id_conflict_policy,
        .request_id = &req->request_id};
    if (!check_form(api, &form) || !check_blob(api, req->n_input, req->input))
        return;
    api_assign_request_id(api, &req->request_id);
    api_submit(api, decide_start, bytes_of(req->workflow_id), "", NULL);
}

void api_signal_with_start(struct api_call *api)
{
    Api__SignalWithStartWorkflowExecutionRequest *req = api->message;
    if (!api_namespace(api, req->namespace_))
        return;
    struct start_form form = {.workflow_id = req->workflow_id,
        .identity = req->identity,
        .cron_schedule = req->cron_schedule,
        .type = req->workflow_type,
        .queue = req->task_queue,
        .start_delay = req->workflow_start_delay,
        .reuse = req->workflow_id_reuse_policy,
        .conflict = req->workflow_id_conflict_policy,
        .request_id = &req->request_id};
    if (!check_form(api, &form) || !check_required(api, req->signal_name, "SignalName") ||
        !check_blob(api, req->n_input, req->input) ||
        !check_blob(api, req->n_signal_input, req->signal_input))
        return;
    api_assign_request_id(api, &req->request_id);
    api_submit(api, decide_signal_with_start, bytes_of(req->workflow_id), "", NULL);
}
