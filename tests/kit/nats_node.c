#include "tests/kit/nats_node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* The kit's lines, with tags and info where there are any. */
static void encode(struct buf *to, enum encoding encoding, struct str topic,
                   bool is_pattern, const struct codec_pub *pubs, size_t count)
{
    (void)encoding;
    (void)is_pattern;
    for (size_t i = 0; i < count; i++) {
        const struct msg *m = pubs[i].msg;
        struct str c = msg_channel(m);
        struct str d = msg_data(m);
        struct str t = msg_tags(m);
        struct str f = msg_info(m);
        buf_printf(to, "P%.*s|%.*s|%.*s", STR_ARG(topic), STR_ARG(c),
                   STR_ARG(d));
        if (t.n || f.n)
            buf_printf(to, "|%.*s|%.*s", STR_ARG(t), STR_ARG(f));
        if (m->urgent)
            buf_lit(to, "|urgent");
        if (m->item != msg_item_hash(c, STR_LIT("")))
            buf_lit(to, "|item");
        if (m->keyless)
            buf_lit(to, "|keyless");
        if (m->offset)
            buf_printf(to, "|@%llu", (unsigned long long)m->offset);
        if (m->prev && m->prev != MSG_PREV_UNKNOWN)
            buf_printf(to, "<%llu", (unsigned long long)m->prev);
        buf_char(to, '\n');
    }
}

static const struct codec codec = {.encode = encode};

const struct hub_options nats_node_hub_options = {
    .shards = 2,
    .inflight_bytes = 64 << 20,
    .slice = 64,
    .queue_max_bytes = 8 << 20,
    .channel_limit = 4096,
    .max_items = 1000,
    .last_max_bytes = 16 << 20,
    .state_max_bytes = 65536,
    .idle_ttl_ms = 60000,
    .codec = &codec,
};

struct config *nats_node_config(int port, const char *nats)
{
    char err[256] = "";
    struct buf b = BUF_INIT;
    buf_printf(&b,
               "{\"nats\":{\"url\":\"nats://127.0.0.1:%d\","
               "\"reconnect_wait\":\"20ms\"%s},\"channel\":{"
               "\"max_publication_size\":1000,\"namespaces\":["
               "{\"name\":\"news\"},"
               "{\"name\":\"all\",\"allow_patterns\":true},"
               "{\"name\":\"quotes\",\"subject\":\"market.quotes\"},"
               "{\"name\":\"plant\",\"subject\":\"site.3\","
               "\"allow_patterns\":true,\"non_json\":\"string\"},"
               "{\"name\":\"objects\",\"non_json\":\"string\","
               "\"publication_data_format\":\"json_object\"},"
               "{\"name\":\"keys\",\"throttle\":{\"key\":\"/k\"}},"
               "{\"name\":\"bytes\",\"publication_data_format\":\"binary\"}"
               "]}}",
               port, nats);
    struct config *cfg = config_parse(b.p, b.n, "test", NULL, err, sizeof(err));
    if (!cfg)
        fprintf(stderr, "%s\n", err);
    CHECK(cfg);
    buf_free(&b);
    return cfg;
}

struct namespace_options *nats_node_namespace(struct config *cfg,
                                              const char *name)
{
    if (!*name)
        return &cfg->channel.without_namespace;
    for (size_t i = 0; i < cfg->channel.namespace_count; i++)
        if (strcmp(cfg->channel.namespaces[i].name, name) == 0)
            return &cfg->channel.namespaces[i];
    CHECK(!"namespace");
    return NULL;
}

void nats_node_set_history(struct config *cfg, const char *name, uint32_t size,
                           uint64_t ttl_ms)
{
    struct namespace_options *o = nats_node_namespace(cfg, name);
    o->history_size = size;
    o->history_ttl_ms = (int64_t)ttl_ms;
    o->history = (struct history_policy){.size = size, .ttl_ms = ttl_ms};
}

int nats_node_try(struct nats_node *n, const char *nats, char *err,
                  size_t errlen)
{
    struct hub_options o = nats_node_hub_options;
    if (n->inflight_bytes)
        o.inflight_bytes = n->inflight_bytes;
    n->cfg = nats_node_config(n->server.port, nats);
    if (n->adjust)
        n->adjust(n->cfg);
    fake_node_init(&n->hub, 2, &o);
    n->hub.hub.broker.node = NATS_NODE_ID;
    n->hub.hub.broker.asked = n->asked;
    n->hub.hub.broker.asked_arg = n;
    return nats_broker_start(n->cfg, &n->hub.hub, &n->broker, err, errlen);
}

void nats_node_start(struct nats_node *n, const char *nats)
{
    char err[512] = "";
    int rc = nats_node_try(n, nats, err, sizeof(err));
    if (rc != 0)
        fprintf(stderr, "%s\n", err);
    CHECK(rc == 0);
}

int nats_node_new(void **state)
{
    struct nats_node *n = mem_zalloc(sizeof(*n));
    n->server.port = nats_server_port();
    n->peer.fd = -1;
    *state = n;
    return 0;
}

int nats_node_stored(void **state)
{
    nats_node_new(state);
    struct nats_node *n = *state;
    nats_server_store(&n->server);
    return 0;
}

int nats_node_running(void **state)
{
    nats_node_new(state);
    struct nats_node *n = *state;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, ",\"grace\":\"50ms\"");
    return 0;
}

int nats_node_free(void **state)
{
    struct nats_node *n = *state;
    if (n->broker) {
        fake_settle(&n->hub);
        nats_broker_stop(n->broker);
        fake_settle(&n->hub);
        fake_node_fini(&n->hub);
    }
    config_free(n->cfg);
    nats_server_kill(&n->server);
    nats_server_forget(&n->server);
    if (n->peer.fd >= 0)
        nats_peer_close(&n->peer);
    free(n);
    return 0;
}

struct nats_status nats_node_status(struct nats_node *n)
{
    struct nats_status s;
    nats_broker_status(n->broker, &s);
    return s;
}

static struct nats_node *node_of_result; /* whose answers count */

static void on_done(struct publish_op *op)
{
    struct nats_node *n = node_of_result;
    CHECK(!op->msg);
    n->answered++;
    n->ok += op->result == 0;
    n->last_code = op->result;
    n->last_position = op->position;
    CHECK(!op->wish);
    free(op);
}

void nats_node_publish_wish(struct nats_node *n, unsigned shard,
                            struct msg_parts parts, struct publish_wish *wish)
{
    struct publish_op *op = mem_zalloc(sizeof(*op));
    parts.born_ns = clock_now_ns();
    op->msg = msg_new(&n->hub.hub.budget, &parts);
    CHECK(op->msg);
    op->wish = wish;
    op->done = on_done;
    node_of_result = n;
    unsigned before = n->answered;
    n->sent++;
    hub_publish(n->hub.hub.shards[shard], op);
    CHECK(n->answered == before); /* never inside the call */
}

void nats_node_publish_parts(struct nats_node *n, unsigned shard,
                             struct msg_parts parts)
{
    nats_node_publish_wish(n, shard, parts, NULL);
}

struct publish_wish *nats_node_wish(const char *key, uint64_t version,
                                    const char *epoch)
{
    size_t k = key ? strlen(key) : 0;
    size_t e = epoch ? strlen(epoch) : 0;
    struct publish_wish *w = mem_zalloc(sizeof(*w) + k + e);
    w->version = version;
    w->key_len = (uint16_t)k;
    w->version_epoch_len = (uint16_t)e;
    if (k)
        memcpy(w->bytes, key, k);
    if (e)
        memcpy(w->bytes + k, epoch, e);
    return w;
}

void nats_node_publish(struct nats_node *n, unsigned shard, const char *channel,
                       const char *data)
{
    nats_node_publish_parts(n, shard,
                            (struct msg_parts){.channel = str_of(channel),
                                               .data = str_of(data),
                                               .is_json = true});
}

int nats_node_publish_code(struct nats_node *n, const char *channel,
                           const char *data)
{
    nats_node_publish(n, 0, channel, data);
    NATS_NODE_PUMP(n, n->answered == n->sent);
    return n->last_code;
}

struct fake_client *nats_node_subscriber(struct nats_node *n, unsigned shard,
                                         const char *topic)
{
    struct fake_client *f =
        fake_open(n->hub.hub.shards[shard], ENCODING_WS_JSON);
    char answer[300];
    CHECK(fake_subscribe(f, topic) == 0);
    NATS_NODE_PUMP(n, f->answers == 1);
    snprintf(answer, sizeof(answer), "S%s|0\n", topic);
    fake_expect(f, answer);
    return f;
}

size_t nats_node_unread(const struct fake_client *f)
{
    return f->wire.n - f->read_bytes;
}

void nats_node_expect(struct nats_node *n, struct fake_client *f,
                      const char *lines)
{
    uint64_t end_ns = clock_now_ns() + NATS_PATIENCE_MS * UINT64_C(1000000);
    while (nats_node_unread(f) < strlen(lines) && clock_now_ns() < end_ns) {
        fake_settle(&n->hub);
        usleep(1000);
    }
    fake_expect(f, lines);
}

static void on_fed(struct feed_op *op)
{
    node_of_result->fed++;
    node_of_result->last_feed = *op;
    free(op);
}

void nats_node_acquire(struct nats_node *n, const char *channel)
{
    size_t len = strlen(channel);
    struct feed_op *op = mem_zalloc(sizeof(*op) + len);
    struct shard *home =
        home_of(&n->hub.hub, msg_channel_hash(str_of(channel)));
    op->home = home;
    op->channel_len = (uint32_t)len;
    op->done = on_fed;
    memcpy(op->channel, channel, len);
    node_of_result = n;
    n->hub.hub.broker.ops->acquire(n->broker, op);
}

void nats_node_publish_until_ok(struct nats_node *n, const char *channel,
                                const char *data)
{
    int tries = 0;
    while (nats_node_publish_code(n, channel, data) != 0) {
        CHECK(n->last_code == 100);
        CHECK(++tries < NATS_PATIENCE_MS / 10);
        usleep(10000);
    }
}
