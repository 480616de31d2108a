/* Words of Micro-C for gcc and clang, so that a unit for the NFP compiles and runs where its compiler isn't.
 *
 * Regions mean nothing to the C here; what lies where is told to the shim by a table (see shim.h), and each command
 * looks it up. Memory is words in the host's own order; the shim gives commands the bytes of a big-endian core. */
#ifndef NFP_SHIM_NFP_H
#define NFP_SHIM_NFP_H

#include <stddef.h>
#include <stdint.h>

#define __lmem
#define __cls
#define __ctm
#define __imem
#define __emem
#define __mem40
#define __xread
#define __xwrite
#define __xrw
#define __shared
#define __export
#define __declspec(what) __attribute__((what))
#define __intrinsic static __inline__ __attribute__((unused))
#define __noinline __attribute__((noinline, unused))

#endif
