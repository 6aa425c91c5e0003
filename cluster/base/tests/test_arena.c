/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/arena.h"

#include <stdint.h>
#include <string.h>

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"

static void objects_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena = {0};
    uint8_t *objects[2000];
    size_t total = 0;
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i * 7 % 301 + 1;
        objects[i] = arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)objects[i] % 16, 0);
        memset(objects[i], (int)(i & 0xff), size);
        total += size;
    }
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i * 7 % 301 + 1;
        for (size_t at = 0; at < size; at++)
            assert_int_equal(objects[i][at], i & 0xff);
    }
    assert_int_equal(arena.used, total);
    assert_true(arena.reserved >= arena.used);
    arena_release(&arena);
    assert_int_equal(arena.used, 0);
    assert_int_equal(arena.reserved, 0);
    assert_null(arena.head);
}

static void an_empty_object_has_an_address(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_non_null(arena_alloc(&arena, 0));
    assert_non_null(arena_zalloc(&arena, 0, 8));
    arena_release(&arena);
}

static void a_large_object_does_not_end_the_current_block(void **state)
{
    (void)state;
    struct arena arena = {0};
    uint8_t *before = arena_alloc(&arena, 16);
    uint8_t *large = arena_alloc(&arena, 3000000);
    uint8_t *after = arena_alloc(&arena, 16);
    memset(large, 1, 3000000);
    assert_true(after > before && after - before <= 64);
    arena_release(&arena);
}

static void reset_keeps_the_largest_block(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++)
            memset(arena_alloc(&arena, 100), round, 100);
        size_t before = arena.reserved;
        arena_reset(&arena);
        assert_int_equal(arena.used, 0);
        assert_true(arena.reserved > 0 && arena.reserved <= before);
    }
    size_t kept = arena.reserved;
    memset(arena_alloc(&arena, kept / 2), 0, kept / 2);
    assert_int_equal(arena.reserved, kept);
    arena_release(&arena);
    arena_reset(&arena); /* of an empty arena */
    assert_int_equal(arena.reserved, 0);
}

static void reset_keeps_a_block_of_a_large_object(void **state)
{
    (void)state;
    struct arena arena = {0};
    (void)arena_alloc(&arena, 10);
    (void)arena_alloc(&arena, 100000);
    arena_reset(&arena);
    assert_true(arena.reserved >= 100000);
    size_t kept = arena.reserved;
    memset(arena_alloc(&arena, 90000), 1, 90000);
    assert_int_equal(arena.reserved, kept);
    arena_release(&arena);
}

static void zalloc_zeroes_reused_memory(void **state)
{
    (void)state;
    struct arena arena = {0};
    memset(arena_alloc(&arena, 1000), 0xff, 1000);
    arena_reset(&arena);
    const uint8_t *zeroed = arena_zalloc(&arena, 10, 100);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(zeroed[i], 0);
    arena_release(&arena);
}

static void copies(void **state)
{
    (void)state;
    struct arena arena = {0};
    const uint8_t data[] = {1, 0, 2};
    const uint8_t *copy = arena_copy(&arena, data, sizeof(data));
    assert_memory_equal(copy, data, sizeof(data));
    assert_int_equal(copy[3], 0);
    assert_string_equal(arena_copy(&arena, NULL, 0), "");
    assert_string_equal(arena_strdup(&arena, "text"), "text");
    assert_string_equal(arena_printf(&arena, "%s-%d", "a", 7), "a-7");
    char *long_text = arena_printf(&arena, "%*d", 9000, 1);
    assert_int_equal(strlen(long_text), 9000);
    arena_release(&arena);
}

static void overflow_product(void *arena)
{
    (void)arena_zalloc(arena, SIZE_MAX / 2, 3);
}

static void overflow_size(void *arena)
{
    (void)arena_alloc(arena, SIZE_MAX - 4);
}

static void overflow_aborts(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_true(dies(overflow_product, &arena, "count <= "));
    assert_true(dies(overflow_size, &arena, "size <= "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_aligned_and_apart),
        cmocka_unit_test(an_empty_object_has_an_address),
        cmocka_unit_test(a_large_object_does_not_end_the_current_block),
        cmocka_unit_test(reset_keeps_the_largest_block),
        cmocka_unit_test(reset_keeps_a_block_of_a_large_object),
        cmocka_unit_test(zalloc_zeroes_reused_memory),
        cmocka_unit_test(copies),
        cmocka_unit_test(overflow_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
