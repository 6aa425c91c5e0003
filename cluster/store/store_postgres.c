/* SPDX-License-Identifier: Apache-2.0
 *
 * The PostgreSQL driver: its table, the database object, connecting.
 *
 * `host` may name several servers, separated by commas: the one that accepts writes is used, also
 * by readers, because a standby lags. `socket` is the folder of the server's Unix socket.
 */
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/base/mem.h"
#include "cluster/store/store_postgres.h"

/* No CONNECT_TIMEOUT means minutes; a black-holed connection must not hold a shard for longer. */
#define CONNECT_TIMEOUT_S   "5"
#define TCP_USER_TIMEOUT_MS "15000"

/* Settings of every session. The planner has one good plan for our statements, the index in the
 * order of the parameters; statistics of a table that was empty a minute ago must not talk it out
 * of that, and planning again must not cost more than executing. */
static const char *const session_settings[] = {
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_sort = off",
    "SET jit = off",
    "SET default_toast_compression = lz4",
    "SET lock_timeout = '10s'",
    "SET statement_timeout = '60s'",
    "SET idle_in_transaction_session_timeout = '30s'",
};

static char *copy(const char *text)
{
    return mem_strdup(text);
}

static void drop(const char *text)
{
    union {
        const char *constant;
        char *owned;
    } view = {.constant = text};
    mem_free(view.owned);
}

static void database_free(struct postgres_database *database)
{
    drop(database->options.host);
    drop(database->options.socket);
    drop(database->options.user);
    drop(database->options.password);
    drop(database->options.name);
    drop(database->options.tls_mode);
    drop(database->options.tls_ca_file);
    mem_free(database);
}

static struct postgres_database *database_new(const struct store_options *options)
{
    struct postgres_database *database = mem_new(struct postgres_database);
    database->options = *options;
    database->options.host = copy(options->host);
    database->options.socket = copy(options->socket);
    database->options.user = copy(options->user);
    database->options.password = copy(options->password);
    database->options.name = copy(options->name);
    database->options.tls_mode = copy(options->tls_mode);
    database->options.tls_ca_file = copy(options->tls_ca_file);
    if (options->port > 0)
        (void)snprintf(database->port, sizeof(database->port), "%d", options->port);
    return database;
}

/* ---- connecting ---- */

/** Without it libpq would print to stderr. `ctx` is the session, if any. */
static void receive_notice(void *ctx, const PGresult *result)
{
    struct postgres_session *session = ctx;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (session && severity && strcmp(severity, "FATAL") == 0)
        session->hung_up = true;
}

/** libpq has no code for a refused connection; these words are stable and need no translation
 *  (lc_messages of a refusal is the server's, so this only makes a good guess). */
static enum err connect_err(PGconn *conn)
{
    if (PQconnectionNeedsPassword(conn))
        return ERR_CONFIG;
    const char *message = PQerrorMessage(conn);
    static const char *const final[] = {"authentication failed", "does not exist", "no pg_hba.conf",
        "does not support SSL", "certificate", "invalid sslmode", "invalid port"};
    for (size_t i = 0; message && i < ARRAY_LEN(final); i++) {
        if (strstr(message, final[i]))
            return ERR_CONFIG;
    }
    return ERR_UNAVAILABLE;
}

PGconn *postgres_connect(
    const struct postgres_database *database, enum err *ret_err, char text[256])
{
    const struct store_options *options = &database->options;
    const char *keys[20];
    const char *values[20];
    size_t count = 0;
    const struct {
        const char *key;
        const char *value;
    } wanted[] = {
        {"host", options->socket ? options->socket : options->host},
        {"port", database->port[0] ? database->port : NULL},
        {"user", options->user},
        {"password", options->password},
        {"dbname", options->name},
        {"sslmode", options->tls_mode},
        {"sslrootcert", options->tls_ca_file},
        {"application_name", "strait"},
        {"client_encoding", "UTF8"},
        {"target_session_attrs", "read-write"},
        {"connect_timeout", CONNECT_TIMEOUT_S},
        {"keepalives_idle", "5"},
        {"keepalives_interval", "3"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", TCP_USER_TIMEOUT_MS},
    };
    static_assert(ARRAY_LEN(wanted) < ARRAY_LEN(keys), "room for the end mark");
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (!wanted[i].value)
            continue;
        keys[count] = wanted[i].key;
        values[count++] = wanted[i].value;
    }
    keys[count] = NULL;
    values[count] = NULL;
    PGconn *conn = PQconnectdbParams(keys, values, 0);
    if (conn && PQstatus(conn) == CONNECTION_OK) {
        (void)PQsetNoticeReceiver(conn, receive_notice, NULL);
        return conn;
    }
    postgres_reason(text, "connect", conn ? PQerrorMessage(conn) : "out of memory");
    *ret_err = conn ? connect_err(conn) : ERR_NOMEM;
    PQfinish(conn);
    return NULL;
}

void postgres_disconnect(struct postgres_session *session)
{
    PQfinish(session->conn);
    session->conn = NULL;
    memset(session->prepared, 0, sizeof(session->prepared));
    session->step_count = 0;
    session->step_next = 0;
    session->synced = false;
    session->commit_queued = false;
    session->params.count = 0;
    buffer_clear(&session->params.data);
}

/** One setting; those that a PostgreSQL-compatible server does not know are done without. */
static bool apply_setting(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    bool done =
        PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    return done || PQstatus(conn) == CONNECTION_OK;
}

static enum err connect_session(struct postgres_session *session)
{
    enum err err = OK;
    PGconn *conn = postgres_connect(session->database, &err, session->base.text);
    if (!conn)
        return err;
    bool alive = true;
    for (size_t i = 0; alive && i < ARRAY_LEN(session_settings); i++)
        alive = apply_setting(conn, session_settings[i]);
    if (alive)
        alive = apply_setting(conn, "SET default_transaction_isolation = 'read committed'");
    /* Only `off` loses commits that were answered; the other levels are the operator's choice. */
    if (alive && session->writer)
        alive = apply_setting(conn, "SELECT set_config('synchronous_commit', 'on', false) "
                                    "WHERE current_setting('synchronous_commit') = 'off'");
    if (!alive || !PQenterPipelineMode(conn)) {
        postgres_reason(session->base.text, "connect", PQerrorMessage(conn));
        PQfinish(conn);
        return ERR_UNAVAILABLE;
    }
    (void)PQsetNoticeReceiver(conn, receive_notice, session);
    session->hung_up = false;
    session->conn = conn;
    return OK;
}

enum err postgres_ready(struct postgres_session *session)
{
    CHECK(session->step_count == 0);
    if (session->conn) {
        /* An idle server says nothing, except good-bye. */
        struct pollfd poller = {.fd = PQsocket(session->conn), .events = POLLIN};
        if (poll(&poller, 1, 0) <= 0)
            return OK;
        bool alive = PQconsumeInput(session->conn) && !(poller.revents & (POLLHUP | POLLERR));
        PGnotify *notify = PQnotifies(session->conn); /* makes libpq parse what came */
        PQfreemem(notify);
        if (alive && !session->hung_up && PQstatus(session->conn) == CONNECTION_OK)
            return OK;
        postgres_disconnect(session);
    }
    return connect_session(session);
}

/* ---- the driver's table ---- */

/** Durability that the server was told not to give: allowed for tests, but somebody should know. */
static void warn_of_settings(PGconn *conn, char text[256])
{
    PGresult *result = PQexec(conn, "SELECT name FROM pg_settings WHERE name IN ('fsync', "
                                    "'full_page_writes') AND setting = 'off'");
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
        (void)snprintf(text, 256,
            "warning: the server runs with %s=off: a power cut may destroy the database",
            PQgetvalue(result, 0, 0));
    PQclear(result);
}

static enum err postgres_open(
    const struct store_options *options, void **ret_database, char text[256])
{
    struct postgres_database *database = database_new(options);
    enum err err = postgres_migrate(database, text);
    PGconn *conn = err == OK ? postgres_connect(database, &err, text) : NULL;
    if (!conn) {
        database_free(database);
        return err;
    }
    warn_of_settings(conn, text);
    PQfinish(conn);
    *ret_database = database;
    return OK;
}

static void postgres_close(void *database)
{
    if (database)
        database_free(database);
}

static void session_close(struct store_session *base)
{
    if (!base)
        return;
    struct postgres_session *session = CONTAINER_OF(base, struct postgres_session, base);
    PQfinish(session->conn);
    buffer_release(&session->params.data);
    buffer_release(&session->text);
    buffer_release(&session->order);
    arena_release(&session->arena);
    mem_free(session);
}

static enum err session_open(
    void *database, bool writer, struct store_session **ret_session, char text[256])
{
    struct postgres_session *session = mem_new(struct postgres_session);
    session->base.driver = store_driver_postgres();
    session->database = database;
    session->writer = writer;
    for (size_t i = 0; i < ARRAY_LEN(session->formats); i++)
        session->formats[i] = 1;
    enum err err = connect_session(session);
    if (err) {
        memcpy(text, session->base.text, sizeof(session->base.text));
        session_close(&session->base);
        return err;
    }
    *ret_session = &session->base;
    return OK;
}

const struct store_driver *store_driver_postgres(void)
{
    static const struct store_driver driver = {
        .name = "postgres",
        .open = postgres_open,
        .close = postgres_close,
        .session_open = session_open,
        .session_close = session_close,
        .commit = postgres_commit,
        .get = postgres_get,
        .scan = postgres_scan,
        .due = postgres_due,
        .list = postgres_list,
        .count = postgres_count,
        .take_shard = postgres_take_shard,
        .writers_max = 64,
    };
    return &driver;
}
