/* shard.h — one thread's part of the hub: its clients, topics and timers.
 *
 *     the turn:  mailbox -> (sockets) -> timers -> fan-out -> flush -> graves
 *
 * The event loop around it belongs to gateway: it serves the sockets, then
 * calls shard_turn once, which does everything that was marked meanwhile.
 *
 * Why:    work is marked while events are handled and done once at the end.
 * Owns:   everything in it. Thread: its own; others only post to mailbox.
 * Bounds: those of clients and of the node's msg budget.
 * Uses:   base/, the rest of hub/. */
#ifndef WEIR_HUB_SHARD_H
#define WEIR_HUB_SHARD_H

#include "base/mailbox.h"
#include "base/rand.h"
#include "base/wheel.h"
#include "hub/client.h"
#include "hub/home.h"
#include "hub/pass.h"
#include "hub/stats.h"
#include "hub/topic.h"

struct hub;

/* Every connection of one user id on this shard. */
struct user {
    UT_hash_handle hh; /* linked: shard.users */
    LIST_HEAD(, client) clients;
    uint32_t count;
    uint32_t len;
    char name[];
};

struct client_slot {
    struct client *client; /* borrowed; NULL: free */
    uint32_t gen;
    uint32_t next_free;
};

struct shard {
    struct hub *hub; /* borrowed */
    unsigned index;
    void *loop; /* borrowed: the gateway's event loop around this shard */
    struct mailbox mailbox;
    struct wheel wheel;
    struct wheel ticks; /* of rate classes: finer */
    struct topic_index topics;
    struct home home; /* channels whose home shard this is */
    struct rand rand;
    bool draining;          /* letters taken from the mailbox are being run */
    uint64_t now_ns;        /* of this turn; refreshed by shard_now */
    uint64_t busy_since_ns; /* 0: nothing was done in this turn yet */

    struct client_slot *slots; /* owned */
    uint32_t slot_count;
    uint32_t slot_free; /* head of the free list; UINT32_MAX: none */
    uint32_t client_count;
    uint32_t connected_count;
    uint32_t sub_count;
    uint64_t queued_bytes; /* of all clients */
    struct user *users;    /* hash by name */
    uint32_t next_sub_gen;
    uint64_t next_pace_id;
    uint64_t waiting; /* items and publications in clients' backlogs */

    uint64_t delivered;         /* numbers the publications that came here */
    TAILQ_HEAD(, lane) busy;    /* lanes with publications to fan out */
    TAILQ_HEAD(, client) dirty; /* clients with frames to write */
    uint32_t dirty_count;
    SLIST_HEAD(, grave) graves;

    struct buf encode;          /* owned: scratch of the encoder */
    struct buf gather;          /* owned: scratch of the flush */
    struct frame *gathered[64]; /* shared: what scratch `gather` holds */
    uint32_t gathered_count;

    struct pass_cache cache; /* of values for slow clients */

    struct stats stats;
};

/* `wake(arg)` must make the shard's loop call shard_turn; any thread. */
struct shard *shard_new(struct hub *hub, unsigned index, void (*wake)(void *),
                        void *arg);
/* Run the letters in the mailbox and what follows from them without a turn;
 * false if there was nothing. For the end, when no loop runs any more. */
bool shard_drain(struct shard *s);
/* All clients must be gone and the mailbox drained. */
void shard_free(struct shard *s);

/* One turn. Returns how long the loop may sleep: 0 to come back at once, -1
 * for ever, else milliseconds. */
int64_t shard_turn(struct shard *s);
/* The same answer again, after more was done outside the turn. */
int64_t shard_sleep_ms(const struct shard *s);
/* To be called when the loop starts to handle an event: starts the clock of
 * the turn histogram and refreshes now_ns. */
void shard_busy(struct shard *s);
static inline uint64_t shard_now_ms(const struct shard *s)
{
    return s->now_ns / 1000000u;
}

/* Free `g` at the end of this turn. */
void shard_bury(struct shard *s, struct grave *g);

/* Post to another shard, or run at once when `to` is `from`: letters between
 * two shards keep their order either way. */
void shard_send(struct shard *from, struct shard *to, struct letter *l);

/* Users of this shard; NULL if the user has no connection here. */
struct user *shard_find_user(struct shard *s, struct str name);

/* Asserts every invariant; for tests. */
void shard_check(const struct shard *s);

#endif
