/* client.h — one connection as the hub sees it: a bounded queue of frames
 * and a list of subscriptions. A session (gateway) embeds it.
 *
 *     client_push ... client_push   mark it dirty, once
 *     end of the turn               one write of everything queued
 *     socket full                   choked: the rest waits in our queue, or
 *                                   in its backlog (backlog.h) if throttled
 *     queue full                    close 3008, nothing else is written
 *
 * Owns:   its queue, backlog and subs. Borrows: shard, transport and events tables.
 * Thread: its shard's. Bounds: hub_options.queue_max_bytes queued bytes,
 *         hub_options.channel_limit subscriptions.
 * Uses:   hub/frame, hub/topic, hub/transport. */
#ifndef WEIR_HUB_CLIENT_H
#define WEIR_HUB_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "hub/codec.h"
#include "hub/frame.h"
#include "hub/topic.h"
#include "hub/transport.h"

struct backlog;
struct shard;
struct user;

#define CLIENT_INLINE_FRAMES 2

/* Names a client in letters: a late answer finds nobody or the right one. */
struct client_ref {
    uint32_t slot;
    uint32_t gen;
};

/* Something to free at the end of the turn, when no callback is left. */
struct grave {
    SLIST_ENTRY(grave) link; /* linked: shard.graves */
    void (*bury)(struct grave *g);
};

/* What client_push touches comes first: one cache line a subscriber. */
struct client {
    struct shard *shard; /* borrowed */
    uint8_t encoding;    /* enum encoding */
    bool choked;         /* the transport holds bytes the kernel did not take */
    bool dirty;          /* linked in shard.dirty */
    bool closing;        /* say goodbye once the queue is out */
    bool closed;    /* goodbye said: nothing is queued or written any more */
    bool corked;    /* queue but do not write: something must go first */
    bool several;   /* a publication may match several of its subscriptions but
                   * must come once (SSE) */
    bool connected; /* counted as a client; found by user */
    bool reclaim;   /* the socket was full: backlog_reclaim is due */
    bool marks;     /* each publication says where the stream stands (SSE) */
    bool throttled; /* has or had a subscription in a throttled lane */
    uint32_t queue_head;
    uint32_t queue_count;
    uint32_t queue_cap;
    uint32_t queued_bytes;
    struct frame **queue;    /* shared frames; the array owned unless inline */
    struct backlog *backlog; /* owned; NULL: it keeps up, or is not throttled */
    TAILQ_ENTRY(client) dirty_link;
    struct frame *queue_inline[CLIENT_INLINE_FRAMES];
    const struct transport *transport;   /* borrowed: constant */
    const struct session_events *events; /* borrowed: constant */
    struct client_ref ref;
    uint32_t sub_count;
    uint32_t close_code;
    struct str close_reason; /* borrowed: constant text or the session's */
    TAILQ_HEAD(, sub) subs;
    struct user *user;            /* borrowed: the shard's table; NULL until
                                   * client_identify */
    LIST_ENTRY(client) user_link; /* linked: user.clients */
    uint8_t id[16];               /* UUID */
};

/* Give a zeroed client its place on a shard. */
void client_open(struct client *c, struct shard *s, enum encoding encoding,
                 const struct transport *transport,
                 const struct session_events *events);
/* Connect is done: count it and index it by user ("" is anonymous). */
void client_identify(struct client *c, struct str user);
struct str client_user(const struct client *c);

/* Queue a frame (a reference of its own is taken). Over the bound the client
 * is closed with 3008. No effect once closing. */
void client_push(struct client *c, struct frame *f);
/* The same for bytes that nobody shares. */
void client_push_bytes(struct client *c, struct str bytes);
/* Write nothing until client_uncork, which puts `first` before everything
 * queued meanwhile: the connect reply, a response head. */
void client_cork(struct client *c);
void client_uncork(struct client *c, struct str first);
/* The socket takes bytes again. */
void client_writable(struct client *c);
/* It has something to write at the end of the turn. */
void client_mark_dirty(struct client *c);
/* It is having its turn. */
void client_unmark_dirty(struct client *c);

/* End this connection: subscriptions go now, what is queued is written first
 * (not for 3008), then transport->close. `reason` must outlive the client.
 * The first call counts; later ones are ignored. */
void client_close(struct client *c, uint32_t code, struct str reason);
/* The socket is gone: unlink everything. Afterwards the session buries it. */
void client_gone(struct client *c);

/* Write what is queued before the turn's end, as far as the socket takes it. */
void client_write(struct client *c);
/* The shard's end of a turn: write what is queued. */
void client_flush(struct client *c);

/* NULL if it left. */
struct client *client_find(struct shard *s, struct client_ref ref);
struct sub *client_find_sub(struct client *c, struct str channel);

#endif
