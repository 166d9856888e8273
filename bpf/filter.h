/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_FILTER_H
#define EBPF_NET_FILTER_H

#include "owner.h"
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

enum {
	FILTER_LEVELS = 16
};

/*
 * cgroup id -> 1 to collect, 0 to leave out; stands for everything below until a cgroup
 * below has its own. The collector writes and deletes. Full: the collector says so.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
	__uint(max_entries, 65536);
} cgroup_verdicts SEC(".maps");

/* Verdict where no cgroup on the way to the root has one. */
const volatile bool filter_default_include = true;
/* Set with the first verdict: without any, nothing is looked up. */
bool filter_active = false;
/* Moves after each change of cgroup_verdicts: who has kept an older answer asks again. */
__u32 filter_generation = 0;

/* The same as below, of a cgroup that has to be read by copies; NULL is the root. */
static __always_inline bool packed_cgroup_is_included(const struct cgroup *cgroup)
{
	for (int level = 0; level < FILTER_LEVELS; level++) {
		__u64 id = packed_cgroup_id(cgroup);
		__u8 *verdict = bpf_map_lookup_elem(&cgroup_verdicts, &id);

		if (verdict)
			return *verdict;
		if (!cgroup)
			break;
		cgroup = BPF_CORE_READ(cgroup, self.parent, cgroup);
	}
	return filter_default_include;
}

static __always_inline bool socket_is_included(const struct sock *sk)
{
	const struct cgroup_subsys_state *css;

	if (!filter_active)
		return filter_default_include;
	if (!socket_has_plain_cgroup(sk))
		return packed_cgroup_is_included(packed_cgroup(sk));
	css = &sk->sk_cgrp_data.cgroup->self;
	for (int level = 0; level < FILTER_LEVELS && css; level++) {
		__u64 id = css->cgroup->kn->id;
		__u8 *verdict = bpf_map_lookup_elem(&cgroup_verdicts, &id);

		if (verdict)
			return *verdict;
		css = css->parent;
	}
	return filter_default_include;
}

#endif
