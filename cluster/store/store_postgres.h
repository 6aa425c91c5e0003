/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the PostgreSQL driver: sessions, statements, the pipeline. Nobody else includes this, and
 * it is where libpq enters.
 *
 * A session is always in pipeline mode. One call of the driver is one pipeline: statements are
 * queued, then one sync, then the results are read: a single network round trip, prepare messages
 * of statements used for the first time included.
 *
 *   store_postgres.c         driver table, database, connecting
 *   store_postgres_schema.c  migrations
 *   store_postgres_sql.c     statement texts
 *   store_postgres_pipe.c    parameters, pipeline, errors
 *   store_postgres_commit.c  commit, take_shard
 *   store_postgres_read.c    get, scan, due, list, count
 *
 * Invariants:
 *  P1  prepared[i] is PREPARED only after the server confirmed it on this connection.
 *  P2  Parameters are built in one buffer, which is reused for every statement: libpq copies them
 *      into its send buffer, so a value is copied twice between commit and socket.
 *  P3  Between calls the connection is idle, outside a transaction, or it is closed.
 */
#ifndef CLUSTER_STORE_STORE_POSTGRES_H
#define CLUSTER_STORE_STORE_POSTGRES_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "cluster/store/store.h"
#include "cluster/store/table.h"

/* Statements that exist for every table: id = kind * TABLE_COUNT + table. */
enum postgres_kind {
    POSTGRES_INSERT,
    POSTGRES_UPDATE,
    POSTGRES_UPDATE_INDEX, /* TABLE_RUN: with due_ns and expire_ns */
    POSTGRES_PUT,
    POSTGRES_DELETE,
    POSTGRES_DELETE_RANGE,
    POSTGRES_GET,
    POSTGRES_SCAN, /* plus flags */
    POSTGRES_KIND_COUNT = POSTGRES_SCAN + 8,
};

enum { POSTGRES_SCAN_REVERSE = 1, POSTGRES_SCAN_OPEN = 2, POSTGRES_SCAN_BYTES = 4 };

/* Statements that exist once. */
enum postgres_statement {
    POSTGRES_BEGIN = POSTGRES_KIND_COUNT * TABLE_COUNT,
    POSTGRES_COMMIT,
    POSTGRES_ROLLBACK,
    POSTGRES_FENCE,
    POSTGRES_SHARD_CREATE,
    POSTGRES_SHARD_TAKE,
    POSTGRES_SHARD_TAKE_EXPECTED,
    POSTGRES_DUE,
    POSTGRES_DUE_ALL,
    POSTGRES_EXPIRE,
    POSTGRES_VISIBILITY_INSERT,
    POSTGRES_VISIBILITY_UPDATE,
    POSTGRES_VISIBILITY_DELETE,
    POSTGRES_COUNT_SETTINGS,
    POSTGRES_STATEMENT_COUNT,
    POSTGRES_TEXT = POSTGRES_STATEMENT_COUNT, /* an unnamed statement of its own text */
};

static inline int postgres_statement(enum postgres_kind kind, enum table table)
{
    return (int)kind * TABLE_COUNT + (int)table;
}

/** Appends the text of a statement. */
void postgres_statement_text(int statement, struct buffer *ret_text);
/** What it does, for error texts, e.g. "insert history". */
void postgres_statement_title(int statement, char *ret_title, size_t size);

/* Object identifiers of the types that we send. */
enum { POSTGRES_OID_BYTEA = 17, POSTGRES_OID_INT8 = 20, POSTGRES_OID_INT4 = 23 };

#define POSTGRES_PARAMS_MAX 1024 /* a filter may list many values */
#define POSTGRES_STEPS_MAX  256

/** Parameters of the statement that is built next, binary. */
struct postgres_params {
    struct buffer data;
    int count;
    size_t starts[POSTGRES_PARAMS_MAX];
};

/** A message whose result is due. */
struct postgres_step {
    int statement;
    bool prepare;
};

enum postgres_prepared { POSTGRES_UNKNOWN, POSTGRES_PREPARING, POSTGRES_PREPARED };

struct postgres_database {
    struct store_options options; /* strings owned */
    char port[12];
};

struct postgres_session {
    struct store_session base;
    const struct postgres_database *database;
    bool writer;
    bool hung_up; /* the server said good-bye */
    PGconn *conn; /* NULL = not connected */
    uint8_t prepared[POSTGRES_STATEMENT_COUNT];
    struct postgres_step steps[POSTGRES_STEPS_MAX];
    int step_count;
    int step_next;
    bool synced;        /* a sync is queued, its result is due after the steps */
    bool commit_queued; /* from here on a lost connection leaves the outcome unknown */
    struct postgres_params params;
    int formats[POSTGRES_PARAMS_MAX]; /* all binary */
    struct buffer text;               /* statement under preparation */
    struct buffer order;              /* commit: row numbers by group */
    struct arena arena;               /* short-lived; reset by its user */
};

/* ---- connection ---- */

/** Connects when needed. A connection that the server closed while it was idle is replaced. */
NODISCARD enum err postgres_ready(struct postgres_session *session);
void postgres_disconnect(struct postgres_session *session);
/** A plain connection, not in pipeline mode, NULL with text and *ret_err set on failure. */
PGconn *postgres_connect(
    const struct postgres_database *database, enum err *ret_err, char text[256]);
/** Brings the schema up to date (or checks that it is, unless options.migrate). */
NODISCARD enum err postgres_migrate(const struct postgres_database *database, char text[256]);
/** Copies a message into one line of at most 255 bytes. */
void postgres_reason(char text[256], const char *what, const char *message);
/** The class of an SQLSTATE, NULL = unknown. */
enum err postgres_sqlstate_err(const char *sqlstate);

/* ---- parameters ---- */

void postgres_param_i32(struct postgres_params *params, int32_t value);
void postgres_param_i64(struct postgres_params *params, int64_t value);
void postgres_param_bytes(struct postgres_params *params, struct bytes value);
/** Begins an array parameter of `count` elements; they follow by the functions below. */
void postgres_array(struct postgres_params *params, uint32_t oid, size_t count);
void postgres_element_i32(struct postgres_params *params, int32_t value);
void postgres_element_i64(struct postgres_params *params, int64_t value);
void postgres_element_null(struct postgres_params *params);
void postgres_element_bytes(struct postgres_params *params, struct bytes value);

/* ---- pipeline ---- */

/** Queues a statement with the collected parameters. */
NODISCARD enum err postgres_send(struct postgres_session *session, int statement);
/** Queues an unnamed statement; all parameters carry their types by casts in the text. */
NODISCARD enum err postgres_send_text(struct postgres_session *session, const char *sql);
/** Queues the sync and flushes: from here on results are read. */
NODISCARD enum err postgres_sync(struct postgres_session *session);
/** The result of the next statement, in the order of sending. Free with PQclear(). On an error the
 *  caller goes on with postgres_finish(). */
NODISCARD enum err postgres_next(struct postgres_session *session, PGresult **ret_result);
/** An integer column of 4 or 8 bytes. */
int64_t postgres_i64(const PGresult *result, int row, int column);
/** Reads up to the sync, ends a failed transaction, returns `err`: what went wrong so far. OK only
 *  when all statements were answered; the text stays as it is. */
NODISCARD enum err postgres_finish(struct postgres_session *session, enum err err);

/* ---- the driver's operations ---- */

NODISCARD enum err postgres_commit(struct store_session *base, const struct commit *commit);
NODISCARD enum err postgres_take_shard(struct store_session *base, struct store_take_shard *take);
NODISCARD enum err postgres_get(
    struct store_session *base, struct arena *arena, struct store_get *keys, size_t count);
NODISCARD enum err postgres_scan(
    struct store_session *base, struct arena *arena, struct store_scan *scan);
NODISCARD enum err postgres_due(
    struct store_session *base, struct arena *arena, struct store_due *due);
NODISCARD enum err postgres_list(
    struct store_session *base, struct arena *arena, struct store_list *list);
NODISCARD enum err postgres_count(
    struct store_session *base, struct arena *arena, struct store_count *count);

#endif
