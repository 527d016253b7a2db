#include "gateway/broker/puback.h"

#include "gateway/protocol/json.h"

/* Of an error that does not say its number. */
#define UNNAMED_ERROR 1

static uint32_t read_error(struct json_value error)
{
    struct json_value v;
    uint32_t code;
    if (json_member(error, str_of("err_code"), &v) && json_u32(v, &code) == 0 &&
        code)
        return code;
    return UNNAMED_ERROR;
}

int puback_parse(struct str text, struct puback *out)
{
    struct json_value ack;
    struct json_value v;
    struct puback p = {0};
    if (json_parse(text, &ack) < 0)
        return ERR_INVALID;
    if (json_member(ack, str_of("error"), &v)) {
        *out = (struct puback){.error = read_error(v)};
        return 0;
    }
    if (!json_member(ack, str_of("seq"), &v) || json_u64(v, &p.seq) < 0 ||
        p.seq == 0)
        return ERR_INVALID;
    if (json_member(ack, str_of("duplicate"), &v) &&
        json_bool(v, &p.duplicate) < 0)
        return ERR_INVALID;
    *out = p;
    return 0;
}
