/* SPDX-License-Identifier: Apache-2.0 */
#include "replicator/bus_nats_json.h"

#include <string.h>

#include "cluster/base/tests/support_cmocka.h"

static enum err parse(const char *text, struct nats_answer *ret_answer)
{
    return nats_json_answer(bytes_of(text), ret_answer);
}

static void acknowledgements(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seq;
    } cases[] = {
        {"{\"stream\":\"S\",\"seq\":1}", 1},
        {"{\"stream\":\"S\", \"seq\":18}", 18},
        {"{ \"stream\" : \"A-b_c\" , \"seq\" : 9007199254740993 }", 9007199254740993},
        {"{\"stream\":\"S\",\"domain\":\"hub\",\"seq\":7}", 7},
        {"{\"stream\":\"S\",\"seq\":8,\"duplicate\":true}", 8},
        {"{\"seq\":9,\"stream\":\"S\"}", 9},
        {"{\"type\":\"io.nats.jetstream.api.v1.stream_create_response\",\"config\":{}}", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct nats_answer answer;
        assert_int_equal(parse(cases[i].text, &answer), OK);
        assert_int_equal(answer.seq, cases[i].seq);
        assert_int_equal(nats_json_err(&answer), OK);
    }
}

static void errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        {"{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes exceeded\"},"
         "\"stream\":\"S\",\"seq\":0}",
            ERR_BUSY},
        {"{\"error\":{\"code\":500,\"err_code\":10047,\"description\":\"insufficient storage\"}}",
            ERR_BUSY},
        {"{\"error\":{\"code\":400,\"description\":\"maximum bytes exceeded\"}}", ERR_BUSY},
        {"{\"error\":{\"code\":400,\"err_code\":10054,\"description\":\"too big\"}}",
            ERR_TOO_LARGE},
        {"{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"no stream\"}}",
            ERR_NOT_FOUND},
        {"{\"error\":{\"code\":503,\"err_code\":10008,\"description\":\"not now\"}}",
            ERR_UNAVAILABLE},
        {"{\"error\":{\"code\":500,\"err_code\":10052,\"description\":\"bad change\"}}",
            ERR_INVALID},
        {"{\"error\":{}}", ERR_INVALID},
        {"{\"error\":{\"code\":99999999999,\"err_code\":-1}}", ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct nats_answer answer;
        assert_int_equal(parse(cases[i].text, &answer), OK);
        assert_int_equal(nats_json_err(&answer), cases[i].err);
    }
}

static void anything_else_is_corrupt(void **state)
{
    (void)state;
    static const char *const cases[] = {"", " ", "x", "{", "[]", "null", "7", "{}",
        "{\"stream\":\"S\",\"seq\":}", "{\"stream\":\"S\",\"seq\":1",
        "{\"stream\":\"S\",\"seq\":1}}", "{\"stream\":\"\xff\",\"seq\":1}", "{\"seq\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct nats_answer answer = {.seq = 77};
        assert_int_equal(parse(cases[i], &answer), ERR_CORRUPT);
        assert_int_equal(answer.seq, 77);
    }
}

static void every_prefix_is_survived(void **state)
{
    (void)state;
    static const char text[] =
        "{\"stream\":\"S\",\"seq\":123,\"error\":{\"code\":503,\"err_code\":10077}}";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct blob *copy = blob_from(bytes_make(text, len)); /* exact size: reads past it show */
        struct nats_answer answer;
        assert_int_equal(nats_json_answer(blob_view(copy), &answer), ERR_CORRUPT);
        blob_unref(copy);
    }
}

static void shapes(void **state)
{
    (void)state;
    const struct bus_stream stream = {
        .name = "S", .subjects = "s.>", .bytes_max = 5000000000, .replicas = 3, .work_queue = true};
    struct blob *body = nats_json_stream(&stream);
    static const char expected[] =
        "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"retention\":\"workqueue\",\"storage\":\"file\","
        "\"discard\":\"new\",\"max_bytes\":5000000000,\"num_replicas\":3}";
    assert_true(bytes_equal(blob_view(body), bytes_of(expected)));
    blob_unref(body);
    body = nats_json_consumer("S", "d", 10, 30000000000);
    assert_non_null(memmem(body->data, body->len, "\"max_ack_pending\":10", 20));
    assert_non_null(memmem(body->data, body->len, "\"ack_wait\":30000000000", 22));
    blob_unref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledgements),
        cmocka_unit_test(errors),
        cmocka_unit_test(anything_else_is_corrupt),
        cmocka_unit_test(every_prefix_is_survived),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
