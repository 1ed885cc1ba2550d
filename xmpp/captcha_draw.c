/* captcha_draw - letters turned, bent and crossed by lines, as a PNG of four greys.
 *
 * Each point of the picture is asked where it came from: bent back, then turned back into the square of each letter, whose
 * shape is a small bitmap read with soft edges.  So there are no outlines to fill, and nothing is drawn twice.
 * Four points per pixel make the greys.  With two bits per pixel the picture is small enough to need no compression: the PNG
 * holds its bytes as one stored block (RFC 1951 3.2.4). */
#include "xmpp/captcha_draw.h"

#include <math.h>

#define LETTER_W 5
#define LETTER_H 7
#define LINES 3u
#define ROW (XMPP_CAPTCHA_WIDTH / 4u + 1u) /* bytes, with the filter's */

// clang-format off
/* Rows from the top, five bits each. */
static const struct {
	char c;
	unsigned char rows[LETTER_H];
} letters[] = {
	{ 'A', { 0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11 } },
	{ 'B', { 0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e } },
	{ 'C', { 0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e } },
	{ 'D', { 0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e } },
	{ 'E', { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f } },
	{ 'F', { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10 } },
	{ 'H', { 0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11 } },
	{ 'J', { 0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c } },
	{ 'K', { 0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11 } },
	{ 'M', { 0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11 } },
	{ 'N', { 0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11 } },
	{ 'P', { 0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10 } },
	{ 'R', { 0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11 } },
	{ 'T', { 0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04 } },
	{ 'U', { 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e } },
	{ 'W', { 0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11 } },
	{ 'X', { 0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11 } },
	{ 'Y', { 0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04 } },
	{ '3', { 0x1e, 0x01, 0x01, 0x0e, 0x01, 0x01, 0x1e } },
	{ '4', { 0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02 } },
	{ '6', { 0x0e, 0x10, 0x10, 0x1e, 0x11, 0x11, 0x0e } },
	{ '7', { 0x1f, 0x01, 0x02, 0x02, 0x04, 0x04, 0x04 } },
	{ '9', { 0x0e, 0x11, 0x11, 0x0f, 0x01, 0x01, 0x0e } },
};
// clang-format on
#define N_LETTERS (sizeof(letters) / sizeof(letters[0]))

struct wave {
	double height, step, phase;
};
struct placed {
	const unsigned char *rows; /* NULL: a gap */
	double x, y, cos, sin, size;
};
struct scene {
	struct wave bend[2], line[LINES];
	double line_y[LINES];
	struct placed letter[XMPP_CAPTCHA_LETTERS];
	size_t n;
};

void
xmpp_captcha_text(char out[XMPP_CAPTCHA_LETTERS + 1])
{
	unsigned char b;

	for (size_t i = 0; i < XMPP_CAPTCHA_LETTERS;) {
		td_random(&b, sizeof(b));
		if (b < 256 - 256 % N_LETTERS) /* each as likely as the others */
			out[i++] = letters[b % N_LETTERS].c;
	}
	out[XMPP_CAPTCHA_LETTERS] = '\0';
}

/* ---- the scene ---- */

/* Between <from> and <to>; splitmix64. */
static double
draw_lot(uint64_t *state, double from, double to)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return from + (to - from) * ((double)(z >> 11) / 9007199254740992.0);
}

static struct wave
make_wave(uint64_t *state, double low, double high, double length)
{
	return (struct wave){
		.height = draw_lot(state, low, high),
		.step = 6.283185 / draw_lot(state, length * 0.8, length * 1.3),
		.phase = draw_lot(state, 0, 6.283185),
	};
}

static double
wave_at(const struct wave *w, double at)
{
	return w->height * sin(at * w->step + w->phase);
}

static const unsigned char *
shape_of(char c)
{
	for (size_t i = 0; i < N_LETTERS; i++)
		if (letters[i].c == c)
			return letters[i].rows;
	return NULL;
}

static void
make_scene(const char *text, uint64_t seed, struct scene *sc)
{
	double each = (XMPP_CAPTCHA_WIDTH - 30.0) / XMPP_CAPTCHA_LETTERS;

	sc->bend[0] = make_wave(&seed, 2.0, 4.0, 60);
	sc->bend[1] = make_wave(&seed, 3.0, 6.0, 110);
	for (sc->n = 0; sc->n < XMPP_CAPTCHA_LETTERS && text[sc->n] != '\0'; sc->n++) {
		struct placed *p = &sc->letter[sc->n];
		double turn = draw_lot(&seed, -0.35, 0.35);

		p->rows = shape_of(text[sc->n]);
		p->x = 15 + each * ((double)sc->n + 0.5) + draw_lot(&seed, -3, 3);
		p->y = XMPP_CAPTCHA_HEIGHT / 2.0 + draw_lot(&seed, -7, 7);
		p->cos = cos(turn);
		p->sin = sin(turn);
		p->size = draw_lot(&seed, 5.6, 6.8);
	}
	for (size_t i = 0; i < LINES; i++) {
		sc->line[i] = make_wave(&seed, 6, 16, 150);
		sc->line_y[i] = draw_lot(&seed, 20, XMPP_CAPTCHA_HEIGHT - 20);
	}
}

static double
bit_at(const unsigned char *rows, int u, int v)
{
	return u >= 0 && v >= 0 && u < LETTER_W && v < LETTER_H &&
			       (rows[v] >> (LETTER_W - 1 - u) & 1) != 0
		       ? 1.0
		       : 0.0;
}

/* How much of the letter is at (u, v) of its square: between the four bits around it. */
static double
shade(const unsigned char *rows, double u, double v)
{
	double fu, fv;
	int iu, iv;

	u -= 0.5;
	v -= 0.5;
	iu = (int)floor(u);
	iv = (int)floor(v);
	fu = u - iu;
	fv = v - iv;
	return (bit_at(rows, iu, iv) * (1 - fu) + bit_at(rows, iu + 1, iv) * fu) * (1 - fv) +
	       (bit_at(rows, iu, iv + 1) * (1 - fu) + bit_at(rows, iu + 1, iv + 1) * fu) * fv;
}

/* What the waves make of one column of points: all there is to know of it before its points are asked. */
struct column {
	double x, bend, line[LINES];
};

static void
make_column(const struct scene *sc, double x, struct column *out)
{
	out->x = x;
	out->bend = wave_at(&sc->bend[1], x);
	for (size_t i = 0; i < LINES; i++)
		out->line[i] = sc->line_y[i] + wave_at(&sc->line[i], x);
}

/* Is there ink at height <y> of the column?  <bend>: of the row. */
static bool
is_ink(const struct scene *sc, const struct column *col, double y, double bend)
{
	double x = col->x + bend;

	for (size_t i = 0; i < LINES; i++)
		if (fabs(y - col->line[i]) < 1.1)
			return true;
	y += col->bend;
	for (size_t i = 0; i < sc->n; i++) {
		const struct placed *p = &sc->letter[i];
		double dx = x - p->x, dy = y - p->y, u, v;

		if (p->rows == NULL || fabs(dx) > 32 || fabs(dy) > 36)
			continue;
		u = (dx * p->cos + dy * p->sin) / p->size + LETTER_W / 2.0;
		v = (dy * p->cos - dx * p->sin) / p->size + LETTER_H / 2.0;
		if (u > -0.5 && u < LETTER_W + 0.5 && v > -0.5 && v < LETTER_H + 0.5 &&
		    shade(p->rows, u, v) > 0.38)
			return true;
	}
	return false;
}

/* Four points per pixel: 0 is ink, 3 is paper. */
static void
paint(const struct scene *sc, unsigned char *rows)
{
	struct column cols[XMPP_CAPTCHA_WIDTH * 2];

	for (unsigned i = 0; i < XMPP_CAPTCHA_WIDTH * 2; i++)
		make_column(sc, i / 2.0 + 0.25, &cols[i]);
	for (unsigned y = 0; y < XMPP_CAPTCHA_HEIGHT; y++) {
		double y0 = y + 0.25, y1 = y + 0.75;
		double bend0 = wave_at(&sc->bend[0], y0), bend1 = wave_at(&sc->bend[0], y1);

		for (unsigned x = 0; x < XMPP_CAPTCHA_WIDTH; x++) {
			const struct column *c = &cols[x * 2];
			unsigned paper =
				4u - is_ink(sc, &c[0], y0, bend0) - is_ink(sc, &c[1], y0, bend0) -
				is_ink(sc, &c[0], y1, bend1) - is_ink(sc, &c[1], y1, bend1);

			rows[y * ROW + 1 + x / 4] |=
				(unsigned char)((paper > 3 ? 3 : paper) << (6 - x % 4 * 2));
		}
	}
}

/* ---- the file ---- */

static uint32_t
crc_of(const char *p, size_t n)
{
	uint32_t crc = 0xffffffffu;

	while (n-- > 0) {
		crc ^= (unsigned char)*p++;
		for (unsigned k = 0; k < 8; k++)
			crc = crc & 1 ? 0xedb88320u ^ crc >> 1 : crc >> 1;
	}
	return ~crc;
}

static void
add_u32(struct td_buf *b, uint32_t v)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		td_buf_addc(b, (char)(v >> shift & 0xff));
}

static void
add_chunk(struct td_buf *png, const char *type, struct td_str data)
{
	size_t at;

	add_u32(png, (uint32_t)data.len);
	at = png->len;
	td_buf_add(png, type, 4);
	td_buf_adds(png, data);
	add_u32(png, crc_of(png->p + at, png->len - at));
}

/* The rows as a zlib stream of one stored block (RFC 1950, RFC 1951). */
static void
add_stream(struct td_buf *z, const unsigned char *data, size_t n)
{
	uint32_t a = 1, b = 0;

	td_buf_add(z, "\x78\x01\x01", 3);
	td_buf_addc(z, (char)(n & 0xff));
	td_buf_addc(z, (char)(n >> 8));
	td_buf_addc(z, (char)(~n & 0xff));
	td_buf_addc(z, (char)(~n >> 8 & 0xff));
	td_buf_add(z, data, n);
	for (size_t i = 0; i < n; i++) {
		a = (a + data[i]) % 65521;
		b = (b + a) % 65521;
	}
	add_u32(z, b << 16 | a);
}

void
xmpp_captcha_draw(const char *text, uint64_t seed, struct td_buf *png)
{
	/* size, two bits, greyscale, and the only methods there are */
	struct td_buf head = { 0 }, z = { 0 };
	unsigned char rows[XMPP_CAPTCHA_HEIGHT * ROW] = { 0 };
	struct scene sc;

	make_scene(text, seed, &sc);
	paint(&sc, rows);
	td_buf_add(png, "\x89PNG\r\n\x1a\n", 8);
	add_u32(&head, XMPP_CAPTCHA_WIDTH);
	add_u32(&head, XMPP_CAPTCHA_HEIGHT);
	td_buf_add(&head, "\2\0\0\0\0", 5);
	add_chunk(png, "IHDR", td_buf_str(&head));
	add_stream(&z, rows, sizeof(rows));
	add_chunk(png, "IDAT", td_buf_str(&z));
	add_chunk(png, "IEND", TD_STR(""));
	td_buf_fini(&head);
	td_buf_fini(&z);
}
