#include "gateway/protocol/codes.h"

#include "base/mem.h"

static const struct error_info errors[] = {
#define ENTRY(name, code, temporary, status, message) \
    {code, temporary, status, {message, sizeof(message) - 1}},
    CODE_ERRORS(ENTRY)
#undef ENTRY
};

const struct error_info *error_info(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (errors[i].code == code)
            return &errors[i];
    }
    return &errors[0];
}

struct str disconnect_reason(uint32_t code)
{
    switch (code) {
#define ENTRY(name, number, reason) \
    case number:                    \
        return STR_LIT(reason);
        CODE_DISCONNECTS(ENTRY)
#undef ENTRY
    default:
        return STR_LIT("disconnect");
    }
}

uint32_t disconnect_for_error(uint32_t error)
{
    switch (error) {
    case ERROR_TOKEN_EXPIRED:
    case ERROR_EXPIRED:
        return DISCONNECT_EXPIRED;
    case ERROR_TOO_MANY_REQUESTS:
        return DISCONNECT_TOO_MANY_REQUESTS;
    case ERROR_PERMISSION_DENIED:
        return DISCONNECT_PERMISSION_DENIED;
    default:
        return DISCONNECT_INTERNAL;
    }
}
