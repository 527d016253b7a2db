/* puback.h — what JetStream says about a publication it was given.
 *
 *     {"stream":"WEIR_H_news","seq":17}
 *     {"stream":"WEIR_H_news","seq":12,"duplicate":true}
 *     {"error":{"code":400,"err_code":10071,"description":"…"},…}
 *
 * Why:    acknowledgements of the data connection and of the workers are read
 *         in one place.
 * Owns:   nothing. Thread: any. Bounds: the JSON scanner's.
 * Uses:   gateway/protocol/json. */
#ifndef WEIR_GATEWAY_BROKER_PUBACK_H
#define WEIR_GATEWAY_BROKER_PUBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define PUBACK_WRONG_LAST_SEQUENCE 10071
#define PUBACK_MESSAGE_TOO_BIG 10054

struct puback {
    uint64_t seq;   /* 0 with an error */
    uint32_t error; /* the server's err_code; 0: it is stored */
    bool duplicate;
};

/* ERR_INVALID for what is no acknowledgement. */
int puback_parse(struct str text, struct puback *out) MUST_USE;

#endif
