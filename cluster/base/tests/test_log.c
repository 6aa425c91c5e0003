/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/thread.h"

static char captured[64 * 1024];
static int saved_stderr;
static FILE *file;

static void capture_start(void)
{
    file = tmpfile();
    assert_non_null(file);
    saved_stderr = dup(STDERR_FILENO);
    (void)dup2(fileno(file), STDERR_FILENO);
}

static const char *capture_end(void)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    rewind(file);
    size_t len = fread(captured, 1, sizeof(captured) - 1, file);
    captured[len] = '\0';
    (void)fclose(file);
    return captured;
}

static void a_line_has_time_level_event_fields(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    capture_start();
    log_info("shard.taken", "cluster=%s shard=%d", "us", 3);
    const char *line = capture_end();
    /* 2026-01-02T03:04:05.678Z info … */
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ info ";
    for (size_t i = 0; i < strlen(shape); i++) {
        if (i < 24 && shape[i] == 'd')
            assert_true(line[i] >= '0' && line[i] <= '9');
        else
            assert_int_equal(line[i], shape[i]);
    }
    assert_string_equal(line + strlen(shape), "shard.taken cluster=us shard=3\n");
}

static void the_level_filters(void **state)
{
    (void)state;
    capture_start();
    log_set_level(LOG_WARN);
    log_debug("a", "n=%d", 1);
    log_info("b", "n=%d", 1);
    log_warn("c", "n=%d", 1);
    log_error("d", "n=%d", 1);
    log_set_level(LOG_OFF);
    log_error("e", "n=%d", 1);
    log_write(LOG_OFF, "f", "n=%d", 1);
    log_set_level(LOG_DEBUG);
    log_debug("g", "n=%d", 1);
    log_set_level(LOG_INFO);
    const char *lines = capture_end();
    assert_null(strstr(lines, " a n=1"));
    assert_null(strstr(lines, " b n=1"));
    assert_non_null(strstr(lines, "warn c n=1\n"));
    assert_non_null(strstr(lines, "error d n=1\n"));
    assert_null(strstr(lines, " e n=1"));
    assert_null(strstr(lines, " f n=1"));
    assert_non_null(strstr(lines, "debug g n=1\n"));
}

static void levels_parse(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_true(log_parse_level("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_parse_level("off", &level));
    assert_int_equal(level, LOG_OFF);
    assert_false(log_parse_level("INFO", &level));
    assert_false(log_parse_level("", &level));
    assert_int_equal(level, LOG_OFF);
}

static void one_event_is_one_line(void **state)
{
    (void)state;
    capture_start();
    log_info("event", "value=%s", "a\nforged line\r\t\x1b[31m\x7f");
    const char *line = capture_end();
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_null(strpbrk(line, "\r\t\x1b\x7f"));
    assert_non_null(strstr(line, "value=a forged line   [31m\n"));
}

static void long_lines_are_cut(void **state)
{
    (void)state;
    static char text[10000];
    memset(text, 'x', sizeof(text) - 1);
    capture_start();
    log_info("event", "value=%s", text);
    log_info(text, "value=%d", 1);
    log_info("empty", "%s", "");
    const char *lines = capture_end();
    const char *end = strchr(lines, '\n');
    assert_non_null(end);
    assert_int_equal(end - lines, 4095);
    assert_non_null(strstr(end, " value=1\n"));
    assert_non_null(strstr(end, " info empty\n"));
}

static void quoting(void **state)
{
    (void)state;
    assert_string_equal(log_quote(""), "\"\"");
    assert_string_equal(log_quote("a \"b\" \\ c"), "\"a \\\"b\\\" \\\\ c\"");
    assert_string_equal(log_quote("a\nb\tc"), "\"a\\nb c\"");
    assert_string_equal(log_quote("\xc3\xa9"), "\"\xc3\xa9\"");
    const char *four[4];
    for (size_t i = 0; i < 4; i++) {
        char text[] = {(char)('a' + i), '\0'};
        four[i] = log_quote(text);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(four[i][1], 'a' + i);
    char text[2000];
    memset(text, '"', sizeof(text));
    text[500] = '\0';
    assert_int_equal(strlen(log_quote(text)), 2 + 1000);
    text[500] = '"';
    text[1999] = '\0';
    assert_int_equal(strlen(log_quote(text)), 2 + 1000 + 3);
}

static void write_lines(void *arg)
{
    for (int i = 0; i < 100; i++)
        log_info("thread.line", "name=%s number=%d", (const char *)arg, i);
}

static void threads_do_not_mix_lines(void **state)
{
    (void)state;
    capture_start();
    struct thread *one = thread_start("one", write_lines, (char[]){"one"});
    struct thread *two = thread_start("two", write_lines, (char[]){"two"});
    thread_join(one);
    thread_join(two);
    const char *line = capture_end();
    int lines = 0;
    for (; *line; lines++) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_memory_equal(line + 24, " info thread.line name=", 23);
        line = end + 1;
    }
    assert_int_equal(lines, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_fields),
        cmocka_unit_test(the_level_filters),
        cmocka_unit_test(levels_parse),
        cmocka_unit_test(one_event_is_one_line),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(quoting),
        cmocka_unit_test(threads_do_not_mix_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
