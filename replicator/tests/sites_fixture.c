/* SPDX-License-Identifier: Apache-2.0 */
#include "replicator/tests/sites_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/store/store_memory.h"

#define STEP_NS (2 * NS_PER_MS)

struct sites *sites;

static const char *const names[SITES] = {"us", "eu"};

/* ---- surroundings ---------------------------------------------------------------------------- */

static int64_t clock_ns(void *ctx)
{
    return ((struct sites *)ctx)->now_ns;
}

static void random_bytes(void *ctx, void *ret_data, size_t len)
{
    struct sites *s = ctx;
    uint8_t *out = ret_data;
    for (size_t i = 0; i < len; i++) {
        s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
        out[i] = (uint8_t)(s->random >> 56);
    }
}

static void step_all(void)
{
    for (int i = 0; i < SITES; i++) {
        struct site *site = &sites->site[i];
        bus_memory_step(site->hub, sites->now_ns);
        if (!site->up)
            continue;
        for (int k = 0; k < engine_executor_count(site->engine); k++)
            executor_step(engine_executor(site->engine, k), sites->now_ns);
        store_step(site->store, 1000);
        replicator_step(site->replicator, sites->now_ns);
    }
}

void sites_run(int64_t ms)
{
    int64_t end_ns = sites->now_ns + ms * NS_PER_MS;
    while (sites->now_ns < end_ns) {
        step_all();
        step_all();
        sites->now_ns += STEP_NS;
    }
}

void sites_until(bool (*done)(void *ctx), void *ctx)
{
    int64_t end_ns = sites->now_ns + 120 * NS_PER_S;
    while (!done(ctx)) {
        assert_true(sites->now_ns < end_ns);
        sites_run(20);
    }
}

static bool all_drained(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < SITES; i++) {
        struct replication_lane *lanes;
        size_t count =
            replicator_lanes(sites->site[i].replicator, &sites->arena, (struct uuid){{0}}, &lanes);
        for (size_t k = 0; k < count; k++) {
            if (lanes[k].lag_events || lanes[k].outbox_rows)
                return false;
        }
    }
    return true;
}

void sites_drain(void)
{
    sites_run(100);
    sites_until(all_drained, NULL);
}

void sites_connect(int from, int to, bool connected)
{
    bus_memory_set_connected(sites->site[from].clusters[to].bus, connected);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool engine_ready(void *ctx)
{
    return engine_is_ready(((struct site *)ctx)->engine);
}

static void open_engine(struct site *site)
{
    char text[256];
    static struct waker *wakers[2];
    struct engine_options engine = {.env = &sites->env,
        .store = site->store,
        .metrics = site->metrics,
        .namespaces = registry_source(site->registry),
        .sink = replicator_sink(site->replicator),
        .cluster_name = names[site->index],
        .node_id = "node",
        .shards = site->shards,
        .executors = 2,
        .wakers = wakers,
        .cache_bytes_max = 64u * MIB};
    assert_int_equal(engine_open(&engine, &site->engine, text), OK);
    registry_set_engine(site->registry, site->engine);
    replicator_set_engine(site->replicator, site->engine);
}

void site_start(int index)
{
    struct site *site = &sites->site[index];
    char text[256];
    site->metrics = metrics_open();
    for (int i = 0; i < SITES; i++)
        site->clusters[i] = (struct federation_cluster){.name = names[i],
            .initial_version = i + 1,
            .address = "",
            .bus = bus_memory_open(sites->site[i].hub)};
    bus_memory_set_connected(site->clusters[index].bus, !site->offline);
    site->federation = (struct federation){
        .increment = 10, .self = index, .count = SITES, .clusters = site->clusters};
    struct store_options store = {.driver = store_driver_memory(),
        .driver_ctx = site->database,
        .readers = 1,
        .writers = 2,
        .migrate = true};
    assert_int_equal(store_open(&store, &site->store, text), OK);
    assert_int_equal(
        registry_open(&sites->env, &site->federation, site->store, &site->registry, text), OK);
    struct replicator_options replicator = {.env = &sites->env,
        .store = site->store,
        .registry = site->registry,
        .federation = &site->federation,
        .metrics = site->metrics,
        .config = &sites->config,
        .server_version = "test",
        .shards = site->shards};
    assert_int_equal(replicator_open(&replicator, &site->replicator, text), OK);
    open_engine(site);
    engine_start(site->engine);
    site->up = true;
    sites_until(engine_ready, site);
    Record__Namespace **records;
    size_t count = registry_list(site->registry, &sites->arena, &records);
    for (size_t i = 0; i < count; i++) {
        struct uuid id;
        memcpy(id.bytes, records[i]->id.data, 16);
        engine_namespace_changed(site->engine, id);
    }
}

static bool site_idle(void *ctx)
{
    struct site *site = ctx;
    return engine_is_idle(site->engine) && replicator_is_idle(site->replicator);
}

void site_stop(int index)
{
    struct site *site = &sites->site[index];
    replicator_stop(site->replicator);
    engine_stop(site->engine);
    sites_until(site_idle, site);
    site->up = false;
    for (int i = 0; i < SITES; i++)
        bus_close(site->clusters[i].bus);
    store_close(site->store);
    engine_close(site->engine);
    replicator_close(site->replicator);
    registry_close(site->registry);
    metrics_close(site->metrics);
}

int sites_setup(void **state)
{
    (void)state;
    sites = mem_new(struct sites);
    sites->env = (struct env){sites, clock_ns, clock_ns, random_bytes};
    sites->now_ns = START_NS;
    sites->random = 4711;
    const char *seed = getenv("STRAIT_TEST_SEED");
    if (seed)
        sites->random = strtoull(seed, NULL, 0);
    sites->config = (struct config_replication){
        .heartbeat_ms = 1000, .window_messages = 64, .stream_max_mb = 64, .stream_replicas = 1};
    for (int i = 0; i < SITES; i++) {
        sites->site[i].index = i;
        sites->site[i].hub = bus_memory_hub_open();
        sites->site[i].database = memory_database_new();
        sites->site[i].shards = i == US ? SHARDS_US : SHARDS_EU;
    }
    for (int i = 0; i < SITES; i++)
        site_start(i);
    return 0;
}

int sites_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < SITES; i++) {
        if (sites->site[i].up)
            site_stop(i);
    }
    for (int i = 0; i < SITES; i++) {
        bus_memory_hub_close(sites->site[i].hub);
        memory_database_free(sites->site[i].database);
    }
    arena_release(&sites->arena);
    mem_free(sites);
    sites = NULL;
    return 0;
}

/* ---- namespaces ------------------------------------------------------------------------------ */

static enum err change_create(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    (void)text;
    const int *active = ctx;
    assert_null(present);
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    record__namespace__init(record);
    record->format = 1;
    record->id.len = 16;
    record->id.data = arena_copy(arena, sites->namespace_id.bytes, 16);
    record->name = arena_strdup(arena, NAMESPACE);
    record->retention_ms = 24 * 3600 * 1000;
    record->n_clusters = SITES;
    record->clusters = arena_zalloc(arena, SITES, sizeof(char *));
    for (int i = 0; i < SITES; i++)
        record->clusters[i] = arena_strdup(arena, names[i]);
    record->active_cluster = arena_strdup(arena, names[*active]);
    record->global = true;
    record->config_version = 1;
    record->failover_version = *active + 1;
    *ret_record = record;
    return OK;
}

static bool namespace_is_everywhere(void *ctx)
{
    const char *active = ctx;
    for (int i = 0; i < SITES; i++) {
        struct namespace_view *view = registry_view(sites->site[i].registry, NAMESPACE);
        bool known = view && strcmp(view->active_cluster, active) == 0;
        namespace_view_unref(view);
        if (sites->site[i].up && !known)
            return false;
    }
    return true;
}

void sites_namespace(int active)
{
    sites->namespace_id = uuid_new(&sites->env);
    registry_change(sites->site[active].registry, NAMESPACE, change_create, NULL, &active);
    sites_until(namespace_is_everywhere, (void *)(uintptr_t)names[active]);
}

static enum err change_activate(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    (void)text;
    const struct site *site = ctx;
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    *record = *present;
    record->active_cluster = arena_strdup(arena, names[site->index]);
    record->failover_version =
        federation_next_version(&site->federation, site->index, present->failover_version);
    *ret_record = record;
    return OK;
}

static bool is_active(void *ctx)
{
    struct site *site = ctx;
    struct namespace_view *view = registry_view(site->registry, NAMESPACE);
    bool active = view && view->active;
    namespace_view_unref(view);
    return active;
}

void sites_activate(int index)
{
    struct site *site = &sites->site[index];
    registry_change(site->registry, NAMESPACE, change_activate, NULL, site);
    sites_until(is_active, site);
}

/* ---- looking --------------------------------------------------------------------------------- */

void site_store(int index, struct store_op *op)
{
    op->arena = &sites->arena;
    assert_int_equal(store_run(sites->site[index].store, op), OK);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *row_text(const struct store_row *row)
{
    struct buffer text = {0};
    for (size_t i = 0; i < row->key.len; i++)
        buffer_printf(&text, "%02x", row->key.data[i]);
    buffer_printf(
        &text, " %zu %016llx\n", row->value.len, (unsigned long long)hash64(row->value, 0));
    char *copy = bytes_string(&sites->arena, buffer_view(&text));
    buffer_release(&text);
    return copy;
}

const char *site_table(int index, enum table table)
{
    static char *lines[4096];
    size_t count = 0;
    for (int32_t i = 0; i < sites->site[index].shards; i++) {
        struct store_op op = {.kind = STORE_SCAN};
        op.scan = (struct store_scan){.table = table, .shard = i, .limit_rows = UINT32_MAX};
        site_store(index, &op);
        for (size_t k = 0; k < op.scan.row_count; k++) {
            assert_true(count < ARRAY_LEN(lines));
            lines[count++] = row_text(&op.scan.rows[k]);
        }
    }
    qsort(lines, count, sizeof(lines[0]), compare_text);
    struct buffer text = {0};
    for (size_t i = 0; i < count; i++)
        buffer_append(&text, lines[i], strlen(lines[i]));
    char *copy = bytes_string(&sites->arena, buffer_view(&text));
    buffer_release(&text);
    return copy;
}

size_t site_rows(int index, enum table table)
{
    const char *text = site_table(index, table);
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

void assert_alike(void)
{
    assert_string_equal(site_table(US, TABLE_HISTORY), site_table(EU, TABLE_HISTORY));
    assert_string_equal(site_table(US, TABLE_CURRENT_RUN), site_table(EU, TABLE_CURRENT_RUN));
}

/* ---- outbox ---------------------------------------------------------------------------------- */

static bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

struct outbox_work {
    struct shard_work work;
    struct effect effect;
    Record__OutboxItem *item;
    bool done;
};

static void outbox_added(struct effect *effect, enum err err)
{
    assert_int_equal(err, OK);
    CONTAINER_OF(effect, struct outbox_work, effect)->done = true;
}

static struct effect *outbox_add(
    struct shard_work *work, struct executor *executor, struct commit *commit)
{
    (void)commit;
    struct outbox_work *add = CONTAINER_OF(work, struct outbox_work, work);
    executor_outbox_add(executor, work->shard, add->item);
    add->effect.fire = outbox_added;
    return &add->effect;
}

void site_outbox_add(int index, int32_t shard, Record__OutboxItem *item)
{
    struct outbox_work add = {.work = {.shard = shard, .fn = outbox_add}, .item = item};
    assert_int_equal(engine_shard_work(sites->site[index].engine, &add.work), OK);
    sites_until(is_true, &add.done);
}
