/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_PACKET_H
#define EBPF_NET_PACKET_H

#include "owner.h"
#include "tcp.h"
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * Of a received packet that no socket is known for; all by copies. Ports are the first four
 * bytes of what follows the addresses, as in TCP and UDP.
 */
struct packet_ends {
	__u8 local_address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 remote_address[16];
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u32 netns;
};

static __always_inline void map_packet_address(__u8 address[16], const void *from)
{
	__u32 *words = (__u32 *)address;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	bpf_probe_read_kernel(&words[3], sizeof(words[3]), from);
}

/* In a UDP socket's queue the place of the device holds something else, and is no address. */
static __always_inline __u32 packet_netns(const struct sk_buff *skb)
{
	const struct net_device *device = BPF_CORE_READ(skb, dev);
	__u32 number = 0;

	if ((__s64)device < 0)
		number = BPF_CORE_READ(device, nd_net.net, ns.inum);
	return number ?: current_netns();
}

/* False: it is not IP. */
static __always_inline bool read_packet(struct packet_ends *ends, const struct sk_buff *skb)
{
	const unsigned char *head = BPF_CORE_READ(skb, head);
	const unsigned char *network = head + BPF_CORE_READ(skb, network_header);
	const unsigned char *transport = head + BPF_CORE_READ(skb, transport_header);
	__be16 ports[2];
	__u8 version;

	if (bpf_probe_read_kernel(&version, sizeof(version), network) ||
	    bpf_probe_read_kernel(ports, sizeof(ports), transport))
		return false;
	if (version >> 4 == 4) {
		map_packet_address(ends->remote_address, network + 12);
		map_packet_address(ends->local_address, network + 16);
	} else if (version >> 4 == 6) {
		bpf_probe_read_kernel(ends->remote_address, 16, network + 8);
		bpf_probe_read_kernel(ends->local_address, 16, network + 24);
	} else {
		return false;
	}
	ends->remote_port = bpf_ntohs(ports[0]);
	ends->local_port = bpf_ntohs(ports[1]);
	ends->netns = packet_netns(skb);
	return true;
}

/* Nobody knows who began: the port that more often is a server's. */
static __always_inline __u8 likely_role(const struct packet_ends *ends)
{
	return ends->local_port < ends->remote_port ? TCP_ROLE_SERVER : TCP_ROLE_CLIENT;
}

#endif
