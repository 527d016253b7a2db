#include "tests/kit/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/protocol/encode.h"
#include "gateway/server.h"
#include "gateway/transport/http.h"
#include "gateway/transport/wire.h"
#include "gateway/transport/ws.h"
#include "tests/kit/still.h"

#define START_NS (1000ull * 1000000000ull)
/* lws rounds the time until its next timer down to milliseconds, so libuv
 * would ask it again and again for ever: who looks that often in one turn
 * sees the clock move a little. */
#define READS_PATIENTLY 1000

/* --- the node ------------------------------------------------------------- */

static void make_loops(struct gate *g, unsigned count)
{
    const struct config *cfg = g->app.config;
    struct hub_options o;
    server_hub_options(cfg, count, &o);
    char err[256];
    for (unsigned i = 0; i < count; i++)
        g->loops[i] = mem_zalloc(sizeof(struct loop));
    hub_init(&g->app.hub, &o, loop_wake, (void *const *)g->loops);
    for (unsigned i = 0; i < count; i++) {
        g->loops[i]->shard = g->app.hub.shards[i];
        g->app.hub.shards[i]->loop = g->loops[i];
        CHECK(loop_init(g->loops[i], &g->app, &ws_centrifuge, err,
                        sizeof(err)) == 0);
    }
}

void gate_init(struct gate *g, unsigned shards, const char *json)
{
    char err[512];
    CHECK(shards >= 1 && shards <= GATE_SHARDS_MAX);
    memset(g, 0, sizeof(*g));
    still_at(START_NS);
    g->app.config =
        config_parse(json, strlen(json), "test", NULL, err, sizeof(err));
    if (!g->app.config)
        fprintf(stderr, "%s\n", err);
    CHECK(g->app.config);
    g->app.loops = g->loops;
    g->app.started_ns = clock_now_ns();
    g->app.connection_limit = 1000;
    snprintf(g->app.node_id, sizeof(g->app.node_id),
             "00000000-0000-4000-8000-000000000000");
    snprintf(g->app.node_name, sizeof(g->app.node_name), "gate");
    make_loops(g, shards);
}

void gate_fini(struct gate *g)
{
    for (unsigned i = 0; i < g->app.hub.count; i++)
        loop_fini(g->loops[i]);
    hub_fini(&g->app.hub);
    CHECK(g->app.hub.budget.used_bytes == 0);
    CHECK(g->app.connections == 0);
    for (unsigned i = 0; i < g->app.hub.count; i++)
        free(g->loops[i]);
    config_free((struct config *)g->app.config);
    still_at(0);
}

void gate_turn(struct gate *g, unsigned shard)
{
    struct loop *l = g->loops[shard];
    still_be_patient(READS_PATIENTLY);
    loop_turn(l, UV_RUN_NOWAIT);
}

/* A number that changes when a loop does something. */
static uint64_t activity(const struct loop *l)
{
    const struct stats *st = &l->shard->stats;
    return st->letters + st->writes + st->bytes_in + st->bytes_out +
           st->http_requests + st->http_bad + st->deliveries +
           l->shard->client_count * 7919u + l->http_count;
}

static bool is_marked(const struct loop *l)
{
    struct shard *s = l->shard;
    return !TAILQ_EMPTY(&s->dirty) || !TAILQ_EMPTY(&s->busy) ||
           !SLIST_EMPTY(&s->graves) || !TAILQ_EMPTY(&l->http_dirty) ||
           mailbox_depth(&s->mailbox) > 0;
}

static bool turn_all(struct gate *g)
{
    bool moved = false;
    for (unsigned i = 0; i < g->app.hub.count; i++) {
        uint64_t before = activity(g->loops[i]);
        gate_turn(g, i);
        moved |= before != activity(g->loops[i]) || is_marked(g->loops[i]);
    }
    return moved;
}

void gate_settle(struct gate *g)
{
    /* A few quiet rounds in a row: lws needs one to close what it was told
     * to, libuv one to forget a handle. */
    unsigned quiet = 0;
    for (unsigned rounds = 0; quiet < 3; rounds++) {
        quiet = turn_all(g) ? 0 : quiet + 1;
        CHECK(rounds < 100000);
    }
    for (unsigned i = 0; i < g->app.hub.count; i++)
        shard_check(g->app.hub.shards[i]);
}

void gate_pass(struct gate *g, uint64_t ms)
{
    still_pass_ns(ms * 1000000u);
    gate_settle(g);
}

void gate_channel_of(struct gate *g, unsigned shard, unsigned n, char to[32])
{
    for (unsigned i = 0;; i++) {
        int len = snprintf(to, 32, "c%u.%u", n, i);
        uint32_t hash = msg_channel_hash(str_n(to, (size_t)len));
        if (home_of(&g->app.hub, hash)->index == shard)
            return;
    }
}

static void on_published(struct publish_op *op)
{
    CHECK(op->result == 0 && !op->msg);
    free(op);
}

void gate_publish(struct gate *g, unsigned shard, const char *channel,
                  const char *data)
{
    struct msg_parts parts = {
        .channel = str_of(channel), .data = str_of(data), .is_json = true};
    struct publish_op *op = mem_zalloc(sizeof(*op));
    op->msg = msg_new(&g->app.hub.budget, &parts);
    CHECK(op->msg);
    op->done = on_published;
    hub_publish(g->app.hub.shards[shard], op);
}

void gate_forget(struct gate *g)
{
    for (unsigned i = 0; i < g->app.hub.count; i++) {
        struct shard *s = g->app.hub.shards[i];
        struct keys *k = &s->home.keys;
        size_t most = k->max_count;
        while (s->home.history.streams)
            history_drop(&s->home.history, s->home.history.streams);
        keys_fini(k);
        keys_init(k, most);
        rand_init(&s->rand, i);
    }
}

/* --- peers ---------------------------------------------------------------- */

void gate_open(struct gate *g, unsigned shard, struct gate_peer *p)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                     pair) == 0);
    *p = (struct gate_peer){.gate = g, .fd = pair[0]};
    g->app.connections++;
    http_accept(g->loops[shard], pair[1]);
}

void gate_close(struct gate_peer *p)
{
    if (p->fd != -1)
        close(p->fd);
    p->fd = -1;
    buf_free(&p->in);
    p->at = 0;
}

bool gate_send(struct gate_peer *p, struct str bytes)
{
    unsigned stuck = 0;
    while (bytes.n) {
        ssize_t n = send(p->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == -1 && (errno == EPIPE || errno == ECONNRESET))
            return false;
        CHECK(n != -1 || errno == EAGAIN);
        if (n == -1) {
            gate_read(p); /* it may wait for us to take its answers */
            CHECK(stuck++ < 1000);
            continue;
        }
        stuck = 0;
        bytes = str_skip(bytes, (size_t)n);
    }
    return true;
}

static bool read_some(struct gate_peer *p)
{
    char chunk[65536];
    ssize_t n = recv(p->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n == -1 && errno == EAGAIN)
        return false;
    /* A reset takes what was read before it with it on no socket pair. */
    CHECK(n != -1 || errno == ECONNRESET);
    if (n <= 0) {
        p->eof = true;
        return false;
    }
    buf_add(&p->in, chunk, (size_t)n);
    return true;
}

void gate_read(struct gate_peer *p)
{
    bool more = true;
    while (more) {
        more = false;
        gate_settle(p->gate);
        while (!p->eof && read_some(p))
            more = true;
    }
}

struct str gate_rest(const struct gate_peer *p)
{
    return p->in.n ? str_skip(buf_view(&p->in), p->at) : STR_LIT("");
}

/* --- HTTP ----------------------------------------------------------------- */

bool gate_has_line(const struct gate_answer *a, const char *line)
{
    struct str rest = a->head;
    while (rest.n) {
        struct str have = str_cut(&rest, '\n');
        CHECK(have.n && have.p[have.n - 1] == '\r');
        have.n--;
        if (str_eq(have, str_of(line)))
            return true;
    }
    return false;
}

static bool body_length(struct str head, size_t *out)
{
    static const char name[] = "\r\nContent-Length: ";
    const char *at = memmem(head.p, head.n, name, sizeof(name) - 1);
    if (!at)
        return false;
    *out = 0;
    for (at += sizeof(name) - 1; *at >= '0' && *at <= '9'; at++)
        *out = *out * 10 + (size_t)(*at - '0');
    return true;
}

bool gate_next_answer(struct gate_peer *p, bool to_head, struct gate_answer *a)
{
    struct str rest = gate_rest(p);
    const char *end = rest.n ? memmem(rest.p, rest.n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t head = (size_t)(end - rest.p) + 4;
    size_t body = rest.n - head;
    CHECK(str_starts(rest, STR_LIT("HTTP/1.1 ")) && rest.n > 12);
    a->status =
        (rest.p[9] - '0') * 100 + (rest.p[10] - '0') * 10 + (rest.p[11] - '0');
    a->head = str_n(rest.p, head - 2);
    bool has_length = body_length(a->head, &body);
    CHECK(has_length || a->status == 100 || a->status == 101 ||
          a->status == 204 || a->status == 200);
    if (to_head || a->status == 100 || a->status == 101 || a->status == 204)
        body = 0;
    if (rest.n - head < body)
        return false;
    a->body = str_n(rest.p + head, body);
    p->at += head + body;
    return true;
}

/* --- WebSocket ------------------------------------------------------------ */

void gate_open_ws(struct gate *g, unsigned shard, struct gate_peer *p)
{
    struct gate_answer a;
    gate_open(g, shard, p);
    CHECK(gate_send(
        p, STR_LIT("GET /connection/websocket HTTP/1.1\r\nHost: x\r\n"
                   "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")));
    gate_read(p);
    CHECK(gate_next_answer(p, false, &a) && a.status == 101);
    CHECK(gate_has_line(&a,
                        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

void gate_put_frame(struct buf *to, uint8_t first_byte, struct str payload,
                    uint32_t mask)
{
    uint8_t head[WIRE_WS_HEAD_MAX];
    uint8_t key[4] = {(uint8_t)(mask >> 24), (uint8_t)(mask >> 16),
                      (uint8_t)(mask >> 8), (uint8_t)mask};
    size_t n = wire_ws_head(head, first_byte, payload.n);
    head[1] |= 0x80;
    buf_add(to, head, n);
    buf_add(to, key, 4);
    for (size_t i = 0; i < payload.n; i++)
        buf_char(to, (char)((uint8_t)payload.p[i] ^ key[i & 3]));
}

bool gate_send_frame(struct gate_peer *p, uint8_t first_byte,
                     struct str payload)
{
    struct buf b = BUF_INIT;
    gate_put_frame(&b, first_byte, payload, 0x12345678);
    bool sent = gate_send(p, buf_view(&b));
    buf_free(&b);
    return sent;
}

bool gate_cut_frame(struct str *bytes, uint8_t *first_byte, struct str *payload)
{
    const uint8_t *p = (const uint8_t *)bytes->p;
    size_t more = 0;
    if (bytes->n < 2)
        return false;
    uint64_t len = p[1];
    CHECK(!(len & 0x80)); /* a server does not mask */
    if (len >= 126)
        more = len == 126 ? 2 : 8;
    if (bytes->n < 2 + more)
        return false;
    for (size_t i = 0; i < more; i++)
        len = (i ? len << 8 : 0) | p[2 + i];
    CHECK(more == 0 || len >= (more == 2 ? 126u : 65536u));
    if (bytes->n - 2 - more < len)
        return false;
    *first_byte = p[0];
    *payload = str_n(p + 2 + more, (size_t)len);
    *bytes = str_skip(*bytes, 2 + more + (size_t)len);
    return true;
}

bool gate_next_frame(struct gate_peer *p, uint8_t *first_byte,
                     struct str *payload)
{
    struct str rest = gate_rest(p);
    size_t before = rest.n;
    if (!gate_cut_frame(&rest, first_byte, payload))
        return false;
    p->at += before - rest.n;
    return true;
}
