/* SPDX-License-Identifier: Apache-2.0
 *
 * Subscriptions of all kinds: opening, closing, surviving the connection.
 *
 *   any thread                          I/O thread
 *   nats_subscribe/consume ── start ──► run_start: into the list, inbox when connected
 *   nats_unsubscribe ──────── stop ───► run_stop: out of the list, freed with its last message
 *
 * nats_unsubscribe() itself only sets `closed` under the lock that posting takes: so no mail is
 * posted after it returned, although the I/O thread learns of it later.
 */
#include <stdio.h>

#include "cluster/base/mem.h"
#include "replicator/bus_nats.h"

void nats_subscription_unref(struct bus_subscription *subscription)
{
    if (atomic_fetch_sub(&subscription->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&subscription->lock);
    mem_free(subscription->subject);
    mem_free(subscription->queue);
    mem_free(subscription->stream);
    mem_free(subscription->durable);
    mem_free(subscription);
}

/** A broadcast or a request. */
static void plain_inbound(void *ctx, const struct nats_inbound *inbound)
{
    struct bus_subscription *subscription = ctx;
    struct nats_msg *msg = nats_msg_make(subscription, inbound);
    msg->msg.deliveries = 1;
    msg->msg.wants_reply = inbound->reply != NULL;
    /* Held back by nobody: the sender's rate bounds nothing. A requester runs into its timeout. */
    if (nats_msg_post(msg, subscription) != OK)
        nats_msg_free(msg);
}

static void subscription_up(struct bus_subscription *subscription)
{
    struct nats_link *link = subscription->bus->link;
    bool bounded = !subscription->durable_consumer;
    CHECK(!subscription->inbox);
    subscription->inbox = nats_inbox_open(link, subscription->subject, subscription->queue, bounded,
        bounded ? plain_inbound : nats_consumer_inbound, subscription);
    if (subscription->inbox && subscription->durable_consumer)
        nats_consumer_up(subscription);
}

static void subscription_down(struct bus_subscription *subscription)
{
    nats_inbox_close(subscription->inbox);
    subscription->inbox = NULL;
    if (subscription->durable_consumer)
        nats_consumer_down(subscription);
}

void nats_subscriptions_up(struct nats_bus *bus)
{
    for (struct list *at = bus->subscriptions.next; at != &bus->subscriptions; at = at->next)
        subscription_up(CONTAINER_OF(at, struct bus_subscription, link));
}

void nats_subscriptions_down(struct nats_bus *bus)
{
    for (struct list *at = bus->subscriptions.next; at != &bus->subscriptions; at = at->next)
        subscription_down(CONTAINER_OF(at, struct bus_subscription, link));
}

static void run_start(struct mail *mail, void *owner)
{
    struct nats_bus *bus = owner;
    struct bus_subscription *subscription = CONTAINER_OF(mail, struct bus_subscription, start);
    list_push_back(&bus->subscriptions, &subscription->link);
    if (subscription->durable_consumer) {
        char subject[NATS_INBOX_SIZE + 16];
        (void)snprintf(subject, sizeof(subject), "%s.c.%u", bus->inbox, ++bus->subscription_last);
        subscription->subject = mem_strdup(subject);
        list_init(&subscription->consumer.held);
    }
    if (atomic_load(&bus->connected))
        subscription_up(subscription);
}

static void run_stop(struct mail *mail, void *owner)
{
    (void)owner;
    struct bus_subscription *subscription = CONTAINER_OF(mail, struct bus_subscription, stop);
    list_remove(&subscription->link);
    if (subscription->durable_consumer)
        nats_consumer_stop(subscription);
    subscription_down(subscription);
    nats_subscription_unref(subscription);
}

/* ---- any thread ---- */

static struct bus_subscription *subscription_make(
    struct bus *base, struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx)
{
    struct bus_subscription *subscription = mem_new(struct bus_subscription);
    atomic_init(&subscription->refs, 1);
    pthread_mutex_init(&subscription->lock, NULL);
    subscription->start.deliver = run_start;
    subscription->stop.deliver = run_stop;
    subscription->bus = CONTAINER_OF(base, struct nats_bus, bus);
    subscription->mailbox = mailbox;
    subscription->deliver = deliver;
    subscription->ctx = ctx;
    return subscription;
}

enum err nats_consume(struct bus *base, const struct bus_consumer_options *options,
    struct bus_subscription **ret_subscription)
{
    struct bus_subscription *subscription =
        subscription_make(base, options->mailbox, options->deliver, options->ctx);
    subscription->durable_consumer = true;
    subscription->stream = mem_strdup(options->stream);
    subscription->durable = mem_strdup(options->durable);
    subscription->window = options->window_messages;
    subscription->ack_wait_ns = options->ack_wait_ns;
    *ret_subscription = subscription;
    nats_bus_command(subscription->bus, &subscription->start);
    return OK;
}

enum err nats_subscribe(struct bus *base, const char *subject, const char *queue,
    struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx,
    struct bus_subscription **ret_subscription)
{
    struct bus_subscription *subscription = subscription_make(base, mailbox, deliver, ctx);
    subscription->subject = mem_strdup(subject);
    subscription->queue = mem_strdup(queue);
    *ret_subscription = subscription;
    nats_bus_command(subscription->bus, &subscription->start);
    return OK;
}

void nats_unsubscribe(struct bus_subscription *subscription)
{
    pthread_mutex_lock(&subscription->lock);
    subscription->closed = true;
    pthread_mutex_unlock(&subscription->lock);
    nats_bus_command(subscription->bus, &subscription->stop);
}
