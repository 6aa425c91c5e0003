/* SPDX-License-Identifier: Apache-2.0
 *
 * History batches: describe what came and what is here, ask conflict_step(), carry out its plan.
 */
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/dispatch.h"
#include "replicator/apply_private.h"

/* ---- what came, what is here ----------------------------------------------------------------- */

static struct version_history incoming_history(struct arena *arena, const Replication__Item *item)
{
    size_t count = item->n_version_history;
    struct version_item *items = arena_zalloc(arena, count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i].event_id = item->version_history[i]->event_id;
        items[i].version = item->version_history[i]->version;
    }
    return (struct version_history){items, count};
}

static struct conflict_incoming describe_incoming(
    struct arena *arena, const struct apply_item *item, const struct batch *batch)
{
    struct conflict_incoming incoming = {.history = incoming_history(arena, item->item),
        .first_event_id = batch->first_event_id,
        .version = batch->version,
        /* The fold refuses a first event that is not Started, and a Started one elsewhere. */
        .starts_run = batch->first_event_id == 1};
    if (batch->first_event_id > 0 && batch->first_event_id <= INT64_MAX - batch->event_count)
        incoming.next_event_id = batch->first_event_id + batch->event_count;
    const Record__BatchMeta *meta =
        proto_unpack(arena, &record__batch_meta__descriptor, batch->meta);
    if (meta && meta->commit_no > 0) {
        incoming.source_epoch = (uint64_t)meta->source_epoch;
        incoming.source_commit_no = meta->commit_no;
    }
    return incoming;
}

static struct conflict_run describe_run(struct arena *arena, const struct run *run)
{
    if (!run)
        return (struct conflict_run){0};
    struct conflict_branch *branches = arena_zalloc(arena, run->branch_count, sizeof(*branches));
    for (size_t i = 0; i < run->branch_count; i++) {
        const struct branch_state *state = &run->branches[i];
        struct version_item *items = arena_zalloc(arena, state->item_count + 1, sizeof(*items));
        for (size_t k = 0; k < state->item_count; k++) {
            items[k].event_id = state->items[k].event_id;
            items[k].version = state->items[k].version;
        }
        branches[i] =
            (struct conflict_branch){state->id, {items, state->item_count}, state->next_event_id};
    }
    return (struct conflict_run){.exists = true,
        .open = run_is_open(run),
        .zombie = run->zombie,
        .branches = branches,
        .branch_count = run->branch_count,
        .current = run->current_branch,
        .has_buffered = run->buffered_count > 0};
}

static struct conflict_current describe_current(
    const struct apply *apply, const struct run *current, struct uuid incoming)
{
    if (!current || uuid_equal(current->run_id, incoming))
        return (struct conflict_current){0};
    char text[UUID_TEXT_LEN + 1];
    uuid_format(incoming, text);
    const struct federation *federation = apply->options.federation;
    int64_t version = run_last_version(current); /* a closed run ends with its close event */
    return (struct conflict_current){.exists = true,
        .open = run_is_open(current),
        .version = version,
        .written_here = federation_owner(federation, version) == federation->self,
        .continued_as_incoming =
            current->new_execution_run_id && strcmp(current->new_execution_run_id, text) == 0};
}

/* ---- appending ------------------------------------------------------------------------------- */

static void fact_removed(struct run *run, enum fact_kind kind, int64_t id)
{
    struct fact_change *change = mem_new(struct fact_change);
    change->kind = kind;
    change->mode = COMMIT_DELETE;
    change->id = id;
    change->replicated = true;
    list_push_back(&run->fact_changes, &change->link);
}

/* Buffered events that the batch carries are history now: their copies are consumed. */
static void drop_consumed(struct decision *d, struct run *run)
{
    struct list *node = run->buffered.next;
    while (node != &run->buffered) {
        struct buffered_event *event = CONTAINER_OF(node, struct buffered_event, link);
        node = node->next;
        const Record__BufferedFact *fact =
            proto_unpack(d->arena, &record__buffered_fact__descriptor, blob_view(event->record));
        bool folded =
            fact && map_get(&run->origins, bytes_make(fact->accept_id.data, fact->accept_id.len));
        if (!folded && run_is_open(run))
            continue;
        fact_removed(run, FACT_BUFFERED, event->id);
        list_remove(&event->link);
        run->buffered_count--;
        run->buffered_bytes -= event->bytes;
        blob_unref(event->record);
        mem_free(event);
    }
}

/* What a batch may change beside the fold, as it was before. */
struct before {
    bool open;
    struct blob *memo;
    struct blob *search_attributes;
    int64_t *activities; /* scheduled ids of those with a stored fact */
    size_t activity_count;
};

static struct blob *retained(struct blob *blob)
{
    return blob ? blob_retain(blob) : NULL;
}

static struct before look(struct decision *d, const struct run *run)
{
    struct before before = {.open = run_is_open(run),
        .memo = retained(run->memo),
        .search_attributes = retained(run->search_attributes),
        .activities = arena_zalloc(d->arena, run->activities.count + 1, sizeof(int64_t))};
    size_t cursor = 0;
    const struct activity *activity;
    while ((activity = map_next(&run->activities, &cursor))) {
        if (activity->fact_stored)
            before.activities[before.activity_count++] = activity->scheduled_event_id;
    }
    return before;
}

static void follow_up(struct decision *d, struct run *run, const struct before *before)
{
    for (size_t i = 0; i < before->activity_count; i++) {
        if (!run_activity(run, before->activities[i]))
            fact_removed(run, FACT_ACTIVITY, before->activities[i]);
    }
    drop_consumed(d, run);
    if (run->memo != before->memo || run->search_attributes != before->search_attributes)
        run->visibility_changed = true;
    if (before->open && !run_is_open(run))
        run_closed(d, run);
    if (d->ns->active)
        run->recovered_version = 0; /* what we took over has grown: look at it again */
    decision_touch(d, run);
}

/* A workflow task that was given out here ends without an outcome: history went on elsewhere. */
static void clear_mark(struct decision *d, struct run *run)
{
    if (!run->task.mark.set)
        return;
    if (d->ns->active)
        queries_requeue(d, run);
    else
        queries_abandon(d->executor, run);
    dispatch_clear_mark(run);
}

static enum apply_verdict append(struct decision *d, struct run *run, struct apply_item *item)
{
    struct before before = look(d, run);
    struct blob *value = blob_from(item_value(item));
    clear_mark(d, run);
    enum err err = decision_apply_batch(d, run, value);
    if (err)
        decision_forget(d, run);
    else
        follow_up(d, run, &before);
    blob_unref(value);
    blob_unref(before.memo);
    blob_unref(before.search_attributes);
    if (!err)
        return VERDICT_DONE;
    item->reason = err == ERR_VERSION ? "newer format" : "the events do not fit the run";
    return VERDICT_FORGOTTEN;
}

static enum apply_verdict append_to_branch(struct decision *d, struct apply_item *item,
    const struct batch *batch, const struct conflict_effect *effect)
{
    struct run *run = d->run;
    if (effect->branch != run_branch(run)->id)
        return dead_item(item, "branches diverged: not resolved by this release");
    /* One writer's batches have the same bounds everywhere. */
    if (effect->from_event_id != batch->first_event_id)
        return dead_item(item, "batch boundaries differ");
    if (batch->digest_before != run_branch(run)->digest)
        return dead_item(item, "histories differ: the digest chain is broken");
    if (!run_is_open(run))
        return dead_item(item, "events behind the end of the run");
    return append(d, run, item);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* A run begins while another one is open here at the same version: the one writer closed that one
 * before, so its events are missing here, unless it is this run that is an old story. */
static enum apply_verdict ask_for_predecessor(struct decision *d, struct apply_item *item)
{
    if (dead_run(item->apply, d->current->run_id))
        return dead_item(item, "an earlier run of the workflow has a dead letter");
    return need_events(item, d->current->run_id, run_next_event_id(d->current), 0);
}

static enum apply_verdict create(struct decision *d, struct apply_item *item,
    const struct conflict_effect *effect, bool suppress)
{
    struct run *loser = suppress ? d->current : NULL;
    struct run *run = decision_create_run(d, item_run_id(item), !effect->zombie);
    d->run = run;
    run->zombie = effect->zombie;
    enum apply_verdict verdict = append(d, run, item);
    if (verdict != VERDICT_DONE || !loser)
        return verdict;
    loser->zombie = true;
    decision_touch(d, loser);
    log_info("conflict.suppressed", "shard=%d run_id=%s version=%lld by_run_id=%s by_version=%lld",
        loser->shard, loser->run_id_text, (long long)run_last_version(loser), run->run_id_text,
        (long long)run_last_version(run));
    return verdict;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static enum apply_verdict carry_out(struct decision *d, struct apply_item *item,
    const struct batch *batch, const struct conflict_plan *plan)
{
    bool suppress = false;
    for (size_t i = 0; i < plan->count; i++) {
        const struct conflict_effect *effect = &plan->effects[i];
        counter_add(item->apply->metrics.effects[effect->kind], 1);
        switch (effect->kind) {
        case CONFLICT_DROP_DUPLICATE:
            return VERDICT_DONE;
        case CONFLICT_APPEND:
            return append_to_branch(d, item, batch, effect);
        case CONFLICT_CREATE_RUN:
            if (effect->zombie && d->current && run_is_open(d->current) &&
                run_last_version(d->current) == batch->version && !item->predecessor_asked)
                return ask_for_predecessor(d, item);
            return create(d, item, effect, suppress);
        case CONFLICT_NEED_EVENTS:
            return need_events(item, item_run_id(item), effect->from_event_id, effect->to_event_id);
        case CONFLICT_SUPPRESS_CURRENT:
            suppress = true;
            break;
        case CONFLICT_REJECT:
            return dead_item(item, effect->reason);
        case CONFLICT_FORK:
        case CONFLICT_SWITCH_CURRENT:
        case CONFLICT_REAPPLY:
        case CONFLICT_FLUSH_BUFFERED:
            return dead_item(item, "branches diverged: not resolved by this release");
        }
    }
    return dead_item(item, "nothing to do with it");
}

enum apply_verdict apply_events(struct decision *d, struct apply_item *item)
{
    struct batch batch;
    if (batch_decode(item_value(item), &batch) != OK)
        return dead_item(item, "the batch does not decode");
    if (batch.version > d->ns->failover_version)
        return VERDICT_RETRY; /* comes before its namespace's change */
    struct conflict_input input = {.incoming = describe_incoming(d->arena, item, &batch),
        .run = describe_run(d->arena, d->run),
        .current = describe_current(item->apply, d->current, item_run_id(item))};
    struct conflict_plan plan;
    if (conflict_step(d->arena, &input, &plan) != OK)
        return dead_item(item, "the version history contradicts the batch");
    return carry_out(d, item, &batch, &plan);
}
