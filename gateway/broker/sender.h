/* sender.h — a msg becomes a PUB.
 *
 *     {"a":1} on news:eu            PUB weir.pub.news.eu 7
 *     the same with tags, info      HPUB with Weir-Tags, Weir-Info
 *     urgent                        HPUB with Weir-Urgent: true
 *
 * Why:    the payload is the bare data, so that anything that speaks NATS can
 *         read it; headers cost, and only what has something to say has them.
 * Owns:   its scratch. Borrows: the map. Thread: the broker's.
 * Bounds: the server's max_payload; SUBJECT_MAX_BYTES.
 * Uses:   base/, hub/msg, subject, gateway/protocol/, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_SENDER_H
#define WEIR_GATEWAY_BROKER_SENDER_H

#include <nats/nats.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/broker/subject.h"
#include "hub/msg.h"

/* Of publications. */
#define SENDER_TAGS "Weir-Tags"
#define SENDER_INFO "Weir-Info"
#define SENDER_URGENT "Weir-Urgent"

struct sender {
    const struct subject_map *map; /* borrowed */
    struct buf subject;            /* owned: scratch */
    struct buf header;             /* owned: scratch */
    struct log_limit log;
};

/* `s` is zeroed. */
void sender_init(struct sender *s, const struct subject_map *map);
void sender_fini(struct sender *s);

/* Hand m to nats.c. 0, or what the publisher is told: CODE 107 for a name
 * that is no channel or more than the server takes, else 100. Whether the bus
 * has it tells the next flush. */
int sender_send(struct sender *s, natsConnection *nc, const struct msg *m)
    MUST_USE;

#endif
