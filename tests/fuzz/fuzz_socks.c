/* fuzz_socks - any bytes as what a client of a bytestream says before its data, at once and byte by byte: both come to
 * the same, nothing is read behind the end, and there is always room for more of what is not whole. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/err.h"
#include "gateway/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

struct talk {
	int messages; /* taken: 2 = greeting and request */
	bool refused;
	size_t used;
	char name[GW_SOCKS_NAME + 1];
	struct td_buf said;
};

/* One message from the bytes there are; a copy of exactly them, so that reading on is seen. */
static int
take(struct talk *t, const uint8_t *data, size_t len)
{
	struct gw_socks_reply r = { .n = SIZE_MAX };
	char *copy = malloc(len > 0 ? len : 1);
	int n;

	must(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	n = t->messages == 0 ? gw_socks_greeting(td_str(copy, len), &r)
			     : gw_socks_request(td_str(copy, len), t->name, &r);
	free(copy);
	must(n == TD_E_INVAL || (n >= 0 && (size_t)n <= len && n <= (int)GW_SOCKS_MAX));
	must(r.n <= sizeof(r.bytes) && (n != 0 || r.n == 0));
	must(n != 0 || len < GW_SOCKS_MAX);
	must(r.n == 0 || (r.bytes[0] == 5 && (n > 0) == (r.bytes[1] == 0)));
	td_buf_add(&t->said, r.bytes, r.n);
	t->refused = n < 0;
	t->messages += n > 0;
	t->used += n > 0 ? (size_t)n : 0;
	return n;
}

static void
talk(struct talk *t, const uint8_t *data, size_t size, size_t step)
{
	size_t there = 0;

	while (!t->refused && t->messages < 2 && there < size) {
		size_t room = GW_SOCKS_MAX - (there - t->used), more = size - there;

		more = more < step ? more : step;
		there += more < room ? more : room;
		while (!t->refused && t->messages < 2 && there > t->used)
			if (take(t, data + t->used, there - t->used) == 0)
				break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct talk a = { 0 }, b = { 0 };

	talk(&a, data, size, SIZE_MAX);
	talk(&b, data, size, 1);
	must(a.messages == b.messages && a.refused == b.refused && a.used == b.used);
	must(td_str_eq(td_buf_str(&a.said), td_buf_str(&b.said)));
	if (a.messages == 2) {
		must(strspn(a.name, "0123456789abcdef") == GW_SOCKS_NAME);
		must(strcmp(a.name, b.name) == 0 && a.said.len == 2 + 7 + GW_SOCKS_NAME);
	}
	td_buf_fini(&a.said);
	td_buf_fini(&b.said);
	return 0;
}
