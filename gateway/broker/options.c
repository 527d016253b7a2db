#include "gateway/broker/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Of nats.c's, each way. */
#define IO_BUFFER_BYTES (64 * 1024)
/* Publications are refused while NATS is away; this is for what was being
 * sent in that moment. */
#define RECONNECT_BUFFER_BYTES (64 * 1024)
#define WRITE_DEADLINE_MS 1000
#define PINGS_OUT 2

struct str options_bare_url(const char *url, char *to, size_t size)
{
    const char *at = strrchr(url, '@');
    const char *scheme = strstr(url, "://");
    int n;
    if (!at || (scheme && at < scheme))
        n = snprintf(to, size, "%s", url);
    else
        n = snprintf(to, size, "%.*s%s", scheme ? (int)(scheme + 3 - url) : 0,
                     url, at + 1);
    return str_n(to, n < (int)size ? (size_t)n : size - 1);
}

/* nats.url may name several servers, separated by commas. */
static natsStatus set_servers(natsOptions *o, const char *urls)
{
    const char *servers[OPTIONS_SERVERS_MAX];
    char *copy = mem_strndup(urls, strlen(urls));
    bool tls = false;
    int n = 0;
    char *next = copy;
    char *one;
    while (n < OPTIONS_SERVERS_MAX && (one = strsep(&next, ","))) {
        tls |= strncmp(one, "tls://", 6) == 0;
        if (*one)
            servers[n++] = one;
    }
    natsStatus s = natsOptions_SetServers(o, servers, n);
    if (s == NATS_OK && tls)
        s = natsOptions_SetSecure(o, true);
    free(copy);
    return s;
}

/* nats.c puts the name into its JSON as it is. */
static const char *name_for(const struct config *cfg)
{
    const char *name = cfg->node.name;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\')
            return "weir";
    return *name ? name : "weir";
}

static natsStatus set_identity(natsOptions *o, const struct config *cfg)
{
    natsStatus s = natsOptions_SetName(o, name_for(cfg));
    if (s == NATS_OK && *cfg->nats.user)
        s = natsOptions_SetUserInfo(o, cfg->nats.user, cfg->nats.password);
    if (s == NATS_OK && *cfg->nats.token)
        s = natsOptions_SetToken(o, cfg->nats.token);
    if (s == NATS_OK && *cfg->nats.credentials)
        s = natsOptions_SetUserCredentialsFromFiles(o, cfg->nats.credentials,
                                                    NULL);
    return s;
}

static natsStatus set_times(natsOptions *o, const struct config *cfg)
{
    int64_t wait = cfg->nats.reconnect_wait_ms;
    natsStatus s = natsOptions_SetTimeout(o, cfg->nats.connect_timeout_ms);
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(o, -1);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectWait(o, wait);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectJitter(o, wait, 2 * wait);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(o, cfg->nats.ping_interval_ms);
    if (s == NATS_OK)
        s = natsOptions_SetMaxPingsOut(o, PINGS_OUT);
    if (s == NATS_OK)
        s = natsOptions_SetWriteDeadline(o, WRITE_DEADLINE_MS);
    return s;
}

static natsStatus set_buffers(natsOptions *o)
{
    natsStatus s = natsOptions_SetIOBufSize(o, IO_BUFFER_BYTES);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectBufSize(o, RECONNECT_BUFFER_BYTES);
    if (s == NATS_OK) /* what this node publishes comes back by its SUBs */
        s = natsOptions_SetNoEcho(o, false);
    /* One delivery thread for all subscriptions: it keeps the order across
     * them, and ten thousand of them need no thread each. */
    if (s == NATS_OK)
        s = natsOptions_UseGlobalMessageDelivery(o, true);
    if (s == NATS_OK)
        s = nats_SetMessageDeliveryPoolSize(1);
    return s;
}

natsStatus options_make(const struct config *cfg, natsOptions **out)
{
    natsStatus s = natsOptions_Create(out);
    if (s == NATS_OK)
        s = set_servers(*out, cfg->nats.url);
    if (s == NATS_OK)
        s = set_identity(*out, cfg);
    if (s == NATS_OK)
        s = set_times(*out, cfg);
    if (s == NATS_OK)
        s = set_buffers(*out);
    return s;
}
