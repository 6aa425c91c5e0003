/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON of JetStream: answers and configurations. Pure.
 */
#ifndef REPLICATOR_BUS_NATS_JSON_H
#define REPLICATOR_BUS_NATS_JSON_H

#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "replicator/bus.h"

/** An answer of the JetStream API or a publish acknowledgement. */
struct nats_answer {
    uint64_t seq;   /* publish: where it was stored */
    int code;       /* of the error, as in HTTP; 0 = none */
    int err_code;   /* the server's own number for the error */
    char text[160]; /* the error's description */
};

/* Server error numbers that are told apart. */
#define NATS_STREAM_NOT_FOUND 10059
#define NATS_STREAM_EXISTS    10058

/** ERR_CORRUPT when `data` is not an answer; OK also when it carries an error: see ret->code. */
NODISCARD enum err nats_json_answer(struct bytes data, struct nats_answer *ret_answer);
/** What the error means to a caller of the bus; OK when there is none. */
enum err nats_json_err(const struct nats_answer *answer);

/** The request body of STREAM.CREATE and STREAM.UPDATE. */
struct blob *nats_json_stream(const struct bus_stream *stream);
/** The request body of CONSUMER.DURABLE.CREATE. */
struct blob *nats_json_consumer(
    const char *stream, const char *durable, uint32_t window, int64_t ack_wait_ns);

#endif
