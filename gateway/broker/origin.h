/* origin.h — where a message that a consumer brought stands in its stream.
 *
 *     its reply subject, $JS.ACK.<stream>.<consumer>.1.17.3.1700000000000.0
 *                            delivered --------------' |  | |             |
 *                            stream sequence ----------'  | |             |
 *                            consumer's sequence ---------' |             |
 *                            stored at, ns -----------------'   pending --'
 *     with a domain, $JS.ACK.<domain>.<account>.<stream>.… and one token more
 *
 * Why:    natsMsg_GetMetaData allocates six times a message.
 * Owns:   nothing. Thread: any. Uses: base/. */
#ifndef WEIR_GATEWAY_BROKER_ORIGIN_H
#define WEIR_GATEWAY_BROKER_ORIGIN_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct origin {
    struct str consumer; /* borrowed: the subject */
    uint64_t stream_seq;
    uint64_t consumer_seq;
    uint64_t stored_ns; /* since 1970 */
    uint64_t pending;   /* more of the consumer, when it was sent */
};

/* ERR_INVALID when the subject is none of these. */
int origin_parse(struct str reply, struct origin *out) MUST_USE;

#endif
