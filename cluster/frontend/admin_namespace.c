/* SPDX-License-Identifier: Apache-2.0
 *
 * Creating, changing and deleting namespaces with their clusters. Each is one change of the record:
 * checked and made under the registry's order, answered after its commit.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/frontend/admin_private.h"
#include "cluster/frontend/frontend_private.h"

#define DESCRIPTION_BYTES_MAX (4u * KIB)

/* ---- common --------------------------------------------------------------------------------- */

/* One change under way; in the call's arena. */
struct change {
    struct admin_call *api;
    const char *name;
    Record__Namespace *record; /* what was stored; valid in `done` */
    const char *note;          /* for the caller; NULL = none */
    void (*reply)(struct change *change);
};

static void change_done(void *ctx, enum err err, const char *text)
{
    struct change *change = ctx;
    if (err)
        call_fail_err(change->api->call, err, "%s", text);
    else
        change->reply(change);
}

static void change_start(struct admin_call *api, const char *name, registry_change_fn *fn,
    void (*reply)(struct change *change))
{
    struct change *change = arena_new(&api->call->arena, struct change);
    change->api = api;
    change->name = name;
    change->reply = reply;
    registry_change(api->admin->options.registry, name, fn, change_done, change);
}

static bool in_list(char *const *clusters, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(clusters[i], name) == 0)
            return true;
    }
    return false;
}

/* Form of what comes from the caller; false = the call was ended. */
static bool check_clusters(struct admin_call *api, char *const *clusters, size_t count)
{
    const struct federation *federation = api->admin->options.federation;
    if (count > CLUSTERS_MAX) {
        fail_invalid(api->call, "a namespace has at most %d clusters", CLUSTERS_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (federation_find(federation, clusters[i]) < 0) {
            fail_invalid(api->call, "%.255s is not a cluster of this federation", clusters[i]);
            return false;
        }
        if (in_list(clusters, i, clusters[i])) {
            fail_invalid(api->call, "cluster %.255s is listed twice", clusters[i]);
            return false;
        }
    }
    return true;
}

static bool check_settings(struct admin_call *api, int64_t retention_ms, const char *ack,
    const char *description, const char *owner)
{
    if (retention_ms != 0 && retention_ms < RETENTION_MIN_MS) {
        fail_invalid(api->call, "retention must be at least %lld ms", (long long)RETENTION_MIN_MS);
        return false;
    }
    if (*ack && strcmp(ack, "local") != 0) {
        fail_invalid(api->call,
            "ack level %.50s is not available in this release: write local, or leave it out", ack);
        return false;
    }
    if (strlen(description) > DESCRIPTION_BYTES_MAX) {
        fail_invalid(api->call, "a description has at most %u bytes", DESCRIPTION_BYTES_MAX);
        return false;
    }
    if (strlen(owner) > NAME_BYTES_MAX || !text_is_utf8(owner) || !text_is_utf8(description)) {
        fail_invalid(api->call, "description and owner must be UTF-8, the owner at most %u bytes",
            NAME_BYTES_MAX);
        return false;
    }
    return true;
}

/* ---- create --------------------------------------------------------------------------------- */

static void take_clusters(struct change *change, struct arena *arena, Record__Namespace *record)
{
    const struct federation *federation = change->api->admin->options.federation;
    const Admin__CreateNamespaceRequest *request = change->api->message;
    record->n_clusters = request->n_clusters;
    record->clusters = request->clusters;
    if (request->n_clusters == 0) {
        record->n_clusters = 1;
        record->clusters = arena_zalloc(arena, 1, sizeof(char *));
        record->clusters[0] = arena_strdup(arena, federation_self(federation));
    }
    const char *active =
        *request->active_cluster ? request->active_cluster : federation_self(federation);
    record->active_cluster = arena_strdup(arena, active);
    record->failover_version =
        federation_next_version(federation, federation_find(federation, active), 0);
    record->global = record->n_clusters > 1;
}

static enum err create(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    struct change *change = ctx;
    const struct admin_options *options = &change->api->admin->options;
    const Admin__CreateNamespaceRequest *request = change->api->message;
    if (present) {
        snprintf(text, 256, "namespace %.100s %s", request->name,
            present->state == RECORD__NAMESPACE__STATE__DELETED
                ? "was deleted and its name is not free yet"
                : "exists already");
        return ERR_EXISTS;
    }
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    record__namespace__init(record);
    struct uuid id = uuid_new(options->env);
    record->format = 1;
    record->id.data = arena_copy(arena, id.bytes, sizeof(id.bytes));
    record->id.len = sizeof(id.bytes);
    record->name = request->name;
    record->description = request->description;
    record->owner_email = request->owner_email;
    record->retention_ms =
        request->retention_ms ? request->retention_ms : options->config->retention.default_ms;
    record->ack = arena_strdup(arena, "local");
    record->created_time = env_wall_ns(options->env);
    record->config_version = 1;
    take_clusters(change, arena, record);
    change->record = record;
    *ret_record = record;
    return OK;
}

static void created(struct change *change)
{
    struct call *call = change->api->call;
    Admin__CreateNamespaceResponse response;
    admin__create_namespace_response__init(&response);
    response.namespace_ = admin_show(&call->arena, change->record);
    admin_reply(call, &response.base);
}

static bool check_name(struct admin_call *api, const char *name)
{
    size_t len = strlen(name);
    bool plain = len > 0 && len <= NAME_BYTES_MAX;
    for (size_t i = 0; i < len && plain; i++)
        plain = (unsigned char)name[i] > ' ' && (unsigned char)name[i] < 0x7f && name[i] != '/';
    if (!plain)
        fail_invalid(api->call,
            "a namespace name has 1 to %u printable ASCII characters without blanks and slashes",
            NAME_BYTES_MAX);
    return plain;
}

void admin_create_namespace(struct admin_call *api)
{
    const Admin__CreateNamespaceRequest *request = api->message;
    const char *self = federation_self(api->admin->options.federation);
    if (!check_name(api, request->name) ||
        !check_clusters(api, request->clusters, request->n_clusters) ||
        !check_settings(
            api, request->retention_ms, request->ack, request->description, request->owner_email))
        return;
    if (request->n_clusters && !in_list(request->clusters, request->n_clusters, self)) {
        fail_invalid(api->call,
            "the clusters do not contain %s, which was asked: send the request to one of them",
            self);
        return;
    }
    const char *active = *request->active_cluster ? request->active_cluster : self;
    bool listed = request->n_clusters ? in_list(request->clusters, request->n_clusters, active)
                                      : strcmp(active, self) == 0;
    if (!listed) {
        fail_invalid(api->call, "the active cluster %.255s is not among the clusters", active);
        return;
    }
    change_start(api, request->name, create, created);
}

/* ---- update --------------------------------------------------------------------------------- */

/* What may not be changed here and now. */
static enum err check_present(
    const struct change *change, const Record__Namespace *present, char text[256])
{
    const struct federation *federation = change->api->admin->options.federation;
    if (!present || present->state == RECORD__NAMESPACE__STATE__DELETED) {
        snprintf(text, 256, "namespace %.100s does not exist", change->name);
        return ERR_NOT_FOUND;
    }
    if (present->state == RECORD__NAMESPACE__STATE__HANDOVER) {
        snprintf(text, 256, "namespace %.100s is being handed over: try again", change->name);
        return ERR_UNAVAILABLE;
    }
    if (strcmp(present->active_cluster, federation_self(federation)) != 0) {
        snprintf(text, 256, "namespace %.100s is active in %.100s: send the request there",
            change->name, present->active_cluster);
        return ERR_PRECONDITION;
    }
    return OK;
}

static enum err change_clusters(struct change *change, Record__Namespace *record, char text[256])
{
    const Admin__UpdateNamespaceRequest *request = change->api->message;
    if (request->n_clusters == 0)
        return OK;
    if (!in_list(request->clusters, request->n_clusters, record->active_cluster)) {
        snprintf(text, 256, "%.100s is the active cluster and cannot be removed: fail over first",
            record->active_cluster);
        return ERR_PRECONDITION;
    }
    for (size_t i = 0; i < request->n_clusters; i++) {
        if (!in_list(record->clusters, record->n_clusters, request->clusters[i]))
            change->note = "an added cluster gets the runs that start, and the changes made, from "
                           "now on; runs that exist already are not copied by this release, so do "
                           "not fail over to it before they have closed";
    }
    record->n_clusters = request->n_clusters;
    record->clusters = request->clusters;
    record->global = record->global || record->n_clusters > 1;
    return OK;
}

static enum err update(void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256])
{
    struct change *change = ctx;
    const Admin__UpdateNamespaceRequest *request = change->api->message;
    enum err err = check_present(change, present, text);
    if (err)
        return err;
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    *record = *present;
    err = change_clusters(change, record, text);
    if (err)
        return err;
    if (request->retention_ms)
        record->retention_ms = request->retention_ms;
    if (*request->description)
        record->description = request->description;
    if (*request->ack)
        record->ack = request->ack;
    if (*request->owner_email)
        record->owner_email = request->owner_email;
    record->config_version++;
    change->record = record;
    *ret_record = record;
    return OK;
}

static void updated(struct change *change)
{
    struct call *call = change->api->call;
    Admin__UpdateNamespaceResponse response;
    admin__update_namespace_response__init(&response);
    response.namespace_ = admin_show(&call->arena, change->record);
    char *note = NULL;
    if (change->note) {
        note = admin_text(call, change->note);
        response.n_notes = 1;
        response.notes = &note;
        log_warn("namespace.cluster_added", "name=%s note=%s", change->name, log_quote(note));
    }
    admin_reply(call, &response.base);
}

void admin_update_namespace(struct admin_call *api)
{
    const Admin__UpdateNamespaceRequest *request = api->message;
    if (check_clusters(api, request->clusters, request->n_clusters) &&
        check_settings(
            api, request->retention_ms, request->ack, request->description, request->owner_email))
        change_start(api, request->name, update, updated);
}

/* ---- delete --------------------------------------------------------------------------------- */

static enum err delete (void *ctx, struct arena *arena, const Record__Namespace *present,
    Record__Namespace **ret_record, char text[256]) {
    struct change *change = ctx; enum err err = check_present(change, present, text);
    if (err) return err;
    Record__Namespace *record = arena_new(arena, Record__Namespace);
    *record = *present;
    record->state = RECORD__NAMESPACE__STATE__DELETED;
    record->config_version++;
    *ret_record = record;
    return OK;
}

static void deleted(struct change *change)
{
    Admin__DeleteNamespaceResponse response;
    admin__delete_namespace_response__init(&response);
    admin_reply(change->api->call, &response.base);
}

void admin_delete_namespace(struct admin_call *api)
{
    const Admin__DeleteNamespaceRequest *request = api->message;
    change_start(api, request->name, delete, deleted);
}
