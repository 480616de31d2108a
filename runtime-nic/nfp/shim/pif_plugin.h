/* What P4 gives a plugin: headers and metadata. On a device these are words in local memory that tools make of the P4
 * program; here they are structs with the fields of `lnic_plugin.h`, each as wide as it needs. */
#ifndef NFP_SHIM_PIF_PLUGIN_H
#define NFP_SHIM_PIF_PLUGIN_H

#include <nfp.h>

#define PIF_PLUGIN_RETURN_FORWARD 0
#define PIF_PLUGIN_RETURN_DROP 1

typedef struct {
  uint32_t dst_hi, dst_lo, src_hi, src_lo, type;
} PIF_PLUGIN_ethernet_T;
typedef struct {
  uint32_t version_ihl, tos, len, id, fragment, ttl, protocol, sum, src, dst;
} PIF_PLUGIN_ipv4_T;
typedef struct {
  uint32_t src, dst, len, sum;
} PIF_PLUGIN_udp_T;
typedef struct {
  uint32_t magic, version, kind, workload, request_hi, request_lo, fragment, fragments, length, status, flags;
} PIF_PLUGIN_lambda_T;
typedef struct {
  uint32_t w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15;
} shim_words;
typedef shim_words PIF_PLUGIN_grow_4_T;
typedef shim_words PIF_PLUGIN_grow_8_T;
typedef shim_words PIF_PLUGIN_grow_16_T;
typedef shim_words PIF_PLUGIN_grow_32_T;
typedef shim_words PIF_PLUGIN_grow_64_T;

typedef struct {
  PIF_PLUGIN_ethernet_T ethernet;
  PIF_PLUGIN_ipv4_T ipv4;
  PIF_PLUGIN_udp_T udp;
  PIF_PLUGIN_lambda_T lambda;
  shim_words grow_4, grow_8, grow_16, grow_32, grow_64;
  uint32_t has_ethernet, has_ipv4, has_udp, has_lambda;
  uint32_t has_grow_4, has_grow_8, has_grow_16, has_grow_32, has_grow_64;
  uint32_t lnic_ingress, lnic_again, egress_spec;
} EXTRACTED_HEADERS_T;
typedef struct {
  uint32_t unused;
} MATCH_DATA_T;

/* Reading a header that is not there is a mistake that a device does not tell. */
#define SHIM_HEADER(name)                                                                                            \
  __intrinsic int pif_plugin_hdr_##name##_present(EXTRACTED_HEADERS_T *h) { return h->has_##name != 0u; }            \
  __intrinsic PIF_PLUGIN_##name##_T *pif_plugin_hdr_get_##name(EXTRACTED_HEADERS_T *h)                               \
  {                                                                                                                  \
    return h->has_##name != 0u ? &h->name : (PIF_PLUGIN_##name##_T *)0;                                              \
  }                                                                                                                  \
  __intrinsic PIF_PLUGIN_##name##_T *pif_plugin_hdr_readonly_get_##name(EXTRACTED_HEADERS_T *h)                      \
  {                                                                                                                  \
    return pif_plugin_hdr_get_##name(h);                                                                             \
  }                                                                                                                  \
  __intrinsic int pif_plugin_hdr_##name##_add(EXTRACTED_HEADERS_T *h)                                                \
  {                                                                                                                  \
    if (h->has_##name != 0u) {                                                                                       \
      return -1;                                                                                                     \
    }                                                                                                                \
    h->has_##name = 1u;                                                                                              \
    return 0;                                                                                                        \
  }                                                                                                                  \
  __intrinsic int pif_plugin_hdr_##name##_remove(EXTRACTED_HEADERS_T *h)                                             \
  {                                                                                                                  \
    if (h->has_##name == 0u) {                                                                                       \
      return -1;                                                                                                     \
    }                                                                                                                \
    h->has_##name = 0u;                                                                                              \
    return 0;                                                                                                        \
  }

SHIM_HEADER(ethernet)
SHIM_HEADER(ipv4)
SHIM_HEADER(udp)
SHIM_HEADER(lambda)
SHIM_HEADER(grow_4)
SHIM_HEADER(grow_8)
SHIM_HEADER(grow_16)
SHIM_HEADER(grow_32)
SHIM_HEADER(grow_64)

__intrinsic uint32_t pif_plugin_meta_get__scalars__metadata__lnic_ingress(EXTRACTED_HEADERS_T *h)
{
  return h->lnic_ingress;
}
__intrinsic void pif_plugin_meta_set__scalars__metadata__lnic_again(EXTRACTED_HEADERS_T *h, uint32_t again)
{
  h->lnic_again = again;
}
__intrinsic void pif_plugin_meta_set__standard_metadata__egress_spec(EXTRACTED_HEADERS_T *h, uint32_t port)
{
  h->egress_spec = port;
}

int pif_plugin_lnic_lambdas(EXTRACTED_HEADERS_T *headers, MATCH_DATA_T *data);
void pif_plugin_init(void);
void pif_plugin_init_master(void);

#endif
