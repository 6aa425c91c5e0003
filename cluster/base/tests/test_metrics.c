/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/metrics.h"

#include <math.h>
#include <string.h>

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"
#include "cluster/base/thread.h"

static void a_metric_is_made_once(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_open();
    struct counter *counter = metrics_counter(metrics, "strait_a_total", "k=\"v\"", "A.");
    assert_ptr_equal(metrics_counter(metrics, "strait_a_total", "k=\"v\"", "A."), counter);
    assert_ptr_not_equal(metrics_counter(metrics, "strait_a_total", "k=\"w\"", "A."), counter);
    assert_ptr_not_equal(metrics_counter(metrics, "strait_a_total", NULL, "A."), counter);
    counter_add(counter, 2);
    counter_add(counter, 40);
    assert_int_equal(counter_value(counter), 42);
    metrics_close(metrics);
    metrics_close(NULL);
}

static void a_name_has_one_kind(void *arg)
{
    (void)metrics_gauge(arg, "strait_a_total", NULL, "A.");
}

static void another_kind_under_the_same_name_is_a_bug(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_open();
    (void)metrics_counter(metrics, "strait_a_total", NULL, "A.");
    assert_true(dies(a_name_has_one_kind, metrics, "kind"));
    metrics_close(metrics);
}

static void the_text_is_sorted_and_complete(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_open();
    struct gauge *gauge = metrics_gauge(metrics, "strait_lag_seconds", "region=\"eu\"", "Lag.");
    gauge_set(gauge, 0.1);
    gauge_add(gauge, 0.15);
    gauge_set(metrics_gauge(metrics, "strait_lag_seconds", "region=\"ap\"", "Lag."), -3);
    counter_add(
        metrics_counter(metrics, "strait_calls_total", NULL, "Calls."), 18446744073709551615u);
    struct histogram *histogram =
        metrics_histogram(metrics, "strait_batch_rows", NULL, "Rows per commit.", 0);
    histogram_observe(histogram, 1);
    histogram_observe(histogram, 3);
    histogram_observe(histogram, 1e12);
    struct buffer text = {0};
    metrics_write(metrics, &text);
    buffer_append(&text, "", 1);
    const char *got = (const char *)text.data;
    static const char head[] = "# HELP strait_batch_rows Rows per commit.\n"
                               "# TYPE strait_batch_rows histogram\n"
                               "strait_batch_rows_bucket{le=\"1\"} 1\n"
                               "strait_batch_rows_bucket{le=\"2\"} 1\n"
                               "strait_batch_rows_bucket{le=\"4\"} 2\n";
    static const char tail[] = "strait_batch_rows_bucket{le=\"16777216\"} 2\n"
                               "strait_batch_rows_bucket{le=\"+Inf\"} 3\n"
                               "strait_batch_rows_sum 1000000000004\n"
                               "strait_batch_rows_count 3\n"
                               "# HELP strait_calls_total Calls.\n"
                               "# TYPE strait_calls_total counter\n"
                               "strait_calls_total 18446744073709551615\n"
                               "# HELP strait_lag_seconds Lag.\n"
                               "# TYPE strait_lag_seconds gauge\n"
                               "strait_lag_seconds{region=\"ap\"} -3\n"
                               "strait_lag_seconds{region=\"eu\"} 0.25\n";
    assert_memory_equal(got, head, strlen(head));
    assert_string_equal(got + strlen(got) - strlen(tail), tail);
    buffer_release(&text);
    metrics_close(metrics);
}

static void seconds_buckets(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_open();
    struct histogram *histogram =
        metrics_histogram(metrics, "strait_commit_seconds", "driver=\"sqlite\"", "Commit.", 1);
    histogram_observe(histogram, 0);
    histogram_observe(histogram, 0.0001);
    histogram_observe(histogram, 0.00011);
    histogram_observe(histogram, 100);
    struct buffer text = {0};
    metrics_write(metrics, &text);
    buffer_append(&text, "", 1);
    const char *got = (const char *)text.data;
    static const char *const lines[] = {
        "strait_commit_seconds_bucket{driver=\"sqlite\",le=\"0.0001\"} 2\n",
        "strait_commit_seconds_bucket{driver=\"sqlite\",le=\"0.0002\"} 3\n",
        "strait_commit_seconds_bucket{driver=\"sqlite\",le=\"50\"} 3\n",
        "strait_commit_seconds_bucket{driver=\"sqlite\",le=\"100\"} 4\n",
        "strait_commit_seconds_bucket{driver=\"sqlite\",le=\"+Inf\"} 4\n",
        "strait_commit_seconds_sum{driver=\"sqlite\"} 100.00021\n",
        "strait_commit_seconds_count{driver=\"sqlite\"} 4\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_non_null(strstr(got, lines[i]));
    buffer_release(&text);
    metrics_close(metrics);
}

static void odd_numbers_have_their_spelling(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *line;
    } cases[] = {
        {(double)NAN, "strait_g NaN\n"},
        {(double)INFINITY, "strait_g +Inf\n"},
        {-(double)INFINITY, "strait_g -Inf\n"},
        {0.1 + 0.2, "strait_g 0.30000000000000004\n"},
        {1e300, "strait_g 1e+300\n"},
    };
    struct metrics *metrics = metrics_open();
    struct gauge *gauge = metrics_gauge(metrics, "strait_g", NULL, "G.");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buffer text = {0};
        gauge_set(gauge, cases[i].value);
        metrics_write(metrics, &text);
        buffer_append(&text, "", 1);
        assert_non_null(strstr((const char *)text.data, cases[i].line));
        buffer_release(&text);
    }
    metrics_close(metrics);
}

static void update(void *arg)
{
    struct metrics *metrics = arg;
    for (int i = 0; i < 2000; i++) {
        counter_add(metrics_counter(metrics, "strait_c_total", NULL, "C."), 1);
        gauge_add(metrics_gauge(metrics, "strait_g", NULL, "G."), 0.5);
        histogram_observe(metrics_histogram(metrics, "strait_h", NULL, "H.", 1), 0.5);
    }
}

static void threads_update_while_it_is_written(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_open();
    struct thread *threads[3];
    for (size_t i = 0; i < 3; i++)
        threads[i] = thread_start("update", update, metrics);
    struct buffer text = {0};
    for (int i = 0; i < 20; i++) {
        buffer_clear(&text);
        metrics_write(metrics, &text);
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(threads[i]);
    assert_int_equal(counter_value(metrics_counter(metrics, "strait_c_total", NULL, "C.")), 6000);
    assert_true(gauge_value(metrics_gauge(metrics, "strait_g", NULL, "G.")) == 3000);
    buffer_clear(&text);
    metrics_write(metrics, &text);
    buffer_append(&text, "", 1);
    assert_non_null(strstr((const char *)text.data, "strait_h_sum 3000\nstrait_h_count 6000\n"));
    buffer_release(&text);
    metrics_close(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_metric_is_made_once),
        cmocka_unit_test(another_kind_under_the_same_name_is_a_bug),
        cmocka_unit_test(the_text_is_sorted_and_complete),
        cmocka_unit_test(seconds_buckets),
        cmocka_unit_test(odd_numbers_have_their_spelling),
        cmocka_unit_test(threads_update_while_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
