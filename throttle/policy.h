/* policy.h — what a namespace says about how much, and what a client gets.
 *
 *     namespace: latest, 20/s     client wants 7/s     granted: latest, 5/s
 *
 * Why:    one place decides; the answer is what the client is told.
 *         Rates are millihertz: deliveries in 1,000 s, so that 0.2/s is an
 *         integer. 0 is no limit.
 * Owns:   nothing. Thread: any; a policy is read-only after start.
 * Uses:   base/err, base/str. */
#ifndef WEIR_THROTTLE_POLICY_H
#define WEIR_THROTTLE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum throttle_mode {
    THROTTLE_ALL,    /* every publication */
    THROTTLE_LATEST, /* the newest of each item */
    THROTTLE_MERGE,  /* the same, of states merged from patches */
    THROTTLE_MODES,
};

/* What happens when a client's socket does not take what it should get. */
enum throttle_on_full {
    THROTTLE_DISCONNECT,  /* close 3008 when its queue is full */
    THROTTLE_CONFLATE,    /* newest per item, when it can be taken */
    THROTTLE_DROP_OLDEST, /* the newest `buffer` publications; loss is told */
};

struct throttle_policy {
    uint8_t mode;           /* enum throttle_mode */
    uint8_t on_full;        /* enum throttle_on_full */
    bool allow_client_rate; /* clients may ask for less */
    bool annotate;          /* tags n and age_ms on deliveries */
    uint32_t rate;          /* millihertz a client and item; 0: no limit */
    uint32_t buffer;        /* publications that may wait (DROP_OLDEST) */
    uint32_t snapshot;      /* 0 none, 1 last of each item, N last N */
    uint32_t bandwidth;     /* bytes a second and client; 0: no limit */
    uint32_t order_group;   /* 0: each channel by itself; else shared by all
                             * policies with this number */
    struct str key;         /* borrowed: JSON pointer; empty: no items */
};

/* Every publication, or 3008. */
extern const struct throttle_policy throttle_plain;

/* What a client asked for; what it did not mention is the namespace's. */
struct throttle_request {
    bool has_rate;
    bool has_mode;
    uint8_t mode; /* enum throttle_mode */
    uint32_t rate;
};

struct throttle_grant {
    uint8_t mode; /* enum throttle_mode */
    uint32_t rate;
};

/* Every publication, or 3008, with nothing to tell and no order to keep with
 * other channels: the hub needs no throttled lane for that. */
bool throttle_is_plain(const struct throttle_policy *p,
                       struct throttle_grant grant);

/* A wish is rounded down to one of the class rates, and never gives more than
 * the namespace has; it is never refused. Mode `all` has no rate, and only a
 * wish for `latest` changes it. */
struct throttle_grant throttle_decide(const struct throttle_policy *p,
                                      const struct throttle_request *request);

/* "all", "latest", "merge". */
struct str throttle_mode_name(enum throttle_mode mode);
/* ERR_NOT_FOUND for other words. */
MUST_USE int throttle_mode_parse(struct str name, enum throttle_mode *out);

/* Read a rate as a JSON number without sign: "5", "0.2", "1e1". Three decimals
 * count, more are cut; positive ones below a millihertz become 1, those above
 * THROTTLE_RATE_MAX become that: asking for too much is no error.
 * ERR_INVALID if it is no such number. */
#define THROTTLE_RATE_MAX 1000000u /* 1,000/s in millihertz */
MUST_USE int throttle_rate_parse(struct str text, uint32_t *out);
/* "5", "0.2": what throttle_rate_parse reads. Terminated; returns the
 * length. */
#define THROTTLE_RATE_TEXT 16
size_t throttle_rate_format(uint32_t rate, char to[THROTTLE_RATE_TEXT]);

/* The time between two ticks, rounded up so that no second has more than
 * `rate` of them; 0 without limit. */
uint64_t throttle_interval_ns(uint32_t rate);
/* The first tick after now_ns. Ticks of one rate and phase are a grid, so
 * what shares them can share its batches; `phase` is any hash. rate != 0. */
uint64_t throttle_next_tick(uint32_t rate, uint32_t phase, uint64_t now_ns);

/* Rates by class: row 0 is no limit, row i > 0 has throttle_class_rate(i). A
 * rate is in the row of the greatest one not above it, or in row 1. */
#define THROTTLE_CLASSES 11
unsigned throttle_class(uint32_t rate);
uint32_t throttle_class_rate(unsigned row);

#endif
