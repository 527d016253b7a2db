/* hub.h — all shards of a node behind one face: publish, subscribe, survey.
 * Why:    sessions and the API call these few verbs and never see letters.
 * Owns:   the shards. Thread: each verb on the shard it names.
 * Bounds: hub_options. Uses: the rest of hub/. */
#ifndef WEIR_HUB_HUB_H
#define WEIR_HUB_HUB_H

#include "hub/broker.h"
#include "hub/client.h"
#include "hub/codec.h"
#include "hub/shard.h"

struct hub_options {
    unsigned shards;          /* 1..HOME_MAX_SHARDS */
    int64_t inflight_bytes;   /* msg budget of the node */
    uint32_t slice;           /* subscribers served in one go */
    uint32_t queue_max_bytes; /* of one client */
    uint32_t channel_limit;   /* subscriptions of one client */
    uint32_t max_items;       /* of a channel, to conflate and to keep */
    size_t last_max_bytes;    /* last values of the node */
    size_t state_max_bytes;   /* of one item patches are merged into */
    uint64_t idle_ttl_ms;     /* last values over a bus: after the last sub */
    size_t history_max_bytes; /* streams of the node */
    size_t max_keys;          /* idempotency keys of the node */
    uint64_t history_idle_ttl_ms; /* streams over a bus: after the last sub */
    uint64_t heal_spread_ms;      /* those who lost are told over this time */
    uint64_t check_ms;            /* a quiet stream on the bus is looked at */
    uint32_t recovery_limit;      /* publications of one recovery */
    uint32_t history_limit;       /* publications of one answer */
    const struct codec *codec;    /* borrowed: constant */
};

struct hub {
    struct hub_options options;
    struct msg_budget budget; /* publications in flight */
    struct msg_budget held;   /* values kept: last ones, and what waits for
                               * slow clients and ticks; a sum, no bound */
    struct broker broker;
    unsigned count;
    struct shard *shards[HOME_MAX_SHARDS]; /* owned */
};

/* wakes[i](args[i]) wakes shard i's loop; see shard_new. */
void hub_init(struct hub *hub, const struct hub_options *options,
              void (*wake)(void *), void *const *args);
void hub_fini(struct hub *hub);

/* Publish. op->msg and op->done are set by the caller; the hub takes op and
 * calls done on `from`, maybe inside the call. */
void hub_publish(struct shard *from, struct publish_op *op);

/* Subscribe a client to a channel or pattern (checked by the caller). The
 * answer comes by events->subscribed, maybe inside the call. ERR_EXISTS if
 * it has the subscription or waits for it, ERR_FULL over channel_limit. */
struct subscribe_options {
    bool is_pattern;
    bool server_side;
    uint32_t request_id;
    const struct throttle_policy *policy; /* borrowed; NULL: plain */
    const struct history_policy *history; /* borrowed; NULL: none */
    struct position_wish wish;            /* nothing of it for a pattern */
    bool recoverable;                     /* the session's: see struct sub */
    bool reject;
    struct throttle_grant grant;
    bool tell; /* the session's: the client is told what it was granted */
};
int hub_subscribe(struct client *c, struct str channel,
                  const struct subscribe_options *o) MUST_USE;
/* Remove a subscription, answered or not. */
void hub_unsubscribe(struct client *c, struct sub *s);

/* Another grant for a subscription, answered or not. What it was still to get
 * it gets first. */
void hub_retune(struct client *c, struct sub *s, struct throttle_grant grant);
/* A subscription went live in its lane: if that is a throttled one, the
 * client's socket must know. */
void hub_note_throttled(struct sub *s);

/* Ask every shard something and come back with all answers. `visit` runs on
 * each shard's thread and returns a part (may be NULL); `done` runs on
 * `from` with parts[hub->count] and frees what it got. */
struct survey {
    void *(*visit)(struct shard *s, void *question);
    void (*done)(struct shard *from, void *question, void **parts,
                 unsigned count);
    void *question; /* read-only while the survey runs; done takes it */
};
void hub_survey(struct shard *from, const struct survey *survey);

#endif
