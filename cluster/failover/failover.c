/* SPDX-License-Identifier: Apache-2.0
 *
 * The failover: operations under way, how they begin, wait and end. What a graceful and a forced
 * one do is in failover_graceful.c and failover_forced.c.
 *
 * Invariants:
 *  I1  `done` runs exactly once per operation, on the stepping thread.
 *  I2  An operation is freed only after its last completion: completions may point to it.
 *  I3  Of one namespace, at most one operation that may change the record is under way here.
 */
#include "cluster/failover/failover.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/failover/failover_private.h"

#define STEP_MAILS        1024
#define SWEEP_INTERVAL_NS NS_PER_S

/* ---- completions ---------------------------------------------------------------------------- */

static void completion_free(struct completion *completion)
{
    list_remove(&completion->link);
    arena_release(&completion->arena);
    mem_free(completion);
}

static void operation_free(struct operation *operation)
{
    list_remove(&operation->link);
    arena_release(&operation->arena);
    mem_free(operation);
}

static void free_when_over(struct operation *operation)
{
    if (operation->stage == FAILOVER_ENDED && operation->outstanding == 0)
        operation_free(operation);
}

static void completion_delivered(struct mail *mail, void *owner)
{
    (void)owner;
    struct completion *completion = CONTAINER_OF(mail, struct completion, mail);
    struct operation *operation = completion->operation;
    operation->outstanding--;
    if (operation->stage != FAILOVER_ENDED)
        completion->handle(operation, completion);
    completion_free(completion);
    free_when_over(operation);
}

struct completion *completion_new(struct operation *operation,
    void (*handle)(struct operation *operation, struct completion *completion))
{
    struct completion *completion = mem_new(struct completion);
    completion->operation = operation;
    completion->handle = handle;
    completion->mail.deliver = completion_delivered;
    list_push_back(&operation->failover->completions, &completion->link);
    operation->outstanding++;
    return completion;
}

void completion_post(struct completion *completion, enum err err, const char *text)
{
    struct failover *failover = completion->operation->failover;
    completion->err = err;
    snprintf(completion->text, sizeof(completion->text), "%s", text ? text : "");
    completion->mono_ns = env_monotonic_ns(failover->env);
    mailbox_complete(failover->mailbox, &completion->mail);
}

static void call_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct completion *completion = ctx;
    if (response) {
        struct bytes packed = proto_pack(&completion->arena, &response->base);
        completion->reply =
            proto_unpack(&completion->arena, &replication__peer_response__descriptor, packed);
    }
    completion_post(completion, err, err ? err_text(err) : "");
}

void operation_call(struct operation *operation, int cluster, Replication__PeerRequest *request,
    int64_t timeout_ns, void (*handle)(struct operation *operation, struct completion *completion))
{
    struct failover *failover = operation->failover;
    struct completion *completion = completion_new(operation, handle);
    request->format = 1;
    request->from = arena_strdup(&completion->arena, federation_self(failover->federation));
    failover->peers.call(
        failover->peers.ctx, cluster, request, timeout_ns, call_answered, completion);
}

static void change_done(void *ctx, enum err err, const char *text)
{
    completion_post(ctx, err, text);
}

void operation_change(struct operation *operation, registry_change_fn *change,
    void (*handle)(struct operation *operation, struct completion *completion))
{
    struct completion *completion = completion_new(operation, handle);
    registry_change(operation->failover->options.registry, operation->request.namespace_name,
        change, change_done, completion);
}

/* ---- ends ----------------------------------------------------------------------------------- */

void operation_tell(struct operation *operation, enum grpc_code code, const char *fmt, ...)
{
    if (!operation->done)
        return;
    struct failover *failover = operation->failover;
    char message[2048] = "";
    if (fmt) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(message, sizeof(message), fmt, args);
        va_end(args);
    }
    Replication__FailoverResult detail;
    replication__failover_result__init(&detail);
    const struct federation_cluster *clusters = failover->federation->clusters;
    detail.from = operation->source < 0
                      ? arena_strdup(&operation->arena, "")
                      : arena_strdup(&operation->arena, clusters[operation->source].name);
    detail.to = arena_strdup(&operation->arena, operation->request.target);
    detail.kind = arena_strdup(&operation->arena, operation->kind);
    detail.version = operation->version;
    detail.pause_ms = operation->pause_ms;
    detail.n_losses = operation->loss_count;
    detail.losses = operation->losses;
    struct failover_result result = {code, message, &detail};
    if (code != GRPC_OK)
        log_warn("failover.refused", "namespace=%s target=%s code=%d reason=%s",
            operation->request.namespace_name, operation->request.target, (int)code,
            log_quote(message));
    failover_done_fn *done = operation->done;
    operation->done = NULL;
    done(operation->ctx, &result);
}

void operation_end(struct operation *operation)
{
    CHECK(!operation->done);
    operation->stage = FAILOVER_ENDED;
}

/* ---- begin ---------------------------------------------------------------------------------- */

/* True while the operation may still change the record here. */
static bool holds_namespace(const struct operation *operation)
{
    return operation->stage != FAILOVER_RELAY && operation->stage != FAILOVER_NOTIFY &&
           operation->stage != FAILOVER_ENDED;
}

static const struct operation *running(const struct failover *failover, const char *name)
{
    for (struct list *node = failover->operations.next; node != &failover->operations;
         node = node->next) {
        const struct operation *other = CONTAINER_OF(node, struct operation, link);
        if (holds_namespace(other) && strcmp(other->request.namespace_name, name) == 0)
            return other;
    }
    return NULL;
}

/* The answer when the request cannot be right; false = told. */
static bool check_request(struct operation *operation, const Record__Namespace *record)
{
    const struct failover_request *request = &operation->request;
    if (!record || record->state == RECORD__NAMESPACE__STATE__DELETED) {
        operation_tell(
            operation, GRPC_NOT_FOUND, "namespace %s does not exist", request->namespace_name);
        return false;
    }
    if (operation->target < 0) {
        operation_tell(operation, GRPC_INVALID_ARGUMENT, "%s is not a cluster of this federation",
            request->target);
        return false;
    }
    if (!record_has_cluster(record, request->target)) {
        operation_tell(operation, GRPC_FAILED_PRECONDITION,
            "%s is not a cluster of namespace %s: add it first (strait namespace update %s "
            "--clusters ...)",
            request->target, request->namespace_name, request->namespace_name);
        return false;
    }
    if (operation->source < 0) {
        operation_tell(operation, GRPC_FAILED_PRECONDITION,
            "namespace %s is active in %s, which this cluster's federation does not list",
            request->namespace_name, record->active_cluster);
        return false;
    }
    if (request->deadline_ms < 0 || request->deadline_ms > HANDOVER_MS_MAX) {
        operation_tell(operation, GRPC_INVALID_ARGUMENT,
            "a failover's deadline must be 0 (the default) to %d ms", HANDOVER_MS_MAX);
        return false;
    }
    return true;
}

/* Where it runs: a graceful one at the active cluster, a forced one at the target. */
static void dispatch(struct operation *operation)
{
    struct failover *failover = operation->failover;
    const struct federation_cluster *clusters = failover->federation->clusters;
    int coordinator = operation->request.force ? operation->target : operation->source;
    if (coordinator != failover->federation->self) {
        if (operation->relayed)
            operation_tell(operation, GRPC_UNAVAILABLE,
                "%s takes %s for the active cluster of namespace %s: try again when the clusters "
                "agree",
                federation_self(failover->federation), clusters[operation->source].name,
                operation->request.namespace_name);
        else
            relay_start(operation, coordinator);
        return;
    }
    const struct operation *other = running(failover, operation->request.namespace_name);
    if (other) {
        operation_tell(operation, GRPC_FAILED_PRECONDITION,
            "a %s failover of namespace %s to %s is under way in %s", other->kind,
            other->request.namespace_name, other->request.target,
            federation_self(failover->federation));
        return;
    }
    log_info("failover.started", "namespace=%s from=%s to=%s kind=%s reason=%s",
        operation->request.namespace_name, clusters[operation->source].name,
        operation->request.target, operation->request.force ? "forced" : "graceful",
        log_quote(operation->request.reason));
    if (operation->request.force)
        forced_start(operation);
    else
        graceful_start(operation);
}

static void operation_begin(struct operation *operation)
{
    struct failover *failover = operation->failover;
    struct failover_request *request = &operation->request;
    if (atomic_load(&failover->stopping)) {
        operation_tell(operation, GRPC_UNAVAILABLE, "server is shutting down");
        return;
    }
    Record__Namespace *record =
        registry_record(failover->options.registry, &operation->arena, request->namespace_name);
    operation->target = federation_find(failover->federation, request->target);
    if (record)
        operation->source = federation_find(failover->federation, record->active_cluster);
    if (!check_request(operation, record))
        return;
    memcpy(operation->namespace_id.bytes, record->id.data, 16);
    operation->version = record->failover_version;
    if (operation->target == operation->source) {
        operation_tell(operation, GRPC_OK, NULL);
        return;
    }
    if (request->deadline_ms == 0)
        request->deadline_ms = failover->options.handover_ms;
    dispatch(operation);
}

static void operation_delivered(struct mail *mail, void *owner)
{
    struct failover *failover = owner;
    struct operation *operation = CONTAINER_OF(mail, struct operation, mail);
    list_push_back(&failover->operations, &operation->link);
    operation_begin(operation);
    free_when_over(operation);
}

static struct operation *operation_new(
    struct failover *failover, const struct failover_request *request)
{
    struct operation *operation = mem_new(struct operation);
    operation->failover = failover;
    operation->mail.deliver = operation_delivered;
    operation->source = -1;
    operation->target = -1;
    operation->kind = "";
    operation->stage = FAILOVER_ENDED; /* until it was dispatched */
    struct failover_request *copy = &operation->request;
    *copy = *request;
    copy->namespace_name = arena_strdup(&operation->arena, request->namespace_name);
    copy->target = arena_strdup(&operation->arena, request->target);
    copy->reason = arena_strdup(&operation->arena, request->reason ? request->reason : "");
    copy->identity = arena_strdup(&operation->arena, request->identity ? request->identity : "");
    return operation;
}

void failover_begin(struct failover *failover, const struct failover_request *request, bool relayed,
    failover_done_fn *done, void *ctx)
{
    struct operation *operation = operation_new(failover, request);
    operation->relayed = relayed;
    operation->done = done;
    operation->ctx = ctx;
    mailbox_complete(failover->mailbox, &operation->mail);
}

void failover_start(struct failover *failover, const struct failover_request *request,
    failover_done_fn *done, void *ctx)
{
    failover_begin(failover, request, false, done, ctx);
}

/* ---- handovers that nobody coordinates any more --------------------------------------------- */

static void record_changed(void *ctx, const Record__Namespace *record)
{
    struct failover *failover = ctx;
    if (record->state == RECORD__NAMESPACE__STATE__HANDOVER)
        atomic_store(&failover->handover_seen, true);
}

void failover_rescue(struct failover *failover, const Record__Namespace *record)
{
    struct failover_request request = {
        .namespace_name = record->name, .target = record->handover->target};
    struct operation *operation = operation_new(failover, &request);
    memcpy(operation->namespace_id.bytes, record->id.data, 16);
    snprintf(operation->handover_id, sizeof(operation->handover_id), "%s", record->handover->id);
    operation->kind = "graceful";
    list_push_back(&failover->operations, &operation->link);
    log_warn("failover.stranded", "namespace=%s handover=%s", record->name, record->handover->id);
    graceful_abort(operation, GRPC_UNAVAILABLE, "handover expired");
}

/* Handovers are few and short: the flag keeps an idle cluster from looking at all. */
static void sweep(struct failover *failover)
{
    if (!atomic_load(&failover->handover_seen) || failover->mono_ns < failover->sweep_mono_ns)
        return;
    failover->sweep_mono_ns = failover->mono_ns + SWEEP_INTERVAL_NS;
    atomic_store(&failover->handover_seen, false);
    struct arena arena = {0};
    Record__Namespace **records;
    size_t count = registry_list(failover->options.registry, &arena, &records);
    int64_t wall = env_wall_ns(failover->env);
    for (size_t i = 0; i < count; i++) {
        const Record__Namespace *record = records[i];
        if (record->state != RECORD__NAMESPACE__STATE__HANDOVER || !record->handover)
            continue;
        atomic_store(&failover->handover_seen, true);
        if (wall > record->handover->expires && !running(failover, record->name))
            failover_rescue(failover, record);
    }
    arena_release(&arena);
}

/* ---- life ----------------------------------------------------------------------------------- */

enum err failover_open_with(const struct failover_options *options,
    const struct failover_peers *peers, struct failover **ret_failover)
{
    if (options->handover_ms < 1 || options->handover_ms > HANDOVER_MS_MAX)
        return ERR_CONFIG;
    struct failover *failover = mem_new(struct failover);
    failover->options = *options;
    failover->env = options->env;
    failover->federation = options->federation;
    failover->peers = *peers;
    failover->mailbox = mailbox_open(failover, options->waker, MAILBOX_DEFAULT);
    list_init(&failover->operations);
    list_init(&failover->completions);
    registry_listen(options->registry, record_changed, failover);
    *ret_failover = failover;
    return OK;
}

/* Nothing that was granted is lost: the record is stored and travels with the anti-entropy. What
 * was not granted goes back to NORMAL here, or when the records are read at the next start. */
static void stop_operation(struct operation *operation)
{
    bool handover = operation->stage == FAILOVER_ENTER || operation->stage == FAILOVER_BARRIERS;
    if (handover)
        operation_change(operation, record_revert, NULL);
    if (operation->stage == FAILOVER_NOTIFY)
        operation_tell(operation, GRPC_OK, NULL);
    operation_tell(operation, GRPC_UNAVAILABLE, "server is shutting down%s",
        operation->stage == FAILOVER_GRANT ? "; the failover may have been granted" : "");
    operation_end(operation);
}

static int64_t step_operations(struct failover *failover)
{
    bool stopping = atomic_load(&failover->stopping);
    int64_t next = INT64_MAX;
    struct list *node = failover->operations.next;
    while (node != &failover->operations) {
        struct operation *operation = CONTAINER_OF(node, struct operation, link);
        node = node->next;
        if (stopping && operation->stage != FAILOVER_ENDED)
            stop_operation(operation);
        int64_t wanted = INT64_MAX;
        if (operation->stage != FAILOVER_ENDED)
            wanted = graceful_step(operation);
        free_when_over(operation);
        if (wanted < next)
            next = wanted;
    }
    return next;
}

int64_t failover_step(struct failover *failover, int64_t mono_now)
{
    failover->mono_ns = mono_now;
    size_t mails = mailbox_step(failover->mailbox, STEP_MAILS);
    if (!atomic_load(&failover->stopping))
        sweep(failover);
    int64_t next = step_operations(failover);
    if (mails == STEP_MAILS)
        return mono_now;
    if (atomic_load(&failover->handover_seen) && failover->sweep_mono_ns < next)
        next = failover->sweep_mono_ns;
    return next;
}

void failover_stop(struct failover *failover)
{
    atomic_store(&failover->stopping, true);
    if (failover->options.waker)
        waker_wake(failover->options.waker);
}

static void drop_mail(struct mail *mail)
{
    if (mail->deliver != operation_delivered)
        return; /* a completion: freed with the list below */
    struct operation *operation = CONTAINER_OF(mail, struct operation, mail);
    operation_tell(operation, GRPC_UNAVAILABLE, "server is shutting down");
    arena_release(&operation->arena);
    mem_free(operation);
}

void failover_close(struct failover *failover)
{
    if (!failover)
        return;
    mailbox_close(failover->mailbox, drop_mail);
    while (!list_empty(&failover->completions))
        completion_free(CONTAINER_OF(failover->completions.next, struct completion, link));
    while (!list_empty(&failover->operations)) {
        struct operation *operation =
            CONTAINER_OF(failover->operations.next, struct operation, link);
        operation_tell(operation, GRPC_UNAVAILABLE, "server is shutting down");
        operation_free(operation);
    }
    mem_free(failover);
}
