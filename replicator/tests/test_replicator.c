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

static const char *workflow_name(int i)
{
    static char name[32];
    snprintf(name, sizeof(name), "w%d", i);
    return name;
}

static void work(int active, int from, int to)
{
    for (int i = from; i < to; i++)
        assert_int_equal(site_start_workflow(active, workflow_name(i)), GRPC_OK);
    for (int k = 0; k < 3; k++) {
        for (int i = from; i < to; i++)
            assert_int_equal(site_signal(active, workflow_name(i), 100), GRPC_OK);
    }
}

/* ---- the plain case -------------------------------------------------------------------------- */

static void test_replicates(void **state)
{
    (void)state;
    sites_namespace(US);
    work(US, 0, 12);
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
    work(US, 0, 12);
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
    work(US, 0, 6);
    sites_drain();
    sites_activate(EU);
    sites_run(500);
    for (int i = 0; i < 6; i++)
        assert_int_equal(site_signal(EU, workflow_name(i), 10), GRPC_OK);
    work(EU, 6, 9);
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
    work(US, 0, 8);
    sites_run(500);
    bus_memory_delete_stream(sites->site[US].hub, "STRAIT_REPL_us_eu");
    sites_run(3000);
    sites_connect(EU, US, true);
    work(US, 8, 10);
    sites_drain();
    assert_alike();
}

static void test_stream_truncated(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(EU, US, false);
    work(US, 0, 8);
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
    work(US, 0, 10);
    sites_run(2000);
    assert_int_equal(site_terminate(US, "w2"), GRPC_OK);
    work(US, 10, 14);
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
    work(US, 0, 2);
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
    work(US, 0, 5);
    site_stop(EU);
    work(US, 5, 10);
    site_start(EU);
    work(US, 10, 12);
    sites_drain();
    assert_alike();
}

/* What was not published is read from the table. */
static void test_source_restarts(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(US, US, false);
    work(US, 0, 10);
    site_stop(US);
    site_start(US);
    work(US, 10, 12);
    sites_drain();
    assert_alike();
}

/* ---- what is missing or broken --------------------------------------------------------------- */

/* The source with `count` workflows that nobody has received, its memory gone. */
static void unpublished(int count)
{
    sites_namespace(US);
    sites_connect(US, US, false);
    work(US, 0, count);
    site_stop(US);
    sites->site[US].offline = true;
    site_start(US);
}

/* Every second outbox row is lost: targets find holes in the runs and ask for the events. */
static void test_missing_events_are_fetched(void **state)
{
    (void)state;
    unpublished(6);
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
    sites_connect(US, US, true);
    for (int i = 0; i < 6; i++)
        assert_int_equal(site_signal(US, workflow_name(i), 10), GRPC_OK);
    sites_drain();
    assert_alike();
    assert_int_equal(replicator_dead_letters(sites->site[EU].replicator, (struct uuid){{0}}), 0);
    struct counter *fetches =
        metrics_counter(sites->site[EU].metrics, "strait_apply_fetches", NULL, "");
    assert_true(counter_value(fetches) > 0);
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

/* ---- barriers -------------------------------------------------------------------------------- */

static void add_barriers(const char *handover_id)
{
    for (int32_t i = 0; i < SHARDS_US; i++) {
        char *targets[1] = {arena_strdup(&sites->arena, "eu")};
        Record__OutboxItem item;
        record__outbox_item__init(&item);
        item.kind = RECORD__OUTBOX_ITEM__KIND__BARRIER;
        item.namespace_id.len = 16;
        item.namespace_id.data = sites->namespace_id.bytes;
        item.handover_id = arena_strdup(&sites->arena, handover_id);
        item.n_targets = 1;
        item.targets = targets;
        site_outbox_add(US, i, &item);
    }
}

static bool barriers_are_met(void *ctx)
{
    return replicator_barriers(sites->site[US].replicator, EU, ctx) == SHARDS_US;
}

static void test_barriers(void **state)
{
    (void)state;
    sites_namespace(US);
    work(US, 0, 5);
    sites_connect(EU, US, false);
    add_barriers("handover-1");
    sites_run(2000);
    assert_int_equal(replicator_barriers(sites->site[US].replicator, EU, "handover-1"), 0);
    sites_connect(EU, US, true);
    sites_until(barriers_are_met, (void *)(uintptr_t) "handover-1");
    assert_int_equal(replicator_barriers(sites->site[US].replicator, EU, "handover-2"), 0);
}

static void test_barrier_behind_a_dead_letter(void **state)
{
    (void)state;
    sites_namespace(US);
    char *targets[1] = {arena_strdup(&sites->arena, "eu")};
    Record__OutboxItem item;
    record__outbox_item__init(&item);
    item.kind = RECORD__OUTBOX_ITEM__KIND__RUN_DELETED;
    item.namespace_id.len = 16;
    item.namespace_id.data = sites->namespace_id.bytes;
    item.run_id.len = 3;
    item.run_id.data = sites->namespace_id.bytes;
    item.workflow_id = arena_strdup(&sites->arena, "w");
    item.n_targets = 1;
    item.targets = targets;
    site_outbox_add(US, 0, &item);
    sites_run(1000);
    assert_int_equal(replicator_dead_letters(sites->site[EU].replicator, sites->namespace_id), 1);
    add_barriers("handover-1");
    sites_run(5000);
    assert_int_equal(replicator_barriers(sites->site[US].replicator, EU, "handover-1"), 0);
    Replication__ShardLoss **losses;
    assert_int_equal(
        replicator_losses(sites->site[EU].replicator, US, &sites->arena, &losses), SHARDS_US);
    assert_true(losses[0]->applied_seq < losses[0]->known_seq);
    assert_int_equal(losses[1]->applied_seq, losses[1]->known_seq);
}

/* ---- watching -------------------------------------------------------------------------------- */

struct verified {
    bool done;
    enum err err;
    int64_t compared;
    int64_t equal;
    int64_t differences;
    enum verify_kind kind;
};

static void verify_done(void *ctx, const struct verify_result *result)
{
    struct verified *verified = ctx;
    *verified = (struct verified){true, result->err, result->runs_compared, result->runs_equal,
        result->difference_count, VERIFY_DIFFERENT};
    if (result->listed)
        verified->kind = result->differences[0].kind;
}

static bool is_verified(void *ctx)
{
    return ((struct verified *)ctx)->done;
}

static struct verified verify(int index, int other)
{
    struct verified verified = {0};
    replicator_verify(
        sites->site[index].replicator, sites->namespace_id, other, verify_done, &verified);
    sites_until(is_verified, &verified);
    return verified;
}

static void test_verify(void **state)
{
    (void)state;
    sites_namespace(US);
    work(US, 0, 7);
    sites_drain();
    struct verified verified = verify(US, EU);
    assert_int_equal(verified.err, OK);
    assert_int_equal(verified.compared, 7);
    assert_int_equal(verified.equal, 7);
    assert_int_equal(verified.differences, 0);
    sites_connect(EU, US, false);
    assert_int_equal(site_signal(US, "w1", 10), GRPC_OK);
    assert_int_equal(site_start_workflow(US, "w7"), GRPC_OK);
    verified = verify(US, EU);
    assert_int_equal(verified.equal, 6);
    assert_int_equal(verified.differences, 2); /* one behind there, one missing there */
    sites_connect(EU, US, true);
    sites_connect(US, EU, false);
    assert_int_not_equal(verify(US, EU).err, OK);
}

static void test_lanes_and_clusters(void **state)
{
    (void)state;
    sites_namespace(US);
    work(US, 0, 3);
    sites_drain();
    struct replication_lane *lanes;
    struct replicator *us = sites->site[US].replicator;
    assert_int_equal(replicator_lanes(us, &sites->arena, sites->namespace_id, &lanes), 1);
    assert_string_equal(lanes[0].source, "us");
    assert_string_equal(lanes[0].target, "eu");
    assert_int_equal(lanes[0].state, LANE_OK);
    assert_true(lanes[0].newest_seq > 0);
    assert_int_equal(lanes[0].applied_seq, lanes[0].newest_seq);
    sites_connect(EU, US, false);
    assert_int_equal(site_signal(US, "w1", 10), GRPC_OK);
    sites_run(30000);
    assert_int_equal(replicator_lanes(us, &sites->arena, sites->namespace_id, &lanes), 1);
    assert_int_equal(lanes[0].lag_events, 1);
    assert_true(lanes[0].lag_ms >= 29000);
    struct replication_cluster cluster;
    replicator_cluster(us, EU, &cluster);
    assert_true(cluster.connected);
    assert_int_equal(cluster.shards, SHARDS_EU);
    assert_string_equal(cluster.server_version, "test");
}

/* A change that its broadcast did not reach. */
static void test_metadata_by_digest(void **state)
{
    (void)state;
    sites_namespace(US);
    sites_connect(US, EU, false);
    sites_connect(EU, US, false);
    sites_activate(EU);
    sites_run(2000);
    struct namespace_view *view = registry_view(sites->site[US].registry, NAMESPACE);
    assert_true(view->active);
    namespace_view_unref(view);
    sites_connect(US, EU, true);
    sites_connect(EU, US, true);
    sites_run(12000);
    view = registry_view(sites->site[US].registry, NAMESPACE);
    assert_false(view->active);
    assert_string_equal(view->active_cluster, "eu");
    namespace_view_unref(view);
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
        TEST(test_corrupt_item_is_parked),
        TEST(test_barriers),
        TEST(test_barrier_behind_a_dead_letter),
        TEST(test_verify),
        TEST(test_lanes_and_clusters),
        TEST(test_metadata_by_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
