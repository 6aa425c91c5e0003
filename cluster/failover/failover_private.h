/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the failover share.
 *
 * All of it belongs to the thread that steps the failover, except where it says otherwise. What is
 * asked of others (a record change, a barrier, a peer) comes back as a `struct completion` in the
 * mailbox; an operation lives until its last completion is back.
 */
#ifndef CLUSTER_FAILOVER_FAILOVER_PRIVATE_H
#define CLUSTER_FAILOVER_FAILOVER_PRIVATE_H

#include <stdatomic.h>

#include "cluster/base/arena.h"
#include "cluster/base/limits.h"
#include "cluster/base/list.h"
#include "cluster/base/mailbox.h"
#include "cluster/engine/executor.h"
#include "cluster/failover/failover.h"
#include "cluster/namespace/registry.h"
#include "proto/record.pb-c.h"

#define FAILOVER_HISTORY_MAX 20 /* entries kept in a record */
#define HANDOVER_MS_MAX      600000

/** An answer of another cluster; valid during the call. `err` != OK: none came, and `response` is
 *  NULL. Any thread. */
typedef void failover_answer_fn(void *ctx, enum err err, const Replication__PeerResponse *response);

/** What the failover needs of the replicator: failover_replicator.c, or a test's. Any thread. */
struct failover_peers {
    void *ctx;
    /* Asks a cluster; `answer` runs exactly once. */
    void (*call)(void *ctx, int cluster, Replication__PeerRequest *request, int64_t timeout_ns,
        failover_answer_fn *answer, void *answer_ctx);
    /* How many of our shards the target has applied up to this handover's barrier. */
    int32_t (*barriers)(void *ctx, int target, const char *handover_id);
    /* Unresolved dead letters of the namespace, stored here. */
    int64_t (*dead_letters)(void *ctx, struct uuid namespace_id);
    /* Per shard of the source: what was applied here and what is known to exist there. */
    size_t (*losses)(
        void *ctx, int source, struct arena *arena, Replication__ShardLoss ***ret_losses);
};

/* Where an operation is. */
enum failover_stage {
    FAILOVER_RELAY,    /* another cluster runs it */
    FAILOVER_CHECK,    /* the target is asked whether it is there */
    FAILOVER_ENTER,    /* HANDOVER is being stored */
    FAILOVER_BARRIERS, /* barriers are being stored, shipped and applied */
    FAILOVER_GRANT,    /* the grant is being stored */
    FAILOVER_NOTIFY,   /* granted: the target is told until it acknowledges */
    FAILOVER_REVERT,   /* NORMAL is being stored */
    FAILOVER_PLAN,     /* forced: the old active cluster is asked how far it is */
    FAILOVER_FORCE,    /* forced: the takeover is being stored */
    FAILOVER_ENDED,
};

struct operation {
    struct mail mail; /* how it arrives */
    struct list link; /* failover->operations */
    struct failover *failover;
    struct arena arena; /* until it is freed */
    struct failover_request request;
    bool relayed;           /* asked for by another cluster: not relayed again */
    failover_done_fn *done; /* NULL: told, or nobody asked */
    void *ctx;
    enum failover_stage stage;
    int outstanding; /* completions to come */

    struct uuid namespace_id;
    int source; /* the active cluster at the beginning */
    int target;
    char handover_id[UUID_TEXT_LEN + 1];
    int64_t expires_mono_ns;
    int64_t paused_mono_ns; /* since when writes wait */
    int64_t granted_mono_ns;
    int64_t retry_mono_ns; /* NOTIFY, REVERT: next try */
    bool waiting;          /* NOTIFY, REVERT: a try is under way */
    int32_t barriers_sent;
    int32_t barriers_stored;
    enum err barrier_err;

    const char *kind; /* of the result, and the rest of it: */
    int64_t version;
    int64_t pause_ms;
    Replication__ShardLoss **losses;
    size_t loss_count;
    enum grpc_code code;
    const char *message;
};

/** Something asked of others. Filled on any thread before it is posted. */
struct completion {
    struct mail mail;
    struct list link; /* failover->completions */
    struct operation *operation;
    void (*handle)(struct operation *operation, struct completion *completion);
    enum err err;
    char text[256];
    int64_t mono_ns;                  /* when it happened */
    int64_t version;                  /* change: of the stored record */
    int64_t pause_ms;                 /* change: as in its failover history */
    Replication__PeerResponse *reply; /* call: in the arena */
    struct arena arena;
    struct shard_work work; /* barrier */
    struct effect effect;
};

struct failover {
    struct failover_options options;
    const struct env *env;
    const struct federation *federation;
    struct failover_peers peers;
    struct mailbox *mailbox;
    struct list operations;
    struct list completions;
    int64_t mono_ns; /* of this step */
    int64_t sweep_mono_ns;
    _Atomic(bool) stopping;
    _Atomic(bool) handover_seen; /* a record may be in HANDOVER */
};

/** As failover_open, with the test's peers. */
NODISCARD enum err failover_open_with(const struct failover_options *options,
    const struct failover_peers *peers, struct failover **ret_failover);

/* failover.c */
/** As failover_start; `relayed`: by another cluster. Any thread. */
void failover_begin(struct failover *failover, const struct failover_request *request, bool relayed,
    failover_done_fn *done, void *ctx);
/** Tells the caller how it ended, once. `fmt` NULL = OK. */
void operation_tell(struct operation *operation, enum grpc_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/** Ends it; freed when its last completion is back. After operation_tell. */
void operation_end(struct operation *operation);
struct completion *completion_new(struct operation *operation,
    void (*handle)(struct operation *operation, struct completion *completion));
/** Any thread. */
void completion_post(struct completion *completion, enum err err, const char *text);
/** Asks a cluster; the answer comes to `handle`. */
void operation_call(struct operation *operation, int cluster, Replication__PeerRequest *request,
    int64_t timeout_ns, void (*handle)(struct operation *operation, struct completion *completion));
/** Changes the record; the outcome comes to `handle`. The function's ctx is the completion. */
void operation_change(struct operation *operation, registry_change_fn *change,
    void (*handle)(struct operation *operation, struct completion *completion));
/** An operation without a caller that only brings a stranded handover back to NORMAL. */
void failover_rescue(struct failover *failover, const Record__Namespace *record);

/* failover_graceful.c */
void graceful_start(struct operation *operation);
/** Goes on with what is not driven by completions; returns when it wants to run again. */
int64_t graceful_step(struct operation *operation);
/** Back to NORMAL; the caller is told this then. */
void graceful_abort(struct operation *operation, enum grpc_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* failover_forced.c */
void forced_start(struct operation *operation);
/** What may be missing here of the source's changes, as one clause; "" = nothing known. */
const char *loss_text(struct operation *operation);
/** Reads what is known without asking anybody. */
void loss_collect(struct operation *operation);

/* failover_relay.c */
void relay_start(struct operation *operation, int cluster);

/* failover_record.c: the changes, each one compare-and-set; ctx = completion */
registry_change_fn record_enter;
registry_change_fn record_grant;
registry_change_fn record_revert;
registry_change_fn record_force;
/** Whether a cluster is one of the namespace's. */
bool record_has_cluster(const Record__Namespace *record, const char *cluster);

#endif
