/* head - parse the head of an HTTP/1.x request (RFC 9112 3-6, RFC 9110 5).
 * Thread: any; touches only its arguments.  Everything points into the given bytes.  Strict: what two parsers
 * could read in two ways (bare LF, folded lines, blanks before a colon, a length said twice) is refused. */
#ifndef GATEWAY_HTTP_HEAD_H
#define GATEWAY_HTTP_HEAD_H
#include "gateway/base/str.h"

#define GW_HEAD_MAX 16384u
#define GW_HEAD_FIELDS 64u

enum gw_method {
	HM_GET = 0,
	HM_HEAD,
	HM_POST,
	HM_PUT,
	HM_OPTIONS,
	HM_OTHER,
	HM_COUNT /* must be last */
};

struct gw_field {
	struct td_str name, value; /* the value without blanks around it */
};

struct gw_head {
	enum gw_method method;
	struct td_str path; /* as sent, without query; begins with '/', or is "*" */
	struct td_str host;
	unsigned minor; /* HTTP/1.minor */
	bool keep_alive;
	bool expect;    /* Expect: 100-continue */
	int64_t length; /* of the body; -1 = none was given */
	struct gw_field fields[GW_HEAD_FIELDS];
	size_t n;
};

/* Bytes of the head (the body follows), 0 = more is needed, or minus the HTTP status to answer with before the
 * connection is closed. */
long gw_head_parse(struct td_str in, struct gw_head *out);
/* The first field of that name (any case); TD_STR_NULL when absent. */
struct td_str gw_head_field(const struct gw_head *h, const char *name);
size_t gw_head_count(const struct gw_head *h, const char *name);
/* Is <token> (any case) in the comma-separated lists of these fields? */
bool gw_head_has_token(const struct gw_head *h, const char *name, const char *token);
/* One range of bytes of a body of <size> (RFC 9110 14.2): 206 = from *at until before *end; 200 = it is none, or none
 * that is served: all of the body; 416 = it lies behind the end. */
unsigned gw_range_parse(struct td_str field, uint64_t size, uint64_t *at, uint64_t *end);
/* <s> with %XX decoded and "+" left alone, into <out>; false: malformed, or a control character. */
bool gw_path_decode(struct td_str s, struct td_buf *out);
#endif
