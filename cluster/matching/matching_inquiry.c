/* SPDX-License-Identifier: Apache-2.0
 *
 * What DescribeTaskQueue wants to know.
 */
#include "cluster/matching/matching_private.h"

/* Pollers, latest first; those who were silent too long are left out. */
static size_t pollers_of(
    const struct task_queue *queue, int64_t mono_now_ns, struct poller_info *ret_infos)
{
    size_t count = 0;
    for (struct list *node = queue->poller_order.prev; node != &queue->poller_order;
         node = node->prev) {
        const struct poller *poller = CONTAINER_OF(node, struct poller, link);
        if (mono_now_ns - poller->seen_mono_ns > POLLER_KEEP_NS)
            break;
        CHECK(count < POLLERS_MAX);
        ret_infos[count++] = (struct poller_info){.identity = (const char *)poller->identity.data,
            .last_access_wall_ns = poller->seen_wall_ns,
            .build_id = poller->build_id};
    }
    return count;
}

void inquiry_deliver(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct queue_inquiry *inquiry = CONTAINER_OF(mail, struct queue_inquiry, mail);
    struct task_queue *queue = queue_find(
        &matching->table, inquiry->kind, &inquiry->namespace_id, bytes_of(inquiry->queue));
    if (!queue) {
        inquiry->done(inquiry, NULL, 0, 0, 0, 0, 0);
        return;
    }
    struct poller_info infos[POLLERS_MAX];
    int64_t now_ns = env_monotonic_ns(matching->env);
    size_t count = pollers_of(queue, now_ns, infos);
    int64_t age_ns = 0;
    if (queue->task_count)
        age_ns = now_ns - CONTAINER_OF(queue->tasks.next, struct task, link)->offered_ns;
    inquiry->done(inquiry, infos, count, queue->task_count, rate_per_second(&queue->added, now_ns),
        rate_per_second(&queue->dispatched, now_ns), age_ns);
}

void matching_inquire(struct matching *matching, struct queue_inquiry *inquiry)
{
    inquiry->mail.deliver = inquiry_deliver;
    mailbox_complete(matching->mailbox, &inquiry->mail); /* one per call that waits for it */
}
