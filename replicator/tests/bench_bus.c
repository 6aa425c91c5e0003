/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_bus [messages] [bytes]: throughput of pipelined publishing and of consuming with
 * acknowledgements, and the latency of one publish until its delivery and of a request, against a
 * private server. $NATS_SERVER names its binary.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/bus.h"
#include "replicator/nats_process.h"

#define IN_FLIGHT_MAX 4096u
#define WINDOW        4096u
#define SAMPLES       5000u
#define MOVE_MAX      256u

struct bench {
    struct bus *bus;
    struct waker *waker;
    struct mailbox *mailbox;
    struct blob *data;
    size_t messages;
    size_t started;
    size_t acked;
    size_t failed;
    size_t received;
    size_t redelivered;
    bool ack;
    struct bus_op *ops;
};

static int64_t now_ns(void)
{
    return env_monotonic_ns(env_system());
}

static void op_done(struct mail *mail, void *owner)
{
    struct bench *bench = owner;
    struct bus_op *op = CONTAINER_OF(mail, struct bus_op, mail);
    bench->acked++;
    bench->failed += op->err != OK;
    blob_unref(op->reply);
    op->reply = NULL;
}

static void message(struct mail *mail, void *owner)
{
    struct bench *bench = owner;
    struct bus_msg *msg = CONTAINER_OF(mail, struct bus_msg, mail);
    bench->received++;
    bench->redelivered += msg->deliveries > 1;
    if (msg->wants_reply)
        bus_respond(msg, bytes_of("answer"));
    else
        bus_ack(msg);
}

static void move(struct bench *bench)
{
    if (mailbox_step(bench->mailbox, MOVE_MAX) == 0)
        waker_wait(bench->waker, NS_PER_S);
}

static void publish(struct bench *bench, struct bus_op *op)
{
    *op = (struct bus_op){.mail.deliver = op_done, .reply_to = bench->mailbox};
    bench->started++;
    bus_publish(bench->bus, "bench.a", bench->data, op);
}

static void report(const char *what, size_t count, int64_t spent_ns)
{
    printf("%-28s %8zu in %7.3f s = %8.0f /s\n", what, count, (double)spent_ns / 1e9,
        (double)count * 1e9 / (double)spent_ns);
}

static void bench_publish(struct bench *bench)
{
    int64_t start_ns = now_ns();
    bench->started = bench->acked = 0;
    while (bench->acked < bench->messages) {
        while (bench->started < bench->messages && bench->started - bench->acked < IN_FLIGHT_MAX)
            publish(bench, &bench->ops[bench->started % IN_FLIGHT_MAX]);
        move(bench);
    }
    report("publish, pipelined", bench->messages, now_ns() - start_ns);
    if (bench->failed > 0)
        printf("  failed: %zu\n", bench->failed);
}

static struct bus_subscription *consume(struct bench *bench)
{
    const struct bus_consumer_options options = {
        .stream = "BENCH",
        .durable = "bench",
        .window_messages = WINDOW,
        .ack_wait_ns = 30 * NS_PER_S,
        .mailbox = bench->mailbox,
        .deliver = message,
    };
    struct bus_subscription *subscription;
    if (bus_consume(bench->bus, &options, &subscription) != OK)
        abort();
    return subscription;
}

static void bench_consume(struct bench *bench)
{
    int64_t start_ns = now_ns();
    bench->received = 0;
    while (bench->received < bench->messages)
        move(bench);
    report("consume and ack", bench->messages, now_ns() - start_ns);
    if (bench->redelivered > 0)
        printf("  redelivered: %zu\n", bench->redelivered);
}

static void bench_both(struct bench *bench)
{
    int64_t start_ns = now_ns();
    bench->started = bench->acked = bench->received = 0;
    while (bench->acked < bench->messages || bench->received < bench->messages) {
        while (bench->started < bench->messages && bench->started - bench->acked < IN_FLIGHT_MAX)
            publish(bench, &bench->ops[bench->started % IN_FLIGHT_MAX]);
        move(bench);
    }
    report("publish, consume and ack", bench->messages, now_ns() - start_ns);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void percentiles(const char *what, int64_t *samples, size_t count)
{
    qsort(samples, count, sizeof(*samples), compare);
    printf("%-28s p50 %6.1f us  p90 %6.1f us  p99 %6.1f us  max %7.1f us\n", what,
        (double)samples[count / 2] / 1e3, (double)samples[count * 9 / 10] / 1e3,
        (double)samples[count * 99 / 100] / 1e3, (double)samples[count - 1] / 1e3);
}

static void bench_hop(struct bench *bench, int64_t *samples)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        bench->received = bench->acked = 0;
        int64_t start_ns = now_ns();
        publish(bench, &bench->ops[0]);
        while (bench->received == 0)
            move(bench);
        samples[i] = now_ns() - start_ns;
        while (bench->acked == 0)
            move(bench);
    }
    percentiles("publish to delivery", samples, SAMPLES);
}

static void bench_request(struct bench *bench, int64_t *samples)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        bench->acked = 0;
        int64_t start_ns = now_ns();
        bench->ops[0] = (struct bus_op){.mail.deliver = op_done, .reply_to = bench->mailbox};
        bus_request(bench->bus, "svc.x", bench->data, NS_PER_S, &bench->ops[0]);
        while (bench->acked == 0)
            move(bench);
        samples[i] = now_ns() - start_ns;
    }
    percentiles("request to answer", samples, SAMPLES);
}

static void run(struct bench *bench)
{
    while (!bus_connected(bench->bus))
        waker_wait(bench->waker, NS_PER_MS);
    const struct bus_stream stream = {
        .name = "BENCH",
        .subjects = "bench.>",
        .bytes_max = 8ll * 1024 * MIB,
        .replicas = 1,
        .work_queue = true,
    };
    bench->ops[0] = (struct bus_op){.mail.deliver = op_done, .reply_to = bench->mailbox};
    bus_ensure_stream(bench->bus, &stream, &bench->ops[0]);
    while (bench->acked == 0)
        move(bench);
    int64_t *samples = mem_zalloc(SAMPLES, sizeof(*samples));
    struct bus_subscription *service;
    if (bus_subscribe(bench->bus, "svc.x", NULL, bench->mailbox, message, NULL, &service) != OK)
        abort();
    bench_publish(bench);
    struct bus_subscription *consumer = consume(bench);
    bench_consume(bench);
    bench_both(bench);
    bench_hop(bench, samples);
    bench_request(bench, samples);
    bus_unsubscribe(bench->bus, consumer);
    bus_unsubscribe(bench->bus, service);
    mem_free(samples);
}

int main(int argc, char **argv)
{
    log_set_level(LOG_WARN);
    char dir[64];
    (void)snprintf(dir, sizeof(dir), "%s/strait-bench-XXXXXX", P_tmpdir);
    if (!mkdtemp(dir))
        return 1;
    const struct nats_process_options server_options = {
        .dir = dir, .binary = getenv("NATS_SERVER")};
    struct nats_process *server;
    char reason[256];
    if (nats_process_start(&server_options, &server, reason) != OK) {
        fprintf(stderr, "bench_bus: %s\n", reason);
        return 1;
    }
    struct bench bench = {.messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000};
    bench.waker = waker_open();
    bench.mailbox = mailbox_open(&bench, bench.waker, 2 * WINDOW);
    bench.ops = mem_zalloc(IN_FLIGHT_MAX, sizeof(*bench.ops));
    bench.data = blob_alloc(argc > 2 ? strtoull(argv[2], NULL, 10) : 1024);
    memset(bench.data->data, 'x', bench.data->len);
    const struct bus_nats_options options = {.url = nats_process_url(server)};
    if (bus_nats_open(&options, &bench.bus, reason) == OK) {
        run(&bench);
        bus_close(bench.bus);
    }
    mailbox_close(bench.mailbox, NULL);
    waker_close(bench.waker);
    mem_free(bench.ops);
    blob_unref(bench.data);
    nats_process_stop(server);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : 1;
}
