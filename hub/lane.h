/* lane.h — subscribers of one topic that get the same, and what is on its way
 * to them.
 *
 *     slots:  [ served | to serve | joined since ]
 *               0..cursor  ..limit    ..count       while a pass runs
 *
 * A publication is fanned out in slices (fanout.h); the three parts let
 * subscribers come and go between slices without missing anybody, serving
 * anybody twice or giving a newcomer what was published before it came.
 *
 * A topic has one lane for plain subscriptions in itself, and one for every
 * rate class of its throttled ones (pace.h).
 *
 * Owns:   its arrays and pass. Borrows: subs, clients, topic.
 * Thread: the shard's. Bounds: one slot per live subscription; pending by the
 *         msg budget.
 * Uses:   base/, hub/msg. */
#ifndef WEIR_HUB_LANE_H
#define WEIR_HUB_LANE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "hub/msg.h"

struct client;
struct pace;
struct pass;
struct sub;
struct topic;

/* A publication that waits for a pass. */
struct lane_pub {
    struct msg *msg; /* shared */
    uint64_t seq;    /* the shard's number of it */
    uint32_t n;      /* how many it stands for */
    uint32_t behind; /* the first of them came so many numbers before it */
    /* Everything of the stream up to here has been brought, or replaced by
     * something newer, when this one has; 0: it moves nothing. */
    uint64_t offset;
};

struct topic_slot {
    struct client *client; /* borrowed */
    struct sub *sub;       /* borrowed */
};

/* What a publication touches comes first, in two cache lines: with a million
 * topics each line is a miss. */
struct lane {
    struct topic_slot *slots; /* owned, unless it is one_slot */
    uint32_t count;
    uint32_t cap;
    uint32_t cursor; /* of the pass that runs */
    uint32_t limit;
    struct lane_pub *pending; /* owned, unless it is one_pending */
    uint32_t pending_head;    /* where the first of them is */
    uint32_t pending_count;   /* publications that wait for a pass */
    uint32_t pending_cap;
    uint16_t paces;    /* of a topic's own lane: throttled ones beside it */
    bool busy;         /* linked in shard.busy */
    struct pass *pass; /* owned; NULL when no fan-out runs */
    uint64_t joined;   /* greatest `from` of any subscription so far */
    TAILQ_ENTRY(lane) busy_link;
    /* Most topics have one subscriber and one publication at a time. */
    struct topic_slot one_slot;
    struct lane_pub one_pending;
    uint32_t pushed;     /* publications so far; wraps */
    uint32_t ended;      /* those whose pass is through; wraps */
    struct topic *topic; /* borrowed */
    struct pace *pace;   /* borrowed: what it is part of; NULL: plain */
};

void lane_init(struct lane *l, struct topic *t, struct pace *pace);
/* Without slots, pending publications and pass. */
void lane_fini(struct lane *l);

/* Make a sub live: it gets the last slot, and the publications that the shard
 * numbers above `from`. */
void lane_add(struct lane *l, struct sub *s, uint64_t from);
/* Take a live sub's slot away; keeps the three parts of a running pass. */
void lane_remove(struct lane *l, struct sub *s);
/* A live sub has got everything up to `from` in another way. */
void lane_skip(struct lane *l, struct sub *s, uint64_t from);

/* Queue a publication for the next pass. Takes the reference. */
void lane_push(struct lane *l, struct lane_pub pub);
/* The first `count` pending ones were taken. */
void lane_taken(struct lane *l, uint32_t count);
/* Nobody is left to get them. */
void lane_drop_pending(struct lane *l);

/* Asserts every invariant; for tests. */
void lane_check(const struct lane *l);

#endif
