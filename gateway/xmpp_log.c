/* xmpp_log - formats, instances, and the lines a worker collects in a turn.
 *
 * A set holds the instances of one generation; it is immutable, but for the file behind a
 * descriptor (reopen puts another file there) and the heartbeat timers, which are main's.
 * Each worker holds its own reference, changed by a mail. */
#include "gateway/xmpp_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "gateway/process.h"

#define FLUSH_AT (64u << 10)
#define ARG_MAX_LEN 64

/* ---- formats ---- */

enum macro {
	M_LITERAL = 0,
	M_TIME,     /* %t, %t{strftime} */
	M_USEC,     /* %us{decimals} */
	M_KIND,     /* %st */
	M_OBSCURED, /* %so */
	M_RAW,      /* %sr */
	M_FROM,     /* %af */
	M_TO,       /* %at */
	M_ID,       /* %ai */
	M_TYPE,     /* %ay */
	M_PEER,     /* %H */
	M_USER,     /* %U */
	M_EMPTY,    /* known to custom_logger, nothing to say here */
	M_COUNT     /* must be last */
};

static const struct {
	const char *name;
	enum macro macro;
	bool arg; /* takes {...} */
} macros[] = {
	{ "vctx_conn", M_EMPTY, true }, { "vctx_mess", M_EMPTY, true }, { "us", M_USEC, true },
	{ "st", M_KIND, false },        { "so", M_OBSCURED, false },    { "sr", M_RAW, false },
	{ "af", M_FROM, false },        { "at", M_TO, false },          { "ai", M_ID, false },
	{ "ay", M_TYPE, false },        { "t", M_TIME, true },          { "H", M_PEER, false },
	{ "U", M_USER, false },         { "A", M_EMPTY, false },
};

struct op {
	enum macro macro;
	char sep;   /* the literal byte that follows; 0 = none */
	char *text; /* literal, or argument; NULL = none */
	size_t len;
};

struct gw_xlog_format {
	struct op *ops;
	size_t n;
};

void
gw_xlog_format_free(struct gw_xlog_format *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n; i++)
		free(f->ops[i].text);
	free(f->ops);
	free(f);
}

static struct op *
add_op(struct gw_xlog_format *f, enum macro m, const char *text, size_t len)
{
	struct op *op;

	f->ops = td_realloc(f->ops, (f->n + 1) * sizeof(*f->ops));
	op = &f->ops[f->n++];
	*op = (struct op){ .macro = m, .len = len };
	if (text != NULL)
		op->text = td_strndup(td_str(text, len));
	return op;
}

/* One macro at p (behind the %); the bytes it takes, or TD_E_INVAL. */
static int
add_macro(struct gw_xlog_format *f, const char *p, size_t left, bool content, struct td_err *err)
{
	size_t best = 0, found = 0, n, close = 0;

	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
		n = strlen(macros[i].name);
		if (n > best && n <= left && memcmp(p, macros[i].name, n) == 0) {
			best = n;
			found = i;
		}
	}
	if (best == 0)
		return td_fail(err, TD_E_INVAL, "no macro is called %%%.*s",
			       (int)(left < 10 ? left : 10), p);
	if (macros[found].macro == M_RAW && !content)
		return td_fail(err, TD_E_INVAL,
			       "%%sr shows what people write: it needs log_content = true");
	if (!macros[found].arg || best >= left || p[best] != '{') {
		(void)add_op(f, macros[found].macro, NULL, 0);
		return (int)best;
	}
	while (best + 1 + close < left && p[best + 1 + close] != '}')
		close++;
	if (best + 1 + close >= left || close > ARG_MAX_LEN)
		return td_fail(err, TD_E_INVAL, "%%%s{ is not closed", macros[found].name);
	(void)add_op(f, macros[found].macro, p + best + 1, close);
	return (int)(best + close + 2);
}

int
gw_xlog_compile(struct td_str text, bool content, struct gw_xlog_format **out, struct td_err *err)
{
	struct gw_xlog_format *f = td_zalloc(sizeof(*f));

	for (size_t i = 0; i < text.len;) {
		size_t start = i;
		int n;

		while (i < text.len && text.p[i] != '%')
			i++;
		if (i > start)
			(void)add_op(f, M_LITERAL, text.p + start, i - start);
		if (i == text.len)
			break;
		if (++i < text.len && text.p[i] == '%') {
			(void)add_op(f, M_LITERAL, "%", 1);
			i++;
			continue;
		}
		n = add_macro(f, text.p + i, text.len - i, content, err);
		if (n < 0) {
			gw_xlog_format_free(f);
			return n;
		}
		i += (size_t)n;
	}
	for (size_t i = 0; i + 1 < f->n; i++)
		if (f->ops[i + 1].macro == M_LITERAL)
			f->ops[i].sep = f->ops[i + 1].text[0];
	*out = f;
	return 0;
}

/* So that a reader can split the line at the separators again. */
static void
add_escaped(struct td_buf *out, struct td_str s, char sep)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\n')
			td_buf_addz(out, "\\n");
		else if (c == '\r')
			td_buf_addz(out, "\\r");
		else if (c < 0x20 || c == 0x7F)
			td_buf_addf(out, "\\x%02x", c);
		else if (c == '\\' || (c == (unsigned char)sep && sep != '\0'))
			td_buf_addf(out, "\\%c", c);
		else
			td_buf_addc(out, (char)c);
	}
}

static void
add_time(struct td_buf *out, const struct op *op, uint64_t now_us)
{
	time_t t = (time_t)(now_us / 1000000);
	char buf[256];
	struct tm tm;

	if (op->text == NULL) {
		td_buf_addf(out, "%lld", (long long)t);
		return;
	}
	localtime_r(&t, &tm);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the operator's own format */
	add_escaped(out, td_str(buf, strftime(buf, sizeof(buf), op->text, &tm)), op->sep);
#pragma GCC diagnostic pop
}

static void
add_usec(struct td_buf *out, const struct op *op, uint64_t now_us)
{
	int64_t digits = 6;
	char frac[12];

	if (op->text != NULL && !td_str_to_i64(td_str(op->text, op->len), 0, 6, &digits))
		digits = 6;
	(void)snprintf(frac, sizeof(frac), ".%06u", (unsigned)(now_us % 1000000));
	td_buf_addf(out, "%llu%.*s", (unsigned long long)(now_us / 1000000),
		    digits > 0 ? (int)digits + 1 : 0, frac);
}

/* Character data becomes x per character, blanks stay; tags are kept.  Raw bytes may hold '>' in
 * attributes and CDATA sections. */
static void
add_obscured(struct td_buf *out, struct td_str xml)
{
	enum {
		TEXT = 0,
		TAG,
		CDATA
	} in = TEXT;
	char quote = '\0';

	for (size_t i = 0; i < xml.len; i++) {
		char c = xml.p[i];

		if (in == TAG) {
			td_buf_addc(out, c);
			if (quote != '\0')
				quote = c == quote ? '\0' : quote;
			else if (c == '"' || c == '\'')
				quote = c;
			else if (c == '>')
				in = TEXT;
		} else if (in == TEXT && c == '<') {
			if (td_str_starts(td_str(xml.p + i, xml.len - i), "<![CDATA[")) {
				in = CDATA;
				i += 8;
			} else {
				in = TAG;
				td_buf_addc(out, c);
			}
		} else if (in == CDATA && td_str_starts(td_str(xml.p + i, xml.len - i), "]]>")) {
			in = TEXT;
			i += 2;
		} else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
			td_buf_addc(out, c);
		} else if (((unsigned char)c & 0xC0u) != 0x80u) {
			td_buf_addc(out, 'x');
		}
	}
}

static void
add_stanza(struct td_buf *out, const struct op *op, const struct xmpp_stanza *s)
{
	/* writing seals, and this one may not be finished yet */
	struct xmpp_stanza *copy = xmpp_stanza_dup(s);
	struct td_buf xml = { 0 }, hidden = { 0 };

	xmpp_stanza_write(copy, false, &xml);
	if (op->macro == M_OBSCURED)
		add_obscured(&hidden, td_buf_str(&xml));
	add_escaped(out, td_buf_str(op->macro == M_OBSCURED ? &hidden : &xml), op->sep);
	td_buf_fini(&xml);
	td_buf_fini(&hidden);
	xmpp_stanza_unref(&copy);
}

static struct td_str
type_of(const struct xmpp_stanza *s)
{
	const char *name = xmpp_type_name(s->type);

	if (name == NULL && s->kind == XK_MESSAGE && s->type == XT_NONE)
		name = "normal"; /* RFC 6121 5.2.2: the default */
	return td_cstr(name);
}

static void
add_macro_value(const struct op *op, const struct xmpp_stanza *s, bool received, const char *peer,
		uint64_t now_us, struct td_buf *out)
{
	static const char *const kinds[] = { "stream", "message", "presence", "iq" };
	struct td_str v = TD_STR_NULL;

	switch (op->macro) {
	case M_LITERAL: td_buf_add(out, op->text, op->len); return;
	case M_TIME: add_time(out, op, now_us); return;
	case M_USEC: add_usec(out, op, now_us); return;
	case M_OBSCURED:
	case M_RAW:
		if (s != NULL)
			add_stanza(out, op, s);
		return;
	case M_KIND: v = s != NULL ? td_cstr(kinds[s->kind <= XK_IQ ? s->kind : 0]) : v; break;
	case M_FROM: v = s != NULL ? s->from.full : v; break;
	case M_TO: v = s != NULL ? s->to.full : v; break;
	case M_ID: v = s != NULL ? s->id : v; break;
	case M_TYPE: v = s != NULL ? type_of(s) : v; break;
	case M_USER: v = s == NULL ? v : received ? s->from.bare : s->to.bare; break;
	case M_PEER: v = td_cstr(peer); break;
	case M_EMPTY:
	case M_COUNT: break;
	}
	add_escaped(out, v, op->sep);
}

void
gw_xlog_format(const struct gw_xlog_format *f, const struct xmpp_stanza *s, bool received,
	       const char *peer, uint64_t now_us, struct td_buf *out)
{
	for (size_t i = 0; i < f->n; i++)
		add_macro_value(&f->ops[i], s, received, peer, now_us, out);
	td_buf_addc(out, '\n');
}

/* ---- instances ---- */

struct instance {
	struct gw *gw;
	char *name, *path;
	mode_t mode;
	int fd;                                             /* -1 = not opened (check only) */
	struct gw_xlog_format *received, *delivered, *beat; /* NULL = not written */
	unsigned heartbeat_ms;
	struct td_timer timer; /* on the main loop */
	_Atomic bool failing;
};

struct gw_xlog_set {
	atomic_int refs;
	struct instance **all;
	size_t n;
};

/* What one worker has: its reference, and the lines of this turn by instance. */
struct slot {
	struct gw_xlog_set *set;
	struct td_buf *lines;
	struct td_task task;
	struct td_loop *loop;
};

struct gw_xmpp_log {
	struct gw_xlog_set *set; /* main's */
	struct slot slots[GW_MAX_WORKERS];
};

static uint64_t
wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
free_instance(struct instance *in)
{
	if (in->fd >= 0)
		close(in->fd);
	gw_xlog_format_free(in->received);
	gw_xlog_format_free(in->delivered);
	gw_xlog_format_free(in->beat);
	free(in->name);
	free(in->path);
	free(in);
}

void
gw_xlog_set_unref(struct gw_xlog_set **sp)
{
	struct gw_xlog_set *s = *sp;

	*sp = NULL;
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (size_t i = 0; i < s->n; i++)
		free_instance(s->all[i]);
	free(s->all);
	free(s);
}

static int
open_file(const struct instance *in, struct td_err *err)
{
	/* not blocking: a FIFO without a reader must not hold up a worker */
	int fd = open(in->path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, in->mode);
	struct stat st;

	if (fd < 0)
		return td_fail(err, TD_E_IO, "xmpp_logger \"%s\": cannot open %s: %s", in->name,
			       in->path, strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0) {
		(void)fchmod(fd, in->mode);
		gw_process_own(in->gw, in->path);
	}
	return fd;
}

static int
compile(const struct instance *in, const struct conf *c, const struct conf_at *at,
	const char *option, struct gw_xlog_format **out, struct td_err *err)
{
	int rc =
		gw_xlog_compile(conf_str(c, at, option), conf_bool(c, at, "log_content"), out, err);

	return rc < 0 ? td_wrap(err, "xmpp_logger \"%s\": %s", in->name, option) : 0;
}

static int
load_instance(struct gw *gw, const struct conf *c, const struct conf_scope *s, bool check_only,
	      struct instance **out, struct td_err *err)
{
	struct conf_at at = { .scope = s };
	struct instance *in = td_zalloc(sizeof(*in));
	int rc = 0;

	in->gw = gw;
	in->fd = -1;
	in->name = td_strndup(conf_scope_name(s));
	in->path = gw_path(gw, conf_str(c, &at, "logfile"));
	in->mode = (mode_t)conf_int(c, &at, "logmode");
	in->heartbeat_ms = (unsigned)conf_int(c, &at, "heartbeat") * 1000u;
	if (conf_bool(c, &at, "log_reception"))
		rc = compile(in, c, &at, "log_reception_format", &in->received, err);
	if (rc == 0 && conf_bool(c, &at, "log_delivery"))
		rc = compile(in, c, &at, "log_delivery_format", &in->delivered, err);
	if (rc == 0)
		rc = compile(in, c, &at, "log_heartbeat_format", &in->beat, err);
	if (rc == 0 && !check_only && (in->fd = open_file(in, err)) < 0)
		rc = in->fd;
	if (rc < 0)
		free_instance(in);
	else
		*out = in;
	return rc;
}

int
gw_xmpp_log_prepare(struct gw *gw, const struct conf *c, bool check_only, struct gw_xlog_set **out,
		    struct td_err *err)
{
	struct gw_xlog_set *set = td_zalloc(sizeof(*set));
	const struct conf_scope *s = NULL;

	atomic_init(&set->refs, 1);
	while ((s = conf_next(c, NULL, "xmpp_logger", s)) != NULL) {
		struct instance *in;
		int rc;

		if (!conf_bool(c, &(struct conf_at){ .scope = s }, "enabled"))
			continue;
		rc = load_instance(gw, c, s, check_only, &in, err);
		if (rc < 0) {
			gw_xlog_set_unref(&set);
			return rc;
		}
		set->all = td_realloc(set->all, (set->n + 1) * sizeof(struct instance *));
		set->all[set->n++] = in;
	}
	*out = set;
	return 0;
}

static void
write_lines(struct instance *in, struct td_buf *lines)
{
	if (lines->len == 0)
		return;
	if (write(in->fd, lines->p, lines->len) != (ssize_t)lines->len) {
		if (!atomic_exchange(&in->failing, true))
			td_log_error(&in->gw->log, "xmpp-log-failed",
				     "instance=%s path=%s error=%s", td_escz(in->name),
				     td_escz(in->path), td_escz(strerror(errno)));
	} else {
		atomic_store(&in->failing, false);
	}
	td_buf_clear(lines);
}

static void
on_beat(struct td_timer *t)
{
	struct instance *in = (struct instance *)((char *)t - offsetof(struct instance, timer));
	struct td_buf line = { 0 };

	gw_xlog_format(in->beat, NULL, false, NULL, wall_us(), &line);
	write_lines(in, &line);
	td_buf_fini(&line);
	td_timer_set(in->gw->main_loop, &in->timer, in->heartbeat_ms);
}

/* ---- per worker ---- */

static void
on_turn_end(struct td_task *t)
{
	struct slot *slot = (struct slot *)((char *)t - offsetof(struct slot, task));

	for (size_t i = 0; slot->set != NULL && i < slot->set->n; i++)
		write_lines(slot->set->all[i], &slot->lines[i]);
}

static void
drop_slot(struct slot *slot)
{
	on_turn_end(&slot->task);
	for (size_t i = 0; slot->set != NULL && i < slot->set->n; i++)
		td_buf_fini(&slot->lines[i]);
	free(slot->lines);
	slot->lines = NULL;
	gw_xlog_set_unref(&slot->set);
}

static void
take_set(struct gw_worker *w, void *arg)
{
	struct slot *slot = &w->gw->xmpp_log->slots[w->index];

	drop_slot(slot);
	slot->set = arg;
	slot->loop = w->loop;
	slot->task.run = on_turn_end;
	slot->lines = td_zalloc((slot->set->n + 1) * sizeof(*slot->lines));
	w->env->log_stanzas = slot->set->n > 0;
}

void
gw_xmpp_log_stanza(struct xmpp_env *env, bool received, const struct xmpp_stanza *s,
		   const char *peer)
{
	struct gw_worker *w = gw_worker_of(env);
	struct slot *slot = &w->gw->xmpp_log->slots[w->index];
	uint64_t now = wall_us();

	for (size_t i = 0; slot->set != NULL && i < slot->set->n; i++) {
		struct instance *in = slot->set->all[i];
		const struct gw_xlog_format *f = received ? in->received : in->delivered;

		if (f == NULL)
			continue;
		gw_xlog_format(f, s, received, peer, now, &slot->lines[i]);
		if (slot->lines[i].len > FLUSH_AT)
			write_lines(in, &slot->lines[i]);
		td_loop_defer(slot->loop, &slot->task);
	}
}

/* ---- the module ---- */

void
gw_xmpp_log_init(struct gw *gw)
{
	gw->xmpp_log = td_zalloc(sizeof(*gw->xmpp_log));
}

static void
stop_beats(struct gw *gw, struct gw_xlog_set *set)
{
	for (size_t i = 0; set != NULL && i < set->n; i++)
		td_timer_clear(gw->main_loop, &set->all[i]->timer);
}

void
gw_xmpp_log_fini(struct gw *gw)
{
	struct gw_xmpp_log *xl = gw->xmpp_log;

	if (xl == NULL)
		return;
	for (size_t i = 0; i < GW_MAX_WORKERS; i++)
		drop_slot(&xl->slots[i]);
	stop_beats(gw, xl->set);
	gw_xlog_set_unref(&xl->set);
	free(xl);
	gw->xmpp_log = NULL;
}

void
gw_xmpp_log_switch(struct gw *gw, struct gw_xlog_set *set)
{
	struct gw_xmpp_log *xl = gw->xmpp_log;

	stop_beats(gw, xl->set);
	gw_xlog_set_unref(&xl->set);
	xl->set = set;
	for (size_t i = 0; i < set->n; i++) {
		struct instance *in = set->all[i];

		in->timer.fire = on_beat;
		if (in->heartbeat_ms > 0)
			td_timer_set(gw->main_loop, &in->timer, in->heartbeat_ms);
	}
	for (unsigned i = 0; i < gw->n_workers; i++) {
		atomic_fetch_add(&set->refs, 1);
		gw_worker_post(gw->workers[i], take_set, set);
	}
}

int
gw_xmpp_log_reopen(struct gw *gw, const char *instance, struct td_err *err)
{
	struct gw_xlog_set *set = gw->xmpp_log->set;
	bool found = instance == NULL;
	int rc = 0;

	for (size_t i = 0; set != NULL && i < set->n; i++) {
		struct instance *in = set->all[i];
		int fd;

		if (instance != NULL && strcmp(instance, in->name) != 0)
			continue;
		found = true;
		fd = open_file(in, err);
		if (fd < 0) {
			rc = fd;
			continue;
		}
		/* the number stays: a worker may be about to write to it */
		if (dup3(fd, in->fd, O_CLOEXEC) < 0)
			rc = td_fail(err, TD_E_IO, "dup: %s", strerror(errno));
		close(fd);
	}
	if (!found)
		return td_fail(err, TD_E_NOTFOUND, "no xmpp_logger is called \"%s\"", instance);
	return rc;
}
