/* SPDX-License-Identifier: Apache-2.0
 *
 * What a starting node asks before it acts: which cluster is active for each namespace now. A
 * region that comes back after it lost a namespace would otherwise believe its own old record and
 * write beside the new active cluster. Peers that cannot be asked do not keep us from starting:
 * that would make one region's loss stop the other.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/thread.h"
#include "cluster/namespace/registry.h"
#include "cluster/node_private.h"
#include "replicator/bus.h"
#include "replicator/replicator.h"

#define SYNC_LIMIT_NS (1500 * NS_PER_MS)
#define CALL_NS       (1000 * NS_PER_MS)
#define RETRY_NS      (20 * NS_PER_MS)

/* Lives until the last answer is in, which may be after the node stopped waiting. */
struct sync {
    struct registry *registry;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int calls;                /* not answered */
    int merges;               /* not stored */
    int failed;               /* clusters that could not be asked, by the last round */
    int refs;                 /* node and outstanding callbacks */
    bool asked[CLUSTERS_MAX]; /* answered: need not be asked again */
};

struct question {
    struct sync *sync;
    int cluster;
};

static void sync_unref(struct sync *sync)
{
    int refs = --sync->refs;
    pthread_cond_broadcast(&sync->cond);
    pthread_mutex_unlock(&sync->mutex);
    if (refs)
        return;
    pthread_mutex_destroy(&sync->mutex);
    pthread_cond_destroy(&sync->cond);
    mem_free(sync);
}

static void merged(void *ctx, enum err err, const char *text)
{
    struct sync *sync = ctx;
    if (err)
        log_warn("namespace.not_merged", "err=%s text=%s", err_name(err), log_quote(text));
    pthread_mutex_lock(&sync->mutex);
    sync->merges--;
    sync_unref(sync);
}

static void merge_all(struct sync *sync, const Replication__PeerResponse *response)
{
    struct arena arena = {0};
    Replication__Namespaces *list = proto_unpack(&arena, &replication__namespaces__descriptor,
        bytes_make(response->body.data, response->body.len));
    for (size_t i = 0; list && i < list->n_namespaces; i++) {
        pthread_mutex_lock(&sync->mutex);
        sync->merges++;
        sync->refs++;
        pthread_mutex_unlock(&sync->mutex);
        registry_merge(sync->registry, list->namespaces[i], merged, sync);
    }
    arena_release(&arena);
}

static void answered(void *ctx, enum err err, const Replication__PeerResponse *response)
{
    struct question *question = ctx;
    struct sync *sync = question->sync;
    if (!err && response->grpc_code == GRPC_OK)
        merge_all(sync, response);
    pthread_mutex_lock(&sync->mutex);
    sync->calls--;
    /* Nobody listens there: that cluster is down and cannot know better. */
    sync->asked[question->cluster] = !err || err == ERR_NOT_FOUND;
    mem_free(question);
    sync_unref(sync);
}

static int ask(struct node *node, struct sync *sync)
{
    int open = 0;
    for (int i = 0; i < node->federation.count; i++) {
        if (i == node->federation.self || !node->clusters[i].bus || sync->asked[i])
            continue;
        open++;
        if (!bus_connected(node->clusters[i].bus))
            continue;
        struct question *question = mem_new(struct question);
        question->sync = sync;
        question->cluster = i;
        sync->calls++;
        sync->refs++;
        pthread_mutex_unlock(&sync->mutex);
        Replication__NamespaceList list;
        replication__namespace_list__init(&list);
        Replication__PeerRequest request;
        replication__peer_request__init(&request);
        request.body_case = REPLICATION__PEER_REQUEST__BODY_NAMESPACE_LIST;
        request.namespace_list = &list;
        replicator_peer_call(node->replicator, i, &request, CALL_NS, answered, question);
        pthread_mutex_lock(&sync->mutex);
    }
    return open;
}

void node_sync_namespaces(struct node *node)
{
    struct sync *sync = mem_new(struct sync);
    sync->registry = node->registry;
    sync->refs = 1;
    pthread_mutex_init(&sync->mutex, NULL);
    cond_init(&sync->cond);
    int64_t end = env_monotonic_ns(node->env) + SYNC_LIMIT_NS;
    pthread_mutex_lock(&sync->mutex);
    for (;;) {
        int open = sync->calls ? 1 : ask(node, sync);
        if (!open && !sync->calls && !sync->merges)
            break;
        if (env_monotonic_ns(node->env) >= end) {
            log_warn("namespace.sync_incomplete", "cluster=%s unanswered=%d",
                federation_self(&node->federation), open);
            break;
        }
        cond_wait_for(&sync->cond, &sync->mutex, RETRY_NS);
    }
    sync_unref(sync);
}
