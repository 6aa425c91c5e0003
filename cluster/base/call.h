/* SPDX-License-Identifier: Apache-2.0
 *
 * A call: one request that somebody waits for, however it arrived (gRPC, forwarded over the bus,
 * simulator). Parked calls hold no thread.
 *
 * Ownership: whoever holds the pointer must end it exactly once with call_reply() or call_fail(),
 * from any thread; after that the pointer is dead. The request memory lives in call->arena until
 * then. A call's cancellation is only observed (call_is_cancelled, call_watch), never freed under
 * the holder.
 */
#ifndef CLUSTER_BASE_CALL_H
#define CLUSTER_BASE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "cluster/base/mailbox.h"

struct call;

/** How a transport ends calls. */
struct call_ops {
    /* Sends `body` (serialized response) with status OK; consumes the call. */
    void (*reply)(struct call *call, struct bytes body);
    /* Sends a status. `detail_type` is the full name of the error detail message (e.g.
     * "temporal.api.errordetails.v1.NotFoundFailure") or NULL; `detail` its serialized bytes.
     * Consumes the call. */
    void (*fail)(struct call *call, enum grpc_code code, const char *message,
        const char *detail_type, struct bytes detail);
    /* True once the client went away or the deadline passed. Any thread. */
    bool (*is_cancelled)(struct call *call);
    /* From now on, when the client goes away: one mail, `watch`, to `mailbox` (at most once; may
     * race with the end of the call: ops->unwatch tells). */
    void (*watch)(struct call *call, struct mailbox *mailbox, struct mail *watch);
    /* Takes the watch back. True: the mail will not be delivered. False: it is on its way or was
     * delivered, and must be received before the memory of `watch` is reused. */
    bool (*unwatch)(struct call *call);
};

/** What every transport provides. Transports embed it. */
struct call {
    const struct call_ops *ops;
    struct arena arena; /* request memory; freed with the call */
    const char *method; /* e.g. "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo" */
    struct bytes request;     /* serialized request body, in the arena */
    int64_t deadline_mono_ns; /* monotonic; INT64_MAX = none */
    int64_t received_mono_ns; /* when the call arrived */
    void *user;               /* the holder's, e.g. the parsed request */
    bool forwarded;           /* came from another cluster: must not be forwarded again */
    bool no_forward;          /* the client asked not to be redirected */
};

void call_reply(struct call *call, struct bytes body);
void call_fail(struct call *call, enum grpc_code code, const char *message, const char *detail_type,
    struct bytes detail);
/** call_fail with the table's status and a formatted message, no details. */
void call_fail_err(struct call *call, enum err err, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool call_is_cancelled(struct call *call);
void call_watch(struct call *call, struct mailbox *mailbox, struct mail *watch);
bool call_unwatch(struct call *call);

#endif
