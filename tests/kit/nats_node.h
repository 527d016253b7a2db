/* nats_node.h — a node on the NATS broker without sockets: the fake kit's
 * shards, turned by the test's thread while nats.c's threads and the broker's
 * post to them, and a nats-server with a peer beside it.
 *
 *     namespaces: none, news, all (patterns), quotes (market.quotes), plant
 *     (site.3, patterns, non_json string), objects (json_object), keys
 *     (throttle.key /k), bytes (binary); publications of at most 1,000 bytes
 *
 * Owns:   all of it. Thread: the test's. Bounds: NATS_PATIENCE_MS.
 * Uses:   tests/kit/fake, tests/kit/nats_peer, gateway/broker/nats. */
#ifndef WEIR_TESTS_KIT_NATS_NODE_H
#define WEIR_TESTS_KIT_NATS_NODE_H

#include <unistd.h>

#include "base/clock.h"
#include "gateway/broker/nats.h"
#include "gateway/config.h"
#include "tests/kit/fake.h"
#include "tests/kit/nats_peer.h"

/* Two shards; lines like the fake kit's, followed by |tags|info if any, and by
 * |urgent, |item (not the channel's own) and |keyless of those that are, and
 * by |@offset of those that have a place, <prev if it is known. */
extern const struct hub_options nats_node_hub_options;

#define NATS_NODE_ID "7d444840-9dc0-4dd1-b245-5ffdce74fad2"

struct nats_node {
    struct nats_server server;
    struct nats_peer peer;
    struct config *cfg;
    struct fake_node hub;
    struct nats_broker *broker;
    int64_t inflight_bytes; /* 0: plenty */
    /* Of the configuration, before the broker sees it; NULL: none. */
    void (*adjust)(struct config *cfg);
    /* Of the broker, with this struct; NULL: no other node is answered. */
    void (*asked)(void *arg, struct node_request *r);
    unsigned sent; /* publishes under way and done */
    unsigned answered;
    unsigned ok;
    unsigned fed; /* acquires answered */
    int last_code;
    struct position last_position;
    struct feed_op last_feed; /* its answer */
};

/* Set-up and tear-down for cmocka: nothing running yet, or all with a grace
 * of 50 ms; stop what runs. */
int nats_node_new(void **state);
int nats_node_running(void **state);
int nats_node_free(void **state);

/* The same with JetStream, and nothing running. */
int nats_node_stored(void **state);
/* Of the node's configuration; not const: for n->adjust. */
struct namespace_options *nats_node_namespace(struct config *cfg,
                                              const char *name);
/* It has history from now on. */
void nats_node_set_history(struct config *cfg, const char *name, uint32_t size,
                           uint64_t ttl_ms);

/* `nats`: more members of the section, each with a comma before it. */
struct config *nats_node_config(int port, const char *nats);
void nats_node_start(struct nats_node *n, const char *nats);
/* ERR_INVALID with a message in err, or 0. */
int nats_node_try(struct nats_node *n, const char *nats, char *err,
                  size_t errlen);
struct nats_status nats_node_status(struct nats_node *n);

/* Turn the shards until `cond` holds. */
#define NATS_NODE_PUMP(n, cond)                                    \
    do {                                                           \
        uint64_t end_ns =                                          \
            clock_now_ns() + NATS_PATIENCE_MS * UINT64_C(1000000); \
        for (;;) {                                                 \
            fake_settle(&(n)->hub);                                \
            if (cond)                                              \
                break;                                             \
            if (clock_now_ns() > end_ns)                           \
                CHECK(!"came: " #cond);                            \
            usleep(1000);                                          \
        }                                                          \
    } while (0)

/* Answers are counted in the node; never inside the call. */
void nats_node_publish_parts(struct nats_node *n, unsigned shard,
                             struct msg_parts parts);
void nats_node_publish_wish(struct nats_node *n, unsigned shard,
                            struct msg_parts parts, struct publish_wish *wish);
/* NULL is "". */
struct publish_wish *nats_node_wish(const char *key, uint64_t version,
                                    const char *epoch);
void nats_node_publish(struct nats_node *n, unsigned shard, const char *channel,
                       const char *data);
/* Publish from shard 0, wait for the answer, and return it. */
int nats_node_publish_code(struct nats_node *n, const char *channel,
                           const char *data);
/* The same again and again while it is 100. */
void nats_node_publish_until_ok(struct nats_node *n, const char *channel,
                                const char *data);

/* A client with one answered subscription. */
struct fake_client *nats_node_subscriber(struct nats_node *n, unsigned shard,
                                         const char *topic);
size_t nats_node_unread(const struct fake_client *f);
/* Exactly these lines come, and nothing before or between. */
void nats_node_expect(struct nats_node *n, struct fake_client *f,
                      const char *lines);

/* Acquire a feed as its home shard would; counted in n->fed. */
void nats_node_acquire(struct nats_node *n, const char *channel);

#endif
