/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: everything that talks to a running server over gRPC.
 */
#ifndef CLUSTER_CLI_CLI_H
#define CLUSTER_CLI_CLI_H

#include <stdbool.h>

/** True when `command` (argv[1]) is one of ours. */
bool cli_has(const char *command);
/** Runs a command; argv[1] is its name. Exit status: 0, 1 = failed, 2 = wrong usage. */
int cli_main(int argc, char **argv);
/** The list of commands for `strait help`, one per line with what it does. */
void cli_print_commands(void);

/** strait load: raw gRPC load against any address (cmd_load.c). */
int cmd_load(int argc, char **argv);

#endif
