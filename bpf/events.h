/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_EVENTS_H
#define EBPF_NET_EVENTS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

/* What the collector could not keep. The names are reasons in the collector's own metrics. */
enum loss {
	LOSS_RING_FULL = 0,	  /* TCP records */
	LOSS_RING_FULL_BYTES = 1, /* payload in them */
	LOSS_STORAGE_FULL = 2,	  /* sockets that got no storage */
	LOSS_UDP_MAP_FULL = 3,	  /* datagrams */
	LOSS_UDP_MAP_FULL_BYTES = 4,
	LOSS_REASONS = 5,
};

/* The one ring: struct tcp_record only. The loader sets its size. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/* enum loss -> count, one for each CPU; only grows. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, LOSS_REASONS);
} losses SEC(".maps");

/* Connections that began (a connect, a handshake, an adoption) and ended, told or lost. */
enum life {
	LIFE_BEGUN = 0,
	LIFE_ENDED = 1,
	LIFE_COUNTS = 2,
};

/* enum life -> count, one for each CPU; only grows. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, LIFE_COUNTS);
} lives SEC(".maps");

/* A scan stops when the ring holds this much; what is left is for sockets that close. */
const volatile __u64 max_scan_bytes = 4 << 20;
/* The reader is woken when the ring first holds this much. */
const volatile __u64 max_quiet_bytes = 256 << 10;

static __always_inline void count_loss(__u32 reason, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&losses, &reason);

	/* A softirq may interrupt us and count on the same CPU. */
	if (value)
		__sync_fetch_and_add(value, amount);
}

/* One wake-up when the watermark is crossed, a few if several CPUs cross it together. */
static __always_inline __u64 wake_flags(void)
{
	__u64 held = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	return held >= max_quiet_bytes && held < max_quiet_bytes + (64 << 10) ? BPF_RB_FORCE_WAKEUP
									      : BPF_RB_NO_WAKEUP;
}

#endif
