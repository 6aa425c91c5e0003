/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything here costs the same however many queues, tasks and pollers there are: queues are found
 * by hash, idle ones and silent pollers are kept in the order in which they are forgotten.
 */
#include "cluster/matching/matching_queue.h"

#include <string.h>

#include "cluster/base/mem.h"

/* ---- rates --------------------------------------------------------------------------------- */

static void rate_advance(struct rate *rate, int64_t bucket)
{
    if (bucket - rate->bucket >= RATE_BUCKETS) {
        memset(rate->counts, 0, sizeof(rate->counts));
        rate->bucket = bucket;
        return;
    }
    while (rate->bucket < bucket) {
        rate->bucket++;
        rate->counts[rate->bucket % RATE_BUCKETS] = 0;
    }
}

void rate_add(struct rate *rate, int64_t mono_now_ns)
{
    rate_advance(rate, mono_now_ns / RATE_BUCKET_NS);
    rate->counts[rate->bucket % RATE_BUCKETS]++;
}

double rate_per_second(const struct rate *rate, int64_t mono_now_ns)
{
    struct rate now = *rate;
    rate_advance(&now, mono_now_ns / RATE_BUCKET_NS);
    uint64_t sum = 0;
    for (size_t i = 0; i < RATE_BUCKETS; i++)
        sum += now.counts[i];
    return (double)sum / (double)(RATE_BUCKETS * RATE_BUCKET_NS / NS_PER_S);
}

/* ---- queues -------------------------------------------------------------------------------- */

void queue_table_init(struct queue_table *table)
{
    map_init(&table->queues);
    list_init(&table->idle);
    list_init(&table->backlogs);
    buffer_init(&table->key);
}

static struct bytes key_of(struct queue_table *table, enum task_kind kind,
    const struct uuid *namespace_id, struct bytes name)
{
    uint8_t tag = kind == TASK_ACTIVITY ? 1 : 0;
    buffer_clear(&table->key);
    buffer_append(&table->key, &tag, 1);
    buffer_append(&table->key, namespace_id->bytes, sizeof(namespace_id->bytes));
    buffer_append(&table->key, name.data, name.len);
    return buffer_view(&table->key);
}

struct task_queue *queue_find(struct queue_table *table, enum task_kind kind,
    const struct uuid *namespace_id, struct bytes name)
{
    return map_get(&table->queues, key_of(table, kind, namespace_id, name));
}

struct task_queue *queue_get(struct queue_table *table, enum task_kind kind,
    const struct uuid *namespace_id, struct bytes name)
{
    struct bytes key = key_of(table, kind, namespace_id, name);
    struct task_queue *queue = map_get(&table->queues, key);
    if (queue)
        return queue;
    queue = mem_zalloc(1, sizeof(*queue) + key.len);
    uint8_t *copy = (uint8_t *)(queue + 1);
    memcpy(copy, key.data, key.len);
    queue->key = bytes_make(copy, key.len);
    queue->polled_ns = INT64_MIN;
    list_init(&queue->tasks);
    list_init(&queue->polls);
    list_init(&queue->poller_order);
    (void)map_put(&table->queues, queue->key, queue); /* there was none */
    return queue;
}

bool queue_is_of(const struct task_queue *queue, const struct uuid *namespace_id)
{
    return memcmp(queue->key.data + 1, namespace_id->bytes, sizeof(namespace_id->bytes)) == 0;
}

static void poller_free(struct task_queue *queue, struct poller *poller)
{
    (void)map_remove(&queue->pollers, poller->identity);
    list_remove(&poller->link);
    mem_free(poller);
}

static void queue_free(struct queue_table *table, struct task_queue *queue)
{
    CHECK(queue->task_count == 0);
    CHECK(queue->poll_count == 0);
    while (!list_empty(&queue->poller_order))
        poller_free(queue, CONTAINER_OF(queue->poller_order.next, struct poller, link));
    map_release(&queue->pollers);
    list_remove(&queue->idle);
    list_remove(&queue->backlog);
    (void)map_remove(&table->queues, queue->key);
    mem_free(queue);
}

void queue_table_release(struct queue_table *table)
{
    size_t cursor = 0;
    for (struct task_queue *queue = map_next(&table->queues, &cursor); queue;
         queue = map_next(&table->queues, &cursor))
        queue_free(table, queue);
    map_release(&table->queues);
    buffer_release(&table->key);
}

void queue_add_task(struct queue_table *table, struct task_queue *queue, struct task *task)
{
    list_push_back(&queue->tasks, &task->link);
    if (queue->task_count++ > 0)
        return;
    if (queue->polled_ns == INT64_MIN)
        list_push_front(&table->backlogs, &queue->backlog);
    else
        list_push_back(&table->backlogs, &queue->backlog);
}

void queue_remove_task(struct task_queue *queue, struct task *task)
{
    CHECK(queue->task_count > 0);
    list_remove(&task->link);
    if (--queue->task_count == 0)
        list_remove(&queue->backlog);
}

struct task_queue *queue_unserved(struct queue_table *table, int64_t mono_now_ns)
{
    if (list_empty(&table->backlogs))
        return NULL;
    struct task_queue *queue = CONTAINER_OF(table->backlogs.next, struct task_queue, backlog);
    if (queue->poll_count ||
        (queue->polled_ns != INT64_MIN && mono_now_ns - queue->polled_ns < UNSERVED_NS))
        return NULL;
    return queue;
}

void queue_settle(struct queue_table *table, struct task_queue *queue, int64_t mono_now_ns)
{
    list_remove(&queue->idle);
    if (queue->task_count || queue->poll_count || queue->lost)
        return;
    queue->idle_since_ns = mono_now_ns;
    list_push_back(&table->idle, &queue->idle);
}

int64_t queue_table_step(struct queue_table *table, int64_t mono_now_ns, size_t max)
{
    while (!list_empty(&table->idle)) {
        struct task_queue *queue = CONTAINER_OF(table->idle.next, struct task_queue, idle);
        int64_t end_ns = queue->idle_since_ns + POLLER_KEEP_NS;
        if (end_ns > mono_now_ns)
            return end_ns;
        if (max-- == 0)
            return mono_now_ns;
        if (queue->task_count || queue->poll_count || queue->lost)
            list_remove(&queue->idle);
        else
            queue_free(table, queue);
    }
    return INT64_MAX;
}

/* ---- pollers ------------------------------------------------------------------------------- */

static struct poller *poller_new(struct bytes identity, const char *build_id)
{
    size_t build_len = strlen(build_id) + 1;
    struct poller *poller = mem_zalloc(1, sizeof(*poller) + build_len + identity.len + 1);
    poller->build_id = (char *)(poller + 1);
    memcpy(poller->build_id, build_id, build_len);
    uint8_t *copy = (uint8_t *)poller->build_id + build_len;
    memcpy(copy, identity.data, identity.len);
    poller->identity = bytes_make(copy, identity.len);
    return poller;
}

void queue_saw_poll(struct queue_table *table, struct task_queue *queue, const struct poll *poll,
    int64_t mono_now_ns, int64_t wall_now_ns)
{
    queue->polled_ns = mono_now_ns;
    queue->gone = false;
    if (list_linked(&queue->backlog)) {
        list_remove(&queue->backlog);
        list_push_back(&table->backlogs, &queue->backlog);
    }
    struct bytes identity = bytes_of(poll->identity);
    const char *build_id = poll->build_id ? poll->build_id : "";
    struct poller *poller = map_get(&queue->pollers, identity);
    if (poller && strcmp(poller->build_id, build_id) != 0) {
        poller_free(queue, poller);
        poller = NULL;
    }
    if (!poller) {
        if (queue->pollers.count >= POLLERS_MAX)
            poller_free(queue, CONTAINER_OF(queue->poller_order.next, struct poller, link));
        poller = poller_new(identity, build_id);
        (void)map_put(&queue->pollers, poller->identity, poller); /* there was none */
    }
    poller->seen_mono_ns = mono_now_ns;
    poller->seen_wall_ns = wall_now_ns;
    list_remove(&poller->link);
    list_push_back(&queue->poller_order, &poller->link);
}

bool queue_is_deserted(const struct task_queue *queue, int64_t mono_now_ns)
{
    if (queue->gone || queue->polled_ns == INT64_MIN)
        return true;
    return queue->poll_count == 0 && mono_now_ns - queue->polled_ns >= STICKY_SILENCE_NS;
}
