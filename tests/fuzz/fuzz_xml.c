/* fuzz_xml - a stream of XML cut where the first byte says; every stanza is written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include "xmpp/stanza.h"
#include "xmpp/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
again(struct xmpp_stanza *s)
{
	struct td_buf b = { 0 };
	struct td_arena *a = td_arena_new(0);
	struct xmpp_stanza *d = xmpp_stanza_dup(s);
	const char *why;

	xmpp_stanza_touch(d); /* written from the tree */
	xmpp_stanza_write(d, true, &b);
	if (xmpp_xml_parse(a, td_buf_str(&b), NULL, &why) == NULL)
		abort(); /* what we write is well-formed */
	td_buf_clear(&b);
	xmpp_stanza_write(s, true, &b);
	if (xmpp_xml_parse(a, td_buf_str(&b), NULL, &why) == NULL)
		abort();
	td_arena_free(a);
	td_buf_fini(&b);
	xmpp_stanza_unref(&d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct xmpp_xmlpool *pool;
	struct xmpp_reader r;
	size_t step, i = 1;

	if (pool == NULL)
		pool = xmpp_xmlpool_new();
	if (size < 1)
		return 0;
	step = (size_t)data[0] + 1;
	xmpp_reader_init(&r, pool, 2000, 8);
	while (i < size) {
		size_t n = size - i < step ? size - i : step;
		const char *p = (const char *)data + i;
		enum xmpp_read ev;

		i += n;
		while ((ev = xmpp_reader_feed(&r, p, n)) != XR_MORE && ev < XR_CLOSE) {
			p = NULL;
			n = 0;
			if (ev == XR_STANZA) {
				if (r.stanza->kind != XK_OTHER)
					again(r.stanza);
				xmpp_stanza_unref(&r.stanza);
			}
		}
		if (ev >= XR_CLOSE)
			break;
	}
	xmpp_reader_fini(&r);
	return 0;
}
