/* SPDX-License-Identifier: Apache-2.0
 *
 * Which command it is.
 */
#include "cluster/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "cluster/cli/cli_private.h"
#include "cluster/rpc/rpc_client.h"

static const struct {
    const char *group;
    const char *what;
    const struct cli_command *commands;
    const size_t *count;
} groups[] = {
    {"namespace", "create, change, show and delete namespaces", cli_namespace_commands,
        &cli_namespace_command_count},
    {"failover", "move a namespace to another cluster", cli_failover_commands,
        &cli_failover_command_count},
    {"cluster", "the clusters and whether they hear each other", cli_cluster_commands,
        &cli_cluster_command_count},
    {"replication", "how far behind, compared, dead letters", cli_cluster_commands,
        &cli_cluster_command_count},
    {"workflow", "start, look at and influence workflows", cli_workflow_commands,
        &cli_workflow_command_count},
};

/* The number of words of the command that stand at argv[2], or -1. */
static int words_match(const struct cli_command *command, int argc, char **argv)
{
    const char *at = command->name;
    int words = 0;
    while (*at) {
        size_t len = strcspn(at, " ");
        if (words + 2 >= argc || strlen(argv[words + 2]) != len ||
            strncmp(argv[words + 2], at, len) != 0)
            return -1;
        words++;
        at += len;
        at += strspn(at, " ");
    }
    return words;
}

/* `failover list --to eu` means the namespace "list". */
static bool shadowed(const struct cli_command *command, int argc, char **argv)
{
    if (strcmp(command->group, "failover") != 0 || !*command->name)
        return false;
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--to", 4) == 0)
            return true;
    }
    return false;
}

static const struct cli_command *find(size_t group, int argc, char **argv, int *ret_words)
{
    const struct cli_command *found = NULL;
    *ret_words = -1;
    for (size_t i = 0; i < *groups[group].count; i++) {
        const struct cli_command *command = &groups[group].commands[i];
        if (strcmp(command->group, groups[group].group) != 0 || shadowed(command, argc, argv))
            continue;
        int words = words_match(command, argc, argv);
        if (words > *ret_words) {
            *ret_words = words;
            found = command;
        }
    }
    return found;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static int run(const struct cli_command *command, int argc, char **argv, int words)
{
    struct cli cli = {.command = command};
    int status = cli_parse(&cli, argc, argv, words);
    if (status < 0)
        status = command->run(&cli);
    if (cli.client)
        rpc_client_close(cli.client);
    arena_release(&cli.arena);
    return status;
}

static int run_group(size_t group, int argc, char **argv)
{
    const char *name = groups[group].group;
    int words;
    const struct cli_command *command = find(group, argc, argv, &words);
    bool whole_group = argc > 2 && is_help(argv[2]);
    if (whole_group &&
        (!command || strcmp(argv[2], "help") == 0 || strcmp(name, "failover") == 0)) {
        cli_help_group(name, groups[group].commands, *groups[group].count);
        return CLI_OK;
    }
    if (command)
        return run(command, argc, argv, words);
    if (argc > 2)
        fprintf(stderr, "strait %s: %s is not known here; strait %s --help lists what is\n", name,
            argv[2], name);
    else
        fprintf(
            stderr, "strait %s: what about it? strait %s --help lists what there is\n", name, name);
    return CLI_USAGE;
}

bool cli_has(const char *command)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (strcmp(groups[i].group, command) == 0)
            return true;
    }
    return strcmp(command, "load") == 0;
}

int cli_main(int argc, char **argv)
{
    CHECK(argc > 1);
    if (strcmp(argv[1], "load") == 0)
        return cmd_load(argc - 1, argv + 1);
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (strcmp(groups[i].group, argv[1]) == 0)
            return run_group(i, argc, argv);
    }
    fprintf(stderr, "strait: %s is not a command; strait help lists them\n", argv[1]);
    return CLI_USAGE;
}

void cli_print_commands(void)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        printf("  %-24s %s\n", groups[i].group, groups[i].what);
    printf("  %-24s %s\n", "load", "put load on any server that speaks the API, and measure it");
}
