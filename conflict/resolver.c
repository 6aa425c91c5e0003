/* SPDX-License-Identifier: Apache-2.0
 *
 * From input to plan:
 *
 *   run absent ── begins here? ──no──► NEED_EVENTS from 1
 *        │            └─yes─► run_begins: order against the current run of the workflow id
 *   run exists ─ nearest branch (branch.h)
 *                     ├─ has all of it ───────────────► DROP_DUPLICATE
 *                     ├─ ends at the common ancestor ─► place_behind: APPEND, or NEED_EVENTS
 *                     └─ goes on by itself ───────────► place_beside: the branches diverge
 *
 * Invariants:
 *  I1  A plan never appends to a branch whose last event is not in the incoming line.
 *  I2  A plan never leaves a gap: APPEND begins exactly at the branch's next event.
 *  I3  The same batch against a state that holds it gives DROP_DUPLICATE.
 *  I4  The last effect is the one that takes the batch, or says why it is not taken: CREATE_RUN,
 *      APPEND, DROP_DUPLICATE, NEED_EVENTS or REJECT; none of them comes before another effect.
 *
 * Diverging branches are rejected by this release: place_beside() is where forking, switching and
 * reapplication belong.
 *
 * Buffered events: only the cluster that wrote last may write them into history, before it takes in
 * a higher version (FLUSH_BUFFERED). A cluster that applies is not the writer: its copies are
 * consumed by the batches that carry their accept ids, so no effect is planned for them here.
 */
#include "conflict/resolver.h"

#include "conflict/branch.h"
#include "conflict/run_order.h"

#define EFFECTS_MAX 4u

struct plan {
    struct conflict_effect *effects;
    size_t count;
};

static struct conflict_effect *add(struct plan *plan, enum conflict_effect_kind kind)
{
    CHECK(plan->count < EFFECTS_MAX);
    struct conflict_effect *effect = &plan->effects[plan->count++];
    effect->kind = kind;
    return effect;
}

static void reject(struct plan *plan, const char *reason, int64_t event_id)
{
    struct conflict_effect *effect = add(plan, CONFLICT_REJECT);
    effect->reason = reason;
    effect->event_id = event_id;
}

static void need_events(struct plan *plan, int64_t from_event_id, int64_t to_event_id)
{
    CHECK(from_event_id < to_event_id);
    struct conflict_effect *effect = add(plan, CONFLICT_NEED_EVENTS);
    effect->from_event_id = from_event_id;
    effect->to_event_id = to_event_id;
}

/* ---- input ----------------------------------------------------------------------------------- */

/* One version for the whole batch, and the batch within the line. */
static bool incoming_is_valid(const struct conflict_incoming *incoming)
{
    if (!version_history_valid(incoming->history) || incoming->first_event_id < 1 ||
        incoming->next_event_id <= incoming->first_event_id || incoming->version < 1)
        return false;
    if (version_history_version_of(incoming->history, incoming->first_event_id) !=
        incoming->version)
        return false;
    if (version_history_version_of(incoming->history, incoming->next_event_id - 1) !=
        incoming->version)
        return false;
    return incoming->starts_run == (incoming->first_event_id == 1);
}

static bool run_is_valid(const struct conflict_run *run)
{
    if (!run->exists)
        return run->branch_count == 0;
    if (run->branch_count == 0 || run->current >= run->branch_count)
        return false;
    for (size_t i = 0; i < run->branch_count; i++) {
        const struct conflict_branch *branch = &run->branches[i];
        if (!version_history_valid(branch->history) ||
            version_history_last(branch->history).event_id != branch->next_event_id - 1)
            return false;
    }
    return true;
}

/* A commit with several batches sends the line as it is behind the last of them. What is behind
 * this batch says nothing about it. */
static struct version_history line_up_to_batch(
    struct arena *arena, const struct conflict_incoming *incoming)
{
    struct version_history history = incoming->history;
    int64_t last_event_id = incoming->next_event_id - 1;
    size_t count = 0;
    while (history.items[count].event_id < last_event_id)
        count++;
    struct version_item *items = arena_zalloc(arena, count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = history.items[i];
    items[count] = (struct version_item){last_event_id, history.items[count].version};
    return (struct version_history){items, count + 1};
}

/* ---- a run that is not here ------------------------------------------------------------------ */

static void run_begins(struct plan *plan, const struct conflict_input *input)
{
    struct run_place place = run_place(&input->incoming, &input->current);
    if (place.suppress)
        (void)add(plan, CONFLICT_SUPPRESS_CURRENT); /* carries nothing but its kind */
    struct conflict_effect *effect = add(plan, CONFLICT_CREATE_RUN);
    effect->zombie = place.zombie;
    effect->from_event_id = input->incoming.first_event_id;
    effect->to_event_id = input->incoming.next_event_id;
}

/* ---- a run that is here ---------------------------------------------------------------------- */

/* The incoming line goes through the branch's last event. */
static void place_behind(
    struct plan *plan, const struct conflict_input *input, const struct conflict_branch *branch)
{
    const struct conflict_incoming *incoming = &input->incoming;
    if (branch != &input->run.branches[input->run.current]) {
        reject(plan, "events of a branch that is not current: not resolved by this release",
            branch->next_event_id);
        return;
    }
    if (!input->run.open) {
        reject(plan, "events behind the end of the run", branch->next_event_id);
        return;
    }
    if (incoming->first_event_id > branch->next_event_id) {
        need_events(plan, branch->next_event_id, incoming->first_event_id);
        return;
    }
    struct conflict_effect *effect = add(plan, CONFLICT_APPEND);
    effect->branch = branch->id;
    effect->from_event_id = branch->next_event_id;
    effect->to_event_id = incoming->next_event_id;
}

/* The lines part behind place->common. A fork needs the events from there on; then the higher
 * version decides which branch is the current one. */
static void place_beside(struct plan *plan, const struct conflict_branch *branch,
    struct version_history line, struct version_item common)
{
    if (branch_shared_version(branch->history, line, common))
        reject(plan, "two writers with one version", common.event_id);
    else
        reject(plan, "branches diverged: not resolved by this release", common.event_id);
}

static void run_goes_on(
    struct plan *plan, const struct conflict_input *input, struct version_history line)
{
    struct branch_place place = {0};
    if (!branch_find(&input->run, line, &place)) {
        reject(plan, "no event in common with the run here", 0);
        return;
    }
    const struct conflict_branch *branch = &input->run.branches[place.index];
    if (place.known)
        add(plan, CONFLICT_DROP_DUPLICATE)->branch = branch->id;
    else if (place.appendable)
        place_behind(plan, input, branch);
    else
        place_beside(plan, branch, line, place.common);
}

/* ---- the step -------------------------------------------------------------------------------- */

enum err conflict_step(
    struct arena *arena, const struct conflict_input *input, struct conflict_plan *ret_plan)
{
    if (!incoming_is_valid(&input->incoming) || !run_is_valid(&input->run))
        return ERR_INVALID;
    struct plan plan = {arena_zalloc(arena, EFFECTS_MAX, sizeof(*plan.effects)), 0};
    if (input->run.exists)
        run_goes_on(&plan, input, line_up_to_batch(arena, &input->incoming));
    else if (input->incoming.starts_run)
        run_begins(&plan, input);
    else
        need_events(&plan, 1, input->incoming.first_event_id);
    CHECK(plan.count > 0);
    *ret_plan = (struct conflict_plan){plan.effects, plan.count};
    return OK;
}
