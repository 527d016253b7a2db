#include "gateway/broker/subject.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "hub/channel.h"

static struct str end_prefix(struct buf *b)
{
    size_t n;
    buf_char(b, '\0');
    char *prefix = buf_take(b, &n);
    return str_n(prefix, n - 1);
}

static void init_space(struct subject_space *s, const struct config *cfg,
                       const struct namespace_options *ns)
{
    struct buf b = BUF_INIT;
    if (*ns->subject)
        buf_printf(&b, "%s.", ns->subject);
    else
        buf_printf(&b, "%s.pub.%s.", cfg->nats.prefix,
                   *ns->name ? ns->name : "_");
    s->ns = ns;
    s->name = str_of(ns->name);
    s->prefix = end_prefix(&b);
    if (ns->history.size == 0)
        return;
    buf_printf(&b, "%s.live.%s.", cfg->nats.prefix, *ns->name ? ns->name : "_");
    s->live = end_prefix(&b);
}

void subject_map_init(struct subject_map *m, const struct config *cfg)
{
    size_t named = cfg->channel.namespace_count;
    m->cfg = cfg;
    m->count = named + 1;
    m->spaces = mem_zalloc(m->count * sizeof(*m->spaces));
    for (size_t i = 0; i < named; i++)
        init_space(&m->spaces[i], cfg, &cfg->channel.namespaces[i]);
    init_space(&m->spaces[named], cfg, &cfg->channel.without_namespace);
}

void subject_map_fini(struct subject_map *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free((char *)m->spaces[i].prefix.p);
        free((char *)m->spaces[i].live.p);
    }
    free(m->spaces);
    m->spaces = NULL;
    m->count = 0;
}

struct subject_space *subject_find(const struct subject_map *m,
                                   struct str channel)
{
    struct channel_name name;
    if (channel_parse(channel, &name) < 0)
        return NULL;
    if (name.ns.n == 0)
        return &m->spaces[m->count - 1];
    const struct namespace_options *ns = config_namespace(m->cfg, name.ns);
    if (!ns)
        return NULL;
    return &m->spaces[ns - m->cfg->channel.namespaces];
}

/* The bytes of a channel of this space before its tokens: "news:". */
static size_t lead_bytes(const struct subject_space *s)
{
    return s->name.n ? s->name.n + 1 : 0;
}

static int finish(struct buf *to, size_t start)
{
    if (to->n - start > SUBJECT_MAX_BYTES) {
        to->n = start;
        return ERR_TOO_BIG;
    }
    buf_char(to, '\0');
    to->n--;
    return 0;
}

int subject_of(const struct subject_space *s, struct str channel,
               struct buf *to)
{
    size_t start = to->n;
    buf_str(to, s->prefix);
    channel_escape(to, str_skip(channel, lead_bytes(s)), false);
    return finish(to, start);
}

int subject_of_feed(const struct subject_space *s, struct str channel,
                    struct buf *to)
{
    if (!s->ns->allow_patterns)
        return subject_of(s, channel, to);
    size_t start = to->n;
    buf_str(to, s->prefix);
    buf_char(to, '>');
    return finish(to, start);
}

int subject_to_live(const struct subject_space *s, struct str subject,
                    struct buf *to)
{
    size_t start = to->n;
    buf_str(to, s->live);
    buf_str(to, str_skip(subject, s->prefix.n));
    return finish(to, start);
}

bool subject_is_live(const struct subject_space *s, struct str subject)
{
    return s->live.n && str_starts(subject, s->live);
}

/* What channel_unescape lets through may still be no name a client can use:
 * a colon would start a namespace where there is none, every client gets its
 * channel in a JSON string, and rules_channel has a rule of its own. A NUL
 * follows `channel`. */
static bool is_channel_of(const struct subject_space *s, struct str channel,
                          size_t max_length)
{
    struct str rest = str_skip(channel, lead_bytes(s));
    if (channel.n > max_length || (!s->name.n && memchr(rest.p, ':', rest.n)))
        return false;
    if (!s->ns->regex)
        return utf8_ascii_run(rest) == rest.n;
    return utf8_valid(rest) && regexec(s->ns->regex, rest.p, 0, NULL, 0) == 0;
}

/* What was appended to `to` since `start`, and a NUL that is not counted. */
static struct str ended(struct buf *to, size_t start)
{
    buf_char(to, '\0');
    to->n--;
    return str_n(to->p + start, to->n - start);
}

int subject_channel(const struct subject_space *s, struct str subject,
                    size_t max_length, struct buf *to)
{
    size_t start = to->n;
    struct str prefix = subject_is_live(s, subject) ? s->live : s->prefix;
    if (!str_starts(subject, prefix))
        return ERR_INVALID;
    if (s->name.n) {
        buf_str(to, s->name);
        buf_char(to, ':');
    }
    struct str rest = str_skip(subject, prefix.n);
    if (channel_unescape(to, rest) == 0 &&
        is_channel_of(s, ended(to, start), max_length))
        return 0;
    to->n = start;
    return ERR_INVALID;
}
