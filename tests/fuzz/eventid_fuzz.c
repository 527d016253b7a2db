/* The input is the text of an event id, or the bytes inside one of several
 * channels. What is read must be written again byte for byte. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/auth/base64.h"
#include "gateway/protocol/event_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entries(const struct event_id *id)
{
    CHECK(id->count > 0 && id->count <= EVENT_ID_MAX_CHANNELS);
    for (size_t i = 0; i < id->count; i++) {
        const struct event_id_entry *e = &id->entries[i];
        CHECK(e->name <= EVENT_ID_NAME_MAX);
        CHECK(e->position.epoch > 0 && e->position.epoch <= POSITION_EPOCH_MAX);
        CHECK(id->kind == EVENT_ID_ONE ||
              event_id_find(id, e->name) == &e->position);
    }
}

static void check_text(struct str text)
{
    struct event_id id;
    struct buf again = BUF_INIT;
    if (event_id_parse(text, &id) < 0)
        return;
    check_entries(&id);
    if (id.kind == EVENT_ID_ONE)
        event_id_add_one(&again, id.entries[0].position);
    else
        CHECK(event_id_add_many(&again, id.entries, id.count) == 0);
    CHECK(str_eq(buf_view(&again), text));
    buf_free(&again);
}

static void check_bytes(struct str bytes)
{
    struct buf text = BUF_INIT;
    struct buf back = BUF_INIT;
    buf_char(&text, '~');
    base64url_encode(&text, bytes);
    check_text(buf_view(&text));
    CHECK(base64url_decode(&back, str_skip(buf_view(&text), 1)) == 0);
    CHECK(str_eq(buf_view(&back), bytes));
    buf_free(&back);
    buf_free(&text);
}

static void check_base64(struct str text)
{
    struct buf bytes = BUF_INIT;
    struct buf again = BUF_INIT;
    if (base64url_decode(&bytes, text) == 0) {
        base64url_encode(&again, buf_view(&bytes));
        CHECK(str_eq(buf_view(&again), text));
    } else {
        CHECK(bytes.n == 0);
    }
    buf_free(&again);
    buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    check_text(str_n(copy, size));
    check_bytes(str_n(copy, size));
    check_base64(str_n(copy, size));
    free(copy);
    return 0;
}
