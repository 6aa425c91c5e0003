#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embeds the SQL migrations: schema/<driver>/NNN_<name>.sql become one C array.

Usage: embed_schema.py OUTPUT_DIR FILE.sql... ; writes schema.h and schema.c, sorted by driver and
number. Refuses gaps and duplicates, because a migration is found by its number.
"""

import os
import re
import sys

HEADER = """/* SPDX-License-Identifier: Apache-2.0
 *
 * The SQL migrations, generated from cluster/store/schema.
 */
#ifndef GEN_SCHEMA_H
#define GEN_SCHEMA_H

#include <stddef.h>

/** One migration file. Sorted by driver, then number; numbers count from 1 without gaps.
 *  The array ends with an all-zero row that schema_migrations_count does not count. */
struct schema_migration {
    const char *driver; /* folder, e.g. "postgres" */
    int number;
    const char *name; /* e.g. "init" for 001_init.sql */
    const char *text;
};

extern const struct schema_migration schema_migrations[];
extern const size_t schema_migrations_count;

#endif
"""


def literal(text):
    lines = []
    for line in text.splitlines(keepends=True) or [""]:
        line = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append('        "' + line.replace("?", "\\?") + '"')
    return "\n".join(lines)


def main():
    out, paths = sys.argv[1], sys.argv[2:]
    migrations = []
    for path in paths:
        driver, base = path.split(os.sep)[-2:]
        match = re.fullmatch(r"([0-9]{3})_([a-z0-9_]+)\.sql", base)
        if not match:
            sys.exit(f"{path}: a migration is named NNN_name.sql")
        with open(path, encoding="utf-8") as file:
            migrations.append((driver, int(match[1]), match[2], file.read()))
    migrations.sort()
    expected = {}
    rows = []
    for driver, number, name, text in migrations:
        expected[driver] = expected.get(driver, 0) + 1
        if number != expected[driver]:
            sys.exit(f"{driver}: migration {expected[driver]:03} is missing or doubled")
        rows.append(f'    {{"{driver}", {number}, "{name}",\n{literal(text)}}},\n')
    source = ("/* SPDX-License-Identifier: Apache-2.0 */\n#include \"schema.h\"\n\n"
              "const struct schema_migration schema_migrations[] = {\n" + "".join(rows) +
              "    {NULL, 0, NULL, NULL},\n};\n"
              f"const size_t schema_migrations_count = {len(rows)};\n")
    for name, content in (("schema.h", HEADER), ("schema.c", source)):
        path = os.path.join(out, name)
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(path + ".tmp", path)


if __name__ == "__main__":
    main()
