#include "gateway/rules.h"

#include "gateway/protocol/codes.h"

/* regexec wants a string; names are short. */
static bool regex_matches(const regex_t *regex, struct str rest)
{
    char text[CHANNEL_MAX_BYTES + 1];
    memcpy(text, rest.p, rest.n);
    text[rest.n] = '\0';
    return regexec(regex, text, 0, NULL, 0) == 0;
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > 127)
            return false;
    }
    return true;
}

/* `$ns:rest` is a private channel of ns: it needs a token, and there are none
 * yet. */
static uint32_t private_channel(const struct config *cfg, struct str name)
{
    struct channel_name parsed;
    if (channel_parse(name, &parsed) < 0 || parsed.is_pattern)
        return ERROR_BAD_REQUEST;
    return config_namespace(cfg, parsed.ns) ? ERROR_PERMISSION_DENIED
                                            : ERROR_UNKNOWN_CHANNEL;
}

uint32_t rules_channel(const struct config *cfg, struct str name,
                       enum rules_use use, struct rules_channel *out)
{
    if (name.n > (size_t)cfg->channel.max_length)
        return ERROR_BAD_REQUEST;
    if (name.n > 1 && name.p[0] == '$' && memchr(name.p, ':', name.n))
        return private_channel(cfg, str_skip(name, 1));
    if (channel_parse(name, &out->name) < 0)
        return ERROR_BAD_REQUEST;
    out->options = config_namespace(cfg, out->name.ns);
    if (!out->options)
        return ERROR_UNKNOWN_CHANNEL;
    if (out->name.is_pattern)
        return use == RULES_CONCRETE_OR_PATTERN && out->options->allow_patterns
                   ? 0
                   : ERROR_BAD_REQUEST;
    if (out->options->regex)
        return regex_matches(out->options->regex, out->name.rest)
                   ? 0
                   : ERROR_BAD_REQUEST;
    return is_ascii(name) ? 0 : ERROR_BAD_REQUEST;
}

uint32_t rules_subscribe(const struct config *cfg,
                         const struct rules_channel *ch, struct str user)
{
    const struct namespace_options *o = ch->options;
    if (cfg->client.insecure)
        return 0;
    /* A private channel needs a token, and there are none yet. */
    if (ch->name.full.p[0] == '$')
        return ERROR_PERMISSION_DENIED;
    if (o->allow_subscribe_for_client &&
        (user.n || o->allow_subscribe_for_anonymous))
        return 0;
    return ERROR_PERMISSION_DENIED;
}

uint32_t rules_publish(const struct config *cfg, const struct rules_channel *ch,
                       struct str user, bool subscribed)
{
    const struct namespace_options *o = ch->options;
    if (cfg->client.insecure)
        return 0;
    bool named = user.n || o->allow_publish_for_anonymous;
    if (named && (o->allow_publish_for_client ||
                  (o->allow_publish_for_subscriber && subscribed)))
        return 0;
    return ERROR_PERMISSION_DENIED;
}

uint32_t rules_history(const struct config *cfg, const struct rules_channel *ch,
                       struct str user, bool subscribed)
{
    const struct namespace_options *o = ch->options;
    if (cfg->client.insecure)
        return 0;
    bool named = user.n || o->allow_history_for_anonymous;
    if (named && (o->allow_history_for_client ||
                  (o->allow_history_for_subscriber && subscribed)))
        return 0;
    return ERROR_PERMISSION_DENIED;
}

bool rules_anonymous(const struct config *cfg)
{
    return cfg->client.insecure ||
           cfg->client.allow_anonymous_connect_without_token;
}
