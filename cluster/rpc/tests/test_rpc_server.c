/* SPDX-License-Identifier: Apache-2.0
 *
 * The server as a whole: ports, garbage from strangers, draining.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/thread.h"
#include "cluster/rpc/tests/rpc_fixture.h"

static const struct bytes nothing = {NULL, 0};

static void a_port_in_use_is_refused_clearly(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, 1, NULL);
    struct rpc_server_options options = {
        .listen = fixture.address, .handle = fixture_handle, .ctx = &fixture};
    struct rpc_server *second = NULL;
    char reason[256] = "";
    assert_int_equal(rpc_server_open(&options, &second, reason), ERR_IO);
    assert_null(second);
    char want[256];
    (void)snprintf(
        want, sizeof(want), "cannot listen on %s: Address already in use", fixture.address);
    assert_string_equal(reason, want);
    fixture_close(&fixture);
    /* The port is free again. */
    assert_int_equal(rpc_server_open(&options, &second, reason), OK);
    rpc_server_drain(second, 0);
    rpc_server_close(second);
}

static void nonsense_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "", "nowhere", "256.1.1.1:7", "127.0.0.1:99999", "203.0.113.1:0"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_server_options options = {.listen = cases[i], .handle = fixture_handle};
        struct rpc_server *server = NULL;
        char reason[256] = "";
        enum err err = rpc_server_open(&options, &server, reason);
        assert_int_equal(err, ERR_IO);
        assert_non_null(strstr(reason, "cannot listen on"));
    }
}

static void health_knows_listed_services(void **state)
{
    (void)state;
    static const char *const services[] = {"a.B", NULL};
    struct fixture fixture;
    struct rpc_server_options options = {.services = services};
    fixture_open(&fixture, 1, &options);
    struct rpc_client_options client_options = {.address = fixture.address};
    char reason[256];
    assert_int_equal(rpc_client_open(&client_options, &fixture.client, reason), OK);
    CLEANUP(arena_release) struct arena arena = {0};
    const char *check = "/grpc.health.v1.Health/Check";
    struct rpc_result result =
        rpc_client_call(fixture.client, check, bytes_make("\n\003a.B", 5), 10 * NS_PER_S, &arena);
    assert_int_equal(result.code, GRPC_OK);
    result =
        rpc_client_call(fixture.client, check, bytes_make("\n\003a.C", 5), 10 * NS_PER_S, &arena);
    assert_int_equal(result.code, GRPC_NOT_FOUND);
    fixture_close(&fixture);
}

static int dial(const struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)rpc_server_port(fixture->server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const struct timeval timeout = {.tv_usec = 20000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void assert_alive(struct fixture *fixture)
{
    CLEANUP(arena_release) struct arena arena = {0};
    struct rpc_result result = rpc_client_call(
        fixture->client, "/test.Test/Echo", bytes_of("alive"), 20 * NS_PER_S, &arena);
    assert_int_equal(result.code, GRPC_OK);
}

static void garbage_does_no_harm(void **state)
{
    (void)state;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    uint64_t random = test_seed();
    struct fixture fixture;
    fixture_open(&fixture, 1, NULL);
    for (int i = 0; i < 300; i++) {
        int fd = dial(&fixture);
        if (i % 3) /* beyond the preface the frame parser gets it */
            (void)!send(fd, preface, sizeof(preface) - 1, MSG_NOSIGNAL);
        uint8_t noise[700];
        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (uint8_t)test_random(&random);
        if (i % 3 == 2) { /* a well-formed frame head: HEADERS, end of headers, stream 1 */
            const uint8_t head[] = {0, 2, 0, 1, 4, 0, 0, 0, 1};
            memcpy(noise, head, sizeof(head));
        }
        (void)!send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
        char answer[256];
        if (i % 10 == 0)
            (void)!recv(fd, answer, sizeof(answer), 0);
        close(fd);
        if (i % 50 == 0)
            assert_alive(&fixture);
    }
    assert_alive(&fixture);
    fixture_close(&fixture);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct fixture fixture;
    struct rpc_server_options options = {.memory_bytes_max = 32u << 20};
    fixture_open(&fixture, 1, &options);
    struct rpc_client_options client_options = {.address = fixture.address};
    char reason[256];
    assert_int_equal(rpc_client_open(&client_options, &fixture.client, reason), OK);
    for (int i = 0; i < 3; i++) {
        CLEANUP(arena_release) struct arena arena = {0};
        size_t size = 128u << 20;
        struct rpc_result result = rpc_client_call(fixture.client, "/test.Test/Echo",
            bytes_make(arena_alloc(&arena, size), size), 60 * NS_PER_S, &arena);
        assert_true(result.code == GRPC_RESOURCE_EXHAUSTED || result.code == GRPC_UNAVAILABLE);
        assert_string_not_equal(result.message, ""); /* not ours: it was never read whole */
        assert_null(strstr(result.message, "larger than max"));
    }
    for (int i = 0; i < 20; i++) { /* the connection may have been dropped */
        CLEANUP(arena_release) struct arena arena = {0};
        struct rpc_result result = rpc_client_call(
            fixture.client, "/test.Test/Echo", bytes_of("x"), 10 * NS_PER_S, &arena);
        if (result.code == GRPC_OK)
            break;
        test_pause_ms(100);
    }
    assert_alive(&fixture);
    fixture_close(&fixture);
}

static void http1_is_turned_away(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, 1, NULL);
    int fd = dial(&fixture);
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    char answer[256];
    for (int i = 0; i < 500; i++)
        if (recv(fd, answer, sizeof(answer), 0) == 0)
            break;
    close(fd);
    assert_alive(&fixture);
    fixture_close(&fixture);
}

struct drainer {
    struct fixture *fixture;
    int64_t grace_ns;
    int64_t took_ns;
};

static void drain_run(void *arg)
{
    struct drainer *drainer = arg;
    int64_t start_ns = test_now_ns();
    rpc_server_drain(drainer->fixture->server, drainer->grace_ns);
    drainer->took_ns = test_now_ns() - start_ns;
}

static void draining_lets_calls_in_flight_finish(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, 2, NULL);
    struct raw_channel *channel = raw_channel_open(fixture.address, 0);
    struct raw *raw = raw_start(channel, "/test.Test/Park", bytes_of("body"), INT64_MAX, NULL);
    fixture_wait_parked(&fixture, 1);
    struct drainer drainer = {.fixture = &fixture, .grace_ns = 20 * NS_PER_S};
    struct thread *thread = thread_start("drainer", drain_run, &drainer);
    test_pause_ms(200);

    /* New connections are refused while the parked call goes on. */
    CLEANUP(arena_release) struct arena arena = {0};
    struct rpc_client_options options = {.address = fixture.address};
    struct rpc_client *late = NULL;
    char reason[256];
    assert_int_equal(rpc_client_open(&options, &late, reason), OK);
    struct rpc_result result =
        rpc_client_call(late, "/test.Test/Echo", nothing, 5 * NS_PER_S, &arena);
    assert_int_equal(result.code, GRPC_UNAVAILABLE);
    rpc_client_close(late);
    assert_false(call_is_cancelled(fixture.parked[0]));

    fixture_release_parked(&fixture);
    raw_wait(channel, 1);
    assert_int_equal(raw_status(raw), GRPC_OK);
    assert_int_equal(raw_response_len(raw), 4);
    raw_free(raw);
    thread_join(thread);
    assert_true(drainer.took_ns < 15 * NS_PER_S);
    raw_channel_close(channel);
    fixture_close(&fixture);
}

static atomic_int mails;

static void count_mail(struct mail *mail, void *owner)
{
    (void)mail;
    (void)owner;
    atomic_fetch_add(&mails, 1);
}

static void draining_cancels_what_outlives_the_grace(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    struct fixture fixture;
    fixture_open(&fixture, 2, NULL);
    struct raw_channel *channel = raw_channel_open(fixture.address, 0);
    static struct raw *raws[COUNT];
    static struct mail watches[COUNT];
    struct waker *waker = waker_open();
    struct mailbox *mailbox = mailbox_open(NULL, waker, COUNT);
    for (int i = 0; i < COUNT; i++)
        raws[i] = raw_start(channel, "/test.Test/Park", bytes_of("body"), INT64_MAX, NULL);
    fixture_wait_parked(&fixture, COUNT);
    atomic_store(&mails, 0);
    for (int i = 0; i < COUNT; i++) {
        watches[i].deliver = count_mail;
        call_watch(fixture.parked[i], mailbox, &watches[i]);
    }
    struct drainer drainer = {.fixture = &fixture, .grace_ns = 200 * NS_PER_MS};
    drain_run(&drainer);
    assert_true(drainer.took_ns >= 200 * NS_PER_MS && drainer.took_ns < 5 * NS_PER_S);
    raw_wait(channel, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_true(
            raw_status(raws[i]) == GRPC_UNAVAILABLE || raw_status(raws[i]) == GRPC_CANCELLED);
        raw_free(raws[i]);
    }
    for (int i = 0; i < 2000 && atomic_load(&mails) < COUNT; i++) {
        mailbox_step(mailbox, COUNT);
        test_pause_ms(2);
    }
    assert_int_equal(atomic_load(&mails), COUNT);
    fixture_release_parked(&fixture); /* the holders end their calls after all */
    raw_channel_close(channel);
    fixture_close(&fixture);
    mailbox_close(mailbox, NULL);
    waker_close(waker);
}

static void close_run(void *arg)
{
    fixture_close(arg);
}

static void closing_waits_for_holders(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, 1, NULL);
    struct raw_channel *channel = raw_channel_open(fixture.address, 0);
    struct raw *raw = raw_start(channel, "/test.Test/Park", bytes_of("body"), INT64_MAX, NULL);
    fixture_wait_parked(&fixture, 1);
    rpc_server_drain(fixture.server, 0);
    rpc_server_drain(fixture.server, 0); /* twice does no harm */
    raw_wait(channel, 1);
    raw_free(raw);
    raw_channel_close(channel);
    struct thread *thread = thread_start("closer", close_run, &fixture);
    test_pause_ms(200);
    struct call *call = fixture.parked[0];
    assert_true(call_is_cancelled(call));
    assert_int_equal(call->request.len, 4); /* still there */
    call_reply(call, call->request);
    thread_join(thread);
}

static void idle_costs_no_cpu(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, 2, NULL);
    assert_alive(&fixture);
    struct timespec before, after;
    test_pause_ms(100);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    test_pause_ms(2000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double spent_ms = (double)(after.tv_sec - before.tv_sec) * 1e3 +
                      (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    printf("idle: %.2f ms of CPU in two seconds\n", spent_ms);
    assert_true(spent_ms < 40);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_in_use_is_refused_clearly),
        cmocka_unit_test(nonsense_addresses_are_refused),
        cmocka_unit_test(health_knows_listed_services),
        cmocka_unit_test(garbage_does_no_harm),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(http1_is_turned_away),
        cmocka_unit_test(draining_lets_calls_in_flight_finish),
        cmocka_unit_test(draining_cancels_what_outlives_the_grace),
        cmocka_unit_test(closing_waits_for_holders),
        cmocka_unit_test(idle_costs_no_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
