/* sender.h — a msg becomes a PUB.
 *
 *     {"a":1} on news:eu            PUB weir.pub.news.eu 7
 *     the same with tags, info      HPUB with Weir-Tags, Weir-Info
 *     urgent                        HPUB with Weir-Urgent: true
 *     with an idempotency key       Nats-Msg-Id: 128 bits of channel and key
 *     with a version                Weir-Version, Weir-Version-Epoch
 *     not for the stream            HPUB or PUB weir.live.news.eu
 *
 * Why:    the payload is the bare data, so that anything that speaks NATS can
 *         read it; headers cost, and only what has something to say has them.
 * Owns:   its scratch. Borrows: the map. Thread: one each: the broker's, a
 *         worker's.
 * Bounds: the server's max_payload; SUBJECT_MAX_BYTES.
 * Uses:   base/, hub/broker, subject, gateway/protocol/, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_SENDER_H
#define WEIR_GATEWAY_BROKER_SENDER_H

#include <nats/nats.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/broker/subject.h"
#include "hub/broker.h"

/* Of publications. */
#define SENDER_TAGS "Weir-Tags"
#define SENDER_INFO "Weir-Info"
#define SENDER_URGENT "Weir-Urgent"
/* Of publications with a version. */
#define SENDER_VERSION "Weir-Version"
#define SENDER_VERSION_EPOCH "Weir-Version-Epoch"
/* The stream's channel was emptied here. */
#define SENDER_REMOVED "Weir-Removed"
#define SENDER_ID "Nats-Msg-Id"

#define SENDER_ID_LEN 32
#define SENDER_EXPECTED "Nats-Expected-Last-Subject-Sequence"
/* What a claimed key says when its publication was sent; before, nothing. */
#define SENDER_DONE "done"

struct sender {
    const struct subject_map *map; /* borrowed */
    struct buf subject;            /* owned: scratch */
    struct buf scratch;            /* owned */
    struct log_limit log;
};

/* `s` is zeroed. */
void sender_init(struct sender *s, const struct subject_map *map);
void sender_fini(struct sender *s);

struct sender_order {
    const struct msg *msg;
    const struct publish_wish *wish; /* NULL: none */
    const char *reply;               /* where JetStream answers; NULL: none */
    bool is_stored;                  /* the wish is for a stream */
    bool is_live; /* past the stream, to the live subject of the space */
};

/* Make the message. 0 and *out, the caller's to destroy; else as below. */
int sender_make(struct sender *s, const struct sender_order *o, natsMsg **out)
    MUST_USE;
/* Hand it to nats.c. 0, or what the publisher is told: CODE 107 for a name
 * that is no channel or more than the server takes, else 100. Whether the bus
 * has it tells the next flush, or the answer. */
int sender_send(struct sender *s, natsConnection *nc,
                const struct sender_order *o) MUST_USE;
/* The publisher's code for what nats.c said; the rest is logged. */
int sender_code(struct sender *s, natsStatus rc);

/* The same key is the same id on every node, and another one's in another
 * channel. */
void sender_id(struct str channel, struct str key, char to[SENDER_ID_LEN + 1]);
/* Where a key without a stream is claimed, "weir.key.<id>" and a NUL. */
void sender_key_subject(const struct sender *s, const struct msg *m,
                        const struct publish_wish *w, struct buf *to);
/* Behind the publication itself: the key is not only claimed, it is used. */
void sender_confirm(struct sender *s, natsConnection *nc,
                    const struct publish_op *op);

#endif
