/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a workflow task.
 *
 *            ┌────────── workflow_task_schedule ──────────┐
 *            ▼                                            │
 *   none ─► PENDING ── dispatch sets the mark ──► IN FLIGHT ── completed ──► none
 *            ▲  ▲                                   │    │
 *            │  └── sticky queue timed out ─────────┤    │
 *            └───── failed or timed out: next attempt ───┘
 *
 * The first attempt's events are written. Later attempts are transient: neither Scheduled nor
 * Started nor the failure reaches history until an attempt completes, so a worker that keeps
 * failing does not fill it. As soon as another event reaches history the next attempt is a first
 * one again.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/dispatch.h"

/* From this attempt on the next one is delayed, more each time. */
#define DELAY_FROM_ATTEMPT 4
#define DELAY_FIRST_NS     (5 * NS_PER_S)
#define DELAY_MAX_NS       (600 * NS_PER_S)

/* ---- scheduling ----------------------------------------------------------------------------- */

static void write_scheduled(struct decision *d, struct run *run, int64_t original_ns)
{
    struct workflow_task *task = &run->task;
    int64_t id = decision_append(
        d, run, event_task_scheduled(d->arena, run, d->now_ns, 1, run->sticky_queue != NULL));
    task->scheduled_event_id = id;
    task->scheduled_ns = run_branch(run)->last_event_time_ns;
    task->original_scheduled_ns = original_ns ? original_ns : task->scheduled_ns;
    task->timeout_ms = run->default_task_timeout_ms;
    task->attempt = 1;
    task->transient = false;
    task->not_before_ns = 0;
    task->offered = false;
    task->offered_sticky = false;
    decision_touch(d, run);
}

static int64_t attempt_delay_ns(int32_t failed_attempt)
{
    if (failed_attempt < DELAY_FROM_ATTEMPT)
        return 0;
    int64_t delay = DELAY_FIRST_NS;
    for (int32_t i = DELAY_FROM_ATTEMPT; i < failed_attempt && delay < DELAY_MAX_NS; i++)
        delay *= 2;
    return delay < DELAY_MAX_NS ? delay : DELAY_MAX_NS;
}

static void begin_transient(struct decision *d, struct run *run, int32_t failed_attempt)
{
    struct workflow_task *task = &run->task;
    int64_t last_ns = run_branch(run)->last_event_time_ns;
    int64_t delay_ns = attempt_delay_ns(failed_attempt);
    task->scheduled_event_id = run_next_event_id(run);
    task->scheduled_ns = d->now_ns > last_ns ? d->now_ns : last_ns;
    task->original_scheduled_ns = task->scheduled_ns;
    task->timeout_ms = run->default_task_timeout_ms;
    task->attempt = failed_attempt + 1;
    task->transient = true;
    task->not_before_ns = delay_ns ? d->now_ns + delay_ns : 0;
    task->offered = false;
    task->offered_sticky = false;
    decision_touch(d, run);
}

/* True when events reached history since a transient attempt was made: it becomes a first attempt,
 * with its Scheduled event behind them. */
static bool is_overtaken(const struct run *run)
{
    return run->task.transient && !run->task.mark.set &&
           run->task.scheduled_event_id != run_next_event_id(run);
}

void workflow_task_schedule_silent(struct decision *d, struct run *run, int64_t original_ns)
{
    CHECK(run_is_open(run));
    CHECK(!run->task.mark.set);
    CHECK(!run->task.scheduled_event_id);
    write_scheduled(d, run, original_ns);
}

void workflow_task_schedule_now(struct decision *d, struct run *run)
{
    if (!run_is_open(run))
        return;
    if (run->task.scheduled_event_id && !is_overtaken(run))
        return;
    run->task.scheduled_event_id = 0;
    run->task.transient = false;
    workflow_task_schedule_silent(d, run, 0);
    dispatch_workflow_task(d, run);
}

void workflow_task_schedule(struct decision *d, struct run *run)
{
    bool in_backoff = run->first_backoff_ns > 0 && run->workflow_tasks_completed == 0 &&
                      !run->task.scheduled_event_id &&
                      d->now_ns < run->started_ns + run->first_backoff_ns;
    if (!in_backoff)
        workflow_task_schedule_now(d, run);
}

/* ---- outcomes ------------------------------------------------------------------------------- */

void sticky_clear(struct decision *d, struct run *run)
{
    if (!run->sticky_queue)
        return;
    mem_free(run->sticky_queue);
    run->sticky_queue = NULL;
    run->sticky_timeout_ms = 0;
    decision_touch(d, run);
}

void workflow_task_clear_mark(struct decision *d, struct run *run)
{
    queries_requeue(d, run);
    dispatch_clear_mark(run);
}

int64_t workflow_task_write_started(struct decision *d, struct run *run)
{
    struct workflow_task *task = &run->task;
    CHECK(task->mark.set);
    /* What follows is the outcome: nothing needs to be kept out of history any longer. */
    task->mark.set = false;
    int64_t scheduled_id = task->scheduled_event_id;
    if (task->transient) {
        int64_t id = decision_append(
            d, run, event_task_scheduled(d->arena, run, task->scheduled_ns, task->attempt, false));
        CHECK(id == scheduled_id);
        task->scheduled_event_id = id;
        task->transient = false;
    }
    int64_t started_id = decision_append(d, run, event_task_started(d->arena, run));
    CHECK(started_id == task->mark.started_event_id);
    return started_id;
}

static void write_failed(struct decision *d, struct run *run, const struct task_failure *failure)
{
    int64_t scheduled_id = run->task.scheduled_event_id;
    int64_t started_id = run->task.mark.set ? workflow_task_write_started(d, run) : 0;
    Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_FAILED);
    Api__WorkflowTaskFailedEventAttributes *failed = event->workflow_task_failed_event_attributes;
    failed->scheduled_event_id = scheduled_id;
    failed->started_event_id = started_id;
    failed->cause = failure->cause;
    opaque_set(d->arena, &failed->n_failure, &failed->failure, failure->failure);
    failed->identity = event_text(failure->identity);
    failed->binary_checksum = event_text(failure->binary_checksum);
    failed->worker_version = failure->worker_version;
    decision_append(d, run, event);
}

/* After an attempt failed or timed out, its events (if it has any) written. */
static void go_on(struct decision *d, struct run *run, int32_t failed_attempt)
{
    workflow_task_clear_mark(d, run);
    sticky_clear(d, run);
    bool new_events = buffered_flush(d, run);
    new_events |= timers_fire_due(d, run);
    run->task.scheduled_event_id = 0;
    run->task.transient = false;
    if (new_events)
        workflow_task_schedule_silent(d, run, 0);
    else
        begin_transient(d, run, failed_attempt);
    dispatch_workflow_task(d, run);
}

void workflow_task_fail_with(
    struct decision *d, struct run *run, const struct task_failure *failure)
{
    CHECK(run->task.scheduled_event_id);
    int32_t attempt = run->task.attempt;
    if (!run->task.transient)
        write_failed(d, run, failure);
    go_on(d, run, attempt);
}

void workflow_task_fail_last(
    struct decision *d, struct run *run, const struct task_failure *failure)
{
    CHECK(run->task.mark.set);
    if (!run->task.transient)
        write_failed(d, run, failure);
    workflow_task_clear_mark(d, run);
    run->task.scheduled_event_id = 0;
    run->task.transient = false;
    buffered_flush(d, run);
}

void workflow_task_fail(struct decision *d, struct run *run, Api__WorkflowTaskFailedCause cause,
    struct bytes failure, const char *identity)
{
    workflow_task_fail_with(
        d, run, &(struct task_failure){.cause = cause, .failure = failure, .identity = identity});
}

void workflow_task_time_out(struct decision *d, struct run *run, Api__TimeoutType type)
{
    struct workflow_task *task = &run->task;
    CHECK(task->scheduled_event_id);
    int32_t attempt = task->attempt;
    int64_t scheduled_id = task->scheduled_event_id;
    bool started = task->mark.set;
    CHECK(started == (type == API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE));
    if (!task->transient) {
        int64_t started_id = started ? workflow_task_write_started(d, run) : 0;
        Api__HistoryEvent *event =
            event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT);
        Api__WorkflowTaskTimedOutEventAttributes *timed_out =
            event->workflow_task_timed_out_event_attributes;
        timed_out->scheduled_event_id = scheduled_id;
        timed_out->started_event_id = started_id;
        timed_out->timeout_type = type;
        decision_append(d, run, event);
    }
    if (started) {
        go_on(d, run, attempt);
        return;
    }
    /* Nobody looked at the sticky queue: not the workflow's fault, so no attempt is used up. */
    sticky_clear(d, run);
    task->scheduled_event_id = 0;
    task->transient = false;
    workflow_task_schedule_now(d, run);
}

/* ---- names ---------------------------------------------------------------------------------- */

const char *task_failed_cause_name(struct arena *arena, Api__WorkflowTaskFailedCause cause)
{
    static const char prefix[] = "WORKFLOW_TASK_FAILED_CAUSE_";
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
        &api__workflow_task_failed_cause__descriptor, (int)cause);
    if (!value || strncmp(value->name, prefix, sizeof(prefix) - 1) != 0)
        return "Unspecified";
    char *name = arena_strdup(arena, value->name + sizeof(prefix) - 1);
    size_t len = 0;
    bool first = true;
    for (const char *in = name; *in; in++) {
        if (*in == '_') {
            first = true;
            continue;
        }
        bool lower = !first && *in >= 'A' && *in <= 'Z';
        name[len++] = lower ? (char)(*in - 'A' + 'a') : *in;
        first = false;
    }
    name[len] = '\0';
    return name;
}
