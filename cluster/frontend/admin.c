/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin service: methods, and what their handlers share.
 */
#include "cluster/frontend/admin.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/frontend/admin_private.h"

struct admin_method {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
    admin_handler *handle;
};

static const struct admin_method methods[] = {
    {"CreateNamespace", &admin__create_namespace_request__descriptor, admin_create_namespace},
    {"UpdateNamespace", &admin__update_namespace_request__descriptor, admin_update_namespace},
    {"DescribeNamespace", &admin__describe_namespace_request__descriptor, admin_describe_namespace},
    {"ListNamespaces", &admin__list_namespaces_request__descriptor, admin_list_namespaces},
    {"DeleteNamespace", &admin__delete_namespace_request__descriptor, admin_delete_namespace},
    {"Failover", &admin__failover_request__descriptor, admin_failover},
    {"ListClusters", &admin__list_clusters_request__descriptor, admin_list_clusters},
    {"ReplicationStatus", &admin__replication_status_request__descriptor, admin_replication_status},
    {"DeadLetterList", &admin__dead_letter_list_request__descriptor, admin_dead_letter_list},
    {"Verify", &admin__verify_request__descriptor, admin_verify},
    {"NodeStatus", &admin__node_status_request__descriptor, admin_node_status},
};

void admin_reply(struct call *call, const ProtobufCMessage *response)
{
    call_reply(call, proto_pack(&call->arena, response));
}

char *admin_text(struct call *call, const char *text)
{
    return arena_strdup(&call->arena, text);
}

Record__Namespace *admin_record(struct admin_call *api, const char *name)
{
    Record__Namespace *record =
        registry_record(api->admin->options.registry, &api->call->arena, name);
    if (record && record->state != RECORD__NAMESPACE__STATE__DELETED)
        return record;
    fail_namespace_not_found(api->call, name);
    return NULL;
}

char *admin_uuid_text(struct call *call, ProtobufCBinaryData id)
{
    struct uuid uuid;
    if (id.len != sizeof(uuid.bytes))
        return admin_text(call, "");
    memcpy(uuid.bytes, id.data, sizeof(uuid.bytes));
    char *text = arena_alloc(&call->arena, UUID_TEXT_LEN + 1);
    uuid_format(uuid, text);
    return text;
}

bool admin_handle(struct admin *admin, struct call *call)
{
    size_t prefix = strlen(ADMIN_SERVICE_PREFIX);
    if (strncmp(call->method, ADMIN_SERVICE_PREFIX, prefix) != 0)
        return false;
    const char *name = call->method + prefix;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].name, name) != 0)
            continue;
        struct admin_call *api = arena_new(&call->arena, struct admin_call);
        api->admin = admin;
        api->call = call;
        api->message = proto_unpack(&call->arena, methods[i].descriptor, call->request);
        if (api->message)
            methods[i].handle(api);
        else
            fail_invalid(call, "the request does not decode");
        return true;
    }
    fail_unimplemented(call, "strait.admin.v1.AdminService has no method %.100s", name);
    return true;
}

enum err admin_open(const struct admin_options *options, struct admin **ret_admin)
{
    struct admin *admin = mem_new(struct admin);
    admin->options = *options;
    admin->started_mono_ns = env_monotonic_ns(options->env);
    *ret_admin = admin;
    return OK;
}

void admin_close(struct admin *admin)
{
    mem_free(admin);
}
