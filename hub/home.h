/* home.h — what a channel's home shard knows: who on this node is interested,
 * and the channel's last values.
 *
 *     subscribe on shard 2 of "a" (home: shard 0)
 *       2 --ask--> 0   interest["a"] |= 2; feed up? patterns acknowledged?
 *       2 <--answer--  posted before any later publication of "a"
 *     publish of "a"
 *       any --> 0 --> every shard in interest["a"] or in a matching pattern
 *
 * Patterns are few and change rarely: every shard has all of them with the
 * set of shards that want them, and a pattern subscription is answered when
 * all shards have acknowledged it.
 *
 * Last values are kept where the namespace wants snapshots or merges: always
 * in-process; over a bus only while it brings the channel here, which it does
 * for idle_ttl after the last subscriber. They enter with the publication
 * and leave with the answer to a subscription, so that answer and later
 * publications fit without hole or duplicate.
 *
 * Owns:   its entries. Thread: the shard's. Bounds: one entry per channel
 *         with a subscriber on the node (or last values over a bus); 64
 *         shards; last values: throttle/last.h, a shard's share each.
 * Uses:   base/, throttle/last, hub/trie, hub/msg, hub/broker. */
#ifndef WEIR_HUB_HOME_H
#define WEIR_HUB_HOME_H

#include "base/mailbox.h"
#include "base/wheel.h"
#include "hub/broker.h"
#include "hub/client.h"
#include "hub/trie.h"
#include "throttle/last.h"

#define HOME_MAX_SHARDS 64

struct hub;
struct home_channel;
struct pattern_interest;

struct home {
    struct home_channel *channels; /* hash: exact channels and patterns */
    struct trie
        patterns;     /* values: struct pattern_interest, all of the node's */
    struct last last; /* values: struct msg */
    struct buf merge; /* owned: scratch */
    struct wheel_timer sweep; /* last values that lost their feed */
};

/* A subscription's question to the home shard, and its answer. */
struct ask {
    struct letter letter;
    STAILQ_ENTRY(ask) waiting; /* linked: home_channel.asks */
    struct shard *from;        /* borrowed: where the client is */
    struct client_ref client;
    uint32_t sub_gen;
    const struct throttle_policy *policy; /* borrowed: the namespace's */
    struct msg **snapshot; /* owned array of references; of the answer */
    uint32_t snapshot_count;
    bool known;     /* of the answer: the last values are complete */
    uint32_t error; /* of the answer */
    uint32_t hash;
    bool is_pattern;
    uint16_t len;
    char channel[];
};

STAILQ_HEAD(ask_list, ask);

void home_init(struct home *h, const struct hub *hub);
void home_fini(struct home *h);

/* From a subscriber's shard: ask its home; the answer comes to
 * fanout_answer on `from`. Takes the ask. */
void home_ask(struct shard *from, struct ask *a);
void home_free_ask(struct ask *a);
/* From a shard whose last subscriber of the topic left. */
void home_leave(struct shard *from, struct str channel, uint32_t hash);

/* On the home shard: a publication entered this node. Takes a reference. */
void home_publish(struct shard *home, struct msg *m);
/* From any thread that is not a shard (the bus): the same by letter. Takes
 * the reference. */
void home_post(struct hub *hub, struct msg *m);
/* From a shard. Takes the reference. */
void home_send(struct shard *from, struct msg *m);

/* Channels and patterns with a subscriber on this node, of this home. */
size_t home_channel_count(const struct home *h);

/* Asserts every invariant; for tests. */
void home_check(const struct home *h);

struct shard *home_of(struct hub *hub, uint32_t channel_hash);

#endif
