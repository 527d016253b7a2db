/* hostfeed_ticker.c — see hostfeed_ticker.h. */
#include "examples/hostfeed_ticker.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* Rivers: nobody takes them for shares. */
static struct quote {
    const char *symbol;
    double open;
    double price;
} quotes[TICKER_SYMBOLS] = {
    {.symbol = "AARE", .open = 88.20},  {.symbol = "DRAU", .open = 61.75},
    {.symbol = "EBRO", .open = 104.40}, {.symbol = "ELBE", .open = 127.30},
    {.symbol = "INN", .open = 73.10},   {.symbol = "ISAR", .open = 95.65},
    {.symbol = "LECH", .open = 42.90},  {.symbol = "MAIN", .open = 118.05},
    {.symbol = "NILE", .open = 249.80}, {.symbol = "ODER", .open = 57.45},
    {.symbol = "RUHR", .open = 81.60},  {.symbol = "SAAR", .open = 66.35},
};

static const double step_share = 0.0004; /* of the price, at most, per beat */
static const double home_share = 0.0003; /* of the way back to the start */

const char *ticker_channel(void)
{
    return "quotes";
}

/* A random walk with a weak pull home: it may run for months. */
void ticker_step(void)
{
    for (int i = 0; i < TICKER_SYMBOLS; i++) {
        struct quote *q = &quotes[i];
        if (!q->price)
            q->price = q->open;
        q->price *= 1 + step_share * (2 * drand48() - 1);
        q->price += home_share * (q->open - q->price);
    }
}

void ticker_write(struct text *t, int i, unsigned seq)
{
    const struct quote *q = &quotes[i];
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    int64_t now_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    text_add(t,
             "{\"t\":%" PRId64 ",\"symbol\":\"%s\",\"price\":%.2f,"
             "\"open\":%.2f,\"seq\":%u}",
             now_ms, q->symbol, q->price, q->open, seq);
}
