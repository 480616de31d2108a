/* The plugin around a unit of Micro-C: what P4 calls for each packet to the worker.
 *
 * What P4 gives: header instances `ethernet` (dst_hi:32 dst_lo:16 src_hi:16 src_lo:32 type:16), `ipv4` (version_ihl:8
 * tos:8 len:16 id:16 fragment:16 ttl:8 protocol:8 sum:16 src:32 dst:32), `udp` (src:16 dst:16 len:16 sum:16), `lambda`
 * (magic:16 version:8 kind:8 workload:32 request_hi:32 request_lo:32 fragment:16 fragments:16 length:16 status:8
 * flags:8), and behind it, valid in replies alone and never parsed, `grow_4`, `grow_8`, `grow_16`, `grow_32` and
 * `grow_64` of words w0 to w15, in this order. P4 has dropped what is malformed, calls the extern `lnic_lambdas` where
 * `lambda` is valid, and forwards by standard_metadata.egress_spec. No field is wider than a word or crosses one, so
 * that names are the same in all versions of the tools.
 *
 * A reply that is no longer than the request is written over it, and bytes behind it are left out by the lengths in the
 * headers. A longer one begins in the headers grow_4 to grow_64: at most LNIC_MAX_GROWTH bytes more; a reply that is
 * longer still is answered with status TOO_LARGE (lambdas that could are the host's: `legal`). What is not the core's
 * to answer goes to the host's port as it came.
 *
 * Not run on hardware. */
#ifndef LNIC_PLUGIN_H
#define LNIC_PLUGIN_H

#include <pif_common.h>
#include <pif_plugin.h>
#include <pkt/pkt.h>

/* Nanoseconds of a tick: 16 cycles at 800 MHz. */
#define LNIC_TICK_NS 20u
/* The port of the host's first virtual function. */
#ifndef LNIC_HOST_PORT
#define LNIC_HOST_PORT 0x300u
#endif
#define LNIC_MAX_GROWTH 124u
#define LNIC_TOO_LARGE 7u
/* Bytes of UDP's header and the lambda header, and of IPv4's. */
#define LNIC_UDP_HEADERS 32u
#define LNIC_IPV4_HEADER 20u
/* What picks a lambda; tests put something else here. */
#ifndef LNIC_RUN
#define LNIC_RUN() lnic_dispatch()
#endif

/* How the last packet ended. */
static uint32_t lnic_ended;

/* The clock, and an address in a memory unit by its number in the packet's metadata. */
#ifndef LNIC_SET_CLOCK
#define LNIC_SET_CLOCK() (lnic_call.now = me_tsc_read() * LNIC_TICK_NS)
#endif
#ifndef LNIC_MU_POINTER
#define LNIC_MU_POINTER(number) ((__mem40 uint8_t *)((uint64_t)(number) << 11))
#endif

#ifndef LNIC_OWN_SERVICES
/* Nothing can wait: a lambda that asks a service goes on at once, as failed. (Such lambdas are the host's: `legal`.) */
LNIC_SUPPORT uint32_t lnic_service_port(uint32_t service)
{
  (void)service;
  return LNIC_HOST_PORT;
}

LNIC_SUPPORT __mem40 uint8_t *lnic_ask(uint32_t operation, uint32_t key_len, uint32_t value_len, uint32_t service,
                                 uint32_t site)
{
  (void)operation;
  (void)key_len;
  (void)value_len;
  (void)service;
  (void)site;
  return LNIC_NOTHING;
}
#endif

/* ---- Headers, to numbers and back. */

LNIC_SUPPORT void lnic_take_headers(EXTRACTED_HEADERS_T *headers)
{
  PIF_PLUGIN_ethernet_T *ethernet = pif_plugin_hdr_readonly_get_ethernet(headers);
  PIF_PLUGIN_ipv4_T *ipv4 = pif_plugin_hdr_readonly_get_ipv4(headers);
  PIF_PLUGIN_udp_T *udp = pif_plugin_hdr_readonly_get_udp(headers);
  PIF_PLUGIN_lambda_T *lambda = pif_plugin_hdr_readonly_get_lambda(headers);

  lnic_packet.eth_dst_hi = ethernet->dst_hi;
  lnic_packet.eth_dst_lo = ethernet->dst_lo;
  lnic_packet.eth_src_hi = ethernet->src_hi << 16 | ethernet->src_lo >> 16;
  lnic_packet.eth_src_lo = ethernet->src_lo & 0xffffu;
  lnic_packet.ip_src = ipv4->src;
  lnic_packet.ip_dst = ipv4->dst;
  lnic_packet.udp_src = udp->src;
  lnic_packet.udp_dst = udp->dst;
  lnic_packet.ingress = pif_plugin_meta_get__standard_metadata__ingress_port(headers);
  lnic_packet.egress = LNIC_HOST_PORT;
  lnic_call.workload = lambda->workload;
  lnic_call.request_len = lambda->length;
  lnic_call.src_ip = ipv4->src;
  lnic_call.src_port = udp->src;
  lnic_call.dst_port = udp->dst;
  lnic_call.port = lnic_packet.ingress;
  lnic_call.request_id = (uint64_t)lambda->request_hi << 32 | lambda->request_lo;
  lnic_call.reply_len = 0u;
}

/* A one's complement sum in 16 bits. */
LNIC_SUPPORT uint32_t lnic_folded(uint32_t sum)
{
  sum = (sum >> 16) + (sum & 0xffffu);
  return ((sum >> 16) + sum) & 0xffffu;
}

LNIC_SUPPORT void lnic_put_headers(EXTRACTED_HEADERS_T *headers)
{
  PIF_PLUGIN_ethernet_T *ethernet = pif_plugin_hdr_get_ethernet(headers);
  PIF_PLUGIN_ipv4_T *ipv4 = pif_plugin_hdr_get_ipv4(headers);
  PIF_PLUGIN_udp_T *udp = pif_plugin_hdr_get_udp(headers);
  PIF_PLUGIN_lambda_T *lambda = pif_plugin_hdr_get_lambda(headers);
  uint32_t sum;

  ethernet->dst_hi = lnic_packet.eth_dst_hi;
  ethernet->dst_lo = lnic_packet.eth_dst_lo;
  ethernet->src_hi = lnic_packet.eth_src_hi >> 16;
  ethernet->src_lo = lnic_packet.eth_src_hi << 16 | lnic_packet.eth_src_lo;
  ipv4->len = lnic_packet.ip_len;
  ipv4->ttl = 64u;
  ipv4->src = lnic_packet.ip_src;
  ipv4->dst = lnic_packet.ip_dst;
  sum = (ipv4->version_ihl << 8) + ipv4->tos + ipv4->len + ipv4->id + ipv4->fragment;
  sum += (ipv4->ttl << 8) + ipv4->protocol;
  sum += (ipv4->src >> 16) + (ipv4->src & 0xffffu) + (ipv4->dst >> 16) + (ipv4->dst & 0xffffu);
  ipv4->sum = ~lnic_folded(sum) & 0xffffu;
  udp->src = lnic_packet.udp_src;
  udp->dst = lnic_packet.udp_dst;
  udp->len = lnic_packet.udp_len;
  udp->sum = lnic_packet.udp_sum;
  lambda->kind = lnic_packet.kind;
  lambda->status = lnic_packet.status;
  lambda->length = lnic_packet.length;
  if (lnic_packet.status != LNIC_REPLY) {
    lambda->fragment = 0u;
    lambda->fragments = 1u;
  }
}

/* ---- The payload. */

/* Where it lies: behind all that P4 parsed, in CTM up to the end of the buffer, the rest in a memory unit. */
LNIC_SUPPORT void lnic_take_payload(void)
{
  uint32_t at = pif_pkt_info_spec.pkt_pl_off;
  uint32_t near = (256u << pif_pkt_info_global.p_ctm_size) - pif_pkt_info_global.p_offset;

  lnic_call.ctm =
    pkt_ctm_ptr40(pif_pkt_info_global.p_isl, pif_pkt_info_global.p_pnum, pif_pkt_info_global.p_offset) + at;
  lnic_call.ctm_len = lnic_call.request_len;
  lnic_call.mu = lnic_call.ctm;
  if (pif_pkt_info_global.p_is_split != 0u) {
    lnic_call.mu = LNIC_MU_POINTER(pif_pkt_info_global.p_muptr) + pif_pkt_info_global.p_offset + at;
    lnic_call.ctm_len = near > at ? near - at : 0u;
  }
}

/* Writes over the request. */
LNIC_SUPPORT void lnic_put_payload(__mem40 uint8_t *from, uint32_t len)
{
  uint32_t near = len < lnic_call.ctm_len ? len : lnic_call.ctm_len;

  lnic_copy_mem_mem(lnic_call.ctm, from, near);
  if (near < len) {
    lnic_copy_mem_mem(lnic_call.mu + near, from + near, len - near);
  }
}

#define LNIC_WORDS_4 LNIC_WORD(0)
#define LNIC_WORDS_8 LNIC_WORDS_4 LNIC_WORD(1)
#define LNIC_WORDS_16 LNIC_WORDS_8 LNIC_WORD(2) LNIC_WORD(3)
#define LNIC_WORDS_32 LNIC_WORDS_16 LNIC_WORD(4) LNIC_WORD(5) LNIC_WORD(6) LNIC_WORD(7)
#define LNIC_WORDS_64                                                                                                \
  LNIC_WORDS_32 LNIC_WORD(8) LNIC_WORD(9) LNIC_WORD(10) LNIC_WORD(11) LNIC_WORD(12) LNIC_WORD(13) LNIC_WORD(14)      \
  LNIC_WORD(15)
#define LNIC_WORD(n) words->w##n = lnic_mem_be32(from + n * 4);

/* Headers in front of the payload, where so many bytes are a part of what is sent there. */
#define LNIC_GROW(size)                                                                                              \
  LNIC_SUPPORT __mem40 uint8_t *lnic_grow_##size(EXTRACTED_HEADERS_T *headers, __mem40 uint8_t *from, uint32_t bytes) \
  {                                                                                                                  \
    PIF_PLUGIN_grow_##size##_T *words;                                                                               \
                                                                                                                     \
    if ((bytes & size##u) == 0u) {                                                                                   \
      return from;                                                                                                   \
    }                                                                                                                \
    pif_plugin_hdr_grow_##size##_add(headers);                                                                       \
    words = pif_plugin_hdr_get_grow_##size(headers);                                                                 \
    LNIC_WORDS_##size return from + size;                                                                            \
  }

LNIC_GROW(4)
LNIC_GROW(8)
LNIC_GROW(16)
LNIC_GROW(32)
LNIC_GROW(64)

LNIC_SUPPORT void lnic_send(EXTRACTED_HEADERS_T *headers)
{
  __mem40 uint8_t *from = lnic_reply_area + 4;
  uint32_t len = lnic_call.reply_len;
  uint32_t more = len > lnic_call.request_len ? (len - lnic_call.request_len + 3u) & ~3u : 0u;

  from = lnic_grow_4(headers, from, more);
  from = lnic_grow_8(headers, from, more);
  from = lnic_grow_16(headers, from, more);
  from = lnic_grow_32(headers, from, more);
  from = lnic_grow_64(headers, from, more);
  if (len > more) {
    lnic_put_payload(from, len - more);
  }
}

/* ---- What P4 and the tools call. */

int pif_plugin_lnic_lambdas(EXTRACTED_HEADERS_T *headers, MATCH_DATA_T *data)
{
  (void)data;
  lnic_take_headers(headers);
  lnic_take_payload();
  LNIC_SET_CLOCK();
  lnic_ended = LNIC_RUN();
  if (lnic_ended == LNIC_DROP) {
    return PIF_PLUGIN_RETURN_DROP;
  }
  if (lnic_answered(lnic_ended) == 0u) {
    pif_plugin_meta_set__standard_metadata__egress_spec(headers, LNIC_HOST_PORT);
    return PIF_PLUGIN_RETURN_FORWARD;
  }
  if (lnic_call.reply_len > lnic_call.request_len + LNIC_MAX_GROWTH) {
    lnic_ended = LNIC_TOO_LARGE;
    lnic_call.reply_len = 0u;
    lnic_packet.status = LNIC_TOO_LARGE;
    lnic_packet.length = 0u;
    lnic_packet.udp_len = LNIC_UDP_HEADERS;
    lnic_packet.ip_len = LNIC_UDP_HEADERS + LNIC_IPV4_HEADER;
  }
  lnic_put_headers(headers);
  lnic_send(headers);
  pif_plugin_meta_set__standard_metadata__egress_spec(headers, lnic_packet.egress);
  return PIF_PLUGIN_RETURN_FORWARD;
}

/* Once for each thread: what is a thread's own is zero already. */
void pif_plugin_init(void) {}

/* Once: state is as the tools loaded it, locks are free. */
void pif_plugin_init_master(void) {}

#endif
