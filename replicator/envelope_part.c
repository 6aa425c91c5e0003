/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames larger than a message: cut into parts of equal size (the last one may be shorter), and put
 * together again in any order. Where a part belongs follows from its number; the size of the others
 * is known from any one of them.
 */
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"
#include "replicator/envelope.h"
#include "replicator/envelope_private.h"

#define PARTS_MAX       65535u
#define FRAME_BYTES_MAX (ENVELOPE_PLAIN_BYTES_MAX + ENVELOPE_HEADER_BYTES)

enum offset {
    AT_MAGIC = 0,
    AT_PART = 4,
    AT_PARTS = 6,
    AT_ID = 8,
    AT_WHOLE_LEN = 16,
    AT_LEN = 20,
    AT_HASH = 24,
};

/* ---- cutting --------------------------------------------------------------------------------- */

size_t envelope_parts(struct bytes frame, size_t max)
{
    if (frame.len <= max)
        return 1;
    CHECK(max > ENVELOPE_PART_BYTES);
    size_t step = max - ENVELOPE_PART_BYTES;
    size_t parts = (frame.len + step - 1) / step;
    CHECK(parts <= PARTS_MAX);
    return parts;
}

struct blob *envelope_part(struct bytes frame, size_t max, size_t part)
{
    size_t parts = envelope_parts(frame, max);
    CHECK(part < parts);
    if (parts == 1)
        return blob_from(frame);
    size_t step = max - ENVELOPE_PART_BYTES;
    size_t offset = part * step;
    size_t len = frame.len - offset < step ? frame.len - offset : step;
    struct bytes data = bytes_make(frame.data + offset, len);
    struct blob *blob = blob_alloc(ENVELOPE_PART_BYTES + len);
    uint8_t *at = blob->data;
    envelope_put(at + AT_MAGIC, ENVELOPE_PART_MAGIC, 4);
    envelope_put(at + AT_PART, part, 2);
    envelope_put(at + AT_PARTS, parts, 2);
    envelope_put(at + AT_ID, hash64(frame, 0), 8);
    envelope_put(at + AT_WHOLE_LEN, frame.len, 4);
    envelope_put(at + AT_LEN, len, 4);
    envelope_put(at + AT_HASH, hash64(data, 0), 8);
    memcpy(at + ENVELOPE_PART_BYTES, data.data, len);
    return blob;
}

/* ---- joining --------------------------------------------------------------------------------- */

/* A decoded part: a view. */
struct part {
    size_t number;
    size_t parts;
    uint64_t id;
    size_t whole_len;
    size_t step; /* size of every part but the last */
    struct bytes data;
};

static enum err part_decode(struct bytes message, struct part *ret_part)
{
    if (message.len <= ENVELOPE_PART_BYTES)
        return ERR_CORRUPT;
    struct bytes data =
        bytes_make(message.data + ENVELOPE_PART_BYTES, message.len - ENVELOPE_PART_BYTES);
    struct part part = {.number = envelope_get(message.data + AT_PART, 2),
        .parts = envelope_get(message.data + AT_PARTS, 2),
        .id = envelope_get(message.data + AT_ID, 8),
        .whole_len = envelope_get(message.data + AT_WHOLE_LEN, 4),
        .data = data};
    if (envelope_get(message.data + AT_LEN, 4) != data.len ||
        envelope_get(message.data + AT_HASH, 8) != hash64(data, 0))
        return ERR_CORRUPT;
    if (part.parts < 2 || part.number >= part.parts || part.whole_len > FRAME_BYTES_MAX ||
        part.whole_len <= data.len)
        return ERR_CORRUPT;
    bool last = part.number + 1 == part.parts;
    part.step = last ? (part.whole_len - data.len) / (part.parts - 1) : data.len;
    /* All parts but the last are full, and the last is not empty. */
    size_t before_last = part.step * (part.parts - 1);
    if (before_last >= part.whole_len || part.whole_len - before_last > part.step ||
        (last && before_last + data.len != part.whole_len))
        return ERR_CORRUPT;
    *ret_part = part;
    return OK;
}

void envelope_joiner_init(struct envelope_joiner *joiner)
{
    *joiner = (struct envelope_joiner){0};
}

void envelope_joiner_release(struct envelope_joiner *joiner)
{
    buffer_release(&joiner->whole);
    envelope_joiner_init(joiner);
}

static bool same_frame(const struct envelope_joiner *joiner, const struct part *part)
{
    return joiner->parts == part->parts && joiner->id == part->id &&
           joiner->whole.len == part->whole_len && joiner->part_bytes == part->step;
}

static void begin(struct envelope_joiner *joiner, const struct part *part)
{
    envelope_joiner_release(joiner);
    joiner->id = part->id;
    joiner->parts = part->parts;
    joiner->missing = part->parts;
    joiner->part_bytes = part->step;
    buffer_reserve(&joiner->whole, part->whole_len);
    joiner->whole.len = part->whole_len;
}

static void take(struct envelope_joiner *joiner, const struct part *part)
{
    uint64_t *word = &joiner->received[part->number / 64];
    uint64_t bit = 1ull << (part->number % 64);
    if (*word & bit)
        return;
    *word |= bit;
    joiner->missing--;
    memcpy(joiner->whole.data + part->number * part->step, part->data.data, part->data.len);
}

enum err envelope_join(
    struct envelope_joiner *joiner, struct bytes message, struct bytes *ret_frame)
{
    if (joiner->parts && !joiner->missing)
        envelope_joiner_release(joiner); /* handed out by the call before */
    if (message.len < 4)
        return ERR_CORRUPT;
    uint64_t magic = envelope_get(message.data + AT_MAGIC, 4);
    if (magic == ENVELOPE_FRAME_MAGIC) {
        *ret_frame = message;
        return OK;
    }
    struct part part;
    if (magic != ENVELOPE_PART_MAGIC || part_decode(message, &part) != OK)
        return ERR_CORRUPT;
    if (!same_frame(joiner, &part))
        begin(joiner, &part);
    take(joiner, &part);
    if (joiner->missing) {
        *ret_frame = (struct bytes){0};
        return OK;
    }
    if (hash64(buffer_view(&joiner->whole), 0) != joiner->id) {
        envelope_joiner_release(joiner);
        return ERR_CORRUPT;
    }
    *ret_frame = buffer_view(&joiner->whole);
    return OK;
}
