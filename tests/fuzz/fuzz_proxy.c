/* fuzz_proxy - any bytes as a PROXY header: the length lies inside the input, a header is the same one whatever comes
 * behind it, what is cut off is asked for again, and the address is one or none. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/err.h"
#include "gateway/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* A copy of exactly <n> bytes, so that reading on is seen. */
static int
parse(const uint8_t *data, size_t n, struct sockaddr_storage *peer)
{
	char *copy = malloc(n > 0 ? n : 1);
	int rc;

	must(copy != NULL);
	if (n > 0)
		memcpy(copy, data, n);
	memset(peer, 0xa5, sizeof(*peer));
	rc = gw_proxy_parse(td_str(copy, n), peer);
	free(copy);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_storage peer, again;
	int n = parse(data, size, &peer), m;

	must(n == TD_E_INVAL || (n >= 0 && n <= GW_PROXY_MAX && (size_t)n <= size));
	/* whoever reads asks for no more than that */
	must(n != 0 || size < GW_PROXY_MAX);
	if (n > 0) {
		must(peer.ss_family == AF_UNSPEC || peer.ss_family == AF_INET ||
		     peer.ss_family == AF_INET6);
		must(parse(data, (size_t)n, &again) == n);
		must(memcmp(&peer, &again, sizeof(peer)) == 0);
	}
	/* in pieces it comes to the same */
	for (size_t i = 0; i < size && i < GW_PROXY_MAX; i++) {
		m = parse(data, i, &again);
		must(m == 0 || m == n);
		if (m != 0)
			break;
		must(n <= 0 || i < (size_t)n);
	}
	return 0;
}
