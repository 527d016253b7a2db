/* task.h — one API command on its way to its answer.
 * Why:    publish, broadcast, batch and the surveys end in the same place,
 *         at once or later. Part of api.h; nobody else includes this.
 * Thread: the loop's. */
#ifndef WEIR_GATEWAY_API_TASK_H
#define WEIR_GATEWAY_API_TASK_H

#include "gateway/loop.h"
#include "gateway/protocol/json.h"
#include "hub/hub.h"

struct http_exchange;

struct task {
    struct loop *loop;              /* borrowed */
    struct task *parent;            /* borrowed; NULL for the request itself */
    struct http_exchange *exchange; /* owned by the request's own task */
    struct publish_op publish;
    uint32_t error;    /* not 0: the answer is this error */
    size_t told_bytes; /* of publications, in histories: the request's own */
    struct buf result; /* owned: the result object; empty means {} */
    struct str method; /* borrowed: of the method table; batch replies */
    bool transport_errors;
    /* A task with children: */
    struct task **children; /* owned */
    uint32_t child_count;
    uint32_t missing; /* children not finished, plus one while adding */
};

struct method {
    struct str name;
    void (*run)(struct task *t, struct json_value params);
};

/* NULL if there is no such method. */
const struct method *task_method(struct str name);
struct task *task_new(struct loop *l, struct task *parent, struct str method);
/* The answer is ready: tells the parent or the HTTP exchange; takes t. */
void task_finish(struct task *t);
void task_fail(struct task *t, uint32_t error);

/* methods of api_history.c */
void task_history(struct task *t, struct json_value params);
void task_history_remove(struct task *t, struct json_value params);
/* {"offset":5,"epoch":"…"}: 0 and *has_since when there is one, or
 * ERR_INVALID. */
int task_since(struct json_value params, const char *name, struct buf *strings,
               bool *has_since, struct position *since, bool *foreign) MUST_USE;

/* methods of api_admin.c */
void task_disconnect(struct task *t, struct json_value params);
void task_unsubscribe(struct task *t, struct json_value params);
void task_subscribe(struct task *t, struct json_value params);
void task_channels(struct task *t, struct json_value params);
void task_info(struct task *t, struct json_value params);

/* A member's text, decoded into `strings` (room for it was reserved). 0 when
 * absent or null too (then *out is empty), ERR_INVALID for another type. */
int task_string(struct json_value params, const char *name, struct buf *strings,
                struct str *out) MUST_USE;

#endif
