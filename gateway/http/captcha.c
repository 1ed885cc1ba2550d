/* captcha - the web page of a challenge (XEP-0158): the picture, the question, and a field for the answer.
 *
 *   GET /captcha/ID       the page
 *   GET /captcha/ID.png   the picture, drawn anew
 *   POST /captcha/ID      the answer, as a form of a browser sends it
 *
 * The id is all that one has to know; it was told to nobody but who was asked.  Nothing on the page is from a peer. */
#include "conf/conf.h"
#include "gateway/gateway.h"
#include "gateway/http/http.h"
#include "xmpp/captcha.h"

#define FIELDS_MAX 8u

static const char headers[] =
	"Cache-Control: no-store\r\n"
	"Content-Security-Policy: default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; "
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'\r\n"
	"Referrer-Policy: no-referrer\r\n";

static void
reply_page(struct gw_http *h, unsigned status, const char *title, struct td_str content)
{
	struct td_buf b = { 0 };

	td_buf_addf(
		&b,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<meta name=\"viewport\" content=\"width=device-width\"><title>%s</title>"
		"<style>body{font-family:sans-serif;max-width:30em;margin:3em auto;padding:0 1em}"
		"img,input{display:block;margin:.5em 0 1em}</style></head><body><h1>%s</h1>\n",
		title, title);
	td_buf_adds(&b, content);
	td_buf_addz(&b, "</body></html>\n");
	gw_http_reply(h, status, "text/html; charset=utf-8", headers, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
gone(struct gw_http *h)
{
	reply_page(h, 404, "Not found",
		   TD_STR("<p>There is no such challenge, it was answered, or its time is "
			  "over.</p>\n"));
}

static void
add_field(struct td_buf *b, const char *name, struct td_str label)
{
	td_buf_addf(b, "<label for=\"%s\">", name);
	td_buf_add_xml(b, label);
	td_buf_addf(
		b, "</label><input id=\"%s\" name=\"%s\" autocomplete=\"off\" maxlength=\"200\">\n",
		name, name);
}

static void
show(struct gw_http *h, const struct xmpp_captcha *c)
{
	struct td_buf b = { 0 };

	if (c->passed) {
		reply_page(h, 200, "Thank you",
			   TD_STR("<p>This was answered. Go back to where you came from.</p>\n"));
		return;
	}
	td_buf_addf(&b,
		    "<form method=\"post\" action=\"" XMPP_CAPTCHA_PATH "%s\">"
		    "<img src=\"" XMPP_CAPTCHA_PATH "%s.png\" width=\"%u\" height=\"%u\" "
		    "alt=\"letters and digits, bent and crossed by lines\">\n",
		    c->id, c->id, XMPP_CAPTCHA_WIDTH, XMPP_CAPTCHA_HEIGHT);
	add_field(&b, "ocr", TD_STR("Enter the text you see"));
	if (c->question[0] != '\0') {
		td_buf_addz(&b, "<p>Or answer this in place of it:</p>\n");
		add_field(&b, "qa", td_cstr(c->question));
	}
	td_buf_addz(&b, "<input type=\"submit\" value=\"Send\"></form>\n");
	reply_page(h, 200, "Are you a person?", td_buf_str(&b));
	td_buf_fini(&b);
}

static void
picture(struct gw_http *h, const struct xmpp_captcha *c)
{
	struct td_buf png = { 0 };

	xmpp_captcha_draw(c->text, c->seed, &png);
	gw_http_reply(h, 200, "image/png", headers, td_buf_str(&png));
	td_buf_fini(&png);
}

/* ---- the answer ---- */

/* A value of application/x-www-form-urlencoded; what is malformed is empty. */
static struct td_str
decode(struct td_arena *a, struct td_str s)
{
	struct td_str plain = td_arena_str(a, s), out;
	struct td_buf b = { 0 };

	for (char *p = (char *)(uintptr_t)plain.p; p < plain.p + plain.len; p++)
		if (*p == '+')
			*p = ' ';
	out = gw_path_decode(plain, &b) && td_utf8_valid(td_buf_str(&b))
		      ? td_arena_str(a, td_str(b.p != NULL ? b.p : "", b.len))
		      : TD_STR("");
	td_buf_fini(&b);
	return out;
}

static void
read_form(struct td_arena *a, struct td_str body, struct xmpp_form *form)
{
	form->kind = FORM_SUBMIT;
	form->fields = td_arena_zalloc(a, FIELDS_MAX * sizeof(*form->fields));
	while (body.len > 0 && form->n < FIELDS_MAX) {
		ptrdiff_t amp = td_str_chr(body, '&'), eq;
		struct td_str pair = td_str(body.p, amp < 0 ? body.len : (size_t)amp);
		struct td_str *value = td_arena_alloc(a, sizeof(*value));

		eq = td_str_chr(pair, '=');
		if (eq > 0) {
			*value = decode(a, td_str(pair.p + eq + 1, pair.len - (size_t)eq - 1));
			form->fields[form->n++] =
				(struct xmpp_form_field){ td_str(pair.p, (size_t)eq), value, 1 };
		}
		body = amp < 0 ? TD_STR_NULL : td_str(pair.p + amp + 1, body.len - pair.len - 1);
	}
}

static void
take_answer(struct gw_http *h, struct td_str id, struct td_str body)
{
	struct td_arena *a = td_arena_new(1024);
	struct xmpp_form form = { 0 };

	read_form(a, body, &form);
	switch (xmpp_captcha_answer(gw_http_worker(h)->env, id, TD_STR_NULL, &form)) {
	case CAPTCHA_UNKNOWN: gone(h); break;
	case CAPTCHA_WRONG:
		reply_page(h, 403, "No",
			   TD_STR("<p>This was not the answer. Try again from the beginning to get "
				  "another challenge.</p>\n"));
		break;
	case CAPTCHA_RIGHT:
		reply_page(h, 200, "Thank you",
			   TD_STR("<p>You can go back to where you came from.</p>\n"));
		break;
	}
	td_arena_free(a);
}

void
gw_captcha_request(struct gw_http *h, const struct gw_head *head, struct td_str body)
{
	size_t skip = sizeof(XMPP_CAPTCHA_PATH) - 1;
	struct td_str id = td_str(head->path.p + skip, head->path.len - skip);
	bool png = td_str_ends(id, ".png");
	struct xmpp_captcha c;

	if (png)
		id.len -= 4;
	if (head->method == HM_POST && !png)
		take_answer(h, id, body);
	else if (head->method == HM_POST || !xmpp_captcha_look(id, &c))
		gone(h);
	else if (png && !c.passed)
		picture(h, &c);
	else
		show(h, &c);
}
