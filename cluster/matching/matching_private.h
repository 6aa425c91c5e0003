/* SPDX-License-Identifier: Apache-2.0
 *
 * What matching's files share.
 */
#ifndef CLUSTER_MATCHING_MATCHING_PRIVATE_H
#define CLUSTER_MATCHING_MATCHING_PRIVATE_H

#include <stdatomic.h>

#include "cluster/matching/matching_queue.h"

#define ROOM_INTERVAL_NS NS_PER_S /* a namespace's due runs are read again at most so often */

/* A namespace some of whose tasks were dropped. */
struct loss {
    struct list link;
    struct uuid namespace_id;
    int64_t not_before_ns; /* of the next report; monotonic */
};

struct matching {
    const struct env *env;
    struct matching_sink sink;
    struct mailbox *mailbox;
    size_t backlog_bytes_max;
    size_t backlog_bytes;
    struct queue_table table;
    struct heap deadlines;  /* struct poll.deadline */
    struct map losses;      /* namespace id -> struct loss */
    struct list loss_order; /* by not_before_ns */
    size_t leaving;         /* polls whose client went away; the notice is under way */
    bool draining;
    struct {
        struct gauge *backlog_tasks;
        struct gauge *backlog_bytes;
        struct gauge *polls;
        struct counter *matched;
        struct counter *dropped;
        struct counter *fallbacks;
        struct histogram *wait_seconds;
    } metrics;
};

size_t task_bytes(const struct task *task);

/* matching_loss.c */
/** Notes that a task of the namespace was dropped; true when it is the first. */
bool loss_note(struct matching *matching, struct uuid namespace_id, int64_t mono_now_ns);
void loss_forget(struct matching *matching, struct uuid namespace_id);
/** Reports room for namespaces that lost tasks, when there is. Returns when to look again. */
int64_t loss_step(struct matching *matching, int64_t mono_now_ns);
void loss_release(struct matching *matching);

/* matching_inquiry.c */
void inquiry_deliver(struct mail *mail, void *owner);

#endif
