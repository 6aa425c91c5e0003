/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/cli/tests/cli_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster/cli/cli.h"
#include "cluster/rpc/rpc_server.h"

#define WORDS_MAX 40

static struct rpc_server *server;
void (*server_answer)(struct call *call);

/* In place; returns how many. */
static int split(char *words, char **argv)
{
    int argc = 0;
    while (*words) {
        words += strspn(words, " ");
        if (!*words)
            break;
        assert_true(argc < WORDS_MAX);
        char stop = *words == '\'' ? '\'' : ' ';
        words += stop == '\'';
        argv[argc++] = words;
        char *end = strchr(words, stop);
        if (!end)
            break;
        *end = 0;
        words = end + 1;
    }
    argv[argc] = NULL;
    return argc;
}

static int redirect(int to, FILE *file)
{
    int saved = dup(to);
    assert_true(saved >= 0);
    assert_int_equal(dup2(fileno(file), to), to);
    return saved;
}

static void take(int from, int saved, FILE *file, char *ret_text, size_t size)
{
    assert_int_equal(dup2(saved, from), from);
    close(saved);
    rewind(file);
    size_t len = fread(ret_text, 1, size - 1, file);
    ret_text[len] = 0;
    fclose(file);
}

const struct printed *run_cli(const char *words)
{
    static struct printed printed;
    char copy[2048] = "strait ";
    char *argv[WORDS_MAX + 1];
    assert_true(strlen(words) < sizeof(copy) - 8);
    memcpy(copy + 7, words, strlen(words) + 1);
    int argc = split(copy, argv);
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    assert_true(out && err);
    fflush(stdout);
    fflush(stderr);
    int saved_out = redirect(STDOUT_FILENO, out);
    int saved_err = redirect(STDERR_FILENO, err);
    printed.status = cli_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    take(STDOUT_FILENO, saved_out, out, printed.out, sizeof(printed.out));
    take(STDERR_FILENO, saved_err, err, printed.err, sizeof(printed.err));
    return &printed;
}

const struct printed *run_against_server(const char *words)
{
    char all[2048];
    snprintf(all, sizeof(all), "%s --address 127.0.0.1:%d", words, rpc_server_port(server));
    return run_cli(all);
}

static void handle(void *ctx, struct call *call)
{
    (void)ctx;
    server_answer(call);
}

void server_open(void)
{
    char reason[256];
    struct rpc_server_options options = {.listen = "127.0.0.1:0", .handle = handle};
    assert_int_equal(rpc_server_open(&options, &server, reason), OK);
}

void server_close(void)
{
    rpc_server_drain(server, 0);
    rpc_server_close(server);
    server = NULL;
}
