/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * TCP. Nothing here runs per packet: the kernel counts in the socket, we keep next to it what
 * was reported last, and send the difference when the socket closes or is scanned.
 */
#include "tcp_socket.h"
#include <bpf/bpf_tracing.h>

/* Set by the loader: tp_btf/tcp_retransmit_synack reports half-open requests. */
const volatile bool counts_requests = true;

static __always_inline struct tcp_state *find_state(const void *sk)
{
	return bpf_sk_storage_get(&tcp_sockets, (void *)sk, NULL, 0);
}

/* connect() or listen(): the task at hand owns the socket. */
static __always_inline void on_created(struct tcp_sock *tp, __u8 role)
{
	const struct sock *sk = tcp_to_sock(tp);
	__u64 *begun = life_count(LIFE_BEGUN);
	struct tcp_state *state;

	if (!begun || !socket_is_included(sk))
		return;
	state = bpf_sk_storage_get(&tcp_sockets, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) {
		count_loss(LOSS_STORAGE_FULL, 1);
		return;
	}
	/*
	 * Without our lock: no scan looks at a socket that is not open, and all else that does
	 * holds the socket's. It may have been open before: one can connect again after a
	 * disconnect, with counters that begin at 0. If it still counts as alive, its end was
	 * missed, and it is one that began and never ends.
	 */
	state->role = role;
	state->pending = 0;
	state->open = 0;
	state->ended = 0;
	state->alive = 0;
	state->syn_timeouts = 0;
	state->resets_sent = 0;
	state->resets_received = 0;
	__builtin_memset(&state->last, 0, sizeof(state->last));
	fill_current_process(&state->owner);
	fill_place(&state->owner, sk);
	if (role == TCP_ROLE_CLIENT) {
		state->connect_ns = bpf_ktime_get_ns();
		begin_life(state, begun);
	}
}

/* Its listener was there before us and has not been adopted yet: the owner comes later. */
static __always_inline struct tcp_state *create_orphan(struct tcp_sock *tp)
{
	const struct sock *sk = tcp_to_sock(tp);
	struct tcp_state *state;

	if (!socket_is_included(sk))
		return NULL;
	state = bpf_sk_storage_get(&tcp_sockets, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) {
		count_loss(LOSS_STORAGE_FULL, 1);
		return NULL;
	}
	fill_place(&state->owner, sk);
	return state;
}

/*
 * The handshake is done; payload begins at sequence number `first`. A child still has the copy of
 * its listener's state. `late`: the kernel skipped our program at that event (see
 * tcp_destroyed_tp_btf); times are not known any more.
 */
static __always_inline void open_connection(struct tcp_sock *tp, struct tcp_state *state,
					    __u32 first, bool late)
{
	bool server = state->role != TCP_ROLE_CLIENT;
	__u32 retransmits = late ? 0 : tp->total_retrans;
	__u64 *begun = life_count(LIFE_BEGUN);
	__u64 cookie = socket_id(tp);
	__u32 connect_us = 0;

	if (!begun)
		return;
	if (!server && !late && state->connect_ns)
		connect_us = (bpf_ktime_get_ns() - state->connect_ns) / 1000;
	bpf_spin_lock(&state->lock);
	if (!state->open && !state->ended) {
		state->cookie = cookie;
		state->last.segments_out = 0;
		state->last.segments_in = 0;
		/* All that was sent again so far was a SYN or a SYN-ACK. */
		state->last.retransmits = retransmits;
		state->last.acknowledged = !server;
		state->last.next = first;
		state->last.received = 0;
		state->role = server ? TCP_ROLE_SERVER : TCP_ROLE_CLIENT;
		state->pending = TCP_FLAG_OPENED;
		state->open = 1;
		begin_life(state, begun);
		state->error = 0;
		state->resets_sent = 0;
		state->resets_received = 0;
		state->connect_us = connect_us;
		state->seen_received = SEEN_NOTHING;
		state->syn_timeouts = server && counts_requests ? 0 : retransmits;
	}
	bpf_spin_unlock(&state->lock);
}

static __always_inline void on_established(struct tcp_sock *tp, int old_state)
{
	struct tcp_state *state = find_state(tp);

	if (!state && (1 << old_state) & ((1 << TCP_SYN_RECV) | (1 << TCP_SYN_SENT))) {
		state = create_orphan(tp);
		/* Its connect() began before us, or was skipped. */
		if (state && old_state == TCP_SYN_SENT)
			state->role = TCP_ROLE_CLIENT;
	}
	if (state && !state->open)
		open_connection(tp, state, first_payload(tp, state->role == TCP_ROLE_CLIENT),
				false);
}

/* Whoever comes first tells of a socket's end; false: somebody did. With the lock held. */
static __always_inline bool end_connection(struct tcp_state *state, __u64 *ended)
{
	if (state->ended)
		return false;
	state->ended = 1;
	state->open = 0;
	if (state->alive)
		__sync_fetch_and_add(ended, 1);
	state->alive = 0;
	return true;
}

static __always_inline void lose_record(struct tcp_state *state, __u64 *ended,
					const struct tcp_counters *now)
{
	struct tcp_record lost = {};
	bool mine;

	bpf_spin_lock(&state->lock);
	mine = end_connection(state, ended);
	if (mine)
		take_deltas(&lost, &state->last, now);
	bpf_spin_unlock(&state->lock);
	if (!mine)
		return;
	count_loss(LOSS_RING_FULL, 1);
	count_loss(LOSS_RING_FULL_BYTES, lost.bytes_sent + lost.bytes_received);
}

static __always_inline __u16 failure(const struct tcp_sock *tp)
{
	const struct sock *sk = tcp_to_sock(tp);

	if (sk->sk_err)
		return sk->sk_err;
	/* connect() found no free port, or that of bind() in use: there was never a SYN. */
	if (!tp->inet_conn.icsk_inet.inet_sport || !tp->write_seq)
		return EADDRNOTAVAIL;
	return sk->sk_err_soft;
}

/*
 * An open connection ended, or a connect() failed. Runs under the socket's lock, or when nobody
 * uses the socket any more; then `old_state` is TCP_CLOSE.
 */
static __always_inline void on_closed(struct tcp_sock *tp, struct tcp_state *state, int old_state)
{
	__u64 *ended = life_count(LIFE_ENDED);
	struct tcp_counters now;
	struct tcp_record *record;
	bool opened, mine;

	if (!ended || !state || state->ended)
		return;
	if (!state->open && state->role == TCP_ROLE_UNKNOWN)
		return;
	if (!state->open && (1 << old_state) & OPEN_STATES)
		open_connection(tp, state, first_payload(tp, state->role == TCP_ROLE_CLIENT), true);
	if (state->role == TCP_ROLE_LISTENER)
		return;
	opened = state->open;
	read_counters(&now, tp, old_state, true);
	if (old_state == TCP_CLOSE)
		now.next = last_payload(tp, state->role == TCP_ROLE_CLIENT);
	if (!opened) {
		/* Only SYNs were sent; bytes_acked never began. */
		state->last.next = now.next;
		state->cookie = socket_id(tp);
	}
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		lose_record(state, ended, &now);
		return;
	}
	fill_identity(record, tp, state, bpf_ktime_get_ns());
	bpf_spin_lock(&state->lock);
	mine = end_connection(state, ended);
	if (mine) {
		take_deltas(record, &state->last, &now);
		take_pending(record, state);
	}
	bpf_spin_unlock(&state->lock);
	if (!mine) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return;
	}
	record->state = old_state;
	record->error = failure(tp);
	if (opened) {
		record->flags |= TCP_FLAG_CLOSED;
	} else {
		record->flags = TCP_FLAG_FAILED;
		record->syn_timeouts = record->retransmits;
		record->retransmits = 0;
	}
	bpf_ringbuf_submit(record, wake_flags());
}

static __always_inline void on_state(const struct sock *sk, int old_state, int new_state)
{
	struct tcp_sock *tp;

	if (new_state != TCP_ESTABLISHED && new_state != TCP_CLOSE && old_state != TCP_CLOSE)
		return;
	if (sk->sk_protocol != IPPROTO_TCP)
		return;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp)
		return;
	if (new_state == TCP_SYN_SENT)
		on_created(tp, TCP_ROLE_CLIENT);
	else if (new_state == TCP_LISTEN)
		on_created(tp, TCP_ROLE_LISTENER);
	else if (new_state == TCP_ESTABLISHED)
		on_established(tp, old_state);
	else if (new_state == TCP_CLOSE)
		on_closed(tp, find_state(tp), old_state);
}

/*
 * The next best ways. raw_tp is none: its program type may not call bpf_sk_storage_get.
 * tcp_set_state is not called for LISTEN, so a server's owner is known only from adoption.
 */
SEC("fentry/tcp_set_state")
int BPF_PROG(tcp_state_fentry, struct sock *sk, int new_state)
{
	on_state(sk, sk->__sk_common.skc_state, new_state);
	return 0;
}

/* Told of a socket only from its connect, listen or accept on, when it asks to be. */
SEC("sockops")
int tcp_state_sockops(struct bpf_sock_ops *context)
{
	struct bpf_sock *sk = context->sk;
	struct tcp_sock *tp;

	if (!sk)
		return 1;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 1;
	switch (context->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_created(tp, TCP_ROLE_CLIENT);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		on_created(tp, TCP_ROLE_LISTENER);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_established(tp, TCP_SYN_SENT);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_established(tp, TCP_SYN_RECV);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (context->args[1] == TCP_CLOSE)
			on_closed(tp, find_state(tp), context->args[0]);
		return 1;
	default:
		return 1;
	}
	bpf_sock_ops_cb_flags_set(context,
				  context->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	return 1;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state_tp_btf, const struct sock *sk, int old_state, int new_state)
{
	on_state(sk, old_state, new_state);
	return 0;
}

/*
 * Since v6.1 the kernel skips a tracing program that is running on the same CPU already: an event
 * in a softirq that interrupts connect() or close() there is lost to us. What it should have done
 * is done later: an opening when the socket is scanned or closes, a close when it is scanned or
 * here, where every socket ends.
 * Linux commit 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes").
 */
static __always_inline void on_destroyed(struct sock *sk)
{
	struct tcp_state *state = find_state(sk);
	struct tcp_sock *tp;

	if (!state || state->ended)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	/* A child of which both events were skipped; its listener itself never has payload. */
	if (!state->open && state->role == TCP_ROLE_LISTENER &&
	    (tp->bytes_received || tp->bytes_acked))
		open_connection(tp, state, first_payload(tp, false), true);
	if (state->open || state->role == TCP_ROLE_CLIENT)
		on_closed(tp, state, TCP_CLOSE);
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroyed_tp_btf, struct sock *sk)
{
	on_destroyed(sk);
	return 0;
}

/* A reset that follows the close has missed the last record and gets one of its own. */
static __always_inline void report_late_reset(struct tcp_sock *tp, struct tcp_state *state)
{
	struct tcp_record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		count_loss(LOSS_RING_FULL, 1);
		return;
	}
	fill_identity(record, tp, state, bpf_ktime_get_ns());
	clear_deltas(record);
	record->resets_sent = 1;
	bpf_spin_lock(&state->lock);
	/* One that answers a segment leaves through another socket and is in no counter of ours. */
	record->segments_sent = advance32(&state->last.segments_out, tp->segs_out) ?: 1;
	record->segments_received = advance32(&state->last.segments_in, tp->segs_in);
	bpf_spin_unlock(&state->lock);
	bpf_ringbuf_submit(record, wake_flags());
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(tcp_reset_sent_tp_btf, const struct sock *sk)
{
	struct tcp_state *state = sk ? find_state(sk) : NULL;
	struct tcp_sock *tp;

	if (!state || state->role == TCP_ROLE_LISTENER)
		return 0;
	if (state->ended) {
		tp = bpf_skc_to_tcp_sock((void *)sk);
		if (tp)
			report_late_reset(tp, state);
		return 0;
	}
	bpf_spin_lock(&state->lock);
	state->resets_sent++;
	/* Before the connection is open it can only be such an answer. */
	if (!state->open)
		state->last.segments_out--;
	bpf_spin_unlock(&state->lock);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(tcp_reset_received_tp_btf, const struct sock *sk)
{
	struct tcp_state *state = find_state(sk);

	if (!state || state->role == TCP_ROLE_LISTENER)
		return 0;
	bpf_spin_lock(&state->lock);
	state->resets_received++;
	bpf_spin_unlock(&state->lock);
	return 0;
}

/* A SYN-ACK was sent again, for a request that has no socket yet. */
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(tcp_synack_tp_btf, const struct sock *sk, const struct request_sock *request)
{
	struct tcp_state *state = find_state(sk);
	struct tcp_record *record;

	if (!state || state->role != TCP_ROLE_LISTENER)
		return 0;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		count_loss(LOSS_RING_FULL, 1);
		return 0;
	}
	clear_deltas(record);
	fill_owner_columns(record, &state->owner);
	fill_ends(record, &request->__req_common);
	record->time_ns = bpf_ktime_get_ns();
	record->cookie = 0;
	record->local_port = request->__req_common.skc_num;
	record->srtt_us = 0;
	record->min_rtt_us = 0;
	record->role = TCP_ROLE_SERVER;
	record->state = TCP_NEW_SYN_RECV;
	record->pad[0] = 0;
	record->flags = TCP_FLAG_REQUEST;
	record->syn_timeouts = 1;
	bpf_ringbuf_submit(record, wake_flags());
	return 0;
}
