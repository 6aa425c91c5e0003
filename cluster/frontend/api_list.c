/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists and counts of executions: query text to filter, filter to store, rows to messages. The
 * store answers through the frontend's mailbox.
 */
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/frontend/frontend_private.h"
#include "cluster/visibility/visibility.h"
#include "proto/api_service_visibility.pb-c.h"

#define TOKEN_SEED 0x53564c31u /* a token of another format has another checksum */

/* A list or count under way. In the call's arena. */
struct listing {
    struct store_op op;
    struct call *call;
    uint64_t query_hash; /* a page token goes with its query */
};

/* What a list request says, whichever it is. */
struct list_form {
    int32_t page_size;
    ProtobufCBinaryData token;
    const char *query;
};

/* ---- page tokens --------------------------------------------------------------------------- */

/* Where the next page begins. As it lies in memory: a token that came from a machine with another
 * byte order, or was made up, fails the sum. */
struct list_token {
    uint64_t sum; /* of what follows */
    uint64_t query_hash;
    int64_t close_ns;
    int64_t start_ns;
    struct uuid run_id;
};
_Static_assert(sizeof(struct list_token) == 48, "tokens have no padding");

static uint64_t token_sum(const struct list_token *token)
{
    return hash64(bytes_make(&token->query_hash, sizeof(*token) - sizeof(token->sum)), TOKEN_SEED);
}

static bool token_read(ProtobufCBinaryData data, uint64_t query_hash, struct store_list *ret_list)
{
    struct list_token token;
    if (data.len == 0)
        return true;
    if (data.len != sizeof(token))
        return false;
    memcpy(&token, data.data, sizeof(token));
    if (token.sum != token_sum(&token) || token.query_hash != query_hash)
        return false;
    ret_list->after_set = true;
    ret_list->after_close_ns = token.close_ns;
    ret_list->after_start_ns = token.start_ns;
    ret_list->after_run_id = token.run_id;
    return true;
}

static ProtobufCBinaryData token_write(struct arena *arena, const struct listing *listing)
{
    const struct store_list *list = &listing->op.list;
    if (!list->more || list->row_count == 0)
        return (ProtobufCBinaryData){0};
    const struct visibility_row *last = &list->rows[list->row_count - 1];
    struct list_token *token = arena_new(arena, struct list_token);
    token->query_hash = listing->query_hash;
    token->close_ns = last->close_ns;
    token->start_ns = last->start_ns;
    token->run_id = last->run_id;
    token->sum = token_sum(token);
    return (ProtobufCBinaryData){sizeof(*token), (uint8_t *)token};
}

/* ---- rows ---------------------------------------------------------------------------------- */

static Api__WorkflowExecution *execution_or_none(
    struct arena *arena, struct bytes workflow_id, struct bytes run_id)
{
    if (workflow_id.len == 0)
        return NULL;
    return execution_new(arena, workflow_id, bytes_string(arena, run_id));
}

static Api__WorkflowExecutionInfo *row_info(struct arena *arena, const struct visibility_row *row)
{
    Api__WorkflowExecutionInfo *info = arena_new(arena, Api__WorkflowExecutionInfo);
    api__workflow_execution_info__init(info);
    char run_id[UUID_TEXT_LEN + 1];
    uuid_format(row->run_id, run_id);
    info->execution = execution_new(arena, row->workflow_id, arena_strdup(arena, run_id));
    info->type = arena_new(arena, Api__WorkflowType);
    api__workflow_type__init(info->type);
    info->type->name = bytes_string(arena, row->workflow_type);
    info->start_time = timestamp_new(arena, row->start_ns);
    info->execution_time = timestamp_new(arena, row->execution_ns);
    info->status = (Api__WorkflowExecutionStatus)row->status;
    info->history_length = row->history_length;
    info->history_size_bytes = row->history_size_bytes;
    info->state_transition_count = row->state_transitions;
    info->task_queue = bytes_string(arena, row->task_queue);
    info->parent_execution = execution_or_none(arena, row->parent_workflow_id, row->parent_run_id);
    info->root_execution = execution_or_none(arena, row->root_workflow_id, row->root_run_id);
    if (row->close_ns != DUE_NONE) {
        int64_t span_ns = row->close_ns - row->execution_ns;
        info->close_time = timestamp_new(arena, row->close_ns);
        info->execution_duration = duration_new_ns(arena, span_ns > 0 ? span_ns : 0);
    }
    /* Both were packed by the engine; what does not unpack is left out rather than ends the list.
     * */
    info->memo = proto_unpack(arena, &api__memo__descriptor, row->memo);
    info->search_attributes =
        proto_unpack(arena, &api__search_attributes__descriptor, row->search_attributes);
    return info;
}

/* All list responses have the same two fields with the same numbers. */
static void list_done(struct mail *mail, void *owner)
{
    (void)owner;
    struct store_op *op = CONTAINER_OF(mail, struct store_op, mail);
    struct listing *listing = CONTAINER_OF(op, struct listing, op);
    struct call *call = listing->call;
    if (op->err) {
        call_fail_err(call, op->err, "executions cannot be listed: %s", op->text);
        return;
    }
    Api__ListWorkflowExecutionsResponse response;
    api__list_workflow_executions_response__init(&response);
    response.executions =
        arena_zalloc(&call->arena, op->list.row_count, sizeof(*response.executions));
    response.n_executions = op->list.row_count;
    for (size_t i = 0; i < op->list.row_count; i++)
        response.executions[i] = row_info(&call->arena, &op->list.rows[i]);
    response.next_page_token = token_write(&call->arena, listing);
    api_reply(call, &response.base);
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct listing *listing_new(
    struct api_call *api, enum store_op_kind kind, mail_deliver_fn *done)
{
    struct listing *listing = arena_new(&api->call->arena, struct listing);
    listing->call = api->call;
    listing->op.kind = kind;
    listing->op.mail.deliver = done;
    listing->op.reply_to = api->frontend->mailbox;
    listing->op.arena = &api->call->arena;
    return listing;
}

static bool parse(
    struct api_call *api, const char *query, bool grouping, struct visibility_query *ret_query)
{
    char text[256];
    if (!visibility_parse(&api->call->arena, query, grouping, ret_query, text))
        return true;
    fail_invalid(api->call, "%s", text);
    return false;
}

static void submit_list(struct api_call *api, const struct list_form *form)
{
    if (form->page_size > VISIBILITY_PAGE_MAX) {
        fail_invalid(api->call, "PageSize is larger than allowed %d.", VISIBILITY_PAGE_MAX);
        return;
    }
    struct visibility_query query;
    if (!parse(api, form->query, false, &query))
        return;
    struct listing *listing = listing_new(api, STORE_LIST, list_done);
    listing->query_hash = hash64(bytes_of(form->query), hash64(uuid_view(&api->ns->id), 0));
    struct store_list *list = &listing->op.list;
    list->namespace_id = api->ns->id;
    list->filter = query.filter;
    list->limit_rows = form->page_size > 0 ? (uint32_t)form->page_size : VISIBILITY_PAGE_MAX;
    if (!token_read(form->token, listing->query_hash, list)) {
        fail_invalid(api->call, "Invalid NextPageToken.");
        return;
    }
    store_submit(api->frontend->options.store, &listing->op);
}

void api_list(struct api_call *api)
{
    const Api__ListWorkflowExecutionsRequest *req = api->message;
    if (api_namespace(api, req->namespace_))
        submit_list(api, &(struct list_form){req->page_size, req->next_page_token, req->query});
}

void api_scan(struct api_call *api)
{
    const Api__ScanWorkflowExecutionsRequest *req = api->message;
    if (api_namespace(api, req->namespace_))
        submit_list(api, &(struct list_form){req->page_size, req->next_page_token, req->query});
}

/* ---- the older lists: their filters become a query ----------------------------------------- */

static void query_text(struct buffer *query, const char *field, const char *value)
{
    buffer_printf(query, " AND %s = '", field);
    for (const char *at = value; *at; at++) {
        if (*at == '\'' || *at == '\\')
            buffer_append(query, "\\", 1);
        buffer_append(query, at, 1);
    }
    buffer_append(query, "'", 1);
}

static void query_times(struct buffer *query, const char *field, const Api__StartTimeFilter *filter)
{
    if (filter && filter->earliest_time)
        buffer_printf(
            query, " AND %s >= %lld", field, (long long)timestamp_ns(filter->earliest_time));
    if (filter && filter->latest_time)
        buffer_printf(
            query, " AND %s <= %lld", field, (long long)timestamp_ns(filter->latest_time));
}

static void query_execution(struct buffer *query, const Api__WorkflowExecutionFilter *filter)
{
    if (*filter->workflow_id)
        query_text(query, "WorkflowId", filter->workflow_id);
    if (*filter->run_id)
        query_text(query, "RunId", filter->run_id);
}

static void submit_query(
    struct api_call *api, struct buffer *query, int32_t page_size, ProtobufCBinaryData token)
{
    struct list_form form = {page_size, token, bytes_string(&api->call->arena, buffer_view(query))};
    buffer_release(query);
    submit_list(api, &form);
}

void api_list_open(struct api_call *api)
{
    const Api__ListOpenWorkflowExecutionsRequest *req = api->message;
    if (!api_namespace(api, req->namespace_))
        return;
    struct buffer query = {0};
    buffer_printf(&query, "ExecutionStatus = 'Running'");
    query_times(&query, "StartTime", req->start_time_filter);
    if (req->filters_case == API__LIST_OPEN_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_EXECUTION_FILTER)
        query_execution(&query, req->execution_filter);
    else if (req->filters_case == API__LIST_OPEN_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_TYPE_FILTER)
        query_text(&query, "WorkflowType", req->type_filter->name);
    submit_query(api, &query, req->maximum_page_size, req->next_page_token);
}

void api_list_closed(struct api_call *api)
{
    const Api__ListClosedWorkflowExecutionsRequest *req = api->message;
    if (!api_namespace(api, req->namespace_))
        return;
    struct buffer query = {0};
    buffer_printf(&query, "ExecutionStatus != 'Running'");
    query_times(&query, "CloseTime", req->start_time_filter);
    if (req->filters_case == API__LIST_CLOSED_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_EXECUTION_FILTER)
        query_execution(&query, req->execution_filter);
    else if (req->filters_case == API__LIST_CLOSED_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_TYPE_FILTER)
        query_text(&query, "WorkflowType", req->type_filter->name);
    else if (req->filters_case ==
             API__LIST_CLOSED_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_STATUS_FILTER)
        buffer_printf(&query, " AND ExecutionStatus = %d", (int)req->status_filter->status);
    submit_query(api, &query, req->maximum_page_size, req->next_page_token);
}

/* ---- count --------------------------------------------------------------------------------- */

/* The status name as a payload that clients decode: JSON with its type beside. */
static ProtobufCBinaryData group_value(struct arena *arena, const char *name)
{
    static const char *const texts[][2] = {{"encoding", "json/plain"}, {"type", "Keyword"}};
    Api__Payload payload;
    api__payload__init(&payload);
    Api__Payload__MetadataEntry entries[ARRAY_LEN(texts)];
    Api__Payload__MetadataEntry *pointers[ARRAY_LEN(texts)];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        api__payload__metadata_entry__init(&entries[i]);
        entries[i].key = event_text(texts[i][0]);
        entries[i].value.data = (uint8_t *)event_text(texts[i][1]);
        entries[i].value.len = strlen(texts[i][1]);
        pointers[i] = &entries[i];
    }
    payload.n_metadata = ARRAY_LEN(pointers);
    payload.metadata = pointers;
    char *json = arena_printf(arena, "\"%s\"", name);
    payload.data.data = (uint8_t *)json;
    payload.data.len = strlen(json);
    struct bytes packed = proto_pack(arena, &payload.base);
    return (ProtobufCBinaryData){packed.len, (uint8_t *)(uintptr_t)packed.data};
}

static void count_done(struct mail *mail, void *owner)
{
    typedef Api__CountWorkflowExecutionsResponse__AggregationGroup group;
    (void)owner;
    struct store_op *op = CONTAINER_OF(mail, struct store_op, mail);
    struct call *call = CONTAINER_OF(op, struct listing, op)->call;
    struct arena *arena = &call->arena;
    if (op->err) {
        call_fail_err(call, op->err, "executions cannot be counted: %s", op->text);
        return;
    }
    const struct store_count *count = &op->count;
    Api__CountWorkflowExecutionsResponse response;
    api__count_workflow_executions_response__init(&response);
    response.count = count->total;
    response.groups = arena_zalloc(arena, ARRAY_LEN(count->status_counts), sizeof(group *));
    for (size_t i = 0; count->by_status && i < ARRAY_LEN(count->status_counts); i++) {
        const char *name = visibility_status_name((int)i);
        if (count->status_counts[i] == 0 || !name)
            continue;
        group *shown = arena_new(arena, group);
        api__count_workflow_executions_response__aggregation_group__init(shown);
        shown->group_values = arena_new(arena, ProtobufCBinaryData);
        shown->group_values[0] = group_value(arena, name);
        shown->n_group_values = 1;
        shown->count = count->status_counts[i];
        response.groups[response.n_groups++] = shown;
    }
    api_reply(call, &response.base);
}

void api_count(struct api_call *api)
{
    const Api__CountWorkflowExecutionsRequest *req = api->message;
    struct visibility_query query;
    if (!api_namespace(api, req->namespace_) || !parse(api, req->query, true, &query))
        return;
    struct listing *listing = listing_new(api, STORE_COUNT, count_done);
    listing->op.count.namespace_id = api->ns->id;
    listing->op.count.filter = query.filter;
    listing->op.count.by_status = query.by_status;
    store_submit(api->frontend->options.store, &listing->op);
}
