/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link OUTPUT OBJECT: a pass through libbpf's linker, which drops DWARF and what BTF says twice.
 * bpftool does the same, but Ubuntu's is tied to the kernel that runs.
 */
#include <bpf/libbpf.h>
#include <stdio.h>

int main(int count, char **arguments)
{
	struct bpf_linker *linker;

	if (count != 3) {
		fprintf(stderr, "usage: link OUTPUT OBJECT\n");
		return 2;
	}
	linker = bpf_linker__new(arguments[1], NULL);
	if (!linker || bpf_linker__add_file(linker, arguments[2], NULL) ||
	    bpf_linker__finalize(linker))
		return 1;
	bpf_linker__free(linker);
	return 0;
}
