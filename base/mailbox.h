/* mailbox.h — the one door between threads: many writers, one reader.
 *
 *     writer: mailbox_post(&m, &letter)  ->  wakes the reader only if empty
 *     reader: mailbox_take(&m, &list)    ->  everything posted so far, FIFO
 *
 * Why:    letters of one writer keep their order, and a burst costs one wake.
 * Owns:   nothing; a posted letter belongs to the reader.
 * Thread: post any; take the owner only. Bounds: none of its own: what is
 *         posted is bounded where it enters (msg budget, commands a client).
 * Uses:   pthread, sys/queue.h. */
#ifndef WEIR_BASE_MAILBOX_H
#define WEIR_BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct letter {
    STAILQ_ENTRY(letter) link; /* linked: a mailbox, then the reader's list */
    /* Runs on the reader's thread and takes the letter. */
    void (*run)(void *reader, struct letter *self);
};

STAILQ_HEAD(letter_list, letter);

struct mailbox {
    pthread_mutex_t lock;
    struct letter_list letters;
    size_t count;
    size_t peak; /* greatest count seen since the last take_peak */
    void (*wake)(void *arg);
    void *wake_arg; /* borrowed */
};

/* wake(arg) is called by a writer, outside the lock, when the box was empty;
 * it must be callable from any thread. */
void mailbox_init(struct mailbox *m, void (*wake)(void *arg), void *arg);
void mailbox_fini(struct mailbox *m); /* must be empty */
void mailbox_post(struct mailbox *m, struct letter *l);
/* Appends everything to *to; false if there was nothing. */
bool mailbox_take(struct mailbox *m, struct letter_list *to);
size_t mailbox_depth(struct mailbox *m);
size_t mailbox_peak(struct mailbox *m); /* and starts a new one */

#endif
