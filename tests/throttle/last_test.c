#include "throttle/last.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define CHANNELS 12
#define ITEMS 9
#define VALUES 60
#define RECORDS 1000
#define OPS 60000
#define NO_BOUND (SIZE_MAX / 2)

struct value {
    size_t bytes;
    unsigned refs;
};

static struct value values[VALUES];
static unsigned freed; /* nobody had a reference any more */

static void ref(void *value)
{
    ((struct value *)value)->refs++;
}

static void unref(void *value)
{
    struct value *v = value;
    assert_true(v->refs > 0);
    v->refs--;
    freed += v->refs == 0;
}

static size_t weigh(const void *value)
{
    return ((const struct value *)value)->bytes;
}

static const struct last_ops ops = {ref, unref, weigh};

/* The model: every value kept is a line of a list, oldest first. */
struct record {
    unsigned channel;
    bool is_item;
    uint64_t item;
    struct value *value;
};

struct model {
    struct last last;
    struct rand rand;
    size_t max_bytes;
    uint32_t max_items;
    struct record records[RECORDS];
    unsigned count;
    uint64_t used[CHANNELS]; /* when */
    uint64_t now;
    uint64_t evicted;
};

static struct model model;

/* Names of all lengths; hashes that collide. */
static struct str name_of(unsigned channel)
{
    return str_n("channel-name", channel + 1);
}

static uint32_t hash_of(unsigned channel)
{
    return channel % 5;
}

static void forget(unsigned i)
{
    model.count--;
    memmove(&model.records[i], &model.records[i + 1],
            (model.count - i) * sizeof(model.records[0]));
}

static unsigned count_of(unsigned channel, bool is_item)
{
    unsigned n = 0;
    for (unsigned i = 0; i < model.count; i++)
        n += model.records[i].channel == channel &&
             model.records[i].is_item == is_item;
    return n;
}

static bool is_known(unsigned channel)
{
    return count_of(channel, true) + count_of(channel, false) > 0;
}

static unsigned first_of(unsigned channel, bool is_item)
{
    unsigned i = 0;
    while (model.records[i].channel != channel ||
           model.records[i].is_item != is_item)
        i++;
    return i;
}

static size_t bytes_of_model(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < model.count; i++)
        bytes += LAST_ITEM_COST + model.records[i].value->bytes;
    for (unsigned i = 0; i < CHANNELS; i++)
        bytes += is_known(i) ? LAST_CHANNEL_COST + name_of(i).n : 0;
    return bytes;
}

static void evict_from_model(void)
{
    unsigned least = CHANNELS;
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (is_known(i) &&
            (least == CHANNELS || model.used[i] < model.used[least]))
            least = i;
    }
    unsigned at = 0;
    while (model.records[at].channel != least)
        at++;
    forget(at);
    model.evicted++;
}

static void forget_item(unsigned channel, uint64_t item, bool is_eviction)
{
    for (unsigned i = 0; i < model.count; i++) {
        const struct record *r = &model.records[i];
        if (r->channel == channel && r->is_item && r->item == item) {
            forget(i);
            model.evicted += is_eviction;
            return;
        }
    }
}

static void forget_recent(unsigned channel, unsigned keep, bool is_eviction)
{
    while (count_of(channel, false) > keep) {
        forget(first_of(channel, false));
        model.evicted += is_eviction;
    }
}

static void put_in_model(unsigned channel, uint64_t item, struct value *v,
                         bool by_item, uint32_t recent)
{
    size_t holders = by_item + (recent > 0);
    bool is_heavy = LAST_CHANNEL_COST + name_of(channel).n +
                        holders * (LAST_ITEM_COST + v->bytes) >
                    model.max_bytes;
    if (holders == 0)
        return;
    model.used[channel] = ++model.now;
    model.evicted += is_heavy;
    if (recent > 0) {
        if (!is_heavy)
            model.records[model.count++] =
                (struct record){channel, false, 0, v};
        forget_recent(channel, is_heavy ? 0 : recent, is_heavy);
    }
    if (by_item) {
        forget_item(channel, item, is_heavy);
        if (!is_heavy)
            model.records[model.count++] =
                (struct record){channel, true, item, v};
    }
    while (count_of(channel, true) > model.max_items) {
        forget(first_of(channel, true));
        model.evicted++;
    }
    while (bytes_of_model() > model.max_bytes)
        evict_from_model();
}

static void check_refs(void)
{
    unsigned want[VALUES] = {0};
    for (unsigned i = 0; i < model.count; i++)
        want[model.records[i].value - values]++;
    for (unsigned i = 0; i < VALUES; i++)
        assert_int_equal(values[i].refs, want[i]);
}

static void check_values(void)
{
    struct value *want[CHANNELS][ITEMS] = {{NULL}};
    for (unsigned i = 0; i < model.count; i++) {
        const struct record *r = &model.records[i];
        if (r->is_item)
            want[r->channel][r->item] = r->value;
    }
    for (unsigned c = 0; c < CHANNELS; c++) {
        assert_true(last_knows(&model.last, name_of(c), hash_of(c)) ==
                    is_known(c));
        for (unsigned k = 0; k < ITEMS; k++)
            assert_ptr_equal(last_get(&model.last, name_of(c), hash_of(c), k),
                             want[c][k]);
    }
}

static void check_model(void)
{
    last_check(&model.last);
    assert_int_equal(model.last.bytes, bytes_of_model());
    assert_int_equal(model.last.evicted, model.evicted);
    check_refs();
    check_values();
}

struct seen {
    const void *values[RECORDS];
    unsigned count;
};

static void see(void *arg, void *value)
{
    struct seen *seen = arg;
    seen->values[seen->count++] = value;
}

static void check_each(unsigned channel, uint32_t recent)
{
    struct seen seen = {.count = 0};
    unsigned n = 0;
    unsigned kept = count_of(channel, recent == 0);
    unsigned skip = recent > 0 && kept > recent ? kept - recent : 0;
    last_each(&model.last, name_of(channel), hash_of(channel), recent, see,
              &seen);
    model.used[channel] = ++model.now;
    for (unsigned i = 0; i < model.count; i++) {
        const struct record *r = &model.records[i];
        if (r->channel != channel || r->is_item != (recent == 0))
            continue;
        if (skip > 0)
            skip--;
        else
            assert_ptr_equal(r->value, seen.values[n++]);
    }
    assert_int_equal(n, seen.count);
}

static void put(unsigned channel)
{
    uint64_t item = rand_below(&model.rand, ITEMS);
    struct value *v = &values[rand_below(&model.rand, VALUES)];
    bool by_item = rand_below(&model.rand, 4) > 0;
    uint32_t recent = (uint32_t)rand_below(&model.rand, 2) *
                      (uint32_t)rand_below(&model.rand, 6);
    last_put(&model.last, name_of(channel), hash_of(channel), item, v, by_item,
             recent);
    put_in_model(channel, item, v, by_item, recent);
}

static void drop(unsigned channel)
{
    last_drop(&model.last, name_of(channel), hash_of(channel));
    while (count_of(channel, true) > 0)
        forget(first_of(channel, true));
    forget_recent(channel, 0, false);
}

static void begin(size_t max_bytes, uint32_t max_items)
{
    memset(&model, 0, sizeof(model));
    rand_init(&model.rand, max_bytes);
    model.max_bytes = max_bytes;
    model.max_items = max_items;
    for (unsigned i = 0; i < VALUES; i++)
        values[i] = (struct value){rand_below(&model.rand, 400), 0};
    last_init(&model.last, max_bytes, max_items, &ops);
}

static void end(void)
{
    last_fini(&model.last);
    assert_int_equal(model.last.bytes, 0);
    for (unsigned i = 0; i < VALUES; i++)
        assert_int_equal(values[i].refs, 0);
}

static void run_random(size_t max_bytes, uint32_t max_items)
{
    begin(max_bytes, max_items);
    if (max_bytes != NO_BOUND) {
        values[0].bytes = max_bytes;     /* never fits */
        values[1].bytes = max_bytes / 2; /* fits, but not twice */
    }
    for (unsigned i = 0; i < OPS; i++) {
        unsigned channel = (unsigned)rand_below(&model.rand, CHANNELS);
        unsigned what = (unsigned)rand_below(&model.rand, 40);
        if (what == 0)
            drop(channel);
        else if (what < 8)
            check_each(channel, (uint32_t)rand_below(&model.rand, 6));
        else
            put(channel);
        if (i % 4 == 0)
            check_model();
    }
    check_model();
    end();
}

static void test_random_against_a_list(void **state)
{
    (void)state;
    run_random(NO_BOUND, ITEMS);
    run_random(NO_BOUND, 3);
    run_random(12000, ITEMS);
    run_random(6000, 4);
    run_random(700, 4);
    run_random(0, 4);
}

static void put_value(unsigned channel, uint64_t item, unsigned value)
{
    last_put(&model.last, name_of(channel), hash_of(channel), item,
             &values[value], true, 0);
}

static void *get_value(unsigned channel, uint64_t item)
{
    return last_get(&model.last, name_of(channel), hash_of(channel), item);
}

static void test_the_least_recently_updated_item_goes(void **state)
{
    (void)state;
    begin(SIZE_MAX, 3);
    for (unsigned i = 0; i < 3; i++)
        put_value(0, i, i);
    put_value(0, 0, 5); /* updated: 1 is the oldest now */
    put_value(0, 3, 3);
    assert_ptr_equal(get_value(0, 0), &values[5]);
    assert_null(get_value(0, 1));
    assert_ptr_equal(get_value(0, 2), &values[2]);
    assert_ptr_equal(get_value(0, 3), &values[3]);
    put_value(1, 1, 1); /* another channel has a bound of its own */
    assert_ptr_equal(get_value(0, 2), &values[2]);
    assert_int_equal(model.last.evicted, 1);
    end();
}

static void test_the_least_recently_used_channel_pays(void **state)
{
    (void)state;
    struct seen seen = {.count = 0};
    size_t each = LAST_CHANNEL_COST + 2 * (LAST_ITEM_COST + 100);
    begin(3 * each + 1 + 2 + 3, 9);
    for (unsigned i = 0; i < VALUES; i++)
        values[i].bytes = 100;
    for (unsigned i = 0; i < 6; i++)
        put_value(i / 2, i, i);
    assert_int_equal(model.last.bytes, model.max_bytes);
    last_each(&model.last, name_of(0), hash_of(0), 0, see, &seen);
    put_value(2, 6, 6); /* channel 1 loses one value */
    assert_null(get_value(1, 2));
    assert_ptr_equal(get_value(1, 3), &values[3]);
    put_value(2, 7, 7); /* and then itself */
    assert_false(last_knows(&model.last, name_of(1), hash_of(1)));
    assert_ptr_equal(get_value(0, 0), &values[0]);
    assert_int_equal(model.last.evicted, 2);
    last_check(&model.last);
    end();
}

static void test_a_channel_alone_gives_up_its_oldest(void **state)
{
    (void)state;
    begin(LAST_CHANNEL_COST + 1 + 2 * (LAST_ITEM_COST + 10), 9);
    for (unsigned i = 0; i < 4; i++) {
        values[i].bytes = 10;
        put_value(0, i, i);
        last_check(&model.last);
    }
    assert_null(get_value(0, 1));
    assert_ptr_equal(get_value(0, 2), &values[2]);
    assert_ptr_equal(get_value(0, 3), &values[3]);
    assert_int_equal(model.last.evicted, 2);
    end();
}

static void test_too_heavy_a_value_leaves_no_old_one(void **state)
{
    (void)state;
    begin(5000, 9);
    put_value(0, 1, 1);
    put_value(0, 2, 2);
    values[3].bytes = 5000;
    put_value(0, 2, 3);
    assert_null(get_value(0, 2));
    assert_ptr_equal(get_value(0, 1), &values[1]);
    assert_int_equal(model.last.evicted, 2);
    put_value(0, 1, 3);
    assert_false(last_knows(&model.last, name_of(0), hash_of(0)));
    put_value(4, 1, 3); /* a channel unknown so far */
    assert_false(last_knows(&model.last, name_of(4), hash_of(4)));
    last_check(&model.last);
    end();
}

static void test_the_same_value_again(void **state)
{
    (void)state;
    begin(5000, 9);
    freed = 0;
    put_value(0, 1, 1);
    put_value(0, 1, 1);
    assert_int_equal(freed, 0);
    assert_int_equal(values[1].refs, 1);
    last_put(&model.last, name_of(0), hash_of(0), 1, &values[1], true, 4);
    assert_int_equal(values[1].refs, 2);
    last_put(&model.last, name_of(0), hash_of(0), 1, &values[1], false, 0);
    assert_int_equal(values[1].refs, 2);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_a_list),
        cmocka_unit_test(test_the_least_recently_updated_item_goes),
        cmocka_unit_test(test_the_least_recently_used_channel_pays),
        cmocka_unit_test(test_a_channel_alone_gives_up_its_oldest),
        cmocka_unit_test(test_too_heavy_a_value_leaves_no_old_one),
        cmocka_unit_test(test_the_same_value_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
