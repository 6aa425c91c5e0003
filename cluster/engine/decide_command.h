/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands of a completed workflow task, in two passes: all are checked before the first event is
 * written, because events cannot be taken back. The check pass therefore follows what the commands
 * before it would do: ids taken and given back, event ids handed out.
 */
#ifndef CLUSTER_ENGINE_DECIDE_COMMAND_H
#define CLUSTER_ENGINE_DECIDE_COMMAND_H

#include "cluster/base/map.h"
#include "cluster/engine/decide_private.h"

/* An activity that an earlier command of the same task schedules. */
struct planned_activity {
    struct planned_activity *next;
    struct bytes activity_id;
    int64_t scheduled_event_id;
    bool cancelled;
};

/** The check pass. */
struct command_check {
    struct decision *d;
    struct run *run;
    int64_t next_event_id; /* of the next command's first event */
    size_t activity_count; /* pending after the commands so far */
    struct map taken_ids;  /* activity id -> planned_activity */
    struct planned_activity *planned;
    struct map timers_added;         /* timer id -> itself, this task's and still pending */
    struct map timers_removed;       /* pending before the task, cancelled by it */
    struct map activities_cancelled; /* event_key -> activity, by this task */
    bool closed;                     /* a closing command was seen */
    size_t used;                     /* commands to apply: what follows a close is ignored */
    /* verdict */
    Api__WorkflowTaskFailedCause cause; /* UNSPECIFIED = all commands are fine */
    const char *text;                   /* NULL = the cause says it all */
    bool terminate;                     /* too large: retrying cannot help */
};

/** The apply pass. */
struct command_apply {
    struct decision *d;
    struct run *run;
    const char *identity;
    int64_t completed_event_id;
    int64_t *unstarted; /* activities that a command cancels before they started */
    size_t unstarted_count;
};

/** Checks all commands; ret_check is initialised here and released by commands_check_release. */
void commands_check(struct decision *d, struct run *run,
    const Api__RespondWorkflowTaskCompletedRequest *completed, struct command_check *ret_check);
void commands_check_release(struct command_check *check);
void commands_apply(struct command_apply *apply,
    const Api__RespondWorkflowTaskCompletedRequest *completed, size_t count);
/** What follows from the commands but must not stand between their events: closes activities that
 *  were cancelled before they started. Returns whether the workflow has to see something. */
bool commands_apply_late(struct command_apply *apply);

/* ---- for the command files ------------------------------------------------------------------ */

typedef void command_check_fn(struct command_check *check, const Api__Command *command);
typedef void command_apply_fn(struct command_apply *apply, const Api__Command *command);

/** Records the first fault. */
void command_fault(struct command_check *check, Api__WorkflowTaskFailedCause cause, const char *fmt,
    ...) PRINTF_LIKE(3, 4);
/** A fault that also terminates the run when `bytes` exceed what a blob may have; returns whether
 *  it is one. */
bool command_too_large(struct command_check *check, Api__WorkflowTaskFailedCause cause,
    const char *what, size_t bytes);
/** An event of this command: now, with its user metadata. */
Api__HistoryEvent *command_event(
    struct command_apply *apply, const Api__Command *command, Api__EventType type);

/* decide_command_activity.c */
command_check_fn check_schedule_activity;
command_apply_fn apply_schedule_activity;
command_check_fn check_cancel_activity;
command_apply_fn apply_cancel_activity;
/* decide_command_timer.c */
command_check_fn check_start_timer;
command_apply_fn apply_start_timer;
command_check_fn check_cancel_timer;
command_apply_fn apply_cancel_timer;
/* decide_command_property.c */
command_check_fn check_record_marker;
command_apply_fn apply_record_marker;
command_check_fn check_upsert_search_attributes;
command_apply_fn apply_upsert_search_attributes;
command_check_fn check_modify_properties;
command_apply_fn apply_modify_properties;
/* decide_close.c */
command_check_fn check_complete_workflow;
command_apply_fn apply_complete_workflow;
command_check_fn check_fail_workflow;
command_apply_fn apply_fail_workflow;
command_check_fn check_cancel_workflow;
command_apply_fn apply_cancel_workflow;
command_check_fn check_continue_as_new;
command_apply_fn apply_continue_as_new;

#endif
