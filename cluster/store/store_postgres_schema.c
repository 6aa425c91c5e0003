/* SPDX-License-Identifier: Apache-2.0
 *
 * Migrations on PostgreSQL. DDL is transactional: a migration, its version number and the lock
 * that keeps other nodes out are one transaction. The lock is the row of schema_version, because
 * advisory locks and LOCK TABLE do not exist on every server that speaks this protocol.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/schema.h"
#include "cluster/store/store_postgres.h"

#define DRIVER "postgres"

/** Executes statements; the first column of the first row goes to *ret_number when not NULL, -1
 *  when there is no row. */
static enum err execute(PGconn *conn, const char *sql, int *ret_number, char text[256])
{
    PGresult *result = PQexec(conn, sql);
    enum err err = OK;
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        err = postgres_sqlstate_err(PQresultErrorField(result, PG_DIAG_SQLSTATE));
        postgres_reason(text, "migrate", PQresultErrorMessage(result));
    } else if (ret_number) {
        *ret_number = PQntuples(result) > 0 ? atoi(PQgetvalue(result, 0, 0)) : -1;
    }
    PQclear(result);
    return err;
}

static enum err check_version(int version, char text[256])
{
    int newest = schema_version_max(DRIVER);
    if (version == newest)
        return OK;
    if (version > newest)
        (void)snprintf(text, 256, "the database's schema version %d is newer than this build's %d",
            version, newest);
    else
        (void)snprintf(
            text, 256, "the database's schema version is %d, this build needs %d", version, newest);
    return ERR_VERSION;
}

static enum err read_version(PGconn *conn, int *ret_version, char text[256])
{
    int exists = 0;
    enum err err = execute(conn,
        "SELECT count(*) FROM information_schema.tables "
        "WHERE table_name = 'schema_version' AND table_schema = current_schema()",
        &exists, text);
    if (err || exists == 0) {
        *ret_version = 0;
        return err;
    }
    err = execute(conn, "SELECT version FROM schema_version WHERE id = 0", ret_version, text);
    if (err == OK && *ret_version < 0)
        *ret_version = 0;
    return err;
}

/** Creates the table and its row. Nodes that start together collide here, harmlessly. */
static enum err create_version_table(PGconn *conn, char text[256])
{
    enum err err = OK;
    for (int attempt = 0; attempt < 5; attempt++) {
        err = execute(conn,
            "CREATE TABLE IF NOT EXISTS schema_version "
            "(id integer PRIMARY KEY, version integer NOT NULL)",
            NULL, text);
        if (err == OK)
            break;
    }
    if (err == OK)
        err = execute(conn,
            "INSERT INTO schema_version (id, version) VALUES (0, 0) ON CONFLICT (id) DO NOTHING",
            NULL, text);
    return err;
}

/** One transaction: lock, read, the next migration if there is one. *ret_version: the new state. */
static enum err migrate_once(PGconn *conn, int *ret_version, char text[256])
{
    int version = 0;
    enum err err =
        execute(conn, "SELECT version FROM schema_version WHERE id = 0 FOR UPDATE", &version, text);
    const struct schema_migration *next = err == OK ? schema_next(DRIVER, version) : NULL;
    if (next) {
        err = execute(conn, next->text, NULL, text);
        char update[80];
        (void)snprintf(update, sizeof(update),
            "UPDATE schema_version SET version = %d WHERE id = 0", next->number);
        if (err == OK)
            err = execute(conn, update, NULL, text);
        version = next->number;
    }
    *ret_version = version;
    return err;
}

static enum err migrate(PGconn *conn, int *ret_version, char text[256])
{
    enum err err = create_version_table(conn, text);
    int version = -1;
    while (err == OK) {
        int before = version;
        err = execute(conn, "BEGIN", NULL, text);
        if (err == OK)
            err = migrate_once(conn, &version, text);
        if (err == OK)
            err = execute(conn, "COMMIT", NULL, text);
        if (err == OK && (version == before || !schema_next(DRIVER, version)))
            break;
    }
    *ret_version = version;
    return err;
}

enum err postgres_migrate(const struct postgres_database *database, char text[256])
{
    enum err err = OK;
    PGconn *conn = postgres_connect(database, &err, text);
    if (!conn)
        return err;
    int version = 0;
    err = read_version(conn, &version, text);
    if (err == OK && database->options.migrate && version < schema_version_max(DRIVER))
        err = migrate(conn, &version, text);
    if (err == OK)
        err = check_version(version, text);
    PQfinish(conn);
    return err;
}
