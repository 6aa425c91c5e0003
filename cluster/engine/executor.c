/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests: from the mailbox to a handler, in order per workflow id.
 */
#include "cluster/engine/executor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/executor_private.h"
#include "cluster/matching/matching.h"
#include "proto/api_errors.pb-c.h"

#define STEP_MAILS 512

void request_fail(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    if (request->failed) {
        request->failed(executor, request, err, text);
        return;
    }
    CHECK(request->call);
    call_fail_err(request->call, err, "%s", text);
}

static bool forward_call(
    struct executor *executor, struct call *call, const struct namespace_view *ns)
{
    const struct forward_sink *forward = &executor->engine->options.forward;
    return !ns->active && forward->forward && !call->forwarded && !call->no_forward &&
           forward->forward(forward->ctx, call, ns);
}

bool decision_forward(struct decision *d, struct request *request)
{
    return request->call && forward_call(d->executor, request->call, d->ns);
}

static void fail_not_active(
    struct executor *executor, struct request *request, const struct namespace_view *ns)
{
    if (!request->call || request->failed) {
        request_fail(executor, request, ERR_PRECONDITION, "namespace is not active here");
        return;
    }
    struct call *call = request->call;
    if (forward_call(executor, call, ns))
        return;
    Api__NamespaceNotActiveFailure failure;
    api__namespace_not_active_failure__init(&failure);
    struct arena *arena = &call->arena;
    failure.namespace_ = arena_strdup(arena, ns->name);
    failure.current_cluster = arena_strdup(arena, executor->engine->cluster_name);
    failure.active_cluster = arena_strdup(arena, ns->active_cluster);
    const char *text = arena_printf(arena,
        "Namespace: %s is active in cluster: %s, while current cluster %s is a standby cluster.",
        ns->name, ns->active_cluster, executor->engine->cluster_name);
    call_fail(call, GRPC_FAILED_PRECONDITION, text,
        "temporal.api.errordetails.v1.NamespaceNotActiveFailure", proto_pack(arena, &failure.base));
}

/* True when the request may run now; otherwise it was parked or ended. */
static bool admit(
    struct executor *executor, struct request *request, const struct namespace_view *ns)
{
    if (request->access != REQUEST_WRITE)
        return true;
    if (!ns->active) {
        fail_not_active(executor, request, ns);
        return false;
    }
    if (!ns->handover)
        return true;
    if (executor->parked_count >= PARKED_MAX) {
        request_fail(executor, request, ERR_UNAVAILABLE,
            "namespace is being handed over and too many requests wait");
        return false;
    }
    list_push_back(&executor->parked, &request->link);
    executor->parked_count++;
    return false;
}

static void recover(struct decision *d, struct run *run)
{
    if (!run || !run_is_open(run) || run->zombie || !d->ns->active || d->ns->handover)
        return;
    if (run->recovered_version == d->ns->failover_version)
        return;
    run->recovered_version = d->ns->failover_version;
    run_recover(d, run);
}

static void run_handler(
    struct workflow *workflow, struct request *request, struct namespace_view *ns)
{
    struct executor *executor = workflow->executor;
    arena_reset(&executor->scratch);
    struct decision d = {.executor = executor,
        .env = executor->env,
        .arena = &executor->scratch,
        .now_ns = env_wall_ns(executor->env),
        .ns = ns,
        .workflow = workflow};
    if (!uuid_is_zero(workflow->current_run_id))
        d.current = workflow_run(workflow, workflow->current_run_id);
    if (d.current && d.current->deleted)
        d.current = NULL;
    d.run = request->want == REQUEST_CURRENT ? d.current : workflow_run(workflow, request->run_id);
    if (d.run && d.run->deleted)
        d.run = NULL;
    if (request->access == REQUEST_WRITE) {
        recover(&d, d.run);
        if (d.current != d.run)
            recover(&d, d.current);
    }
    counter_add(executor->metrics.requests, 1);
    request->handle(&d, request);
}

void workflow_run_waiting(struct workflow *workflow)
{
    struct executor *executor = workflow->executor;
    while (!list_empty(&workflow->waiting)) {
        struct request *request = CONTAINER_OF(workflow->waiting.next, struct request, link);
        if (workflow_load_missing(workflow, request))
            return;
        list_remove(&request->link);
        struct namespace_view *ns = executor->engine->options.namespaces.get(
            executor->engine->options.namespaces.ctx, request->namespace_id);
        if (!ns) {
            request_fail(executor, request, ERR_NOT_FOUND, "namespace is gone");
            continue;
        }
        if (admit(executor, request, ns))
            run_handler(workflow, request, ns);
        namespace_view_unref(ns);
    }
}

void executor_deliver_request(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct request *request = CONTAINER_OF(mail, struct request, mail);
    int32_t shard = engine_shard(executor->engine, request->namespace_id, request->workflow_id);
    struct shard *owned = executor->shards[shard];
    if (executor->stopping || !owned || !owned->owned) {
        request_fail(executor, request, ERR_UNAVAILABLE,
            executor->stopping ? "server is shutting down" : "shard is not owned by this node");
        return;
    }
    /* Nobody overtakes: requests of one workflow id keep their order. */
    if (executor->open_bytes > COMMIT_BYTES_MAX / 2 || !list_empty(&executor->deferred)) {
        list_push_back(&executor->deferred, &request->link);
        return;
    }
    struct workflow *workflow =
        workflow_get(executor, request->namespace_id, request->workflow_id, shard);
    list_push_back(&workflow->waiting, &request->link);
    if (!workflow->loading)
        workflow_run_waiting(workflow);
}

void executor_redeliver(struct executor *executor)
{
    struct list taken;
    list_init(&taken);
    while (!list_empty(&executor->deferred))
        list_push_back(&taken, list_pop_front(&executor->deferred));
    while (!list_empty(&taken)) {
        struct request *request = CONTAINER_OF(list_pop_front(&taken), struct request, link);
        executor_deliver_request(&request->mail, executor);
    }
}

/* ---- parked writes --------------------------------------------------------------------------- */

static void unpark(struct executor *executor, const struct uuid *namespace_id)
{
    struct list *node = executor->parked.next;
    while (node != &executor->parked) {
        struct request *request = CONTAINER_OF(node, struct request, link);
        node = node->next;
        bool dead = request->call && call_is_cancelled(request->call);
        if (!dead && namespace_id && !uuid_equal(request->namespace_id, *namespace_id))
            continue;
        if (!dead && !namespace_id && !executor->stopping)
            continue;
        list_remove(&request->link);
        executor->parked_count--;
        if (dead)
            request_fail(executor, request, ERR_TIMEOUT, "deadline passed during a handover");
        else
            executor_deliver_request(&request->mail, executor);
    }
}

struct namespace_change {
    struct mail mail;
    struct uuid namespace_id;
    bool offers_lost; /* only that */
};

/* What matching holds for a namespace that is passive here would be refused at dispatch. */
static void drop_offers(struct executor *executor, struct uuid namespace_id)
{
    size_t cursor = 0;
    for (struct workflow *workflow = map_next(&executor->workflows, &cursor); workflow;
         workflow = map_next(&executor->workflows, &cursor)) {
        if (!uuid_equal(workflow->namespace_id, namespace_id))
            continue;
        for (struct list *node = workflow->runs.next; node != &workflow->runs; node = node->next)
            run_forget_offers(CONTAINER_OF(node, struct run, link));
    }
}

static void namespace_changed(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct namespace_change *change = CONTAINER_OF(mail, struct namespace_change, mail);
    const struct namespace_source *source = &executor->engine->options.namespaces;
    struct namespace_view *ns = source->get(source->ctx, change->namespace_id);
    bool active = ns && ns->active;
    namespace_view_unref(ns);
    if (!active && executor->matching)
        matching_drop_namespace(executor->matching, change->namespace_id);
    if (!active || change->offers_lost)
        drop_offers(executor, change->namespace_id);
    due_namespace_changed(executor, change->namespace_id);
    unpark(executor, &change->namespace_id);
    mem_free(change);
}

static void tell_executors(struct engine *engine, struct uuid namespace_id, bool offers_lost)
{
    for (int i = 0; i < engine->executor_count; i++) {
        struct namespace_change *change = mem_new(struct namespace_change);
        change->mail.deliver = namespace_changed;
        change->namespace_id = namespace_id;
        change->offers_lost = offers_lost;
        mailbox_complete(engine->executors[i]->mailbox, &change->mail);
    }
}

void engine_namespace_changed(struct engine *engine, struct uuid namespace_id)
{
    tell_executors(engine, namespace_id, false);
}

void engine_offers_lost(struct engine *engine, struct uuid namespace_id)
{
    tell_executors(engine, namespace_id, true);
}

/* ---- shard work ------------------------------------------------------------------------------ */

static void shard_work_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    struct shard_work *work = CONTAINER_OF(mail, struct shard_work, mail);
    struct shard *shard = executor->shards[work->shard];
    if (executor->stopping || !shard || !shard->owned) {
        work->failed(work, executor->stopping ? ERR_CLOSED : ERR_FENCED);
        return;
    }
    shard_touch(executor, shard);
    executor->work_pending = true;
    int64_t no = executor->open->no;
    struct effect *effect = work->fn(work, executor, &executor->open->commit);
    if (effect) {
        effect->commit_no = no;
        list_push_back(&executor->effects, &effect->link);
    }
}

enum err engine_shard_work(struct engine *engine, struct shard_work *work)
{
    CHECK(work->shard >= 0 && work->shard < engine->options.shards);
    work->mail.deliver = shard_work_delivered;
    return mailbox_post(engine_executor_of_shard(engine, work->shard)->mailbox, &work->mail);
}

/* ---- step ------------------------------------------------------------------------------------ */

int64_t executor_step(struct executor *executor, int64_t mono_now)
{
    size_t mails = mailbox_step(executor->mailbox, STEP_MAILS);
    int64_t wall = env_wall_ns(executor->env);
    if (!executor->stopping && atomic_load(&executor->engine->ready)) {
        due_step(executor, wall, mono_now);
        retention_step(executor, wall, mono_now);
    }
    if (executor->parked_count && mono_now >= executor->parked_sweep_mono_ns) {
        executor->parked_sweep_mono_ns = mono_now + NS_PER_S / 4;
        unpark(executor, NULL);
    }
    int64_t waiters = history_waiters_step(executor, mono_now);
    executor_flush(executor);
    cache_evict(executor);
    if (mails == STEP_MAILS)
        return mono_now;
    int64_t due = due_next(executor);
    int64_t next = due == DUE_NONE ? INT64_MAX : mono_now + (due > wall ? due - wall : 0);
    if (executor->parked_count && executor->parked_sweep_mono_ns < next)
        next = executor->parked_sweep_mono_ns;
    return waiters < next ? waiters : next;
}

struct engine *executor_engine(struct executor *executor)
{
    return executor->engine;
}

struct mailbox *executor_mailbox(struct executor *executor)
{
    return executor->mailbox;
}

struct store *executor_store(struct executor *executor)
{
    return executor->store;
}

struct matching *executor_matching(struct executor *executor)
{
    return executor->matching;
}

const char *executor_cluster_name(struct executor *executor)
{
    return executor->engine->cluster_name;
}

struct history_waiters *executor_history_waiters(struct executor *executor)
{
    return &executor->history_waiters;
}
