/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * All programs in one translation unit: they share the ring, the filter and the storage maps,
 * and a map that is defined once needs no linker that merges definitions.
 */
#include "tcp.bpf.c"
#include "tcp_scan.bpf.c"
#include "adopt.bpf.c"
#include "tcp_refused.bpf.c"
#include "udp_drops.bpf.c"

/* Keeps these types in BTF, from which scripts/gen_records.py takes the layouts. */
struct crossing_types {
	struct tcp_record tcp_record;
	struct udp_key udp_key;
	struct udp_value udp_value;
	enum tcp_role tcp_role;
	enum tcp_flag tcp_flag;
	enum udp_drop udp_drop;
	enum loss loss;
	enum life life;
};
const struct crossing_types *unused_crossing_types = NULL;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
