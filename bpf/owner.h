/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#ifndef EBPF_NET_OWNER_H
#define EBPF_NET_OWNER_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

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

static __always_inline __u64 socket_cgroup_id(const struct sock *sk)
{
	/* Linux commit 8520e224f547 ("bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed
	 * mode") (v5.15) made the field a plain pointer; before, who acts stands for it. */
	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return sk->sk_cgrp_data.cgroup->kn->id;
	return bpf_get_current_cgroup_id();
}

static __always_inline void fill_owner(struct owner *owner, const struct sock *sk,
				       const struct task_struct *task)
{
	fill_process(owner, task);
	owner->cgroup_id = socket_cgroup_id(sk);
	owner->netns = sk->__sk_common.skc_net.net->ns.inum;
}

#endif
