/* fuzz_names - a domain, a host, and any bytes as the subjectAltName of a server's certificate ("domain\nhost\nDER"):
 * a name that matches says the domain or the host, as a whole or by a wildcard for one label. */
#include <stdint.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "gateway/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* What was found, against the A-labels of who was asked for. */
static void
check_match(struct td_str text, struct td_str domain, struct td_str host)
{
	char d[256], h[256], a[256];
	bool has_d = gw_cert_ascii(domain, d), has_h = gw_cert_ascii(host, h);
	struct td_str kind = td_str_cut(&text, ':'), first = text;

	for (size_t i = 0; i < text.len; i++)
		must(text.p[i] > ' ' && text.p[i] < 127);
	if (td_str_eqc(kind, "DNS") && td_str_starts(text, "*.")) {
		text.p++, text.len--;
		must((has_d && strchr(d, '.') != NULL &&
		      td_str_ieq(text, td_cstr(strchr(d, '.')))) ||
		     (has_h && strchr(h, '.') != NULL &&
		      td_str_ieq(text, td_cstr(strchr(h, '.')))));
	} else if (td_str_eqc(kind, "DNS")) {
		must((has_d && td_str_ieq(text, td_cstr(d))) ||
		     (has_h && td_str_ieq(text, td_cstr(h))));
	} else if (td_str_eqc(kind, "SRV")) {
		must(has_d && td_str_ieq(td_str_cut(&first, '.'), TD_STR("_xmpp-server")));
		must(td_str_ieq(first, td_cstr(d)));
	} else if (td_str_eqc(kind, "IP")) {
		must(!has_d && domain.len > 0);
	} else {
		must(td_str_eqc(kind, "XMPP"));
		must(td_str_chr(text, '@') < 0 && td_str_chr(text, '/') < 0);
		/* characters that are not ASCII are shown as '?' */
		if (has_d && gw_cert_ascii(text, a))
			must(strcmp(a, d) == 0);
	}
}

static void
check_ascii(struct td_str s)
{
	char a[256], b[256];

	if (!gw_cert_ascii(s, a))
		return;
	must(gw_cert_ascii(td_cstr(a), b) && strcmp(a, b) == 0);
	must(gw_cert_dns_match(td_cstr(a), a));
	must(strlen(a) <= 253);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_str rest = td_str((const char *)data, size);
	struct td_str domain = td_str_cut(&rest, '\n'), host = td_str_cut(&rest, '\n');
	const unsigned char *p = (const unsigned char *)rest.p;
	GENERAL_NAMES *names = d2i_GENERAL_NAMES(NULL, &p, (long)rest.len);
	char text[GW_CERT_NAME_TEXT], d[256];

	check_ascii(domain);
	check_ascii(host);
	if (gw_cert_ascii(domain, d))
		(void)gw_cert_dns_match(rest, d);
	if (names != NULL && gw_cert_find_name(names, domain, host, text))
		check_match(td_cstr(text), domain, host);
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return 0;
}
