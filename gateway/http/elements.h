/* elements - where one XML element ends and the next begins, without a parser.
 * Thread: any; touches only its arguments.  Our own output is cut by it into WebSocket messages, and a message
 * of a client is counted: what it says of bytes that are no XML does not matter, the stream's parser has the
 * last word on those. */
#ifndef GATEWAY_HTTP_ELEMENTS_H
#define GATEWAY_HTTP_ELEMENTS_H
#include "gateway/base/str.h"

struct gw_element {
	struct td_str all;  /* from '<' to the last '>' */
	struct td_str name; /* of the opening tag, with its prefix */
	bool has_ns;        /* the opening tag has xmlns= */
};

/* The element <s> begins with; false: it begins with none, or the end is not there. */
bool gw_element_first(struct td_str s, struct gw_element *out);
/* Append <e> as a document of its own: NS_CLIENT and the prefix "stream" are declared where the stream's header
 * stood in for it. */
void gw_element_write(struct td_buf *out, const struct gw_element *e);
#endif
