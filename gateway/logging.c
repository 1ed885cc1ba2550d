/* logging - log_file, log_level, Debug_Flags and debug_level (momentum.md 7.3). */
#include "gateway/logging.h"

#include <stdlib.h>
#include "gateway/process.h"

/* Momentum's subsystems, as our log domains. */
static const struct {
	const char *flag, *domain;
} subsystems[] = {
	{ "XMPP", "xmpp" },      { "MILTER", "milter" }, { "LUA", "lua" },
	{ "AUTH", "xmpp.sasl" }, { "DB", "store" },      { "ALL", "" },
};

static const struct {
	const char *stanza, *domain;
} modules[] = {
	{ "xmpp", "xmpp" },   { "milter", "milter" }, { "scriptlet", "lua" },
	{ "mail", "outbox" }, { "store", "store" },
};

static const struct {
	const char *word;
	enum td_loglevel level;
} words[] = {
	{ "critical", TD_LOG_ERROR }, { "error", TD_LOG_ERROR }, { "warning", TD_LOG_WARN },
	{ "notice", TD_LOG_NOTICE },  { "info", TD_LOG_INFO },   { "debug", TD_LOG_DEBUG },
};

static char *current; /* path in use; NULL = standard error */

static void
apply_flags(const struct conf *c, enum td_loglevel least)
{
	struct conf_at at = { .scope = conf_next(c, NULL, "debug_flags", NULL) };

	/* rising: the most talkative level a subsystem is named for wins; none silences below log_level */
	for (size_t w = 0; at.scope != NULL && w < sizeof(words) / sizeof(words[0]); w++)
		for (size_t i = 0; i < sizeof(subsystems) / sizeof(subsystems[0]); i++)
			if (words[w].level > least &&
			    conf_list_has(c, &at, words[w].word, subsystems[i].flag))
				td_log_set_level(subsystems[i].domain, words[w].level);
}

static void
apply_modules(const struct conf *c)
{
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		struct conf_at at = { .scope = conf_next(c, NULL, modules[i].stanza, NULL) };
		struct td_str v = at.scope != NULL ? conf_str(c, &at, "debug_level") : TD_STR_NULL;

		for (size_t w = 0; v.len > 0 && w < sizeof(words) / sizeof(words[0]); w++)
			if (td_str_ieq(v, td_cstr(words[w].word)))
				td_log_set_level(modules[i].domain, words[w].level);
	}
}

int
gw_logging_apply(struct gw *gw, const struct conf *c, bool reload, struct td_err *err)
{
	struct td_str file = conf_str(c, NULL, "log_file");
	char *path = file.len == 0 || td_str_eqc(file, "-") ? NULL : gw_path(gw, file);
	bool same =
		(path == NULL) == (current == NULL) && (path == NULL || strcmp(path, current) == 0);
	enum td_loglevel level = td_log_level_from_name(conf_str(c, NULL, "log_level").p);
	int rc = reload && same ? 0 : td_log_open(path, err);

	if (rc < 0) {
		free(path);
		return rc;
	}
	if (path != NULL && !reload)
		gw_process_own(gw, path);
	free(current);
	current = path;
	if (level == TD_LOG_COUNT)
		level = TD_LOG_INFO;
	td_log_set_level(NULL, level);
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		td_log_set_level(modules[i].domain, level);
	apply_flags(c, level);
	apply_modules(c);
	return 0;
}

bool
gw_logging_to_file(void)
{
	return current != NULL;
}
