/* SPDX-License-Identifier: Apache-2.0
 *
 * A durable pull consumer: keeps pull requests at the server, so that a new message travels at
 * once, and never asks for more than the window has room for.
 *
 *            nats_consumer_up()            bind_done(OK)
 *   offline ───────────────────► binding ───────────────► pulling
 *      ▲                          ▲   ▲ │ refused: backoff    │
 *      │                          │   └─┘                     │ consumer or stream gone, silence:
 *      │ nats_consumer_down()     └───────────────────────────┘ rebind()
 *      └── from every state
 *
 * P1  requested + unacked <= window, as far as the server tells the truth; its max_ack_pending
 *     holds the same line, so a wrong count on our side cannot flood us.
 * P2  While there is room, at least one request is at the server: it lives for a random time, so
 *     that two of them do not end together, and a quarter of the window is asked for as soon as it
 *     is free.
 * P3  The server beats every second on behalf of a request. Silence means that the request is lost
 *     (a consumer deleted with its stream, a leader gone): then the consumer is created again,
 *     which changes nothing when it is still there.
 * P4  What the receiver's mailbox does not take is held, in order, and offered again shortly. The
 *     window bounds it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "replicator/bus_nats.h"
#include "replicator/bus_nats_json.h"

#define EXPIRES_MIN_NS  (20 * NS_PER_S)
#define EXPIRES_SPAN_NS (20 * NS_PER_S)
#define HEARTBEAT_NS    NS_PER_S
#define SILENCE_NS      (5 * NS_PER_S / 2)
#define BACKOFF_MIN_NS  (50 * NS_PER_MS)
#define BACKOFF_MAX_NS  NS_PER_S
#define OFFER_NS        (2 * NS_PER_MS)

static void pull(struct bus_subscription *subscription);
static void bind_consumer(struct bus_subscription *subscription);

/** Sets the timer to what comes first: offering held messages, noticing silence, binding again. */
static void schedule(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    int64_t at_ns = INT64_MAX;
    if (!list_empty(&consumer->held))
        at_ns = subscription->bus->now_ns + OFFER_NS;
    else if (consumer->pulling && consumer->requested > 0)
        at_ns = consumer->heard_ns + SILENCE_NS;
    else if (!consumer->pulling && !consumer->bind && subscription->inbox)
        at_ns = consumer->bind_at_ns;
    if (at_ns < INT64_MAX)
        nats_timer_set(subscription->bus, &consumer->timer, at_ns);
    else
        nats_timer_stop(subscription->bus, &consumer->timer);
}

/** Posts what is held until the mailbox is full again. */
static void offer(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    while (!list_empty(&consumer->held)) {
        struct nats_msg *msg = CONTAINER_OF(consumer->held.next, struct nats_msg, held);
        list_remove(&msg->held);
        enum err err = nats_msg_post(msg, subscription);
        if (!err)
            continue;
        /* Unsubscribed: run_stop() is on its way and naks it. */
        list_push_front(&consumer->held, &msg->held);
        return;
    }
}

static void tick(struct nats_timer *timer)
{
    struct nats_consumer *consumer = CONTAINER_OF(timer, struct nats_consumer, timer);
    struct bus_subscription *subscription =
        CONTAINER_OF(consumer, struct bus_subscription, consumer);
    int64_t now_ns = subscription->bus->now_ns;
    offer(subscription);
    bool silent = consumer->requested > 0 && now_ns - consumer->heard_ns >= SILENCE_NS;
    bool due = !consumer->pulling && now_ns >= consumer->bind_at_ns;
    if (subscription->inbox && !consumer->bind && (silent || due))
        bind_consumer(subscription);
    schedule(subscription);
}

/** Binds again after a while that doubles. */
static void rebind(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    consumer->pulling = false;
    consumer->requested = 0;
    consumer->bind_at_ns = subscription->bus->now_ns + consumer->backoff_ns;
    int64_t next_ns = consumer->backoff_ns * 2;
    consumer->backoff_ns = next_ns < BACKOFF_MAX_NS ? next_ns : BACKOFF_MAX_NS;
    schedule(subscription);
}

static void bind_done(struct nats_call *call, enum err err, const struct nats_inbound *inbound)
{
    struct bus_subscription *subscription = call->ctx;
    struct nats_consumer *consumer = &subscription->consumer;
    struct nats_answer answer = {0};
    consumer->bind = NULL;
    if (!err)
        err = nats_json_answer(inbound->data, &answer);
    if (!err)
        err = nats_json_err(&answer);
    if (err && err != consumer->complaint)
        log_warn("bus.consumer_refused", "stream=%s consumer=%s error=%s reason=%s",
            subscription->stream, subscription->durable, err_name(err), log_quote(answer.text));
    consumer->complaint = err;
    if (err) {
        rebind(subscription);
        return;
    }
    consumer->pulling = true;
    consumer->requested = 0;
    consumer->heard_ns = subscription->bus->now_ns;
    pull(subscription);
}

static void bind_consumer(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    char subject[BUS_SUBJECT_MAX];
    (void)snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s",
        subscription->stream, subscription->durable);
    struct blob *body = nats_json_consumer(subscription->stream, subscription->durable,
        subscription->window, subscription->ack_wait_ns);
    consumer->pulling = false;
    consumer->requested = 0;
    consumer->bind = nats_call_make(
        subscription->bus, subject, body, BUS_ACK_TIMEOUT_NS, bind_done, subscription);
    blob_unref(body);
    nats_call_send(consumer->bind);
}

/** P1, P2. */
static void pull(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    int64_t window = subscription->window;
    while (consumer->pulling) {
        int64_t room = window - consumer->requested - consumer->unacked;
        if (room <= 0 || (consumer->requested > 0 && room < (window + 3) / 4))
            break;
        int64_t half = (window + 1) / 2;
        int64_t batch = room < half ? room : half;
        int64_t expires_ns =
            EXPIRES_MIN_NS + (int64_t)env_random_below(env_system(), EXPIRES_SPAN_NS);
        char subject[BUS_SUBJECT_MAX];
        (void)snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
            subscription->stream, subscription->durable);
        char body[128];
        (void)snprintf(body, sizeof(body),
            "{\"batch\":%lld,\"expires\":%lld,\"idle_heartbeat\":%lld}", (long long)batch,
            (long long)expires_ns, (long long)HEARTBEAT_NS);
        nats_link_publish(subscription->bus->link, subject, subscription->subject, bytes_of(body));
        if (consumer->requested == 0)
            consumer->heard_ns = subscription->bus->now_ns;
        consumer->requested += batch;
    }
    schedule(subscription);
}

/* ---- what comes in ---- */

/** A status instead of a message: how a pull request fares. */
static void status_inbound(
    struct bus_subscription *subscription, const struct nats_inbound *inbound)
{
    struct nats_consumer *consumer = &subscription->consumer;
    if (!consumer->pulling)
        return;
    switch (inbound->status) {
    case 100: /* heartbeat */
        return;
    case 404: /* no messages */
    case 408: /* the request's time is over */
        if (inbound->pending >= 0 && inbound->pending <= consumer->requested)
            consumer->requested -= inbound->pending;
        else
            consumer->requested = 0;
        pull(subscription);
        return;
    default: /* 409: consumer deleted, leadership change, …; 503: no such consumer */
        rebind(subscription);
        return;
    }
}

/** Reads deliveries and stream sequence from the reply subject:
 *  $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>, or with
 *  <domain>.<account> before the stream and possibly more at the end. False when it is neither. */
static bool parse_reply(const char *reply, struct nats_msg *msg)
{
    const char *tokens[16] = {reply};
    size_t count = 1;
    for (const char *at = reply; *at && count < ARRAY_LEN(tokens); at++) {
        if (*at == '.')
            tokens[count++] = at + 1;
    }
    if (count != 9 && count < 11)
        return false;
    size_t first = count == 9 ? 4 : 6;
    unsigned long long deliveries = strtoull(tokens[first], NULL, 10);
    unsigned long long seq = strtoull(tokens[first + 1], NULL, 10);
    if (deliveries == 0 || seq == 0)
        return false;
    msg->msg.deliveries = deliveries < UINT32_MAX ? (uint32_t)deliveries : UINT32_MAX;
    msg->msg.stream_seq = seq;
    return true;
}

void nats_consumer_inbound(void *ctx, const struct nats_inbound *inbound)
{
    struct bus_subscription *subscription = ctx;
    struct nats_consumer *consumer = &subscription->consumer;
    bool is_message = inbound->reply && strncmp(inbound->reply, "$JS.ACK.", 8) == 0;
    consumer->heard_ns = subscription->bus->now_ns;
    if (!is_message) {
        if (inbound->status != 0)
            status_inbound(subscription, inbound);
        return; /* anything else was not sent by JetStream */
    }
    struct nats_msg *msg = nats_msg_make(subscription, inbound);
    if (!parse_reply(inbound->reply, msg)) {
        nats_msg_free(msg);
        return;
    }
    consumer->backoff_ns = BACKOFF_MIN_NS;
    if (consumer->requested > 0)
        consumer->requested--;
    consumer->unacked++;
    if (list_empty(&consumer->held) && nats_msg_post(msg, subscription) == OK)
        return;
    list_push_back(&consumer->held, &msg->held);
    schedule(subscription);
}

void nats_consumer_settled(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    CHECK(consumer->unacked > 0);
    consumer->unacked--;
    if (consumer->pulling)
        pull(subscription);
}

/* ---- connection and end ---- */

void nats_consumer_up(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    consumer->timer.fire = tick;
    consumer->backoff_ns = BACKOFF_MIN_NS;
    bind_consumer(subscription);
}

void nats_consumer_down(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    if (consumer->bind) {
        nats_call_cancel(consumer->bind);
        consumer->bind = NULL;
    }
    consumer->pulling = false;
    consumer->requested = 0;
    schedule(subscription);
}

void nats_consumer_stop(struct bus_subscription *subscription)
{
    struct nats_consumer *consumer = &subscription->consumer;
    while (!list_empty(&consumer->held)) {
        struct nats_msg *msg = CONTAINER_OF(consumer->held.next, struct nats_msg, held);
        list_remove(&msg->held);
        nats_nak(&msg->msg, 0);
    }
}
