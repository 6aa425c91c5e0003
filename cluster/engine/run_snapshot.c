/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: the folded state after an event. Rebuilding from the first event gives the same, so
 * nothing here may hold what events do not tell.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/fold_private.h"

#define FORMAT 1u

static ProtobufCBinaryData binary(struct bytes view)
{
    /* Messages are only packed, never written through. */
    return (ProtobufCBinaryData){view.len, (uint8_t *)(uintptr_t)view.data};
}

static struct bytes view_of(const ProtobufCBinaryData *data)
{
    return bytes_make(data->data, data->len);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_pending(const struct run *run, Record__RunSnapshot *snapshot, struct arena *arena)
{
    snapshot->activities =
        arena_zalloc(arena, run->activities.count, sizeof(*snapshot->activities));
    size_t cursor = 0;
    for (const struct activity *activity = map_next(&run->activities, &cursor); activity;
         activity = map_next(&run->activities, &cursor)) {
        Record__PendingActivity *record = arena_new(arena, Record__PendingActivity);
        record__pending_activity__init(record);
        record->scheduled_event_id = activity->scheduled_event_id;
        record->scheduled_time = activity->scheduled_time_ns;
        record->scheduled = binary(activity->scheduled);
        record->cancel_requested_event_id = activity->cancel_requested_event_id;
        record->version = activity->version;
        snapshot->activities[snapshot->n_activities++] = record;
    }
    snapshot->timers = arena_zalloc(arena, run->timers.count, sizeof(*snapshot->timers));
    cursor = 0;
    for (const struct timer *timer = map_next(&run->timers, &cursor); timer;
         timer = map_next(&run->timers, &cursor)) {
        Record__PendingTimer *record = arena_new(arena, Record__PendingTimer);
        record__pending_timer__init(record);
        record->timer_id = bytes_string(arena, timer->timer_id);
        record->started_event_id = timer->started_event_id;
        record->fire_time = timer->fire_ns;
        snapshot->timers[snapshot->n_timers++] = record;
    }
}

static int64_t get_be(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return (int64_t)value;
}

static void write_keys(const struct run *run, Record__RunSnapshot *snapshot, struct arena *arena)
{
    snapshot->request_ids =
        arena_zalloc(arena, run->request_ids.count, sizeof(*snapshot->request_ids));
    size_t cursor = 0;
    for (const struct fold_key *key = map_next(&run->request_ids, &cursor); key;
         key = map_next(&run->request_ids, &cursor)) {
        if (key->event_id) /* the others are buffered: their facts tell */
            snapshot->request_ids[snapshot->n_request_ids++] =
                bytes_string(arena, bytes_make(key->data, key->len));
    }
    snapshot->origins = arena_zalloc(arena, run->origins.count, sizeof(*snapshot->origins));
    snapshot->accept_ids = arena_zalloc(arena, run->origins.count, sizeof(*snapshot->accept_ids));
    cursor = 0;
    for (const struct fold_key *key = map_next(&run->origins, &cursor); key;
         key = map_next(&run->origins, &cursor)) {
        struct bytes data = bytes_copy(arena, bytes_make(key->data, key->len));
        if (key->len == FOLD_ACCEPT_BYTES) {
            snapshot->accept_ids[snapshot->n_accept_ids++] = binary(data);
            continue;
        }
        Record__Origin *origin = arena_new(arena, Record__Origin);
        record__origin__init(origin);
        origin->event_id = key->event_id;
        origin->origin_run_id = binary(bytes_make(data.data, FOLD_ACCEPT_BYTES));
        origin->origin_event_id = get_be(data.data + FOLD_ACCEPT_BYTES);
        origin->origin_version = get_be(data.data + FOLD_ACCEPT_BYTES + 8);
        snapshot->origins[snapshot->n_origins++] = origin;
    }
}

static void write_task(const struct run *run, Record__RunSnapshot *snapshot)
{
    snapshot->last_completed_started_event_id = run->last_completed_started_event_id;
    snapshot->workflow_tasks_completed = run->workflow_tasks_completed;
    snapshot->workflow_task_attempt = run->task.attempt;
    if (run->task.transient)
        return; /* a fact, not history */
    snapshot->workflow_task_scheduled_event_id = run->task.scheduled_event_id;
    snapshot->workflow_task_scheduled_time = run->task.scheduled_ns;
    snapshot->workflow_task_timeout_ms = run->task.timeout_ms;
}

struct bytes run_write_snapshot(const struct run *run, struct arena *arena)
{
    Record__RunSnapshot snapshot = RECORD__RUN_SNAPSHOT__INIT;
    snapshot.format = FORMAT;
    snapshot.fold_version = FOLD_VERSION;
    snapshot.event_id = run_next_event_id(run) - 1;
    snapshot.branch = (uint32_t)run->current_branch;
    snapshot.line = run_write_branch(arena, run_branch(run));
    snapshot.started = binary(run->started);
    snapshot.started_time = run->started_ns;
    snapshot.started_version = run->started_version;
    write_pending(run, &snapshot, arena);
    write_keys(run, &snapshot, arena);
    write_task(run, &snapshot);
    snapshot.cancel_requested = run->cancel_requested;
    if (run->cancel_request_id)
        snapshot.cancel_request_id = arena_strdup(arena, run->cancel_request_id);
    snapshot.signal_count = run->signal_count;
    if (run->memo)
        snapshot.memo = binary(blob_view(run->memo));
    if (run->search_attributes)
        snapshot.search_attributes = binary(blob_view(run->search_attributes));
    if (run->close_event)
        snapshot.close_event = binary(blob_view(run->close_event));
    if (run->new_execution_run_id)
        snapshot.new_execution_run_id = arena_strdup(arena, run->new_execution_run_id);
    return proto_pack(arena, &snapshot.base);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Runs an event through its family's function outside the order of history. */
static enum err replay_event(struct run *run, Api__HistoryEvent *event, struct bytes encoded,
    int64_t time_ns, enum err (*apply)(const struct fold_step *step))
{
    struct fold_step step = {.run = run, .event = event, .encoded = encoded, .time_ns = time_ns};
    return apply(&step);
}

static enum err read_started(
    struct run *run, const Record__RunSnapshot *snapshot, struct arena *scratch)
{
    Api__HistoryEvent event = API__HISTORY_EVENT__INIT;
    event.version = snapshot->started_version;
    event.workflow_execution_started_event_attributes = proto_unpack(scratch,
        &api__workflow_execution_started_event_attributes__descriptor, view_of(&snapshot->started));
    if (!event.workflow_execution_started_event_attributes)
        return ERR_CORRUPT;
    enum err err =
        replay_event(run, &event, (struct bytes){0}, snapshot->started_time, fold_started);
    if (err)
        return err;
    blob_unref(run->memo);
    blob_unref(run->search_attributes);
    run->memo = snapshot->memo.len ? blob_from(view_of(&snapshot->memo)) : NULL;
    run->search_attributes =
        snapshot->search_attributes.len ? blob_from(view_of(&snapshot->search_attributes)) : NULL;
    return OK;
}

static enum err read_activities(
    struct run *run, const Record__RunSnapshot *snapshot, struct arena *scratch)
{
    for (size_t i = 0; i < snapshot->n_activities; i++) {
        const Record__PendingActivity *record = snapshot->activities[i];
        const Api__ActivityTaskScheduledEventAttributes *attributes =
            proto_unpack(scratch, &api__activity_task_scheduled_event_attributes__descriptor,
                view_of(&record->scheduled));
        if (!attributes || record->scheduled_event_id < 1 ||
            record->scheduled_event_id > snapshot->event_id || record->scheduled_time < 0 ||
            record->scheduled_time > FOLD_TIME_MAX_NS)
            return ERR_CORRUPT;
        enum err err = fold_add_activity(run, record->scheduled_event_id, record->scheduled_time,
            record->version, attributes, view_of(&record->scheduled));
        if (err)
            return err;
        run_activity(run, record->scheduled_event_id)->cancel_requested_event_id =
            record->cancel_requested_event_id;
    }
    return OK;
}

static enum err read_timers(struct run *run, const Record__RunSnapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n_timers; i++) {
        const Record__PendingTimer *record = snapshot->timers[i];
        if (record->started_event_id < 1 || record->started_event_id > snapshot->event_id ||
            record->fire_time < 0)
            return ERR_CORRUPT;
        enum err err = fold_add_timer(
            run, bytes_of(record->timer_id), record->started_event_id, record->fire_time);
        if (err)
            return err;
    }
    return OK;
}

static enum err read_keys(struct run *run, const Record__RunSnapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n_request_ids; i++)
        fold_add_key(&run->request_ids, bytes_of(snapshot->request_ids[i]), snapshot->event_id);
    enum err err = OK;
    for (size_t i = 0; !err && i < snapshot->n_origins; i++)
        err = fold_add_origin(run, snapshot->origins[i]);
    for (size_t i = 0; !err && i < snapshot->n_accept_ids; i++)
        err = fold_add_accept_id(run, &snapshot->accept_ids[i], snapshot->event_id);
    return err;
}

static enum err read_task(struct run *run, const Record__RunSnapshot *snapshot)
{
    struct workflow_task *task = &run->task;
    if (snapshot->workflow_task_attempt < 1 || snapshot->workflow_task_scheduled_event_id < 0 ||
        snapshot->workflow_task_scheduled_event_id > snapshot->event_id ||
        snapshot->workflow_task_timeout_ms < 0 ||
        snapshot->workflow_task_timeout_ms > FOLD_SPAN_MAX_MS ||
        snapshot->workflow_task_scheduled_time < 0 ||
        snapshot->workflow_task_scheduled_time > FOLD_TIME_MAX_NS ||
        snapshot->last_completed_started_event_id < 0 || snapshot->workflow_tasks_completed < 0 ||
        snapshot->signal_count < 0)
        return ERR_CORRUPT;
    task->scheduled_event_id = snapshot->workflow_task_scheduled_event_id;
    task->scheduled_ns = snapshot->workflow_task_scheduled_time;
    task->original_scheduled_ns = snapshot->workflow_task_scheduled_time;
    task->timeout_ms = snapshot->workflow_task_timeout_ms;
    task->attempt = snapshot->workflow_task_attempt;
    run->last_completed_started_event_id = snapshot->last_completed_started_event_id;
    run->workflow_tasks_completed = snapshot->workflow_tasks_completed;
    run->signal_count = snapshot->signal_count;
    run->cancel_requested = snapshot->cancel_requested;
    if (*snapshot->cancel_request_id)
        run->cancel_request_id = arena_strdup(&run->arena, snapshot->cancel_request_id);
    return OK;
}

/* A closed run is closed again, so that status and successor follow from the event. */
static enum err read_close(
    struct run *run, const Record__RunSnapshot *snapshot, struct arena *scratch)
{
    if (snapshot->close_event.len == 0)
        return OK;
    struct bytes encoded = view_of(&snapshot->close_event);
    const Api__HistoryEvent *event =
        proto_unpack(scratch, &api__history_event__descriptor, encoded);
    if (!event || event->event_id != snapshot->event_id)
        return ERR_CORRUPT;
    struct branch_state before = *run_branch(run);
    run_branch(run)->next_event_id--;
    enum err err = fold_event(run, event, encoded);
    if (!err && run_is_open(run))
        err = ERR_CORRUPT;
    run_branch(run)->history_bytes = before.history_bytes;
    return err;
}

enum err run_read_snapshot(struct run *run, struct bytes value)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__RunSnapshot *snapshot =
        proto_unpack(&scratch, &record__run_snapshot__descriptor, value);
    if (!snapshot || snapshot->format < FORMAT)
        return ERR_CORRUPT;
    if (snapshot->format > FORMAT || snapshot->fold_version != FOLD_VERSION)
        return ERR_VERSION;
    CHECK(run_next_event_id(run) == 1);
    if (snapshot->event_id < 1 || !snapshot->line ||
        snapshot->line->next_event_id != snapshot->event_id + 1 || snapshot->started_time < 0 ||
        snapshot->started_time > FOLD_TIME_MAX_NS)
        return ERR_CORRUPT;
    enum err err = run_read_branch(snapshot->line, run_branch(run));
    if (!err)
        err = read_started(run, snapshot, &scratch);
    if (!err)
        err = read_activities(run, snapshot, &scratch);
    if (!err)
        err = read_timers(run, snapshot);
    if (!err)
        err = read_keys(run, snapshot);
    if (!err)
        err = read_task(run, snapshot);
    return err ? err : read_close(run, snapshot, &scratch);
}
