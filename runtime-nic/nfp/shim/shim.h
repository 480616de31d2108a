/* What the shim knows of memory, and what it refuses.
 *
 * Whoever runs a unit gives a table of all memory that the unit and the packet lie in. The shim ends the process, with
 * a line on standard error, where
 *   - what lies in a region takes more than there is of it, for all threads that have their own;
 *   - a command reaches memory that is not in the table, or past the end of what it began in, or of another kind;
 *   - a command's size or alignment is none that the command takes;
 *   - memory that each island has its own of is written once a unit runs;
 *   - memory is written that nobody may write;
 *   - a lock is never given back. */
#ifndef NFP_SHIM_H
#define NFP_SHIM_H

#include <nfp.h>

enum shim_region { SHIM_LMEM, SHIM_CLS, SHIM_CTM, SHIM_IMEM, SHIM_EMEM, SHIM_REGIONS };
enum shim_scope {
  SHIM_THREAD,   /* each thread has its own */
  SHIM_SHARED,   /* everybody's */
  SHIM_CONSTANT, /* everybody's, and never written */
  SHIM_PACKET    /* the packet under way */
};

struct shim_memory {
  const char *name;
  void *at; /* at a multiple of 4 */
  size_t size;
  enum shim_region region;
  enum shim_scope scope;
};

/* Says what memory there is. */
void shim_start(const struct shim_memory *memory, uint32_t count);
/* Adds and takes off memory that comes and goes. */
void shim_add(const char *name, void *at, size_t size, enum shim_region region, enum shim_scope scope);
void shim_remove(void *at);
/* Bytes of a big-endian core in words of the host, and back. */
void shim_put(void *words, size_t offset, const uint8_t *bytes, size_t len);
void shim_get(const void *words, size_t offset, uint8_t *bytes, size_t len);
/* Ends the process. */
void shim_fail(const char *why, const char *what);

#endif
