#include "gateway/transport/frame.h"

#include "base/mem.h"

#define PROTOCOL_ERROR 1002
#define INVALID_PAYLOAD 1007
#define TOO_BIG 1009
#define CONTROL_MAX 125

static bool is_control(uint8_t opcode)
{
    return opcode & 8;
}

static size_t head_size(const uint8_t *head)
{
    unsigned len = head[1] & 0x7f;
    return 6 + (len == 126 ? 2 : len == 127 ? 8 : 0);
}

static uint64_t payload_size(const uint8_t *head)
{
    uint64_t len = head[1] & 0x7f;
    unsigned more = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (more == 0)
        return len;
    len = 0;
    for (unsigned i = 0; i < more; i++)
        len = len << 8 | head[2 + i];
    return len;
}

/* Look at the first two bytes as soon as they are there. */
static int check_start(const struct frame_reader *r)
{
    uint8_t opcode = r->head[0] & 15;
    bool fin = r->head[0] & 0x80;
    if (r->head[0] & 0x70)
        return PROTOCOL_ERROR; /* no extension was negotiated */
    if ((opcode > FRAME_BINARY && opcode < FRAME_CLOSE) || opcode > FRAME_PONG)
        return PROTOCOL_ERROR;
    if (r->head_len < 2)
        return 0;
    if (!(r->head[1] & 0x80))
        return PROTOCOL_ERROR; /* a client must mask */
    if (is_control(opcode))
        return fin && (r->head[1] & 0x7f) <= CONTROL_MAX ? 0 : PROTOCOL_ERROR;
    /* A continuation needs a message, a new message needs none open. */
    return (opcode == FRAME_CONTINUATION) == (r->message != 0) ? 0
                                                               : PROTOCOL_ERROR;
}

/* The head is complete: check lengths, prepare for the payload. */
static int begin_payload(struct frame_reader *r, uint64_t message_max)
{
    uint64_t len = payload_size(r->head);
    unsigned short_len = r->head[1] & 0x7f;
    if ((short_len == 126 && len < 126) || (short_len == 127 && len < 65536) ||
        len >> 63)
        return PROTOCOL_ERROR;
    r->opcode = r->head[0] & 15;
    r->fin = r->head[0] & 0x80;
    r->left = len;
    r->mask_at = 0;
    r->in_payload = true;
    if (is_control(r->opcode))
        return 0;
    if (len > message_max || r->data.n + len > message_max)
        return TOO_BIG;
    if (r->opcode != FRAME_CONTINUATION) {
        r->message = r->opcode;
        utf8_init(&r->utf8);
    }
    return 0;
}

static void unmask(struct frame_reader *r, char *p, size_t n)
{
    const uint8_t *mask = r->head + head_size(r->head) - 4;
    uint8_t key[8];
    for (unsigned i = 0; i < 8; i++)
        key[i] = mask[(r->mask_at + i) & 3];
    size_t i = 0;
    uint64_t wide;
    memcpy(&wide, key, 8);
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        word ^= wide;
        memcpy(p + i, &word, 8);
    }
    for (; i < n; i++)
        p[i] = (char)((uint8_t)p[i] ^ key[i & 7]);
    r->mask_at = (uint8_t)((r->mask_at + n) & 3);
}

static void next_frame(struct frame_reader *r)
{
    r->head_len = 0;
    r->in_payload = false;
}

static int hand_out(struct frame_reader *r, struct str payload, frame_fn fn,
                    void *arg, bool *stop)
{
    enum frame_opcode opcode = is_control(r->opcode) ? r->opcode : r->message;
    if (opcode == FRAME_TEXT && !utf8_done(&r->utf8))
        return INVALID_PAYLOAD;
    if (!is_control(r->opcode))
        r->message = 0;
    *stop = !fn(arg, opcode, payload);
    return 0;
}

/* A piece of payload (maybe empty) that may end its frame. */
static int take_payload(struct frame_reader *r, struct str piece, frame_fn fn,
                        void *arg, bool *stop)
{
    struct buf *into = is_control(r->opcode) ? &r->control : &r->data;
    bool ends = r->left == 0;
    int rc = 0;
    if (!is_control(r->opcode) && r->message == FRAME_TEXT &&
        utf8_feed(&r->utf8, piece.p, piece.n) < 0)
        return INVALID_PAYLOAD;
    if (ends && r->fin && into->n == 0) {
        next_frame(r);
        return hand_out(r, piece, fn, arg, stop);
    }
    buf_str(into, piece);
    if (!ends)
        return 0;
    next_frame(r);
    if (!r->fin)
        return 0;
    rc = hand_out(r, buf_view(into), fn, arg, stop);
    buf_free(into);
    return rc;
}

int frame_read(struct frame_reader *r, char *p, size_t n, uint64_t message_max,
               frame_fn fn, void *arg)
{
    bool stop = false;
    int rc = 0;
    while (!stop && (n || (r->in_payload && r->left == 0))) {
        if (!r->in_payload) {
            r->head[r->head_len++] = (uint8_t)*p++;
            n--;
            rc = r->head_len <= 2 ? check_start(r) : 0;
            if (!rc && r->head_len >= 2 && r->head_len == head_size(r->head))
                rc = begin_payload(r, message_max);
            if (rc)
                return rc;
            continue;
        }
        size_t take = n < r->left ? n : (size_t)r->left;
        unmask(r, p, take);
        r->left -= take;
        rc = take_payload(r, str_n(p, take), fn, arg, &stop);
        if (rc)
            return rc;
        p += take;
        n -= take;
    }
    return 0;
}

void frame_reader_free(struct frame_reader *r)
{
    buf_free(&r->data);
    buf_free(&r->control);
}

static bool is_close_code(uint32_t code)
{
    if (code >= 3000)
        return code < 5000;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

int frame_close_check(struct str payload, uint32_t *code)
{
    *code = 1005;
    if (payload.n == 0)
        return 0;
    if (payload.n == 1)
        return PROTOCOL_ERROR;
    *code = (uint32_t)(uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
    if (!is_close_code(*code))
        return PROTOCOL_ERROR;
    return utf8_valid(str_skip(payload, 2)) ? 0 : INVALID_PAYLOAD;
}
