/* SPDX-License-Identifier: Apache-2.0
 *
 * strait workflow: what changes or asks a workflow, over the public API.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/uuid.h"
#include "cluster/cli/cli_private.h"
#include "proto/api_service_workflow.pb-c.h"

static char *random_id(struct cli *cli)
{
    char text[UUID_TEXT_LEN + 1];
    uuid_format(uuid_new(env_system()), text);
    return arena_strdup(&cli->arena, text);
}

static Api__WorkflowExecution *execution(struct cli *cli)
{
    Api__WorkflowExecution *named = arena_new(&cli->arena, Api__WorkflowExecution);
    api__workflow_execution__init(named);
    named->workflow_id = cli->args[0];
    named->run_id = arena_strdup(&cli->arena, cli_value_or(cli, "run-id", ""));
    return named;
}

static int done(const struct cli *cli, const char *what)
{
    if (cli->json)
        cli_json_print(json_object());
    else
        printf("%s %s\n", what, cli->args[0]);
    return CLI_OK;
}

/* ---- start ---------------------------------------------------------------------------------- */

/* CLI_OK with NULL when the option was not given. */
static int timeout(struct cli *cli, const char *name, Api__Duration **ret_duration)
{
    int64_t ms = 0;
    if (cli_span_ms(cli, name, &ms))
        return CLI_USAGE;
    if (ms == 0)
        return CLI_OK;
    *ret_duration = arena_new(&cli->arena, Api__Duration);
    api__duration__init(*ret_duration);
    (*ret_duration)->seconds = ms / 1000;
    (*ret_duration)->nanos = (int32_t)(ms % 1000 * 1000000);
    return CLI_OK;
}

static int start(struct cli *cli)
{
    Api__StartWorkflowExecutionRequest request;
    api__start_workflow_execution_request__init(&request);
    if (!cli_flag(cli, "type") || !cli_flag(cli, "task-queue"))
        return cli_usage(cli, "--type and --task-queue are needed");
    if (cli_input(cli, &request.n_input, &request.input) ||
        timeout(cli, "execution-timeout", &request.workflow_execution_timeout) ||
        timeout(cli, "run-timeout", &request.workflow_run_timeout) ||
        timeout(cli, "task-timeout", &request.workflow_task_timeout))
        return CLI_USAGE;
    Api__WorkflowType type;
    api__workflow_type__init(&type);
    type.name = arena_strdup(&cli->arena, cli_value(cli, "type"));
    Api__TaskQueue queue;
    api__task_queue__init(&queue);
    queue.name = arena_strdup(&cli->arena, cli_value(cli, "task-queue"));
    request.namespace_ = cli_namespace(cli);
    request.workflow_id = cli->arg_count ? cli->args[0] : random_id(cli);
    request.workflow_type = &type;
    request.task_queue = &queue;
    request.identity = cli_identity(cli);
    request.request_id = random_id(cli);
    Api__StartWorkflowExecutionResponse *response;
    int status = cli_call(cli, CLI_WORKFLOW, "StartWorkflowExecution", &request.base,
        &api__start_workflow_execution_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        cli_json_print(json_pack("{s:s, s:s, s:b}", "workflow_id", request.workflow_id, "run_id",
            response->run_id, "started", response->started));
    else
        printf("started %s, run %s\n", request.workflow_id, response->run_id);
    return CLI_OK;
}

/* ---- signal, query -------------------------------------------------------------------------- */

static int send_signal(struct cli *cli)
{
    Api__SignalWorkflowExecutionRequest request;
    api__signal_workflow_execution_request__init(&request);
    if (!cli_flag(cli, "name"))
        return cli_usage(cli, "--name is needed");
    if (cli_input(cli, &request.n_input, &request.input))
        return CLI_USAGE;
    request.namespace_ = cli_namespace(cli);
    request.workflow_execution = execution(cli);
    request.signal_name = arena_strdup(&cli->arena, cli_value(cli, "name"));
    request.identity = cli_identity(cli);
    request.request_id = random_id(cli);
    Api__SignalWorkflowExecutionResponse *response;
    int status = cli_call(cli, CLI_WORKFLOW, "SignalWorkflowExecution", &request.base,
        &api__signal_workflow_execution_response__descriptor, &response);
    return status ? status : done(cli, "signalled");
}

static int query(struct cli *cli)
{
    Api__QueryWorkflowRequest request;
    api__query_workflow_request__init(&request);
    Api__WorkflowQuery asked;
    api__workflow_query__init(&asked);
    if (!cli_flag(cli, "type"))
        return cli_usage(cli, "--type is needed");
    if (cli_input(cli, &asked.n_query_args, &asked.query_args))
        return CLI_USAGE;
    asked.query_type = arena_strdup(&cli->arena, cli_value(cli, "type"));
    request.namespace_ = cli_namespace(cli);
    request.execution = execution(cli);
    request.query = &asked;
    Api__QueryWorkflowResponse *response;
    int status = cli_call(cli, CLI_WORKFLOW, "QueryWorkflow", &request.base,
        &api__query_workflow_response__descriptor, &response);
    if (status)
        return status;
    if (response->query_rejected)
        return cli_fail(cli, "the query was rejected: the workflow is closed");
    json_t *values = cli_json_payloads(response->n_query_result, response->query_result);
    json_t *value = json_array_size(values) == 1 ? json_incref(json_array_get(values, 0)) : NULL;
    cli_json_print(value ? value : json_incref(values));
    json_decref(values);
    return CLI_OK;
}

/* ---- cancel, terminate ---------------------------------------------------------------------- */

static int cancel(struct cli *cli)
{
    Api__RequestCancelWorkflowExecutionRequest request;
    api__request_cancel_workflow_execution_request__init(&request);
    request.namespace_ = cli_namespace(cli);
    request.workflow_execution = execution(cli);
    request.reason = arena_strdup(&cli->arena, cli_value_or(cli, "reason", ""));
    request.identity = cli_identity(cli);
    request.request_id = random_id(cli);
    Api__RequestCancelWorkflowExecutionResponse *response;
    int status = cli_call(cli, CLI_WORKFLOW, "RequestCancelWorkflowExecution", &request.base,
        &api__request_cancel_workflow_execution_response__descriptor, &response);
    return status ? status : done(cli, "asked to cancel");
}

static int terminate(struct cli *cli)
{
    Api__TerminateWorkflowExecutionRequest request;
    api__terminate_workflow_execution_request__init(&request);
    request.namespace_ = cli_namespace(cli);
    request.workflow_execution = execution(cli);
    request.reason = arena_strdup(&cli->arena, cli_value_or(cli, "reason", ""));
    request.identity = cli_identity(cli);
    Api__TerminateWorkflowExecutionResponse *response;
    int status = cli_call(cli, CLI_WORKFLOW, "TerminateWorkflowExecution", &request.base,
        &api__terminate_workflow_execution_response__descriptor, &response);
    return status ? status : done(cli, "terminated");
}

/* ---- table ---------------------------------------------------------------------------------- */

#define RUN_ID                                                     \
    {                                                              \
        "run-id", 'r', "ID", "this run (default: the current one)" \
    }
#define INPUT                                                \
    {                                                        \
        "input", 'i', "JSON", "an argument; may be repeated" \
    }
#define REASON                                     \
    {                                              \
        "reason", 0, "TEXT", "kept in the history" \
    }

static const struct cli_option start_options[] = {
    {"type", 0, "NAME", "workflow type"},
    {"task-queue", 't', "NAME", "where its workers poll"},
    INPUT,
    {"execution-timeout", 0, "SPAN", "over all runs (default: none)"},
    {"run-timeout", 0, "SPAN", "of one run (default: none)"},
    {"task-timeout", 0, "SPAN", "of one workflow task (default 10s)"},
};
static const struct cli_option signal_options[] = {
    {"name", 0, "NAME", "name of the signal"},
    INPUT,
    RUN_ID,
};
static const struct cli_option query_options[] = {
    {"type", 0, "NAME", "type of the query"},
    INPUT,
    RUN_ID,
};
static const struct cli_option end_options[] = {REASON, RUN_ID};
static const struct cli_option run_options[] = {RUN_ID};
static const struct cli_option list_options[] = {
    {"query", 'q', "TEXT", "filter, e.g. 'ExecutionStatus=\"Running\"'"},
    {"limit", 0, "N", "at most so many (default 20)"},
};

const struct cli_command cli_workflow_commands[] = {
    {"workflow", "start", "[WORKFLOW_ID]", "Start a workflow", NULL, start_options,
        ARRAY_LEN(start_options), 0, 1, start},
    {"workflow", "list", "", "List workflows, open ones first, newest first", NULL, list_options,
        ARRAY_LEN(list_options), 0, 0, cli_workflow_list},
    {"workflow", "describe", "WORKFLOW_ID", "Show the state of a workflow", NULL, run_options,
        ARRAY_LEN(run_options), 1, 1, cli_workflow_describe},
    {"workflow", "history", "WORKFLOW_ID", "Show the events of a workflow", NULL, run_options,
        ARRAY_LEN(run_options), 1, 1, cli_workflow_history},
    {"workflow", "signal", "WORKFLOW_ID", "Send a signal", NULL, signal_options,
        ARRAY_LEN(signal_options), 1, 1, send_signal},
    {"workflow", "query", "WORKFLOW_ID", "Ask a workflow; prints the answer as JSON", NULL,
        query_options, ARRAY_LEN(query_options), 1, 1, query},
    {"workflow", "cancel", "WORKFLOW_ID", "Ask a workflow to cancel itself", NULL, end_options,
        ARRAY_LEN(end_options), 1, 1, cancel},
    {"workflow", "terminate", "WORKFLOW_ID", "End a workflow at once", NULL, end_options,
        ARRAY_LEN(end_options), 1, 1, terminate},
};
const size_t cli_workflow_command_count = ARRAY_LEN(cli_workflow_commands);
