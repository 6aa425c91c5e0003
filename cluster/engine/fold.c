/* SPDX-License-Identifier: Apache-2.0
 *
 * One event at a time: checks that it is the next one, lets its family apply it, advances the
 * branch.
 *
 * Events of children, other workflows, updates and Nexus operations are history only: they advance
 * the branch and change nothing else.
 */
#include "cluster/engine/fold.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/event_build.h"
#include "cluster/engine/fold_private.h"

int64_t fold_span_ms(const Api__Duration *duration)
{
    int64_t ms = duration_ms(duration);
    if (ms < 0)
        return 0;
    return ms < FOLD_SPAN_MAX_MS ? ms : FOLD_SPAN_MAX_MS;
}

struct bytes fold_pack(struct arena *arena, const ProtobufCMessage *message)
{
    return proto_pack(arena, message);
}

/* ---- one event ------------------------------------------------------------------------------- */

static enum err fold_nothing(const struct fold_step *step)
{
    (void)step;
    return OK;
}

/* Every type of event, and what applies it. X(type, function) */
#define EVENT_TABLE(X)                                                    \
    X(WORKFLOW_EXECUTION_STARTED, fold_started)                           \
    X(WORKFLOW_EXECUTION_COMPLETED, fold_completed)                       \
    X(WORKFLOW_EXECUTION_FAILED, fold_failed)                             \
    X(WORKFLOW_EXECUTION_TIMED_OUT, fold_timed_out)                       \
    X(WORKFLOW_EXECUTION_CANCELED, fold_canceled)                         \
    X(WORKFLOW_EXECUTION_TERMINATED, fold_terminated)                     \
    X(WORKFLOW_EXECUTION_CONTINUED_AS_NEW, fold_continued_as_new)         \
    X(WORKFLOW_TASK_SCHEDULED, fold_task_scheduled)                       \
    X(WORKFLOW_TASK_STARTED, fold_task_started)                           \
    X(WORKFLOW_TASK_COMPLETED, fold_task_completed)                       \
    X(WORKFLOW_TASK_TIMED_OUT, fold_task_timed_out)                       \
    X(WORKFLOW_TASK_FAILED, fold_task_failed)                             \
    X(ACTIVITY_TASK_SCHEDULED, fold_activity_scheduled)                   \
    X(ACTIVITY_TASK_STARTED, fold_activity_started)                       \
    X(ACTIVITY_TASK_COMPLETED, fold_activity_completed)                   \
    X(ACTIVITY_TASK_FAILED, fold_activity_failed)                         \
    X(ACTIVITY_TASK_TIMED_OUT, fold_activity_timed_out)                   \
    X(ACTIVITY_TASK_CANCEL_REQUESTED, fold_activity_cancel_requested)     \
    X(ACTIVITY_TASK_CANCELED, fold_activity_canceled)                     \
    X(TIMER_STARTED, fold_timer_started)                                  \
    X(TIMER_FIRED, fold_timer_fired)                                      \
    X(TIMER_CANCELED, fold_timer_canceled)                                \
    X(WORKFLOW_EXECUTION_SIGNALED, fold_signaled)                         \
    X(WORKFLOW_EXECUTION_CANCEL_REQUESTED, fold_cancel_requested)         \
    X(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, fold_search_attributes)          \
    X(WORKFLOW_PROPERTIES_MODIFIED, fold_properties)                      \
    X(MARKER_RECORDED, fold_nothing)                                      \
    X(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, fold_nothing) \
    X(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED, fold_nothing)    \
    X(EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED, fold_nothing)         \
    X(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, fold_nothing)         \
    X(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED, fold_nothing)            \
    X(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED, fold_nothing)                 \
    X(START_CHILD_WORKFLOW_EXECUTION_INITIATED, fold_nothing)             \
    X(START_CHILD_WORKFLOW_EXECUTION_FAILED, fold_nothing)                \
    X(CHILD_WORKFLOW_EXECUTION_STARTED, fold_nothing)                     \
    X(CHILD_WORKFLOW_EXECUTION_COMPLETED, fold_nothing)                   \
    X(CHILD_WORKFLOW_EXECUTION_FAILED, fold_nothing)                      \
    X(CHILD_WORKFLOW_EXECUTION_CANCELED, fold_nothing)                    \
    X(CHILD_WORKFLOW_EXECUTION_TIMED_OUT, fold_nothing)                   \
    X(CHILD_WORKFLOW_EXECUTION_TERMINATED, fold_nothing)                  \
    X(WORKFLOW_EXECUTION_UPDATE_ADMITTED, fold_nothing)                   \
    X(WORKFLOW_EXECUTION_UPDATE_ACCEPTED, fold_nothing)                   \
    X(WORKFLOW_EXECUTION_UPDATE_REJECTED, fold_nothing)                   \
    X(WORKFLOW_EXECUTION_UPDATE_COMPLETED, fold_nothing)                  \
    X(WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY, fold_nothing)              \
    X(ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY, fold_nothing)              \
    X(NEXUS_OPERATION_SCHEDULED, fold_nothing)                            \
    X(NEXUS_OPERATION_STARTED, fold_nothing)                              \
    X(NEXUS_OPERATION_COMPLETED, fold_nothing)                            \
    X(NEXUS_OPERATION_FAILED, fold_nothing)                               \
    X(NEXUS_OPERATION_CANCELED, fold_nothing)                             \
    X(NEXUS_OPERATION_TIMED_OUT, fold_nothing)                            \
    X(NEXUS_OPERATION_CANCEL_REQUESTED, fold_nothing)                     \
    X(NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED, fold_nothing)             \
    X(NEXUS_OPERATION_CANCEL_REQUEST_FAILED, fold_nothing)                \
    X(WORKFLOW_EXECUTION_OPTIONS_UPDATED, fold_nothing)                   \
    X(WORKFLOW_EXECUTION_PAUSED, fold_nothing)                            \
    X(WORKFLOW_EXECUTION_UNPAUSED, fold_nothing)                          \
    X(WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED, fold_nothing)

static enum err apply(const struct fold_step *step)
{
    Api__HistoryEvent__AttributesCase attributes = step->event->attributes_case;
    switch (step->event->event_type) {
#define EVENT_CASE(name, fn)                                                          \
    case API__EVENT_TYPE__EVENT_TYPE_##name:                                          \
        return attributes == API__HISTORY_EVENT__ATTRIBUTES_##name##_EVENT_ATTRIBUTES \
                   ? fn(step)                                                         \
                   : ERR_CORRUPT;
        EVENT_TABLE(EVENT_CASE)
#undef EVENT_CASE
    case API__EVENT_TYPE__EVENT_TYPE_UNSPECIFIED:
    case _API__EVENT_TYPE_IS_INT_SIZE:
        return ERR_CORRUPT;
    }
    /* A number that this build does not know: written by a newer one. */
    return ERR_VERSION;
}

/* Versions never fall; a higher one begins a new item, the same one extends the last. */
static enum err advance_version(struct branch_state *branch, int64_t event_id, int64_t version)
{
    size_t count = branch->item_count;
    int64_t last = count ? branch->items[count - 1].version : -1;
    if (version < last || version < 0)
        return ERR_CORRUPT;
    if (version > last) {
        branch->items = mem_realloc(branch->items, (count + 1) * sizeof(*branch->items));
        branch->items[count].version = version;
        branch->item_count = ++count;
    }
    branch->items[count - 1].event_id = event_id;
    return OK;
}

/* Task events aside, whatever reaches history starts the task's attempts anew. */
static bool is_task_event(Api__EventType type)
{
    return type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_SCHEDULED ||
           type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_STARTED ||
           type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_COMPLETED ||
           type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT ||
           type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_FAILED;
}

enum err fold_event(struct run *run, const Api__HistoryEvent *event, struct bytes encoded)
{
    struct branch_state *branch = run_branch(run);
    bool first = event->event_id == 1;
    bool begins = event->event_type == API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_STARTED;
    if (event->event_id != branch->next_event_id || first != begins || !run_is_open(run))
        return ERR_CORRUPT;
    struct fold_step step = {
        .run = run, .event = event, .encoded = encoded, .time_ns = timestamp_ns(event->event_time)};
    if (!event->event_time || step.time_ns < 0 || step.time_ns > FOLD_TIME_MAX_NS)
        return ERR_CORRUPT;
    enum err err = advance_version(branch, event->event_id, event->version);
    if (!err)
        err = apply(&step);
    if (err)
        return err;
    if (!run->task.scheduled_event_id && !is_task_event(event->event_type))
        run->task.attempt = 1;
    branch->next_event_id++;
    branch->history_bytes += (int64_t)encoded.len;
    if (step.time_ns > branch->last_event_time_ns)
        branch->last_event_time_ns = step.time_ns;
    return OK;
}

/* ---- meta ------------------------------------------------------------------------------------ */

void fold_add_key(struct map *map, struct bytes key, int64_t event_id)
{
    struct fold_key *known = map_get(map, key);
    if (known) {
        if (!known->event_id)
            known->event_id = event_id;
        return;
    }
    struct fold_key *entry = mem_alloc(sizeof(*entry) + key.len);
    entry->event_id = event_id;
    entry->len = key.len;
    if (key.len > 0)
        memcpy(entry->data, key.data, key.len);
    map_put(map, bytes_make(entry->data, entry->len), entry);
}

static void put_be(uint8_t *at, int64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
}

enum err fold_add_origin(struct run *run, const Record__Origin *origin)
{
    uint8_t key[FOLD_ORIGIN_BYTES];
    if (origin->origin_run_id.len != FOLD_ACCEPT_BYTES || origin->event_id < 1)
        return ERR_CORRUPT;
    memcpy(key, origin->origin_run_id.data, FOLD_ACCEPT_BYTES);
    put_be(key + FOLD_ACCEPT_BYTES, origin->origin_event_id);
    put_be(key + FOLD_ACCEPT_BYTES + 8, origin->origin_version);
    fold_add_key(&run->origins, bytes_make(key, sizeof(key)), origin->event_id);
    return OK;
}

enum err fold_add_accept_id(struct run *run, const ProtobufCBinaryData *id, int64_t event_id)
{
    if (id->len != FOLD_ACCEPT_BYTES)
        return ERR_CORRUPT;
    fold_add_key(&run->origins, bytes_make(id->data, id->len), event_id);
    return OK;
}

enum err fold_meta(struct run *run, struct bytes meta, int64_t first_event_id)
{
    if (meta.len == 0)
        return OK;
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__BatchMeta *message =
        proto_unpack(&scratch, &record__batch_meta__descriptor, meta);
    if (!message)
        return ERR_CORRUPT;
    for (size_t i = 0; i < message->n_request_ids; i++)
        fold_add_key(&run->request_ids, bytes_of(message->request_ids[i]), first_event_id);
    enum err err = OK;
    for (size_t i = 0; !err && i < message->n_origins; i++)
        err = fold_add_origin(run, message->origins[i]);
    for (size_t i = 0; !err && i < message->n_accept_ids; i++)
        err = fold_add_accept_id(run, &message->accept_ids[i], first_event_id);
    return err;
}

/* ---- batches --------------------------------------------------------------------------------- */

enum err fold_batch(struct run *run, struct bytes value)
{
    struct batch batch;
    enum err err = batch_decode(value, &batch);
    if (err)
        return err;
    struct branch_state *branch = run_branch(run);
    if (batch.first_event_id != branch->next_event_id || batch.digest_before != branch->digest)
        return ERR_CORRUPT;
    struct arena scratch CLEANUP(arena_release) = {0};
    size_t offset = 0;
    uint32_t count = 0;
    struct bytes encoded;
    struct bytes framed;
    while (batch_next_event(batch.events, &offset, &encoded, &framed)) {
        arena_reset(&scratch);
        const Api__HistoryEvent *event =
            proto_unpack(&scratch, &api__history_event__descriptor, encoded);
        if (!event || event->version != batch.version)
            return ERR_CORRUPT;
        err = fold_event(run, event, encoded);
        if (err)
            return err;
        count++;
    }
    if (offset != batch.events.len || count != batch.event_count)
        return ERR_CORRUPT;
    branch->digest = batch.digest;
    return fold_meta(run, batch.meta, batch.first_event_id);
}
