/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking other clusters. A call is on the list of calls under way from its submission to its end,
 * so that a stop can end it before its answer is back.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/peer.h"
#include "replicator/peer_private.h"

#define FETCH_TIMEOUT_NS (10 * NS_PER_S)
#define FETCH_CHUNKS_MAX 1024u

/** One request. The mail arrives twice: when it was submitted (it joins the list) and as the
 *  operation's end. */
struct peer_call {
    struct bus_op op;
    struct mail begin;
    struct list link; /* peer->calls */
    struct replicator *replicator;
    struct arena arena;
    int cluster;
    int64_t timeout_ns;
    struct blob *request;
    peer_done_fn *done; /* NULL: nobody waits (any more) */
    void *ctx;
};

static void call_tell(
    struct peer_call *call, enum err err, const Replication__PeerResponse *response)
{
    peer_done_fn *done = call->done;
    call->done = NULL;
    if (done)
        done(call->ctx, err, response);
}

static void call_free(struct peer_call *call)
{
    list_remove(&call->link);
    arena_release(&call->arena);
    blob_unref(call->request);
    blob_unref(call->op.reply);
    mem_free(call);
}

static void call_ended(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct peer_call *call = CONTAINER_OF(mail, struct peer_call, op.mail);
    enum err err = call->op.err;
    const Replication__PeerResponse *response = NULL;
    if (!err) {
        response = proto_unpack(
            &call->arena, &replication__peer_response__descriptor, blob_view(call->op.reply));
        err = response ? OK : ERR_CORRUPT;
    }
    if (!err && !replicator->closing)
        watch_heard(replicator->watch, call->cluster);
    call_tell(call, err, response);
    call_free(call);
}

static void call_begin(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct peer_call *call = CONTAINER_OF(mail, struct peer_call, begin);
    struct bus *bus = cluster_bus(replicator, call->cluster);
    if (replicator->closing || replicator_stopping(replicator) || !bus) {
        call_tell(call, bus ? ERR_CLOSED : ERR_UNAVAILABLE, NULL);
        call_free(call);
        return;
    }
    list_push_back(&replicator->peer->calls, &call->link);
    char subject[160];
    snprintf(subject, sizeof(subject), "strait.peer.%s", cluster_name(replicator, call->cluster));
    call->op.mail.deliver = call_ended;
    call->op.reply_to = replicator->mailbox;
    bus_request(bus, subject, call->request, call->timeout_ns, &call->op);
}

void replicator_peer_call(struct replicator *replicator, int cluster,
    const Replication__PeerRequest *request, int64_t timeout_ns, peer_done_fn *done, void *ctx)
{
    CHECK(cluster >= 0 && cluster < replicator->federation->count);
    Replication__PeerRequest sent = *request;
    sent.format = 1;
    sent.from = text_field(replicator->self);
    struct peer_call *call = mem_new(struct peer_call);
    call->replicator = replicator;
    call->cluster = cluster;
    call->timeout_ns = timeout_ns;
    call->request = blob_alloc(replication__peer_request__get_packed_size(&sent));
    replication__peer_request__pack(&sent, call->request->data);
    call->done = done;
    call->ctx = ctx;
    call->begin.deliver = call_begin;
    /* Its number is bounded by who waits: not by the capacity for what others send us. */
    mailbox_complete(replicator->mailbox, &call->begin);
}

void peer_stop(struct peer *peer)
{
    for (struct list *at = peer->calls.next; at != &peer->calls; at = at->next)
        call_tell(CONTAINER_OF(at, struct peer_call, link), ERR_CLOSED, NULL);
}

/* ---- events of a run ------------------------------------------------------------------------- */

/** One page of a run's events, which may come in chunks. */
struct fetch {
    struct replicator *replicator;
    int source;
    struct arena arena;
    Replication__FetchHistory request;
    struct buffer body;
    unsigned chunks;
    void (*done)(void *done_ctx, const Replication__HistoryRange *range, bool gone);
    void *ctx;
};

static void fetch_end(struct fetch *fetch, const Replication__HistoryRange *range, bool gone)
{
    fetch->done(fetch->ctx, range, gone);
    buffer_release(&fetch->body);
    arena_release(&fetch->arena);
    mem_free(fetch);
}

static void fetch_send(struct fetch *fetch);

static void fetch_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct fetch *fetch = ctx;
    if (err || response->grpc_code != GRPC_OK) {
        fetch_end(fetch, NULL, !err && response->grpc_code == GRPC_NOT_FOUND);
        return;
    }
    buffer_append(&fetch->body, response->body.data, response->body.len);
    bool chunk = response->next_token.len > 0 && response->next_token.data[0] == PEER_TOKEN_CHUNK;
    if (chunk && ++fetch->chunks < FETCH_CHUNKS_MAX) {
        struct bytes token = bytes_copy(&fetch->arena, bytes_from(response->next_token));
        fetch->request.token = binary_of(token);
        fetch_send(fetch);
        return;
    }
    const Replication__HistoryRange *range = NULL;
    if (!chunk)
        range = proto_unpack(
            &fetch->arena, &replication__history_range__descriptor, buffer_view(&fetch->body));
    fetch_end(fetch, range, false);
}

static void fetch_send(struct fetch *fetch)
{
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_FETCH_HISTORY;
    request.fetch_history = &fetch->request;
    replicator_peer_call(
        fetch->replicator, fetch->source, &request, FETCH_TIMEOUT_NS, fetch_answered, fetch);
}

void peer_fetch(void *ctx, int source, const Replication__FetchHistory *request,
    void (*done)(void *done_ctx, const Replication__HistoryRange *range, bool gone), void *done_ctx)
{
    struct fetch *fetch = mem_new(struct fetch);
    fetch->replicator = ctx;
    fetch->source = source;
    fetch->done = done;
    fetch->ctx = done_ctx;
    fetch->request = *request;
    struct arena *arena = &fetch->arena;
    fetch->request.namespace_id = binary_of(bytes_copy(arena, bytes_from(request->namespace_id)));
    fetch->request.run_id = binary_of(bytes_copy(arena, bytes_from(request->run_id)));
    fetch->request.workflow_id = arena_strdup(arena, request->workflow_id);
    fetch->request.token = binary_of(bytes_copy(arena, bytes_from(request->token)));
    fetch_send(fetch);
}
