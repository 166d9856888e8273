/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Resets for segments that no socket waits for, most of them connects to a closed port. */
#include "packet.h"
#include "tcp_socket.h"
#include <bpf/bpf_tracing.h>

static __always_inline void report_refused(const struct sk_buff *skb)
{
	struct packet_ends ends;
	struct tcp_record *record;

	/* No socket, no cgroup. */
	if (!filter_default_include || !read_packet(&ends, skb))
		return;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		count_loss(LOSS_RING_FULL, 1);
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	__builtin_memcpy(record->local_address, ends.local_address, 16);
	__builtin_memcpy(record->remote_address, ends.remote_address, 16);
	record->local_port = ends.local_port;
	record->remote_port = ends.remote_port;
	record->netns = ends.netns;
	record->time_ns = bpf_ktime_get_ns();
	record->segments_sent = 1;
	record->segments_received = 1;
	record->resets_sent = 1;
	record->role = likely_role(&ends);
	record->state = TCP_CLOSE;
	bpf_ringbuf_submit(record, wake_flags());
}

/* Kernels that give no reason do not call it without a socket. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(tcp_refused_tp_btf, const struct sock *sk, const struct sk_buff *skb, int reason)
{
	if (!sk && skb &&
	    reason == bpf_core_enum_value(enum sk_rst_reason, SK_RST_REASON_NO_SOCKET))
		report_refused(skb);
	return 0;
}
