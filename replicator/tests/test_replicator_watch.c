/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known about replication while it runs: barriers, losses, verification, lanes, metadata.
 */
#include <string.h>

#include "replicator/tests/sites_fixture.h"

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
    sites_work(US, 0, 5);
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
    sites_work(US, 0, 7);
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
    sites_work(US, 0, 3);
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
        TEST(test_barriers),
        TEST(test_barrier_behind_a_dead_letter),
        TEST(test_verify),
        TEST(test_lanes_and_clusters),
        TEST(test_metadata_by_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
