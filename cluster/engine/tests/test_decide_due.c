/* SPDX-License-Identifier: Apache-2.0
 *
 * Random lives of one run: clients, workers, crashes, takeovers and time, in any order. After every
 * step nothing may be due that was not done, and history must make sense:
 *   P1  run_due_ns is in the future once decide_due ran
 *   P2  every acknowledged signal is in history exactly once
 *   P3  commands' events follow TaskCompleted without a gap; a task's events come in order
 *   P4  every activity and timer ends at most once, and outcomes point to their Started event
 */
#include "cluster/engine/tests/decide_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"

#define SEEDS       100
#define STEPS       200
#define IDS_MAX     STEPS
#define EVENT(name) API__EVENT_TYPE__EVENT_TYPE_##name

struct life {
    uint64_t random;
    int signals;
    int activities;
    int timers;
    int64_t version;
    Api__PollWorkflowTaskQueueResponse *task;
    Api__PollActivityTaskQueueResponse *attempts[IDS_MAX];
};

static uint32_t below(struct life *life, uint32_t bound)
{
    life->random = life->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((life->random >> 33) % bound);
}

/* ---- P1 ------------------------------------------------------------------------------------- */

static void look_due(struct decision *d, struct run *run, void *ctx)
{
    (void)ctx;
    assert_non_null(run);
    if (run_due_ns(run) <= d->now_ns)
        decide_due(d, run);
    assert_true(run_due_ns(run) > d->now_ns);
    assert_true(run->task.mark.set || run->buffered_count == 0);
}

/* ---- what happens --------------------------------------------------------------------------- */

static char *id_of(char kind, int number)
{
    return arena_printf(harness_arena(), "%c%d", kind, number);
}

static void do_signal(struct life *life)
{
    char *id = id_of('s', life->signals);
    assert_int_equal(harness_signal(id, id).code, GRPC_OK);
    if (below(life, 4) == 0)
        assert_int_equal(harness_signal(id, id).code, GRPC_OK);
    life->signals++;
}

static void do_take_task(struct life *life)
{
    Api__PollWorkflowTaskQueueResponse *task = harness_take_task();
    if (task)
        life->task = task;
}

/* Some activity that was scheduled once; 5 when there is none. */
static int64_t random_scheduled(struct life *life)
{
    int64_t found = 5;
    int64_t last = harness_event(-1)->event_id;
    int64_t from = 1 + below(life, (uint32_t)last);
    for (int64_t i = 0; i < last; i++) {
        int64_t id = 1 + (from + i) % last;
        if (harness_event(id)->event_type == EVENT(ACTIVITY_TASK_SCHEDULED))
            return id;
    }
    return found;
}

static Api__Command *random_command(struct life *life)
{
    switch (below(life, 5)) {
    case 0:
    case 1: {
        Api__Command *command = command_activity(
            id_of('a', life->activities++), 1000 + below(life, 20000), (int32_t)below(life, 4));
        Api__ScheduleActivityTaskCommandAttributes *schedule =
            command->schedule_activity_task_command_attributes;
        if (below(life, 2))
            schedule->heartbeat_timeout = duration_new(harness_arena(), 700 + below(life, 3000));
        if (below(life, 3) == 0)
            schedule->schedule_to_start_timeout =
                duration_new(harness_arena(), 500 + below(life, 5000));
        if (below(life, 3) == 0)
            schedule->schedule_to_close_timeout =
                duration_new(harness_arena(), 3000 + below(life, 30000));
        return command;
    }
    case 2:
        return command_cancel_activity(random_scheduled(life));
    case 3:
        return command_cancel_timer(id_of('t', (int)below(life, (uint32_t)life->timers + 1)));
    default:
        return command_timer(id_of('t', life->timers++), below(life, 15000));
    }
}

static void do_complete_task(struct life *life)
{
    Api__Command *commands[4];
    size_t count = below(life, 4);
    if (!life->task)
        return;
    for (size_t i = 0; i < count; i++)
        commands[i] = random_command(life);
    /* Many are refused: unknown ids, tokens of times long gone. */
    (void)harness_complete(life->task, commands, count);
}

static void do_fail_task(struct life *life)
{
    Api__RespondWorkflowTaskFailedRequest failed = API__RESPOND_WORKFLOW_TASK_FAILED_REQUEST__INIT;
    if (!life->task)
        return;
    failed.task_token = life->task->task_token;
    (void)harness_call(decide_task_failed, &failed, NULL, NULL);
}

static int random_activity(struct life *life)
{
    return life->activities && life->activities < IDS_MAX
               ? (int)below(life, (uint32_t)life->activities)
               : 0;
}

static void do_take_activity(struct life *life)
{
    int number = random_activity(life);
    Api__PollActivityTaskQueueResponse *task = harness_take_activity(id_of('a', number));
    if (task)
        life->attempts[number] = task;
}

static void do_report(struct life *life)
{
    Api__PollActivityTaskQueueResponse *task = life->attempts[random_activity(life)];
    if (!task)
        return;
    Api__RespondActivityTaskCompletedRequest completed =
        API__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
    Api__RespondActivityTaskFailedRequest failed = API__RESPOND_ACTIVITY_TASK_FAILED_REQUEST__INIT;
    Api__RespondActivityTaskCanceledRequest canceled =
        API__RESPOND_ACTIVITY_TASK_CANCELED_REQUEST__INIT;
    Api__RecordActivityTaskHeartbeatRequest beat =
        API__RECORD_ACTIVITY_TASK_HEARTBEAT_REQUEST__INIT;
    failed.n_failure = 1;
    failed.failure = one_binary(application_failure("Broken", below(life, 3) == 0));
    switch (below(life, 4)) {
    case 0:
        harness_call(decide_activity_completed, &completed, target_by_token(task), NULL);
        break;
    case 1:
        harness_call(decide_activity_failed, &failed, target_by_token(task), NULL);
        break;
    case 2:
        harness_call(decide_activity_canceled, &canceled, target_by_token(task), NULL);
        break;
    default:
        harness_call(decide_activity_heartbeat, &beat, target_by_token(task), NULL);
        break;
    }
}

static void step(struct life *life)
{
    switch (below(life, 14)) {
    case 0:
        do_signal(life);
        break;
    case 1:
    case 2:
    case 3:
        do_take_task(life);
        break;
    case 4:
    case 5:
        do_complete_task(life);
        break;
    case 6:
        if (below(life, 3) == 0)
            do_fail_task(life);
        break;
    case 7:
    case 8:
        do_take_activity(life);
        break;
    case 9:
    case 10:
        do_report(life);
        break;
    case 11:
        if (below(life, 4) == 0)
            harness_restart();
        if (below(life, 8) == 0)
            harness_set_version(++life->version);
        break;
    default:
        harness_advance_ms(below(life, 6) == 0 ? 11000 : below(life, 1500));
        break;
    }
    harness_look(look_due, NULL);
}

/* ---- P2 to P4 ------------------------------------------------------------------------------- */

struct audit {
    Api__EventType before;
    bool in_commands;
    int seen_signals[STEPS + 1];
    int64_t started_of[4096]; /* by scheduled event id */
    int ends_of[4096];
    int timer_ends[IDS_MAX * 4];
};

static void audit_outcome(struct audit *audit, int64_t scheduled, int64_t started)
{
    assert_in_range(scheduled, 1, 4095);
    assert_int_equal(++audit->ends_of[scheduled], 1);
    assert_int_equal(started, audit->started_of[scheduled]);
}

static bool is_command_event(const Api__HistoryEvent *event)
{
    switch ((int)event->event_type) {
    case EVENT(ACTIVITY_TASK_SCHEDULED):
    case EVENT(ACTIVITY_TASK_CANCEL_REQUESTED):
    case EVENT(TIMER_STARTED):
    case EVENT(TIMER_CANCELED):
        return true;
    default:
        return false;
    }
}

static void audit_event(struct audit *audit, const Api__HistoryEvent *event)
{
    if (is_command_event(event))
        assert_true(audit->in_commands);
    audit->in_commands =
        event->event_type == EVENT(WORKFLOW_TASK_COMPLETED) || is_command_event(event);
    switch ((int)event->event_type) {
    case EVENT(WORKFLOW_EXECUTION_SIGNALED):
        audit->seen_signals[atoi(
            event->workflow_execution_signaled_event_attributes->signal_name + 1)]++;
        break;
    case EVENT(WORKFLOW_TASK_COMPLETED):
    case EVENT(WORKFLOW_TASK_FAILED):
        assert_int_equal(audit->before, EVENT(WORKFLOW_TASK_STARTED));
        break;
    case EVENT(ACTIVITY_TASK_STARTED): {
        int64_t scheduled = event->activity_task_started_event_attributes->scheduled_event_id;
        assert_int_equal(audit->started_of[scheduled], 0);
        audit->started_of[scheduled] = event->event_id;
        break;
    }
    case EVENT(ACTIVITY_TASK_COMPLETED):
        audit_outcome(audit, event->activity_task_completed_event_attributes->scheduled_event_id,
            event->activity_task_completed_event_attributes->started_event_id);
        break;
    case EVENT(ACTIVITY_TASK_FAILED):
        audit_outcome(audit, event->activity_task_failed_event_attributes->scheduled_event_id,
            event->activity_task_failed_event_attributes->started_event_id);
        break;
    case EVENT(ACTIVITY_TASK_TIMED_OUT):
        audit_outcome(audit, event->activity_task_timed_out_event_attributes->scheduled_event_id,
            event->activity_task_timed_out_event_attributes->started_event_id);
        break;
    case EVENT(ACTIVITY_TASK_CANCELED):
        audit_outcome(audit, event->activity_task_canceled_event_attributes->scheduled_event_id,
            event->activity_task_canceled_event_attributes->started_event_id);
        break;
    case EVENT(TIMER_FIRED):
        assert_int_equal(
            ++audit->timer_ends[atoi(event->timer_fired_event_attributes->timer_id + 1)], 1);
        break;
    case EVENT(TIMER_CANCELED):
        assert_int_equal(
            ++audit->timer_ends[atoi(event->timer_canceled_event_attributes->timer_id + 1)], 1);
        break;
    default:
        break;
    }
    audit->before = event->event_type;
}

static void live(uint64_t seed)
{
    static struct audit audit;
    struct life life = {.random = seed * 977 + 1, .version = 1};
    harness_start(0, NULL);
    for (int i = 0; i < STEPS; i++)
        step(&life);
    /* Whatever waits behind a task in flight comes out when that times out. */
    harness_advance_ms(15000);
    harness_look(look_due, NULL);
    memset(&audit, 0, sizeof(audit));
    int64_t last = harness_event(-1)->event_id;
    const Api__HistoryEvent *event = NULL;
    for (int64_t id = 1; id <= last; id++) {
        event = harness_event(id);
        audit_event(&audit, event);
    }
    if (getenv("STRAIT_SEED"))
        print_message("%s\n", harness_history());
    for (int i = 0; i < life.signals; i++)
        assert_int_equal(audit.seen_signals[i], 1);
}

static void random_lives_make_sense(void **state)
{
    (void)state;
    const char *only = getenv("STRAIT_SEED");
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (only && strtoull(only, NULL, 10) != seed)
            continue;
        harness_setup(NULL);
        print_message("seed %llu (repeat: STRAIT_SEED=%llu)\n", (unsigned long long)seed,
            (unsigned long long)seed);
        live(seed);
        harness_teardown(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_lives_make_sense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
