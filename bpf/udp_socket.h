/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_UDP_SOCKET_H
#define EBPF_NET_UDP_SOCKET_H

#include "owner.h"
#include "tcp.h"
#include "udp.h"
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

enum udp_verdict {
	UDP_UNDECIDED = 0,
	UDP_INCLUDED = 1,
	UDP_EXCLUDED = 2,
};

struct udp_state {
	struct owner owner;
	__u8 role; /* enum tcp_role, by the socket's first datagram */
	__u8 pad[3];
	__u32 judged; /* filter_generation << 2 | enum udp_verdict, in one write */
};

/* Socket -> owner and role. Bounded by the sockets there are; the kernel frees it with each. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct udp_state);
} udp_sockets SEC(".maps");

#endif
