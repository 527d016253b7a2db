#include "gateway/api/api.h"

#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "gateway/api/task.h"
#include "gateway/auth/base64.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/encode.h"
#include "gateway/publish.h"

/* --- tasks ------------------------------------------------------------- */

struct task *task_new(struct loop *l, struct task *parent, struct str method)
{
    struct task *t = mem_zalloc(sizeof(*t));
    t->loop = l;
    t->parent = parent;
    t->method = method;
    return t;
}

static void task_free(struct task *t)
{
    for (uint32_t i = 0; i < t->child_count; i++)
        task_free(t->children[i]);
    free(t->children);
    buf_free(&t->result);
    free(t);
}

static void put_result(struct buf *to, const struct task *t)
{
    if (t->result.n)
        buf_str(to, buf_view(&t->result));
    else
        buf_lit(to, "{}");
}

static void put_outcome(struct buf *to, const struct task *t, struct str name)
{
    buf_lit(to, "{\"");
    buf_str(to, t->error ? STR_LIT("error") : name);
    buf_lit(to, "\":");
    if (t->error)
        encode_error(to, t->error);
    else
        put_result(to, t);
    buf_char(to, '}');
}

static void answer(struct task *t)
{
    struct buf body = BUF_INIT;
    struct http_response r = {.status = 200,
                              .content_type = STR_LIT("application/json")};
    if (t->error && t->transport_errors) {
        r.status = error_info(t->error)->http_status;
        encode_error(&body, t->error);
    } else if (!t->error && str_eq(t->method, STR_LIT("batch"))) {
        put_result(&body, t); /* no wrapper at the top of a batch */
    } else {
        put_outcome(&body, t, STR_LIT("result"));
    }
    r.body = buf_view(&body);
    http_respond(t->exchange, &r);
    buf_free(&body);
    task_free(t);
}

/* broadcast: {"responses":[…]}; batch: {"replies":[…]} */
static void gather_children(struct task *t)
{
    bool batch = str_eq(t->method, STR_LIT("batch"));
    buf_str(&t->result,
            batch ? STR_LIT("{\"replies\":[") : STR_LIT("{\"responses\":["));
    for (uint32_t i = 0; i < t->child_count; i++) {
        const struct task *child = t->children[i];
        if (i)
            buf_char(&t->result, ',');
        put_outcome(&t->result, child,
                    batch ? child->method : STR_LIT("result"));
    }
    buf_lit(&t->result, "]}");
}

static void one_less(struct task *t)
{
    if (--t->missing)
        return;
    gather_children(t);
    task_finish(t);
}

void task_finish(struct task *t)
{
    if (t->parent)
        one_less(t->parent);
    else
        answer(t);
}

void task_fail(struct task *t, uint32_t error)
{
    t->error = error;
    task_finish(t);
}

static struct task *add_child(struct task *t, struct str method)
{
    if ((t->child_count & (t->child_count - 1)) == 0) {
        size_t cap = t->child_count ? t->child_count * 2 : 1;
        t->children = mem_realloc(t->children, cap * sizeof(*t->children));
    }
    struct task *child = task_new(t->loop, t, method);
    t->children[t->child_count++] = child;
    t->missing++;
    return child;
}

int task_string(struct json_value params, const char *name, struct buf *strings,
                struct str *out)
{
    struct json_value v;
    *out = STR_LIT("");
    if (!json_member(params, str_of(name), &v) || v.type == JSON_NULL)
        return 0;
    return json_text(v, strings, out);
}

/* --- publish ----------------------------------------------------------- */

static void on_published(struct publish_op *op)
{
    struct task *t = container_of(op, struct task, publish);
    struct stats *st = &t->loop->shard->stats;
    if (op->msg)
        msg_unref(op->msg);
    op->msg = NULL;
    free(op->wish);
    op->wish = NULL;
    t->error = (uint32_t)op->result;
    if (t->error)
        st->pubs_refused++;
    else
        st->pubs_in_api++;
    if (!t->error && op->position.epoch) {
        buf_lit(&t->result, "{\"offset\":");
        buf_u64(&t->result, op->position.offset);
        buf_char(&t->result, ',');
        encode_epoch(&t->result, op->position.epoch);
        buf_char(&t->result, '}');
    }
    task_finish(t);
}

/* What every publication of a broadcast shares. */
struct publication {
    struct str data;
    bool is_json;
    struct str tags;
    bool urgent;
    bool skip_history;
    struct str key;
    uint64_t version;
    struct str version_epoch;
};

/* What a publisher wants of the stream. */
static int read_wish(struct json_value params, struct buf *strings,
                     struct publication *p)
{
    struct json_value v;
    if (json_member(params, STR_LIT("skip_history"), &v) &&
        v.type != JSON_NULL && json_bool(v, &p->skip_history) < 0)
        return ERR_INVALID;
    if (json_member(params, STR_LIT("version"), &v) && v.type != JSON_NULL &&
        json_u64(v, &p->version) < 0)
        return ERR_INVALID;
    if (task_string(params, "idempotency_key", strings, &p->key) < 0 ||
        task_string(params, "version_epoch", strings, &p->version_epoch) < 0)
        return ERR_INVALID;
    return p->key.n <= KEYS_KEY_MAX_BYTES &&
                   p->version_epoch.n <= KEYS_KEY_MAX_BYTES
               ? 0
               : ERR_INVALID;
}

static struct publish_wish *make_wish(const struct publication *p)
{
    if (!p->key.n && !p->version)
        return NULL;
    struct publish_wish *w =
        mem_zalloc(sizeof(*w) + p->key.n + p->version_epoch.n);
    w->version = p->version;
    w->key_len = (uint16_t)p->key.n;
    w->version_epoch_len = (uint16_t)p->version_epoch.n;
    if (p->key.n)
        memcpy(w->bytes, p->key.p, p->key.n);
    if (p->version_epoch.n)
        memcpy(w->bytes + p->key.n, p->version_epoch.p, p->version_epoch.n);
    return w;
}

static uint32_t read_publication(struct json_value params, struct buf *strings,
                                 struct publication *p)
{
    struct json_value v;
    struct str b64;
    *p = (struct publication){.is_json = true};
    if (json_member(params, STR_LIT("data"), &v))
        p->data = v.raw;
    if (json_member(params, STR_LIT("tags"), &v) && v.type != JSON_NULL)
        p->tags = v.raw;
    if (json_member(params, STR_LIT("urgent"), &v) && v.type != JSON_NULL &&
        json_bool(v, &p->urgent) < 0)
        return ERROR_BAD_REQUEST;
    if (task_string(params, "b64data", strings, &b64) < 0 ||
        read_wish(params, strings, p) < 0)
        return ERROR_BAD_REQUEST;
    if (b64.n) {
        size_t at = strings->n;
        if (base64_decode(strings, b64) < 0)
            return ERROR_BAD_REQUEST;
        p->data = str_n(strings->p + at, strings->n - at);
        p->is_json = false; /* nobody has looked yet */
    }
    /* Once for all channels of a broadcast. */
    if (p->tags.n && !publish_tags_valid(p->tags))
        return ERROR_BAD_REQUEST;
    return p->data.n ? 0 : ERROR_BAD_REQUEST;
}

static void publish_to(struct task *t, struct str channel,
                       const struct publication *p)
{
    const struct config *cfg = t->loop->app->config;
    struct shard *s = t->loop->shard;
    struct rules_channel ch;
    uint32_t error = rules_channel(cfg, channel, RULES_CONCRETE, &ch);
    struct publish_request r = {
        .channel = &ch,
        .data = p->data,
        .data_is_json = p->is_json,
        .tags = p->tags,
        .tags_are_valid = true,
        .urgent = p->urgent,
        .skip_history = p->skip_history,
        .born_ns = s->now_ns,
    };
    if (!error)
        error = publish_make(cfg, &s->hub->budget, &r, &t->publish.msg);
    if (error) {
        s->stats.pubs_refused++;
        task_fail(t, error == ERROR_TOO_MANY_REQUESTS ? ERROR_INTERNAL : error);
        return;
    }
    t->publish.wish = make_wish(p);
    t->publish.done = on_published;
    hub_publish(s, &t->publish);
}

/* Room for everything that may be decoded, so that slices stay put. */
static void reserve_strings(struct buf *strings, struct json_value params)
{
    buf_reserve(strings, params.raw.n * 2 + 16);
}

static void run_publish(struct task *t, struct json_value params)
{
    struct buf strings = BUF_INIT;
    struct publication p;
    struct str channel;
    reserve_strings(&strings, params);
    uint32_t error = read_publication(params, &strings, &p);
    if (!error &&
        (task_string(params, "channel", &strings, &channel) < 0 || !channel.n))
        error = ERROR_BAD_REQUEST;
    if (error)
        task_fail(t, error);
    else
        publish_to(t, channel, &p);
    buf_free(&strings);
}

/* An array of at most API_MAX_CHILDREN items: all of it or nothing. */
static bool is_list(struct json_value v)
{
    struct json_value item;
    uint32_t n = 0;
    if (v.type != JSON_ARRAY)
        return false;
    struct json_iter it = json_iter(v);
    while (n <= API_MAX_CHILDREN && json_next_item(&it, &item))
        n++;
    return n <= API_MAX_CHILDREN;
}

static void run_broadcast(struct task *t, struct json_value params)
{
    struct buf strings = BUF_INIT;
    struct publication p;
    struct json_value channels;
    struct json_value item;
    uint32_t error = 0;
    reserve_strings(&strings, params);
    if (!json_member(params, STR_LIT("channels"), &channels) ||
        !is_list(channels))
        error = ERROR_BAD_REQUEST;
    if (!error)
        error = read_publication(params, &strings, &p);
    if (error) {
        task_fail(t, error);
        buf_free(&strings);
        return;
    }
    t->missing = 1; /* ourselves, until all are on their way */
    struct json_iter it = json_iter(channels);
    while (json_next_item(&it, &item)) {
        struct str channel;
        struct task *child = add_child(t, t->method);
        if (json_text(item, &strings, &channel) < 0 || channel.n == 0)
            task_fail(child, ERROR_BAD_REQUEST);
        else
            publish_to(child, channel, &p);
    }
    buf_free(&strings);
    one_less(t);
}

/* --- batch and the table ------------------------------------------------ */

static void run_command(struct task *t, struct json_value command)
{
    struct str key;
    struct json_value params = {JSON_NULL, {NULL, 0}};
    const struct method *m = NULL;
    if (command.type == JSON_OBJECT) {
        struct json_iter it = json_iter(command);
        while (!m && json_next_member(&it, &key, &params)) {
            /* Method names need no escapes; a key with one is unknown. */
            m = task_method(str_n(key.p + 1, key.n - 2));
        }
    }
    struct task *child = add_child(t, m ? m->name : STR_LIT("error"));
    if (!m || params.type != JSON_OBJECT || str_eq(m->name, STR_LIT("batch")))
        task_fail(child, ERROR_BAD_REQUEST);
    else
        m->run(child, params);
}

static void run_batch(struct task *t, struct json_value params)
{
    struct json_value commands;
    struct json_value item;
    if (!json_member(params, STR_LIT("commands"), &commands) ||
        !is_list(commands)) {
        task_fail(t, ERROR_BAD_REQUEST);
        return;
    }
    t->missing = 1;
    struct json_iter it = json_iter(commands);
    while (json_next_item(&it, &item))
        run_command(t, item);
    one_less(t);
}

static void run_not_available(struct task *t, struct json_value params)
{
    (void)params;
    task_fail(t, ERROR_NOT_AVAILABLE);
}

static void run_rpc(struct task *t, struct json_value params)
{
    (void)params;
    task_fail(t, ERROR_METHOD_NOT_FOUND);
}

#define METHOD(name, run)             \
    {                                 \
        {name, sizeof(name) - 1}, run \
    }
static const struct method methods[] = {
    METHOD("publish", run_publish),
    METHOD("broadcast", run_broadcast),
    METHOD("batch", run_batch),
    METHOD("subscribe", task_subscribe),
    METHOD("unsubscribe", task_unsubscribe),
    METHOD("disconnect", task_disconnect),
    METHOD("channels", task_channels),
    METHOD("info", task_info),
    METHOD("rpc", run_rpc),
    METHOD("refresh", run_not_available),
    METHOD("presence", run_not_available),
    METHOD("presence_stats", run_not_available),
    METHOD("history", task_history),
    METHOD("history_remove", task_history_remove),
};

const struct method *task_method(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (str_eq(methods[i].name, name))
            return &methods[i];
    }
    return NULL;
}

/* --- the request -------------------------------------------------------- */

/* Compare without telling by time how much was right. */
static bool key_equals(struct str given, struct str key)
{
    unsigned char diff = given.n != key.n;
    for (size_t i = 0; i < given.n; i++)
        diff |= (unsigned char)(given.p[i] ^ key.p[key.n ? i % key.n : 0]);
    return diff == 0;
}

bool api_admit(const struct app *app, const struct http_request *r)
{
    const struct config *cfg = app->config;
    struct str key = str_of(cfg->http_api.key);
    struct str given = r->api_key;
    struct str query = r->query;
    struct str name;
    struct str value;
    struct buf text = BUF_INIT;
    bool bad = false;
    if (cfg->http_api.insecure)
        return true;
    if (key.n == 0)
        return false;
    if (!given.n && r->authorization.n > 7 &&
        strncasecmp(r->authorization.p, "apikey ", 7) == 0)
        given = str_skip(r->authorization, 7);
    if (given.n)
        return key_equals(given, key);
    bool fine = false;
    buf_reserve(&text, query.n + 1);
    while (http_query_next(&query, &text, &name, &value, &bad)) {
        if (str_eq(name, STR_LIT("api_key")))
            fine = !bad && key_equals(value, key);
    }
    buf_free(&text);
    return fine;
}

static void respond_plain(struct http_exchange *x, int status, struct str body,
                          struct str headers)
{
    http_respond(
        x, &(struct http_response){
               .status = status,
               .content_type = body.n ? STR_LIT("text/plain") : STR_LIT(""),
               .body = body,
               .headers = headers,
           });
}

static bool wants_transport_errors(const struct config *cfg,
                                   const struct http_request *r)
{
    return cfg->http_api.error_mode_transport ||
           str_eq(r->error_mode, STR_LIT("transport"));
}

/* Without a key any web page could make its visitor's browser publish. */
static bool is_foreign_page(struct loop *l, const struct http_request *r)
{
    struct buf cors = BUF_INIT;
    bool foreign = l->app->config->http_api.insecure && !http_cors(l, r, &cors);
    buf_free(&cors);
    return foreign;
}

void api_handle(struct http_exchange *x, const struct http_request *r)
{
    struct loop *l = http_loop(x);
    const struct config *cfg = l->app->config;
    struct json_value params;
    if (r->method != HTTP_IS_POST) {
        respond_plain(x, 405, STR_LIT(""), STR_LIT("Allow: POST\r\n"));
        return;
    }
    if (is_foreign_page(l, r)) {
        respond_plain(x, 403,
                      STR_LIT("this Origin is not in client.allowed_origins\n"),
                      STR_LIT(""));
        return;
    }
    struct str name =
        str_skip(r->path, strlen(cfg->http_api.handler_prefix) + 1);
    const struct method *m = task_method(name);
    if (!m) {
        http_respond_error(x, 404, ERROR_METHOD_NOT_FOUND,
                           STR_LIT("no such API method"));
        return;
    }
    if (json_parse(r->body, &params) < 0 || params.type != JSON_OBJECT) {
        respond_plain(x, 400, STR_LIT("the body must be a JSON object\n"),
                      STR_LIT(""));
        return;
    }
    struct task *t = task_new(l, NULL, m->name);
    t->exchange = x;
    t->transport_errors = wants_transport_errors(cfg, r);
    m->run(t, params);
}
