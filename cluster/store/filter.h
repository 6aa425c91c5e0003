/* SPDX-License-Identifier: Apache-2.0
 *
 * The abstract syntax of a visibility query over system fields: made by visibility/ from text,
 * turned into SQL by the SQL drivers (sql_filter.c), evaluated directly by the memory driver.
 */
#ifndef CLUSTER_STORE_FILTER_H
#define CLUSTER_STORE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/bytes.h"

/* X(enum, query name, SQL column, kind) */
#define FILTER_FIELD_LIST(X)                                                       \
    X(FIELD_WORKFLOW_ID, "WorkflowId", "workflow_id", KEYWORD)                     \
    X(FIELD_RUN_ID, "RunId", "run_id", UUID)                                       \
    X(FIELD_WORKFLOW_TYPE, "WorkflowType", "workflow_type", KEYWORD)               \
    X(FIELD_TASK_QUEUE, "TaskQueue", "task_queue", KEYWORD)                        \
    X(FIELD_STATUS, "ExecutionStatus", "status", STATUS)                           \
    X(FIELD_START_TIME, "StartTime", "start_ns", TIME)                             \
    X(FIELD_EXECUTION_TIME, "ExecutionTime", "execution_ns", TIME)                 \
    X(FIELD_CLOSE_TIME, "CloseTime", "close_ns", TIME)                             \
    X(FIELD_EXECUTION_DURATION, "ExecutionDuration", "", DURATION)                 \
    X(FIELD_HISTORY_LENGTH, "HistoryLength", "history_length", INT)                \
    X(FIELD_HISTORY_SIZE, "HistorySizeBytes", "history_size_bytes", INT)           \
    X(FIELD_STATE_TRANSITIONS, "StateTransitionCount", "state_transitions", INT)   \
    X(FIELD_PARENT_WORKFLOW_ID, "ParentWorkflowId", "parent_workflow_id", KEYWORD) \
    X(FIELD_PARENT_RUN_ID, "ParentRunId", "parent_run_id", KEYWORD)                \
    X(FIELD_ROOT_WORKFLOW_ID, "RootWorkflowId", "root_workflow_id", KEYWORD)       \
    X(FIELD_ROOT_RUN_ID, "RootRunId", "root_run_id", KEYWORD)

enum filter_field {
#define FILTER_FIELD_ENUM(id, name, column, kind) id,
    FILTER_FIELD_LIST(FILTER_FIELD_ENUM)
#undef FILTER_FIELD_ENUM
        FIELD_COUNT
};

enum filter_kind {
    FILTER_KIND_KEYWORD,
    FILTER_KIND_UUID,     /* values are 16 raw bytes in `text` */
    FILTER_KIND_STATUS,   /* integer */
    FILTER_KIND_TIME,     /* wall ns */
    FILTER_KIND_DURATION, /* close_ns - execution_ns; never true for open runs */
    FILTER_KIND_INT,
};

enum filter_op {
    FILTER_AND,
    FILTER_OR,
    FILTER_NOT,
    FILTER_EQ,
    FILTER_NE,
    FILTER_LT,
    FILTER_LE,
    FILTER_GT,
    FILTER_GE,
    FILTER_IN,
    FILTER_NOT_IN,
    FILTER_BETWEEN, /* two values, inclusive */
    FILTER_STARTS_WITH,
    FILTER_IS_NULL, /* an open run's close time, an empty keyword */
    FILTER_IS_NOT_NULL,
};

struct filter_value {
    int64_t number;    /* TIME, DURATION, INT, STATUS */
    struct bytes text; /* KEYWORD, UUID */
};

/* Deepest nesting of AND, OR and NOT; the parser refuses more, evaluation relies on it. */
#define FILTER_DEPTH_MAX 64

/** A node; children and values live in the arena of the parse. Depth: FILTER_DEPTH_MAX. */
struct filter {
    enum filter_op op;
    enum filter_field field;              /* comparisons */
    const struct filter *const *children; /* AND, OR: two or more; NOT: one */
    size_t child_count;
    const struct filter_value *values;
    size_t value_count;
};

const char *filter_field_name(enum filter_field field);
const char *filter_field_column(enum filter_field field);
enum filter_kind filter_field_kind(enum filter_field field);

struct visibility_row;
/** Evaluates the filter against a row, as SQL would (three-valued logic folded to false). */
bool filter_matches(const struct filter *filter, const struct visibility_row *row);

#endif
