/* SPDX-License-Identifier: Apache-2.0
 *
 * Many calls that clients cancel and let expire at random moments, while their holder watches,
 * unwatches and answers them at random moments. Checks that each watch mail comes exactly when
 * unwatch says so.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/thread.h"
#include "cluster/rpc/tests/rpc_fixture.h"

#define HELD_MAX 512
#ifdef HANDOVER_CHECKED
#define ROUNDS 3 /* ThreadSanitizer is slow on a core that it cannot see into */
#else
#define ROUNDS 40
#endif
#define CALLS_PER_ROUND 250

enum stage {
    STAGE_IDLE,     /* no watch set: no mail may come */
    STAGE_WATCHING, /* a mail may come */
    STAGE_AWAITING, /* unwatch said false: the mail must come */
    STAGE_NOTIFIED, /* it came */
};

struct held {
    struct mail arrival;
    struct mail watch;
    struct call *call;
    enum stage stage;
};

struct holder {
    struct mailbox *mailbox;
    struct waker *waker;
    struct held *held[HELD_MAX];
    int count;
    uint64_t random;
    long ended;
    long mails;
    long silenced;
    long lost_races;
    atomic_bool stopping;
};

static void on_watch(struct mail *mail, void *owner)
{
    struct holder *holder = owner;
    struct held *held = CONTAINER_OF(mail, struct held, watch);
    CHECK(held->stage == STAGE_WATCHING || held->stage == STAGE_AWAITING);
    CHECK(call_is_cancelled(held->call));
    held->stage = STAGE_NOTIFIED;
    holder->mails++;
}

static void end_call(struct holder *holder, int slot)
{
    struct held *held = holder->held[slot];
    if (test_random(&holder->random) % 2)
        call_reply(held->call, held->call->request);
    else
        call_fail(held->call, GRPC_ABORTED, "aborted", "test.v1.Aborted", held->call->request);
    mem_free(held);
    holder->held[slot] = holder->held[--holder->count];
    holder->ended++;
}

static void touch(struct holder *holder, int slot)
{
    struct held *held = holder->held[slot];
    uint64_t dice = test_random(&holder->random) % 8;
    if (held->stage == STAGE_IDLE && dice < 5) {
        held->stage = STAGE_WATCHING;
        call_watch(held->call, holder->mailbox, &held->watch);
    } else if (held->stage == STAGE_WATCHING && dice < 4) {
        bool silent = call_unwatch(held->call);
        held->stage = silent ? STAGE_IDLE : STAGE_AWAITING;
        holder->silenced += silent;
        holder->lost_races += !silent;
    } else if (held->stage == STAGE_NOTIFIED || (held->stage == STAGE_IDLE && dice >= 7)) {
        end_call(holder, slot);
    }
}

static void on_arrival(struct mail *mail, void *owner)
{
    struct holder *holder = owner;
    CHECK(holder->count < HELD_MAX);
    holder->held[holder->count++] = CONTAINER_OF(mail, struct held, arrival);
}

static void holder_run(void *arg)
{
    struct holder *holder = arg;
    while (!atomic_load(&holder->stopping) || holder->count > 0) {
        mailbox_step(holder->mailbox, 64);
        for (int i = 0; i < 32 && holder->count > 0; i++)
            touch(holder, (int)(test_random(&holder->random) % (unsigned)holder->count));
        waker_wait(holder->waker, holder->count > 0 ? 0 : NS_PER_MS);
    }
}

static void hand_over(void *ctx, struct call *call)
{
    struct holder *holder = ctx;
    struct held *held = mem_new(struct held);
    held->arrival.deliver = on_arrival;
    held->watch.deliver = on_watch;
    held->call = call;
    mailbox_complete(holder->mailbox, &held->arrival);
}

static void run_round(struct raw_channel *channel, uint64_t *random)
{
    static struct raw *raws[CALLS_PER_ROUND];
    for (int i = 0; i < CALLS_PER_ROUND; i++) {
        int64_t timeout_ns = (int64_t)(test_random(random) % 12 + 1) * NS_PER_MS;
        if (test_random(random) % 2)
            timeout_ns = INT64_MAX;
        raws[i] = raw_start(channel, "/stress.Stress/Call", bytes_of("body"), timeout_ns, NULL);
        if (test_random(random) % 3 == 0)
            raw_cancel(raws[test_random(random) % (unsigned)(i + 1)]);
    }
    raw_wait(channel, CALLS_PER_ROUND);
    for (int i = 0; i < CALLS_PER_ROUND; i++)
        raw_free(raws[i]);
}

static void mails_come_exactly_when_they_should(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    struct holder holder = {.random = random + 1};
    holder.waker = waker_open();
    holder.mailbox = mailbox_open(&holder, holder.waker, 16);
    struct rpc_server_options options = {
        .listen = "127.0.0.1:0", .threads = 2, .handle = hand_over, .ctx = &holder};
    struct rpc_server *server = NULL;
    char reason[256];
    assert_int_equal(rpc_server_open(&options, &server, reason), OK);
    char address[64];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%d", rpc_server_port(server));
    struct raw_channel *channels[2] = {raw_channel_open(address, 0), raw_channel_open(address, 1)};
    struct thread *thread = thread_start("holder", holder_run, &holder);

    for (int round = 0; round < ROUNDS; round++)
        run_round(channels[round % 2], &random);

    rpc_server_drain(server, NS_PER_S);
    atomic_store(&holder.stopping, true);
    thread_join(thread);
    while (!mailbox_empty(holder.mailbox) || holder.count > 0) { /* what came in between */
        mailbox_step(holder.mailbox, 64);
        if (holder.count > 0)
            touch(&holder, 0);
    }
    rpc_server_close(server);
    assert_true(mailbox_empty(holder.mailbox));
    printf("ended %ld, mails %ld, silenced %ld, races lost by unwatch %ld\n", holder.ended,
        holder.mails, holder.silenced, holder.lost_races);
    assert_true(holder.mails > 0 || ROUNDS < 40);
    assert_true(holder.silenced > 0);
    raw_channel_close(channels[0]);
    raw_channel_close(channels[1]);
    mailbox_close(holder.mailbox, NULL);
    waker_close(holder.waker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mails_come_exactly_when_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
