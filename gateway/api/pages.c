#include "gateway/api/pages.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/loop.h"
#include "gateway/protocol/codes.h"

struct page {
    char *name;      /* owned */
    struct buf body; /* owned */
};

struct pages {
    size_t count;
    struct page pages[PAGES_MAX];
};

static struct str type_of(struct str name)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".webmanifest", "application/manifest+json"},
        {".txt", "text/plain; charset=utf-8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        size_t n = strlen(types[i].ending);
        if (name.n > n && memcmp(name.p + name.n - n, types[i].ending, n) == 0)
            return str_of(types[i].type);
    }
    return STR_LIT("application/octet-stream");
}

static int read_page(const char *root, const char *name, struct page *page,
                     char *err, size_t errlen)
{
    struct buf path = BUF_INIT;
    struct stat st;
    int rc = 0;
    buf_printf(&path, "%s/%s%c", root, name, '\0');
    FILE *f = fopen(path.p, "rb");
    if (!f || fstat(fileno(f), &st) == -1) {
        snprintf(err, errlen, "%s/%s: %s", root, name, strerror(errno));
        rc = ERR_SYSTEM;
    } else if (!S_ISREG(st.st_mode)) {
        rc = ERR_NOT_FOUND;
    } else if (st.st_size > PAGES_FILE_MAX) {
        snprintf(err, errlen, "%s/%s is larger than %u bytes", root, name,
                 PAGES_FILE_MAX);
        rc = ERR_TOO_BIG;
    } else {
        buf_reserve(&page->body, (size_t)st.st_size + 1);
        page->body.n = fread(page->body.p, 1, (size_t)st.st_size, f);
        page->name = mem_strndup(name, strlen(name));
    }
    if (f)
        fclose(f);
    buf_free(&path);
    return rc;
}

int pages_load(const char *root, struct pages **out, char *err, size_t errlen)
{
    DIR *dir = opendir(root);
    struct dirent *d;
    int rc = 0;
    if (!dir) {
        snprintf(err, errlen, "web.root %s: %s", root, strerror(errno));
        return ERR_SYSTEM;
    }
    struct pages *p = mem_zalloc(sizeof(*p));
    while (rc == 0 && (d = readdir(dir))) {
        if (d->d_name[0] == '.')
            continue;
        if (p->count == PAGES_MAX) {
            snprintf(err, errlen, "web.root %s has more than %d files", root,
                     PAGES_MAX);
            rc = ERR_TOO_BIG;
            break;
        }
        rc = read_page(root, d->d_name, &p->pages[p->count], err, errlen);
        if (rc == 0)
            p->count++;
        else if (rc == ERR_NOT_FOUND)
            rc = 0; /* a folder */
    }
    closedir(dir);
    if (rc < 0) {
        pages_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void pages_free(struct pages *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++) {
        free(p->pages[i].name);
        buf_free(&p->pages[i].body);
    }
    free(p);
}

static bool is_page(const struct page *page, struct str name)
{
    struct str have = str_of(page->name);
    if (str_eq(have, name))
        return true;
    return memchr(name.p, '.', name.n) == NULL && have.n == name.n + 5 &&
           str_starts(have, name) && memcmp(have.p + name.n, ".html", 5) == 0;
}

static const struct page *find(const struct pages *p, struct str name)
{
    if (name.n == 0)
        name = STR_LIT("index.html");
    for (size_t i = 0; i < p->count; i++) {
        if (is_page(&p->pages[i], name))
            return &p->pages[i];
    }
    return NULL;
}

void pages_handle(struct http_exchange *x, const struct http_request *r)
{
    const struct page *page =
        find(http_loop(x)->app->pages, str_skip(r->path, 1));
    if (!page) {
        http_respond_error(x, 404, ERROR_METHOD_NOT_FOUND,
                           STR_LIT("no such page"));
        return;
    }
    if (r->method != HTTP_IS_GET && r->method != HTTP_IS_HEAD) {
        http_respond(
            x, &(struct http_response){
                   .status = 405, .headers = STR_LIT("Allow: GET, HEAD\r\n")});
        return;
    }
    http_respond(x,
                 &(struct http_response){
                     .status = 200,
                     .content_type = type_of(str_of(page->name)),
                     .body = buf_view(&page->body),
                     .headers = STR_LIT("Cache-Control: no-cache\r\n"
                                        "X-Content-Type-Options: nosniff\r\n"),
                 });
}
