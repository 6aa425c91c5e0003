/* SPDX-License-Identifier: Apache-2.0
 *
 * Producers push onto a lock-free stack with one compare-and-swap; the consumer takes the whole
 * stack with one exchange and turns it around into a private queue. Nothing is ever popped singly
 * from the shared stack, so there is no ABA problem and no half-linked state to wait for.
 *
 * I1  Order per producer: a stack reversed is the order of the pushes.
 * I2  `count` is raised before a mail becomes visible and lowered before it is delivered (in chunks
 *     of up to CHUNK), so a deliver function that posts never meets a capacity used up by mail
 *     already out of the queue.
 * I3  Whoever pushes onto an empty stack wakes. Any later push finds the stack not empty, and a
 *     wake is under way already. A consumer that leaves private mail behind wakes itself.
 *
 * The waker's word is RUNNING, AWAKE (a wake came since the last wait) or ASLEEP; only the change
 * from ASLEEP costs a system call.
 */
#include "cluster/base/mailbox.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"

#define CACHE_LINE 64
#define CHUNK      32u

enum waker_state { RUNNING, AWAKE, ASLEEP };

struct waker {
    alignas(CACHE_LINE) _Atomic(uint32_t) state;
};

struct mailbox {
    /* What producers touch: one cache line. */
    alignas(CACHE_LINE) _Atomic(struct mail *) stack; /* newest first */
    _Atomic(size_t) count;
    size_t capacity;
    struct waker *waker;
    /* The consumer's own. */
    alignas(CACHE_LINE) struct mail *queue; /* oldest first */
    void *owner;
};

static void *line_alloc(size_t size)
{
    void *ptr = aligned_alloc(CACHE_LINE, size);
    CHECK(ptr != NULL);
    return ptr;
}

struct waker *waker_open(void)
{
    struct waker *waker = line_alloc(sizeof(*waker));
    atomic_init(&waker->state, RUNNING);
    return waker;
}

void waker_close(struct waker *waker)
{
    free(waker);
}

void waker_wake(struct waker *waker)
{
    if (atomic_exchange(&waker->state, AWAKE) == ASLEEP)
        (void)syscall(SYS_futex, &waker->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void waker_wait(struct waker *waker, int64_t timeout_ns)
{
    uint32_t before = atomic_exchange(&waker->state, timeout_ns > 0 ? ASLEEP : RUNNING);
    if (before != AWAKE && timeout_ns > 0) {
        struct timespec timeout = {
            .tv_sec = (time_t)(timeout_ns / NS_PER_S),
            .tv_nsec = (long)(timeout_ns % NS_PER_S),
        };
        /* Returns at once when a wake changed the word meanwhile; interrupted or too early is
         * harmless, because the loop looks at its mailboxes and deadlines anyway. */
        (void)syscall(SYS_futex, &waker->state, FUTEX_WAIT_PRIVATE, ASLEEP, &timeout, NULL, 0);
    }
    atomic_store(&waker->state, RUNNING);
}

struct mailbox *mailbox_open(void *owner, struct waker *waker, size_t capacity)
{
    CHECK(capacity > 0);
    struct mailbox *mailbox = line_alloc(sizeof(*mailbox));
    atomic_init(&mailbox->stack, NULL);
    atomic_init(&mailbox->count, 0);
    mailbox->capacity = capacity;
    mailbox->waker = waker;
    mailbox->queue = NULL;
    mailbox->owner = owner;
    return mailbox;
}

/** Moves what the producers pushed to the private queue, which must be empty. */
static void collect(struct mailbox *mailbox)
{
    /* The load first: an exchange would take the line from the producers even when it is empty. */
    if (!atomic_load_explicit(&mailbox->stack, memory_order_relaxed))
        return;
    struct mail *newest = atomic_exchange(&mailbox->stack, NULL);
    struct mail *queue = NULL;
    while (newest) {
        struct mail *older = newest->next;
        newest->next = queue;
        queue = newest;
        newest = older;
    }
    mailbox->queue = queue;
}

void mailbox_close(struct mailbox *mailbox, void (*drop)(struct mail *mail))
{
    for (;;) {
        if (!mailbox->queue)
            collect(mailbox);
        struct mail *mail = mailbox->queue;
        if (!mail)
            break;
        mailbox->queue = mail->next;
        mail->next = NULL;
        if (drop)
            drop(mail);
    }
    free(mailbox);
}

static void push(struct mailbox *mailbox, struct mail *mail)
{
    CHECK(mail->deliver != NULL);
    struct waker *waker = mailbox->waker;
    struct mail *newest = atomic_load_explicit(&mailbox->stack, memory_order_relaxed);
    do {
        mail->next = newest;
    } while (!atomic_compare_exchange_weak(&mailbox->stack, &newest, mail));
    /* From here on the mail is the consumer's: delivering it may even have closed the mailbox. */
    if (!newest && waker)
        waker_wake(waker);
}

enum err mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    size_t before = atomic_fetch_add_explicit(&mailbox->count, 1, memory_order_relaxed);
    if (before >= mailbox->capacity) {
        atomic_fetch_sub_explicit(&mailbox->count, 1, memory_order_relaxed);
        return ERR_BUSY;
    }
    push(mailbox, mail);
    return OK;
}

void mailbox_complete(struct mailbox *mailbox, struct mail *mail)
{
    atomic_fetch_add_explicit(&mailbox->count, 1, memory_order_relaxed);
    push(mailbox, mail);
}

/** Cuts up to `max` mails off the private queue; returns them, oldest first, and how many. */
static struct mail *take_chunk(struct mailbox *mailbox, size_t max, size_t *ret_count)
{
    struct mail *first = mailbox->queue;
    struct mail *last = first;
    size_t count = 1;
    while (count < max && last->next) {
        last = last->next;
        count++;
    }
    mailbox->queue = last->next;
    last->next = NULL;
    *ret_count = count;
    return first;
}

size_t mailbox_step(struct mailbox *mailbox, size_t max)
{
    size_t delivered = 0;
    while (delivered < max) {
        if (!mailbox->queue)
            collect(mailbox);
        if (!mailbox->queue)
            return delivered;
        size_t count;
        size_t room = max - delivered;
        struct mail *mail = take_chunk(mailbox, room < CHUNK ? room : CHUNK, &count);
        atomic_fetch_sub_explicit(&mailbox->count, count, memory_order_relaxed);
        while (mail) {
            struct mail *next = mail->next;
            mail->next = NULL;
            mail->deliver(mail, mailbox->owner);
            mail = next;
        }
        delivered += count;
    }
    if (mailbox->queue && mailbox->waker)
        waker_wake(mailbox->waker);
    return delivered;
}

bool mailbox_empty(struct mailbox *mailbox)
{
    return !mailbox->queue && !atomic_load(&mailbox->stack);
}
