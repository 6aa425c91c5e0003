/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/rpc/tests/rpc_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/thread.h"

int64_t test_now_ns(void)
{
    return env_monotonic_ns(env_system());
}

void test_pause_ms(int ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&span, NULL);
}

uint64_t test_seed(void)
{
    const char *text = getenv("TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)test_now_ns() % 1000000;
    printf("seed %llu (replay with TEST_SEED=%llu)\n", (unsigned long long)seed,
        (unsigned long long)seed);
    return seed;
}

uint64_t test_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15ull;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void park(struct fixture *fixture, struct call *call)
{
    pthread_mutex_lock(&fixture->mutex);
    CHECK(fixture->parked_count < PARKED_MAX);
    fixture->parked[fixture->parked_count++] = call;
    pthread_cond_broadcast(&fixture->cond);
    pthread_mutex_unlock(&fixture->mutex);
}

static void fail_with_details(struct call *call)
{
    char *message = arena_printf(
        &call->arena, "gone: %.*s", (int)call->request.len, (const char *)call->request.data);
    call_fail(call, GRPC_NOT_FOUND, message, "test.v1.GoneFailure", call->request);
}

void fixture_handle(void *ctx, struct call *call)
{
    const char *slash = strrchr(call->method, '/');
    const char *name = slash && strncmp(call->method, "/test.Test/", 11) == 0 ? slash + 1 : "";
    CHECK(call->received_mono_ns <= test_now_ns());
    if (strcmp(name, "Echo") == 0) {
        call_reply(call, call->request);
    } else if (strcmp(name, "Method") == 0) {
        call_reply(call, bytes_of(call->method));
    } else if (strcmp(name, "Flags") == 0) {
        char text[3] = {call->forwarded ? '1' : '0', call->no_forward ? '1' : '0', 0};
        call_reply(call, bytes_of(text));
    } else if (strcmp(name, "Deadline") == 0) {
        long long left_ms = (call->deadline_mono_ns - test_now_ns()) / NS_PER_MS;
        bool none = call->deadline_mono_ns == INT64_MAX;
        call_reply(call, bytes_of(none ? "none" : arena_printf(&call->arena, "%lld", left_ms)));
    } else if (strcmp(name, "Fail") == 0) {
        fail_with_details(call);
    } else if (strcmp(name, "Plain") == 0) {
        call_fail(call, GRPC_ABORTED, "plain", NULL, bytes_make(NULL, 0));
    } else if (strcmp(name, "Park") == 0) {
        park(ctx, call);
    } else {
        call_fail(call, GRPC_UNIMPLEMENTED, arena_printf(&call->arena, "unknown: %s", call->method),
            NULL, bytes_make(NULL, 0));
    }
}

void fixture_open(struct fixture *fixture, int threads, const struct rpc_server_options *tls)
{
    memset(fixture, 0, sizeof(*fixture));
    pthread_mutex_init(&fixture->mutex, NULL);
    cond_init(&fixture->cond);
    fixture->metrics = metrics_open();
    struct rpc_server_options options = {0};
    if (tls)
        options = *tls;
    options.listen = "127.0.0.1:0";
    options.threads = threads;
    options.metrics = fixture->metrics;
    options.handle = fixture_handle;
    options.ctx = fixture;
    char reason[256] = "";
    enum err err = rpc_server_open(&options, &fixture->server, reason);
    if (err)
        printf("%s\n", reason);
    assert_int_equal(err, OK);
    (void)snprintf(fixture->address, sizeof(fixture->address), "127.0.0.1:%d",
        rpc_server_port(fixture->server));
    if (tls)
        return;
    struct rpc_client_options client_options = {.address = fixture->address};
    assert_int_equal(rpc_client_open(&client_options, &fixture->client, reason), OK);
}

void fixture_close(struct fixture *fixture)
{
    if (fixture->client)
        rpc_client_close(fixture->client);
    rpc_server_drain(fixture->server, 0);
    rpc_server_close(fixture->server);
    metrics_close(fixture->metrics);
    pthread_cond_destroy(&fixture->cond);
    pthread_mutex_destroy(&fixture->mutex);
}

void fixture_wait_parked(struct fixture *fixture, int count)
{
    int64_t end_ns = test_now_ns() + 30 * NS_PER_S;
    pthread_mutex_lock(&fixture->mutex);
    while (fixture->parked_count < count && test_now_ns() < end_ns)
        cond_wait_for(&fixture->cond, &fixture->mutex, NS_PER_S);
    int parked = fixture->parked_count;
    pthread_mutex_unlock(&fixture->mutex);
    assert_true(parked >= count);
}

void fixture_release_parked(struct fixture *fixture)
{
    pthread_mutex_lock(&fixture->mutex);
    int count = fixture->parked_count;
    fixture->parked_count = 0;
    pthread_mutex_unlock(&fixture->mutex);
    for (int i = 0; i < count; i++)
        call_reply(fixture->parked[i], fixture->parked[i]->request);
}
