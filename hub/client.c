#include "hub/client.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/fanout.h"
#include "hub/hub.h"

/* One write takes at most this much of a queue, so that what the kernel
 * refuses, which the transport must keep, stays small. */
#define FLUSH_MAX_BYTES 65536

/* Writes of chosen values for one client in one turn. */
#define BACKLOG_WRITES_A_TURN 16

static uint32_t take_slot(struct shard *s)
{
    if (s->slot_free == UINT32_MAX) {
        uint32_t n = s->slot_count ? s->slot_count * 2 : 64;
        s->slots = mem_realloc(s->slots, n * sizeof(*s->slots));
        for (uint32_t i = n; i-- > s->slot_count;) {
            s->slots[i] = (struct client_slot){NULL, 1, s->slot_free};
            s->slot_free = i;
        }
        s->slot_count = n;
    }
    uint32_t i = s->slot_free;
    s->slot_free = s->slots[i].next_free;
    return i;
}

void client_open(struct client *c, struct shard *s, enum encoding encoding,
                 const struct transport *transport,
                 const struct session_events *events)
{
    c->transport = transport;
    c->events = events;
    c->shard = s;
    c->encoding = (uint8_t)encoding;
    c->queue = c->queue_inline;
    c->queue_cap = CLIENT_INLINE_FRAMES;
    TAILQ_INIT(&c->subs);
    rand_uuid_init(c->id);
    uint32_t slot = take_slot(s);
    s->slots[slot].client = c;
    c->ref = (struct client_ref){slot, s->slots[slot].gen};
    s->client_count++;
}

static struct user *get_user(struct shard *s, struct str name)
{
    struct user *u = shard_find_user(s, name);
    if (u)
        return u;
    u = mem_zalloc(sizeof(*u) + name.n + 1);
    if (name.n)
        memcpy(u->name, name.p, name.n);
    u->len = (uint32_t)name.n;
    LIST_INIT(&u->clients);
    HASH_ADD_KEYPTR(hh, s->users, u->name, u->len, u);
    return u;
}

void client_identify(struct client *c, struct str user)
{
    CHECK(!c->user);
    c->user = get_user(c->shard, user);
    c->user->count++;
    LIST_INSERT_HEAD(&c->user->clients, c, user_link);
    c->connected = true;
    c->shard->connected_count++;
    c->shard->stats.connects++;
}

struct str client_user(const struct client *c)
{
    return c->user ? str_n(c->user->name, c->user->len) : STR_LIT("");
}

static void forget_user(struct client *c)
{
    struct user *u = c->user;
    if (!u)
        return;
    LIST_REMOVE(c, user_link);
    c->user = NULL;
    if (--u->count)
        return;
    HASH_DEL(c->shard->users, u);
    free(u);
}

void client_mark_dirty(struct client *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->shard->dirty_count++;
    TAILQ_INSERT_TAIL(&c->shard->dirty, c, dirty_link);
}

void client_unmark_dirty(struct client *c)
{
    if (!c->dirty)
        return;
    c->dirty = false;
    c->shard->dirty_count--;
    TAILQ_REMOVE(&c->shard->dirty, c, dirty_link);
}

static void reset_queue(struct client *c)
{
    if (c->queue != c->queue_inline)
        free(c->queue);
    c->queue = c->queue_inline;
    c->queue_cap = CLIENT_INLINE_FRAMES;
    c->queue_head = 0;
    c->queue_count = 0;
}

static void drop_queue(struct client *c)
{
    struct shard *s = c->shard;
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < c->queue_count; i++) {
        struct frame *f = c->queue[c->queue_head + i];
        dropped += f->publications;
        frame_unref(f);
    }
    if (c->close_code == 3008)
        s->stats.drop_slow += dropped;
    else
        s->stats.drop_gone += dropped;
    s->queued_bytes -= c->queued_bytes;
    c->queued_bytes = 0;
    reset_queue(c);
}

/* The array is a vector with a moving head: what was written leaves at the
 * front, and when it is empty it starts again. */
static void make_room(struct client *c)
{
    if (c->queue_head + c->queue_count < c->queue_cap)
        return;
    if (c->queue_head) {
        memmove(c->queue, c->queue + c->queue_head,
                c->queue_count * sizeof(*c->queue));
        c->queue_head = 0;
        if (c->queue_count <= c->queue_cap / 2)
            return;
    }
    uint32_t cap = c->queue_cap * 4;
    struct frame **old = c->queue == c->queue_inline ? NULL : c->queue;
    struct frame **queue = mem_realloc(old, cap * sizeof(*queue));
    if (!old)
        memcpy(queue, c->queue_inline, sizeof(c->queue_inline));
    c->queue = queue;
    c->queue_cap = cap;
}

/* Slow is whose socket does not take what we have; a burst within one turn
 * that goes over the bound is written before the turn's end instead. */
static bool has_room(struct client *c, const struct frame *f)
{
    uint32_t max = c->shard->hub->options.queue_max_bytes;
    if (c->queued_bytes + f->len > max)
        client_write(c);
    if (c->queued_bytes + f->len <= max)
        return true;
    /* One frame larger than the bound is nobody's slowness. */
    return c->queued_bytes == 0 && !c->choked;
}

void client_push(struct client *c, struct frame *f)
{
    struct shard *s = c->shard;
    if (c->closing || c->closed)
        return;
    if (!has_room(c, f)) {
        s->stats.drop_slow += f->publications;
        client_close(c, 3008, STR_LIT("slow"));
        return;
    }
    if (c->closed) /* That write found the connection broken. */
        return;
    if (c->queue_head + c->queue_count == c->queue_cap)
        make_room(c);
    c->queue[c->queue_head + c->queue_count++] = frame_ref(f);
    c->queued_bytes += f->len;
    s->queued_bytes += f->len;
    s->stats.deliveries += f->publications;
    if (!c->dirty)
        client_mark_dirty(c);
}

void client_push_bytes(struct client *c, struct str bytes)
{
    struct frame *f = frame_new(bytes);
    client_push(c, f);
    frame_unref(f);
}

void client_cork(struct client *c)
{
    c->corked = true;
}

/* Past the bound if need be: without its first frame a client understands
 * nothing of the others. */
static void push_front(struct client *c, struct frame *f)
{
    if (c->queue_head + c->queue_count == c->queue_cap)
        make_room(c);
    struct frame **q = c->queue + c->queue_head;
    memmove(q + 1, q, c->queue_count * sizeof(*q));
    q[0] = f;
    c->queue_count++;
    c->queued_bytes += f->len;
    c->shard->queued_bytes += f->len;
}

void client_uncork(struct client *c, struct str first)
{
    if (!c->closing && !c->closed) {
        if (first.n)
            push_front(c, frame_new(first));
        if (c->queue_count || c->backlog)
            client_mark_dirty(c);
    }
    c->corked = false;
}

void client_writable(struct client *c)
{
    c->choked = false;
    if (c->queue_count || c->closing || c->backlog)
        client_mark_dirty(c);
}

static void leave_all(struct client *c)
{
    struct sub *s;
    while ((s = TAILQ_FIRST(&c->subs)))
        hub_unsubscribe(c, s);
}

void client_close(struct client *c, uint32_t code, struct str reason)
{
    if (c->closing || c->closed)
        return;
    c->closing = true;
    c->close_code = code;
    c->close_reason = reason;
    stats_close(&c->shard->stats, code);
    leave_all(c);
    backlog_free(c);
    if (code == 3008 || c->corked)
        drop_queue(c);
    client_mark_dirty(c);
    c->events->closing(c);
}

void client_gone(struct client *c)
{
    struct shard *s = c->shard;
    if (!c->closing && !c->closed)
        stats_close(&s->stats, c->close_code);
    c->closed = true;
    leave_all(c);
    backlog_free(c);
    drop_queue(c);
    client_unmark_dirty(c);
    forget_user(c);
    if (c->connected)
        s->connected_count--;
    struct client_slot *slot = &s->slots[c->ref.slot];
    slot->client = NULL;
    slot->gen++;
    slot->next_free = s->slot_free;
    s->slot_free = c->ref.slot;
    s->client_count--;
}

/* How many frames from the head make one write. */
static uint32_t count_batch(const struct client *c, size_t *bytes)
{
    struct frame *const *q = c->queue + c->queue_head;
    size_t max = c->throttled ? PACE_BATCH_BYTES : FLUSH_MAX_BYTES;
    if (c->backlog)
        max = BACKLOG_WRITE_BYTES;
    uint32_t n = 0;
    *bytes = 0;
    while (n < c->queue_count && n < ARRAY_LEN(c->shard->gathered)) {
        if (n && *bytes + q[n]->len > max)
            break;
        *bytes += q[n++]->len;
    }
    return n;
}

static void forget_gathered(struct shard *s)
{
    for (uint32_t i = 0; i < s->gathered_count; i++)
        frame_unref(s->gathered[i]);
    s->gathered_count = 0;
}

/* Clients that follow the same channels have the same backlog: the run of
 * bytes made for one serves the next. */
static const char *gather(struct shard *s, struct frame *const *frames,
                          uint32_t n)
{
    if (n == s->gathered_count &&
        memcmp(frames, s->gathered, n * sizeof(*frames)) == 0)
        return s->gather.p;
    forget_gathered(s);
    buf_clear(&s->gather);
    for (uint32_t i = 0; i < n; i++) {
        buf_add(&s->gather, frames[i]->bytes, frames[i]->len);
        s->gathered[i] = frame_ref(frames[i]);
    }
    s->gathered_count = n;
    return s->gather.p;
}

static void drop_head(struct client *c, uint32_t n, size_t bytes)
{
    for (uint32_t i = 0; i < n; i++)
        frame_unref(c->queue[c->queue_head + i]);
    c->queued_bytes -= (uint32_t)bytes;
    c->shard->queued_bytes -= bytes;
    c->queue_head += n;
    c->queue_count -= n;
    if (c->queue_count == 0)
        reset_queue(c);
}

static void write_batch(struct client *c)
{
    struct shard *s = c->shard;
    struct frame **q = c->queue + c->queue_head;
    size_t bytes;
    uint32_t n = count_batch(c, &bytes);
    uint64_t born_ns = q[0]->born_ns;
    const char *p = n == 1 ? q[0]->bytes : gather(s, q, n);
    enum write_result rc = c->transport->write(c, p, bytes);
    s->stats.writes++;
    if (born_ns && s->now_ns > born_ns)
        hist_add(&s->stats.latency, s->now_ns - born_ns);
    if (rc == WRITE_DEAD) {
        if (!c->closing)
            stats_close(&s->stats, 3009);
        c->closed = true;
        drop_queue(c);
        return;
    }
    s->stats.bytes_out += bytes;
    drop_head(c, n, bytes);
    if (rc != WRITE_CHOKED)
        return;
    c->choked = true;
    s->stats.choked++;
    c->reclaim = c->throttled && !c->closing;
}

void client_write(struct client *c)
{
    while (c->queue_count && !c->choked && !c->closed &&
           !(c->corked && !c->closing))
        write_batch(c);
}

/* Not in the middle of a caller's pushes: what is taken back must not be passed
 * by what he pushes next. */
static void reclaim_if_due(struct client *c)
{
    if (!c->reclaim)
        return;
    c->reclaim = false;
    backlog_reclaim(c);
}

static bool takes_chosen(const struct client *c)
{
    return c->backlog && !c->choked && !c->closing && !c->closed && !c->corked;
}

/* A backlog is served in slices too: other clients come in between. */
static void write_backlog(struct client *c)
{
    unsigned writes = 0;
    while (takes_chosen(c) && c->queue_count == 0 &&
           writes++ < BACKLOG_WRITES_A_TURN && backlog_fill(c)) {
        client_write(c);
        reclaim_if_due(c);
    }
    if (takes_chosen(c) && backlog_is_ready(c))
        client_mark_dirty(c);
}

void client_flush(struct client *c)
{
    client_write(c);
    reclaim_if_due(c);
    write_backlog(c);
    if (!c->closing || c->closed || (c->choked && c->close_code != 3008))
        return;
    c->closed = true;
    c->transport->close(c, c->close_code, c->close_reason);
}

struct client *client_find(struct shard *s, struct client_ref ref)
{
    if (ref.slot >= s->slot_count || s->slots[ref.slot].gen != ref.gen)
        return NULL;
    return s->slots[ref.slot].client;
}

struct sub *client_find_sub(struct client *c, struct str channel)
{
    uint32_t hash = msg_channel_hash(channel);
    struct sub *s;
    TAILQ_FOREACH(s, &c->subs, link) {
        if (s->topic->hash == hash && str_eq(topic_name(s->topic), channel))
            return s;
    }
    return NULL;
}
