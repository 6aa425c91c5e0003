/* SPDX-License-Identifier: Apache-2.0 */
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
    const struct conformance_driver driver = {
        .name = "mariadb",
        .create = server_support_mariadb,
        .kill_connections = kill_connections,
        .execute = execute,
        .shareable = true,
    };
    return conformance_main(&driver);
}
