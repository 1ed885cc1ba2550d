/* bundle - finds script sources in the search path and keeps what it read. */
#include "lua/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/err.h"
#include "gateway/base/map.h"
#include "lua/lua_priv.h"

struct tlua_bundle {
	_Atomic int refs;
	char **dirs;
	char *shipped;
	pthread_mutex_t lock; /* guards <found>; sources never change once in it */
	struct td_map found;  /* name -> struct tlua_source */
};

static char shipped[4096];
static pthread_once_t shipped_once = PTHREAD_ONCE_INIT;

/* Running from the source tree is told by where the program lies, not by whether that tree
 * exists: an installed daemon must not run files of a build folder. */
static void
find_shipped(void)
{
	static const char src[] = TANDEM_SRCDIR;
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	size_t len = sizeof(src) - 1;

	if (n > (ssize_t)len && memcmp(exe, src, len) == 0 && exe[len] == '/')
		snprintf(shipped, sizeof(shipped), "%s/lua", src);
	else
		snprintf(shipped, sizeof(shipped), "%s/lua", TANDEM_DATADIR);
}

const char *
tlua_shipped_dir(void)
{
	pthread_once(&shipped_once, find_shipped);
	return shipped;
}

struct tlua_bundle *
tlua_bundle_new(const char *const *dirs, const char *ship)
{
	struct tlua_bundle *b = td_zalloc(sizeof(*b));
	size_t n = 0;

	while (dirs != NULL && dirs[n] != NULL)
		n++;
	b->refs = 1;
	b->dirs = td_zalloc((n + 1) * sizeof(*b->dirs));
	for (size_t i = 0; i < n; i++)
		b->dirs[i] = td_strdup(dirs[i]);
	b->shipped = td_strdup(ship != NULL ? ship : tlua_shipped_dir());
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

struct tlua_bundle *
tlua_bundle_ref(struct tlua_bundle *b)
{
	b->refs++;
	return b;
}

static void
source_free(struct tlua_source *s)
{
	char *text;

	if (s == NULL)
		return;
	memcpy(&text, &s->text.p, sizeof(text)); /* ours, though readers see it const */
	free(text);
	free(s->name);
	free(s->path);
	free(s);
}

void
tlua_bundle_unref(struct tlua_bundle **bp)
{
	struct tlua_bundle *b = *bp;
	struct tlua_source *s;
	size_t i = 0;

	*bp = NULL;
	if (b == NULL || --b->refs > 0)
		return;
	while ((s = td_map_next(&b->found, &i)) != NULL)
		source_free(s);
	td_map_fini(&b->found);
	for (i = 0; b->dirs[i] != NULL; i++)
		free(b->dirs[i]);
	free(b->dirs);
	free(b->shipped);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* "a.b.lua", "a/b" -> "a/b" in out; nothing that could leave the folder. */
static int
normal_name(const char *name, char *out, size_t cap)
{
	size_t n = strlen(name);

	if (n > 4 && strcmp(name + n - 4, ".lua") == 0)
		n -= 4;
	if (n == 0 || n >= cap)
		return TD_E_INVAL;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];
		bool sep = c == '.' || c == '/';

		if (sep && (i == 0 || i + 1 == n || out[i - 1] == '/'))
			return TD_E_INVAL;
		if (!sep && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '_' && c != '-')
			return TD_E_INVAL;
		out[i] = sep ? '/' : c;
	}
	out[n] = '\0';
	return 0;
}

/* Read regular file <path>; NOTFOUND when there is none. */
static int
read_source(const char *path, struct td_buf *out, struct td_err *err)
{
	struct stat st;
	ssize_t n = 0;
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? TD_E_NOTFOUND
			       : td_fail(err, TD_E_IO, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = td_fail(err, TD_E_IO, "%s: not a regular file", path);
	else if (st.st_size > (off_t)TLUA_SOURCE_MAX)
		rc = td_fail(err, TD_E_LIMIT, "%s: over %u bytes", path, TLUA_SOURCE_MAX);
	while (rc == 0 && (n = read(fd, td_buf_reserve(out, 16384), 16384)) > 0) {
		out->len += (size_t)n;
		if (out->len > TLUA_SOURCE_MAX)
			rc = td_fail(err, TD_E_LIMIT, "%s: over %u bytes", path, TLUA_SOURCE_MAX);
	}
	if (rc == 0 && n < 0)
		rc = td_fail(err, TD_E_IO, "%s: %s", path, strerror(errno));
	close(fd);
	return rc;
}

/* Try folder <dir>/<sub> for the module; 0 found, NOTFOUND, or an error. */
static int
look_in(const char *dir, const char *sub, const char *name, struct td_buf *text, char *path,
	size_t cap, struct td_err *err)
{
	static const char *const ends[] = { ".lua", "/init.lua" };

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		int rc, n = snprintf(path, cap, "%s%s/%s%s", dir, sub, name, ends[i]);

		if (n < 0 || (size_t)n >= cap)
			continue;
		rc = read_source(path, text, err);
		/* the file may not even exist: it is the folder that is closed to us */
		if (rc == TD_E_IO && access(dir, X_OK) < 0)
			return td_fail(err, rc, "script folder %s: %s", dir, strerror(errno));
		if (rc != TD_E_NOTFOUND)
			return rc;
	}
	return TD_E_NOTFOUND;
}

static int
load_source(struct tlua_bundle *b, const char *name, struct tlua_source **out, struct td_err *err)
{
	struct td_buf text = { 0 };
	char path[4096];
	bool ours = false;
	int rc = TD_E_NOTFOUND;

	for (size_t i = 0; b->dirs[i] != NULL && rc == TD_E_NOTFOUND; i++)
		rc = look_in(b->dirs[i], "", name, &text, path, sizeof(path), err);
	if (rc == TD_E_NOTFOUND) {
		ours = true;
		rc = look_in(b->shipped, "/scripts", name, &text, path, sizeof(path), err);
		if (rc == TD_E_NOTFOUND)
			rc = look_in(b->shipped, "", name, &text, path, sizeof(path), err);
	}
	if (rc == TD_E_NOTFOUND) {
		struct td_buf where = { 0 };

		for (size_t i = 0; b->dirs[i] != NULL; i++)
			td_buf_addf(&where, "%s, ", b->dirs[i]);
		td_fail(err, rc, "no %s.lua in %s%s", name,
			where.len > 0 ? td_buf_cstr(&where) : "", b->shipped);
		td_buf_fini(&where);
	}
	if (rc < 0) {
		td_buf_fini(&text);
		return rc;
	}
	*out = td_zalloc(sizeof(**out));
	(*out)->name = td_strdup(name);
	(*out)->path = td_strdup(path);
	(*out)->shipped = ours;
	td_buf_cstr(&text);
	(*out)->text = td_buf_str(&text);
	return 0;
}

int
tlua_bundle_find(struct tlua_bundle *b, const char *name, const struct tlua_source **out,
		 struct td_err *err)
{
	struct tlua_source *s;
	char norm[200];
	int rc = 0;

	if (normal_name(name, norm, sizeof(norm)) < 0)
		return td_fail(err, TD_E_INVAL, "\"%.80s\" is no module name", name);
	/* held while reading: two states that load the same name get the same text */
	pthread_mutex_lock(&b->lock);
	s = td_map_find(&b->found, td_cstr(norm));
	if (s == NULL) {
		rc = load_source(b, norm, &s, err);
		if (rc == 0)
			td_map_set(&b->found, td_cstr(s->name), s);
	}
	pthread_mutex_unlock(&b->lock);
	if (rc == 0)
		*out = s;
	return rc;
}
