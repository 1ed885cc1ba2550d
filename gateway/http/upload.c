/* upload - files by HTTP (XEP-0363): PUT into a slot, GET and HEAD of what is there, and the sweep of what expired.
 *
 *   PUT  take the slot (store) - open - write as it comes - sync and rename - tell the store - 201
 *   GET  find the row (store) - open - head - read and send, a piece at a time
 *
 * A transfer has at most one job with the disk or call with the store under way (<busy>); while it has, its fields are
 * theirs.  When the connection goes meanwhile the transfer stays until the answer and then cleans up.
 * A file is known by its id alone: upload_dir/xx/id, where id is random and ours; nothing a client sends is part of a
 * path. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "conf/conf.h"
#include "gateway/http/disk.h"
#include "gateway/http/http.h"
#include "store/upload.h"

#define ID_LEN 40u
#define PIECE (128u << 10)
#define STALL_MS 60000u
#define WHOLE_MS 3600000u /* for a PUT; less than STORE_UPLOAD_BUSY_MS */
#define SWEEP_MS 10000u
#define SWEEP_MAX 100u

enum step {
	ST_LOOKUP = 0,
	ST_OPEN,
	ST_DATA,
	ST_COMMIT, /* PUT: being made to last; GET: given up */
};

struct gw_transfer {
	struct gw_job job; /* first */
	struct gw_http *h; /* NULL = the connection is gone */
	struct gw_worker *w;
	bool put, head_only, busy, taken;
	bool waits;    /* for a 100 */
	bool unwanted; /* the file is there, but nobody will know */
	uint8_t step;
	char id[ID_LEN + 1];
	char *path, *part; /* of the file, and while it is written */
	char *type, *name, *want_type, *range, *if_range, *if_none;
	uint64_t size, at, end; /* done so far, where to stop */
	int64_t made, expires;
	uint64_t began;
	unsigned status;     /* of the failure */
	int fd, error;       /* error: errno of the job, 0 = fine */
	struct td_buf in;    /* PUT: came, not yet given to the disk */
	struct td_buf piece; /* with the disk */
	struct td_timer stall;
};

static void step_put(struct gw_transfer *t);

/* ---- the end of a transfer ---- */

static void
transfer_free(struct gw_transfer *t)
{
	td_timer_clear(t->w->loop, &t->stall);
	if (t->fd >= 0)
		close(t->fd);
	td_buf_fini(&t->in);
	td_buf_fini(&t->piece);
	free(t->path);
	free(t->part);
	free(t->type);
	free(t->name);
	free(t->want_type);
	free(t->range);
	free(t->if_range);
	free(t->if_none);
	free(t);
}

/* Everything is undone: now the client may hear of it, and try again. */
static void
undone(struct gw_transfer *t)
{
	struct gw_http *h = t->h;

	if (h != NULL) {
		gw_io_ops.pause(gw_http_io(h), false);
		gw_http_transfer(h, NULL, false);
		gw_http_error(h, t->status);
	}
	transfer_free(t);
}

static void
on_released(void *arg, const struct store_result *r)
{
	(void)r;
	undone(arg);
}

static void
job_give_up(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	if (t->fd >= 0) {
		close(t->fd);
		t->fd = -1;
		(void)unlink(t->part);
	}
	if (t->unwanted)
		(void)unlink(t->path);
}

/* The slot is free only when the file is gone: the next may come at once. */
static void
gave_up(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	if (t->taken)
		store_upload_end(t->w->gw->store, td_cstr(t->id), false,
				 (struct store_to){ t->w->loop, on_released, t });
	else
		undone(t);
}

/* What is half done is undone, and what there is of a client gets t->status.  Not while <busy>. */
static void
undo(struct gw_transfer *t)
{
	if (!t->put) {
		undone(t);
		return;
	}
	t->busy = true;
	t->step = ST_COMMIT; /* takes no more input */
	t->job.run = job_give_up;
	t->job.done = gave_up;
	t->job.loop = t->w->loop;
	gw_disk_submit(t->w->gw, &t->job);
}

/* Answer with an error; the rest of the body is not read. */
static void
fail(struct gw_transfer *t, unsigned status)
{
	td_log_info(&t->w->gw->log, "upload-failed", "id=%s put=%d status=%u", t->id, t->put,
		    status);
	t->status = status;
	undo(t);
}

static void
submit(struct gw_transfer *t, void (*run)(struct gw_job *), void (*done)(struct gw_job *))
{
	t->busy = true;
	t->error = 0;
	t->job.run = run;
	t->job.done = done;
	t->job.loop = t->w->loop;
	gw_disk_submit(t->w->gw, &t->job);
}

/* A job or call came back: true when there is no one to go on for. */
static bool
abandoned(struct gw_transfer *t)
{
	t->busy = false;
	if (t->h != NULL)
		return false;
	undo(t);
	return true;
}

static void
on_stall(struct td_timer *timer)
{
	struct gw_transfer *t =
		(struct gw_transfer *)((char *)timer - offsetof(struct gw_transfer, stall));

	if (t->busy || t->h == NULL) {
		td_timer_set(t->w->loop, &t->stall, STALL_MS);
		return;
	}
	if (t->put)
		fail(t, 408);
	else
		gw_io_ops.shut(gw_http_io(t->h)); /* in the middle of an answer: nothing to say */
}

/* ---- paths ---- */

static char *
path_of(struct gw *gw, const struct conf *c, struct td_str service, const char *id)
{
	struct conf_at at = { .protocol = "xmpp", .domain = service };
	char *dir = gw_path(gw, conf_str(c, &at, "upload_dir"));
	struct td_buf b = { 0 };

	td_buf_addf(&b, "%s/%.2s/%s", dir, id, id);
	free(dir);
	return td_buf_cstr(&b);
}

/* /upload/ID/name: the id, or false. */
static bool
id_of(struct td_str path, char out[ID_LEN + 1])
{
	const size_t skip = sizeof("/upload/") - 1;

	if (path.len <= skip + ID_LEN || path.p[skip + ID_LEN] != '/')
		return false;
	for (size_t i = 0; i < ID_LEN; i++) {
		char c = path.p[skip + i];

		if (!((c >= 'a' && c <= 'z') || (c >= '2' && c <= '7')))
			return false;
		out[i] = c;
	}
	out[ID_LEN] = '\0';
	return true;
}

/* The folders above <path> that may be missing. */
static int
make_folders(const char *path)
{
	char *dir = td_strdup(path), *slash;
	int rc = 0;

	for (int up = 2; up >= 1; up--) { /* upload_dir, then xx */
		(void)snprintf(dir, strlen(path) + 1, "%s", path);
		for (int i = 0; i < up; i++) {
			slash = strrchr(dir, '/');
			if (slash != NULL)
				*slash = '\0';
		}
		if (mkdir(dir, 0700) < 0 && errno != EEXIST)
			rc = errno;
	}
	free(dir);
	return rc;
}

/* ---- PUT ---- */

static void
job_create(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	t->error = make_folders(t->path);
	if (t->error != 0)
		return;
	(void)unlink(t->part); /* of an upload that broke off */
	t->fd = open(t->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (t->fd < 0)
		t->error = errno;
}

static void
job_write(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;
	size_t off = 0;

	while (off < t->piece.len && t->error == 0) {
		ssize_t n = write(t->fd, t->piece.p + off, t->piece.len - off);

		if (n < 0 && errno != EINTR)
			t->error = errno;
		else if (n > 0)
			off += (size_t)n;
	}
}

static void
job_commit(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	if (fdatasync(t->fd) < 0 || rename(t->part, t->path) < 0)
		t->error = errno;
	else {
		close(t->fd);
		t->fd = -1;
	}
}

static void
on_recorded(void *arg, const struct store_result *r)
{
	struct gw_transfer *t = arg;
	struct gw_http *h = t->h;

	t->busy = false;
	if (r->rc < 0) { /* deleted meanwhile, or the store is in trouble */
		t->unwanted = true;
		fail(t, r->rc == TD_E_NOTFOUND ? 404 : 500);
		return;
	}
	td_log_info(&t->w->gw->log, "upload-done", "id=%s bytes=%llu", t->id,
		    (unsigned long long)t->size);
	t->taken = false;
	if (h != NULL) {
		gw_http_transfer(h, NULL, false);
		gw_http_reply(h, 201, NULL, NULL, TD_STR_NULL);
	}
	transfer_free(t);
}

static void
committed(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	t->busy = false;
	if (t->error != 0) {
		fail(t, t->error == ENOSPC || t->error == EDQUOT ? 507 : 500);
		return;
	}
	/* the connection may be gone: what is whole is kept all the same */
	t->busy = true;
	store_upload_end(t->w->gw->store, td_cstr(t->id), true,
			 (struct store_to){ t->w->loop, on_recorded, t });
}

static void
written(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	if (abandoned(t))
		return;
	if (t->error != 0) {
		fail(t, t->error == ENOSPC || t->error == EDQUOT ? 507 : 500);
		return;
	}
	td_buf_clear(&t->piece);
	step_put(t);
}

/* Give the disk what came; at the end of the file, commit. */
static void
step_put(struct gw_transfer *t)
{
	struct td_buf empty;

	td_timer_set(t->w->loop, &t->stall, STALL_MS);
	if (t->busy || t->step != ST_DATA)
		return;
	if (t->at < t->size && t->in.len < PIECE) {
		gw_io_ops.pause(gw_http_io(t->h), false);
		return; /* a small piece waits for more */
	}
	if (t->in.len > 0) {
		empty = t->piece;
		t->piece = t->in;
		t->in = empty;
		gw_io_ops.pause(gw_http_io(t->h), t->at == t->size);
		submit(t, job_write, written);
		return;
	}
	t->step = ST_COMMIT;
	submit(t, job_commit, committed);
}

void
gw_transfer_input(struct gw_transfer *t, const char *data, size_t len)
{
	uint64_t left = t->size - t->at;

	if (!t->put || t->step == ST_COMMIT)
		return;
	if (t->step != ST_DATA) { /* came with the head; the slot is being looked up */
		td_buf_add(&t->in, data, len);
		return;
	}
	if (td_loop_now(t->w->loop) - t->began > WHOLE_MS && !t->busy) {
		fail(t, 408);
		return;
	}
	if (len > left)
		len = (size_t)left; /* what is behind the body is nobody's: the connection closes */
	td_buf_add(&t->in, data, len);
	t->at += len;
	if (t->busy && t->in.len >= PIECE)
		gw_io_ops.pause(gw_http_io(t->h), true);
	step_put(t);
}

static void
created(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	if (abandoned(t))
		return;
	if (t->error != 0) {
		td_log_error(&t->w->gw->log, "upload-disk", "path=%s error=%s", td_escz(t->part),
			     strerror(t->error));
		fail(t, t->error == ENOSPC || t->error == EDQUOT ? 507 : 500);
		return;
	}
	t->step = ST_DATA;
	if (t->in.len > t->size)
		t->in.len = t->size;
	t->at = t->in.len;
	if (t->waits)
		td_buf_addz(gw_io_ops.out(gw_http_io(t->h)), "HTTP/1.1 100 Continue\r\n\r\n");
	gw_io_ops.pause(gw_http_io(t->h), false);
	step_put(t);
}

static struct td_str
bare_type(struct td_str s)
{
	ptrdiff_t semi = td_str_chr(s, ';');

	return td_str_trim(semi < 0 ? s : td_str(s.p, (size_t)semi));
}

static void
on_slot(void *arg, const struct store_result *r, const struct store_upload *u, size_t n)
{
	struct gw_transfer *t = arg;
	struct td_buf part = { 0 };

	t->taken = r->rc == 0;
	if (abandoned(t))
		return;
	if (r->rc < 0 || n == 0) {
		fail(t, r->rc == TD_E_NOTFOUND ? 404 : 500);
		return;
	}
	if (u->size != t->size) { /* 7: MUST */
		fail(t, t->size > u->size ? 413 : 400);
		return;
	}
	if (u->type.len > 0 && t->want_type != NULL &&
	    !td_str_ieq(bare_type(u->type), bare_type(td_cstr(t->want_type)))) {
		fail(t, 415);
		return;
	}
	t->path = path_of(t->w->gw, t->w->env->conf, u->service, t->id);
	td_buf_addf(&part, "%s.part", t->path);
	t->part = td_buf_cstr(&part);
	t->step = ST_OPEN;
	submit(t, job_create, created);
}

/* ---- GET, HEAD ---- */

/* Shown in the page; everything else is for saving. */
static bool
is_safe(struct td_str type)
{
	static const char *const safe[] = {
		"image/png",  "image/jpeg", "image/gif",  "image/webp", "image/avif",
		"image/bmp",  "audio/mpeg", "audio/ogg",  "audio/mp4",  "audio/aac",
		"audio/flac", "audio/wav",  "audio/webm", "audio/opus", "video/mp4",
		"video/webm", "video/ogg",  "video/mpeg", "text/plain", "audio/x-m4a",
	};

	type = bare_type(type);
	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		if (td_str_ieq(type, td_cstr(safe[i])))
			return true;
	return false;
}

static void
add_disposition(const struct gw_transfer *t, struct td_buf *out)
{
	td_buf_addf(out, "Content-Disposition: %s; filename*=UTF-8''",
		    is_safe(td_cstr(t->type)) ? "inline" : "attachment");
	for (const unsigned char *p = (const unsigned char *)t->name; *p != '\0'; p++)
		if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
		    (*p >= 'A' && *p <= 'Z') || *p == '.' || *p == '-' || *p == '_')
			td_buf_addc(out, (char)*p);
		else
			td_buf_addf(out, "%%%02X", *p);
	td_buf_addz(out, "\r\n");
}

static bool
etag_in(const char *list, const char *id)
{
	struct td_buf tag = { 0 };
	bool yes;

	if (list == NULL)
		return false;
	td_buf_addf(&tag, "\"%s\"", id);
	yes = strcmp(list, "*") == 0 || strstr(list, td_buf_cstr(&tag)) != NULL;
	td_buf_fini(&tag);
	return yes;
}

static void
send_head(struct gw_transfer *t, unsigned status)
{
	struct td_buf x = { 0 };
	int64_t left = (t->expires - (int64_t)td_wall_ms()) / 1000;
	char date[32];

	gw_http_date((uint64_t)t->made / 1000, date);
	td_buf_addf(&x, "ETag: \"%s\"\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\n", t->id,
		    date);
	td_buf_addf(&x, "Cache-Control: max-age=%lld, immutable\r\n",
		    (long long)(left < 0          ? 0
				: left > 31536000 ? 31536000
						  : left));
	td_buf_addz(&x, "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; "
			"sandbox\r\nCross-Origin-Resource-Policy: cross-origin\r\n");
	add_disposition(t, &x);
	if (status == 206)
		td_buf_addf(&x, "Content-Range: bytes %llu-%llu/%llu\r\n",
			    (unsigned long long)t->at, (unsigned long long)t->end - 1,
			    (unsigned long long)t->size);
	if (status == 416)
		td_buf_addf(&x, "Content-Range: bytes */%llu\r\n", (unsigned long long)t->size);
	gw_http_head(t->h, status, status == 416 || status == 304 ? NULL : t->type, td_buf_cstr(&x),
		     status == 416 ? 0 : t->end - t->at);
	td_buf_fini(&x);
}

static void
finish_get(struct gw_transfer *t)
{
	struct gw_http *h = t->h;

	t->h = NULL;
	gw_http_done(h);
	transfer_free(t);
}

static void
job_read(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;
	size_t want = t->end - t->at < PIECE ? (size_t)(t->end - t->at) : PIECE;
	ssize_t n;

	td_buf_clear(&t->piece);
	do
		n = pread(t->fd, td_buf_reserve(&t->piece, want), want, (off_t)t->at);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		t->error = n < 0 ? errno : EIO;
	else
		t->piece.len = (size_t)n;
}

static void
was_read(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;

	if (abandoned(t))
		return;
	if (t->error != 0) { /* the head is out: only an early end can tell */
		td_log_error(&t->w->gw->log, "upload-disk", "path=%s error=%s", td_escz(t->path),
			     strerror(t->error));
		t->step = ST_COMMIT; /* no more pieces */
		gw_io_ops.shut(gw_http_io(t->h));
		return;
	}
	td_timer_set(t->w->loop, &t->stall, STALL_MS);
	td_buf_adds(gw_io_ops.out(gw_http_io(t->h)), td_buf_str(&t->piece));
	t->at += t->piece.len;
	if (t->at == t->end)
		finish_get(t);
	/* else the next piece when this one is with the kernel */
}

void
gw_transfer_flushed(struct gw_transfer *t)
{
	if (!t->put && t->step == ST_DATA && !t->busy)
		submit(t, job_read, was_read);
}

static void
job_open(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;
	struct stat st;

	t->fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (t->fd < 0)
		t->error = errno;
	else if (fstat(t->fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != t->size)
		t->error = EIO;
}

static void
opened(struct gw_job *job)
{
	struct gw_transfer *t = (struct gw_transfer *)job;
	unsigned status = 200;

	if (abandoned(t))
		return;
	if (t->error != 0) {
		td_log_error(&t->w->gw->log, "upload-disk", "path=%s error=%s", td_escz(t->path),
			     strerror(t->error));
		fail(t, t->error == ENOENT ? 404 : 500);
		return;
	}
	t->end = t->size;
	if (etag_in(t->if_none, t->id))
		status = 304;
	else if (t->range != NULL && (t->if_range == NULL || etag_in(t->if_range, t->id)))
		status = gw_range_parse(td_cstr(t->range), t->size, &t->at, &t->end);
	send_head(t, status);
	t->step = ST_DATA;
	td_timer_set(t->w->loop, &t->stall, STALL_MS);
	if (t->head_only || status == 304 || status == 416)
		finish_get(t);
	/* else the first piece follows the head: gw_transfer_flushed */
}

static void
on_row(void *arg, const struct store_result *r, const struct store_upload *u, size_t n)
{
	struct gw_transfer *t = arg;

	if (abandoned(t))
		return;
	if (r->rc < 0 || n == 0) {
		fail(t, r->rc == TD_E_NOTFOUND ? 404 : 500);
		return;
	}
	t->size = u->size;
	t->made = u->made;
	t->expires = u->expires;
	t->type = u->type.len > 0 ? td_strndup(u->type) : td_strdup("application/octet-stream");
	t->name = td_strndup(u->name);
	t->path = path_of(t->w->gw, t->w->env->conf, u->service, t->id);
	t->step = ST_OPEN;
	submit(t, job_open, opened);
}

/* ---- requests ---- */

static char *
copy_field(const struct gw_head *head, const char *name)
{
	struct td_str v = gw_head_field(head, name);

	return v.len > 0 ? td_strndup(v) : NULL;
}

void
gw_transfer_closed(struct gw_transfer *t)
{
	t->h = NULL;
	if (!t->busy)
		undo(t);
}

void
gw_upload_request(struct gw_http *h, const struct gw_head *head, struct td_str body)
{
	struct gw_worker *w = gw_http_worker(h);
	struct gw_transfer *t;
	char id[ID_LEN + 1];

	(void)body;
	if (!id_of(head->path, id)) {
		gw_http_error(h, 404);
		return;
	}
	if (head->method == HM_PUT && head->length < 0) {
		gw_http_error(h, 411);
		return;
	}
	t = td_zalloc(sizeof(*t));
	t->h = h;
	t->w = w;
	t->fd = -1;
	t->stall.fire = on_stall;
	t->began = td_loop_now(w->loop);
	memcpy(t->id, id, sizeof(id));
	t->put = head->method == HM_PUT;
	t->head_only = head->method == HM_HEAD;
	t->want_type = copy_field(head, "content-type");
	t->range = copy_field(head, "range");
	t->if_range = copy_field(head, "if-range");
	t->if_none = copy_field(head, "if-none-match");
	t->waits = head->expect;
	t->busy = true;
	if (t->put) {
		t->size = (uint64_t)head->length;
		gw_http_transfer(h, t, true);
		gw_io_ops.pause(gw_http_io(h), true);
		store_upload_take(w->gw->store, td_cstr(t->id), w->loop, on_slot, t);
	} else {
		gw_http_transfer(h, t, false);
		store_upload_get(w->gw->store, td_cstr(t->id), w->loop, on_row, t);
	}
}

/* ---- the sweep ---- */

struct gw_sweep {
	struct gw_job job; /* first */
	struct gw_worker *w;
	struct td_timer timer;
	bool busy, stopped;
	char **paths;
	struct td_str *ids;
	size_t n;
	bool more;
};

static void
sweep_clear(struct gw_sweep *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->paths[i]);
		free((void *)(uintptr_t)s->ids[i].p);
	}
	free(s->paths);
	free(s->ids);
	s->paths = NULL;
	s->ids = NULL;
	s->n = 0;
}

static void
sweep_again(struct gw_sweep *s)
{
	s->busy = false;
	sweep_clear(s);
	if (s->stopped)
		free(s);
	else
		td_timer_set(s->w->loop, &s->timer, s->more ? 100 : SWEEP_MS);
}

static void
job_unlink(struct gw_job *job)
{
	struct gw_sweep *s = (struct gw_sweep *)job;
	struct td_buf part = { 0 };

	for (size_t i = 0; i < s->n; i++) {
		td_buf_clear(&part);
		td_buf_addf(&part, "%s.part", s->paths[i]);
		(void)unlink(s->paths[i]);
		(void)unlink(td_buf_cstr(&part));
	}
	td_buf_fini(&part);
}

static void
unlinked(struct gw_job *job)
{
	struct gw_sweep *s = (struct gw_sweep *)job;

	td_log_info(&s->w->gw->log, "upload-expired", "files=%zu", s->n);
	store_upload_del(s->w->gw->store, s->ids, s->n, (struct store_to){ 0 });
	sweep_again(s);
}

static void
on_expired(void *arg, const struct store_result *r, const struct store_upload *u, size_t n)
{
	struct gw_sweep *s = arg;

	if (r->rc < 0 || n == 0 || s->stopped) {
		s->more = false;
		sweep_again(s);
		return;
	}
	s->paths = td_alloc(n * sizeof(*s->paths));
	s->ids = td_alloc(n * sizeof(*s->ids));
	for (s->n = 0; s->n < n; s->n++) {
		s->ids[s->n] = td_cstr(td_strndup(u[s->n].id));
		s->paths[s->n] =
			path_of(s->w->gw, s->w->env->conf, u[s->n].service, s->ids[s->n].p);
	}
	s->more = n == SWEEP_MAX;
	s->job.run = job_unlink;
	s->job.done = unlinked;
	s->job.loop = s->w->loop;
	gw_disk_submit(s->w->gw, &s->job);
}

static void
on_sweep(struct td_timer *timer)
{
	struct gw_sweep *s = (struct gw_sweep *)((char *)timer - offsetof(struct gw_sweep, timer));

	s->busy = true;
	store_upload_expired(s->w->gw->store, SWEEP_MAX, s->w->loop, on_expired, s);
}

static void
begin_sweep(struct gw_worker *w, void *arg)
{
	struct gw_sweep *s = td_zalloc(sizeof(*s));

	(void)arg;
	s->w = w;
	s->timer.fire = on_sweep;
	w->sweep = s;
	td_timer_set(w->loop, &s->timer, 1000);
}

void
gw_upload_start(struct gw *gw)
{
	gw_worker_post(gw->workers[0], begin_sweep, NULL);
}

void
gw_upload_stop(struct gw_worker *w)
{
	struct gw_sweep *s = w->sweep;

	w->sweep = NULL;
	if (s == NULL)
		return;
	td_timer_clear(w->loop, &s->timer);
	s->stopped = true;
	if (!s->busy)
		free(s);
}
