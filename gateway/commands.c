/* commands.c — what a connected client can ask for: one function each.
 * Part of session.h. Thread: the shard's. */
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/command.h"
#include "gateway/protocol/encode.h"
#include "gateway/protocol/throttle_request.h"
#include "gateway/publish.h"
#include "gateway/recover.h"
#include "gateway/session.h"
#include "gateway/tune.h"
#include "hub/hub.h"

static const struct config *config_of(const struct session *s)
{
    return s->loop->app->config;
}

/* Fields every channel command has; false when the session was closed. */
static bool take_fields(struct session *s, const struct command *cmd,
                        struct command_fields *f)
{
    if (command_fields(cmd->body, &s->loop->strings, f) == 0)
        return true;
    session_close(s, DISCONNECT_BAD_REQUEST);
    return false;
}

static uint32_t check_subscribe(struct session *s,
                                const struct command_fields *f,
                                struct rules_channel *ch)
{
    const struct config *cfg = config_of(s);
    if (f->channel.n > (size_t)cfg->channel.max_length)
        return ERROR_BAD_REQUEST;
    if (client_find_sub(&s->client, f->channel))
        return ERROR_ALREADY_SUBSCRIBED;
    if (s->client.sub_count >= s->client.shard->hub->options.channel_limit)
        return ERROR_LIMIT_EXCEEDED;
    uint32_t error =
        rules_channel(cfg, f->channel, RULES_CONCRETE_OR_PATTERN, ch);
    if (error)
        return error;
    if (f->type != 0)
        return ERROR_PERMISSION_DENIED; /* every namespace is of streams */
    if (f->filter.type != JSON_NULL)
        return ERROR_BAD_REQUEST; /* nothing allows tags filters yet */
    /* No key is configured that could verify a token. */
    if (f->token.n)
        return ERROR_PERMISSION_DENIED;
    return rules_subscribe(cfg, ch, client_user(&s->client));
}

static void on_subscribe(struct session *s, const struct command *cmd)
{
    struct command_fields f;
    struct rules_channel ch;
    if (!take_fields(s, cmd, &f))
        return;
    if (f.channel.n == 0 ||
        (f.delta.n && !str_eq(f.delta, STR_LIT("fossil")))) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    uint32_t error = check_subscribe(s, &f, &ch);
    if (error) {
        session_reply_error(s, cmd->id, error);
        return;
    }
    struct subscribe_options o = {
        .is_pattern = ch.name.is_pattern,
        .request_id = cmd->id,
    };
    error = tune_options_of_data(&ch, f.data, &o);
    if (error) {
        session_reply_error(s, cmd->id, error);
        return;
    }
    struct recover_request r = {
        .positioned = f.positioned,
        .recoverable = f.recoverable,
        .recover = f.recover,
        .reject = f.flag & COMMAND_FLAG_REJECT,
        .offset = f.offset,
        .epoch = f.epoch,
    };
    recover_options(config_of(s), &ch, client_user(&s->client), &r, &o);
    s->asking++;
    int rc = hub_subscribe(&s->client, f.channel, &o);
    CHECK(rc == 0); /* check_subscribe asked the same questions */
}

static void on_unsubscribe(struct session *s, const struct command *cmd)
{
    struct command_fields f;
    if (!take_fields(s, cmd, &f))
        return;
    if (f.channel.n == 0) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    struct sub *sub = client_find_sub(&s->client, f.channel);
    if (sub)
        hub_unsubscribe(&s->client, sub);
    encode_empty_reply(session_begin(s), cmd->id, STR_LIT("unsubscribe"));
    session_end(s);
}

/* A client's publish on its way to the bus: survives the client. */
struct client_publish {
    struct publish_op op;
    struct client_ref ref;
    uint32_t id;
};

static void on_published(struct publish_op *op)
{
    struct client_publish *p = container_of(op, struct client_publish, op);
    struct client *c = client_find(op->origin, p->ref);
    if (op->msg)
        msg_unref(op->msg);
    if (op->result == 0)
        op->origin->stats.pubs_in_client++;
    else
        op->origin->stats.pubs_refused++;
    if (c && op->result) {
        session_reply_error(session_of(c), p->id, (uint32_t)op->result);
    } else if (c) {
        encode_empty_reply(session_begin(session_of(c)), p->id,
                           STR_LIT("publish"));
        session_end(session_of(c));
    }
    free(p);
}

static uint32_t make_publication(struct session *s,
                                 const struct command_fields *f,
                                 struct msg **out)
{
    const struct config *cfg = config_of(s);
    struct rules_channel ch;
    uint32_t error = rules_channel(cfg, f->channel, RULES_CONCRETE, &ch);
    if (error)
        return error;
    const struct sub *sub = client_find_sub(&s->client, f->channel);
    bool live = sub && sub->state == SUB_LIVE;
    error = rules_publish(cfg, &ch, client_user(&s->client), live);
    if (error)
        return error;
    char id[RAND_UUID_LEN];
    struct buf info = BUF_INIT;
    rand_uuid_format(s->client.id, id);
    encode_client_info(&info, client_user(&s->client), str_n(id, sizeof(id)));
    struct publish_request r = {
        .channel = &ch,
        .data = f->data,
        .data_is_json = f->data.n > 0,
        .info = buf_view(&info),
        .born_ns = s->client.shard->now_ns,
    };
    error = publish_make(cfg, &s->client.shard->hub->budget, &r, out);
    buf_free(&info);
    return error;
}

static void on_publish(struct session *s, const struct command *cmd)
{
    struct command_fields f;
    struct msg *m;
    if (!take_fields(s, cmd, &f))
        return;
    if (f.channel.n == 0) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    uint32_t error = make_publication(s, &f, &m);
    if (error) {
        s->client.shard->stats.pubs_refused++;
        session_reply_error(s, cmd->id, error);
        return;
    }
    struct client_publish *p = mem_zalloc(sizeof(*p));
    p->op.msg = m;
    p->op.done = on_published;
    p->ref = s->client.ref;
    p->id = cmd->id;
    hub_publish(s->client.shard, &p->op);
}

/* A client's question about the past: survives the client. */
struct client_history {
    struct client_ref ref;
    uint32_t id;
    struct history_op op; /* last: has the name behind it */
};

static void on_history_answer(struct history_op *op)
{
    struct client_history *h = container_of(op, struct client_history, op);
    struct client *c = client_find(op->origin, h->ref);
    if (c && op->error) {
        session_reply_error(session_of(c), h->id, op->error);
    } else if (c && !history_op_is_json(op)) {
        session_close(session_of(c), DISCONNECT_INAPPROPRIATE);
    } else if (c) {
        struct buf *b = session_begin(session_of(c));
        buf_lit(b, "{\"id\":");
        buf_u64(b, h->id);
        buf_lit(b, ",\"history\":");
        encode_history(b, op->position, op->msgs, op->count);
        buf_char(b, '}');
        session_end(session_of(c));
    }
    history_op_fini(op);
    free(h);
}

/* 0 and the namespace's policy, or an error. */
static uint32_t check_history(struct session *s, const struct command_fields *f,
                              const struct history_policy **policy)
{
    const struct config *cfg = config_of(s);
    struct rules_channel ch;
    uint32_t error = rules_channel(cfg, f->channel, RULES_CONCRETE, &ch);
    if (error)
        return error;
    const struct sub *sub = client_find_sub(&s->client, f->channel);
    error = rules_history(cfg, &ch, client_user(&s->client),
                          sub && sub->state == SUB_LIVE);
    *policy = &ch.options->history;
    if (!(*policy)->size)
        return ERROR_NOT_AVAILABLE;
    if (!error && f->reverse && f->has_since && f->offset == 0)
        return ERROR_BAD_REQUEST;
    return error;
}

static void on_history(struct session *s, const struct command *cmd)
{
    struct command_fields f;
    const struct history_policy *policy;
    if (!take_fields(s, cmd, &f))
        return;
    if (f.channel.n == 0) {
        session_close(s, DISCONNECT_BAD_REQUEST);
        return;
    }
    uint32_t error = check_history(s, &f, &policy);
    if (error) {
        session_reply_error(s, cmd->id, error);
        return;
    }
    struct client_history *h = mem_zalloc(sizeof(*h) + f.channel.n);
    h->ref = s->client.ref;
    h->id = cmd->id;
    h->op.history = policy;
    h->op.limit = f.limit;
    h->op.reverse = f.reverse;
    h->op.has_since = f.has_since;
    h->op.since.offset = f.offset;
    recover_epoch(f.epoch, &h->op.since.epoch, &h->op.foreign);
    h->op.done = on_history_answer;
    h->op.channel_len = (uint32_t)f.channel.n;
    memcpy(h->op.channel, f.channel.p, f.channel.n);
    home_history(s->client.shard, &h->op);
}

/* {"channel":"c","rate":5}: how much of it, from now on. */
static uint32_t retune(struct session *s, struct str raw,
                       struct throttle_grant *granted)
{
    struct json_value data;
    struct json_value v;
    struct str channel;
    struct throttle_request request = {0};
    struct buf text = BUF_INIT;
    uint32_t error = ERROR_BAD_REQUEST;
    if (json_parse(raw, &data) == 0 &&
        json_member(data, STR_LIT("channel"), &v) &&
        json_text(v, &text, &channel) == 0 &&
        throttle_request_read(data, &request) == 0)
        error = tune_change(s, channel, &request, granted);
    else if (tune_may_change(s))
        s->client.shard->stats.rate_refused++;
    else
        error = ERROR_TOO_MANY_REQUESTS;
    buf_free(&text);
    return error;
}

static void on_rpc(struct session *s, const struct command *cmd)
{
    struct command_fields f;
    struct throttle_grant granted;
    if (!take_fields(s, cmd, &f))
        return;
    uint32_t error = ERROR_NOT_AVAILABLE;
    if (str_eq(f.method, STR_LIT("weir.throttle")))
        error = retune(s, f.data, &granted);
    if (s->client.closing || s->client.closed)
        return;
    if (error) {
        session_reply_error(s, cmd->id, error);
        return;
    }
    struct buf *b = session_begin(s);
    buf_lit(b, "{\"id\":");
    buf_u64(b, cmd->id);
    buf_lit(b, ",\"rpc\":{\"data\":");
    encode_throttle_grant(b, granted, false);
    buf_lit(b, "}}");
    session_end(s);
}

void session_command(struct session *s, const struct command *cmd)
{
    switch (cmd->kind) {
    case COMMAND_SUBSCRIBE:
        on_subscribe(s, cmd);
        return;
    case COMMAND_UNSUBSCRIBE:
        on_unsubscribe(s, cmd);
        return;
    case COMMAND_PUBLISH:
        on_publish(s, cmd);
        return;
    case COMMAND_RPC:
        on_rpc(s, cmd);
        return;
    case COMMAND_HISTORY:
        on_history(s, cmd);
        return;
    case COMMAND_PRESENCE:
    case COMMAND_PRESENCE_STATS:
    case COMMAND_REFRESH:
    case COMMAND_SUB_REFRESH:
        session_reply_error(s, cmd->id, ERROR_NOT_AVAILABLE);
        return;
    case COMMAND_SEND:
        session_close(s, DISCONNECT_NOT_AVAILABLE);
        return;
    default:
        session_close(s, DISCONNECT_BAD_REQUEST);
    }
}
