#include "loadtest/stamp.h"

#include <string.h>

static void write_hex(char *out, uint64_t v, size_t digits)
{
    while (digits-- > 0) {
        out[digits] = "0123456789abcdef"[v & 15];
        v >>= 4;
    }
}

/* Reads hexadecimal digits; sets bit 8 of *bad on any other character. */
static uint64_t read_hex(const char *p, size_t digits, unsigned *bad)
{
    uint64_t v = 0;
    for (size_t i = 0; i < digits; i++) {
        unsigned c = (unsigned char)p[i];
        unsigned d = c - '0';
        if (d > 9) {
            d = (c | 0x20) - 'a' + 10;
            if (d < 10 || d > 15)
                *bad |= 0x100;
        }
        v = v << 4 | (d & 15);
    }
    return v;
}

void stamp_write(char *out, const struct stamp *s)
{
    write_hex(out, s->seq, 12);
    write_hex(out + 12, s->time_ns, 16);
    write_hex(out + 28, s->channel, 4);
}

/* Everything after the opening bracket. */
static void write_members(char *out, size_t size, const struct stamp *s)
{
    static const char middle[] = "\",\"pad\":\"";
    const size_t head = STAMP_KEY_BYTES;
    memcpy(out, STAMP_KEY, head);
    stamp_write(out + head, s);
    memcpy(out + head + STAMP_BYTES, middle, sizeof(middle) - 1);
    size_t used = head + STAMP_BYTES + sizeof(middle) - 1;
    memset(out + used, 'x', size - used - 2);
    memcpy(out + size - 2, "\"}", 2);
}

void stamp_payload(char *out, size_t size, const struct stamp *s)
{
    out[0] = '{';
    write_members(out + 1, size - 1, s);
}

void stamp_item_payload(char *out, size_t size, const struct stamp *s)
{
    static const char key[] = "{\"k\":\"0000\",";
    const size_t n = sizeof(key) - 1;
    memcpy(out, key, n);
    write_hex(out + 6, s->channel, 4);
    write_members(out + n, size - n, s);
}

const char *stamp_find(const char *p, size_t n)
{
    const char *hit = memmem(p, n, STAMP_KEY, STAMP_KEY_BYTES);
    if (hit == NULL)
        return NULL;
    hit += STAMP_KEY_BYTES;
    return (size_t)(p + n - hit) >= STAMP_BYTES ? hit : NULL;
}

int stamp_read(const char *p, struct stamp *s)
{
    unsigned bad = 0;
    s->seq = read_hex(p, 12, &bad);
    s->time_ns = read_hex(p + 12, 16, &bad);
    s->channel = (uint16_t)read_hex(p + 28, 4, &bad);
    return bad == 0 ? 0 : -1;
}

void tally_start(struct tally *t, uint64_t seq)
{
    t->last = seq;
    t->window = ~(uint64_t)0;
}

void tally_see(struct tally *t, uint64_t seq, struct losses *sum)
{
    if (seq > t->last) {
        uint64_t step = seq - t->last;
        sum->missing += step - 1;
        t->window = step < 64 ? t->window << step | 1 : 1;
        t->last = seq;
        return;
    }
    uint64_t age = t->last - seq;
    if (age >= 64 || (t->window >> age & 1) != 0) {
        sum->duplicate++;
        return;
    }
    t->window |= (uint64_t)1 << age;
    sum->reordered++;
    sum->missing--;
}

void tally_end(struct tally *t, uint64_t seq, struct losses *sum)
{
    if (seq > t->last)
        sum->missing += seq - t->last;
    t->last = seq;
}
