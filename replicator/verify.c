/* SPDX-License-Identifier: Apache-2.0
 *
 * Compares the runs of a namespace with another cluster's: page by page of the other's table run,
 * shard by shard (numbers of shards may differ), each run is looked up here; at the end the runs
 * here are counted, and what was not met is missing there.
 *
 *   ask a page ─► look the runs up here ─► compare ─► next page, next shard ─► count ─► done
 *
 * No run is locked for this: a run that moves while it is compared shows as behind.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/replicator_private.h"

#define PAGE_ROWS  256u
#define TIMEOUT_NS (10 * NS_PER_S)
#define COUNT_ROWS 512u

struct verification {
    struct mail begin;
    struct replicator *replicator;
    struct uuid namespace_id;
    int cluster;
    verify_done_fn *done;
    void *ctx;
    struct arena arena; /* of the whole */
    struct arena page;  /* of one page */
    struct store_op op;
    int32_t shard;
    int32_t shards;
    uint8_t after[16];
    size_t after_len;
    Replication__RunDigests *theirs;
    struct store_get *gets;
    bool more;
    int64_t met;   /* runs of the other one that are here too */
    int64_t local; /* runs here */
    struct verify_difference differences[VERIFY_DIFFERENCES_MAX];
    struct verify_result result;
};

const char *verify_kind_text(enum verify_kind kind)
{
    switch (kind) {
    case VERIFY_MISSING_HERE:
        return "missing here";
    case VERIFY_MISSING_THERE:
        return "missing there";
    case VERIFY_BEHIND_HERE:
        return "behind here";
    case VERIFY_BEHIND_THERE:
        return "behind there";
    case VERIFY_DIFFERENT:
        return "different events";
    }
    return "unknown";
}

/* ---- the end --------------------------------------------------------------------------------- */

static void verify_end(struct verification *verify, enum err err, const char *text)
{
    verify->result.err = err;
    verify->result.text = text;
    verify->result.differences = verify->differences;
    verify->done(verify->ctx, &verify->result);
    verify->replicator->under_way--;
    arena_release(&verify->page);
    arena_release(&verify->arena);
    mem_free(verify);
}

static bool verify_stopped(struct verification *verify)
{
    if (!replicator_stopping(verify->replicator) && !verify->replicator->closing)
        return false;
    verify_end(verify, ERR_CLOSED, "server is shutting down");
    return true;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static struct verify_difference *difference(struct verification *verify, enum verify_kind kind)
{
    static struct verify_difference ignored;
    verify->result.difference_count++;
    if (verify->result.listed == VERIFY_DIFFERENCES_MAX)
        return &ignored;
    struct verify_difference *added = &verify->differences[verify->result.listed++];
    *added = (struct verify_difference){.kind = kind, .workflow_id = ""};
    return added;
}

static void differs(struct verification *verify, enum verify_kind kind,
    const Replication__RunDigests__Entry *theirs, int64_t event_id_here)
{
    struct uuid run_id = {{0}};
    (void)uuid_from(theirs->run_id, &run_id); /* was checked when it was looked up */
    struct verify_difference *added = difference(verify, kind);
    added->workflow_id = arena_strdup(&verify->arena, theirs->workflow_id);
    uuid_format(run_id, added->run_id);
    added->event_id_here = event_id_here;
    added->event_id_there = theirs->last_event_id;
}

static void compare(struct verification *verify, const Replication__RunDigests__Entry *theirs,
    const struct store_row *row)
{
    verify->result.runs_compared++;
    if (!row->found) {
        differs(verify, VERIFY_MISSING_HERE, theirs, 0);
        return;
    }
    verify->met++;
    const Record__RunHead *head =
        proto_unpack(&verify->page, &record__run_head__descriptor, row->value);
    if (!head || head->current_branch >= head->n_branches) {
        differs(verify, VERIFY_DIFFERENT, theirs, 0);
        return;
    }
    const Record__Branch *branch = head->branches[head->current_branch];
    int64_t last = branch->next_event_id - 1;
    if (last < theirs->last_event_id)
        differs(verify, VERIFY_BEHIND_HERE, theirs, last);
    else if (last > theirs->last_event_id)
        differs(verify, VERIFY_BEHIND_THERE, theirs, last);
    else if (branch->digest != theirs->digest || head->status != theirs->status)
        differs(verify, VERIFY_DIFFERENT, theirs, last);
    else
        verify->result.runs_equal++;
}

/* ---- counting -------------------------------------------------------------------------------- */

/* On a reader session's thread. Expiring runs are not compared and not counted. */
static enum err count_local(struct store_session *session, struct store_op *op, void *ctx)
{
    (void)op;
    struct verification *verify = ctx;
    const struct replicator *replicator = verify->replicator;
    int64_t expired = env_wall_ns(replicator->env) + 60 * NS_PER_S;
    for (int32_t shard = 0; shard < replicator->options.shards; shard++) {
        struct bytes from = {0};
        uint8_t behind[17] = {0};
        struct store_scan scan = {.more = true};
        while (scan.more) {
            arena_reset(&verify->page);
            scan = (struct store_scan){
                .table = TABLE_RUN, .shard = shard, .from = from, .limit_rows = COUNT_ROWS};
            enum err err = session_scan(session, &verify->page, &scan);
            if (err)
                return err;
            for (size_t i = 0; i < scan.row_count; i++)
                verify->local += uuid_equal(scan.rows[i].namespace_id, verify->namespace_id) &&
                                 (scan.rows[i].expire_ns > expired);
            if (!scan.more)
                break;
            memcpy(behind, scan.rows[scan.row_count - 1].key.data, 16);
            from = bytes_make(behind, sizeof(behind));
        }
    }
    return OK;
}

static void counted(struct mail *mail, void *owner)
{
    struct verification *verify = CONTAINER_OF(mail, struct verification, op.mail);
    replicator_store_done(owner);
    if (verify->op.err) {
        verify_end(verify, verify->op.err, "the runs here cannot be counted");
        return;
    }
    for (int64_t i = verify->met; i < verify->local; i++)
        (void)difference(verify, VERIFY_MISSING_THERE); /* only counted */
    verify_end(verify, OK, "");
}

static void count_start(struct verification *verify)
{
    arena_reset(&verify->page);
    verify->op = (struct store_op){.kind = STORE_CUSTOM, .arena = &verify->page};
    verify->op.custom.fn = count_local;
    verify->op.custom.ctx = verify;
    replicator_store(verify->replicator, &verify->op, counted);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void ask_page(struct verification *verify);

static void next_page(struct verification *verify)
{
    if (verify_stopped(verify))
        return;
    if (verify->more) {
        ask_page(verify);
        return;
    }
    verify->after_len = 0;
    if (++verify->shard < verify->shards)
        ask_page(verify);
    else
        count_start(verify);
}

static void looked_up(struct mail *mail, void *owner)
{
    struct verification *verify = CONTAINER_OF(mail, struct verification, op.mail);
    replicator_store_done(owner);
    if (verify->op.err) {
        verify_end(verify, verify->op.err, "the runs here cannot be read");
        return;
    }
    for (size_t i = 0; i < verify->theirs->n_entries; i++)
        compare(verify, verify->theirs->entries[i], &verify->gets[i].row);
    next_page(verify);
}

static bool page_is_usable(const Replication__RunDigests *page)
{
    if (!page || page->shards < 1 || page->shards > SHARDS_MAX)
        return false;
    for (size_t i = 0; i < page->n_entries; i++) {
        size_t len = strlen(page->entries[i]->workflow_id);
        if (page->entries[i]->run_id.len != 16 || len == 0 || len > ID_BYTES_MAX)
            return false;
    }
    return true;
}

static void look_up(struct verification *verify)
{
    size_t count = verify->theirs->n_entries;
    if (count == 0) {
        next_page(verify);
        return;
    }
    verify->gets = arena_zalloc(&verify->page, count, sizeof(*verify->gets));
    for (size_t i = 0; i < count; i++) {
        const Replication__RunDigests__Entry *entry = verify->theirs->entries[i];
        verify->gets[i].table = TABLE_RUN;
        verify->gets[i].shard = engine_shard(
            verify->replicator->engine, verify->namespace_id, bytes_of(entry->workflow_id));
        verify->gets[i].key = bytes_from(entry->run_id);
    }
    verify->op = (struct store_op){.kind = STORE_GET, .arena = &verify->page};
    verify->op.get.keys = verify->gets;
    verify->op.get.count = count;
    replicator_store(verify->replicator, &verify->op, looked_up);
}

static void page_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct verification *verify = ctx;
    if (!err && response->grpc_code != GRPC_OK)
        err = ERR_UNAVAILABLE;
    if (err) {
        verify_end(verify, err, "the other cluster does not answer");
        return;
    }
    arena_reset(&verify->page);
    verify->theirs = proto_unpack(
        &verify->page, &replication__run_digests__descriptor, bytes_from(response->body));
    if (!page_is_usable(verify->theirs)) {
        verify_end(verify, ERR_CORRUPT, "the other cluster's answer does not decode");
        return;
    }
    verify->shards = verify->theirs->shards;
    verify->more = verify->theirs->more && response->next_token.len == 16;
    if (verify->more) {
        memcpy(verify->after, response->next_token.data, 16);
        verify->after_len = 16;
    }
    look_up(verify);
}

static void ask_page(struct verification *verify)
{
    Replication__VerifyRange range;
    replication__verify_range__init(&range);
    range.namespace_id = binary_of(uuid_view(&verify->namespace_id));
    range.shard = verify->shard;
    range.after_run_id = binary_of(bytes_make(verify->after, verify->after_len));
    range.limit = PAGE_ROWS;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_VERIFY_RANGE;
    request.verify_range = &range;
    replicator_peer_call(
        verify->replicator, verify->cluster, &request, TIMEOUT_NS, page_answered, verify);
}

static void verify_begin(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct verification *verify = CONTAINER_OF(mail, struct verification, begin);
    replicator->under_way++;
    if (!verify_stopped(verify))
        ask_page(verify);
}

void replicator_verify(struct replicator *replicator, struct uuid namespace_id, int cluster,
    verify_done_fn *done, void *ctx)
{
    struct verification *verify = mem_new(struct verification);
    verify->replicator = replicator;
    verify->namespace_id = namespace_id;
    verify->cluster = cluster;
    verify->done = done;
    verify->ctx = ctx;
    verify->shards = 1;
    verify->begin.deliver = verify_begin;
    mailbox_complete(replicator->mailbox, &verify->begin);
}
