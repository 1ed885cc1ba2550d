/* post - small things every part asks the process for: the snapshot, a path, work on a worker. */
#include <pthread.h>
#include <stdlib.h>
#include "gateway/gateway.h"

struct conf *
gw_conf_get(struct gw *gw)
{
	struct conf *c;

	pthread_mutex_lock(gw->conf_lock);
	c = conf_ref(gw->conf);
	pthread_mutex_unlock(gw->conf_lock);
	return c;
}

char *
gw_path(const struct gw *gw, struct td_str path)
{
	struct td_buf b = { 0 };

	if (path.len == 0 || path.p[0] != '/')
		td_buf_addf(&b, "%s/", gw->data_dir);
	td_buf_adds(&b, path);
	return td_buf_cstr(&b); /* the buffer's memory goes with it */
}

struct errand {
	struct td_mail mail;
	struct gw_worker *w;
	void (*fn)(struct gw_worker *, void *);
	void *arg;
};

static void
on_errand(struct td_mail *m, struct td_loop *loop)
{
	struct errand e = *(struct errand *)m;

	(void)loop;
	free(m);
	e.fn(e.w, e.arg);
}

void
gw_worker_post(struct gw_worker *w, void (*fn)(struct gw_worker *, void *), void *arg)
{
	struct errand *e = td_alloc(sizeof(*e));

	e->mail.run = on_errand;
	e->w = w;
	e->fn = fn;
	e->arg = arg;
	td_loop_post(w->loop, &e->mail);
}
