/* SPDX-License-Identifier: Apache-2.0
 *
 * The fold's families of events. Every function applies the attributes of one event that was
 * checked to be the next one of an open run; it returns ERR_CORRUPT when they cannot follow.
 */
#ifndef CLUSTER_ENGINE_FOLD_PRIVATE_H
#define CLUSTER_ENGINE_FOLD_PRIVATE_H

#include "cluster/engine/fold.h"

/* Latest moment that is taken literally (about the year 2170): sums with spans cannot overflow. */
#define FOLD_TIME_MAX_NS (INT64_MAX - FOLD_SPAN_MAX_MS * 1000000ll)
#define FOLD_SPAN_MAX_MS (100ll * 366 * 24 * 3600 * 1000)

/* Keys in run->origins, told apart by their length. */
#define FOLD_ACCEPT_BYTES 16u /* an accept id */
#define FOLD_ORIGIN_BYTES 32u /* run id, event id, version of the original */

/** The event that is being applied. */
struct fold_step {
    struct run *run;
    const Api__HistoryEvent *event;
    struct bytes encoded;
    int64_t time_ns;
};

/** A span of the API in ms: absent and negative are 0, endless ones are cut. */
int64_t fold_span_ms(const Api__Duration *duration);
/** The serialized message, in the run's arena. */
struct bytes fold_pack(struct arena *arena, const ProtobufCMessage *message);

/* fold_workflow.c */
enum err fold_started(const struct fold_step *step);
enum err fold_completed(const struct fold_step *step);
enum err fold_failed(const struct fold_step *step);
enum err fold_timed_out(const struct fold_step *step);
enum err fold_canceled(const struct fold_step *step);
enum err fold_terminated(const struct fold_step *step);
enum err fold_continued_as_new(const struct fold_step *step);
enum err fold_signaled(const struct fold_step *step);
enum err fold_cancel_requested(const struct fold_step *step);
enum err fold_search_attributes(const struct fold_step *step);
enum err fold_properties(const struct fold_step *step);

/* fold_task.c */
enum err fold_task_scheduled(const struct fold_step *step);
enum err fold_task_started(const struct fold_step *step);
enum err fold_task_completed(const struct fold_step *step);
enum err fold_task_failed(const struct fold_step *step);
enum err fold_task_timed_out(const struct fold_step *step);
/** No task is pending any more. The attempt stays. */
void fold_task_clear(struct run *run);

/* fold_pending.c */
enum err fold_activity_scheduled(const struct fold_step *step);
enum err fold_activity_started(const struct fold_step *step);
enum err fold_activity_cancel_requested(const struct fold_step *step);
enum err fold_activity_completed(const struct fold_step *step);
enum err fold_activity_failed(const struct fold_step *step);
enum err fold_activity_timed_out(const struct fold_step *step);
enum err fold_activity_canceled(const struct fold_step *step);
/** Adds a pending activity; for the fold and for snapshots. `packed` = its Scheduled attributes. */
enum err fold_add_activity(struct run *run, int64_t scheduled_event_id, int64_t scheduled_time_ns,
    int64_t version, const Api__ActivityTaskScheduledEventAttributes *attributes,
    struct bytes packed);
enum err fold_timer_started(const struct fold_step *step);
enum err fold_timer_fired(const struct fold_step *step);
enum err fold_timer_canceled(const struct fold_step *step);
enum err fold_add_timer(
    struct run *run, struct bytes timer_id, int64_t started_event_id, int64_t fire_ns);

/** Remembers a request id or origin key. Event 0 = not in history yet (a buffered event). */
void fold_add_key(struct map *map, struct bytes key, int64_t event_id);
enum err fold_add_origin(struct run *run, const Record__Origin *origin);
enum err fold_add_accept_id(struct run *run, const ProtobufCBinaryData *id, int64_t event_id);

/* run_record.c */
Record__Branch *run_write_branch(struct arena *arena, const struct branch_state *branch);
/** Replaces *ret_branch, which must own no items. */
NODISCARD enum err run_read_branch(const Record__Branch *record, struct branch_state *ret_branch);

#endif
