/* Links lambdas of two workloads into a C program, calls them, and prints their replies. */

#include <stdio.h>
#include <string.h>

#include "host/image.h"

/* Runs a web request the way a worker does: the match stage first, then the lambda that it names. */
static int web(const char *request, void *const *objects) {
    uint8_t reply[LNIC_WEB_PAGE_REPLY];
    struct lnic_context ctx = {0};
    ctx.request = (const uint8_t *)request;
    ctx.request_len = (uint32_t)strlen(request);
    ctx.objects = objects;
    ctx.reply = reply;
    ctx.reply_cap = sizeof reply;
    uint32_t end;
    switch (lnic_web__dispatch(&ctx)) {
    case 0:
        end = lnic_web_page(&ctx);
        break;
    case 1:
        end = lnic_web_not_found(&ctx);
        break;
    default:
        return 1;
    }
    if (end != LNIC_REPLY) {
        return 1;
    }
    fwrite(reply, 1, ctx.reply_len, stdout);
    return 0;
}

/* What the match stage of kv says of a request. */
static uint32_t kv(const uint8_t *request, uint32_t len) {
    struct lnic_context ctx = {0};
    ctx.request = request;
    ctx.request_len = len;
    return lnic_kv__dispatch(&ctx);
}

int main(void) {
    /* `state hits: counter` is one cell of 64 bits. */
    uint64_t hits = 0;
    void *const objects[] = {&hits};
    if (web("GET /", objects) || web("GET /nowhere", objects) || web("GET / HTTP/1.1\r\n", objects)) {
        return 1;
    }
    printf("hits %llu\n", (unsigned long long)hits);

    uint8_t request[18] = {0};
    printf("get goes to %u\n", kv(request, 17));
    request[0] = 1;
    printf("set goes to %u\n", kv(request, 18));
    printf("an empty set is dropped: %d\n", kv(request, 17) == LNIC_MATCH_DROP);
    printf("a short one is refused: %d\n", kv(request, 16) == LNIC_MATCH_BAD_REQUEST);
    return 0;
}
