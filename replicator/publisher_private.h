/* SPDX-License-Identifier: Apache-2.0
 *
 * The publisher's state, shared by publisher*.c.
 */
#ifndef REPLICATOR_PUBLISHER_PRIVATE_H
#define REPLICATOR_PUBLISHER_PRIVATE_H

#include "cluster/base/heap.h"
#include "cluster/base/list.h"
#include "replicator/publisher.h"

#define ROW_BYTES_SOFT_MAX ((size_t)64 * MIB)  /* rows kept for the lanes */
#define ROW_BYTES_HARD_MAX ((size_t)128 * MIB) /* with those on their way to us */
#define ROWS_KEPT_MAX      65536u              /* per shard */
#define LANE_WINDOW        32u                 /* publications without an answer */
#define FLIGHT_BYTES_MAX   ((size_t)32 * MIB)
#define MARKS_MAX          512u /* per lane; then they are merged */
#define BARRIERS_MAX       64u  /* handovers remembered */

/** A committed row with the values of its items. Made on an executor's thread. */
struct outbox_row {
    struct mail mail;
    struct list link; /* publisher->rows, oldest first */
    struct publisher *publisher;
    struct arena arena;
    int32_t shard;
    int64_t seq;
    size_t bytes;
    struct bytes packed;
    Record__OutboxRow *row; /* NULL until it was delivered */
    struct bytes *values;   /* per item; data == NULL: gone */
    struct blob **blobs;    /* what the values are views of */
    size_t count;
};

/** The rows of a shard in memory: contiguous up to the newest one delivered. */
struct shard_out {
    struct outbox_row **ring;
    size_t capacity; /* power of two */
    int64_t first;   /* seq of the oldest row kept */
    size_t count;
    int64_t trimmed;          /* rows up to here are deleted */
    int64_t known;            /* newest row delivered, or given up by the sink: the table has it */
    _Atomic(int64_t) skipped; /* newest row that was not handed over */
    _Atomic(int64_t) newest;
    _Atomic(int64_t) newest_ns;
};

/** Rows read from the table for one lane. */
struct row_load {
    struct store_op op;
    struct arena arena;
    struct lane *lane;
    int64_t from;
    int64_t newest; /* known when it was submitted */
    struct outbox_row *rows;
    size_t count;
    size_t used;  /* rows the lane took */
    int64_t last; /* everything up to here is in `rows` or does not exist */
    bool ready;
    bool abandoned; /* the lane went elsewhere */
};

/** Events of one namespace in an envelope that the target has not reported drained. */
struct lag_mark {
    struct list link;
    int64_t last_seq;
    struct uuid namespace_id;
    int64_t events;
    int64_t oldest_ns;
};

/** One message on its way to the stream. */
struct publication {
    struct bus_op op;
    struct list link; /* lane->flight, in order */
    struct lane *lane;
    int64_t last_seq; /* acknowledged with it; 0 = a part that is not the last one */
    size_t bytes;
    bool ended;
};

/** One shard's rows on their way to one target.
 *
 *   drained <= acked <= sent <= scanned <= newest
 *
 * sent: in a published envelope; scanned: looked at, nothing for this target behind sent. */
struct lane {
    struct publisher *publisher;
    int target;
    int32_t shard;
    char subject[160];
    struct list ready; /* publisher->ready */
    struct heap_node timer;
    int64_t scanned;
    int64_t sent;
    int64_t acked;
    int64_t rewind;       /* go back there when nothing is in flight; -1 = no */
    bool broken;          /* a publication failed: go back to acked */
    _Atomic(bool) paused; /* the stream is full */
    int64_t paused_until_mono;
    int64_t published_mono; /* the last envelope */
    struct list flight;
    size_t flight_count;
    struct row_load *load;
    struct row_load *spent; /* used up, but gathered items are views of its rows */
    /* under the mutex */
    int64_t drained;
    int64_t applied;
    int64_t report_ns;
    int64_t report_mono;
    bool stored;
    struct list marks;
    size_t mark_count;
};

/** Another cluster that we publish to. */
struct target {
    bool stream_ready;
    bool ensuring;
    int64_t retry_mono;
    struct bus_op op;
    struct publisher *publisher;
    int index;
    char stream[160];
    char subjects[176];
    struct lane *lanes; /* per shard */
};

/** Which shards of a target have applied a handover's barrier. Under the mutex. */
struct barrier_seen {
    char handover_id[64];
    int target;
    int32_t count;
    uint8_t *shards; /* one byte each */
};

struct publisher {
    struct replicator *replicator;
    int32_t shards;
    struct shard_out *outs;
    struct target *targets; /* per cluster; lanes == NULL: self */
    struct list rows;
    size_t row_bytes;
    _Atomic(size_t) row_bytes_all; /* with those on their way */
    _Atomic(bool) skipped;         /* a shard's `skipped` has changed */
    struct list ready;
    struct heap timers;
    size_t flight_bytes;
    bool connected;
    struct arena scratch;
    struct barrier_seen barriers[BARRIERS_MAX];
    size_t barrier_next;
    struct counter *published;
    struct counter *failures;
};

/* publisher_rows.c */
/** Mail: a row that an executor handed over. */
void row_delivered(struct mail *mail, void *owner);
void row_free(struct outbox_row *row);
struct outbox_row *row_kept(const struct publisher *publisher, int32_t shard, int64_t seq);
/** The lane's next row from memory or from a finished load. NULL: there is none, or it is being
 *  read. *ret_covered is how far the lane may consider itself to have looked. */
struct outbox_row *row_next(struct lane *lane, int64_t *ret_covered);
void load_abandon(struct lane *lane);
/** What was gathered is published: its rows may go. */
void load_forget_spent(struct lane *lane);
/** Forgets rows that no lane needs or that are too many. */
void rows_evict(struct publisher *publisher);
/** Looks for rows that the sink gave up. */
void rows_find_skipped(struct publisher *publisher);

/* publisher_lane.c */
void lane_run(struct lane *lane);
void lane_wake(struct lane *lane);
/** Publishes again from the row behind `seq`. */
void lane_rewind(struct lane *lane, int64_t seq);
void marks_drop(struct lane *lane, int64_t up_to_seq);
void marks_free(struct lane *lane);

/* publisher.c */
void publisher_stream_lost(struct publisher *publisher, int target);

#endif
