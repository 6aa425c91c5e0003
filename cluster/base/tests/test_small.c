/* SPDX-License-Identifier: Apache-2.0
 *
 * The modules that are too small for a file of their own: check, mem, err, hash, list, thread.
 */
#include <stdatomic.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/base/env.h"
#include "cluster/base/err.h"
#include "cluster/base/hash.h"
#include "cluster/base/limits.h"
#include "cluster/base/list.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"
#include "cluster/base/thread.h"

static void fail_a_check(void *arg)
{
    CHECK(arg != NULL);
}

static void a_failed_check_says_where_and_what(void **state)
{
    (void)state;
    int any = 0;
    CHECK(any == 0);
    assert_true(dies(fail_a_check, NULL, "tests/test_small.c:"));
    assert_true(dies(fail_a_check, NULL, ": check failed: arg != NULL\n"));
    assert_false(dies(fail_a_check, &any, ""));
}

static void overflow_mem(void *arg)
{
    (void)arg;
    mem_free(mem_zalloc(SIZE_MAX / 2, 3));
}

static void memory(void **state)
{
    (void)state;
    int *zeroed = mem_zalloc(100, sizeof(int));
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(zeroed[i], 0);
    zeroed = mem_realloc(zeroed, 1000 * sizeof(int));
    zeroed[999] = 1;
    mem_free(zeroed);
    char *copy = mem_strdup("text");
    assert_string_equal(copy, "text");
    mem_free(copy);
    assert_null(mem_strdup(NULL));
    mem_free(NULL);
    mem_free(mem_alloc(0));
    mem_free(mem_realloc(NULL, 0));
}

static void memory_overflow_aborts(void **state)
{
    (void)state;
    assert_true(dies(overflow_mem, NULL, "count <= "));
}

static void every_error_has_its_row(void **state)
{
    (void)state;
    assert_int_equal(OK, 0);
    assert_string_equal(err_name(OK), "OK");
    assert_int_equal(err_class(OK), ERR_CLASS_OK);
    assert_int_equal(err_grpc(OK), GRPC_OK);
    for (enum err err = ERR_BUSY; err < ERR_COUNT; err++) {
        assert_memory_equal(err_name(err), "ERR_", 4);
        assert_true(strlen(err_text(err)) > 3);
        assert_int_not_equal(err_text(err)[strlen(err_text(err)) - 1], '.');
        assert_int_not_equal(err_class(err), ERR_CLASS_OK);
        assert_int_not_equal(err_grpc(err), GRPC_OK);
    }
    assert_int_equal(err_grpc(ERR_FENCED), GRPC_UNAVAILABLE);
    assert_int_equal(err_class(ERR_CONFIG), ERR_CLASS_FATAL);
}

static void name_no_error(void *arg)
{
    (void)arg;
    (void)err_name(ERR_COUNT);
}

static void an_unknown_error_is_a_bug(void **state)
{
    (void)state;
    assert_true(dies(name_no_error, NULL, "ERR_COUNT"));
}

/** The values are on disks and wires: a library that computes others must not pass. */
static void hashes_are_stable(void **state)
{
    (void)state;
    assert_int_equal(hash64(bytes_of(""), 0), 0x2d06800538d394c2);
    assert_int_equal(hash64(bytes_of("strait"), 0), 0xe89af6ff20e56d3e);
    assert_int_equal(hash64(bytes_of("strait"), 1), 0x1ff61774e42046c5);
    char text[1000];
    memset(text, 'x', sizeof(text));
    assert_int_equal(hash64(bytes_make(text, sizeof(text)), 0), 0xc0a4877b962cba82);
}

static void lists(void **state)
{
    (void)state;
    struct list head;
    struct list a = {0};
    struct list b = {0};
    struct list c = {0};
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    list_remove(&a);
    list_push_back(&head, &b);
    list_push_front(&head, &a);
    list_push_back(&head, &c);
    assert_true(list_linked(&a));
    assert_false(list_empty(&head));
    list_remove(&b);
    list_remove(&b);
    assert_false(list_linked(&b));
    assert_ptr_equal(list_pop_front(&head), &a);
    assert_ptr_equal(list_pop_front(&head), &c);
    assert_true(list_empty(&head));
}

struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int turns;
    char name[16];
};

static void take_turns(void *arg)
{
    struct shared *shared = arg;
    pthread_mutex_lock(&shared->mutex);
    (void)pthread_getname_np(pthread_self(), shared->name, sizeof(shared->name));
    while (shared->turns < 100) {
        shared->turns++;
        pthread_cond_signal(&shared->cond);
        int seen = shared->turns;
        while (shared->turns == seen && seen < 100)
            cond_wait_for(&shared->cond, &shared->mutex, INT64_MAX);
    }
    pthread_mutex_unlock(&shared->mutex);
}

static void threads_start_wait_and_end(void **state)
{
    (void)state;
    struct shared shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    cond_init(&shared.cond);
    struct thread *thread = thread_start("a-name-that-is-too-long", take_turns, &shared);
    take_turns(&shared);
    thread_join(thread);
    assert_true(shared.turns >= 100);
    pthread_cond_destroy(&shared.cond);
}

static void take_a_name(void *arg)
{
    struct shared *shared = arg;
    (void)pthread_getname_np(pthread_self(), shared->name, sizeof(shared->name));
}

static void threads_have_names(void **state)
{
    (void)state;
    struct shared shared = {.turns = 0};
    thread_join(thread_start("a-name-that-is-too-long", take_a_name, &shared));
    assert_string_equal(shared.name, "a-name-that-is-");
}

static void waiting_ends_by_itself(void **state)
{
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    cond_init(&cond);
    pthread_mutex_lock(&mutex);
    int64_t started = env_monotonic_ns(env_system());
    cond_wait_for(&cond, &mutex, 0);
    cond_wait_for(&cond, &mutex, -5);
    /* Spurious wake-ups are allowed, so wait until the time is over. */
    while (env_monotonic_ns(env_system()) - started < 20 * NS_PER_MS)
        cond_wait_for(&cond, &mutex, 20 * NS_PER_MS);
    assert_true(env_monotonic_ns(env_system()) - started < 20 * NS_PER_S);
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_check_says_where_and_what),
        cmocka_unit_test(memory),
        cmocka_unit_test(memory_overflow_aborts),
        cmocka_unit_test(every_error_has_its_row),
        cmocka_unit_test(an_unknown_error_is_a_bug),
        cmocka_unit_test(hashes_are_stable),
        cmocka_unit_test(lists),
        cmocka_unit_test(threads_start_wait_and_end),
        cmocka_unit_test(threads_have_names),
        cmocka_unit_test(waiting_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
