/* err - error codes and their text. */
#include "gateway/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
td_fail(struct td_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return code;
	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

int
td_wrap(struct td_err *err, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	size_t used;
	va_list ap;
	int n;

	if (err == NULL)
		return TD_E_IO;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	used = n < 0 ? 0 : (size_t)n < sizeof(err->text) ? (size_t)n : sizeof(err->text) - 1;
	for (const char *c = ": "; *c != '\0' && used + 1 < sizeof(err->text); c++)
		err->text[used++] = *c;
	for (const char *c = old; *c != '\0' && used + 1 < sizeof(err->text); c++)
		err->text[used++] = *c;
	err->text[used] = '\0';
	return err->code;
}

const char *
td_errname(int code)
{
	static const char *const names[] = { "ok",     "invalid", "not-found",   "exists",
					     "denied", "limit",   "io",          "full",
					     "busy",   "timeout", "unsupported", "corrupt",
					     "script" };
	unsigned i = (unsigned)-code;

	return code <= 0 && i < sizeof(names) / sizeof(names[0]) ? names[i] : "unknown";
}
