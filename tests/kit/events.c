#include "tests/kit/events.h"

#include "base/mem.h"

static void take_line(struct str line, struct events_event *e)
{
    static const struct str id = {"id: ", 4};
    static const struct str data = {"data: ", 6};
    static const struct str kind = {"event: ", 7};
    if (str_starts(line, id)) {
        e->id = str_skip(line, id.n);
        e->ids++;
    } else if (str_starts(line, data)) {
        e->data = str_skip(line, data.n);
        e->datas++;
    } else if (str_starts(line, kind)) {
        e->kind = str_skip(line, kind.n);
    } else {
        CHECK(line.p[0] == ':' || str_starts(line, STR_LIT("retry: ")));
    }
}

bool events_next(struct str text, size_t *at, struct events_event *e)
{
    struct str rest = str_skip(text, *at);
    const char *end = rest.n ? memmem(rest.p, rest.n, "\n\n", 2) : NULL;
    if (!end)
        return false;
    struct str lines = str_n(rest.p, (size_t)(end - rest.p));
    *e = (struct events_event){
        .id = STR_LIT(""), .kind = STR_LIT(""), .data = STR_LIT("")};
    while (lines.n)
        take_line(str_cut(&lines, '\n'), e);
    *at += (size_t)(end - rest.p) + 2;
    e->end = *at;
    CHECK(e->ids <= 1 && e->datas <= 1);
    return true;
}
