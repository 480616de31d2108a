/* Twin of checksum.lnic. */
#include <stdint.h>

uint32_t twin(const uint8_t *request, uint32_t len, uint8_t *reply)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < len / 2; i++)
        sum += (uint64_t)request[2 * i] << 8 | request[2 * i + 1];
    if (len % 2 == 1)
        sum += (uint64_t)request[len - 1] << 8;
    for (int fold = 0; fold < 3; fold++)
        sum = (sum & 0xffff) + (sum >> 16);
    uint16_t result = (uint16_t)~sum;
    reply[0] = (uint8_t)(result >> 8);
    reply[1] = (uint8_t)result;
    return 2;
}
