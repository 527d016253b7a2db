/* ledger.h — what every client of a crowd saw of every item.
 *
 *   client 3: item 0 at 117, item 1 at 9, ...   the source: 118, 9, ...
 *             behind                current
 *
 * Why:    of a throttled item numbers are skipped, and that is no loss; a
 *         number twice, a number backwards, and an end that is not the newest
 *         are.
 * Owns:   its table, clients x items x 4 bytes. Thread: the generator.
 * Bounds: 2^32 numbers of an item. Uses: stamp, conn. */
#ifndef LOADTEST_LEDGER_H
#define LOADTEST_LEDGER_H

#include "loadtest/conn.h"

#include <stdint.h>

struct ledger_item {
    uint64_t seen;    /* deliveries of it, all clients together */
    uint64_t skipped; /* numbers jumped over */
};

struct ledger {
    uint32_t clients;
    uint32_t items;
    uint32_t *last;           /* owned: [client * items + item] */
    struct ledger_item *item; /* owned: [items] */
    uint64_t repeats;         /* the number it had already */
    uint64_t backwards;       /* an older one */
};

void ledger_init(struct ledger *l, uint32_t clients, uint32_t items);
void ledger_fini(struct ledger *l);
/* A client was given number `seq` of an item. */
void ledger_see(struct ledger *l, uint32_t client, uint32_t item, uint64_t seq);
/* The on_stamp of a crowd whose stamp_arg is its ledger. */
bool ledger_on_stamp(struct conn *c, const struct stamp *s);
/* How many of the client's items [from, from + n) are not at the number the
 * source has reached; source[i] is item from + i. */
uint32_t ledger_behind(const struct ledger *l, uint32_t client, uint32_t from,
                       const struct channel *source, uint32_t n);
/* Repeats and steps backwards become losses of a crowd. */
void ledger_settle(const struct ledger *l, struct losses *sum);
/* Deliveries and skipped numbers of items [from, from + n). */
struct ledger_item ledger_sum(const struct ledger *l, uint32_t from,
                              uint32_t n);

#endif
