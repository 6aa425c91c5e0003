/* SPDX-License-Identifier: Apache-2.0
 *
 * Matching: waiting tasks meet waiting polls. A cache: nothing here is durable, and dropping
 * anything costs at most a rescan of due runs.
 *
 * Layering: matching knows task queues, polls and opaque task references; what a task means is the
 * engine's business. It is stepped by one thread; everybody else reaches it through its mailbox.
 */
#ifndef CLUSTER_MATCHING_MATCHING_H
#define CLUSTER_MATCHING_MATCHING_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/call.h"
#include "cluster/base/env.h"
#include "cluster/base/heap.h"
#include "cluster/base/list.h"
#include "cluster/base/mailbox.h"
#include "cluster/base/metrics.h"
#include "cluster/base/uuid.h"

struct matching;
struct task_queue; /* matching_queue.h */

enum task_kind { TASK_WORKFLOW, TASK_ACTIVITY, TASK_QUERY };

/** What waits for a worker: enough to find it again, tens of bytes plus the workflow id. */
struct task {
    struct mail mail;
    struct list link;
    enum task_kind kind;
    struct uuid namespace_id;
    struct uuid run_id;
    int32_t shard;
    int64_t event_id;   /* scheduled event id; query: the query's number */
    int32_t attempt;    /* with event_id it says whether the task is still wanted */
    int64_t offered_ns; /* monotonic, for schedule-to-start metrics */
    bool sticky;        /* offered to a sticky queue; falls back to `normal_queue` */
    char *normal_queue; /* inside this allocation; "" when not sticky */
    size_t workflow_id_len;
    const char *workflow_id; /* inside this allocation */
    char *queue;             /* inside this allocation: the queue it waits on */
};

/** A parked poll. Lives in the call's arena. */
struct poll {
    struct mail mail;
    struct list link;
    struct mail watch; /* cancellation notice */
    struct call *call;
    enum task_kind kind; /* TASK_WORKFLOW (also takes queries) or TASK_ACTIVITY */
    struct uuid namespace_id;
    const char *queue;        /* the queue polled */
    const char *normal_queue; /* sticky poll: normal name; else "" */
    const char *identity;
    const char *worker_instance_key;
    const char *build_id;
    const void *message;      /* the parsed poll request */
    int64_t deadline_mono_ns; /* answer empty by then */
    bool sticky;
    void *holder; /* free for whoever answers it; kept when the poll comes back */
    /* Matching's own; zero at first. */
    bool front;
    struct heap_node deadline;
    struct task_queue *parked; /* the queue it waits on; NULL = it waits on none */
};

/** How matching hands over a pair, and ends a poll without one. Matching's thread. */
struct matching_sink {
    void *ctx;
    /* The task met the poll: both now belong to the callee, who answers the poll, or gives the poll
     * back with matching_poll() when the task was stale. */
    void (*matched)(void *ctx, struct task *task, struct poll *poll);
    /* The poll ends with nothing (deadline, shutdown): answer it with the empty response. */
    void (*poll_empty)(void *ctx, struct poll *poll);
    /* Tasks of this queue were dropped because the bound was reached: the engine must offer again
     * later (reset of due cursors). `namespace_id` tells whose. */
    void (*overflow)(void *ctx, struct uuid namespace_id);
    /* There is room again after an overflow. */
    void (*room)(void *ctx, struct uuid namespace_id);
};

struct matching_options {
    const struct env *env;
    struct metrics *metrics;
    struct waker *waker; /* may be NULL */
    struct matching_sink sink;
    size_t backlog_bytes_max; /* all queues together */
};

NODISCARD enum err matching_open(const struct matching_options *options, struct matching **ret);
/** Every poll must have ended before (matching_drain, or its client went away) and nobody may post
 *  any more; frees the waiting tasks. */
void matching_close(struct matching *matching);
struct mailbox *matching_mailbox(struct matching *matching);
/** Mail, poll deadlines; returns when it wants to run again at the latest. */
int64_t matching_step(struct matching *matching, int64_t monotonic_now_ns);

/** A task in one allocation. `normal_queue` NULL unless sticky. Free with task_free. */
struct task *task_new(enum task_kind kind, struct uuid namespace_id, struct bytes workflow_id,
    struct uuid run_id, int32_t shard, int64_t event_id, int32_t attempt, const char *queue,
    const char *normal_queue);
void task_free(struct task *task);

/** Offers a task. A sticky task whose queue nobody polled for 10 s goes to its normal queue at
 *  once. Never fails: beyond the bound it is dropped and reported. Any thread. */
void matching_offer(struct matching *matching, struct task *task);
/** Parks a poll (or returns a poll whose task was stale: it goes to the front). ERR_BUSY when full.
 *  Any thread. */
NODISCARD enum err matching_poll(struct matching *matching, struct poll *poll, bool front);
/** A matched task could not be looked at (its run did not load): frees it and has the namespace's
 *  due runs read again (sink.room), at most once a second. Any thread. */
void matching_lose(struct matching *matching, struct task *task);
/** The node shuts down: parked polls end empty now, later ones on arrival. Any thread. */
void matching_drain(struct matching *matching);
/** A worker says goodbye: its sticky queue counts as not polled, its parked polls on `queue` with
 *  that worker_instance_key (if any) end empty. Any thread. */
void matching_worker_shutdown(struct matching *matching, struct uuid namespace_id,
    struct bytes sticky_queue, struct bytes worker_instance_key);
/** The namespace became passive: its waiting tasks are dropped, its polls stay. Any thread. */
void matching_drop_namespace(struct matching *matching, struct uuid namespace_id);

/** One poller of a queue as DescribeTaskQueue shows it. */
struct poller_info {
    const char *identity;
    int64_t last_access_wall_ns;
    const char *build_id;
};
/** Asks for a queue's pollers (seen in the last 5 minutes), backlog and rates; answers by running
 *  `done` on matching's thread; the infos live until it returns. Any thread. */
struct queue_inquiry {
    struct mail mail;
    struct uuid namespace_id;
    enum task_kind kind;
    const char *queue;
    void (*done)(struct queue_inquiry *inquiry, const struct poller_info *pollers, size_t count,
        size_t backlog, double add_rate, double dispatch_rate, int64_t backlog_age_ns);
    void *ctx;
};
void matching_inquire(struct matching *matching, struct queue_inquiry *inquiry);

#endif
