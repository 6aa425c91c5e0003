/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: what Strait needs of a database, and the asynchronous face of every driver.
 *
 * Two layers.
 *  - A driver implements `struct store_driver`: synchronous sessions (one database connection each)
 *    with commit, get, scan and a few queries. Drivers: store_memory.c (the model),
 *    store_sqlite.c, store_postgres.c, store_mariadb.c; store_fault.c wraps any of them.
 *  - store.c runs sessions. Threaded: each session lives on a thread of its own, fed by a queue
 *    (writers take commits, readers take reads); a completion is mail to the submitter. Stepped:
 *    store_step() executes queued operations on the caller's thread (memory driver, simulator).
 *
 * So nobody blocks on a database: submit, go on, receive the completion as mail.
 *
 * Failure contract of a commit (rules: fencing and unknown outcomes):
 *   OK                  durable
 *   ERR_FENCED          a section's range_id is not ours any more, its commit_no is not the stored
 *                       one + 1, or nobody ever took the shard; nothing was applied
 *   ERR_DUPLICATE_KEY, ERR_CORRUPT, ERR_TOO_LARGE   nothing was applied; retrying is useless
 *   ERR_CONFLICT        deadlock or serialization failure, retried by the pool a bounded number of
 *                       times; nothing was applied
 *   ERR_UNAVAILABLE     the connection failed before COMMIT was sent; nothing was applied
 *   ERR_UNKNOWN_COMMIT  the connection failed after COMMIT was sent. The caller must take the
 *                       shard again (store take_shard) and compare commit_no before it goes on.
 */
#ifndef CLUSTER_STORE_STORE_H
#define CLUSTER_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/env.h"
#include "cluster/base/err.h"
#include "cluster/base/limits.h"
#include "cluster/base/mailbox.h"
#include "cluster/base/metrics.h"
#include "cluster/store/commit.h"
#include "cluster/store/filter.h"

/** A row that was read. Bytes live in the operation's arena. */
struct store_row {
    struct bytes key;
    struct bytes value;
    bool found; /* get: false = no such row */
    /* TABLE_RUN only */
    struct uuid namespace_id;
    int64_t due_ns;
    int64_t expire_ns;
};

struct store_get {
    enum table table;
    int32_t shard;
    struct bytes key;
    struct store_row row; /* result */
};

/** Rows with from <= key < to in key order (or reverse), at most `limit_rows`, and stopping after
 *  the row with which the sum of key and value lengths exceeds `limit_bytes`. `more` is exact:
 *  true when the range holds a row that is not in the result. */
struct store_scan {
    enum table table;
    int32_t shard;
    struct bytes from;
    struct bytes to; /* empty = to the end of the shard */
    bool reverse;
    uint32_t limit_rows;
    size_t limit_bytes;     /* 0 = no bound */
    struct store_row *rows; /* result */
    size_t row_count;
    bool more; /* a limit left rows out */
};

/** Runs of one namespace (or all, when namespace_id is zero) whose due_ns (or expire_ns) is in
 *  [from_ns, to_ns], in that order, then by key. Rows carry key, value, due and expire. */
struct store_due {
    int32_t shard;
    struct uuid namespace_id;
    bool expiry; /* by expire_ns instead of due_ns; namespace ignored */
    int64_t from_ns;
    int64_t to_ns;
    uint32_t limit_rows;
    struct store_row *rows;
    size_t row_count;
    bool more;
};

/** One page of a list. Order: close_ns desc, start_ns desc, run_id desc. */
struct store_list {
    struct uuid namespace_id;
    const struct filter *filter; /* NULL = all */
    uint32_t limit_rows;
    bool after_set; /* continue behind this position */
    int64_t after_close_ns;
    int64_t after_start_ns;
    struct uuid after_run_id;
    struct visibility_row *rows;
    size_t row_count;
    bool more;
};

struct store_count {
    struct uuid namespace_id;
    const struct filter *filter;
    bool by_status; /* GROUP BY ExecutionStatus */
    int64_t total;
    int64_t status_counts[16]; /* by status value */
};

/** Takes a shard: bumps range_id (creating the row at first), waiting for a commit under way.
 *  `expected_range` >= 0: only when the stored one is that (compare and set), else ERR_FENCED. A
 *  shard never taken has range_id 0 and commit_no 0. commit_no is reported, not changed. */
struct store_take_shard {
    int32_t shard;
    int64_t expected_range;
    struct bytes owner; /* node id, shown to operators */
    int64_t range_id;   /* results */
    int64_t commit_no;
};

enum store_op_kind {
    STORE_COMMIT,
    STORE_GET,
    STORE_SCAN,
    STORE_DUE,
    STORE_LIST,
    STORE_COUNT,
    STORE_TAKE_SHARD,
    STORE_CUSTOM, /* runs a function with a reader session: composite reads in one go */
};

struct store_session;
struct store_op;
typedef enum err store_custom_fn(struct store_session *session, struct store_op *op, void *ctx);

/** One operation; embedded in or owned by the submitter, who gets it back as mail. */
struct store_op {
    struct mail mail; /* deliver = set by the submitter */
    struct mailbox *reply_to;
    struct store_op *next; /* the store's */
    enum store_op_kind kind;
    /* Commits and take_shard: which writer session (modulo their number); those of one writer run
     * in submission order. */
    int writer;
    struct arena *arena; /* results go here; owned by the submitter */
    enum err err;        /* result */
    char text[256];      /* reason, when err != OK */
    union {
        const struct commit *commit;
        struct {
            struct store_get *keys;
            size_t count;
        } get;
        struct store_scan scan;
        struct store_due due;
        struct store_list list;
        struct store_count count;
        struct store_take_shard take_shard;
        struct {
            store_custom_fn *fn;
            void *ctx;
        } custom;
    };
};

/** Driver contract: all calls block the session's thread; a session is used by one thread. After an
 *  error that means a lost connection the driver reconnects on the next call by itself. Reasons go
 *  to session->text. */
struct store_session {
    const struct store_driver *driver;
    char text[256];
};

struct store_options;

struct store_driver {
    const char *name; /* "postgres" */
    /* Opens the database (shared state of all sessions), applies missing migrations under a lock
     * when `migrate`, refuses a schema newer than this build with ERR_VERSION. */
    enum err (*open)(const struct store_options *options, void **ret_database, char text[256]);
    void (*close)(void *database);
    enum err (*session_open)(
        void *database, bool writer, struct store_session **ret_session, char text[256]);
    void (*session_close)(struct store_session *session);
    enum err (*commit)(struct store_session *session, const struct commit *commit);
    /* Optional (may be NULL): several commits in one transaction, a savepoint each, so that they
     * share the cost of durability. Result i is ret_errs[i]; the reason of the last failed one is
     * in session->text. When the transaction as a whole fails, all carry its error. */
    void (*commit_many)(struct store_session *session, const struct commit *const *commits,
        size_t count, enum err *ret_errs);
    /* Keys come in any order and may repeat (the pool merges gets); all fields of `row` are set,
     * row.key is a copy. A read fails only as a whole. */
    enum err (*get)(
        struct store_session *session, struct arena *arena, struct store_get *keys, size_t count);
    enum err (*scan)(struct store_session *session, struct arena *arena, struct store_scan *scan);
    enum err (*due)(struct store_session *session, struct arena *arena, struct store_due *due);
    enum err (*list)(struct store_session *session, struct arena *arena, struct store_list *list);
    enum err (*count)(
        struct store_session *session, struct arena *arena, struct store_count *count);
    enum err (*take_shard)(struct store_session *session, struct store_take_shard *take);
    /* How many writers may run at once: 1 for SQLite. */
    int writers_max;
    bool stepped; /* memory: no threads of its own are needed or used */
};

/* The pool refuses larger commits with ERR_TOO_LARGE; executors end a batch at COMMIT_*_MAX, so
 * there is room for what one more request adds. */
#define STORE_COMMIT_ROWS_MAX  (2 * COMMIT_ROWS_MAX)
#define STORE_COMMIT_BYTES_MAX (2 * COMMIT_BYTES_MAX)

const struct store_driver *store_driver_memory(void);
const struct store_driver *store_driver_sqlite(void);
const struct store_driver *store_driver_postgres(void);
const struct store_driver *store_driver_mariadb(void);

/** Connection settings; strings are copied; NULL = the client library's default. */
struct store_options {
    const struct store_driver *driver;
    const char *host;
    int port; /* 0 = default */
    const char *socket;
    const char *user;
    const char *password;
    const char *name;     /* database */
    const char *file;     /* SQLite: path; NULL = in memory (vfs=memdb), shared by sessions */
    const char *tls_mode; /* disable, prefer, require, verify-full */
    const char *tls_ca_file;
    int readers; /* reader sessions, >= 1 */
    int writers; /* writer sessions wanted; capped by driver->writers_max */
    bool migrate;
    struct metrics *metrics; /* may be NULL */
    /* Memory: a memory_database to share (store_memory.h), or NULL. Fault: the plan
     * (store_fault.h). */
    void *driver_ctx;
};

struct store;
/** Opens database and sessions and, unless stepped, starts their threads. ERR_VERSION,
 *  ERR_CONFIG, ERR_UNAVAILABLE with the reason in text. */
NODISCARD enum err store_open(
    const struct store_options *options, struct store **ret_store, char text[256]);
/** Completes queued operations with ERR_CLOSED, waits for running ones, joins threads. Nobody may
 *  submit any more. NULL is ignored. */
void store_close(struct store *store);
/** Queues the operation. Any thread. Reads have no order among themselves or with commits: a read
 *  sees every commit that had completed when it was submitted.
 *  Completion: op->mail to op->reply_to, err and results set. */
void store_submit(struct store *store, struct store_op *op);
/** Executes up to `max` queued operations of a stepped store on this thread; returns how many. */
size_t store_step(struct store *store, size_t max);
/** Convenience for start-up and tools: submits and waits. Not from a thread that owns mailboxes
 *  (it sleeps). On a stepped store it steps. */
NODISCARD enum err store_run(struct store *store, struct store_op *op);
const char *store_driver_name(const struct store *store);

/* For STORE_CUSTOM functions: checked wrappers over the session's driver. */
NODISCARD enum err session_get(
    struct store_session *session, struct arena *arena, struct store_get *keys, size_t count);
NODISCARD enum err session_scan(
    struct store_session *session, struct arena *arena, struct store_scan *scan);

#endif
