/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading runs: pages of history from memory or store, long polls, page tokens.
 *
 * A page is always one range of one line of branches. When memory has it, the answer is made in the
 * decision; otherwise the read waits for the commits it depends on, then one store operation reads
 * the batches, and the answer leaves from its completion without touching the run again.
 */
#ifndef CLUSTER_ENGINE_DECIDE_READ_H
#define CLUSTER_ENGINE_DECIDE_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/heap.h"
#include "cluster/engine/executor.h"

#define HISTORY_PAGE_BYTES_MAX (2u * MIB)

/** Something in memory that waits until a monotonic time at the latest. Embedded by its owner;
 *  zero-initialised = not waiting. */
struct waiter {
    struct heap_node node;
    void (*expire)(struct executor *executor, struct waiter *waiter); /* removed before */
};

/** The executor's long polls and query deadlines. Zero-initialised memory is valid. */
struct history_waiters {
    struct heap heap;
};

/* Hooks of the executor. */

/** Fires expired waiters; returns when the next one expires (INT64_MAX = none). */
int64_t history_waiters_step(struct executor *executor, int64_t mono_now_ns);
void history_waiters_release(struct history_waiters *waiters);
/** The run changed and that is committed: looks at its long polls again. */
void history_wake(struct executor *executor, struct run *run);
/** The run leaves memory: its long polls are answered as if their time were over (an empty page
 *  with the same token), so that clients ask again. */
void history_abandon(struct executor *executor, struct run *run);

void waiter_set(struct executor *executor, struct waiter *waiter, int64_t mono_ns);
void waiter_clear(struct executor *executor, struct waiter *waiter);

/** What the frontend must know of a page token before it submits: the run it is pinned to. Empty
 *  tokens give the zero uuid. ERR_INVALID: answer InvalidArgument "Invalid NextPageToken.". */
NODISCARD enum err history_token_run(struct bytes token, struct uuid *ret_run_id);

/* ---- pages: shared by decide_read*.c and decide_dispatch*.c ---------------------------------- */

#define HISTORY_SEGMENTS_MAX 64

/** Events [from, to) of a line live in this branch. */
struct history_segment {
    uint32_t branch;
    int64_t from;
    int64_t to;
};

/** One page to read: events [from, to) of a line, at most max_events. */
struct history_page {
    struct uuid run_id;
    int32_t shard;
    struct history_segment segments[HISTORY_SEGMENTS_MAX]; /* ascending, cover [from, to) */
    size_t segment_count;
    int64_t from;
    int64_t to;
    uint32_t max_events;
    bool reverse; /* newest first: begins at to - 1 */
    /* result */
    struct buffer events; /* History bytes */
    int64_t next;         /* first event not in the page; reverse: the new `to` */
    uint32_t count;
};

/** Prepares a page of the line that ends in branch `branch_index`. ERR_CORRUPT when the ancestry is
 *  broken. */
NODISCARD enum err history_page_init(struct history_page *page, const struct run *run,
    size_t branch_index, int64_t from, int64_t to, uint32_t max_events);
void history_page_release(struct history_page *page);
/** Tries to fill the page from memory (recent, uncommitted and open batches). */
bool history_page_from_memory(struct history_page *page, const struct run *run);

/** Fills a page from the store once everything seen of the run is committed. Heap or arena of the
 *  owner, who gets it back in `done` on the executor's thread. */
struct history_read {
    struct effect effect;
    struct store_op op;
    struct arena arena;
    struct executor *executor;
    struct history_page page;
    void (*done)(struct history_read *read, enum err err);
};
void history_read_start(struct decision *d, const struct run *run, struct history_read *read);

/* ---- page tokens (history_token.c) ----------------------------------------------------------- */

/** Where a reader goes on. */
struct history_token {
    struct uuid run_id;
    uint32_t branch; /* id */
    int64_t next;    /* reverse: exclusive upper end */
    int64_t end;     /* pinned end (exclusive); 0 = whatever is there */
    bool reverse;
    struct bytes unwritten; /* synthetic events behind `end`, as History bytes */
};
struct bytes history_token_write(struct arena *arena, const struct history_token *token);
NODISCARD enum err history_token_read(
    struct arena *arena, struct bytes data, struct history_token *ret_token);

#endif
