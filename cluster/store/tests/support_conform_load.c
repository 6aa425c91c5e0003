/* SPDX-License-Identifier: Apache-2.0
 *
 * Conformance: reads while others work, and reads made of several.
 */
#include <stdio.h>

#include "cluster/store/tests/store_fixture.h"

static struct commit_row fact_row(
    const struct shard *shard, enum commit_mode mode, struct bytes key, struct bytes value)
{
    return (struct commit_row){
        .table = TABLE_FACT, .mode = mode, .shard = shard->shard, .key = key, .value = value};
}

struct waiter {
    struct waker *waker;
    struct mailbox *mailbox;
    size_t outstanding;
};

static void waiter_open(struct waiter *waiter)
{
    waiter->outstanding = 0;
    waiter->waker = waker_open();
    waiter->mailbox = mailbox_open(waiter, waiter->waker, 1024);
}

static void waiter_deliver(struct mail *mail, void *owner)
{
    struct store_op *op = CONTAINER_OF(mail, struct store_op, mail);
    struct waiter *waiter = owner;
    expect_ok(op);
    waiter->outstanding--;
}

static void waiter_submit(struct waiter *waiter, struct store_op *op)
{
    op->mail.deliver = waiter_deliver;
    op->reply_to = waiter->mailbox;
    waiter->outstanding++;
    store_submit(fixture.store, op);
}

static void waiter_wait(struct waiter *waiter, size_t until)
{
    while (waiter->outstanding > until) {
        if (fixture.options.driver->stepped)
            (void)store_step(fixture.store, 3);
        if (mailbox_step(waiter->mailbox, 100) == 0 && waiter->outstanding > until)
            waker_wait(waiter->waker, NS_PER_S / 100);
    }
}

/** The mailbox can be closed only when its producers, the store's threads, are gone: so it is left
 *  to the end of the process, which sanitizers accept because it is reachable. */
static struct waiter *waiter_shared(void)
{
    static struct waiter waiter;
    if (!waiter.mailbox)
        waiter_open(&waiter);
    return &waiter;
}

#define MANY_GETS 300

/** Many gets at once, which the pool merges: each gets its own answers in its own arena. */
static void test_many_gets(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    for (int64_t i = 0; i < 10; i++) {
        struct bytes key = key_seq(&commit.arena, i);
        struct commit_row row = fact_row(&shard, COMMIT_INSERT, key, key);
        commit_write(&commit, &row);
    }
    assert_int_equal(shard_commit(&shard, &commit), OK);
    commit_release(&commit);
    struct waiter *waiter = waiter_shared();
    struct store_op *ops = arena_zalloc(&fixture.arena, MANY_GETS, sizeof(*ops));
    struct store_get *gets = arena_zalloc(&fixture.arena, MANY_GETS * 2, sizeof(*gets));
    struct arena *arenas = arena_zalloc(&fixture.arena, MANY_GETS, sizeof(*arenas));
    for (int i = 0; i < MANY_GETS; i++) {
        for (int j = 0; j < 2; j++)
            gets[2 * i + j] = (struct store_get){.table = TABLE_FACT,
                .shard = shard.shard,
                .key = key_seq(&fixture.arena, j == 0 ? i % 10 : i % 13)};
        ops[i] = (struct store_op){.kind = STORE_GET,
            .arena = &arenas[i],
            .get = {.keys = &gets[2 * i], .count = (size_t)(i % 3)}};
        waiter_submit(waiter, &ops[i]);
    }
    waiter_wait(waiter, 0);
    for (int i = 0; i < MANY_GETS; i++) {
        for (int j = 0; j < i % 3; j++) {
            const struct store_get *get = &gets[2 * i + j];
            assert_int_equal(get->row.found, j == 0 || i % 13 < 10);
            if (get->row.found)
                assert_true(bytes_equal(get->row.value, get->key));
            assert_true(bytes_equal(get->row.key, get->key));
        }
    }
    for (int i = 0; i < MANY_GETS; i++)
        arena_release(&arenas[i]);
}

#define ROUNDS           100
#define CONCURRENT_SCANS 6

/** Two rows change together; scans running meanwhile never see one without the other, nor anything
 *  older than what was committed before they were submitted. */
static void test_reads_during_commits(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "a", "0"), OK);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "b", "0"), OK);
    struct waiter *waiter = waiter_shared();
    struct store_op scans[CONCURRENT_SCANS];
    struct commit commit;
    commit_init(&commit);
    for (int round = 1; round <= ROUNDS; round++) {
        for (size_t i = 0; i < CONCURRENT_SCANS; i++) {
            scans[i] = (struct store_op){.kind = STORE_SCAN,
                .arena = arena_new(&fixture.arena, struct arena),
                .scan = {.table = TABLE_FACT, .shard = shard.shard, .limit_rows = 10}};
            waiter_submit(waiter, &scans[i]);
        }
        commit_reset(&commit);
        shard_section(&commit, &shard);
        for (int i = 0; i < 2; i++) {
            struct commit_row row = fact_row(&shard, COMMIT_UPDATE, bytes_of(i == 0 ? "a" : "b"),
                bytes_of(arena_printf(&commit.arena, "%d", round)));
            commit_write(&commit, &row);
        }
        struct store_op op = {.kind = STORE_COMMIT, .writer = shard.shard, .commit = &commit};
        waiter_submit(waiter, &op);
        waiter_wait(waiter, 0);
        shard.commit_no++;
        for (size_t i = 0; i < CONCURRENT_SCANS; i++) {
            const struct store_scan *scan = &scans[i].scan;
            assert_int_equal(scan->row_count, 2);
            assert_true(bytes_equal(scan->rows[0].value, scan->rows[1].value));
            char old[16];
            char new[16];
            (void)snprintf(old, sizeof(old), "%d", round - 1);
            (void)snprintf(new, sizeof(new), "%d", round);
            assert_true(bytes_equal(scan->rows[0].value, bytes_of(old)) ||
                        bytes_equal(scan->rows[0].value, bytes_of(new)));
            arena_release(scans[i].arena);
        }
    }
    commit_release(&commit);
}

static enum err read_custom(struct store_session *session, struct store_op *op, void *ctx)
{
    struct store_get *get = ctx;
    enum err err = session_get(session, op->arena, get, 1);
    if (err)
        return err;
    struct store_scan scan = {
        .table = get->table, .shard = get->shard, .from = get->row.value, .limit_rows = 1};
    err = session_scan(session, op->arena, &scan);
    if (err)
        return err;
    if (scan.row_count != 1)
        return ERR_NOT_FOUND;
    get->row = scan.rows[0];
    return OK;
}

static void test_custom(void **state)
{
    (void)state;
    struct shard shard = shard_take(fixture.store);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "pointer", "target"), OK);
    assert_int_equal(shard_write(&shard, TABLE_FACT, COMMIT_INSERT, "target", "zz"), OK);
    struct store_get get = {.table = TABLE_FACT, .shard = shard.shard, .key = bytes_of("pointer")};
    struct store_op op = {
        .kind = STORE_CUSTOM, .arena = &fixture.arena, .custom = {.fn = read_custom, .ctx = &get}};
    assert_int_equal(store_run(fixture.store, &op), OK);
    assert_true(bytes_equal(get.row.value, bytes_of("zz")));
    get.key = bytes_of("target");
    assert_int_equal(store_run(fixture.store, &op), ERR_NOT_FOUND);
    assert_string_equal(op.text, err_text(ERR_NOT_FOUND));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_many_gets),
    cmocka_unit_test(test_reads_during_commits),
    cmocka_unit_test(test_custom),
};

const struct conformance_tests conform_load = {tests, ARRAY_LEN(tests)};
