/* SPDX-License-Identifier: Apache-2.0
 *
 * Building history events and the small messages inside them.
 *
 * Everything lives in the decision's arena: an event is encoded by decision_append() at once and is
 * forgotten with the decision.
 */
#ifndef CLUSTER_ENGINE_EVENT_BUILD_H
#define CLUSTER_ENGINE_EVENT_BUILD_H

#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/engine/run.h"
#include "proto/api_history.pb-c.h"

/** An event of this type at this time, with its attributes already made and initialised: the
 *  caller fills event-><kind>_event_attributes. CHECKs that the type is one we write. */
Api__HistoryEvent *event_new(struct arena *arena, Api__EventType type, int64_t time_ns);

/** WorkflowTaskScheduled as this run's next or pending task shows it. `sticky`: on the sticky queue
 *  of the run (which must have one). */
Api__HistoryEvent *event_task_scheduled(
    struct arena *arena, const struct run *run, int64_t time_ns, int32_t attempt, bool sticky);
/** WorkflowTaskStarted of the task in flight, from its mark: poll responses and history must show
 *  the same bytes. Without id and version. */
Api__HistoryEvent *event_task_started(struct arena *arena, const struct run *run);

Api__Timestamp *timestamp_new(struct arena *arena, int64_t ns);
/** Always present: an explicit zero is not an absent duration. */
Api__Duration *duration_new(struct arena *arena, int64_t ms);
Api__Duration *duration_new_ns(struct arena *arena, int64_t ns);
/** 0 for NULL; saturates. May be negative: the sender's fault, to be refused. */
int64_t duration_ns(const Api__Duration *duration);
/** The same in milliseconds, rounded up so that a tiny timeout does not become "none". */
int64_t duration_ms(const Api__Duration *duration);
int64_t timestamp_ns(const Api__Timestamp *timestamp);

Api__WorkflowExecution *execution_new(
    struct arena *arena, struct bytes workflow_id, const char *run_id);
/** A normal task queue. */
Api__TaskQueue *task_queue_new(struct arena *arena, const char *name);

/** The strings of messages are not const in protobuf-c, but packing never writes to them. */
char *event_text(const char *text);
/** Fills an opaque `repeated bytes` field that holds at most one message; an empty view with
 *  data == NULL leaves it absent. */
void opaque_set(
    struct arena *arena, size_t *ret_count, ProtobufCBinaryData **ret_field, struct bytes value);
/** The message of an opaque field; several parts are its concatenation. data == NULL: absent. */
struct bytes opaque_get(struct arena *arena, size_t count, const ProtobufCBinaryData *field);
/** Payloads with one JSON string; `text` must need no escaping. */
struct bytes payloads_text(struct arena *arena, const char *text);
/** The encoded bytes of all elements together, for size limits. */
size_t opaque_size(size_t count, const ProtobufCBinaryData *field);

/** The message that the run started with, unpacked; CHECKs, because it was packed by us or checked
 *  when it was folded. */
Api__WorkflowExecutionStartedEventAttributes *run_started_attributes(
    struct arena *arena, const struct run *run);

#endif
