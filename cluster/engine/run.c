/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/run.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/engine/fold.h"
#include "proto/api_enums.pb-c.h"

/* What a map slot, a list and the struct around it cost, roughly. */
#define MAP_SLOT_BYTES 32u

struct run *run_new(
    int32_t shard, struct uuid namespace_id, struct bytes workflow_id, struct uuid run_id)
{
    struct run *run = mem_new(struct run);
    run->shard = shard;
    run->namespace_id = namespace_id;
    run->workflow_id = workflow_id;
    run->run_id = run_id;
    uuid_format(run_id, run->run_id_text);
    run->status = API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
    run->workflow_type = "";
    run->task_queue = "";
    run->attempt = 1;
    run->task.attempt = 1;
    run->next_buffered_id = 1;
    run->branches = mem_new(struct branch_state);
    run->branch_count = 1;
    run->branches[0].next_event_id = 1;
    list_init(&run->buffered);
    list_init(&run->queries);
    list_init(&run->history_waiters);
    list_init(&run->tail);
    list_init(&run->new_batches);
    list_init(&run->fact_changes);
    list_init(&run->task.mark.queries);
    return run;
}

static void free_batches(struct list *batches)
{
    while (!list_empty(batches)) {
        struct run_batch *batch = CONTAINER_OF(list_pop_front(batches), struct run_batch, link);
        blob_unref(batch->value);
        mem_free(batch);
    }
}

static void free_activities(struct run *run)
{
    size_t cursor = 0;
    for (struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        mem_free(activity->started_identity);
        mem_free(activity->last_identity);
        blob_unref(activity->heartbeat_details);
        blob_unref(activity->last_failure);
        mem_free(activity);
    }
    map_release(&run->activities);
    map_release(&run->activity_ids);
}

static void free_values(struct map *map)
{
    size_t cursor = 0;
    for (void *value = map_next(map, &cursor); value; value = map_next(map, &cursor))
        mem_free(value);
    map_release(map);
}

static void free_changes(struct run *run)
{
    while (!list_empty(&run->buffered)) {
        struct buffered_event *event =
            CONTAINER_OF(list_pop_front(&run->buffered), struct buffered_event, link);
        blob_unref(event->record);
        mem_free(event);
    }
    while (!list_empty(&run->fact_changes)) {
        struct fact_change *change =
            CONTAINER_OF(list_pop_front(&run->fact_changes), struct fact_change, link);
        blob_unref(change->value);
        mem_free(change);
    }
}

void run_free(struct run *run)
{
    if (!run)
        return;
    CHECK(list_empty(&run->queries));
    CHECK(list_empty(&run->task.mark.queries));
    CHECK(list_empty(&run->history_waiters));
    CHECK(run->due.index == 0);
    free_activities(run);
    free_values(&run->timers);
    free_values(&run->request_ids);
    free_values(&run->origins);
    free_batches(&run->tail);
    free_batches(&run->new_batches);
    free_changes(run);
    for (size_t i = 0; i < run->branch_count; i++)
        mem_free(run->branches[i].items);
    mem_free(run->branches);
    blob_unref(run->close_event);
    blob_unref(run->memo);
    blob_unref(run->search_attributes);
    mem_free(run->sticky_queue);
    mem_free(run->task.mark.identity);
    mem_free(run->task.mark.request_id);
    batch_abandon(&run->builder);
    buffer_release(&run->builder_meta);
    arena_release(&run->arena);
    mem_free(run);
}

bool run_is_open(const struct run *run)
{
    return run->status == API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
}

int64_t run_last_version(const struct run *run)
{
    const struct branch_state *branch = run_branch(run);
    return branch->item_count ? branch->items[branch->item_count - 1].version : 0;
}

struct activity *run_activity(const struct run *run, int64_t scheduled_event_id)
{
    uint8_t key[8];
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)((uint64_t)scheduled_event_id >> (56 - 8 * i));
    return map_get(&run->activities, bytes_make(key, sizeof(key)));
}

struct activity *run_activity_by_id(const struct run *run, struct bytes activity_id)
{
    return map_get(&run->activity_ids, activity_id);
}

struct timer *run_timer(const struct run *run, struct bytes timer_id)
{
    return map_get(&run->timers, timer_id);
}

bool run_has_request_id(const struct run *run, const char *request_id)
{
    if (!request_id || !*request_id)
        return false;
    return map_get(&run->request_ids, bytes_of(request_id)) != NULL;
}

static size_t keys_memory(const struct map *map)
{
    size_t bytes = map->capacity * MAP_SLOT_BYTES;
    size_t cursor = 0;
    for (const struct fold_key *key = map_next(map, &cursor); key; key = map_next(map, &cursor))
        bytes += sizeof(*key) + key->len;
    return bytes;
}

static size_t blob_memory(const struct blob *blob)
{
    return blob ? sizeof(*blob) + blob->len : 0;
}

size_t run_memory(const struct run *run)
{
    size_t bytes = sizeof(*run) + run->arena.reserved + run->tail_bytes + run->buffered_bytes;
    bytes += run->builder.capacity + run->builder_meta.capacity;
    bytes += (run->activities.capacity + run->activity_ids.capacity + run->timers.capacity) *
             MAP_SLOT_BYTES;
    size_t cursor = 0;
    for (const struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor))
        bytes += sizeof(*activity) + activity->activity_id.len + activity->scheduled.len +
                 blob_memory(activity->heartbeat_details) + blob_memory(activity->last_failure);
    cursor = 0;
    for (const struct timer *timer = map_next(&run->timers, &cursor); timer;
         timer = map_next(&run->timers, &cursor))
        bytes += sizeof(*timer) + timer->timer_id.len;
    bytes += keys_memory(&run->request_ids) + keys_memory(&run->origins);
    for (size_t i = 0; i < run->branch_count; i++)
        bytes += sizeof(run->branches[i]) +
                 run->branches[i].item_count * sizeof(run->branches[i].items[0]);
    return bytes + blob_memory(run->close_event) + blob_memory(run->memo) +
           blob_memory(run->search_attributes);
}
