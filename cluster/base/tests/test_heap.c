/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/heap.h"

#include <stdlib.h>

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"

#define NODES 500

/** The smallest key of the members, the slow way. */
static int64_t smallest_key(const struct heap_node *nodes, size_t *ret_members)
{
    int64_t smallest = INT64_MAX;
    *ret_members = 0;
    for (size_t i = 0; i < NODES; i++) {
        if (nodes[i].index == 0)
            continue;
        ++*ret_members;
        if (nodes[i].key < smallest)
            smallest = nodes[i].key;
    }
    return smallest;
}

static void random_operations_agree_with_a_model(void **state)
{
    (void)state;
    struct heap_node nodes[NODES] = {0};
    struct heap heap = {0};
    srandom(11);
    for (int step = 0; step < 20000; step++) {
        struct heap_node *node = &nodes[random() % NODES];
        if (random() % 3 == 0) {
            heap_remove(&heap, node);
            assert_int_equal(node->index, 0);
        } else {
            heap_set(&heap, node, random() % 1000 - 500);
        }
        size_t members;
        int64_t smallest = smallest_key(nodes, &members);
        assert_int_equal(heap.count, members);
        if (members > 0)
            assert_int_equal(heap_peek(&heap)->key, smallest);
        else
            assert_null(heap_peek(&heap));
    }
    heap_release(&heap);
}

static void members_leave_in_order(void **state)
{
    (void)state;
    struct heap_node nodes[NODES] = {0};
    struct heap heap;
    heap_init(&heap);
    for (int64_t i = 0; i < NODES; i++)
        heap_set(&heap, &nodes[i], i * 379 % NODES);
    for (int64_t expected = 0; expected < NODES; expected++) {
        struct heap_node *first = heap_peek(&heap);
        assert_int_equal(first->key, expected);
        heap_remove(&heap, first);
        heap_remove(&heap, first); /* harmless */
    }
    assert_null(heap_peek(&heap));
    heap_release(&heap);
}

static void set_moves_a_member(void **state)
{
    (void)state;
    struct heap_node a = {0};
    struct heap_node b = {0};
    struct heap heap = {0};
    heap_set(&heap, &a, INT64_MAX);
    heap_set(&heap, &b, 0);
    assert_ptr_equal(heap_peek(&heap), &b);
    heap_set(&heap, &a, INT64_MIN);
    assert_ptr_equal(heap_peek(&heap), &a);
    heap_set(&heap, &a, 1);
    assert_ptr_equal(heap_peek(&heap), &b);
    assert_int_equal(heap.count, 2);
    heap_release(&heap);
}

struct two_heaps {
    struct heap right;
    struct heap wrong;
    struct heap_node node;
};

static void remove_from_wrong_heap(void *arg)
{
    struct two_heaps *heaps = arg;
    heap_remove(&heaps->wrong, &heaps->node);
}

static void a_node_of_another_heap_is_refused(void **state)
{
    (void)state;
    struct two_heaps heaps = {0};
    heap_set(&heaps.right, &heaps.node, 1);
    assert_true(dies(remove_from_wrong_heap, &heaps, "check failed"));
    heap_release(&heaps.right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree_with_a_model),
        cmocka_unit_test(members_leave_in_order),
        cmocka_unit_test(set_moves_a_member),
        cmocka_unit_test(a_node_of_another_heap_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
