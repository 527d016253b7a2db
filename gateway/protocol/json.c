#include "gateway/protocol/json.h"

#include <endian.h>

#include "base/utf8.h"

/* Eight bytes at a time: a word holds eight lanes of one byte, the first byte
 * of the text in the lowest. A result has the high bit of a lane set when its
 * byte is wanted:
 *
 *     text      a  b  c  "  d  "  \n e
 *     quotes    00 00 00 80 00 80 00 00
 *
 * The subtractions may borrow across a hit and mark lanes behind it wrongly,
 * never one before it, so only the first hit counts. */
#define ONES UINT64_C(0x0101010101010101)
#define HIGH_BITS (ONES * 0x80)

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* The containers around the scanner's position, innermost in bit 0 of
 * `objects`: 1 for an object, 0 for an array. */
struct nesting {
    uint64_t objects;
    unsigned depth;
};

_Static_assert(JSON_MAX_DEPTH <= 64, "nesting.objects has 64 bits");

static inline uint64_t load_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return le64toh(word); /* so that the first byte is the lowest lane */
}

static inline uint64_t lanes_equal(uint64_t word, char c)
{
    uint64_t zero = word ^ (ONES * (uint8_t)c);
    return (zero - ONES) & ~zero & HIGH_BITS;
}

static inline uint64_t lanes_control(uint64_t word)
{
    return (word - ONES * 0x20) & ~word & HIGH_BITS;
}

static inline size_t first_lane(uint64_t lanes)
{
    return (size_t)__builtin_ctzll(lanes) / 8;
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* 0..15, or -1 for what is no hexadecimal digit. */
static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The number of four digits, or -1. */
static int32_t hex_unit(const char *p)
{
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Scanning: each function looks at untrusted bytes in [p, end) and returns
 * where its piece ends, or NULL when the grammar is broken. */

/* Skip the ASCII bytes that stand for themselves inside a string. */
static inline const char *skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = load_word(p);
        uint64_t stop = lanes_equal(word, '"') | lanes_equal(word, '\\') |
                        lanes_control(word) | (word & HIGH_BITS);
        if (stop)
            return p + first_lane(stop);
        p += 8;
    }
    while (p < end && *p >= ' ' && (uint8_t)*p < 0x80 && *p != '"' &&
           *p != '\\')
        p++;
    return p;
}

/* p is at the backslash. */
static const char *scan_escape(const char *p, const char *end)
{
    if (end - p < 2)
        return NULL;
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        return end - p >= 6 && hex_unit(p + 2) >= 0 ? p + 6 : NULL;
    default:
        return NULL;
    }
}

/* p is behind the opening quote; the result is behind the closing one. */
static inline const char *scan_string(const char *p, const char *end)
{
    for (;;) {
        p = skip_plain(p, end);
        if (p == end)
            return NULL;
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            p = scan_escape(p, end);
            if (!p)
                return NULL;
            continue;
        }
        do {
            size_t n = utf8_char(str_n(p, (size_t)(end - p)));
            if (n < 2)
                return NULL; /* malformed, or a control byte */
            p += n;
        } while (p < end && (uint8_t)*p >= 0x80);
    }
}

static inline const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

static inline const char *scan_digits(const char *p, const char *end)
{
    const char *behind = skip_digits(p, end);
    return behind > p ? behind : NULL;
}

/* p is at a minus sign or a digit. */
static inline const char *scan_number(const char *p, const char *end)
{
    if (*p == '-')
        p++;
    p = p < end && *p == '0' ? p + 1 : scan_digits(p, end);
    if (p && p < end && *p == '.')
        p = scan_digits(p + 1, end);
    if (p && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        p = scan_digits(p, end);
    }
    return p;
}

static inline const char *scan_word(const char *p, const char *end,
                                    struct str word)
{
    if ((size_t)(end - p) < word.n || memcmp(p, word.p, word.n) != 0)
        return NULL;
    return p + word.n;
}

static inline const char *scan_scalar(const char *p, const char *end)
{
    switch (*p) {
    case '"':
        return scan_string(p + 1, end);
    case '-':
    case '0' ... '9':
        return scan_number(p, end);
    case 'n':
        return scan_word(p, end, STR_LIT("null"));
    case 'f':
        return scan_word(p, end, STR_LIT("false"));
    case 't':
        return scan_word(p, end, STR_LIT("true"));
    default:
        return NULL;
    }
}

/* A member's key and colon, from the quote to where its value begins. */
static inline const char *scan_key(const char *p, const char *end)
{
    if (p == end || *p != '"')
        return NULL;
    p = scan_string(p + 1, end);
    if (!p)
        return NULL;
    p = skip_space(p, end);
    if (p == end || *p != ':')
        return NULL;
    return skip_space(p + 1, end);
}

/* p is at a bracket: go in and up to the first value, where *inside is set,
 * or to the closing bracket when there is none. */
static inline const char *scan_open(const char *p, const char *end,
                                    struct nesting *in, bool *inside)
{
    bool object = *p == '{';
    if (in->depth == JSON_MAX_DEPTH)
        return NULL;
    in->depth++;
    in->objects = in->objects << 1 | object;
    p = skip_space(p + 1, end);
    *inside = p == end || *p != (object ? '}' : ']');
    return object && *inside ? scan_key(p, end) : p;
}

/* p is behind a value: leave the containers that end here and go on to the
 * next value; in->depth is 0 when there is none because all is closed. */
static inline const char *scan_onward(const char *p, const char *end,
                                      struct nesting *in)
{
    while (in->depth > 0) {
        bool object = in->objects & 1;
        p = skip_space(p, end);
        if (p == end)
            return NULL;
        if (*p == ',') {
            p = skip_space(p + 1, end);
            return object ? scan_key(p, end) : p;
        }
        if (*p != (object ? '}' : ']'))
            return NULL;
        p++;
        in->depth--;
        in->objects >>= 1;
    }
    return p;
}

static const char *scan_value(const char *p, const char *end)
{
    struct nesting in = {0, 0};
    do {
        if (p == end)
            return NULL;
        bool inside = false;
        if (*p == '{' || *p == '[')
            p = scan_open(p, end, &in, &inside);
        else
            p = scan_scalar(p, end);
        if (p && !inside)
            p = scan_onward(p, end, &in);
        if (!p)
            return NULL;
    } while (in.depth > 0);
    return p;
}

static enum json_type type_of(char first)
{
    switch (first) {
    case 'n':
        return JSON_NULL;
    case 'f':
        return JSON_FALSE;
    case 't':
        return JSON_TRUE;
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_ARRAY;
    case '{':
        return JSON_OBJECT;
    default:
        return JSON_NUMBER;
    }
}

static struct json_value value_at(const char *p, const char *end)
{
    return (struct json_value){type_of(*p), str_n(p, (size_t)(end - p))};
}

/* Walking: the bytes are valid, so only the ends have to be found. `end` is
 * kept in sight all the same. */

/* p is behind the opening quote. */
static const char *skip_string(const char *p, const char *end)
{
    while (p < end) {
        uint64_t stop = 0;
        if (end - p >= 8) {
            uint64_t word = load_word(p);
            stop = lanes_equal(word, '"') | lanes_equal(word, '\\');
            if (!stop) {
                p += 8;
                continue;
            }
            p += first_lane(stop);
        }
        if (*p == '"')
            return p + 1;
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    }
    return end;
}

/* p is at the opening bracket. */
static const char *skip_container(const char *p, const char *end)
{
    unsigned depth = 0;
    while (p < end) {
        char c = *p++;
        if (c == '"') {
            p = skip_string(p, end);
            continue;
        }
        char curly = (char)(c | 0x20); /* '[' and ']' become '{' and '}' */
        if (curly == '{')
            depth++;
        else if (curly == '}' && --depth == 0)
            return p;
    }
    return end;
}

static const char *skip_value(const char *p, const char *end)
{
    if (*p == '"')
        return skip_string(p + 1, end);
    if (*p == '{' || *p == '[')
        return skip_container(p, end);
    while (p < end && *p != ',' && *p != ']' && *p != '}' && !is_space(*p))
        p++;
    return p;
}

/* To the next member or item, over the comma: false at the end. A walk that
 * was entered does not know its end and finds the bracket instead. */
static bool step(struct json_iter *it)
{
    const char *p = skip_space(it->p, it->end);
    if (p < it->end && *p == ',')
        p = skip_space(p + 1, it->end);
    it->p = p;
    return p < it->end && *p != '}' && *p != ']';
}

/* The code unit of a \uXXXX escape at p, or -1 when none is there. */
static int32_t unit_at(const char *p, const char *end)
{
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    return hex_unit(p + 2);
}

/* Decode the \uXXXX at *p, or the surrogate pair of two, and move behind. */
static size_t decode_unit(const char **p, const char *end, char to[4])
{
    int32_t unit = unit_at(*p, end);
    *p += 6;
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        int32_t low = unit_at(*p, end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *p += 6;
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            return utf8_encode((uint32_t)unit, to);
        }
    }
    if (unit >= 0xD800 && unit <= 0xDFFF)
        unit = 0xFFFD; /* a surrogate without its other half */
    return utf8_encode((uint32_t)unit, to);
}

/* Decode the escape at *p into `to`, move behind it, return its bytes. */
static size_t decode_escape(const char **p, const char *end, char to[4])
{
    char c = (*p)[1];
    if (c == 'u')
        return decode_unit(p, end, to);
    *p += 2;
    switch (c) {
    case 'b':
        to[0] = '\b';
        break;
    case 'f':
        to[0] = '\f';
        break;
    case 'n':
        to[0] = '\n';
        break;
    case 'r':
        to[0] = '\r';
        break;
    case 't':
        to[0] = '\t';
        break;
    default: /* quote, backslash and slash stand for themselves */
        to[0] = c;
    }
    return 1;
}

static struct str without_quotes(struct str raw)
{
    return str_n(raw.p + 1, raw.n - 2);
}

static bool escaped_equals(struct str text, struct str name)
{
    const char *p = text.p;
    const char *end = p + text.n;
    while (p < end) {
        char piece[4] = {*p};
        size_t n = 1;
        if (*p == '\\')
            n = decode_escape(&p, end, piece);
        else
            p++;
        if (!str_starts(name, str_n(piece, n)))
            return false;
        name = str_skip(name, n);
    }
    return name.n == 0;
}

static void unescape(struct buf *to, struct str text)
{
    const char *p = text.p;
    const char *end = p + text.n;
    buf_reserve(to, text.n); /* decoding never makes it longer */
    while (p < end) {
        const char *escape = memchr(p, '\\', (size_t)(end - p));
        const char *stop = escape ? escape : end;
        buf_add(to, p, (size_t)(stop - p));
        p = stop;
        if (escape) {
            char piece[4];
            size_t n = decode_escape(&p, end, piece);
            buf_add(to, piece, n);
        }
    }
}

static int parse_digits(struct str digits, uint64_t *out)
{
    uint64_t v = 0;
    if (digits.n == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < digits.n; i++) {
        if (!is_digit(digits.p[i]))
            return ERR_INVALID;
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(digits.p[i] - '0'), &v))
            return ERR_INVALID;
    }
    *out = v;
    return 0;
}

static void quote_ascii(struct buf *to, char c)
{
    switch (c) {
    case '"':
        buf_lit(to, "\\\"");
        return;
    case '\\':
        buf_lit(to, "\\\\");
        return;
    case '\b':
        buf_lit(to, "\\b");
        return;
    case '\f':
        buf_lit(to, "\\f");
        return;
    case '\n':
        buf_lit(to, "\\n");
        return;
    case '\r':
        buf_lit(to, "\\r");
        return;
    case '\t':
        buf_lit(to, "\\t");
        return;
    default:
        buf_printf(to, "\\u%04x", (unsigned)c);
    }
}

int json_parse_next(struct str *rest, struct json_value *out)
{
    if (rest->n == 0)
        return ERR_NOT_FOUND;
    const char *end = rest->p + rest->n;
    const char *p = skip_space(rest->p, end);
    if (p == end)
        return ERR_NOT_FOUND;
    const char *behind = scan_value(p, end);
    if (!behind)
        return ERR_INVALID;
    struct json_value v = value_at(p, behind);
    if (v.type < JSON_STRING && behind < end && !is_space(*behind))
        return ERR_INVALID;
    *out = v;
    *rest = str_n(behind, (size_t)(end - behind));
    return 0;
}

int json_parse(struct str text, struct json_value *out)
{
    struct json_value v;
    if (json_parse_next(&text, &v) < 0)
        return ERR_INVALID;
    const char *end = text.p + text.n;
    if (skip_space(text.p, end) != end)
        return ERR_INVALID;
    *out = v;
    return 0;
}

struct json_iter json_iter(struct json_value v)
{
    return (struct json_iter){v.raw.p + 1, v.raw.p + v.raw.n - 1, v.type};
}

bool json_next_key(struct json_iter *it, struct str *key, enum json_type *type)
{
    if (it->type != JSON_OBJECT || !step(it))
        return false;
    const char *k = it->p;
    const char *p = skip_string(k + 1, it->end);
    *key = str_n(k, (size_t)(p - k));
    p = skip_space(p, it->end);
    it->p = skip_space(p + 1, it->end); /* the colon */
    *type = type_of(*it->p);
    return true;
}

struct json_value json_take(struct json_iter *it)
{
    const char *p = it->p;
    it->p = skip_value(p, it->end);
    return value_at(p, it->p);
}

struct json_iter json_enter(const struct json_iter *it)
{
    return (struct json_iter){it->p + 1, it->end, type_of(*it->p)};
}

void json_leave(struct json_iter *it, const struct json_iter *inner)
{
    it->p = inner->p + 1; /* inner stopped at its bracket */
}

bool json_next_member(struct json_iter *it, struct str *key,
                      struct json_value *value)
{
    enum json_type type;
    if (!json_next_key(it, key, &type))
        return false;
    *value = json_take(it);
    return true;
}

bool json_next_item(struct json_iter *it, struct json_value *value)
{
    if (it->type != JSON_ARRAY || !step(it))
        return false;
    *value = json_take(it);
    return true;
}

bool json_key_is(struct str key, struct str name)
{
    struct str text = without_quotes(key);
    /* Every escape is longer than what it stands for. */
    if (text.n < name.n)
        return false;
    if (text.n == 0 || !memchr(text.p, '\\', text.n))
        return str_eq(text, name);
    return escaped_equals(text, name);
}

bool json_member(struct json_value object, struct str name,
                 struct json_value *out)
{
    bool found = false;
    struct json_iter it = json_iter(object);
    struct str key;
    struct json_value v;
    while (json_next_member(&it, &key, &v)) {
        if (json_key_is(key, name)) {
            *out = v;
            found = true;
        }
    }
    return found;
}

int json_text(struct json_value v, struct buf *scratch, struct str *out)
{
    if (v.type != JSON_STRING)
        return ERR_INVALID;
    struct str text = without_quotes(v.raw);
    if (!memchr(v.raw.p, '\\', v.raw.n)) {
        *out = text;
        return 0;
    }
    size_t start = scratch->n;
    unescape(scratch, text);
    *out = str_skip(buf_view(scratch), start);
    return 0;
}

int json_u64(struct json_value v, uint64_t *out)
{
    return v.type == JSON_NUMBER ? parse_digits(v.raw, out) : ERR_INVALID;
}

int json_u32(struct json_value v, uint32_t *out)
{
    uint64_t wide;
    if (json_u64(v, &wide) < 0 || wide > UINT32_MAX)
        return ERR_INVALID;
    *out = (uint32_t)wide;
    return 0;
}

int json_i64(struct json_value v, int64_t *out)
{
    if (v.type != JSON_NUMBER)
        return ERR_INVALID;
    bool negative = v.raw.p[0] == '-';
    uint64_t size;
    if (parse_digits(str_skip(v.raw, negative), &size) < 0 ||
        size > (uint64_t)INT64_MAX + negative)
        return ERR_INVALID;
    /* -1 - (size - 1) and not -size: the lowest has no positive twin. */
    *out = negative && size ? -1 - (int64_t)(size - 1) : (int64_t)size;
    return 0;
}

int json_bool(struct json_value v, bool *out)
{
    if (v.type != JSON_TRUE && v.type != JSON_FALSE)
        return ERR_INVALID;
    *out = v.type == JSON_TRUE;
    return 0;
}

void json_compact_newlines(struct buf *to, struct str raw)
{
    if (!memchr(raw.p, '\n', raw.n) && !memchr(raw.p, '\r', raw.n)) {
        buf_str(to, raw);
        return;
    }
    char *at = buf_reserve(to, raw.n);
    for (size_t i = 0; i < raw.n; i++) {
        *at = raw.p[i];
        at += raw.p[i] != '\n' && raw.p[i] != '\r';
    }
    to->n = (size_t)(at - to->p);
}

void json_quote(struct buf *to, struct str text)
{
    buf_reserve(to, text.n + 2);
    buf_char(to, '"');
    while (text.n > 0) {
        const char *end = text.p + text.n;
        size_t plain = (size_t)(skip_plain(text.p, end) - text.p);
        buf_add(to, text.p, plain);
        text = str_skip(text, plain);
        if (text.n == 0)
            break;
        size_t n = utf8_char(text);
        if (n == 0)
            buf_lit(to, REPLACEMENT);
        else if (n == 1)
            quote_ascii(to, text.p[0]);
        else
            buf_add(to, text.p, n);
        text = str_skip(text, n ? n : 1);
    }
    buf_char(to, '"');
}
