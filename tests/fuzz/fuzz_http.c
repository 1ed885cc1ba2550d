/* fuzz_http - any bytes as a request head, as a range and as XML to be cut: what is accepted lies inside the input,
 * says one thing about the body, and does not depend on the pieces it came in. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/http/elements.h"
#include "gateway/http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static bool
inside(struct td_str s, struct td_str in)
{
	return s.p == NULL || (s.p >= in.p && s.p + s.len <= in.p + in.len);
}

/* A range is a part of what there is, whatever its size. */
static void
check_range(struct td_str field)
{
	static const uint64_t sizes[] = { 0, 1, 1000, UINT64_MAX };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t at = 1, end = 0;
		unsigned status = gw_range_parse(field, sizes[i], &at, &end);

		must(status == 200 || status == 206 || status == 416);
		must(status != 200 || (at == 0 && end == sizes[i]));
		must(status != 206 || (at < end && end <= sizes[i]));
	}
}

static void
check_head(struct td_str in)
{
	struct gw_head h, g;
	long n = gw_head_parse(in, &h);
	struct td_buf path = { 0 };

	must(n <= (long)GW_HEAD_MAX && n >= -599);
	if (n <= 0)
		return;
	must((size_t)n <= in.len && inside(h.path, in) && h.n <= GW_HEAD_FIELDS);
	must(h.length >= -1 && gw_head_field(&h, "transfer-encoding").p == NULL);
	must(gw_head_count(&h, "host") <= 1 && gw_head_count(&h, "content-length") <= 1);
	for (size_t i = 0; i < h.n; i++) {
		must(inside(h.fields[i].name, in) && inside(h.fields[i].value, in));
		must(memchr(h.fields[i].value.p, '\n', h.fields[i].value.len) == NULL);
		must(memchr(h.fields[i].value.p, '\r', h.fields[i].value.len) == NULL);
		(void)gw_head_has_token(&h, "connection", "upgrade");
	}
	/* shorter: not whole yet; never another request */
	must(gw_head_parse(td_str(in.p, (size_t)n - 1), &g) == 0);
	must(gw_head_parse(td_str(in.p, (size_t)n), &g) == n && g.length == h.length);
	check_range(gw_head_field(&h, "range"));
	if (gw_path_decode(h.path, &path))
		must(path.len <= h.path.len);
	td_buf_fini(&path);
}

static void
check_elements(struct td_str in)
{
	struct gw_element e = { 0 };

	while (gw_element_first(in, &e)) {
		struct td_buf out = { 0 };

		must(inside(e.all, in) && inside(e.name, in) && e.all.len > 0 && e.all.p == in.p);
		must(e.all.p[e.all.len - 1] == '>');
		gw_element_write(&out, &e);
		must(out.len >= e.all.len);
		td_buf_fini(&out);
		in.p += e.all.len;
		in.len -= e.all.len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_str in = td_str((const char *)data, size);

	check_head(in);
	check_range(in);
	check_elements(in);
	return 0;
}
