/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter's field table and its evaluation: the model for sql_filter.c.
 *
 * Three-valued logic without a third value: negation is carried down to the comparisons, and a
 * comparison with NULL is false whether it is negated or not. AND and OR of what remains are then
 * plain, because "unknown" and "false" at the top mean the same.
 */
#include "cluster/store/filter.h"

#include <string.h>

#include "cluster/store/commit.h"

static const struct {
    const char *name;
    const char *column;
    enum filter_kind kind;
} fields[FIELD_COUNT] = {
#define FILTER_FIELD_ROW(id, name, column, kind) [id] = {name, column, FILTER_KIND_##kind},
    FILTER_FIELD_LIST(FILTER_FIELD_ROW)
#undef FILTER_FIELD_ROW
};

const char *filter_field_name(enum filter_field field)
{
    CHECK((unsigned)field < FIELD_COUNT);
    return fields[field].name;
}

const char *filter_field_column(enum filter_field field)
{
    CHECK((unsigned)field < FIELD_COUNT);
    return fields[field].column;
}

enum filter_kind filter_field_kind(enum filter_field field)
{
    CHECK((unsigned)field < FIELD_COUNT);
    return fields[field].kind;
}

/** A row's value for a field. */
struct field_value {
    bool null;
    bool is_text;
    int64_t number;
    struct bytes text;
};

static struct field_value keyword_value(struct bytes text)
{
    return (struct field_value){.null = text.len == 0, .is_text = true, .text = text};
}

static struct field_value number_value(int64_t number)
{
    return (struct field_value){.number = number};
}

static struct field_value closed_value(const struct visibility_row *row, int64_t number)
{
    return (struct field_value){.null = row->close_ns == DUE_NONE, .number = number};
}

static struct field_value field_of(const struct visibility_row *row, enum filter_field field)
{
    switch (field) {
    case FIELD_WORKFLOW_ID:
        return keyword_value(row->workflow_id);
    case FIELD_RUN_ID:
        return keyword_value(uuid_view(&row->run_id));
    case FIELD_WORKFLOW_TYPE:
        return keyword_value(row->workflow_type);
    case FIELD_TASK_QUEUE:
        return keyword_value(row->task_queue);
    case FIELD_STATUS:
        return number_value(row->status);
    case FIELD_START_TIME:
        return number_value(row->start_ns);
    case FIELD_EXECUTION_TIME:
        return number_value(row->execution_ns);
    case FIELD_CLOSE_TIME:
        return closed_value(row, row->close_ns);
    case FIELD_EXECUTION_DURATION:
        return closed_value(row, (int64_t)((uint64_t)row->close_ns - (uint64_t)row->execution_ns));
    case FIELD_HISTORY_LENGTH:
        return number_value(row->history_length);
    case FIELD_HISTORY_SIZE:
        return number_value(row->history_size_bytes);
    case FIELD_STATE_TRANSITIONS:
        return number_value(row->state_transitions);
    case FIELD_PARENT_WORKFLOW_ID:
        return keyword_value(row->parent_workflow_id);
    case FIELD_PARENT_RUN_ID:
        return keyword_value(row->parent_run_id);
    case FIELD_ROOT_WORKFLOW_ID:
        return keyword_value(row->root_workflow_id);
    case FIELD_ROOT_RUN_ID:
        return keyword_value(row->root_run_id);
    case FIELD_COUNT:
        break;
    }
    check_fail(__FILE__, __LINE__, "known field");
}

static int value_compare(const struct field_value *value, const struct filter_value *other)
{
    if (value->is_text)
        return bytes_compare(value->text, other->text);
    return (value->number > other->number) - (value->number < other->number);
}

static bool value_in(const struct filter *filter, const struct field_value *value)
{
    for (size_t i = 0; i < filter->value_count; i++) {
        if (value_compare(value, &filter->values[i]) == 0)
            return true;
    }
    return false;
}

static bool starts_with(const struct field_value *value, const struct filter_value *prefix)
{
    size_t len = prefix->text.len;
    return value->text.len >= len &&
           (len == 0 || memcmp(value->text.data, prefix->text.data, len) == 0);
}

/** A comparison with a value that is not NULL. */
static bool test_value(const struct filter *filter, const struct field_value *value)
{
    size_t needed = filter->op == FILTER_BETWEEN ? 2 : 1;
    if (filter->op == FILTER_IN || filter->op == FILTER_NOT_IN)
        return value_in(filter, value) == (filter->op == FILTER_IN);
    CHECK(filter->value_count >= needed);
    int order = value_compare(value, &filter->values[0]);
    switch (filter->op) {
    case FILTER_EQ:
        return order == 0;
    case FILTER_NE:
        return order != 0;
    case FILTER_LT:
        return order < 0;
    case FILTER_LE:
        return order <= 0;
    case FILTER_GT:
        return order > 0;
    case FILTER_GE:
        return order >= 0;
    case FILTER_BETWEEN:
        return order >= 0 && value_compare(value, &filter->values[1]) <= 0;
    case FILTER_STARTS_WITH:
        return starts_with(value, &filter->values[0]);
    case FILTER_AND:
    case FILTER_OR:
    case FILTER_NOT:
    case FILTER_IN:
    case FILTER_NOT_IN:
    case FILTER_IS_NULL:
    case FILTER_IS_NOT_NULL:
        break;
    }
    check_fail(__FILE__, __LINE__, "comparison operator");
}

static bool test_leaf(const struct filter *filter, const struct visibility_row *row, bool negate)
{
    struct field_value value = field_of(row, filter->field);
    if (filter->op == FILTER_IS_NULL)
        return value.null != negate;
    if (filter->op == FILTER_IS_NOT_NULL)
        return value.null == negate;
    return !value.null && test_value(filter, &value) != negate;
}

/** A node under evaluation. */
struct frame {
    const struct filter *filter;
    size_t next; /* child */
    bool negate;
    bool all; /* a conjunction, after negation */
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
    stack[(*depth)++] = (struct frame){
        .filter = filter,
        .negate = flipped,
        .all = (filter->op == FILTER_AND) != flipped,
    };
}

bool filter_matches(const struct filter *filter, const struct visibility_row *row)
{
    if (!filter)
        return true;
    struct frame stack[FILTER_DEPTH_MAX];
    size_t depth = 0;
    push(stack, &depth, filter, false);
    bool result = true;
    while (depth > 0) {
        struct frame *frame = &stack[depth - 1];
        if (frame->filter->op != FILTER_AND && frame->filter->op != FILTER_OR) {
            result = test_leaf(frame->filter, row, frame->negate);
            depth--;
        } else if (frame->next > 0 && result != frame->all) {
            depth--; /* decided: the result of the child is ours */
        } else if (frame->next < frame->filter->child_count) {
            push(stack, &depth, frame->filter->children[frame->next++], frame->negate);
        } else {
            result = frame->all;
            depth--;
        }
    }
    return result;
}
