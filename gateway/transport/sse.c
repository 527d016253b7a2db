#include "gateway/transport/sse.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/protocol/command.h"
#include "gateway/protocol/encode.h"
#include "gateway/protocol/json.h"
#include "gateway/recover.h"
#include "gateway/rules.h"
#include "gateway/session.h"
#include "gateway/transport/sse_conn.h"
#include "gateway/transport/wire.h"
#include "gateway/tune.h"
#include "hub/hub.h"

static struct sse_conn *conn_of(struct client *c)
{
    return (struct sse_conn *)session_of(c);
}

/* --- socket ------------------------------------------------------------ */

static void on_poll(uv_poll_t *handle, int status, int events);

static void wait_for(struct sse_conn *s, int events)
{
    CHECK(uv_poll_start(&s->poll->uv, events, on_poll) == 0);
}

static void on_poll_closed(uv_handle_t *h)
{
    free(container_of((uv_poll_t *)h, struct sse_poll, uv));
}

static void bury(struct grave *g)
{
    struct session *session = container_of(g, struct session, grave);
    free((struct sse_conn *)session);
}

static void free_start(struct sse_conn *s)
{
    if (!s->start)
        return;
    buf_free(&s->start->unknown);
    buf_free(&s->start->foreign);
    buf_free(&s->start->too_old);
    free(s->start);
    s->start = NULL;
}

static void gone(struct sse_conn *s)
{
    if (s->gone)
        return;
    struct loop *l = s->session.loop;
    s->gone = true;
    s->poll->conn = NULL;
    uv_close((uv_handle_t *)&s->poll->uv, on_poll_closed);
    close(s->fd);
    buf_free(&s->out);
    buf_free(&s->head);
    free_start(s);
    sse_control_end(s);
    session_gone(&s->session);
    l->app->connections--;
    s->session.grave.bury = bury;
    shard_bury(l->shard, &s->session.grave);
}

static enum write_result sse_write(struct client *c, const char *p, size_t n)
{
    struct sse_conn *s = conn_of(c);
    if (s->gone)
        return WRITE_DEAD;
    enum write_result rc = wire_send(s->fd, &s->out, p, n);
    if (rc == WRITE_CHOKED)
        wait_for(s, UV_READABLE | UV_WRITABLE);
    return rc;
}

/* Everything is said. With nothing unread the kernel delivers the rest and
 * its FIN without us; otherwise the peer's FIN, or the timer, ends it. */
static void send_fin(struct sse_conn *s)
{
    char unread;
    if (s->fin_sent || s->out.n)
        return;
    s->fin_sent = true;
    shutdown(s->fd, SHUT_WR);
    if (recv(s->fd, &unread, 1, MSG_DONTWAIT | MSG_PEEK) == -1)
        gone(s);
}

/* The stream has not begun: its end is an HTTP answer. */
static void format_refusal(const struct sse_conn *s, struct buf *to)
{
    struct buf body = BUF_INIT;
    uint32_t error = s->error ? s->error : ERROR_INTERNAL;
    buf_lit(&body, "{\"error\":");
    encode_error(&body, error);
    buf_lit(&body, "}\n");
    int status = s->error ? error_info(error)->http_status : 503;
    buf_printf(to,
               "HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               status == 500 ? 503 : status, body.n);
    buf_str(to, buf_view(&body));
    buf_free(&body);
}

static void sse_close(struct client *c, uint32_t code, struct str reason)
{
    struct sse_conn *s = conn_of(c);
    struct buf b = BUF_INIT;
    sse_control_end(s);
    if (s->head_sent)
        buf_str(&b, buf_view(&s->head));
    buf_free(&s->head);
    if (!s->head_sent) {
        format_refusal(s, &b);
    } else if (s->session.plain) {
        buf_lit(&b, "event: disconnect\ndata: ");
        encode_code_reason(&b, code, reason);
        buf_lit(&b, "\n\n");
    } else {
        buf_lit(&b, "data: {\"disconnect\":");
        encode_code_reason(&b, code, reason);
        buf_lit(&b, "}\n\n");
    }
    if (sse_write(c, b.p, b.n) == WRITE_DONE)
        send_fin(s);
    buf_free(&b);
}

static void sse_kill(struct client *c)
{
    gone(conn_of(c));
}

static void sse_keep_late(struct client *c)
{
    struct sse_conn *s = conn_of(c);
    if (!s->gone)
        wire_keep_late(s->fd, s->session.loop->app->config);
}

static void sse_pause(struct session *s, bool paused)
{
    (void)s; /* A stream has no commands that could wait. */
    (void)paused;
}

static void on_writable(struct sse_conn *s)
{
    enum write_result rc = wire_drain(s->fd, &s->out);
    if (rc == WRITE_DEAD)
        gone(s);
    if (rc != WRITE_DONE)
        return;
    wait_for(s, UV_READABLE);
    client_writable(&s->session.client);
    if (s->session.client.closed)
        send_fin(s);
}

/* Nothing a client may say changes a stream; its FIN ends it. */
static void on_readable(struct sse_conn *s)
{
    char chunk[4096];
    ssize_t n = recv(s->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        s->input += (uint32_t)n;
        s->session.client.shard->stats.bytes_in += (uint64_t)n;
        if (s->input <= SSE_INPUT_MAX)
            return;
    }
    gone(s);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct sse_conn *s = container_of(handle, struct sse_poll, uv)->conn;
    if (!s)
        return;
    shard_busy(s->session.client.shard);
    if (status < 0) {
        gone(s);
        return;
    }
    if (events & UV_WRITABLE && s->out.n)
        on_writable(s);
    if (!s->gone && events & UV_READABLE)
        on_readable(s);
}

/* --- the stream -------------------------------------------------------- */

static void start_stream(struct sse_conn *s)
{
    struct session *session = &s->session;
    /* EventSource gives up for good when the answer is an error: where trying
     * again helps, the stream begins and ends. */
    s->head_sent = !s->error || error_info(s->error)->temporary;
    if (s->error) {
        /* What others brought goes with it: their ids do not name the channel
         * that has an error. */
        session_close(session, DISCONNECT_INTERNAL);
        return;
    }
    sse_control_begin(s, &s->head);
    sse_resume_resets(s, &s->head);
    free_start(s);
    client_uncork(&session->client, buf_view(&s->head));
    buf_free(&s->head);
    session_start_plain(session);
}

/* What a channel begins with waits in the client's queue, behind the head. */
static uint32_t begin_channel(struct sse_conn *s, struct sub *sub,
                              const struct sub_answer *answer)
{
    sse_resume_note(s, sub, answer);
    return tune_push_snapshot(&s->session, sub, answer);
}

static uint32_t subscribed(struct session *session, struct sub *sub,
                           const struct sub_answer *answer)
{
    struct sse_conn *s = (struct sse_conn *)session;
    uint32_t told = 0;
    if (session->state != SESSION_NEW)
        return sse_control_answered(s, sub, answer);
    if (answer && answer->error)
        s->error = s->error ? s->error : answer->error;
    else if (answer)
        told = begin_channel(s, sub, answer);
    if (session->asking == 0)
        start_stream(s);
    return told;
}

static void mark(struct session *session, const struct sub *sub, struct buf *to)
{
    (void)sub; /* All of the stream's channels are told. */
    sse_resume_mark((struct sse_conn *)session, false, to);
}

static const struct session_ops ops = {
    .transport = {.write = sse_write,
                  .close = sse_close,
                  .kill = sse_kill,
                  .keep_late = sse_keep_late},
    .pause = sse_pause,
    .subscribed = subscribed,
    .gap = sse_resume_gap,
    .mark = mark,
    .arrange = sse_resume_arrange,
    .bidirectional = false,
};

static void format_head(struct buf *to, struct loop *l, struct str cors)
{
    buf_lit(to, "HTTP/1.1 200 OK\r\nDate: ");
    buf_str(to, str_of(loop_date(l)));
    buf_lit(
        to,
        "\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        "Cache-Control: private, no-cache, no-store, must-revalidate, max-age=0, "
        "no-transform\r\n"
        "Pragma: no-cache\r\nX-Accel-Buffering: no\r\nConnection: close\r\n");
    buf_str(to, cors);
    buf_lit(to, "\r\n");
}

static struct sse_conn *begin(struct loop *l, int fd, enum encoding encoding)
{
    struct sse_conn *s = mem_zalloc(sizeof(*s));
    s->fd = fd;
    s->poll = mem_zalloc(sizeof(*s->poll));
    s->poll->conn = s;
    CHECK(uv_poll_init(&l->uv, &s->poll->uv, fd) == 0);
    s->session.plain = encoding != ENCODING_UNI_SSE;
    session_open(&s->session, l, &ops, encoding);
    wait_for(s, UV_READABLE);
    return s;
}

bool sse_answered_early(struct http_exchange *x, const struct http_request *r,
                        const char *methods, struct buf *cors)
{
    bool allowed = (r->method == HTTP_IS_GET && strstr(methods, "GET")) ||
                   (r->method == HTTP_IS_POST && strstr(methods, "POST"));
    if (!http_cors(http_loop(x), r, cors)) {
        http_respond_error(
            x, 403, ERROR_PERMISSION_DENIED,
            STR_LIT("this Origin is not in client.allowed_origins"));
        return true;
    }
    if (allowed)
        return false;
    if (r->method == HTTP_IS_OPTIONS)
        buf_printf(cors,
                   "Access-Control-Max-Age: 300\r\n"
                   "Access-Control-Allow-Methods: %s\r\n",
                   methods);
    else
        buf_printf(cors, "Allow: %s\r\n", methods);
    http_respond(x, &(struct http_response){
                        .status = r->method == HTTP_IS_OPTIONS ? 204 : 405,
                        .headers = buf_view(cors)});
    return true;
}

static bool refused_as_full(struct http_exchange *x, const struct buf *cors)
{
    if (!loop_is_full(http_loop(x)))
        return false;
    http_respond_error_with(
        x, 503, ERROR_INTERNAL,
        STR_LIT("the node has client.connection_limit clients"),
        buf_view(cors));
    return true;
}

/* --- /sse -------------------------------------------------------------- */

struct plain_request {
    struct rules_channel *channels; /* owned array */
    size_t count;
    struct throttle_request request;
    struct sse_resume resume;
    struct buf id; /* owned: resume.text */
    bool raw;
    bool has_pattern;
    int status; /* not 0: refuse with it, and with: */
    uint32_t error;
    const char *detail;
};

static void refuse(struct plain_request *q, uint32_t error, const char *detail)
{
    q->error = error;
    q->status = error_info(error)->http_status;
    q->detail = detail;
}

static const struct recover_request resumes = {.recoverable = true};

static void add_channel(const struct config *cfg, struct plain_request *q,
                        struct str name)
{
    struct rules_channel ch;
    for (size_t i = 0; i < q->count; i++) {
        if (str_eq(q->channels[i].name.full, name))
            return;
    }
    if (q->count >= (size_t)cfg->sse.channel_limit ||
        q->count >= (size_t)cfg->client.channel_limit) {
        refuse(q, ERROR_LIMIT_EXCEEDED, "too many channels on one stream");
        return;
    }
    uint32_t error = rules_channel(cfg, name, RULES_CONCRETE_OR_PATTERN, &ch);
    if (error) {
        refuse(q, error, "a channel parameter names no channel here");
        return;
    }
    error = rules_subscribe(cfg, &ch, STR_LIT(""));
    if (error) {
        refuse(q, error,
               "subscribing without a user is not allowed in this namespace");
        return;
    }
    q->channels = mem_realloc(q->channels, (q->count + 1) * sizeof(ch));
    struct subscribe_options o = {0};
    recover_options(cfg, &ch, STR_LIT(""), &resumes, &o);
    q->resume.recoverable += o.recoverable;
    if (q->resume.recoverable > EVENT_ID_MAX_CHANNELS)
        refuse(q, ERROR_LIMIT_EXCEEDED,
               "a stream may have 32 channels with history");
    q->channels[q->count++] = ch;
    q->has_pattern |= ch.name.is_pattern;
}

static void read_rate(struct plain_request *q, struct str value)
{
    q->request.has_rate = true;
    if (throttle_rate_parse(value, &q->request.rate) < 0)
        refuse(q, ERROR_BAD_REQUEST, "rate must be a number, 0 or more");
}

static void read_mode(struct plain_request *q, struct str value)
{
    enum throttle_mode mode;
    if (throttle_mode_parse(value, &mode) < 0) {
        refuse(q, ERROR_BAD_REQUEST, "mode must be all, latest or merge");
        return;
    }
    q->request.has_mode = true;
    q->request.mode = (uint8_t)mode;
}

static void read_resume(struct plain_request *q, struct str value)
{
    q->resume.latest = str_eq(value, STR_LIT("latest"));
    if (!q->resume.latest)
        refuse(q, ERROR_BAD_REQUEST, "resume must be latest");
}

static void read_query(const struct config *cfg, struct str query,
                       struct buf *text, struct plain_request *q)
{
    struct str name;
    struct str value;
    bool bad = false;
    buf_reserve(text, query.n + 1);
    while (!q->status && http_query_next(&query, text, &name, &value, &bad)) {
        if (bad)
            refuse(q, ERROR_BAD_REQUEST,
                   "a percent escape in the query is broken");
        else if (str_eq(name, STR_LIT("channel")))
            add_channel(cfg, q, value);
        else if (str_eq(name, STR_LIT("raw")))
            q->raw = str_eq(value, STR_LIT("1"));
        else if (str_eq(name, STR_LIT("rate")))
            read_rate(q, value);
        else if (str_eq(name, STR_LIT("mode")))
            read_mode(q, value);
        else if (str_eq(name, STR_LIT("resume")))
            read_resume(q, value);
        else if (str_eq(name, STR_LIT("last_event_id")) && !q->id.n)
            buf_str(&q->id, value);
    }
    if (!q->status && q->count == 0)
        refuse(q, ERROR_BAD_REQUEST,
               "at least one channel parameter is needed");
}

/* All are known before the first is asked for: an answer may come at once, and
 * the ids of what it brings are about the others, too. */
static void subscribe_all(struct sse_conn *s, const struct plain_request *q)
{
    const struct config *cfg = s->session.loop->app->config;
    struct client *c = &s->session.client;
    struct subscribe_options *options = mem_zalloc(q->count * sizeof(*options));
    s->session.asking = (uint32_t)q->count;
    for (size_t i = 0; i < q->count; i++) {
        const struct rules_channel *ch = &q->channels[i];
        struct subscribe_options *o = &options[i];
        o->is_pattern = ch->name.is_pattern;
        tune_options(ch, &q->request, o);
        recover_options(cfg, ch, STR_LIT(""), &resumes, o);
        sse_resume_wish(&q->resume, ch->name.full, o);
        sse_resume_await(s->start, ch->name.full, o);
    }
    for (size_t i = 0; i < q->count && !c->closing; i++) {
        sse_resume_join(s->start, &options[i]);
        int rc = hub_subscribe(c, q->channels[i].name.full, &options[i]);
        CHECK(rc == 0); /* distinct names, within the limit */
    }
    free(options);
}

static uint32_t count_channels(const struct plain_request *q)
{
    uint32_t n = 0;
    for (size_t i = 0; i < q->count; i++)
        n += !q->channels[i].name.is_pattern;
    return n;
}

static void start_plain(struct loop *l, int fd, const struct plain_request *q,
                        struct str cors)
{
    const struct config *cfg = l->app->config;
    struct sse_conn *s = begin(l, fd, q->raw ? ENCODING_SSE_RAW : ENCODING_SSE);
    struct client *c = &s->session.client;
    uint64_t base = (uint64_t)cfg->sse.retry_ms;
    format_head(&s->head, l, cors);
    /* Clients that are cut off together come back spread over one more
     * retry time. */
    buf_printf(
        &s->head, ":\nretry: %llu\n\n",
        (unsigned long long)(base + rand_below(&l->shard->rand, base + 1)));
    s->start = mem_zalloc(sizeof(*s->start));
    s->start->resume = q->resume;
    s->start->resume.text = STR_LIT("");
    sse_resume_choose(s, q->resume.recoverable, count_channels(q));
    c->several = q->count > 1 && q->has_pattern;
    client_identify(c, STR_LIT(""));
    client_cork(c);
    subscribe_all(s, q);
}

void sse_handle_plain(struct http_exchange *x, const struct http_request *r)
{
    struct loop *l = http_loop(x);
    struct buf cors = BUF_INIT;
    struct buf text = BUF_INIT;
    struct plain_request q = {0};
    if (sse_answered_early(x, r, "GET, OPTIONS", &cors) ||
        refused_as_full(x, &cors))
        goto free_all;
    /* What EventSource sends by itself is newer than what the page's URL says. */
    buf_str(&q.id, r->last_event_id);
    if (rules_anonymous(l->app->config))
        read_query(l->app->config, r->query, &text, &q);
    else
        refuse(
            &q, ERROR_PERMISSION_DENIED,
            "anonymous connections are off: client.allow_anonymous_connect_without_token");
    if (q.status) {
        http_respond_error_with(x, q.status, q.error, str_of(q.detail),
                                buf_view(&cors));
        goto free_all;
    }
    q.resume.text = buf_view(&q.id);
    sse_resume_read(&q.resume);
    int fd = http_take_socket(x);
    if (fd != -1)
        start_plain(l, fd, &q, buf_view(&cors));
free_all:
    free(q.channels);
    buf_free(&q.id);
    buf_free(&cors);
    buf_free(&text);
}

/* --- /connection/uni_sse ------------------------------------------------ */

/* The ConnectRequest: 0, or ERR_INVALID for what is no JSON object. */
static int connect_request(const struct http_request *r, struct buf *text,
                           struct json_value *out)
{
    struct str query = r->query;
    struct str name;
    struct str value;
    struct str json = r->method == HTTP_IS_POST ? r->body : STR_LIT("");
    bool bad = false;
    buf_reserve(text, query.n + 1);
    while (r->method == HTTP_IS_GET &&
           http_query_next(&query, text, &name, &value, &bad)) {
        if (str_eq(name, STR_LIT("cf_connect")))
            json = value;
    }
    if (bad)
        return ERR_INVALID;
    if (json.n == 0)
        json = STR_LIT("{}");
    if (json_parse(json, out) < 0)
        return ERR_INVALID;
    if (out->type == JSON_NULL)
        return json_parse(STR_LIT("{}"), out);
    return out->type == JSON_OBJECT ? 0 : ERR_INVALID;
}

/* A ConnectRequest whose fields, and those of its subs, are what they must
 * be. */
static bool is_request(struct json_value v, struct buf *strings)
{
    struct command_fields fields;
    struct str key;
    struct json_value sub;
    if (command_fields(v, strings, &fields) < 0)
        return false;
    if (fields.subs.type == JSON_NULL)
        return true;
    struct json_iter it = json_iter(fields.subs);
    while (json_next_member(&it, &key, &sub)) {
        buf_clear(strings);
        if (sub.type == JSON_OBJECT &&
            command_fields(sub, strings, &fields) < 0)
            return false;
    }
    return true;
}

void sse_handle_uni(struct http_exchange *x, const struct http_request *r)
{
    struct loop *l = http_loop(x);
    struct buf cors = BUF_INIT;
    struct buf text = BUF_INIT;
    struct buf head = BUF_INIT;
    struct buf request = BUF_INIT;
    struct buf strings = BUF_INIT;
    struct json_value v;
    if (sse_answered_early(x, r, "GET, POST, OPTIONS", &cors) ||
        refused_as_full(x, &cors))
        goto free_all;
    if (connect_request(r, &text, &v) < 0 || !is_request(v, &strings)) {
        http_respond_error_with(
            x, 400, ERROR_BAD_REQUEST,
            STR_LIT("cf_connect (or the body) must be a ConnectRequest"),
            buf_view(&cors));
        goto free_all;
    }
    /* Taking the socket frees the request's bytes. */
    buf_str(&request, v.raw);
    CHECK(json_parse(buf_view(&request), &v) == 0);
    int fd = http_take_socket(x);
    if (fd == -1)
        goto free_all;
    struct sse_conn *s = begin(l, fd, ENCODING_UNI_SSE);
    format_head(&head, l, buf_view(&cors));
    buf_lit(&head, "\r\n");
    s->head_sent = true;
    client_push_bytes(&s->session.client, buf_view(&head));
    client_flush(&s->session.client); /* before connect corks the queue */
    session_connect_uni(&s->session, &v);
free_all:
    buf_free(&cors);
    buf_free(&text);
    buf_free(&head);
    buf_free(&request);
    buf_free(&strings);
}
