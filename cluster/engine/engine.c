/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine: all executors of a node, which shard belongs to which, taking shards at start.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/executor_private.h"

int32_t engine_shard(
    const struct engine *engine, struct uuid namespace_id, struct bytes workflow_id)
{
    uint64_t seed = hash64(uuid_view(&namespace_id), 0);
    return (int32_t)(hash64(workflow_id, seed) % (uint64_t)engine->options.shards);
}

struct executor *engine_executor_of_shard(struct engine *engine, int32_t shard)
{
    return engine->executors[shard % engine->executor_count];
}

struct executor *engine_executor(struct engine *engine, int index)
{
    return engine->executors[index];
}

int engine_executor_count(const struct engine *engine)
{
    return engine->executor_count;
}

int32_t engine_shard_count(const struct engine *engine)
{
    return engine->options.shards;
}

enum err engine_submit(struct engine *engine, struct request *request)
{
    int32_t shard = engine_shard(engine, request->namespace_id, request->workflow_id);
    request->mail.deliver = executor_deliver_request;
    request->run_missing = false;
    return mailbox_post(engine_executor_of_shard(engine, shard)->mailbox, &request->mail);
}

static void executor_metrics(struct executor *executor, struct metrics *metrics)
{
    executor->metrics.commit_runs =
        metrics_histogram(metrics, "strait_commit_runs", NULL, "Runs changed by one commit.", 0);
    executor->metrics.commit_seconds = metrics_histogram(metrics, "strait_commit_seconds", NULL,
        "Time from submitting a commit to its completion.", 1);
    executor->metrics.commits =
        metrics_counter(metrics, "strait_commits_total", NULL, "Commits that succeeded.");
    executor->metrics.commit_failures =
        metrics_counter(metrics, "strait_commit_failures_total", NULL, "Commits that failed.");
    executor->metrics.requests = metrics_counter(
        metrics, "strait_executor_requests_total", NULL, "Requests decided by executors.");
}

static struct executor *executor_new(struct engine *engine, int index)
{
    const struct engine_options *options = &engine->options;
    struct executor *executor = mem_new(struct executor);
    executor->engine = engine;
    executor->index = index;
    executor->env = options->env;
    executor->store = options->store;
    executor->mailbox =
        mailbox_open(executor, options->wakers ? options->wakers[index] : NULL, MAILBOX_DEFAULT);
    list_init(&executor->lru);
    list_init(&executor->dirty);
    list_init(&executor->effects);
    list_init(&executor->cursors);
    list_init(&executor->parked);
    list_init(&executor->deferred);
    executor->shards = mem_zalloc((size_t)options->shards, sizeof(struct shard *));
    for (int32_t i = 0; i < options->shards; i++) {
        if (i % options->executors != index)
            continue;
        executor->shards[i] = mem_new(struct shard);
        executor->shards[i]->id = i;
    }
    for (size_t i = 0; i < 2; i++) {
        executor->commits[i].executor = executor;
        commit_init(&executor->commits[i].commit);
    }
    executor->open = &executor->commits[0];
    executor->open->no = 1;
    executor_metrics(executor, options->metrics);
    return executor;
}

enum err engine_open(
    const struct engine_options *options, struct engine **ret_engine, char text[256])
{
    if (options->shards < 1 || options->shards > SHARDS_MAX || options->executors < 1) {
        snprintf(text, 256, "shards must be 1 to %d, executors at least 1", SHARDS_MAX);
        return ERR_CONFIG;
    }
    struct engine *engine = mem_new(struct engine);
    engine->options = *options;
    engine->cluster_name = mem_strdup(options->cluster_name);
    engine->node_id = mem_strdup(options->node_id);
    engine->executor_count =
        options->executors < options->shards ? options->executors : options->shards;
    engine->options.executors = engine->executor_count;
    engine->executors = mem_zalloc((size_t)engine->executor_count, sizeof(struct executor *));
    for (int i = 0; i < engine->executor_count; i++)
        engine->executors[i] = executor_new(engine, i);
    *ret_engine = engine;
    return OK;
}

static void drop_mail(struct mail *mail)
{
    (void)mail; /* nothing is under way: engine_is_idle() was true */
}

static void executor_free(struct executor *executor)
{
    mailbox_close(executor->mailbox, drop_mail);
    cache_free(executor);
    due_free(executor);
    history_waiters_release(&executor->history_waiters);
    for (int32_t i = 0; i < executor->engine->options.shards; i++) {
        struct shard *shard = executor->shards[i];
        if (!shard)
            continue;
        mem_free(shard->items);
        mem_free(shard->values);
        mem_free(shard);
    }
    mem_free(executor->shards);
    for (size_t i = 0; i < 2; i++) {
        commit_release(&executor->commits[i].commit);
        mem_free(executor->commits[i].runs);
        mem_free(executor->commits[i].outbox);
        mem_free(executor->commits[i].blobs);
    }
    arena_release(&executor->scratch);
    mem_free(executor);
}

void engine_close(struct engine *engine)
{
    if (!engine)
        return;
    for (int i = 0; i < engine->executor_count; i++)
        executor_free(engine->executors[i]);
    mem_free(engine->executors);
    mem_free(engine->cluster_name);
    mem_free(engine->node_id);
    mem_free(engine);
}

void engine_set_matching(struct engine *engine, struct matching *matching)
{
    for (int i = 0; i < engine->executor_count; i++)
        engine->executors[i]->matching = matching;
}

/* ---- taking shards --------------------------------------------------------------------------- */

struct shard_start {
    struct store_op op;
    struct arena arena;
    struct executor *executor;
    struct shard *shard;
};

static void start_submit(struct shard_start *start, mail_deliver_fn *deliver, int kind);

static void start_done(struct shard_start *start)
{
    struct engine *engine = start->executor->engine;
    arena_release(&start->arena);
    mem_free(start);
    if (atomic_fetch_sub(&engine->starting, 1) == 1) {
        atomic_store(&engine->ready, true);
        log_info("engine.ready", "cluster=%s shards=%d executors=%d", engine->cluster_name,
            engine->options.shards, engine->executor_count);
    }
}

static void outbox_found(struct mail *mail, void *owner)
{
    (void)owner;
    struct shard_start *start = CONTAINER_OF(mail, struct shard_start, op.mail);
    struct executor *executor = start->executor;
    if (start->op.err && !executor->stopping) {
        start_submit(start, outbox_found, STORE_SCAN);
        return;
    }
    int64_t seq = 0;
    if (!start->op.err && start->op.scan.row_count)
        (void)key_read_i64(start->op.scan.rows[0].key, 0, &seq); /* a short key reads as seq 0 */
    start->shard->outbox_seq = seq;
    start->shard->outbox_committed = seq;
    start->shard->owned = !start->op.err;
    start_done(start);
}

static void shard_taken(struct mail *mail, void *owner)
{
    (void)owner;
    struct shard_start *start = CONTAINER_OF(mail, struct shard_start, op.mail);
    struct executor *executor = start->executor;
    if (start->op.err) {
        log_error("shard.take_failed", "shard=%d err=%s text=%s", start->shard->id,
            err_name(start->op.err), log_quote(start->op.text));
        if (!executor->stopping && err_class(start->op.err) == ERR_CLASS_RETRY)
            start_submit(start, shard_taken, STORE_TAKE_SHARD);
        else
            start_done(start);
        return;
    }
    start->shard->range_id = start->op.take_shard.range_id;
    start->shard->commit_no = start->op.take_shard.commit_no;
    start_submit(start, outbox_found, STORE_SCAN);
}

static void start_submit(struct shard_start *start, mail_deliver_fn *deliver, int kind)
{
    struct executor *executor = start->executor;
    start->op = (struct store_op){.kind = (enum store_op_kind)kind,
        .reply_to = executor->mailbox,
        .arena = &start->arena,
        .writer = executor->index,
        .mail = {.deliver = deliver}};
    if (kind == STORE_TAKE_SHARD)
        start->op.take_shard = (struct store_take_shard){.shard = start->shard->id,
            .expected_range = -1,
            .owner = bytes_of(executor->engine->node_id)};
    else
        start->op.scan = (struct store_scan){
            .table = TABLE_OUTBOX, .shard = start->shard->id, .reverse = true, .limit_rows = 1};
    store_submit(executor->store, &start->op);
}

void engine_start(struct engine *engine)
{
    atomic_store(&engine->starting, engine->options.shards);
    for (int32_t i = 0; i < engine->options.shards; i++) {
        struct shard_start *start = mem_new(struct shard_start);
        start->executor = engine_executor_of_shard(engine, i);
        start->shard = start->executor->shards[i];
        start_submit(start, shard_taken, STORE_TAKE_SHARD);
    }
}

bool engine_is_ready(const struct engine *engine)
{
    return atomic_load(&engine->ready);
}

static void stop_delivered(struct mail *mail, void *owner)
{
    struct executor *executor = owner;
    executor->stopping = true;
    size_t cursor = 0;
    for (struct workflow *workflow = map_next(&executor->workflows, &cursor); workflow;
         workflow = map_next(&executor->workflows, &cursor)) {
        for (struct list *node = workflow->runs.next; node != &workflow->runs; node = node->next) {
            history_abandon(executor, CONTAINER_OF(node, struct run, link));
            queries_abandon(executor, CONTAINER_OF(node, struct run, link));
        }
    }
    executor_redeliver(executor);
    mem_free(mail);
}

void engine_stop(struct engine *engine)
{
    for (int i = 0; i < engine->executor_count; i++) {
        struct mail *mail = mem_new(struct mail);
        mail->deliver = stop_delivered;
        mailbox_complete(engine->executors[i]->mailbox, mail);
    }
}

bool engine_is_idle(const struct engine *engine)
{
    for (int i = 0; i < engine->executor_count; i++) {
        const struct executor *executor = engine->executors[i];
        if (!executor->stopping || executor->flight || !list_empty(&executor->dirty) ||
            executor->work_pending || executor->loads || executor->due_loads ||
            executor->resolving || executor->retention_scans || executor->parked_count ||
            !list_empty(&executor->effects) || !mailbox_empty(executor->mailbox))
            return false;
        for (struct list *node = executor->cursors.next; node != &executor->cursors;
             node = node->next) {
            if (CONTAINER_OF(node, struct due_cursor, link)->scanning)
                return false;
        }
    }
    return atomic_load(&engine->starting) == 0;
}
