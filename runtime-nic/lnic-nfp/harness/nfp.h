/* Runs an emitted unit of Micro-C on the shim, in a process of its own, as protocol.h says. It is what such a unit
 * includes at its end, so that it sees the unit's own memory. Requests go through the plugin, as packets that P4 has
 * parsed, and replies are taken out of packets. */
#define HARNESS_UNIT uint32_t
#include "memory.h"
#include "protocol.h"
#include "shim.h"

/* Where a packet's payload starts: 64 bytes in front of the packet, and its headers (project notes on the NFP, 1.6). */
#define PAYLOAD_AT (64u + 66u)

struct symbol {
  void *at;
  uint32_t size;
};
static const struct symbol symbols[] = {HARNESS_SYMBOLS{0, 0u}};
static const uint32_t symbol_count = sizeof symbols / sizeof *symbols - 1u;

static uint32_t fixed;
static uint32_t fixed_random;
static uint64_t dice;

/* A request to a service that is under way. */
static uint32_t asked_operation;
static uint32_t asked_key_len;
static uint32_t asked_value_len;
static uint64_t *asked_saved;

uint32_t local_csr_read(enum local_csr csr)
{
  (void)csr;
  return fixed != 0u ? fixed_random : roll(&dice);
}

LNIC_SUPPORT uint32_t lnic_service_port(uint32_t service) { return 1000u + service; }

LNIC_SUPPORT __mem40 uint8_t *lnic_ask(uint32_t operation, uint32_t key_len, uint32_t value_len, uint32_t service,
                                 uint32_t site)
{
  asked_operation = operation;
  asked_key_len = key_len;
  asked_value_len = value_len;
  lnic_call.service = service;
  lnic_call.site = site;
  asked_saved = calloc(1u, HARNESS_SAVED);
  shim_add("a continuation", asked_saved, HARNESS_SAVED, SHIM_EMEM, SHIM_SHARED);
  return (uint8_t *)asked_saved;
}

/* Memory's bytes. */
static void give_memory(const void *words, uint32_t offset, uint32_t len)
{
  uint8_t *bytes = malloc(len + 1u);

  shim_get(words, offset, bytes, len);
  give_bytes(bytes, len);
  free(bytes);
}

static void *words_of(uint32_t len) { return calloc(1u, (len + 15u) & ~7u); }

/* Asks the other end, and takes its answer. */
static uint32_t go_on(void)
{
  void *saved = asked_saved;
  uint8_t *bytes;
  void *answer;
  uint32_t len;
  uint32_t kind;
  uint32_t status;

  give8('a');
  give32(asked_operation);
  give32(lnic_call.service);
  give_memory(lnic_asked_words, 0u, asked_key_len);
  give_memory(lnic_asked_words, 256u, asked_operation == 1u ? asked_value_len : 0u);
  fflush(stdout);
  kind = take32();
  bytes = take_bytes(&len);
  answer = words_of(len);
  shim_put(answer, 0u, bytes, len);
  shim_add("an answer", answer, len, SHIM_EMEM, SHIM_PACKET);
  lnic_call.ok = (kind == 0u && asked_operation == 0u) || (kind == 1u && asked_operation != 0u);
  lnic_call.failed = lnic_call.ok == 0u && kind != 2u;
  lnic_call.answer = answer;
  lnic_call.answer_len = len;
  lnic_call.saved = saved;
#if HARNESS_RESUMES
  status = lnic_resume();
#else
  status = LNIC_DROP;
  wrong("a wait in a unit that never goes on");
#endif
  shim_remove(answer);
  shim_remove(saved);
  free(saved);
  free(answer);
  free(bytes);
  return status;
}

/* How the call under way comes in, and what came of it. */
static uint32_t how;
static uint32_t number;
static uint64_t clock_ns;
static uint32_t replied;

static uint32_t harness_run(void)
{
  uint32_t status = how == 0u ? lnic_dispatch() : how == 1u ? lnic_enter(number) : lnic_punted(number);

  while (status == LNIC_WAIT) {
    if (how < 2u && lnic_packet.egress != lnic_call.port &&
        lnic_packet.egress != lnic_service_port(lnic_call.service)) {
      wrong("a request to a service that leaves by another's port");
    }
    status = go_on();
  }
  replied = lnic_call.reply_len;
  return status;
}

/* The start of a packet's buffer in CTM, and what of it lies there; the rest lies in EMEM at the same offset. */
struct buffers {
  void *ctm;
  void *mu;
};

static struct buffers under_way;

#define LNIC_OWN_SERVICES
#define LNIC_RUN() harness_run()
#define LNIC_SET_CLOCK() (lnic_call.now = clock_ns)
#define LNIC_MU_POINTER(number) ((void)(number), (uint8_t *)under_way.mu)
#include "lnic_plugin.h"

struct pif_pkt_info pif_pkt_info_global;
struct pif_pkt_spec pif_pkt_info_spec;

uint8_t *pkt_ctm_ptr40(uint32_t island, uint32_t packet, uint32_t offset)
{
  (void)island;
  (void)packet;
  return (uint8_t *)under_way.ctm + offset;
}

uint64_t me_tsc_read(void) { return clock_ns / LNIC_TICK_NS; }

/* A packet's buffers: what does not fit the one in CTM lies in EMEM at the same offset. */
static void place(const uint8_t *bytes, uint32_t len)
{
  uint32_t size = len & 3u;
  uint32_t room = (256u << size) - PAYLOAD_AT;
  uint32_t near = len < room ? len : room;

  under_way.ctm = words_of(PAYLOAD_AT + near);
  under_way.mu = words_of(PAYLOAD_AT + len);
  shim_put(under_way.ctm, PAYLOAD_AT, bytes, near);
  shim_put(under_way.mu, PAYLOAD_AT + near, bytes + near, len - near);
  shim_add("the packet in CTM", under_way.ctm, PAYLOAD_AT + near, SHIM_CTM, SHIM_PACKET);
  shim_add("the packet in EMEM", under_way.mu, PAYLOAD_AT + len, SHIM_EMEM, SHIM_PACKET);
  pif_pkt_info_global.p_ctm_size = size;
  pif_pkt_info_global.p_is_split = near < len;
  pif_pkt_info_global.p_offset = 64u;
  pif_pkt_info_spec.pkt_pl_off = PAYLOAD_AT - 64u;
}

/* The payload of the packet that goes out. */
static uint8_t *payload(EXTRACTED_HEADERS_T *h, uint32_t request_len, uint32_t len)
{
  uint8_t *out = malloc(len + LNIC_MAX_GROWTH + request_len + 1u);
  uint32_t near = request_len < lnic_call.ctm_len ? request_len : lnic_call.ctm_len;
  uint32_t at = 0u;
  uint32_t i;
  struct {
    uint32_t there;
    uint32_t size;
    const shim_words *words;
  } grown[5];

  grown[0].there = h->has_grow_4, grown[0].size = 4u, grown[0].words = &h->grow_4;
  grown[1].there = h->has_grow_8, grown[1].size = 8u, grown[1].words = &h->grow_8;
  grown[2].there = h->has_grow_16, grown[2].size = 16u, grown[2].words = &h->grow_16;
  grown[3].there = h->has_grow_32, grown[3].size = 32u, grown[3].words = &h->grow_32;
  grown[4].there = h->has_grow_64, grown[4].size = 64u, grown[4].words = &h->grow_64;
  for (i = 0; i < 5u; i++) {
    if (grown[i].there != 0u) {
      shim_get(grown[i].words, 0u, out + at, grown[i].size);
      at += grown[i].size;
    }
  }
  shim_get(under_way.ctm, PAYLOAD_AT, out + at, near);
  shim_get(under_way.mu, PAYLOAD_AT + near, out + at + near, request_len - near);
  if (at + request_len < len) {
    wrong("a reply that is longer than its packet");
  }
  return out;
}

/* The headers of a reply are the request's, turned around. */
static void check_packet(const EXTRACTED_HEADERS_T *h, uint32_t status, uint32_t src_ip, uint32_t src_port)
{
  const PIF_PLUGIN_ipv4_T *ip = &h->ipv4;
  uint32_t sum = (ip->version_ihl << 8) + ip->tos + ip->len + ip->id + ip->fragment + (ip->ttl << 8) + ip->protocol +
                 ip->sum + (ip->src >> 16) + (ip->src & 0xffffu) + (ip->dst >> 16) + (ip->dst & 0xffffu);

  while (sum >> 16 != 0u) {
    sum = (sum >> 16) + (sum & 0xffffu);
  }
  if (h->ethernet.dst_hi != 0x11121314u || h->ethernet.dst_lo != 0x1516u || h->ethernet.src_hi != 0x0102u ||
      h->ethernet.src_lo != 0x03040506u || ip->dst != src_ip || ip->src != 6u || h->udp.dst != src_port ||
      h->egress_spec != h->ingress_port || h->lambda.kind != 1u) {
    wrong("a reply whose headers are not the request's turned around");
  }
  if (sum != 0xffffu || h->lambda.status != status || h->udp.sum != 0u || h->udp.len != 32u + h->lambda.length ||
      ip->len != 52u + h->lambda.length || (status != LNIC_REPLY && h->lambda.length != 0u)) {
    wrong("a reply whose headers do not say what it is");
  }
}

static void parsed(EXTRACTED_HEADERS_T *h, uint32_t workload, uint64_t request_id, uint32_t len)
{
  h->has_ethernet = h->has_ipv4 = h->has_udp = h->has_lambda = 1u;
  h->ethernet.dst_hi = 0x01020304u;
  h->ethernet.dst_lo = 0x0506u;
  h->ethernet.src_hi = 0x1112u;
  h->ethernet.src_lo = 0x13141516u;
  h->ipv4.version_ihl = 0x45u;
  h->ipv4.protocol = 17u;
  h->ipv4.dst = 6u;
  h->lambda.workload = workload;
  h->lambda.request_hi = (uint32_t)(request_id >> 32);
  h->lambda.request_lo = (uint32_t)request_id;
  h->lambda.fragments = 1u;
  h->lambda.length = len;
}

static void call(void)
{
  EXTRACTED_HEADERS_T headers;
  MATCH_DATA_T data = {0u};
  uint32_t workload;
  uint8_t *request;
  uint8_t *reply = 0;
  uint32_t len;
  uint32_t status;

  memset(&headers, 0, sizeof headers);
  memset(&lnic_call, 0, sizeof lnic_call);
  memset(&lnic_packet, 0, sizeof lnic_packet);
  how = take32();
  number = take32();
  workload = take32();
  headers.ipv4.src = take32();
  headers.udp.src = take32();
  headers.udp.dst = take32();
  headers.ingress_port = take32();
  {
    uint32_t src_ip = headers.ipv4.src;
    uint32_t src_port = headers.udp.src;
    uint64_t request_id = take64();

    clock_ns = take64();
    fixed = take32();
    fixed_random = take32();
    dice = take64();
    request = take_bytes(&len);
    if (len > LNIC_MAX_REPLY) {
      wrong("a request that is more than a packet");
    }
    parsed(&headers, workload, request_id, len);
    place(request, len);
    if (pif_plugin_lnic_lambdas(&headers, &data) == PIF_PLUGIN_RETURN_DROP && lnic_ended != LNIC_DROP) {
      wrong("a packet that is dropped and should not be");
    }
    status = lnic_ended;
    if (how < 2u && (lnic_answered(status) != 0u || status == LNIC_TOO_LARGE)) {
      check_packet(&headers, status, src_ip, src_port);
    }
  }
  if (status == LNIC_REPLY) {
    reply = payload(&headers, len, replied);
  } else if (status == LNIC_TOO_LARGE) {
    /* Longer than a packet can grow: what the lambda said is still of interest. */
    status = LNIC_REPLY;
    reply = malloc(replied + 1u);
    shim_get(lnic_reply_words, 4u, reply, replied);
  }
  shim_remove(under_way.ctm);
  shim_remove(under_way.mu);
  free(under_way.ctm);
  free(under_way.mu);
  free(request);
  give8('e');
  give32(status);
  give32(lnic_call.trap);
  give32(lnic_call.punted);
  give64(dice);
  give_bytes(reply, status == LNIC_REPLY ? replied : 0u);
  free(reply);
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

int main(void)
{
  static const struct shim_memory memory[] = {HARNESS_MEMORY{"the reply", lnic_reply_words, sizeof lnic_reply_words,
                                                             SHIM_IMEM, SHIM_THREAD},
                                              {"what is asked", lnic_asked_words, sizeof lnic_asked_words, SHIM_IMEM,
                                               SHIM_THREAD}};
  uint32_t **first = calloc(symbol_count + 1u, sizeof *first);
  uint8_t command;
  uint32_t i;

  shim_start(memory, sizeof memory / sizeof *memory);
  pif_plugin_init_master();
  pif_plugin_init();
  for (i = 0; i < symbol_count; i++) {
    first[i] = words_of(symbols[i].size);
    memcpy(first[i], symbols[i].at, (symbols[i].size + 3u) & ~3u);
  }
  while (fread(&command, 1, 1, stdin) == 1) {
    switch (command) {
    case 'c':
      call();
      break;
    case 'r':
      i = take32();
      if (i >= symbol_count) {
        quit();
      }
      give8('m');
      give_memory(symbols[i].at, 0u, symbols[i].size);
      break;
    case 'w':
      write_symbol(take32());
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
  for (i = 0; i < symbol_count; i++) {
    free(first[i]);
  }
  free(first);
  return 0;
}
