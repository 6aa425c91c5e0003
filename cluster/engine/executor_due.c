/* SPDX-License-Identifier: Apache-2.0
 *
 * Due runs: which run needs attention when, without task tables.
 *
 * Every open run has an exact due time in memory (run_due_ns) and a lower bound of it in the column
 * due_ns. Invariants:
 *   D1  column <= what would be owed if memory were lost (due_stored).
 *   D2  For an active namespace, every run whose column is at or below the cursor's loaded_until is
 *       either in the heap of runs, in the heap of rows, or being loaded, unless nothing is owed.
 * A cursor per (shard, active namespace) reads the due index forward, a window ahead of now. A
 * write below the cursor enters the heap at once, because the run is in memory then. What leaves
 * memory with something due soon makes the cursor begin again.
 */
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/executor_private.h"

#define RETRY_NS     (NS_PER_S)
#define DUE_PER_STEP 512

static struct due_cursor *cursor_of(
    const struct executor *executor, struct uuid namespace_id, int32_t shard)
{
    for (struct list *node = executor->cursors.next; node != &executor->cursors;
         node = node->next) {
        struct due_cursor *cursor = CONTAINER_OF(node, struct due_cursor, link);
        if (cursor->shard == shard && uuid_equal(cursor->namespace_id, namespace_id))
            return cursor;
    }
    return NULL;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What is owed if the marks and offers in memory are lost. */
static int64_t durable_due(const struct run *run)
{
    if (!run_is_open(run) || run->zombie)
        return DUE_NONE;
    int64_t due = run_due_ns(run);
    if (run->task.scheduled_event_id)
        due =
            earlier(due, run->task.not_before_ns > run->task.scheduled_ns ? run->task.not_before_ns
                                                                          : run->task.scheduled_ns);
    if (run->buffered_count)
        due = earlier(due, run->started_ns);
    size_t cursor = 0;
    for (const struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        if (!activity->started)
            due = earlier(due, activity->not_before_ns > activity->attempt_scheduled_ns
                                   ? activity->not_before_ns
                                   : activity->attempt_scheduled_ns);
    }
    return due;
}

bool due_is_beyond(const struct executor *executor, const struct run *run, int64_t due_ns)
{
    const struct due_cursor *cursor = cursor_of(executor, run->namespace_id, run->shard);
    return due_ns == DUE_NONE || (cursor && !cursor->restart && due_ns > cursor->loaded_until);
}

int64_t due_stored(const struct run *run)
{
    const struct executor *executor = run->workflow->executor;
    int64_t owed = durable_due(run);
    int64_t stored = run->stored_due_ns;
    if (owed < stored || !run_is_open(run) || run->found_early)
        return owed;
    /* Not pushed out for waiting, but a column below the cursor would never be read again. */
    const struct due_cursor *cursor = cursor_of(executor, run->namespace_id, run->shard);
    if (cursor && owed != DUE_NONE && stored <= cursor->loaded_until && owed > cursor->loaded_until)
        return owed;
    return stored;
}

void due_update(struct executor *executor, struct run *run)
{
    int64_t due = run_is_open(run) && !run->zombie && !run->deleted ? run_due_ns(run) : DUE_NONE;
    if (due == DUE_NONE || !cursor_of(executor, run->namespace_id, run->shard))
        heap_remove(&executor->due_runs, &run->due);
    else
        heap_set(&executor->due_runs, &run->due, due);
}

/* ---- a run that is due ----------------------------------------------------------------------- */

struct due_request {
    struct request request;
    struct executor *executor;
    struct uuid run_id;
    size_t workflow_id_len;
    uint8_t workflow_id[];
};

static void due_handle(struct decision *d, struct request *request)
{
    struct due_request *due = CONTAINER_OF(request, struct due_request, request);
    d->executor->due_loads--;
    struct run *run = d->run;
    if (run && run_is_open(run) && !run->zombie) {
        if (run_due_ns(run) <= d->now_ns) {
            decide_due(d, run);
        } else if (run->stored_due_ns <= d->now_ns) {
            run->found_early = true; /* nothing is due: correct the column */
            executor_mark_dirty(d->executor, run);
        }
        due_update(d->executor, run);
    }
    mem_free(due);
}

static void due_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)text;
    struct due_request *due = CONTAINER_OF(request, struct due_request, request);
    executor->due_loads--;
    /* Passive or being handed over: activation scans again. Anything else: later, from the index.
     * */
    if (err != ERR_PRECONDITION && !executor->stopping)
        due_reset(executor, request->namespace_id,
            engine_shard(executor->engine, request->namespace_id, request->workflow_id));
    mem_free(due);
}

static void due_submit(struct executor *executor, struct uuid namespace_id, struct uuid run_id,
    struct bytes workflow_id)
{
    struct due_request *due = mem_zalloc(1, sizeof(*due) + workflow_id.len);
    memcpy(due->workflow_id, workflow_id.data, workflow_id.len);
    due->executor = executor;
    due->request.namespace_id = namespace_id;
    due->request.workflow_id = bytes_make(due->workflow_id, workflow_id.len);
    due->request.want = REQUEST_RUN;
    due->request.access = REQUEST_WRITE;
    due->request.run_id = run_id;
    due->request.handle = due_handle;
    due->request.failed = due_failed;
    executor->due_loads++;
    executor_deliver_request(&due->request.mail, executor);
}

/* ---- cursors --------------------------------------------------------------------------------- */

static void rows_found(struct executor *executor, struct due_cursor *cursor)
{
    struct store_due *found = &cursor->op.due;
    for (size_t i = 0; i < found->row_count; i++) {
        const struct store_row *row = &found->rows[i];
        Record__RunHead *head =
            proto_unpack(&cursor->arena, &record__run_head__descriptor, row->value);
        if (!head || row->key.len != 16) {
            log_error("run.corrupt", "shard=%d reason=%s", cursor->shard, "head_does_not_decode");
            continue;
        }
        size_t len = strlen(head->workflow_id);
        struct due_row *due = mem_zalloc(1, sizeof(*due) + len);
        memcpy(due->run_id.bytes, row->key.data, 16);
        memcpy(due->workflow_id, head->workflow_id, len);
        due->workflow_id_len = len;
        due->namespace_id = cursor->namespace_id;
        due->shard = cursor->shard;
        heap_set(&executor->due_rows, &due->node, row->due_ns);
    }
    cursor->loaded_until = found->to_ns;
    if (found->more && found->row_count)
        cursor->loaded_until = found->rows[found->row_count - 1].due_ns - 1;
    /* A full page of one single time would not advance: take them as loaded and go behind. */
    if (found->more && cursor->loaded_until < found->from_ns)
        cursor->loaded_until = found->from_ns;
}

static void scan_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct due_cursor *cursor = CONTAINER_OF(mail, struct due_cursor, op.mail);
    cursor->scanning = false;
    if (cursor->op.err) {
        cursor->retry_mono_ns = env_monotonic_ns(executor->env) + RETRY_NS;
    } else if (!cursor->gone) {
        rows_found(executor, cursor);
    }
    arena_reset(&cursor->arena);
    if (cursor->gone) {
        list_remove(&cursor->link);
        arena_release(&cursor->arena);
        mem_free(cursor);
    }
}

static void cursor_scan(struct executor *executor, struct due_cursor *cursor, int64_t wall_now)
{
    if (cursor->restart) {
        cursor->restart = false;
        cursor->loaded_until = INT64_MIN;
    }
    cursor->scanning = true;
    cursor->op = (struct store_op){.kind = STORE_DUE,
        .reply_to = executor->mailbox,
        .arena = &cursor->arena,
        .mail = {.deliver = scan_delivered},
        .due = {.shard = cursor->shard,
            .namespace_id = cursor->namespace_id,
            .from_ns = cursor->loaded_until == INT64_MIN ? 0 : cursor->loaded_until + 1,
            .to_ns = wall_now + DUE_WINDOW_NS,
            .limit_rows = DUE_SCAN_ROWS}};
    store_submit(executor->store, &cursor->op);
}

void due_reset(struct executor *executor, struct uuid namespace_id, int32_t shard)
{
    struct due_cursor *cursor = cursor_of(executor, namespace_id, shard);
    if (!cursor || cursor->restart)
        return;
    cursor->restart = true;
    cursor->retry_mono_ns = env_monotonic_ns(executor->env) + NS_PER_S / 10;
}

static void cached_runs_update(struct executor *executor, struct uuid namespace_id)
{
    size_t cursor = 0;
    for (struct workflow *workflow = map_next(&executor->workflows, &cursor); workflow;
         workflow = map_next(&executor->workflows, &cursor)) {
        if (!uuid_equal(workflow->namespace_id, namespace_id))
            continue;
        for (struct list *node = workflow->runs.next; node != &workflow->runs; node = node->next)
            due_update(executor, CONTAINER_OF(node, struct run, link));
    }
}

void due_namespace_changed(struct executor *executor, struct uuid namespace_id)
{
    struct namespace_view *ns = executor->engine->options.namespaces.get(
        executor->engine->options.namespaces.ctx, namespace_id);
    bool scan = ns && ns->active && !ns->handover && !ns->deleted;
    namespace_view_unref(ns);
    for (int32_t i = 0; i < executor->engine->options.shards; i++) {
        struct shard *shard = executor->shards[i];
        if (!shard)
            continue;
        struct due_cursor *cursor = cursor_of(executor, namespace_id, i);
        if (scan && !cursor) {
            cursor = mem_new(struct due_cursor);
            cursor->executor = executor;
            cursor->namespace_id = namespace_id;
            cursor->shard = i;
            cursor->loaded_until = INT64_MIN;
            list_push_back(&executor->cursors, &cursor->link);
        } else if (scan) {
            cursor->gone = false;
            cursor->restart = true;
        } else if (cursor && cursor->scanning) {
            cursor->gone = true;
        } else if (cursor) {
            list_remove(&cursor->link);
            arena_release(&cursor->arena);
            mem_free(cursor);
        }
    }
    cached_runs_update(executor, namespace_id);
}

/* ---- step ------------------------------------------------------------------------------------ */

void due_step(struct executor *executor, int64_t wall_now, int64_t mono_now)
{
    for (struct list *node = executor->cursors.next; node != &executor->cursors;
         node = node->next) {
        struct due_cursor *cursor = CONTAINER_OF(node, struct due_cursor, link);
        if (cursor->scanning || mono_now < cursor->retry_mono_ns ||
            executor->due_rows.count > 100000 || !executor->shards[cursor->shard]->owned)
            continue;
        if (cursor->restart || cursor->loaded_until == INT64_MIN ||
            cursor->loaded_until < wall_now + DUE_WINDOW_NS / 2)
            cursor_scan(executor, cursor, wall_now);
    }
    for (int i = 0; i < DUE_PER_STEP; i++) {
        struct heap_node *node = heap_peek(&executor->due_runs);
        if (!node || node->key > wall_now)
            break;
        struct run *run = CONTAINER_OF(node, struct run, due);
        heap_remove(&executor->due_runs, node);
        due_submit(executor, run->namespace_id, run->run_id, run->workflow_id);
    }
    while (executor->due_loads < DUE_LOADS_MAX) {
        struct heap_node *node = heap_peek(&executor->due_rows);
        if (!node || node->key > wall_now)
            break;
        struct due_row *row = CONTAINER_OF(node, struct due_row, node);
        heap_remove(&executor->due_rows, node);
        if (cursor_of(executor, row->namespace_id, row->shard))
            due_submit(executor, row->namespace_id, row->run_id,
                bytes_make(row->workflow_id, row->workflow_id_len));
        mem_free(row);
    }
}

int64_t due_next(struct executor *executor)
{
    int64_t next = DUE_NONE;
    const struct heap_node *node = heap_peek(&executor->due_runs);
    if (node)
        next = node->key;
    node = executor->due_loads < DUE_LOADS_MAX ? heap_peek(&executor->due_rows) : NULL;
    if (node)
        next = earlier(next, node->key);
    int64_t soon = env_wall_ns(executor->env);
    for (struct list *link = executor->cursors.next; link != &executor->cursors;
         link = link->next) {
        const struct due_cursor *cursor = CONTAINER_OF(link, struct due_cursor, link);
        if (cursor->scanning)
            continue;
        if (cursor->restart || cursor->loaded_until < soon + DUE_WINDOW_NS / 2)
            next = earlier(next, soon + NS_PER_S / 20);
        else
            next = earlier(next, cursor->loaded_until - DUE_WINDOW_NS / 2);
    }
    return next;
}

void due_free(struct executor *executor)
{
    while (!list_empty(&executor->cursors)) {
        struct due_cursor *cursor =
            CONTAINER_OF(list_pop_front(&executor->cursors), struct due_cursor, link);
        arena_release(&cursor->arena);
        mem_free(cursor);
    }
    for (struct heap_node *node = heap_peek(&executor->due_rows); node;
         node = heap_peek(&executor->due_rows)) {
        heap_remove(&executor->due_rows, node);
        mem_free(CONTAINER_OF(node, struct due_row, node));
    }
    heap_release(&executor->due_rows);
    heap_release(&executor->due_runs);
}
