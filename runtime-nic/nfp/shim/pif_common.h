/* The packet under way, as SDK 6.1 has it. */
#ifndef NFP_SHIM_PIF_COMMON_H
#define NFP_SHIM_PIF_COMMON_H

#include <nfp.h>

struct pif_pkt_info {
  uint32_t p_is_split;  /* part of it lies in a memory unit */
  uint32_t p_ctm_size;  /* its buffer in CTM has 256 << this bytes */
  uint32_t p_offset;    /* where it starts there */
  uint32_t p_isl;
  uint32_t p_pnum;
  uint32_t p_muptr;
  uint32_t p_len;
};
struct pif_pkt_spec {
  uint32_t pkt_pl_off; /* from its start to the first byte that P4 did not parse */
};
extern struct pif_pkt_info pif_pkt_info_global;
extern struct pif_pkt_spec pif_pkt_info_spec;

#endif
