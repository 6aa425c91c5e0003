/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/tests/support_cmocka.h"

#define ITEMS 3000

struct item {
    char key[16];
    bool in_map;
};

static struct bytes key_of(const struct item *item)
{
    return bytes_of(item->key);
}

static void an_empty_map_finds_nothing(void **state)
{
    (void)state;
    struct map map = {0};
    size_t cursor = 0;
    assert_null(map_get(&map, bytes_of("a")));
    assert_null(map_remove(&map, bytes_of("a")));
    assert_null(map_next(&map, &cursor));
    map_release(&map);
}

static void put_replaces(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    int one = 1;
    int two = 2;
    assert_null(map_put(&map, bytes_of("key"), &one));
    char second_key[] = "key";
    assert_ptr_equal(map_put(&map, bytes_of(second_key), &two), &one);
    assert_ptr_equal(map_get(&map, bytes_of("key")), &two);
    assert_int_equal(map.count, 1);
    /* The bytes of the second key are the ones that count now. */
    second_key[0] = 'x';
    assert_null(map_get(&map, bytes_of("key")));
    map_release(&map);
}

static void the_empty_key_is_a_key(void **state)
{
    (void)state;
    struct map map = {0};
    int value = 1;
    assert_null(map_put(&map, (struct bytes){0}, &value));
    assert_ptr_equal(map_get(&map, bytes_of("")), &value);
    assert_ptr_equal(map_remove(&map, bytes_of("")), &value);
    map_release(&map);
}

static void random_operations_agree_with_a_model(void **state)
{
    (void)state;
    static struct item items[ITEMS];
    struct map map = {0};
    size_t count = 0;
    srandom(7);
    for (size_t i = 0; i < ITEMS; i++)
        (void)snprintf(items[i].key, sizeof(items[i].key), "workflow-%zu", i);
    for (int step = 0; step < 200000; step++) {
        /* Waves: mostly growing, then mostly shrinking, so that tombs pile up. */
        bool growing = step / 20000 % 2 == 0;
        struct item *item = &items[random() % ITEMS];
        struct item *expected = item->in_map ? item : NULL;
        long dice = random() % 10;
        if (dice < (growing ? 6 : 1)) {
            assert_ptr_equal(map_put(&map, key_of(item), item), expected);
            count += !item->in_map;
            item->in_map = true;
        } else if (dice < 8) {
            assert_ptr_equal(map_remove(&map, key_of(item)), expected);
            count -= item->in_map;
            item->in_map = false;
        } else {
            assert_ptr_equal(map_get(&map, key_of(item)), expected);
        }
        assert_int_equal(map.count, count);
        assert_true((map.count + map.tombs) * 4 <= map.capacity * 3);
    }
    map_release(&map);
}

static void iteration_allows_removal(void **state)
{
    (void)state;
    static struct item items[ITEMS];
    struct map map = {0};
    for (size_t i = 0; i < ITEMS; i++) {
        (void)snprintf(items[i].key, sizeof(items[i].key), "k%zu", i);
        assert_null(map_put(&map, key_of(&items[i]), &items[i]));
    }
    size_t cursor = 0;
    size_t seen = 0;
    for (struct item *item; (item = map_next(&map, &cursor)); seen++) {
        assert_false(item->in_map); /* seen before */
        item->in_map = true;
        if (seen % 3 != 0)
            assert_ptr_equal(map_remove(&map, key_of(item)), item);
    }
    assert_int_equal(seen, ITEMS);
    assert_int_equal(map.count, ITEMS / 3);
    cursor = 0;
    while (map_next(&map, &cursor))
        seen--;
    assert_int_equal(seen, ITEMS - ITEMS / 3);
    map_release(&map);
}

static void a_steady_size_does_not_grow_the_table(void **state)
{
    (void)state;
    static struct item items[ITEMS];
    struct map map = {0};
    for (size_t i = 0; i < 100 * ITEMS; i++) {
        struct item *item = &items[i % ITEMS];
        if (i >= 50)
            assert_non_null(map_remove(&map, key_of(&items[(i - 50) % ITEMS])));
        (void)snprintf(item->key, sizeof(item->key), "%zu", i);
        assert_null(map_put(&map, key_of(item), item));
    }
    assert_int_equal(map.count, 50);
    assert_true(map.capacity <= 128);
    map_release(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_finds_nothing),
        cmocka_unit_test(put_replaces),
        cmocka_unit_test(the_empty_key_is_a_key),
        cmocka_unit_test(random_operations_agree_with_a_model),
        cmocka_unit_test(iteration_allows_removal),
        cmocka_unit_test(a_steady_size_does_not_grow_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
