/* SPDX-License-Identifier: Apache-2.0
 *
 * Items of another cluster over a real engine: histories, gaps, arbitration, namespaces.
 * Facts and dead letters: test_apply_fact.c, test_apply_dead.c.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/mem.h"
#include "replicator/tests/apply_fixture.h"

/* ---- linear histories ------------------------------------------------------------------------ */

static void a_run_arrives(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    line_signal(line, "a");
    line_complete(line);
    apply_line(line);
    struct seen seen = see(line);
    assert_true(seen.current);
    assert_false(seen.open);
    assert_false(seen.zombie);
    assert_int_equal(place->fetches, 0);
    place_restart();
    assert_complete(line);
    assert_int_equal(rows_of(TABLE_HISTORY, uuid_view(&line->run_id)), 3);
}

static void nothing_is_sent_on(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    assert_int_equal(rows_of(TABLE_OUTBOX, bytes_of("")), 0);
}

static void repetitions_change_nothing(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    line_signal(line, "a");
    apply_line(line);
    apply_batch(line, 0);
    apply_batch(line, 1);
    apply_batch(line, 0);
    assert_complete(line);
    line_complete(line);
    apply_batch(line, 2);
    apply_batch(line, 1);
    place_restart();
    for (size_t i = 0; i < line->batch_count; i++)
        apply_batch(line, i);
    assert_complete(line);
    assert_int_equal(rows_of(TABLE_HISTORY, uuid_view(&line->run_id)), 3);
}

static void gaps_are_fetched(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    for (int i = 0; i < 6; i++)
        line_signal(line, "s");
    apply_batch(line, 0);
    apply_batch(line, 6); /* 1 to 5 are missing */
    assert_complete(line);
    assert_int_equal(place->fetches, 1);
    for (size_t i = 1; i < 6; i++)
        apply_batch(line, i);
    assert_int_equal(place->fetches, 1);
    assert_complete(line);
}

static void a_missing_beginning_is_fetched_in_pages(void **state)
{
    (void)state;
    place->page = 2;
    struct line *line = line_new("w", 1);
    line_start(line);
    for (int i = 0; i < 8; i++)
        line_signal(line, "s");
    const struct sent *last = send_batch(line, 8);
    const struct sent *first = send_batch(line, 0);
    place_settle();
    assert_outcome(last, APPLY_DONE);
    assert_outcome(first, APPLY_DONE);
    assert_complete(line);
    assert_int_equal(place->fetches, 4);
}

static void an_unreachable_source_means_later(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    struct line *other = line_new("v", 1);
    line_start(line);
    line_signal(line, "a");
    line_signal(line, "b");
    line_start(other);
    place->source_down = true;
    const struct sent *late = send_batch(line, 1);
    const struct sent *behind = send_batch(line, 2);
    apply_batch(other, 0);
    assert_outcome(late, APPLY_RETRY);
    assert_outcome(behind, APPLY_RETRY);
    assert_false(see(line).exists);
    place->source_down = false;
    apply_batch(line, 1);
    apply_batch(line, 2);
    assert_complete(line);
}

static void several_versions_in_one_row(void **state)
{
    (void)state;
    place_merge(place_record("us", 11, true));
    struct line *line = line_new("w", 1);
    line_start(line);
    line_signal(line, "a");
    line->version = 11;
    line_signal(line, "b");
    /* All carry the history as it is at the end, as the batches of one commit do. */
    apply_line(line);
    place_restart();
    assert_complete(line);
}

static void a_failed_commit_means_later(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    line_signal(line, "a");
    struct store_fault_rule rule = {.calls = STORE_FAULT_COMMIT,
        .action = STORE_FAULT_FAIL,
        .number = 1,
        .err = ERR_UNAVAILABLE};
    store_fault_arm(place->fault, &rule);
    const struct sent *first = send_batch(line, 0);
    const struct sent *second = send_batch(line, 1);
    place_settle();
    assert_outcome(first, APPLY_RETRY);
    assert_outcome(second, APPLY_RETRY);
    assert_false(see(line).exists);
    apply_line(line);
    /* The answer is lost, the change is not. */
    rule.action = STORE_FAULT_LOSE_ANSWER;
    store_fault_disarm(place->fault);
    store_fault_arm(place->fault, &rule);
    line_signal(line, "b");
    apply_batch(line, 2);
    assert_complete(line);
}

/* ---- several runs of one workflow id --------------------------------------------------------- */

static void a_chain_arrives(void **state)
{
    (void)state;
    struct line *first = line_new("w", 1);
    struct line *second = line_new("w", 1);
    line_start(first);
    line_continue(first, second);
    line_start(second);
    send_batch(first, 0);
    send_batch(first, 1);
    send_batch(second, 0);
    place_settle();
    assert_complete(first);
    assert_complete(second);
    assert_false(see(first).current);
    assert_false(see(first).open);
    assert_true(see(second).current);
}

/* The end of the first run is missing when the second begins: it is not the older one. */
static void a_successor_waits_for_its_predecessor(void **state)
{
    (void)state;
    place->page = 1;
    struct line *first = line_new("w", 1);
    struct line *second = line_new("w", 1);
    line_start(first);
    line_signal(first, "a");
    line_continue(first, second);
    line_start(second);
    apply_batch(first, 0);
    apply_batch(second, 0);
    assert_complete(first);
    assert_complete(second);
    assert_false(see(second).zombie);
    assert_true(see(second).current);
    assert_int_equal(place->fetches, 2);
}

/* It is still open at the source too: what begins beside it is an old run. */
static void an_old_run_becomes_a_zombie(void **state)
{
    (void)state;
    struct line *old = line_new("w", 1);
    struct line *present = line_new("w", 1);
    line_start(old);
    line_start(present);
    apply_batch(present, 0);
    apply_batch(old, 0);
    assert_true(see(present).current);
    assert_false(see(present).zombie);
    assert_true(see(old).zombie);
    line_signal(old, "a");
    apply_batch(old, 1);
    assert_complete(old);
    place_restart();
    assert_true(see(old).zombie);
    assert_true(see(present).current);
}

static void a_lower_version_loses(void **state)
{
    (void)state;
    place_merge(place_record("us", 11, true));
    struct line *old = line_new("w", 1);
    struct line *present = line_new("w", 11);
    line_start(old);
    line_start(present);
    apply_batch(present, 0);
    apply_batch(old, 0);
    assert_true(see(old).zombie);
    assert_true(see(present).current);
    assert_int_equal(place->fetches, 0);
}

static void a_higher_version_wins(void **state)
{
    (void)state;
    place_merge(place_record("us", 11, true));
    struct line *old = line_new("w", 1);
    struct line *present = line_new("w", 11);
    line_start(old);
    line_start(present);
    apply_batch(old, 0);
    apply_batch(present, 0);
    assert_true(see(old).zombie);
    assert_true(see(present).current);
    assert_false(see(present).zombie);
    place_restart();
    assert_true(see(old).zombie);
    assert_true(see(present).current);
}

/* ---- deletion -------------------------------------------------------------------------------- */

static void deletion_is_followed(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    line_complete(line);
    send_batch(line, 0);
    send_batch(line, 1);
    const struct sent *deleted = send_item(item_new(line, ITEM(RUN_DELETED)));
    const struct sent *again = send_item(item_new(line, ITEM(RUN_DELETED)));
    place_settle();
    assert_outcome(deleted, APPLY_DONE);
    assert_outcome(again, APPLY_DONE);
    assert_false(see(line).exists);
    assert_int_equal(rows_of(TABLE_HISTORY, uuid_view(&line->run_id)), 0);
    assert_int_equal(rows_of(TABLE_CURRENT_RUN, bytes_of("")), 0);
}

static void deletion_spares_what_lives_here(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    place_merge(place_record("eu", 2, true));
    apply_expect(item_new(line, ITEM(RUN_DELETED)), APPLY_IGNORED);
    assert_true(see(line).exists);
}

/* ---- namespaces ------------------------------------------------------------------------------ */

static void an_unknown_namespace_is_asked_for(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    place->namespace_id.bytes[0] ^= 0xff;
    apply_expect(item_batch(line, 0), APPLY_RETRY);
    assert_int_equal(place->namespace_asks, 1);
    Record__Namespace *record = place_record("us", 1, true);
    record->name = record->clusters[0]; /* any other name */
    place->known_there = record;
    apply_batch(line, 0);
    assert_int_equal(place->namespace_asks, 2);
    assert_complete(line);
}

static void events_before_their_failover(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    line->version = 11;
    line_signal(line, "a");
    apply_expect(item_batch(line, 1), APPLY_RETRY);
    place->known_there = place_record("us", 1, true); /* not there yet either */
    apply_expect(item_batch(line, 1), APPLY_RETRY);
    place->known_there = place_record("us", 11, true);
    apply_batch(line, 1);
    assert_complete(line);
    assert_int_equal(place->namespace_asks, 3);
}

static void not_our_namespace(void **state)
{
    (void)state;
    place_merge(place_record("us", 1, false));
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_expect(item_batch(line, 0), APPLY_IGNORED);
    assert_int_equal(place->namespace_asks, 0);
    assert_false(see(line).exists);
}

/* ---- any order ------------------------------------------------------------------------------- */

static void grow(struct line *line)
{
    line_start(line);
    for (uint64_t n = place_random(12); n > 0; n--) {
        if (place_random(3) == 0)
            line_end_activity(line, line_activity(line, "a"));
        else
            line_signal(line, "s");
    }
    if (place_random(2))
        line_complete(line);
}

static void any_order_converges(void **state)
{
    (void)state;
    const char *text = getenv("TEST_SEED");
    place->random = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("# replay: TEST_SEED=%llu\n", (unsigned long long)place->random);
    enum { LINES = 12 };
    struct line *lines[LINES];
    place->page = 1 + place_random(4);
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < LINES; i++) {
            char name[16] = {'w', (char)('a' + i), (char)('a' + round)};
            lines[i] = line_new(name, 1);
            grow(lines[i]);
        }
        for (int n = 0; n < 120; n++) {
            const struct line *line = lines[place_random(LINES)];
            send_batch(line, place_random(line->batch_count));
            if (place_random(10) == 0)
                place_settle();
        }
        if (place_random(3) == 0) {
            place_settle();
            place_restart();
        }
        for (int i = 0; i < LINES; i++)
            send_batch(lines[i], lines[i]->batch_count - 1);
        place_settle();
        assert_int_equal(apply_pending(place->apply), 0);
        assert_int_equal(apply_dead_letters(place->apply), 0);
        for (int i = 0; i < LINES; i++)
            assert_complete(lines[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_arrives),
        TEST(nothing_is_sent_on),
        TEST(repetitions_change_nothing),
        TEST(gaps_are_fetched),
        TEST(a_missing_beginning_is_fetched_in_pages),
        TEST(an_unreachable_source_means_later),
        TEST(several_versions_in_one_row),
        TEST(a_failed_commit_means_later),
        TEST(a_chain_arrives),
        TEST(a_successor_waits_for_its_predecessor),
        TEST(an_old_run_becomes_a_zombie),
        TEST(a_lower_version_loses),
        TEST(a_higher_version_wins),
        TEST(deletion_is_followed),
        TEST(deletion_spares_what_lives_here),
        TEST(an_unknown_namespace_is_asked_for),
        TEST(events_before_their_failover),
        TEST(not_our_namespace),
        TEST(any_order_converges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
