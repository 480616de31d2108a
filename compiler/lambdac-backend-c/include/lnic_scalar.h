/* Scalar operations that C leaves open or some cores lack. Included by the dialects' headers, which say what
 * LNIC_SUPPORT is, and define LNIC_NO_DIVIDER for a core without one. */
#ifndef LNIC_SCALAR_H
#define LNIC_SCALAR_H

/* Division: by 0 gives 0, the remainder the dividend; the least number by -1 is itself, its remainder 0. */
#ifdef LNIC_NO_DIVIDER

/* Without a divider: bit by bit. */
LNIC_SUPPORT uint32_t lnic_udiv32(uint32_t a, uint32_t b)
{
  uint32_t quotient = 0u;
  uint32_t rest = 0u;
  uint32_t left;

  if (b == 0u) {
    return 0u;
  }
  for (left = 32u; left > 0u; left--) {
    uint32_t over = rest >> 31;

    rest = rest << 1 | a >> 31;
    a = a << 1;
    quotient = quotient << 1;
    if (over != 0u || rest >= b) {
      rest -= b;
      quotient |= 1u;
    }
  }
  return quotient;
}

LNIC_SUPPORT uint64_t lnic_udiv64(uint64_t a, uint64_t b)
{
  uint64_t quotient = 0u;
  uint64_t rest = 0u;
  uint32_t left;

  if (b == 0u) {
    return 0u;
  }
  for (left = 64u; left > 0u; left--) {
    uint64_t over = rest >> 63;

    rest = rest << 1 | a >> 63;
    a = a << 1;
    quotient = quotient << 1;
    if (over != 0u || rest >= b) {
      rest -= b;
      quotient |= 1u;
    }
  }
  return quotient;
}

LNIC_SUPPORT uint32_t lnic_urem32(uint32_t a, uint32_t b) { return a - lnic_udiv32(a, b) * b; }

LNIC_SUPPORT uint64_t lnic_urem64(uint64_t a, uint64_t b) { return a - lnic_udiv64(a, b) * b; }

#else

LNIC_SUPPORT uint32_t lnic_udiv32(uint32_t a, uint32_t b) { return b == 0u ? 0u : a / b; }

LNIC_SUPPORT uint64_t lnic_udiv64(uint64_t a, uint64_t b) { return b == 0u ? 0u : a / b; }

LNIC_SUPPORT uint32_t lnic_urem32(uint32_t a, uint32_t b) { return b == 0u ? a : a % b; }

LNIC_SUPPORT uint64_t lnic_urem64(uint64_t a, uint64_t b) { return b == 0u ? a : a % b; }

#endif

/* The high half of a product. */
LNIC_SUPPORT uint32_t lnic_mulhi32(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }

LNIC_SUPPORT uint32_t lnic_sdiv32(uint32_t a, uint32_t b)
{
  uint32_t negative = (a ^ b) >> 31;
  uint32_t size = lnic_udiv32(a >> 31 != 0u ? 0u - a : a, b >> 31 != 0u ? 0u - b : b);

  return negative != 0u ? 0u - size : size;
}

LNIC_SUPPORT uint64_t lnic_sdiv64(uint64_t a, uint64_t b)
{
  uint64_t negative = (a ^ b) >> 63;
  uint64_t size = lnic_udiv64(a >> 63 != 0u ? 0u - a : a, b >> 63 != 0u ? 0u - b : b);

  return negative != 0u ? 0u - size : size;
}

LNIC_SUPPORT uint32_t lnic_srem32(uint32_t a, uint32_t b)
{
  uint32_t size = lnic_urem32(a >> 31 != 0u ? 0u - a : a, b >> 31 != 0u ? 0u - b : b);

  return a >> 31 != 0u ? 0u - size : size;
}

LNIC_SUPPORT uint64_t lnic_srem64(uint64_t a, uint64_t b)
{
  uint64_t size = lnic_urem64(a >> 63 != 0u ? 0u - a : a, b >> 63 != 0u ? 0u - b : b);

  return a >> 63 != 0u ? 0u - size : size;
}

/* Shifts that fill with the sign; by the width or more gives the fill. */
LNIC_SUPPORT uint32_t lnic_ashr32(uint32_t a, uint32_t by)
{
  uint32_t fill = a >> 31 != 0u ? 0xffffffffu : 0u;

  return by >= 32u ? fill : by == 0u ? a : a >> by | fill << (32u - by);
}

LNIC_SUPPORT uint64_t lnic_ashr64(uint64_t a, uint32_t by)
{
  uint64_t fill = a >> 63 != 0u ? ~(uint64_t)0 : 0u;

  return by >= 64u ? fill : by == 0u ? a : a >> by | fill << (64u - by);
}

#endif
