/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, closing and feeding a store; see store_pool.c for how operations are executed.
 */
#include "cluster/store/store.h"

#include <stdio.h>

#include "cluster/base/mem.h"
#include "cluster/store/store_private.h"

static bool is_write(enum store_op_kind kind)
{
    return kind == STORE_COMMIT || kind == STORE_TAKE_SHARD;
}

static void metrics_register(struct store *store, struct metrics *metrics)
{
    store->metrics = metrics;
    if (!metrics)
        return;
    store->commit_seconds = metrics_histogram(metrics, "strait_store_commit_seconds", NULL,
        "Duration of one store transaction, retries included.", 1);
    store->commit_rows = metrics_histogram(
        metrics, "strait_store_commit_rows", NULL, "Changes per store transaction.", 0);
    for (int i = OK + 1; i < ERR_COUNT; i++) {
        char labels[64];
        (void)snprintf(labels, sizeof(labels), "error=\"%s\"", err_name((enum err)i));
        store->errors[i] = metrics_counter(metrics, "strait_store_errors_total", labels,
            "Store operations that failed, and commits that were retried, by error.");
    }
}

static void worker_init(struct store *store, struct store_worker *worker, struct store_queue *queue)
{
    worker->store = store;
    worker->queue = queue;
    arena_init(&worker->scratch);
    env_random(env_system(), &worker->random, sizeof(worker->random));
}

static void workers_release(const struct store *store, struct store_worker *workers, int count)
{
    for (int i = 0; i < count; i++) {
        if (workers[i].thread)
            thread_join(workers[i].thread);
        if (workers[i].session)
            store->driver->session_close(workers[i].session);
        arena_release(&workers[i].scratch);
    }
    mem_free(workers);
}

static enum err workers_open(struct store *store, bool writer, char text[256])
{
    struct store_worker *workers = writer ? store->writers : store->readers;
    int count = writer ? store->writer_count : store->reader_count;
    for (int i = 0; i < count; i++) {
        enum err err =
            store->driver->session_open(store->database, writer, &workers[i].session, text);
        if (err)
            return err;
    }
    return OK;
}

static int clamp(int wanted, int max)
{
    if (wanted < 1)
        return 1;
    return wanted > max ? max : wanted;
}

static struct store *store_new(const struct store_options *options)
{
    struct store *store = mem_new(struct store);
    const struct store_driver *driver = options->driver;
    store->driver = driver;
    store->reader_count = driver->stepped ? 1 : clamp(options->readers, STORE_WORKERS_MAX);
    int writers_max = clamp(driver->writers_max, STORE_WORKERS_MAX);
    store->writer_count = driver->stepped ? 1 : clamp(options->writers, writers_max);
    store->readers = mem_zalloc((size_t)store->reader_count, sizeof(*store->readers));
    store->writers = mem_zalloc((size_t)store->writer_count, sizeof(*store->writers));
    store->write_queues = mem_zalloc((size_t)store->writer_count, sizeof(*store->write_queues));
    store_queue_init(&store->read_queue);
    int failed = pthread_mutex_init(&store->run_lock, NULL);
    CHECK(failed == 0);
    cond_init(&store->run_wake);
    for (int i = 0; i < store->reader_count; i++)
        worker_init(store, &store->readers[i], &store->read_queue);
    for (int i = 0; i < store->writer_count; i++) {
        store_queue_init(&store->write_queues[i]);
        worker_init(store, &store->writers[i], &store->write_queues[i]);
    }
    metrics_register(store, options->metrics);
    return store;
}

static void threads_start(struct store *store)
{
    for (int i = 0; i < store->reader_count; i++)
        store->readers[i].thread =
            thread_start("store-read", store_worker_main, &store->readers[i]);
    for (int i = 0; i < store->writer_count; i++)
        store->writers[i].thread =
            thread_start("store-write", store_worker_main, &store->writers[i]);
}

enum err store_open(const struct store_options *options, struct store **ret_store, char text[256])
{
    CHECK(options->driver != NULL);
    text[0] = '\0';
    struct store *store = store_new(options);
    enum err err = store->driver->open(options, &store->database, text);
    if (err == OK)
        err = workers_open(store, true, text);
    if (err == OK)
        err = workers_open(store, false, text);
    if (err) {
        store_close(store);
        return err;
    }
    if (!store->driver->stepped)
        threads_start(store);
    *ret_store = store;
    return OK;
}

static void drain(struct store *store, struct store_queue *queue)
{
    struct store_op *op = store_queue_close(queue);
    while (op) {
        struct store_op *next = op->next;
        store_op_complete(store, op, ERR_CLOSED, "the store is closed");
        op = next;
    }
}

void store_close(struct store *store)
{
    if (!store)
        return;
    drain(store, &store->read_queue);
    for (int i = 0; i < store->writer_count; i++)
        drain(store, &store->write_queues[i]);
    workers_release(store, store->readers, store->reader_count);
    workers_release(store, store->writers, store->writer_count);
    if (store->database)
        store->driver->close(store->database);
    for (int i = 0; i < store->writer_count; i++)
        store_queue_release(&store->write_queues[i]);
    store_queue_release(&store->read_queue);
    (void)pthread_cond_destroy(&store->run_wake);
    (void)pthread_mutex_destroy(&store->run_lock);
    mem_free(store->write_queues);
    mem_free(store);
}

static void submit(struct store *store, struct store_op *op)
{
    CHECK(op->writer >= 0);
    struct store_queue *queue = &store->read_queue;
    if (is_write(op->kind) && !store->driver->stepped)
        queue = &store->write_queues[op->writer % store->writer_count];
    if (!store_queue_push(queue, op))
        store_op_complete(store, op, ERR_CLOSED, "the store is closed");
}

void store_submit(struct store *store, struct store_op *op)
{
    CHECK(op->reply_to != NULL);
    submit(store, op);
}

/** The first operation, alone: a stepped store merges nothing, so that steps are operations. */
static struct store_op *queue_pop(struct store_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    struct store_op *op = queue->head;
    if (op) {
        queue->head = op->next;
        if (!queue->head)
            queue->tail = &queue->head;
        op->next = NULL;
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return op;
}

size_t store_step(struct store *store, size_t max)
{
    CHECK(store->driver->stepped);
    size_t executed = 0;
    while (executed < max) {
        struct store_op *op = queue_pop(&store->read_queue);
        if (!op)
            break;
        store_worker_execute(is_write(op->kind) ? store->writers : store->readers, op);
        executed++;
    }
    return executed;
}

/* Not a mailbox of its own: its producer may still be in mailbox_complete() when the mail has been
 * received, and this one would be gone by then. */
enum err store_run(struct store *store, struct store_op *op)
{
    op->reply_to = NULL;
    op->mail.next = NULL;
    submit(store, op);
    if (store->driver->stepped) {
        while (!op->mail.next) {
            size_t executed = store_step(store, 1);
            CHECK(executed == 1);
        }
        return op->err;
    }
    (void)pthread_mutex_lock(&store->run_lock);
    while (!op->mail.next)
        (void)pthread_cond_wait(&store->run_wake, &store->run_lock);
    (void)pthread_mutex_unlock(&store->run_lock);
    return op->err;
}

const char *store_driver_name(const struct store *store)
{
    return store->driver->name;
}

enum err session_get(
    struct store_session *session, struct arena *arena, struct store_get *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK((unsigned)keys[i].table < TABLE_COUNT);
        CHECK(keys[i].key.len <= TABLE_KEY_BYTES_MAX);
    }
    if (count == 0)
        return OK;
    session->text[0] = '\0';
    return session->driver->get(session, arena, keys, count);
}

enum err session_scan(struct store_session *session, struct arena *arena, struct store_scan *scan)
{
    CHECK((unsigned)scan->table < TABLE_COUNT);
    CHECK(scan->limit_rows > 0);
    session->text[0] = '\0';
    return session->driver->scan(session, arena, scan);
}
