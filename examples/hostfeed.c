/* hostfeed.c — a live feed for the demo: this host's CPU, memory, network and
 * disk, published 20 times a second to host:cpu, host:mem, host:net and
 * host:disk; or, with --ticker, invented quotes, 600 a second, to
 * ticker:quotes.
 *
 * One thread, one loop: sample on the beat, send one batch, read the answers
 * while waiting for the next beat. hostfeed_proc reads and formats,
 * hostfeed_ticker invents, hostfeed_link connects and sends; here are the
 * options and the beat.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "examples/hostfeed_link.h"
#include "examples/hostfeed_proc.h"
#include "examples/hostfeed_ticker.h"

#define NS_PER_S INT64_C(1000000000)
#define HZ_MAX 100
#define HOST_HZ 20
#define TICKER_HZ 50
#define SECONDS_MAX 31536000
#define PAYLOAD_MAX 4096
#define QUOTE_MAX 256
#define WINDOW_NS (NS_PER_S / 2)  /* rates are over this, see hostfeed_proc.h */
#define RING (HZ_MAX / 2 + 1)     /* a window at the highest rate */
#define GOODBYE_NS (NS_PER_S / 2) /* for the last answers, at the end */

enum { EXIT_USAGE = 2 };

struct options {
    struct link_target target;
    bool ticker; /* quotes, not this host */
    int hz;
    int seconds; /* 0: until a signal */
};

static const char usage[] =
    "usage: hostfeed [--api URL] [--key KEY] [options]\n"
    "       hostfeed --nats URL [--prefix NAME] [options]\n"
    "Publishes this host's CPU, memory, network and disk to a weir gateway.\n"
    "  --ticker          publish invented quotes of 12 symbols instead\n"
    "  --api URL         gateway, default http://127.0.0.1:8000\n"
    "  --key KEY         its http_api.key, default $WEIR_HTTP_API_KEY\n"
    "  --nats URL        publish to nats://[user:password@]host[:port] instead\n"
    "  --prefix NAME     first token of the NATS subjects, default weir\n"
    "  --namespace NAME  namespace of the channels, default host or ticker\n"
    "  --hz N            times a second, 1 to 100, default 20, ticker 50\n"
    "  --seconds N       stop after that long, default: run until a signal\n"
    "  --help            this text\n";

static volatile sig_atomic_t stopping;
static struct proc_sample ring[RING];
static struct link feed;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail_usage(
    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("hostfeed: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\ntry: hostfeed --help\n", stderr);
    exit(EXIT_USAGE);
}

static int parse_number(const char *name, const char *s, int least, int most)
{
    char *end;
    errno = 0;
    long n = strtol(s, &end, 10);
    if (errno || end == s || *end || n < least || n > most)
        fail_usage("--%s takes a number from %d to %d, not \"%s\"", name, least,
                   most, s);
    return (int)n;
}

/* Names go into JSON, subjects and channels as they are: keep them plain. */
static const char *parse_name(const char *option, const char *s,
                              const char *more)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "0123456789-_";
    size_t n = 0;
    while (s[n] && (strchr(plain, s[n]) || strchr(more, s[n])))
        n++;
    if (s[n] || !n || n > 64)
        fail_usage("--%s takes 1 to 64 letters, digits, - or _, not \"%s\"",
                   option, s);
    return s;
}

static void copy_part(char *to, size_t size, const char *from, size_t n,
                      const char *url)
{
    if (n >= size)
        fail_usage("a part of \"%s\" is too long", url);
    memcpy(to, from, n);
    to[n] = '\0';
}

/* scheme://[user:password@]host[:port][/] with [::1] for an IPv6 host. */
static void parse_url(struct link_target *t, const char *url,
                      const char *scheme, const char *port)
{
    size_t scheme_n = strlen(scheme);
    if (strncmp(url, scheme, scheme_n))
        fail_usage("\"%s\" does not start with %s", url, scheme);
    const char *p = url + scheme_n;
    const char *end = p + strcspn(p, "/");
    const char *at = memrchr(p, '@', (size_t)(end - p));
    if (*end && end[1])
        fail_usage("\"%s\" has a path; only scheme, host and port belong here",
                   url);
    if (at && !t->nats)
        fail_usage("\"%s\" has a user; the API takes --key", url);
    copy_part(t->user, sizeof t->user, p, at ? (size_t)(at - p) : 0, url);
    p = at ? at + 1 : p;
    bool v6 = *p == '[';
    const char *host_end = p + strcspn(p, v6 ? "]" : ":/");
    const char *colon = host_end + (v6 && *host_end);
    copy_part(t->host, sizeof t->host, p + v6, (size_t)(host_end - p - v6),
              url);
    copy_part(t->port, sizeof t->port, port, strlen(port), url);
    if (colon < end && *colon == ':')
        copy_part(t->port, sizeof t->port, colon + 1, (size_t)(end - colon - 1),
                  url);
    if (!*t->host || (colon < end && *colon != ':'))
        fail_usage("\"%s\" is not %shost:port", url, scheme);
    parse_number(t->nats ? "nats, the port" : "api, the port", t->port, 1,
                 65535);
}

static const char *parse_key(const char *key)
{
    for (const char *p = key; *p; p++)
        if (*p < ' ' || *p > '~')
            fail_usage("--key may hold printable ASCII only");
    return key;
}

static void parse_option(struct options *o, int letter)
{
    switch (letter) {
    case 'a':
        o->target.nats = false;
        parse_url(&o->target, optarg, "http://", "8000");
        break;
    case 'n':
        o->target.nats = true;
        parse_url(&o->target, optarg, "nats://", "4222");
        break;
    case 'k':
        o->target.key = parse_key(optarg);
        break;
    case 'p':
        o->target.prefix = parse_name("prefix", optarg, ".");
        break;
    case 's':
        o->target.space = parse_name("namespace", optarg, "");
        break;
    case 'q':
        o->ticker = true;
        break;
    case 'z':
        o->hz = parse_number("hz", optarg, 1, HZ_MAX);
        break;
    case 't':
        o->seconds = parse_number("seconds", optarg, 1, SECONDS_MAX);
        break;
    case 'h':
        fputs(usage, stdout);
        exit(EXIT_SUCCESS);
    default:
        fputs("try: hostfeed --help\n", stderr);
        exit(EXIT_USAGE);
    }
}

static void parse_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"api", required_argument, NULL, 'a'},
        {"key", required_argument, NULL, 'k'},
        {"nats", required_argument, NULL, 'n'},
        {"prefix", required_argument, NULL, 'p'},
        {"namespace", required_argument, NULL, 's'},
        {"ticker", no_argument, NULL, 'q'},
        {"hz", required_argument, NULL, 'z'},
        {"seconds", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *key = getenv("WEIR_HTTP_API_KEY");
    bool api = false;
    bool nats = false;
    *o = (struct options){.target = {.prefix = "weir"}};
    parse_url(&o->target, "http://127.0.0.1:8000", "http://", "8000");
    o->target.key = key && *key ? parse_key(key) : NULL;
    for (int c; (c = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        parse_option(o, c);
        api |= c == 'a';
        nats |= c == 'n';
    }
    if (optind < argc)
        fail_usage("\"%s\" is not an option", argv[optind]);
    if (api && nats)
        fail_usage("--api and --nats exclude each other");
    if (!o->target.space)
        o->target.space = o->ticker ? "ticker" : "host";
    if (!o->hz)
        o->hz = o->ticker ? TICKER_HZ : HOST_HZ;
}

static void handle_signals(void)
{
    struct sigaction sa = {.sa_handler =
                               on_signal}; /* no SA_RESTART: poll ends */
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The sample that is compared with the newest: the oldest that is no more
 * than a window old, but never the newest itself. */
static const struct proc_sample *window_start(unsigned beat)
{
    const struct proc_sample *is = &ring[beat % RING];
    const struct proc_sample *was = is;
    for (unsigned back = 1; back < RING && back <= beat; back++) {
        const struct proc_sample *s = &ring[(beat - back) % RING];
        if (was != is && is->at_ns - s->at_ns > WINDOW_NS)
            break;
        was = s;
    }
    return was;
}

static bool publish_host(unsigned beat)
{
    static char payload[PROC_TOPICS][PAYLOAD_MAX];
    struct link_item items[PROC_TOPICS];
    for (enum proc_topic topic = 0; topic < PROC_TOPICS; topic++) {
        struct text t = {.p = payload[topic], .max = PAYLOAD_MAX};
        proc_write(&t, topic, window_start(beat), &ring[beat % RING]);
        if (t.full)
            return false;
        items[topic] = (struct link_item){
            .name = proc_topic_name(topic), .json = t.p, .json_n = t.n};
    }
    return link_publish(&feed, items, PROC_TOPICS);
}

static bool publish_quotes(unsigned seq)
{
    static char payload[TICKER_SYMBOLS][QUOTE_MAX];
    struct link_item items[TICKER_SYMBOLS];
    ticker_step();
    for (int i = 0; i < TICKER_SYMBOLS; i++) {
        struct text t = {.p = payload[i], .max = QUOTE_MAX};
        ticker_write(&t, i, seq);
        if (t.full)
            return false;
        items[i] = (struct link_item){
            .name = ticker_channel(), .json = t.p, .json_n = t.n};
    }
    return link_publish(&feed, items, TICKER_SYMBOLS);
}

static bool publish_beat(const struct options *o, unsigned beat, unsigned sent)
{
    if (o->ticker)
        return publish_quotes(sent + 1);
    proc_read(&ring[beat % RING]);
    return publish_host(beat);
}

static void say_goodbye(unsigned sent, unsigned beats)
{
    int64_t end_ns = proc_now_ns() + GOODBYE_NS;
    while (!link_is_idle(&feed) && proc_now_ns() < end_ns)
        link_run(&feed, end_ns);
    link_fini(&feed);
    fprintf(stderr, "hostfeed: done, %u of %u beats sent\n", sent, beats);
}

int main(int argc, char **argv)
{
    struct options o;
    unsigned sent = 0;
    unsigned beat = 1;
    parse_options(&o, argc, argv);
    handle_signals();
    link_init(&feed, &o.target);
    proc_read(&ring[0]);
    int64_t period_ns = NS_PER_S / o.hz;
    int64_t next_ns = proc_now_ns() + period_ns;
    int64_t end_ns =
        o.seconds ? proc_now_ns() + o.seconds * NS_PER_S : INT64_MAX;
    while (!stopping && !feed.refused && proc_now_ns() < end_ns) {
        link_run(&feed, next_ns);
        if (proc_now_ns() < next_ns)
            continue;
        sent += publish_beat(&o, beat++, sent);
        next_ns += period_ns;
        if (next_ns < proc_now_ns()) /* late, after a slow connect: no burst */
            next_ns = proc_now_ns() + period_ns;
    }
    say_goodbye(sent, beat - 1);
    return feed.refused ? EXIT_FAILURE : EXIT_SUCCESS;
}
