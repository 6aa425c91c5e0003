/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of an incoming call. Every call is bound to one completion queue and its thread.
 *
 *   listening -arrived-> reading -received-> held -call_reply/fail-> sending -sent--+
 *       |                   |                                          ^            +-> recycled
 *       |                   +--- too large, corrupt, cancelled --------+  closed ---+
 *       +-server shut down-> recycled                       (any time after arrived)
 *
 * I1  Between `arrived` and recycling three completions are owed: received, closed, sent. The call
 *     is recycled, by the queue thread, when the last of them is in. So the struct outlives both
 *     the holder and the transport without a reference count: `sent` comes only after the holder's
 *     end.
 * I2  Only the queue thread starts receiving batches and recycles; the holder, on any thread,
 *     starts exactly one sending batch and does not touch the call afterwards.
 * I3  `watch` is NONE, a mail or GONE. GONE is final. Whoever exchanges a mail out of it decides
 *     its fate: the queue thread posts it, the holder takes it back. Never both, never twice.
 *
 * RECV_CLOSE_ON_SERVER is a batch of its own, because the client's departure must be seen while a
 * long poll is parked. Joining it to the sending batch gains nothing measurable (bench_rpc).
 *
 * The structs are never freed while the queue lives, and keep their arena's block, up to
 * ARENA_KEEP_BYTES, so a steady load allocates nothing here.
 */
#include "cluster/rpc/rpc_call.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/rpc/rpc_health.h"
#include "cluster/rpc/rpc_inflate.h"
#include "cluster/rpc/rpc_status.h"

#define ARENA_KEEP_BYTES (64u * KIB)
#define DETAIL_OVERHEAD  64u /* type URL prefix, tags and lengths around a detail */

/* Values of rpc_call.watch that are not a mail. */
#define WATCH_NONE ((uintptr_t)0)
#define WATCH_GONE ((uintptr_t)1)

enum event {
    EVENT_ARRIVED = 1,
    EVENT_RECEIVED = 2,
    EVENT_CLOSED = 4,
    EVENT_SENT = 8,
};

/* What a completion queue hands back. */
struct tag {
    struct rpc_call *call;
    enum event event;
};

struct rpc_call {
    struct call call;
    struct rpc_queue *queue;
    struct rpc_call *next; /* in the free list */
    grpc_call *handle;
    unsigned owed;  /* events still to come */
    int close_flag; /* written by RECV_CLOSE_ON_SERVER: the call did not end by its status */
    struct tag arrived;
    struct tag received;
    struct tag closed;
    struct tag sent;
    grpc_byte_buffer *payload;
    grpc_byte_buffer response;
    grpc_call_details details;
    grpc_metadata_array metadata;

    enum grpc_code code; /* the holder's, read at EVENT_SENT */
    atomic_bool ended;
    _Atomic(uintptr_t) watch;
    struct mailbox *watch_mailbox; /* valid while `watch` is a mail */
    bool watching;                 /* the holder's */
};

static const struct call_ops rpc_call_ops;

static struct rpc_call *call_of(struct call *call)
{
    return CONTAINER_OF(call, struct rpc_call, call);
}

static int64_t now_mono_ns(void)
{
    return env_monotonic_ns(env_system());
}

static void count(struct counter *counter)
{
    if (counter)
        counter_add(counter, 1);
}

/* ---- pool ------------------------------------------------------------------------------------ */

static struct rpc_call *call_take(struct rpc_queue *queue)
{
    struct rpc_call *rpc = queue->free;
    queue->busy++;
    if (rpc) {
        queue->free = rpc->next;
        return rpc;
    }
    rpc = arena_new(&queue->arena, struct rpc_call);
    rpc->queue = queue;
    rpc->arrived = (struct tag){rpc, EVENT_ARRIVED};
    rpc->received = (struct tag){rpc, EVENT_RECEIVED};
    rpc->closed = (struct tag){rpc, EVENT_CLOSED};
    rpc->sent = (struct tag){rpc, EVENT_SENT};
    rpc->response.type = GRPC_BB_RAW;
    rpc->response.data.raw.compression = GRPC_COMPRESS_NONE;
    grpc_slice_buffer_init(&rpc->response.data.raw.slice_buffer);
    arena_init(&rpc->call.arena);
    return rpc;
}

static void call_give_back(struct rpc_call *rpc)
{
    CHECK(rpc->owed == 0);
    if (rpc->handle)
        grpc_call_unref(rpc->handle);
    rpc->handle = NULL;
    if (rpc->call.arena.reserved > ARENA_KEEP_BYTES)
        arena_release(&rpc->call.arena);
    else
        arena_reset(&rpc->call.arena);
    rpc->next = rpc->queue->free;
    rpc->queue->free = rpc;
    CHECK(rpc->queue->busy > 0);
    rpc->queue->busy--;
}

void rpc_call_release_all(struct rpc_queue *queue)
{
    CHECK(queue->busy == 0);
    for (struct rpc_call *rpc = queue->free; rpc; rpc = rpc->next) {
        grpc_slice_buffer_destroy(&rpc->response.data.raw.slice_buffer);
        arena_release(&rpc->call.arena);
    }
    queue->free = NULL;
}

/* ---- arrival --------------------------------------------------------------------------------- */

void rpc_call_listen(struct rpc_queue *queue)
{
    struct rpc_call *rpc = call_take(queue);
    grpc_call_details_init(&rpc->details);
    grpc_metadata_array_init(&rpc->metadata);
    rpc->owed = EVENT_ARRIVED;
    grpc_call_error error = grpc_server_request_call(queue->shared->server, &rpc->handle,
        &rpc->details, &rpc->metadata, queue->cq, queue->cq, &rpc->arrived);
    CHECK(error == GRPC_CALL_OK);
}

static bool slice_is(grpc_slice slice, const char *text)
{
    size_t len = strlen(text);
    return GRPC_SLICE_LENGTH(slice) == len && memcmp(GRPC_SLICE_START_PTR(slice), text, len) == 0;
}

/* Headers that stop a forwarding loop; all others are ignored. */
static void read_metadata(struct rpc_call *rpc)
{
    for (size_t i = 0; i < rpc->metadata.count; i++) {
        const grpc_metadata *item = &rpc->metadata.metadata[i];
        if (slice_is(item->key, "strait-forwarded"))
            rpc->call.forwarded = true;
        else if (slice_is(item->key, "strait-no-forward"))
            rpc->call.no_forward = true;
        else if (slice_is(item->key, "xdc-redirection"))
            rpc->call.no_forward = slice_is(item->value, "false");
    }
}

static int64_t to_mono_ns(gpr_timespec deadline, int64_t now_ns)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
        return INT64_MAX;
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    if (left.tv_sec > INT32_MAX)
        return INT64_MAX;
    return now_ns + left.tv_sec * NS_PER_S + left.tv_nsec;
}

static void start_batch(grpc_call *handle, const grpc_op *ops, size_t count, struct tag *tag)
{
    grpc_call_error error = grpc_call_start_batch(handle, ops, count, tag, NULL);
    CHECK(error == GRPC_CALL_OK);
}

static void on_arrived(struct rpc_call *rpc, bool success)
{
    if (!success) { /* the server shuts down */
        grpc_metadata_array_destroy(&rpc->metadata);
        grpc_call_details_destroy(&rpc->details);
        rpc->handle = NULL;
        return;
    }
    rpc_call_listen(rpc->queue);
    count(rpc->queue->shared->started);

    struct call *call = &rpc->call;
    call->ops = &rpc_call_ops;
    call->method = bytes_string(&call->arena, bytes_make(GRPC_SLICE_START_PTR(rpc->details.method),
                                                  GRPC_SLICE_LENGTH(rpc->details.method)));
    call->request = bytes_make(NULL, 0);
    call->received_mono_ns = now_mono_ns();
    call->deadline_mono_ns = to_mono_ns(rpc->details.deadline, call->received_mono_ns);
    call->user = NULL;
    call->forwarded = false;
    call->no_forward = false;
    read_metadata(rpc);
    grpc_metadata_array_destroy(&rpc->metadata);
    grpc_call_details_destroy(&rpc->details);

    rpc->payload = NULL;
    rpc->close_flag = 0;
    rpc->watching = false;
    atomic_store_explicit(&rpc->watch, WATCH_NONE, memory_order_relaxed);
    atomic_store_explicit(&rpc->ended, false, memory_order_relaxed);
    rpc->owed = EVENT_RECEIVED | EVENT_CLOSED | EVENT_SENT;

    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close.data.recv_close_on_server.cancelled = &rpc->close_flag;
    start_batch(rpc->handle, &close, 1, &rpc->closed);
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE};
    receive.data.recv_message.recv_message = &rpc->payload;
    start_batch(rpc->handle, &receive, 1, &rpc->received);
}

/* ---- the request ----------------------------------------------------------------------------- */

static void refuse_too_large(struct rpc_call *rpc, size_t size)
{
    char text[128];
    /* Clients look for this beginning and then do not retry. */
    (void)snprintf(text, sizeof(text), "grpc: received message larger than max (%zu vs. %u)", size,
        GRPC_MESSAGE_BYTES_MAX);
    call_fail(&rpc->call, GRPC_RESOURCE_EXHAUSTED, text, NULL, bytes_make(NULL, 0));
}

static enum err read_compressed(struct rpc_call *rpc, grpc_byte_buffer_reader *reader, size_t size)
{
    struct inflater *inflater = rpc->queue->inflater;
    inflater_begin(inflater, &rpc->call.arena, size, GRPC_MESSAGE_BYTES_MAX);
    grpc_slice *slice = NULL;
    while (grpc_byte_buffer_reader_peek(reader, &slice)) {
        enum err err = inflater_feed(
            inflater, bytes_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)));
        if (err)
            return err;
    }
    return inflater_end(inflater, &rpc->call.request);
}

static void read_plain(struct rpc_call *rpc, grpc_byte_buffer_reader *reader, size_t size)
{
    uint8_t *data = arena_alloc(&rpc->call.arena, size);
    size_t len = 0;
    grpc_slice *slice = NULL;
    while (grpc_byte_buffer_reader_peek(reader, &slice)) {
        CHECK(GRPC_SLICE_LENGTH(*slice) <= size - len);
        memcpy(data + len, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
        len += GRPC_SLICE_LENGTH(*slice);
    }
    CHECK(len == size);
    rpc->call.request = bytes_make(data, len);
}

/* Copies the payload into call->request, or refuses the call. */
static bool read_request(struct rpc_call *rpc)
{
    struct call *call = &rpc->call;
    struct bytes none = {0};
    if (call_is_cancelled(call)) {
        call_fail(call, GRPC_CANCELLED, "cancelled", NULL, none);
        return false;
    }
    if (!rpc->payload) {
        call_fail(call, GRPC_INTERNAL, "a unary call needs one request message", NULL, none);
        return false;
    }
    size_t size = grpc_byte_buffer_length(rpc->payload);
    if (size > GRPC_MESSAGE_BYTES_MAX) {
        refuse_too_large(rpc, size);
        return false;
    }
    grpc_byte_buffer_reader reader;
    int opened = grpc_byte_buffer_reader_init(&reader, rpc->payload);
    CHECK(opened);
    enum err err = OK;
    if (rpc->payload->data.raw.compression == GRPC_COMPRESS_NONE)
        read_plain(rpc, &reader, size);
    else
        err = read_compressed(rpc, &reader, size);
    grpc_byte_buffer_reader_destroy(&reader);
    if (err == ERR_TOO_LARGE)
        refuse_too_large(rpc, GRPC_MESSAGE_BYTES_MAX + 1); /* inflating stopped there */
    else if (err)
        call_fail(call, GRPC_INTERNAL, "failed to decompress the request message", NULL, none);
    return !err;
}

static void on_received(struct rpc_call *rpc)
{
    const struct rpc_shared *shared = rpc->queue->shared;
    bool readable = read_request(rpc);
    if (rpc->payload)
        grpc_byte_buffer_destroy(rpc->payload);
    rpc->payload = NULL;
    if (!readable)
        return;
    bool serving = atomic_load_explicit(&shared->serving, memory_order_relaxed);
    if (!rpc_health_handle(&rpc->call, serving, shared->services))
        shared->handle(shared->ctx, &rpc->call);
}

/* ---- cancellation ---------------------------------------------------------------------------- */

static void on_closed(struct rpc_call *rpc)
{
    if (!rpc->close_flag)
        return;
    count(rpc->queue->shared->cancelled);
    uintptr_t watch = atomic_exchange_explicit(&rpc->watch, WATCH_GONE, memory_order_acq_rel);
    if (watch != WATCH_NONE)
        mailbox_complete(rpc->watch_mailbox, (struct mail *)watch);
}

static bool rpc_call_is_cancelled(struct call *call)
{
    return atomic_load_explicit(&call_of(call)->watch, memory_order_acquire) == WATCH_GONE;
}

static void rpc_call_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    struct rpc_call *rpc = call_of(call);
    CHECK(!rpc->watching);
    rpc->watching = true;
    uintptr_t seen = atomic_load_explicit(&rpc->watch, memory_order_acquire);
    if (seen == WATCH_NONE) {
        rpc->watch_mailbox = mailbox; /* nobody reads it before the mail is in place */
        if (atomic_compare_exchange_strong_explicit(
                &rpc->watch, &seen, (uintptr_t)watch, memory_order_acq_rel, memory_order_acquire))
            return;
    }
    CHECK(seen == WATCH_GONE);
    mailbox_complete(mailbox, watch);
}

static bool rpc_call_unwatch(struct call *call)
{
    struct rpc_call *rpc = call_of(call);
    if (!rpc->watching)
        return true;
    rpc->watching = false;
    uintptr_t seen = atomic_load_explicit(&rpc->watch, memory_order_acquire);
    return seen != WATCH_GONE && atomic_compare_exchange_strong_explicit(&rpc->watch, &seen,
                                     WATCH_NONE, memory_order_acq_rel, memory_order_acquire);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The holder's last touch. */
static void end(struct rpc_call *rpc, enum grpc_code code, const grpc_op *ops, size_t count)
{
    (void)rpc_call_unwatch(&rpc->call); /* no mail is sent for a call that has ended */
    rpc->code = code;
    grpc_call *handle = rpc->handle; /* before the exchange: on_sent may come any time after it */
    bool ended = atomic_exchange_explicit(&rpc->ended, true, memory_order_acq_rel);
    CHECK(!ended);
    start_batch(handle, ops, count, &rpc->sent);
}

static grpc_slice slice_of(struct bytes view)
{
    if (view.len == 0)
        return grpc_empty_slice();
    return grpc_slice_from_copied_buffer((const char *)view.data, view.len);
}

static void rpc_call_reply(struct call *call, struct bytes body)
{
    struct rpc_call *rpc = call_of(call);
    grpc_slice_buffer_add(&rpc->response.data.raw.slice_buffer, slice_of(body));
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
    ops[1].data.send_message.send_message = &rpc->response;
    ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
    end(rpc, GRPC_OK, ops, ARRAY_LEN(ops));
}

static void rpc_call_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    struct rpc_call *rpc = call_of(call);
    CHECK(code > GRPC_OK && code < RPC_STATUS_CODES);
    size_t any_len = detail_type ? strlen(detail_type) + detail.len + DETAIL_OVERHEAD : 0;
    struct bytes text = rpc_status_text(&call->arena, message, any_len);
    grpc_slice text_slice = slice_of(text);
    grpc_metadata trailer = {.key = grpc_slice_from_static_string("grpc-status-details-bin")};
    grpc_op ops[2] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
    ops[1].data.send_status_from_server.status = (grpc_status_code)code;
    ops[1].data.send_status_from_server.status_details = &text_slice;
    if (detail_type) {
        trailer.value = slice_of(rpc_status_encode(&call->arena, code, text, detail_type, detail));
        ops[1].data.send_status_from_server.trailing_metadata = &trailer;
        ops[1].data.send_status_from_server.trailing_metadata_count = 1;
    }
    end(rpc, code, ops, ARRAY_LEN(ops));
    grpc_slice_unref(text_slice); /* the batch holds its own references */
    if (detail_type)
        grpc_slice_unref(trailer.value);
}

static void on_sent(struct rpc_call *rpc)
{
    /* Pairs with the exchange in end(): what the holder wrote is visible from here on. */
    bool ended = atomic_load_explicit(&rpc->ended, memory_order_acquire);
    CHECK(ended);
    grpc_slice_buffer_reset_and_unref(&rpc->response.data.raw.slice_buffer);
    count(rpc->queue->shared->ended[rpc->code]);
}

static const struct call_ops rpc_call_ops = {
    .reply = rpc_call_reply,
    .fail = rpc_call_fail,
    .is_cancelled = rpc_call_is_cancelled,
    .watch = rpc_call_watch,
    .unwatch = rpc_call_unwatch,
};

bool rpc_call_event(void *tag, bool success)
{
    const struct tag *event = tag;
    struct rpc_call *rpc = event->call;
    struct rpc_queue *queue = rpc->queue;
    CHECK((rpc->owed & event->event) != 0);
    rpc->owed &= ~(unsigned)event->event;
    switch (event->event) {
    case EVENT_ARRIVED:
        on_arrived(rpc, success);
        break;
    case EVENT_RECEIVED:
        on_received(rpc);
        break;
    case EVENT_CLOSED:
        on_closed(rpc);
        break;
    case EVENT_SENT: /* sent or not: the client's absence shows in EVENT_CLOSED */
        on_sent(rpc);
        break;
    }
    if (rpc->owed == 0)
        call_give_back(rpc);
    return queue->busy == 0;
}
