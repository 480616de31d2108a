/* Waiting for services on a Netronome core: a part of the plugin (lnic_plugin.h).
 *
 * A lambda that awaits leaves its continuation in a slot of lnic_waits, and its request packet becomes the service's
 * request: no clone is made. Its source port is one of a row that nobody else has; the low bits of memcached's request id
 * are the slot's index, the rest of it and the port are random. What comes to these ports is looked at here: where the
 * peer's address and port, the own port, the id, the way in and, in a value, the key match what waits, the packet with the
 * answer carries on as the lambda's, and becomes its reply. Anything else is the host's.
 *
 * A slot's word of state changes under its lock, or by whoever claimed or runs the slot: free, claimed, waiting, running,
 * free. Only one of an answer and the end of the time gets from waiting to running.
 *
 * The end of the time: a packet to one of these ports that the host itself sends makes the core look at the next
 * LNIC_SWEPT slots; the first whose time is over goes on as failed, and the host's packet becomes its reply. Without such
 * packets a slot whose time is over is taken by the next lambda that needs one, and its caller asks again.
 *
 * lnic_services has a row for each service, which the host's tools complete: the next hop's Ethernet address, the port
 * that leads there, and then that they are known; until then a request has failed at once.
 *
 * Assumed: time stamps of all cores agree. */
#ifndef LNIC_WAIT_H
#define LNIC_WAIT_H

/* Slots: many small ones, or few. */
#if LNIC_SAVED_BYTES <= 16384
#define LNIC_WAITS 1024u
#else
#define LNIC_WAITS 64u
#endif
/* Slots that a lambda tries, and that a packet of the host looks at. */
#define LNIC_TRIES 16u
#define LNIC_SWEPT 64u
/* Where dice for ports and ids come from; tests put something else here. */
#ifndef LNIC_DICE
#define LNIC_DICE() lnic_random()
#endif

/* A service's row. */
#define LNIC_SERVICE_BYTES 32u
#define LNIC_SERVICE_IP 0
#define LNIC_SERVICE_PORT 4
#define LNIC_SERVICE_MAC_HI 8
#define LNIC_SERVICE_MAC_LO 12
#define LNIC_SERVICE_EGRESS 16
#define LNIC_SERVICE_KNOWN 20
#define LNIC_SERVICE_TIMEOUT 24

/* A slot. */
#define LNIC_SLOT_LOCK 0
#define LNIC_SLOT_STATE 4
#define LNIC_SLOT_DEADLINE 8
#define LNIC_SLOT_PEER 16
#define LNIC_SLOT_PEER_PORT 20
#define LNIC_SLOT_OWN_PORT 24
#define LNIC_SLOT_ID 28
#define LNIC_SLOT_INGRESS 32
#define LNIC_SLOT_OPERATION 36
#define LNIC_SLOT_KEY_LEN 40
#define LNIC_SLOT_ENTRY 44
#define LNIC_SLOT_SITE 48
#define LNIC_SLOT_WANTED 52
#define LNIC_SLOT_PACKET 56
#define LNIC_SLOT_KEY 152
#define LNIC_SLOT_SAVED 408
#define LNIC_SLOT_BYTES ((LNIC_SLOT_SAVED + LNIC_SAVED_BYTES + 7u) & ~7u)

#define LNIC_FREE 0u
#define LNIC_CLAIMED 1u
#define LNIC_WAITING 2u
#define LNIC_RUNNING 3u

/* What an answer says. */
#define LNIC_NO_ANSWER 0u
#define LNIC_FAILED 1u
#define LNIC_MISSING 2u
#define LNIC_DONE 3u

/* Bytes of memcached's frame header (its doc/protocol.txt, "UDP protocol"). */
#define LNIC_FRAME 8u

__export __emem LNIC_ALIGNED(8) uint32_t lnic_waits[LNIC_WAITS * LNIC_SLOT_BYTES / 4u];
__export __emem LNIC_ALIGNED(8) uint32_t lnic_swept[2];

__intrinsic __mem40 uint8_t *lnic_slot(uint32_t index)
{
  return (__mem40 uint8_t *)lnic_waits + (index & (LNIC_WAITS - 1u)) * LNIC_SLOT_BYTES;
}

__intrinsic __mem40 uint8_t *lnic_service(uint32_t service)
{
  return (__mem40 uint8_t *)lnic_services + service * LNIC_SERVICE_BYTES;
}

LNIC_SUPPORT uint32_t lnic_service_port(uint32_t service)
{
  return lnic_mem_load32(lnic_service(service) + LNIC_SERVICE_EGRESS);
}

LNIC_SUPPORT void lnic_keep_request(__mem40 uint8_t *to) { lnic_copy_mem_pkt(to, 0u, lnic_call.request_len); }

LNIC_SUPPORT void lnic_request_again(__mem40 uint8_t *from)
{
  lnic_call.ctm = from;
  lnic_call.ctm_len = lnic_call.request_len;
  lnic_call.mu = from;
}

/* ---- Asking. */

/* Whether a slot is free, or its time over; then it is ours. */
LNIC_SUPPORT uint32_t lnic_claim(__mem40 uint8_t *slot)
{
  uint32_t state;
  uint32_t ours;

  lnic_mem_lock(slot + LNIC_SLOT_LOCK);
  state = lnic_mem_load32(slot + LNIC_SLOT_STATE);
  ours = state == LNIC_FREE ||
         (state == LNIC_WAITING && lnic_mem_load64(slot + LNIC_SLOT_DEADLINE) <= lnic_call.now);
  if (ours != 0u) {
    lnic_mem_store32(slot + LNIC_SLOT_STATE, LNIC_CLAIMED);
  }
  lnic_mem_unlock(slot + LNIC_SLOT_LOCK);
  return ours;
}

LNIC_SUPPORT __mem40 uint8_t *lnic_ask(uint32_t operation, uint32_t key_len, uint32_t value_len, uint32_t service,
                                       uint32_t site)
{
  __mem40 uint8_t *row = lnic_service(service);
  uint32_t dice = LNIC_DICE();
  __mem40 uint8_t *slot = lnic_slot(dice);
  uint32_t tried = 0u;

  if (lnic_mem_load32(row + LNIC_SERVICE_KNOWN) == 0u) {
    return LNIC_NOTHING;
  }
  while (lnic_claim(slot) == 0u) {
    tried++;
    if (tried == LNIC_TRIES) {
      return LNIC_NOTHING;
    }
    dice++;
    slot = lnic_slot(dice);
  }
  lnic_mem_store64(slot + LNIC_SLOT_DEADLINE, lnic_call.now + lnic_mem_load64(row + LNIC_SERVICE_TIMEOUT));
  lnic_mem_store32(slot + LNIC_SLOT_PEER, lnic_mem_load32(row + LNIC_SERVICE_IP));
  lnic_mem_store32(slot + LNIC_SLOT_PEER_PORT, lnic_mem_load32(row + LNIC_SERVICE_PORT));
  lnic_mem_store32(slot + LNIC_SLOT_OWN_PORT, LNIC_FIRST_PORT | (dice >> 16 & ~LNIC_PORT_MASK & 0xffffu));
  lnic_mem_store32(slot + LNIC_SLOT_ID, dice & 0xffffu);
  lnic_mem_store32(slot + LNIC_SLOT_INGRESS, lnic_mem_load32(row + LNIC_SERVICE_EGRESS));
  lnic_mem_store32(slot + LNIC_SLOT_OPERATION, operation);
  lnic_mem_store32(slot + LNIC_SLOT_KEY_LEN, key_len);
  lnic_mem_store32(slot + LNIC_SLOT_ENTRY, lnic_call.entry);
  lnic_mem_store32(slot + LNIC_SLOT_SITE, site);
  lnic_mem_store32(slot + LNIC_SLOT_WANTED, lnic_call.wanted);
  lnic_copy_mem_lm(slot + LNIC_SLOT_PACKET, (__lmem uint32_t *)&lnic_packet, 0u, (uint32_t)sizeof lnic_packet);
  lnic_copy_mem_mem(slot + LNIC_SLOT_KEY, lnic_asked, key_len);
  lnic_call.operation = operation;
  lnic_call.key_len = key_len;
  lnic_call.value_len = value_len;
  lnic_call.service = service;
  lnic_call.slot = slot;
  return slot + LNIC_SLOT_SAVED;
}

/* A number below 10,000, in digits; gives how many. */
LNIC_SUPPORT uint32_t lnic_put_decimal(__mem40 uint8_t *to, uint32_t number)
{
  uint32_t unit = 1000u;
  uint32_t len = 0u;

  for (;;) {
    uint32_t digit = 0u;

    while (number >= unit) {
      number -= unit;
      digit++;
    }
    if (digit != 0u || len != 0u || unit == 1u) {
      lnic_mem_store8(to + len, 0x30u + digit);
      len++;
    }
    if (unit == 1u) {
      return len;
    }
    unit = unit == 1000u ? 100u : unit == 100u ? 10u : 1u;
  }
}

/* Writes the request into the reply area; gives its length. */
LNIC_SUPPORT uint32_t lnic_put_asked(void)
{
  __mem40 uint8_t *to = lnic_reply_area + 4;
  uint32_t at = LNIC_FRAME + 4u;

  /* The id, datagram 0 of 1, and nothing. */
  lnic_mem_put_be32(to, lnic_mem_load32(lnic_call.slot + LNIC_SLOT_ID) << 16);
  lnic_mem_put_be32(to + 4, 0x00010000u);
  if (lnic_call.operation == 0u) {
    lnic_mem_put_be32(to + LNIC_FRAME, 0x67657420u); /* "get " */
  } else if (lnic_call.operation == 1u) {
    lnic_mem_put_be32(to + LNIC_FRAME, 0x73657420u); /* "set " */
  } else {
    lnic_mem_put_be32(to + LNIC_FRAME, 0x64656c65u); /* "dele" */
    lnic_mem_put_be32(to + at, 0x74652000u);         /* "te " */
    at += 3u;
  }
  lnic_copy_mem_mem(to + at, lnic_asked, lnic_call.key_len);
  at += lnic_call.key_len;
  if (lnic_call.operation == 1u) {
    lnic_mem_put_be32(to + at, 0x20302030u); /* " 0 0" */
    lnic_mem_store8(to + at + 4u, 0x20u);
    at += 5u;
    at += lnic_put_decimal(to + at, lnic_call.value_len);
    lnic_mem_put_be16(to + at, 0x0d0au);
    lnic_copy_mem_mem(to + at + 2u, lnic_asked + 256, lnic_call.value_len);
    at += 2u + lnic_call.value_len;
  }
  lnic_mem_put_be16(to + at, 0x0d0au);
  return at + 2u;
}

/* Makes the packet the request to the service, and the slot wait. */
LNIC_SUPPORT int lnic_send_asked(EXTRACTED_HEADERS_T *headers)
{
  __mem40 uint8_t *row = lnic_service(lnic_call.service);
  uint32_t own = pif_plugin_hdr_lambda_present(headers);
  uint32_t len = lnic_put_asked();

  if (len > lnic_call.room + LNIC_MAX_GROWTH) {
    /* More than was asked room for: nothing is sent, and the caller asks again. */
    lnic_mem_store32(lnic_call.slot + LNIC_SLOT_STATE, LNIC_FREE);
    return PIF_PLUGIN_RETURN_DROP;
  }
  lnic_packet.eth_src_hi = lnic_packet.eth_dst_hi;
  lnic_packet.eth_src_lo = lnic_packet.eth_dst_lo;
  lnic_packet.eth_dst_hi = lnic_mem_load32(row + LNIC_SERVICE_MAC_HI);
  lnic_packet.eth_dst_lo = lnic_mem_load32(row + LNIC_SERVICE_MAC_LO);
  lnic_packet.ip_src = lnic_packet.ip_dst;
  lnic_packet.ip_dst = lnic_mem_load32(lnic_call.slot + LNIC_SLOT_PEER);
  lnic_packet.udp_src = lnic_mem_load32(lnic_call.slot + LNIC_SLOT_OWN_PORT);
  lnic_packet.udp_dst = lnic_mem_load32(lnic_call.slot + LNIC_SLOT_PEER_PORT);
  lnic_packet.udp_len = len + LNIC_UDP_HEADER;
  lnic_packet.udp_sum = 0u;
  lnic_packet.ip_len = lnic_packet.udp_len + LNIC_IPV4_HEADER;
  lnic_put_outer(headers);
  if (own != 0u) {
    pif_plugin_hdr_lambda_remove(headers);
  }
  lnic_send(headers, len, own);
  lnic_mem_store32(lnic_call.slot + LNIC_SLOT_STATE, LNIC_WAITING);
  return PIF_PLUGIN_RETURN_FORWARD;
}

/* ---- Answers: the payload is the packet's own. */

/* Whether the text has these bytes at an offset: at most 12, four in each word, the first the highest. */
LNIC_SUPPORT uint32_t lnic_reads(uint32_t at, uint32_t len, uint32_t first, uint32_t second, uint32_t third)
{
  uint32_t i;

  for (i = 0u; i < len; i++) {
    uint32_t word = i < 4u ? first : i < 8u ? second : third;

    if (lnic_pkt_load8(at + i) != (word >> (24u - (i & 3u) * 8u) & 0xffu)) {
      return 0u;
    }
  }
  return 1u;
}

/* "ERROR\r\n", or a line that starts with "CLIENT_ERROR " or "SERVER_ERROR ". */
LNIC_SUPPORT uint32_t lnic_read_error(uint32_t at, uint32_t end)
{
  uint32_t len = end - at;

  if (len < 7u || lnic_reads(end - 2u, 2u, 0x0d0a0000u, 0u, 0u) == 0u) {
    return LNIC_NO_ANSWER;
  }
  if (lnic_reads(at, 7u, 0x4552524fu, 0x520d0a00u, 0u) != 0u) {
    return LNIC_FAILED;
  }
  if (len < 15u || lnic_pkt_load8(at + 12u) != 0x20u) {
    return LNIC_NO_ANSWER;
  }
  if (lnic_reads(at, 12u, 0x434c4945u, 0x4e545f45u, 0x52524f52u) != 0u ||
      lnic_reads(at, 12u, 0x53455256u, 0x45525f45u, 0x52524f52u) != 0u) {
    return LNIC_FAILED;
  }
  return LNIC_NO_ANSWER;
}

/* Behind "VALUE ": "KEY FLAGS BYTES [CAS]\r\n", the bytes, "\r\nEND\r\n". The bytes go where values to be sent do. */
LNIC_SUPPORT uint32_t lnic_read_value(__mem40 uint8_t *slot, uint32_t at, uint32_t end)
{
  uint32_t key_len = lnic_mem_load32(slot + LNIC_SLOT_KEY_LEN);
  uint32_t word = 0u;
  uint32_t key = 0u;
  uint32_t same = 1u;
  uint32_t digits = 0u;
  uint32_t size = 0u;

  for (;; at++) {
    uint32_t byte;

    if (at + 1u >= end) {
      return LNIC_NO_ANSWER;
    }
    byte = lnic_pkt_load8(at);
    if (byte == 0x0du && lnic_pkt_load8(at + 1u) == 0x0au) {
      break;
    }
    if (byte == 0x20u) {
      word++;
    } else if (word == 0u) {
      same &= key < key_len && lnic_mem_load8(slot + LNIC_SLOT_KEY + key) == byte;
      key++;
    } else if (word == 2u) {
      /* Anything but a digit counts as too many of them. */
      digits += byte >= 0x30u && byte <= 0x39u ? 1u : 11u;
      size = size > LNIC_MAX_VALUE ? size : size * 10u + byte - 0x30u;
    }
  }
  if (word < 2u || digits == 0u || digits > 10u || same == 0u || key != key_len) {
    return LNIC_NO_ANSWER;
  }
  if (size > LNIC_MAX_VALUE) {
    return LNIC_FAILED;
  }
  at += 2u;
  if (at + size + 7u != end || lnic_reads(at + size, 7u, 0x0d0a454eu, 0x440d0a00u, 0u) == 0u) {
    return LNIC_NO_ANSWER;
  }
  lnic_copy_mem_pkt(lnic_asked + 256, at, size);
  lnic_call.answer = lnic_asked + 256;
  lnic_call.answer_len = size;
  return LNIC_DONE;
}

/* What the text says to a slot's operation (memcached's doc/protocol.txt). */
LNIC_SUPPORT uint32_t lnic_read_text(__mem40 uint8_t *slot, uint32_t end)
{
  uint32_t operation = lnic_mem_load32(slot + LNIC_SLOT_OPERATION);
  uint32_t at = LNIC_FRAME;
  uint32_t len = end - at;

  if (operation == 0u) {
    if (len == 5u && lnic_reads(at, 5u, 0x454e440du, 0x0a000000u, 0u) != 0u) { /* END */
      return LNIC_MISSING;
    }
    if (len > 6u && lnic_reads(at, 6u, 0x56414c55u, 0x45200000u, 0u) != 0u) { /* VALUE */
      return lnic_read_value(slot, at + 6u, end);
    }
    return lnic_read_error(at, end);
  }
  if (operation == 1u && len == 8u && lnic_reads(at, 8u, 0x53544f52u, 0x45440d0au, 0u) != 0u) { /* STORED */
    return LNIC_DONE;
  }
  if (operation == 2u && len == 9u && lnic_reads(at, 9u, 0x44454c45u, 0x5445440du, 0x0a000000u) != 0u) { /* DELETED */
    return LNIC_DONE;
  }
  if (len == 11u && lnic_reads(at, 11u, 0x4e4f545fu, 0x464f554eu, 0x440d0a00u) != 0u) { /* NOT_FOUND */
    return LNIC_MISSING;
  }
  if (operation == 1u && len == 12u && lnic_reads(at, 12u, 0x4e4f545fu, 0x53544f52u, 0x45440d0au) != 0u) {
    return LNIC_MISSING; /* NOT_STORED */
  }
  if (operation == 1u && len == 8u && lnic_reads(at, 8u, 0x45584953u, 0x54530d0au, 0u) != 0u) { /* EXISTS */
    return LNIC_MISSING;
  }
  return lnic_read_error(at, end);
}

/* Whether the packet can be what a slot waits for, and what it says; the slot is locked. */
LNIC_SUPPORT uint32_t lnic_judge(__mem40 uint8_t *slot, uint32_t len)
{
  if (lnic_mem_load32(slot + LNIC_SLOT_STATE) != LNIC_WAITING ||
      lnic_mem_load32(slot + LNIC_SLOT_PEER) != lnic_packet.ip_src ||
      lnic_mem_load32(slot + LNIC_SLOT_PEER_PORT) != lnic_packet.udp_src ||
      lnic_mem_load32(slot + LNIC_SLOT_OWN_PORT) != lnic_packet.udp_dst ||
      lnic_mem_load32(slot + LNIC_SLOT_ID) != lnic_pkt_be16(0u) ||
      lnic_mem_load32(slot + LNIC_SLOT_INGRESS) != lnic_packet.ingress || lnic_pkt_be16(2u) != 0u) {
    return LNIC_NO_ANSWER;
  }
  /* More than one datagram has more than a value may. */
  return lnic_pkt_be16(4u) != 1u ? LNIC_FAILED : lnic_read_text(slot, len);
}

/* Goes on with what a slot holds; the packet under way becomes its packet. */
LNIC_SUPPORT uint32_t lnic_go_on(__mem40 uint8_t *slot, uint32_t kind)
{
  uint32_t status;

  lnic_call.ok = kind == LNIC_DONE;
  lnic_call.failed = kind == LNIC_FAILED;
  lnic_copy_lm_mem((__lmem uint32_t *)&lnic_packet, 0u, slot + LNIC_SLOT_PACKET, (uint32_t)sizeof lnic_packet);
  lnic_facts();
  lnic_call.entry = lnic_mem_load32(slot + LNIC_SLOT_ENTRY);
  lnic_call.site = lnic_mem_load32(slot + LNIC_SLOT_SITE);
  lnic_call.saved = slot + LNIC_SLOT_SAVED;
  status = lnic_resume();
  lnic_mem_store32(slot + LNIC_SLOT_STATE, LNIC_FREE);
  return status;
}

/* Takes a slot that is locked, where the packet has room for what it may become. */
LNIC_SUPPORT uint32_t lnic_take_slot(__mem40 uint8_t *slot)
{
  if (lnic_short(lnic_mem_load32(slot + LNIC_SLOT_WANTED)) != 0u) {
    return 0u;
  }
  lnic_mem_store32(slot + LNIC_SLOT_STATE, LNIC_RUNNING);
  return 1u;
}

/* The host says that time goes by. */
LNIC_SUPPORT uint32_t lnic_sweep(void)
{
  uint32_t i;

  for (i = 0u; i < LNIC_SWEPT; i++) {
    __mem40 uint8_t *slot = lnic_slot(lnic_mem_fetch_add32((__mem40 uint8_t *)lnic_swept, 1u));
    uint32_t due;
    uint32_t taken = 0u;

    lnic_mem_lock(slot + LNIC_SLOT_LOCK);
    due = lnic_mem_load32(slot + LNIC_SLOT_STATE) == LNIC_WAITING &&
          lnic_mem_load64(slot + LNIC_SLOT_DEADLINE) <= lnic_call.now;
    if (due != 0u) {
      taken = lnic_take_slot(slot);
    }
    lnic_mem_unlock(slot + LNIC_SLOT_LOCK);
    if (taken != 0u) {
      return lnic_go_on(slot, LNIC_FAILED);
    }
    if (due != 0u) {
      /* It is looked at again when the packet comes back. */
      lnic_mem_fetch_sub32((__mem40 uint8_t *)lnic_swept, 1u);
      return LNIC_AGAIN;
    }
  }
  return LNIC_DROP;
}

/* Bytes of the datagram in the packet. */
LNIC_SUPPORT uint32_t lnic_event_len(void)
{
  uint32_t len = lnic_packet.udp_len < LNIC_UDP_HEADER ? 0u : lnic_packet.udp_len - LNIC_UDP_HEADER;

  return len > lnic_call.room ? 0u : len;
}

/* A packet to one of the ports that services answer to. */
LNIC_SUPPORT uint32_t lnic_event(uint32_t len)
{
  __mem40 uint8_t *slot;
  uint32_t kind;
  uint32_t taken = 0u;

  if (lnic_packet.ingress == LNIC_HOST_PORT) {
    return lnic_sweep();
  }
  lnic_read_from(0u);
  if (len < LNIC_FRAME || len > LNIC_MAX_REPLY) {
    return LNIC_HOST;
  }
  slot = lnic_slot(lnic_pkt_be16(0u));
  lnic_mem_lock(slot + LNIC_SLOT_LOCK);
  kind = lnic_judge(slot, len);
  if (kind != LNIC_NO_ANSWER) {
    taken = lnic_take_slot(slot);
  }
  lnic_mem_unlock(slot + LNIC_SLOT_LOCK);
  if (kind == LNIC_NO_ANSWER) {
    return LNIC_HOST;
  }
  return taken != 0u ? lnic_go_on(slot, kind) : LNIC_AGAIN;
}

#endif
