/* SPDX-License-Identifier: Apache-2.0
 *
 * A skip list. A node is one heap object: header, links of its levels, key. Level 0 is doubly
 * linked for reverse scans.
 */
#include "cluster/base/ordered_map.h"

#include <string.h>

#include "cluster/base/mem.h"

struct ordered_node {
    void *value;
    struct ordered_node *prev;
    size_t key_len;
    int height;
    struct ordered_node *next[]; /* `height` links, then the key */
};

#define RANDOM_SEED 0x9e3779b97f4a7c15u

void ordered_map_init(struct ordered_map *map)
{
    *map = (struct ordered_map){0};
}

void ordered_map_release(struct ordered_map *map)
{
    struct ordered_node *node = map->next[0];
    while (node) {
        struct ordered_node *next = node->next[0];
        mem_free(node);
        node = next;
    }
    *map = (struct ordered_map){0};
}

struct bytes ordered_node_key(const struct ordered_node *node)
{
    return bytes_make(&node->next[node->height], node->key_len);
}

void *ordered_node_value(const struct ordered_node *node)
{
    return node->value;
}

struct ordered_node *ordered_node_next(const struct ordered_node *node)
{
    return node->next[0];
}

struct ordered_node *ordered_node_prev(const struct ordered_node *node)
{
    return node->prev;
}

struct ordered_node *ordered_map_first(const struct ordered_map *map)
{
    return map->next[0];
}

/** The last node below `key`, NULL when the map begins there; on the way, the links to change. */
static struct ordered_node *descend(const struct ordered_map *map, struct bytes key,
    struct ordered_node *ret_path[ORDERED_MAP_HEIGHT_MAX])
{
    struct ordered_node *at = NULL;
    for (int level = map->height - 1; level >= 0; level--) {
        struct ordered_node *next = at ? at->next[level] : map->next[level];
        while (next && bytes_compare(ordered_node_key(next), key) < 0) {
            at = next;
            next = at->next[level];
        }
        if (ret_path)
            ret_path[level] = at;
    }
    return at;
}

struct ordered_node *ordered_map_seek(const struct ordered_map *map, struct bytes key)
{
    struct ordered_node *before = descend(map, key, NULL);
    return before ? before->next[0] : map->next[0];
}

struct ordered_node *ordered_map_seek_before(const struct ordered_map *map, struct bytes key)
{
    return descend(map, key, NULL);
}

void *ordered_map_get(const struct ordered_map *map, struct bytes key)
{
    struct ordered_node *node = ordered_map_seek(map, key);
    return node && bytes_equal(ordered_node_key(node), key) ? node->value : NULL;
}

/** Geometric with ratio 1/4. */
static int random_height(struct ordered_map *map)
{
    uint64_t x = map->random ? map->random : RANDOM_SEED;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    map->random = x;
    int height = 1;
    for (uint64_t bits = x >> 8; (bits & 3) == 0 && height < ORDERED_MAP_HEIGHT_MAX; bits >>= 2)
        height++;
    return height;
}

static struct ordered_node *node_alloc(struct bytes key, int height, void *value)
{
    size_t links = (size_t)height * sizeof(struct ordered_node *);
    struct ordered_node *node = mem_alloc(sizeof(*node) + links + key.len);
    node->value = value;
    node->prev = NULL;
    node->key_len = key.len;
    node->height = height;
    if (key.len > 0)
        memcpy(&node->next[height], key.data, key.len);
    return node;
}

void *ordered_map_put(struct ordered_map *map, struct bytes key, void *value)
{
    CHECK(value);
    struct ordered_node *path[ORDERED_MAP_HEIGHT_MAX] = {0};
    struct ordered_node *before = descend(map, key, path);
    struct ordered_node *after = before ? before->next[0] : map->next[0];
    if (after && bytes_equal(ordered_node_key(after), key)) {
        void *replaced = after->value;
        after->value = value;
        return replaced;
    }
    int height = random_height(map);
    if (height > map->height)
        map->height = height;
    struct ordered_node *node = node_alloc(key, height, value);
    for (int level = 0; level < height; level++) {
        struct ordered_node **link = path[level] ? &path[level]->next[level] : &map->next[level];
        node->next[level] = *link;
        *link = node;
    }
    node->prev = before;
    if (after)
        after->prev = node;
    else
        map->last = node;
    map->count++;
    return NULL;
}

void *ordered_map_remove(struct ordered_map *map, struct bytes key)
{
    struct ordered_node *path[ORDERED_MAP_HEIGHT_MAX] = {0};
    struct ordered_node *before = descend(map, key, path);
    struct ordered_node *node = before ? before->next[0] : map->next[0];
    if (!node || !bytes_equal(ordered_node_key(node), key))
        return NULL;
    for (int level = 0; level < node->height; level++) {
        struct ordered_node **link = path[level] ? &path[level]->next[level] : &map->next[level];
        CHECK(*link == node);
        *link = node->next[level];
    }
    if (node->next[0])
        node->next[0]->prev = before;
    else
        map->last = before;
    map->count--;
    void *value = node->value;
    mem_free(node);
    return value;
}
