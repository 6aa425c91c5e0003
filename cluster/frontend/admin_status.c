/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known of this node, of the other clusters and of the way between them.
 */
#include "cluster/engine/executor.h"
#include "cluster/frontend/admin_private.h"
#include "replicator/replicator.h"

#define DEAD_LETTERS_DEFAULT 100
#define DEAD_LETTERS_MAX     1000

/* ---- clusters ------------------------------------------------------------------------------- */

static Admin__Cluster *show_cluster(struct admin_call *api, int index)
{
    const struct admin_options *options = &api->admin->options;
    const struct federation_cluster *from = &options->federation->clusters[index];
    struct replication_cluster known = {0};
    replicator_cluster(options->replicator, index, &known);
    Admin__Cluster *cluster = arena_new(&api->call->arena, Admin__Cluster);
    admin__cluster__init(cluster);
    cluster->name = admin_text(api->call, from->name);
    cluster->initial_version = from->initial_version;
    cluster->self = index == options->federation->self;
    cluster->address = admin_text(api->call, from->address ? from->address : "");
    cluster->connected = known.connected;
    cluster->last_heard_ms_ago = -1;
    if (cluster->self) {
        cluster->last_heard_ms_ago = 0;
        cluster->shards = engine_shard_count(options->engine);
        cluster->server_version = admin_text(api->call, options->server_version);
        cluster->database = admin_text(api->call, options->database);
        return cluster;
    }
    if (known.heard_mono_ns)
        cluster->last_heard_ms_ago =
            (env_monotonic_ns(options->env) - known.heard_mono_ns) / NS_PER_MS;
    cluster->shards = known.shards;
    cluster->server_version = admin_text(api->call, known.server_version);
    return cluster;
}

void admin_list_clusters(struct admin_call *api)
{
    int count = api->admin->options.federation->count;
    Admin__ListClustersResponse response;
    admin__list_clusters_response__init(&response);
    response.n_clusters = (size_t)count;
    response.clusters = arena_zalloc(&api->call->arena, (size_t)count, sizeof(*response.clusters));
    for (int i = 0; i < count; i++)
        response.clusters[i] = show_cluster(api, i);
    admin_reply(api->call, &response.base);
}

/* ---- replication ---------------------------------------------------------------------------- */

static Admin__Lane *show_lane(struct call *call, const struct replication_lane *from)
{
    Admin__Lane *lane = arena_new(&call->arena, Admin__Lane);
    admin__lane__init(lane);
    lane->namespace_ = admin_text(call, from->namespace_name);
    lane->source = admin_text(call, from->source);
    lane->target = admin_text(call, from->target);
    lane->lag_events = from->lag_events;
    lane->lag_ms = from->lag_ms;
    lane->outbox_rows = from->outbox_rows;
    lane->applied_seq = from->applied_seq;
    lane->newest_seq = from->newest_seq;
    lane->state = admin_text(call, lane_state_text(from->state));
    return lane;
}

void admin_replication_status(struct admin_call *api)
{
    const Admin__ReplicationStatusRequest *request = api->message;
    struct replicator *replicator = api->admin->options.replicator;
    struct arena *arena = &api->call->arena;
    struct uuid id = {{0}};
    if (*request->namespace_) {
        const Record__Namespace *record = admin_record(api, request->namespace_);
        if (!record)
            return;
        for (size_t i = 0; i < sizeof(id.bytes); i++)
            id.bytes[i] = record->id.data[i];
    }
    struct replication_lane *lanes;
    size_t count = replicator_lanes(replicator, arena, id, &lanes);
    Admin__ReplicationStatusResponse response;
    admin__replication_status_response__init(&response);
    response.dead_letters = replicator_dead_letters(replicator, id);
    response.n_lanes = count;
    response.lanes = arena_zalloc(arena, count + 1, sizeof(*response.lanes));
    for (size_t i = 0; i < count; i++)
        response.lanes[i] = show_lane(api->call, &lanes[i]);
    admin_reply(api->call, &response.base);
}

/* ---- dead letters --------------------------------------------------------------------------- */

static char *namespace_name(struct admin_call *api, ProtobufCBinaryData id)
{
    struct uuid uuid = {{0}};
    for (size_t i = 0; i < sizeof(uuid.bytes) && i < id.len; i++)
        uuid.bytes[i] = id.data[i];
    const Record__Namespace *record =
        registry_record_by_id(api->admin->options.registry, &api->call->arena, uuid);
    return record ? record->name : admin_uuid_text(api->call, id);
}

static Admin__DeadLetter *show_dead_letter(struct admin_call *api, const Record__DeadLetter *from)
{
    struct call *call = api->call;
    Admin__DeadLetter *letter = arena_new(&call->arena, Admin__DeadLetter);
    admin__dead_letter__init(letter);
    letter->source = admin_text(call, from->source);
    letter->shard = from->source_shard;
    letter->seq = from->seq;
    letter->index = from->index;
    letter->namespace_ = namespace_name(api, from->namespace_id);
    letter->workflow_id = admin_text(call, from->workflow_id);
    letter->run_id = admin_uuid_text(call, from->run_id);
    letter->reason = admin_text(call, from->reason);
    letter->detail = admin_text(call, from->detail);
    letter->time = from->time;
    return letter;
}

static void dead_letters_read(
    void *ctx, enum err err, Record__DeadLetter *const *items, size_t count)
{
    struct admin_call *api = ctx;
    if (err) {
        call_fail_err(api->call, err, "dead letters cannot be read: %s", err_text(err));
        return;
    }
    Admin__DeadLetterListResponse response;
    admin__dead_letter_list_response__init(&response);
    response.n_items = count;
    response.items = arena_zalloc(&api->call->arena, count + 1, sizeof(*response.items));
    for (size_t i = 0; i < count; i++)
        response.items[i] = show_dead_letter(api, items[i]);
    admin_reply(api->call, &response.base);
}

void admin_dead_letter_list(struct admin_call *api)
{
    const Admin__DeadLetterListRequest *request = api->message;
    if (request->limit < 0 || request->limit > DEAD_LETTERS_MAX) {
        fail_invalid(api->call, "limit must be 0 (the default) to %d", DEAD_LETTERS_MAX);
        return;
    }
    uint32_t limit = request->limit ? (uint32_t)request->limit : DEAD_LETTERS_DEFAULT;
    replicator_list_dead_letters(api->admin->options.replicator, limit, dead_letters_read, api);
}

/* ---- node ----------------------------------------------------------------------------------- */

void admin_node_status(struct admin_call *api)
{
    const struct admin_options *options = &api->admin->options;
    struct call *call = api->call;
    Admin__NodeStatusResponse response;
    admin__node_status_response__init(&response);
    response.cluster = admin_text(call, federation_self(options->federation));
    response.node_id = admin_text(call, options->node_id);
    response.server_version = admin_text(call, options->server_version);
    response.database = admin_text(call, options->database);
    response.uptime_ms = (env_monotonic_ns(options->env) - api->admin->started_mono_ns) / NS_PER_MS;
    response.ready = engine_is_ready(options->engine);
    response.shards = engine_shard_count(options->engine);
    response.shards_owned = response.ready ? response.shards : 0;
    admin_reply(call, &response.base);
}
