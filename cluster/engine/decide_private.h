/* SPDX-License-Identifier: Apache-2.0
 *
 * What the deciding files share among themselves.
 *
 * Two rules hold everywhere:
 *  D1  TimerFired is never buffered: while a workflow task is in flight, timers are simply not due.
 *      They fire right behind the task's outcome, so that a CancelTimer command always finds its
 *      timer and nothing has to be withdrawn.
 *  D2  An activity whose outcome waits in the buffer is "settled": started with nonce 0. No token
 *      fits it and no timeout concerns it; the fact is durable, so a reload changes nothing.
 */
#ifndef CLUSTER_ENGINE_DECIDE_PRIVATE_H
#define CLUSTER_ENGINE_DECIDE_PRIVATE_H

#include "cluster/base/limits.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/event_build.h"
#include "proto/api_service_task.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

/* The cause of a workflow task's failure. */
#define TASK_FAILED(name) API__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_##name

/* Identity on events that no client asked for. */
#define SERVER_IDENTITY "history-service"

/* ---- answers: decide_answer.c --------------------------------------------------------------- */

/** Does nothing for internal work (no call). */
void answer(struct decision *d, const struct run *run, struct request *request,
    const ProtobufCMessage *response);
void answer_invalid(struct decision *d, const struct run *run, struct request *request,
    const char *fmt, ...) PRINTF_LIKE(4, 5);
void answer_not_found(struct decision *d, const struct run *run, struct request *request,
    const char *fmt, ...) PRINTF_LIKE(4, 5);
/** The run asked for, if it exists; else answers NotFound and returns NULL. */
struct run *asked_run(struct decision *d, struct request *request);
/** The same, and it must be open. */
struct run *asked_open_run(struct decision *d, struct request *request);

/* ---- events: decide_event.c ----------------------------------------------------------------- */

/** An event of now. */
Api__HistoryEvent *event_now(struct decision *d, Api__EventType type);
/** Appends, or buffers while a workflow task is in flight; a task in flight is failed first when
 *  the buffer would become too large. 0 = buffered. */
int64_t event_add(
    struct decision *d, struct run *run, Api__HistoryEvent *event, const char *request_id);
/** Makes sure that `count` more events of together `bytes` fit into the buffer, if events are being
 *  buffered: else the task in flight fails. */
void event_room(struct decision *d, struct run *run, size_t count, size_t bytes);
/** Writes buffered events to history (no task in flight any more); returns whether there were
 *  any. */
bool buffered_flush(struct decision *d, struct run *run);
/** Terminates an open run whose history is longer or larger than allowed. */
void history_limits_enforce(struct decision *d, struct run *run);
/** Fires all timers that are due, in order; returns whether there were any. */
bool timers_fire_due(struct decision *d, struct run *run);

/* ---- workflow task: decide_task.c, workflow_task.c ------------------------------------------ */

/** As workflow_task_schedule, even during the first backoff. */
void workflow_task_schedule_now(struct decision *d, struct run *run);
/** As workflow_task_schedule_now without offering it; `original_ns`: when the chain of heartbeating
 *  tasks began, 0 = it begins here. No task may be pending. */
void workflow_task_schedule_silent(struct decision *d, struct run *run, int64_t original_ns);

/** Why a task fails. Zero and NULL fields are left out. */
struct task_failure {
    Api__WorkflowTaskFailedCause cause;
    struct bytes failure; /* Failure */
    const char *identity;
    const char *binary_checksum;
    Api__WorkerVersionStamp *worker_version;
};
/** Writes the failure of the first attempt and goes on: buffered events, then the next attempt. */
void workflow_task_fail_with(
    struct decision *d, struct run *run, const struct task_failure *failure);
/** The same without a next attempt: the caller closes the run. */
void workflow_task_fail_last(
    struct decision *d, struct run *run, const struct task_failure *failure);
/** Forgets the mark; queries attached to it wait for another task. */
void workflow_task_clear_mark(struct decision *d, struct run *run);
void sticky_clear(struct decision *d, struct run *run);
/** "BadStartTimerAttributes" and the like. */
const char *task_failed_cause_name(struct arena *arena, Api__WorkflowTaskFailedCause cause);

/* ---- starting and closing: decide_start.c, decide_close.c, run_chain.c ---------------------- */

/** When no attempt of the execution may go on; 0 = never. */
int64_t run_expires_ns(const struct run *run);
/** Ends an open run by its run timeout (retried if its policy says so) or execution timeout. */
void run_time_out(struct decision *d, struct run *run, bool execution);
/** What a client signals. */
struct signal {
    const char *name;
    size_t n_input;
    ProtobufCBinaryData *input;
    size_t n_header;
    ProtobufCBinaryData *header;
    size_t n_links;
    ProtobufCBinaryData *links;
    const char *identity;
    const char *request_id; /* on the event */
    const char *dedupe_id;  /* remembered against repetition; NULL = not here */
};
/** Appends or buffers the signal; the caller has checked it and schedules the workflow task. */
void run_signal(struct decision *d, struct run *run, const struct signal *signal);
/** True when the signal may be taken; otherwise the request was answered. */
bool signal_admit(struct decision *d, struct run *run, struct request *request, size_t input_bytes);
/** terminate_run with links for the event. */
void terminate_run_linked(struct decision *d, struct run *run, const char *reason,
    struct bytes details, const char *identity, size_t n_links, ProtobufCBinaryData *links);

/* A run that continues another one. */
struct run_successor {
    Api__ContinueAsNewInitiator initiator;
    struct uuid run_id;
    int64_t backoff_ns;
    struct bytes failure; /* of the run that ends; data == NULL: none */
    /* continue-as-new only; NULL for a retry */
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *command;
    const Api__WorkflowExecutionContinuedAsNewEventAttributes *continued;
};
/** Makes the next run of the chain, after the closing event of `run` was appended. */
void run_create_successor(
    struct decision *d, struct run *run, const struct run_successor *successor);

/* ---- activities: decide_activity.c, activity_step.c ----------------------------------------- */

/** Its outcome is decided and waits for the workflow task to end (D2). */
bool activity_is_settled(const struct activity *activity);
/** The earliest timeout of the attempt; DUE_NONE = none. */
int64_t activity_timeout_ns(const struct activity *activity, Api__TimeoutType *ret_type);
/** When a waiting attempt may be handed out. */
int64_t activity_offer_ns(const struct activity *activity);
void activity_time_out(
    struct decision *d, struct run *run, struct activity *activity, Api__TimeoutType type);
/** Writes the closing event, before it the Started event if the activity started. The event's
 *  started_event_id is at `started_field`. Afterwards `activity` is gone (or settled). Does not
 *  schedule a workflow task. */
void activity_close(struct decision *d, struct run *run, struct activity *activity,
    Api__HistoryEvent *event, int64_t *started_field);
/** Retries the attempt that ended with this failure, or says why not. */
Api__RetryState activity_retry(
    struct decision *d, struct run *run, struct activity *activity, struct bytes failure);
/** Fails the activity for good. */
void activity_fail(struct decision *d, struct run *run, struct activity *activity,
    struct bytes failure, Api__RetryState state, const char *identity,
    Api__WorkerVersionStamp *worker_version);
/** A copy in the fact; data == NULL leaves what was there. */
void activity_set_heartbeat_details(struct activity *activity, struct bytes details);

#endif
