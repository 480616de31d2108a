/* P4's part around the plugin: packets as bytes, parsed, laid into buffers, deparsed. */
#ifndef HARNESS_PACKET_H
#define HARNESS_PACKET_H

/* Where a packet starts in its buffer (project notes on the NFP, 1.6). */
#define PACKET_AT 64u
/* Bytes of Ethernet, IPv4 and UDP headers, and with the lambda header. */
#define OUTER 42u
#define HEADERS 66u
/* Where the lambda header has its status. */
#define LAMBDA_STATUS 64u

/* A packet, and the port that it comes in or leaves by. */
struct packet {
  uint8_t *bytes;
  uint32_t len;
  uint32_t port;
};

static void *words_of(uint32_t len) { return calloc(1u, (len + 15u) & ~7u); }

static void put_be(uint8_t **to, uint32_t bytes, uint32_t value)
{
  while (bytes > 0u) {
    bytes--;
    **to = (uint8_t)(value >> (bytes * 8u));
    (*to)++;
  }
}

static uint32_t get_be(const uint8_t **from, uint32_t bytes)
{
  uint32_t value = 0u;

  for (; bytes > 0u; bytes--) {
    value = value << 8 | **from;
    (*from)++;
  }
  return value;
}

/* Each header's fields, in the order of the wire: f(field, bytes). */
#define ETHERNET_FIELDS(f)                                                                                           \
  f(ethernet.dst_hi, 4) f(ethernet.dst_lo, 2) f(ethernet.src_hi, 2) f(ethernet.src_lo, 4) f(ethernet.type, 2)
#define IPV4_FIELDS(f)                                                                                               \
  f(ipv4.version_ihl, 1) f(ipv4.tos, 1) f(ipv4.len, 2) f(ipv4.id, 2) f(ipv4.fragment, 2) f(ipv4.ttl, 1)              \
    f(ipv4.protocol, 1) f(ipv4.sum, 2) f(ipv4.src, 4) f(ipv4.dst, 4)
#define UDP_FIELDS(f) f(udp.src, 2) f(udp.dst, 2) f(udp.len, 2) f(udp.sum, 2)
#define LAMBDA_FIELDS(f)                                                                                             \
  f(lambda.magic, 2) f(lambda.version, 1) f(lambda.kind, 1) f(lambda.workload, 4) f(lambda.request_hi, 4)            \
    f(lambda.request_lo, 4) f(lambda.fragment, 2) f(lambda.fragments, 2) f(lambda.length, 2) f(lambda.status, 1)     \
      f(lambda.flags, 1)
#define PUT_FIELD(field, bytes) put_be(&at, bytes, h->field);
#define GET_FIELD(field, bytes) h->field = get_be(&at, bytes);

/* Writes headers; gives where they end. */
static uint8_t *put_headers(uint8_t *at, const EXTRACTED_HEADERS_T *h)
{
  const struct {
    uint32_t there;
    uint32_t size;
    const shim_words *words;
  } grown[5] = {{h->has_grow_4, 4u, &h->grow_4},
                {h->has_grow_8, 8u, &h->grow_8},
                {h->has_grow_16, 16u, &h->grow_16},
                {h->has_grow_32, 32u, &h->grow_32},
                {h->has_grow_64, 64u, &h->grow_64}};
  uint32_t i;

  ETHERNET_FIELDS(PUT_FIELD)
  IPV4_FIELDS(PUT_FIELD)
  UDP_FIELDS(PUT_FIELD)
  if (h->has_lambda != 0u) {
    LAMBDA_FIELDS(PUT_FIELD)
  }
  for (i = 0u; i < 5u; i++) {
    if (grown[i].there != 0u) {
      shim_get(grown[i].words, 0u, at, grown[i].size);
      at += grown[i].size;
    }
  }
  return at;
}

/* Reads headers, those of a reply or of what comes in; gives how many bytes they have. */
static uint32_t get_headers(const struct packet *packet, EXTRACTED_HEADERS_T *h, uint32_t reply)
{
  const uint8_t *at = packet->bytes;

  memset(h, 0, sizeof *h);
  h->lnic_ingress = packet->port;
  h->has_ethernet = h->has_ipv4 = h->has_udp = 1u;
  ETHERNET_FIELDS(GET_FIELD)
  IPV4_FIELDS(GET_FIELD)
  UDP_FIELDS(GET_FIELD)
  if (reply != 0u || (h->udp.dst & LNIC_PORT_MASK) != LNIC_FIRST_PORT) {
    h->has_lambda = 1u;
    LAMBDA_FIELDS(GET_FIELD)
  }
  return (uint32_t)(at - packet->bytes);
}

/* The buffers of the packet under way: one in CTM, and what it can't hold in EMEM, at the same offset. */
struct buffers {
  void *ctm;
  void *mu;
  uint32_t near;
};
static struct buffers under_way;

static void place(const struct packet *packet, uint32_t parsed)
{
  uint32_t size = packet->len & 3u;
  uint32_t room = (256u << size) - PACKET_AT;
  uint32_t near = packet->len < room ? packet->len : room;

  under_way.near = near;
  under_way.ctm = words_of(PACKET_AT + near);
  under_way.mu = words_of(PACKET_AT + packet->len);
  shim_put(under_way.ctm, PACKET_AT, packet->bytes, near);
  shim_put(under_way.mu, PACKET_AT + near, packet->bytes + near, packet->len - near);
  shim_add("the packet in CTM", under_way.ctm, PACKET_AT + near, SHIM_CTM, SHIM_PACKET);
  shim_add("the packet in EMEM", under_way.mu, PACKET_AT + packet->len, SHIM_EMEM, SHIM_PACKET);
  pif_pkt_info_global.p_ctm_size = size;
  pif_pkt_info_global.p_is_split = near < packet->len;
  pif_pkt_info_global.p_offset = PACKET_AT;
  pif_pkt_info_global.p_len = packet->len;
  pif_pkt_info_spec.pkt_pl_off = parsed;
}

/* Makes the packet under way what headers and buffers say. */
static void deparse(struct packet *packet, uint32_t parsed, const EXTRACTED_HEADERS_T *h)
{
  uint8_t *bytes = malloc(packet->len + 2u * HEADERS + LNIC_MAX_GROWTH);
  uint8_t *at = put_headers(bytes, h);
  uint32_t near = under_way.near > parsed ? under_way.near - parsed : 0u;

  shim_get(under_way.ctm, PACKET_AT + parsed, at, near);
  shim_get(under_way.mu, PACKET_AT + parsed + near, at + near, packet->len - parsed - near);
  free(packet->bytes);
  packet->len = (uint32_t)(at - bytes) + packet->len - parsed;
  packet->bytes = bytes;
  packet->port = h->egress_spec;
}

static void clear_away(void)
{
  shim_remove(under_way.ctm);
  shim_remove(under_way.mu);
  free(under_way.ctm);
  free(under_way.mu);
}

/* A UDP packet: what h says of Ethernet, addresses and ports, and so many bytes behind UDP's header. */
static struct packet packet_of(EXTRACTED_HEADERS_T *h, uint32_t port, const uint8_t *payload, uint32_t len,
                               uint32_t pad)
{
  struct packet packet;
  uint8_t *at;

  h->ethernet.type = 0x0800u;
  h->ipv4.version_ihl = 0x45u;
  h->ipv4.ttl = 63u;
  h->ipv4.id = 0x1234u;
  h->ipv4.protocol = 17u;
  h->udp.len = 8u + (h->has_lambda != 0u ? 24u : 0u) + len + pad;
  h->ipv4.len = 20u + h->udp.len;
  packet.bytes = malloc(HEADERS + len + pad);
  at = put_headers(packet.bytes, h);
  if (len > 0u) {
    memcpy(at, payload, len);
  }
  memset(at + len, 0xee, pad);
  packet.len = (uint32_t)(at - packet.bytes) + len + pad;
  packet.port = port;
  return packet;
}

/* Whether lengths and checksums are right. */
static void check_outer(const struct packet *packet, const EXTRACTED_HEADERS_T *h)
{
  const uint8_t *at = packet->bytes + 14;
  uint32_t sum = 0u;
  uint32_t i;

  for (i = 0u; i < 10u; i++) {
    sum += get_be(&at, 2u);
  }
  while (sum >> 16 != 0u) {
    sum = (sum >> 16) + (sum & 0xffffu);
  }
  if (sum != 0xffffu || h->ethernet.type != 0x0800u || h->ipv4.version_ihl != 0x45u || h->ipv4.protocol != 17u ||
      h->udp.len + 20u != h->ipv4.len || h->ipv4.len + 14u > packet->len || h->udp.sum != 0u) {
    wrong("a packet whose headers do not say what it is");
  }
}

#endif
