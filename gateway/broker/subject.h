/* subject.h — which NATS subject a channel is, and back.
 *
 *     space          channel              subject
 *     (no namespace) caf\xC3\xA9              weir.pub._.caf=C3=A9
 *     news           news:eu.politics     weir.pub.news.eu.politics
 *     quotes, with   quotes:eur.usd       market.quotes.eur.usd
 *       subject "market.quotes"
 *
 *     news, what its stream republishes     weir.live.news.eu.politics
 *
 * A space is one namespace's part of the subjects. Escaping is hub/channel's
 * in every space, foreign ones too: a subject of a foreign feed whose tokens
 * hold bytes outside [A-Za-z0-9_-] in any form but =XX is no channel. So a
 * channel has exactly one subject and a subject at most one channel.
 *
 * Why:    the bus needs subjects, everything else channels; nobody else maps.
 * Owns:   the prefixes. Borrows: the config. Thread: read-only after init.
 * Bounds: SUBJECT_MAX_BYTES; channel.max_length.
 * Uses:   base/, hub/channel, gateway/config. */
#ifndef WEIR_GATEWAY_BROKER_SUBJECT_H
#define WEIR_GATEWAY_BROKER_SUBJECT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "gateway/config.h"

/* nats-server refuses control lines of 4,096 bytes; a line holds more than
 * the subject. */
#define SUBJECT_MAX_BYTES 1023

struct subject_space {
    const struct namespace_options *ns; /* borrowed: the config */
    struct str name;                    /* borrowed: ns->name */
    struct str prefix; /* owned: "weir.pub.news." with a NUL behind it */
    struct str live;   /* owned: "weir.live.news." with a NUL behind it; empty:
                      * the namespace has no history */
};

struct subject_map {
    const struct config *cfg;     /* borrowed: outlives the map */
    struct subject_space *spaces; /* owned; the last is without namespace */
    size_t count;
};

void subject_map_init(struct subject_map *m, const struct config *cfg);
void subject_map_fini(struct subject_map *m);

/* The space of a channel or pattern; NULL when the name is malformed or its
 * namespace unknown. */
struct subject_space *subject_find(const struct subject_map *m,
                                   struct str channel);

/* Append the subject to publish a channel of this space on, and a NUL that
 * is not counted. ERR_TOO_BIG over SUBJECT_MAX_BYTES; nothing is appended. */
int subject_of(const struct subject_space *s, struct str channel,
               struct buf *to) MUST_USE;
/* The same for the one SUB that feeds the channel: its own subject, or the
 * whole space ("weir.pub.news.>") where patterns are allowed. */
int subject_of_feed(const struct subject_space *s, struct str channel,
                    struct buf *to) MUST_USE;

/* A subject of this space (its SUB too) as its stream republishes it. The space
 * has history. */
int subject_to_live(const struct subject_space *s, struct str subject,
                    struct buf *to) MUST_USE;
/* Did it arrive as the stream republishes it? */
bool subject_is_live(const struct subject_space *s, struct str subject);

/* Append the channel that `subject`, which arrived in this space, names.
 * ERR_INVALID, and nothing appended, when it names none: outside the space,
 * not an escaped form, not UTF-8, longer than max_length, or not what the
 * space's channel_regex (without one: ASCII) lets a client name. */
int subject_channel(const struct subject_space *s, struct str subject,
                    size_t max_length, struct buf *to) MUST_USE;

#endif
