/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls: publishes, requests and JetStream API requests are all one message out with a reply
 * subject of our own, "<inbox>.<token>", and one answer in.
 *
 * C1  A call is in the table exactly between its sending and its end; whoever takes it out ends it:
 *     the answer, the timer, or the break of the connection. So each ends once.
 * C2  Tokens are never used twice: an answer that comes too late finds nothing.
 * C3  No message ID is set: a republish after an unknown outcome must be stored again, because the
 *     stream may have lost the first copy, and receivers know duplicates by their own numbers.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/bus_nats.h"
#include "replicator/bus_nats_json.h"

#define TOKEN_RADIX 36u
#define TOKEN_SIZE  14u /* 13 digits of a 64-bit number and a NUL */

static struct bytes token_key(const struct nats_call *call)
{
    return bytes_make(&call->token, sizeof(call->token));
}

static void token_format(uint64_t token, char ret_text[TOKEN_SIZE])
{
    char reversed[TOKEN_SIZE];
    size_t len = 0;
    do {
        reversed[len++] = "0123456789abcdefghijklmnopqrstuvwxyz"[token % TOKEN_RADIX];
        token /= TOKEN_RADIX;
    } while (token > 0);
    for (size_t i = 0; i < len; i++)
        ret_text[i] = reversed[len - 1 - i];
    ret_text[len] = '\0';
}

static void call_free(struct nats_call *call)
{
    blob_unref(call->data);
    mem_free(call);
}

/** Takes the call out of table and timers. */
static void call_unlist(struct nats_call *call)
{
    if (call->token == 0)
        return;
    void *removed = map_remove(&call->bus->calls, token_key(call));
    CHECK(removed == call);
    call->token = 0;
    nats_timer_stop(call->bus, &call->timer);
}

static void call_end(struct nats_call *call, enum err err, const struct nats_inbound *inbound)
{
    call_unlist(call);
    call->done(call, err, inbound);
    call_free(call);
}

static void call_expired(struct nats_timer *timer)
{
    call_end(CONTAINER_OF(timer, struct nats_call, timer), ERR_TIMEOUT, NULL);
}

static void run_call(struct mail *mail, void *owner)
{
    (void)owner;
    nats_call_send(CONTAINER_OF(mail, struct nats_call, mail));
}

struct nats_call *nats_call_make(struct nats_bus *bus, const char *subject, struct blob *data,
    int64_t timeout_ns, nats_call_done *done, void *ctx)
{
    size_t size = strlen(subject) + 1;
    struct nats_call *call = mem_alloc(sizeof(*call) + size);
    memset(call, 0, sizeof(*call));
    call->mail.deliver = run_call;
    call->bus = bus;
    call->timeout_ns = timeout_ns;
    call->data = blob_retain(data);
    call->done = done;
    call->ctx = ctx;
    memcpy(call->subject, subject, size);
    return call;
}

void nats_call_send(struct nats_call *call)
{
    struct nats_bus *bus = call->bus;
    CHECK(call->token == 0);
    if (!atomic_load(&bus->connected)) {
        call_end(call, ERR_UNAVAILABLE, NULL);
        return;
    }
    call->token = ++bus->token_last;
    void *replaced = map_put(&bus->calls, token_key(call), call);
    CHECK(replaced == NULL);
    call->timer.fire = call_expired;
    nats_timer_set(bus, &call->timer, bus->now_ns + call->timeout_ns);
    char reply[NATS_INBOX_SIZE + 1 + TOKEN_SIZE];
    size_t len = strlen(bus->inbox);
    memcpy(reply, bus->inbox, len);
    reply[len++] = '.';
    token_format(call->token, reply + len);
    nats_link_publish(bus->link, call->subject, reply, blob_view(call->data));
}

void nats_call_cancel(struct nats_call *call)
{
    call_unlist(call);
    call_free(call);
}

void nats_calls_fail(struct nats_bus *bus)
{
    /* A `done` may start the next call; without a connection that one ends at once. */
    CHECK(!atomic_load(&bus->connected));
    size_t cursor = 0;
    struct nats_call *call;
    while ((call = map_next(&bus->calls, &cursor)) != NULL)
        call_end(call, ERR_UNAVAILABLE, NULL);
}

void nats_calls_inbound(void *ctx, const struct nats_inbound *inbound)
{
    struct nats_bus *bus = ctx;
    const char *dot = strrchr(inbound->subject, '.');
    uint64_t token = dot ? strtoull(dot + 1, NULL, TOKEN_RADIX) : 0;
    struct nats_call *call = map_get(&bus->calls, bytes_make(&token, sizeof(token)));
    if (!call)
        return;
    if (inbound->status == 0)
        call_end(call, OK, inbound);
    else
        call_end(call, inbound->status == 503 ? ERR_NOT_FOUND : ERR_UNAVAILABLE, NULL);
}

/* ---- publish and request: any thread ---- */

static void publish_done(struct nats_call *call, enum err err, const struct nats_inbound *inbound)
{
    struct bus_op *op = call->ctx;
    struct nats_answer answer = {0};
    if (!err)
        err = nats_json_answer(inbound->data, &answer);
    if (err == ERR_CORRUPT)
        err = ERR_UNAVAILABLE; /* somebody else answered: whether it was stored is unknown */
    if (!err)
        err = nats_json_err(&answer);
    op->stream_seq = answer.seq;
    bus_op_end(op, err);
}

static void request_done(struct nats_call *call, enum err err, const struct nats_inbound *inbound)
{
    struct bus_op *op = call->ctx;
    if (!err)
        op->reply = blob_from(inbound->data);
    bus_op_end(op, err);
}

/** Makes the call a command, unless there is no connection anyway. */
static void submit(struct bus *base, const char *subject, struct blob *data, int64_t timeout_ns,
    nats_call_done *done, struct bus_op *op)
{
    struct nats_bus *bus = CONTAINER_OF(base, struct nats_bus, bus);
    if (!atomic_load(&bus->connected)) {
        bus_op_end(op, ERR_UNAVAILABLE);
        return;
    }
    nats_bus_command(bus, &nats_call_make(bus, subject, data, timeout_ns, done, op)->mail);
}

void nats_publish(struct bus *base, const char *subject, struct blob *data, struct bus_op *op)
{
    submit(base, subject, data, BUS_ACK_TIMEOUT_NS, publish_done, op);
}

void nats_request(
    struct bus *base, const char *subject, struct blob *data, int64_t timeout_ns, struct bus_op *op)
{
    submit(base, subject, data, timeout_ns, request_done, op);
}

/* ---- streams: STREAM.CREATE, and STREAM.UPDATE when it exists in another shape ---- */

static void stream_end(struct bus_op *op, enum err err, const struct nats_answer *answer)
{
    if (err == ERR_INVALID)
        log_warn(
            "bus.stream_refused", "code=%d reason=%s", answer->err_code, log_quote(answer->text));
    bus_op_end(op, err);
}

static void update_done(struct nats_call *call, enum err err, const struct nats_inbound *inbound)
{
    struct nats_answer answer = {0};
    if (!err)
        err = nats_json_answer(inbound->data, &answer);
    if (!err)
        err = nats_json_err(&answer);
    /* 503: no JetStream there, or not yet. */
    stream_end(call->ctx, err == ERR_NOT_FOUND ? ERR_UNAVAILABLE : err, &answer);
}

static void create_done(struct nats_call *call, enum err err, const struct nats_inbound *inbound)
{
    static const char create[] = "$JS.API.STREAM.CREATE.";
    static const char update[] = "$JS.API.STREAM.UPDATE.";
    static_assert(sizeof(create) == sizeof(update), "one is written over the other");
    struct nats_answer answer = {0};
    if (err || nats_json_answer(inbound->data, &answer) != OK ||
        answer.err_code != NATS_STREAM_EXISTS) {
        update_done(call, err, inbound);
        return;
    }
    struct nats_call *next = nats_call_make(
        call->bus, call->subject, call->data, BUS_ACK_TIMEOUT_NS, update_done, call->ctx);
    memcpy(next->subject, update, sizeof(update) - 1);
    nats_call_send(next);
}

void nats_ensure_stream(struct bus *base, const struct bus_stream *stream, struct bus_op *op)
{
    char subject[BUS_SUBJECT_MAX];
    (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", stream->name);
    struct blob *body = nats_json_stream(stream);
    submit(base, subject, body, BUS_ACK_TIMEOUT_NS, create_done, op);
    blob_unref(body);
}
