/* SPDX-License-Identifier: Apache-2.0 */
#include "replicator/tests/apply_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/store/store_memory.h"

#define START_NS (1700000000ll * NS_PER_S)
#define SHARDS   4

/* A question to the source that waits for its answer. */
struct question {
    struct list link;
    Replication__FetchHistory *request; /* NULL: for the namespace */
    void (*fetched)(void *ctx, const Replication__HistoryRange *range, bool gone);
    void (*known)(void *ctx, bool known);
    void *ctx;
};

struct surroundings {
    struct place place;
    struct memory_database *database;
    struct federation federation;
    struct federation_cluster clusters[3];
    struct engine *engine;
    struct mailbox *mailbox;
    struct list sent;
    struct list questions;
    int64_t seq;
};

struct place *place;
static struct surroundings *all;

/* ---- clock and chance ------------------------------------------------------------------------ */

static int64_t now(void *ctx)
{
    (void)ctx;
    return place->now_ns;
}

uint64_t place_random(uint64_t bound)
{
    place->random = place->random * 6364136223846793005ull + 1442695040888963407ull;
    return (place->random >> 33) % bound;
}

static void random_bytes(void *ctx, void *ret_data, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)ret_data)[i] = (uint8_t)place_random(256);
}

/* ---- the source ------------------------------------------------------------------------------ */

static const struct line *line_of(const ProtobufCBinaryData *run_id)
{
    for (struct list *node = place->lines.next; node != &place->lines; node = node->next) {
        const struct line *line = CONTAINER_OF(node, struct line, link);
        if (memcmp(line->run_id.bytes, run_id->data, 16) == 0)
            return line;
    }
    return NULL;
}

static ProtobufCBinaryData binary(struct bytes view)
{
    return (ProtobufCBinaryData){view.len, (uint8_t *)(uintptr_t)view.data};
}

static size_t copy_items(const struct line *line, Record__VersionItem ***ret_items)
{
    *ret_items = arena_zalloc(&place->arena, line->item_count + 1, sizeof(**ret_items));
    for (size_t i = 0; i < line->item_count; i++) {
        Record__VersionItem *item = arena_new(&place->arena, Record__VersionItem);
        record__version_item__init(item);
        item->event_id = line->items[i].event_id;
        item->version = line->items[i].version;
        (*ret_items)[i] = item;
    }
    return line->item_count;
}

static void answer_fetch(const struct question *question)
{
    const Replication__FetchHistory *request = question->request;
    if (place->source_down) {
        question->fetched(question->ctx, NULL, false);
        return;
    }
    const struct line *line = line_of(&request->run_id);
    if (!line || place->source_forgot) {
        question->fetched(question->ctx, NULL, true);
        return;
    }
    Replication__HistoryRange range;
    replication__history_range__init(&range);
    range.n_version_history = copy_items(line, &range.version_history);
    range.batches = arena_zalloc(&place->arena, LINE_BATCHES_MAX, sizeof(*range.batches));
    int64_t to = request->to_event_id ? request->to_event_id : INT64_MAX;
    for (size_t i = 0; i < line->batch_count; i++) {
        if (line->firsts[i] < request->from_event_id || line->firsts[i] >= to ||
            (place->page && range.n_batches == place->page))
            continue;
        range.batches[range.n_batches++] = binary(blob_view(line->batches[i]));
    }
    question->fetched(question->ctx, &range, false);
}

static void answer_namespace(const struct question *question)
{
    bool known = place->known_there && !place->source_down;
    if (known)
        registry_merge(place->registry, place->known_there, NULL, NULL);
    /* As the product does: told when the merge is stored. */
    for (int i = 0; i < 20 && known; i++) {
        for (int k = 0; k < engine_executor_count(all->engine); k++)
            executor_step(engine_executor(all->engine, k), place->now_ns);
        store_step(place->store, 1000);
    }
    question->known(question->ctx, known);
}

static void fetch(void *ctx, int source, const Replication__FetchHistory *request,
    void (*done)(void *done_ctx, const Replication__HistoryRange *range, bool gone), void *done_ctx)
{
    (void)ctx;
    assert_int_equal(source, US);
    place->fetches++;
    struct question *question = arena_new(&place->arena, struct question);
    question->fetched = done;
    question->ctx = done_ctx;
    question->request = proto_unpack(&place->arena, &replication__fetch_history__descriptor,
        proto_pack(&place->arena, &request->base));
    list_push_back(&all->questions, &question->link);
}

static void need_namespace(void *ctx, int source, struct uuid namespace_id,
    void (*done)(void *done_ctx, bool known), void *done_ctx)
{
    (void)ctx;
    assert_int_equal(source, US);
    assert_true(uuid_equal(namespace_id, place->namespace_id));
    place->namespace_asks++;
    struct question *question = arena_new(&place->arena, struct question);
    question->known = done;
    question->ctx = done_ctx;
    list_push_back(&all->questions, &question->link);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool step_once(void)
{
    place->now_ns += 1000;
    bool moved = mailbox_step(all->mailbox, 1000) > 0;
    for (int i = 0; i < engine_executor_count(all->engine); i++)
        executor_step(engine_executor(all->engine, i), place->now_ns);
    moved |= store_step(place->store, 1000) > 0;
    struct list *node = list_pop_front(&all->questions);
    if (!node)
        return moved;
    const struct question *question = CONTAINER_OF(node, struct question, link);
    if (question->request)
        answer_fetch(question);
    else
        answer_namespace(question);
    return true;
}

void place_settle(void)
{
    int quiet = 0;
    for (int i = 0; i < 100000 && quiet < 6; i++)
        quiet = step_once() ? 0 : quiet + 1;
    assert_int_equal(quiet, 6);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void open_engine(void)
{
    char text[256];
    struct engine_options engine = {.env = &place->env,
        .store = place->store,
        .metrics = place->metrics,
        .namespaces = registry_source(place->registry),
        .cluster_name = "eu",
        .node_id = "node",
        .shards = SHARDS,
        .executors = 2,
        .cache_bytes_max = 64u * MIB};
    assert_int_equal(engine_open(&engine, &all->engine, text), OK);
    registry_set_engine(place->registry, all->engine);
    apply_set_engine(place->apply, all->engine);
    engine_start(all->engine);
    for (int i = 0; i < 1000 && !engine_is_ready(all->engine); i++)
        step_once();
    assert_true(engine_is_ready(all->engine));
}

static void open_all(void)
{
    char text[256];
    struct store_options memory = {.driver = store_driver_memory(),
        .driver_ctx = all->database,
        .readers = 1,
        .writers = 1,
        .migrate = true};
    struct store_options options;
    place->fault = store_fault_new(&memory, 1);
    store_fault_options(place->fault, &options);
    assert_int_equal(store_open(&options, &place->store, text), OK);
    place->metrics = metrics_open();
    all->mailbox = mailbox_open(NULL, NULL, 10000);
    assert_int_equal(
        registry_open(&place->env, &all->federation, place->store, &place->registry, text), OK);
    struct apply_options apply = {.env = &place->env,
        .registry = place->registry,
        .federation = &all->federation,
        .store = place->store,
        .metrics = place->metrics,
        .mailbox = all->mailbox,
        .shards = SHARDS,
        .hooks = {NULL, fetch, need_namespace}};
    assert_int_equal(apply_open(&apply, &place->apply, text), OK);
    open_engine();
}

static void close_all(void)
{
    engine_stop(all->engine);
    for (int i = 0; i < 1000 && !engine_is_idle(all->engine); i++)
        step_once();
    assert_true(engine_is_idle(all->engine));
    mailbox_step(all->mailbox, 100000);
    apply_close(place->apply);
    engine_close(all->engine);
    store_close(place->store);
    store_fault_free(place->fault);
    registry_close(place->registry);
    mailbox_close(all->mailbox, NULL);
    metrics_close(place->metrics);
    list_init(&all->questions);
}

int place_setup(void **state)
{
    (void)state;
    all = mem_new(struct surroundings);
    place = &all->place;
    place->now_ns = START_NS;
    place->random = 7;
    place->env = (struct env){NULL, now, now, random_bytes};
    all->clusters[US] = (struct federation_cluster){.name = "us", .initial_version = 1};
    all->clusters[EU] = (struct federation_cluster){.name = "eu", .initial_version = 2};
    all->clusters[AP] = (struct federation_cluster){.name = "ap", .initial_version = 3};
    all->federation =
        (struct federation){.increment = 10, .self = EU, .count = 3, .clusters = all->clusters};
    list_init(&place->lines);
    list_init(&all->sent);
    list_init(&all->questions);
    place->namespace_id = uuid_new(&place->env);
    all->database = memory_database_new();
    open_all();
    place_merge(place_record("us", 1, true));
    return 0;
}

int place_teardown(void **state)
{
    (void)state;
    close_all();
    while (!list_empty(&all->sent))
        mem_free(CONTAINER_OF(list_pop_front(&all->sent), struct sent, link));
    while (!list_empty(&place->lines))
        line_free(CONTAINER_OF(list_pop_front(&place->lines), struct line, link));
    memory_database_free(all->database);
    arena_release(&place->arena);
    mem_free(all);
    return 0;
}

void place_restart(void)
{
    close_all();
    open_all();
    place_settle();
}

Record__Namespace *place_record(const char *active, int64_t version, bool with_eu)
{
    struct arena *arena = &place->arena;
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    record__namespace__init(record);
    record->format = 1;
    record->id = binary(uuid_view(&place->namespace_id));
    record->name = arena_strdup(arena, "orders");
    record->clusters = arena_zalloc(arena, 3, sizeof(char *));
    record->clusters[record->n_clusters++] = arena_strdup(arena, "us");
    record->clusters[record->n_clusters++] = arena_strdup(arena, with_eu ? "eu" : "ap");
    record->active_cluster = arena_strdup(arena, active);
    record->global = true;
    record->retention_ms = 24ll * 3600 * 1000;
    record->failover_version = version;
    record->config_version = with_eu ? 1 : 2;
    return record;
}

void place_merge(Record__Namespace *record)
{
    registry_merge(place->registry, record, NULL, NULL);
    place_settle();
}

/* ---- sending --------------------------------------------------------------------------------- */

Replication__Item *item_new(const struct line *line, Record__OutboxItem__Kind kind)
{
    Replication__Item *item = arena_new(&place->arena, Replication__Item);
    replication__item__init(item);
    item->seq = ++all->seq;
    item->kind = kind;
    item->namespace_id = binary(uuid_view(&place->namespace_id));
    item->workflow_id = arena_strdup(&place->arena, line->workflow_id);
    item->run_id = binary(uuid_view(&line->run_id));
    item->n_version_history = copy_items(line, &item->version_history);
    item->version = line->item_count ? line->items[line->item_count - 1].version : line->version;
    return item;
}

Replication__Item *item_batch(const struct line *line, size_t number)
{
    Replication__Item *item = item_new(line, ITEM(EVENTS));
    item->value = binary(blob_view(line->batches[number]));
    return item;
}

Replication__Item *item_activity(const struct line *line, const Record__ActivityFact *fact)
{
    Replication__Item *item = item_new(line, ITEM(ACTIVITY));
    item->fact_id = fact->scheduled_event_id;
    item->value = binary(proto_pack(&place->arena, &fact->base));
    return item;
}

Replication__Item *item_buffered(const struct line *line, const Record__BufferedFact *fact)
{
    Replication__Item *item = item_new(line, ITEM(BUFFERED));
    item->fact_id = fact->id;
    item->value = binary(proto_pack(&place->arena, &fact->base));
    return item;
}

static void on_done(struct apply_item *item)
{
    struct sent *sent = CONTAINER_OF(item, struct sent, item);
    assert_false(sent->done);
    sent->done = true;
}

struct sent *send_item(Replication__Item *message)
{
    struct sent *sent = mem_new(struct sent);
    list_push_back(&all->sent, &sent->link);
    sent->message = message;
    sent->item = (struct apply_item){
        .item = message, .source = US, .source_shard = 5, .epoch = 1, .done = on_done};
    assert_int_equal(apply_submit(place->apply, &sent->item), OK);
    assert_false(sent->done);
    return sent;
}

struct sent *send_batch(const struct line *line, size_t number)
{
    return send_item(item_batch(line, number));
}

void assert_outcome(const struct sent *sent, enum apply_outcome outcome)
{
    assert_true(sent->done);
    if (sent->item.outcome != outcome && sent->item.reason)
        print_message("reason: %s\n", sent->item.reason);
    assert_int_equal(sent->item.outcome, outcome);
}

void assert_dead(const struct sent *sent, const char *reason)
{
    assert_outcome(sent, APPLY_DEAD_LETTERED);
    assert_string_equal(sent->item.reason, reason);
}

void apply_expect(Replication__Item *item, enum apply_outcome outcome)
{
    const struct sent *sent = send_item(item);
    place_settle();
    assert_outcome(sent, outcome);
    assert_int_equal(apply_pending(place->apply), 0);
}

void apply_batch(const struct line *line, size_t number)
{
    apply_expect(item_batch(line, number), APPLY_DONE);
}

void apply_line(const struct line *line)
{
    for (size_t i = 0; i < line->batch_count; i++)
        send_batch(line, i);
    place_settle();
    assert_complete(line);
}

/* ---- looking --------------------------------------------------------------------------------- */

struct look {
    struct request request;
    struct seen seen;
    bool done;
};

static void on_look(struct decision *d, struct request *request)
{
    struct look *look = CONTAINER_OF(request, struct look, request);
    const struct run *run = d->run;
    look->done = true;
    if (!run)
        return;
    look->seen = (struct seen){.exists = true,
        .current = d->current == run,
        .open = run_is_open(run),
        .zombie = run->zombie,
        .next = run_next_event_id(run),
        .digest = run_branch(run)->digest,
        .buffered = run->buffered_count,
        .activities = run->activities.count};
    size_t cursor = 0;
    const struct activity *activity = map_next(&run->activities, &cursor);
    if (!activity)
        return;
    look->seen.attempt = activity->attempt;
    look->seen.started = activity->started;
    look->seen.stamp = activity->stamp;
}

static void on_look_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)executor;
    (void)request;
    fail_msg("%s: %s", err_name(err), text);
}

struct seen see(const struct line *line)
{
    struct look look = {.request = {.namespace_id = place->namespace_id,
                            .workflow_id = bytes_of(line->workflow_id),
                            .want = REQUEST_RUN,
                            .access = REQUEST_READ,
                            .run_id = line->run_id,
                            .handle = on_look,
                            .failed = on_look_failed}};
    assert_int_equal(engine_submit(all->engine, &look.request), OK);
    place_settle();
    assert_true(look.done);
    return look.seen;
}

void assert_complete(const struct line *line)
{
    struct seen seen = see(line);
    assert_true(seen.exists);
    assert_int_equal(seen.next, line->next);
    assert_true(seen.digest == line->digest);
}

size_t rows_of(enum table table, struct bytes prefix)
{
    size_t count = 0;
    for (int32_t shard = 0; shard < SHARDS; shard++) {
        struct store_op op = {.kind = STORE_SCAN,
            .arena = &place->arena,
            .scan = {.table = table, .shard = shard, .limit_rows = 100000}};
        assert_int_equal(store_run(place->store, &op), OK);
        for (size_t i = 0; i < op.scan.row_count; i++) {
            struct bytes key = op.scan.rows[i].key;
            count += key.len >= prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0;
        }
    }
    return count;
}
