/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/batch.h"

#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/tests/support_cmocka.h"
#include "proto/api_history.pb-c.h"

static struct blob *make_batch(int count, const char *meta, uint64_t before, uint64_t *ret_digest)
{
    struct batch_builder builder = {0};
    batch_begin(&builder, 5, 21);
    for (int i = 0; i < count; i++) {
        Api__HistoryEvent event = API__HISTORY_EVENT__INIT;
        Api__WorkflowExecutionSignaledEventAttributes signal =
            API__WORKFLOW_EXECUTION_SIGNALED_EVENT_ATTRIBUTES__INIT;
        char name[400];
        memset(name, 'a', sizeof(name));
        name[(i * 37) % 399] = '\0';
        signal.signal_name = name;
        event.event_id = 5 + i;
        event.version = 21;
        event.event_type = API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED;
        event.attributes_case =
            API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_SIGNALED_EVENT_ATTRIBUTES;
        event.workflow_execution_signaled_event_attributes = &signal;
        batch_add(&builder, &event.base, 1000 + i);
    }
    return batch_finish(&builder, bytes_of(meta), before, ret_digest);
}

static void a_batch_reads_back(void **state)
{
    (void)state;
    uint64_t digest = 0;
    struct blob *blob = make_batch(40, "meta", 77, &digest);
    struct batch batch;
    assert_int_equal(batch_decode(blob_view(blob), &batch), OK);
    assert_int_equal(batch.event_count, 40);
    assert_int_equal(batch.version, 21);
    assert_int_equal(batch.first_event_id, 5);
    assert_int_equal(batch.last_event_time_ns, 1039);
    assert_true(batch.digest_before == 77 && batch.digest == digest);
    assert_true(bytes_equal(batch.meta, bytes_of("meta")));
    blob_unref(blob);
}

static void events_are_a_serialized_history(void **state)
{
    (void)state;
    uint64_t digest = 0;
    struct arena arena = {0};
    struct blob *blob = make_batch(40, "", 0, &digest);
    struct batch batch;
    assert_int_equal(batch_decode(blob_view(blob), &batch), OK);
    Api__History *history = proto_unpack(&arena, &api__history__descriptor, batch.events);
    assert_non_null(history);
    assert_int_equal(history->n_events, 40);
    size_t offset = 0;
    struct bytes event;
    struct bytes framed;
    struct buffer spliced = {0};
    for (size_t i = 0; batch_next_event(batch.events, &offset, &event, &framed); i++) {
        assert_int_equal(batch_event_id(event), 5 + i);
        assert_int_equal(history->events[i]->event_id, 5 + i);
        buffer_append(&spliced, framed.data, framed.len);
    }
    assert_int_equal(offset, batch.events.len);
    assert_true(bytes_equal(buffer_view(&spliced), batch.events));
    buffer_release(&spliced);
    arena_release(&arena);
    blob_unref(blob);
}

static void every_damage_is_found(void **state)
{
    (void)state;
    uint64_t digest = 0;
    struct blob *blob = make_batch(3, "meta", 1, &digest);
    struct batch batch;
    uint8_t *copy = mem_alloc(blob->len);
    for (size_t i = 0; i < blob->len; i++) {
        memcpy(copy, blob->data, blob->len);
        copy[i] ^= 0x10;
        enum err err = batch_decode(bytes_make(copy, blob->len), &batch);
        /* Version, first id and time are checked against the events when they are folded. */
        bool described = i >= 4 && i < 32;
        if (!described)
            assert_int_equal(err, ERR_CORRUPT);
    }
    for (size_t len = 0; len < blob->len; len++) {
        memcpy(copy, blob->data, len);
        assert_int_equal(batch_decode(bytes_make(copy, len), &batch), ERR_CORRUPT);
    }
    mem_free(copy);
    blob_unref(blob);
}

static void malformed_framing_stops(void **state)
{
    (void)state;
    static const uint8_t cases[][4] = {
        {0x12, 0x01, 0x00, 0x00}, {0x0a, 0x7f, 0x00, 0x00}, {0x0a, 0xff, 0xff, 0xff}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t offset = 0;
        struct bytes event;
        struct bytes framed;
        assert_false(
            batch_next_event(bytes_make(cases[i], sizeof(cases[i])), &offset, &event, &framed));
        assert_int_equal(offset, 0);
    }
    assert_int_equal(batch_event_id(bytes_of("")), 0);
    assert_int_equal(batch_event_id(bytes_of("\x08")), 0);
    assert_int_equal(batch_event_id(bytes_of("\x10\x01")), 0);
}

static void an_abandoned_builder_is_empty(void **state)
{
    (void)state;
    struct batch_builder builder = {0};
    batch_abandon(&builder);
    batch_begin(&builder, 1, 1);
    batch_abandon(&builder);
    assert_null(builder.blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_reads_back),
        cmocka_unit_test(events_are_a_serialized_history),
        cmocka_unit_test(every_damage_is_found),
        cmocka_unit_test(malformed_framing_stops),
        cmocka_unit_test(an_abandoned_builder_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
