/* SPDX-License-Identifier: Apache-2.0
 *
 * A run in memory: the fold of its events, the volatile facts that history does not hold, and the
 * changes that the open commit has not taken yet.
 *
 * Owned by the executor of its shard; touched by no other thread.
 *
 * Invariants:
 *  R-I1  Everything in "folded" is a function of the events (fold.c is its only writer).
 *  R-I2  Everything in "facts" has a durable home: RunHead or table fact.
 *  R-I3  "memory" may vanish at any time; losing it costs a redispatch, never an acknowledged
 *  write. R-I4  While workflow_task.mark.set, no event but those of its outcome reaches history:
 *  others are
 *        buffered as facts.
 */
#ifndef CLUSTER_ENGINE_RUN_H
#define CLUSTER_ENGINE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/heap.h"
#include "cluster/base/list.h"
#include "cluster/base/map.h"
#include "cluster/base/uuid.h"
#include "cluster/engine/batch.h"
#include "cluster/store/commit.h"

#define FOLD_VERSION 1 /* raise when the fold changes: older snapshots are then ignored */

/* Kinds of table fact; values are stored. */
enum fact_kind { FACT_ACTIVITY = 1, FACT_BUFFERED = 2 };

/** A pending activity: scheduled, not closed. */
struct activity {
    int64_t scheduled_event_id;
    uint8_t event_key[8];      /* the same, big-endian: map and fact key */
    struct bytes activity_id;  /* mem_alloc'ed with the struct */
    struct bytes scheduled;    /* ActivityTaskScheduledEventAttributes, serialized; own memory */
    int64_t scheduled_time_ns; /* of the event: start of schedule-to-close */
    int64_t version;           /* of the scheduled event */
    int64_t cancel_requested_event_id; /* 0 = not requested */
    /* effective timeouts in ms, 0 = none; from the attributes */
    int64_t schedule_to_close_ms;
    int64_t schedule_to_start_ms;
    int64_t start_to_close_ms;
    int64_t heartbeat_ms;
    /* facts (record.ActivityFact); absent row = first attempt, not started */
    bool fact_stored; /* a row exists: UPDATE instead of INSERT */
    int32_t attempt;  /* from 1 */
    bool started;
    int64_t attempt_scheduled_ns;
    int64_t not_before_ns; /* 0 = at once */
    int64_t started_ns;
    uint64_t nonce;
    int64_t heartbeat_ns; /* last heartbeat, 0 = none in this attempt */
    int64_t last_attempt_complete_ns;
    int64_t fact_version;
    int64_t stamp;
    char *started_identity; /* mem, may be NULL */
    char *last_identity;
    struct blob *heartbeat_details; /* may be NULL */
    struct blob *last_failure;      /* may be NULL */
    /* memory */
    bool offered; /* handed to matching */
};

/** A pending timer. */
struct timer {
    struct bytes timer_id; /* mem_alloc'ed with the struct */
    int64_t started_event_id;
    int64_t fire_ns;
};

/** A durable event that waits for the end of the workflow task (table fact, kind BUFFERED). */
struct buffered_event {
    struct list link;
    int64_t id;          /* fact key */
    struct blob *record; /* record.BufferedFact, serialized */
    size_t bytes;
};

/** The workflow task. scheduled_event_id == 0: none is pending. */
struct workflow_task {
    /* folded, or facts when transient */
    int64_t scheduled_event_id;
    int64_t scheduled_ns;
    int64_t original_scheduled_ns;
    int64_t timeout_ms; /* start to close */
    /* facts */
    int32_t attempt; /* from 1 */
    bool transient;  /* attempt > 1: Scheduled is not in history yet */
    int64_t not_before_ns;
    /* memory: the in-flight mark */
    struct {
        bool set;
        uint64_t nonce;
        int64_t started_event_id;
        int64_t started_ns;
        int64_t deadline_ns; /* start-to-close, wall clock */
        int64_t history_bytes;
        bool suggest_continue_as_new;
        bool on_sticky;
        char *identity;      /* mem */
        char *request_id;    /* mem */
        struct list queries; /* struct query: attached to this task */
    } mark;
    bool offered;
    bool offered_sticky;
    int64_t sticky_deadline_ns; /* schedule-to-start on the sticky queue */
};

/** A branch of the history tree (record.Branch). */
struct branch_state {
    uint32_t id;
    uint32_t parent;
    int64_t fork_event_id;
    struct {
        int64_t event_id;
        int64_t version;
    } * items; /* mem */
    size_t item_count;
    int64_t next_event_id;
    int64_t history_bytes;
    uint64_t digest;
    int64_t last_event_time_ns;
};

/** A finished batch of the open commit, or a recent one kept for readers. */
struct run_batch {
    struct list link;
    struct blob *value; /* engine/batch.h */
    uint32_t branch;
    int64_t first_event_id;
    int64_t next_event_id;
    bool replicated; /* came from another cluster: not sent on */
};

/** A change of a fact that the open commit must take. */
struct fact_change {
    struct list link;
    enum fact_kind kind;
    enum commit_mode mode; /* INSERT, UPDATE, DELETE */
    int64_t id;            /* key: scheduled event id or buffered id */
    struct blob *value;    /* NULL for DELETE */
    bool replicated;
};

struct workflow; /* executor_private.h: all runs of one workflow id */

struct run {
    struct workflow *workflow;
    struct list link; /* in workflow->runs */
    int32_t shard;
    struct uuid namespace_id;
    struct uuid run_id;
    char run_id_text[UUID_TEXT_LEN + 1];
    struct bytes workflow_id; /* owned by workflow */

    /* ---- folded ---- */
    struct arena arena;   /* lifetime of the run: started attributes and the like */
    struct bytes started; /* WorkflowExecutionStartedEventAttributes, serialized */
    const char *workflow_type;
    const char *task_queue;
    int64_t started_ns;
    int64_t started_version;
    int64_t run_timeout_ms;       /* 0 = none */
    int64_t execution_expires_ns; /* wall clock; 0 = none */
    int64_t first_backoff_ns;     /* duration before the first workflow task */
    int64_t default_task_timeout_ms;
    int32_t attempt; /* workflow attempt, from 1 */
    char *first_execution_run_id;
    char *original_execution_run_id;
    int32_t status; /* WorkflowExecutionStatus; RUNNING = open */
    int64_t close_ns;
    struct blob *close_event;                /* serialized HistoryEvent, NULL while open */
    char *new_execution_run_id;              /* successor, NULL = none */
    struct map activities;                   /* event_key -> struct activity */
    struct map activity_ids;                 /* activity id -> struct activity */
    struct map timers;                       /* timer id -> struct timer */
    int64_t last_completed_started_event_id; /* "previous_started_event_id" */
    int64_t workflow_tasks_completed;
    bool cancel_requested;
    char *cancel_request_id;
    int64_t signal_count;
    struct map request_ids; /* text -> struct request_id_entry (fold.h) */
    struct map origins;     /* origin key bytes -> entry: reapplied events */
    struct blob *memo;      /* serialized Memo, NULL = none */
    struct blob *search_attributes;

    /* ---- facts: RunHead ---- */
    bool zombie;
    struct branch_state *branches; /* mem */
    size_t branch_count;
    size_t current_branch; /* index */
    struct workflow_task task;
    char *sticky_queue; /* NULL = none */
    int64_t sticky_timeout_ms;
    int64_t snapshot_event_id;
    int64_t next_buffered_id;
    int64_t state_transitions;
    struct list buffered; /* struct buffered_event, in order */
    size_t buffered_count;
    size_t buffered_bytes;

    /* ---- memory ---- */
    int64_t sticky_poll_hint_ns;     /* last time its sticky queue was polled */
    int64_t task_heartbeat_since_ns; /* first scheduled time of a chain of heartbeating tasks */
    struct list queries;             /* struct query waiting for a task or a direct dispatch */
    size_t query_count;
    struct list history_waiters; /* long polls for new events */
    struct list tail;            /* struct run_batch: recent batches of the current branch */
    size_t tail_bytes;
    struct heap_node due;  /* in the executor's due heap; key = exact due time */
    int64_t stored_due_ns; /* what the column says (or will, after the open commit) */
    int64_t stored_expire_ns;
    int64_t changed_commit;    /* number of the newest commit that carries a change of it */
    int64_t recovered_version; /* failover version at which run_recover() last ran; 0 = never */
    bool found_early;          /* a due scan loaded it and nothing was due: correct the column */

    /* ---- not yet taken by a commit ---- */
    bool dirty; /* linked in the executor's list of changed runs */
    struct list dirty_link;
    bool is_new; /* the run row does not exist yet */
    bool head_changed;
    bool becomes_current; /* current_run must point here */
    bool visibility_changed;
    bool deleted;                 /* all its rows go */
    bool expired;                 /* deleted by retention, which every cluster does on its own */
    struct batch_builder builder; /* events of the open batch */
    struct buffer builder_meta;   /* record.BatchMeta being collected, as serialized pieces */
    struct list new_batches;      /* struct run_batch: finished, not committed */
    struct list fact_changes;     /* struct fact_change */
};

/** An empty run (status RUNNING, branch 0, next event 1). Heap; freed by run_free. */
struct run *run_new(
    int32_t shard, struct uuid namespace_id, struct bytes workflow_id, struct uuid run_id);
void run_free(struct run *run);

static inline struct branch_state *run_branch(const struct run *run)
{
    return &run->branches[run->current_branch];
}

static inline int64_t run_next_event_id(const struct run *run)
{
    return run_branch(run)->next_event_id;
}

/** Open = accepts events. */
bool run_is_open(const struct run *run);
/** The version of the last written event; 0 = none. */
int64_t run_last_version(const struct run *run);
struct activity *run_activity(const struct run *run, int64_t scheduled_event_id);
struct activity *run_activity_by_id(const struct run *run, struct bytes activity_id);
struct timer *run_timer(const struct run *run, struct bytes timer_id);
/** True when the client's request id was used by an event of this run. */
bool run_has_request_id(const struct run *run, const char *request_id);
/** Approximate heap bytes held, for the cache's bound. */
size_t run_memory(const struct run *run);

#endif
