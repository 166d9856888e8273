/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads whose size is known, over loopback. Each line on standard input is a number and is
 * answered with a number; the end of the input ends the program.
 *
 *   connections churn PAIRS RATE PEERS   opens RATE connections a second, to PEERS addresses from
 *                                        each of PAIRS threads; answers how many so far
 *   connections hold PAIRS NET           keeps PAIRS open to 127.NET.0.0/16; sends a byte both
 *                                        ways on each of them; answers how many there are
 *   connections tcp                      exchanges so many messages; answers packets on the wire
 *   connections udp                      exchanges so many messages; answers datagrams
 */
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUEST_BYTES = 200,
	RESPONSE_BYTES = 1000,
	PORT = 900, /* below those that clients get */
	ANY_ADDRESS = 0,
	CONNECTIONS_PER_ADDRESS = 4000,
};

static atomic_long connections;
static long rate_of_a_pair;
static uint32_t peers_of_a_pair;

static int check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static struct sockaddr_in loopback(uint32_t host, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr =
					     host ? htonl(0x7f000000 | host) : INADDR_ANY };
}

static int listen_at(uint32_t host, uint16_t port)
{
	struct sockaddr_in address = loopback(host, port);
	int one = 1, listener = check(socket(AF_INET, SOCK_STREAM, 0), "socket");

	check(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), "reuse");
	check(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
	check(listen(listener, 4096), "listen");
	return listener;
}

static int connect_to(uint32_t host, uint16_t port)
{
	struct sockaddr_in address = loopback(host, port);
	int client = check(socket(AF_INET, SOCK_STREAM, 0), "socket");

	check(connect(client, (struct sockaddr *)&address, sizeof(address)), "connect");
	return client;
}

static void read_fully(int file, size_t size)
{
	char buffer[RESPONSE_BYTES];

	while (size) {
		ssize_t count = check(recv(file, buffer, size, 0), "recv");

		if (!count)
			exit(1);
		size -= count;
	}
}

static void *serve(void *argument)
{
	static const char response[RESPONSE_BYTES];
	int listener = (intptr_t)argument;

	for (;;) {
		int client = check(accept(listener, NULL, NULL), "accept");

		read_fully(client, REQUEST_BYTES);
		check(send(client, response, sizeof(response), MSG_NOSIGNAL), "send");
		close(client);
	}
	return NULL;
}

/* Sleeps while it is ahead of its rate; after a delay it catches up. */
static void *request(void *argument)
{
	static const char message[REQUEST_BYTES];
	uint16_t port = PORT + (intptr_t)argument;
	struct timespec start, due;
	char last;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long number = 0;; number++) {
		uint64_t after_ns = number * (1000000000ull / rate_of_a_pair) + start.tv_nsec;
		int client;

		due.tv_sec = start.tv_sec + after_ns / 1000000000;
		due.tv_nsec = after_ns % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		client = connect_to(1 + number % peers_of_a_pair, port);
		check(send(client, message, sizeof(message), MSG_NOSIGNAL), "send");
		read_fully(client, RESPONSE_BYTES);
		recv(client, &last, 1, 0); /* the server closes first */
		close(client);
		atomic_fetch_add(&connections, 1);
	}
	return NULL;
}

static void start_churn(int pairs, long rate, uint32_t peers)
{
	pthread_t thread;

	rate_of_a_pair = rate / pairs;
	peers_of_a_pair = peers;
	for (intptr_t pair = 1; pair <= pairs; pair++) {
		intptr_t listener = listen_at(ANY_ADDRESS, PORT + pair);

		pthread_create(&thread, NULL, serve, (void *)listener);
		pthread_create(&thread, NULL, request, (void *)pair);
	}
}

struct pair {
	int client, server;
};

static struct pair *open_pairs(int count, uint32_t net)
{
	struct pair *pairs = calloc(count, sizeof(*pairs));
	/* Closed by a reset: nothing is left in TIME_WAIT. */
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int listener = -1;

	for (int i = 0; i < count; i++) {
		uint32_t host = net << 16 | (i / CONNECTIONS_PER_ADDRESS + 1);

		if (i % CONNECTIONS_PER_ADDRESS == 0) {
			if (listener >= 0)
				close(listener);
			listener = listen_at(host, PORT);
		}
		pairs[i].client = connect_to(host, PORT);
		pairs[i].server = check(accept(listener, NULL, NULL), "accept");
		setsockopt(pairs[i].client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	}
	return pairs;
}

static void allow_many_files(void)
{
	struct rlimit limit;

	check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

static void exchange(int from, int to)
{
	char byte = 0;

	check(send(from, &byte, 1, MSG_NOSIGNAL), "send");
	read_fully(to, 1);
}

static long count_segments(struct pair pair)
{
	struct tcp_info client, server;
	socklen_t size = sizeof(client);

	check(getsockopt(pair.client, IPPROTO_TCP, TCP_INFO, &client, &size), "TCP_INFO");
	check(getsockopt(pair.server, IPPROTO_TCP, TCP_INFO, &server, &size), "TCP_INFO");
	return client.tcpi_segs_out + server.tcpi_segs_out;
}

static struct pair open_udp(void)
{
	struct pair pair = { check(socket(AF_INET, SOCK_DGRAM, 0), "socket"),
			     check(socket(AF_INET, SOCK_DGRAM, 0), "socket") };
	struct sockaddr_in client = loopback(1, PORT + 1), server = loopback(1, PORT);

	check(bind(pair.client, (struct sockaddr *)&client, sizeof(client)), "bind");
	check(bind(pair.server, (struct sockaddr *)&server, sizeof(server)), "bind");
	check(connect(pair.client, (struct sockaddr *)&server, sizeof(server)), "connect");
	check(connect(pair.server, (struct sockaddr *)&client, sizeof(client)), "connect");
	return pair;
}

static long exchange_all(struct pair *pairs, long count, long times)
{
	for (long i = 0; i < count; i++) {
		for (long time = 0; time < times; time++) {
			exchange(pairs[i].client, pairs[i].server);
			exchange(pairs[i].server, pairs[i].client);
		}
	}
	return count;
}

int main(int count, char **arguments)
{
	const char *mode = count > 1 ? arguments[1] : "";
	struct pair *pairs = NULL;
	char line[64];
	long held = 0;

	if (!strcmp(mode, "churn") && count == 5) {
		start_churn(atoi(arguments[2]), atol(arguments[3]), atoi(arguments[4]));
	} else if (!strcmp(mode, "hold") && count == 4) {
		allow_many_files();
		held = atol(arguments[2]);
		pairs = open_pairs(held, atoi(arguments[3]));
	} else if (!strcmp(mode, "tcp")) {
		pairs = open_pairs(1, 0);
	} else if (!strcmp(mode, "udp")) {
		pairs = calloc(1, sizeof(*pairs));
		*pairs = open_udp();
	} else {
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("0");
	while (fgets(line, sizeof(line), stdin)) {
		long asked = atol(line), answer = 0;

		if (*mode == 'c') {
			answer = atomic_load(&connections);
		} else if (*mode == 'h') {
			answer = exchange_all(pairs, held, 1);
		} else if (*mode == 't') {
			long before = count_segments(*pairs);

			exchange_all(pairs, 1, asked);
			answer = count_segments(*pairs) - before;
		} else {
			exchange_all(pairs, 1, asked);
			answer = 2 * asked;
		}
		printf("%ld\n", answer);
	}
	_exit(0);
}
