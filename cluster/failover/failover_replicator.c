/* SPDX-License-Identifier: Apache-2.0
 *
 * The failover over the replicator.
 */
#include "cluster/failover/failover_private.h"
#include "replicator/replicator.h"

static void call(void *ctx, int cluster, Replication__PeerRequest *request, int64_t timeout_ns,
    failover_answer_fn *answer, void *answer_ctx)
{
    replicator_peer_call(ctx, cluster, request, timeout_ns, answer, answer_ctx);
}

static int32_t barriers(void *ctx, int target, const char *handover_id)
{
    return replicator_barriers(ctx, target, handover_id);
}

static int64_t dead_letters(void *ctx, struct uuid namespace_id)
{
    return replicator_dead_letters(ctx, namespace_id);
}

static size_t losses(
    void *ctx, int source, struct arena *arena, Replication__ShardLoss ***ret_losses)
{
    return replicator_losses(ctx, source, arena, ret_losses);
}

enum err failover_open(const struct failover_options *options, struct failover **ret_failover)
{
    struct failover_peers peers = {options->replicator, call, barriers, dead_letters, losses};
    return failover_open_with(options, &peers, ret_failover);
}
