/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory driver's client side: operations, subscriptions and received messages of one
 * connection. Single-threaded: bus_step() and all calls come from one thread.
 */
#include "replicator/bus_memory.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "replicator/bus_memory_hub.h"

static struct memory_bus *memory_of(struct bus *base)
{
    return CONTAINER_OF(base, struct memory_bus, bus);
}

static struct memory_msg *msg_of(struct bus_msg *msg)
{
    return CONTAINER_OF(msg, struct memory_msg, msg);
}

static void bus_unref(struct memory_bus *bus)
{
    if (--bus->refs == 0)
        mem_free(bus);
}

void memory_subscription_unref(struct bus_subscription *subscription)
{
    if (--subscription->refs > 0)
        return;
    mem_free(subscription->subject);
    mem_free(subscription->queue);
    mem_free(subscription->stream);
    mem_free(subscription->durable);
    mem_free(subscription);
}

/* ---- operations ---- */

static void fail_calls(struct memory_bus *bus)
{
    while (!list_empty(&bus->calls))
        memory_call_end(CONTAINER_OF(bus->calls.next, struct memory_call, link), ERR_UNAVAILABLE);
}

/** Starts an operation and sends its parcel, which it consumes. */
static void call_start(
    struct memory_bus *bus, struct memory_parcel *parcel, int64_t timeout_ns, struct bus_op *op)
{
    struct memory_call *call = mem_new(struct memory_call);
    call->bus = bus;
    call->op = op;
    call->token = memory_next_id(bus->hub);
    list_push_back(&bus->calls, &call->link);
    heap_set(&bus->hub->deadlines, &call->deadline, bus->hub->now_ns + timeout_ns);
    parcel->token = call->token;
    memory_transmit(bus->hub, parcel);
}

static void answer_receive(struct memory_bus *bus, const struct memory_parcel *parcel)
{
    for (struct list *at = bus->calls.next; at != &bus->calls; at = at->next) {
        struct memory_call *call = CONTAINER_OF(at, struct memory_call, link);
        if (call->token != parcel->token)
            continue;
        call->op->stream_seq = parcel->seq;
        call->op->reply = parcel->data ? blob_retain(parcel->data) : NULL;
        memory_call_end(call, parcel->err);
        return;
    }
}

static void memory_publish(
    struct bus *base, const char *subject, struct blob *data, struct bus_op *op)
{
    struct memory_bus *bus = memory_of(base);
    if (!bus->connected) {
        bus_op_end(op, ERR_UNAVAILABLE);
        return;
    }
    call_start(
        bus, memory_parcel_make(BUS_MEMORY_PUBLISH, bus, subject, data), BUS_ACK_TIMEOUT_NS, op);
}

static void memory_request(
    struct bus *base, const char *subject, struct blob *data, int64_t timeout_ns, struct bus_op *op)
{
    struct memory_bus *bus = memory_of(base);
    if (!bus->connected) {
        bus_op_end(op, ERR_UNAVAILABLE);
        return;
    }
    call_start(bus, memory_parcel_make(BUS_MEMORY_REQUEST, bus, subject, data), timeout_ns, op);
}

static void memory_ensure_stream(
    struct bus *base, const struct bus_stream *stream, struct bus_op *op)
{
    struct memory_bus *bus = memory_of(base);
    if (!bus->connected) {
        bus_op_end(op, ERR_UNAVAILABLE);
        return;
    }
    struct memory_parcel *parcel = memory_parcel_make(BUS_MEMORY_ENSURE, bus, "", NULL);
    parcel->stream = *stream;
    parcel->stream.name = mem_strdup(stream->name);
    parcel->stream.subjects = mem_strdup(stream->subjects);
    call_start(bus, parcel, BUS_ACK_TIMEOUT_NS, op);
}

static enum err memory_send(struct bus *base, const char *subject, struct bytes data)
{
    struct memory_bus *bus = memory_of(base);
    if (!bus->connected)
        return ERR_UNAVAILABLE;
    struct blob *blob = blob_from(data);
    memory_transmit(bus->hub, memory_parcel_make(BUS_MEMORY_SEND, bus, subject, blob));
    blob_unref(blob);
    return OK;
}

/* ---- received messages ---- */

static void msg_free(struct memory_msg *msg)
{
    struct memory_bus *bus = memory_of(msg->msg.bus);
    if (msg->subscription)
        memory_subscription_unref(msg->subscription);
    blob_unref(msg->data);
    mem_free(msg->subject);
    mem_free(msg);
    bus_unref(bus);
}

static struct bus_subscription *find_subscription(struct memory_bus *bus, uint64_t id)
{
    for (struct list *at = bus->subscriptions.next; at != &bus->subscriptions; at = at->next) {
        struct bus_subscription *subscription = CONTAINER_OF(at, struct bus_subscription, link);
        if (subscription->id == id)
            return subscription;
    }
    return NULL;
}

static void deliver_receive(struct memory_bus *bus, const struct memory_parcel *parcel)
{
    struct bus_subscription *subscription = find_subscription(bus, parcel->subscription);
    if (!subscription)
        return;
    /* A redelivery that overtook the receiver: it comes again after its ack_wait. */
    if (parcel->consumer && subscription->outstanding >= subscription->window)
        return;
    struct memory_msg *msg = mem_new(struct memory_msg);
    bus->refs++;
    msg->data = blob_retain(parcel->data);
    msg->subject = mem_strdup(parcel->subject);
    msg->consumer = parcel->consumer;
    msg->requester = parcel->requester;
    msg->token = parcel->token;
    msg->msg.mail.deliver = subscription->deliver;
    msg->msg.ctx = subscription->ctx;
    msg->msg.bus = &bus->bus;
    msg->msg.subject = msg->subject;
    msg->msg.data = blob_view(msg->data);
    msg->msg.stream_seq = parcel->seq;
    msg->msg.deliveries = parcel->consumer ? parcel->deliveries : 1;
    msg->msg.wants_reply = parcel->requester != 0;
    if (!parcel->consumer) {
        if (mailbox_post(subscription->mailbox, &msg->msg.mail) != OK)
            msg_free(msg);
        return;
    }
    subscription->refs++;
    subscription->outstanding++;
    msg->subscription = subscription;
    if (!list_empty(&subscription->held) ||
        mailbox_post(subscription->mailbox, &msg->msg.mail) != OK)
        list_push_back(&subscription->held, &msg->held);
}

void memory_client_receive(struct memory_bus *bus, struct memory_parcel *parcel)
{
    if (parcel->kind == BUS_MEMORY_ANSWER)
        answer_receive(bus, parcel);
    else
        deliver_receive(bus, parcel);
}

size_t memory_client_offer(struct memory_bus *bus)
{
    size_t taken = 0;
    for (struct list *at = bus->subscriptions.next; at != &bus->subscriptions; at = at->next) {
        struct bus_subscription *subscription = CONTAINER_OF(at, struct bus_subscription, link);
        while (!list_empty(&subscription->held)) {
            struct memory_msg *msg = CONTAINER_OF(subscription->held.next, struct memory_msg, held);
            if (mailbox_post(subscription->mailbox, &msg->msg.mail) != OK)
                break;
            list_remove(&msg->held);
            taken++;
        }
    }
    return taken;
}

/** Tells the server, when there is a connection. */
static void tell(struct memory_msg *msg, enum memory_verdict verdict, int64_t delay_ns)
{
    struct memory_bus *bus = memory_of(msg->msg.bus);
    if (bus->closed || !bus->connected || !msg->consumer)
        return;
    struct memory_parcel *parcel = memory_parcel_make(BUS_MEMORY_SETTLE, bus, msg->subject, NULL);
    parcel->consumer = msg->consumer;
    parcel->seq = msg->msg.stream_seq;
    parcel->verdict = verdict;
    parcel->delay_ns = delay_ns;
    memory_transmit(bus->hub, parcel);
}

/** Frees the message and its place in the window. */
static void settle(struct memory_msg *msg)
{
    struct memory_bus *bus = memory_of(msg->msg.bus);
    if (msg->subscription) {
        CHECK(msg->subscription->outstanding > 0);
        msg->subscription->outstanding--;
    }
    if (!bus->closed)
        bus->hub->dirty = true;
    msg_free(msg);
}

static void memory_ack(struct bus_msg *msg)
{
    tell(msg_of(msg), VERDICT_ACK, 0);
    settle(msg_of(msg));
}

static void memory_nak(struct bus_msg *msg, int64_t delay_ns)
{
    tell(msg_of(msg), VERDICT_NAK, delay_ns);
    settle(msg_of(msg));
}

static void memory_msg_drop(struct bus_msg *msg)
{
    settle(msg_of(msg));
}

static void memory_in_progress(struct bus_msg *msg)
{
    if (msg_of(msg)->subscription)
        tell(msg_of(msg), VERDICT_IN_PROGRESS, msg_of(msg)->subscription->ack_wait_ns);
}

static void memory_respond(struct bus_msg *base, struct bytes data)
{
    struct memory_msg *msg = msg_of(base);
    struct memory_bus *bus = memory_of(base->bus);
    if (!bus->closed && bus->connected) {
        struct blob *blob = blob_from(data);
        struct memory_parcel *parcel =
            memory_parcel_make(BUS_MEMORY_RESPOND, bus, msg->subject, blob);
        blob_unref(blob);
        parcel->requester = msg->requester;
        parcel->token = msg->token;
        memory_transmit(bus->hub, parcel);
    }
    settle(msg);
}

/* ---- subscriptions ---- */

static struct bus_subscription *subscription_make(
    struct memory_bus *bus, struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx)
{
    struct bus_subscription *subscription = mem_new(struct bus_subscription);
    subscription->refs = 1;
    subscription->bus = bus;
    subscription->id = memory_next_id(bus->hub);
    subscription->mailbox = mailbox;
    subscription->deliver = deliver;
    subscription->ctx = ctx;
    list_init(&subscription->held);
    list_push_back(&bus->subscriptions, &subscription->link);
    bus->hub->dirty = true;
    return subscription;
}

static enum err memory_consume(struct bus *base, const struct bus_consumer_options *options,
    struct bus_subscription **ret_subscription)
{
    struct bus_subscription *subscription =
        subscription_make(memory_of(base), options->mailbox, options->deliver, options->ctx);
    subscription->stream = mem_strdup(options->stream);
    subscription->durable = mem_strdup(options->durable);
    subscription->window = options->window_messages;
    subscription->ack_wait_ns = options->ack_wait_ns;
    *ret_subscription = subscription;
    return OK;
}

static enum err memory_subscribe(struct bus *base, const char *subject, const char *queue,
    struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx,
    struct bus_subscription **ret_subscription)
{
    struct bus_subscription *subscription =
        subscription_make(memory_of(base), mailbox, deliver, ctx);
    subscription->subject = mem_strdup(subject);
    subscription->queue = mem_strdup(queue);
    *ret_subscription = subscription;
    return OK;
}

static void memory_unsubscribe(struct bus_subscription *subscription)
{
    list_remove(&subscription->link);
    while (!list_empty(&subscription->held)) {
        struct memory_msg *msg = CONTAINER_OF(subscription->held.next, struct memory_msg, held);
        list_remove(&msg->held);
        memory_nak(&msg->msg, 0);
    }
    memory_subscription_unref(subscription);
}

/* ---- connection ---- */

static bool memory_connected(struct bus *base)
{
    return memory_of(base)->connected;
}

static int64_t memory_payload_max(struct bus *base)
{
    struct memory_bus *bus = memory_of(base);
    return bus->closed ? BUS_PAYLOAD_DEFAULT : bus->hub->payload_max;
}

void bus_memory_set_connected(struct bus *base, bool connected)
{
    struct memory_bus *bus = memory_of(base);
    if (bus->connected == connected)
        return;
    bus->connected = connected;
    bus->generation++;
    bus->hub->dirty = true;
    if (!connected)
        fail_calls(bus);
}

static void memory_close(struct bus *base)
{
    struct memory_bus *bus = memory_of(base);
    bus_memory_set_connected(base, false);
    bus->closed = true;
    while (!list_empty(&bus->subscriptions))
        memory_unsubscribe(CONTAINER_OF(bus->subscriptions.next, struct bus_subscription, link));
    list_remove(&bus->link);
    bus_unref(bus);
}

static size_t memory_step(struct bus *base, int64_t now_ns)
{
    return bus_memory_step(memory_of(base)->hub, now_ns);
}

static const struct bus_ops memory_ops = {
    .close = memory_close,
    .connected = memory_connected,
    .payload_max = memory_payload_max,
    .ensure_stream = memory_ensure_stream,
    .publish = memory_publish,
    .consume = memory_consume,
    .ack = memory_ack,
    .nak = memory_nak,
    .in_progress = memory_in_progress,
    .send = memory_send,
    .subscribe = memory_subscribe,
    .unsubscribe = memory_unsubscribe,
    .request = memory_request,
    .respond = memory_respond,
    .msg_drop = memory_msg_drop,
    .step = memory_step,
};

struct bus *bus_memory_open(struct bus_memory_hub *hub)
{
    struct memory_bus *bus = mem_new(struct memory_bus);
    bus->bus.ops = &memory_ops;
    bus->refs = 1;
    bus->connected = true;
    bus->id = memory_next_id(hub);
    bus->hub = hub;
    list_init(&bus->subscriptions);
    list_init(&bus->calls);
    list_push_back(&hub->connections, &bus->link);
    return &bus->bus;
}
