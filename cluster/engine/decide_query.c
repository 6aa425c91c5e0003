/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/decide_query.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/executor_private.h"
#include "cluster/matching/matching.h"
#include "proto/api_errors.pb-c.h"

#define EXPIRY_MARGIN_NS     (NS_PER_S / 2) /* answer so long before the client gives up */
#define STICKY_FALLBACK_NS   (10 * NS_PER_S)
#define NOT_READY_ATTEMPT    3 /* from this attempt on the workflow task counts as failing */
#define NOT_READY_DETAIL     "temporal.api.errordetails.v1.WorkflowNotReadyFailure"
#define QUERY_FAILED_DETAIL  "temporal.api.errordetails.v1.QueryFailedFailure"
#define EXHAUSTED_DETAIL     "temporal.api.errordetails.v1.ResourceExhaustedFailure"
#define TEXT_FAILING         "Unable to query workflow due to Workflow Task in failed state."
#define TEXT_CLOSED_UNTASKED "workflow closed before its first workflow task was completed"
#define TEXT_NO_TASK         "workflow has not completed its first workflow task"

/* ---- life ------------------------------------------------------------------------------------ */

/* Takes the query out of everything and returns its call, which the caller must end. The memory
 * goes when the cancellation notice cannot come any more. */
static struct call *query_end(struct executor *executor, struct query *query)
{
    struct call *call = query->call;
    CHECK(call);
    query->call = NULL;
    waiter_clear(executor, &query->expiry);
    waiter_clear(executor, &query->fallback);
    list_remove(&query->link);
    query->run->query_count--;
    query->run = NULL;
    if (call_unwatch(call))
        mem_free(query);
    return call;
}

static void query_cancelled(struct mail *mail, void *owner)
{
    struct query *query = CONTAINER_OF(mail, struct query, watch);
    if (!query->call) {
        mem_free(query);
        return;
    }
    /* The notice is here, so unwatching says false and leaves the memory to us. */
    struct call *call = query_end(owner, query);
    call_fail_err(call, ERR_CANCELLED, "query was given up by its client");
    mem_free(query);
}

static void fail_not_ready(struct call *call, const char *text)
{
    call_fail(call, GRPC_FAILED_PRECONDITION, text, NOT_READY_DETAIL, bytes_of(""));
}

static void query_expired(struct executor *executor, struct waiter *waiter)
{
    struct query *query = CONTAINER_OF(waiter, struct query, expiry);
    bool untasked = query->run->workflow_tasks_completed == 0;
    struct call *call = query_end(executor, query);
    if (untasked)
        fail_not_ready(call, TEXT_NO_TASK);
    else
        call_fail_err(call, ERR_TIMEOUT, "query timed out before a worker answered it");
}

static void query_fell_back(struct executor *executor, struct waiter *waiter)
{
    query_offer(executor, CONTAINER_OF(waiter, struct query, fallback), false);
}

static struct query *query_new(
    struct decision *d, struct call *call, const Api__WorkflowQuery *message)
{
    struct run *run = d->run;
    struct query *query = mem_new(struct query);
    query->run = run;
    query->call = call;
    query->query = message;
    query->expiry.expire = query_expired;
    query->fallback.expire = query_fell_back;
    query->watch.deliver = query_cancelled;
    query->state = QUERY_WAITING;
    uint64_t number = 0;
    env_random(d->env, &number, sizeof(number));
    query->number = (int64_t)(number >> 1) | 1;
    uuid_format(uuid_new(d->env), query->id);
    list_push_back(&run->queries, &query->link);
    run->query_count++;
    if (call->deadline_mono_ns != INT64_MAX)
        waiter_set(d->executor, &query->expiry, call->deadline_mono_ns - EXPIRY_MARGIN_NS);
    call_watch(call, executor_mailbox(d->executor), &query->watch);
    return query;
}

/* ---- direct queries -------------------------------------------------------------------------- */

void query_offer(struct executor *executor, struct query *query, bool sticky)
{
    struct run *run = query->run;
    query->state = QUERY_DIRECT;
    query->on_sticky = sticky && run->sticky_queue;
    query->offer++;
    struct task *task =
        task_new(TASK_QUERY, run->namespace_id, run->workflow_id, run->run_id, run->shard,
            query->number, query->offer, query->on_sticky ? run->sticky_queue : run->task_queue,
            query->on_sticky ? run->task_queue : NULL);
    waiter_clear(executor, &query->fallback);
    if (query->on_sticky) {
        int64_t wait_ns =
            run->sticky_timeout_ms > 0 ? run->sticky_timeout_ms * NS_PER_MS : STICKY_FALLBACK_NS;
        waiter_set(executor, &query->fallback, env_monotonic_ns(executor->env) + wait_ns);
    }
    matching_offer(executor_matching(executor), task);
}

struct query *queries_find(struct run *run, int64_t number)
{
    for (struct list *node = run->queries.next; node != &run->queries; node = node->next) {
        struct query *query = CONTAINER_OF(node, struct query, link);
        if (query->state == QUERY_DIRECT && query->number == number)
            return query;
    }
    return NULL;
}

/* Dispatches everything that waits. */
static void offer_waiting(struct executor *executor, struct run *run)
{
    for (struct list *node = run->queries.next; node != &run->queries; node = node->next) {
        struct query *query = CONTAINER_OF(node, struct query, link);
        if (query->state == QUERY_WAITING)
            query_offer(executor, query, true);
    }
}

/* ---- with a workflow task -------------------------------------------------------------------- */

void queries_attach(
    struct run *run, struct arena *arena, Api__PollWorkflowTaskQueueResponse *response)
{
    if (run->workflow_tasks_completed == 0 || !run->query_count)
        return;
    response->queries = arena_zalloc(arena, run->query_count, sizeof(*response->queries));
    struct list *node = run->queries.next;
    while (node != &run->queries) {
        struct query *query = CONTAINER_OF(node, struct query, link);
        node = node->next;
        if (query->state != QUERY_WAITING)
            continue;
        list_remove(&query->link);
        list_push_back(&run->task.mark.queries, &query->link);
        query->state = QUERY_ATTACHED;
        Api__PollWorkflowTaskQueueResponse__QueriesEntry *entry =
            arena_new(arena, Api__PollWorkflowTaskQueueResponse__QueriesEntry);
        api__poll_workflow_task_queue_response__queries_entry__init(entry);
        entry->key = arena_strdup(arena, query->id);
        /* Copied: the query may be given up while the response is still being made. */
        entry->value = proto_unpack(
            arena, &api__workflow_query__descriptor, proto_pack(arena, &query->query->base));
        CHECK(entry->value);
        response->queries[response->n_queries++] = entry;
    }
}

void queries_requeue(struct decision *d, struct run *run)
{
    (void)d;
    while (!list_empty(&run->task.mark.queries)) {
        struct query *query =
            CONTAINER_OF(list_pop_front(&run->task.mark.queries), struct query, link);
        query->state = QUERY_WAITING;
        list_push_back(&run->queries, &query->link);
    }
}

static void answer_failed(struct decision *d, struct run *run, struct call *call, const char *text,
    size_t n_failure, ProtobufCBinaryData *failure)
{
    Api__QueryFailedFailure detail;
    api__query_failed_failure__init(&detail);
    detail.n_failure = n_failure;
    detail.failure = failure;
    decision_fail(
        d, run, call, GRPC_INVALID_ARGUMENT, QUERY_FAILED_DETAIL, &detail.base, "%s", text);
}

static void answer_result(struct decision *d, struct run *run, struct query *query,
    const Api__WorkflowQueryResult *result)
{
    struct call *call = query_end(d->executor, query);
    if (result->result_type != API__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED) {
        answer_failed(d, run, call, result->error_message, result->n_failure, result->failure);
        return;
    }
    Api__QueryWorkflowResponse response;
    api__query_workflow_response__init(&response);
    response.n_query_result = result->n_answer;
    response.query_result = result->answer;
    decision_reply(d, run, call, &response.base);
}

void queries_answered(struct decision *d, struct run *run,
    const Api__RespondWorkflowTaskCompletedRequest *req, bool follow_up)
{
    for (size_t i = 0; i < req->n_query_results; i++) {
        const Api__RespondWorkflowTaskCompletedRequest__QueryResultsEntry *entry =
            req->query_results[i];
        struct list *node = run->task.mark.queries.next;
        while (entry->value && node != &run->task.mark.queries) {
            struct query *query = CONTAINER_OF(node, struct query, link);
            node = node->next;
            if (strcmp(query->id, entry->key) != 0)
                continue;
            answer_result(d, run, query, entry->value);
            break;
        }
    }
    queries_requeue(d, run);
    if (!follow_up)
        offer_waiting(d->executor, run);
}

void queries_closed(struct decision *d, struct run *run)
{
    if (run->workflow_tasks_completed > 0) {
        offer_waiting(d->executor, run);
        return;
    }
    while (!list_empty(&run->queries)) {
        struct query *query = CONTAINER_OF(run->queries.next, struct query, link);
        struct call *call = query_end(d->executor, query);
        Api__WorkflowNotReadyFailure detail;
        api__workflow_not_ready_failure__init(&detail);
        decision_fail(d, run, call, GRPC_FAILED_PRECONDITION, NOT_READY_DETAIL, &detail.base,
            TEXT_CLOSED_UNTASKED);
    }
}

void queries_abandon(struct executor *executor, struct run *run)
{
    struct list *lists[] = {&run->queries, &run->task.mark.queries};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        while (!list_empty(lists[i])) {
            struct query *query = CONTAINER_OF(lists[i]->next, struct query, link);
            call_fail_err(query_end(executor, query), ERR_UNAVAILABLE,
                "the workflow left this server's memory, ask again");
        }
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool is_rejected(const struct run *run, Api__QueryRejectCondition condition)
{
    if (condition == API__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_OPEN)
        return !run_is_open(run);
    if (condition == API__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY)
        return !run_is_open(run) &&
               run->status != API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_COMPLETED;
    return false;
}

static void answer_rejected(struct decision *d, struct request *request)
{
    Api__QueryRejected rejected;
    api__query_rejected__init(&rejected);
    rejected.status = (Api__WorkflowExecutionStatus)d->run->status;
    Api__QueryWorkflowResponse response;
    api__query_workflow_response__init(&response);
    response.query_rejected = &rejected;
    decision_reply(d, d->run, request->call, &response.base);
}

static void answer_not_ready(struct decision *d, struct request *request, const char *text)
{
    Api__WorkflowNotReadyFailure detail;
    api__workflow_not_ready_failure__init(&detail);
    decision_fail(d, d->run, request->call, GRPC_FAILED_PRECONDITION, NOT_READY_DETAIL,
        &detail.base, "%s", text);
}

/* How many queries wait for a workflow task or travel with one. */
static size_t buffered_queries(const struct run *run)
{
    size_t direct = 0;
    for (struct list *node = run->queries.next; node != &run->queries; node = node->next) {
        if (CONTAINER_OF(node, struct query, link)->state == QUERY_DIRECT)
            direct++;
    }
    return run->query_count - direct;
}

static void answer_busy(struct decision *d, struct request *request)
{
    Api__ResourceExhaustedFailure detail;
    api__resource_exhausted_failure__init(&detail);
    detail.cause = API__RESOURCE_EXHAUSTED_CAUSE__RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW;
    detail.scope = API__RESOURCE_EXHAUSTED_SCOPE__RESOURCE_EXHAUSTED_SCOPE_NAMESPACE;
    decision_fail(d, d->run, request->call, GRPC_RESOURCE_EXHAUSTED, EXHAUSTED_DETAIL, &detail.base,
        "too many queries wait for the next workflow task of this workflow");
}

void decide_query(struct decision *d, struct request *request)
{
    const Api__QueryWorkflowRequest *message = request->message;
    struct run *run = asked_run(d, request);
    if (!run)
        return;
    if (!message->query) {
        answer_invalid(d, run, request, "Query not set on request.");
        return;
    }
    if (is_rejected(run, message->query_reject_condition)) {
        answer_rejected(d, request);
        return;
    }
    if (run->workflow_tasks_completed == 0 && !run_is_open(run)) {
        answer_not_ready(d, request, TEXT_CLOSED_UNTASKED);
        return;
    }
    if (run_is_open(run) && run->task.attempt >= NOT_READY_ATTEMPT) {
        answer_not_ready(d, request, TEXT_FAILING);
        return;
    }
    /* Between tasks the worker has seen everything; otherwise the query must come behind what the
     * pending task brings. */
    bool direct =
        run->workflow_tasks_completed > 0 && (!run_is_open(run) || !run->task.scheduled_event_id);
    if (!direct && buffered_queries(run) >= BUFFERED_QUERIES_MAX) {
        answer_busy(d, request);
        return;
    }
    struct query *query = query_new(d, request->call, message->query);
    if (direct)
        query_offer(d->executor, query, true);
}

void decide_query_completed(struct decision *d, struct request *request)
{
    const Api__RespondQueryTaskCompletedRequest *message = request->message;
    struct task_token token;
    if (task_token_read(
            d->arena, bytes_make(message->task_token.data, message->task_token.len), &token) ||
        token.kind != TASK_QUERY) {
        answer_invalid(d, d->run, request, "Invalid TaskToken.");
        return;
    }
    struct query *query = d->run ? queries_find(d->run, token.scheduled_event_id) : NULL;
    if (!query) {
        answer_not_found(d, d->run, request, "query task not found, or already expired");
        return;
    }
    Api__WorkflowQueryResult result;
    api__workflow_query_result__init(&result);
    result.result_type = message->completed_type;
    result.n_answer = message->n_query_result;
    result.answer = message->query_result;
    result.error_message = message->error_message;
    result.n_failure = message->n_failure;
    result.failure = message->failure;
    answer_result(d, d->run, query, &result);
    Api__RespondQueryTaskCompletedResponse response;
    api__respond_query_task_completed_response__init(&response);
    answer(d, d->run, request, &response.base);
}
