/* How a unit's process talks: requests come on standard input, what became of them goes out on standard output. Numbers
 * are little-endian, of four bytes unless said; bytes have their count in front.
 *
 * In:  'c' how number workload src_ip src_port dst_port port request_id(8) now(8) fixed random dice(8)
 *          chunk fragment_bytes chunk_reply fragment fragments padding request
 *      'r' symbol          its memory
 *      'w' symbol memory   its memory changed
 *      't' all             whether everybody is sent long replies (a plugin alone)
 *      'z'                 all memory as it was at the start
 * Out: 'e' status trap punted dice(8) reply      the end of a call
 *      'a' operation service key value           a service is asked; then comes: kind value
 *      'm' memory                                the answer to 'r'
 *      'x' text                                  something that must not happen did
 *
 * A call comes through the stage (how 0), by entry (1), or by lambda, punted (2). */
#ifndef HARNESS_PROTOCOL_H
#define HARNESS_PROTOCOL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MESSAGE (1u << 20)

static void quit(void) { exit(0); }

static void take(void *to, uint32_t len)
{
  if (len > 0u && fread(to, 1, len, stdin) != len) {
    quit();
  }
}

static uint32_t take32(void)
{
  uint8_t raw[4];

  take(raw, 4);
  return (uint32_t)raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
}

static uint64_t take64(void)
{
  uint64_t low = take32();

  return low | (uint64_t)take32() << 32;
}

/* Bytes in memory of exactly their size, so that the sanitizer sees the first one past them. */
static uint8_t *take_bytes(uint32_t *len)
{
  uint8_t *bytes;

  *len = take32();
  if (*len > 64u * MAX_MESSAGE) {
    quit();
  }
  bytes = malloc(*len == 0u ? 1u : *len);
  take(bytes, *len);
  return bytes;
}

static void give(const void *from, uint32_t len)
{
  if (len > 0u) {
    fwrite(from, 1, len, stdout);
  }
}

static void give8(uint8_t value) { give(&value, 1); }

static void give32(uint32_t value)
{
  uint8_t raw[4];

  raw[0] = (uint8_t)value;
  raw[1] = (uint8_t)(value >> 8);
  raw[2] = (uint8_t)(value >> 16);
  raw[3] = (uint8_t)(value >> 24);
  give(raw, 4);
}

static void give64(uint64_t value)
{
  give32((uint32_t)value);
  give32((uint32_t)(value >> 32));
}

static void give_bytes(const void *from, uint32_t len)
{
  give32(len);
  give(from, len);
}

static void wrong(const char *what)
{
  give8('x');
  give_bytes(what, (uint32_t)strlen(what));
  fflush(stdout);
  exit(1);
}

/* The next number of a splitmix64 stream, its high half. */
static uint32_t roll(uint64_t *stream)
{
  uint64_t z;

  *stream += 0x9e3779b97f4a7c15ull;
  z = *stream;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return (uint32_t)((z ^ z >> 31) >> 32);
}

#endif
