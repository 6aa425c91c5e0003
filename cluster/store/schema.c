/* SPDX-License-Identifier: Apache-2.0
 *
 * Lookup in the generated list of migrations (sorted by driver, then number).
 */
#include "cluster/store/schema.h"

#include <string.h>

const struct schema_migration *schema_next(const char *driver, int version)
{
    for (size_t i = 0; i < schema_migrations_count; i++) {
        const struct schema_migration *migration = &schema_migrations[i];
        if (strcmp(migration->driver, driver) == 0 && migration->number > version)
            return migration;
    }
    return NULL;
}

int schema_version_max(const char *driver)
{
    int max = 0;
    for (size_t i = 0; i < schema_migrations_count; i++) {
        const struct schema_migration *migration = &schema_migrations[i];
        if (strcmp(migration->driver, driver) == 0 && migration->number > max)
            max = migration->number;
    }
    return max;
}
