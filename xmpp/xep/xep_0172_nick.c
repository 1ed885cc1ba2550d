/* xep-0172 - nicknames (XEP-0172 1.1) in what strangers send: a request to see one's presence is read before anything is known
 * of its sender, so characters that make a text look like another one are taken out of the name it gives.
 *
 * The name never goes into a roster by itself; published ones are PEP's. */
#include "gateway/base/arena.h"
#include "xmpp/modules.h"

#define NS_NICK "http://jabber.org/protocol/nick"

/* Bytes at <p> of a control character, or of one that changes the direction of writing; 0: it is neither. */
static size_t
odd(const unsigned char *p, size_t left)
{
	if (p[0] < 0x20 || p[0] == 0x7f)
		return 1;
	if (left >= 2 && ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xd8 && p[1] == 0x9c)))
		return 2; /* U+0080-009F, U+061C */
	/* U+200E, 200F, 2028-202E, 2066-2069 */
	if (left >= 3 && p[0] == 0xe2 &&
	    ((p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
	     (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
		return 3;
	return 0;
}

/* <s> without them; the same when there are none. */
static struct td_str
clean(struct td_arena *a, struct td_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	char *out = td_arena_alloc(a, s.len + 1);
	size_t n = 0, skip;

	for (size_t i = 0; i<s.len; i += skip> 0 ? skip : 1) {
		skip = odd(p + i, s.len - i);
		if (skip == 0)
			out[n++] = s.p[i];
	}
	return n == s.len ? s : td_str(out, n);
}

static int
nick_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *copy;
	struct xmpp_node *mine;
	struct td_str was, is;

	(void)u;
	if ((*sp)->kind != XK_PRESENCE || (*sp)->type != XT_SUBSCRIBE ||
	    xmpp_node_child((*sp)->root, NS_NICK, "nick") == NULL)
		return XMPP_PASS;
	copy = xmpp_stanza_dup(*sp);
	mine = xmpp_node_child(copy->root, NS_NICK, "nick");
	was = xmpp_node_text(copy->arena, mine);
	is = clean(copy->arena, was);
	if (is.len == was.len) {
		xmpp_stanza_unref(&copy);
		return XMPP_PASS;
	}
	mine->first = mine->last = NULL;
	xmpp_node_add_text(copy->arena, mine, is);
	xmpp_stanza_touch(copy);
	xmpp_stanza_seal(copy);
	xmpp_stanza_unref(sp);
	*sp = copy;
	return XMPP_PASS;
}

const struct xmpp_module xep_0172_nick = {
	.name = "xep-0172-nick",
	.xep = "0172",
	.doc = "Nicknames are published by PEP; those in subscription requests come without "
	       "controls and changes of direction",
	.version = "1.1",
	.arrived = nick_arrived,
};
