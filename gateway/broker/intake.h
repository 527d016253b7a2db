/* intake.h — a message of the bus becomes a msg.
 *
 *     MSG weir.pub.news.eu 7\r\n{"a":1}
 *       -> channel "news:eu", size, format, headers, item -> msg
 *
 * Why:    what is delivered and what is read from a stream goes through the
 *         same checks.
 * Owns:   its scratch. Borrows: the config.
 * Thread: one each: the delivery thread's, a worker's; counters any.
 * Bounds: channel.max_publication_size, INTAKE_HEADER_MAX_BYTES, the budget;
 *         what is over is dropped and counted.
 * Uses:   base/, hub/msg, gateway/protocol/json, gateway/publish, subject,
 *         nats.c. */
#ifndef WEIR_GATEWAY_BROKER_INTAKE_H
#define WEIR_GATEWAY_BROKER_INTAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <nats/nats.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "gateway/broker/subject.h"
#include "hub/msg.h"

#define INTAKE_HEADER_MAX_BYTES 16384

struct intake {
    const struct config *cfg; /* borrowed */
    struct buf channel;       /* owned: scratch */
    struct buf data;          /* owned: scratch */
    struct buf item;          /* owned: scratch */
    struct log_limit unmapped_log;
    struct log_limit header_log;
    _Atomic uint64_t unmapped;
    _Atomic uint64_t not_json;
    _Atomic uint64_t too_big;
};

/* `in` is zeroed. */
void intake_init(struct intake *in, const struct config *cfg);
void intake_fini(struct intake *in);

/* All of the message goes into *parts, except its place in a stream; `parts`
 * borrows from `m` and from the scratch. ERR_INVALID when it is dropped (and
 * counted). */
int intake_read(struct intake *in, const struct subject_space *space,
                natsMsg *m, struct msg_parts *parts) MUST_USE;

/* A header that is a number without sign; 0 when it is none. */
uint64_t intake_number(natsMsg *m, const char *header);

#endif
