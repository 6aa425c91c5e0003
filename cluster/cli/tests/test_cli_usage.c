/* SPDX-License-Identifier: Apache-2.0
 *
 * Wrong usage, word by word, and help.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cli/cli.h"
#include "cluster/cli/cli_private.h"
#include "cluster/cli/tests/cli_fixture.h"

static const struct {
    const char *words;
    const char *err;
} wrong[] = {
    {"namespace", "strait namespace: what about it? strait namespace --help lists what there "
                  "is\n"},
    {"namespace frobnicate",
        "strait namespace: frobnicate is not known here; strait namespace --help lists what "
        "is\n"},
    {"namespace create",
        "strait namespace create: NAME is missing; see strait namespace create --help\n"},
    {"namespace create a b",
        "strait namespace create: b is not expected here; see strait namespace create "
        "--help\n"},
    {"namespace create a --clusters us,,eu",
        "strait namespace create: --clusters: write names separated by commas, without blanks; "
        "see strait namespace create --help\n"},
    {"namespace create a --clusters us,",
        "strait namespace create: --clusters: write names separated by commas, without blanks; "
        "see strait namespace create --help\n"},
    {"namespace create a --retention 3",
        "strait namespace create: --retention 3: write a span such as 500ms, 10s, 15m, 12h or "
        "3d; see strait namespace create --help\n"},
    {"namespace create a --what",
        "strait namespace create: --what is not an option; see strait namespace create "
        "--help\n"},
    {"namespace create a --active",
        "strait namespace create: --active needs a value; see strait namespace create "
        "--help\n"},
    {"namespace create a -x",
        "strait namespace create: -x is not an option; see strait namespace create --help\n"},
    {"namespace update a",
        "strait namespace update: nothing is to be changed: give --clusters, --retention, "
        "--ack, --description or --owner; see strait namespace update --help\n"},
    {"namespace delete a",
        "strait namespace delete: this ends namespace a in all its clusters: say so with "
        "--yes; see strait namespace delete --help\n"},
    {"namespace list --output yaml",
        "strait namespace list: --output yaml: write table or json; see strait namespace list "
        "--help\n"},
    {"namespace list --tls=yes",
        "strait namespace list: --tls takes no value; see strait namespace list --help\n"},
    {"failover", "strait failover: NAMESPACE is missing; see strait failover --help\n"},
    {"failover orders", "strait failover: --to CLUSTER is missing; see strait failover "
                        "--help\n"},
    {"failover orders --to eu --accept-loss",
        "strait failover: --accept-loss belongs to --force; see strait failover --help\n"},
    {"failover orders --to eu --force --deadline 1s",
        "strait failover: --deadline is for a graceful failover, without --force; see strait "
        "failover --help\n"},
    {"failover orders --to eu --deadline 11m",
        "strait failover: --deadline may be at most 10m; see strait failover --help\n"},
    {"failover list",
        "strait failover list: NAMESPACE is missing; see strait failover list --help\n"},
    {"replication", "strait replication: what about it? strait replication --help lists what "
                    "there is\n"},
    {"replication dlq",
        "strait replication: dlq is not known here; strait replication --help lists what "
        "is\n"},
    {"replication dlq list --limit 0",
        "strait replication dlq list: --limit 0: write a number from 1 to 1000; see strait "
        "replication dlq list --help\n"},
    {"replication verify",
        "strait replication verify: NAMESPACE is missing; see strait replication verify "
        "--help\n"},
    {"workflow start --type t",
        "strait workflow start: --type and --task-queue are needed; see strait workflow start "
        "--help\n"},
    {"workflow start --type t -t q --input abc",
        "strait workflow start: --input abc: is not JSON (text needs its own quotes: --input "
        "'\"text\"'); see strait workflow start --help\n"},
    {"workflow signal w",
        "strait workflow signal: --name is needed; see strait workflow signal --help\n"},
    {"workflow describe",
        "strait workflow describe: WORKFLOW_ID is missing; see strait workflow describe "
        "--help\n"},
    {"workflow list --limit many",
        "strait workflow list: --limit many: write a number from 1 to 1000000; see strait "
        "workflow list --help\n"},
};

static void wrong_usage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const struct printed *printed = run_cli(wrong[i].words);
        assert_string_equal(printed->err, wrong[i].err);
        assert_string_equal(printed->out, "");
        assert_int_equal(printed->status, CLI_USAGE);
    }
}

static void nobody_answers(void **state)
{
    (void)state;
    const struct printed *printed = run_cli("namespace list --address 127.0.0.1:1");
    assert_int_equal(printed->status, CLI_FAILED);
    assert_string_equal(printed->out, "");
    assert_non_null(
        strstr(printed->err, "strait namespace list: no server answers at 127.0.0.1:1 ("));
    assert_non_null(strstr(printed->err, "--address, STRAIT_ADDRESS"));
    assert_ptr_equal(strchr(printed->err, '\n'), printed->err + strlen(printed->err) - 1);
}

static void address_from_the_environment(void **state)
{
    (void)state;
    setenv("TEMPORAL_ADDRESS", "127.0.0.1:2", 1);
    assert_non_null(strstr(run_cli("cluster list")->err, "at 127.0.0.1:2 ("));
    setenv("STRAIT_ADDRESS", "127.0.0.1:3", 1);
    assert_non_null(strstr(run_cli("cluster list")->err, "at 127.0.0.1:3 ("));
    assert_non_null(strstr(run_cli("cluster list --address 127.0.0.1:4")->err, "127.0.0.1:4 ("));
    unsetenv("STRAIT_ADDRESS");
    unsetenv("TEMPORAL_ADDRESS");
}

static void help_of_a_command(void **state)
{
    (void)state;
    const struct printed *printed = run_cli("failover orders --help");
    assert_int_equal(printed->status, CLI_OK);
    assert_string_equal(printed->err, "");
    assert_string_equal(printed->out,
        "usage: strait failover NAMESPACE [OPTIONS]\n\n"
        "Move a namespace to another cluster.\n\n"
        "Graceful, without --force: loses nothing; writes wait for some milliseconds, and if the\n"
        "target does not catch up within --deadline, everything stays as it was. Any cluster may\n"
        "be asked; the active one does it.\n\n"
        "With --force the target takes over alone, for when the active cluster is gone. Without\n"
        "--accept-loss it only prints what is known to be missing and changes nothing.\n\n"
        "Options:\n"
        "  --to CLUSTER                 where it is to be active\n"
        "  --force                      take over without the active cluster; says what may be "
        "lost\n"
        "  --accept-loss                with --force: really\n"
        "  --deadline SPAN              graceful: how long writes may wait (default: the server's, "
        "10s)\n"
        "  --reason TEXT                kept in the history\n\n"
        "Options of every command:\n"
        "  --address HOST:PORT          server (default $STRAIT_ADDRESS, $TEMPORAL_ADDRESS, "
        "127.0.0.1:7233)\n"
        "  -n, --namespace NAME         namespace of workflow commands (default: default)\n"
        "  -o, --output FORMAT          table or json (default table)\n"
        "  --timeout SPAN               how long to wait for the server (default 10s)\n"
        "  --tls                        use TLS, with the system's certificate authorities\n"
        "  --tls-ca-file FILE           use TLS, with these certificate authorities\n"
        "  --tls-cert-file FILE         client certificate\n"
        "  --tls-key-file FILE          its key\n"
        "  --tls-server-name NAME       name expected in the server's certificate\n"
        "  -h, --help                   this text\n\n"
        "Exit status: 0 = done, 1 = failed, 2 = wrong usage.\n");
}

static const struct {
    const struct cli_command *commands;
    const size_t *count;
} tables[] = {{cli_namespace_commands, &cli_namespace_command_count},
    {cli_failover_commands, &cli_failover_command_count},
    {cli_cluster_commands, &cli_cluster_command_count},
    {cli_workflow_commands, &cli_workflow_command_count}};

static void help_of_everything(void **state)
{
    (void)state;
    static const char *const groups[] = {
        "namespace", "failover", "cluster", "replication", "workflow"};
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        char words[64];
        snprintf(words, sizeof(words), "%s --help", groups[i]);
        const struct printed *printed = run_cli(words);
        assert_int_equal(printed->status, CLI_OK);
        assert_non_null(strstr(printed->out, "usage: strait "));
        assert_true(cli_has(groups[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        for (size_t k = 0; k < *tables[i].count; k++) {
            const struct cli_command *command = &tables[i].commands[k];
            char words[128];
            snprintf(words, sizeof(words), "%s %s%sx --help", command->group, command->name,
                *command->name ? " " : "");
            const struct printed *printed = run_cli(words);
            assert_int_equal(printed->status, CLI_OK);
            assert_non_null(strstr(printed->out, command->what));
        }
    }
    assert_true(cli_has("load"));
    assert_false(cli_has("server"));
    assert_false(cli_has(""));
}

/* Every command and every option of its own has its place in the manual. */
static void the_manual_is_complete(void **state)
{
    (void)state;
    static char text[65536];
    FILE *file = fopen("docs/cli.md", "r");
    if (!file)
        skip(); /* not run from the top of the repository */
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = 0;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        for (size_t k = 0; k < *tables[i].count; k++) {
            const struct cli_command *command = &tables[i].commands[k];
            char words[128];
            (void)snprintf(words, sizeof(words), "`strait %s%s%s", command->group,
                *command->name ? " " : "", command->name);
            if (!strstr(text, words))
                fail_msg("docs/cli.md lacks %s", words);
            for (size_t o = 0; o < command->option_count; o++) {
                (void)snprintf(words, sizeof(words), "--%s", command->options[o].name);
                if (!strstr(text, words))
                    fail_msg("docs/cli.md lacks %s", words);
            }
        }
    }
}

int main(void)
{
    unsetenv("STRAIT_ADDRESS");
    unsetenv("TEMPORAL_ADDRESS");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(address_from_the_environment),
        cmocka_unit_test(help_of_a_command),
        cmocka_unit_test(help_of_everything),
        cmocka_unit_test(the_manual_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
