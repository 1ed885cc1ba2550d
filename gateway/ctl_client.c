/* ctl_client - tandemctl's side of the control socket: dial, sign in, ask. */
#include "gateway/ctl_client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

int
ctl_say(const char *what)
{
	fprintf(stderr, "tandemctl: %s\n", what);
	return 1;
}

void
ctl_read_all(struct td_buf *b)
{
	ssize_t n;

	while ((n = read(0, td_buf_reserve(b, 65536), 65536)) > 0)
		b->len += (size_t)n;
}

/* One line without echo. */
bool
ctl_ask_secret(const char *prompt, struct td_buf *b)
{
	struct termios old, quiet;
	char line[1024];
	bool ok;

	fputs(prompt, stderr);
	if (tcgetattr(0, &old) < 0)
		return false;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(0, TCSAFLUSH, &quiet);
	ok = fgets(line, sizeof(line), stdin) != NULL;
	tcsetattr(0, TCSAFLUSH, &old);
	fputc('\n', stderr);
	if (ok)
		td_buf_add(b, line, strcspn(line, "\n"));
	td_wipe(line, sizeof(line));
	return ok;
}

static int
dial_unix(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* "host:port", "[v6]:port" */
static int
dial_tcp(const char *where)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *i;
	const char *colon = strrchr(where, ':');
	char host[256];
	size_t n = (size_t)(colon - where);
	int fd = -1;

	if (n >= 2 && where[0] == '[' && where[n - 1] == ']') {
		where++;
		n -= 2;
	}
	(void)snprintf(host, sizeof(host), "%.*s", (int)n, where);
	if (getaddrinfo(host, colon + 1, &hints, &list) != 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	for (i = list; i != NULL && fd < 0; i = i->ai_next) {
		fd = socket(i->ai_family, i->ai_socktype | SOCK_CLOEXEC, i->ai_protocol);
		if (fd >= 0 && connect(fd, i->ai_addr, i->ai_addrlen) < 0) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd;
}

static bool
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

/* "<length> <status>\n" and the text, into <b>; -1 when the server went away. */
int
ctl_receive(int fd, struct td_buf *b)
{
	char *nl = NULL;
	size_t want = 0, head = 0;
	int status = -1;

	td_buf_clear(b);
	for (;;) {
		ssize_t n = read(fd, td_buf_reserve(b, 65536), 65536);

		if (n <= 0)
			break;
		b->len += (size_t)n;
		if (nl == NULL && (nl = memchr(b->p, '\n', b->len)) != NULL) {
			*nl = '\0';
			head = (size_t)(nl - b->p) + 1;
			want = strtoul(b->p, &nl, 10);
			status = (int)strtol(nl, NULL, 10);
		}
		if (nl != NULL && b->len - head >= want)
			break;
	}
	if (status < 0 || b->len - head < want)
		return -1;
	td_buf_drain(b, head);
	b->len = want;
	return status;
}

/* ---- signing in ---- */

/* One SASL message there, the decoded answer back in <b>. */
static int
sasl_step(int fd, const char *mech, struct td_str data, struct td_buf *b)
{
	struct td_buf req = { 0 }, text = { 0 };
	int status = -1;

	td_buf_addz(&req,
		    mech != NULL ? "{\"sasl\":\"SCRAM-SHA-256\",\"data\":\"" : "{\"data\":\"");
	td_buf_add_base64(&req, data.p, data.len);
	td_buf_addz(&req, "\"}\n");
	if (send_all(fd, req.p, req.len))
		status = ctl_receive(fd, b);
	if (status == 0 || status == 3) {
		if (td_base64_decode(td_buf_str(b), &text) < 0)
			status = -1;
		td_buf_clear(b);
		td_buf_adds(b, td_buf_str(&text));
	}
	td_buf_fini(&req);
	td_buf_fini(&text);
	return status;
}

/* The value of "k=" in a SCRAM message. */
static struct td_str
attr(struct td_str msg, char k)
{
	while (msg.len > 1) {
		ptrdiff_t comma = td_str_chr(msg, ',');
		size_t n = comma < 0 ? msg.len : (size_t)comma;

		if (msg.p[0] == k && msg.p[1] == '=')
			return td_str(msg.p + 2, n - 2);
		n += comma >= 0;
		msg = td_str(msg.p + n, msg.len - n);
	}
	return TD_STR_NULL;
}

static void
mac(const unsigned char key[32], struct td_str data, unsigned char out[32])
{
	unsigned n = 32;

	(void)HMAC(EVP_sha256(), key, 32, (const unsigned char *)data.p, data.len, out, &n);
}

/* Append the proof to <final>; what the server must answer in <sign>. */
static bool
scram_proof(struct td_str password, struct td_str first, struct td_str challenge,
	    struct td_buf *final, unsigned char sign[32])
{
	unsigned char salted[32], key[32], stored[32], sig[32], server[32];
	struct td_buf salt = { 0 }, all = { 0 };
	int64_t rounds = 0;
	unsigned n = 32;
	bool ok = td_str_to_dec(attr(challenge, 'i'), 1, 10000000, &rounds) &&
		  td_base64_decode(attr(challenge, 's'), &salt) == 0 &&
		  PKCS5_PBKDF2_HMAC(password.p, (int)password.len, (unsigned char *)salt.p,
				    (int)salt.len, (int)rounds, EVP_sha256(), 32, salted) == 1;

	if (ok) {
		td_buf_addf(&all, "%.*s,%.*s,%.*s", TD_STR_ARG(first), TD_STR_ARG(challenge),
			    TD_STR_ARG(td_buf_str(final)));
		mac(salted, TD_STR("Client Key"), key);
		(void)EVP_Digest(key, 32, stored, &n, EVP_sha256(), NULL);
		mac(stored, td_buf_str(&all), sig);
		for (size_t i = 0; i < 32; i++)
			key[i] ^= sig[i];
		td_buf_addz(final, ",p=");
		td_buf_add_base64(final, key, 32);
		mac(salted, TD_STR("Server Key"), server);
		mac(server, td_buf_str(&all), sign);
		td_wipe(salted, sizeof(salted));
		td_wipe(key, sizeof(key));
	}
	td_buf_fini(&salt);
	td_buf_fini(&all);
	return ok;
}

static bool
sign_in(int fd, struct td_str user, struct td_str password)
{
	struct td_buf first = { 0 }, final = { 0 }, b = { 0 }, sent = { 0 };
	unsigned char sign[32];
	struct td_str nonce;
	char ours[25];
	bool ok = false;

	td_random_id(ours, sizeof(ours) - 1);
	td_buf_addf(&first, "n=%.*s,r=%s", TD_STR_ARG(user), ours);
	td_buf_addf(&sent, "n,,%s", td_buf_cstr(&first));
	if (sasl_step(fd, "SCRAM-SHA-256", td_buf_str(&sent), &b) != 3)
		goto out;
	nonce = attr(td_buf_str(&b), 'r');
	if (!td_str_starts(nonce, ours))
		goto out;
	td_buf_addf(&final, "c=biws,r=%.*s", TD_STR_ARG(nonce));
	if (!scram_proof(password, td_buf_str(&first), td_buf_str(&b), &final, sign) ||
	    sasl_step(fd, NULL, td_buf_str(&final), &b) != 0)
		goto out;
	/* the server knows the password too, or it is not ours */
	td_buf_clear(&sent);
	td_buf_addz(&sent, "v=");
	td_buf_add_base64(&sent, sign, 32);
	ok = td_str_eq(td_buf_str(&sent), td_buf_str(&b));
out:
	td_buf_fini(&first);
	td_buf_fini(&final);
	td_buf_fini(&sent);
	td_buf_fini(&b);
	return ok;
}

/* The password of -p, or from the terminal. */
static bool
get_password(const char *file, struct td_buf *b)
{
	FILE *f;

	if (file == NULL)
		return ctl_ask_secret("Password: ", b);
	f = fopen(file, "re");
	if (f == NULL) {
		fprintf(stderr, "tandemctl: %s: %s\n", file, strerror(errno));
		return false;
	}
	b->len = fread(td_buf_reserve(b, 1024), 1, 1024, f);
	(void)fclose(f);
	b->len = strcspn(td_buf_cstr(b), "\r\n");
	return true;
}

/* A connection that takes requests; -1: said why. */
int
ctl_connect(const char *where, const char *password_file)
{
	const char *at = strrchr(where, '@');
	bool tcp = strchr(where, '/') == NULL && strrchr(where, ':') != NULL;
	struct td_buf password = { 0 };
	int fd;

	fd = !tcp ? dial_unix(where) : dial_tcp(at != NULL ? at + 1 : where);
	if (fd < 0) {
		fprintf(stderr, "tandemctl: cannot reach the server at %s: %s\n", where,
			strerror(errno));
		return -1;
	}
	if (!tcp || at == NULL)
		return fd;
	if (!get_password(password_file, &password) ||
	    !sign_in(fd, td_str(where, (size_t)(at - where)), td_buf_str(&password))) {
		ctl_say("the server does not take these credentials");
		close(fd);
		fd = -1;
	}
	td_wipe(password.p, password.cap);
	td_buf_fini(&password);
	return fd;
}

bool
ctl_send(int fd, const char *const *args, int n, struct td_str input, bool json)
{
	struct td_buf req = { 0 };
	bool ok;

	td_buf_addz(&req, "{\"args\":[");
	for (int i = 0; i < n; i++) {
		if (i > 0)
			td_buf_addc(&req, ',');
		td_buf_add_json(&req, td_cstr(args[i]));
	}
	td_buf_addz(&req, "],\"input\":");
	td_buf_add_json(&req, td_str(input.p != NULL ? input.p : "", input.len));
	td_buf_addf(&req, ",\"json\":%s}\n", json ? "true" : "false");
	ok = send_all(fd, req.p, req.len);
	td_wipe(req.p, req.cap);
	td_buf_fini(&req);
	return ok;
}
