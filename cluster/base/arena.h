/* SPDX-License-Identifier: Apache-2.0
 *
 * Region allocator: many small objects, one lifetime. Not thread-safe; one owner at a time.
 */
#ifndef CLUSTER_BASE_ARENA_H
#define CLUSTER_BASE_ARENA_H

#include <stddef.h>

#include "cluster/base/check.h"

struct arena_block;

/** A region. Zero-initialised memory is a valid empty arena. */
struct arena {
    struct arena_block *head; /* newest block */
    size_t used;              /* bytes handed out since init or reset */
    size_t reserved;          /* bytes held from the heap */
};

/** Makes an empty arena; allocates nothing yet. */
void arena_init(struct arena *arena);
/** Frees everything. The arena is empty and usable again. NULL-safe fields. */
void arena_release(struct arena *arena);
/** Forgets all objects, keeps the largest block for reuse. */
void arena_reset(struct arena *arena);
/** `size` bytes, 16-byte aligned, uninitialised. Never NULL: heap exhaustion aborts. */
void *arena_alloc(struct arena *arena, size_t size);
/** Like arena_alloc, zeroed; count * size is overflow-checked. */
void *arena_zalloc(struct arena *arena, size_t count, size_t size);
/** A copy of `len` bytes, followed by a NUL that is not counted. */
void *arena_copy(struct arena *arena, const void *data, size_t len);
/** A NUL-terminated copy. */
char *arena_strdup(struct arena *arena, const char *text);
/** A formatted string. */
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** Typed helper: one zeroed object. */
#define arena_new(arena, type) ((type *)arena_zalloc((arena), 1, sizeof(type)))

#endif
