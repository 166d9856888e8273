/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_OWNER_H
#define EBPF_NET_OWNER_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

enum {
	ROOT_CGROUP_ID = 1
};

/* The process (thread group leader) that made a socket useful, and the socket's cgroup. */
struct owner {
	__u64 start_ns; /* CLOCK_BOOTTIME */
	__u64 cgroup_id;
	char comm[16];
	__u32 pid;
	__u32 netns;
};

static __always_inline void fill_process(struct owner *owner, const struct task_struct *task)
{
	const struct task_struct *leader = task->group_leader;

	owner->start_ns = leader->start_boottime;
	owner->pid = leader->tgid;
	/* As two words: CO-RE hides the alignment, and bytes would be copied one by one. */
	((__u64 *)owner->comm)[0] = *(const __u64 *)&leader->comm[0];
	((__u64 *)owner->comm)[1] = *(const __u64 *)&leader->comm[8];
}

/* Before v5.11 the task at hand has no type, and is read by copies. */
static __always_inline bool current_task_has_type(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf);
}

/* The task at hand. */
static __always_inline void fill_current_process(struct owner *owner)
{
	const struct task_struct *leader;

	if (current_task_has_type()) {
		fill_process(owner, bpf_get_current_task_btf());
		return;
	}
	leader = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), group_leader);
	owner->start_ns = BPF_CORE_READ(leader, start_boottime);
	owner->pid = BPF_CORE_READ(leader, tgid);
	BPF_CORE_READ_INTO(&owner->comm, leader, comm);
}

static __always_inline __u32 current_netns(void)
{
	if (current_task_has_type())
		return bpf_get_current_task_btf()->nsproxy->net_ns->ns.inum;
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), nsproxy, net_ns,
			     ns.inum);
}

/*
 * Linux commit 8520e224f547 ("bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode")
 * (v5.15) made the field a plain pointer.
 */
static __always_inline bool socket_has_plain_cgroup(const struct sock *sk)
{
	return bpf_core_field_exists(sk->sk_cgrp_data.cgroup);
}

/* Where it is none. NULL: the root of cgroup v2. To be read by copies. */
static __always_inline const struct cgroup *packed_cgroup(const struct sock *sk)
{
	const struct sock_cgroup_data___packed *data = (const void *)&sk->sk_cgrp_data;
	__u64 value = BPF_CORE_READ(data, val);

	return value & 3 ? NULL : (const struct cgroup *)value;
}

static __always_inline __u64 packed_cgroup_id(const struct cgroup *cgroup)
{
	return cgroup ? BPF_CORE_READ(cgroup, kn, id) : ROOT_CGROUP_ID;
}

static __always_inline __u64 socket_cgroup_id(const struct sock *sk)
{
	if (socket_has_plain_cgroup(sk))
		return sk->sk_cgrp_data.cgroup->kn->id;
	return packed_cgroup_id(packed_cgroup(sk));
}

/* What the socket itself tells. */
static __always_inline void fill_place(struct owner *owner, const struct sock *sk)
{
	owner->cgroup_id = socket_cgroup_id(sk);
	owner->netns = sk->__sk_common.skc_net.net->ns.inum;
}

static __always_inline void fill_owner(struct owner *owner, const struct sock *sk,
				       const struct task_struct *task)
{
	fill_process(owner, task);
	fill_place(owner, sk);
}

#endif
