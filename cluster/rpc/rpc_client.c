/* SPDX-License-Identifier: Apache-2.0
 *
 * Unary calls. One batch per call carries all six operations, so one event ends it.
 *
 * Threading: `threads` completion queues with a thread each; a connection belongs to one of them,
 * and its completions run there. A call takes the next connection in turn. The mutex guards the
 * free list and the number of calls under way; it is never held while calling out.
 *
 * A call object is owned by the queue between start_batch and its event: the starter does not touch
 * it afterwards, because the event may already have recycled it.
 */
#include "cluster/rpc/rpc_client.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/thread.h"
#include "cluster/rpc/rpc_tls.h"

#define CONNECTIONS_MAX      1024
#define THREADS_MAX          64
#define HEADERS_MAX          8
#define RESPONSE_BYTES_MAX   (64 * 1024 * 1024)
#define METADATA_BYTES_MAX   (64 * 1024)
#define RECONNECT_FIRST_MS   200
#define RECONNECT_LAST_MS    5000
#define CONNECT_TIMEOUT_MS   5000
#define KEEPALIVE_MS         30000
#define KEEPALIVE_TIMEOUT_MS 10000
#define ARENA_KEEP_BYTES     (64u * KIB)

struct client_call {
    struct rpc_client *client;
    struct client_call *next; /* in the free list */
    grpc_call *handle;
    rpc_done_fn *done;
    void *ctx;
    grpc_byte_buffer request;
    grpc_byte_buffer *response;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice text;
    struct arena arena; /* the result's bytes */
};

struct connection {
    grpc_channel *channel;
    grpc_completion_queue *cq;
};

struct queue {
    grpc_completion_queue *cq;
    struct thread *thread;
};

struct rpc_client {
    struct arena arena; /* connections, queues, headers */
    struct connection *connections;
    unsigned connection_count;
    struct queue *queues;
    unsigned queue_count;
    grpc_metadata *headers;
    size_t header_count;
    atomic_uint turn;

    pthread_mutex_t mutex;
    pthread_cond_t idle;
    struct arena call_arena; /* guarded by mutex, like all below */
    struct client_call *free;
    size_t under_way;
};

/* ---- calls ----------------------------------------------------------------------------------- */

static struct client_call *call_take(struct rpc_client *client)
{
    pthread_mutex_lock(&client->mutex);
    struct client_call *call = client->free;
    if (call)
        client->free = call->next;
    else
        call = arena_new(&client->call_arena, struct client_call);
    client->under_way++;
    pthread_mutex_unlock(&client->mutex);
    if (!call->client) {
        call->client = client;
        call->request.type = GRPC_BB_RAW;
        call->request.data.raw.compression = GRPC_COMPRESS_NONE;
        grpc_slice_buffer_init(&call->request.data.raw.slice_buffer);
        grpc_metadata_array_init(&call->initial);
        grpc_metadata_array_init(&call->trailing);
    }
    return call;
}

static void call_give_back(struct client_call *call)
{
    struct rpc_client *client = call->client;
    grpc_slice_buffer_reset_and_unref(&call->request.data.raw.slice_buffer);
    if (call->response)
        grpc_byte_buffer_destroy(call->response);
    call->response = NULL;
    call->initial.count = 0;
    call->trailing.count = 0;
    grpc_slice_unref(call->text);
    grpc_call_unref(call->handle);
    if (call->arena.reserved > ARENA_KEEP_BYTES)
        arena_release(&call->arena);
    else
        arena_reset(&call->arena);

    pthread_mutex_lock(&client->mutex);
    call->next = client->free;
    client->free = call;
    client->under_way--;
    if (client->under_way == 0)
        pthread_cond_broadcast(&client->idle);
    pthread_mutex_unlock(&client->mutex);
}

static gpr_timespec deadline_in(int64_t timeout_ns)
{
    if (timeout_ns == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(
        gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout_ns, GPR_TIMESPAN));
}

static void start_batch(struct client_call *call)
{
    struct rpc_client *client = call->client;
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    grpc_metadata headers[HEADERS_MAX]; /* the core writes into the array */
    if (client->header_count > 0)
        memcpy(headers, client->headers, client->header_count * sizeof(headers[0]));
    ops[0].data.send_initial_metadata.metadata = headers;
    ops[0].data.send_initial_metadata.count = client->header_count;
    ops[1].data.send_message.send_message = &call->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_message.recv_message = &call->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->status;
    ops[5].data.recv_status_on_client.status_details = &call->text;
    HANDOVER_RELEASE(call);
    grpc_call_error error = grpc_call_start_batch(call->handle, ops, ARRAY_LEN(ops), call, NULL);
    CHECK(error == GRPC_CALL_OK);
}

void rpc_client_start(struct rpc_client *client, const char *method, struct bytes body,
    int64_t timeout_ns, rpc_done_fn *done, void *ctx)
{
    struct client_call *call = call_take(client);
    unsigned turn = atomic_fetch_add_explicit(&client->turn, 1, memory_order_relaxed);
    const struct connection *connection = &client->connections[turn % client->connection_count];
    call->done = done;
    call->ctx = ctx;
    call->status = GRPC_STATUS_UNKNOWN;
    call->text = grpc_empty_slice();
    if (body.len > 0)
        grpc_slice_buffer_add(&call->request.data.raw.slice_buffer,
            grpc_slice_from_copied_buffer((const char *)body.data, body.len));
    grpc_slice path = grpc_slice_from_copied_string(method);
    call->handle = grpc_channel_create_call(connection->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
        connection->cq, path, NULL, deadline_in(timeout_ns), NULL);
    grpc_slice_unref(path);
    start_batch(call);
}

static struct bytes view_of(const grpc_slice *slice)
{
    return bytes_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

/* A response in one piece is viewed where it is, one in several is copied together. */
static struct bytes read_response(struct client_call *call)
{
    const grpc_slice_buffer *slices = &call->response->data.raw.slice_buffer;
    if (slices->count == 1)
        return view_of(&slices->slices[0]);
    uint8_t *data = arena_alloc(&call->arena, slices->length);
    size_t len = 0;
    for (size_t i = 0; i < slices->count; i++) {
        struct bytes piece = view_of(&slices->slices[i]);
        memcpy(data + len, piece.data, piece.len);
        len += piece.len;
    }
    CHECK(len == slices->length);
    return bytes_make(data, len);
}

static void on_done(struct client_call *call)
{
    struct rpc_result result = {.message = ""};
    result.code = call->status >= GRPC_STATUS_OK && call->status <= GRPC_STATUS_UNAUTHENTICATED
                      ? (enum grpc_code)call->status
                      : GRPC_UNKNOWN;
    if (result.code == GRPC_OK && !call->response) {
        result.code = GRPC_INTERNAL;
        result.message = "status OK without a response message";
    } else if (result.code == GRPC_OK) {
        result.body = read_response(call);
    } else {
        result.message = bytes_string(&call->arena, view_of(&call->text));
    }
    for (size_t i = 0; i < call->trailing.count; i++) {
        const grpc_metadata *item = &call->trailing.metadata[i];
        if (grpc_slice_str_cmp(item->key, "grpc-status-details-bin") == 0)
            result.details = view_of(&item->value);
    }
    call->done(&result, call->ctx);
    call_give_back(call);
}

static void queue_run(void *arg)
{
    const struct queue *queue = arg;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return;
        HANDOVER_ACQUIRE(event.tag);
        on_done(event.tag);
    }
}

/* ---- blocking calls -------------------------------------------------------------------------- */

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    struct rpc_result result;
    struct arena *arena;
};

static void wake(const struct rpc_result *result, void *ctx)
{
    struct waiter *waiter = ctx;
    pthread_mutex_lock(&waiter->mutex);
    waiter->result = (struct rpc_result){
        .code = result->code,
        .message = arena_strdup(waiter->arena, result->message),
        .body = bytes_copy(waiter->arena, result->body),
        .details = bytes_copy(waiter->arena, result->details),
    };
    waiter->done = true;
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->mutex);
}

struct rpc_result rpc_client_call(struct rpc_client *client, const char *method, struct bytes body,
    int64_t timeout_ns, struct arena *arena)
{
    struct waiter waiter = {.arena = arena};
    pthread_mutex_init(&waiter.mutex, NULL);
    pthread_cond_init(&waiter.cond, NULL);
    rpc_client_start(client, method, body, timeout_ns, wake, &waiter);
    pthread_mutex_lock(&waiter.mutex);
    while (!waiter.done)
        pthread_cond_wait(&waiter.cond, &waiter.mutex);
    pthread_mutex_unlock(&waiter.mutex);
    pthread_cond_destroy(&waiter.cond);
    pthread_mutex_destroy(&waiter.mutex);
    return waiter.result;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static grpc_channel *create_channel(
    const struct rpc_client_options *options, grpc_channel_credentials *credentials)
{
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RESPONSE_BYTES_MAX),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX),
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), /* a connection of its own */
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
        int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_LAST_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        int_arg(GRPC_ARG_ENABLE_RETRIES, 0), /* callers know what may be repeated */
        int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        {0},
    };
    size_t count = ARRAY_LEN(args) - 1;
    if (options->tls_server_name)
        args[count++] = (grpc_arg){
            .type = GRPC_ARG_STRING,
            .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
            .value.string = (char *)(uintptr_t)options->tls_server_name,
        };
    grpc_channel_args channel_args = {.num_args = count, .args = args};
    return grpc_channel_create(options->address, credentials, &channel_args);
}

static enum err create_credentials(const struct rpc_client_options *options,
    grpc_channel_credentials **ret_credentials, char ret_reason[RPC_REASON_BYTES])
{
    if (options->tls || options->tls_ca_file)
        return rpc_tls_client(options->tls_ca_file, options->tls_cert_file, options->tls_key_file,
            ret_credentials, ret_reason);
    *ret_credentials = grpc_insecure_credentials_create();
    return OK;
}

static enum err check_headers(
    const struct rpc_client_options *options, char ret_reason[RPC_REASON_BYTES])
{
    bool legal = options->header_count <= HEADERS_MAX;
    for (size_t i = 0; legal && i < options->header_count; i++) {
        grpc_slice name = grpc_slice_from_static_string(options->headers[i].name);
        grpc_slice value = grpc_slice_from_static_string(options->headers[i].value);
        legal = grpc_header_key_is_legal(name) && !grpc_is_binary_header(name) &&
                grpc_header_nonbin_value_is_legal(value);
    }
    if (legal)
        return OK;
    (void)snprintf(ret_reason, RPC_REASON_BYTES, "ill-formed or too many headers");
    return ERR_CONFIG;
}

static unsigned clamp_count(int count, unsigned max)
{
    return count < 1 ? 1 : (unsigned)count > max ? max : (unsigned)count;
}

static void copy_headers(struct rpc_client *client, const struct rpc_client_options *options)
{
    struct arena *arena = &client->arena;
    client->header_count = options->header_count;
    client->headers = arena_zalloc(arena, options->header_count, sizeof(*client->headers));
    for (size_t i = 0; i < options->header_count; i++) {
        client->headers[i].key =
            grpc_slice_from_static_string(arena_strdup(arena, options->headers[i].name));
        client->headers[i].value =
            grpc_slice_from_static_string(arena_strdup(arena, options->headers[i].value));
    }
}

enum err rpc_client_open(const struct rpc_client_options *options, struct rpc_client **ret_client,
    char ret_reason[RPC_REASON_BYTES])
{
    grpc_init();
    grpc_channel_credentials *credentials = NULL;
    enum err err = check_headers(options, ret_reason);
    if (!err)
        err = create_credentials(options, &credentials, ret_reason);
    if (err) {
        grpc_shutdown();
        return err;
    }
    struct rpc_client *client = mem_new(struct rpc_client);
    pthread_mutex_init(&client->mutex, NULL);
    cond_init(&client->idle);
    copy_headers(client, options);
    client->connection_count = clamp_count(options->connections, CONNECTIONS_MAX);
    client->connections =
        arena_zalloc(&client->arena, client->connection_count, sizeof(*client->connections));
    client->queue_count = clamp_count(options->threads, THREADS_MAX);
    client->queues = arena_zalloc(&client->arena, client->queue_count, sizeof(*client->queues));
    for (unsigned i = 0; i < client->queue_count; i++) {
        client->queues[i].cq = grpc_completion_queue_create_for_next(NULL);
        char name[16];
        (void)snprintf(name, sizeof(name), "rpc-client-%u", i % THREADS_MAX);
        client->queues[i].thread = thread_start(name, queue_run, &client->queues[i]);
    }
    for (unsigned i = 0; i < client->connection_count; i++) {
        client->connections[i].channel = create_channel(options, credentials);
        client->connections[i].cq = client->queues[i % client->queue_count].cq;
    }
    grpc_channel_credentials_release(credentials);
    *ret_client = client;
    return OK;
}

void rpc_client_close(struct rpc_client *client)
{
    if (!client)
        return;
    pthread_mutex_lock(&client->mutex);
    while (client->under_way > 0)
        pthread_cond_wait(&client->idle, &client->mutex);
    pthread_mutex_unlock(&client->mutex);

    for (unsigned i = 0; i < client->connection_count; i++)
        grpc_channel_destroy(client->connections[i].channel);
    for (unsigned i = 0; i < client->queue_count; i++)
        grpc_completion_queue_shutdown(client->queues[i].cq);
    for (unsigned i = 0; i < client->queue_count; i++) {
        thread_join(client->queues[i].thread);
        grpc_completion_queue_destroy(client->queues[i].cq);
    }
    for (struct client_call *call = client->free; call; call = call->next) {
        grpc_slice_buffer_destroy(&call->request.data.raw.slice_buffer);
        grpc_metadata_array_destroy(&call->initial);
        grpc_metadata_array_destroy(&call->trailing);
        arena_release(&call->arena);
    }
    arena_release(&client->call_arena);
    arena_release(&client->arena);
    pthread_cond_destroy(&client->idle);
    pthread_mutex_destroy(&client->mutex);
    mem_free(client);
    grpc_shutdown();
}
