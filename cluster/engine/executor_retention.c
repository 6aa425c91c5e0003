/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention: every cluster deletes closed runs by itself, active or passive, when their expiry has
 * passed. Nothing of it is replicated.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/executor_private.h"

#define SCAN_INTERVAL_NS (30 * NS_PER_S)
#define SCAN_ROWS        256u

struct expiry_scan {
    struct store_op op;
    struct arena arena;
};

struct expiry_request {
    struct request request;
    size_t workflow_id_len;
    uint8_t workflow_id[];
};

static void expiry_handle(struct decision *d, struct request *request)
{
    struct run *run = d->run;
    if (run && !run_is_open(run) && run->close_ns + d->ns->retention_ns <= d->now_ns) {
        run->expired = true;
        decision_delete_run(d, run);
    }
    mem_free(CONTAINER_OF(request, struct expiry_request, request));
}

static void expiry_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)executor;
    (void)err;
    (void)text;
    mem_free(CONTAINER_OF(request, struct expiry_request, request)); /* the next scan finds it */
}

static void scan_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct expiry_scan *scan = CONTAINER_OF(mail, struct expiry_scan, op.mail);
    executor->retention_scans--;
    for (size_t i = 0; !scan->op.err && i < scan->op.due.row_count; i++) {
        const struct store_row *row = &scan->op.due.rows[i];
        Record__RunHead *head =
            proto_unpack(&scan->arena, &record__run_head__descriptor, row->value);
        if (!head || row->key.len != 16 || executor->stopping)
            continue;
        size_t len = strlen(head->workflow_id);
        struct expiry_request *expiry = mem_zalloc(1, sizeof(*expiry) + len);
        memcpy(expiry->workflow_id, head->workflow_id, len);
        expiry->request.workflow_id = bytes_make(expiry->workflow_id, len);
        expiry->request.namespace_id = row->namespace_id;
        expiry->request.want = REQUEST_RUN;
        expiry->request.access = REQUEST_APPLY;
        memcpy(expiry->request.run_id.bytes, row->key.data, 16);
        expiry->request.handle = expiry_handle;
        expiry->request.failed = expiry_failed;
        executor_deliver_request(&expiry->request.mail, executor);
    }
    if (!scan->op.err && scan->op.due.more)
        executor->retention_mono_ns = 0;
    arena_release(&scan->arena);
    mem_free(scan);
}

void retention_step(struct executor *executor, int64_t wall_now, int64_t mono_now)
{
    if (mono_now < executor->retention_mono_ns || executor->retention_scans)
        return;
    executor->retention_mono_ns = mono_now + SCAN_INTERVAL_NS;
    for (int32_t i = 0; i < executor->engine->options.shards; i++) {
        if (!executor->shards[i] || !executor->shards[i]->owned)
            continue;
        struct expiry_scan *scan = mem_new(struct expiry_scan);
        scan->op.kind = STORE_DUE;
        scan->op.reply_to = executor->mailbox;
        scan->op.arena = &scan->arena;
        scan->op.mail.deliver = scan_delivered;
        scan->op.due = (struct store_due){
            .shard = i, .expiry = true, .from_ns = 0, .to_ns = wall_now, .limit_rows = SCAN_ROWS};
        executor->retention_scans++;
        store_submit(executor->store, &scan->op);
    }
}
