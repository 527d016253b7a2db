/* sse.c — subscribers by Server-Sent Events: weir, nchan, bare. */
#include "loadtest/dialect.h"

#include <stdio.h>
#include <string.h>

static size_t write_request(char *out, size_t size, const char *path,
                            const char *channel)
{
    int n = snprintf(out, size,
                     "GET %s%s HTTP/1.1\r\n"
                     "Host: 127.0.0.1\r\n"
                     "Accept: text/event-stream\r\n\r\n",
                     path, channel);
    return (size_t)n < size ? (size_t)n : size;
}

static size_t request_weir(const struct conn *c, char *out, size_t size)
{
    return write_request(out, size, "/sse?channel=", c->channel->name);
}

static size_t request_nchan(const struct conn *c, char *out, size_t size)
{
    return write_request(out, size, "/sub?id=", c->channel->name);
}

static int check_head(struct conn *c, const char *p, size_t n)
{
    if (n < 12 || memcmp(p, "HTTP/1.1 200", 12) != 0)
        return conn_fail(c, "stream: %.*s", dialect_line(p, n), p);
    if (memmem(p, n, "text/event-stream", 17) == NULL)
        return conn_fail(c, "stream: not text/event-stream");
    conn_live(c);
    return 0;
}

/* Lines without a stamp: comments keep the stream alive, `event: disconnect`
 * ends it. */
static int on_other_lines(struct conn *c, const char *p, size_t n)
{
    if (memmem(p, n, "event: disconnect", 17) != NULL)
        return conn_fail(c, "stream ended by the server");
    if (p[0] == ':')
        c->crowd->pings++;
    return 0;
}

/* A message never crosses a line, so whole lines are whole messages, chunked
 * or not. */
static ssize_t eat(struct conn *c, const char *p, size_t n)
{
    size_t head = 0;
    if (c->state == CONN_UPGRADING) {
        head = dialect_head(p, n);
        if (head == 0)
            return 0;
        if (check_head(c, p, head) != 0)
            return -1;
    }
    const char *body = p + head;
    const char *last = memrchr(body, '\n', n - head);
    if (last == NULL)
        return (ssize_t)head;
    size_t length = (size_t)(last - body) + 1;
    if (conn_count(c, body, length) == 0 &&
        on_other_lines(c, body, length) != 0)
        return -1;
    return (ssize_t)(head + length);
}

const struct dialect dialect_sse = {
    .name = "sse",
    .request = request_weir,
    .on_bytes = eat,
};

const struct dialect dialect_nchan_sse = {
    .name = "nchan-sse",
    .request = request_nchan,
    .on_bytes = eat,
};

const struct dialect dialect_bare_sse = {
    .name = "bare-sse",
    .on_bytes = eat,
};
