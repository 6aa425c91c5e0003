/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said about refused files, word for word: line and remedy are the feature.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/config.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/base/tests/support_config.h"

static const char *reason_of(struct arena *arena, const char *text)
{
    struct config config;
    const char *reason = NULL;
    enum err err = config_parse(arena, "us.yaml", bytes_of(text), &config, &reason);
    if (!err)
        return "accepted";
    assert_int_equal(err, ERR_CONFIG);
    return reason;
}

static void assert_reason(const char *text, const char *expected)
{
    struct arena arena = {0};
    assert_string_equal(reason_of(&arena, text), expected);
    arena_release(&arena);
}

struct refusal {
    const char *text;
    const char *reason;
};

static void assert_reasons(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_reason(refusals[i].text, refusals[i].reason);
}

static void unknown_keys_are_refused(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"cluster:\n  name: us\n  shrads: 4\n",
            "us.yaml:3: cluster.shrads is not a setting; did you mean shards?"},
        {"clutser:\n  name: us\n", "us.yaml:1: clutser is not a setting; did you mean cluster?"},
        {HEAD MEMORY "failover:\n  wait: 5\n",
            "us.yaml:9: failover.wait is not a setting; known here are: handover_ms"},
        {HEAD "      natz: {url: x}\n" MEMORY,
            "us.yaml:7: federation.clusters[0].natz is not a setting; did you mean nats?"},
        {HEAD MEMORY "listen:\n  grpc:\n    port: 1\n",
            "us.yaml:9: listen.grpc is a group of settings; write a single value, as in "
            "configs/reference.yaml"},
        {HEAD MEMORY "<<: {a: b}\n",
            "us.yaml:8: << is not a setting; known here are: cluster, federation, database, "
            "listen, tls, log, retention, limits, replication, failover"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"cluster: us\n", "us.yaml:1: cluster is a single value; write a group of settings, as in "
                          "configs/reference.yaml"},
        {"cluster:\n  - name: us\n",
            "us.yaml:1: cluster is a list; write a group of settings, as in "
            "configs/reference.yaml"},
        {"cluster:\n  name: [us]\n",
            "us.yaml:2: cluster.name is a list; write a single value, as in "
            "configs/reference.yaml"},
        {"federation:\n  clusters: us\n",
            "us.yaml:2: federation.clusters is a single value; write a list, as in "
            "configs/reference.yaml"},
        {"federation:\n  clusters:\n    - us\n",
            "us.yaml:3: federation.clusters[0] is a single value; write a group of settings, as in "
            "configs/reference.yaml"},
        {"cluster:\n  name:\n",
            "us.yaml:2: cluster.name has no value; write one or remove the line"},
        {"cluster:\n  name: ~\n",
            "us.yaml:2: cluster.name has no value; write one or remove the line"},
        {"cluster:\n", "us.yaml:1: cluster has no value; write one or remove the line"},
        {"- 1\n", "us.yaml:1: no settings here; start from a copy of configs/reference.yaml"},
        {"", "us.yaml:1: no settings here; start from a copy of configs/reference.yaml"},
        {"# nothing\n", "us.yaml:1: no settings here; start from a copy of configs/reference.yaml"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const char *const no_numbers[] = {
        "many", "1.5", "0x10", "010", "1e3", "1_000", "7 ", "99999999999999999999", "-", "+5"};
    for (size_t i = 0; i < ARRAY_LEN(no_numbers); i++) {
        char text[100];
        char expected[200];
        (void)snprintf(text, sizeof(text), "cluster:\n  name: us\n  shards: '%s'\n", no_numbers[i]);
        (void)snprintf(expected, sizeof(expected),
            "us.yaml:3: cluster.shards is \"%s\"; write a whole number from 1 to 4096",
            no_numbers[i]);
        assert_reason(text, expected);
    }
    static const struct refusal refusals[] = {
        {"cluster:\n  shards: 0\n",
            "us.yaml:2: cluster.shards is 0; write a number from 1 to 4096"},
        {"cluster:\n  shards: -3\n",
            "us.yaml:2: cluster.shards is -3; write a number from 1 to 4096"},
        {"cluster:\n  shards: 4097\n",
            "us.yaml:2: cluster.shards is 4097; write a number from 1 to 4096"},
        {"cluster:\n  shards: ${SHARDS}\n",
            "us.yaml:2: cluster.shards is \"${SHARDS}\"; write a whole number from 1 to 4096 "
            "(only text may refer to the environment)"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void choices_are_named(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {HEAD "database:\n  driver: oracle\n",
            "us.yaml:8: database.driver is \"oracle\"; write sqlite, postgres, mariadb or memory"},
        {HEAD "database:\n  driver: or\n",
            "us.yaml:8: database.driver is \"or\"; write sqlite, postgres, mariadb or memory"},
        {HEAD MEMORY "log: {level: INFO}\n",
            "us.yaml:8: log.level is \"INFO\"; write debug, info, warn, error or off"},
        {HEAD MEMORY "log: {level: off}\n", "accepted"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void what_is_required_is_missed(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"log: {level: info}\n",
            "us.yaml:1: cluster is missing; add it, as in configs/reference.yaml"},
        {HEAD, "us.yaml:1: database is missing; add it, as in configs/reference.yaml"},
        {HEAD "database:\n  file: x\n",
            "us.yaml:7: database.driver is missing; add it, as in configs/reference.yaml"},
        {HEAD "    - name: eu\n" MEMORY,
            "us.yaml:7: federation.clusters[1].initial_version is missing; add it, as in "
            "configs/reference.yaml"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void yaml_itself_may_be_wrong(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"cluster:\n\tname: us\n",
            "us.yaml:2: not valid YAML: found character that cannot start any token; indent with "
            "spaces, not tabs, and quote values that start with @ or `"},
        {"cluster:\n  name: us\n  grpc: a: b\n",
            "us.yaml:3: not valid YAML: mapping values are not allowed in this context; check the "
            "indentation, and quote values that contain a colon and a space"},
        {"cluster:\n  name: \"us\n",
            "us.yaml:3: not valid YAML: found unexpected end of stream; compare with "
            "configs/reference.yaml"},
        {"cluster:\n  name: us\n  name: eu\n",
            "us.yaml:3: cluster.name is set twice; it is in line 2 already, remove one"},
        {"cluster: &c {name: us}\nfederation: *c\n",
            "us.yaml:2: aliases (*name) are not supported; write the value out"},
        {"cluster: {name: us}\n---\ncluster: {name: eu}\n",
            "us.yaml:2: a second document starts here; use one file per cluster"},
        {"? [a]\n: b\n", "us.yaml:1: a key is a collection; write a plain name before the colon"},
        {"cluster:\n  name: \"a\\0b\"\n", "us.yaml:2: a value contains a NUL character; remove it"},
        {"a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n",
            "us.yaml:1: a.b.c.d.e.f.g.h is nested too deep; compare with configs/reference.yaml"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void clusters_are_checked(void **state)
{
    (void)state;
    static const char name_rule[] =
        "is not a cluster name; write 1 to 63 small letters, digits and "
        "dashes, no dash first";
    static const char *const bad_names[] = {"US", "-us", "u_s", "u.s", "''", "us west", "\"u*\"",
        "a123456789a123456789a123456789a123456789a123456789a123456789a123"};
    for (size_t i = 0; i < ARRAY_LEN(bad_names); i++) {
        char text[300];
        char expected[300];
        (void)snprintf(text, sizeof(text),
            HEAD_NATS "    - name: %s\n      initial_version: 2\n" MEMORY, bad_names[i]);
        (void)snprintf(
            expected, sizeof(expected), "us.yaml:8: federation.clusters[1].name %s", name_rule);
        assert_reason(text, expected);
    }
    static const struct refusal refusals[] = {
        {"cluster: {name: U}\nfederation: {clusters: [{name: us, initial_version: 1}]}\n" MEMORY,
            "us.yaml:1: cluster.name is not a cluster name; write 1 to 63 small letters, digits "
            "and dashes, no dash first"},
        {"cluster: {name: eu}\nfederation: {clusters: [{name: us, initial_version: 1}]}\n" MEMORY,
            "us.yaml:1: cluster.name is \"eu\", which federation.clusters does not list; add it "
            "there"},
        {"cluster: {name: us}\nfederation: {clusters: []}\n" MEMORY,
            "us.yaml:2: federation.clusters has 0 entries; write 1 to 32 clusters"},
        {"cluster: {name: us}\nfederation:\n  increment: 10\n  clusters:\n    - name: us\n"
         "      initial_version: 10\n" MEMORY,
            "us.yaml:6: federation.clusters[0].initial_version is 10; write a number from 1 to 9, "
            "below federation.increment"},
        {"cluster:\n  name: us\n  shards: 2\n  executors: 3\n"
         "federation: {clusters: [{name: us, initial_version: 1}]}\n" MEMORY,
            "us.yaml:4: cluster.executors is 3; write at most 2, because every executor needs a "
            "shard"},
        {HEAD "      grpc: us.example.com\n" MEMORY,
            "us.yaml:7: federation.clusters[0].grpc is no address; write host:port, such as "
            "strait.example.com:7233"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void several_clusters_differ_and_have_nats(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {HEAD SECOND MEMORY,
            "us.yaml:5: federation.clusters[0].nats.url is missing; several clusters need one "
            "each, such as nats://127.0.0.1:4222"},
        {HEAD_NATS SECOND MEMORY,
            "us.yaml:8: federation.clusters[1].nats.url is missing; several clusters need one "
            "each, such as nats://127.0.0.1:4222"},
        {HEAD_NATS "    - name: us\n      initial_version: 2\n" MEMORY,
            "us.yaml:8: federation.clusters[1].name is \"us\" again; give every cluster a name of "
            "its own"},
        {HEAD_NATS "    - name: eu\n      initial_version: 1\n" MEMORY,
            "us.yaml:9: federation.clusters[1].initial_version is 1, like that of us; give every "
            "cluster one of its own"},
        {HEAD_NATS SECOND "      nats: {url: nats://b}\n" MEMORY, "accepted"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void nats_settings_are_checked(void **state)
{
    (void)state;
    static const char *const bad_urls[] = {"127.0.0.1:4222", "http://a", "nats://", "nats://a,b",
        "nats://a, nats://b", "nats://a,", "''"};
    for (size_t i = 0; i < ARRAY_LEN(bad_urls); i++) {
        char text[300];
        (void)snprintf(
            text, sizeof(text), HEAD "      nats:\n        url: %s\n" MEMORY, bad_urls[i]);
        assert_reason(text,
            "us.yaml:8: federation.clusters[0].nats.url is not usable; write nats://host:port or "
            "tls://host:port, several with commas");
    }
    static const struct refusal refusals[] = {
        {HEAD "      nats:\n        user: u\n        token: t\n" MEMORY,
            "us.yaml:7: federation.clusters[0].nats has several ways to log in; keep one of user, "
            "token, credentials_file and nkey_seed_file"},
        {HEAD "      nats:\n        url: nats://a\n        password: hush\n" MEMORY,
            "us.yaml:9: federation.clusters[0].nats.password has no user; add nats.user, or use "
            "nats.token"},
        {HEAD "      nats: {tls_cert_file: x}\n" MEMORY,
            "us.yaml:7: federation.clusters[0].nats has half a client certificate; set "
            "tls_cert_file and tls_key_file or neither"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void database_settings_fit_the_driver(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {HEAD "database:\n  driver: sqlite\n",
            "us.yaml:7: database.file is missing; sqlite needs the file to keep"},
        {HEAD "database:\n  driver: sqlite\n  file: x\n", "accepted"},
        {HEAD "database:\n  driver: sqlite\n  file: x\n  host: y\n",
            "us.yaml:10: database.host belongs to postgres and mariadb; remove it"},
        {HEAD "database:\n  driver: memory\n  file: x\n",
            "us.yaml:9: database.file belongs to sqlite; remove it"},
        {HEAD "database:\n  driver: memory\n  tls: require\n",
            "us.yaml:9: database.tls belongs to postgres and mariadb; remove it"},
        {HEAD "database:\n  driver: postgres\n",
            "us.yaml:7: database.host is missing; set it, or database.socket"},
        {HEAD "database:\n  driver: postgres\n  host: a\n  socket: /b\n",
            "us.yaml:10: database.socket is set, and so is database.host; keep the one to connect "
            "to"},
        {HEAD "database:\n  driver: postgres\n  host: a\n  file: x\n",
            "us.yaml:10: database.file belongs to sqlite; remove it"},
        {HEAD "database:\n  driver: postgres\n  socket: /b\n  port: 5433\n", "accepted"},
        {HEAD "database:\n  driver: mariadb\n  socket: /b\n  port: 5433\n",
            "us.yaml:10: database.port has no meaning with a socket; remove it"},
        {HEAD "database:\n  driver: mariadb\n  socket: /b\n  tls: require\n",
            "us.yaml:10: database.tls has no meaning with a socket; remove it"},
        {HEAD "database:\n  driver: postgres\n  host: a\n  tls: verify-full\n",
            "us.yaml:7: database.tls_ca_file is missing; verify-full needs the certificates to "
            "trust"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void addresses_and_certificates_are_checked(void **state)
{
    (void)state;
    static const char *const bad_addresses[] = {"7233", "localhost", "a:b", "a:", "a:65536", "::1",
        "::1:7233", "http://a:7233", "a:123456", "a b:1"};
    for (size_t i = 0; i < ARRAY_LEN(bad_addresses); i++) {
        char text[300];
        (void)snprintf(text, sizeof(text), HEAD MEMORY "listen:\n  grpc: '%s'\n", bad_addresses[i]);
        assert_reason(
            text, "us.yaml:9: listen.grpc is no address; write host:port, such as 0.0.0.0:7233");
    }
    static const struct refusal refusals[] = {
        {HEAD MEMORY "listen: {grpc: '[::1]:7233', console: ':0'}\n", "accepted"},
        {HEAD MEMORY "listen: {grpc: 'a:0', console: 'a:0'}\n", "accepted"},
        {HEAD MEMORY "listen:\n  grpc: a:1\n  console: a:1\n",
            "us.yaml:10: listen.console is also listen.grpc; give it another port"},
        {HEAD MEMORY "listen:\n  console: on\n",
            "us.yaml:9: listen.console is no address; write host:port, such as 127.0.0.1:8233, or "
            "off"},
        {HEAD MEMORY "tls:\n  cert_file: x\n",
            "us.yaml:8: tls has half a certificate; set cert_file and key_file or neither"},
        {HEAD MEMORY "tls:\n  client_ca_file: x\n",
            "us.yaml:9: tls.client_ca_file needs cert_file and key_file: clients can only be asked "
            "for theirs over TLS"},
        {HEAD MEMORY "retention:\n  default: 3 days\n",
            "us.yaml:9: retention.default is no span of time; write a number with s, m, h or d, "
            "such as 3d"},
        {HEAD MEMORY "retention:\n  default: 59m\n",
            "us.yaml:9: retention.default is out of range; write 1h to 3660d"},
        {HEAD MEMORY "retention:\n  default: 3661d\n",
            "us.yaml:9: retention.default is out of range; write 1h to 3660d"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

static void references_are_checked(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {HEAD "database:\n  driver: postgres\n  host: a\n  password: x${STRAIT_TEST_UNSET}\n",
            "us.yaml:10: database.password refers to the environment variable STRAIT_TEST_UNSET, "
            "which is not set; export it"},
        {HEAD "      grpc: ${STRAIT_TEST_UNSET}\n" MEMORY,
            "us.yaml:7: federation.clusters[0].grpc refers to the environment variable "
            "STRAIT_TEST_UNSET, which is not set; export it"},
        {HEAD MEMORY "listen:\n  grpc: ${not a name}:7233\n",
            "us.yaml:9: listen.grpc has a ${ that is no reference; write ${NAME}, or $${ for a "
            "plain ${"},
        {HEAD MEMORY "listen:\n  grpc: ${STRAIT\n",
            "us.yaml:9: listen.grpc has a ${ that is no reference; write ${NAME}, or $${ for a "
            "plain ${"},
    };
    assert_reasons(refusals, ARRAY_LEN(refusals));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys_are_refused),
        cmocka_unit_test(wrong_types_are_refused),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(choices_are_named),
        cmocka_unit_test(what_is_required_is_missed),
        cmocka_unit_test(yaml_itself_may_be_wrong),
        cmocka_unit_test(clusters_are_checked),
        cmocka_unit_test(several_clusters_differ_and_have_nats),
        cmocka_unit_test(nats_settings_are_checked),
        cmocka_unit_test(database_settings_fit_the_driver),
        cmocka_unit_test(addresses_and_certificates_are_checked),
        cmocka_unit_test(references_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
