/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary min-heap of deadlines with removal by handle.
 */
#ifndef CLUSTER_BASE_HEAP_H
#define CLUSTER_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

/** Member of a heap, embedded in the owner's struct. Zero-initialised = in no heap. */
struct heap_node {
    int64_t key;  /* e.g. nanoseconds; smallest first; ties in no particular order */
    size_t index; /* 1-based position; 0 = in no heap */
};

/** Zero-initialised memory is a valid empty heap. One thread. */
struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t capacity;
};

void heap_init(struct heap *heap);
void heap_release(struct heap *heap);
/** Inserts, or moves to its new key when already in this heap. */
void heap_set(struct heap *heap, struct heap_node *node, int64_t key);
/** Removes; harmless when in no heap. */
void heap_remove(struct heap *heap, struct heap_node *node);
/** The smallest, or NULL. Not removed. */
struct heap_node *heap_peek(const struct heap *heap);

#endif
