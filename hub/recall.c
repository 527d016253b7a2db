#include "hub/recall.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "hub/splice.h"

/* The channel's stream: made in-process; over a bus it must be read. NULL: it
 * has none. */
static struct history_stream *stream_of(struct shard *home,
                                        const struct home_channel *e,
                                        const struct history_policy *policy)
{
    struct history *h = &home->home.history;
    struct str name = home_channel_name(e);
    if (!home->hub->broker.ops)
        return history_get(h, name, e->hash, policy,
                           position_epoch_of(rand_next(&home->rand)),
                           shard_now_ms(home));
    return e->splice ? history_find(h, name, e->hash, shard_now_ms(home))
                     : NULL;
}

static void put(struct ask *a, struct msg *m, uint32_t cap)
{
    if (!a->snapshot)
        a->snapshot = mem_alloc(cap * sizeof(*a->snapshot));
    a->snapshot[a->snapshot_count++] = msg_ref(m);
}

/* --- the newest of each item ------------------------------------------- */

struct seen {
    UT_hash_handle hh;
    uint64_t item;
};

static bool note_seen(struct seen **all, struct seen *cell, uint64_t item)
{
    struct seen *found = NULL;
    HASH_FIND(hh, *all, &item, sizeof(item), found);
    if (found)
        return false;
    cell->item = item;
    HASH_ADD(hh, *all, item, sizeof(cell->item), cell);
    return true;
}

static void turn_round(struct msg **msgs, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        struct msg *m = msgs[i];
        msgs[i] = msgs[n - 1 - i];
        msgs[n - 1 - i] = m;
    }
}

/* Of the ring from index `from` on: the newest of each item, in order. At most
 * `most` items. */
static void add_newest(struct ask *a, const struct history_stream *s,
                       uint32_t from, uint32_t most)
{
    uint32_t n = s->count - from;
    struct seen *all = NULL;
    if (n == 0)
        return;
    struct seen *cells = mem_zalloc((n < most ? n : most) * sizeof(*cells));
    for (uint32_t i = s->count; i-- > from && a->snapshot_count < most;) {
        struct msg *m = history_at(s, i)->msg;
        if (note_seen(&all, &cells[a->snapshot_count], m->item))
            put(a, m, n < most ? n : most);
    }
    HASH_CLEAR(hh, all);
    free(cells);
    turn_round(a->snapshot, a->snapshot_count);
}

/* --- recovery ---------------------------------------------------------- */

static void drop_snapshot(struct ask *a)
{
    for (uint32_t i = 0; i < a->snapshot_count; i++)
        msg_unref(a->snapshot[i]);
    free(a->snapshot);
    a->snapshot = NULL;
    a->snapshot_count = 0;
}

static bool is_of_stream(const struct history_stream *s,
                         const struct position_wish *w)
{
    return !w->foreign && (w->since.epoch == 0 || w->since.epoch == s->epoch);
}

/* Is it known what came after `since`? */
static enum recovery judge(const struct shard *home,
                           const struct home_channel *e,
                           const struct history_stream *s,
                           const struct position_wish *w)
{
    uint64_t last = home->hub->broker.ops ? splice_last(e) : s->top;
    if (!is_of_stream(s, w))
        return RECOVERY_FOREIGN;
    if (w->since.offset < s->floor || w->since.offset > last)
        return RECOVERY_TOO_OLD;
    return RECOVERY_DONE;
}

static size_t bytes_of(const struct ask *a)
{
    size_t n = 0;
    for (uint32_t i = 0; i < a->snapshot_count; i++)
        n += msg_size(a->snapshot[i]);
    return n;
}

static void recover_stream(struct shard *home, const struct history_stream *s,
                           struct ask *a)
{
    const struct hub_options *o = &home->hub->options;
    uint32_t from = history_after(s, a->wish.since.offset);
    uint32_t n = s->count - from;
    if (a->conflates) {
        /* One more than may be, so that none is left out unnoticed. */
        add_newest(a, s, from, o->recovery_limit + 1);
    } else {
        for (uint32_t i = from; i < s->count && n <= o->recovery_limit; i++)
            put(a, history_at(s, i)->msg, n);
        if (n > o->recovery_limit)
            a->recovery = RECOVERY_TOO_OLD;
    }
    if (a->snapshot_count > o->recovery_limit ||
        bytes_of(a) > o->queue_max_bytes / 2)
        a->recovery = RECOVERY_TOO_OLD;
    if (a->recovery != RECOVERY_DONE)
        drop_snapshot(a);
}

/* Only the newest publication matters, and it must still be there. */
static void recover_cache(const struct history_stream *s, struct ask *a)
{
    const struct position *since = &a->wish.since;
    if (is_of_stream(s, &a->wish) && since->epoch && since->offset == s->top) {
        a->recovery = RECOVERY_DONE;
        return;
    }
    bool is_there =
        s->count && history_at(s, s->count - 1)->msg->offset == s->top;
    a->recovery = is_there ? RECOVERY_DONE : RECOVERY_TOO_OLD;
    /* Among the newest of each item it comes anyway. */
    if (is_there && a->wish.latest != LATEST_ALWAYS)
        put(a, history_at(s, s->count - 1)->msg, 1);
}

static void recover(struct shard *home, const struct home_channel *e,
                    const struct history_stream *s, struct ask *a)
{
    if (a->history->cache) {
        recover_cache(s, a);
        return;
    }
    a->recovery = judge(home, e, s, &a->wish);
    if (a->recovery == RECOVERY_DONE && a->wish.latest != LATEST_ALWAYS)
        recover_stream(home, s, a);
}

void recall_answer(struct shard *home, const struct home_channel *e,
                   struct ask *a)
{
    struct position_wish *w = &a->wish;
    if (!w->positioned)
        return;
    const struct history_stream *s = stream_of(home, e, a->history);
    if (!s)
        return;
    bool recovers = w->recover || a->history->auto_cache;
    if (recovers)
        recover(home, e, s, a);
    bool is_lost = recovers && a->recovery != RECOVERY_DONE;
    if (w->latest == LATEST_ALWAYS || (w->latest == LATEST_IF_LOST && is_lost))
        add_newest(a, s, 0, home->hub->options.max_items);
    a->position = (struct position){s->epoch, s->top};
}

/* --- history ----------------------------------------------------------- */

/* Publications by offset, wherever they are. */
struct shelf {
    uint32_t count;
    struct msg *(*at)(const void *arg, uint32_t i);
    const void *arg;
};

static struct msg *in_stream(const void *arg, uint32_t i)
{
    return history_at(arg, i)->msg;
}

static struct msg *in_read(const void *arg, uint32_t i)
{
    return ((const struct read_op *)arg)->msgs[i];
}

/* The first with a greater offset. */
static uint32_t first_after(const struct shelf *s, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = s->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->at(s->arg, mid)->offset > offset)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static uint32_t limit_of(const struct shard *home, const struct history_op *op)
{
    uint32_t most = home->hub->options.history_limit;
    if (op->limit < 0 || op->limit > (int64_t)most)
        return most;
    return (uint32_t)op->limit;
}

static void answer_history(const struct shard *home, const struct shelf *s,
                           struct history_op *op)
{
    uint32_t limit = limit_of(home, op);
    uint32_t from = 0;
    uint32_t end = s->count;
    bool other = op->foreign ||
                 (op->since.epoch && op->since.epoch != op->position.epoch);
    if (op->has_since && other) {
        op->error = 112;
        return;
    }
    if (op->has_since && op->reverse)
        end = op->since.offset ? first_after(s, op->since.offset - 1) : 0;
    else if (op->has_since)
        from = first_after(s, op->since.offset);
    if (end - from > limit && op->reverse)
        from = end - limit;
    else if (end - from > limit)
        end = from + limit;
    if (end == from)
        return;
    op->msgs = mem_alloc((end - from) * sizeof(*op->msgs));
    for (uint32_t i = from; i < end; i++)
        op->msgs[op->count++] = msg_ref(s->at(s->arg, i));
    if (op->reverse)
        turn_round(op->msgs, op->count);
}

void recall_history(struct shard *home, const struct history_stream *s,
                    struct history_op *op)
{
    struct shelf shelf = {s->count, in_stream, s};
    op->position = (struct position){s->epoch, s->top};
    answer_history(home, &shelf, op);
}

void recall_read(struct shard *home, const struct read_op *read,
                 struct history_op *op)
{
    struct shelf shelf = {read->count, in_read, read};
    uint64_t top = read->newest;
    if (read->count)
        top = read->msgs[read->count - 1]->offset > top
                  ? read->msgs[read->count - 1]->offset
                  : top;
    op->position = (struct position){read->epoch, top ? top : read->last};
    answer_history(home, &shelf, op);
}
