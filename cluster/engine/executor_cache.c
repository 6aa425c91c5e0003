/* SPDX-License-Identifier: Apache-2.0
 *
 * Which workflows and runs are in memory, and which may leave it.
 *
 * A run stays while something in memory belongs to it: an uncommitted change, a workflow task or a
 * query in flight, a long poll, a dispatched activity that matching holds. Everything else is
 * rebuilt from the store when somebody asks.
 */
#include "cluster/engine/executor_private.h"

#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"
#include "cluster/engine/decide_query.h"

struct workflow *workflow_get(
    struct executor *executor, struct uuid namespace_id, struct bytes workflow_id, int32_t shard)
{
    uint8_t key[16 + ID_BYTES_MAX];
    CHECK(workflow_id.len <= ID_BYTES_MAX);
    memcpy(key, namespace_id.bytes, 16);
    memcpy(key + 16, workflow_id.data, workflow_id.len);
    struct workflow *workflow =
        map_get(&executor->workflows, bytes_make(key, 16 + workflow_id.len));
    if (workflow) {
        list_remove(&workflow->lru);
        list_push_back(&executor->lru, &workflow->lru);
        return workflow;
    }
    workflow = mem_zalloc(1, sizeof(*workflow) + 16 + workflow_id.len);
    uint8_t *own = (uint8_t *)(workflow + 1);
    memcpy(own, key, 16 + workflow_id.len);
    workflow->executor = executor;
    workflow->key = bytes_make(own, 16 + workflow_id.len);
    workflow->namespace_id = namespace_id;
    workflow->workflow_id = bytes_make(own + 16, workflow_id.len);
    workflow->shard = shard;
    list_init(&workflow->runs);
    list_init(&workflow->waiting);
    list_push_back(&executor->lru, &workflow->lru);
    CHECK(!map_put(&executor->workflows, workflow->key, workflow));
    executor->cache_bytes += sizeof(*workflow) + workflow->key.len;
    return workflow;
}

struct run *workflow_run(struct workflow *workflow, struct uuid run_id)
{
    for (struct list *node = workflow->runs.next; node != &workflow->runs; node = node->next) {
        struct run *run = CONTAINER_OF(node, struct run, link);
        if (uuid_equal(run->run_id, run_id))
            return run;
    }
    return NULL;
}

void workflow_discard_run(struct executor *executor, struct run *run)
{
    heap_remove(&executor->due_runs, &run->due);
    queries_abandon(executor, run);
    history_abandon(executor, run);
    list_remove(&run->link);
    list_remove(&run->dirty_link);
    run_free(run);
}

static void workflow_free(struct executor *executor, struct workflow *workflow)
{
    while (!list_empty(&workflow->runs))
        workflow_discard_run(executor, CONTAINER_OF(workflow->runs.next, struct run, link));
    list_remove(&workflow->lru);
    CHECK(map_remove(&executor->workflows, workflow->key) == workflow);
    executor->cache_bytes -= sizeof(*workflow) + workflow->key.len;
    mem_free(workflow);
}

void cache_discard(struct executor *executor, int64_t from_commit_no)
{
    size_t cursor = 0;
    for (struct workflow *workflow = map_next(&executor->workflows, &cursor); workflow;
         workflow = map_next(&executor->workflows, &cursor)) {
        bool changed = false;
        struct list *node = workflow->runs.next;
        while (node != &workflow->runs) {
            struct run *run = CONTAINER_OF(node, struct run, link);
            node = node->next;
            if (run->changed_commit < from_commit_no)
                continue;
            changed = true;
            workflow_discard_run(executor, run);
        }
        if (changed) {
            workflow->current_known = false;
            due_reset(executor, workflow->namespace_id, workflow->shard);
        }
    }
}

static bool run_may_leave(const struct executor *executor, const struct run *run)
{
    if (run->dirty || run->changed_commit > executor->committed_no)
        return false;
    if (run->task.mark.set || run->query_count || !list_empty(&run->history_waiters))
        return false;
    return true;
}

static bool workflow_may_leave(const struct executor *executor, const struct workflow *workflow)
{
    if (workflow->loading || !list_empty(&workflow->waiting))
        return false;
    for (struct list *node = workflow->runs.next; node != &workflow->runs; node = node->next) {
        if (!run_may_leave(executor, CONTAINER_OF(node, struct run, link)))
            return false;
    }
    return true;
}

/* A run that leaves with something due soon must come back in time: its due row is read again. */
static void workflow_leave(struct executor *executor, struct workflow *workflow)
{
    bool reset = false;
    for (struct list *node = workflow->runs.next; node != &workflow->runs; node = node->next) {
        const struct run *run = CONTAINER_OF(node, struct run, link);
        if (run->due.index && !due_is_beyond(executor, run, run->due.key))
            reset = true;
    }
    if (reset)
        due_reset(executor, workflow->namespace_id, workflow->shard);
    workflow_free(executor, workflow);
}

void cache_evict(struct executor *executor)
{
    size_t looked = 0;
    struct list *node = executor->lru.next;
    while (executor->cache_bytes > executor->engine->options.cache_bytes_max && looked < 256 &&
           node != &executor->lru) {
        struct workflow *workflow = CONTAINER_OF(node, struct workflow, lru);
        node = node->next;
        looked++;
        if (!workflow_may_leave(executor, workflow)) {
            list_remove(&workflow->lru); /* not again at once */
            list_push_back(&executor->lru, &workflow->lru);
            continue;
        }
        size_t bytes = 0;
        for (struct list *n = workflow->runs.next; n != &workflow->runs; n = n->next)
            bytes += run_memory(CONTAINER_OF(n, struct run, link));
        executor->cache_bytes -= bytes < executor->cache_bytes ? bytes : executor->cache_bytes;
        workflow_leave(executor, workflow);
    }
}

void cache_free(struct executor *executor)
{
    while (!list_empty(&executor->lru)) {
        struct workflow *workflow = CONTAINER_OF(executor->lru.next, struct workflow, lru);
        CHECK(list_empty(&workflow->waiting));
        workflow_free(executor, workflow);
    }
    map_release(&executor->workflows);
}
