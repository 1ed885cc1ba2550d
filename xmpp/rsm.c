/* rsm - result set management: read the request, write the answer. */
#include "xmpp/rsm.h"

static bool
read_number(const struct xmpp_node *set, struct td_arena *a, const char *name, int64_t *out)
{
	const struct xmpp_node *n = xmpp_node_child(set, NS_RSM, name);

	*out = -1;
	return n == NULL || td_str_to_dec(td_str_trim(xmpp_node_text(a, n)), 0, INT32_MAX, out);
}

static struct td_str
read_text(const struct xmpp_node *set, struct td_arena *a, const char *name)
{
	const struct xmpp_node *n = xmpp_node_child(set, NS_RSM, name);
	struct td_str t;

	if (n == NULL)
		return TD_STR_NULL;
	t = xmpp_node_text(a, n);
	return t.p != NULL ? t : TD_STR("");
}

bool
xmpp_rsm_read(const struct xmpp_node *parent, struct td_arena *a, struct xmpp_rsm *out)
{
	const struct xmpp_node *set = xmpp_node_child(parent, NS_RSM, "set");

	*out = (struct xmpp_rsm){ .asked = set != NULL, .max = -1, .index = -1 };
	if (set == NULL)
		return true;
	out->after = read_text(set, a, "after");
	out->before = read_text(set, a, "before");
	return read_number(set, a, "max", &out->max) && read_number(set, a, "index", &out->index);
}

unsigned
xmpp_rsm_limit(const struct xmpp_rsm *r, unsigned dflt, unsigned cap)
{
	unsigned want = r->max < 0 ? dflt : r->max > cap ? cap : (unsigned)r->max;

	return want > cap ? cap : want;
}

void
xmpp_rsm_write(struct td_buf *out, struct td_str first, int64_t index, struct td_str last,
	       int64_t count)
{
	td_buf_addz(out, "<set xmlns='" NS_RSM "'>");
	if (first.p != NULL) {
		td_buf_addz(out, "<first");
		if (index >= 0)
			td_buf_addf(out, " index='%lld'", (long long)index);
		td_buf_addc(out, '>');
		td_buf_add_xml(out, first);
		td_buf_addz(out, "</first><last>");
		td_buf_add_xml(out, last);
		td_buf_addz(out, "</last>");
	}
	if (count >= 0)
		td_buf_addf(out, "<count>%lld</count>", (long long)count);
	td_buf_addz(out, "</set>");
}
