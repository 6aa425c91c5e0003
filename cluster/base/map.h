/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash map from byte strings to pointers (open addressing, xxh3, keys not owned).
 */
#ifndef CLUSTER_BASE_MAP_H
#define CLUSTER_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/bytes.h"

struct map_slot;

/** Zero-initialised memory is a valid empty map. One thread. The key bytes must outlive the entry
 *  (normally they are a field of the value). */
struct map {
    struct map_slot *slots;
    size_t count;
    size_t capacity; /* power of two or 0 */
    size_t tombs;
};

void map_init(struct map *map);
/** Frees the table, not the values. */
void map_release(struct map *map);
/** The value, or NULL. */
void *map_get(const struct map *map, struct bytes key);
/** Sets the value (not NULL); returns the value it replaced, or NULL. */
void *map_put(struct map *map, struct bytes key, void *value);
/** Removes the entry; returns its value, or NULL. */
void *map_remove(struct map *map, struct bytes key);
/** Iteration: start with *cursor = 0; NULL at the end. Do not put while iterating; removing the
 *  entry just returned is allowed. */
void *map_next(const struct map *map, size_t *cursor);

#endif
