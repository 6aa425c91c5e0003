/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS with certificates made on the spot by the openssl command.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/rpc/tests/rpc_fixture.h"

/* Longer than the server takes to look at its files again. */
#define RELOAD_MS 700

static char directory[64];

static void run(const char *command)
{
    int status = system(command);
    if (status != 0)
        printf("failed: %s\n", command);
    assert_int_equal(status, 0);
}

static const char *path_of(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

/* <name>.crt, self-signed for localhost, and <name>.key. */
static void make_pair(const char *name)
{
    char command[512];
    (void)snprintf(command, sizeof(command),
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=%s -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
        "-keyout %s/%s.key -out %s/%s.crt 2>/dev/null",
        name, directory, name, directory, name);
    run(command);
}

static void copy(const char *from, const char *to)
{
    char command[512];
    (void)snprintf(command, sizeof(command), "cp %s %s.new && mv %s.new %s", path_of(from),
        path_of(to), path_of(to), path_of(to));
    run(command);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test_rpc_tls.XXXXXX");
    assert_non_null(mkdtemp(directory));
    make_pair("first");
    make_pair("second");
    copy("first.crt", "server.crt");
    copy("first.key", "server.key");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -r %s", directory);
    run(command);
    return 0;
}

static void open_server(struct fixture *fixture, const char *client_ca)
{
    struct rpc_server_options options = {
        .tls_cert_file = path_of("server.crt"),
        .tls_key_file = path_of("server.key"),
        .tls_client_ca_file = client_ca ? path_of(client_ca) : NULL,
    };
    fixture_open(fixture, 1, &options);
}

/* A call over a fresh connection. */
static enum grpc_code call_with(
    const struct fixture *fixture, const char *ca, const char *name, const char *identity)
{
    char cert[64];
    char key[64];
    (void)snprintf(cert, sizeof(cert), "%s.crt", identity ? identity : "");
    (void)snprintf(key, sizeof(key), "%s.key", identity ? identity : "");
    struct rpc_client_options options = {
        .address = fixture->address,
        .tls = 1,
        .tls_ca_file = ca ? path_of(ca) : NULL,
        .tls_server_name = name,
        .tls_cert_file = identity ? path_of(cert) : NULL,
        .tls_key_file = identity ? path_of(key) : NULL,
    };
    struct rpc_client *client = NULL;
    char reason[256];
    assert_int_equal(rpc_client_open(&options, &client, reason), OK);
    CLEANUP(arena_release) struct arena arena = {0};
    struct rpc_result result =
        rpc_client_call(client, "/test.Test/Echo", bytes_of("secret"), 10 * NS_PER_S, &arena);
    if (result.code == GRPC_OK)
        assert_true(bytes_equal(result.body, bytes_of("secret")));
    rpc_client_close(client);
    return result.code;
}

static void trusted_clients_get_through(void **state)
{
    (void)state;
    struct fixture fixture;
    open_server(&fixture, NULL);
    assert_int_equal(call_with(&fixture, "first.crt", NULL, NULL), GRPC_OK);
    assert_int_equal(call_with(&fixture, "first.crt", "localhost", NULL), GRPC_OK);
    assert_int_equal(call_with(&fixture, "first.crt", "other.example", NULL), GRPC_UNAVAILABLE);
    assert_int_equal(call_with(&fixture, "second.crt", NULL, NULL), GRPC_UNAVAILABLE);
    assert_int_equal(call_with(&fixture, NULL, NULL, NULL), GRPC_UNAVAILABLE);
    fixture_close(&fixture);
}

static void client_certificates_are_demanded(void **state)
{
    (void)state;
    struct fixture fixture;
    open_server(&fixture, "second.crt");
    assert_int_equal(call_with(&fixture, "first.crt", NULL, "second"), GRPC_OK);
    assert_int_equal(call_with(&fixture, "first.crt", NULL, NULL), GRPC_UNAVAILABLE);
    assert_int_equal(call_with(&fixture, "first.crt", NULL, "first"), GRPC_UNAVAILABLE);
    fixture_close(&fixture);
}

static void changed_certificates_are_reloaded(void **state)
{
    (void)state;
    struct fixture fixture;
    open_server(&fixture, NULL);
    assert_int_equal(call_with(&fixture, "first.crt", NULL, NULL), GRPC_OK);

    copy("second.crt", "server.crt"); /* half of a pair: the old one goes on */
    test_pause_ms(RELOAD_MS);
    assert_int_equal(call_with(&fixture, "first.crt", NULL, NULL), GRPC_OK);
    copy("second.key", "server.key");
    test_pause_ms(RELOAD_MS);
    assert_int_equal(call_with(&fixture, "second.crt", NULL, NULL), GRPC_OK);
    assert_int_equal(call_with(&fixture, "first.crt", NULL, NULL), GRPC_UNAVAILABLE);

    unlink(path_of("server.key")); /* gone: the last good one goes on */
    test_pause_ms(RELOAD_MS);
    assert_int_equal(call_with(&fixture, "second.crt", NULL, NULL), GRPC_OK);
    fixture_close(&fixture);
}

static void unusable_files_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *cert;
        const char *key;
        const char *ca;
        const char *reason;
    } cases[] = {
        {"missing.crt", "first.key", NULL, "No such file or directory"},
        {"first.crt", "second.key", NULL, "are not a pair"},
        {"first.key", "first.crt", NULL, "are not a pair"},
        {"first.crt", NULL, NULL, "both a certificate and a key"},
        {"first.crt", "first.key", "second.key", "holds no certificate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_server_options options = {
            .listen = "127.0.0.1:0",
            .handle = fixture_handle,
            .tls_cert_file = path_of(cases[i].cert),
            .tls_key_file = cases[i].key ? path_of(cases[i].key) : NULL,
            .tls_client_ca_file = cases[i].ca ? path_of(cases[i].ca) : NULL,
        };
        struct rpc_server *server = NULL;
        char reason[256] = "";
        assert_int_equal(rpc_server_open(&options, &server, reason), ERR_CONFIG);
        assert_non_null(strstr(reason, cases[i].reason));
    }
    struct rpc_client_options options = {.address = "x:1", .tls_ca_file = path_of("missing.crt")};
    struct rpc_client *client = NULL;
    char reason[256] = "";
    assert_int_equal(rpc_client_open(&options, &client, reason), ERR_CONFIG);
    assert_non_null(strstr(reason, "missing.crt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(trusted_clients_get_through, setup, teardown),
        cmocka_unit_test_setup_teardown(client_certificates_are_demanded, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_certificates_are_reloaded, setup, teardown),
        cmocka_unit_test_setup_teardown(unusable_files_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
