#include "hub/hub.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/fanout.h"
#include "hub/pace.h"

void hub_init(struct hub *hub, const struct hub_options *options,
              void (*wake)(void *), void *const *args)
{
    CHECK(options->shards >= 1 && options->shards <= HOME_MAX_SHARDS);
    *hub = (struct hub){.options = *options, .count = options->shards};
    hub->budget.max_bytes = options->inflight_bytes;
    hub->held.max_bytes = INT64_MAX;
    for (unsigned i = 0; i < hub->count; i++)
        hub->shards[i] = shard_new(hub, i, wake, args[i]);
}

void hub_fini(struct hub *hub)
{
    /* A letter that one shard runs may post the next one to another. */
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < hub->count; i++)
            any |= shard_drain(hub->shards[i]);
    }
    for (unsigned i = 0; i < hub->count; i++) {
        shard_free(hub->shards[i]);
        hub->shards[i] = NULL;
    }
}

void hub_publish(struct shard *from, struct publish_op *op)
{
    const struct broker *b = &from->hub->broker;
    op->origin = from;
    op->result = 0;
    op->position = (struct position){0, 0};
    if (b->ops) {
        b->ops->publish(b->self, op);
        return;
    }
    if (op->wish || op->msg->history->size) {
        home_send_op(from, op);
        return;
    }
    home_send(from, msg_ref(op->msg));
    msg_unref(op->msg);
    op->msg = NULL;
    op->done(op);
}

static struct ask *make_ask(const struct client *c, const struct sub *s,
                            const struct subscribe_options *o)
{
    const struct topic *t = s->topic;
    struct ask *a = mem_zalloc(sizeof(*a) + t->len);
    a->client = c->ref;
    a->sub_gen = s->gen;
    a->hash = t->hash;
    a->is_pattern = t->is_pattern;
    a->policy = s->policy;
    a->history = o->history ? o->history : &history_none;
    a->conflates = s->grant.mode != THROTTLE_ALL;
    if (!o->is_pattern)
        a->wish = o->wish;
    a->len = t->len;
    memcpy(a->channel, t->name, t->len);
    return a;
}

int hub_subscribe(struct client *c, struct str channel,
                  const struct subscribe_options *o)
{
    struct shard *s = c->shard;
    if (client_find_sub(c, channel))
        return ERR_EXISTS;
    if (c->sub_count >= s->hub->options.channel_limit)
        return ERR_FULL;
    struct sub *sub = mem_zalloc(sizeof(*sub));
    uint32_t hash = msg_channel_hash(channel);
    sub->client = c;
    sub->topic = topic_get(&s->topics, channel, hash, o->is_pattern);
    sub->gen = ++s->next_sub_gen;
    sub->request_id = o->request_id;
    sub->server_side = o->server_side;
    sub->policy = o->policy ? o->policy : &throttle_plain;
    sub->grant = o->grant;
    sub->tell = o->tell;
    sub->recoverable = o->recoverable && !o->is_pattern;
    sub->recovers = o->wish.recover && !o->is_pattern;
    sub->reject = o->reject;
    sub->newest = o->wish.latest == LATEST_ALWAYS;
    sub->asked = o->wish.since.offset;
    sub->epoch = o->wish.since.epoch;
    sub->state = SUB_ASKING;
    TAILQ_INSERT_TAIL(&c->subs, sub, link);
    c->sub_count++;
    s->sub_count++;
    sub->topic->asking++;
    home_ask(s, make_ask(c, sub, o));
    return 0;
}

void hub_unsubscribe(struct client *c, struct sub *sub)
{
    struct shard *s = c->shard;
    struct topic *t = sub->topic;
    struct lane *l = sub->state == SUB_LIVE ? sub->lane : &t->plain;
    struct backlog_rest *rest = backlog_leave(c, sub);
    TAILQ_REMOVE(&c->subs, sub, link);
    c->sub_count--;
    s->sub_count--;
    wheel_stop(&s->wheel, &sub->tell_lost);
    if (sub->state == SUB_LOST)
        t->asking--;
    if (sub->state == SUB_LIVE)
        lane_remove(l, sub);
    free(sub);
    backlog_give_rest(c, rest);
    fanout_settle(s, l);
}

void hub_note_throttled(struct sub *sub)
{
    struct client *c = sub->client;
    if (!sub->lane->pace || c->throttled)
        return;
    c->throttled = true;
    if (c->transport->keep_late)
        c->transport->keep_late(c);
}

void hub_retune(struct client *c, struct sub *sub, struct throttle_grant grant)
{
    struct shard *s = c->shard;
    /* It gets nothing more, and keeps its lane until it is told so. */
    if (sub->overrun)
        return;
    if (sub->state == SUB_LIVE && !backlog_flush_urgent(c, sub))
        return;
    sub->grant = grant;
    if (sub->state != SUB_LIVE)
        return;
    struct lane *from = sub->lane;
    struct lane *to = pace_lane(s, sub->topic, sub->policy, grant);
    if (to == from)
        return;
    backlog_move_sub(c, sub, to);
    /* What it got may have ended the client, and with it the new lane. */
    if (!c->closing && !c->closed)
        hub_note_throttled(sub);
    fanout_settle(s, from);
}

struct survey_run {
    struct survey survey;
    struct shard *from; /* borrowed */
    unsigned missing;
    void **parts; /* owned array; the parts are the survey's */
};

struct survey_letter {
    struct letter letter;
    struct survey_run *run; /* borrowed: lives until the last answer */
    unsigned shard;
};

static void on_survey_answer(void *reader, struct letter *self)
{
    struct survey_letter *l = container_of(self, struct survey_letter, letter);
    struct survey_run *run = l->run;
    free(l);
    if (--run->missing)
        return;
    run->survey.done(reader, run->survey.question, run->parts,
                     run->from->hub->count);
    free(run->parts);
    free(run);
}

static void on_survey(void *reader, struct letter *self)
{
    struct shard *s = reader;
    struct survey_letter *l = container_of(self, struct survey_letter, letter);
    struct shard *from = l->run->from;
    l->run->parts[l->shard] = l->run->survey.visit(s, l->run->survey.question);
    l->letter.run = on_survey_answer;
    shard_send(s, from, &l->letter);
}

void hub_survey(struct shard *from, const struct survey *survey)
{
    struct hub *hub = from->hub;
    struct survey_run *run = mem_alloc(sizeof(*run));
    run->survey = *survey;
    run->from = from;
    run->missing = hub->count;
    run->parts = mem_zalloc(hub->count * sizeof(void *));
    unsigned count = hub->count; /* run may be gone after the last send */
    for (unsigned i = 0; i < count; i++) {
        struct survey_letter *l = mem_alloc(sizeof(*l));
        l->letter.run = on_survey;
        l->run = run;
        l->shard = i;
        shard_send(from, hub->shards[i], &l->letter);
    }
}
