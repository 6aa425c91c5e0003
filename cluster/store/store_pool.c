/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers: a thread, a session, a queue.
 *
 * Under load the queue is where throughput is won: gets that wait together become one driver call,
 * and so do the commits at a queue's head when the driver can put several into one transaction.
 * A worker never polls; it sleeps on its queue's condition, also while it backs off.
 *
 * P1  An operation is completed exactly once, and is not touched afterwards.
 * P2  Only outcomes that are certain are retried: ERR_CONFLICT, where nothing was applied.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/store/store_private.h"

#define CONFLICT_RETRIES_MAX     10
#define CONFLICT_BACKOFF_MIN_NS  (NS_PER_MS / 2)
#define CONFLICT_BACKOFF_MAX_NS  (50 * NS_PER_MS)
#define RECONNECT_BACKOFF_MIN_NS (10 * NS_PER_MS)
#define RECONNECT_BACKOFF_MAX_NS (2 * NS_PER_S)

void store_queue_init(struct store_queue *queue)
{
    int failed = pthread_mutex_init(&queue->lock, NULL);
    CHECK(failed == 0);
    cond_init(&queue->wake);
    cond_init(&queue->pause);
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->closing = false;
}

void store_queue_release(struct store_queue *queue)
{
    CHECK(!queue->head);
    (void)pthread_cond_destroy(&queue->wake); /* nobody waits any more */
    (void)pthread_cond_destroy(&queue->pause);
    (void)pthread_mutex_destroy(&queue->lock);
}

bool store_queue_push(struct store_queue *queue, struct store_op *op)
{
    op->next = NULL;
    (void)pthread_mutex_lock(&queue->lock); /* a normal mutex: cannot fail */
    bool open = !queue->closing;
    if (open) {
        *queue->tail = op;
        queue->tail = &op->next;
        (void)pthread_cond_signal(&queue->wake);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return open;
}

struct store_op *store_queue_close(struct store_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    struct store_op *rest = queue->head;
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->closing = true;
    (void)pthread_cond_broadcast(&queue->wake);
    (void)pthread_cond_broadcast(&queue->pause);
    (void)pthread_mutex_unlock(&queue->lock);
    return rest;
}

static size_t commit_size(const struct commit *commit)
{
    return commit->row_count + commit->visibility_count + commit->range_count;
}

bool store_commit_fits(const struct commit *commit)
{
    return commit_size(commit) <= STORE_COMMIT_ROWS_MAX && commit->bytes <= STORE_COMMIT_BYTES_MAX;
}

/** May `op` share a driver call with `first`? Adds its weight to `*weight` when it may. */
static bool can_merge(const struct store_driver *driver, const struct store_op *first,
    const struct store_op *op, size_t *weight)
{
    size_t more = 0;
    size_t max = 0;
    if (first->kind == STORE_GET && op->kind == STORE_GET) {
        more = op->get.count;
        max = STORE_GET_MERGE_MAX;
    } else if (first->kind == STORE_COMMIT && op->kind == STORE_COMMIT && driver->commit_many &&
               store_commit_fits(op->commit)) {
        more = op->commit->bytes;
        max = COMMIT_BYTES_MAX;
    }
    if (max == 0 || *weight + more > max)
        return false;
    *weight += more;
    return true;
}

struct store_op *store_queue_take(struct store_queue *queue, const struct store_driver *driver)
{
    struct store_op *first = queue->head;
    if (!first)
        return NULL;
    struct store_op **link = &first->next;
    size_t weight = 0;
    size_t count = 1;
    if (!can_merge(driver, first, first, &weight))
        count = STORE_COMMIT_MERGE_MAX;
    while (*link && count < STORE_COMMIT_MERGE_MAX && can_merge(driver, first, *link, &weight)) {
        link = &(*link)->next;
        count++;
    }
    queue->head = *link;
    if (!queue->head)
        queue->tail = &queue->head;
    *link = NULL;
    return first;
}

void store_op_complete(struct store *store, struct store_op *op, enum err err, const char *text)
{
    op->err = err;
    op->text[0] = '\0';
    if (err)
        (void)snprintf(op->text, sizeof(op->text), "%s", text); /* cut when too long */
    if (op->reply_to) {
        mailbox_complete(op->reply_to, &op->mail);
        return;
    }
    (void)pthread_mutex_lock(&store->run_lock);
    op->mail.next = &op->mail;
    (void)pthread_cond_broadcast(&store->run_wake);
    (void)pthread_mutex_unlock(&store->run_lock);
}

/** Exponential, half of it random. */
static int64_t backoff_ns(struct store_worker *worker, unsigned attempt, int64_t min, int64_t max)
{
    int64_t full = attempt < 20 ? min << attempt : max;
    if (full > max)
        full = max;
    worker->random = worker->random * 6364136223846793005u + 1442695040888963407u;
    return full / 2 + (int64_t)((worker->random >> 33) % (uint64_t)(full / 2 + 1));
}

/** Sleeps, unless the store is being closed. False then. Stepped stores do not sleep. */
static bool worker_pause(struct store_worker *worker, int64_t timeout_ns)
{
    if (worker->store->driver->stepped)
        return true;
    const struct env *env = env_system();
    int64_t until = env_monotonic_ns(env) + timeout_ns;
    struct store_queue *queue = worker->queue;
    (void)pthread_mutex_lock(&queue->lock);
    while (!queue->closing) {
        int64_t left = until - env_monotonic_ns(env);
        if (left <= 0)
            break;
        cond_wait_for(&queue->pause, &queue->lock, left);
    }
    bool open = !queue->closing;
    (void)pthread_mutex_unlock(&queue->lock);
    return open;
}

static void count_error(struct store *store, enum err err)
{
    if (err && store->errors[err])
        counter_add(store->errors[err], 1);
}

static void finish(struct store_worker *worker, struct store_op *op, enum err err)
{
    count_error(worker->store, err);
    const char *text = worker->session->text[0] ? worker->session->text : err_text(err);
    store_op_complete(worker->store, op, err, text);
}

static bool lost_connection(enum err err)
{
    return err == ERR_UNAVAILABLE || err == ERR_UNKNOWN_COMMIT;
}

static enum err commit_once(struct store_worker *worker, const struct commit *commit)
{
    enum err err = OK;
    for (unsigned attempt = 0; attempt <= CONFLICT_RETRIES_MAX; attempt++) {
        worker->session->text[0] = '\0';
        err = worker->store->driver->commit(worker->session, commit);
        if (err != ERR_CONFLICT || attempt == CONFLICT_RETRIES_MAX)
            break;
        count_error(worker->store, err);
        if (!worker_pause(worker,
                backoff_ns(worker, attempt, CONFLICT_BACKOFF_MIN_NS, CONFLICT_BACKOFF_MAX_NS)))
            break;
    }
    return err;
}

static void observe_commits(
    const struct store *store, size_t rows, int64_t started_ns, size_t transactions)
{
    if (!store->commit_seconds || transactions == 0)
        return;
    int64_t ns = env_monotonic_ns(env_system()) - started_ns;
    histogram_observe(store->commit_seconds, (double)ns / (double)NS_PER_S);
    histogram_observe(store->commit_rows, (double)rows);
}

static void execute_commit(struct store_worker *worker, struct store_op *op)
{
    if (!store_commit_fits(op->commit)) {
        count_error(worker->store, ERR_TOO_LARGE);
        store_op_complete(worker->store, op, ERR_TOO_LARGE, "commit exceeds the store's bounds");
        return;
    }
    int64_t started = env_monotonic_ns(env_system());
    enum err err = commit_once(worker, op->commit);
    observe_commits(worker->store, commit_size(op->commit), started, 1);
    if (lost_connection(err))
        worker->failures++;
    else
        worker->failures = 0;
    finish(worker, op, err);
}

/** Several commits in one transaction; those that must be retried are then done one by one. */
static void execute_commits(struct store_worker *worker, struct store_op *ops)
{
    const struct commit *commits[STORE_COMMIT_MERGE_MAX];
    enum err errs[STORE_COMMIT_MERGE_MAX];
    size_t count = 0;
    size_t rows = 0;
    for (const struct store_op *op = ops; op; op = op->next) {
        CHECK(count < STORE_COMMIT_MERGE_MAX);
        rows += commit_size(op->commit);
        commits[count++] = op->commit;
    }
    int64_t started = env_monotonic_ns(env_system());
    worker->session->text[0] = '\0';
    worker->store->driver->commit_many(worker->session, commits, count, errs);
    observe_commits(worker->store, rows, started, 1);
    worker->failures = lost_connection(errs[count - 1]) ? worker->failures + 1 : 0;
    size_t i = 0;
    while (ops) {
        struct store_op *next = ops->next;
        if (errs[i] == ERR_CONFLICT)
            execute_commit(worker, ops);
        else
            finish(worker, ops, errs[i]);
        ops = next;
        i++;
    }
}

/** Copies a result out of the scratch arena. */
static void deliver_row(struct arena *arena, struct store_get *to, const struct store_get *from)
{
    to->row = from->row;
    to->row.key = bytes_copy(arena, from->row.key);
    to->row.value = bytes_copy(arena, from->row.value);
}

static void execute_gets(struct store_worker *worker, struct store_op *ops)
{
    size_t count = 0;
    for (const struct store_op *op = ops; op; op = op->next)
        count += op->get.count;
    struct store_get *merged = arena_zalloc(&worker->scratch, count + 1, sizeof(*merged));
    size_t at = 0;
    for (const struct store_op *op = ops; op; op = op->next) {
        for (size_t i = 0; i < op->get.count; i++)
            merged[at++] = op->get.keys[i];
    }
    enum err err = session_get(worker->session, &worker->scratch, merged, count);
    worker->failures = lost_connection(err) ? worker->failures + 1 : 0;
    at = 0;
    while (ops) {
        struct store_op *next = ops->next;
        for (size_t i = 0; i < ops->get.count && err == OK; i++)
            deliver_row(ops->arena, &ops->get.keys[i], &merged[at++]);
        finish(worker, ops, err);
        ops = next;
    }
    arena_reset(&worker->scratch);
}

static enum err execute_read(struct store_worker *worker, struct store_op *op)
{
    struct store_session *session = worker->session;
    const struct store_driver *driver = worker->store->driver;
    session->text[0] = '\0';
    switch (op->kind) {
    case STORE_GET:
        return session_get(session, op->arena, op->get.keys, op->get.count);
    case STORE_SCAN:
        return session_scan(session, op->arena, &op->scan);
    case STORE_DUE:
        CHECK(op->due.limit_rows > 0);
        return driver->due(session, op->arena, &op->due);
    case STORE_LIST:
        CHECK(op->list.limit_rows > 0);
        return driver->list(session, op->arena, &op->list);
    case STORE_COUNT:
        return driver->count(session, op->arena, &op->count);
    case STORE_TAKE_SHARD:
        return driver->take_shard(session, &op->take_shard);
    case STORE_CUSTOM:
        return op->custom.fn(session, op, op->custom.ctx);
    case STORE_COMMIT:
        break;
    }
    return ERR_INTERNAL;
}

void store_worker_execute(struct store_worker *worker, struct store_op *ops)
{
    if (ops->kind == STORE_COMMIT) {
        if (ops->next)
            execute_commits(worker, ops);
        else
            execute_commit(worker, ops);
        return;
    }
    if (ops->next) {
        execute_gets(worker, ops);
        return;
    }
    enum err err = execute_read(worker, ops);
    for (unsigned i = 0; ops->kind == STORE_TAKE_SHARD && err == ERR_CONFLICT; i++) {
        if (i == CONFLICT_RETRIES_MAX)
            break;
        (void)worker_pause(
            worker, backoff_ns(worker, i, CONFLICT_BACKOFF_MIN_NS, CONFLICT_BACKOFF_MAX_NS));
        err = execute_read(worker, ops);
    }
    worker->failures = lost_connection(err) ? worker->failures + 1 : 0;
    finish(worker, ops, err);
}

void store_worker_main(void *arg)
{
    struct store_worker *worker = arg;
    struct store_queue *queue = worker->queue;
    for (;;) {
        /* The first try after a failure is immediate: one cut connection is soon replaced. */
        if (worker->failures > 1)
            (void)worker_pause(worker, backoff_ns(worker, worker->failures - 2,
                                           RECONNECT_BACKOFF_MIN_NS, RECONNECT_BACKOFF_MAX_NS));
        (void)pthread_mutex_lock(&queue->lock);
        while (!queue->head && !queue->closing)
            (void)pthread_cond_wait(&queue->wake, &queue->lock);
        struct store_op *ops = store_queue_take(queue, worker->store->driver);
        (void)pthread_mutex_unlock(&queue->lock);
        if (!ops)
            return;
        store_worker_execute(worker, ops);
    }
}
