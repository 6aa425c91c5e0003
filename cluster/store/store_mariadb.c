/* SPDX-License-Identifier: Apache-2.0
 *
 * The MariaDB and MySQL driver: its table, the database object, connecting and what is checked
 * then.
 */
#include <errmsg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/store/store_mariadb.h"

#define CONNECT_TIMEOUT_S 5u
#define READ_TIMEOUT_S    90u /* above the server's own limits: for dead networks */
#define WRITE_TIMEOUT_S   30u
#define PACKET_BYTES_MIN  (16u * MIB)

struct setting {
    const char *sql;
    bool needed; /* else done without where the server does not know it */
};

static const struct setting session_settings[] = {
    {"SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", true},
    {"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", true},
    {"SET SESSION innodb_lock_wait_timeout = 10", false},
    {"SET SESSION max_statement_time = 60", false},
};

static void drop(const char *text)
{
    union {
        const char *constant;
        char *owned;
    } view = {.constant = text};
    mem_free(view.owned);
}

static void database_free(struct mariadb_database *database)
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

static struct mariadb_database *database_new(const struct store_options *options)
{
    struct mariadb_database *database = mem_new(struct mariadb_database);
    database->options = *options;
    database->options.host = mem_strdup(options->host);
    database->options.socket = mem_strdup(options->socket);
    database->options.user = mem_strdup(options->user);
    database->options.password = mem_strdup(options->password);
    database->options.name = mem_strdup(options->name);
    database->options.tls_mode = mem_strdup(options->tls_mode);
    database->options.tls_ca_file = mem_strdup(options->tls_ca_file);
    database->no_bulk = getenv("STRAIT_MARIADB_NO_BULK") != NULL;
    return database;
}

/* ---- connecting ---- */

enum tls { TLS_DISABLE, TLS_PREFER, TLS_REQUIRE, TLS_VERIFY };

static bool parse_tls(const char *mode, enum tls *ret_tls)
{
    static const struct {
        const char *name;
        enum tls tls;
    } modes[] = {{"disable", TLS_DISABLE}, {"prefer", TLS_PREFER}, {"require", TLS_REQUIRE},
        {"verify-full", TLS_VERIFY}};
    *ret_tls = TLS_PREFER;
    for (size_t i = 0; mode && i < ARRAY_LEN(modes); i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            *ret_tls = modes[i].tls;
            return true;
        }
    }
    return !mode;
}

/** Options are only stored here, so failures would be out-of-memory. */
static void set_options(MYSQL *conn, const struct store_options *options, enum tls tls)
{
    unsigned int connect_s = CONNECT_TIMEOUT_S;
    unsigned int read_s = READ_TIMEOUT_S;
    unsigned int write_s = WRITE_TIMEOUT_S;
    my_bool yes = 1;
    my_bool no = 0;
    (void)mysql_options(conn, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    (void)mysql_options(conn, MYSQL_OPT_READ_TIMEOUT, &read_s);
    (void)mysql_options(conn, MYSQL_OPT_WRITE_TIMEOUT, &write_s);
    (void)mysql_options(conn, MYSQL_OPT_RECONNECT, &no); /* would lose a transaction silently */
    (void)mysql_options(conn, MYSQL_OPT_LOCAL_INFILE, NULL);
    (void)mysql_options(conn, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (options->host && !options->socket) {
        unsigned int tcp = MYSQL_PROTOCOL_TCP; /* also for "localhost", which else means a socket */
        (void)mysql_options(conn, MYSQL_OPT_PROTOCOL, &tcp);
    }
    if (tls == TLS_DISABLE)
        return;
    (void)mysql_ssl_set(conn, NULL, NULL, options->tls_ca_file, NULL, NULL);
    (void)mysql_options(conn, MYSQL_OPT_SSL_ENFORCE, &yes);
    (void)mysql_options(conn, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, tls == TLS_VERIFY ? &yes : &no);
}

static enum err connect_err(unsigned int number)
{
    enum err err = mariadb_errno_err(number);
    if (number == CR_SSL_CONNECTION_ERROR || err == ERR_VERSION)
        return ERR_CONFIG;
    return err == ERR_INTERNAL ? ERR_UNAVAILABLE : err;
}

/** One row of SHOW VARIABLES. */
struct server {
    size_t packet_bytes;
    bool log_bin;
    bool statement_binlog;
    bool read_only;
    bool lazy_flush;
    bool galera;
};

static void note_variable(struct server *server, const char *name, const char *value)
{
    bool on = strcmp(value, "ON") == 0 || strcmp(value, "1") == 0;
    if (strcmp(name, "max_allowed_packet") == 0)
        server->packet_bytes = (size_t)strtoull(value, NULL, 10);
    else if (strcmp(name, "log_bin") == 0)
        server->log_bin = on;
    else if (strcmp(name, "binlog_format") == 0)
        server->statement_binlog = strcmp(value, "STATEMENT") == 0;
    else if (strcmp(name, "read_only") == 0)
        server->read_only = on;
    else if (strcmp(name, "innodb_flush_log_at_trx_commit") == 0)
        server->lazy_flush = strcmp(value, "1") != 0;
    else if (strcmp(name, "wsrep_on") == 0)
        server->galera = on;
}

static enum err read_server(MYSQL *conn, struct server *ret_server, char text[256])
{
    static const char sql[] =
        "SHOW VARIABLES WHERE Variable_name IN ('max_allowed_packet', 'log_bin', 'binlog_format', "
        "'read_only', 'innodb_flush_log_at_trx_commit', 'wsrep_on')";
    MYSQL_RES *result = NULL;
    if (mysql_real_query(conn, sql, sizeof(sql) - 1) == 0)
        result = mysql_store_result(conn);
    if (!result) {
        (void)snprintf(text, 256, "connect: %s", mysql_error(conn));
        return ERR_UNAVAILABLE;
    }
    *ret_server = (struct server){0};
    for (MYSQL_ROW row = mysql_fetch_row(result); row; row = mysql_fetch_row(result)) {
        if (row[0] && row[1])
            note_variable(ret_server, row[0], row[1]);
    }
    mysql_free_result(result);
    return OK;
}

static enum err check_server(const struct server *server, char text[256])
{
    if (server->packet_bytes < PACKET_BYTES_MIN) {
        (void)snprintf(text, 256,
            "the server's max_allowed_packet is %zu, Strait needs %u: set max_allowed_packet=16M "
            "or more in its configuration",
            server->packet_bytes, PACKET_BYTES_MIN);
        return ERR_CONFIG;
    }
    if (server->log_bin && server->statement_binlog) {
        (void)snprintf(text, 256,
            "the server's binlog_format is STATEMENT, which READ COMMITTED does not allow: set "
            "binlog_format=ROW in its configuration");
        return ERR_CONFIG;
    }
    if (server->read_only) {
        (void)snprintf(text, 256, "the server is read-only: a replica, or being switched over");
        return ERR_UNAVAILABLE;
    }
    return OK;
}

static enum err apply_settings(MYSQL *conn, char text[256])
{
    for (size_t i = 0; i < ARRAY_LEN(session_settings); i++) {
        const struct setting *setting = &session_settings[i];
        if (mysql_real_query(conn, setting->sql, strlen(setting->sql)) == 0)
            continue;
        if (!setting->needed && mariadb_errno_err(mysql_errno(conn)) != ERR_UNAVAILABLE)
            continue;
        (void)snprintf(text, 256, "%s: %s", setting->sql, mysql_error(conn));
        return ERR_UNAVAILABLE;
    }
    return OK;
}

static enum err prepare_connection(
    MYSQL *conn, enum tls tls, size_t *ret_packet_bytes, char *ret_warning, char text[256])
{
    struct server server;
    if (tls >= TLS_REQUIRE && !mysql_get_ssl_cipher(conn)) {
        (void)snprintf(
            text, 256, "connect: the server does not offer TLS, which tls_mode requires");
        return ERR_CONFIG;
    }
    enum err err = read_server(conn, &server, text);
    if (err == OK)
        err = check_server(&server, text);
    if (err == OK)
        err = apply_settings(conn, text);
    if (err)
        return err;
    if (ret_packet_bytes)
        *ret_packet_bytes = server.packet_bytes - KIB; /* room for the message's own fields */
    if (ret_warning && server.lazy_flush && !server.galera)
        (void)snprintf(ret_warning, 256,
            "warning: the server runs with innodb_flush_log_at_trx_commit other than 1: a power "
            "cut loses commits that were answered");
    return OK;
}

static MYSQL *connect_with(const struct store_options *options, enum tls tls,
    size_t *ret_packet_bytes, char *ret_warning, enum err *ret_err, unsigned int *ret_errno,
    char text[256])
{
    *ret_errno = 0;
    MYSQL *conn = mysql_init(NULL);
    if (!conn) {
        (void)snprintf(text, 256, "connect: out of memory");
        *ret_err = ERR_NOMEM;
        return NULL;
    }
    set_options(conn, options, tls);
    if (mysql_real_connect(conn, options->socket ? NULL : options->host, options->user,
            options->password, options->name, (unsigned int)options->port, options->socket,
            CLIENT_FOUND_ROWS)) {
        *ret_err = prepare_connection(conn, tls, ret_packet_bytes, ret_warning, text);
    } else {
        *ret_errno = mysql_errno(conn);
        *ret_err = connect_err(*ret_errno);
        (void)snprintf(text, 256, "connect: %s", mysql_error(conn));
    }
    if (*ret_err == OK)
        return conn;
    mysql_close(conn);
    return NULL;
}

MYSQL *mariadb_connection_open(const struct mariadb_database *database, size_t *ret_packet_bytes,
    char *ret_warning, enum err *ret_err, char text[256])
{
    enum tls tls = TLS_PREFER;
    if (!parse_tls(database->options.tls_mode, &tls)) {
        (void)snprintf(text, 256, "unknown tls_mode %s", database->options.tls_mode);
        *ret_err = ERR_CONFIG;
        return NULL;
    }
    unsigned int number = 0;
    MYSQL *conn = connect_with(
        &database->options, tls, ret_packet_bytes, ret_warning, ret_err, &number, text);
    /* The library knows no "if the server can": it requires TLS or does without. */
    if (conn || tls != TLS_PREFER || number != CR_SSL_CONNECTION_ERROR)
        return conn;
    text[0] = '\0';
    return connect_with(
        &database->options, TLS_DISABLE, ret_packet_bytes, ret_warning, ret_err, &number, text);
}

void mariadb_disconnect(struct mariadb_session *session)
{
    if (session->conn)
        mysql_close(session->conn); /* first, so that closing statements sends nothing */
    session->conn = NULL;
    for (int i = 0; i < MARIADB_STATEMENT_COUNT; i++) {
        for (int width = 0; width < MARIADB_WIDTH_COUNT; width++) {
            if (session->statements[i][width])
                (void)mysql_stmt_close(session->statements[i][width]); /* cannot fail now */
            session->statements[i][width] = NULL;
        }
    }
}

static enum err connect_session(struct mariadb_session *session)
{
    enum err err = OK;
    MYSQL *conn = mariadb_connection_open(
        session->database, &session->packet_bytes, NULL, &err, session->base.text);
    if (!conn)
        return err;
    if (session->writer && mysql_autocommit(conn, 0) != 0) {
        (void)snprintf(
            session->base.text, sizeof(session->base.text), "connect: %s", mysql_error(conn));
        mysql_close(conn);
        return ERR_UNAVAILABLE;
    }
    unsigned long mariadb = 0;
    (void)mariadb_get_infov(conn, MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &mariadb);
    session->bulk =
        !session->database->no_bulk && (mariadb & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32)) != 0;
    session->conn = conn;
    return OK;
}

enum err mariadb_ready(struct mariadb_session *session)
{
    if (session->conn) {
        /* An idle server says nothing, except good-bye. */
        struct pollfd poller = {.fd = (int)mysql_get_socket(session->conn), .events = POLLIN};
        if (poll(&poller, 1, 0) <= 0)
            return OK;
        mariadb_disconnect(session);
    }
    return connect_session(session);
}

/* ---- the driver's table ---- */

static enum err mariadb_open(
    const struct store_options *options, void **ret_database, char text[256])
{
    if (mysql_library_init(0, NULL, NULL) != 0) {
        (void)snprintf(text, 256, "the MariaDB client library does not start");
        return ERR_INTERNAL;
    }
    struct mariadb_database *database = database_new(options);
    enum err err = mariadb_migrate(database, text);
    MYSQL *conn = err == OK ? mariadb_connection_open(database, NULL, text, &err, text) : NULL;
    if (!conn) {
        database_free(database);
        return err;
    }
    mysql_close(conn);
    *ret_database = database;
    return OK;
}

static void mariadb_close(void *database)
{
    if (database)
        database_free(database);
}

static void session_close(struct store_session *base)
{
    if (!base)
        return;
    struct mariadb_session *session = CONTAINER_OF(base, struct mariadb_session, base);
    mariadb_disconnect(session);
    buffer_release(&session->text);
    arena_release(&session->arena);
    mem_free(session);
}

static enum err session_open(
    void *database, bool writer, struct store_session **ret_session, char text[256])
{
    struct mariadb_session *session = mem_new(struct mariadb_session);
    session->base.driver = store_driver_mariadb();
    session->database = database;
    session->writer = writer;
    enum err err = connect_session(session);
    if (err) {
        memcpy(text, session->base.text, sizeof(session->base.text));
        session_close(&session->base);
        return err;
    }
    *ret_session = &session->base;
    return OK;
}

const struct store_driver *store_driver_mariadb(void)
{
    static const struct store_driver driver = {
        .name = "mariadb",
        .open = mariadb_open,
        .close = mariadb_close,
        .session_open = session_open,
        .session_close = session_close,
        .commit = mariadb_commit,
        .get = mariadb_get,
        .scan = mariadb_scan,
        .due = mariadb_due,
        .list = mariadb_list,
        .count = mariadb_count,
        .take_shard = mariadb_take_shard,
        .writers_max = 64,
    };
    return &driver;
}
