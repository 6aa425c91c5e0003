/* SPDX-License-Identifier: Apache-2.0
 *
 * Task queues: who waits on each, who polled it lately, how fast it moves. Matching's thread.
 *
 * A queue exists while something waits on it or somebody polled it in the last POLLER_KEEP_NS;
 * after that it is forgotten.
 */
#ifndef CLUSTER_MATCHING_MATCHING_QUEUE_H
#define CLUSTER_MATCHING_MATCHING_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/limits.h"
#include "cluster/base/map.h"
#include "cluster/matching/matching.h"

#define POLLER_KEEP_NS    (300 * NS_PER_S) /* pollers are shown so long after their last poll */
#define POLLERS_MAX       256u             /* shown per queue; the longest silent is forgotten */
#define STICKY_SILENCE_NS (10 * NS_PER_S)  /* a sticky queue without a poll is given up */
#define UNSERVED_NS       (60 * NS_PER_S)  /* a backlog nobody polls gives way to others */
#define RATE_BUCKETS      6
#define RATE_BUCKET_NS    (5 * NS_PER_S)

/** Events per second over the last RATE_BUCKETS buckets. Zero-initialised memory is valid. */
struct rate {
    int64_t bucket; /* number of the newest */
    uint32_t counts[RATE_BUCKETS];
};

void rate_add(struct rate *rate, int64_t mono_now_ns);
double rate_per_second(const struct rate *rate, int64_t mono_now_ns);

/** Somebody who polled. One allocation. */
struct poller {
    struct list link; /* in the queue, longest silent first */
    int64_t seen_mono_ns;
    int64_t seen_wall_ns;
    char *build_id;
    struct bytes identity;
};

struct task_queue {
    struct list idle; /* in queue_table.idle while nothing waits */
    int64_t idle_since_ns;
    struct list backlog; /* in queue_table.backlogs while tasks wait */
    bool lost;           /* tasks were dropped: wanted again at the next poll */
    struct bytes key;    /* own memory: kind, namespace id, name */
    struct list tasks;
    size_t task_count;
    struct list polls;
    size_t poll_count;
    int64_t polled_ns; /* monotonic: last time a poll was seen; INT64_MIN = never */
    bool gone;         /* its worker said goodbye and did not poll since */
    struct map pollers;
    struct list poller_order;
    struct rate added;
    struct rate dispatched;
};

/** All queues. Zero-initialised memory is not valid: queue_table_init(). */
struct queue_table {
    struct map queues;
    struct list idle;     /* longest idle first */
    struct list backlogs; /* queues with tasks; about the longest unserved first */
    struct buffer key;    /* scratch */
};

void queue_table_init(struct queue_table *table);
/** Frees the queues, which must hold neither tasks nor polls. */
void queue_table_release(struct queue_table *table);
/** NULL when there is none. TASK_QUERY means the workflow queue of that name. */
struct task_queue *queue_find(struct queue_table *table, enum task_kind kind,
    const struct uuid *namespace_id, struct bytes name);
/** Finds or makes. */
struct task_queue *queue_get(struct queue_table *table, enum task_kind kind,
    const struct uuid *namespace_id, struct bytes name);
bool queue_is_of(const struct task_queue *queue, const struct uuid *namespace_id);
void queue_add_task(struct queue_table *table, struct task_queue *queue, struct task *task);
void queue_remove_task(struct task_queue *queue, struct task *task);
/** A queue with tasks that nobody has polled for a while, or NULL. */
struct task_queue *queue_unserved(struct queue_table *table, int64_t mono_now_ns);
/** To be called when something stopped waiting: an empty queue becomes idle. */
void queue_settle(struct queue_table *table, struct task_queue *queue, int64_t mono_now_ns);
/** Forgets queues that were idle long enough; at most `max`. Returns when the next one will be
 *  (INT64_MAX = none). */
int64_t queue_table_step(struct queue_table *table, int64_t mono_now_ns, size_t max);

/** Notes who polls. */
void queue_saw_poll(struct queue_table *table, struct task_queue *queue, const struct poll *poll,
    int64_t mono_now_ns, int64_t wall_now_ns);
/** Nobody serves this sticky queue. */
bool queue_is_deserted(const struct task_queue *queue, int64_t mono_now_ns);

#endif
