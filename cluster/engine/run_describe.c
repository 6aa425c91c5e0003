/* SPDX-License-Identifier: Apache-2.0
 *
 * A run's folded state as text, in an order that does not depend on how it came about.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"
#include "cluster/engine/fold_private.h"

static uint64_t blob_hash(const struct blob *blob)
{
    return blob ? hash64(blob_view(blob), 0) : 0;
}

static void print_text(struct buffer *text, struct bytes value)
{
    buffer_append(text, "\"", 1);
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < 0x20 || value.data[i] >= 0x7f || value.data[i] == '"')
            buffer_printf(text, "\\x%02x", value.data[i]);
        else
            buffer_append(text, &value.data[i], 1);
    }
    buffer_append(text, "\"", 1);
}

/* The values of a map, sorted; the caller frees the array. */
static void **sorted(const struct map *map, int (*compare)(const void *a, const void *b))
{
    void **values = mem_zalloc(map->count, sizeof(*values));
    size_t count = 0;
    size_t cursor = 0;
    for (void *value = map_next(map, &cursor); value; value = map_next(map, &cursor))
        values[count++] = value;
    qsort(values, count, sizeof(*values), compare);
    return values;
}

static int compare_ids(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_activity(const void *a, const void *b)
{
    const struct activity *const *left = a;
    const struct activity *const *right = b;
    return compare_ids((*left)->scheduled_event_id, (*right)->scheduled_event_id);
}

static int by_timer(const void *a, const void *b)
{
    const struct timer *const *left = a;
    const struct timer *const *right = b;
    return compare_ids((*left)->started_event_id, (*right)->started_event_id);
}

static int by_key(const void *a, const void *b)
{
    const struct fold_key *const *left = a;
    const struct fold_key *const *right = b;
    return bytes_compare(
        bytes_make((*left)->data, (*left)->len), bytes_make((*right)->data, (*right)->len));
}

static void print_branch(struct buffer *text, const struct branch_state *branch)
{
    buffer_printf(text, "next=%" PRId64 " bytes=%" PRId64 " digest=%016" PRIx64 " time=%" PRId64,
        branch->next_event_id, branch->history_bytes, branch->digest, branch->last_event_time_ns);
    for (size_t i = 0; i < branch->item_count; i++)
        buffer_printf(
            text, " %" PRId64 "@%" PRId64, branch->items[i].event_id, branch->items[i].version);
    buffer_append(text, "\n", 1);
}

static void print_life(struct buffer *text, const struct run *run)
{
    buffer_printf(text, "started hash=%016" PRIx64 " time=%" PRId64 " version=%" PRId64 " type=",
        hash64(run->started, 0), run->started_ns, run->started_version);
    print_text(text, bytes_of(run->workflow_type));
    buffer_printf(text, " queue=");
    print_text(text, bytes_of(run->task_queue));
    buffer_printf(text,
        " run_timeout_ms=%" PRId64 " expires=%" PRId64 " backoff=%" PRId64
        " task_timeout_ms=%" PRId64 " attempt=%d first=%s original=%s\n",
        run->run_timeout_ms, run->execution_expires_ns, run->first_backoff_ns,
        run->default_task_timeout_ms, run->attempt,
        run->first_execution_run_id ? run->first_execution_run_id : "-",
        run->original_execution_run_id ? run->original_execution_run_id : "-");
    buffer_printf(text, "status=%d close=%" PRId64 " close_event=%016" PRIx64 " successor=%s\n",
        run->status, run->close_ns, blob_hash(run->close_event),
        run->new_execution_run_id ? run->new_execution_run_id : "-");
    buffer_printf(text,
        "signals=%" PRId64 " cancel=%d memo=%016" PRIx64 " attributes=%016" PRIx64 "\n",
        run->signal_count, run->cancel_requested, blob_hash(run->memo),
        blob_hash(run->search_attributes));
}

/* A transient task is a fact: history does not know it. */
static void print_task(struct buffer *text, const struct run *run)
{
    const struct workflow_task *task = &run->task;
    buffer_printf(text, "tasks completed=%" PRId64 " last_started=%" PRId64,
        run->workflow_tasks_completed, run->last_completed_started_event_id);
    if (!task->transient)
        buffer_printf(text,
            " pending=%" PRId64 " scheduled=%" PRId64 " timeout_ms=%" PRId64 " attempt=%d",
            task->scheduled_event_id, task->scheduled_ns, task->timeout_ms, task->attempt);
    buffer_append(text, "\n", 1);
}

static void print_pending(struct buffer *text, const struct run *run)
{
    void **activities = sorted(&run->activities, by_activity);
    for (size_t i = 0; i < run->activities.count; i++) {
        const struct activity *activity = activities[i];
        buffer_printf(text, "activity %" PRId64 " ", activity->scheduled_event_id);
        print_text(text, activity->activity_id);
        buffer_printf(text,
            " time=%" PRId64 " version=%" PRId64 " cancel=%" PRId64 " hash=%016" PRIx64
            " close_ms=%" PRId64 " start_ms=%" PRId64 " run_ms=%" PRId64 " beat_ms=%" PRId64 "\n",
            activity->scheduled_time_ns, activity->version, activity->cancel_requested_event_id,
            hash64(activity->scheduled, 0), activity->schedule_to_close_ms,
            activity->schedule_to_start_ms, activity->start_to_close_ms, activity->heartbeat_ms);
    }
    mem_free(activities);
    void **timers = sorted(&run->timers, by_timer);
    for (size_t i = 0; i < run->timers.count; i++) {
        const struct timer *timer = timers[i];
        buffer_printf(text, "timer %" PRId64 " ", timer->started_event_id);
        print_text(text, timer->timer_id);
        buffer_printf(text, " fire=%" PRId64 "\n", timer->fire_ns);
    }
    mem_free(timers);
}

/* Where a key came from is not part of the state: snapshots do not keep it. */
static void print_keys(struct buffer *text, const char *name, const struct map *map)
{
    void **keys = sorted(map, by_key);
    for (size_t i = 0; i < map->count; i++) {
        const struct fold_key *key = keys[i];
        if (!key->event_id)
            continue;
        buffer_printf(text, "%s ", name);
        print_text(text, bytes_make(key->data, key->len));
        buffer_append(text, "\n", 1);
    }
    mem_free(keys);
}

void run_describe(const struct run *run, struct buffer *ret_text)
{
    print_branch(ret_text, run_branch(run));
    print_life(ret_text, run);
    print_task(ret_text, run);
    print_pending(ret_text, run);
    print_keys(ret_text, "request", &run->request_ids);
    print_keys(ret_text, "origin", &run->origins);
}
