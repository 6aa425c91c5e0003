/* SPDX-License-Identifier: Apache-2.0
 *
 * Every call asks the plan first and then goes to the wrapped session, or not. There is no
 * commit_many here: each commit is a call of its own, or its number would depend on timing.
 */
#include "cluster/store/store_fault.h"

#include <pthread.h>
#include <stdio.h>

#include "cluster/base/mem.h"
#include "cluster/base/thread.h"

struct store_fault {
    struct store_driver driver; /* ours; `stepped` and `writers_max` as the wrapped one's */
    struct store_options wrapped;
    pthread_cond_t never; /* delays wait for it; nobody signals it */
    pthread_mutex_t lock; /* guards what follows */
    struct armed {
        struct store_fault_rule rule;
        uint64_t seen;
    } rules[STORE_FAULT_RULES_MAX];
    size_t rule_count;
    uint64_t random;
    uint64_t calls;
    uint64_t fired;
};

struct fault_database {
    struct store_fault *fault;
    void *inner;
};

struct fault_session {
    struct store_session base;
    struct store_fault *fault;
    struct store_session *inner;
};

static uint32_t random_below_million(struct store_fault *fault)
{
    fault->random = fault->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((fault->random >> 33) % 1000000u);
}

static bool rule_fires(struct store_fault *fault, struct armed *armed)
{
    const struct store_fault_rule *rule = &armed->rule;
    armed->seen++;
    if (rule->number == 0)
        return random_below_million(fault) < rule->per_million;
    uint64_t repeat = rule->repeat > 0 ? rule->repeat : 1;
    return armed->seen >= rule->number && armed->seen - rule->number < repeat;
}

/** The first rule that fires for a call of this kind. */
static bool next_fault(struct store_fault *fault, unsigned call, struct store_fault_rule *ret_rule)
{
    bool fires = false;
    (void)pthread_mutex_lock(&fault->lock); /* a normal mutex: cannot fail */
    fault->calls++;
    for (size_t i = 0; i < fault->rule_count; i++) {
        struct armed *armed = &fault->rules[i];
        if (!(armed->rule.calls & call) || !rule_fires(fault, armed) || fires)
            continue;
        fires = true;
        *ret_rule = armed->rule;
        fault->fired++;
    }
    (void)pthread_mutex_unlock(&fault->lock);
    return fires;
}

static void sleep_ns(struct store_fault *fault, int64_t ns)
{
    const struct env *env = env_system();
    int64_t until = env_monotonic_ns(env) + ns;
    (void)pthread_mutex_lock(&fault->lock);
    for (int64_t left = ns; left > 0; left = until - env_monotonic_ns(env))
        cond_wait_for(&fault->never, &fault->lock, left);
    (void)pthread_mutex_unlock(&fault->lock);
}

/** What a call does about the plan. */
struct verdict {
    bool execute;
    enum err err; /* reported instead of the result when not OK */
};

static struct verdict judge(struct fault_session *session, unsigned call)
{
    struct store_fault_rule rule = {0};
    struct verdict verdict = {.execute = true, .err = OK};
    if (!next_fault(session->fault, call, &rule))
        return verdict;
    bool writes = call == STORE_FAULT_COMMIT || call == STORE_FAULT_TAKE_SHARD;
    enum err lost = writes ? ERR_UNKNOWN_COMMIT : ERR_UNAVAILABLE;
    switch (rule.action) {
    case STORE_FAULT_FAIL:
        return (struct verdict){.execute = false, .err = rule.err};
    case STORE_FAULT_LOSE_ANSWER:
        return (struct verdict){.execute = true, .err = lost};
    case STORE_FAULT_LOSE_CALL:
        return (struct verdict){.execute = false, .err = lost};
    case STORE_FAULT_DELAY:
        if (!session->fault->driver.stepped)
            sleep_ns(session->fault, rule.delay_ns);
        break;
    }
    return verdict;
}

static struct fault_session *fault_session_of(struct store_session *session)
{
    return CONTAINER_OF(session, struct fault_session, base);
}

/** The result of a call whose execution, if any, gave `err`. */
static enum err conclude(struct fault_session *session, struct verdict verdict, enum err err)
{
    if (verdict.err) {
        (void)snprintf(session->base.text, sizeof(session->base.text), "injected fault: %s",
            err_text(verdict.err));
        return verdict.err;
    }
    if (err)
        (void)snprintf(session->base.text, sizeof(session->base.text), "%s", session->inner->text);
    return err;
}

/** The wrapped session and driver, with the reason of the last call forgotten. */
static const struct store_driver *inner_driver(struct fault_session *session)
{
    session->inner->text[0] = '\0';
    return session->inner->driver;
}

static enum err fault_commit(struct store_session *base, const struct commit *commit)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_COMMIT);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->commit(session->inner, commit);
    return conclude(session, verdict, err);
}

static enum err fault_get(
    struct store_session *base, struct arena *arena, struct store_get *keys, size_t count)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_GET);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->get(session->inner, arena, keys, count);
    return conclude(session, verdict, err);
}

static enum err fault_scan(struct store_session *base, struct arena *arena, struct store_scan *scan)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_SCAN);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->scan(session->inner, arena, scan);
    return conclude(session, verdict, err);
}

static enum err fault_due(struct store_session *base, struct arena *arena, struct store_due *due)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_DUE);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->due(session->inner, arena, due);
    return conclude(session, verdict, err);
}

static enum err fault_list(struct store_session *base, struct arena *arena, struct store_list *list)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_LIST);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->list(session->inner, arena, list);
    return conclude(session, verdict, err);
}

static enum err fault_count(
    struct store_session *base, struct arena *arena, struct store_count *count)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_COUNT);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->count(session->inner, arena, count);
    return conclude(session, verdict, err);
}

static enum err fault_take_shard(struct store_session *base, struct store_take_shard *take)
{
    struct fault_session *session = fault_session_of(base);
    struct verdict verdict = judge(session, STORE_FAULT_TAKE_SHARD);
    enum err err = OK;
    if (verdict.execute)
        err = inner_driver(session)->take_shard(session->inner, take);
    return conclude(session, verdict, err);
}

static enum err fault_open(const struct store_options *options, void **ret_database, char text[256])
{
    struct store_fault *fault = options->driver_ctx;
    struct store_options inner = *options;
    inner.driver = fault->wrapped.driver;
    inner.driver_ctx = fault->wrapped.driver_ctx;
    void *database = NULL;
    enum err err = inner.driver->open(&inner, &database, text);
    if (err)
        return err;
    struct fault_database *handle = mem_new(struct fault_database);
    handle->fault = fault;
    handle->inner = database;
    *ret_database = handle;
    return OK;
}

static void fault_close(void *database)
{
    struct fault_database *handle = database;
    handle->fault->wrapped.driver->close(handle->inner);
    mem_free(handle);
}

static enum err fault_session_open(
    void *database, bool writer, struct store_session **ret_session, char text[256])
{
    const struct fault_database *handle = database;
    struct store_session *inner = NULL;
    enum err err = handle->fault->wrapped.driver->session_open(handle->inner, writer, &inner, text);
    if (err)
        return err;
    struct fault_session *session = mem_new(struct fault_session);
    session->base.driver = &handle->fault->driver;
    session->fault = handle->fault;
    session->inner = inner;
    *ret_session = &session->base;
    return OK;
}

static void fault_session_close(struct store_session *base)
{
    struct fault_session *session = fault_session_of(base);
    session->inner->driver->session_close(session->inner);
    mem_free(session);
}

struct store_fault *store_fault_new(const struct store_options *options, uint64_t seed)
{
    struct store_fault *fault = mem_new(struct store_fault);
    fault->wrapped = *options;
    fault->random = seed;
    fault->driver = (struct store_driver){
        .name = options->driver->name,
        .open = fault_open,
        .close = fault_close,
        .session_open = fault_session_open,
        .session_close = fault_session_close,
        .commit = fault_commit,
        .get = fault_get,
        .scan = fault_scan,
        .due = fault_due,
        .list = fault_list,
        .count = fault_count,
        .take_shard = fault_take_shard,
        .writers_max = options->driver->writers_max,
        .stepped = options->driver->stepped,
    };
    cond_init(&fault->never);
    int failed = pthread_mutex_init(&fault->lock, NULL);
    CHECK(failed == 0);
    return fault;
}

void store_fault_free(struct store_fault *fault)
{
    if (!fault)
        return;
    (void)pthread_mutex_destroy(&fault->lock);
    (void)pthread_cond_destroy(&fault->never);
    mem_free(fault);
}

void store_fault_options(struct store_fault *fault, struct store_options *ret_options)
{
    *ret_options = fault->wrapped;
    ret_options->driver = &fault->driver;
    ret_options->driver_ctx = fault;
}

void store_fault_arm(struct store_fault *fault, const struct store_fault_rule *rule)
{
    (void)pthread_mutex_lock(&fault->lock);
    CHECK(fault->rule_count < STORE_FAULT_RULES_MAX);
    fault->rules[fault->rule_count++] = (struct armed){.rule = *rule};
    (void)pthread_mutex_unlock(&fault->lock);
}

void store_fault_disarm(struct store_fault *fault)
{
    (void)pthread_mutex_lock(&fault->lock);
    fault->rule_count = 0;
    (void)pthread_mutex_unlock(&fault->lock);
}

uint64_t store_fault_calls(struct store_fault *fault)
{
    (void)pthread_mutex_lock(&fault->lock);
    uint64_t calls = fault->calls;
    (void)pthread_mutex_unlock(&fault->lock);
    return calls;
}

uint64_t store_fault_fired(struct store_fault *fault)
{
    (void)pthread_mutex_lock(&fault->lock);
    uint64_t fired = fault->fired;
    (void)pthread_mutex_unlock(&fault->lock);
    return fired;
}
