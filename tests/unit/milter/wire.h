/* wire - the MTA's side of the milter protocol (milter.md 12), enough to drive libmilter. */
#ifndef TESTS_MILTER_WIRE_H
#define TESTS_MILTER_WIRE_H
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "gateway/base/str.h"

struct wire {
	int fd;
	uint32_t actions, steps;    /* as the filter answered */
	struct td_buf in;           /* last packet: letter, data */
	struct td_buf actions_seen; /* letters of end-of-message actions, in order */
	struct td_buf reply;        /* text of the last 'y' */
	bool slow;                  /* send byte by byte */
};

static inline int
wire_connect(const char *path, unsigned port)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(path != NULL ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (path != NULL)
		memcpy(un.sun_path, path, strlen(path) + 1);
	rc = path != NULL ? connect(fd, (struct sockaddr *)&un, sizeof(un))
			  : connect(fd, (struct sockaddr *)&in, sizeof(in));
	if (rc < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline bool
wire_write(struct wire *w, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t r = send(w->fd, p, w->slow ? 1 : n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static inline bool
wire_send(struct wire *w, char letter, const void *data, size_t n)
{
	char head[5];
	uint32_t len = htonl((uint32_t)n + 1);

	memcpy(head, &len, 4);
	head[4] = letter;
	return wire_write(w, head, 5) && wire_write(w, data, n);
}

static inline bool
wire_read(struct wire *w, char *p, size_t n)
{
	while (n > 0) {
		struct pollfd pfd = { .fd = w->fd, .events = POLLIN };
		ssize_t r;

		if (poll(&pfd, 1, 20000) <= 0 || (r = read(w->fd, p, n)) <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

/* Next packet into w->in; 0 = the connection is gone. */
static inline char
wire_recv(struct wire *w)
{
	uint32_t len;

	if (!wire_read(w, (char *)&len, 4))
		return 0;
	len = ntohl(len);
	td_buf_clear(&w->in);
	if (len == 0 || len > 10000000 || !wire_read(w, td_buf_reserve(&w->in, len), len))
		return 0;
	w->in.len = len;
	return w->in.p[0];
}

/* The verdict of a command: actions, reply texts and progress on the way are noted. */
static inline char
wire_verdict(struct wire *w)
{
	for (;;) {
		char c = wire_recv(w);

		if (c != 0 && strchr("him+2-ebq", c) != NULL) {
			td_buf_addc(&w->actions_seen, c);
		} else if (c == 'y') {
			td_buf_clear(&w->reply);
			td_buf_add(&w->reply, w->in.p + 1, w->in.len - 1);
			return c;
		} else if (c != 'p') {
			return c;
		}
	}
}

static inline bool
wire_open(struct wire *w, const char *path, unsigned port)
{
	uint32_t o[3] = { htonl(6), htonl(0x1ff), htonl(0x1fffff) };

	*w = (struct wire){ .fd = wire_connect(path, port) };
	if (w->fd < 0 || !wire_send(w, 'O', o, sizeof(o)) || wire_recv(w) != 'O' || w->in.len < 13)
		return false;
	memcpy(o, w->in.p + 1, sizeof(o));
	w->actions = ntohl(o[1]);
	w->steps = ntohl(o[2]);
	return true;
}

static inline void
wire_close(struct wire *w, bool quit)
{
	if (quit)
		(void)wire_send(w, 'Q', "", 0);
	close(w->fd);
	td_buf_fini(&w->in);
	td_buf_fini(&w->actions_seen);
	td_buf_fini(&w->reply);
}

/* One command unless the filter does not want it; the verdict, or 'c' where none is due. */
static inline char
wire_cmd(struct wire *w, char letter, const void *data, size_t n)
{
	static const struct {
		char letter;
		uint32_t no, nr;
	} flags[] = {
		{ 'C', 0x1, 0x1000 },   { 'H', 0x2, 0x2000 },    { 'M', 0x4, 0x4000 },
		{ 'R', 0x8, 0x8000 },   { 'B', 0x10, 0x80000 },  { 'L', 0x20, 0x80 },
		{ 'N', 0x40, 0x40000 }, { 'T', 0x200, 0x10000 }, { 'U', 0x100, 0x20000 },
	};
	uint32_t no = 0, nr = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (flags[i].letter == letter) {
			no = flags[i].no;
			nr = flags[i].nr;
		}
	if (w->steps & no)
		return 'c';
	if (!wire_send(w, letter, data, n))
		return 0;
	return w->steps & nr ? 'c' : wire_verdict(w);
}

static inline char
wire_cmdz(struct wire *w, char letter, const char *s)
{
	return wire_cmd(w, letter, s, strlen(s) + 1);
}

static inline void
wire_macros(struct wire *w, char stage, const char *pairs, size_t n)
{
	struct td_buf b = { 0 };

	td_buf_addc(&b, stage);
	td_buf_add(&b, pairs, n);
	ck_assert(wire_send(w, 'D', b.p, b.len));
	td_buf_fini(&b);
}

static inline char
wire_greet(struct wire *w)
{
	static const char conn[] = "client.test\0"
				   "4\x09\xc5"
				   "192.0.2.7";

	wire_macros(w, 'C', "j\0mx.test", 10);
	if (wire_cmd(w, 'C', conn, sizeof(conn)) != 'c')
		return 0;
	return wire_cmdz(w, 'H', "client.test");
}

static inline char
wire_header(struct wire *w, const char *name, const char *value)
{
	struct td_buf b = { 0 };
	char c;

	td_buf_add(&b, name, strlen(name) + 1);
	td_buf_add(&b, value, strlen(value) + 1);
	c = wire_cmd(w, 'L', b.p, b.len);
	td_buf_fini(&b);
	return c;
}
#endif
