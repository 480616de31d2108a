/* What emitted units must not do, one case each, by the number that is the program's argument. The shim ends the process
 * where it sees a mistake; a case that is none says so and ends well. */
#include "shim.h"

#include <nfp/cls.h>
#include <nfp/me.h>
#include <nfp/mem_atomic.h>
#include <nfp/mem_bulk.h>

#include <stdio.h>
#include <stdlib.h>

#define KIBI 1024u

static uint32_t emem[64];
static uint32_t constant[64];
static uint32_t ctm[64];
static uint32_t cls[64];
static uint32_t large[6u * KIBI * KIBI / 4u];

/* What every case has, and what one of them has besides. */
static void start(void *at, size_t size, enum shim_region region, enum shim_scope scope)
{
  const struct shim_memory memory[] = {{"emem", emem, sizeof emem, SHIM_EMEM, SHIM_SHARED},
                                       {"constant", constant, sizeof constant, SHIM_CTM, SHIM_CONSTANT},
                                       {"cls", cls, sizeof cls, SHIM_CLS, SHIM_CONSTANT},
                                       {"besides", at, size, region, scope}};

  shim_start(memory, at == 0 ? 3u : 4u);
}

int main(int count, char **arguments)
{
  uint32_t words[64] = {0u};
  uint8_t *mem = (uint8_t *)emem;
  int number = count == 2 ? atoi(arguments[1]) : -1;
  int i;

  switch (number) {
  /* Objects. */
  case 1:
    start(large, 5u * KIBI * KIBI, SHIM_IMEM, SHIM_SHARED);
    break;
  case 2:
    start(large, 65u * KIBI, SHIM_CLS, SHIM_CONSTANT);
    break;
  case 3:
    start(large, 257u * KIBI, SHIM_CTM, SHIM_CONSTANT);
    break;
  case 4: /* 4 threads share a core's 4 KiB */
    start(large, 1025u, SHIM_LMEM, SHIM_THREAD);
    break;
  case 5: /* 224 threads have their own */
    start(large, 20u * KIBI, SHIM_IMEM, SHIM_THREAD);
    break;
  case 6: /* each island has its own */
    start(ctm, sizeof ctm, SHIM_CTM, SHIM_SHARED);
    break;
  case 7:
    start((uint8_t *)ctm + 2, 8u, SHIM_EMEM, SHIM_SHARED);
    break;
  default:
    start(0, 0u, SHIM_EMEM, SHIM_SHARED);
    break;
  }
  switch (number) {
  /* Sizes. */
  case 10:
    mem_read8(words, mem, 33u);
    break;
  case 11:
    mem_write8(words, mem, 33u);
    break;
  case 12:
    mem_read8(words, mem, 0u);
    break;
  case 13:
    mem_read32(words, mem, 6u);
    break;
  case 14:
    mem_write32(words, mem, 132u);
    break;
  case 15:
    mem_read64(words, mem, 12u);
    break;
  case 16:
    mem_write64(words, mem, 136u);
    break;
  case 17:
    mem_read_atomic(words, mem, 2u);
    break;
  case 18:
    mem_write_atomic(words, mem, 16u);
    break;
  case 19:
    cls_read(words, cls, 3u);
    break;
  /* Alignment. */
  case 20:
    mem_read32(words, mem + 2, 4u);
    break;
  case 21:
    mem_write32(words, mem + 1, 8u);
    break;
  case 22:
    mem_read64(words, mem + 4, 8u);
    break;
  case 23:
    mem_write64(words, mem + 4, 16u);
    break;
  case 24:
    mem_test_add(words, mem + 2, 4u);
    break;
  case 25:
    mem_incr64(mem + 4);
    break;
  case 26:
    cls_read(words, (uint8_t *)cls + 2, 4u);
    break;
  /* Bounds, kinds, and what is never written. */
  case 30:
    mem_read32(words, mem + sizeof emem - 4u, 8u);
    break;
  case 31:
    mem_write8(words, mem + sizeof emem - 1u, 2u);
    break;
  case 32:
    mem_read8(words, (uint8_t *)words, 4u);
    break;
  case 33:
    mem_read32(words, (uint8_t *)cls, 4u);
    break;
  case 34:
    cls_read(words, emem, 4u);
    break;
  case 35:
    mem_write32(words, (uint8_t *)constant, 4u);
    break;
  case 36:
    cls_write(words, cls, 4u);
    break;
  /* A lock that is held. */
  case 40:
    for (;;) {
      words[0] = 1u;
      mem_test_set(words, mem, 4u);
      ctx_swap();
    }
  /* All that is allowed, at its limits. */
  case 50:
    for (i = 0; i < 8; i++) {
      mem_read8(words, mem + i, 32u);
      mem_write8(words, mem + i, 1u);
    }
    mem_read32(words, mem + 4, 128u);
    mem_write64(words, mem + 8, 128u);
    mem_read8(words, (uint8_t *)constant, 7u);
    mem_test_sub(words, mem + 4, 4u);
    mem_swap(words, mem, 8u);
    cls_read(words, cls, 128u);
    break;
  default:
    break;
  }
  printf("through\n");
  return 0;
}
