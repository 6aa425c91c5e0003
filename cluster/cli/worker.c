/* SPDX-License-Identifier: Apache-2.0
 *
 * The small worker. Each poller is a little machine: poll → work → respond → poll; a failed call
 * waits on the retry thread, so that a server that is down is not hammered.
 */
#include "cluster/cli/worker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/list.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/thread.h"
#include "proto/api_history.pb-c.h"
#include "proto/api_service.pb-c.h"

#define SERVICE         "/temporal.api.workflowservice.v1.WorkflowService/"
#define POLL_TIMEOUT_NS (5 * NS_PER_S)
#define CALL_TIMEOUT_NS (10 * NS_PER_S)
#define RETRY_NS        (50 * NS_PER_MS)

enum poller_kind { POLLER_WORKFLOW, POLLER_STICKY, POLLER_ACTIVITY };

struct poller {
    struct list link; /* in worker->retry */
    struct worker *worker;
    enum poller_kind kind;
    struct arena arena;
    bool completes; /* the task being answered completes its workflow */
};

struct worker {
    struct worker_options options;
    char *sticky_queue;
    struct worker_stats stats;
    struct poller *pollers;
    int count;
    struct buffer poll_requests[3];
    _Atomic(bool) stopping;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct list retry;
    int running; /* pollers that have not ended */
    struct thread *thread;
};

static void poll_start(struct poller *poller);

/* ---- payloads -------------------------------------------------------------------------------- */

struct bytes worker_payload(struct arena *arena, const char *text, size_t len)
{
    Api__Payload__MetadataEntry encoding;
    api__payload__metadata_entry__init(&encoding);
    encoding.key = arena_strdup(arena, "encoding");
    encoding.value.data = arena_copy(arena, "json/plain", 10);
    encoding.value.len = 10;
    Api__Payload__MetadataEntry *entries[1] = {&encoding};
    Api__Payload payload;
    api__payload__init(&payload);
    payload.n_metadata = 1;
    payload.metadata = entries;
    payload.data.data = arena_copy(arena, text, len);
    payload.data.len = len;
    struct bytes one = proto_pack(arena, &payload.base);
    ProtobufCBinaryData data = {one.len, (uint8_t *)(uintptr_t)one.data};
    Api__Payloads payloads;
    api__payloads__init(&payloads);
    payloads.n_payloads = 1;
    payloads.payloads = &data;
    return proto_pack(arena, &payloads.base);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void poller_end(struct poller *poller)
{
    struct worker *worker = poller->worker;
    pthread_mutex_lock(&worker->mutex);
    worker->running--;
    pthread_cond_broadcast(&worker->cond);
    pthread_mutex_unlock(&worker->mutex);
}

static void poller_again(struct poller *poller)
{
    if (atomic_load(&poller->worker->stopping))
        poller_end(poller);
    else
        poll_start(poller);
}

static void poller_later(struct poller *poller)
{
    struct worker *worker = poller->worker;
    pthread_mutex_lock(&worker->mutex);
    list_push_back(&worker->retry, &poller->link);
    pthread_mutex_unlock(&worker->mutex);
}

static void retry_thread(void *arg)
{
    struct worker *worker = arg;
    pthread_mutex_lock(&worker->mutex);
    while (worker->running > 0) {
        cond_wait_for(&worker->cond, &worker->mutex, RETRY_NS);
        struct list taken;
        list_init(&taken);
        while (!list_empty(&worker->retry))
            list_push_back(&taken, list_pop_front(&worker->retry));
        pthread_mutex_unlock(&worker->mutex);
        while (!list_empty(&taken))
            poller_again(CONTAINER_OF(list_pop_front(&taken), struct poller, link));
        pthread_mutex_lock(&worker->mutex);
    }
    pthread_mutex_unlock(&worker->mutex);
}

static void responded(const struct rpc_result *result, void *ctx)
{
    struct poller *poller = ctx;
    struct worker_stats *stats = &poller->worker->stats;
    if (result->code == GRPC_OK && poller->completes)
        atomic_fetch_add(&stats->completed, 1);
    /* NotFound is the ordinary fate of an answer that came too late. */
    if (result->code != GRPC_OK && result->code != GRPC_NOT_FOUND)
        atomic_fetch_add(&stats->errors, 1);
    poller_again(poller);
}

static void respond(struct poller *poller, const char *method, const ProtobufCMessage *message)
{
    rpc_client_start(poller->worker->options.client, method, proto_pack(&poller->arena, message),
        CALL_TIMEOUT_NS, responded, poller);
}

/* ---- workflow tasks -------------------------------------------------------------------------- */

/* What the history says so far. */
struct progress {
    const Api__WorkflowExecutionStartedEventAttributes *started;
    int steps_done;
    bool finish;
    bool mismatch;
};

static void look_at_result(
    struct progress *progress, const Api__ActivityTaskCompletedEventAttributes *done)
{
    const Api__WorkflowExecutionStartedEventAttributes *started = progress->started;
    progress->steps_done++;
    if (!started || done->n_result != started->n_input ||
        (done->n_result &&
            (done->result[0].len != started->input[0].len ||
                memcmp(done->result[0].data, started->input[0].data, done->result[0].len) != 0)))
        progress->mismatch = true;
}

static void look_at(struct progress *progress, const Api__HistoryEvent *event)
{
    const char *signal = "";
    if (event->attributes_case ==
        API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_SIGNALED_EVENT_ATTRIBUTES)
        signal = event->workflow_execution_signaled_event_attributes->signal_name;
    if (event->attributes_case ==
        API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_STARTED_EVENT_ATTRIBUTES)
        progress->started = event->workflow_execution_started_event_attributes;
    else if (event->attributes_case ==
             API__HISTORY_EVENT__ATTRIBUTES_ACTIVITY_TASK_COMPLETED_EVENT_ATTRIBUTES)
        look_at_result(progress, event->activity_task_completed_event_attributes);
    else if (event->attributes_case == API__HISTORY_EVENT__ATTRIBUTES_TIMER_FIRED_EVENT_ATTRIBUTES)
        progress->steps_done++;
    else if (strcmp(signal, "finish") == 0)
        progress->finish = true;
}

static Api__Duration *duration(struct arena *arena, int64_t ms)
{
    Api__Duration *value = arena_new(arena, Api__Duration);
    api__duration__init(value);
    value->seconds = ms / 1000;
    value->nanos = (int32_t)(ms % 1000 * 1000000);
    return value;
}

static Api__Command *command(struct arena *arena, Api__CommandType type)
{
    Api__Command *value = arena_new(arena, Api__Command);
    api__command__init(value);
    value->command_type = type;
    return value;
}

static Api__Command *command_activity(
    struct arena *arena, const struct worker *worker, const struct progress *progress, int step)
{
    Api__ScheduleActivityTaskCommandAttributes *attributes =
        arena_new(arena, Api__ScheduleActivityTaskCommandAttributes);
    api__schedule_activity_task_command_attributes__init(attributes);
    attributes->activity_id = arena_printf(arena, "%d", step + 1);
    attributes->activity_type = arena_new(arena, Api__ActivityType);
    api__activity_type__init(attributes->activity_type);
    attributes->activity_type->name = arena_strdup(arena, "echo");
    attributes->task_queue = arena_new(arena, Api__TaskQueue);
    api__task_queue__init(attributes->task_queue);
    attributes->task_queue->name = arena_strdup(arena, worker->options.task_queue);
    attributes->n_input = progress->started->n_input;
    attributes->input = progress->started->input;
    attributes->start_to_close_timeout = duration(arena, 10000);
    Api__Command *value = command(arena, API__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK);
    value->attributes_case = API__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
    value->schedule_activity_task_command_attributes = attributes;
    return value;
}

static Api__Command *command_timer(struct arena *arena, const struct worker *worker, int step)
{
    Api__StartTimerCommandAttributes *attributes =
        arena_new(arena, Api__StartTimerCommandAttributes);
    api__start_timer_command_attributes__init(attributes);
    attributes->timer_id = arena_printf(arena, "%d", step + 1);
    attributes->start_to_fire_timeout = duration(arena, worker->options.timer_ms);
    Api__Command *value = command(arena, API__COMMAND_TYPE__COMMAND_TYPE_START_TIMER);
    value->attributes_case = API__COMMAND__ATTRIBUTES_START_TIMER_COMMAND_ATTRIBUTES;
    value->start_timer_command_attributes = attributes;
    return value;
}

static Api__Command *command_complete(struct arena *arena, const struct progress *progress)
{
    Api__CompleteWorkflowExecutionCommandAttributes *attributes =
        arena_new(arena, Api__CompleteWorkflowExecutionCommandAttributes);
    api__complete_workflow_execution_command_attributes__init(attributes);
    if (progress->started) {
        attributes->n_result = progress->started->n_input;
        attributes->result = progress->started->input;
    }
    Api__Command *value =
        command(arena, API__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION);
    value->attributes_case =
        API__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    value->complete_workflow_execution_command_attributes = attributes;
    return value;
}

static Api__Command *decide(
    struct poller *poller, const char *type, const struct progress *progress)
{
    struct arena *arena = &poller->arena;
    if (strncmp(type, "steps-", 6) != 0) {
        poller->completes = progress->finish;
        return progress->finish ? command_complete(arena, progress) : NULL;
    }
    const char *steps = type + 6;
    int step = progress->steps_done;
    if (step >= (int)strlen(steps)) {
        poller->completes = true;
        return command_complete(arena, progress);
    }
    return steps[step] == 't' ? command_timer(arena, poller->worker, step)
                              : command_activity(arena, poller->worker, progress, step);
}

static Api__StickyExecutionAttributes *sticky_attributes(
    struct arena *arena, const struct worker *worker)
{
    Api__StickyExecutionAttributes *sticky = arena_new(arena, Api__StickyExecutionAttributes);
    api__sticky_execution_attributes__init(sticky);
    sticky->worker_task_queue = arena_new(arena, Api__TaskQueue);
    api__task_queue__init(sticky->worker_task_queue);
    sticky->worker_task_queue->name = worker->sticky_queue;
    sticky->worker_task_queue->kind = API__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
    sticky->worker_task_queue->normal_name = arena_strdup(arena, worker->options.task_queue);
    sticky->schedule_to_start_timeout = duration(arena, 10000);
    return sticky;
}

static void workflow_polled(const struct rpc_result *result, void *ctx)
{
    struct poller *poller = ctx;
    struct worker *worker = poller->worker;
    if (result->code != GRPC_OK) {
        poller_later(poller);
        return;
    }
    arena_reset(&poller->arena);
    struct arena *arena = &poller->arena;
    Api__PollWorkflowTaskQueueResponse *task =
        proto_unpack(arena, &api__poll_workflow_task_queue_response__descriptor, result->body);
    if (!task || !task->task_token.len) {
        poller_again(poller);
        return;
    }
    struct progress progress = {0};
    Api__History *history = task->n_history
                                ? proto_unpack(arena, &api__history__descriptor,
                                      bytes_make(task->history[0].data, task->history[0].len))
                                : NULL;
    for (size_t i = 0; history && i < history->n_events; i++)
        look_at(&progress, history->events[i]);
    atomic_fetch_add(&worker->stats.workflow_tasks, 1);
    if (progress.mismatch)
        atomic_fetch_add(&worker->stats.mismatches, 1);
    Api__RespondWorkflowTaskCompletedRequest request;
    api__respond_workflow_task_completed_request__init(&request);
    request.task_token = task->task_token;
    request.identity = arena_strdup(arena, worker->options.identity);
    request.namespace_ = arena_strdup(arena, worker->options.namespace_name);
    poller->completes = false;
    Api__Command *commands[1] = {
        decide(poller, task->workflow_type ? task->workflow_type->name : "", &progress)};
    request.n_commands = commands[0] ? 1 : 0;
    request.commands = commands;
    if (worker->options.sticky && !poller->completes)
        request.sticky_attributes = sticky_attributes(arena, worker);
    respond(poller, SERVICE "RespondWorkflowTaskCompleted", &request.base);
}

/* ---- activity tasks -------------------------------------------------------------------------- */

static void activity_polled(const struct rpc_result *result, void *ctx)
{
    struct poller *poller = ctx;
    if (result->code != GRPC_OK) {
        poller_later(poller);
        return;
    }
    arena_reset(&poller->arena);
    struct arena *arena = &poller->arena;
    Api__PollActivityTaskQueueResponse *task =
        proto_unpack(arena, &api__poll_activity_task_queue_response__descriptor, result->body);
    if (!task || !task->task_token.len) {
        poller_again(poller);
        return;
    }
    atomic_fetch_add(&poller->worker->stats.activities, 1);
    poller->completes = false;
    Api__RespondActivityTaskCompletedRequest request;
    api__respond_activity_task_completed_request__init(&request);
    request.task_token = task->task_token;
    request.n_result = task->n_input;
    request.result = task->input;
    request.identity = arena_strdup(arena, poller->worker->options.identity);
    request.namespace_ = arena_strdup(arena, poller->worker->options.namespace_name);
    respond(poller, SERVICE "RespondActivityTaskCompleted", &request.base);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void poll_start(struct poller *poller)
{
    struct worker *worker = poller->worker;
    bool activity = poller->kind == POLLER_ACTIVITY;
    rpc_client_start(worker->options.client,
        activity ? SERVICE "PollActivityTaskQueue" : SERVICE "PollWorkflowTaskQueue",
        buffer_view(&worker->poll_requests[poller->kind]), POLL_TIMEOUT_NS,
        activity ? activity_polled : workflow_polled, poller);
}

static void make_poll_requests(struct worker *worker)
{
    struct arena arena = {0};
    Api__TaskQueue queue;
    api__task_queue__init(&queue);
    queue.name = arena_strdup(&arena, worker->options.task_queue);
    queue.kind = API__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
    Api__PollWorkflowTaskQueueRequest workflow;
    api__poll_workflow_task_queue_request__init(&workflow);
    workflow.namespace_ = arena_strdup(&arena, worker->options.namespace_name);
    workflow.identity = arena_strdup(&arena, worker->options.identity);
    workflow.task_queue = &queue;
    proto_pack_into(&worker->poll_requests[POLLER_WORKFLOW], &workflow.base);
    Api__PollActivityTaskQueueRequest activity;
    api__poll_activity_task_queue_request__init(&activity);
    activity.namespace_ = workflow.namespace_;
    activity.identity = workflow.identity;
    activity.task_queue = &queue;
    proto_pack_into(&worker->poll_requests[POLLER_ACTIVITY], &activity.base);
    queue.normal_name = queue.name;
    queue.name = worker->sticky_queue;
    queue.kind = API__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
    proto_pack_into(&worker->poll_requests[POLLER_STICKY], &workflow.base);
    arena_release(&arena);
}

struct worker *worker_open(const struct worker_options *options)
{
    struct worker *worker = mem_new(struct worker);
    worker->options = *options;
    char name[300];
    snprintf(name, sizeof(name), "%.200s-sticky-%.60s", options->task_queue, options->identity);
    worker->sticky_queue = mem_strdup(name);
    pthread_mutex_init(&worker->mutex, NULL);
    cond_init(&worker->cond);
    list_init(&worker->retry);
    make_poll_requests(worker);
    int sticky = options->sticky ? options->workflow_pollers : 0;
    worker->count = options->workflow_pollers + sticky + options->activity_pollers;
    worker->running = worker->count;
    worker->pollers = mem_zalloc((size_t)worker->count, sizeof(struct poller));
    for (int i = 0; i < worker->count; i++) {
        struct poller *poller = &worker->pollers[i];
        poller->worker = worker;
        poller->kind = i < options->workflow_pollers            ? POLLER_WORKFLOW
                       : i < options->workflow_pollers + sticky ? POLLER_STICKY
                                                                : POLLER_ACTIVITY;
        poll_start(poller);
    }
    worker->thread = thread_start("worker-retry", retry_thread, worker);
    return worker;
}

const struct worker_stats *worker_stats(const struct worker *worker)
{
    return &worker->stats;
}

void worker_close(struct worker *worker)
{
    if (!worker)
        return;
    atomic_store(&worker->stopping, true);
    thread_join(worker->thread);
    for (int i = 0; i < worker->count; i++)
        arena_release(&worker->pollers[i].arena);
    for (size_t i = 0; i < 3; i++)
        buffer_release(&worker->poll_requests[i]);
    pthread_mutex_destroy(&worker->mutex);
    pthread_cond_destroy(&worker->cond);
    mem_free(worker->pollers);
    mem_free(worker->sticky_queue);
    mem_free(worker);
}
