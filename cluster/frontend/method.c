/* SPDX-License-Identifier: Apache-2.0
 *
 * The methods we have. Sorted by path: found by bisection.
 */
#include <stdlib.h>
#include <string.h>

#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_activity.pb-c.h"
#include "proto/api_service_describe.pb-c.h"
#include "proto/api_service_namespace.pb-c.h"
#include "proto/api_service_system.pb-c.h"
#include "proto/api_service_task.pb-c.h"
#include "proto/api_service_taskqueue.pb-c.h"
#include "proto/api_service_visibility.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

#define OPERATOR(name, message, handler, where)                    \
    {                                                              \
        "/temporal.api.operatorservice.v1.OperatorService/" #name, \
            &api__##message##_request__descriptor, handler, where  \
    }
#define WORKFLOW(name, message, handler, where)                    \
    {                                                              \
        "/temporal.api.workflowservice.v1.WorkflowService/" #name, \
            &api__##message##_request__descriptor, handler, where  \
    }

/* clang-format off */
static const struct api_method methods[] = {
    OPERATOR(ListClusters, list_clusters, api_list_clusters, ROUTE_LOCAL),
    OPERATOR(ListSearchAttributes, list_search_attributes, api_list_search_attributes, ROUTE_LOCAL),
    WORKFLOW(CountWorkflowExecutions, count_workflow_executions, api_count, ROUTE_READ),
    WORKFLOW(DeleteWorkflowExecution, delete_workflow_execution, api_delete, ROUTE_WRITE),
    WORKFLOW(DescribeNamespace, describe_namespace, api_describe_namespace, ROUTE_LOCAL),
    WORKFLOW(DescribeTaskQueue, describe_task_queue, api_describe_task_queue, ROUTE_READ),
    WORKFLOW(DescribeWorkflowExecution, describe_workflow_execution, api_describe, ROUTE_READ),
    WORKFLOW(GetClusterInfo, get_cluster_info, api_get_cluster_info, ROUTE_LOCAL),
    WORKFLOW(GetSearchAttributes, get_search_attributes, api_get_search_attributes, ROUTE_LOCAL),
    WORKFLOW(GetSystemInfo, get_system_info, api_get_system_info, ROUTE_LOCAL),
    WORKFLOW(GetWorkflowExecutionHistory, get_workflow_execution_history, api_history, ROUTE_READ),
    WORKFLOW(GetWorkflowExecutionHistoryReverse, get_workflow_execution_history_reverse,
        api_history_reverse, ROUTE_READ),
    WORKFLOW(ListClosedWorkflowExecutions, list_closed_workflow_executions, api_list_closed,
        ROUTE_READ),
    WORKFLOW(ListNamespaces, list_namespaces, api_list_namespaces, ROUTE_LOCAL),
    WORKFLOW(ListOpenWorkflowExecutions, list_open_workflow_executions, api_list_open, ROUTE_READ),
    WORKFLOW(ListTaskQueuePartitions, list_task_queue_partitions, api_list_task_queue_partitions,
        ROUTE_READ),
    WORKFLOW(ListWorkflowExecutions, list_workflow_executions, api_list, ROUTE_READ),
    WORKFLOW(PollActivityTaskQueue, poll_activity_task_queue, api_poll_activity_task, ROUTE_POLL),
    WORKFLOW(PollNexusTaskQueue, poll_nexus_task_queue, api_poll_nexus_task, ROUTE_POLL),
    WORKFLOW(PollWorkflowTaskQueue, poll_workflow_task_queue, api_poll_workflow_task, ROUTE_POLL),
    WORKFLOW(QueryWorkflow, query_workflow, api_query, ROUTE_QUERY),
    WORKFLOW(RecordActivityTaskHeartbeat, record_activity_task_heartbeat, api_record_heartbeat,
        ROUTE_WRITE),
    WORKFLOW(RecordActivityTaskHeartbeatById, record_activity_task_heartbeat_by_id,
        api_record_heartbeat_by_id, ROUTE_WRITE),
    WORKFLOW(RecordWorkerHeartbeat, record_worker_heartbeat, api_record_worker_heartbeat,
        ROUTE_LOCAL),
    WORKFLOW(RegisterNamespace, register_namespace, api_register_namespace, ROUTE_LOCAL),
    WORKFLOW(RequestCancelWorkflowExecution, request_cancel_workflow_execution, api_request_cancel,
        ROUTE_WRITE),
    WORKFLOW(ResetStickyTaskQueue, reset_sticky_task_queue, api_reset_sticky, ROUTE_WRITE),
    WORKFLOW(RespondActivityTaskCanceled, respond_activity_task_canceled,
        api_respond_activity_canceled, ROUTE_WRITE),
    WORKFLOW(RespondActivityTaskCanceledById, respond_activity_task_canceled_by_id,
        api_respond_activity_canceled_by_id, ROUTE_WRITE),
    WORKFLOW(RespondActivityTaskCompleted, respond_activity_task_completed,
        api_respond_activity_completed, ROUTE_WRITE),
    WORKFLOW(RespondActivityTaskCompletedById, respond_activity_task_completed_by_id,
        api_respond_activity_completed_by_id, ROUTE_WRITE),
    WORKFLOW(RespondActivityTaskFailed, respond_activity_task_failed, api_respond_activity_failed,
        ROUTE_WRITE),
    WORKFLOW(RespondActivityTaskFailedById, respond_activity_task_failed_by_id,
        api_respond_activity_failed_by_id, ROUTE_WRITE),
    WORKFLOW(RespondQueryTaskCompleted, respond_query_task_completed,
        api_respond_query_task_completed, ROUTE_READ),
    WORKFLOW(RespondWorkflowTaskCompleted, respond_workflow_task_completed,
        api_respond_workflow_task_completed, ROUTE_TASK),
    WORKFLOW(RespondWorkflowTaskFailed, respond_workflow_task_failed,
        api_respond_workflow_task_failed, ROUTE_TASK),
    WORKFLOW(ScanWorkflowExecutions, scan_workflow_executions, api_scan, ROUTE_READ),
    WORKFLOW(ShutdownWorker, shutdown_worker, api_shutdown_worker, ROUTE_READ),
    WORKFLOW(SignalWithStartWorkflowExecution, signal_with_start_workflow_execution,
        api_signal_with_start, ROUTE_WRITE),
    WORKFLOW(SignalWorkflowExecution, signal_workflow_execution, api_signal, ROUTE_WRITE),
    WORKFLOW(StartWorkflowExecution, start_workflow_execution, api_start, ROUTE_WRITE),
    WORKFLOW(TerminateWorkflowExecution, terminate_workflow_execution, api_terminate, ROUTE_WRITE),
    WORKFLOW(UpdateNamespace, update_namespace, api_update_namespace, ROUTE_LOCAL),
};
/* clang-format on */

static int compare(const void *path, const void *method)
{
    return strcmp(path, ((const struct api_method *)method)->path);
}

const struct api_method *api_method_find(const char *path)
{
    return bsearch(path, methods, ARRAY_LEN(methods), sizeof(methods[0]), compare);
}

const struct api_method *api_methods(size_t *ret_count)
{
    if (ret_count)
        *ret_count = ARRAY_LEN(methods);
    return methods;
}
