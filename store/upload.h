/* upload - what is known of files uploaded by HTTP (XEP-0363): slots given out, files that are there.
 * Thread: any may call; replies come on the loop given.  Arguments are copied.
 * Errors: as in store.h.  The files themselves are the gateway's; a row is deleted after its file. */
#ifndef STORE_UPLOAD_H
#define STORE_UPLOAD_H
#include "store/store.h"

#define STORE_UPLOAD_NEVER (INT64_C(1) << 62)
#define STORE_UPLOAD_SLOT_MS INT64_C(300000) /* XEP-0363 8: relatively low */
#define STORE_UPLOAD_BUSY_MS \
	INT64_C(7200000) /* after a crash, or longer than any upload may take */

enum store_upload_state {
	UPLOAD_SLOT = 0, /* given out, nothing came yet */
	UPLOAD_BUSY,     /* being written */
	UPLOAD_THERE,
	UPLOAD_GONE, /* the file is gone, the day's quota still counts it */
};
struct store_upload {
	struct td_str id, service, owner, name, type; /* type "" = any */
	uint64_t size;
	int state;
	int64_t made, expires; /* wall ms; of a slot: until when it may be used */
	int64_t keep_ms;       /* how long the file is kept once it is there; STORE_UPLOAD_NEVER */
};
/* What an account may have; 0 = unlimited. */
struct store_upload_limits {
	uint64_t quota, daily;
	unsigned slots; /* given out and not used */
};
typedef void store_upload_cb(void *arg, const struct store_result *r, const struct store_upload *u,
			     size_t n);

/* A new slot.  TD_E_FULL: beyond the limits; r->id is then when to try again, in wall ms (0: unknown). */
void store_upload_add(struct store *st, const struct store_upload *u,
		      const struct store_upload_limits *lim, struct store_to to);
/* The slot is used now: as get, and BUSY keeps others away.  NOTFOUND, also when it is used or too old. */
void store_upload_take(struct store *st, struct td_str id, struct td_loop *loop,
		       store_upload_cb *cb, void *arg);
/* The upload ended: the file is <there>, or the slot is free again.  NOTFOUND: it was deleted meanwhile. */
void store_upload_end(struct store *st, struct td_str id, bool there, struct store_to to);
/* A file that is there and not too old; NOTFOUND. */
void store_upload_get(struct store *st, struct td_str id, struct td_loop *loop, store_upload_cb *cb,
		      void *arg);
/* Up to <max> that have expired: delete their files, then say so with del. */
void store_upload_expired(struct store *st, unsigned max, struct td_loop *loop, store_upload_cb *cb,
			  void *arg);
void store_upload_del(struct store *st, const struct td_str *ids, size_t n, struct store_to to);
#endif
