/* pie_read - reading XEP-0227 files as a stream of small pieces (server-data, host, user, what belongs to a user).
 * Thread: any; one reader by one.  Used by tandemctl, never by the daemon.
 *
 * Nothing is kept but the element being read: files may be of any size.  <xi:include/> is followed down to the children
 * of a <user/> (XEP-0227 section 5), to files below the folder of the first one and never through a symbolic link.
 * Document types are refused, and with them entities.  Limits are below.
 * Errors: pie_read's result says whether all of the document could be read; every trouble is told with its place. */
#ifndef GATEWAY_PIE_READ_H
#define GATEWAY_PIE_READ_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"

#define PIE_PIECE_MAX (16u << 20) /* bytes of one piece, written out */
#define PIE_DEPTH_MAX 80u         /* of elements in one piece */
#define PIE_FILES_MAX 8u          /* files including each other */

struct pie_place {
	const char *file; /* lives as long as the reader */
	unsigned long line;
};
struct pie_user {
	struct td_str name, domain;
	struct td_str password; /* clear text; TD_STR_NULL = none */
	bool disabled;          /* said by Prosody, in an attribute of its own */
	uint64_t created;       /* Unix seconds, likewise; 0 = unknown */
};
/* All strings live until the function returns. */
struct pie_sink {
	void (*user)(void *arg, const struct pie_user *u, const struct pie_place *at);
	/* <kind>: "roster", "offline", "private", "archive", "item" (of <node>), "owner"; "scram"; "child": any
	 * other child of <user/>.  <xml>: the one element, complete with its namespaces. */
	void (*piece)(void *arg, const char *kind, struct td_str node, struct td_str xml,
		      const struct pie_place *at);
	/* <whole>: all of it was read. */
	void (*user_end)(void *arg, bool whole);
	/* Something was left out. */
	void (*trouble)(void *arg, const struct pie_place *at, const char *text);
	void *arg;
};

struct pie_reader;
struct pie_reader *pie_reader_new(const struct pie_sink *sink);
void pie_reader_free(struct pie_reader *r);
/* The document of <fd>, of which <head> has been read already.  <path> is its name, and its folder that of what it
 * includes ("-": it includes nothing).  False: some file could not be read to its end. */
bool pie_read(struct pie_reader *r, const char *path, int fd, struct td_str head);
/* A document from memory; includes are refused (tests, fuzzing). */
bool pie_read_text(struct pie_reader *r, struct td_str text);
#endif
