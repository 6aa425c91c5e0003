/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap, for objects that live longer than an arena's contents. Exhaustion aborts: bounds keep
 * us far from it, and no caller could do better. Outside cluster/base and the vendor drivers, the
 * only way to the heap. Any thread.
 */
#ifndef CLUSTER_BASE_MEM_H
#define CLUSTER_BASE_MEM_H

#include <stddef.h>

#include "cluster/base/check.h"

/** `size` bytes, uninitialised. Never NULL. */
NODISCARD void *mem_alloc(size_t size);
/** Zeroed; count * size is overflow-checked. Never NULL. */
NODISCARD void *mem_zalloc(size_t count, size_t size);
/** Grows or shrinks; `old` may be NULL. Never NULL; the old pointer is dead. */
NODISCARD void *mem_realloc(void *old, size_t size);
/** A NUL-terminated copy; NULL gives NULL. */
NODISCARD char *mem_strdup(const char *text);
/** NULL is ignored. */
void mem_free(void *ptr);

/** Typed helper: one zeroed object. */
#define mem_new(type) ((type *)mem_zalloc(1, sizeof(type)))

#endif
