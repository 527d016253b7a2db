/* Answers to bytes: see http_conn.h. */
#include <fnmatch.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/json.h"
#include "gateway/transport/http_conn.h"

static const char *status_text(int status)
{
    switch (status) {
#define ENTRY(number, name, text) \
    case number:                  \
        return #text;
        HTTP_STATUS_MAP(ENTRY)
#undef ENTRY
    default:
        return "Unknown";
    }
}

struct loop *http_loop(const struct http_exchange *x)
{
    return x->loop;
}

struct http_exchange *http_exchange_new(struct http_conn *c,
                                        const struct http_incoming *in)
{
    struct http_exchange *x = mem_zalloc(sizeof(*x));
    x->conn = c;
    x->loop = c->loop;
    x->is_head = in->parser.method == HTTP_HEAD;
    x->keep_alive = !c->last;
    x->say_keep_alive = in->keep_alive && in->parser.http_minor == 0;
    STAILQ_INSERT_TAIL(&c->exchanges, x, link);
    c->exchange_count++;
    return x;
}

static void format(struct buf *to, struct http_exchange *x,
                   const struct http_response *r)
{
    buf_lit(to, "HTTP/1.1 ");
    buf_u64(to, (uint64_t)r->status);
    buf_char(to, ' ');
    buf_str(to, str_of(status_text(r->status)));
    buf_lit(to, "\r\nDate: ");
    buf_str(to, str_of(loop_date(x->loop)));
    if (r->content_type.n) {
        buf_lit(to, "\r\nContent-Type: ");
        buf_str(to, r->content_type);
    }
    if (r->status != 204) {
        buf_lit(to, "\r\nContent-Length: ");
        buf_u64(to, r->body.n);
    }
    buf_lit(to, "\r\n");
    buf_str(to, r->headers);
    if (!x->keep_alive)
        buf_lit(to, "Connection: close\r\n");
    else if (x->say_keep_alive)
        buf_lit(to, "Connection: keep-alive\r\n");
    buf_lit(to, "\r\n");
    if (!x->is_head && r->status != 204)
        buf_str(to, r->body);
}

/* Answers leave in the order of the requests. */
static void release_answers(struct http_conn *c)
{
    struct http_exchange *x;
    while ((x = STAILQ_FIRST(&c->exchanges)) && x->done) {
        STAILQ_REMOVE_HEAD(&c->exchanges, link);
        c->exchange_count--;
        buf_add(&c->out, x->answer.p, x->answer.n);
        buf_free(&x->answer);
        free(x);
    }
    http_mark_dirty(c);
}

void http_respond(struct http_exchange *x, const struct http_response *r)
{
    struct http_conn *c = x->conn;
    if (r->status >= 400 && r->status < 500)
        x->loop->shard->stats.http_bad++;
    if (!c) {
        free(x);
        return;
    }
    if (r->close) {
        x->keep_alive = false;
        c->last = true;
    }
    x->done = true;
    if (x != STAILQ_FIRST(&c->exchanges)) {
        format(&x->answer, x, r);
        return;
    }
    format(&c->out, x, r);
    release_answers(c);
}

void http_error_body(struct buf *to, uint32_t code, struct str detail)
{
    log_debug("http_refused", "code=%u detail=%s", code, log_quote(detail));
    buf_lit(to, "{\"error\":{\"code\":");
    buf_u64(to, code);
    buf_lit(to, ",\"message\":");
    json_quote(to, error_info(code)->message);
    if (detail.n) {
        buf_lit(to, ",\"detail\":");
        json_quote(to, detail);
    }
    buf_lit(to, "}}\n");
}

void http_respond_error(struct http_exchange *x, int status, uint32_t code,
                        struct str detail)
{
    http_respond_error_with(x, status, code, detail, STR_LIT(""));
}

void http_respond_error_with(struct http_exchange *x, int status, uint32_t code,
                             struct str detail, struct str headers)
{
    struct buf body = BUF_INIT;
    http_error_body(&body, code, detail);
    http_respond(x, &(struct http_response){
                        .status = status,
                        .content_type = STR_LIT("application/json"),
                        .body = buf_view(&body),
                        .headers = headers,
                    });
    buf_free(&body);
}

static uint32_t refusal_code(int status)
{
    if (status == 403)
        return ERROR_PERMISSION_DENIED;
    return status == 503 ? ERROR_INTERNAL : ERROR_BAD_REQUEST;
}

void http_refuse(struct http_conn *c, int status, const char *detail)
{
    struct http_incoming none = {0};
    c->last = true;
    struct http_exchange *x =
        http_exchange_new(c, c->incoming ? c->incoming : &none);
    free(c->incoming);
    c->incoming = NULL;
    struct buf body = BUF_INIT;
    http_error_body(&body, refusal_code(status), str_of(detail));
    http_respond(x,
                 &(struct http_response){
                     .status = status,
                     .content_type = STR_LIT("application/json"),
                     .body = buf_view(&body),
                     .headers = status == 426
                                    ? STR_LIT("Upgrade: websocket\r\n"
                                              "Sec-WebSocket-Version: 13\r\n")
                                    : STR_LIT(""),
                     .close = true,
                 });
    buf_free(&body);
}

static bool origin_allowed(const struct config *cfg, struct str origin)
{
    char text[512];
    if (origin.n >= sizeof(text))
        return false;
    memcpy(text, origin.p, origin.n);
    text[origin.n] = '\0';
    const struct string_list *allowed = &cfg->client.allowed_origins;
    for (size_t i = 0; i < allowed->count; i++) {
        if (fnmatch(allowed->items[i], text, FNM_CASEFOLD) == 0)
            return true;
    }
    return false;
}

bool http_cors(struct loop *l, const struct http_request *r, struct buf *to)
{
    if (!r->has_origin)
        return true;
    if (!origin_allowed(l->app->config, r->origin))
        return false;
    buf_lit(to, "Access-Control-Allow-Origin: ");
    buf_str(to, r->origin);
    buf_lit(to,
            "\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n");
    if (r->request_headers.n) {
        buf_lit(to, "Access-Control-Allow-Headers: ");
        buf_str(to, r->request_headers);
        buf_lit(to, "\r\n");
    }
    return true;
}
