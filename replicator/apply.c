/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues: one per workflow id with items under way, on the replicator's thread.
 */
#include "replicator/apply.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/apply_private.h"

/* ---- items ----------------------------------------------------------------------------------- */

static void item_deliver(struct mail *mail, void *owner)
{
    (void)owner;
    struct apply_item *item = CONTAINER_OF(mail, struct apply_item, mail);
    item->apply->pending--;
    item->done(item);
}

void item_finish(struct apply_item *item, enum apply_outcome outcome)
{
    CHECK(!item->fetched);
    item->outcome = outcome;
    counter_add(item->apply->metrics.outcomes[outcome], 1);
    item->mail.deliver = item_deliver;
    mailbox_complete(item->apply->options.mailbox, &item->mail);
}

struct apply_item *queue_first(const struct list *items)
{
    return list_empty(items) ? NULL : CONTAINER_OF(items->next, struct apply_item, link);
}

static bool item_has_ids(const Replication__Item *item)
{
    size_t len = strlen(item->workflow_id);
    return item->namespace_id.len == 16 && item->run_id.len == 16 && len > 0 && len <= ID_BYTES_MAX;
}

static bool kind_is_known(Record__OutboxItem__Kind kind)
{
    return kind == RECORD__OUTBOX_ITEM__KIND__EVENTS ||
           kind == RECORD__OUTBOX_ITEM__KIND__ACTIVITY ||
           kind == RECORD__OUTBOX_ITEM__KIND__BUFFERED ||
           kind == RECORD__OUTBOX_ITEM__KIND__RUN_DELETED;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static struct apply_queue *queue_of(struct apply *apply, const Replication__Item *item)
{
    size_t workflow_len = strlen(item->workflow_id);
    uint8_t key[16 + ID_BYTES_MAX];
    memcpy(key, item->namespace_id.data, 16);
    memcpy(key + 16, item->workflow_id, workflow_len);
    struct apply_queue *queue = map_get(&apply->queues, bytes_make(key, 16 + workflow_len));
    if (queue)
        return queue;
    queue = mem_zalloc(1, sizeof(*queue) + 16 + workflow_len);
    uint8_t *own = (uint8_t *)(queue + 1);
    memcpy(own, key, 16 + workflow_len);
    queue->apply = apply;
    queue->key = bytes_make(own, 16 + workflow_len);
    queue->workflow_id = bytes_make(own + 16, workflow_len);
    memcpy(queue->namespace_id.bytes, own, 16);
    queue->idle = true;
    list_init(&queue->waiting);
    list_init(&queue->fetched);
    list_init(&queue->flight);
    CHECK(!map_put(&apply->queues, queue->key, queue));
    return queue;
}

static void queue_free(struct apply_queue *queue)
{
    CHECK(map_remove(&queue->apply->queues, queue->key) == queue);
    fetched_free(queue);
    mem_free(queue);
}

void queue_retry(struct apply_queue *queue)
{
    CHECK(list_empty(&queue->flight));
    while (!list_empty(&queue->waiting))
        item_finish(
            CONTAINER_OF(list_pop_front(&queue->waiting), struct apply_item, link), APPLY_RETRY);
    queue_free(queue);
}

void queue_go_on(struct apply_queue *queue)
{
    if (queue_next(queue) != OK)
        queue_retry(queue);
}

/* ---- back from the executor ------------------------------------------------------------------ */

/* Items that were not reached, or have to be seen again, go back to where they came from. */
static void give_back(struct apply_queue *queue, struct list *items)
{
    while (!list_empty(items)) {
        struct list *last = items->prev;
        struct apply_item *item = CONTAINER_OF(last, struct apply_item, link);
        list_remove(last);
        item->verdict = VERDICT_UNSEEN;
        list_push_front(item->fetched ? &queue->fetched : &queue->waiting, last);
    }
}

static void item_ended(struct apply_queue *queue, struct apply_item *item)
{
    if (item->fetched)
        fetched_ended(queue, item);
    else
        item_finish(item, item->verdict == VERDICT_IGNORED ? APPLY_IGNORED : APPLY_DONE);
}

/* The request or its commit failed: nothing of the group counts. */
static void group_failed(struct apply_queue *queue)
{
    enum err err = queue->err;
    give_back(queue, &queue->flight);
    if (err_class(err) == ERR_CLASS_RETRY || err == ERR_NOT_FOUND) {
        queue_retry(queue);
        return;
    }
    const struct list *items = list_empty(&queue->fetched) ? &queue->waiting : &queue->fetched;
    struct apply_item *item = CONTAINER_OF(items->next, struct apply_item, link);
    item->reason = "the run does not load here";
    list_remove(&item->link);
    if (!item->fetched) {
        dead_park(queue, item, item->reason);
        return;
    }
    item->verdict = VERDICT_DEAD;
    fetched_ended(queue, item);
    queue_go_on(queue);
}

/* The item that stopped the group: it is the first of what is left in flight. */
static void group_stopped(struct apply_queue *queue, struct apply_item *item)
{
    enum apply_verdict verdict = (enum apply_verdict)item->verdict;
    if (verdict == VERDICT_RETRY) {
        give_back(queue, &queue->flight);
        queue_retry(queue);
        return;
    }
    if (item->fetched) {
        list_remove(&item->link);
        give_back(queue, &queue->flight);
        fetched_ended(queue, item);
        queue_go_on(queue);
        return;
    }
    if (verdict == VERDICT_NEED) {
        give_back(queue, &queue->flight);
        fetch_start(queue);
        return;
    }
    CHECK(verdict == VERDICT_DEAD);
    list_remove(&item->link);
    give_back(queue, &queue->flight);
    dead_park(queue, item, item->reason);
}

static void queue_returned(struct mail *mail, void *owner)
{
    (void)owner;
    struct apply_queue *queue = CONTAINER_OF(mail, struct apply_queue, mail);
    if (queue->err) {
        group_failed(queue);
        return;
    }
    struct apply_item *item;
    while ((item = queue_first(&queue->flight))) {
        if (item->verdict != VERDICT_DONE && item->verdict != VERDICT_IGNORED)
            break;
        list_remove(&item->link);
        item_ended(queue, item);
    }
    if (item && item->verdict != VERDICT_UNSEEN) {
        group_stopped(queue, item);
        return;
    }
    give_back(queue, &queue->flight);
    queue_go_on(queue);
}

/* ---- to the executor ------------------------------------------------------------------------- */

static void effect_fire(struct effect *effect, enum err err)
{
    struct apply_queue *queue = CONTAINER_OF(effect, struct apply_queue, effect);
    /* A commit carries other changes too: whatever its fault, this group is not convicted. */
    queue->err = err ? ERR_UNAVAILABLE : OK;
    mailbox_complete(queue->apply->options.mailbox, &queue->mail);
}

static void request_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)executor;
    (void)text;
    struct apply_queue *queue = request->ctx;
    queue->err = err;
    mailbox_complete(queue->apply->options.mailbox, &queue->mail);
}

static bool goes_along(const struct apply_queue *queue, const struct apply_item *item)
{
    return uuid_equal(item_run_id(item), queue->request.run_id) &&
           kind_is_known(item->item->kind) &&
           item->item->kind != RECORD__OUTBOX_ITEM__KIND__RUN_DELETED && /* sees what is stored */
           item->item->version <= queue->version_max;
}

static void take_group(struct apply_queue *queue, struct list *from)
{
    size_t max = queue->group_max ? queue->group_max : GROUP_ITEMS_MAX;
    size_t count = 0;
    size_t bytes = 0;
    queue->group_max = 0;
    while (count < max && !list_empty(from)) {
        struct apply_item *item = CONTAINER_OF(from->next, struct apply_item, link);
        bytes += item->item->value.len;
        if (count == 0)
            queue->request.run_id = item_run_id(item);
        else if (bytes > GROUP_BYTES_MAX || !goes_along(queue, item))
            break;
        list_remove(&item->link);
        item->verdict = VERDICT_UNSEEN;
        list_push_back(&queue->flight, &item->link);
        count++;
    }
}

static enum err group_submit(struct apply_queue *queue, struct list *from)
{
    queue->err = OK;
    queue->mail.deliver = queue_returned;
    queue->effect = (struct effect){.fire = effect_fire};
    queue->request = (struct request){.namespace_id = queue->namespace_id,
        .workflow_id = queue->workflow_id,
        .want = REQUEST_RUN,
        .access = REQUEST_APPLY,
        .handle = apply_handle,
        .failed = request_failed,
        .ctx = queue};
    take_group(queue, from);
    enum err err = engine_submit(queue->apply->engine, &queue->request);
    if (err)
        give_back(queue, &queue->flight);
    return err;
}

enum err queue_next(struct apply_queue *queue)
{
    queue->idle = false;
    if (!list_empty(&queue->fetched))
        return group_submit(queue, &queue->fetched);
    struct apply_item *item;
    while ((item = queue_first(&queue->waiting))) {
        const char *fault = queue->fetch_fault;
        if (!fault && !kind_is_known(item->item->kind))
            fault = "newer format";
        if (!fault && dead_run(queue->apply, item_run_id(item)))
            fault = "an earlier item of the run is a dead letter";
        if (fault) {
            queue->fetch_fault = NULL;
            list_remove(&item->link);
            dead_park(queue, item, fault);
            return OK;
        }
        switch (namespace_gate(queue, item)) {
        case GATE_OPEN:
            return group_submit(queue, &queue->waiting);
        case GATE_IGNORED:
            list_remove(&item->link);
            item_finish(item, APPLY_IGNORED);
            break;
        case GATE_WAITING:
            return OK;
        }
    }
    queue_free(queue);
    return OK;
}

enum err apply_submit(struct apply *apply, struct apply_item *item)
{
    item->apply = apply;
    item->reason = NULL;
    item->fetched = false;
    item->fetches = 0;
    item->predecessor_asked = false;
    apply->pending++;
    if (item->item->kind == RECORD__OUTBOX_ITEM__KIND__BARRIER) {
        item_finish(item, APPLY_DONE); /* says something about the stream, changes nothing */
        return OK;
    }
    if (!item_has_ids(item->item)) {
        dead_park(NULL, item, "ids are malformed");
        return OK;
    }
    struct apply_queue *queue = queue_of(apply, item->item);
    list_push_back(&queue->waiting, &item->link);
    if (!queue->idle)
        return OK;
    enum err err = queue_next(queue);
    if (err) {
        list_remove(&item->link);
        queue_free(queue);
        apply->pending--;
    }
    return err;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void make_metrics(struct apply *apply)
{
    static const char *const outcomes[] = {"done", "ignored", "dead_lettered", "retry"};
    static const char *const effects[] = {"drop_duplicate", "append", "create_run", "need_events",
        "suppress_current", "fork", "switch_current", "reapply", "flush_buffered", "reject"};
    struct metrics *metrics = apply->options.metrics;
    char label[64];
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        snprintf(label, sizeof(label), "outcome=\"%s\"", outcomes[i]);
        apply->metrics.outcomes[i] = metrics_counter(metrics, "strait_apply_items_total", label,
            "Items of other clusters, by what became of them.");
    }
    for (size_t i = 0; i < ARRAY_LEN(effects); i++) {
        snprintf(label, sizeof(label), "effect=\"%s\"", effects[i]);
        apply->metrics.effects[i] = metrics_counter(metrics, "strait_conflict_effects_total", label,
            "Effects of conflict resolution that were met.");
    }
    apply->metrics.fetches = metrics_counter(
        metrics, "strait_apply_fetches_total", NULL, "Requests for events that were missing.");
    apply->metrics.dead_letters = metrics_gauge(
        metrics, "strait_dead_letters", NULL, "Replicated changes that could not be applied.");
}

enum err apply_open(const struct apply_options *options, struct apply **ret_apply, char reason[256])
{
    CHECK(options->shards > 0);
    struct apply *apply = mem_new(struct apply);
    apply->options = *options;
    make_metrics(apply);
    enum err err = dead_open(apply, reason);
    if (err) {
        apply_close(apply);
        return err;
    }
    *ret_apply = apply;
    return OK;
}

void apply_set_engine(struct apply *apply, struct engine *engine)
{
    apply->engine = engine;
}

void apply_close(struct apply *apply)
{
    if (!apply)
        return;
    size_t cursor = 0;
    struct apply_queue *queue;
    while ((queue = map_next(&apply->queues, &cursor))) {
        give_back(queue, &queue->flight);
        queue_free(queue);
    }
    map_release(&apply->queues);
    namespaces_free(apply);
    dead_close(apply);
    mem_free(apply);
}

size_t apply_pending(const struct apply *apply)
{
    return apply->pending;
}
