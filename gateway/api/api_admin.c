/* api_admin.c — API methods that ask every shard: disconnect, unsubscribe,
 * subscribe, channels, info. They speak for this node only. Part of api.h. */
#include <fnmatch.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "gateway/api/task.h"
#include "gateway/protocol/codes.h"
#include "gateway/recover.h"
#include "gateway/rules.h"
#include "gateway/session.h"

/* What a per-user method asks of every shard; read-only while it travels. */
struct user_question {
    struct task *task; /* borrowed: the asking loop's */
    char *user;        /* owned strings */
    char *channel;
    char *client;  /* UUID text, "" = every connection of the user */
    char *session; /* the same of a unidirectional session */
    char *except;  /* whitelist: UUIDs, each followed by '\n' */
    uint32_t code;
    char *reason;
    struct recover_request since; /* of a subscribe; its epoch is owned */
    void (*apply)(struct session *s, const struct user_question *q);
};

static char *own(struct str s)
{
    return mem_strndup(s.p, s.n);
}

static void free_question(struct user_question *q)
{
    free(q->user);
    free(q->channel);
    free(q->client);
    free(q->session);
    free(q->except);
    free(q->reason);
    free((char *)q->since.epoch.p);
    free(q);
}

static void uuid_text(const uint8_t bytes[16], char to[RAND_UUID_LEN + 1])
{
    rand_uuid_format(bytes, to);
    to[RAND_UUID_LEN] = '\0';
}

/* Is the id a line of the list? */
static bool is_listed(const char *list, const char *id)
{
    for (const char *at = list; (at = strstr(at, id)); at++) {
        if (at[RAND_UUID_LEN] == '\n' && (at == list || at[-1] == '\n'))
            return true;
    }
    return false;
}

static bool is_meant(const struct session *s, const struct user_question *q)
{
    char client[RAND_UUID_LEN + 1];
    char session[RAND_UUID_LEN + 1];
    /* Only unidirectional clients were told a session id. */
    bool has_session = !s->ops->bidirectional && !s->plain;
    uuid_text(s->client.id, client);
    uuid_text(s->session_id, session);
    if (q->client[0] && strcmp(q->client, client) != 0)
        return false;
    if (q->session[0] && (!has_session || strcmp(q->session, session) != 0))
        return false;
    return !is_listed(q->except, client);
}

static void *visit_user(struct shard *s, void *question)
{
    const struct user_question *q = question;
    struct user *u = shard_find_user(s, str_of(q->user));
    struct client *next;
    for (struct client *c = u ? LIST_FIRST(&u->clients) : NULL; c; c = next) {
        next = LIST_NEXT(c, user_link);
        if (!c->closing && !c->closed && is_meant(session_of(c), q))
            q->apply(session_of(c), q);
    }
    return NULL;
}

static void user_done(struct shard *from, void *question, void **parts,
                      unsigned count)
{
    struct user_question *q = question;
    (void)from;
    (void)parts;
    (void)count;
    task_finish(q->task);
    free_question(q);
}

static bool take_text(struct json_value params, const char *name,
                      struct buf *strings, char **to)
{
    struct str text;
    buf_clear(strings);
    if (task_string(params, name, strings, &text) < 0 ||
        (text.n && memchr(text.p, '\0', text.n)))
        return false;
    *to = own(text);
    return true;
}

/* NULL when a field has the wrong type, or `user` is missing: "" is the
 * anonymous user, and that must be said. */
static struct user_question *read_question(struct task *t,
                                           struct json_value params)
{
    struct buf strings = BUF_INIT;
    struct json_value v;
    struct user_question *q = mem_zalloc(sizeof(*q));
    q->task = t;
    q->except = own(STR_LIT(""));
    q->reason = own(STR_LIT(""));
    bool fine = json_member(params, STR_LIT("user"), &v) &&
                v.type == JSON_STRING &&
                take_text(params, "user", &strings, &q->user) &&
                take_text(params, "channel", &strings, &q->channel) &&
                take_text(params, "client", &strings, &q->client) &&
                take_text(params, "session", &strings, &q->session);
    buf_free(&strings);
    if (fine)
        return q;
    free_question(q);
    return NULL;
}

static void ask_user(struct task *t, struct user_question *q)
{
    struct survey survey = {visit_user, user_done, q};
    hub_survey(t->loop->shard, &survey);
}

static void apply_disconnect(struct session *s, const struct user_question *q)
{
    session_close_reason(s, q->code, str_of(q->reason));
}

/* {"code":4001,"reason":"…"}; false when it cannot be sent as a close. */
static bool read_disconnect(struct json_value v, struct user_question *q)
{
    struct json_value code;
    struct buf strings = BUF_INIT;
    struct str reason;
    bool fine = v.type == JSON_OBJECT;
    if (fine && json_member(v, STR_LIT("code"), &code))
        fine =
            json_u32(code, &q->code) == 0 && q->code >= 3000 && q->code < 5000;
    if (fine && task_string(v, "reason", &strings, &reason) == 0) {
        free(q->reason);
        q->reason = own(reason);
    } else {
        fine = false;
    }
    buf_free(&strings);
    return fine;
}

static bool read_whitelist(struct json_value v, struct user_question *q)
{
    struct json_value item;
    struct str id;
    struct buf list = BUF_INIT;
    struct buf strings = BUF_INIT;
    bool fine = v.type == JSON_ARRAY;
    struct json_iter it = json_iter(v);
    while (fine && json_next_item(&it, &item)) {
        buf_clear(&strings);
        fine = json_text(item, &strings, &id) == 0;
        if (fine) {
            buf_str(&list, id);
            buf_char(&list, '\n');
        }
    }
    free(q->except);
    q->except = own(buf_view(&list));
    buf_free(&list);
    buf_free(&strings);
    return fine;
}

void task_disconnect(struct task *t, struct json_value params)
{
    struct json_value v;
    struct user_question *q = read_question(t, params);
    bool fine = q != NULL;
    if (fine) {
        q->code = DISCONNECT_FORCE;
        q->apply = apply_disconnect;
    }
    if (fine && json_member(params, STR_LIT("disconnect"), &v) &&
        v.type != JSON_NULL)
        fine = read_disconnect(v, q);
    if (fine && json_member(params, STR_LIT("whitelist"), &v) &&
        v.type != JSON_NULL)
        fine = read_whitelist(v, q);
    if (fine) {
        ask_user(t, q);
        return;
    }
    if (q)
        free_question(q);
    task_fail(t, ERROR_BAD_REQUEST);
}

static void apply_unsubscribe(struct session *s, const struct user_question *q)
{
    struct sub *sub = client_find_sub(&s->client, str_of(q->channel));
    if (sub)
        session_server_unsubscribe(s, sub);
}

static void apply_subscribe(struct session *s, const struct user_question *q)
{
    /* The name was checked before it travelled. */
    (void)session_server_subscribe(s, str_of(q->channel), &q->since);
}

static void run_channel_question(struct task *t, struct json_value params,
                                 void (*apply)(struct session *,
                                               const struct user_question *),
                                 const struct recover_request *since)
{
    struct rules_channel ch;
    struct user_question *q = read_question(t, params);
    uint32_t error = q && q->channel[0] ? 0 : ERROR_BAD_REQUEST;
    if (q && since)
        q->since = *since;
    else if (since)
        free((char *)since->epoch.p);
    if (!error)
        error = rules_channel(t->loop->app->config, str_of(q->channel),
                              RULES_CONCRETE_OR_PATTERN, &ch);
    if (!error) {
        q->apply = apply;
        ask_user(t, q);
        return;
    }
    if (q)
        free_question(q);
    task_fail(t, error);
}

void task_unsubscribe(struct task *t, struct json_value params)
{
    run_channel_question(t, params, apply_unsubscribe, NULL);
}

/* "recover_since":{"offset":5,"epoch":"…"} */
static int read_recover_since(struct json_value params,
                              struct recover_request *r)
{
    struct json_value v;
    struct buf text = BUF_INIT;
    struct position at = {0, 0};
    struct str epoch = STR_LIT("");
    bool foreign;
    buf_reserve(&text, params.raw.n * 2 + 16);
    int rc =
        task_since(params, "recover_since", &text, &r->recover, &at, &foreign);
    if (rc == 0 && r->recover &&
        json_member(params, STR_LIT("recover_since"), &v))
        rc = task_string(v, "epoch", &text, &epoch);
    if (rc == 0) {
        r->offset = at.offset;
        r->epoch = str_n(own(epoch), epoch.n);
    }
    buf_free(&text);
    return rc;
}

void task_subscribe(struct task *t, struct json_value params)
{
    struct recover_request r = {0};
    if (read_recover_since(params, &r) < 0)
        task_fail(t, ERROR_BAD_REQUEST);
    else
        run_channel_question(t, params, apply_subscribe, &r);
}

/* --- channels ----------------------------------------------------------- */

struct channels_question {
    struct task *task; /* borrowed */
    char *pattern;     /* owned: a glob, "" = all */
};

/* One channel on one shard, then summed over shards. */
struct channel_count {
    UT_hash_handle hh;
    uint32_t clients;
    uint32_t len;
    char name[];
};

static void note_topic(struct channel_count **head, const struct topic *t,
                       const char *pattern)
{
    struct channel_count *e = NULL;
    uint32_t clients = topic_subscribers(t);
    if (clients == 0)
        return;
    HASH_FIND(hh, *head, t->name, t->len, e);
    if (!e) {
        e = mem_zalloc(sizeof(*e) + t->len + 1);
        memcpy(e->name, t->name, t->len);
        e->len = t->len;
        if (pattern[0] && fnmatch(pattern, e->name, 0) != 0) {
            free(e);
            return;
        }
        HASH_ADD_KEYPTR(hh, *head, e->name, e->len, e);
    }
    e->clients += clients;
}

struct pattern_walk {
    struct channel_count **head;
    const char *pattern;
};

static void note_pattern_topic(void *arg, void *topic)
{
    struct pattern_walk *w = arg;
    note_topic(w->head, topic, w->pattern);
}

static void *visit_channels(struct shard *s, void *question)
{
    const struct channels_question *q = question;
    struct channel_count *head = NULL;
    struct pattern_walk w = {&head, q->pattern};
    for (struct topic *t = s->topics.exact; t; t = t->hh.next)
        note_topic(&head, t, q->pattern);
    trie_each(&s->topics.patterns, note_pattern_topic, &w);
    return head;
}

static void merge_counts(struct channel_count **all, struct channel_count *part)
{
    struct channel_count *e;
    struct channel_count *tmp;
    struct channel_count *found;
    HASH_ITER(hh, part, e, tmp) {
        HASH_DEL(part, e);
        HASH_FIND(hh, *all, e->name, e->len, found);
        if (found) {
            found->clients += e->clients;
            free(e);
        } else {
            HASH_ADD_KEYPTR(hh, *all, e->name, e->len, e);
        }
    }
}

static void channels_done(struct shard *from, void *question, void **parts,
                          unsigned count)
{
    struct channels_question *q = question;
    struct channel_count *all = NULL;
    struct channel_count *e;
    struct channel_count *tmp;
    struct buf *out = &q->task->result;
    (void)from;
    for (unsigned i = 0; i < count; i++)
        merge_counts(&all, parts[i]);
    buf_lit(out, "{\"channels\":{");
    HASH_ITER(hh, all, e, tmp) {
        if (out->p[out->n - 1] == '}')
            buf_char(out, ',');
        json_quote(out, str_n(e->name, e->len));
        buf_printf(out, ":{\"num_clients\":%u}", e->clients);
        HASH_DEL(all, e);
        free(e);
    }
    buf_lit(out, "}}");
    task_finish(q->task);
    free(q->pattern);
    free(q);
}

void task_channels(struct task *t, struct json_value params)
{
    struct buf strings = BUF_INIT;
    struct str pattern;
    if (task_string(params, "pattern", &strings, &pattern) < 0) {
        buf_free(&strings);
        task_fail(t, ERROR_BAD_REQUEST);
        return;
    }
    struct channels_question *q = mem_zalloc(sizeof(*q));
    q->task = t;
    q->pattern = own(pattern);
    buf_free(&strings);
    struct survey survey = {visit_channels, channels_done, q};
    hub_survey(t->loop->shard, &survey);
}

/* --- info ---------------------------------------------------------------- */

/* A user may be on several shards and a channel has one home: names of users
 * are merged, channels are counted by their homes. */
struct info_part {
    uint32_t clients;
    uint32_t subs;
    size_t channels;
    struct channel_count *users; /* owned: a hash by name */
};

static void *visit_info(struct shard *s, void *question)
{
    struct info_part *p = mem_zalloc(sizeof(*p));
    (void)question;
    p->clients = s->connected_count;
    p->subs = s->sub_count;
    p->channels = home_channel_count(&s->home);
    for (struct user *u = s->users; u; u = u->hh.next) {
        struct channel_count *e = mem_zalloc(sizeof(*e) + u->len + 1);
        memcpy(e->name, u->name, u->len);
        e->len = u->len;
        HASH_ADD_KEYPTR(hh, p->users, e->name, e->len, e);
    }
    return p;
}

static void add_part(struct info_part *sum, struct info_part *p)
{
    sum->clients += p->clients;
    sum->subs += p->subs;
    sum->channels += p->channels;
    merge_counts(&sum->users, p->users);
    free(p);
}

static unsigned count_and_free(struct channel_count *head)
{
    struct channel_count *e;
    struct channel_count *tmp;
    unsigned n = HASH_COUNT(head);
    HASH_ITER(hh, head, e, tmp) {
        HASH_DEL(head, e);
        free(e);
    }
    return n;
}

static void info_done(struct shard *from, void *question, void **parts,
                      unsigned count)
{
    struct task *t = question;
    const struct app *app = t->loop->app;
    struct info_part sum = {0};
    for (unsigned i = 0; i < count; i++)
        add_part(&sum, parts[i]);
    buf_printf(&t->result,
               "{\"nodes\":[{\"uid\":\"%s\",\"name\":", app->node_id);
    json_quote(&t->result, str_of(app->node_name));
    buf_printf(
        &t->result,
        ",\"version\":\"" WEIR_VERSION "\",\"num_clients\":%u,\"num_users\":%u,"
        "\"num_subs\":%u,\"num_channels\":%zu,\"uptime\":%llu}]}",
        sum.clients, count_and_free(sum.users), sum.subs, sum.channels,
        (unsigned long long)((from->now_ns - app->started_ns) / 1000000000u));
    task_finish(t);
}

void task_info(struct task *t, struct json_value params)
{
    (void)params;
    struct survey survey = {visit_info, info_done, t};
    hub_survey(t->loop->shard, &survey);
}
