/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging of changes inside a commit, against a model that applies them one by one.
 */
#include "cluster/store/tests/store_fixture.h"

static struct commit_row make_row(enum table table, enum commit_mode mode, const char *key)
{
    return (struct commit_row){
        .table = table,
        .mode = mode,
        .shard = 1,
        .key = bytes_of(key),
        .value = bytes_of("value"),
        .due_ns = DUE_NONE,
        .expire_ns = DUE_NONE,
    };
}

static void add(struct commit *commit, enum table table, enum commit_mode mode, const char *key)
{
    struct commit_row row = make_row(table, mode, key);
    commit_write(commit, &row);
}

/** The mode that two or three changes of one key become; -1 = none is left. */
static int merged(const enum commit_mode *modes, size_t count)
{
    struct commit commit;
    commit_init(&commit);
    for (size_t i = 0; i < count; i++)
        add(&commit, TABLE_FACT, modes[i], "key");
    int mode = commit.row_count == 0 ? -1 : (int)commit.rows[0].mode;
    assert_true(commit.row_count <= 1);
    assert_int_equal(commit.bytes, mode < 0 ? 0 : mode == COMMIT_DELETE ? 3 : 8);
    commit_release(&commit);
    return mode;
}

#define MERGED(...)                                 \
    merged((const enum commit_mode[]){__VA_ARGS__}, \
        sizeof((const enum commit_mode[]){__VA_ARGS__}) / sizeof(enum commit_mode))

static void test_rules(void **state)
{
    (void)state;
    assert_int_equal(MERGED(COMMIT_INSERT, COMMIT_UPDATE), COMMIT_INSERT);
    assert_int_equal(MERGED(COMMIT_INSERT, COMMIT_PUT), COMMIT_INSERT);
    assert_int_equal(MERGED(COMMIT_INSERT, COMMIT_DELETE), -1);
    assert_int_equal(MERGED(COMMIT_INSERT, COMMIT_DELETE, COMMIT_INSERT), COMMIT_INSERT);
    assert_int_equal(MERGED(COMMIT_UPDATE, COMMIT_UPDATE), COMMIT_UPDATE);
    assert_int_equal(MERGED(COMMIT_UPDATE, COMMIT_PUT), COMMIT_UPDATE);
    assert_int_equal(MERGED(COMMIT_UPDATE, COMMIT_DELETE), COMMIT_DELETE);
    assert_int_equal(MERGED(COMMIT_UPDATE, COMMIT_DELETE, COMMIT_INSERT), COMMIT_UPDATE);
    assert_int_equal(MERGED(COMMIT_PUT, COMMIT_UPDATE), COMMIT_PUT);
    assert_int_equal(MERGED(COMMIT_PUT, COMMIT_DELETE), COMMIT_DELETE);
    assert_int_equal(MERGED(COMMIT_PUT, COMMIT_DELETE, COMMIT_INSERT), COMMIT_PUT);
    assert_int_equal(MERGED(COMMIT_DELETE, COMMIT_INSERT), COMMIT_UPDATE);
    assert_int_equal(MERGED(COMMIT_DELETE, COMMIT_PUT), COMMIT_PUT);
    assert_int_equal(MERGED(COMMIT_DELETE, COMMIT_DELETE), COMMIT_DELETE);
    assert_int_equal(MERGED(COMMIT_DELETE, COMMIT_INSERT, COMMIT_DELETE), COMMIT_DELETE);
}

static void test_different_keys_stay_apart(void **state)
{
    (void)state;
    struct commit commit;
    commit_init(&commit);
    add(&commit, TABLE_FACT, COMMIT_INSERT, "key");
    add(&commit, TABLE_SNAPSHOT, COMMIT_INSERT, "key");
    add(&commit, TABLE_FACT, COMMIT_INSERT, "key2");
    struct commit_row row = make_row(TABLE_FACT, COMMIT_INSERT, "key");
    row.shard = 2;
    commit_write(&commit, &row);
    assert_int_equal(commit.row_count, 4);
    /* Taking one out in the middle leaves the others to be found. */
    add(&commit, TABLE_SNAPSHOT, COMMIT_DELETE, "key");
    assert_int_equal(commit.row_count, 3);
    row.mode = COMMIT_DELETE;
    commit_write(&commit, &row);
    add(&commit, TABLE_FACT, COMMIT_DELETE, "key2");
    add(&commit, TABLE_FACT, COMMIT_DELETE, "key");
    assert_int_equal(commit.row_count, 0);
    assert_int_equal(commit.bytes, 0);
    assert_true(commit_is_empty(&commit));
    commit_release(&commit);
}

static void test_index_columns(void **state)
{
    (void)state;
    struct commit commit;
    commit_init(&commit);
    struct commit_row row = make_row(TABLE_RUN, COMMIT_UPDATE, "run");
    row.due_ns = 10;
    row.index_changed = true;
    commit_write(&commit, &row);
    row.due_ns = 99; /* not meant: index_changed is false */
    row.index_changed = false;
    row.value = bytes_of("newer");
    commit_write(&commit, &row);
    assert_int_equal(commit.rows[0].due_ns, 10);
    assert_true(commit.rows[0].index_changed);
    assert_true(bytes_equal(commit.rows[0].value, bytes_of("newer")));
    row.due_ns = 11;
    row.index_changed = true;
    commit_write(&commit, &row);
    assert_int_equal(commit.rows[0].due_ns, 11);
    /* Update, then update with change: the change counts. */
    row = make_row(TABLE_RUN, COMMIT_UPDATE, "other");
    commit_write(&commit, &row);
    assert_false(commit.rows[1].index_changed);
    row.expire_ns = 5;
    row.index_changed = true;
    commit_write(&commit, &row);
    assert_true(commit.rows[1].index_changed);
    assert_int_equal(commit.rows[1].expire_ns, 5);
    /* Delete and insert: an update of everything. */
    row = make_row(TABLE_RUN, COMMIT_DELETE, "third");
    commit_write(&commit, &row);
    row.mode = COMMIT_INSERT;
    row.due_ns = 7;
    commit_write(&commit, &row);
    assert_int_equal(commit.rows[2].mode, COMMIT_UPDATE);
    assert_true(commit.rows[2].index_changed);
    assert_int_equal(commit.rows[2].due_ns, 7);
    commit_release(&commit);
}

static void test_ranges(void **state)
{
    (void)state;
    struct commit commit;
    commit_init(&commit);
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        add(&commit, TABLE_FACT, COMMIT_UPDATE, keys[i]);
        add(&commit, TABLE_HISTORY, COMMIT_INSERT, keys[i]);
    }
    struct commit_range range = {
        .table = TABLE_FACT, .shard = 1, .from = bytes_of("b"), .to = bytes_of("d")};
    commit_delete_range(&commit, &range);
    assert_int_equal(commit.row_count, 6);
    range.table = TABLE_HISTORY;
    commit_delete_range(&commit, &range);
    assert_int_equal(commit.row_count, 4);
    range.shard = 2;
    commit_delete_range(&commit, &range);
    range.from = range.to;
    commit_delete_range(&commit, &range); /* empty */
    assert_int_equal(commit.row_count, 4);
    assert_int_equal(commit.range_count, 3);
    add(&commit, TABLE_FACT, COMMIT_DELETE, "b"); /* gone already */
    assert_int_equal(commit.row_count, 4);
    add(&commit, TABLE_FACT, COMMIT_INSERT, "b");
    add(&commit, TABLE_FACT, COMMIT_UPDATE, "a");
    assert_int_equal(commit.row_count, 5);
    commit_release(&commit);
}

static void test_sections(void **state)
{
    (void)state;
    struct commit commit;
    commit_init(&commit);
    for (int round = 0; round < 3; round++) {
        for (int32_t shard = 0; shard < 100; shard++) {
            commit_section(&commit, (struct commit_section){shard, 7, shard + 1});
            commit_section(&commit, (struct commit_section){shard, 7, shard + 1});
        }
        assert_int_equal(commit.section_count, 100);
        if (round == 1)
            commit_reset(&commit);
        assert_int_equal(commit.section_count, round == 1 ? 0 : 100);
    }
    commit_release(&commit);
}

/** Grows over several array capacities and stays right, also after a reset. */
static void test_many_rows(void **state)
{
    (void)state;
    struct commit commit;
    commit_init(&commit);
    for (int round = 0; round < 3; round++) {
        for (int64_t i = 0; i < 5000; i++) {
            struct commit_row row = make_row(TABLE_FACT, COMMIT_INSERT, "x");
            row.key = key_seq(&commit.arena, i);
            commit_write(&commit, &row);
        }
        assert_int_equal(commit.row_count, 5000);
        assert_int_equal(commit.bytes, 5000 * 13);
        for (int64_t i = 0; i < 5000; i += 2) {
            struct commit_row row = make_row(TABLE_FACT, COMMIT_DELETE, "x");
            row.key = key_seq(&commit.arena, i);
            commit_write(&commit, &row);
        }
        assert_int_equal(commit.row_count, 2500);
        uint64_t sum = 0;
        for (size_t i = 0; i < commit.row_count; i++) {
            int64_t number;
            assert_true(key_read_i64(commit.rows[i].key, 0, &number));
            assert_int_equal(number % 2, 1);
            sum += (uint64_t)number;
        }
        assert_int_equal(sum, 2500ull * 2500);
        commit_reset(&commit);
        assert_true(commit_is_empty(&commit));
        assert_int_equal(commit.bytes, 0);
    }
    commit_release(&commit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_different_keys_stay_apart),
        cmocka_unit_test(test_index_columns),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_many_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
