/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits in memory: a heap of deadlines per executor.
 */
#include "cluster/engine/decide_read.h"

int64_t history_waiters_step(struct executor *executor, int64_t mono_now_ns)
{
    struct heap *heap = &executor_history_waiters(executor)->heap;
    for (;;) {
        struct heap_node *node = heap_peek(heap);
        if (!node)
            return INT64_MAX;
        if (node->key > mono_now_ns)
            return node->key;
        struct waiter *waiter = CONTAINER_OF(node, struct waiter, node);
        heap_remove(heap, node);
        waiter->expire(executor, waiter);
    }
}

void history_waiters_release(struct history_waiters *waiters)
{
    CHECK(waiters->heap.count == 0);
    heap_release(&waiters->heap);
}

void waiter_set(struct executor *executor, struct waiter *waiter, int64_t mono_ns)
{
    CHECK(waiter->expire);
    heap_set(&executor_history_waiters(executor)->heap, &waiter->node, mono_ns);
}

void waiter_clear(struct executor *executor, struct waiter *waiter)
{
    heap_remove(&executor_history_waiters(executor)->heap, &waiter->node);
}
