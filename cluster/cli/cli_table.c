/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables for people: columns as wide as their widest cell, no lines.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cluster/base/limits.h"
#include "cluster/cli/cli_private.h"

static void add_cell(struct cli_table *table, const char *text)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? table->capacity * 2 : 64;
        const char **cells = arena_zalloc(table->arena, capacity, sizeof(*cells));
        if (table->count)
            memcpy(cells, table->cells, table->count * sizeof(*cells));
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->count++] = text && *text ? text : "-";
}

void cli_table_row(struct cli_table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->columns; i++)
        add_cell(table, cells[i]);
}

void cli_table_begin(
    struct cli_table *table, struct arena *arena, size_t columns, const char *const *titles)
{
    *table = (struct cli_table){.arena = arena, .columns = columns};
    cli_table_row(table, titles);
}

/* Characters, as far as UTF-8 goes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

void cli_table_print(const struct cli_table *table)
{
    size_t *widths = arena_zalloc(table->arena, table->columns, sizeof(*widths));
    for (size_t i = 0; i < table->count; i++) {
        size_t width = width_of(table->cells[i]);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        fputs(table->cells[i], stdout);
        if (column == table->columns - 1) {
            putchar('\n');
            continue;
        }
        for (size_t pad = width_of(table->cells[i]); pad < widths[column] + 2; pad++)
            putchar(' ');
    }
}

char *cli_time(struct arena *arena, int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;
    char text[32];
    if (wall_ns <= 0 || !gmtime_r(&seconds, &tm) ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return arena_strdup(arena, "-");
    return arena_strdup(arena, text);
}

char *cli_duration(struct arena *arena, int64_t ms)
{
    if (ms < 0)
        return arena_strdup(arena, "-");
    if (ms < 1000)
        return arena_printf(arena, "%lldms", (long long)ms);
    if (ms < 60000)
        return arena_printf(
            arena, "%lld.%llds", (long long)(ms / 1000), (long long)(ms / 100 % 10));
    long long minutes = ms / 60000;
    if (minutes < 120)
        return arena_printf(arena, "%lldm", minutes);
    if (minutes < 48 * 60)
        return arena_printf(arena, "%lldh", minutes / 60);
    return arena_printf(arena, "%lldd", minutes / (24 * 60));
}

char *cli_join(struct arena *arena, char *const *items, size_t count)
{
    char *text = arena_strdup(arena, "");
    for (size_t i = 0; i < count; i++)
        text = arena_printf(arena, "%s%s%s", text, i ? "," : "", items[i]);
    return text;
}
