/* lib_log - takes the place of the C library's syslog, the only way libmilter speaks: its lines
 * go to our log.  (Symbols of the program come before those of shared libraries.) */
#include "milter/io_libmilter.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>
#include "gateway/base/log.h"

static const struct td_logctx lib_log = { .domain = "milter.lib" };
static _Atomic unsigned long lines;

/* what syslog.h's fortified inlines would define again */
#undef syslog
#undef vsyslog
void milt_syslog(int pri, const char *fmt, ...) __asm__("syslog")
	__attribute__((format(printf, 2, 3)));
void milt_syslog_chk(int pri, int flag, const char *fmt, ...) __asm__("__syslog_chk")
	__attribute__((format(printf, 3, 4)));
void milt_vsyslog(int pri, const char *fmt, va_list ap) __asm__("vsyslog")
	__attribute__((format(printf, 2, 0)));
void milt_vsyslog_chk(int pri, int flag, const char *fmt, va_list ap) __asm__("__vsyslog_chk")
	__attribute__((format(printf, 3, 0)));

static void __attribute__((format(printf, 2, 0))) write_line(int pri, const char *fmt, va_list ap)
{
	char text[512];
	int level = LOG_PRI(pri);

	(void)vsnprintf(text, sizeof(text), fmt, ap); /* knows %m */
	atomic_fetch_add(&lines, 1);
	if (level <= LOG_WARNING)
		td_log_warn(&lib_log, "lib", "text=%s", td_escz(text));
	else if (level == LOG_NOTICE)
		td_log_notice(&lib_log, "lib", "text=%s", td_escz(text));
	else
		td_log_debug(&lib_log, "lib", "text=%s", td_escz(text));
}

void
milt_syslog(int pri, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(pri, fmt, ap);
	va_end(ap);
}

void
milt_syslog_chk(int pri, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	write_line(pri, fmt, ap);
	va_end(ap);
}

void
milt_vsyslog(int pri, const char *fmt, va_list ap)
{
	write_line(pri, fmt, ap);
}

void
milt_vsyslog_chk(int pri, int flag, const char *fmt, va_list ap)
{
	(void)flag;
	write_line(pri, fmt, ap);
}

unsigned long
milt_lib_log_lines(void)
{
	return atomic_load(&lines);
}
