/* Random lives of an event stream: publications on several channels (urgent
 * ones, some without a place in the stream, some through a throttle), channels
 * that join and leave by POST, a peer that does not read for a while. All it
 * was sent is recorded. Then it is cut after any event, and a new stream goes
 * on from the last whole id: it must bring exactly what is missing.
 *
 * The account is naive: a list of all publications, and for each cut a walk
 * over the events before it. */
#include "gateway/transport/sse_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "gateway/protocol/json.h"
#include "tests/kit/events.h"
#include "tests/kit/still.h"
#include "tests/kit/stream.h"

/* hh: all of a stream; qq: its newest by /s, 20/s; pp: has one, but it does not
 * go on from there; a: none. */
#define OPEN                               \
    "\"allow_subscribe_for_client\":true," \
    "\"allow_subscribe_for_anonymous\":true,"
#define KEPT "\"history_size\":5000,\"history_ttl\":\"1h\""
#define CONFIG                                                              \
    "{\"client\":{\"allow_anonymous_connect_without_token\":true,"          \
    "\"queue_max_size\":8388608,"                                           \
    "\"recovery_max_publication_limit\":10000},"                            \
    "\"sse\":{\"ping_interval\":\"24h\"},\"http_api\":{\"insecure\":true}," \
    "\"channel\":{\"without_namespace\":{" OPEN "\"allow_patterns\":true}," \
    "\"namespaces\":[{\"name\":\"hh\"," OPEN "\"allow_patterns\":true,"     \
    "\"force_recovery\":true," KEPT "},"                                    \
    "{\"name\":\"qq\"," OPEN "\"force_recovery\":true," KEPT ","            \
    "\"throttle\":{\"mode\":\"latest\",\"key\":\"/s\",\"rate\":20}},"       \
    "{\"name\":\"pp\"," OPEN KEPT "}]}}"

#define ITEMS 8
#define STEPS_MAX 4096

static const char *const names[] = {"hh:0", "hh:1", "hh:2", "qq:0",
                                    "qq:1", "pp:0", "a"};
#define POOL ARRAY_LEN(names)

static bool has_history(size_t ch)
{
    return names[ch][0] != 'a';
}

static bool is_whole(size_t ch)
{
    return names[ch][0] == 'h';
}

static bool is_latest(size_t ch)
{
    return names[ch][0] == 'q';
}

static bool is_recoverable(size_t ch)
{
    return is_whole(ch) || is_latest(ch);
}

static unsigned recoverable_of(unsigned set)
{
    for (size_t ch = 0; ch < POOL; ch++)
        set &= is_recoverable(ch) ? ~0u : ~(1u << ch);
    return set;
}

struct pub {
    size_t ch;
    unsigned item;
    uint64_t offset; /* 0: none */
};

/* From these bytes of the stream on, its channels are these. */
struct era {
    size_t at;
    unsigned set;        /* bits */
    uint64_t base[POOL]; /* where each stood when it came in */
};

struct life {
    struct gate gate;
    struct rand rand;
    struct gate_peer api;
    struct gate_peer peer;
    size_t begin; /* of the events in peer.in */
    char session[128];
    struct pub pubs[STEPS_MAX * 8];
    size_t count;
    uint64_t top[POOL];
    struct era eras[STEPS_MAX];
    size_t era_count;
    bool has_pattern;
    uint64_t opened[POOL]; /* where each stood when it began */
    uint64_t epochs[POOL];
    bool is_anew; /* its beginning was nobody's end */
    bool is_slow; /* does not always read */
    size_t pad;   /* bytes of a publication */
};

static struct life w;
static uint64_t choked; /* times a peer's socket was full, in all lives */

static uint64_t below(uint64_t n)
{
    return rand_below(&w.rand, n);
}

static struct era *era_now(void)
{
    return &w.eras[w.era_count - 1];
}

/* --- what is done ----------------------------------------------------------- */

static struct gate_answer ask(struct gate_peer *p, const char *line,
                              const char *headers, struct str body)
{
    struct buf b = BUF_INIT;
    struct gate_answer a;
    buf_printf(&b, "%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
               line, headers, body.n);
    buf_str(&b, body);
    assert_true(gate_send(p, buf_view(&b)));
    gate_read(p);
    assert_true(gate_next_answer(p, false, &a));
    buf_free(&b);
    return a;
}

/* Large ones fill the queue, so that others wait in it. */
static int pad_of(size_t ch)
{
    if (w.is_slow && is_whole(ch) && below(2))
        return 14000;
    return (int)below(is_latest(ch) ? w.pad / 2 + 1 : w.pad + 1);
}

static void put_publication(struct buf *b)
{
    struct pub *p = &w.pubs[w.count];
    bool skips;
    p->ch = below(3) ? below(POOL) : 3; /* much of one, so that it waits */
    p->item = (unsigned)below(ITEMS);
    skips = is_whole(p->ch) && below(12) == 0;
    p->offset = has_history(p->ch) && !skips ? ++w.top[p->ch] : 0;
    buf_printf(b,
               "%s{\"publish\":{\"channel\":\"%s\",\"skip_history\":%s,"
               "\"urgent\":%s,\"data\":{\"s\":%u,\"n\":%zu,\"pad\":\"%*s\"}}}",
               b->p[b->n - 1] == '[' ? "" : ",", names[p->ch],
               skips ? "true" : "false", below(12) ? "false" : "true", p->item,
               w.count, pad_of(p->ch), "");
    w.count++;
}

/* Several at once become batches. */
static void publish(void)
{
    struct buf b = BUF_INIT;
    uint64_t n = 1 + below(7);
    buf_lit(&b, "{\"commands\":[");
    while (n--)
        put_publication(&b);
    buf_lit(&b, "]}");
    struct gate_answer a = ask(&w.api, "POST /api/batch", "", buf_view(&b));
    assert_int_equal(a.status, 200);
    assert_null(memmem(a.body.p, a.body.n, "error", 5));
    buf_free(&b);
}

/* Joins, leaves, and other rates, several in one request. */
static void change(void)
{
    struct buf b = BUF_INIT;
    struct era next = *era_now();
    char line[160];
    gate_read(&w.peer);
    next.at = w.peer.in.n - w.begin;
    buf_lit(&b, "{\"channels\":{\"never\":null");
    for (uint64_t n = 1 + below(2); n--;) {
        size_t ch = below(POOL);
        bool is_in = next.set >> ch & 1;
        if (memmem(b.p, b.n, names[ch], strlen(names[ch])))
            continue;
        if (is_in && below(2) && is_latest(ch)) {
            buf_printf(&b, ",\"%s\":{\"rate\":%u}", names[ch],
                       (unsigned)below(20));
        } else if (is_in) {
            buf_printf(&b, ",\"%s\":null", names[ch]);
            next.set &= ~(1u << ch);
        } else {
            buf_printf(&b, ",\"%s\":{}", names[ch]);
            next.set |= 1u << ch;
            next.base[ch] = w.top[ch];
        }
    }
    buf_lit(&b, "}}");
    snprintf(line, sizeof(line), "POST /sse/%s", w.session);
    struct gate_answer a = ask(&w.api, line, "", buf_view(&b));
    assert_int_equal(a.status, 200);
    assert_null(memmem(a.body.p, a.body.n, "errors", 6));
    w.eras[w.era_count++] = next;
    buf_free(&b);
}

static void put_channels(struct buf *to, unsigned set)
{
    const char *between = "?";
    for (size_t ch = 0; ch < POOL; ch++) {
        if (!(set >> ch & 1))
            continue;
        buf_printf(to, "%schannel=%s", between, names[ch]);
        between = "&";
    }
    if (w.has_pattern)
        buf_printf(to, "%schannel=hh:%%3E", between);
}

/* Returns where its events begin in what was read. */
static size_t open_stream(struct gate_peer *p, unsigned set, struct str id)
{
    struct buf line = BUF_INIT;
    struct buf headers = BUF_INIT;
    struct gate_answer a;
    buf_lit(&line, "GET /sse");
    put_channels(&line, set);
    if (id.n)
        buf_printf(&headers, "Last-Event-ID: %.*s\r\n", STR_ARG(id));
    buf_printf(&line, " HTTP/1.1\r\nHost: x\r\n%.*s\r\n",
               STR_ARG(buf_view(&headers)));
    gate_open(&w.gate, (unsigned)below(2), p);
    assert_true(gate_send(p, buf_view(&line)));
    gate_read(p);
    assert_true(gate_next_answer(p, false, &a));
    assert_int_equal(a.status, 200);
    buf_free(&line);
    buf_free(&headers);
    return (size_t)(a.body.p - p->in.p);
}

/* The kernel takes little for it. */
static void make_small(void)
{
    int bytes = 4608;
    struct session *s = stream_session(&w.gate, 0);
    if (!s)
        s = stream_session(&w.gate, 1);
    assert_int_equal(setsockopt(((struct sse_conn *)s)->fd, SOL_SOCKET,
                                SO_SNDBUF, &bytes, sizeof(bytes)),
                     0);
}

/* A stream before this one: it heard nothing but where it stood. Now and then
 * the page sends back something else. */
static void make_past(unsigned set, struct buf *id)
{
    struct gate_peer p;
    struct events_event e = {.id = STR_LIT("")};
    size_t at = open_stream(&p, set, STR_LIT(""));
    while (events_next(buf_view(&p.in), &at, &e) && !e.kind.n)
        ;
    memcpy(w.eras[0].base, w.top, sizeof(w.top));
    w.is_anew = below(3) == 0;
    buf_str(id, w.is_anew ? STR_LIT("what?") : e.id);
    gate_close(&p);
    for (unsigned i = 0; i < 4; i++)
        publish();
    for (size_t ch = 0; ch < POOL && w.is_anew; ch++)
        w.eras[0].base[ch] = is_whole(ch) && w.top[ch] ? w.top[ch] - 1 : 0;
}

static void begin_life(unsigned set)
{
    static const char mark[] = "\"session\":\"";
    struct buf id = BUF_INIT;
    w.eras[0] = (struct era){.at = 0, .set = set};
    w.era_count = 1;
    make_past(set, &id);
    memcpy(w.opened, w.top, sizeof(w.top));
    w.begin = open_stream(&w.peer, set, buf_view(&id));
    const char *at = memmem(w.peer.in.p, w.peer.in.n, mark, strlen(mark));
    assert_non_null(at);
    snprintf(w.session, sizeof(w.session), "%.71s", at + strlen(mark));
    if (w.is_slow)
        make_small();
    buf_free(&id);
}

static void step(void)
{
    if (below(6) == 0)
        gate_pass(&w.gate, below(80));
    /* Ticks and publications in one turn. */
    if (below(3) == 0)
        still_pass_ns(60000000);
    if (below(10) == 0)
        change();
    else
        publish();
    if (!w.is_slow || below(30) == 0)
        gate_read(&w.peer);
}

/* --- the account ------------------------------------------------------------ */

/* What a client knows that has had the events up to a cut. */
struct account {
    unsigned set;
    uint64_t base[POOL];
    uint64_t got[POOL];         /* the greatest offset */
    uint64_t item[POOL][ITEMS]; /* of each item */
    size_t joined[POOL];        /* where it came in */
    struct str id;              /* the last one */
    size_t id_at;               /* where its event ends */
    unsigned owed;              /* bits: what it must tell */
};

/* The publication that an event is; NULL for other events. */
static const struct pub *pub_of(const struct events_event *e)
{
    struct json_value v;
    struct json_value data;
    struct json_value n;
    int64_t index;
    if (e->kind.n || e->data.n == 0)
        return NULL;
    assert_int_equal(json_parse(e->data, &v), 0);
    assert_true(json_member(v, STR_LIT("data"), &data));
    assert_true(json_member(data, STR_LIT("n"), &n));
    assert_int_equal(json_i64(n, &index), 0);
    assert_in_range(index, 0, w.count - 1);
    return &w.pubs[index];
}

static void enter_era(struct account *a, const struct era *era)
{
    for (size_t ch = 0; ch < POOL; ch++) {
        if (!(era->set >> ch & 1) || a->set >> ch & 1)
            continue;
        a->base[ch] = a->got[ch] = era->base[ch];
        a->joined[ch] = era->at;
        memset(a->item[ch], 0, sizeof(a->item[ch]));
    }
    a->set = era->set;
}

static void note_pub(struct account *a, const struct pub *p)
{
    if (!(a->set >> p->ch & 1)) {
        assert_true(w.has_pattern && is_whole(p->ch));
        return;
    }
    if (p->offset == 0)
        return;
    if (is_whole(p->ch) && p->offset != a->got[p->ch] + 1)
        fail_msg("%s: %llu after %llu", names[p->ch],
                 (unsigned long long)p->offset,
                 (unsigned long long)a->got[p->ch]);
    if (p->offset > a->got[p->ch])
        a->got[p->ch] = p->offset;
    if (p->offset > a->item[p->ch][p->item])
        a->item[p->ch][p->item] = p->offset;
}

/* Up to the event that ends at `cut`. */
static void make_account(struct account *a, size_t cut)
{
    struct str text = str_skip(buf_view(&w.peer.in), w.begin);
    struct events_event e;
    size_t at = 0;
    size_t era = 0;
    memset(a, 0, sizeof(*a));
    a->id = STR_LIT("");
    while (at < cut) {
        while (era < w.era_count && w.eras[era].at <= at)
            enter_era(a, &w.eras[era++]);
        assert_true(events_next(text, &at, &e));
        const struct pub *p = pub_of(&e);
        if (p)
            note_pub(a, p);
        if (!e.ids)
            continue;
        a->id = e.id;
        a->id_at = at;
        a->owed = w.is_anew ? 0 : recoverable_of(a->set);
    }
    while (era < w.era_count && w.eras[era].at <= at)
        enter_era(a, &w.eras[era++]);
}

/* Is this publication the newest of its item, of those with an offset? */
static bool is_newest(const struct pub *p)
{
    for (const struct pub *q = p + 1; q < w.pubs + w.count; q++) {
        if (q->offset && q->ch == p->ch &&
            (is_whole(p->ch) || q->item == p->item))
            return false;
    }
    return true;
}

static bool is_one(unsigned set)
{
    return __builtin_popcount(recoverable_of(set)) == 1;
}

/* The position of a channel by an id, for a stream of the channels `set`; NULL:
 * it says none of this channel. */
static const struct position *told(unsigned set, const struct event_id *id,
                                   size_t ch)
{
    const struct position *p;
    if (id->kind == EVENT_ID_ONE)
        p = is_one(set) ? &id->entries[0].position : NULL;
    else
        p = event_id_find(id, event_id_name(str_of(names[ch])));
    return p && p->epoch == w.epochs[ch] ? p : NULL;
}

/* All up to the position was got; where what comes after it comes anyway
 * (`later`), of items the newest ones only. */
static void check_told(const struct account *a, size_t ch, uint64_t at,
                       bool later)
{
    uint64_t newest[ITEMS] = {0};
    if (is_whole(ch)) {
        if (a->got[ch] != at)
            fail_msg("%s stands at %llu, not %llu", names[ch],
                     (unsigned long long)a->got[ch], (unsigned long long)at);
        return;
    }
    for (const struct pub *p = w.pubs; p < w.pubs + w.count; p++) {
        if (p->ch != ch || p->offset <= a->base[ch])
            continue;
        if (p->offset <= at)
            newest[p->item] = p->offset;
        else if (later)
            newest[p->item] = 0;
    }
    for (unsigned i = 0; i < ITEMS; i++) {
        if (a->item[ch][i] < newest[i])
            fail_msg("%s stands at %llu: %llu was not sent", names[ch],
                     (unsigned long long)at, (unsigned long long)newest[i]);
    }
}

/* --- going on --------------------------------------------------------------- */

/* What a new stream brought of each channel. */
struct harvest {
    const struct pub *pubs[POOL][STEPS_MAX];
    size_t count[POOL];
    unsigned reset; /* bits */
};

static struct harvest got;

static void note_reset(struct str data)
{
    struct json_value v;
    struct json_value list;
    struct json_value item;
    struct str name;
    struct buf text = BUF_INIT;
    assert_int_equal(json_parse(data, &v), 0);
    assert_true(json_member(v, STR_LIT("channels"), &list));
    struct json_iter it = json_iter(list);
    while (json_next_item(&it, &item)) {
        assert_int_equal(json_text(item, &text, &name), 0);
        for (size_t ch = 0; ch < POOL; ch++)
            got.reset |= str_eq(name, str_of(names[ch])) ? 1u << ch : 0;
    }
    buf_free(&text);
}

static void harvest(struct gate_peer *p, size_t begin)
{
    struct str text = str_skip(buf_view(&p->in), begin);
    struct events_event e;
    size_t at = 0;
    memset(got.count, 0, sizeof(got.count));
    got.reset = 0;
    while (events_next(text, &at, &e)) {
        const struct pub *pub = pub_of(&e);
        if (str_eq(e.kind, STR_LIT("reset")))
            note_reset(e.data);
        else if (pub)
            got.pubs[pub->ch][got.count[pub->ch]++] = pub;
        else
            assert_true(e.datas == 0 || str_eq(e.kind, STR_LIT("session")));
    }
}

/* `after`: NULL when the channel had to begin anew. */
static void check_harvest(size_t ch, const struct position *after)
{
    size_t n = 0;
    bool all = after && is_whole(ch);
    for (const struct pub *p = w.pubs; p < w.pubs + w.count; p++) {
        if (p->ch != ch || p->offset <= (after ? after->offset : 0) ||
            (!all && !is_newest(p)))
            continue;
        if (n >= got.count[ch] || got.pubs[ch][n] != p)
            fail_msg("%s: %llu does not come", names[ch],
                     (unsigned long long)p->offset);
        n++;
    }
    assert_int_equal(n, got.count[ch]);
}

/* `later`: this is not the first time. */
static void resume(const struct account *a, unsigned set, bool later);

/* A stream that began with one channel and has got others has said nothing
 * since: its id names none. */
static bool is_unnamed(const struct event_id *id, unsigned set)
{
    return id->kind == EVENT_ID_ONE && !is_one(set) &&
           (recoverable_of(w.eras[0].set) == 0 || is_one(w.eras[0].set));
}

/* What a channel that began anew began with says where it stands. */
static void begin_anew(struct account *a, const struct pub *p)
{
    if (!(got.reset >> p->ch & 1))
        return;
    got.reset &= ~(1u << p->ch);
    a->owed |= 1u << p->ch;
    a->base[p->ch] = a->got[p->ch] = p->offset - 1;
    if (is_latest(p->ch))
        a->base[p->ch] = a->got[p->ch] = 0;
    memset(a->item[p->ch], 0, sizeof(a->item[p->ch]));
}

/* A channel that came in after the last id goes on from where it left. */
static void go_back(struct account *a, unsigned set)
{
    struct event_id id;
    assert_int_equal(event_id_parse(a->id, &id), 0);
    for (size_t ch = 0; ch < POOL; ch++) {
        const struct position *at = told(set, &id, ch);
        if (!at || a->id_at > a->joined[ch])
            continue;
        a->base[ch] = a->got[ch] = at->offset;
        memset(a->item[ch], 0, sizeof(a->item[ch]));
    }
}

/* The new stream is cut, too. */
static void cut_again(const struct account *before, unsigned set,
                      struct gate_peer *p, size_t begin)
{
    struct account a = *before;
    struct str text = str_skip(buf_view(&p->in), begin);
    struct events_event e;
    size_t at = 0;
    uint64_t left = below(12);
    go_back(&a, set);
    a.set = set;
    a.owed = recoverable_of(set) & ~got.reset;
    while (left-- && events_next(text, &at, &e)) {
        const struct pub *pub = pub_of(&e);
        if (pub && pub->offset)
            begin_anew(&a, pub);
        if (pub)
            note_pub(&a, pub);
        if (e.ids)
            a.id = e.id;
    }
    resume(&a, set, true);
}

static void resume(const struct account *a, unsigned set, bool later)
{
    struct gate_peer p;
    struct event_id id;
    assert_int_equal(event_id_parse(a->id, &id), 0);
    size_t begin = open_stream(&p, set, a->id);
    harvest(&p, begin);
    for (size_t ch = 0; ch < POOL; ch++) {
        const struct position *at = told(set, &id, ch);
        if (!(set >> ch & 1) || !is_recoverable(ch)) {
            if (got.count[ch])
                fail_msg("%zu of %s by %.*s", got.count[ch], names[ch],
                         STR_ARG(buf_view(&p.in)));
            continue;
        }
        assert_int_equal(got.reset >> ch & 1, !at);
        if (!at && a->owed >> ch & 1 && !is_unnamed(&id, set))
            fail_msg("%s is not told by %.*s", names[ch], STR_ARG(a->id));
        /* An id from before it came in says where it stood when it left. */
        if (at && a->id_at > a->joined[ch])
            check_told(a, ch, at->offset, later || at->offset < w.opened[ch]);
        check_harvest(ch, at);
    }
    if (!later)
        cut_again(a, set, &p, begin);
    gate_close(&p);
    gate_settle(&w.gate);
}

/* --- a life ----------------------------------------------------------------- */

static void learn_epochs(void)
{
    static const char mark[] = "\"epoch\":\"";
    for (size_t ch = 0; ch < POOL; ch++) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "{\"channel\":\"%s\"}", names[ch]);
        struct gate_answer a =
            ask(&w.api, "POST /api/history", "", buf_view(&b));
        const char *at = memmem(a.body.p, a.body.n, mark, strlen(mark));
        if (has_history(ch))
            assert_int_equal(position_epoch_parse(str_n(at + strlen(mark), 8),
                                                  &w.epochs[ch]),
                             0);
        buf_free(&b);
    }
}

static void cut_at(size_t cut)
{
    struct account a;
    make_account(&a, cut);
    unsigned sets[2] = {a.set, w.eras[0].set};
    for (unsigned i = 0; i < 2 && a.id.n; i++) {
        if (sets[i] || w.has_pattern)
            resume(&a, sets[i], false);
    }
}

static void cut_everywhere(unsigned most)
{
    struct str text = str_skip(buf_view(&w.peer.in), w.begin);
    struct events_event e;
    size_t *ends = mem_alloc((text.n / 2 + 1) * sizeof(*ends));
    size_t count = 0;
    size_t at = 0;
    while (events_next(text, &at, &e))
        ends[count++] = e.end;
    assert_int_equal(at, text.n);
    for (unsigned i = 0; i < most && i < count; i++)
        cut_at(ends[most < count ? below(count) : i]);
    cut_at(ends[count - 1]);
    free(ends);
}

/* Whoever stayed has everything, and knows where everything stands. */
static void check_end(void)
{
    struct account a;
    struct event_id id;
    make_account(&a, w.peer.in.n - w.begin);
    if (!a.id.n)
        return;
    assert_int_equal(event_id_parse(a.id, &id), 0);
    for (size_t ch = 0; ch < POOL; ch++) {
        const struct position *at = told(a.set, &id, ch);
        if (!(a.set >> ch & 1) || !is_recoverable(ch))
            continue;
        check_told(&a, ch, w.top[ch], false);
        if (at && a.id_at > a.joined[ch] && !w.is_slow)
            assert_int_equal(at->offset, w.top[ch]);
    }
}

static void live(uint64_t seed, unsigned steps)
{
    unsigned set;
    memset(&w, 0, sizeof(w));
    rand_init(&w.rand, seed);
    gate_init(&w.gate, 2, CONFIG);
    gate_open(&w.gate, (unsigned)below(2), &w.api);
    w.has_pattern = below(4) == 0;
    w.is_slow = below(3) == 0;
    w.pad = !w.is_slow ? 10 : below(2) ? 4000 : 400;
    for (unsigned i = 0; i < 20; i++)
        publish();
    /* Most begin with one or two. */
    set = below(3) ? 1u << below(5) : 1 + (unsigned)below((1u << POOL) - 1);
    if (below(2))
        set |= 1u << below(POOL);
    begin_life(set);
    if (below(2))
        change();
    for (unsigned i = 0; i < steps; i++)
        step();
    for (unsigned i = 0; i < 4; i++) {
        gate_pass(&w.gate, 1100);
        gate_read(&w.peer);
    }
    assert_false(w.peer.eof);
    choked += w.gate.loops[0]->shard->stats.choked +
              w.gate.loops[1]->shard->stats.choked;
    learn_epochs();
    check_end();
    cut_everywhere(30);
    gate_close(&w.peer);
    gate_close(&w.api);
    gate_settle(&w.gate);
    gate_fini(&w.gate);
}

static void test_lives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        print_message("%s%llu", seed > 1 ? " " : "", (unsigned long long)seed);
        live(seed, 60);
    }
    print_message("\n");
    assert_true(choked > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
