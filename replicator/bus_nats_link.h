/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to a NATS server, without blocking calls once it is up: the only file that knows
 * the client library. See the .c for how the library is used and which of its traps are avoided.
 *
 * Everything runs on the I/O thread of the bus except nats_link_wake().
 */
#ifndef REPLICATOR_BUS_NATS_LINK_H
#define REPLICATOR_BUS_NATS_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "replicator/bus.h"

struct nats_link;
struct nats_inbox; /* one subscribed subject pattern */

/** A message as it came from the server; everything lives until the callback returns. */
struct nats_inbound {
    const char *subject;
    const char *reply; /* NULL when nobody waits */
    struct bytes data;
    int status;              /* of a message without data: 100, 404, 408, 409, 503; 0 = none */
    const char *description; /* text of the status, or NULL */
    int64_t pending;         /* how many messages an ended pull request did not get; -1 unknown */
};
typedef void nats_inbound_fn(void *ctx, const struct nats_inbound *inbound);

/** Checks the options; does not connect. ERR_CONFIG fills ret_reason. */
NODISCARD enum err nats_link_open(
    const struct bus_nats_options *options, struct nats_link **ret_link, char ret_reason[256]);
/** Disconnected and without inboxes. After the end of the I/O thread. */
void nats_link_close(struct nats_link *link);

/** Tries each configured server once; blocks up to 2 seconds per server that does not answer. */
NODISCARD enum err nats_link_connect(struct nats_link *link);
/** Gives the connection up. Every inbox must be closed before. Harmless when not connected. */
void nats_link_disconnect(struct nats_link *link);
bool nats_link_up(struct nats_link *link);
/** The text of the last failure; lives until the next call. */
const char *nats_link_errmsg(struct nats_link *link);
/** The server's limit; while connected only. */
int64_t nats_link_payload_max(struct nats_link *link);
/** When the server was last heard. Pings go out by themselves, so silence means trouble. */
int64_t nats_link_heard_ns(struct nats_link *link);

/** Hands out what was received since, up to `max` messages, to the inboxes' callbacks. */
size_t nats_link_dispatch(struct nats_link *link, size_t max);
/** Writes what is buffered. A nats_link_wake() after this is not lost, so the caller looks for work
 *  between this and nats_link_wait(). */
void nats_link_prepare(struct nats_link *link);
/** Sleeps until there is something to do: received data, inbound messages, a wake, room for
 *  buffered output; at most `timeout_ns`. Reads what came. */
void nats_link_wait(struct nats_link *link, int64_t timeout_ns);
/** Ends a nats_link_wait(), or the next one. Any thread. */
void nats_link_wake(struct nats_link *link);

/** Buffers a message. Failures are not reported: the connection is then down, or soon will be. */
void nats_link_publish(
    struct nats_link *link, const char *subject, const char *reply, struct bytes data);
/** Bytes not yet taken by the system. */
size_t nats_link_buffered(struct nats_link *link);

/** `bounded`: messages may be dropped when they come faster than they are taken. NULL on failure;
 *  lost with the connection, but must be closed all the same. */
NODISCARD struct nats_inbox *nats_inbox_open(struct nats_link *link, const char *subject,
    const char *queue, bool bounded, nats_inbound_fn *fn, void *ctx);
/** No callback after this. NULL is ignored. */
void nats_inbox_close(struct nats_inbox *inbox);

#endif
