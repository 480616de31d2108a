/* Reads and writes of the memory units. */
#ifndef NFP_SHIM_MEM_BULK_H
#define NFP_SHIM_MEM_BULK_H

#include <nfp.h>

/* Any byte count up to 32, at any address; the first byte is the highest of the first word. */
void mem_read8(uint32_t *data, uint8_t *address, size_t size);
void mem_write8(uint32_t *data, uint8_t *address, size_t size);
/* Multiples of 4 up to 128, at multiples of 4. */
void mem_read32(uint32_t *data, uint8_t *address, size_t size);
void mem_write32(uint32_t *data, uint8_t *address, size_t size);
/* Multiples of 8 up to 128, at multiples of 8. */
void mem_read64(uint32_t *data, uint8_t *address, size_t size);
void mem_write64(uint32_t *data, uint8_t *address, size_t size);

#endif
