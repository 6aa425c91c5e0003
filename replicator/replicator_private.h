/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the replicator share. All of it belongs to the replication thread, except what
 * says otherwise.
 */
#ifndef REPLICATOR_REPLICATOR_PRIVATE_H
#define REPLICATOR_REPLICATOR_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cluster/base/limits.h"
#include "cluster/base/mailbox.h"
#include "cluster/store/store.h"
#include "replicator/apply.h"
#include "replicator/bus.h"
#include "replicator/replicator.h"

struct inbound;
struct lane;
struct metadata;
struct peer;
struct progress;
struct publisher;
struct receiver;
struct watch;

struct replicator {
    struct replicator_options options;
    const struct env *env;
    struct store *store;
    const struct federation *federation;
    const char *self; /* our cluster's name */
    struct bus *bus;  /* our own NATS; NULL = this cluster is alone */
    struct engine *engine;
    struct mailbox *mailbox;
    struct peer_handlers handlers;
    int64_t epoch;   /* of our sequence space */
    int64_t mono_ns; /* of this step */
    bool started;    /* subscriptions are made */
    bool closing;    /* only frees what comes in */
    int64_t stop_mono_ns;
    size_t under_way; /* store operations and shard work of ours */
    _Atomic(bool) stopping;
    _Atomic(bool) idle;
    /* Guards what other threads look at: watermarks of lanes and inbounds, lag, barriers. Written
     * by the replication thread only, held for moments, never across a call of others. */
    pthread_mutex_t mutex;
    struct publisher *publisher;
    struct receiver *receiver;
    struct progress *progress;
    struct metadata *metadata;
    struct peer *peer;
    struct apply *apply;
    struct watch *watch;
};

static inline bool replicator_stopping(const struct replicator *replicator)
{
    return atomic_load(&replicator->stopping);
}

static inline const char *cluster_name(const struct replicator *replicator, int cluster)
{
    return replicator->federation->clusters[cluster].name;
}

static inline struct bus *cluster_bus(const struct replicator *replicator, int cluster)
{
    return replicator->federation->clusters[cluster].bus;
}

/** The earlier of two moments. */
static inline int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/** Messages are only packed, never written through. */
static inline ProtobufCBinaryData binary_of(struct bytes view)
{
    return (ProtobufCBinaryData){view.len, (uint8_t *)(uintptr_t)view.data};
}

static inline struct bytes bytes_from(ProtobufCBinaryData data)
{
    return bytes_make(data.data, data.len);
}

static inline char *text_field(const char *text)
{
    return (char *)(uintptr_t)text;
}

/** Reads 16 bytes; false for any other length. */
bool uuid_from(ProtobufCBinaryData data, struct uuid *ret_uuid);

/** Submits a store operation of ours; replicator_store_done() must be the first thing its delivery
 *  does. */
void replicator_store(struct replicator *replicator, struct store_op *op, mail_deliver_fn *deliver);
void replicator_store_done(struct replicator *replicator);

/* watch.c: metrics, and what other threads ask. */
struct watch *watch_open(struct replicator *replicator);
void watch_close(struct watch *watch);
int64_t watch_step(struct watch *watch, int64_t mono_now_ns);
/** A sign of life of a cluster. */
void watch_heard(struct watch *watch, int cluster);
void watch_status(struct watch *watch, int cluster, const Replication__StatusReply *status);

#endif
