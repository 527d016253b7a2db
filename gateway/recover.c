#include "gateway/recover.h"

#include "gateway/protocol/encode.h"

/* A mark says this much more when it names one channel more, and all offsets
 * may get a digit. */
#define MARK_MORE 80

void recover_epoch(struct str text, uint64_t *epoch, bool *foreign)
{
    *epoch = 0;
    *foreign = text.n && position_epoch_parse(text, epoch) < 0;
}

void recover_options(const struct config *cfg, const struct rules_channel *ch,
                     struct str user, const struct recover_request *request,
                     struct subscribe_options *o)
{
    const struct namespace_options *ns = ch->options;
    struct position_wish *w = &o->wish;
    o->history = &ns->history;
    if (ch->name.is_pattern)
        return;
    bool may_read = rules_history(cfg, ch, user, false) == 0;
    bool wants = request->recoverable || request->recover;
    o->recoverable =
        ns->history.size &&
        (ns->force_recovery || (wants && (ns->allow_recovery || may_read)));
    w->positioned =
        o->recoverable || ns->force_positioning ||
        (request->positioned && (ns->allow_positioning || may_read));
    w->recover = o->recoverable && request->recover;
    w->latest = o->recoverable ? request->latest : LATEST_NEVER;
    w->since.offset = request->offset;
    recover_epoch(request->epoch, &w->since.epoch, &w->foreign);
    o->reject = request->reject;
}

static bool was_recovered(const struct sub_answer *a)
{
    return a->recovery == RECOVERY_DONE;
}

/* Each event of a stream with several channels says where all of them stand. */
static size_t mark_bytes(const struct session *s, const struct sub *sub)
{
    struct buf mark = BUF_INIT;
    if (!s->client.marks)
        return 0;
    s->ops->mark((struct session *)s, sub, &mark);
    size_t n = mark.n + MARK_MORE;
    buf_free(&mark);
    return n;
}

bool recover_fits(const struct session *s, const struct sub *sub,
                  const struct sub_answer *answer)
{
    size_t most = s->client.shard->hub->options.queue_max_bytes;
    size_t n = s->connect_subs.n + s->client.queued_bytes;
    if (!was_recovered(answer) || answer->count == 0 ||
        sub->grant.mode != THROTTLE_ALL || sub->newest)
        return true;
    /* A stream does not begin before all its channels are answered: those that
     * come after this one need some room, too. */
    if (s->plain && s->asking)
        most -= most / 4;
    if (s->loop->replying == s)
        n += s->loop->reply.n;
    n += mark_bytes(s, sub) * answer->count;
    for (uint32_t i = 0; i < answer->count; i++)
        n += msg_size(answer->snapshot[i]);
    return n <= most;
}

void recover_count(struct shard *shard, const struct sub *sub,
                   const struct sub_answer *answer)
{
    struct stats *st = &shard->stats;
    if (!sub->recovers || answer->error)
        return;
    if (was_recovered(answer)) {
        st->recovered++;
        st->recovered_pubs += answer->count;
    } else if (answer->recovery == RECOVERY_FOREIGN) {
        st->recover_foreign++;
    } else {
        st->recover_too_old++;
    }
}

static void encode_number(struct buf *to, const char *name, uint64_t v)
{
    if (v == 0)
        return;
    buf_printf(to, "\"%s\":", name);
    buf_u64(to, v);
    buf_char(to, ',');
}

void recover_encode(struct buf *to, const struct sub *sub,
                    const struct sub_answer *answer)
{
    uint64_t offset = answer->position.offset;
    if (!sub->positioned)
        return;
    if (sub->recoverable)
        buf_lit(to, "\"recoverable\":true,");
    buf_lit(to, "\"positioned\":true,");
    encode_epoch(to, answer->position.epoch);
    buf_char(to, ',');
    if (was_recovered(answer)) {
        buf_lit(to, "\"recovered\":true,");
        offset = sub->asked;
    }
    encode_number(to, "offset", offset);
    if (answer->recovery != RECOVERY_NONE)
        buf_lit(to, "\"was_recovering\":true,");
}
