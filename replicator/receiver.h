/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes envelopes of other clusters off their streams, in the order of their ranges, and hands the
 * items to apply.
 *
 *   message ─► join, decode ─► in order? ── known ──► ack
 *                                │  └──── gap ─────► held, asked for again
 *                                ▼ next
 *              items ─► apply ─► all done ─► drained moves ─► progress stored ─► ack, report
 *
 * Invariants:
 *  V1  received: every row up to it is here or was; drained <= received: every item up to it is
 *      applied or durably parked; stored <= drained: what a restart remembers.
 *  V2  A message is acknowledged when its range is stored as drained, or was known before.
 *  V3  Losing any message costs a request for its range, nothing else: the source's table has it.
 *  V4  Envelopes, items and bytes held are bounded; beyond that, messages go back to the stream.
 */
#ifndef REPLICATOR_RECEIVER_H
#define REPLICATOR_RECEIVER_H

#include "replicator/envelope.h"
#include "replicator/replicator_private.h"

#define INBOUND_BARRIERS_MAX 16

/** An envelope under way. */
struct delivery {
    struct list link; /* inbound->deliveries, inbound->held or inbound->drained_messages */
    struct inbound *inbound;
    struct arena arena;
    Replication__Envelope *envelope;
    struct bus_msg **messages; /* more than one when it came in parts */
    size_t message_count;
    size_t bytes;
    int64_t last_seq;
    int64_t touched_mono; /* when the stream was last told that we are at it */
    struct apply_item *items;
    size_t next;    /* items handed to apply */
    size_t pending; /* and not done */
};

/** A barrier of a handover that was met. */
struct inbound_barrier {
    char handover_id[64];
    struct uuid namespace_id;
    int64_t seq;
    bool reported;
    int64_t until_mono; /* repeated in reports until then */
};

/** What comes from one shard of one source. */
struct inbound {
    struct receiver *receiver;
    int source;
    int32_t shard;
    int64_t received;
    struct list deliveries; /* in order */
    struct list held;       /* behind a gap, by range */
    size_t held_count;
    struct list settled; /* drained, waiting for progress to be stored */
    struct list retry;   /* items (apply_item.link) to submit again */
    int64_t retry_mono;
    struct list dispatch; /* receiver->dispatch: has items to submit */
    struct envelope_joiner joiner;
    struct bus_msg **parts; /* messages of an unfinished frame */
    size_t part_count;
    size_t part_capacity;
    size_t part_bytes;
    int64_t gap_mono; /* since when something is missing; 0 = nothing is */
    int64_t asked_mono;
    int64_t parked_seq; /* first row with an unresolved dead letter; INT64_MAX = none */
    struct inbound_barrier barriers[INBOUND_BARRIERS_MAX];
    /* progress.c */
    bool storing;
    bool stored; /* a row exists */
    bool report; /* report as soon as possible */
    int64_t stored_drained;
    int64_t stored_applied;
    int64_t reported_mono;
    /* under the mutex */
    int64_t epoch; /* 0 = nothing was heard yet */
    int64_t drained;
    int64_t applied;
    int64_t newest;     /* known at the source */
    int64_t newest_ns;  /* when the source said so, its clock */
    int64_t applied_ns; /* commit time of the newest row applied */
};

struct receiver {
    struct replicator *replicator;
    struct {
        struct inbound **shards; /* SHARDS_MAX, made when heard of; added under the mutex */
        int32_t count;           /* highest shard heard of + 1 */
        struct bus_subscription *subscription;
        char stream[160];
    } * sources;
    struct list dispatch;
    size_t bytes; /* held in deliveries and parts */
    size_t items; /* in apply */
    int64_t busy_until_mono;
    int64_t sweep_mono; /* when order_step() is next wanted */
    struct counter *items_applied;
    struct counter *gaps;
    struct counter *rejected;
};

struct receiver *receiver_open(struct replicator *replicator);
/** While opening: what we had drained of a source's shard. */
void receiver_restore(
    struct receiver *receiver, int source, int32_t shard, const Record__Progress *progress);
/** Begins to pull. */
void receiver_start(struct receiver *receiver);
void receiver_close(struct receiver *receiver);
int64_t receiver_step(struct receiver *receiver, int64_t mono_now_ns);
/** The inbound, or NULL when nothing was heard of it. */
struct inbound *receiver_inbound(struct receiver *receiver, int source, int32_t shard);

/** order_step() is wanted at the latest then. */
static inline void receiver_wants(struct receiver *receiver, int64_t mono_ns)
{
    receiver->sweep_mono = sooner(receiver->sweep_mono, mono_ns);
}

/* receiver_order.c */
/** A new envelope takes its place; takes over the delivery. */
void order_arrived(struct inbound *inbound, struct delivery *delivery);
/** Moves the drained watermark over what is done. */
void order_advance(struct inbound *inbound);
int64_t order_step(struct inbound *inbound, int64_t mono_now_ns);
void delivery_ack(struct delivery *delivery);
void delivery_drop(struct delivery *delivery);
/** Everything up to `stored` is stored: its messages are acknowledged. */
void order_stored(struct inbound *inbound);

#endif
