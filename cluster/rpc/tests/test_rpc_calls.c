/* SPDX-License-Identifier: Apache-2.0
 *
 * What one call sees: bodies, headers, failures, sizes, compression, health.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/rpc/rpc_status.h"
#include "cluster/rpc/tests/rpc_fixture.h"

static struct fixture fixture;

static int setup(void **state)
{
    (void)state;
    fixture_open(&fixture, 2, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static struct rpc_result ask(struct arena *arena, const char *method, struct bytes body)
{
    return rpc_client_call(fixture.client, method, body, 20 * NS_PER_S, arena);
}

static void assert_bytes(struct bytes got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void round_trips_bodies_of_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 22, 23, 24, 1000, 8191, 8192, 65536, 1000000, 4194304};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(arena_release) struct arena arena = {0};
        uint8_t *body = arena_alloc(&arena, sizes[i] + 1);
        for (size_t k = 0; k < sizes[i]; k++)
            body[k] = (uint8_t)(k * 31 + i);
        struct rpc_result result = ask(&arena, "/test.Test/Echo", bytes_make(body, sizes[i]));
        assert_int_equal(result.code, GRPC_OK);
        assert_true(bytes_equal(result.body, bytes_make(body, sizes[i])));
    }
}

static void hands_over_any_method(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    struct rpc_result result = ask(&arena, "/test.Test/Method", bytes_make(NULL, 0));
    assert_bytes(result.body, "/test.Test/Method");
    result = ask(&arena, "/no.Such/Thing", bytes_make(NULL, 0));
    assert_int_equal(result.code, GRPC_UNIMPLEMENTED);
    assert_string_equal(result.message, "unknown: /no.Such/Thing");
}

static void reads_loop_headers(void **state)
{
    (void)state;
    static const struct {
        struct rpc_header header;
        const char *flags;
    } cases[] = {
        {{"strait-forwarded", "us"}, "10"},
        {{"strait-no-forward", "1"}, "01"},
        {{"xdc-redirection", "false"}, "01"},
        {{"xdc-redirection", "true"}, "00"},
        {{"temporal-namespace", "strait-forwarded"}, "00"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_client_options options = {
            .address = fixture.address, .headers = &cases[i].header, .header_count = 1};
        struct rpc_client *client = NULL;
        char reason[256];
        assert_int_equal(rpc_client_open(&options, &client, reason), OK);
        CLEANUP(arena_release) struct arena arena = {0};
        struct rpc_result result =
            rpc_client_call(client, "/test.Test/Flags", bytes_make(NULL, 0), 10 * NS_PER_S, &arena);
        assert_bytes(result.body, cases[i].flags);
        rpc_client_close(client);
    }
}

static void refuses_illegal_client_headers(void **state)
{
    (void)state;
    static const struct rpc_header cases[] = {
        {"Upper", "x"}, {"bad key", "x"}, {"x-bin", "x"}, {"x", "line\nbreak"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_client_options options = {
            .address = fixture.address, .headers = &cases[i], .header_count = 1};
        struct rpc_client *client = NULL;
        char reason[256] = "";
        assert_int_equal(rpc_client_open(&options, &client, reason), ERR_CONFIG);
        assert_null(client);
        assert_true(strlen(reason) > 0);
    }
}

static void passes_failure_details(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    struct rpc_result result = ask(&arena, "/test.Test/Fail", bytes_of("flight 7"));
    assert_int_equal(result.code, GRPC_NOT_FOUND);
    assert_string_equal(result.message, "gone: flight 7");
    const char *type = NULL;
    struct bytes detail = {0};
    assert_true(rpc_status_detail(&arena, result.details, &type, &detail));
    assert_string_equal(type, "test.v1.GoneFailure");
    assert_bytes(detail, "flight 7");

    result = ask(&arena, "/test.Test/Plain", bytes_make(NULL, 0));
    assert_int_equal(result.code, GRPC_ABORTED);
    assert_string_equal(result.message, "plain");
    assert_int_equal(result.details.len, 0);
}

static void cuts_long_failure_texts(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    size_t size = 10000;
    uint8_t *body = arena_alloc(&arena, size);
    memset(body, 'x', size);
    struct rpc_result result = ask(&arena, "/test.Test/Fail", bytes_make(body, size));
    assert_int_equal(result.code, GRPC_NOT_FOUND);
    assert_int_equal(strlen(result.message), STATUS_TEXT_BYTES_MIN); /* the details are large */
    const char *type = NULL;
    struct bytes detail = {0};
    assert_true(rpc_status_detail(&arena, result.details, &type, &detail));
    assert_int_equal(detail.len, size);
}

static void keeps_unicode_texts(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    struct rpc_result result = ask(&arena, "/test.Test/Fail", bytes_of("größer, 雪 100%"));
    assert_string_equal(result.message, "gone: größer, 雪 100%");
    result = ask(&arena, "/test.Test/Fail", bytes_of("bad \xff\xc3 text"));
    assert_string_equal(result.message, "gone: bad ?? text");
}

static void refuses_large_messages_with_the_known_text(void **state)
{
    (void)state;
    static const size_t sizes[] = {GRPC_MESSAGE_BYTES_MAX + 1, 12u * MIB};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(arena_release) struct arena arena = {0};
        struct bytes body = bytes_make(arena_zalloc(&arena, 1, sizes[i]), sizes[i]);
        struct rpc_result result = ask(&arena, "/test.Test/Echo", body);
        assert_int_equal(result.code, GRPC_RESOURCE_EXHAUSTED);
        char text[128];
        (void)snprintf(text, sizeof(text),
            "grpc: received message larger than max (%zu vs. 4194304)", sizes[i]);
        assert_string_equal(result.message, text);
    }
}

static void inflates_gzip_requests(void **state)
{
    (void)state;
    struct raw_channel *channel = raw_channel_open(fixture.address, 1);
    static const size_t sizes[] = {0, 10, 5000, 300000, GRPC_MESSAGE_BYTES_MAX};
    uint8_t *body = mem_zalloc(1, GRPC_MESSAGE_BYTES_MAX);
    for (size_t i = 0; i < 2000; i++)
        body[i] = (uint8_t)(i * i >> 3);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct raw *raw =
            raw_start(channel, "/test.Test/Echo", bytes_make(body, sizes[i]), 20 * NS_PER_S, NULL);
        raw_wait(channel, 1);
        assert_int_equal(raw_status(raw), GRPC_OK);
        assert_int_equal(raw_response_len(raw), sizes[i]);
        raw_free(raw);
    }
    mem_free(body);
    raw_channel_close(channel);
}

static void stops_a_gzip_bomb(void **state)
{
    (void)state;
    struct raw_channel *channel = raw_channel_open(fixture.address, 1);
    size_t size = 48u * MIB;
    uint8_t *body = mem_zalloc(1, size);
    struct raw *raw =
        raw_start(channel, "/test.Test/Echo", bytes_make(body, size), 20 * NS_PER_S, NULL);
    raw_wait(channel, 1);
    assert_int_equal(raw_status(raw), GRPC_RESOURCE_EXHAUSTED);
    assert_memory_equal(raw_text(raw), "grpc: received message larger than max", 38);
    raw_free(raw);
    mem_free(body);
    raw_channel_close(channel);
}

static void answers_health_checks(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    const char *check = "/grpc.health.v1.Health/Check";
    struct rpc_result result = ask(&arena, check, bytes_make(NULL, 0));
    assert_bytes(result.body, "\x08\x02");
    rpc_server_set_serving(fixture.server, 1);
    result = ask(&arena, check,
        bytes_make("\x0a\x03"
                   "any",
            5));
    assert_bytes(result.body, "\x08\x01");
    rpc_server_set_serving(fixture.server, 0);
    result = ask(&arena, check, bytes_make("\x0a\x7f", 2));
    assert_int_equal(result.code, GRPC_INVALID_ARGUMENT);
    result = ask(&arena, "/grpc.health.v1.Health/Watch", bytes_make(NULL, 0));
    assert_int_equal(result.code, GRPC_UNIMPLEMENTED);
    assert_string_equal(result.message, "unknown method Watch for service grpc.health.v1.Health");
}

static void counts_calls(void **state)
{
    (void)state;
    CLEANUP(arena_release) struct arena arena = {0};
    const struct counter *aborted =
        metrics_counter(fixture.metrics, "strait_rpc_ended_total", "code=\"10\"", "");
    uint64_t before = counter_value(aborted);
    (void)ask(&arena, "/test.Test/Plain", bytes_make(NULL, 0)); /* its result is tested above */
    for (int i = 0; i < 1000 && counter_value(aborted) == before; i++)
        test_pause_ms(2);
    assert_int_equal(counter_value(aborted), before + 1);
}

static void reports_unreachable_servers_at_once(void **state)
{
    (void)state;
    struct rpc_client_options options = {.address = "127.0.0.1:1"};
    struct rpc_client *client = NULL;
    char reason[256];
    assert_int_equal(rpc_client_open(&options, &client, reason), OK);
    CLEANUP(arena_release) struct arena arena = {0};
    int64_t start_ns = test_now_ns();
    struct rpc_result result =
        rpc_client_call(client, "/test.Test/Echo", bytes_make(NULL, 0), 20 * NS_PER_S, &arena);
    assert_int_equal(result.code, GRPC_UNAVAILABLE);
    assert_true(test_now_ns() - start_ns < 5 * NS_PER_S);
    rpc_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_bodies_of_any_size),
        cmocka_unit_test(hands_over_any_method),
        cmocka_unit_test(reads_loop_headers),
        cmocka_unit_test(refuses_illegal_client_headers),
        cmocka_unit_test(passes_failure_details),
        cmocka_unit_test(cuts_long_failure_texts),
        cmocka_unit_test(keeps_unicode_texts),
        cmocka_unit_test(refuses_large_messages_with_the_known_text),
        cmocka_unit_test(inflates_gzip_requests),
        cmocka_unit_test(stops_a_gzip_bomb),
        cmocka_unit_test(answers_health_checks),
        cmocka_unit_test(counts_calls),
        cmocka_unit_test(reports_unreachable_servers_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
