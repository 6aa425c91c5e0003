/* SPDX-License-Identifier: Apache-2.0
 *
 * Conformance: unknown commits and how they are resolved, conflicts, lost connections, schema
 * versions.
 */
#include "cluster/store/tests/store_fixture.h"

static void arm(unsigned calls, enum store_fault_action action, enum err err, uint64_t repeat)
{
    store_fault_disarm(fixture.fault);
    store_fault_arm(fixture.fault, &(struct store_fault_rule){
                                       .calls = calls,
                                       .action = action,
                                       .number = 1,
                                       .repeat = repeat,
                                       .err = err,
                                   });
}

/** The answer of COMMIT is lost, or COMMIT itself: taking the shard again tells which. */
static void test_unknown_commit(void **state)
{
    (void)state;
    for (int applied = 0; applied < 2; applied++) {
        struct shard shard = shard_take(fixture.faulty);
        assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_INSERT, "a", "1"), OK);
        arm(STORE_FAULT_COMMIT, applied ? STORE_FAULT_LOSE_ANSWER : STORE_FAULT_LOSE_CALL, OK, 1);
        assert_int_equal(
            shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "2"), ERR_UNKNOWN_COMMIT);
        struct shard before = shard;
        shard_retake(&shard);
        assert_int_equal(shard.range_id, before.range_id + 1);
        assert_int_equal(shard.commit_no, before.commit_no + applied);
        expect_row(shard.store, TABLE_RUN, shard.shard, "a", applied ? "2" : "1");
        /* Whatever was still under way under the old range cannot happen any more. */
        assert_int_equal(shard_write(&before, TABLE_RUN, COMMIT_UPDATE, "a", "3"), ERR_FENCED);
        assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "4"), OK);
        expect_row(shard.store, TABLE_RUN, shard.shard, "a", "4");
    }
    assert_int_equal(store_fault_fired(fixture.fault) >= 2, 1);
    store_fault_disarm(fixture.fault);
}

static void test_conflicts_are_retried(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.faulty);
    arm(STORE_FAULT_COMMIT, STORE_FAULT_FAIL, ERR_CONFLICT, 5);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_INSERT, "a", "1"), OK);
    arm(STORE_FAULT_COMMIT, STORE_FAULT_FAIL, ERR_CONFLICT, 1000);
    uint64_t calls = store_fault_calls(fixture.fault);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "2"), ERR_CONFLICT);
    assert_true(store_fault_calls(fixture.fault) - calls < 20);
    arm(STORE_FAULT_TAKE_SHARD, STORE_FAULT_FAIL, ERR_CONFLICT, 3);
    shard_retake(&shard);
    store_fault_disarm(fixture.fault);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "3"), OK);
}

static void test_failures_are_reported(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.faulty);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_INSERT, "a", "1"), OK);
    arm(STORE_FAULT_READS, STORE_FAULT_FAIL, ERR_UNAVAILABLE, 3);
    struct store_get get = {.table = TABLE_RUN, .shard = shard.shard, .key = bytes_of("a")};
    struct store_op op = {
        .kind = STORE_GET, .arena = &fixture.arena, .get = {.keys = &get, .count = 1}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_run(fixture.faulty, &op), ERR_UNAVAILABLE);
        assert_string_equal(op.text, "injected fault: unavailable");
    }
    assert_int_equal(store_run(fixture.faulty, &op), OK);
    assert_true(get.row.found);
    arm(STORE_FAULT_COMMIT, STORE_FAULT_FAIL, ERR_UNAVAILABLE, 1);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "2"), ERR_UNAVAILABLE);
    expect_row(shard.store, TABLE_RUN, shard.shard, "a", "1");
    arm(STORE_FAULT_ALL, STORE_FAULT_DELAY, OK, 1);
    assert_int_equal(shard_write(&shard, TABLE_RUN, COMMIT_UPDATE, "a", "2"), OK);
    store_fault_disarm(fixture.fault);
}

/** By probability and seed: every acknowledged commit is there, every refused one is not. */
static void test_random_faults(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.faulty);
    store_fault_disarm(fixture.fault);
    const struct store_fault_rule rules[] = {
        {.calls = STORE_FAULT_COMMIT, .action = STORE_FAULT_LOSE_ANSWER, .per_million = 100000},
        {.calls = STORE_FAULT_COMMIT, .action = STORE_FAULT_LOSE_CALL, .per_million = 100000},
        {.calls = STORE_FAULT_COMMIT,
            .action = STORE_FAULT_FAIL,
            .per_million = 100000,
            .err = ERR_CONFLICT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        store_fault_arm(fixture.fault, &rules[i]);
    int64_t stored = 0;
    for (int i = 0; i < 100; i++) {
        enum err err = shard_write(&shard, TABLE_FACT, COMMIT_PUT, "n", "x");
        int64_t before = stored;
        if (err == ERR_UNKNOWN_COMMIT) {
            shard_retake(&shard);
            stored = shard.commit_no;
        } else {
            assert_int_equal(err, OK);
            stored++;
        }
        assert_true(stored == before || stored == before + 1);
        assert_int_equal(shard.commit_no, stored);
    }
    store_fault_disarm(fixture.fault);
    shard_retake(&shard);
    assert_int_equal(shard.commit_no, stored);
}

#define RECONNECT_TRIES 20

static void test_reconnect(void **state)
{
    (void)state;
    if (!fixture.driver->kill_connections)
        skip();
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "a", "1"), OK);
    for (int round = 0; round < 3; round++) {
        fixture.driver->kill_connections();
        /* A commit on a dead connection was not applied, or nobody knows. */
        enum err err = shard_write(&shard, TABLE_FACT, COMMIT_UPDATE, "a", "2");
        if (err) {
            assert_true(err == ERR_UNAVAILABLE || err == ERR_UNKNOWN_COMMIT);
            for (int i = 0; i < RECONNECT_TRIES && err; i++) {
                struct store_op op = {
                    .kind = STORE_TAKE_SHARD,
                    .writer = 0,
                    .take_shard = {.shard = shard.shard, .expected_range = -1},
                };
                err = store_run(shard.store, &op);
                shard.range_id = op.take_shard.range_id;
                shard.commit_no = op.take_shard.commit_no;
            }
            assert_int_equal(err, OK);
            assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_UPDATE, "a", "2"), OK);
        }
        int failures = 0;
        for (int i = 0; i < RECONNECT_TRIES; i++) {
            struct store_get get = {
                .table = TABLE_FACT, .shard = shard.shard, .key = bytes_of("a")};
            struct store_op op = {
                .kind = STORE_GET, .arena = &fixture.arena, .get = {.keys = &get, .count = 1}};
            err = store_run(shard.store, &op);
            failures += err != OK;
            assert_true(err == OK || err == ERR_UNAVAILABLE);
            assert_true(err || bytes_equal(get.row.value, bytes_of("2")));
        }
        assert_int_equal(err, OK);
        /* One failure per connection at most: each comes back with its next operation. */
        assert_true(failures <= fixture.options.readers);
        /* The writer that this test did not use so far. */
        for (int i = 0; i < RECONNECT_TRIES; i++) {
            struct store_op op = {
                .kind = STORE_TAKE_SHARD,
                .writer = 1,
                .take_shard = {.shard = shard.shard, .expected_range = -1},
            };
            err = store_run(shard.store, &op);
            shard.range_id = op.take_shard.range_id;
            shard.commit_no = op.take_shard.commit_no;
            if (err == OK)
                break;
        }
        assert_int_equal(err, OK);
    }
}

static void test_schema_versions(void **state)
{
    (void)state;
    if (!fixture.driver->execute || !fixture.driver->shareable)
        skip();
    struct store_options options;
    char text[256] = "";
    assert_true(fixture.driver->create(&options, text));
    options.readers = 1;
    options.writers = 1;
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store, text), ERR_VERSION);
    assert_true(text[0] != '\0');
    options.migrate = true;
    expect_err(OK, store_open(&options, &store, text), text, __FILE__, __LINE__);
    struct shard shard = shard_take(store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "a", "kept"), OK);
    store_close(store);
    for (int i = 0; i < 2; i++) { /* nothing left to migrate, allowed to or not */
        options.migrate = i == 0;
        expect_err(OK, store_open(&options, &store, text), text, __FILE__, __LINE__);
        expect_row(store, TABLE_FACT, shard.shard, "a", "kept");
        store_close(store);
    }
    assert_true(fixture.driver->execute(&options, "UPDATE schema_version SET version = 9999"));
    for (int i = 0; i < 2; i++) {
        options.migrate = i == 0;
        text[0] = '\0';
        assert_int_equal(store_open(&options, &store, text), ERR_VERSION);
        assert_true(text[0] != '\0');
    }
}

/** Two nodes on one database: fencing between stores. */
static void test_two_stores(void **state)
{
    (void)state;
    if (!fixture.driver->shareable)
        skip();
    char text[256] = "";
    struct store *second = NULL;
    expect_err(OK, store_open(&fixture.options, &second, text), text, __FILE__, __LINE__);
    struct shard ours = shard_take(fixture.store);
    assert_int_equal(shard_write(&ours, TABLE_FACT, COMMIT_INSERT, "a", "1"), OK);
    expect_row(second, TABLE_FACT, ours.shard, "a", "1");
    struct shard theirs = ours;
    theirs.store = second;
    shard_retake(&theirs);
    assert_int_equal(theirs.commit_no, 1);
    assert_int_equal(shard_write(&ours, TABLE_FACT, COMMIT_UPDATE, "a", "2"), ERR_FENCED);
    assert_int_equal(shard_write(&theirs, TABLE_FACT, COMMIT_UPDATE, "a", "3"), OK);
    expect_row(fixture.store, TABLE_FACT, ours.shard, "a", "3");
    store_close(second);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_unknown_commit),
    cmocka_unit_test(test_conflicts_are_retried),
    cmocka_unit_test(test_failures_are_reported),
    cmocka_unit_test(test_random_faults),
    cmocka_unit_test(test_reconnect),
    cmocka_unit_test(test_schema_versions),
    cmocka_unit_test(test_two_stores),
};

const struct conformance_tests conform_fault = {tests, ARRAY_LEN(tests)};
