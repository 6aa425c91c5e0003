/* SPDX-License-Identifier: Apache-2.0
 *
 * One page of history: from the batches that memory still has, or from the store.
 *
 * Batches are the unit of storage, events that of reading: a page may begin and end inside a batch,
 * and a branch may leave its parent there. So every reader looks at event ids, never at positions.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/engine/decide_read.h"

#define SCAN_ROWS 64u

/* ---- the line -------------------------------------------------------------------------------- */

static const struct branch_state *find_branch(const struct run *run, uint32_t id)
{
    for (size_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].id == id)
            return &run->branches[i];
    }
    return NULL;
}

enum err history_page_init(struct history_page *page, const struct run *run, size_t branch_index,
    int64_t from, int64_t to, uint32_t max_events)
{
    CHECK(branch_index < run->branch_count);
    CHECK(from >= 1 && from <= to && max_events > 0);
    *page = (struct history_page){.run_id = run->run_id,
        .shard = run->shard,
        .from = from,
        .to = to,
        .max_events = max_events,
        .next = from};
    const struct branch_state *branch = &run->branches[branch_index];
    int64_t end = to;
    /* Newest first, then turned round. */
    while (end > from) {
        if (page->segment_count == HISTORY_SEGMENTS_MAX)
            return ERR_CORRUPT;
        int64_t begin = branch->fork_event_id + 1;
        if (begin < end) {
            page->segments[page->segment_count++] =
                (struct history_segment){branch->id, begin > from ? begin : from, end};
            end = begin;
        }
        if (begin <= from || branch->fork_event_id == 0)
            break;
        const struct branch_state *parent = find_branch(run, branch->parent);
        if (!parent || parent->fork_event_id >= branch->fork_event_id)
            return ERR_CORRUPT;
        branch = parent;
    }
    for (size_t i = 0; i < page->segment_count / 2; i++) {
        struct history_segment swap = page->segments[i];
        page->segments[i] = page->segments[page->segment_count - 1 - i];
        page->segments[page->segment_count - 1 - i] = swap;
    }
    return OK;
}

void history_page_release(struct history_page *page)
{
    buffer_release(&page->events);
}

/* Adds the next event in reading order; false = the page is full. */
static bool page_add(struct history_page *page, struct bytes framed)
{
    if (page->count == page->max_events ||
        (page->count > 0 && page->events.len + framed.len > HISTORY_PAGE_BYTES_MAX))
        return false;
    buffer_append(&page->events, framed.data, framed.len);
    page->count++;
    return true;
}

static void page_end(struct history_page *page)
{
    page->next = page->reverse ? page->to - page->count : page->from + page->count;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Events [next, end) found so far, ascending. */
struct walk {
    int64_t next;
    int64_t end;
    struct bytes framed[HISTORY_PAGE_EVENTS_MAX];
    size_t count;
};

static void walk_events(struct walk *walk, struct bytes events, int64_t first_event_id)
{
    size_t offset = 0;
    struct bytes event;
    for (int64_t id = first_event_id; walk->next < walk->end; id++) {
        struct bytes framed;
        if (!batch_next_event(events, &offset, &event, &framed))
            return;
        if (id != walk->next)
            continue;
        walk->framed[walk->count++] = framed;
        walk->next++;
    }
}

static void walk_batches(struct walk *walk, const struct list *batches)
{
    for (struct list *node = batches->next; node != batches; node = node->next) {
        const struct run_batch *kept = CONTAINER_OF(node, struct run_batch, link);
        struct batch batch;
        if (kept->next_event_id <= walk->next || kept->first_event_id > walk->next)
            continue;
        enum err err = batch_decode(blob_view(kept->value), &batch);
        CHECK(err == OK);
        walk_events(walk, batch.events, batch.first_event_id);
    }
}

bool history_page_from_memory(struct history_page *page, const struct run *run)
{
    CHECK(page->max_events <= HISTORY_PAGE_EVENTS_MAX);
    if (page->segment_count > 0 &&
        page->segments[page->segment_count - 1].branch != run_branch(run)->id)
        return false;
    int64_t wanted = page->to - page->from;
    if (wanted > page->max_events)
        wanted = page->max_events;
    int64_t begin = page->reverse ? page->to - wanted : page->from;
    struct walk walk = {.next = begin, .end = begin + wanted};
    walk_batches(&walk, &run->tail);
    walk_batches(&walk, &run->new_batches);
    const struct batch_builder *builder = &run->builder;
    if (builder->blob)
        walk_events(&walk,
            bytes_make(builder->blob->data + BATCH_HEADER_BYTES, builder->events_len),
            builder->first_event_id);
    if (walk.next != walk.end)
        return false;
    for (size_t i = 0; i < walk.count; i++) {
        if (!page_add(page, walk.framed[page->reverse ? walk.count - 1 - i : i]))
            break;
    }
    page_end(page);
    return true;
}

/* ---- store: on a reader session's thread, touches nothing but the read ----------------------- */

/* The batch that holds an event of a branch. */
static enum err find_batch(struct store_session *session, struct history_read *read,
    uint32_t branch, int64_t event_id, struct bytes *ret_key)
{
    const struct history_page *page = &read->page;
    struct store_scan scan = {.table = TABLE_HISTORY,
        .shard = page->shard,
        .from = key_history(&read->arena, page->run_id, branch, 0),
        .to = key_history(&read->arena, page->run_id, branch, event_id + 1),
        .reverse = true,
        .limit_rows = 1};
    enum err err = session_scan(session, &read->arena, &scan);
    if (err)
        return err;
    if (scan.row_count == 0)
        return ERR_NOT_FOUND;
    *ret_key = scan.rows[0].key;
    return OK;
}

/* Adds a batch's events from *next on. */
static enum err add_forward(struct history_page *page, const struct batch *batch, int64_t *next,
    int64_t end, bool *ret_full)
{
    size_t offset = 0;
    struct bytes event;
    struct bytes framed;
    for (int64_t id = batch->first_event_id;
         *next < end && batch_next_event(batch->events, &offset, &event, &framed); id++) {
        if (id < *next)
            continue;
        if (id != *next || batch_event_id(event) != id)
            return ERR_CORRUPT;
        *ret_full = !page_add(page, framed);
        if (*ret_full)
            return OK;
        ++*next;
    }
    return OK;
}

static enum err read_forward(struct store_session *session, struct history_read *read,
    const struct history_segment *segment, bool *ret_full)
{
    struct history_page *page = &read->page;
    int64_t next = segment->from;
    struct bytes from;
    enum err err = find_batch(session, read, segment->branch, next, &from);
    while (!err) {
        struct store_scan scan = {.table = TABLE_HISTORY,
            .shard = page->shard,
            .from = from,
            .to = key_history(&read->arena, page->run_id, segment->branch, segment->to),
            .limit_rows = SCAN_ROWS,
            .limit_bytes = HISTORY_PAGE_BYTES_MAX};
        err = session_scan(session, &read->arena, &scan);
        for (size_t i = 0; !err && i < scan.row_count; i++) {
            struct batch batch;
            err = batch_decode(scan.rows[i].value, &batch);
            if (!err)
                err = add_forward(page, &batch, &next, segment->to, ret_full);
            if (*ret_full)
                return OK;
        }
        if (err || next == segment->to)
            return err;
        if (!scan.more)
            return ERR_CORRUPT; /* a gap */
        from = key_history(&read->arena, page->run_id, segment->branch, next);
    }
    return err;
}

/* Adds a batch's events below *end, newest first; false = the page is full. */
static enum err add_reverse(struct history_read *read, const struct batch *batch, int64_t from,
    int64_t *end, bool *ret_full)
{
    if (batch->event_count > batch->events.len)
        return ERR_CORRUPT;
    struct bytes *framed = arena_zalloc(&read->arena, batch->event_count, sizeof(*framed));
    size_t offset = 0;
    size_t count = 0;
    struct bytes event;
    while (count < batch->event_count &&
           batch_next_event(batch->events, &offset, &event, &framed[count])) {
        if (batch_event_id(event) != batch->first_event_id + (int64_t)count)
            return ERR_CORRUPT;
        count++;
    }
    if (count != batch->event_count)
        return ERR_CORRUPT;
    for (size_t i = count; i > 0 && *end > from; i--) {
        if (batch->first_event_id + (int64_t)i != *end)
            continue;
        if (!page_add(&read->page, framed[i - 1])) {
            *ret_full = true;
            return OK;
        }
        --*end;
    }
    return OK;
}

static enum err read_reverse(struct store_session *session, struct history_read *read,
    const struct history_segment *segment, bool *ret_full)
{
    struct history_page *page = &read->page;
    int64_t end = segment->to;
    while (end > segment->from) {
        struct store_scan scan = {.table = TABLE_HISTORY,
            .shard = page->shard,
            .from = key_history(&read->arena, page->run_id, segment->branch, 0),
            .to = key_history(&read->arena, page->run_id, segment->branch, end),
            .reverse = true,
            .limit_rows = SCAN_ROWS,
            .limit_bytes = HISTORY_PAGE_BYTES_MAX};
        enum err err = session_scan(session, &read->arena, &scan);
        int64_t before = end;
        for (size_t i = 0; !err && i < scan.row_count && end > segment->from; i++) {
            struct batch batch;
            err = batch_decode(scan.rows[i].value, &batch);
            if (!err)
                err = add_reverse(read, &batch, segment->from, &end, ret_full);
            if (err || *ret_full)
                return err;
        }
        if (err)
            return err;
        if (end == before)
            return scan.row_count ? ERR_CORRUPT : ERR_NOT_FOUND;
    }
    return OK;
}

static enum err read_page(struct store_session *session, struct store_op *op, void *ctx)
{
    (void)op;
    struct history_read *read = ctx;
    struct history_page *page = &read->page;
    bool full = false;
    for (size_t i = 0; !full && i < page->segment_count; i++) {
        enum err err = page->reverse ? read_reverse(session, read,
                                           &page->segments[page->segment_count - 1 - i], &full)
                                     : read_forward(session, read, &page->segments[i], &full);
        if (err)
            return err;
    }
    page_end(page);
    return OK;
}

static void read_delivered(struct mail *mail, void *owner)
{
    (void)owner;
    struct history_read *read = CONTAINER_OF(mail, struct history_read, op.mail);
    enum err err = read->op.err;
    arena_release(&read->arena);
    read->done(read, err);
}

static void read_seen(struct effect *effect, enum err err)
{
    struct history_read *read = CONTAINER_OF(effect, struct history_read, effect);
    if (err) {
        read->done(read, ERR_UNAVAILABLE);
        return;
    }
    read->op.mail.deliver = read_delivered;
    read->op.reply_to = executor_mailbox(read->executor);
    read->op.arena = &read->arena;
    read->op.kind = STORE_CUSTOM;
    read->op.custom.fn = read_page;
    read->op.custom.ctx = read;
    store_submit(executor_store(read->executor), &read->op);
}

void history_read_start(struct decision *d, const struct run *run, struct history_read *read)
{
    CHECK(read->done);
    read->executor = d->executor;
    read->effect.fire = read_seen;
    /* What the page shows of the run must be in the store before it is read. */
    decision_defer(d, run, &read->effect);
}
