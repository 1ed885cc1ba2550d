/* fuzz_text - the small readers of one line each, all on the same bytes: numbers, times, networks, encodings, replies of
 * mail servers. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/acl.h"
#include "gateway/base/loop.h"
#include "gateway/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
check_number(struct td_str s)
{
	struct td_buf b = { 0 };
	int64_t dec = 7, any = 7, again = 0;
	bool is_dec = td_str_to_dec(s, -1000, INT64_MAX, &dec);
	bool is_any = td_str_to_i64(s, -1000, INT64_MAX, &any);

	must(is_dec ? dec >= -1000 && memchr(s.p, '\0', s.len) == NULL : dec == 7);
	must(is_any ? any >= -1000 : any == 7);
	if (is_dec) {
		td_buf_addf(&b, "%lld", (long long)dec);
		must(td_str_to_dec(td_buf_str(&b), INT64_MIN, INT64_MAX, &again) && again == dec);
	}
	td_buf_fini(&b);
}

static void
check_stamp(struct td_str s)
{
	uint64_t ms, again;
	char out[32];

	if (!td_stamp_parse(s, &ms))
		return;
	td_stamp(ms, out);
	must(td_stamp_parse(td_cstr(out), &again) && again == ms);
}

static void
check_net(struct td_str s)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct gw_net net;

	if (!gw_net_parse(s, &net))
		return;
	must(net.family == AF_INET || net.family == AF_INET6);
	must(net.bits <= (net.family == AF_INET ? 32 : 128));
	if (net.family == AF_INET) {
		memcpy(&in4.sin_addr, net.addr, 4);
		must(gw_net_has(&net, (struct sockaddr *)&in4));
	} else {
		memcpy(&in6.sin6_addr, net.addr, 16);
		(void)gw_net_has(&net, (struct sockaddr *)&in6); /* mapped ones count as IPv4 */
	}
}

static void
check_base64(struct td_str s)
{
	struct td_buf bytes = { 0 }, text = { 0 };

	if (td_base64_decode(s, &bytes) == 0) {
		td_buf_add_base64(&text, bytes.p, bytes.len);
		must(td_str_eq(td_buf_str(&text), s)); /* strict: there is one way to write it */
	}
	td_buf_clear(&bytes);
	td_buf_clear(&text);
	td_buf_add_base64(&text, s.p, s.len);
	must(td_base64_decode(td_buf_str(&text), &bytes) == 0);
	must(td_str_eq(td_buf_str(&bytes), s));
	td_buf_fini(&bytes);
	td_buf_fini(&text);
}

static void
check_hex(struct td_str s)
{
	unsigned char out[32];
	struct td_buf text = { 0 };

	if (td_hex_decode(s, out, s.len / 2 < sizeof(out) ? s.len / 2 : sizeof(out)) &&
	    s.len <= 2 * sizeof(out)) {
		td_buf_add_hex(&text, out, s.len / 2);
		must(td_str_ieq(td_buf_str(&text), s));
	}
	td_buf_fini(&text);
}

static void
check_utf8(struct td_str s)
{
	bool ok = td_utf8_valid(s);
	struct td_buf b = { 0 };

	for (size_t max = 0; max < 8; max++) {
		size_t n = td_utf8_cut(s, max);

		must(n <= max && n <= s.len);
		must(!ok || (td_utf8_valid(td_str(s.p, n)) && n + 4 > (max < s.len ? max : s.len)));
	}
	must(td_ascii_run(s, 0) <= s.len);
	/* escaped it is well-formed whatever it was */
	td_buf_add_xml(&b, s);
	must(td_utf8_valid(td_buf_str(&b)) && memchr(b.p, '<', b.len) == NULL);
	td_buf_fini(&b);
}

static void
check_smtp(struct td_str s)
{
	struct td_str status = gw_smtp_status(s);

	must(status.p == NULL || (status.p >= s.p && status.p + status.len <= s.p + s.len));
	must(status.p == NULL || (status.len >= 5 && status.len <= 9));
	must(gw_smtp_condition(status) != NULL && gw_smtp_condition(s) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a copy of exactly so many bytes: reading on is seen */
	char *copy = td_alloc(size > 0 ? size : 1);
	struct td_str s = td_str(copy, size);

	if (size > 0)
		memcpy(copy, data, size);
	check_number(s);
	check_stamp(s);
	check_net(s);
	check_base64(s);
	check_hex(s);
	check_utf8(s);
	check_smtp(s);
	free(copy);
	return 0;
}
