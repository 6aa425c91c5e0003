/* SPDX-License-Identifier: Apache-2.0
 *
 * Throughput of tiny unary calls, server and client in one process on this machine.
 *
 *   bench_rpc [in_flight [connections [server_threads [client_threads [seconds [mode]]]]]]
 *
 * mode: echo = answered on the gRPC thread, hand = answered by another thread. Without arguments a
 * table of usual settings is measured, as ratios to the first line too.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/limits.h"
#include "cluster/base/mailbox.h"
#include "cluster/base/thread.h"
#include "cluster/rpc/rpc_client.h"
#include "cluster/rpc/rpc_server.h"

struct settings {
    int in_flight;
    int connections;
    int server_threads;
    int client_threads;
    double seconds;
    bool by_hand; /* answered by another thread */
};

struct handed {
    struct mail mail;
    struct call *call;
};

static struct mailbox *mailbox;
static struct waker *waker;
static atomic_bool stopping;
static struct rpc_client *client;
static atomic_long answered;
static atomic_int running;

static void answer(struct mail *mail, void *owner)
{
    (void)owner; /* there is none */
    struct call *call = ((struct handed *)(void *)mail)->call;
    call_reply(call, call->request);
}

static void hand_loop(void *arg)
{
    (void)arg; /* everything is global here */
    while (!atomic_load(&stopping))
        if (mailbox_step(mailbox, 1000) == 0)
            waker_wait(waker, NS_PER_S / 10);
}

static void echo(void *ctx, struct call *call)
{
    const struct settings *settings = ctx;
    if (!settings->by_hand) {
        call_reply(call, call->request);
        return;
    }
    struct handed *handed = arena_new(&call->arena, struct handed);
    handed->mail.deliver = answer;
    handed->call = call;
    mailbox_complete(mailbox, &handed->mail);
}

static void next(const struct rpc_result *result, void *ctx)
{
    if (result && result->code != GRPC_OK) {
        printf("failed: %d %s\n", (int)result->code, result->message);
        exit(1);
    }
    if (result)
        atomic_fetch_add_explicit(&answered, 1, memory_order_relaxed);
    if (atomic_load_explicit(&stopping, memory_order_relaxed)) {
        atomic_fetch_sub(&running, 1);
        return;
    }
    static const uint8_t body[32] = {1};
    rpc_client_start(
        client, "/bench.Bench/Echo", bytes_make(body, sizeof(body)), 30 * NS_PER_S, next, ctx);
}

static double clock_s(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_s(double seconds)
{
    struct timespec span = {
        .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
}

static double measure(struct settings *settings, double base)
{
    char reason[256];
    struct rpc_server_options options = {.listen = "127.0.0.1:0",
        .threads = settings->server_threads,
        .handle = echo,
        .ctx = settings};
    struct rpc_server *server = NULL;
    if (rpc_server_open(&options, &server, reason))
        exit(1);
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%d", rpc_server_port(server));
    struct rpc_client_options client_options = {.address = address,
        .connections = settings->connections,
        .threads = settings->client_threads};
    if (rpc_client_open(&client_options, &client, reason))
        exit(1);
    atomic_store(&stopping, false);
    struct thread *hand = NULL;
    if (settings->by_hand) {
        waker = waker_open();
        mailbox = mailbox_open(NULL, waker, 100000);
        hand = thread_start("hand", hand_loop, NULL);
    }
    atomic_store(&running, settings->in_flight);
    for (int i = 0; i < settings->in_flight; i++)
        next(NULL, NULL);
    pause_s(settings->seconds / 4);
    long start = atomic_load(&answered);
    double start_s = clock_s(CLOCK_MONOTONIC);
    double start_cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    pause_s(settings->seconds);
    double count = (double)(atomic_load(&answered) - start);
    double rate = count / (clock_s(CLOCK_MONOTONIC) - start_s);
    double cpu_us = (clock_s(CLOCK_PROCESS_CPUTIME_ID) - start_cpu_s) * 1e6 / count;
    if (!settings->by_hand)
        atomic_store(&stopping, true);
    printf("%-5s in flight %4d  connections %2d  threads %d+%d  %8.0f rpc/s  %5.1f us cpu  x%.2f\n",
        settings->by_hand ? "hand" : "echo", settings->in_flight, settings->connections,
        settings->server_threads, settings->client_threads, rate, cpu_us,
        base > 0 ? rate / base : 1.0);
    fflush(stdout);
    if (settings->by_hand) { /* the hand must go on until the last call is answered */
        atomic_store(&stopping, true);
        thread_join(hand);
        while (atomic_load(&running) > 0) {
            mailbox_step(mailbox, 1000);
            pause_s(0.001);
        }
    }
    rpc_client_close(client);
    rpc_server_drain(server, NS_PER_S);
    rpc_server_close(server);
    if (settings->by_hand) {
        mailbox_close(mailbox, NULL);
        waker_close(waker);
    }
    return rate;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        struct settings one = {
            .in_flight = atoi(argv[1]),
            .connections = argc > 2 ? atoi(argv[2]) : 1,
            .server_threads = argc > 3 ? atoi(argv[3]) : 1,
            .client_threads = argc > 4 ? atoi(argv[4]) : 1,
            .seconds = argc > 5 ? atof(argv[5]) : 2,
            .by_hand = argc > 6 && strcmp(argv[6], "hand") == 0,
        };
        measure(&one, 0);
        return 0;
    }
    struct settings table[] = {
        {1, 1, 1, 1, 1, false},
        {16, 1, 1, 1, 1, false},
        {256, 1, 1, 1, 1, false},
        {256, 4, 1, 1, 1, false},
        {256, 4, 2, 1, 1, false},
        {256, 4, 2, 2, 1, false},
        {256, 4, 1, 1, 1, true},
    };
    double base = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        double rate = measure(&table[i], base);
        if (i == 0)
            base = rate;
    }
    return 0;
}
