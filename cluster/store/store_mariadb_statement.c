/* SPDX-License-Identifier: Apache-2.0
 *
 * Prepared statements of one MariaDB connection: batches in, rows out, errors classified.
 */
#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/store_mariadb.h"

/* Numbers that Connector/C's header does not name. */
#define ER_WSREP_NOT_READY             1047 /* Galera: not in the primary component */
#define ER_KILLED                      1927
#define ER_MYSQL_READ_ONLY_TRANSACTION 1792
#define ER_INNODB_READ_ONLY            1874
#define ER_SERVER_IS_IN_SHUTDOWN       1053

/* ---- errors ---- */

enum err mariadb_errno_err(unsigned int number)
{
    switch (number) {
    case 0:
        return OK;
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_CHECKREAD: /* 1020: the row changed since it was read */
        return ERR_CONFLICT;
    case ER_DUP_ENTRY:
        return ERR_DUPLICATE_KEY;
    case ER_DATA_TOO_LONG:
    case ER_NET_PACKET_TOO_LARGE:
    case ER_TOO_BIG_ROWSIZE:
        return ERR_TOO_LARGE;
    case ER_NO_SUCH_TABLE:
    case ER_BAD_FIELD_ERROR:
        return ERR_VERSION;
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
    case ER_BAD_DB_ERROR:
        return ERR_CONFIG;
    case ER_QUERY_INTERRUPTED:
    case 1969: /* MariaDB: max_statement_time exceeded */
    case 3024: /* MySQL: max_execution_time exceeded */
        return ERR_TIMEOUT;
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case ER_SERVER_IS_IN_SHUTDOWN:
    case ER_WSREP_NOT_READY:
    case ER_KILLED:
    case ER_OPTION_PREVENTS_STATEMENT: /* 1290: --read-only */
    case 1836:                         /* read-only mode */
    case ER_MYSQL_READ_ONLY_TRANSACTION:
    case ER_INNODB_READ_ONLY:
    case ER_CON_COUNT_ERROR:
    case ER_UNKNOWN_STMT_HANDLER: /* a proxy moved us to another server */
    case ER_RECORD_FILE_FULL:
    case ER_DISK_FULL:
        return ERR_UNAVAILABLE;
    default:
        /* What the client library itself reports is about the connection. */
        return number >= 2000 && number < 3000 ? ERR_UNAVAILABLE : ERR_INTERNAL;
    }
}

static enum err failed(
    struct mariadb_session *session, int statement, unsigned int number, const char *message)
{
    char title[48];
    mariadb_statement_title(statement, title, sizeof(title));
    (void)snprintf(
        session->base.text, sizeof(session->base.text), "%s: %s (%u)", title, message, number);
    enum err err = mariadb_errno_err(number);
    if (err == OK)
        err = ERR_INTERNAL;
    if (err == ERR_UNAVAILABLE)
        mariadb_disconnect(session); /* also from a server that may not be written to any more */
    return err;
}

static enum err statement_failed(
    struct mariadb_session *session, int statement, MYSQL_STMT *prepared)
{
    char message[200];
    (void)snprintf(message, sizeof(message), "%s", mysql_stmt_error(prepared));
    return failed(session, statement, mysql_stmt_errno(prepared), message);
}

/* ---- batches ---- */

void mariadb_batch_init(struct mariadb_batch *batch, struct arena *arena, size_t rows)
{
    *batch = (struct mariadb_batch){.arena = arena, .rows = rows};
}

static struct mariadb_column *column_add(struct mariadb_batch *batch)
{
    CHECK(batch->column_count < MARIADB_COLUMNS_MAX);
    struct mariadb_column *column = &batch->columns[batch->column_count++];
    *column = (struct mariadb_column){0};
    return column;
}

int mariadb_batch_numbers(struct mariadb_batch *batch)
{
    struct mariadb_column *column = column_add(batch);
    column->numbers = arena_alloc(batch->arena, batch->rows * sizeof(*column->numbers));
    return batch->column_count - 1;
}

int mariadb_batch_bytes(struct mariadb_batch *batch)
{
    struct mariadb_column *column = column_add(batch);
    column->is_bytes = true;
    column->data = arena_alloc(batch->arena, batch->rows * sizeof(*column->data));
    column->lengths = arena_alloc(batch->arena, batch->rows * sizeof(*column->lengths));
    return batch->column_count - 1;
}

void mariadb_batch_set_number(struct mariadb_batch *batch, int column, size_t row, int64_t value)
{
    batch->columns[column].numbers[row] = value;
}

void mariadb_batch_set_null(struct mariadb_batch *batch, int column, size_t row)
{
    struct mariadb_column *at = &batch->columns[column];
    if (!at->indicators)
        at->indicators = arena_zalloc(batch->arena, batch->rows, 1);
    at->indicators[row] = STMT_INDICATOR_NULL;
    at->numbers[row] = 0;
}

void mariadb_batch_set_bytes(
    struct mariadb_batch *batch, int column, size_t row, struct bytes value)
{
    batch->columns[column].data[row] = value.len > 0 ? (const void *)value.data : "";
    batch->columns[column].lengths[row] = value.len;
}

/** About what the row takes on the wire. */
static size_t row_bytes(const struct mariadb_batch *batch, size_t row)
{
    size_t bytes = 0;
    for (int i = 0; i < batch->column_count; i++)
        bytes += 10 + (batch->columns[i].is_bytes ? batch->columns[i].lengths[row] : 0);
    return bytes;
}

/* ---- statements ---- */

static MYSQL_STMT *prepare(
    struct mariadb_session *session, int statement, const char *sql, size_t len, enum err *ret_err)
{
    MYSQL_STMT *prepared = mysql_stmt_init(session->conn);
    if (!prepared) {
        *ret_err = ERR_NOMEM;
        return NULL;
    }
    if (mysql_stmt_prepare(prepared, sql, len) == 0)
        return prepared;
    char message[200];
    unsigned int number = mysql_stmt_errno(prepared);
    (void)snprintf(message, sizeof(message), "%s", mysql_stmt_error(prepared));
    (void)mysql_stmt_close(prepared); /* nothing to lose */
    *ret_err = failed(session, statement, number, message);
    return NULL;
}

static MYSQL_STMT *get_statement(
    struct mariadb_session *session, int statement, enum mariadb_width width, enum err *ret_err)
{
    MYSQL_STMT **slot = &session->statements[statement][width];
    if (!session->conn) {
        *ret_err = ERR_UNAVAILABLE;
        return NULL;
    }
    if (!*slot) {
        buffer_clear(&session->text);
        mariadb_statement_text(statement, mariadb_width_rows(width), &session->text);
        *slot = prepare(
            session, statement, (const char *)session->text.data, session->text.len, ret_err);
    }
    return *slot;
}

/** The library takes pointers to plain memory but only reads what parameters point to. */
static void *readable(const void *data)
{
    union {
        const void *constant;
        void *plain;
    } view = {.constant = data};
    return view.plain;
}

/** Binds `rows` rows from `first` on as parameters of a text of that many rows. */
static MYSQL_BIND *bind_rows(
    struct mariadb_session *session, const struct mariadb_batch *batch, size_t first, size_t rows)
{
    size_t columns = (size_t)batch->column_count;
    MYSQL_BIND *binds = arena_zalloc(&session->arena, rows * columns, sizeof(*binds));
    static my_bool yes = 1;
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < columns; i++) {
            const struct mariadb_column *column = &batch->columns[i];
            MYSQL_BIND *bind = &binds[row * columns + i];
            bool null = column->indicators && column->indicators[first + row];
            bind->buffer_type = column->is_bytes ? MYSQL_TYPE_BLOB : MYSQL_TYPE_LONGLONG;
            if (column->is_bytes) {
                bind->buffer = readable(column->data[first + row]);
                bind->buffer_length = column->lengths[first + row];
                bind->length = &column->lengths[first + row];
            } else {
                bind->buffer = &column->numbers[first + row];
            }
            bind->is_null = null ? &yes : NULL;
        }
    }
    return binds;
}

/** Binds columns as arrays of `rows` rows from `first` on. */
static MYSQL_BIND *bind_arrays(
    struct mariadb_session *session, const struct mariadb_batch *batch, size_t first)
{
    size_t columns = (size_t)batch->column_count;
    MYSQL_BIND *binds = arena_zalloc(&session->arena, columns, sizeof(*binds));
    for (size_t i = 0; i < columns; i++) {
        const struct mariadb_column *column = &batch->columns[i];
        binds[i].buffer_type = column->is_bytes ? MYSQL_TYPE_BLOB : MYSQL_TYPE_LONGLONG;
        if (column->is_bytes) {
            binds[i].buffer = readable(&column->data[first]);
            binds[i].length = &column->lengths[first];
        } else {
            binds[i].buffer = &column->numbers[first];
        }
        if (column->indicators)
            binds[i].u.indicator = &column->indicators[first];
    }
    return binds;
}

static enum err execute(struct mariadb_session *session, int statement, MYSQL_STMT *prepared,
    MYSQL_BIND *binds, unsigned int array_size)
{
    if (mysql_stmt_attr_set(prepared, STMT_ATTR_ARRAY_SIZE, &array_size) != 0 ||
        mysql_stmt_bind_param(prepared, binds) != 0 || mysql_stmt_execute(prepared) != 0)
        return statement_failed(session, statement, prepared);
    return OK;
}

/** As many rows from `first` on as fit one request, at least one. */
static size_t rows_that_fit(
    const struct mariadb_session *session, const struct mariadb_batch *batch, size_t first)
{
    size_t bytes = row_bytes(batch, first);
    size_t count = 1;
    while (first + count < batch->rows) {
        bytes += row_bytes(batch, first + count);
        if (bytes > session->packet_bytes / 2)
            break;
        count++;
    }
    return count;
}

/** One request: *count is what fits, then what was done. */
static enum err change_some(struct mariadb_session *session, int statement,
    const struct mariadb_batch *batch, size_t first, size_t *count, uint64_t *ret_found)
{
    enum mariadb_width width = MARIADB_WIDTH_1;
    bool bulk = session->bulk && *count > 1;
    bool wide = !bulk && statement != MARIADB_VISIBILITY_UPDATE;
    while (wide && width + 1 < MARIADB_WIDTH_COUNT && *count >= mariadb_width_rows(width + 1))
        width++;
    if (!bulk)
        *count = mariadb_width_rows(width);
    enum err err = OK;
    MYSQL_STMT *prepared = get_statement(session, statement, width, &err);
    if (!prepared)
        return err;
    err = bulk ? execute(session, statement, prepared, bind_arrays(session, batch, first),
                     (unsigned int)*count)
               : execute(session, statement, prepared, bind_rows(session, batch, first, *count), 0);
    if (err == OK)
        *ret_found += mysql_stmt_affected_rows(prepared);
    return err;
}

enum err mariadb_change(struct mariadb_session *session, int statement,
    const struct mariadb_batch *batch, uint64_t *ret_found)
{
    uint64_t found = 0;
    for (size_t first = 0; first < batch->rows;) {
        if (row_bytes(batch, first) > session->packet_bytes) {
            (void)snprintf(session->base.text, sizeof(session->base.text),
                "a row of %zu bytes exceeds the server's max_allowed_packet of %zu",
                row_bytes(batch, first), session->packet_bytes);
            return ERR_TOO_LARGE;
        }
        size_t count = rows_that_fit(session, batch, first);
        enum err err = change_some(session, statement, batch, first, &count, &found);
        if (err)
            return err;
        first += count;
    }
    *ret_found = found;
    return OK;
}

/* ---- results ---- */

/** `columns`: one letter per column, n (number) or b (bytes). */
static enum err bind_result(struct mariadb_session *session, int statement, MYSQL_STMT *prepared,
    const char *columns, struct mariadb_result *ret_result)
{
    *ret_result = (struct mariadb_result){.statement = prepared};
    ret_result->column_count = (int)strlen(columns);
    CHECK(ret_result->column_count <= MARIADB_RESULT_COLUMNS_MAX);
    CHECK((unsigned int)ret_result->column_count == mysql_stmt_field_count(prepared));
    for (int i = 0; i < ret_result->column_count; i++) {
        MYSQL_BIND *bind = &ret_result->binds[i];
        bind->is_null = &ret_result->nulls[i];
        bind->length = &ret_result->lengths[i];
        bind->buffer_type = columns[i] == 'n' ? MYSQL_TYPE_LONGLONG : MYSQL_TYPE_BLOB;
        if (columns[i] == 'n')
            bind->buffer = &ret_result->numbers[i];
    }
    if (mysql_stmt_bind_result(prepared, ret_result->binds) != 0)
        return statement_failed(session, statement, prepared);
    return OK;
}

enum err mariadb_query(struct mariadb_session *session, int statement, enum mariadb_width width,
    const struct mariadb_batch *batch, size_t first, const char *columns,
    struct mariadb_result *ret_result)
{
    enum err err = OK;
    MYSQL_STMT *prepared = get_statement(session, statement, width, &err);
    if (!prepared)
        return err;
    err = execute(session, statement, prepared,
        bind_rows(session, batch, first, mariadb_width_rows(width)), 0);
    if (err)
        return err;
    return bind_result(session, statement, prepared, columns, ret_result);
}

enum err mariadb_query_text(struct mariadb_session *session, const struct sql_text *sql,
    const char *columns, struct mariadb_result *ret_result)
{
    enum err err = OK;
    MYSQL_STMT *prepared = prepare(session, MARIADB_STATEMENT_COUNT, sql->text, sql->len, &err);
    if (!prepared)
        return err;
    MYSQL_BIND *binds = arena_zalloc(&session->arena, sql->value_count + 1, sizeof(*binds));
    for (size_t i = 0; i < sql->value_count; i++) {
        struct sql_value *value = &sql->values[i];
        binds[i].buffer_type = value->is_bytes ? MYSQL_TYPE_BLOB : MYSQL_TYPE_LONGLONG;
        if (value->is_bytes) {
            binds[i].buffer = readable(value->bytes.len > 0 ? (const void *)value->bytes.data : "");
            binds[i].buffer_length = value->bytes.len;
        } else {
            binds[i].buffer = &value->number;
        }
    }
    err = execute(session, MARIADB_STATEMENT_COUNT, prepared, binds, 0);
    if (err == OK)
        err = bind_result(session, MARIADB_STATEMENT_COUNT, prepared, columns, ret_result);
    if (err)
        (void)mysql_stmt_close(prepared);
    ret_result->once = err == OK;
    return err;
}

enum err mariadb_fetch(
    struct mariadb_session *session, struct mariadb_result *result, bool *ret_row)
{
    int status = mysql_stmt_fetch(result->statement);
    *ret_row = status == 0 || status == MYSQL_DATA_TRUNCATED; /* bytes are fetched apart */
    if (*ret_row || status == MYSQL_NO_DATA)
        return OK;
    enum err err = statement_failed(session, MARIADB_STATEMENT_COUNT, result->statement);
    mariadb_result_close(session, result);
    return err;
}

struct bytes mariadb_bytes(struct arena *arena, struct mariadb_result *result, int column)
{
    unsigned long len = result->nulls[column] ? 0 : result->lengths[column];
    uint8_t *data = arena_alloc(arena, len + 1);
    data[len] = 0;
    unsigned long fetched = 0;
    my_bool null = 0;
    MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_BLOB,
        .buffer = data,
        .buffer_length = len,
        .length = &fetched,
        .is_null = &null};
    if (len > 0) {
        int status = mysql_stmt_fetch_column(result->statement, &bind, (unsigned int)column, 0);
        CHECK(status == 0); /* a copy out of the row in memory */
    }
    return bytes_make(data, len);
}

struct uuid mariadb_uuid(struct mariadb_result *result, int column)
{
    struct uuid uuid = {{0}};
    unsigned long fetched = 0;
    my_bool null = 0;
    MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_BLOB,
        .buffer = uuid.bytes,
        .buffer_length = sizeof(uuid.bytes),
        .length = &fetched,
        .is_null = &null};
    if (!result->nulls[column] && result->lengths[column] == sizeof(uuid.bytes)) {
        int status = mysql_stmt_fetch_column(result->statement, &bind, (unsigned int)column, 0);
        CHECK(status == 0);
    }
    return uuid;
}

void mariadb_result_close(struct mariadb_session *session, struct mariadb_result *result)
{
    if (result->once)
        (void)mysql_stmt_close(result->statement); /* works without a connection, too */
    else if (result->statement && session->conn)
        (void)mysql_stmt_free_result(result->statement); /* a dead connection shows at next use */
    result->once = false;
    result->statement = NULL;
}

/* ---- transactions ---- */

enum err mariadb_commit_transaction(struct mariadb_session *session)
{
    if (mysql_commit(session->conn) == 0)
        return OK;
    unsigned int number = mysql_errno(session->conn);
    (void)snprintf(session->base.text, sizeof(session->base.text), "commit: %s (%u)",
        mysql_error(session->conn), number);
    enum err err = mariadb_errno_err(number);
    if (err == ERR_CONFLICT)
        return err; /* Galera: certification failed */
    mariadb_disconnect(session);
    return ERR_UNKNOWN_COMMIT;
}

enum err mariadb_finish(struct mariadb_session *session, enum err err)
{
    arena_reset(&session->arena);
    if (!session->conn)
        return err;
    /* Not only when the status says so: an error answer carries no status. */
    bool open = session->writer
                    ? err != OK || (session->conn->server_status & SERVER_STATUS_IN_TRANS)
                    : false;
    if (open && mysql_rollback(session->conn) != 0)
        mariadb_disconnect(session);
    return err;
}
