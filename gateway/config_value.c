#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/config_read.h"

#define LIST_MAX 1000

/* Numbers above it are not exact in every JSON reader. */
#define MS_MAX (INT64_C(1) << 53)

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {{"ms", 1}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};

static const struct unit *find_unit(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strncmp(text, units[i].name, strlen(units[i].name)) == 0)
            return &units[i];
    return NULL;
}

/* The part "1.5s" of a duration; *text moves behind it. */
static int add_part(const char **text, int64_t *ms)
{
    const char *p = *text;
    int64_t whole = 0;
    int64_t fraction = 0;
    int64_t scale = 1;
    if (!isdigit((unsigned char)*p))
        return ERR_INVALID;
    for (; isdigit((unsigned char)*p) && whole < MS_MAX; p++)
        whole = whole * 10 + (*p - '0');
    if (*p == '.' && isdigit((unsigned char)p[1]))
        for (p++; isdigit((unsigned char)*p) && scale < 1000000000; p++) {
            fraction = fraction * 10 + (*p - '0');
            scale *= 10;
        }
    const struct unit *unit = find_unit(p);
    if (!unit || whole >= MS_MAX / unit->ms || fraction * unit->ms % scale != 0)
        return ERR_INVALID;
    *ms += whole * unit->ms + fraction * unit->ms / scale;
    *text = p + strlen(unit->name);
    return *ms < MS_MAX ? 0 : ERR_INVALID;
}

int config_value_duration(const char *text, int64_t *ms)
{
    int64_t sum = 0;
    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return 0;
    }
    do {
        int rc = add_part(&text, &sum);
        if (rc < 0)
            return rc;
    } while (*text);
    *ms = sum;
    return 0;
}

void config_value_print_duration(int64_t ms, char out[32])
{
    static const struct unit order[] = {
        {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        int64_t count = ms / order[i].ms;
        ms %= order[i].ms;
        if (count)
            n += (size_t)snprintf(out + n, 32 - n, "%" PRId64 "%s", count,
                                  order[i].name);
    }
    if (n == 0)
        snprintf(out, 32, "0s");
}

static void *field(const struct config_key *key, const void *base)
{
    return (char *)base + key->at;
}

static int set_bool(struct config_read *r, const struct config_key *key,
                    void *to, const char *path, const json_t *v)
{
    if (!json_is_boolean(v))
        return config_message_bad(r, key, path, v, "true or false");
    *(bool *)to = json_is_true(v);
    return 0;
}

static bool is_in_range(const struct config_key *key, int64_t n)
{
    if (n == 0 && (key->flags & CONFIG_ZERO_OK))
        return true;
    return n >= key->min && n <= key->max;
}

static int set_int(struct config_read *r, const struct config_key *key,
                   void *to, const char *path, const json_t *v)
{
    if (!json_is_integer(v) || !is_in_range(key, json_integer_value(v)))
        return config_message_bad(
            r, key, path, v, "an integer from %" PRId64 " to %" PRId64 "%s",
            key->min, key->max,
            key->flags & CONFIG_ZERO_OK ? ", or 0 for off" : "");
    *(int64_t *)to = json_integer_value(v);
    return 0;
}

static int set_duration(struct config_read *r, const struct config_key *key,
                        void *to, const char *path, const json_t *v)
{
    int64_t ms;
    char min[32];
    char max[32];
    config_value_print_duration(key->min, min);
    config_value_print_duration(key->max, max);
    if (!json_is_string(v) ||
        config_value_duration(json_string_value(v), &ms) < 0)
        return config_message_bad(r, key, path, v,
                                  "a duration string such as \"%s\"",
                                  strcmp(key->init, "0s") ? key->init : min);
    if (!is_in_range(key, ms))
        return config_message_bad(
            r, key, path, v, "a duration from \"%s\" to \"%s\"%s", min, max,
            key->flags & CONFIG_ZERO_OK ? ", or \"0s\"" : "");
    *(int64_t *)to = ms;
    return 0;
}

/* 0.2 -> 200. What has at most three decimals is the double nearest to a
 * whole number of thousandths, and division finds just that one again. */
static int read_rate(const json_t *v, int64_t max, int64_t *rate)
{
    double hertz = json_number_value(v);
    if (!json_is_number(v) || !(hertz >= 0) || hertz > (double)max / 1000)
        return ERR_INVALID;
    int64_t n = (int64_t)(hertz * 1000 + 0.5);
    if ((double)n / 1000 != hertz)
        return ERR_INVALID;
    *rate = n;
    return 0;
}

static int set_rate(struct config_read *r, const struct config_key *key,
                    void *to, const char *path, const json_t *v)
{
    if (read_rate(v, key->max, to) < 0)
        return config_message_bad(r, key, path, v,
                                  "a number from 0 to %" PRId64
                                  " with at most three decimals",
                                  key->max / 1000);
    return 0;
}

static json_t *rate_json(int64_t rate)
{
    if (rate % 1000 == 0)
        return json_integer(rate / 1000);
    return json_real((double)rate / 1000);
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static bool is_string(const struct config_key *key, const json_t *v)
{
    return json_is_string(v) && json_string_length(v) <= (size_t)key->max &&
           !has_control(json_string_value(v));
}

static int set_string(struct config_read *r, const struct config_key *key,
                      void *to, const char *path, const json_t *v)
{
    if (!is_string(key, v))
        return config_message_bad(r, key, path, v,
                                  "a string of at most %" PRId64
                                  " bytes, no control characters",
                                  key->max);
    free(*(char **)to);
    *(char **)to = mem_strndup(json_string_value(v), json_string_length(v));
    return 0;
}

/* The field is a bool or an enum, which is as wide as an int. */
static void store_choice(const struct config_key *key, void *to, int index)
{
    if (key->size == sizeof(bool)) {
        *(bool *)to = index != 0;
        return;
    }
    CHECK(key->size == sizeof(int));
    memcpy(to, &index, sizeof(index));
}

static int load_choice(const struct config_key *key, const void *from)
{
    int index;
    if (key->size == sizeof(bool))
        return *(const bool *)from ? 1 : 0;
    memcpy(&index, from, sizeof(index));
    return index;
}

static int set_choice(struct config_read *r, const struct config_key *key,
                      void *to, const char *path, const json_t *v)
{
    struct buf all = BUF_INIT;
    for (int i = 0; key->choices[i]; i++) {
        if (json_is_string(v) &&
            strcmp(json_string_value(v), key->choices[i]) == 0) {
            store_choice(key, to, i);
            buf_free(&all);
            return 0;
        }
        buf_printf(&all, "%s\"%s\"", i ? ", " : "", key->choices[i]);
    }
    int rc = config_message_bad(r, key, path, v, "one of %.*s",
                                STR_ARG(buf_view(&all)));
    buf_free(&all);
    return rc;
}

static void free_list(struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct string_list){NULL, 0};
}

static int check_items(struct config_read *r, const struct config_key *key,
                       const char *path, const json_t *v)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)v, i, item) {
        if (is_string(key, item) && json_string_length(item) > 0)
            continue;
        struct buf name = BUF_INIT;
        buf_printf(&name, "%s[%zu]", path, i);
        buf_char(&name, '\0');
        int rc = config_message_bad(r, key, name.p, item,
                                    "a string of 1 to %" PRId64
                                    " bytes, no control characters",
                                    key->max);
        buf_free(&name);
        return rc;
    }
    return 0;
}

static int set_strings(struct config_read *r, const struct config_key *key,
                       struct string_list *to, const char *path,
                       const json_t *v)
{
    if (!json_is_array(v) || json_array_size(v) > LIST_MAX)
        return config_message_bad(r, key, path, v,
                                  "an array of at most %d strings", LIST_MAX);
    int rc = check_items(r, key, path, v);
    if (rc < 0)
        return rc;
    free_list(to);
    to->count = json_array_size(v);
    to->items = mem_zalloc(to->count * sizeof(*to->items));
    for (size_t i = 0; i < to->count; i++) {
        const json_t *item = json_array_get(v, i);
        to->items[i] =
            mem_strndup(json_string_value(item), json_string_length(item));
    }
    return 0;
}

int config_value_set(struct config_read *r, const struct config_key *key,
                     void *base, const char *path, const struct json_t *v)
{
    void *to = field(key, base);
    switch (key->type) {
    case CONFIG_BOOL:
        return set_bool(r, key, to, path, v);
    case CONFIG_INT:
        return set_int(r, key, to, path, v);
    case CONFIG_DURATION:
        return set_duration(r, key, to, path, v);
    case CONFIG_RATE:
        return set_rate(r, key, to, path, v);
    case CONFIG_STRING:
        return set_string(r, key, to, path, v);
    case CONFIG_CHOICE:
        return set_choice(r, key, to, path, v);
    case CONFIG_STRINGS:
        return set_strings(r, key, to, path, v);
    case CONFIG_NAMESPACES:
        return config_namespaces_set(r, path, v);
    }
    return ERR_INVALID;
}

/* The lists are empty by default: zeroed memory. Nothing in the table can
 * be refused, which the reading of every default in the tests shows. */
void config_value_default(const struct config_key *key, void *base)
{
    if (key->type == CONFIG_STRINGS || key->type == CONFIG_NAMESPACES)
        return;
    if (key->type == CONFIG_STRING)
        *(char **)field(key, base) = NULL;
    char err[256];
    struct config_read r = {.file = "defaults", .err = err};
    r.errlen = sizeof(err);
    r.now.from = CONFIG_FROM_FILE;
    json_t *v = config_value_from_text(key, key->init);
    CHECK(config_value_set(&r, key, base, key->name, v) == 0);
    json_decref(v);
}

void config_value_free(const struct config_key *key, void *base)
{
    char **text = field(key, base);
    switch (key->type) {
    case CONFIG_STRING:
        free(*text);
        *text = NULL;
        break;
    case CONFIG_STRINGS:
        free_list(field(key, base));
        break;
    case CONFIG_NAMESPACES:
        config_namespaces_free(base);
        break;
    case CONFIG_BOOL:
    case CONFIG_INT:
    case CONFIG_DURATION:
    case CONFIG_RATE:
    case CONFIG_CHOICE:
        break;
    }
}

static json_t *new_string(const char *text)
{
    json_t *v = json_stringn(text, strlen(text));
    CHECK(v != NULL); /* what was read is UTF-8 */
    return v;
}

/* One server of nats.url. Without a colon the user part is a token. */
static void put_masked_server(struct buf *b, struct str server)
{
    const char *at = memrchr(server.p, '@', server.n);
    if (!at) {
        buf_str(b, server);
        return;
    }
    const char *scheme = memmem(server.p, server.n, "://", 3);
    const char *user = scheme && scheme < at ? scheme + 3 : server.p;
    const char *colon = memchr(user, ':', (size_t)(at - user));
    const char *secret = colon ? colon + 1 : user;
    buf_add(b, server.p, (size_t)(secret - server.p));
    buf_lit(b, "***");
    buf_str(b, str_skip(server, (size_t)(at - server.p)));
}

static json_t *masked_url(const char *url)
{
    struct buf b = BUF_INIT;
    struct str rest = str_of(url);
    while (rest.n) {
        if (b.n)
            buf_char(&b, ',');
        put_masked_server(&b, str_cut(&rest, ','));
    }
    json_t *v = json_stringn(b.p ? b.p : "", b.n);
    CHECK(v != NULL);
    buf_free(&b);
    return v;
}

static json_t *string_json(const struct config_key *key, const char *text,
                           bool mask)
{
    if (mask && (key->flags & CONFIG_SECRET) && *text)
        return new_string("***");
    if (mask && (key->flags & CONFIG_URL))
        return masked_url(text);
    return new_string(text);
}

static json_t *strings_json(const struct string_list *list)
{
    json_t *array = json_array();
    CHECK(array != NULL);
    for (size_t i = 0; i < list->count; i++)
        CHECK(json_array_append_new(array, new_string(list->items[i])) == 0);
    return array;
}

struct json_t *config_value_json(const struct config_key *key, const void *base,
                                 bool mask)
{
    const void *from = field(key, base);
    char duration[32];
    switch (key->type) {
    case CONFIG_BOOL:
        return json_boolean(*(const bool *)from);
    case CONFIG_INT:
        return json_integer(*(const int64_t *)from);
    case CONFIG_DURATION:
        config_value_print_duration(*(const int64_t *)from, duration);
        return new_string(duration);
    case CONFIG_RATE:
        return rate_json(*(const int64_t *)from);
    case CONFIG_STRING:
        return string_json(key, *(char *const *)from, mask);
    case CONFIG_CHOICE:
        return new_string(key->choices[load_choice(key, from)]);
    case CONFIG_STRINGS:
        return strings_json(from);
    case CONFIG_NAMESPACES:
        return config_namespaces_json(base);
    }
    return NULL;
}

/* The object of section `name`, made if it is not there. Borrowed. */
static json_t *get_section(json_t *parent, struct str name)
{
    json_t *section = json_object_getn(parent, name.p, name.n);
    if (section)
        return section;
    section = json_object();
    CHECK(section != NULL);
    CHECK(json_object_setn_new(parent, name.p, name.n, section) == 0);
    return section;
}

void config_value_put(struct json_t *root, const struct config_key *key,
                      const void *base, bool mask)
{
    struct str rest = str_of(key->name);
    struct str part = str_cut(&rest, '.');
    json_t *section = root;
    while (rest.n) {
        section = get_section(section, part);
        part = str_cut(&rest, '.');
    }
    json_t *v = config_value_json(key, base, mask);
    CHECK(json_object_setn_new(section, part.p, part.n, v) == 0);
}

static json_t *bool_from_text(const char *text)
{
    if (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0)
        return json_true();
    if (strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0)
        return json_false();
    return NULL;
}

static json_t *int_from_text(const char *text)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return NULL;
    return json_integer(n);
}

static json_t *rate_from_text(const char *text)
{
    json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
    if (json_is_number(v))
        return v;
    json_decref(v);
    return NULL;
}

/* "a, b c" -> ["a", "b", "c"]; NULL if an item is not UTF-8. */
static json_t *list_from_text(const char *text)
{
    const char *separators = ", \t";
    json_t *array = json_array();
    CHECK(array != NULL);
    text += strspn(text, separators);
    while (*text) {
        size_t n = strcspn(text, separators);
        json_t *item = json_stringn(text, n);
        if (!item || json_array_append_new(array, item) < 0) {
            json_decref(array);
            return NULL;
        }
        text += n;
        text += strspn(text, separators);
    }
    return array;
}

struct json_t *config_value_from_text(const struct config_key *key,
                                      const char *text)
{
    json_t *v = NULL;
    if (key->type == CONFIG_STRINGS)
        return list_from_text(text);
    if (key->type == CONFIG_BOOL)
        v = bool_from_text(text);
    if (key->type == CONFIG_INT)
        v = int_from_text(text);
    if (key->type == CONFIG_RATE)
        v = rate_from_text(text);
    return v ? v : json_stringn(text, strlen(text));
}
