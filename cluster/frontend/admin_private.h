/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the admin service share. Handlers end the call or hand it on.
 */
#ifndef CLUSTER_FRONTEND_ADMIN_PRIVATE_H
#define CLUSTER_FRONTEND_ADMIN_PRIVATE_H

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/frontend/admin.h"
#include "cluster/frontend/failure.h"
#include "cluster/namespace/registry.h"
#include "proto/admin.pb-c.h"
#include "proto/record.pb-c.h"

struct admin {
    struct admin_options options;
    int64_t started_mono_ns;
};

/** A request while its handler runs; in the call's arena, so it lives until the call is ended. */
struct admin_call {
    struct admin *admin;
    struct call *call;
    void *message; /* to be cast by the handler */
};

typedef void admin_handler(struct admin_call *api);

void admin_reply(struct call *call, const ProtobufCMessage *response);
/** Strings that messages may point to. */
char *admin_text(struct call *call, const char *text);
/** The record of a namespace that is not deleted, or NULL: then the call was ended. */
Record__Namespace *admin_record(struct admin_call *api, const char *name);
/** Dead letters and others: a UUID of 16 bytes as text, "" for anything else. */
char *admin_uuid_text(struct call *call, ProtobufCBinaryData id);

/* admin_namespace.c */
admin_handler admin_create_namespace;
admin_handler admin_update_namespace;
admin_handler admin_delete_namespace;

/* admin_show.c */
admin_handler admin_describe_namespace;
admin_handler admin_list_namespaces;
/** The record as the service shows it; shares its strings. */
Admin__Namespace *admin_show(struct arena *arena, const Record__Namespace *record);

/* admin_failover.c */
admin_handler admin_failover;

/* admin_status.c */
admin_handler admin_list_clusters;
admin_handler admin_replication_status;
admin_handler admin_dead_letter_list;
admin_handler admin_node_status;

/* admin_verify.c */
admin_handler admin_verify;

#endif
