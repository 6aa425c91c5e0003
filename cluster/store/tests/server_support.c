/* SPDX-License-Identifier: Apache-2.0
 *
 * Test servers by way of integration-tests/lib/databases.sh, which scenarios use too: there is one
 * way to start a database. Its keeper process ends the servers with this process, however it ends.
 */
#include "cluster/store/tests/server_support.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/base/check.h"

#define DATABASES_MAX 64
#define SCRIPT        "integration-tests/lib/databases.sh"

struct server {
    const char *driver;
    const char *kind; /* as the script calls it */
    bool tried;
    bool running;
    char reason[SERVER_REASON_BYTES];
    char dir[PATH_MAX];
    char user[64];
    char socket[PATH_MAX];
    int port;
};

static struct server servers[] = {
    {.driver = "postgres", .kind = "postgres"},
    {.driver = "mariadb", .kind = "mariadb"},
};

static struct server *find(const char *driver)
{
    size_t i = 0;
    while (i < ARRAY_LEN(servers) && strcmp(servers[i].driver, driver) != 0)
        i++;
    CHECK(i < ARRAY_LEN(servers));
    return &servers[i];
}

/** The script's path: below the working directory, or below a parent of the test binary. */
static bool find_script(char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s", SCRIPT);
    if (access(ret_path, X_OK) == 0)
        return true;
    char self[PATH_MAX - sizeof(SCRIPT) - 1];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0)
        return false;
    self[len] = '\0';
    for (char *slash = strrchr(self, '/'); slash && slash != self; slash = strrchr(self, '/')) {
        *slash = '\0';
        (void)snprintf(ret_path, PATH_MAX, "%s/%s", self, SCRIPT);
        if (access(ret_path, X_OK) == 0)
            return true;
    }
    return false;
}

/** Runs the script; its output goes to `ret_output`. False when it fails. */
static bool run_script(const char *const *arguments, char *ret_output, size_t size)
{
    char script[PATH_MAX];
    int ends[2];
    ret_output[0] = '\0';
    if (!find_script(script)) {
        (void)snprintf(ret_output, size, "%s not found", SCRIPT);
        return false;
    }
    const char *words[8] = {script};
    size_t count = 1;
    for (; arguments[count - 1]; count++) {
        CHECK(count < ARRAY_LEN(words) - 1);
        words[count] = arguments[count - 1];
    }
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        union {
            const char **constant;
            char **plain;
        } view = {.constant = words};
        (void)execv(script, view.plain);
        _exit(127);
    }
    (void)close(ends[1]);
    size_t len = 0;
    for (;;) {
        ssize_t got = read(ends[0], ret_output + len, size - 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    ret_output[len] = '\0';
    (void)close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void read_setting(const char *output, const char *name, char *ret_value, size_t size)
{
    char pattern[32];
    (void)snprintf(pattern, sizeof(pattern), "%s=", name);
    for (const char *line = output; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, pattern, strlen(pattern)) != 0)
            continue;
        const char *value = line + strlen(pattern);
        (void)snprintf(ret_value, size, "%.*s", (int)strcspn(value, "\n"), value);
        return;
    }
}

static void stop_servers(void)
{
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        char output[512];
        const char *const words[] = {"stop", servers[i].dir, NULL};
        if (servers[i].running)
            (void)run_script(words, output, sizeof(output)); /* the keeper does it otherwise */
    }
}

static void start(struct server *server)
{
    static bool registered;
    server->tried = true;
    char owner[24];
    char output[2048];
    (void)snprintf(owner, sizeof(owner), "%d", (int)getpid());
    const char *const words[] = {"start", server->kind, owner, NULL};
    if (!run_script(words, output, sizeof(output))) {
        (void)snprintf(server->reason, sizeof(server->reason), "no private server: %.200s", output);
        return;
    }
    char port[16] = "";
    read_setting(output, "dir", server->dir, sizeof(server->dir));
    read_setting(output, "user", server->user, sizeof(server->user));
    read_setting(output, "socket", server->socket, sizeof(server->socket));
    read_setting(output, "port", port, sizeof(port));
    server->port = atoi(port);
    server->running = true;
    if (!registered)
        (void)atexit(stop_servers); /* a full table only means that the keeper stops them */
    registered = true;
}

static bool provide(const char *driver, struct store_options *ret, char *reason)
{
    static char names[DATABASES_MAX][24];
    static int databases;
    struct server *server = find(driver);
    if (!server->tried)
        start(server);
    if (!server->running) {
        (void)snprintf(reason, SERVER_REASON_BYTES, "%s", server->reason);
        return false;
    }
    CHECK(databases < DATABASES_MAX);
    char *name = names[databases];
    char output[SERVER_REASON_BYTES];
    (void)snprintf(name, sizeof(names[0]), "strait_%d", ++databases);
    const char *const words[] = {"create", server->dir, name, NULL};
    if (!run_script(words, output, sizeof(output))) {
        (void)snprintf(reason, SERVER_REASON_BYTES, "%s", output);
        return false;
    }
    ret->port = server->port;
    ret->socket = server->socket;
    ret->user = server->user;
    ret->name = name;
    return true;
}

bool server_support_postgres(struct store_options *ret, char *reason)
{
    *ret = (struct store_options){.driver = store_driver_postgres()};
    return provide("postgres", ret, reason);
}

bool server_support_mariadb(struct store_options *ret, char *reason)
{
    *ret = (struct store_options){.driver = store_driver_mariadb()};
    return provide("mariadb", ret, reason);
}

void server_support_kill_connections(const char *driver)
{
    char output[512];
    const char *const words[] = {"kill-connections", find(driver)->dir, NULL};
    bool done = run_script(words, output, sizeof(output));
    CHECK(done);
}

bool server_support_execute(const char *driver, const char *name, const char *sql)
{
    char output[512];
    const char *const words[] = {"sql", find(driver)->dir, name, sql, NULL};
    bool done = run_script(words, output, sizeof(output));
    if (!done)
        (void)fprintf(stderr, "%s: %s\n", driver, output);
    return done;
}
