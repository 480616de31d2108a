/* Twin of crc32.lnic: the usual table, a byte at a time. */
#include <stdint.h>

static uint32_t table[256];

__attribute__((constructor)) static void fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        table[i] = crc;
    }
}

uint32_t twin(const uint8_t *request, uint32_t len, uint8_t *reply)
{
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(crc ^ request[i]) & 0xff];
    crc = ~crc;
    reply[0] = (uint8_t)(crc >> 24);
    reply[1] = (uint8_t)(crc >> 16);
    reply[2] = (uint8_t)(crc >> 8);
    reply[3] = (uint8_t)crc;
    return 4;
}
