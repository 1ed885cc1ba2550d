/* ctl_import - `tandemctl account import`: files in, requests out (move.h).
 *
 * Two kinds of input: XEP-0227 documents (pie_read.h), and lines "jid TAB secret [TAB secret]".  Either way accounts are
 * collected into a request of some hundred; their clear passwords are made into verifiers here, on all processors, so
 * the server neither sees them nor is slowed down (docs/adr/0012-bulk-accounts.md).  While the server works on one
 * request the next is being made.
 *
 * An account that does not fit into a request goes in several; the server keeps it closed until the last. */
#include "gateway/ctl_client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/base/err.h"
#include "gateway/move.h"
#include "gateway/pie_read.h"
#include "xmpp/sasl.h"

#define REQUEST_BYTES (256u << 10) /* what makes a request worth sending */
#define PART_BYTES (1u << 20)      /* of one account, before it is sent in part */
#define REQUEST_USERS 500u
#define ROUNDS_LINES 4096u /* RFC 7677's least; see the ADR */
#define ROUNDS_FILE 10000u
#define ROUNDS_MIN 4096
#define ROUNDS_MAX 1000000
#define LINE_MAX_BYTES 8192u
#define SCRAM_MAX 8u  /* verifiers of one account */
#define SHA1_KEY 40u  /* characters of its base64, even of base64 of base64 */
#define GENERATED 20u /* characters of [a-z2-7]: 100 bits */
#define THREADS_MAX 64

/* One account, or a part of one, in a request. */
struct account {
	char *jid;
	struct pie_place at;
	struct td_buf body; /* its pieces */
	char *password;     /* to be made into <creds>; NULL = none */
	struct td_buf creds;
	const char *bad; /* the password cannot be used */
	bool begin, end, disabled;
	bool secret;    /* it has a password */
	bool generated; /* which nobody knows yet */
	uint64_t created;
};
struct request {
	struct account *a;
	size_t n, cap, bytes;
	struct pie_place *pieces; /* where each of them stood */
	size_t n_pieces, cap_pieces;
};

struct import {
	int fd;
	bool replace, generate, dead;
	unsigned rounds; /* 0 = as usual for the kind of input */
	struct request now, sent;
	bool waiting;        /* for the answer to <sent> */
	unsigned usual;      /* rounds for this kind of input */
	struct account user; /* the one being read from a document; jid NULL = none */
	unsigned n_creds;
	char *gone; /* the account whose rest is not wanted; NULL = none */
	uint64_t added, replaced, existing, failed, left_out, no_password, sha1_only;
	struct {
		char name[24];
		uint64_t n;
	} counts[32];
	size_t n_counts;
};

/* ---- verifiers ---- */

struct hashing {
	struct request *r;
	unsigned rounds;
	_Atomic size_t next;
};

static void *
hash_some(void *arg)
{
	struct hashing *h = arg;
	size_t i;

	while ((i = atomic_fetch_add(&h->next, 1)) < h->r->n) {
		struct account *a = &h->r->a[i];
		struct store_scram sha1, sha256;

		if (a->password == NULL)
			continue;
		if (xmpp_scram_derive(td_cstr(a->password), h->rounds, &sha1, &sha256, NULL) < 0) {
			a->bad = "the password is empty, too long or has forbidden characters";
			continue;
		}
		move_add_verifier(&a->creds, "SCRAM-SHA-1", &sha1);
		move_add_verifier(&a->creds, "SCRAM-SHA-256", &sha256);
		td_wipe(&sha1, sizeof(sha1));
		td_wipe(&sha256, sizeof(sha256));
	}
	return NULL;
}

static void
hash_all(struct request *r, unsigned rounds)
{
	struct hashing h = { .r = r, .rounds = rounds };
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), n = 0;

	while (n + 1 < cpus && n < THREADS_MAX && (size_t)(n + 1) < r->n &&
	       pthread_create(&threads[n], NULL, hash_some, &h) == 0)
		n++;
	(void)hash_some(&h);
	for (long i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
}

/* ---- telling ---- */

static void
say_at(const struct pie_place *at, struct td_str text)
{
	fflush(stdout);
	fprintf(stderr, "%s:%lu: %.*s\n", at->file, at->line, TD_STR_ARG(text));
}

static void
account_failed(struct import *im, const struct account *a, const char *why)
{
	im->failed++;
	fprintf(stderr, "%s:%lu: %s: %s\n", a->at.file, a->at.line, a->jid, why);
}

static void
count(struct import *im, struct td_str name, uint64_t n)
{
	size_t i = 0;

	while (i < im->n_counts && !td_str_eqc(name, im->counts[i].name))
		i++;
	if (i == sizeof(im->counts) / sizeof(im->counts[0]) ||
	    name.len >= sizeof(im->counts[0].name))
		return;
	if (i == im->n_counts) {
		memcpy(im->counts[i].name, name.p, name.len);
		im->n_counts++;
	}
	im->counts[i].n += n;
}

/* ---- requests ---- */

static void
account_clear(struct account *a)
{
	free(a->jid);
	td_buf_fini(&a->body);
	td_buf_fini(&a->creds);
	if (a->password != NULL)
		td_wipe(a->password, strlen(a->password));
	free(a->password);
	*a = (struct account){ 0 };
}

static void
request_clear(struct request *r)
{
	for (size_t i = 0; i < r->n; i++)
		account_clear(&r->a[i]);
	r->n = r->n_pieces = r->bytes = 0;
}

static void
request_fini(struct request *r)
{
	request_clear(r);
	free(r->a);
	free(r->pieces);
}

static struct account *
request_add(struct request *r, const char *jid, const struct pie_place *at)
{
	if (r->n == r->cap) {
		r->cap = r->cap > 0 ? r->cap * 2 : 64;
		r->a = td_realloc(r->a, r->cap * sizeof(*r->a));
	}
	r->a[r->n] = (struct account){ .jid = td_strdup(jid), .at = *at };
	r->bytes += 128;
	return &r->a[r->n++];
}

/* The place of a new piece; its number. */
static size_t
request_piece(struct request *r, const struct pie_place *at)
{
	if (r->n_pieces == r->cap_pieces) {
		r->cap_pieces = r->cap_pieces > 0 ? r->cap_pieces * 2 : 256;
		r->pieces = td_realloc(r->pieces, r->cap_pieces * sizeof(*r->pieces));
	}
	r->pieces[r->n_pieces] = *at;
	return r->n_pieces++;
}

/* "<number> rest" */
static bool
cut_number(struct td_str *s, size_t *n)
{
	ptrdiff_t blank = td_str_chr(*s, ' ');
	int64_t v;

	if (blank < 0 || !td_str_to_dec(td_str(s->p, (size_t)blank), 0, INT64_MAX, &v))
		return false;
	*n = (size_t)v;
	*s = td_str(s->p + blank + 1, s->len - (size_t)blank - 1);
	return true;
}

/* Characters of the longest <stored-key/>. */
static size_t
longest_key(struct td_str creds)
{
	static const char open[] = "<stored-key>";
	const char *p = creds.p, *end = creds.p + creds.len;
	size_t most = 0;

	while ((p = memmem(p, (size_t)(end - p), open, sizeof(open) - 1)) != NULL) {
		const char *close;
		size_t n;

		p += sizeof(open) - 1;
		close = memchr(p, '<', (size_t)(end - p));
		n = (size_t)((close != NULL ? close : end) - p);
		most = n > most ? n : most;
	}
	return most;
}

static void
take_status(struct import *im, const struct account *a, struct td_str s)
{
	bool done = true;

	if (a->bad != NULL) {
		account_failed(im, a, a->bad);
		return;
	}
	if (td_str_starts(s, "added"))
		im->added++;
	else if (td_str_starts(s, "replaced"))
		im->replaced++;
	else if (td_str_starts(s, "going"))
		;
	else
		done = false;
	if (done) {
		im->no_password += a->end && !a->secret;
		/* 32 bytes of base64 would be SCRAM-SHA-256, whatever it is called */
		im->sha1_only += a->end && a->password == NULL && a->creds.len > 0 &&
				 longest_key(td_buf_str(&a->creds)) <= SHA1_KEY;
		if (a->generated)
			printf("%s\t%s\n", a->jid, a->password);
		return;
	}
	/* of one in several parts the rest is not wanted, and it has been told of */
	if (im->gone != NULL && strcmp(im->gone, a->jid) == 0)
		return;
	if (!a->begin || !a->end) {
		free(im->gone);
		im->gone = td_strdup(a->jid);
	}
	if (td_str_starts(s, "exists"))
		im->existing++;
	else
		account_failed(im, a, s.len > 7 ? s.p + 7 : "failed");
}

static void
take_line(struct import *im, struct td_str line)
{
	struct request *r = &im->sent;
	char what = line.len > 2 ? line.p[0] : '\0';
	size_t n;

	line = what != '\0' ? td_str(line.p + 2, line.len - 2) : line;
	if (what == '!' && cut_number(&line, &n)) {
		im->left_out++;
		if (n < r->n_pieces)
			say_at(&r->pieces[n], line);
	} else if (what == '=' && cut_number(&line, &n) && n < r->n) {
		char *text = td_strndup(line);

		take_status(im, &r->a[n], td_cstr(text));
		free(text);
	} else if (what == '+') {
		ptrdiff_t blank = td_str_chr(line, ' ');
		int64_t v;

		if (blank > 0 &&
		    td_str_to_dec(td_str(line.p + blank + 1, line.len - (size_t)blank - 1), 0,
				  INT64_MAX, &v))
			count(im, td_str(line.p, (size_t)blank), (uint64_t)v);
	}
}

static void
take_answer(struct import *im)
{
	struct td_buf b = { 0 };
	struct td_str rest;
	int status;

	if (!im->waiting)
		return;
	im->waiting = false;
	status = ctl_receive(im->fd, &b);
	rest = td_buf_str(&b);
	if (status != 0) {
		fprintf(stderr, "tandemctl: %.*s\n",
			TD_STR_ARG(status < 0 ? TD_STR("the server closed the connection")
					      : td_str_trim(rest)));
		im->dead = true;
	}
	while (status == 0 && rest.len > 0)
		take_line(im, td_str_cut(&rest, '\n'));
	request_clear(&im->sent);
	td_buf_fini(&b);
}

static void
write_user(const struct import *im, struct td_buf *b, const struct account *a)
{
	td_buf_addz(b, "<user jid='");
	td_buf_add_xml(b, td_cstr(a->jid));
	td_buf_addf(b, "' begin='%d' end='%d' replace='%d' disabled='%d' created='%" PRIu64 "'>",
		    a->begin, a->end, im->replace, a->disabled, a->created);
	td_buf_adds(b, td_buf_str(&a->body));
	td_buf_adds(b, td_buf_str(&a->creds));
	td_buf_addz(b, "</user>");
}

/* Send <now>; it is empty afterwards. */
static void
flush(struct import *im)
{
	static const char *const words[] = { "account", "load" };
	struct td_buf b = { 0 };
	struct request swap;

	if (im->now.n == 0 || im->dead)
		return;
	hash_all(&im->now, im->rounds > 0 ? im->rounds : im->usual);
	td_buf_addz(&b, "<load xmlns='" NS_LOAD "'>");
	for (size_t i = 0; i < im->now.n; i++) {
		struct account *a = &im->now.a[i];

		if (a->bad == NULL)
			write_user(im, &b, a);
		else
			td_buf_addz(&b, "<user jid='-'/>"); /* the numbers of the others count it */
	}
	td_buf_addz(&b, "</load>");
	take_answer(im);
	swap = im->sent;
	im->sent = im->now;
	im->now = swap;
	if (!im->dead && !ctl_send(im->fd, words, 2, td_buf_str(&b), false)) {
		(void)ctl_say("the server closed the connection");
		im->dead = true;
	}
	im->waiting = !im->dead;
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
}

static bool
is_full(const struct request *r)
{
	return r->n >= REQUEST_USERS || r->bytes >= REQUEST_BYTES;
}

/* ---- documents ---- */

static void
add_field(struct td_buf *b, const char *name, struct td_str value)
{
	td_buf_addf(b, "<%s>", name);
	td_buf_add_xml(b, value);
	td_buf_addf(b, "</%s>", name);
}

/* <fields> in the order iterations, salt, stored key, server key; base64, not looked into. */
static void
add_given(struct td_buf *b, const char *mech, const struct td_str fields[4])
{
	static const char *const names[] = { "iter-count", "salt", "stored-key", "server-key" };

	td_buf_addf(b, "<scram-credentials xmlns='" NS_PIE_SCRAM "' mechanism='%s'>", mech);
	for (size_t i = 0; i < 4; i++)
		add_field(b, names[i], fields[i]);
	td_buf_addz(b, "</scram-credentials>");
}

static size_t
split_at(struct td_str s, char sep, struct td_str *out, size_t max)
{
	size_t n = 0;

	while (n < max) {
		ptrdiff_t i = n + 1 < max ? td_str_chr(s, sep) : -1;

		out[n++] = td_str(s.p, i < 0 ? s.len : (size_t)i);
		if (i < 0)
			break;
		s = td_str(s.p + i + 1, s.len - (size_t)i - 1);
	}
	return n;
}

/* ejabberd before it knew <scram-credentials/>: password='scram:STORED,SERVER,SALT,ROUNDS' */
static bool
old_ejabberd(struct td_buf *creds, struct td_str password)
{
	struct td_str f[4];

	if (!td_str_starts(password, "scram:") ||
	    split_at(td_str(password.p + 6, password.len - 6), ',', f, 4) != 4)
		return false;
	add_given(creds, "SCRAM-SHA-1", (const struct td_str[]){ f[3], f[2], f[0], f[1] });
	return true;
}

static void
on_user(void *arg, const struct pie_user *u, const struct pie_place *at)
{
	struct import *im = arg;
	struct td_buf jid = { 0 };

	account_clear(&im->user);
	free(im->gone);
	im->gone = NULL;
	im->n_creds = 0;
	td_buf_addf(&jid, "%.*s@%.*s", TD_STR_ARG(u->name), TD_STR_ARG(u->domain));
	im->user.jid = td_strdup(td_buf_cstr(&jid));
	im->user.at = *at;
	im->user.begin = true;
	im->user.disabled = u->disabled;
	im->user.created = u->created;
	if (u->password.len > 0 && !old_ejabberd(&im->user.creds, u->password))
		im->user.password = td_strndup(u->password);
	td_buf_fini(&jid);
}

/* The account being read, or what there is of it, into the request. */
static void
put_user(struct import *im, bool end)
{
	struct account *a = request_add(&im->now, im->user.jid, &im->user.at);

	a->begin = im->user.begin;
	a->end = end;
	a->disabled = im->user.disabled;
	a->created = im->user.created;
	a->body = im->user.body;
	im->user.body = (struct td_buf){ 0 };
	im->user.begin = false;
	im->now.bytes += a->body.len;
	if (!end)
		return;
	a->secret = im->user.password != NULL || im->user.creds.len > 0;
	if (im->user.password != NULL) {
		a->password = im->user.password; /* both verifiers are made from it */
		im->user.password = NULL;
	} else {
		a->creds = im->user.creds;
		im->user.creds = (struct td_buf){ 0 };
	}
}

static bool
is_gone(const struct import *im)
{
	return im->gone != NULL && im->user.jid != NULL && strcmp(im->gone, im->user.jid) == 0;
}

static void
on_piece(void *arg, const char *kind, struct td_str node, struct td_str xml,
	 const struct pie_place *at)
{
	struct import *im = arg;
	struct td_buf *b = &im->user.body;

	if (is_gone(im) || im->dead)
		return;
	if (strcmp(kind, "scram") == 0) {
		if (++im->n_creds <= SCRAM_MAX && xml.len <= LINE_MAX_BYTES)
			td_buf_adds(&im->user.creds, xml);
		return;
	}
	td_buf_addf(b, "<p n='%zu' k='%s'", request_piece(&im->now, at), kind);
	if (node.len > 0) {
		td_buf_addz(b, " node='");
		td_buf_add_xml(b, node);
		td_buf_addc(b, '\'');
	}
	td_buf_addc(b, '>');
	td_buf_adds(b, xml);
	td_buf_addz(b, "</p>");
	if (b->len < PART_BYTES)
		return;
	put_user(im, false);
	flush(im);
}

static void
on_user_end(void *arg, bool whole)
{
	struct import *im = arg;

	if (!is_gone(im) && !im->dead) {
		if (whole)
			put_user(im, true);
		else
			account_failed(
				im, &im->user,
				im->user.begin
					? "not all of the account can be read: it is not made"
					: "not all of the account can be read: it stays closed "
					  "until it is imported again");
	}
	account_clear(&im->user);
	if (is_full(&im->now))
		flush(im);
}

static void
on_trouble(void *arg, const struct pie_place *at, const char *text)
{
	struct import *im = arg;

	im->left_out++;
	say_at(at, td_cstr(text));
}

/* ---- lines ---- */

static void
line_failed(struct import *im, const struct pie_place *at, const char *why)
{
	im->failed++;
	say_at(at, td_cstr(why));
}

/* A secret of a line: a verifier or a clear password. */
static const char *
line_secret(struct account *a, struct td_str s)
{
	static const struct {
		const char *scheme, *mech;
	} forms[] = { { "{SCRAM-SHA-256}", "SCRAM-SHA-256" }, { "{SCRAM-SHA-1}", "SCRAM-SHA-1" } };
	struct td_str f[4];

	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(forms[i].scheme);

		if (!td_str_starts(s, forms[i].scheme))
			continue;
		if (split_at(td_str(s.p + n, s.len - n), '$', f, 4) != 4)
			return "malformed verifier: want iterations$salt$stored-key$server-key";
		add_given(&a->creds, forms[i].mech, f);
		return NULL;
	}
	if (s.len == 0)
		return "the password is empty";
	if (memchr(s.p, '\0', s.len) != NULL)
		return "the password has forbidden characters";
	if (a->password != NULL)
		return "more than one password";
	a->password = td_strndup(s);
	return NULL;
}

static void
take_text_line(struct import *im, struct td_str line, const struct pie_place *at)
{
	struct td_str f[3];
	const char *why = NULL;
	struct account *a;
	char *jid;
	size_t n;

	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0 || line.p[0] == '#')
		return;
	n = split_at(line, '\t', f, 3);
	if (n == 1 && !im->generate) {
		line_failed(im, at, "no TAB between address and password");
		return;
	}
	jid = td_strndup(f[0]);
	a = request_add(&im->now, jid, at);
	free(jid);
	a->begin = a->end = a->secret = true;
	if (n == 1) {
		a->password = td_alloc(GENERATED + 1);
		td_random_id(a->password, GENERATED);
		a->generated = true;
	}
	for (size_t i = 1; i < n && why == NULL; i++)
		why = line_secret(a, f[i]);
	if (why == NULL && a->password != NULL && a->creds.len > 0)
		why = "a password and a verifier";
	if (why != NULL)
		a->bad = why;
	if (is_full(&im->now))
		flush(im);
}

static bool
read_lines(struct import *im, const char *name, int fd, struct td_buf *b)
{
	struct pie_place at = { name, 0 };
	bool too_long = false, end = false;

	while (!end && !im->dead) {
		ssize_t n = read(fd, td_buf_reserve(b, 65536), 65536);
		size_t from = 0;
		char *nl;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			say_at(&at, td_cstr(strerror(errno)));
			return false;
		}
		b->len += (size_t)n;
		end = n == 0;
		if (end && (b->len > 0 || too_long)) /* the last line has no end */
			td_buf_addc(b, '\n');
		while ((nl = memchr(b->p + from, '\n', b->len - from)) != NULL) {
			struct td_str line = td_str(b->p + from, (size_t)(nl - b->p) - from);

			at.line++;
			if (too_long || line.len > LINE_MAX_BYTES)
				line_failed(im, &at, "the line is too long");
			else
				take_text_line(im, line, &at);
			too_long = false;
			from += line.len + 1;
		}
		td_buf_drain(b, from);
		if (b->len > LINE_MAX_BYTES) {
			too_long = true;
			td_buf_clear(b);
		}
	}
	return true;
}

/* ---- the command ---- */

/* One input, of whichever kind. */
static bool
read_input(struct import *im, struct pie_reader *reader, const char *path)
{
	bool in = strcmp(path, "-") == 0, ok = true;
	int fd = in ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
	struct td_buf head = { 0 };
	struct td_str text;
	ssize_t n = 1;

	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	while (n > 0 && td_str_trim(td_buf_str(&head)).len == 0 && head.len < 65536) {
		n = read(fd, td_buf_reserve(&head, 65536), 65536);
		head.len += n > 0 ? (size_t)n : 0;
	}
	if (td_str_starts(td_buf_str(&head),
			  "\xef\xbb\xbf")) /* the mark of UTF-8 is nobody's name */
		td_buf_drain(&head, 3);
	text = td_str_trim(td_buf_str(&head));
	if (text.len > 0 && text.p[0] == '<') {
		im->usual = ROUNDS_FILE;
		ok = pie_read(reader, path, fd, td_buf_str(&head));
	} else {
		im->usual = ROUNDS_LINES;
		ok = read_lines(im, in ? "(stdin)" : path, fd, &head);
	}
	flush(im);
	take_answer(im); /* what it names lives in the reader */
	td_wipe(head.p, head.cap);
	td_buf_fini(&head);
	close(fd);
	return ok;
}

static void
summary(const struct import *im)
{
	FILE *out = im->generate ? stderr : stdout; /* there the passwords are */

	fprintf(out, "%" PRIu64 " accounts added, %" PRIu64 " replaced, %" PRIu64 " failed\n",
		im->added, im->replaced, im->failed);
	if (im->existing > 0)
		fprintf(out,
			"%" PRIu64 " exist already and were left alone (--replace replaces them)\n",
			im->existing);
	if (im->no_password > 0)
		fprintf(out,
			"%" PRIu64
			" came without a password (tandemctl account password sets one)\n",
			im->no_password);
	if (im->sha1_only > 0)
		fprintf(out,
			"%" PRIu64 " have a password for SCRAM-SHA-1 only: clients that choose "
			"SCRAM-SHA-256 cannot sign in;\n  docs/guide/moving.md says what to do\n",
			im->sha1_only);
	for (size_t i = 0; i < im->n_counts; i++)
		fprintf(out, "  %s %" PRIu64 "\n", im->counts[i].name, im->counts[i].n);
	if (im->left_out > 0)
		fprintf(out, "%" PRIu64 " pieces were left out, see above\n", im->left_out);
}

/* Options and how many words they took; -1: wrong usage. */
static int
read_options(struct import *im, char **argv, int n)
{
	int i = 0;
	int64_t v;

	for (; i < n && strncmp(argv[i], "--", 2) == 0; i++) {
		if (strcmp(argv[i], "--replace") == 0) {
			im->replace = true;
		} else if (strcmp(argv[i], "--generate") == 0) {
			im->generate = true;
		} else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < n &&
			   td_str_to_dec(td_cstr(argv[i + 1]), ROUNDS_MIN, ROUNDS_MAX, &v)) {
			im->rounds = (unsigned)v;
			i++;
		} else {
			fprintf(stderr,
				"tandemctl: account import [--replace] [--generate] [--rounds "
				"%d..%d] "
				"[FILE...]\n",
				ROUNDS_MIN, ROUNDS_MAX);
			return -1;
		}
	}
	return i;
}

int
ctl_import(int fd, char **argv, int n)
{
	struct import im = { .fd = fd };
	const struct pie_sink sink = { on_user, on_piece, on_user_end, on_trouble, &im };
	struct pie_reader *reader;
	int i = read_options(&im, argv, n);
	bool ok = true;

	if (i < 0)
		return 2;
	reader = pie_reader_new(&sink);
	if (i == n)
		ok = read_input(&im, reader, "-");
	for (; i < n && !im.dead; i++)
		ok = read_input(&im, reader, argv[i]) && ok;
	summary(&im);
	pie_reader_free(reader);
	request_fini(&im.now);
	request_fini(&im.sent);
	account_clear(&im.user);
	free(im.gone);
	return ok && im.failed == 0 && !im.dead ? 0 : 1;
}
