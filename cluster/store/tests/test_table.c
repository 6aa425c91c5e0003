/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys sort as what they are made of, and SQL text says what a filter means.
 */
#include <string.h>

#include "cluster/store/sql_filter.h"
#include "cluster/store/tests/store_fixture.h"

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(table_name(TABLE_RUN), "run");
    assert_string_equal(table_name(TABLE_NODE), "node");
}

static void test_keys_sort(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct uuid run = {.bytes = {1}};
    const struct bytes keys[] = {
        key_history(&arena, run, 0, 0),
        key_history(&arena, run, 0, 1),
        key_history(&arena, run, 0, 255),
        key_history(&arena, run, 0, 256),
        key_history(&arena, run, 0, INT64_MAX),
        key_history(&arena, run, 1, 0),
        key_history(&arena, run, 256, 0),
        key_history(&arena, run, UINT32_MAX, 7),
        key_history(&arena, (struct uuid){.bytes = {1, 1}}, 0, 0),
    };
    for (size_t i = 1; i < ARRAY_LEN(keys); i++)
        assert_true(bytes_compare(keys[i - 1], keys[i]) < 0);
    int64_t event;
    uint32_t branch;
    assert_true(key_read_u32(keys[6], 16, &branch));
    assert_int_equal(branch, 256);
    assert_true(key_read_i64(keys[4], 20, &event));
    assert_int_equal(event, INT64_MAX);
    assert_false(key_read_i64(keys[4], 21, &event));
    assert_false(key_read_u32(keys[4], 25, &branch));
    assert_false(key_read_i64(keys[4], SIZE_MAX, &event));
    arena_release(&arena);
}

static void test_key_builder_grows(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct key_builder builder;
    key_begin(&builder, &arena, 1);
    for (uint32_t i = 0; i < 200; i++)
        key_u32(&builder, i);
    struct bytes key = key_end(&builder);
    assert_int_equal(key.len, 800);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t value;
        assert_true(key_read_u32(key, 4 * (size_t)i, &value));
        assert_int_equal(value, i);
    }
    struct bytes id = bytes_of("order");
    struct bytes current = key_current_run(&arena, (struct uuid){.bytes = {9}}, id);
    assert_int_equal(current.len, 21);
    assert_memory_equal(current.data + 16, "order", 5);
    assert_int_equal(key_fact(&arena, (struct uuid){.bytes = {9}}, 3, id).len, 25);
    arena_release(&arena);
}

/** A = 1 AND NOT (B starts with "x" OR C is null). */
static void test_sql_text(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct filter_value one = {.text = bytes_of("1")};
    const struct filter_value prefix = {.text = bytes_of("x\xff")};
    const struct filter a = {
        .op = FILTER_EQ, .field = FIELD_WORKFLOW_ID, .values = &one, .value_count = 1};
    const struct filter b = {.op = FILTER_STARTS_WITH,
        .field = FIELD_WORKFLOW_TYPE,
        .values = &prefix,
        .value_count = 1};
    const struct filter c = {.op = FILTER_IS_NULL, .field = FIELD_CLOSE_TIME};
    const struct filter *either[] = {&b, &c};
    const struct filter any = {.op = FILTER_OR, .children = either, .child_count = 2};
    const struct filter *inner = &any;
    const struct filter none = {.op = FILTER_NOT, .children = &inner, .child_count = 1};
    const struct filter *both[] = {&a, &none};
    const struct filter all = {.op = FILTER_AND, .children = both, .child_count = 2};
    struct sql_text sql;
    sql_text_init(&sql, &arena, SQL_POSTGRES);
    sql_text_filter(&sql, &all);
    assert_string_equal(sql.text,
        "(((workflow_id = $1::bytea)) AND ((length(workflow_type) > 0 AND NOT (workflow_type >= "
        "$2::bytea AND workflow_type < $3::bytea)) AND ((close_ns < 9223372036854775807))))");
    assert_int_equal(sql.value_count, 3);
    assert_true(bytes_equal(sql.values[2].bytes, bytes_of("y")));
    sql_text_init(&sql, &arena, SQL_MARIADB);
    sql_text_add(&sql, "WHERE ");
    sql_text_filter(&sql, &a);
    sql_text_add(&sql, " AND start_ns < ");
    sql_text_number(&sql, 7);
    assert_string_equal(sql.text, "WHERE ((workflow_id = ?)) AND start_ns < ?");
    assert_int_equal(sql.values[1].number, 7);
    arena_release(&arena);
}

/** As deep as the parser may go. */
static void test_deep_filters(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct filter_value status = {.number = 1};
    struct filter *nodes = arena_zalloc(&arena, FILTER_DEPTH_MAX, sizeof(*nodes));
    const struct filter **children = arena_zalloc(&arena, FILTER_DEPTH_MAX, sizeof(*children));
    nodes[0] = (struct filter){
        .op = FILTER_EQ, .field = FIELD_STATUS, .values = &status, .value_count = 1};
    for (size_t i = 1; i < FILTER_DEPTH_MAX; i++) {
        children[i] = &nodes[i - 1];
        nodes[i] = (struct filter){
            .op = i % 2 ? FILTER_AND : FILTER_OR, .children = &children[i], .child_count = 1};
    }
    struct visibility_row row = {.status = 1};
    assert_true(filter_matches(&nodes[FILTER_DEPTH_MAX - 1], &row));
    row.status = 2;
    assert_false(filter_matches(&nodes[FILTER_DEPTH_MAX - 1], &row));
    struct sql_text sql;
    sql_text_init(&sql, &arena, SQL_SQLITE);
    sql_text_filter(&sql, &nodes[FILTER_DEPTH_MAX - 1]);
    assert_int_equal(sql.value_count, 1);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_keys_sort),
        cmocka_unit_test(test_key_builder_grows),
        cmocka_unit_test(test_sql_text),
        cmocka_unit_test(test_deep_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
