/* SPDX-License-Identifier: Apache-2.0
 *
 * A bus to test, of either driver, with what a caller has around it: a mailbox, operations that
 * remember their end, and a receiver that keeps what it gets.
 *
 * Nothing sleeps: world_until() moves mail until a condition holds; the memory driver's clock jumps
 * to what is due next.
 */
#ifndef REPLICATOR_TESTS_BUS_FIXTURE_H
#define REPLICATOR_TESTS_BUS_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "replicator/bus.h"
#include "replicator/nats_process.h"

#define RECEIVED_MAX    20000u
#define CONNECTIONS_MAX 4u

struct world {
    bool memory; /* which driver */
    struct waker *waker;
    struct mailbox *mailbox; /* large */
    struct bus_memory_hub *hub;
    struct nats_process *server;
    char dir[64];
    const char *extra; /* server configuration */
    struct bus *connections[CONNECTIONS_MAX];
    size_t connection_count;
    struct bus *bus; /* the first connection */
    int64_t now_ns;
    unsigned names; /* for unique stream names */
};

/** A fresh broker and one connection, up. */
struct world *world_open(bool memory, const char *extra);
/** Closes all connections, then the broker. */
void world_close(struct world *world);
/** One more connection, up; closed with the world. */
struct bus *world_connect(struct world *world);
void world_disconnect_all(struct world *world);
/** The broker dies without warning; it comes back with what it had stored. */
void world_crash(struct world *world);
void world_restart(struct world *world);
void world_delete_stream(struct world *world, const char *name);
/** Moves mail until `done(ctx)`; fails the test when that takes too long. */
void world_until(struct world *world, bool (*done)(void *ctx), void *ctx);
/** Moves what is there for a moment: to see that something does not happen. */
void world_quiet(struct world *world);
/** Moves what is there, once; at most `max` mails of the large mailbox. */
size_t world_move(struct world *world, size_t max);

/** An operation that remembers its end. */
struct test_op {
    struct bus_op op;
    unsigned ends;
};

void test_op_init(struct world *world, struct test_op *op);
/** Waits for the end, which must come once; returns the error. */
enum err test_op_await(struct world *world, struct test_op *op);
/** Publishes text and waits. */
enum err publish_text(struct world *world, const char *subject, const char *text);
/** The name of a fresh stream on subjects "<name>.>"; lives until the next call. */
const char *make_stream(struct world *world, int64_t bytes_max, bool work_queue);
/** Same shape again. */
void make_stream_again(struct world *world, const char *name, int64_t bytes_max, bool work_queue);

/** What a subscription received, in order. */
struct receiver {
    struct bus_msg *kept[RECEIVED_MAX]; /* NULL once settled */
    char text[RECEIVED_MAX][16];        /* the start of the data */
    uint32_t deliveries[RECEIVED_MAX];
    uint64_t seqs[RECEIVED_MAX];
    size_t count;
    bool ack;           /* acknowledge at once */
    const char *answer; /* respond at once */
    size_t wanted;      /* of receiver_has */
    int64_t number_max; /* largest number a text began with */
};

struct receiver *receiver_make(void);
void receiver_free(struct receiver *receiver);
void receiver_deliver(struct mail *mail, void *owner);
bool receiver_has(void *ctx);
/** Waits until `count` messages came in all. */
void receiver_await(struct world *world, struct receiver *receiver, size_t count);
struct bus_subscription *consume(struct world *world, struct bus *bus, const char *stream,
    const char *durable, uint32_t window, int64_t ack_wait_ns, struct receiver *receiver);
struct bus_subscription *subscribe(struct world *world, struct bus *bus, const char *subject,
    const char *queue, struct receiver *receiver);

#endif
