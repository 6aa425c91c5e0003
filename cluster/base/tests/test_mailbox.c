/* SPDX-License-Identifier: Apache-2.0
 *
 * STRAIT_BENCH=1 makes the stress tests larger and prints messages per second.
 */
#include "cluster/base/mailbox.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"
#include "cluster/base/thread.h"

#define PRODUCERS_MAX 4u

struct letter {
    struct mail mail;
    unsigned producer;
    uint64_t number;
};

struct owner {
    struct mailbox *mailbox;
    uint64_t next[PRODUCERS_MAX]; /* the number expected from each producer */
    uint64_t delivered;
    bool disorder;
    bool repost;
    bool heap_letters;
};

static void deliver(struct mail *mail, void *arg)
{
    struct owner *owner = arg;
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    if (letter->number != owner->next[letter->producer]++)
        owner->disorder = true;
    owner->delivered++;
    if (owner->heap_letters)
        mem_free(letter);
}

static void order_and_capacity(void **state)
{
    (void)state;
    struct owner owner = {0};
    struct mailbox *mailbox = mailbox_open(&owner, NULL, 4);
    struct letter letters[6];
    for (unsigned i = 0; i < 6; i++)
        letters[i] = (struct letter){.mail.deliver = deliver, .number = i};
    assert_true(mailbox_empty(mailbox));
    assert_int_equal(mailbox_step(mailbox, 10), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(mailbox_post(mailbox, &letters[i].mail), OK);
    assert_int_equal(mailbox_post(mailbox, &letters[4].mail), ERR_BUSY);
    assert_int_equal(mailbox_step(mailbox, 1), 1);
    assert_int_equal(mailbox_post(mailbox, &letters[4].mail), OK);
    assert_int_equal(mailbox_post(mailbox, &letters[5].mail), ERR_BUSY);
    mailbox_complete(mailbox, &letters[5].mail);
    assert_false(mailbox_empty(mailbox));
    assert_int_equal(mailbox_step(mailbox, 3), 3);
    assert_false(mailbox_empty(mailbox));
    assert_int_equal(mailbox_step(mailbox, 10), 2);
    assert_true(mailbox_empty(mailbox));
    assert_false(owner.disorder);
    assert_int_equal(owner.delivered, 6);
    mailbox_close(mailbox, NULL);
}

static void deliver_and_repost(struct mail *mail, void *arg)
{
    struct owner *owner = arg;
    owner->delivered++;
    if (owner->repost)
        assert_int_equal(mailbox_post(owner->mailbox, mail), OK);
}

static void a_full_mailbox_takes_back_what_it_delivers(void **state)
{
    (void)state;
    struct owner owner = {.repost = true};
    struct letter letters[3];
    owner.mailbox = mailbox_open(&owner, NULL, ARRAY_LEN(letters));
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        letters[i] = (struct letter){.mail.deliver = deliver_and_repost};
        assert_int_equal(mailbox_post(owner.mailbox, &letters[i].mail), OK);
    }
    /* Bounded although every delivery posts again. */
    assert_int_equal(mailbox_step(owner.mailbox, 100), 100);
    assert_int_equal(owner.delivered, 100);
    owner.repost = false;
    assert_int_equal(mailbox_step(owner.mailbox, 100), 3);
    mailbox_close(owner.mailbox, NULL);
}

static unsigned dropped;

static void drop(struct mail *mail)
{
    assert_null(mail->next);
    dropped++;
}

static void close_drops_what_is_left(void **state)
{
    (void)state;
    struct owner owner = {0};
    struct mailbox *mailbox = mailbox_open(&owner, NULL, 10);
    struct letter letters[5];
    for (unsigned i = 0; i < 5; i++) {
        letters[i] = (struct letter){.mail.deliver = deliver, .number = i};
        assert_int_equal(mailbox_post(mailbox, &letters[i].mail), OK);
        if (i == 2)
            assert_int_equal(mailbox_step(mailbox, 1), 1);
    }
    dropped = 0;
    mailbox_close(mailbox, drop);
    assert_int_equal(dropped, 4);
}

static void a_wake_is_not_lost(void **state)
{
    (void)state;
    struct waker *waker = waker_open();
    const struct env *env = env_system();
    int64_t started = env_monotonic_ns(env);
    waker_wake(waker);
    waker_wake(waker);
    waker_wait(waker, 60 * NS_PER_S);
    assert_true(env_monotonic_ns(env) - started < 30 * NS_PER_S);
    /* Two wakes are one. */
    started = env_monotonic_ns(env);
    waker_wait(waker, 20 * NS_PER_MS);
    assert_true(env_monotonic_ns(env) - started >= 19 * NS_PER_MS);
    waker_wait(waker, 0);
    waker_wait(waker, -1);
    /* A wait that does not sleep uses the wake up as well. */
    waker_wake(waker);
    waker_wait(waker, 0);
    started = env_monotonic_ns(env);
    waker_wait(waker, 20 * NS_PER_MS);
    assert_true(env_monotonic_ns(env) - started >= 19 * NS_PER_MS);
    waker_close(waker);
}

static void mail_left_over_keeps_the_loop_awake(void **state)
{
    (void)state;
    struct owner owner = {0};
    struct waker *waker = waker_open();
    struct mailbox *mailbox = mailbox_open(&owner, waker, 10);
    struct letter letters[2];
    for (unsigned i = 0; i < 2; i++) {
        letters[i] = (struct letter){.mail.deliver = deliver, .number = i};
        assert_int_equal(mailbox_post(mailbox, &letters[i].mail), OK);
    }
    waker_wait(waker, 0);
    assert_int_equal(mailbox_step(mailbox, 1), 1);
    int64_t started = env_monotonic_ns(env_system());
    waker_wait(waker, 60 * NS_PER_S);
    assert_true(env_monotonic_ns(env_system()) - started < 30 * NS_PER_S);
    assert_int_equal(mailbox_step(mailbox, 1), 1);
    mailbox_close(mailbox, NULL);
    waker_close(waker);
}

static void post_nothing(void *arg)
{
    struct letter letter = {0};
    (void)!mailbox_post(arg, &letter.mail);
}

static void mail_without_deliver_is_refused(void **state)
{
    (void)state;
    struct mailbox *mailbox = mailbox_open(NULL, NULL, 1);
    assert_true(dies(post_nothing, mailbox, "deliver"));
    mailbox_close(mailbox, NULL);
}

struct producer {
    struct mailbox *mailbox;
    unsigned number;
    uint64_t letters;
    uint64_t busy;
    bool complete; /* every seventh letter goes in as a completion */
    bool dawdle;   /* lets the consumer fall asleep now and then */
};

static void produce(void *arg)
{
    struct producer *self = arg;
    for (uint64_t i = 0; i < self->letters; i++) {
        struct letter *letter = mem_new(struct letter);
        letter->mail.deliver = deliver;
        letter->producer = self->number;
        letter->number = i;
        if (self->dawdle && i % 64 == 0)
            sched_yield();
        if (self->complete && i % 7 == 0) {
            mailbox_complete(self->mailbox, &letter->mail);
            continue;
        }
        while (mailbox_post(self->mailbox, &letter->mail) == ERR_BUSY) {
            self->busy++;
            sched_yield();
        }
    }
}

static void stress(unsigned producers, size_t capacity, uint64_t letters, bool dawdle)
{
    struct owner owner = {.heap_letters = true};
    struct waker *waker = waker_open();
    struct mailbox *mailbox = mailbox_open(&owner, waker, capacity);
    struct producer states[PRODUCERS_MAX];
    struct thread *threads[PRODUCERS_MAX];
    int64_t started = env_monotonic_ns(env_system());
    for (unsigned i = 0; i < producers; i++) {
        states[i] = (struct producer){.mailbox = mailbox,
            .number = i,
            .letters = letters,
            .complete = i % 2 == 1,
            .dawdle = dawdle};
        threads[i] = thread_start("producer", produce, &states[i]);
    }
    uint64_t sleeps = 0;
    while (owner.delivered < letters * producers) {
        if (mailbox_step(mailbox, 1000) > 0)
            continue;
        int64_t asleep = env_monotonic_ns(env_system());
        waker_wait(waker, 20 * NS_PER_S);
        /* A lost wake would show as the whole timeout. */
        assert_true(env_monotonic_ns(env_system()) - asleep < 15 * NS_PER_S);
        sleeps++;
    }
    double seconds = (double)(env_monotonic_ns(env_system()) - started) / 1e9;
    uint64_t busy = 0;
    for (unsigned i = 0; i < producers; i++) {
        thread_join(threads[i]);
        busy += states[i].busy;
    }
    assert_false(owner.disorder);
    assert_true(mailbox_empty(mailbox));
    if (getenv("STRAIT_BENCH"))
        printf("%u producers, capacity %zu: %.2f million/s, %llu waits, %llu times busy\n",
            producers, capacity, (double)owner.delivered / seconds / 1e6,
            (unsigned long long)sleeps, (unsigned long long)busy);
    mailbox_close(mailbox, NULL);
    waker_close(waker);
}

static void many_producers(void **state)
{
    (void)state;
    uint64_t letters = getenv("STRAIT_BENCH") ? 2000000 : 50000;
    for (unsigned producers = 1; producers <= PRODUCERS_MAX; producers++)
        stress(producers, MAILBOX_DEFAULT, letters, false);
}

static void a_tiny_mailbox(void **state)
{
    (void)state;
    stress(PRODUCERS_MAX, 2, 5000, true);
    stress(1, 1, 5000, false);
}

static void a_sleepy_consumer(void **state)
{
    (void)state;
    stress(2, 64, 20000, true);
}

struct pingpong {
    struct waker *waker;
    struct mailbox *mailbox;
    struct pingpong *peer;
    struct letter *ball;
    uint64_t rounds;
    uint64_t left;
};

static void return_ball(struct mail *mail, void *arg)
{
    struct pingpong *self = arg;
    self->left--;
    if (self->left > 0 || self->peer->left > 0)
        mailbox_complete(self->peer->mailbox, mail);
}

static void play(void *arg)
{
    struct pingpong *self = arg;
    while (self->left > 0) {
        if (mailbox_step(self->mailbox, 10) == 0)
            waker_wait(self->waker, 20 * NS_PER_S);
    }
}

/** Two loops that wait for each other all the time: the path through sleep and wake. */
static void two_loops_wake_each_other(void **state)
{
    (void)state;
    uint64_t rounds = getenv("STRAIT_BENCH") ? 200000 : 5000;
    struct pingpong players[2];
    struct letter ball = {.mail.deliver = return_ball};
    for (unsigned i = 0; i < 2; i++) {
        struct waker *waker = waker_open();
        players[i] = (struct pingpong){
            .waker = waker,
            .mailbox = mailbox_open(&players[i], waker, 4),
            .peer = &players[1 - i],
            .left = rounds,
        };
    }
    int64_t started = env_monotonic_ns(env_system());
    struct thread *other = thread_start("pong", play, &players[1]);
    mailbox_complete(players[0].mailbox, &ball.mail);
    play(&players[0]);
    thread_join(other);
    int64_t took = env_monotonic_ns(env_system()) - started;
    assert_true(took < 15 * NS_PER_S);
    if (getenv("STRAIT_BENCH"))
        printf("there and back through two sleeping loops: %.1f microseconds\n",
            (double)took / (double)rounds / 1e3);
    for (unsigned i = 0; i < 2; i++) {
        mailbox_close(players[i].mailbox, NULL);
        waker_close(players[i].waker);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_capacity),
        cmocka_unit_test(a_full_mailbox_takes_back_what_it_delivers),
        cmocka_unit_test(close_drops_what_is_left),
        cmocka_unit_test(a_wake_is_not_lost),
        cmocka_unit_test(mail_left_over_keeps_the_loop_awake),
        cmocka_unit_test(mail_without_deliver_is_refused),
        cmocka_unit_test(many_producers),
        cmocka_unit_test(a_tiny_mailbox),
        cmocka_unit_test(a_sleepy_consumer),
        cmocka_unit_test(two_loops_wake_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
