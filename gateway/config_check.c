#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/config_read.h"

static const struct config_key *get_key(const char *name)
{
    const struct config_key *key = config_schema_find(name);
    CHECK(key != NULL);
    return key;
}

static char **string_of(struct config_read *r, const struct config_key *key)
{
    return (char **)((char *)r->cfg + key->at);
}

static int check_times(struct config_read *r)
{
    int64_t ping = r->cfg->client.ping_interval_ms;
    if (ping == 0 || r->cfg->client.pong_timeout_ms < ping)
        return 0;
    char limit[32];
    config_value_print_duration(ping, limit);
    return config_message_field(
        r, get_key("client.pong_timeout"),
        "a duration below client.ping_interval, which is \"%s\"", limit);
}

static int check_address(struct config_read *r)
{
    const char *address = r->cfg->http_server.address;
    struct in6_addr parsed; /* the larger of the two */
    if (!*address || inet_pton(AF_INET, address, &parsed) == 1 ||
        inet_pton(AF_INET6, address, &parsed) == 1)
        return 0;
    return config_message_field(r, get_key("http_server.address"),
                                "an IPv4 or IPv6 address such as "
                                "\"127.0.0.1\" or \"::1\", or \"\" for all");
}

static bool is_path(const char *path)
{
    if (path[0] != '/' || path[1] == '\0')
        return false;
    for (const char *p = path; *p; p++) {
        bool is_plain = isalnum((unsigned char)*p) || strchr("/-._~", *p);
        if (!is_plain || (p[0] == '/' && p[1] == '/'))
            return false;
    }
    return true;
}

static void trim_slashes(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
}

/* The number of earlier handlers is small: there are seven. */
static int check_prefix(struct config_read *r, const struct config_key *key)
{
    char *path = *string_of(r, key);
    trim_slashes(path);
    if (!is_path(path))
        return config_message_field(
            r, key,
            "a path that begins with \"/\", of letters, digits and "
            "the characters / - . _ ~");
    const struct config_key *other = config_schema_keys;
    for (; other < key; other++)
        if ((other->flags & CONFIG_PREFIX) &&
            strcmp(*string_of(r, other), path) == 0)
            return config_message_field(r, key, "a path that differs from %s",
                                        other->name);
    return 0;
}

static int check_prefixes(struct config_read *r)
{
    for (size_t i = 0; i < config_schema_key_count; i++) {
        if (!(config_schema_keys[i].flags & CONFIG_PREFIX))
            continue;
        int rc = check_prefix(r, &config_schema_keys[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_web(struct config_read *r)
{
    struct stat st;
    if (!r->cfg->web.enabled)
        return 0;
    if (stat(r->cfg->web.root, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return config_message_field(r, get_key("web.root"),
                                "an existing directory, since web.enabled "
                                "is true");
}

static struct str trim(struct str s)
{
    while (s.n && s.p[0] == ' ')
        s = str_skip(s, 1);
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

static bool is_server(struct str server)
{
    struct str rest = server;
    if (str_starts(server, STR_LIT("nats://")))
        rest = str_skip(server, 7);
    else if (str_starts(server, STR_LIT("tls://")))
        rest = str_skip(server, 6);
    else
        return false;
    return rest.n && !memchr(rest.p, ' ', rest.n);
}

/* Blanks around the commas of the list go. */
static int check_nats_url(struct config_read *r)
{
    struct str rest = str_of(r->cfg->nats.url);
    struct buf clean = BUF_INIT;
    while (rest.p && *r->cfg->nats.url) {
        struct str server = trim(str_cut(&rest, ','));
        if (!is_server(server)) {
            buf_free(&clean);
            return config_message_field(
                r, get_key("nats.url"),
                "\"nats://host:port\" or \"tls://host:port\", several "
                "separated by commas");
        }
        if (clean.n)
            buf_char(&clean, ',');
        buf_str(&clean, server);
    }
    if (clean.n) {
        free(r->cfg->nats.url);
        r->cfg->nats.url = mem_strndup(clean.p, clean.n);
    }
    buf_free(&clean);
    return 0;
}

static int check_nats_prefix(struct config_read *r)
{
    const char *prefix = r->cfg->nats.prefix;
    size_t n = strlen(prefix);
    bool is_good = n > 0 && prefix[0] != '.' && prefix[n - 1] != '.' &&
                   !strstr(prefix, "..");
    for (const char *p = prefix; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            is_good = false;
    if (is_good)
        return 0;
    return config_message_field(r, get_key("nats.prefix"),
                                "words of the characters -, _, a-z, A-Z, 0-9, "
                                "separated by dots");
}

/* Subjects overlap if one is a token prefix of the other. With a dot added
 * that is a string prefix, and in sorted order whatever begins with a text
 * directly follows it:
 *
 *     market-x.   market.   market.quotes.   market2. */
struct claim {
    char *dotted;                       /* owned */
    const struct namespace_options *ns; /* borrowed; NULL: nats.prefix */
};

static int by_dotted(const void *a, const void *b)
{
    const struct claim *x = a;
    const struct claim *y = b;
    return strcmp(x->dotted, y->dotted);
}

static struct claim make_claim(const char *subject,
                               const struct namespace_options *ns)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s.", subject);
    buf_char(&b, '\0');
    size_t n;
    return (struct claim){buf_take(&b, &n), ns};
}

static int refuse_overlap(struct config_read *r, const struct claim *a,
                          const struct claim *b)
{
    const struct claim *mine = b->ns ? b : a;
    const struct claim *other = b->ns ? a : b;
    const char *name = mine->ns->name;
    struct buf path = BUF_INIT;
    if (*name)
        buf_printf(&path, "channel.namespaces[%s].subject", name);
    else
        buf_lit(&path, CONFIG_WITHOUT_NAMESPACE ".subject");
    buf_char(&path, '\0');
    const struct config_key *key = config_schema_find(path.p);
    json_t *v = json_stringn(mine->ns->subject, strlen(mine->ns->subject));
    int rc =
        config_message_bad(r, key ? key : get_key("channel.namespaces"), path.p,
                           v, "a subject that does not overlap \"%.*s\", %s",
                           (int)strlen(other->dotted) - 1, other->dotted,
                           other->ns ? "another namespace's" : "nats.prefix");
    json_decref(v);
    buf_free(&path);
    return rc;
}

static int check_subjects(struct config_read *r)
{
    const struct config *cfg = r->cfg;
    size_t most = cfg->channel.namespace_count + 2;
    struct claim *claims = mem_zalloc(most * sizeof(*claims));
    size_t n = 0;
    int rc = 0;
    claims[n++] = make_claim(cfg->nats.prefix, NULL);
    if (*cfg->channel.without_namespace.subject)
        claims[n++] = make_claim(cfg->channel.without_namespace.subject,
                                 &cfg->channel.without_namespace);
    for (size_t i = 0; i < cfg->channel.namespace_count; i++)
        if (*cfg->channel.namespaces[i].subject)
            claims[n++] = make_claim(cfg->channel.namespaces[i].subject,
                                     &cfg->channel.namespaces[i]);
    qsort(claims, n, sizeof(*claims), by_dotted);
    for (size_t i = 1; i < n && rc == 0; i++)
        if (str_starts(str_of(claims[i].dotted), str_of(claims[i - 1].dotted)))
            rc = refuse_overlap(r, &claims[i - 1], &claims[i]);
    for (size_t i = 0; i < n; i++)
        free(claims[i].dotted);
    free(claims);
    return rc;
}

static int check_without_namespace(struct config_read *r)
{
    return config_namespaces_check(r, &r->cfg->channel.without_namespace,
                                   CONFIG_WITHOUT_NAMESPACE);
}

int config_check(struct config_read *r)
{
    static int (*const checks[])(struct config_read *) = {
        check_times,    check_address,           check_prefixes,
        check_web,      check_nats_url,          check_nats_prefix,
        check_subjects, check_without_namespace, config_history_finish,
    };
    r->now = (struct config_origin){CONFIG_FROM_DEFAULT, NULL};
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        int rc = checks[i](r);
        if (rc < 0)
            return rc;
    }
    config_throttle_number(r->cfg);
    return 0;
}
