/* events.h — the bytes of an event stream, cut into events as a browser does.
 *
 *     id: k3Xq_a0Z:17\ndata: 1\n\n      kind "", id "k3Xq_a0Z:17", data "1"
 *     : ping\n\n                        an event without data: nobody hears it
 *
 * Owns:   nothing: slices of the text. Thread: any. Uses: base/. */
#ifndef WEIR_TESTS_KIT_EVENTS_H
#define WEIR_TESTS_KIT_EVENTS_H

#include <stdbool.h>

#include "base/buf.h"

struct events_event {
    struct str kind; /* "": message */
    struct str id;   /* without: "" */
    struct str data; /* of one line; without: "" */
    size_t end;      /* where the event ends in the text */
    unsigned ids;    /* lines of that name */
    unsigned datas;
};

/* The next whole event of `text` from *at on, which moves behind it; false if
 * there is none. CHECKs that every line is one a stream may have. */
bool events_next(struct str text, size_t *at, struct events_event *e);

#endif
