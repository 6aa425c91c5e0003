/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/tests/support_death.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/base/check.h"

static void child(void (*fn)(void *arg), void *arg, int output)
{
    /* The abort is wanted: no core file, no handler of the test library. */
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)signal(SIGABRT, SIG_DFL);
    (void)dup2(output, STDERR_FILENO);
    fn(arg);
    _exit(0);
}

bool dies(void (*fn)(void *arg), void *arg, const char *message)
{
    int ends[2];
    int failed = pipe(ends);
    CHECK(failed == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(fn, arg, ends[1]);
    (void)close(ends[1]);
    char output[4096];
    size_t len = 0;
    for (ssize_t got; (got = read(ends[0], output + len, sizeof(output) - 1 - len)) > 0;)
        len += (size_t)got;
    output[len] = '\0';
    (void)close(ends[0]);
    int status = 0;
    pid_t ended = waitpid(pid, &status, 0);
    CHECK(ended == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, message) != NULL;
}
