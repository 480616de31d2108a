/* The plugin around a unit of Micro-C: what P4 calls for packets to the worker.
 *
 * What P4 has:
 *   headers   `ethernet` (dst_hi:32 dst_lo:16 src_hi:16 src_lo:32 type:16), `ipv4` (version_ihl:8 tos:8 len:16 id:16
 *             fragment:16 ttl:8 protocol:8 sum:16 src:32 dst:32), `udp` (src:16 dst:16 len:16 sum:16), `lambda` (magic:16
 *             version:8 kind:8 workload:32 request_hi:32 request_lo:32 fragment:16 fragments:16 length:16 status:8
 *             flags:8), and behind it, never parsed, `grow_4`, `grow_8`, `grow_16`, `grow_32` and `grow_64` of words w0
 *             to w15, deparsed in this order. No field is wider than a word or crosses one, so that names are the same in
 *             all versions of the tools.
 *   metadata  `lnic_ingress`:32, the port that the packet came in by, and `lnic_again`:32, which is 0 before the plugin
 *             is called. Where it is 1 afterwards, egress recirculates the packet with `lnic_ingress` kept (it is set
 *             from the standard metadata only where the packet is not a recirculated one), and P4 calls the plugin again.
 *
 * When P4 calls the extern `lnic_lambdas`: for requests, with `lambda` valid, malformed ones dropped; and with `lambda`
 * not valid for UDP over IPv4 to the worker's address whose destination port p has (p & LNIC_PORT_MASK) ==
 * LNIC_FIRST_PORT: answers of services. Afterwards P4 forwards by standard_metadata.egress_spec, or drops.
 *
 * A reply that is no longer than its packet is written over the payload, and bytes behind it are left out by the lengths
 * in the headers. A longer one begins in the headers grow_4 to grow_64: at most LNIC_MAX_GROWTH bytes more. Before a
 * lambda runs whose reply could take more than that, the packet is made longer so, and recirculates until it can hold
 * the reply; its headers and its payload stay as they are, and padding is behind them. What is not the core's to answer
 * goes to the host's port as it came, but for such padding.
 *
 * The worker itself asks for who comes over HTTP: by packets that come in by the host's port from LNIC_NOBODY, and have
 * room for any reply; the client's IPv4 address is behind LNIC_MAX_REPLY bytes of payload. The lambda knows of its packet what it would on the host: the client, and
 * else 0. What is not answered goes back as it came; where a lambda dropped it, with the status LNIC_DROPPED.
 *
 * Assumed, not documented in the open: that a recirculated packet's p_len counts what was added; that metadata is kept
 * where P4 says so. Not run on hardware. */
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
/* Ports that services answer to: 64 of them, below those that Linux gives out, so that nobody else has them. */
#define LNIC_FIRST_PORT 0x7fc0u
#define LNIC_PORT_MASK 0xffc0u
#define LNIC_TOO_LARGE 7u
/* Who asks for the worker: the dummy address of RFC 7600, which no packet on a wire is from; and what such a packet says
 * that a lambda dropped. */
#define LNIC_NOBODY 0xc0000008u
#define LNIC_DROPPED 255u
/* First words of the lambda header: magic, version 1. */
#define LNIC_MAGIC 0xcebbu
#define LNIC_VERSION 1u
/* Bytes of UDP's header, with the lambda header, and of IPv4's. */
#define LNIC_UDP_HEADER 8u
#define LNIC_UDP_HEADERS 32u
#define LNIC_IPV4_HEADER 20u
/* A reply to a caller that nobody vouches for is at most so many times the request. */
#define LNIC_REFLECTED 3u
/* What picks a lambda, and what is known of a workload's streams; tests put something else here. */
#ifndef LNIC_RUN
#define LNIC_RUN() lnic_dispatch()
#endif
#ifndef LNIC_STREAM
#define LNIC_STREAM() lnic_stream()
#endif
#ifndef LNIC_SET_CLOCK
#define LNIC_SET_CLOCK() (lnic_call.now = me_tsc_read() * LNIC_TICK_NS)
#endif
/* An address in a memory unit by its number in the packet's metadata. */
#ifndef LNIC_MU_POINTER
#define LNIC_MU_POINTER(number) ((__mem40 uint8_t *)((uint64_t)(number) << 11))
#endif

/* How the last packet ended. */
static uint32_t lnic_ended;

/* Where the packet's payload lies: behind all that P4 parsed, in CTM up to the end of the buffer, the rest in a memory
 * unit. */
struct lnic_payload {
  __mem40 uint8_t *ctm;
  uint32_t ctm_len;
  __mem40 uint8_t *mu;
};
static __lmem struct lnic_payload lnic_payload;

/* Callers whom long replies are sent to: address and mask; the tools that load the unit write others. At first the
 * private ranges. */
#define LNIC_TRUSTED 8u
__export __emem LNIC_ALIGNED(8) uint32_t lnic_trusted[LNIC_TRUSTED * 2u] = {
  0x0a000000u, 0xff000000u, 0xac100000u, 0xfff00000u, 0xc0a80000u, 0xffff0000u, 1u, 0u,
  1u,          0u,          1u,          0u,          1u,          0u,          1u, 0u};

/* ---- Headers, to numbers and back. */

LNIC_SUPPORT void lnic_take_headers(EXTRACTED_HEADERS_T *headers)
{
  PIF_PLUGIN_ethernet_T *ethernet = pif_plugin_hdr_readonly_get_ethernet(headers);
  PIF_PLUGIN_ipv4_T *ipv4 = pif_plugin_hdr_readonly_get_ipv4(headers);
  PIF_PLUGIN_udp_T *udp = pif_plugin_hdr_readonly_get_udp(headers);

  lnic_packet.eth_dst_hi = ethernet->dst_hi;
  lnic_packet.eth_dst_lo = ethernet->dst_lo;
  lnic_packet.eth_src_hi = ethernet->src_hi << 16 | ethernet->src_lo >> 16;
  lnic_packet.eth_src_lo = ethernet->src_lo & 0xffffu;
  lnic_packet.ip_src = ipv4->src;
  lnic_packet.ip_dst = ipv4->dst;
  lnic_packet.udp_src = udp->src;
  lnic_packet.udp_dst = udp->dst;
  lnic_packet.udp_len = udp->len;
  lnic_packet.asked_len = udp->len;
  lnic_packet.ingress = pif_plugin_meta_get__scalars__metadata__lnic_ingress(headers);
  lnic_packet.egress = LNIC_HOST_PORT;
  lnic_packet.own = lnic_packet.ingress == LNIC_HOST_PORT && ipv4->src == LNIC_NOBODY;
  lnic_packet.length = 0u;
  if (pif_plugin_hdr_lambda_present(headers)) {
    PIF_PLUGIN_lambda_T *lambda = pif_plugin_hdr_readonly_get_lambda(headers);

    lnic_packet.workload = lambda->workload;
    lnic_packet.request_hi = lambda->request_hi;
    lnic_packet.request_lo = lambda->request_lo;
    lnic_packet.fragment = lambda->fragment;
    lnic_packet.fragments = lambda->fragments;
    lnic_packet.length = lambda->length;
  }
}

/* What lambdas know of their packet. */
LNIC_SUPPORT void lnic_facts(void)
{
  lnic_call.workload = lnic_packet.workload;
  lnic_call.request_len = lnic_packet.length;
  lnic_call.reply_len = 0u;
  if (lnic_packet.own != 0u) {
    lnic_call.src_ip = lnic_packet.client;
    lnic_call.src_port = 0u;
    lnic_call.dst_port = 0u;
    lnic_call.port = 0u;
    lnic_call.request_id = 0u;
    return;
  }
  lnic_call.src_ip = lnic_packet.ip_src;
  lnic_call.src_port = lnic_packet.udp_src;
  lnic_call.dst_port = lnic_packet.udp_dst;
  lnic_call.port = lnic_packet.ingress;
  lnic_call.request_id = (uint64_t)lnic_packet.request_hi << 32 | lnic_packet.request_lo;
}

/* A one's complement sum in 16 bits. */
LNIC_SUPPORT uint32_t lnic_folded(uint32_t sum)
{
  sum = (sum >> 16) + (sum & 0xffffu);
  return ((sum >> 16) + sum) & 0xffffu;
}

/* Ethernet, IPv4 and UDP. Of the old IPv4 header nothing is trusted: no options, no fragment, so the number of the
 * datagram is free to be 0 (RFC 6864). */
LNIC_SUPPORT void lnic_put_outer(EXTRACTED_HEADERS_T *headers)
{
  PIF_PLUGIN_ethernet_T *ethernet = pif_plugin_hdr_get_ethernet(headers);
  PIF_PLUGIN_ipv4_T *ipv4 = pif_plugin_hdr_get_ipv4(headers);
  PIF_PLUGIN_udp_T *udp = pif_plugin_hdr_get_udp(headers);
  uint32_t sum;

  ethernet->dst_hi = lnic_packet.eth_dst_hi;
  ethernet->dst_lo = lnic_packet.eth_dst_lo;
  ethernet->src_hi = lnic_packet.eth_src_hi >> 16;
  ethernet->src_lo = lnic_packet.eth_src_hi << 16 | lnic_packet.eth_src_lo;
  ipv4->version_ihl = 0x45u;
  ipv4->tos = 0u;
  ipv4->len = lnic_packet.ip_len;
  ipv4->id = 0u;
  ipv4->fragment = 0x4000u;
  ipv4->ttl = 64u;
  ipv4->protocol = 17u;
  ipv4->src = lnic_packet.ip_src;
  ipv4->dst = lnic_packet.ip_dst;
  sum = 0x4500u + lnic_packet.ip_len + 0x4000u + 0x4011u;
  sum += (lnic_packet.ip_src >> 16) + (lnic_packet.ip_src & 0xffffu);
  sum += (lnic_packet.ip_dst >> 16) + (lnic_packet.ip_dst & 0xffffu);
  ipv4->sum = ~lnic_folded(sum) & 0xffffu;
  udp->src = lnic_packet.udp_src;
  udp->dst = lnic_packet.udp_dst;
  udp->len = lnic_packet.udp_len;
  udp->sum = lnic_packet.udp_sum;
}

LNIC_SUPPORT void lnic_put_lambda(EXTRACTED_HEADERS_T *headers)
{
  PIF_PLUGIN_lambda_T *lambda;

  pif_plugin_hdr_lambda_add(headers);
  lambda = pif_plugin_hdr_get_lambda(headers);
  lambda->magic = LNIC_MAGIC;
  lambda->version = LNIC_VERSION;
  lambda->kind = lnic_packet.kind;
  lambda->workload = lnic_packet.workload;
  lambda->request_hi = lnic_packet.request_hi;
  lambda->request_lo = lnic_packet.request_lo;
  lambda->fragment = lnic_packet.fragment;
  lambda->fragments = lnic_packet.fragments;
  lambda->length = lnic_packet.length;
  lambda->status = lnic_packet.status;
  lambda->flags = 0u;
  if (lnic_packet.status != LNIC_REPLY) {
    lambda->fragment = 0u;
    lambda->fragments = 1u;
  }
}

/* Lengths for a reply that is another than the one that headers were made for. */
LNIC_SUPPORT void lnic_put_lengths(void)
{
  lnic_packet.length = lnic_call.reply_len;
  lnic_packet.udp_len = lnic_call.reply_len + LNIC_UDP_HEADERS;
  lnic_packet.ip_len = lnic_packet.udp_len + LNIC_IPV4_HEADER;
}

/* ---- The payload. */

LNIC_SUPPORT void lnic_take_payload(void)
{
  uint32_t at = pif_pkt_info_spec.pkt_pl_off;
  uint32_t near = (256u << pif_pkt_info_global.p_ctm_size) - pif_pkt_info_global.p_offset;

  lnic_call.room = pif_pkt_info_global.p_len - at;
  lnic_payload.ctm =
    pkt_ctm_ptr40(pif_pkt_info_global.p_isl, pif_pkt_info_global.p_pnum, pif_pkt_info_global.p_offset) + at;
  lnic_payload.ctm_len = lnic_call.room;
  lnic_payload.mu = lnic_payload.ctm;
  if (pif_pkt_info_global.p_is_split != 0u) {
    lnic_payload.mu = LNIC_MU_POINTER(pif_pkt_info_global.p_muptr) + pif_pkt_info_global.p_offset + at;
    lnic_payload.ctm_len = near > at ? near - at : 0u;
  }
}

/* Makes the payload from an offset on the request that is read. */
LNIC_SUPPORT void lnic_read_from(uint32_t at)
{
  lnic_call.ctm = lnic_payload.ctm + at;
  lnic_call.ctm_len = lnic_payload.ctm_len > at ? lnic_payload.ctm_len - at : 0u;
  lnic_call.mu = lnic_payload.mu + at;
}

/* Writes over the payload's start. */
LNIC_SUPPORT void lnic_put_payload(__mem40 uint8_t *from, uint32_t len)
{
  uint32_t near = len < lnic_payload.ctm_len ? len : lnic_payload.ctm_len;

  lnic_copy_mem_mem(lnic_payload.ctm, from, near);
  if (near < len) {
    lnic_copy_mem_mem(lnic_payload.mu + near, from + near, len - near);
  }
}

/* Clears what is behind so many bytes of it. */
LNIC_SUPPORT void lnic_clear_payload(uint32_t from)
{
  uint32_t near = lnic_payload.ctm_len;

  if (from < near) {
    lnic_mem_zero(lnic_payload.ctm + from, near - from);
    from = near;
  }
  if (from < lnic_call.room) {
    lnic_mem_zero(lnic_payload.mu + from, lnic_call.room - from);
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

/* Puts the reply area's first bytes behind the parsed headers, in a packet that becomes so many bytes longer. */
LNIC_SUPPORT void lnic_fill(EXTRACTED_HEADERS_T *headers, uint32_t len, uint32_t more)
{
  __mem40 uint8_t *from = lnic_reply_area + 4;

  if (len < more) {
    lnic_mem_zero(from + len, more - len);
  }
  from = lnic_grow_4(headers, from, more);
  from = lnic_grow_8(headers, from, more);
  from = lnic_grow_16(headers, from, more);
  from = lnic_grow_32(headers, from, more);
  from = lnic_grow_64(headers, from, more);
  if (len > more) {
    lnic_put_payload(from, len - more);
  }
}

/* How many bytes more a packet with so many needs. */
LNIC_SUPPORT uint32_t lnic_more(uint32_t len) { return len > lnic_call.room ? (len - lnic_call.room + 3u) & ~3u : 0u; }

/* Sends what is in the reply area, so many bytes; what else was in the packet goes out where it is the caller's own. */
LNIC_SUPPORT void lnic_send(EXTRACTED_HEADERS_T *headers, uint32_t len, uint32_t own)
{
  uint32_t more = lnic_more(len);

  lnic_fill(headers, len, more);
  if (own == 0u) {
    lnic_clear_payload(len - (len < more ? len : more));
  }
  pif_plugin_meta_set__standard_metadata__egress_spec(headers, lnic_packet.egress);
}

/* Makes the packet longer, its first bytes as they were, and has it come back. */
LNIC_SUPPORT int lnic_come_again(EXTRACTED_HEADERS_T *headers, uint32_t used)
{
  uint32_t more = lnic_more(lnic_call.wanted);

  lnic_read_from(0u);
  lnic_copy_mem_pkt(lnic_reply_area + 4, 0u, used);
  lnic_fill(headers, used, more < LNIC_MAX_GROWTH ? more : LNIC_MAX_GROWTH);
  pif_plugin_meta_set__scalars__metadata__lnic_again(headers, 1u);
  pif_plugin_meta_set__standard_metadata__egress_spec(headers, lnic_packet.ingress);
  return PIF_PLUGIN_RETURN_FORWARD;
}

/* ---- Requests. */

#ifdef LNIC_STREAMS
/* The chunks of a packet, one by one, their replies behind each other. */
LNIC_SUPPORT uint32_t lnic_chunks(EXTRACTED_HEADERS_T *headers)
{
  uint32_t len = lnic_packet.length;
  uint32_t count = 0u;
  uint32_t done = 0u;
  uint32_t at;

  if (len > lnic_call.fragment || (len < lnic_call.fragment && lnic_packet.fragment + 1u < lnic_packet.fragments) ||
      (len == 0u && lnic_packet.fragments > 1u)) {
    return LNIC_DROP;
  }
  if (len == 0u) {
    return lnic_call.chunk_empty != 0u ? lnic_empty() : LNIC_RUN();
  }
  for (at = 0u; at < len; at += lnic_call.chunk) {
    count++;
  }
  if (lnic_short(count * lnic_call.chunk_reply) != 0u) {
    return LNIC_AGAIN;
  }
  for (at = 0u; at < len; at += lnic_call.chunk) {
    uint32_t status;

    lnic_take_headers(headers);
    lnic_facts();
    lnic_read_from(at);
    lnic_call.request_len = len - at < lnic_call.chunk ? len - at : lnic_call.chunk;
    status = LNIC_RUN();
    if (status != LNIC_REPLY) {
      return status;
    }
    if (done + lnic_call.reply_len > LNIC_MAX_REPLY) {
      return LNIC_DROP;
    }
    lnic_copy_mem_mem(lnic_asked + done, lnic_reply_area + 4, lnic_call.reply_len);
    done += lnic_call.reply_len;
  }
  lnic_copy_mem_mem(lnic_reply_area + 4, lnic_asked, done);
  lnic_call.reply_len = done;
  lnic_put_lengths();
  return LNIC_REPLY;
}
#endif

LNIC_SUPPORT uint32_t lnic_request(EXTRACTED_HEADERS_T *headers)
{
  if (lnic_packet.length > lnic_call.room || lnic_packet.length > LNIC_MAX_REPLY ||
      (lnic_packet.own != 0u && lnic_call.room < LNIC_MAX_REPLY + 4u)) {
    return LNIC_DROP;
  }
  lnic_read_from(0u);
  if (lnic_packet.own != 0u) {
    lnic_packet.client = lnic_pkt_be32(LNIC_MAX_REPLY);
  }
  lnic_facts();
#ifdef LNIC_STREAMS
  LNIC_STREAM();
  if (lnic_call.chunk != 0u) {
    return lnic_chunks(headers);
  }
#else
  (void)headers;
#endif
  return lnic_packet.fragments == 1u ? LNIC_RUN() : LNIC_HOST;
}

#ifdef LNIC_SERVICES
#include "lnic_wait.h"
#endif

/* ---- Replies. */

/* Whether a reply is so much longer than its request that only a caller who is trusted gets it. */
LNIC_SUPPORT uint32_t lnic_reflects(void)
{
  uint32_t i;

  if (lnic_call.reply_len + LNIC_UDP_HEADERS <= lnic_packet.asked_len * LNIC_REFLECTED) {
    return 0u;
  }
  for (i = 0u; i < LNIC_TRUSTED; i++) {
    __mem40 uint8_t *entry = (__mem40 uint8_t *)lnic_trusted + i * 8u;

    if ((lnic_packet.ip_dst & lnic_mem_load32(entry + 4)) == lnic_mem_load32(entry)) {
      return 0u;
    }
  }
  return 1u;
}

LNIC_SUPPORT int lnic_answer(EXTRACTED_HEADERS_T *headers)
{
  uint32_t own = pif_plugin_hdr_lambda_present(headers);

  if (lnic_call.reply_len > lnic_call.room + LNIC_MAX_GROWTH || lnic_reflects() != 0u) {
    lnic_ended = LNIC_TOO_LARGE;
    lnic_call.reply_len = 0u;
    lnic_packet.status = LNIC_TOO_LARGE;
    lnic_put_lengths();
  }
  lnic_put_outer(headers);
  lnic_put_lambda(headers);
  lnic_send(headers, lnic_call.reply_len, own);
  return PIF_PLUGIN_RETURN_FORWARD;
}

/* Nobody gets an answer; but the worker is told: by its request, or where a service's answer came between by the
 * request's headers. */
LNIC_SUPPORT int lnic_drop(EXTRACTED_HEADERS_T *headers)
{
  if (lnic_packet.own == 0u) {
    return PIF_PLUGIN_RETURN_DROP;
  }
  if (pif_plugin_hdr_lambda_present(headers)) {
    pif_plugin_hdr_get_lambda(headers)->status = LNIC_DROPPED;
  } else {
    lnic_call.reply_len = 0u;
    lnic_put_lengths();
    lnic_packet.udp_sum = 0u;
    lnic_packet.kind = 0u;
    lnic_packet.status = LNIC_DROPPED;
    lnic_put_outer(headers);
    lnic_put_lambda(headers);
    lnic_send(headers, 0u, 0u);
  }
  pif_plugin_meta_set__standard_metadata__egress_spec(headers, LNIC_HOST_PORT);
  return PIF_PLUGIN_RETURN_FORWARD;
}

/* ---- What P4 and the tools call. */

int pif_plugin_lnic_lambdas(EXTRACTED_HEADERS_T *headers, MATCH_DATA_T *data)
{
  uint32_t used;

  (void)data;
  lnic_take_headers(headers);
  lnic_take_payload();
  LNIC_SET_CLOCK();
  used = lnic_packet.length;
  if (pif_plugin_hdr_lambda_present(headers)) {
    lnic_ended = lnic_request(headers);
  } else {
#ifdef LNIC_SERVICES
    /* It is nobody's request, until a slot says whose it becomes. */
    lnic_packet.own = 0u;
    used = lnic_event_len();
    lnic_ended = lnic_event(used);
#else
    lnic_ended = LNIC_HOST;
#endif
  }
  if (lnic_ended == LNIC_DROP) {
    return lnic_drop(headers);
  }
  if (lnic_ended == LNIC_AGAIN) {
    return lnic_come_again(headers, used);
  }
#ifdef LNIC_SERVICES
  if (lnic_ended == LNIC_WAIT) {
    return lnic_send_asked(headers);
  }
#endif
  if (lnic_answered(lnic_ended) != 0u) {
    return lnic_answer(headers);
  }
  pif_plugin_meta_set__standard_metadata__egress_spec(headers, LNIC_HOST_PORT);
  return PIF_PLUGIN_RETURN_FORWARD;
}

/* Once for each thread: what is a thread's own is zero already. */
void pif_plugin_init(void) {}

/* Once: state is as the tools loaded it, locks are free, nothing waits. */
void pif_plugin_init_master(void) {}

#endif
