/* SPDX-License-Identifier: Apache-2.0
 *
 * strait server, and the signals of all commands that run nodes.
 */
#include "cluster/serve.h"

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "cluster/base/config.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/node.h"

#define STOP_GRACE_NS (5 * NS_PER_S)

static void stop_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

void signals_block(void)
{
    sigset_t set;
    stop_set(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int signals_wait(void)
{
    sigset_t set;
    stop_set(&set);
    int signal = 0;
    while (sigwait(&set, &signal) != 0)
        ;
    return signal;
}

static const char usage[] =
    "usage: strait server --config FILE [--check]\n\n"
    "  --config FILE   configuration of this cluster (docs/configuration.md)\n"
    "  --check         only check the configuration and say what is wrong\n";

static int run_node(const struct config *config)
{
    struct node_options options = {config, env_system()};
    struct node *node = NULL;
    char reason[256] = "";
    log_set_level(config->log.level);
    enum err err = node_open(&options, &node, reason);
    if (err) {
        fprintf(stderr, "strait server: %s (%s)\n", reason, err_text(err));
        return 1;
    }
    int signal = signals_wait();
    log_info("node.stopping", "cluster=%s signal=%d", node_cluster(node), signal);
    node_close(node, STOP_GRACE_NS);
    return 0;
}

int cmd_server(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const char *file = NULL;
    bool check = false;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (!file || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    struct arena arena = {0};
    struct config config;
    const char *reason = "";
    enum err err = config_load(&arena, file, &config, &reason);
    int status = 0;
    if (err) {
        fprintf(stderr, "strait server: %s\n", reason);
        status = 1;
    } else if (check) {
        printf("%s: ok\n", file);
    } else {
        status = run_node(&config);
    }
    arena_release(&arena);
    return status;
}
