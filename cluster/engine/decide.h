/* SPDX-License-Identifier: Apache-2.0
 *
 * The handlers: one per API call that concerns a workflow. Each decides against memory and leaves
 * events, facts and effects behind; none blocks. `request->message` is the unpacked API request,
 * already checked for form (lengths, required fields) by the frontend.
 *
 * Files: decide_start.c, decide_signal.c (signal, cancel, terminate, delete), decide_task.c
 * (workflow task life cycle), decide_command*.c (commands of a completed task), decide_activity.c,
 * decide_close.c (completion, retry, continue-as-new), decide_query.c, decide_due.c,
 * decide_dispatch.c (a matched task becomes a poll response), decide_read.c (describe, history).
 */
#ifndef CLUSTER_ENGINE_DECIDE_H
#define CLUSTER_ENGINE_DECIDE_H

#include "cluster/engine/executor.h"

struct task;
struct poll;

request_handler decide_start; /* StartWorkflowExecution */
request_handler decide_signal_with_start;
request_handler decide_signal;
request_handler decide_request_cancel;
request_handler decide_terminate;
request_handler decide_delete;
request_handler decide_describe;
request_handler decide_history; /* ctx = struct history_read * (decide_read.h) */
request_handler decide_history_reverse;
request_handler decide_query;
request_handler decide_reset_sticky;

request_handler decide_task_completed; /* RespondWorkflowTaskCompleted */
request_handler decide_task_failed;
request_handler decide_query_completed;    /* RespondQueryTaskCompleted */
request_handler decide_activity_completed; /* also …ById: ctx = struct activity_target * */
request_handler decide_activity_failed;
request_handler decide_activity_canceled;
request_handler decide_activity_heartbeat;

/** A task met a poll: starts it and answers the poll, or gives the poll back. ctx = struct match.
 *  */
request_handler decide_dispatch;
struct match {
    struct request request;
    struct task *task;
    struct poll *poll;
};

/** What a task token says; opaque to workers. */
struct task_token {
    struct uuid namespace_id;
    struct bytes workflow_id;
    struct uuid run_id;
    int64_t scheduled_event_id;
    int64_t started_event_id;
    int32_t attempt;
    uint64_t nonce;
    int32_t kind; /* enum task_kind */
    int64_t started_ns;
    int64_t history_bytes;
    struct bytes identity;
    struct bytes activity_id;
};
struct bytes task_token_write(struct arena *arena, const struct task_token *token);
/** ERR_INVALID for anything we did not write. */
NODISCARD enum err task_token_read(
    struct arena *arena, struct bytes data, struct task_token *ret_token);

/** Which activity a …ById call or a token means. */
struct activity_target {
    struct task_token token; /* valid when !by_id */
    bool by_id;
    struct bytes activity_id;
};

/* Shared by the decide files. */
/** Schedules a workflow task if none is pending and the run is open and past its first backoff. */
void workflow_task_schedule(struct decision *d, struct run *run);
/** Fails the in-flight or pending task: attempt, transient state, stickiness (§ life cycle). */
void workflow_task_fail(struct decision *d, struct run *run, Api__WorkflowTaskFailedCause cause,
    struct bytes failure, const char *identity);
void workflow_task_time_out(struct decision *d, struct run *run, Api__TimeoutType type);
/** Writes the transient Scheduled (if transient) and Started events as they were sent. Returns the
 *  started event id. */
int64_t workflow_task_write_started(struct decision *d, struct run *run);
/** Offers pending workflow task and activities to matching after the commit. */
void dispatch_workflow_task(struct decision *d, struct run *run);
void dispatch_activity(struct decision *d, struct run *run, struct activity *activity);
/** Terminates an open run with an event; fails the in-flight task first. */
void terminate_run(struct decision *d, struct run *run, const char *reason, struct bytes details,
    const char *identity);
/** Everything that follows a close event: pending queries fail, waiters wake, visibility. */
void run_closed(struct decision *d, struct run *run);

/* Hooks of the executor. */

/** First thing after an open run of an active namespace was loaded, or the namespace became active
 *  here: marks are gone, so buffered events enter history; on a takeover (the run's last version is
 *  not the namespace's) attempts begin anew and stickiness is forgotten. Idempotent. */
void run_recover(struct decision *d, struct run *run);
/** Matching dropped tasks: what was offered and has not started is due again. */
void run_forget_offers(struct run *run);

#endif
