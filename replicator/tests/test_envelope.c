/* SPDX-License-Identifier: Apache-2.0
 *
 * Framing of envelopes: what was encoded comes back, what was damaged is told, in one piece or in
 * parts. TEST_SEED=n repeats a run.
 */
#include "replicator/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/tests/support_cmocka.h"

#define FRAME_HEADER 24u
#define PART_HEADER  32u
#define ROUNDS       2000

static uint64_t seed;
static struct arena arena;

static uint64_t random_below(uint64_t bound)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (seed >> 33) % bound;
}

static int empty_arena(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static ProtobufCBinaryData random_bytes(size_t len, unsigned variety)
{
    uint8_t *data = arena_alloc(&arena, len + 1);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)random_below(variety);
    return (ProtobufCBinaryData){len, data};
}

/* `variety` of 256 cannot be compressed. */
static Replication__Envelope *make_envelope(size_t items, size_t value_bytes, unsigned variety)
{
    Replication__Envelope *envelope = arena_new(&arena, Replication__Envelope);
    replication__envelope__init(envelope);
    envelope->format = 1;
    envelope->source = arena_strdup(&arena, "us");
    envelope->target = arena_strdup(&arena, "eu");
    envelope->shard = 3;
    envelope->epoch = 2;
    envelope->prev_seq = 10;
    envelope->last_seq = 10 + (int64_t)items;
    envelope->newest_seq = envelope->last_seq;
    envelope->n_items = items;
    envelope->items = arena_zalloc(&arena, items + 1, sizeof(*envelope->items));
    for (size_t i = 0; i < items; i++) {
        Replication__Item *item = arena_new(&arena, Replication__Item);
        replication__item__init(item);
        item->seq = 11 + (int64_t)i / 2;
        item->index = (int32_t)i % 2;
        item->kind = RECORD__OUTBOX_ITEM__KIND__EVENTS;
        item->workflow_id = arena_strdup(&arena, "order-1");
        item->value = random_bytes(value_bytes, variety);
        item->n_version_history = 1;
        item->version_history = arena_zalloc(&arena, 1, sizeof(*item->version_history));
        item->version_history[0] = arena_new(&arena, Record__VersionItem);
        record__version_item__init(item->version_history[0]);
        item->version_history[0]->event_id = 5;
        item->version_history[0]->version = 1;
        envelope->items[i] = item;
    }
    return envelope;
}

static enum err decode(struct bytes frame)
{
    Replication__Envelope *envelope = NULL;
    enum err err = envelope_decode(&arena, frame, &envelope);
    assert_true((err == OK) == (envelope != NULL));
    return err;
}

static void put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* A frame that was not compressed, around anything. */
static struct bytes frame_around(struct bytes plain)
{
    uint8_t *frame = arena_alloc(&arena, FRAME_HEADER + plain.len);
    memset(frame, 0, FRAME_HEADER);
    memcpy(frame, "SRE1", 4);
    frame[4] = 1;
    put(frame + 8, plain.len, 4);
    put(frame + 12, plain.len, 4);
    put(frame + 16, hash64(plain, 0), 8);
    memcpy(frame + FRAME_HEADER, plain.data, plain.len);
    return bytes_make(frame, FRAME_HEADER + plain.len);
}

static enum err decode_message(const Replication__Envelope *envelope)
{
    return decode(frame_around(proto_pack(&arena, &envelope->base)));
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void round_trip(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 100, 900, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned variety = 2; variety <= 256; variety += 254) {
            const Replication__Envelope *sent = make_envelope(i * 3, sizes[i], variety);
            struct blob *frame = envelope_encode(sent);
            Replication__Envelope *got = NULL;
            assert_int_equal(envelope_decode(&arena, blob_view(frame), &got), OK);
            struct bytes before = proto_pack(&arena, &sent->base);
            assert_true(bytes_equal(before, proto_pack(&arena, &got->base)));
            assert_true(frame->len <= before.len + FRAME_HEADER);
            blob_unref(frame);
        }
    }
}

static void compresses_what_shrinks(void **state)
{
    (void)state;
    struct blob *text = envelope_encode(make_envelope(4, 2000, 2));
    struct blob *noise = envelope_encode(make_envelope(4, 2000, 256));
    struct blob *little = envelope_encode(make_envelope(1, 100, 2));
    assert_int_equal(text->data[5], 1);
    assert_true(text->len < 3000);
    assert_int_equal(noise->data[5], 0);
    assert_int_equal(little->data[5], 0);
    blob_unref(text);
    blob_unref(noise);
    blob_unref(little);
}

static void newer_formats_are_told(void **state)
{
    (void)state;
    struct blob *frame = envelope_encode(make_envelope(1, 10, 256));
    frame->data[4] = 2;
    assert_int_equal(decode(blob_view(frame)), ERR_VERSION);
    frame->data[4] = 0;
    assert_int_equal(decode(blob_view(frame)), ERR_CORRUPT);
    frame->data[4] = 1;
    frame->data[5] = 2;
    assert_int_equal(decode(blob_view(frame)), ERR_VERSION);
    frame->data[5] = 0;
    assert_int_equal(decode(blob_view(frame)), OK);
    blob_unref(frame);
    Replication__Envelope *newer = make_envelope(1, 10, 256);
    newer->format = 2;
    assert_int_equal(decode_message(newer), ERR_VERSION);
    newer->format = 0;
    assert_int_equal(decode_message(newer), ERR_CORRUPT);
}

static void envelopes_keep_their_rules(void **state)
{
    (void)state;
    char none[] = "";
    assert_int_equal(decode_message(make_envelope(4, 10, 256)), OK);
    Replication__Envelope *bad[16];
    size_t count = sizeof(bad) / sizeof(bad[0]);
    for (size_t i = 0; i < count; i++)
        bad[i] = make_envelope(4, 10, 256);
    bad[0]->source = none;
    bad[1]->target = none;
    bad[2]->shard = -1;
    bad[3]->shard = INT32_MAX;
    bad[4]->epoch = -1;
    bad[5]->prev_seq = -1;
    bad[6]->prev_seq = bad[6]->last_seq + 1;
    bad[7]->items[0]->seq = bad[7]->prev_seq; /* not within the range */
    bad[8]->items[3]->seq = bad[8]->last_seq + 1;
    bad[9]->items[1]->index = 0; /* twice the same */
    bad[10]->items[2]->seq = 11; /* out of order */
    bad[11]->items[0]->index = -1;
    bad[12]->part = 1;
    bad[13]->parts = 2, bad[13]->part = 2;
    bad[14]->parts = -1;
    bad[15]->part = -1;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(decode_message(bad[i]), ERR_CORRUPT);
    Replication__Envelope *empty = make_envelope(0, 0, 2);
    assert_int_equal(decode_message(empty), OK);
    empty->parts = 2, empty->part = 1;
    assert_int_equal(decode_message(empty), OK);
}

/* Two bytes on the wire must not become a struct each without bound. */
static void small_messages_are_counted(void **state)
{
    (void)state;
    size_t len = 4u << 20;
    uint8_t *plain = arena_alloc(&arena, len);
    for (size_t i = 0; i < len; i += 2) {
        plain[i] = 0x52; /* Envelope.items, empty */
        plain[i + 1] = 0;
    }
    size_t used = arena.used;
    struct bytes frame = frame_around(bytes_make(plain, len));
    used += len + FRAME_HEADER;
    assert_int_equal(decode(frame), ERR_CORRUPT);
    assert_true(arena.used - used < 4096);
    /* The same within one item. */
    for (size_t i = 0; i < len; i += 2)
        plain[i] = 0x42; /* Item.version_history, empty */
    plain[0] = 0x52;
    size_t rest = len - 5;
    for (size_t i = 0; i < 4; i++)
        plain[1 + i] = (uint8_t)((rest >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
    for (size_t i = 5; i + 1 < len; i += 2) {
        plain[i] = 0x42;
        plain[i + 1] = 0;
    }
    plain[len - 1] = 0;
    assert_int_equal(decode(frame_around(bytes_make(plain, len))), ERR_CORRUPT);
}

static void sizes_are_not_believed(void **state)
{
    (void)state;
    struct blob *frame = envelope_encode(make_envelope(4, 2000, 2));
    assert_int_equal(frame->data[5], 1);
    const uint32_t lies[] = {0, 1, 8000, 9000, 1u << 20, ENVELOPE_PLAIN_BYTES_MAX,
        ENVELOPE_PLAIN_BYTES_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        put(frame->data + 8, lies[i], 4);
        assert_int_equal(decode(blob_view(frame)), ERR_CORRUPT);
    }
    blob_unref(frame);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct blob *frame = envelope_encode(make_envelope(5, 400, kind ? 256 : 2));
        for (size_t len = 0; len < frame->len; len++)
            assert_int_equal(decode(bytes_make(frame->data, len)), ERR_CORRUPT);
        for (size_t bit = 0; bit < 8 * frame->len; bit += 1 + random_below(5)) {
            frame->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum err err = decode(blob_view(frame));
            assert_true(err == ERR_CORRUPT || err == ERR_VERSION);
            frame->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(decode(blob_view(frame)), OK);
        blob_unref(frame);
        arena_reset(&arena);
    }
}

/* Damage that the sender itself signs: any body under a right hash. */
static void hostile_bodies_are_survived(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct bytes plain = proto_pack(&arena, &make_envelope(3, 20, 256)->base);
        uint8_t *copy = arena_copy(&arena, plain.data, plain.len);
        for (uint64_t i = 1 + random_below(8); i > 0; i--)
            copy[random_below(plain.len)] = (uint8_t)random_below(256);
        size_t len = random_below(4) ? plain.len : random_below(plain.len);
        struct bytes frame = frame_around(bytes_make(copy, len));
        if (random_below(4) == 0)
            *(uint8_t *)(uintptr_t)(frame.data + 5) = 1; /* "compressed" */
        enum err err = decode(frame);
        assert_true(err == OK || err == ERR_CORRUPT || err == ERR_VERSION);
        arena_reset(&arena);
    }
}

/* ---- parts ----------------------------------------------------------------------------------- */

struct parts {
    struct blob *blobs[256];
    size_t count;
};

static struct parts cut(struct bytes frame, size_t max)
{
    struct parts parts = {.count = envelope_parts(frame, max)};
    assert_true(parts.count <= 256);
    for (size_t i = 0; i < parts.count; i++) {
        parts.blobs[i] = envelope_part(frame, max, i);
        assert_true(parts.blobs[i]->len <= max);
    }
    return parts;
}

static void shuffle(struct parts *parts)
{
    for (size_t i = parts->count; i > 1; i--) {
        size_t k = random_below(i);
        struct blob *swap = parts->blobs[i - 1];
        parts->blobs[i - 1] = parts->blobs[k];
        parts->blobs[k] = swap;
    }
}

static void parts_free(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        blob_unref(parts->blobs[i]);
}

static struct bytes join(struct envelope_joiner *joiner, struct bytes message)
{
    struct bytes frame = {0};
    assert_int_equal(envelope_join(joiner, message, &frame), OK);
    return frame;
}

static void small_frames_stay_whole(void **state)
{
    (void)state;
    struct envelope_joiner joiner;
    envelope_joiner_init(&joiner);
    struct blob *frame = envelope_encode(make_envelope(3, 20, 256));
    assert_int_equal(envelope_parts(blob_view(frame), frame->len), 1);
    assert_int_equal(envelope_parts(blob_view(frame), frame->len - 1), 2);
    struct blob *part = envelope_part(blob_view(frame), frame->len, 0);
    assert_true(bytes_equal(blob_view(part), blob_view(frame)));
    assert_true(bytes_equal(join(&joiner, blob_view(part)), blob_view(frame)));
    blob_unref(part);
    blob_unref(frame);
    envelope_joiner_release(&joiner);
}

static void parts_join_in_any_order(void **state)
{
    (void)state;
    struct envelope_joiner joiner;
    envelope_joiner_init(&joiner);
    for (int round = 0; round < ROUNDS / 4; round++) {
        struct blob *frame =
            envelope_encode(make_envelope(1 + random_below(6), random_below(700), 256));
        size_t max = PART_HEADER + frame->len / (1 + random_below(100)) + 1;
        struct parts parts = cut(blob_view(frame), max);
        shuffle(&parts);
        for (size_t i = 0; i < parts.count; i++) {
            struct bytes got = join(&joiner, blob_view(parts.blobs[i]));
            assert_int_equal(got.len, i + 1 < parts.count ? 0 : frame->len);
            if (got.len) {
                assert_true(bytes_equal(got, blob_view(frame)));
                assert_int_equal(decode(got), OK);
            } else if (random_below(3) == 0) {
                assert_int_equal(join(&joiner, blob_view(parts.blobs[i])).len, 0); /* again */
            }
        }
        parts_free(&parts);
        blob_unref(frame);
        arena_reset(&arena);
    }
    envelope_joiner_release(&joiner);
}

static void another_frame_discards_the_unfinished(void **state)
{
    (void)state;
    struct envelope_joiner joiner;
    envelope_joiner_init(&joiner);
    struct blob *a = envelope_encode(make_envelope(4, 300, 256));
    struct blob *b = envelope_encode(make_envelope(4, 300, 256));
    struct parts of_a = cut(blob_view(a), 400);
    struct parts of_b = cut(blob_view(b), 400);
    assert_int_equal(join(&joiner, blob_view(of_a.blobs[0])).len, 0);
    struct bytes got = {0};
    for (size_t i = 0; i < of_b.count; i++) {
        got = join(&joiner, blob_view(of_b.blobs[i]));
        if (i == 1) { /* a whole frame in between changes nothing */
            struct bytes whole = join(&joiner, blob_view(a));
            assert_true(bytes_equal(whole, blob_view(a)));
        }
    }
    assert_true(bytes_equal(got, blob_view(b)));
    for (size_t i = 1; i < of_a.count; i++)
        assert_int_equal(join(&joiner, blob_view(of_a.blobs[i])).len, 0); /* part 0 is missing */
    assert_true(bytes_equal(join(&joiner, blob_view(of_a.blobs[0])), blob_view(a)));
    parts_free(&of_a);
    parts_free(&of_b);
    blob_unref(a);
    blob_unref(b);
    envelope_joiner_release(&joiner);
}

static void damaged_parts_are_noticed(void **state)
{
    (void)state;
    struct envelope_joiner joiner;
    envelope_joiner_init(&joiner);
    struct blob *frame = envelope_encode(make_envelope(4, 300, 256));
    for (int round = 0; round < ROUNDS; round++) {
        struct parts parts = cut(blob_view(frame), 300 + random_below(300));
        struct blob *victim = parts.blobs[random_below(parts.count)];
        size_t bit = random_below(8 * victim->len);
        victim->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        shuffle(&parts);
        for (size_t i = 0; i < parts.count; i++) {
            struct bytes got = {0};
            enum err err = envelope_join(&joiner, blob_view(parts.blobs[i]), &got);
            assert_true(err == OK || err == ERR_CORRUPT);
            if (err == OK && got.len) /* never a wrong frame */
                assert_true(bytes_equal(got, blob_view(frame)));
        }
        parts_free(&parts);
    }
    blob_unref(frame);
    envelope_joiner_release(&joiner);
}

static void nonsense_is_survived(void **state)
{
    (void)state;
    struct envelope_joiner joiner;
    envelope_joiner_init(&joiner);
    for (int round = 0; round < 10 * ROUNDS; round++) {
        uint8_t message[96];
        size_t len = random_below(sizeof(message) + 1);
        for (size_t i = 0; i < len; i++)
            message[i] = (uint8_t)random_below(random_below(2) ? 4 : 256);
        if (len >= 4 && random_below(8))
            memcpy(message, random_below(2) ? "SRP1" : "SRE1", 4);
        if (len > PART_HEADER && random_below(4)) {
            put(message + 20, len - PART_HEADER, 4);
            put(message + 24, hash64(bytes_make(message + PART_HEADER, len - PART_HEADER), 0), 8);
        }
        struct bytes got = {0};
        enum err err = envelope_join(&joiner, bytes_make(message, len), &got);
        assert_true(err == OK || err == ERR_CORRUPT);
        err = decode(bytes_make(message, len));
        assert_true(err != OK);
        assert_true(joiner.whole.capacity <= ENVELOPE_PLAIN_BYTES_MAX + FRAME_HEADER);
        arena_reset(&arena);
    }
    envelope_joiner_release(&joiner);
}

int main(void)
{
    const char *text = getenv("TEST_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("# replay: TEST_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(round_trip, empty_arena),
        cmocka_unit_test_teardown(compresses_what_shrinks, empty_arena),
        cmocka_unit_test_teardown(newer_formats_are_told, empty_arena),
        cmocka_unit_test_teardown(envelopes_keep_their_rules, empty_arena),
        cmocka_unit_test_teardown(small_messages_are_counted, empty_arena),
        cmocka_unit_test_teardown(sizes_are_not_believed, empty_arena),
        cmocka_unit_test_teardown(damage_is_noticed, empty_arena),
        cmocka_unit_test_teardown(hostile_bodies_are_survived, empty_arena),
        cmocka_unit_test_teardown(small_frames_stay_whole, empty_arena),
        cmocka_unit_test_teardown(parts_join_in_any_order, empty_arena),
        cmocka_unit_test_teardown(another_frame_discards_the_unfinished, empty_arena),
        cmocka_unit_test_teardown(damaged_parts_are_noticed, empty_arena),
        cmocka_unit_test_teardown(nonsense_is_survived, empty_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
