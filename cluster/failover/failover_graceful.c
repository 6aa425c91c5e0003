/* SPDX-License-Identifier: Apache-2.0
 *
 * The graceful failover, at the active cluster.
 *
 *   graceful_start
 *        ▼
 *      CHECK ──checked──► ENTER ──entered──► BARRIERS ──all applied──► GRANT ──granted──► NOTIFY
 *        │                  │                    │                       │                  │
 *     no answer          refused          failed, expired             refused         acknowledged,
 *        ▼                  ▼                    ▼                       │           or 60 s passed
 *      ENDED              ENDED               REVERT ◄───────────────────┘                  ▼
 *                                                └──reverted──► ENDED                     ENDED
 *
 * Why nothing is lost: a write is decided against the view of its moment, on its shard's executor.
 * A barrier is added by the same executor after the view with HANDOVER is visible, so every write
 * that was decided before stands in the same outbox row or in one below; the target reports the
 * barrier when that row and all below it are applied.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/proto_arena.h"
#include "cluster/failover/failover_private.h"

#define CHECK_TIMEOUT_NS  (3 * NS_PER_S)
#define NOTIFY_TIMEOUT_NS (1 * NS_PER_S)
#define NOTIFY_RETRY_NS   (100 * NS_PER_MS)
#define NOTIFY_TELL_NS    (2 * NS_PER_S)  /* the caller waits for the acknowledgement so long */
#define NOTIFY_END_NS     (60 * NS_PER_S) /* then the anti-entropy of records has to do */
#define REVERT_RETRY_NS   (100 * NS_PER_MS)
#define BARRIER_POLL_NS   (2 * NS_PER_MS)

static const char *target_name(const struct operation *operation)
{
    return operation->request.target;
}

/* ---- back to NORMAL ------------------------------------------------------------------------- */

static void reverted(struct operation *operation, struct completion *completion)
{
    operation->waiting = false;
    if (completion->err) {
        log_warn("failover.revert_failed", "namespace=%s handover=%s err=%s",
            operation->request.namespace_name, operation->handover_id, err_name(completion->err));
        operation->retry_mono_ns = operation->failover->mono_ns + REVERT_RETRY_NS;
        operation_tell(operation, operation->code,
            "%s; writes wait until the namespace could be set back to normal (%s)",
            operation->message, completion->text);
        return;
    }
    log_info("failover.reverted", "namespace=%s handover=%s", operation->request.namespace_name,
        operation->handover_id);
    operation_tell(operation, operation->code, "%s", operation->message);
    operation_end(operation);
}

void graceful_abort(struct operation *operation, enum grpc_code code, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    operation->code = code;
    operation->message = arena_strdup(&operation->arena, message);
    operation->stage = FAILOVER_REVERT;
    operation->waiting = true;
    operation_change(operation, record_revert, reverted);
}

static int64_t revert_step(struct operation *operation)
{
    if (operation->waiting)
        return INT64_MAX;
    if (operation->failover->mono_ns < operation->retry_mono_ns)
        return operation->retry_mono_ns;
    operation->waiting = true;
    operation_change(operation, record_revert, reverted);
    return INT64_MAX;
}

/* ---- the target is told --------------------------------------------------------------------- */

static int64_t pause_ms(const struct operation *operation, int64_t until_mono_ns)
{
    return (until_mono_ns - operation->paused_mono_ns + NS_PER_MS - 1) / NS_PER_MS;
}

static void acknowledged(struct operation *operation, struct completion *completion)
{
    operation->waiting = false;
    const Replication__PeerResponse *reply = completion->reply;
    if (completion->err || reply->grpc_code != GRPC_OK) {
        log_warn("failover.grant_unacknowledged", "namespace=%s target=%s reason=%s",
            operation->request.namespace_name, target_name(operation),
            log_quote(completion->err ? completion->text : reply->message));
        operation->retry_mono_ns = operation->failover->mono_ns + NOTIFY_RETRY_NS;
        return;
    }
    if (operation->done)
        operation->pause_ms = pause_ms(operation, completion->mono_ns);
    log_info("failover.acknowledged", "namespace=%s target=%s version=%lld pause_ms=%lld",
        operation->request.namespace_name, target_name(operation), (long long)operation->version,
        (long long)operation->pause_ms);
    operation_tell(operation, GRPC_OK, NULL);
    operation_end(operation);
}

static void notify(struct operation *operation)
{
    struct failover *failover = operation->failover;
    struct arena arena = {0};
    Record__Namespace *record =
        registry_record_by_id(failover->options.registry, &arena, operation->namespace_id);
    CHECK(record);
    Replication__HandoverGrant grant;
    replication__handover_grant__init(&grant);
    grant.namespace_id.data = operation->namespace_id.bytes;
    grant.namespace_id.len = sizeof(operation->namespace_id.bytes);
    grant.handover_id = operation->handover_id;
    grant.version = operation->version;
    grant.namespace_ = record;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_HANDOVER_GRANT;
    request.handover_grant = &grant;
    operation->waiting = true;
    operation_call(operation, operation->target, &request, NOTIFY_TIMEOUT_NS, acknowledged);
    arena_release(&arena);
}

static int64_t notify_step(struct operation *operation)
{
    int64_t now = operation->failover->mono_ns;
    int64_t tell = operation->granted_mono_ns + NOTIFY_TELL_NS;
    int64_t end = operation->granted_mono_ns + NOTIFY_END_NS;
    if (operation->done && now >= tell)
        operation_tell(operation, GRPC_OK, NULL);
    if (!operation->done && now >= end && !operation->waiting) {
        operation_end(operation);
        return INT64_MAX;
    }
    if (!operation->waiting && now >= operation->retry_mono_ns)
        notify(operation);
    int64_t next = operation->done ? tell : INT64_MAX;
    if (!operation->waiting && operation->retry_mono_ns < next)
        next = operation->retry_mono_ns;
    return next;
}

/* ---- the grant ------------------------------------------------------------------------------ */

static void granted(struct operation *operation, struct completion *completion)
{
    if (completion->err) {
        graceful_abort(operation, err_grpc(completion->err),
            "%s: nothing was moved; try again, or with a longer --deadline", completion->text);
        return;
    }
    operation->version = completion->version;
    operation->pause_ms = completion->pause_ms;
    operation->granted_mono_ns = completion->mono_ns;
    operation->stage = FAILOVER_NOTIFY;
    log_info("failover.granted", "namespace=%s from=%s to=%s version=%lld pause_ms=%lld",
        operation->request.namespace_name, federation_self(operation->failover->federation),
        target_name(operation), (long long)operation->version, (long long)operation->pause_ms);
    notify(operation);
}

/* ---- barriers ------------------------------------------------------------------------------- */

static void barrier_over(struct operation *operation, struct completion *completion)
{
    if (completion->err)
        operation->barrier_err = completion->err;
    else
        operation->barriers_stored++;
}

/* Executor's thread, as are the next three. */
static void barrier_stored(struct effect *effect, enum err err)
{
    completion_post(CONTAINER_OF(effect, struct completion, effect), err, NULL);
}

static void barrier_failed(struct shard_work *work, enum err err)
{
    completion_post(CONTAINER_OF(work, struct completion, work), err, NULL);
}

static struct effect *barrier_write(
    struct shard_work *work, struct executor *executor, struct commit *commit)
{
    struct completion *completion = CONTAINER_OF(work, struct completion, work);
    const struct operation *operation = completion->operation;
    struct arena *arena = &commit->arena;
    Record__OutboxItem item;
    record__outbox_item__init(&item);
    item.kind = RECORD__OUTBOX_ITEM__KIND__BARRIER;
    item.namespace_id.data = arena_copy(arena, operation->namespace_id.bytes, 16);
    item.namespace_id.len = 16;
    item.handover_id = arena_strdup(arena, operation->handover_id);
    item.n_targets = 1;
    item.targets = arena_zalloc(arena, 1, sizeof(char *));
    item.targets[0] = arena_strdup(arena, operation->request.target);
    executor_outbox_add(executor, work->shard, &item);
    completion->effect.fire = barrier_stored;
    return &completion->effect;
}

static bool send_barrier(struct operation *operation)
{
    struct completion *completion = completion_new(operation, barrier_over);
    completion->work.shard = operation->barriers_sent;
    completion->work.fn = barrier_write;
    completion->work.failed = barrier_failed;
    enum err err = engine_shard_work(operation->failover->options.engine, &completion->work);
    operation->barriers_sent++;
    if (err)
        completion_post(completion, err, NULL);
    return !err;
}

static int64_t barriers_step(struct operation *operation)
{
    struct failover *failover = operation->failover;
    int32_t shards = engine_shard_count(failover->options.engine);
    while (operation->barriers_sent < shards && send_barrier(operation))
        ;
    if (operation->barrier_err) {
        graceful_abort(operation, GRPC_UNAVAILABLE,
            "a shard could not store its barrier (%s): nothing was moved",
            err_text(operation->barrier_err));
        return INT64_MAX;
    }
    int32_t applied =
        failover->peers.barriers(failover->peers.ctx, operation->target, operation->handover_id);
    if (operation->barriers_stored == shards && applied >= shards) {
        operation->stage = FAILOVER_GRANT;
        operation_change(operation, record_grant, granted);
        return INT64_MAX;
    }
    if (failover->mono_ns >= operation->expires_mono_ns) {
        graceful_abort(operation, GRPC_UNAVAILABLE,
            "%s had applied %d of %d shards after %lld ms: nothing was moved; look at strait "
            "replication status and strait replication dlq list, try again, or with a longer "
            "--deadline",
            target_name(operation), applied, shards, (long long)operation->request.deadline_ms);
        return INT64_MAX;
    }
    int64_t poll = failover->mono_ns + BARRIER_POLL_NS;
    return poll < operation->expires_mono_ns ? poll : operation->expires_mono_ns;
}

/* ---- HANDOVER ------------------------------------------------------------------------------- */

static void entered(struct operation *operation, struct completion *completion)
{
    if (completion->err == ERR_PRECONDITION) {
        operation_tell(operation, GRPC_FAILED_PRECONDITION, "%s", completion->text);
        operation_end(operation);
        return;
    }
    operation->paused_mono_ns = completion->mono_ns;
    operation->expires_mono_ns = completion->mono_ns + operation->request.deadline_ms * NS_PER_MS;
    if (completion->err) { /* a lost answer may have been a success */
        graceful_abort(operation, err_grpc(completion->err),
            "the handover could not be stored (%s): nothing was moved", completion->text);
        return;
    }
    operation->stage = FAILOVER_BARRIERS;
}

static void enter(struct operation *operation)
{
    struct uuid id = uuid_new(operation->failover->env);
    uuid_format(id, operation->handover_id);
    operation->stage = FAILOVER_ENTER;
    operation_change(operation, record_enter, entered);
}

/* ---- checks --------------------------------------------------------------------------------- */

static void checked(struct operation *operation, struct completion *completion)
{
    const Replication__PeerResponse *reply = completion->reply;
    if (completion->err || reply->grpc_code != GRPC_OK) {
        operation_tell(operation, GRPC_UNAVAILABLE,
            "target cluster %s does not answer (%s): nothing was moved", target_name(operation),
            completion->err ? completion->text : reply->message);
        operation_end(operation);
        return;
    }
    enter(operation);
}

void graceful_start(struct operation *operation)
{
    struct failover *failover = operation->failover;
    operation->kind = "graceful";
    int64_t dead = failover->peers.dead_letters(failover->peers.ctx, operation->namespace_id);
    if (dead > 0) {
        operation_tell(operation, GRPC_FAILED_PRECONDITION,
            "%lld changes of namespace %s are in the dead-letter table of this cluster: resolve "
            "them first (strait replication dlq list)",
            (long long)dead, operation->request.namespace_name);
        return;
    }
    Replication__Status status;
    replication__status__init(&status);
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_STATUS;
    request.status = &status;
    operation->stage = FAILOVER_CHECK;
    operation_call(operation, operation->target, &request, CHECK_TIMEOUT_NS, checked);
}

int64_t graceful_step(struct operation *operation)
{
    switch (operation->stage) {
    case FAILOVER_BARRIERS:
        return barriers_step(operation);
    case FAILOVER_NOTIFY:
        return notify_step(operation);
    case FAILOVER_REVERT:
        return revert_step(operation);
    case FAILOVER_RELAY:
    case FAILOVER_CHECK:
    case FAILOVER_ENTER:
    case FAILOVER_GRANT:
    case FAILOVER_PLAN:
    case FAILOVER_FORCE:
    case FAILOVER_ENDED:
        return INT64_MAX;
    }
    return INT64_MAX;
}
