/* test_captcha - the picture of a challenge: a PNG that holds what it says, small enough, with the text in it. */
#include "xmpp/captcha_draw.h"

#include <check.h>
#include <stdlib.h>
#include "xmpp/xep/xep_0231_bob.h"

#define STRIDE (XMPP_CAPTCHA_WIDTH / 4 + 1)
/* signature, IHDR, IDAT's head, zlib's and the block's */
#define ROWS_AT (8 + 25 + 8 + 7)

static uint32_t
u32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* How dark the picture is between two columns. */
static unsigned
ink(const struct td_buf *png, unsigned from, unsigned to)
{
	const unsigned char *rows = (const unsigned char *)png->p + ROWS_AT;
	unsigned n = 0;

	for (unsigned y = 0; y < XMPP_CAPTCHA_HEIGHT; y++)
		for (unsigned x = from; x < to; x++)
			n += 3u - (rows[y * STRIDE + 1 + x / 4] >> (6 - x % 4 * 2) & 3u);
	return n;
}

START_TEST(is_png)
{
	static const char *const types[] = { "IHDR", "IDAT", "IEND" };
	struct td_buf png = { 0 };
	size_t at = 8;

	xmpp_captcha_draw("AHM347", 1, &png);
	ck_assert_uint_lt(png.len, XMPP_BOB_MAX);
	ck_assert_mem_eq(png.p, "\x89PNG\r\n\x1a\n", 8);
	ck_assert_uint_eq(u32(png.p + 16), XMPP_CAPTCHA_WIDTH);
	ck_assert_uint_eq(u32(png.p + 20), XMPP_CAPTCHA_HEIGHT);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_le(at + 12, png.len);
		ck_assert_mem_eq(png.p + at + 4, types[i], 4);
		at += 12 + u32(png.p + at);
	}
	ck_assert_uint_eq(at, png.len);
	/* the end never changes: type and checksum as in every PNG */
	ck_assert_mem_eq(png.p + png.len - 8, "IEND\xae\x42\x60\x82", 8);
	td_buf_fini(&png);
}
END_TEST

START_TEST(follows_text_and_seed)
{
	struct td_buf a = { 0 }, b = { 0 };

	xmpp_captcha_draw("AHM347", 7, &a);
	xmpp_captcha_draw("AHM347", 7, &b);
	ck_assert(td_str_eq(td_buf_str(&a), td_buf_str(&b)));
	td_buf_clear(&b);
	xmpp_captcha_draw("AHM347", 8, &b);
	ck_assert(!td_str_eq(td_buf_str(&a), td_buf_str(&b)));
	td_buf_clear(&b);
	xmpp_captcha_draw("AHM349", 7, &b);
	ck_assert(!td_str_eq(td_buf_str(&a), td_buf_str(&b)));
	td_buf_fini(&a);
	td_buf_fini(&b);
}
END_TEST

/* Each letter stands in its part of the picture, and far from any border. */
START_TEST(shows_letters)
{
	static const char gap[] = "      ";
	struct td_buf png = { 0 }, empty = { 0 };
	char text[XMPP_CAPTCHA_LETTERS + 1];

	for (uint64_t seed = 0; seed < 40; seed++) {
		for (size_t i = 0; i < XMPP_CAPTCHA_LETTERS; i++) {
			unsigned middle = 15 + (unsigned)(35 * i) + 17;

			memcpy(text, gap, sizeof(text));
			text[i] = 'H';
			td_buf_clear(&png);
			td_buf_clear(&empty);
			xmpp_captcha_draw(text, seed, &png);
			xmpp_captcha_draw(gap, seed, &empty);
			ck_assert_uint_gt(ink(&png, middle - 22, middle + 22),
					  ink(&empty, middle - 22, middle + 22) + 900);
			if (middle > 60)
				ck_assert_uint_eq(ink(&png, 0, middle - 40),
						  ink(&empty, 0, middle - 40));
		}
	}
	td_buf_fini(&png);
	td_buf_fini(&empty);
}
END_TEST

START_TEST(texts_are_fair)
{
	unsigned count[256] = { 0 }, kinds = 0, n = 4000;
	char text[XMPP_CAPTCHA_LETTERS + 1];

	for (unsigned i = 0; i < n; i++) {
		xmpp_captcha_text(text);
		ck_assert_uint_eq(strlen(text), XMPP_CAPTCHA_LETTERS);
		ck_assert_ptr_null(strpbrk(text, "O0QI1LS5Z2G8"));
		for (size_t k = 0; k < XMPP_CAPTCHA_LETTERS; k++)
			count[(unsigned char)text[k]]++;
	}
	for (size_t i = 0; i < 256; i++)
		kinds += count[i] > 0;
	ck_assert_uint_ge(kinds, 20);
	for (size_t i = 0; i < 256; i++)
		if (count[i] > 0) { /* within a quarter of the others */
			ck_assert_uint_gt(count[i] * kinds * 4, n * XMPP_CAPTCHA_LETTERS * 3);
			ck_assert_uint_lt(count[i] * kinds * 4, n * XMPP_CAPTCHA_LETTERS * 5);
		}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("captcha");
	TCase *tc = tcase_create("picture");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, is_png);
	tcase_add_test(tc, follows_text_and_seed);
	tcase_add_test(tc, shows_letters);
	tcase_add_test(tc, texts_are_fair);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
