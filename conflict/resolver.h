/* SPDX-License-Identifier: Apache-2.0
 *
 * Conflict resolution: what to do with an incoming piece of history. Pure: no I/O, no clock, no
 * heap, no globals; everything it returns lives in the caller's arena.
 *
 *   conflict_step(arena, input) → plan
 *
 * The input describes what arrived and what is here; the plan is an ordered list of effects that
 * the caller carries out in one commit. The same function serves apply, simulator, golden cases and
 * fuzzing. Theory: conflict/README.md.
 */
#ifndef CONFLICT_RESOLVER_H
#define CONFLICT_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/err.h"
#include "conflict/version_history.h"

/** What arrived: one batch of one run, at one version. */
struct conflict_incoming {
    struct version_history history; /* of the sender's line, this batch included */
    int64_t first_event_id;
    int64_t next_event_id; /* behind the batch */
    int64_t version;       /* of every event in it */
    bool starts_run;       /* its first event is WorkflowExecutionStarted */
    uint64_t source_epoch; /* tie-breakers between runs at one version */
    int64_t source_commit_no;
};

/** A branch of the run here. */
struct conflict_branch {
    uint32_t id;
    struct version_history history;
    int64_t next_event_id;
};

/** The run here; absent when exists is false. */
struct conflict_run {
    bool exists;
    bool open;
    bool zombie;
    const struct conflict_branch *branches;
    size_t branch_count;
    size_t current;    /* index */
    bool has_buffered; /* buffered events must be flushed first */
};

/** The current run of the workflow id here, when it is another run. */
struct conflict_current {
    bool exists;
    bool open;
    int64_t version;   /* close version if closed, else last write version */
    bool written_here; /* its last writer is this cluster */
    uint64_t source_epoch;
    int64_t source_commit_no;
    bool continued_as_incoming; /* it closed and names the incoming run as its successor */
};

struct conflict_input {
    struct conflict_incoming incoming;
    struct conflict_run run;
    struct conflict_current current;
};

enum conflict_effect_kind {
    CONFLICT_DROP_DUPLICATE,   /* all of it is known: nothing to do */
    CONFLICT_APPEND,           /* to branch `branch`, skipping events below `from_event_id` */
    CONFLICT_CREATE_RUN,       /* as current, or as zombie */
    CONFLICT_NEED_EVENTS,      /* fetch [from_event_id, to_event_id) of this run, then try again */
    CONFLICT_SUPPRESS_CURRENT, /* the present current run loses */
    CONFLICT_FORK,             /* copy branch `branch` up to `event_id`, then append to the fork */
    CONFLICT_SWITCH_CURRENT,   /* rebuild from branch `branch` and make it the current one */
    CONFLICT_REAPPLY,          /* reapplicable events of the losing branch to the winner */
    CONFLICT_FLUSH_BUFFERED,   /* write buffered events at the old version first */
    CONFLICT_REJECT,           /* poison: dead letter with `reason` */
};

struct conflict_effect {
    enum conflict_effect_kind kind;
    uint32_t branch;
    int64_t event_id;
    int64_t from_event_id;
    int64_t to_event_id;
    bool zombie;
    const char *reason; /* static text */
};

struct conflict_plan {
    const struct conflict_effect *effects;
    size_t count;
};

/** ERR_INVALID for an input that breaks its own rules (hostile sender): dead letter. */
NODISCARD enum err conflict_step(
    struct arena *arena, const struct conflict_input *input, struct conflict_plan *ret_plan);

#endif
