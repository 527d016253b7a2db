/* hostfeed_ticker.h — invented quotes that never rest, and JSON of them.
 * Why:    the ticker page needs a feed that is much faster than a screen:
 *         every symbol changes with every beat.
 * Owns:   the prices. Thread: one (they are static).
 * Bounds: TICKER_SYMBOLS quotes a beat.
 * Uses:   libc, hostfeed_text. */
#ifndef HOSTFEED_TICKER_H
#define HOSTFEED_TICKER_H

#include "examples/hostfeed_text.h"

#define TICKER_SYMBOLS 12

const char *ticker_channel(void); /* its name in its namespace: "quotes" */

void ticker_step(void); /* moves every price a little */

/* Appends one JSON object, the quote of symbol `i`:
 *   {"t":ms,"symbol":"ELBE","price":104.27,"open":103.50,"seq":17}
 * where t is Unix time, open the price at the start and seq the number of the
 * beat: from one delivery to the next it grows by what was skipped plus 1. */
void ticker_write(struct text *t, int i, unsigned seq);

#endif
