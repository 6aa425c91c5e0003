/* SPDX-License-Identifier: Apache-2.0
 *
 * From filters, lists and counts to SQL. Comparisons use only what every database of the family
 * understands: =, <, IN, BETWEEN, NOT, CASE and length(). A prefix is a range, so that an index
 * serves it and no LIKE pattern has to be escaped.
 */
#include "cluster/store/sql_filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NULL_TIME "9223372036854775807" /* DUE_NONE */
#define DURATION_COLUMN \
    "(CASE WHEN close_ns < " NULL_TIME " THEN close_ns - execution_ns ELSE NULL END)"

void sql_text_init(struct sql_text *sql, struct arena *arena, enum sql_dialect dialect)
{
    *sql = (struct sql_text){.arena = arena, .dialect = dialect, .capacity = 1024};
    sql->text = arena_alloc(arena, sql->capacity);
    sql->text[0] = '\0';
}

void sql_text_add(struct sql_text *sql, const char *text)
{
    size_t len = strlen(text);
    if (sql->len + len + 1 > sql->capacity) {
        sql->capacity = (sql->len + len + 1) * 2;
        char *grown = arena_alloc(sql->arena, sql->capacity);
        memcpy(grown, sql->text, sql->len);
        sql->text = grown;
    }
    memcpy(sql->text + sql->len, text, len + 1);
    sql->len += len;
}

static void add_value(struct sql_text *sql, struct sql_value value)
{
    if (sql->value_count == sql->value_capacity) {
        size_t capacity = sql->value_capacity > 0 ? sql->value_capacity * 2 : 16;
        struct sql_value *grown = arena_alloc(sql->arena, capacity * sizeof(*grown));
        if (sql->value_count > 0)
            memcpy(grown, sql->values, sql->value_count * sizeof(*grown));
        sql->values = grown;
        sql->value_capacity = capacity;
    }
    sql->values[sql->value_count++] = value;
    if (sql->dialect != SQL_POSTGRES) {
        sql_text_add(sql, "?");
        return;
    }
    char text[32];
    const char *type = value.is_bytes ? "bytea" : "bigint";
    (void)snprintf(text, sizeof(text), "$%zu::%s", sql->value_count, type);
    sql_text_add(sql, text);
}

void sql_text_number(struct sql_text *sql, int64_t number)
{
    add_value(sql, (struct sql_value){.number = number});
}

void sql_text_bytes(struct sql_text *sql, struct bytes bytes)
{
    add_value(sql, (struct sql_value){.is_bytes = true, .bytes = bytes});
}

static bool is_text(enum filter_field field)
{
    enum filter_kind kind = filter_field_kind(field);
    return kind == FILTER_KIND_KEYWORD || kind == FILTER_KIND_UUID;
}

static void add_field_value(
    struct sql_text *sql, enum filter_field field, const struct filter_value *value)
{
    if (is_text(field))
        sql_text_bytes(sql, value->text);
    else
        sql_text_number(sql, value->number);
}

static const char *column_of(enum filter_field field)
{
    return field == FIELD_EXECUTION_DURATION ? DURATION_COLUMN : filter_field_column(field);
}

/** What must hold for the field not to be NULL; NULL when it never is. */
static void add_not_null(struct sql_text *sql, enum filter_field field)
{
    if (field == FIELD_CLOSE_TIME || field == FIELD_EXECUTION_DURATION) {
        sql_text_add(sql, "close_ns < " NULL_TIME);
    } else if (filter_field_kind(field) == FILTER_KIND_KEYWORD) {
        sql_text_add(sql, "length(");
        sql_text_add(sql, filter_field_column(field));
        sql_text_add(sql, ") > 0");
    } else {
        sql_text_add(sql, "1 = 1");
    }
}

/** Can the bare comparison be true for a NULL field? The usual `WorkflowId = 'x'` cannot, and stays
 *  bare for the sake of indexes. */
static bool needs_guard(const struct filter *filter, bool negate)
{
    enum filter_kind kind = filter_field_kind(filter->field);
    bool nullable = kind == FILTER_KIND_KEYWORD || filter->field == FIELD_CLOSE_TIME ||
                    filter->field == FIELD_EXECUTION_DURATION;
    if (!nullable)
        return false;
    bool picks =
        filter->op == FILTER_EQ || filter->op == FILTER_IN || filter->op == FILTER_STARTS_WITH;
    if (negate || !picks || kind != FILTER_KIND_KEYWORD)
        return true;
    for (size_t i = 0; i < filter->value_count; i++) {
        if (filter->values[i].text.len == 0)
            return true;
    }
    return false;
}

/** The smallest string above all that begin with `prefix`; empty when there is none. */
static struct bytes prefix_end(struct arena *arena, struct bytes prefix)
{
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0)
        return (struct bytes){0};
    uint8_t *end = arena_copy(arena, prefix.data, len);
    end[len - 1]++;
    return bytes_make(end, len);
}

static void add_starts_with(struct sql_text *sql, const struct filter *filter)
{
    struct bytes prefix = filter->values[0].text;
    struct bytes end = prefix_end(sql->arena, prefix);
    sql_text_add(sql, column_of(filter->field));
    sql_text_add(sql, " >= ");
    sql_text_bytes(sql, prefix);
    if (end.len == 0)
        return;
    sql_text_add(sql, " AND ");
    sql_text_add(sql, column_of(filter->field));
    sql_text_add(sql, " < ");
    sql_text_bytes(sql, end);
}

static void add_in(struct sql_text *sql, const struct filter *filter)
{
    if (filter->value_count == 0) {
        sql_text_add(sql, filter->op == FILTER_IN ? "1 = 0" : "1 = 1");
        return;
    }
    sql_text_add(sql, column_of(filter->field));
    sql_text_add(sql, filter->op == FILTER_IN ? " IN (" : " NOT IN (");
    for (size_t i = 0; i < filter->value_count; i++) {
        if (i > 0)
            sql_text_add(sql, ", ");
        add_field_value(sql, filter->field, &filter->values[i]);
    }
    sql_text_add(sql, ")");
}

static const char *operator_text(enum filter_op op)
{
    switch (op) {
    case FILTER_EQ:
        return " = ";
    case FILTER_NE:
        return " <> ";
    case FILTER_LT:
        return " < ";
    case FILTER_LE:
        return " <= ";
    case FILTER_GT:
        return " > ";
    case FILTER_GE:
        return " >= ";
    case FILTER_BETWEEN:
        return " BETWEEN ";
    case FILTER_AND:
    case FILTER_OR:
    case FILTER_NOT:
    case FILTER_IN:
    case FILTER_NOT_IN:
    case FILTER_STARTS_WITH:
    case FILTER_IS_NULL:
    case FILTER_IS_NOT_NULL:
        break;
    }
    check_fail(__FILE__, __LINE__, "comparison operator");
}

static void add_comparison(struct sql_text *sql, const struct filter *filter)
{
    CHECK(filter->value_count >= (filter->op == FILTER_BETWEEN ? 2u : 1u));
    sql_text_add(sql, column_of(filter->field));
    sql_text_add(sql, operator_text(filter->op));
    add_field_value(sql, filter->field, &filter->values[0]);
    if (filter->op == FILTER_BETWEEN) {
        sql_text_add(sql, " AND ");
        add_field_value(sql, filter->field, &filter->values[1]);
    }
}

static void add_leaf(struct sql_text *sql, const struct filter *filter, bool negate)
{
    sql_text_add(sql, "(");
    if (filter->op == FILTER_IS_NULL || filter->op == FILTER_IS_NOT_NULL) {
        if ((filter->op == FILTER_IS_NULL) != negate)
            sql_text_add(sql, "NOT ");
        sql_text_add(sql, "(");
        add_not_null(sql, filter->field);
        sql_text_add(sql, "))");
        return;
    }
    if (needs_guard(filter, negate)) {
        add_not_null(sql, filter->field);
        sql_text_add(sql, " AND ");
    }
    sql_text_add(sql, negate ? "NOT (" : "(");
    if (filter->op == FILTER_STARTS_WITH)
        add_starts_with(sql, filter);
    else if (filter->op == FILTER_IN || filter->op == FILTER_NOT_IN)
        add_in(sql, filter);
    else
        add_comparison(sql, filter);
    sql_text_add(sql, "))");
}

/** A node whose text is under construction. */
struct frame {
    const struct filter *filter;
    size_t next; /* child */
    bool negate;
};

static void push(struct frame *stack, size_t *depth, const struct filter *filter, bool negate)
{
    bool flipped = negate;
    while (filter->op == FILTER_NOT) {
        CHECK(filter->child_count == 1);
        filter = filter->children[0];
        flipped = !flipped;
    }
    CHECK(*depth < FILTER_DEPTH_MAX);
    stack[(*depth)++] = (struct frame){.filter = filter, .negate = flipped};
}

void sql_text_filter(struct sql_text *sql, const struct filter *filter)
{
    if (!filter) {
        sql_text_add(sql, "(1 = 1)");
        return;
    }
    struct frame stack[FILTER_DEPTH_MAX];
    size_t depth = 0;
    push(stack, &depth, filter, false);
    while (depth > 0) {
        struct frame *frame = &stack[depth - 1];
        bool leaf = frame->filter->op != FILTER_AND && frame->filter->op != FILTER_OR;
        if (leaf) {
            add_leaf(sql, frame->filter, frame->negate);
            depth--;
            continue;
        }
        bool all = (frame->filter->op == FILTER_AND) != frame->negate;
        if (frame->next == frame->filter->child_count) {
            if (frame->next == 0)
                sql_text_add(sql, all ? "(1 = 1" : "(1 = 0");
            sql_text_add(sql, ")");
            depth--;
            continue;
        }
        if (frame->next == 0)
            sql_text_add(sql, "(");
        else
            sql_text_add(sql, all ? " AND " : " OR ");
        push(stack, &depth, frame->filter->children[frame->next++], frame->negate);
    }
}

/** Behind a position in the order of lists. Spelt out, with the leading bound apart: MariaDB finds
 *  no index range in a row comparison. */
static void add_position(struct sql_text *sql, const struct store_list *list)
{
    sql_text_add(sql, " AND close_ns <= ");
    sql_text_number(sql, list->after_close_ns);
    sql_text_add(sql, " AND (close_ns < ");
    sql_text_number(sql, list->after_close_ns);
    sql_text_add(sql, " OR start_ns < ");
    sql_text_number(sql, list->after_start_ns);
    sql_text_add(sql, " OR (start_ns = ");
    sql_text_number(sql, list->after_start_ns);
    sql_text_add(sql, " AND run_id < ");
    sql_text_bytes(sql, uuid_view(&list->after_run_id));
    sql_text_add(sql, "))");
}

void sql_list_select(struct sql_text *sql, const struct store_list *list)
{
    sql_text_add(sql, "SELECT " SQL_VISIBILITY_COLUMNS " FROM visibility WHERE namespace_id = ");
    sql_text_bytes(sql, uuid_view(&list->namespace_id));
    if (list->after_set)
        add_position(sql, list);
    if (list->filter) {
        sql_text_add(sql, " AND ");
        sql_text_filter(sql, list->filter);
    }
    char limit[96];
    (void)snprintf(limit, sizeof(limit),
        " ORDER BY close_ns DESC, start_ns DESC, run_id DESC LIMIT %" PRIu64,
        (uint64_t)list->limit_rows + 1);
    sql_text_add(sql, limit);
}

void sql_count_select(struct sql_text *sql, const struct store_count *count)
{
    sql_text_add(sql, count->by_status ? "SELECT status, COUNT(*)" : "SELECT COUNT(*)");
    sql_text_add(sql, " FROM visibility WHERE namespace_id = ");
    sql_text_bytes(sql, uuid_view(&count->namespace_id));
    if (count->filter) {
        sql_text_add(sql, " AND ");
        sql_text_filter(sql, count->filter);
    }
    if (count->by_status)
        sql_text_add(sql, " GROUP BY status");
}
