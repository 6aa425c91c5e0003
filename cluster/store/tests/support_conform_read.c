/* SPDX-License-Identifier: Apache-2.0
 *
 * Conformance: gets, scans, the due and expiry indexes, binary keys.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/store/tests/store_fixture.h"

static struct commit_row run_row(const struct shard *shard, enum commit_mode mode,
    struct uuid namespace_id, struct bytes key, int64_t due_ns, int64_t expire_ns)
{
    return (struct commit_row){
        .table = TABLE_RUN,
        .mode = mode,
        .shard = shard->shard,
        .key = key,
        .value = bytes_of("state"),
        .namespace_id = namespace_id,
        .due_ns = due_ns,
        .expire_ns = expire_ns,
        .index_changed = true,
    };
}

static void commit_one(struct shard *shard, const struct commit_row *row)
{
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, shard);
    commit_write(&commit, row);
    assert_int_equal(shard_commit(shard, &commit), OK);
    commit_release(&commit);
}

static void test_get_many(void **state)
{
    (void)state;
    struct shard a = shard_take(fixture.store);
    struct shard b = shard_take(fixture.store);
    assert_int_equal(shard_write(&a, TABLE_FACT, COMMIT_INSERT, "k", "a.k"), OK);
    assert_int_equal(shard_write(&b, TABLE_FACT, COMMIT_INSERT, "k", "b.k"), OK);
    assert_int_equal(shard_write(&a, TABLE_SNAPSHOT, COMMIT_INSERT, "k", "a.snapshot"), OK);
    struct uuid namespace_id = {.bytes = {7}};
    struct commit_row run = run_row(&a, COMMIT_INSERT, namespace_id, bytes_of("k"), 10, DUE_NONE);
    commit_one(&a, &run);
    struct store_get keys[] = {
        {.table = TABLE_FACT, .shard = b.shard, .key = bytes_of("k")},
        {.table = TABLE_RUN, .shard = a.shard, .key = bytes_of("k")},
        {.table = TABLE_FACT, .shard = a.shard, .key = bytes_of("missing")},
        {.table = TABLE_FACT, .shard = a.shard, .key = bytes_of("k")},
        {.table = TABLE_SNAPSHOT, .shard = a.shard, .key = bytes_of("k")},
        {.table = TABLE_FACT, .shard = a.shard, .key = bytes_of("k")}, /* repeated */
        {.table = TABLE_FACT, .shard = a.shard, .key = bytes_of("missing")},
        {.table = TABLE_RUN, .shard = b.shard, .key = bytes_of("k")},
    };
    static const char *const values[] = {
        "b.k", "state", NULL, "a.k", "a.snapshot", "a.k", NULL, NULL};
    /* Results do not depend on what was in the structs. */
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        memset(&keys[i].row, 0xa5, sizeof(keys[i].row));
    struct store_op op = {.kind = STORE_GET,
        .arena = &fixture.arena,
        .get = {.keys = keys, .count = ARRAY_LEN(keys)}};
    run_ok(fixture.store, &op);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct store_row *row = &keys[i].row;
        assert_int_equal(row->found, values[i] != NULL);
        assert_true(bytes_equal(row->value, bytes_of(values[i])));
        assert_true(bytes_equal(row->key, keys[i].key));
        assert_int_equal(row->due_ns, i == 1 ? 10 : DUE_NONE);
        assert_int_equal(row->expire_ns, DUE_NONE);
        assert_true(uuid_equal(row->namespace_id, i == 1 ? namespace_id : (struct uuid){{0}}));
    }
    op.get.count = 0;
    run_ok(fixture.store, &op);
}

/** Keys that a text collation, C strings or signed bytes would mix up, in their order. */
static const struct bytes tricky_keys[] = {
#define TRICKY(text)                              \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }
    TRICKY("\0"),
    TRICKY("\0\0"),
    TRICKY("\0a"),
    TRICKY("\x01"),
    TRICKY(" "),
    TRICKY("%"),
    TRICKY("'; DROP TABLE run; --"),
    TRICKY("Order"),
    TRICKY("Order "),
    TRICKY("Order\0"),
    TRICKY("\\"),
    TRICKY("_"),
    TRICKY("a"),
    TRICKY("a\0b"),
    TRICKY("order"),
    TRICKY("order "),
    TRICKY("stra\xc3\x9f"
           "e"),
    TRICKY("strasse"),
    TRICKY("\x80"),
    TRICKY("\xff"),
    TRICKY("\xff\0"),
    TRICKY("\xff\xff"),
#undef TRICKY
};

static void test_binary_keys(void **state)
{
    (void)state;
    struct bytes keys[ARRAY_LEN(tricky_keys)];
    memcpy(keys, tricky_keys, sizeof(keys));
    for (size_t i = 1; i < ARRAY_LEN(keys); i++) {
        for (size_t j = i; j > 0 && bytes_compare(keys[j - 1], keys[j]) > 0; j--) {
            struct bytes swapped = keys[j];
            keys[j] = keys[j - 1];
            keys[j - 1] = swapped;
        }
    }
    struct shard shard = shard_take(fixture.store);
    static const enum table tables[] = {TABLE_CURRENT_RUN, TABLE_FACT, TABLE_RUN};
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        struct commit commit;
        commit_init(&commit);
        shard_section(&commit, &shard);
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            struct commit_row row =
                run_row(&shard, COMMIT_INSERT, (struct uuid){{0}}, keys[i], DUE_NONE, DUE_NONE);
            row.table = tables[t];
            row.value = keys[i];
            commit_write(&commit, &row);
        }
        assert_int_equal(shard_commit(&shard, &commit), OK);
        commit_release(&commit);
        struct store_scan scan = scan_all(shard.store, tables[t], shard.shard);
        assert_int_equal(scan.row_count, ARRAY_LEN(keys));
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            assert_true(bytes_equal(scan.rows[i].key, keys[i]));
            assert_true(bytes_equal(scan.rows[i].value, keys[i]));
            struct store_row row = get_row(shard.store, tables[t], shard.shard, keys[i]);
            assert_true(row.found);
            assert_true(bytes_equal(row.value, keys[i]));
            struct store_scan first = scan_rows(shard.store,
                (struct store_scan){
                    .table = tables[t], .shard = shard.shard, .from = keys[i], .limit_rows = 1});
            assert_int_equal(first.row_count, 1);
            assert_true(bytes_equal(first.rows[0].key, keys[i]));
        }
    }
}

static void test_longest_keys(void **state)
{
    (void)state;
    struct random random = random_begin("longest_keys");
    struct shard shard = shard_take(fixture.store);
    struct bytes key = random_bytes(&random, &fixture.arena, TABLE_KEY_BYTES_MAX);
    for (int i = 0; i < TABLE_COUNT; i++) {
        struct commit_row row = run_row(&shard, COMMIT_INSERT, random_uuid(&random), key, 1, 1);
        row.table = (enum table)i;
        commit_one(&shard, &row);
        assert_true(get_row(shard.store, (enum table)i, shard.shard, key).found);
    }
}

#define PAGING_ROWS 50

/** Reads a range page by page and checks that the pages are the rows in order. */
static void check_paging(const struct shard *shard, struct store_scan scan, int from, int to)
{
    struct bytes begin = scan.from;
    struct bytes end = scan.to;
    int next = scan.reverse ? to - 1 : from;
    for (;;) {
        scan.from = begin;
        scan.to = end;
        scan = scan_rows(shard->store, scan);
        size_t bytes = 0;
        for (size_t i = 0; i < scan.row_count; i++) {
            int64_t number;
            assert_true(key_read_i64(scan.rows[i].key, 0, &number));
            assert_int_equal(number, next);
            next += scan.reverse ? -1 : 1;
            assert_true(scan.limit_bytes == 0 || bytes <= scan.limit_bytes);
            bytes += scan.rows[i].key.len + scan.rows[i].value.len;
        }
        assert_true(scan.row_count <= scan.limit_rows);
        if (scan.more)
            assert_true(scan.row_count == scan.limit_rows ||
                        (scan.limit_bytes > 0 && bytes > scan.limit_bytes));
        if (!scan.more)
            break;
        if (scan.reverse)
            end = scan.rows[scan.row_count - 1].key;
        else
            begin = key_seq(&fixture.arena, next);
    }
    assert_int_equal(next, scan.reverse ? from - 1 : to);
}

static void test_scans(void **state)
{
    (void)state;
    struct shard before = shard_take(fixture.store);
    struct shard shard = shard_take(fixture.store);
    struct shard after = shard_take(fixture.store);
    static const enum table tables[] = {TABLE_OUTBOX, TABLE_RUN};
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        assert_int_equal(shard_write(&before, tables[t], COMMIT_INSERT, "\xff\xff", "x"), OK);
        assert_int_equal(shard_write(&after, tables[t], COMMIT_INSERT, "\x01", "x"), OK);
        struct commit commit;
        commit_init(&commit);
        shard_section(&commit, &shard);
        for (int i = 0; i < PAGING_ROWS; i++) {
            struct commit_row row = run_row(
                &shard, COMMIT_INSERT, (struct uuid){{1}}, key_seq(&commit.arena, i), i, DUE_NONE);
            row.table = tables[t];
            row.value = bytes_of(arena_printf(&commit.arena, "%0*d", i, i));
            commit_write(&commit, &row);
        }
        assert_int_equal(shard_commit(&shard, &commit), OK);
        commit_release(&commit);
        static const uint32_t limits[] = {1, 7, PAGING_ROWS - 1, PAGING_ROWS, 1000};
        static const size_t byte_limits[] = {0, 1, 40, 100, 100000};
        for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
            for (size_t j = 0; j < ARRAY_LEN(byte_limits); j++) {
                struct store_scan scan = {.table = tables[t], .shard = shard.shard};
                scan.limit_rows = limits[i];
                scan.limit_bytes = byte_limits[j];
                check_paging(&shard, scan, 0, PAGING_ROWS);
                scan.reverse = true;
                check_paging(&shard, scan, 0, PAGING_ROWS);
                scan.from = key_seq(&fixture.arena, 10);
                scan.to = key_seq(&fixture.arena, 40);
                check_paging(&shard, scan, 10, 40);
                scan.reverse = false;
                check_paging(&shard, scan, 10, 40);
            }
        }
        struct store_scan none = scan_rows(shard.store, (struct store_scan){.table = tables[t],
                                                            .shard = shard.shard,
                                                            .from = key_seq(&fixture.arena, 60),
                                                            .limit_rows = 5});
        assert_int_equal(none.row_count, 0);
        assert_false(none.more);
    }
}

static void expect_due(struct store_due due, const char *expected)
{
    struct store_due found = due_rows(fixture.store, due);
    char text[64] = "";
    for (size_t i = 0; i < found.row_count; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, "%.*s", (int)found.rows[i].key.len,
            (const char *)found.rows[i].key.data);
    }
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", found.more ? "+" : "");
    assert_string_equal(text, expected);
}

static void write_due_runs(struct shard *shard, struct uuid one, struct uuid two)
{
    const struct {
        const char *key;
        struct uuid namespace_id;
        int64_t due_ns;
        int64_t expire_ns;
    } runs[] = {
        {"a", one, 30, DUE_NONE},
        {"b", one, 10, 300},
        {"c", one, DUE_NONE, 100},
        {"d", two, 20, DUE_NONE},
        {"e", one, 20, 200},
        {"f", one, DUE_NONE, DUE_NONE},
        {"g", two, -5, DUE_NONE},
        {"h", one, 20, 200},
    };
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        struct commit_row row = run_row(shard, COMMIT_INSERT, runs[i].namespace_id,
            bytes_of(runs[i].key), runs[i].due_ns, runs[i].expire_ns);
        commit_one(shard, &row);
    }
}

static void test_due(void **state)
{
    (void)state;
    struct random random = random_begin("due");
    struct uuid one = random_uuid(&random);
    struct uuid two = random_uuid(&random);
    struct shard shard = shard_take(fixture.store);
    struct shard other = shard_take(fixture.store);
    write_due_runs(&shard, one, two);
    struct commit_row foreign = run_row(&other, COMMIT_INSERT, one, bytes_of("x"), 15, 150);
    commit_one(&other, &foreign);

    struct store_due due = {.shard = shard.shard,
        .namespace_id = one,
        .from_ns = INT64_MIN,
        .to_ns = INT64_MAX - 1,
        .limit_rows = 100};
    expect_due(due, "beha");
    due.to_ns = INT64_MAX; /* DUE_NONE is no time */
    expect_due(due, "beha");
    due.limit_rows = 3;
    expect_due(due, "beh+");
    due.limit_rows = 4;
    expect_due(due, "beha");
    due.from_ns = 11;
    due.to_ns = 29;
    expect_due(due, "eh");
    due.from_ns = 10;
    due.to_ns = 30;
    expect_due(due, "beha");
    due.namespace_id = two;
    expect_due(due, "d");
    due.namespace_id = (struct uuid){{0}};
    due.from_ns = INT64_MIN;
    due.limit_rows = 100;
    expect_due(due, "gbdeha");
    due.limit_rows = 2;
    expect_due(due, "gb+");
    due.namespace_id = two; /* ignored */
    due.expiry = true;
    due.to_ns = INT64_MAX;
    due.limit_rows = 100;
    expect_due(due, "cehb");
    due.from_ns = 150;
    due.to_ns = 200;
    expect_due(due, "eh");
    due.limit_rows = 1;
    expect_due(due, "e+");

    struct store_due found = due_rows(fixture.store, due);
    assert_true(uuid_equal(found.rows[0].namespace_id, one));
    assert_int_equal(found.rows[0].due_ns, 20);
    assert_int_equal(found.rows[0].expire_ns, 200);
    assert_true(bytes_equal(found.rows[0].value, bytes_of("state")));
}

/** index_changed decides whether an update touches the columns. */
static void test_index_changed(void **state)
{
    (void)state;
    struct uuid namespace_id = {.bytes = {1, 2, 3}};
    struct shard shard = shard_take(fixture.store);
    struct bytes key = bytes_of("k");
    struct commit_row row = run_row(&shard, COMMIT_INSERT, namespace_id, key, 10, DUE_NONE);
    row.index_changed = false; /* means nothing to an insert */
    commit_one(&shard, &row);
    struct store_due due = {.shard = shard.shard,
        .namespace_id = namespace_id,
        .from_ns = 0,
        .to_ns = INT64_MAX,
        .limit_rows = 10};
    expect_due(due, "k");
    row.mode = COMMIT_UPDATE;
    row.due_ns = DUE_NONE;
    row.expire_ns = 99;
    row.value = bytes_of("next");
    commit_one(&shard, &row);
    struct store_row stored = get_row(shard.store, TABLE_RUN, shard.shard, key);
    assert_true(bytes_equal(stored.value, bytes_of("next")));
    assert_int_equal(stored.due_ns, 10);
    assert_int_equal(stored.expire_ns, DUE_NONE);
    row.index_changed = true;
    commit_one(&shard, &row);
    stored = get_row(shard.store, TABLE_RUN, shard.shard, key);
    assert_int_equal(stored.due_ns, DUE_NONE);
    assert_int_equal(stored.expire_ns, 99);
    expect_due(due, "");
    due.expiry = true;
    expect_due(due, "k");
    row.mode = COMMIT_DELETE;
    commit_one(&shard, &row);
    expect_due(due, "");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_get_many),
    cmocka_unit_test(test_binary_keys),
    cmocka_unit_test(test_longest_keys),
    cmocka_unit_test(test_scans),
    cmocka_unit_test(test_due),
    cmocka_unit_test(test_index_changed),
};

const struct conformance_tests conform_read = {tests, ARRAY_LEN(tests)};
