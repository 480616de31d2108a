/* Twin of query.lnic. */
#include "text.h"

uint32_t twin(const uint8_t *request, uint32_t len, uint8_t *reply)
{
    uint32_t at = 0;
    uint32_t hash = 0x811c9dc5u;
    while (at < len && request[at] != '?' && request[at] != ' ')
        hash = (hash ^ request[at++]) * 0x01000193u;
    uint32_t used = hex(hash, reply);
    while (at < len && request[at] != ' ') {
        uint32_t name = ++at;
        while (at < len && request[at] != '=' && request[at] != '&' && request[at] != ' ')
            at++;
        int is_id = at - name == 2 && memcmp(request + name, "id", 2) == 0;
        if (at < len && request[at] == '=')
            at++;
        uint32_t value = at;
        while (at < len && request[at] != '&' && request[at] != ' ')
            at++;
        if (is_id) {
            uint64_t id;
            if (parse_dec(request + value, at - value, &id)) {
                reply[used++] = ' ';
                used += dec(id, reply + used);
            }
            break;
        }
    }
    return used;
}
