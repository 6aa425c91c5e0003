/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes are made by descriptor, so that one table replaces a constructor per event type.
 */
#include "cluster/engine/event_build.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"

#define SUGGEST_REASON(name) \
    API__SUGGEST_CONTINUE_AS_NEW_REASON__SUGGEST_CONTINUE_AS_NEW_REASON_##name
#define KIND(name)                                                   \
    {                                                                \
        API__EVENT_TYPE__EVENT_TYPE_##name,                          \
            API__HISTORY_EVENT__ATTRIBUTES_##name##_EVENT_ATTRIBUTES \
    }

/* The types that this server writes itself. */
static const struct {
    Api__EventType type;
    Api__HistoryEvent__AttributesCase attributes;
} KINDS[] = {
    KIND(WORKFLOW_EXECUTION_STARTED),
    KIND(WORKFLOW_EXECUTION_COMPLETED),
    KIND(WORKFLOW_EXECUTION_FAILED),
    KIND(WORKFLOW_EXECUTION_TIMED_OUT),
    KIND(WORKFLOW_TASK_SCHEDULED),
    KIND(WORKFLOW_TASK_STARTED),
    KIND(WORKFLOW_TASK_COMPLETED),
    KIND(WORKFLOW_TASK_TIMED_OUT),
    KIND(WORKFLOW_TASK_FAILED),
    KIND(ACTIVITY_TASK_SCHEDULED),
    KIND(ACTIVITY_TASK_STARTED),
    KIND(ACTIVITY_TASK_COMPLETED),
    KIND(ACTIVITY_TASK_FAILED),
    KIND(ACTIVITY_TASK_TIMED_OUT),
    KIND(ACTIVITY_TASK_CANCEL_REQUESTED),
    KIND(ACTIVITY_TASK_CANCELED),
    KIND(TIMER_STARTED),
    KIND(TIMER_FIRED),
    KIND(TIMER_CANCELED),
    KIND(WORKFLOW_EXECUTION_CANCEL_REQUESTED),
    KIND(WORKFLOW_EXECUTION_CANCELED),
    KIND(MARKER_RECORDED),
    KIND(WORKFLOW_EXECUTION_SIGNALED),
    KIND(WORKFLOW_EXECUTION_TERMINATED),
    KIND(WORKFLOW_EXECUTION_CONTINUED_AS_NEW),
    KIND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES),
    KIND(WORKFLOW_PROPERTIES_MODIFIED),
    KIND(WORKFLOW_EXECUTION_OPTIONS_UPDATED),
};

Api__HistoryEvent *event_new(struct arena *arena, Api__EventType type, int64_t time_ns)
{
    size_t i = 0;
    while (i < ARRAY_LEN(KINDS) && KINDS[i].type != type)
        i++;
    CHECK(i < ARRAY_LEN(KINDS));
    Api__HistoryEvent *event = arena_new(arena, Api__HistoryEvent);
    api__history_event__init(event);
    event->event_type = type;
    event->event_time = timestamp_new(arena, time_ns);
    /* The case of a oneof is the number of the field that is set. */
    event->attributes_case = KINDS[i].attributes;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        &api__history_event__descriptor, (unsigned)KINDS[i].attributes);
    CHECK(field);
    const ProtobufCMessageDescriptor *descriptor = field->descriptor;
    ProtobufCMessage *attributes = arena_zalloc(arena, 1, descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, attributes);
    memcpy((char *)event + field->offset, &attributes, sizeof(attributes));
    return event;
}

Api__HistoryEvent *event_task_scheduled(
    struct arena *arena, const struct run *run, int64_t time_ns, int32_t attempt, bool sticky)
{
    Api__HistoryEvent *event =
        event_new(arena, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, time_ns);
    Api__WorkflowTaskScheduledEventAttributes *scheduled =
        event->workflow_task_scheduled_event_attributes;
    scheduled->task_queue = task_queue_new(arena, run->task_queue);
    if (sticky) {
        CHECK(run->sticky_queue);
        scheduled->task_queue->name = run->sticky_queue;
        scheduled->task_queue->kind = API__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
        scheduled->task_queue->normal_name = event_text(run->task_queue);
    }
    scheduled->start_to_close_timeout = duration_new(arena, run->default_task_timeout_ms);
    scheduled->attempt = attempt;
    return event;
}

/* Why a worker is told to continue as new follows from what it is told of the history. */
static void suggest_reasons(
    struct arena *arena, const struct run *run, Api__WorkflowTaskStartedEventAttributes *started)
{
    Api__SuggestContinueAsNewReason *reasons = arena_zalloc(arena, 2, sizeof(*reasons));
    size_t count = 0;
    if (run->task.mark.history_bytes >= (int64_t)HISTORY_BYTES_SUGGEST_CAN)
        reasons[count++] = SUGGEST_REASON(HISTORY_SIZE_TOO_LARGE);
    if (run->task.mark.started_event_id > HISTORY_EVENTS_SUGGEST_CAN)
        reasons[count++] = SUGGEST_REASON(TOO_MANY_HISTORY_EVENTS);
    started->suggest_continue_as_new_reasons = reasons;
    started->n_suggest_continue_as_new_reasons = count;
}

Api__HistoryEvent *event_task_started(struct arena *arena, const struct run *run)
{
    Api__HistoryEvent *event = event_new(
        arena, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_TASK_STARTED, run->task.mark.started_ns);
    Api__WorkflowTaskStartedEventAttributes *started =
        event->workflow_task_started_event_attributes;
    started->scheduled_event_id = run->task.scheduled_event_id;
    started->identity = event_text(run->task.mark.identity);
    started->request_id = event_text(run->task.mark.request_id);
    started->history_size_bytes = run->task.mark.history_bytes;
    started->suggest_continue_as_new = run->task.mark.suggest_continue_as_new;
    if (run->task.mark.suggest_continue_as_new)
        suggest_reasons(arena, run, started);
    return event;
}

/* ---- small messages ------------------------------------------------------------------------- */

Api__Timestamp *timestamp_new(struct arena *arena, int64_t ns)
{
    Api__Timestamp *timestamp = arena_new(arena, Api__Timestamp);
    api__timestamp__init(timestamp);
    timestamp->seconds = ns / NS_PER_S;
    timestamp->nanos = (int32_t)(ns % NS_PER_S);
    return timestamp;
}

int64_t timestamp_ns(const Api__Timestamp *timestamp)
{
    int64_t ns = 0;
    if (!timestamp)
        return 0;
    if (__builtin_mul_overflow(timestamp->seconds, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)timestamp->nanos, &ns))
        return timestamp->seconds < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

Api__Duration *duration_new_ns(struct arena *arena, int64_t ns)
{
    Api__Duration *duration = arena_new(arena, Api__Duration);
    api__duration__init(duration);
    duration->seconds = ns / NS_PER_S;
    duration->nanos = (int32_t)(ns % NS_PER_S);
    return duration;
}

Api__Duration *duration_new(struct arena *arena, int64_t ms)
{
    Api__Duration *duration = arena_new(arena, Api__Duration);
    api__duration__init(duration);
    duration->seconds = ms / 1000;
    duration->nanos = (int32_t)(ms % 1000 * NS_PER_MS);
    return duration;
}

int64_t duration_ns(const Api__Duration *duration)
{
    int64_t ns = 0;
    if (!duration)
        return 0;
    if (__builtin_mul_overflow(duration->seconds, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)duration->nanos, &ns))
        return duration->seconds < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

int64_t duration_ms(const Api__Duration *duration)
{
    int64_t ns = duration_ns(duration);
    return ns / NS_PER_MS + (ns % NS_PER_MS > 0);
}

Api__WorkflowExecution *execution_new(
    struct arena *arena, struct bytes workflow_id, const char *run_id)
{
    Api__WorkflowExecution *execution = arena_new(arena, Api__WorkflowExecution);
    api__workflow_execution__init(execution);
    execution->workflow_id = bytes_string(arena, workflow_id);
    execution->run_id = event_text(run_id);
    return execution;
}

Api__TaskQueue *task_queue_new(struct arena *arena, const char *name)
{
    Api__TaskQueue *queue = arena_new(arena, Api__TaskQueue);
    api__task_queue__init(queue);
    queue->name = event_text(name);
    queue->kind = API__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
    return queue;
}

char *event_text(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

/* ---- opaque fields -------------------------------------------------------------------------- */

void opaque_set(
    struct arena *arena, size_t *ret_count, ProtobufCBinaryData **ret_field, struct bytes value)
{
    if (!value.data) {
        *ret_count = 0;
        return;
    }
    ProtobufCBinaryData *field = arena_new(arena, ProtobufCBinaryData);
    field->data = (uint8_t *)(uintptr_t)value.data;
    field->len = value.len;
    *ret_field = field;
    *ret_count = 1;
}

struct bytes opaque_get(struct arena *arena, size_t count, const ProtobufCBinaryData *field)
{
    if (!count)
        return bytes_make(NULL, 0);
    if (count == 1 && field[0].len)
        return bytes_make(field[0].data, field[0].len);
    size_t len = opaque_size(count, field);
    uint8_t *all = arena_alloc(arena, len ? len : 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (field[i].len)
            memcpy(all + at, field[i].data, field[i].len);
        at += field[i].len;
    }
    return bytes_make(all, len);
}

struct bytes payloads_text(struct arena *arena, const char *text)
{
    Api__Payload__MetadataEntry encoding;
    api__payload__metadata_entry__init(&encoding);
    encoding.key = event_text("encoding");
    struct bytes json = bytes_of("json/plain");
    encoding.value = (ProtobufCBinaryData){json.len, (uint8_t *)(uintptr_t)json.data};
    Api__Payload payload;
    api__payload__init(&payload);
    Api__Payload__MetadataEntry *entries[] = {&encoding};
    payload.n_metadata = 1;
    payload.metadata = entries;
    struct bytes data = bytes_of(arena_printf(arena, "\"%s\"", text));
    payload.data = (ProtobufCBinaryData){data.len, (uint8_t *)(uintptr_t)data.data};
    struct bytes packed = proto_pack(arena, &payload.base);
    Api__Payloads payloads;
    api__payloads__init(&payloads);
    opaque_set(arena, &payloads.n_payloads, &payloads.payloads, packed);
    return proto_pack(arena, &payloads.base);
}

size_t opaque_size(size_t count, const ProtobufCBinaryData *field)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += field[i].len;
    return len;
}

Api__WorkflowExecutionStartedEventAttributes *run_started_attributes(
    struct arena *arena, const struct run *run)
{
    Api__WorkflowExecutionStartedEventAttributes *started = proto_unpack(
        arena, &api__workflow_execution_started_event_attributes__descriptor, run->started);
    CHECK(started);
    return started;
}
