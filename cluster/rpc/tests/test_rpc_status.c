/* SPDX-License-Identifier: Apache-2.0
 *
 * google.rpc.Status by hand, status texts, and the bounded inflater.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/rpc/rpc_inflate.h"
#include "cluster/rpc/rpc_status.h"
#include "cluster/rpc/tests/rpc_fixture.h"

static void encodes_a_status(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    struct bytes got = rpc_status_encode(
        &arena, GRPC_NOT_FOUND, bytes_of("gone"), "a.B", bytes_make("\x01\x02", 2));
    static const char want[] = "\x08\x05\x12\x04gone\x1a\x1d"
                               "\x0a\x17type.googleapis.com/a.B\x12\x02\x01\x02";
    assert_int_equal(got.len, sizeof(want) - 1);
    assert_memory_equal(got.data, want, got.len);

    got = rpc_status_encode(&arena, GRPC_ABORTED, bytes_of(""), NULL, bytes_make(NULL, 0));
    assert_int_equal(got.len, 4);
    assert_memory_equal(got.data, "\x08\x0a\x12\x00", 4);
}

static void reads_its_own_details(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 20000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(arena_release) struct arena arena = {0};
        struct bytes detail = bytes_make(arena_zalloc(&arena, 1, sizes[i]), sizes[i]);
        struct bytes status = rpc_status_encode(
            &arena, GRPC_UNAUTHENTICATED, bytes_of("message"), "some.v1.Failure", detail);
        const char *type = NULL;
        struct bytes value = {0};
        assert_true(rpc_status_detail(&arena, status, &type, &value));
        assert_string_equal(type, "some.v1.Failure");
        assert_true(bytes_equal(value, detail));
    }
}

static void survives_garbled_details(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    CLEANUP(arena_release) struct arena arena = {0};
    const char *type = NULL;
    struct bytes value = {0};
    assert_false(rpc_status_detail(&arena, bytes_make(NULL, 0), &type, &value));
    struct bytes whole =
        rpc_status_encode(&arena, GRPC_NOT_FOUND, bytes_of("gone"), "a.B", bytes_of("detail"));
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *part = mem_alloc(len + 1); /* exact, so that a sanitizer sees overreads */
        memcpy(part, whole.data, len);
        assert_false(rpc_status_detail(&arena, bytes_make(part, len), &type, &value));
        mem_free(part);
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t noise[64];
        memcpy(noise, whole.data, whole.len);
        noise[test_random(&random) % whole.len] = (uint8_t)test_random(&random);
        noise[test_random(&random) % whole.len] = (uint8_t)test_random(&random);
        (void)rpc_status_detail(&arena, bytes_make(noise, whole.len), &type, &value);
    }
}

static void assert_text(const char *text, const char *want)
{
    CLEANUP(arena_release) struct arena arena = {0};
    struct bytes got = rpc_status_text(&arena, text, 0);
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void texts_are_well_formed(void **state)
{
    (void)state;
    assert_text(NULL, "");
    assert_text("plain", "plain");
    assert_text("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_text("cut \xe2\x82", "cut ??");
    assert_text("overlong \xc0\xaf", "overlong ??");
    assert_text("surrogate \xed\xa0\x80", "surrogate ???");
    assert_text("beyond \xf4\x90\x80\x80", "beyond ????");
    assert_text("\xff", "?");
}

static void texts_are_cut_between_characters(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    char text[ERROR_TEXT_BYTES_MAX + 100];
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        for (size_t at = lead; at + 3 < sizeof(text) - 1; at += 3)
            memcpy(text + at, "\xe2\x82\xac", 3);
        struct bytes got = rpc_status_text(&arena, text, 0);
        assert_true(got.len <= ERROR_TEXT_BYTES_MAX);
        assert_true(got.len * 3 <= STATUS_WIRE_BYTES_MAX + 3); /* each byte costs three */
        assert_true(got.len * 3 > STATUS_WIRE_BYTES_MAX - 20);
        assert_int_equal((got.len - lead) % 3, 0);
    }
}

static void texts_leave_room_for_details(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    char text[ERROR_TEXT_BYTES_MAX + 100];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(rpc_status_text(&arena, text, 0).len, ERROR_TEXT_BYTES_MAX);
    size_t last = ERROR_TEXT_BYTES_MAX;
    for (size_t detail = 100; detail < 8000; detail += 100) {
        size_t len = rpc_status_text(&arena, text, detail).len;
        assert_true(len <= last && len >= STATUS_TEXT_BYTES_MIN);
        if (len > STATUS_TEXT_BYTES_MIN)
            assert_true(len + (len + detail) * 4 / 3 <= STATUS_WIRE_BYTES_MAX);
        last = len;
    }
    assert_int_equal(last, STATUS_TEXT_BYTES_MIN);
}

static struct bytes deflate_all(struct arena *arena, struct bytes data, int window_bits)
{
    z_stream stream = {0};
    assert_int_equal(
        deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uLong size = deflateBound(&stream, data.len);
    uint8_t *output = arena_alloc(arena, size);
    uint8_t *input = arena_copy(arena, data.data, data.len);
    stream.next_in = input;
    stream.avail_in = (uInt)data.len;
    stream.next_out = output;
    stream.avail_out = (uInt)size;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t len = stream.total_out;
    deflateEnd(&stream);
    return bytes_make(output, len);
}

/* Feeds in pieces of `step` bytes. */
static enum err inflate_all(struct inflater *inflater, struct arena *arena, struct bytes data,
    size_t step, size_t max, struct bytes *ret_message)
{
    inflater_begin(inflater, arena, data.len, max);
    for (size_t at = 0; at < data.len; at += step) {
        size_t len = data.len - at < step ? data.len - at : step;
        enum err err = inflater_feed(inflater, bytes_make(data.data + at, len));
        if (err)
            return err;
    }
    return inflater_end(inflater, ret_message);
}

static void inflates_in_pieces(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    CLEANUP(arena_release) struct arena home = {0};
    struct inflater *inflater = inflater_open(&home);
    for (int i = 0; i < 200; i++) {
        CLEANUP(arena_release) struct arena arena = {0};
        size_t len = test_random(&random) % 5000;
        uint8_t *data = arena_alloc(&arena, len);
        for (size_t k = 0; k < len; k++)
            data[k] = (uint8_t)(test_random(&random) % (i % 2 ? 2 : 256));
        struct bytes body = bytes_make(data, len);
        struct bytes packed = deflate_all(&arena, body, i % 3 ? 15 + 16 : 15);
        size_t step = test_random(&random) % 700 + 1;
        struct bytes got = {0};
        assert_int_equal(inflate_all(inflater, &arena, packed, step, len, &got), OK);
        assert_true(bytes_equal(got, body));
        if (len > 0)
            assert_int_equal(
                inflate_all(inflater, &arena, packed, step, len - 1, &got), ERR_TOO_LARGE);
        assert_int_equal(
            inflate_all(inflater, &arena, bytes_make(packed.data, packed.len - 1), step, len, &got),
            ERR_CORRUPT);
    }
    inflater_close(inflater);
}

static void joins_gzip_members(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    struct inflater *inflater = inflater_open(&arena);
    struct bytes one = deflate_all(&arena, bytes_of("one "), 15 + 16);
    struct bytes two = deflate_all(&arena, bytes_of("two"), 15 + 16);
    uint8_t *both = arena_alloc(&arena, one.len + two.len);
    memcpy(both, one.data, one.len);
    memcpy(both + one.len, two.data, two.len);
    struct bytes got = {0};
    assert_int_equal(
        inflate_all(inflater, &arena, bytes_make(both, one.len + two.len), 3, 100, &got), OK);
    assert_true(bytes_equal(got, bytes_of("one two")));
    assert_int_equal(
        inflate_all(inflater, &arena, bytes_of("not gzip"), 3, 100, &got), ERR_CORRUPT);
    inflater_close(inflater);
}

static void a_bomb_takes_bounded_memory(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena home = {0};
    struct inflater *inflater = inflater_open(&home);
    size_t size = 64u * MIB;
    struct bytes packed =
        deflate_all(&home, bytes_make(arena_zalloc(&home, 1, size), size), 15 + 16);
    assert_true(packed.len < 100000);
    CLEANUP(arena_release) struct arena arena = {0};
    struct bytes got = {0};
    assert_int_equal(
        inflate_all(inflater, &arena, packed, 8192, GRPC_MESSAGE_BYTES_MAX, &got), ERR_TOO_LARGE);
    assert_true(arena.reserved <= 3u * GRPC_MESSAGE_BYTES_MAX);
    inflater_close(inflater);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_a_status),
        cmocka_unit_test(reads_its_own_details),
        cmocka_unit_test(survives_garbled_details),
        cmocka_unit_test(texts_are_well_formed),
        cmocka_unit_test(texts_are_cut_between_characters),
        cmocka_unit_test(texts_leave_room_for_details),
        cmocka_unit_test(inflates_in_pieces),
        cmocka_unit_test(joins_gzip_members),
        cmocka_unit_test(a_bomb_takes_bounded_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
