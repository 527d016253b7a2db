/* sse_control.c — what a POST changes on an open event stream (sse.h).
 *
 *     POST --> its connection's shard --> the stream's shard --> and back
 *              its connection's shard --bus--> the stream's node, its shard
 *
 * Why:    EventSource cannot say anything; its page can, by the name that the
 *         stream's first event told it, through any proxy to any node.
 * Owns:   changes: one allocation per POST, handed from shard to shard. The
 *         exchange in it is touched on its own shard only.
 * Thread: the loop's; sse_control_asked the bus's.
 * Bounds: SSE_CONTROL_MAX bytes of body, twice sse.channel_limit channels in
 *         it, one change at a time and TUNE_RATE a second of a stream.
 * Uses:   gateway/tune, gateway/rules, transport/http, hub/. */
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/encode.h"
#include "gateway/protocol/json.h"
#include "gateway/protocol/throttle_request.h"
#include "gateway/recover.h"
#include "gateway/rules.h"
#include "gateway/transport/sse.h"
#include "gateway/transport/sse_conn.h"
#include "gateway/tune.h"
#include "hub/hub.h"

/* A question to another node is this, the session's name, a newline and the
 * body; the answer is a status, a newline and a body. */
#define ASK_PREFIX "sse "
/* "200\n" */
#define STATUS_BYTES 4

struct sse_change {
    struct letter letter;           /* from shard to shard */
    struct loop *from;              /* borrowed: where the exchange is */
    struct http_exchange *exchange; /* owned; NULL when a node asks */
    struct node_request *asked;     /* owned; NULL when a client asks */
    struct node_op op;              /* when the stream is on another node */
    struct buf cors;                /* owned: lines for the answer */
    struct buf request;             /* owned */
    struct str body;                /* borrowed: a part of request */
    uint8_t secret[SSE_SECRET_BYTES];
    uint32_t waiting;  /* subscriptions not answered, plus one while adding */
    struct buf errors; /* owned: members of the answer's errors */
    int status;
    struct buf answer; /* owned */
};

/* --- the name of a session: <node>.<shard>.<secret in hex> --------------- */

struct session_name {
    struct str node;
    unsigned shard;
    uint8_t secret[SSE_SECRET_BYTES];
};

static void format_name(const struct sse_conn *s, struct buf *to)
{
    buf_printf(to, "%s.%u.", s->session.loop->app->node_id,
               s->session.client.shard->index);
    for (unsigned i = 0; i < SSE_SECRET_BYTES; i++)
        buf_printf(to, "%02x", s->session.session_id[i]);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_secret(struct str hex, uint8_t to[SSE_SECRET_BYTES])
{
    if (hex.n != 2 * SSE_SECRET_BYTES)
        return ERR_INVALID;
    for (unsigned i = 0; i < SSE_SECRET_BYTES; i++) {
        int high = hex_digit(hex.p[2 * i]);
        int low = hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        to[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}

/* As we write it: no zeros in front. */
static int read_shard(struct str digits, unsigned *out)
{
    if (digits.n < 1 || digits.n > 2 || (digits.n == 2 && *digits.p == '0'))
        return ERR_INVALID;
    *out = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return ERR_INVALID;
        *out = *out * 10 + (unsigned)(digits.p[i] - '0');
    }
    return *out < HOME_MAX_SHARDS ? 0 : ERR_INVALID;
}

static int read_name(struct str text, struct session_name *out)
{
    out->node = str_cut(&text, '.');
    struct str shard = str_cut(&text, '.');
    if (out->node.n != NODE_ID_LEN || read_shard(shard, &out->shard) < 0)
        return ERR_INVALID;
    return read_secret(text, out->secret);
}

/* The shard of a stream of this node; NULL if it cannot be one. */
static struct shard *find_shard(const struct app *app,
                                const struct session_name *name)
{
    if (!str_eq(name->node, str_of(app->node_id)) ||
        name->shard >= app->hub.count)
        return NULL;
    return app->hub.shards[name->shard];
}

/* --- the answer: on the stream's shard, then on the exchange's ----------- */

static void free_change(struct sse_change *c)
{
    buf_free(&c->cors);
    buf_free(&c->request);
    buf_free(&c->errors);
    buf_free(&c->answer);
    free(c);
}

static void respond(struct sse_change *c)
{
    http_respond(c->exchange, &(struct http_response){
                                  .status = c->status,
                                  .content_type = STR_LIT("application/json"),
                                  .body = buf_view(&c->answer),
                                  .headers = buf_view(&c->cors),
                              });
    free_change(c);
}

static void on_answered(void *reader, struct letter *self)
{
    (void)reader;
    respond(container_of(self, struct sse_change, letter));
}

static void set_error(struct sse_change *c, int status, uint32_t error,
                      const char *detail)
{
    c->status = status;
    buf_clear(&c->answer);
    http_error_body(&c->answer, error, str_of(detail));
}

static void set_not_found(struct sse_change *c)
{
    set_error(c, 404, ERROR_METHOD_NOT_FOUND, "no such session");
}

static void answer_node(struct shard *here, struct sse_change *c)
{
    struct buf text = BUF_INIT;
    if (c->answer.n > NODE_MAX_BYTES - STATUS_BYTES)
        set_error(c, 503, ERROR_INTERNAL,
                  "it is done, but the answer is too large for another node");
    buf_printf(&text, "%03d\n", c->status);
    buf_str(&text, buf_view(&c->answer));
    broker_answer(&here->hub->broker, c->asked, buf_view(&text));
    buf_free(&text);
    free_change(c);
}

/* Status and answer are set. Takes c. */
static void finish(struct shard *here, struct sse_change *c)
{
    if (c->asked) {
        answer_node(here, c);
        return;
    }
    c->letter.run = on_answered;
    shard_send(here, c->from->shard, &c->letter);
}

/* --- the grants of a stream ----------------------------------------------- */

/* A subscription whose answer is being handled (`now`) is live when we have
 * returned; when nothing is asked any more, so are all. */
static void encode_channels(struct buf *to, struct sse_conn *s,
                            const struct sub *now)
{
    struct sub *sub;
    bool first = true;
    buf_lit(to, "\"channels\":{");
    TAILQ_FOREACH(sub, &s->session.client.subs, link) {
        if (sub->state != SUB_LIVE && sub != now && s->session.asking)
            continue;
        if (!first)
            buf_char(to, ',');
        first = false;
        json_quote(to, topic_name(sub->topic));
        buf_char(to, ':');
        tune_encode_grant(to, sub);
        sub->blank = false; /* said once: it is about the beginning */
    }
    buf_char(to, '}');
}

void sse_control_begin(struct sse_conn *s, struct buf *head)
{
    struct loop *l = s->session.loop;
    rand_bytes(s->session.session_id, SSE_SECRET_BYTES);
    HASH_ADD_KEYPTR(hh, l->streams, s->session.session_id, SSE_SECRET_BYTES, s);
    s->listed = true;
    buf_lit(head, "event: session\n");
    sse_resume_mark(s, true, head);
    buf_lit(head, "data: {\"session\":\"");
    format_name(s, head);
    buf_lit(head, "\",");
    encode_channels(head, s, NULL);
    buf_char(head, ',');
    sse_resume_channels(s, head);
    buf_lit(head, "}\n\n");
}

/* --- what a body asks for ------------------------------------------------- */

struct wish {
    struct str channel;
    bool leave;
    struct throttle_request request;
};

struct wish_list {
    struct wish *items; /* owned array */
    size_t count;
    size_t limit;
    struct buf text; /* owned: what the channels' names point into */
};

/* NULL, or why it is refused. */
static const char *add_wish(struct wish_list *list, struct str key,
                            struct json_value value)
{
    struct wish w = {.leave = value.type == JSON_NULL};
    CHECK(json_text((struct json_value){JSON_STRING, key}, &list->text,
                    &w.channel) == 0);
    if (w.channel.n == 0)
        return "a channel's name is empty";
    if (!w.leave && value.type != JSON_OBJECT)
        return "a channel's value must be an object, or null to leave it";
    if (throttle_request_read(value, &w.request) < 0)
        return "rate must be a number, 0 or more, and mode all, latest or "
               "merge";
    if (list->count == list->limit)
        return "too many channels in one request";
    if ((list->count & (list->count - 1)) == 0) {
        size_t cap = list->count ? list->count * 2 : 1;
        list->items = mem_realloc(list->items, cap * sizeof(w));
    }
    list->items[list->count++] = w;
    return NULL;
}

static const char *read_wishes(struct str body, struct wish_list *list)
{
    struct json_value v;
    struct json_value channels;
    struct str key;
    const char *why = NULL;
    if (json_parse(body, &v) < 0 ||
        !json_member(v, STR_LIT("channels"), &channels) ||
        channels.type != JSON_OBJECT)
        return "the body must be a JSON object with an object \"channels\"";
    buf_reserve(&list->text, body.n);
    struct json_iter it = json_iter(channels);
    while (!why && json_next_member(&it, &key, &v))
        why = add_wish(list, key, v);
    return why;
}

/* --- the change: on the stream's shard ------------------------------------ */

static bool at_end(const struct sse_conn *s)
{
    return s->session.client.closing || s->session.client.closed;
}

static void note_error(struct sse_change *c, struct str channel, uint32_t error)
{
    if (c->errors.n)
        buf_char(&c->errors, ',');
    json_quote(&c->errors, channel);
    buf_char(&c->errors, ':');
    encode_error(&c->errors, error);
}

/* With the last answer the change is done. */
static void one_less(struct sse_conn *s, const struct sub *now)
{
    struct sse_change *c = s->change;
    if (--c->waiting)
        return;
    s->change = NULL;
    if (at_end(s)) {
        set_not_found(c);
        finish(s->session.client.shard, c);
        return;
    }
    c->status = 200;
    buf_char(&c->answer, '{');
    encode_channels(&c->answer, s, now);
    if (c->errors.n) {
        buf_lit(&c->answer, ",\"errors\":{");
        buf_str(&c->answer, buf_view(&c->errors));
        buf_char(&c->answer, '}');
    }
    buf_char(&c->answer, '}');
    finish(s->session.client.shard, c);
}

uint32_t sse_control_answered(struct sse_conn *s, struct sub *sub,
                              const struct sub_answer *answer)
{
    uint32_t told = 0;
    CHECK(s->change);
    if (sub && answer->error) {
        note_error(s->change, topic_name(sub->topic), answer->error);
        hub_unsubscribe(&s->session.client, sub);
        sub = NULL;
    } else if (sub) {
        sse_resume_arrange(&s->session);
        told = tune_push_snapshot(&s->session, sub, answer);
    }
    one_less(s, sub);
    return told;
}

static void leave(struct sse_conn *s, struct str channel)
{
    struct sub *sub = client_find_sub(&s->session.client, channel);
    if (!sub)
        return;
    if (sub->state == SUB_ASKING) {
        CHECK(sub->server_side); /* one change at a time */
        s->session.asking--;
    }
    hub_unsubscribe(&s->session.client, sub);
    sse_resume_arrange(&s->session);
}

static uint32_t count_recoverable(const struct client *c)
{
    const struct sub *sub;
    uint32_t n = 0;
    TAILQ_FOREACH(sub, &c->subs, link)
        n += sub->recoverable;
    return n;
}

static bool has_pattern(const struct client *c)
{
    const struct sub *sub;
    TAILQ_FOREACH(sub, &c->subs, link) {
        if (sub->topic->is_pattern)
            return true;
    }
    return false;
}

/* 0, or an error code. */
static uint32_t join(struct sse_conn *s, const struct wish *w)
{
    const struct config *cfg = s->session.loop->app->config;
    struct client *c = &s->session.client;
    struct rules_channel ch;
    if (c->sub_count >= (uint32_t)cfg->sse.channel_limit ||
        c->sub_count >= (uint32_t)cfg->client.channel_limit)
        return ERROR_LIMIT_EXCEEDED;
    uint32_t error =
        rules_channel(cfg, w->channel, RULES_CONCRETE_OR_PATTERN, &ch);
    if (!error)
        error = rules_subscribe(cfg, &ch, client_user(c));
    if (error)
        return error;
    struct subscribe_options o = {.is_pattern = ch.name.is_pattern};
    tune_options(&ch, &w->request, &o);
    recover_options(cfg, &ch, client_user(c),
                    &(struct recover_request){.recoverable = true}, &o);
    if (o.recoverable && count_recoverable(c) == EVENT_ID_MAX_CHANNELS)
        return ERROR_LIMIT_EXCEEDED;
    if (c->sub_count && (o.is_pattern || has_pattern(c)))
        c->several = true;
    s->session.asking++;
    s->change->waiting++;
    int rc = hub_subscribe(c, w->channel, &o);
    CHECK(rc == 0); /* a new name, within the limit */
    return 0;
}

static void join_or_retune(struct sse_conn *s, const struct wish *w)
{
    struct sub *sub = client_find_sub(&s->session.client, w->channel);
    if (sub) {
        (void)tune_retune(&s->session, sub, &w->request);
        return;
    }
    uint32_t error = join(s, w);
    if (error)
        note_error(s->change, w->channel, error);
}

/* Those that leave make room for the others. Any of it may end the stream. */
static void grant_wishes(struct sse_conn *s, const struct wish_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].leave)
            leave(s, list->items[i].channel);
    }
    for (size_t i = 0; i < list->count && !at_end(s); i++) {
        if (!list->items[i].leave)
            join_or_retune(s, &list->items[i]);
    }
}

static void change_stream(struct sse_conn *s, struct sse_change *c)
{
    struct shard *here = s->session.client.shard;
    size_t most = (size_t)s->session.loop->app->config->sse.channel_limit;
    struct wish_list list = {.limit = 2 * most}; /* all others instead */
    const char *why = read_wishes(c->body, &list);
    if (why) {
        set_error(c, 400, ERROR_BAD_REQUEST, why);
        finish(here, c);
    } else if (!tune_may_change(&s->session)) {
        set_error(c, 429, ERROR_TOO_MANY_REQUESTS,
                  "too many changes of this stream");
        finish(here, c);
    } else {
        s->change = c;
        c->waiting = 1;
        grant_wishes(s, &list);
        one_less(s, NULL);
    }
    free(list.items);
    buf_free(&list.text);
}

/* Takes c. */
static void run_change(struct shard *here, struct sse_change *c)
{
    struct loop *l = loop_of(here);
    struct sse_conn *s = NULL;
    HASH_FIND(hh, l->streams, c->secret, SSE_SECRET_BYTES, s);
    if (!s || at_end(s)) {
        set_not_found(c);
    } else if (s->change) {
        here->stats.rate_refused++;
        set_error(c, 429, ERROR_TOO_MANY_REQUESTS,
                  "another change of this stream is under way");
    } else {
        change_stream(s, c);
        return;
    }
    finish(here, c);
}

static void on_change(void *reader, struct letter *self)
{
    run_change(reader, container_of(self, struct sse_change, letter));
}

void sse_control_end(struct sse_conn *s)
{
    struct loop *l = s->session.loop;
    struct sse_change *c = s->change;
    if (s->listed)
        HASH_DEL(l->streams, s);
    s->listed = false;
    s->change = NULL;
    if (!c)
        return;
    set_not_found(c);
    finish(s->session.client.shard, c);
}

/* --- the stream is on another node ---------------------------------------- */

/* 0, or ERR_INVALID for what no node of ours says. */
static int read_answer(struct str text, struct sse_change *c)
{
    static const int statuses[] = {200, 400, 404, 429, 503};
    char digits[STATUS_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        snprintf(digits, sizeof(digits), "%d", statuses[i]);
        if (!str_starts(text, str_of(digits)) || text.n < STATUS_BYTES)
            continue;
        c->status = statuses[i];
        buf_str(&c->answer, str_skip(text, STATUS_BYTES));
        return 0;
    }
    return ERR_INVALID;
}

static void on_node_answer(struct node_op *op)
{
    struct sse_change *c = container_of(op, struct sse_change, op);
    int rc = op->result;
    if (rc == 0)
        rc = read_answer(buf_view(&op->answer), c);
    if (rc == ERR_NOT_FOUND)
        set_not_found(c);
    else if (rc < 0)
        set_error(c, 503, ERROR_INTERNAL,
                  "the node of this stream does not answer: it may be done");
    buf_free(&op->answer);
    respond(c);
}

static void ask_node(struct sse_change *c, struct str session,
                     const struct session_name *name)
{
    const struct broker *b = &c->from->app->hub.broker;
    struct node_op *op = &c->op;
    op->origin = c->from->shard;
    op->done = on_node_answer;
    memcpy(op->node, name->node.p, NODE_ID_LEN);
    buf_lit(&op->request, ASK_PREFIX);
    buf_str(&op->request, session);
    buf_char(&op->request, '\n');
    buf_str(&op->request, c->body);
    b->ops->ask(b->self, op);
}

static void on_node_request(void *reader, struct letter *self)
{
    struct node_request *r = container_of(self, struct node_request, letter);
    struct shard *here = reader;
    struct sse_change *c = mem_zalloc(sizeof(*c));
    struct session_name name;
    c->asked = r;
    c->request = r->request;
    r->request = BUF_INIT;
    c->body = buf_view(&c->request);
    struct str line = str_cut(&c->body, '\n');
    if (str_starts(line, STR_LIT(ASK_PREFIX)) &&
        read_name(str_skip(line, strlen(ASK_PREFIX)), &name) == 0 &&
        find_shard(loop_of(here)->app, &name) == here) {
        memcpy(c->secret, name.secret, SSE_SECRET_BYTES);
        run_change(here, c);
        return;
    }
    set_not_found(c);
    finish(here, c);
}

void sse_control_asked(void *arg, struct node_request *r)
{
    const struct app *app = arg;
    struct shard *to = NULL;
    struct session_name name;
    struct str rest = buf_view(&r->request);
    struct str line = str_cut(&rest, '\n');
    if (str_starts(line, STR_LIT(ASK_PREFIX)) &&
        read_name(str_skip(line, strlen(ASK_PREFIX)), &name) == 0)
        to = find_shard(app, &name);
    if (!to)
        to = app->hub.shards[0]; /* any: it says that there is none */
    r->letter.run = on_node_request;
    mailbox_post(&to->mailbox, &r->letter);
}

/* --- the request ----------------------------------------------------------- */

void sse_handle_control(struct http_exchange *x, const struct http_request *r)
{
    struct loop *l = http_loop(x);
    const struct app *app = l->app;
    struct str prefix = str_of(app->config->sse.handler_prefix);
    struct str session = str_skip(r->path, prefix.n + 1);
    struct session_name name;
    struct buf cors = BUF_INIT;
    if (sse_answered_early(x, r, "POST, OPTIONS", &cors)) {
        buf_free(&cors);
        return;
    }
    struct sse_change *c = mem_zalloc(sizeof(*c));
    c->from = l;
    c->exchange = x;
    c->cors = cors;
    buf_str(&c->request, r->body);
    c->body = buf_view(&c->request);
    bool named = read_name(session, &name) == 0;
    struct shard *home = named ? find_shard(app, &name) : NULL;
    if (home) {
        memcpy(c->secret, name.secret, SSE_SECRET_BYTES);
        c->letter.run = on_change;
        shard_send(l->shard, home, &c->letter);
    } else if (named && app->hub.broker.ops &&
               !str_eq(name.node, str_of(app->node_id))) {
        ask_node(c, session, &name);
    } else {
        set_not_found(c);
        respond(c);
    }
}
