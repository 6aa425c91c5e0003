/* SPDX-License-Identifier: Apache-2.0
 *
 * The forced failover, at the target, without the old active cluster.
 *
 *   forced_start ─► PLAN (only without accept_loss) ─► refused, with the table of losses
 *        └────────► FORCE ─forced─► ENDED
 *
 * What is known of the source comes from its heartbeats and, while it still answers, from itself.
 * It is a lower bound of what may be missing: a cluster that is gone can have accepted more than it
 * ever told. So without accept_loss the answer is always a refusal; no case in which a loss is
 * excluded by proof exists in this release (R25).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cluster/base/log.h"
#include "cluster/base/proto_arena.h"
#include "cluster/failover/failover_private.h"

#define PLAN_TIMEOUT_NS (1 * NS_PER_S)

static const char *source_name(const struct operation *operation)
{
    return operation->failover->federation->clusters[operation->source].name;
}

/* ---- what may be missing -------------------------------------------------------------------- */

void loss_collect(struct operation *operation)
{
    const struct failover_peers *peers = &operation->failover->peers;
    operation->loss_count =
        peers->losses(peers->ctx, operation->source, &operation->arena, &operation->losses);
}

static Replication__ShardLoss *loss_of(struct operation *operation, int32_t shard)
{
    for (size_t i = 0; i < operation->loss_count; i++) {
        if (operation->losses[i]->shard == shard)
            return operation->losses[i];
    }
    return NULL;
}

/* What the source says of itself, where that is newer. */
static void loss_refresh(struct operation *operation, const Replication__StatusReply *status)
{
    for (size_t i = 0; i < status->n_shards; i++) {
        const Replication__StatusReply__Shard *shard = status->shards[i];
        Replication__ShardLoss *loss = loss_of(operation, shard->shard);
        if (!loss || shard->newest_seq <= loss->known_seq)
            continue;
        loss->known_seq = shard->newest_seq;
        loss->known_time = shard->newest_time;
    }
}

static void format_time(int64_t wall_ns, char ret_text[32])
{
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;
    if (wall_ns <= 0 || !gmtime_r(&seconds, &tm) ||
        strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(ret_text, 32, "never");
}

const char *loss_text(struct operation *operation)
{
    int64_t missing = 0;
    int64_t applied_time = 0;
    int64_t known_time = 0;
    for (size_t i = 0; i < operation->loss_count; i++) {
        const Replication__ShardLoss *loss = operation->losses[i];
        if (loss->known_seq > loss->applied_seq)
            missing += loss->known_seq - loss->applied_seq;
        if (loss->applied_time > applied_time)
            applied_time = loss->applied_time;
        if (loss->known_time > known_time)
            known_time = loss->known_time;
    }
    if (operation->loss_count == 0)
        return "";
    char applied[32];
    char known[32];
    format_time(applied_time, applied);
    format_time(known_time, known);
    return arena_printf(&operation->arena,
        "as far as known here, %lld commits of %s are not applied in %s (newest applied %s, newest "
        "known %s), and %s may have accepted more that it never told",
        (long long)missing, source_name(operation),
        federation_self(operation->failover->federation), applied, known, source_name(operation));
}

/* ---- takeover ------------------------------------------------------------------------------- */

static void forced(struct operation *operation, struct completion *completion)
{
    if (completion->err) {
        operation_tell(operation, err_grpc(completion->err), "the takeover could not be stored: %s",
            completion->text);
        operation_end(operation);
        return;
    }
    operation->version = completion->version;
    log_warn("failover.forced", "namespace=%s from=%s to=%s version=%lld",
        operation->request.namespace_name, source_name(operation), operation->request.target,
        (long long)operation->version);
    operation_tell(operation, GRPC_OK, NULL);
    operation_end(operation);
}

static void force(struct operation *operation)
{
    operation->stage = FAILOVER_FORCE;
    operation_change(operation, record_force, forced);
}

/* ---- plan ----------------------------------------------------------------------------------- */

static void planned(struct operation *operation, struct completion *completion)
{
    const Replication__PeerResponse *reply = completion->reply;
    bool answers = !completion->err && reply->grpc_code == GRPC_OK;
    if (answers) {
        Replication__StatusReply *status = proto_unpack(&completion->arena,
            &replication__status_reply__descriptor, bytes_make(reply->body.data, reply->body.len));
        if (status)
            loss_refresh(operation, status);
    }
    const char *losses = loss_text(operation);
    operation_tell(operation, GRPC_FAILED_PRECONDITION,
        "nothing was changed: what %s accepted and did not ship would be lost%s%s. %s To take over "
        "anyway: strait failover %s --to %s --force --accept-loss",
        source_name(operation), *losses ? "; " : "", losses,
        answers ? "It still answers: without --force nothing is lost." : "It does not answer.",
        operation->request.namespace_name, operation->request.target);
    operation_end(operation);
}

void forced_start(struct operation *operation)
{
    operation->kind = "forced";
    loss_collect(operation);
    if (operation->request.accept_loss) {
        force(operation);
        return;
    }
    Replication__Status status;
    replication__status__init(&status);
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_STATUS;
    request.status = &status;
    operation->stage = FAILOVER_PLAN;
    operation_call(operation, operation->source, &request, PLAN_TIMEOUT_NS, planned);
}
