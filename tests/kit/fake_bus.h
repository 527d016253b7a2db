/* fake_bus.h — a bus with a stream under a fake node, served by hand, and the
 * truth about what was published.
 *
 *     publish --> the stream (sequences across channels, the newest `keep` of
 *             \   each) --> a read is computed when it is run, and answered
 *              \            when the test says so
 *               `--> live: FIFO, delivered one by one, or lost
 *
 * Channels have names of one letter; the data of a publication is its offset.
 * The order of everything is the test's: feeds, reads and live publications
 * wait until it calls for them.
 *
 * Why:    what a real bus does in a bad hour, in every order, at no cost.
 * Owns:   what it keeps and what waits. Borrows: the node, the policy.
 * Thread: one, as the fake node's. Uses: hub/, tests/kit/fake. */
#ifndef WEIR_TESTS_KIT_FAKE_BUS_H
#define WEIR_TESTS_KIT_FAKE_BUS_H

#include "tests/kit/fake.h"

#define FAKE_BUS_MAX_READS 64

/* Published once: it stays here for ever, stored or not. */
struct fake_pub {
    uint64_t epoch;
    uint64_t offset;
    uint64_t prev; /* of the channel, as it was stored then */
    uint64_t at_ms;
    char channel;
    bool is_marker;
    bool stored;
};

struct fake_live {
    STAILQ_ENTRY(fake_live) link; /* linked: live */
    size_t index;                 /* of the publication */
    uint64_t gap;
    bool is_gap; /* the bus is back, no publication */
};

struct fake_read {
    struct read_op *op; /* owned */
    bool is_run;
};

struct fake_bus {
    struct fake_node *node;              /* borrowed */
    const struct history_policy *policy; /* borrowed */
    uint32_t keep;                       /* of each channel */
    bool has_stream;                     /* what feeds are answered */
    uint32_t feed_error;
    uint32_t read_error; /* what reads that are run from now on say */
    bool is_vague;       /* reads prove no more than they must */
    bool hides_prev;     /* MSG_PREV_UNKNOWN */
    bool stamps_late;    /* the count of gaps is that of the delivery */

    uint64_t epoch;
    uint64_t last; /* the stream's last sequence */
    uint64_t gap;
    uint64_t settled; /* gap, when it was last over */
    bool away;        /* nothing comes: it is lost */
    struct fake_pub *all;
    size_t count;
    size_t cap;
    STAILQ_HEAD(, fake_live) live;
    size_t live_count;
    uint32_t fed[128]; /* by letter; '>' for the pattern of everything */
    struct feed_op *feeds[64];
    size_t feed_count;
    struct fake_read reads[FAKE_BUS_MAX_READS]; /* under way */
    size_t read_count;
    uint64_t reads_total;
};

/* Between fake_node_init and the first client. */
void fake_bus_init(struct fake_bus *b, struct fake_node *n,
                   const struct history_policy *policy);
/* When all clients are gone, before fake_node_fini. */
void fake_bus_fini(struct fake_bus *b);

/* Its offset. */
uint64_t fake_bus_publish(struct fake_bus *b, char channel);
/* What is stored of a channel goes; then a marker, as remove does it. */
void fake_bus_purge(struct fake_bus *b, char channel, bool has_marker);
/* Everything up to this sequence goes. */
void fake_bus_expire(struct fake_bus *b, uint64_t upto);
/* Another stream, which is empty. Who was connected learns of it by a gap. */
void fake_bus_recreate(struct fake_bus *b);

/* The next thing that is live; false if there is none. */
bool fake_bus_deliver(struct fake_bus *b);
/* The next publication that is live never comes: as if nothing had been. */
bool fake_bus_lose(struct fake_bus *b);
/* Nothing comes until it is mended; then the hub is told. */
void fake_bus_cut(struct fake_bus *b);
void fake_bus_mend(struct fake_bus *b);

/* Answer the oldest feed that waits; false if none does. */
bool fake_bus_feed(struct fake_bus *b);
/* Compute the answer of the read i; it stays under way. */
void fake_bus_run(struct fake_bus *b, size_t i);
/* The same if need be, and answer it: it leaves the list. */
void fake_bus_answer(struct fake_bus *b, size_t i);
/* Feeds, reads, what is live, and turns, until nothing is left. */
void fake_bus_serve(struct fake_bus *b);

/* The offset of the publication of a channel after this one; 0: there is
 * none. */
uint64_t fake_bus_next(const struct fake_bus *b, uint64_t epoch, char channel,
                       uint64_t offset);

#endif
