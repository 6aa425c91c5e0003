/* SPDX-License-Identifier: Apache-2.0
 *
 * The publisher's targets: their streams, what they report, and which lane runs next.
 */
#include "replicator/publisher.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/publisher_private.h"

#define ENSURE_RETRY_NS   NS_PER_S
#define CONNECTED_POLL_NS (NS_PER_S / 4)
#define LANES_PER_STEP    256

/* ---- life ------------------------------------------------------------------------------------ */

static void lane_open(struct publisher *publisher, struct target *target, int32_t shard)
{
    struct replicator *replicator = publisher->replicator;
    struct lane *lane = &target->lanes[shard];
    lane->publisher = publisher;
    lane->target = target->index;
    lane->shard = shard;
    lane->rewind = -1;
    snprintf(lane->subject, sizeof(lane->subject), "strait.repl.%s.%s.%d", replicator->self,
        cluster_name(replicator, target->index), shard);
    list_init(&lane->flight);
    list_init(&lane->marks);
}

struct publisher *publisher_open(struct replicator *replicator)
{
    struct publisher *publisher = mem_new(struct publisher);
    publisher->replicator = replicator;
    publisher->shards = replicator->options.shards;
    publisher->outs = mem_zalloc((size_t)publisher->shards, sizeof(*publisher->outs));
    publisher->targets =
        mem_zalloc((size_t)replicator->federation->count, sizeof(*publisher->targets));
    list_init(&publisher->rows);
    list_init(&publisher->ready);
    for (int i = 0; i < replicator->federation->count; i++) {
        struct target *target = &publisher->targets[i];
        target->publisher = publisher;
        target->index = i;
        if (i == replicator->federation->self || !replicator->bus)
            continue;
        snprintf(target->stream, sizeof(target->stream), "STRAIT_REPL_%s_%s", replicator->self,
            cluster_name(replicator, i));
        snprintf(target->subjects, sizeof(target->subjects), "strait.repl.%s.%s.>",
            replicator->self, cluster_name(replicator, i));
        target->lanes = mem_zalloc((size_t)publisher->shards, sizeof(*target->lanes));
        for (int32_t k = 0; k < publisher->shards; k++)
            lane_open(publisher, target, k);
    }
    publisher->published = metrics_counter(replicator->options.metrics,
        "strait_replication_published_total", NULL, "Messages published for other clusters.");
    publisher->failures =
        metrics_counter(replicator->options.metrics, "strait_replication_publish_failures_total",
            NULL, "Publications that failed and were repeated.");
    return publisher;
}

void publisher_restore(
    struct publisher *publisher, int target, int32_t shard, const Record__Progress *progress)
{
    if (!publisher->targets[target].lanes || progress->epoch != publisher->replicator->epoch)
        return;
    struct lane *lane = &publisher->targets[target].lanes[shard];
    lane->stored = true;
    lane->drained = progress->drained_seq;
    lane->applied = progress->applied_seq;
    lane->report_ns = progress->time;
    lane->scanned = lane->sent = lane->acked = lane->drained;
}

void publisher_restore_newest(struct publisher *publisher, int32_t shard, int64_t seq)
{
    publisher->outs[shard].known = seq;
    atomic_store(&publisher->outs[shard].newest, seq);
}

static void lane_close(struct lane *lane)
{
    CHECK(list_empty(&lane->flight)); /* the buses are closed: every publication has ended */
    load_abandon(lane);
    load_forget_spent(lane);
    marks_free(lane);
}

void publisher_close(struct publisher *publisher)
{
    for (int i = 0; i < publisher->replicator->federation->count; i++) {
        struct target *target = &publisher->targets[i];
        for (int32_t k = 0; target->lanes && k < publisher->shards; k++)
            lane_close(&target->lanes[k]);
        mem_free(target->lanes);
    }
    while (!list_empty(&publisher->rows))
        row_free(CONTAINER_OF(list_pop_front(&publisher->rows), struct outbox_row, link));
    for (int32_t i = 0; i < publisher->shards; i++)
        mem_free(publisher->outs[i].ring);
    for (size_t i = 0; i < BARRIERS_MAX; i++)
        mem_free(publisher->barriers[i].shards);
    heap_release(&publisher->timers);
    arena_release(&publisher->scratch);
    mem_free(publisher->outs);
    mem_free(publisher->targets);
    mem_free(publisher);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void wake_target(struct target *target)
{
    for (int32_t i = 0; i < target->publisher->shards; i++)
        lane_wake(&target->lanes[i]);
}

static void ensured(struct mail *mail, void *owner)
{
    struct replicator *replicator = owner;
    struct target *target = CONTAINER_OF(mail, struct target, op.mail);
    target->ensuring = false;
    if (replicator->closing)
        return;
    enum err err = target->op.err;
    if (err && err != ERR_INVALID) {
        target->retry_mono = replicator->mono_ns + ENSURE_RETRY_NS;
        if (err != ERR_UNAVAILABLE)
            log_warn("stream.unavailable", "stream=%s err=%s", target->stream, err_name(err));
        return;
    }
    if (err) /* it is there, in another shape: better than nothing */
        log_error("stream.shape", "stream=%s err=%s", target->stream, err_name(err));
    target->stream_ready = true;
    wake_target(target);
}

static void ensure(struct target *target)
{
    const struct replicator *replicator = target->publisher->replicator;
    const struct config_replication *config = replicator->options.config;
    struct bus_stream stream = {.name = target->stream,
        .subjects = target->subjects,
        .bytes_max = config->stream_max_mb * (int64_t)MIB,
        .replicas = (int32_t)config->stream_replicas,
        .work_queue = true};
    target->ensuring = true;
    target->op = (struct bus_op){.mail = {.deliver = ensured}, .reply_to = replicator->mailbox};
    bus_ensure_stream(replicator->bus, &stream, &target->op);
}

/* What was in the stream and is not drained is gone with it. */
void publisher_stream_lost(struct publisher *publisher, int index)
{
    struct target *target = &publisher->targets[index];
    if (!target->stream_ready)
        return;
    log_warn("stream.lost", "stream=%s", target->stream);
    target->stream_ready = false;
    for (int32_t i = 0; i < publisher->shards; i++)
        lane_rewind(&target->lanes[i], target->lanes[i].drained);
}

static int64_t step_streams(struct publisher *publisher, int64_t now)
{
    struct replicator *replicator = publisher->replicator;
    bool connected = bus_connected(replicator->bus);
    bool came = connected && !publisher->connected;
    publisher->connected = connected;
    int64_t next = now + CONNECTED_POLL_NS;
    for (int i = 0; i < replicator->federation->count; i++) {
        struct target *target = &publisher->targets[i];
        if (!target->lanes)
            continue;
        if (came && !target->ensuring)
            target->stream_ready = false;
        if (!connected || target->stream_ready || target->ensuring)
            continue;
        if (came || target->retry_mono <= now)
            ensure(target);
        else
            next = sooner(next, target->retry_mono);
    }
    return next;
}

/* ---- what targets say ------------------------------------------------------------------------ */

static struct barrier_seen *barrier_of(
    struct publisher *publisher, int target, const char *handover_id)
{
    for (size_t i = 0; i < BARRIERS_MAX; i++) {
        struct barrier_seen *seen = &publisher->barriers[i];
        if (seen->shards && seen->target == target && strcmp(seen->handover_id, handover_id) == 0)
            return seen;
    }
    struct barrier_seen *seen = &publisher->barriers[publisher->barrier_next++ % BARRIERS_MAX];
    mem_free(seen->shards);
    *seen = (struct barrier_seen){.target = target};
    snprintf(seen->handover_id, sizeof(seen->handover_id), "%s", handover_id);
    seen->shards = mem_zalloc((size_t)publisher->shards, 1);
    return seen;
}

static void note_barriers(
    struct publisher *publisher, int target, const Replication__ProgressReport *report)
{
    for (size_t i = 0; i < report->n_barriers; i++) {
        if (!*report->barriers[i] || strlen(report->barriers[i]) >= 64)
            continue;
        struct barrier_seen *seen = barrier_of(publisher, target, report->barriers[i]);
        if (!seen->shards[report->shard]) {
            seen->shards[report->shard] = 1;
            seen->count++;
        }
    }
}

void publisher_report(
    struct publisher *publisher, int target, const Replication__ProgressReport *report)
{
    struct replicator *replicator = publisher->replicator;
    if (!publisher->targets[target].lanes || report->shard < 0 ||
        report->shard >= publisher->shards || report->epoch != replicator->epoch)
        return;
    struct lane *lane = &publisher->targets[target].lanes[report->shard];
    int64_t newest = atomic_load(&publisher->outs[report->shard].newest);
    if (report->drained_seq > newest || report->applied_seq > report->drained_seq) {
        log_error("progress.impossible", "target=%s shard=%d drained=%lld newest=%lld",
            cluster_name(replicator, target), report->shard, (long long)report->drained_seq,
            (long long)newest);
        return;
    }
    pthread_mutex_lock(&replicator->mutex);
    if (report->drained_seq > lane->drained) {
        lane->drained = report->drained_seq;
        marks_drop(lane, lane->drained);
    }
    if (report->applied_seq > lane->applied)
        lane->applied = report->applied_seq;
    lane->report_ns = report->time;
    lane->report_mono = replicator->mono_ns;
    note_barriers(publisher, target, report);
    pthread_mutex_unlock(&replicator->mutex);
    if (lane->scanned < lane->drained && lane->flight_count == 0) {
        /* It knows more than we have sent since we started. */
        load_abandon(lane);
        load_forget_spent(lane);
        lane->scanned = lane->sent = lane->acked = lane->drained;
        lane->rewind = -1;
        lane->broken = false;
    }
}

void publisher_republish(
    struct publisher *publisher, int target, const Replication__Republish *request)
{
    struct replicator *replicator = publisher->replicator;
    if (!publisher->targets[target].lanes || request->shard < 0 ||
        request->shard >= publisher->shards || request->epoch != replicator->epoch ||
        request->from_seq < 1)
        return;
    log_info("publish.again", "target=%s shard=%d from=%lld", cluster_name(replicator, target),
        request->shard, (long long)request->from_seq);
    lane_rewind(&publisher->targets[target].lanes[request->shard], request->from_seq - 1);
}

/* ---- step ------------------------------------------------------------------------------------ */

int64_t publisher_step(struct publisher *publisher, int64_t now)
{
    struct replicator *replicator = publisher->replicator;
    if (!replicator->bus)
        return INT64_MAX;
    rows_find_skipped(publisher);
    int64_t next = replicator_stopping(replicator) ? INT64_MAX : step_streams(publisher, now);
    for (struct heap_node *node = heap_peek(&publisher->timers); node && node->key <= now;
         node = heap_peek(&publisher->timers)) {
        heap_remove(&publisher->timers, node);
        lane_wake(CONTAINER_OF(node, struct lane, timer));
    }
    for (int i = 0; i < LANES_PER_STEP && !list_empty(&publisher->ready); i++)
        lane_run(CONTAINER_OF(list_pop_front(&publisher->ready), struct lane, ready));
    rows_evict(publisher);
    if (!list_empty(&publisher->ready))
        return now;
    const struct heap_node *timer = heap_peek(&publisher->timers);
    return timer ? sooner(next, timer->key) : next;
}

/* ---- what others look at --------------------------------------------------------------------- */

int64_t publisher_newest(struct publisher *publisher, int32_t shard, int64_t *ret_time_ns)
{
    *ret_time_ns = atomic_load(&publisher->outs[shard].newest_ns);
    return atomic_load(&publisher->outs[shard].newest);
}

struct lane_progress publisher_lane(const struct publisher *publisher, int target, int32_t shard)
{
    const struct lane *lane = &publisher->targets[target].lanes[shard];
    return (struct lane_progress){lane->drained, lane->applied, lane->report_ns, lane->stored};
}

void publisher_lane_stored(struct publisher *publisher, int target, int32_t shard)
{
    publisher->targets[target].lanes[shard].stored = true;
}

/* The newest row stays: the next seq is taken from it. */
int64_t publisher_trim_seq(const struct publisher *publisher, int32_t shard)
{
    int64_t seq = publisher->outs[shard].known - 1;
    for (int i = 0; i < publisher->replicator->federation->count; i++) {
        if (publisher->targets[i].lanes)
            seq = sooner(seq, publisher->targets[i].lanes[shard].drained);
    }
    return seq > 0 ? seq : 0;
}

static void lane_lag(const struct lane *lane, struct uuid namespace_id, struct lane_lag *lag)
{
    int64_t newest = atomic_load(&lane->publisher->outs[lane->shard].newest);
    lag->rows += newest > lane->drained ? newest - lane->drained : 0;
    lag->newest_seq += newest;
    lag->applied_seq += lane->applied;
    lag->waiting |= atomic_load(&lane->paused);
    lag->heard_mono = sooner(lag->heard_mono, lane->report_mono);
    for (struct list *at = lane->marks.next; at != &lane->marks; at = at->next) {
        const struct lag_mark *mark = CONTAINER_OF(at, struct lag_mark, link);
        if (!uuid_is_zero(namespace_id) && !uuid_equal(mark->namespace_id, namespace_id))
            continue;
        lag->events += mark->events;
        if (lag->oldest_ns == 0 || mark->oldest_ns < lag->oldest_ns)
            lag->oldest_ns = mark->oldest_ns;
    }
}

void publisher_lag(const struct publisher *publisher, int target, struct uuid namespace_id,
    struct lane_lag *ret_lag)
{
    *ret_lag = (struct lane_lag){.heard_mono = INT64_MAX};
    const struct lane *lanes = publisher->targets[target].lanes;
    for (int32_t i = 0; lanes && i < publisher->shards; i++)
        lane_lag(&lanes[i], namespace_id, ret_lag);
    if (!lanes)
        ret_lag->heard_mono = 0;
}

int32_t publisher_barriers(const struct publisher *publisher, int target, const char *handover_id)
{
    for (size_t i = 0; i < BARRIERS_MAX; i++) {
        const struct barrier_seen *seen = &publisher->barriers[i];
        if (seen->shards && seen->target == target && strcmp(seen->handover_id, handover_id) == 0)
            return seen->count;
    }
    return 0;
}
