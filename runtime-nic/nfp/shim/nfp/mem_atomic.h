/* Atomic commands of the memory units. Each takes 4 or 8 bytes at a multiple of them, as emitted units use them. */
#ifndef NFP_SHIM_MEM_ATOMIC_H
#define NFP_SHIM_MEM_ATOMIC_H

#include <nfp.h>

void mem_read_atomic(uint32_t *data, uint8_t *address, size_t size);
void mem_write_atomic(uint32_t *data, uint8_t *address, size_t size);
void mem_incr64(uint8_t *address);
void mem_add64(uint32_t *data, uint8_t *address, size_t size);
/* These give the old value in place of the operand. */
void mem_test_add(uint32_t *data, uint8_t *address, size_t size);
void mem_test_sub(uint32_t *data, uint8_t *address, size_t size);
void mem_test_set(uint32_t *data, uint8_t *address, size_t size);
void mem_swap(uint32_t *data, uint8_t *address, size_t size);

#endif
