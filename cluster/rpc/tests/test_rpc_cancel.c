/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls whose client goes away while somebody holds them.
 */
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/rpc/tests/rpc_fixture.h"

static struct fixture fixture;
static struct raw_channel *channel;
static struct waker *waker;
static struct mailbox *mailbox;
static atomic_int mails;

static void count_mail(struct mail *mail, void *owner)
{
    (void)mail;
    (void)owner;
    atomic_fetch_add(&mails, 1);
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&fixture, 2, NULL);
    channel = raw_channel_open(fixture.address, 0);
    waker = waker_open();
    mailbox = mailbox_open(NULL, waker, 16);
    atomic_store(&mails, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_release_parked(&fixture); /* of a test that failed */
    raw_channel_close(channel);
    fixture_close(&fixture);
    mailbox_close(mailbox, NULL);
    waker_close(waker);
    return 0;
}

/* Delivers what comes within `ms`. */
static void deliver_for(int ms)
{
    int64_t end_ns = test_now_ns() + ms * NS_PER_MS;
    while (test_now_ns() < end_ns) {
        waker_wait(waker, 5 * NS_PER_MS);
        mailbox_step(mailbox, 100);
    }
}

static void wait_cancelled(struct call *call)
{
    int64_t end_ns = test_now_ns() + 20 * NS_PER_S;
    while (!call_is_cancelled(call) && test_now_ns() < end_ns)
        test_pause_ms(1);
    assert_true(call_is_cancelled(call));
}

static struct raw *start_parked(int64_t timeout_ns)
{
    int before = fixture.parked_count;
    struct raw *raw = raw_start(channel, "/test.Test/Park", bytes_of("x"), timeout_ns, NULL);
    fixture_wait_parked(&fixture, before + 1);
    return raw;
}

static void a_passed_deadline_fires_the_watch(void **state)
{
    (void)state;
    struct raw *raw = start_parked(400 * NS_PER_MS);
    struct call *call = fixture.parked[0];
    int64_t left_ns = call->deadline_mono_ns - test_now_ns();
    assert_true(left_ns > 0 && left_ns <= 400 * NS_PER_MS);
    struct mail watch = {.deliver = count_mail};
    call_watch(call, mailbox, &watch);
    assert_false(call_is_cancelled(call));
    raw_wait(channel, 1);
    assert_int_equal(raw_status(raw), GRPC_DEADLINE_EXCEEDED);
    wait_cancelled(call);
    deliver_for(50);
    assert_int_equal(atomic_load(&mails), 1);
    assert_false(call_unwatch(call));
    fixture_release_parked(&fixture);
    raw_free(raw);
}

static void a_cancelling_client_fires_the_watch(void **state)
{
    (void)state;
    struct raw *raw = start_parked(INT64_MAX);
    struct call *call = fixture.parked[0];
    assert_true(call->deadline_mono_ns == INT64_MAX);
    struct mail watch = {.deliver = count_mail};
    call_watch(call, mailbox, &watch);
    raw_cancel(raw);
    raw_wait(channel, 1);
    wait_cancelled(call);
    deliver_for(50);
    assert_int_equal(atomic_load(&mails), 1);
    call_fail(call, GRPC_CANCELLED, "harmless", "test.v1.Late", bytes_of("x"));
    fixture.parked_count = 0;
    raw_free(raw);
}

static void a_lost_connection_fires_the_watch(void **state)
{
    (void)state;
    struct raw_channel *other = raw_channel_open(fixture.address, 0);
    struct raw *raw = raw_start(other, "/test.Test/Park", bytes_of("x"), INT64_MAX, NULL);
    fixture_wait_parked(&fixture, 1);
    struct call *call = fixture.parked[0];
    struct mail watch = {.deliver = count_mail};
    call_watch(call, mailbox, &watch);
    raw_cancel(raw);
    raw_wait(other, 1);
    raw_free(raw);
    raw_channel_close(other);
    wait_cancelled(call);
    deliver_for(50);
    assert_int_equal(atomic_load(&mails), 1);
    fixture_release_parked(&fixture);
}

static void watching_a_cancelled_call_fires_at_once(void **state)
{
    (void)state;
    struct raw *raw = start_parked(INT64_MAX);
    struct call *call = fixture.parked[0];
    raw_cancel(raw);
    raw_wait(channel, 1);
    wait_cancelled(call);
    struct mail watch = {.deliver = count_mail};
    call_watch(call, mailbox, &watch);
    assert_false(call_unwatch(call));
    deliver_for(20);
    assert_int_equal(atomic_load(&mails), 1);
    fixture_release_parked(&fixture);
    raw_free(raw);
}

static void a_watch_taken_back_stays_silent(void **state)
{
    (void)state;
    struct raw *raw = start_parked(INT64_MAX);
    struct call *call = fixture.parked[0];
    struct mail watch = {.deliver = count_mail};
    assert_true(call_unwatch(call)); /* there is none */
    call_watch(call, mailbox, &watch);
    assert_true(call_unwatch(call));
    call_watch(call, mailbox, &watch);
    assert_true(call_unwatch(call));
    raw_cancel(raw);
    raw_wait(channel, 1);
    wait_cancelled(call);
    deliver_for(50);
    assert_int_equal(atomic_load(&mails), 0);
    fixture_release_parked(&fixture);
    raw_free(raw);
}

static void answering_silences_the_watch(void **state)
{
    (void)state;
    struct raw *raw = start_parked(INT64_MAX);
    struct mail watch = {.deliver = count_mail};
    call_watch(fixture.parked[0], mailbox, &watch);
    fixture_release_parked(&fixture);
    raw_wait(channel, 1);
    assert_int_equal(raw_status(raw), GRPC_OK);
    deliver_for(50);
    assert_int_equal(atomic_load(&mails), 0);
    raw_free(raw);
}

static int count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void five_thousand_parked_calls_need_no_threads(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static struct raw *raws[COUNT];
    raws[0] = start_parked(INT64_MAX);
    int threads = count_threads();
    for (int i = 1; i < COUNT; i++)
        raws[i] = raw_start(channel, "/test.Test/Park", bytes_of("x"), 120 * NS_PER_S, NULL);
    fixture_wait_parked(&fixture, COUNT);
    int more = count_threads() - threads; /* the core may add a few helpers */
    int64_t start_ns = cpu_ns();
    test_pause_ms(1000);
    int64_t spent_ns = cpu_ns() - start_ns;
    fixture_release_parked(&fixture);
    raw_wait(channel, COUNT);
    printf("5000 parked calls: %d more threads, %.2f ms of CPU in one second\n", more,
        (double)spent_ns / 1e6);
    assert_true(more < 16);
    assert_true(spent_ns < 100 * NS_PER_MS);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(raw_status(raws[i]), GRPC_OK);
        raw_free(raws[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_passed_deadline_fires_the_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelling_client_fires_the_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_fires_the_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(watching_a_cancelled_call_fires_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watch_taken_back_stays_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(answering_silences_the_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(
            five_thousand_parked_calls_need_no_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
