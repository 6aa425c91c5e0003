/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance suite: one set of tests that every driver must pass, and what they share.
 *
 * A driver's binary calls conformance_main() with a way to get a new empty database. Tests do not
 * clean up: each works on shards and namespaces of its own.
 */
#ifndef CLUSTER_STORE_TESTS_STORE_FIXTURE_H
#define CLUSTER_STORE_TESTS_STORE_FIXTURE_H

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/store/store.h"
#include "cluster/store/store_fault.h"

struct conformance_driver {
    const char *name;
    /* Options of a new empty database, strings valid until exit; false: skip, with the reason. */
    bool (*create)(struct store_options *ret, char *reason);
    /* Cuts all connections; NULL = there are none to cut. */
    void (*kill_connections)(void);
    /* Runs SQL in that database behind the store's back; NULL = not an SQL driver. */
    bool (*execute)(const struct store_options *options, const char *sql);
    /* Two stores may be open on one database. */
    bool shareable;
};

/** What the group setup opens. `faulty` is a store of its own, on a database of its own. */
struct fixture {
    const struct conformance_driver *driver;
    struct store_options options;
    struct store *store;
    struct store_options faulty_options;
    struct store_fault *fault;
    struct store *faulty;
    struct arena arena; /* reset before each test */
    uint64_t seed;
};

extern struct fixture fixture;

int conformance_main(const struct conformance_driver *driver);

/** cmocka's CHECK for results, with the reason. */
void expect_err(enum err expected, enum err err, const char *text, const char *file, int line);

/* A deterministic generator, so that tests repeat from their seed. */
struct random {
    uint64_t state;
};
/** Seeds from STRAIT_SEED or the clock, mixed with the test's name, and prints how to repeat. */
struct random random_begin(const char *test);
uint64_t random_next(struct random *random);
/** Uniform in [0, bound). */
uint64_t random_below(struct random *random, uint64_t bound);
struct bytes random_bytes(struct random *random, struct arena *arena, size_t len);
struct uuid random_uuid(struct random *random);

/** A shard that this test took. */
struct shard {
    struct store *store;
    int32_t shard;
    int64_t range_id;
    int64_t commit_no; /* stored */
};

/** A number that no other test uses. */
int32_t shard_number(void);
/** Takes a new shard of the store. */
struct shard shard_take(struct store *store);
/** Takes it again, whoever has it; commit_no is what is stored. */
void shard_retake(struct shard *shard);
/** Adds the fence of the shard's next commit. */
void shard_section(struct commit *commit, const struct shard *shard);
/** Runs a commit that has the shard's section; counts on OK. */
enum err shard_commit(struct shard *shard, const struct commit *commit);
enum err run_commit(struct store *store, const struct commit *commit);
/** One change in a commit of its own. */
enum err shard_write(struct shard *shard, enum table table, enum commit_mode mode, const char *key,
    const char *value);

struct store_row get_row(struct store *store, enum table table, int32_t shard, struct bytes key);
/** Checks that the row has this value; NULL = that there is none. */
void expect_row(
    struct store *store, enum table table, int32_t shard, const char *key, const char *value);
struct store_scan scan_rows(struct store *store, struct store_scan scan);
struct store_scan scan_all(struct store *store, enum table table, int32_t shard);
struct store_due due_rows(struct store *store, struct store_due due);
void expect_rows_equal(
    const struct store_row *a, size_t a_count, const struct store_row *b, size_t b_count);

#define expect_ok(op)     expect_err(OK, (op)->err, (op)->text, __FILE__, __LINE__)
#define run_ok(store, op) expect_err(OK, store_run(store, op), (op)->text, __FILE__, __LINE__)

/* One of these per support_conform_*.c. */
struct conformance_tests {
    const struct CMUnitTest *tests;
    size_t count;
};
extern const struct conformance_tests conform_commit;
extern const struct conformance_tests conform_read;
extern const struct conformance_tests conform_load;
extern const struct conformance_tests conform_visibility;
extern const struct conformance_tests conform_fault;
extern const struct conformance_tests conform_model;

#endif
