/* acceptor.c — the bare accept server: the least a server can do to upgrade a
 * connection and answer connect and subscribe. See bare.h. */
#include "loadtest/bare.h"
#include "loadtest/dialect.h"
#include "loadtest/frame.h"
#include "loadtest/sha1.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 4096
#define EVENTS 256
#define FD_MAX 32768

/* One byte per descriptor: has it been upgraded? */
static bool upgraded[FD_MAX];

/* What a first frame is answered with. */
static char default_answer[512];
static const char *answer = default_answer;
static size_t answer_length;

static void accept_all(int epfd, int listener)
{
    const int on = 1;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) !=
           -1) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        if (fd >= FD_MAX) {
            close(fd);
            continue;
        }
        upgraded[fd] = false;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    }
}

/* Value of Sec-WebSocket-Key; its length in *n, NULL when there is none. */
static const char *find_key(const char *p, size_t size, size_t *n)
{
    static const char name[] = "\r\nSec-WebSocket-Key: ";
    const char *hit = memmem(p, size, name, sizeof(name) - 1);
    if (hit == NULL)
        return NULL;
    hit += sizeof(name) - 1;
    const char *end = memchr(hit, '\r', (size_t)(p + size - hit));
    if (end == NULL)
        return NULL;
    *n = (size_t)(end - hit);
    return hit;
}

static int answer_upgrade(int fd, const char *p, size_t n)
{
    char accept[SHA1_ACCEPT_SIZE];
    char out[256];
    size_t key_length;
    const char *key = find_key(p, n, &key_length);
    if (dialect_head(p, n) == 0 || key == NULL)
        return -1;
    sha1_accept(key, key_length, accept);
    int length = snprintf(out, sizeof(out),
                          "HTTP/1.1 101 Switching Protocols\r\n"
                          "Upgrade: websocket\r\n"
                          "Connection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n",
                          accept);
    upgraded[fd] = true;
    return send(fd, out, (size_t)length, MSG_NOSIGNAL) == length ? 0 : -1;
}

/* As a gateway would, joined in one frame. */
static void make_answer(void)
{
    static const char reply[] =
        "{\"id\":1,\"connect\":{\"client\":"
        "\"bb568376-5b93-4478-95b6-98f3d2269b29\",\"version\":\"bare 0.1\","
        "\"ping\":25,\"pong\":true}}\n{\"id\":2,\"subscribe\":{}}";
    size_t head =
        frame_write_head(default_answer, FRAME_TEXT, sizeof(reply) - 1);
    memcpy(default_answer + head, reply, sizeof(reply) - 1);
    answer_length = head + sizeof(reply) - 1;
}

/* A reader that is behind is waited for: what one send() does not take is
 * rare. */
static int send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        struct pollfd w = {.fd = fd, .events = POLLOUT};
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put == (ssize_t)n)
            return 0;
        if (put > 0) {
            p += put;
            n -= (size_t)put;
        }
        if (poll(&w, 1, 1000) != 1 || (w.revents & POLLOUT) == 0)
            return -1;
    }
    return 0;
}

static int answer_frame(int fd, const char *p, size_t n)
{
    char text[READ_BYTES];
    struct frame f;
    if (frame_read(p, n, &f) <= 0 || !f.masked || f.op == FRAME_CLOSE)
        return -1;
    frame_unmask(text, f.payload, f.length, f.key);
    if (memmem(text, f.length, "\"subscribe\"", 11) == NULL)
        return -1;
    return send_all(fd, answer, answer_length);
}

static void serve(int fd)
{
    char in[READ_BYTES];
    ssize_t n = recv(fd, in, sizeof(in), 0);
    int rc = -1;
    if (n > 0)
        rc = upgraded[fd] ? answer_frame(fd, in, (size_t)n)
                          : answer_upgrade(fd, in, (size_t)n);
    if (rc != 0)
        close(fd);
}

void bare_acceptor_main(int listener, const char *reply, size_t length)
{
    struct epoll_event events[EVENTS];
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    answer = length > 0 ? reply : default_answer;
    answer_length = length;
    if (length == 0)
        make_answer();
    fcntl(listener, F_SETFL, O_NONBLOCK);
    if (epfd == -1 || epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e) == -1)
        _exit(1);
    for (;;) {
        int n = epoll_wait(epfd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(epfd, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
