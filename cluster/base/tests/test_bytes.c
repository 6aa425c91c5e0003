/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/bytes.h"

#include <string.h>

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"
#include "cluster/base/thread.h"

static void views_compare(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_of(NULL), bytes_of("")));
    assert_true(bytes_equal(bytes_of("ab"), bytes_make("abc", 2)));
    assert_false(bytes_equal(bytes_of("ab"), bytes_of("ac")));
    assert_false(bytes_equal(bytes_of("ab"), bytes_of("a")));
    assert_int_equal(bytes_compare(bytes_of(NULL), bytes_of("")), 0);
    assert_true(bytes_compare(bytes_of("a"), bytes_of("ab")) < 0);
    assert_true(bytes_compare(bytes_of("b"), bytes_of("ab")) > 0);
    assert_true(bytes_compare(bytes_of("a"), bytes_of("\xff")) < 0);
    assert_int_equal(bytes_compare(bytes_of("same"), bytes_of("same")), 0);
}

static void copies_live_in_the_arena(void **state)
{
    (void)state;
    struct arena arena = {0};
    char source[] = "a\0b";
    struct bytes copy = bytes_copy(&arena, bytes_make(source, 3));
    char *string = bytes_string(&arena, bytes_make(source, 3));
    source[0] = 'x';
    assert_memory_equal(copy.data, "a\0b", 3);
    assert_memory_equal(string, "a\0b", 4);
    assert_string_equal(bytes_string(&arena, (struct bytes){0}), "");
    arena_release(&arena);
}

static void a_buffer_grows(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    assert_int_equal(buffer_view(&buffer).len, 0);
    for (unsigned i = 0; i < 1000; i++)
        buffer_printf(&buffer, "%u,", i);
    assert_int_equal(buffer.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_memory_equal(buffer.data, "0,1,2,", 6);
    buffer_clear(&buffer);
    buffer_append(&buffer, NULL, 0);
    buffer_append(&buffer, "xyz", 3);
    assert_true(bytes_equal(buffer_view(&buffer), bytes_of("xyz")));
    uint8_t *room = buffer_reserve(&buffer, 100000);
    assert_int_equal(buffer.len, 3);
    memset(room, 1, 100000);
    buffer_release(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
    assert_non_null(buffer_reserve(&buffer, 0));
    buffer_release(&buffer);
}

static void overflow_buffer(void *arg)
{
    (void)buffer_reserve(arg, SIZE_MAX - 2);
}

static void a_buffer_does_not_overflow(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_append(&buffer, "0123456789", 10);
    assert_true(dies(overflow_buffer, &buffer, "check failed"));
    buffer_release(&buffer);
}

static void retain_and_unref(void *arg)
{
    for (int i = 0; i < 10000; i++)
        blob_unref(blob_retain(arg));
    blob_unref(arg);
}

static void blob_references_may_be_dropped_anywhere(void **state)
{
    (void)state;
    struct blob *blob = blob_from(bytes_of("payload"));
    assert_true(bytes_equal(blob_view(blob), bytes_of("payload")));
    struct thread *threads[4];
    for (size_t i = 0; i < 4; i++)
        threads[i] = thread_start("refs", retain_and_unref, blob_retain(blob));
    assert_true(bytes_equal(blob_view(blob), bytes_of("payload")));
    blob_unref(blob);
    for (size_t i = 0; i < 4; i++)
        thread_join(threads[i]);
    blob_unref(NULL);
    blob_unref(blob_from((struct bytes){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare),
        cmocka_unit_test(copies_live_in_the_arena),
        cmocka_unit_test(a_buffer_grows),
        cmocka_unit_test(a_buffer_does_not_overflow),
        cmocka_unit_test(blob_references_may_be_dropped_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
