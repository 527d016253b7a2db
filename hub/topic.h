/* topic.h — one shard's subscribers, by exact channel and by pattern.
 *
 *     topic -> its own lane: plain subscriptions
 *           -> paces: a throttled lane for each granted mode and rate
 *
 * Why:    a publish finds its subscribers in O(tokens + matches).
 * Owns:   topics with their lanes. Borrows: subs and clients.
 * Thread: the shard's. Bounds: one slot per live subscription.
 * Uses:   base/, hub/trie, hub/lane, uthash. */
#ifndef WEIR_HUB_TOPIC_H
#define WEIR_HUB_TOPIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/wheel.h"
#include "hub/lane.h"
#include "hub/trie.h"

struct client;
struct late;
struct topic;

enum sub_state {
    SUB_ASKING,
    SUB_LIVE,
    SUB_LOST, /* missed something, gets nothing, and will be told so */
};

/* One client's subscription to one topic. */
struct sub {
    TAILQ_ENTRY(sub) link; /* linked: client.subs, in order of subscribing */
    struct client *client; /* borrowed: outlives its subs */
    struct topic *topic;   /* borrowed: lives while it has subs or asks */
    struct lane *lane;     /* borrowed: of the topic; NULL until live */
    const struct throttle_policy *policy; /* borrowed: the namespace's */
    struct throttle_grant grant;
    struct late *late;   /* owned by backlog.c; NULL: nothing waits */
    uint64_t since;      /* shard.delivered when it went live */
    uint64_t from;       /* what has a greater number is still its own */
    uint32_t index;      /* of our slot, when live */
    uint32_t gen;        /* tells a late answer from a newer attempt */
    uint32_t request_id; /* the session's: which command to answer */
    uint8_t state;       /* enum sub_state */
    bool server_side;
    bool positioned;  /* told where it stands, and of any loss */
    bool recoverable; /* the session's: told that it may recover */
    bool recovers;    /* the session's: this attempt asked for it */
    bool newest;  /* the session's: it wants the newest, not what it missed */
    bool reject;  /* the session's: an error when it is not recovered */
    bool unsure;  /* offset says nothing yet: what came first is under way */
    bool begins;  /* the session's: asked is where it stands at its beginning */
    bool overrun; /* a bound of a slow client was met: soon lost */
    uint8_t loss; /* enum loss, when lost */
    uint64_t epoch;  /* of its stream; 0: none */
    uint64_t offset; /* where it stands */
    uint64_t firm;   /* the same without what may be taken back */
    uint64_t asked;  /* the session's: where it asked to go on from */
    uint64_t start;  /* where it stood when it went live */
    struct wheel_timer tell_lost; /* when lost: until it is told */
    bool tell;  /* the session's: tell the client what it was granted */
    bool blank; /* the session's: last values were wanted and are not known */
};

/* The lane comes first: see there. */
struct topic {
    struct lane plain;
    SLIST_HEAD(, pace) paces;
    uint32_t hash;
    uint32_t asking; /* subscriptions the home shard has not answered yet */
    uint16_t len;
    bool is_pattern;
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
/* Free a topic without subscribers, asks, pending publications or passes. */
void topic_free(struct topic_index *ix, struct topic *t);
/* Live subscriptions, of all lanes. */
uint32_t topic_subscribers(const struct topic *t);
/* Is nobody subscribed, and nothing under way? */
bool topic_is_quiet(const struct topic *t);

/* Call fn for every topic a concrete channel reaches: the exact one last. */
void topic_match(const struct topic_index *ix, struct str channel,
                 uint32_t hash, void (*fn)(void *arg, void *topic), void *arg);

/* Asserts every invariant; for tests. */
void topic_index_check(const struct topic_index *ix);

#endif
