#include "gateway/protocol/event_id.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gateway/auth/base64.h"

#define WORD_BYTES 6 /* a name, an epoch */
#define VARINT_MAX_BYTES 10
#define ENTRY_MAX_BYTES (2 * WORD_BYTES + VARINT_MAX_BYTES)
#define MANY_MAX_BYTES (1 + EVENT_ID_MAX_CHANNELS * ENTRY_MAX_BYTES)

_Static_assert(1 + (MANY_MAX_BYTES * 4 + 2) / 3 <= EVENT_ID_MAX_BYTES,
               "the longest id fits");
_Static_assert(EVENT_ID_MAX_CHANNELS <= UINT8_MAX, "the count is a byte");

uint64_t event_id_name(struct str channel)
{
    return XXH3_64bits(channel.p, channel.n) & EVENT_ID_NAME_MAX;
}

void event_id_add_one(struct buf *to, struct position p)
{
    to->n += event_id_write_one(buf_reserve(to, EVENT_ID_ONE_MAX_BYTES), p);
}

/* --- of several ----------------------------------------------------------- */

static bool is_named(const struct event_id_entry *entries, size_t count,
                     uint64_t name)
{
    for (size_t i = 0; i < count; i++)
        if (entries[i].name == name)
            return true;
    return false;
}

/* Of both directions: may the next entry stand behind these? */
static bool may_follow(const struct event_id_entry *entries, size_t count)
{
    const struct event_id_entry *e = &entries[count];
    return e->name <= EVENT_ID_NAME_MAX && e->position.epoch > 0 &&
           e->position.epoch <= POSITION_EPOCH_MAX &&
           !is_named(entries, count, e->name);
}

static uint8_t *write_word(uint8_t *to, uint64_t v)
{
    for (int i = 0; i < WORD_BYTES; i++, v >>= 8)
        *to++ = (uint8_t)v;
    return to;
}

static uint8_t *write_varint(uint8_t *to, uint64_t v)
{
    for (; v > 0x7f; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

static int read_word(struct str *from, uint64_t *out)
{
    uint64_t v = 0;
    if (from->n < WORD_BYTES)
        return ERR_INVALID;
    for (int i = WORD_BYTES; i-- > 0;)
        v = v << 8 | (uint8_t)from->p[i];
    *from = str_skip(*from, WORD_BYTES);
    *out = v;
    return 0;
}

static int read_varint(struct str *from, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < from->n && i < VARINT_MAX_BYTES; i++) {
        uint8_t byte = (uint8_t)from->p[i];
        if (i == VARINT_MAX_BYTES - 1 && byte > 1) /* 64 bits are full */
            return ERR_INVALID;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        if (byte == 0 && i > 0) /* a shorter one says the same */
            return ERR_INVALID;
        *from = str_skip(*from, i + 1);
        *out = v;
        return 0;
    }
    return ERR_INVALID;
}

int event_id_add_many(struct buf *to, const struct event_id_entry *entries,
                      size_t count)
{
    uint8_t bytes[MANY_MAX_BYTES];
    uint8_t *at = bytes;
    if (count == 0 || count > EVENT_ID_MAX_CHANNELS)
        return ERR_INVALID;
    *at++ = (uint8_t)count;
    for (size_t i = 0; i < count; i++) {
        if (!may_follow(entries, i))
            return ERR_INVALID;
        at = write_word(at, entries[i].name);
        at = write_word(at, entries[i].position.epoch);
        at = write_varint(at, entries[i].position.offset);
    }
    buf_char(to, '~');
    base64url_encode(to, str_n(bytes, (size_t)(at - bytes)));
    return 0;
}

static int parse_entries(struct str bytes, struct event_id *id)
{
    if (bytes.n == 0)
        return ERR_INVALID;
    id->count = (uint8_t)bytes.p[0];
    bytes = str_skip(bytes, 1);
    if (id->count == 0 || id->count > EVENT_ID_MAX_CHANNELS)
        return ERR_INVALID;
    for (size_t i = 0; i < id->count; i++) {
        struct event_id_entry *e = &id->entries[i];
        if (read_word(&bytes, &e->name) < 0 ||
            read_word(&bytes, &e->position.epoch) < 0 ||
            read_varint(&bytes, &e->position.offset) < 0 ||
            !may_follow(id->entries, i))
            return ERR_INVALID;
    }
    return bytes.n == 0 ? 0 : ERR_INVALID;
}

static int parse_many(struct str text, struct event_id *id)
{
    struct buf bytes = BUF_INIT;
    int rc = base64url_decode(&bytes, text);
    if (rc == 0)
        rc = parse_entries(buf_view(&bytes), id);
    buf_free(&bytes);
    return rc;
}

/* --- of one --------------------------------------------------------------- */

static int parse_offset(struct str text, uint64_t *out)
{
    uint64_t v = 0;
    if (text.n == 0 || (text.p[0] == '0' && text.n > 1))
        return ERR_INVALID;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)(unsigned char)text.p[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return ERR_INVALID;
        v = v * 10 + digit;
    }
    *out = v;
    return 0;
}

static int parse_one(struct str text, struct event_id *id)
{
    struct position *p = &id->entries[0].position;
    id->entries[0].name = 0;
    id->count = 1;
    if (text.n <= POSITION_EPOCH_LEN || text.p[POSITION_EPOCH_LEN] != ':')
        return ERR_INVALID;
    int rc = position_epoch_parse(str_n(text.p, POSITION_EPOCH_LEN), &p->epoch);
    if (rc < 0)
        return rc;
    return parse_offset(str_skip(text, POSITION_EPOCH_LEN + 1), &p->offset);
}

int event_id_parse(struct str text, struct event_id *out)
{
    struct event_id id;
    if (text.n == 0 || text.n > EVENT_ID_MAX_BYTES)
        return ERR_INVALID;
    id.kind = text.p[0] == '~' ? EVENT_ID_MANY : EVENT_ID_ONE;
    int rc = id.kind == EVENT_ID_MANY ? parse_many(str_skip(text, 1), &id)
                                      : parse_one(text, &id);
    if (rc < 0)
        return rc;
    out->kind = id.kind;
    out->count = id.count;
    memcpy(out->entries, id.entries, id.count * sizeof(id.entries[0]));
    return 0;
}

const struct position *event_id_find(const struct event_id *id, uint64_t name)
{
    if (id->kind != EVENT_ID_MANY)
        return NULL;
    for (size_t i = 0; i < id->count; i++)
        if (id->entries[i].name == name)
            return &id->entries[i].position;
    return NULL;
}
