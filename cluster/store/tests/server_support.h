/* SPDX-License-Identifier: Apache-2.0
 *
 * Private database servers for tests: started once per process in a temporary directory, on a Unix
 * socket, stopped and removed at exit.
 */
#ifndef CLUSTER_STORE_TESTS_SERVER_SUPPORT_H
#define CLUSTER_STORE_TESTS_SERVER_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "cluster/store/store.h"

#define SERVER_REASON_BYTES 256

/** Fills driver, address and name of a *new empty* database on the private server (the server is
 *  started by the first call). Strings live until exit. False: no server here; `reason` (at least
 *  SERVER_REASON_BYTES) says why, and the caller skips its tests. */
bool server_support_postgres(struct store_options *ret, char *reason);
bool server_support_mariadb(struct store_options *ret, char *reason);

/** Cuts every client connection on the server of that driver ("postgres", "mariadb"), as a
 *  restarting proxy would; returns when they are gone. */
void server_support_kill_connections(const char *driver);

/** Runs a statement as administrator in the database `name`; for migration tests. */
bool server_support_execute(const char *driver, const char *name, const char *sql);

#endif
