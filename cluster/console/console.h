/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP side of a node: /metrics (Prometheus text), /healthz (the process lives), /readyz (it
 * serves). Everything else is 404.
 */
#ifndef CLUSTER_CONSOLE_CONSOLE_H
#define CLUSTER_CONSOLE_CONSOLE_H

#include <stdbool.h>

#include "cluster/base/check.h"
#include "cluster/base/err.h"
#include "cluster/base/metrics.h"

struct console;

struct console_options {
    const char *listen; /* host:port; port 0 = any */
    struct metrics *metrics;
    /* Any thread. Called before metrics are written, to bring gauges up to date; may be NULL. */
    void (*collect)(void *ctx);
    bool (*ready)(void *ctx);
    void *ctx;
};

/** Serves on a thread of the HTTP library until closed. ERR_CONFIG, ERR_IO with a reason. */
NODISCARD enum err console_open(
    const struct console_options *options, struct console **ret_console, char reason[256]);
int console_port(const struct console *console);
/** NULL is ignored. */
void console_close(struct console *console);

#endif
