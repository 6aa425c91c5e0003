/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor under everything: rows committed per second, and the latency of a commit, by driver,
 * rows per commit, row size and number of writers.
 *
 * A commit carries what executors write: per four rows a history batch (inserted), an outbox row
 * (inserted, the range behind it trimmed), a run (updated) and a fact (put, as deletes are rare).
 * Every writer keeps `--depth` commits under way, one shard each. Without --driver: all of them, at
 * several sizes.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/mem.h"
#include "cluster/store/store.h"
#include "cluster/store/tests/server_support.h"
#include "cluster/store/tests/support_sqlite.h"

#define LATENCIES_MAX 1000000
#define TRIM_BEHIND   1000

struct settings {
    const char *driver;
    const char *file;
    int rows;
    int bytes;
    int writers;
    int depth;
    int runs;
    int seconds;
};

/** A shard and its commit under way. */
struct lane {
    struct bench *bench;
    struct store_op op;
    struct commit commit;
    int32_t shard;
    int writer;
    int64_t commit_no;
    int64_t event;
    int64_t trimmed;
    int64_t submitted_ns;
    size_t run; /* round robin */
    struct uuid *runs;
};

struct bench {
    struct settings settings;
    struct store *store;
    struct waker *waker;
    struct mailbox *mailbox;
    uint8_t *value;
    int64_t until_ns;
    size_t outstanding;
    uint64_t commits;
    uint64_t rows;
    uint32_t *latencies_us;
    size_t latency_count;
};

static void stop(const char *what, const char *text)
{
    (void)fprintf(stderr, "bench_store: %s: %s\n", what, text);
    exit(1);
}

static void write_row(struct lane *lane, enum table table, enum commit_mode mode, struct bytes key)
{
    const struct settings *settings = &lane->bench->settings;
    size_t len = table == TABLE_OUTBOX ? 60 : (size_t)settings->bytes;
    commit_write(&lane->commit, &(struct commit_row){
                                    .table = table,
                                    .mode = mode,
                                    .shard = lane->shard,
                                    .key = key,
                                    .value = bytes_make(lane->bench->value, len),
                                    .due_ns = lane->event,
                                    .expire_ns = DUE_NONE,
                                });
}

/** The rows of one request: see the top of the file. */
static void write_request(struct lane *lane, int rows)
{
    struct arena *arena = &lane->commit.arena;
    const struct uuid *run_id = &lane->runs[lane->run];
    lane->run = (lane->run + 1) % (size_t)lane->bench->settings.runs;
    lane->event++;
    if (rows > 0)
        write_row(lane, TABLE_HISTORY, COMMIT_INSERT, key_history(arena, *run_id, 0, lane->event));
    if (rows > 1)
        write_row(lane, TABLE_RUN, COMMIT_UPDATE, uuid_view(run_id));
    if (rows > 2)
        write_row(lane, TABLE_OUTBOX, COMMIT_INSERT, key_seq(arena, lane->event));
    if (rows > 3)
        write_row(lane, TABLE_FACT, COMMIT_PUT, key_fact(arena, *run_id, 1, bytes_of("activity")));
}

static void submit(struct lane *lane)
{
    struct bench *bench = lane->bench;
    commit_reset(&lane->commit);
    commit_section(
        &lane->commit, (struct commit_section){
                           .shard = lane->shard, .range_id = 1, .commit_no = lane->commit_no + 1});
    if (lane->event - lane->trimmed > 2 * TRIM_BEHIND) {
        int64_t to = lane->event - TRIM_BEHIND;
        commit_delete_range(&lane->commit, &(struct commit_range){.table = TABLE_OUTBOX,
                                               .shard = lane->shard,
                                               .from = key_seq(&lane->commit.arena, lane->trimmed),
                                               .to = key_seq(&lane->commit.arena, to)});
        lane->trimmed = to;
    }
    for (int left = bench->settings.rows; left > 0; left -= 4)
        write_request(lane, left);
    lane->op.kind = STORE_COMMIT;
    lane->op.writer = lane->writer;
    lane->op.commit = &lane->commit;
    lane->op.reply_to = bench->mailbox;
    lane->submitted_ns = env_monotonic_ns(env_system());
    bench->outstanding++;
    store_submit(bench->store, &lane->op);
}

static void committed(struct mail *mail, void *owner)
{
    struct bench *bench = owner;
    struct lane *lane = CONTAINER_OF(CONTAINER_OF(mail, struct store_op, mail), struct lane, op);
    if (lane->op.err)
        stop("commit", lane->op.text);
    int64_t now = env_monotonic_ns(env_system());
    bench->outstanding--;
    lane->commit_no++;
    bench->commits++;
    bench->rows += lane->commit.row_count;
    if (bench->latency_count < LATENCIES_MAX)
        bench->latencies_us[bench->latency_count++] = (uint32_t)((now - lane->submitted_ns) / 1000);
    if (now < bench->until_ns)
        submit(lane);
}

static void run_op(struct bench *bench, struct store_op *op, const char *what)
{
    enum err err = store_run(bench->store, op);
    if (err)
        stop(what, op->text);
}

/** Takes the shard and inserts its runs. */
static void lane_open(struct bench *bench, struct lane *lane, int number)
{
    lane->bench = bench;
    lane->shard = number + 1;
    lane->writer = number;
    lane->op.mail.deliver = committed;
    commit_init(&lane->commit);
    struct store_op take = {.kind = STORE_TAKE_SHARD,
        .writer = number,
        .take_shard = {.shard = lane->shard, .expected_range = 0, .owner = bytes_of("bench")}};
    run_op(bench, &take, "take shard");
    commit_section(&lane->commit,
        (struct commit_section){.shard = lane->shard, .range_id = 1, .commit_no = 1});
    int runs = bench->settings.runs;
    lane->runs = mem_zalloc((size_t)runs, sizeof(*lane->runs));
    for (int i = 0; i < runs; i++) {
        lane->runs[i] = uuid_new(env_system());
        write_row(lane, TABLE_RUN, COMMIT_INSERT, uuid_view(&lane->runs[i]));
    }
    struct store_op insert = {.kind = STORE_COMMIT, .writer = number, .commit = &lane->commit};
    run_op(bench, &insert, "insert runs");
    lane->commit_no = 1;
}

static int compare_latency(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double latency_ms(const struct bench *bench, double quantile)
{
    if (bench->latency_count == 0)
        return 0;
    size_t at = (size_t)(quantile * (double)(bench->latency_count - 1));
    return bench->latencies_us[at] / 1000.0;
}

static bool make_options(const struct settings *settings, struct store_options *ret, char *reason)
{
    if (strcmp(settings->driver, "sqlite") == 0 && settings->file) {
        *ret = (struct store_options){.driver = store_driver_sqlite(), .file = settings->file};
        return true;
    }
    if (strcmp(settings->driver, "sqlite") == 0)
        return support_sqlite_file(ret, reason);
    if (strcmp(settings->driver, "sqlite-memory") == 0)
        return support_sqlite_memory(ret, reason);
    if (strcmp(settings->driver, "postgres") == 0)
        return server_support_postgres(ret, reason);
    if (strcmp(settings->driver, "mariadb") == 0)
        return server_support_mariadb(ret, reason);
    *ret = (struct store_options){.driver = store_driver_memory()};
    return strcmp(settings->driver, "memory") == 0;
}

static void measure(struct bench *bench)
{
    struct lane *lanes =
        mem_zalloc((size_t)(bench->settings.writers * bench->settings.depth), sizeof(*lanes));
    int count = bench->settings.writers * bench->settings.depth;
    for (int i = 0; i < count; i++)
        lane_open(bench, &lanes[i], i);
    int64_t started = env_monotonic_ns(env_system());
    bench->until_ns = started + bench->settings.seconds * NS_PER_S;
    for (int i = 0; i < count; i++)
        submit(&lanes[i]);
    while (bench->outstanding > 0) {
        if (strcmp(bench->settings.driver, "memory") == 0)
            (void)store_step(bench->store, 16);
        if (mailbox_step(bench->mailbox, 64) == 0)
            waker_wait(bench->waker, NS_PER_S / 10);
    }
    double seconds = (double)(env_monotonic_ns(env_system()) - started) / (double)NS_PER_S;
    qsort(bench->latencies_us, bench->latency_count, sizeof(*bench->latencies_us), compare_latency);
    (void)printf("%-13s rows/commit %-5d bytes %-5d writers %d x %-2d  %8.0f rows/s  %7.0f "
                 "commits/s  p50 %.2f ms  p99 %.2f ms\n",
        bench->settings.driver, bench->settings.rows, bench->settings.bytes,
        bench->settings.writers, bench->settings.depth, (double)bench->rows / seconds,
        (double)bench->commits / seconds, latency_ms(bench, 0.5), latency_ms(bench, 0.99));
    for (int i = 0; i < count; i++) {
        commit_release(&lanes[i].commit);
        mem_free(lanes[i].runs);
    }
    mem_free(lanes);
}

static void usage(int status)
{
    (void)fprintf(status ? stderr : stdout,
        "usage: bench_store [--driver memory|sqlite|sqlite-memory|postgres|mariadb] [--file PATH]\n"
        "                   [--rows N per commit] [--bytes N per value] [--writers N]\n"
        "                   [--depth N commits under way per writer] [--seconds N]\n"
        "                   [--runs N per shard, at most 20000]\n");
    exit(status);
}

static int parse_number(const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*end || number < 1 || number > 1000000)
        usage(2);
    return (int)number;
}

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {
        .rows = 100, .bytes = 500, .writers = 2, .depth = 2, .runs = 1000, .seconds = 3};
    static const struct option options[] = {
        {"driver", required_argument, NULL, 'd'},
        {"file", required_argument, NULL, 'f'},
        {"rows", required_argument, NULL, 'r'},
        {"bytes", required_argument, NULL, 'b'},
        {"writers", required_argument, NULL, 'w'},
        {"depth", required_argument, NULL, 'p'},
        {"runs", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd')
            settings.driver = optarg;
        else if (c == 'f')
            settings.file = optarg;
        else if (c == 'r')
            settings.rows = parse_number(optarg);
        else if (c == 'b')
            settings.bytes = parse_number(optarg);
        else if (c == 'w')
            settings.writers = parse_number(optarg);
        else if (c == 'p')
            settings.depth = parse_number(optarg);
        else if (c == 'n')
            settings.runs = parse_number(optarg);
        else if (c == 's')
            settings.seconds = parse_number(optarg);
        else
            usage(c == 'h' ? 0 : 2);
    }
    return settings;
}

/** A new database, measured and thrown away. */
static void run(const struct settings *settings)
{
    struct bench bench = {.settings = *settings};
    struct store_options options;
    char text[SERVER_REASON_BYTES] = "no such driver";
    if (!make_options(settings, &options, text)) {
        (void)printf("%-13s skipped: %s\n", settings->driver, text);
        return;
    }
    options.migrate = true;
    options.readers = 1;
    options.writers = settings->writers;
    enum err err = store_open(&options, &bench.store, text);
    if (err)
        stop("open", text);
    bench.waker = waker_open();
    bench.mailbox = mailbox_open(&bench, bench.waker, 1024);
    bench.value = mem_zalloc((size_t)settings->bytes + 64, 1);
    env_random(env_system(), bench.value, (size_t)settings->bytes + 64);
    bench.latencies_us = mem_zalloc(LATENCIES_MAX, sizeof(*bench.latencies_us));
    measure(&bench);
    store_close(bench.store);
    mailbox_close(bench.mailbox, NULL);
    waker_close(bench.waker);
    mem_free(bench.value);
    mem_free(bench.latencies_us);
}

int main(int argc, char **argv)
{
    static const char *const drivers[] = {
        "memory", "sqlite-memory", "sqlite", "postgres", "mariadb"};
    static const int rows[] = {4, 100, 1000};
    struct settings settings = parse(argc, argv);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (settings.driver) {
        run(&settings);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        settings.driver = drivers[i];
        for (size_t j = 0; j < ARRAY_LEN(rows); j++) {
            settings.rows = rows[j];
            run(&settings);
        }
    }
    return 0;
}
