/* SPDX-License-Identifier: Apache-2.0
 *
 * Anti-entropy pulls: each cluster asks the others and takes what is missing or different; the
 * merge is symmetric, so one round in each direction makes all alike.
 */
#include "replicator/metadata.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"

#define ROUND_NS       (5 * NS_PER_S)
#define CALL_NS        (4 * NS_PER_S)
#define IDS_PER_CALL   16u
#define DIGESTS_MAX    8192u
#define LIST_BYTES_MAX (512u * KIB)

/** A record that changed, on its way from an executor's thread. */
struct announcement {
    struct mail mail;
    struct blob *request; /* PeerRequest with a NamespacePut */
};

struct metadata {
    struct replicator *replicator;
    struct bus_subscription *subscription;
    int64_t round_mono;
    bool *asking; /* per cluster */
};

static bool is_shared(const Record__Namespace *record)
{
    return record->global || record->n_clusters > 1;
}

/* What leaves the cluster: a handover is the active cluster's own affair. */
static Record__Namespace public_part(const Record__Namespace *record)
{
    Record__Namespace part = *record;
    part.handover = NULL;
    if (part.state == RECORD__NAMESPACE__STATE__HANDOVER)
        part.state = RECORD__NAMESPACE__STATE__NORMAL;
    return part;
}

/* ---- broadcasts ------------------------------------------------------------------------------ */

static void announce(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct announcement *announcement = CONTAINER_OF(mail, struct announcement, mail);
    char subject[160];
    snprintf(subject, sizeof(subject), "strait.meta.%s", replicator->self);
    for (int i = 0; !replicator->closing && i < replicator->federation->count; i++) {
        struct bus *bus = cluster_bus(replicator, i);
        if (!bus || i == replicator->federation->self)
            continue;
        enum err err = bus_send(bus, subject, blob_view(announcement->request));
        if (err) /* the next comparison of digests tells */
            log_debug(
                "metadata.unsent", "cluster=%s err=%s", cluster_name(replicator, i), err_name(err));
    }
    blob_unref(announcement->request);
    mem_free(announcement);
}

/* Executor's thread. */
static void record_changed(void *ctx, const Record__Namespace *record)
{
    struct metadata *metadata = ctx;
    if (!is_shared(record) || replicator_stopping(metadata->replicator))
        return;
    Record__Namespace part = public_part(record);
    Replication__NamespacePut put;
    replication__namespace_put__init(&put);
    put.namespace_ = &part;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.format = 1;
    request.from = text_field(metadata->replicator->self);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_NAMESPACE_PUT;
    request.namespace_put = &put;
    struct announcement *announcement = mem_new(struct announcement);
    announcement->mail.deliver = announce;
    announcement->request = blob_alloc(replication__peer_request__get_packed_size(&request));
    replication__peer_request__pack(&request, announcement->request->data);
    if (mailbox_post(metadata->replicator->mailbox, &announcement->mail)) {
        blob_unref(announcement->request);
        mem_free(announcement);
    }
}

void metadata_received(struct replicator *replicator, const Replication__NamespacePut *put)
{
    const Record__Namespace *record = put->namespace_;
    if (!record || record->id.len != 16 || !is_shared(record) || !replicator->engine)
        return;
    struct arena arena CLEANUP(arena_release) = {0};
    struct uuid id;
    memcpy(id.bytes, record->id.data, sizeof(id.bytes));
    const Record__Namespace *present =
        registry_record_by_id(replicator->options.registry, &arena, id);
    if (present && registry_digest(present) == registry_digest(record))
        return;
    registry_merge(replicator->options.registry, record, NULL, NULL);
}

static void broadcast_arrived(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct bus_msg *message = CONTAINER_OF(mail, struct bus_msg, mail);
    if (!replicator->closing && !replicator_stopping(replicator)) {
        struct arena arena CLEANUP(arena_release) = {0};
        const Replication__PeerRequest *request =
            proto_unpack(&arena, &replication__peer_request__descriptor, message->data);
        int from = request ? federation_find(replicator->federation, request->from) : -1;
        if (from >= 0 && from != replicator->federation->self &&
            request->body_case == REPLICATION__PEER_REQUEST__BODY_NAMESPACE_PUT) {
            watch_heard(replicator->watch, from);
            metadata_received(replicator, request->namespace_put);
        }
    }
    bus_msg_drop(message);
}

/* ---- answers --------------------------------------------------------------------------------- */

Replication__NamespaceDigests *metadata_digests(struct replicator *replicator, struct arena *arena)
{
    Record__Namespace **records;
    size_t count = registry_list(replicator->options.registry, arena, &records);
    Replication__NamespaceDigests *digests = arena_new(arena, Replication__NamespaceDigests);
    replication__namespace_digests__init(digests);
    digests->entries = arena_zalloc(arena, count + 1, sizeof(*digests->entries));
    for (size_t i = 0; i < count && digests->n_entries < DIGESTS_MAX; i++) {
        if (!is_shared(records[i]))
            continue;
        Replication__NamespaceDigests__Entry *entry =
            arena_new(arena, Replication__NamespaceDigests__Entry);
        replication__namespace_digests__entry__init(entry);
        entry->id = records[i]->id;
        entry->config_version = records[i]->config_version;
        entry->failover_version = records[i]->failover_version;
        entry->digest = registry_digest(records[i]);
        digests->entries[digests->n_entries++] = entry;
    }
    return digests;
}

static bool is_wanted(const Replication__NamespaceList *wanted, const Record__Namespace *record)
{
    for (size_t i = 0; i < wanted->n_ids; i++) {
        if (bytes_equal(bytes_from(wanted->ids[i]), bytes_from(record->id)))
            return true;
    }
    return wanted->n_ids == 0;
}

Replication__Namespaces *metadata_list(
    struct replicator *replicator, struct arena *arena, const Replication__NamespaceList *wanted)
{
    Record__Namespace **records;
    size_t count = registry_list(replicator->options.registry, arena, &records);
    Replication__Namespaces *list = arena_new(arena, Replication__Namespaces);
    replication__namespaces__init(list);
    list->namespaces = arena_zalloc(arena, count + 1, sizeof(*list->namespaces));
    size_t bytes = 0;
    for (size_t i = 0; i < count && bytes < LIST_BYTES_MAX; i++) {
        if (!is_shared(records[i]) || !is_wanted(wanted, records[i]))
            continue;
        *records[i] = public_part(records[i]);
        bytes += record__namespace__get_packed_size(records[i]);
        list->namespaces[list->n_namespaces++] = records[i];
    }
    return list;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void take_namespaces(
    struct replicator *replicator, const Replication__PeerResponse *response)
{
    struct arena arena CLEANUP(arena_release) = {0};
    const Replication__Namespaces *list =
        proto_unpack(&arena, &replication__namespaces__descriptor, bytes_from(response->body));
    for (size_t i = 0; list && i < list->n_namespaces; i++) {
        Replication__NamespacePut put;
        replication__namespace_put__init(&put);
        put.namespace_ = list->namespaces[i];
        metadata_received(replicator, &put);
    }
}

static void list_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct replicator *replicator = ctx;
    if (!err && response->grpc_code == GRPC_OK && !replicator_stopping(replicator))
        take_namespaces(replicator, response);
}

static void ask_list(struct replicator *replicator, int cluster, ProtobufCBinaryData *ids,
    size_t count, peer_done_fn *done, void *ctx)
{
    Replication__NamespaceList list;
    replication__namespace_list__init(&list);
    list.ids = ids;
    list.n_ids = count;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_NAMESPACE_LIST;
    request.namespace_list = &list;
    replicator_peer_call(replicator, cluster, &request, CALL_NS, done, ctx);
}

/** A round with one peer. */
struct round {
    struct metadata *metadata;
    int cluster;
};

static void compare(
    struct replicator *replicator, int cluster, const Replication__NamespaceDigests *theirs)
{
    struct arena arena CLEANUP(arena_release) = {0};
    ProtobufCBinaryData ids[IDS_PER_CALL];
    size_t count = 0;
    for (size_t i = 0; i < theirs->n_entries; i++) {
        struct uuid id;
        if (!uuid_from(theirs->entries[i]->id, &id))
            continue;
        arena_reset(&arena);
        const Record__Namespace *present =
            registry_record_by_id(replicator->options.registry, &arena, id);
        if (present && registry_digest(present) == theirs->entries[i]->digest)
            continue;
        ids[count++] = theirs->entries[i]->id;
        if (count == IDS_PER_CALL) {
            ask_list(replicator, cluster, ids, count, list_answered, replicator);
            count = 0;
        }
    }
    if (count > 0)
        ask_list(replicator, cluster, ids, count, list_answered, replicator);
}

static void digests_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct round *round = ctx;
    struct metadata *metadata = round->metadata;
    metadata->asking[round->cluster] = false;
    if (!err && response->grpc_code == GRPC_OK && !replicator_stopping(metadata->replicator)) {
        struct arena arena CLEANUP(arena_release) = {0};
        const Replication__NamespaceDigests *theirs = proto_unpack(
            &arena, &replication__namespace_digests__descriptor, bytes_from(response->body));
        if (theirs)
            compare(metadata->replicator, round->cluster, theirs);
    }
    mem_free(round);
}

static void ask_digests(struct metadata *metadata, int cluster)
{
    Replication__NamespaceDigest digest;
    replication__namespace_digest__init(&digest);
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_NAMESPACE_DIGEST;
    request.namespace_digest = &digest;
    struct round *round = mem_new(struct round);
    round->metadata = metadata;
    round->cluster = cluster;
    metadata->asking[cluster] = true;
    replicator_peer_call(metadata->replicator, cluster, &request, CALL_NS, digests_answered, round);
}

/* ---- one namespace --------------------------------------------------------------------------- */

/** A namespace that items wait for. Its last step, the merge, ends on an executor's thread. */
struct need {
    struct mail mail;
    struct replicator *replicator;
    struct uuid namespace_id;
    bool known;
    void (*done)(void *done_ctx, bool known);
    void *ctx;
};

static void need_ended(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct need *need = CONTAINER_OF(mail, struct need, mail);
    replicator->under_way--;
    need->done(need->ctx, need->known);
    mem_free(need);
}

static void need_end(struct need *need, bool known)
{
    need->known = known;
    need->mail.deliver = need_ended;
    mailbox_complete(need->replicator->mailbox, &need->mail);
}

static void need_merged(void *ctx, enum err err, const char *text)
{
    struct need *need = ctx;
    if (err)
        log_warn("namespace.not_merged", "err=%s text=%s", err_name(err), log_quote(text));
    need_end(need, err == OK);
}

static void need_answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct need *need = ctx;
    struct replicator *replicator = need->replicator;
    struct arena arena CLEANUP(arena_release) = {0};
    const Replication__Namespaces *list = NULL;
    if (!err && response->grpc_code == GRPC_OK && !replicator_stopping(replicator))
        list =
            proto_unpack(&arena, &replication__namespaces__descriptor, bytes_from(response->body));
    if (list && list->n_namespaces == 1)
        registry_merge(replicator->options.registry, list->namespaces[0], need_merged, need);
    else
        need_end(need, false);
}

void metadata_need(void *ctx, int source, struct uuid namespace_id,
    void (*done)(void *done_ctx, bool known), void *done_ctx)
{
    struct replicator *replicator = ctx;
    struct need *need = mem_new(struct need);
    need->replicator = replicator;
    need->namespace_id = namespace_id;
    need->done = done;
    need->ctx = done_ctx;
    replicator->under_way++;
    ProtobufCBinaryData id = binary_of(uuid_view(&need->namespace_id));
    ask_list(replicator, source, &id, 1, need_answered, need);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct metadata *metadata_open(struct replicator *replicator)
{
    struct metadata *metadata = mem_new(struct metadata);
    metadata->replicator = replicator;
    metadata->asking = mem_zalloc((size_t)replicator->federation->count, sizeof(bool));
    registry_listen(replicator->options.registry, record_changed, metadata);
    return metadata;
}

void metadata_start(struct metadata *metadata)
{
    struct replicator *replicator = metadata->replicator;
    if (!replicator->bus)
        return;
    enum err err = bus_subscribe(replicator->bus, "strait.meta.*", NULL, replicator->mailbox,
        broadcast_arrived, metadata, &metadata->subscription);
    if (err)
        log_error("metadata.failed", "err=%s", err_name(err));
}

void metadata_close(struct metadata *metadata)
{
    mem_free(metadata->asking);
    mem_free(metadata);
}

int64_t metadata_step(struct metadata *metadata, int64_t now)
{
    struct replicator *replicator = metadata->replicator;
    if (replicator_stopping(replicator))
        return INT64_MAX;
    if (now < metadata->round_mono)
        return metadata->round_mono;
    metadata->round_mono = now + ROUND_NS;
    for (int i = 0; i < replicator->federation->count; i++) {
        struct bus *bus = cluster_bus(replicator, i);
        if (i != replicator->federation->self && bus && bus_connected(bus) && !metadata->asking[i])
            ask_digests(metadata, i);
    }
    return metadata->round_mono;
}
