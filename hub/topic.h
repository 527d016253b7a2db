/* topic.h — one shard's subscribers, by exact channel and by pattern.
 *
 *     slots:  [ served | to serve | joined since ]
 *               0..cursor  ..limit    ..count       while a pass runs
 *
 * A publication is fanned out in slices (fanout.h); the three parts let
 * subscribers come and go between slices without missing anybody, serving
 * anybody twice or giving a newcomer what was published before it came.
 *
 * Why:    a publish finds its subscribers in O(tokens + matches).
 * Owns:   topics and their slot arrays. Borrows: subs and clients.
 * Thread: the shard's. Bounds: one slot per live subscription.
 * Uses:   base/, hub/trie, hub/msg, uthash. */
#ifndef WEIR_HUB_TOPIC_H
#define WEIR_HUB_TOPIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/str.h"
#include "hub/msg.h"
#include "hub/trie.h"

struct client;
struct topic;
struct pass;

/* A publication that waits for a pass, and the shard's number of it. */
struct topic_pending {
    struct msg *msg; /* shared */
    uint64_t seq;
};

enum sub_state { SUB_ASKING, SUB_LIVE };

/* One client's subscription to one topic. */
struct sub {
    TAILQ_ENTRY(sub) link; /* linked: client.subs, in order of subscribing */
    struct client *client; /* borrowed: outlives its subs */
    struct topic *topic;   /* borrowed: lives while it has subs or asks */
    uint64_t from;         /* shard.delivered when it went live: later ones
                            * are its own, earlier ones still pending are not */
    uint32_t index;        /* of our slot, when live */
    uint32_t gen;          /* tells a late answer from a newer attempt */
    uint32_t request_id;   /* the session's: which command to answer */
    uint8_t state;         /* enum sub_state */
    bool server_side;
};

struct topic_slot {
    struct client *client; /* borrowed */
    struct sub *sub;       /* borrowed */
};

/* What a publication touches comes first, in two cache lines: with a million
 * topics each line is a miss. */
struct topic {
    struct topic_slot *slots; /* owned, unless it is one_slot */
    uint32_t count;
    uint32_t cap;
    uint32_t cursor; /* of the pass that runs */
    uint32_t limit;
    struct topic_pending *pending; /* owned, unless it is one_pending */
    uint32_t pending_head;         /* where the first of them is */
    uint32_t pending_count;        /* publications that wait for a pass */
    uint32_t pending_cap;
    uint32_t hash;
    struct pass *pass; /* owned; NULL when no fan-out runs */
    uint64_t joined;   /* greatest `from` of any subscription so far */
    TAILQ_ENTRY(topic) busy_link;
    /* Most topics have one subscriber and one publication at a time. */
    struct topic_slot one_slot;
    struct topic_pending one_pending;
    uint32_t asking; /* subscriptions the home shard has not answered yet */
    uint16_t len;
    bool is_pattern;
    bool busy;         /* linked in shard.busy */
    UT_hash_handle hh; /* linked: topic_index.exact */
    char name[];
};

struct topic_index {
    struct topic *exact;  /* hash by name */
    struct trie patterns; /* values: struct topic */
};

static inline struct str topic_name(const struct topic *t)
{
    return str_n(t->name, t->len);
}

void topic_index_init(struct topic_index *ix);
void topic_index_fini(struct topic_index *ix); /* must be empty */

/* NULL if there is none. `hash` is msg_channel_hash(name). */
struct topic *topic_find(const struct topic_index *ix, struct str name,
                         uint32_t hash, bool is_pattern);
struct topic *topic_get(struct topic_index *ix, struct str name, uint32_t hash,
                        bool is_pattern);
/* Free a topic without slots, asks, pending publications or pass. */
void topic_free(struct topic_index *ix, struct topic *t);

/* Make a sub live: it gets the last slot, and the publications that the shard
 * numbers above `from`. */
void topic_add(struct topic *t, struct sub *s, uint64_t from);
/* Take a live sub's slot away; keeps the three parts of a running pass. */
void topic_remove(struct topic *t, struct sub *s);

/* Call fn for every topic a concrete channel reaches: the exact one last. */
void topic_match(const struct topic_index *ix, struct str channel,
                 uint32_t hash, void (*fn)(void *arg, void *topic), void *arg);

/* Asserts every invariant; for tests. */
void topic_index_check(const struct topic_index *ix);

#endif
