/* SPDX-License-Identifier: Apache-2.0
 *
 * The demo's client. A start that fails is tried again with the same request id, at the other
 * cluster too: a start counts only when it was acknowledged.
 */
#include "cluster/demo_client.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/thread.h"
#include "cluster/cli/worker.h"
#include "proto/api_history.pb-c.h"
#include "proto/api_service.pb-c.h"

#define SERVICE        "/temporal.api.workflowservice.v1.WorkflowService/"
#define TRY_TIMEOUT_NS (5 * NS_PER_S)

struct demo_client {
    struct demo_client_options options;
    struct rpc_client *rpc[DEMO_CLUSTERS];
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct thread *thread;
    bool running;
    int64_t next;
    int64_t accepted; /* ids 0 to accepted - 1: starts are made in order */
    int64_t last_ack_ns;
    int64_t longest_gap_ns;
    int preferred;
};

static int64_t now_ns(void)
{
    return env_monotonic_ns(env_system());
}

enum err demo_client_open(const struct demo_client_options *options,
    struct demo_client **ret_client, char ret_reason[256])
{
    struct demo_client *client = mem_new(struct demo_client);
    client->options = *options;
    pthread_mutex_init(&client->mutex, NULL);
    cond_init(&client->cond);
    for (int i = 0; i < DEMO_CLUSTERS; i++) {
        struct rpc_client_options rpc = {.address = options->addresses[i]};
        enum err err = rpc_client_open(&rpc, &client->rpc[i], ret_reason);
        if (err) {
            demo_client_close(client);
            return err;
        }
    }
    *ret_client = client;
    return OK;
}

void demo_client_close(struct demo_client *client)
{
    if (!client)
        return;
    demo_client_pause(client);
    for (int i = 0; i < DEMO_CLUSTERS; i++)
        rpc_client_close(client->rpc[i]);
    pthread_mutex_destroy(&client->mutex);
    pthread_cond_destroy(&client->cond);
    mem_free(client);
}

struct rpc_client *demo_client_rpc(struct demo_client *client, int cluster)
{
    return client->rpc[cluster];
}

static char *workflow_id(struct arena *arena, int64_t number)
{
    return arena_printf(arena, "order-%04lld", (long long)number);
}

static struct bytes start_request(
    struct arena *arena, const struct demo_client *client, int64_t number)
{
    Api__WorkflowType type;
    api__workflow_type__init(&type);
    type.name = arena_strdup(arena, client->options.workflow_type);
    Api__TaskQueue queue;
    api__task_queue__init(&queue);
    queue.name = arena_strdup(arena, client->options.task_queue);
    char *text = arena_printf(arena, "\"order %lld\"", (long long)number);
    struct bytes payload = worker_payload(arena, text, strlen(text));
    ProtobufCBinaryData input = {payload.len, (uint8_t *)(uintptr_t)payload.data};
    Api__StartWorkflowExecutionRequest request;
    api__start_workflow_execution_request__init(&request);
    request.namespace_ = arena_strdup(arena, client->options.namespace_name);
    request.workflow_id = workflow_id(arena, number);
    request.workflow_type = &type;
    request.task_queue = &queue;
    request.n_input = 1;
    request.input = &input;
    request.identity = arena_strdup(arena, "strait-demo");
    request.request_id = workflow_id(arena, number);
    return proto_pack(arena, &request.base);
}

/* Returns true once acknowledged; false when told to stop. */
static bool start_one(struct demo_client *client, struct arena *arena, int64_t number)
{
    struct bytes body = start_request(arena, client, number);
    for (;;) {
        struct rpc_result result = rpc_client_call(client->rpc[client->preferred],
            SERVICE "StartWorkflowExecution", body, TRY_TIMEOUT_NS, arena);
        if (result.code == GRPC_OK)
            return true;
        client->preferred = (client->preferred + 1) % DEMO_CLUSTERS;
        pthread_mutex_lock(&client->mutex);
        bool running = client->running;
        if (running)
            cond_wait_for(&client->cond, &client->mutex, 5 * NS_PER_MS);
        pthread_mutex_unlock(&client->mutex);
        if (!running)
            return false;
    }
}

static void run(void *arg)
{
    struct demo_client *client = arg;
    int64_t interval = NS_PER_S / client->options.rate;
    int64_t due = now_ns();
    client->last_ack_ns = due;
    struct arena arena = {0};
    pthread_mutex_lock(&client->mutex);
    while (client->running) {
        int64_t now = now_ns();
        if (now < due) {
            cond_wait_for(&client->cond, &client->mutex, due - now);
            continue;
        }
        due = now > due + NS_PER_S ? now : due + interval;
        int64_t number = client->next++;
        pthread_mutex_unlock(&client->mutex);
        arena_reset(&arena);
        bool acknowledged = start_one(client, &arena, number);
        pthread_mutex_lock(&client->mutex);
        if (!acknowledged) {
            client->next--; /* tried again after a resume: same id, same request id */
            break;
        }
        now = now_ns();
        if (now - client->last_ack_ns > client->longest_gap_ns)
            client->longest_gap_ns = now - client->last_ack_ns;
        client->last_ack_ns = now;
        client->accepted++;
    }
    pthread_mutex_unlock(&client->mutex);
    arena_release(&arena);
}

void demo_client_resume(struct demo_client *client)
{
    CHECK(!client->thread);
    client->running = true;
    client->thread = thread_start("demo-client", run, client);
}

void demo_client_pause(struct demo_client *client)
{
    if (!client->thread)
        return;
    pthread_mutex_lock(&client->mutex);
    client->running = false;
    pthread_cond_broadcast(&client->cond);
    pthread_mutex_unlock(&client->mutex);
    thread_join(client->thread);
    client->thread = NULL;
}

struct demo_counts demo_client_counts(struct demo_client *client)
{
    pthread_mutex_lock(&client->mutex);
    struct demo_counts counts = {client->accepted, client->longest_gap_ns};
    pthread_mutex_unlock(&client->mutex);
    return counts;
}

void demo_client_reset_gap(struct demo_client *client)
{
    pthread_mutex_lock(&client->mutex);
    client->longest_gap_ns = 0;
    client->last_ack_ns = now_ns();
    pthread_mutex_unlock(&client->mutex);
}

static bool read_history(struct demo_client *client, struct arena *arena, int cluster,
    int64_t number, struct bytes *ret_history)
{
    Api__WorkflowExecution execution;
    api__workflow_execution__init(&execution);
    execution.workflow_id = workflow_id(arena, number);
    Api__GetWorkflowExecutionHistoryRequest request;
    api__get_workflow_execution_history_request__init(&request);
    request.namespace_ = arena_strdup(arena, client->options.namespace_name);
    request.execution = &execution;
    struct rpc_result result =
        rpc_client_call(client->rpc[cluster], SERVICE "GetWorkflowExecutionHistory",
            proto_pack(arena, &request.base), TRY_TIMEOUT_NS, arena);
    if (result.code != GRPC_OK)
        return false;
    Api__GetWorkflowExecutionHistoryResponse *response =
        proto_unpack(arena, &api__get_workflow_execution_history_response__descriptor, result.body);
    if (!response || !response->n_history)
        return false;
    *ret_history = bytes_make(response->history[0].data, response->history[0].len);
    return true;
}

static int64_t history_events(struct arena *arena, struct bytes bytes, bool *ret_completed)
{
    Api__History *history = proto_unpack(arena, &api__history__descriptor, bytes);
    if (!history || !history->n_events)
        return 0;
    *ret_completed = history->events[history->n_events - 1]->attributes_case ==
                     API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_COMPLETED_EVENT_ATTRIBUTES;
    return (int64_t)history->n_events;
}

void demo_client_compare(struct demo_client *client, struct demo_comparison *ret_comparison)
{
    *ret_comparison = (struct demo_comparison){.workflows = client->accepted};
    struct arena arena = {0};
    for (int64_t number = 0; number < client->accepted; number++) {
        arena_reset(&arena);
        struct bytes history[DEMO_CLUSTERS] = {{0}};
        bool found[DEMO_CLUSTERS];
        for (int i = 0; i < DEMO_CLUSTERS; i++) {
            found[i] = read_history(client, &arena, i, number, &history[i]);
            bool completed = false;
            int64_t events = found[i] ? history_events(&arena, history[i], &completed) : 0;
            ret_comparison->missing[i] += !found[i];
            ret_comparison->completed[i] += completed;
            if (i == 0)
                ret_comparison->events += events;
        }
        if (found[0] && found[1] && bytes_equal(history[0], history[1]))
            ret_comparison->equal++;
    }
    arena_release(&arena);
}
