/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/env.h"

#include <string.h>
#include <time.h>

#include "cluster/base/check.h"
#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_death.h"
#include "cluster/base/thread.h"
#include "cluster/base/uuid.h"

#define DRAWS 4000u

struct fake {
    int64_t wall_ns;
    uint64_t counter;
};

static int64_t fake_wall_ns(void *ctx)
{
    return ((struct fake *)ctx)->wall_ns;
}

static void fake_random(void *ctx, void *ret_data, size_t len)
{
    struct fake *fake = ctx;
    uint8_t *data = ret_data;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(fake->counter >> (8 * (i % 8)));
    fake->counter++;
}

static struct env fake_env(struct fake *fake)
{
    return (struct env){.ctx = fake, .wall_ns = fake_wall_ns, .random = fake_random};
}

static void clocks_run(void **state)
{
    (void)state;
    const struct env *env = env_system();
    int64_t wall_s = env_wall_ns(env) / NS_PER_S;
    assert_true(wall_s - (int64_t)time(NULL) <= 1 && (int64_t)time(NULL) - wall_s <= 1);
    int64_t last = env_monotonic_ns(env);
    for (int i = 0; i < 1000; i++) {
        int64_t now = env_monotonic_ns(env);
        assert_true(now >= last);
        last = now;
    }
}

static void random_bytes_do_not_repeat(void **state)
{
    (void)state;
    static uint8_t draws[DRAWS][16];
    for (size_t i = 0; i < DRAWS; i++)
        env_random(env_system(), draws[i], sizeof(draws[i]));
    for (size_t i = 0; i + 1 < DRAWS; i++) {
        for (size_t k = i + 1; k < DRAWS && k < i + 100; k++)
            assert_memory_not_equal(draws[i], draws[k], sizeof(draws[i]));
    }
}

static void random_fills_any_length(void **state)
{
    (void)state;
    uint8_t data[1000];
    for (size_t len = 0; len <= sizeof(data); len += 37) {
        uint8_t seen[1000] = {0};
        /* Every byte becomes something else than zero sooner or later; those behind stay. */
        memset(data, 0xaa, sizeof(data));
        for (int round = 0; round < 20; round++) {
            env_random(env_system(), data, len);
            for (size_t i = 0; i < len; i++)
                seen[i] |= data[i];
        }
        for (size_t i = 0; i < len; i++)
            assert_int_not_equal(seen[i], 0);
        for (size_t i = len; i < sizeof(data); i++)
            assert_int_equal(data[i], 0xaa);
    }
}

static void draw(void *arg)
{
    env_random(env_system(), arg, 32);
}

static void threads_draw_different_bytes(void **state)
{
    (void)state;
    uint8_t draws[4][32];
    struct thread *threads[4];
    for (size_t i = 0; i < 4; i++)
        threads[i] = thread_start("draw", draw, draws[i]);
    for (size_t i = 0; i < 4; i++)
        thread_join(threads[i]);
    for (size_t i = 0; i + 1 < 4; i++)
        assert_memory_not_equal(draws[i], draws[i + 1], 32);
}

static void random_below_stays_below(void **state)
{
    (void)state;
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t value = env_random_below(env_system(), 7);
        assert_true(value < 7);
        seen[value]++;
    }
    for (size_t i = 0; i < 7; i++)
        assert_true(seen[i] > 700 && seen[i] < 1300);
    assert_int_equal(env_random_below(env_system(), 1), 0);
    assert_true(env_random_below(env_system(), UINT64_MAX) < UINT64_MAX);
}

static void zero_bound(void *arg)
{
    (void)arg;
    (void)env_random_below(env_system(), 0);
}

static void random_below_wants_a_bound(void **state)
{
    (void)state;
    assert_true(dies(zero_bound, NULL, "bound > 0"));
}

static void random_below_draws_biased_values_again(void **state)
{
    (void)state;
    /* 2^64 mod 3 = 1: only the value 0 is biased, and the fake starts with it. */
    struct fake fake = {0};
    struct env env = fake_env(&fake);
    assert_int_equal(env_random_below(&env, 3), 0x0000000000000001 % 3);
    assert_int_equal(fake.counter, 2);
}

static void uuids_have_version_and_variant(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct uuid uuid = uuid_new(env_system());
        assert_int_equal(uuid.bytes[6] >> 4, 7);
        assert_int_equal(uuid.bytes[8] >> 6, 2);
        assert_false(uuid_is_zero(uuid));
        assert_false(uuid_equal(uuid, uuid_new(env_system())));
    }
}

static void uuids_sort_by_time(void **state)
{
    (void)state;
    struct fake fake = {.wall_ns = 1767225600000000000};
    struct env env = fake_env(&fake);
    struct uuid last = uuid_new(&env);
    char text[UUID_TEXT_LEN + 1];
    uuid_format(last, text);
    assert_memory_equal(text, "019b76da-a800-7", 15); /* 1767225600000 ms */
    for (int i = 0; i < 1000; i++) {
        fake.wall_ns += NS_PER_MS << (i % 20);
        struct uuid next = uuid_new(&env);
        assert_true(bytes_compare(uuid_view(&last), uuid_view(&next)) < 0);
        char next_text[UUID_TEXT_LEN + 1];
        uuid_format(next, next_text);
        assert_true(strcmp(text, next_text) < 0);
        memcpy(text, next_text, sizeof(text));
        last = next;
    }
}

static void uuids_survive_text(void **state)
{
    (void)state;
    struct uuid uuid;
    char text[UUID_TEXT_LEN + 1];
    for (int i = 0; i < 100; i++) {
        struct uuid made = uuid_new(env_system());
        uuid_format(made, text);
        assert_true(uuid_parse(bytes_of(text), &uuid));
        assert_true(uuid_equal(made, uuid));
    }
    assert_true(uuid_parse(bytes_of("00112233-4455-6677-8899-AaBbCcDdEeFf"), &uuid));
    uuid_format(uuid, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    assert_true(uuid_parse(bytes_of("00000000-0000-0000-0000-000000000000"), &uuid));
    assert_true(uuid_is_zero(uuid));
}

static void malformed_uuids_are_refused(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233-4455-6677-8899-aabbccddeefg",
        "00112233-4455-6677-8899+aabbccddeeff",
        "0011223-34455-6677-8899-aabbccddeeff",
        "{0112233-4455-6677-8899-aabbccddeef}",
        "001122334455-6677-8899-aabbccddeeff-",
    };
    struct uuid untouched = {{1, 2, 3}};
    struct uuid uuid = untouched;
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        assert_false(uuid_parse(bytes_of(malformed[i]), &uuid));
    assert_true(uuid_equal(uuid, untouched));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_run),
        cmocka_unit_test(random_bytes_do_not_repeat),
        cmocka_unit_test(random_fills_any_length),
        cmocka_unit_test(threads_draw_different_bytes),
        cmocka_unit_test(random_below_stays_below),
        cmocka_unit_test(random_below_wants_a_bound),
        cmocka_unit_test(random_below_draws_biased_values_again),
        cmocka_unit_test(uuids_have_version_and_variant),
        cmocka_unit_test(uuids_sort_by_time),
        cmocka_unit_test(uuids_survive_text),
        cmocka_unit_test(malformed_uuids_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
