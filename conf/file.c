/* file - reading files and folders, include (momentum.md 1.4).
 * The current directory is never searched: names are relative to the including file. */
#include "conf/conf_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Messages about the main file have no include to point at. */
static struct conf_pos
blame(struct conf_pos pos, const char *path)
{
	return pos.file != NULL ? pos : (struct conf_pos){ path, 1, 1, 0 };
}

/* All of <fd> into <b>; false after a message. */
static bool
slurp(struct conf_loader *l, int fd, const char *path, struct conf_pos pos, struct td_buf *b)
{
	for (;;) {
		char *to = td_buf_reserve(b, 65536);
		ssize_t n = read(fd, to, 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			conf_error(l, pos, "cannot read %s: %s", path, strerror(errno));
			return false;
		}
		if (n == 0)
			return true;
		b->len += (size_t)n;
		l->total += (size_t)n;
		if (b->len > CONF_MAX_FILE || l->total > CONF_MAX_TOTAL) {
			conf_error(l, pos,
				   "%s is too large: a file may have %u bytes, all of them %u",
				   path, CONF_MAX_FILE, CONF_MAX_TOTAL);
			return false;
		}
	}
}

static bool
is_open_already(const struct conf_loader *l, const struct stat *st)
{
	for (unsigned i = 0; i < l->depth; i++)
		if (l->stack[i].dev == st->st_dev && l->stack[i].ino == st->st_ino)
			return true;
	return false;
}

void
conf_read_file(struct conf_loader *l, const char *path, struct conf_pos pos,
	       struct conf_scope *into)
{
	struct td_buf b = { 0 };
	struct stat st;
	int fd;

	pos = blame(pos, path);
	if (l->depth > CONF_MAX_INCLUDE) {
		conf_error(l, pos, "include goes more than %d files deep", CONF_MAX_INCLUDE);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		conf_error(l, pos, "cannot open %s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		conf_error(l, pos, "%s is not a file", path);
		goto out;
	}
	if (is_open_already(l, &st)) {
		conf_error(l, pos, "%s includes itself, directly or through another file", path);
		goto out;
	}
	if (!slurp(l, fd, path, pos, &b))
		goto out;
	l->stack[l->depth++] = (struct conf_file){ st.st_dev, st.st_ino };
	l->seen = td_realloc(l->seen, (l->n_seen + 1) * sizeof(*l->seen));
	l->seen[l->n_seen++] = (struct conf_file){ st.st_dev, st.st_ino };
	conf_parse(l, td_arena_strndup(l->c->arena, path, strlen(path)), td_buf_str(&b), into);
	l->depth--;
out:
	if (fd >= 0)
		close(fd);
	td_wipe(b.p, b.len);
	td_buf_fini(&b);
}

/* Files of a folder that editors and people leave behind are not configuration. */
static int
is_wanted(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	if (e->d_name[0] == '.' || e->d_name[n - 1] == '~')
		return 0;
	return !(n > 1 && e->d_name[0] == '#' && e->d_name[n - 1] == '#');
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
include_folder(struct conf_loader *l, const char *path, struct conf_pos pos,
	       struct conf_scope *into)
{
	struct dirent **names;
	int n = scandir(path, &names, is_wanted, by_bytes);

	if (n < 0) {
		conf_error(l, pos, "cannot read %s: %s", path, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		char *file = td_arena_printf(l->c->arena, "%s/%s", path, names[i]->d_name);
		struct stat st;

		if (stat(file, &st) < 0)
			conf_error(l, pos, "cannot open %s: %s", file, strerror(errno));
		else if (!S_ISDIR(st.st_mode))
			conf_read_file(l, file, pos, into);
		free(names[i]);
	}
	free(names);
}

/* The folder of <file> as a prefix: "" or "dir/". */
static struct td_str
folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return td_str(file, slash != NULL ? (size_t)(slash - file) + 1 : 0);
}

/* Where <name> is, or NULL: beside <from>, then in the search path. */
static const char *
find_file(struct conf_loader *l, const char *from, struct td_str name, struct stat *st)
{
	struct td_arena *a = l->c->arena;
	struct td_str folder = folder_of(from);
	const char *path, *rest = l->search;

	if (name.p[0] == '/') {
		path = td_arena_strndup(a, name.p, name.len);
		return stat(path, st) == 0 ? path : NULL;
	}
	path = td_arena_printf(a, "%.*s%.*s", TD_STR_ARG(folder), TD_STR_ARG(name));
	if (stat(path, st) == 0)
		return path;
	while (rest != NULL && *rest != '\0') {
		size_t n = strcspn(rest, ":");

		path = td_arena_printf(a, "%.*s/%.*s", (int)n, rest, TD_STR_ARG(name));
		if (n > 0 && rest[0] == '/' &&
		    stat(path, st) == 0) /* relative = the current directory: never */
			return path;
		rest += n + (rest[n] == ':');
	}
	return NULL;
}

void
conf_include(struct conf_loader *l, struct conf_pos pos, struct td_str name,
	     struct conf_scope *into)
{
	const char *path;
	struct stat st;

	if (!l->files) {
		conf_error(l, pos, "include is not possible here: this text is not a file");
		return;
	}
	if (name.len == 0 || name.len > 4000) {
		conf_error(l, pos, "include needs the name of a file or folder");
		return;
	}
	if (l->errors > CONF_MAX_ERRORS)
		return;
	path = find_file(l, pos.file, name, &st);
	if (path == NULL)
		conf_error(l, pos,
			   "cannot find %s, neither beside this file nor in the search path",
			   conf_shown(l, name));
	else if (S_ISDIR(st.st_mode))
		include_folder(l, path, pos, into);
	else
		conf_read_file(l, path, pos, into);
}

void
conf_read_local_changes(struct conf_loader *l)
{
	const struct conf_option *o = conf_row_in(TD_STR("local_changes_file"), l->c->root);
	const struct conf_value *v = conf_value_in(l->c->root, o);
	const char *path;
	struct stat st;

	if (v == NULL || v->items[0].len == 0)
		return;
	path = find_file(l, l->c->path, v->items[0], &st);
	if (path == NULL)
		return; /* made by the first change */
	for (size_t i = 0; i < l->n_seen; i++) {
		if (l->seen[i].dev == st.st_dev && l->seen[i].ino == st.st_ino) {
			conf_error(l, v->pos,
				   "local_changes_file must not be the main file, nor be included");
			return;
		}
	}
	conf_read_file(l, path, v->pos, l->c->root);
}
