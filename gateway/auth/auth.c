#include "gateway/auth/auth.h"

#include "gateway/config.h"
#include "gateway/protocol/codes.h"
#include "gateway/rules.h"

void auth_ask(const struct config *cfg, const struct auth_question *q,
              void (*done)(void *arg, const struct auth_verdict *v), void *arg)
{
    struct auth_verdict v = {0};
    /* No key is configured that could verify a token: none is valid. */
    if (q->token.n)
        v.disconnect = DISCONNECT_INVALID_TOKEN;
    else if (!rules_anonymous(cfg))
        v.disconnect = DISCONNECT_BAD_REQUEST;
    done(arg, &v);
}
