/* SPDX-License-Identifier: Apache-2.0
 *
 * Against a sorted array of the same keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/base/ordered_map.h"

#define KEYS  500
#define STEPS 20000

static uint8_t keys[KEYS][2];
static bool present[KEYS];

static struct bytes key_of(size_t number)
{
    keys[number][0] = (uint8_t)(number >> 8);
    keys[number][1] = (uint8_t)number;
    return bytes_make(keys[number], 2);
}

/** First present key at or above (direction 1), or last below (direction -1); KEYS = none. */
static size_t nearest(size_t number, int direction)
{
    if (direction > 0) {
        while (number < KEYS && !present[number])
            number++;
        return number;
    }
    while (number > 0) {
        if (present[--number])
            return number;
    }
    return KEYS;
}

static void expect_node(const struct ordered_node *node, size_t number)
{
    assert_int_equal(node == NULL, number == KEYS);
    if (!node)
        return;
    assert_true(bytes_equal(ordered_node_key(node), key_of(number)));
    assert_ptr_equal(ordered_node_value(node), keys[number]);
    size_t before = nearest(number, -1);
    const struct ordered_node *prev = ordered_node_prev(node);
    assert_int_equal(prev == NULL, before == KEYS);
    if (prev)
        assert_true(bytes_equal(ordered_node_key(prev), key_of(before)));
    const struct ordered_node *next = ordered_node_next(node);
    size_t after = nearest(number + 1, 1);
    assert_int_equal(next == NULL, after == KEYS);
    if (next)
        assert_true(bytes_equal(ordered_node_key(next), key_of(after)));
}

static void test_against_array(void **state)
{
    (void)state;
    struct ordered_map map;
    ordered_map_init(&map);
    assert_null(ordered_map_first(&map));
    uint32_t random = 12345;
    size_t count = 0;
    for (int i = 0; i < STEPS; i++) {
        random = random * 1664525u + 1013904223u;
        size_t number = (random >> 8) % KEYS;
        void *before = present[number] ? keys[number] : NULL;
        /* Phases in which it grows, and in which it shrinks to nothing. */
        bool put = (random >> 24) % 10 < (i / 4000 % 2 ? 2u : 8u);
        if (put)
            assert_ptr_equal(ordered_map_put(&map, key_of(number), keys[number]), before);
        else
            assert_ptr_equal(ordered_map_remove(&map, key_of(number)), before);
        count += put && !before;
        count -= !put && before;
        present[number] = put;
        assert_int_equal(map.count, count);
        assert_ptr_equal(ordered_map_get(&map, key_of(number)), put ? keys[number] : NULL);
        size_t other = (random >> 4) % KEYS;
        expect_node(ordered_map_seek(&map, key_of(other)), nearest(other, 1));
        expect_node(ordered_map_seek_before(&map, key_of(other)), nearest(other, -1));
        expect_node(ordered_map_first(&map), nearest(0, 1));
    }
    ordered_map_release(&map);
    assert_int_equal(map.count, 0);
}

static void test_key_lengths(void **state)
{
    (void)state;
    struct ordered_map map = {0};
    static const char *const texts[] = {"", "a", "aa", "ab", "b"};
    static int values[5];
    for (size_t i = 5; i-- > 0;)
        assert_null(ordered_map_put(&map, bytes_of(texts[i]), &values[i]));
    size_t i = 0;
    for (struct ordered_node *node = ordered_map_first(&map); node; node = ordered_node_next(node))
        assert_ptr_equal(ordered_node_value(node), &values[i++]);
    assert_int_equal(i, 5);
    ordered_map_release(&map);
}

static void an_empty_map_finds_nothing(void **state)
{
    (void)state;
    struct ordered_map map = {0};
    assert_null(ordered_map_first(&map));
    assert_null(ordered_map_get(&map, bytes_of("a")));
    assert_null(ordered_map_remove(&map, bytes_of("a")));
    assert_null(ordered_map_seek(&map, bytes_of("")));
    assert_null(ordered_map_seek_before(&map, bytes_of("z")));
    ordered_map_release(&map);
}

static void keys_are_copied_and_ordered_by_bytes(void **state)
{
    (void)state;
    struct ordered_map map = {0};
    int value = 0;
    char key[] = "b";
    assert_null(ordered_map_put(&map, bytes_of(key), &value));
    key[0] = 'x';
    assert_null(ordered_map_put(&map, bytes_of("\xff"), &value));
    assert_null(ordered_map_put(&map, bytes_of(""), &value));
    assert_null(ordered_map_put(&map, bytes_make("b\0", 2), &value));
    const struct bytes expected[] = {
        bytes_of(""), bytes_of("b"), bytes_make("b\0", 2), bytes_of("\xff")};
    const struct ordered_node *node = ordered_map_first(&map);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_non_null(node);
        assert_true(bytes_equal(ordered_node_key(node), expected[i]));
        node = ordered_node_next(node);
    }
    assert_null(node);
    ordered_map_release(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_array),
        cmocka_unit_test(test_key_lengths),
        cmocka_unit_test(an_empty_map_finds_nothing),
        cmocka_unit_test(keys_are_copied_and_ordered_by_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
