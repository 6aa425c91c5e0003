/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/proto_arena.h"

#include <string.h>

#include "cluster/base/tests/support_cmocka.h"
#include "proto/api_common.pb-c.h"

static struct bytes packed_payload(struct arena *arena)
{
    Api__Payload__MetadataEntry entry = API__PAYLOAD__METADATA_ENTRY__INIT;
    entry.key = arena_strdup(arena, "encoding");
    entry.value = (ProtobufCBinaryData){5, arena_copy(arena, "plain", 5)};
    Api__Payload__MetadataEntry *entries[] = {&entry};
    Api__Payload payload = API__PAYLOAD__INIT;
    payload.n_metadata = 1;
    payload.metadata = entries;
    payload.data = (ProtobufCBinaryData){4, arena_copy(arena, "data", 4)};
    struct bytes packed = proto_pack(arena, &payload.base);
    struct buffer buffer = {0};
    buffer_append(&buffer, "before", 6);
    proto_pack_into(&buffer, &payload.base);
    assert_int_equal(buffer.len, 6 + packed.len);
    assert_memory_equal(buffer.data, "before", 6);
    assert_memory_equal(buffer.data + 6, packed.data, packed.len);
    buffer_release(&buffer);
    return packed;
}

static void messages_survive_the_bytes(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct arena source = {0};
    struct bytes packed = packed_payload(&source);
    Api__Payload *payload = proto_unpack(&arena, &api__payload__descriptor, packed);
    arena_release(&source); /* the message does not point into its bytes */
    assert_non_null(payload);
    assert_int_equal(payload->n_metadata, 1);
    assert_string_equal(payload->metadata[0]->key, "encoding");
    assert_int_equal(payload->data.len, 4);
    assert_memory_equal(payload->data.data, "data", 4);
    arena_release(&arena);
}

static void nothing_is_an_empty_message(void **state)
{
    (void)state;
    struct arena arena = {0};
    Api__Payload *payload = proto_unpack(&arena, &api__payload__descriptor, (struct bytes){0});
    assert_non_null(payload);
    assert_int_equal(payload->n_metadata, 0);
    assert_int_equal(proto_pack(&arena, &payload->base).len, 0);
    arena_release(&arena);
}

/** Whatever the bytes, the answer is a message or NULL, and the sanitizers have nothing to say. */
static void malformed_bytes_are_refused(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct bytes packed = packed_payload(&arena);
    for (size_t len = 1; len < packed.len; len++)
        (void)!proto_unpack(&arena, &api__payload__descriptor, bytes_make(packed.data, len));
    assert_null(proto_unpack(&arena, &api__payload__descriptor, bytes_make(packed.data, 5)));
    for (size_t at = 0; at < packed.len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t *mutated = arena_copy(&arena, packed.data, packed.len);
            mutated[at] = (uint8_t)value;
            (void)!proto_unpack(&arena, &api__payload__descriptor, bytes_make(mutated, packed.len));
        }
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_survive_the_bytes),
        cmocka_unit_test(nothing_is_an_empty_message),
        cmocka_unit_test(malformed_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
