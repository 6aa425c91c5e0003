/* SPDX-License-Identifier: Apache-2.0
 *
 * Conformance: random commits on the driver and on the memory driver give equal results and leave
 * equal databases.
 */
#include <string.h>

#include "cluster/store/tests/store_fixture.h"

#define SHARDS      3
#define KEYS        14
#define NAMESPACES  2
#define COMMITS     120
#define CHANGES_MAX 40

/** What the next change of a key may be. */
struct key_state {
    bool exists;
    bool touched; /* by the commit under construction */
    bool dead;    /* deleted by it although missing: only a PUT may follow */
};

struct world {
    struct random random;
    struct shard shards[SHARDS];
    struct shard models[SHARDS];
    struct key_state keys[TABLE_COUNT][SHARDS][KEYS];
    struct key_state runs[SHARDS][KEYS]; /* visibility */
    struct uuid namespaces[NAMESPACES];
    struct uuid run_ids[SHARDS][KEYS];
    bool broken; /* the commit holds a change that must fail it */
};

/** Keys of different lengths, prefixes of each other, with zeros. */
static struct bytes world_key(size_t number)
{
    static const uint8_t data[] = {0, 1, 0xff, 'a', 'A', 0x80, ' ', 0, 0};
    return bytes_make(data + number % 7, 1 + number / 7);
}

static struct uuid world_namespace(const struct world *world, size_t key)
{
    return world->namespaces[key % NAMESPACES];
}

static int64_t world_time(struct world *world)
{
    return random_below(&world->random, 3) == 0 ? DUE_NONE
                                                : (int64_t)random_below(&world->random, 20) - 3;
}

/** Picks a mode that the state of the key permits, and moves the state on. */
static enum commit_mode choose_mode(struct world *world, struct key_state *key, bool put)
{
    uint64_t dice = random_below(&world->random, 10);
    enum commit_mode mode = key->exists ? COMMIT_UPDATE : COMMIT_INSERT;
    if (dice < 3)
        mode = COMMIT_DELETE;
    else if ((dice == 4 || key->dead) && put)
        mode = COMMIT_PUT;
    else if (key->dead)
        mode = COMMIT_DELETE;
    if (!world->broken && !key->touched && random_below(&world->random, 400) == 0) {
        world->broken = true;
        mode = key->exists ? COMMIT_INSERT : COMMIT_UPDATE;
    }
    key->dead = mode == COMMIT_DELETE && (!key->exists || key->dead);
    key->exists = mode != COMMIT_DELETE;
    key->touched = true;
    return mode;
}

static void add_change(struct world *world, struct commit *commit)
{
    struct random *random = &world->random;
    enum table table = (enum table)random_below(random, TABLE_COUNT);
    size_t shard = random_below(random, SHARDS);
    size_t number = random_below(random, KEYS);
    struct key_state *key = &world->keys[table][shard][number];
    if ((table == TABLE_HISTORY || table == TABLE_OUTBOX) && key->touched)
        return;
    shard_section(commit, &world->shards[shard]);
    enum commit_mode mode = choose_mode(world, key, true);
    bool large = random_below(random, 50) == 0;
    struct commit_row row = {
        .table = table,
        .mode = mode,
        .shard = world->shards[shard].shard,
        .key = world_key(number),
        .value = random_bytes(random, &commit->arena, random_below(random, large ? 20000 : 60)),
        .namespace_id = world_namespace(world, number),
        .due_ns = world_time(world),
        .expire_ns = world_time(world),
        .index_changed = random_below(random, 2),
    };
    commit_write(commit, &row);
}

static void add_range(struct world *world, struct commit *commit)
{
    struct random *random = &world->random;
    enum table table = (enum table)random_below(random, TABLE_COUNT);
    size_t shard = random_below(random, SHARDS);
    struct commit_range range = {
        .table = table,
        .shard = world->shards[shard].shard,
        .from = world_key(random_below(random, KEYS)),
        .to = world_key(random_below(random, KEYS)),
    };
    shard_section(commit, &world->shards[shard]);
    commit_delete_range(commit, &range);
    for (size_t i = 0; i < KEYS; i++) {
        struct bytes key = world_key(i);
        if (bytes_compare(key, range.from) >= 0 && bytes_compare(key, range.to) < 0) {
            world->keys[table][shard][i].exists = false;
            world->keys[table][shard][i].dead = false;
        }
    }
}

static void add_visibility(struct world *world, struct commit *commit)
{
    struct random *random = &world->random;
    size_t shard = random_below(random, SHARDS);
    size_t number = random_below(random, KEYS);
    struct key_state *key = &world->runs[shard][number];
    shard_section(commit, &world->shards[shard]);
    struct bytes text = random_bytes(random, &commit->arena, random_below(random, 30));
    struct visibility_row row = {
        .shard = world->shards[shard].shard,
        .run_id = world->run_ids[shard][number],
        .namespace_id = world_namespace(world, number),
        .workflow_id = text,
        .workflow_type = bytes_of("type"),
        .status = (int32_t)random_below(random, 8),
        .start_ns = (int64_t)random_below(random, 5),
        .execution_ns = (int64_t)random_below(random, 5),
        .close_ns = world_time(world),
        .memo = text,
    };
    commit_visibility(
        commit, &(struct commit_visibility){.mode = choose_mode(world, key, false), .row = row});
}

static void begin_commit(struct world *world)
{
    world->broken = false;
    for (int table = 0; table < TABLE_COUNT; table++) {
        for (size_t shard = 0; shard < SHARDS; shard++) {
            for (size_t i = 0; i < KEYS; i++) {
                world->keys[table][shard][i].touched = false;
                world->keys[table][shard][i].dead = false;
                world->runs[shard][i].touched = false;
                world->runs[shard][i].dead = false;
            }
        }
    }
}

static void random_commit(struct world *world, struct commit *commit)
{
    begin_commit(world);
    size_t changes = 1 + random_below(&world->random, CHANGES_MAX);
    for (size_t i = 0; i < changes; i++) {
        uint64_t dice = random_below(&world->random, 20);
        if (dice == 0)
            add_range(world, commit);
        else if (dice < 4)
            add_visibility(world, commit);
        else
            add_change(world, commit);
    }
}

static void expect_visibility(struct store *store, struct store *model, struct uuid namespace_id)
{
    struct store_op ops[2];
    struct store *stores[2] = {store, model};
    for (size_t i = 0; i < 2; i++) {
        ops[i] = (struct store_op){.kind = STORE_LIST,
            .arena = &fixture.arena,
            .list = {.namespace_id = namespace_id, .limit_rows = 1000}};
        run_ok(stores[i], &ops[i]);
    }
    assert_int_equal(ops[0].list.row_count, ops[1].list.row_count);
    for (size_t i = 0; i < ops[0].list.row_count; i++) {
        const struct visibility_row *a = &ops[0].list.rows[i];
        const struct visibility_row *b = &ops[1].list.rows[i];
        assert_int_equal(a->shard, b->shard);
        assert_true(uuid_equal(a->run_id, b->run_id));
        assert_true(bytes_equal(a->workflow_id, b->workflow_id));
        assert_true(bytes_equal(a->memo, b->memo));
        assert_int_equal(a->status, b->status);
        assert_int_equal(a->close_ns, b->close_ns);
    }
}

static void expect_due_equal(struct store *store, struct store *model, struct store_due due)
{
    struct store_due a = due_rows(store, due);
    struct store_due b = due_rows(model, due);
    assert_int_equal(a.more, b.more);
    expect_rows_equal(a.rows, a.row_count, b.rows, b.row_count);
}

static void expect_equal(const struct world *world)
{
    struct store *store = world->shards[0].store;
    struct store *model = world->models[0].store;
    for (size_t i = 0; i < SHARDS; i++) {
        int32_t shard = world->shards[i].shard;
        for (int table = 0; table < TABLE_COUNT; table++) {
            struct store_scan a = scan_all(store, (enum table)table, shard);
            struct store_scan b = scan_all(model, (enum table)table, shard);
            expect_rows_equal(a.rows, a.row_count, b.rows, b.row_count);
        }
        struct store_due due = {
            .shard = shard, .from_ns = -2, .to_ns = 12, .limit_rows = (uint32_t)(1 + i * 5)};
        expect_due_equal(store, model, due);
        due.expiry = true;
        expect_due_equal(store, model, due);
        due.expiry = false;
        for (size_t n = 0; n < NAMESPACES; n++) {
            due.namespace_id = world->namespaces[n];
            expect_due_equal(store, model, due);
        }
    }
    for (size_t n = 0; n < NAMESPACES; n++)
        expect_visibility(store, model, world->namespaces[n]);
}

static void world_begin(struct world *world, struct store *model)
{
    memset(world, 0, sizeof(*world));
    world->random = random_begin("model");
    for (size_t i = 0; i < NAMESPACES; i++)
        world->namespaces[i] = random_uuid(&world->random);
    for (size_t i = 0; i < SHARDS; i++) {
        world->shards[i] = shard_take(fixture.store);
        world->models[i] = world->shards[i];
        world->models[i].store = model;
        shard_retake(&world->models[i]);
        for (size_t j = 0; j < KEYS; j++)
            world->run_ids[i][j] = random_uuid(&world->random);
    }
}

static void test_model(void **state)
{
    (void)state;
    char text[256];
    struct store *model = NULL;
    struct store_options options = {.driver = store_driver_memory()};
    expect_err(OK, store_open(&options, &model, text), text, __FILE__, __LINE__);
    struct world *world = arena_new(&fixture.arena, struct world);
    struct world *before = arena_new(&fixture.arena, struct world);
    world_begin(world, model);
    struct commit commit;
    commit_init(&commit);
    int refused = 0;
    for (int i = 0; i < COMMITS; i++) {
        commit_reset(&commit);
        *before = *world;
        random_commit(world, &commit);
        enum err expected = run_commit(model, &commit);
        assert_int_equal(run_commit(fixture.store, &commit), expected);
        if (expected) {
            struct random random = world->random;
            *world = *before;
            world->random = random;
            refused++;
        }
        for (size_t j = 0; j < commit.section_count && expected == OK; j++) {
            for (size_t k = 0; k < SHARDS; k++) {
                if (world->shards[k].shard == commit.sections[j].shard)
                    world->shards[k].commit_no++;
            }
        }
        if (i % 10 == 9)
            expect_equal(world);
    }
    print_message("%d of %d commits refused\n", refused, COMMITS);
    assert_true(refused < COMMITS / 2);
    commit_release(&commit);
    store_close(model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_model),
};

const struct conformance_tests conform_model = {tests, ARRAY_LEN(tests)};
