/* SPDX-License-Identifier: Apache-2.0
 *
 * Between store.c (open, close, submit) and store_pool.c (queues, threads, execution).
 */
#ifndef CLUSTER_STORE_STORE_PRIVATE_H
#define CLUSTER_STORE_STORE_PRIVATE_H

#include <pthread.h>

#include "cluster/base/thread.h"
#include "cluster/store/store.h"

#define STORE_WORKERS_MAX      64
#define STORE_GET_MERGE_MAX    512 /* keys of several queued gets that one driver call may carry */
#define STORE_COMMIT_MERGE_MAX 64  /* queued commits that one transaction may carry */

/** Operations in order, and where their workers sleep. `lock` guards all fields. */
struct store_queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* an operation came, or closing */
    pthread_cond_t pause; /* closing */
    struct store_op *head;
    struct store_op **tail;
    bool closing;
};

/** One session and its thread (none when stepped). Only `queue` is shared. */
struct store_worker {
    struct store *store;
    struct store_queue *queue;
    struct store_session *session;
    struct thread *thread;
    struct arena scratch; /* results of merged gets, on their way to the submitters' arenas */
    unsigned failures;    /* lost connections in a row */
    uint64_t random;      /* jitter */
};

struct store {
    const struct store_driver *driver;
    void *database;
    struct metrics *metrics; /* may be NULL */
    struct histogram *commit_seconds;
    struct histogram *commit_rows;
    struct counter *errors[ERR_COUNT];
    int reader_count;
    int writer_count;
    struct store_queue read_queue; /* stepped: of all operations */
    struct store_queue *write_queues;
    struct store_worker *readers;
    struct store_worker *writers;
    pthread_mutex_t run_lock; /* store_run(): guards the completion marks of its operations */
    pthread_cond_t run_wake;
};

void store_queue_init(struct store_queue *queue);
void store_queue_release(struct store_queue *queue);
/** False when the queue is closing. */
bool store_queue_push(struct store_queue *queue, struct store_op *op);
/** Wakes all workers for good; returns what was queued. */
struct store_op *store_queue_close(struct store_queue *queue);
bool store_commit_fits(const struct commit *commit);
/** Cuts the next piece of work off the queue: one operation, or several that one driver call can
 *  serve, linked by `next`. The lock is held. NULL when empty. */
struct store_op *store_queue_take(struct store_queue *queue, const struct store_driver *driver);
/** Executes a piece of work and completes its operations. */
void store_worker_execute(struct store_worker *worker, struct store_op *ops);
/** A thread's main function: `arg` is the worker. */
void store_worker_main(void *arg);
/** Mails the result. An operation of store_run() has no mailbox: its mail is linked to itself. */
void store_op_complete(struct store *store, struct store_op *op, enum err err, const char *text);

#endif
