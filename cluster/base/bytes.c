/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/bytes.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"

#define BUFFER_CAPACITY_MIN 256u

struct bytes bytes_of(const char *text)
{
    return bytes_make(text, text ? strlen(text) : 0);
}

struct bytes bytes_make(const void *data, size_t len)
{
    return (struct bytes){data, len};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

struct bytes bytes_copy(struct arena *arena, struct bytes view)
{
    return (struct bytes){arena_copy(arena, view.data, view.len), view.len};
}

char *bytes_string(struct arena *arena, struct bytes view)
{
    return arena_copy(arena, view.data, view.len);
}

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}

void buffer_release(struct buffer *buffer)
{
    mem_free(buffer->data);
    buffer_init(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->len = 0;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t extra)
{
    CHECK(extra <= SIZE_MAX / 2 - buffer->len);
    size_t need = buffer->len + extra;
    if (need > buffer->capacity || !buffer->data) {
        size_t capacity = buffer->capacity * 2;
        if (capacity < need)
            capacity = need;
        if (capacity < BUFFER_CAPACITY_MIN)
            capacity = BUFFER_CAPACITY_MIN;
        buffer->data = mem_realloc(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->len;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(buffer_reserve(buffer, len), data, len);
    buffer->len += len;
}

void buffer_printf(struct buffer *buffer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(len >= 0);
    size_t size = (size_t)len + 1;
    int written = vsnprintf((char *)buffer_reserve(buffer, size), size, fmt, again);
    va_end(again);
    CHECK(written == len);
    buffer->len += (size_t)len;
}

struct bytes buffer_view(const struct buffer *buffer)
{
    return (struct bytes){buffer->data, buffer->len};
}

struct blob *blob_alloc(size_t len)
{
    CHECK(len <= SIZE_MAX / 2);
    struct blob *blob = mem_alloc(sizeof(*blob) + len);
    atomic_init(&blob->refs, 1);
    blob->len = len;
    return blob;
}

struct blob *blob_from(struct bytes view)
{
    struct blob *blob = blob_alloc(view.len);
    if (view.len > 0)
        memcpy(blob->data, view.data, view.len);
    return blob;
}

struct blob *blob_retain(struct blob *blob)
{
    /* Relaxed: whoever retains already holds a reference. */
    uint32_t before = atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    CHECK(before > 0 && before < UINT32_MAX);
    return blob;
}

void blob_unref(struct blob *blob)
{
    if (!blob)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1)
        mem_free(blob);
}

struct bytes blob_view(const struct blob *blob)
{
    return (struct bytes){blob->data, blob->len};
}
