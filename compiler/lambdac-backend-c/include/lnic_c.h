/* What an emitted unit finds around it: plain C for gcc and clang.
 *
 * The unit defines
 *   lnic_dispatch  what picks a lambda for the request in lnic_call, runs it, and makes the reply's headers
 *   lnic_resume    goes on with the invocation that waits in lnic_call.saved, given its answer (if any lambda waits)
 *   lnic_enter     as lnic_dispatch, past the stage, by entry (on demand)
 *   lnic_punted    a lambda alone, for a request that another one punted to it (on demand)
 * and objects and parameters as arrays of bytes. What gives a status gives one of LNIC_REPLY to LNIC_PUNT_TO.
 *
 * Whoever runs the unit defines what is declared extern here, one invocation at a time in each process. Memory is
 * bytes; scalars in it are little-endian, aligned to their size. */
#ifndef LNIC_C_H
#define LNIC_C_H

#include <stdint.h>
#include <string.h>

/* Regions: all memory is alike here. */
#define LNIC_LMEM
#define LNIC_CLS
#define LNIC_CTM
#define LNIC_IMEM
#define LNIC_EMEM
#define LNIC_ALIGNED(n) __attribute__((aligned(n)))
#define LNIC_SUPPORT static __attribute__((unused))
#define LNIC_SMALL LNIC_SUPPORT
#define LNIC_ONCE static __attribute__((noinline))
#define LNIC_STATE uint8_t *
#define LNIC_MEM(verb) lnic_##verb
#define LNIC_NOTHING 0

#include "lnic_scalar.h"

/* The invocation under way. */
struct lnic_call {
  uint32_t workload;      /* id of the request */
  const uint8_t *request; /* its payload */
  uint32_t request_len;
  uint32_t src_ip; /* facts about its packet */
  uint32_t src_port;
  uint32_t dst_port;
  uint32_t port;
  uint64_t request_id;
  uint32_t reply_len; /* set by a reply: its bytes start at lnic_reply_area + 4 */
  uint32_t trap;      /* set by a trap: its cause (its place in the reference's list) << 24, and its line */
  uint32_t punted;    /* set by a punt to a lambda */
  uint32_t service;   /* set where it waits: which service, */
  uint32_t site;      /* where to go on, */
  uint32_t entry;     /* and which entry waits */
  uint8_t *saved;     /* what was kept, for lnic_resume; ends with it */
  uint32_t ok;        /* the answer: whether it is good, */
  uint32_t failed;    /* or there is none that can be used, */
  uint8_t *answer;    /* and the value of a get */
  uint32_t answer_len;
};
extern struct lnic_call lnic_call;

/* Headers of its packet, in numbers; lnic_dispatch turns them into the reply's. */
struct lnic_packet {
  uint32_t eth_dst_hi; /* first 32 bits */
  uint32_t eth_dst_lo; /* last 16 bits */
  uint32_t eth_src_hi;
  uint32_t eth_src_lo;
  uint32_t ip_len;
  uint32_t ip_src;
  uint32_t ip_dst;
  uint32_t udp_src;
  uint32_t udp_dst;
  uint32_t udp_len;
  uint32_t udp_sum;
  uint32_t kind;
  uint32_t status;
  uint32_t length;
  uint32_t ingress;
  uint32_t egress;
};
extern struct lnic_packet lnic_packet;

/* Room for a length, and the bytes of the reply. */
extern uint8_t lnic_reply_area[];

uint32_t lnic_dispatch(void);
uint32_t lnic_resume(void);
uint32_t lnic_enter(uint32_t number);
uint32_t lnic_punted(uint32_t number);

/* Services of whoever runs the unit. */
extern uint64_t lnic_now(void);    /* nanoseconds; the same until the invocation waits */
extern uint32_t lnic_random(void);
extern void lnic_log(const char *text, uint32_t len);
extern void lnic_log_unsigned(uint64_t value);
extern void lnic_log_signed(uint64_t value, uint32_t width);
extern void lnic_log_bool(uint32_t value);
extern void lnic_log_bytes(const uint8_t *bytes, uint32_t len);
extern void lnic_log_end(void);
extern uint32_t lnic_service_port(uint32_t service);
/* Each gives LNIC_SAVED_BYTES bytes, aligned to 8, or LNIC_NOTHING where nothing can be sent: the key can't be, or
 * nothing more can wait. */
extern uint8_t *lnic_ask_get(const uint8_t *key, uint32_t len, uint32_t service, uint32_t site);
extern uint8_t *lnic_ask_delete(const uint8_t *key, uint32_t len, uint32_t service, uint32_t site);
extern uint8_t *lnic_ask_set(const uint8_t *key, const uint8_t *value, uint32_t len, uint32_t value_len,
                             uint32_t service, uint32_t site);

#include "lnic_ends.h"

LNIC_SUPPORT uint32_t lnic_reply(const uint8_t *bytes, uint32_t len)
{
  memcpy(lnic_reply_area + 4, bytes, len);
  return lnic_reply_in_place(len);
}

/* Scalars in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

LNIC_SUPPORT uint32_t lnic_load16(const uint8_t *at)
{
  uint16_t value;

  memcpy(&value, at, 2);
  return value;
}

LNIC_SUPPORT uint32_t lnic_load32(const uint8_t *at)
{
  uint32_t value;

  memcpy(&value, at, 4);
  return value;
}

LNIC_SUPPORT uint64_t lnic_load64(const uint8_t *at)
{
  uint64_t value;

  memcpy(&value, at, 8);
  return value;
}

LNIC_SUPPORT void lnic_store16(uint8_t *at, uint32_t value)
{
  uint16_t low = (uint16_t)value;

  memcpy(at, &low, 2);
}

LNIC_SUPPORT void lnic_store32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }

LNIC_SUPPORT void lnic_store64(uint8_t *at, uint64_t value) { memcpy(at, &value, 8); }

#else

LNIC_SUPPORT uint32_t lnic_load16(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8; }

LNIC_SUPPORT uint32_t lnic_load32(const uint8_t *at) { return lnic_load16(at) | lnic_load16(at + 2) << 16; }

LNIC_SUPPORT uint64_t lnic_load64(const uint8_t *at) { return lnic_load32(at) | (uint64_t)lnic_load32(at + 4) << 32; }

LNIC_SUPPORT void lnic_store16(uint8_t *at, uint32_t value)
{
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

LNIC_SUPPORT void lnic_store32(uint8_t *at, uint32_t value)
{
  lnic_store16(at, value);
  lnic_store16(at + 2, value >> 16);
}

LNIC_SUPPORT void lnic_store64(uint8_t *at, uint64_t value)
{
  lnic_store32(at, (uint32_t)value);
  lnic_store32(at + 4, (uint32_t)(value >> 32));
}

#endif

LNIC_SUPPORT void lnic_store8(uint8_t *at, uint32_t value) { *at = (uint8_t)value; }

/* A counter: 64 bits. */
LNIC_SUPPORT void lnic_count(uint8_t *at, uint64_t by) { lnic_store64(at, lnic_load64(at) + by); }

/* Numbers as the wire has them, highest byte first. */
LNIC_SUPPORT uint32_t lnic_be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

LNIC_SUPPORT uint32_t lnic_be32(const uint8_t *at)
{
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

LNIC_SUPPORT uint64_t lnic_be64(const uint8_t *at) { return (uint64_t)lnic_be32(at) << 32 | lnic_be32(at + 4); }

LNIC_SUPPORT void lnic_put_be16(uint8_t *at, uint32_t value)
{
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

LNIC_SUPPORT void lnic_put_be32(uint8_t *at, uint32_t value)
{
  lnic_put_be16(at, value >> 16);
  lnic_put_be16(at + 2, value);
}

LNIC_SUPPORT void lnic_put_be64(uint8_t *at, uint64_t value)
{
  lnic_put_be32(at, (uint32_t)(value >> 32));
  lnic_put_be32(at + 4, (uint32_t)value);
}

/* A field of width bits from a bit on; bit 0 is the highest of the first byte. */
LNIC_SUPPORT uint64_t lnic_bits(const uint8_t *at, uint32_t bit, uint32_t width)
{
  uint64_t value = 0u;

  while (width > 0u) {
    uint32_t offset = bit & 7u;
    uint32_t left = 8u - offset;
    uint32_t take = width < left ? width : left;
    uint32_t byte = (uint32_t)at[bit >> 3] >> (left - take);

    value = value << take | (byte & ((1u << take) - 1u));
    bit += take;
    width -= take;
  }
  return value;
}

LNIC_SUPPORT void lnic_put_bits(uint8_t *at, uint32_t bit, uint32_t width, uint64_t value)
{
  while (width > 0u) {
    uint32_t left = 8u - (bit & 7u);
    uint32_t take = width < left ? width : left;
    uint32_t mask = ((1u << take) - 1u) << (left - take);
    uint32_t part = (uint32_t)(value >> (width - take)) << (left - take);

    at[bit >> 3] = (uint8_t)((at[bit >> 3] & ~mask) | (part & mask));
    bit += take;
    width -= take;
  }
}

/* Bytes. */
LNIC_SUPPORT void lnic_copy(uint8_t *to, const uint8_t *from, uint32_t len) { memcpy(to, from, len); }

LNIC_SUPPORT void lnic_zero(uint8_t *at, uint32_t len) { memset(at, 0, len); }

LNIC_SUPPORT uint32_t lnic_equal(const uint8_t *a, const uint8_t *b, uint32_t len) { return memcmp(a, b, len) == 0; }

/* A byte string: its length and its bytes. */
LNIC_SUPPORT void lnic_copy_string(uint8_t *to, const uint8_t *from) { memcpy(to, from, 4u + lnic_load32(from)); }

/* Checksums whose bits go in lowest first. */
LNIC_SUPPORT uint32_t lnic_reflected(const uint8_t *at, uint32_t len, uint32_t polynomial, uint32_t crc)
{
  uint32_t i;
  uint32_t bit;

  for (i = 0u; i < len; i++) {
    crc ^= at[i];
    for (bit = 0u; bit < 8u; bit++) {
      crc = (crc & 1u) != 0u ? crc >> 1 ^ polynomial : crc >> 1;
    }
  }
  return crc;
}

LNIC_SUPPORT uint32_t lnic_crc32(const uint8_t *at, uint32_t len)
{
  return ~lnic_reflected(at, len, 0xedb88320u, 0xffffffffu);
}

LNIC_SUPPORT uint32_t lnic_crc16(const uint8_t *at, uint32_t len) { return lnic_reflected(at, len, 0xa001u, 0u); }

/* The key that is looked for, where there are keys. */
#ifdef LNIC_KEY_WORDS
static uint32_t lnic_key[LNIC_KEY_WORDS];

/* Puts bytes into the key, four a word, the last word filled with zeros. */
LNIC_SUPPORT void lnic_key_bytes(const uint8_t *at, uint32_t word, uint32_t len)
{
  uint32_t i;

  for (i = 0u; i < len; i++) {
    uint32_t shift = 24u - (i & 3u) * 8u;
    uint32_t kept = (i & 3u) == 0u ? 0u : lnic_key[word + (i >> 2)];

    lnic_key[word + (i >> 2)] = kept | (uint32_t)at[i] << shift;
  }
}
#endif

/* Locks: nobody else is here. */
#define lnic_lock(state) ((void)0)
#define lnic_unlock(state) ((void)0)


#endif
