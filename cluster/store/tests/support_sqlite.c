/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store/tests/support_sqlite.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILES_MAX 16

static char directory[64];
static char files[FILES_MAX][128];
static size_t file_count;

static void remove_directory(void)
{
    DIR *dir = opendir(directory);
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.')
            (void)unlink(path); /* what stays is in the temporary directory anyway */
    }
    (void)closedir(dir);
    (void)rmdir(directory);
}

static bool make_directory(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(
        directory, sizeof(directory), "%s/strait-store-XXXXXX", base && base[0] ? base : "/tmp");
    return mkdtemp(directory) && atexit(remove_directory) == 0;
}

bool support_sqlite_file(struct store_options *ret, char *reason)
{
    if (file_count == FILES_MAX || (file_count == 0 && !make_directory())) {
        (void)snprintf(reason, 256, "no temporary directory");
        return false;
    }
    char *file = files[file_count];
    (void)snprintf(file, sizeof(files[0]), "%s/%zu.db", directory, file_count);
    file_count++;
    *ret = (struct store_options){.driver = store_driver_sqlite(), .file = file};
    return true;
}

bool support_sqlite_memory(struct store_options *ret, char *reason)
{
    (void)reason;
    *ret = (struct store_options){.driver = store_driver_sqlite()};
    return true;
}

bool support_sqlite_execute(const struct store_options *options, const char *sql)
{
    sqlite3 *connection = NULL;
    int code = sqlite3_open(options->file, &connection);
    if (code == SQLITE_OK)
        code = sqlite3_exec(connection, sql, NULL, NULL, NULL);
    (void)sqlite3_close(connection);
    return code == SQLITE_OK;
}
