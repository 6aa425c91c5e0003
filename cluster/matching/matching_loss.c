/* SPDX-License-Identifier: Apache-2.0
 *
 * Tasks that were dropped come back through the scan of due runs. That scan is asked for when half
 * of the bound is free again, so that a backlog larger than the bound is read in few large pieces
 * instead of over and over.
 */
#include "cluster/base/mem.h"
#include "cluster/matching/matching_private.h"

bool loss_note(struct matching *matching, struct uuid namespace_id, int64_t mono_now_ns)
{
    if (map_get(&matching->losses, uuid_view(&namespace_id)))
        return false;
    struct loss *loss = mem_new(struct loss);
    loss->namespace_id = namespace_id;
    loss->not_before_ns = mono_now_ns + ROOM_INTERVAL_NS;
    /* All wait equally long, so appending keeps the order. */
    list_push_back(&matching->loss_order, &loss->link);
    (void)map_put(&matching->losses, uuid_view(&loss->namespace_id), loss); /* there was none */
    return true;
}

static void loss_free(struct matching *matching, struct loss *loss)
{
    (void)map_remove(&matching->losses, uuid_view(&loss->namespace_id));
    list_remove(&loss->link);
    mem_free(loss);
}

void loss_forget(struct matching *matching, struct uuid namespace_id)
{
    struct loss *loss = map_get(&matching->losses, uuid_view(&namespace_id));
    if (loss)
        loss_free(matching, loss);
}

int64_t loss_step(struct matching *matching, int64_t mono_now_ns)
{
    if (matching->backlog_bytes > matching->backlog_bytes_max / 2)
        return INT64_MAX; /* a task that leaves causes the next step */
    while (!list_empty(&matching->loss_order)) {
        struct loss *loss = CONTAINER_OF(matching->loss_order.next, struct loss, link);
        if (loss->not_before_ns > mono_now_ns)
            return loss->not_before_ns;
        struct uuid namespace_id = loss->namespace_id;
        loss_free(matching, loss);
        matching->sink.room(matching->sink.ctx, namespace_id);
    }
    return INT64_MAX;
}

void loss_release(struct matching *matching)
{
    while (!list_empty(&matching->loss_order))
        loss_free(matching, CONTAINER_OF(matching->loss_order.next, struct loss, link));
    map_release(&matching->losses);
}
