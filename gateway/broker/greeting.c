#include "gateway/broker/greeting.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/protocol/json.h"

#define LEAD "INFO "

int greeting_parse(struct str line, uint32_t *version)
{
    struct json_value info;
    struct json_value v;
    struct str lead = str_of(LEAD);
    char text[32];
    unsigned major;
    unsigned minor;
    unsigned patch;
    if (!str_starts(line, lead) ||
        json_parse(str_skip(line, lead.n), &info) < 0 ||
        !json_member(info, str_of("version"), &v) || v.type != JSON_STRING ||
        v.raw.n >= sizeof(text))
        return ERR_SYSTEM;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(v.raw));
    if (sscanf(text, "\"%3u.%3u.%3u", &major, &minor, &patch) != 3)
        return ERR_SYSTEM;
    *version = GREETING_VERSION(major, minor, patch);
    return 0;
}

/* nats://user:password@host:port; IPv6 in brackets. */
static int split_url(const char *url, char host[256], char port[8])
{
    const char *scheme = strstr(url, "://");
    const char *from = scheme ? scheme + 3 : url;
    const char *at = strrchr(from, '@');
    from = at ? at + 1 : from;
    const char *colon = strrchr(from, ':');
    if (!colon || strlen(colon + 1) >= 8)
        return ERR_SYSTEM;
    struct str h = str_n(from, (size_t)(colon - from));
    if (h.n >= 2 && h.p[0] == '[')
        h = str_n(h.p + 1, h.n - 2);
    if (h.n == 0 || h.n >= 256)
        return ERR_SYSTEM;
    snprintf(host, 256, "%.*s", STR_ARG(h));
    snprintf(port, 8, "%s", colon + 1);
    return 0;
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct timeval wait = {.tv_sec = GREETING_WAIT_MS / 1000};
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return -1;
    for (struct addrinfo *a = list; a && fd == -1; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd == -1)
            continue;
        /* On Linux it bounds connect, too. */
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        if (connect(fd, a->ai_addr, a->ai_addrlen) == -1) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* Without the line's end; ERR_SYSTEM when there is none. */
static int read_line(int fd, char *to, size_t size, struct str *line)
{
    size_t n = 0;
    while (n < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, GREETING_WAIT_MS) != 1)
            return ERR_SYSTEM;
        ssize_t got = recv(fd, to + n, size - n, 0);
        if (got <= 0)
            return ERR_SYSTEM;
        n += (size_t)got;
        const char *end = memchr(to, '\r', n);
        if (end) {
            *line = str_n(to, (size_t)(end - to));
            return 0;
        }
    }
    return ERR_SYSTEM;
}

int greeting_version(const char *url, uint32_t *version)
{
    char host[256];
    char port[8];
    char bytes[GREETING_MAX_BYTES];
    struct str line;
    if (split_url(url, host, port) < 0)
        return ERR_SYSTEM;
    int fd = dial(host, port);
    if (fd == -1)
        return ERR_SYSTEM;
    int rc = read_line(fd, bytes, sizeof(bytes), &line);
    if (rc == 0)
        rc = greeting_parse(line, version);
    close(fd);
    return rc;
}
