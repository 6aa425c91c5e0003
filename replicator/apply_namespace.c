/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate before the executor: is the namespace of an item known here, and as new as the item? An
 * item of a higher failover version than the record here comes before the record's change; if it
 * were applied first, an executor that takes itself for the active one would write behind it at a
 * version that is over.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "replicator/apply_private.h"

static bool is_member(struct apply *apply, struct uuid id)
{
    struct arena arena CLEANUP(arena_release) = {0};
    const Record__Namespace *record = registry_record_by_id(apply->options.registry, &arena, id);
    for (size_t i = 0; record && i < record->n_clusters; i++) {
        if (strcmp(record->clusters[i], federation_self(apply->options.federation)) == 0)
            return true;
    }
    return false;
}

/* Consumes the view. */
static const struct apply_namespace *namespace_of(struct apply *apply, struct namespace_view *view)
{
    struct apply_namespace *known = map_get(&apply->namespaces, uuid_view(&view->id));
    if (!known) {
        known = mem_new(struct apply_namespace);
        known->id = view->id;
        CHECK(!map_put(&apply->namespaces, uuid_view(&known->id), known));
    }
    if (known->view == view) {
        namespace_view_unref(view);
        return known;
    }
    namespace_view_unref(known->view);
    known->view = view;
    known->member = is_member(apply, view->id);
    return known;
}

static void namespace_answered(void *ctx, bool known)
{
    struct apply_queue *queue = ctx;
    if (known)
        queue_go_on(queue);
    else
        queue_retry(queue);
}

static enum apply_gate ask(struct apply_queue *queue, const struct apply_item *item)
{
    const struct apply_hooks *hooks = &queue->apply->options.hooks;
    queue->namespace_asked = true;
    hooks->need_namespace(hooks->ctx, item->source, queue->namespace_id, namespace_answered, queue);
    return GATE_WAITING;
}

enum apply_gate namespace_gate(struct apply_queue *queue, const struct apply_item *item)
{
    struct apply *apply = queue->apply;
    struct namespace_view *view = registry_view_by_id(apply->options.registry, queue->namespace_id);
    const struct apply_namespace *known = view ? namespace_of(apply, view) : NULL;
    if (known && (!known->member || known->view->deleted))
        return GATE_IGNORED;
    if (!known || item->item->version > known->view->failover_version) {
        if (!queue->namespace_asked)
            return ask(queue, item);
        queue_retry(queue); /* asked, and still not here */
        return GATE_WAITING;
    }
    queue->namespace_asked = false;
    queue->version_max = known->view->failover_version;
    return GATE_OPEN;
}

void namespaces_free(struct apply *apply)
{
    size_t cursor = 0;
    struct apply_namespace *known;
    while ((known = map_next(&apply->namespaces, &cursor))) {
        namespace_view_unref(known->view);
        mem_free(known);
    }
    map_release(&apply->namespaces);
}
