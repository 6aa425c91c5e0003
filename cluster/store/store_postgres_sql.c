/* SPDX-License-Identifier: Apache-2.0
 *
 * The PostgreSQL driver's statements.
 *
 * Rows travel as one array per column and are joined by unnest(), so one statement carries any
 * number of rows. In a pipeline COMMIT is on its way before a row count can be read; what must stop
 * the transaction therefore fails on the server: a missed fence divides by zero (22012), an update
 * that finds fewer rows than it has casts a sentence to a number (22P02), and the sentence comes
 * back as the message.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/sql_filter.h"
#include "cluster/store/store_postgres.h"

#define GENERIC_ARRAYS "unnest($1::int4[], $2::bytea[], $3::bytea[])"
#define RUN_ARRAYS \
    "unnest($1::int4[], $2::bytea[], $3::bytea[], $4::bytea[], $5::int8[], $6::int8[])"
#define VISIBILITY_ARRAYS                                                                      \
    "unnest($1::int4[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], "     \
    "$7::int4[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[], " \
    "$14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bytea[], $19::bytea[])"

/** Wraps an UPDATE … RETURNING 1 so that it fails unless it hits the expected number of rows. */
static void add_counted(
    struct buffer *text, const char *update, const char *table, const char *expected)
{
    buffer_printf(text,
        "WITH changed AS (%s RETURNING 1) SELECT CASE WHEN count(*) = %s::int8 THEN 0 "
        "ELSE ('update of %s missed rows: found ' || count(*))::int4 END FROM changed",
        update, expected, table);
}

static void insert_text(struct buffer *text, enum table table, bool put)
{
    bool run = table == TABLE_RUN;
    buffer_printf(text, "INSERT INTO %s (shard, key, value%s) SELECT * FROM %s", table_name(table),
        run ? ", namespace_id, due_ns, expire_ns" : "", run ? RUN_ARRAYS : GENERIC_ARRAYS);
    if (put)
        buffer_printf(text, " ON CONFLICT (shard, key) DO UPDATE SET value = excluded.value%s",
            run ? ", namespace_id = excluded.namespace_id, due_ns = excluded.due_ns, "
                  "expire_ns = excluded.expire_ns"
                : "");
}

static void update_text(struct buffer *text, enum table table, bool index)
{
    char update[512];
    (void)snprintf(update, sizeof(update),
        "UPDATE %s AS t SET value = u.value%s FROM unnest($1::int4[], $2::bytea[], $3::bytea[]%s) "
        "AS u(shard, key, value%s) WHERE t.shard = u.shard AND t.key = u.key",
        table_name(table), index ? ", due_ns = u.due_ns, expire_ns = u.expire_ns" : "",
        index ? ", $5::int8[], $6::int8[]" : "", index ? ", due_ns, expire_ns" : "");
    add_counted(text, update, table_name(table), "$4");
}

static void get_text(struct buffer *text, enum table table)
{
    buffer_printf(text,
        "SELECT u.i, t.value%s FROM unnest($1::int4[], $2::bytea[]) WITH ORDINALITY "
        "AS u(shard, key, i) JOIN %s AS t ON t.shard = u.shard AND t.key = u.key",
        table == TABLE_RUN ? ", t.namespace_id, t.due_ns, t.expire_ns" : "", table_name(table));
}

/* Parameters: shard, from, rows, and, when used, to and bytes. With a bound in bytes the row behind
 * the bound comes without its value, which tells that there is one. */
static void scan_text(struct buffer *text, enum table table, unsigned flags)
{
    const char *order = flags & POSTGRES_SCAN_REVERSE ? "ORDER BY key DESC" : "ORDER BY key";
    const char *columns = table == TABLE_RUN ? ", namespace_id, due_ns, expire_ns" : "";
    bool open = flags & POSTGRES_SCAN_OPEN;
    char where[160];
    (void)snprintf(where, sizeof(where), "FROM %s WHERE shard = $1::int4 AND key >= $2::bytea%s",
        table_name(table), open ? "" : " AND key < $4::bytea");
    if (!(flags & POSTGRES_SCAN_BYTES)) {
        buffer_printf(text, "SELECT key, value%s %s %s LIMIT $3::int8", columns, where, order);
        return;
    }
    const char *limit = open ? "$4::int8" : "$5::int8";
    buffer_printf(text,
        "SELECT key, CASE WHEN before <= %s THEN value END%s FROM (SELECT key, value%s, "
        "sum(octet_length(key) + octet_length(value)) OVER w - octet_length(key) "
        "- octet_length(value) AS before, "
        "lag(octet_length(key) + octet_length(value), 1, 0) OVER w AS previous "
        "%s WINDOW w AS (%s) %s LIMIT $3::int8) AS rows WHERE before - previous <= %s %s",
        limit, columns, columns, where, order, order, limit, order);
}

static void table_text(struct buffer *text, enum postgres_kind kind, enum table table)
{
    if (kind >= POSTGRES_SCAN) {
        scan_text(text, table, (unsigned)(kind - POSTGRES_SCAN));
    } else if (kind == POSTGRES_INSERT || kind == POSTGRES_PUT) {
        insert_text(text, table, kind == POSTGRES_PUT);
    } else if (kind == POSTGRES_UPDATE || kind == POSTGRES_UPDATE_INDEX) {
        update_text(text, table, kind == POSTGRES_UPDATE_INDEX);
    } else if (kind == POSTGRES_GET) {
        get_text(text, table);
    } else if (kind == POSTGRES_DELETE) {
        buffer_printf(text,
            "DELETE FROM %s AS t USING unnest($1::int4[], $2::bytea[]) AS u(shard, key) "
            "WHERE t.shard = u.shard AND t.key = u.key",
            table_name(table));
    } else {
        CHECK(kind == POSTGRES_DELETE_RANGE);
        buffer_printf(text,
            "DELETE FROM %s AS t USING unnest($1::int4[], $2::bytea[], $3::bytea[]) "
            "AS u(shard, a, b) WHERE t.shard = u.shard AND t.key >= u.a AND t.key < u.b",
            table_name(table));
    }
}

static void due_text(struct buffer *text, const char *column, bool namespace)
{
    buffer_printf(text,
        "SELECT key, value, namespace_id, due_ns, expire_ns FROM run WHERE shard = $1::int4 AND "
        "%s >= $2::int8 AND %s <= $3::int8%s ORDER BY %s, key LIMIT $4::int8",
        column, column, namespace ? " AND namespace_id = $5::bytea" : "", column);
}

static void visibility_update_text(struct buffer *text)
{
    static const char columns[] = SQL_VISIBILITY_COLUMNS;
    struct buffer update;
    buffer_init(&update);
    buffer_printf(&update, "UPDATE visibility AS t SET ");
    const char *at = columns;
    for (int i = 0; i < SQL_VISIBILITY_COLUMN_COUNT; i++) {
        int len = (int)strcspn(at, ",");
        if (i >= 2) /* behind the key */
            buffer_printf(&update, "%s%.*s = u.%.*s", i > 2 ? ", " : "", len, at, len, at);
        at += len + (at[len] == ',' ? 2 : 0);
    }
    buffer_printf(&update,
        " FROM " VISIBILITY_ARRAYS " AS u(%s) WHERE t.shard = u.shard AND t.run_id = u.run_id",
        columns);
    add_counted(text, (const char *)update.data, "visibility", "$20");
    buffer_release(&update);
}

void postgres_statement_text(int statement, struct buffer *ret_text)
{
    CHECK(statement >= 0);
    if (statement < POSTGRES_BEGIN) {
        table_text(ret_text, (enum postgres_kind)(statement / TABLE_COUNT),
            (enum table)(statement % TABLE_COUNT));
        return;
    }
    const char *text = NULL;
    switch ((enum postgres_statement)statement) {
    case POSTGRES_BEGIN:
        text = "BEGIN";
        break;
    case POSTGRES_COMMIT:
        text = "COMMIT";
        break;
    case POSTGRES_ROLLBACK:
        text = "ROLLBACK";
        break;
    case POSTGRES_FENCE:
        /* The arrays are sorted by shard and joined in their order: no two commits deadlock. */
        text = "WITH u AS (UPDATE shard AS t SET commit_no = f.commit_no FROM unnest($1::int4[], "
               "$2::int8[], $3::int8[]) AS f(shard, range_id, commit_no) WHERE t.shard = f.shard "
               "AND t.range_id = f.range_id AND t.commit_no = f.commit_no - 1 RETURNING 1) "
               "SELECT 1 / (CASE WHEN count(*) = $4::int8 THEN 1 ELSE 0 END) FROM u";
        break;
    case POSTGRES_SHARD_CREATE:
        text = "INSERT INTO shard (shard, range_id, commit_no, owner) VALUES ($1::int4, 0, 0, '') "
               "ON CONFLICT (shard) DO NOTHING";
        break;
    case POSTGRES_SHARD_TAKE:
        text = "UPDATE shard SET range_id = range_id + 1, owner = $2::bytea WHERE shard = $1::int4 "
               "RETURNING range_id, commit_no";
        break;
    case POSTGRES_SHARD_TAKE_EXPECTED:
        text = "UPDATE shard SET range_id = range_id + 1, owner = $2::bytea WHERE shard = $1::int4 "
               "AND range_id = $3::int8 RETURNING range_id, commit_no";
        break;
    case POSTGRES_DUE:
        due_text(ret_text, "due_ns", true);
        return;
    case POSTGRES_DUE_ALL:
        due_text(ret_text, "due_ns", false);
        return;
    case POSTGRES_EXPIRE:
        due_text(ret_text, "expire_ns", false);
        return;
    case POSTGRES_VISIBILITY_INSERT:
        text =
            "INSERT INTO visibility (" SQL_VISIBILITY_COLUMNS ") SELECT * FROM " VISIBILITY_ARRAYS;
        break;
    case POSTGRES_VISIBILITY_UPDATE:
        visibility_update_text(ret_text);
        return;
    case POSTGRES_VISIBILITY_DELETE:
        text = "DELETE FROM visibility AS t USING unnest($1::int4[], $2::bytea[]) "
               "AS u(shard, run_id) WHERE t.shard = u.shard AND t.run_id = u.run_id";
        break;
    case POSTGRES_COUNT_SETTINGS:
        text = "SELECT set_config('enable_seqscan', 'on', true), "
               "set_config('enable_bitmapscan', 'on', true)";
        break;
    case POSTGRES_STATEMENT_COUNT:
        break;
    }
    CHECK(text != NULL);
    buffer_append(ret_text, text, strlen(text));
}

void postgres_statement_title(int statement, char *ret_title, size_t size)
{
    static const char *const kinds[] = {
        "insert", "update", "update", "put", "delete", "delete range", "get"};
    static const char *const singles[] = {"begin", "commit", "rollback", "fence", "create shard",
        "take shard", "take shard", "due", "due", "expire", "insert visibility",
        "update visibility", "delete visibility", "settings", "query"};
    if (statement >= POSTGRES_BEGIN) {
        (void)snprintf(ret_title, size, "%s", singles[statement - POSTGRES_BEGIN]);
        return;
    }
    int kind = statement / TABLE_COUNT;
    (void)snprintf(ret_title, size, "%s %s", kind >= POSTGRES_SCAN ? "scan" : kinds[kind],
        table_name((enum table)(statement % TABLE_COUNT)));
}
