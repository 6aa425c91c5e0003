/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: items that cannot be applied, stored with their reason until an operator resolves
 * them. The stream goes on behind them, but never counts as applied; later items of a run that has
 * one are parked too, because they would be applied over a hole.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "proto/record.pb-c.h"
#include "replicator/apply_private.h"

#define FORMAT     1u
#define PAGE_ROWS  256u
#define PAGE_BYTES (16u * 1024u * 1024u)
/* Of an item that is kept whole: its row shares a commit with others. */
#define ITEM_BYTES_MAX (STORE_COMMIT_BYTES_MAX / 2)

struct dead_key {
    struct bytes key; /* in this allocation */
};

struct dead_count {
    struct uuid id;
    int64_t count;
};

/** An item whose row is being written. */
struct parking {
    struct list link;
    struct shard_work work;
    struct effect effect;
    struct mail mail;
    struct apply *apply;
    struct apply_queue *queue; /* NULL = none */
    struct apply_item *item;
    const char *reason;
    struct arena arena;
    struct bytes key;
    struct bytes value;
    enum err err;
};

/* ---- what is known --------------------------------------------------------------------------- */

static void count_one(struct map *map, struct uuid id)
{
    struct dead_count *count = map_get(map, uuid_view(&id));
    if (!count) {
        count = mem_new(struct dead_count);
        count->id = id;
        CHECK(!map_put(map, uuid_view(&count->id), count));
    }
    count->count++;
}

static struct uuid uuid_of(const ProtobufCBinaryData *data)
{
    struct uuid id = {0};
    if (data->len == sizeof(id.bytes))
        memcpy(id.bytes, data->data, sizeof(id.bytes));
    return id;
}

/* The same row may be written again after a crash. */
static void dead_add(
    struct apply *apply, struct bytes row_key, struct uuid namespace_id, struct uuid run_id)
{
    struct dead_letters *dead = &apply->dead;
    pthread_mutex_lock(&dead->mutex);
    if (!map_get(&dead->keys, row_key)) {
        struct dead_key *key = mem_zalloc(1, sizeof(*key) + row_key.len);
        memcpy(key + 1, row_key.data, row_key.len);
        key->key = bytes_make(key + 1, row_key.len);
        CHECK(!map_put(&dead->keys, key->key, key));
        if (!uuid_is_zero(run_id))
            count_one(&dead->runs, run_id);
        count_one(&dead->namespaces, namespace_id);
        dead->count++;
    }
    gauge_set(apply->metrics.dead_letters, (double)dead->count);
    pthread_mutex_unlock(&dead->mutex);
}

bool dead_run(struct apply *apply, struct uuid run_id)
{
    pthread_mutex_lock(&apply->dead.mutex);
    bool dead = map_get(&apply->dead.runs, uuid_view(&run_id)) != NULL;
    pthread_mutex_unlock(&apply->dead.mutex);
    return dead;
}

/* The mutex changes nothing that a reader can see. */
static struct dead_letters *readable(const struct apply *apply)
{
    return (struct dead_letters *)(uintptr_t)&apply->dead;
}

int64_t apply_dead_letters(const struct apply *apply)
{
    struct dead_letters *dead = readable(apply);
    pthread_mutex_lock(&dead->mutex);
    int64_t count = dead->count;
    pthread_mutex_unlock(&dead->mutex);
    return count;
}

int64_t apply_dead_letters_of(const struct apply *apply, struct uuid namespace_id)
{
    struct dead_letters *dead = readable(apply);
    pthread_mutex_lock(&dead->mutex);
    const struct dead_count *of = map_get(&dead->namespaces, uuid_view(&namespace_id));
    int64_t count = of ? of->count : 0;
    pthread_mutex_unlock(&dead->mutex);
    return count;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *source_name(const struct parking *parking)
{
    return parking->apply->options.federation->clusters[parking->item->source].name;
}

static struct bytes row_key(struct parking *parking)
{
    const struct apply_item *item = parking->item;
    struct key_builder builder;
    key_begin(&builder, &parking->arena, 64);
    key_bytes(&builder, bytes_of(source_name(parking)));
    key_bytes(&builder, bytes_make("", 1)); /* ends the name */
    key_u32(&builder, (uint32_t)item->source_shard);
    key_i64(&builder, item->epoch);
    key_i64(&builder, item->item->seq);
    key_u32(&builder, (uint32_t)item->item->index);
    return key_end(&builder);
}

static struct bytes row_value(struct parking *parking)
{
    struct arena *arena = &parking->arena;
    const struct apply_item *item = parking->item;
    Record__DeadLetter letter;
    record__dead_letter__init(&letter);
    letter.format = FORMAT;
    letter.source = arena_strdup(arena, source_name(parking));
    letter.source_shard = item->source_shard;
    letter.epoch = item->epoch;
    letter.seq = item->item->seq;
    letter.index = item->item->index;
    letter.namespace_id = item->item->namespace_id;
    letter.workflow_id = item->item->workflow_id;
    letter.run_id = item->item->run_id;
    letter.reason = arena_strdup(arena, parking->reason);
    letter.time = env_wall_ns(parking->apply->options.env);
    if (protobuf_c_message_get_packed_size(&item->item->base) <= ITEM_BYTES_MAX) {
        struct bytes packed = proto_pack(arena, &item->item->base);
        letter.item = (ProtobufCBinaryData){packed.len, (uint8_t *)(uintptr_t)packed.data};
    } else {
        letter.detail = arena_strdup(arena, "the item is too large to be kept here");
        letter.workflow_id = arena_strdup(arena, "");
    }
    letter.attempts = 1;
    return proto_pack(arena, &letter.base);
}

static void parked(struct parking *parking)
{
    const Replication__Item *item = parking->item->item;
    char run_id[UUID_TEXT_LEN + 1];
    uuid_format(uuid_of(&item->run_id), run_id);
    dead_add(parking->apply, parking->key, uuid_of(&item->namespace_id), uuid_of(&item->run_id));
    log_error("dead_letter.added",
        "source=%s shard=%d epoch=%lld seq=%lld index=%d run_id=%s reason=%s", source_name(parking),
        parking->item->source_shard, (long long)parking->item->epoch, (long long)item->seq,
        item->index, run_id, log_quote(parking->reason));
}

static void parking_returned(struct mail *mail, void *owner)
{
    (void)owner;
    struct parking *parking = CONTAINER_OF(mail, struct parking, mail);
    struct apply_queue *queue = parking->queue;
    enum err err = parking->err;
    if (!err)
        parked(parking);
    parking->item->reason = parking->reason;
    item_finish(parking->item, err ? APPLY_RETRY : APPLY_DEAD_LETTERED);
    list_remove(&parking->link);
    arena_release(&parking->arena);
    mem_free(parking);
    if (!queue)
        return;
    if (err)
        queue_retry(queue);
    else
        queue_go_on(queue);
}

static void parking_done(struct parking *parking, enum err err)
{
    parking->err = err;
    parking->mail.deliver = parking_returned;
    mailbox_complete(parking->apply->options.mailbox, &parking->mail);
}

static void parking_fire(struct effect *effect, enum err err)
{
    parking_done(CONTAINER_OF(effect, struct parking, effect), err);
}

static void parking_failed(struct shard_work *work, enum err err)
{
    parking_done(CONTAINER_OF(work, struct parking, work), err);
}

static struct effect *parking_write(
    struct shard_work *work, struct executor *executor, struct commit *commit)
{
    (void)executor;
    struct parking *parking = CONTAINER_OF(work, struct parking, work);
    struct commit_row row = {.table = TABLE_DEAD_LETTER,
        .mode = COMMIT_PUT,
        .shard = work->shard,
        .key = bytes_copy(&commit->arena, parking->key),
        .value = bytes_copy(&commit->arena, parking->value)};
    commit_write(commit, &row);
    parking->effect.fire = parking_fire;
    return &parking->effect;
}

void dead_park(struct apply_queue *queue, struct apply_item *item, const char *reason)
{
    struct apply *apply = item->apply;
    struct parking *parking = mem_new(struct parking);
    parking->apply = apply;
    parking->queue = queue;
    parking->item = item;
    parking->reason = reason;
    parking->key = row_key(parking);
    parking->value = row_value(parking);
    parking->work.shard = item->source_shard % apply->options.shards;
    parking->work.fn = parking_write;
    parking->work.failed = parking_failed;
    list_push_back(&apply->dead.parkings, &parking->link);
    enum err err = engine_shard_work(apply->engine, &parking->work);
    if (err)
        parking_done(parking, err);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err load_row(struct apply *apply, const struct store_row *row)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__DeadLetter *letter =
        proto_unpack(&scratch, &record__dead_letter__descriptor, row->value);
    if (!letter)
        return ERR_CORRUPT;
    if (letter->format > FORMAT)
        return ERR_VERSION;
    dead_add(apply, row->key, uuid_of(&letter->namespace_id), uuid_of(&letter->run_id));
    return OK;
}

/* Reads one page behind `after`, which becomes its last key. */
static enum err load_page(
    struct apply *apply, int32_t shard, struct buffer *after, bool *ret_more, char reason[256])
{
    struct arena arena CLEANUP(arena_release) = {0};
    struct store_op op = {.kind = STORE_SCAN,
        .arena = &arena,
        .scan = {.table = TABLE_DEAD_LETTER,
            .shard = shard,
            .from = buffer_view(after),
            .limit_rows = PAGE_ROWS,
            .limit_bytes = PAGE_BYTES}};
    enum err err = store_run(apply->options.store, &op);
    if (err) {
        snprintf(reason, 256, "dead letters cannot be read: %.200s", op.text);
        return err;
    }
    for (size_t i = 0; i < op.scan.row_count; i++) {
        err = load_row(apply, &op.scan.rows[i]);
        if (err) {
            snprintf(reason, 256, "a row of table dead_letter does not decode: %s", err_text(err));
            return err;
        }
    }
    *ret_more = op.scan.more && op.scan.row_count > 0;
    if (*ret_more) {
        const struct store_row *last = &op.scan.rows[op.scan.row_count - 1];
        buffer_clear(after);
        buffer_append(after, last->key.data, last->key.len);
        buffer_append(after, "", 1); /* the least key behind it */
    }
    return OK;
}

enum err dead_open(struct apply *apply, char reason[256])
{
    struct buffer after CLEANUP(buffer_release) = {0};
    pthread_mutex_init(&apply->dead.mutex, NULL);
    list_init(&apply->dead.parkings);
    gauge_set(apply->metrics.dead_letters, 0);
    for (int32_t shard = 0; shard < apply->options.shards; shard++) {
        bool more = true;
        buffer_clear(&after);
        while (more) {
            enum err err = load_page(apply, shard, &after, &more, reason);
            if (err)
                return err;
        }
    }
    return OK;
}

static void free_values(struct map *map)
{
    size_t cursor = 0;
    void *value;
    while ((value = map_next(map, &cursor)))
        mem_free(value);
    map_release(map);
}

void dead_close(struct apply *apply)
{
    struct dead_letters *dead = &apply->dead;
    while (!list_empty(&dead->parkings)) {
        struct parking *parking =
            CONTAINER_OF(list_pop_front(&dead->parkings), struct parking, link);
        arena_release(&parking->arena);
        mem_free(parking);
    }
    free_values(&dead->keys);
    free_values(&dead->runs);
    free_values(&dead->namespaces);
    pthread_mutex_destroy(&dead->mutex);
}
