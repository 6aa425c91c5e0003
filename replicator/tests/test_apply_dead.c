/* SPDX-License-Identifier: Apache-2.0
 *
 * What cannot be applied: parked durably, with its run, while everything else goes on.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "proto/record.pb-c.h"
#include "replicator/tests/apply_fixture.h"

#define PARKED_BEHIND "an earlier item of the run is a dead letter"

static struct line *line_of_signals(const char *workflow_id, int count)
{
    struct line *line = line_new(workflow_id, 1);
    line_start(line);
    for (int i = 0; i < count; i++)
        line_signal(line, "s");
    return line;
}

/* The same item with one bit of its batch flipped. */
static Replication__Item *damaged(const struct line *line, size_t number)
{
    Replication__Item *item = item_batch(line, number);
    item->value.data = arena_copy(&place->arena, item->value.data, item->value.len);
    item->value.data[place_random(item->value.len)] ^= (uint8_t)(1u << place_random(8));
    return item;
}

static Record__DeadLetter *only_letter(void)
{
    Record__DeadLetter *letter = NULL;
    for (int32_t shard = 0; shard < 4; shard++) {
        struct store_op op = {.kind = STORE_SCAN,
            .arena = &place->arena,
            .scan = {.table = TABLE_DEAD_LETTER, .shard = shard, .limit_rows = 10}};
        assert_int_equal(store_run(place->store, &op), OK);
        for (size_t i = 0; i < op.scan.row_count; i++) {
            assert_null(letter);
            letter = proto_unpack(
                &place->arena, &record__dead_letter__descriptor, op.scan.rows[i].value);
            assert_non_null(letter);
        }
    }
    return letter;
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void damage_stops_only_its_run(void **state)
{
    (void)state;
    struct line *bad = line_of_signals("bad", 3);
    struct line *good = line_of_signals("good", 3);
    send_batch(bad, 0);
    Replication__Item *item = damaged(bad, 1);
    const struct sent *dead = send_item(item);
    const struct sent *behind = send_batch(bad, 2);
    for (size_t i = 0; i < 4; i++)
        send_batch(good, i);
    place_settle();
    assert_dead(dead, "the batch does not decode");
    assert_dead(behind, PARKED_BEHIND);
    assert_complete(good);
    assert_int_equal(see(bad).next, 3); /* what came before counts */
    assert_int_equal(apply_dead_letters(place->apply), 2);
    assert_int_equal(apply_dead_letters_of(place->apply, place->namespace_id), 2);
    assert_int_equal(apply_dead_letters_of(place->apply, (struct uuid){0}), 0);
}

static void letters_say_what_happened(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 1);
    apply_batch(line, 0);
    Replication__Item *item = damaged(line, 1);
    apply_expect(item, APPLY_DEAD_LETTERED);
    const Record__DeadLetter *letter = only_letter();
    assert_non_null(letter);
    assert_int_equal(letter->format, 1);
    assert_string_equal(letter->source, "us");
    assert_int_equal(letter->source_shard, 5);
    assert_int_equal(letter->epoch, 1);
    assert_int_equal(letter->seq, item->seq);
    assert_string_equal(letter->workflow_id, "w");
    assert_string_equal(letter->reason, "the batch does not decode");
    const Replication__Item *kept = proto_unpack(&place->arena, &replication__item__descriptor,
        bytes_make(letter->item.data, letter->item.len));
    assert_non_null(kept);
    assert_true(bytes_equal(
        proto_pack(&place->arena, &kept->base), proto_pack(&place->arena, &item->base)));
}

static void letters_are_remembered(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 2);
    struct line *other = line_of_signals("v", 1);
    apply_batch(line, 0);
    Replication__Item *item = damaged(line, 1);
    apply_expect(item, APPLY_DEAD_LETTERED);
    place_restart();
    assert_int_equal(apply_dead_letters(place->apply), 1);
    assert_int_equal(apply_dead_letters_of(place->apply, place->namespace_id), 1);
    const struct sent *behind = send_batch(line, 2);
    place_settle();
    assert_dead(behind, PARKED_BEHIND);
    apply_line(other);
    /* The same one again, because its progress was not stored. */
    apply_expect(item, APPLY_DEAD_LETTERED);
    assert_int_equal(apply_dead_letters(place->apply), 2);
    assert_int_equal(rows_of(TABLE_DEAD_LETTER, bytes_of("")), 2);
}

static void a_letter_that_is_not_stored(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 2);
    apply_batch(line, 0);
    struct store_fault_rule rule = {.calls = STORE_FAULT_COMMIT,
        .action = STORE_FAULT_FAIL,
        .number = 1,
        .err = ERR_UNAVAILABLE};
    store_fault_arm(place->fault, &rule);
    Replication__Item *item = damaged(line, 1);
    const struct sent *bad = send_item(item);
    const struct sent *behind = send_batch(line, 2);
    place_settle();
    assert_outcome(bad, APPLY_RETRY);
    assert_outcome(behind, APPLY_RETRY);
    assert_int_equal(apply_dead_letters(place->apply), 0);
    apply_expect(item, APPLY_DEAD_LETTERED);
    assert_int_equal(apply_dead_letters(place->apply), 1);
}

/* ---- events that do not fit ------------------------------------------------------------------ */

/* A batch whose hashes are right and whose events are not: it costs the run its place in memory,
 * and must not cost it what came before. */
static void bad_events_among_good_ones(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 4);
    Api__HistoryEvent *event = line_event(EVENT(ACTIVITY_TASK_COMPLETED));
    event->activity_task_completed_event_attributes->scheduled_event_id = 2;
    line_add(line, event);
    size_t bad = line_end(line);
    line_signal(line, "behind");
    struct sent *sent[LINE_BATCHES_MAX];
    for (size_t i = 0; i < line->batch_count; i++)
        sent[i] = send_batch(line, i);
    place_settle();
    for (size_t i = 0; i < bad; i++)
        assert_outcome(sent[i], APPLY_DONE);
    assert_dead(sent[bad], "the events do not fit the run");
    assert_dead(sent[bad + 1], PARKED_BEHIND);
    assert_int_equal(see(line).next, line->firsts[bad]);
    place_restart();
    assert_int_equal(see(line).next, line->firsts[bad]);
    assert_true(see(line).current);
}

static void a_bad_beginning(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_signal(line, "not a beginning");
    const struct sent *sent = send_batch(line, 0);
    place_settle();
    assert_dead(sent, "the events do not fit the run");
    assert_false(see(line).exists);
    assert_int_equal(rows_of(TABLE_RUN, bytes_of("")), 0);
    struct line *next = line_of_signals("w", 1);
    apply_line(next);
    assert_true(see(next).current);
}

static void events_of_a_newer_release(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 1);
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_EXECUTION_SIGNALED));
    event->event_type = (Api__EventType)9999;
    line_add(line, event);
    size_t number = line_end(line);
    apply_batch(line, 0);
    apply_batch(line, 1);
    const struct sent *sent = send_batch(line, number);
    place_settle();
    assert_dead(sent, "newer format");
    assert_int_equal(see(line).next, line->firsts[number]);
}

static void another_history_under_the_same_ids(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 1);
    apply_line(line);
    line->digest ^= 1;
    line_signal(line, "x");
    const struct sent *sent = send_batch(line, 2);
    place_settle();
    assert_dead(sent, "histories differ: the digest chain is broken");
}

static void diverged_branches(void **state)
{
    (void)state;
    place_merge(place_record("us", 11, true));
    struct line *line = line_of_signals("w", 0);
    line->version = 11;
    line_signal(line, "ours");
    apply_line(line);
    struct line *other = line_new("w", 1);
    other->run_id = line->run_id;
    line_start(other);
    other->version = 3;
    line_signal(other, "theirs");
    const struct sent *sent = send_batch(other, 1);
    place_settle();
    assert_dead(sent, "branches diverged: not resolved by this release");
    assert_complete(line);
}

/* ---- items that say nothing ------------------------------------------------------------------ */

static void malformed_items(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 1);
    Replication__Item *items[6];
    for (size_t i = 0; i < 6; i++)
        items[i] = item_batch(line, 0);
    items[0]->namespace_id.len = 15;
    items[1]->run_id.len = 0;
    items[2]->workflow_id[0] = 0;
    char *text = arena_zalloc(&place->arena, 1002, 1);
    memset(text, 'x', 1001);
    items[3]->workflow_id = text;
    items[4]->kind = (Record__OutboxItem__Kind)77;
    items[5]->kind = RECORD__OUTBOX_ITEM__KIND__NONE;
    for (size_t i = 0; i < 6; i++) {
        const struct sent *sent = send_item(items[i]);
        place_settle();
        assert_outcome(sent, APPLY_DEAD_LETTERED);
        if (i < 4)
            assert_string_equal(sent->item.reason, "ids are malformed");
    }
    assert_int_equal(rows_of(TABLE_DEAD_LETTER, bytes_of("")), 6);
    place_restart();
    assert_int_equal(apply_dead_letters(place->apply), 6);
}

static void barriers_pass(void **state)
{
    (void)state;
    Replication__Item *item = arena_new(&place->arena, Replication__Item);
    replication__item__init(item);
    item->kind = ITEM(BARRIER);
    apply_expect(item, APPLY_DONE);
}

static void contradictory_histories(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 2);
    apply_batch(line, 0);
    Replication__Item *none = item_batch(line, 1);
    none->n_version_history = 0;
    const struct sent *sent = send_item(none);
    place_settle();
    assert_dead(sent, "the version history contradicts the batch");
}

/* ---- missing for good ------------------------------------------------------------------------ */

static void events_that_are_gone(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 3);
    place->source_forgot = true;
    const struct sent *sent = send_batch(line, 2);
    const struct sent *behind = send_batch(line, 3);
    place_settle();
    assert_dead(sent, "events are gone at the source");
    assert_dead(behind, PARKED_BEHIND);
}

/* The source answers, but never with what was asked for. */
static void a_source_without_the_events(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 3);
    const struct sent *sent = send_batch(line, 3);
    line->firsts[1] = 1000; /* a hole */
    place_settle();
    assert_dead(sent, "the source does not have the missing events");
    assert_true(place->fetches < 5);
}

static void damage_in_what_was_fetched(void **state)
{
    (void)state;
    struct line *line = line_of_signals("w", 3);
    const struct sent *sent = send_batch(line, 3);
    line->batches[1]->data[line->batches[1]->len - 1] ^= 1;
    place_settle();
    assert_dead(sent, "the batch does not decode");
    assert_int_equal(apply_dead_letters(place->apply), 1);
}

/* The successor of a run with a dead letter would begin beside a run that never ends here. */
static void a_successor_is_parked_too(void **state)
{
    (void)state;
    struct line *first = line_of_signals("w", 1);
    struct line *second = line_new("w", 1);
    line_continue(first, second);
    line_start(second);
    apply_batch(first, 0);
    apply_expect(damaged(first, 1), APPLY_DEAD_LETTERED);
    apply_expect(item_batch(first, 2), APPLY_DEAD_LETTERED);
    const struct sent *sent = send_batch(second, 0);
    place_settle();
    assert_dead(sent, "an earlier run of the workflow has a dead letter");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(damage_stops_only_its_run),
        TEST(letters_say_what_happened),
        TEST(letters_are_remembered),
        TEST(a_letter_that_is_not_stored),
        TEST(bad_events_among_good_ones),
        TEST(a_bad_beginning),
        TEST(events_of_a_newer_release),
        TEST(another_history_under_the_same_ids),
        TEST(diverged_branches),
        TEST(malformed_items),
        TEST(barriers_pass),
        TEST(contradictory_histories),
        TEST(events_that_are_gone),
        TEST(a_source_without_the_events),
        TEST(damage_in_what_was_fetched),
        TEST(a_successor_is_parked_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
