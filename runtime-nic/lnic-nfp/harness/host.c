/* Runs an emitted unit of plain C in a process of its own, as protocol.h says. */
#include "lnic_c.h"

#include "protocol.h"

#define HARNESS_UNIT uint8_t
#include "memory.h"

struct symbol {
  uint8_t *at;
  uint32_t size;
};
static const struct symbol symbols[] = {HARNESS_SYMBOLS{0, 0u}};
static const uint32_t symbol_count = sizeof symbols / sizeof *symbols - 1u;

struct lnic_call lnic_call;
struct lnic_packet lnic_packet;
uint8_t lnic_reply_area[4 + MAX_MESSAGE] __attribute__((aligned(8)));

extern uint32_t lnic_resume(void) __attribute__((weak));

static uint64_t clock_ns;
static uint32_t fixed;
static uint32_t fixed_random;
static uint64_t dice;

/* A request to a service that is under way. */
static uint32_t asked_operation;
static uint8_t *asked_key;
static uint32_t asked_key_len;
static uint8_t *asked_value;
static uint32_t asked_value_len;
static uint8_t *asked_saved;

uint64_t lnic_now(void) { return clock_ns; }

uint32_t lnic_random(void) { return fixed != 0u ? fixed_random : roll(&dice); }

void lnic_log(const char *text, uint32_t len)
{
  (void)text;
  (void)len;
}
void lnic_log_unsigned(uint64_t value) { (void)value; }
void lnic_log_signed(uint64_t value, uint32_t width)
{
  (void)value;
  if (width < 1u || width > 64u) {
    wrong("a logged number without a width");
  }
}
void lnic_log_bool(uint32_t value)
{
  if (value > 1u) {
    wrong("a logged bool that is neither true nor false");
  }
}
void lnic_log_bytes(const uint8_t *bytes, uint32_t len)
{
  volatile uint8_t seen = 0;
  uint32_t i;

  for (i = 0; i < len; i++) {
    seen ^= bytes[i];
  }
}
void lnic_log_end(void) {}

uint32_t lnic_service_port(uint32_t service) { return 1000u + service; }

static uint8_t *keep(const uint8_t *from, uint32_t len)
{
  uint8_t *to = malloc(len == 0u ? 1u : len);

  memcpy(to, from, len);
  return to;
}

static uint8_t *ask(uint32_t operation, const uint8_t *key, uint32_t len, const uint8_t *value, uint32_t value_len,
                    uint32_t service, uint32_t site)
{
  uint32_t i;

  if (len < 1u || len > 250u) {
    return LNIC_NOTHING;
  }
  for (i = 0; i < len; i++) {
    if (key[i] <= 0x20u || key[i] == 0x7fu) {
      return LNIC_NOTHING;
    }
  }
  asked_operation = operation;
  asked_key = keep(key, len);
  asked_key_len = len;
  asked_value = keep(value, value_len);
  asked_value_len = value_len;
  asked_saved = malloc(HARNESS_SAVED);
  lnic_call.service = service;
  lnic_call.site = site;
  return asked_saved;
}

uint8_t *lnic_ask_get(const uint8_t *key, uint32_t len, uint32_t service, uint32_t site)
{
  return ask(0u, key, len, key, 0u, service, site);
}

uint8_t *lnic_ask_set(const uint8_t *key, const uint8_t *value, uint32_t len, uint32_t value_len, uint32_t service,
                      uint32_t site)
{
  return ask(1u, key, len, value, value_len, service, site);
}

uint8_t *lnic_ask_delete(const uint8_t *key, uint32_t len, uint32_t service, uint32_t site)
{
  return ask(2u, key, len, key, 0u, service, site);
}

/* Asks the other end, and takes its answer. */
static uint32_t go_on(void)
{
  uint8_t *saved = asked_saved;
  uint8_t *answer;
  uint32_t kind;
  uint32_t status;

  give8('a');
  give32(asked_operation);
  give32(lnic_call.service);
  give_bytes(asked_key, asked_key_len);
  give_bytes(asked_value, asked_value_len);
  fflush(stdout);
  free(asked_key);
  free(asked_value);
  kind = take32();
  answer = take_bytes(&lnic_call.answer_len);
  /* 0 a value, 1 done, 2 missing, 3 failed; one that does not suit what was asked has failed. */
  lnic_call.ok = (kind == 0u && asked_operation == 0u) || (kind == 1u && asked_operation != 0u);
  lnic_call.failed = lnic_call.ok == 0u && kind != 2u;
  lnic_call.answer = answer;
  lnic_call.saved = saved;
  if (lnic_resume == 0) {
    wrong("a wait in a unit that never goes on");
  }
  status = lnic_resume();
  free(saved);
  free(answer);
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

static void call(void)
{
  uint32_t how = take32();
  uint32_t number = take32();
  uint8_t *request;
  uint32_t status;
  uint32_t i;

  memset(&lnic_call, 0, sizeof lnic_call);
  lnic_call.workload = take32();
  lnic_call.src_ip = take32();
  lnic_call.src_port = take32();
  lnic_call.dst_port = take32();
  lnic_call.port = take32();
  lnic_call.request_id = take64();
  clock_ns = take64();
  fixed = take32();
  fixed_random = take32();
  dice = take64();
  /* A chunk comes alone, and without padding. */
  for (i = 0u; i < 6u; i++) {
    take32();
  }
  request = take_bytes(&lnic_call.request_len);
  lnic_call.request = request;
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
  free(request);
  give8('e');
  give32(status);
  give32(lnic_call.trap);
  give32(lnic_call.punted);
  give64(dice);
  give_bytes(lnic_reply_area + 4, status == LNIC_REPLY ? lnic_call.reply_len : 0u);
}

int main(void)
{
  uint8_t **first = calloc(symbol_count + 1u, sizeof *first);
  uint8_t command;
  uint32_t i;

  for (i = 0; i < symbol_count; i++) {
    first[i] = keep(symbols[i].at, symbols[i].size);
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
      give_bytes(symbols[i].at, symbols[i].size);
      break;
    case 'w':
      i = take32();
      if (i >= symbol_count || take32() != symbols[i].size) {
        quit();
      }
      take(symbols[i].at, symbols[i].size);
      break;
    case 'z':
      for (i = 0; i < symbol_count; i++) {
        memcpy(symbols[i].at, first[i], symbols[i].size);
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
