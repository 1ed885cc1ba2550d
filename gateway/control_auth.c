/* control_auth - credentials, Peers and roles of the console.
 * Files are read when they are asked about: a console is rare, and a change counts at once. */
#include "gateway/control_auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "gateway/base/err.h"
#include "gateway/listener.h"
#include "xmpp/sasl.h"

#define GROUPS_MAX (1u << 20) /* bytes of a groups:// file */

static const struct conf_scope *
find_listen(const struct conf *c, struct td_str name)
{
	const struct conf_scope *cl = NULL, *l;

	while ((cl = conf_next(c, NULL, "control_listener", cl)) != NULL)
		for (l = NULL; (l = conf_next(c, cl, "listen", l)) != NULL;)
			if (td_str_eq(conf_scope_name(l), name))
				return l;
	return NULL;
}

static int
load(struct gw *gw, const struct conf_at *at, bool local, struct ctl_rules *r, struct td_err *err)
{
	struct td_str uri = TD_STR_NULL, groups;
	char *z;
	int rc;

	r->deny = conf_bool(r->conf, at, "always_deny");
	/* a Unix socket knows its peer by the system's word */
	r->open = local || conf_bool(r->conf, at, "always_allow") ||
		  !conf_bool(r->conf, at, "enable_authentication");
	r->authorize = conf_bool(r->conf, at, "enable_authorization");
	r->timeout = (unsigned)conf_int(r->conf, at, "timeout");
	groups = conf_dict(r->conf, at, "authorizationparameters", "uri");
	if (groups.p != NULL && !td_str_starts(groups, "groups:///"))
		return td_fail(err, TD_E_UNSUPPORTED,
			       "AuthorizationParameters: %.*s is not groups:///path",
			       TD_STR_ARG(groups));
	if (groups.p != NULL)
		r->groups = td_str(groups.p + 9, groups.len - 9);
	if (r->open)
		return 0;
	/* nothing hides what is said here, and there is no channel to bind to */
	r->mechs = gw_lconf_mechs(r->conf, at, &uri) &
		   ~(SASL_M_PLAIN | SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS);
	if (uri.p == NULL || r->mechs == 0)
		return td_fail(err, TD_E_INVAL,
			       "the console has no mechanism to ask for "
			       "credentials: set AuthParameters");
	z = td_strndup(uri);
	rc = xmpp_cred_source_open(z, gw->store, &r->creds, err);
	free(z);
	return rc;
}

int
ctl_rules_load(struct gw *gw, struct td_str listen, const struct sockaddr *sa,
	       struct ctl_rules *out, struct td_err *err)
{
	struct conf_at at = { .peer = sa };
	int rc;

	*out = (struct ctl_rules){ .gw = gw, .conf = gw_conf_get(gw) };
	at.scope = find_listen(out->conf, listen);
	if (at.scope == NULL)
		rc = td_fail(err, TD_E_NOTFOUND, "the configuration has this Listen no more");
	else
		rc = load(gw, &at, td_str_starts(listen, "/"), out, err);
	if (rc < 0)
		ctl_rules_fini(out);
	return rc;
}

void
ctl_rules_fini(struct ctl_rules *r)
{
	if (r->creds != NULL)
		xmpp_cred_source_unref(&r->creds);
	conf_unref(&r->conf);
	*r = (struct ctl_rules){ 0 };
}

/* ---- roles ---- */

static bool
list_has(struct td_str list, struct td_str word)
{
	while (list.len > 0) {
		ptrdiff_t comma = td_str_chr(list, ',');
		size_t n = comma < 0 ? list.len : (size_t)comma;

		if (td_str_eq(td_str_trim(td_str(list.p, n)), word))
			return true;
		n += comma >= 0;
		list = td_str(list.p + n, list.len - n);
	}
	return false;
}

/* Lines "group:user,user" or "group:unused:user,user". */
static bool
in_group(struct td_str text, struct td_str group, struct td_str user)
{
	while (text.len > 0) {
		ptrdiff_t nl = td_str_chr(text, '\n'), colon;
		struct td_str line = td_str(text.p, nl < 0 ? text.len : (size_t)nl), rest;

		text = td_str(text.p + line.len + (nl >= 0), text.len - line.len - (nl >= 0));
		line = td_str_trim(line);
		colon = td_str_chr(line, ':');
		if (line.len == 0 || line.p[0] == '#' || colon < 0 ||
		    !td_str_eq(td_str_trim(td_str(line.p, (size_t)colon)), group))
			continue;
		rest = td_str(line.p + colon + 1, line.len - (size_t)colon - 1);
		colon = td_str_chr(rest, ':');
		if (colon >= 0)
			rest = td_str(rest.p + colon + 1, rest.len - (size_t)colon - 1);
		if (list_has(rest, user))
			return true;
	}
	return false;
}

static void
read_groups(const struct ctl_rules *r, struct td_buf *out)
{
	FILE *f = r->groups.p != NULL ? fopen(r->groups.p, "re") : NULL;

	if (f != NULL)
		out->len = fread(td_buf_reserve(out, GROUPS_MAX), 1, GROUPS_MAX, f);
	else if (r->groups.p != NULL)
		td_log_warn(&r->gw->log, "groups-unreadable", "path=%s error=%s, ignoring",
			    td_esc(r->groups), td_escz(strerror(errno)));
	if (f != NULL)
		(void)fclose(f);
}

static bool
search(struct td_str pattern, struct td_str subject)
{
	PCRE2_SIZE where;
	int code;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.len, PCRE2_UTF, &code, &where,
				       NULL); /* the configuration was checked */
	pcre2_match_data *m = re != NULL ? pcre2_match_data_create(1, NULL) : NULL;
	bool hit = m != NULL &&
		   pcre2_match(re, (PCRE2_SPTR)subject.p, subject.len, 0, 0, m, NULL) >= 0;

	pcre2_match_data_free(m);
	pcre2_code_free(re);
	return hit;
}

static bool
role_allows(const struct ctl_rules *r, const struct conf_scope *role, struct td_str command)
{
	struct conf_at at = { .scope = role };
	size_t n;
	const struct td_str *list = conf_list(r->conf, &at, "allow", &n);

	for (size_t i = 0; i < n; i++)
		if (search(list[i], command))
			return true;
	return false;
}

bool
ctl_permits(const struct ctl_rules *r, const char *user, struct td_str command)
{
	const struct conf_scope *az = NULL, *role;
	struct td_buf groups = { 0 };
	bool ok = !r->authorize;

	if (!ok)
		read_groups(r, &groups);
	while (!ok && user[0] != '\0' &&
	       (az = conf_next(r->conf, NULL, "authorization", az)) != NULL)
		for (role = NULL; !ok && (role = conf_next(r->conf, az, "role", role)) != NULL;) {
			struct td_str name = conf_scope_name(role);

			ok = (td_str_eqc(name, user) ||
			      in_group(td_buf_str(&groups), name, td_cstr(user))) &&
			     role_allows(r, role, command);
		}
	td_buf_fini(&groups);
	return ok;
}
