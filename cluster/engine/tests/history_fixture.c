/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/tests/history_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/event_build.h"

#define START_NS   1700000000000000000ll
#define TYPE(name) API__EVENT_TYPE__EVENT_TYPE_##name

uint64_t history_seed(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const char *text = getenv("TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)now.tv_nsec % 1000000;
    printf("seed %llu (replay with TEST_SEED=%llu)\n", (unsigned long long)seed,
        (unsigned long long)seed);
    return seed;
}

uint64_t history_random(struct history_fixture *fixture, uint64_t bound)
{
    fixture->random ^= fixture->random << 13;
    fixture->random ^= fixture->random >> 7;
    fixture->random ^= fixture->random << 17;
    return fixture->random % bound;
}

/* ---- one batch ------------------------------------------------------------------------------- */

/* The batch that is being made. */
struct making {
    struct history_fixture *fixture;
    struct arena arena;
    struct batch_builder builder;
    Record__BatchMeta meta;
};

static Api__HistoryEvent *event_of(struct making *making, Api__EventType type)
{
    making->fixture->now_ns += (int64_t)history_random(making->fixture, 5) * NS_PER_MS;
    return event_new(&making->arena, type, making->fixture->now_ns);
}

static int64_t add(struct making *making, Api__HistoryEvent *event)
{
    struct run *run = making->fixture->run;
    event->event_id = run_next_event_id(run);
    event->version = making->fixture->version;
    if (!making->builder.blob)
        batch_begin(&making->builder, event->event_id, event->version);
    batch_add(&making->builder, &event->base, making->fixture->now_ns);
    enum err err = fold_event(run, event, proto_pack(&making->arena, &event->base));
    CHECK(err == OK);
    return event->event_id;
}

static void finish(struct making *making)
{
    struct history_fixture *fixture = making->fixture;
    struct run *run = fixture->run;
    char id[32];
    uint8_t accept[16];
    char *ids[1] = {id};
    ProtobufCBinaryData accepts[1] = {{sizeof(accept), accept}};
    Record__Origin origin = RECORD__ORIGIN__INIT;
    Record__Origin *origins[1] = {&origin};
    snprintf(id, sizeof(id), "request-%d", fixture->counter++);
    memset(accept, fixture->counter & 255, sizeof(accept));
    record__batch_meta__init(&making->meta);
    making->meta.request_ids = ids;
    making->meta.n_request_ids = history_random(fixture, 2);
    making->meta.accept_ids = accepts;
    making->meta.n_accept_ids = history_random(fixture, 3) == 0;
    making->meta.origins = origins;
    making->meta.n_origins = history_random(fixture, 3) == 0;
    origin.event_id = making->builder.first_event_id;
    origin.origin_event_id = fixture->counter;
    origin.origin_version = 3;
    origin.origin_run_id = accepts[0];
    struct bytes meta = proto_pack(&making->arena, &making->meta.base);
    enum err err = fold_meta(run, meta, making->builder.first_event_id);
    CHECK(err == OK);
    struct branch_state *branch = run_branch(run);
    fixture->batches[fixture->batch_count++] =
        batch_finish(&making->builder, meta, branch->digest, &branch->digest);
    arena_release(&making->arena);
}

static char *unique(struct making *making, const char *prefix)
{
    return arena_printf(&making->arena, "%s-%d", prefix, making->fixture->counter++);
}

static Api__Memo *memo_of(struct making *making)
{
    struct arena *arena = &making->arena;
    Api__Memo *memo = arena_new(arena, Api__Memo);
    api__memo__init(memo);
    memo->n_fields = 1;
    memo->fields = arena_zalloc(arena, 1, sizeof(*memo->fields));
    memo->fields[0] = arena_new(arena, Api__Memo__FieldsEntry);
    api__memo__fields_entry__init(memo->fields[0]);
    memo->fields[0]->key = arena_printf(arena, "key-%d", (int)history_random(making->fixture, 4));
    if (history_random(making->fixture, 3)) {
        Api__Payload payload = API__PAYLOAD__INIT;
        payload.data = (ProtobufCBinaryData){3, (uint8_t *)unique(making, "v")};
        struct bytes packed = proto_pack(arena, &payload.base);
        memo->fields[0]->value =
            (ProtobufCBinaryData){packed.len, (uint8_t *)(uintptr_t)packed.data};
    }
    return memo;
}

/* ---- kinds of batches ------------------------------------------------------------------------ */

static void add_scheduled(struct making *making)
{
    struct run *run = making->fixture->run;
    if (run->task.scheduled_event_id || !run_is_open(run))
        return;
    making->fixture->now_ns += NS_PER_MS;
    add(making, event_task_scheduled(
                    &making->arena, run, making->fixture->now_ns, run->task.attempt, false));
}

static void add_activity(struct making *making)
{
    Api__HistoryEvent *event = event_of(making, TYPE(ACTIVITY_TASK_SCHEDULED));
    Api__ActivityTaskScheduledEventAttributes *attributes =
        event->activity_task_scheduled_event_attributes;
    attributes->activity_id = unique(making, "activity");
    attributes->task_queue = task_queue_new(&making->arena, "queue");
    attributes->start_to_close_timeout = duration_new(&making->arena, 1500);
    attributes->heartbeat_timeout = duration_new(&making->arena, 0);
    add(making, event);
}

static void add_command(struct making *making)
{
    struct arena *arena = &making->arena;
    Api__HistoryEvent *event = NULL;
    switch (history_random(making->fixture, 5)) {
    case 0:
        add_activity(making);
        return;
    case 1:
        event = event_of(making, TYPE(TIMER_STARTED));
        event->timer_started_event_attributes->timer_id = unique(making, "timer");
        event->timer_started_event_attributes->start_to_fire_timeout =
            duration_new(arena, (int64_t)history_random(making->fixture, 100000));
        break;
    case 2:
        event = event_of(making, TYPE(MARKER_RECORDED));
        event->marker_recorded_event_attributes->marker_name = unique(making, "marker");
        break;
    case 3:
        event = event_of(making, TYPE(WORKFLOW_PROPERTIES_MODIFIED));
        event->workflow_properties_modified_event_attributes->upserted_memo = memo_of(making);
        break;
    default:
        event = event_of(making, TYPE(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES));
        event->upsert_workflow_search_attributes_event_attributes->search_attributes = proto_unpack(
            arena, &api__search_attributes__descriptor, proto_pack(arena, &memo_of(making)->base));
        break;
    }
    add(making, event);
}

static void add_close(struct making *making)
{
    Api__HistoryEvent *event = NULL;
    switch (history_random(making->fixture, 3)) {
    case 0:
        event = event_of(making, TYPE(WORKFLOW_EXECUTION_COMPLETED));
        break;
    case 1:
        event = event_of(making, TYPE(WORKFLOW_EXECUTION_CONTINUED_AS_NEW));
        event->workflow_execution_continued_as_new_event_attributes->new_execution_run_id =
            unique(making, "successor");
        break;
    default:
        event = event_of(making, TYPE(WORKFLOW_EXECUTION_TERMINATED));
        break;
    }
    add(making, event);
}

static void complete_task(struct making *making)
{
    struct run *run = making->fixture->run;
    int64_t scheduled = run->task.scheduled_event_id;
    Api__HistoryEvent *event = event_of(making, TYPE(WORKFLOW_TASK_STARTED));
    event->workflow_task_started_event_attributes->scheduled_event_id = scheduled;
    int64_t started = add(making, event);
    event = event_of(making, TYPE(WORKFLOW_TASK_COMPLETED));
    event->workflow_task_completed_event_attributes->scheduled_event_id = scheduled;
    event->workflow_task_completed_event_attributes->started_event_id = started;
    add(making, event);
    for (uint64_t n = history_random(making->fixture, 6); n > 0; n--)
        add_command(making);
    if (history_random(making->fixture, 60) == 0)
        add_close(making);
    else if (history_random(making->fixture, 2))
        add_scheduled(making);
}

static void lose_task(struct making *making)
{
    struct run *run = making->fixture->run;
    Api__HistoryEvent *event = NULL;
    if (history_random(making->fixture, 2)) {
        event = event_of(making, TYPE(WORKFLOW_TASK_FAILED));
        event->workflow_task_failed_event_attributes->scheduled_event_id =
            run->task.scheduled_event_id;
    } else {
        event = event_of(making, TYPE(WORKFLOW_TASK_TIMED_OUT));
        event->workflow_task_timed_out_event_attributes->scheduled_event_id =
            run->task.scheduled_event_id;
        event->workflow_task_timed_out_event_attributes->timeout_type =
            history_random(making->fixture, 2) ? API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START
                                               : API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE;
    }
    add(making, event);
}

static void end_activity(struct making *making)
{
    size_t cursor = 0;
    const struct activity *activity = map_next(&making->fixture->run->activities, &cursor);
    if (!activity)
        return;
    int64_t scheduled = activity->scheduled_event_id;
    Api__HistoryEvent *event = event_of(making, TYPE(ACTIVITY_TASK_STARTED));
    event->activity_task_started_event_attributes->scheduled_event_id = scheduled;
    if (history_random(making->fixture, 4) == 0) {
        event = event_of(making, TYPE(ACTIVITY_TASK_CANCEL_REQUESTED));
        event->activity_task_cancel_requested_event_attributes->scheduled_event_id = scheduled;
        add(making, event);
        return;
    }
    add(making, event);
    event = event_of(making, TYPE(ACTIVITY_TASK_COMPLETED));
    event->activity_task_completed_event_attributes->scheduled_event_id = scheduled;
    add(making, event);
}

static void end_timer(struct making *making)
{
    size_t cursor = 0;
    const struct timer *timer = map_next(&making->fixture->run->timers, &cursor);
    if (!timer)
        return;
    Api__HistoryEvent *event = event_of(making, TYPE(TIMER_FIRED));
    event->timer_fired_event_attributes->timer_id = bytes_string(&making->arena, timer->timer_id);
    event->timer_fired_event_attributes->started_event_id = timer->started_event_id;
    add(making, event);
}

static void add_signal(struct making *making)
{
    Api__HistoryEvent *event = NULL;
    if (history_random(making->fixture, 50) == 0)
        add(making, event_of(making, TYPE(WORKFLOW_EXECUTION_CANCEL_REQUESTED)));
    event = event_of(making, TYPE(WORKFLOW_EXECUTION_SIGNALED));
    event->workflow_execution_signaled_event_attributes->signal_name = unique(making, "signal");
    add(making, event);
    add_scheduled(making);
}

/* ---- histories ------------------------------------------------------------------------------- */

struct run *history_new_run(const struct history_fixture *fixture)
{
    (void)fixture;
    struct uuid run_id = {.bytes = {1, 2, 3}};
    struct uuid namespace_id = {.bytes = {9}};
    return run_new(7, namespace_id, bytes_of("workflow"), run_id);
}

void history_begin(struct history_fixture *fixture, uint64_t seed)
{
    *fixture = (struct history_fixture){
        .random = seed * 0x9e3779b97f4a7c15u + 1, .now_ns = START_NS, .version = 11};
    fixture->run = history_new_run(fixture);
    struct making making = {.fixture = fixture};
    Api__HistoryEvent *event = event_of(&making, TYPE(WORKFLOW_EXECUTION_STARTED));
    Api__WorkflowExecutionStartedEventAttributes *attributes =
        event->workflow_execution_started_event_attributes;
    Api__WorkflowType type = API__WORKFLOW_TYPE__INIT;
    type.name = event_text("type");
    attributes->workflow_type = &type;
    attributes->task_queue = task_queue_new(&making.arena, "queue");
    attributes->workflow_run_timeout = duration_new(&making.arena, 60000);
    attributes->first_execution_run_id = event_text("first");
    attributes->original_execution_run_id = event_text("original");
    attributes->memo = memo_of(&making);
    add(&making, event);
    add_scheduled(&making);
    finish(&making);
}

bool history_grow(struct history_fixture *fixture)
{
    struct run *run = fixture->run;
    if (!run_is_open(run) || fixture->batch_count == HISTORY_BATCHES_MAX)
        return false;
    if (history_random(fixture, 30) == 0)
        fixture->version += 10;
    struct making making = {.fixture = fixture};
    switch (history_random(fixture, 6)) {
    case 0:
    case 1:
        if (run->task.scheduled_event_id)
            complete_task(&making);
        break;
    case 2:
        if (run->task.scheduled_event_id)
            lose_task(&making);
        break;
    case 3:
        end_activity(&making);
        break;
    case 4:
        end_timer(&making);
        break;
    default:
        break;
    }
    if (!making.builder.blob && run_is_open(run))
        add_signal(&making);
    finish(&making);
    return true;
}

void history_release(struct history_fixture *fixture)
{
    for (size_t i = 0; i < fixture->batch_count; i++)
        blob_unref(fixture->batches[i]);
    run_free(fixture->run);
}

char *history_text(const struct run *run)
{
    struct buffer text = {0};
    run_describe(run, &text);
    buffer_append(&text, "", 1);
    return (char *)text.data;
}
