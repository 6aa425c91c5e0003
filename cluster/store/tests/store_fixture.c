/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store/tests/store_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/hash.h"

struct fixture fixture;

#define TESTS_MAX 100
#define READERS   3
#define WRITERS   2

void expect_err(enum err expected, enum err err, const char *text, const char *file, int line)
{
    if (err == expected)
        return;
    print_error(
        "%s:%d: %s instead of %s: %s\n", file, line, err_name(err), err_name(expected), text);
    _fail(file, line);
}

/* ---- randomness ------------------------------------------------------------------------------ */

struct random random_begin(const char *test)
{
    print_message("repeat: STRAIT_SEED=%" PRIu64 " (%s)\n", fixture.seed, test);
    return (struct random){.state = hash64(bytes_of(test), fixture.seed)};
}

/* splitmix64 */
uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    return random_next(random) % bound;
}

struct bytes random_bytes(struct random *random, struct arena *arena, size_t len)
{
    uint8_t *data = arena_alloc(arena, len + 8);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = random_next(random);
        memcpy(data + i, &word, sizeof(word));
    }
    return bytes_make(data, len);
}

struct uuid random_uuid(struct random *random)
{
    struct uuid uuid;
    uint64_t words[2] = {random_next(random), random_next(random)};
    memcpy(uuid.bytes, words, sizeof(uuid.bytes));
    return uuid;
}

/* ---- operations ------------------------------------------------------------------------------ */

int32_t shard_number(void)
{
    static int32_t next = 1;
    return next++;
}

void shard_retake(struct shard *shard)
{
    struct store_op op = {
        .kind = STORE_TAKE_SHARD,
        .writer = shard->shard,
        .take_shard = {.shard = shard->shard, .expected_range = -1, .owner = bytes_of("test")},
    };
    run_ok(shard->store, &op);
    shard->range_id = op.take_shard.range_id;
    shard->commit_no = op.take_shard.commit_no;
}

struct shard shard_take(struct store *store)
{
    struct shard shard = {.store = store, .shard = shard_number()};
    shard_retake(&shard);
    assert_int_equal(shard.range_id, 1);
    assert_int_equal(shard.commit_no, 0);
    return shard;
}

void shard_section(struct commit *commit, const struct shard *shard)
{
    commit_section(commit, (struct commit_section){
                               .shard = shard->shard,
                               .range_id = shard->range_id,
                               .commit_no = shard->commit_no + 1,
                           });
}

enum err run_commit(struct store *store, const struct commit *commit)
{
    struct store_op op = {.kind = STORE_COMMIT, .commit = commit};
    enum err err = store_run(store, &op);
    if (err)
        print_message("commit: %s: %s\n", err_name(err), op.text);
    return err;
}

enum err shard_commit(struct shard *shard, const struct commit *commit)
{
    enum err err = run_commit(shard->store, commit);
    if (err == OK)
        shard->commit_no++;
    return err;
}

enum err shard_write(struct shard *shard, enum table table, enum commit_mode mode, const char *key,
    const char *value)
{
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, shard);
    commit_write(&commit, &(struct commit_row){
                              .table = table,
                              .mode = mode,
                              .shard = shard->shard,
                              .key = bytes_of(key),
                              .value = bytes_of(value),
                              .due_ns = DUE_NONE,
                              .expire_ns = DUE_NONE,
                          });
    enum err err = shard_commit(shard, &commit);
    commit_release(&commit);
    return err;
}

struct store_row get_row(struct store *store, enum table table, int32_t shard, struct bytes key)
{
    struct store_get get = {.table = table, .shard = shard, .key = key};
    struct store_op op = {
        .kind = STORE_GET, .arena = &fixture.arena, .get = {.keys = &get, .count = 1}};
    run_ok(store, &op);
    return get.row;
}

void expect_row(
    struct store *store, enum table table, int32_t shard, const char *key, const char *value)
{
    struct store_row row = get_row(store, table, shard, bytes_of(key));
    assert_int_equal(row.found, value != NULL);
    if (value)
        assert_true(bytes_equal(row.value, bytes_of(value)));
    else
        assert_int_equal(row.value.len, 0);
    assert_true(bytes_equal(row.key, bytes_of(key)));
}

struct store_scan scan_rows(struct store *store, struct store_scan scan)
{
    struct store_op op = {.kind = STORE_SCAN, .arena = &fixture.arena, .scan = scan};
    run_ok(store, &op);
    return op.scan;
}

struct store_scan scan_all(struct store *store, enum table table, int32_t shard)
{
    struct store_scan scan =
        scan_rows(store, (struct store_scan){.table = table, .shard = shard, .limit_rows = 100000});
    assert_false(scan.more);
    return scan;
}

struct store_due due_rows(struct store *store, struct store_due due)
{
    struct store_op op = {.kind = STORE_DUE, .arena = &fixture.arena, .due = due};
    run_ok(store, &op);
    return op.due;
}

void expect_rows_equal(
    const struct store_row *a, size_t a_count, const struct store_row *b, size_t b_count)
{
    assert_int_equal(a_count, b_count);
    for (size_t i = 0; i < a_count; i++) {
        assert_true(bytes_equal(a[i].key, b[i].key));
        assert_true(bytes_equal(a[i].value, b[i].value));
        assert_int_equal(a[i].found, b[i].found);
        assert_int_equal(a[i].due_ns, b[i].due_ns);
        assert_int_equal(a[i].expire_ns, b[i].expire_ns);
        assert_true(uuid_equal(a[i].namespace_id, b[i].namespace_id));
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static void settle(struct store_options *options)
{
    options->readers = READERS;
    options->writers = WRITERS;
    options->migrate = true;
}

static int group_setup(void **state)
{
    (void)state;
    char text[256];
    enum err err = store_open(&fixture.options, &fixture.store, text);
    expect_err(OK, err, text, __FILE__, __LINE__);
    fixture.fault = store_fault_new(&fixture.faulty_options, fixture.seed);
    struct store_options options;
    store_fault_options(fixture.fault, &options);
    err = store_open(&options, &fixture.faulty, text);
    expect_err(OK, err, text, __FILE__, __LINE__);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    store_close(fixture.store);
    store_close(fixture.faulty);
    store_fault_free(fixture.fault);
    arena_release(&fixture.arena);
    return 0;
}

static int test_setup(void **state)
{
    (void)state;
    arena_reset(&fixture.arena);
    return 0;
}

static void skipped(void **state)
{
    (void)state;
    skip();
}

static int run_skipped(const char *reason)
{
    print_message("%s: skipped: %s\n", fixture.driver->name, reason);
    const struct CMUnitTest tests[] = {cmocka_unit_test(skipped)};
    return cmocka_run_group_tests_name(fixture.driver->name, tests, NULL, NULL);
}

int conformance_main(const struct conformance_driver *driver)
{
    const char *seed = getenv("STRAIT_SEED");
    fixture.driver = driver;
    fixture.seed =
        seed ? strtoull(seed, NULL, 10) : (uint64_t)env_wall_ns(env_system()) / NS_PER_MS;
    char reason[256] = "";
    if (!driver->create(&fixture.options, reason) ||
        !driver->create(&fixture.faulty_options, reason))
        return run_skipped(reason);
    settle(&fixture.options);
    settle(&fixture.faulty_options);
    const struct conformance_tests *const parts[] = {&conform_commit, &conform_read, &conform_load,
        &conform_visibility, &conform_fault, &conform_model};
    struct CMUnitTest tests[TESTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (size_t j = 0; j < parts[i]->count; j++) {
            CHECK(count < TESTS_MAX);
            tests[count] = parts[i]->tests[j];
            tests[count++].setup_func = test_setup;
        }
    }
    return _cmocka_run_group_tests(driver->name, tests, count, group_setup, group_teardown);
}
