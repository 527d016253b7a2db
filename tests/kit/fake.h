/* fake.h — a hub without sockets: clients whose wire is a buffer, a codec of
 * plain lines, and a node whose shards are turned by hand.
 *
 *     S<topic>|<error>                  answer to a subscription; behind it
 *                                       @<offset> where it has a position, and
 *                                       +recovered, +foreign or +too_old
 *     L<topic>|stream                   it missed something, and ended; or |gap
 *     P<topic>|<channel>|<data>         a publication; then |n=<n> and
 *                                       |lost=<n> where they are told,
 *                                       |#<offset> if it has one, and
 *                                       |e=<encoding> if fake_tells_encoding
 *
 * Why:    every hub test says what comes and when; nothing sleeps.
 * Owns:   a fake client owns its wire; the hub buries it.
 * Thread: a client belongs to its shard's thread, like a real one.
 * Uses:   hub/. */
#ifndef WEIR_TESTS_KIT_FAKE_H
#define WEIR_TESTS_KIT_FAKE_H

#include "base/rand.h"
#include "hub/fanout.h"
#include "hub/hub.h"

extern const struct codec fake_codec;
/* What a client gets says which encoding it was made for. A test that sets it
 * takes it back. */
extern bool fake_tells_encoding;

struct fake_client {
    struct client client;
    struct grave grave;
    struct buf wire;              /* owned: everything written so far */
    size_t read_bytes;            /* of the wire, by fake_next */
    enum write_result next_write; /* what the socket says from now on */
    bool mute;                    /* writes are counted and not kept */
    unsigned writes;
    unsigned answers;
    uint32_t last_error;
    unsigned closings;   /* calls of events->closing */
    unsigned closes;     /* calls of transport->close */
    unsigned keep_lates; /* calls of transport->keep_late */
    uint32_t close_code;
    uint32_t keep_back; /* of a snapshot: this many are not told at once */
    uint32_t told;      /* of the last answer's snapshot, behind its S line */
    uint32_t untold;
    bool goes_on; /* over a gap of the bus, as event streams do */
    /* Optional: runs first when a subscription is answered. */
    void (*on_answer)(struct fake_client *f, struct sub *s, uint32_t error);
    /* Optional: runs first when it is told of a gap. */
    void (*on_gap)(struct fake_client *f, struct sub *s);
    void *arg; /* the test's */
};

/* Opens a client; fake_gone ends it. */
struct fake_client *fake_open(struct shard *s, enum encoding encoding);
/* The socket is gone; the memory goes at the end of the turn. */
void fake_gone(struct fake_client *f);
struct fake_client *fake_of(struct client *c);

/* One line of the wire, split; false when all were read. The slices are valid
 * until the next write. */
struct fake_line {
    char kind;
    struct str topic;
    struct str channel; /* of an S line: the error */
    struct str data;
};
bool fake_next(struct fake_client *f, struct fake_line *line);
/* The unread lines are exactly these; CHECKs and reads them. */
void fake_expect(struct fake_client *f, const char *lines);

/* hub_subscribe, pattern or not by the name; its result. */
int fake_subscribe(struct fake_client *f, const char *topic);
void fake_unsubscribe(struct fake_client *f, const char *topic);
/* The same, throttled. */
int fake_subscribe_as(struct fake_client *f, const char *topic,
                      const struct throttle_policy *policy,
                      const struct throttle_request *request);
/* The same, with a wish for a position. */
int fake_subscribe_wish(struct fake_client *f, const char *topic,
                        const struct history_policy *history,
                        const struct position_wish *wish);
/* A publication of an item (0: the channel's) under a policy. */
struct fake_publication {
    const char *channel;
    const char *data;
    uint64_t item;
    const struct throttle_policy *policy;
    bool urgent;
    bool is_binary;
};
bool fake_publish_as(struct shard *from, const struct fake_publication *p);
/* Publish JSON from a shard; false when the budget refuses. */
bool fake_publish(struct shard *from, const char *channel, const char *data);

struct fake_node {
    struct hub hub;
    _Atomic bool woken[HOME_MAX_SHARDS];
    bool more[HOME_MAX_SHARDS]; /* its last turn asked to come back at once */
};

/* Shards, a slice of 3, queues of 1 MiB; options may be NULL. */
void fake_node_init(struct fake_node *n, unsigned shards,
                    const struct hub_options *options);
/* All clients must be gone; CHECKs that nothing is left. */
void fake_node_fini(struct fake_node *n);
/* One turn of one shard. */
void fake_turn(struct fake_node *n, unsigned shard);
/* Is there a shard that would turn by itself? */
bool fake_is_idle(struct fake_node *n);
/* One turn of a random shard that would turn; false when idle. */
bool fake_step(struct fake_node *n, struct rand *r);
/* Turn until idle, then CHECK every invariant. */
void fake_settle(struct fake_node *n);
void fake_check(struct fake_node *n);

#endif
