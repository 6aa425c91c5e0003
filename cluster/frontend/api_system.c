/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients ask about the server itself.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/frontend/frontend_private.h"
#include "cluster/visibility/visibility.h"
#include "proto/api_service_system.pb-c.h"

/* ---- system and cluster -------------------------------------------------------------------- */

void api_get_system_info(struct api_call *api)
{
    Api__GetSystemInfoResponse__Capabilities capabilities;
    api__get_system_info_response__capabilities__init(&capabilities);
    /* Only what works from end to end. */
    capabilities.signal_and_query_header = true;
    capabilities.internal_error_differentiation = true;
    capabilities.activity_failure_include_heartbeat = true;
    capabilities.encoded_failure_attributes = true;
    capabilities.upsert_memo = true;
    capabilities.sdk_metadata = true;
    capabilities.count_group_by_execution_status = true;
    Api__GetSystemInfoResponse response;
    api__get_system_info_response__init(&response);
    response.server_version = event_text(api->frontend->options.server_version);
    response.capabilities = &capabilities;
    api_reply(api->call, &response.base);
}

/* A cluster has no id but its name; clients want a UUID, always the same one. */
static char *cluster_id(struct arena *arena, const char *name)
{
    struct uuid id;
    for (size_t i = 0; i < sizeof(id.bytes); i += sizeof(uint64_t)) {
        uint64_t half = hash64(bytes_of(name), i);
        memcpy(id.bytes + i, &half, sizeof(half));
    }
    char *text = arena_alloc(arena, UUID_TEXT_LEN + 1);
    uuid_format(id, text);
    return text;
}

/* Versions of clients that speak this API. */
static const char *const supported_clients[][2] = {
    {"temporal-cli", "<2.0.0"},
    {"temporal-go", "<2.0.0"},
    {"temporal-java", "<2.0.0"},
    {"temporal-php", "<2.0.0"},
    {"temporal-server", "<2.0.0"},
    {"temporal-typescript", "<2.0.0"},
    {"temporal-ui", "<3.0.0"},
};

void api_get_cluster_info(struct api_call *api)
{
    struct frontend *frontend = api->frontend;
    const struct federation *federation = frontend->options.federation;
    struct arena *arena = &api->call->arena;
    Api__GetClusterInfoResponse response;
    api__get_cluster_info_response__init(&response);
    Api__GetClusterInfoResponse__SupportedClientsEntry entries[ARRAY_LEN(supported_clients)];
    Api__GetClusterInfoResponse__SupportedClientsEntry *pointers[ARRAY_LEN(supported_clients)];
    for (size_t i = 0; i < ARRAY_LEN(supported_clients); i++) {
        api__get_cluster_info_response__supported_clients_entry__init(&entries[i]);
        entries[i].key = event_text(supported_clients[i][0]);
        entries[i].value = event_text(supported_clients[i][1]);
        pointers[i] = &entries[i];
    }
    response.n_supported_clients = ARRAY_LEN(pointers);
    response.supported_clients = pointers;
    response.server_version = event_text(frontend->options.server_version);
    response.cluster_id = cluster_id(arena, frontend->cluster);
    response.cluster_name = event_text(frontend->cluster);
    response.history_shard_count = engine_shard_count(frontend->options.engine);
    response.persistence_store = event_text(store_driver_name(frontend->options.store));
    response.visibility_store = response.persistence_store;
    response.initial_failover_version = federation->clusters[federation->self].initial_version;
    response.failover_version_increment = federation->increment;
    api_reply(api->call, &response.base);
}

void api_list_clusters(struct api_call *api)
{
    struct frontend *frontend = api->frontend;
    const struct federation *federation = frontend->options.federation;
    struct arena *arena = &api->call->arena;
    size_t count = (size_t)federation->count;
    Api__ListClustersResponse response;
    api__list_clusters_response__init(&response);
    response.clusters = arena_zalloc(arena, count, sizeof(*response.clusters));
    response.n_clusters = count;
    for (size_t i = 0; i < count; i++) {
        const struct federation_cluster *cluster = &federation->clusters[i];
        Api__ClusterMetadata *shown = arena_new(arena, Api__ClusterMetadata);
        api__cluster_metadata__init(shown);
        bool self = (int)i == federation->self;
        shown->cluster_name = event_text(cluster->name);
        shown->cluster_id = cluster_id(arena, cluster->name);
        shown->address = event_text(cluster->address ? cluster->address : "");
        shown->initial_failover_version = cluster->initial_version;
        shown->history_shard_count = self ? engine_shard_count(frontend->options.engine) : 0;
        shown->is_connection_enabled = self || cluster->bus;
        shown->is_replication_enabled = self || cluster->bus;
        response.clusters[i] = shown;
    }
    api_reply(api->call, &response.base);
}

/* ---- search attributes --------------------------------------------------------------------- */

void api_get_search_attributes(struct api_call *api)
{
    typedef Api__GetSearchAttributesResponse__KeysEntry entry;
    struct arena *arena = &api->call->arena;
    size_t counts[2];
    const struct visibility_attribute *lists[2] = {
        visibility_system_attributes(&counts[0]), visibility_predefined_attributes(&counts[1])};
    Api__GetSearchAttributesResponse response;
    api__get_search_attributes_response__init(&response);
    response.keys = arena_zalloc(arena, counts[0] + counts[1], sizeof(entry *));
    for (size_t list = 0; list < ARRAY_LEN(lists); list++) {
        for (size_t i = 0; i < counts[list]; i++) {
            entry *key = arena_new(arena, entry);
            api__get_search_attributes_response__keys_entry__init(key);
            key->key = event_text(lists[list][i].name);
            key->value = lists[list][i].type;
            response.keys[response.n_keys++] = key;
        }
    }
    api_reply(api->call, &response.base);
}

void api_list_search_attributes(struct api_call *api)
{
    typedef Api__ListSearchAttributesResponse__SystemAttributesEntry entry;
    const Api__ListSearchAttributesRequest *req = api->message;
    if (*req->namespace_ && !api_namespace(api, req->namespace_))
        return;
    struct arena *arena = &api->call->arena;
    size_t counts[2];
    const struct visibility_attribute *lists[2] = {
        visibility_system_attributes(&counts[0]), visibility_predefined_attributes(&counts[1])};
    Api__ListSearchAttributesResponse response;
    api__list_search_attributes_response__init(&response);
    response.system_attributes = arena_zalloc(arena, counts[0] + counts[1], sizeof(entry *));
    for (size_t list = 0; list < ARRAY_LEN(lists); list++) {
        for (size_t i = 0; i < counts[list]; i++) {
            entry *key = arena_new(arena, entry);
            api__list_search_attributes_response__system_attributes_entry__init(key);
            key->key = event_text(lists[list][i].name);
            key->value = lists[list][i].type;
            response.system_attributes[response.n_system_attributes++] = key;
        }
    }
    api_reply(api->call, &response.base);
}
