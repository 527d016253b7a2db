#include "gateway/broker/stream.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/position.h"

#define DUPLICATES_MAX_MS (5 * 60 * 1000)

/* --- what it should be ---------------------------------------------------- */

static int64_t ms_to_ns(int64_t ms)
{
    return ms * 1000000;
}

/* <PREFIX>_H_<ns>: a stream's name has no dots. */
static char *make_name(const struct config *cfg, struct str ns)
{
    struct buf b = BUF_INIT;
    size_t n;
    for (const char *p = cfg->nats.prefix; *p; p++)
        buf_char(&b, *p == '.' ? '_' : (char)toupper((unsigned char)*p));
    buf_lit(&b, "_H_");
    buf_str(&b, ns.n ? ns : STR_LIT("_"));
    buf_char(&b, '\0');
    return buf_take(&b, &n);
}

static char *make_filter(struct str prefix)
{
    char *filter = mem_alloc(prefix.n + 2);
    memcpy(filter, prefix.p, prefix.n);
    memcpy(filter + prefix.n, ">", 2);
    return filter;
}

void stream_init(struct stream *s, const struct config *cfg,
                 const struct subject_space *space)
{
    const char *given = space->ns->stream;
    s->cfg = cfg;
    s->space = space;
    s->is_ours = !given || !*given;
    s->name = s->is_ours ? make_name(cfg, space->name)
                         : mem_strndup(given, strlen(given));
    s->filter = make_filter(space->prefix);
    s->live = make_filter(space->live);
}

void stream_fini(struct stream *s)
{
    free(s->name);
    s->name = NULL;
    free(s->filter);
    s->filter = NULL;
    free(s->live);
    s->live = NULL;
}

uint64_t stream_epoch(const char *name, int64_t created)
{
    struct buf both = BUF_INIT;
    buf_str(&both, str_of(name));
    for (unsigned i = 0; i < 8; i++)
        buf_char(&both, (char)((uint64_t)created >> 8 * i));
    uint64_t hash = XXH3_64bits(both.p, both.n);
    buf_free(&both);
    return position_epoch_of(hash);
}

/* What we ask of a stream of ours; the rest stays as it is. */
static void set_limits(const struct stream *s, jsStreamConfig *c)
{
    const struct history_policy *h = &s->space->ns->history;
    int64_t ttl_ms = (int64_t)h->ttl_ms;
    int64_t window_ms = DUPLICATES_MAX_MS;
    if (ttl_ms && ttl_ms < window_ms)
        window_ms = ttl_ms;
    c->MaxMsgsPerSubject = h->size;
    c->MaxAge = ms_to_ns(ttl_ms);
    c->Duplicates = ms_to_ns(window_ms);
    c->Discard = js_DiscardOld;
    c->AllowDirect = true;
    c->NoAck = false;
    c->Replicas =
        s->cfg->nats.stream_replicas ? s->cfg->nats.stream_replicas : 1;
}

static bool has_limits(const struct stream *s, const jsStreamConfig *c)
{
    jsStreamConfig want = *c;
    set_limits(s, &want);
    return c->MaxMsgsPerSubject == want.MaxMsgsPerSubject &&
           c->MaxAge == want.MaxAge && c->Duplicates == want.Duplicates &&
           c->Discard == want.Discard && c->AllowDirect == want.AllowDirect &&
           c->NoAck == want.NoAck && c->Replicas == want.Replicas;
}

static jsStorageType storage(const struct stream *s)
{
    return s->cfg->nats.stream_in_memory ? js_MemoryStorage : js_FileStorage;
}

/* --- what it is ----------------------------------------------------------- */

static bool token_covers(struct str outer, struct str inner)
{
    if (str_eq(outer, STR_LIT("*")))
        return !str_eq(inner, STR_LIT(">"));
    return str_eq(outer, inner);
}

bool stream_covers(struct str outer, struct str inner)
{
    while (outer.n && inner.n) {
        struct str o = str_cut(&outer, '.');
        struct str i = str_cut(&inner, '.');
        if (str_eq(o, STR_LIT(">")))
            return true;
        if (!token_covers(o, i))
            return false;
    }
    return outer.n == 0 && inner.n == 0;
}

static bool has_subjects(const struct stream *s, const jsStreamConfig *c)
{
    if (s->is_ours)
        return c->SubjectsLen == 1 && strcmp(c->Subjects[0], s->filter) == 0;
    for (int i = 0; i < c->SubjectsLen; i++)
        if (stream_covers(str_of(c->Subjects[i]), str_of(s->filter)))
            return true;
    return false;
}

static bool has_republish(const struct stream *s, const jsStreamConfig *c)
{
    const jsRePublish *r = c->RePublish;
    return r && r->Source && r->Destination && !r->HeadersOnly &&
           strcmp(r->Source, s->filter) == 0 &&
           strcmp(r->Destination, s->live) == 0;
}

/* A name in the log and in messages. */
static const char *namespace_of(const struct stream *s)
{
    return s->space->name.n ? s->space->ns->name : "without_namespace";
}

/* NULL: as it must be, as far as it cannot be changed. */
static const char *find_fault(const struct stream *s, const jsStreamConfig *c)
{
    if (!has_subjects(s, c))
        return "subjects";
    /* Else what was acknowledged is gone, whatever is before it. */
    if (c->Retention != js_LimitsPolicy)
        return "retention";
    if (!s->is_ours)
        return c->NoAck ? "no_ack" : NULL;
    if (!has_republish(s, c))
        return "republish";
    if (c->Sealed)
        return "sealed";
    return NULL;
}

static const char *subject_list(const jsStreamConfig *c)
{
    return c->SubjectsLen == 1 ? c->Subjects[0]
           : c->SubjectsLen    ? "several"
                               : "none";
}

/* How a fault of a stream of ours reads: what it is, and what it must be. */
static void compare(const struct stream *s, const char *fault,
                    const jsStreamConfig *c, const char *values[2])
{
    const jsRePublish *r = c->RePublish;
    values[0] = "another";
    values[1] = "limits";
    if (strcmp(fault, "sealed") == 0) {
        values[0] = "on";
        values[1] = "off";
    } else if (strcmp(fault, "subjects") == 0) {
        values[0] = subject_list(c);
        values[1] = s->filter;
    } else if (strcmp(fault, "republish") == 0) {
        values[0] = r && r->Destination ? r->Destination : "nothing";
        values[1] = s->live;
    }
}

static void describe(const struct stream *s, const char *fault,
                     const jsStreamConfig *c, struct stream_look *look)
{
    const char *values[2];
    if (!s->is_ours) {
        snprintf(look->err, sizeof(look->err),
                 "channel namespace %s: stream %s: its %s must %s %s",
                 namespace_of(s), s->name, fault,
                 strcmp(fault, "subjects") == 0    ? "cover"
                 : strcmp(fault, "retention") == 0 ? "be limits for"
                                                   : "be off for",
                 s->filter);
        return;
    }
    compare(s, fault, c, values);
    snprintf(look->err, sizeof(look->err),
             "channel namespace %s: stream %s: %s is %s and must be %s; `nats "
             "stream rm %s` mends it, what it stores is lost",
             namespace_of(s), s->name, fault, values[0], values[1], s->name);
}

/* --- changes -------------------------------------------------------------- */

bool stream_set(struct stream *s, enum stream_state state)
{
    return atomic_exchange(&s->state, (int)state) != (int)state;
}

static void note_failure(struct stream *s, const char *what, natsStatus rc,
                         jsErrCode code)
{
    uint64_t missed;
    if (log_limit_pass(&s->log, clock_now_ns(), &missed))
        log_warn("nats_stream_failed", "stream=%s what=%s error=%s code=%d",
                 s->name, what, log_quote(str_of(natsStatus_GetText(rc))),
                 (int)code);
}

/* Several nodes may do so at once: the server takes it from all of them when
 * they want the same. */
static natsStatus make(struct stream *s, jsCtx *js, jsStreamInfo **out)
{
    jsStreamConfig c;
    jsRePublish r;
    jsErrCode code = 0;
    const char *subjects[] = {s->filter};
    jsStreamConfig_Init(&c);
    jsRePublish_Init(&r);
    r.Source = s->filter;
    r.Destination = s->live;
    c.Name = s->name;
    c.Subjects = subjects;
    c.SubjectsLen = 1;
    c.RePublish = &r;
    c.Storage = storage(s);
    set_limits(s, &c);
    natsStatus rc = js_AddStream(out, js, &c, NULL, &code);
    if (rc == NATS_OK)
        log_info("nats_stream_made", "stream=%s namespace=%s", s->name,
                 namespace_of(s));
    else if (code != JSStreamNameExistErr)
        note_failure(s, "create", rc, code);
    if (code == JSStreamNameExistErr) /* somebody else's, just now */
        return js_GetStreamInfo(out, js, s->name, NULL, &code);
    return rc;
}

static void log_limits(const struct stream *s, const jsStreamConfig *is)
{
    jsStreamConfig want = *is;
    set_limits(s, &want);
    log_warn("nats_stream_limits",
             "stream=%s max_msgs_per_subject=%lld wanted=%lld max_age_ms=%lld "
             "wanted=%lld replicas=%lld wanted=%lld storage=%s wanted=%s",
             s->name, (long long)is->MaxMsgsPerSubject,
             (long long)want.MaxMsgsPerSubject,
             (long long)(is->MaxAge / 1000000),
             (long long)(want.MaxAge / 1000000), (long long)is->Replicas,
             (long long)want.Replicas,
             is->Storage == js_MemoryStorage ? "memory" : "file",
             storage(s) == js_MemoryStorage ? "memory" : "file");
}

/* Somebody else's is not changed: what it keeps less is said once. */
static void compare_limits(struct stream *s, const jsStreamConfig *is)
{
    jsStreamConfig want = *is;
    if (s->is_adjusted)
        return;
    s->is_adjusted = true;
    set_limits(s, &want);
    if ((is->MaxMsgsPerSubject > 0 &&
         is->MaxMsgsPerSubject < want.MaxMsgsPerSubject) ||
        (is->MaxAge > 0 && is->MaxAge < want.MaxAge))
        log_limits(s, is);
}

/* Once for each stream, so that two nodes with different configurations do not
 * quarrel for ever. The storage stays what it is. */
static void adjust(struct stream *s, jsCtx *js, const jsStreamConfig *is)
{
    jsErrCode code = 0;
    if (s->is_adjusted)
        return;
    s->is_adjusted = true;
    if (has_limits(s, is) && is->Storage == storage(s))
        return;
    log_limits(s, is);
    if (has_limits(s, is))
        return;
    jsStreamConfig c = *is;
    set_limits(s, &c);
    natsStatus rc = js_UpdateStream(NULL, js, &c, NULL, &code);
    if (rc == NATS_OK)
        return;
    note_failure(s, "update", rc, code);
    s->is_adjusted = rc != NATS_TIMEOUT; /* then once more */
}

/* --- the check ------------------------------------------------------------ */

static void tell(struct stream *s, const struct stream_look *look)
{
    if (!s->is_told)
        log_error("nats_stream_wrong", "stream=%s reason=%s", s->name,
                  log_quote(str_of(look->err)));
    s->is_told = true;
}

static int judge(struct stream *s, jsCtx *js, const jsStreamInfo *info,
                 struct stream_look *look)
{
    const jsStreamConfig *c = info->Config;
    const char *fault = find_fault(s, c);
    if (fault) {
        describe(s, fault, c, look);
        look->changed |= stream_set(s, STREAM_BROKEN);
        tell(s, look);
        return ERR_INVALID;
    }
    s->is_told = false;
    if (info->Created != s->created) {
        s->created = info->Created;
        s->is_adjusted = false;
        atomic_store(&s->epoch, stream_epoch(s->name, info->Created));
        look->changed = true;
    }
    if (s->is_ours)
        adjust(s, js, c);
    else
        compare_limits(s, c);
    look->changed |=
        stream_set(s, has_republish(s, c) ? STREAM_LIVE : STREAM_FOLLOWED);
    return 0;
}

static int note_missing(struct stream *s, struct stream_look *look)
{
    look->changed |= stream_set(s, STREAM_BROKEN);
    if (s->is_ours)
        return ERR_AGAIN; /* told already why it could not be made */
    snprintf(look->err, sizeof(look->err),
             "channel namespace %s: there is no stream %s", namespace_of(s),
             s->name);
    tell(s, look);
    return ERR_INVALID;
}

int stream_check(struct stream *s, jsCtx *js, struct stream_look *look)
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    *look = (struct stream_look){0};
    natsStatus rc = js_GetStreamInfo(&info, js, s->name, NULL, &code);
    bool missing = code == JSStreamNotFoundErr;
    if (missing && s->is_ours)
        rc = make(s, js, &info);
    /* Nodes that make it at one time may be told that it was never created,
     * and then there is no epoch yet. */
    if (rc == NATS_OK && info->Created == 0) {
        jsStreamInfo_Destroy(info);
        rc = js_GetStreamInfo(&info, js, s->name, NULL, &code);
    }
    if (rc == NATS_OK && info->Created == 0) {
        jsStreamInfo_Destroy(info);
        return ERR_AGAIN;
    }
    if (rc == NATS_OK) {
        int result = judge(s, js, info, look);
        jsStreamInfo_Destroy(info);
        return result;
    }
    if (missing)
        return note_missing(s, look);
    note_failure(s, "look", rc, code);
    if (rc != NATS_NO_RESPONDERS) /* JetStream itself is away */
        return ERR_AGAIN;
    if (stream_is_known(s))
        look->changed |= stream_set(s, STREAM_BROKEN);
    return ERR_AGAIN;
}
