/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs commands in this process and keeps what they print; a server that answers what it is told.
 */
#ifndef CLUSTER_CLI_TESTS_CLI_FIXTURE_H
#define CLUSTER_CLI_TESTS_CLI_FIXTURE_H

#include "cluster/base/call.h"
#include "cluster/base/tests/support_cmocka.h"

struct printed {
    int status;
    char out[65536];
    char err[16384];
};

/** Runs `strait` with these words (separated by blanks; ' quotes). Static memory. */
const struct printed *run_cli(const char *words);
/** The same with "--address <the server>" behind. */
const struct printed *run_against_server(const char *words);

/** Ends calls; runs on a gRPC thread. */
extern void (*server_answer)(struct call *call);
void server_open(void);
void server_close(void);

#endif
