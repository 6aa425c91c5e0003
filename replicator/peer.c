/* SPDX-License-Identifier: Apache-2.0
 *
 * Answering other clusters: what can be answered from memory here and now, the rest by those who
 * know (peer_history.c, failover, frontend).
 */
#include "replicator/peer.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/metadata.h"
#include "replicator/peer_private.h"
#include "replicator/publisher.h"

#define RESPONSE_MARGIN 4096 /* around a body */

/* ---- answers: any thread --------------------------------------------------------------------- */

void peer_respond(void *ctx, const Replication__PeerResponse *response)
{
    struct responder *responder = ctx;
    Replication__PeerResponse sent = *response;
    sent.format = 1;
    size_t max = (size_t)bus_payload_max(responder->message->bus);
    if (replication__peer_response__get_packed_size(&sent) > max) {
        replication__peer_response__init(&sent);
        sent.format = 1;
        sent.grpc_code = GRPC_RESOURCE_EXHAUSTED;
        sent.message = text_field("the answer is larger than a message between clusters may be");
    }
    struct buffer packed = {0};
    proto_pack_into(&packed, &sent.base);
    bus_respond(responder->message, buffer_view(&packed));
    buffer_release(&packed);
    mem_free(responder);
}

size_t peer_body_max(const void *ctx)
{
    const struct responder *responder = ctx;
    int64_t room = bus_payload_max(responder->message->bus) - RESPONSE_MARGIN;
    return room < (int64_t)PEER_BODY_BYTES_MAX ? (size_t)room : PEER_BODY_BYTES_MAX;
}

void peer_respond_code(void *responder, enum grpc_code code, const char *message)
{
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.grpc_code = (uint32_t)code;
    response.message = text_field(message);
    peer_respond(responder, &response);
}

void peer_respond_body(void *responder, struct bytes body, struct bytes next_token)
{
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.body = binary_of(body);
    response.next_token = binary_of(next_token);
    peer_respond(responder, &response);
}

static void respond_message(void *responder, const ProtobufCMessage *message)
{
    struct arena arena CLEANUP(arena_release) = {0};
    peer_respond_body(responder, proto_pack(&arena, message), (struct bytes){0});
}

/* ---- from memory ----------------------------------------------------------------------------- */

static void answer_status(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    (void)request;
    struct arena arena CLEANUP(arena_release) = {0};
    size_t count = (size_t)replicator->options.shards;
    const char *version = replicator->options.server_version;
    Replication__StatusReply reply;
    replication__status_reply__init(&reply);
    reply.cluster = text_field(replicator->self);
    reply.server_version = text_field(version ? version : "");
    reply.time = env_wall_ns(replicator->env);
    reply.n_shards = count;
    reply.shards = arena_zalloc(&arena, count, sizeof(*reply.shards));
    for (size_t i = 0; i < count; i++) {
        Replication__StatusReply__Shard *shard = arena_new(&arena, Replication__StatusReply__Shard);
        replication__status_reply__shard__init(shard);
        shard->shard = (int32_t)i;
        shard->epoch = replicator->epoch;
        shard->newest_seq =
            publisher_newest(replicator->publisher, (int32_t)i, &shard->newest_time);
        reply.shards[i] = shard;
    }
    respond_message(responder, &reply.base);
}

static void answer_republish(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    int target = federation_find(replicator->federation, request->from);
    if (target < 0 || target == replicator->federation->self) {
        peer_respond_code(responder, GRPC_NOT_FOUND, "the asking cluster is not known here");
        return;
    }
    publisher_republish(replicator->publisher, target, request->republish);
    peer_respond_code(responder, GRPC_OK, "");
}

static void answer_digest(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    (void)request;
    struct arena arena CLEANUP(arena_release) = {0};
    respond_message(responder, &metadata_digests(replicator, &arena)->base);
}

static void answer_list(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    struct arena arena CLEANUP(arena_release) = {0};
    respond_message(responder, &metadata_list(replicator, &arena, request->namespace_list)->base);
}

static void answer_put(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    metadata_received(replicator, request->namespace_put);
    peer_respond_code(responder, GRPC_OK, "");
}

/* ---- by others ------------------------------------------------------------------------------- */

static void unimplemented(void *responder)
{
    peer_respond_code(responder, GRPC_UNIMPLEMENTED, "this cluster does not answer such requests");
}

static void answer_forward(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    const struct peer_handlers *handlers = &replicator->handlers;
    if (handlers->forward)
        handlers->forward(handlers->forward_ctx, request->forward, peer_respond, responder);
    else
        unimplemented(responder);
}

static void answer_prepare(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    const struct peer_handlers *handlers = &replicator->handlers;
    if (handlers->handover_prepare)
        handlers->handover_prepare(
            handlers->failover_ctx, request->handover_prepare, peer_respond, responder);
    else
        unimplemented(responder);
}

static void answer_grant(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    const struct peer_handlers *handlers = &replicator->handlers;
    if (handlers->handover_grant)
        handlers->handover_grant(
            handlers->failover_ctx, request->handover_grant, peer_respond, responder);
    else
        unimplemented(responder);
}

static void answer_command(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder)
{
    const struct peer_handlers *handlers = &replicator->handlers;
    if (handlers->failover_command)
        handlers->failover_command(
            handlers->failover_ctx, request->failover_command, peer_respond, responder);
    else
        unimplemented(responder);
}

/* ---- requests -------------------------------------------------------------------------------- */

static peer_answer_fn *answer_of(const Replication__PeerRequest *request)
{
    switch (request->body_case) {
    case REPLICATION__PEER_REQUEST__BODY_FETCH_HISTORY:
        return peer_answer_history;
    case REPLICATION__PEER_REQUEST__BODY_REPUBLISH:
        return answer_republish;
    case REPLICATION__PEER_REQUEST__BODY_NAMESPACE_DIGEST:
        return answer_digest;
    case REPLICATION__PEER_REQUEST__BODY_NAMESPACE_LIST:
        return answer_list;
    case REPLICATION__PEER_REQUEST__BODY_FORWARD:
        return answer_forward;
    case REPLICATION__PEER_REQUEST__BODY_HANDOVER_GRANT:
        return answer_grant;
    case REPLICATION__PEER_REQUEST__BODY_HANDOVER_PREPARE:
        return answer_prepare;
    case REPLICATION__PEER_REQUEST__BODY_STATUS:
        return answer_status;
    case REPLICATION__PEER_REQUEST__BODY_VERIFY_RANGE:
        return peer_answer_digests;
    case REPLICATION__PEER_REQUEST__BODY_FAILOVER_COMMAND:
        return answer_command;
    case REPLICATION__PEER_REQUEST__BODY_NAMESPACE_PUT:
        return answer_put;
    case REPLICATION__PEER_REQUEST__BODY__NOT_SET:
    case _REPLICATION__PEER_REQUEST__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return NULL;
}

static void request_arrived(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct bus_msg *message = CONTAINER_OF(mail, struct bus_msg, mail);
    if (replicator->closing || replicator_stopping(replicator) || !message->wants_reply) {
        bus_msg_drop(message); /* another node answers, or the asker tries again */
        return;
    }
    struct arena arena CLEANUP(arena_release) = {0};
    const Replication__PeerRequest *request =
        proto_unpack(&arena, &replication__peer_request__descriptor, message->data);
    struct responder *responder = mem_new(struct responder);
    responder->replicator = replicator;
    responder->message = message;
    counter_add(replicator->peer->requests, 1);
    if (!request || request->format == 0) {
        peer_respond_code(responder, GRPC_INVALID_ARGUMENT, "the request does not decode");
        return;
    }
    int from = federation_find(replicator->federation, request->from);
    if (from >= 0)
        watch_heard(replicator->watch, from);
    peer_answer_fn *answer = answer_of(request);
    if (answer)
        answer(replicator, request, responder);
    else
        unimplemented(responder);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct peer *peer_open(struct replicator *replicator)
{
    struct peer *peer = mem_new(struct peer);
    peer->replicator = replicator;
    list_init(&peer->calls);
    peer->requests = metrics_counter(replicator->options.metrics, "strait_peer_requests_total",
        NULL, "Requests of other clusters.");
    return peer;
}

void peer_start(struct peer *peer)
{
    struct replicator *replicator = peer->replicator;
    if (!replicator->bus)
        return;
    char subject[160];
    snprintf(subject, sizeof(subject), "strait.peer.%s", replicator->self);
    enum err err = bus_subscribe(replicator->bus, subject, "peer", replicator->mailbox,
        request_arrived, peer, &peer->subscription);
    if (err)
        log_error("peer.failed", "subject=%s err=%s", subject, err_name(err));
}

void peer_close(struct peer *peer)
{
    CHECK(list_empty(&peer->calls));
    mem_free(peer);
}
