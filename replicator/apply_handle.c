/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of items of one run, on the thread of the executor that owns it. Everything decided here
 * goes into one commit; the group returns to the replicator's thread behind it.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/fold.h"
#include "replicator/apply_private.h"

#define FACT_FORMAT     1u
#define VALUE_BYTES_MAX (STORE_COMMIT_BYTES_MAX / 4 * 3) /* leaves room for its neighbours */

enum apply_verdict need_events(
    struct apply_item *item, struct uuid run_id, int64_t from, int64_t to)
{
    item->need_run = run_id;
    item->need_from = from;
    item->need_to = to;
    return VERDICT_NEED;
}

enum apply_verdict dead_item(struct apply_item *item, const char *reason)
{
    item->reason = reason;
    return VERDICT_DEAD;
}

static enum apply_verdict fact_refused(struct apply_item *item, enum err err)
{
    return dead_item(item, err == ERR_VERSION ? "newer format" : "the fact does not decode");
}

/* ---- activities ------------------------------------------------------------------------------ */

/* The newest of all writers: a higher version is a later writer, which counts its stamps anew from
 * where it took over. */
static bool is_newer(const Record__ActivityFact *fact, const struct activity *activity)
{
    if (!activity->fact_stored)
        return true;
    if (fact->version != activity->fact_version)
        return fact->version > activity->fact_version;
    if (fact->stamp != activity->stamp)
        return fact->stamp > activity->stamp;
    return fact->attempt > activity->attempt;
}

static enum apply_verdict apply_activity(struct decision *d, struct apply_item *item)
{
    const Record__ActivityFact *fact =
        proto_unpack(d->arena, &record__activity_fact__descriptor, item_value(item));
    if (!fact || fact->format == 0)
        return fact_refused(item, ERR_CORRUPT);
    if (fact->format > FACT_FORMAT)
        return fact_refused(item, ERR_VERSION);
    int64_t id = fact->scheduled_event_id;
    if (id < 1 || id == INT64_MAX || id != item->item->fact_id)
        return fact_refused(item, ERR_CORRUPT);
    struct run *run = d->run;
    if (!run)
        return need_events(item, item_run_id(item), 1, id + 1);
    if (run_is_open(run) && id >= run_next_event_id(run))
        return need_events(item, run->run_id, run_next_event_id(run), id + 1);
    const struct activity *activity = run_activity(run, id);
    if (!activity || !is_newer(fact, activity))
        return VERDICT_DONE;
    enum err err = decision_apply_fact(d, run, FACT_ACTIVITY, id, item_value(item));
    return err ? fact_refused(item, err) : VERDICT_DONE;
}

/* ---- buffered events ------------------------------------------------------------------------- */

static struct bytes accept_id_of(const Record__BufferedFact *fact)
{
    return bytes_make(fact->accept_id.data, fact->accept_id.len);
}

static bool is_known(struct decision *d, struct run *run, const Record__BufferedFact *fact)
{
    struct bytes accept_id = accept_id_of(fact);
    if (map_get(&run->origins, accept_id))
        return true;
    for (struct list *node = run->buffered.next; node != &run->buffered; node = node->next) {
        struct buffered_event *event = CONTAINER_OF(node, struct buffered_event, link);
        const Record__BufferedFact *here =
            proto_unpack(d->arena, &record__buffered_fact__descriptor, blob_view(event->record));
        if (here && bytes_equal(accept_id_of(here), accept_id))
            return true;
    }
    return false;
}

static int64_t last_buffered_id(const struct run *run)
{
    if (list_empty(&run->buffered))
        return 0;
    return CONTAINER_OF(run->buffered.prev, struct buffered_event, link)->id;
}

/* Behind the last event that the source knew of, or to the end. */
static int64_t need_up_to(const Replication__Item *item)
{
    size_t count = item->n_version_history;
    int64_t last = count ? item->version_history[count - 1]->event_id : 0;
    return last > 0 && last < INT64_MAX ? last + 1 : 0;
}

static enum apply_verdict apply_buffered(struct decision *d, struct apply_item *item)
{
    Record__BufferedFact *fact =
        proto_unpack(d->arena, &record__buffered_fact__descriptor, item_value(item));
    if (!fact || fact->format == 0 || fact->accept_id.len != 16)
        return fact_refused(item, ERR_CORRUPT);
    if (fact->format > FACT_FORMAT)
        return fact_refused(item, ERR_VERSION);
    struct run *run = d->run;
    if (!run)
        return need_events(item, item_run_id(item), 1, need_up_to(item->item));
    if (!run_is_open(run) || is_known(d, run, fact))
        return VERDICT_DONE;
    struct bytes value = item_value(item);
    if (fact->id <= last_buffered_id(run)) {
        /* The number is only the key here: what identifies the event is its accept id. */
        fact->id = run->next_buffered_id;
        value = proto_pack(d->arena, &fact->base);
    }
    enum err err = decision_apply_fact(d, run, FACT_BUFFERED, fact->id, value);
    if (err)
        return fact_refused(item, err);
    decision_touch(d, run); /* next_buffered_id moved */
    return VERDICT_DONE;
}

/* ---- deletion -------------------------------------------------------------------------------- */

static enum apply_verdict apply_deletion(struct decision *d, struct apply_item *item)
{
    struct run *run = d->run;
    if (!run)
        return VERDICT_DONE;
    /* Where it is active, or where a later writer went on with it, the run lives. */
    if (d->ns->active || run_last_version(run) > item->item->version)
        return VERDICT_IGNORED;
    decision_delete_run(d, run);
    d->run = NULL;
    return VERDICT_DONE;
}

/* ---- the group ------------------------------------------------------------------------------- */

static enum apply_verdict apply_one(struct decision *d, struct apply_item *item)
{
    if (item->item->value.len > VALUE_BYTES_MAX)
        return dead_item(item, "too large for a commit");
    switch (item->item->kind) {
    case RECORD__OUTBOX_ITEM__KIND__EVENTS:
        return apply_events(d, item);
    case RECORD__OUTBOX_ITEM__KIND__ACTIVITY:
        return apply_activity(d, item);
    case RECORD__OUTBOX_ITEM__KIND__BUFFERED:
        return apply_buffered(d, item);
    case RECORD__OUTBOX_ITEM__KIND__RUN_DELETED:
        return apply_deletion(d, item);
    case RECORD__OUTBOX_ITEM__KIND__NONE:
    case RECORD__OUTBOX_ITEM__KIND__BARRIER:
    case _RECORD__OUTBOX_ITEM__KIND_IS_INT_SIZE:
        break;
    }
    return dead_item(item, "newer format");
}

/* A bad batch cost the run its place in memory, and with it what the items before did. They are
 * applied again without it; then it is alone and can be told apart. */
static void see_again(struct apply_queue *queue, size_t count)
{
    queue->group_max = count;
    for (struct list *node = queue->flight.next; node != &queue->flight; node = node->next)
        CONTAINER_OF(node, struct apply_item, link)->verdict = VERDICT_UNSEEN;
}

void apply_handle(struct decision *d, struct request *request)
{
    struct apply_queue *queue = request->ctx;
    size_t before = 0;
    for (struct list *node = queue->flight.next; node != &queue->flight; node = node->next) {
        struct apply_item *item = CONTAINER_OF(node, struct apply_item, link);
        enum apply_verdict verdict = apply_one(d, item);
        item->verdict = (int)verdict;
        if (verdict == VERDICT_FORGOTTEN && before > 0)
            see_again(queue, before);
        else if (verdict == VERDICT_FORGOTTEN)
            item->verdict = VERDICT_DEAD;
        if (verdict != VERDICT_DONE && verdict != VERDICT_IGNORED)
            break;
        if (item->item->kind == RECORD__OUTBOX_ITEM__KIND__RUN_DELETED)
            break; /* what follows sees the run again when it is really gone */
        before++;
    }
    /* The last touch: behind it the queue belongs to the replicator's thread. */
    decision_defer(d, d->run, &queue->effect);
}
