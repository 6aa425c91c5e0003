/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the memory broker: bus_memory.c is the clients' side, bus_memory_hub.c the network,
 * bus_memory_stream.c the server. Nobody else includes it.
 *
 * Everything on its way refers to connections, subscriptions and consumers by number, never by
 * pointer: what is gone when it arrives is simply not found.
 */
#ifndef REPLICATOR_BUS_MEMORY_HUB_H
#define REPLICATOR_BUS_MEMORY_HUB_H

#include "cluster/base/heap.h"
#include "cluster/base/list.h"
#include "cluster/base/ordered_map.h"
#include "replicator/bus_driver.h"
#include "replicator/bus_memory.h"

enum memory_verdict { VERDICT_ACK, VERDICT_NAK, VERDICT_IN_PROGRESS };

/* Something on its way. Which fields count depends on the kind. */
struct memory_parcel {
    uint8_t key[16]; /* due time and number, big endian: the order of arrival */
    enum bus_memory_kind kind;
    uint64_t connection;
    uint64_t generation;   /* to a client: dropped when the connection broke since */
    uint64_t token;        /* the operation to be answered */
    uint64_t subscription; /* DELIVER */
    uint64_t requester;    /* DELIVER of a request, RESPOND: who waits */
    uint64_t consumer;     /* DELIVER of a stream message, SETTLE; 0 = none */
    uint64_t seq;          /* in the stream */
    uint32_t deliveries;
    enum memory_verdict verdict;
    int64_t delay_ns; /* SETTLE: until it is due again */
    enum err err;     /* ANSWER */
    struct blob *data;
    struct bus_stream stream; /* ENSURE; strings owned */
    char *subject;
};

struct memory_message {
    uint64_t seq;
    struct blob *data;
    char *subject;
};

struct memory_stream {
    struct list link;
    char *name;
    char *pattern;
    int64_t bytes_max;
    int64_t bytes;
    bool work_queue;
    uint64_t last_seq;
    struct ordered_map messages; /* by sequence, big endian */
    struct list consumers;
};

/* Delivered and not acknowledged. */
struct memory_pending {
    struct list link;
    uint64_t seq;
    uint32_t deliveries;
    int64_t due_ns; /* delivered again then */
};

struct memory_consumer {
    struct list link;
    uint64_t id;
    char *durable;
    uint64_t next_seq;
    int64_t due_ns_min; /* nothing pending is due before */
    size_t pending_count;
    struct list pending; /* oldest delivery first */
};

struct memory_bus {
    struct bus bus;
    struct list link;
    uint32_t refs; /* the opener's, and one per received message */
    bool closed;
    bool connected;
    uint64_t id;
    uint64_t generation;
    struct bus_memory_hub *hub;
    struct list subscriptions;
    struct list calls; /* in the order of their start */
};

/* An operation under way. */
struct memory_call {
    struct heap_node deadline; /* first: the heap gives it back */
    struct list link;
    struct memory_bus *bus;
    uint64_t token;
    struct bus_op *op;
};

struct bus_subscription {
    struct list link;
    struct memory_bus *bus;
    uint32_t refs; /* its own, and one per stream message received */
    uint64_t id;
    bool closed;
    char *subject;
    char *queue;
    struct mailbox *mailbox;
    mail_deliver_fn *deliver;
    void *ctx;
    /* Durable consumers; `stream` is NULL otherwise. */
    char *stream;
    char *durable;
    uint32_t window;
    int64_t ack_wait_ns;
    uint32_t outstanding; /* received and not settled */
    struct list held;     /* while the mailbox is full */
};

struct memory_msg {
    struct bus_msg msg;
    struct list held;
    struct bus_subscription *subscription; /* referenced; stream messages only */
    uint64_t consumer;
    uint64_t requester;
    uint64_t token;
    struct blob *data;
    char *subject;
};

/* The "server" and the network around it. */
struct bus_memory_hub {
    int64_t now_ns;
    int64_t payload_max;
    uint64_t id_last;
    bool dirty; /* consumers may have something to deliver */
    struct list connections;
    struct list streams;
    struct ordered_map transit; /* parcels by arrival */
    struct heap deadlines;      /* of calls */
    uint64_t rotation;          /* of queue groups */
    bus_memory_judge_fn *judge;
    void *judge_ctx;
};

/* ---- network (bus_memory_hub.c) ---- */

uint64_t memory_next_id(struct bus_memory_hub *hub);
struct memory_parcel *memory_parcel_make(enum bus_memory_kind kind, struct memory_bus *connection,
    const char *subject, struct blob *data);
/** Consumes the parcel: sends it, as often and as late as the judge says. */
void memory_transmit(struct bus_memory_hub *hub, struct memory_parcel *parcel);
/** NULL when it is gone. */
struct memory_bus *memory_connection(struct bus_memory_hub *hub, uint64_t id);
/** Ends the call. */
void memory_call_end(struct memory_call *call, enum err err);

/* ---- server (bus_memory_stream.c) ---- */

/** Takes what arrived at the server; the parcel stays the caller's. */
void memory_server_receive(struct bus_memory_hub *hub, struct memory_parcel *parcel);
/** Sends what consumers with room may have. */
void memory_server_deliver(struct bus_memory_hub *hub);
/** When the first redelivery is due. */
int64_t memory_server_due_ns(struct bus_memory_hub *hub);
void memory_stream_free(struct memory_stream *stream);

/* ---- client (bus_memory.c) ---- */

/** Takes what arrived at the client; the parcel stays the caller's. */
void memory_client_receive(struct memory_bus *bus, struct memory_parcel *parcel);
/** Offers held messages again; returns how many were taken. */
size_t memory_client_offer(struct memory_bus *bus);
void memory_subscription_unref(struct bus_subscription *subscription);

#endif
