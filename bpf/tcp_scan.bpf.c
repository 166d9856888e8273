/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Live TCP sockets, once a window. Records go to the ring and none through the iterator's own
 * read, which misses and repeats records while sockets come and go.
 */
#include "tcp_socket.h"
#include <bpf/bpf_tracing.h>

static __always_inline bool scan_must_stop(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= max_scan_bytes;
}

/* Nothing has happened since the last scan. Looks at as few cache lines as can be. */
static __always_inline bool is_idle(const struct tcp_state *state, const struct tcp_sock *tp)
{
	return tp->segs_out == state->last.segments_out && tp->segs_in == state->last.segments_in &&
	       tp->bytes_received == state->seen_received && tp->snd_nxt == state->seen_next &&
	       !state->pending && !state->syn_timeouts && !state->resets_sent &&
	       !state->resets_received;
}

/* An event of this socket was skipped: it is open and we do not know, or the reverse. */
static __always_inline bool missed_event(const struct sock *sk, const struct tcp_state *seen)
{
	if (seen->open)
		return in_state(sk, 1 << TCP_CLOSE);
	return seen->role != TCP_ROLE_UNKNOWN && in_state(sk, OPEN_STATES);
}

/* If nobody changes the socket meanwhile; else the next scan does it. */
static __always_inline void make_up_for(struct tcp_sock *tp, struct tcp_state *state, bool open)
{
	__u32 first = first_payload(tp, state->role == TCP_ROLE_CLIENT);

	if (!socket_is_quiet(tp) || first != first_payload(tp, state->role == TCP_ROLE_CLIENT))
		return;
	/* Again: an event that was under way may have done it. */
	if (!missed_event(tcp_to_sock(tp), state) || state->ended || state->open != open)
		return;
	if (open)
		on_closed(tp, state, TCP_CLOSE);
	else
		open_connection(tp, state, first, true);
}

/*
 * The same memory as `seen`, but with a lock that may be taken. The socket's own memory may be
 * another socket's by now, since the kernel gives it out again at once; then NULL.
 */
static __always_inline struct tcp_state *writable_state(struct sock *sk,
							const struct tcp_state *seen)
{
	struct tcp_state *state = find_state(sk);
	__u64 found = (__u64)state, wanted = (__u64)seen;

	/* Or the compiler would take the one for the other. */
	barrier_var(found);
	barrier_var(wanted);
	return found == wanted ? state : NULL;
}

/*
 * How many connections this pass has seen alive. The loader sets it to 0 before each. What began
 * before the pass and has not ended after it but was not seen has vanished: its end was missed.
 */
__u64 scan_alive = 0;

/* Returns 1 (stop, the ring is full enough) or 0. */
SEC("iter/bpf_sk_storage_map")
int tcp_scan(struct bpf_iter__bpf_sk_storage_map *context)
{
	const struct tcp_state *seen = context->value;
	struct sock *sk = context->sk;
	struct tcp_counters now;
	struct tcp_record *record;
	struct tcp_state *state;
	__u64 seen_received;
	struct tcp_sock *tp;
	bool missed, moved, open;
	__u32 seen_next;

	if (!sk || !seen)
		return 0;
	scan_alive += seen->alive;
	if (seen->ended)
		return 0;
	open = seen->open;
	missed = missed_event(sk, seen);
	if (!open && !missed)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || (!missed && is_idle(seen, tp)))
		return 0;
	state = writable_state(sk, seen);
	if (!state)
		return 0;
	if (scan_must_stop())
		return 1;
	if (missed) {
		make_up_for(tp, state, open);
		return 0;
	}
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return 1;
	fill_identity(record, tp, state, bpf_ktime_get_ns());
	seen_next = READ_ONCE(tp->snd_nxt);
	seen_received = READ_ONCE(tp->bytes_received);
	read_counters(&now, tp, 0, false);
	/* Neither the peer's FIN nor a byte held back is between the two: look again. */
	if (now.received != seen_received)
		seen_received = SEEN_NOTHING;
	bpf_spin_lock(&state->lock);
	state->seen_next = seen_next;
	state->seen_received = seen_received;
	moved = state->open;
	if (moved) {
		moved = take_deltas(record, &state->last, &now);
		moved |= take_pending(record, state);
	}
	bpf_spin_unlock(&state->lock);
	if (moved)
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Set by the loader before each recount: a pass that is cut short goes on where it was. */
__u32 recount_generation = 0;

SEC("iter/bpf_sk_storage_map")
int tcp_recount(struct bpf_iter__bpf_sk_storage_map *context)
{
	struct sock *sk = context->sk;
	struct tcp_record *record;
	struct tcp_state *state;
	struct tcp_sock *tp;

	if (!sk)
		return 0;
	state = find_state(sk);
	/* One whose OPENED is still to come is counted when it comes. */
	if (!state || !state->open || state->pending & TCP_FLAG_OPENED ||
	    state->recount == recount_generation)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	if (scan_must_stop())
		return 1;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return 1;
	clear_deltas(record);
	fill_identity(record, tp, state, bpf_ktime_get_ns());
	record->flags = TCP_FLAG_OPEN;
	state->recount = recount_generation;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}
