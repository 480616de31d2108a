/* The core: its clock, its dice, its threads. */
#ifndef NFP_SHIM_ME_H
#define NFP_SHIM_ME_H

#include <nfp.h>

enum local_csr { local_csr_pseudo_random_number };

/* The next number that whoever runs the unit wants thrown. */
uint32_t local_csr_read(enum local_csr csr);
/* Ticks of 16 cycles. */
uint64_t me_tsc_read(void);
/* Lets other threads run; there are none. Called without end, it says that nobody gives back a lock. */
void ctx_swap(void);

#endif
