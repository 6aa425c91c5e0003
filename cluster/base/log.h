/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured log: a stable event name, then key=value fields, one line, to stderr.
 *
 *   log_info("shard.taken", "cluster=%s shard=%d range=%lld", ...)
 *   → 2026-01-02T03:04:05.678Z info shard.taken cluster=us shard=3 range=7
 *
 * The format string must be `key=%…` pairs; values with spaces are written with log_quote. One line
 * where an error stops propagating; libraries below it return reasons instead of logging.
 */
#ifndef CLUSTER_BASE_LOG_H
#define CLUSTER_BASE_LOG_H

#include "cluster/base/arena.h"
#include "cluster/base/check.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/** Process-wide threshold; default LOG_INFO. Any thread. */
void log_set_level(enum log_level level);
/** False when `text` is none of debug, info, warn, error, off. */
int log_parse_level(const char *text, enum log_level *ret_level);
void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);
/** `text` as a quoted value in a static thread-local ring of 4 buffers, cut at 500 bytes. */
const char *log_quote(const char *text);

#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_write(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_write(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)

#endif
