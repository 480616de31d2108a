/* lru, map and tables: hash tables with linear probing, and lists of values and masks.
 *
 * An object is 16 bytes (lock, count of entries, count of uses, nothing) and its entries. An entry of a hash table is
 * its state, its last use, the time it was written (8 bytes), its key's words, and its value; of a list the words of a
 * value, of a mask, and what it gives. The key that is looked for is in lnic_key. All offsets are from the object's
 * start; 0 means that there is no such entry. The dialect's header says what LNIC_STATE and LNIC_MEM are, and has the
 * key. */
#ifndef LNIC_KEYED_H
#define LNIC_KEYED_H

#define LNIC_HEAD 16u
#define LNIC_NEVER 0u /* never held anything: nothing lies behind it */
#define LNIC_USED 1u
#define LNIC_GONE 2u

LNIC_SUPPORT uint32_t lnic_key_hash(uint32_t words)
{
  uint32_t hash = 0x9e3779b9u;
  uint32_t i;

  for (i = 0u; i < words; i++) {
    hash = (hash ^ lnic_key[i]) * 0x85ebca6bu;
    hash = hash ^ hash >> 15;
  }
  return hash;
}

/* Whether the words at an address are the key's. */
LNIC_SUPPORT uint32_t LNIC_MEM(is_key)(LNIC_STATE at, uint32_t words)
{
  uint32_t i;

  for (i = 0u; i < words; i++) {
    if (LNIC_MEM(load32)(at + i * 4u) != lnic_key[i]) {
      return 0u;
    }
  }
  return 1u;
}

/* The first slot that the key may be in. */
LNIC_SUPPORT uint32_t lnic_home(uint32_t slots, uint32_t words)
{
  return (uint32_t)((uint64_t)lnic_key_hash(words) * slots >> 32);
}

LNIC_SUPPORT uint32_t lnic_next(uint32_t slot, uint32_t slots) { return slot + 1u == slots ? 0u : slot + 1u; }

/* The entry of the key. */
LNIC_SUPPORT uint32_t LNIC_MEM(keyed_find)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                      uint32_t words)
{
  uint32_t slot = lnic_home(slots, words);
  uint32_t left;

  for (left = window; left > 0u; left--) {
    uint32_t at = LNIC_HEAD + slot * stride;
    uint32_t state = LNIC_MEM(load32)(object + at);

    if (state == LNIC_NEVER) {
      return 0u;
    }
    if (state == LNIC_USED && LNIC_MEM(is_key)(object + at + 16u, words) != 0u) {
      return at;
    }
    slot = lnic_next(slot, slots);
  }
  return 0u;
}

LNIC_SUPPORT void LNIC_MEM(touch)(LNIC_STATE object, uint32_t at)
{
  uint32_t uses = LNIC_MEM(load32)(object + 8) + 1u;

  LNIC_MEM(store32)(object + 8, uses);
  LNIC_MEM(store32)(object + at + 4u, uses);
}

LNIC_SUPPORT void LNIC_MEM(forget)(LNIC_STATE object, uint32_t at)
{
  LNIC_MEM(store32)(object + at, LNIC_GONE);
  LNIC_MEM(store32)(object + 4, LNIC_MEM(load32)(object + 4) - 1u);
}

/* The entry of the key, which counts as a use. */
LNIC_SUPPORT uint32_t LNIC_MEM(keyed_use)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                     uint32_t words)
{
  uint32_t at = LNIC_MEM(keyed_find)(object, slots, window, stride, words);

  if (at != 0u) {
    LNIC_MEM(touch)(object, at);
  }
  return at;
}

/* Whether an entry is past its time. */
LNIC_SUPPORT uint32_t LNIC_MEM(is_old)(LNIC_STATE object, uint32_t at, uint64_t ttl)
{
  uint64_t written = LNIC_MEM(load64)(object + at + 8u);
  uint64_t now = lnic_now();

  return now >= written && now - written >= ttl;
}

/* The same where entries live for ttl nanoseconds. */
LNIC_SUPPORT uint32_t LNIC_MEM(keyed_use_fresh)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                           uint32_t words, uint64_t ttl)
{
  uint32_t at = LNIC_MEM(keyed_find)(object, slots, window, stride, words);

  if (at == 0u) {
    return 0u;
  }
  if (LNIC_MEM(is_old)(object, at, ttl) != 0u) {
    LNIC_MEM(forget)(object, at);
    return 0u;
  }
  LNIC_MEM(touch)(object, at);
  return at;
}

/* A slot for a new key: a free one if there may be one more entry, else, where a key has a window, that of the entry
 * in it that was used least recently. */
LNIC_SUPPORT uint32_t LNIC_MEM(keyed_room)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                      uint32_t words, uint32_t capacity)
{
  uint32_t slot = lnic_home(slots, words);
  uint32_t uses = LNIC_MEM(load32)(object + 8);
  uint32_t oldest = 0u;
  uint32_t age = 0u;
  uint32_t left;

  if (slots != capacity && LNIC_MEM(load32)(object + 4) == capacity) {
    return 0u;
  }
  for (left = window; left > 0u; left--) {
    uint32_t at = LNIC_HEAD + slot * stride;
    uint32_t unused;

    if (LNIC_MEM(load32)(object + at) != LNIC_USED) {
      return at;
    }
    /* Uses wrap around; how long ago one was does not, for 2^32 of them. */
    unused = uses - LNIC_MEM(load32)(object + at + 4u);
    if (oldest == 0u || unused > age) {
      oldest = at;
      age = unused;
    }
    slot = lnic_next(slot, slots);
  }
  if (oldest != 0u) {
    LNIC_MEM(forget)(object, oldest);
  }
  return oldest;
}

/* The entry of the key, made if it is new; written now. A hash table whose slots are its capacity forgets. */
LNIC_SUPPORT uint32_t LNIC_MEM(keyed_put)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                     uint32_t words, uint32_t capacity)
{
  uint32_t at = LNIC_MEM(keyed_find)(object, slots, window, stride, words);
  uint32_t i;

  if (at == 0u) {
    at = LNIC_MEM(keyed_room)(object, slots, window, stride, words, capacity);
    if (at == 0u) {
      return 0u;
    }
    LNIC_MEM(store32)(object + at, LNIC_USED);
    LNIC_MEM(store32)(object + 4, LNIC_MEM(load32)(object + 4) + 1u);
    for (i = 0u; i < words; i++) {
      LNIC_MEM(store32)(object + at + 16u + i * 4u, lnic_key[i]);
    }
  }
  if (slots == capacity) {
    LNIC_MEM(store64)(object + at + 8u, lnic_now());
    LNIC_MEM(touch)(object, at);
  }
  return at;
}

/* Forgets the key; gives the entry that was there. */
LNIC_SUPPORT uint32_t LNIC_MEM(keyed_remove)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                        uint32_t words)
{
  uint32_t at = LNIC_MEM(keyed_find)(object, slots, window, stride, words);

  if (at != 0u) {
    LNIC_MEM(forget)(object, at);
  }
  return at;
}

LNIC_SUPPORT uint32_t LNIC_MEM(keyed_remove_fresh)(LNIC_STATE object, uint32_t slots, uint32_t window, uint32_t stride,
                                              uint32_t words, uint64_t ttl)
{
  uint32_t at = LNIC_MEM(keyed_remove)(object, slots, window, stride, words);

  return at != 0u && LNIC_MEM(is_old)(object, at, ttl) == 0u ? at : 0u;
}

/* The first entry of a list that the key matches. */
LNIC_SUPPORT uint32_t LNIC_MEM(listed_find)(LNIC_STATE object, uint32_t stride, uint32_t words)
{
  uint32_t count = LNIC_MEM(load32)(object + 4);
  uint32_t at = LNIC_HEAD;
  uint32_t i;

  for (; count > 0u; count--) {
    for (i = 0u; i < words; i++) {
      uint32_t mask = LNIC_MEM(load32)(object + at + (words + i) * 4u);

      if ((lnic_key[i] & mask) != LNIC_MEM(load32)(object + at + i * 4u)) {
        break;
      }
    }
    if (i == words) {
      return at;
    }
    at += stride;
  }
  return 0u;
}

#endif
