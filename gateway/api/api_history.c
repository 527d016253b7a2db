/* api_history.c — API methods about the past of a channel: history,
 * history_remove. Part of api.h. Thread: the loop's. */
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/api/api.h"
#include "gateway/api/task.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/encode.h"
#include "gateway/recover.h"
#include "gateway/rules.h"

int task_since(struct json_value params, const char *name, struct buf *strings,
               bool *has_since, struct position *since, bool *foreign)
{
    struct json_value v;
    struct json_value offset;
    struct str epoch;
    *has_since = false;
    if (!json_member(params, str_of(name), &v) || v.type == JSON_NULL)
        return 0;
    if (v.type != JSON_OBJECT || task_string(v, "epoch", strings, &epoch) < 0)
        return ERR_INVALID;
    if (json_member(v, STR_LIT("offset"), &offset) &&
        offset.type != JSON_NULL && json_u64(offset, &since->offset) < 0)
        return ERR_INVALID;
    recover_epoch(epoch, &since->epoch, foreign);
    *has_since = true;
    return 0;
}

/* 0 and the channel's namespace, which has history. */
static uint32_t read_channel(struct task *t, struct json_value params,
                             struct buf *strings, struct rules_channel *ch)
{
    struct str channel;
    if (task_string(params, "channel", strings, &channel) < 0 || !channel.n)
        return ERROR_BAD_REQUEST;
    uint32_t error =
        rules_channel(t->loop->app->config, channel, RULES_CONCRETE, ch);
    if (!error && !ch->options->history.size)
        error = ERROR_NOT_AVAILABLE;
    return error;
}

/* --- history ----------------------------------------------------------------- */

struct task_history_op {
    struct task *task;    /* borrowed */
    struct history_op op; /* last: has the name behind it */
};

/* Is there room in the answer to the request? There is for one of any size. */
static bool has_room(struct task *t, const struct history_op *op)
{
    size_t n = 0;
    while (t->parent)
        t = t->parent;
    for (uint32_t i = 0; i < op->count; i++)
        n += msg_size(op->msgs[i]);
    if (t->told_bytes && t->told_bytes + n > API_HISTORIES_MAX_BYTES)
        return false;
    t->told_bytes += n;
    return true;
}

static void on_history(struct history_op *op)
{
    struct task_history_op *h = container_of(op, struct task_history_op, op);
    struct task *t = h->task;
    if (op->error == 0 && !has_room(t, op))
        op->error = ERROR_BAD_REQUEST;
    if (op->error == 0)
        encode_history(&t->result, op->position, op->msgs, op->count);
    t->error = op->error;
    history_op_fini(op);
    free(h);
    task_finish(t);
}

static int read_history(struct json_value params, struct buf *strings,
                        struct history_op *op)
{
    struct json_value v;
    if (json_member(params, STR_LIT("limit"), &v) && v.type != JSON_NULL &&
        (json_i64(v, &op->limit) < 0 || op->limit < INT32_MIN ||
         op->limit > INT32_MAX))
        return ERR_INVALID;
    if (json_member(params, STR_LIT("reverse"), &v) && v.type != JSON_NULL &&
        json_bool(v, &op->reverse) < 0)
        return ERR_INVALID;
    if (task_since(params, "since", strings, &op->has_since, &op->since,
                   &op->foreign) < 0)
        return ERR_INVALID;
    return op->reverse && op->has_since && op->since.offset == 0 ? ERR_INVALID
                                                                 : 0;
}

void task_history(struct task *t, struct json_value params)
{
    struct buf strings = BUF_INIT;
    struct rules_channel ch;
    struct history_op op = {0};
    buf_reserve(&strings, params.raw.n * 2 + 16);
    uint32_t error = read_channel(t, params, &strings, &ch);
    if (!error && read_history(params, &strings, &op) < 0)
        error = ERROR_BAD_REQUEST;
    if (error) {
        task_fail(t, error);
        buf_free(&strings);
        return;
    }
    struct str name = ch.name.full;
    struct task_history_op *h = mem_zalloc(sizeof(*h) + name.n);
    h->task = t;
    h->op = op;
    h->op.history = &ch.options->history;
    h->op.done = on_history;
    h->op.channel_len = (uint32_t)name.n;
    memcpy(h->op.channel, name.p, name.n);
    buf_free(&strings);
    home_history(t->loop->shard, &h->op);
}

/* --- history_remove ------------------------------------------------------------ */

struct task_remove_op {
    struct task *task;   /* borrowed */
    struct remove_op op; /* last: has the name behind it */
};

static void on_removed(struct remove_op *op)
{
    struct task_remove_op *r = container_of(op, struct task_remove_op, op);
    struct task *t = r->task;
    t->error = op->error;
    free(r);
    task_finish(t);
}

void task_history_remove(struct task *t, struct json_value params)
{
    struct buf strings = BUF_INIT;
    struct rules_channel ch;
    buf_reserve(&strings, params.raw.n * 2 + 16);
    uint32_t error = read_channel(t, params, &strings, &ch);
    if (error) {
        task_fail(t, error);
        buf_free(&strings);
        return;
    }
    struct str name = ch.name.full;
    struct task_remove_op *r = mem_zalloc(sizeof(*r) + name.n);
    r->task = t;
    r->op.done = on_removed;
    r->op.channel_len = (uint32_t)name.n;
    memcpy(r->op.channel, name.p, name.n);
    buf_free(&strings);
    home_remove(t->loop->shard, &r->op);
}
