/* SPDX-License-Identifier: Apache-2.0
 *
 * One execution, several runs: what the next run inherits, and the command ContinueAsNew.
 */
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_command.h"
#include "cluster/engine/retry_policy.h"

#define BAD_CONTINUE TASK_FAILED(BAD_CONTINUE_AS_NEW_ATTRIBUTES)

/* A workflow that does nothing but continue as new must not spin: runs of a chain begin at least so
 * far apart. */
#define CONTINUE_INTERVAL_MIN_NS NS_PER_S

/* ---- successor ------------------------------------------------------------------------------ */

/* Memo and search attributes as they are now, with all that was upserted. */
static void inherit_properties(struct decision *d, const struct run *run,
    Api__WorkflowExecutionStartedEventAttributes *started)
{
    started->memo = NULL;
    started->search_attributes = NULL;
    if (run->memo) {
        started->memo = proto_unpack(d->arena, &api__memo__descriptor, blob_view(run->memo));
        CHECK(started->memo);
    }
    if (run->search_attributes) {
        started->search_attributes = proto_unpack(
            d->arena, &api__search_attributes__descriptor, blob_view(run->search_attributes));
        CHECK(started->search_attributes);
    }
}

/* What a continue-as-new says goes before what the old run had. */
static void take_command(
    Api__WorkflowExecutionStartedEventAttributes *started, const struct run_successor *successor)
{
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *command = successor->command;
    const Api__WorkflowExecutionContinuedAsNewEventAttributes *continued = successor->continued;
    started->workflow_type = continued->workflow_type;
    started->task_queue = continued->task_queue;
    started->n_input = continued->n_input;
    started->input = continued->input;
    started->workflow_run_timeout = continued->workflow_run_timeout;
    started->workflow_task_timeout = continued->workflow_task_timeout;
    started->n_last_completion_result = continued->n_last_completion_result;
    started->last_completion_result = continued->last_completion_result;
    started->n_header = continued->n_header;
    started->header = continued->header;
    started->memo = continued->memo;
    started->search_attributes = continued->search_attributes;
    started->retry_policy = command->retry_policy;
}

void run_create_successor(
    struct decision *d, struct run *run, const struct run_successor *successor)
{
    struct arena *arena = d->arena;
    bool retry =
        successor->initiator == API__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_RETRY;
    Api__HistoryEvent *event = event_now(d, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_STARTED);
    Api__WorkflowExecutionStartedEventAttributes *started =
        event->workflow_execution_started_event_attributes;
    *started = *run_started_attributes(arena, run);
    inherit_properties(d, run, started);
    if (successor->command)
        take_command(started, successor);
    if (started->retry_policy)
        started->retry_policy = retry_policy_effective(arena, started->retry_policy);
    struct run *next = decision_create_run(d, successor->run_id, true);
    started->continued_execution_run_id = run->run_id_text;
    started->initiator = successor->initiator;
    opaque_set(
        arena, &started->n_continued_failure, &started->continued_failure, successor->failure);
    started->first_execution_run_id =
        run->first_execution_run_id ? run->first_execution_run_id : run->run_id_text;
    started->original_execution_run_id = next->run_id_text;
    started->attempt = retry ? run->attempt + 1 : 1;
    started->first_workflow_task_backoff = duration_new_ns(arena, successor->backoff_ns);
    started->prev_auto_reset_points = NULL;
    started->eager_execution_accepted = false;
    decision_append(d, next, event);
    workflow_task_schedule(d, next);
}

/* ---- continue as new ------------------------------------------------------------------------ */

static const char *check_attributes(
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *command)
{
    if (command->workflow_type && strlen(command->workflow_type->name) > ID_BYTES_MAX)
        return "WorkflowType on ContinueAsNewWorkflowExecutionCommand exceeds length limit.";
    if (command->task_queue && strlen(command->task_queue->name) > ID_BYTES_MAX)
        return "TaskQueue on ContinueAsNewWorkflowExecutionCommand exceeds length limit.";
    if (duration_ns(command->workflow_run_timeout) < 0)
        return "Invalid WorkflowRunTimeout on ContinueAsNewWorkflowExecutionCommand: it is "
               "negative.";
    if (duration_ns(command->workflow_task_timeout) < 0)
        return "Invalid WorkflowTaskTimeout on ContinueAsNewWorkflowExecutionCommand: it is "
               "negative.";
    if (duration_ns(command->backoff_start_interval) < 0)
        return "Invalid BackoffStartInterval on ContinueAsNewWorkflowExecutionCommand: it is "
               "negative.";
    if (*command->cron_schedule)
        return "CronSchedule on ContinueAsNewWorkflowExecutionCommand is not implemented by this "
               "server yet.";
    return retry_policy_check(command->retry_policy);
}

void check_continue_as_new(struct command_check *check, const Api__Command *command)
{
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *attributes =
        command->continue_as_new_workflow_execution_command_attributes;
    const char *fault = check_attributes(attributes);
    if (fault) {
        command_fault(check, BAD_CONTINUE, "%s", fault);
        return;
    }
    size_t memo =
        attributes->memo ? protobuf_c_message_get_packed_size(&attributes->memo->base) : 0;
    if (command_too_large(check, BAD_CONTINUE,
            "ContinueAsNewWorkflowExecutionCommandAttributes.Input",
            opaque_size(attributes->n_input, attributes->input)))
        return;
    command_too_large(
        check, BAD_CONTINUE, "ContinueAsNewWorkflowExecutionCommandAttributes.Memo", memo);
}

static int64_t continue_backoff_ns(const struct decision *d, const struct run *run,
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *command)
{
    int64_t backoff_ns = duration_ns(command->backoff_start_interval);
    int64_t lifetime_ns = d->now_ns - (run->started_ns + run->first_backoff_ns);
    if (lifetime_ns < 0)
        lifetime_ns = 0;
    if (lifetime_ns +
            (backoff_ns < CONTINUE_INTERVAL_MIN_NS ? backoff_ns : CONTINUE_INTERVAL_MIN_NS) <
        CONTINUE_INTERVAL_MIN_NS)
        backoff_ns = CONTINUE_INTERVAL_MIN_NS - lifetime_ns;
    return backoff_ns;
}

/* Type, queue and timeouts that the command leaves out are those of the old run. */
static void fill_continued(struct decision *d, const struct run *run,
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *command,
    Api__WorkflowExecutionContinuedAsNewEventAttributes *continued)
{
    struct arena *arena = d->arena;
    const Api__WorkflowExecutionStartedEventAttributes *started =
        run_started_attributes(arena, run);
    bool has_type = command->workflow_type && *command->workflow_type->name;
    continued->workflow_type = has_type ? command->workflow_type : started->workflow_type;
    bool has_queue = command->task_queue && *command->task_queue->name;
    continued->task_queue =
        has_queue ? task_queue_new(arena, command->task_queue->name) : started->task_queue;
    continued->n_input = command->n_input;
    continued->input = command->input;
    bool has_run_timeout = duration_ns(command->workflow_run_timeout) > 0;
    continued->workflow_run_timeout =
        has_run_timeout ? command->workflow_run_timeout : started->workflow_run_timeout;
    bool has_task_timeout = duration_ns(command->workflow_task_timeout) > 0;
    continued->workflow_task_timeout =
        has_task_timeout ? command->workflow_task_timeout : started->workflow_task_timeout;
    continued->initiator = command->initiator
                               ? command->initiator
                               : API__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_WORKFLOW;
    continued->n_failure = command->n_failure;
    continued->failure = command->failure;
    continued->n_last_completion_result = command->n_last_completion_result;
    continued->last_completion_result = command->last_completion_result;
    continued->n_header = command->n_header;
    continued->header = command->header;
    Api__WorkflowExecutionStartedEventAttributes current;
    api__workflow_execution_started_event_attributes__init(&current);
    inherit_properties(d, run, &current);
    continued->memo = command->memo ? command->memo : current.memo;
    continued->search_attributes =
        command->search_attributes ? command->search_attributes : current.search_attributes;
    continued->inherit_build_id = command->inherit_build_id;
    continued->initial_versioning_behavior = command->initial_versioning_behavior;
}

void apply_continue_as_new(struct command_apply *apply, const Api__Command *command)
{
    struct decision *d = apply->d;
    const Api__ContinueAsNewWorkflowExecutionCommandAttributes *attributes =
        command->continue_as_new_workflow_execution_command_attributes;
    struct run_successor successor = {.run_id = uuid_new(d->env),
        .backoff_ns = continue_backoff_ns(d, apply->run, attributes),
        .failure = opaque_get(d->arena, attributes->n_failure, attributes->failure),
        .command = attributes};
    char run_id[UUID_TEXT_LEN + 1];
    uuid_format(successor.run_id, run_id);
    Api__HistoryEvent *event = command_event(
        apply, command, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW);
    Api__WorkflowExecutionContinuedAsNewEventAttributes *continued =
        event->workflow_execution_continued_as_new_event_attributes;
    fill_continued(d, apply->run, attributes, continued);
    continued->new_execution_run_id = run_id;
    continued->workflow_task_completed_event_id = apply->completed_event_id;
    continued->backoff_start_interval = duration_new_ns(d->arena, successor.backoff_ns);
    successor.initiator = continued->initiator;
    successor.continued = continued;
    decision_append(d, apply->run, event);
    run_closed(d, apply->run);
    run_create_successor(d, apply->run, &successor);
}
