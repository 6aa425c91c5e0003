/* SPDX-License-Identifier: Apache-2.0
 *
 * I1  nodes[i]->index == i + 1 for every member.
 * I2  A node's key is never smaller than its parent's, which is at (i - 1) / 2.
 */
#include "cluster/base/heap.h"

#include "cluster/base/check.h"
#include "cluster/base/mem.h"

#define CAPACITY_MIN 16u

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_release(struct heap *heap)
{
    mem_free(heap->nodes);
    heap_init(heap);
}

static void place(struct heap *heap, size_t at, struct heap_node *node)
{
    heap->nodes[at] = node;
    node->index = at + 1;
}

/** Moves the node at `at` to where its key belongs. */
static void sift(struct heap *heap, size_t at)
{
    struct heap_node *node = heap->nodes[at];
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (heap->nodes[parent]->key <= node->key)
            break;
        place(heap, at, heap->nodes[parent]);
        at = parent;
    }
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->nodes[child + 1]->key < heap->nodes[child]->key)
            child++;
        if (node->key <= heap->nodes[child]->key)
            break;
        place(heap, at, heap->nodes[child]);
        at = child;
    }
    place(heap, at, node);
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t key)
{
    node->key = key;
    if (node->index == 0) {
        if (heap->count == heap->capacity) {
            heap->capacity = heap->capacity ? heap->capacity * 2 : CAPACITY_MIN;
            heap->nodes = mem_realloc(heap->nodes, heap->capacity * sizeof(struct heap_node *));
        }
        place(heap, heap->count++, node);
    }
    CHECK(node->index <= heap->count);
    CHECK(heap->nodes[node->index - 1] == node);
    sift(heap, node->index - 1);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->index == 0)
        return;
    CHECK(node->index <= heap->count);
    size_t at = node->index - 1;
    CHECK(heap->nodes[at] == node);
    struct heap_node *last = heap->nodes[--heap->count];
    node->index = 0;
    if (last == node)
        return;
    place(heap, at, last);
    sift(heap, at);
}

struct heap_node *heap_peek(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
