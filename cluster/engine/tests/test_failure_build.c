/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/failure_build.h"

#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/event_build.h"

static struct arena arena;

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void a_timeout_tells_kind_details_and_cause(void **state)
{
    (void)state;
    struct bytes cause = failure_server(&arena, "before", false);
    const Api__Failure *failure = failure_read(
        &arena, failure_timeout(&arena, "too late", API__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT,
                    bytes_of("details"), cause));
    assert_non_null(failure);
    assert_string_equal(failure->source, "Server");
    assert_int_equal(failure->failure_info_case, API__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO);
    assert_int_equal(
        failure->timeout_failure_info->timeout_type, API__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT);
    assert_int_equal(failure->timeout_failure_info->n_last_heartbeat_details, 1);
    assert_int_equal(failure->n_cause, 1);
    assert_true(bytes_equal(bytes_make(failure->cause[0].data, failure->cause[0].len), cause));
}

static void absent_parts_stay_absent(void **state)
{
    (void)state;
    struct bytes none = bytes_make(NULL, 0);
    const Api__Failure *failure =
        failure_read(&arena, failure_timeout(&arena, "too late",
                                 API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE, none, none));
    assert_int_equal(failure->timeout_failure_info->n_last_heartbeat_details, 0);
    assert_int_equal(failure->n_cause, 0);
}

static char *long_text(size_t len)
{
    char *text = arena_alloc(&arena, len + 1);
    memset(text, 'x', len);
    text[len] = '\0';
    return text;
}

static void truncation_keeps_what_decides(void **state)
{
    (void)state;
    Api__Failure failure = API__FAILURE__INIT;
    Api__ApplicationFailureInfo info = API__APPLICATION_FAILURE_INFO__INIT;
    info.type = event_text("Broken");
    info.non_retryable = true;
    opaque_set(&arena, &info.n_details, &info.details, bytes_of(long_text(9000)));
    failure.failure_info_case = API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
    failure.application_failure_info = &info;
    failure.message = event_text("message");
    failure.stack_trace = long_text(10000);
    struct bytes cut = failure_truncate(&arena, proto_pack(&arena, &failure.base), 4096);
    assert_in_range(cut.len, 3000, 4096);
    const Api__Failure *read = failure_read(&arena, cut);
    assert_string_equal(read->message, "message");
    assert_string_equal(read->application_failure_info->type, "Broken");
    assert_true(read->application_failure_info->non_retryable);
    assert_int_equal(read->application_failure_info->n_details, 0);
}

static void truncation_of_anything_fits(void **state)
{
    (void)state;
    for (size_t len = 1; len < 20000; len += 777) {
        Api__Failure failure = API__FAILURE__INIT;
        Api__ApplicationFailureInfo info = API__APPLICATION_FAILURE_INFO__INIT;
        info.type = long_text(len % 6000);
        failure.failure_info_case = API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
        failure.application_failure_info = &info;
        failure.message = long_text(len);
        failure.source = long_text(len / 2);
        struct bytes cut = failure_truncate(&arena, proto_pack(&arena, &failure.base), 4096);
        assert_in_range(cut.len, 1, 4096);
        assert_non_null(failure_read(&arena, cut));
    }
    char *garbage = long_text(5000);
    memset(garbage, 0xff, 5000);
    assert_in_range(failure_truncate(&arena, bytes_of(garbage), 4096).len, 1, 4096);
}

static void text_is_not_cut_inside_a_character(void **state)
{
    (void)state;
    Api__Failure failure = API__FAILURE__INIT;
    char *text = arena_zalloc(&arena, 3001, 1);
    for (int i = 0; i < 1500; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 2);
    failure.message = text;
    struct bytes cut = failure_truncate(&arena, proto_pack(&arena, &failure.base), 1002);
    const Api__Failure *read = failure_read(&arena, cut);
    assert_int_equal(strlen(read->message) % 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_timeout_tells_kind_details_and_cause, release),
        cmocka_unit_test_teardown(absent_parts_stay_absent, release),
        cmocka_unit_test_teardown(truncation_keeps_what_decides, release),
        cmocka_unit_test_teardown(truncation_of_anything_fits, release),
        cmocka_unit_test_teardown(text_is_not_cut_inside_a_character, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
