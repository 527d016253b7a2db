/* Bytes to requests: see http_conn.h. */
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "gateway/protocol/codes.h"
#include "gateway/transport/http_conn.h"
#include "gateway/transport/ws.h"

static const struct {
    const char *name;
    size_t n;
} header_names[] = {
#define ENTRY(field, name) {name, sizeof(name) - 1},
    HTTP_HEADERS(ENTRY)
#undef ENTRY
};

static struct span span_of(const struct http_incoming *in, const char *p,
                           size_t n)
{
    return (struct span){(uint32_t)(p - in->base), (uint32_t)n};
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct http_incoming *in = p->data;
    in->url = span_of(in, at, n);
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    struct http_incoming *in = p->data;
    in->current = -1;
    for (int i = 0; i < HEADER_COUNT; i++) {
        if (header_names[i].n == n &&
            strncasecmp(header_names[i].name, at, n) == 0)
            in->current = i;
    }
    in->field = span_of(in, at, n);
    /* The parser lets spaces before the colon pass, which a proxy may read
     * otherwise (RFC 9112, 5.1). */
    if (memchr(at, ' ', n) || at[n] == ' ' || at[n] == '\t')
        in->bad_field = true;
    return 0;
}

static bool has_control(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c < ' ' && c != '\t') || c == 127)
            return true;
    }
    return false;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct http_incoming *in = p->data;
    /* A second value for one name means a folded line: obsolete, refused. */
    if ((in->field.n == 0 && n) || has_control(at, n))
        in->bad_field = true;
    in->field.n = 0;
    if (in->current < 0)
        return 0;
    /* Whom two Hosts mean is a matter of opinion (RFC 9112, 3.2). */
    if (in->current == HEADER_host && in->headers[HEADER_host].at)
        in->bad_field = true;
    in->headers[in->current] = span_of(in, at, n);
    if (in->current == HEADER_origin)
        in->has_origin = true;
    return 0;
}

static int on_head_complete(http_parser *p)
{
    struct http_incoming *in = p->data;
    in->upgrade = p->upgrade && p->method == HTTP_GET;
    /* Otherwise an `Upgrade: h2c` would make the parser skip the body. */
    if (p->method != HTTP_CONNECT)
        p->upgrade = 0;
    in->keep_alive = http_should_keep_alive(p);
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct http_incoming *in = p->data;
    struct http_conn *c = in->conn;
    if (c->body.n + n > in->route.body_max)
        return 1;
    buf_add(&c->body, at, n);
    return 0;
}

static int on_complete(http_parser *p)
{
    struct http_incoming *in = p->data;
    in->complete = true;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings head_settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head_complete,
};

static const http_parser_settings chunk_settings = {
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* Length of the head with its empty line, or 0 while it is incomplete. */
static size_t find_head_end(struct http_conn *c)
{
    const char *p = c->in.p + c->in_at;
    size_t n = c->in.n - c->in_at;
    for (size_t i = c->scanned; i < n; i++) {
        const char *lf = memchr(p + i, '\n', n - i);
        if (!lf)
            break;
        i = (size_t)(lf - p);
        if (i + 1 < n && p[i + 1] == '\n')
            return i + 2;
        if (i + 2 < n && p[i + 1] == '\r' && p[i + 2] == '\n')
            return i + 3;
    }
    c->scanned = n > 3 ? n - 3 : 0;
    return 0;
}

static struct str text(const struct http_conn *c, struct span s)
{
    return s.n ? str_n(c->in.p + c->in_at + s.at, s.n) : STR_LIT("");
}

static enum http_verb method_of(unsigned m)
{
    switch (m) {
    case HTTP_GET:
        return HTTP_IS_GET;
    case HTTP_HEAD:
        return HTTP_IS_HEAD;
    case HTTP_POST:
        return HTTP_IS_POST;
    case HTTP_OPTIONS:
        return HTTP_IS_OPTIONS;
    default:
        return HTTP_OTHER;
    }
}

static void fill_request(const struct http_conn *c, struct http_request *r)
{
    const struct http_incoming *in = c->incoming;
    struct str url = text(c, in->url);
    r->method = method_of(in->parser.method);
    r->path = str_cut(&url, '?');
    r->query = url;
    r->body = STR_LIT("");
    r->has_origin = in->has_origin;
#define FIELD(field, name) r->field = text(c, in->headers[HEADER_##field]);
    HTTP_HEADERS(FIELD)
#undef FIELD
}

/* http-parser as Debian builds it only looks at the first letter. */
static bool names_http(const struct http_incoming *in)
{
    const char *p = in->base + in->url.at + in->url.n;
    while (*p == ' ')
        p++;
    return memcmp(p, "HTTP/", 5) == 0;
}

/* `GET http://host/path`, as proxies are asked, names the same path. */
static void skip_authority(struct http_conn *c)
{
    struct span *url = &c->incoming->url;
    struct str s = text(c, *url);
    if (s.n < 7 || strncasecmp(s.p, "http://", 7) != 0)
        return;
    const char *path = memchr(s.p + 7, '/', s.n - 7);
    if (!path)
        return;
    url->at += (uint32_t)(path - s.p);
    url->n -= (uint32_t)(path - s.p);
}

/* 0, or the HTTP status that refuses the head. */
static int parse_head(struct http_conn *c, size_t head_len)
{
    struct http_incoming *in = mem_zalloc(sizeof(*in));
    c->incoming = in;
    in->head_len = (uint32_t)head_len;
    in->base = c->in.p + c->in_at;
    in->conn = c;
    http_parser_init(&in->parser, HTTP_REQUEST);
    in->parser.data = in;
    size_t parsed =
        http_parser_execute(&in->parser, &head_settings, in->base, head_len);
    if (HTTP_PARSER_ERRNO(&in->parser) != HPE_OK || parsed != head_len ||
        in->bad_field)
        return 400;
    if (in->parser.http_major != 1 || in->parser.http_minor > 1)
        return 505;
    if (!names_http(in))
        return 400;
    if (in->parser.http_minor == 1 && in->headers[HEADER_host].at == 0)
        return 400;
    skip_authority(c);
    if (in->url.n == 0 || c->in.p[c->in_at + in->url.at] != '/')
        return 400;
    return 0;
}

static bool is_expected(struct str expect)
{
    static const char one[] = "100-continue";
    return expect.n == 0 || (expect.n == sizeof(one) - 1 &&
                             strncasecmp(expect.p, one, expect.n) == 0);
}

/* Decide where the body is; 0 or a status. */
static int plan_body(struct http_conn *c)
{
    struct http_incoming *in = c->incoming;
    uint64_t length = in->parser.content_length;
    if (!is_expected(text(c, in->headers[HEADER_expect])))
        return 417;
    if (in->parser.uses_transfer_encoding && !(in->parser.flags & F_CHUNKED))
        return 501;
    if (in->parser.flags & F_CHUNKED) {
        c->phase = PHASE_CHUNKED;
        return 0;
    }
    c->phase = PHASE_LENGTH;
    in->body_len = in->parser.flags & F_CONTENTLENGTH ? length : 0;
    return in->body_len > in->route.body_max ? 413 : 0;
}

static bool is_websocket(struct str upgrade)
{
    return upgrade.n == 9 && strncasecmp(upgrade.p, "websocket", 9) == 0;
}

static void say_continue(struct http_conn *c)
{
    struct http_incoming *in = c->incoming;
    if (in->continued || in->headers[HEADER_expect].n == 0)
        return;
    in->continued = true;
    if (c->exchange_count)
        return; /* earlier answers come first; the client may just send */
    buf_lit(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    http_mark_dirty(c);
}

static void forget_incoming(struct http_conn *c)
{
    free(c->incoming);
    c->incoming = NULL;
}

static void finish_request(struct http_conn *c, size_t bytes)
{
    c->in_at += bytes;
    c->scanned = 0;
    c->phase = PHASE_HEAD;
    buf_free(&c->body);
    forget_incoming(c);
}

static void handle(struct http_conn *c, struct str body, size_t bytes)
{
    struct http_incoming *in = c->incoming;
    struct http_request r;
    fill_request(c, &r);
    r.body = body;
    route_fn fn = in->route.handle;
    if (!in->keep_alive || c->loop->stopping)
        c->last = true;
    struct http_exchange *x = http_exchange_new(c, in);
    c->loop->shard->stats.http_requests++;
    c->requests++;
    if (fn)
        fn(x, &r);
    else
        http_respond_error(x, 404, ERROR_METHOD_NOT_FOUND,
                           STR_LIT("no such path"));
    if (!c->gone)
        finish_request(c, bytes);
}

/* A checked upgrade leaves HTTP: ws.h gets the socket and what follows. */
static void upgrade(struct http_conn *c)
{
    struct loop *l = c->loop;
    struct http_request r;
    fill_request(c, &r);
    const char *why;
    int status = ws_refusal(l, &r, &why);
    if (status) {
        http_refuse(c, status, why);
        return;
    }
    if (c->exchange_count || c->out.n > c->out_at) {
        http_refuse(c, 400, "an upgrade must wait for earlier answers");
        return;
    }
    /* The request's slices live in c->in, which the release would free. */
    struct buf bytes = c->in;
    size_t at = c->in_at + c->incoming->head_len;
    c->in = BUF_INIT;
    int fd = http_conn_release(c);
    ws_adopt(l, fd, &r, bytes.p + at, bytes.n - at);
    buf_free(&bytes);
}

static const char *body_refusal(int status)
{
    if (status == 413)
        return "the body is too large here";
    return status == 417 ? "the only expectation met is 100-continue"
                         : "unknown transfer encoding";
}

static bool is_admitted(const struct http_conn *c)
{
    struct http_request r;
    fill_request(c, &r);
    return c->incoming->route.admit(c->loop->app, &r);
}

/* A body that is here already is skipped and the connection goes on; none is
 * waited for, so that a stranger cannot make us hold one. */
static void refuse_stranger(struct http_conn *c)
{
    struct http_incoming *in = c->incoming;
    size_t have = c->in.n - c->in_at - in->head_len;
    uint64_t body =
        in->parser.flags & F_CONTENTLENGTH ? in->parser.content_length : 0;
    bool whole = !(in->parser.flags & F_CHUNKED) && body <= have;
    struct http_response r = {.status = 401,
                              .close = !whole || !in->keep_alive};
    c->last = r.close;
    c->loop->shard->stats.http_requests++;
    c->requests++;
    http_respond(http_exchange_new(c, in), &r);
    finish_request(c, in->head_len + (whole ? (size_t)body : 0));
}

static void begin_request(struct http_conn *c, size_t head_len)
{
    int status = parse_head(c, head_len);
    if (status) {
        http_refuse(c, status, "the request head cannot be parsed");
        return;
    }
    struct http_incoming *in = c->incoming;
    struct str url = text(c, in->url);
    in->route = route_find(c->loop->app, str_cut(&url, '?'));
    if (in->route.admit && !is_admitted(c)) {
        refuse_stranger(c);
        return;
    }
    status = plan_body(c);
    if (status) {
        http_refuse(c, status, body_refusal(status));
        return;
    }
    if (in->route.is_websocket) {
        if (in->upgrade && is_websocket(text(c, in->headers[HEADER_upgrade])))
            upgrade(c);
        else
            http_refuse(c, 426, "this is a WebSocket endpoint");
    }
}

static bool read_length_body(struct http_conn *c)
{
    struct http_incoming *in = c->incoming;
    size_t have = c->in.n - c->in_at - in->head_len;
    if (have < in->body_len) {
        say_continue(c);
        return false;
    }
    struct str body = str_n(c->in.p + c->in_at + in->head_len, in->body_len);
    handle(c, body, in->head_len + in->body_len);
    return true;
}

static bool read_chunked_body(struct http_conn *c)
{
    struct http_incoming *in = c->incoming;
    size_t at = c->in_at + in->head_len + in->fed;
    if (at == c->in.n) {
        say_continue(c);
        return false;
    }
    size_t n = http_parser_execute(&in->parser, &chunk_settings, c->in.p + at,
                                   c->in.n - at);
    in->fed += (uint32_t)n;
    enum http_errno e = HTTP_PARSER_ERRNO(&in->parser);
    if (in->complete) {
        handle(c, buf_view(&c->body), in->head_len + in->fed);
        return true;
    }
    if (e == HPE_CB_body)
        http_refuse(c, 413, "the body is too large here");
    else if (e != HPE_OK)
        http_refuse(c, 400, "the chunked body cannot be parsed");
    else {
        /* What was decoded need not stay in the input buffer. */
        size_t drop = in->fed;
        char *from = c->in.p + c->in_at + in->head_len;
        memmove(from, from + drop, c->in.n - c->in_at - in->head_len - drop);
        c->in.n -= drop;
        in->fed = 0;
    }
    return false;
}

static void skip_empty_lines(struct http_conn *c)
{
    while (c->in_at < c->in.n &&
           (c->in.p[c->in_at] == '\r' || c->in.p[c->in_at] == '\n'))
        c->in_at++;
}

/* One step; false when more bytes (or room for answers) are needed. */
static bool step(struct http_conn *c)
{
    size_t head_max = (size_t)c->loop->app->config->http_server.max_header_size;
    if (c->phase == PHASE_LENGTH)
        return read_length_body(c);
    if (c->phase == PHASE_CHUNKED)
        return read_chunked_body(c);
    skip_empty_lines(c);
    if (c->in_at == c->in.n)
        return false;
    size_t head_len = find_head_end(c);
    if (head_len > head_max ||
        (head_len == 0 && c->in.n - c->in_at > head_max)) {
        http_refuse(c, 431, "the request head is too large");
        return false;
    }
    if (head_len == 0)
        return false;
    begin_request(c, head_len);
    return !c->gone && !c->last;
}

void http_process(struct http_conn *c)
{
    while (!c->gone && !c->last && c->phase != PHASE_LINGER &&
           c->exchange_count < HTTP_MAX_PIPELINE &&
           c->out.n - c->out_at < OUT_MAX && step(c))
        ;
    if (c->gone)
        return;
    if (c->in_at == c->in.n) {
        buf_free(&c->in);
        c->in_at = 0;
    } else if (c->in_at) {
        buf_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
}

static int hex(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F')
        return ch - 'A' + 10;
    return -1;
}

static void percent_decode(struct str s, struct buf *to, bool *bad)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch == '+') {
            ch = ' ';
        } else if (ch == '%') {
            int hi = i + 2 < s.n ? hex(s.p[i + 1]) : -1;
            int lo = i + 2 < s.n ? hex(s.p[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                *bad = true;
                return;
            }
            ch = (char)(hi * 16 + lo);
            i += 2;
        }
        buf_char(to, ch);
    }
}

bool http_query_next(struct str *query, struct buf *to, struct str *name,
                     struct str *value, bool *bad)
{
    struct str pair = {NULL, 0};
    while (query->n && pair.n == 0)
        pair = str_cut(query, '&');
    if (pair.n == 0)
        return false;
    struct str key = str_cut(&pair, '=');
    size_t at = to->n;
    percent_decode(key, to, bad);
    *name = str_n(to->p + at, to->n - at);
    size_t value_at = to->n;
    percent_decode(pair, to, bad);
    *value = str_n(to->p + value_at, to->n - value_at);
    return true;
}
