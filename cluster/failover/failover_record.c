/* SPDX-License-Identifier: Apache-2.0
 *
 * The changes of a namespace record that a failover makes. Each is a compare-and-set: it looks at
 * the record as it is when the change is stored, on the thread of shard 0's executor, and refuses
 * when that is not what the failover stands on. Of the operation, only what is settled before the
 * change is read here.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/failover/failover_private.h"

bool record_has_cluster(const Record__Namespace *record, const char *cluster)
{
    for (size_t i = 0; i < record->n_clusters; i++) {
        if (strcmp(record->clusters[i], cluster) == 0)
            return true;
    }
    return false;
}

static bool same_namespace(const struct operation *operation, const Record__Namespace *present)
{
    return present && memcmp(present->id.data, operation->namespace_id.bytes, 16) == 0 &&
           present->state != RECORD__NAMESPACE__STATE__DELETED;
}

static bool in_our_handover(const struct operation *operation, const Record__Namespace *present)
{
    return same_namespace(operation, present) &&
           present->state == RECORD__NAMESPACE__STATE__HANDOVER && present->handover &&
           strcmp(present->handover->id, operation->handover_id) == 0;
}

static enum err refuse(char text[256], const Record__Namespace *present, const char *why)
{
    if (present)
        snprintf(text, 256, "namespace %.100s %s", present->name, why);
    else
        snprintf(text, 256, "namespace %s", why);
    return ERR_PRECONDITION;
}

static Record__Namespace *copy_of(struct arena *arena, const Record__Namespace *present)
{
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    *record = *present;
    return record;
}

enum err record_enter(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    const struct completion *completion = ctx;
    const struct operation *operation = completion->operation;
    const struct failover *failover = operation->failover;
    if (!same_namespace(operation, present))
        return refuse(text, present, "is gone");
    if (strcmp(present->active_cluster, federation_self(failover->federation)) != 0)
        return refuse(text, present, "is no longer active here");
    if (present->state != RECORD__NAMESPACE__STATE__NORMAL)
        return refuse(text, present, "is being handed over already, or is deprecated");
    if (!record_has_cluster(present, operation->request.target))
        return refuse(text, present, "no longer has the target among its clusters");
    Record__Namespace *record = copy_of(arena, present);
    Record__Handover *handover = arena_new(arena, Record__Handover);
    record__handover__init(handover);
    handover->id = arena_strdup(arena, operation->handover_id);
    handover->target = arena_strdup(arena, operation->request.target);
    handover->started = env_wall_ns(failover->env);
    handover->expires = handover->started + operation->request.deadline_ms * NS_PER_MS;
    record->handover = handover;
    record->state = RECORD__NAMESPACE__STATE__HANDOVER;
    *ret_record = record;
    return OK;
}

enum err record_revert(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    (void)text;
    const struct completion *completion = ctx;
    if (!in_our_handover(completion->operation, present))
        return OK; /* nothing to take back */
    Record__Namespace *record = copy_of(arena, present);
    record->state = RECORD__NAMESPACE__STATE__NORMAL;
    record->handover = NULL;
    *ret_record = record;
    return OK;
}

/* The newest entries and this one. */
static void add_history(
    struct arena *arena, Record__Namespace *record, Record__FailoverEntry *entry)
{
    size_t kept =
        record->n_history < FAILOVER_HISTORY_MAX - 1 ? record->n_history : FAILOVER_HISTORY_MAX - 1;
    Record__FailoverEntry **history =
        arena_zalloc(arena, kept + 1, sizeof(Record__FailoverEntry *));
    for (size_t i = 0; i < kept; i++)
        history[i] = record->history[record->n_history - kept + i];
    history[kept] = entry;
    record->history = history;
    record->n_history = kept + 1;
}

/* The record with the target as active cluster, at the target's next version. */
static Record__Namespace *moved(struct arena *arena, const struct operation *operation,
    const Record__Namespace *present, Record__FailoverEntry **ret_entry)
{
    const struct failover *failover = operation->failover;
    Record__Namespace *record = copy_of(arena, present);
    record->failover_version =
        federation_next_version(failover->federation, operation->target, present->failover_version);
    record->active_cluster = arena_strdup(arena, operation->request.target);
    record->state = RECORD__NAMESPACE__STATE__NORMAL;
    record->handover = NULL;
    Record__FailoverEntry *entry = arena_new(arena, Record__FailoverEntry);
    record__failover_entry__init(entry);
    entry->time = env_wall_ns(failover->env);
    entry->from = present->active_cluster;
    entry->to = record->active_cluster;
    entry->from_version = present->failover_version;
    entry->to_version = record->failover_version;
    entry->kind = arena_strdup(arena, operation->kind);
    entry->reason = arena_strdup(arena, operation->request.reason);
    entry->identity = arena_strdup(arena, operation->request.identity);
    add_history(arena, record, entry);
    *ret_entry = entry;
    return record;
}

enum err record_grant(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    struct completion *completion = ctx;
    const struct operation *operation = completion->operation;
    const struct env *env = operation->failover->env;
    if (!in_our_handover(operation, present))
        return refuse(text, present, "is no longer in this handover");
    if (env_wall_ns(env) > present->handover->expires)
        return refuse(text, present, "could not be handed over in time");
    Record__FailoverEntry *entry;
    Record__Namespace *record = moved(arena, operation, present, &entry);
    int64_t pause_ns = env_monotonic_ns(env) - operation->paused_mono_ns;
    entry->pause_ms = (pause_ns + NS_PER_MS - 1) / NS_PER_MS;
    completion->pause_ms = entry->pause_ms;
    completion->version = record->failover_version;
    *ret_record = record;
    return OK;
}

enum err record_force(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    struct completion *completion = ctx;
    const struct operation *operation = completion->operation;
    const struct federation *federation = operation->failover->federation;
    if (!same_namespace(operation, present))
        return refuse(text, present, "is gone");
    if (strcmp(present->active_cluster, federation->clusters[operation->source].name) != 0)
        return refuse(text, present, "changed its active cluster meanwhile");
    if (!record_has_cluster(present, operation->request.target))
        return refuse(text, present, "no longer has the target among its clusters");
    Record__FailoverEntry *entry;
    Record__Namespace *record = moved(arena, operation, present, &entry);
    for (size_t i = 0; i < operation->loss_count; i++) {
        const Replication__ShardLoss *loss = operation->losses[i];
        if (loss->known_seq <= loss->applied_seq)
            continue;
        entry->lag_events += loss->known_seq - loss->applied_seq;
        int64_t lag_ms = (loss->known_time - loss->applied_time) / NS_PER_MS;
        if (lag_ms > entry->lag_ms)
            entry->lag_ms = lag_ms;
    }
    completion->version = record->failover_version;
    *ret_record = record;
    return OK;
}
