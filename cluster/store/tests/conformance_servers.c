/* SPDX-License-Identifier: Apache-2.0
 *
 * What only a database server can do to us: connections that end in the middle of a commit, several
 * nodes that migrate at once, settings that must be refused, TLS that is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster/base/mem.h"
#include "cluster/base/thread.h"
#include "cluster/store/store.h"
#include "cluster/store/tests/server_support.h"

#define SHARD 7

static bool provide(const char *driver, struct store_options *ret)
{
    char reason[SERVER_REASON_BYTES] = "";
    bool here = strcmp(driver, "postgres") == 0 ? server_support_postgres(ret, reason)
                                                : server_support_mariadb(ret, reason);
    if (!here)
        (void)fprintf(stderr, "%s\n", reason);
    ret->migrate = true;
    return here;
}

/** One writer session on a database of its own. */
struct writer {
    struct store_options options;
    void *database;
    struct store_session *session;
    int64_t range_id;
    int64_t commit_no;
    enum err err; /* of the last commit */
};

static void writer_take(struct writer *writer)
{
    struct store_take_shard take = {
        .shard = SHARD, .expected_range = -1, .owner = bytes_of("test")};
    assert_int_equal(writer->options.driver->take_shard(writer->session, &take), OK);
    writer->range_id = take.range_id;
    writer->commit_no = take.commit_no;
}

static bool writer_open(struct writer *writer, const char *driver)
{
    char text[256] = "";
    *writer = (struct writer){0};
    if (!provide(driver, &writer->options))
        return false;
    assert_int_equal(writer->options.driver->open(&writer->options, &writer->database, text), OK);
    assert_int_equal(
        writer->options.driver->session_open(writer->database, true, &writer->session, text), OK);
    writer_take(writer);
    return true;
}

static void writer_close(struct writer *writer)
{
    writer->options.driver->session_close(writer->session);
    writer->options.driver->close(writer->database);
}

static enum err writer_commit(struct writer *writer, const char *key, struct bytes value)
{
    struct commit commit;
    commit_init(&commit);
    commit_section(
        &commit, (struct commit_section){SHARD, writer->range_id, writer->commit_no + 1});
    struct commit_row row = {.table = TABLE_HISTORY,
        .mode = COMMIT_INSERT,
        .shard = SHARD,
        .key = bytes_of(key),
        .value = value};
    commit_write(&commit, &row);
    enum err err = writer->options.driver->commit(writer->session, &commit);
    commit_release(&commit);
    if (err == OK)
        writer->commit_no++;
    return err;
}

static void commit_thread(void *arg)
{
    struct writer *writer = arg;
    writer->err = writer_commit(writer, "second", bytes_of("value"));
}

struct statement {
    const struct writer *writer;
    const char *sql;
};

/** Ends with an error when its connection is cut: that is how it is told to stop. */
static void statement_thread(void *arg)
{
    const struct statement *statement = arg;
    (void)server_support_execute(
        statement->writer->options.driver->name, statement->writer->options.name, statement->sql);
}

/** Commits while `blocker` runs on another connection, cuts all connections meanwhile. */
static enum err commit_and_cut(struct writer *writer, const char *blocker)
{
    struct statement statement = {writer, blocker};
    struct thread *block = thread_start("block", statement_thread, &statement);
    (void)usleep(700 * 1000);
    struct thread *commit = thread_start("commit", commit_thread, writer);
    (void)usleep(300 * 1000);
    server_support_kill_connections(writer->options.driver->name);
    thread_join(commit);
    thread_join(block);
    return writer->err;
}

/** The fence waits for a row lock: COMMIT was not executed, whatever was sent. */
static void cut_before_commit(const char *driver, const char *blocker)
{
    struct writer writer;
    if (!writer_open(&writer, driver))
        skip();
    assert_int_equal(writer_commit(&writer, "first", bytes_of("value")), OK);
    assert_int_equal(commit_and_cut(&writer, blocker), ERR_UNAVAILABLE);
    int64_t before = writer.commit_no;
    writer_take(&writer);
    assert_int_equal(writer.commit_no, before);
    assert_int_equal(writer_commit(&writer, "second", bytes_of("value")), OK);
    writer_close(&writer);
}

static void test_postgres_cut_before_commit(void **state)
{
    (void)state;
    cut_before_commit("postgres",
        "BEGIN; UPDATE shard SET owner = 'x' WHERE shard = 7; SELECT pg_sleep(20); ROLLBACK");
}

static void test_mariadb_cut_before_commit(void **state)
{
    (void)state;
    cut_before_commit(
        "mariadb", "BEGIN; UPDATE shard SET owner = 'x' WHERE shard = 7; DO SLEEP(20); ROLLBACK");
}

/** A commit that waits for a standby that does not exist; cut, it is durable here nevertheless. */
static void test_postgres_cut_during_commit(void **state)
{
    (void)state;
    struct writer writer;
    if (!writer_open(&writer, "postgres"))
        skip();
    const char *name = writer.options.name;
    assert_int_equal(writer_commit(&writer, "first", bytes_of("value")), OK);
    assert_true(server_support_execute(
        "postgres", name, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"));
    assert_true(server_support_execute("postgres", name, "SELECT pg_reload_conf()"));
    assert_int_equal(commit_and_cut(&writer, "SELECT pg_sleep(20)"), ERR_UNKNOWN_COMMIT);
    assert_true(
        server_support_execute("postgres", name, "ALTER SYSTEM RESET synchronous_standby_names"));
    assert_true(server_support_execute("postgres", name, "SELECT pg_reload_conf()"));
    int64_t before = writer.commit_no;
    writer_take(&writer);
    assert_int_equal(writer.commit_no, before + 1);
    assert_int_equal(writer_commit(&writer, "second", bytes_of("value")), ERR_DUPLICATE_KEY);
    writer_close(&writer);
}

/** COMMIT itself waits: nobody can tell, and taking the shard again resolves it. */
static void test_mariadb_cut_during_commit(void **state)
{
    (void)state;
    struct writer writer;
    if (!writer_open(&writer, "mariadb"))
        skip();
    assert_int_equal(writer_commit(&writer, "first", bytes_of("value")), OK);
    assert_int_equal(
        commit_and_cut(&writer, "BACKUP STAGE START; BACKUP STAGE BLOCK_COMMIT; DO SLEEP(20)"),
        ERR_UNKNOWN_COMMIT);
    int64_t before = writer.commit_no;
    writer_take(&writer);
    bool applied = writer.commit_no == before + 1;
    assert_true(applied || writer.commit_no == before);
    assert_int_equal(
        writer_commit(&writer, "second", bytes_of("value")), applied ? ERR_DUPLICATE_KEY : OK);
    writer_close(&writer);
}

/* ---- opening ---- */

struct opener {
    struct store_options options;
    enum err err;
    char text[256];
};

static void open_thread(void *arg)
{
    struct opener *opener = arg;
    void *database = NULL;
    opener->err = opener->options.driver->open(&opener->options, &database, opener->text);
    if (opener->err == OK)
        opener->options.driver->close(database);
}

static void migrate_together(const char *driver)
{
    struct opener openers[6];
    struct thread *threads[6];
    struct store_options options;
    if (!provide(driver, &options))
        skip();
    for (size_t i = 0; i < ARRAY_LEN(openers); i++) {
        openers[i] = (struct opener){.options = options};
        threads[i] = thread_start("open", open_thread, &openers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(openers); i++) {
        thread_join(threads[i]);
        if (openers[i].err)
            (void)fprintf(stderr, "%s\n", openers[i].text);
        assert_int_equal(openers[i].err, OK);
    }
}

static void test_postgres_migrate_together(void **state)
{
    (void)state;
    migrate_together("postgres");
}

static void test_mariadb_migrate_together(void **state)
{
    (void)state;
    migrate_together("mariadb");
}

static void expect_refusal(const struct store_options *options, enum err wanted, const char *part)
{
    struct opener opener = {.options = *options};
    open_thread(&opener);
    assert_int_equal(opener.err, wanted);
    if (!strstr(opener.text, part))
        (void)fprintf(stderr, "%s\n", opener.text);
    assert_non_null(strstr(opener.text, part));
}

static void refuse_connection(const char *driver)
{
    struct store_options options;
    if (!provide(driver, &options))
        skip();
    struct store_options bad = options;
    bad.name = "there_is_no_such_database";
    expect_refusal(&bad, ERR_CONFIG, "there_is_no_such_database");
    bad = options;
    bad.socket = NULL;
    bad.host = "127.0.0.1";
    bad.port = 1;
    expect_refusal(&bad, ERR_UNAVAILABLE, "connect");
    bad.port = options.port;
    bad.tls_mode = "require";
    expect_refusal(&bad, ERR_CONFIG, strcmp(driver, "postgres") == 0 ? "SSL" : "TLS");
    bad.tls_mode = "perhaps";
    expect_refusal(&bad, ERR_CONFIG, "perhaps");
    bad.tls_mode = "prefer";
    struct opener opener = {.options = bad};
    open_thread(&opener);
    assert_int_equal(opener.err, OK);
}

static void test_postgres_refusals(void **state)
{
    (void)state;
    refuse_connection("postgres");
}

static void test_mariadb_refusals(void **state)
{
    (void)state;
    refuse_connection("mariadb");
    struct store_options options;
    if (!provide("mariadb", &options))
        skip();
    assert_true(
        server_support_execute("mariadb", options.name, "SET GLOBAL max_allowed_packet = 1048576"));
    expect_refusal(&options, ERR_CONFIG, "max_allowed_packet=16M");
    assert_true(server_support_execute(
        "mariadb", options.name, "SET GLOBAL max_allowed_packet = 16777216"));
    assert_true(server_support_execute("mariadb", options.name, "SET GLOBAL read_only = 1"));
    expect_refusal(&options, ERR_UNAVAILABLE, "read-only");
    assert_true(server_support_execute("mariadb", options.name, "SET GLOBAL read_only = 0"));
}

/** One value beyond what a request may carry is refused before anything is sent. */
static void test_mariadb_packet(void **state)
{
    (void)state;
    struct writer writer;
    if (!writer_open(&writer, "mariadb"))
        skip();
    size_t size = 17u << 20;
    uint8_t *data = mem_zalloc(size, 1);
    assert_int_equal(writer_commit(&writer, "large", bytes_make(data, size)), ERR_TOO_LARGE);
    assert_non_null(strstr(writer.session->text, "max_allowed_packet"));
    assert_int_equal(writer_commit(&writer, "fits", bytes_make(data, 15u << 20)), OK);
    mem_free(data);
    writer_close(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgres_cut_before_commit),
        cmocka_unit_test(test_postgres_cut_during_commit),
        cmocka_unit_test(test_postgres_migrate_together),
        cmocka_unit_test(test_postgres_refusals),
        cmocka_unit_test(test_mariadb_cut_before_commit),
        cmocka_unit_test(test_mariadb_cut_during_commit),
        cmocka_unit_test(test_mariadb_migrate_together),
        cmocka_unit_test(test_mariadb_refusals),
        cmocka_unit_test(test_mariadb_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
