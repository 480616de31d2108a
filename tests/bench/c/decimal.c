/* Twin of decimal.lnic. */
#include "text.h"

static const char REFUSED[] = "not a number";

uint32_t twin(const uint8_t *request, uint32_t len, uint8_t *reply)
{
    uint64_t value;
    if (!parse_dec(request, len, &value)) {
        memcpy(reply, REFUSED, sizeof REFUSED - 1);
        return sizeof REFUSED - 1;
    }
    return dec(value + 1, reply);
}
