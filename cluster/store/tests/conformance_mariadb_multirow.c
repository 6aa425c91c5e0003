/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance suite on statements of several rows instead of MariaDB's bulk operations: what
 * MySQL gets.
 */
#include <stdlib.h>

#include "cluster/store/tests/server_support.h"
#include "cluster/store/tests/store_fixture.h"

static void kill_connections(void)
{
    server_support_kill_connections("mariadb");
}

static bool execute(const struct store_options *options, const char *sql)
{
    return server_support_execute("mariadb", options->name, sql);
}

int main(void)
{
    if (setenv("STRAIT_MARIADB_NO_BULK", "1", 1) != 0)
        return 1;
    const struct conformance_driver driver = {
        .name = "mariadb",
        .create = server_support_mariadb,
        .kill_connections = kill_connections,
        .execute = execute,
        .shareable = true,
    };
    return conformance_main(&driver);
}
