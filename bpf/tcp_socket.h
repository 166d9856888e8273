/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_TCP_SOCKET_H
#define EBPF_NET_TCP_SOCKET_H

#include "events.h"
#include "filter.h"
#include "owner.h"
#include "tcp.h"
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* What the kernel had counted for a socket when it was last reported. */
struct tcp_counters {
	__u64 acknowledged;
	__u64 received; /* payload */
	__u32 next;	/* sequence number after the payload sent */
	__u32 segments_out;
	__u32 segments_in;
	__u32 retransmits;
};

/* What we keep with a socket. Everything below `lock` is written while holding it. */
struct tcp_state {
	struct bpf_spin_lock lock;
	__u8 role;    /* enum tcp_role; a child has its listener's until it is established */
	__u8 pending; /* enum tcp_flag that leave with the next record */
	__u8 open;    /* between OPENED (or ADOPTED) and CLOSED */
	__u8 ended;   /* the last record but late resets is out */
	__u16 error;
	__u16 syn_timeouts; /* these four: not yet reported */
	__u16 resets_sent;
	__u16 resets_received;
	__u32 connect_us;
	__u32 recount;	     /* generation of the last recount that saw this socket */
	__u8 alive;	     /* counts as begun and not yet as ended (enum life) */
	__u32 seen_next;     /* snd_nxt and bytes_received at the last scan, as they were; */
	__u64 seen_received; /* SEEN_NOTHING: it held a byte back */
	__u64 cookie;
	__u64 connect_ns; /* when the SYN was sent */
	struct owner owner;
	struct tcp_counters last;
};

/* Socket -> state. Bounded by the sockets there are; the kernel frees a value with its socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct tcp_state);
} tcp_sockets SEC(".maps");

/* Set by the loader where tp_btf programs may call bpf_get_socket_cookie (v5.15). */
const volatile bool has_socket_cookie = true;

#define SEEN_NOTHING (~0ULL)
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

#define OPEN_STATES                                                             \
	((1 << TCP_ESTABLISHED) | (1 << TCP_FIN_WAIT1) | (1 << TCP_FIN_WAIT2) | \
	 (1 << TCP_CLOSE_WAIT) | (1 << TCP_LAST_ACK) | (1 << TCP_CLOSING))
#define FIN_QUEUED_STATES                                                                         \
	((1 << TCP_FIN_WAIT1) | (1 << TCP_FIN_WAIT2) | (1 << TCP_CLOSING) | (1 << TCP_LAST_ACK) | \
	 (1 << TCP_TIME_WAIT))

/* To be added to while holding the lock: a scan must not find less than the counts promise. */
static __always_inline __u64 *life_count(__u32 kind)
{
	return bpf_map_lookup_elem(&lives, &kind);
}

static __always_inline void begin_life(struct tcp_state *state, __u64 *begun)
{
	if (state->alive)
		return;
	state->alive = 1;
	__sync_fetch_and_add(begun, 1);
}

static __always_inline const struct sock *tcp_to_sock(const struct tcp_sock *tp)
{
	return &tp->inet_conn.icsk_inet.sk;
}

/* Nobody is changing the socket's counters at this moment. */
static __always_inline bool socket_is_quiet(const struct tcp_sock *tp)
{
	const struct sock *sk = tcp_to_sock(tp);

	if (READ_ONCE(sk->sk_lock.owned))
		return false;
	if (bpf_core_field_exists(sk->sk_lock.slock.rlock.raw_lock.val.counter))
		return !READ_ONCE(sk->sk_lock.slock.rlock.raw_lock.val.counter);
	return true;
}

static __always_inline bool in_state(const struct sock *sk, int states)
{
	return (1 << READ_ONCE(sk->__sk_common.skc_state)) & states;
}

/* Its first sequence number after the SYN, as long as nobody changes the socket. */
static __always_inline __u32 first_payload(const struct tcp_sock *tp, bool client)
{
	/* The client's SYN counts as acknowledged; a child starts after its SYN-ACK. */
	return READ_ONCE(tp->snd_una) - (__u32)READ_ONCE(tp->bytes_acked) + client;
}

/* Of a socket that is closed already, when its last state is not known. */
static __always_inline __u32 last_payload(const struct tcp_sock *tp, bool client)
{
	__u32 next = tp->snd_nxt, payload = tp->bytes_sent - tp->bytes_retrans;

	return next - first_payload(tp, client) == payload + 1 ? next - 1 : next;
}

/*
 * Payload sent so far ends before this sequence number. A reader without the socket's lock may
 * be one too low (FIN queued, not yet numbered), never too high: snd_nxt is read before the
 * state that tells of the FIN.
 */
static __always_inline __u32 next_payload(const struct tcp_sock *tp, int state)
{
	__u32 next = READ_ONCE(tp->snd_nxt);

	if (!state)
		state = READ_ONCE(tcp_to_sock(tp)->__sk_common.skc_state);
	if (!((1 << state) & FIN_QUEUED_STATES))
		return next;
	return next == READ_ONCE(tp->write_seq) ? next - 1 : next;
}

static __always_inline bool fin_received(const struct tcp_sock *tp)
{
	return READ_ONCE(tcp_to_sock(tp)->__sk_common.skc_flags) & (1 << SOCK_DONE_BIT);
}

/*
 * The kernel counts the peer's FIN as a byte and marks the socket a moment later. A reader
 * without the lock that cannot tell holds the last byte back until the next time.
 */
static __always_inline __u64 received_payload(const struct tcp_sock *tp, bool locked)
{
	__u64 received = 0;

	for (int attempt = 0; attempt < 4; attempt++) {
		bool done = fin_received(tp), quiet;

		received = READ_ONCE(tp->bytes_received);
		if (done)
			return received - 1;
		if (locked)
			return received;
		quiet = socket_is_quiet(tp);
		done = fin_received(tp);
		if (quiet && READ_ONCE(tp->bytes_received) == received)
			return received - done;
	}
	return received ? received - 1 : 0;
}

/* `state` is 0 to look it up; `locked` says that the caller runs under the socket's lock. */
static __always_inline void read_counters(struct tcp_counters *now, const struct tcp_sock *tp,
					  int state, bool locked)
{
	/* Before snd_nxt, which never falls behind it. */
	now->acknowledged = READ_ONCE(tp->bytes_acked);
	now->next = next_payload(tp, state);
	now->received = received_payload(tp, locked);
	now->segments_out = READ_ONCE(tp->segs_out);
	now->segments_in = READ_ONCE(tp->segs_in);
	now->retransmits = READ_ONCE(tp->total_retrans);
}

/*
 * Sequence numbers wrap every 4 GB. Acknowledged bytes do not, and are never more than a
 * window (1 GB) away, so they tell how often.
 */
static __always_inline __s64 payload_sent(const struct tcp_counters *now,
					  const struct tcp_counters *last)
{
	__u64 low = (__u32)(now->next - last->next);
	__s64 acknowledged = now->acknowledged - last->acknowledged;
	__s64 wraps = (acknowledged - (__s64)low + (1LL << 31)) >> 32;

	return (__s64)low + (wraps << 32);
}

static __always_inline __u32 advance32(__u32 *last, __u32 now)
{
	__s32 delta = now - *last;

	if (delta <= 0)
		return 0;
	*last = now;
	return delta;
}

/* Move `last` up to `now` and put the difference into the record; false: nothing moved. */
static __always_inline bool take_deltas(struct tcp_record *record, struct tcp_counters *last,
					const struct tcp_counters *now)
{
	__s64 sent = payload_sent(now, last);
	__s64 received = now->received - last->received;

	record->bytes_sent = 0;
	record->bytes_received = 0;
	if (sent > 0) {
		record->bytes_sent = sent;
		last->next = now->next;
		last->acknowledged = now->acknowledged;
	}
	if (received > 0) {
		record->bytes_received = received;
		last->received = now->received;
	}
	record->segments_sent = advance32(&last->segments_out, now->segments_out);
	record->segments_received = advance32(&last->segments_in, now->segments_in);
	record->retransmits = advance32(&last->retransmits, now->retransmits);
	return record->bytes_sent || record->bytes_received || record->segments_sent ||
	       record->segments_received || record->retransmits;
}

/* What is pending leaves with this record. */
static __always_inline bool take_pending(struct tcp_record *record, struct tcp_state *state)
{
	bool any = state->pending || state->syn_timeouts || state->resets_sent ||
		   state->resets_received;

	record->flags = state->pending;
	record->connect_us = state->pending & TCP_FLAG_OPENED ? state->connect_us : 0;
	record->syn_timeouts = state->syn_timeouts;
	record->resets_sent = state->resets_sent;
	record->resets_received = state->resets_received;
	record->error = state->error;
	state->pending = 0;
	state->syn_timeouts = 0;
	state->resets_sent = 0;
	state->resets_received = 0;
	return any;
}

static __always_inline void clear_deltas(struct tcp_record *record)
{
	record->bytes_sent = 0;
	record->bytes_received = 0;
	record->segments_sent = 0;
	record->segments_received = 0;
	record->retransmits = 0;
	record->connect_us = 0;
	record->syn_timeouts = 0;
	record->resets_sent = 0;
	record->resets_received = 0;
	record->error = 0;
	record->flags = 0;
}

static __always_inline void map_ipv4(__u8 address[16], __be32 value)
{
	__u32 *words = (__u32 *)address;

	words[0] = 0;
	words[1] = 0;
	words[2] = __builtin_bswap32(0xffff);
	words[3] = value;
}

static __always_inline void fill_ends(struct tcp_record *record, const struct sock_common *common)
{
	if (common->skc_family == AF_INET) {
		map_ipv4(record->local_address, common->skc_rcv_saddr);
		map_ipv4(record->remote_address, common->skc_daddr);
	} else {
		__u32 *local = (__u32 *)record->local_address;
		__u32 *remote = (__u32 *)record->remote_address;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			local[i] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			remote[i] = common->skc_v6_daddr.in6_u.u6_addr32[i];
		}
	}
	record->remote_port = __builtin_bswap16(common->skc_dport);
}

static __always_inline void fill_owner_columns(struct tcp_record *record, const struct owner *owner)
{
	record->cgroup_id = owner->cgroup_id;
	record->owner_start_ns = owner->start_ns;
	record->netns = owner->netns;
	record->pid = owner->pid;
	__builtin_memcpy(record->comm, owner->comm, sizeof(record->comm));
}

/* All but deltas and flags. */
static __always_inline void fill_identity(struct tcp_record *record, const struct tcp_sock *tp,
					  const struct tcp_state *state, __u64 now_ns)
{
	__u32 min_rtt = tp->rtt_min.s[0].v;

	record->time_ns = now_ns;
	record->cookie = state->cookie;
	fill_owner_columns(record, &state->owner);
	fill_ends(record, &tcp_to_sock(tp)->__sk_common);
	/* skc_num is 0 once the socket is closed. */
	record->local_port = __builtin_bswap16(tp->inet_conn.icsk_inet.inet_sport);
	record->srtt_us = tp->srtt_us >> 3;
	record->min_rtt_us = min_rtt == ~0U ? 0 : min_rtt;
	record->role = state->role;
	record->state = tcp_to_sock(tp)->__sk_common.skc_state;
	record->pad[0] = 0;
}

static __always_inline __u64 socket_id(struct tcp_sock *tp)
{
	__u64 cookie = tcp_to_sock(tp)->__sk_common.skc_cookie.counter;

	if (cookie)
		return cookie;
	if (has_socket_cookie)
		return bpf_get_socket_cookie((void *)tp);
	/* As unique as needed: time and CPU of its first event. */
	return (bpf_ktime_get_ns() << 8) | (bpf_get_smp_processor_id() & 0xff);
}

#endif
