/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus between clusters and between nodes: what Strait needs of NATS JetStream, as a contract
 * with two drivers (bus_nats.c, bus_memory.c).
 *
 * One `struct bus` is one connection to one NATS deployment. All results come back as mail to the
 * mailbox the caller names; no callback ever runs caller code on a library thread. A bus that lost
 * its connection reconnects forever by itself; operations in flight then end with
 * ERR_UNAVAILABLE (outcome unknown), never silently.
 *
 * The bus may lose, duplicate, delay and reorder, and a stream may lose its tail or be deleted:
 * the callers' protocol (replicator/README.md) must not depend on anything else.
 */
#ifndef REPLICATOR_BUS_H
#define REPLICATOR_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "cluster/base/mailbox.h"

struct bus;

/** A received message: stream delivery, broadcast or request. Owned by the receiver, who ends it
 *  with bus_ack, bus_nak (stream), bus_respond (request) or bus_msg_drop. */
struct bus_msg {
    struct mail mail; /* deliver = the subscription's deliver */
    void *ctx;        /* the subscription's ctx */
    struct bus *bus;
    const char *subject; /* lives as long as the message */
    struct bytes data;
    uint64_t stream_seq; /* 0 for broadcasts and requests; never used for order or dedupe */
    uint32_t deliveries; /* 1 = first delivery */
    bool wants_reply;    /* a request: bus_respond must be called, or the requester times out */
};

/** Outcome of a publish or request; embedded in the caller's struct, which lives until delivery. */
struct bus_op {
    struct mail mail; /* deliver = set by the caller */
    struct mailbox *reply_to;
    enum err err;        /* OK; ERR_BUSY stream full; ERR_UNAVAILABLE unknown; ERR_TIMEOUT;
                                   ERR_NOT_FOUND nobody listens / no such stream; ERR_TOO_LARGE;
                                   ERR_INVALID the server refuses it for good (logged) */
    struct blob *reply;  /* request: the answer, owned by the caller of bus_request */
    uint64_t stream_seq; /* publish: where it was stored */
};

/** A stream's shape. Discard policy is always "new": a full stream refuses, it never drops. */
struct bus_stream {
    const char *name;     /* e.g. "STRAIT_REPL_us_eu" */
    const char *subjects; /* one subject pattern, e.g. "strait.repl.us.eu.>" */
    int64_t bytes_max;    /* bound of the file storage */
    int32_t replicas;
    bool work_queue; /* acknowledged messages are removed */
};

/** A durable pull consumer. */
struct bus_consumer_options {
    const char *stream;
    const char *durable;
    uint32_t window_messages; /* at most so many delivered and not yet acknowledged */
    int64_t ack_wait_ns;      /* redelivery after this */
    struct mailbox *mailbox;  /* where messages go */
    mail_deliver_fn *deliver; /* called with &bus_msg->mail */
    void *ctx;                /* copied to bus_msg->ctx */
};

struct bus_subscription; /* consumer, broadcast subscription or served request subject */

struct bus_ops {
    void (*close)(struct bus *bus);
    bool (*connected)(struct bus *bus);
    int64_t (*payload_max)(struct bus *bus);
    /* Creates or updates the stream; idempotent; completion by `op`. ERR_INVALID when it exists in
     * a shape that cannot be changed into this one. */
    void (*ensure_stream)(struct bus *bus, const struct bus_stream *stream, struct bus_op *op);
    /* JetStream publish, acknowledged by the server. `data` is retained until the completion. */
    void (*publish)(struct bus *bus, const char *subject, struct blob *data, struct bus_op *op);
    /* Creates the durable consumer if needed and starts pulling; survives reconnects and the
     * re-creation of stream or consumer. The stream may come later. What a full mailbox does not
     * take is held, in order, and offered again; the window bounds it. */
    enum err (*consume)(struct bus *bus, const struct bus_consumer_options *options,
        struct bus_subscription **ret_subscription);
    void (*ack)(struct bus_msg *msg);                   /* consumes the message */
    void (*nak)(struct bus_msg *msg, int64_t delay_ns); /* consumes the message */
    void (*in_progress)(struct bus_msg *msg);           /* restarts ack_wait */
    /* Fire and forget to everybody subscribed now. ERR_UNAVAILABLE when not connected; ERR_BUSY
     * when too much is waiting to be sent; ERR_TOO_LARGE. */
    enum err (*send)(struct bus *bus, const char *subject, struct bytes data);
    /* Receives broadcasts and requests on a subject pattern; `queue` (may be NULL) shares the
     * subject between subscribers of one group. A full mailbox loses them. */
    enum err (*subscribe)(struct bus *bus, const char *subject, const char *queue,
        struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx,
        struct bus_subscription **ret_subscription);
    void (*unsubscribe)(struct bus_subscription *subscription);
    /* Request with one answer. Answers larger than the payload limit are the caller's to chunk. */
    void (*request)(struct bus *bus, const char *subject, struct blob *data, int64_t timeout_ns,
        struct bus_op *op);
    void (*respond)(struct bus_msg *msg, struct bytes data); /* consumes the message */
    void (*msg_drop)(struct bus_msg *msg);                   /* frees without acknowledging */
    /* Memory driver: makes due deliveries; returns how many. NULL in threaded drivers. */
    size_t (*step)(struct bus *bus, int64_t now_ns);
};

struct bus {
    const struct bus_ops *ops;
};

/** Options of a NATS connection; strings are copied. NULL = unset. */
struct bus_nats_options {
    const char *url;  /* one or several, comma-separated */
    const char *name; /* shown by the server */
    const char *user;
    const char *password;
    const char *token;
    const char *credentials_file;
    const char *nkey_seed_file;
    const char *tls_ca_file;
    const char *tls_cert_file;
    const char *tls_key_file;
};

/** Connects in the background; returns at once. ERR_CONFIG for unusable options only; the reason
 *  goes to ret_reason (static or arena-free buffer of 256 bytes given by the caller). */
NODISCARD enum err bus_nats_open(
    const struct bus_nats_options *options, struct bus **ret_bus, char ret_reason[256]);

/* More controls of the memory driver, for the simulator: bus_memory.h. */
struct bus_memory_hub; /* the "server": streams and subjects shared by its connections */
/** A fresh in-process broker; deterministic, single-threaded: bus_step() moves messages. */
struct bus_memory_hub *bus_memory_hub_open(void);
/** After its last connection. */
void bus_memory_hub_close(struct bus_memory_hub *hub);
struct bus *bus_memory_open(struct bus_memory_hub *hub);
/** Test faults: deletes a stream with its consumers; drops its newest `count` messages; cuts or
 *  restores one connection. */
void bus_memory_delete_stream(struct bus_memory_hub *hub, const char *name);
void bus_memory_truncate(struct bus_memory_hub *hub, const char *name, uint64_t count);
void bus_memory_set_connected(struct bus *bus, bool connected);

/* Checked wrappers: the only way callers reach a driver. */
/** Ends operations under way with ERR_UNAVAILABLE, by mail as always, and all subscriptions. No
 *  other call may be running or follow, except that messages still held, or still in a mailbox, may
 *  be settled or dropped later: that only frees them. NULL is ignored. */
void bus_close(struct bus *bus);
bool bus_connected(struct bus *bus);
int64_t bus_payload_max(struct bus *bus);
void bus_ensure_stream(struct bus *bus, const struct bus_stream *stream, struct bus_op *op);
void bus_publish(struct bus *bus, const char *subject, struct blob *data, struct bus_op *op);
NODISCARD enum err bus_consume(struct bus *bus, const struct bus_consumer_options *options,
    struct bus_subscription **ret_subscription);
void bus_ack(struct bus_msg *msg);
void bus_nak(struct bus_msg *msg, int64_t delay_ns);
void bus_in_progress(struct bus_msg *msg);
NODISCARD enum err bus_send(struct bus *bus, const char *subject, struct bytes data);
NODISCARD enum err bus_subscribe(struct bus *bus, const char *subject, const char *queue,
    struct mailbox *mailbox, mail_deliver_fn *deliver, void *ctx,
    struct bus_subscription **ret_subscription);
/** After it returns no further mail is posted; mail already in the mailbox still arrives. */
void bus_unsubscribe(struct bus *bus, struct bus_subscription *subscription);
void bus_request(
    struct bus *bus, const char *subject, struct blob *data, int64_t timeout_ns, struct bus_op *op);
void bus_respond(struct bus_msg *msg, struct bytes data);
void bus_msg_drop(struct bus_msg *msg);
size_t bus_step(struct bus *bus, int64_t now_ns);

#endif
