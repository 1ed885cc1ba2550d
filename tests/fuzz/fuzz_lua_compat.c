/* Fuzz the dialect rewriter: no byte is lost, no line moves, and rewriting twice is once. */
#include <stdint.h>
#include <stdlib.h>

#include "lua/compat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
lines(struct td_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.p[i] == '\n';
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_str in = td_str((const char *)data, size);
	struct td_buf once = { 0 }, twice = { 0 };

	tlua_compat_rewrite(in, &once);
	if (once.len < in.len || lines(in) != lines(td_buf_str(&once)))
		abort();
	tlua_compat_rewrite(td_buf_str(&once), &twice);
	if (!td_str_eq(td_buf_str(&once), td_buf_str(&twice)))
		abort();
	td_buf_fini(&once);
	td_buf_fini(&twice);
	return 0;
}
