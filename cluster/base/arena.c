/* SPDX-License-Identifier: Apache-2.0
 *
 * Arena blocks form a chain. Objects are cut from the newest block, the head; a block of its own,
 * put behind the head, serves an object too large to be worth ending the head for.
 *
 * I1  Blocks double from BLOCK_SIZE_MIN to BLOCK_SIZE_MAX, so the number of heap calls is
 *     logarithmic, and at most about half of the reserved memory is unused.
 * I2  Under AddressSanitizer, memory that is not handed out is poisoned, and objects are separated
 *     by a poisoned gap: running off an object is reported as on the heap.
 */
#include "cluster/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"

#define BLOCK_SIZE_MIN 4096u
#define BLOCK_SIZE_MAX (1024u * 1024u)
#define ALIGNMENT      16u

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#define GAP                 ALIGNMENT
#define POISON(ptr, size)   ASAN_POISON_MEMORY_REGION((ptr), (size))
#define UNPOISON(ptr, size) ASAN_UNPOISON_MEMORY_REGION((ptr), (size))
#else
#define GAP                 0u
#define POISON(ptr, size)   ((void)0)
#define UNPOISON(ptr, size) ((void)0)
#endif

struct arena_block {
    struct arena_block *older;
    size_t size; /* of data */
    size_t used; /* always a multiple of ALIGNMENT */
    size_t padding;
    uint8_t data[];
};

_Static_assert(sizeof(struct arena_block) % ALIGNMENT == 0, "data must start aligned");
_Static_assert(_Alignof(max_align_t) <= ALIGNMENT, "malloc must return aligned blocks");

static struct arena_block *block_new(struct arena *arena, size_t size)
{
    CHECK(size <= SIZE_MAX - sizeof(struct arena_block));
    struct arena_block *block = mem_alloc(sizeof(*block) + size);
    *block = (struct arena_block){.size = size};
    POISON(block->data, size);
    arena->reserved += size;
    return block;
}

static void block_free(struct arena *arena, struct arena_block *block)
{
    arena->reserved -= block->size;
    UNPOISON(block->data, block->size);
    mem_free(block);
}

/** The block that the next `need` bytes come from. */
static struct arena_block *block_for(struct arena *arena, size_t need)
{
    struct arena_block *head = arena->head;
    size_t size = head ? head->size * 2 : BLOCK_SIZE_MIN;
    if (size < BLOCK_SIZE_MIN)
        size = BLOCK_SIZE_MIN;
    if (size > BLOCK_SIZE_MAX)
        size = BLOCK_SIZE_MAX;
    if (head && need > size / 2) {
        struct arena_block *own = block_new(arena, need);
        own->older = head->older;
        head->older = own;
        return own;
    }
    struct arena_block *block = block_new(arena, need > size ? need : size);
    block->older = head;
    arena->head = block;
    return block;
}

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_release(struct arena *arena)
{
    struct arena_block *block = arena->head;
    while (block) {
        struct arena_block *older = block->older;
        block_free(arena, block);
        block = older;
    }
    CHECK(arena->reserved == 0);
    arena_init(arena);
}

void arena_reset(struct arena *arena)
{
    struct arena_block *largest = arena->head;
    for (struct arena_block *block = arena->head; block; block = block->older) {
        if (block->size > largest->size)
            largest = block;
    }
    struct arena_block *block = arena->head;
    while (block) {
        struct arena_block *older = block->older;
        if (block != largest)
            block_free(arena, block);
        block = older;
    }
    if (largest) {
        largest->older = NULL;
        largest->used = 0;
        POISON(largest->data, largest->size);
    }
    arena->head = largest;
    arena->used = 0;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    CHECK(size <= SIZE_MAX / 2);
    size_t need = ((size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1)) + GAP;
    struct arena_block *block = arena->head;
    if (!block || need > block->size - block->used)
        block = block_for(arena, need);
    uint8_t *ptr = block->data + block->used;
    block->used += need;
    arena->used += size;
    UNPOISON(ptr, size);
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t size)
{
    CHECK(size == 0 || count <= SIZE_MAX / size);
    return memset(arena_alloc(arena, count * size), 0, count * size);
}

void *arena_copy(struct arena *arena, const void *data, size_t len)
{
    CHECK(len < SIZE_MAX);
    uint8_t *copy = arena_alloc(arena, len + 1);
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = 0;
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    int written = vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    CHECK(written == len);
    return text;
}
