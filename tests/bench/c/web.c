/* Twin of web.lnic. */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

static const char PAGE[] =
    "<!doctype html>\n<title>lambda-nic</title>\n<p>This page was answered by the network card.\n";
static const char NOT_FOUND[] = "not found\n";
static _Atomic uint64_t hits;

uint32_t twin(const uint8_t *request, uint32_t len, uint8_t *reply)
{
    int found = (len == 5 && memcmp(request, "GET /", 5) == 0) ||
                (len >= 6 && memcmp(request, "GET / ", 6) == 0);
    if (!found) {
        memcpy(reply, NOT_FOUND, sizeof NOT_FOUND - 1);
        return sizeof NOT_FOUND - 1;
    }
    atomic_fetch_add_explicit(&hits, 1, memory_order_relaxed);
    memcpy(reply, PAGE, sizeof PAGE - 1);
    return sizeof PAGE - 1;
}
