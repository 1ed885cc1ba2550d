/* disk - a few threads for file work, so that no worker waits for a disk.
 * Thread: submit from any loop's thread; run() on a disk thread, done() back on the job's loop.
 * Ownership: the job is the caller's; between submit and done it belongs to the pool and nothing it names may be
 * touched. */
#ifndef GATEWAY_HTTP_DISK_H
#define GATEWAY_HTTP_DISK_H
#include <sys/queue.h>
#include "gateway/gateway.h"

struct gw_job {
	struct td_mail mail;
	STAILQ_ENTRY(gw_job) link;
	struct td_loop *loop;
	void (*run)(struct gw_job *job);
	void (*done)(struct gw_job *job);
};

int gw_disk_start(struct gw *gw, struct td_err *err);
/* What was submitted is finished; later jobs are run by their submitters.  Main. */
void gw_disk_stop(struct gw *gw);
/* After the workers are gone. */
void gw_disk_free(struct gw *gw);
void gw_disk_submit(struct gw *gw, struct gw_job *job);
#endif
