/* log.h — one logfmt line per event on stderr.
 *
 *     ts=2026-11-21T01:40:00.123Z level=info event=listen port=8000 shards=2
 *
 * Why:    an operator greps event names; they are constant strings and API.
 *         Nothing is logged per message; never a payload, a key or a token.
 * Owns:   a per-thread line buffer. Thread: any (one write(2) per line).
 * Bounds: LOG_LINE_MAX bytes a line, longer ones are cut.
 * Uses:   libc. */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define LOG_LINE_MAX 2048

enum log_level { LOG_NONE, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Set once before threads start. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* `fmt` makes `key=value` pairs; values that may hold anything go through
 * log_quote. Cheap when the level is off. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_event(LOG_DEBUG, event, __VA_ARGS__)

/* The value in double quotes, quotes and control bytes escaped, at most 200
 * bytes of it. The text lives until the same thread's eighth next call. */
const char *log_quote(struct str value);

/* Rate limit for repeated events: true at most once a second; *missed says
 * how many were swallowed before this one. */
struct log_limit {
    _Atomic uint64_t next_ns;
    _Atomic uint64_t swallowed;
};
bool log_limit_pass(struct log_limit *l, uint64_t now_ns, uint64_t *missed);

#endif
