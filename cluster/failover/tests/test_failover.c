/* SPDX-License-Identifier: Apache-2.0
 *
 * Failovers between three clusters over peers that answer, stay silent or forget.
 */
#include <string.h>

#include "cluster/failover/tests/failover_fixture.h"

#define assert_contains(text, part)                              \
    do {                                                         \
        if (!strstr((text), (part)))                             \
            fail_msg("\"%s\" is not in \"%s\"", (part), (text)); \
    } while (0)

static void assert_active(int cluster, const char *active, int64_t version)
{
    const Record__Namespace *record = world_record(cluster);
    assert_string_equal(record->active_cluster, active);
    assert_int_equal(record->failover_version, version);
    assert_int_equal(record->state, RECORD__NAMESPACE__STATE__NORMAL);
    assert_null(record->handover);
}

/* ---- graceful ------------------------------------------------------------------------------- */

static void graceful_moves_it(void **state)
{
    (void)state;
    world_create(true);
    struct outcome outcome = world_failover(US, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_string_equal(outcome.detail->kind, "graceful");
    assert_string_equal(outcome.detail->from, "us");
    assert_string_equal(outcome.detail->to, "eu");
    assert_int_equal(outcome.detail->version, 2);
    assert_active(US, "eu", 2);
    assert_active(EU, "eu", 2);
    assert_active(AP, "us", 1); /* learns it from the records' own replication */
    assert_int_equal(world_barriers(US, ""), WORLD_SHARDS);
    const Record__Namespace *record = world_record(EU);
    assert_int_equal(record->n_history, 1);
    const Record__FailoverEntry *entry = record->history[0];
    assert_string_equal(entry->from, "us");
    assert_string_equal(entry->to, "eu");
    assert_int_equal(entry->from_version, 1);
    assert_int_equal(entry->to_version, 2);
    assert_string_equal(entry->kind, "graceful");
    assert_string_equal(entry->reason, "a drill");
    assert_string_equal(entry->identity, "me");
    assert_int_equal(record->config_version, 1);
}

static void there_and_back(void **state)
{
    (void)state;
    world_create(false);
    for (int64_t i = 0; i < 25; i++) {
        struct outcome there = world_failover(US, "eu", false, false);
        assert_int_equal(there.code, GRPC_OK);
        assert_int_equal(there.detail->version, i * 10 + 2);
        struct outcome back = world_failover(US, "us", false, false); /* relayed to eu */
        assert_int_equal(back.code, GRPC_OK);
        assert_int_equal(back.detail->version, i * 10 + 11);
        assert_string_equal(back.detail->from, "eu");
    }
    assert_active(US, "us", 251);
    assert_active(EU, "us", 251);
    const Record__Namespace *record = world_record(EU);
    assert_int_equal(record->n_history, FAILOVER_HISTORY_MAX);
    assert_int_equal(record->history[FAILOVER_HISTORY_MAX - 1]->to_version, 251);
}

static void active_target_is_no_change(void **state)
{
    (void)state;
    world_create(false);
    struct outcome outcome = world_failover(EU, "us", false, false);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(outcome.detail->version, 1);
    assert_string_equal(outcome.detail->kind, "");
    outcome = world_failover(US, "us", true, false);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(world_record(US)->n_history, 0);
    assert_int_equal(world->members[EU].calls, 0);
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    world_create(false);
    struct outcome outcome = world_failover(US, "ap", false, false);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_contains(outcome.message, "ap is not a cluster of namespace orders");
    outcome = world_failover(US, "mars", false, false);
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    struct failover_request request = {.namespace_name = "nothing", .target = "eu"};
    world_start(US, &request, &outcome);
    world_settle();
    assert_int_equal(outcome.code, GRPC_NOT_FOUND);
    request = (struct failover_request){
        .namespace_name = "orders", .target = "eu", .deadline_ms = HANDOVER_MS_MAX + 1};
    world_start(US, &request, &outcome);
    world_settle();
    assert_int_equal(outcome.code, GRPC_INVALID_ARGUMENT);
    assert_active(US, "us", 1);
}

static void dead_letters_refuse(void **state)
{
    (void)state;
    world_create(false);
    world->dead_letters = 2;
    struct outcome outcome = world_failover(US, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_contains(outcome.message, "2 changes of namespace orders");
    assert_active(US, "us", 1);
}

static void silent_target_refuses(void **state)
{
    (void)state;
    world_create(false);
    world->members[EU].down = true;
    struct outcome outcome = world_failover(US, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_UNAVAILABLE);
    assert_contains(outcome.message, "target cluster eu does not answer");
    assert_active(US, "us", 1);
    assert_int_equal(world_barriers(US, ""), 0);
}

static void missing_barrier_expires(void **state)
{
    (void)state;
    world_create(false);
    world->apply_barriers = false;
    struct failover_request request = {
        .namespace_name = "orders", .target = "eu", .deadline_ms = 300};
    struct outcome outcome;
    world_start(US, &request, &outcome);
    world_settle();
    assert_int_equal(outcome.times, 0);
    const Record__Namespace *record = world_record(US);
    assert_int_equal(record->state, RECORD__NAMESPACE__STATE__HANDOVER);
    assert_string_equal(record->handover->target, "eu");
    assert_int_equal(record->handover->expires, world->wall_ns + 300 * NS_PER_MS);
    world_advance_ms(299);
    assert_int_equal(outcome.times, 0);
    world_advance_ms(1);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_UNAVAILABLE);
    assert_contains(outcome.message, "eu had applied 3 of 4 shards after 300 ms");
    assert_active(US, "us", 1);
    world->apply_barriers = true;
    assert_int_equal(world_failover(US, "eu", false, false).code, GRPC_OK);
    assert_active(EU, "eu", 2);
}

static void late_barriers_grant(void **state)
{
    (void)state;
    world_create(false);
    world->apply_barriers = false;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome outcome;
    world_start(US, &request, &outcome);
    world_settle();
    world_advance_ms(40);
    world->apply_barriers = true;
    world_settle();
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(outcome.detail->pause_ms, 40);
    assert_int_equal(world_record(EU)->history[0]->pause_ms, 40);
}

/* The wall clock jumps past the record's expiry: the compare-and-set refuses, whatever our own
 * clock says. */
static void grant_respects_the_record(void **state)
{
    (void)state;
    world_create(false);
    world->apply_barriers = false;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome outcome;
    world_start(US, &request, &outcome);
    world_settle();
    world->wall_ns += 2 * NS_PER_S;
    world->apply_barriers = true;
    world_settle();
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_contains(outcome.message, "could not be handed over in time");
    assert_active(US, "us", 1);
    assert_active(EU, "us", 1);
}

static void one_at_a_time(void **state)
{
    (void)state;
    world_create(true);
    world->apply_barriers = false;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome first;
    world_start(US, &request, &first);
    world_settle();
    struct outcome second = world_failover(US, "ap", false, false);
    assert_int_equal(second.code, GRPC_FAILED_PRECONDITION);
    assert_contains(second.message, "a graceful failover of namespace orders to eu is under way");
    struct outcome third = world_failover(AP, "ap", false, false); /* relayed to us */
    assert_int_equal(third.code, GRPC_FAILED_PRECONDITION);
    assert_contains(third.message, "under way in us");
    world->apply_barriers = true;
    world_settle();
    assert_int_equal(first.times, 1);
    assert_int_equal(first.code, GRPC_OK);
}

static void grant_is_repeated(void **state)
{
    (void)state;
    world_create(false);
    world->members[EU].grants_to_lose = 3;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome outcome;
    world_start(US, &request, &outcome);
    world_settle();
    assert_int_equal(outcome.times, 0);
    assert_active(US, "eu", 2);
    assert_active(EU, "us", 1);
    for (int i = 0; i < 4; i++)
        world_advance_ms(100);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(outcome.detail->pause_ms, 300);
    assert_active(EU, "eu", 2);
}

/* The caller is told at last; the grant goes on being sent. */
static void late_acknowledgement(void **state)
{
    (void)state;
    world_create(false);
    world->members[EU].grants_to_lose = 30;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome outcome;
    world_start(US, &request, &outcome);
    world_settle();
    for (int i = 0; i < 21; i++)
        world_advance_ms(100);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(outcome.detail->pause_ms, 0);
    assert_active(EU, "us", 1);
    for (int i = 0; i < 20; i++)
        world_advance_ms(100);
    assert_active(EU, "eu", 2);
    assert_int_equal(outcome.times, 1);
}

static void unreachable_active_names_the_way(void **state)
{
    (void)state;
    world_create(false);
    world->members[US].down = true;
    struct outcome outcome = world_failover(EU, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_UNAVAILABLE);
    assert_contains(outcome.message, "cluster us, where namespace orders is active");
    assert_contains(outcome.message, "strait failover orders --to eu --force");
    assert_contains(outcome.message, "8 commits of us are not applied in eu");
    assert_active(EU, "us", 1);
}

static void disagreement_is_not_relayed_in_circles(void **state)
{
    (void)state;
    world_create(true);
    world->members[EU].down = true; /* forced away behind the back of us and eu */
    assert_int_equal(world_failover(AP, "ap", true, true).code, GRPC_OK);
    world->members[EU].down = false;
    /* ap now takes ap for active; eu still us; us still us. */
    assert_active(AP, "ap", 3);
    struct outcome outcome = world_failover(AP, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_OK); /* the grant brings eu up to date */
    assert_active(EU, "eu", 12);
    outcome = world_failover(US, "eu", false, false); /* us has not heard of it all */
    assert_int_equal(outcome.code, GRPC_OK);
    assert_active(EU, "eu", 12);
}

/* ---- handovers without a coordinator -------------------------------------------------------- */

static enum err strand(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    (void)ctx;
    (void)text;
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    *record = *present;
    record->state = RECORD__NAMESPACE__STATE__HANDOVER;
    record->handover = arena_new(arena, Record__Handover);
    record__handover__init(record->handover);
    record->handover->id = arena_strdup(arena, "01234567-89ab-7def-8123-456789abcdef");
    record->handover->target = arena_strdup(arena, "eu");
    record->handover->expires = world->wall_ns + 500 * NS_PER_MS;
    *ret_record = record;
    return OK;
}

static void stranded_handover_expires(void **state)
{
    (void)state;
    world_create(false);
    registry_change(world->members[US].registry, "orders", strand, NULL, NULL);
    world_settle();
    struct outcome outcome = world_failover(US, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_contains(outcome.message, "is being handed over already");
    world_advance_ms(400);
    assert_int_equal(world_record(US)->state, RECORD__NAMESPACE__STATE__HANDOVER);
    world_advance_ms(1100);
    assert_active(US, "us", 1);
    assert_int_equal(world_failover(US, "eu", false, false).code, GRPC_OK);
}

static void stop_reverts(void **state)
{
    (void)state;
    world_create(false);
    world->apply_barriers = false;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome outcome;
    world_start(US, &request, &outcome);
    world_settle();
    failover_stop(world->members[US].failover);
    world_settle();
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_UNAVAILABLE);
    assert_active(US, "us", 1);
    outcome = world_failover(US, "eu", false, false);
    assert_int_equal(outcome.code, GRPC_UNAVAILABLE);
}

/* ---- forced --------------------------------------------------------------------------------- */

static void force_says_what_may_be_lost(void **state)
{
    (void)state;
    world_create(false);
    world->members[US].down = true;
    struct outcome outcome = world_failover(EU, "eu", true, false);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_contains(outcome.message, "nothing was changed");
    assert_contains(outcome.message, "It does not answer.");
    assert_contains(outcome.message, "--force --accept-loss");
    assert_int_equal(outcome.detail->n_losses, WORLD_SHARDS);
    assert_int_equal(outcome.detail->losses[2]->shard, 2);
    assert_int_equal(outcome.detail->losses[2]->applied_seq, 3);
    assert_int_equal(outcome.detail->losses[2]->known_seq, 5);
    assert_active(EU, "us", 1);
}

/* Equal seqs are no proof: the source may have more (R25). */
static void force_without_known_loss_asks_too(void **state)
{
    (void)state;
    world_create(false);
    world->known_seq = 3;
    struct outcome outcome = world_failover(EU, "eu", true, false);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_contains(outcome.message, "0 commits of us are not applied");
    assert_contains(outcome.message, "It still answers");
}

static void force_takes_over(void **state)
{
    (void)state;
    world_create(false);
    world->members[US].down = true;
    struct outcome outcome = world_failover(EU, "eu", true, true);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_string_equal(outcome.detail->kind, "forced");
    assert_int_equal(outcome.detail->version, 2);
    assert_int_equal(outcome.detail->n_losses, WORLD_SHARDS);
    assert_active(EU, "eu", 2);
    const Record__FailoverEntry *entry = world_record(EU)->history[0];
    assert_string_equal(entry->kind, "forced");
    assert_int_equal(entry->lag_events, 2 * WORLD_SHARDS);
    assert_int_equal(entry->lag_ms, 2000);
    assert_int_equal(world->members[US].calls, 0);
}

static void force_is_relayed_to_the_target(void **state)
{
    (void)state;
    world_create(true);
    world->members[US].down = true;
    struct outcome outcome = world_failover(AP, "eu", true, false);
    assert_int_equal(outcome.code, GRPC_FAILED_PRECONDITION);
    assert_int_equal(outcome.detail->n_losses, WORLD_SHARDS);
    outcome = world_failover(AP, "eu", true, true);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(outcome.detail->version, 2);
    assert_active(EU, "eu", 2);
    world->members[US].down = false;
    world->members[EU].down = true;
    outcome = world_failover(US, "eu", true, true);
    assert_int_equal(outcome.code, GRPC_UNAVAILABLE);
    assert_contains(outcome.message, "run the same command with --address of eu");
}

/* The old active cluster is in the middle of a handover when it learns that it lost. */
static void force_ends_a_handover(void **state)
{
    (void)state;
    world_create(true);
    world->apply_barriers = false;
    struct failover_request request = {.namespace_name = "orders", .target = "eu"};
    struct outcome graceful;
    world_start(US, &request, &graceful);
    world_settle();
    assert_int_equal(world_failover(AP, "ap", true, true).code, GRPC_OK);
    registry_merge(world->members[US].registry, world_record(AP), NULL, NULL);
    world_settle();
    assert_active(US, "ap", 3);
    world->apply_barriers = true;
    world_settle();
    assert_int_equal(graceful.times, 1);
    assert_int_equal(graceful.code, GRPC_FAILED_PRECONDITION);
    assert_contains(graceful.message, "is no longer in this handover");
    assert_active(US, "ap", 3);
    assert_active(EU, "us", 1);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(graceful_moves_it),
        WORLD_TEST(there_and_back),
        WORLD_TEST(active_target_is_no_change),
        WORLD_TEST(wrong_requests_are_refused),
        WORLD_TEST(dead_letters_refuse),
        WORLD_TEST(silent_target_refuses),
        WORLD_TEST(missing_barrier_expires),
        WORLD_TEST(late_barriers_grant),
        WORLD_TEST(grant_respects_the_record),
        WORLD_TEST(one_at_a_time),
        WORLD_TEST(grant_is_repeated),
        WORLD_TEST(late_acknowledgement),
        WORLD_TEST(unreachable_active_names_the_way),
        WORLD_TEST(disagreement_is_not_relayed_in_circles),
        WORLD_TEST(stranded_handover_expires),
        WORLD_TEST(stop_reverts),
        WORLD_TEST(force_says_what_may_be_lost),
        WORLD_TEST(force_without_known_loss_asks_too),
        WORLD_TEST(force_takes_over),
        WORLD_TEST(force_is_relayed_to_the_target),
        WORLD_TEST(force_ends_a_handover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
