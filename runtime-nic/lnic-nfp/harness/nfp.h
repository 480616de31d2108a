/* Runs an emitted unit of Micro-C on the shim, in a process of its own, as protocol.h says. It is what such a unit
 * includes at its end, so that it sees the unit's own memory. Requests go through the plugin as packets, and replies are
 * taken out of packets; what the plugin sends to services is answered as they do, after packets that only look like it. */
#define HARNESS_UNIT uint32_t
#include "memory.h"
#include "protocol.h"
#include "shim.h"

struct symbol {
  void *at;
  uint32_t size;
};
static const struct symbol symbols[] = {HARNESS_SYMBOLS{0, 0u}};
static const uint32_t symbol_count = sizeof symbols / sizeof *symbols - 1u;

/* The call under way: how it comes in, what is fixed for it, how its message is cut. */
static uint32_t how;
static uint32_t number;
static uint64_t clock_ns;
static uint32_t fixed;
static uint32_t fixed_random;
static uint64_t dice;

uint32_t local_csr_read(enum local_csr csr)
{
  (void)csr;
  return fixed != 0u ? fixed_random : roll(&dice);
}

static uint32_t harness_run(void) { return how == 0u ? lnic_dispatch() : lnic_enter(number); }

/* What a lambda that is entered past the stage has of its stream. */
static uint32_t cut[3];
#ifdef LNIC_STREAMS
static void harness_stream(void)
{
  if (how == 0u) {
    lnic_stream();
    return;
  }
  lnic_call.chunk = cut[0];
  lnic_call.fragment = cut[1];
  lnic_call.chunk_reply = cut[2];
  lnic_call.chunk_empty = 0u;
}
#endif
#ifdef LNIC_SERVICES
/* Ports and ids are not thrown by the lambdas' dice. */
static uint64_t own_dice = 1u;
#endif

static uint8_t *memory_unit(void);

#define LNIC_RUN() harness_run()
#define LNIC_STREAM() harness_stream()
#define LNIC_DICE() roll(&own_dice)
#define LNIC_SET_CLOCK() (lnic_call.now = clock_ns)
#define LNIC_MU_POINTER(number) ((void)(number), memory_unit())
#include "lnic_plugin.h"

struct pif_pkt_info pif_pkt_info_global;
struct pif_pkt_spec pif_pkt_info_spec;

#include "packet.h"

static uint8_t *memory_unit(void) { return (uint8_t *)under_way.mu; }

uint8_t *pkt_ctm_ptr40(uint32_t island, uint32_t packet, uint32_t offset)
{
  (void)island;
  (void)packet;
  return (uint8_t *)under_way.ctm + offset;
}

uint64_t me_tsc_read(void) { return clock_ns / LNIC_TICK_NS; }

/* Times that a packet may come back: each makes it longer. */
#define MAX_PASSES 16u

/* Sends a packet through P4 and the plugin, until it leaves or is dropped; gives how it ended. */
static uint32_t through(struct packet *packet, EXTRACTED_HEADERS_T *h)
{
  uint32_t ingress = packet->port;
  uint32_t passes;

  for (passes = 0u; passes < MAX_PASSES; passes++) {
    MATCH_DATA_T data = {0u};
    uint32_t parsed = get_headers(packet, h, 0u);
    int ended;

    place(packet, parsed);
    /* What the thread did before is of no meaning. */
    memset(&lnic_call, 0xa5, sizeof lnic_call);
    memset(&lnic_packet, 0xa5, sizeof lnic_packet);
    ended = pif_plugin_lnic_lambdas(h, &data);
    if ((ended == PIF_PLUGIN_RETURN_DROP) != (lnic_ended == LNIC_DROP && lnic_packet.own == 0u)) {
      wrong("a packet that is dropped and should not be, or the other way round");
    }
    deparse(packet, parsed, h);
    clear_away();
    if (h->lnic_again == 0u) {
      return lnic_ended;
    }
    packet->port = ingress;
  }
  wrong("a packet that comes back without end");
  return LNIC_DROP;
}

#ifdef LNIC_SERVICES
#define FIRST_SERVICE_PORT 1000u
#define SERVICE_MAC 0x02000000u

/* Says how services are reached, as the host's tools do. */
static void reach_services(void)
{
  uint32_t i;

  for (i = 0u; i < LNIC_SERVICES; i++) {
    uint32_t *row = lnic_services + i * LNIC_SERVICE_BYTES / 4u;

    row[0] = row[0] != 0u ? row[0] : 0x0a090807u;
    row[1] = row[1] != 0u ? row[1] : 11211u;
    row[2] = SERVICE_MAC;
    row[3] = i;
    row[4] = FIRST_SERVICE_PORT + i;
    row[5] = 1u;
  }
}

/* A service's answer to what was asked: headers turned around. */
static void answer_with(const EXTRACTED_HEADERS_T *asked, const uint8_t *text, uint32_t len, struct packet *packet)
{
  EXTRACTED_HEADERS_T h;

  memset(&h, 0, sizeof h);
  h.ethernet.dst_hi = asked->ethernet.src_hi << 16 | asked->ethernet.src_lo >> 16;
  h.ethernet.dst_lo = asked->ethernet.src_lo & 0xffffu;
  h.ethernet.src_hi = asked->ethernet.dst_hi >> 16;
  h.ethernet.src_lo = asked->ethernet.dst_hi << 16 | asked->ethernet.dst_lo;
  h.ipv4.src = asked->ipv4.dst;
  h.ipv4.dst = asked->ipv4.src;
  h.udp.src = asked->udp.dst;
  h.udp.dst = asked->udp.src;
  *packet = packet_of(&h, asked->egress_spec, text, len, 0u);
}

/* A packet that looks like the answer, but for one byte; it must be the host's. */
static void decoy(const struct packet *answer, uint32_t at, uint32_t flip, uint32_t port)
{
  EXTRACTED_HEADERS_T h;
  struct packet packet;

  packet.bytes = malloc(answer->len);
  memcpy(packet.bytes, answer->bytes, answer->len);
  packet.bytes[at] ^= (uint8_t)flip;
  packet.len = answer->len;
  packet.port = port;
  if (through(&packet, &h) != LNIC_HOST || h.egress_spec != LNIC_HOST_PORT) {
    wrong("an answer that nobody waits for is taken");
  }
  free(packet.bytes);
}

/* The host says that time goes by, until something came of it; nothing does before the time is over. */
static uint32_t sweep(const EXTRACTED_HEADERS_T *asked, uint32_t id, struct packet *packet, EXTRACTED_HEADERS_T *h)
{
  uint32_t *slot = lnic_waits + (id & (LNIC_WAITS - 1u)) * LNIC_SLOT_BYTES / 4u;
  uint32_t turns;

  for (turns = 0u; turns < 2u + 2u * LNIC_WAITS / LNIC_SWEPT; turns++) {
    free(packet->bytes);
    answer_with(asked, (const uint8_t *)"", 0u, packet);
    packet->port = LNIC_HOST_PORT;
    if (turns > LNIC_WAITS / LNIC_SWEPT) {
      slot[LNIC_SLOT_DEADLINE / 4] = slot[LNIC_SLOT_DEADLINE / 4 + 1] = 0u;
    }
    /* The lambda may have dropped its request. */
    if (through(packet, h) != LNIC_DROP || slot[LNIC_SLOT_STATE / 4] == LNIC_FREE) {
      return lnic_ended;
    }
  }
  wrong("a wait that never ends");
  return LNIC_DROP;
}

/* The text of an answer of a kind to an operation. */
static uint32_t answer_text(uint32_t kind, uint32_t operation, const uint8_t *key, uint32_t key_len, const uint8_t *value,
                            uint32_t len, uint8_t *to)
{
  int at = 0;

  if (kind == 0u && operation == 0u) {
    at = sprintf((char *)to, "VALUE ");
    memcpy(to + at, key, key_len);
    at += (int)key_len;
    at += sprintf((char *)to + at, " 0 %u\r\n", len);
    if (len > LNIC_MAX_VALUE) {
      /* The first datagram of several, as far as anybody looks at it. */
      memset(to + at, 0x2e, LNIC_MAX_VALUE);
      return (uint32_t)at + LNIC_MAX_VALUE;
    }
    memcpy(to + at, value, len);
    at += (int)len;
    return (uint32_t)(at + sprintf((char *)to + at, "\r\nEND\r\n"));
  }
  if (kind == 1u && operation != 0u) {
    return (uint32_t)sprintf((char *)to, operation == 1u ? "STORED\r\n" : "DELETED\r\n");
  }
  if (kind == 2u) {
    return (uint32_t)sprintf((char *)to, operation == 0u   ? "END\r\n"
                                         : operation == 1u ? "NOT_STORED\r\n"
                                                           : "NOT_FOUND\r\n");
  }
  return (uint32_t)sprintf((char *)to, (key_len & 2u) != 0u ? "SERVER_ERROR out of memory\r\n" : "ERROR\r\n");
}

/* Reads what the service is asked; gives the operation. */
static uint32_t asked_of(const uint8_t *text, uint32_t len, const uint8_t **key, uint32_t *key_len,
                         const uint8_t **value, uint32_t *value_len)
{
  static const char *const words[3] = {"get ", "set ", "delete "};
  uint32_t operation = text[0] == 'g' ? 0u : text[0] == 's' ? 1u : 2u;
  uint32_t word = (uint32_t)strlen(words[operation]);
  uint32_t i;

  *value_len = 0u;
  *value = text;
  if (len < word + 3u || memcmp(text, words[operation], word) != 0 || memcmp(text + len - 2u, "\r\n", 2u) != 0) {
    wrong("a service is asked something odd");
  }
  *key = text + word;
  for (i = word; i < len && text[i] > 0x20u; i++) {
  }
  *key_len = i - word;
  if (operation == 1u) {
    char flags[16];
    unsigned size = 0u;
    int line = 0;

    if (len - i < sizeof flags) {
      memset(flags, 0, sizeof flags);
      memcpy(flags, text + i, len - i);
    } else {
      memcpy(flags, text + i, sizeof flags);
    }
    flags[sizeof flags - 1u] = 0;
    if (sscanf(flags, " 0 0 %u%n", &size, &line) != 1 || i + (uint32_t)line + 2u + size + 2u != len) {
      wrong("a service is asked to store something odd");
    }
    *value = text + i + line + 2;
    *value_len = size;
  } else if (i + 2u != len) {
    wrong("a service is asked something that is too long");
  }
  return operation;
}

/* A request to a service has left: has it answered, and sends the answer. */
static uint32_t go_on(struct packet *packet, EXTRACTED_HEADERS_T *h)
{
  EXTRACTED_HEADERS_T asked = *h;
  uint8_t *text = packet->bytes + OUTER + LNIC_FRAME;
  const uint8_t *at = packet->bytes + OUTER;
  uint8_t *out;
  uint8_t *value;
  const uint8_t *key;
  const uint8_t *stored;
  uint32_t service = h->ethernet.dst_lo;
  uint32_t id = get_be(&at, 2u);
  uint32_t key_len, stored_len, operation, kind, len, text_len;
  struct packet answer;

  check_outer(packet, h);
  if (h->has_lambda != 0u || h->ethernet.dst_hi != SERVICE_MAC || service >= LNIC_SERVICES ||
      h->egress_spec != FIRST_SERVICE_PORT + service || get_be(&at, 2u) != 0u || get_be(&at, 2u) != 1u ||
      h->ipv4.dst != lnic_services[service * LNIC_SERVICE_BYTES / 4u] ||
      h->udp.dst != lnic_services[service * LNIC_SERVICE_BYTES / 4u + 1u] ||
      (h->udp.src & LNIC_PORT_MASK) != LNIC_FIRST_PORT || h->ethernet.src_lo != 0x03040506u || h->ipv4.src != 6u) {
    wrong("a request to a service with the wrong headers");
  }
  operation = asked_of(text, h->udp.len - 8u - LNIC_FRAME, &key, &key_len, &stored, &stored_len);
  give8('a');
  give32(operation);
  give32(service);
  give_bytes(key, key_len);
  give_bytes(stored, stored_len);
  fflush(stdout);
  kind = take32();
  value = take_bytes(&len);
  out = calloc(1u, LNIC_FRAME + key_len + len + 64u);
  memcpy(out, packet->bytes + OUTER, LNIC_FRAME);
  text_len = LNIC_FRAME + answer_text(kind, operation, key, key_len, value, len, out + LNIC_FRAME);
  answer_with(&asked, out, text_len, &answer);
  free(packet->bytes);
  /* Another id, own port, peer's port, peer; another way in; another key. */
  decoy(&answer, OUTER, 0x40u, answer.port);
  decoy(&answer, 37u, 1u, answer.port);
  decoy(&answer, 35u, 1u, answer.port);
  decoy(&answer, 29u, 1u, answer.port);
  decoy(&answer, 0u, 0u, answer.port + 1u);
  decoy(&answer, OUTER + LNIC_FRAME + (kind == 0u && operation == 0u ? 6u : 0u), 0x80u, answer.port);
  if (kind == 3u && (key_len & 1u) == 0u) {
    kind = sweep(&asked, id, &answer, h);
  } else {
    kind = through(&answer, h);
  }
  *packet = answer;
  free(out);
  free(value);
  return kind;
}
#endif

/* The headers of a reply are the request's, turned around. */
static void check_reply(const struct packet *packet, const EXTRACTED_HEADERS_T *h, const EXTRACTED_HEADERS_T *request,
                        uint32_t port)
{
  uint32_t bad = h->lambda.status != LNIC_REPLY;

  check_outer(packet, h);
  if (h->ethernet.dst_hi != 0x11121314u || h->ethernet.dst_lo != 0x1516u || h->ethernet.src_hi != 0x0102u ||
      h->ethernet.src_lo != 0x03040506u || h->ipv4.dst != request->ipv4.src || h->ipv4.src != request->ipv4.dst ||
      h->udp.dst != request->udp.src || h->udp.src != request->udp.dst || packet->port != port) {
    wrong("a reply whose headers are not the request's turned around");
  }
  if (h->has_lambda == 0u || h->lambda.magic != 0xcebbu || h->lambda.version != 1u || h->lambda.kind != 1u ||
      h->lambda.workload != request->lambda.workload || h->lambda.request_hi != request->lambda.request_hi ||
      h->lambda.request_lo != request->lambda.request_lo || h->lambda.flags != 0u ||
      h->udp.len != 32u + h->lambda.length || (bad != 0u && h->lambda.length != 0u) ||
      h->lambda.fragment != (bad != 0u ? 0u : request->lambda.fragment) ||
      h->lambda.fragments != (bad != 0u ? 1u : request->lambda.fragments)) {
    wrong("a reply whose headers do not say what it is");
  }
}

/* What is the host's is the request, with nothing but padding behind it. */
static void check_handed_up(const struct packet *packet, const struct packet *request)
{
  if (packet->port != LNIC_HOST_PORT || packet->len < request->len ||
      memcmp(packet->bytes, request->bytes, OUTER + 24u + lnic_packet.length) != 0) {
    wrong("a request that is handed up is not as it came");
  }
}

static void call(void)
{
  EXTRACTED_HEADERS_T request;
  EXTRACTED_HEADERS_T h;
  struct packet packet;
  struct packet first;
  uint8_t *bytes;
  uint32_t len;
  uint32_t status;
  uint32_t port;
  uint32_t pad;
  uint64_t request_id;

  memset(&request, 0, sizeof request);
  request.has_lambda = 1u;
  request.ethernet.dst_hi = 0x01020304u;
  request.ethernet.dst_lo = 0x0506u;
  request.ethernet.src_hi = 0x1112u;
  request.ethernet.src_lo = 0x13141516u;
  request.ipv4.dst = 6u;
  request.lambda.magic = 0xcebbu;
  request.lambda.version = 1u;
  how = take32();
  number = take32();
  request.lambda.workload = take32();
  request.ipv4.src = take32();
  request.udp.src = take32();
  request.udp.dst = take32();
  port = take32();
  request_id = take64();
  request.lambda.request_hi = (uint32_t)(request_id >> 32);
  request.lambda.request_lo = (uint32_t)request_id;
  clock_ns = take64();
  fixed = take32();
  fixed_random = take32();
  dice = take64();
  cut[0] = take32();
  cut[1] = take32();
  cut[2] = take32();
  request.lambda.fragment = take32();
  request.lambda.fragments = take32();
  pad = take32();
  bytes = take_bytes(&len);
  if (len + pad > LNIC_MAX_REPLY + 4u) {
    wrong("a request that is more than a packet");
  }
  request.lambda.length = len;
  packet = packet_of(&request, port, bytes, len, pad);
  first.bytes = malloc(packet.len);
  first.len = packet.len;
  memcpy(first.bytes, packet.bytes, packet.len);
  status = through(&packet, &h);
#ifdef LNIC_SERVICES
  while (status == LNIC_WAIT) {
    status = go_on(&packet, &h);
  }
#endif
  if (lnic_answered(status) != 0u || status == LNIC_TOO_LARGE) {
    EXTRACTED_HEADERS_T reply;
    uint32_t out = packet.port;

    get_headers(&packet, &reply, 1u);
    packet.port = out;
    check_reply(&packet, &reply, &request, port);
    len = reply.lambda.length;
  } else if (status != LNIC_DROP) {
    check_handed_up(&packet, &first);
  } else if (lnic_packet.own != 0u &&
             (packet.port != LNIC_HOST_PORT || packet.bytes[LAMBDA_STATUS] != LNIC_DROPPED)) {
    wrong("a worker that is not told that its request was dropped");
  }
  give8('e');
  give32(status);
  give32(lnic_call.trap);
  give32(lnic_call.punted);
  give64(dice);
  give_bytes(packet.bytes + HEADERS, status == LNIC_REPLY ? len : 0u);
  free(packet.bytes);
  free(first.bytes);
  free(bytes);
}

/* Memory's bytes. */
static void give_memory(const void *words, uint32_t len)
{
  uint8_t *bytes = malloc(len + 1u);

  shim_get(words, 0u, bytes, len);
  give_bytes(bytes, len);
  free(bytes);
}

static void write_symbol(uint32_t index)
{
  uint8_t *bytes;
  uint32_t len;

  bytes = take_bytes(&len);
  if (index >= symbol_count || len != symbols[index].size) {
    quit();
  }
  shim_put(symbols[index].at, 0u, bytes, len);
  free(bytes);
}

/* Whether long replies go to everybody, or to callers in the private ranges alone. */
static void trust(uint32_t all)
{
  lnic_trusted[0] = all != 0u ? 0u : 0x0a000000u;
  lnic_trusted[1] = all != 0u ? 0u : 0xff000000u;
}

static const struct shim_memory memory[] = {
  {"the call", &lnic_call, sizeof lnic_call, SHIM_LMEM, SHIM_THREAD},
  {"the packet's numbers", &lnic_packet, sizeof lnic_packet, SHIM_LMEM, SHIM_THREAD},
#ifdef LNIC_SERVICES
  {"continuations", lnic_waits, sizeof lnic_waits, SHIM_EMEM, SHIM_SHARED},
  {"what was swept", lnic_swept, sizeof lnic_swept, SHIM_EMEM, SHIM_SHARED},
#endif
  HARNESS_MEMORY{"the reply", lnic_reply_words, sizeof lnic_reply_words, SHIM_IMEM, SHIM_THREAD},
#ifdef LNIC_ASKED
  {"what is asked", lnic_asked_words, sizeof lnic_asked_words, SHIM_IMEM, SHIM_THREAD},
#endif
  {"who is trusted", lnic_trusted, sizeof lnic_trusted, SHIM_EMEM, SHIM_SHARED}};

static void command(uint8_t what, uint32_t **first)
{
  uint32_t i;

  switch (what) {
  case 'c':
    call();
    break;
  case 'r':
    i = take32();
    if (i >= symbol_count) {
      quit();
    }
    give8('m');
    give_memory(symbols[i].at, symbols[i].size);
    break;
  case 'w':
    write_symbol(take32());
    break;
  case 't':
    trust(take32());
    break;
  case 'z':
    for (i = 0; i < symbol_count; i++) {
      memcpy(symbols[i].at, first[i], (symbols[i].size + 3u) & ~3u);
    }
    break;
  default:
    quit();
  }
  fflush(stdout);
}

int main(void)
{
  uint32_t **first = calloc(symbol_count + 1u, sizeof *first);
  uint8_t what;
  uint32_t i;

  shim_start(memory, sizeof memory / sizeof *memory);
  pif_plugin_init_master();
  pif_plugin_init();
  trust(1u);
#ifdef LNIC_SERVICES
  reach_services();
#endif
  for (i = 0; i < symbol_count; i++) {
    first[i] = words_of(symbols[i].size);
    memcpy(first[i], symbols[i].at, (symbols[i].size + 3u) & ~3u);
  }
  while (fread(&what, 1, 1, stdin) == 1) {
    command(what, first);
  }
  for (i = 0; i < symbol_count; i++) {
    free(first[i]);
  }
  free(first);
  return 0;
}
