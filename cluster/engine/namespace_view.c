/* SPDX-License-Identifier: Apache-2.0
 *
 * A view is one allocation: its strings lie behind it, so the last reference frees it all.
 */
#include "cluster/engine/namespace_view.h"

#include <stdatomic.h>

#include "cluster/base/check.h"
#include "cluster/base/mem.h"

struct namespace_view *namespace_view_retain(struct namespace_view *view)
{
    uint32_t before = atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    CHECK(before > 0 && before < UINT32_MAX);
    return view;
}

void namespace_view_unref(struct namespace_view *view)
{
    if (!view)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1)
        mem_free(view);
}
