/* SPDX-License-Identifier: Apache-2.0
 *
 * Events that are missing: asked from the item's source, applied as items of their own before the
 * item that needs them, which is then tried again. It may need more then (the source answers in
 * pages); it must need less every time.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/apply_private.h"

static bool of_other_run(const struct apply_item *item)
{
    return !uuid_equal(item->need_run, item_run_id(item));
}

/* ---- what came ------------------------------------------------------------------------------- */

static ProtobufCBinaryData copy_of(struct arena *arena, const void *data, size_t len)
{
    return (ProtobufCBinaryData){len, arena_copy(arena, data, len)};
}

static struct fetched_item *fetched_new(struct apply_queue *queue, const struct apply_item *item,
    Record__OutboxItem__Kind kind, const ProtobufCBinaryData *value)
{
    struct fetched_item *fetched = mem_new(struct fetched_item);
    struct arena *arena = &fetched->arena;
    Replication__Item *message = &fetched->message;
    replication__item__init(message);
    message->seq = item->item->seq;
    message->index = item->item->index;
    message->kind = kind;
    message->namespace_id = copy_of(arena, queue->namespace_id.bytes, 16);
    message->workflow_id = bytes_string(arena, queue->workflow_id);
    message->run_id = copy_of(arena, item->need_run.bytes, 16);
    message->value = copy_of(arena, value->data, value->len);
    fetched->item.item = message;
    fetched->item.source = item->source;
    fetched->item.source_shard = item->source_shard;
    fetched->item.epoch = item->epoch;
    fetched->item.apply = queue->apply;
    fetched->item.fetched = true;
    list_push_back(&queue->fetched, &fetched->item.link);
    return fetched;
}

static void add_batch(struct apply_queue *queue, const struct apply_item *item,
    const Replication__HistoryRange *range, const ProtobufCBinaryData *batch)
{
    struct fetched_item *fetched =
        fetched_new(queue, item, RECORD__OUTBOX_ITEM__KIND__EVENTS, batch);
    Replication__Item *message = &fetched->message;
    size_t count = range->n_version_history;
    message->n_version_history = count;
    message->version_history =
        arena_zalloc(&fetched->arena, count + 1, sizeof(*message->version_history));
    for (size_t i = 0; i < count; i++) {
        message->version_history[i] = arena_new(&fetched->arena, Record__VersionItem);
        *message->version_history[i] = *range->version_history[i];
    }
}

static void add_fact(
    struct apply_queue *queue, const struct apply_item *item, const ProtobufCBinaryData *value)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__ActivityFact *fact = proto_unpack(
        &scratch, &record__activity_fact__descriptor, bytes_make(value->data, value->len));
    if (!fact)
        return; /* only a hint of what the activity's own item says */
    struct fetched_item *fetched =
        fetched_new(queue, item, RECORD__OUTBOX_ITEM__KIND__ACTIVITY, value);
    fetched->message.fact_id = fact->scheduled_event_id;
}

static void fetched_item_free(struct apply_item *item)
{
    CHECK(item->fetched);
    struct fetched_item *fetched = CONTAINER_OF(item, struct fetched_item, item);
    list_remove(&item->link);
    arena_release(&fetched->arena);
    mem_free(fetched);
}

void fetched_free(struct apply_queue *queue)
{
    struct apply_item *item;
    while ((item = queue_first(&queue->fetched)))
        fetched_item_free(item);
}

void fetched_ended(struct apply_queue *queue, struct apply_item *item)
{
    bool fact = item->item->kind == RECORD__OUTBOX_ITEM__KIND__ACTIVITY;
    bool stopped = item->verdict == VERDICT_NEED || item->verdict == VERDICT_DEAD;
    if (item->verdict == VERDICT_DEAD && !fact)
        queue->fetch_fault = item->reason;
    fetched_item_free(item);
    if (stopped && !fact)
        fetched_free(queue); /* a hole, or worse: what is behind it is of no use */
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void park_first(struct apply_queue *queue, const char *reason)
{
    struct apply_item *item = queue_first(&queue->waiting);
    list_remove(&item->link);
    dead_park(queue, item, reason);
}

static void run_is_gone(struct apply_queue *queue, struct apply_item *item)
{
    bool events = item->item->kind == RECORD__OUTBOX_ITEM__KIND__EVENTS;
    if (of_other_run(item)) {
        item->predecessor_asked = true;
        queue_go_on(queue);
    } else if (events) {
        park_first(queue, "events are gone at the source");
    } else {
        /* A fact about a run that no longer exists. */
        list_remove(&item->link);
        item_finish(item, APPLY_IGNORED);
        queue_go_on(queue);
    }
}

static void fetch_answered(void *ctx, const Replication__HistoryRange *range, bool gone)
{
    struct apply_queue *queue = ctx;
    struct apply_item *item = queue_first(&queue->waiting);
    if (gone) {
        run_is_gone(queue, item);
        return;
    }
    if (!range) {
        queue_retry(queue);
        return;
    }
    if (of_other_run(item) && range->n_batches == 0)
        item->predecessor_asked = true;
    for (size_t i = 0; i < range->n_batches; i++)
        add_batch(queue, item, range, &range->batches[i]);
    for (size_t i = 0; i < range->n_facts; i++)
        add_fact(queue, item, &range->facts[i]);
    queue_go_on(queue);
}

void fetch_start(struct apply_queue *queue)
{
    struct apply *apply = queue->apply;
    struct apply_item *item = queue_first(&queue->waiting);
    CHECK(item);
    bool again = item->fetches > 0 && uuid_equal(item->asked_run, item->need_run) &&
                 item->need_from <= item->asked_from;
    if (again || item->fetches >= FETCHES_MAX) {
        park_first(queue, "the source does not have the missing events");
        return;
    }
    item->fetches++;
    item->asked_run = item->need_run;
    item->asked_from = item->need_from;
    counter_add(apply->metrics.fetches, 1);
    struct arena scratch CLEANUP(arena_release) = {0};
    Replication__FetchHistory request;
    replication__fetch_history__init(&request);
    request.namespace_id = copy_of(&scratch, queue->namespace_id.bytes, 16);
    request.workflow_id = bytes_string(&scratch, queue->workflow_id);
    request.run_id = copy_of(&scratch, item->need_run.bytes, 16);
    request.from_event_id = item->need_from;
    request.to_event_id = item->need_to;
    const struct apply_hooks *hooks = &apply->options.hooks;
    hooks->fetch(hooks->ctx, item->source, &request, fetch_answered, queue);
}
