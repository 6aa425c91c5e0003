/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces as operators see them.
 */
#include <string.h>

#include "cluster/frontend/admin_private.h"

static const char *state_text(const Record__Namespace *record)
{
    switch (record->state) {
    case RECORD__NAMESPACE__STATE__NORMAL:
        return "normal";
    case RECORD__NAMESPACE__STATE__HANDOVER:
        return "handover";
    case RECORD__NAMESPACE__STATE__DELETED:
        return "deleted";
    case RECORD__NAMESPACE__STATE__DEPRECATED:
        return "deprecated";
    case _RECORD__NAMESPACE__STATE_IS_INT_SIZE:
    default: /* a newer version's */
        return "unknown";
    }
}

static Admin__Failover *show_failover(struct arena *arena, const Record__FailoverEntry *entry)
{
    Admin__Failover *failover = arena_new(arena, Admin__Failover);
    admin__failover__init(failover);
    failover->time = entry->time;
    failover->from = entry->from;
    failover->to = entry->to;
    failover->from_version = entry->from_version;
    failover->to_version = entry->to_version;
    failover->kind = entry->kind;
    failover->reason = entry->reason;
    failover->identity = entry->identity;
    failover->pause_ms = entry->pause_ms;
    failover->lag_events = entry->lag_events;
    failover->lag_ms = entry->lag_ms;
    return failover;
}

Admin__Namespace *admin_show(struct arena *arena, const Record__Namespace *record)
{
    Admin__Namespace *shown = arena_new(arena, Admin__Namespace);
    admin__namespace__init(shown);
    struct uuid id;
    CHECK(record->id.len == sizeof(id.bytes));
    memcpy(id.bytes, record->id.data, sizeof(id.bytes));
    shown->id = arena_alloc(arena, UUID_TEXT_LEN + 1);
    uuid_format(id, shown->id);
    shown->name = record->name;
    shown->description = record->description;
    shown->owner_email = record->owner_email;
    shown->state = arena_strdup(arena, state_text(record));
    shown->n_clusters = record->n_clusters;
    shown->clusters = record->clusters;
    shown->active_cluster = record->active_cluster;
    shown->global = record->global;
    shown->retention_ms = record->retention_ms;
    shown->ack = *record->ack ? record->ack : arena_strdup(arena, "local");
    shown->config_version = record->config_version;
    shown->failover_version = record->failover_version;
    shown->created_time = record->created_time;
    shown->n_failovers = record->n_history;
    shown->failovers = arena_zalloc(arena, record->n_history + 1, sizeof(*shown->failovers));
    for (size_t i = 0; i < record->n_history; i++)
        shown->failovers[i] = show_failover(arena, record->history[i]);
    return shown;
}

void admin_describe_namespace(struct admin_call *api)
{
    const Admin__DescribeNamespaceRequest *request = api->message;
    const Record__Namespace *record = admin_record(api, request->name);
    if (!record)
        return;
    Admin__DescribeNamespaceResponse response;
    admin__describe_namespace_response__init(&response);
    response.namespace_ = admin_show(&api->call->arena, record);
    admin_reply(api->call, &response.base);
}

void admin_list_namespaces(struct admin_call *api)
{
    struct arena *arena = &api->call->arena;
    Record__Namespace **records;
    size_t count = registry_list(api->admin->options.registry, arena, &records);
    Admin__ListNamespacesResponse response;
    admin__list_namespaces_response__init(&response);
    response.namespaces = arena_zalloc(arena, count + 1, sizeof(*response.namespaces));
    for (size_t i = 0; i < count; i++) {
        if (records[i]->state != RECORD__NAMESPACE__STATE__DELETED)
            response.namespaces[response.n_namespaces++] = admin_show(arena, records[i]);
    }
    admin_reply(api->call, &response.base);
}
