/* pages.h — the static pages of web.root, read once at start.
 * Why:    what is served is a table of names made at start, so no request
 *         can reach another file.
 * Owns:   the files' bytes. Thread: loaded by main, read by all.
 * Bounds: PAGES_MAX files of PAGES_FILE_MAX bytes; no folders below. */
#ifndef WEIR_GATEWAY_API_PAGES_H
#define WEIR_GATEWAY_API_PAGES_H

#include "base/err.h"
#include "gateway/transport/http.h"

#define PAGES_MAX 256
#define PAGES_FILE_MAX (4u << 20)

struct pages;

/* ERR_SYSTEM or ERR_TOO_BIG with a message in err. */
int pages_load(const char *root, struct pages **out, char *err, size_t errlen)
    MUST_USE;
void pages_free(struct pages *p);

/* Route handler: /name is root/name, / is index.html, /name without a dot
 * is root/name.html. */
void pages_handle(struct http_exchange *x, const struct http_request *r);

#endif
