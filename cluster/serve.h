/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that run nodes in this process.
 */
#ifndef CLUSTER_SERVE_H
#define CLUSTER_SERVE_H

/** strait server --config FILE [--check] */
int cmd_server(int argc, char **argv);
/** strait dev: everything in one process. */
int cmd_dev(int argc, char **argv);
/** strait demo: what `make run` shows. */
int cmd_demo(int argc, char **argv);

/** Blocks SIGTERM, SIGINT and SIGPIPE in this and all threads started later. First thing in main.
 *  */
void signals_block(void);
/** Sleeps until SIGTERM or SIGINT. Returns the signal. */
int signals_wait(void);

#endif
