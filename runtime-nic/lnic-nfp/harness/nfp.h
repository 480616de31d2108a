/* Runs an emitted unit of Micro-C on the shim, in a process of its own, as protocol.h says. It is what such a unit
 * includes at its end, so that it sees the unit's own memory. */
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

static uint32_t lnic_service_port(uint32_t service) { return 1000u + service; }

static __mem40 uint8_t *lnic_ask(uint32_t operation, uint32_t key_len, uint32_t value_len, uint32_t service,
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

/* A packet with numbers by which a reply's can be told. */
static void packet(void)
{
  memset(&lnic_packet, 0, sizeof lnic_packet);
  lnic_packet.eth_dst_hi = 1u;
  lnic_packet.eth_dst_lo = 2u;
  lnic_packet.eth_src_hi = 3u;
  lnic_packet.eth_src_lo = 4u;
  lnic_packet.ip_src = 5u;
  lnic_packet.ip_dst = 6u;
  lnic_packet.udp_src = 7u;
  lnic_packet.udp_dst = 8u;
  lnic_packet.ingress = 9u;
}

static void check_packet(uint32_t status)
{
  const struct lnic_packet *p = &lnic_packet;

  if (p->eth_dst_hi != 3u || p->eth_dst_lo != 4u || p->eth_src_hi != 1u || p->eth_src_lo != 2u || p->ip_src != 6u ||
      p->ip_dst != 5u || p->udp_src != 8u || p->udp_dst != 7u || p->egress != 9u || p->kind != 1u) {
    wrong("a reply whose headers are not the request's turned around");
  }
  if (p->status != status || p->length != lnic_call.reply_len || p->udp_len != 32u + p->length ||
      p->ip_len != 52u + p->length || (status != LNIC_REPLY && p->length != 0u)) {
    wrong("a reply whose headers do not say what it is");
  }
}

/* The start of a packet's buffer in CTM, and what of it lies there; the rest lies in EMEM at the same offset. */
struct buffers {
  void *ctm;
  void *mu;
};

static struct buffers place(const uint8_t *bytes, uint32_t len)
{
  struct buffers buffers;
  uint32_t room = 256u << (len & 3u);
  uint32_t near = len < room - PAYLOAD_AT ? len : room - PAYLOAD_AT;

  buffers.ctm = words_of(PAYLOAD_AT + near);
  buffers.mu = words_of(PAYLOAD_AT + len);
  shim_put(buffers.ctm, PAYLOAD_AT, bytes, near);
  shim_put(buffers.mu, PAYLOAD_AT + near, bytes + near, len - near);
  shim_add("the packet in CTM", buffers.ctm, PAYLOAD_AT + near, SHIM_CTM, SHIM_PACKET);
  shim_add("the packet in EMEM", buffers.mu, PAYLOAD_AT + len, SHIM_EMEM, SHIM_PACKET);
  lnic_call.request_len = len;
  lnic_call.ctm = (uint8_t *)buffers.ctm + PAYLOAD_AT;
  lnic_call.ctm_len = near;
  lnic_call.mu = (uint8_t *)buffers.mu + PAYLOAD_AT;
  return buffers;
}

static void call(void)
{
  uint32_t how = take32();
  uint32_t number = take32();
  struct buffers buffers;
  uint8_t *request;
  uint32_t len;
  uint32_t status;

  memset(&lnic_call, 0, sizeof lnic_call);
  lnic_call.workload = take32();
  lnic_call.src_ip = take32();
  lnic_call.src_port = take32();
  lnic_call.dst_port = take32();
  lnic_call.port = take32();
  lnic_call.request_id = take64();
  lnic_call.now = take64();
  fixed = take32();
  fixed_random = take32();
  dice = take64();
  request = take_bytes(&len);
  if (len > LNIC_MAX_REPLY) {
    wrong("a request that is more than a packet");
  }
  buffers = place(request, len);
  packet();
  status = how == 0u ? lnic_dispatch() : how == 1u ? lnic_enter(number) : lnic_punted(number);
  while (status == LNIC_WAIT) {
    if (how < 2u && lnic_packet.egress != 9u && lnic_packet.egress != lnic_service_port(lnic_call.service)) {
      wrong("a request to a service that leaves by another's port");
    }
    status = go_on();
  }
  if (how < 2u && status < LNIC_PUNT) {
    check_packet(status);
  }
  shim_remove(buffers.ctm);
  shim_remove(buffers.mu);
  free(buffers.ctm);
  free(buffers.mu);
  free(request);
  give8('e');
  give32(status);
  give32(lnic_call.trap);
  give32(lnic_call.punted);
  give64(dice);
  give_memory(lnic_reply_words, 4u, status == LNIC_REPLY ? lnic_call.reply_len : 0u);
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
