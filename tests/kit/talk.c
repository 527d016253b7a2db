#include "tests/kit/talk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/json.h"
#include "gateway/transport/wire.h"

static struct talk *talk_of(struct client *c)
{
    return (struct talk *)session_of(c);
}

static enum write_result on_write(struct client *c, const char *p, size_t n)
{
    struct talk *t = talk_of(c);
    CHECK(!t->gone && !c->choked && t->closes == 0 && n > 0);
    t->writes++;
    if (t->next_write == WRITE_DEAD)
        return WRITE_DEAD;
    buf_add(&t->wire, p, n);
    return t->next_write;
}

static void on_close(struct client *c, uint32_t code, struct str reason)
{
    struct talk *t = talk_of(c);
    CHECK(!t->gone && t->closes++ == 0 && reason.n < sizeof(t->close_reason));
    t->close_code = code;
    if (reason.n)
        memcpy(t->close_reason, reason.p, reason.n);
    t->close_reason[reason.n] = '\0';
}

void talk_leave(struct talk *t)
{
    CHECK(!t->gone);
    t->gone = true;
    session_gone(&t->session);
}

static void on_kill(struct client *c)
{
    struct talk *t = talk_of(c);
    t->kills++;
    talk_leave(t);
}

static void on_pause(struct session *s, bool paused)
{
    struct talk *t = (struct talk *)s;
    CHECK(!t->gone && t->paused != paused);
    t->paused = paused;
}

static const struct session_ops duplex = {
    .transport = {.write = on_write, .close = on_close, .kill = on_kill},
    .pause = on_pause,
    .bidirectional = true,
};

static const struct session_ops simplex = {
    .transport = {.write = on_write, .close = on_close, .kill = on_kill},
    .pause = on_pause,
    .bidirectional = false,
};

static struct talk *make(struct loop *l, const struct session_ops *ops,
                         enum encoding encoding)
{
    struct talk *t = mem_zalloc(sizeof(*t));
    t->next_write = WRITE_DONE;
    session_open(&t->session, l, ops, encoding);
    return t;
}

struct talk *talk_open(struct loop *l)
{
    return make(l, &duplex, ENCODING_WS_JSON);
}

struct talk *talk_open_uni(struct loop *l)
{
    return make(l, &simplex, ENCODING_UNI_SSE);
}

struct talk *talk_open_plain(struct loop *l, enum encoding encoding)
{
    struct talk *t = make(l, &simplex, encoding);
    t->session.plain = true;
    client_identify(&t->session.client, STR_LIT(""));
    session_start_plain(&t->session);
    return t;
}

void talk_say(struct talk *t, const char *text)
{
    CHECK(!t->gone);
    session_message(&t->session, str_of(text));
}

static void settle(const struct talk *t)
{
    struct loop *l = t->session.loop;
    gate_settle(container_of(l->app, struct gate, app));
}

/* Frames become lines; each line is one JSON value, as protocol.md 2 wants. */
static void cut_frames(struct talk *t)
{
    struct str rest = str_skip(buf_view(&t->wire), t->at);
    uint8_t first;
    struct str payload;
    while (gate_cut_frame(&rest, &first, &payload)) {
        CHECK(first == WIRE_WS_TEXT && payload.n > 0);
        t->frames++;
        while (payload.p) {
            struct json_value v;
            struct str line = str_cut(&payload, '\n');
            CHECK(json_parse(line, &v) == 0 && v.type == JSON_OBJECT &&
                  v.raw.n == line.n);
            buf_str(&t->lines, line);
            buf_char(&t->lines, '\n');
        }
    }
    CHECK(rest.n == 0); /* writes end where frames end */
    t->at = t->wire.n;
}

static void cut_all(struct talk *t)
{
    settle(t);
    if (t->wire.n == t->at)
        return;
    if (t->session.client.encoding == ENCODING_WS_JSON) {
        cut_frames(t);
        return;
    }
    buf_add(&t->lines, t->wire.p + t->at, t->wire.n - t->at);
    t->at = t->wire.n;
}

static struct str unread(const struct talk *t)
{
    return t->lines.n ? str_skip(buf_view(&t->lines), t->lines_at)
                      : STR_LIT("");
}

bool talk_next(struct talk *t, struct str *line)
{
    cut_all(t);
    struct str rest = unread(t);
    if (rest.n == 0)
        return false;
    *line = str_cut(&rest, '\n');
    t->lines_at += line->n + 1;
    return true;
}

void talk_expect(struct talk *t, const char *lines)
{
    cut_all(t);
    struct str got = unread(t);
    if (!str_eq(got, str_of(lines)))
        fprintf(stderr, "expected:\n%sgot:\n%.*s", lines, STR_ARG(got));
    CHECK(str_eq(got, str_of(lines)));
    t->lines_at = t->lines.n;
}

void talk_expect_close(struct talk *t, uint32_t code, const char *reason)
{
    settle(t);
    if (t->closes != 1 || t->close_code != code ||
        strcmp(t->close_reason, reason) != 0)
        fprintf(stderr, "expected close %u %s, got %u: %u %s\n", code, reason,
                t->closes, t->close_code, t->close_reason);
    CHECK(t->closes == 1 && t->close_code == code);
    CHECK(strcmp(t->close_reason, reason) == 0);
}

const char *talk_text(const char *fmt, ...)
{
    static char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < sizeof(text));
    return text;
}

void talk_connect(struct talk *t)
{
    struct str line;
    talk_say(t, "{\"connect\":{},\"id\":1}");
    CHECK(talk_next(t, &line));
    CHECK(str_starts(line, STR_LIT("{\"id\":1,\"connect\":{\"client\":\"")));
}

void talk_end(struct talk *t)
{
    if (!t->gone)
        talk_leave(t);
    buf_free(&t->wire);
    buf_free(&t->lines);
    free(t);
}
