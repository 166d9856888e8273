/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of conntrack.py: translated connections as connection tracking tells them, found by
 * what a socket at either end sees. Included by the module that cffi makes.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/* From client to server; ports in host byte order, IPv4 as ::ffff:a.b.c.d. */
struct tuple {
	uint8_t source[16];
	uint8_t dest[16];
	uint16_t source_port;
	uint16_t dest_port;
	uint32_t protocol;
};
_Static_assert(sizeof(struct tuple) == 40, "compared and hashed as bytes");

enum {
	NOTHING = UINT32_MAX
};

/* A translated connection in one namespace: a packet of its client before and after. */
struct entry {
	struct tuple before;
	struct tuple after;
	uint64_t began_ns;   /* not before; 0: was there when we came */
	uint64_t ended_ns;   /* not after; 0: is there */
	uint64_t cookies[2]; /* of the sockets that were found here last: client's, server's */
	uint64_t heard_ns;   /* when its last connection was; 0: was there when we came */
	uint64_t born;	     /* counts up in the order of events */
	uint32_t uses;	     /* connections: a port that is used again may find it */
	uint32_t claims[2];  /* sockets that were found, at each end */
	uint32_t netns;
	uint32_t next[2]; /* in the chains by `before` and by `after` */
	uint32_t dump;	  /* in which it was seen last */
	bool taken;
	bool is_private; /* nobody in its namespace is wanted: told only if asked for */
	bool told;
	bool from_dump; /* its event may be yet to come */
	bool unsure;	/* its socket may have come: that one's first packets were sent again */
	bool recent; /* since the hand of the clock came by */
};

enum side {
	BEFORE = 0,
	AFTER = 1
};

struct ebn_conntrack {
	struct entry *entries;
	uint32_t *chains[2]; /* heads, by hash */
	uint32_t capacity;   /* a power of two; of entries and of chains */
	uint32_t limit;
	uint32_t used; /* entries from here on were never taken */
	uint32_t free; /* a list by next[BEFORE] */
	uint32_t hand;
	uint32_t dump;
	uint64_t seed;
	uint64_t count;
	uint64_t evicted; /* live ones, since the start */
	uint64_t events;
	uint64_t born;
};

struct ebn_translation {
	int64_t id; /* a hash of what follows, but for client_port */
	uint8_t client[16];
	uint8_t service[16];
	uint8_t outer[16];
	uint8_t server[16];
	uint16_t service_port;
	uint16_t server_port;
	uint16_t client_port;
	uint16_t protocol;
};
_Static_assert(sizeof(struct ebn_translation) == 80, "as TRANSLATION in conntrack.py");

/* ---- hashes ---- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
	__uint128_t product = (__uint128_t)(hash ^ word) * 0x9E3779B97F4A7C15ull;

	return (uint64_t)product ^ (uint64_t)(product >> 64) ^ word;
}

static uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t size)
{
	const char *at = bytes;
	uint64_t hash = seed, word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		memcpy(&word, at + i, sizeof(word));
		hash = mix(hash, word);
	}
	return mix(hash, size);
}

static bool is_equal(const struct tuple *one, const struct tuple *other)
{
	return !memcmp(one, other, sizeof(*one));
}

static const struct tuple *tuple_of(const struct entry *entry, enum side side)
{
	return side == BEFORE ? &entry->before : &entry->after;
}

static uint32_t *chain_of(struct ebn_conntrack *table, enum side side, const struct tuple *tuple)
{
	return &table->chains[side][hash_bytes(table->seed, tuple, sizeof(*tuple)) &
				    (table->capacity - 1)];
}

/* ---- the table ---- */

static void link_entry(struct ebn_conntrack *table, uint32_t number)
{
	struct entry *entry = &table->entries[number];

	for (enum side side = BEFORE; side <= AFTER; side++) {
		uint32_t *head = chain_of(table, side, tuple_of(entry, side));

		entry->next[side] = *head;
		*head = number;
	}
}

static bool resize(struct ebn_conntrack *table, uint32_t capacity)
{
	struct entry *entries = realloc(table->entries, capacity * sizeof(*entries));

	if (!entries)
		return false;
	table->entries = entries;
	for (enum side side = BEFORE; side <= AFTER; side++) {
		uint32_t *chains = realloc(table->chains[side], capacity * sizeof(*chains));

		if (!chains)
			return false;
		memset(chains, 0xff, capacity * sizeof(*chains));
		table->chains[side] = chains;
	}
	table->capacity = capacity;
	/* Only a table without free entries grows. */
	for (uint32_t number = 0; number < table->used; number++)
		link_entry(table, number);
	return true;
}

static void remove_entry(struct ebn_conntrack *table, uint32_t number)
{
	struct entry *entry = &table->entries[number];

	for (enum side side = BEFORE; side <= AFTER; side++) {
		uint32_t *at = chain_of(table, side, tuple_of(entry, side));

		while (*at != number)
			at = &table->entries[*at].next[side];
		*at = entry->next[side];
	}
	entry->taken = false;
	entry->next[BEFORE] = table->free;
	table->free = number;
	table->count--;
}

/* How much would be missed of an entry; the least is 0. */
static int worth_of(const struct entry *entry)
{
	if (entry->ended_ns)
		return 0;
	if (entry->is_private && !entry->cookies[0] && !entry->cookies[1])
		return entry->recent ? 2 : 1; /* nobody is known to want it */
	return entry->recent ? 4 : 3;
}

/* Make room: of the next entries the one that is worth least goes. */
static void evict(struct ebn_conntrack *table)
{
	uint32_t victim = table->hand;
	int least = INT_MAX;

	for (uint32_t looked = 0; looked < 64 && least; looked++) {
		struct entry *entry = &table->entries[table->hand];
		int worth = worth_of(entry);

		if (worth < least) {
			victim = table->hand;
			least = worth;
		}
		entry->recent = false;
		table->hand = (table->hand + 1) % table->limit;
	}
	table->evicted += !table->entries[victim].ended_ns;
	remove_entry(table, victim);
}

/* The number of a free entry, or NOTHING without memory. */
static uint32_t take_entry(struct ebn_conntrack *table)
{
	uint32_t number;

	if (table->free == NOTHING && table->used == table->limit)
		evict(table);
	if (table->free == NOTHING && table->used == table->capacity &&
	    !resize(table, table->capacity * 2))
		return NOTHING;
	number = table->free;
	if (number == NOTHING)
		number = table->used++;
	else
		table->free = table->entries[number].next[BEFORE];
	table->count++;
	return number;
}

struct ebn_listening {
	uint64_t since_ns; /* when we listened before, 0: never; CLOCK_MONOTONIC */
	uint64_t now_ns;
	uint32_t netns;
	bool is_private;
};

struct heard {
	struct tuple before;
	struct tuple after;
	struct ebn_listening listening;
	bool in_dump;
};

/* The version of a connection that is there, or that has closed not long ago. */
static struct entry *find_present(struct ebn_conntrack *table, const struct heard *heard)
{
	uint32_t number = *chain_of(table, BEFORE, &heard->before);

	while (number != NOTHING) {
		struct entry *entry = &table->entries[number];

		if (entry->netns == heard->listening.netns &&
		    (!entry->ended_ns || entry->ended_ns > heard->listening.now_ns) &&
		    is_equal(&entry->before, &heard->before))
			return entry;
		number = entry->next[BEFORE];
	}
	return NULL;
}

static void use_again(struct entry *entry, uint64_t now_ns)
{
	entry->uses += !entry->from_dump;
	entry->from_dump = false;
	entry->heard_ns = now_ns;
	entry->ended_ns = 0;
}

static void add(struct ebn_conntrack *table, const struct heard *heard)
{
	struct entry *entry = find_present(table, heard);
	uint32_t number;

	if (entry) {
		if (is_equal(&entry->after, &heard->after)) {
			entry->dump = table->dump;
			entry->is_private = heard->listening.is_private;
			/* A dump only shows what waits to be forgotten. */
			if (!heard->in_dump)
				use_again(entry, heard->listening.now_ns);
			return;
		}
		entry->ended_ns = heard->listening.now_ns;
	}
	number = take_entry(table);
	if (number == NOTHING)
		return;
	entry = &table->entries[number];
	*entry = (struct entry){.before = heard->before,
				.after = heard->after,
				.began_ns = heard->listening.since_ns,
				.heard_ns = heard->listening.since_ns || !heard->in_dump
						    ? heard->listening.now_ns
						    : 0,
				.born = ++table->born,
				.uses = 1,
				.from_dump = heard->in_dump,
				.netns = heard->listening.netns,
				.dump = table->dump,
				.is_private = heard->listening.is_private,
				.taken = true,
				.recent = true};
	link_entry(table, number);
}

/* ---- what netlink says ---- */

struct span {
	const char *at;
	const char *end;
};

static bool next_attribute(struct span *rest, uint16_t *type, struct span *value)
{
	struct nlattr header;
	size_t whole;

	if (rest->end - rest->at < NLA_HDRLEN)
		return false;
	memcpy(&header, rest->at, sizeof(header));
	if (header.nla_len < NLA_HDRLEN || header.nla_len > rest->end - rest->at)
		return false;
	*type = header.nla_type & NLA_TYPE_MASK;
	*value = (struct span){rest->at + NLA_HDRLEN, rest->at + header.nla_len};
	whole = NLA_ALIGN(header.nla_len);
	rest->at = (ptrdiff_t)whole < rest->end - rest->at ? rest->at + whole : rest->end;
	return true;
}

static bool read_address(struct span value, uint8_t address[16])
{
	size_t size = value.end - value.at;

	if (size == 16) {
		memcpy(address, value.at, 16);
	} else if (size == 4) {
		memset(address, 0, 10);
		memset(address + 10, 0xff, 2);
		memcpy(address + 12, value.at, 4);
	} else {
		return false;
	}
	return true;
}

static bool read_addresses(struct span rest, struct tuple *tuple)
{
	struct span value;
	uint16_t type;
	int found = 0;

	while (next_attribute(&rest, &type, &value)) {
		if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC)
			found |= read_address(value, tuple->source) ? 1 : 0;
		if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST)
			found |= read_address(value, tuple->dest) ? 2 : 0;
	}
	return found == 3;
}

static bool read_port(struct span value, uint16_t *port)
{
	if (value.end - value.at != sizeof(*port))
		return false;
	memcpy(port, value.at, sizeof(*port));
	*port = ntohs(*port);
	return true;
}

static bool read_ports(struct span rest, struct tuple *tuple)
{
	struct span value;
	uint16_t type;
	int found = 0;

	while (next_attribute(&rest, &type, &value)) {
		if (type == CTA_PROTO_NUM && value.end - value.at == 1)
			tuple->protocol = (uint8_t)*value.at;
		if (type == CTA_PROTO_SRC_PORT)
			found |= read_port(value, &tuple->source_port) ? 1 : 0;
		if (type == CTA_PROTO_DST_PORT)
			found |= read_port(value, &tuple->dest_port) ? 2 : 0;
	}
	return found == 3 && (tuple->protocol == IPPROTO_TCP || tuple->protocol == IPPROTO_UDP);
}

static bool read_tuple(struct span rest, struct tuple *tuple)
{
	struct span value;
	uint16_t type;
	bool addresses = false, ports = false;

	memset(tuple, 0, sizeof(*tuple));
	while (next_attribute(&rest, &type, &value)) {
		if (type == CTA_TUPLE_IP)
			addresses = read_addresses(value, tuple);
		if (type == CTA_TUPLE_PROTO)
			ports = read_ports(value, tuple);
	}
	return addresses && ports;
}

static struct tuple reverse(const struct tuple *tuple)
{
	struct tuple reversed = *tuple;

	memcpy(reversed.source, tuple->dest, 16);
	memcpy(reversed.dest, tuple->source, 16);
	reversed.source_port = tuple->dest_port;
	reversed.dest_port = tuple->source_port;
	return reversed;
}

/* A message without its header. IPVS sets no status bit, so the tuples are compared. */
static void take_connection(struct ebn_conntrack *table, struct span rest, struct heard *heard)
{
	struct tuple reply;
	struct span value;
	uint16_t type;
	int found = 0;

	if (rest.end - rest.at < (ptrdiff_t)NLMSG_ALIGN(sizeof(struct nfgenmsg)))
		return;
	rest.at += NLMSG_ALIGN(sizeof(struct nfgenmsg));
	while (found != 3 && next_attribute(&rest, &type, &value)) {
		if (type == CTA_TUPLE_ORIG)
			found |= read_tuple(value, &heard->before) ? 1 : 0;
		if (type == CTA_TUPLE_REPLY)
			found |= read_tuple(value, &reply) ? 2 : 0;
	}
	if (found != 3)
		return;
	heard->after = reverse(&reply);
	if (is_equal(&heard->before, &heard->after))
		return;
	table->events++;
	add(table, heard);
}

enum {
	MORE = 0,
	DONE = 1
};

/* All messages of a datagram: DONE after the last of a dump, or a negative errno. */
static int take_datagram(struct ebn_conntrack *table, struct span rest, struct heard *heard)
{
	struct nlmsghdr header;

	while (rest.end - rest.at >= (ptrdiff_t)sizeof(header)) {
		struct span body;
		int32_t error = 0;

		memcpy(&header, rest.at, sizeof(header));
		body = (struct span){rest.at + NLMSG_HDRLEN, rest.end};
		if (header.nlmsg_len < NLMSG_HDRLEN)
			break;
		if (header.nlmsg_len < rest.end - rest.at)
			body.end = rest.at + header.nlmsg_len;
		if (header.nlmsg_type == NLMSG_DONE)
			return DONE;
		if (header.nlmsg_type == NLMSG_ERROR) {
			if (body.end - body.at >= (ptrdiff_t)sizeof(error))
				memcpy(&error, body.at, sizeof(error));
			return error < 0 ? error : DONE;
		}
		heard->in_dump = header.nlmsg_flags & NLM_F_MULTI;
		if (header.nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW))
			take_connection(table, body, heard);
		if (NLMSG_ALIGN(header.nlmsg_len) >= rest.end - rest.at)
			break;
		rest.at += NLMSG_ALIGN(header.nlmsg_len);
	}
	return MORE;
}

/* Bytes as they came from a namespace; for tests, too. */
static int ebn_conntrack_take(struct ebn_conntrack *table, const char *bytes, size_t size,
			      const struct ebn_listening *listening)
{
	struct heard heard = {.listening = *listening};

	return take_datagram(table, (struct span){bytes, bytes + size}, &heard);
}

/* What was read has happened by now: while we read, more may come. */
static struct ebn_listening until_now(const struct ebn_listening *listening)
{
	struct ebn_listening until = *listening;
	struct timespec now;
	uint64_t now_ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	if (until.now_ns < now_ns)
		until.now_ns = now_ns;
	return until;
}

enum {
	AT_ONCE = 32,
	EVENT_BYTES = 2048
};

/* Read the events that wait. How often some were lost, or a negative errno. */
static int ebn_conntrack_drain(struct ebn_conntrack *table, int netlink,
			       const struct ebn_listening *listening)
{
	static _Thread_local char buffers[AT_ONCE][EVENT_BYTES];
	struct iovec data[AT_ONCE];
	struct mmsghdr messages[AT_ONCE];
	int overruns = 0;

	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < AT_ONCE; i++) {
		data[i] = (struct iovec){buffers[i], EVENT_BYTES};
		messages[i].msg_hdr.msg_iov = &data[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		int count = recvmmsg(netlink, messages, AT_ONCE, MSG_DONTWAIT, NULL);
		struct ebn_listening until = until_now(listening);

		for (int i = 0; i < count; i++)
			ebn_conntrack_take(table, buffers[i], messages[i].msg_len, &until);
		if (count > 0 || (count < 0 && errno == EINTR))
			continue;
		if (count < 0 && errno == ENOBUFS) {
			overruns++;
			continue;
		}
		return count == 0 || errno == EAGAIN ? overruns : -errno;
	}
}

/* Read a dump that was asked for; 0, or a negative errno. */
static int ebn_conntrack_read_dump(struct ebn_conntrack *table, int netlink,
				   const struct ebn_listening *listening)
{
	size_t size = 1 << 16;
	char *bytes = malloc(size);
	int result = bytes ? MORE : -ENOMEM;

	while (result == MORE) {
		ssize_t count = recv(netlink, bytes, size, 0);
		struct ebn_listening until = until_now(listening);

		if (count > 0)
			result = ebn_conntrack_take(table, bytes, count, &until);
		else if (count == 0 || errno != EINTR)
			result = count == 0 ? -EIO : -errno;
	}
	free(bytes);
	return result < 0 ? result : 0;
}

static void ebn_conntrack_begin_dump(struct ebn_conntrack *table)
{
	table->dump++;
}

/* What the dump did not show is over, but for what began after it did. */
static void ebn_conntrack_end_dump(struct ebn_conntrack *table, uint32_t netns, uint64_t now_ns)
{
	for (uint32_t number = 0; number < table->used; number++) {
		struct entry *entry = &table->entries[number];

		if (entry->taken && entry->netns == netns && entry->dump != table->dump &&
		    (!entry->ended_ns || entry->ended_ns > now_ns))
			entry->ended_ns = now_ns;
	}
}

/* Forget what ended before that time; how many of a namespace are live. */
static void ebn_conntrack_sweep(struct ebn_conntrack *table, uint64_t before_ns)
{
	for (uint32_t number = 0; number < table->used; number++) {
		const struct entry *entry = &table->entries[number];

		if (entry->taken && entry->ended_ns && entry->ended_ns < before_ns)
			remove_entry(table, number);
	}
}

static uint64_t ebn_conntrack_count_live(const struct ebn_conntrack *table, uint32_t netns)
{
	uint64_t live = 0;

	for (uint32_t number = 0; number < table->used; number++) {
		const struct entry *entry = &table->entries[number];

		live += entry->taken && entry->netns == netns && !entry->ended_ns;
	}
	return live;
}

/* ---- who it is that a socket speaks with ---- */

enum {
	CLIENT = 1,
	SERVER = 2,
	MAX_STEPS = 4
};

/*
 * Connection tracking knows a closed connection for as long as its packets may still come, and the
 * other end may be here and not have closed.
 */
static const uint64_t LINGER_NS = 60000000000ull;

static const uint64_t NOT_FIRST = UINT64_MAX;

struct question {
	uint32_t netns;	  /* of the socket */
	uint32_t host;	  /* of the first process */
	uint64_t from_ns; /* the time that is asked about */
	uint64_t until_ns;
	uint64_t fresh_ns; /* its connection began later; NOT_FIRST: it was asked about before */
	uint64_t cookie;   /* 0: asked about once */
	int end;	   /* CLIENT or SERVER */
	bool is_closing;
	bool is_retried; /* it sent its first packet again, and that may have begun an entry */
};

static bool is_known(const struct entry *entry, const struct question *question)
{
	return question->cookie && entry->cookies[question->end - 1] == question->cookie;
}

static bool is_valid(const struct entry *entry, const struct question *question)
{
	if (is_known(entry, question))
		return true; /* as we said before, whatever became of it */
	return entry->began_ns <= question->until_ns &&
	       (!entry->ended_ns || question->from_ns <= entry->ended_ns);
}

enum {
	WORST_RANK = 3
};

/* Lower is better: the socket's own namespace, the host's, those that are wanted, the others. */
static int rank_of(const struct entry *entry, uint32_t own, uint32_t host)
{
	if (entry->netns == own || entry->netns == host)
		return entry->netns == own ? 0 : 1;
	return entry->is_private ? WORST_RANK : 2;
}

static bool is_waiting(const struct entry *entry, const struct question *question)
{
	return entry->heard_ns >= question->fresh_ns &&
	       entry->claims[question->end - 1] < entry->uses;
}

/*
 * A port may be used several times between two looks. Events and sockets come in the order of
 * their connections: of entries whose sockets have yet to come, the first one is meant.
 */
static bool is_better(const struct entry *entry, const struct entry *best,
		      const struct question *question)
{
	bool known = is_known(entry, question), waiting = is_waiting(entry, question);

	if (!question->is_retried && known != is_known(best, question))
		return known;
	if (waiting != is_waiting(best, question))
		return waiting;
	if (waiting)
		return entry->born < best->born;
	if (!entry->ended_ns != !best->ended_ns)
		return !entry->ended_ns;
	return entry->began_ns > best->began_ns;
}

/*
 * Of the entries that wait for sockets at this end, those of one that tried again are the first
 * ones, and the last of them is its. Where it is still there that is the last of all; else nobody
 * knows where the next socket's begin.
 */
static struct entry *find_last_try(struct ebn_conntrack *table, enum side side, struct entry *first,
				   const struct question *question, bool *ambiguous)
{
	bool is_there = question->is_retried && !question->is_closing;
	struct entry *last = first;

	for (uint32_t number = *chain_of(table, side, tuple_of(first, side)); number != NOTHING;
	     number = table->entries[number].next[side]) {
		struct entry *entry = &table->entries[number];

		if (entry->netns != first->netns || !is_valid(entry, question) ||
		    !is_equal(tuple_of(entry, side), tuple_of(first, side)) ||
		    !is_waiting(entry, question))
			continue;
		if (entry->born > last->born)
			last = entry;
		if (is_there)
			entry->claims[question->end - 1] = entry->uses;
		entry->unsure = !is_there;
		*ambiguous |= !is_there &&
			      !is_equal(tuple_of(entry, !side), tuple_of(first, !side));
	}
	return *ambiguous ? NULL : last;
}

/*
 * The entry with this tuple on that side, of the best rank. `own` is 0 where there is none to
 * prefer. `not_in` has been left. NULL and `*ambiguous` where two namespaces of one rank say
 * different things.
 */
static struct entry *find(struct ebn_conntrack *table, enum side side, const struct tuple *tuple,
			  const struct question *question, uint32_t own, uint32_t not_in,
			  bool *ambiguous)
{
	struct entry *best = NULL;
	bool disagree = false;
	int best_rank = WORST_RANK + 1;

	for (uint32_t number = *chain_of(table, side, tuple); number != NOTHING;
	     number = table->entries[number].next[side]) {
		struct entry *entry = &table->entries[number];
		int rank = rank_of(entry, own, question->host);

		if (entry->netns == not_in || rank > best_rank ||
		    !is_equal(tuple_of(entry, side), tuple) || !is_valid(entry, question))
			continue;
		if (rank < best_rank) {
			disagree = false;
		} else if (entry->netns != best->netns) {
			disagree |= !is_equal(tuple_of(entry, !side), tuple_of(best, !side));
			continue;
		} else if (!is_better(entry, best, question)) {
			continue;
		}
		best = entry;
		best_rank = rank;
	}
	if (disagree) {
		*ambiguous = true;
		return NULL;
	}
	if (best && is_waiting(best, question) && (question->is_retried || best->unsure))
		return find_last_try(table, side, best, question, ambiguous);
	return best;
}

static void claim(struct entry *entry, const struct question *question)
{
	int end = question->end - 1;

	entry->recent = true;
	if (question->cookie && question->fresh_ns != NOT_FIRST && !is_known(entry, question)) {
		entry->cookies[end] = question->cookie;
		entry->claims[end]++;
	}
	if (!question->is_closing || entry->ended_ns)
		return;
	/* Another connection of the same ends may have begun since. */
	if (!question->cookie || entry->claims[end] >= entry->uses)
		entry->ended_ns = question->until_ns + LINGER_NS;
}

/* Follow a packet through namespaces: forth from BEFORE, back from AFTER. How many it met. */
static int follow(struct ebn_conntrack *table, enum side side, struct tuple *tuple,
		  const struct question *question, uint32_t own, uint32_t not_in, bool *ambiguous)
{
	int steps = 0;

	while (steps < MAX_STEPS) {
		struct entry *entry = find(table, side, tuple, question, own, not_in, ambiguous);

		if (!entry)
			break;
		claim(entry, question);
		*tuple = *tuple_of(entry, !side);
		not_in = entry->netns;
		own = 0;
		steps++;
	}
	return steps;
}

static struct entry *find_here(struct ebn_conntrack *table, enum side side,
			       const struct tuple *tuple, const struct question *question)
{
	bool ambiguous = false;
	struct entry *entry = find(table, side, tuple, question, question->netns, 0, &ambiguous);

	return entry && entry->netns == question->netns ? entry : NULL;
}

static void describe(const struct tuple *first, const struct tuple *last,
		     struct ebn_translation *translation)
{
	memset(translation, 0, sizeof(*translation));
	memcpy(translation->client, first->source, 16);
	memcpy(translation->service, first->dest, 16);
	memcpy(translation->outer, last->source, 16);
	memcpy(translation->server, last->dest, 16);
	translation->service_port = first->dest_port;
	translation->server_port = last->dest_port;
	translation->protocol = first->protocol;
	/* Always the same for the same, and positive. */
	translation->id = hash_bytes(0, translation->client,
				     sizeof(*translation) - sizeof(translation->id)) >>
			  1;
	translation->id += !translation->id;
	translation->client_port = first->source_port;
}

enum {
	AS_SEEN = 0,
	AMBIGUOUS = 3
}; /* else CLIENT or SERVER: which end it is */

/*
 * A TCP socket has the addresses that it asked for, or was asked by. What is known of a UDP one
 * are its packets, of which those sent have passed the rules of its own namespace.
 */
static int resolve(struct ebn_conntrack *table, const struct tuple *seen,
		   const struct question *question, struct ebn_translation *translation)
{
	bool is_udp = seen->protocol == IPPROTO_UDP, ambiguous = false;
	struct tuple first = *seen, last = *seen;
	const struct entry *here = NULL;
	int steps = 0;

	if (question->end == CLIENT) {
		here = is_udp ? find_here(table, AFTER, seen, question) : NULL;
		if (here)
			first = here->before;
		steps = follow(table, BEFORE, &last, question, question->netns,
			       here ? question->netns : 0, &ambiguous);
	} else {
		here = is_udp ? find_here(table, BEFORE, seen, question) : NULL;
		if (here)
			last = here->after;
		steps = follow(table, AFTER, &first, question, question->netns,
			       here ? question->netns : 0, &ambiguous);
	}
	if (ambiguous)
		return AMBIGUOUS;
	if (!steps && !here)
		return AS_SEEN;
	describe(&first, &last, translation);
	return question->end;
}

struct ebn_sockets {
	const void *local; /* 16 bytes each */
	const void *remote;
	const uint16_t *local_ports;
	const uint16_t *remote_ports;
	const uint32_t *netns;
	const uint64_t *from_ns;
	const uint64_t *until_ns;
	const uint64_t *fresh_ns;
	const uint64_t *cookies;
	const uint8_t *roles;
	const uint8_t *are_closing;
	const uint8_t *are_retried;
	uint64_t count;
	uint32_t protocol;
	uint32_t host_netns;
};

static int resolve_as(struct ebn_conntrack *table, const struct ebn_sockets *sockets, uint64_t i,
		      int end, struct ebn_translation *translation)
{
	struct tuple seen = {.source_port = sockets->local_ports[i],
			     .dest_port = sockets->remote_ports[i],
			     .protocol = sockets->protocol};
	struct question question = {.netns = sockets->netns[i],
				    .host = sockets->host_netns,
				    .from_ns = sockets->from_ns[i],
				    .until_ns = sockets->until_ns[i],
				    .fresh_ns = sockets->fresh_ns[i],
				    .cookie = sockets->cookies[i],
				    .is_closing = sockets->are_closing[i],
				    .is_retried = sockets->are_retried[i],
				    .end = end};

	memcpy(seen.source, (const char *)sockets->local + 16 * i, 16);
	memcpy(seen.dest, (const char *)sockets->remote + 16 * i, 16);
	if (end == SERVER)
		seen = reverse(&seen);
	return resolve(table, &seen, &question, translation);
}

/* One translation and one outcome for each socket. */
static void ebn_conntrack_resolve(struct ebn_conntrack *table, const struct ebn_sockets *sockets,
				  struct ebn_translation *translations, uint8_t *outcomes)
{
	for (uint64_t i = 0; i < sockets->count; i++) {
		if (sockets->roles[i] != SERVER)
			outcomes[i] = resolve_as(table, sockets, i, CLIENT, &translations[i]);
		if (sockets->roles[i] == SERVER || (!sockets->roles[i] && outcomes[i] == AS_SEEN))
			outcomes[i] = resolve_as(table, sockets, i, SERVER, &translations[i]);
	}
}

/*
 * The translations of connections that began before a time and were not told, or of all live
 * ones. How many were written; call again while that is `room`, from `*position` on.
 */
static uint64_t ebn_conntrack_tell(struct ebn_conntrack *table, uint64_t before_ns, bool all,
				   uint32_t host_netns, struct ebn_translation *translations,
				   uint64_t room, uint32_t *position)
{
	struct question question = {.host = host_netns,
				    .until_ns = UINT64_MAX,
				    .fresh_ns = NOT_FIRST,
				    .end = CLIENT};
	uint64_t written = 0;

	for (; *position < table->used && written < room; ++*position) {
		struct entry *entry = &table->entries[*position];
		struct tuple first = entry->before, last = entry->after;
		bool ambiguous = false;

		if (!entry->taken || entry->is_private || entry->began_ns > before_ns ||
		    (all ? entry->ended_ns != 0 : entry->told))
			continue;
		entry->told = true;
		follow(table, AFTER, &first, &question, 0, entry->netns, &ambiguous);
		follow(table, BEFORE, &last, &question, 0, entry->netns, &ambiguous);
		if (!ambiguous)
			describe(&first, &last, &translations[written++]);
	}
	return written;
}

/* ---- counts, life and death ---- */

static uint64_t ebn_conntrack_count(const struct ebn_conntrack *table)
{
	return table->count;
}

static uint64_t ebn_conntrack_evicted(const struct ebn_conntrack *table)
{
	return table->evicted;
}

static uint64_t ebn_conntrack_events(const struct ebn_conntrack *table)
{
	return table->events;
}

static void ebn_conntrack_free(struct ebn_conntrack *table)
{
	free(table->entries);
	free(table->chains[BEFORE]);
	free(table->chains[AFTER]);
	free(table);
}

/* `limit` is a power of two; NULL without memory. */
static struct ebn_conntrack *ebn_conntrack_new(uint32_t limit, uint64_t seed)
{
	struct ebn_conntrack *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->limit = limit;
	table->seed = seed;
	table->free = NOTHING;
	if (!resize(table, limit < 256 ? limit : 256)) {
		ebn_conntrack_free(table);
		return NULL;
	}
	return table;
}
