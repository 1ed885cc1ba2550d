/* fuzz_jid - any bytes as an address: what is accepted is stable, and so are its escapes. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "xmpp/jid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
check_part(struct td_str p)
{
	must(p.p == NULL || (p.len > 0 && p.len <= 1023 && td_utf8_valid(p)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_arena *a = td_arena_new(0);
	struct td_str in = td_str((const char *)data, size), out;
	struct xmpp_jid j, k;

	if (xmpp_jid_parse(a, in, &j, NULL) == 0) {
		check_part(j.local);
		check_part(j.domain);
		check_part(j.resource);
		must(xmpp_jid_parse(a, j.full, &k, NULL) == 0 && xmpp_jid_eq(&j, &k));
		must(xmpp_jid_parse(a, j.bare, &k, NULL) == 0 && td_str_eq(k.full, j.bare));
		if (xmpp_jid_with_resource(a, &j, in, &k, NULL) == 0)
			check_part(k.resource);
	}
	/* No escape is undone twice, and nothing is lost but outer spaces. */
	out = xmpp_jid_unescape(a, xmpp_jid_escape(a, in));
	while (in.len > 0 && in.p[0] == ' ')
		in = td_str(in.p + 1, in.len - 1);
	while (in.len > 0 && in.p[in.len - 1] == ' ')
		in.len--;
	must(td_str_eq(in, out));
	(void)xmpp_jid_unescape(a, in);
	td_arena_free(a);
	return 0;
}
