/* SPDX-License-Identifier: Apache-2.0
 *
 * One incoming batch against what is here:
 *
 *   run missing ──► begins here? ── no ──► NEED_EVENTS from 1
 *                       │ yes
 *                       └──► place_run: arbitration against the current run of the workflow id
 *   run exists ───► nearest branch (highest common ancestor)
 *                       ├─ all of it known ───────────► DROP_DUPLICATE
 *                       ├─ ancestor is its last event ► place_behind: APPEND, or NEED_EVENTS
 *                       └─ ancestor lies inside ──────► place_beside: branches diverge
 *
 * Invariants:
 *  I1  A plan never appends to a branch whose last event is not in the incoming line.
 *  I2  A plan never leaves a gap: APPEND begins exactly at the branch's next event.
 *  I3  The same batch against a state that holds it gives DROP_DUPLICATE.
 *  I4  At most one of APPEND, NEED_EVENTS, DROP_DUPLICATE and REJECT is in a plan, and it is the
 *      last effect, except that APPEND follows CREATE_RUN.
 *
 * Diverging branches are rejected by this release: place_beside() is where forking, switching and
 * reapplication belong.
 */
#include "conflict/resolver.h"

#include <string.h>

#define EFFECTS_MAX 8

/** The plan under construction. */
struct draft {
    struct arena *arena;
    const struct conflict_input *input;
    struct conflict_effect effects[EFFECTS_MAX];
    size_t count;
};

static struct conflict_effect *add(struct draft *draft, enum conflict_effect_kind kind)
{
    CHECK(draft->count < EFFECTS_MAX);
    struct conflict_effect *effect = &draft->effects[draft->count++];
    *effect = (struct conflict_effect){.kind = kind};
    return effect;
}

static void reject(struct draft *draft, const char *reason, int64_t event_id)
{
    struct conflict_effect *effect = add(draft, CONFLICT_REJECT);
    effect->reason = reason;
    effect->event_id = event_id;
}

static void need_events(struct draft *draft, int64_t from_event_id, int64_t to_event_id)
{
    struct conflict_effect *effect = add(draft, CONFLICT_NEED_EVENTS);
    effect->from_event_id = from_event_id;
    effect->to_event_id = to_event_id;
}

/* ---- input ----------------------------------------------------------------------------------- */

/* What a sender may not get wrong. Its batch ends its line, and has one version throughout. */
static bool incoming_valid(const struct conflict_incoming *incoming)
{
    if (!version_history_valid(incoming->history) || incoming->first_event_id < 1 ||
        incoming->next_event_id <= incoming->first_event_id)
        return false;
    struct version_item last = version_history_last(incoming->history);
    if (last.event_id != incoming->next_event_id - 1 || last.version != incoming->version)
        return false;
    if (version_history_version_of(incoming->history, incoming->first_event_id) !=
        incoming->version)
        return false;
    return incoming->starts_run == (incoming->first_event_id == 1);
}

/* What we may not get wrong ourselves. */
static void check_run(const struct conflict_run *run)
{
    CHECK(run->branch_count > 0);
    CHECK(run->current < run->branch_count);
    for (size_t i = 0; i < run->branch_count; i++) {
        const struct conflict_branch *branch = &run->branches[i];
        CHECK(version_history_valid(branch->history));
        CHECK(version_history_last(branch->history).event_id == branch->next_event_id - 1);
    }
}

/* ---- a run that is not here ------------------------------------------------------------------ */

/* Which of two runs of a workflow id is the newer one. At one version both were written by one
 * cluster; without tie-breakers the one that arrives later was begun later, because a source ships
 * in the order of its commits. */
static bool incoming_is_newer(
    const struct conflict_incoming *incoming, const struct conflict_current *current)
{
    if (current->continued_as_incoming)
        return true;
    if (incoming->version != current->version)
        return incoming->version > current->version;
    if (incoming->source_epoch != current->source_epoch)
        return incoming->source_epoch > current->source_epoch;
    return incoming->source_commit_no >= current->source_commit_no;
}

static void append(struct draft *draft, uint32_t branch, int64_t from_event_id)
{
    struct conflict_effect *effect = add(draft, CONFLICT_APPEND);
    effect->branch = branch;
    effect->from_event_id = from_event_id;
    effect->to_event_id = draft->input->incoming.next_event_id;
}

static void place_run(struct draft *draft)
{
    const struct conflict_incoming *incoming = &draft->input->incoming;
    const struct conflict_current *current = &draft->input->current;
    if (!incoming->starts_run) {
        need_events(draft, 1, incoming->first_event_id);
        return;
    }
    bool zombie = current->exists && !incoming_is_newer(incoming, current);
    if (current->exists && current->open && !zombie)
        (void)add(draft, CONFLICT_SUPPRESS_CURRENT); /* carries nothing but its kind */
    add(draft, CONFLICT_CREATE_RUN)->zombie = zombie;
    append(draft, 0, 1);
}

/* ---- a run that is here ---------------------------------------------------------------------- */

/* The branch with the highest common ancestor, the shorter one of two; -1 = none shares anything. */
static int nearest_branch(const struct conflict_input *input, struct version_item *ret_common)
{
    int nearest = -1;
    struct version_item best = {0, 0};
    for (size_t i = 0; i < input->run.branch_count; i++) {
        const struct conflict_branch *branch = &input->run.branches[i];
        struct version_item common;
        if (!version_history_common(branch->history, input->incoming.history, &common))
            continue;
        bool shorter =
            nearest >= 0 && branch->next_event_id < input->run.branches[nearest].next_event_id;
        if (nearest < 0 || common.event_id > best.event_id ||
            (common.event_id == best.event_id && shorter)) {
            nearest = (int)i;
            best = common;
        }
    }
    *ret_common = best;
    return nearest;
}

/* The incoming line goes through the branch's last event. */
static void place_behind(struct draft *draft, const struct conflict_branch *branch)
{
    const struct conflict_incoming *incoming = &draft->input->incoming;
    const struct conflict_run *run = &draft->input->run;
    if (incoming->first_event_id > branch->next_event_id) {
        need_events(draft, branch->next_event_id, incoming->first_event_id);
        return;
    }
    if (branch != &run->branches[run->current]) {
        reject(draft, "events of a branch that is not current: not resolved by this release",
            branch->next_event_id);
        return;
    }
    if (!run->open) {
        reject(draft, "events behind the end of the run", branch->next_event_id);
        return;
    }
    append(draft, branch->id, branch->next_event_id);
}

/* The lines part behind `common`. */
static void place_beside(
    struct draft *draft, const struct conflict_branch *branch, struct version_item common)
{
    if (version_history_last(branch->history).version == draft->input->incoming.version)
        reject(draft, "two lines were written at one version", common.event_id);
    else
        reject(draft, "branches diverged: not resolved by this release", common.event_id);
}

static void place_batch(struct draft *draft)
{
    const struct conflict_input *input = draft->input;
    struct version_item common;
    int nearest = nearest_branch(input, &common);
    if (nearest < 0) {
        reject(draft, "no event in common with the run here", 0);
        return;
    }
    const struct conflict_branch *branch = &input->run.branches[nearest];
    if (common.event_id >= input->incoming.next_event_id - 1)
        (void)add(draft, CONFLICT_DROP_DUPLICATE); /* carries nothing but its kind */
    else if (common.event_id == branch->next_event_id - 1)
        place_behind(draft, branch);
    else
        place_beside(draft, branch, common);
}

/* ---- the step -------------------------------------------------------------------------------- */

enum err conflict_step(
    struct arena *arena, const struct conflict_input *input, struct conflict_plan *ret_plan)
{
    if (!incoming_valid(&input->incoming))
        return ERR_INVALID;
    struct draft draft = {.arena = arena, .input = input};
    if (input->run.exists) {
        check_run(&input->run);
        place_batch(&draft);
    } else {
        place_run(&draft);
    }
    CHECK(draft.count > 0);
    struct conflict_effect *effects = arena_alloc(arena, draft.count * sizeof(*effects));
    memcpy(effects, draft.effects, draft.count * sizeof(*effects));
    *ret_plan = (struct conflict_plan){effects, draft.count};
    return OK;
}
