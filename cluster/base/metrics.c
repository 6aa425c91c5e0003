/* SPDX-License-Identifier: Apache-2.0
 *
 * Every metric is one heap object that lives as long as the registry. The mutex guards the list of
 * metrics only; values are atomics, read without a lock, so a scrape shows each value as of some
 * moment during the scrape.
 */
#include "cluster/base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/map.h"
#include "cluster/base/mem.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_HISTOGRAM_SECONDS };

struct counter {
    _Atomic(uint64_t) value;
};

struct gauge {
    _Atomic(double) value;
};

#define BUCKETS_MAX 25

static const double seconds_bounds[] = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
    0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100};

static const double plain_bounds[BUCKETS_MAX] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048,
    4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576, 2097152, 4194304, 8388608,
    16777216};

_Static_assert(ARRAY_LEN(seconds_bounds) <= BUCKETS_MAX, "room for every bucket");

struct histogram {
    const double *bounds; /* upper, inclusive */
    size_t bounds_len;
    _Atomic(uint64_t) buckets[BUCKETS_MAX + 1]; /* the last one is +Inf */
    _Atomic(double) sum;
};

struct metric {
    enum metric_kind kind;
    char *name;
    char *labels; /* "" when none */
    char *help;
    char *key; /* name{labels} */
    union {
        struct counter counter;
        struct gauge gauge;
        struct histogram histogram;
    } as;
};

struct metrics {
    pthread_mutex_t mutex;
    struct map by_key;
};

struct metrics *metrics_open(void)
{
    struct metrics *metrics = mem_new(struct metrics);
    int failed = pthread_mutex_init(&metrics->mutex, NULL);
    CHECK(failed == 0);
    return metrics;
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics)
        return;
    size_t cursor = 0;
    for (struct metric *metric; (metric = map_next(&metrics->by_key, &cursor));) {
        mem_free(metric->name);
        mem_free(metric->labels);
        mem_free(metric->help);
        mem_free(metric->key);
        mem_free(metric);
    }
    map_release(&metrics->by_key);
    (void)pthread_mutex_destroy(&metrics->mutex); /* fails only when locked: then so did we */
    mem_free(metrics);
}

static struct metric *metric_new(
    enum metric_kind kind, const char *name, const char *labels, const char *help, const char *key)
{
    struct metric *metric = mem_new(struct metric);
    metric->kind = kind;
    metric->name = mem_strdup(name);
    metric->labels = mem_strdup(labels);
    metric->help = mem_strdup(help);
    metric->key = mem_strdup(key);
    if (kind == METRIC_HISTOGRAM) {
        metric->as.histogram.bounds = plain_bounds;
        metric->as.histogram.bounds_len = ARRAY_LEN(plain_bounds);
    } else if (kind == METRIC_HISTOGRAM_SECONDS) {
        metric->as.histogram.bounds = seconds_bounds;
        metric->as.histogram.bounds_len = ARRAY_LEN(seconds_bounds);
    }
    return metric;
}

static struct metric *find_or_make(struct metrics *metrics, enum metric_kind kind, const char *name,
    const char *labels, const char *help)
{
    struct buffer key = {0};
    labels = labels ? labels : "";
    buffer_printf(&key, "%s{%s}", name, labels);
    int failed = pthread_mutex_lock(&metrics->mutex);
    CHECK(failed == 0);
    struct metric *metric = map_get(&metrics->by_key, buffer_view(&key));
    if (!metric) {
        metric = metric_new(kind, name, labels, help, (const char *)key.data);
        void *replaced = map_put(&metrics->by_key, bytes_of(metric->key), metric);
        CHECK(replaced == NULL);
    }
    failed = pthread_mutex_unlock(&metrics->mutex);
    CHECK(failed == 0);
    buffer_release(&key);
    CHECK(metric->kind == kind);
    return metric;
}

struct counter *metrics_counter(
    struct metrics *metrics, const char *name, const char *labels, const char *help)
{
    return &find_or_make(metrics, METRIC_COUNTER, name, labels, help)->as.counter;
}

struct gauge *metrics_gauge(
    struct metrics *metrics, const char *name, const char *labels, const char *help)
{
    return &find_or_make(metrics, METRIC_GAUGE, name, labels, help)->as.gauge;
}

struct histogram *metrics_histogram(struct metrics *metrics, const char *name, const char *labels,
    const char *help, int unit_seconds)
{
    enum metric_kind kind = unit_seconds ? METRIC_HISTOGRAM_SECONDS : METRIC_HISTOGRAM;
    return &find_or_make(metrics, kind, name, labels, help)->as.histogram;
}

void counter_add(struct counter *counter, uint64_t n)
{
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

uint64_t counter_value(const struct counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static void add_double(_Atomic(double) *to, double delta)
{
    double old = atomic_load_explicit(to, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        to, &old, old + delta, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void gauge_set(struct gauge *gauge, double value)
{
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void gauge_add(struct gauge *gauge, double delta)
{
    add_double(&gauge->value, delta);
}

double gauge_value(const struct gauge *gauge)
{
    return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

void histogram_observe(struct histogram *histogram, double value)
{
    size_t at = 0;
    while (at < histogram->bounds_len && value > histogram->bounds[at])
        at++;
    atomic_fetch_add_explicit(&histogram->buckets[at], 1, memory_order_relaxed);
    add_double(&histogram->sum, value);
}

static int by_name(const void *a, const void *b)
{
    const struct metric *left = *(const struct metric *const *)a;
    const struct metric *right = *(const struct metric *const *)b;
    int order = strcmp(left->name, right->name);
    return order ? order : strcmp(left->labels, right->labels);
}

/** Appends the shortest text that reads back as `value`. */
static void put_double(struct buffer *text, double value)
{
    if (isnan(value)) {
        buffer_printf(text, "NaN");
        return;
    }
    if (isinf(value)) {
        buffer_printf(text, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    char digits[32];
    (void)snprintf(digits, sizeof(digits), "%.15g", value); /* fits: 15 digits and an exponent */
    bool exact = strtod(digits, NULL) == value;
    buffer_printf(text, "%.*g", exact ? 15 : 17, value);
}

static void put_sample(struct buffer *text, const struct metric *metric, const char *suffix)
{
    buffer_printf(text, "%s%s", metric->name, suffix);
    if (metric->labels[0])
        buffer_printf(text, "{%s}", metric->labels);
    buffer_printf(text, " ");
}

static void put_histogram(struct buffer *text, const struct metric *metric)
{
    const struct histogram *histogram = &metric->as.histogram;
    const char *comma = metric->labels[0] ? "," : "";
    uint64_t total = 0;
    for (size_t at = 0; at <= histogram->bounds_len; at++) {
        total += atomic_load_explicit(&histogram->buckets[at], memory_order_relaxed);
        buffer_printf(text, "%s_bucket{%s%sle=\"", metric->name, metric->labels, comma);
        put_double(text, at < histogram->bounds_len ? histogram->bounds[at] : (double)INFINITY);
        buffer_printf(text, "\"} %llu\n", (unsigned long long)total);
    }
    put_sample(text, metric, "_sum");
    put_double(text, atomic_load_explicit(&histogram->sum, memory_order_relaxed));
    buffer_printf(text, "\n");
    /* The same total as the last bucket, as the format demands, even while others observe. */
    put_sample(text, metric, "_count");
    buffer_printf(text, "%llu\n", (unsigned long long)total);
}

static void put_metric(struct buffer *text, const struct metric *metric)
{
    switch (metric->kind) {
    case METRIC_COUNTER:
        put_sample(text, metric, "");
        buffer_printf(text, "%llu\n", (unsigned long long)counter_value(&metric->as.counter));
        break;
    case METRIC_GAUGE:
        put_sample(text, metric, "");
        put_double(text, gauge_value(&metric->as.gauge));
        buffer_printf(text, "\n");
        break;
    case METRIC_HISTOGRAM:
    case METRIC_HISTOGRAM_SECONDS:
        put_histogram(text, metric);
        break;
    }
}

void metrics_write(struct metrics *metrics, struct buffer *ret_text)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
        [METRIC_HISTOGRAM_SECONDS] = "histogram",
    };
    int failed = pthread_mutex_lock(&metrics->mutex);
    CHECK(failed == 0);
    size_t count = 0;
    struct metric **sorted = mem_zalloc(metrics->by_key.count, sizeof(struct metric *));
    size_t cursor = 0;
    for (struct metric *metric; (metric = map_next(&metrics->by_key, &cursor));)
        sorted[count++] = metric;
    failed = pthread_mutex_unlock(&metrics->mutex);
    CHECK(failed == 0);
    qsort(sorted, count, sizeof(struct metric *), by_name);
    for (size_t i = 0; i < count; i++) {
        const struct metric *metric = sorted[i];
        if (i == 0 || strcmp(metric->name, sorted[i - 1]->name) != 0)
            buffer_printf(ret_text, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                metric->name, kinds[metric->kind]);
        put_metric(ret_text, metric);
    }
    mem_free(sorted);
}
