/* pace.h — a throttled lane: the subscribers of a topic with one granted mode
 * and rate, and what waits until it is their time.
 *
 *     publication -> conflate -> now, or at the class's tick -> lane -> passes
 *
 * Why:    conflation and encoding happen once for all of them.
 * Owns:   its lane and conflation. Thread: the shard's.
 * Bounds: hub_options.max_items items; values are counted in hub.held.
 * Uses:   throttle/, hub/lane. */
#ifndef WEIR_HUB_PACE_H
#define WEIR_HUB_PACE_H

#include "base/wheel.h"
#include "hub/lane.h"
#include "throttle/conflate.h"

struct shard;

/* Smaller batches than a plain lane's: what a write cannot get rid of has
 * been chosen too early. */
#define PACE_BATCH_BYTES 16384

struct pace {
    struct lane lane;
    SLIST_ENTRY(pace) link;               /* linked: topic.paces */
    const struct throttle_policy *policy; /* borrowed */
    struct throttle_grant grant;
    struct shard *shard; /* borrowed */
    uint64_t id;         /* never used again on this shard */
    struct conflate conflate;
    struct wheel_timer tick; /* in shard.ticks */
    uint32_t fence;          /* lane.pushed after the last tick */
    uint64_t top;            /* the greatest offset that was offered */
};

/* The lane of a topic for subscriptions of this grant; made when there is
 * none. Plain ones get the topic's own. */
struct lane *pace_lane(struct shard *s, struct topic *t,
                       const struct throttle_policy *policy,
                       struct throttle_grant grant);
/* A publication for the lane's subscribers, of which there are some. */
void pace_offer(struct pace *p, struct msg *m, uint64_t seq);
/* Without subscribers, pending publications and pass. */
void pace_free(struct pace *p);

static inline bool pace_conflates(const struct pace *p)
{
    return p->grant.mode != THROTTLE_ALL;
}

/* Everything a live sub of the lane is still to get, in order: what a running
 * pass has not brought it yet, what is pending, what waits for the tick. The
 * msgs are lent. */
void pace_each_unseen(struct lane *l, const struct sub *sub,
                      void (*fn)(void *arg, const struct lane_pub *pub),
                      void *arg);

#endif
