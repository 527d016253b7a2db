/* waiting.h — the items a slow client is still to get: 16 bytes each.
 *
 *     hash table = the round: the cursor walks its slots in a circle, each
 *     visit gives an item credit; it goes when its value costs no more than
 *     its credit, or when it has waited too long (deficit round robin)
 *
 *     slots   [A]  .  [B] [C]  .  [D]       seen: visited in this round
 *     seen     x           x                cursor at C: D comes next, then
 *                                           B, which a removal moved back
 *
 * Why:    an item is in it once however often it changes; a large or busy
 *         item takes no other item's turn. A round ends when everybody who
 *         was in it at its start was visited or left; who comes later waits
 *         for the next one, wherever the hash has put him.
 * Owns:   its slots. Borrows: a value of each item; the owner's function
 *         says which item a value is of.
 * Thread: the owner's. Time is the caller's, in milliseconds.
 * Bounds: max items; one more drops the one at the cursor. At most 32 bytes
 *         an item from 16 items on, slack (jemalloc's, too) included;
 *         nothing when empty.
 * Uses:   base/mem. */
#ifndef WEIR_THROTTLE_WAITING_H
#define WEIR_THROTTLE_WAITING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Credit a visit, in bytes; doubled for each whole round nobody could go. */
#define WAITING_QUANTUM 1024
/* From this age on an item goes whatever its credit; 64 ms more or less. */
#define WAITING_MAX_AGE_MS 2000

struct waiting_slot {
    void *value;         /* the caller's: newest of the item; NULL: free */
    uint32_t n;          /* the caller's: how many it stands for */
    uint16_t credit;     /* in units of 16 bytes, saturating */
    uint16_t since : 15; /* when it came, in units of 64 ms; wraps */
    uint16_t seen : 1;   /* == waiting.round: visited in this round */
};

struct waiting {
    struct waiting_slot *slots;         /* owned [cap]; NULL when empty */
    uint64_t (*key)(const void *value); /* names the item */
    uint64_t turn;                      /* whose turn it is, if has_turn */
    uint32_t cap;                       /* slots */
    uint32_t count;                     /* items */
    uint32_t cursor;                    /* < cap */
    uint32_t unseen;                    /* still to be visited in this round */
    uint8_t round;                      /* 0 or 1 */
    bool has_turn;
};

void waiting_init(struct waiting *w, uint64_t (*key)(const void *value));
void waiting_fini(struct waiting *w); /* values are not looked at */

/* Is the item in it? Pointers to slots are good until the next add, remove
 * or fini. */
struct waiting_slot *waiting_find(const struct waiting *w, uint64_t key);
/* Add an item that is not in it; a newer value of one that is goes into its
 * slot. When count == max (> 0), the item at the cursor leaves and its value
 * is returned; else NULL. */
void *waiting_add(struct waiting *w, void *value, uint32_t n, uint64_t now_ms,
                  uint32_t max);
/* Whose turn it is; NULL when empty. cost(arg, value) is what sending it takes,
 * in bytes, 0 for one that need not be sent (it is returned at once, too); it
 * must leave the table alone. The slot stays until waiting_remove; asking
 * again without removing gives the same item, whatever it costs by then.
 * O(count * log(largest cost)), mostly O(1). */
struct waiting_slot *waiting_next(struct waiting *w, uint64_t now_ms,
                                  size_t (*cost)(void *arg, void *value),
                                  void *arg);
/* Any slot of it; others may move, so pointers to them are stale. */
void waiting_remove(struct waiting *w, struct waiting_slot *slot);
/* Asserts every invariant; for tests. */
void waiting_check(const struct waiting *w);

#endif
