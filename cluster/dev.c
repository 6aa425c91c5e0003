/* SPDX-License-Identifier: Apache-2.0
 *
 * strait dev: clusters for development in one process.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/local.h"
#include "cluster/serve.h"

static const char usage[] =
    "usage: strait dev [OPTIONS]\n\n"
    "  --clusters NAMES      comma-separated cluster names (default us,eu)\n"
    "  --data DIR            keep databases and streams here (default: in memory)\n"
    "  --port PORT           gRPC port of the first cluster, the others follow (default 7233)\n"
    "  --console-port PORT   HTTP port of the first cluster (default 8233)\n"
    "  --nats URL            use this NATS server instead of starting one\n"
    "  --namespace NAME      global namespace to make (default: default)\n"
    "  --log-level LEVEL     debug, info, warn, error, off (default warn)\n";

static int port_of(const char *text, int *ret_port)
{
    char *end = NULL;
    long port = strtol(text, &end, 10);
    if (!*text || *end || port < 1 || port > 65000) {
        fprintf(stderr, "strait dev: %s is not a port; write a number from 1 to 65000\n", text);
        return 2;
    }
    *ret_port = (int)port;
    return 0;
}

static int parse(int argc, char **argv, struct local_options *ret_options)
{
    static const struct option options[] = {{"clusters", required_argument, NULL, 'c'},
        {"data", required_argument, NULL, 'd'}, {"port", required_argument, NULL, 'p'},
        {"console-port", required_argument, NULL, 'w'}, {"nats", required_argument, NULL, 'n'},
        {"namespace", required_argument, NULL, 's'}, {"log-level", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int option;
    int status = 0;
    while (!status && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            ret_options->clusters = optarg;
            break;
        case 'd':
            ret_options->data = optarg;
            break;
        case 'p':
            status = port_of(optarg, &ret_options->port);
            break;
        case 'w':
            status = port_of(optarg, &ret_options->console_port);
            break;
        case 'n':
            ret_options->nats_url = optarg;
            break;
        case 's':
            ret_options->namespace = optarg;
            break;
        case 'l':
            ret_options->log_level = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            status = 2;
        }
    }
    if (!status && optind != argc) {
        fprintf(stderr, "strait dev: %s is not expected here\n", argv[optind]);
        status = 2;
    }
    if (status)
        fputs(usage, stderr);
    return status;
}

int cmd_dev(int argc, char **argv)
{
    struct local_options options = {
        .clusters = "us,eu", .port = 7233, .console_port = 8233, .namespace = "default"};
    int status = parse(argc, argv, &options);
    if (status)
        return status;
    struct local *local = NULL;
    char reason[256] = "";
    enum err err = local_open(&options, &local, reason);
    if (err) {
        fprintf(stderr, "strait dev: %s\n", reason);
        return 1;
    }
    for (int i = 0; i < local_count(local); i++)
        printf("cluster %-8s gRPC 127.0.0.1:%d   console http://127.0.0.1:%d\n",
            local_name(local, i), local_grpc_port(local, i), local_console_port(local, i));
    printf("nats    %s\nnamespace %s, active on %s\nready\n", local_nats_url(local),
        options.namespace, local_name(local, 0));
    fflush(stdout);
    (void)signals_wait();
    local_close(local);
    return 0;
}
