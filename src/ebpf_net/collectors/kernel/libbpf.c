/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of libbpf.py: what must not cost a Python call per record, and what libbpf offers
 * only as a macro or with structures that grow. Included by the module that cffi makes.
 */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

/*
 * A distribution's libelf.a is made for executables. One thing in it cannot go into a shared
 * object and is replaced: elf_error.o with its thread-local variable of the wrong kind.
 */
static _Thread_local int elf_last_error;

void __libelf_seterrno(int value);
int elf_errno(void);
const char *elf_errmsg(int error);

void __libelf_seterrno(int value)
{
	elf_last_error = value;
}

int elf_errno(void)
{
	int value = elf_last_error;

	elf_last_error = 0;
	return value;
}

const char *elf_errmsg(int error)
{
	return error || elf_last_error ? "not a usable ELF object" : NULL;
}

/*
 * libelf 0.192 leaves these out of its archive. The tree is only of ranges that a caller asks for
 * by offset, and libbpf asks for none, so it stays empty.
 */
__attribute__((weak)) void eu_search_tree_init(void **tree);
__attribute__((weak)) void eu_search_tree_fini(void **tree, void (*release)(void *));

__attribute__((weak)) void eu_search_tree_init(void **tree)
{
	*tree = NULL;
}

__attribute__((weak)) void eu_search_tree_fini(void **tree, void (*release)(void *))
{
	(void)tree;
	(void)release;
}

/* ---- what libbpf says, kept for the error message ---- */

enum { LOG_SIZE = 1 << 16 };
static char log_text[LOG_SIZE];
static size_t log_used;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static int keep_log(enum libbpf_print_level level, const char *format, va_list arguments)
{
	int written;

	if (level == LIBBPF_DEBUG)
		return 0;
	pthread_mutex_lock(&log_lock);
	written = vsnprintf(log_text + log_used, LOG_SIZE - log_used, format, arguments);
	if (written > 0)
		log_used = log_used + written < LOG_SIZE ? log_used + written : LOG_SIZE - 1;
	pthread_mutex_unlock(&log_lock);
	return 0;
}

__attribute__((constructor)) static void set_up(void)
{
	libbpf_set_print(keep_log);
}

static size_t ebn_take_log(char *text, size_t size)
{
	size_t taken;

	pthread_mutex_lock(&log_lock);
	taken = log_used < size ? log_used : size;
	memcpy(text, log_text, taken);
	log_used = 0;
	pthread_mutex_unlock(&log_lock);
	return taken;
}

/* ---- objects, programs, links: errors come back as NULL and errno ---- */

static void *checked(void *pointer)
{
	long error = libbpf_get_error(pointer);

	if (!error)
		return pointer;
	errno = -error;
	return NULL;
}

static struct bpf_object *ebn_open(const char *path)
{
	return checked(bpf_object__open_file(path, NULL));
}

static int ebn_set_autoload(struct bpf_program *program, bool load)
{
	return bpf_program__set_autoload(program, load);
}

/* The name after `name` ("" for the first) in the object's order; NULL at the end. */
static const char *ebn_next_program(struct bpf_object *object, const char *name)
{
	struct bpf_program *program;
	bool found = !*name;

	bpf_object__for_each_program(program, object) {
		if (found)
			return bpf_program__name(program);
		found = !strcmp(bpf_program__name(program), name);
	}
	return NULL;
}

static struct bpf_link *ebn_attach(struct bpf_program *program)
{
	return checked(bpf_program__attach(program));
}

static struct bpf_link *ebn_attach_cgroup(struct bpf_program *program, int cgroup_fd)
{
	return checked(bpf_program__attach_cgroup(program, cgroup_fd));
}

/* `map_fd` is -1 for an iterator over something else than a map. */
static struct bpf_link *ebn_attach_iterator(struct bpf_program *program, int map_fd)
{
	union bpf_iter_link_info info = { .map = { .map_fd = map_fd } };
	LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &info,
		    .link_info_len = sizeof(info));

	return checked(bpf_program__attach_iter(program, map_fd < 0 ? NULL : &options));
}

/*
 * One pass. 0: it came to the end; 1: the program asked to stop, because the ring is full
 * enough; else a negative errno. The kernel also stops after 1,000,000 objects, with the same
 * EAGAIN: then the position has moved, and the same pass goes on.
 */
static int ebn_run_iterator(int link_fd)
{
	char buffer[256];
	ssize_t count;
	int result = 0, file = bpf_iter_create(link_fd);

	if (file < 0)
		return -errno;
	do {
		count = read(file, buffer, sizeof(buffer));
	} while (count > 0 || (count < 0 && errno == EINTR));
	if (count < 0)
		result = errno == EAGAIN ? 1 : -errno;
	close(file);
	return result;
}

/* How often the kernel did not run it because it was running on that CPU. Before v5.12: 0. */
static uint64_t ebn_skipped_runs(struct bpf_program *program)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
		return 0;
	return info.recursion_misses;
}

static struct btf *kernel_types;

static bool ebn_kernel_has_type(const char *name, int kind)
{
	if (!kernel_types)
		kernel_types = checked(btf__load_vmlinux_btf());
	return kernel_types && btf__find_by_name_kind(kernel_types, name, kind) > 0;
}

/* Give their memory back, some megabytes; they are read again when asked for. */
static void ebn_forget_kernel_types(void)
{
	btf__free(kernel_types);
	kernel_types = NULL;
}

/* ---- global variables of the programs ---- */

static struct bpf_map *section_map(struct bpf_object *object, const char *section)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const char *name = bpf_map__name(map);
		size_t length = strlen(name), suffix = strlen(section);

		if (bpf_map__is_internal(map) && length >= suffix &&
		    !strcmp(name + length - suffix, section))
			return map;
	}
	return NULL;
}

static int copy_variable(struct bpf_map *map, const struct btf_var_secinfo *variable,
			 uint64_t *value, bool write)
{
	size_t whole;
	char *start = (char *)bpf_map__initial_value(map, &whole);
	int fd = bpf_map__fd(map);
	char *mapped = NULL;

	if (!start || variable->size > sizeof(*value))
		return -EINVAL;
	if (fd >= 0) {
		/* Loaded: what the programs see is in the map's own memory. */
		mapped = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (mapped == MAP_FAILED)
			return -errno;
		start = mapped;
	}
	if (write)
		memcpy(start + variable->offset, value, variable->size);
	else
		memcpy(value, start + variable->offset, variable->size);
	if (mapped)
		munmap(mapped, whole);
	return 0;
}

/* Read or write a variable of .rodata (before the load), .data or .bss; little endian. */
static int ebn_variable(struct bpf_object *object, const char *name, uint64_t *value, bool write)
{
	static const char *const sections[] = { ".rodata", ".data", ".bss" };
	const struct btf *btf = bpf_object__btf(object);

	for (size_t i = 0; i < 3; i++) {
		int id = btf__find_by_name_kind(btf, sections[i], BTF_KIND_DATASEC);
		const struct btf_type *section = id > 0 ? btf__type_by_id(btf, id) : NULL;
		const struct btf_var_secinfo *variable = section ? btf_var_secinfos(section) : NULL;
		struct bpf_map *map = section_map(object, sections[i]);

		for (int n = 0; section && map && n < btf_vlen(section); n++, variable++) {
			const struct btf_type *type = btf__type_by_id(btf, variable->type);

			if (!strcmp(btf__name_by_offset(btf, type->name_off), name))
				return copy_variable(map, variable, value, write);
		}
	}
	return -ENOENT;
}

/* ---- the ring ---- */

/*
 * Ours instead of libbpf's ring_buffer: that maps the data twice, side by side, so that no record
 * is ever split, and every page of both counts as this process's memory.
 */
enum { DRAINED_AT_ONCE = 64 << 10 };

struct ebn_ring {
	size_t record_size;
	size_t size; /* a power of two */
	uint64_t *consumer;
	const uint64_t *producer;
	const char *records;
	size_t used;
	size_t capacity;
	char *data;
};

static size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static void ebn_ring_close(struct ebn_ring *ring)
{
	if (ring->consumer)
		munmap(ring->consumer, page_size());
	if (ring->producer)
		munmap((void *)ring->producer, page_size() + ring->size);
	free(ring->data);
	free(ring);
}

static void *map_ring(int map_fd, size_t size, int protection, size_t offset)
{
	void *mapped = mmap(NULL, size, protection, MAP_SHARED, map_fd, offset);

	return mapped == MAP_FAILED ? NULL : mapped;
}

static struct ebn_ring *ebn_ring_open(int map_fd, size_t record_size)
{
	struct ebn_ring *ring = calloc(1, sizeof(*ring));
	struct bpf_map_info info = {};
	uint32_t info_size = sizeof(info);
	int error;

	if (!ring)
		return NULL;
	if (bpf_obj_get_info_by_fd(map_fd, &info, &info_size))
		goto failed;
	ring->record_size = record_size;
	ring->size = info.max_entries;
	ring->consumer = map_ring(map_fd, page_size(), PROT_READ | PROT_WRITE, 0);
	ring->producer = map_ring(map_fd, page_size() + ring->size, PROT_READ, page_size());
	if (!ring->consumer || !ring->producer)
		goto failed;
	ring->records = (const char *)ring->producer + page_size();
	return ring;
failed:
	error = errno;
	ebn_ring_close(ring);
	errno = error;
	return NULL;
}

static bool make_room(struct ebn_ring *ring)
{
	size_t capacity = ring->capacity ? ring->capacity * 2 : 1 << 16;
	char *grown;

	if (ring->used + ring->record_size <= ring->capacity)
		return true;
	grown = realloc(ring->data, capacity);
	if (!grown)
		return false;
	ring->data = grown;
	ring->capacity = capacity;
	return true;
}

static void keep_record(struct ebn_ring *ring, uint64_t position)
{
	size_t start = position & (ring->size - 1), whole = ring->record_size;
	size_t before_end = ring->size - start < whole ? ring->size - start : whole;
	char *to = ring->data + ring->used;

	memcpy(to, ring->records + start, before_end);
	memcpy(to + before_end, ring->records, whole - before_end);
	ring->used += whole;
}

/*
 * Append what the ring holds; bytes kept so far, or a negative errno. The kernel's
 * Documentation/bpf/ringbuf.rst describes the protocol: a header of 8 bytes before each record
 * has its length and two bits, and is written last.
 */
static int64_t ebn_ring_drain(struct ebn_ring *ring)
{
	uint64_t position = *ring->consumer, told = position;
	uint64_t end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);

	while (position < end) {
		const void *header = ring->records + (position & (ring->size - 1));
		uint32_t word = __atomic_load_n((const uint32_t *)header, __ATOMIC_ACQUIRE);
		uint32_t length = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (word & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(word & BPF_RINGBUF_DISCARD_BIT) && length == ring->record_size) {
			if (!make_room(ring))
				return -ENOMEM;
			keep_record(ring, position + BPF_RINGBUF_HDR_SZ);
		}
		position += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7ull;
		if (position - told >= DRAINED_AT_ONCE) {
			__atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
			told = position;
		}
		if (position >= end)
			end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	}
	__atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
	return ring->used;
}

static char *ebn_ring_data(struct ebn_ring *ring)
{
	return ring->data;
}

/* Forget what was drained; give a large buffer back after a large window. */
static void ebn_ring_clear(struct ebn_ring *ring)
{
	ring->used = 0;
	if (ring->capacity > 4 << 20) {
		free(ring->data);
		ring->data = NULL;
		ring->capacity = 0;
	}
}

/* ---- a hash map that no program writes to any more ---- */

enum { BATCH = 4096 };

/* Move all pairs out; how many, or a negative errno. The caller frees both arrays. */
static int64_t ebn_empty_map(int map_fd, size_t key_size, size_t value_size, char **keys,
			     char **values)
{
	uint64_t position[2] = { 0, 0 };
	size_t used = 0, capacity = 0;
	uint32_t count;
	int error = 0;

	*keys = NULL;
	*values = NULL;
	for (bool first = true; !error; first = false) {
		if (used + BATCH > capacity) {
			char *more_keys, *more_values;

			capacity = capacity ? capacity * 2 : BATCH;
			more_keys = realloc(*keys, capacity * key_size);
			if (more_keys)
				*keys = more_keys;
			more_values = realloc(*values, capacity * value_size);
			if (more_values)
				*values = more_values;
			if (!more_keys || !more_values)
				return -ENOMEM;
		}
		count = BATCH;
		if (bpf_map_lookup_and_delete_batch(map_fd, first ? NULL : &position[0],
						    &position[0], *keys + used * key_size,
						    *values + used * value_size, &count, NULL))
			error = errno;
		if (error && error != ENOENT)
			return -error;
		used += count;
	}
	return used;
}

static void ebn_free(void *memory)
{
	free(memory);
}

/* Keep only the capabilities of `mask` (bits by CAP_ number), for this thread. */
static int ebn_keep_capabilities(uint64_t mask)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = mask, .permitted = mask, .inheritable = 0 },
		{ .effective = mask >> 32, .permitted = mask >> 32, .inheritable = 0 },
	};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}
