/* form - data forms (XEP-0004 2.13, XEP-0068): read what was submitted, write what is asked or answered.
 * Thread: any; touches only its arguments.
 *
 * A submit may leave fields out: xmpp_form_field gives NULL then, and the caller keeps what was.  Types of fields
 * are the reader's knowledge, never the sender's claim. */
#ifndef XMPP_FORM_H
#define XMPP_FORM_H
#include <stdbool.h>
#include "gateway/base/str.h"
#include "xmpp/xml.h"

#define NS_DATA_FORM "jabber:x:data"
#define XMPP_FORM_FIELDS_MAX 200u
#define XMPP_FORM_VALUES_MAX 1000u

struct td_arena;

enum xmpp_form_kind {
	FORM_FORM = 0,
	FORM_SUBMIT,
	FORM_CANCEL,
	FORM_RESULT
};
struct xmpp_form_field {
	struct td_str var;
	const struct td_str *values;
	size_t n;
};
struct xmpp_form {
	enum xmpp_form_kind kind;
	struct td_str type; /* FORM_TYPE; TD_STR_NULL = none */
	struct xmpp_form_field *fields;
	size_t n;
};

/* The <x/> of jabber:x:data below <parent>; NULL when there is none. */
struct xmpp_node *xmpp_form_find(const struct xmpp_node *parent);
/* Read <x>; strings point into it or <a>.  TD_E_INVAL (unknown type, a field without var in a submit, one var twice),
 * TD_E_LIMIT (too many fields or values). */
int xmpp_form_read(struct td_arena *a, const struct xmpp_node *x, struct xmpp_form *out);
const struct xmpp_form_field *xmpp_form_field(const struct xmpp_form *f, const char *var);
/* The first value; TD_STR_NULL when the field is absent, "" when it has none. */
struct td_str xmpp_form_value(const struct xmpp_form *f, const char *var);
/* "1", "true", "0", "false" into *out; absent: *out unchanged.  False: it is something else. */
bool xmpp_form_bool(const struct xmpp_form *f, const char *var, bool *out);
/* A number in [min, max] likewise. */
bool xmpp_form_int(const struct xmpp_form *f, const char *var, int64_t min, int64_t max,
		   int64_t *out);

/* Writing: open, fields, close.  <form_type> NULL = none; texts are escaped here. */
void xmpp_form_open(struct td_buf *out, enum xmpp_form_kind kind, const char *form_type);
void xmpp_form_title(struct td_buf *out, const char *title,
		     const char *instructions); /* NULL = none */
struct xmpp_form_option {
	const char *value, *label; /* a list ends with value NULL */
};
/* A field: <type> "text-single", ... (NULL: left out, as in results), <label> and <options> may be NULL. */
void xmpp_form_add(struct td_buf *out, const char *type, const char *var, const char *label,
		   const struct td_str *values, size_t n, const struct xmpp_form_option *options);
void xmpp_form_add1(struct td_buf *out, const char *type, const char *var, const char *label,
		    struct td_str value);
/* As xmpp_form_add, a field that must be filled in. */
void xmpp_form_add_required(struct td_buf *out, const char *type, const char *var,
			    const char *label, const struct td_str *values, size_t n,
			    const struct xmpp_form_option *options);
void xmpp_form_add_bool(struct td_buf *out, const char *var, const char *label, bool value);
void xmpp_form_add_int(struct td_buf *out, const char *type, const char *var, const char *label,
		       int64_t value);
/* text-multi: one <value/> per line of <text>. */
void xmpp_form_add_lines(struct td_buf *out, const char *var, const char *label,
			 struct td_str text);
void xmpp_form_close(struct td_buf *out);
#endif
