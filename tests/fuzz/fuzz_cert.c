/* fuzz_cert - any bytes as a certificate of a client: what is read of it lies within the limits, and is an address or
 * none to who asks. */
#include <stdint.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "gateway/base/arena.h"
#include "gateway/tls.h"
#include "xmpp/jid.h"
#include "xmpp/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
check(struct td_arena *a, struct td_str s)
{
	struct xmpp_jid j;

	if (xmpp_jid_parse(a, s, &j, NULL) == 0)
		must(td_utf8_valid(j.full) && memchr(j.full.p, '\0', j.full.len) == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_cert c = { 0 };
	const unsigned char *p = data;
	X509 *x = d2i_X509(NULL, &p, (long)size);

	if (x != NULL) {
		gw_cert_read(x, a, &c);
		must(c.n_addr <= sizeof(c.addr) / sizeof(c.addr[0]));
		must(c.n_email <= sizeof(c.email) / sizeof(c.email[0]));
		for (size_t i = 0; i < c.n_addr; i++)
			check(a, c.addr[i]);
		for (size_t i = 0; i < c.n_email; i++)
			check(a, c.email[i]);
		must(td_utf8_valid(c.name));
		check(a, c.name);
	}
	ERR_clear_error();
	X509_free(x);
	td_arena_free(a);
	return 0;
}
