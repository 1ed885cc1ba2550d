/* fuzz_stream - a client stream of ann, from its first byte or from behind a login.
 *
 * Byte 0: bits 0-1 where it begins (0 before the header, 1 authenticated, 2 bound, 3 bound with SM),
 *         bit 2 credentials come late, bit 3 TLS from the start when it begins before the header,
 *         bit 4 bob's queue is small, bit 5 bob has no SM.
 * Byte 1: how many bytes come at once.  The rest is what the client sends, but for
 *   0xFF 'n'  the connection breaks; a new one, authenticated
 *   0xFF 'p'  the id of the last <enabled/>
 *   0xFF 's'  everything under way gets done
 *   0xFF 'w'  the client stops reading, or goes on
 * bob is online, acknowledges nothing, and must get messages in the name of ann only; what the
 * server says must be well-formed. */
#include <expat.h>
#include <stdint.h>
#include "tests/unit/xmpp/c2s_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what the server says ---- */

struct checker {
	XML_Parser xp;
	size_t done; /* of io->out */
	size_t fed;  /* of this parser, ever */
};
static struct checker checkers[RIG_IOS];
static char sm_id[64];

static void XMLCALL
on_start(void *arg, const XML_Char *name, const XML_Char **atts)
{
	(void)arg;
	if (strcmp(name, "urn:xmpp:sm:3\x01"
			 "enabled") != 0)
		return;
	for (; atts[0] != NULL; atts += 2)
		if (strcmp(atts[0], "id") == 0)
			(void)snprintf(sm_id, sizeof(sm_id), "%s", atts[1]);
}

static void
checker_reset(struct checker *ch)
{
	if (ch->xp == NULL)
		ch->xp = XML_ParserCreateNS(NULL, '\x01');
	else
		(void)XML_ParserReset(ch->xp, NULL);
	XML_SetElementHandler(ch->xp, on_start, NULL);
	ch->fed = 0;
}

static void
check_out(struct xmpp_io *io)
{
	struct checker *ch = &checkers[io - rig.io];

	while (ch->done < io->out.len) {
		size_t n = io->out.len - ch->done;

		if (XML_Parse(ch->xp, io->out.p + ch->done, (int)n, 0) == XML_STATUS_OK) {
			ch->done += n;
			ch->fed += n;
			return;
		}
		/* a stream begins anew with its declaration */
		rig_must(XML_GetErrorCode(ch->xp) == XML_ERROR_MISPLACED_XML_PI);
		ch->done += (size_t)XML_GetCurrentByteIndex(ch->xp) - ch->fed;
		checker_reset(ch);
	}
}

static void
check_all(void)
{
	for (size_t i = 0; i < RIG_IOS; i++)
		if (rig.io[i].c != NULL || rig.io[i].out.len > 0)
			check_out(&rig.io[i]);
}

static void
on_routed(struct xmpp_stanza *s)
{
	if (s->kind == XK_MESSAGE && s->type != XT_ERROR)
		rig_must(td_str_eqc(s->from.bare, "ann@a.test"));
}

static void
settle(void)
{
	rig_settle();
	check_all();
	for (size_t i = 0; i < RIG_IOS; i++) {
		if (rig.io[i].slow)
			continue;
		td_buf_clear(&rig.io[i].out);
		rig.io[i].flushed = 0;
		checkers[i].done = 0;
	}
}

/* ---- ann ---- */

static struct xmpp_io *
fresh(struct xmpp_io *io)
{
	checkers[io - rig.io].done = 0;
	checker_reset(&checkers[io - rig.io]);
	return io;
}

static struct xmpp_io *
begin(unsigned mode)
{
	struct xmpp_io *io = rig_connect((mode & 3) != 0 || (mode & 8));

	io = fresh(io);
	if ((mode & 3) == 0)
		return io;
	rig_say(io, RIG_HEADER);
	rig_auth(io, "ann");
	rig_settle();
	rig_say(io, RIG_HEADER);
	rig_settle();
	if ((mode & 3) >= 2)
		rig_say(io, RIG_BIND("r"));
	rig_settle();
	if ((mode & 3) == 3)
		rig_say(io, "<enable xmlns='urn:xmpp:sm:3' resume='1'/>");
	check_all();
	return io;
}

static struct xmpp_io *
control(struct xmpp_io *io, uint8_t what)
{
	switch (what) {
	case 'n':
		settle();
		rig_cut(io);
		return begin(1);
	case 'p': rig_say(io, sm_id); break;
	case 's': settle(); break;
	case 'w': io->slow = !io->slow; break;
	}
	return io;
}

static void
talk(struct xmpp_io *io, const uint8_t *data, size_t size, size_t step)
{
	unsigned cuts = 0;

	for (size_t i = 0; i < size;) {
		const uint8_t *mark = memchr(data + i, 0xFF, size - i);
		size_t n = mark != NULL ? (size_t)(mark - data) - i : size - i;

		if (n == 0) {
			if (i + 1 < size && (data[i + 1] != 'n' || ++cuts < 8))
				io = control(io, data[i + 1]);
			i += 2;
			continue;
		}
		n = n < step ? n : step;
		rig_give(io, td_str((const char *)data + i, n));
		check_all();
		i += n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct xmpp_io *bob;

	if (size < 2)
		return 0;
	td_log_set_level(NULL, TD_LOG_ERROR);
	sm_id[0] = '\0';
	rig_start((data[0] & 16) ? "sm_max_queue = 10 max_resources = 3" : "max_resources = 3");
	rig.cc.max_stanza = 20000;
	rig.cc.max_stanza_unauth = 10000;
	rig.late = (data[0] & 4) != 0;
	for (size_t i = 0; i < RIG_IOS; i++) {
		checkers[i].done = 0;
		checker_reset(&checkers[i]);
	}
	bob = rig_login("bob", "<presence/>");
	if (!(data[0] & 32))
		rig_say(bob, "<enable xmlns='urn:xmpp:sm:3' resume='1'/>");
	rig.routed = on_routed;
	talk(begin(data[0]), data + 2, size - 2, (size_t)data[1] + 1);
	settle();
	rig_stop();
	return 0;
}
