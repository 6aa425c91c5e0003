/* SPDX-License-Identifier: Apache-2.0
 *
 * strait workflow: list, describe, history.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/cli/cli_private.h"
#include "proto/api_history.pb-c.h"
#include "proto/api_service_describe.pb-c.h"
#include "proto/api_service_visibility.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

#define LIST_LIMIT 20
#define LIST_MAX   1000000
#define LIST_PAGE  1000

static Api__WorkflowExecution *execution(struct cli *cli)
{
    Api__WorkflowExecution *named = arena_new(&cli->arena, Api__WorkflowExecution);
    api__workflow_execution__init(named);
    named->workflow_id = cli->args[0];
    named->run_id = arena_strdup(&cli->arena, cli_value_or(cli, "run-id", ""));
    return named;
}

static char *time_text(struct arena *arena, const Api__Timestamp *timestamp)
{
    return cli_time(arena, timestamp ? timestamp->seconds * NS_PER_S + timestamp->nanos : 0);
}

/* Without the prefix that all values of the enumeration share. */
static const char *enum_text(
    const ProtobufCEnumDescriptor *descriptor, int value, const char *prefix)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(descriptor, value);
    if (!known)
        return "?";
    size_t len = strlen(prefix);
    return strncmp(known->name, prefix, len) == 0 ? known->name + len : known->name;
}

static const char *status_text(int status)
{
    return enum_text(
        &api__workflow_execution_status__descriptor, status, "WORKFLOW_EXECUTION_STATUS_");
}

/* ---- list ----------------------------------------------------------------------------------- */

static void list_row(
    struct cli *cli, struct cli_table *table, const Api__WorkflowExecutionInfo *info)
{
    const char *cells[] = {status_text(info->status),
        info->execution ? info->execution->workflow_id : "", info->type ? info->type->name : "",
        info->execution ? info->execution->run_id : "", time_text(&cli->arena, info->start_time),
        time_text(&cli->arena, info->close_time)};
    cli_table_row(table, cells);
}

int cli_workflow_list(struct cli *cli)
{
    int64_t left = LIST_LIMIT;
    if (cli_number(cli, "limit", 1, LIST_MAX, &left))
        return CLI_USAGE;
    Api__ListWorkflowExecutionsRequest request;
    api__list_workflow_executions_request__init(&request);
    request.namespace_ = cli_namespace(cli);
    request.query = arena_strdup(&cli->arena, cli_value_or(cli, "query", ""));
    static const char *const titles[] = {"STATUS", "WORKFLOW", "TYPE", "RUN", "STARTED", "CLOSED"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    json_t *array = json_array();
    int status = CLI_OK;
    do {
        request.page_size = (int32_t)(left < LIST_PAGE ? left : LIST_PAGE);
        Api__ListWorkflowExecutionsResponse *response;
        status = cli_call(cli, CLI_WORKFLOW, "ListWorkflowExecutions", &request.base,
            &api__list_workflow_executions_response__descriptor, &response);
        if (status)
            break;
        for (size_t i = 0; i < response->n_executions && left > 0; i++, left--) {
            if (cli->json)
                json_array_append_new(array, cli_json_message(&response->executions[i]->base));
            else
                list_row(cli, &table, response->executions[i]);
        }
        request.next_page_token = response->next_page_token;
    } while (left > 0 && request.next_page_token.len);
    if (!status && cli->json)
        cli_json_print(json_incref(array));
    else if (!status)
        cli_table_print(&table);
    json_decref(array);
    return status;
}

/* ---- describe ------------------------------------------------------------------------------- */

static void print_activities(struct cli *cli, const Api__DescribeWorkflowExecutionResponse *shown)
{
    if (shown->n_pending_activities == 0)
        return;
    static const char *const titles[] = {
        "ACTIVITY", "TYPE", "STATE", "ATTEMPT", "LAST STARTED", "WORKER"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < shown->n_pending_activities; i++) {
        const Api__PendingActivityInfo *activity = shown->pending_activities[i];
        const char *cells[] = {activity->activity_id,
            activity->activity_type ? activity->activity_type->name : "",
            enum_text(&api__pending_activity_state__descriptor, (int)activity->state,
                "PENDING_ACTIVITY_STATE_"),
            arena_printf(&cli->arena, "%d", activity->attempt),
            time_text(&cli->arena, activity->last_started_time), activity->last_worker_identity};
        cli_table_row(&table, cells);
    }
    putchar('\n');
    cli_table_print(&table);
}

static void print_description(struct cli *cli, const Api__DescribeWorkflowExecutionResponse *shown)
{
    const Api__WorkflowExecutionInfo *info = shown->workflow_execution_info;
    printf("workflow     %s\n", info->execution ? info->execution->workflow_id : "-");
    printf("run          %s\n", info->execution ? info->execution->run_id : "-");
    printf("type         %s\n", info->type ? info->type->name : "-");
    printf("status       %s\n", status_text(info->status));
    printf("task queue   %s\n", info->task_queue);
    printf("started      %s\n", time_text(&cli->arena, info->start_time));
    printf("closed       %s\n", time_text(&cli->arena, info->close_time));
    printf("history      %lld events, %lld bytes\n", (long long)info->history_length,
        (long long)info->history_size_bytes);
    if (shown->pending_workflow_task)
        printf("pending      workflow task, %s, attempt %d\n",
            enum_text(&api__pending_workflow_task_state__descriptor,
                (int)shown->pending_workflow_task->state, "PENDING_WORKFLOW_TASK_STATE_"),
            shown->pending_workflow_task->attempt);
    print_activities(cli, shown);
}

int cli_workflow_describe(struct cli *cli)
{
    Api__DescribeWorkflowExecutionRequest request;
    api__describe_workflow_execution_request__init(&request);
    request.namespace_ = cli_namespace(cli);
    request.execution = execution(cli);
    Api__DescribeWorkflowExecutionResponse *response;
    int status = cli_call(cli, CLI_WORKFLOW, "DescribeWorkflowExecution", &request.base,
        &api__describe_workflow_execution_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    if (!response->workflow_execution_info)
        return cli_fail(cli, "the server's answer holds no workflow");
    print_description(cli, response);
    return CLI_OK;
}

/* ---- history -------------------------------------------------------------------------------- */

/* Empty ones say nothing. */
static bool is_telling(const json_t *field)
{
    if (json_is_string(field))
        return json_string_length(field) > 0;
    if (json_is_integer(field))
        return json_integer_value(field) != 0;
    return json_is_array(field) && json_array_size(field) > 0;
}

static char *add_fields(struct cli *cli, char *text, json_t *attributes)
{
    const char *key;
    json_t *field;
    json_object_foreach(attributes, key, field)
    {
        if (!is_telling(field))
            continue;
        char shown[81];
        size_t len = json_dumpb(field, shown, sizeof(shown) - 1, JSON_COMPACT | JSON_ENCODE_ANY);
        bool cut = len > sizeof(shown) - 1;
        shown[cut ? sizeof(shown) - 1 : len] = 0;
        text = arena_printf(&cli->arena, "%s%s%s=%s%s", text, *text ? " " : "", key,
            cut ? "" : shown, cut ? "..." : "");
    }
    return text;
}

/* The attributes, on one line. */
static char *event_detail(struct cli *cli, const Api__HistoryEvent *event)
{
    json_t *whole = cli_json_message(&event->base);
    const char *key;
    json_t *value;
    char *text = arena_strdup(&cli->arena, "");
    json_object_foreach(whole, key, value)
    {
        if (strstr(key, "_attributes"))
            text = add_fields(cli, text, value);
    }
    json_decref(whole);
    return text;
}

static void history_row(struct cli *cli, struct cli_table *table, const Api__HistoryEvent *event)
{
    const char *cells[] = {arena_printf(&cli->arena, "%lld", (long long)event->event_id),
        time_text(&cli->arena, event->event_time),
        enum_text(&api__event_type__descriptor, (int)event->event_type, "EVENT_TYPE_"),
        arena_printf(&cli->arena, "%lld", (long long)event->version), event_detail(cli, event)};
    cli_table_row(table, cells);
}

static int history_page(struct cli *cli, const Api__GetWorkflowExecutionHistoryResponse *response,
    struct cli_table *table, json_t *array)
{
    for (size_t i = 0; i < response->n_history; i++) {
        const Api__History *history = proto_unpack(&cli->arena, &api__history__descriptor,
            bytes_make(response->history[i].data, response->history[i].len));
        if (!history)
            return cli_fail(cli, "the history does not decode");
        for (size_t k = 0; k < history->n_events; k++) {
            if (cli->json)
                json_array_append_new(array, cli_json_message(&history->events[k]->base));
            else
                history_row(cli, table, history->events[k]);
        }
    }
    return CLI_OK;
}

int cli_workflow_history(struct cli *cli)
{
    Api__GetWorkflowExecutionHistoryRequest request;
    api__get_workflow_execution_history_request__init(&request);
    request.namespace_ = cli_namespace(cli);
    request.execution = execution(cli);
    static const char *const titles[] = {"ID", "TIME", "EVENT", "VERSION", "DETAIL"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    json_t *array = json_array();
    int status = CLI_OK;
    do {
        Api__GetWorkflowExecutionHistoryResponse *response;
        status = cli_call(cli, CLI_WORKFLOW, "GetWorkflowExecutionHistory", &request.base,
            &api__get_workflow_execution_history_response__descriptor, &response);
        if (!status)
            status = history_page(cli, response, &table, array);
        if (!status)
            request.next_page_token = response->next_page_token;
    } while (!status && request.next_page_token.len);
    if (!status && cli->json)
        cli_json_print(json_incref(array));
    else if (!status)
        cli_table_print(&table);
    json_decref(array);
    return status;
}
