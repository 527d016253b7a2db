#include "tests/kit/stage.h"

#include <stdio.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)

struct fake_node stage_node;
struct fake_bus stage_bus;

const struct history_policy stage_keeps10 = {.size = 10, .ttl_ms = 3600000};
const struct history_policy stage_keeps3000 = {.size = 3000, .ttl_ms = 3600000};

void stage_begin_with(unsigned shards, const struct history_policy *policy,
                      size_t history_bytes)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 64,
                            .queue_max_bytes = 8 << 20,
                            .channel_limit = 8,
                            .max_items = 1000,
                            .history_max_bytes = history_bytes,
                            .history_idle_ttl_ms = 60000,
                            .check_ms = STAGE_CHECK_MS,
                            .recovery_limit = 2000,
                            .history_limit = 2000};
    still_at(START_NS);
    fake_node_init(&stage_node, shards, &o);
    fake_bus_init(&stage_bus, &stage_node, policy);
}

void stage_begin(void)
{
    stage_begin_with(1, &stage_keeps10, 8 << 20);
}

static void close_all(void)
{
    for (unsigned i = 0; i < stage_node.hub.count; i++) {
        struct shard *s = stage_node.hub.shards[i];
        for (uint32_t k = 0; k < s->slot_count; k++) {
            if (s->slots[k].client)
                fake_gone(fake_of(s->slots[k].client));
        }
    }
}

void stage_end(void)
{
    close_all();
    fake_settle(&stage_node);
    fake_bus_fini(&stage_bus);
    fake_node_fini(&stage_node);
    still_at(0);
}

void stage_pass(uint64_t ms)
{
    while (ms) {
        uint64_t step = ms < 100 ? ms : 100;
        still_pass_ns(step * MS);
        ms -= step;
        for (unsigned i = 0; i < stage_node.hub.count; i++)
            fake_turn(&stage_node, i);
        fake_settle(&stage_node);
    }
}

struct stats stage_sum(void)
{
    struct stats all = {0};
    for (unsigned i = 0; i < stage_node.hub.count; i++) {
        const struct stats *s = &stage_node.hub.shards[i]->stats;
        all.history_healed += s->history_healed;
        all.history_duplicates += s->history_duplicates;
        all.history_lost += s->history_lost;
        all.history_checks += s->history_checks;
        all.subs_lost += s->subs_lost;
    }
    return all;
}

void stage_publish(char channel, unsigned count)
{
    while (count--)
        (void)fake_bus_publish(&stage_bus, channel);
}

void stage_deliver(unsigned count)
{
    while (count--)
        CHECK(fake_bus_deliver(&stage_bus));
    fake_settle(&stage_node);
}

/* The oldest read under way is answered now. */
void stage_answer(void)
{
    CHECK(stage_bus.read_count > 0);
    fake_bus_answer(&stage_bus, 0);
    fake_settle(&stage_node);
}

void stage_fail_read(uint32_t error)
{
    stage_bus.read_error = error;
    stage_answer();
    stage_bus.read_error = 0;
}

void stage_ask(struct fake_client *f, const char *channel,
               const struct position_wish *wish)
{
    CHECK(fake_subscribe_wish(f, channel, stage_bus.policy, wish) == 0);
    fake_settle(&stage_node);
}

struct fake_client *stage_open_fresh(const char *channel)
{
    struct fake_client *f =
        fake_open(stage_node.hub.shards[0], ENCODING_WS_JSON);
    stage_ask(f, channel, &(struct position_wish){.positioned = true});
    return f;
}

struct fake_client *stage_open_since(const char *channel, uint64_t offset)
{
    struct fake_client *f =
        fake_open(stage_node.hub.shards[0], ENCODING_WS_JSON);
    stage_ask(f, channel,
              &(struct position_wish){.positioned = true,
                                      .recover = true,
                                      .since = {stage_bus.epoch, offset}});
    return f;
}

struct fake_client *stage_open_pattern(void)
{
    struct fake_client *f =
        fake_open(stage_node.hub.shards[0], ENCODING_WS_JSON);
    CHECK(fake_subscribe(f, ">") == 0);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "S>|0\n");
    return f;
}

void stage_feed(void)
{
    CHECK(fake_bus_feed(&stage_bus));
    fake_settle(&stage_node);
}

/* A live one at `offset`, which has had the answer. */
struct fake_client *stage_open_live(uint64_t offset)
{
    char line[32];
    struct fake_client *f = stage_open_fresh("a");
    fake_bus_serve(&stage_bus);
    snprintf(line, sizeof(line), "Sa|0@%llu\n", (unsigned long long)offset);
    fake_expect(f, line);
    return f;
}
