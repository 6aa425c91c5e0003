/* SPDX-License-Identifier: Apache-2.0
 *
 * What only the NATS driver has: configuration, logins, a server that is absent, stuck or
 * surrounded by nonsense.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "replicator/bus_nats_key.h"
#include "replicator/tests/bus_fixture.h"

/* The pair that the NATS documentation uses as its example. */
#define SEED   "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static int open_plain(void **state)
{
    *state = world_open(false, NULL);
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_seed_gives_its_public_key(void **state)
{
    (void)state;
    char path[] = P_tmpdir "/strait-seed-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    char key[NATS_KEY_SIZE] = "";
    write_file(path, "-----BEGIN USER NKEY SEED-----\n" SEED "\n");
    assert_int_equal(nats_key_public(path, key), OK);
    assert_string_equal(key, PUBLIC);
    write_file(path, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU4VY\n");
    assert_int_equal(nats_key_public(path, key), ERR_INVALID);
    write_file(path, "SU\nSU0000\n\n");
    assert_int_equal(nats_key_public(path, key), ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(nats_key_public(path, key), ERR_INVALID);
}

static void unusable_options_are_named(void **state)
{
    (void)state;
    const struct bus_nats_options bad[] = {
        {.url = ""},
        {.url = "nats://127.0.0.1:4222", .credentials_file = "/nowhere/creds"},
        {.url = "nats://127.0.0.1:4222", .nkey_seed_file = "/nowhere/seed"},
        {.url = "nats://127.0.0.1:4222", .tls_ca_file = "/nowhere/ca.pem"},
        {.url = "nats://127.0.0.1:4222", .tls_cert_file = "/a.pem", .tls_key_file = "/b.pem"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct bus *bus;
        char reason[256] = "";
        assert_int_equal(bus_nats_open(&bad[i], &bus, reason), ERR_CONFIG);
        assert_true(strlen(reason) > 10);
    }
}

static void without_a_server_everything_ends_at_once(void **state)
{
    (void)state;
    struct world world = {.waker = waker_open()};
    world.mailbox = mailbox_open(&world, world.waker, 100);
    const struct bus_nats_options options = {.url = "nats://127.0.0.1:1,nats://127.0.0.1:2"};
    char reason[256];
    assert_int_equal(bus_nats_open(&options, &world.bus, reason), OK);
    assert_false(bus_connected(world.bus));
    assert_int_equal(publish_text(&world, "a.b", "x"), ERR_UNAVAILABLE);
    struct receiver *receiver = receiver_make();
    struct bus_subscription *consumer =
        consume(&world, world.bus, "S", "d", 10, NS_PER_S, receiver);
    subscribe(&world, world.bus, "a.>", NULL, receiver);
    bus_unsubscribe(world.bus, consumer);
    bus_close(world.bus);
    mailbox_close(world.mailbox, NULL);
    waker_close(world.waker);
    receiver_free(receiver);
}

static bool is_connected(void *ctx)
{
    return bus_connected(ctx);
}

static struct bus *open_login(struct world *world, const struct bus_nats_options *login)
{
    struct bus_nats_options options = *login;
    options.url = nats_process_url(world->server);
    struct bus *bus;
    char reason[256];
    assert_int_equal(bus_nats_open(&options, &bus, reason), OK);
    return bus;
}

/* The fixture's own connection comes without a login. */
#define AUTHORIZATION                                                         \
    "authorization { users: ["                                                \
    "{user: anonymous, password: anonymous}, {user: ann, password: secret}, " \
    "{nkey: " PUBLIC "}] }\nno_auth_user: anonymous\n"

static void logins(void **state)
{
    (void)state;
    struct world *world = world_open(false, AUTHORIZATION);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/seed", world->dir);
    write_file(path, SEED "\n");
    const struct bus_nats_options by_key = {.nkey_seed_file = path};
    const struct bus_nats_options by_user = {.user = "ann", .password = "secret"};
    const struct bus_nats_options by_guess = {.user = "ann", .password = "guess"};
    struct bus *key = open_login(world, &by_key);
    struct bus *user = open_login(world, &by_user);
    struct bus *wrong = open_login(world, &by_guess);
    world_until(world, is_connected, key);
    world_until(world, is_connected, user);
    /* Refused more than twice, which would end the library's own attempts. */
    int64_t until_ns = env_monotonic_ns(env_system()) + NS_PER_S;
    while (env_monotonic_ns(env_system()) < until_ns) {
        world_quiet(world);
        assert_false(bus_connected(wrong));
    }
    /* The server learns the password: the same bus gets in. */
    world_crash(world);
    world->extra = "authorization { users: [{user: ann, password: guess},"
                   " {user: anonymous, password: anonymous}] }\nno_auth_user: anonymous\n";
    world_restart(world);
    world_until(world, is_connected, wrong);
    bus_close(key);
    bus_close(user);
    bus_close(wrong);
    world_close(world);
}

static void nonsense_is_survived(void **state)
{
    struct world *world = *state;
    struct bus *other = world_connect(world);
    /* A service that answers publishes like a stream, but not in its language. */
    static const char *const answers[] = {"", "junk", "{\"stream\":\"S\",\"seq\":}", "{}", "[]",
        "{\"error\":{}}", "{\"error\":7}", "{\"stream\":\"\xff\",\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":-4}x"};
    struct receiver *liar = receiver_make();
    subscribe(world, other, "lie.>", NULL, liar);
    world_quiet(world);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        liar->answer = answers[i];
        assert_int_not_equal(publish_text(world, "lie.a", "x"), OK);
    }
    /* Somebody who writes to the consumer's inbox: pull requests tell where that is. */
    struct receiver *spy = receiver_make();
    subscribe(world, other, "$JS.API.CONSUMER.MSG.NEXT.>", NULL, spy);
    world_quiet(world);
    const char *stream = make_stream(world, MIB, true);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", stream);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 4, 30 * NS_PER_S, receiver);
    receiver_await(world, spy, 2);
    for (size_t i = 0; i < 2; i++) {
        bus_respond(spy->kept[i], bytes_of(i ? "" : "not from JetStream"));
        spy->kept[i] = NULL;
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(publish_text(world, subject, "1"), OK);
        receiver_await(world, receiver, (size_t)i + 1);
    }
    world_disconnect_all(world);
    receiver_free(liar);
    receiver_free(spy);
    receiver_free(receiver);
}

static bool not_connected(void *ctx)
{
    return !bus_connected(ctx);
}

static void a_stuck_server_blocks_nobody(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, 64ll * MIB, true);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", stream);
    enum { COUNT = 1000 };
    struct test_op *ops = mem_zalloc(COUNT, sizeof(*ops));
    struct blob *data = blob_alloc(32 * KIB);
    memset(data->data, 'x', data->len);
    assert_int_equal(kill(nats_process_id(world->server), SIGSTOP), 0);
    int64_t start_ns = env_monotonic_ns(env_system());
    for (int i = 0; i < COUNT; i++) {
        test_op_init(world, &ops[i]);
        bus_publish(world->bus, subject, data, &ops[i].op);
    }
    assert_true(env_monotonic_ns(env_system()) - start_ns < 2 * NS_PER_S);
    /* Broadcasts, which nobody counts, are refused before they fill the memory. */
    size_t sent = 0;
    while (bus_send(world->bus, "x", blob_view(data)) == OK && sent < 100000)
        sent++;
    assert_in_range(sent, 1, 10000);
    world_until(world, not_connected, world->bus);
    for (int i = 0; i < COUNT; i++) {
        enum err err = test_op_await(world, &ops[i]);
        assert_true(err == ERR_TIMEOUT || err == ERR_UNAVAILABLE);
    }
    assert_int_equal(kill(nats_process_id(world->server), SIGCONT), 0);
    world_until(world, is_connected, world->bus);
    assert_int_equal(publish_text(world, subject, "x"), OK);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(ops[i].ends, 1);
    blob_unref(data);
    mem_free(ops);
}

static void a_missing_server_binary_is_named(void **state)
{
    (void)state;
    const struct nats_process_options options = {.dir = P_tmpdir, .binary = "/nowhere/nats-server"};
    struct nats_process *process;
    char reason[256] = "";
    assert_int_equal(nats_process_start(&options, &process, reason), ERR_NOT_FOUND);
    assert_non_null(strstr(reason, "/nowhere/nats-server"));
    const struct nats_process_options no_dir = {.dir = "/nowhere"};
    assert_int_equal(nats_process_start(&no_dir, &process, reason), ERR_IO);
}

static void a_server_that_fails_says_where_to_look(void **state)
{
    (void)state;
    char dir[] = P_tmpdir "/strait-nats-XXXXXX";
    assert_non_null(mkdtemp(dir));
    const struct nats_process_options options = {
        .dir = dir, .binary = getenv("NATS_SERVER"), .extra = "no_such_option_block {"};
    struct nats_process *process;
    char reason[256] = "";
    assert_int_equal(nats_process_start(&options, &process, reason), ERR_IO);
    assert_non_null(strstr(reason, "nats-server.log"));
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_its_public_key),
        cmocka_unit_test(unusable_options_are_named),
        cmocka_unit_test(without_a_server_everything_ends_at_once),
        cmocka_unit_test(logins),
        cmocka_unit_test_setup_teardown(nonsense_is_survived, open_plain, close_world),
        cmocka_unit_test_setup_teardown(a_stuck_server_blocks_nobody, open_plain, close_world),
        cmocka_unit_test(a_missing_server_binary_is_named),
        cmocka_unit_test(a_server_that_fails_says_where_to_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
