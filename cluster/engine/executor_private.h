/* SPDX-License-Identifier: Apache-2.0
 *
 * What the executor's files share: slots, shards, the open commit, due cursors.
 */
#ifndef CLUSTER_ENGINE_EXECUTOR_PRIVATE_H
#define CLUSTER_ENGINE_EXECUTOR_PRIVATE_H

#include "cluster/engine/decide_read.h"
#include "cluster/engine/executor.h"
#include "proto/record.pb-c.h"

#define DUE_WINDOW_NS   (60 * NS_PER_S) /* due rows are loaded this far ahead */
#define DUE_SCAN_ROWS   512u            /* per scan */
#define DUE_LOADS_MAX   1024u           /* runs being loaded for the due scan at once */
#define PARKED_MAX      10000u          /* writes that wait for the end of a handover */
#define SNAPSHOT_EVENTS 256             /* a snapshot is due after so many events */
#define TAIL_BYTES_MAX  (64u * 1024u)   /* recent batches kept per run */

/** All that is known of one workflow id. */
struct workflow {
    struct executor *executor;
    struct list lru;
    struct bytes key; /* namespace id, workflow id: in this allocation */
    struct uuid namespace_id;
    struct bytes workflow_id; /* view into key */
    int32_t shard;
    struct list runs;           /* struct run, loaded */
    bool current_known;         /* current_run_id is what the store says (or will say) */
    bool current_row;           /* a row of current_run exists (or will) */
    struct uuid current_run_id; /* zero = none */
    bool loading;
    struct list waiting; /* struct request */
};

/** A load under way: the current pointer, then one run with everything that belongs to it. */
struct load {
    struct store_op op;
    struct arena arena;
    struct executor *executor;
    struct workflow *workflow;
    bool pointer; /* this step reads only the pointer */
    bool abandoned;
    struct uuid run_id;
    struct store_get get;
    /* results of the run step */
    bool found;
    struct store_row head;
    struct store_row snapshot;
    struct store_row *facts;
    size_t fact_count;
    struct store_row *history;
    size_t history_count;
};

/** A shard this executor is the writer of. */
struct shard {
    int32_t id;
    bool owned;
    bool lost; /* fenced by somebody else */
    int64_t range_id;
    int64_t commit_no;  /* of the newest submitted commit that touched it */
    int64_t outbox_seq; /* newest seq given out */
    int64_t outbox_committed;
    /* the open commit's outbox row */
    Record__OutboxItem **items;
    struct blob **values;
    size_t item_count;
    size_t item_capacity;
    bool touched; /* has a section in the open commit */
};

/** Due rows of one namespace in one shard: everything up to loaded_until is in memory. */
struct due_cursor {
    struct list link;
    struct executor *executor;
    struct uuid namespace_id;
    int32_t shard;
    int64_t loaded_until; /* wall; INT64_MIN = nothing yet */
    int64_t scan_from;
    int64_t retry_mono_ns; /* not before, after an error */
    bool scanning;
    bool restart; /* begin again at the start after the scan under way */
    bool gone;    /* namespace passive: free when idle */
    struct store_op op;
    struct arena arena;
};

/** A row that will be due and is not loaded. */
struct due_row {
    struct heap_node node;
    struct uuid namespace_id;
    struct uuid run_id;
    int32_t shard;
    size_t workflow_id_len;
    uint8_t workflow_id[];
};

/** The commit that is filled or under way. */
struct open_commit {
    int64_t no;
    struct commit commit;
    struct run **runs;
    size_t run_count;
    size_t run_capacity;
    struct store_op op;
    struct executor *executor;
    struct {
        int32_t shard;
        int64_t seq;
        struct bytes row;
        struct blob **values;
        size_t count;
    } * outbox;
    size_t outbox_count;
    size_t outbox_capacity;
    struct blob **blobs; /* batch values that rows point into */
    size_t blob_count;
    size_t blob_capacity;
    int64_t submitted_mono_ns;
};

struct executor {
    struct engine *engine;
    int index;
    const struct env *env;
    struct store *store;
    struct mailbox *mailbox;
    struct matching *matching;
    struct arena scratch;
    struct map workflows; /* key -> struct workflow */
    struct list lru;      /* oldest first */
    size_t cache_bytes;
    struct shard **shards; /* by shard id; NULL = not ours */
    /* commits */
    struct open_commit commits[2];
    struct open_commit *open;
    struct open_commit *flight; /* NULL = none */
    int64_t committed_no;
    struct list dirty;   /* struct run */
    struct list effects; /* struct effect, by commit_no */
    bool work_pending;   /* shard work put rows into the open commit */
    size_t resolving;    /* shards being taken to resolve an unknown commit */
    bool resolve_ok;
    bool resolve_failed;
    /* due */
    struct heap due_runs; /* struct run.due */
    struct heap due_rows; /* struct due_row */
    struct list cursors;
    size_t due_loads;
    /* namespaces */
    struct list parked; /* struct request: writes during a handover */
    size_t parked_count;
    struct list deferred; /* struct request: the open commit is large enough */
    size_t open_bytes;    /* events and facts decided into the open commit */
    int64_t parked_sweep_mono_ns;
    struct history_waiters history_waiters;
    size_t loads;
    int64_t retention_mono_ns; /* next look for expired runs */
    size_t retention_scans;
    bool stopping;
    struct {
        struct histogram *commit_runs;
        struct histogram *commit_seconds;
        struct counter *commits;
        struct counter *commit_failures;
        struct gauge *cached_runs;
        struct counter *requests;
    } metrics;
};

struct engine {
    struct engine_options options;
    struct executor **executors;
    int executor_count;
    char *cluster_name;
    char *node_id;
    _Atomic(bool) ready;
    _Atomic(int) starting;
};

/* executor_cache.c */
struct workflow *workflow_get(
    struct executor *executor, struct uuid namespace_id, struct bytes workflow_id, int32_t shard);
struct run *workflow_run(struct workflow *workflow, struct uuid run_id);
/** Drops runs that were changed by an uncommitted commit (or all of a shard, commit_no 0). */
void cache_discard(struct executor *executor, int64_t from_commit_no);
void cache_evict(struct executor *executor);
void cache_free(struct executor *executor);
void workflow_discard_run(struct executor *executor, struct run *run);

/* executor_load.c */
/** Starts what is missing for the first waiting request; false = nothing is missing. */
bool workflow_load_missing(struct workflow *workflow, const struct request *request);

/* executor.c */
void workflow_run_waiting(struct workflow *workflow);
void executor_deliver_request(struct mail *mail, void *owner);
void request_fail(
    struct executor *executor, struct request *request, enum err err, const char *text);

/** Takes up the requests that waited for room in the open commit. */
void executor_redeliver(struct executor *executor);

/* executor_retention.c */
void retention_step(struct executor *executor, int64_t wall_now_ns, int64_t mono_now_ns);

/* executor_commit.c */
/** The commit under way must not touch the run again: it leaves memory. */
void executor_forget_run(struct executor *executor, const struct run *run);
/** A batch from another cluster, already folded: stored as it is, not sent on. */
void run_take_batch(struct run *run, struct blob *value, const struct batch *decoded);
void executor_mark_dirty(struct executor *executor, struct run *run);
void executor_flush(struct executor *executor);
void executor_fire_effects(struct executor *executor, int64_t up_to_no, enum err err);
/** Finishes the open batch: it joins new_batches and the tail. */
void run_seal_batch(struct run *run);
void run_add_fact_change(
    struct run *run, enum fact_kind kind, enum commit_mode mode, int64_t id, struct blob *value);
/** Forgets the oldest kept batches beyond TAIL_BYTES_MAX. */
void run_trim_tail(struct run *run);
void shard_touch(struct executor *executor, struct shard *shard);

/** The commit takes over one reference and drops it at its end. */
void open_hold_blob(struct open_commit *open, struct blob *blob);

/* executor_outbox.c */
void shard_outbox_item(struct executor *executor, struct shard *shard,
    const Record__OutboxItem *item, struct blob *value);
void outbox_collect_run(struct executor *executor, struct shard *shard, struct run *run,
    const struct namespace_view *ns);
void outbox_finish(struct executor *executor, struct open_commit *open);

/* executor_due.c */
void due_update(struct executor *executor, struct run *run);
int64_t due_stored(const struct run *run);
void due_step(struct executor *executor, int64_t wall_now_ns, int64_t mono_now_ns);
int64_t due_next(struct executor *executor);
void due_namespace_changed(struct executor *executor, struct uuid namespace_id);
/** Runs of the namespace may have left memory: read their due rows again. */
void due_reset(struct executor *executor, struct uuid namespace_id, int32_t shard);
/** The column moved below what is loaded: only rows in memory may be there. */
bool due_is_beyond(const struct executor *executor, const struct run *run, int64_t due_ns);
void due_free(struct executor *executor);

#endif
