#include "gateway/broker/writer.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/broker/acks.h"
#include "gateway/broker/puback.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/json.h"
#include "hub/keys.h"

#define NS_PER_MS INT64_C(1000000)
/* A claim whose publication was not sent until then was given up: nobody heard
 * that it was granted. */
#define CLAIM_OLD_MS 4000
/* How long to wait for a publication that is on its way. */
#define CLAIM_TRIES 10
#define CLAIM_PAUSE_US 10000

/* --- requests ------------------------------------------------------------- */

static natsStatus expect_last(natsMsg *m, uint64_t seq)
{
    char number[24];
    snprintf(number, sizeof(number), "%llu", (unsigned long long)seq);
    return natsMsgHeader_Set(m, SENDER_EXPECTED, number);
}

/* 0 and *out, or the publisher's code. Nobody there is an answer, too: JetStream
 * or the stream is gone. */
static int ask(struct worker *w, struct side_link *l, natsMsg *m,
               struct puback *out)
{
    natsMsg *reply = NULL;
    natsStatus rc = natsConnection_RequestMsg(&reply, l->nc, m, STREAM_WAIT_MS);
    int code = sender_code(&w->sender, rc);
    if (code == 0 && puback_parse(str_n(natsMsg_GetData(reply),
                                        (size_t)natsMsg_GetDataLength(reply)),
                                  out) < 0)
        code = ERROR_INTERNAL;
    natsMsg_Destroy(reply);
    if (code == ERROR_INTERNAL)
        streams_poke(w->all->streams);
    return code;
}

/* --- versions ------------------------------------------------------------- */

/* A subject's last message. */
struct newest {
    uint64_t seq; /* 0: there is none */
    uint64_t version;
    struct buf epoch; /* owned: as JSON text in the header */
};

static void read_newest(natsMsg *m, struct newest *out)
{
    const char *epoch = NULL;
    out->seq = natsMsg_GetSequence(m);
    out->version = intake_number(m, SENDER_VERSION);
    if (natsMsgHeader_Get(m, SENDER_VERSION_EPOCH, &epoch) == NATS_OK && epoch)
        buf_str(&out->epoch, str_of(epoch));
}

static int get_newest(struct side_link *l, const struct stream *s,
                      const char *subject, struct newest *out)
{
    natsMsg *m = NULL;
    jsErrCode code = 0;
    natsStatus rc = js_GetLastMsg(&m, l->js, s->name, subject, NULL, &code);
    if (rc == NATS_OK)
        read_newest(m, out);
    natsMsg_Destroy(m);
    return rc == NATS_OK || code == JSNoMessageFoundErr ? 0 : ERROR_INTERNAL;
}

static bool is_epoch(const struct newest *n, struct str epoch)
{
    struct json_value v;
    struct buf scratch = BUF_INIT;
    struct str text = STR_LIT("");
    if (epoch.n == 0)
        return true; /* of every epoch */
    if (n->epoch.n && (json_parse(buf_view(&n->epoch), &v) < 0 ||
                       json_text(v, &scratch, &text) < 0))
        text = STR_LIT("");
    bool same = str_eq(text, epoch);
    buf_free(&scratch);
    return same;
}

static bool is_old(const struct newest *n, const struct publish_wish *w)
{
    return n->version && w->version <= n->version &&
           is_epoch(n, publish_wish_epoch(w));
}

/* ERROR_INTERNAL with *again: somebody else was faster. */
static int publish_after(struct worker *w, struct side_link *l,
                         const struct publish_op *op, uint64_t last,
                         struct puback *out)
{
    natsMsg *m = NULL;
    struct sender_order order = {
        .msg = op->msg, .wish = op->wish, .is_stored = true};
    int code = sender_make(&w->sender, &order, &m);
    if (code == 0)
        code = sender_code(&w->sender, expect_last(m, last));
    if (code == 0)
        code = ask(w, l, m, out);
    natsMsg_Destroy(m);
    return code;
}

/* One try; ERR_AGAIN: somebody else was faster. */
static int try_publish(struct worker *w, struct side_link *l, struct stream *s,
                       struct publish_op *op)
{
    struct newest n = {.epoch = BUF_INIT};
    struct puback ack = {0};
    int code = get_newest(l, s, w->subject.p, &n);
    if (code == 0 && is_old(&n, op->wish))
        op->position = (struct position){atomic_load(&s->epoch), n.seq};
    else if (code == 0)
        code = publish_after(w, l, op, n.seq, &ack);
    if (code == 0 && ack.error == PUBACK_WRONG_LAST_SEQUENCE)
        code = ERR_AGAIN;
    else if (code == 0 && (ack.seq || ack.error))
        code = acks_judge(&ack, s, &op->position);
    buf_free(&n.epoch);
    return code;
}

int writer_publish(struct worker *w, struct side_link *l, struct stream *s,
                   struct publish_op *op)
{
    buf_clear(&w->subject);
    if (subject_of(s->space, msg_channel(op->msg), &w->subject) < 0)
        return ERROR_BAD_REQUEST;
    for (int i = 0; i < WRITER_TRIES; i++) {
        int code = try_publish(w, l, s, op);
        if (code != ERR_AGAIN)
            return code;
    }
    return ERROR_INTERNAL;
}

/* --- removal -------------------------------------------------------------- */

/* *seq is where it stands. */
static int publish_marker(struct worker *w, struct side_link *l, uint64_t *seq)
{
    natsMsg *m = NULL;
    struct puback ack = {0};
    natsStatus rc = natsMsg_Create(&m, w->subject.p, NULL, NULL, 0);
    if (rc == NATS_OK)
        rc = natsMsgHeader_Set(m, SENDER_REMOVED, "true");
    int code = sender_code(&w->sender, rc);
    if (code == 0)
        code = ask(w, l, m, &ack);
    natsMsg_Destroy(m);
    *seq = ack.seq;
    return code == 0 && ack.error ? ERROR_INTERNAL : code;
}

/* The marker goes first: there is no moment in which what is purged would look
 * as if it had never been. */
int writer_remove(struct worker *w, struct side_link *l, struct stream *s,
                  const struct remove_op *op)
{
    jsOptions o;
    jsErrCode code = 0;
    uint64_t marker = 0;
    buf_clear(&w->subject);
    if (subject_of(s->space, str_n(op->channel, op->channel_len), &w->subject) <
        0)
        return ERROR_BAD_REQUEST;
    int rc = publish_marker(w, l, &marker);
    if (rc)
        return rc;
    jsOptions_Init(&o);
    o.Wait = STREAM_WAIT_MS;
    o.Stream.Purge.Subject = w->subject.p;
    o.Stream.Purge.Sequence = marker; /* up to it */
    if (js_PurgeStream(l->js, s->name, &o, &code) == NATS_OK)
        return 0;
    streams_poke(w->all->streams);
    return ERROR_INTERNAL;
}

/* --- keys ----------------------------------------------------------------- */

static void name_keys(const struct config *cfg, char *to, size_t size)
{
    int n = snprintf(to, size, "%s_KEYS", cfg->nats.prefix);
    CHECK(n > 0 && (size_t)n < size);
    for (char *p = to; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

/* As it is when another node made it. */
static int make_keys(struct worker *w, struct side_link *l, const char *name)
{
    const struct config *cfg = w->all->map->cfg;
    struct buf subject = BUF_INIT;
    jsStreamConfig c;
    jsErrCode code = 0;
    if (w->has_keys)
        return 0;
    buf_printf(&subject, "%s.key.>%c", cfg->nats.prefix, 0);
    const char *subjects[] = {subject.p};
    jsStreamConfig_Init(&c);
    c.Name = name;
    c.Subjects = subjects;
    c.SubjectsLen = 1;
    c.MaxMsgsPerSubject = 1;
    c.MaxAge = KEYS_TTL_MS * NS_PER_MS;
    c.MaxBytes = WRITER_KEYS_MAX_BYTES;
    c.Duplicates = KEYS_TTL_MS * NS_PER_MS;
    c.Replicas = cfg->nats.stream_replicas ? cfg->nats.stream_replicas : 1;
    if (cfg->nats.stream_in_memory)
        c.Storage = js_MemoryStorage;
    natsStatus rc = js_AddStream(NULL, l->js, &c, NULL, &code);
    buf_free(&subject);
    w->has_keys = rc == NATS_OK || code == JSStreamNameExistErr;
    return w->has_keys ? 0 : sender_code(&w->sender, rc);
}

static int make_claim(struct worker *w, struct side_link *l,
                      const char *subject, uint64_t last, struct puback *out)
{
    natsMsg *m = NULL;
    natsStatus rc = natsMsg_Create(&m, subject, NULL, NULL, 0);
    if (rc == NATS_OK)
        rc = expect_last(m, last);
    int code = sender_code(&w->sender, rc);
    if (code == 0)
        code = ask(w, l, m, out);
    natsMsg_Destroy(m);
    if (code == 0 && out->error && out->error != PUBACK_WRONG_LAST_SEQUENCE)
        code = ERROR_INTERNAL;
    return code;
}

static bool is_old_claim(natsMsg *m)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    int64_t now = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    return now - natsMsg_GetTime(m) > CLAIM_OLD_MS * NS_PER_MS;
}

/* Somebody has it. 0: its publication was sent; ERR_AGAIN: not yet, and *last
 * is what a claim in its place has to come after; or the publisher's code. */
static int judge_claim(struct side_link *l, const char *name,
                       const char *subject, uint64_t *last)
{
    natsMsg *m = NULL;
    jsErrCode code = 0;
    int result = ERR_AGAIN;
    natsStatus rc = js_GetLastMsg(&m, l->js, name, subject, NULL, &code);
    *last = 0;
    if (rc != NATS_OK)
        return code == JSNoMessageFoundErr ? ERR_AGAIN : ERROR_INTERNAL;
    if (natsMsg_GetDataLength(m) > 0)
        result = 0;
    else if (is_old_claim(m))
        *last = natsMsg_GetSequence(m);
    else
        usleep(CLAIM_PAUSE_US);
    natsMsg_Destroy(m);
    return result;
}

static int claim(struct worker *w, struct side_link *l, const char *name,
                 uint64_t *seq)
{
    struct puback ack = {0};
    uint64_t last = 0;
    for (int i = 0; i < CLAIM_TRIES; i++) {
        int code = make_claim(w, l, w->subject.p, last, &ack);
        *seq = ack.seq;
        if (code || !ack.error)
            return code;
        code = judge_claim(l, name, w->subject.p, &last);
        if (code != ERR_AGAIN)
            return code;
    }
    return ERROR_INTERNAL;
}

int writer_claim(struct worker *w, struct side_link *l,
                 const struct publish_op *op, uint64_t *seq)
{
    char name[256];
    name_keys(w->all->map->cfg, name, sizeof(name));
    buf_clear(&w->subject);
    sender_key_subject(&w->sender, op->msg, op->wish, &w->subject);
    int code = make_keys(w, l, name);
    if (code == 0)
        code = claim(w, l, name, seq);
    if (code)
        w->has_keys = false; /* perhaps it is gone */
    return code;
}

void writer_give_back(struct worker *w, struct side_link *l, uint64_t seq)
{
    char name[256];
    jsErrCode code = 0;
    name_keys(w->all->map->cfg, name, sizeof(name));
    /* If it fails, a repeat has to wait until the claim is old. */
    js_DeleteMsg(l->js, name, seq, NULL, &code);
}
