/* SPDX-License-Identifier: Apache-2.0
 *
 * The executor: single writer of its shards. Takes requests from its mailbox, loads the runs they
 * concern, lets a handler decide each against memory, collects all changes into one commit, and
 * releases what depends on it (replies, dispatches) only after that commit.
 *
 *   request ─► workflow slot ─► (load) ─► handler(decision) ─► open commit ─► store
 *                                                      effects ◄── completion ──┘
 *
 * One commit is under way at a time; the next one fills meanwhile. A failed commit discards every
 * run that it or the open commit changed; their effects are told so.
 */
#ifndef CLUSTER_ENGINE_EXECUTOR_H
#define CLUSTER_ENGINE_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/call.h"
#include "cluster/base/env.h"
#include "cluster/base/metrics.h"
#include "cluster/engine/namespace_view.h"
#include "cluster/engine/run.h"
#include "cluster/store/store.h"
#include "proto/api_history.pb-c.h"

struct executor;
struct engine; /* all executors of a node and what they share */
struct request;
struct matching;
struct history_waiters;

/* ---- requests -------------------------------------------------------------------------------- */

/** What a handler works with. Valid during the handler only. */
struct decision {
    struct executor *executor;
    const struct env *env;
    struct arena *arena;       /* scratch of this decision */
    int64_t now_ns;            /* wall clock, once per decision */
    struct namespace_view *ns; /* of the request's namespace; never NULL */
    struct workflow *workflow;
    struct run *run;     /* the run asked for; NULL = there is none */
    struct run *current; /* current run of the workflow id; NULL = none */
};

enum request_want {
    REQUEST_CURRENT, /* run = the current run (may be closed), or NULL */
    REQUEST_RUN,     /* run = the run with request->run_id, or NULL; current is loaded too */
};

/* How a namespace that is not writable here affects the request. */
enum request_access {
    REQUEST_READ,  /* always allowed */
    REQUEST_WRITE, /* waits during handover; fails with NamespaceNotActive when passive */
    REQUEST_APPLY, /* from replication: allowed when passive, and when active */
};

typedef void request_handler(struct decision *d, struct request *request);

/** One piece of work for one workflow id. Owned by the executor from submit until the handler runs
 *  or `failed` is called; the handler takes it back (requests made by the frontend live in the
 *  call's arena). */
struct request {
    struct mail mail;  /* the executor's */
    struct list link;  /* the executor's */
    struct call *call; /* may be NULL (internal work) */
    struct uuid namespace_id;
    struct bytes workflow_id;
    enum request_want want;
    enum request_access access;
    struct uuid run_id; /* REQUEST_RUN */
    bool run_missing;   /* the executor's: the store has no such run */
    request_handler *handle;
    /* Called instead of handle when the work cannot be done (load failed, shard lost, namespace not
     * active, shutdown). NULL: the call is failed with err. */
    void (*failed)(
        struct executor *executor, struct request *request, enum err err, const char *text);
    const void *message; /* the parsed API request, in the call's arena */
    void *ctx;           /* the handler's */
};

/** Routes to the executor that owns the workflow id and queues. ERR_BUSY: full, still the
 *  caller's. Any thread. */
NODISCARD enum err engine_submit(struct engine *engine, struct request *request);
/** The shard of a workflow id: hash64(namespace id, workflow id) mod shards; stored, never
 *  changes. */
int32_t engine_shard(
    const struct engine *engine, struct uuid namespace_id, struct bytes workflow_id);

/* ---- what handlers may do -------------------------------------------------------------------- */

/** An event under construction: type, time and attributes set by the caller. Numbers it, encodes it
 *  into the run's open batch, folds it. The namespace's failover version is used (d->ns). Returns
 *  the event id. CHECKs that the run is open and that no workflow task is in flight unless
 *  `task_outcome` events are being written. */
int64_t decision_append(struct decision *d, struct run *run, Api__HistoryEvent *event);
/** Appends, or buffers durably while a workflow task is in flight (R-I4). `request_id` (may be
 *  NULL) is remembered for dedupe either way. Returns the event id, or 0 when buffered. Limits
 *  (BUFFERED_*_MAX) are the caller's to check first. */
int64_t decision_append_or_buffer(
    struct decision *d, struct run *run, Api__HistoryEvent *event, const char *request_id);
/** Ends the in-flight mark's protection: flushes buffered events to history in the required order
 *  (activity outcomes last, started ids patched), after the caller wrote the task's outcome. */
void decision_flush_buffered(struct decision *d, struct run *run);
/** Remembers a client's request id in the open batch's meta. */
void decision_note_request_id(struct decision *d, struct run *run, const char *request_id);
/** A fresh run of d->workflow, which becomes the current one when `current`. The caller appends its
 *  Started event next. */
struct run *decision_create_run(struct decision *d, struct uuid run_id, bool current);
/** The run's RunHead facts changed (task attempt, sticky, …): must be written. */
void decision_touch(struct decision *d, struct run *run);
/** An activity's fact changed: stored and replicated. `remove`: the row goes away. */
void decision_touch_activity(
    struct decision *d, struct run *run, struct activity *activity, bool remove);
/** A batch value from another cluster that continues the run's current branch: checked, folded,
 *  stored as it is and not sent on. ERR_CORRUPT: the run is unusable and must be discarded with
 *  decision_forget(). */
NODISCARD enum err decision_apply_batch(struct decision *d, struct run *run, struct blob *value);
/** A fact of another cluster takes the place of ours. ERR_CORRUPT leaves the run as it was. */
NODISCARD enum err decision_apply_fact(
    struct decision *d, struct run *run, enum fact_kind kind, int64_t id, struct bytes value);
/** Drops the run from memory: what the store says counts again. Only before it was changed in the
 *  open commit, or when nothing of the change may survive. */
void decision_forget(struct decision *d, struct run *run);
/** Deletes the run and all its rows (and the current pointer when it is current). */
void decision_delete_run(struct decision *d, struct run *run);
/** The run of this workflow with that id if it is loaded, else NULL. */
struct run *decision_loaded_run(struct decision *d, struct uuid run_id);

/** Something that waits for the commit of what was decided so far. */
struct effect {
    struct list link;
    int64_t commit_no; /* the executor's */
    /* err OK: committed. Otherwise: not (ERR_UNAVAILABLE …). Runs on the executor's thread. */
    void (*fire)(struct effect *effect, enum err err);
};

/** Fires after the newest commit that changed `run` (at once, from the executor's step, when none
 *  is pending). run == NULL: after all that was decided so far. */
void decision_defer(struct decision *d, const struct run *run, struct effect *effect);
/** Answers the call with `response`, packed now, released as decision_defer does. */
void decision_reply(
    struct decision *d, const struct run *run, struct call *call, const ProtobufCMessage *response);
void decision_reply_bytes(
    struct decision *d, const struct run *run, struct call *call, struct bytes body);
/** Fails the call, released likewise (errors too wait for what they saw). `detail` is packed now;
 *  NULL = none. */
void decision_fail(struct decision *d, const struct run *run, struct call *call,
    enum grpc_code code, const char *detail_type, const ProtobufCMessage *detail, const char *fmt,
    ...) PRINTF_LIKE(7, 8);

/** Sends the call to the cluster where the namespace is active, if that is another one and the call
 *  may go there. True: it was taken. */
NODISCARD bool decision_forward(struct decision *d, struct request *request);

/* ---- access to the surroundings -------------------------------------------------------------- */

struct engine *executor_engine(struct executor *executor);
struct mailbox *executor_mailbox(struct executor *executor);
struct store *executor_store(struct executor *executor);
struct matching *executor_matching(struct executor *executor);
const char *executor_cluster_name(struct executor *executor);
struct history_waiters *executor_history_waiters(struct executor *executor);
/** Recent batches of the run's current branch that cover [from, next) without a gap, oldest first,
 *  if memory has them all; false = read the store. Views valid during the decision. */
bool run_tail_from(struct run *run, int64_t from_event_id, struct list **ret_first);

/* ---- due actions: implemented by decide_due.c ------------------------------------------------ */

/** The earliest wall-clock time at which the run needs attention; DUE_NONE = never. Pure. */
int64_t run_due_ns(const struct run *run);
/** Performs everything that is due now (dispatches, timeouts, timers, first workflow task). Only
 *  for runs of namespaces active here. */
void decide_due(struct decision *d, struct run *run);

/* ---- other clusters -------------------------------------------------------------------------- */

/** Where committed changes of replicated namespaces go (replicator/publisher). Executor's thread;
 *  must not block; may drop (the outbox table has it). `values[i]` is the batch or fact of item i
 *  or NULL; retained by the callee if kept. */
struct replication_sink {
    void *ctx;
    void (*committed)(void *ctx, int32_t shard, int64_t seq, struct bytes outbox_row,
        struct blob *const *values, size_t count);
};

/** Gets a call whose request may not run here because its namespace is active elsewhere. Returns
 *  true when it took the call (to forward it). Any executor's thread; must not block. */
struct forward_sink {
    void *ctx;
    bool (*forward)(void *ctx, struct call *call, const struct namespace_view *view);
};

/* ---- life ------------------------------------------------------------------------------------ */

struct engine_options {
    const struct env *env;
    struct store *store;
    struct metrics *metrics;
    struct namespace_source namespaces;
    struct replication_sink sink; /* committed == NULL: none */
    struct forward_sink forward;  /* forward == NULL: fail with NamespaceNotActive */
    const char *cluster_name;
    const char *node_id;
    int32_t shards;         /* of the cluster */
    int executors;          /* >= 1 */
    struct waker **wakers;  /* one per executor; NULL entries in the simulator */
    size_t cache_bytes_max; /* per executor */
};

NODISCARD enum err engine_open(
    const struct engine_options *options, struct engine **ret_engine, char text[256]);
void engine_close(struct engine *engine);
void engine_set_matching(struct engine *engine, struct matching *matching);
struct executor *engine_executor(struct engine *engine, int index);
struct executor *engine_executor_of_shard(struct engine *engine, int32_t shard);
int engine_executor_count(const struct engine *engine);
int32_t engine_shard_count(const struct engine *engine);
/** Takes all shards (fence), loads their outbox position. Completes through steps;
 *  engine_is_ready() tells. */
void engine_start(struct engine *engine);
bool engine_is_ready(const struct engine *engine);
/** Stops taking requests, commits what is open; engine_is_idle() tells when done. */
void engine_stop(struct engine *engine);
bool engine_is_idle(const struct engine *engine);
/** One bounded step of one executor: mail, due runs, flush. Returns the monotonic time at which it
 *  wants to run again at the latest (INT64_MAX = only on mail). */
int64_t executor_step(struct executor *executor, int64_t monotonic_now_ns);
/** The namespace has a new view: parked writes are looked at again; a newly active one is scanned
 *  for due runs; a passive one stops dispatching. Any thread. */
void engine_namespace_changed(struct engine *engine, struct uuid namespace_id);

/** Matching dropped tasks of the namespace and has room again: what runs had offered is due again.
 *  Any thread. */
void engine_offers_lost(struct engine *engine, struct uuid namespace_id);

/** Runs fn on the executor of the shard, with access to its open commit: for rows that are not of a
 *  run (namespaces, progress, dead letters, outbox trimming, barriers). */
struct shard_work {
    struct mail mail;
    int32_t shard;
    /* Adds rows to `commit`; returns the effect that fires after it (may be NULL). */
    struct effect *(*fn)(struct shard_work *work, struct executor *executor, struct commit *commit);
    void (*failed)(struct shard_work *work, enum err err); /* shard not owned, shutdown */
    void *ctx;
};
NODISCARD enum err engine_shard_work(struct engine *engine, struct shard_work *work);
/** From within shard_work: adds an item (record.OutboxItem, packed) to the shard's outbox row of
 *  this commit; returns its seq. */
int64_t executor_outbox_add(struct executor *executor, int32_t shard, const void *outbox_item);
/** Newest outbox seq given out / committed of a shard owned here. Executor's thread. */
int64_t executor_outbox_seq(struct executor *executor, int32_t shard);

#endif
