// The wrapper of a test run: gives the packet its first length and bytes again, then runs the program that is measured.
// The kernel doesn't restore the packet between repeats, and a program that sees its own reply measures something else.
#include <stddef.h>
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define ROOM 1500

static long (*bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)BPF_FUNC_tail_call;
static long (*bpf_xdp_adjust_tail)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_tail;
static long (*bpf_xdp_store_bytes)(struct xdp_md *ctx, __u32 offset, void *from, __u32 len) =
    (void *)BPF_FUNC_xdp_store_bytes;

struct {
    int (*type)[BPF_MAP_TYPE_PROG_ARRAY];
    __u32 *key;
    __u32 *value;
    int (*max_entries)[1];
} measured SEC(".maps");

struct packet {
    __u32 len;
    __u8 bytes[ROOM];
};
struct packet packet SEC(".data.packet") = { 1, { 0 } };

SEC("xdp")
int restore(struct xdp_md *ctx)
{
    __u32 len = packet.len;
    if (len < 14 || len > ROOM)
        return XDP_ABORTED;
    int delta = (int)len - (int)(ctx->data_end - ctx->data);
    if (delta && bpf_xdp_adjust_tail(ctx, delta))
        return XDP_ABORTED;
    if (bpf_xdp_store_bytes(ctx, 0, packet.bytes, len))
        return XDP_ABORTED;
    bpf_tail_call(ctx, &measured, 0);
    return XDP_ABORTED;
}

SEC("license") char licence[] = "Dual BSD/GPL";
