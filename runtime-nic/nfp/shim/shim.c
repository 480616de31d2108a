/* Commands on ordinary memory, with checks; see shim.h. Sizes of regions and counts of threads are those of an NFP-4000
 * that runs 56 workers of 4 threads each, 12 to an island (project notes on the NFP, 1.1, 1.4). */
#include "shim.h"

#include <nfp/cls.h>
#include <nfp/me.h>
#include <nfp/mem_atomic.h>
#include <nfp/mem_bulk.h>

#include <stdio.h>
#include <stdlib.h>

#define MAX_MEMORY 4096u
#define WORKERS 56u
#define ISLAND_WORKERS 12u
#define THREADS 4u
/* Turns that a thread waits for a lock. */
#define MAX_TURNS 1000000u

static struct shim_memory table[MAX_MEMORY];
static uint32_t entries;
static uint32_t turns;

static const uint64_t sizes[SHIM_REGIONS] = {4096u, 65536u, 262144u, 4u << 20, (uint64_t)2 << 30};
static const char *const regions[SHIM_REGIONS] = {"lmem", "cls", "ctm", "imem", "emem"};

void shim_fail(const char *why, const char *what)
{
  fprintf(stderr, "nfp shim: %s: %s\n", why, what);
  fflush(stderr);
  exit(1);
}

/* How many copies one instance of a region holds. */
static uint64_t copies(enum shim_region region, enum shim_scope scope)
{
  if (scope != SHIM_THREAD) {
    return 1u;
  }
  switch (region) {
  case SHIM_LMEM:
    return THREADS;
  case SHIM_CLS:
  case SHIM_CTM:
    return ISLAND_WORKERS * THREADS;
  default:
    return WORKERS * THREADS;
  }
}

void shim_add(const char *name, void *at, size_t size, enum shim_region region, enum shim_scope scope)
{
  struct shim_memory entry;

  if (entries == MAX_MEMORY) {
    shim_fail("too many objects", name);
  }
  if ((uintptr_t)at % 4u != 0u) {
    shim_fail("an object that is not at a word", name);
  }
  entry.name = name;
  entry.at = at;
  entry.size = size;
  entry.region = region;
  entry.scope = scope;
  table[entries] = entry;
  entries++;
}

void shim_remove(void *at)
{
  uint32_t i;

  for (i = entries; i > 0u; i--) {
    if (table[i - 1u].at == at) {
      entries--;
      table[i - 1u] = table[entries];
      return;
    }
  }
}

void shim_start(const struct shim_memory *memory, uint32_t count)
{
  uint64_t used[SHIM_REGIONS] = {0};
  uint32_t i;

  for (i = 0; i < count; i++) {
    const struct shim_memory *m = &memory[i];

    shim_add(m->name, m->at, m->size, m->region, m->scope);
    used[m->region] += copies(m->region, m->scope) * m->size;
    if (used[m->region] > sizes[m->region]) {
      shim_fail(regions[m->region], "the objects in this region, for all threads, are more than it holds");
    }
    if (m->scope == SHIM_SHARED && m->region < SHIM_IMEM) {
      shim_fail(m->name, "what lambdas change lies in memory that not all cores share");
    }
  }
}

/* A byte of a big-endian core's memory. */
static uint8_t *byte(const void *at)
{
  uint16_t probe = 1;

  return (uint8_t *)((uintptr_t)at ^ (*(uint8_t *)&probe == 1 ? 3u : 0u));
}

void shim_put(void *words, size_t offset, const uint8_t *bytes, size_t len)
{
  size_t i;

  for (i = 0; i < len; i++) {
    *byte((uint8_t *)words + offset + i) = bytes[i];
  }
}

void shim_get(const void *words, size_t offset, uint8_t *bytes, size_t len)
{
  size_t i;

  for (i = 0; i < len; i++) {
    bytes[i] = *byte((const uint8_t *)words + offset + i);
  }
}

/* The memory that a command reaches. */
static void check(const void *address, size_t size, uint32_t is_cls, uint32_t writes)
{
  static uint32_t last;
  uint32_t i;

  /* Most commands reach what the one before did. */
  for (i = 0; i <= entries; i++) {
    uint32_t at = i == 0u ? last : i - 1u;
    const struct shim_memory *m = &table[at];
    uintptr_t first = (uintptr_t)m->at;

    if (at >= entries) {
      continue;
    }

    if ((uintptr_t)address < first || (uintptr_t)address >= first + m->size) {
      continue;
    }
    if ((uintptr_t)address + size > first + m->size) {
      shim_fail(m->name, "a command past its end");
    }
    if (m->region == SHIM_LMEM || (m->region == SHIM_CLS) != (is_cls != 0u)) {
      shim_fail(m->name, "a command of another kind of memory");
    }
    if (writes != 0u && m->scope == SHIM_CONSTANT) {
      shim_fail(m->name, "a write to what is constant");
    }
    if (writes != 0u && m->scope == SHIM_SHARED && m->region < SHIM_IMEM) {
      shim_fail(m->name, "a write to memory that each island has its own of");
    }
    last = at;
    return;
  }
  shim_fail("a command", "outside all memory");
}

static void shaped(size_t size, size_t unit, size_t most, const void *address, const char *what)
{
  if (size == 0u || size > most || size % unit != 0u) {
    shim_fail(what, "a size that the command does not take");
  }
  if ((uintptr_t)address % unit != 0u) {
    shim_fail(what, "an unaligned transfer");
  }
}

static void load(uint32_t *data, const void *address, size_t size)
{
  size_t i;

  for (i = 0; i < (size + 3u) / 4u; i++) {
    /* What a device leaves in the rest of the last word is garbage. */
    data[i] = 0xa5a5a5a5u;
  }
  for (i = 0; i < size; i++) {
    uint32_t shift = 24u - (uint32_t)(i & 3u) * 8u;

    data[i >> 2] = (data[i >> 2] & ~(0xffu << shift)) | (uint32_t)*byte((const uint8_t *)address + i) << shift;
  }
}

static void store(const uint32_t *data, void *address, size_t size)
{
  size_t i;

  for (i = 0; i < size; i++) {
    *byte((uint8_t *)address + i) = (uint8_t)(data[i >> 2] >> (24u - (i & 3u) * 8u));
  }
}

/* A read and a write of the same shape. */
#define TRANSFERS(read, write, pointer, unit, most, is_cls)                                                          \
  void read(uint32_t *data, pointer address, size_t size)                                                            \
  {                                                                                                                  \
    shaped(size, unit, most, address, #read);                                                                        \
    check(address, size, is_cls, 0u);                                                                                \
    load(data, address, size);                                                                                       \
  }                                                                                                                  \
                                                                                                                     \
  void write(uint32_t *data, pointer address, size_t size)                                                           \
  {                                                                                                                  \
    shaped(size, unit, most, address, #write);                                                                       \
    check(address, size, is_cls, 1u);                                                                                \
    store(data, address, size);                                                                                      \
  }

TRANSFERS(mem_read8, mem_write8, uint8_t *, 1u, 32u, 0u)
TRANSFERS(mem_read32, mem_write32, uint8_t *, 4u, 128u, 0u)
TRANSFERS(mem_read64, mem_write64, uint8_t *, 8u, 128u, 0u)
TRANSFERS(cls_read, cls_write, void *, 4u, 128u, 1u)

static void atomic(const void *address, size_t size, uint32_t writes, const char *what)
{
  if (size != 4u && size != 8u) {
    shim_fail(what, "a size that the command does not take");
  }
  shaped(size, size, 8u, address, what);
  check(address, size, 0u, writes);
}

void mem_read_atomic(uint32_t *data, uint8_t *address, size_t size)
{
  atomic(address, size, 0u, "mem_read_atomic");
  load(data, address, size);
}

void mem_write_atomic(uint32_t *data, uint8_t *address, size_t size)
{
  atomic(address, size, 1u, "mem_write_atomic");
  store(data, address, size);
}

static void add64(uint8_t *address, uint64_t by, const char *what)
{
  uint32_t words[2];
  uint64_t value;

  atomic(address, 8u, 1u, what);
  load(words, address, 8u);
  value = ((uint64_t)words[0] << 32 | words[1]) + by;
  words[0] = (uint32_t)(value >> 32);
  words[1] = (uint32_t)value;
  store(words, address, 8u);
}

void mem_incr64(uint8_t *address) { add64(address, 1u, "mem_incr64"); }

void mem_add64(uint32_t *data, uint8_t *address, size_t size)
{
  if (size != 8u) {
    shim_fail("mem_add64", "a size that the command does not take");
  }
  add64(address, (uint64_t)data[0] << 32 | data[1], "mem_add64");
}

/* A command that gives the old value. Word by word, as the device's own: 64 bits do not carry. */
#define TESTS(name, result)                                                                                          \
  void name(uint32_t *data, uint8_t *address, size_t size)                                                           \
  {                                                                                                                  \
    uint32_t value[2] = {0u};                                                                                        \
    uint32_t old[2];                                                                                                 \
    size_t i;                                                                                                        \
                                                                                                                     \
    atomic(address, size, 1u, #name);                                                                                \
    load(old, address, size);                                                                                        \
    for (i = 0; i < size / 4u; i++) {                                                                                \
      value[i] = result;                                                                                             \
      data[i] = old[i];                                                                                              \
    }                                                                                                                \
    store(value, address, size);                                                                                     \
    /* A lock that was free is no wait. */                                                                           \
    turns = old[0] == 0u ? 0u : turns;                                                                               \
  }

TESTS(mem_test_add, old[i] + data[i])
TESTS(mem_test_sub, old[i] - data[i])
TESTS(mem_test_set, old[i] | data[i])
TESTS(mem_swap, data[i])

void ctx_swap(void)
{
  turns++;
  if (turns > MAX_TURNS) {
    shim_fail("a lock", "nobody gives it back");
  }
}
