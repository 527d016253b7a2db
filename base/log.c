#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define QUOTE_SLOTS 8
#define QUOTE_MAX 200

static _Atomic int current_level = LOG_INFO;

static const char *const level_names[] = {"none", "error", "warn", "info",
                                          "debug"};

void log_set_level(enum log_level level)
{
    current_level = (int)level;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= current_level;
}

static size_t put_head(char *line, enum log_level level, const char *event)
{
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    int n = snprintf(
        line, LOG_LINE_MAX,
        "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s event=%s ",
        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
        tm.tm_sec, ts.tv_nsec / 1000000, level_names[level], event);
    return n < LOG_LINE_MAX ? (size_t)n : LOG_LINE_MAX - 1;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    static _Thread_local char line[LOG_LINE_MAX + 1];
    if (!log_enabled(level))
        return;
    size_t n = put_head(line, level, event);
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + n, LOG_LINE_MAX - n, fmt, ap);
    va_end(ap);
    if (more > 0)
        n += (size_t)more;
    if (n > LOG_LINE_MAX - 1)
        n = LOG_LINE_MAX - 1;
    while (n && line[n - 1] == ' ')
        n--;
    line[n++] = '\n';
    ssize_t rc = write(STDERR_FILENO, line, n);
    (void)rc; /* A log that cannot be written has nowhere to complain. */
}

static size_t quote_byte(char *to, unsigned char c)
{
    if (c == '"' || c == '\\') {
        to[0] = '\\';
        to[1] = (char)c;
        return 2;
    }
    if (c >= 0x20 && c != 0x7f) {
        to[0] = (char)c;
        return 1;
    }
    return (size_t)sprintf(to, "\\x%02x", c);
}

const char *log_quote(struct str value)
{
    static _Thread_local char slots[QUOTE_SLOTS][QUOTE_MAX * 4 + 8];
    static _Thread_local unsigned next;
    char *slot = slots[next++ % QUOTE_SLOTS];
    size_t at = 0;
    slot[at++] = '"';
    for (size_t i = 0; i < value.n && i < QUOTE_MAX; i++)
        at += quote_byte(slot + at, (unsigned char)value.p[i]);
    slot[at++] = '"';
    slot[at] = '\0';
    return slot;
}

bool log_limit_pass(struct log_limit *l, uint64_t now_ns, uint64_t *missed)
{
    uint64_t next = l->next_ns;
    if (now_ns < next ||
        !__atomic_compare_exchange_n((uint64_t *)&l->next_ns, &next,
                                     now_ns + 1000000000u, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        l->swallowed++;
        return false;
    }
    *missed =
        __atomic_exchange_n((uint64_t *)&l->swallowed, 0, __ATOMIC_RELAXED);
    return true;
}
