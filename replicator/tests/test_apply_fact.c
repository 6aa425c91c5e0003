/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts of another cluster: activity attempts and buffered events.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/tests/apply_fixture.h"

/* ---- activities ------------------------------------------------------------------------------ */

static Record__ActivityFact *fact_of(int64_t scheduled_event_id, int32_t attempt, int64_t stamp)
{
    Record__ActivityFact *fact = arena_new(&place->arena, Record__ActivityFact);
    record__activity_fact__init(fact);
    fact->format = 1;
    fact->scheduled_event_id = scheduled_event_id;
    fact->version = 1;
    fact->attempt = attempt;
    fact->started = true;
    fact->nonce = 77;
    fact->stamp = stamp;
    return fact;
}

static struct line *line_with_activity(int64_t *ret_id)
{
    struct line *line = line_new("w", 1);
    line_start(line);
    *ret_id = line_activity(line, "a");
    return line;
}

static void attempts_arrive(void **state)
{
    (void)state;
    int64_t id;
    struct line *line = line_with_activity(&id);
    apply_line(line);
    apply_expect(item_activity(line, fact_of(id, 1, 1)), APPLY_DONE);
    struct seen seen = see(line);
    assert_int_equal(seen.attempt, 1);
    assert_true(seen.started);
    apply_expect(item_activity(line, fact_of(id, 3, 5)), APPLY_DONE);
    assert_int_equal(see(line).attempt, 3);
    place_restart();
    seen = see(line);
    assert_int_equal(seen.attempt, 3);
    assert_int_equal(seen.stamp, 5);
    assert_int_equal(rows_of(TABLE_FACT, uuid_view(&line->run_id)), 1);
    assert_int_equal(rows_of(TABLE_OUTBOX, bytes_of("")), 0);
}

static void older_attempts_change_nothing(void **state)
{
    (void)state;
    int64_t id;
    struct line *line = line_with_activity(&id);
    apply_line(line);
    apply_expect(item_activity(line, fact_of(id, 3, 5)), APPLY_DONE);
    apply_expect(item_activity(line, fact_of(id, 2, 4)), APPLY_DONE);
    apply_expect(item_activity(line, fact_of(id, 3, 5)), APPLY_DONE);
    assert_int_equal(see(line).attempt, 3);
    /* A later writer counts its stamps anew. */
    place_merge(place_record("us", 11, true));
    Record__ActivityFact *later = fact_of(id, 4, 1);
    later->version = 11;
    apply_expect(item_activity(line, later), APPLY_DONE);
    assert_int_equal(see(line).attempt, 4);
    apply_expect(item_activity(line, fact_of(id, 9, 9)), APPLY_DONE);
    assert_int_equal(see(line).attempt, 4);
}

static void an_attempt_before_its_event(void **state)
{
    (void)state;
    int64_t id;
    struct line *line = line_with_activity(&id);
    /* Neither the run nor the event is here. */
    apply_expect(item_activity(line, fact_of(id, 2, 2)), APPLY_DONE);
    assert_complete(line);
    assert_int_equal(see(line).attempt, 2);
    assert_int_equal(place->fetches, 1);
    line_end_activity(line, id);
    int64_t second = line_activity(line, "b");
    apply_expect(item_activity(line, fact_of(second, 4, 2)), APPLY_DONE);
    assert_complete(line);
    assert_int_equal(see(line).attempt, 4);
    assert_int_equal(place->fetches, 2);
}

static void an_attempt_behind_its_end(void **state)
{
    (void)state;
    int64_t id;
    struct line *line = line_with_activity(&id);
    apply_line(line);
    apply_expect(item_activity(line, fact_of(id, 1, 1)), APPLY_DONE);
    line_end_activity(line, id);
    line_complete(line);
    apply_line(line);
    assert_int_equal(rows_of(TABLE_FACT, uuid_view(&line->run_id)), 0);
    apply_expect(item_activity(line, fact_of(id, 2, 2)), APPLY_DONE);
    assert_int_equal(see(line).activities, 0);
    assert_int_equal(rows_of(TABLE_FACT, uuid_view(&line->run_id)), 0);
}

static void facts_of_runs_that_are_gone(void **state)
{
    (void)state;
    int64_t id;
    struct line *line = line_with_activity(&id);
    place->source_forgot = true;
    apply_expect(item_activity(line, fact_of(id, 2, 2)), APPLY_IGNORED);
    assert_int_equal(apply_dead_letters(place->apply), 0);
}

static void bad_attempts_are_parked(void **state)
{
    (void)state;
    int64_t id;
    struct line *lines[5];
    Replication__Item *items[5];
    for (size_t i = 0; i < 5; i++) {
        lines[i] = line_with_activity(&id);
        apply_line(lines[i]);
        Record__ActivityFact *fact = fact_of(id, 2, 2);
        if (i == 0)
            fact->format = 2;
        if (i == 1)
            fact->attempt = 0;
        items[i] = item_activity(lines[i], fact);
        if (i == 2)
            items[i]->fact_id++;
        if (i == 3)
            items[i]->value.len--;
        if (i == 4)
            items[i]->value.len = 0;
    }
    for (size_t i = 0; i < 5; i++) {
        const struct sent *sent = send_item(items[i]);
        place_settle();
        assert_dead(sent, i == 0 ? "newer format" : "the fact does not decode");
        assert_int_equal(see(lines[i]).attempt, 1);
    }
}

/* ---- buffered events ------------------------------------------------------------------------- */

static Record__BufferedFact *buffered_of(int64_t id, uint8_t accept)
{
    struct arena *arena = &place->arena;
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_EXECUTION_SIGNALED));
    event->workflow_execution_signaled_event_attributes->signal_name = arena_strdup(arena, "s");
    struct bytes packed = proto_pack(arena, &event->base);
    Record__BufferedFact *fact = arena_new(arena, Record__BufferedFact);
    record__buffered_fact__init(fact);
    fact->format = 1;
    fact->id = id;
    fact->version = 1;
    fact->event = (ProtobufCBinaryData){packed.len, (uint8_t *)(uintptr_t)packed.data};
    uint8_t *bytes = arena_alloc(arena, 16);
    memset(bytes, accept, 16);
    fact->accept_id = (ProtobufCBinaryData){16, bytes};
    return fact;
}

/* The signal enters history: the batch says which copy it was. */
static void flush(struct line *line, const Record__BufferedFact *fact)
{
    Record__BatchMeta meta;
    record__batch_meta__init(&meta);
    ProtobufCBinaryData accept = fact->accept_id;
    meta.n_accept_ids = 1;
    meta.accept_ids = &accept;
    proto_pack_into(&line->meta, &meta.base);
    line_signal(line, "s");
}

static void buffered_events_are_kept(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    const Record__BufferedFact *a = buffered_of(1, 0xaa);
    const Record__BufferedFact *b = buffered_of(2, 0xbb);
    apply_expect(item_buffered(line, a), APPLY_DONE);
    apply_expect(item_buffered(line, b), APPLY_DONE);
    apply_expect(item_buffered(line, a), APPLY_DONE);
    assert_int_equal(see(line).buffered, 2);
    place_restart();
    assert_int_equal(see(line).buffered, 2);
    assert_int_equal(rows_of(TABLE_FACT, uuid_view(&line->run_id)), 2);
    /* They enter history, one by one. */
    flush(line, b);
    apply_batch(line, 1);
    assert_int_equal(see(line).buffered, 1);
    flush(line, a);
    apply_batch(line, 2);
    assert_complete(line);
    assert_int_equal(see(line).buffered, 0);
    assert_int_equal(rows_of(TABLE_FACT, uuid_view(&line->run_id)), 0);
    apply_expect(item_buffered(line, a), APPLY_DONE);
    place_restart();
    apply_expect(item_buffered(line, b), APPLY_DONE);
    assert_int_equal(see(line).buffered, 0);
}

static void buffered_events_in_any_order(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    /* The run is fetched; the later of two comes first. */
    const Record__BufferedFact *a = buffered_of(4, 0xaa);
    const Record__BufferedFact *b = buffered_of(5, 0xbb);
    apply_expect(item_buffered(line, b), APPLY_DONE);
    apply_expect(item_buffered(line, a), APPLY_DONE);
    assert_int_equal(place->fetches, 1);
    assert_int_equal(see(line).buffered, 2);
    place_restart();
    assert_int_equal(see(line).buffered, 2);
    flush(line, a);
    flush(line, b);
    apply_line(line);
    assert_int_equal(see(line).buffered, 0);
}

static void buffered_events_of_a_closed_run(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    apply_expect(item_buffered(line, buffered_of(1, 0xaa)), APPLY_DONE);
    line_complete(line);
    apply_batch(line, 1);
    assert_int_equal(see(line).buffered, 0);
    apply_expect(item_buffered(line, buffered_of(2, 0xbb)), APPLY_DONE);
    assert_int_equal(see(line).buffered, 0);
    assert_int_equal(rows_of(TABLE_FACT, uuid_view(&line->run_id)), 0);
}

static void bad_buffered_events_are_parked(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    Record__BufferedFact *bad[3];
    for (size_t i = 0; i < 3; i++)
        bad[i] = buffered_of(1, 0xaa);
    bad[0]->accept_id.len = 3;
    bad[1]->event.len--;
    bad[2]->format = 9;
    for (size_t i = 0; i < 3; i++) {
        const struct sent *sent = send_item(item_buffered(line, bad[i]));
        place_settle();
        assert_outcome(sent, APPLY_DEAD_LETTERED);
    }
    assert_int_equal(see(line).buffered, 0);
}

/* ---- takeover -------------------------------------------------------------------------------- */

/* What was only buffered at the source is not lost when this cluster takes over. */
static void a_takeover_writes_the_copies(void **state)
{
    (void)state;
    struct line *line = line_new("w", 1);
    line_start(line);
    apply_line(line);
    apply_expect(item_buffered(line, buffered_of(1, 0xaa)), APPLY_DONE);
    int64_t next = see(line).next;
    place_merge(place_record("eu", 2, true));
    place->now_ns += 120ll * 1000000000;
    place_settle();
    struct seen seen = see(line);
    assert_int_equal(seen.buffered, 0);
    assert_true(seen.next > next);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(attempts_arrive),
        TEST(older_attempts_change_nothing),
        TEST(an_attempt_before_its_event),
        TEST(an_attempt_behind_its_end),
        TEST(facts_of_runs_that_are_gone),
        TEST(bad_attempts_are_parked),
        TEST(buffered_events_are_kept),
        TEST(buffered_events_in_any_order),
        TEST(buffered_events_of_a_closed_run),
        TEST(bad_buffered_events_are_parked),
        TEST(a_takeover_writes_the_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
