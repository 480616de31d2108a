/* Cluster scratch: multiples of 4 at multiples of 4. */
#ifndef NFP_SHIM_CLS_H
#define NFP_SHIM_CLS_H

#include <nfp.h>

void cls_read(uint32_t *data, void *address, size_t size);
void cls_write(uint32_t *data, void *address, size_t size);

#endif
