/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear probing over slots that keep the key's hash, so that probing rarely looks at key bytes.
 *
 * I1  At least a quarter of the slots is empty (neither entry nor tomb), so every probe ends.
 * I2  A tomb stands only where a probe may have to pass: never right before an empty slot.
 *
 * The hash has no random seed on purpose: iteration order must depend on the operations alone, or
 * simulator runs could not be repeated.
 */
#include "cluster/base/map.h"

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"

#define CAPACITY_MIN 16u

/** value NULL: empty; value &tomb: removed. */
struct map_slot {
    uint64_t hash;
    struct bytes key;
    void *value;
};

static char tomb;

static bool slot_is_entry(const struct map_slot *slot)
{
    return slot->value && slot->value != &tomb;
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_release(struct map *map)
{
    mem_free(map->slots);
    map_init(map);
}

static struct map_slot *find(const struct map *map, struct bytes key, uint64_t hash)
{
    if (map->count == 0)
        return NULL;
    size_t mask = map->capacity - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct map_slot *slot = &map->slots[at];
        if (!slot->value)
            return NULL;
        if (slot->hash == hash && slot->value != &tomb && bytes_equal(slot->key, key))
            return slot;
    }
}

/** For a key that is not in the table: the first slot that may take it. */
static struct map_slot *find_free(const struct map *map, uint64_t hash)
{
    size_t mask = map->capacity - 1;
    size_t at = hash & mask;
    while (slot_is_entry(&map->slots[at]))
        at = (at + 1) & mask;
    return &map->slots[at];
}

/** Makes room for one more entry; drops all tombs when it has to move. */
static void make_room(struct map *map)
{
    if ((map->count + map->tombs + 1) * 4 <= map->capacity * 3)
        return;
    struct map old = *map;
    map->capacity = CAPACITY_MIN;
    while ((map->count + 1) * 2 > map->capacity)
        map->capacity *= 2;
    map->slots = mem_zalloc(map->capacity, sizeof(*map->slots));
    map->tombs = 0;
    for (size_t at = 0; at < old.capacity; at++) {
        if (slot_is_entry(&old.slots[at]))
            *find_free(map, old.slots[at].hash) = old.slots[at];
    }
    mem_free(old.slots);
}

void *map_get(const struct map *map, struct bytes key)
{
    if (map->count == 0)
        return NULL;
    struct map_slot *slot = find(map, key, hash64(key, 0));
    return slot ? slot->value : NULL;
}

void *map_put(struct map *map, struct bytes key, void *value)
{
    CHECK(value != NULL);
    uint64_t hash = hash64(key, 0);
    struct map_slot *slot = find(map, key, hash);
    if (slot) {
        void *replaced = slot->value;
        /* The key belongs to the value: the old bytes may die with the old value. */
        slot->key = key;
        slot->value = value;
        return replaced;
    }
    make_room(map);
    slot = find_free(map, hash);
    if (slot->value)
        map->tombs--;
    *slot = (struct map_slot){hash, key, value};
    map->count++;
    return NULL;
}

void *map_remove(struct map *map, struct bytes key)
{
    struct map_slot *slot = find(map, key, hash64(key, 0));
    if (!slot)
        return NULL;
    void *removed = slot->value;
    *slot = (struct map_slot){.value = &tomb};
    map->count--;
    map->tombs++;
    size_t mask = map->capacity - 1;
    size_t at = (size_t)(slot - map->slots);
    if (map->slots[(at + 1) & mask].value)
        return removed;
    while (map->slots[at].value == &tomb) {
        map->slots[at].value = NULL;
        map->tombs--;
        at = (at - 1) & mask;
    }
    return removed;
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        const struct map_slot *slot = &map->slots[(*cursor)++];
        if (slot_is_entry(slot))
            return slot->value;
    }
    return NULL;
}
