/* SPDX-License-Identifier: Apache-2.0
 *
 * The SQLite driver: one file per cluster in WAL mode, or a memdb shared by this store's sessions.
 *
 * A file is written with synchronous=FULL: a commit that was answered survives a power cut. The log
 * is checkpointed by the writer itself whenever it exceeds WAL_PAGES: it stays bounded as long as
 * reads are short. There is no connection to lose; an error of the disk is reported per operation.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster/base/mem.h"
#include "cluster/store/schema.h"
#include "cluster/store/store_sqlite.h"

#define BUSY_TIMEOUT_MS  5000
#define WAL_PAGES        "4000"     /* 16 MiB */
#define WAL_FILE_BYTES   "67108864" /* what a checkpoint leaves of a larger log file */
#define WRITER_CACHE_KIB "65536"
#define READER_CACHE_KIB "16384"

static enum err fail(sqlite3 *connection, int code, const char *what, char text[256])
{
    (void)snprintf(text, 256, "sqlite: %s: %s", what, sqlite3_errmsg(connection));
    switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return ERR_CORRUPT;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return ERR_CONFIG;
    default:
        return ERR_UNAVAILABLE;
    }
}

enum err sqlite_connect(
    const struct sqlite_database *database, bool writer, sqlite3 **ret_connection, char text[256])
{
    sqlite3 *connection = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (database->memory)
        flags |= SQLITE_OPEN_URI;
    int code = sqlite3_open_v2(database->path, &connection, flags, NULL);
    const char *what = "open";
    if (code == SQLITE_OK) {
        what = "settings";
        (void)sqlite3_extended_result_codes(connection, 1);
        (void)sqlite3_busy_timeout(connection, BUSY_TIMEOUT_MS);
        code = sqlite3_exec(connection,
            database->memory ? "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;"
                             : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                               "PRAGMA wal_autocheckpoint = " WAL_PAGES ";"
                               "PRAGMA journal_size_limit = " WAL_FILE_BYTES ";",
            NULL, NULL, NULL);
    }
    if (code == SQLITE_OK)
        code = sqlite3_exec(connection,
            writer ? "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -" WRITER_CACHE_KIB
                   : "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -" READER_CACHE_KIB,
            NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        enum err err = fail(connection, code, what, text);
        (void)sqlite3_close(connection);
        return err;
    }
    *ret_connection = connection;
    return OK;
}

/** The one integer that a query returns; 0 when it returns nothing. */
static int query_integer(sqlite3 *connection, const char *sql, int *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return code;
    *ret_value = 0;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret_value = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static int read_version(sqlite3 *connection, int *ret_version)
{
    int exists = 0;
    *ret_version = 0;
    int code = query_integer(connection,
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
        &exists);
    if (code != SQLITE_OK || exists == 0)
        return code;
    return query_integer(
        connection, "SELECT version FROM schema_version WHERE id = 0", ret_version);
}

static int apply_migration(sqlite3 *connection, const struct schema_migration *migration)
{
    int code = sqlite3_exec(connection, migration->text, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return code;
    char sql[96];
    (void)snprintf(
        sql, sizeof(sql), "UPDATE schema_version SET version = %d WHERE id = 0", migration->number);
    return sqlite3_exec(connection, sql, NULL, NULL, NULL);
}

/** Inside the transaction that locks the database against other migrators. */
static enum err migrate_locked(sqlite3 *connection, bool migrate, char text[256])
{
    int version;
    int code = read_version(connection, &version);
    if (code != SQLITE_OK)
        return fail(connection, code, "schema version", text);
    int max = schema_version_max("sqlite");
    const struct schema_migration *next = schema_next("sqlite", version);
    if (version > max || (next && !migrate)) {
        (void)snprintf(text, 256, "sqlite: the schema has version %d, this build needs %d%s",
            version, max, version > max ? "" : " and may not migrate");
        return ERR_VERSION;
    }
    if (next)
        code = sqlite3_exec(connection,
            "CREATE TABLE IF NOT EXISTS schema_version"
            " (id INTEGER PRIMARY KEY, version INTEGER NOT NULL);"
            "INSERT OR IGNORE INTO schema_version (id, version) VALUES (0, 0)",
            NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return fail(connection, code, "schema version", text);
    for (; next; next = schema_next("sqlite", version)) {
        code = apply_migration(connection, next);
        if (code != SQLITE_OK)
            return fail(connection, code, next->name, text);
        version = next->number;
    }
    return OK;
}

static enum err migrate_schema(sqlite3 *connection, bool migrate, char text[256])
{
    int code = sqlite3_exec(connection, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return fail(connection, code, "lock", text);
    enum err err = migrate_locked(connection, migrate, text);
    if (err) {
        (void)sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL); /* closed next */
        return err;
    }
    code = sqlite3_exec(connection, "COMMIT", NULL, NULL, NULL);
    return code == SQLITE_OK ? OK : fail(connection, code, "migration", text);
}

static struct sqlite_database *database_new(const char *file)
{
    static atomic_uint number;
    struct sqlite_database *database = mem_new(struct sqlite_database);
    database->memory = file == NULL;
    if (file) {
        database->path = mem_strdup(file);
    } else {
        char name[64];
        (void)snprintf(name, sizeof(name), "file:/strait-%d-%u?vfs=memdb", (int)getpid(),
            atomic_fetch_add(&number, 1));
        database->path = mem_strdup(name);
    }
    pthread_rwlockattr_t attr;
    int failed = pthread_rwlockattr_init(&attr);
    CHECK(failed == 0);
    failed = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    CHECK(failed == 0);
    failed = pthread_rwlock_init(&database->lock, &attr);
    CHECK(failed == 0);
    (void)pthread_rwlockattr_destroy(&attr); /* cannot fail */
    return database;
}

static void sqlite_database_close(void *ctx)
{
    struct sqlite_database *database = ctx;
    (void)sqlite3_close(database->keeper); /* the last connection: nothing can be busy */
    (void)pthread_rwlock_destroy(&database->lock);
    mem_free(database->path);
    mem_free(database);
}

static enum err sqlite_database_open(
    const struct store_options *options, void **ret_database, char text[256])
{
    struct sqlite_database *database = database_new(options->file);
    enum err err = sqlite_connect(database, false, &database->keeper, text);
    if (err == OK)
        err = migrate_schema(database->keeper, options->migrate, text);
    if (err) {
        sqlite_database_close(database);
        return err;
    }
    *ret_database = database;
    return OK;
}

static enum err sqlite_session_open(
    void *database, bool writer, struct store_session **ret_session, char text[256])
{
    struct sqlite_session *session = mem_new(struct sqlite_session);
    session->base.driver = store_driver_sqlite();
    session->database = database;
    arena_init(&session->scratch);
    enum err err = sqlite_connect(database, writer, &session->connection, text);
    if (err) {
        mem_free(session);
        return err;
    }
    *ret_session = &session->base;
    return OK;
}

static void sqlite_session_close(struct store_session *base)
{
    struct sqlite_session *session = sqlite_session_of(base);
    for (int table = 0; table < TABLE_COUNT; table++) {
        for (int kind = 0; kind < ROW_STATEMENT_COUNT; kind++)
            (void)sqlite3_finalize(session->rows[table][kind]); /* old codes, reported before */
    }
    for (int kind = 0; kind < STATEMENT_COUNT; kind++)
        (void)sqlite3_finalize(session->statements[kind]);
    int code = sqlite3_close(session->connection);
    CHECK(code == SQLITE_OK);
    arena_release(&session->scratch);
    mem_free(session);
}

const struct store_driver *store_driver_sqlite(void)
{
    static const struct store_driver driver = {
        .name = "sqlite",
        .open = sqlite_database_open,
        .close = sqlite_database_close,
        .session_open = sqlite_session_open,
        .session_close = sqlite_session_close,
        .commit = sqlite_commit,
        .commit_many = sqlite_commit_many,
        .get = sqlite_get,
        .scan = sqlite_scan,
        .due = sqlite_due,
        .list = sqlite_list,
        .count = sqlite_count,
        .take_shard = sqlite_take_shard,
        .writers_max = 1,
    };
    return &driver;
}
