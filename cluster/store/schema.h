/* SPDX-License-Identifier: Apache-2.0
 *
 * The migrations compiled into this build, from cluster/store/schema/<driver>/NNN_name.sql.
 *
 * A driver applies those whose number is above the database's schema_version, in order, under a
 * lock, and refuses a database whose version is above schema_version_max() of its name.
 *
 * The generated header declares `struct schema_migration {driver, number, name, text}`. A text
 * holds several statements, each ended by a semicolon at the end of a line.
 */
#ifndef CLUSTER_STORE_SCHEMA_H
#define CLUSTER_STORE_SCHEMA_H

#include <schema.h>

/** The driver's first migration above `version`; NULL = up to date. */
const struct schema_migration *schema_next(const char *driver, int version);
/** The newest schema version that this build knows; 0 = none. */
int schema_version_max(const char *driver);

#endif
