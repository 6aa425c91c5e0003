/* SPDX-License-Identifier: Apache-2.0
 *
 * A task met a poll. The task is only a hint: whether it is still wanted is decided here, against
 * the run. Then it is started and the poll answered, or the poll goes back to wait for another one.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/decide_query.h"
#include "cluster/engine/dispatch.h"
#include "cluster/engine/dispatch_private.h"
#include "cluster/engine/executor_private.h"
#include "cluster/matching/matching.h"

/* ---- the mark -------------------------------------------------------------------------------- */

static int64_t time_of_next_event(const struct decision *d, const struct run *run)
{
    int64_t last_ns = run_branch(run)->last_event_time_ns;
    return d->now_ns > last_ns ? d->now_ns : last_ns;
}

static uint64_t nonce_new(const struct env *env)
{
    uint64_t nonce = 0;
    env_random(env, &nonce, sizeof(nonce));
    return nonce ? nonce : 1; /* zero means settled */
}

static bool task_can_start(const struct decision *d, const struct run *run)
{
    return run_is_open(run) && run->task.scheduled_event_id && !run->task.mark.set &&
           run->task.not_before_ns <= d->now_ns;
}

/* From here on nothing but this task's outcome reaches history. */
static void set_mark(
    struct decision *d, struct run *run, const char *identity, const char *request_id, bool sticky)
{
    struct workflow_task *task = &run->task;
    CHECK(!task->mark.set);
    CHECK(list_empty(&task->mark.queries));
    CHECK(!task->transient || task->scheduled_event_id == run_next_event_id(run));
    mem_free(task->mark.identity);
    mem_free(task->mark.request_id);
    task->mark.set = true;
    task->mark.nonce = nonce_new(d->env);
    task->mark.started_event_id = run_next_event_id(run) + (task->transient ? 1 : 0);
    task->mark.started_ns = time_of_next_event(d, run);
    task->mark.deadline_ns = d->now_ns + task->timeout_ms * NS_PER_MS;
    task->mark.history_bytes = run_branch(run)->history_bytes;
    task->mark.suggest_continue_as_new =
        task->mark.history_bytes >= (int64_t)HISTORY_BYTES_SUGGEST_CAN ||
        task->mark.started_event_id > HISTORY_EVENTS_SUGGEST_CAN;
    task->mark.on_sticky = sticky;
    task->mark.identity = mem_strdup(identity ? identity : "");
    task->mark.request_id = mem_strdup(request_id ? request_id : "");
    task->offered = false;
    task->offered_sticky = false;
    due_update(d->executor, run);
}

void dispatch_clear_mark(struct run *run)
{
    struct workflow_task *task = &run->task;
    CHECK(list_empty(&task->mark.queries));
    mem_free(task->mark.identity);
    mem_free(task->mark.request_id);
    memset(&task->mark, 0, sizeof(task->mark));
    list_init(&task->mark.queries);
}

static void append_framed(struct buffer *history, struct arena *arena, Api__HistoryEvent *event)
{
    Api__History one = API__HISTORY__INIT;
    one.n_events = 1;
    one.events = &event;
    struct bytes packed = proto_pack(arena, &one.base);
    buffer_append(history, packed.data, packed.len);
}

struct bytes dispatch_unwritten_events(struct arena *arena, const struct run *run, int64_t version)
{
    const struct workflow_task *task = &run->task;
    if (!task->mark.set)
        return (struct bytes){0};
    struct buffer history = {0};
    if (task->transient) {
        Api__HistoryEvent *scheduled =
            event_task_scheduled(arena, run, task->scheduled_ns, task->attempt, false);
        scheduled->event_id = task->scheduled_event_id;
        scheduled->version = version;
        append_framed(&history, arena, scheduled);
    }
    Api__HistoryEvent *started = event_task_started(arena, run);
    started->event_id = task->mark.started_event_id;
    started->version = version;
    append_framed(&history, arena, started);
    struct bytes copy = bytes_copy(arena, buffer_view(&history));
    buffer_release(&history);
    return copy;
}

/* ---- workflow tasks -------------------------------------------------------------------------- */

static struct bytes token_of_task(struct arena *arena, const struct run *run)
{
    const struct workflow_task *task = &run->task;
    struct task_token token = {.namespace_id = run->namespace_id,
        .workflow_id = run->workflow_id,
        .run_id = run->run_id,
        .scheduled_event_id = task->scheduled_event_id,
        .started_event_id = task->mark.started_event_id,
        .attempt = task->attempt,
        .nonce = task->mark.nonce,
        .kind = TASK_WORKFLOW,
        .started_ns = task->mark.started_ns,
        .history_bytes = task->mark.history_bytes,
        .identity = bytes_of(task->mark.identity)};
    return task_token_write(arena, &token);
}

static ProtobufCBinaryData binary(struct bytes view)
{
    return (ProtobufCBinaryData){view.len, (uint8_t *)(uintptr_t)view.data};
}

/* Everything but history. */
static void response_set_task(
    struct arena *arena, struct run *run, Api__PollWorkflowTaskQueueResponse *response)
{
    const struct workflow_task *task = &run->task;
    api__poll_workflow_task_queue_response__init(response);
    response_set_run(arena, run, response);
    response->task_token = binary(token_of_task(arena, run));
    response->started_event_id = task->mark.started_event_id;
    response->attempt = task->attempt;
    response->scheduled_time = timestamp_new(arena, task->scheduled_ns);
    response->started_time = timestamp_new(arena, task->mark.started_ns);
    queries_attach(run, arena, response);
}

static int64_t history_begin(const struct run *run, bool sticky)
{
    return sticky ? run->last_completed_started_event_id + 1 : 1;
}

static bool is_wanted(const struct decision *d, const struct task *task)
{
    const struct run *run = d->run;
    return task_can_start(d, run) && run->task.scheduled_event_id == task->event_id &&
           run->task.attempt == task->attempt;
}

bool dispatch_workflow_task_to(struct decision *d, struct match *match)
{
    struct run *run = d->run;
    const struct poll *poll = match->poll;
    if (!run || !is_wanted(d, match->task))
        return false;
    /* Events came behind a transient attempt: it is a first attempt now, scheduled after them. */
    if (run->task.transient && run->task.scheduled_event_id != run_next_event_id(run)) {
        run->task.scheduled_event_id = 0;
        run->task.transient = false;
        workflow_task_schedule_silent(d, run, 0);
    }
    bool sticky = poll->sticky && run->sticky_queue && strcmp(poll->queue, run->sticky_queue) == 0;
    if (!sticky)
        sticky_clear(d, run); /* another worker, or its cache: it starts from nothing */
    struct call *call = poll->call;
    char request_id[UUID_TEXT_LEN + 1];
    uuid_format(uuid_new(d->env), request_id);
    set_mark(d, run, poll->identity, request_id, sticky);
    struct sending *sending = arena_new(&call->arena, struct sending);
    sending->executor = d->executor;
    sending->call = call;
    sending->namespace_id = run->namespace_id;
    sending->workflow_id = bytes_copy(&call->arena, run->workflow_id);
    sending->nonce = run->task.mark.nonce;
    response_set_task(&call->arena, run, &sending->response);
    sending_start(d, sending, history_begin(run, sticky),
        dispatch_unwritten_events(&call->arena, run, d->ns->failover_version));
    return true;
}

bool dispatch_start_task_now(struct decision *d, struct run *run, const char *identity,
    const char *request_id, bool sticky, struct arena *arena,
    Api__PollWorkflowTaskQueueResponse *ret_response)
{
    if (!task_can_start(d, run) ||
        (run->task.transient && run->task.scheduled_event_id != run_next_event_id(run)))
        return false;
    struct history_page page;
    int64_t end = run_next_event_id(run);
    if (history_page_init(&page, run, run->current_branch, history_begin(run, sticky), end,
            HISTORY_PAGE_EVENTS_MAX))
        return false;
    if (!history_page_from_memory(&page, run) || page.next < end) {
        history_page_release(&page);
        return false;
    }
    set_mark(d, run, identity, request_id, sticky);
    response_set_task(arena, run, ret_response);
    struct history_token token = {
        .unwritten = dispatch_unwritten_events(arena, run, d->ns->failover_version)};
    response_set_history(arena, ret_response, &page, end, &token);
    return true;
}

/* ---- queries --------------------------------------------------------------------------------- */

bool dispatch_query_task(struct decision *d, struct match *match)
{
    struct run *run = d->run;
    struct query *query = run ? queries_find(run, match->task->event_id) : NULL;
    if (!query || query->offer != match->task->attempt)
        return false;
    struct call *call = match->poll->call;
    struct arena *arena = &call->arena;
    struct sending *sending = arena_new(arena, struct sending);
    sending->executor = d->executor;
    sending->call = call;
    sending->namespace_id = run->namespace_id;
    sending->workflow_id = bytes_copy(arena, run->workflow_id);
    sending->query = query->number;
    Api__PollWorkflowTaskQueueResponse *response = &sending->response;
    api__poll_workflow_task_queue_response__init(response);
    response_set_run(arena, run, response);
    struct task_token token = {.namespace_id = run->namespace_id,
        .workflow_id = run->workflow_id,
        .run_id = run->run_id,
        .scheduled_event_id = query->number,
        .attempt = query->offer,
        .kind = TASK_QUERY};
    response->task_token = binary(task_token_write(arena, &token));
    response->attempt = 1;
    /* Copied: the query may be given up while the answer is under way. */
    response->query = proto_unpack(
        arena, &api__workflow_query__descriptor, proto_pack(d->arena, &query->query->base));
    CHECK(response->query);
    /* The worker of the sticky queue has the run: nothing to replay. */
    bool sticky = match->poll->sticky && run->sticky_queue &&
                  strcmp(match->poll->queue, run->sticky_queue) == 0;
    sending_start(d, sending, sticky ? run_next_event_id(run) : 1, (struct bytes){0});
    return true;
}

/* ---- activities ------------------------------------------------------------------------------ */

static struct bytes token_of_activity(
    struct arena *arena, const struct run *run, const struct activity *activity)
{
    struct task_token token = {.namespace_id = run->namespace_id,
        .workflow_id = run->workflow_id,
        .run_id = run->run_id,
        .scheduled_event_id = activity->scheduled_event_id,
        .attempt = activity->attempt,
        .nonce = activity->nonce,
        .kind = TASK_ACTIVITY,
        .started_ns = activity->started_ns,
        .activity_id = activity->activity_id};
    return task_token_write(arena, &token);
}

static void reply_activity(
    struct decision *d, struct run *run, const struct activity *activity, struct call *call)
{
    struct arena *arena = d->arena;
    const Api__ActivityTaskScheduledEventAttributes *scheduled = proto_unpack(
        arena, &api__activity_task_scheduled_event_attributes__descriptor, activity->scheduled);
    CHECK(scheduled);
    Api__PollActivityTaskQueueResponse response;
    api__poll_activity_task_queue_response__init(&response);
    response.task_token = binary(token_of_activity(arena, run, activity));
    response.workflow_namespace = event_text(d->ns->name);
    Api__WorkflowType type = API__WORKFLOW_TYPE__INIT;
    type.name = event_text(run->workflow_type);
    response.workflow_type = &type;
    response.workflow_execution = execution_new(arena, run->workflow_id, run->run_id_text);
    response.activity_type = scheduled->activity_type;
    response.activity_id = scheduled->activity_id;
    response.n_header = scheduled->n_header;
    response.header = scheduled->header;
    response.n_input = scheduled->n_input;
    response.input = scheduled->input;
    ProtobufCBinaryData details;
    if (activity->heartbeat_details) {
        details = binary(blob_view(activity->heartbeat_details));
        response.n_heartbeat_details = 1;
        response.heartbeat_details = &details;
    }
    response.scheduled_time = timestamp_new(arena, activity->scheduled_time_ns);
    response.current_attempt_scheduled_time = timestamp_new(arena, activity->attempt_scheduled_ns);
    response.started_time = timestamp_new(arena, activity->started_ns);
    response.attempt = activity->attempt;
    response.schedule_to_close_timeout = duration_new(arena, activity->schedule_to_close_ms);
    response.start_to_close_timeout = duration_new(arena, activity->start_to_close_ms);
    response.heartbeat_timeout = duration_new(arena, activity->heartbeat_ms);
    response.retry_policy = scheduled->retry_policy;
    response.priority = scheduled->priority;
    decision_reply(d, run, call, &response.base);
}

bool dispatch_activity_task(struct decision *d, struct match *match)
{
    struct run *run = d->run;
    const struct task *task = match->task;
    struct activity *activity = run ? run_activity(run, task->event_id) : NULL;
    if (!activity || !run_is_open(run) || activity->started || activity->attempt != task->attempt ||
        activity->not_before_ns > d->now_ns)
        return false;
    /* The start is durable before the worker learns of it: an attempt runs at most once. */
    activity->started = true;
    activity->started_ns =
        d->now_ns > activity->attempt_scheduled_ns ? d->now_ns : activity->attempt_scheduled_ns;
    activity->nonce = nonce_new(d->env);
    activity->heartbeat_ns = 0;
    mem_free(activity->started_identity);
    activity->started_identity = mem_strdup(match->poll->identity ? match->poll->identity : "");
    activity->offered = false;
    decision_touch_activity(d, run, activity, false);
    reply_activity(d, run, activity, match->poll->call);
    return true;
}

/* ---- the pair -------------------------------------------------------------------------------- */

static void poll_back(struct decision *d, struct poll *poll)
{
    if (call_is_cancelled(poll->call) || matching_poll(executor_matching(d->executor), poll, true))
        call_reply(poll->call, (struct bytes){0});
}

void decide_dispatch(struct decision *d, struct request *request)
{
    struct match *match = request->ctx;
    struct task *task = match->task;
    struct poll *poll = match->poll;
    if (call_is_cancelled(poll->call)) {
        /* The worker went away: the task waits for another one. */
        call_reply(poll->call, (struct bytes){0});
        matching_offer(executor_matching(d->executor), task);
        return;
    }
    bool taken = false;
    switch (task->kind) {
    case TASK_WORKFLOW:
        taken = dispatch_workflow_task_to(d, match);
        break;
    case TASK_ACTIVITY:
        taken = dispatch_activity_task(d, match);
        break;
    case TASK_QUERY:
        taken = dispatch_query_task(d, match);
        break;
    }
    task_free(task);
    if (!taken)
        poll_back(d, poll);
}
