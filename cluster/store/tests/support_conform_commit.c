/* SPDX-License-Identifier: Apache-2.0
 *
 * Conformance: what commits do, what makes them fail, and that failing leaves no trace.
 */
#include <string.h>

#include "cluster/store/tests/store_fixture.h"

static const enum table all_tables[] = {
#define TABLE_ITEM(id, name, key) id,
    TABLE_LIST(TABLE_ITEM)
#undef TABLE_ITEM
};

static struct commit_row make_row(const struct shard *shard, enum table table,
    enum commit_mode mode, const char *key, const char *value)
{
    return (struct commit_row){
        .table = table,
        .mode = mode,
        .shard = shard->shard,
        .key = bytes_of(key),
        .value = bytes_of(value),
        .due_ns = DUE_NONE,
        .expire_ns = DUE_NONE,
    };
}

static void add_row(struct commit *commit, const struct shard *shard, enum table table,
    enum commit_mode mode, const char *key, const char *value)
{
    struct commit_row row = make_row(shard, table, mode, key, value);
    commit_write(commit, &row);
}

static void test_modes(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    for (size_t i = 0; i < ARRAY_LEN(all_tables); i++) {
        enum table table = all_tables[i];
        assert_int_equal(shard_write(&shard, table, COMMIT_INSERT, "a", "one"), OK);
        expect_row(shard.store, table, shard.shard, "a", "one");
        assert_int_equal(shard_write(&shard, table, COMMIT_UPDATE, "a", "two"), OK);
        expect_row(shard.store, table, shard.shard, "a", "two");
        assert_int_equal(shard_write(&shard, table, COMMIT_PUT, "a", "three"), OK);
        expect_row(shard.store, table, shard.shard, "a", "three");
        assert_int_equal(shard_write(&shard, table, COMMIT_PUT, "b", "new"), OK);
        expect_row(shard.store, table, shard.shard, "b", "new");
        assert_int_equal(shard_write(&shard, table, COMMIT_DELETE, "a", NULL), OK);
        expect_row(shard.store, table, shard.shard, "a", NULL);
        assert_int_equal(shard_write(&shard, table, COMMIT_DELETE, "a", NULL), OK);
        assert_int_equal(scan_all(shard.store, table, shard.shard).row_count, 1);
    }
}

/** An update with the value that is stored already changes nothing, but the row is there. */
static void test_update_with_same_value(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_INSERT, "a", "same"), OK);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "same"), OK);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_PUT, "a", "same"), OK);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_PUT, "a", "same"), OK);
}

static void test_empty_values(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "a", ""), OK);
    expect_row(shard.store, TABLE_FACT, shard.shard, "a", "");
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_UPDATE, "a", "x"), OK);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_UPDATE, "a", ""), OK);
    expect_row(shard.store, TABLE_FACT, shard.shard, "a", "");
}

/** Two changes of one key in a commit are one: see commit_write(). */
static void test_merging(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "old", "0"), OK);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "back", "0"), OK);
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    add_row(&commit, &shard, TABLE_FACT, COMMIT_INSERT, "new", "1");
    add_row(&commit, &shard, TABLE_FACT, COMMIT_UPDATE, "new", "2");
    add_row(&commit, &shard, TABLE_FACT, COMMIT_INSERT, "gone", "1");
    add_row(&commit, &shard, TABLE_FACT, COMMIT_DELETE, "gone", NULL);
    add_row(&commit, &shard, TABLE_FACT, COMMIT_UPDATE, "old", "1");
    add_row(&commit, &shard, TABLE_FACT, COMMIT_DELETE, "old", NULL);
    add_row(&commit, &shard, TABLE_FACT, COMMIT_DELETE, "back", NULL);
    add_row(&commit, &shard, TABLE_FACT, COMMIT_INSERT, "back", "again");
    assert_int_equal(commit.row_count, 3);
    assert_int_equal(shard_commit(&shard, &commit), OK);
    commit_release(&commit);
    expect_row(shard.store, TABLE_FACT, shard.shard, "new", "2");
    expect_row(shard.store, TABLE_FACT, shard.shard, "gone", NULL);
    expect_row(shard.store, TABLE_FACT, shard.shard, "old", NULL);
    expect_row(shard.store, TABLE_FACT, shard.shard, "back", "again");
}

/** A commit with one change that must fail: nothing of it is there, not even the commit_no. */
static void expect_refused(struct shard *shard, enum commit_mode mode, enum table table,
    const char *key, enum err expected)
{
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, shard);
    add_row(&commit, shard, TABLE_HISTORY, COMMIT_INSERT, "h", "1");
    add_row(&commit, shard, TABLE_CURRENT_RUN, COMMIT_UPDATE, "stays", "changed");
    add_row(&commit, shard, table, mode, key, "x");
    add_row(&commit, shard, TABLE_OUTBOX, COMMIT_INSERT, "o", "1");
    commit_delete_range(&commit, &(struct commit_range){
                                     .table = TABLE_TOMBSTONE,
                                     .shard = shard->shard,
                                     .from = bytes_of("t"),
                                     .to = bytes_of("u"),
                                 });
    assert_int_equal(shard_commit(shard, &commit), expected);
    commit_release(&commit);
    expect_row(shard->store, TABLE_HISTORY, shard->shard, "h", NULL);
    expect_row(shard->store, TABLE_OUTBOX, shard->shard, "o", NULL);
    expect_row(shard->store, TABLE_CURRENT_RUN, shard->shard, "stays", "kept");
    expect_row(shard->store, TABLE_TOMBSTONE, shard->shard, "t", "kept");
}

static void test_refused_commits_leave_nothing(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_CURRENT_RUN, COMMIT_INSERT, "stays", "kept"), OK);
    assert_int_equal(shard_write(&shard, TABLE_TOMBSTONE, COMMIT_INSERT, "t", "kept"), OK);
    for (size_t i = 0; i < ARRAY_LEN(all_tables); i++) {
        enum table table = all_tables[i];
        assert_int_equal(shard_write(&shard, table, COMMIT_INSERT, "dup", "kept"), OK);
        expect_refused(&shard, COMMIT_INSERT, table, "dup", ERR_DUPLICATE_KEY);
        expect_refused(&shard, COMMIT_UPDATE, table, "missing", ERR_CORRUPT);
        expect_row(shard.store, table, shard.shard, "dup", "kept");
        expect_row(shard.store, table, shard.shard, "missing", NULL);
    }
    /* The fence is where it was. */
    assert_int_equal(shard_write(&shard, TABLE_NODE, COMMIT_PUT, "n", "1"), OK);
}

static void test_fencing(void **state)
{
    (void)state;
    struct shard first = shard_take(fixture.store);
    assert_int_equal(shard_write(&first, TABLE_RUN, COMMIT_INSERT, "a", "1"), OK);
    struct shard second = first;
    shard_retake(&second);
    assert_int_equal(second.range_id, first.range_id + 1);
    assert_int_equal(second.commit_no, first.commit_no);
    assert_int_equal(shard_write(&first, TABLE_RUN, COMMIT_UPDATE, "a", "2"), ERR_FENCED);
    assert_int_equal(shard_write(&first, TABLE_RUN, COMMIT_INSERT, "b", "2"), ERR_FENCED);
    expect_row(first.store, TABLE_RUN, first.shard, "a", "1");
    expect_row(first.store, TABLE_RUN, first.shard, "b", NULL);
    assert_int_equal(shard_write(&second, TABLE_RUN, COMMIT_UPDATE, "a", "3"), OK);
    expect_row(first.store, TABLE_RUN, first.shard, "a", "3");
    /* A fence that misses wins over everything else that is wrong. */
    assert_int_equal(shard_write(&first, TABLE_RUN, COMMIT_INSERT, "a", "4"), ERR_FENCED);
}

static void test_commit_no(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    struct shard ahead = shard;
    ahead.commit_no = 1;
    assert_int_equal(shard_write(&ahead, TABLE_FACT, COMMIT_PUT, "a", "1"), ERR_FENCED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_PUT, "a", "2"), OK);
    struct shard behind = shard;
    behind.commit_no = 1;
    assert_int_equal(shard_write(&behind, TABLE_FACT, COMMIT_PUT, "a", "3"), ERR_FENCED);
    expect_row(shard.store, TABLE_FACT, shard.shard, "a", "2");
    shard_retake(&shard);
    assert_int_equal(shard.commit_no, 3);
    struct shard nobody = {.store = fixture.store, .shard = shard_number(), .range_id = 0};
    assert_int_equal(shard_write(&nobody, TABLE_FACT, COMMIT_PUT, "a", "1"), ERR_FENCED);
}

/** A section alone checks the fence and counts. */
static void test_section_without_changes(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    assert_true(commit_is_empty(&commit));
    assert_int_equal(shard_commit(&shard, &commit), OK);
    assert_int_equal(run_commit(shard.store, &commit), ERR_FENCED);
    commit_release(&commit);
    shard_retake(&shard);
    assert_int_equal(shard.commit_no, 1);
}

static void test_rows_without_section(void **state)
{
    (void)state;
    struct shard shard = {.store = fixture.store, .shard = shard_number()};
    struct commit commit;
    commit_init(&commit);
    add_row(&commit, &shard, TABLE_NODE, COMMIT_PUT, "node-1", "alive");
    assert_int_equal(run_commit(fixture.store, &commit), OK);
    commit_reset(&commit);
    add_row(&commit, &shard, TABLE_NODE, COMMIT_PUT, "node-1", "still alive");
    assert_int_equal(run_commit(fixture.store, &commit), OK);
    commit_release(&commit);
    expect_row(fixture.store, TABLE_NODE, shard.shard, "node-1", "still alive");
}

static void test_take_shard(void **state)
{
    (void)state;
    int32_t number = shard_number();
    struct store_op op = {
        .kind = STORE_TAKE_SHARD,
        .take_shard = {.shard = number, .expected_range = 5, .owner = bytes_of("one")},
    };
    assert_int_equal(store_run(fixture.store, &op), ERR_FENCED);
    op.take_shard.expected_range = 0;
    assert_int_equal(store_run(fixture.store, &op), OK);
    assert_int_equal(op.take_shard.range_id, 1);
    assert_int_equal(store_run(fixture.store, &op), ERR_FENCED);
    op.take_shard.expected_range = 1;
    op.take_shard.owner = bytes_of("two");
    assert_int_equal(store_run(fixture.store, &op), OK);
    assert_int_equal(op.take_shard.range_id, 2);
    assert_int_equal(op.take_shard.commit_no, 0);
    op.take_shard.expected_range = -1;
    op.take_shard.owner = (struct bytes){0};
    assert_int_equal(store_run(fixture.store, &op), OK);
    assert_int_equal(op.take_shard.range_id, 3);
}

static void test_several_sections(void **state)
{
    (void)state;
    struct shard shards[5];
    struct commit commit;
    commit_init(&commit);
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        shards[i] = shard_take(fixture.store);
        shard_section(&commit, &shards[i]);
        shard_section(&commit, &shards[0]);
        add_row(&commit, &shards[i], TABLE_RUN, COMMIT_INSERT, "same key", "1");
    }
    assert_int_equal(commit.section_count, ARRAY_LEN(shards));
    assert_int_equal(run_commit(fixture.store, &commit), OK);
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        expect_row(fixture.store, TABLE_RUN, shards[i].shard, "same key", "1");
        shards[i].commit_no++;
    }
    /* Each counts by itself. */
    assert_int_equal(shard_write(&shards[3], TABLE_RUN, COMMIT_UPDATE, "same key", "2"), OK);
    commit_reset(&commit);
    for (size_t i = 0; i < ARRAY_LEN(shards); i++)
        shard_section(&commit, &shards[i]);
    assert_int_equal(run_commit(fixture.store, &commit), OK);
    commit_release(&commit);
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        shard_retake(&shards[i]);
        assert_int_equal(shards[i].commit_no, i == 3 ? 3 : 2);
    }
}

static void test_range_deletes(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    struct shard other = shard_take(fixture.store);
    static const char *const keys[] = {"a", "b", "ba", "c", "d"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(shard_write(&shard, TABLE_OUTBOX, COMMIT_INSERT, keys[i], "1"), OK);
        assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, keys[i], "1"), OK);
        assert_int_equal(shard_write(&other, TABLE_OUTBOX, COMMIT_INSERT, keys[i], "1"), OK);
    }
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    add_row(&commit, &shard, TABLE_OUTBOX, COMMIT_INSERT, "bb", "dropped");
    commit_delete_range(&commit, &(struct commit_range){
                                     .table = TABLE_OUTBOX,
                                     .shard = shard.shard,
                                     .from = bytes_of("b"),
                                     .to = bytes_of("d"),
                                 });
    add_row(&commit, &shard, TABLE_OUTBOX, COMMIT_INSERT, "b", "again");
    assert_int_equal(shard_commit(&shard, &commit), OK);
    commit_release(&commit);
    struct store_scan scan = scan_all(shard.store, TABLE_OUTBOX, shard.shard);
    assert_int_equal(scan.row_count, 3);
    expect_row(shard.store, TABLE_OUTBOX, shard.shard, "a", "1");
    expect_row(shard.store, TABLE_OUTBOX, shard.shard, "b", "again");
    expect_row(shard.store, TABLE_OUTBOX, shard.shard, "d", "1");
    assert_int_equal(scan_all(shard.store, TABLE_FACT, shard.shard).row_count, ARRAY_LEN(keys));
    assert_int_equal(scan_all(shard.store, TABLE_OUTBOX, other.shard).row_count, ARRAY_LEN(keys));
}

#define BIG_ROWS 10000

static void add_numbered(struct commit *commit, const struct shard *shard, enum table table,
    enum commit_mode mode, int64_t number)
{
    struct bytes key = key_seq(&commit->arena, number);
    char *value = arena_printf(
        &commit->arena, "%s %lld %080d", mode == COMMIT_INSERT ? "i" : "u", (long long)number, 0);
    commit_write(commit, &(struct commit_row){
                             .table = table,
                             .mode = mode,
                             .shard = shard->shard,
                             .key = key,
                             .value = bytes_of(value),
                             .due_ns = number,
                             .expire_ns = DUE_NONE,
                             .index_changed = number % 2 == 0,
                         });
}

static void test_large_commits(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    struct commit commit;
    commit_init(&commit);
    for (int round = 0; round < 2; round++) {
        enum commit_mode mode = round == 0 ? COMMIT_INSERT : COMMIT_UPDATE;
        commit_reset(&commit);
        shard_section(&commit, &shard);
        for (int i = 0; i < BIG_ROWS; i++)
            add_numbered(&commit, &shard, i % 2 ? TABLE_RUN : TABLE_FACT, mode, i);
        assert_int_equal(commit.row_count, BIG_ROWS);
        assert_int_equal(shard_commit(&shard, &commit), OK);
    }
    assert_int_equal(scan_all(shard.store, TABLE_FACT, shard.shard).row_count, BIG_ROWS / 2);
    struct store_scan scan = scan_all(shard.store, TABLE_RUN, shard.shard);
    assert_int_equal(scan.row_count, BIG_ROWS / 2);
    for (size_t i = 0; i < scan.row_count; i++) {
        int64_t number;
        assert_true(key_read_i64(scan.rows[i].key, 0, &number));
        assert_int_equal(number, 2 * i + 1);
        assert_int_equal(scan.rows[i].value.data[0], 'u');
    }
    commit_reset(&commit);
    shard_section(&commit, &shard);
    for (int i = 0; i < BIG_ROWS; i += 2)
        add_numbered(&commit, &shard, TABLE_FACT, COMMIT_DELETE, i);
    assert_int_equal(shard_commit(&shard, &commit), OK);
    assert_int_equal(scan_all(shard.store, TABLE_FACT, shard.shard).row_count, 0);
    commit_release(&commit);
}

static void test_too_large(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    for (int i = 0; i <= STORE_COMMIT_ROWS_MAX; i++)
        add_numbered(&commit, &shard, TABLE_HISTORY, COMMIT_INSERT, i);
    assert_int_equal(shard_commit(&shard, &commit), ERR_TOO_LARGE);
    commit_release(&commit);
    assert_int_equal(scan_all(shard.store, TABLE_HISTORY, shard.shard).row_count, 0);
}

static void test_large_values(void **state)
{
    (void)state;
    struct random random = random_begin("large_values");
    struct shard shard = shard_take(fixture.store);
    static const enum table tables[] = {
        TABLE_HISTORY, TABLE_SNAPSHOT, TABLE_FACT, TABLE_DEAD_LETTER, TABLE_RUN, TABLE_OUTBOX};
    struct bytes value = random_bytes(&random, &fixture.arena, BLOB_BYTES_MAX);
    struct commit commit;
    commit_init(&commit);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        shard_section(&commit, &shard);
        struct commit_row row = make_row(&shard, tables[i], COMMIT_INSERT, "big", NULL);
        row.value = value;
        commit_write(&commit, &row);
        add_row(&commit, &shard, tables[i], COMMIT_INSERT, "small", "s");
    }
    assert_int_equal(shard_commit(&shard, &commit), OK);
    commit_release(&commit);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        struct store_row row = get_row(shard.store, tables[i], shard.shard, bytes_of("big"));
        assert_true(bytes_equal(row.value, value));
        expect_row(shard.store, tables[i], shard.shard, "small", "s");
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_modes),
    cmocka_unit_test(test_update_with_same_value),
    cmocka_unit_test(test_empty_values),
    cmocka_unit_test(test_merging),
    cmocka_unit_test(test_refused_commits_leave_nothing),
    cmocka_unit_test(test_fencing),
    cmocka_unit_test(test_commit_no),
    cmocka_unit_test(test_section_without_changes),
    cmocka_unit_test(test_rows_without_section),
    cmocka_unit_test(test_take_shard),
    cmocka_unit_test(test_several_sections),
    cmocka_unit_test(test_range_deletes),
    cmocka_unit_test(test_large_commits),
    cmocka_unit_test(test_too_large),
    cmocka_unit_test(test_large_values),
};

const struct conformance_tests conform_commit = {tests, ARRAY_LEN(tests)};
