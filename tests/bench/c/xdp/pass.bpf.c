// For the far end of a veth pair: what the near end sends back from its driver is only taken by an end that has an
// XDP program of its own.
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

SEC("xdp")
int pass(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_PASS;
}

SEC("license") char licence[] = "Dual BSD/GPL";
