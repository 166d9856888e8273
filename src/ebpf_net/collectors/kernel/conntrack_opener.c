/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one process that keeps the rights to enter network namespaces and to ask their connection
 * tracking. Its parent sends a namespace's file and gets answers, or sockets that are open there;
 * what comes out of these is read by the parent, which has no rights. It ends with its parent.
 *
 * Standard input is a socket of SOCK_SEQPACKET. Each request has one file descriptor.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum operation {
	CHECK = 1,  /* argument: generation of the rules as last told, or 0 */
	EVENTS = 2, /* argument: bytes that the socket may hold */
	DUMP = 3,   /* argument: status bits that an entry must have, or 0 */
};

enum finding {
	FOUND_NFTABLES_NAT = 1,
	FOUND_IPTABLES_NAT = 2,
	FOUND_IPVS = 4,
	RULES_UNCHANGED = 8, /* nftables has not been looked through again */
};

enum {
	ALL_EVENTS = 1u << 31
}; /* in EVENTS' argument: also what no NAT rule changed */

struct request {
	uint32_t operation;
	uint32_t argument;
	uint32_t sequence; /* comes back in the reply */
};

struct reply {
	int32_t error; /* errno */
	uint32_t found;
	uint32_t generation;
	uint32_t sequence;
};

enum {
	ATTRIBUTES = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg))
};

static char buffer[1 << 16] __attribute__((aligned(8)));

/* ---- rights ---- */

static void keep_two_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};
	uint32_t wanted = 1u << CAP_SYS_ADMIN | 1u << CAP_NET_ADMIN;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &header, data))
		_exit(1);
	data[0].permitted &= wanted;
	data[0].effective = data[0].permitted;
	data[1].permitted = data[1].effective = 0;
	data[0].inheritable = data[1].inheritable = 0;
	if (syscall(SYS_capset, &header, data))
		_exit(1);
}

/* ---- netlink ---- */

struct message {
	struct nlmsghdr header;
	struct nfgenmsg family;
	char attributes[16];
};

static void put_be32(struct message *message, uint16_t type, uint32_t value)
{
	struct nlattr attribute = {.nla_len = NLA_HDRLEN + sizeof(value), .nla_type = type};
	char *end = (char *)message + message->header.nlmsg_len;

	value = htonl(value);
	memcpy(end, &attribute, sizeof(attribute));
	memcpy(end + NLA_HDRLEN, &value, sizeof(value));
	message->header.nlmsg_len += NLA_HDRLEN + sizeof(value);
}

static struct message make_message(unsigned subsystem, unsigned type, unsigned flags)
{
	return (struct message){
		.header = {.nlmsg_len = ATTRIBUTES,
			   .nlmsg_type = subsystem << 8 | type,
			   .nlmsg_flags = NLM_F_REQUEST | flags},
		.family = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0},
	};
}

static int send_message(int netlink, const struct message *message)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	return sendto(netlink, message, message->header.nlmsg_len, 0, (struct sockaddr *)&kernel,
		      sizeof(kernel)) < 0
		       ? -1
		       : 0;
}

/* The kernel answers at once; to wait for it without an end would be to wait in vain. */
static int open_netlink(void)
{
	struct timeval patience = {.tv_sec = 5};
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (netlink >= 0)
		setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return netlink;
}

/* ---- does this namespace translate addresses? ---- */

static const struct nlattr *find_attribute(const struct nlmsghdr *header, uint16_t type)
{
	const char *at = (const char *)header + ATTRIBUTES;
	const char *end = (const char *)header + header->nlmsg_len;

	while (end - at >= NLA_HDRLEN) {
		const struct nlattr *attribute = (const void *)at;

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > end - at)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type)
			return attribute;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

static bool is_nat_chain(const struct nlmsghdr *header)
{
	const struct nlattr *type = find_attribute(header, NFTA_CHAIN_TYPE);

	return type && type->nla_len == NLA_HDRLEN + sizeof("nat") &&
	       !memcmp((const char *)type + NLA_HDRLEN, "nat", sizeof("nat"));
}

/* The generation of the rules: it changes with each transaction. 0: no nftables here. */
static uint32_t read_generation(int netlink)
{
	struct message question = make_message(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN, 0);
	const struct nlmsghdr *header = (const void *)buffer;
	const struct nlattr *number;
	uint32_t generation;
	ssize_t size;

	if (send_message(netlink, &question))
		return 0;
	size = recv(netlink, buffer, sizeof(buffer), 0);
	if (size < ATTRIBUTES || header->nlmsg_len > size ||
	    header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
		return 0;
	number = find_attribute(header, NFTA_GEN_ID);
	if (!number || number->nla_len != NLA_HDRLEN + sizeof(generation))
		return 0;
	memcpy(&generation, (const char *)number + NLA_HDRLEN, sizeof(generation));
	return ntohl(generation);
}

static bool has_nat_chain(int netlink)
{
	struct message question = make_message(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, NLM_F_DUMP);
	bool found = false;

	if (send_message(netlink, &question))
		return false;
	for (;;) {
		ssize_t left = recv(netlink, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *header = (const void *)buffer;

		if (left <= 0)
			return found;
		for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
			if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
				return found;
			found |= is_nat_chain(header);
		}
	}
}

static bool has_line(const char *path, const char *wanted)
{
	FILE *file = fopen(path, "re");
	char line[64];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = !strcmp(line, wanted);
	fclose(file);
	return found;
}

/* Three lines of headings, then the services. */
static bool has_ipvs_services(void)
{
	FILE *file = fopen("/proc/self/net/ip_vs", "re");
	char line[256];
	int lines = 0;

	if (!file)
		return false;
	while (lines < 4 && fgets(line, sizeof(line), file))
		lines++;
	fclose(file);
	return lines > 3;
}

static int check(uint32_t known_generation, struct reply *reply)
{
	int netlink;

	/* Where nothing is tracked, a question would only make the kernel load modules. */
	if (access("/proc/sys/net/netfilter/nf_conntrack_max", F_OK))
		return 0;
	netlink = open_netlink();
	if (netlink < 0)
		return -1;
	reply->generation = read_generation(netlink);
	if (reply->generation && reply->generation == known_generation)
		reply->found |= RULES_UNCHANGED;
	else if (reply->generation && has_nat_chain(netlink))
		reply->found |= FOUND_NFTABLES_NAT;
	close(netlink);
	if (has_line("/proc/self/net/ip_tables_names", "nat\n") ||
	    has_line("/proc/self/net/ip6_tables_names", "nat\n"))
		reply->found |= FOUND_IPTABLES_NAT;
	if (has_ipvs_services())
		reply->found |= FOUND_IPVS;
	return 0;
}

/* ---- sockets for the parent ---- */

/* Let pass what NAT has changed, and what does not say whether it has. */
static int filter_translated(int netlink)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_IMM, ATTRIBUTES),
		BPF_STMT(BPF_LDX | BPF_IMM, CTA_STATUS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_NLATTR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, NLA_HDRLEN),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, IPS_NAT_MASK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

	return setsockopt(netlink, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int open_events(uint32_t argument)
{
	/* An end is told by the socket, or by a dump: each event costs as much as its beginning. */
	struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
				     .nl_groups = 1u << (NFNLGRP_CONNTRACK_NEW - 1)};
	/* The kernel doubles it. */
	int size = (argument & ~ALL_EVENTS) / 2, netlink = open_netlink();

	if (netlink < 0)
		return -1;
	if (setsockopt(netlink, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    (!(argument & ALL_EVENTS) && filter_translated(netlink)) ||
	    bind(netlink, (struct sockaddr *)&groups, sizeof(groups))) {
		int error = errno;

		close(netlink);
		errno = error;
		return -1;
	}
	return netlink;
}

static int open_dump(uint32_t status)
{
	struct message question =
		make_message(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	int netlink = open_netlink();

	if (netlink < 0)
		return -1;
	if (status) {
		put_be32(&question, CTA_STATUS, status);
		put_be32(&question, CTA_STATUS_MASK, status);
	}
	if (send_message(netlink, &question)) {
		int error = errno;

		close(netlink);
		errno = error;
		return -1;
	}
	return netlink;
}

/* ---- requests ---- */

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

/* False at the end. `*file` is -1 where none came. */
static bool receive(struct request *request, int *file)
{
	union control control;
	struct iovec data = {request, sizeof(*request)};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header;

	*file = -1;
	if (recvmsg(STDIN_FILENO, &message, MSG_CMSG_CLOEXEC) != sizeof(*request))
		return false;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(file, CMSG_DATA(header), sizeof(*file));
	return true;
}

static void answer(const struct reply *reply, int file)
{
	union control control;
	struct iovec data = {(void *)reply, sizeof(*reply)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (file >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(file));
		memcpy(CMSG_DATA(&control.header), &file, sizeof(file));
	}
	if (sendmsg(STDIN_FILENO, &message, MSG_NOSIGNAL) < 0)
		_exit(0);
}

static bool is_same(int one, int other)
{
	struct stat a, b;

	return !fstat(one, &a) && !fstat(other, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Do it in the namespace that the thread is in; a socket, 0 for none, or -1. */
static int act(const struct request *request, struct reply *reply)
{
	switch (request->operation) {
	case CHECK:
		return check(request->argument, reply);
	case EVENTS:
		return open_events(request->argument);
	case DUMP:
		return open_dump(request->argument);
	}
	errno = EINVAL;
	return -1;
}

static void serve(int home, const struct request *request, int namespace)
{
	struct reply reply = {.sequence = request->sequence};
	bool at_home = is_same(home, namespace);
	bool entered = !at_home && !setns(namespace, CLONE_NEWNET);
	int result = at_home || entered ? act(request, &reply) : -1;

	if (result < 0)
		reply.error = errno;
	/* Back at once: who stays in a namespace keeps it from going away. */
	if (entered && setns(home, CLONE_NEWNET))
		_exit(1);
	close(namespace);
	answer(&reply, result > 0 ? result : -1);
	if (result > 0)
		close(result);
}

int main(void)
{
	struct request request;
	int namespace, home;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It is the parent that ends at these, in its own time, and with it this process. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	keep_two_capabilities();
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0)
		return 1;
	while (receive(&request, &namespace))
		serve(home, &request, namespace);
	return 0;
}
