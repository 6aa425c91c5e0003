/* SPDX-License-Identifier: Apache-2.0
 *
 * GetWorkflowExecutionHistory, forward and reverse.
 *
 * Everything needed to go on is in the request and its page token, so a long poll that is woken
 * simply runs again.
 */
#include "cluster/engine/decide_read.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/dispatch.h"

#define POLL_MARGIN_NS NS_PER_S /* answer so long before the client gives up */

/* What the answer to one request is made of; in the call's arena. */
struct reading {
    struct history_read read;
    struct call *call;
    struct history_token token; /* where this page began */
    int64_t end;
    bool follow;  /* more events may come, and the client waits for them */
    bool reverse; /* answers are another message, but the same fields */
};

/* A request that waits for news of its run. */
struct history_waiter {
    struct waiter waiter;
    struct list link; /* run->history_waiters */
    struct run *run;
    struct request *request;
    struct bytes token; /* of the empty answer; in the call's arena */
    bool close_only;
};

/* ---- answers --------------------------------------------------------------------------------- */

static struct bytes response_bytes(
    struct arena *arena, bool reverse, struct bytes history, struct bytes token)
{
    ProtobufCBinaryData data = {history.len, (uint8_t *)(uintptr_t)history.data};
    ProtobufCBinaryData next = {token.len, (uint8_t *)(uintptr_t)token.data};
    if (reverse) {
        Api__GetWorkflowExecutionHistoryReverseResponse response;
        api__get_workflow_execution_history_reverse_response__init(&response);
        response.n_history = 1;
        response.history = &data;
        response.next_page_token = next;
        return proto_pack(arena, &response.base);
    }
    Api__GetWorkflowExecutionHistoryResponse response;
    api__get_workflow_execution_history_response__init(&response);
    response.n_history = 1;
    response.history = &data;
    response.next_page_token = next;
    return proto_pack(arena, &response.base);
}

/* The answer for a page that was read; releases it. */
static struct bytes reading_finish(struct reading *reading)
{
    struct arena *arena = &reading->call->arena;
    struct history_page *page = &reading->read.page;
    struct history_token *token = &reading->token;
    struct bytes next = {0};
    token->next = page->next;
    if (reading->reverse) {
        if (page->next > 1)
            next = history_token_write(arena, token);
    } else if (page->next < reading->end) {
        next = history_token_write(arena, token);
    } else if (token->unwritten.len > 0) {
        buffer_append(&page->events, token->unwritten.data, token->unwritten.len);
    } else if (reading->follow) {
        next = history_token_write(arena, token);
    }
    struct bytes body = response_bytes(arena, reading->reverse, buffer_view(&page->events), next);
    history_page_release(page);
    return body;
}

static void reading_done(struct history_read *read, enum err err)
{
    struct reading *reading = CONTAINER_OF(read, struct reading, read);
    if (!err) {
        call_reply(reading->call, reading_finish(reading));
        return;
    }
    history_page_release(&read->page);
    const char *text = read->op.text[0] ? read->op.text : err_text(err);
    call_fail_err(reading->call, err, "history does not load: %s", text);
}

static void reading_start(struct decision *d, struct request *request, struct reading *reading)
{
    if (history_page_from_memory(&reading->read.page, d->run)) {
        decision_reply_bytes(d, d->run, request->call, reading_finish(reading));
        return;
    }
    reading->read.done = reading_done;
    history_read_start(d, d->run, &reading->read);
}

/* ---- long polls ------------------------------------------------------------------------------ */

static void waiter_end(struct executor *executor, struct history_waiter *waiter)
{
    waiter_clear(executor, &waiter->waiter);
    list_remove(&waiter->link);
}

static void answer_empty(struct executor *executor, struct history_waiter *waiter)
{
    struct call *call = waiter->request->call;
    waiter_end(executor, waiter);
    call_reply(call, response_bytes(&call->arena, false, bytes_of(""), waiter->token));
}

static void waiter_expired(struct executor *executor, struct waiter *base)
{
    answer_empty(executor, CONTAINER_OF(base, struct history_waiter, waiter));
}

static void park(
    struct decision *d, struct request *request, const struct history_token *token, bool close_only)
{
    struct call *call = request->call;
    struct history_waiter *waiter = arena_new(&call->arena, struct history_waiter);
    waiter->waiter.expire = waiter_expired;
    waiter->run = d->run;
    waiter->request = request;
    waiter->token = history_token_write(&call->arena, token);
    waiter->close_only = close_only;
    list_push_back(&d->run->history_waiters, &waiter->link);
    /* Whatever becomes current meanwhile, this poll is about this run. */
    request->want = REQUEST_RUN;
    request->run_id = d->run->run_id;
    int64_t until = call->received_mono_ns + LONG_POLL_HISTORY_MAX_MS * NS_PER_MS;
    if (call->deadline_mono_ns != INT64_MAX && call->deadline_mono_ns - POLL_MARGIN_NS < until)
        until = call->deadline_mono_ns - POLL_MARGIN_NS;
    waiter_set(d->executor, &waiter->waiter, until);
}

void history_wake(struct executor *executor, struct run *run)
{
    struct list woken;
    list_init(&woken);
    struct list *node = run->history_waiters.next;
    while (node != &run->history_waiters) {
        struct history_waiter *waiter = CONTAINER_OF(node, struct history_waiter, link);
        node = node->next;
        if (waiter->close_only && run_is_open(run))
            continue;
        list_remove(&waiter->link);
        list_push_back(&woken, &waiter->link);
    }
    while (!list_empty(&woken)) {
        struct history_waiter *waiter = CONTAINER_OF(woken.next, struct history_waiter, link);
        waiter_end(executor, waiter);
        if (engine_submit(executor_engine(executor), waiter->request))
            answer_empty(executor, waiter);
    }
}

void history_abandon(struct executor *executor, struct run *run)
{
    while (!list_empty(&run->history_waiters))
        answer_empty(
            executor, CONTAINER_OF(run->history_waiters.next, struct history_waiter, link));
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool find_branch(const struct run *run, uint32_t id, size_t *ret_index)
{
    for (size_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].id == id) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* The token of the request, or where a reader without one begins. False: answered. */
static bool begin_token(struct decision *d, struct request *request, ProtobufCBinaryData data,
    bool reverse, struct history_token *ret_token, size_t *ret_branch)
{
    const struct run *run = d->run;
    *ret_branch = run->current_branch;
    if (data.len == 0) {
        *ret_token = (struct history_token){.run_id = run->run_id,
            .branch = run_branch(run)->id,
            .next = reverse ? run_next_event_id(run) : 1,
            .reverse = reverse};
        return true;
    }
    /* The call's arena: a page from the store outlives the decision. */
    enum err err =
        history_token_read(&request->call->arena, bytes_make(data.data, data.len), ret_token);
    if (err || !uuid_equal(ret_token->run_id, run->run_id) || ret_token->reverse != reverse ||
        !find_branch(run, ret_token->branch, ret_branch) ||
        ret_token->next > run->branches[*ret_branch].next_event_id ||
        ret_token->end > run->branches[*ret_branch].next_event_id) {
        answer_invalid(d, run, request, "Invalid NextPageToken.");
        return false;
    }
    return true;
}

static uint32_t page_size(int32_t wanted)
{
    return wanted > 0 && wanted < HISTORY_PAGE_EVENTS_MAX ? (uint32_t)wanted
                                                          : HISTORY_PAGE_EVENTS_MAX;
}

static struct reading *reading_new(struct request *request, const struct history_token *token)
{
    struct reading *reading = arena_new(&request->call->arena, struct reading);
    reading->call = request->call;
    reading->token = *token;
    reading->reverse = token->reverse;
    return reading;
}

/* One serialized event as History. */
static struct bytes history_of(struct arena *arena, struct bytes event)
{
    ProtobufCBinaryData data = {event.len, (uint8_t *)(uintptr_t)event.data};
    /* Field 1 of Payloads is framed like field 1 of History. */
    Api__Payloads list = API__PAYLOADS__INIT;
    list.n_payloads = 1;
    list.payloads = &data;
    return proto_pack(arena, &list.base);
}

static void read_close_event(
    struct decision *d, struct request *request, const struct history_token *token, bool wait)
{
    const struct run *run = d->run;
    if (run_is_open(run) && wait) {
        park(d, request, token, true);
        return;
    }
    struct bytes history = bytes_of("");
    if (run->close_event)
        history = history_of(d->arena, blob_view(run->close_event));
    decision_reply_bytes(d, run, request->call,
        response_bytes(&request->call->arena, false, history, (struct bytes){0}));
}

/* A reader from the start sees the task in flight as its worker does: a worker that lost its cached
 * run reads history anew and must find the events it was told of. */
static void pin_unwritten(struct decision *d, struct request *request, struct history_token *token)
{
    if (!d->run->task.mark.set)
        return;
    token->unwritten =
        dispatch_unwritten_events(&request->call->arena, d->run, d->ns->failover_version);
    token->end = run_next_event_id(d->run);
}

static void read_events(struct decision *d, struct request *request, struct history_token *token,
    size_t branch, bool wait, int32_t size)
{
    const struct run *run = d->run;
    int64_t end = token->end ? token->end : run->branches[branch].next_event_id;
    bool follow = wait && !token->end && branch == run->current_branch && run_is_open(run);
    if (token->next == end && !token->unwritten.len && follow) {
        park(d, request, token, false);
        return;
    }
    struct reading *reading = reading_new(request, token);
    reading->end = end;
    reading->follow = follow;
    if (history_page_init(&reading->read.page, run, branch, token->next, end, page_size(size))) {
        decision_fail(d, run, request->call, GRPC_DATA_LOSS, NULL, NULL,
            "history branches of the run are corrupt");
        return;
    }
    reading_start(d, request, reading);
}

void decide_history(struct decision *d, struct request *request)
{
    const Api__GetWorkflowExecutionHistoryRequest *message = request->message;
    struct history_token token;
    size_t branch = 0;
    if (!asked_run(d, request) ||
        !begin_token(d, request, message->next_page_token, false, &token, &branch))
        return;
    bool close_only = message->history_event_filter_type ==
                      API__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    if (close_only) {
        read_close_event(d, request, &token, message->wait_new_event);
        return;
    }
    if (message->next_page_token.len == 0 && !message->wait_new_event)
        pin_unwritten(d, request, &token);
    read_events(d, request, &token, branch, message->wait_new_event, message->maximum_page_size);
}

void decide_history_reverse(struct decision *d, struct request *request)
{
    const Api__GetWorkflowExecutionHistoryReverseRequest *message = request->message;
    struct history_token token;
    size_t branch = 0;
    if (!asked_run(d, request) ||
        !begin_token(d, request, message->next_page_token, true, &token, &branch))
        return;
    struct reading *reading = reading_new(request, &token);
    if (history_page_init(&reading->read.page, d->run, branch, 1, token.next,
            page_size(message->maximum_page_size))) {
        decision_fail(d, d->run, request->call, GRPC_DATA_LOSS, NULL, NULL,
            "history branches of the run are corrupt");
        return;
    }
    reading->read.page.reverse = true;
    reading_start(d, request, reading);
}
