/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness: the server writes a ports file once its listeners accept; inotify on the folder tells
 * when, a pidfd tells when it died instead. Nothing here sleeps and hopes.
 */
#include "replicator/nats_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"

#define START_TIMEOUT_NS (20 * NS_PER_S)
#define STOP_TIMEOUT_NS  (5 * NS_PER_S)
#define PATH_SIZE        1024u
#define REASON_SIZE      256u

struct nats_process {
    pid_t pid;
    int pid_fd; /* readable when the child has ended */
    uint16_t port;
    char url[64];
};

/* ---- finding the binary ---- */

static bool executable(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool find_in_path(char ret_path[PATH_SIZE])
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        int written = snprintf(ret_path, PATH_SIZE, "%.*s/nats-server", (int)len, path);
        if (len > 0 && written > 0 && (size_t)written < PATH_SIZE && executable(ret_path))
            return true;
        path += len;
        path += *path == ':';
    }
    return false;
}

static enum err find_binary(const char *wanted, char ret_path[PATH_SIZE], char *ret_reason)
{
    if (!wanted)
        wanted = getenv("STRAIT_NATS_SERVER");
    if (wanted && *wanted) {
        (void)snprintf(ret_path, PATH_SIZE, "%s", wanted);
        if (executable(ret_path))
            return OK;
        (void)snprintf(ret_reason, REASON_SIZE, "%s is not an executable nats-server", wanted);
        return ERR_NOT_FOUND;
    }
    if (find_in_path(ret_path))
        return OK;
    (void)snprintf(ret_path, PATH_SIZE, "/usr/sbin/nats-server");
    if (executable(ret_path))
        return OK;
    (void)snprintf(ret_reason, REASON_SIZE,
        "nats-server not found: install the Debian package nats-server, or set "
        "STRAIT_NATS_SERVER to its path, or name a running one with --nats");
    return ERR_NOT_FOUND;
}

/* ---- files ---- */

static enum err failed(char *ret_reason, const char *what, const char *path)
{
    (void)snprintf(ret_reason, REASON_SIZE, "%s %.120s: %.80s", what, path, strerror(errno));
    return ERR_IO;
}

static enum err write_config(
    const struct nats_process_options *options, const char *path, char *ret_reason)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return failed(ret_reason, "cannot write", path);
    /* JSON strings are valid in the server's configuration; a folder's name needs no more escaping
     * than its quotes, and those are refused by the caller. */
    int written = fprintf(file,
        "# Written at every start.\n"
        "host: \"127.0.0.1\"\n"
        "port: %d\n"
        "ports_file_dir: \"%s\"\n"
        "log_file: \"%s/nats-server.log\"\n"
        "ping_interval: \"3s\"\n"
        "ping_max: 2\n"
        "jetstream { store_dir: \"%s/data\" }\n"
        "%s\n",
        options->port ? (int)options->port : -1, options->dir, options->dir, options->dir,
        options->extra ? options->extra : "");
    if (fclose(file) != 0 || written < 0)
        return failed(ret_reason, "cannot write", path);
    return OK;
}

/** Removes the ports files of earlier servers. */
static void remove_ports_files(const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder)
        return;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len > 6 && strcmp(entry->d_name + len - 6, ".ports") == 0)
            (void)unlinkat(dirfd(folder), entry->d_name, 0); /* a leftover harms nobody */
    }
    (void)closedir(folder);
}

/** The client port from the ports file of process `pid`; 0 when it is not there or not complete. */
static uint16_t read_port(const char *dir, pid_t pid)
{
    DIR *folder = opendir(dir);
    if (!folder)
        return 0;
    char suffix[32];
    (void)snprintf(suffix, sizeof(suffix), "_%d.ports", (int)pid);
    unsigned port = 0;
    const struct dirent *entry;
    while (port == 0 && (entry = readdir(folder)) != NULL) {
        size_t len = strlen(entry->d_name);
        size_t suffix_len = strlen(suffix);
        if (len < suffix_len || strcmp(entry->d_name + len - suffix_len, suffix) != 0)
            continue;
        int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);
        char text[1024];
        ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        if (fd >= 0)
            close(fd);
        text[got > 0 ? got : 0] = '\0';
        /* {"nats":["nats://127.0.0.1:4222"],…}; tls:// when the extra configuration says so. */
        const char *at = strstr(text, "\"nats\":");
        at = at ? strstr(at, "://127.0.0.1:") : NULL;
        int end = 0; /* stays so when the quote is missing: not written to its end yet */
        if (at && (sscanf(at, "://127.0.0.1:%5u\"%n", &port, &end) != 1 || end == 0))
            port = 0;
    }
    (void)closedir(folder);
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* ---- the child ---- */

/** After fork: only calls that are safe there. */
NORETURN static void run_child(const char *binary, const char *config, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0); /* it died before the line above */
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
    }
    /* A terminal's Ctrl-C is for the parent, which then stops the child in its own order. */
    (void)setpgid(0, 0);
    (void)execl(binary, "nats-server", "-a", "127.0.0.1", "-c", config, (char *)NULL);
    _exit(127);
}

/** Waits for the ports file. ERR_IO: the child died; ERR_TIMEOUT. */
static enum err await_ready(struct nats_process *process, const char *dir, int watch)
{
    const struct env *env = env_system();
    int64_t deadline_ns = env_monotonic_ns(env) + START_TIMEOUT_NS;
    for (;;) {
        process->port = read_port(dir, process->pid);
        if (process->port)
            return OK;
        int64_t left_ns = deadline_ns - env_monotonic_ns(env);
        if (left_ns <= 0)
            return ERR_TIMEOUT;
        struct pollfd fds[2] = {
            {.fd = watch, .events = POLLIN},
            {.fd = process->pid_fd, .events = POLLIN},
        };
        (void)poll(fds, 2, (int)(left_ns / NS_PER_MS) + 1); /* looks again either way */
        if (fds[1].revents)
            return ERR_IO;
        char events[4096];
        while (read(watch, events, sizeof(events)) > 0)
            continue; /* only the fact counts */
    }
}

/** Waits until the child has ended; false when it has not within `timeout_ns` (-1: for ever). */
static bool reap(struct nats_process *process, int64_t timeout_ns)
{
    if (process->pid < 0)
        return true;
    struct pollfd fd = {.fd = process->pid_fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&fd, 1, timeout_ns < 0 ? -1 : (int)(timeout_ns / NS_PER_MS));
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return false;
    while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    process->pid = -1;
    return true;
}

static void process_free(struct nats_process *process)
{
    if (process->pid_fd >= 0)
        close(process->pid_fd);
    mem_free(process);
}

static enum err spawn(
    struct nats_process *process, const char *binary, const char *config, char *ret_reason)
{
    pid_t parent = getpid();
    process->pid = fork();
    if (process->pid == 0)
        run_child(binary, config, parent);
    if (process->pid < 0)
        return failed(ret_reason, "cannot start", binary);
    process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (process->pid_fd >= 0)
        return OK;
    enum err err = failed(ret_reason, "cannot watch", binary);
    (void)kill(process->pid, SIGKILL);
    (void)waitpid(process->pid, NULL, 0);
    process->pid = -1;
    return err;
}

enum err nats_process_start(const struct nats_process_options *options,
    struct nats_process **ret_process, char ret_reason[256])
{
    char binary[PATH_SIZE];
    enum err err = find_binary(options->binary, binary, ret_reason);
    if (err)
        return err;
    char config[PATH_SIZE];
    int len = snprintf(config, sizeof(config), "%s/nats-server.conf", options->dir);
    if (len < 0 || (size_t)len >= sizeof(config) || strpbrk(options->dir, "\"\\\n")) {
        (void)snprintf(ret_reason, REASON_SIZE, "unusable folder name");
        return ERR_CONFIG;
    }
    err = write_config(options, config, ret_reason);
    if (err)
        return err;
    remove_ports_files(options->dir);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch < 0 ||
        inotify_add_watch(watch, options->dir, IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
        err = failed(ret_reason, "cannot watch", options->dir);
        if (watch >= 0)
            close(watch);
        return err;
    }
    struct nats_process *process = mem_new(struct nats_process);
    process->pid_fd = -1;
    err = spawn(process, binary, config, ret_reason);
    if (!err) {
        err = await_ready(process, options->dir, watch);
        if (err)
            (void)snprintf(ret_reason, REASON_SIZE, "%.100s %s: see %.100s/nats-server.log", binary,
                err == ERR_TIMEOUT ? "did not get ready" : "ended at once", options->dir);
    }
    close(watch);
    if (err) {
        if (process->pid_fd >= 0)
            nats_process_kill(process);
        else
            process_free(process);
        return err;
    }
    (void)snprintf(
        process->url, sizeof(process->url), "nats://127.0.0.1:%u", (unsigned)process->port);
    *ret_process = process;
    return OK;
}

const char *nats_process_url(const struct nats_process *process)
{
    return process->url;
}

uint16_t nats_process_port(const struct nats_process *process)
{
    return process->port;
}

int nats_process_id(const struct nats_process *process)
{
    return (int)process->pid;
}

bool nats_process_running(struct nats_process *process)
{
    return !reap(process, 0);
}

void nats_process_stop(struct nats_process *process)
{
    if (!process)
        return;
    if (!reap(process, 0)) {
        (void)kill(process->pid, SIGTERM);
        if (!reap(process, STOP_TIMEOUT_NS)) {
            nats_process_kill(process);
            return;
        }
    }
    process_free(process);
}

void nats_process_kill(struct nats_process *process)
{
    if (!reap(process, 0)) {
        (void)kill(process->pid, SIGKILL);
        (void)reap(process, -1);
    }
    process_free(process);
}
