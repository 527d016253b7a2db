/* auth.h — who is it that connects?
 * Why:    the answer may have to be asked for elsewhere (key sets, a backend),
 *         so the question has a callback; today's answers come at once.
 * Thread: the shard's. Uses: gateway/config, protocol/codes. */
#ifndef WEIR_GATEWAY_AUTH_AUTH_H
#define WEIR_GATEWAY_AUTH_AUTH_H

#include <stdint.h>

#include "base/str.h"

struct config;

struct auth_question {
    struct str token; /* as in the connect request; empty without */
};

struct auth_verdict {
    uint32_t disconnect; /* not 0: close with this code */
    uint32_t error;      /* not 0: answer this error */
    struct str user;     /* "" is anonymous; borrowed during the call */
};

/* done(arg, verdict) runs on the caller's thread, inside the call or later.
 * Who asks keeps arg valid until then. */
void auth_ask(const struct config *cfg, const struct auth_question *q,
              void (*done)(void *arg, const struct auth_verdict *v), void *arg);

#endif
