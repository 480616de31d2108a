/* What the twins need of text.lnic. */
#ifndef TEXT_H
#define TEXT_H

#include <stdint.h>
#include <string.h>

static inline int parse_dec(const uint8_t *digits, uint32_t len, uint64_t *out)
{
    if (len == 0 || len > 20)
        return 0;
    uint64_t value = 0;
    for (uint32_t i = 0; i < len; i++) {
        uint8_t c = digits[i];
        if (c < '0' || c > '9')
            return 0;
        uint64_t digit = c - '0';
        if (value > 1844674407370955161u || (value == 1844674407370955161u && digit > 5))
            return 0;
        value = value * 10 + digit;
    }
    *out = value;
    return 1;
}

static inline uint32_t dec(uint64_t value, uint8_t *out)
{
    uint8_t digits[20];
    uint32_t at = 20;
    do {
        digits[--at] = (uint8_t)(value % 10) + '0';
        value /= 10;
    } while (value > 0);
    memcpy(out, digits + at, 20 - at);
    return 20 - at;
}

static inline uint32_t hex(uint64_t value, uint8_t *out)
{
    uint8_t digits[16];
    uint32_t at = 16;
    do {
        uint8_t digit = value & 15;
        digits[--at] = digit < 10 ? digit + '0' : digit - 10 + 'a';
        value >>= 4;
    } while (value > 0);
    memcpy(out, digits + at, 16 - at);
    return 16 - at;
}

#endif
