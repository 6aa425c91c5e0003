/* SPDX-License-Identifier: Apache-2.0
 *
 * The outbox: one row per shard and commit, listing what changed in replicated namespaces. The row
 * refers to batches and facts; it carries no payload.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/executor_private.h"

void shard_outbox_item(struct executor *executor, struct shard *shard,
    const Record__OutboxItem *item, struct blob *value)
{
    struct arena *arena = &executor->open->commit.arena;
    if (shard->item_count == shard->item_capacity) {
        shard->item_capacity = shard->item_capacity ? shard->item_capacity * 2 : 64;
        shard->items = mem_realloc(shard->items, shard->item_capacity * sizeof(*shard->items));
        shard->values = mem_realloc(shard->values, shard->item_capacity * sizeof(*shard->values));
    }
    Record__OutboxItem *copy = arena_new(arena, Record__OutboxItem);
    *copy = *item;
    shard->items[shard->item_count] = copy;
    shard->values[shard->item_count] = value ? blob_retain(value) : NULL;
    shard->item_count++;
    shard_touch(executor, shard);
}

static void item_of_run(Record__OutboxItem *item, struct arena *arena, const struct run *run,
    const struct namespace_view *ns)
{
    record__outbox_item__init(item);
    item->namespace_id.data = arena_copy(arena, run->namespace_id.bytes, 16);
    item->namespace_id.len = 16;
    item->run_id.data = arena_copy(arena, run->run_id.bytes, 16);
    item->run_id.len = 16;
    item->workflow_id = bytes_string(arena, run->workflow_id);
    item->n_targets = (size_t)ns->target_count;
    item->targets = arena_zalloc(arena, (size_t)ns->target_count + 1, sizeof(*item->targets));
    for (int i = 0; i < ns->target_count; i++)
        item->targets[i] = arena_strdup(arena, ns->targets[i]);
}

/* The whole line up to this batch: what a target needs to place the batch without asking. */
static void item_version_history(
    Record__OutboxItem *item, struct arena *arena, const struct run *run)
{
    const struct branch_state *branch = run_branch(run);
    item->n_version_history = branch->item_count;
    item->version_history =
        arena_zalloc(arena, branch->item_count + 1, sizeof(*item->version_history));
    for (size_t i = 0; i < branch->item_count; i++) {
        Record__VersionItem *entry = arena_new(arena, Record__VersionItem);
        record__version_item__init(entry);
        entry->event_id = branch->items[i].event_id;
        entry->version = branch->items[i].version;
        item->version_history[i] = entry;
    }
}

void outbox_collect_run(struct executor *executor, struct shard *shard, struct run *run,
    const struct namespace_view *ns)
{
    if (!ns || !ns->replicated || !ns->active)
        return;
    struct arena *arena = &executor->open->commit.arena;
    Record__OutboxItem item;
    if (run->deleted) {
        if (!run->expired) {
            item_of_run(&item, arena, run, ns);
            item.kind = RECORD__OUTBOX_ITEM__KIND__RUN_DELETED;
            item.version = run_last_version(run);
            shard_outbox_item(executor, shard, &item, NULL);
        }
        return;
    }
    bool begun = false;
    for (struct list *node = run->new_batches.next; node != &run->new_batches; node = node->next) {
        const struct run_batch *batch = CONTAINER_OF(node, struct run_batch, link);
        if (batch->replicated)
            continue;
        if (!begun)
            item_of_run(&item, arena, run, ns);
        if (!begun)
            item_version_history(&item, arena, run);
        begun = true;
        item.kind = RECORD__OUTBOX_ITEM__KIND__EVENTS;
        item.branch = batch->branch;
        item.first_event_id = batch->first_event_id;
        item.version = run_last_version(run);
        shard_outbox_item(executor, shard, &item, batch->value);
    }
    for (struct list *node = run->fact_changes.next; node != &run->fact_changes;
         node = node->next) {
        const struct fact_change *change = CONTAINER_OF(node, struct fact_change, link);
        if (change->replicated || !change->value)
            continue;
        if (!begun)
            item_of_run(&item, arena, run, ns);
        if (!begun)
            item_version_history(&item, arena, run);
        begun = true;
        item.kind = change->kind == FACT_ACTIVITY ? RECORD__OUTBOX_ITEM__KIND__ACTIVITY
                                                  : RECORD__OUTBOX_ITEM__KIND__BUFFERED;
        item.branch = 0;
        item.first_event_id = 0;
        item.fact_id = change->id;
        item.version = ns->failover_version;
        shard_outbox_item(executor, shard, &item, change->value);
    }
}

static void finish_shard(struct executor *executor, struct open_commit *open, struct shard *shard)
{
    struct arena *arena = &open->commit.arena;
    Record__OutboxRow row;
    record__outbox_row__init(&row);
    row.format = 1;
    row.commit_time = env_wall_ns(executor->env);
    row.n_items = shard->item_count;
    row.items = shard->items;
    int64_t seq = ++shard->outbox_seq;
    struct bytes value = proto_pack(arena, &row.base);
    struct commit_row change = {.table = TABLE_OUTBOX,
        .mode = COMMIT_INSERT,
        .shard = shard->id,
        .key = key_seq(arena, seq),
        .value = value};
    commit_write(&open->commit, &change);
    if (open->outbox_count == open->outbox_capacity) {
        open->outbox_capacity = open->outbox_capacity ? open->outbox_capacity * 2 : 16;
        open->outbox = mem_realloc(open->outbox, open->outbox_capacity * sizeof(*open->outbox));
    }
    struct blob **values = mem_zalloc(shard->item_count, sizeof(*values));
    memcpy(values, shard->values, shard->item_count * sizeof(*values));
    size_t i = open->outbox_count++;
    open->outbox[i].shard = shard->id;
    open->outbox[i].seq = seq;
    open->outbox[i].row = value;
    open->outbox[i].count = shard->item_count;
    open->outbox[i].values = values;
    /* The references of the values move to the commit. */
    for (size_t k = 0; k < shard->item_count; k++) {
        if (shard->values[k])
            open_hold_blob(open, shard->values[k]);
    }
    shard->item_count = 0;
}

void outbox_finish(struct executor *executor, struct open_commit *open)
{
    for (int32_t i = 0; i < executor->engine->options.shards; i++) {
        struct shard *shard = executor->shards[i];
        if (shard && shard->item_count)
            finish_shard(executor, open, shard);
    }
}

int64_t executor_outbox_add(struct executor *executor, int32_t shard_id, const void *outbox_item)
{
    struct shard *shard = executor->shards[shard_id];
    CHECK(shard && shard->owned);
    shard_outbox_item(executor, shard, outbox_item, NULL);
    return shard->outbox_seq + 1;
}

int64_t executor_outbox_seq(struct executor *executor, int32_t shard_id)
{
    const struct shard *shard = executor->shards[shard_id];
    return shard ? shard->outbox_committed : 0;
}
