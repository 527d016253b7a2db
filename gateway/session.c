#include "gateway/session.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/protocol/command.h"
#include "gateway/protocol/encode.h"
#include "gateway/recover.h"
#include "gateway/rules.h"
#include "gateway/transport/wire.h"
#include "gateway/tune.h"
#include "hub/hub.h"

/* A peer has this long to take our goodbye and answer it. */
#define CLOSE_MS 5000

/* A message's replies wait for each other up to here: a small one may ask for
 * many that are large (histories), and the client's queue bounds those. */
#define REPLIES_MAX (256 * 1024)

static const struct config *config_of(const struct session *s)
{
    return s->loop->app->config;
}

static uint64_t now_ms(const struct session *s)
{
    return shard_now_ms(s->client.shard);
}

static void arm(struct session *s, uint64_t deadline_ms)
{
    wheel_start(&s->client.shard->wheel, &s->timer, deadline_ms);
}

/* --- replies ----------------------------------------------------------- */

struct buf *session_begin(struct session *s)
{
    struct loop *l = s->loop;
    if (l->replying == s) {
        if (l->reply.n)
            buf_char(&l->reply, '\n');
        return &l->reply;
    }
    buf_clear(&l->scratch);
    return &l->scratch;
}

/* One run of JSON lines becomes what this transport calls a message. */
static void push_json(struct session *s, struct str json)
{
    struct buf framed = BUF_INIT;
    if (s->client.encoding == ENCODING_WS_JSON) {
        wire_ws_frame(&framed, WIRE_WS_TEXT, json);
    } else {
        buf_lit(&framed, "data: ");
        buf_str(&framed, json);
        buf_lit(&framed, "\n\n");
    }
    client_push_bytes(&s->client, buf_view(&framed));
    buf_free(&framed);
}

static void flush_replies(struct session *s)
{
    struct loop *l = s->loop;
    if (l->replying != s || l->reply.n == 0)
        return;
    push_json(s, buf_view(&l->reply));
    buf_clear(&l->reply);
}

void session_end(struct session *s)
{
    struct loop *l = s->loop;
    if (l->replying != s)
        push_json(s, buf_view(&l->scratch));
    else if (l->reply.n > REPLIES_MAX)
        flush_replies(s);
}

void session_reply_error(struct session *s, uint32_t id, uint32_t error)
{
    s->client.shard->stats.command_errors++;
    encode_error_reply(session_begin(s), id, error);
    session_end(s);
}

void session_close(struct session *s, uint32_t code)
{
    flush_replies(s);
    client_close(&s->client, code, disconnect_reason(code));
}

void session_close_reason(struct session *s, uint32_t code, struct str reason)
{
    size_t n =
        reason.n < sizeof(s->reason) - 1 ? reason.n : sizeof(s->reason) - 1;
    /* Half a character would make the close frame itself invalid. */
    while (n && n < reason.n && ((unsigned char)reason.p[n] & 0xc0) == 0x80)
        n--;
    memcpy(s->reason, reason.p, n);
    flush_replies(s);
    client_close(&s->client, code,
                 n ? str_n(s->reason, n) : disconnect_reason(code));
}

/* --- time -------------------------------------------------------------- */

static int64_t ping_interval_ms(const struct session *s)
{
    return s->plain ? config_of(s)->sse.ping_interval_ms
                    : config_of(s)->client.ping_interval_ms;
}

bool session_wants_pong(const struct session *s)
{
    return s->ops->bidirectional && config_of(s)->client.ping_interval_ms > 0 &&
           config_of(s)->client.pong_timeout_ms > 0;
}

static struct frame *ping_frame(const struct session *s)
{
    if (s->plain)
        return s->loop->ping_comment;
    return s->client.encoding == ENCODING_WS_JSON ? s->loop->ping_ws
                                                  : s->loop->ping_event;
}

static void send_ping(struct session *s)
{
    uint64_t interval = (uint64_t)ping_interval_ms(s);
    client_push(&s->client, ping_frame(s));
    s->pinged_ms = now_ms(s);
    s->awaiting_pong = session_wants_pong(s);
    uint64_t wait = s->awaiting_pong
                        ? (uint64_t)config_of(s)->client.pong_timeout_ms
                        : interval;
    arm(s, s->pinged_ms + wait);
}

/* The first ping comes at a random time in the second half of the interval,
 * so that clients that came together do not stay together. */
void session_start_pings(struct session *s)
{
    uint64_t interval = (uint64_t)ping_interval_ms(s);
    if (interval == 0) {
        wheel_stop(&s->client.shard->wheel, &s->timer);
        return;
    }
    uint64_t first =
        interval / 2 + rand_below(&s->client.shard->rand, interval / 2 + 1);
    arm(s, now_ms(s) + first);
}

static void on_timer(struct wheel_timer *t)
{
    struct session *s = container_of(t, struct session, timer);
    if (s->client.closing || s->client.closed)
        s->ops->transport.kill(&s->client);
    else if (s->state != SESSION_CONNECTED)
        session_close(s, DISCONNECT_STALE);
    else if (s->awaiting_pong)
        session_close(s, DISCONNECT_NO_PONG);
    else
        send_ping(s);
}

static void on_pong(struct session *s)
{
    if (!s->awaiting_pong)
        return;
    s->awaiting_pong = false;
    arm(s, s->pinged_ms + (uint64_t)ping_interval_ms(s));
}

static void on_closing(struct client *c)
{
    struct session *s = session_of(c);
    arm(s, now_ms(s) + CLOSE_MS);
    /* What waited is not answered any more; the peer's goodbye is read. */
    buf_free(&s->held);
    if (!s->paused)
        return;
    s->paused = false;
    s->ops->pause(s, false);
}

void session_start_plain(struct session *s)
{
    s->state = SESSION_CONNECTED;
    session_start_pings(s);
}

/* --- answers of the hub ------------------------------------------------ */

/* The server changed a subscription: a push, or on plain streams an event of
 * that name, so that `data` of ordinary events stays the publication's. */
static void push_about(struct session *s, const struct sub *sub,
                       struct str what, struct str body)
{
    if (s->plain) {
        struct buf event = BUF_INIT;
        buf_printf(&event, "event: %.*s\ndata: ", STR_ARG(what));
        encode_push(&event, true, topic_name(sub->topic), what, body);
        buf_lit(&event, "\n\n");
        client_push_bytes(&s->client, buf_view(&event));
        buf_free(&event);
        return;
    }
    encode_push(session_begin(s), !s->ops->bidirectional,
                topic_name(sub->topic), what, body);
    session_end(s);
}

/* A subscription nobody asked for: a push has no room for publications. */
static uint32_t tell_subscribed(struct session *s, struct sub *sub,
                                const struct sub_answer *answer)
{
    struct buf body = BUF_INIT;
    if (s->ops->arrange)
        s->ops->arrange(s);
    buf_char(&body, '{');
    recover_encode(&body, sub, answer);
    if (sub->tell) {
        buf_lit(&body, "\"data\":");
        tune_encode_grant(&body, sub);
        buf_char(&body, ',');
    }
    body.n -= body.p[body.n - 1] == ',';
    buf_char(&body, '}');
    push_about(s, sub, STR_LIT("subscribe"), buf_view(&body));
    buf_free(&body);
    /* A full queue has ended it, and its subscriptions. */
    if (s->client.closing || s->client.closed)
        return 0;
    return tune_push_snapshot(s, sub, answer);
}

static uint32_t reply_subscribed(struct session *s, const struct sub *sub,
                                 const struct sub_answer *answer)
{
    struct buf *b = session_begin(s);
    buf_lit(b, "{\"id\":");
    buf_u64(b, sub->request_id);
    buf_lit(b, ",\"subscribe\":");
    uint32_t told = tune_encode_result(b, sub, answer);
    buf_char(b, '}');
    session_end(s);
    return told;
}

/* What a publication that was missed has in it decides like a live one. */
static bool is_binary(const struct sub_answer *answer)
{
    for (uint32_t i = 0; i < answer->count; i++) {
        if (!answer->snapshot[i]->is_json)
            return true;
    }
    return false;
}

/* A client's own subscription that is not to be, though its channel would: 0,
 * or what it is told instead. */
static uint32_t refusal(const struct session *s, const struct sub *sub,
                        const struct sub_answer *answer)
{
    if (sub->reject && sub->recovers && answer->recovery != RECOVERY_DONE)
        return ERROR_UNRECOVERABLE;
    /* Later there will be room for it. */
    return recover_fits(s, sub, answer) ? 0 : ERROR_TOO_MANY_REQUESTS;
}

static uint32_t answer_client(struct session *s, struct sub *sub,
                              const struct sub_answer *answer)
{
    uint32_t error = answer->error ? answer->error : refusal(s, sub, answer);
    if (!error)
        return reply_subscribed(s, sub, answer);
    session_reply_error(s, sub->request_id, error);
    if (!answer->error && !s->client.closing && !s->client.closed)
        hub_unsubscribe(&s->client, sub);
    return 0;
}

/* Who cannot try again gets what there is room for: true when that is not what
 * was missed. An event stream begins anew with the newest. */
static bool forgo_recovery(const struct session *s, const struct sub *sub,
                           struct sub_answer *answer)
{
    if (recover_fits(s, sub, answer))
        return false;
    uint32_t kept = s->plain ? 1 : 0;
    answer->recovery = RECOVERY_TOO_OLD;
    answer->snapshot += answer->count - kept;
    answer->count = kept;
    return true;
}

static uint32_t tell_answer(struct session *s, struct sub *sub,
                            const struct sub_answer *answer)
{
    struct client *c = &s->client;
    uint32_t told = 0;
    sub->blank = sub->policy->snapshot && !answer->known &&
                 answer->recovery != RECOVERY_DONE;
    recover_count(c->shard, sub, answer);
    if (is_binary(answer)) {
        session_close(s, DISCONNECT_INAPPROPRIATE);
        return 0;
    }
    if (s->plain && (s->state == SESSION_NEW || !sub->server_side))
        return s->ops->subscribed(s, sub, answer);
    if (s->state == SESSION_CONNECTING)
        return session_connect_answered(s, sub, answer);
    if (sub->server_side && !answer->error)
        told = tell_subscribed(s, sub, answer);
    else if (!sub->server_side)
        told = answer_client(s, sub, answer);
    if (s->asking == 0)
        session_resume_later(s);
    return told;
}

static uint32_t on_subscribed(struct client *c, struct sub *sub,
                              const struct sub_answer *answer)
{
    struct session *s = session_of(c);
    struct sub_answer less = *answer;
    s->asking--;
    if (!(sub->server_side || s->plain) || !forgo_recovery(s, sub, &less))
        return tell_answer(s, sub, answer);
    /* Nothing before what is kept follows. */
    uint32_t forgone = answer->count - less.count;
    return forgone + tell_answer(s, sub, &less);
}

/* Who was subscribed by the server cannot subscribe again by itself, an event
 * stream neither: it comes back, and is told what it missed. */
static void on_lost(struct client *c, struct sub *sub, enum loss why)
{
    struct session *s = session_of(c);
    struct buf body = BUF_INIT;
    (void)why;
    if (sub->server_side || s->plain) {
        session_close(s, DISCONNECT_INSUFFICIENT);
        return;
    }
    encode_code_reason(&body, UNSUBSCRIBE_INSUFFICIENT,
                       disconnect_reason(DISCONNECT_INSUFFICIENT));
    push_about(s, sub, STR_LIT("unsubscribe"), buf_view(&body));
    buf_free(&body);
    if (!c->closing && !c->closed)
        hub_unsubscribe(c, sub);
}

static bool on_gap(struct client *c, struct sub *sub)
{
    struct session *s = session_of(c);
    if (!s->plain)
        return false;
    s->ops->gap(s, sub);
    return true;
}

static void on_mark(struct client *c, const struct sub *sub, struct buf *to)
{
    struct session *s = session_of(c);
    s->ops->mark(s, sub, to);
}

static const struct session_events events = {
    .subscribed = on_subscribed,
    .lost = on_lost,
    .gap = on_gap,
    .mark = on_mark,
    .closing = on_closing,
};

uint32_t session_server_subscribe(struct session *s, struct str channel,
                                  const struct recover_request *since)
{
    struct rules_channel ch;
    uint32_t error =
        rules_channel(config_of(s), channel, RULES_CONCRETE_OR_PATTERN, &ch);
    if (error)
        return error;
    struct subscribe_options o = {.is_pattern = ch.name.is_pattern,
                                  .server_side = true};
    tune_options(&ch, &(struct throttle_request){0}, &o);
    static const struct recover_request none;
    recover_options(config_of(s), &ch, client_user(&s->client),
                    since ? since : &none, &o);
    /* A plain stream gets a publication once, however many subscriptions
     * bring it. */
    s->client.several |= s->plain;
    s->asking++;
    int rc = hub_subscribe(&s->client, channel, &o);
    if (rc < 0)
        s->asking--;
    if (rc == ERR_FULL)
        session_close(s, DISCONNECT_CHANNEL_LIMIT);
    return 0;
}

void session_server_unsubscribe(struct session *s, struct sub *sub)
{
    struct buf body = BUF_INIT;
    bool asking = sub->state == SUB_ASKING;
    bool by_client = !sub->server_side;
    /* A command that still waits for its answer gets one first. */
    if (asking && by_client && !s->plain) {
        encode_empty_reply(session_begin(s), sub->request_id,
                           STR_LIT("subscribe"));
        session_end(s);
    }
    /* A full queue ends it, and its subscriptions. */
    if (s->client.closing || s->client.closed)
        return;
    if (!asking || by_client) {
        encode_code_reason(&body, UNSUBSCRIBE_SERVER,
                           STR_LIT("server unsubscribe"));
        push_about(s, sub, STR_LIT("unsubscribe"), buf_view(&body));
        buf_free(&body);
    }
    if (s->client.closing || s->client.closed)
        return;
    hub_unsubscribe(&s->client, sub);
    if (!asking)
        return;
    s->asking--;
    if (s->plain && (s->state == SESSION_NEW ? s->asking == 0 : by_client))
        s->ops->subscribed(s, NULL, NULL);
    if (s->asking || s->plain)
        return;
    if (s->state == SESSION_CONNECTING)
        session_connect_finish(s);
    else
        session_resume_later(s);
}

/* --- messages ---------------------------------------------------------- */

/* May the command run now, or must it wait for earlier ones? Subscribes may
 * overtake each other's answers; nothing overtakes connect. */
static bool must_wait(const struct session *s, const struct command *cmd)
{
    if (s->state == SESSION_CONNECTING)
        return true;
    if (s->asking == 0 || cmd->kind == COMMAND_SUBSCRIBE)
        return false;
    return cmd->id != 0;
}

static void hold(struct session *s, struct str rest)
{
    size_t most =
        SESSION_HELD_MAX + (size_t)config_of(s)->websocket.message_size_limit;
    if (s->held.n + rest.n > most) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    if (s->held.n)
        buf_char(&s->held, '\n');
    buf_str(&s->held, rest);
    if (!s->paused) {
        s->paused = true;
        s->ops->pause(s, true);
    }
}

static void run_command(struct session *s, const struct command *cmd)
{
    s->client.shard->stats.commands++;
    if (cmd->kind == COMMAND_CONNECT)
        session_connect(s, cmd);
    else if (s->state != SESSION_CONNECTED)
        session_close(s, DISCONNECT_BAD_REQUEST);
    else if (cmd->id == 0 && cmd->kind != COMMAND_SEND)
        on_pong(s);
    else
        session_command(s, cmd);
}

static bool at_end(const struct session *s)
{
    return s->client.closing || s->client.closed || s->state == SESSION_FAILED;
}

static void run_lines(struct session *s, struct str text)
{
    struct command cmd;
    /* At most one newline may end a message. */
    if (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    struct str rest = text;
    do {
        struct str from = rest;
        struct str line = str_cut(&rest, '\n');
        bool bad = command_parse(line, &cmd) < 0;
        if (bad && s->asking == 0 && s->state != SESSION_CONNECTING) {
            session_close(s, DISCONNECT_BAD_REQUEST);
            return;
        }
        /* A bad line has its turn like any other: replies before it go out. */
        if (bad || must_wait(s, &cmd)) {
            hold(s, from);
            return;
        }
        buf_clear(&s->loop->strings);
        run_command(s, &cmd);
    } while (rest.p && !at_end(s));
}

void session_message(struct session *s, struct str text)
{
    struct loop *l = s->loop;
    if (s->client.closing || s->client.closed)
        return;
    if (s->state == SESSION_FAILED) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    /* What is held was sent before this. */
    if (s->held.n) {
        hold(s, text);
        return;
    }
    CHECK(l->replying == NULL);
    l->replying = s;
    buf_clear(&l->reply);
    run_lines(s, text);
    flush_replies(s);
    l->replying = NULL;
}

struct resume_letter {
    struct letter letter;
    struct client_ref ref;
};

static void on_resume(void *reader, struct letter *self)
{
    struct resume_letter *r = container_of(self, struct resume_letter, letter);
    struct client *c = client_find(reader, r->ref);
    free(r);
    if (!c)
        return;
    struct session *s = session_of(c);
    struct buf held = s->held;
    s->held = BUF_INIT;
    if (held.n)
        session_message(s, buf_view(&held));
    buf_free(&held);
    if (s->paused && s->held.n == 0) {
        s->paused = false;
        s->ops->pause(s, false);
    }
}

/* Not at once: the subscription just answered is live only when we return. */
void session_resume_later(struct session *s)
{
    if (s->held.n == 0 && !s->paused)
        return;
    struct resume_letter *r = mem_alloc(sizeof(*r));
    r->letter.run = on_resume;
    r->ref = s->client.ref;
    mailbox_post(&s->client.shard->mailbox, &r->letter);
}

/* --- life -------------------------------------------------------------- */

void session_open(struct session *s, struct loop *l,
                  const struct session_ops *ops, enum encoding encoding)
{
    s->loop = l;
    s->ops = ops;
    s->state = SESSION_NEW;
    s->timer.fire = on_timer;
    l->app->sessions++;
    client_open(&s->client, l->shard, encoding, &ops->transport, &events);
    arm(s, now_ms(s) + (uint64_t)config_of(s)->client.stale_close_delay_ms);
}

static void log_closed(const struct session *s)
{
    static const char *const carriers[] = {
        [ENCODING_WS_JSON] = "websocket", [ENCODING_UNI_SSE] = "uni_sse",
        [ENCODING_SSE] = "sse",           [ENCODING_SSE_RAW] = "sse",
        [ENCODING_SSE_ID] = "sse",        [ENCODING_SSE_RAW_ID] = "sse",
    };
    const struct client *c = &s->client;
    char id[RAND_UUID_LEN];
    if (!log_enabled(LOG_DEBUG))
        return;
    rand_uuid_format(c->id, id);
    log_debug("client_closed", "client=%.*s transport=%s code=%u reason=%s",
              RAND_UUID_LEN, id, carriers[c->encoding], c->close_code,
              log_quote(c->close_reason));
}

void session_gone(struct session *s)
{
    log_closed(s);
    wheel_stop(&s->client.shard->wheel, &s->timer);
    client_gone(&s->client);
    s->loop->app->sessions--;
    buf_free(&s->held);
    buf_free(&s->connect_subs);
    free(s->changes);
}
