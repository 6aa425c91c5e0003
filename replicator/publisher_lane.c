/* SPDX-License-Identifier: Apache-2.0
 *
 * One lane: rows become envelopes, envelopes become publications.
 *
 *   rows ─► gather ─► publish ─► in flight ─┬─ acknowledged ─► acked moves
 *             ▲                             └─ failed ─► (all ended) ─► back to acked
 *             └────────── rewind: a target misses rows ◄──────────────────┘
 *
 * L1  Envelopes of a lane are published in the order of their ranges, and the next one begins where
 *     the one before ended.
 * L2  The position only moves back when nothing is in flight; receivers drop what they know.
 * L3  When idle, one row goes at once; while answers are outstanding, rows collect until an
 *     envelope is full.
 */
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/batch.h"
#include "replicator/envelope.h"
#include "replicator/publisher_private.h"

#define SMALL_FLIGHT_MAX   4u /* publications in flight before rows collect (L3) */
#define RETRY_NS           (NS_PER_S / 2)
#define FULL_NS            NS_PER_S
#define SILENT_NS          (10 * NS_PER_S) /* a target that reports nothing for so long */
#define SILENT_FACTOR      15              /* gets heartbeats less often */
#define ITEM_OVERHEAD      96u
#define NAMESPACES_MAX     64u  /* told apart in one envelope's lag marks */
#define MESSAGE_MARGIN     1024 /* of the payload limit, for the server's headers */
#define BATCH_COUNT_OFFSET 4u

/** An envelope being gathered. */
struct gathered {
    Replication__Item **items;
    size_t count;
    size_t capacity;
    size_t bytes;
    int64_t last_seq;
    struct lag_mark marks[NAMESPACES_MAX];
    size_t mark_count;
};

void lane_wake(struct lane *lane)
{
    if (!list_linked(&lane->ready))
        list_push_back(&lane->publisher->ready, &lane->ready);
}

/* ---- lag ------------------------------------------------------------------------------------- */

void marks_drop(struct lane *lane, int64_t up_to_seq)
{
    while (!list_empty(&lane->marks)) {
        struct lag_mark *mark = CONTAINER_OF(lane->marks.next, struct lag_mark, link);
        if (mark->last_seq > up_to_seq)
            return;
        list_remove(&mark->link);
        lane->mark_count--;
        mem_free(mark);
    }
}

void marks_free(struct lane *lane)
{
    marks_drop(lane, INT64_MAX);
}

/* What is published again is marked again. */
static void marks_rewind(struct lane *lane, int64_t seq)
{
    while (!list_empty(&lane->marks)) {
        struct lag_mark *mark = CONTAINER_OF(lane->marks.prev, struct lag_mark, link);
        if (mark->last_seq <= seq)
            return;
        list_remove(&mark->link);
        lane->mark_count--;
        mem_free(mark);
    }
}

/* Beyond the bound a mark joins the newest one of its namespace: the lag is then reported as a
 * little older than it is. */
static bool mark_join(struct lane *lane, const struct lag_mark *mark)
{
    if (lane->mark_count < MARKS_MAX)
        return false;
    for (struct list *at = lane->marks.prev; at != &lane->marks; at = at->prev) {
        struct lag_mark *known = CONTAINER_OF(at, struct lag_mark, link);
        if (!uuid_equal(known->namespace_id, mark->namespace_id))
            continue;
        known->events += mark->events;
        known->last_seq = mark->last_seq;
        list_remove(&known->link);
        list_push_back(&lane->marks, &known->link);
        return true;
    }
    return false;
}

static void marks_add(struct lane *lane, const struct gathered *gathered)
{
    if (gathered->last_seq <= lane->drained)
        return; /* sent once more, and known there */
    for (size_t i = 0; i < gathered->mark_count; i++) {
        struct lag_mark mark = gathered->marks[i];
        mark.last_seq = gathered->last_seq;
        if (mark_join(lane, &mark))
            continue;
        struct lag_mark *added = mem_new(struct lag_mark);
        *added = mark;
        list_push_back(&lane->marks, &added->link);
        lane->mark_count++;
    }
}

static void count_events(struct gathered *gathered, const Replication__Item *item)
{
    struct uuid namespace_id;
    if (item->kind != RECORD__OUTBOX_ITEM__KIND__EVENTS || item->value.len < BATCH_HEADER_BYTES ||
        !uuid_from(item->namespace_id, &namespace_id))
        return;
    uint32_t events = 0;
    for (size_t i = 0; i < 4; i++)
        events |= (uint32_t)item->value.data[BATCH_COUNT_OFFSET + i] << (8 * i);
    size_t at = 0;
    while (at < gathered->mark_count && !uuid_equal(gathered->marks[at].namespace_id, namespace_id))
        at++;
    if (at == NAMESPACES_MAX)
        at = 0;
    if (at == gathered->mark_count) {
        gathered->marks[at] =
            (struct lag_mark){.namespace_id = namespace_id, .oldest_ns = item->commit_time};
        gathered->mark_count++;
    }
    gathered->marks[at].events += events;
}

/* ---- gathering ------------------------------------------------------------------------------- */

static void gather_item(
    struct lane *lane, struct gathered *gathered, const struct outbox_row *row, size_t index)
{
    struct arena *arena = &lane->publisher->scratch;
    const Record__OutboxItem *from = row->row->items[index];
    bool barrier = from->kind == RECORD__OUTBOX_ITEM__KIND__BARRIER;
    bool deleted = from->kind == RECORD__OUTBOX_ITEM__KIND__RUN_DELETED;
    if (!row->values[index].data && !barrier && !deleted)
        return; /* gone since: a later item says what became of it */
    Replication__Item *item = arena_new(arena, Replication__Item);
    replication__item__init(item);
    item->seq = row->seq;
    item->index = (int32_t)index;
    item->kind = from->kind;
    item->namespace_id = from->namespace_id;
    item->workflow_id = from->workflow_id;
    item->run_id = from->run_id;
    item->version = from->version;
    item->n_version_history = from->n_version_history;
    item->version_history = from->version_history;
    item->value = binary_of(row->values[index]);
    item->fact_id = from->fact_id;
    item->handover_id = from->handover_id;
    item->commit_time = row->row->commit_time;
    item->branch = from->branch;
    if (gathered->count == gathered->capacity) {
        size_t capacity = gathered->capacity ? gathered->capacity * 2 : 64;
        Replication__Item **items = arena_zalloc(arena, capacity, sizeof(*items));
        if (gathered->count > 0)
            memcpy(items, gathered->items, gathered->count * sizeof(*items));
        gathered->items = items;
        gathered->capacity = capacity;
    }
    gathered->items[gathered->count++] = item;
    gathered->bytes +=
        item->value.len + strlen(item->workflow_id) + 12 * item->n_version_history + ITEM_OVERHEAD;
    count_events(gathered, item);
}

static void gather_row(struct lane *lane, struct gathered *gathered, const struct outbox_row *row)
{
    const char *target = cluster_name(lane->publisher->replicator, lane->target);
    for (size_t i = 0; i < row->count; i++) {
        const Record__OutboxItem *item = row->row->items[i];
        for (size_t k = 0; k < item->n_targets; k++) {
            if (strcmp(item->targets[k], target) == 0) {
                gather_item(lane, gathered, row, i);
                break;
            }
        }
    }
}

/* The bytes that a row would add at most. */
static size_t row_size(const struct outbox_row *row)
{
    size_t bytes = 0;
    for (size_t i = 0; i < row->count; i++) {
        const Record__OutboxItem *item = row->row->items[i];
        bytes += row->values[i].len + strlen(item->workflow_id) + 12 * item->n_version_history +
                 ITEM_OVERHEAD;
    }
    return bytes;
}

static bool gathered_full(const struct gathered *gathered)
{
    return gathered->count >= ENVELOPE_ITEMS_MAX || gathered->bytes >= ENVELOPE_BYTES_MAX;
}

/* A row is never divided between envelopes. One that has to wait for the next envelope is looked at
 * again: rows of a load are found by their seq. */
static void gather(struct lane *lane, struct gathered *gathered)
{
    for (;;) {
        int64_t covered;
        struct outbox_row *row = row_next(lane, &covered);
        if (row && gathered->count > 0 &&
            (gathered->count + row->count > ENVELOPE_ITEMS_MAX ||
                gathered->bytes + row_size(row) > ENVELOPE_BYTES_MAX)) {
            if (lane->load && lane->load->used > 0)
                lane->load->used--;
            gathered->bytes = ENVELOPE_BYTES_MAX; /* full */
            break;
        }
        if (row)
            gather_row(lane, gathered, row);
        if (covered <= lane->scanned)
            break;
        lane->scanned = covered;
        if (gathered_full(gathered))
            break;
    }
    gathered->last_seq = lane->scanned;
}

/* ---- publications ---------------------------------------------------------------------------- */

static void flight_settle(struct lane *lane)
{
    struct replicator *replicator = lane->publisher->replicator;
    while (!list_empty(&lane->flight)) {
        struct publication *first = CONTAINER_OF(lane->flight.next, struct publication, link);
        if (!first->ended)
            return;
        list_remove(&first->link);
        lane->flight_count--;
        if (first->op.err)
            lane->broken = true;
        else if (!lane->broken && first->last_seq > lane->acked)
            lane->acked = first->last_seq;
        mem_free(first);
    }
    if (!replicator->closing)
        lane_wake(lane);
}

static void publication_failed(struct lane *lane, enum err err)
{
    struct publisher *publisher = lane->publisher;
    struct replicator *replicator = publisher->replicator;
    counter_add(publisher->failures, 1);
    lane->broken = true;
    lane->paused = err == ERR_BUSY;
    lane->paused_until_mono = replicator->mono_ns + (err == ERR_BUSY ? FULL_NS : RETRY_NS);
    if (err == ERR_NOT_FOUND)
        publisher_stream_lost(publisher, lane->target);
    else if (err == ERR_TOO_LARGE || err == ERR_INVALID)
        log_error("publish.refused", "target=%s shard=%d seq=%lld err=%s",
            cluster_name(replicator, lane->target), lane->shard, (long long)(lane->acked + 1),
            err_name(err));
}

static void publication_ended(struct mail *mail, void *owner)
{
    (void)owner;
    struct publication *publication = CONTAINER_OF(mail, struct publication, op.mail);
    struct lane *lane = publication->lane;
    lane->publisher->flight_bytes -= publication->bytes;
    publication->ended = true;
    if (publication->op.err)
        publication_failed(lane, publication->op.err);
    flight_settle(lane);
}

static void send_message(struct lane *lane, struct blob *message, int64_t last_seq)
{
    struct publisher *publisher = lane->publisher;
    struct publication *publication = mem_new(struct publication);
    publication->lane = lane;
    publication->last_seq = last_seq;
    publication->bytes = message->len;
    publication->op.mail.deliver = publication_ended;
    publication->op.reply_to = publisher->replicator->mailbox;
    list_push_back(&lane->flight, &publication->link);
    lane->flight_count++;
    publisher->flight_bytes += message->len;
    counter_add(publisher->published, 1);
    bus_publish(publisher->replicator->bus, lane->subject, message, &publication->op);
}

static void publish(struct lane *lane, const struct gathered *gathered)
{
    struct publisher *publisher = lane->publisher;
    struct replicator *replicator = publisher->replicator;
    Replication__Envelope envelope;
    replication__envelope__init(&envelope);
    envelope.format = 1;
    envelope.source = text_field(replicator->self);
    envelope.target = text_field(cluster_name(replicator, lane->target));
    envelope.shard = lane->shard;
    envelope.epoch = replicator->epoch;
    envelope.prev_seq = lane->sent;
    envelope.last_seq = gathered->last_seq;
    envelope.sent_time = env_wall_ns(replicator->env);
    envelope.newest_seq = atomic_load(&publisher->outs[lane->shard].newest);
    envelope.n_items = gathered->count;
    envelope.items = gathered->items;
    struct blob *frame = envelope_encode(&envelope);
    size_t max = (size_t)(bus_payload_max(replicator->bus) - MESSAGE_MARGIN);
    size_t parts = envelope_parts(blob_view(frame), max);
    lane->sent = gathered->last_seq;
    lane->published_mono = replicator->mono_ns;
    pthread_mutex_lock(&replicator->mutex);
    marks_add(lane, gathered);
    pthread_mutex_unlock(&replicator->mutex);
    if (parts <= 1) {
        send_message(lane, frame, gathered->last_seq);
    } else {
        for (size_t i = 0; i < parts; i++) {
            struct blob *part = envelope_part(blob_view(frame), max, i);
            send_message(lane, part, i + 1 == parts ? gathered->last_seq : 0);
            blob_unref(part);
        }
    }
    blob_unref(frame);
}

/* ---- the lane -------------------------------------------------------------------------------- */

void lane_rewind(struct lane *lane, int64_t seq)
{
    if (seq < lane->sent && (lane->rewind < 0 || seq < lane->rewind))
        lane->rewind = seq;
    lane_wake(lane);
}

static void go_back(struct lane *lane)
{
    int64_t seq = lane->acked > lane->drained ? lane->acked : lane->drained;
    if (lane->rewind >= 0 && lane->rewind < seq)
        seq = lane->rewind;
    lane->rewind = -1;
    lane->broken = false;
    load_abandon(lane);
    load_forget_spent(lane);
    lane->scanned = seq;
    lane->sent = seq;
    lane->acked = seq;
    struct replicator *replicator = lane->publisher->replicator;
    pthread_mutex_lock(&replicator->mutex);
    marks_rewind(lane, seq);
    pthread_mutex_unlock(&replicator->mutex);
}

/* Less often to a target that does not answer, so that its stream does not fill with nothing. */
static int64_t heartbeat_mono(const struct lane *lane)
{
    const struct replicator *replicator = lane->publisher->replicator;
    int64_t interval = replicator->options.config->heartbeat_ms * NS_PER_MS;
    bool silent = replicator->mono_ns - lane->report_mono > SILENT_NS;
    if (silent && lane->published_mono && lane->scanned == lane->sent)
        interval *= SILENT_FACTOR;
    return lane->published_mono + interval;
}

static bool lane_may_publish(struct lane *lane)
{
    struct publisher *publisher = lane->publisher;
    struct replicator *replicator = publisher->replicator;
    struct target *target = &publisher->targets[lane->target];
    if (replicator_stopping(replicator) || !publisher->connected || !target->stream_ready)
        return false;
    if (lane->broken || lane->rewind >= 0) {
        if (lane->flight_count > 0)
            return false;
        go_back(lane);
    }
    if (lane->paused_until_mono > replicator->mono_ns) {
        heap_set(&publisher->timers, &lane->timer, lane->paused_until_mono);
        return false;
    }
    lane->paused = false;
    return lane->flight_count < LANE_WINDOW && publisher->flight_bytes < FLIGHT_BYTES_MAX;
}

static bool rows_are_waiting(const struct lane *lane)
{
    return row_kept(lane->publisher, lane->shard, lane->scanned + 1) ||
           (lane->load && lane->load->ready);
}

void lane_run(struct lane *lane)
{
    struct publisher *publisher = lane->publisher;
    struct replicator *replicator = publisher->replicator;
    while (lane_may_publish(lane)) {
        bool beat = replicator->mono_ns >= heartbeat_mono(lane);
        bool collect = lane->flight_count >= SMALL_FLIGHT_MAX;
        if (collect &&
            lane->publisher->outs[lane->shard].known - lane->scanned <
                (int64_t)ENVELOPE_ITEMS_MAX / 8 &&
            !beat)
            break; /* L3: an answer wakes us */
        arena_reset(&publisher->scratch);
        struct gathered *gathered = arena_new(&publisher->scratch, struct gathered);
        gather(lane, gathered);
        bool any = gathered->count > 0 || beat;
        if (any)
            publish(lane, gathered);
        load_forget_spent(lane);
        if (!any)
            break;
        if (!rows_are_waiting(lane))
            break;
    }
    if (!replicator_stopping(replicator) && lane->paused_until_mono <= replicator->mono_ns) {
        int64_t beat = heartbeat_mono(lane);
        if (beat <= replicator->mono_ns)
            beat = replicator->mono_ns + RETRY_NS; /* something else holds it up */
        heap_set(&publisher->timers, &lane->timer, beat);
    }
}
