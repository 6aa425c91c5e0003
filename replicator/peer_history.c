/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers from the store: events of a run, and digests of runs.
 *
 * A page of events is a replication.HistoryRange of whole batches. A page larger than a message is
 * cut into chunks: the page is the same for the same event id as long as the run only grows, and a
 * run that was rewritten in between fails the asker's checks, who then begins again.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/batch.h"
#include "cluster/engine/run.h"
#include "replicator/peer_private.h"

#define PAGE_ROWS_MAX    512u
#define PAGE_BYTES_MAX   PEER_BODY_BYTES_MAX
#define FACT_ROWS_MAX    2000u
#define DIGEST_ROWS_MAX  512u
#define SEGMENTS_MAX     64u
#define TOKEN_BYTES      13u
#define PAGE_CHUNKED_MAX (64u * MIB)

/** A read under way. */
struct history_read {
    struct store_op op;
    struct arena arena;
    void *responder;
    struct uuid namespace_id;
    struct uuid run_id;
    struct bytes workflow_id;
    int32_t shard;
    int64_t from;
    int64_t to;     /* exclusive; 0 = to the end */
    int64_t offset; /* of the chunk in the page */
    /* results, made on a reader's thread */
    bool found;
    Replication__HistoryRange range;
    int64_t next; /* the next page begins there; 0 = no further one */
};

/* ---- tokens ---------------------------------------------------------------------------------- */

static struct bytes token_write(struct arena *arena, char kind, int64_t event_id, int64_t offset)
{
    uint8_t *token = arena_alloc(arena, TOKEN_BYTES);
    token[0] = (uint8_t)kind;
    for (int i = 0; i < 8; i++)
        token[1 + i] = (uint8_t)((uint64_t)event_id >> (56 - 8 * i));
    for (int i = 0; i < 4; i++)
        token[9 + i] = (uint8_t)((uint64_t)offset >> (24 - 8 * i));
    return bytes_make(token, TOKEN_BYTES);
}

static bool token_read(ProtobufCBinaryData token, struct history_read *read)
{
    uint32_t offset;
    if (token.len != TOKEN_BYTES ||
        (token.data[0] != PEER_TOKEN_PAGE && token.data[0] != PEER_TOKEN_CHUNK) ||
        !key_read_i64(bytes_from(token), 1, &read->from) ||
        !key_read_u32(bytes_from(token), 9, &offset))
        return false;
    read->offset = offset;
    return read->from >= 1 && offset <= PAGE_CHUNKED_MAX;
}

/* ---- reading: on a reader session's thread --------------------------------------------------- */

/** A stretch of the current line that one branch holds. */
struct segment {
    uint32_t branch;
    int64_t from;
    int64_t to;
};

static const Record__Branch *branch_by_id(const Record__RunHead *head, uint32_t id)
{
    for (size_t i = 0; i < head->n_branches; i++) {
        if (head->branches[i]->id == id)
            return head->branches[i];
    }
    return NULL;
}

/* The current line from `from` on, newest stretch first. 0 = the head is corrupt. */
static size_t line_segments(
    const Record__RunHead *head, int64_t from, struct segment segments[SEGMENTS_MAX])
{
    if (head->current_branch >= head->n_branches)
        return 0;
    const Record__Branch *branch = head->branches[head->current_branch];
    int64_t to = branch->next_event_id;
    for (size_t count = 0; branch && count < SEGMENTS_MAX;) {
        int64_t begin = branch->fork_event_id + 1;
        segments[count++] = (struct segment){branch->id, begin > from ? begin : from, to};
        if (begin <= from || branch->fork_event_id == 0)
            return count;
        to = begin;
        branch = branch_by_id(head, branch->parent);
    }
    return 0;
}

/* Where the batch begins that holds the segment's first event. */
static enum err batch_begin_of(
    struct store_session *session, struct history_read *read, struct segment *segment)
{
    struct store_scan scan = {.table = TABLE_HISTORY,
        .shard = read->shard,
        .from = key_history(&read->arena, read->run_id, segment->branch, 0),
        .to = key_history(&read->arena, read->run_id, segment->branch, segment->from + 1),
        .reverse = true,
        .limit_rows = 1};
    enum err err = session_scan(session, &read->arena, &scan);
    int64_t begin;
    if (!err && scan.row_count == 1 && key_read_i64(scan.rows[0].key, 20, &begin))
        segment->from = begin;
    return err;
}

static enum err read_segment(struct store_session *session, struct history_read *read,
    struct segment segment, bool *ret_full)
{
    struct store_scan scan = {.table = TABLE_HISTORY,
        .shard = read->shard,
        .from = key_history(&read->arena, read->run_id, segment.branch, segment.from),
        .to = key_history(&read->arena, read->run_id, segment.branch, segment.to),
        .limit_rows = PAGE_ROWS_MAX,
        .limit_bytes = PAGE_BYTES_MAX};
    enum err err = session_scan(session, &read->arena, &scan);
    if (err)
        return err;
    size_t count = read->range.n_batches;
    ProtobufCBinaryData *batches =
        arena_zalloc(&read->arena, count + scan.row_count + 1, sizeof(*batches));
    if (count > 0)
        memcpy(batches, read->range.batches, count * sizeof(*batches));
    int64_t last = 0;
    for (size_t i = 0; i < scan.row_count; i++) {
        struct batch batch;
        err = batch_decode(scan.rows[i].value, &batch);
        if (err)
            return err;
        batches[count++] = binary_of(scan.rows[i].value);
        last = batch.first_event_id + batch.event_count;
    }
    read->range.batches = batches;
    read->range.n_batches = count;
    if (scan.more)
        read->next = last;
    *ret_full = scan.more;
    return OK;
}

/* Facts of pending activities go with the last page. */
static enum err read_facts(struct store_session *session, struct history_read *read)
{
    struct arena *arena = &read->arena;
    struct store_scan scan = {.table = TABLE_FACT,
        .shard = read->shard,
        .from = key_fact(arena, read->run_id, FACT_ACTIVITY, (struct bytes){0}),
        .to = key_fact(arena, read->run_id, FACT_ACTIVITY + 1, (struct bytes){0}),
        .limit_rows = FACT_ROWS_MAX,
        .limit_bytes = PAGE_BYTES_MAX};
    enum err err = session_scan(session, arena, &scan);
    if (err)
        return err;
    read->range.facts = arena_zalloc(arena, scan.row_count + 1, sizeof(*read->range.facts));
    for (size_t i = 0; i < scan.row_count; i++)
        read->range.facts[i] = binary_of(scan.rows[i].value);
    read->range.n_facts = scan.row_count;
    return OK;
}

static enum err read_line(
    struct store_session *session, struct history_read *read, const Record__RunHead *head)
{
    struct segment segments[SEGMENTS_MAX];
    size_t count = line_segments(head, read->from, segments);
    if (count == 0)
        return ERR_CORRUPT;
    enum err err = batch_begin_of(session, read, &segments[count - 1]);
    bool full = false;
    while (!err && count > 0 && !full) {
        struct segment segment = segments[--count];
        if (read->to > 0 && segment.to > read->to)
            segment.to = read->to;
        if (segment.from < segment.to)
            err = read_segment(session, read, segment, &full);
        if (!err && !full && count > 0 && read->range.n_batches >= PAGE_ROWS_MAX) {
            read->next = segment.to;
            full = true;
        }
    }
    if (!err && !full)
        err = read_facts(session, read);
    return err;
}

static enum err history_read(struct store_session *session, struct store_op *op, void *ctx)
{
    (void)op;
    struct history_read *read = ctx;
    struct store_get get = {.table = TABLE_RUN,
        .shard = read->shard,
        .key = bytes_copy(&read->arena, uuid_view(&read->run_id))};
    enum err err = session_get(session, &read->arena, &get, 1);
    if (err || !get.row.found)
        return err;
    const Record__RunHead *head =
        proto_unpack(&read->arena, &record__run_head__descriptor, get.row.value);
    if (!head)
        return ERR_CORRUPT;
    if (!bytes_equal(bytes_from(head->namespace_id), uuid_view(&read->namespace_id)) ||
        !bytes_equal(bytes_of(head->workflow_id), read->workflow_id))
        return OK; /* a run of that id, and another one: not found */
    read->found = true;
    if (head->current_branch < head->n_branches) {
        const Record__Branch *branch = head->branches[head->current_branch];
        read->range.n_version_history = branch->n_items;
        read->range.version_history = branch->items;
    }
    return read_line(session, read, head);
}

/* ---- answering ------------------------------------------------------------------------------- */

static void history_respond(struct history_read *read)
{
    struct bytes page = proto_pack(&read->arena, &read->range.base);
    size_t offset = (size_t)read->offset;
    if (offset > page.len || page.len > PAGE_CHUNKED_MAX) {
        peer_respond_code(read->responder, GRPC_ABORTED, "the run changed: begin again");
        return;
    }
    size_t len = page.len - offset;
    size_t max = peer_body_max(read->responder);
    struct bytes token = {0};
    if (len > max) {
        len = max;
        token = token_write(&read->arena, PEER_TOKEN_CHUNK, read->from, (int64_t)(offset + len));
    } else if (read->next > 0) {
        token = token_write(&read->arena, PEER_TOKEN_PAGE, read->next, 0);
    }
    peer_respond_body(read->responder, bytes_make(page.data + offset, len), token);
}

static void history_delivered(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct history_read *read = CONTAINER_OF(mail, struct history_read, op.mail);
    replicator_store_done(replicator);
    if (read->op.err)
        peer_respond_code(read->responder, err_grpc(read->op.err), err_text(read->op.err));
    else if (!read->found)
        peer_respond_code(read->responder, GRPC_NOT_FOUND, "no such run");
    else
        history_respond(read);
    arena_release(&read->arena);
    mem_free(read);
}

void peer_answer_history(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    const Replication__FetchHistory *asked = request->fetch_history;
    struct history_read *read = mem_new(struct history_read);
    replication__history_range__init(&read->range);
    read->responder = responder;
    read->from = asked->from_event_id > 0 ? asked->from_event_id : 1;
    read->to = asked->to_event_id;
    read->workflow_id = bytes_copy(&read->arena, bytes_of(asked->workflow_id));
    bool valid = uuid_from(asked->namespace_id, &read->namespace_id) &&
                 uuid_from(asked->run_id, &read->run_id) && read->to >= 0 &&
                 read->workflow_id.len > 0 && read->workflow_id.len <= ID_BYTES_MAX &&
                 (asked->token.len == 0 || token_read(asked->token, read));
    if (!valid) {
        peer_respond_code(responder, GRPC_INVALID_ARGUMENT, "malformed request for events");
        arena_release(&read->arena);
        mem_free(read);
        return;
    }
    read->shard = engine_shard(replicator->engine, read->namespace_id, read->workflow_id);
    read->op.kind = STORE_CUSTOM;
    read->op.arena = &read->arena;
    read->op.custom.fn = history_read;
    read->op.custom.ctx = read;
    replicator_store(replicator, &read->op, history_delivered);
}

/* ---- digests --------------------------------------------------------------------------------- */

/** A page of table run. */
struct digest_read {
    struct store_op op;
    struct arena arena;
    struct replicator *replicator;
    void *responder;
    struct uuid namespace_id;
};

/* Runs that retention may delete any moment are nobody's difference. */
static bool is_expiring(const struct digest_read *read, const struct store_row *row)
{
    return row->expire_ns != DUE_NONE &&
           row->expire_ns <= env_wall_ns(read->replicator->env) + 60 * NS_PER_S;
}

static void digests_respond(struct digest_read *read)
{
    struct arena *arena = &read->arena;
    const struct store_scan *scan = &read->op.scan;
    Replication__RunDigests digests;
    replication__run_digests__init(&digests);
    digests.shards = read->replicator->options.shards;
    digests.more = scan->more;
    digests.entries = arena_zalloc(arena, scan->row_count + 1, sizeof(*digests.entries));
    struct bytes last = {0};
    for (size_t i = 0; i < scan->row_count; i++) {
        const struct store_row *row = &scan->rows[i];
        last = row->key;
        const Record__RunHead *head =
            proto_unpack(arena, &record__run_head__descriptor, row->value);
        if (!uuid_equal(row->namespace_id, read->namespace_id) || !head ||
            head->current_branch >= head->n_branches || is_expiring(read, row))
            continue;
        const Record__Branch *branch = head->branches[head->current_branch];
        Replication__RunDigests__Entry *entry = arena_new(arena, Replication__RunDigests__Entry);
        replication__run_digests__entry__init(entry);
        entry->run_id = binary_of(row->key);
        entry->workflow_id = head->workflow_id;
        entry->last_event_id = branch->next_event_id - 1;
        entry->last_version = branch->n_items ? branch->items[branch->n_items - 1]->version : 0;
        entry->digest = branch->digest;
        entry->status = head->status;
        digests.entries[digests.n_entries++] = entry;
    }
    peer_respond_body(
        read->responder, proto_pack(arena, &digests.base), scan->more ? last : (struct bytes){0});
}

static void digests_delivered(struct mail *mail, void *owner)
{
    struct digest_read *read = CONTAINER_OF(mail, struct digest_read, op.mail);
    replicator_store_done(owner);
    if (read->op.err)
        peer_respond_code(read->responder, err_grpc(read->op.err), err_text(read->op.err));
    else
        digests_respond(read);
    arena_release(&read->arena);
    mem_free(read);
}

void peer_answer_digests(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    const Replication__VerifyRange *asked = request->verify_range;
    struct digest_read *read = mem_new(struct digest_read);
    struct bytes after = bytes_from(asked->after_run_id);
    if (!uuid_from(asked->namespace_id, &read->namespace_id) || asked->shard < 0 ||
        asked->shard >= replicator->options.shards || (after.len != 0 && after.len != 16)) {
        peer_respond_code(responder, GRPC_INVALID_ARGUMENT, "malformed request for digests");
        mem_free(read);
        return;
    }
    read->replicator = replicator;
    read->responder = responder;
    if (after.len > 0) { /* behind it: the same with a zero byte */
        uint8_t *from = arena_zalloc(&read->arena, 1, after.len + 1);
        memcpy(from, after.data, after.len);
        after = bytes_make(from, after.len + 1);
    }
    uint32_t limit = asked->limit;
    if (limit == 0 || limit > DIGEST_ROWS_MAX)
        limit = DIGEST_ROWS_MAX;
    read->op.kind = STORE_SCAN;
    read->op.arena = &read->arena;
    read->op.scan = (struct store_scan){
        .table = TABLE_RUN, .shard = asked->shard, .from = after, .limit_rows = limit};
    replicator_store(replicator, &read->op, digests_delivered);
}
