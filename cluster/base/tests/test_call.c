/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/call.h"

#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"

/** A transport that notes what it is told. */
struct fake_call {
    struct call call;
    struct bytes body;
    enum grpc_code code;
    char message[ERROR_TEXT_BYTES_MAX + 100];
    const char *detail_type;
    struct bytes detail;
    struct mailbox *mailbox;
    struct mail *watch;
    bool cancelled;
};

static struct fake_call *fake_of(struct call *call)
{
    return CONTAINER_OF(call, struct fake_call, call);
}

static void fake_reply(struct call *call, struct bytes body)
{
    fake_of(call)->body = body;
}

static void fake_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    struct fake_call *fake = fake_of(call);
    fake->code = code;
    memcpy(fake->message, message, strlen(message) + 1);
    fake->detail_type = detail_type;
    fake->detail = detail;
}

static bool fake_is_cancelled(struct call *call)
{
    return fake_of(call)->cancelled;
}

static void fake_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    fake_of(call)->mailbox = mailbox;
    fake_of(call)->watch = watch;
}

static bool fake_unwatch(struct call *call)
{
    bool watched = fake_of(call)->watch != NULL;
    fake_of(call)->watch = NULL;
    return watched;
}

static const struct call_ops fake_ops = {
    .reply = fake_reply,
    .fail = fake_fail,
    .is_cancelled = fake_is_cancelled,
    .watch = fake_watch,
    .unwatch = fake_unwatch,
};

static void ignore_mail(struct mail *mail, void *owner)
{
    (void)mail;
    (void)owner;
}

static void the_wrappers_reach_the_transport(void **state)
{
    (void)state;
    struct fake_call fake = {.call.ops = &fake_ops, .cancelled = true};
    call_reply(&fake.call, bytes_of("body"));
    assert_true(bytes_equal(fake.body, bytes_of("body")));
    call_fail(&fake.call, GRPC_NOT_FOUND, "gone", "some.Type", bytes_of("detail"));
    assert_int_equal(fake.code, GRPC_NOT_FOUND);
    assert_string_equal(fake.message, "gone");
    assert_string_equal(fake.detail_type, "some.Type");
    assert_true(bytes_equal(fake.detail, bytes_of("detail")));
    assert_true(call_is_cancelled(&fake.call));
    struct mail watch = {.deliver = ignore_mail};
    struct mailbox *mailbox = mailbox_open(NULL, NULL, 1);
    call_watch(&fake.call, mailbox, &watch);
    assert_ptr_equal(fake.mailbox, mailbox);
    assert_ptr_equal(fake.watch, &watch);
    assert_true(call_unwatch(&fake.call));
    assert_false(call_unwatch(&fake.call));
    mailbox_close(mailbox, NULL);
}

static void an_error_becomes_its_status(void **state)
{
    (void)state;
    struct fake_call fake = {.call.ops = &fake_ops};
    call_fail_err(&fake.call, ERR_FENCED, "shard %d is owned elsewhere", 7);
    assert_int_equal(fake.code, GRPC_UNAVAILABLE);
    assert_string_equal(fake.message, "shard 7 is owned elsewhere");
    assert_null(fake.detail_type);
    assert_int_equal(fake.detail.len, 0);
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    struct fake_call fake = {.call.ops = &fake_ops};
    call_fail_err(&fake.call, ERR_INVALID, "%*d", 10000, 1);
    assert_int_equal(strlen(fake.message), ERROR_TEXT_BYTES_MAX);
    /* Not within a character: three-byte characters do not divide the limit. */
    char text[ERROR_TEXT_BYTES_MAX + 10];
    for (size_t i = 0; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4);
    call_fail_err(&fake.call, ERR_INVALID, "%s", text);
    assert_int_equal(strlen(fake.message), ERROR_TEXT_BYTES_MAX / 3 * 3);
    call_fail_err(&fake.call, ERR_INVALID, "a%s", text);
    assert_int_equal(strlen(fake.message), 1 + (ERROR_TEXT_BYTES_MAX - 1) / 3 * 3);
}

static void fail_with_ok(void *arg)
{
    call_fail(arg, GRPC_OK, "", NULL, (struct bytes){0});
}

static void fail_with_no_error(void *arg)
{
    call_fail_err(arg, OK, "%s", "");
}

static void success_is_no_failure(void **state)
{
    (void)state;
    struct fake_call fake = {.call.ops = &fake_ops};
    assert_true(dies(fail_with_ok, &fake.call, "GRPC_OK"));
    assert_true(dies(fail_with_no_error, &fake.call, "err != OK"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wrappers_reach_the_transport),
        cmocka_unit_test(an_error_becomes_its_status),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(success_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
