/* fuzz_roster_json - any bytes as a roster: no crash, and what is read can be written and
 * read again as the same. */
#include <stdint.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_arena *a = td_arena_new(0);
	struct store_contact *c, *again;
	struct td_buf out = { 0 };
	size_t n, n_again;

	/* escapes may make the text six times as long: stay below the limit on reading */
	if (size <= 65536 &&
	    store_roster_from_json(td_str((const char *)data, size), a, &c, &n, NULL) == 0) {
		struct store_roster ro = { .contacts = c, .n = n };

		store_roster_to_json(&ro, &out);
		if (store_roster_from_json(td_buf_str(&out), a, &again, &n_again, NULL) != 0 ||
		    n_again != n)
			abort();
		for (size_t i = 0; i < n; i++)
			if (!td_str_eq(c[i].jid, again[i].jid) ||
			    !td_str_eq(c[i].name, again[i].name) || c[i].sub != again[i].sub ||
			    c[i].flags != again[i].flags || c[i].n_groups != again[i].n_groups)
				abort();
	}
	td_buf_fini(&out);
	td_arena_free(a);
	return 0;
}
