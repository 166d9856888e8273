/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Datagrams that reached this machine and not their program, by reason. Runs only when something
 * is dropped.
 */
#include "packet.h"
#include "udp.bpf.c"

/* Move the datagram that this CPU has just counted from received to drops. */
static __always_inline void refuse_received(const struct sock *sk, __u32 reason)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct udp_datagrams *seen;
	struct udp_value *value;
	__u32 first = 0;

	seen = bpf_map_lookup_elem(&udp_last_received, &first);
	if (!seen || !cookie || seen->key.cookie != cookie)
		return;
	value = find_peer(seen->window, &seen->key);
	if (!value)
		return;
	__sync_fetch_and_add(&value->bytes_received, -seen->bytes);
	__sync_fetch_and_add(&value->datagrams_received, -(__u64)seen->count);
	__sync_fetch_and_add(&value->drops[reason], seen->count);
}

static __always_inline __u32 queue_reason(int error)
{
	if (error == -ENOMEM)
		return UDP_DROP_RECEIVE_BUFFER;
	return error == -ENOBUFS ? UDP_DROP_MEMORY : UDP_DROP_OTHER;
}

/* The socket's queue refused it. */
SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(udp_dropped_tp_btf, int error, const struct sock *sk)
{
	refuse_received(sk, queue_reason(error));
	return 0;
}

/* The socket that it was for; NULL where the kernel had not looked for it, or does not say. */
static __always_inline struct sock *dropped_for(const __u64 *context)
{
	struct sock *sk = NULL;

	if (bpf_core_field_exists(struct trace_event_raw_kfree_skb, rx_sk))
		sk = (struct sock *)context[3];
	return sk;
}

/* What is known of the socket, or NULL if it is left out. */
static __always_inline struct udp_state *dropped_state(struct sock *sk, struct udp_state *unknown,
						       const struct packet_ends *ends)
{
	struct udp_state *state = sk ? bpf_sk_storage_get(&udp_sockets, sk, NULL, 0) : NULL;

	if (state)
		return (state->judged & 3) == UDP_EXCLUDED ? NULL : state;
	unknown->owner.netns = ends->netns;
	unknown->role = likely_role(ends);
	return filter_default_include ? unknown : NULL;
}

/*
 * Its checksum is wrong. The kernel finds that out of a short one before it looks for the socket,
 * and of a long one when the program reads, where no socket is told any more: such a one has
 * counted as received.
 */
static __always_inline void on_wrong_checksum(const struct sk_buff *skb, struct sock *sk)
{
	struct udp_datagrams seen = {.count = 1};
	struct udp_state unknown = {};
	struct packet_ends ends;
	struct udp_state *state;
	struct udp_value *value;

	if (!read_packet(&ends, skb))
		return;
	state = dropped_state(sk, &unknown, &ends);
	if (!state)
		return;
	if (state != &unknown)
		seen.key.cookie = sk->__sk_common.skc_cookie.counter;
	__builtin_memcpy(seen.key.local_address, ends.local_address, 16);
	__builtin_memcpy(seen.key.remote_address, ends.remote_address, 16);
	seen.key.local_port = ends.local_port;
	seen.key.remote_port = ends.remote_port;
	seen.window = *(volatile __u32 *)&udp_window;
	value = find_or_add_peer(&seen, state);
	if (value)
		__sync_fetch_and_add(&value->drops[UDP_DROP_CHECKSUM], 1);
	else
		count_loss(LOSS_UDP_MAP_FULL, 1);
}

static __always_inline bool is_udp(const struct sock *sk)
{
	return sk && sk->sk_protocol == IPPROTO_UDP;
}

/* All other reasons leave after two comparisons. Those of a full queue are told above. */
SEC("tp_btf/kfree_skb")
int udp_discarded_tp_btf(__u64 *context)
{
	struct sk_buff *skb = (struct sk_buff *)context[0];
	int reason = context[2];
	struct sock *sk;

	if (reason == bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_UDP_CSUM)) {
		on_wrong_checksum(skb, dropped_for(context));
	} else if (reason ==
		   bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_SOCKET_FILTER)) {
		sk = dropped_for(context);
		if (is_udp(sk))
			refuse_received(sk, UDP_DROP_OTHER);
	}
	return 0;
}
