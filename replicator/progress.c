/* SPDX-License-Identifier: Apache-2.0
 *
 * Storing happens in the commits of our shards' owners. What a commit stores is copied before it is
 * submitted, because it is written on an executor's thread.
 *
 * P1  A report names nothing that is not stored, so a source may forget what it names.
 * P2  A barrier is reported when its row and every row before are applied, and nothing of its
 *     namespace is parked.
 */
#include "replicator/progress.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/publisher.h"

#define STORE_NS         (50 * NS_PER_MS)
#define OUT_NS           NS_PER_S
#define REPORT_NS        NS_PER_S
#define RETRY_NS         (200 * NS_PER_MS)
#define REPORTS_PER_STEP 4096

/** One row to store. */
struct progress_entry {
    struct inbound *inbound; /* in */
    int target;              /* out */
    bool stored;
    const char *cluster;
    int32_t shard;
    Record__Progress record;
};

/** One commit's worth, for one of our shards. Lives until its completion was delivered. */
struct progress_write {
    struct shard_work work;
    struct effect effect;
    struct mail mail;
    struct progress *progress;
    enum progress_role role;
    enum err err;
    struct progress_entry *entries;
    size_t count;
    size_t capacity;
    int64_t trim_from;
    int64_t trim_to; /* delete outbox rows [from, to); 0 = none */
};

struct progress {
    struct replicator *replicator;
    int32_t shards;
    struct bus_subscription *subscription;
    struct progress_write **in;  /* per shard of ours: being collected */
    bool *in_busy;
    bool *out_busy;
    int64_t *trimmed;
    int64_t *out_drained;        /* sum of the targets' watermarks that is stored */
    bool changed;
    int64_t store_mono;          /* when changes are stored */
    int64_t out_mono;
    int64_t report_mono;
    bool report_now;
    struct counter *stored;
};

/* ---- keys ------------------------------------------------------------------------------------- */

struct bytes progress_key(
    struct arena *arena, enum progress_role role, const char *cluster, int32_t shard)
{
    struct key_builder builder;
    key_begin(&builder, arena, strlen(cluster) + 16);
    key_bytes(&builder, bytes_make(role == PROGRESS_IN ? "in" : "out", role == PROGRESS_IN ? 3 : 4));
    key_bytes(&builder, bytes_make(cluster, strlen(cluster) + 1));
    key_u32(&builder, (uint32_t)shard);
    return key_end(&builder);
}

bool progress_key_read(struct arena *arena, struct bytes key, enum progress_role *ret_role,
    const char **ret_cluster, int32_t *ret_shard)
{
    size_t role = 0;
    if (key.len >= 3 && memcmp(key.data, "in", 3) == 0)
        role = 3;
    else if (key.len >= 4 && memcmp(key.data, "out", 4) == 0)
        role = 4;
    uint32_t shard;
    if (!role || key.len < role + 6 || key.data[key.len - 5] != 0 ||
        !key_read_u32(key, key.len - 4, &shard) || shard >= SHARDS_MAX)
        return false;
    *ret_role = role == 3 ? PROGRESS_IN : PROGRESS_OUT;
    *ret_cluster = bytes_string(arena, bytes_make(key.data + role, key.len - role - 5));
    *ret_shard = (int32_t)shard;
    return true;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static struct progress_write *write_new(
    struct progress *progress, enum progress_role role, int32_t shard)
{
    struct progress_write *write = mem_new(struct progress_write);
    write->progress = progress;
    write->role = role;
    write->work.shard = shard;
    return write;
}

static void write_free(struct progress_write *write)
{
    mem_free(write->entries);
    mem_free(write);
}

static struct progress_entry *write_add(struct progress_write *write)
{
    if (write->count == write->capacity) {
        write->capacity = write->capacity ? write->capacity * 2 : 4;
        write->entries = mem_realloc(write->entries, write->capacity * sizeof(*write->entries));
    }
    struct progress_entry *entry = &write->entries[write->count++];
    *entry = (struct progress_entry){.target = -1};
    record__progress__init(&entry->record);
    entry->record.format = 1;
    return entry;
}

static void write_delivered(struct mail *mail, void *owner);

static void write_ended(struct progress_write *write, enum err err)
{
    write->err = err;
    write->mail.deliver = write_delivered;
    mailbox_complete(write->progress->replicator->mailbox, &write->mail);
}

static void write_committed(struct effect *effect, enum err err)
{
    write_ended(CONTAINER_OF(effect, struct progress_write, effect), err);
}

static void write_failed(struct shard_work *work, enum err err)
{
    write_ended(CONTAINER_OF(work, struct progress_write, work), err);
}

/* Executor's thread. */
static struct effect *write_rows(
    struct shard_work *work, struct executor *executor, struct commit *commit)
{
    (void)executor;
    struct progress_write *write = CONTAINER_OF(work, struct progress_write, work);
    for (size_t i = 0; i < write->count; i++) {
        const struct progress_entry *entry = &write->entries[i];
        struct commit_row row = {.table = TABLE_PROGRESS,
            .mode = entry->stored ? COMMIT_UPDATE : COMMIT_INSERT,
            .shard = work->shard,
            .key = progress_key(&commit->arena, write->role, entry->cluster, entry->shard),
            .value = proto_pack(&commit->arena, &entry->record.base)};
        commit_write(commit, &row);
    }
    if (write->trim_to > write->trim_from) {
        struct commit_range range = {TABLE_OUTBOX, work->shard,
            key_seq(&commit->arena, write->trim_from), key_seq(&commit->arena, write->trim_to)};
        commit_delete_range(commit, &range);
    }
    write->effect.fire = write_committed;
    return &write->effect;
}

/* False: not now; the write is freed. */
static bool write_submit(struct progress_write *write)
{
    struct replicator *replicator = write->progress->replicator;
    write->work.fn = write_rows;
    write->work.failed = write_failed;
    if (engine_shard_work(replicator->engine, &write->work)) {
        write_free(write);
        return false;
    }
    replicator->under_way++;
    return true;
}

/* ---- in --------------------------------------------------------------------------------------- */

void progress_changed(struct inbound *inbound)
{
    struct progress *progress = inbound->receiver->replicator->progress;
    if (!progress->changed)
        progress->store_mono = inbound->receiver->replicator->mono_ns + STORE_NS;
    progress->changed = true;
}

static void collect_in(struct progress *progress, struct inbound *inbound)
{
    const struct replicator *replicator = progress->replicator;
    if (inbound->drained <= inbound->stored_drained || inbound->storing)
        return;
    int32_t shard = inbound->shard % progress->shards;
    if (progress->in_busy[shard]) {
        progress->changed = true;
        return;
    }
    if (!progress->in[shard])
        progress->in[shard] = write_new(progress, PROGRESS_IN, shard);
    struct progress_entry *entry = write_add(progress->in[shard]);
    entry->inbound = inbound;
    entry->stored = inbound->stored;
    entry->cluster = cluster_name(replicator, inbound->source);
    entry->shard = inbound->shard;
    entry->record.epoch = inbound->epoch;
    entry->record.drained_seq = inbound->drained;
    entry->record.applied_seq = inbound->applied;
    entry->record.source_time = inbound->applied_ns;
    entry->record.time = env_wall_ns(replicator->env);
    inbound->storing = true;
}

static void submit_in(struct progress *progress, int32_t shard)
{
    struct progress_write *write = progress->in[shard];
    progress->in[shard] = NULL;
    for (size_t i = 0; i < write->count; i++)
        write->entries[i].inbound->storing = true;
    struct progress_entry *entries = write->entries;
    size_t count = write->count;
    write->entries = NULL; /* kept until we know that it was taken */
    struct progress_write *sent = write_new(progress, PROGRESS_IN, shard);
    sent->entries = entries;
    sent->count = count;
    write_free(write);
    for (size_t i = 0; i < count; i++)
        entries[i].inbound->storing = false;
    struct inbound **inbounds = mem_alloc(count * sizeof(struct inbound *));
    for (size_t i = 0; i < count; i++)
        inbounds[i] = entries[i].inbound;
    bool taken = write_submit(sent);
    for (size_t i = 0; i < count; i++)
        inbounds[i]->storing = taken;
    mem_free(inbounds);
    progress->in_busy[shard] = taken;
    progress->changed |= !taken;
}
