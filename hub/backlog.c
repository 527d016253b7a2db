#include "hub/backlog.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "hub/late.h"
#include "hub/topic.h"
#include "throttle/meter.h"

/* Publications of a client that may wait in its queue within one turn before
 * they go where they can be replaced. */
#define QUEUE_ENOUGH 16384
/* What a frame may have more than late_cost knows: names, tags. */
#define ENVELOPE 96

/* A client's bandwidth in one namespace. */
struct account {
    SLIST_ENTRY(account) link;            /* linked: backlog.accounts */
    const struct throttle_policy *policy; /* borrowed */
    struct client *client;                /* borrowed */
    struct meter meter;
    struct wheel_timer timer; /* until the meter opens */
};

struct backlog {
    TAILQ_HEAD(, late) lates; /* those with something in them, in turn */
    SLIST_HEAD(, account) accounts;
    uint64_t late_until_ns;
    bool chosen; /* what is in the queue was taken from here */
};

static struct backlog *get(struct client *c)
{
    if (!c->backlog) {
        c->backlog = mem_zalloc(sizeof(*c->backlog));
        TAILQ_INIT(&c->backlog->lates);
        SLIST_INIT(&c->backlog->accounts);
    }
    return c->backlog;
}

static bool is_ended(const struct client *c)
{
    return c->closing || c->closed;
}

/* --- bandwidth --------------------------------------------------------- */

static void on_open(struct wheel_timer *t)
{
    client_mark_dirty(container_of(t, struct account, timer)->client);
}

/* NULL without a limit. */
static struct account *account_of(struct client *c,
                                  const struct throttle_policy *policy)
{
    struct account *a;
    struct backlog *b;
    if (policy->bandwidth == 0)
        return NULL;
    b = get(c);
    SLIST_FOREACH(a, &b->accounts, link) {
        if (a->policy == policy)
            return a;
    }
    a = mem_zalloc(sizeof(*a));
    a->policy = policy;
    a->client = c;
    a->timer.fire = on_open;
    meter_init(&a->meter, policy->bandwidth, policy->bandwidth / 4 + 1,
               c->shard->now_ns);
    SLIST_INSERT_HEAD(&b->accounts, a, link);
    return a;
}

/* May something of this namespace go now? If not, the client is woken when it
 * may. */
static bool is_open(struct client *c, const struct throttle_policy *policy)
{
    struct shard *s = c->shard;
    struct account *a = account_of(c, policy);
    if (!a || meter_is_open(&a->meter, s->now_ns))
        return true;
    if (!a->timer.deadline_ms)
        wheel_start(&s->wheel, &a->timer,
                    shard_now_ms(s) + 1 +
                        meter_wait_ns(&a->meter, s->now_ns) / 1000000);
    return false;
}

void backlog_delivered(struct client *c, const struct pace *pace,
                       const struct frame *f)
{
    struct shard *s = c->shard;
    struct account *a = account_of(c, pace->policy);
    s->stats.throttle_delivered[pace->grant.mode] += f->publications;
    if (s->now_ns > f->born_ns)
        hist_add(&s->stats.staleness[throttle_class(pace->grant.rate)],
                 s->now_ns - f->born_ns);
    if (a)
        meter_charge(&a->meter, f->len, s->now_ns);
}

/* --- in ---------------------------------------------------------------- */

static struct late *late_of(struct client *c, struct sub *sub)
{
    if (!sub->late) {
        sub->late = late_new(sub);
        TAILQ_INSERT_TAIL(&get(c)->lates, sub->late, link);
    }
    return sub->late;
}

static void drop_late(struct client *c, struct sub *sub)
{
    TAILQ_REMOVE(&c->backlog->lates, sub->late, link);
    late_free(sub->late);
    sub->late = NULL;
}

static bool is_late(const struct client *c)
{
    return c->backlog && c->backlog->late_until_ns > c->shard->now_ns;
}

/* Asked for by the namespace: rather close it than let anything wait. */
static bool never_waits(const struct pace *pace)
{
    return pace->policy->on_full == THROTTLE_DISCONNECT &&
           pace->grant.mode == pace->policy->mode;
}

/* So much more in its queue might close the client, which is not to happen to
 * one that can wait. */
static bool has_enough(const struct client *c, size_t bytes)
{
    size_t max = c->shard->hub->options.queue_max_bytes;
    return c->queued_bytes > QUEUE_ENOUGH ||
           (c->queued_bytes && c->queued_bytes + bytes > max);
}

static bool must_wait(struct client *c, const struct sub *sub, size_t bytes)
{
    const struct pace *pace = sub->lane->pace;
    if (never_waits(pace))
        return false;
    /* A burst within one turn is not slowness. */
    if (has_enough(c, bytes))
        client_write(c);
    return c->choked || c->corked || has_enough(c, bytes) || is_late(c) ||
           sub->late || !is_open(c, pace->policy);
}

bool backlog_takes(struct client *c, struct sub *sub, struct pass *p)
{
    const struct pace *pace = sub->lane->pace;
    if (is_ended(c) || never_waits(pace))
        return false;
    /* Bandwidth is asked for one by one. */
    if (!must_wait(c, sub, p->bytes) &&
        (p->count == 1 || !pace->policy->bandwidth))
        return false;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->pubs[i].seq <= sub->from ||
            !fanout_is_designated(c, sub->topic, p->pubs[i].msg))
            continue;
        if (pace_conflates(pace))
            late_put(late_of(c, sub), &p->pubs[i], true);
        else
            late_append(late_of(c, sub),
                        frame_ref(pass_single(c->shard, p, i, c->encoding)));
    }
    client_mark_dirty(c);
    return true;
}

/* Where the streams stand once it has this one. */
static void push_mark(struct client *c, const struct lane *l,
                      const struct lane_pub *pub)
{
    bool is_told = c->marks || encoding_has_ids(c->encoding);
    struct sub *sub = is_told ? client_find_sub(c, topic_name(l->topic)) : NULL;
    struct buf mark = BUF_INIT;
    if (!sub || !sub->positioned || !pub->offset)
        return;
    sub->offset = pub->offset;
    sub->unsure = false;
    if (!c->marks)
        return; /* Its id is in its bytes. */
    c->events->mark(c, sub, &mark);
    client_push_bytes(c, buf_view(&mark));
    buf_free(&mark);
}

/* At once, behind what is queued. May end the client, and with it the
 * subscription and its lane. */
static void push_one(struct client *c, const struct lane *l,
                     const struct lane_pub *pub, uint32_t lost)
{
    const struct pace *pace = l->pace;
    struct lane_pub bare = *pub;
    /* Out of their order nobody's offset says what came before. */
    if (pace && pace_conflates(pace))
        bare.offset = 0;
    push_mark(c, l, &bare);
    struct frame *f = pass_encode_for(c->shard, l, c->encoding, &bare, lost);
    client_push(c, f);
    if (!is_ended(c) && pace)
        backlog_delivered(c, pace, f);
    frame_unref(f);
}

void backlog_give(struct client *c, struct sub *sub, const struct lane_pub *pub)
{
    const struct pace *pace = sub->lane->pace;
    if (is_ended(c))
        return;
    /* Rings get their publications from passes only. */
    if (!pace || !pace_conflates(pace) ||
        !must_wait(c, sub, msg_size(pub->msg))) {
        push_one(c, sub->lane, pub, 0);
        return;
    }
    late_put(late_of(c, sub), pub, true);
    client_mark_dirty(c);
}

/* --- out --------------------------------------------------------------- */

/* The next one in turn that may send: each sends as many in its turn as waited
 * in it at the beginning, so that every item comes once in a round. */
static struct late *next_late(struct client *c)
{
    struct late *l;
    TAILQ_FOREACH(l, &c->backlog->lates, link) {
        if (!l->sub->overrun && is_open(c, l->sub->policy))
            return l;
    }
    return NULL;
}

static void end_turn(struct client *c, struct late *l)
{
    if (late_count(l) == 0) {
        drop_late(c, l->sub);
    } else if (l->left == 0) {
        TAILQ_REMOVE(&c->backlog->lates, l, link);
        TAILQ_INSERT_TAIL(&c->backlog->lates, l, link);
    }
}

bool backlog_fill(struct client *c)
{
    struct late *l;
    size_t bytes = 0;
    while ((l = next_late(c))) {
        const struct pace *pace = l->sub->lane->pace;
        if (bytes && bytes + late_cost(l) + ENVELOPE > BACKLOG_WRITE_BYTES)
            break;
        if (l->left == 0)
            l->left = (uint32_t)late_count(l);
        l->left--;
        struct frame *f = late_take(l);
        bytes += f->len;
        end_turn(c, l);
        c->backlog->chosen = true;
        client_push(c, f);
        if (!is_ended(c))
            backlog_delivered(c, pace, f);
        frame_unref(f);
        if (is_ended(c))
            return false; /* and the backlog went with it */
    }
    struct backlog *b = c->backlog;
    b->chosen = bytes > 0;
    if (TAILQ_EMPTY(&b->lates) && SLIST_EMPTY(&b->accounts) && !is_late(c)) {
        free(b);
        c->backlog = NULL;
    }
    return bytes > 0;
}

static bool waits_for_bandwidth(const struct backlog *b,
                                const struct throttle_policy *policy)
{
    const struct account *a;
    SLIST_FOREACH(a, &b->accounts, link) {
        if (a->policy == policy)
            return a->timer.deadline_ms != 0;
    }
    return false;
}

bool backlog_is_ready(const struct client *c)
{
    const struct late *l;
    if (!c->backlog)
        return false;
    TAILQ_FOREACH(l, &c->backlog->lates, link) {
        if (!l->sub->overrun &&
            !waits_for_bandwidth(c->backlog, l->sub->policy))
            return true;
    }
    return false;
}

/* --- set aside --------------------------------------------------------- */

struct aside_pub {
    struct lane_pub pub;     /* referenced msg */
    const struct lane *lane; /* borrowed, as long as the client is there */
    uint32_t lost;
};

/* Publications set aside, because what is done with them may end the client
 * and with it whatever they were found in. */
struct set_aside {
    struct client *client;  /* borrowed */
    struct sub *sub;        /* borrowed: whose they are, while it collects */
    struct aside_pub *pubs; /* owned array */
    size_t count;
    size_t cap;
};

static void set_aside(void *arg, const struct lane_pub *pub, uint32_t lost)
{
    struct set_aside *a = arg;
    if (!pub->msg->is_json)
        return; /* It would have ended the client in a pass. */
    if (a->count == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 16;
        a->pubs = mem_realloc(a->pubs, a->cap * sizeof(*a->pubs));
    }
    msg_ref(pub->msg);
    a->pubs[a->count++] = (struct aside_pub){*pub, a->sub->lane, lost};
}

static void set_unseen_aside(void *arg, const struct lane_pub *pub)
{
    const struct set_aside *a = arg;
    if (fanout_is_designated(a->client, a->sub->topic, pub->msg))
        set_aside(arg, pub, 0);
}

static void free_aside(struct set_aside *a)
{
    for (size_t i = 0; i < a->count; i++)
        msg_unref(a->pubs[i].pub.msg);
    free(a->pubs);
}

/* What waits for the sub. */
static void take_waiting(struct set_aside *to, struct sub *sub)
{
    to->sub = sub;
    if (!sub->late)
        return;
    late_take_all(sub->late, set_aside, to);
    drop_late(to->client, sub);
}

/* What its lane has not brought it yet, and will not. */
static void take_unseen(struct set_aside *to, struct sub *sub)
{
    to->sub = sub;
    pace_each_unseen(sub->lane, sub, set_unseen_aside, to);
    lane_skip(sub->lane, sub, to->client->shard->delivered);
}

static void push_all(struct client *c, const struct set_aside *a)
{
    for (size_t i = 0; i < a->count && !is_ended(c); i++)
        push_one(c, a->pubs[i].lane, &a->pubs[i].pub, a->pubs[i].lost);
}

/* --- urgent ------------------------------------------------------------ */

/* What is overrun gets nothing more, whatever others need. */
static bool is_in_group(const struct sub *s, const struct sub *sub)
{
    if (s->state != SUB_LIVE || !s->lane->pace || s->overrun)
        return false;
    return s == sub || (sub->policy->order_group &&
                        s->policy->order_group == sub->policy->order_group);
}

static uint64_t first_of(const struct aside_pub *a)
{
    return a->pub.seq - a->pub.behind;
}

/* A value stands where the first of those stood that it replaced, so that an
 * urgent one behind any of them is behind it, too. */
static int by_first(const void *a, const void *b)
{
    uint64_t x = first_of(a);
    uint64_t y = first_of(b);
    return x < y ? -1 : x > y;
}

/* What the lanes of the group have not brought yet, with the urgent one among
 * it: those others may hold urgent ones too, before it and behind it. Nothing
 * if the others have nothing: its own lane keeps the order by itself. `urgent`
 * is NULL when it is among what its own lane has not brought yet. */
static void take_group(struct set_aside *a, struct sub *sub,
                       const struct lane_pub *urgent)
{
    struct sub *s;
    TAILQ_FOREACH(s, &a->client->subs, link) {
        if (s != sub && is_in_group(s, sub))
            take_unseen(a, s);
    }
    if (a->count == 0 && urgent)
        return;
    a->sub = sub;
    if (urgent)
        set_aside(a, urgent, 0);
    take_unseen(a, sub);
    qsort(a->pubs, a->count, sizeof(*a->pubs), by_first);
}

bool backlog_flush_group(struct client *c, struct sub *sub,
                         const struct lane_pub *urgent)
{
    struct set_aside waiting = {.client = c};
    struct set_aside unseen = {.client = c};
    struct sub *s;
    if (is_ended(c) || !sub->lane->pace)
        return false;
    TAILQ_FOREACH(s, &c->subs, link) {
        if (is_in_group(s, sub))
            take_waiting(&waiting, s);
    }
    take_group(&unseen, sub, urgent);
    push_all(c, &waiting);
    push_all(c, &unseen);
    bool is_pushed = unseen.count > 0;
    free_aside(&waiting);
    free_aside(&unseen);
    return is_pushed;
}

/* --- another lane ------------------------------------------------------ */

/* A plain lane has no group and nothing that waits. */
static void push_unseen(struct client *c, struct sub *sub)
{
    struct set_aside a = {.client = c};
    take_unseen(&a, sub);
    push_all(c, &a);
    free_aside(&a);
}

static void note_urgent(void *arg, const struct lane_pub *pub)
{
    *(bool *)arg |= pub->msg->urgent;
}

/* Nothing is conflated with an urgent one, or passes it: its time is now. */
bool backlog_flush_urgent(struct client *c, struct sub *sub)
{
    bool is_urgent = false;
    pace_each_unseen(sub->lane, sub, note_urgent, &is_urgent);
    if (is_urgent && sub->lane->pace)
        (void)backlog_flush_group(c, sub, NULL);
    else if (is_urgent)
        push_unseen(c, sub);
    return !is_ended(c);
}

void backlog_move_sub(struct client *c, struct sub *sub, struct lane *to)
{
    struct set_aside a = {.client = c};
    take_waiting(&a, sub);
    take_unseen(&a, sub);
    lane_remove(sub->lane, sub);
    lane_add(to, sub, c->shard->delivered);
    for (size_t i = 0; i < a.count && !is_ended(c); i++)
        backlog_give(c, sub, &a.pubs[i].pub);
    free_aside(&a);
}

/* --- taken back -------------------------------------------------------- */

static struct sub *sub_of_frame(struct client *c, const struct frame *f)
{
    struct sub *s;
    TAILQ_FOREACH(s, &c->subs, link) {
        if (s->state == SUB_LIVE && s->lane == f->pass->lane && s->lane->pace &&
            s->lane->pace->id == f->pass->lane_id)
            return never_waits(s->lane->pace) ? NULL : s;
    }
    return NULL;
}

/* The i-th publication of a frame's pass: older than anything that waits. */
static void take_back_one(struct client *c, struct sub *sub, struct frame *f,
                          uint32_t i)
{
    struct late *l = late_of(c, sub);
    if (pace_conflates(sub->lane->pace))
        late_put(l, &f->pass->pubs[i], false);
    else if (f->index == i)
        late_prepend(l, frame_ref(f));
    else
        late_prepend(l, pass_new_single(c->shard, f->pass, i, c->encoding));
}

static bool take_back(struct client *c, struct frame *f)
{
    struct stats *st = &c->shard->stats;
    struct sub *sub = f->pass ? sub_of_frame(c, f) : NULL;
    if (!sub)
        return false;
    uint32_t first = f->index == FRAME_WHOLE ? 0 : f->index;
    uint32_t end = f->index == FRAME_WHOLE ? f->pass->count : first + 1;
    while (end-- > first)
        take_back_one(c, sub, f, end);
    sub->offset = encoding_has_ids(c->encoding) ? sub->firm : sub->offset;
    st->deliveries -= f->publications;
    st->throttle_delivered[sub->lane->pace->grant.mode] -= f->publications;
    return true;
}

/* From the newest to the oldest, up to the last urgent one. */
void backlog_reclaim(struct client *c)
{
    struct backlog *b = get(c);
    struct frame **q = c->queue + c->queue_head;
    uint32_t end = c->queue_count;
    b->late_until_ns = c->shard->now_ns + BACKLOG_LATE_NS;
    if (b->chosen || is_ended(c))
        return;
    uint32_t first = end;
    while (first && !q[first - 1]->urgent)
        first--;
    for (uint32_t i = end; i-- > first;) {
        struct frame *f = q[i];
        if (!take_back(c, f))
            continue;
        c->queued_bytes -= f->len;
        c->shard->queued_bytes -= f->len;
        frame_unref(f);
        q[i] = NULL;
    }
    uint32_t kept = first;
    for (uint32_t i = first; i < end; i++) {
        if (q[i])
            q[kept++] = q[i];
    }
    c->queue_count = kept;
}

/* --- ends -------------------------------------------------------------- */

struct backlog_rest {
    struct set_aside aside;
};

struct backlog_rest *backlog_leave(struct client *c, struct sub *sub)
{
    struct backlog_rest *rest = NULL;
    if (c->several && sub->state == SUB_LIVE && !is_ended(c)) {
        rest = mem_zalloc(sizeof(*rest));
        rest->aside.client = c;
        take_waiting(&rest->aside, sub);
        take_unseen(&rest->aside, sub);
    }
    if (sub->late)
        drop_late(c, sub);
    return rest;
}

/* Will a lane bring this by itself, or (conflating) something newer of the
 * item? */
struct coming {
    const struct lane_pub *pub;
    bool newer_will_do;
    bool is_coming;
};

static void note_coming(void *arg, const struct lane_pub *pub)
{
    struct coming *coming = arg;
    const struct lane_pub *wanted = coming->pub;
    if (pub->msg == wanted->msg ||
        (coming->newer_will_do && pub->msg->item == wanted->msg->item &&
         pub->seq >= wanted->seq))
        coming->is_coming = true;
}

void backlog_give_rest(struct client *c, struct backlog_rest *rest)
{
    if (!rest)
        return;
    for (size_t i = 0; i < rest->aside.count && !is_ended(c); i++) {
        const struct lane_pub *pub = &rest->aside.pubs[i].pub;
        struct sub *s = fanout_designated(c, pub->msg);
        if (!s)
            continue;
        struct coming coming = {.pub = pub};
        coming.newer_will_do = s->lane->pace && pace_conflates(s->lane->pace);
        pace_each_unseen(s->lane, s, note_coming, &coming);
        if (!coming.is_coming)
            backlog_give(c, s, pub);
    }
    free_aside(&rest->aside);
    free(rest);
}

void backlog_free(struct client *c)
{
    struct backlog *b = c->backlog;
    struct account *a;
    if (!b)
        return;
    CHECK(TAILQ_EMPTY(&b->lates));
    while ((a = SLIST_FIRST(&b->accounts))) {
        SLIST_REMOVE_HEAD(&b->accounts, link);
        wheel_stop(&c->shard->wheel, &a->timer);
        free(a);
    }
    free(b);
    c->backlog = NULL;
}

size_t backlog_count(const struct client *c)
{
    const struct late *l;
    size_t n = 0;
    if (!c->backlog)
        return 0;
    TAILQ_FOREACH(l, &c->backlog->lates, link)
        n += late_count(l);
    return n;
}
