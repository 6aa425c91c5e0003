/* SPDX-License-Identifier: Apache-2.0
 *
 * What apply's files share.
 *
 * A queue holds the items of one workflow id. A group of them (one run, a few at most) is with the
 * executor at a time and shares a commit; the queue goes on when that commit is done:
 *
 *                 ┌──────────── queue_next ◄───────────────────────────────┐
 *                 ▼                                                        │
 *   IDLE ─submit─► ask for the namespace ─► group in the executor ─► fetch events / write a
 *    ▲                                                 │              dead letter, if needed
 *    └────────────── nothing left ─────────────────────┘
 *
 * I1  Whoever handles a queue's state owns it: while a group is with the executor, the replicator's
 *     thread touches only `waiting`, and the executor's only `flight`.
 * I2  No run has changes of two groups that are not committed. So a run that a bad batch made
 *     unusable can be dropped from memory: what the store says is true.
 * I3  Fetched items go before the item that needs them.
 */
#ifndef REPLICATOR_APPLY_PRIVATE_H
#define REPLICATOR_APPLY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cluster/base/map.h"
#include "conflict/resolver.h"
#include "replicator/apply.h"

#define GROUP_ITEMS_MAX 64u
#define GROUP_BYTES_MAX (2u * 1024u * 1024u)
#define FETCHES_MAX     1000u /* for one item */

/* What the executor made of an item. */
enum apply_verdict {
    VERDICT_UNSEEN, /* not reached: belongs to the next group */
    VERDICT_DONE,
    VERDICT_IGNORED,
    VERDICT_RETRY,
    VERDICT_NEED,      /* item->need_*: events are missing */
    VERDICT_DEAD,      /* item->reason */
    VERDICT_FORGOTTEN, /* the same, and the run had to be dropped from memory */
};

struct apply_queue {
    struct apply *apply;
    struct bytes key; /* namespace id, workflow id: in this allocation */
    struct uuid namespace_id;
    struct bytes workflow_id; /* view into key */
    bool idle;                /* nothing under way: only right after creation */
    struct list waiting;      /* struct apply_item */
    struct list fetched;      /* struct fetched_item.item, before all that waits */
    struct list flight;       /* struct apply_item, with the executor */
    size_t group_max;         /* of the next group only; 0 = as many as allowed */
    int64_t version_max;      /* of items that may go: the namespace's version here */
    bool namespace_asked;     /* for the first item */
    struct request request;
    struct effect effect;
    struct mail mail;
    enum err err;            /* of request or commit */
    const char *fetch_fault; /* why the first waiting item cannot be completed: static text */
};

/** An item that was not submitted but fetched; owns its message. */
struct fetched_item {
    struct apply_item item;
    Replication__Item message;
    struct arena arena;
};

/** A namespace as the gate knows it. */
struct apply_namespace {
    struct uuid id;
    struct namespace_view *view; /* what `member` was read from */
    bool member;                 /* this cluster is one of its clusters */
};

/** The unresolved dead letters. The mutex guards it: counters are read by other threads, and the
 *  executors ask for runs. */
struct dead_letters {
    pthread_mutex_t mutex;
    struct map keys;       /* row key -> struct dead_key */
    struct map runs;       /* run id -> struct dead_count */
    struct map namespaces; /* namespace id -> struct dead_count */
    int64_t count;
    struct list parkings; /* struct parking: rows being written */
};

struct apply {
    struct apply_options options;
    struct engine *engine;
    struct map queues;     /* key -> struct apply_queue */
    struct map namespaces; /* id -> struct apply_namespace */
    struct dead_letters dead;
    size_t pending;
    struct {
        struct counter *outcomes[APPLY_RETRY + 1];
        struct counter *effects[CONFLICT_REJECT + 1];
        struct counter *fetches;
        struct gauge *dead_letters;
    } metrics;
};

/* apply.c */
/** Tells the submitter (by mail), or frees a fetched item. */
void item_finish(struct apply_item *item, enum apply_outcome outcome);
/** Starts what comes next in the queue, which is not under way, or frees it when it is empty.
 *  ERR_BUSY: the engine is full and nothing was changed. */
NODISCARD enum err queue_next(struct apply_queue *queue);
/** The same; items that find the engine full end with APPLY_RETRY. */
void queue_go_on(struct apply_queue *queue);
/** Everything in it ends with APPLY_RETRY, in order; then the queue is freed. */
void queue_retry(struct apply_queue *queue);
struct apply_item *queue_first(const struct list *items);

static inline struct uuid item_run_id(const struct apply_item *item)
{
    struct uuid id;
    __builtin_memcpy(id.bytes, item->item->run_id.data, sizeof(id.bytes));
    return id;
}

static inline struct bytes item_value(const struct apply_item *item)
{
    return bytes_make(item->item->value.data, item->item->value.len);
}

/* apply_namespace.c */
enum apply_gate {
    GATE_OPEN,
    GATE_IGNORED, /* the namespace is not ours */
    GATE_WAITING, /* its record is being asked for; the queue may be gone already */
};
enum apply_gate namespace_gate(struct apply_queue *queue, const struct apply_item *item);
void namespaces_free(struct apply *apply);

/* apply_fetch.c */
/** Fetches what the first waiting item needs; then the queue goes on. */
void fetch_start(struct apply_queue *queue);
void fetched_free(struct apply_queue *queue);
/** Ends one fetched item: it is done, or it ends all of them. */
void fetched_ended(struct apply_queue *queue, struct apply_item *item);

/* apply_dead.c */
NODISCARD enum err dead_open(struct apply *apply, char reason[256]);
void dead_close(struct apply *apply);
/** Any thread. */
bool dead_run(struct apply *apply, struct uuid run_id);
/** Writes the item as a dead letter and finishes it; then the queue goes on (NULL: it has none,
 *  because its ids are not usable). */
void dead_park(struct apply_queue *queue, struct apply_item *item, const char *reason);

/* apply_handle.c: on the executor's thread */
request_handler apply_handle;

/* apply_events.c: on the executor's thread */
enum apply_verdict apply_events(struct decision *d, struct apply_item *item);
enum apply_verdict need_events(
    struct apply_item *item, struct uuid run_id, int64_t from, int64_t to);
enum apply_verdict dead_item(struct apply_item *item, const char *reason);

#endif
