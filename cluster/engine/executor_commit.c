/* SPDX-License-Identifier: Apache-2.0
 *
 * Group commit: the changes of all dirty runs become one `struct commit`; its completion releases
 * the effects that waited for it, or discards every run that depended on it.
 *
 *      fill ──flush──► under way ──OK──────────────► effects fire
 *        ▲               │  │
 *        │               │  └──UNKNOWN──► take shards again, compare commit_no ──► OK or failed
 *        └───────────────┴──failed──► runs of this and the open commit are forgotten
 */
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/executor_private.h"
#include "cluster/engine/fold.h"
#include "cluster/engine/run_visibility.h"

void executor_mark_dirty(struct executor *executor, struct run *run)
{
    run->changed_commit = executor->open->no;
    if (run->dirty)
        return;
    run->dirty = true;
    list_push_back(&executor->dirty, &run->dirty_link);
}

void shard_touch(struct executor *executor, struct shard *shard)
{
    (void)executor;
    shard->touched = true;
}

void run_trim_tail(struct run *run)
{
    while (run->tail_bytes > TAIL_BYTES_MAX && run->tail.next != run->tail.prev) {
        struct list *oldest = run->tail.next;
        struct run_batch *batch = CONTAINER_OF(oldest, struct run_batch, link);
        list_remove(oldest);
        run->tail_bytes -= batch->value->len;
        blob_unref(batch->value);
        mem_free(batch);
    }
}

static void run_keep_tail(struct run *run, const struct run_batch *batch)
{
    struct run_batch *kept = mem_new(struct run_batch);
    *kept = *batch;
    kept->link = (struct list){0};
    kept->value = blob_retain(batch->value);
    list_push_back(&run->tail, &kept->link);
    run->tail_bytes += kept->value->len;
    run_trim_tail(run);
}

void run_seal_batch(struct run *run)
{
    if (!run->builder.blob)
        return;
    struct branch_state *branch = run_branch(run);
    struct run_batch *batch = mem_new(struct run_batch);
    batch->branch = branch->id;
    batch->first_event_id = run->builder.first_event_id;
    batch->next_event_id = run->builder.first_event_id + run->builder.event_count;
    batch->value = batch_finish(
        &run->builder, buffer_view(&run->builder_meta), branch->digest, &branch->digest);
    buffer_clear(&run->builder_meta);
    list_push_back(&run->new_batches, &batch->link);
    run_keep_tail(run, batch);
}

void run_take_batch(struct run *run, struct blob *value, const struct batch *decoded)
{
    run_seal_batch(run);
    struct run_batch *batch = mem_new(struct run_batch);
    batch->branch = run_branch(run)->id;
    batch->first_event_id = decoded->first_event_id;
    batch->next_event_id = decoded->first_event_id + decoded->event_count;
    batch->value = blob_retain(value);
    batch->replicated = true;
    list_push_back(&run->new_batches, &batch->link);
    run_keep_tail(run, batch);
}

/* ---- building -------------------------------------------------------------------------------- */

static void write_row(struct open_commit *open, enum table table, enum commit_mode mode,
    int32_t shard, struct bytes key, struct bytes value)
{
    struct commit_row row = {
        .table = table, .mode = mode, .shard = shard, .key = key, .value = value};
    commit_write(&open->commit, &row);
}

static void write_head(struct open_commit *open, struct run *run, const struct namespace_view *ns)
{
    struct arena *arena = &open->commit.arena;
    Record__RunHead head;
    run_write_head(run, &head, arena);
    int64_t due = due_stored(run);
    int64_t expire = DUE_NONE;
    if (!run_is_open(run))
        expire = run->close_ns + (ns ? ns->retention_ns : 72 * 3600 * NS_PER_S);
    struct commit_row row = {.table = TABLE_RUN,
        .mode = run->is_new ? COMMIT_INSERT : COMMIT_UPDATE,
        .shard = run->shard,
        .key = bytes_copy(arena, uuid_view(&run->run_id)),
        .value = proto_pack(arena, &head.base),
        .namespace_id = run->namespace_id,
        .due_ns = due,
        .expire_ns = expire,
        .index_changed =
            run->is_new || due != run->stored_due_ns || expire != run->stored_expire_ns};
    commit_write(&open->commit, &row);
    run->stored_due_ns = due;
    run->stored_expire_ns = expire;
}

static void write_current(struct open_commit *open, struct run *run)
{
    struct arena *arena = &open->commit.arena;
    struct workflow *workflow = run->workflow;
    Record__CurrentRun current;
    record__current_run__init(&current);
    current.format = 1;
    current.run_id.data = run->run_id.bytes;
    current.run_id.len = sizeof(run->run_id.bytes);
    write_row(open, TABLE_CURRENT_RUN, workflow->current_row ? COMMIT_UPDATE : COMMIT_INSERT,
        run->shard, key_current_run(arena, run->namespace_id, run->workflow_id),
        proto_pack(arena, &current.base));
    workflow->current_row = true;
}

static void write_snapshot(struct open_commit *open, struct run *run)
{
    int64_t last = run_next_event_id(run) - 1;
    if (last - run->snapshot_event_id < SNAPSHOT_EVENTS || !run_is_open(run))
        return;
    struct arena *arena = &open->commit.arena;
    enum commit_mode mode = run->snapshot_event_id ? COMMIT_UPDATE : COMMIT_INSERT;
    run->snapshot_event_id = last;
    write_row(open, TABLE_SNAPSHOT, mode, run->shard, bytes_copy(arena, uuid_view(&run->run_id)),
        run_write_snapshot(run, arena));
}

static void write_visibility(struct open_commit *open, struct run *run)
{
    struct commit_visibility change = {.mode = run->is_new ? COMMIT_INSERT : COMMIT_UPDATE};
    run_visibility_row(run, &open->commit.arena, &change.row);
    commit_visibility(&open->commit, &change);
    run->visibility_changed = false;
}

static void write_deleted(struct executor *executor, struct open_commit *open, struct run *run)
{
    struct arena *arena = &open->commit.arena;
    struct bytes from = bytes_copy(arena, uuid_view(&run->run_id));
    struct uuid after = run->run_id;
    for (int i = 15; i >= 0 && ++after.bytes[i] == 0; i--)
        ;
    struct bytes to = bytes_copy(arena, uuid_view(&after));
    static const enum table ranges[] = {TABLE_HISTORY, TABLE_FACT};
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        struct commit_range range = {ranges[i], run->shard, from, to};
        commit_delete_range(&open->commit, &range);
    }
    write_row(open, TABLE_SNAPSHOT, COMMIT_DELETE, run->shard, from, (struct bytes){0});
    write_row(open, TABLE_RUN, COMMIT_DELETE, run->shard, from, (struct bytes){0});
    struct commit_visibility change = {.mode = COMMIT_DELETE};
    change.row.shard = run->shard;
    change.row.run_id = run->run_id;
    commit_visibility(&open->commit, &change);
    struct workflow *workflow = run->workflow;
    if (uuid_equal(workflow->current_run_id, run->run_id)) {
        write_row(open, TABLE_CURRENT_RUN, COMMIT_DELETE, run->shard,
            key_current_run(arena, run->namespace_id, run->workflow_id), (struct bytes){0});
        workflow->current_run_id = (struct uuid){0};
        workflow->current_row = false;
    }
    heap_remove(&executor->due_runs, &run->due);
}

static void write_facts(struct open_commit *open, struct run *run)
{
    struct arena *arena = &open->commit.arena;
    for (struct list *node = run->fact_changes.next; node != &run->fact_changes;
         node = node->next) {
        const struct fact_change *change = CONTAINER_OF(node, struct fact_change, link);
        uint8_t id[8];
        for (int i = 0; i < 8; i++)
            id[i] = (uint8_t)((uint64_t)change->id >> (56 - 8 * i));
        struct bytes key =
            key_fact(arena, run->run_id, (uint32_t)change->kind, bytes_make(id, sizeof(id)));
        struct bytes value = {0};
        if (change->value)
            value = bytes_copy(arena, blob_view(change->value));
        write_row(open, TABLE_FACT, change->mode, run->shard, key, value);
    }
}

static void free_changes(struct run *run)
{
    while (!list_empty(&run->fact_changes)) {
        struct fact_change *change =
            CONTAINER_OF(list_pop_front(&run->fact_changes), struct fact_change, link);
        blob_unref(change->value);
        mem_free(change);
    }
}

void open_hold_blob(struct open_commit *open, struct blob *blob)
{
    if (open->blob_count == open->blob_capacity) {
        open->blob_capacity = open->blob_capacity ? open->blob_capacity * 2 : 256;
        open->blobs = mem_realloc(open->blobs, open->blob_capacity * sizeof(*open->blobs));
    }
    open->blobs[open->blob_count++] = blob;
}

static void write_batches(struct open_commit *open, struct run *run)
{
    struct arena *arena = &open->commit.arena;
    while (!list_empty(&run->new_batches)) {
        struct run_batch *batch =
            CONTAINER_OF(list_pop_front(&run->new_batches), struct run_batch, link);
        write_row(open, TABLE_HISTORY, COMMIT_INSERT, run->shard,
            key_history(arena, run->run_id, batch->branch, batch->first_event_id),
            blob_view(batch->value));
        open_hold_blob(open, batch->value);
        mem_free(batch);
        run->head_changed = true;
        run->state_transitions++;
    }
}

static void write_run(struct executor *executor, struct open_commit *open, struct run *run)
{
    struct shard *shard = executor->shards[run->shard];
    shard_touch(executor, shard);
    struct namespace_view *ns = executor->engine->options.namespaces.get(
        executor->engine->options.namespaces.ctx, run->namespace_id);
    run_seal_batch(run);
    outbox_collect_run(executor, shard, run, ns);
    if (run->deleted) {
        if (!run->is_new)
            write_deleted(executor, open, run);
        else if (uuid_equal(run->workflow->current_run_id, run->run_id))
            run->workflow->current_known = false; /* the store never heard of it */
        free_changes(run);
        run->visibility_changed = false;
    } else {
        bool moved = !list_empty(&run->new_batches);
        write_batches(open, run);
        write_facts(open, run);
        free_changes(run);
        if (moved)
            write_snapshot(open, run);
        if (run->visibility_changed)
            write_visibility(open, run);
        if (run->becomes_current)
            write_current(open, run);
        due_update(executor, run);
        if (run->head_changed || run->is_new || due_stored(run) != run->stored_due_ns)
            write_head(open, run, ns);
    }
    run->becomes_current = false;
    run->head_changed = false;
    run->found_early = false;
    run->is_new = false;
    run->dirty = false;
    list_remove(&run->dirty_link);
    namespace_view_unref(ns);
    if (open->run_count == open->run_capacity) {
        open->run_capacity = open->run_capacity ? open->run_capacity * 2 : 256;
        open->runs = mem_realloc(open->runs, open->run_capacity * sizeof(*open->runs));
    }
    open->runs[open->run_count++] = run;
}

/* ---- completion ------------------------------------------------------------------------------ */

void executor_fire_effects(struct executor *executor, int64_t up_to_no, enum err err)
{
    while (!list_empty(&executor->effects)) {
        struct effect *effect = CONTAINER_OF(executor->effects.next, struct effect, link);
        if (effect->commit_no > up_to_no)
            return;
        list_remove(&effect->link);
        effect->fire(effect, err);
    }
}

void executor_forget_run(struct executor *executor, const struct run *run)
{
    for (size_t i = 0; executor->flight && i < executor->flight->run_count; i++) {
        if (executor->flight->runs[i] == run)
            executor->flight->runs[i] = NULL;
    }
}

static void open_reset(struct open_commit *open)
{
    for (size_t i = 0; i < open->blob_count; i++)
        blob_unref(open->blobs[i]);
    open->blob_count = 0;
    for (size_t i = 0; i < open->outbox_count; i++)
        mem_free(open->outbox[i].values);
    open->outbox_count = 0;
    open->run_count = 0;
    commit_reset(&open->commit);
}

static void committed(struct executor *executor, struct open_commit *done)
{
    executor->committed_no = done->no;
    executor->flight = NULL;
    counter_add(executor->metrics.commits, 1);
    histogram_observe(executor->metrics.commit_runs, (double)done->run_count);
    histogram_observe(executor->metrics.commit_seconds,
        (double)(env_monotonic_ns(executor->env) - done->submitted_mono_ns) / 1e9);
    const struct replication_sink *sink = &executor->engine->options.sink;
    for (size_t i = 0; i < done->outbox_count; i++) {
        executor->shards[done->outbox[i].shard]->outbox_committed = done->outbox[i].seq;
        if (sink->committed)
            sink->committed(sink->ctx, done->outbox[i].shard, done->outbox[i].seq,
                done->outbox[i].row, done->outbox[i].values, done->outbox[i].count);
    }
    executor_fire_effects(executor, done->no, OK);
    for (size_t i = 0; i < done->run_count; i++) {
        struct run *run = done->runs[i];
        if (!run)
            continue;
        if (run->deleted && run->changed_commit == done->no)
            workflow_discard_run(executor, run);
        else if (!list_empty(&run->history_waiters))
            history_wake(executor, run);
    }
    open_reset(done);
    executor_redeliver(executor);
}

/* Everything that this commit and the open one changed is forgotten. */
static void failed(struct executor *executor, struct open_commit *done, enum err err)
{
    int64_t from = done->no;
    struct open_commit *open = executor->open;
    counter_add(executor->metrics.commit_failures, 1);
    log_warn("commit.failed", "err=%s runs=%zu rows=%zu text=%s", err_name(err), done->run_count,
        done->commit.row_count, log_quote(done->op.text));
    executor->flight = NULL;
    executor->committed_no = from; /* nothing older is under way */
    list_init(&executor->dirty);
    for (int32_t i = 0; i < executor->engine->options.shards; i++) {
        struct shard *shard = executor->shards[i];
        if (!shard)
            continue;
        shard->touched = false;
        shard->outbox_seq = shard->outbox_committed;
        for (size_t k = 0; k < shard->item_count; k++)
            blob_unref(shard->values[k]);
        shard->item_count = 0;
    }
    for (size_t i = 0; i < done->commit.section_count; i++) {
        struct shard *shard = executor->shards[done->commit.sections[i].shard];
        shard->commit_no = done->commit.sections[i].commit_no - 1;
        if (err == ERR_FENCED)
            shard->lost = true, shard->owned = false;
    }
    executor->work_pending = false;
    cache_discard(executor, from);
    open_reset(done);
    open_reset(open);
    executor_fire_effects(executor, open->no, err);
    executor->committed_no = open->no;
    open->no++;
    executor->open_bytes = 0;
    executor_redeliver(executor);
}

/* ---- unknown outcome ------------------------------------------------------------------------- */

struct resolve {
    struct store_op op;
    struct arena arena;
    struct executor *executor;
    int32_t shard;
    int64_t commit_no;
};

static void resolve_submit(struct resolve *resolve);

static void resolve_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct resolve *resolve = CONTAINER_OF(mail, struct resolve, op.mail);
    enum err err = resolve->op.err;
    if (err && err_class(err) == ERR_CLASS_RETRY && err != ERR_FENCED && !executor->stopping) {
        resolve_submit(resolve); /* the store's reconnect paces this */
        return;
    }
    struct shard *shard = executor->shards[resolve->shard];
    if (err) {
        executor->resolve_failed = true;
        shard->owned = false;
        shard->lost = true;
    } else {
        shard->range_id = resolve->op.take_shard.range_id;
        if (resolve->op.take_shard.commit_no != resolve->commit_no)
            executor->resolve_failed = true;
    }
    arena_release(&resolve->arena);
    mem_free(resolve);
    if (--executor->resolving)
        return;
    log_info("commit.resolved", "outcome=%s", executor->resolve_failed ? "lost" : "stored");
    struct open_commit *done = executor->flight;
    if (executor->resolve_failed) {
        failed(executor, done, ERR_UNKNOWN_COMMIT);
    } else {
        committed(executor, done);
    }
}

static void resolve_submit(struct resolve *resolve)
{
    struct executor *executor = resolve->executor;
    resolve->op.kind = STORE_TAKE_SHARD;
    resolve->op.err = OK;
    resolve->op.mail.deliver = resolve_delivered;
    resolve->op.reply_to = executor->mailbox;
    resolve->op.writer = executor->index;
    resolve->op.arena = &resolve->arena;
    resolve->op.take_shard = (struct store_take_shard){.shard = resolve->shard,
        .expected_range = executor->shards[resolve->shard]->range_id,
        .owner = bytes_of(executor->engine->node_id)};
    store_submit(executor->store, &resolve->op);
}

static void resolve_start(struct executor *executor, struct open_commit *done)
{
    log_warn("commit.unknown", "sections=%zu", done->commit.section_count);
    executor->resolve_failed = false;
    executor->resolving = done->commit.section_count;
    for (size_t i = 0; i < done->commit.section_count; i++) {
        struct resolve *resolve = mem_new(struct resolve);
        resolve->executor = executor;
        resolve->shard = done->commit.sections[i].shard;
        resolve->commit_no = done->commit.sections[i].commit_no;
        resolve_submit(resolve);
    }
}

static void commit_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct open_commit *done = CONTAINER_OF(mail, struct open_commit, op.mail);
    CHECK(done == executor->flight);
    if (done->op.err == OK)
        committed(executor, done);
    else if (done->op.err == ERR_UNKNOWN_COMMIT && done->commit.section_count)
        resolve_start(executor, done);
    else
        failed(executor, done, done->op.err);
}

void executor_flush(struct executor *executor)
{
    if (executor->flight || (list_empty(&executor->dirty) && !executor->work_pending))
        return;
    struct open_commit *open = executor->open;
    while (!list_empty(&executor->dirty))
        write_run(executor, open, CONTAINER_OF(executor->dirty.next, struct run, dirty_link));
    outbox_finish(executor, open);
    for (int32_t i = 0; i < executor->engine->options.shards; i++) {
        struct shard *shard = executor->shards[i];
        if (!shard || !shard->touched)
            continue;
        shard->touched = false;
        struct commit_section section = {shard->id, shard->range_id, ++shard->commit_no};
        commit_section(&open->commit, section);
    }
    executor->work_pending = false;
    executor->flight = open;
    executor->open = &executor->commits[open == &executor->commits[0]];
    executor->open->no = open->no + 1;
    executor->open_bytes = 0;
    open->op.kind = STORE_COMMIT;
    open->op.err = OK;
    open->op.text[0] = 0;
    open->op.mail.deliver = commit_delivered;
    open->op.reply_to = executor->mailbox;
    open->op.writer = executor->index;
    open->op.commit = &open->commit;
    open->submitted_mono_ns = env_monotonic_ns(executor->env);
    store_submit(executor->store, &open->op);
}
