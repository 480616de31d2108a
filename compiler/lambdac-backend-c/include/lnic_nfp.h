/* What an emitted unit finds around it on a Netronome core: Micro-C.
 *
 * The unit and this file are one program, in the part of Micro-C that open programs use. The unit defines
 * lnic_dispatch, lnic_resume and so on as in lnic_c.h. All memory is 32-bit words, big-endian. Every access of memory
 * beyond the core's own is a command with a constant size (nfp/mem_atomic.h, nfp/mem_bulk.h, nfp/cls.h), through
 * transfer registers. Spaces, by the second part of a name:
 *   lm   local memory: words, and an offset in bytes
 *   cls  cluster scratch: likewise; only read
 *   mem  CTM, IMEM, EMEM: a pointer to a byte
 *   pkt  the request: an offset in it; its first bytes lie in CTM, the rest, if any, in a memory unit
 * Assumed, not documented in the open: an aligned store of 4 or 8 bytes by write_atomic is seen whole; the pseudo-random
 * register's name; __declspec(aligned(n)) behind a region. */
#ifndef LNIC_NFP_H
#define LNIC_NFP_H

#include <stdint.h>

#include <nfp.h>
#include <nfp/cls.h>
#include <nfp/me.h>
#include <nfp/mem_atomic.h>
#include <nfp/mem_bulk.h>

#define LNIC_ALIGNED(n) __declspec(aligned(n))
#define LNIC_SUPPORT static __noinline
#define LNIC_SMALL __intrinsic
#define LNIC_ONCE static __noinline
#define LNIC_STATE __mem40 uint8_t *
#define LNIC_MEM(verb) lnic_mem_##verb
#define LNIC_NOTHING ((__mem40 uint8_t *)0)
#define LNIC_NO_DIVIDER

/* The largest reply: one packet's payload; and how much longer a packet becomes at a time (lnic_plugin.h). */
#define LNIC_MAX_REPLY 1344u
#define LNIC_MAX_GROWTH 124u
/* Bytes of a service's key and value that can be sent. */
#define LNIC_MAX_KEY 250u
#define LNIC_MAX_VALUE 1024u

#include "lnic_scalar.h"

/* The invocation under way: each thread's own. */
struct lnic_call {
  uint32_t workload;
  __mem40 uint8_t *ctm; /* where the request starts, */
  uint32_t ctm_len;     /* so many bytes of it, */
  __mem40 uint8_t *mu;  /* and where it would start if the rest were all */
  uint32_t request;     /* of no meaning: requests are reached by offset */
  uint32_t request_len;
  uint32_t src_ip;
  uint32_t src_port;
  uint32_t dst_port;
  uint32_t port;
  uint64_t request_id;
  uint64_t now;
  uint32_t reply_len;
  uint32_t room;   /* bytes that the packet has for a payload, */
  uint32_t wanted; /* and that are wanted where they are too few */
  uint32_t trap;
  uint32_t punted;
  uint32_t entry;
  /* Of a stream: bytes of a chunk (0: no stream), of all packets but the last, of a chunk's reply; whether there can be
   * empty chunks. */
  uint32_t chunk;
  uint32_t fragment;
  uint32_t chunk_reply;
  uint32_t chunk_empty;
  /* Of a wait: what is asked, where it goes on, what is kept, and how it ended. */
  uint32_t operation;
  uint32_t key_len;
  uint32_t value_len;
  uint32_t service;
  uint32_t site;
  __mem40 uint8_t *slot;
  __mem40 uint8_t *saved;
  uint32_t ok;
  uint32_t failed;
  __mem40 uint8_t *answer;
  uint32_t answer_len;
};
static __lmem struct lnic_call lnic_call;

/* Headers of its packet, in numbers; lnic_dispatch turns them into the reply's. Words alone: a wait keeps all. */
struct lnic_packet {
  uint32_t eth_dst_hi;
  uint32_t eth_dst_lo;
  uint32_t eth_src_hi;
  uint32_t eth_src_lo;
  uint32_t ip_len;
  uint32_t ip_src;
  uint32_t ip_dst;
  uint32_t udp_src;
  uint32_t udp_dst;
  uint32_t udp_len;
  uint32_t udp_sum;
  uint32_t workload;
  uint32_t request_hi;
  uint32_t request_lo;
  uint32_t fragment;
  uint32_t fragments;
  uint32_t kind;
  uint32_t status;
  uint32_t length;
  uint32_t ingress;
  uint32_t egress;
  uint32_t asked_len; /* the request's UDP length */
  uint32_t own;       /* whether the worker itself asks */
  uint32_t client;    /* then: for whom */
};
static __lmem struct lnic_packet lnic_packet;

/* Room for a length, and the bytes of the reply. */
static __imem LNIC_ALIGNED(8) uint32_t lnic_reply_words[1u + LNIC_MAX_REPLY / 4u];
#define lnic_reply_area ((__mem40 uint8_t *)lnic_reply_words)

#if defined(LNIC_SERVICES) || defined(LNIC_STREAMS)
/* What a service is asked: the key, and behind 256 bytes the value, which is also where an answer's goes. A stream, which
 * asks nobody, gathers its reply here. */
#define LNIC_ASKED
static __imem LNIC_ALIGNED(8) uint32_t lnic_asked_words[LNIC_MAX_REPLY / 4u];
#define lnic_asked ((__mem40 uint8_t *)lnic_asked_words)
#endif

#include "lnic_ends.h"

/* Whether the packet has to come back longer, to hold so many bytes. */
__intrinsic uint32_t lnic_short(uint32_t wanted)
{
  lnic_call.wanted = wanted;
  return wanted > lnic_call.room + LNIC_MAX_GROWTH;
}

__intrinsic uint64_t lnic_now(void) { return lnic_call.now; }

__intrinsic uint32_t lnic_random(void) { return local_csr_read(local_csr_pseudo_random_number); }

/* ---- Scalars: local memory. */

__intrinsic uint32_t lnic_lm_load32(__lmem uint32_t *a, uint32_t a_at) { return a[a_at >> 2]; }

__intrinsic uint32_t lnic_lm_load16(__lmem uint32_t *a, uint32_t a_at)
{
  return a[a_at >> 2] >> (16u - (a_at & 2u) * 8u) & 0xffffu;
}

__intrinsic uint32_t lnic_lm_load8(__lmem uint32_t *a, uint32_t a_at)
{
  return a[a_at >> 2] >> (24u - (a_at & 3u) * 8u) & 0xffu;
}

__intrinsic uint64_t lnic_lm_load64(__lmem uint32_t *a, uint32_t a_at)
{
  return (uint64_t)a[a_at >> 2] << 32 | a[(a_at >> 2) + 1u];
}

__intrinsic void lnic_lm_store32(__lmem uint32_t *a, uint32_t a_at, uint32_t value) { a[a_at >> 2] = value; }

__intrinsic void lnic_lm_store16(__lmem uint32_t *a, uint32_t a_at, uint32_t value)
{
  uint32_t shift = 16u - (a_at & 2u) * 8u;

  a[a_at >> 2] = (a[a_at >> 2] & ~(0xffffu << shift)) | (value & 0xffffu) << shift;
}

__intrinsic void lnic_lm_store8(__lmem uint32_t *a, uint32_t a_at, uint32_t value)
{
  uint32_t shift = 24u - (a_at & 3u) * 8u;

  a[a_at >> 2] = (a[a_at >> 2] & ~(0xffu << shift)) | (value & 0xffu) << shift;
}

__intrinsic void lnic_lm_store64(__lmem uint32_t *a, uint32_t a_at, uint64_t value)
{
  a[a_at >> 2] = (uint32_t)(value >> 32);
  a[(a_at >> 2) + 1u] = (uint32_t)value;
}

LNIC_SUPPORT uint32_t lnic_lm_be16(__lmem uint32_t *a, uint32_t a_at)
{
  return lnic_lm_load8(a, a_at) << 8 | lnic_lm_load8(a, a_at + 1u);
}

LNIC_SUPPORT uint32_t lnic_lm_be32(__lmem uint32_t *a, uint32_t a_at)
{
  uint32_t shift = (a_at & 3u) * 8u;

  if (shift == 0u) {
    return a[a_at >> 2];
  }
  return a[a_at >> 2] << shift | a[(a_at >> 2) + 1u] >> (32u - shift);
}

LNIC_SUPPORT void lnic_lm_put_be16(__lmem uint32_t *a, uint32_t a_at, uint32_t value)
{
  lnic_lm_store8(a, a_at, value >> 8);
  lnic_lm_store8(a, a_at + 1u, value);
}

LNIC_SUPPORT void lnic_lm_put_be32(__lmem uint32_t *a, uint32_t a_at, uint32_t value)
{
  uint32_t shift = (a_at & 3u) * 8u;

  if (shift == 0u) {
    a[a_at >> 2] = value;
    return;
  }
  a[a_at >> 2] = (a[a_at >> 2] & ~(0xffffffffu >> shift)) | value >> shift;
  a[(a_at >> 2) + 1u] = (a[(a_at >> 2) + 1u] & 0xffffffffu >> shift) | value << (32u - shift);
}

/* ---- Scalars: memory units. */

__intrinsic uint32_t lnic_mem_load8(__mem40 uint8_t *a)
{
  __xread uint32_t word[1];

  mem_read8(word, a, 1);
  return word[0] >> 24;
}

__intrinsic uint32_t lnic_mem_be16(__mem40 uint8_t *a)
{
  __xread uint32_t word[1];

  mem_read8(word, a, 2);
  return word[0] >> 16;
}

__intrinsic uint32_t lnic_mem_load16(__mem40 uint8_t *a) { return lnic_mem_be16(a); }

__intrinsic uint32_t lnic_mem_be32(__mem40 uint8_t *a)
{
  __xread uint32_t word[1];

  mem_read8(word, a, 4);
  return word[0];
}

__intrinsic uint32_t lnic_mem_load32(__mem40 uint8_t *a)
{
  __xread uint32_t word[1];

  mem_read_atomic(word, a, 4);
  return word[0];
}

__intrinsic uint64_t lnic_mem_load64(__mem40 uint8_t *a)
{
  __xread uint32_t words[2];

  mem_read_atomic(words, a, 8);
  return (uint64_t)words[0] << 32 | words[1];
}

__intrinsic void lnic_mem_store8(__mem40 uint8_t *a, uint32_t value)
{
  __xwrite uint32_t word[1];

  word[0] = value << 24;
  mem_write8(word, a, 1);
}

__intrinsic void lnic_mem_put_be16(__mem40 uint8_t *a, uint32_t value)
{
  __xwrite uint32_t word[1];

  word[0] = value << 16;
  mem_write8(word, a, 2);
}

__intrinsic void lnic_mem_store16(__mem40 uint8_t *a, uint32_t value) { lnic_mem_put_be16(a, value); }

__intrinsic void lnic_mem_put_be32(__mem40 uint8_t *a, uint32_t value)
{
  __xwrite uint32_t word[1];

  word[0] = value;
  mem_write8(word, a, 4);
}

__intrinsic void lnic_mem_store32(__mem40 uint8_t *a, uint32_t value)
{
  __xwrite uint32_t word[1];

  word[0] = value;
  mem_write_atomic(word, a, 4);
}

__intrinsic void lnic_mem_store64(__mem40 uint8_t *a, uint64_t value)
{
  __xwrite uint32_t words[2];

  words[0] = (uint32_t)(value >> 32);
  words[1] = (uint32_t)value;
  mem_write_atomic(words, a, 8);
}

/* Atomic: these give the old value, except counting, which nobody waits for. */
__intrinsic uint32_t lnic_mem_fetch_add32(__mem40 uint8_t *a, uint32_t by)
{
  __xrw uint32_t word[1];

  word[0] = by;
  mem_test_add(word, a, 4);
  return word[0];
}

__intrinsic uint32_t lnic_mem_fetch_sub32(__mem40 uint8_t *a, uint32_t by)
{
  __xrw uint32_t word[1];

  word[0] = by;
  mem_test_sub(word, a, 4);
  return word[0];
}

__intrinsic uint32_t lnic_mem_swap32(__mem40 uint8_t *a, uint32_t value)
{
  __xrw uint32_t word[1];

  word[0] = value;
  mem_swap(word, a, 4);
  return word[0];
}

__intrinsic uint64_t lnic_mem_swap64(__mem40 uint8_t *a, uint64_t value)
{
  __xrw uint32_t words[2];

  words[0] = (uint32_t)(value >> 32);
  words[1] = (uint32_t)value;
  mem_swap(words, a, 8);
  return (uint64_t)words[0] << 32 | words[1];
}

__intrinsic void lnic_mem_count(__mem40 uint8_t *a, uint64_t by)
{
  __xwrite uint32_t words[2];

  words[0] = (uint32_t)(by >> 32);
  words[1] = (uint32_t)by;
  mem_add64(words, a, 8);
}

__intrinsic void lnic_mem_count_one(__mem40 uint8_t *a) { mem_incr64(a); }

/* A lock: a word that is not 0 while somebody holds it. */
LNIC_SUPPORT void lnic_mem_lock(__mem40 uint8_t *a)
{
  __xrw uint32_t word[1];

  for (;;) {
    word[0] = 1u;
    mem_test_set(word, a, 4);
    if (word[0] == 0u) {
      return;
    }
    ctx_swap();
  }
}

__intrinsic void lnic_mem_unlock(__mem40 uint8_t *a)
{
  __xwrite uint32_t word[1];

  word[0] = 0u;
  mem_write_atomic(word, a, 4);
}

/* ---- Scalars: cluster scratch, word by word. */

__intrinsic uint32_t lnic_cls_load32(__cls uint32_t *a, uint32_t a_at)
{
  __xread uint32_t word[1];

  cls_read(word, a + (a_at >> 2), 4);
  return word[0];
}

__intrinsic uint32_t lnic_cls_load16(__cls uint32_t *a, uint32_t a_at)
{
  return lnic_cls_load32(a, a_at) >> (16u - (a_at & 2u) * 8u) & 0xffffu;
}

__intrinsic uint32_t lnic_cls_load8(__cls uint32_t *a, uint32_t a_at)
{
  return lnic_cls_load32(a, a_at) >> (24u - (a_at & 3u) * 8u) & 0xffu;
}

__intrinsic uint64_t lnic_cls_load64(__cls uint32_t *a, uint32_t a_at)
{
  return (uint64_t)lnic_cls_load32(a, a_at) << 32 | lnic_cls_load32(a, a_at + 4u);
}

LNIC_SUPPORT uint32_t lnic_cls_be16(__cls uint32_t *a, uint32_t a_at)
{
  return lnic_cls_load8(a, a_at) << 8 | lnic_cls_load8(a, a_at + 1u);
}

LNIC_SUPPORT uint32_t lnic_cls_be32(__cls uint32_t *a, uint32_t a_at)
{
  uint32_t shift = (a_at & 3u) * 8u;

  if (shift == 0u) {
    return lnic_cls_load32(a, a_at);
  }
  return lnic_cls_load32(a, a_at) << shift | lnic_cls_load32(a, a_at + 4u) >> (32u - shift);
}

/* ---- Scalars: the request. */

LNIC_SUPPORT uint32_t lnic_pkt_load8(uint32_t a)
{
  return lnic_mem_load8(a < lnic_call.ctm_len ? lnic_call.ctm + a : lnic_call.mu + a);
}

LNIC_SUPPORT uint32_t lnic_pkt_be16(uint32_t a) { return lnic_pkt_load8(a) << 8 | lnic_pkt_load8(a + 1u); }

LNIC_SUPPORT uint32_t lnic_pkt_be32(uint32_t a)
{
  if (a + 4u <= lnic_call.ctm_len) {
    return lnic_mem_be32(lnic_call.ctm + a);
  }
  if (a >= lnic_call.ctm_len) {
    return lnic_mem_be32(lnic_call.mu + a);
  }
  return lnic_pkt_be16(a) << 16 | lnic_pkt_be16(a + 2u);
}

/* ---- What all spaces have, made of the above. LNIC_P are a space's parameters for an address, LNIC_A the arguments
 * for one so many bytes further on. */

#define LNIC_P_lm(a) __lmem uint32_t *a, uint32_t a##_at
#define LNIC_P_cls(a) __cls uint32_t *a, uint32_t a##_at
#define LNIC_P_mem(a) __mem40 uint8_t *a
#define LNIC_P_pkt(a) uint32_t a
#define LNIC_A_lm(a, n) a, a##_at + (n)
#define LNIC_A_cls(a, n) a, a##_at + (n)
#define LNIC_A_mem(a, n) a + (n)
#define LNIC_A_pkt(a, n) a + (n)

#define LNIC_READERS(s)                                                                                              \
  LNIC_SUPPORT uint64_t lnic_##s##_be64(LNIC_P_##s(a))                                                               \
  {                                                                                                                  \
    return (uint64_t)lnic_##s##_be32(LNIC_A_##s(a, 0u)) << 32 | lnic_##s##_be32(LNIC_A_##s(a, 4u));                  \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT uint64_t lnic_##s##_bits(LNIC_P_##s(a), uint32_t bit, uint32_t width)                                 \
  {                                                                                                                  \
    uint64_t value = 0u;                                                                                             \
                                                                                                                     \
    while (width > 0u) {                                                                                             \
      uint32_t left = 8u - (bit & 7u);                                                                               \
      uint32_t take = width < left ? width : left;                                                                   \
      uint32_t byte = lnic_##s##_load8(LNIC_A_##s(a, bit >> 3)) >> (left - take);                                    \
                                                                                                                     \
      value = value << take | (byte & ((1u << take) - 1u));                                                          \
      bit += take;                                                                                                   \
      width -= take;                                                                                                 \
    }                                                                                                                \
    return value;                                                                                                    \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT uint32_t lnic_##s##_reflected(LNIC_P_##s(a), uint32_t len, uint32_t polynomial, uint32_t crc)         \
  {                                                                                                                  \
    uint32_t i;                                                                                                      \
    uint32_t bit;                                                                                                    \
                                                                                                                     \
    for (i = 0u; i < len; i++) {                                                                                     \
      crc ^= lnic_##s##_load8(LNIC_A_##s(a, i));                                                                     \
      for (bit = 0u; bit < 8u; bit++) {                                                                              \
        crc = (crc & 1u) != 0u ? crc >> 1 ^ polynomial : crc >> 1;                                                   \
      }                                                                                                              \
    }                                                                                                                \
    return crc;                                                                                                      \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT uint32_t lnic_##s##_crc32(LNIC_P_##s(a), uint32_t len)                                                \
  {                                                                                                                  \
    return ~lnic_##s##_reflected(LNIC_A_##s(a, 0u), len, 0xedb88320u, 0xffffffffu);                                  \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT uint32_t lnic_##s##_crc16(LNIC_P_##s(a), uint32_t len)                                                \
  {                                                                                                                  \
    return lnic_##s##_reflected(LNIC_A_##s(a, 0u), len, 0xa001u, 0u);                                                \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT uint32_t lnic_##s##_tail(LNIC_P_##s(a), uint32_t len)                                                 \
  {                                                                                                                  \
    uint32_t word = 0u;                                                                                              \
    uint32_t i;                                                                                                      \
                                                                                                                     \
    for (i = 0u; i < len; i++) {                                                                                     \
      word |= lnic_##s##_load8(LNIC_A_##s(a, i)) << (24u - i * 8u);                                                  \
    }                                                                                                                \
    return word;                                                                                                     \
  }

#define LNIC_WRITERS(s)                                                                                              \
  LNIC_SUPPORT void lnic_##s##_put_be64(LNIC_P_##s(a), uint64_t value)                                               \
  {                                                                                                                  \
    lnic_##s##_put_be32(LNIC_A_##s(a, 0u), (uint32_t)(value >> 32));                                                 \
    lnic_##s##_put_be32(LNIC_A_##s(a, 4u), (uint32_t)value);                                                         \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT void lnic_##s##_put_bits(LNIC_P_##s(a), uint32_t bit, uint32_t width, uint64_t value)                 \
  {                                                                                                                  \
    while (width > 0u) {                                                                                             \
      uint32_t left = 8u - (bit & 7u);                                                                               \
      uint32_t take = width < left ? width : left;                                                                   \
      uint32_t mask = ((1u << take) - 1u) << (left - take);                                                          \
      uint32_t part = (uint32_t)(value >> (width - take)) << (left - take);                                          \
      uint32_t byte = lnic_##s##_load8(LNIC_A_##s(a, bit >> 3));                                                     \
                                                                                                                     \
      lnic_##s##_store8(LNIC_A_##s(a, bit >> 3), (byte & ~mask) | (part & mask));                                    \
      bit += take;                                                                                                   \
      width -= take;                                                                                                 \
    }                                                                                                                \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT void lnic_##s##_zero(LNIC_P_##s(a), uint32_t len)                                                     \
  {                                                                                                                  \
    uint32_t i;                                                                                                      \
                                                                                                                     \
    for (i = 0u; i + 4u <= len; i += 4u) {                                                                           \
      lnic_##s##_put_be32(LNIC_A_##s(a, i), 0u);                                                                     \
    }                                                                                                                \
    for (; i < len; i++) {                                                                                           \
      lnic_##s##_store8(LNIC_A_##s(a, i), 0u);                                                                       \
    }                                                                                                                \
  }

/* Copies: four bytes a step, then the rest. */
#define LNIC_COPIES(t, s)                                                                                            \
  LNIC_SUPPORT void lnic_copy_##t##_##s(LNIC_P_##t(a), LNIC_P_##s(b), uint32_t len)                                  \
  {                                                                                                                  \
    uint32_t i;                                                                                                      \
                                                                                                                     \
    for (i = 0u; i + 4u <= len; i += 4u) {                                                                           \
      lnic_##t##_put_be32(LNIC_A_##t(a, i), lnic_##s##_be32(LNIC_A_##s(b, i)));                                      \
    }                                                                                                                \
    for (; i < len; i++) {                                                                                           \
      lnic_##t##_store8(LNIC_A_##t(a, i), lnic_##s##_load8(LNIC_A_##s(b, i)));                                       \
    }                                                                                                                \
  }

/* A byte string: its length and its bytes. */
#define LNIC_STRINGS(t, s)                                                                                           \
  LNIC_SUPPORT void lnic_copy_string_##t##_##s(LNIC_P_##t(a), LNIC_P_##s(b))                                         \
  {                                                                                                                  \
    lnic_copy_##t##_##s(LNIC_A_##t(a, 0u), LNIC_A_##s(b, 0u), 4u + lnic_##s##_load32(LNIC_A_##s(b, 0u)));            \
  }

#define LNIC_EQUALS(t, s)                                                                                            \
  LNIC_SUPPORT uint32_t lnic_equal_##t##_##s(LNIC_P_##t(a), LNIC_P_##s(b), uint32_t len)                             \
  {                                                                                                                  \
    uint32_t i;                                                                                                      \
                                                                                                                     \
    for (i = 0u; i + 4u <= len; i += 4u) {                                                                           \
      if (lnic_##t##_be32(LNIC_A_##t(a, i)) != lnic_##s##_be32(LNIC_A_##s(b, i))) {                                  \
        return 0u;                                                                                                   \
      }                                                                                                              \
    }                                                                                                                \
    for (; i < len; i++) {                                                                                           \
      if (lnic_##t##_load8(LNIC_A_##t(a, i)) != lnic_##s##_load8(LNIC_A_##s(b, i))) {                                \
        return 0u;                                                                                                   \
      }                                                                                                              \
    }                                                                                                                \
    return 1u;                                                                                                       \
  }

LNIC_READERS(lm)
LNIC_READERS(cls)
LNIC_READERS(mem)
LNIC_READERS(pkt)
LNIC_WRITERS(lm)
LNIC_WRITERS(mem)
LNIC_COPIES(lm, lm)
LNIC_COPIES(lm, cls)
LNIC_COPIES(lm, mem)
LNIC_COPIES(lm, pkt)
LNIC_COPIES(mem, lm)
LNIC_COPIES(mem, cls)
LNIC_COPIES(mem, mem)
LNIC_COPIES(mem, pkt)
LNIC_STRINGS(lm, lm)
LNIC_STRINGS(lm, cls)
LNIC_STRINGS(lm, mem)
LNIC_STRINGS(mem, lm)
LNIC_STRINGS(mem, cls)
LNIC_STRINGS(mem, mem)
LNIC_EQUALS(lm, lm)
LNIC_EQUALS(lm, cls)
LNIC_EQUALS(lm, mem)
LNIC_EQUALS(lm, pkt)
LNIC_EQUALS(cls, lm)
LNIC_EQUALS(cls, cls)
LNIC_EQUALS(cls, mem)
LNIC_EQUALS(cls, pkt)
LNIC_EQUALS(mem, lm)
LNIC_EQUALS(mem, cls)
LNIC_EQUALS(mem, mem)
LNIC_EQUALS(mem, pkt)
LNIC_EQUALS(pkt, lm)
LNIC_EQUALS(pkt, cls)
LNIC_EQUALS(pkt, mem)
LNIC_EQUALS(pkt, pkt)

/* Replies. */
#define LNIC_ENDS(s)                                                                                                 \
  LNIC_SUPPORT uint32_t lnic_##s##_reply(LNIC_P_##s(a), uint32_t len)                                                \
  {                                                                                                                  \
    lnic_copy_mem_##s(lnic_reply_area + 4, LNIC_A_##s(a, 0u), len);                                                  \
    return lnic_reply_in_place(len);                                                                                 \
  }

LNIC_ENDS(lm)
LNIC_ENDS(cls)
LNIC_ENDS(mem)
LNIC_ENDS(pkt)

#ifdef LNIC_SERVICES
/* Gives memory for a continuation, or LNIC_NOTHING where nothing can be sent. Operations: 0 get, 1 set, 2 delete. */
LNIC_SUPPORT __mem40 uint8_t *lnic_ask(uint32_t operation, uint32_t key_len, uint32_t value_len, uint32_t service,
                                       uint32_t site);
/* The port that packets to a service leave by. */
LNIC_SUPPORT uint32_t lnic_service_port(uint32_t service);
/* Keeps the request's bytes, and has them be the request again. */
LNIC_SUPPORT void lnic_keep_request(__mem40 uint8_t *to);
LNIC_SUPPORT void lnic_request_again(__mem40 uint8_t *from);

/* What a service is asked. A key that could end memcached's command is not sent. */
#define LNIC_ASKS(s)                                                                                                 \
  LNIC_SUPPORT uint32_t lnic_##s##_is_asked(LNIC_P_##s(a), uint32_t len)                                             \
  {                                                                                                                  \
    uint32_t i;                                                                                                      \
                                                                                                                     \
    if (len == 0u || len > LNIC_MAX_KEY) {                                                                           \
      return 0u;                                                                                                     \
    }                                                                                                                \
    for (i = 0u; i < len; i++) {                                                                                     \
      uint32_t byte = lnic_##s##_load8(LNIC_A_##s(a, i));                                                            \
                                                                                                                     \
      if (byte <= 0x20u || byte == 0x7fu) {                                                                          \
        return 0u;                                                                                                   \
      }                                                                                                              \
    }                                                                                                                \
    lnic_copy_mem_##s(lnic_asked, LNIC_A_##s(a, 0u), len);                                                           \
    return 1u;                                                                                                       \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT __mem40 uint8_t *lnic_##s##_ask_get(LNIC_P_##s(a), uint32_t len, uint32_t service, uint32_t site)     \
  {                                                                                                                  \
    if (lnic_##s##_is_asked(LNIC_A_##s(a, 0u), len) == 0u) {                                                         \
      return LNIC_NOTHING;                                                                                           \
    }                                                                                                                \
    return lnic_ask(0u, len, 0u, service, site);                                                                     \
  }                                                                                                                  \
                                                                                                                     \
  LNIC_SUPPORT __mem40 uint8_t *lnic_##s##_ask_delete(LNIC_P_##s(a), uint32_t len, uint32_t service, uint32_t site)  \
  {                                                                                                                  \
    if (lnic_##s##_is_asked(LNIC_A_##s(a, 0u), len) == 0u) {                                                         \
      return LNIC_NOTHING;                                                                                           \
    }                                                                                                                \
    return lnic_ask(2u, len, 0u, service, site);                                                                     \
  }

#define LNIC_SETS(t, s)                                                                                              \
  LNIC_SUPPORT __mem40 uint8_t *lnic_ask_set_##t##_##s(LNIC_P_##t(a), LNIC_P_##s(b), uint32_t len,                   \
                                                       uint32_t value_len, uint32_t service, uint32_t site)          \
  {                                                                                                                  \
    if (value_len > LNIC_MAX_VALUE || lnic_##t##_is_asked(LNIC_A_##t(a, 0u), len) == 0u) {                           \
      return LNIC_NOTHING;                                                                                           \
    }                                                                                                                \
    lnic_copy_mem_##s(lnic_asked + 256, LNIC_A_##s(b, 0u), value_len);                                               \
    return lnic_ask(1u, len, value_len, service, site);                                                              \
  }

LNIC_ASKS(lm)
LNIC_ASKS(cls)
LNIC_ASKS(mem)
LNIC_ASKS(pkt)
LNIC_SETS(lm, lm)
LNIC_SETS(lm, cls)
LNIC_SETS(lm, mem)
LNIC_SETS(lm, pkt)
LNIC_SETS(cls, lm)
LNIC_SETS(cls, cls)
LNIC_SETS(cls, mem)
LNIC_SETS(cls, pkt)
LNIC_SETS(mem, lm)
LNIC_SETS(mem, cls)
LNIC_SETS(mem, mem)
LNIC_SETS(mem, pkt)
LNIC_SETS(pkt, lm)
LNIC_SETS(pkt, cls)
LNIC_SETS(pkt, mem)
LNIC_SETS(pkt, pkt)
#endif

/* The key that is looked for, where there are keys. */
#ifdef LNIC_KEY_WORDS
static __lmem uint32_t lnic_key[LNIC_KEY_WORDS];

#define LNIC_KEYS(s)                                                                                                 \
  LNIC_SUPPORT void lnic_##s##_key_bytes(LNIC_P_##s(a), uint32_t word, uint32_t len)                                 \
  {                                                                                                                  \
    uint32_t i;                                                                                                      \
                                                                                                                     \
    for (i = 0u; i + 4u <= len; i += 4u) {                                                                           \
      lnic_key[word + (i >> 2)] = lnic_##s##_be32(LNIC_A_##s(a, i));                                                 \
    }                                                                                                                \
    if (i < len) {                                                                                                   \
      lnic_key[word + (i >> 2)] = lnic_##s##_tail(LNIC_A_##s(a, i), len - i);                                        \
    }                                                                                                                \
  }

LNIC_KEYS(lm)
LNIC_KEYS(cls)
LNIC_KEYS(mem)
LNIC_KEYS(pkt)
#endif

#endif
