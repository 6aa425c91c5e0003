/* SPDX-License-Identifier: Apache-2.0
 *
 * Help texts, made from the tables of commands.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/cli/cli_private.h"

const struct cli_option cli_global_options[] = {
    {"address", 0, "HOST:PORT",
        "server (default $STRAIT_ADDRESS, $TEMPORAL_ADDRESS, 127.0.0.1:7233)"},
    {"namespace", 'n', "NAME", "namespace of workflow commands (default: default)"},
    {"output", 'o', "FORMAT", "table or json (default table)"},
    {"timeout", 0, "SPAN", "how long to wait for the server (default 10s)"},
    {"tls", 0, NULL, "use TLS, with the system's certificate authorities"},
    {"tls-ca-file", 0, "FILE", "use TLS, with these certificate authorities"},
    {"tls-cert-file", 0, "FILE", "client certificate"},
    {"tls-key-file", 0, "FILE", "its key"},
    {"tls-server-name", 0, "NAME", "name expected in the server's certificate"},
    {"help", 'h', NULL, "this text"},
};
const size_t cli_global_option_count = ARRAY_LEN(cli_global_options);

static void print_options(const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char left[64];
        char letter[8] = "";
        if (options[i].letter)
            snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, options[i].name,
            options[i].argument ? " " : "", options[i].argument ? options[i].argument : "");
        printf("  %-28s %s\n", left, options[i].help);
    }
}

static void print_line(const struct cli_command *command)
{
    char left[96];
    snprintf(left, sizeof(left), "%s%s%s%s%s", command->group, *command->name ? " " : "",
        command->name, *command->arguments ? " " : "", command->arguments);
    printf("  %-38s %s\n", left, command->what);
}

void cli_help_command(const struct cli_command *command)
{
    printf("usage: strait %s%s%s%s%s [OPTIONS]\n\n%s.\n", command->group, *command->name ? " " : "",
        command->name, *command->arguments ? " " : "", command->arguments, command->what);
    if (command->more)
        printf("\n%s\n", command->more);
    if (command->option_count) {
        printf("\nOptions:\n");
        print_options(command->options, command->option_count);
    }
    printf("\nOptions of every command:\n");
    print_options(cli_global_options, cli_global_option_count);
    printf("\nExit status: 0 = done, 1 = failed, 2 = wrong usage.\n");
}

void cli_help_group(const char *group, const struct cli_command *commands, size_t count)
{
    printf("usage: strait %s ... [OPTIONS]\n\n", group);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i].group, group) == 0)
            print_line(&commands[i]);
    }
    printf("\nThe command with --help tells more. Options of every command:\n");
    print_options(cli_global_options, cli_global_option_count);
}
