/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipeline of one PostgreSQL connection: parameters in, results out, errors classified.
 *
 * What a lost connection means is decided here: before COMMIT was queued, nothing was applied.
 * After that it is unknown, unless the server itself answered an earlier statement with an error:
 * answers come in order, so it cannot have executed COMMIT.
 */
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/store/store_postgres.h"

/* Longer than the server's own statement timeout, so that this one is for dead networks. */
#define ANSWER_TIMEOUT_NS (90 * NS_PER_S)

/* ---- parameters ---- */

static uint8_t *param_begin(struct postgres_params *params, size_t size)
{
    CHECK(params->count < POSTGRES_PARAMS_MAX);
    params->starts[params->count++] = params->data.len;
    uint8_t *at = buffer_reserve(&params->data, size);
    params->data.len += size;
    return at;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    uint32_t big = htobe32(value);
    memcpy(at, &big, sizeof(big));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    uint64_t big = htobe64(value);
    memcpy(at, &big, sizeof(big));
}

void postgres_param_i32(struct postgres_params *params, int32_t value)
{
    put_u32(param_begin(params, 4), (uint32_t)value);
}

void postgres_param_i64(struct postgres_params *params, int64_t value)
{
    put_u64(param_begin(params, 8), (uint64_t)value);
}

void postgres_param_bytes(struct postgres_params *params, struct bytes value)
{
    uint8_t *at = param_begin(params, value.len);
    if (value.len > 0)
        memcpy(at, value.data, value.len);
}

/* The wire form of an array: dimensions, has-nulls, element type, length, lower bound, elements
 * (length, bytes). An array of no elements has no dimension. */
void postgres_array(struct postgres_params *params, uint32_t oid, size_t count)
{
    CHECK(count > 0);
    uint8_t *at = param_begin(params, 20);
    put_u32(at, 1);
    put_u32(at + 4, 1);
    put_u32(at + 8, oid);
    put_u32(at + 12, (uint32_t)count);
    put_u32(at + 16, 1);
}

void postgres_element_i32(struct postgres_params *params, int32_t value)
{
    uint8_t *at = buffer_reserve(&params->data, 8);
    put_u32(at, 4);
    put_u32(at + 4, (uint32_t)value);
    params->data.len += 8;
}

void postgres_element_i64(struct postgres_params *params, int64_t value)
{
    uint8_t *at = buffer_reserve(&params->data, 12);
    put_u32(at, 8);
    put_u64(at + 4, (uint64_t)value);
    params->data.len += 12;
}

void postgres_element_null(struct postgres_params *params)
{
    put_u32(buffer_reserve(&params->data, 4), UINT32_MAX);
    params->data.len += 4;
}

void postgres_element_bytes(struct postgres_params *params, struct bytes value)
{
    uint8_t *at = buffer_reserve(&params->data, 4 + value.len);
    put_u32(at, (uint32_t)value.len);
    if (value.len > 0)
        memcpy(at + 4, value.data, value.len);
    params->data.len += 4 + value.len;
}

/* ---- errors ---- */

void postgres_reason(char text[256], const char *what, const char *message)
{
    size_t len = 0;
    int printed = snprintf(text, 256, "%s: ", what);
    if (printed > 0)
        len = (size_t)printed < 255 ? (size_t)printed : 255;
    while (message && *message && len < 255) {
        text[len++] = *message == '\n' ? ' ' : *message;
        message++;
    }
    while (len > 0 && text[len - 1] == ' ')
        len--;
    text[len] = '\0';
}

enum err postgres_sqlstate_err(const char *sqlstate)
{
    static const struct {
        char prefix[6];
        enum err err;
    } table[] = {
        {"40003", ERR_UNKNOWN_COMMIT}, /* a distributed server does not know either */
        {"08007", ERR_UNKNOWN_COMMIT},
        {"08", ERR_UNAVAILABLE},
        {"57P", ERR_UNAVAILABLE},
        {"53", ERR_UNAVAILABLE},    /* connections, disk, memory */
        {"25006", ERR_UNAVAILABLE}, /* has become a standby */
        {"25P0", ERR_UNAVAILABLE},  /* transaction timeouts: the server hung up */
        {"26000", ERR_UNAVAILABLE}, /* somebody discarded our prepared statements */
        {"0A000", ERR_UNAVAILABLE}, /* a cached plan does not fit a changed table */
        {"23505", ERR_DUPLICATE_KEY},
        {"40", ERR_CONFLICT},
        {"55P03", ERR_CONFLICT}, /* lock timeout */
        {"22012", ERR_FENCED},
        {"22P02", ERR_CORRUPT},
        {"57014", ERR_TIMEOUT},
        {"54", ERR_TOO_LARGE},
        {"28", ERR_CONFIG},
        {"3D", ERR_CONFIG},
        {"42501", ERR_CONFIG},
        {"42P01", ERR_VERSION}, /* tables or columns are missing */
        {"42703", ERR_VERSION},
    };
    for (size_t i = 0; sqlstate && i < ARRAY_LEN(table); i++) {
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].err;
    }
    return sqlstate ? ERR_INTERNAL : ERR_UNAVAILABLE;
}

/** After these the connection must not be used again. */
static bool ends_connection(enum err err, const char *sqlstate)
{
    return !sqlstate || (err == ERR_UNAVAILABLE && strncmp(sqlstate, "53", 2) != 0) ||
           err == ERR_UNKNOWN_COMMIT;
}

static enum err lost(struct postgres_session *session, const char *what)
{
    postgres_reason(
        session->base.text, what, session->conn ? PQerrorMessage(session->conn) : "not connected");
    bool unknown = session->commit_queued;
    postgres_disconnect(session);
    return unknown ? ERR_UNKNOWN_COMMIT : ERR_UNAVAILABLE;
}

/** Turns a failed result into an error. */
static enum err failed(struct postgres_session *session, int statement, const PGresult *result)
{
    char title[48];
    postgres_statement_title(statement, title, sizeof(title));
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!sqlstate && PQresultStatus(result) != PGRES_PIPELINE_ABORTED)
        return lost(session, title);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    postgres_reason(session->base.text, title, message ? message : PQresultErrorMessage(result));
    enum err err = sqlstate ? postgres_sqlstate_err(sqlstate) : ERR_INTERNAL;
    /* COMMIT itself failed on its way out: it may have happened. */
    if (statement == POSTGRES_COMMIT && err == ERR_UNAVAILABLE)
        err = ERR_UNKNOWN_COMMIT;
    if (ends_connection(err, sqlstate))
        postgres_disconnect(session);
    return err;
}

/* ---- sending ---- */

static void params_clear(struct postgres_params *params)
{
    params->count = 0;
    buffer_clear(&params->data);
}

static void step_add(struct postgres_session *session, int statement, bool prepare)
{
    CHECK(session->step_count < POSTGRES_STEPS_MAX);
    session->steps[session->step_count++] =
        (struct postgres_step){.statement = statement, .prepare = prepare};
}

static enum err prepare(struct postgres_session *session, int statement, const char *name)
{
    buffer_clear(&session->text);
    postgres_statement_text(statement, &session->text);
    buffer_append(&session->text, "", 1);
    if (!PQsendPrepare(session->conn, name, (const char *)session->text.data, 0, NULL))
        return lost(session, "prepare");
    step_add(session, statement, true);
    session->prepared[statement] = POSTGRES_PREPARING;
    return OK;
}

static enum err send_query(struct postgres_session *session, int statement, const char *sql)
{
    const struct postgres_params *params = &session->params;
    const char *values[POSTGRES_PARAMS_MAX];
    int lengths[POSTGRES_PARAMS_MAX];
    for (int i = 0; i < params->count; i++) {
        size_t end = i + 1 < params->count ? params->starts[i + 1] : params->data.len;
        /* A pointer that is not NULL: otherwise an empty value would become NULL. */
        values[i] = params->data.data ? (const char *)params->data.data + params->starts[i] : "";
        lengths[i] = (int)(end - params->starts[i]);
    }
    int sent = 0;
    if (statement == POSTGRES_TEXT) {
        sent = PQsendQueryParams(
            session->conn, sql, params->count, NULL, values, lengths, session->formats, 1);
    } else {
        char name[16];
        (void)snprintf(name, sizeof(name), "s%d", statement);
        enum err err = OK;
        if (session->prepared[statement] == POSTGRES_UNKNOWN)
            err = prepare(session, statement, name);
        if (err) {
            params_clear(&session->params);
            return err;
        }
        if (statement == POSTGRES_COMMIT)
            session->commit_queued = true;
        sent = PQsendQueryPrepared(
            session->conn, name, params->count, values, lengths, session->formats, 1);
    }
    params_clear(&session->params);
    if (!sent)
        return lost(session, "send");
    step_add(session, statement, false);
    return OK;
}

enum err postgres_send(struct postgres_session *session, int statement)
{
    CHECK(statement >= 0 && statement < POSTGRES_STATEMENT_COUNT);
    if (!session->conn)
        return ERR_UNAVAILABLE;
    return send_query(session, statement, NULL);
}

enum err postgres_send_text(struct postgres_session *session, const char *sql)
{
    if (!session->conn)
        return ERR_UNAVAILABLE;
    return send_query(session, POSTGRES_TEXT, sql);
}

enum err postgres_sync(struct postgres_session *session)
{
    if (!PQpipelineSync(session->conn))
        return lost(session, "send");
    session->synced = true;
    return OK;
}

/* ---- receiving ---- */

/** Waits until PQgetResult() will not block, for a bounded time. */
static bool wait_answer(struct postgres_session *session)
{
    const struct env *env = env_system();
    int64_t until = 0;
    while (PQisBusy(session->conn)) {
        int64_t now = env_monotonic_ns(env);
        if (until == 0)
            until = now + ANSWER_TIMEOUT_NS;
        if (now >= until)
            return false;
        struct pollfd poller = {.fd = PQsocket(session->conn), .events = POLLIN};
        (void)poll(&poller, 1, (int)((until - now) / NS_PER_MS) + 1); /* the loop checks again */
        if (!PQconsumeInput(session->conn))
            return true; /* PQgetResult() then tells what happened */
    }
    return true;
}

/** The result of the next message, prepare messages included. Its NULL is consumed too. */
static enum err next_message(
    struct postgres_session *session, struct postgres_step *ret_step, PGresult **ret_result)
{
    CHECK(session->step_next < session->step_count);
    struct postgres_step step = session->steps[session->step_next];
    char title[48];
    postgres_statement_title(step.statement, title, sizeof(title));
    if (!wait_answer(session))
        return lost(session, title);
    PGresult *result = PQgetResult(session->conn);
    if (!result)
        return lost(session, title);
    session->step_next++;
    ExecStatusType status = PQresultStatus(result);
    bool done = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (step.prepare && step.statement < POSTGRES_STATEMENT_COUNT)
        session->prepared[step.statement] = done ? POSTGRES_PREPARED : POSTGRES_UNKNOWN;
    if (!done) {
        enum err err = failed(session, step.statement, result);
        PQclear(result);
        if (session->conn)
            PQclear(PQgetResult(session->conn)); /* the NULL that ends a statement's results */
        return err;
    }
    PGresult *end = wait_answer(session) ? PQgetResult(session->conn) : NULL;
    if (end) {
        PQclear(end);
        PQclear(result);
        return lost(session, title);
    }
    *ret_step = step;
    *ret_result = result;
    return OK;
}

enum err postgres_next(struct postgres_session *session, PGresult **ret_result)
{
    if (!session->conn)
        return ERR_UNAVAILABLE;
    for (;;) {
        struct postgres_step step = {0};
        PGresult *result = NULL;
        enum err err = next_message(session, &step, &result);
        if (err)
            return err;
        if (!step.prepare) {
            *ret_result = result;
            return OK;
        }
        PQclear(result);
    }
}

/** Skips what is left of a pipeline, the sync included. */
static enum err skip_to_sync(struct postgres_session *session)
{
    while (session->conn && session->step_next < session->step_count) {
        struct postgres_step step = session->steps[session->step_next];
        if (!wait_answer(session))
            return lost(session, "answer");
        PGresult *result = PQgetResult(session->conn);
        if (!result)
            return lost(session, "answer");
        ExecStatusType status = PQresultStatus(result);
        bool gone = PQstatus(session->conn) == CONNECTION_BAD;
        PQclear(result);
        if (gone)
            return lost(session, "answer");
        if (step.prepare)
            session->prepared[step.statement] =
                status == PGRES_COMMAND_OK ? POSTGRES_PREPARED : POSTGRES_UNKNOWN;
        PQclear(PQgetResult(session->conn));
        session->step_next++;
    }
    if (!session->conn || !session->synced)
        return OK;
    if (!wait_answer(session))
        return lost(session, "sync");
    PGresult *result = PQgetResult(session->conn);
    ExecStatusType status = result ? PQresultStatus(result) : PGRES_FATAL_ERROR;
    PQclear(result);
    session->step_count = 0;
    session->step_next = 0;
    session->synced = false;
    return status == PGRES_PIPELINE_SYNC ? OK : lost(session, "sync");
}

enum err postgres_finish(struct postgres_session *session, enum err err)
{
    CHECK(err != OK || session->step_next == session->step_count);
    char text[256];
    memcpy(text, session->base.text, sizeof(text));
    /* The outcome is known: whatever happens from here on only costs the connection. */
    session->commit_queued = false;
    if (session->conn && !session->synced)
        postgres_disconnect(session); /* sending stopped half-way */
    enum err end = skip_to_sync(session);
    if (end == OK && session->conn && PQtransactionStatus(session->conn) != PQTRANS_IDLE) {
        end = postgres_send(session, POSTGRES_ROLLBACK);
        if (end == OK)
            end = postgres_sync(session);
        if (end == OK)
            end = skip_to_sync(session);
        if (session->conn && PQtransactionStatus(session->conn) != PQTRANS_IDLE)
            postgres_disconnect(session);
    }
    memcpy(session->base.text, text, sizeof(text));
    return err;
}
