/* SPDX-License-Identifier: Apache-2.0
 *
 * A database file, then a database in memory.
 */
#include "cluster/store/tests/store_fixture.h"
#include "cluster/store/tests/support_sqlite.h"

int main(void)
{
    const struct conformance_driver file = {
        .name = "sqlite",
        .create = support_sqlite_file,
        .execute = support_sqlite_execute,
        .shareable = true,
    };
    const struct conformance_driver memory = {
        .name = "sqlite in memory",
        .create = support_sqlite_memory,
    };
    int failed = conformance_main(&file);
    return conformance_main(&memory) + failed;
}
