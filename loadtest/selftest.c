#include "loadtest/selftest.h"
#include "loadtest/ceiling.h"
#include "loadtest/dialect.h"
#include "loadtest/frame.h"
#include "loadtest/hist.h"
#include "loadtest/scenario.h"
#include "loadtest/sha1.h"
#include "loadtest/source.h"
#include "loadtest/stamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void expect(bool ok, const char *what)
{
    if (ok)
        return;
    failures++;
    printf("self-test failed: %s\n", what);
}

#define EXPECT(cond) expect((cond), #cond)

static void check_hist(void)
{
    static struct hist h;
    hist_reset(&h);
    EXPECT(hist_quantile(&h, 0.5) == 0);
    for (uint64_t i = 1; i <= 100000; i++)
        hist_add(&h, i * 1000);
    for (int p = 1; p < 1000; p++) {
        double q = p / 1000.0;
        double want = q * 100000 * 1000;
        double got = (double)hist_quantile(&h, q);
        EXPECT(got > want * (1 - 1.0 / 64) - 1000 &&
               got < want * (1 + 1.0 / 64) + 1000);
    }
    EXPECT(h.max == 100000000 && h.count == 100000);
    EXPECT(hist_quantile(&h, 1.0) <= h.max);
    hist_reset(&h);
    for (uint64_t v = 0; v < 64; v++)
        hist_add(&h, v);
    EXPECT(hist_quantile(&h, 0.5) == 32);
    hist_add(&h, UINT64_MAX);
    hist_add(&h, (uint64_t)1 << 39);
    EXPECT(h.count == 66);
    double odd[] = {5, 1, 3};
    double even[] = {4, 1, 2, 3};
    EXPECT(hist_of_sorted(odd, 3, 0.5) == 3);
    EXPECT(hist_of_sorted(even, 4, 0.5) == 2.5);
    EXPECT(hist_of_sorted(even, 4, 1.0) == 4 && even[0] == 1);
}

static bool digest_is(const char *text, size_t n, const char *hex)
{
    uint8_t digest[SHA1_BYTES];
    char out[2 * SHA1_BYTES + 1];
    sha1(text, n, digest);
    for (size_t i = 0; i < SHA1_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return strcmp(out, hex) == 0;
}

/* Vectors of FIPS 180 and RFC 6455, 1.3; base64 of RFC 4648, 10. */
static void check_sha1(void)
{
    static char million[1000000];
    char out[SHA1_ACCEPT_SIZE];
    memset(million, 'a', sizeof(million));
    EXPECT(digest_is("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709"));
    EXPECT(digest_is("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d"));
    EXPECT(digest_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                     56, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"));
    EXPECT(digest_is(million, sizeof(million),
                     "34aa973cd4c4daa4f61eeb2bdbad27316534016f"));
    sha1_accept("dGhlIHNhbXBsZSBub25jZQ==", 24, out);
    EXPECT(strcmp(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0);
    sha1_base64((const uint8_t *)"fooba", 5, out);
    EXPECT(strcmp(out, "Zm9vYmE=") == 0);
    sha1_base64((const uint8_t *)"f", 1, out);
    EXPECT(strcmp(out, "Zg==") == 0);
}

static void check_one_frame(size_t n)
{
    char *text = malloc(n + 1);
    char *wire = malloc(n + FRAME_HEAD_MAX);
    struct frame f;
    if (text == NULL || wire == NULL)
        abort();
    memset(text, 'q', n + 1);
    size_t masked = frame_write_masked(wire, FRAME_TEXT, text, n);
    EXPECT(frame_read(wire, masked, &f) == (ssize_t)masked);
    EXPECT(masked == n + 6 + (n < 126 ? 0 : n <= 65535 ? 2 : 8));
    EXPECT(f.masked && f.fin && f.op == FRAME_TEXT && f.length == n);
    frame_unmask(wire + (f.payload - wire), f.payload, n, f.key);
    EXPECT(memcmp(f.payload, text, n) == 0);
    size_t head = frame_write_head(wire, FRAME_BINARY, n);
    memcpy(wire + head, text, n);
    for (size_t cut = 0; cut < head + n; cut += cut < 20 ? 1 : 97)
        EXPECT(frame_read(wire, cut, &f) == 0);
    EXPECT(frame_read(wire, head + n, &f) == (ssize_t)(head + n));
    EXPECT(!f.masked && f.op == FRAME_BINARY && f.length == n);
    free(text);
    free(wire);
}

static void check_frames(void)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 200000};
    struct frame f;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_one_frame(sizes[i]);
    EXPECT(frame_read("\xc1\x00", 2, &f) == -1);         /* RSV1 */
    EXPECT(frame_read("\x09\x00", 2, &f) == -1);         /* PING, no FIN */
    EXPECT(frame_read("\x89\x7e\x00\x80", 4, &f) == -1); /* PING of 128 */
    EXPECT(frame_read("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, &f) ==
           -1);
}

static void check_stamps(void)
{
    struct stamp in = {.seq = 0x123456789abc,
                       .time_ns = 0xfedcba9876543210,
                       .channel = 0xbeef};
    struct stamp out;
    char text[200];
    for (size_t n = STAMP_PAYLOAD_MIN; n <= sizeof(text); n++) {
        stamp_payload(text, n, &in);
        EXPECT(text[0] == '{' && text[n - 1] == '}' && text[n - 2] == '"');
        const char *hit = stamp_find(text, n);
        EXPECT(hit != NULL && stamp_read(hit, &out) == 0);
        EXPECT(out.seq == in.seq && out.time_ns == in.time_ns &&
               out.channel == in.channel);
        EXPECT(stamp_find(text, 30) == NULL);
    }
    text[20] = 'g';
    EXPECT(stamp_read(stamp_find(text, sizeof(text)), &out) == -1);
}

static void check_item_stamps(void)
{
    struct stamp in = {.seq = 7, .time_ns = 9, .channel = 0x0abc};
    struct stamp out;
    char text[200];
    for (size_t n = STAMP_PAYLOAD_MIN; n <= sizeof(text); n++) {
        stamp_item_payload(text, n, &in);
        EXPECT(memcmp(text, "{\"k\":\"0abc\",\"wq\":\"", 18) == 0);
        EXPECT(text[n - 1] == '}' && text[n - 2] == '"');
        const char *hit = stamp_find(text, n);
        EXPECT(hit != NULL && stamp_read(hit, &out) == 0);
        EXPECT(out.seq == 7 && out.time_ns == 9 && out.channel == 0x0abc);
    }
}

/* Two clients, two items; the source is at 5 and 2. */
static void check_ledger(void)
{
    struct channel source[] = {{.seq = 5}, {.seq = 2}};
    struct losses sum = {0};
    struct ledger l;
    ledger_init(&l, 2, 2);
    EXPECT(ledger_behind(&l, 0, 0, source, 2) == 2);
    ledger_see(&l, 0, 0, 1);
    ledger_see(&l, 0, 0, 5); /* three were conflated */
    ledger_see(&l, 0, 1, 2); /* and one */
    EXPECT(ledger_behind(&l, 0, 0, source, 2) == 0);
    EXPECT(ledger_behind(&l, 1, 0, source, 2) == 2);
    EXPECT(ledger_behind(&l, 1, 1, source + 1, 1) == 1);
    EXPECT(ledger_sum(&l, 0, 1).skipped == 3 && ledger_sum(&l, 0, 1).seen == 2);
    EXPECT(ledger_sum(&l, 0, 2).skipped == 4 && ledger_sum(&l, 0, 2).seen == 3);
    ledger_settle(&l, &sum);
    EXPECT(sum.duplicate == 0 && sum.reordered == 0);
    ledger_see(&l, 0, 0, 5);
    ledger_see(&l, 0, 0, 4);
    ledger_see(&l, 1, 0, 4); /* another client's is no step back */
    ledger_settle(&l, &sum);
    EXPECT(sum.duplicate == 1 && sum.reordered == 1);
    EXPECT(ledger_behind(&l, 0, 0, source, 2) == 0);
    ledger_fini(&l);
}

static void check_items(void)
{
    struct items t;
    struct channel channels[3];
    items_init(&t, "q:c", 3, 4, 100);
    EXPECT(t.count == 12 && t.all[0].id == 100 && t.all[11].id == 111);
    EXPECT(strcmp(t.all[3].name, "q:c0") == 0);
    EXPECT(strcmp(t.all[4].name, "q:c1") == 0);
    EXPECT(items_channels(&t, channels, "{}") == 3);
    EXPECT(strcmp(channels[2].name, "q:c2") == 0 && channels[2].wish != NULL);
    items_fini(&t);
}

static void check_sample(void)
{
    struct stamp s = {.seq = 1};
    struct sample sample = {0};
    char text[200];
    stamp_payload(text, 100, &s);
    stamp_item_payload(text + 100, 100, &s);
    EXPECT(sample_take(&sample, text, 200, 1) == -1);
    EXPECT(sample_take(&sample, text, 200, 2) == 0 && sample.length == 200);
    EXPECT(sample_take(&sample, text, 0, 0) == 0);
    memcpy(text + 150, "{}", 2); /* a ping is no publication */
    EXPECT(sample_take(&sample, text, 200, 2) == -1);
    sample_fini(&sample);
}

static void check_tally(void)
{
    struct losses sum = {0};
    struct tally t;
    tally_start(&t, 10);
    tally_see(&t, 11, &sum);
    EXPECT(sum.missing + sum.duplicate + sum.reordered == 0);
    tally_see(&t, 11, &sum);
    EXPECT(sum.duplicate == 1);
    tally_see(&t, 14, &sum);
    EXPECT(sum.missing == 2);
    tally_see(&t, 13, &sum);
    EXPECT(sum.missing == 1 && sum.reordered == 1);
    tally_see(&t, 13, &sum);
    EXPECT(sum.duplicate == 2);
    tally_see(&t, 9, &sum);
    EXPECT(sum.duplicate == 3);
    tally_end(&t, 20, &sum);
    EXPECT(sum.missing == 7);
    tally_see(&t, 200, &sum);
    EXPECT(sum.missing == 186 && sum.reordered == 1);
    tally_see(&t, 100, &sum); /* too old to tell: counted as a repeat */
    EXPECT(sum.duplicate == 4 && sum.missing == 186);
    tally_see(&t, 137, &sum); /* the oldest the window remembers */
    EXPECT(sum.reordered == 2 && sum.missing == 185);
}

/* A stream as a gateway sends it, cut into pieces of every size. */
static void check_stream_cut(const char *wire, size_t n, size_t piece)
{
    struct loop l = {.epfd = -1};
    struct channel channel = {.name = "c", .id = 7};
    static struct crowd k;
    crowd_init(&k, &l, &dialect_bare_ws, 0, 1);
    crowd_assign(&k, &channel, 1);
    k.opening = 1;
    conn_live(&k.conns[0]);
    char left[2048];
    size_t have = 0;
    for (size_t at = 0; at < n; at += piece) {
        size_t take = n - at < piece ? n - at : piece;
        memcpy(left + have, wire + at, take);
        have += take;
        ssize_t used = k.dialect->on_bytes(&k.conns[0], left, have);
        EXPECT(used >= 0);
        have -= (size_t)used;
        memmove(left, left + used, have);
    }
    EXPECT(have == 0 && k.deliveries == 4 && k.failed == 0);
    EXPECT(k.losses.missing + k.losses.duplicate + k.losses.reordered +
               k.losses.stray ==
           0);
    crowd_fini(&k);
}

/* Two pushes joined in one frame, one alone, one in two fragments. */
static void check_stream(void)
{
    char wire[1024];
    char text[300];
    size_t n = 0;
    struct stamp s = {.seq = 1, .channel = 7};
    stamp_payload(text, 100, &s);
    text[100] = '\n';
    s.seq = 2;
    stamp_payload(text + 101, 100, &s);
    n += frame_write_head(wire + n, FRAME_TEXT, 201);
    memcpy(wire + n, text, 201);
    n += 201;
    s.seq = 3;
    stamp_payload(text, 130, &s);
    n += frame_write_head(wire + n, FRAME_TEXT, 130);
    memcpy(wire + n, text, 130);
    n += 130;
    s.seq = 4;
    stamp_payload(text, 100, &s);
    size_t head = n;
    n += frame_write_head(wire + n, FRAME_TEXT, 20);
    wire[head] = FRAME_TEXT; /* not the last fragment */
    memcpy(wire + n, text, 20);
    n += 20;
    n += frame_write_head(wire + n, FRAME_CONTINUATION, 80);
    memcpy(wire + n, text + 20, 80);
    n += 80;
    for (size_t piece = 1; piece <= n; piece++)
        check_stream_cut(wire, n, piece);
}

static void check_scenario(void)
{
    struct scenario s;
    scenario_init(&s);
    EXPECT(scenario_set(&s, "clients", "12") == NULL && s.clients == 12);
    EXPECT(scenario_set(&s, "clients", "99999999") != NULL);
    EXPECT(scenario_set(&s, "clients", "-1") != NULL);
    EXPECT(scenario_set(&s, "bare", "maybe") != NULL);
    EXPECT(scenario_set(&s, "nonsense", "1") != NULL);
    EXPECT(scenario_set(&s, "target", "ratio 1.5") == NULL);
    EXPECT(s.target_count == 1 && s.targets[0].limit == 1.5);
}

int selftest_run(void)
{
    check_hist();
    check_sha1();
    check_frames();
    check_stamps();
    check_item_stamps();
    check_tally();
    check_ledger();
    check_items();
    check_sample();
    check_stream();
    check_scenario();
    printf("self-test: %s\n", failures == 0 ? "all held" : "FAILED");
    return failures == 0 ? 0 : -1;
}
