/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/visibility/visibility.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/uuid.h"
#include "cluster/store/commit.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ---- what a query means, by a row ----------------------------------------------------------- */

#define DAY_NS    (86400 * NS_PER_S)
#define START_NS  1767323045000000000ll /* 2026-01-02T03:04:05Z */
#define ROW_RUN   "0190abcd-1234-7000-8000-000000000001"
#define OTHER_RUN "0190abce-1234-7000-8000-000000000001"

static struct visibility_row closed_row(void)
{
    struct visibility_row row = {.workflow_id = bytes_of("order-7"),
        .workflow_type = bytes_of("Order"),
        .task_queue = bytes_of("main"),
        .status = 2,
        .start_ns = START_NS,
        .execution_ns = START_NS + NS_PER_S,
        .close_ns = START_NS + 91 * NS_PER_S,
        .history_length = 11,
        .history_size_bytes = 4096,
        .state_transitions = 5,
        .root_workflow_id = bytes_of("order-7"),
        .root_run_id = bytes_of(ROW_RUN)};
    assert_true(uuid_parse(bytes_of(ROW_RUN), &row.run_id));
    return row;
}

static bool matches(const char *text)
{
    struct visibility_row row = closed_row();
    struct visibility_query query;
    char error[256] = "";
    if (visibility_parse(&arena, text, false, &query, error)) {
        print_error("%s: %s\n", text, error);
        assert_true(false);
    }
    return filter_matches(query.filter, &row);
}

static void assert_all(const char *const *texts, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++) {
        if (matches(texts[i]) != expected) {
            print_error("%s: %s\n", texts[i], expected ? "does not match" : "matches");
            assert_true(false);
        }
    }
}

static void queries_that_match(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "  ",
        "WorkflowType = 'Order'",
        "WorkflowType='Order'",
        "`WorkflowType` = \"Order\"",
        "TemporalWorkflowType = 'Order'",
        "WorkflowId STARTS_WITH 'order-'",
        "WorkflowId NOT STARTS_WITH 'customer'",
        "NOT WorkflowId STARTS_WITH 'customer'",
        "WorkflowId != 'x' AND WorkflowId <> 'y'",
        "ExecutionStatus = 'Completed'",
        "ExecutionStatus = 'completed'",
        "ExecutionStatus = 'WORKFLOW_EXECUTION_STATUS_COMPLETED'",
        "ExecutionStatus = 2",
        "ExecutionStatus IN ('Running', 'Completed')",
        "ExecutionStatus in (1, 2)",
        "ExecutionStatus NOT IN ('Running', 'TimedOut', 'CONTINUED_AS_NEW')",
        "StartTime = '2026-01-02T03:04:05Z'",
        "StartTime = '2026-01-02T04:04:05.000000000+01:00'",
        "StartTime > '2026-01-02T03:04:04.999999999Z'",
        "StartTime = 1767323045000000000",
        "StartTime BETWEEN '2026-01-02T00:00:00Z' AND '2026-01-03T00:00:00Z'",
        "StartTime NOT BETWEEN 0 AND 1",
        "StartTime < '9999-12-31T23:59:59Z'",
        "StartTime > '0001-01-01T00:00:00Z'",
        "CloseTime IS NOT NULL",
        "CloseTime >= '2026-01-02T03:05:36Z'",
        "ExecutionDuration = '1m30s'",
        "ExecutionDuration = '90s'",
        "ExecutionDuration = '1.5m'",
        "ExecutionDuration = '00:01:30'",
        "ExecutionDuration = 90000000000",
        "ExecutionDuration > '89s999ms'",
        "ExecutionDuration < '2540400h'",
        "HistoryLength > 10 AND HistorySizeBytes <= 4096 AND StateTransitionCount = 5",
        "RunId = '" ROW_RUN "'",
        "RunId = '0190ABCD-1234-7000-8000-000000000001'",
        "RunId STARTS_WITH '0190abcd'",
        "RunId STARTS_WITH '0190abcd-1'",
        "RunId STARTS_WITH ''",
        "RunId != 'no uuid'",
        "RunId IN ('nothing', '" ROW_RUN "')",
        "RunId < '" OTHER_RUN "'",
        "ParentWorkflowId IS NULL",
        "RootWorkflowId = 'order-7' AND RootRunId = '" ROW_RUN "'",
        "TemporalNamespaceDivision IS NULL",
        "NOT TemporalNamespaceDivision = 'x' OR WorkflowType = 'Order'",
        "WorkflowType = 'Other' OR WorkflowType = 'Order' AND TaskQueue = 'main'",
        "NOT (WorkflowType = 'Other' OR TaskQueue = 'other')",
        "NOT NOT WorkflowType = 'Order'",
        "((((WorkflowType = 'Order'))))",
        "(WorkflowType = 'Order')AND(TaskQueue='main')",
    };
    assert_all(texts, ARRAY_LEN(texts), true);
}

static void queries_that_do_not_match(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "WorkflowType = 'order'",
        "ExecutionStatus = 'Running'",
        "CloseTime IS NULL",
        "RunId = 'no uuid'",
        "RunId STARTS_WITH 'zz'",
        "RunId STARTS_WITH '0190abce'",
        "RunId NOT STARTS_WITH '0190abcd'",
        "ParentWorkflowId = ''",
        "ParentWorkflowId != 'x'",
        "TemporalNamespaceDivision IS NOT NULL",
        "TemporalNamespaceDivision = 'x'",
        "TemporalNamespaceDivision != 'x'",
        "(WorkflowType = 'Other' OR WorkflowType = 'Order') AND TaskQueue = 'other'",
        "NOT WorkflowType = 'Order' AND TaskQueue = 'main'",
        "ExecutionDuration > '2540400h'",
        "StartTime > '9999-12-31T23:59:59Z'",
    };
    assert_all(texts, ARRAY_LEN(texts), false);
}

static void quotes_in_strings(void **state)
{
    (void)state;
    struct visibility_query query;
    char error[256];
    static const char *const texts[] = {"WorkflowId = 'it''s \"so\"'",
        "WorkflowId = 'it\\'s \"so\"'", "WorkflowId = \"it's \"\"so\"\"\"",
        "WorkflowId = \"it's \\\"so\\\"\""};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(visibility_parse(&arena, texts[i], false, &query, error), OK);
        assert_true(bytes_equal(query.filter->values[0].text, bytes_of("it's \"so\"")));
    }
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void refusals_say_why(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"WorkflowType", "an operator, but the query ends"},
        {"WorkflowType =", "a value, but the query ends"},
        {"WorkflowType = Order", "a value near 'Order'"},
        {"WorkflowType = 'Order", "quote is not closed"},
        {"WorkflowType LIKE 'Order'", "an operator near 'LIKE'"},
        {"= 'Order'", "a name near '='"},
        {"'WorkflowType' = 'Order'", "a name near 'WorkflowType'"},
        {"WorkflowType = 1", "'1' is not a value of WorkflowType"},
        {"Color = 'red'", "'Color' is not a search attribute"},
        {"TemporalScheduledById = 'x'", "searching by 'TemporalScheduledById' is not supported"},
        {"workflowtype = 'x'", "'workflowtype' is not a search attribute"},
        {"ExecutionStatus = 'Busy'", "'Busy' is not a value of ExecutionStatus"},
        {"ExecutionStatus > 1", "operator > is not supported"},
        {"ExecutionStatus BETWEEN 1 AND 2", "BETWEEN is not supported"},
        {"ExecutionStatus STARTS_WITH 'R'", "STARTS_WITH needs a keyword"},
        {"StartTime > 'yesterday'", "'yesterday' is not a value of StartTime"},
        {"StartTime > '2026-02-30T00:00:00Z'", "is not a value of StartTime"},
        {"StartTime > '2026-02-03T24:00:00Z'", "is not a value of StartTime"},
        {"StartTime > '2026-02-03T00:00:00'", "is not a value of StartTime"},
        {"StartTime > 99999999999999999999", "is not a value of StartTime"},
        {"HistoryLength = '7'", "is not a value of HistoryLength"},
        {"HistoryLength = 7x", "not a number"},
        {"ExecutionDuration = '5 minutes'", "is not a value of ExecutionDuration"},
        {"RunId > 'x'", "is not a value of RunId"},
        {"WorkflowId IN ()", "a value near ')'"},
        {"WorkflowId IN ('a' 'b')", "expected )"},
        {"WorkflowId IN ('a',)", "a value near ')'"},
        {"WorkflowId NOT = 'a'", "IN, BETWEEN or STARTS_WITH"},
        {"WorkflowId BETWEEN 'a' OR 'b'", "AND of BETWEEN"},
        {"WorkflowId IS 'a'", "expected NULL"},
        {"(WorkflowId = 'a'", "unmatched ("},
        {"WorkflowId = 'a')", "unmatched )"},
        {"WorkflowId = 'a' AND", "a name, but the query ends"},
        {"WorkflowId = 'a' WorkflowId = 'b'", "AND or OR"},
        {"WorkflowId = 'a' & 1", "unexpected character"},
        {"WorkflowId = 'a' ORDER BY StartTime", "ORDER BY is not supported"},
        {"ORDER BY StartTime", "ORDER BY is not supported"},
        {"WorkflowId = 'a' LIMIT 5", "LIMIT is not supported"},
        {"WorkflowId = 'a' GROUP BY ExecutionStatus", "GROUP BY is not supported here"},
        {"; DROP TABLE run", "unexpected character"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct visibility_query query;
        char error[256] = "";
        assert_int_equal(visibility_parse(&arena, cases[i][0], false, &query, error), ERR_INVALID);
        if (strncmp(error, "invalid query: ", 15) != 0 || !strstr(error, cases[i][1])) {
            print_error("%s: %s\n", cases[i][0], error);
            assert_true(false);
        }
    }
}

static void grouping(void **state)
{
    (void)state;
    struct visibility_query query;
    char error[256];
    assert_int_equal(visibility_parse(&arena, "GROUP BY ExecutionStatus", true, &query, error), OK);
    assert_true(query.by_status);
    assert_null(query.filter);
    assert_int_equal(visibility_parse(&arena, "WorkflowType = 'A' group by `ExecutionStatus`", true,
                         &query, error),
        OK);
    assert_true(query.by_status);
    assert_non_null(query.filter);
    static const char *const bad[] = {"GROUP BY WorkflowType", "GROUP ExecutionStatus",
        "GROUP BY ExecutionStatus, WorkflowType", "GROUP BY", "GROUP BY ExecutionStatus x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(visibility_parse(&arena, bad[i], true, &query, error), ERR_INVALID);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static enum err parse_repeated(
    const char *open, const char *middle, const char *close, int count, char error[256])
{
    struct buffer text = {0};
    struct visibility_query query;
    for (int i = 0; i < count; i++)
        buffer_printf(&text, "%s", open);
    buffer_printf(&text, "%s", middle);
    for (int i = 0; i < count; i++)
        buffer_printf(&text, "%s", close);
    buffer_append(&text, "", 1);
    enum err err = visibility_parse(&arena, (const char *)text.data, false, &query, error);
    if (!err) {
        struct visibility_row row = closed_row();
        (void)filter_matches(query.filter, &row); /* it only must not fail */
    }
    buffer_release(&text);
    return err;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char error[256];
    static const char leaf[] = "WorkflowId = 'a'";
    assert_int_equal(parse_repeated("(", leaf, ")", 200, error), OK);
    assert_int_equal(parse_repeated("(", leaf, ")", 300, error), ERR_INVALID);
    assert_non_null(strstr(error, "too deeply"));
    assert_int_equal(parse_repeated("NOT ", leaf, "", 63, error), OK);
    assert_int_equal(parse_repeated("NOT ", leaf, "", 64, error), ERR_INVALID);
    /* A chain is not nesting. */
    assert_int_equal(parse_repeated("", leaf, " AND WorkflowId = 'a'", 1500, error), OK);
    assert_int_equal(parse_repeated("", leaf, " OR WorkflowId = 'a'", 1500, error), OK);
    assert_int_equal(parse_repeated("", leaf, " OR WorkflowId = 'a'", 2000, error), ERR_INVALID);
    assert_non_null(strstr(error, "more than 2000 values"));
    static const char both[] = "WorkflowId = 'a' OR (WorkflowId = 'b' AND ";
    assert_int_equal(parse_repeated(both, leaf, ")", 60, error), OK);
    assert_int_equal(parse_repeated(both, leaf, ")", 70, error), ERR_INVALID);
    assert_int_equal(parse_repeated(" ", leaf, " ", 40000, error), ERR_INVALID);
    assert_non_null(strstr(error, "longer than"));
}

static uint64_t random_next(uint64_t *random)
{
    *random = *random * 6364136223846793005ull + 1442695040888963407ull;
    return *random >> 33;
}

/* Whatever comes: an answer, an error text, and a filter that evaluates. */
static void try_text(const char *text)
{
    struct visibility_query query;
    struct visibility_row row = closed_row();
    char error[256] = "";
    enum err err = visibility_parse(&arena, text, true, &query, error);
    if (err) {
        assert_int_equal(err, ERR_INVALID);
        assert_int_equal(strncmp(error, "invalid query: ", 15), 0);
    } else {
        (void)filter_matches(query.filter, &row);
    }
    arena_reset(&arena);
}

static void random_words_never_crash(void **state)
{
    (void)state;
    static const char *const words[] = {"WorkflowId", "RunId", "ExecutionStatus", "StartTime",
        "CloseTime", "ExecutionDuration", "HistoryLength", "TemporalNamespaceDivision", "`RunId`",
        "=", "!=", "<", ">=", "IN", "NOT", "BETWEEN", "STARTS_WITH", "IS", "NULL", "AND", "OR", "(",
        ")", ",", "'a'", "\"b\"", "7", "-7", "'1h'", "'2026-01-02T03:04:05Z'", "'Running'",
        "'" ROW_RUN "'", "GROUP", "BY", "ORDER", "'", "\\", "\xff", ""};
    uint64_t random = 20260102;
    print_message("seed %llu\n", (unsigned long long)random);
    for (int i = 0; i < 30000; i++) {
        char text[512] = "";
        size_t len = 0;
        size_t count = random_next(&random) % 24;
        for (size_t k = 0; k < count; k++) {
            const char *word = words[random_next(&random) % ARRAY_LEN(words)];
            const char *space = random_next(&random) % 8 ? " " : "";
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", word, space);
        }
        try_text(text);
    }
}

static void mutated_queries_never_crash(void **state)
{
    (void)state;
    static const char good[] = "(WorkflowType = 'Order' AND StartTime BETWEEN "
                               "'2026-01-02T03:04:05.5+01:00' AND 7) OR RunId IN ('" ROW_RUN
                               "', \"x\") AND NOT ExecutionDuration >= '1h2.5m' GROUP BY x";
    uint64_t random = 7;
    print_message("seed %llu\n", (unsigned long long)random);
    for (int i = 0; i < 30000; i++) {
        char text[sizeof(good)];
        memcpy(text, good, sizeof(good));
        size_t changes = 1 + random_next(&random) % 4;
        for (size_t k = 0; k < changes; k++)
            text[random_next(&random) % (sizeof(good) - 1)] = (char)random_next(&random);
        try_text(text);
    }
}

static void names_of_statuses(void **state)
{
    (void)state;
    assert_string_equal(visibility_status_name(1), "Running");
    assert_string_equal(visibility_status_name(7), "TimedOut");
    assert_null(visibility_status_name(0));
    assert_null(visibility_status_name(99));
    assert_null(visibility_status_name(-1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(queries_that_match),
        TEST(queries_that_do_not_match),
        TEST(quotes_in_strings),
        TEST(refusals_say_why),
        TEST(grouping),
        TEST(nesting_is_bounded),
        TEST(random_words_never_crash),
        TEST(mutated_queries_never_crash),
        TEST(names_of_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
