/* SPDX-License-Identifier: Apache-2.0
 *
 * The replicator: everything that moves changes between this cluster and the others. It ships what
 * the engine committed (publisher), applies what others committed (receiver, apply), keeps
 * namespace records alike (metadata), asks and answers other clusters (peer), compares runs
 * (verify).
 *
 * One thread owns it: the one that calls replicator_step(). Handlers of applied items run on the
 * executors; everything else comes in as mail. What other threads may call says so.
 *
 * Order of life: replicator_open, engine_open (with replicator_sink), replicator_set_engine,
 * replicator_set_handlers, steps; replicator_stop, steps until replicator_is_idle, the buses
 * closed, replicator_close.
 */
#ifndef REPLICATOR_REPLICATOR_H
#define REPLICATOR_REPLICATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/config.h"
#include "cluster/base/env.h"
#include "cluster/base/metrics.h"
#include "cluster/engine/executor.h"
#include "cluster/namespace/federation.h"
#include "proto/record.pb-c.h"
#include "proto/replication.pb-c.h"

struct registry;
struct replicator;

/** All of it outlives the replicator, except the buses, which are closed before it. */
struct replicator_options {
    const struct env *env;
    struct store *store;
    struct registry *registry;
    const struct federation *federation;
    struct metrics *metrics;
    struct waker *waker; /* of the loop that steps us; NULL in the simulator */
    const struct config_replication *config;
    const char *server_version; /* told to other clusters; NULL = unknown */
    int32_t shards;
};

/** Reads epoch, progress and dead letters from the store (and sleeps for that). ERR_UNAVAILABLE,
 *  ERR_CORRUPT with the reason in text. */
NODISCARD enum err replicator_open(
    const struct replicator_options *options, struct replicator **ret_replicator, char text[256]);
/** For engine_options.sink. */
struct replication_sink replicator_sink(struct replicator *replicator);
/** Before the first step. */
void replicator_set_engine(struct replicator *replicator, struct engine *engine);
/** One bounded step; returns when it wants to run again at the latest (monotonic ns). */
int64_t replicator_step(struct replicator *replicator, int64_t monotonic_now_ns);
/** Takes nothing new from other clusters and publishes nothing more. Any thread. */
void replicator_stop(struct replicator *replicator);
/** After a stop: nothing of it is under way in the engine or the store. Any thread. */
bool replicator_is_idle(const struct replicator *replicator);
/** After the buses and the store were closed and the loop has ended. NULL is ignored. */
void replicator_close(struct replicator *replicator);

/* ---- other clusters -------------------------------------------------------------------------- */

/** Answers a request of another cluster: exactly once, from any thread. The response is packed
 *  before it returns. */
typedef void peer_respond_fn(void *responder, const Replication__PeerResponse *response);

/** Requests that other parts answer; the message is valid during the call, which runs in
 *  replicator_step(). NULL = answered UNIMPLEMENTED. */
struct peer_handlers {
    void *forward_ctx;
    void (*forward)(
        void *ctx, const Replication__Forward *forward, peer_respond_fn *respond, void *responder);
    void *failover_ctx;
    void (*handover_prepare)(void *ctx, const Replication__HandoverPrepare *prepare,
        peer_respond_fn *respond, void *responder);
    void (*handover_grant)(void *ctx, const Replication__HandoverGrant *grant,
        peer_respond_fn *respond, void *responder);
    void (*failover_command)(void *ctx, const Replication__FailoverCommand *command,
        peer_respond_fn *respond, void *responder);
};

/** Before the first step. */
void replicator_set_handlers(struct replicator *replicator, const struct peer_handlers *handlers);

/** The answer of another cluster; valid during the call. err != OK: none came, response is NULL;
 *  the outcome is unknown unless ERR_NOT_FOUND (nobody listens). Runs in replicator_step(). */
typedef void peer_done_fn(void *ctx, enum err err, const Replication__PeerResponse *response);

/** Asks a cluster (index in the federation). Fills in format and sender. `done` runs exactly once,
 *  at the latest during replicator_close(). Any thread. */
void replicator_peer_call(struct replicator *replicator, int cluster,
    const Replication__PeerRequest *request, int64_t timeout_ns, peer_done_fn *done, void *ctx);

/* ---- failover -------------------------------------------------------------------------------- */

/** How many of our shards the target has applied up to and with this handover's barrier. Any
 *  thread. */
int32_t replicator_barriers(struct replicator *replicator, int target, const char *handover_id);
/** Unresolved dead letters of the namespace stored here; zero id = of all. Any thread. */
int64_t replicator_dead_letters(struct replicator *replicator, struct uuid namespace_id);
/** Per shard of the source: what is applied here and what is known to exist there. Shards without a
 *  known difference are there too. Any thread. */
size_t replicator_losses(struct replicator *replicator, int source, struct arena *arena,
    Replication__ShardLoss ***ret_losses);

/* ---- watching -------------------------------------------------------------------------------- */

enum lane_state { LANE_OK, LANE_WAITING, LANE_DISCONNECTED };

/** One direction of one namespace between this cluster and another. Seqs are sums over the source's
 *  shards. */
struct replication_lane {
    const char *namespace_name;
    struct uuid namespace_id;
    const char *source;
    const char *target;
    int64_t lag_events;  /* history events known and not drained at the target */
    int64_t lag_ms;      /* age of the oldest of them; 0 = none */
    int64_t outbox_rows; /* of all namespaces: not drained by the target */
    int64_t applied_seq;
    int64_t newest_seq;
    enum lane_state state;
};

/** "ok", "waiting", "disconnected". */
const char *lane_state_text(enum lane_state state);
/** All lanes of a namespace (zero id = of all namespaces) in the arena, by namespace name. Any
 *  thread. */
size_t replicator_lanes(struct replicator *replicator, struct arena *arena,
    struct uuid namespace_id, struct replication_lane **ret_lanes);

/** What is known of another cluster. */
struct replication_cluster {
    bool connected;        /* to its NATS */
    int64_t heard_mono_ns; /* when it last said something; 0 = never */
    int32_t shards;        /* 0 = unknown */
    char server_version[64];
};

/** Also of self (connected and shards only). Any thread. */
void replicator_cluster(
    struct replicator *replicator, int cluster, struct replication_cluster *ret_cluster);

/** Dead letters, oldest first; valid during the call, which runs in replicator_step(). */
typedef void dead_letters_done_fn(
    void *ctx, enum err err, Record__DeadLetter *const *items, size_t count);
void replicator_list_dead_letters(
    struct replicator *replicator, uint32_t limit, dead_letters_done_fn *done, void *ctx);

/* ---- verification ---------------------------------------------------------------------------- */

#define VERIFY_DIFFERENCES_MAX 100 /* listed; all are counted */

enum verify_kind {
    VERIFY_MISSING_HERE,
    VERIFY_MISSING_THERE, /* only counted: run and workflow id are empty */
    VERIFY_BEHIND_HERE,   /* fewer events, so far as comparable the same line */
    VERIFY_BEHIND_THERE,
    VERIFY_DIFFERENT, /* other events */
};

struct verify_difference {
    enum verify_kind kind;
    const char *workflow_id;
    char run_id[37];
    int64_t event_id_here; /* last ones; 0 = no run */
    int64_t event_id_there;
};

/** Valid during the callback. */
struct verify_result {
    enum err err; /* the comparison could not be finished */
    const char *text;
    int64_t runs_compared;
    int64_t runs_equal;
    int64_t difference_count;
    const struct verify_difference *differences;
    size_t listed;
};

typedef void verify_done_fn(void *ctx, const struct verify_result *result);
/** Static text of a kind, e.g. "missing here". */
const char *verify_kind_text(enum verify_kind kind);
/** Compares the runs of a namespace with another cluster's, as they are now: what is still under
 *  way between them shows as behind. `done` runs exactly once, in replicator_step() or during
 *  replicator_close(). Any thread. */
void replicator_verify(struct replicator *replicator, struct uuid namespace_id, int cluster,
    verify_done_fn *done, void *ctx);

#endif
