/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading: first the pointer to the current run (batched with other reads by the store), then one
 * run: head, snapshot, facts and the history behind the snapshot, in one operation.
 *
 * What the store returns is hostile until decoded: a row that does not decode fails the request
 * with DATA_LOSS and says which row, and the run stays unloaded.
 */
#include "cluster/engine/executor_private.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/fold.h"

static void load_free(struct load *load)
{
    arena_release(&load->arena);
    mem_free(load);
}

static void load_fail(struct load *load, enum err err, const char *text)
{
    struct executor *executor = load->executor;
    struct workflow *workflow = load->workflow;
    struct list failed;
    list_init(&failed);
    while (!list_empty(&workflow->waiting))
        list_push_back(&failed, list_pop_front(&workflow->waiting));
    while (!list_empty(&failed)) {
        struct request *request = CONTAINER_OF(list_pop_front(&failed), struct request, link);
        request_fail(executor, request, err, text);
    }
}

/* ---- the pointer ----------------------------------------------------------------------------- */

static void pointer_loaded(struct load *load)
{
    struct workflow *workflow = load->workflow;
    workflow->current_row = load->get.row.found;
    workflow->current_run_id = (struct uuid){0};
    if (load->get.row.found) {
        Record__CurrentRun *current =
            proto_unpack(&load->arena, &record__current_run__descriptor, load->get.row.value);
        if (!current || current->format != 1 || current->run_id.len != 16) {
            load_fail(load, ERR_CORRUPT, "row of table current_run does not decode");
            return;
        }
        memcpy(workflow->current_run_id.bytes, current->run_id.data, 16);
    }
    workflow->current_known = true;
}

/* ---- one run --------------------------------------------------------------------------------- */

/* The line of branches from the root to the current one, as history key ranges. */
struct segment {
    uint32_t branch;
    int64_t from;
    int64_t to; /* exclusive */
};

static size_t head_segments(
    const Record__RunHead *head, int64_t from, struct segment *segments, size_t max)
{
    size_t count = 0;
    if (head->current_branch >= head->n_branches)
        return 0;
    const Record__Branch *branch = head->branches[head->current_branch];
    int64_t to = branch->next_event_id;
    while (count < max) {
        int64_t begin = branch->fork_event_id + 1;
        segments[count++] = (struct segment){branch->id, begin > from ? begin : from, to};
        if (begin <= from || branch->fork_event_id == 0)
            break;
        to = begin;
        const Record__Branch *parent = NULL;
        for (size_t i = 0; i < head->n_branches; i++) {
            if (head->branches[i]->id == branch->parent)
                parent = head->branches[i];
        }
        if (!parent || parent == branch)
            return 0;
        branch = parent;
    }
    return count;
}

static enum err read_history(
    struct store_session *session, struct load *load, const Record__RunHead *head, int64_t from)
{
    struct segment segments[64];
    size_t count = head_segments(head, from, segments, ARRAY_LEN(segments));
    if (!count)
        return ERR_CORRUPT;
    struct store_scan *scans = arena_zalloc(&load->arena, count, sizeof(*scans));
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        struct segment segment = segments[count - 1 - i];
        scans[i] = (struct store_scan){.table = TABLE_HISTORY,
            .shard = load->workflow->shard,
            .from = key_history(&load->arena, load->run_id, segment.branch, segment.from),
            .to = key_history(&load->arena, load->run_id, segment.branch, segment.to),
            .limit_rows = UINT32_MAX};
        enum err err = session_scan(session, &load->arena, &scans[i]);
        if (err)
            return err;
        total += scans[i].row_count;
    }
    load->history = arena_zalloc(&load->arena, total ? total : 1, sizeof(*load->history));
    for (size_t i = 0; i < count; i++) {
        memcpy(load->history + load->history_count, scans[i].rows,
            scans[i].row_count * sizeof(*load->history));
        load->history_count += scans[i].row_count;
    }
    return OK;
}

/* Runs on a reader session's thread: touches nothing but the load. */
static enum err read_run(struct store_session *session, struct store_op *op, void *ctx)
{
    (void)op;
    struct load *load = ctx;
    int32_t shard = load->workflow->shard;
    struct bytes run_key = bytes_copy(&load->arena, uuid_view(&load->run_id));
    struct store_get gets[2] = {
        {.table = TABLE_RUN, .shard = shard, .key = run_key},
        {.table = TABLE_SNAPSHOT, .shard = shard, .key = run_key},
    };
    enum err err = session_get(session, &load->arena, gets, 2);
    if (err)
        return err;
    load->found = gets[0].row.found;
    if (!load->found)
        return OK;
    load->head = gets[0].row;
    load->snapshot = gets[1].row;
    Record__RunHead *head =
        proto_unpack(&load->arena, &record__run_head__descriptor, load->head.value);
    if (!head)
        return ERR_CORRUPT;
    int64_t from = 1;
    if (load->snapshot.found) {
        Record__RunSnapshot *snapshot =
            proto_unpack(&load->arena, &record__run_snapshot__descriptor, load->snapshot.value);
        /* A snapshot is only a shortcut: of another fold or branch it is ignored. */
        if (snapshot && snapshot->fold_version == FOLD_VERSION && snapshot->format == 1 &&
            snapshot->branch == head->current_branch && snapshot->event_id > 0)
            from = snapshot->event_id + 1;
        else
            load->snapshot.found = false;
    }
    err = read_history(session, load, head, from);
    if (err)
        return err;
    struct uuid after = load->run_id;
    for (int i = 15; i >= 0 && ++after.bytes[i] == 0; i--)
        ;
    struct store_scan facts = {.table = TABLE_FACT,
        .shard = shard,
        .from = run_key,
        .to = bytes_copy(&load->arena, uuid_view(&after)),
        .limit_rows = UINT32_MAX};
    err = session_scan(session, &load->arena, &facts);
    load->facts = facts.rows;
    load->fact_count = facts.row_count;
    return err;
}

static enum err fold_history(struct run *run, const struct load *load)
{
    for (size_t i = 0; i < load->history_count; i++) {
        enum err err = fold_batch(run, load->history[i].value);
        if (err)
            return err;
        struct batch batch;
        uint32_t branch = 0;
        if (batch_decode(load->history[i].value, &batch) ||
            !key_read_u32(load->history[i].key, 16, &branch))
            return ERR_CORRUPT;
        struct run_batch *kept = mem_new(struct run_batch);
        kept->value = blob_from(load->history[i].value);
        kept->branch = branch;
        kept->first_event_id = batch.first_event_id;
        kept->next_event_id = batch.first_event_id + batch.event_count;
        list_push_back(&run->tail, &kept->link);
        run->tail_bytes += kept->value->len;
    }
    return OK;
}

/* Memory holds state as of the snapshot, then the history is folded on top; only then do the facts
 * of the head (branches, attempts) take their place, because folding advances the branch too. */
static enum err build_run(struct load *load, struct run *run)
{
    enum err err = OK;
    if (load->snapshot.found)
        err = run_read_snapshot(run, load->snapshot.value);
    if (!err)
        err = fold_history(run, load);
    int64_t folded_next = run_next_event_id(run);
    uint64_t folded_digest = run_branch(run)->digest;
    if (!err)
        err = run_read_head(run, load->head.value);
    if (err)
        return err;
    if (run_next_event_id(run) != folded_next || run_branch(run)->digest != folded_digest)
        return ERR_CORRUPT;
    for (size_t i = 0; i < load->fact_count; i++) {
        uint32_t kind = 0;
        if (!key_read_u32(load->facts[i].key, 16, &kind))
            return ERR_CORRUPT;
        err = run_read_fact(run, (enum fact_kind)kind, load->facts[i].value);
        if (err)
            return err;
    }
    run->stored_due_ns = load->head.due_ns;
    run->stored_expire_ns = load->head.expire_ns;
    return OK;
}

static void run_loaded(struct load *load)
{
    struct workflow *workflow = load->workflow;
    struct executor *executor = load->executor;
    if (workflow_run(workflow, load->run_id))
        return; /* created meanwhile: memory is newer */
    if (!load->found) {
        /* Requests for this run are told so; the others go on. */
        struct list *node = workflow->waiting.next;
        while (node != &workflow->waiting) {
            struct request *request = CONTAINER_OF(node, struct request, link);
            node = node->next;
            if (request->want == REQUEST_RUN && uuid_equal(request->run_id, load->run_id))
                request->run_missing = true;
        }
        if (uuid_equal(workflow->current_run_id, load->run_id)) {
            log_error("run.missing", "run_id of current_run has no row, shard=%d", workflow->shard);
            load_fail(load, ERR_CORRUPT, "current run has no row");
        }
        return;
    }
    struct run *run =
        run_new(workflow->shard, workflow->namespace_id, workflow->workflow_id, load->run_id);
    run->workflow = workflow;
    list_push_back(&workflow->runs, &run->link);
    enum err err = build_run(load, run);
    if (err) {
        char text[128];
        snprintf(text, sizeof(text), "run %s does not load: %s", run->run_id_text, err_text(err));
        log_error("run.corrupt", "shard=%d run_id=%s reason=%s", run->shard, run->run_id_text,
            err_name(err));
        workflow_discard_run(executor, run);
        load_fail(load, ERR_CORRUPT, text);
        return;
    }
    run_trim_tail(run);
    executor->cache_bytes += run_memory(run);
    due_update(executor, run);
}

static void load_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct load *load = CONTAINER_OF(mail, struct load, op.mail);
    struct workflow *workflow = load->workflow;
    workflow->loading = false;
    executor->loads--;
    if (load->op.err) {
        if (err_class(load->op.err) != ERR_CLASS_RETRY)
            log_error("load.failed", "shard=%d err=%s text=%s", workflow->shard,
                err_name(load->op.err), log_quote(load->op.text));
        load_fail(load, load->op.err == ERR_CORRUPT ? ERR_CORRUPT : ERR_UNAVAILABLE,
            load->op.text[0] ? load->op.text : err_text(load->op.err));
    } else if (load->pointer) {
        pointer_loaded(load);
    } else {
        run_loaded(load);
    }
    load_free(load);
    workflow_run_waiting(workflow);
}

static void load_start(struct workflow *workflow, bool pointer, struct uuid run_id)
{
    struct executor *executor = workflow->executor;
    struct load *load = mem_new(struct load);
    load->executor = executor;
    load->workflow = workflow;
    load->pointer = pointer;
    load->run_id = run_id;
    load->op.mail.deliver = load_delivered;
    load->op.reply_to = executor->mailbox;
    load->op.arena = &load->arena;
    if (pointer) {
        load->get.table = TABLE_CURRENT_RUN;
        load->get.shard = workflow->shard;
        load->get.key =
            key_current_run(&load->arena, workflow->namespace_id, workflow->workflow_id);
        load->op.kind = STORE_GET;
        load->op.get.keys = &load->get;
        load->op.get.count = 1;
    } else {
        load->op.kind = STORE_CUSTOM;
        load->op.custom.fn = read_run;
        load->op.custom.ctx = load;
    }
    workflow->loading = true;
    executor->loads++;
    store_submit(executor->store, &load->op);
}

bool workflow_load_missing(struct workflow *workflow, const struct request *request)
{
    if (workflow->loading)
        return true;
    if (!workflow->current_known) {
        load_start(workflow, true, (struct uuid){0});
        return true;
    }
    if (!uuid_is_zero(workflow->current_run_id) &&
        !workflow_run(workflow, workflow->current_run_id)) {
        load_start(workflow, false, workflow->current_run_id);
        return true;
    }
    if (request->want == REQUEST_RUN && !request->run_missing &&
        !workflow_run(workflow, request->run_id)) {
        load_start(workflow, false, request->run_id);
        return true;
    }
    return false;
}
