/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool: order per writer, merging of queued work, closing. On SQLite in memory, and through the
 * fault driver where time has to stand still.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/store/tests/store_fixture.h"
#include "cluster/store/tests/support_sqlite.h"

#define OPS 200

/** Operations under way, and what came back in which order. */
struct batch {
    struct waker *waker;
    struct mailbox *mailbox;
    struct store_op ops[OPS];
    struct commit commits[OPS];
    size_t completed[OPS];
    size_t completed_count;
};

static void deliver(struct mail *mail, void *owner)
{
    struct batch *batch = owner;
    const struct store_op *op = CONTAINER_OF(mail, struct store_op, mail);
    batch->completed[batch->completed_count++] = (size_t)(op - batch->ops);
}

static struct batch *batch_open(void)
{
    struct batch *batch = mem_new(struct batch);
    batch->waker = waker_open();
    batch->mailbox = mailbox_open(batch, batch->waker, OPS);
    return batch;
}

static void batch_wait(struct batch *batch, size_t count)
{
    while (batch->completed_count < count) {
        if (mailbox_step(batch->mailbox, OPS) == 0)
            waker_wait(batch->waker, NS_PER_S / 100);
    }
}

/** After the store was closed: its threads are this mailbox's producers. */
static void batch_close(struct batch *batch)
{
    for (size_t i = 0; i < OPS; i++)
        commit_release(&batch->commits[i]);
    mailbox_close(batch->mailbox, NULL);
    waker_close(batch->waker);
    mem_free(batch);
}

static void submit(struct batch *batch, struct store *store, size_t number)
{
    batch->ops[number].reply_to = batch->mailbox;
    batch->ops[number].mail.deliver = deliver;
    store_submit(store, &batch->ops[number]);
}

/** The number-th commit of the shard: puts `number` into one row, inserts another. */
static void prepare_commit(
    struct batch *batch, size_t number, const struct shard *shard, int64_t commit_no)
{
    struct commit *commit = &batch->commits[number];
    commit_init(commit);
    commit_section(commit, (struct commit_section){shard->shard, shard->range_id, commit_no});
    struct bytes value = key_seq(&commit->arena, (int64_t)number);
    struct commit_row row = {.table = TABLE_FACT,
        .mode = COMMIT_PUT,
        .shard = shard->shard,
        .key = bytes_of("latest"),
        .value = value};
    commit_write(commit, &row);
    row.table = TABLE_HISTORY;
    row.mode = COMMIT_INSERT;
    row.key = value;
    commit_write(commit, &row);
    batch->ops[number] = (struct store_op){.kind = STORE_COMMIT, .commit = commit};
}

static struct store *open_store(const struct store_options *options)
{
    char text[256] = "";
    struct store *store = NULL;
    expect_err(OK, store_open(options, &store, text), text, __FILE__, __LINE__);
    return store;
}

static struct store_options sqlite_options(struct metrics *metrics)
{
    struct store_options options;
    char reason[256];
    assert_true(support_sqlite_memory(&options, reason));
    options.migrate = true;
    options.readers = 2;
    options.writers = 4;
    options.metrics = metrics;
    return options;
}

/** Commits of one shard, submitted ahead, run in order; SQLite puts them into few transactions. */
static void test_commits_in_order(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_open();
    struct store_options options = sqlite_options(metrics);
    struct store *store = open_store(&options);
    struct shard shard = shard_take(store);
    struct batch *batch = batch_open();
    for (size_t i = 0; i < OPS; i++)
        prepare_commit(batch, i, &shard, (int64_t)i + 1);
    for (size_t i = 0; i < OPS; i++)
        submit(batch, store, i);
    batch_wait(batch, OPS);
    for (size_t i = 0; i < OPS; i++) {
        expect_ok(&batch->ops[i]);
        assert_int_equal(batch->completed[i], i);
    }
    assert_int_equal(scan_all(store, TABLE_HISTORY, shard.shard).row_count, OPS);
    store_close(store);
    struct buffer text = {0};
    metrics_write(metrics, &text);
    buffer_append(&text, "", 1);
    assert_non_null(strstr((const char *)text.data, "strait_store_commit_seconds"));
    assert_non_null(strstr((const char *)text.data, "strait_store_commit_rows"));
    assert_non_null(strstr((const char *)text.data, "strait_store_errors_total"));
    buffer_release(&text);
    metrics_close(metrics);
    batch_close(batch);
}

/** Commits that fail among others that share their transaction fail alone. */
static void test_failures_in_company(void **state)
{
    (void)state;
    struct store_options options = sqlite_options(NULL);
    struct store *store = open_store(&options);
    struct shard good = shard_take(store);
    struct shard bad = shard_take(store);
    bad.range_id = 77;
    struct batch *batch = batch_open();
    int64_t commit_no = 0;
    for (size_t i = 0; i < OPS; i++) {
        bool fails = i % 3 == 1;
        prepare_commit(batch, i, fails ? &bad : &good, fails ? 1 : ++commit_no);
        if (i % 5 == 0 && !fails) {
            /* A duplicate, which must take its commit's fence back too. */
            struct commit_row row = {.table = TABLE_FACT,
                .mode = COMMIT_UPDATE,
                .shard = good.shard,
                .key = bytes_of("missing"),
                .value = bytes_of("x")};
            commit_write(&batch->commits[i], &row);
            commit_no--;
        }
    }
    for (size_t i = 0; i < OPS; i++)
        submit(batch, store, i);
    batch_wait(batch, OPS);
    for (size_t i = 0; i < OPS; i++) {
        enum err expected = i % 3 == 1 ? ERR_FENCED : i % 5 == 0 ? ERR_CORRUPT : OK;
        expect_err(expected, batch->ops[i].err, batch->ops[i].text, __FILE__, __LINE__);
    }
    assert_int_equal(scan_all(store, TABLE_HISTORY, good.shard).row_count, commit_no);
    assert_int_equal(scan_all(store, TABLE_HISTORY, bad.shard).row_count, 0);
    shard_retake(&good);
    assert_int_equal(good.commit_no, commit_no);
    store_close(store);
    batch_close(batch);
}

/** Closing waits for what runs and refuses what waits; nothing is lost or completed twice. */
static void test_close(void **state)
{
    (void)state;
    struct store_options wrapped = sqlite_options(NULL);
    struct store_fault *fault = store_fault_new(&wrapped, 1);
    struct store_options options;
    store_fault_options(fault, &options);
    struct store *store = open_store(&options);
    struct shard shard = shard_take(store);
    store_fault_arm(fault, &(struct store_fault_rule){.calls = STORE_FAULT_ALL,
                               .action = STORE_FAULT_DELAY,
                               .number = 1,
                               .repeat = 1000,
                               .delay_ns = 20 * NS_PER_MS});
    struct batch *batch = batch_open();
    struct store_get get = {.table = TABLE_FACT, .shard = shard.shard, .key = bytes_of("latest")};
    for (size_t i = 0; i < OPS; i++) {
        if (i % 2 == 0)
            prepare_commit(batch, i, &shard, (int64_t)i / 2 + 1);
        else
            batch->ops[i] = (struct store_op){.kind = STORE_SCAN,
                .arena = arena_new(&fixture.arena, struct arena),
                .scan = {.table = get.table, .shard = get.shard, .limit_rows = 1}};
        submit(batch, store, i);
    }
    batch_wait(batch, 3);
    store_close(store);
    batch_wait(batch, OPS);
    assert_int_equal(mailbox_step(batch->mailbox, OPS), 0);
    size_t closed = 0;
    for (size_t i = 0; i < OPS; i++) {
        assert_true(batch->ops[i].err == OK || batch->ops[i].err == ERR_CLOSED);
        closed += batch->ops[i].err == ERR_CLOSED;
        if (batch->ops[i].arena)
            arena_release(batch->ops[i].arena);
    }
    assert_true(closed > 0);
    assert_true(closed < OPS);
    store_fault_free(fault);
    batch_close(batch);
}

/** Gets that wait behind a slow one are answered by few driver calls. */
static void test_gets_are_merged(void **state)
{
    (void)state;
    struct store_options wrapped = sqlite_options(NULL);
    wrapped.readers = 1;
    struct store_fault *fault = store_fault_new(&wrapped, 1);
    struct store_options options;
    store_fault_options(fault, &options);
    struct store *store = open_store(&options);
    struct shard shard = shard_take(store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "k", "v"), OK);
    uint64_t calls = store_fault_calls(fault);
    store_fault_arm(fault, &(struct store_fault_rule){.calls = STORE_FAULT_GET,
                               .action = STORE_FAULT_DELAY,
                               .number = 1,
                               .delay_ns = 100 * NS_PER_MS});
    struct batch *batch = batch_open();
    struct store_get gets[OPS];
    struct arena arenas[OPS] = {{0}};
    for (size_t i = 0; i < OPS; i++) {
        gets[i] = (struct store_get){
            .table = TABLE_FACT, .shard = shard.shard, .key = bytes_of(i % 2 ? "k" : "missing")};
        batch->ops[i] = (struct store_op){
            .kind = STORE_GET, .arena = &arenas[i], .get = {.keys = &gets[i], .count = 1}};
        submit(batch, store, i);
    }
    batch_wait(batch, OPS);
    for (size_t i = 0; i < OPS; i++) {
        expect_ok(&batch->ops[i]);
        assert_int_equal(gets[i].row.found, i % 2);
        arena_release(&arenas[i]);
    }
    assert_true(store_fault_calls(fault) - calls < OPS / 2);
    store_close(store);
    store_fault_free(fault);
    batch_close(batch);
}

static void test_open_errors(void **state)
{
    (void)state;
    char text[256] = "";
    struct store *store = NULL;
    struct store_options options = {
        .driver = store_driver_sqlite(), .file = "/nonexistent/x.db", .migrate = true};
    assert_int_equal(store_open(&options, &store, text), ERR_CONFIG);
    assert_non_null(strstr(text, "unable to open"));
    options.file = "/dev/null";
    assert_int_not_equal(store_open(&options, &store, text), OK);
    assert_null(store);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commits_in_order),
        cmocka_unit_test(test_failures_in_company),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_gets_are_merged),
        cmocka_unit_test(test_open_errors),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&fixture.arena);
    return failed;
}
