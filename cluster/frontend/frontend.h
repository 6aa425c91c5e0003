/* SPDX-License-Identifier: Apache-2.0
 *
 * The public API: turns calls into requests to the engine, polls to matching, reads of the store
 * and changes of namespaces; sends to the active cluster what belongs there.
 *
 * frontend_handle() runs on any thread and never blocks. What completes later (store reads, answers
 * of other clusters, parked polls without tasks) comes back through the frontend's mailbox and is
 * dealt with by frontend_step(), on the thread of the service loop.
 */
#ifndef CLUSTER_FRONTEND_FRONTEND_H
#define CLUSTER_FRONTEND_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/call.h"
#include "cluster/base/env.h"
#include "cluster/base/metrics.h"
#include "cluster/engine/executor.h"
#include "cluster/matching/matching.h"
#include "cluster/namespace/federation.h"
#include "cluster/namespace/registry.h"
#include "cluster/store/store.h"

struct frontend;
struct config;

struct frontend_options {
    const struct env *env;
    struct engine *engine;
    struct matching *matching;
    struct registry *registry;
    const struct federation *federation; /* its buses carry forwarded calls */
    struct store *store;
    struct metrics *metrics;
    struct waker *waker;         /* of the loop that steps; NULL in the simulator */
    const struct config *config; /* default retention; NULL in tests */
    const char *server_version;
    /* UpdateNamespace with an active cluster: takes the call over and ends it, on success with
     * frontend_reply_namespace(). */
    struct {
        void *ctx;
        void (*start)(void *ctx, struct call *call, const char *namespace_name, const char *target);
    } failover;
};

NODISCARD enum err frontend_open(
    const struct frontend_options *options, struct frontend **ret_frontend, char ret_reason[256]);
/** After frontend_stop(), when all calls have ended and nobody steps any more. NULL is ignored. */
void frontend_close(struct frontend *frontend);
/** Parked polls end empty, later ones too; forwarded calls that wait for a retry fail. Any thread.
 *  */
void frontend_stop(struct frontend *frontend);
/** Takes a call over: every method of WorkflowService and OperatorService. Any thread. */
void frontend_handle(void *frontend, struct call *call);
/** Mail and deadlines; returns when it wants to run again at the latest. */
int64_t frontend_step(struct frontend *frontend, int64_t monotonic_now_ns);

/** For engine_options.forward: sends a call to the cluster where its namespace is active. False: it
 *  must fail here. Any thread. */
bool frontend_forward(
    struct frontend *frontend, struct call *call, const struct namespace_view *view);
/** For matching_options.sink. Matching's thread. */
void frontend_matched(struct frontend *frontend, struct task *task, struct poll *poll);
void frontend_poll_empty(struct frontend *frontend, struct poll *poll);

/** Answers an UpdateNamespace call with the namespace as it is now. Any thread. */
void frontend_reply_namespace(
    struct frontend *frontend, struct call *call, const char *namespace_name);

/** How a call ended that another cluster forwarded; views live until it returns. Any thread. */
struct forward_answer {
    enum grpc_code code;
    const char *message;     /* "" when OK */
    const char *detail_type; /* NULL = no detail */
    struct bytes detail;
    struct bytes body;
};
typedef void forward_respond_fn(const struct forward_answer *answer, void *ctx);

/** Executes a call that another cluster forwarded (replication.Forward): `respond` runs exactly
 *  once, possibly before this returns. Strings and body are copied. Any thread. */
void frontend_handle_forward(struct frontend *frontend, const char *method, struct bytes body,
    int64_t timeout_ms, forward_respond_fn *respond, void *ctx);

#endif
