/* SPDX-License-Identifier: Apache-2.0
 *
 * Operator precedence without recursion: NOT binds closer than AND, AND closer than OR. Operators
 * wait on one stack, finished filters on another; chains of the same operator become one node, so
 * that only real nesting counts as depth.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/uuid.h"
#include "cluster/visibility/visibility_private.h"

#define STACK_MAX 256

enum pending { PENDING_PAREN, PENDING_OR, PENDING_AND, PENDING_NOT }; /* by precedence */

/* A filter under construction. */
struct node {
    struct filter filter;
    const struct filter **children;
    size_t capacity;
    int depth;
};

struct parser {
    struct arena *arena;
    struct word_reader reader;
    struct word word; /* the one looked at */
    struct node *nodes[STACK_MAX];
    size_t node_count;
    enum pending pending[STACK_MAX];
    size_t pending_count;
    size_t value_count;
    char *error; /* 256 bytes; "" = none yet */
};

/* ---- errors -------------------------------------------------------------------------------- */

static bool fail(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool fail(struct parser *p, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)snprintf(p->error, 256, "invalid query: %s", text);
    return false;
}

static bool fail_near(struct parser *p, const char *what)
{
    if (p->word.kind == WORD_BAD)
        return fail(p, "%s near '%.60s'", p->word.text, p->reader.at);
    if (p->word.kind == WORD_END)
        return fail(p, "%s, but the query ends", what);
    return fail(p, "%s near '%.60s'", what, p->word.text);
}

static void advance(struct parser *p)
{
    p->word = word_next(&p->reader);
}

/* ---- nodes --------------------------------------------------------------------------------- */

static bool push_node(struct parser *p, struct node *node)
{
    if (p->node_count == STACK_MAX || node->depth > FILTER_DEPTH_MAX)
        return fail(p, "the expression is nested too deeply");
    p->nodes[p->node_count++] = node;
    return true;
}

static struct node *leaf_new(struct parser *p, enum filter_op op, enum filter_field field)
{
    struct node *node = arena_new(p->arena, struct node);
    node->filter.op = op;
    node->filter.field = field;
    node->depth = 1;
    return node;
}

static void add_child(struct parser *p, struct node *node, const struct node *child)
{
    size_t count = node->filter.child_count;
    if (count == node->capacity) {
        size_t capacity = count ? count * 2 : 4;
        const struct filter **grown =
            arena_zalloc(p->arena, capacity, sizeof(const struct filter *));
        if (count)
            memcpy(grown, node->children, count * sizeof(*grown));
        node->children = grown;
        node->capacity = capacity;
        node->filter.children = grown;
    }
    node->children[count] = &child->filter;
    node->filter.child_count = count + 1;
    if (child->depth + 1 > node->depth)
        node->depth = child->depth + 1;
}

static bool negate(struct parser *p, struct node *inner)
{
    struct node *node = arena_new(p->arena, struct node);
    node->filter.op = FILTER_NOT;
    add_child(p, node, inner);
    return push_node(p, node);
}

/* Applies the operator on top of the stack. */
static bool reduce(struct parser *p)
{
    CHECK(p->pending_count > 0);
    enum pending pending = p->pending[--p->pending_count];
    CHECK(p->node_count > 0);
    struct node *right = p->nodes[--p->node_count];
    if (pending == PENDING_NOT)
        return negate(p, right);
    CHECK(p->node_count > 0);
    struct node *left = p->nodes[--p->node_count];
    enum filter_op op = pending == PENDING_AND ? FILTER_AND : FILTER_OR;
    if (left->filter.op != op) {
        struct node *both = arena_new(p->arena, struct node);
        both->filter.op = op;
        add_child(p, both, left);
        left = both;
    }
    add_child(p, left, right);
    return push_node(p, left);
}

static bool push_pending(struct parser *p, enum pending pending)
{
    if (p->pending_count == STACK_MAX)
        return fail(p, "the expression is nested too deeply");
    p->pending[p->pending_count++] = pending;
    return true;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool find_field(const char *name, enum filter_field *ret_field)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(filter_field_name((enum filter_field)i), name) == 0) {
            *ret_field = (enum filter_field)i;
            return true;
        }
    }
    return false;
}

static bool is_predefined(const char *name)
{
    size_t count;
    const struct visibility_attribute *attributes = visibility_predefined_attributes(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(attributes[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Attributes that no run has: every comparison with them is unknown, only IS NULL is true. */
static bool read_field(struct parser *p, enum filter_field *ret_field, bool *ret_absent)
{
    static const char prefix[] = "Temporal";
    if (p->word.kind != WORD_NAME && p->word.kind != WORD_QUOTED)
        return fail_near(p, "expected a name");
    const char *name = p->word.text;
    *ret_absent = strcmp(name, "TemporalNamespaceDivision") == 0;
    *ret_field = FIELD_START_TIME;
    bool known = *ret_absent || find_field(name, ret_field);
    if (!known && strncmp(name, prefix, sizeof(prefix) - 1) == 0)
        known = find_field(name + sizeof(prefix) - 1, ret_field);
    if (!known && is_predefined(name))
        return fail(p, "searching by '%.60s' is not supported", name);
    if (!known)
        return fail(p, "'%.60s' is not a search attribute", name);
    advance(p);
    return true;
}

/* ---- comparisons --------------------------------------------------------------------------- */

static bool read_value(
    struct parser *p, enum filter_field field, enum filter_op op, struct filter_value *ret_value)
{
    if (p->word.kind != WORD_STRING && p->word.kind != WORD_NUMBER)
        return fail_near(p, "expected a value");
    if (++p->value_count > VISIBILITY_VALUES_MAX)
        return fail(p, "more than %d values", VISIBILITY_VALUES_MAX);
    enum filter_kind kind = filter_field_kind(field);
    if (!value_read(kind, &p->word, ret_value))
        return fail(p, "'%.60s' is not a value of %s", p->word.text, filter_field_name(field));
    if (kind == FILTER_KIND_UUID) {
        struct filter_value range[2];
        if (uuid_prefix(p->arena, &p->word, range) && p->word.len == UUID_TEXT_LEN)
            *ret_value = range[0];
        else if (op != FILTER_EQ && op != FILTER_NE && op != FILTER_IN && op != FILTER_NOT_IN)
            return fail(p, "'%.60s' is not a value of %s", p->word.text, filter_field_name(field));
    }
    advance(p);
    return true;
}

static bool expect_sign(struct parser *p, const char *sign)
{
    if (!word_is_sign(&p->word, sign)) {
        char what[32];
        (void)snprintf(what, sizeof(what), "expected %s", sign);
        return fail_near(p, what);
    }
    advance(p);
    return true;
}

static bool read_list(struct parser *p, struct node *node)
{
    size_t capacity = 8;
    struct filter_value *values = arena_zalloc(p->arena, capacity, sizeof(*values));
    size_t count = 0;
    if (!expect_sign(p, "("))
        return false;
    for (;;) {
        if (count == capacity) {
            struct filter_value *grown = arena_zalloc(p->arena, capacity * 2, sizeof(*grown));
            memcpy(grown, values, count * sizeof(*grown));
            values = grown;
            capacity *= 2;
        }
        if (!read_value(p, node->filter.field, node->filter.op, &values[count++]))
            return false;
        if (!word_is_sign(&p->word, ","))
            break;
        advance(p);
    }
    node->filter.values = values;
    node->filter.value_count = count;
    return expect_sign(p, ")");
}

static bool read_between(struct parser *p, struct node *node)
{
    struct filter_value *values = arena_zalloc(p->arena, 2, sizeof(*values));
    enum filter_field field = node->filter.field;
    if (!read_value(p, field, FILTER_BETWEEN, &values[0]))
        return false;
    if (!word_is(&p->word, "AND"))
        return fail_near(p, "expected AND of BETWEEN");
    advance(p);
    node->filter.values = values;
    node->filter.value_count = 2;
    return read_value(p, field, FILTER_BETWEEN, &values[1]);
}

static bool read_prefix(struct parser *p, struct node *node)
{
    enum filter_field field = node->filter.field;
    enum filter_kind kind = filter_field_kind(field);
    struct filter_value *values = arena_zalloc(p->arena, 2, sizeof(*values));
    node->filter.values = values;
    node->filter.value_count = 1;
    if (kind == FILTER_KIND_KEYWORD)
        return read_value(p, field, FILTER_STARTS_WITH, &values[0]);
    if (kind != FILTER_KIND_UUID || p->word.kind != WORD_STRING)
        return fail_near(p, "STARTS_WITH needs a keyword attribute and a string");
    /* UUIDs are not stored as text: those with this beginning are a range. */
    if (uuid_prefix(p->arena, &p->word, values)) {
        node->filter.op = FILTER_BETWEEN;
        node->filter.value_count = 2;
    } else {
        node->filter.op = FILTER_EQ;
        (void)value_read(kind, &p->word, &values[0]); /* a string is enough */
    }
    advance(p);
    return true;
}

static bool read_is_null(struct parser *p, struct node *node)
{
    node->filter.op = FILTER_IS_NULL;
    if (word_is(&p->word, "NOT")) {
        node->filter.op = FILTER_IS_NOT_NULL;
        advance(p);
    }
    if (!word_is(&p->word, "NULL"))
        return fail_near(p, "expected NULL");
    advance(p);
    return true;
}

static bool read_order(struct parser *p, struct node *node)
{
    static const struct {
        const char *sign;
        enum filter_op op;
    } orders[] = {{"=", FILTER_EQ}, {"!=", FILTER_NE}, {"<>", FILTER_NE}, {"<", FILTER_LT},
        {"<=", FILTER_LE}, {">", FILTER_GT}, {">=", FILTER_GE}};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        if (!word_is_sign(&p->word, orders[i].sign))
            continue;
        enum filter_op op = orders[i].op;
        if (filter_field_kind(node->filter.field) == FILTER_KIND_STATUS && op != FILTER_EQ &&
            op != FILTER_NE)
            return fail(p, "operator %s is not supported for ExecutionStatus", orders[i].sign);
        advance(p);
        struct filter_value *value = arena_new(p->arena, struct filter_value);
        node->filter.op = op;
        node->filter.values = value;
        node->filter.value_count = 1;
        return read_value(p, node->filter.field, op, value);
    }
    return fail_near(p, "expected an operator");
}

/* What follows the name and an optional NOT. */
static bool read_operation(struct parser *p, struct node *node, bool *ret_negate)
{
    *ret_negate = word_is(&p->word, "NOT");
    if (*ret_negate)
        advance(p);
    if (word_is(&p->word, "IN")) {
        node->filter.op = *ret_negate ? FILTER_NOT_IN : FILTER_IN;
        *ret_negate = false;
        advance(p);
        return read_list(p, node);
    }
    if (word_is(&p->word, "BETWEEN")) {
        node->filter.op = FILTER_BETWEEN;
        if (filter_field_kind(node->filter.field) == FILTER_KIND_STATUS)
            return fail(p, "operator BETWEEN is not supported for ExecutionStatus");
        advance(p);
        return read_between(p, node);
    }
    if (word_is(&p->word, "STARTS_WITH")) {
        node->filter.op = FILTER_STARTS_WITH;
        advance(p);
        return read_prefix(p, node);
    }
    if (*ret_negate)
        return fail_near(p, "expected IN, BETWEEN or STARTS_WITH");
    if (word_is(&p->word, "IS")) {
        advance(p);
        return read_is_null(p, node);
    }
    return read_order(p, node);
}

static bool read_comparison(struct parser *p)
{
    enum filter_field field;
    bool absent;
    bool negated;
    if (!read_field(p, &field, &absent))
        return false;
    if (absent)
        field = FIELD_PARENT_WORKFLOW_ID; /* a keyword, for the form of what follows */
    struct node *node = leaf_new(p, FILTER_EQ, field);
    if (!read_operation(p, node, &negated))
        return false;
    if (absent) {
        /* A run always has a start time. */
        bool is_null = node->filter.op == FILTER_IS_NULL;
        node = leaf_new(p, is_null ? FILTER_IS_NOT_NULL : FILTER_IS_NULL, FIELD_START_TIME);
        negated = false;
    }
    return negated ? negate(p, node) : push_node(p, node);
}

/* ---- the expression ------------------------------------------------------------------------ */

static bool read_operand(struct parser *p, bool *ret_complete)
{
    *ret_complete = false;
    if (word_is(&p->word, "NOT")) {
        advance(p);
        return push_pending(p, PENDING_NOT);
    }
    if (word_is_sign(&p->word, "(")) {
        advance(p);
        return push_pending(p, PENDING_PAREN);
    }
    *ret_complete = true;
    return read_comparison(p);
}

static bool reduce_to(struct parser *p, enum pending least)
{
    while (p->pending_count > 0 && p->pending[p->pending_count - 1] >= least) {
        if (!reduce(p))
            return false;
    }
    return true;
}

static bool close_paren(struct parser *p)
{
    if (!reduce_to(p, PENDING_OR))
        return false;
    if (p->pending_count == 0)
        return fail(p, "unmatched )");
    p->pending_count--;
    advance(p);
    return true;
}

static bool ends_expression(const struct word *word)
{
    return word->kind == WORD_END || word_is(word, "ORDER") || word_is(word, "GROUP") ||
           word_is(word, "LIMIT");
}

static bool read_expression(struct parser *p)
{
    bool complete = false;
    for (;;) {
        if (!complete) {
            if (!read_operand(p, &complete))
                return false;
        } else if (word_is_sign(&p->word, ")")) {
            if (!close_paren(p))
                return false;
        } else if (word_is(&p->word, "AND") || word_is(&p->word, "OR")) {
            enum pending op = word_is(&p->word, "AND") ? PENDING_AND : PENDING_OR;
            if (!reduce_to(p, op) || !push_pending(p, op))
                return false;
            advance(p);
            complete = false;
        } else if (ends_expression(&p->word)) {
            break;
        } else {
            return fail_near(p, "expected AND or OR");
        }
    }
    if (!reduce_to(p, PENDING_OR))
        return false;
    return p->pending_count == 0 || fail(p, "unmatched (");
}

static bool read_tail(struct parser *p, bool grouping, bool *ret_by_status)
{
    if (word_is(&p->word, "ORDER"))
        return fail(p, "ORDER BY is not supported: open runs come first, then the latest closed");
    if (word_is(&p->word, "LIMIT"))
        return fail(p, "LIMIT is not supported: use the page size");
    if (word_is(&p->word, "GROUP")) {
        advance(p);
        bool by = word_is(&p->word, "BY");
        advance(p);
        bool status = strcmp(p->word.text, "ExecutionStatus") == 0;
        advance(p);
        if (!grouping)
            return fail(p, "GROUP BY is not supported here");
        if (!by || !status)
            return fail(p, "'GROUP BY' clause is only supported for ExecutionStatus");
        *ret_by_status = true;
    }
    return p->word.kind == WORD_END || fail_near(p, "expected the end");
}

enum err visibility_parse(struct arena *arena, const char *text, bool grouping,
    struct visibility_query *ret_query, char ret_text[256])
{
    struct parser parser = {
        .arena = arena, .reader = {.arena = arena, .at = text}, .error = ret_text};
    struct visibility_query query = {0};
    if (strlen(text) > VISIBILITY_QUERY_BYTES_MAX) {
        (void)fail(&parser, "longer than %u bytes", VISIBILITY_QUERY_BYTES_MAX);
        return ERR_INVALID;
    }
    advance(&parser);
    bool ok = ends_expression(&parser.word) || read_expression(&parser);
    if (!ok || !read_tail(&parser, grouping, &query.by_status))
        return ERR_INVALID;
    CHECK(parser.node_count <= 1);
    if (parser.node_count)
        query.filter = &parser.nodes[0]->filter;
    *ret_query = query;
    return OK;
}
