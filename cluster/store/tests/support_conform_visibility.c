/* SPDX-License-Identifier: Apache-2.0
 *
 * Conformance: visibility rows, and lists and counts that must agree with filter_matches().
 */
#include <stdlib.h>
#include <string.h>

#include "cluster/store/tests/store_fixture.h"

static struct bytes pick(struct random *random, const struct bytes *choices, size_t count)
{
    return choices[random_below(random, count)];
}

#define TEXT(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

/* Few and alike, so that filters hit. */
static const struct bytes words[] = {
    TEXT(""),
    TEXT("order"),
    TEXT("Order"),
    TEXT("order "),
    TEXT("order-1"),
    TEXT("order-2"),
    TEXT("or"),
    TEXT("\xff"),
    TEXT("\xff\xff"
         "a"),
    TEXT("a%"),
    TEXT("a_"),
    TEXT("a'b"),
    TEXT("a\0b"),
    TEXT("\xc3\xa9t\xc3\xa9"),
};

static struct bytes word(struct random *random)
{
    return pick(random, words, ARRAY_LEN(words));
}

static int64_t small_time(struct random *random)
{
    return (int64_t)random_below(random, 8) * 1000;
}

static struct visibility_row random_row(
    struct random *random, int32_t shard, struct uuid namespace_id)
{
    struct visibility_row row = {
        .shard = shard,
        .run_id = random_uuid(random),
        .namespace_id = namespace_id,
        .workflow_id = word(random),
        .workflow_type = word(random),
        .task_queue = word(random),
        .status = (int32_t)random_below(random, 9),
        .start_ns = small_time(random),
        .execution_ns = small_time(random),
        .close_ns = random_below(random, 2) ? DUE_NONE : small_time(random),
        .history_length = (int64_t)random_below(random, 10),
        .history_size_bytes = (int64_t)random_below(random, 10),
        .state_transitions = (int64_t)random_below(random, 10),
        .parent_workflow_id = word(random),
        .parent_run_id = word(random),
        .root_workflow_id = word(random),
        .root_run_id = word(random),
        .memo = word(random),
        .search_attributes = word(random),
    };
    return row;
}

static void expect_visibility_equal(const struct visibility_row *a, const struct visibility_row *b)
{
    assert_int_equal(a->shard, b->shard);
    assert_true(uuid_equal(a->run_id, b->run_id));
    assert_true(uuid_equal(a->namespace_id, b->namespace_id));
    assert_true(bytes_equal(a->workflow_id, b->workflow_id));
    assert_true(bytes_equal(a->workflow_type, b->workflow_type));
    assert_true(bytes_equal(a->task_queue, b->task_queue));
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->start_ns, b->start_ns);
    assert_int_equal(a->execution_ns, b->execution_ns);
    assert_int_equal(a->close_ns, b->close_ns);
    assert_int_equal(a->history_length, b->history_length);
    assert_int_equal(a->history_size_bytes, b->history_size_bytes);
    assert_int_equal(a->state_transitions, b->state_transitions);
    assert_true(bytes_equal(a->parent_workflow_id, b->parent_workflow_id));
    assert_true(bytes_equal(a->parent_run_id, b->parent_run_id));
    assert_true(bytes_equal(a->root_workflow_id, b->root_workflow_id));
    assert_true(bytes_equal(a->root_run_id, b->root_run_id));
    assert_true(bytes_equal(a->memo, b->memo));
    assert_true(bytes_equal(a->search_attributes, b->search_attributes));
}

static struct store_list list_page(struct store_list list)
{
    struct store_op op = {.kind = STORE_LIST, .arena = &fixture.arena, .list = list};
    run_ok(fixture.store, &op);
    return op.list;
}

static struct store_count count_rows(struct store_count count)
{
    struct store_op op = {.kind = STORE_COUNT, .arena = &fixture.arena, .count = count};
    run_ok(fixture.store, &op);
    return op.count;
}

static enum err write_visibility(
    struct shard *shard, enum commit_mode mode, const struct visibility_row *row)
{
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, shard);
    commit_visibility(&commit, &(struct commit_visibility){.mode = mode, .row = *row});
    enum err err = shard_commit(shard, &commit);
    commit_release(&commit);
    return err;
}

static void test_rows(void **state)
{
    (void)state;
    struct random random = random_begin("visibility_rows");
    struct shard shard = shard_take(fixture.store);
    struct uuid namespace_id = random_uuid(&random);
    struct store_list all = {.namespace_id = namespace_id, .limit_rows = 10};
    struct visibility_row row = random_row(&random, shard.shard, namespace_id);
    assert_int_equal(write_visibility(&shard, COMMIT_UPDATE, &row), ERR_CORRUPT);
    assert_int_equal(write_visibility(&shard, COMMIT_INSERT, &row), OK);
    assert_int_equal(write_visibility(&shard, COMMIT_INSERT, &row), ERR_DUPLICATE_KEY);
    struct store_list list = list_page(all);
    assert_int_equal(list.row_count, 1);
    expect_visibility_equal(&list.rows[0], &row);
    struct uuid run_id = row.run_id;
    for (int i = 0; i < 5; i++) {
        row = random_row(&random, shard.shard, namespace_id);
        row.run_id = run_id;
        assert_int_equal(write_visibility(&shard, COMMIT_UPDATE, &row), OK);
        list = list_page(all);
        assert_int_equal(list.row_count, 1);
        expect_visibility_equal(&list.rows[0], &row);
    }
    assert_int_equal(write_visibility(&shard, COMMIT_UPDATE, &row), OK);
    assert_int_equal(write_visibility(&shard, COMMIT_DELETE, &row), OK);
    assert_int_equal(write_visibility(&shard, COMMIT_DELETE, &row), OK);
    assert_int_equal(list_page(all).row_count, 0);
}

static void test_merging(void **state)
{
    (void)state;
    struct random random = random_begin("visibility_merging");
    struct shard shard = shard_take(fixture.store);
    struct uuid namespace_id = random_uuid(&random);
    struct visibility_row first = random_row(&random, shard.shard, namespace_id);
    struct visibility_row second = random_row(&random, shard.shard, namespace_id);
    struct visibility_row changed = random_row(&random, shard.shard, namespace_id);
    changed.run_id = first.run_id;
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    const struct commit_visibility changes[] = {
        {.mode = COMMIT_INSERT, .row = first},
        {.mode = COMMIT_INSERT, .row = second},
        {.mode = COMMIT_UPDATE, .row = changed},
        {.mode = COMMIT_DELETE, .row = second},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        commit_visibility(&commit, &changes[i]);
    assert_int_equal(commit.visibility_count, 1);
    assert_int_equal(shard_commit(&shard, &commit), OK);
    commit_release(&commit);
    struct store_list list =
        list_page((struct store_list){.namespace_id = namespace_id, .limit_rows = 10});
    assert_int_equal(list.row_count, 1);
    expect_visibility_equal(&list.rows[0], &changed);
}

/* ---- random filters ---------------------------------------------------------------------- */

static struct filter_value random_value(
    struct random *random, enum filter_field field, const struct visibility_row *sample)
{
    switch (filter_field_kind(field)) {
    case FILTER_KIND_KEYWORD:
        return (struct filter_value){.text = word(random)};
    case FILTER_KIND_UUID:
        return (struct filter_value){.text = uuid_view(&sample->run_id)};
    case FILTER_KIND_STATUS:
    case FILTER_KIND_INT:
        return (struct filter_value){.number = (int64_t)random_below(random, 10)};
    case FILTER_KIND_TIME:
        return (struct filter_value){
            .number = random_below(random, 20) ? small_time(random) : DUE_NONE};
    case FILTER_KIND_DURATION:
        return (struct filter_value){.number = small_time(random) - small_time(random)};
    }
    return (struct filter_value){0};
}

static const struct filter *random_leaf(
    struct random *random, struct arena *arena, const struct visibility_row *sample)
{
    static const enum filter_op ops[] = {FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_LE, FILTER_GT,
        FILTER_GE, FILTER_IN, FILTER_NOT_IN, FILTER_BETWEEN, FILTER_IS_NULL, FILTER_IS_NOT_NULL,
        FILTER_STARTS_WITH, FILTER_EQ};
    struct filter *filter = arena_new(arena, struct filter);
    filter->field = (enum filter_field)random_below(random, FIELD_COUNT);
    filter->op = ops[random_below(random, ARRAY_LEN(ops))];
    enum filter_kind kind = filter_field_kind(filter->field);
    if (filter->op == FILTER_STARTS_WITH && kind != FILTER_KIND_KEYWORD)
        filter->op = FILTER_EQ;
    size_t count = 1;
    if (filter->op == FILTER_BETWEEN)
        count = 2;
    else if (filter->op == FILTER_IN || filter->op == FILTER_NOT_IN)
        count = random_below(random, 4);
    struct filter_value *values = arena_zalloc(arena, count + 1, sizeof(*values));
    for (size_t i = 0; i < count; i++)
        values[i] = random_value(random, filter->field, sample);
    filter->values = values;
    filter->value_count = count;
    return filter;
}

/** A random tree, grown from its leaves. */
static const struct filter *random_filter(
    struct random *random, struct arena *arena, const struct visibility_row *rows, size_t row_count)
{
    const struct filter *nodes[8];
    size_t count = 1 + random_below(random, ARRAY_LEN(nodes));
    for (size_t i = 0; i < count; i++)
        nodes[i] = random_leaf(random, arena, &rows[random_below(random, row_count)]);
    while (count > 1) {
        size_t children = random_below(random, 4) == 0 ? 1 : 2 + random_below(random, count - 1);
        if (children > count)
            children = count;
        struct filter *node = arena_new(arena, struct filter);
        const struct filter **list = arena_zalloc(arena, children, sizeof(*list));
        for (size_t i = 0; i < children; i++)
            list[i] = nodes[--count];
        node->children = list;
        node->child_count = children;
        if (children == 1)
            node->op = FILTER_NOT;
        else
            node->op = random_below(random, 2) ? FILTER_AND : FILTER_OR;
        nodes[count++] = node;
    }
    return nodes[0];
}

static int compare_rows(const void *left, const void *right)
{
    const struct visibility_row *a = left;
    const struct visibility_row *b = right;
    if (a->close_ns != b->close_ns)
        return a->close_ns > b->close_ns ? -1 : 1;
    if (a->start_ns != b->start_ns)
        return a->start_ns > b->start_ns ? -1 : 1;
    return memcmp(b->run_id.bytes, a->run_id.bytes, sizeof(a->run_id.bytes));
}

/** Reads the list in pages and checks it against the matching rows. */
static void check_list(struct uuid namespace_id, const struct filter *filter,
    const struct visibility_row *rows, size_t row_count, uint32_t page)
{
    struct store_list list = {.namespace_id = namespace_id, .filter = filter, .limit_rows = page};
    size_t at = 0;
    for (;;) {
        list = list_page(list);
        assert_true(list.row_count <= page);
        for (size_t i = 0; i < list.row_count; i++) {
            while (at < row_count && !filter_matches(filter, &rows[at]))
                at++;
            assert_true(at < row_count);
            expect_visibility_equal(&list.rows[i], &rows[at++]);
        }
        if (!list.more)
            break;
        assert_int_equal(list.row_count, page);
        const struct visibility_row *last = &list.rows[list.row_count - 1];
        list.after_set = true;
        list.after_close_ns = last->close_ns;
        list.after_start_ns = last->start_ns;
        list.after_run_id = last->run_id;
    }
    for (; at < row_count; at++)
        assert_false(filter_matches(filter, &rows[at]));
}

static void check_count(struct uuid namespace_id, const struct filter *filter,
    const struct visibility_row *rows, size_t row_count)
{
    int64_t total = 0;
    int64_t by_status[16] = {0};
    for (size_t i = 0; i < row_count; i++) {
        if (!filter_matches(filter, &rows[i]))
            continue;
        total++;
        by_status[rows[i].status]++;
    }
    struct store_count count = {.namespace_id = namespace_id, .filter = filter};
    assert_int_equal(count_rows(count).total, total);
    count.by_status = true;
    count = count_rows(count);
    assert_int_equal(count.total, total);
    for (size_t i = 0; i < ARRAY_LEN(by_status); i++)
        assert_int_equal(count.status_counts[i], by_status[i]);
}

#define FILTER_ROWS   120
#define FILTER_ROUNDS 250

static void test_filters(void **state)
{
    (void)state;
    struct random random = random_begin("visibility_filters");
    struct shard shards[2] = {shard_take(fixture.store), shard_take(fixture.store)};
    struct uuid namespace_id = random_uuid(&random);
    struct uuid other = random_uuid(&random);
    struct visibility_row *rows = arena_zalloc(&fixture.arena, FILTER_ROWS, sizeof(*rows));
    struct commit commit;
    commit_init(&commit);
    for (size_t i = 0; i < FILTER_ROWS; i++) {
        struct shard *shard = &shards[random_below(&random, 2)];
        shard_section(&commit, shard);
        rows[i] = random_row(&random, shard->shard, namespace_id);
        struct commit_visibility change = {.mode = COMMIT_INSERT, .row = rows[i]};
        commit_visibility(&commit, &change);
        change.row = random_row(&random, shard->shard, other);
        commit_visibility(&commit, &change);
    }
    assert_int_equal(run_commit(fixture.store, &commit), OK);
    commit_release(&commit);
    qsort(rows, FILTER_ROWS, sizeof(*rows), compare_rows);
    check_list(namespace_id, NULL, rows, FILTER_ROWS, 7);
    check_list(namespace_id, NULL, rows, FILTER_ROWS, FILTER_ROWS);
    check_list(namespace_id, NULL, rows, FILTER_ROWS, 1000);
    check_count(namespace_id, NULL, rows, FILTER_ROWS);
    for (int i = 0; i < FILTER_ROUNDS; i++) {
        const struct filter *filter = random_filter(&random, &fixture.arena, rows, FILTER_ROWS);
        check_list(namespace_id, filter, rows, FILTER_ROWS,
            (uint32_t)(1 + random_below(&random, FILTER_ROWS)));
        check_count(namespace_id, filter, rows, FILTER_ROWS);
    }
    struct uuid nobody = random_uuid(&random);
    check_list(nobody, NULL, NULL, 0, 10);
    check_count(nobody, NULL, NULL, 0);
}

/** Every operator on every field, bare and negated. */
static void test_each_operator(void **state)
{
    (void)state;
    struct random random = random_begin("visibility_operators");
    struct shard shard = shard_take(fixture.store);
    struct uuid namespace_id = random_uuid(&random);
    struct visibility_row rows[24];
    struct commit commit;
    commit_init(&commit);
    shard_section(&commit, &shard);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = random_row(&random, shard.shard, namespace_id);
        commit_visibility(
            &commit, &(struct commit_visibility){.mode = COMMIT_INSERT, .row = rows[i]});
    }
    assert_int_equal(shard_commit(&shard, &commit), OK);
    commit_release(&commit);
    qsort(rows, ARRAY_LEN(rows), sizeof(*rows), compare_rows);
    for (int field = 0; field < FIELD_COUNT; field++) {
        for (int op = FILTER_EQ; op <= FILTER_IS_NOT_NULL; op++) {
            bool text = filter_field_kind((enum filter_field)field) == FILTER_KIND_KEYWORD;
            if (op == FILTER_STARTS_WITH && !text)
                continue;
            struct filter_value values[2];
            for (size_t i = 0; i < 2; i++)
                values[i] = random_value(&random, (enum filter_field)field, &rows[i]);
            struct filter leaf = {.op = (enum filter_op)op,
                .field = (enum filter_field)field,
                .values = values,
                .value_count = ARRAY_LEN(values)};
            const struct filter *child = &leaf;
            struct filter negated = {.op = FILTER_NOT, .children = &child, .child_count = 1};
            check_list(namespace_id, &leaf, rows, ARRAY_LEN(rows), 100);
            check_list(namespace_id, &negated, rows, ARRAY_LEN(rows), 100);
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_merging),
    cmocka_unit_test(test_filters),
    cmocka_unit_test(test_each_operator),
};

const struct conformance_tests conform_visibility = {tests, ARRAY_LEN(tests)};
