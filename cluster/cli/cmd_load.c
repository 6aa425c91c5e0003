/* SPDX-License-Identifier: Apache-2.0
 *
 * strait load: raw gRPC load against any server that speaks the public API.
 */
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/cli/cli.h"
#include "cluster/cli/load.h"
#include "cluster/cli/worker.h"

static const char usage[] =
    "usage: strait load [OPTIONS]\n\n"
    "  --address HOST:PORT   server (default $STRAIT_ADDRESS, $TEMPORAL_ADDRESS, 127.0.0.1:7233)\n"
    "  --namespace NAME      default: default\n"
    "  --scenario NAME       noop, activity, signal or timer (default activity)\n"
    "  --concurrency N       closed loop: operations under way (default 256)\n"
    "  --rate N              open loop: operations per second, instead of --concurrency\n"
    "  --seconds N           how long (default 10)\n"
    "  --limit N             stop after N operations\n"
    "  --payload BYTES       size of inputs and results (default 100)\n"
    "  --targets N           signal: workflows that share the signals (default 64)\n"
    "  --pollers N           of each kind (default 64)\n"
    "  --connections N       default 2\n"
    "  --timer MS            duration of timers (default 100)\n"
    "  --no-worker           start and wait only: workers run elsewhere\n"
    "  --task-queue NAME     default: strait-load-<process id>\n"
    "  --output FORMAT       text or json\n\n"
    "Exit status 1 when an operation failed or a result was wrong.\n";

struct settings {
    const char *address;
    int pollers;
    int connections;
    int64_t timer_ms;
    bool worker;
    bool json;
    struct load_options load;
};

static const char *const scenarios[] = {"noop", "activity", "signal", "timer"};

static int number(const char *name, const char *text, double least, double *ret_value)
{
    char *end = NULL;
    *ret_value = strtod(text, &end);
    if (*text && !*end && *ret_value >= least)
        return 0;
    fprintf(stderr, "strait load: --%s %s: write a number, at least %g\n", name, text, least);
    return 2;
}

static int scenario(const char *text, enum load_scenario *ret_scenario)
{
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        if (strcmp(text, scenarios[i]) == 0) {
            *ret_scenario = (enum load_scenario)i;
            return 0;
        }
    }
    fprintf(stderr, "strait load: --scenario %s: write noop, activity, signal or timer\n", text);
    return 2;
}

enum { OPT_NUMBER = 256 };

/* Options with a number: where it goes. */
static int set_number(struct settings *settings, const char *name, double value)
{
    struct load_options *load = &settings->load;
    if (strcmp(name, "concurrency") == 0)
        load->concurrency = (int)value;
    else if (strcmp(name, "rate") == 0)
        load->rate = value;
    else if (strcmp(name, "seconds") == 0)
        load->seconds = value;
    else if (strcmp(name, "limit") == 0)
        load->limit = (int64_t)value;
    else if (strcmp(name, "payload") == 0)
        load->payload_bytes = (int)value;
    else if (strcmp(name, "targets") == 0)
        load->signal_targets = (int)value;
    else if (strcmp(name, "pollers") == 0)
        settings->pollers = (int)value;
    else if (strcmp(name, "connections") == 0)
        settings->connections = (int)value;
    else
        settings->timer_ms = (int64_t)value;
    return 0;
}

static int parse(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {{"address", required_argument, NULL, 'a'},
        {"namespace", required_argument, NULL, 'n'}, {"scenario", required_argument, NULL, 's'},
        {"task-queue", required_argument, NULL, 'q'}, {"output", required_argument, NULL, 'o'},
        {"no-worker", no_argument, NULL, 'w'}, {"help", no_argument, NULL, 'h'},
        {"concurrency", required_argument, NULL, OPT_NUMBER},
        {"rate", required_argument, NULL, OPT_NUMBER},
        {"seconds", required_argument, NULL, OPT_NUMBER},
        {"limit", required_argument, NULL, OPT_NUMBER},
        {"payload", required_argument, NULL, OPT_NUMBER},
        {"targets", required_argument, NULL, OPT_NUMBER},
        {"pollers", required_argument, NULL, OPT_NUMBER},
        {"connections", required_argument, NULL, OPT_NUMBER},
        {"timer", required_argument, NULL, OPT_NUMBER}, {NULL, 0, NULL, 0}};
    int option;
    int index = 0;
    int status = 0;
    double value = 0;
    while (!status && (option = getopt_long(argc, argv, "n:h", options, &index)) != -1) {
        switch (option) {
        case 'a':
            settings->address = optarg;
            break;
        case 'n':
            settings->load.namespace_name = optarg;
            break;
        case 's':
            status = scenario(optarg, &settings->load.scenario);
            break;
        case 'q':
            settings->load.task_queue = optarg;
            break;
        case 'o':
            settings->json = strcmp(optarg, "json") == 0;
            break;
        case 'w':
            settings->worker = false;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case OPT_NUMBER:
            status = number(options[index].name, optarg, 1, &value);
            if (!status)
                status = set_number(settings, options[index].name, value);
            break;
        default:
            status = 2;
        }
    }
    if (!status && optind != argc) {
        fprintf(stderr, "strait load: %s is not expected here\n", argv[optind]);
        status = 2;
    }
    if (status == 2)
        fputs(usage, stderr);
    return status;
}

static void report_latency(const char *name, const struct latency *latency, bool json)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};
    static const char *const names[] = {"p50", "p90", "p99", "p999"};
    printf(json ? ", \"%s_ms\": {" : "%-8s", name);
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        printf(json ? "%s\"%s\": %.3f" : "%s%s %.2f ms", i ? json ? ", " : "   " : "", names[i],
            latency_quantile_ms(latency, quantiles[i]));
    printf(json ? "}" : "\n");
}

static void report(const struct settings *settings, const struct load_result *result,
    const struct worker_stats *worker)
{
    bool json = settings->json;
    int64_t finished = atomic_load(&result->finished);
    double rate = result->seconds > 0 ? (double)finished / result->seconds : 0;
    printf(json ? "{\"scenario\": \"%s\", \"seconds\": %.2f, \"operations\": %lld, "
                  "\"per_second\": %.1f, \"errors\": %lld, \"wrong\": %lld, \"late\": %lld, "
                  "\"mismatches\": %lld"
                : "%s: %.2f s, %lld finished, %.1f/s, %lld errors, %lld wrong, %lld late, "
                  "%lld mismatches\n",
        scenarios[settings->load.scenario], result->seconds, (long long)finished, rate,
        (long long)atomic_load(&result->errors), (long long)atomic_load(&result->wrong),
        (long long)atomic_load(&result->late),
        worker ? (long long)atomic_load(&worker->mismatches) : 0ll);
    report_latency("start", &result->start, json);
    if (settings->load.scenario != LOAD_SIGNAL)
        report_latency("whole", &result->whole, json);
    if (json)
        printf("}\n");
    if (atomic_load(&result->errors))
        fprintf(stderr, "strait load: first error: %s\n", result->first_error);
}

static int run(struct settings *settings)
{
    struct rpc_client_options client = {
        .address = settings->address, .connections = settings->connections};
    struct rpc_client *load_client = NULL;
    struct rpc_client *worker_client = NULL;
    char reason[256] = "";
    enum err err = rpc_client_open(&client, &load_client, reason);
    if (!err)
        err = rpc_client_open(&client, &worker_client, reason);
    if (err) {
        fprintf(stderr, "strait load: %s\n", reason);
        rpc_client_close(load_client);
        return 1;
    }
    settings->load.client = load_client;
    struct worker *worker = NULL;
    if (settings->worker) {
        struct worker_options options = {.client = worker_client,
            .namespace_name = settings->load.namespace_name,
            .task_queue = settings->load.task_queue,
            .identity = "strait-load",
            .workflow_pollers = settings->pollers,
            .activity_pollers = settings->load.scenario == LOAD_ACTIVITY ? settings->pollers : 0,
            .sticky = settings->load.scenario == LOAD_SIGNAL,
            .timer_ms = settings->timer_ms};
        worker = worker_open(&options);
    }
    struct load_result *result = mem_new(struct load_result);
    load_run(&settings->load, result);
    const struct worker_stats *stats = worker ? worker_stats(worker) : NULL;
    report(settings, result, stats);
    fflush(stdout);
    bool bad = atomic_load(&result->errors) || atomic_load(&result->wrong) ||
               (stats && atomic_load(&stats->mismatches));
    worker_close(worker);
    rpc_client_close(worker_client);
    rpc_client_close(load_client);
    mem_free(result);
    return bad ? 1 : 0;
}

int cmd_load(int argc, char **argv)
{
    char queue[64];
    char prefix[64];
    snprintf(queue, sizeof(queue), "strait-load-%d", (int)getpid());
    snprintf(prefix, sizeof(prefix), "load-%d", (int)getpid());
    const char *address = getenv("STRAIT_ADDRESS");
    if (!address)
        address = getenv("TEMPORAL_ADDRESS");
    struct settings settings = {.address = address ? address : "127.0.0.1:7233",
        .pollers = 64,
        .connections = 2,
        .timer_ms = 100,
        .worker = true,
        .load = {.namespace_name = "default",
            .task_queue = queue,
            .scenario = LOAD_ACTIVITY,
            .concurrency = 256,
            .seconds = 10,
            .payload_bytes = 100,
            .signal_targets = 64,
            .id_prefix = prefix}};
    int status = parse(argc, argv, &settings);
    return status ? status : run(&settings);
}
