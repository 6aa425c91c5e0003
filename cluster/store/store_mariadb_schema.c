/* SPDX-License-Identifier: Apache-2.0
 *
 * Migrations on MariaDB. DDL ends the transaction of its own connection, so there are two: one
 * holds the lock, which is the row of schema_version (GET_LOCK and LOCK TABLES do not work on
 * clusters), the other executes. A node that dies in between leaves a migration half done and its
 * number not written; the next node executes it again, which is why its statements must be
 * repeatable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/schema.h"
#include "cluster/store/store_mariadb.h"

#define DRIVER "mariadb"

/** Executes one statement; the first column of the first row goes to *ret_number when not NULL, -1
 *  when there is no row. */
static enum err execute(MYSQL *conn, const char *sql, size_t len, int *ret_number, char text[256])
{
    if (mysql_real_query(conn, sql, len) != 0) {
        (void)snprintf(text, 256, "migrate: %s (%u)", mysql_error(conn), mysql_errno(conn));
        return mariadb_errno_err(mysql_errno(conn));
    }
    MYSQL_RES *result = mysql_store_result(conn);
    if (!result)
        return OK;
    MYSQL_ROW row = mysql_fetch_row(result);
    if (ret_number)
        *ret_number = row && row[0] ? atoi(row[0]) : -1;
    mysql_free_result(result);
    return OK;
}

static enum err execute_text(MYSQL *conn, const char *sql, int *ret_number, char text[256])
{
    return execute(conn, sql, strlen(sql), ret_number, text);
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

static enum err read_version(MYSQL *conn, int *ret_version, char text[256])
{
    int exists = 0;
    *ret_version = 0;
    enum err err = execute_text(conn,
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() "
        "AND table_name = 'schema_version'",
        &exists, text);
    if (err || exists == 0)
        return err;
    err = execute_text(conn, "SELECT version FROM schema_version WHERE id = 0", ret_version, text);
    if (err == OK && *ret_version < 0)
        *ret_version = 0;
    return err;
}

/** Executes the statements of a migration: each ends with a semicolon at the end of a line. */
static enum err execute_all(MYSQL *conn, const char *sql, char text[256])
{
    while (*sql) {
        const char *end = strstr(sql, ";\n");
        if (!end)
            return OK; /* blank lines or a comment */
        enum err err = execute(conn, sql, (size_t)(end - sql), NULL, text);
        if (err)
            return err;
        sql = end + 2;
    }
    return OK;
}

/** Lock, read, the next migration if there is one, its number. *ret_version: the new state. */
static enum err migrate_once(MYSQL *locker, MYSQL *worker, int *ret_version, char text[256])
{
    int version = 0;
    enum err err = execute_text(locker, "BEGIN", NULL, text);
    if (err == OK)
        err = execute_text(
            locker, "SELECT version FROM schema_version WHERE id = 0 FOR UPDATE", &version, text);
    const struct schema_migration *next = err == OK ? schema_next(DRIVER, version) : NULL;
    if (next) {
        err = execute_all(worker, next->text, text);
        char update[80];
        (void)snprintf(update, sizeof(update),
            "UPDATE schema_version SET version = %d WHERE id = 0", next->number);
        if (err == OK)
            err = execute_text(locker, update, NULL, text);
        version = next->number;
    }
    if (err == OK)
        err = execute_text(locker, "COMMIT", NULL, text);
    *ret_version = version;
    return err;
}

static enum err migrate(MYSQL *locker, MYSQL *worker, int *ret_version, char text[256])
{
    enum err err = execute_text(locker,
        "CREATE TABLE IF NOT EXISTS schema_version (id INT NOT NULL PRIMARY KEY, "
        "version INT NOT NULL) ENGINE=InnoDB",
        NULL, text);
    if (err == OK)
        err = execute_text(
            locker, "INSERT IGNORE INTO schema_version (id, version) VALUES (0, 0)", NULL, text);
    /* Longer than any migration of another node: a timeout would look like a failure. */
    if (err == OK)
        err = execute_text(locker, "SET SESSION innodb_lock_wait_timeout = 3600", NULL, text);
    (void)execute_text(worker, "SET SESSION max_statement_time = 0", NULL, text); /* MariaDB only */
    (void)execute_text(locker, "SET SESSION max_statement_time = 0", NULL, text);
    while (err == OK && schema_next(DRIVER, *ret_version))
        err = migrate_once(locker, worker, ret_version, text);
    return err;
}

enum err mariadb_migrate(const struct mariadb_database *database, char text[256])
{
    enum err err = OK;
    MYSQL *conn = mariadb_connection_open(database, NULL, NULL, &err, text);
    if (!conn)
        return err;
    int version = 0;
    err = read_version(conn, &version, text);
    if (err == OK && database->options.migrate && version < schema_version_max(DRIVER)) {
        MYSQL *worker = mariadb_connection_open(database, NULL, NULL, &err, text);
        if (worker) {
            err = migrate(conn, worker, &version, text);
            mysql_close(worker);
        }
    }
    if (err == OK) {
        text[0] = '\0';
        err = check_version(version, text);
    }
    mysql_close(conn);
    return err;
}
