#include "gateway/tune.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/encode.h"
#include "gateway/protocol/json.h"
#include "gateway/protocol/throttle_request.h"
#include "gateway/recover.h"
#include "throttle/meter.h"

/* Publications encoded into one frame of a snapshot. */
#define CHUNK 64

void tune_options(const struct rules_channel *ch,
                  const struct throttle_request *request,
                  struct subscribe_options *o)
{
    o->policy = &ch->options->throttle;
    o->grant = throttle_decide(o->policy, request);
    o->tell = request->has_rate || request->has_mode ||
              !throttle_is_plain(o->policy, o->grant) || o->policy->snapshot;
}

uint32_t tune_options_of_data(const struct rules_channel *ch, struct str data,
                              struct subscribe_options *o)
{
    struct throttle_request request = {0};
    struct json_value v;
    if (json_parse(data, &v) == 0 && v.type == JSON_OBJECT &&
        throttle_request_read(v, &request) < 0)
        return ERROR_BAD_REQUEST;
    tune_options(ch, &request, o);
    return 0;
}

bool tune_may_change(struct session *s)
{
    struct shard *shard = s->client.shard;
    if (!s->changes) {
        s->changes = mem_alloc(sizeof(*s->changes));
        meter_init(s->changes, TUNE_RATE, TUNE_BURST, shard->now_ns);
    }
    if (meter_take(s->changes, 1, shard->now_ns))
        return true;
    shard->stats.rate_refused++;
    return false;
}

struct throttle_grant tune_retune(struct session *s, struct sub *sub,
                                  const struct throttle_request *request)
{
    /* A client that changed to `latest` stays there. */
    struct throttle_request r = *request;
    if (sub->grant.mode != sub->policy->mode) {
        r.has_mode = true;
        r.mode = sub->grant.mode;
    }
    struct throttle_grant granted = throttle_decide(sub->policy, &r);
    s->client.shard->stats.rate_granted++;
    sub->tell = true;
    hub_retune(&s->client, sub, granted);
    return granted;
}

uint32_t tune_change(struct session *s, struct str channel,
                     const struct throttle_request *request,
                     struct throttle_grant *granted)
{
    if (!tune_may_change(s))
        return ERROR_TOO_MANY_REQUESTS;
    struct sub *sub = client_find_sub(&s->client, channel);
    if (!sub) {
        s->client.shard->stats.rate_refused++;
        return ERROR_PERMISSION_DENIED;
    }
    *granted = tune_retune(s, sub, request);
    return 0;
}

/* The part of a snapshot that an answer takes: all but the newest items when
 * they are too many bytes (those follow), or all but the oldest publications
 * (those are given up). */
struct portion {
    uint32_t from;
    uint32_t end;
};

/* What one answer, to one message or to connect, has already. */
static size_t answer_bytes(const struct session *s)
{
    size_t reply = s->loop->replying == s ? s->loop->reply.n : 0;
    return s->connect_subs.n + reply + s->client.queued_bytes;
}

static struct portion portion_of(const struct sub *sub,
                                 const struct sub_answer *a)
{
    size_t left = sub->client->shard->hub->options.queue_max_bytes / 2;
    size_t used = answer_bytes(session_of(sub->client));
    left = used < left ? left - used : 0;
    struct portion p = {0, a->count};
    bool by_item = sub->policy->snapshot == 1 || sub->newest ||
                   a->recovery != RECOVERY_NONE;
    /* What was missed is told whole (recover_fits). */
    if (a->recovery == RECOVERY_DONE && sub->grant.mode == THROTTLE_ALL &&
        !sub->newest)
        return p;
    for (uint32_t i = 0; i < a->count; i++) {
        size_t size = msg_size(a->snapshot[by_item ? i : a->count - 1 - i]);
        if (size > left && by_item)
            p.end = i;
        else if (size > left)
            p.from = a->count - i;
        if (size > left)
            return p;
        left -= size;
    }
    return p;
}

static struct codec_pub *pubs_of(const struct sub *sub,
                                 const struct sub_answer *a)
{
    struct codec_pub *pubs = mem_alloc((a->count + 1) * sizeof(*pubs));
    uint64_t now_ns = sub->client->shard->now_ns;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct msg *m = a->snapshot[i];
        uint64_t age = now_ns > m->born_ns ? now_ns - m->born_ns : 0;
        pubs[i] = (struct codec_pub){.msg = m,
                                     .n = 1,
                                     .offset = m->offset,
                                     .age_ms = (uint32_t)(age / 1000000),
                                     .annotate = sub->policy->annotate};
    }
    return pubs;
}

void tune_encode_grant(struct buf *to, const struct sub *sub)
{
    encode_throttle_grant(to, sub->grant, sub->blank);
}

uint32_t tune_encode_result(struct buf *to, const struct sub *sub,
                            const struct sub_answer *answer)
{
    struct portion p = portion_of(sub, answer);
    buf_char(to, '{');
    recover_encode(to, sub, answer);
    if (p.end > p.from) {
        struct codec_pub *pubs = pubs_of(sub, answer);
        buf_lit(to, "\"publications\":");
        encode_snapshot(to, sub->topic->is_pattern, pubs + p.from,
                        p.end - p.from);
        buf_char(to, ',');
        free(pubs);
    }
    if (sub->tell) {
        buf_lit(to, "\"data\":");
        tune_encode_grant(to, sub);
        buf_char(to, ',');
    }
    if (to->p[to->n - 1] == ',')
        to->n--;
    buf_char(to, '}');
    return p.end;
}

static void stand(struct sub *sub, uint64_t offset)
{
    sub->offset = offset;
    sub->unsure = false;
}

static void mark(struct sub *sub, uint64_t offset, struct buf *to)
{
    stand(sub, offset);
    sub->client->events->mark(sub->client, sub, to);
}

uint32_t tune_push_snapshot(struct session *s, struct sub *sub,
                            const struct sub_answer *answer)
{
    struct portion p = portion_of(sub, answer);
    struct client *c = &s->client;
    if (p.end == p.from)
        return p.end;
    struct codec_pub *pubs = pubs_of(sub, answer);
    struct buf bytes = BUF_INIT;
    uint32_t chunk = c->marks && sub->positioned ? 1 : CHUNK;
    for (uint32_t i = p.from; i < p.end; i += chunk) {
        uint32_t n = p.end - i < chunk ? p.end - i : chunk;
        buf_clear(&bytes);
        if (chunk == 1 && pubs[i].offset)
            mark(sub, pubs[i].offset, &bytes);
        else if (pubs[i + n - 1].offset)
            stand(sub, pubs[i + n - 1].offset);
        encode_codec.encode(&bytes, c->encoding, topic_name(sub->topic),
                            sub->topic->is_pattern, pubs + i, n);
        struct frame *f = frame_new(buf_view(&bytes));
        f->publications = n;
        client_push(c, f);
        frame_unref(f);
        if (c->closing || c->closed)
            break; /* The subscription is gone, too. */
    }
    buf_free(&bytes);
    free(pubs);
    return p.end;
}
