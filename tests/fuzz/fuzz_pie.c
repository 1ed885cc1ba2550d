/* pie_read: XEP-0227 documents.  Every piece handed on must be one well-formed element for the server's parser. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/pie_read.h"
#include "xmpp/xml.h"

static bool in_user;

static void
on_user(void *arg, const struct pie_user *u, const struct pie_place *at)
{
	(void)arg;
	(void)at;
	if (in_user || u->name.len == 0 || u->domain.len == 0)
		abort();
	in_user = true;
}

static void
on_piece(void *arg, const char *kind, struct td_str node, struct td_str xml,
	 const struct pie_place *at)
{
	struct td_arena *a = td_arena_new(xml.len * 2 + 1024);
	const char *why = "";

	(void)arg;
	(void)kind;
	(void)node;
	(void)at;
	if (!in_user || xml.len == 0 || xml.p[0] != '<' || xml.len > PIE_PIECE_MAX)
		abort();
	/* the server's parser refuses some of what is well-formed, too */
	(void)xmpp_xml_parse(a, xml, NULL, &why);
	td_arena_free(a);
}

static void
on_user_end(void *arg, bool whole)
{
	(void)arg;
	(void)whole;
	if (!in_user)
		abort();
	in_user = false;
}

static void
on_trouble(void *arg, const struct pie_place *at, const char *text)
{
	(void)arg;
	if (at->file == NULL || text == NULL)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pie_sink sink = { on_user, on_piece, on_user_end, on_trouble, NULL };
	struct pie_reader *r = pie_reader_new(&sink);

	in_user = false;
	(void)pie_read_text(r, td_str((const char *)data, size));
	if (in_user)
		abort();
	/* it can be used again */
	(void)pie_read_text(r, td_str((const char *)data, size));
	pie_reader_free(r);
	return 0;
}
