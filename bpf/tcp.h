/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_TCP_H
#define EBPF_NET_TCP_H

/* Who opened a connection. UNKNOWN only for sockets adopted at start; user space settles it. */
enum tcp_role {
	TCP_ROLE_UNKNOWN = 0,
	TCP_ROLE_CLIENT = 1,
	TCP_ROLE_SERVER = 2,
	TCP_ROLE_LISTENER = 3,
};

/* What happened to the socket since its last record; bits of tcp_record.flags. */
enum tcp_flag {
	TCP_FLAG_OPENED = 1,   /* the handshake finished: one new connection */
	TCP_FLAG_ADOPTED = 2,  /* was open before the collector started: open, but not new */
	TCP_FLAG_CLOSED = 4,   /* an open connection ended */
	TCP_FLAG_FAILED = 8,   /* a connect that never became a connection; see error */
	TCP_FLAG_REQUEST = 16, /* no socket of its own: a half-open request at a listener */
	TCP_FLAG_OPEN = 32,    /* only in a recount: this connection is open now */
};

/*
 * What one TCP socket did since its last record. All counters are deltas, so a record that is
 * missed or repeated by a scan changes no total.
 */
struct tcp_record {
	__u64 time_ns;	 /* CLOCK_MONOTONIC */
	__u64 cookie;	 /* kernel's socket cookie, unique while the machine runs; 0: unknown */
	__u64 cgroup_id; /* cgroup v2 of the socket */
	__u64 owner_start_ns;	/* start of the owner's thread group leader, CLOCK_BOOTTIME */
	__u64 bytes_sent;	/* payload, without retransmissions, SYN and FIN */
	__u64 bytes_received;	/* payload, in order, without SYN and FIN */
	__u8 local_address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 remote_address[16];
	char comm[16];
	__u32 netns; /* inode number of the network namespace */
	__u32 pid;   /* thread group id of who connected or listened; 0: unknown */
	__u32 segments_sent;
	__u32 segments_received;
	__u32 retransmits;
	__u32 srtt_us;	  /* smoothed round-trip time now; 0: no sample */
	__u32 min_rtt_us; /* minimum in the kernel's window; 0: no sample */
	__u32 connect_us; /* SYN sent to ESTABLISHED; only with OPENED at a client, else 0 */
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u16 resets_sent;
	__u16 resets_received;
	__u16 syn_timeouts; /* SYN (client) or SYN-ACK (server) sent again */
	__u16 error;	    /* errno of a FAILED or aborted connection */
	__u8 flags;	    /* enum tcp_flag */
	__u8 role;	    /* enum tcp_role */
	__u8 state;	    /* TCP_ESTABLISHED ... of include/net/tcp_states.h */
	__u8 pad[1];
};
_Static_assert(sizeof(struct tcp_record) == 144, "tcp_record crosses to user space");

#endif
