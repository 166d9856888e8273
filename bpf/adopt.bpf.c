/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Sockets that are open already when the collector starts, found through the files of every
 * task, so that each has its owner. Run after the other programs are attached.
 */
#include "tcp_socket.h"
#include "udp_socket.h"
#include <bpf/bpf_tracing.h>

/* Which protocols are collected. */
const volatile bool filter_tcp = true;
const volatile bool filter_udp = true;

/* Off where the close of a socket that was open before would not be seen (sockops). */
const volatile bool filter_adopted = true;

/* Sockets that were busy each time we looked; the loader runs another pass for them. */
__u64 adopt_postponed = 0;
/* The last pass takes them as they are. */
bool adopt_busy = false;

/*
 * What the socket has done so far is the baseline. Nobody holds its lock while we read, and
 * after the value is there every change of state sees it, so none is missed.
 */
static __always_inline bool read_baseline(struct tcp_counters *now, struct tcp_sock *tp)
{
	for (int attempt = 0; attempt < 4; attempt++) {
		struct tcp_counters again;

		read_counters(now, tp, 0, adopt_busy);
		if (adopt_busy)
			return true;
		if (!socket_is_quiet(tp))
			continue;
		read_counters(&again, tp, 0, false);
		if (socket_is_quiet(tp) && now->next == again.next &&
		    now->received == again.received && now->acknowledged == again.acknowledged)
			return true;
	}
	return false;
}

static __always_inline int report_adopted(struct tcp_sock *tp, struct tcp_state *state)
{
	struct tcp_record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return 1;
	clear_deltas(record);
	fill_identity(record, tp, state, bpf_ktime_get_ns());
	record->flags = TCP_FLAG_ADOPTED;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Returns 1 if the ring has no room: the loader drains it and starts another pass. */
static __always_inline int adopt_tcp(struct sock *sk, const struct task_struct *task)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct tcp_counters now = {};
	struct tcp_state *state;
	struct owner owner = {};
	__u64 *begun = life_count(LIFE_BEGUN);
	__u64 cookie;
	bool listener;

	if (!tp || !begun || !in_state(sk, (1 << TCP_LISTEN) | (filter_adopted ? OPEN_STATES : 0)))
		return 0;
	state = bpf_sk_storage_get(&tcp_sockets, tp, NULL, 0);
	if (state && (state->open || state->ended || state->role)) {
		/* Accepted since the programs were attached, before its listener was adopted. */
		if (!state->owner.pid)
			fill_process(&state->owner, task);
		return 0;
	}
	if (!socket_is_included(sk))
		return 0;
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= max_scan_bytes)
		return 1;
	state = bpf_sk_storage_get(&tcp_sockets, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) {
		count_loss(LOSS_STORAGE_FULL, 1);
		return 0;
	}
	cookie = socket_id(tp);
	fill_owner(&owner, sk, task);
	listener = in_state(sk, 1 << TCP_LISTEN);
	if (!listener && !read_baseline(&now, tp)) {
		__sync_fetch_and_add(&adopt_postponed, 1);
		return 0;
	}
	bpf_spin_lock(&state->lock);
	state->owner = owner;
	state->cookie = cookie;
	state->last = now;
	state->role = listener ? TCP_ROLE_LISTENER : TCP_ROLE_UNKNOWN;
	state->open = !listener && in_state(sk, OPEN_STATES);
	state->ended = !listener && !state->open;
	if (state->open)
		begin_life(state, begun);
	bpf_spin_unlock(&state->lock);
	return state->ended ? 0 : report_adopted(tp, state);
}

/* A socket whose port was chosen by the program waits for others. */
static __always_inline void adopt_udp(struct sock *sk, const struct task_struct *task)
{
	struct udp_state *state =
		bpf_sk_storage_get(&udp_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!state) {
		count_loss(LOSS_STORAGE_FULL, 1);
		return;
	}
	/* A packet that came before the filter was told has left the default's verdict. */
	state->judged = UDP_UNDECIDED;
	if (state->owner.pid)
		return;
	fill_owner(&state->owner, sk, task);
	/* Also where a packet was first: its direction says nothing of those before it. */
	state->role = BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDPORT_LOCK
			      ? TCP_ROLE_SERVER
			      : TCP_ROLE_CLIENT;
}

/*
 * A program that listens for MPTCP, as those written in Go do by default, holds a socket of
 * that kind. The TCP socket beneath it is in no file and out of a program's reach: what it
 * accepts has no owner here, and user space takes the listener's.
 */
static __always_inline int report_mptcp_listener(struct sock *sk, const struct task_struct *task)
{
	struct tcp_record *record;
	struct owner owner = {};

	if (!in_state(sk, 1 << TCP_LISTEN) || !socket_is_included(sk))
		return 0;
	fill_owner(&owner, sk, task);
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return 1;
	clear_deltas(record);
	fill_owner_columns(record, &owner);
	fill_ends(record, &sk->__sk_common);
	record->time_ns = bpf_ktime_get_ns();
	record->cookie = 0;
	record->local_port = sk->__sk_common.skc_num;
	record->srtt_us = 0;
	record->min_rtt_us = 0;
	record->role = TCP_ROLE_LISTENER;
	record->state = TCP_LISTEN;
	record->pad[0] = 0;
	record->flags = TCP_FLAG_ADOPTED;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("iter/task_file")
int adopt_files(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	/* Raw sockets have the protocol too, and nothing of what is read of TCP's. */
	if (sk->sk_protocol == IPPROTO_TCP && socket->type == SOCK_STREAM && filter_tcp)
		return adopt_tcp(sk, task);
	if (sk->sk_protocol == IPPROTO_MPTCP && filter_tcp)
		return report_mptcp_listener(sk, task);
	if (sk->sk_protocol == IPPROTO_UDP && socket->type == SOCK_DGRAM && filter_udp)
		adopt_udp(sk, task);
	return 0;
}
