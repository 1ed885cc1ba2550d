/* Values, fallback, domains, peers, snapshots. */
#include <check.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "conf/conf.h"
#include "gateway/base/err.h"

static struct conf *
load(const char *text)
{
	struct conf_report report;
	struct conf *c = NULL;
	int rc = conf_load_text("test.conf", td_cstr(text), &c, &report);

	ck_assert_msg(rc == 0, "%s", report.text.p);
	conf_report_fini(&report);
	return c;
}

static void
eq(struct td_str got, const char *want)
{
	if (want == NULL)
		ck_assert_ptr_null(got.p);
	else
		ck_assert_msg(td_str_eqc(got, want), "got \"%.*s\", want \"%s\"", TD_STR_ARG(got),
			      want);
}

static const struct conf_scope *
find(const struct conf *c, const struct conf_scope *parent, const char *kind, const char *name)
{
	const struct conf_scope *s = NULL;

	while ((s = conf_next(c, parent, kind, s)) != NULL)
		if (name == NULL || td_str_eqc(conf_scope_name(s), name))
			return s;
	ck_abort_msg("no %s %s", kind, name != NULL ? name : "");
	return NULL;
}

/* ---- values ---- */

static const struct {
	const char *value;
	int want; /* -1: an error */
} bools[] = {
	{ "true", 1 },     { "FALSE", 0 }, { "on", 1 },    { "Off", 0 }, { "enabled", 1 },
	{ "disabled", 0 }, { "yes", 1 },   { "no", 0 },    { "1", 1 },   { "0", 0 },
	{ "\"true\"", 1 }, { "2", -1 },    { "\"\"", -1 }, { "t", -1 },  { "( true )", -1 },
};

START_TEST(value_bool)
{
	struct conf_report report;
	struct conf *c = NULL;
	char text[100];
	int rc;

	(void)snprintf(text, sizeof(text), "use_ipv6 = %s", bools[_i].value);
	rc = conf_load_text("t", td_cstr(text), &c, &report);
	ck_assert_int_eq(rc, bools[_i].want < 0 ? TD_E_INVAL : 0);
	if (rc == 0)
		ck_assert_int_eq(conf_bool(c, NULL, "use_ipv6"), bools[_i].want);
	conf_report_fini(&report);
	conf_unref(&c);
}
END_TEST

static const struct {
	const char *text, *option;
	int64_t want;
} numbers[] = {
	{ "workers = 12", "workers", 12 },
	{ "workers = 0x1f", "workers", 31 },
	{ "workers = 017", "workers", 15 },
	{ "", "workers", 0 },
	{ "", "match_cache_size", 16384 },
	{ "store { busy_ms = 7 }", "busy_ms", 7 },
	{ "", "lua_memory", 33554432 },
	{ "", "lua_instructions", 10000000 },
	{ "", "lua_time_ms", 200 },
	{ "", "max_stanza_size", 262144 },
	{ "", "max_stanza_size_unauth", 65536 },
	{ "xmpp { max_depth = 50 }", "max_depth", 50 },
	{ "", "negotiation_timeout", 60 },
	{ "", "sm_resume_timeout", 600 },
	{ "", "commit_timeout_ms", 5000 },
	{ "", "file_mode", 0660 },
};

START_TEST(value_number)
{
	struct conf *c = load(numbers[_i].text);

	ck_assert_int_eq(conf_int(c, NULL, numbers[_i].option), numbers[_i].want);
	conf_unref(&c);
}
END_TEST

START_TEST(value_mode)
{
	struct conf *c = load("ec_logger a { mainlog_mode = 640 paniclog_mode = \"0600\" }");
	struct conf_at at = { .scope = find(c, NULL, "ec_logger", "a") };

	ck_assert_int_eq(conf_int(c, &at, "mainlog_mode"), 0640);
	ck_assert_int_eq(conf_int(c, &at, "paniclog_mode"), 0600);
	ck_assert_int_eq(conf_int(c, &at, "rejectlog_mode"), 0640);
	conf_unref(&c);
}
END_TEST

START_TEST(value_throttle)
{
	struct conf *c =
		load("outbound_throttle_messages = \"100/60\" outbound_throttle_connections = 010");
	unsigned n, w;

	ck_assert(conf_throttle(c, NULL, "outbound_throttle_messages", &n, &w));
	ck_assert_uint_eq(n, 100);
	ck_assert_uint_eq(w, 60);
	ck_assert(conf_throttle(c, NULL, "outbound_throttle_connections", &n, &w));
	ck_assert_uint_eq(n, 10);
	ck_assert_uint_eq(w, 1);
	conf_unref(&c);
	c = load("outbound_throttle_messages = 0");
	ck_assert(!conf_throttle(c, NULL, "outbound_throttle_messages", &n, &w));
	ck_assert(!conf_throttle(c, NULL, "outbound_throttle_connections", &n, &w));
	conf_unref(&c);
}
END_TEST

START_TEST(value_list_dict)
{
	struct conf *c =
		load("xmpp {} admins = ( a@x \"b c\" ) relay_domains = one.example "
		     "prohibited_hosts = ()\n"
		     "http_listener { context = [ K = v, \"two w\" = \"x y\" ] Listen *:0 {} }\n"
		     "domain d { xmpp_role = SERVER }");
	struct conf_at at = { .scope = find(c, NULL, "http_listener", NULL) };
	const struct td_str *items;
	size_t n;

	items = conf_list(c, NULL, "admins", &n);
	ck_assert_uint_eq(n, 2);
	eq(items[1], "b c");
	ck_assert_str_eq(items[1].p, "b c"); /* NUL-terminated */
	items = conf_list(c, NULL, "relay_domains", &n);
	ck_assert_uint_eq(n, 1);
	eq(items[0], "one.example");
	ck_assert_ptr_null(conf_list(c, NULL, "prohibited_hosts", &n));
	ck_assert_uint_eq(n, 0);
	ck_assert(conf_is_set(c, NULL, "prohibited_hosts"));
	ck_assert(conf_list_has(c, NULL, "admins", "A@x"));
	ck_assert(!conf_list_has(c, NULL, "admins", "c@x"));
	eq(conf_dict(c, &at, "context", "k"), "v");
	eq(conf_dict(c, &at, "context", "two w"), "x y");
	eq(conf_dict(c, &at, "context", "none"), NULL);
	eq(conf_dict(c, NULL, "authparameters", "uri"), NULL);
	at = (struct conf_at){ .domain = TD_STR("d") };
	ck_assert(conf_list_has(c, &at, "xmpp_role", "server"));
	conf_unref(&c);
}
END_TEST

START_TEST(value_none_stops)
{
	struct conf *c = load("xmpp {} tls_certificate = g.pem\n"
			      "http_listener { tls_certificate = l.pem Listen *:1 { "
			      "tls_certificate = NONE } Listen *:2 {} }");
	const struct conf_scope *l = find(c, NULL, "http_listener", NULL);
	struct conf_at at = { .scope = find(c, l, "listen", "*:1") };

	eq(conf_str(c, &at, "tls_certificate"), NULL);
	ck_assert(conf_is_set(c, &at, "tls_certificate"));
	at.scope = find(c, l, "listen", "*:2");
	eq(conf_str(c, &at, "tls_certificate"), "l.pem");
	conf_unref(&c);
}
END_TEST

/* Every row of the table is sound: its default passes, and it can be looked up. */
START_TEST(table)
{
	struct conf *c = load("");

	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		ck_assert_ptr_nonnull(o->doc);
		ck_assert_uint_ne(o->scopes, 0);
		ck_assert_int_lt(o->type, CT_COUNT);
		if (o->type == CT_ENUM)
			ck_assert_msg(o->words != NULL, "%s", o->name);
		for (const char *p = o->name; *p != '\0'; p++)
			ck_assert_msg((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
					      *p == '_',
				      "%s", o->name);
		for (const struct conf_option *q = o + 1; q->name != NULL; q++)
			ck_assert_msg(strcmp(o->name, q->name) != 0 ||
					      (o->scopes & q->scopes & ~(CS_LISTEN | CS_PEER)) == 0,
				      "%s twice in one scope", o->name);
		conf_str(c, NULL, o->name);
	}
	conf_unref(&c);
}
END_TEST

/* ---- fallback ---- */

static const char peers_text[] =
	"xmpp {} idle_timeout = 1\n"
	"domain h { xmpp_role = server }\n"
	"xmpp_listener {\n"
	"  AuthParameters = [ uri = \"store://\" ]\n"
	"  idle_time = 1  negotiation_timeout = 11\n"
	"  Peer 10.0.0.0/8 { idle_time = 2 tls_ciphers = P2 ping_interval = 22 }\n"
	"  Peer 10.1.0.0/16 { idle_time = 3 }\n"
	"  Peer 10.1.2.3 { tls_ciphers = P4 }\n"
	"  Peer 127.0.0.0/8 { idle_time = 5 }\n"
	"  Peer 2001:db8::/32 { idle_time = 6 }\n"
	"  Peer ::1 { idle_time = 9 }\n"
	"  Listen *:5222 { tls_ciphers = N Peer 10.1.2.0/24 { idle_time = 7 } }\n"
	"  Listen *:5223 { idle_time = 8 }\n"
	"}\n"
	"xmpp { max_depth = 33 negotiation_timeout = 44 }\n";

static const struct {
	const char *listen, *peer; /* peer: "unix" */
	int idle;
	const char *ciphers;
	int ping;
} peers[] = {
	{ "*:5222", NULL, 1, "N", 300 },
	{ "*:5222", "192.0.2.1", 1, "N", 300 },
	{ "*:5222", "10.9.9.9", 2, "N", 22 },
	{ "*:5222", "10.1.9.9", 3, "N", 22 },
	{ "*:5222", "10.1.2.9", 7, "N", 22 },
	{ "*:5222", "10.1.2.3", 7, "N", 22 },
	{ "*:5223", "10.1.2.3", 8, "P4", 22 },
	{ "*:5223", "10.1.9.9", 8, "P2", 22 },
	{ "*:5222", "unix", 5, "N", 300 },
	{ "*:5222", "127.9.9.9", 5, "N", 300 },
	{ "*:5222", "::ffff:10.1.9.9", 3, "N", 22 },
	{ "*:5222", "2001:db8::5", 6, "N", 300 },
	{ "*:5222", "2001:db9::5", 1, "N", 300 },
	{ "*:5222", "::1", 9, "N", 300 },
};

static void
make_peer(const char *text, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (strcmp(text, "unix") == 0) {
		ss->ss_family = AF_UNIX;
	} else if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		ss->ss_family = AF_INET;
	} else {
		ck_assert_int_eq(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
		ss->ss_family = AF_INET6;
	}
}

START_TEST(fallback_peer)
{
	struct conf *c = load(peers_text);
	struct sockaddr_storage ss;
	struct conf_at at = { .scope = find(c, find(c, NULL, "xmpp_listener", NULL), "listen",
					    peers[_i].listen) };

	if (peers[_i].peer != NULL) {
		make_peer(peers[_i].peer, &ss);
		at.peer = (const struct sockaddr *)&ss;
	}
	ck_assert_int_eq(conf_int(c, &at, "idle_time"), peers[_i].idle);
	eq(conf_str(c, &at, "tls_ciphers"), peers[_i].ciphers);
	ck_assert_int_eq(conf_int(c, &at, "ping_interval"), peers[_i].ping);
	/* listener, then the module stanza, then global */
	ck_assert_int_eq(conf_int(c, &at, "negotiation_timeout"), 11);
	ck_assert_int_eq(conf_int(c, &at, "max_depth"), 33);
	conf_unref(&c);
}
END_TEST

static const char domains_text[] =
	"tls_ca = global.pem  connect_timeout = 99\n"
	"domain \"#xmpp#a.example\" { tls = no }\n"
	"domain A.Example { tls = ifavailable gateway = plain }\n"
	"domain \"/\\.example$/\" { tls = required gateway = first connect_timeout = 5 }\n"
	"domain \"/^#xmpp#/\" { gateway = second tls_ca = re.pem }\n"
	"domain /^B/ { gateway = third }\n";

static const struct {
	const char *protocol, *domain, *tls, *gateway, *ca;
	int connect;
} domains[] = {
	{ "xmpp", "a.example", "no", "plain", "re.pem", 5 },
	{ NULL, "a.example", "ifavailable", "plain", "global.pem", 5 },
	{ "xmpp", "c.example", "required", "first", "re.pem", 5 },
	{ "xmpp", "c.test", "required", "second", "re.pem", 99 },
	{ NULL, "c.test", "required", NULL, "global.pem", 99 },
	{ NULL, "b.test", "required", "third", "global.pem", 99 },
	{ "xmpp", "b.test", "required", "second", "re.pem", 99 },
	{ NULL, "#xmpp#a.example", "no", "first", "re.pem", 5 },
	{ NULL, "/^B/", "required", NULL, "global.pem", 99 },
	{ "xmpp", "", "required", "second", "re.pem", 99 },
};

START_TEST(fallback_domain)
{
	struct conf *c = load(domains_text);
	struct conf_at at = { .protocol = domains[_i].protocol,
			      .domain = td_cstr(domains[_i].domain) };

	for (int again = 0; again < 2; again++) { /* the second time from the cache */
		eq(conf_str(c, &at, "tls"), domains[_i].tls);
		eq(conf_str(c, &at, "gateway"), domains[_i].gateway);
		eq(conf_str(c, &at, "tls_ca"), domains[_i].ca);
		ck_assert_int_eq(conf_int(c, &at, "connect_timeout"), domains[_i].connect);
	}
	conf_unref(&c);
}
END_TEST

START_TEST(domain_odd_names)
{
	struct conf *c = load("domain /x/ { tls = no }");
	char *big = td_alloc(100000);
	struct conf_at at = { .protocol = "xmpp" };

	memset(big, 'x', 100000);
	at.domain = td_str(big, 100000); /* over every limit: not matched, not kept */
	eq(conf_str(c, &at, "tls"), "required");
	at.domain = td_str(big, 1023);
	eq(conf_str(c, &at, "tls"), "no");
	at.domain = td_str("\xff\xfex", 3); /* not UTF-8 */
	eq(conf_str(c, &at, "tls"), "required");
	at.domain = td_str("x\0y", 3);
	eq(conf_str(c, &at, "tls"), "no");
	free(big);
	conf_unref(&c);
}
END_TEST

/* A regex made to backtrack gives up instead of holding the loop. */
START_TEST(domain_regex_limit)
{
	struct conf *c = load("domain \"/^(a+)+$/\" { tls = no }");
	char name[202];
	struct conf_at at = { .domain = td_str(name, 201) };

	memset(name, 'a', 200);
	name[200] = 'b';
	eq(conf_str(c, &at, "tls"), "required");
	conf_unref(&c);
}
END_TEST

START_TEST(same_name_rows)
{
	struct conf *c = load("retry_interval = 7  mail {}  domain d { retry_interval = 9 }");
	struct conf_at at = { .scope = find(c, NULL, "mail", NULL) };

	ck_assert_int_eq(conf_int(c, &at, "retry_interval"), 60); /* mail has its own */
	ck_assert_int_eq(conf_int(c, &at, "message_expiration"), 432000);
	ck_assert_int_eq(conf_int(c, NULL, "retry_interval"), 7);
	at = (struct conf_at){ .domain = TD_STR("d") };
	ck_assert_int_eq(conf_int(c, &at, "retry_interval"), 9);
	ck_assert_int_eq(conf_int(c, &at, "message_expiration"), 60);
	conf_unref(&c);
}
END_TEST

START_TEST(domain_before_listener)
{
	struct conf *c = load("http_listener { tls_certificate = l.pem Listen *:1 {} } domain d { "
			      "tls_certificate = d.pem }");
	struct conf_at at = { .scope = find(c, NULL, "http_listener", NULL),
			      .domain = TD_STR("d") };

	eq(conf_str(c, &at, "tls_certificate"), "d.pem");
	at.domain = TD_STR("e");
	eq(conf_str(c, &at, "tls_certificate"), "l.pem");
	conf_unref(&c);
}
END_TEST

START_TEST(origin)
{
	struct conf *c = load(
		"outbound_throttle_messages = 5 domain /x/ { outbound_throttle_messages = 6 }");
	struct conf_at a = { .domain = TD_STR("ax") }, b = { .domain = TD_STR("bx") },
		       other = { .domain = TD_STR("c") };

	ck_assert_ptr_eq(conf_origin(c, &a, "outbound_throttle_messages"),
			 conf_origin(c, &b, "outbound_throttle_messages"));
	ck_assert_ptr_ne(conf_origin(c, &a, "outbound_throttle_messages"),
			 conf_origin(c, &other, "outbound_throttle_messages"));
	ck_assert_ptr_null(conf_origin(c, &a, "tls"));
	ck_assert(!conf_is_set(c, &a, "tls"));
	conf_unref(&c);
}
END_TEST

/* ---- scopes and free options ---- */

START_TEST(script_options)
{
	struct conf *c = load("scriptlet s { lua_time_ms = 50 script a { source = x lua_time_ms = "
			      "70 Answer = 42 l = ( p q ) m = [ k = v ] }\n"
			      "script b { source = y } }");
	const struct conf_scope *box = find(c, NULL, "scriptlet", "s"),
				*a = find(c, box, "script", "a");
	struct conf_at at = { .scope = a };
	const struct td_str *items;
	enum conf_type shape;
	struct td_str name;
	size_t i = 0, n, seen = 0;

	ck_assert_int_eq(conf_int(c, &at, "lua_time_ms"), 70);
	at.scope = find(c, box, "script", "b");
	ck_assert_int_eq(conf_int(c, &at, "lua_time_ms"), 50);
	eq(conf_raw(a, "answer"), "42");
	eq(conf_raw(a, "SOURCE"), "x");
	eq(conf_raw(a, "m"), NULL);
	eq(conf_raw(a, "absent"), NULL);
	while (conf_each_option(a, &i, &name, &shape, &items, &n)) {
		seen++;
		if (td_str_eqc(name, "m")) {
			ck_assert_int_eq(shape, CT_DICT);
			ck_assert_uint_eq(n, 2);
			eq(items[1], "v");
		}
		if (td_str_eqc(name, "l"))
			ck_assert_uint_eq(n, 2);
	}
	ck_assert_uint_eq(seen, 5);
	conf_unref(&c);
}
END_TEST

START_TEST(scope_walk)
{
	struct conf *c = load("domain a {}\nworkers = 1 domain \"/b/\" { contact abuse { uri = x } "
			      "}\ndomain a { tls = no }");
	const struct conf_scope *s = conf_next(c, NULL, "domain", NULL);

	eq(conf_scope_name(s), "a");
	ck_assert_str_eq(conf_scope_kind(s), "domain");
	ck_assert(!conf_scope_is_regex(s));
	ck_assert_ptr_null(conf_scope_parent(s));
	s = conf_next(c, NULL, "domain", s);
	ck_assert(conf_scope_is_regex(s));
	ck_assert_str_eq(conf_scope_where(s), "test.conf:2:13");
	ck_assert_ptr_eq(conf_scope_parent(conf_next(c, s, "contact", NULL)), s);
	ck_assert_ptr_null(conf_next(c, NULL, "domain", s));
	ck_assert_ptr_null(conf_next(c, NULL, "xmpp", NULL));
	conf_unref(&c);
}
END_TEST

/* ---- addresses ---- */

static const struct {
	const char *text;
	int family; /* 0: refused */
	const char *host;
	int port;
} listens[] = {
	{ "*:5222", AF_INET, "0.0.0.0", 5222 },
	{ ":5222", AF_INET, "0.0.0.0", 5222 },
	{ "192.0.2.1:1", AF_INET, "192.0.2.1", 1 },
	{ "127.0.0.1:0", AF_INET, "127.0.0.1", 0 },
	{ "[*]:5222", AF_INET6, "::", 5222 },
	{ "[::]:5222", AF_INET6, "::", 5222 },
	{ "[2001:db8::1]:65535", AF_INET6, "2001:db8::1", 65535 },
	{ "/run/x.sock", AF_UNIX, "/run/x.sock", 0 },
	{ "", 0, NULL, 0 },
	{ "5222", 0, NULL, 0 },
	{ "*:", 0, NULL, 0 },
	{ "*:65536", 0, NULL, 0 },
	{ "*:-1", 0, NULL, 0 },
	{ "*:5x", 0, NULL, 0 },
	{ "1.2.3:4", 0, NULL, 0 },
	{ "host:4", 0, NULL, 0 },
	{ "::1:5222", 0, NULL, 0 },
	{ "[::1]", 0, NULL, 0 },
	{ "[::g]:1", 0, NULL, 0 },
	{ "[]:1", 0, NULL, 0 },
	{ "[::1]x:1", 0, NULL, 0 },
	{ "run/x.sock", 0, NULL, 0 },
	{ "*:000022", 0, NULL, 0 },
	{ "/012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
	  "7890123456789"
	  "0123456789",
	  0, NULL, 0 },
};

/* "host port" as the kernel would be told. */
static void
print_address(const struct sockaddr_storage *ss, char *out, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;

	memcpy(&in, ss, sizeof(in));
	memcpy(&in6, ss, sizeof(in6));
	memcpy(&un, ss, sizeof(un));
	if (ss->ss_family == AF_UNIX)
		(void)snprintf(out, cap, "%s 0", un.sun_path);
	else if (ss->ss_family == AF_INET)
		(void)snprintf(out, cap, "%s %d",
			       inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host)),
			       ntohs(in.sin_port));
	else
		(void)snprintf(out, cap, "%s %d",
			       inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host)),
			       ntohs(in6.sin6_port));
}

START_TEST(listen_names)
{
	struct sockaddr_storage ss;
	struct td_err err = { 0 };
	char got[200], want[200];
	socklen_t len = 0;
	int rc = conf_parse_listen(td_cstr(listens[_i].text), &ss, &len, &err);

	if (listens[_i].family == 0) {
		ck_assert(rc == TD_E_INVAL && err.text[0] != '\0');
		return;
	}
	ck_assert(rc == 0 && ss.ss_family == listens[_i].family && len > 0);
	print_address(&ss, got, sizeof(got));
	(void)snprintf(want, sizeof(want), "%s %d", listens[_i].host, listens[_i].port);
	ck_assert_str_eq(got, want);
}
END_TEST

/* ---- snapshots ---- */

START_TEST(snapshot_references)
{
	struct conf *a = load("hostname = a"), *b = load("hostname = b"), *again = conf_ref(a);
	struct conf *none = NULL;

	ck_assert_uint_ne(conf_generation(a), conf_generation(b));
	conf_unref(&a);
	ck_assert_ptr_null(a);
	eq(conf_str(again, NULL, "hostname"), "a");
	ck_assert_str_eq(conf_path(again), "test.conf");
	conf_unref(&again);
	conf_unref(&b);
	conf_unref(&none);
}
END_TEST

static const struct {
	const char *before, *after, *want;
} diffs[] = {
	{ "workers = 2", "workers = 2 hostname = x", "" },
	{ "workers = 2", "workers = 3", "workers" },
	{ "", "workers = 0", "" },
	{ "security { user = a }", "security { user = b group = c } data_dir = /x",
	  "data_dir user group" },
	{ "security { user = tandem }", "", "" },
	{ "milter { milter_timeout = 11 }", "", "milter_timeout" },
	{ "milter_listener { Listen /a {} }", "milter_listener { Listen /b {} }",
	  "milter_listener" },
	{ "http_listener { Listen *:1 {} }", "http_listener { Listen *:2 {} }", "" },
};

START_TEST(diff_restart)
{
	struct conf *a = load(diffs[_i].before), *b = load(diffs[_i].after);
	struct td_buf out = { 0 };

	conf_diff_restart(a, b, &out);
	ck_assert_str_eq(td_buf_cstr(&out), diffs[_i].want);
	td_buf_fini(&out);
	conf_unref(&a);
	conf_unref(&b);
}
END_TEST

static struct conf *shared;

static void *
reader(void *arg)
{
	unsigned seed = *(unsigned *)arg;

	for (int i = 0; i < 20000; i++) {
		char name[32];
		struct conf *c = conf_ref(shared);
		struct conf_at at = { .protocol = i % 3 ? "xmpp" : NULL };
		int n = (int)(seed = seed * 1103515245u + 12345u) >> 16 & 2047;

		at.domain = td_str(name, (size_t)snprintf(name, sizeof(name), "d%d.%s", n,
							  n % 2 ? "even" : "odd"));
		if (!td_str_eqc(conf_str(c, &at, "gateway"), n == 7 ? "seven" : n % 2 ? "e" : "o"))
			abort();
		conf_unref(&c);
	}
	return NULL;
}

START_TEST(snapshot_threads)
{
	pthread_t t[4];
	unsigned seeds[4] = { 1, 2, 3, 4 };

	shared = load("domain d7.even { gateway = seven } domain /even$/ { gateway = e } domain "
		      "\"/odd$/\" { gateway = o }");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, reader, &seeds[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	conf_unref(&shared);
}
END_TEST

/* ---- files ---- */

static char folder[64];

static void
put(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	fclose(f);
}

static void
files_setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/conf-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void
files_teardown(void)
{
	static const char *const names[] = { "main.conf", "x/inc.conf", "fifo", "inc.conf", NULL };
	char path[200];

	for (size_t i = 0; names[i] != NULL; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	for (int i = 0; i <= 20; i++) {
		(void)snprintf(path, sizeof(path), "%s/d%d", folder, i);
		unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/x", folder);
	rmdir(path);
	rmdir(folder);
}

static int
load_main(const char *search, struct conf **c, struct conf_report *r)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/main.conf", folder);
	return conf_load(path, search, c, r);
}

START_TEST(file_search_path)
{
	struct conf_report r;
	struct conf *c = NULL;
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/x", folder);
	mkdir(path, 0700);
	put("main.conf", "include \"inc.conf\"\n");
	put("x/inc.conf", "hostname = found\n");
	ck_assert_int_eq(load_main(NULL, &c, &r), TD_E_INVAL);
	conf_report_fini(&r);
	/* never the current directory, not even when the search path says so */
	ck_assert_int_eq(chdir(path), 0);
	ck_assert_int_eq(load_main(":.:", &c, &r), TD_E_INVAL);
	conf_report_fini(&r);
	(void)snprintf(path, sizeof(path), "/nonexistent:%s/x", folder);
	ck_assert_int_eq(load_main(path, &c, &r), 0);
	eq(conf_str(c, NULL, "hostname"), "found");
	conf_report_fini(&r);
	conf_unref(&c);
}
END_TEST

START_TEST(file_depth)
{
	struct conf_report r;
	struct conf *c = NULL;

	put("main.conf", "include \"d0\"\n");
	for (int i = 0; i < 20; i++) {
		char name[16], text[64];

		(void)snprintf(name, sizeof(name), "d%d", i);
		(void)snprintf(text, sizeof(text),
			       i == 15 ? "hostname = deepest\n" : "include \"d%d\"\n", i + 1);
		put(name, text);
	}
	ck_assert_msg(load_main(NULL, &c, &r) == 0, "%s", r.text.p);
	eq(conf_str(c, NULL, "hostname"), "deepest");
	conf_report_fini(&r);
	conf_unref(&c);
	put("d15", "include \"d16\"\n");
	ck_assert_int_eq(load_main(NULL, &c, &r), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(r.text.p, "/d15:1:1: include goes more than 16 files deep"));
	ck_assert_uint_eq(r.errors, 1);
	conf_report_fini(&r);
}
END_TEST

START_TEST(file_odd)
{
	struct conf_report r;
	struct conf *c = NULL;
	char path[200];

	ck_assert_int_eq(conf_load("/nonexistent/x.conf", NULL, &c, &r), TD_E_INVAL);
	ck_assert_str_eq(r.text.p, "/nonexistent/x.conf:1:1: cannot open /nonexistent/x.conf: No "
				   "such file or directory\n");
	conf_report_fini(&r);
	ck_assert_int_eq(conf_load(folder, NULL, &c, &r), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(r.text.p, "is not a file"));
	conf_report_fini(&r);
	/* a pipe must not hold the start */
	(void)snprintf(path, sizeof(path), "%s/fifo", folder);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	put("main.conf", "include \"fifo\"\ninclude \"/dev/zero\"");
	ck_assert_int_eq(load_main(NULL, &c, &r), TD_E_INVAL);
	ck_assert_uint_eq(r.errors, 2);
	conf_report_fini(&r);
	/* text has no place to include from */
	ck_assert_int_eq(conf_load_text("t", TD_STR("include \"/etc/passwd\""), &c, &r),
			 TD_E_INVAL);
	ck_assert_str_eq(r.text.p,
			 "t:1:1: include is not possible here: this text is not a file\n");
	conf_report_fini(&r);
}
END_TEST

START_TEST(many_errors)
{
	struct td_buf b = { 0 };
	struct conf_report r;
	struct conf *c = NULL;

	for (int i = 0; i < 5000; i++)
		td_buf_addz(&b, "workers = x\n");
	ck_assert_int_eq(conf_load_text("t", td_buf_str(&b), &c, &r), TD_E_INVAL);
	ck_assert_uint_le(r.errors, 100);
	ck_assert_ptr_nonnull(strstr(r.text.p, "t:100:11: workers takes"));
	conf_report_fini(&r);
	td_buf_fini(&b);
}
END_TEST

START_TEST(many_domains)
{
	struct td_buf b = { 0 };
	struct conf *c;

	for (int i = 0; i < 20000; i++)
		td_buf_addf(&b, "domain d%d.example { gateway = g%d }\n", i, i);
	c = load(td_buf_cstr(&b));
	for (int i = 0; i < 20000; i += 97) {
		char name[32], want[32];
		struct conf_at at = { .protocol = "xmpp" };

		at.domain = td_str(name, (size_t)snprintf(name, sizeof(name), "d%d.example", i));
		(void)snprintf(want, sizeof(want), "g%d", i);
		eq(conf_str(c, &at, "gateway"), want);
	}
	conf_unref(&c);
	td_buf_fini(&b);
}
END_TEST

#define LOOP(t, test, table) \
	tcase_add_loop_test(t, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("look-ups"), *files = tcase_create("files");
	SRunner *r;
	int failed;

	LOOP(t, value_bool, bools);
	LOOP(t, value_number, numbers);
	tcase_add_test(t, value_mode);
	tcase_add_test(t, value_throttle);
	tcase_add_test(t, value_list_dict);
	tcase_add_test(t, value_none_stops);
	tcase_add_test(t, table);
	LOOP(t, fallback_peer, peers);
	LOOP(t, fallback_domain, domains);
	tcase_add_test(t, domain_odd_names);
	tcase_add_test(t, domain_regex_limit);
	tcase_add_test(t, same_name_rows);
	tcase_add_test(t, domain_before_listener);
	tcase_add_test(t, origin);
	tcase_add_test(t, script_options);
	tcase_add_test(t, scope_walk);
	LOOP(t, listen_names, listens);
	tcase_add_test(t, snapshot_references);
	LOOP(t, diff_restart, diffs);
	tcase_add_test(t, snapshot_threads);
	tcase_add_test(t, many_errors);
	tcase_add_test(t, many_domains);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(files, files_setup, files_teardown);
	tcase_add_test(files, file_search_path);
	tcase_add_test(files, file_depth);
	tcase_add_test(files, file_odd);
	suite_add_tcase(s, files);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
