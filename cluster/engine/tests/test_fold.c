/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/event_build.h"
#include "cluster/engine/tests/history_fixture.h"

#define RUNS       300
#define TYPE(name) API__EVENT_TYPE__EVENT_TYPE_##name

static void fold_all(struct run *run, const struct history_fixture *fixture, size_t from)
{
    for (size_t i = from; i < fixture->batch_count; i++)
        assert_int_equal(fold_batch(run, blob_view(fixture->batches[i])), OK);
}

static void assert_same_state(const struct run *a, const struct run *b)
{
    char *left = history_text(a);
    char *right = history_text(b);
    assert_string_equal(left, right);
    free(left);
    free(right);
}

/* Events one by one, whole batches, and a snapshot with the batches behind it: one state. */
static void snapshot_and_tail_equal_the_whole(void **state)
{
    (void)state;
    uint64_t seed = history_seed();
    for (uint64_t i = 0; i < RUNS; i++) {
        struct history_fixture fixture;
        struct arena arena = {0};
        history_begin(&fixture, seed + i);
        size_t cut = history_random(&fixture, 120);
        struct bytes snapshot = {0};
        size_t covered = 0;
        char *at_cut = NULL;
        while (fixture.batch_count < 150 && history_grow(&fixture)) {
            if (fixture.batch_count - 1 == cut || !run_is_open(fixture.run)) {
                snapshot = run_write_snapshot(fixture.run, &arena);
                covered = fixture.batch_count;
                free(at_cut);
                at_cut = history_text(fixture.run);
            }
        }
        struct run *whole = history_new_run(&fixture);
        fold_all(whole, &fixture, 0);
        assert_same_state(whole, fixture.run);
        if (covered) {
            struct run *shortcut = history_new_run(&fixture);
            assert_int_equal(run_read_snapshot(shortcut, snapshot), OK);
            char *read = history_text(shortcut);
            assert_string_equal(at_cut, read);
            free(read);
            fold_all(shortcut, &fixture, covered);
            assert_same_state(whole, shortcut);
            assert_int_equal(whole->status, shortcut->status);
            run_free(shortcut);
        }
        free(at_cut);
        run_free(whole);
        history_release(&fixture);
        arena_release(&arena);
    }
}

static void versions_only_rise(void **state)
{
    (void)state;
    struct history_fixture fixture;
    history_begin(&fixture, 1);
    fixture.version = 21;
    assert_true(history_grow(&fixture));
    const struct branch_state *branch = run_branch(fixture.run);
    assert_int_equal(branch->item_count, 2);
    assert_int_equal(branch->items[0].version, 11);
    assert_int_equal(branch->items[1].version, 21);
    assert_int_equal(branch->items[1].event_id, branch->next_event_id - 1);
    struct arena arena = {0};
    Api__HistoryEvent *event = event_new(&arena, TYPE(WORKFLOW_EXECUTION_SIGNALED), fixture.now_ns);
    event->event_id = run_next_event_id(fixture.run);
    event->version = 11;
    assert_int_equal(fold_event(fixture.run, event, proto_pack(&arena, &event->base)), ERR_CORRUPT);
    arena_release(&arena);
    history_release(&fixture);
}

static Api__HistoryEvent *next_event(
    struct arena *arena, const struct history_fixture *fixture, Api__EventType type)
{
    Api__HistoryEvent *event = event_new(arena, type, fixture->now_ns);
    event->event_id = run_next_event_id(fixture->run);
    event->version = fixture->version;
    return event;
}

static enum err fold(struct history_fixture *fixture, struct arena *arena, Api__HistoryEvent *event)
{
    return fold_event(fixture->run, event, proto_pack(arena, &event->base));
}

static void what_cannot_follow_is_refused(void **state)
{
    (void)state;
    struct arena arena = {0};
    static const Api__EventType unknown[] = {TYPE(ACTIVITY_TASK_COMPLETED),
        TYPE(ACTIVITY_TASK_FAILED), TYPE(ACTIVITY_TASK_TIMED_OUT), TYPE(ACTIVITY_TASK_CANCELED),
        TYPE(ACTIVITY_TASK_STARTED), TYPE(ACTIVITY_TASK_CANCEL_REQUESTED), TYPE(TIMER_FIRED),
        TYPE(TIMER_CANCELED), TYPE(WORKFLOW_TASK_STARTED), TYPE(WORKFLOW_TASK_COMPLETED),
        TYPE(WORKFLOW_TASK_FAILED), TYPE(WORKFLOW_TASK_TIMED_OUT), TYPE(WORKFLOW_TASK_SCHEDULED),
        TYPE(WORKFLOW_EXECUTION_STARTED)};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        struct history_fixture fixture;
        history_begin(&fixture, 2);
        assert_int_equal(
            fold(&fixture, &arena, next_event(&arena, &fixture, unknown[i])), ERR_CORRUPT);
        history_release(&fixture);
    }
    struct history_fixture fixture;
    history_begin(&fixture, 3);
    Api__HistoryEvent *event = next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_SIGNALED));
    event->event_id++;
    assert_int_equal(fold(&fixture, &arena, event), ERR_CORRUPT);
    event = next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_SIGNALED));
    event->event_time = NULL;
    assert_int_equal(fold(&fixture, &arena, event), ERR_CORRUPT);
    event = next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_SIGNALED));
    event->event_type = TYPE(TIMER_STARTED); /* attributes of another type */
    assert_int_equal(fold(&fixture, &arena, event), ERR_CORRUPT);
    event = next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_SIGNALED));
    event->event_type = (Api__EventType)4711;
    assert_int_equal(fold(&fixture, &arena, event), ERR_VERSION);
    assert_int_equal(
        fold(&fixture, &arena, next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_TERMINATED))),
        OK);
    assert_int_equal(
        fold(&fixture, &arena, next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_SIGNALED))),
        ERR_CORRUPT);
    history_release(&fixture);
    arena_release(&arena);
}

static void attempts_follow_the_outcomes(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct history_fixture fixture;
    history_begin(&fixture, 4);
    struct run *run = fixture.run;
    assert_int_equal(run->task.attempt, 1);
    Api__HistoryEvent *event = next_event(&arena, &fixture, TYPE(WORKFLOW_TASK_FAILED));
    event->workflow_task_failed_event_attributes->scheduled_event_id = 2;
    assert_int_equal(fold(&fixture, &arena, event), OK);
    assert_int_equal(run->task.scheduled_event_id, 0);
    assert_int_equal(run->task.attempt, 2);
    assert_int_equal(
        fold(&fixture, &arena, next_event(&arena, &fixture, TYPE(WORKFLOW_EXECUTION_SIGNALED))),
        OK);
    assert_int_equal(run->task.attempt, 1);
    assert_int_equal(run->signal_count, 1);
    event = event_task_scheduled(&arena, run, fixture.now_ns, 3, false);
    event->event_id = run_next_event_id(run);
    event->version = fixture.version;
    assert_int_equal(fold(&fixture, &arena, event), OK);
    assert_int_equal(run->task.attempt, 3);
    assert_int_equal(run->task.timeout_ms, WORKFLOW_TASK_TIMEOUT_DEFAULT_MS);
    event = next_event(&arena, &fixture, TYPE(WORKFLOW_TASK_TIMED_OUT));
    event->workflow_task_timed_out_event_attributes->scheduled_event_id =
        run->task.scheduled_event_id;
    event->workflow_task_timed_out_event_attributes->timeout_type =
        API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START;
    assert_int_equal(fold(&fixture, &arena, event), OK);
    assert_int_equal(run->task.attempt, 3);
    history_release(&fixture);
    arena_release(&arena);
}

/* Damage that keeps the checksums right: the fold itself must notice. */
static void a_batch_must_continue_the_branch(void **state)
{
    (void)state;
    struct history_fixture fixture;
    history_begin(&fixture, 5);
    assert_true(history_grow(&fixture));
    struct run *run = history_new_run(&fixture);
    assert_int_equal(fold_batch(run, blob_view(fixture.batches[1])), ERR_CORRUPT);
    assert_int_equal(fold_batch(run, blob_view(fixture.batches[0])), OK);
    assert_int_equal(fold_batch(run, blob_view(fixture.batches[0])), ERR_CORRUPT);
    struct bytes second = blob_view(fixture.batches[1]);
    uint8_t *copy = mem_alloc(second.len);
    memcpy(copy, second.data, second.len);
    copy[8] ^= 1; /* version of the header, not of the events */
    assert_int_equal(fold_batch(run, bytes_make(copy, second.len)), ERR_CORRUPT);
    mem_free(copy);
    run_free(run);
    history_release(&fixture);
}

static void request_ids_are_remembered(void **state)
{
    (void)state;
    struct history_fixture fixture;
    history_begin(&fixture, 6);
    Record__BatchMeta meta = RECORD__BATCH_META__INIT;
    char *ids[] = {event_text("once")};
    meta.request_ids = ids;
    meta.n_request_ids = 1;
    struct arena arena = {0};
    assert_false(run_has_request_id(fixture.run, "once"));
    assert_int_equal(fold_meta(fixture.run, proto_pack(&arena, &meta.base), 2), OK);
    assert_true(run_has_request_id(fixture.run, "once"));
    assert_false(run_has_request_id(fixture.run, ""));
    assert_int_equal(fold_meta(fixture.run, bytes_of("\xff\xff"), 2), ERR_CORRUPT);
    arena_release(&arena);
    history_release(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshot_and_tail_equal_the_whole),
        cmocka_unit_test(versions_only_rise),
        cmocka_unit_test(what_cannot_follow_is_refused),
        cmocka_unit_test(attempts_follow_the_outcomes),
        cmocka_unit_test(a_batch_must_continue_the_branch),
        cmocka_unit_test(request_ids_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
