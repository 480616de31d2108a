/* How invocations end, for all dialects. Included by their headers once lnic_call is known; LNIC_SMALL is said of what is
 * less than a call. */
#ifndef LNIC_ENDS_H
#define LNIC_ENDS_H

/* Statuses of the wire, then what is never sent. */
#define LNIC_REPLY 0u
#define LNIC_NO_WORKLOAD 1u
#define LNIC_BAD_REQUEST 2u
#define LNIC_TRAP 3u
#define LNIC_PUNT 6u
#define LNIC_DROP 256u
#define LNIC_WAIT 257u    /* asked a service: what is to be kept is in lnic_call.saved */
#define LNIC_HOST 258u    /* the host's to run */
#define LNIC_PUNT_TO 259u /* punted to the lambda lnic_call.punted */
#define LNIC_AGAIN 260u   /* nothing ran yet: the packet comes back longer */

/* Whether a status is sent to the caller. */
LNIC_SMALL uint32_t lnic_answered(uint32_t status) { return status < LNIC_PUNT; }

LNIC_SUPPORT uint32_t lnic_trap(uint32_t trap)
{
  lnic_call.trap = trap;
  lnic_call.reply_len = 0u;
  return LNIC_TRAP;
}

LNIC_SMALL uint32_t lnic_punt_to(uint32_t lambda)
{
  lnic_call.punted = lambda;
  return LNIC_PUNT_TO;
}

LNIC_SMALL uint32_t lnic_reply_in_place(uint32_t len)
{
  lnic_call.reply_len = len;
  return LNIC_REPLY;
}

/* Bytes of the request from offset on, at most max. */
LNIC_SUPPORT uint32_t lnic_rest(uint32_t offset, uint32_t max)
{
  uint32_t rest = lnic_call.request_len < offset ? 0u : lnic_call.request_len - offset;

  return rest < max ? rest : max;
}

#endif
