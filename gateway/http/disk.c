/* disk - the pool: a queue, a lock, some threads. */
#include "gateway/http/disk.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS 2u

struct gw_disk {
	pthread_mutex_t lock; /* guards queue, stopping */
	pthread_cond_t more;
	STAILQ_HEAD(, gw_job) queue;
	bool stopping;
	pthread_t threads[THREADS];
	unsigned n;
};

static void
on_done(struct td_mail *m, struct td_loop *loop)
{
	struct gw_job *job = (struct gw_job *)m;

	(void)loop;
	job->done(job);
}

static void
finish(struct gw_job *job)
{
	job->run(job);
	job->mail.run = on_done;
	td_loop_post(job->loop, &job->mail);
}

static void *
work(void *arg)
{
	struct gw_disk *d = arg;
	struct gw_job *job;

	(void)pthread_setname_np(pthread_self(), "disk");
	pthread_mutex_lock(&d->lock);
	for (;;) {
		job = STAILQ_FIRST(&d->queue);
		if (job == NULL && d->stopping)
			break;
		if (job == NULL) {
			pthread_cond_wait(&d->more, &d->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&d->queue, link);
		pthread_mutex_unlock(&d->lock);
		finish(job);
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int
gw_disk_start(struct gw *gw, struct td_err *err)
{
	struct gw_disk *d = td_zalloc(sizeof(*d));

	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->more, NULL);
	STAILQ_INIT(&d->queue);
	gw->disk = d;
	for (; d->n < THREADS; d->n++) {
		int rc = pthread_create(&d->threads[d->n], NULL, work, d);

		if (rc != 0)
			return td_fail(err, TD_E_IO, "cannot start a thread: %s", strerror(rc));
	}
	return 0;
}

void
gw_disk_stop(struct gw *gw)
{
	struct gw_disk *d = gw->disk;

	if (d == NULL)
		return;
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_broadcast(&d->more);
	pthread_mutex_unlock(&d->lock);
	while (d->n > 0)
		pthread_join(d->threads[--d->n], NULL);
}

void
gw_disk_free(struct gw *gw)
{
	struct gw_disk *d = gw->disk;

	gw->disk = NULL;
	if (d == NULL)
		return;
	pthread_cond_destroy(&d->more);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void
gw_disk_submit(struct gw *gw, struct gw_job *job)
{
	struct gw_disk *d = gw->disk;
	bool mine;

	pthread_mutex_lock(&d->lock);
	mine = d->stopping;
	if (!mine) {
		STAILQ_INSERT_TAIL(&d->queue, job, link);
		pthread_cond_signal(&d->more);
	}
	pthread_mutex_unlock(&d->lock);
	if (mine)
		finish(job);
}
