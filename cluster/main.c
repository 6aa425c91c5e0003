/* SPDX-License-Identifier: Apache-2.0
 *
 * strait: one binary, subcommands.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/cli/cli.h"
#include "cluster/serve.h"
#include "cluster/version.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"server", cmd_server, "run one node of one cluster"},
    {"dev", cmd_dev, "run clusters for development, everything in one process"},
    {"demo", cmd_demo, "two clusters, workflows, a failover, a proof"},
};

static void print_help(void)
{
    printf("strait %s: durable workflows that survive the loss of a region\n\n"
           "usage: strait COMMAND [ARGUMENTS]    (strait COMMAND --help tells more)\n\n",
        STRAIT_VERSION);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        printf("  %-24s %s\n", commands[i].name, commands[i].what);
    cli_print_commands();
    printf("  %-24s %s\n", "version", "print the release");
    printf("  %-24s %s\n", "help", "this list");
}

int main(int argc, char **argv)
{
    signals_block();
    const char *command = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(command, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        printf("strait %s\n", STRAIT_VERSION);
        return 0;
    }
    if (cli_has(command))
        return cli_main(argc, argv);
    if (*command)
        fprintf(stderr, "strait: %s is not a command; `strait help` lists them\n", command);
    else
        fprintf(stderr, "strait: a command is missing; `strait help` lists them\n");
    return 2;
}
