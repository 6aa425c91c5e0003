/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a workflow task: the in-flight mark, the events that only a worker sees until the task's
 * outcome is written, and the poll response.
 */
#ifndef CLUSTER_ENGINE_DISPATCH_H
#define CLUSTER_ENGINE_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/engine/executor.h"
#include "proto/api_service_task.pb-c.h"

/** Starts the pending workflow task for a worker that is on the line already (the next task in the
 *  answer to RespondWorkflowTaskCompleted; eager start). `sticky`: the worker has the run cached,
 *  so only events after the previous Started are sent; otherwise all. False, and nothing changed,
 *  when no task can start now or the history does not fit one page of memory: dispatch as usual.
 *  True: the mark is set and `ret_response` (initialised here) lives in `arena`, which must live as
 *  long as the response, normally the call's. */
bool dispatch_start_task_now(struct decision *d, struct run *run, const char *identity,
    const char *request_id, bool sticky, struct arena *arena,
    Api__PollWorkflowTaskQueueResponse *ret_response);

/** What a worker sees behind the stored events of the task in flight: the Started event, before it
 *  the Scheduled event when transient; as History bytes. Empty when no task is in flight. Made by
 *  event_task_scheduled() and event_task_started(), so the outcome writes the same. */
struct bytes dispatch_unwritten_events(struct arena *arena, const struct run *run, int64_t version);

/** Forgets the in-flight mark. Its queries must have been answered or requeued before. */
void dispatch_clear_mark(struct run *run);

#endif
