/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * UDP. One socket may have thousands of peers and the kernel counts none of them, so this is
 * the one place where something runs per packet; a TCP packet leaves after a look at its header.
 *
 * Received is what arrived at the socket less what its queue refused; that is counted as drops.
 * Bytes are payload; a packet that carries several datagrams (GSO, GRO) counts as so many.
 */
#include "events.h"
#include "filter.h"
#include "udp_socket.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

/*
 * (socket, peer) -> counters, for one window; at most what the loader sets (max_entries).
 * Programs use one of the two, the collector empties the other.
 */
struct udp_peers {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct udp_key);
	__type(value, struct udp_value);
	__uint(max_entries, 65536);
};
struct udp_peers udp_peers_even SEC(".maps");
struct udp_peers udp_peers_odd SEC(".maps");

/* Which of the two is in use. */
__u32 udp_window = 0;

/*
 * Never looked at: an update of a map of maps returns after all programs that ran before it have
 * ended, so the collector does one between changing udp_window and emptying the other map.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 1);
	__array(values, struct udp_peers);
} udp_grace SEC(".maps") = {.values = {&udp_peers_even}};

struct udp_datagrams {
	struct udp_key key;
	__u64 bytes;
	__u32 count;
	__u32 window; /* udp_window when they were counted */
};

/*
 * 0 -> what this CPU received last: when the socket's queue refuses it, that is found out on the
 * same CPU before the next packet comes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct udp_datagrams);
	__uint(max_entries, 1);
} udp_last_received SEC(".maps");

static __always_inline struct udp_value *find_peer(__u32 window, const struct udp_key *key)
{
	return window & 1 ? bpf_map_lookup_elem(&udp_peers_odd, key)
			  : bpf_map_lookup_elem(&udp_peers_even, key);
}

static __always_inline long add_peer(__u32 window, const struct udp_key *key,
				     const struct udp_value *value)
{
	return window & 1 ? bpf_map_update_elem(&udp_peers_odd, key, value, BPF_NOEXIST)
			  : bpf_map_update_elem(&udp_peers_even, key, value, BPF_NOEXIST);
}

static __always_inline struct udp_value *find_or_add_peer(const struct udp_datagrams *seen,
							  const struct udp_state *state)
{
	struct udp_value *value = find_peer(seen->window, &seen->key);
	struct udp_value fresh = {};

	if (value)
		return value;
	fresh.cgroup_id = state->owner.cgroup_id;
	fresh.owner_start_ns = state->owner.start_ns;
	fresh.netns = state->owner.netns;
	fresh.pid = state->owner.pid;
	fresh.role = state->role;
	__builtin_memcpy(fresh.comm, state->owner.comm, sizeof(fresh.comm));
	/* Another CPU may have been first: then it is there all the same. */
	add_peer(seen->window, &seen->key, &fresh);
	return find_peer(seen->window, &seen->key);
}

static __always_inline void add_datagrams(const struct udp_datagrams *seen,
					  const struct udp_state *state, bool sent)
{
	struct udp_value *value = find_or_add_peer(seen, state);

	if (!value) {
		count_loss(LOSS_UDP_MAP_FULL, seen->count);
		count_loss(LOSS_UDP_MAP_FULL_BYTES, seen->bytes);
		return;
	}
	if (sent) {
		__sync_fetch_and_add(&value->bytes_sent, seen->bytes);
		__sync_fetch_and_add(&value->datagrams_sent, seen->count);
	} else {
		__sync_fetch_and_add(&value->bytes_received, seen->bytes);
		__sync_fetch_and_add(&value->datagrams_received, seen->count);
	}
}

static __always_inline __u64 packet_cgroup_level(struct bpf_sock *sk, int level)
{
	return bpf_sk_ancestor_cgroup_id(sk, level);
}

/*
 * Only a verdict about its own cgroup brings back a socket that was left out: when the cgroup is
 * gone, and what was said of it, the socket may live on.
 */
static __always_inline bool packet_is_included(struct bpf_sock *sk, bool was_excluded)
{
	if (!filter_active)
		return filter_default_include;
	for (int level = FILTER_LEVELS - 1; level >= 0; level--) {
		__u64 id = packet_cgroup_level(sk, level);
		__u8 *verdict = id ? bpf_map_lookup_elem(&cgroup_verdicts, &id) : NULL;

		if (verdict)
			return *verdict && (!was_excluded || id == bpf_sk_cgroup_id(sk));
	}
	return filter_default_include && !was_excluded;
}

/* The verdict is taken with the socket's first packet, and kept until the filter changes. */
static __always_inline bool keeps_included(struct udp_state *state, struct bpf_sock *sk)
{
	/* Read before the verdicts, which change first. */
	__u32 generation = *(volatile __u32 *)&filter_generation << 2;
	__u32 judged = state->judged;

	if (judged == (generation | UDP_INCLUDED))
		return true;
	if (judged == (generation | UDP_EXCLUDED))
		return false;
	if (!state->owner.cgroup_id)
		state->owner.cgroup_id = bpf_sk_cgroup_id(sk);
	judged = packet_is_included(sk, (judged & 3) == UDP_EXCLUDED) ? UDP_INCLUDED : UDP_EXCLUDED;
	state->judged = generation | judged;
	return judged == UDP_INCLUDED;
}

static __always_inline struct udp_state *packet_state(struct bpf_sock *sk, bool sent)
{
	struct udp_state *state =
		bpf_sk_storage_get(&udp_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!state) {
		count_loss(LOSS_STORAGE_FULL, 1);
		return NULL;
	}
	if (!keeps_included(state, sk))
		return NULL;
	if (!state->role)
		state->role = sent ? TCP_ROLE_CLIENT : TCP_ROLE_SERVER;
	return state;
}

static __always_inline void map_ends(struct udp_key *key, const __be32 *source, const __be32 *dest,
				     bool sent)
{
	__u32 *from = (__u32 *)(sent ? key->local_address : key->remote_address);
	__u32 *to = (__u32 *)(sent ? key->remote_address : key->local_address);

	from[0] = to[0] = 0;
	from[1] = to[1] = 0;
	from[2] = to[2] = bpf_htonl(0xffff);
	from[3] = *source;
	to[3] = *dest;
}

static __always_inline void copy_ends(struct udp_key *key, const __be32 *source, const __be32 *dest,
				      bool sent)
{
	__u32 *from = (__u32 *)(sent ? key->local_address : key->remote_address);
	__u32 *to = (__u32 *)(sent ? key->remote_address : key->local_address);

#pragma unroll
	for (int i = 0; i < 4; i++) {
		from[i] = source[i];
		to[i] = dest[i];
	}
}

/* Offset of the UDP header behind IPv6 extension headers; 0: it is not UDP. */
static __always_inline __u32 skip_extensions(struct __sk_buff *skb, __u8 next)
{
	__u32 offset = 40;

	for (int i = 0; i < 4; i++) {
		__u8 header[2];

		if (next == IPPROTO_UDP)
			return offset;
		/* Hop-by-hop, routing, destination options. */
		if (next != 0 && next != 43 && next != 60)
			return 0;
		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return 0;
		next = header[0];
		offset += (header[1] + 1) * 8;
	}
	return next == IPPROTO_UDP ? offset : 0;
}

/* Addresses into the key; the offset of the UDP header, 0: it is not UDP. */
static __always_inline __u32 read_addresses(struct __sk_buff *skb, struct udp_key *key, bool sent)
{
	__u8 *data = (__u8 *)(long)skb->data;
	__u8 *end = (__u8 *)(long)skb->data_end;

	if (data + 28 > end)
		return 0;
	if (data[0] >> 4 == 4) {
		if (data[9] != IPPROTO_UDP)
			return 0;
		map_ends(key, (__be32 *)(data + 12), (__be32 *)(data + 16), sent);
		return (data[0] & 15) * 4;
	}
	if (data[6] == IPPROTO_TCP || data + 48 > end)
		return 0;
	copy_ends(key, (__be32 *)(data + 8), (__be32 *)(data + 24), sent);
	return skip_extensions(skb, data[6]);
}

static __always_inline bool read_datagrams(struct __sk_buff *skb, struct udp_datagrams *seen,
					   bool sent)
{
	__be16 ports[2];
	__u32 offset = read_addresses(skb, &seen->key, sent);

	if (!offset || bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)))
		return false;
	seen->key.local_port = bpf_ntohs(sent ? ports[0] : ports[1]);
	seen->key.remote_port = bpf_ntohs(sent ? ports[1] : ports[0]);
	seen->key.pad = 0;
	seen->bytes = skb->len - offset - 8;
	seen->count = skb->gso_segs ?: 1;
	seen->window = *(volatile __u32 *)&udp_window;
	return true;
}

static __always_inline void on_packet(struct __sk_buff *skb, struct udp_datagrams *seen, bool sent)
{
	struct udp_state *state;
	struct bpf_sock *sk;

	if (!read_datagrams(skb, seen, sent))
		return;
	sk = skb->sk;
	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	/* A raw socket of the protocol has a copy of each datagram that others receive. */
	if (!sk || sk->protocol != IPPROTO_UDP || sk->type != SOCK_DGRAM)
		return;
	state = packet_state(sk, sent);
	if (!state)
		return;
	seen->key.cookie = bpf_get_socket_cookie(skb);
	add_datagrams(seen, state, sent);
}

SEC("cgroup_skb/egress")
int udp_sent(struct __sk_buff *skb)
{
	struct udp_datagrams seen;

	on_packet(skb, &seen, true);
	return 1;
}

SEC("cgroup_skb/ingress")
int udp_received(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct udp_datagrams *seen;
	__u8 *data = (__u8 *)(long)skb->data;
	__u8 *end = (__u8 *)(long)skb->data_end;

	if (data + 20 > end || data[data[0] >> 4 == 4 ? 9 : 6] == IPPROTO_TCP)
		return 1;
	seen = bpf_map_lookup_elem(&udp_last_received, &first);
	if (seen) {
		seen->key.cookie = 0;
		on_packet(skb, seen, false);
	}
	return 1;
}

/* The task that makes a UDP socket owns it. */
SEC("cgroup/sock_create")
int udp_created(struct bpf_sock *sk)
{
	struct udp_state *state;

	if (sk->protocol != IPPROTO_UDP || sk->type != SOCK_DGRAM)
		return 1;
	state = bpf_sk_storage_get(&udp_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) {
		count_loss(LOSS_STORAGE_FULL, 1);
		return 1;
	}
	fill_current_process(&state->owner);
	state->owner.cgroup_id = bpf_get_current_cgroup_id();
	state->owner.netns = current_netns();
	return 1;
}
