/* SPDX-License-Identifier: Apache-2.0
 *
 * What operators and other parts may know: lanes, clusters, losses, barriers; and the gauges.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/map.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/publisher.h"
#include "replicator/receiver.h"

#define GAUGES_NS       (2 * NS_PER_S)
#define STATUS_NS       (30 * NS_PER_S)
#define GAUGES_MAX      512u /* lanes that are shown as metrics */
#define DISCONNECTED_NS (10 * NS_PER_S)

/** The gauges of one lane. */
struct lane_gauges {
    struct gauge *seconds;
    struct gauge *events;
    char key[];
};

struct watch {
    struct replicator *replicator;
    int64_t gauges_mono;
    int64_t status_mono;
    struct map lanes; /* labels -> struct lane_gauges */
    struct gauge **outbox;
    struct {
        _Atomic(int64_t) heard_mono;
        char server_version[64]; /* under the mutex */
        int32_t shards;
    } * clusters;
};

/* ---- signs of life --------------------------------------------------------------------------- */

void watch_heard(struct watch *watch, int cluster)
{
    atomic_store(&watch->clusters[cluster].heard_mono, watch->replicator->mono_ns);
}

void watch_status(struct watch *watch, int cluster, const Replication__StatusReply *status)
{
    pthread_mutex_lock(&watch->replicator->mutex);
    snprintf(watch->clusters[cluster].server_version,
        sizeof(watch->clusters[cluster].server_version), "%s", status->server_version);
    watch->clusters[cluster].shards = (int32_t)status->n_shards;
    pthread_mutex_unlock(&watch->replicator->mutex);
}

/** A question to one cluster. */
struct status_call {
    struct watch *watch;
    int cluster;
};

static void status_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct status_call *call = ctx;
    struct arena arena CLEANUP(arena_release) = {0};
    const Replication__StatusReply *status = NULL;
    if (!err && response->grpc_code == GRPC_OK)
        status = proto_unpack(
            &arena, &replication__status_reply__descriptor, bytes_from(response->body));
    if (status)
        watch_status(call->watch, call->cluster, status);
    else
        call->watch->status_mono = 0; /* soon again */
    mem_free(call);
}

static void ask_status(struct watch *watch)
{
    struct replicator *replicator = watch->replicator;
    for (int i = 0; i < replicator->federation->count; i++) {
        struct bus *bus = cluster_bus(replicator, i);
        if (i == replicator->federation->self || !bus || !bus_connected(bus))
            continue;
        Replication__Status status;
        replication__status__init(&status);
        Replication__PeerRequest request;
        replication__peer_request__init(&request);
        request.body_case = REPLICATION__PEER_REQUEST__BODY_STATUS;
        request.status = &status;
        struct status_call *call = mem_new(struct status_call);
        call->watch = watch;
        call->cluster = i;
        replicator_peer_call(replicator, i, &request, 5 * NS_PER_S, status_answered, call);
    }
}

void replicator_cluster(
    struct replicator *replicator, int cluster, struct replication_cluster *ret_cluster)
{
    const struct watch *watch = replicator->watch;
    struct bus *bus = cluster_bus(replicator, cluster);
    *ret_cluster = (struct replication_cluster){.connected = bus && bus_connected(bus),
        .heard_mono_ns = atomic_load(&watch->clusters[cluster].heard_mono)};
    if (cluster == replicator->federation->self) {
        ret_cluster->shards = replicator->options.shards;
        return;
    }
    pthread_mutex_lock(&replicator->mutex);
    ret_cluster->shards = watch->clusters[cluster].shards;
    memcpy(ret_cluster->server_version, watch->clusters[cluster].server_version,
        sizeof(ret_cluster->server_version));
    pthread_mutex_unlock(&replicator->mutex);
}

/* ---- failover -------------------------------------------------------------------------------- */

int32_t replicator_barriers(struct replicator *replicator, int target, const char *handover_id)
{
    pthread_mutex_lock(&replicator->mutex);
    int32_t count = publisher_barriers(replicator->publisher, target, handover_id);
    pthread_mutex_unlock(&replicator->mutex);
    return count;
}

int64_t replicator_dead_letters(struct replicator *replicator, struct uuid namespace_id)
{
    return uuid_is_zero(namespace_id) ? apply_dead_letters(replicator->apply)
                                      : apply_dead_letters_of(replicator->apply, namespace_id);
}

size_t replicator_losses(struct replicator *replicator, int source, struct arena *arena,
    Replication__ShardLoss ***ret_losses)
{
    pthread_mutex_lock(&replicator->mutex);
    int32_t shards = replicator->receiver->sources[source].count;
    Replication__ShardLoss **losses = arena_zalloc(arena, (size_t)shards + 1, sizeof(*losses));
    size_t count = 0;
    for (int32_t i = 0; i < shards; i++) {
        const struct inbound *inbound = replicator->receiver->sources[source].shards[i];
        if (!inbound)
            continue;
        Replication__ShardLoss *loss = arena_new(arena, Replication__ShardLoss);
        replication__shard_loss__init(loss);
        loss->shard = i;
        loss->applied_seq = inbound->applied;
        loss->applied_time = inbound->applied_ns;
        loss->known_seq = inbound->newest;
        loss->known_time = inbound->newest_ns;
        losses[count++] = loss;
    }
    pthread_mutex_unlock(&replicator->mutex);
    *ret_losses = losses;
    return count;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

const char *lane_state_text(enum lane_state state)
{
    switch (state) {
    case LANE_OK:
        return "ok";
    case LANE_WAITING:
        return "waiting";
    case LANE_DISCONNECTED:
        return "disconnected";
    }
    return "unknown";
}

static int64_t age_ms(const struct replicator *replicator, int64_t since_ns)
{
    int64_t age_ns = since_ns ? env_wall_ns(replicator->env) - since_ns : 0;
    return age_ns > 0 ? age_ns / NS_PER_MS : 0;
}

static bool is_connected(struct replicator *replicator, int cluster)
{
    struct bus *bus = cluster_bus(replicator, cluster);
    int64_t heard = atomic_load(&replicator->watch->clusters[cluster].heard_mono);
    return bus && bus_connected(bus) && heard &&
           env_monotonic_ns(replicator->env) - heard < DISCONNECTED_NS;
}

static void outgoing(struct replicator *replicator, int target, struct replication_lane *lane)
{
    struct lane_lag lag;
    pthread_mutex_lock(&replicator->mutex);
    publisher_lag(replicator->publisher, target, lane->namespace_id, &lag);
    pthread_mutex_unlock(&replicator->mutex);
    lane->source = replicator->self;
    lane->target = cluster_name(replicator, target);
    lane->lag_events = lag.events;
    lane->lag_ms = age_ms(replicator, lag.oldest_ns);
    lane->outbox_rows = lag.rows;
    lane->applied_seq = lag.applied_seq;
    lane->newest_seq = lag.newest_seq;
    if (!is_connected(replicator, target))
        lane->state = LANE_DISCONNECTED;
    else
        lane->state = lag.waiting ? LANE_WAITING : LANE_OK;
}

/* What a source has for us: rows are not told apart by namespace before they are here. */
static void incoming(struct replicator *replicator, int source, struct replication_lane *lane)
{
    int64_t oldest = 0;
    pthread_mutex_lock(&replicator->mutex);
    const struct receiver *receiver = replicator->receiver;
    for (int32_t i = 0; i < receiver->sources[source].count; i++) {
        const struct inbound *inbound = receiver->sources[source].shards[i];
        if (!inbound)
            continue;
        lane->applied_seq += inbound->applied;
        lane->newest_seq += inbound->newest;
        if (inbound->newest <= inbound->drained)
            continue;
        lane->outbox_rows += inbound->newest - inbound->drained;
        if (inbound->applied_ns && (!oldest || inbound->applied_ns < oldest))
            oldest = inbound->applied_ns;
    }
    pthread_mutex_unlock(&replicator->mutex);
    lane->source = cluster_name(replicator, source);
    lane->target = replicator->self;
    lane->lag_events = lane->outbox_rows;
    lane->lag_ms = age_ms(replicator, oldest);
    lane->state = is_connected(replicator, source) ? LANE_OK : LANE_DISCONNECTED;
}

static size_t namespace_lanes(
    struct replicator *replicator, const Record__Namespace *record, struct replication_lane *lanes)
{
    size_t count = 0;
    bool here = strcmp(record->active_cluster, replicator->self) == 0;
    for (size_t i = 0; i < record->n_clusters; i++) {
        int other = federation_find(replicator->federation, record->clusters[i]);
        if (other < 0 || other == replicator->federation->self)
            continue;
        bool there = strcmp(record->active_cluster, record->clusters[i]) == 0;
        struct replication_lane lane = {.namespace_name = record->name};
        (void)uuid_from(record->id, &lane.namespace_id); /* the registry's records have 16 bytes */
        struct replication_lane out = lane;
        outgoing(replicator, other, &out);
        if (here || out.lag_events > 0)
            lanes[count++] = out;
        if (!there)
            continue;
        incoming(replicator, other, &lane);
        lanes[count++] = lane;
    }
    return count;
}

size_t replicator_lanes(struct replicator *replicator, struct arena *arena,
    struct uuid namespace_id, struct replication_lane **ret_lanes)
{
    Record__Namespace **records;
    size_t total = registry_list(replicator->options.registry, arena, &records);
    size_t max = 0;
    for (size_t i = 0; i < total; i++)
        max += 2 * records[i]->n_clusters;
    struct replication_lane *lanes = arena_zalloc(arena, max + 1, sizeof(*lanes));
    size_t count = 0;
    for (size_t i = 0; i < total; i++) {
        struct uuid id;
        if (records[i]->n_clusters < 2 || !uuid_from(records[i]->id, &id) ||
            (!uuid_is_zero(namespace_id) && !uuid_equal(id, namespace_id)))
            continue;
        count += namespace_lanes(replicator, records[i], &lanes[count]);
    }
    *ret_lanes = lanes;
    return count;
}

/* ---- gauges ---------------------------------------------------------------------------------- */

static struct lane_gauges *gauges_of(struct watch *watch, const struct replication_lane *lane)
{
    char labels[640];
    snprintf(labels, sizeof(labels), "namespace=\"%s\",source=\"%s\",target=\"%s\"",
        lane->namespace_name, lane->source, lane->target);
    struct lane_gauges *gauges = map_get(&watch->lanes, bytes_of(labels));
    if (gauges || watch->lanes.count >= GAUGES_MAX)
        return gauges;
    struct metrics *metrics = watch->replicator->options.metrics;
    size_t len = strlen(labels) + 1;
    gauges = mem_zalloc(1, sizeof(*gauges) + len);
    memcpy(gauges->key, labels, len);
    gauges->seconds = metrics_gauge(metrics, "strait_replication_lag_seconds", labels,
        "Age of the oldest change that the target has not drained.");
    gauges->events = metrics_gauge(metrics, "strait_replication_lag_events", labels,
        "History events that the target has not drained.");
    map_put(&watch->lanes, bytes_of(gauges->key), gauges);
    return gauges;
}

static void set_gauges(struct watch *watch)
{
    struct replicator *replicator = watch->replicator;
    struct arena arena CLEANUP(arena_release) = {0};
    struct replication_lane *lanes;
    size_t count = replicator_lanes(replicator, &arena, (struct uuid){{0}}, &lanes);
    for (size_t i = 0; i < count; i++) {
        struct lane_gauges *gauges = gauges_of(watch, &lanes[i]);
        if (!gauges)
            continue;
        gauge_set(gauges->seconds, (double)lanes[i].lag_ms / 1000.0);
        gauge_set(gauges->events, (double)lanes[i].lag_events);
    }
    for (int i = 0; i < replicator->federation->count; i++) {
        if (!watch->outbox[i])
            continue;
        struct lane_lag lag;
        pthread_mutex_lock(&replicator->mutex);
        publisher_lag(replicator->publisher, i, (struct uuid){{0}}, &lag);
        pthread_mutex_unlock(&replicator->mutex);
        gauge_set(watch->outbox[i], (double)lag.rows);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct watch *watch_open(struct replicator *replicator)
{
    struct watch *watch = mem_new(struct watch);
    size_t count = (size_t)replicator->federation->count;
    watch->replicator = replicator;
    watch->clusters = mem_zalloc(count, sizeof(*watch->clusters));
    watch->outbox = mem_zalloc(count, sizeof(struct gauge *));
    for (int i = 0; i < replicator->federation->count; i++) {
        if (i == replicator->federation->self)
            continue;
        char labels[160];
        snprintf(labels, sizeof(labels), "target=\"%s\"", cluster_name(replicator, i));
        watch->outbox[i] = metrics_gauge(replicator->options.metrics, "strait_outbox_rows", labels,
            "Committed rows that the target has not drained.");
    }
    return watch;
}

void watch_close(struct watch *watch)
{
    size_t cursor = 0;
    for (struct lane_gauges *gauges = map_next(&watch->lanes, &cursor); gauges;
         gauges = map_next(&watch->lanes, &cursor))
        mem_free(gauges);
    map_release(&watch->lanes);
    mem_free(watch->clusters);
    mem_free(watch->outbox);
    mem_free(watch);
}

int64_t watch_step(struct watch *watch, int64_t now)
{
    if (replicator_stopping(watch->replicator))
        return INT64_MAX;
    if (now >= watch->gauges_mono) {
        watch->gauges_mono = now + GAUGES_NS;
        set_gauges(watch);
        if (now >= watch->status_mono) {
            watch->status_mono = now + STATUS_NS;
            ask_status(watch);
        }
    }
    return watch->gauges_mono;
}
