/* SPDX-License-Identifier: Apache-2.0
 *
 * From a decided task to an answered poll: history in memory or one store read, then the reply. A
 * task that cannot be delivered is taken back by a request of our own.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/dispatch_private.h"
#include "cluster/engine/executor_private.h"

/* ---- taking back ----------------------------------------------------------------------------- */

/* Heap; lives until it ran. */
struct undo {
    struct request request;
    int64_t query;
    uint64_t nonce;
    uint8_t workflow_id[];
};

static void undo_workflow_task(struct decision *d, struct run *run, uint64_t nonce)
{
    if (!run_is_open(run) || !run->task.mark.set || run->task.mark.nonce != nonce)
        return;
    workflow_task_clear_mark(d, run);
    buffered_flush(d, run);
    workflow_task_schedule(d, run);
    if (!run->task.offered)
        dispatch_workflow_task(d, run);
    due_update(d->executor, run);
}

static void undo_handle(struct decision *d, struct request *request)
{
    struct undo *undo = CONTAINER_OF(request, struct undo, request);
    if (d->run && undo->query) {
        struct query *query = queries_find(d->run, undo->query);
        if (query)
            query_offer(d->executor, query, false);
    } else if (d->run) {
        undo_workflow_task(d, d->run, undo->nonce);
    }
    mem_free(undo);
}

static void undo_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)executor;
    (void)err;
    (void)text;
    /* The task's timeout does it then. */
    mem_free(CONTAINER_OF(request, struct undo, request));
}

static void undo_start(const struct sending *sending)
{
    size_t len = sending->workflow_id.len;
    struct undo *undo = mem_zalloc(1, sizeof(*undo) + len);
    memcpy(undo->workflow_id, sending->workflow_id.data, len);
    undo->query = sending->query;
    undo->nonce = sending->nonce;
    struct request *request = &undo->request;
    request->namespace_id = sending->namespace_id;
    request->workflow_id = bytes_make(undo->workflow_id, len);
    request->want = REQUEST_RUN;
    request->run_id = sending->read.page.run_id;
    request->access = sending->query ? REQUEST_READ : REQUEST_WRITE;
    request->handle = undo_handle;
    request->failed = undo_failed;
    enum err err = engine_submit(executor_engine(sending->executor), request);
    if (err)
        undo_failed(sending->executor, request, err, NULL);
}

/* ---- sending --------------------------------------------------------------------------------- */

void response_set_run(
    struct arena *arena, const struct run *run, Api__PollWorkflowTaskQueueResponse *response)
{
    response->workflow_execution =
        execution_new(arena, run->workflow_id, arena_strdup(arena, run->run_id_text));
    response->workflow_type = arena_new(arena, Api__WorkflowType);
    api__workflow_type__init(response->workflow_type);
    response->workflow_type->name = arena_strdup(arena, run->workflow_type);
    response->workflow_execution_task_queue =
        task_queue_new(arena, arena_strdup(arena, run->task_queue));
    response->previous_started_event_id = run->last_completed_started_event_id;
}

void response_set_history(struct arena *arena, Api__PollWorkflowTaskQueueResponse *response,
    struct history_page *page, int64_t end, struct history_token *token)
{
    if (page->next < end) {
        token->next = page->next;
        struct bytes next = history_token_write(arena, token);
        response->next_page_token =
            (ProtobufCBinaryData){next.len, (uint8_t *)(uintptr_t)next.data};
    } else if (token->unwritten.len > 0) {
        buffer_append(&page->events, token->unwritten.data, token->unwritten.len);
    }
    struct bytes history = bytes_copy(arena, buffer_view(&page->events));
    history_page_release(page);
    /* Present even when empty. */
    response->n_history = 1;
    response->history = arena_new(arena, ProtobufCBinaryData);
    *response->history = (ProtobufCBinaryData){history.len, (uint8_t *)(uintptr_t)history.data};
}

static struct bytes sending_finish(struct sending *sending)
{
    struct arena *arena = &sending->call->arena;
    response_set_history(
        arena, &sending->response, &sending->read.page, sending->end, &sending->token);
    return proto_pack(arena, &sending->response.base);
}

static void sending_read(struct history_read *read, enum err err)
{
    struct sending *sending = CONTAINER_OF(read, struct sending, read);
    if (!err && !call_is_cancelled(sending->call)) {
        call_reply(sending->call, sending_finish(sending));
        return;
    }
    undo_start(sending);
    history_page_release(&read->page);
    /* A poll may always come back empty. */
    call_reply(sending->call, (struct bytes){0});
}

void sending_start(
    struct decision *d, struct sending *sending, int64_t from, struct bytes unwritten)
{
    const struct run *run = d->run;
    struct history_page *page = &sending->read.page;
    sending->end = run_next_event_id(run);
    sending->token = (struct history_token){.run_id = run->run_id,
        .branch = run_branch(run)->id,
        .end = sending->end,
        .unwritten = unwritten};
    enum err err = history_page_init(
        page, run, run->current_branch, from, sending->end, HISTORY_PAGE_EVENTS_MAX);
    if (err) {
        sending_read(&sending->read, err);
    } else if (history_page_from_memory(page, run)) {
        decision_reply_bytes(d, run, sending->call, sending_finish(sending));
    } else {
        sending->read.done = sending_read;
        history_read_start(d, run, &sending->read);
    }
}
