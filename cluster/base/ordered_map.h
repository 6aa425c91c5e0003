/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorted map from byte strings to pointers (skip list). Keys are copied, values are not owned.
 * Equal operations on two maps give equal maps: node heights come from a fixed seed.
 */
#ifndef CLUSTER_BASE_ORDERED_MAP_H
#define CLUSTER_BASE_ORDERED_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/base/bytes.h"

#define ORDERED_MAP_HEIGHT_MAX 20

struct ordered_node;

/** One thread. Valid after ordered_map_init(); zero-initialised memory is a valid empty map. */
struct ordered_map {
    struct ordered_node *next[ORDERED_MAP_HEIGHT_MAX]; /* first node of each level */
    struct ordered_node *last;
    size_t count;
    uint64_t random;
    int height;
};

void ordered_map_init(struct ordered_map *map);
/** Frees the nodes, not the values. */
void ordered_map_release(struct ordered_map *map);
/** The value, or NULL. */
void *ordered_map_get(const struct ordered_map *map, struct bytes key);
/** Sets the value (not NULL); returns the value it replaced, or NULL. */
void *ordered_map_put(struct ordered_map *map, struct bytes key, void *value);
/** Removes the entry; returns its value, or NULL. */
void *ordered_map_remove(struct ordered_map *map, struct bytes key);

/** The first entry with a key >= `key`; NULL when there is none. */
struct ordered_node *ordered_map_seek(const struct ordered_map *map, struct bytes key);
/** The last entry with a key < `key`; NULL when there is none. */
struct ordered_node *ordered_map_seek_before(const struct ordered_map *map, struct bytes key);
struct ordered_node *ordered_map_first(const struct ordered_map *map);
/** Neighbours; NULL at the end. A node is valid until it is removed. */
struct ordered_node *ordered_node_next(const struct ordered_node *node);
struct ordered_node *ordered_node_prev(const struct ordered_node *node);
struct bytes ordered_node_key(const struct ordered_node *node);
void *ordered_node_value(const struct ordered_node *node);

#endif
