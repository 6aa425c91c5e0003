/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks that hold for every driver live here once: arguments that are our own mistake abort,
 * what depends on the server's limits is answered with ERR_TOO_LARGE.
 */
#include "replicator/bus.h"

#include <string.h>

#include "cluster/base/log.h"
#include "replicator/bus_driver.h"

#define NAME_MAX_BYTES 200u

void bus_op_end(struct bus_op *op, enum err err)
{
    struct mailbox *reply_to = op->reply_to;
    op->err = err;
    mailbox_complete(reply_to, &op->mail);
}

/** Tokens separated by dots, none empty; wildcards only in patterns. */
static bool subject_valid(const char *subject, bool pattern)
{
    size_t token = 0;
    size_t len = 0;
    for (; subject[len]; len++) {
        char c = subject[len];
        if (c <= ' ' || c == 0x7f || (!pattern && (c == '*' || c == '>')))
            return false;
        if (c == '.' && token == 0)
            return false;
        token = c == '.' ? 0 : token + 1;
    }
    return token > 0 && len <= BUS_SUBJECT_MAX;
}

/** A stream or consumer name is one token of the API's subjects. */
static bool name_valid(const char *name)
{
    return subject_valid(name, false) && !strchr(name, '.') && !strpbrk(name, "/\\\"") &&
           strlen(name) <= NAME_MAX_BYTES;
}

/** Prepares `op`; false when it ended already, because `data` is too large. */
static bool op_begin(struct bus *bus, struct blob *data, struct bus_op *op)
{
    CHECK(op->reply_to != NULL);
    CHECK(op->mail.deliver != NULL);
    op->err = OK;
    op->reply = NULL;
    op->stream_seq = 0;
    if (!data || data->len <= (size_t)bus_payload_max(bus))
        return true;
    bus_op_end(op, ERR_TOO_LARGE);
    return false;
}

void bus_close(struct bus *bus)
{
    if (bus)
        bus->ops->close(bus);
}

bool bus_connected(struct bus *bus)
{
    return bus->ops->connected(bus);
}

int64_t bus_payload_max(struct bus *bus)
{
    int64_t max = bus->ops->payload_max(bus);
    CHECK(max > 0);
    return max;
}

void bus_ensure_stream(struct bus *bus, const struct bus_stream *stream, struct bus_op *op)
{
    CHECK(name_valid(stream->name));
    CHECK(subject_valid(stream->subjects, true));
    CHECK(stream->bytes_max > 0);
    CHECK(stream->replicas >= 1);
    if (op_begin(bus, NULL, op))
        bus->ops->ensure_stream(bus, stream, op);
}

void bus_publish(struct bus *bus, const char *subject, struct blob *data, struct bus_op *op)
{
    CHECK(subject_valid(subject, false));
    CHECK(data != NULL);
    if (op_begin(bus, data, op))
        bus->ops->publish(bus, subject, data, op);
}

enum err bus_consume(struct bus *bus, const struct bus_consumer_options *options,
    struct bus_subscription **ret_subscription)
{
    CHECK(name_valid(options->stream));
    CHECK(name_valid(options->durable));
    CHECK(options->window_messages > 0);
    CHECK(options->ack_wait_ns > 0);
    CHECK(options->mailbox != NULL);
    CHECK(options->deliver != NULL);
    return bus->ops->consume(bus, options, ret_subscription);
}

void bus_ack(struct bus_msg *msg)
{
    msg->bus->ops->ack(msg);
}

void bus_nak(struct bus_msg *msg, int64_t delay_ns)
{
    CHECK(delay_ns >= 0);
    msg->bus->ops->nak(msg, delay_ns);
}

void bus_in_progress(struct bus_msg *msg)
{
    msg->bus->ops->in_progress(msg);
}

enum err bus_send(struct bus *bus, const char *subject, struct bytes data)
{
    CHECK(subject_valid(subject, false));
    if (data.len > (size_t)bus_payload_max(bus))
        return ERR_TOO_LARGE;
    return bus->ops->send(bus, subject, data);
}

enum err bus_subscribe(struct bus *bus, const char *subject, const char *queue,
    struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx,
    struct bus_subscription **ret_subscription)
{
    CHECK(subject_valid(subject, true));
    CHECK(!queue || name_valid(queue));
    CHECK(mailbox != NULL);
    CHECK(deliver != NULL);
    return bus->ops->subscribe(bus, subject, queue, mailbox, deliver, ctx, ret_subscription);
}

void bus_unsubscribe(struct bus *bus, struct bus_subscription *subscription)
{
    if (subscription)
        bus->ops->unsubscribe(subscription);
}

void bus_request(
    struct bus *bus, const char *subject, struct blob *data, int64_t timeout_ns, struct bus_op *op)
{
    CHECK(subject_valid(subject, false));
    CHECK(data != NULL);
    CHECK(timeout_ns > 0);
    if (op_begin(bus, data, op))
        bus->ops->request(bus, subject, data, timeout_ns, op);
}

void bus_respond(struct bus_msg *msg, struct bytes data)
{
    CHECK(msg->wants_reply);
    if (data.len <= (size_t)bus_payload_max(msg->bus)) {
        msg->bus->ops->respond(msg, data);
        return;
    }
    log_error("bus.answer_too_large", "subject=%s bytes=%zu", log_quote(msg->subject), data.len);
    msg->bus->ops->msg_drop(msg);
}

void bus_msg_drop(struct bus_msg *msg)
{
    if (msg)
        msg->bus->ops->msg_drop(msg);
}

size_t bus_step(struct bus *bus, int64_t now_ns)
{
    return bus->ops->step ? bus->ops->step(bus, now_ns) : 0;
}
