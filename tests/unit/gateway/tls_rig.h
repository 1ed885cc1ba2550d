/* tls_rig - both ends of a TLS session in one process, over a socket pair. */
#ifndef TEST_TLS_RIG_H
#define TEST_TLS_RIG_H
#include <check.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/ssl.h>

/* Both ends of a handshake over a socket pair; false when either gives up. */
struct pair {
	SSL *server, *client;
	int fd[2];
};

static bool
shake(struct pair *p)
{
	bool s = false, c = false;

	for (int i = 0; i < 20 && !(s && c); i++) {
		int n;

		if (!c) {
			n = SSL_do_handshake(p->client);
			c = n == 1;
			if (n != 1 && SSL_get_error(p->client, n) != SSL_ERROR_WANT_READ)
				return false;
		}
		if (!s) {
			n = SSL_do_handshake(p->server);
			s = n == 1;
			if (n != 1 && SSL_get_error(p->server, n) != SSL_ERROR_WANT_READ)
				return false;
		}
	}
	return s && c;
}

static void
pair_open(struct pair *p)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
}

static void
pair_free(struct pair *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
	close(p->fd[0]);
	close(p->fd[1]);
}
#endif
