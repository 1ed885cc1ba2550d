/* fuzz_cred - any bytes as a file of passwords: file:// or, with bit 0 of byte 0, digest://.  It serves all of it or
 * nobody, and what is found is whole. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "xmpp/cred.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/tmp/tandem-fuzz-cred-XXXXXX";

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
clean(void)
{
	(void)unlink(path);
}

static void
put(const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (fd < 0) {
		td_log_set_level(NULL, TD_LOG_ERROR);
		fd = mkstemp(path);
		must(fd >= 0 && atexit(clean) == 0);
	}
	must(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
}

static void
check_key(const struct store_scram *k, size_t len)
{
	must(k->key_len == 0 || k->key_len == len);
	must(k->key_len == 0 || (k->iterations > 0 && k->iterations <= CRED_ITERATIONS_MAX));
	must(k->salt_len <= sizeof(k->salt) && (k->key_len == 0 || k->salt_len > 0));
}

static void
on_found(void *arg, int rc, const struct xmpp_credentials *c)
{
	unsigned *answers = arg;

	(*answers)++;
	must(rc == 0);
	check_key(&c->sha1, 20);
	check_key(&c->sha256, 32);
	must(c->digest_ha1 == NULL || strlen(c->digest_ha1) == 32);
	must(c->password == NULL || td_utf8_valid(td_cstr(c->password)));
	must(c->found || (c->sha1.key_len == 0 && c->sha256.key_len == 0 && c->password == NULL &&
			  c->crypt == NULL && c->digest_ha1 == NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct td_str names[] = { TD_STR("ann@a.test"), TD_STR("bob@a.test"),
					       TD_STR("ann@a.test") };
	struct xmpp_cred_source *s = NULL;
	struct xmpp_cred_hints hints;
	struct td_err err = { 0 };
	unsigned answers = 0;
	char uri[64];

	if (size < 1)
		return 0;
	put(data + 1, size - 1);
	(void)snprintf(uri, sizeof(uri), "%s://%s", (data[0] & 1) ? "digest" : "file", path);
	if (xmpp_cred_source_open(uri, NULL, &s, &err) < 0) {
		must(err.text[0] != '\0');
		return 0;
	}
	for (size_t i = 0; i < 3; i++)
		xmpp_cred_fetch(s, names[i], NULL, on_found, &answers);
	must(answers == 3);
	xmpp_cred_get_hints(s, TD_STR("a.test"), &hints);
	must(hints.iterations <= CRED_ITERATIONS_MAX);
	xmpp_cred_source_unref(&s);
	return 0;
}
