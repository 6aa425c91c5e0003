/* SPDX-License-Identifier: Apache-2.0
 *
 * A line is built on the stack and written with one write(2), so lines of several threads never mix
 * and no lock is held around I/O. Control characters become spaces: a value taken from a client
 * cannot forge a second line.
 */
#include "cluster/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cluster/base/limits.h"

#define LINE_SIZE      4096u
#define QUOTE_TEXT_MAX 500u
#define QUOTE_RING     4u
/* Every byte may need an escape, and there are the quotes, an ellipsis and the NUL. */
#define QUOTE_SIZE (QUOTE_TEXT_MAX * 2 + 8)

static _Atomic(int) threshold = LOG_INFO;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
    [LOG_OFF] = "off",
};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

int log_parse_level(const char *text, enum log_level *ret_level)
{
    for (unsigned level = LOG_DEBUG; level <= LOG_OFF; level++) {
        if (strcmp(text, level_names[level]) == 0) {
            *ret_level = (enum log_level)level;
            return 1;
        }
    }
    return 0;
}

/** Writes time, level and event; returns the length, always less than the size. */
static size_t put_head(char line[LINE_SIZE], enum log_level level, const char *event)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    CHECK(failed == 0);
    struct tm utc;
    struct tm *converted = gmtime_r(&now.tv_sec, &utc);
    CHECK(converted != NULL);
    int len = snprintf(line, LINE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %.200s ",
        utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
        (int)(now.tv_nsec / NS_PER_MS), level_names[level], event);
    CHECK(len > 0 && (size_t)len < LINE_SIZE);
    return (size_t)len;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed) || level >= LOG_OFF)
        return;
    char line[LINE_SIZE];
    size_t len = put_head(line, level, event);
    va_list args;
    va_start(args, fmt);
    int fields = vsnprintf(line + len, LINE_SIZE - len, fmt, args);
    va_end(args);
    CHECK(fields >= 0);
    len = (size_t)fields < LINE_SIZE - len ? len + (size_t)fields : LINE_SIZE - 1;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = ' ';
    }
    while (len > 0 && line[len - 1] == ' ')
        len--;
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* there is nowhere left to complain */
}

const char *log_quote(const char *text)
{
    static _Thread_local char ring[QUOTE_RING][QUOTE_SIZE];
    static _Thread_local unsigned turn;
    char *quoted = ring[turn++ % QUOTE_RING];
    size_t len = 0;
    size_t at = 0;
    quoted[len++] = '"';
    for (; at < QUOTE_TEXT_MAX && text[at]; at++) {
        char c = text[at];
        if (c == '"' || c == '\\') {
            quoted[len++] = '\\';
        } else if (c == '\n') {
            quoted[len++] = '\\';
            c = 'n';
        } else if ((unsigned char)c < ' ') {
            c = ' ';
        }
        quoted[len++] = c;
    }
    if (text[at]) {
        memcpy(quoted + len, "...", 3);
        len += 3;
    }
    quoted[len++] = '"';
    quoted[len] = '\0';
    return quoted;
}
