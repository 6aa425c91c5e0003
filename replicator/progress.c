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

#define STORE_NS  (50 * NS_PER_MS)
#define OUT_NS    NS_PER_S
#define REPORT_NS NS_PER_S
#define RETRY_NS  (200 * NS_PER_MS)

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
    struct progress_write **in; /* per shard of ours: being collected */
    bool *in_busy;
    bool *out_busy;
    int64_t *trimmed;
    int64_t *out_drained; /* sum of the targets' watermarks that is stored */
    bool changed;
    int64_t store_mono; /* when changes are stored */
    int64_t out_mono;
    int64_t report_mono;
    bool report_now;
};

/* ---- keys ------------------------------------------------------------------------------------ */

struct bytes progress_key(
    struct arena *arena, enum progress_role role, const char *cluster, int32_t shard)
{
    struct key_builder builder;
    key_begin(&builder, arena, strlen(cluster) + 16);
    key_bytes(
        &builder, bytes_make(role == PROGRESS_IN ? "in" : "out", role == PROGRESS_IN ? 3 : 4));
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

/* ---- writing --------------------------------------------------------------------------------- */

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

static enum err write_submit(struct progress_write *write)
{
    struct replicator *replicator = write->progress->replicator;
    write->work.fn = write_rows;
    write->work.failed = write_failed;
    enum err err = engine_shard_work(replicator->engine, &write->work);
    if (!err)
        replicator->under_way++;
    return err;
}

/* ---- in -------------------------------------------------------------------------------------- */

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

static void in_ended(const struct progress_write *write)
{
    struct progress *progress = write->progress;
    progress->in_busy[write->work.shard] = false;
    for (size_t i = 0; i < write->count; i++) {
        const struct progress_entry *entry = &write->entries[i];
        struct inbound *inbound = entry->inbound;
        inbound->storing = false;
        if (write->err || progress->replicator->closing)
            continue;
        inbound->stored = true;
        if (entry->record.epoch != inbound->epoch)
            continue;
        inbound->stored_drained = entry->record.drained_seq;
        inbound->stored_applied = entry->record.applied_seq;
        inbound->report = true;
        progress->report_now = true;
        order_stored(inbound);
    }
    progress->changed = true; /* more may have been drained meanwhile */
    if (write->err)
        progress->store_mono = progress->replicator->mono_ns + RETRY_NS;
    else
        progress->store_mono =
            sooner(progress->store_mono, progress->replicator->mono_ns + STORE_NS);
}

static void submit_in(struct progress *progress, int32_t shard)
{
    struct progress_write *write = progress->in[shard];
    progress->in[shard] = NULL;
    if (!write)
        return;
    progress->in_busy[shard] = true;
    write->err = write_submit(write);
    if (!write->err)
        return;
    in_ended(write);
    write_free(write);
}

static void store_in(struct progress *progress)
{
    struct receiver *receiver = progress->replicator->receiver;
    progress->changed = false;
    progress->store_mono = INT64_MAX;
    for (int i = 0; i < progress->replicator->federation->count; i++) {
        for (int32_t k = 0; k < receiver->sources[i].count; k++) {
            if (receiver->sources[i].shards[k])
                collect_in(progress, receiver->sources[i].shards[k]);
        }
    }
    for (int32_t i = 0; i < progress->shards; i++)
        submit_in(progress, i);
}

/* ---- out ------------------------------------------------------------------------------------- */

static void out_ended(const struct progress_write *write)
{
    struct progress *progress = write->progress;
    int32_t shard = write->work.shard;
    progress->out_busy[shard] = false;
    if (write->err) {
        progress->out_drained[shard] = -1; /* again */
        return;
    }
    for (size_t i = 0; i < write->count; i++)
        publisher_lane_stored(progress->replicator->publisher, write->entries[i].target, shard);
    if (write->trim_to > write->trim_from)
        progress->trimmed[shard] = write->trim_to - 1;
}

static void store_out(struct progress *progress, int32_t shard)
{
    struct replicator *replicator = progress->replicator;
    if (progress->out_busy[shard])
        return;
    int64_t sum = 0;
    for (int i = 0; i < replicator->federation->count; i++) {
        if (i != replicator->federation->self)
            sum += publisher_lane(replicator->publisher, i, shard).drained_seq;
    }
    int64_t trim = publisher_trim_seq(replicator->publisher, shard);
    if (sum == progress->out_drained[shard] && trim <= progress->trimmed[shard])
        return;
    struct progress_write *write = write_new(progress, PROGRESS_OUT, shard);
    for (int i = 0; i < replicator->federation->count; i++) {
        if (i == replicator->federation->self)
            continue;
        struct lane_progress lane = publisher_lane(replicator->publisher, i, shard);
        if (!lane.drained_seq && !lane.stored)
            continue;
        struct progress_entry *entry = write_add(write);
        entry->target = i;
        entry->stored = lane.stored;
        entry->cluster = cluster_name(replicator, i);
        entry->shard = shard;
        entry->record.epoch = replicator->epoch;
        entry->record.drained_seq = lane.drained_seq;
        entry->record.applied_seq = lane.applied_seq;
        entry->record.time = lane.time_ns;
    }
    write->trim_from = progress->trimmed[shard] + 1;
    write->trim_to = trim > progress->trimmed[shard] ? trim + 1 : 0;
    progress->out_busy[shard] = true;
    progress->out_drained[shard] = sum;
    write->err = write_submit(write);
    if (!write->err)
        return;
    out_ended(write);
    write_free(write);
}

static void write_delivered(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct progress_write *write = CONTAINER_OF(mail, struct progress_write, mail);
    replicator->under_way--;
    if (write->err && !replicator_stopping(replicator))
        log_warn("progress.not_stored", "role=%s shard=%d err=%s",
            write->role == PROGRESS_IN ? "in" : "out", write->work.shard, err_name(write->err));
    if (write->role == PROGRESS_IN)
        in_ended(write);
    else
        out_ended(write);
    write_free(write);
}

/* ---- reports --------------------------------------------------------------------------------- */

/* P2. Barriers are repeated for a while: a report may be lost. */
static size_t collect_barriers(struct inbound *inbound, char **ret_ids)
{
    const struct replicator *replicator = inbound->receiver->replicator;
    size_t count = 0;
    for (size_t i = 0; i < INBOUND_BARRIERS_MAX; i++) {
        struct inbound_barrier *barrier = &inbound->barriers[i];
        if (!barrier->handover_id[0] || barrier->seq > inbound->drained)
            continue;
        if (barrier->until_mono < replicator->mono_ns) {
            *barrier = (struct inbound_barrier){0};
            continue;
        }
        if (apply_dead_letters_of(replicator->apply, barrier->namespace_id) > 0)
            continue;
        barrier->reported = true;
        ret_ids[count++] = barrier->handover_id;
    }
    return count;
}

static void report(struct inbound *inbound)
{
    const struct replicator *replicator = inbound->receiver->replicator;
    inbound->report = false;
    inbound->reported_mono = replicator->mono_ns;
    if (!inbound->epoch || !cluster_bus(replicator, inbound->source))
        return;
    char *barriers[INBOUND_BARRIERS_MAX];
    Replication__ProgressReport message;
    replication__progress_report__init(&message);
    message.target = text_field(replicator->self);
    message.shard = inbound->shard;
    message.epoch = inbound->epoch;
    message.drained_seq = inbound->stored_drained;
    message.applied_seq = sooner(inbound->stored_applied, inbound->stored_drained);
    message.time = env_wall_ns(replicator->env);
    message.n_barriers = collect_barriers(inbound, barriers);
    message.barriers = barriers;
    struct buffer packed = {0};
    proto_pack_into(&packed, &message.base);
    char subject[160];
    snprintf(
        subject, sizeof(subject), "strait.progress.%s", cluster_name(replicator, inbound->source));
    enum err err =
        bus_send(cluster_bus(replicator, inbound->source), subject, buffer_view(&packed));
    if (err) /* the next one is due within a second */
        log_debug("progress.unsent", "subject=%s err=%s", subject, err_name(err));
    buffer_release(&packed);
}

void progress_report_now(struct inbound *inbound)
{
    inbound->report = true;
    inbound->receiver->replicator->progress->report_now = true;
}

static void send_reports(struct progress *progress, bool all)
{
    struct receiver *receiver = progress->replicator->receiver;
    progress->report_now = false;
    for (int i = 0; i < progress->replicator->federation->count; i++) {
        for (int32_t k = 0; k < receiver->sources[i].count; k++) {
            struct inbound *inbound = receiver->sources[i].shards[k];
            if (inbound && (all || inbound->report))
                report(inbound);
        }
    }
}

static void report_arrived(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct bus_msg *message = CONTAINER_OF(mail, struct bus_msg, mail);
    if (!replicator->closing) {
        struct arena arena CLEANUP(arena_release) = {0};
        const Replication__ProgressReport *said =
            proto_unpack(&arena, &replication__progress_report__descriptor, message->data);
        int target = said ? federation_find(replicator->federation, said->target) : -1;
        if (target >= 0 && target != replicator->federation->self) {
            watch_heard(replicator->watch, target);
            publisher_report(replicator->publisher, target, said);
        }
    }
    bus_msg_drop(message);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct progress *progress_open(struct replicator *replicator)
{
    struct progress *progress = mem_new(struct progress);
    size_t shards = (size_t)replicator->options.shards;
    progress->replicator = replicator;
    progress->shards = replicator->options.shards;
    progress->in = mem_zalloc(shards, sizeof(struct progress_write *));
    progress->in_busy = mem_zalloc(shards, sizeof(bool));
    progress->out_busy = mem_zalloc(shards, sizeof(bool));
    progress->trimmed = mem_zalloc(shards, sizeof(int64_t));
    progress->out_drained = mem_zalloc(shards, sizeof(int64_t));
    progress->store_mono = INT64_MAX;
    return progress;
}

void progress_start(struct progress *progress)
{
    struct replicator *replicator = progress->replicator;
    if (!replicator->bus)
        return;
    char subject[160];
    snprintf(subject, sizeof(subject), "strait.progress.%s", replicator->self);
    enum err err = bus_subscribe(replicator->bus, subject, NULL, replicator->mailbox,
        report_arrived, progress, &progress->subscription);
    if (err)
        log_error("progress.failed", "subject=%s err=%s", subject, err_name(err));
}

void progress_close(struct progress *progress)
{
    mem_free(progress->in);
    mem_free(progress->in_busy);
    mem_free(progress->out_busy);
    mem_free(progress->trimmed);
    mem_free(progress->out_drained);
    mem_free(progress);
}

int64_t progress_step(struct progress *progress, int64_t now)
{
    if (replicator_stopping(progress->replicator))
        return INT64_MAX;
    if (progress->changed && now >= progress->store_mono)
        store_in(progress);
    if (now >= progress->out_mono) {
        progress->out_mono = now + OUT_NS;
        for (int32_t i = 0; i < progress->shards; i++)
            store_out(progress, i);
    }
    bool all = now >= progress->report_mono;
    if (all)
        progress->report_mono = now + REPORT_NS;
    if (all || progress->report_now)
        send_reports(progress, all);
    int64_t next = sooner(progress->out_mono, progress->report_mono);
    return progress->changed ? sooner(next, progress->store_mono) : next;
}
