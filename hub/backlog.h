/* backlog.h — a client that cannot keep up, and what it is still to get.
 *
 *     socket full or bandwidth used up:   throttled publications go into the
 *                                         `late` of their subscription
 *     socket writable:                    one item or 4 KB a write, every
 *                                         waiting item once in a round
 *
 * Why:    an old value in a queue is worse than none; who keeps up has no
 *         backlog and pays nothing.
 * Owns:   meters; the lates are the subscriptions'.
 * Thread: the client's shard's. Bounds: late.h; one meter a namespace.
 * Uses:   throttle/meter, hub/late, hub/pace, hub/pass. */
#ifndef WEIR_HUB_BACKLOG_H
#define WEIR_HUB_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/client.h"
#include "hub/pace.h"
#include "hub/pass.h"

/* A client with throttled subscriptions is late for this long after its
 * socket was last full: it gets small writes, chosen at the last moment. */
#define BACKLOG_LATE_NS 10000000000u
/* The most one write of chosen values takes, unless one alone is larger. */
#define BACKLOG_WRITE_BYTES 4096

struct backlog;

/* A running pass has come to this subscription of a throttled lane. True:
 * the publications above sub->from are in the backlog now. False: the client
 * can have them. */
bool backlog_takes(struct client *c, struct sub *sub, struct pass *p);
/* It got a frame of a throttled lane: its bandwidth is charged, and it is
 * counted. */
void backlog_delivered(struct client *c, const struct pace *pace,
                       const struct frame *f);
/* One publication outside any pass, late or at once. May end the client. */
void backlog_give(struct client *c, struct sub *sub,
                  const struct lane_pub *pub);

/* An urgent publication has come to `sub`: everything of its order group that
 * the client is still to get, and that was published before it, goes into the
 * client's queue. True: so did the urgent one itself, in its place among
 * others. NULL: the urgent ones are those that the lane of `sub` has not
 * brought yet. May end the client. */
bool backlog_flush_group(struct client *c, struct sub *sub,
                         const struct lane_pub *urgent);

/* The socket just turned out to be full: what is queued and not urgent, nor
 * before something urgent, is taken back. */
void backlog_reclaim(struct client *c);
/* Queue what may go now, about BACKLOG_WRITE_BYTES or one item. False when
 * there was nothing. May end the client. */
bool backlog_fill(struct client *c);
/* Is there something that only waits for the socket? */
bool backlog_is_ready(const struct client *c);

/* Before a live subscription changes its lane: urgent ones that the old one has
 * not brought yet go now. False: that ended the client. */
bool backlog_flush_urgent(struct client *c, struct sub *sub);
/* A live subscription changes its lane; what it is still to get by the old
 * one it gets by the new one. The old one is the caller's to settle. May end
 * the client. */
void backlog_move_sub(struct client *c, struct sub *sub, struct lane *to);
/* It ends: what waits for it goes. But a client that gets each publication
 * once, however many subscriptions bring it, gets by another one what this one
 * was to bring: the caller takes it before, and gives it afterwards. */
struct backlog_rest;
struct backlog_rest *backlog_leave(struct client *c, struct sub *sub);
void backlog_give_rest(struct client *c, struct backlog_rest *rest);
/* The client ends; its subscriptions did already. */
void backlog_free(struct client *c);

/* Items and publications that wait; for tests and metrics. */
size_t backlog_count(const struct client *c);

#endif
