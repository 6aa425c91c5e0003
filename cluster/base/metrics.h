/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics registry, written out in Prometheus text format. One registry per node.
 *
 * Names are `strait_…`, units last. Label sets are bounded by the caller. Handles live as long as
 * the registry; updates are lock-free and may come from any thread.
 */
#ifndef CLUSTER_BASE_METRICS_H
#define CLUSTER_BASE_METRICS_H

#include <stdint.h>

#include "cluster/base/bytes.h"

struct metrics;
struct counter;   /* only grows */
struct gauge;     /* goes up and down */
struct histogram; /* fixed exponential buckets */

struct metrics *metrics_open(void);
void metrics_close(struct metrics *metrics);

/** Finds or makes. `labels` is NULL or ready text such as `method="StartWorkflowExecution"`;
 *  `help` is one sentence. */
struct counter *metrics_counter(
    struct metrics *metrics, const char *name, const char *labels, const char *help);
struct gauge *metrics_gauge(
    struct metrics *metrics, const char *name, const char *labels, const char *help);
/** Buckets in seconds from 100 µs to 100 s when `unit_seconds`, else powers of two from 1. */
struct histogram *metrics_histogram(struct metrics *metrics, const char *name, const char *labels,
    const char *help, int unit_seconds);

void counter_add(struct counter *counter, uint64_t n);
uint64_t counter_value(const struct counter *counter);
void gauge_set(struct gauge *gauge, double value);
void gauge_add(struct gauge *gauge, double delta);
double gauge_value(const struct gauge *gauge);
/** `value` in the histogram's unit (seconds or plain). */
void histogram_observe(struct histogram *histogram, double value);

/** Appends the exposition text of all metrics, sorted by name. */
void metrics_write(struct metrics *metrics, struct buffer *ret_text);

#endif
