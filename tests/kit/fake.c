#include "tests/kit/fake.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/channel.h"

bool fake_tells_encoding;

static void encode(struct buf *to, enum encoding encoding, struct str topic,
                   bool is_pattern, const struct codec_pub *pubs, size_t count)
{
    CHECK(count > 0);
    for (size_t i = 0; i < count; i++) {
        buf_char(to, 'P');
        buf_str(to, topic);
        buf_char(to, '|');
        buf_str(to, msg_channel(pubs[i].msg));
        buf_char(to, '|');
        buf_str(to, msg_data(pubs[i].msg));
        if (pubs[i].annotate)
            buf_printf(to, "|n=%u", pubs[i].n);
        if (pubs[i].lost)
            buf_printf(to, "|lost=%u", pubs[i].lost);
        if (pubs[i].offset && !is_pattern)
            buf_printf(to, "|#%llu", (unsigned long long)pubs[i].offset);
        if (fake_tells_encoding)
            buf_printf(to, "|e=%u", (unsigned)encoding);
        buf_char(to, '\n');
    }
}

/* States and patches are lists of letters: a patch adds its own. */
static int merge(struct buf *to, struct str state, struct str patch,
                 size_t max_bytes)
{
    if (state.n + patch.n > max_bytes)
        return ERR_TOO_BIG;
    buf_str(to, state);
    for (size_t i = 0; i < patch.n; i++) {
        if (state.n == 0 || !memchr(state.p, patch.p[i], state.n))
            buf_char(to, patch.p[i]);
    }
    return 0;
}

const struct codec fake_codec = {encode, merge};

struct fake_client *fake_of(struct client *c)
{
    return container_of(c, struct fake_client, client);
}

static enum write_result on_write(struct client *c, const char *p, size_t n)
{
    struct fake_client *f = fake_of(c);
    CHECK(!c->choked && f->closes == 0 && n > 0);
    f->writes++;
    if (f->next_write == WRITE_DEAD)
        return WRITE_DEAD;
    if (!f->mute)
        buf_add(&f->wire, p, n);
    return f->next_write;
}

static void on_close(struct client *c, uint32_t code, struct str reason)
{
    struct fake_client *f = fake_of(c);
    CHECK(f->closes++ == 0 && reason.n > 0);
    f->close_code = code;
}

static void on_kill(struct client *c)
{
    fake_gone(fake_of(c));
}

static uint32_t on_subscribed(struct client *c, struct sub *s,
                              const struct sub_answer *answer)
{
    uint32_t error = answer->error;
    struct fake_client *f = fake_of(c);
    struct str name = topic_name(s->topic);
    char line[CHANNEL_MAX_BYTES + 96];
    static const char *const became[] = {"", "+recovered", "+foreign",
                                         "+too_old"};
    char at[64] = "";
    if (answer->position.epoch)
        snprintf(at, sizeof(at), "@%llu%s",
                 (unsigned long long)answer->position.offset,
                 became[answer->recovery]);
    int n =
        snprintf(line, sizeof(line), "S%.*s|%u%s\n", STR_ARG(name), error, at);
    f->answers++;
    f->last_error = error;
    client_push_bytes(c, str_n(line, (size_t)n));
    f->untold = answer->count < f->keep_back ? answer->count : f->keep_back;
    f->told = answer->count - f->untold;
    uint32_t told = f->told;
    for (uint32_t i = 0; i < told; i++) {
        struct codec_pub pub = {.msg = answer->snapshot[i],
                                .n = 1,
                                .offset = answer->snapshot[i]->offset};
        struct buf text = BUF_INIT;
        c->shard->hub->options.codec->encode(&text, c->encoding, name,
                                             s->topic->is_pattern, &pub, 1);
        client_push_bytes(c, buf_view(&text));
        buf_free(&text);
    }
    if (f->on_answer)
        f->on_answer(f, s, error);
    return told;
}

static void on_lost(struct client *c, struct sub *s, enum loss why)
{
    char line[CHANNEL_MAX_BYTES + 32];
    int n = snprintf(line, sizeof(line), "L%.*s|%s\n",
                     STR_ARG(topic_name(s->topic)),
                     why == LOSS_GAP ? "gap" : "stream");
    client_push_bytes(c, str_n(line, (size_t)n));
    hub_unsubscribe(c, s);
}

static bool on_gap(struct client *c, struct sub *s)
{
    struct fake_client *f = fake_of(c);
    if (f->on_gap)
        f->on_gap(f, s);
    return f->goes_on;
}

static void on_closing(struct client *c)
{
    fake_of(c)->closings++;
}

static void on_keep_late(struct client *c)
{
    fake_of(c)->keep_lates++;
}

static const struct transport transport = {.write = on_write,
                                           .close = on_close,
                                           .kill = on_kill,
                                           .keep_late = on_keep_late};
static const struct session_events events = {.subscribed = on_subscribed,
                                             .lost = on_lost,
                                             .gap = on_gap,
                                             .closing = on_closing};

struct fake_client *fake_open(struct shard *s, enum encoding encoding)
{
    struct fake_client *f = mem_zalloc(sizeof(*f));
    f->next_write = WRITE_DONE;
    client_open(&f->client, s, encoding, &transport, &events);
    return f;
}

static void bury(struct grave *g)
{
    struct fake_client *f = container_of(g, struct fake_client, grave);
    buf_free(&f->wire);
    free(f);
}

void fake_gone(struct fake_client *f)
{
    client_gone(&f->client);
    f->grave.bury = bury;
    shard_bury(f->client.shard, &f->grave);
}

bool fake_next(struct fake_client *f, struct fake_line *line)
{
    struct str rest = str_skip(buf_view(&f->wire), f->read_bytes);
    if (rest.n == 0)
        return false;
    struct str text = str_cut(&rest, '\n');
    f->read_bytes += text.n + 1;
    line->kind = text.p[0];
    text = str_skip(text, 1);
    line->topic = str_cut(&text, '|');
    line->channel = str_cut(&text, '|');
    line->data = text;
    return true;
}

void fake_expect(struct fake_client *f, const char *lines)
{
    struct str got = STR_LIT("");
    if (f->wire.n)
        got = str_skip(buf_view(&f->wire), f->read_bytes);
    if (!str_eq(got, str_of(lines)))
        fprintf(stderr, "expected:\n%sgot:\n%.*s", lines, STR_ARG(got));
    CHECK(str_eq(got, str_of(lines)));
    f->read_bytes = f->wire.n;
}

int fake_subscribe_as(struct fake_client *f, const char *topic,
                      const struct throttle_policy *policy,
                      const struct throttle_request *request)
{
    struct channel_name name;
    CHECK(channel_parse(str_of(topic), &name) == 0);
    struct subscribe_options o = {
        .is_pattern = name.is_pattern,
        .policy = policy,
        .grant = throttle_decide(policy, request),
    };
    return hub_subscribe(&f->client, name.full, &o);
}

int fake_subscribe_wish(struct fake_client *f, const char *topic,
                        const struct history_policy *history,
                        const struct position_wish *wish)
{
    struct subscribe_options o = {
        .policy = &throttle_plain,
        .history = history,
        .wish = *wish,
        .recoverable = wish->positioned,
    };
    return hub_subscribe(&f->client, str_of(topic), &o);
}

int fake_subscribe(struct fake_client *f, const char *topic)
{
    return fake_subscribe_as(f, topic, &throttle_plain,
                             &(struct throttle_request){0});
}

void fake_unsubscribe(struct fake_client *f, const char *topic)
{
    struct sub *s = client_find_sub(&f->client, str_of(topic));
    CHECK(s);
    hub_unsubscribe(&f->client, s);
}

static void on_published(struct publish_op *op)
{
    CHECK(op->result == 0 && !op->msg);
    free(op);
}

bool fake_publish(struct shard *from, const char *channel, const char *data)
{
    return fake_publish_as(
        from, &(struct fake_publication){.channel = channel, .data = data});
}

bool fake_publish_as(struct shard *from, const struct fake_publication *p)
{
    struct msg_parts parts = {.channel = str_of(p->channel),
                              .data = str_of(p->data),
                              .item = p->item,
                              .policy = p->policy,
                              .urgent = p->urgent,
                              .is_json = !p->is_binary,
                              .born_ns = clock_now_ns()};
    struct msg *m = msg_new(&from->hub->budget, &parts);
    if (!m)
        return false;
    struct publish_op *op = mem_zalloc(sizeof(*op));
    op->msg = m;
    op->done = on_published;
    hub_publish(from, op);
    return true;
}

static void on_wake(void *arg)
{
    *(_Atomic bool *)arg = true;
}

void fake_node_init(struct fake_node *n, unsigned shards,
                    const struct hub_options *options)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 3,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 128,
                            .max_items = 1000,
                            .last_max_bytes = 16 << 20,
                            .state_max_bytes = 65536,
                            .idle_ttl_ms = 60000};
    void *args[HOME_MAX_SHARDS];
    if (options)
        o = *options;
    o.shards = shards;
    o.codec = o.codec ? o.codec : &fake_codec;
    for (unsigned i = 0; i < shards; i++) {
        n->woken[i] = false;
        n->more[i] = false;
        args[i] = (void *)&n->woken[i];
    }
    hub_init(&n->hub, &o, on_wake, args);
}

void fake_node_fini(struct fake_node *n)
{
    hub_fini(&n->hub);
    CHECK(n->hub.budget.used_bytes == 0 && n->hub.held.used_bytes == 0);
}

void fake_turn(struct fake_node *n, unsigned shard)
{
    n->woken[shard] = false;
    n->more[shard] = shard_turn(n->hub.shards[shard]) == 0;
}

/* Clients that were marked outside a turn need one too: on a real shard they
 * are marked by an event, and the turn follows. */
static bool wants_turn(struct fake_node *n, unsigned shard)
{
    const struct shard *s = n->hub.shards[shard];
    return n->woken[shard] || n->more[shard] || !TAILQ_EMPTY(&s->dirty) ||
           !TAILQ_EMPTY(&s->busy) || !SLIST_EMPTY(&s->graves);
}

bool fake_is_idle(struct fake_node *n)
{
    for (unsigned i = 0; i < n->hub.count; i++) {
        if (wants_turn(n, i))
            return false;
    }
    return true;
}

bool fake_step(struct fake_node *n, struct rand *r)
{
    unsigned from = (unsigned)rand_below(r, n->hub.count);
    for (unsigned i = 0; i < n->hub.count; i++) {
        unsigned shard = (from + i) % n->hub.count;
        if (!wants_turn(n, shard))
            continue;
        fake_turn(n, shard);
        return true;
    }
    return false;
}

void fake_check(struct fake_node *n)
{
    for (unsigned i = 0; i < n->hub.count; i++)
        shard_check(n->hub.shards[i]);
}

void fake_settle(struct fake_node *n)
{
    while (!fake_is_idle(n)) {
        for (unsigned i = 0; i < n->hub.count; i++) {
            if (wants_turn(n, i))
                fake_turn(n, i);
        }
    }
    fake_check(n);
}
