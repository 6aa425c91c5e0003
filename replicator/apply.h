/* SPDX-License-Identifier: Apache-2.0
 *
 * Applying items of other clusters: each goes to the executor that owns its workflow id, is placed
 * by conflict_step(), and is done when its commit is.
 *
 * Items of one workflow id are applied in the order they were submitted, so that a run never comes
 * before the end of the one it follows. An item whose run misses events waits until they were
 * fetched, and later items of that workflow id wait behind it; others flow. An item that cannot be
 * applied becomes a dead letter (durably), and so do later items of its run; it blocks nobody else.
 */
#ifndef REPLICATOR_APPLY_H
#define REPLICATOR_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/list.h"
#include "cluster/base/uuid.h"
#include "cluster/engine/executor.h"
#include "cluster/namespace/federation.h"
#include "cluster/namespace/registry.h"
#include "proto/replication.pb-c.h"

struct apply;

enum apply_outcome {
    APPLY_DONE,          /* committed, or known before */
    APPLY_IGNORED,       /* not for us: namespace without this cluster, expired run */
    APPLY_DEAD_LETTERED, /* durably parked: drained, not applied */
    APPLY_RETRY,         /* the commit failed or a dependency was out of reach: submit it again */
};

/** One item on its way. Owned by the submitter until `done` ran; lives on the replicator's thread.
 *  */
struct apply_item {
    const Replication__Item *item; /* in memory of the submitter, unchanged until done */
    int source;                    /* cluster index */
    int32_t source_shard;
    int64_t epoch;
    enum apply_outcome outcome;
    const char *reason;                    /* dead letters: static text */
    void (*done)(struct apply_item *item); /* on the replicator's thread, from its mailbox */
    void *ctx;
    /* The rest is apply's. */
    struct list link;
    struct mail mail;
    struct apply *apply;
    int verdict;          /* of the executor: enum apply_verdict */
    struct uuid need_run; /* missing: events [need_from, need_to) of this run */
    int64_t need_from;
    int64_t need_to;       /* 0 = to the end */
    struct uuid asked_run; /* the last fetch for it began here */
    int64_t asked_from;
    uint32_t fetches;
    bool fetched;           /* not submitted, but part of what was fetched */
    bool predecessor_asked; /* the source has no more of the run before this one */
};

/** How apply reaches the rest of the replicator. Called on the replicator's thread. */
struct apply_hooks {
    void *ctx;
    /* Asks the source for events [from, to) of a run (0 = to the end); `done` on the replicator's
     * thread with the answer (NULL = out of reach; `gone` = the source has no such run). */
    void (*fetch)(void *ctx, int source, const Replication__FetchHistory *request,
        void (*done)(void *done_ctx, const Replication__HistoryRange *range, bool gone),
        void *done_ctx);
    /* Asks the source for a namespace record and merges it; then `done`. */
    void (*need_namespace)(void *ctx, int source, struct uuid namespace_id,
        void (*done)(void *done_ctx, bool known), void *done_ctx);
};

struct apply_options {
    const struct env *env;
    struct registry *registry;
    const struct federation *federation;
    struct store *store;
    struct metrics *metrics;
    struct mailbox *mailbox; /* of the replicator */
    int32_t shards;          /* of this cluster */
    struct apply_hooks hooks;
};

/** Loads the keys of unresolved dead letters (blocks; start-up only). */
NODISCARD enum err apply_open(
    const struct apply_options *options, struct apply **ret_apply, char reason[256]);
void apply_set_engine(struct apply *apply, struct engine *engine);
void apply_close(struct apply *apply);
/** Starts one item; `done` never runs before this returned. ERR_BUSY: the engine's mailbox is full,
 *  try again later; the item is untouched. After APPLY_RETRY, items of a workflow id must be
 *  submitted again in their order. Replicator's thread. */
NODISCARD enum err apply_submit(struct apply *apply, struct apply_item *item);
/** Items under way. */
size_t apply_pending(const struct apply *apply);
/** Unresolved dead letters, all and of one namespace. Any thread. */
int64_t apply_dead_letters(const struct apply *apply);
int64_t apply_dead_letters_of(const struct apply *apply, struct uuid namespace_id);

#endif
