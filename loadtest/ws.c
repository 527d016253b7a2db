/* ws.c — subscribers by WebSocket: Centrifuge JSON, nchan, NATS, bare. */
#include "loadtest/dialect.h"
#include "loadtest/frame.h"
#include "loadtest/sha1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPGRADE_KEY "d2Vpci1sb2FkLWtleS0wMQ=="
#define FIRST_FRAME_BYTES 8192

typedef int (*payload_fn)(struct conn *c, const char *p, size_t n);

static bool contains(const char *p, size_t n, const char *text)
{
    return memmem(p, n, text, strlen(text)) != NULL;
}

static int send_frame(struct conn *c, enum frame_op op, const char *p, size_t n)
{
    char wire[FIRST_FRAME_BYTES + FRAME_HEAD_MAX];
    if (n > FIRST_FRAME_BYTES)
        return conn_fail(c, "a frame of %zu bytes to send", n);
    return conn_send(c, wire, frame_write_masked(wire, op, p, n));
}

static size_t write_request(char *out, size_t size, const char *path)
{
    int n = snprintf(out, size,
                     "GET %s HTTP/1.1\r\n"
                     "Host: 127.0.0.1\r\n"
                     "Connection: Upgrade\r\n"
                     "Upgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: " UPGRADE_KEY "\r\n\r\n",
                     path);
    return (size_t)n < size ? (size_t)n : size;
}

static size_t request_weir(const struct conn *c, char *out, size_t size)
{
    (void)c;
    return write_request(out, size, "/connection/websocket");
}

static size_t request_nchan(const struct conn *c, char *out, size_t size)
{
    char path[CHANNEL_NAME_SIZE + 16];
    snprintf(path, sizeof(path), "/sub?id=%s", c->channel->name);
    return write_request(out, size, path);
}

static size_t request_nats(const struct conn *c, char *out, size_t size)
{
    (void)c;
    return write_request(out, size, "/");
}

/* The 101 must carry the right answer to our key. */
static int check_upgrade(struct conn *c, const char *p, size_t n)
{
    static char accept[SHA1_ACCEPT_SIZE]; /* computed once */
    if (accept[0] == '\0')
        sha1_accept(UPGRADE_KEY, sizeof(UPGRADE_KEY) - 1, accept);
    if (n < 12 || memcmp(p, "HTTP/1.1 101", 12) != 0)
        return conn_fail(c, "upgrade: %.*s", dialect_line(p, n), p);
    if (!contains(p, n, accept))
        return conn_fail(c, "upgrade: wrong Sec-WebSocket-Accept");
    return 0;
}

/* The first frame of a Centrifuge client: all commands at once. */
static int subscribe_weir(struct conn *c)
{
    char text[FIRST_FRAME_BYTES];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "{\"connect\":{\"name\":\"load\"},\"id\":1}");
    for (unsigned i = 0; i < c->channel_count && n < sizeof(text); i++) {
        const char *wish = c->channel[i].wish;
        const char *from = c->channel[i].from;
        n += (size_t)snprintf(
            text + n, sizeof(text) - n,
            "\n{\"subscribe\":{\"channel\":\"%s\"%s%s%s%s},\"id\":%u}",
            c->channel[i].name, wish != NULL ? ",\"data\":" : "",
            wish != NULL ? wish : "", from != NULL ? "," : "",
            from != NULL ? from : "", i + 2);
    }
    if (n >= sizeof(text))
        return conn_fail(c, "%u channels in one frame", c->channel_count);
    c->unanswered = c->channel_count;
    c->state = CONN_SUBSCRIBING;
    return send_frame(c, FRAME_TEXT, text, n);
}

/* Assembles a fragmented message in c->part. */
static int add_part(struct conn *c, const char *p, size_t n)
{
    size_t total = c->part_length + n;
    if (total > CONN_CARRY_MAX)
        return conn_fail(c, "a message of more than %zu bytes", CONN_CARRY_MAX);
    char *grown = realloc(c->part, total > 0 ? total : 1);
    if (grown == NULL)
        return conn_fail(c, "out of memory");
    memcpy(grown + c->part_length, p, n);
    c->part = grown;
    c->part_length = (uint32_t)total;
    return 0;
}

static int end_parts(struct conn *c, payload_fn on_payload)
{
    char *whole = c->part;
    size_t n = c->part_length;
    c->part = NULL;
    c->part_length = 0;
    int rc = on_payload(c, whole, n);
    free(whole);
    return rc;
}

static int on_frame(struct conn *c, const struct frame *f,
                    payload_fn on_payload)
{
    const unsigned char *p = (const unsigned char *)f->payload;
    switch (f->op) {
    case FRAME_TEXT:
    case FRAME_BINARY:
        if (f->fin)
            return on_payload(c, f->payload, f->length);
        return add_part(c, f->payload, f->length);
    case FRAME_CONTINUATION:
        if (add_part(c, f->payload, f->length) != 0)
            return -1;
        return f->fin ? end_parts(c, on_payload) : 0;
    case FRAME_PING:
        c->crowd->pings++;
        return send_frame(c, FRAME_PONG, f->payload, f->length);
    case FRAME_PONG:
        return 0;
    case FRAME_CLOSE:
        if (f->length >= 2)
            c->close_code = (uint16_t)(p[0] << 8 | p[1]);
        return conn_fail(c, "closed by the server, code %u %.*s", c->close_code,
                         f->length > 2 ? (int)f->length - 2 : 0,
                         f->length > 2 ? f->payload + 2 : "");
    default:
        return conn_fail(c, "frame with opcode %u", f->op);
    }
}

/* Eats whole frames; returns the bytes used or -1. */
static ssize_t eat_frames(struct conn *c, const char *p, size_t n,
                          payload_fn on_payload)
{
    size_t used = 0;
    while (used < n) {
        struct frame f;
        ssize_t size = frame_read(p + used, n - used, &f);
        if (size == 0)
            break;
        if (size < 0 || f.masked)
            return conn_fail(c, "an illegal frame");
        used += (size_t)size;
        if (on_frame(c, &f, on_payload) != 0 || c->state == CONN_CLOSED)
            return -1;
    }
    return (ssize_t)used;
}

/* Answers every `{}` line of a text frame: the server's pings. */
static int answer_pings(struct conn *c, const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (stop == NULL)
            stop = end;
        if (stop - p == 2 && memcmp(p, "{}", 2) == 0) {
            c->crowd->pings++;
            if (send_frame(c, FRAME_TEXT, "{}", 2) != 0)
                return -1;
        }
        p = stop + 1;
    }
    return 0;
}

/* Commands are answered in any order, some of them in one frame. */
#define ANSWER "\"subscribe\":{"

static int on_weir_reply(struct conn *c, const char *p, size_t n)
{
    if (contains(p, n, "\"error\":"))
        return conn_fail(c, "refused: %.*s", dialect_line(p, n), p);
    const char *end = p + n;
    const char *hit;
    while (c->unanswered > 0 &&
           (hit = memmem(p, (size_t)(end - p), ANSWER, sizeof(ANSWER) - 1))) {
        p = hit + sizeof(ANSWER) - 1;
        if (--c->unanswered == 0)
            conn_live(c);
    }
    return 0;
}

static int on_weir_payload(struct conn *c, const char *p, size_t n)
{
    if (c->state == CONN_SUBSCRIBING && on_weir_reply(c, p, n) != 0)
        return -1;
    bool ping = n >= 2 && (contains(p, n, "\n{}") || memcmp(p, "{}", 2) == 0);
    if (ping && answer_pings(c, p, n) != 0)
        return -1;
    if (conn_count(c, p, n) > 0 || c->state != CONN_LIVE)
        return 0;
    if (contains(p, n, "\"unsubscribe\":") || contains(p, n, "\"error\":"))
        return conn_fail(c, "pushed out: %.*s", dialect_line(p, n), p);
    return 0;
}

static int on_plain_payload(struct conn *c, const char *p, size_t n)
{
    conn_count(c, p, n);
    return 0;
}

/* Whole lines of the NATS protocol; a MSG is followed by its payload, which
 * ends with CR LF too and holds none. */
static int on_nats_lines(struct conn *c, const char *p, size_t n)
{
    char text[FIRST_FRAME_BYTES];
    if (contains(p, n, "-ERR"))
        return conn_fail(c, "nats: %.*s", dialect_line(p, n), p);
    if (n >= 4 && memcmp(p, "INFO", 4) == 0 && c->state == CONN_SUBSCRIBING) {
        int length = snprintf(text, sizeof(text),
                              "CONNECT {\"verbose\":false,\"pedantic\":false,"
                              "\"protocol\":1}\r\nSUB %s 1\r\nPING\r\n",
                              c->channel->name);
        return send_frame(c, FRAME_BINARY, text, (size_t)length);
    }
    if (c->state == CONN_SUBSCRIBING && contains(p, n, "PONG\r\n"))
        conn_live(c);
    if (conn_count(c, p, n) == 0 && contains(p, n, "PING\r\n")) {
        c->crowd->pings++;
        return send_frame(c, FRAME_BINARY, "PONG\r\n", 6);
    }
    return 0;
}

/* NATS frames are a byte stream: a line may go on in the next frame. */
static int on_nats_payload(struct conn *c, const char *p, size_t n)
{
    bool whole = n >= 2 && p[n - 1] == '\n';
    if (c->part_length == 0 && whole)
        return on_nats_lines(c, p, n);
    if (add_part(c, p, n) != 0)
        return -1;
    return whole ? end_parts(c, on_nats_lines) : 0;
}

/* The head of the answer first, then frames. */
static ssize_t eat(struct conn *c, const char *p, size_t n,
                   int (*on_upgraded)(struct conn *c), payload_fn on_payload)
{
    size_t head = 0;
    if (c->state == CONN_UPGRADING) {
        head = dialect_head(p, n);
        if (head == 0)
            return 0;
        if (check_upgrade(c, p, head) != 0 || on_upgraded(c) != 0)
            return -1;
    }
    ssize_t used = eat_frames(c, p + head, n - head, on_payload);
    return used < 0 ? -1 : used + (ssize_t)head;
}

static int go_live(struct conn *c)
{
    conn_live(c);
    return 0;
}

static int await_info(struct conn *c)
{
    c->state = CONN_SUBSCRIBING;
    return 0;
}

static ssize_t eat_weir(struct conn *c, const char *p, size_t n)
{
    return eat(c, p, n, subscribe_weir, on_weir_payload);
}

static ssize_t eat_nchan(struct conn *c, const char *p, size_t n)
{
    return eat(c, p, n, go_live, on_plain_payload);
}

static ssize_t eat_nats(struct conn *c, const char *p, size_t n)
{
    return eat(c, p, n, await_info, on_nats_payload);
}

static void say_close(struct conn *c)
{
    send_frame(c, FRAME_CLOSE, "\x03\xe8", 2);
}

const struct dialect dialect_ws = {
    .name = "ws",
    .request = request_weir,
    .on_bytes = eat_weir,
    .on_leave = say_close,
};

const struct dialect dialect_nchan_ws = {
    .name = "nchan-ws",
    .request = request_nchan,
    .on_bytes = eat_nchan,
    .on_leave = say_close,
};

const struct dialect dialect_nats_ws = {
    .name = "nats-ws",
    .request = request_nats,
    .on_bytes = eat_nats,
    .on_leave = say_close,
};

/* The same reading as a gateway's client, pings and all. */
const struct dialect dialect_bare_ws = {
    .name = "bare-ws",
    .on_bytes = eat_weir,
};
