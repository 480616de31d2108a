/* Addresses of packets. */
#ifndef NFP_SHIM_PKT_H
#define NFP_SHIM_PKT_H

#include <nfp.h>

uint8_t *pkt_ctm_ptr40(uint32_t island, uint32_t number, uint32_t offset);

#endif
