/* err - how a function says what went wrong: 0 or a negative TD_E_*, and the text.
 * Thread: any; touches only its arguments. */
#ifndef TD_ERR_H
#define TD_ERR_H

enum td_errcode {
	TD_OK = 0,
	TD_E_INVAL = -1,    /* the input is malformed */
	TD_E_NOTFOUND = -2, /* no such thing */
	TD_E_EXISTS = -3,   /* it is there already */
	TD_E_DENIED = -4,   /* not allowed */
	TD_E_LIMIT = -5,    /* too large, too many, too deep */
	TD_E_IO = -6,       /* file, socket, library failure */
	TD_E_FULL = -7,     /* no space: disk or quota */
	TD_E_BUSY = -8,     /* locked or overloaded; try again */
	TD_E_TIMEOUT = -9,
	TD_E_UNSUPPORTED = -10,
	TD_E_CORRUPT = -11, /* stored data fails its check */
	TD_E_SCRIPT = -12,  /* a scriptlet raised, or overran its budget */
};

struct td_err {
	int code;
	char text[240];
};

/* Set code and text (both ignored when err is NULL); return <code>. */
int td_fail(struct td_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Put "context: " before the text; return err->code (TD_E_IO when err is NULL). */
int td_wrap(struct td_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Stable lower-case name, e.g. "not-found". */
const char *td_errname(int code);
#endif
