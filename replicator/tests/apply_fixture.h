/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster "eu" that applies what a source "us" wrote: a real engine, registry and store, and a
 * source that is a list of histories. Everything in one thread; nothing happens but in settle().
 */
#ifndef REPLICATOR_TESTS_APPLY_FIXTURE_H
#define REPLICATOR_TESTS_APPLY_FIXTURE_H

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/event_build.h"
#include "cluster/engine/executor.h"
#include "cluster/store/store_fault.h"
#include "conflict/version_history.h"
#include "proto/replication.pb-c.h"
#include "replicator/apply.h"

#define EVENT(name)      API__EVENT_TYPE__EVENT_TYPE_##name
#define ITEM(name)       RECORD__OUTBOX_ITEM__KIND__##name
#define LINE_BATCHES_MAX 64

enum { US, EU, AP }; /* clusters; versions of theirs end in 1, 2, 3 */

/** The history of one run, as the source has it. */
struct line {
    struct list link;
    char workflow_id[32];
    struct uuid run_id;
    int64_t version; /* of what is written next */
    int64_t next;
    uint64_t digest;
    size_t batch_count;
    struct blob *batches[LINE_BATCHES_MAX];
    int64_t firsts[LINE_BATCHES_MAX];
    size_t item_count;
    struct version_item items[LINE_BATCHES_MAX];
    struct batch_builder builder;
    struct buffer meta;
    int64_t task_scheduled;
};

/** An item on its way, with what became of it. */
struct sent {
    struct apply_item item;
    struct list link;
    Replication__Item *message;
    bool done;
};

/** The world of one test. */
struct place {
    struct env env;
    struct arena arena;
    struct list lines;
    int64_t now_ns;
    uint64_t random;
    struct uuid namespace_id;
    struct apply *apply;
    struct registry *registry;
    struct store *store;
    struct store_fault *fault;
    struct metrics *metrics;
    int fetches; /* asked so far */
    int namespace_asks;
    bool source_down;               /* does not answer */
    bool source_forgot;             /* has no runs */
    size_t page;                    /* batches per answer; 0 = all */
    Record__Namespace *known_there; /* merged when asked for; NULL = the source knows nothing */
};
extern struct place *place;

int place_setup(void **state);
int place_teardown(void **state);
void place_settle(void);
/** The process ends and comes back. */
void place_restart(void);
uint64_t place_random(uint64_t bound);
/** A record of namespace "orders" in us and, if so, eu. */
Record__Namespace *place_record(const char *active, int64_t version, bool with_eu);
void place_merge(Record__Namespace *record);

/* ---- writing --------------------------------------------------------------------------------- */

struct line *line_new(const char *workflow_id, int64_t version);
void line_free(struct line *line);
/** The next event of the open batch; fill its attributes, then line_add. */
Api__HistoryEvent *line_event(Api__EventType type);
int64_t line_add(struct line *line, Api__HistoryEvent *event);
/** Ends the batch; returns its number. */
size_t line_end(struct line *line);
/* Whole batches. */
size_t line_start(struct line *line);                    /* Started, TaskScheduled */
size_t line_signal(struct line *line, const char *name); /* Signaled */
size_t line_complete(struct line *line);                 /* task, Completed */
size_t line_continue(struct line *line, struct line *successor);
/** Task completed with one activity; its scheduled event id. */
int64_t line_activity(struct line *line, const char *activity_id);
size_t line_end_activity(struct line *line, int64_t scheduled_event_id);

/* ---- sending --------------------------------------------------------------------------------- */

Replication__Item *item_new(const struct line *line, Record__OutboxItem__Kind kind);
Replication__Item *item_batch(const struct line *line, size_t number);
Replication__Item *item_activity(const struct line *line, const Record__ActivityFact *fact);
Replication__Item *item_buffered(const struct line *line, const Record__BufferedFact *fact);
/** Submits; place_settle() then lets it happen. */
struct sent *send_item(Replication__Item *item);
struct sent *send_batch(const struct line *line, size_t number);
/** Sends, settles and expects this outcome. */
void apply_expect(Replication__Item *item, enum apply_outcome outcome);
void apply_batch(const struct line *line, size_t number);
void apply_line(const struct line *line);
void assert_outcome(const struct sent *sent, enum apply_outcome outcome);
void assert_dead(const struct sent *sent, const char *reason);

/* ---- looking --------------------------------------------------------------------------------- */

/** A run as the applying cluster has it. */
struct seen {
    bool exists;
    bool current;
    bool open;
    bool zombie;
    int64_t next;
    uint64_t digest;
    size_t buffered;
    size_t activities;
    int32_t attempt; /* of its first activity */
    bool started;
    int64_t stamp;
};
struct seen see(const struct line *line);
/** All of the line's history is there. */
void assert_complete(const struct line *line);
/** Rows of a table that the filter of its key's beginning matches. */
size_t rows_of(enum table table, struct bytes prefix);

#endif
