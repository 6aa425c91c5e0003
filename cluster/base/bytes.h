/* SPDX-License-Identifier: Apache-2.0
 *
 * Views of bytes, growable buffers and reference-counted blobs.
 */
#ifndef CLUSTER_BASE_BYTES_H
#define CLUSTER_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/arena.h"

/** A view: does not own its memory. {NULL, 0} is empty. */
struct bytes {
    const uint8_t *data;
    size_t len;
};

/** A view of a NUL-terminated string, without the NUL. NULL gives the empty view. */
struct bytes bytes_of(const char *text);
struct bytes bytes_make(const void *data, size_t len);
bool bytes_equal(struct bytes a, struct bytes b);
/** memcmp order, shorter first on a tie. */
int bytes_compare(struct bytes a, struct bytes b);
/** Copies into the arena. */
struct bytes bytes_copy(struct arena *arena, struct bytes view);
/** NUL-terminated copy in the arena (embedded NULs are kept). */
char *bytes_string(struct arena *arena, struct bytes view);

/** Growable heap buffer. Zero-initialised memory is a valid empty buffer. */
struct buffer {
    uint8_t *data;
    size_t len;
    size_t capacity;
};

void buffer_init(struct buffer *buffer);
void buffer_release(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);
/** Makes room for `extra` more bytes and returns where they go; len is not changed. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t extra);
void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_printf(struct buffer *buffer, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct bytes buffer_view(const struct buffer *buffer);

/** Immutable bytes with a thread-safe reference count; data follows the header. */
struct blob {
    _Atomic(uint32_t) refs;
    size_t len;
    uint8_t data[];
};

/** A blob of `len` uninitialised bytes with one reference. */
struct blob *blob_alloc(size_t len);
struct blob *blob_from(struct bytes view);
struct blob *blob_retain(struct blob *blob);
/** Drops one reference; frees at zero. NULL is ignored. */
void blob_unref(struct blob *blob);
struct bytes blob_view(const struct blob *blob);

#endif
