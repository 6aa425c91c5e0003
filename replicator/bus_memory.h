/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory broker's controls for tests and the simulator, beyond those in bus.h: who decides what
 * becomes of each message on its way, and when something is due.
 */
#ifndef REPLICATOR_BUS_MEMORY_H
#define REPLICATOR_BUS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replicator/bus.h"

enum bus_memory_kind {
    BUS_MEMORY_PUBLISH, /* to the server: store this */
    BUS_MEMORY_SEND,    /* to the server: a broadcast */
    BUS_MEMORY_REQUEST, /* to the server: a request */
    BUS_MEMORY_RESPOND, /* to the server: a service's answer */
    BUS_MEMORY_SETTLE,  /* to the server: ack, nak or in-progress */
    BUS_MEMORY_ENSURE,  /* to the server: a stream's shape */
    BUS_MEMORY_DELIVER, /* to a client: stream message, broadcast or request */
    BUS_MEMORY_ANSWER,  /* to a client: the end of one of its operations */
};

/** One message on one connection, in one direction. */
struct bus_memory_transmission {
    enum bus_memory_kind kind;
    struct bus *bus;     /* the client's side */
    const char *subject; /* "" where there is none */
    size_t len;          /* of the data */
};

#define BUS_MEMORY_COPIES_MAX 3u

/** What becomes of it: `copies` arrivals (0 = lost), each after its own delay. */
struct bus_memory_fate {
    uint32_t copies;
    int64_t delay_ns[BUS_MEMORY_COPIES_MAX];
};

typedef struct bus_memory_fate bus_memory_judge_fn(
    void *ctx, const struct bus_memory_transmission *transmission);

/** From now on `judge` decides; NULL: everything arrives once, in order, at the next step. */
void bus_memory_set_judge(struct bus_memory_hub *hub, bus_memory_judge_fn *judge, void *ctx);
/** Default 1 MiB. */
void bus_memory_set_payload_max(struct bus_memory_hub *hub, int64_t bytes_max);
/** Moves everything that is due; the same as bus_step() on any of its connections. */
size_t bus_memory_step(struct bus_memory_hub *hub, int64_t now_ns);
/** When the next step has something to do; INT64_MAX: not before somebody acts. */
int64_t bus_memory_due_ns(struct bus_memory_hub *hub);

#endif
