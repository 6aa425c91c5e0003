/* SPDX-License-Identifier: Apache-2.0
 *
 * The MariaDB driver's statements, for one row or for several.
 *
 * The parameters of a text of n rows are those of the text of one row, n times. Index hints are
 * there because an empty table's statistics make the optimizer read a whole shard by a secondary
 * index.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/store_mariadb.h"

static void add(struct buffer *text, const char *part)
{
    buffer_append(text, part, strlen(part));
}

/** `part`, `rows` times, separated. */
static void repeat(struct buffer *text, const char *part, const char *separator, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        if (i > 0)
            add(text, separator);
        add(text, part);
    }
}

static const char *columns_of(enum table table)
{
    return table == TABLE_RUN ? "shard, `key`, value, namespace_id, due_ns, expire_ns"
                              : "shard, `key`, value";
}

static void insert_text(struct buffer *text, enum table table, size_t rows, bool put)
{
    buffer_printf(text, "INSERT INTO `%s` (%s) VALUES ", table_name(table), columns_of(table));
    repeat(text, table == TABLE_RUN ? "(?, ?, ?, ?, ?, ?)" : "(?, ?, ?)", ", ", rows);
    if (put)
        add(text, " ON DUPLICATE KEY UPDATE value = VALUES(value)");
    if (put && table == TABLE_RUN)
        add(text, ", namespace_id = VALUES(namespace_id), due_ns = VALUES(due_ns), "
                  "expire_ns = VALUES(expire_ns)");
}

/* Parameters of a row: value, due and expire when they change, shard, key. */
static void update_text(struct buffer *text, enum table table, size_t rows, bool index)
{
    if (rows == 1) {
        buffer_printf(text, "UPDATE `%s` SET value = ?%s WHERE shard = ? AND `key` = ?",
            table_name(table), index ? ", due_ns = ?, expire_ns = ?" : "");
        return;
    }
    const char *times =
        index ? "CAST(? AS SIGNED) AS due_ns, CAST(? AS SIGNED) AS expire_ns, " : "";
    add(text, "UPDATE (");
    for (size_t i = 0; i < rows; i++)
        buffer_printf(text,
            "%sSELECT CAST(? AS BINARY) AS value, %sCAST(? AS SIGNED) AS shard, "
            "CAST(? AS BINARY) AS `key`",
            i > 0 ? " UNION ALL " : "", times);
    buffer_printf(text,
        ") AS u STRAIGHT_JOIN `%s` AS t FORCE INDEX (PRIMARY) ON t.shard = u.shard AND "
        "t.`key` = u.`key` SET t.value = u.value%s",
        table_name(table), index ? ", t.due_ns = u.due_ns, t.expire_ns = u.expire_ns" : "");
}

static void delete_text(struct buffer *text, enum table table, size_t rows, bool range)
{
    /* Only the form of several tables takes a hint, and only the other one is allowed in bulk. */
    if (rows == 1)
        buffer_printf(text, "DELETE FROM `%s` WHERE ", table_name(table));
    else
        buffer_printf(
            text, "DELETE t FROM `%s` AS t FORCE INDEX (PRIMARY) WHERE ", table_name(table));
    repeat(text, range ? "(shard = ? AND `key` >= ? AND `key` < ?)" : "(shard = ? AND `key` = ?)",
        " OR ", rows);
}

static void get_text(struct buffer *text, enum table table, size_t rows)
{
    buffer_printf(text, "SELECT %s FROM `%s` FORCE INDEX (PRIMARY) WHERE ", columns_of(table),
        table_name(table));
    repeat(text, "(shard = ? AND `key` = ?)", " OR ", rows);
}

/* Parameters: shard, from, to when there is one, rows. */
static void scan_text(struct buffer *text, enum table table, unsigned flags)
{
    buffer_printf(text,
        "SELECT %s FROM `%s` FORCE INDEX (PRIMARY) WHERE shard = ? AND `key` >= ?%s "
        "ORDER BY `key`%s LIMIT ?",
        columns_of(table), table_name(table), flags & MARIADB_SCAN_OPEN ? "" : " AND `key` < ?",
        flags & MARIADB_SCAN_REVERSE ? " DESC" : "");
}

static void due_text(struct buffer *text, const char *index, const char *column, bool namespace)
{
    buffer_printf(text,
        "SELECT %s FROM run FORCE INDEX (%s) WHERE shard = ?%s AND %s >= ? AND %s <= ? "
        "ORDER BY %s, `key` LIMIT ?",
        columns_of(TABLE_RUN), index, namespace ? " AND namespace_id = ?" : "", column, column,
        column);
}

/* Parameters of a row: all columns but the key, then the key. One row only. */
static void visibility_update_text(struct buffer *text)
{
    static const char columns[] = SQL_VISIBILITY_COLUMNS;
    add(text, "UPDATE visibility SET ");
    const char *at = columns;
    for (int i = 0; i < SQL_VISIBILITY_COLUMN_COUNT; i++) {
        int len = (int)strcspn(at, ",");
        if (i >= 2) /* behind the key */
            buffer_printf(text, "%s%.*s = ?", i > 2 ? ", " : "", len, at);
        at += len + (at[len] == ',' ? 2 : 0);
    }
    add(text, " WHERE shard = ? AND run_id = ?");
}

static void table_text(struct buffer *text, enum mariadb_kind kind, enum table table, size_t rows)
{
    if (kind >= MARIADB_SCAN)
        scan_text(text, table, (unsigned)(kind - MARIADB_SCAN));
    else if (kind == MARIADB_INSERT || kind == MARIADB_PUT)
        insert_text(text, table, rows, kind == MARIADB_PUT);
    else if (kind == MARIADB_UPDATE || kind == MARIADB_UPDATE_INDEX)
        update_text(text, table, rows, kind == MARIADB_UPDATE_INDEX);
    else if (kind == MARIADB_DELETE || kind == MARIADB_DELETE_RANGE)
        delete_text(text, table, rows, kind == MARIADB_DELETE_RANGE);
    else
        get_text(text, table, rows);
}

void mariadb_statement_text(int statement, size_t rows, struct buffer *ret_text)
{
    if (statement < MARIADB_FENCE) {
        table_text(ret_text, (enum mariadb_kind)(statement / TABLE_COUNT),
            (enum table)(statement % TABLE_COUNT), rows);
        return;
    }
    switch ((enum mariadb_statement)statement) {
    case MARIADB_FENCE:
        add(ret_text, "UPDATE shard SET commit_no = commit_no + 1 WHERE ");
        repeat(ret_text, "(shard = ? AND range_id = ? AND commit_no = ?)", " OR ", rows);
        break;
    case MARIADB_SHARD_CREATE:
        add(ret_text,
            "INSERT IGNORE INTO shard (shard, range_id, commit_no, owner) VALUES (?, 0, 0, '')");
        break;
    case MARIADB_SHARD_TAKE:
        add(ret_text, "UPDATE shard SET range_id = range_id + 1, owner = ? WHERE shard = ?");
        break;
    case MARIADB_SHARD_TAKE_EXPECTED:
        add(ret_text, "UPDATE shard SET range_id = range_id + 1, owner = ? WHERE shard = ? "
                      "AND range_id = ?");
        break;
    case MARIADB_SHARD_READ:
        add(ret_text, "SELECT range_id, commit_no FROM shard WHERE shard = ?");
        break;
    case MARIADB_DUE:
        due_text(ret_text, "run_due", "due_ns", true);
        break;
    case MARIADB_DUE_ALL:
        due_text(ret_text, "run_due", "due_ns", false);
        break;
    case MARIADB_EXPIRE:
        due_text(ret_text, "run_expire", "expire_ns", false);
        break;
    case MARIADB_VISIBILITY_INSERT:
        add(ret_text, "INSERT INTO visibility (" SQL_VISIBILITY_COLUMNS ") VALUES ");
        repeat(ret_text, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", ", ", rows);
        break;
    case MARIADB_VISIBILITY_UPDATE:
        CHECK(rows == 1);
        visibility_update_text(ret_text);
        break;
    case MARIADB_VISIBILITY_DELETE:
        add(ret_text, "DELETE FROM visibility WHERE ");
        repeat(ret_text, "(shard = ? AND run_id = ?)", " OR ", rows);
        break;
    case MARIADB_STATEMENT_COUNT:
        CHECK(statement < MARIADB_STATEMENT_COUNT);
        break;
    }
}

void mariadb_statement_title(int statement, char *ret_title, size_t size)
{
    static const char *const kinds[] = {
        "insert", "update", "update", "put", "delete", "delete range", "get"};
    static const char *const singles[] = {"fence", "create shard", "take shard", "take shard",
        "read shard", "due", "due", "expire", "insert visibility", "update visibility",
        "delete visibility", "query"};
    if (statement >= MARIADB_FENCE) {
        (void)snprintf(ret_title, size, "%s", singles[statement - MARIADB_FENCE]);
        return;
    }
    int kind = statement / TABLE_COUNT;
    (void)snprintf(ret_title, size, "%s %s", kind >= MARIADB_SCAN ? "scan" : kinds[kind],
        table_name((enum table)(statement % TABLE_COUNT)));
}
