/* SPDX-License-Identifier: Apache-2.0
 *
 * State of the peer service, shared by peer*.c.
 */
#ifndef REPLICATOR_PEER_PRIVATE_H
#define REPLICATOR_PEER_PRIVATE_H

#include "cluster/base/list.h"
#include "replicator/peer.h"

/* First byte of the tokens of FetchHistory; then the event id and the offset in the page, both
 * big-endian. */
#define PEER_TOKEN_PAGE  'P' /* the page was complete: the next one begins there */
#define PEER_TOKEN_CHUNK 'C' /* the same page goes on */

struct peer {
    struct replicator *replicator;
    struct list calls; /* struct peer_call */
    struct bus_subscription *subscription;
    struct counter *requests;
};

/** Who gets an answer. Heap; freed with the answer. */
struct responder {
    struct replicator *replicator;
    struct bus_msg *message;
};

#endif
