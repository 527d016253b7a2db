#include "loadtest/ledger.h"

#include <stdio.h>
#include <stdlib.h>

void ledger_init(struct ledger *l, uint32_t clients, uint32_t items)
{
    *l = (struct ledger){.clients = clients, .items = items};
    l->last = calloc((size_t)clients * items, sizeof(*l->last));
    l->item = calloc(items, sizeof(*l->item));
    if (l->last == NULL || l->item == NULL) {
        perror("weir-load");
        abort();
    }
}

void ledger_fini(struct ledger *l)
{
    free(l->last);
    l->last = NULL;
    free(l->item);
    l->item = NULL;
}

void ledger_see(struct ledger *l, uint32_t client, uint32_t item, uint64_t seq)
{
    uint32_t *last = &l->last[(size_t)client * l->items + item];
    l->item[item].seen++;
    if (seq > *last) {
        l->item[item].skipped += seq - *last - 1;
        *last = (uint32_t)seq;
    } else if (seq == *last) {
        l->repeats++;
    } else {
        l->backwards++;
    }
}

bool ledger_on_stamp(struct conn *c, const struct stamp *s)
{
    struct crowd *k = c->crowd;
    struct ledger *l = k->stamp_arg;
    if (s->channel >= l->items)
        return false;
    ledger_see(l, (uint32_t)(c - k->conns), s->channel, s->seq);
    return true;
}

void ledger_settle(const struct ledger *l, struct losses *sum)
{
    sum->duplicate += l->repeats;
    sum->reordered += l->backwards;
}

uint32_t ledger_behind(const struct ledger *l, uint32_t client, uint32_t from,
                       const struct channel *source, uint32_t n)
{
    const uint32_t *last = &l->last[(size_t)client * l->items + from];
    uint32_t behind = 0;
    for (uint32_t i = 0; i < n; i++)
        behind += last[i] != source[i].seq;
    return behind;
}

struct ledger_item ledger_sum(const struct ledger *l, uint32_t from, uint32_t n)
{
    struct ledger_item sum = {0};
    for (uint32_t i = from; i < from + n; i++) {
        sum.seen += l->item[i].seen;
        sum.skipped += l->item[i].skipped;
    }
    return sum;
}
