#include "gateway/transport/ws.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "base/mem.h"
#include "gateway/session.h"
#include "gateway/transport/frame.h"
#include "gateway/transport/http.h"
#include "gateway/transport/wire.h"

#define PROTOCOL_NAME "weir"
#define SUBPROTOCOL "centrifuge-json"
#define KEY_LEN 24

struct ws_conn {
    struct session session; /* first: session_of */
    struct lws *wsi;        /* borrowed: lws owns it; NULL once closed */
    int fd;                 /* borrowed: lws closes it */
    bool peer_closed;       /* its close frame came */
    bool violated;          /* it broke the protocol: nothing more is read */
    bool fin_sent;
    uint32_t echo_code; /* what we answer it with */
    struct buf out;     /* owned: what the kernel did not take */
    struct frame_reader reader;
};

/* One per loop; lws hands it back through the context's user pointer. */
struct ws_context {
    struct loop *loop;        /* borrowed */
    const struct ws_app *app; /* borrowed */
};

static struct ws_conn *conn_of(struct client *c)
{
    return (struct ws_conn *)session_of(c);
}

static struct ws_context *context_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

/* --- out --------------------------------------------------------------- */

/* What the kernel refuses waits here, not in lws: while lws 4.1.6 has output
 * of its own it does not read, and the loop spins on the unread input. */
static enum write_result ws_write(struct client *c, const char *p, size_t n)
{
    struct ws_conn *w = conn_of(c);
    if (!w->wsi)
        return WRITE_DEAD;
    enum write_result rc = wire_send(w->fd, &w->out, p, n);
    if (rc == WRITE_CHOKED)
        lws_callback_on_writable(w->wsi);
    return rc;
}

/* After the close frames nothing more is said; the peer's FIN, or the
 * session's timer, ends the connection. */
static void send_fin(struct ws_conn *w)
{
    if (w->fin_sent || !w->wsi || w->out.n)
        return;
    w->fin_sent = true;
    shutdown(w->fd, SHUT_WR);
}

static void ws_close(struct client *c, uint32_t code, struct str reason)
{
    struct ws_conn *w = conn_of(c);
    char payload[125];
    size_t n = 0;
    struct buf frame = BUF_INIT;
    if (w->peer_closed)
        code = w->echo_code;
    if (code != 1005) {
        payload[0] = (char)(code >> 8);
        payload[1] = (char)code;
        n = 2;
    }
    if (!w->peer_closed) {
        size_t most = sizeof(payload) - 2;
        size_t len = reason.n < most ? reason.n : most;
        memcpy(payload + 2, reason.p, len);
        n += len;
    }
    wire_ws_frame(&frame, WIRE_WS_CLOSE, str_n(payload, n));
    if (ws_write(c, frame.p, frame.n) == WRITE_DONE &&
        (w->peer_closed || w->violated))
        send_fin(w);
    buf_free(&frame);
}

static void ws_kill(struct client *c)
{
    struct ws_conn *w = conn_of(c);
    if (!w->wsi)
        return;
    w->session.loop->lws_poke = true;
    lws_set_timeout(w->wsi, 1, LWS_TO_KILL_SYNC);
}

static void ws_pause(struct session *s, bool paused)
{
    struct ws_conn *w = (struct ws_conn *)s;
    if (!w->wsi)
        return;
    w->session.loop->lws_poke = true;
    lws_rx_flow_control(w->wsi, !paused);
}

static void ws_keep_late(struct client *c)
{
    struct ws_conn *w = conn_of(c);
    if (w->wsi)
        wire_keep_late(w->fd, w->session.loop->app->config);
}

static const struct session_ops ops = {
    .transport = {.write = ws_write,
                  .close = ws_close,
                  .kill = ws_kill,
                  .keep_late = ws_keep_late},
    .pause = ws_pause,
    .bidirectional = true,
};

void ws_send(struct session *s, struct str payload, bool is_text)
{
    struct buf frame = BUF_INIT;
    wire_ws_frame(&frame, is_text ? WIRE_WS_TEXT : WIRE_WS_BINARY, payload);
    client_push_bytes(&s->client, buf_view(&frame));
    buf_free(&frame);
}

/* --- in ---------------------------------------------------------------- */

static void on_peer_close(struct ws_conn *w, struct str payload)
{
    uint32_t code;
    int wrong = frame_close_check(payload, &code);
    w->peer_closed = true;
    w->echo_code = wrong ? (uint32_t)wrong : code;
    if (w->session.client.closed)
        send_fin(w);
    else
        client_close(&w->session.client, wrong ? (uint32_t)wrong : 0,
                     STR_LIT(""));
}

static bool on_frame(void *arg, enum frame_opcode opcode, struct str payload)
{
    struct ws_conn *w = arg;
    struct client *c = &w->session.client;
    struct buf pong = BUF_INIT;
    switch (opcode) {
    case FRAME_CLOSE:
        on_peer_close(w, payload);
        return false;
    case FRAME_PING:
        wire_ws_frame(&pong, WIRE_WS_PONG, payload);
        client_push_bytes(c, buf_view(&pong));
        buf_free(&pong);
        return true;
    case FRAME_PONG:
        return true;
    default:
        if (!c->closing && !c->closed)
            context_of(w->wsi)->app->message(&w->session, payload,
                                             opcode == FRAME_TEXT);
        return true;
    }
}

static struct str violation_reason(int code)
{
    if (code == 1009)
        return STR_LIT("message too big");
    return code == 1007 ? STR_LIT("invalid payload data")
                        : STR_LIT("protocol error");
}

static void feed(struct ws_conn *w, char *p, size_t n)
{
    const struct config *cfg = w->session.loop->app->config;
    w->session.client.shard->stats.bytes_in += n;
    if (w->peer_closed || w->violated)
        return;
    int rc =
        frame_read(&w->reader, p, n,
                   (uint64_t)cfg->websocket.message_size_limit, on_frame, w);
    if (!rc)
        return;
    /* Nothing after a violation can be understood. */
    w->violated = true;
    client_close(&w->session.client, (uint32_t)rc, violation_reason(rc));
}

/* --- life -------------------------------------------------------------- */

static void bury(struct grave *g)
{
    struct session *s = container_of(g, struct session, grave);
    free((struct ws_conn *)s);
}

static void on_gone(struct ws_conn *w)
{
    struct loop *l = w->session.loop;
    w->wsi = NULL;
    frame_reader_free(&w->reader);
    buf_free(&w->out);
    session_gone(&w->session);
    l->app->connections--;
    w->session.grave.bury = bury;
    shard_bury(l->shard, &w->session.grave);
}

static void on_writable(struct ws_conn *w)
{
    enum write_result rc = wire_drain(w->fd, &w->out);
    if (rc == WRITE_CHOKED)
        lws_callback_on_writable(w->wsi);
    /* A broken connection ends by lws reading its error. */
    if (rc != WRITE_DONE)
        return;
    client_writable(&w->session.client);
    if (w->session.client.closed && (w->peer_closed || w->violated))
        send_fin(w);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user,
                  void *in, size_t len)
{
    struct ws_conn *w = user;
    if (!w)
        return 0;
    shard_busy(w->session.client.shard);
    switch (reason) {
    case LWS_CALLBACK_RAW_RX:
        feed(w, in, len);
        return 0;
    case LWS_CALLBACK_RAW_WRITEABLE:
        on_writable(w);
        return 0;
    case LWS_CALLBACK_RAW_CLOSE:
        lws_set_wsi_user(wsi, NULL);
        on_gone(w);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    /* One write may hand lws a whole flush (hub/client.c). */
    {.name = PROTOCOL_NAME,
     .callback = on_lws,
     .rx_buffer_size = 4096,
     .tx_packet_size = 1 << 20},
    {0},
};

static void say_welcome(int fd, const struct http_request *r)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[KEY_LEN + sizeof(guid)];
    unsigned char sha[20];
    char accept[32];
    memcpy(text, r->ws_key.p, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid) - 1);
    lws_SHA1(text, KEY_LEN + sizeof(guid) - 1, sha);
    lws_b64_encode_string((const char *)sha, sizeof(sha), accept,
                          sizeof(accept));
    struct buf b = BUF_INIT;
    buf_lit(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    buf_str(&b, str_of(accept));
    if (r->ws_protocol.n)
        buf_lit(&b, "\r\nSec-WebSocket-Protocol: " SUBPROTOCOL);
    buf_lit(&b, "\r\n\r\n");
    /* The first bytes of a connection always fit the socket's buffer. */
    ssize_t n = send(fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* if not, the peer sees a broken handshake and lws an error */
    buf_free(&b);
}

void ws_adopt(struct loop *l, int fd, const struct http_request *r, char *rest,
              size_t n)
{
    say_welcome(fd, r);
    lws_sock_file_fd_type sock = {.sockfd = fd};
    struct ws_conn *w = mem_zalloc(sizeof(*w));
    struct lws *wsi = lws_adopt_descriptor_vhost(l->vhost, LWS_ADOPT_SOCKET,
                                                 sock, PROTOCOL_NAME, NULL);
    if (!wsi) { /* lws has closed the socket */
        l->app->connections--;
        free(w);
        return;
    }
    lws_set_wsi_user(wsi, w);
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
    w->wsi = wsi;
    w->fd = fd;
    session_open(&w->session, l, &ops, ENCODING_WS_JSON);
    if (n)
        feed(w, rest, n);
}

static bool key_is_valid(struct str key)
{
    char raw[32];
    char text[KEY_LEN + 1];
    if (key.n != KEY_LEN)
        return false;
    memcpy(text, key.p, KEY_LEN);
    text[KEY_LEN] = '\0';
    return lws_b64_decode_string(text, raw, sizeof(raw)) == 16;
}

/* A list of tokens, as in `Connection: keep-alive, Upgrade`. */
static bool has_token(struct str list, struct str token)
{
    while (list.n) {
        struct str item = str_cut(&list, ',');
        while (item.n && (item.p[0] == ' ' || item.p[0] == '\t'))
            item = str_skip(item, 1);
        while (item.n &&
               (item.p[item.n - 1] == ' ' || item.p[item.n - 1] == '\t'))
            item.n--;
        if (item.n == token.n && strncasecmp(item.p, token.p, token.n) == 0)
            return true;
    }
    return false;
}

static bool wants_protobuf(struct str query)
{
    while (query.n) {
        struct str pair = str_cut(&query, '&');
        if (str_eq(pair, STR_LIT("format=protobuf")) ||
            str_eq(pair, STR_LIT("cf_protocol=protobuf")))
            return true;
    }
    return false;
}

int ws_refusal(struct loop *l, const struct http_request *r, const char **why)
{
    struct buf cors = BUF_INIT;
    bool allowed = http_cors(l, r, &cors);
    buf_free(&cors);
    *why = "Sec-WebSocket-Version must be 13";
    if (!str_eq(r->ws_version, STR_LIT("13")))
        return 426;
    *why = "Sec-WebSocket-Key must be 16 bytes in base64";
    if (!key_is_valid(r->ws_key))
        return 400;
    *why = "the only subprotocol here is " SUBPROTOCOL;
    if (r->ws_protocol.n && !has_token(r->ws_protocol, STR_LIT(SUBPROTOCOL)))
        return 400;
    *why = "the only format here is json";
    if (wants_protobuf(r->query))
        return 400;
    *why = "this Origin is not in client.allowed_origins";
    if (!allowed)
        return 403;
    *why = "the server is shutting down";
    if (l->stopping)
        return 503;
    *why = "the node has client.connection_limit clients";
    return loop_is_full(l) ? 503 : 0;
}

/* The reference server does not look at the frame type either. */
static void centrifuge_message(struct session *s, struct str bytes,
                               bool is_text)
{
    (void)is_text;
    session_message(s, bytes);
}

const struct ws_app ws_centrifuge = {centrifuge_message};

static void no_log(int level, const char *line)
{
    (void)level;
    (void)line;
}

int ws_init(struct loop *l, const struct ws_app *app, char *err, size_t errlen)
{
    static const lws_retry_bo_t no_validity_timers = {0};
    struct ws_context *ctx = mem_alloc(sizeof(*ctx));
    void *loops[1] = {&l->uv};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .foreign_loops = loops,
        .pt_serv_buf_size = 16384,
        .user = ctx,
        .pcontext = &l->lws,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .retry_and_idle_policy = &no_validity_timers,
    };
    lws_set_log_level(LLL_ERR, no_log);
    *ctx = (struct ws_context){l, app};
    l->ws = ctx;
    l->lws = lws_create_context(&info);
    l->vhost = l->lws ? lws_create_vhost(l->lws, &info) : NULL;
    if (l->vhost)
        return 0;
    snprintf(
        err, errlen,
        "libwebsockets refused to start (is libwebsockets-evlib-uv installed?)");
    return ERR_SYSTEM;
}

/* On a foreign loop lws takes itself down in two steps: the first begins to
 * close its handles; the second frees the rest, and unloads the code of their
 * callbacks, so the loop must have closed them all in between. */
void ws_fini(struct loop *l)
{
    lws_context_destroy(l->lws);
}

void ws_free(struct loop *l)
{
    if (l->lws)
        lws_context_destroy(l->lws);
    CHECK(l->lws == NULL); /* lws says so through pcontext */
    free(l->ws);
    l->ws = NULL;
}

void ws_poke(struct loop *l)
{
    if (!l->lws_poke)
        return;
    l->lws_poke = false;
    lws_cancel_service(l->lws);
}
