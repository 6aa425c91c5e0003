/* SPDX-License-Identifier: Apache-2.0
 *
 * RegisterNamespace and UpdateNamespace. The record is changed by the registry, in its order; what
 * may be asked for is checked there against the record as it is then.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/config.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_namespace.pb-c.h"
#include "proto/record.pb-c.h"

#define RETENTION_DEFAULT_MS (3 * 24 * 3600 * 1000ll)
#define RETENTION_MAX_MS     (100ll * 365 * 24 * 3600 * 1000ll)

/* A change under way. In the call's arena. */
struct namespace_change {
    struct frontend *frontend;
    struct call *call;
    const void *request;
    const char *name;
};

/* ---- shared -------------------------------------------------------------------------------- */

static bool check_name(struct api_call *api, const char *name)
{
    if (!*name) {
        fail_invalid(api->call, "Namespace not set on request.");
        return false;
    }
    bool plain = strlen(name) <= NAME_BYTES_MAX && text_is_utf8(name);
    for (const char *at = name; plain && *at; at++)
        plain = (unsigned char)*at >= 0x20 && *at != 0x7f;
    if (!plain)
        fail_invalid(api->call, "Namespace must be at most %u bytes of text.", NAME_BYTES_MAX);
    return plain;
}

static bool check_retention(struct api_call *api, const Api__Duration *duration)
{
    if (!duration)
        return true;
    int64_t ms = duration_ms(duration);
    if (ms >= RETENTION_MIN_MS && ms <= RETENTION_MAX_MS)
        return true;
    fail_invalid(
        api->call, "A valid retention period is not set on request: it must be at least 1h.");
    return false;
}

static bool has_cluster(const Record__Namespace *record, const char *name)
{
    for (size_t i = 0; i < record->n_clusters; i++) {
        if (strcmp(record->clusters[i], name) == 0)
            return true;
    }
    return false;
}

/* The clusters named, each once, all known; none named leaves what is there. */
static enum err set_clusters(const struct frontend *frontend, struct arena *arena, size_t count,
    Api__ClusterReplicationConfig *const *clusters, Record__Namespace *record, char text[256])
{
    if (count == 0)
        return OK;
    record->clusters = arena_zalloc(arena, count, sizeof(*record->clusters));
    record->n_clusters = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = clusters[i]->cluster_name;
        if (federation_find(frontend->options.federation, name) < 0) {
            (void)snprintf(text, 256, "Invalid cluster name: %.100s", name);
            return ERR_INVALID;
        }
        if (!has_cluster(record, name))
            record->clusters[record->n_clusters++] = arena_strdup(arena, name);
    }
    if (record->n_clusters > 1)
        record->global = true;
    return OK;
}

static void change_done(void *ctx, enum err err, const char *text)
{
    const struct namespace_change *change = ctx;
    struct call *call = change->call;
    if (err == ERR_EXISTS)
        fail_namespace_exists(call, change->name);
    else if (err == ERR_NOT_FOUND)
        fail_namespace_not_found(call, change->name);
    else if (err)
        call_fail_err(call, err, "%s", text);
    else if (strstr(call->method, "/RegisterNamespace"))
        api_reply_empty(call);
    else
        frontend_reply_namespace(change->frontend, call, change->name);
}

static void change_start(struct api_call *api, const char *name, registry_change_fn *fn)
{
    struct namespace_change *change = arena_new(&api->call->arena, struct namespace_change);
    change->frontend = api->frontend;
    change->call = api->call;
    change->request = api->message;
    change->name = name;
    registry_change(api->frontend->options.registry, name, fn, change_done, change);
}

/* ---- register ------------------------------------------------------------------------------ */

static int64_t default_retention_ms(const struct frontend *frontend)
{
    const struct config *config = frontend->options.config;
    return config && config->retention.default_ms ? config->retention.default_ms
                                                  : RETENTION_DEFAULT_MS;
}

static void copy_data(
    struct arena *arena, const Api__RegisterNamespaceRequest *req, Record__Namespace *record)
{
    record->data = arena_zalloc(arena, req->n_data, sizeof(*record->data));
    record->n_data = req->n_data;
    for (size_t i = 0; i < req->n_data; i++) {
        record->data[i] = arena_new(arena, Record__DataEntry);
        record__data_entry__init(record->data[i]);
        record->data[i]->key = arena_strdup(arena, req->data[i]->key);
        record->data[i]->value = arena_strdup(arena, req->data[i]->value);
    }
}

/* The active cluster is one of the clusters, and we are one: a record nobody keeps would be lost.
 * */
static enum err settle_clusters(const struct frontend *frontend, struct arena *arena,
    const Api__RegisterNamespaceRequest *req, Record__Namespace *record, char text[256])
{
    Api__ClusterReplicationConfig self;
    api__cluster_replication_config__init(&self);
    self.cluster_name = event_text(frontend->cluster);
    Api__ClusterReplicationConfig *only_self = &self;
    enum err err = req->n_clusters
                       ? set_clusters(frontend, arena, req->n_clusters, req->clusters, record, text)
                       : set_clusters(frontend, arena, 1, &only_self, record, text);
    if (err)
        return err;
    const char *active = *req->active_cluster_name ? req->active_cluster_name : frontend->cluster;
    if (!has_cluster(record, active) || !has_cluster(record, frontend->cluster)) {
        (void)snprintf(text, 256,
            "Active cluster %.80s and this cluster %.80s must be among the namespace's clusters.",
            active, frontend->cluster);
        return ERR_INVALID;
    }
    const struct federation *federation = frontend->options.federation;
    record->active_cluster = arena_strdup(arena, active);
    record->failover_version =
        federation_next_version(federation, federation_find(federation, active), 0);
    return OK;
}

static enum err register_change(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    const struct namespace_change *change = ctx;
    const Api__RegisterNamespaceRequest *req = change->request;
    const struct frontend *frontend = change->frontend;
    if (present)
        return ERR_EXISTS;
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    record__namespace__init(record);
    record->format = 1;
    struct uuid id = uuid_new(frontend->options.env);
    record->id.data = arena_copy(arena, id.bytes, sizeof(id.bytes));
    record->id.len = sizeof(id.bytes);
    record->name = arena_strdup(arena, req->namespace_);
    record->description = arena_strdup(arena, req->description);
    record->owner_email = arena_strdup(arena, req->owner_email);
    copy_data(arena, req, record);
    record->retention_ms = req->workflow_execution_retention_period
                               ? duration_ms(req->workflow_execution_retention_period)
                               : default_retention_ms(frontend);
    record->global = req->is_global_namespace;
    record->config_version = 1;
    record->state = RECORD__NAMESPACE__STATE__NORMAL;
    record->created_time = env_wall_ns(frontend->options.env);
    *ret_record = record;
    return settle_clusters(frontend, arena, req, record, text);
}

void api_register_namespace(struct api_call *api)
{
    const Api__RegisterNamespaceRequest *req = api->message;
    if (check_name(api, req->namespace_) && check_text(api, req->description, "Description") &&
        check_text(api, req->owner_email, "OwnerEmail") &&
        check_retention(api, req->workflow_execution_retention_period))
        change_start(api, req->namespace_, register_change);
}

/* ---- update -------------------------------------------------------------------------------- */

static void set_data(
    struct arena *arena, Record__Namespace *record, const char *key, const char *value)
{
    for (size_t i = 0; i < record->n_data; i++) {
        if (strcmp(record->data[i]->key, key) == 0) {
            record->data[i]->value = arena_strdup(arena, value);
            return;
        }
    }
    Record__DataEntry **grown = arena_zalloc(arena, record->n_data + 1, sizeof(*grown));
    if (record->n_data)
        memcpy(grown, record->data, record->n_data * sizeof(*grown));
    Record__DataEntry *entry = arena_new(arena, Record__DataEntry);
    record__data_entry__init(entry);
    entry->key = arena_strdup(arena, key);
    entry->value = arena_strdup(arena, value);
    grown[record->n_data++] = entry;
    record->data = grown;
}

static void update_info(
    struct arena *arena, const Api__UpdateNamespaceInfo *info, Record__Namespace *record)
{
    if (*info->description)
        record->description = arena_strdup(arena, info->description);
    if (*info->owner_email)
        record->owner_email = arena_strdup(arena, info->owner_email);
    for (size_t i = 0; i < info->n_data; i++)
        set_data(arena, record, info->data[i]->key, info->data[i]->value);
    if (info->state == API__NAMESPACE_STATE__NAMESPACE_STATE_DEPRECATED &&
        record->state == RECORD__NAMESPACE__STATE__NORMAL)
        record->state = RECORD__NAMESPACE__STATE__DEPRECATED;
    if (info->state == API__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED &&
        record->state == RECORD__NAMESPACE__STATE__DEPRECATED)
        record->state = RECORD__NAMESPACE__STATE__NORMAL;
}

static enum err update_change(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    const struct namespace_change *change = ctx;
    const Api__UpdateNamespaceRequest *req = change->request;
    if (!present || present->state == RECORD__NAMESPACE__STATE__DELETED)
        return ERR_NOT_FOUND;
    Record__Namespace *record =
        proto_unpack(arena, &record__namespace__descriptor, proto_pack(arena, &present->base));
    CHECK(record);
    if (req->update_info)
        update_info(arena, req->update_info, record);
    if (req->config && req->config->workflow_execution_retention_ttl)
        record->retention_ms = duration_ms(req->config->workflow_execution_retention_ttl);
    if (req->promote_namespace)
        record->global = true;
    if (req->replication_config) {
        enum err err = set_clusters(change->frontend, arena, req->replication_config->n_clusters,
            req->replication_config->clusters, record, text);
        if (err)
            return err;
    }
    if (!has_cluster(record, record->active_cluster)) {
        (void)snprintf(text, 256,
            "Active cluster %.100s must stay among the namespace's clusters: fail over first.",
            record->active_cluster);
        return ERR_INVALID;
    }
    record->config_version++;
    *ret_record = record;
    return OK;
}

static bool changes_more(const Api__UpdateNamespaceRequest *req)
{
    return req->update_info || req->config || req->promote_namespace || *req->delete_bad_binary ||
           req->replication_config->n_clusters > 0;
}

void api_update_namespace(struct api_call *api)
{
    const Api__UpdateNamespaceRequest *req = api->message;
    if (!api_namespace(api, req->namespace_))
        return;
    if (req->update_info && (!check_text(api, req->update_info->description, "Description") ||
                                !check_text(api, req->update_info->owner_email, "OwnerEmail")))
        return;
    if (req->config && !check_retention(api, req->config->workflow_execution_retention_ttl))
        return;
    const char *active =
        req->replication_config ? req->replication_config->active_cluster_name : "";
    if (!*active || strcmp(active, api->ns->active_cluster) == 0) {
        change_start(api, req->namespace_, update_change);
        return;
    }
    if (changes_more(req)) {
        fail_invalid(api->call,
            "Cannot change the active cluster and other settings of a namespace in one request.");
        return;
    }
    api->frontend->options.failover.start(
        api->frontend->options.failover.ctx, api->call, req->namespace_, active);
}
