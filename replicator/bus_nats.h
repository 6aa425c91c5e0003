/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the NATS driver, shared by bus_nats*.c; nobody else includes it.
 *
 * Threading: everything here belongs to the I/O thread of the bus unless said otherwise. Other
 * threads only fill in a command and hand it to nats_bus_command().
 */
#ifndef REPLICATOR_BUS_NATS_H
#define REPLICATOR_BUS_NATS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/heap.h"
#include "cluster/base/list.h"
#include "cluster/base/mailbox.h"
#include "cluster/base/map.h"
#include "cluster/base/thread.h"
#include "replicator/bus_driver.h"
#include "replicator/bus_nats_link.h"

#define NATS_INBOX_SIZE 64u

/** Something due at a time; embedded in its owner. */
struct nats_timer {
    struct heap_node node; /* first: the heap gives it back */
    void (*fire)(struct nats_timer *timer);
};

struct nats_bus {
    struct bus bus;
    _Atomic(uint32_t) refs;  /* the opener's, and one per received message */
    _Atomic(bool) connected; /* what other threads may know */
    _Atomic(bool) closed;    /* bus_close() was called: no more commands */
    _Atomic(int64_t) payload_max;
    _Atomic(size_t) queued_bytes; /* of broadcasts and answers among the commands */
    struct nats_link *link;
    struct mailbox *commands;
    struct thread *thread;
    /* The I/O thread's own. */
    int64_t now_ns;
    struct heap timers;
    struct map calls; /* by token */
    uint64_t token_last;
    char inbox[NATS_INBOX_SIZE]; /* "_INBOX.<random>" */
    struct nats_inbox *replies;
    struct list subscriptions;
    uint32_t subscription_last;
    int64_t backoff_ns;
    int64_t connect_at_ns;
    bool complained; /* about the break under way */
};

/** Runs `mail` on the I/O thread. Any thread; not after bus_close(). */
void nats_bus_command(struct nats_bus *bus, struct mail *mail);
void nats_bus_ref(struct nats_bus *bus);
void nats_bus_unref(struct nats_bus *bus);
void nats_timer_set(struct nats_bus *bus, struct nats_timer *timer, int64_t at_ns);
void nats_timer_stop(struct nats_bus *bus, struct nats_timer *timer);

/* ---- calls (bus_nats_call.c): one message out, one answer in ---- */

struct nats_call;
/** `inbound` is the answer; NULL when `err` is not OK. ERR_NOT_FOUND: nobody listens. */
typedef void nats_call_done(
    struct nats_call *call, enum err err, const struct nats_inbound *inbound);

struct nats_call {
    struct mail mail; /* as a command */
    struct nats_timer timer;
    struct nats_bus *bus;
    uint64_t token; /* its key among the calls; 0 = not sent */
    int64_t timeout_ns;
    struct blob *data;
    nats_call_done *done; /* exactly once; the call is freed right after */
    void *ctx;            /* of done */
    char subject[];
};

/** A call with a reference to `data`; not yet sent. Any thread. */
struct nats_call *nats_call_make(struct nats_bus *bus, const char *subject, struct blob *data,
    int64_t timeout_ns, nats_call_done *done, void *ctx);
/** Sends; `done` comes later, or at once when not connected. */
void nats_call_send(struct nats_call *call);
/** Forgets the call without `done`. */
void nats_call_cancel(struct nats_call *call);
/** Ends all calls under way with ERR_UNAVAILABLE. */
void nats_calls_fail(struct nats_bus *bus);
/** The callback of the inbox for answers. */
void nats_calls_inbound(void *ctx, const struct nats_inbound *inbound);

void nats_ensure_stream(struct bus *base, const struct bus_stream *stream, struct bus_op *op);
void nats_publish(struct bus *base, const char *subject, struct blob *data, struct bus_op *op);
void nats_request(struct bus *base, const char *subject, struct blob *data, int64_t timeout_ns,
    struct bus_op *op);

/* ---- messages (bus_nats_msg.c) ---- */

/** A message at, or on its way to, its receiver. */
struct nats_msg {
    struct bus_msg msg;                /* msg.mail carries the way back as well */
    struct bus_subscription *consumer; /* referenced; NULL for broadcasts and requests */
    struct list held;                  /* while the receiver's mailbox is full */
    const char *reply;                 /* "" when nobody waits */
    const char *verdict;               /* what to tell the server: "+ACK", …; NULL = nothing */
    int64_t delay_ns;                  /* of a nak */
    char text[];                       /* subject, reply, data */
};

struct nats_msg *nats_msg_make(
    struct bus_subscription *subscription, const struct nats_inbound *inbound);
/** Frees a message that was not, or is no longer, anybody's. */
void nats_msg_free(struct nats_msg *msg);
/** Posts to the subscription's mailbox. ERR_BUSY: full; ERR_CLOSED: unsubscribed. */
enum err nats_msg_post(struct nats_msg *msg, struct bus_subscription *subscription);

void nats_ack(struct bus_msg *msg);
void nats_nak(struct bus_msg *msg, int64_t delay_ns);
void nats_in_progress(struct bus_msg *msg);
void nats_respond(struct bus_msg *msg, struct bytes data);
void nats_msg_drop(struct bus_msg *msg);
enum err nats_send(struct bus *base, const char *subject, struct bytes data);

/* ---- subscriptions (bus_nats_sub.c) and durable consumers (bus_nats_consumer.c) ---- */

struct nats_consumer {
    struct nats_timer timer;
    struct nats_call *bind; /* creating the consumer; NULL otherwise */
    bool pulling;           /* bound: requests may go out */
    int64_t requested;      /* messages asked for and not yet received */
    int64_t unacked;        /* received and not yet settled, held ones included */
    int64_t heard_ns;       /* last sign of life for our pull requests */
    int64_t bind_at_ns;     /* when neither pulling nor binding */
    int64_t backoff_ns;
    enum err complaint; /* logged last */
    struct list held;
};

struct bus_subscription {
    _Atomic(uint32_t) refs;
    pthread_mutex_t lock; /* guards `closed` and is held while posting */
    bool closed;          /* bus_unsubscribe() was called */
    struct mail start;
    struct mail stop;
    struct list link; /* in bus->subscriptions */
    struct nats_bus *bus;
    struct nats_inbox *inbox;
    struct mailbox *mailbox;
    mail_deliver_fn *deliver;
    void *ctx;
    bool durable_consumer;
    char *subject; /* what is subscribed; of a consumer, where pull requests are answered */
    char *queue;
    /* Durable consumers. */
    char *stream;
    char *durable;
    uint32_t window;
    int64_t ack_wait_ns;
    struct nats_consumer consumer;
};

enum err nats_consume(struct bus *base, const struct bus_consumer_options *options,
    struct bus_subscription **ret_subscription);
enum err nats_subscribe(struct bus *base, const char *subject, const char *queue,
    struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx,
    struct bus_subscription **ret_subscription);
void nats_unsubscribe(struct bus_subscription *subscription);
void nats_subscription_unref(struct bus_subscription *subscription);
/** The connection came up: subscribes again. */
void nats_subscriptions_up(struct nats_bus *bus);
/** The connection is about to be given up. */
void nats_subscriptions_down(struct nats_bus *bus);

void nats_consumer_up(struct bus_subscription *subscription);
void nats_consumer_down(struct bus_subscription *subscription);
/** Naks and frees what is held. */
void nats_consumer_stop(struct bus_subscription *subscription);
void nats_consumer_inbound(void *ctx, const struct nats_inbound *inbound);
/** A message was settled: there may be room for more. */
void nats_consumer_settled(struct bus_subscription *subscription);

#endif
