/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces as clients see them.
 */
#include <string.h>

#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_namespace.pb-c.h"
#include "proto/record.pb-c.h"

static Api__NamespaceState state_of(const Record__Namespace *record)
{
    switch (record->state) {
    case RECORD__NAMESPACE__STATE__DELETED:
        return API__NAMESPACE_STATE__NAMESPACE_STATE_DELETED;
    case RECORD__NAMESPACE__STATE__DEPRECATED:
        return API__NAMESPACE_STATE__NAMESPACE_STATE_DEPRECATED;
    case RECORD__NAMESPACE__STATE__NORMAL:
    case RECORD__NAMESPACE__STATE__HANDOVER:
    default: /* a newer version's */
        return API__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED;
    }
}

static char *id_text(struct arena *arena, ProtobufCBinaryData id)
{
    struct uuid uuid = {{0}};
    if (id.len == sizeof(uuid.bytes))
        memcpy(uuid.bytes, id.data, sizeof(uuid.bytes));
    char *text = arena_alloc(arena, UUID_TEXT_LEN + 1);
    uuid_format(uuid, text);
    return text;
}

static Api__NamespaceInfo *info_of(struct arena *arena, const Record__Namespace *record)
{
    typedef Api__NamespaceInfo__DataEntry entry;
    Api__NamespaceInfo *info = arena_new(arena, Api__NamespaceInfo);
    api__namespace_info__init(info);
    info->name = record->name;
    info->id = id_text(arena, record->id);
    info->state = state_of(record);
    info->description = record->description;
    info->owner_email = record->owner_email;
    info->data = arena_zalloc(arena, record->n_data, sizeof(entry *));
    info->n_data = record->n_data;
    for (size_t i = 0; i < record->n_data; i++) {
        info->data[i] = arena_new(arena, entry);
        api__namespace_info__data_entry__init(info->data[i]);
        info->data[i]->key = record->data[i]->key;
        info->data[i]->value = record->data[i]->value;
    }
    /* None yet: a flag is set when the whole protocol behind it works. */
    info->capabilities = arena_new(arena, Api__NamespaceInfo__Capabilities);
    api__namespace_info__capabilities__init(info->capabilities);
    info->limits = arena_new(arena, Api__NamespaceInfo__Limits);
    api__namespace_info__limits__init(info->limits);
    info->limits->blob_size_limit_error = BLOB_BYTES_MAX;
    info->limits->memo_size_limit_error = MEMO_BYTES_MAX;
    return info;
}

static Api__NamespaceConfig *config_of(struct arena *arena, const Record__Namespace *record)
{
    Api__NamespaceConfig *config = arena_new(arena, Api__NamespaceConfig);
    api__namespace_config__init(config);
    config->workflow_execution_retention_ttl = duration_new(arena, record->retention_ms);
    config->history_archival_state = API__ARCHIVAL_STATE__ARCHIVAL_STATE_DISABLED;
    config->visibility_archival_state = API__ARCHIVAL_STATE__ARCHIVAL_STATE_DISABLED;
    config->bad_binaries = arena_new(arena, Api__BadBinaries);
    api__bad_binaries__init(config->bad_binaries);
    return config;
}

static Api__NamespaceReplicationConfig *replication_of(
    struct arena *arena, const Record__Namespace *record)
{
    Api__NamespaceReplicationConfig *config = arena_new(arena, Api__NamespaceReplicationConfig);
    api__namespace_replication_config__init(config);
    config->active_cluster_name = record->active_cluster;
    config->state = record->state == RECORD__NAMESPACE__STATE__HANDOVER
                        ? API__REPLICATION_STATE__REPLICATION_STATE_HANDOVER
                        : API__REPLICATION_STATE__REPLICATION_STATE_NORMAL;
    config->clusters = arena_zalloc(arena, record->n_clusters, sizeof(*config->clusters));
    config->n_clusters = record->n_clusters;
    for (size_t i = 0; i < record->n_clusters; i++) {
        config->clusters[i] = arena_new(arena, Api__ClusterReplicationConfig);
        api__cluster_replication_config__init(config->clusters[i]);
        config->clusters[i]->cluster_name = record->clusters[i];
    }
    return config;
}

static void show_failovers(
    struct arena *arena, const Record__Namespace *record, Api__DescribeNamespaceResponse *response)
{
    response->failover_history =
        arena_zalloc(arena, record->n_history, sizeof(*response->failover_history));
    response->n_failover_history = record->n_history;
    for (size_t i = 0; i < record->n_history; i++) {
        Api__FailoverStatus *status = arena_new(arena, Api__FailoverStatus);
        api__failover_status__init(status);
        status->failover_time = timestamp_new(arena, record->history[i]->time);
        status->failover_version = record->history[i]->to_version;
        response->failover_history[i] = status;
    }
}

static Api__DescribeNamespaceResponse *describe(
    struct arena *arena, const Record__Namespace *record)
{
    Api__DescribeNamespaceResponse *response = arena_new(arena, Api__DescribeNamespaceResponse);
    api__describe_namespace_response__init(response);
    response->namespace_info = info_of(arena, record);
    response->config = config_of(arena, record);
    response->replication_config = replication_of(arena, record);
    response->failover_version = record->failover_version;
    response->is_global_namespace = record->global;
    show_failovers(arena, record, response);
    return response;
}

void frontend_reply_namespace(
    struct frontend *frontend, struct call *call, const char *namespace_name)
{
    struct arena *arena = &call->arena;
    const Record__Namespace *record =
        registry_record(frontend->options.registry, arena, namespace_name);
    if (!record) {
        fail_namespace_not_found(call, namespace_name);
        return;
    }
    Api__UpdateNamespaceResponse response;
    api__update_namespace_response__init(&response);
    response.namespace_info = info_of(arena, record);
    response.config = config_of(arena, record);
    response.replication_config = replication_of(arena, record);
    response.failover_version = record->failover_version;
    response.is_global_namespace = record->global;
    api_reply(call, &response.base);
}

void api_describe_namespace(struct api_call *api)
{
    const Api__DescribeNamespaceRequest *req = api->message;
    struct arena *arena = &api->call->arena;
    struct registry *registry = api->frontend->options.registry;
    struct uuid id;
    const Record__Namespace *record = NULL;
    if (*req->id) {
        if (uuid_parse(bytes_of(req->id), &id))
            record = registry_record_by_id(registry, arena, id);
    } else if (*req->namespace_) {
        record = registry_record(registry, arena, req->namespace_);
    } else {
        fail_invalid(api->call, "Namespace not set on request.");
        return;
    }
    if (!record || record->state == RECORD__NAMESPACE__STATE__DELETED)
        fail_namespace_not_found(api->call, *req->id ? req->id : req->namespace_);
    else
        api_reply(api->call, &describe(arena, record)->base);
}

/* ---- list ---------------------------------------------------------------------------------- */

#define NAMESPACE_PAGE_MAX 1000

/* The token is the name of the last namespace shown: names have an order and do not change. */
void api_list_namespaces(struct api_call *api)
{
    const Api__ListNamespacesRequest *req = api->message;
    struct arena *arena = &api->call->arena;
    Record__Namespace **records;
    size_t count = registry_list(api->frontend->options.registry, arena, &records);
    size_t page = req->page_size > 0 && req->page_size < NAMESPACE_PAGE_MAX ? (size_t)req->page_size
                                                                            : NAMESPACE_PAGE_MAX;
    const char *after =
        bytes_string(arena, bytes_make(req->next_page_token.data, req->next_page_token.len));
    bool deleted_too = req->namespace_filter && req->namespace_filter->include_deleted;
    Api__ListNamespacesResponse response;
    api__list_namespaces_response__init(&response);
    response.namespaces = arena_zalloc(arena, count, sizeof(*response.namespaces));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(records[i]->name, after) <= 0)
            continue;
        if (records[i]->state == RECORD__NAMESPACE__STATE__DELETED && !deleted_too)
            continue;
        if (response.n_namespaces == page) {
            const char *last = response.namespaces[page - 1]->namespace_info->name;
            response.next_page_token.data = (uint8_t *)event_text(last);
            response.next_page_token.len = strlen(last);
            break;
        }
        response.namespaces[response.n_namespaces++] = describe(arena, records[i]);
    }
    api_reply(api->call, &response.base);
}
