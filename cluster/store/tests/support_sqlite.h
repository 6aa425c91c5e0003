/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite files for tests, in a directory of their own that is removed at exit.
 */
#ifndef CLUSTER_STORE_TESTS_SUPPORT_SQLITE_H
#define CLUSTER_STORE_TESTS_SUPPORT_SQLITE_H

#include <stdbool.h>

#include "cluster/store/store.h"

/** Options of a new file; the strings live until exit. */
bool support_sqlite_file(struct store_options *ret, char *reason);
/** Options of a new in-memory database. */
bool support_sqlite_memory(struct store_options *ret, char *reason);
bool support_sqlite_execute(const struct store_options *options, const char *sql);

#endif
