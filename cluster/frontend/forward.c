/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that belong to the active cluster: sent there over its NATS, answered here.
 *
 *   frontend_forward ─► bus request ─► forward_done ─┬─ answer ─► the client
 *        ▲                                           └─ "not active" ─► delay ─┐
 *        └──────────────── frontend_handle (looks at the namespace again) ◄────┘
 *
 * F1  A call is sent at most once, unless the other cluster said that it did not execute it. A lost
 *     answer is an unknown outcome and is told to the client as UNAVAILABLE; when the client
 *     repeats the call, its request id dedupes.
 * F2  A request id that the client left out was assigned before (kept->changed), so what is sent is
 *     packed from the message.
 * F3  What came from another cluster is never sent on.
 *
 * "Not active" happens around a failover, when the two clusters learn of it at different moments:
 * the call waits and looks again, for RETRY_MAX_NS at most.
 */
#include <string.h>

#include "cluster/frontend/frontend_private.h"
#include "proto/replication.pb-c.h"
#include "replicator/bus.h"

#define TIMEOUT_DEFAULT_NS (30 * NS_PER_S) /* of a call without a deadline */
#define TIMEOUT_MAX_NS     (70 * NS_PER_S)
#define RETRY_MAX_NS       (10 * NS_PER_S)
#define RETRY_FIRST_NS     (25 * NS_PER_MS)
#define RETRY_LONGEST_NS   NS_PER_S
#define NOT_ACTIVE         "temporal.api.errordetails.v1.NamespaceNotActiveFailure"

struct forwarding {
    struct bus_op op;
    struct delay delay;
    struct frontend *frontend;
    struct call *call;
    const char *target; /* cluster name */
};

/* ---- answers ------------------------------------------------------------------------------- */

static void retry(struct frontend *frontend, struct delay *delay)
{
    const struct forwarding *forwarding = CONTAINER_OF(delay, struct forwarding, delay);
    if (frontend->stopping)
        fail_unavailable(forwarding->call, "server is shutting down");
    else
        frontend_handle(frontend, forwarding->call);
}

/* True when the call waits for another try. */
static bool try_again(struct forwarding *forwarding)
{
    struct frontend *frontend = forwarding->frontend;
    const struct call *call = forwarding->call;
    int64_t now_ns = env_monotonic_ns(frontend->options.env);
    int64_t elapsed_ns = now_ns - call->received_mono_ns;
    int64_t pause_ns = elapsed_ns / 4;
    if (pause_ns < RETRY_FIRST_NS)
        pause_ns = RETRY_FIRST_NS;
    if (pause_ns > RETRY_LONGEST_NS)
        pause_ns = RETRY_LONGEST_NS;
    if (elapsed_ns > RETRY_MAX_NS || call->deadline_mono_ns - now_ns < pause_ns)
        return false;
    forwarding->delay.expire = retry;
    delay_set(frontend, &forwarding->delay, now_ns + pause_ns);
    return true;
}

static void answer(struct forwarding *forwarding, const Replication__PeerResponse *response)
{
    struct call *call = forwarding->call;
    if (response->grpc_code == GRPC_OK) {
        call_reply(call, bytes_make(response->body.data, response->body.len));
        return;
    }
    if (strcmp(response->detail_type, NOT_ACTIVE) == 0) {
        if (!try_again(forwarding))
            fail_unavailable(call, "cluster %s does not hold the namespace active: %s",
                forwarding->target, response->message);
        return;
    }
    bool known = response->grpc_code <= GRPC_UNAUTHENTICATED;
    call_fail(call, known ? (enum grpc_code)response->grpc_code : GRPC_UNKNOWN, response->message,
        *response->detail_type ? response->detail_type : NULL,
        bytes_make(response->detail.data, response->detail.len));
}

static void forward_failed(struct forwarding *forwarding, enum err err)
{
    struct call *call = forwarding->call;
    const char *target = forwarding->target;
    counter_add(forwarding->frontend->forward_failures, 1);
    if (err == ERR_NOT_FOUND)
        fail_unavailable(
            call, "cluster %s, where the namespace is active, does not answer", target);
    else if (err == ERR_TOO_LARGE)
        fail_invalid(
            call, "the request is too large to be forwarded to cluster %s over NATS", target);
    else if (err == ERR_TIMEOUT)
        call_fail_err(call, ERR_TIMEOUT, "cluster %s did not answer in time", target);
    else
        fail_unavailable(call, "the answer of cluster %s was lost (%s): the outcome is unknown",
            target, err_text(err));
}

static void forward_done(struct mail *mail, void *owner)
{
    (void)owner;
    struct bus_op *op = CONTAINER_OF(mail, struct bus_op, mail);
    struct forwarding *forwarding = CONTAINER_OF(op, struct forwarding, op);
    if (op->err) {
        forward_failed(forwarding, op->err);
        return;
    }
    const Replication__PeerResponse *response = proto_unpack(
        &forwarding->call->arena, &replication__peer_response__descriptor, blob_view(op->reply));
    blob_unref(op->reply);
    op->reply = NULL;
    if (response)
        answer(forwarding, response);
    else
        forward_failed(forwarding, ERR_CORRUPT);
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct blob *pack_request(
    const struct frontend *frontend, struct call *call, int64_t timeout_ns)
{
    Replication__Forward forward;
    replication__forward__init(&forward);
    forward.method = event_text(call->method);
    forward.body.data = (uint8_t *)(uintptr_t)call->request.data;
    forward.body.len = call->request.len;
    forward.timeout_ms = timeout_ns / NS_PER_MS;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.format = 1;
    request.from = event_text(frontend->cluster);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_FORWARD;
    request.forward = &forward;
    return blob_from(proto_pack(&call->arena, &request.base));
}

static void forward_send(
    struct frontend *frontend, struct call *call, const struct federation_cluster *target)
{
    struct api_kept *kept = call->user;
    if (kept->changed) {
        call->request = proto_pack(&call->arena, kept->message);
        kept->changed = false;
    }
    int64_t timeout_ns = TIMEOUT_DEFAULT_NS;
    if (call->deadline_mono_ns != INT64_MAX)
        timeout_ns = call->deadline_mono_ns - env_monotonic_ns(frontend->options.env);
    if (timeout_ns > TIMEOUT_MAX_NS)
        timeout_ns = TIMEOUT_MAX_NS;
    if (timeout_ns < NS_PER_MS) {
        call_fail_err(call, ERR_TIMEOUT, "deadline passed");
        return;
    }
    struct forwarding *forwarding = arena_new(&call->arena, struct forwarding);
    forwarding->frontend = frontend;
    forwarding->call = call;
    forwarding->target = target->name;
    forwarding->op.mail.deliver = forward_done;
    forwarding->op.reply_to = frontend->mailbox;
    struct blob *request = pack_request(frontend, call, timeout_ns);
    const char *subject = arena_printf(&call->arena, "strait.peer.%s", target->name);
    counter_add(frontend->forwards, 1);
    /* The answer may be here before this returns: the call is not ours any more. */
    bus_request(target->bus, subject, request, timeout_ns, &forwarding->op);
    blob_unref(request);
}

bool frontend_forward(
    struct frontend *frontend, struct call *call, const struct namespace_view *view)
{
    const struct api_kept *kept = call->user;
    if (kept && kept->method->route == ROUTE_TASK) {
        fail_task_lost(call, view, frontend->cluster);
        return true;
    }
    if (!kept || call->forwarded || call->no_forward)
        return false;
    bool read = kept->method->route == ROUTE_QUERY || kept->method->route == ROUTE_READ;
    if (kept->method->route != ROUTE_WRITE && !read)
        return false;
    const struct federation *federation = frontend->options.federation;
    int index = federation_find(federation, view->active_cluster);
    if (index < 0 || index == federation->self || !federation->clusters[index].bus)
        return false;
    const struct federation_cluster *target = &federation->clusters[index];
    if (bus_connected(target->bus)) {
        forward_send(frontend, call, target);
        return true;
    }
    if (read)
        return false; /* an older answer is better than none */
    counter_add(frontend->forward_failures, 1);
    fail_unavailable(call,
        "namespace %s is active in cluster %s, whose NATS cannot be reached from cluster %s",
        view->name, target->name, frontend->cluster);
    return true;
}
