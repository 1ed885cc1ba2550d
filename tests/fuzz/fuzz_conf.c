/* fuzz_conf - any bytes as a configuration: no crash, and what loads dumps to a text that
 * loads to the same dump.  The first line also serves as a console path. */
#include <stdint.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ask(const struct conf *c, struct td_str text)
{
	ptrdiff_t nl = td_str_chr(text, '\n');
	struct td_str path = nl >= 0 ? td_str(text.p, (size_t)nl) : text;
	const struct conf_at at = { .protocol = "xmpp", .domain = path };
	struct td_str value = text;
	struct conf_report report;
	struct td_buf out = { 0 };
	struct conf *changed = NULL;
	struct td_err err;

	conf_str(c, &at, "gateway");
	conf_cmd_eval(c, path, TD_STR("tls_certificate"), &out, &err);
	conf_cmd_show(c, path, true, &out, &err);
	if (conf_with(c, path, TD_STR("tls_certificate"), &value, &changed, &report) == 0)
		conf_diff_restart(c, changed, &out);
	conf_report_fini(&report);
	conf_unref(&changed);
	td_buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_str text = td_str((const char *)data, size);
	struct td_buf one = { 0 }, two = { 0 };
	struct conf_report report;
	struct conf *c = NULL, *again = NULL;

	if (size > 65536)
		return 0;
	if (conf_load_text("fuzz", text, &c, &report) == 0) {
		conf_dump(c, &one);
		conf_notes(c, &two);
		td_buf_clear(&two);
		ask(c, text);
		conf_report_fini(&report);
		if (conf_load_text("dump", td_buf_str(&one), &again, &report) != 0)
			abort();
		conf_dump(again, &two);
		if (!td_str_eq(td_buf_str(&one), td_buf_str(&two)))
			abort();
	}
	conf_report_fini(&report);
	conf_unref(&c);
	conf_unref(&again);
	td_buf_fini(&one);
	td_buf_fini(&two);
	return 0;
}
