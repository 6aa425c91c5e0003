/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded mailbox: many producers, one consumer. The only way to reach a component that lives on
 * another thread.
 *
 * A mail is embedded in the message it carries and knows how to deliver itself: the consumer calls
 * mail->deliver(mail, owner), where `owner` is the component that the mailbox belongs to.
 */
#ifndef CLUSTER_BASE_MAILBOX_H
#define CLUSTER_BASE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/check.h"
#include "cluster/base/err.h"

struct mail;
/** Runs on the consumer's thread; takes over the message. */
typedef void mail_deliver_fn(struct mail *mail, void *owner);

struct mail {
    struct mail *next;
    mail_deliver_fn *deliver;
};

struct mailbox;

/** Something that sleeps until one of its mailboxes has mail: one per loop thread. */
struct waker;
struct waker *waker_open(void);
/** No producer may still be inside a call that wakes it: a mail can be delivered before the call
 *  that posted it has returned. So close after the producers' threads are joined. */
void waker_close(struct waker *waker);
/** Wakes the waiter; a wake before the wait is not lost. Any thread. */
void waker_wake(struct waker *waker);
/** Sleeps until woken or `timeout_ns` passed (0 = do not sleep). The loop thread only. */
void waker_wait(struct waker *waker, int64_t timeout_ns);

/** `owner` is handed to every deliver; `waker` may be NULL (simulator). `capacity` in messages. */
struct mailbox *mailbox_open(void *owner, struct waker *waker, size_t capacity);
/** Hands mail that was not delivered to `drop`; without one (NULL) it is forgotten. Consumer thread
 *  only, and no further post may come. */
void mailbox_close(struct mailbox *mailbox, void (*drop)(struct mail *mail));
/** Queues in order per producer. ERR_BUSY when full: the mail stays the caller's. Any thread. */
NODISCARD enum err mailbox_post(struct mailbox *mailbox, struct mail *mail);
/** As mailbox_post, for completions of things that the owner itself started: not subject to the
 *  capacity, because the number of outstanding operations already bounds it. */
void mailbox_complete(struct mailbox *mailbox, struct mail *mail);
/** Delivers at most `max` mails; returns how many. Consumer thread only. When mail is left, the
 *  waker is woken, so that a loop that then waits comes back at once. */
size_t mailbox_step(struct mailbox *mailbox, size_t max);
bool mailbox_empty(struct mailbox *mailbox);

#endif
