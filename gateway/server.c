#include "gateway/server.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/api/pages.h"
#include "gateway/broker/nats.h"
#include "gateway/loop.h"
#include "gateway/protocol/encode.h"
#include "gateway/transport/sse.h"
#include "gateway/transport/ws.h"

/* Descriptors that are not connections: listeners, loops, logs, the bus. */
#define RESERVED_FDS 24
#define FDS_PER_SHARD 12
/* lws has tables of 16 bytes for each possible descriptor and shard: an
 * "unlimited" limit must not cost gigabytes. */
#define MAX_FDS 1048576
/* A node that could serve fewer is set up wrongly. */
#define MIN_CONNECTIONS 16

static unsigned usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == -1)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > HOME_MAX_SHARDS ? HOME_MAX_SHARDS : (unsigned)n;
}

/* Sockets the descriptor limit leaves for connections; ERR_SYSTEM when it is
 * too low for the shards. */
static int connection_limit(unsigned shards, char *err, size_t errlen)
{
    struct rlimit lim;
    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    struct rlimit want = lim;
    want.rlim_cur = lim.rlim_max < MAX_FDS ? lim.rlim_max : MAX_FDS;
    if (want.rlim_cur != lim.rlim_cur && setrlimit(RLIMIT_NOFILE, &want) == 0)
        lim = want;
    int64_t fds = lim.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)lim.rlim_cur;
    int64_t reserved = RESERVED_FDS + (int64_t)shards * FDS_PER_SHARD;
    if (fds >= reserved + MIN_CONNECTIONS)
        return (int)(fds - reserved);
    snprintf(err, errlen,
             "the file descriptor limit (ulimit -n) is %lld; %u shards need at "
             "least %lld",
             (long long)fds, shards, (long long)(reserved + MIN_CONNECTIONS));
    return ERR_SYSTEM;
}

static void identify_node(struct app *app)
{
    uint8_t id[16];
    rand_uuid_init(id);
    rand_uuid_format(id, app->node_id);
    app->node_id[RAND_UUID_LEN] = '\0';
}

/* Once the port is known. */
static void name_node(struct app *app)
{
    char host[128] = "weir";
    gethostname(host, sizeof(host) - 1);
    if (app->config->node.name[0])
        snprintf(app->node_name, sizeof(app->node_name), "%s",
                 app->config->node.name);
    else
        snprintf(app->node_name, sizeof(app->node_name), "%s_%u", host,
                 app->port);
}

void server_hub_options(const struct config *cfg, unsigned shards,
                        struct hub_options *out)
{
    *out = (struct hub_options){
        .max_items = (uint32_t)cfg->throttle.max_items,
        .last_max_bytes = (size_t)cfg->throttle.max_bytes,
        .idle_ttl_ms = (uint64_t)cfg->throttle.idle_ttl_ms,
        .state_max_bytes = (size_t)cfg->channel.max_publication_size,
        .shards = shards,
        .inflight_bytes = cfg->hub.inflight_max_size,
        .slice = (uint32_t)cfg->hub.slice,
        .queue_max_bytes = (uint32_t)cfg->client.queue_max_size,
        .channel_limit = (uint32_t)cfg->client.channel_limit,
        .history_max_bytes = (size_t)cfg->history.max_bytes,
        .history_idle_ttl_ms = (uint64_t)cfg->history.idle_ttl_ms,
        .heal_spread_ms = (uint64_t)cfg->history.heal_spread_ms,
        .max_keys = (size_t)cfg->history.max_keys,
        .check_ms = (uint64_t)cfg->client.channel_position_check_delay_ms,
        .recovery_limit = (uint32_t)cfg->client.recovery_max_publication_limit,
        .history_limit = (uint32_t)cfg->client.history_max_publication_limit,
        .codec = &encode_codec,
    };
}

static int make_loops(struct app *app, unsigned count, const struct ws_app *ws,
                      char *err, size_t errlen)
{
    struct hub_options o;
    server_hub_options(app->config, count, &o);
    app->loops = mem_zalloc(count * sizeof(*app->loops));
    for (unsigned i = 0; i < count; i++)
        app->loops[i] = mem_zalloc(sizeof(struct loop));
    hub_init(&app->hub, &o, loop_wake, (void *const *)app->loops);
    int rc = 0;
    for (unsigned i = 0; i < count; i++) {
        app->loops[i]->shard = app->hub.shards[i];
        app->hub.shards[i]->loop = app->loops[i];
        if (rc == 0)
            rc = loop_init(app->loops[i], app, ws, err, errlen);
    }
    return rc;
}

static int start_parts(struct app *app, const struct ws_app *ws, char *err,
                       size_t errlen)
{
    const struct config *cfg = app->config;
    unsigned count = cfg->shards ? (unsigned)cfg->shards : usable_cpus();
    int rc = connection_limit(count, err, errlen);
    if (rc < 0)
        return rc;
    app->connection_limit = rc;
    rc = 0;
    if (cfg->web.enabled)
        rc = pages_load(cfg->web.root, &app->pages, err, errlen);
    if (rc == 0)
        rc = make_loops(app, count, ws, err, errlen);
    app->hub.broker.node = app->node_id;
    app->hub.broker.asked = sse_control_asked;
    app->hub.broker.asked_arg = app;
    if (rc == 0 && cfg->nats.url[0])
        rc = nats_broker_start(cfg, &app->hub, &app->nats, err, errlen);
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = loop_listen(app->loops[i], err, errlen);
    return rc;
}

/* No thread of a loop runs (any more). A loop that lws refused was never
 * whole: only its memory is given back, the process ends anyway. */
static void take_down(struct app *app)
{
    if (app->nats)
        nats_broker_stop(app->nats);
    app->hub.broker.ops = NULL;
    for (unsigned i = 0; i < app->hub.count; i++) {
        if (app->loops[i]->lws)
            loop_fini(app->loops[i]);
    }
    hub_fini(&app->hub);
    for (unsigned i = 0; i < app->hub.count; i++)
        loop_free(app->loops[i]);
    free(app->loops);
    pages_free(app->pages);
    config_free((struct config *)app->config);
    free(app);
}

int server_start(struct config *cfg, const struct ws_app *ws, struct app **out,
                 char *err, size_t errlen)
{
    struct app *app = mem_zalloc(sizeof(*app));
    app->config = cfg;
    app->port = (uint16_t)cfg->http_server.port;
    app->started_ns = clock_now_ns();
    identify_node(app);
    int rc = start_parts(app, ws, err, errlen);
    if (rc < 0) {
        take_down(app);
        return rc;
    }
    name_node(app);
    for (unsigned i = 0; i < app->hub.count; i++)
        loop_start(app->loops[i]);
    log_info(
        "listen",
        "address=%s port=%u shards=%u connections_max=%d broker=%s node=%s",
        log_quote(str_of(cfg->http_server.address)), app->port, app->hub.count,
        app->connection_limit, app->nats ? "nats" : "memory", app->node_id);
    *out = app;
    return 0;
}

void server_stop(struct app *app)
{
    atomic_store(&app->draining, true);
    for (unsigned i = 0; i < app->hub.count; i++)
        loop_stop(app->loops[i]);
    for (unsigned i = 0; i < app->hub.count; i++)
        loop_join(app->loops[i]);
    take_down(app);
}
