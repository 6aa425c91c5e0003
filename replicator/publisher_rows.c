/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the publisher's rows come from: handed over by executors and kept in memory, or read from
 * the table when they are not there (any more).
 *
 * I1  The rows kept of a shard are contiguous. A row that was not handed over makes the older ones
 *     useless, because every lane behind it must read from the table anyway.
 * I2  A row that the table does not have below one that it has was trimmed: nothing to ship.
 */
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/run.h"
#include "replicator/publisher_private.h"

#define LOAD_ROWS_MAX  256u
#define LOAD_BYTES_MAX (4u * MIB)

/* ---- handed over ----------------------------------------------------------------------------- */

void row_free(struct outbox_row *row)
{
    atomic_fetch_sub(&row->publisher->row_bytes_all, row->bytes);
    for (size_t i = 0; i < row->count; i++)
        blob_unref(row->blobs[i]);
    arena_release(&row->arena);
    mem_free(row);
}

/* The table has it. */
static void skip(struct publisher *publisher, int32_t shard, int64_t seq)
{
    atomic_store(&publisher->outs[shard].skipped, seq);
    atomic_store(&publisher->skipped, true);
    if (publisher->replicator->options.waker)
        waker_wake(publisher->replicator->options.waker);
}

/* Executors' threads. Two allocations per commit and shard; the payload is not copied. */
void publisher_committed(void *ctx, int32_t shard, int64_t seq, struct bytes packed,
    struct blob *const *values, size_t count)
{
    struct publisher *publisher = ctx;
    struct replicator *replicator = publisher->replicator;
    struct shard_out *out = &publisher->outs[shard];
    atomic_store(&out->newest_ns, env_wall_ns(replicator->env));
    atomic_store(&out->newest, seq);
    size_t bytes = packed.len;
    for (size_t i = 0; i < count; i++)
        bytes += values[i] ? values[i]->len : 0;
    bool room = atomic_load(&publisher->row_bytes_all) + bytes <= ROW_BYTES_HARD_MAX;
    if (replicator_stopping(replicator) || !replicator->bus || !room) {
        skip(publisher, shard, seq);
        return;
    }
    struct outbox_row *row = mem_new(struct outbox_row);
    row->mail.deliver = row_delivered;
    row->publisher = publisher;
    row->shard = shard;
    row->seq = seq;
    row->bytes = bytes;
    row->packed = bytes_copy(&row->arena, packed);
    row->count = count;
    row->values = arena_zalloc(&row->arena, count + 1, sizeof(*row->values));
    row->blobs = arena_zalloc(&row->arena, count + 1, sizeof(*row->blobs));
    for (size_t i = 0; i < count; i++) {
        row->blobs[i] = values[i] ? blob_retain(values[i]) : NULL;
        if (values[i])
            row->values[i] = blob_view(values[i]);
    }
    atomic_fetch_add(&publisher->row_bytes_all, bytes);
    if (mailbox_post(replicator->mailbox, &row->mail)) {
        row_free(row);
        skip(publisher, shard, seq);
    }
}

static void wake_lanes(struct publisher *publisher, int32_t shard)
{
    for (int i = 0; i < publisher->replicator->federation->count; i++) {
        if (publisher->targets[i].lanes)
            lane_wake(&publisher->targets[i].lanes[shard]);
    }
}

void rows_find_skipped(struct publisher *publisher)
{
    if (!atomic_exchange(&publisher->skipped, false))
        return;
    for (int32_t i = 0; i < publisher->shards; i++) {
        struct shard_out *out = &publisher->outs[i];
        int64_t skipped = atomic_load(&out->skipped);
        if (skipped <= out->known)
            continue;
        out->known = skipped;
        wake_lanes(publisher, i);
    }
}

static void kept_clear(struct publisher *publisher, struct shard_out *out)
{
    while (out->count > 0) {
        struct outbox_row *row = out->ring[(size_t)out->first & (out->capacity - 1)];
        out->first++;
        out->count--;
        publisher->row_bytes -= row->bytes;
        list_remove(&row->link);
        row_free(row);
    }
}

static void kept_grow(struct shard_out *out)
{
    size_t capacity = out->capacity ? out->capacity * 2 : 64;
    struct outbox_row **ring = mem_zalloc(capacity, sizeof(struct outbox_row *));
    for (size_t i = 0; i < out->count; i++) {
        size_t seq = (size_t)out->first + i;
        ring[seq & (capacity - 1)] = out->ring[seq & (out->capacity - 1)];
    }
    mem_free(out->ring);
    out->ring = ring;
    out->capacity = capacity;
}

void row_delivered(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct outbox_row *row = CONTAINER_OF(mail, struct outbox_row, mail);
    struct publisher *publisher = row->publisher;
    struct shard_out *out = &publisher->outs[row->shard];
    row->row = replicator->closing
                   ? NULL
                   : proto_unpack(&row->arena, &record__outbox_row__descriptor, row->packed);
    if (!row->row || row->row->n_items != row->count) {
        row_free(row);
        return;
    }
    if (row->seq > out->known)
        out->known = row->seq;
    if (out->count == 0)
        out->first = row->seq;
    if (row->seq != out->first + (int64_t)out->count) { /* I1 */
        kept_clear(publisher, out);
        out->first = row->seq;
    }
    if (out->count == out->capacity)
        kept_grow(out);
    out->ring[(size_t)row->seq & (out->capacity - 1)] = row;
    out->count++;
    list_push_back(&publisher->rows, &row->link);
    publisher->row_bytes += row->bytes;
    wake_lanes(publisher, row->shard);
}

struct outbox_row *row_kept(const struct publisher *publisher, int32_t shard, int64_t seq)
{
    const struct shard_out *out = &publisher->outs[shard];
    if (out->count == 0 || seq < out->first || seq >= out->first + (int64_t)out->count)
        return NULL;
    return out->ring[(size_t)seq & (out->capacity - 1)];
}

static int64_t slowest_lane(const struct publisher *publisher, int32_t shard)
{
    int64_t slowest = INT64_MAX;
    for (int i = 0; i < publisher->replicator->federation->count; i++) {
        if (publisher->targets[i].lanes)
            slowest = sooner(slowest, publisher->targets[i].lanes[shard].scanned);
    }
    return slowest;
}

/* The oldest row kept is the first of its shard's too. */
void rows_evict(struct publisher *publisher)
{
    while (!list_empty(&publisher->rows)) {
        struct outbox_row *row = CONTAINER_OF(publisher->rows.next, struct outbox_row, link);
        struct shard_out *out = &publisher->outs[row->shard];
        CHECK(row->seq == out->first);
        if (row->seq > slowest_lane(publisher, row->shard) &&
            publisher->row_bytes <= ROW_BYTES_SOFT_MAX && out->count <= ROWS_KEPT_MAX)
            return;
        out->first++;
        out->count--;
        publisher->row_bytes -= row->bytes;
        list_remove(&row->link);
        row_free(row);
    }
}

/* ---- read from the table --------------------------------------------------------------------- */

static bool item_is_for(const Record__OutboxItem *item, const char *target)
{
    for (size_t i = 0; i < item->n_targets; i++) {
        if (strcmp(item->targets[i], target) == 0)
            return true;
    }
    return false;
}

/* Where the value of an item is stored; false: it has none. */
static bool item_key(struct arena *arena, const Record__OutboxItem *item, struct store_get *get)
{
    struct uuid run_id;
    if (!uuid_from(item->run_id, &run_id))
        return false;
    if (item->kind == RECORD__OUTBOX_ITEM__KIND__EVENTS) {
        get->table = TABLE_HISTORY;
        get->key = key_history(arena, run_id, item->branch, item->first_event_id);
        return true;
    }
    uint32_t kind = FACT_BUFFERED;
    if (item->kind == RECORD__OUTBOX_ITEM__KIND__ACTIVITY)
        kind = FACT_ACTIVITY;
    else if (item->kind != RECORD__OUTBOX_ITEM__KIND__BUFFERED)
        return false;
    uint8_t id[8];
    for (int i = 0; i < 8; i++)
        id[i] = (uint8_t)((uint64_t)item->fact_id >> (56 - 8 * i));
    get->table = TABLE_FACT;
    get->key = key_fact(arena, run_id, kind, bytes_make(id, sizeof(id)));
    return true;
}

static enum err load_values(
    struct store_session *session, struct row_load *load, struct outbox_row *row, size_t *bytes)
{
    struct arena *arena = &load->arena;
    const char *target = cluster_name(load->lane->publisher->replicator, load->lane->target);
    size_t count = row->row->n_items;
    row->values = arena_zalloc(arena, count + 1, sizeof(*row->values));
    struct store_get *gets = arena_zalloc(arena, count + 1, sizeof(*gets));
    size_t *items = arena_zalloc(arena, count + 1, sizeof(*items));
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        if (!item_is_for(row->row->items[i], target))
            continue;
        gets[wanted].shard = load->lane->shard;
        if (item_key(arena, row->row->items[i], &gets[wanted]))
            items[wanted++] = i;
    }
    if (wanted == 0)
        return OK;
    enum err err = session_get(session, arena, gets, wanted);
    for (size_t i = 0; !err && i < wanted; i++) {
        if (gets[i].row.found) {
            row->values[items[i]] = gets[i].row.value;
            *bytes += gets[i].row.value.len;
        }
    }
    return err;
}

/* Runs on a reader session's thread: touches the load, and of the lane only what never changes. */
static enum err load_read(struct store_session *session, struct store_op *op, void *ctx)
{
    (void)op;
    struct row_load *load = ctx;
    struct arena *arena = &load->arena;
    struct store_scan scan = {.table = TABLE_OUTBOX,
        .shard = load->lane->shard,
        .from = key_seq(arena, load->from),
        .limit_rows = LOAD_ROWS_MAX,
        .limit_bytes = LOAD_BYTES_MAX};
    enum err err = session_scan(session, arena, &scan);
    if (err)
        return err;
    load->rows = arena_zalloc(arena, scan.row_count + 1, sizeof(*load->rows));
    size_t bytes = 0;
    bool whole = !scan.more;
    for (size_t i = 0; i < scan.row_count; i++) {
        struct outbox_row *row = &load->rows[i];
        row->row = proto_unpack(arena, &record__outbox_row__descriptor, scan.rows[i].value);
        if (!row->row || !key_read_i64(scan.rows[i].key, 0, &row->seq))
            return ERR_CORRUPT;
        row->count = row->row->n_items;
        err = load_values(session, load, row, &bytes);
        if (err)
            return err;
        load->count++;
        load->last = row->seq;
        if (bytes > LOAD_BYTES_MAX && i + 1 < scan.row_count) {
            whole = false;
            break;
        }
    }
    if (whole && load->last < load->newest)
        load->last = load->newest; /* I2 */
    return OK;
}

static void load_free(struct row_load *load)
{
    arena_release(&load->arena);
    mem_free(load);
}

static void load_delivered(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct row_load *load = CONTAINER_OF(mail, struct row_load, op.mail);
    replicator_store_done(replicator);
    if (load->abandoned || replicator->closing) {
        if (!load->abandoned)
            load->lane->load = NULL;
        load_free(load);
        return;
    }
    struct lane *lane = load->lane;
    if (load->op.err) {
        log_warn("outbox.read_failed", "target=%s shard=%d err=%s text=%s",
            cluster_name(replicator, lane->target), lane->shard, err_name(load->op.err),
            log_quote(load->op.text));
        lane->load = NULL;
        load_free(load);
        heap_set(&lane->publisher->timers, &lane->timer, replicator->mono_ns + NS_PER_S / 2);
        return;
    }
    load->ready = true;
    lane_wake(lane);
}

static void load_start(struct lane *lane, int64_t from)
{
    struct row_load *load = mem_new(struct row_load);
    load->lane = lane;
    load->from = from;
    load->newest = lane->publisher->outs[lane->shard].known;
    load->op.kind = STORE_CUSTOM;
    load->op.arena = &load->arena;
    load->op.custom.fn = load_read;
    load->op.custom.ctx = load;
    lane->load = load;
    replicator_store(lane->publisher->replicator, &load->op, load_delivered);
}

void load_forget_spent(struct lane *lane)
{
    if (lane->spent)
        load_free(lane->spent);
    lane->spent = NULL;
}

void load_abandon(struct lane *lane)
{
    struct row_load *load = lane->load;
    if (!load)
        return;
    lane->load = NULL;
    if (!load->ready) {
        load->abandoned = true;
        return;
    }
    CHECK(!lane->spent); /* one gathering sees one finished load */
    lane->spent = load;
}

/* The next row of a finished load. */
static struct outbox_row *load_next(struct lane *lane, int64_t next, int64_t *ret_covered)
{
    struct row_load *load = lane->load;
    while (load->used < load->count && load->rows[load->used].seq < next)
        load->used++;
    if (load->used < load->count) {
        struct outbox_row *row = &load->rows[load->used++];
        *ret_covered = row->seq;
        return row;
    }
    if (load->last >= next)
        *ret_covered = load->last;
    return NULL;
}

struct outbox_row *row_next(struct lane *lane, int64_t *ret_covered)
{
    struct publisher *publisher = lane->publisher;
    int64_t next = lane->scanned + 1;
    *ret_covered = lane->scanned;
    if (lane->load && lane->load->ready) {
        struct outbox_row *row = load_next(lane, next, ret_covered);
        if (row || *ret_covered >= next)
            return row;
        load_abandon(lane); /* used up */
    }
    struct outbox_row *row = row_kept(publisher, lane->shard, next);
    if (row) {
        load_abandon(lane);
        *ret_covered = next;
        return row;
    }
    if (!lane->load && next <= publisher->outs[lane->shard].known &&
        !replicator_stopping(publisher->replicator))
        load_start(lane, next);
    return NULL;
}
