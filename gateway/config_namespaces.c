#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/config_read.h"

#define NAME_MIN 2
#define NAME_LONGEST 64

/* regcomp copies what a repeat count repeats, so that "((a{255}){255}){255}"
 * would be 16 million copies. A regex may become this many pieces. */
#define REGEX_WEIGHT_MAX 4096
#define REGEX_DEPTH_MAX 32

/* Weighs a regex without compiling it. */
struct scale {
    size_t sum[REGEX_DEPTH_MAX]; /* of each open group */
    size_t depth;
    size_t last; /* of what a repeat would repeat */
};

/* At '[': the last byte of the bracket expression, or of the text. */
static const char *skip_bracket(const char *p)
{
    p++;
    if (*p == '^')
        p++;
    if (*p == ']')
        p++;
    while (*p && *p != ']') {
        char end[3] = {p[1], ']', '\0'};
        const char *close = NULL;
        if (*p == '[' && p[1] && strchr(".:=", p[1]))
            close = strstr(p + 2, end);
        p = close ? close + 2 : p + 1;
    }
    return *p ? p : p - 1;
}

/* At '{': how many copies "{2,5}" makes; *end is its last byte. */
static size_t repeat_count(const char *p, const char **end)
{
    size_t most = 1;
    const char *q = p + 1;
    for (; *q && *q != '}'; q++) {
        size_t n = 0;
        for (; isdigit((unsigned char)*q); q++)
            n = n > REGEX_WEIGHT_MAX ? n : n * 10 + (size_t)(*q - '0');
        most = n + 1 > most ? n + 1 : most;
        if (!*q || *q == '}')
            break;
    }
    *end = *q ? q : q - 1;
    return most;
}

static void repeat(struct scale *s, size_t times)
{
    s->sum[s->depth] += s->last * (times - 1);
    s->last *= times;
}

static void add(struct scale *s, size_t weight)
{
    s->sum[s->depth] += weight;
    s->last = weight;
}

/* One step of the scale at *p, which moves to the last byte it took. */
static int weigh(struct scale *s, const char **p)
{
    size_t inner;
    switch (**p) {
    case '\\':
        *p += (*p)[1] != '\0';
        add(s, 1);
        break;
    case '[':
        *p = skip_bracket(*p);
        add(s, 1);
        break;
    case '(':
        if (++s->depth == REGEX_DEPTH_MAX)
            return ERR_TOO_BIG;
        s->sum[s->depth] = 0;
        break;
    case ')':
        inner = s->sum[s->depth] + 1;
        s->depth -= s->depth > 0;
        add(s, inner);
        break;
    case '{':
        repeat(s, repeat_count(*p, p));
        break;
    case '+':
        repeat(s, 2);
        break;
    case '*':
    case '?':
        break;
    default:
        add(s, 1);
    }
    return s->sum[s->depth] > REGEX_WEIGHT_MAX ? ERR_TOO_BIG : 0;
}

static int weigh_regex(const char *regex)
{
    struct scale s = {.depth = 0};
    for (const char *p = regex; *p; p++) {
        int rc = weigh(&s, &p);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void fini_namespace(struct namespace_options *ns)
{
    for (size_t i = 0; i < config_schema_option_count; i++)
        config_value_free(&config_schema_options[i], ns);
    if (ns->regex)
        regfree(ns->regex);
    free(ns->regex);
    ns->regex = NULL;
}

bool config_namespaces_is_name(const char *name)
{
    size_t n = strlen(name);
    if (n < NAME_MIN || n > NAME_LONGEST)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '-' && *name != '_')
            return false;
    return true;
}

/* NATS: tokens between dots, none empty, no blanks, no wildcards. */
static bool is_subject(const char *subject)
{
    struct str rest = str_of(subject);
    if (rest.n == 0 || subject[rest.n - 1] == '.')
        return false;
    while (rest.n) {
        struct str token = str_cut(&rest, '.');
        if (token.n == 0)
            return false;
        for (size_t i = 0; i < token.n; i++)
            if (token.p[i] == ' ' || token.p[i] == '*' || token.p[i] == '>')
                return false;
    }
    return true;
}

int config_namespaces_refuse(struct config_read *r,
                             const struct namespace_options *ns,
                             const char *path, const char *option,
                             const char *want)
{
    struct buf name = BUF_INIT;
    buf_printf(&name, "%s.%s", path, option);
    buf_char(&name, '\0');
    const struct config_key *key = config_schema_find(name.p);
    json_t *v = config_value_json(config_schema_find_option(option), ns, true);
    int rc = config_message_bad(
        r, key ? key : config_schema_find("channel.namespaces"), name.p, v,
        "%s", want);
    json_decref(v);
    buf_free(&name);
    return rc;
}

static int compile_regex(struct config_read *r, struct namespace_options *ns,
                         const char *path)
{
    if (!*ns->channel_regex)
        return 0;
    if (weigh_regex(ns->channel_regex) < 0)
        return config_namespaces_refuse(r, ns, path, "channel_regex",
                                        "a smaller regular expression (what "
                                        "repeat counts copy adds up)");
    regex_t *regex = mem_zalloc(sizeof(*regex));
    int rc = regcomp(regex, ns->channel_regex, REG_EXTENDED | REG_NOSUB);
    if (rc == 0) {
        ns->regex = regex;
        return 0;
    }
    char why[128];
    char want[256];
    regerror(rc, regex, why, sizeof(why));
    free(regex);
    snprintf(want, sizeof(want), "a POSIX extended regular expression (%s)",
             why);
    return config_namespaces_refuse(r, ns, path, "channel_regex", want);
}

int config_namespaces_check(struct config_read *r, struct namespace_options *ns,
                            const char *path)
{
    if (*ns->subject && !is_subject(ns->subject))
        return config_namespaces_refuse(r, ns, path, "subject",
                                        "a NATS subject without wildcards such "
                                        "as \"market.quotes\"");
    int rc = config_throttle_check(r, ns, path);
    if (rc == 0)
        rc = config_history_check(r, ns, path);
    return rc < 0 ? rc : compile_regex(r, ns, path);
}

static int refuse_dots(struct config_read *r, const char *path,
                       const char *option, const json_t *v)
{
    struct buf full = BUF_INIT;
    buf_printf(&full, "%s.%s", path, option);
    buf_char(&full, '\0');
    int rc = config_message_bad(r, NULL, full.p, v,
                                "an object for every dot in the name");
    buf_free(&full);
    return rc;
}

static int set_members(struct config_read *r, struct namespace_options *ns,
                       const char *path, const char *prefix, const json_t *v);

/* `path` is of the namespace, `option` inside it. */
static int set_member(struct config_read *r, struct namespace_options *ns,
                      const char *path, const char *option, const json_t *v)
{
    const struct config_key *key = config_schema_find_option(option);
    bool is_section = config_schema_is_option_section(option);
    if (is_section && json_is_object(v))
        return set_members(r, ns, path, option, v);
    struct buf full = BUF_INIT;
    buf_printf(&full, "%s.%s", path, option);
    buf_char(&full, '\0');
    int rc;
    if (key)
        rc = config_value_set(r, key, ns, full.p, v);
    else if (is_section)
        rc = config_message_bad(r, NULL, full.p, v, "an object");
    else
        rc = config_message_unknown(r, CONFIG_NEAR_OPTION, full.p, v);
    buf_free(&full);
    return rc;
}

/* The members of a section ("" for the namespace itself). As deep as the
 * names in the table. */
static int set_members(struct config_read *r, struct namespace_options *ns,
                       const char *path, const char *prefix, const json_t *v)
{
    struct buf option = BUF_INIT;
    const char *name;
    json_t *member;
    int rc = 0;
    json_object_foreach((json_t *)v, name, member) {
        buf_clear(&option);
        buf_printf(&option, "%s%s%s", prefix, *prefix ? "." : "", name);
        buf_char(&option, '\0');
        rc = strchr(name, '.') ? refuse_dots(r, path, option.p, member)
                               : set_member(r, ns, path, option.p, member);
        if (rc < 0)
            break;
    }
    buf_free(&option);
    return rc;
}

/* Fills zeroed memory, which fini_namespace clears in any case. */
static int set_namespace(struct config_read *r, struct namespace_options *ns,
                         const char *path, const json_t *v)
{
    for (size_t i = 0; i < config_schema_option_count; i++)
        config_value_default(&config_schema_options[i], ns);
    if (!json_is_object(v))
        return config_message_bad(r, NULL, path, v,
                                  "an object with a \"name\"");
    int rc = set_members(r, ns, path, "", v);
    if (rc < 0)
        return rc;
    if (!config_namespaces_is_name(ns->name))
        return config_namespaces_refuse(r, ns, path, "name", CONFIG_NAME_WANT);
    return config_namespaces_check(r, ns, path);
}

static int by_name(const void *a, const void *b)
{
    const struct namespace_options *x = a;
    const struct namespace_options *y = b;
    return strcmp(x->name, y->name);
}

static int check_unique(struct config_read *r, const char *path,
                        const struct config *list)
{
    for (size_t i = 1; i < list->channel.namespace_count; i++) {
        const struct namespace_options *ns = &list->channel.namespaces[i];
        if (strcmp(ns->name, ns[-1].name) == 0)
            return config_namespaces_refuse(
                r, ns, path, "name", "a name that no other namespace has");
    }
    return 0;
}

static int fill(struct config_read *r, struct config *list, const char *path,
                const json_t *v)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)v, i, item) {
        struct buf name = BUF_INIT;
        buf_printf(&name, "%s[%zu]", path, i);
        buf_char(&name, '\0');
        list->channel.namespace_count = i + 1;
        int rc = set_namespace(r, &list->channel.namespaces[i], name.p, item);
        buf_free(&name);
        if (rc < 0)
            return rc;
    }
    qsort(list->channel.namespaces, list->channel.namespace_count,
          sizeof(*list->channel.namespaces), by_name);
    return check_unique(r, path, list);
}

int config_namespaces_set(struct config_read *r, const char *path,
                          const struct json_t *v)
{
    const struct config_key *key = config_schema_find("channel.namespaces");
    if (!json_is_array(v) || json_array_size(v) > (size_t)key->max)
        return config_message_bad(r, key, path, v,
                                  "an array of at most %d namespaces",
                                  (int)key->max);
    struct config list = {.channel = {.namespace_count = 0}};
    list.channel.namespaces =
        mem_zalloc(json_array_size(v) * sizeof(*list.channel.namespaces));
    int rc = fill(r, &list, path, v);
    if (rc < 0) {
        config_namespaces_free(&list);
        return rc;
    }
    config_namespaces_free(r->cfg);
    r->cfg->channel.namespaces = list.channel.namespaces;
    r->cfg->channel.namespace_count = list.channel.namespace_count;
    return 0;
}

struct json_t *config_namespaces_json(const struct config *cfg)
{
    json_t *array = json_array();
    CHECK(array != NULL);
    for (size_t i = 0; i < cfg->channel.namespace_count; i++) {
        json_t *item = json_object();
        CHECK(item != NULL);
        for (size_t j = 0; j < config_schema_option_count; j++) {
            const struct namespace_options *ns = &cfg->channel.namespaces[i];
            config_value_put(item, &config_schema_options[j], ns, true);
        }
        CHECK(json_array_append_new(array, item) == 0);
    }
    return array;
}

void config_namespaces_free(struct config *cfg)
{
    for (size_t i = 0; i < cfg->channel.namespace_count; i++)
        fini_namespace(&cfg->channel.namespaces[i]);
    free(cfg->channel.namespaces);
    cfg->channel.namespaces = NULL;
    cfg->channel.namespace_count = 0;
}
