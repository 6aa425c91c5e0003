/* SPDX-License-Identifier: Apache-2.0
 *
 * Deterministic merge: the same two records give the same result on every cluster, in any order and
 * any number of times.
 */
#include "cluster/namespace/record_merge.h"

#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/proto_arena.h"
#include "cluster/namespace/registry.h"

const char *strcpy_next(char **at, const char *text)
{
    size_t len = strlen(text) + 1;
    char *begin = *at;
    memcpy(begin, text, len);
    *at += len;
    return begin;
}

/* Only the replicated configuration. */
static Record__Namespace config_part(const Record__Namespace *record)
{
    Record__Namespace part = *record;
    part.state = record->state == RECORD__NAMESPACE__STATE__HANDOVER
                     ? RECORD__NAMESPACE__STATE__NORMAL
                     : record->state;
    part.handover = NULL;
    part.active_cluster = (char *)(uintptr_t) "";
    part.failover_version = 0;
    part.n_history = 0;
    part.failover_notification_version = 0;
    return part;
}

static Record__Namespace failover_part(const Record__Namespace *record)
{
    Record__Namespace part;
    record__namespace__init(&part);
    part.id = record->id;
    part.active_cluster = record->active_cluster;
    part.failover_version = record->failover_version;
    part.n_history = record->n_history;
    part.history = record->history;
    return part;
}

static uint64_t digest(const Record__Namespace *record)
{
    struct buffer packed = {0};
    proto_pack_into(&packed, &record->base);
    uint64_t value = hash64(buffer_view(&packed), 0);
    buffer_release(&packed);
    return value;
}

static uint64_t config_digest(const Record__Namespace *record)
{
    Record__Namespace part = config_part(record);
    return digest(&part);
}

static uint64_t failover_digest(const Record__Namespace *record)
{
    Record__Namespace part = failover_part(record);
    return digest(&part);
}

uint64_t registry_digest(const Record__Namespace *record)
{
    return config_digest(record) ^ (failover_digest(record) * 31);
}

static bool remote_wins(int64_t here, int64_t there, uint64_t digest_here, uint64_t digest_there)
{
    return there > here || (there == here && digest_there > digest_here);
}

static enum err check(const Record__Namespace *remote, const struct federation *federation)
{
    bool active_listed = false;
    for (size_t i = 0; i < remote->n_clusters; i++) {
        if (federation_find(federation, remote->clusters[i]) < 0)
            return ERR_INVALID;
        if (strcmp(remote->clusters[i], remote->active_cluster) == 0)
            active_listed = true;
    }
    int owner = federation_owner(federation, remote->failover_version);
    if (!active_listed || owner < 0 ||
        strcmp(federation->clusters[owner].name, remote->active_cluster) != 0)
        return ERR_INVALID;
    return OK;
}

enum err namespace_record_merge(struct arena *arena, const Record__Namespace *present,
    const Record__Namespace *remote, const struct federation *federation,
    Record__Namespace **ret_record)
{
    enum err err = check(remote, federation);
    if (err)
        return err;
    Record__Namespace *merged = arena_new(arena, Record__Namespace);
    if (!present) {
        *merged = *remote;
        merged->handover = NULL;
        if (merged->state == RECORD__NAMESPACE__STATE__HANDOVER)
            merged->state = RECORD__NAMESPACE__STATE__NORMAL;
        *ret_record = merged;
        return OK;
    }
    bool config = remote_wins(present->config_version, remote->config_version,
        config_digest(present), config_digest(remote));
    bool failover = remote_wins(present->failover_version, remote->failover_version,
        failover_digest(present), failover_digest(remote));
    if (!config && !failover)
        return OK;
    *merged = *present;
    if (config) {
        *merged = config_part(remote);
        merged->state = present->state == RECORD__NAMESPACE__STATE__HANDOVER && !failover
                            ? present->state
                            : merged->state;
        merged->handover = present->handover;
        merged->active_cluster = present->active_cluster;
        merged->failover_version = present->failover_version;
        merged->n_history = present->n_history;
        merged->history = present->history;
    }
    if (failover) {
        merged->active_cluster = remote->active_cluster;
        merged->failover_version = remote->failover_version;
        merged->n_history = remote->n_history;
        merged->history = remote->history;
        merged->handover = NULL;
        if (merged->state == RECORD__NAMESPACE__STATE__HANDOVER)
            merged->state = RECORD__NAMESPACE__STATE__NORMAL;
    }
    *ret_record = merged;
    return OK;
}
