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
#include "hub/history.h"
#include "hub/keys.h"
#include "hub/trie.h"
#include "throttle/last.h"

#define HOME_MAX_SHARDS 64

struct hub;
struct home_channel;
struct pattern_interest;
struct splice;

struct home {
    struct home_channel *channels; /* hash: exact channels and patterns */
    struct trie
        patterns;     /* values: struct pattern_interest, all of the node's */
    struct last last; /* values: struct msg */
    struct buf merge; /* owned: scratch */
    struct wheel_timer sweep; /* last values that lost their feed */

    struct history history; /* streams; over a bus a part of what it has */
    struct wheel_timer age; /* of history: what has expired */
    struct keys keys;       /* in-process */
    /* Reads of streams: under way, and those that wait. */
    TAILQ_HEAD(, splice) reads;
    uint32_t reading;
    uint64_t next_read;
};

/* What became of a recovery. */
enum recovery {
    RECOVERY_NONE,    /* nobody asked */
    RECOVERY_DONE,    /* the publications are all there were */
    RECOVERY_FOREIGN, /* the position is of another stream */
    RECOVERY_TOO_OLD, /* what came after it cannot be proven (any more) */
};

/* Does a subscription want the newest of each item? */
enum latest {
    LATEST_NEVER,
    LATEST_IF_LOST, /* when a recovery fails */
    LATEST_ALWAYS,  /* instead of what came after its position */
};

/* What a subscription wants of its channel's stream. */
struct position_wish {
    bool positioned; /* a position, and to be told when it is lost */
    bool recover;    /* what came after `since` */
    enum latest latest;
    bool foreign;          /* `since` has an epoch that is nobody's of ours */
    struct position since; /* epoch 0: of whatever stream */
};

/* A subscription's question to the home shard, and its answer. */
struct ask {
    struct letter letter;
    STAILQ_ENTRY(ask) waiting; /* linked: home_channel.asks */
    struct shard *from;        /* borrowed: where the client is */
    struct client_ref client;
    uint32_t sub_gen;
    const struct throttle_policy *policy; /* borrowed: the namespace's */
    const struct history_policy *history; /* borrowed: the namespace's */
    struct position_wish wish;
    uint8_t looks;  /* the home's: how often the bus was read for it */
    bool conflates; /* only the newest of each item is wanted */
    /* The answer: */
    struct msg **snapshot; /* owned array of references */
    uint32_t snapshot_count;
    bool known;               /* the last values are complete */
    struct position position; /* epoch 0: none */
    enum recovery recovery;
    uint32_t error;
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
/* From any thread that is not a shard: the bus may have lost something before
 * it came back (is connected, and its SUBs are known to the server). Every
 * stream whose count of gaps is not `gap` is checked and healed; plain channels
 * are told where their namespace says so. Also when the streams themselves may
 * be others. */
void home_post_gap(struct hub *hub, uint64_t gap);
/* From a shard. Takes the reference. */
void home_send(struct shard *from, struct msg *m);

/* A publish of a shard that wants to know what became of it (in-process). Takes
 * op, which is answered on its origin, maybe inside the call. */
void home_send_op(struct shard *from, struct publish_op *op);

/* Somebody wants to read a channel's stream, or to empty it. */
struct history_op {
    struct letter letter;
    struct shard *origin;                 /* borrowed */
    const struct history_policy *history; /* borrowed: of the namespace */
    int64_t limit; /* 0: the position only; < 0: as many as may be */
    bool reverse;
    bool has_since;
    bool foreign;          /* since has an epoch that is nobody's of ours */
    struct position since; /* epoch 0: of whatever stream */
    /* The answer: 0, 100, 108, or 112 for another epoch. */
    uint32_t error;
    struct position position;
    struct msg **msgs; /* owned array of references, in the order asked for */
    uint32_t count;
    /* On the origin; takes the op, with history_op_fini. */
    void (*done)(struct history_op *op);
    uint32_t channel_len;
    char channel[];
};
/* Frees what the answer has, not the op: whoever asks embeds it. */
void history_op_fini(struct history_op *op);
/* Can all of the answer be told in JSON? */
bool history_op_is_json(const struct history_op *op);

/* From a shard; op->origin is set here. Take the op. */
void home_history(struct shard *from, struct history_op *op);
void home_remove(struct shard *from, struct remove_op *op);

/* Channels and patterns with a subscriber on this node, of this home. */
size_t home_channel_count(const struct home *h);

/* Asserts every invariant; for tests. */
void home_check(const struct home *h);

struct shard *home_of(struct hub *hub, uint32_t channel_hash);

#endif
