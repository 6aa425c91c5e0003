/* SPDX-License-Identifier: Apache-2.0
 *
 * Load: a fixed set of slots, each one operation under way. Closed loop: a slot begins again as
 * soon as it ends. Open loop: a pacer hands slots out by the clock and counts what it could not
 * begin in time, so that a slow server is not flattered.
 */
#include "cluster/cli/load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/list.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/thread.h"
#include "cluster/cli/worker.h"
#include "proto/api_history.pb-c.h"
#include "proto/api_service.pb-c.h"

#define SERVICE         "/temporal.api.workflowservice.v1.WorkflowService/"
#define CALL_TIMEOUT_NS (10 * NS_PER_S)
#define WAIT_TIMEOUT_NS (25 * NS_PER_S)
#define SLOTS_OPEN_LOOP 4096

struct load;

struct slot {
    struct list link;
    struct load *load;
    struct arena arena;
    char id[128];
    int64_t begun_ns;
    int attempts; /* failed waits for the result */
};

struct load {
    const struct load_options *options;
    struct load_result *result;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct list idle;
    int busy;
    int64_t next;
    int64_t end_ns;
    struct slot *slots;
    int slot_count;
    struct arena arena;
    struct bytes payload;
    _Atomic(bool) stop;
};

static int64_t now_ns(void)
{
    return env_monotonic_ns(env_system());
}

/* ---- latency --------------------------------------------------------------------------------- */

static int bucket_of(int64_t ns)
{
    uint64_t value = ns < 16 ? 16 : (uint64_t)ns;
    int power = 63 - __builtin_clzll(value);
    int bucket = (power - 4) * 16 + (int)(value >> (power - 4) & 15);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

void latency_add(struct latency *latency, int64_t ns)
{
    atomic_fetch_add(&latency->buckets[bucket_of(ns)], 1);
    atomic_fetch_add(&latency->count, 1);
}

double latency_quantile_ms(const struct latency *latency, double q)
{
    int64_t count = atomic_load(&latency->count);
    int64_t rank = (int64_t)((double)count * q);
    int64_t seen = 0;
    for (int i = 0; count && i < LATENCY_BUCKETS; i++) {
        seen += atomic_load(&latency->buckets[i]);
        if (seen > rank)
            return (double)((16 + (uint64_t)(i % 16)) << (i / 16)) / 1e6;
    }
    return 0;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static void begin(struct slot *slot);

static void note_error(struct load *load, const struct rpc_result *result)
{
    if (atomic_fetch_add(&load->result->errors, 1) == 0)
        snprintf(load->result->first_error, sizeof(load->result->first_error), "%d %.180s",
            (int)result->code, result->message);
}

static bool may_begin(struct load *load)
{
    if (atomic_load(&load->stop) || now_ns() >= load->end_ns)
        return false;
    return !load->options->limit || load->next < load->options->limit;
}

static void slot_idle(struct slot *slot)
{
    struct load *load = slot->load;
    pthread_mutex_lock(&load->mutex);
    bool again = load->options->rate <= 0 && may_begin(load);
    if (!again) {
        load->busy--;
        list_push_back(&load->idle, &slot->link);
        pthread_cond_broadcast(&load->cond);
    }
    pthread_mutex_unlock(&load->mutex);
    if (again)
        begin(slot);
}

/* ---- waiting for the result ------------------------------------------------------------------ */

static void wait_result(struct slot *slot);

static bool result_is_right(struct slot *slot, const Api__History *history)
{
    if (history->n_events != 1)
        return false;
    const Api__HistoryEvent *event = history->events[0];
    if (event->attributes_case !=
        API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_COMPLETED_EVENT_ATTRIBUTES)
        return false;
    const Api__WorkflowExecutionCompletedEventAttributes *done =
        event->workflow_execution_completed_event_attributes;
    struct bytes payload = slot->load->payload;
    return done->n_result == 1 && done->result[0].len == payload.len &&
           memcmp(done->result[0].data, payload.data, payload.len) == 0;
}

static void waited(const struct rpc_result *result, void *ctx)
{
    struct slot *slot = ctx;
    struct load *load = slot->load;
    if (result->code != GRPC_OK) {
        note_error(load, result);
        if (++slot->attempts < 20)
            wait_result(slot);
        else
            slot_idle(slot);
        return;
    }
    Api__GetWorkflowExecutionHistoryResponse *response = proto_unpack(
        &slot->arena, &api__get_workflow_execution_history_response__descriptor, result->body);
    Api__History *history = NULL;
    if (response && response->n_history)
        history = proto_unpack(&slot->arena, &api__history__descriptor,
            bytes_make(response->history[0].data, response->history[0].len));
    if (!history || !history->n_events) {
        wait_result(slot);
        return;
    }
    latency_add(&load->result->whole, now_ns() - slot->begun_ns);
    if (result_is_right(slot, history))
        atomic_fetch_add(&load->result->finished, 1);
    else
        atomic_fetch_add(&load->result->wrong, 1);
    slot_idle(slot);
}

static void wait_result(struct slot *slot)
{
    struct arena *arena = &slot->arena;
    Api__WorkflowExecution execution;
    api__workflow_execution__init(&execution);
    execution.workflow_id = slot->id;
    Api__GetWorkflowExecutionHistoryRequest request;
    api__get_workflow_execution_history_request__init(&request);
    request.namespace_ = arena_strdup(arena, slot->load->options->namespace_name);
    request.execution = &execution;
    request.wait_new_event = true;
    request.history_event_filter_type =
        API__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    rpc_client_start(slot->load->options->client, SERVICE "GetWorkflowExecutionHistory",
        proto_pack(arena, &request.base), WAIT_TIMEOUT_NS, waited, slot);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void started(const struct rpc_result *result, void *ctx)
{
    struct slot *slot = ctx;
    struct load *load = slot->load;
    if (result->code != GRPC_OK) {
        note_error(load, result);
        slot_idle(slot);
        return;
    }
    latency_add(&load->result->start, now_ns() - slot->begun_ns);
    atomic_fetch_add(&load->result->started, 1);
    if (load->options->scenario == LOAD_SIGNAL) {
        atomic_fetch_add(&load->result->finished, 1);
        slot_idle(slot);
        return;
    }
    wait_result(slot);
}

static struct bytes start_request(
    struct arena *arena, const struct load_options *options, char *id, struct bytes payload)
{
    static const char *const types[] = {"steps-", "steps-a", "signals", "steps-t"};
    Api__WorkflowType type;
    api__workflow_type__init(&type);
    type.name = arena_strdup(arena, types[options->scenario]);
    Api__TaskQueue queue;
    api__task_queue__init(&queue);
    queue.name = arena_strdup(arena, options->task_queue);
    ProtobufCBinaryData input = {payload.len, (uint8_t *)(uintptr_t)payload.data};
    Api__StartWorkflowExecutionRequest request;
    api__start_workflow_execution_request__init(&request);
    request.namespace_ = arena_strdup(arena, options->namespace_name);
    request.workflow_id = id;
    request.workflow_type = &type;
    request.task_queue = &queue;
    request.n_input = 1;
    request.input = &input;
    request.identity = arena_strdup(arena, "strait-load");
    request.request_id = id;
    return proto_pack(arena, &request.base);
}

static struct bytes signal_request(struct slot *slot, int64_t number)
{
    const struct load_options *options = slot->load->options;
    struct arena *arena = &slot->arena;
    Api__WorkflowExecution execution;
    api__workflow_execution__init(&execution);
    execution.workflow_id =
        arena_printf(arena, "%s-%d", options->id_prefix, (int)(number % options->signal_targets));
    ProtobufCBinaryData input = {
        slot->load->payload.len, (uint8_t *)(uintptr_t)slot->load->payload.data};
    Api__SignalWorkflowExecutionRequest request;
    api__signal_workflow_execution_request__init(&request);
    request.namespace_ = arena_strdup(arena, options->namespace_name);
    request.workflow_execution = &execution;
    request.signal_name = arena_strdup(arena, "add");
    request.n_input = 1;
    request.input = &input;
    request.identity = arena_strdup(arena, "strait-load");
    request.request_id = slot->id;
    return proto_pack(arena, &request.base);
}

static void begin(struct slot *slot)
{
    struct load *load = slot->load;
    const struct load_options *options = load->options;
    arena_reset(&slot->arena);
    int64_t number = __atomic_fetch_add(&load->next, 1, __ATOMIC_RELAXED);
    bool signal = options->scenario == LOAD_SIGNAL;
    snprintf(slot->id, sizeof(slot->id), "%.80s-%s%lld", options->id_prefix, signal ? "s" : "",
        (long long)number);
    slot->begun_ns = now_ns();
    slot->attempts = 0;
    struct bytes body = signal ? signal_request(slot, number)
                               : start_request(&slot->arena, options, slot->id, load->payload);
    rpc_client_start(options->client,
        signal ? SERVICE "SignalWorkflowExecution" : SERVICE "StartWorkflowExecution", body,
        CALL_TIMEOUT_NS, started, slot);
}

/* ---- running --------------------------------------------------------------------------------- */

static void start_signal_targets(struct load *load)
{
    for (int i = 0; i < load->options->signal_targets; i++) {
        struct arena arena = {0};
        char id[128];
        snprintf(id, sizeof(id), "%.80s-%d", load->options->id_prefix, i);
        struct bytes body = start_request(&arena, load->options, id, load->payload);
        struct rpc_result result = rpc_client_call(
            load->options->client, SERVICE "StartWorkflowExecution", body, CALL_TIMEOUT_NS, &arena);
        if (result.code != GRPC_OK)
            note_error(load, &result);
        arena_release(&arena);
    }
}

static struct slot *take_idle(struct load *load)
{
    struct list *node = list_pop_front(&load->idle);
    if (!node)
        return NULL;
    load->busy++;
    return CONTAINER_OF(node, struct slot, link);
}

static void run_open_loop(struct load *load)
{
    double interval = 1e9 / load->options->rate;
    int64_t begin_ns = now_ns();
    for (int64_t i = 0; may_begin(load); i++) {
        int64_t due = begin_ns + (int64_t)((double)i * interval);
        pthread_mutex_lock(&load->mutex);
        for (int64_t now = now_ns(); now < due; now = now_ns())
            cond_wait_for(&load->cond, &load->mutex, due - now);
        struct slot *slot = take_idle(load);
        while (!slot && may_begin(load)) {
            cond_wait_for(&load->cond, &load->mutex, 10 * NS_PER_MS);
            slot = take_idle(load);
        }
        pthread_mutex_unlock(&load->mutex);
        if (now_ns() - due > 10 * NS_PER_MS)
            atomic_fetch_add(&load->result->late, 1);
        if (slot)
            begin(slot);
    }
}

static void run_closed_loop(struct load *load)
{
    pthread_mutex_lock(&load->mutex);
    for (struct slot *slot = take_idle(load); slot; slot = take_idle(load)) {
        pthread_mutex_unlock(&load->mutex);
        begin(slot);
        pthread_mutex_lock(&load->mutex);
        if (!may_begin(load))
            break;
    }
    pthread_mutex_unlock(&load->mutex);
}

void load_run(const struct load_options *options, struct load_result *ret_result)
{
    struct load *load = mem_new(struct load);
    load->options = options;
    load->result = ret_result;
    pthread_mutex_init(&load->mutex, NULL);
    cond_init(&load->cond);
    list_init(&load->idle);
    char *text = arena_alloc(&load->arena, (size_t)options->payload_bytes + 2);
    memset(text, 'x', (size_t)options->payload_bytes + 2);
    text[0] = '"';
    text[options->payload_bytes + 1] = '"';
    load->payload = worker_payload(&load->arena, text, (size_t)options->payload_bytes + 2);
    load->slot_count = options->rate > 0 ? SLOTS_OPEN_LOOP : options->concurrency;
    load->slots = mem_zalloc((size_t)load->slot_count, sizeof(struct slot));
    for (int i = 0; i < load->slot_count; i++) {
        load->slots[i].load = load;
        list_push_back(&load->idle, &load->slots[i].link);
    }
    if (options->scenario == LOAD_SIGNAL)
        start_signal_targets(load);
    int64_t begin_ns = now_ns();
    load->end_ns = begin_ns + (int64_t)(options->seconds * 1e9);
    if (options->rate > 0)
        run_open_loop(load);
    else
        run_closed_loop(load);
    pthread_mutex_lock(&load->mutex);
    while (load->busy)
        cond_wait_for(&load->cond, &load->mutex, NS_PER_S);
    pthread_mutex_unlock(&load->mutex);
    ret_result->seconds = (double)(now_ns() - begin_ns) / 1e9;
    for (int i = 0; i < load->slot_count; i++)
        arena_release(&load->slots[i].arena);
    mem_free(load->slots);
    arena_release(&load->arena);
    pthread_mutex_destroy(&load->mutex);
    pthread_cond_destroy(&load->cond);
    mem_free(load);
}
