/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/event_build.h"
#include "cluster/engine/tests/history_fixture.h"

#define RUNS 50

static struct bytes head_of(const struct run *run, struct arena *arena)
{
    Record__RunHead head;
    run_write_head(run, &head, arena);
    return proto_pack(arena, &head.base);
}

static struct run *rebuilt(const struct history_fixture *fixture)
{
    struct run *run = history_new_run(fixture);
    for (size_t i = 0; i < fixture->batch_count; i++)
        assert_int_equal(fold_batch(run, blob_view(fixture->batches[i])), OK);
    return run;
}

static void a_head_reads_back(void **state)
{
    (void)state;
    uint64_t seed = history_seed();
    for (uint64_t i = 0; i < RUNS; i++) {
        struct history_fixture fixture;
        struct arena arena = {0};
        history_begin(&fixture, seed + i);
        while (fixture.batch_count < 40 && history_grow(&fixture))
            ;
        struct run *run = fixture.run;
        run->zombie = i % 2;
        run->sticky_queue = i % 3 ? mem_strdup("sticky") : NULL;
        run->sticky_timeout_ms = i % 3 ? 10000 : 0;
        run->next_buffered_id = (int64_t)i + 1;
        run->state_transitions = 12;
        if (!run->task.scheduled_event_id && run_is_open(run)) {
            run->task.transient = true;
            run->task.scheduled_event_id = run_next_event_id(run);
            run->task.attempt = 4;
            run->task.not_before_ns = fixture.now_ns + 5;
        }
        struct bytes head = head_of(run, &arena);
        struct run *read = rebuilt(&fixture);
        assert_int_equal(run_read_head(read, head), OK);
        assert_true(bytes_equal(head, head_of(read, &arena)));
        run_free(read);
        history_release(&fixture);
        arena_release(&arena);
    }
}

static void an_activity_fact_reads_back(void **state)
{
    (void)state;
    struct history_fixture fixture;
    history_begin(&fixture, 3);
    while (!fixture.run->activities.count && history_grow(&fixture))
        ;
    size_t cursor = 0;
    struct activity *activity = map_next(&fixture.run->activities, &cursor);
    assert_non_null(activity);
    activity->attempt = 7;
    activity->started = true;
    activity->started_ns = 5;
    activity->nonce = UINT64_MAX;
    activity->stamp = 9;
    activity->started_identity = mem_strdup("worker");
    activity->heartbeat_details = blob_from(bytes_of(""));
    activity->last_failure = blob_from(bytes_of("failure"));
    struct blob *fact = run_write_activity_fact(activity);
    struct run *read = rebuilt(&fixture);
    assert_int_equal(run_read_fact(read, FACT_ACTIVITY, blob_view(fact)), OK);
    assert_int_equal(run_read_fact(read, FACT_ACTIVITY, blob_view(fact)), OK);
    struct activity *other = run_activity(read, activity->scheduled_event_id);
    assert_true(other->fact_stored && other->started && other->heartbeat_details);
    assert_string_equal(other->started_identity, "worker");
    assert_null(other->last_identity);
    struct blob *again = run_write_activity_fact(other);
    assert_true(bytes_equal(blob_view(fact), blob_view(again)));
    blob_unref(fact);
    blob_unref(again);
    run_free(read);
    history_release(&fixture);
}

static void buffered_facts_come_in_order(void **state)
{
    (void)state;
    struct history_fixture fixture;
    struct arena arena = {0};
    history_begin(&fixture, 3);
    Api__HistoryEvent *event =
        event_new(&arena, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, fixture.now_ns);
    struct bytes encoded = proto_pack(&arena, &event->base);
    Record__BufferedFact fact = RECORD__BUFFERED_FACT__INIT;
    fact.format = 1;
    fact.id = 4;
    fact.request_id = event_text("held");
    fact.event = (ProtobufCBinaryData){encoded.len, (uint8_t *)(uintptr_t)encoded.data};
    struct bytes packed = proto_pack(&arena, &fact.base);
    assert_int_equal(run_read_fact(fixture.run, FACT_BUFFERED, packed), OK);
    assert_int_equal(fixture.run->buffered_count, 1);
    assert_int_equal(fixture.run->next_buffered_id, 5);
    assert_true(run_has_request_id(fixture.run, "held"));
    assert_int_equal(run_read_fact(fixture.run, FACT_BUFFERED, packed), ERR_CORRUPT);
    fact.id = 9;
    fact.event.len--;
    packed = proto_pack(&arena, &fact.base);
    assert_int_equal(run_read_fact(fixture.run, FACT_BUFFERED, packed), ERR_CORRUPT);
    arena_release(&arena);
    history_release(&fixture);
}

/* Rows of a newer build are told from damage. */
static void newer_formats_are_refused(void **state)
{
    (void)state;
    struct history_fixture fixture;
    struct arena arena = {0};
    history_begin(&fixture, 8);
    Record__RunHead head;
    run_write_head(fixture.run, &head, &arena);
    head.format = 2;
    assert_int_equal(run_read_head(fixture.run, proto_pack(&arena, &head.base)), ERR_VERSION);
    struct run *empty = history_new_run(&fixture);
    Record__RunSnapshot *snapshot = proto_unpack(
        &arena, &record__run_snapshot__descriptor, run_write_snapshot(fixture.run, &arena));
    snapshot->fold_version = FOLD_VERSION + 1;
    assert_int_equal(run_read_snapshot(empty, proto_pack(&arena, &snapshot->base)), ERR_VERSION);
    Record__ActivityFact fact = RECORD__ACTIVITY_FACT__INIT;
    fact.format = 2;
    assert_int_equal(
        run_read_fact(empty, FACT_ACTIVITY, proto_pack(&arena, &fact.base)), ERR_VERSION);
    assert_int_equal(run_read_fact(empty, (enum fact_kind)77, bytes_of("")), ERR_VERSION);
    run_free(empty);
    arena_release(&arena);
    history_release(&fixture);
}

/* Whatever the bytes, reading ends with an answer. Sanitizer builds make this sharp. */
static void damaged_rows_never_crash(void **state)
{
    (void)state;
    struct history_fixture fixture;
    struct arena arena = {0};
    history_begin(&fixture, history_seed());
    while (fixture.batch_count < 30 && history_grow(&fixture))
        ;
    struct bytes head = head_of(fixture.run, &arena);
    struct bytes snapshot = run_write_snapshot(fixture.run, &arena);
    for (int i = 0; i < 3000; i++) {
        struct bytes row = i % 2 ? head : snapshot;
        uint8_t *copy = arena_copy(&arena, row.data, row.len);
        for (uint64_t n = history_random(&fixture, 4); n > 0; n--)
            copy[history_random(&fixture, row.len)] ^= (uint8_t)(1u << history_random(&fixture, 8));
        struct run *run = history_new_run(&fixture);
        struct bytes damaged = bytes_make(copy, row.len - history_random(&fixture, 3));
        enum err err = i % 2 ? run_read_head(run, damaged) : run_read_snapshot(run, damaged);
        assert_true(err == OK || err == ERR_CORRUPT || err == ERR_VERSION);
        run_free(run);
    }
    arena_release(&arena);
    history_release(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_reads_back),
        cmocka_unit_test(an_activity_fact_reads_back),
        cmocka_unit_test(buffered_facts_come_in_order),
        cmocka_unit_test(newer_formats_are_refused),
        cmocka_unit_test(damaged_rows_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
