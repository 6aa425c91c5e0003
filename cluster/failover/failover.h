/* SPDX-License-Identifier: Apache-2.0
 *
 * Failover of one namespace: moves the active role between clusters.
 *
 * Graceful (the default) is coordinated by the active cluster, wherever it was asked for:
 *
 *   check ─► HANDOVER stored ─► a barrier per shard ─► target applied all ─► grant ─► acknowledged
 *     │             │                   │                     │
 *     └─ refused    └───────────────────┴── failed, expired ──┴──► NORMAL again, nothing moved
 *
 * While the namespace is in HANDOVER its writes wait. The grant is one compare-and-set on the
 * record of the active cluster (R23): it happens entirely or the handover expires entirely; the
 * target takes over only by receiving the granted record, sent until acknowledged and carried by
 * the anti-entropy of namespace records beside.
 *
 * Forced runs on the target alone. It says first what may be missing and changes nothing unless the
 * loss is accepted; "nothing is missing" is claimed only when it is proven (R25).
 *
 * Any thread may start one; everything else happens in failover_step(). One failover per namespace
 * at a time.
 */
#ifndef CLUSTER_FAILOVER_FAILOVER_H
#define CLUSTER_FAILOVER_FAILOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/env.h"
#include "cluster/base/err.h"
#include "cluster/namespace/federation.h"
#include "proto/replication.pb-c.h"

struct engine;
struct failover;
struct registry;
struct replicator;
struct waker;

struct failover_options {
    const struct env *env;
    struct registry *registry;
    struct engine *engine;
    struct replicator *replicator;
    const struct federation *federation;
    struct waker *waker; /* of the loop that steps us; NULL in the simulator */
    int64_t handover_ms; /* how long a graceful failover may hold writes back */
};

/** What is asked for. Strings are copied. */
struct failover_request {
    const char *namespace_name;
    const char *target;
    bool force;
    bool accept_loss;    /* forced: go on although something may be lost */
    int64_t deadline_ms; /* graceful; 0 = the configured time */
    const char *reason;  /* kept in the failover history; NULL = none */
    const char *identity;
};

/** How it ended. Valid during the callback. */
struct failover_result {
    enum grpc_code code; /* GRPC_OK: the target is the active cluster */
    const char *message; /* "" when OK */
    /* From, to, version, pause, kind; losses of a forced one, also when it was refused for them.
     * Never NULL. */
    const Replication__FailoverResult *detail;
};

typedef void failover_done_fn(void *ctx, const struct failover_result *result);

NODISCARD enum err failover_open(
    const struct failover_options *options, struct failover **ret_failover);
/** Starts one; relays it to the cluster that must run it. `done` runs exactly once, from
 *  failover_step(). Any thread. */
void failover_start(struct failover *failover, const struct failover_request *request,
    failover_done_fn *done, void *ctx);
/** One bounded step; returns when it wants to run again at the latest (monotonic ns). */
int64_t failover_step(struct failover *failover, int64_t monotonic_now_ns);
/** No further failovers; those under way end in the next steps: not granted yet means back to
 *  NORMAL. Any thread. */
void failover_stop(struct failover *failover);
/** After the loop that steps it ended. NULL is ignored. */
void failover_close(struct failover *failover);

/* Requests of other clusters: for the peer handlers of the replicator; ctx is the failover. Any
 * thread; `respond` is called exactly once, from any thread. */
typedef void failover_respond_fn(void *responder, const Replication__PeerResponse *response);
void failover_peer_grant(void *ctx, const Replication__HandoverGrant *grant,
    failover_respond_fn *respond, void *responder);
void failover_peer_command(void *ctx, const Replication__FailoverCommand *command,
    failover_respond_fn *respond, void *responder);

#endif
