/* SPDX-License-Identifier: Apache-2.0
 *
 * Composition: opening from the store, one step for all parts, a clean stop.
 */
#include "replicator/replicator.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/metadata.h"
#include "replicator/peer.h"
#include "replicator/progress.h"
#include "replicator/publisher.h"
#include "replicator/receiver.h"

#define MAILS_PER_STEP   1024
#define MAILBOX_MESSAGES 65536
#define STOP_GRACE_NS    (2 * NS_PER_S) /* for items that wait for other clusters */
#define EPOCH_KEY        "epoch"

/* ---- small helpers --------------------------------------------------------------------------- */

bool uuid_from(ProtobufCBinaryData data, struct uuid *ret_uuid)
{
    if (data.len != sizeof(ret_uuid->bytes))
        return false;
    memcpy(ret_uuid->bytes, data.data, sizeof(ret_uuid->bytes));
    return true;
}

void replicator_store(struct replicator *replicator, struct store_op *op, mail_deliver_fn *deliver)
{
    op->mail.deliver = deliver;
    op->reply_to = replicator->mailbox;
    op->err = OK;
    op->text[0] = 0;
    replicator->under_way++;
    store_submit(replicator->store, op);
}

void replicator_store_done(struct replicator *replicator)
{
    CHECK(replicator->under_way > 0);
    replicator->under_way--;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void restore_row(
    struct replicator *replicator, struct arena *arena, int32_t shard, const struct store_row *row)
{
    enum progress_role role;
    const char *cluster;
    int32_t of;
    const Record__Progress *progress =
        proto_unpack(arena, &record__progress__descriptor, row->value);
    if (!progress || progress->format != 1 ||
        !progress_key_read(arena, row->key, &role, &cluster, &of))
        return; /* not ours to judge here: it is written again */
    int index = federation_find(replicator->federation, cluster);
    if (index < 0 || index == replicator->federation->self)
        return;
    if (role == PROGRESS_IN)
        receiver_restore(replicator->receiver, index, of, progress);
    else if (of == shard)
        publisher_restore(replicator->publisher, index, shard, progress);
}

/* Runs on a reader session's thread while the opener waits. */
static enum err read_state(struct store_session *session, struct store_op *op, void *ctx)
{
    struct replicator *replicator = ctx;
    struct arena *arena = op->arena;
    for (int32_t i = 0; i < replicator->options.shards; i++) {
        arena_reset(arena);
        struct store_scan scan = {.table = TABLE_PROGRESS, .shard = i, .limit_rows = UINT32_MAX};
        struct store_scan newest = {
            .table = TABLE_OUTBOX, .shard = i, .reverse = true, .limit_rows = 1};
        enum err err = session_scan(session, arena, &scan);
        if (!err)
            err = session_scan(session, arena, &newest);
        if (err)
            return err;
        int64_t seq = 0;
        if (newest.row_count == 1 && key_read_i64(newest.rows[0].key, 0, &seq))
            publisher_restore_newest(replicator->publisher, i, seq);
        for (size_t k = 0; k < scan.row_count; k++)
            restore_row(replicator, arena, i, &scan.rows[k]);
    }
    return OK;
}

static enum err write_epoch(struct replicator *replicator, int64_t epoch, char text[256])
{
    struct commit commit;
    commit_init(&commit);
    struct key_builder value;
    key_begin(&value, &commit.arena, 8);
    key_i64(&value, epoch);
    struct commit_row row = {.table = TABLE_CLUSTER,
        .mode = COMMIT_PUT,
        .key = bytes_of(EPOCH_KEY),
        .value = key_end(&value)};
    commit_write(&commit, &row);
    struct store_op op = {.kind = STORE_COMMIT};
    op.commit = &commit;
    enum err err = store_run(replicator->store, &op);
    if (err)
        snprintf(text, 256, "the epoch cannot be stored: %.200s", op.text);
    commit_release(&commit);
    return err;
}

/* The incarnation of our sequence space; created at the first start. */
static enum err read_epoch(struct replicator *replicator, char text[256])
{
    struct arena arena CLEANUP(arena_release) = {0};
    struct store_get get = {.table = TABLE_CLUSTER, .key = bytes_of(EPOCH_KEY)};
    struct store_op op = {.kind = STORE_GET, .arena = &arena};
    op.get.keys = &get;
    op.get.count = 1;
    enum err err = store_run(replicator->store, &op);
    if (err) {
        snprintf(text, 256, "the epoch cannot be read: %.200s", op.text);
        return err;
    }
    replicator->epoch = 1;
    if (!get.row.found)
        return write_epoch(replicator, replicator->epoch, text);
    if (get.row.value.len != 8 || !key_read_i64(get.row.value, 0, &replicator->epoch) ||
        replicator->epoch < 1) {
        snprintf(text, 256, "the epoch in table cluster does not decode");
        return ERR_CORRUPT;
    }
    return OK;
}

static enum err open_state(struct replicator *replicator, char text[256])
{
    enum err err = read_epoch(replicator, text);
    if (err)
        return err;
    struct arena arena CLEANUP(arena_release) = {0};
    struct store_op op = {.kind = STORE_CUSTOM, .arena = &arena};
    op.custom.fn = read_state;
    op.custom.ctx = replicator;
    err = store_run(replicator->store, &op);
    if (err) {
        snprintf(text, 256, "progress of replication cannot be read: %.180s", op.text);
        return err;
    }
    struct apply_options apply = {.env = replicator->env,
        .registry = replicator->options.registry,
        .federation = replicator->federation,
        .store = replicator->store,
        .metrics = replicator->options.metrics,
        .mailbox = replicator->mailbox,
        .shards = replicator->options.shards,
        .hooks = {replicator, peer_fetch, metadata_need}};
    return apply_open(&apply, &replicator->apply, text);
}

enum err replicator_open(
    const struct replicator_options *options, struct replicator **ret_replicator, char text[256])
{
    struct replicator *replicator = mem_new(struct replicator);
    replicator->options = *options;
    replicator->env = options->env;
    replicator->store = options->store;
    replicator->federation = options->federation;
    replicator->self = federation_self(options->federation);
    if (options->federation->count > 1)
        replicator->bus = cluster_bus(replicator, options->federation->self);
    replicator->mailbox = mailbox_open(replicator, options->waker, MAILBOX_MESSAGES);
    pthread_mutex_init(&replicator->mutex, NULL);
    replicator->watch = watch_open(replicator);
    replicator->publisher = publisher_open(replicator);
    replicator->receiver = receiver_open(replicator);
    replicator->progress = progress_open(replicator);
    replicator->metadata = metadata_open(replicator);
    replicator->peer = peer_open(replicator);
    enum err err = open_state(replicator, text);
    if (err) {
        replicator_close(replicator);
        return err;
    }
    *ret_replicator = replicator;
    return OK;
}

struct replication_sink replicator_sink(struct replicator *replicator)
{
    return (struct replication_sink){replicator->publisher, publisher_committed};
}

void replicator_set_engine(struct replicator *replicator, struct engine *engine)
{
    replicator->engine = engine;
    apply_set_engine(replicator->apply, engine);
}

void replicator_set_handlers(struct replicator *replicator, const struct peer_handlers *handlers)
{
    replicator->handlers = *handlers;
}

/* ---- step ------------------------------------------------------------------------------------ */

/* Subscriptions wait for the engine: what comes in needs it. */
static void start(struct replicator *replicator)
{
    replicator->started = true;
    progress_start(replicator->progress);
    peer_start(replicator->peer);
    metadata_start(replicator->metadata);
    receiver_start(replicator->receiver);
}

static void stopping_step(struct replicator *replicator)
{
    if (!replicator->stop_mono_ns) {
        replicator->stop_mono_ns = replicator->mono_ns;
        peer_stop(replicator->peer);
    }
    bool items = apply_pending(replicator->apply) > 0 &&
                 replicator->mono_ns - replicator->stop_mono_ns < STOP_GRACE_NS;
    atomic_store(&replicator->idle,
        replicator->under_way == 0 && !items && mailbox_empty(replicator->mailbox));
}

int64_t replicator_step(struct replicator *replicator, int64_t now)
{
    replicator->mono_ns = now;
    bool ready = replicator->engine && engine_is_ready(replicator->engine);
    if (ready && !replicator->started && !replicator_stopping(replicator))
        start(replicator);
    /* Twice: what ends in the first round, to be submitted again, is known to the dispatch. */
    size_t mails = mailbox_step(replicator->mailbox, MAILS_PER_STEP);
    if (mails > 0 && mails < MAILS_PER_STEP)
        mails = mailbox_step(replicator->mailbox, MAILS_PER_STEP);
    int64_t next = INT64_MAX;
    if (replicator->started) {
        next = sooner(next, receiver_step(replicator->receiver, now));
        next = sooner(next, publisher_step(replicator->publisher, now));
        next = sooner(next, progress_step(replicator->progress, now));
        next = sooner(next, metadata_step(replicator->metadata, now));
        next = sooner(next, watch_step(replicator->watch, now));
    } else if (!ready) {
        next = now + NS_PER_S / 20;
    }
    if (replicator_stopping(replicator)) {
        stopping_step(replicator);
        next = now + NS_PER_S / 100;
    }
    return mails == MAILS_PER_STEP ? now : next;
}

/* ---- stop ------------------------------------------------------------------------------------ */

void replicator_stop(struct replicator *replicator)
{
    atomic_store(&replicator->stopping, true);
    if (replicator->options.waker)
        waker_wake(replicator->options.waker);
}

bool replicator_is_idle(const struct replicator *replicator)
{
    return atomic_load(&replicator->idle);
}

void replicator_close(struct replicator *replicator)
{
    if (!replicator)
        return;
    atomic_store(&replicator->stopping, true);
    replicator->closing = true;
    /* Completions of what was under way; handlers only free now. */
    peer_stop(replicator->peer);
    while (mailbox_step(replicator->mailbox, MAILS_PER_STEP) > 0)
        ;
    receiver_close(replicator->receiver);
    publisher_close(replicator->publisher);
    progress_close(replicator->progress);
    metadata_close(replicator->metadata);
    peer_close(replicator->peer);
    if (replicator->apply)
        apply_close(replicator->apply);
    watch_close(replicator->watch);
    mailbox_close(replicator->mailbox, NULL);
    pthread_mutex_destroy(&replicator->mutex);
    mem_free(replicator);
}

/* ---- dead letters ---------------------------------------------------------------------------- */

/** A list for an operator. */
struct letters_read {
    struct mail begin;
    struct store_op op;
    struct arena arena;
    struct replicator *replicator;
    uint32_t limit;
    Record__DeadLetter **items;
    size_t count;
    dead_letters_done_fn *done;
    void *ctx;
};

/* On a reader session's thread. */
static enum err letters_read(struct store_session *session, struct store_op *op, void *ctx)
{
    struct letters_read *read = ctx;
    read->items = arena_zalloc(op->arena, read->limit + 1, sizeof(*read->items));
    for (int32_t i = 0; i < read->replicator->options.shards && read->count < read->limit; i++) {
        struct store_scan scan = {.table = TABLE_DEAD_LETTER,
            .shard = i,
            .limit_rows = read->limit - (uint32_t)read->count};
        enum err err = session_scan(session, op->arena, &scan);
        if (err)
            return err;
        for (size_t k = 0; k < scan.row_count; k++) {
            Record__DeadLetter *letter =
                proto_unpack(op->arena, &record__dead_letter__descriptor, scan.rows[k].value);
            if (letter)
                read->items[read->count++] = letter;
        }
    }
    return OK;
}

static void letters_end(struct letters_read *read, enum err err)
{
    read->done(read->ctx, err, read->items, err ? 0 : read->count);
    arena_release(&read->arena);
    mem_free(read);
}

static void letters_delivered(struct mail *mail, void *owner)
{
    struct letters_read *read = CONTAINER_OF(mail, struct letters_read, op.mail);
    replicator_store_done(owner);
    letters_end(read, read->op.err);
}

static void letters_begin(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct letters_read *read = CONTAINER_OF(mail, struct letters_read, begin);
    if (replicator_stopping(replicator)) {
        letters_end(read, ERR_CLOSED);
        return;
    }
    read->op = (struct store_op){.kind = STORE_CUSTOM, .arena = &read->arena};
    read->op.custom.fn = letters_read;
    read->op.custom.ctx = read;
    replicator_store(replicator, &read->op, letters_delivered);
}

void replicator_list_dead_letters(
    struct replicator *replicator, uint32_t limit, dead_letters_done_fn *done, void *ctx)
{
    struct letters_read *read = mem_new(struct letters_read);
    read->replicator = replicator;
    read->limit = limit > 0 && limit < 1000 ? limit : 1000;
    read->done = done;
    read->ctx = ctx;
    read->begin.deliver = letters_begin;
    mailbox_complete(replicator->mailbox, &read->begin);
}
