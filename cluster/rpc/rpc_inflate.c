/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded inflating on zlib. The output starts at a guess and doubles, so the arena holds at most
 * about twice the bound. The only file that includes zlib.h.
 *
 * A gzip body may consist of several members (RFC 1952, 2.2); they are joined, as other servers do.
 */
#include "cluster/rpc/rpc_inflate.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

/* 15 bits of window; + 32 lets zlib tell gzip from zlib framing by the header. */
#define WINDOW_BITS (15 + 32)
#define OUTPUT_MIN  256u
#define RATIO_GUESS 4u

struct inflater {
    z_stream stream;
    struct arena *arena;
    uint8_t *output;
    size_t len;
    size_t capacity;
    size_t max;
    bool ended; /* at a member's end: the stream may stop here */
};

struct inflater *inflater_open(struct arena *home)
{
    struct inflater *inflater = arena_new(home, struct inflater);
    int status = inflateInit2(&inflater->stream, WINDOW_BITS);
    CHECK(status == Z_OK);
    return inflater;
}

void inflater_close(struct inflater *inflater)
{
    (void)inflateEnd(&inflater->stream); /* fails only on a stream that was never opened */
}

void inflater_begin(struct inflater *inflater, struct arena *arena, size_t compressed, size_t max)
{
    int status = inflateReset2(&inflater->stream, WINDOW_BITS);
    CHECK(status == Z_OK);
    size_t guess = compressed > max / RATIO_GUESS ? max : compressed * RATIO_GUESS;
    inflater->arena = arena;
    inflater->capacity = guess < OUTPUT_MIN ? OUTPUT_MIN : guess;
    inflater->output = arena_alloc(arena, inflater->capacity);
    inflater->len = 0;
    inflater->max = max;
    inflater->ended = false;
}

static void grow(struct inflater *inflater)
{
    /* One byte beyond the bound is enough to know that it is exceeded. */
    size_t limit = inflater->max + 1;
    size_t capacity = inflater->capacity > limit / 2 ? limit : inflater->capacity * 2;
    uint8_t *output = arena_alloc(inflater->arena, capacity);
    memcpy(output, inflater->output, inflater->len);
    inflater->output = output;
    inflater->capacity = capacity;
}

enum err inflater_feed(struct inflater *inflater, struct bytes piece)
{
    z_stream *stream = &inflater->stream;
    stream->next_in = piece.data;
    stream->avail_in = (uInt)piece.len;
    for (;;) {
        if (inflater->len > inflater->max)
            return ERR_TOO_LARGE;
        if (inflater->len == inflater->capacity)
            grow(inflater);
        if (inflater->ended) {
            if (stream->avail_in == 0)
                return OK;
            if (inflateReset(stream) != Z_OK)
                return ERR_CORRUPT;
            inflater->ended = false;
        }
        stream->next_out = inflater->output + inflater->len;
        stream->avail_out = (uInt)(inflater->capacity - inflater->len);
        int status = inflate(stream, Z_NO_FLUSH);
        inflater->len = inflater->capacity - stream->avail_out;
        if (status == Z_STREAM_END)
            inflater->ended = true;
        else if (status != Z_OK && status != Z_BUF_ERROR)
            return ERR_CORRUPT;
        else if (stream->avail_in == 0 && stream->avail_out > 0)
            return OK;
    }
}

enum err inflater_end(struct inflater *inflater, struct bytes *ret_message)
{
    if (!inflater->ended)
        return ERR_CORRUPT;
    *ret_message = bytes_make(inflater->output, inflater->len);
    return OK;
}
