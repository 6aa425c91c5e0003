/* SPDX-License-Identifier: Apache-2.0
 *
 * Polls: parked in matching, met by a task there, answered by the engine.
 *
 *   call ─► matching_poll ─► (task) ─► frontend_matched ─► decide_dispatch ─► answer
 *                 ▲                                             └─ stale ─┐
 *                 └───────────────────────────────────────────────────────┘
 */
#include "cluster/engine/decide.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_activity.pb-c.h"
#include "proto/api_service_task.pb-c.h"

#define POLL_MARGIN_NS   NS_PER_S       /* answered so long before the client gives up */
#define POLL_SHORTEST_NS (2 * NS_PER_S) /* shorter deadlines are refused */

/* When the poll is answered empty; false: refused, the call has ended. */
static bool poll_deadline(struct api_call *api, int64_t *ret_mono_ns)
{
    const struct call *call = api->call;
    int64_t now_ns = env_monotonic_ns(api->frontend->options.env);
    if (call->deadline_mono_ns == INT64_MAX) {
        fail_invalid(api->call, "Context timeout is not set.");
        return false;
    }
    if (call->deadline_mono_ns - now_ns < POLL_SHORTEST_NS) {
        fail_invalid(api->call, "Context timeout is too short.");
        return false;
    }
    int64_t longest_ns = now_ns + LONG_POLL_TASK_MAX_MS * NS_PER_MS;
    int64_t end_ns = call->deadline_mono_ns - POLL_MARGIN_NS;
    *ret_mono_ns = end_ns < longest_ns ? end_ns : longest_ns;
    return true;
}

static bool check_poll(struct api_call *api, const char *namespace_name,
    const Api__TaskQueue *queue, const char *identity)
{
    return api_namespace(api, namespace_name) && check_task_queue(api, queue) &&
           check_text(api, identity, "Identity");
}

static void park(struct api_call *api, struct poll *poll, const Api__TaskQueue *queue,
    const Api__WorkerVersionCapabilities *version)
{
    if (!poll_deadline(api, &poll->deadline_mono_ns))
        return;
    bool sticky = queue->kind == API__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
    poll->call = api->call;
    poll->namespace_id = api->ns->id;
    poll->queue = queue->name;
    poll->sticky = sticky && poll->kind == TASK_WORKFLOW;
    poll->normal_queue = poll->sticky ? queue->normal_name : "";
    poll->build_id = version ? version->build_id : "";
    poll->message = api->message;
    if (matching_poll(api->frontend->options.matching, poll, false))
        fail_busy(api->call);
}

void api_poll_workflow_task(struct api_call *api)
{
    const Api__PollWorkflowTaskQueueRequest *req = api->message;
    if (!check_poll(api, req->namespace_, req->task_queue, req->identity))
        return;
    struct poll *poll = arena_new(&api->call->arena, struct poll);
    poll->kind = TASK_WORKFLOW;
    poll->identity = req->identity;
    poll->worker_instance_key = req->worker_instance_key;
    park(api, poll, req->task_queue, req->worker_version_capabilities);
}

void api_poll_activity_task(struct api_call *api)
{
    const Api__PollActivityTaskQueueRequest *req = api->message;
    if (!check_poll(api, req->namespace_, req->task_queue, req->identity))
        return;
    struct poll *poll = arena_new(&api->call->arena, struct poll);
    poll->kind = TASK_ACTIVITY;
    poll->identity = req->identity;
    poll->worker_instance_key = req->worker_instance_key;
    park(api, poll, req->task_queue, req->worker_version_capabilities);
}

/* ---- matching's other side ----------------------------------------------------------------- */

/* The run could not be looked at. */
static void match_failed(
    struct executor *executor, struct request *request, enum err err, const char *text)
{
    (void)text; /* the poll goes on waiting; the task is offered again */
    struct match *match = CONTAINER_OF(request, struct match, request);
    struct matching *matching = executor_matching(executor);
    struct poll *poll = match->poll;
    if (err_class(err) == ERR_CLASS_RETRY)
        matching_lose(matching, match->task);
    else
        task_free(match->task);
    if (matching_poll(matching, poll, true))
        api_reply_empty(poll->call);
}

void frontend_matched(struct frontend *frontend, struct task *task, struct poll *poll)
{
    /* A poll may meet many stale tasks: one match serves it all its life. */
    if (!poll->holder)
        poll->holder = arena_new(&poll->call->arena, struct match);
    struct match *match = poll->holder;
    *match = (struct match){.task = task, .poll = poll};
    struct request *request = &match->request;
    request->call = poll->call;
    request->namespace_id = task->namespace_id;
    request->workflow_id = bytes_make(task->workflow_id, task->workflow_id_len);
    request->want = REQUEST_RUN;
    request->run_id = task->run_id;
    request->access = task->kind == TASK_QUERY ? REQUEST_READ : REQUEST_WRITE;
    request->handle = decide_dispatch;
    request->failed = match_failed;
    request->message = poll->message;
    request->ctx = match;
    if (!engine_submit(frontend->options.engine, request))
        return;
    /* The executor has more work than it can take: the worker asks again, the task waits. */
    matching_offer(frontend->options.matching, task);
    api_reply_empty(poll->call);
}

void frontend_poll_empty(struct frontend *frontend, struct poll *poll)
{
    (void)frontend;
    api_reply_empty(poll->call);
}

/* ---- polls for tasks that we never have ---------------------------------------------------- */

struct idle_poll {
    struct mail mail;
    struct mail watch;
    struct delay delay;
    struct call *call;
    int64_t end_mono_ns;
};

static void idle_watched(struct mail *mail, void *owner)
{
    struct idle_poll *idle = CONTAINER_OF(mail, struct idle_poll, watch);
    delay_clear(owner, &idle->delay);
    api_reply_empty(idle->call);
}

static void idle_expired(struct frontend *frontend, struct delay *delay)
{
    (void)frontend;
    struct idle_poll *idle = CONTAINER_OF(delay, struct idle_poll, delay);
    if (call_unwatch(idle->call))
        api_reply_empty(idle->call);
    /* Otherwise the notice is on its way and ends the call. */
}

static void idle_deliver(struct mail *mail, void *owner)
{
    struct idle_poll *idle = CONTAINER_OF(mail, struct idle_poll, mail);
    idle->delay.expire = idle_expired;
    delay_set(owner, &idle->delay, idle->end_mono_ns);
    idle->watch.deliver = idle_watched;
    call_watch(idle->call, ((struct frontend *)owner)->mailbox, &idle->watch);
}

void api_poll_nexus_task(struct api_call *api)
{
    const Api__PollNexusTaskQueueRequest *req = api->message;
    int64_t end_ns = 0;
    if (!check_poll(api, req->namespace_, req->task_queue, req->identity) ||
        !poll_deadline(api, &end_ns))
        return;
    struct idle_poll *idle = arena_new(&api->call->arena, struct idle_poll);
    idle->call = api->call;
    idle->end_mono_ns = end_ns;
    idle->mail.deliver = idle_deliver;
    if (mailbox_post(api->frontend->mailbox, &idle->mail))
        fail_busy(api->call);
}
