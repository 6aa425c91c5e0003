/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of one inbound: which envelope is next, what is missing, how far everything is done.
 *
 *   (prev, last] against received:   last <= received           known: ack
 *                                    prev <= received < last    next; rows up to received are known
 *                                    prev >  received           gap: held, asked for after a delay
 */
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/progress.h"
#include "replicator/receiver.h"

#define HELD_MAX  64u
#define GAP_NS    (200 * NS_PER_MS) /* a late message may still fill it */
#define GAP_AGAIN (3 * NS_PER_S)    /* a request or its answer was lost */
#define TOUCH_NS  (10 * NS_PER_S)   /* slow work: keep the stream from sending it again */

void delivery_drop(struct delivery *delivery)
{
    for (size_t i = 0; i < delivery->message_count; i++)
        bus_msg_drop(delivery->messages[i]);
    delivery->inbound->receiver->bytes -= delivery->bytes;
    arena_release(&delivery->arena);
    mem_free(delivery);
}

void delivery_ack(struct delivery *delivery)
{
    for (size_t i = 0; i < delivery->message_count; i++)
        bus_ack(delivery->messages[i]);
    delivery->message_count = 0;
    delivery_drop(delivery);
}

/* ---- watermarks ------------------------------------------------------------------------------ */

static bool delivery_is_done(const struct delivery *delivery)
{
    return delivery->next == delivery->envelope->n_items && delivery->pending == 0;
}

/* A row with a dead letter is drained, never applied, and neither is what comes behind it. */
static void set_drained(struct inbound *inbound, const struct delivery *delivery)
{
    struct replicator *replicator = inbound->receiver->replicator;
    const Replication__Envelope *envelope = delivery->envelope;
    pthread_mutex_lock(&replicator->mutex);
    if (delivery->last_seq > inbound->drained)
        inbound->drained = delivery->last_seq;
    int64_t applied = sooner(inbound->drained, inbound->parked_seq - 1);
    if (applied > inbound->applied)
        inbound->applied = applied;
    if (envelope->n_items > 0 && inbound->parked_seq == INT64_MAX)
        inbound->applied_ns = envelope->items[envelope->n_items - 1]->commit_time;
    pthread_mutex_unlock(&replicator->mutex);
}

static bool barrier_is_due(const struct inbound *inbound)
{
    for (size_t i = 0; i < INBOUND_BARRIERS_MAX; i++) {
        const struct inbound_barrier *barrier = &inbound->barriers[i];
        if (barrier->handover_id[0] && !barrier->reported && barrier->seq <= inbound->drained)
            return true;
    }
    return false;
}

void order_advance(struct inbound *inbound)
{
    bool moved = false;
    while (!list_empty(&inbound->deliveries)) {
        struct delivery *delivery = CONTAINER_OF(inbound->deliveries.next, struct delivery, link);
        if (!delivery_is_done(delivery))
            break;
        set_drained(inbound, delivery);
        list_remove(&delivery->link);
        /* Only the messages are still needed. */
        list_push_back(&inbound->settled, &delivery->link);
        moved = true;
    }
    if (!moved)
        return;
    if (barrier_is_due(inbound))
        progress_report_now(inbound);
    if (inbound->drained > inbound->stored_drained)
        progress_changed(inbound);
    else
        order_stored(inbound);
}

void order_stored(struct inbound *inbound)
{
    while (!list_empty(&inbound->settled)) {
        struct delivery *delivery = CONTAINER_OF(inbound->settled.next, struct delivery, link);
        if (delivery->last_seq > inbound->stored_drained)
            return;
        list_remove(&delivery->link);
        delivery_ack(delivery);
    }
}

/* ---- arrivals -------------------------------------------------------------------------------- */

/* A new sequence space: what was known of the old one counts no more. Items of it that are still in
 * apply keep their deliveries, whose ranges mean nothing in the new one. */
static void begin_epoch(struct inbound *inbound, int64_t epoch)
{
    struct replicator *replicator = inbound->receiver->replicator;
    if (inbound->epoch)
        log_warn("source.epoch", "source=%s shard=%d from=%lld to=%lld",
            cluster_name(replicator, inbound->source), inbound->shard, (long long)inbound->epoch,
            (long long)epoch);
    pthread_mutex_lock(&replicator->mutex);
    inbound->epoch = epoch;
    inbound->drained = 0;
    inbound->applied = 0;
    inbound->newest = 0;
    pthread_mutex_unlock(&replicator->mutex);
    inbound->received = 0;
    inbound->stored_drained = 0;
    inbound->stored_applied = 0;
    inbound->parked_seq = INT64_MAX;
    inbound->gap_mono = 0;
    for (struct list *at = inbound->deliveries.next; at != &inbound->deliveries; at = at->next)
        CONTAINER_OF(at, struct delivery, link)->last_seq = 0;
    for (struct list *at = inbound->settled.next; at != &inbound->settled; at = at->next)
        CONTAINER_OF(at, struct delivery, link)->last_seq = 0;
    while (!list_empty(&inbound->held))
        delivery_ack(CONTAINER_OF(list_pop_front(&inbound->held), struct delivery, link));
    inbound->held_count = 0;
}

static void accept(struct inbound *inbound, struct delivery *delivery)
{
    const Replication__Envelope *envelope = delivery->envelope;
    while (delivery->next < envelope->n_items &&
           envelope->items[delivery->next]->seq <= inbound->received)
        delivery->next++;
    inbound->received = envelope->last_seq;
    list_push_back(&inbound->deliveries, &delivery->link);
    receiver_wants(inbound->receiver, delivery->touched_mono + TOUCH_NS);
}

/* By the beginning of their ranges; duplicates are told apart when their turn comes. */
static void hold(struct inbound *inbound, struct delivery *delivery)
{
    if (inbound->gap_mono == 0) {
        inbound->gap_mono = inbound->receiver->replicator->mono_ns;
        receiver_wants(inbound->receiver, inbound->gap_mono + GAP_NS);
    }
    if (inbound->held_count >= HELD_MAX) {
        delivery_ack(delivery); /* V3 */
        return;
    }
    struct list *at = inbound->held.next;
    while (at != &inbound->held && CONTAINER_OF(at, struct delivery, link)->envelope->prev_seq <=
                                       delivery->envelope->prev_seq)
        at = at->next;
    list_insert_before(at, &delivery->link);
    inbound->held_count++;
}

static void place(struct inbound *inbound, struct delivery *delivery)
{
    const Replication__Envelope *envelope = delivery->envelope;
    if (envelope->prev_seq > inbound->received)
        hold(inbound, delivery);
    else if (envelope->last_seq <= inbound->received)
        delivery_ack(delivery); /* V2 */
    else
        accept(inbound, delivery);
}

void order_arrived(struct inbound *inbound, struct delivery *delivery)
{
    struct replicator *replicator = inbound->receiver->replicator;
    const Replication__Envelope *envelope = delivery->envelope;
    if (envelope->epoch < inbound->epoch) {
        delivery_ack(delivery);
        return;
    }
    if (envelope->epoch > inbound->epoch)
        begin_epoch(inbound, envelope->epoch);
    pthread_mutex_lock(&replicator->mutex);
    if (envelope->newest_seq > inbound->newest)
        inbound->newest = envelope->newest_seq;
    if (envelope->sent_time > inbound->newest_ns)
        inbound->newest_ns = envelope->sent_time;
    pthread_mutex_unlock(&replicator->mutex);
    int64_t received = inbound->received;
    place(inbound, delivery);
    while (!list_empty(&inbound->held)) {
        struct delivery *first = CONTAINER_OF(inbound->held.next, struct delivery, link);
        if (first->envelope->prev_seq > inbound->received)
            break;
        list_remove(&first->link);
        inbound->held_count--;
        place(inbound, first);
    }
    if (list_empty(&inbound->held))
        inbound->gap_mono = 0;
    else if (inbound->received > received)
        inbound->gap_mono = replicator->mono_ns; /* it fills, or it is another one */
    order_advance(inbound);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void ask_again(struct inbound *inbound)
{
    struct replicator *replicator = inbound->receiver->replicator;
    Replication__Republish republish;
    replication__republish__init(&republish);
    republish.shard = inbound->shard;
    republish.epoch = inbound->epoch;
    republish.from_seq = inbound->received + 1;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_REPUBLISH;
    request.republish = &republish;
    counter_add(inbound->receiver->gaps, 1);
    log_info("gap.asked", "source=%s shard=%d from=%lld", cluster_name(replicator, inbound->source),
        inbound->shard, (long long)republish.from_seq);
    replicator_peer_call(replicator, inbound->source, &request, 5 * NS_PER_S, NULL, NULL);
}

static int64_t touch(struct list *list, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct list *at = list->next; at != list; at = at->next) {
        struct delivery *delivery = CONTAINER_OF(at, struct delivery, link);
        if (now - delivery->touched_mono >= TOUCH_NS) {
            for (size_t i = 0; i < delivery->message_count; i++)
                bus_in_progress(delivery->messages[i]);
            delivery->touched_mono = now;
        }
        next = sooner(next, delivery->touched_mono + TOUCH_NS);
    }
    return next;
}

int64_t order_step(struct inbound *inbound, int64_t now)
{
    int64_t next = touch(&inbound->deliveries, now);
    next = sooner(next, touch(&inbound->settled, now));
    next = sooner(next, touch(&inbound->held, now));
    if (inbound->gap_mono == 0)
        return next;
    int64_t due = inbound->gap_mono + GAP_NS;
    if (inbound->asked_mono >= inbound->gap_mono)
        due = inbound->asked_mono + GAP_AGAIN;
    if (due > now)
        return sooner(next, due);
    inbound->asked_mono = now;
    ask_again(inbound);
    return sooner(next, now + GAP_AGAIN);
}
