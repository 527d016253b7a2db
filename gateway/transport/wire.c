#include "gateway/transport/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "gateway/config.h"

size_t wire_ws_head(uint8_t head[WIRE_WS_HEAD_MAX], uint8_t first_byte,
                    size_t payload)
{
    head[0] = first_byte;
    if (payload < 126) {
        head[1] = (uint8_t)payload;
        return 2;
    }
    if (payload < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(payload >> 8);
        head[3] = (uint8_t)payload;
        return 4;
    }
    head[1] = 127;
    for (unsigned i = 0; i < 8; i++)
        head[2 + i] = (uint8_t)((uint64_t)payload >> (56 - 8 * i));
    return 10;
}

size_t wire_ws_begin(struct buf *b)
{
    size_t mark = b->n;
    buf_reserve(b, WIRE_WS_HEAD_MAX);
    b->n += WIRE_WS_HEAD_MAX;
    return mark;
}

void wire_ws_end(struct buf *b, size_t mark)
{
    uint8_t head[WIRE_WS_HEAD_MAX];
    size_t payload = b->n - mark - WIRE_WS_HEAD_MAX;
    size_t n = wire_ws_head(head, WIRE_WS_TEXT, payload);
    memmove(b->p + mark + n, b->p + mark + WIRE_WS_HEAD_MAX, payload);
    memcpy(b->p + mark, head, n);
    b->n = mark + n + payload;
}

void wire_ws_frame(struct buf *b, uint8_t first_byte, struct str payload)
{
    uint8_t head[WIRE_WS_HEAD_MAX];
    buf_add(b, head, wire_ws_head(head, first_byte, payload.n));
    buf_str(b, payload);
}

/* Bytes taken, 0 for none now, -1 when the connection is broken. */
static ssize_t try_send(int fd, const char *p, size_t n)
{
    ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == -1 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return sent;
}

enum write_result wire_send(int fd, struct buf *out, const char *p, size_t n)
{
    ssize_t sent = out->n ? 0 : try_send(fd, p, n);
    if (sent == (ssize_t)n)
        return WRITE_DONE;
    if (sent == -1)
        return WRITE_DEAD;
    buf_add(out, p + sent, n - (size_t)sent);
    return WRITE_CHOKED;
}

void wire_keep_late(int fd, const struct config *cfg)
{
    int bytes = (int)cfg->throttle.notsent_lowat;
    if (bytes == 0)
        return;
    /* Fails on what is no TCP socket, which does not need it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

enum write_result wire_drain(int fd, struct buf *out)
{
    ssize_t sent = out->n ? try_send(fd, out->p, out->n) : 0;
    if (sent == -1)
        return WRITE_DEAD;
    if (sent)
        buf_consume(out, (size_t)sent);
    if (out->n)
        return WRITE_CHOKED;
    buf_free(out);
    return WRITE_DONE;
}
