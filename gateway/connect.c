/* connect.c — how a client becomes one: the verdict about who it is, the
 * subscriptions it comes with, the reply. Part of session.h.
 *
 *     connect -> auth_ask ... verdict -> subscribe ... answers -> reply
 *
 * While that lasts the client is corked: what it is subscribed to already may
 * queue, but the reply goes out first. Thread: the shard's. */
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/auth/auth.h"
#include "gateway/protocol/command.h"
#include "gateway/protocol/encode.h"
#include "gateway/recover.h"
#include "gateway/rules.h"
#include "gateway/session.h"
#include "gateway/transport/wire.h"
#include "gateway/tune.h"
#include "hub/hub.h"

static const struct config *config_of(const struct session *s)
{
    return s->loop->app->config;
}

void session_connect_finish(struct session *s)
{
    const struct config *cfg = config_of(s);
    char id[RAND_UUID_LEN];
    char session_id[RAND_UUID_LEN];
    if (s->client.closing || s->client.closed)
        return;
    /* It would wait for ever for what it did not get; coming back helps. */
    if (s->connect_error) {
        session_close(s, disconnect_for_error(s->connect_error));
        return;
    }
    struct connect_result r = {
        .client = str_n(id, sizeof(id)),
        .ping_s = (uint32_t)((cfg->client.ping_interval_ms + 999) / 1000),
        .pong = session_wants_pong(s),
        .subs = buf_view(&s->connect_subs),
    };
    rand_uuid_format(s->client.id, id);
    if (!s->ops->bidirectional) {
        rand_uuid_init(s->session_id);
        rand_uuid_format(s->session_id, session_id);
        r.session = str_n(session_id, sizeof(session_id));
    }
    struct buf json = BUF_INIT;
    struct buf framed = BUF_INIT;
    if (s->ops->bidirectional) {
        buf_lit(&json, "{\"id\":");
        buf_u64(&json, s->connect_id);
        buf_lit(&json, ",\"connect\":");
    } else {
        buf_lit(&json, "{\"connect\":");
    }
    encode_connect(&json, &r);
    buf_char(&json, '}');
    if (s->client.encoding == ENCODING_WS_JSON)
        wire_ws_frame(&framed, WIRE_WS_TEXT, buf_view(&json));
    else
        buf_printf(&framed, "data: %.*s\n\n", STR_ARG(buf_view(&json)));
    client_uncork(&s->client, buf_view(&framed));
    buf_free(&json);
    buf_free(&framed);
    buf_free(&s->connect_subs);
    s->state = SESSION_CONNECTED;
    session_start_pings(s);
    session_resume_later(s);
}

static void fail_connect(struct session *s, uint32_t error)
{
    if (!s->ops->bidirectional) {
        session_close(s, disconnect_for_error(error));
        return;
    }
    s->state = SESSION_FAILED;
    buf_free(&s->held);
    client_uncork(&s->client, STR_LIT(""));
    session_reply_error(s, s->connect_id, error);
}

/* What one of the connect request's subs asks for. ERR_INVALID when it does so
 * in a wrong way. */
static int read_request(struct session *s, const struct rules_channel *ch,
                        struct json_value request, struct subscribe_options *o)
{
    struct command_fields f;
    struct buf strings = BUF_INIT;
    int rc =
        request.type == JSON_NULL
            ? command_fields((struct json_value){JSON_OBJECT, STR_LIT("{}")},
                             &strings, &f)
            : command_fields(request, &strings, &f);
    if (rc == 0 && tune_options_of_data(ch, f.data, o))
        rc = ERR_INVALID;
    struct recover_request r = {
        .positioned = f.positioned,
        .recoverable = f.recoverable,
        .recover = f.recover,
        .offset = f.offset,
        .epoch = f.epoch,
    };
    if (rc == 0)
        recover_options(config_of(s), ch, client_user(&s->client), &r, o);
    buf_free(&strings);
    return rc;
}

/* Subscriptions the connect request asks for: those the client may have
 * anyway; others are ignored. */
static bool subscribe_at_connect(struct session *s, struct str raw_channel,
                                 struct json_value request)
{
    struct rules_channel ch;
    struct buf text = BUF_INIT;
    struct str channel;
    bool fine = true;
    if (json_text((struct json_value){JSON_STRING, raw_channel}, &text,
                  &channel) < 0)
        return true;
    uint32_t error =
        rules_channel(config_of(s), channel, RULES_CONCRETE_OR_PATTERN, &ch);
    if (error == ERROR_UNKNOWN_CHANNEL) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        fine = false;
    } else if (!error &&
               !rules_subscribe(config_of(s), &ch, client_user(&s->client))) {
        struct subscribe_options o = {.is_pattern = ch.name.is_pattern,
                                      .server_side = true};
        if (read_request(s, &ch, request, &o) < 0) {
            session_close(s, DISCONNECT_BAD_REQUEST);
            buf_free(&text);
            return false;
        }
        s->asking++;
        int rc = hub_subscribe(&s->client, channel, &o);
        if (rc < 0)
            s->asking--;
        if (rc == ERR_FULL) {
            session_close(s, DISCONNECT_CHANNEL_LIMIT);
            fine = false;
        }
    }
    buf_free(&text);
    return fine;
}

static void connect_subs(struct session *s, struct json_value subs)
{
    struct str key;
    struct json_value value;
    s->asking++; /* Ourselves: nothing is finished before the loop is. */
    if (subs.type == JSON_OBJECT) {
        struct json_iter it = json_iter(subs);
        while (json_next_member(&it, &key, &value) &&
               subscribe_at_connect(s, key, value))
            ;
    }
    s->asking--;
    if (s->asking == 0 && !s->client.closing)
        session_connect_finish(s);
}

/* A connect on its way to its verdict: survives the client. */
struct connect_op {
    struct shard *shard; /* borrowed */
    struct client_ref ref;
    char *subs; /* owned: the request's subs, raw; NULL without */
    size_t subs_len;
};

static void on_verdict(void *arg, const struct auth_verdict *v)
{
    struct connect_op *op = arg;
    struct client *c = client_find(op->shard, op->ref);
    struct session *s = c ? session_of(c) : NULL;
    if (s && !c->closing && v->disconnect) {
        session_close(s, v->disconnect);
    } else if (s && !c->closing && v->error) {
        fail_connect(s, v->error);
    } else if (s && !c->closing) {
        struct json_value subs = {JSON_NULL, {NULL, 0}};
        if (op->subs)
            CHECK(json_parse(str_n(op->subs, op->subs_len), &subs) == 0);
        client_identify(c, v->user);
        connect_subs(s, subs);
    }
    free(op->subs);
    free(op);
}

static void begin_connect(struct session *s, const struct command_fields *f)
{
    struct connect_op *op = mem_zalloc(sizeof(*op));
    op->shard = s->client.shard;
    op->ref = s->client.ref;
    if (f->subs.type == JSON_OBJECT) {
        op->subs = mem_strndup(f->subs.raw.p, f->subs.raw.n);
        op->subs_len = f->subs.raw.n;
    }
    s->state = SESSION_CONNECTING;
    client_cork(&s->client);
    auth_ask(config_of(s), &(struct auth_question){f->token}, on_verdict, op);
}

void session_connect(struct session *s, const struct command *cmd)
{
    struct command_fields f;
    if (s->state != SESSION_NEW || cmd->id == 0 ||
        command_fields(cmd->body, &s->loop->strings, &f) < 0) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    s->connect_id = cmd->id;
    begin_connect(s, &f);
}

void session_connect_uni(struct session *s, const struct json_value *request)
{
    struct command_fields f;
    buf_clear(&s->loop->strings);
    if (command_fields(*request, &s->loop->strings, &f) < 0) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    begin_connect(s, &f);
}

uint32_t session_connect_answered(struct session *s, const struct sub *sub,
                                  const struct sub_answer *answer)
{
    uint32_t told = 0;
    if (answer->error && error_info(answer->error)->temporary)
        s->connect_error = answer->error;
    if (!answer->error && s->connect_subs.n)
        buf_char(&s->connect_subs, ',');
    if (!answer->error) {
        json_quote(&s->connect_subs, topic_name(sub->topic));
        buf_char(&s->connect_subs, ':');
        told = tune_encode_result(&s->connect_subs, sub, answer);
    }
    if (s->asking == 0)
        session_connect_finish(s);
    return told;
}
