#include "gateway/broker/sender.h"

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
    buf_free(&s->header);
}

/* JSON without newlines fits into a header as it is. */
static natsStatus set_header(struct sender *s, natsMsg *m, const char *key,
                             struct str json)
{
    if (json.n == 0)
        return NATS_OK;
    buf_clear(&s->header);
    json_compact_newlines(&s->header, json);
    buf_char(&s->header, '\0');
    return natsMsgHeader_Set(m, key, s->header.p);
}

static natsStatus send_with_headers(struct sender *s, natsConnection *nc,
                                    const struct msg *m)
{
    natsMsg *out = NULL;
    natsStatus rc = natsMsg_Create(&out, s->subject.p, NULL, msg_data(m).p,
                                   (int)m->data_len);
    if (rc == NATS_OK)
        rc = set_header(s, out, SENDER_TAGS, msg_tags(m));
    if (rc == NATS_OK)
        rc = set_header(s, out, SENDER_INFO, msg_info(m));
    if (rc == NATS_OK && m->urgent)
        rc = natsMsgHeader_Set(out, SENDER_URGENT, "true");
    if (rc == NATS_OK)
        rc = natsConnection_PublishMsg(nc, out);
    natsMsg_Destroy(out);
    return rc;
}

static natsStatus send_plain(struct sender *s, natsConnection *nc,
                             const struct msg *m)
{
    return natsConnection_Publish(nc, s->subject.p, msg_data(m).p,
                                  (int)m->data_len);
}

static int code_of(struct sender *s, natsStatus rc)
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

int sender_send(struct sender *s, natsConnection *nc, const struct msg *m)
{
    struct str channel = msg_channel(m);
    struct subject_space *space = subject_find(s->map, channel);
    buf_clear(&s->subject);
    if (!space || subject_of(space, channel, &s->subject) < 0)
        return ERROR_BAD_REQUEST;
    if (m->tags_len || m->info_len || m->urgent)
        return code_of(s, send_with_headers(s, nc, m));
    return code_of(s, send_plain(s, nc, m));
}
