#include "gateway/broker/sender.h"

#include <stdio.h>

#include <xxhash.h>

#include "base/clock.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/json.h"

void sender_init(struct sender *s, const struct subject_map *map)
{
    s->map = map;
}

void sender_fini(struct sender *s)
{
    buf_free(&s->subject);
    buf_free(&s->scratch);
}

void sender_id(struct str channel, struct str key, char to[SENDER_ID_LEN + 1])
{
    struct buf both = BUF_INIT;
    buf_str(&both, channel);
    buf_char(&both, '\0');
    buf_str(&both, key);
    XXH128_hash_t h = XXH3_128bits(both.p, both.n);
    buf_free(&both);
    snprintf(to, SENDER_ID_LEN + 1, "%016llx%016llx",
             (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* JSON without newlines fits into a header as it is. */
static natsStatus set_json(struct sender *s, natsMsg *m, const char *key,
                           struct str json)
{
    if (json.n == 0)
        return NATS_OK;
    buf_clear(&s->scratch);
    json_compact_newlines(&s->scratch, json);
    buf_char(&s->scratch, '\0');
    return natsMsgHeader_Set(m, key, s->scratch.p);
}

static natsStatus set_version(struct sender *s, natsMsg *m,
                              const struct publish_wish *w)
{
    char number[24];
    struct str epoch = publish_wish_epoch(w);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)w->version);
    natsStatus rc = natsMsgHeader_Set(m, SENDER_VERSION, number);
    if (rc != NATS_OK || epoch.n == 0)
        return rc;
    /* Anything a client sends: as a JSON string it has no newlines. */
    buf_clear(&s->scratch);
    json_quote(&s->scratch, epoch);
    buf_char(&s->scratch, '\0');
    return natsMsgHeader_Set(m, SENDER_VERSION_EPOCH, s->scratch.p);
}

static natsStatus set_wish(struct sender *s, natsMsg *m,
                           const struct sender_order *o)
{
    const struct publish_wish *w = o->wish;
    char id[SENDER_ID_LEN + 1];
    natsStatus rc = NATS_OK;
    if (!w || !o->is_stored)
        return NATS_OK;
    if (w->key_len) {
        sender_id(msg_channel(o->msg), publish_wish_key(w), id);
        rc = natsMsgHeader_Set(m, SENDER_ID, id);
    }
    return rc == NATS_OK && w->version ? set_version(s, m, w) : rc;
}

static natsStatus set_headers(struct sender *s, natsMsg *out,
                              const struct sender_order *o)
{
    const struct msg *m = o->msg;
    natsStatus rc = set_json(s, out, SENDER_TAGS, msg_tags(m));
    if (rc == NATS_OK)
        rc = set_json(s, out, SENDER_INFO, msg_info(m));
    if (rc == NATS_OK && m->urgent)
        rc = natsMsgHeader_Set(out, SENDER_URGENT, "true");
    if (rc == NATS_OK)
        rc = set_wish(s, out, o);
    return rc;
}

int sender_code(struct sender *s, natsStatus rc)
{
    uint64_t missed;
    if (rc == NATS_OK)
        return 0;
    if (rc == NATS_MAX_PAYLOAD)
        return ERROR_BAD_REQUEST;
    if (log_limit_pass(&s->log, clock_now_ns(), &missed))
        log_warn("nats_publish_failed", "error=%s missed=%llu",
                 log_quote(str_of(natsStatus_GetText(rc))),
                 (unsigned long long)missed);
    return ERROR_INTERNAL;
}

/* s->subject becomes where it goes. */
static int find_subject(struct sender *s, const struct sender_order *o)
{
    struct str channel = msg_channel(o->msg);
    const struct subject_space *space = subject_find(s->map, channel);
    buf_clear(&s->subject);
    if (!space || subject_of(space, channel, &s->subject) < 0)
        return ERROR_BAD_REQUEST;
    if (!o->is_live)
        return 0;
    buf_clear(&s->scratch);
    buf_str(&s->scratch, buf_view(&s->subject));
    buf_clear(&s->subject);
    return subject_to_live(space, buf_view(&s->scratch), &s->subject) < 0
               ? ERROR_BAD_REQUEST
               : 0;
}

static int make(struct sender *s, const struct sender_order *o, natsMsg **out)
{
    natsMsg *made = NULL;
    const struct msg *m = o->msg;
    natsStatus rc = natsMsg_Create(&made, s->subject.p, o->reply, msg_data(m).p,
                                   (int)m->data_len);
    if (rc == NATS_OK)
        rc = set_headers(s, made, o);
    if (rc == NATS_OK) {
        *out = made;
        return 0;
    }
    natsMsg_Destroy(made);
    return sender_code(s, rc);
}

int sender_make(struct sender *s, const struct sender_order *o, natsMsg **out)
{
    int code = find_subject(s, o);
    return code ? code : make(s, o, out);
}

static bool is_bare(const struct sender_order *o)
{
    const struct msg *m = o->msg;
    return !m->tags_len && !m->info_len && !m->urgent &&
           !(o->wish && o->is_stored);
}

int sender_send(struct sender *s, natsConnection *nc,
                const struct sender_order *o)
{
    natsMsg *m = NULL;
    struct str data = msg_data(o->msg);
    int code = find_subject(s, o);
    if (code)
        return code;
    if (is_bare(o) && o->reply)
        return sender_code(s, natsConnection_PublishRequest(nc, s->subject.p,
                                                            o->reply, data.p,
                                                            (int)data.n));
    if (is_bare(o))
        return sender_code(
            s, natsConnection_Publish(nc, s->subject.p, data.p, (int)data.n));
    code = make(s, o, &m);
    if (code == 0)
        code = sender_code(s, natsConnection_PublishMsg(nc, m));
    natsMsg_Destroy(m);
    return code;
}

void sender_key_subject(const struct sender *s, const struct msg *m,
                        const struct publish_wish *w, struct buf *to)
{
    char id[SENDER_ID_LEN + 1];
    sender_id(msg_channel(m), publish_wish_key(w), id);
    buf_printf(to, "%s.key.%s%c", s->map->cfg->nats.prefix, id, 0);
}

void sender_confirm(struct sender *s, natsConnection *nc,
                    const struct publish_op *op)
{
    natsMsg *m = NULL;
    char number[24];
    buf_clear(&s->subject);
    sender_key_subject(s, op->msg, op->wish, &s->subject);
    snprintf(number, sizeof(number), "%llu",
             (unsigned long long)op->position.offset);
    natsStatus rc = natsMsg_Create(&m, s->subject.p, NULL, SENDER_DONE,
                                   (int)strlen(SENDER_DONE));
    if (rc == NATS_OK)
        rc = natsMsgHeader_Set(m, SENDER_EXPECTED, number);
    if (rc == NATS_OK)
        rc = natsConnection_PublishMsg(nc, m);
    natsMsg_Destroy(m);
    (void)sender_code(s, rc); /* a repeat is published again, some time later */
}
