/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_UDP_H
#define EBPF_NET_UDP_H

/* Why a datagram that had reached its socket's protocol was dropped. */
enum udp_drop {
	UDP_DROP_RECEIVE_BUFFER = 0, /* the socket's buffer was full */
	UDP_DROP_MEMORY = 1,	     /* the protocol's memory limit was reached */
	UDP_DROP_CHECKSUM = 2,
	UDP_DROP_OTHER = 3,
	UDP_DROP_REASONS = 4,
};

/* One peer of one socket. */
struct udp_key {
	__u64 cookie;
	__u8 local_address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 remote_address[16];
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u32 pad;
};
_Static_assert(sizeof(struct udp_key) == 48, "udp_key crosses to user space");

/* What a socket and one peer exchanged in this window. Bytes are UDP payload. */
struct udp_value {
	__u64 cgroup_id;
	__u64 owner_start_ns;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 datagrams_sent;
	__u64 datagrams_received;
	__u32 drops[UDP_DROP_REASONS];
	char comm[16];
	__u32 netns;
	__u32 pid;
	__u8 role; /* enum tcp_role: CLIENT if the socket's first datagram was sent by it */
	__u8 pad[7];
};
_Static_assert(sizeof(struct udp_value) == 96, "udp_value crosses to user space");

#endif
