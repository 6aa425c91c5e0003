/* SPDX-License-Identifier: Apache-2.0
 *
 * Two clusters: what one commits, the other has, byte for byte, whatever the bus does.
 */
#include "replicator/tests/sites_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/batch.h"

/* ---- the plain case -------------------------------------------------------------------------- */

static void test_replicates(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_work(US, 0, 12);
    assert_int_equal(site_terminate(US, "w3"), GRPC_OK);
    sites_drain();
    assert_alike();
    assert_true(site_rows(EU, TABLE_HISTORY) >= 12);
    assert_int_equal(site_rows(EU, TABLE_RUN), 12);
    assert_int_equal(replicator_dead_letters(sites->site[EU].replicator, (struct uuid){{0}}), 0);
}

/* The newest row of a shard stays: the next seq is taken from it. */
static void test_outbox_is_trimmed_by_reports_only(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(EU, US, false);
    sites_work(US, 0, 12);
    size_t rows = site_rows(US, TABLE_OUTBOX);
    assert_true(rows > SHARDS_US);
    sites_run(10000);
    assert_int_equal(site_rows(US, TABLE_OUTBOX), rows);
    sites_connect(EU, US, true);
    sites_drain();
    sites_run(3000);
    assert_true(site_rows(US, TABLE_OUTBOX) <= SHARDS_US);
    assert_alike();
}

static void test_failover_and_back(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_work(US, 0, 6);
    sites_drain();
    sites_activate(EU);
    sites_run(500);
    for (int i = 0; i < 6; i++)
        assert_int_equal(site_signal(EU, workflow_name(i), 10), GRPC_OK);
    sites_work(EU, 6, 9);
    sites_drain();
    assert_alike();
    sites_activate(US);
    sites_run(500);
    for (int i = 0; i < 9; i++)
        assert_int_equal(site_signal(US, workflow_name(i), 10), GRPC_OK);
    assert_int_equal(site_terminate(US, "w7"), GRPC_OK);
    sites_drain();
    assert_alike();
    assert_int_equal(replicator_dead_letters(sites->site[EU].replicator, (struct uuid){{0}}), 0);
    assert_int_equal(replicator_dead_letters(sites->site[US].replicator, (struct uuid){{0}}), 0);
}

/* ---- faults of the bus ----------------------------------------------------------------------- */

static void test_stream_deleted(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(EU, US, false);
    sites_work(US, 0, 8);
    sites_run(500);
    bus_memory_delete_stream(sites->site[US].hub, "STRAIT_REPL_us_eu");
    sites_run(3000);
    sites_connect(EU, US, true);
    sites_work(US, 8, 10);
    sites_drain();
    assert_alike();
}

static void test_stream_truncated(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(EU, US, false);
    sites_work(US, 0, 8);
    sites_run(500);
    bus_memory_truncate(sites->site[US].hub, "STRAIT_REPL_us_eu", 7);
    sites_connect(EU, US, true);
    sites_drain();
    assert_alike();
}

/* Loses, doubles and delays at random. */
static struct bus_memory_fate judge(void *ctx, const struct bus_memory_transmission *transmission)
{
    (void)transmission;
    uint8_t dice[4];
    sites->env.random(ctx, dice, sizeof(dice));
    struct bus_memory_fate fate = {.copies = 1};
    if (dice[0] < 20)
        fate.copies = 0;
    else if (dice[0] < 50)
        fate.copies = 2;
    fate.delay_ns[0] = dice[1] < 60 ? dice[2] * NS_PER_MS : 0;
    fate.delay_ns[1] = dice[3] * NS_PER_MS;
    return fate;
}

static void test_lossy_bus(void **state)
{
    (void)state;
    sites_namespace(US);
    for (int i = 0; i < SITES; i++)
        bus_memory_set_judge(sites->site[i].hub, judge, sites);
    sites_work(US, 0, 10);
    sites_run(2000);
    assert_int_equal(site_terminate(US, "w2"), GRPC_OK);
    sites_work(US, 10, 14);
    sites_drain();
    for (int i = 0; i < SITES; i++)
        bus_memory_set_judge(sites->site[i].hub, NULL, NULL);
    sites_drain();
    assert_alike();
    assert_int_equal(replicator_dead_letters(sites->site[EU].replicator, (struct uuid){{0}}), 0);
}

static void test_parts(void **state)
{
    (void)state;
    bus_memory_set_payload_max(sites->site[US].hub, 64 * 1024);
    sites_namespace(US);
    sites_work(US, 0, 2);
    assert_int_equal(site_signal(US, "w0", 1000000), GRPC_OK);
    assert_int_equal(site_signal(US, "w0", 10), GRPC_OK);
    sites_drain();
    assert_alike();
}

/* ---- restarts -------------------------------------------------------------------------------- */

static void test_target_restarts(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_work(US, 0, 5);
    site_stop(EU);
    sites_work(US, 5, 10);
    site_start(EU);
    sites_work(US, 10, 12);
    sites_drain();
    assert_alike();
}

/* What was not published is read from the table. */
static void test_source_restarts(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(US, US, false);
    sites_work(US, 0, 10);
    site_stop(US);
    site_start(US);
    sites_work(US, 10, 12);
    sites_drain();
    assert_alike();
}

/* ---- what is missing or broken --------------------------------------------------------------- */

/* The source with `count` workflows that nobody has received, its memory gone. */
static void unpublished(int count)
{
    sites_namespace(US);
    sites_connect(US, US, false);
    sites_work(US, 0, count);
    site_stop(US);
    sites->site[US].offline = true;
    site_start(US);
}

/* Loses every second outbox row: targets find holes in the runs and ask for the events. */
static void lose_rows(void)
{
    for (int32_t shard = 0; shard < SHARDS_US; shard++) {
        struct store_op op = {.kind = STORE_SCAN};
        op.scan =
            (struct store_scan){.table = TABLE_OUTBOX, .shard = shard, .limit_rows = UINT32_MAX};
        site_store(US, &op);
        struct commit commit;
        commit_init(&commit);
        for (size_t i = 0; i + 1 < op.scan.row_count; i += 2) {
            struct commit_row row = {.table = TABLE_OUTBOX,
                .mode = COMMIT_DELETE,
                .shard = shard,
                .key = op.scan.rows[i].key};
            commit_write(&commit, &row);
        }
        struct store_op write = {.kind = STORE_COMMIT};
        write.commit = &commit;
        site_store(US, &write);
        commit_release(&commit);
    }
}

static void assert_fetched(void)
{
    assert_alike();
    assert_int_equal(replicator_dead_letters(sites->site[EU].replicator, (struct uuid){{0}}), 0);
    struct counter *fetches =
        metrics_counter(sites->site[EU].metrics, "strait_apply_fetches_total", NULL, "");
    assert_true(counter_value(fetches) > 0);
}

static void test_missing_events_are_fetched(void **state)
{
    (void)state;
    unpublished(6);
    lose_rows();
    sites_connect(US, US, true);
    for (int i = 0; i < 6; i++)
        assert_int_equal(site_signal(US, workflow_name(i), 10), GRPC_OK);
    sites_drain();
    assert_fetched();
}

/* Batches larger than a message, pages larger than a message. */
static void test_fetch_in_chunks(void **state)
{
    (void)state;
    bus_memory_set_payload_max(sites->site[US].hub, 64 * 1024);
    unpublished(1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(site_signal(US, "w0", 700000), GRPC_OK);
    assert_int_equal(site_signal(US, "w0", 10), GRPC_OK);
    site_stop(US);
    site_start(US);
    lose_rows();
    sites_connect(US, US, true);
    assert_int_equal(site_signal(US, "w0", 10), GRPC_OK);
    sites_drain();
    assert_fetched();
}

static void count_letters(void *ctx, enum err err, Record__DeadLetter *const *items, size_t count)
{
    assert_int_equal(err, OK);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(items[i]->source, "us");
        assert_true(strlen(items[i]->reason) > 0);
    }
    *(size_t *)ctx = count;
}

/* A batch that went bad on the source's disk blocks its run and nothing else. */
static void test_corrupt_item_is_parked(void **state)
{
    (void)state;
    unpublished(6);
    struct store_op op = {.kind = STORE_SCAN};
    int32_t shard = 0;
    for (; shard < SHARDS_US; shard++) {
        op.scan = (struct store_scan){.table = TABLE_HISTORY, .shard = shard, .limit_rows = 1};
        site_store(US, &op);
        if (op.scan.row_count)
            break;
    }
    assert_int_equal(op.scan.row_count, 1);
    struct store_row *row = &op.scan.rows[0];
    uint8_t *bad = arena_copy(&sites->arena, row->value.data, row->value.len);
    bad[BATCH_HEADER_BYTES + 3] ^= 0x55;
    struct commit commit;
    commit_init(&commit);
    struct commit_row change = {.table = TABLE_HISTORY,
        .mode = COMMIT_UPDATE,
        .shard = shard,
        .key = row->key,
        .value = bytes_make(bad, row->value.len)};
    commit_write(&commit, &change);
    struct store_op write = {.kind = STORE_COMMIT};
    write.commit = &commit;
    site_store(US, &write);
    commit_release(&commit);
    sites_connect(US, US, true);
    sites_drain();
    assert_int_equal(site_rows(EU, TABLE_RUN), 5);
    int64_t letters = replicator_dead_letters(sites->site[EU].replicator, sites->namespace_id);
    assert_true(letters >= 4); /* the batch, and what comes behind it in its run */
    size_t listed = 0;
    replicator_list_dead_letters(sites->site[EU].replicator, 100, count_letters, &listed);
    sites_run(100);
    assert_int_equal(listed, letters);
    site_stop(EU);
    site_start(EU);
    assert_int_equal(
        replicator_dead_letters(sites->site[EU].replicator, sites->namespace_id), letters);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sites_setup, sites_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_replicates),
        TEST(test_outbox_is_trimmed_by_reports_only),
        TEST(test_failover_and_back),
        TEST(test_stream_deleted),
        TEST(test_stream_truncated),
        TEST(test_lossy_bus),
        TEST(test_parts),
        TEST(test_target_restarts),
        TEST(test_source_restarts),
        TEST(test_missing_events_are_fetched),
        TEST(test_fetch_in_chunks),
        TEST(test_corrupt_item_is_parked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
