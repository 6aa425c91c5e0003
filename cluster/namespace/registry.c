/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry: records in memory, one change at a time per cluster, stored before visible.
 */
#include "cluster/namespace/registry.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/log.h"
#include "cluster/base/map.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/namespace/record_merge.h"

#define LISTENERS_MAX 4

struct entry {
    struct uuid id;
    struct bytes name;   /* owned */
    struct blob *record; /* serialized record.Namespace */
    struct namespace_view *view;
};

/* One queued change; changes run one after another, because each builds on the one before. */
struct change {
    struct shard_work work;
    struct effect effect;
    struct change *next;
    struct registry *registry;
    struct arena arena;
    char *name;
    registry_change_fn *fn;
    struct blob *remote; /* merge: the other cluster's record */
    registry_done_fn *done;
    void *ctx;
    Record__Namespace *result;
    enum err err;
    char text[256];
};

struct registry {
    const struct env *env;
    const struct federation *federation;
    struct engine *engine;
    pthread_mutex_t mutex;
    struct map by_name; /* struct entry */
    struct map by_id;
    struct change *first; /* running, then waiting */
    struct change *last;
    struct {
        registry_listener_fn *fn;
        void *ctx;
    } listeners[LISTENERS_MAX];
    size_t listener_count;
};

/* ---- views ----------------------------------------------------------------------------------- */

static struct namespace_view *make_view(
    const struct registry *registry, const Record__Namespace *record)
{
    const struct federation *federation = registry->federation;
    size_t text = strlen(record->name) + strlen(record->active_cluster) + 3;
    if (record->handover)
        text += strlen(record->handover->id);
    for (size_t i = 0; i < record->n_clusters; i++)
        text += strlen(record->clusters[i]) + 1;
    struct namespace_view *view =
        mem_zalloc(1, sizeof(*view) + record->n_clusters * sizeof(char *) + text);
    const char **targets = (const char **)(void *)(view + 1);
    char *at = (char *)(targets + record->n_clusters);
    atomic_init(&view->refs, 1);
    memcpy(view->id.bytes, record->id.data, 16);
    view->name = strcpy_next(&at, record->name);
    view->active_cluster = strcpy_next(&at, record->active_cluster);
    view->handover_id = strcpy_next(&at, record->handover ? record->handover->id : "");
    view->active = strcmp(record->active_cluster, federation_self(federation)) == 0;
    view->handover = record->state == RECORD__NAMESPACE__STATE__HANDOVER;
    view->deleted = record->state == RECORD__NAMESPACE__STATE__DELETED;
    view->replicated = record->n_clusters > 1;
    view->failover_version = record->failover_version;
    view->retention_ns = record->retention_ms * NS_PER_MS;
    view->targets = targets;
    for (size_t i = 0; i < record->n_clusters; i++) {
        if (strcmp(record->clusters[i], federation_self(federation)) != 0)
            targets[view->target_count++] = strcpy_next(&at, record->clusters[i]);
    }
    return view;
}

static struct namespace_view *source_get(void *ctx, struct uuid id)
{
    return registry_view_by_id(ctx, id);
}

struct namespace_source registry_source(struct registry *registry)
{
    return (struct namespace_source){registry, source_get};
}

static struct namespace_view *view_of(
    struct registry *registry, const struct map *map, struct bytes key)
{
    pthread_mutex_lock(&registry->mutex);
    const struct entry *entry = map_get(map, key);
    struct namespace_view *view = entry ? namespace_view_retain(entry->view) : NULL;
    pthread_mutex_unlock(&registry->mutex);
    return view;
}

struct namespace_view *registry_view(struct registry *registry, const char *name)
{
    return view_of(registry, &registry->by_name, bytes_of(name));
}

struct namespace_view *registry_view_by_id(struct registry *registry, struct uuid id)
{
    return view_of(registry, &registry->by_id, uuid_view(&id));
}

static Record__Namespace *record_of(
    struct registry *registry, struct arena *arena, const struct map *map, struct bytes key)
{
    pthread_mutex_lock(&registry->mutex);
    const struct entry *entry = map_get(map, key);
    struct blob *blob = entry ? blob_retain(entry->record) : NULL;
    pthread_mutex_unlock(&registry->mutex);
    if (!blob)
        return NULL;
    Record__Namespace *record =
        proto_unpack(arena, &record__namespace__descriptor, blob_view(blob));
    blob_unref(blob);
    CHECK(record);
    return record;
}

Record__Namespace *registry_record(struct registry *registry, struct arena *arena, const char *name)
{
    return record_of(registry, arena, &registry->by_name, bytes_of(name));
}

Record__Namespace *registry_record_by_id(
    struct registry *registry, struct arena *arena, struct uuid id)
{
    return record_of(registry, arena, &registry->by_id, uuid_view(&id));
}

static int by_name(const void *a, const void *b)
{
    const Record__Namespace *const *x = a;
    const Record__Namespace *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

size_t registry_list(
    struct registry *registry, struct arena *arena, Record__Namespace ***ret_records)
{
    pthread_mutex_lock(&registry->mutex);
    Record__Namespace **records = arena_zalloc(arena, registry->by_id.count + 1, sizeof(*records));
    size_t count = 0;
    size_t cursor = 0;
    for (const struct entry *entry = map_next(&registry->by_id, &cursor); entry;
         entry = map_next(&registry->by_id, &cursor)) {
        records[count] =
            proto_unpack(arena, &record__namespace__descriptor, blob_view(entry->record));
        CHECK(records[count]);
        count++;
    }
    pthread_mutex_unlock(&registry->mutex);
    qsort(records, count, sizeof(*records), by_name);
    *ret_records = records;
    return count;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void entry_put(struct registry *registry, const Record__Namespace *record)
{
    struct buffer packed = {0};
    proto_pack_into(&packed, &record->base);
    struct namespace_view *view = make_view(registry, record);
    pthread_mutex_lock(&registry->mutex);
    struct entry *entry = map_get(&registry->by_id, uuid_view(&view->id));
    struct namespace_view *old = NULL;
    if (!entry) {
        entry = mem_new(struct entry);
        entry->id = view->id;
        entry->name = bytes_of(mem_strdup(record->name));
        CHECK(!map_put(&registry->by_id, uuid_view(&entry->id), entry));
        CHECK(!map_put(&registry->by_name, entry->name, entry));
    } else {
        old = entry->view;
        blob_unref(entry->record);
    }
    entry->record = blob_from(buffer_view(&packed));
    entry->view = view;
    pthread_mutex_unlock(&registry->mutex);
    namespace_view_unref(old);
    buffer_release(&packed);
}

static void entry_free(struct registry *registry, struct entry *entry)
{
    (void)registry;
    namespace_view_unref(entry->view);
    blob_unref(entry->record);
    mem_free((void *)(uintptr_t)entry->name.data);
    mem_free(entry);
}

static bool record_usable(const Record__Namespace *record)
{
    return record && record->format == 1 && record->id.len == 16 && record->name[0] &&
           record->n_clusters > 0 && record->n_clusters <= CLUSTERS_MAX;
}

/* A handover that was under way when the process ended is over: nothing of it was granted, because
 * a grant is a stored record without the handover. */
static void forget_handover(Record__Namespace *record)
{
    if (record->state == RECORD__NAMESPACE__STATE__HANDOVER)
        record->state = RECORD__NAMESPACE__STATE__NORMAL;
    record->handover = NULL;
}

enum err registry_open(const struct env *env, const struct federation *federation,
    struct store *store, struct registry **ret_registry, char text[256])
{
    struct arena arena = {0};
    struct store_op op = {.kind = STORE_SCAN,
        .arena = &arena,
        .scan = {.table = TABLE_NAMESPACE, .shard = 0, .limit_rows = UINT32_MAX}};
    enum err err = store_run(store, &op);
    if (err) {
        snprintf(text, 256, "namespaces cannot be read: %.200s", op.text);
        arena_release(&arena);
        return err;
    }
    struct registry *registry = mem_new(struct registry);
    registry->env = env;
    registry->federation = federation;
    pthread_mutex_init(&registry->mutex, NULL);
    for (size_t i = 0; i < op.scan.row_count; i++) {
        Record__Namespace *record =
            proto_unpack(&arena, &record__namespace__descriptor, op.scan.rows[i].value);
        if (!record_usable(record)) {
            snprintf(text, 256, "row %zu of table namespace does not decode", i);
            arena_release(&arena);
            registry_close(registry);
            return ERR_CORRUPT;
        }
        forget_handover(record);
        entry_put(registry, record);
    }
    arena_release(&arena);
    *ret_registry = registry;
    return OK;
}

void registry_close(struct registry *registry)
{
    if (!registry)
        return;
    CHECK(!registry->first);
    size_t cursor = 0;
    for (struct entry *entry = map_next(&registry->by_id, &cursor); entry;
         entry = map_next(&registry->by_id, &cursor))
        entry_free(registry, entry);
    map_release(&registry->by_id);
    map_release(&registry->by_name);
    pthread_mutex_destroy(&registry->mutex);
    mem_free(registry);
}

void registry_set_engine(struct registry *registry, struct engine *engine)
{
    registry->engine = engine;
}

void registry_listen(struct registry *registry, registry_listener_fn *listener, void *ctx)
{
    CHECK(registry->listener_count < LISTENERS_MAX);
    registry->listeners[registry->listener_count].fn = listener;
    registry->listeners[registry->listener_count].ctx = ctx;
    registry->listener_count++;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void change_start(struct change *change);

static void change_end(struct change *change, enum err err, const char *text)
{
    struct registry *registry = change->registry;
    pthread_mutex_lock(&registry->mutex);
    CHECK(registry->first == change);
    registry->first = change->next;
    if (!registry->first)
        registry->last = NULL;
    struct change *next = registry->first;
    pthread_mutex_unlock(&registry->mutex);
    if (change->done)
        change->done(change->ctx, err, text);
    blob_unref(change->remote);
    mem_free(change->name);
    arena_release(&change->arena);
    mem_free(change);
    if (next)
        change_start(next);
}

static void change_stored(struct effect *effect, enum err err)
{
    struct change *change = CONTAINER_OF(effect, struct change, effect);
    struct registry *registry = change->registry;
    if (err) {
        change_end(change, err, err_text(err));
        return;
    }
    Record__Namespace *record = change->result;
    entry_put(registry, record);
    struct uuid id;
    memcpy(id.bytes, record->id.data, 16);
    log_info("namespace.changed",
        "name=%s active=%s failover_version=%lld config_version=%lld state=%d", record->name,
        record->active_cluster, (long long)record->failover_version,
        (long long)record->config_version, (int)record->state);
    engine_namespace_changed(registry->engine, id);
    for (size_t i = 0; i < registry->listener_count; i++)
        registry->listeners[i].fn(registry->listeners[i].ctx, record);
    change_end(change, OK, "");
}

static enum err change_decide(struct change *change)
{
    struct registry *registry = change->registry;
    if (change->remote) {
        Record__Namespace *remote =
            proto_unpack(&change->arena, &record__namespace__descriptor, blob_view(change->remote));
        if (!record_usable(remote)) {
            snprintf(change->text, sizeof(change->text), "namespace record does not decode");
            return ERR_CORRUPT;
        }
        struct uuid id;
        memcpy(id.bytes, remote->id.data, 16);
        Record__Namespace *present = registry_record_by_id(registry, &change->arena, id);
        if (!present && registry_record(registry, &change->arena, remote->name)) {
            snprintf(change->text, sizeof(change->text),
                "namespace %.100s exists here with another id", remote->name);
            return ERR_EXISTS;
        }
        return namespace_record_merge(
            &change->arena, present, remote, registry->federation, &change->result);
    }
    Record__Namespace *present = registry_record(registry, &change->arena, change->name);
    return change->fn(change->ctx, &change->arena, present, &change->result, change->text);
}

static struct effect *change_write(
    struct shard_work *work, struct executor *executor, struct commit *commit)
{
    (void)executor;
    struct change *change = CONTAINER_OF(work, struct change, work);
    change->err = change_decide(change);
    change->effect.fire = change_stored;
    if (change->err || !change->result) {
        enum err err = change->err;
        char text[256];
        memcpy(text, change->text, sizeof(text));
        change_end(change, err, text);
        return NULL;
    }
    struct commit_row row = {.table = TABLE_NAMESPACE,
        .mode = COMMIT_PUT,
        .shard = 0,
        .key =
            bytes_copy(&commit->arena, bytes_make(change->result->id.data, change->result->id.len)),
        .value = proto_pack(&commit->arena, &change->result->base)};
    commit_write(commit, &row);
    return &change->effect;
}

static void change_failed(struct shard_work *work, enum err err)
{
    change_end(CONTAINER_OF(work, struct change, work), err, err_text(err));
}

static void change_start(struct change *change)
{
    change->work.shard = 0;
    change->work.fn = change_write;
    change->work.failed = change_failed;
    enum err err = engine_shard_work(change->registry->engine, &change->work);
    if (err)
        change_end(change, err, err_text(err));
}

static void change_queue(struct change *change)
{
    struct registry *registry = change->registry;
    CHECK(registry->engine);
    pthread_mutex_lock(&registry->mutex);
    bool idle = !registry->first;
    if (idle)
        registry->first = change;
    else
        registry->last->next = change;
    registry->last = change;
    pthread_mutex_unlock(&registry->mutex);
    if (idle)
        change_start(change);
}

void registry_change(struct registry *registry, const char *name, registry_change_fn *fn,
    registry_done_fn *done, void *ctx)
{
    struct change *change = mem_new(struct change);
    change->registry = registry;
    change->name = mem_strdup(name);
    change->fn = fn;
    change->done = done;
    change->ctx = ctx;
    change_queue(change);
}

void registry_merge(
    struct registry *registry, const Record__Namespace *remote, registry_done_fn *done, void *ctx)
{
    struct change *change = mem_new(struct change);
    change->registry = registry;
    change->remote = blob_alloc(record__namespace__get_packed_size(remote));
    record__namespace__pack(remote, change->remote->data);
    change->done = done;
    change->ctx = ctx;
    change_queue(change);
}
