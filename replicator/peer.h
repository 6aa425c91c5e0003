/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions between clusters: requests on `strait.peer.<cluster>` over that cluster's NATS,
 * answered by one of its nodes. See replication.PeerRequest.
 */
#ifndef REPLICATOR_PEER_H
#define REPLICATOR_PEER_H

#include "replicator/replicator_private.h"

#define PEER_BODY_BYTES_MAX (512u * KIB)

struct peer *peer_open(struct replicator *replicator);
void peer_start(struct peer *peer);
/** Calls under way end with ERR_CLOSED. */
void peer_stop(struct peer *peer);
void peer_close(struct peer *peer);

/* peer_call.c */
/** The hook of apply: events of a run from a source. */
void peer_fetch(void *replicator, int source, const Replication__FetchHistory *request,
    void (*done)(void *done_ctx, const Replication__HistoryRange *range, bool gone),
    void *done_ctx);

/* peer_history.c, peer_serve.c: one request each; `respond` exactly once. */
typedef void peer_answer_fn(
    struct replicator *replicator, const Replication__PeerRequest *request, void *responder);
peer_answer_fn peer_answer_history;
peer_answer_fn peer_answer_digests;
void peer_respond(void *responder, const Replication__PeerResponse *response);
/** An answer without a body. */
void peer_respond_code(void *responder, enum grpc_code code, const char *message);
/** What fits an answer's body. */
size_t peer_body_max(const void *responder);
void peer_respond_body(void *responder, struct bytes body, struct bytes next_token);

#endif
