/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages in, items out to apply and back.
 */
#include "replicator/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/progress.h"

#define ACK_WAIT_NS    (30 * NS_PER_S)
#define BYTES_MAX      ((size_t)96 * MIB)
#define ITEMS_MAX      8192u /* in apply at once */
#define PARTS_MAX      1024u
#define BACK_NS        (NS_PER_S / 2) /* a message that found no room comes again */
#define BUSY_NS        (2 * NS_PER_MS)
#define RETRY_NS       (50 * NS_PER_MS)
#define DISPATCH_LANES 256

/* ---- life ------------------------------------------------------------------------------------ */

static struct inbound *inbound_new(struct receiver *receiver, int source, int32_t shard)
{
    struct inbound *inbound = mem_new(struct inbound);
    inbound->receiver = receiver;
    inbound->source = source;
    inbound->shard = shard;
    inbound->parked_seq = INT64_MAX;
    list_init(&inbound->deliveries);
    list_init(&inbound->held);
    list_init(&inbound->settled);
    list_init(&inbound->retry);
    envelope_joiner_init(&inbound->joiner);
    pthread_mutex_lock(&receiver->replicator->mutex);
    receiver->sources[source].shards[shard] = inbound;
    if (shard >= receiver->sources[source].count)
        receiver->sources[source].count = shard + 1;
    pthread_mutex_unlock(&receiver->replicator->mutex);
    return inbound;
}

struct inbound *receiver_inbound(struct receiver *receiver, int source, int32_t shard)
{
    if (shard < 0 || shard >= SHARDS_MAX)
        return NULL;
    return receiver->sources[source].shards[shard];
}

struct receiver *receiver_open(struct replicator *replicator)
{
    struct receiver *receiver = mem_new(struct receiver);
    size_t count = (size_t)replicator->federation->count;
    receiver->replicator = replicator;
    receiver->sources = mem_zalloc(count, sizeof(*receiver->sources));
    for (size_t i = 0; i < count; i++)
        receiver->sources[i].shards = mem_zalloc(SHARDS_MAX, sizeof(struct inbound *));
    list_init(&receiver->dispatch);
    receiver->sweep_mono = INT64_MAX;
    struct metrics *metrics = replicator->options.metrics;
    receiver->items_applied = metrics_counter(metrics, "strait_replication_applied_total", NULL,
        "Changes of other clusters applied here.");
    receiver->gaps = metrics_counter(metrics, "strait_replication_gaps_total", NULL,
        "Times that another cluster was asked to publish again.");
    receiver->rejected = metrics_counter(metrics, "strait_replication_messages_rejected_total",
        NULL, "Messages of other clusters that could not be decoded.");
    return receiver;
}

void receiver_restore(
    struct receiver *receiver, int source, int32_t shard, const Record__Progress *progress)
{
    if (shard < 0 || shard >= SHARDS_MAX)
        return;
    struct inbound *inbound = inbound_new(receiver, source, shard);
    inbound->stored = true;
    inbound->epoch = progress->epoch;
    inbound->received = inbound->drained = inbound->stored_drained = progress->drained_seq;
    inbound->applied = inbound->stored_applied = progress->applied_seq;
    inbound->applied_ns = progress->source_time;
    inbound->newest = progress->drained_seq;
    if (progress->applied_seq < progress->drained_seq)
        inbound->parked_seq = progress->applied_seq + 1;
}

static void drop_list(struct list *list)
{
    while (!list_empty(list))
        delivery_drop(CONTAINER_OF(list_pop_front(list), struct delivery, link));
}

static void parts_forget(struct inbound *inbound)
{
    inbound->receiver->bytes -= inbound->part_bytes;
    inbound->part_count = 0;
    inbound->part_bytes = 0;
}

static void inbound_free(struct inbound *inbound)
{
    drop_list(&inbound->deliveries);
    drop_list(&inbound->held);
    drop_list(&inbound->settled);
    for (size_t i = 0; i < inbound->part_count; i++)
        bus_msg_drop(inbound->parts[i]);
    mem_free(inbound->parts);
    envelope_joiner_release(&inbound->joiner);
    mem_free(inbound);
}

void receiver_close(struct receiver *receiver)
{
    for (int i = 0; i < receiver->replicator->federation->count; i++) {
        for (int32_t k = 0; k < receiver->sources[i].count; k++) {
            if (receiver->sources[i].shards[k])
                inbound_free(receiver->sources[i].shards[k]);
        }
        mem_free(receiver->sources[i].shards);
    }
    mem_free(receiver->sources);
    mem_free(receiver);
}

/* ---- items ----------------------------------------------------------------------------------- */

static void to_dispatch(struct inbound *inbound)
{
    if (!list_linked(&inbound->dispatch))
        list_push_back(&inbound->receiver->dispatch, &inbound->dispatch);
}

static void item_done(struct apply_item *item)
{
    struct delivery *delivery = item->ctx;
    struct inbound *inbound = delivery->inbound;
    struct receiver *receiver = inbound->receiver;
    receiver->items--;
    switch (item->outcome) {
    case APPLY_RETRY:
        list_push_back(&inbound->retry, &item->link);
        inbound->retry_mono = receiver->replicator->mono_ns + RETRY_NS;
        to_dispatch(inbound);
        return;
    case APPLY_DEAD_LETTERED:
        if (delivery->envelope->epoch == inbound->epoch && item->item->seq < inbound->parked_seq)
            inbound->parked_seq = item->item->seq;
        break;
    case APPLY_DONE:
        counter_add(receiver->items_applied, 1);
        break;
    case APPLY_IGNORED:
        break;
    }
    delivery->pending--;
    order_advance(inbound);
}

static void note_barrier(struct inbound *inbound, const Replication__Item *item)
{
    struct inbound_barrier *place = &inbound->barriers[0];
    for (size_t i = 0; i < INBOUND_BARRIERS_MAX; i++) {
        struct inbound_barrier *barrier = &inbound->barriers[i];
        if (strcmp(barrier->handover_id, item->handover_id) == 0)
            return;
        if (barrier->until_mono < place->until_mono)
            place = barrier;
    }
    if (strlen(item->handover_id) >= sizeof(place->handover_id))
        return; /* not ours: nobody waits for it */
    *place = (struct inbound_barrier){
        .seq = item->seq, .until_mono = inbound->receiver->replicator->mono_ns + 60 * NS_PER_S};
    memcpy(place->handover_id, item->handover_id, strlen(item->handover_id) + 1);
    (void)uuid_from(item->namespace_id, &place->namespace_id); /* no namespace: the zero one */
}

/* ERR_BUSY: not now. */
static enum err submit_next(struct delivery *delivery)
{
    struct inbound *inbound = delivery->inbound;
    struct receiver *receiver = inbound->receiver;
    const Replication__Item *item = delivery->envelope->items[delivery->next];
    if (item->kind == RECORD__OUTBOX_ITEM__KIND__BARRIER) {
        note_barrier(inbound, item);
        delivery->next++;
        return OK;
    }
    struct apply_item *apply = &delivery->items[delivery->next];
    apply->item = item;
    apply->source = inbound->source;
    apply->source_shard = inbound->shard;
    apply->epoch = delivery->envelope->epoch;
    apply->done = item_done;
    apply->ctx = delivery;
    /* Counted first: it may be done before apply_submit() returns. */
    delivery->next++;
    delivery->pending++;
    receiver->items++;
    enum err err = apply_submit(receiver->replicator->apply, apply);
    if (err) {
        delivery->next--;
        delivery->pending--;
        receiver->items--;
    }
    return err;
}

static enum err submit_retries(struct inbound *inbound)
{
    struct receiver *receiver = inbound->receiver;
    while (!list_empty(&inbound->retry)) {
        struct apply_item *item = CONTAINER_OF(inbound->retry.next, struct apply_item, link);
        list_remove(&item->link);
        receiver->items++;
        enum err err = apply_submit(receiver->replicator->apply, item);
        if (err) {
            receiver->items--;
            list_push_front(&inbound->retry, &item->link);
            return err;
        }
    }
    return OK;
}

static struct delivery *undispatched(struct inbound *inbound)
{
    for (struct list *at = inbound->deliveries.next; at != &inbound->deliveries; at = at->next) {
        struct delivery *delivery = CONTAINER_OF(at, struct delivery, link);
        if (delivery->next < delivery->envelope->n_items)
            return delivery;
    }
    return NULL;
}

/* True when everything of this inbound is handed over. */
static bool dispatch_inbound(struct inbound *inbound, int64_t now)
{
    struct receiver *receiver = inbound->receiver;
    if (!list_empty(&inbound->retry)) {
        if (now < inbound->retry_mono || submit_retries(inbound))
            return false;
    }
    /* Repeated from the start: an item that is done at once may have moved the list on. */
    for (struct delivery *delivery = undispatched(inbound); delivery;
         delivery = undispatched(inbound)) {
        size_t count = delivery->envelope->n_items;
        while (delivery->next < count) {
            bool last = delivery->next + 1 == count;
            if (receiver->items >= ITEMS_MAX || submit_next(delivery))
                return false;
            if (last)
                break; /* it may be gone */
        }
        order_advance(inbound);
    }
    return true;
}

static int64_t dispatch(struct receiver *receiver, int64_t now)
{
    if (replicator_stopping(receiver->replicator) || list_empty(&receiver->dispatch))
        return INT64_MAX;
    if (now < receiver->busy_until_mono)
        return receiver->busy_until_mono;
    for (int i = 0; i < DISPATCH_LANES && !list_empty(&receiver->dispatch); i++) {
        struct inbound *inbound =
            CONTAINER_OF(list_pop_front(&receiver->dispatch), struct inbound, dispatch);
        if (dispatch_inbound(inbound, now))
            continue;
        to_dispatch(inbound);
        receiver->busy_until_mono = now + BUSY_NS;
    }
    return list_empty(&receiver->dispatch) ? INT64_MAX : now + BUSY_NS;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* The shard is the last token of the subject. */
static int32_t shard_of(const char *subject)
{
    const char *dot = strrchr(subject, '.');
    if (!dot || dot[1] < '0' || dot[1] > '9')
        return -1;
    char *end = NULL;
    long shard = strtol(dot + 1, &end, 10);
    return *end || shard < 0 || shard >= SHARDS_MAX ? -1 : (int32_t)shard;
}

static bool envelope_is_ours(const struct inbound *inbound, const Replication__Envelope *envelope)
{
    const struct replicator *replicator = inbound->receiver->replicator;
    return envelope->shard == inbound->shard && envelope->epoch > 0 && envelope->prev_seq >= 0 &&
           strcmp(envelope->source, cluster_name(replicator, inbound->source)) == 0 &&
           strcmp(envelope->target, replicator->self) == 0;
}

/* What cannot be read leaves a gap, and is asked for again from the source's table. */
static void rejected(const struct inbound *inbound, size_t bytes, enum err err)
{
    const struct receiver *receiver = inbound->receiver;
    counter_add(receiver->rejected, 1);
    log_warn("message.rejected", "source=%s shard=%d bytes=%zu err=%s",
        cluster_name(receiver->replicator, inbound->source), inbound->shard, bytes, err_name(err));
}

/* The messages that the frame came in: with those of its parts when it was joined. */
static void take_messages(struct delivery *delivery, struct bus_msg *message, bool joined)
{
    struct inbound *inbound = delivery->inbound;
    size_t parts = joined ? inbound->part_count : 0;
    delivery->messages = arena_zalloc(&delivery->arena, parts + 1, sizeof(*delivery->messages));
    for (size_t i = 0; i < parts; i++)
        delivery->messages[i] = inbound->parts[i];
    delivery->messages[parts] = message;
    delivery->message_count = parts + 1;
    if (joined)
        parts_forget(inbound);
}

static void take_frame(
    struct inbound *inbound, struct bus_msg *message, struct bytes frame, bool joined)
{
    struct receiver *receiver = inbound->receiver;
    struct delivery *delivery = mem_new(struct delivery);
    enum err err = envelope_decode(&delivery->arena, frame, &delivery->envelope);
    if (!err && !envelope_is_ours(inbound, delivery->envelope))
        err = ERR_INVALID;
    delivery->inbound = inbound;
    delivery->touched_mono = receiver->replicator->mono_ns;
    take_messages(delivery, message, joined);
    if (err) {
        rejected(inbound, message->data.len, err);
        delivery_ack(delivery);
        return;
    }
    delivery->last_seq = delivery->envelope->last_seq;
    delivery->items =
        arena_zalloc(&delivery->arena, delivery->envelope->n_items + 1, sizeof(*delivery->items));
    delivery->bytes = delivery->arena.reserved;
    receiver->bytes += delivery->bytes;
    order_arrived(inbound, delivery);
    to_dispatch(inbound);
}

static void keep_part(struct inbound *inbound, struct bus_msg *message)
{
    if (inbound->part_count == inbound->part_capacity) {
        inbound->part_capacity = inbound->part_capacity ? inbound->part_capacity * 2 : 16;
        inbound->parts =
            mem_realloc(inbound->parts, inbound->part_capacity * sizeof(*inbound->parts));
    }
    inbound->parts[inbound->part_count++] = message;
    inbound->part_bytes += message->data.len;
    inbound->receiver->bytes += message->data.len;
}

/* A part of another frame: what was collected comes again. */
static void parts_give_back(struct inbound *inbound)
{
    for (size_t i = 0; i < inbound->part_count; i++)
        bus_nak(inbound->parts[i], BACK_NS);
    parts_forget(inbound);
}

static void take_message(struct inbound *inbound, struct bus_msg *message)
{
    uint64_t id = inbound->joiner.id;
    struct bytes frame = {0};
    enum err err = envelope_join(&inbound->joiner, message->data, &frame);
    bool plain = frame.data == message->data.data;
    if (!plain && inbound->part_count > 0 &&
        (inbound->joiner.id != id || inbound->part_count >= PARTS_MAX))
        parts_give_back(inbound);
    if (err) {
        rejected(inbound, message->data.len, err);
        bus_ack(message);
    } else if (frame.data) {
        take_frame(inbound, message, frame, !plain);
    } else {
        keep_part(inbound, message);
    }
}

static void message_arrived(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct bus_msg *message = CONTAINER_OF(mail, struct bus_msg, mail);
    if (replicator->closing || replicator_stopping(replicator)) {
        bus_msg_drop(message);
        return;
    }
    struct receiver *receiver = replicator->receiver;
    int source = (int)(intptr_t)message->ctx;
    watch_heard(replicator->watch, source);
    int32_t shard = shard_of(message->subject);
    if (shard < 0) {
        bus_ack(message);
        return;
    }
    if (receiver->bytes > BYTES_MAX) { /* V4 */
        bus_nak(message, BACK_NS);
        return;
    }
    struct inbound *inbound = receiver->sources[source].shards[shard];
    if (!inbound)
        inbound = inbound_new(receiver, source, shard);
    take_message(inbound, message);
}

void receiver_start(struct receiver *receiver)
{
    struct replicator *replicator = receiver->replicator;
    for (int i = 0; i < replicator->federation->count; i++) {
        if (i == replicator->federation->self || !cluster_bus(replicator, i))
            continue;
        snprintf(receiver->sources[i].stream, sizeof(receiver->sources[i].stream),
            "STRAIT_REPL_%s_%s", cluster_name(replicator, i), replicator->self);
        struct bus_consumer_options options = {.stream = receiver->sources[i].stream,
            .durable = replicator->self,
            .window_messages = (uint32_t)replicator->options.config->window_messages,
            .ack_wait_ns = ACK_WAIT_NS,
            .mailbox = replicator->mailbox,
            .deliver = message_arrived,
            .ctx = (void *)(intptr_t)i};
        enum err err =
            bus_consume(cluster_bus(replicator, i), &options, &receiver->sources[i].subscription);
        if (err)
            log_error(
                "receiver.failed", "stream=%s err=%s", receiver->sources[i].stream, err_name(err));
    }
}

int64_t receiver_step(struct receiver *receiver, int64_t now)
{
    int64_t next = dispatch(receiver, now);
    if (replicator_stopping(receiver->replicator) || now < receiver->sweep_mono)
        return sooner(next, receiver->sweep_mono);
    receiver->sweep_mono = INT64_MAX;
    for (int i = 0; i < receiver->replicator->federation->count; i++) {
        for (int32_t k = 0; k < receiver->sources[i].count; k++) {
            struct inbound *inbound = receiver->sources[i].shards[k];
            if (inbound)
                receiver_wants(receiver, order_step(inbound, now));
        }
    }
    return sooner(next, receiver->sweep_mono);
}
