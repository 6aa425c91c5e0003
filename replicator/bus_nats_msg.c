/* SPDX-License-Identifier: Apache-2.0
 *
 * Received messages. One is made on the I/O thread, posted to the receiver's mailbox, and comes
 * back as a command when the receiver settles it; its memory carries the command.
 *
 * M1  A message holds a reference to the bus, so it may be dropped even after bus_close().
 * M2  A stream message holds a reference to its consumer, whose window it occupies until settled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "replicator/bus_nats.h"

/* Broadcasts and answers waiting for the I/O thread, and output waiting for the server. */
#define QUEUED_BYTES_MAX (16u * MIB)

static struct nats_bus *bus_of(struct bus_msg *msg)
{
    return CONTAINER_OF(msg->bus, struct nats_bus, bus);
}

static struct nats_msg *msg_of(struct bus_msg *msg)
{
    return CONTAINER_OF(msg, struct nats_msg, msg);
}

struct nats_msg *nats_msg_make(
    struct bus_subscription *subscription, const struct nats_inbound *inbound)
{
    const char *reply = inbound->reply ? inbound->reply : "";
    size_t subject_size = strlen(inbound->subject) + 1;
    size_t reply_size = strlen(reply) + 1;
    struct nats_msg *msg = mem_alloc(sizeof(*msg) + subject_size + reply_size + inbound->data.len);
    memset(msg, 0, sizeof(*msg));
    char *at = msg->text;
    memcpy(at, inbound->subject, subject_size);
    msg->msg.subject = at;
    at += subject_size;
    memcpy(at, reply, reply_size);
    msg->reply = at;
    at += reply_size;
    if (inbound->data.len > 0)
        memcpy(at, inbound->data.data, inbound->data.len);
    msg->msg.data = bytes_make(at, inbound->data.len);
    msg->msg.ctx = subscription->ctx;
    msg->msg.bus = &subscription->bus->bus;
    nats_bus_ref(subscription->bus);
    if (subscription->durable_consumer) {
        atomic_fetch_add(&subscription->refs, 1);
        msg->consumer = subscription;
    }
    return msg;
}

void nats_msg_free(struct nats_msg *msg)
{
    struct nats_bus *bus = bus_of(&msg->msg);
    if (msg->consumer)
        nats_subscription_unref(msg->consumer);
    mem_free(msg);
    nats_bus_unref(bus);
}

enum err nats_msg_post(struct nats_msg *msg, struct bus_subscription *subscription)
{
    msg->msg.mail.deliver = subscription->deliver;
    pthread_mutex_lock(&subscription->lock);
    enum err err =
        subscription->closed ? ERR_CLOSED : mailbox_post(subscription->mailbox, &msg->msg.mail);
    pthread_mutex_unlock(&subscription->lock);
    return err;
}

/* ---- the way back ---- */

static void run_verdict(struct mail *mail, void *owner)
{
    struct nats_bus *bus = owner;
    struct nats_msg *msg = msg_of(CONTAINER_OF(mail, struct bus_msg, mail));
    struct bus_subscription *consumer = msg->consumer;
    if (msg->verdict && msg->reply[0] && atomic_load(&bus->connected)) {
        char text[64];
        if (msg->delay_ns > 0)
            (void)snprintf(
                text, sizeof(text), "%s {\"delay\": %lld}", msg->verdict, (long long)msg->delay_ns);
        else
            (void)snprintf(text, sizeof(text), "%s", msg->verdict);
        nats_link_publish(bus->link, msg->reply, NULL, bytes_of(text));
    }
    if (consumer)
        nats_consumer_settled(consumer);
    nats_msg_free(msg);
}

static void settle(struct bus_msg *base, const char *verdict, int64_t delay_ns)
{
    struct nats_msg *msg = msg_of(base);
    struct nats_bus *bus = bus_of(base);
    if (atomic_load(&bus->closed)) {
        nats_msg_free(msg);
        return;
    }
    msg->verdict = verdict;
    msg->delay_ns = delay_ns;
    base->mail.deliver = run_verdict;
    nats_bus_command(bus, &base->mail);
}

void nats_ack(struct bus_msg *msg)
{
    settle(msg, "+ACK", 0);
}

void nats_nak(struct bus_msg *msg, int64_t delay_ns)
{
    settle(msg, "-NAK", delay_ns);
}

void nats_msg_drop(struct bus_msg *msg)
{
    if (msg_of(msg)->consumer)
        settle(msg, NULL, 0);
    else
        nats_msg_free(msg_of(msg));
}

/* ---- plain messages out ---- */

struct outgoing {
    struct mail mail;
    size_t len;
    const uint8_t *data;
    char subject[]; /* then the data */
};

static void run_outgoing(struct mail *mail, void *owner)
{
    struct nats_bus *bus = owner;
    struct outgoing *outgoing = CONTAINER_OF(mail, struct outgoing, mail);
    if (atomic_load(&bus->connected))
        nats_link_publish(
            bus->link, outgoing->subject, NULL, bytes_make(outgoing->data, outgoing->len));
    atomic_fetch_sub(&bus->queued_bytes, outgoing->len);
    mem_free(outgoing);
}

static enum err enqueue(struct nats_bus *bus, const char *subject, struct bytes data)
{
    if (!atomic_load(&bus->connected))
        return ERR_UNAVAILABLE;
    if (atomic_fetch_add(&bus->queued_bytes, data.len) > QUEUED_BYTES_MAX) {
        atomic_fetch_sub(&bus->queued_bytes, data.len);
        return ERR_BUSY;
    }
    size_t size = strlen(subject) + 1;
    struct outgoing *outgoing = mem_alloc(sizeof(*outgoing) + size + data.len);
    outgoing->mail = (struct mail){.deliver = run_outgoing};
    memcpy(outgoing->subject, subject, size);
    if (data.len > 0)
        memcpy(outgoing->subject + size, data.data, data.len);
    outgoing->data = (const uint8_t *)outgoing->subject + size;
    outgoing->len = data.len;
    nats_bus_command(bus, &outgoing->mail);
    return OK;
}

enum err nats_send(struct bus *base, const char *subject, struct bytes data)
{
    return enqueue(CONTAINER_OF(base, struct nats_bus, bus), subject, data);
}

void nats_respond(struct bus_msg *msg, struct bytes data)
{
    struct nats_bus *bus = bus_of(msg);
    if (!atomic_load(&bus->closed))
        (void)enqueue(bus, msg_of(msg)->reply, data); /* a lost answer is the requester's timeout */
    nats_msg_free(msg_of(msg));
}

void nats_in_progress(struct bus_msg *msg)
{
    struct nats_bus *bus = bus_of(msg);
    if (msg_of(msg)->consumer && !atomic_load(&bus->closed))
        (void)enqueue(bus, msg_of(msg)->reply, bytes_of("+WPI")); /* at worst it comes again */
}
