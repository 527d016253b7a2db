/* home.h — what a channel's home shard knows: who on this node is interested.
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
 * Owns:   its entries. Thread: the shard's. Bounds: one entry per channel
 *         with a subscriber on the node; 64 shards.
 * Uses:   base/, hub/trie, hub/msg, hub/broker. */
#ifndef WEIR_HUB_HOME_H
#define WEIR_HUB_HOME_H

#include "base/mailbox.h"
#include "hub/broker.h"
#include "hub/client.h"
#include "hub/trie.h"

#define HOME_MAX_SHARDS 64

struct hub;
struct home_channel;
struct pattern_interest;

struct home {
    struct home_channel *channels; /* hash: exact channels and patterns */
    struct trie
        patterns; /* values: struct pattern_interest, all of the node's */
};

/* A subscription's question to the home shard, and its answer. */
struct ask {
    struct letter letter;
    STAILQ_ENTRY(ask) waiting; /* linked: home_channel.asks */
    struct shard *from;        /* borrowed: where the client is */
    struct client_ref client;
    uint32_t sub_gen;
    uint32_t error; /* of the answer */
    uint32_t hash;
    bool is_pattern;
    uint16_t len;
    char channel[];
};

STAILQ_HEAD(ask_list, ask);

void home_init(struct home *h);
void home_fini(struct home *h);

/* From a subscriber's shard: ask its home; the answer comes to
 * fanout_answer on `from`. Takes the ask. */
void home_ask(struct shard *from, struct ask *a);
/* From a shard whose last subscriber of the topic left. */
void home_leave(struct shard *from, struct str channel, uint32_t hash,
                bool is_pattern);

/* On the home shard: a publication entered this node. Takes a reference. */
void home_publish(struct shard *home, struct msg *m);
/* From any thread that is not a shard (the bus): the same by letter. Takes
 * the reference. */
void home_post(struct hub *hub, struct msg *m);
/* From a shard. Takes the reference. */
void home_send(struct shard *from, struct msg *m);

/* Channels and patterns with a subscriber on this node, of this home. */
size_t home_channel_count(const struct home *h);

struct shard *home_of(struct hub *hub, uint32_t channel_hash);

#endif
