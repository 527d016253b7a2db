#include "gateway/broker/side.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/broker/options.h"
#include "gateway/broker/stream.h"

#define CLOSE_LOOK_US 1000

void side_init(struct side *s, const struct config *cfg, const char *node)
{
    struct buf b = BUF_INIT;
    size_t n;
    s->cfg = cfg;
    buf_printf(&b, "%s.node.%s.box%c", cfg->nats.prefix, node, 0);
    s->inbox = buf_take(&b, &n);
}

void side_fini(struct side *s)
{
    natsOptions_Destroy(s->options);
    s->options = NULL;
    free(s->inbox);
    s->inbox = NULL;
}

/* Without one nats.c prints to standard error. What matters is told by the
 * requests themselves. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus why,
                     void *closure)
{
    (void)nc;
    (void)sub;
    (void)why;
    (void)closure;
}

static natsStatus make_options(struct side *s)
{
    natsStatus rc = options_make(s->cfg, &s->options);
    if (rc == NATS_OK)
        rc = natsOptions_SetSendAsap(s->options, true);
    if (rc == NATS_OK)
        rc = natsOptions_SetCustomInboxPrefix(s->options, s->inbox);
    if (rc == NATS_OK)
        rc = natsOptions_SetErrorHandler(s->options, on_error, NULL);
    return rc;
}

static bool is_connected(const struct side_link *l)
{
    return natsConnection_Status(l->nc) == NATS_CONN_STATUS_CONNECTED;
}

static void free_link(struct side_link *l)
{
    jsCtx_Destroy(l->js);
    natsConnection_Destroy(l->nc);
    free(l);
}

static struct side_link *make_link(struct side *s)
{
    struct side_link *l = mem_zalloc(sizeof(*l));
    jsOptions o;
    jsOptions_Init(&o);
    o.Wait = STREAM_WAIT_MS;
    l->generation = ++s->generation;
    if (natsConnection_Connect(&l->nc, s->options) == NATS_OK &&
        natsConnection_JetStream(&l->js, l->nc, &o) == NATS_OK)
        return l;
    free_link(l);
    return NULL;
}

int side_connect(struct side *s)
{
    struct side_link *l = atomic_load(&s->link);
    if (l && natsConnection_IsClosed(l->nc)) {
        side_close(s);
        l = NULL;
    }
    if (!s->options && make_options(s) != NATS_OK) {
        natsOptions_Destroy(s->options);
        s->options = NULL;
        return ERR_AGAIN;
    }
    if (!l) {
        l = make_link(s);
        atomic_store(&s->link, l);
    }
    return l && is_connected(l) ? 0 : ERR_AGAIN;
}

void side_close(struct side *s)
{
    struct side_link *l = atomic_exchange(&s->link, NULL);
    while (atomic_load(&s->users))
        usleep(CLOSE_LOOK_US);
    if (l)
        free_link(l);
}

struct side_link *side_enter(struct side *s)
{
    atomic_fetch_add(&s->users, 1);
    struct side_link *l = atomic_load(&s->link);
    if (l && is_connected(l))
        return l;
    side_leave(s);
    return NULL;
}

void side_leave(struct side *s)
{
    atomic_fetch_sub(&s->users, 1);
}
