/* dns_msg - DNS answers taken apart.
 *
 * libunbound hands over the message as it would go over the wire; its own check of it is not relied upon. */
#include "gateway/dns_msg.h"

#include <stdlib.h>
#include "gateway/base/arena.h"

#define HEADER 12u
#define WIRE_NAME_MAX 255u
#define MAX_CNAMES 32u

struct cursor {
	const unsigned char *p;
	size_t len, at;
};

struct record {
	unsigned char owner[WIRE_NAME_MAX];
	size_t owner_len;
	unsigned type, class;
	uint32_t ttl;
	size_t rdata, rdlen; /* in the message */
};

static unsigned
get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t
get32(const unsigned char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static unsigned char
lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

/* The name at c->at, uncompressed and in lower case, into out[WIRE_NAME_MAX]; c->at moves behind it.  A pointer
 * only ever leads backwards, so this ends. */
static bool
read_name(struct cursor *c, unsigned char *out, size_t *len_out)
{
	size_t at = c->at, end = 0, n = 0, limit = c->at;

	for (;;) {
		unsigned l;

		if (at >= c->len)
			return false;
		l = c->p[at];
		if (l >= 0xc0) {
			size_t to;

			if (at + 2 > c->len)
				return false;
			to = get16(c->p + at) & 0x3fff;
			if (to >= limit)
				return false;
			if (end == 0)
				end = at + 2;
			at = limit = to;
			continue;
		}
		if (l > 63 || at + 1 + l > c->len || n + 1 + l + (l > 0) > WIRE_NAME_MAX)
			return false;
		out[n++] = (unsigned char)l;
		for (unsigned i = 0; i < l; i++)
			out[n++] = lower(c->p[at + 1 + i]);
		at += 1 + l;
		if (l == 0)
			break;
	}
	c->at = end != 0 ? end : at;
	*len_out = n;
	return true;
}

static bool
read_record(struct cursor *c, struct record *r)
{
	const unsigned char *p;

	if (!read_name(c, r->owner, &r->owner_len) || c->len - c->at < 10)
		return false;
	p = c->p + c->at;
	r->type = get16(p);
	r->class = get16(p + 2);
	r->ttl = get32(p + 4);
	r->rdlen = get16(p + 8);
	r->rdata = c->at + 10;
	if (c->len - r->rdata < r->rdlen)
		return false;
	c->at = r->rdata + r->rdlen;
	return true;
}

/* rdata in the form of gw_dns_parse; TD_STR_NULL: malformed. */
static struct td_str
take_rdata(struct td_arena *a, const struct cursor *msg, const struct record *r)
{
	const unsigned char *p = msg->p + r->rdata;
	struct cursor c = { msg->p, r->rdata + r->rdlen, r->rdata + 6 };
	unsigned char buf[6 + WIRE_NAME_MAX];
	size_t n;

	switch (r->type) {
	case GW_DNS_A:
		if (r->rdlen != 4)
			return TD_STR_NULL;
		break;
	case GW_DNS_AAAA:
		if (r->rdlen != 16)
			return TD_STR_NULL;
		break;
	case GW_DNS_SRV:
		if (r->rdlen < 7 || !read_name(&c, buf + 6, &n) || c.at != c.len)
			return TD_STR_NULL;
		memcpy(buf, p, 6);
		return td_arena_str(a, td_str((const char *)buf, 6 + n));
	default: break;
	}
	if (r->rdlen == 0)
		return TD_STR_NULL;
	return td_arena_str(a, td_str((const char *)p, r->rdlen));
}

int
gw_dns_parse(struct td_arena *a, struct td_str msg, int type, struct td_str **rdata_out,
	     size_t *n_out, uint32_t *ttl_out)
{
	struct cursor c = { (const unsigned char *)msg.p, msg.len, HEADER };
	unsigned char owner[WIRE_NAME_MAX];
	size_t owner_len = 0;
	unsigned count, cnames = 0;
	struct record r;
	int rcode;

	*n_out = 0;
	*ttl_out = UINT32_MAX;
	*rdata_out = td_arena_alloc(a, GW_DNS_MAX_RECORDS * sizeof(**rdata_out));
	if (msg.len < HEADER || get16(c.p + 4) != 1 || !read_name(&c, owner, &owner_len) ||
	    c.len - c.at < 4)
		return -1;
	rcode = c.p[3] & 0x0f;
	count = get16(c.p + 6);
	c.at += 4;
	for (unsigned i = 0; i < count && *n_out < GW_DNS_MAX_RECORDS; i++) {
		struct td_str rdata;

		if (!read_record(&c, &r))
			return -1;
		if (r.class != 1 || r.owner_len != owner_len ||
		    memcmp(r.owner, owner, owner_len) != 0)
			continue;
		if (r.type == GW_DNS_CNAME && type != GW_DNS_CNAME) {
			struct cursor alias = { c.p, r.rdata + r.rdlen, r.rdata };

			if (++cnames > MAX_CNAMES || !read_name(&alias, owner, &owner_len))
				return -1;
		} else if (r.type == (unsigned)type) {
			rdata = take_rdata(a, &c, &r);
			if (rdata.p == NULL)
				continue;
			(*rdata_out)[(*n_out)++] = rdata;
		} else {
			continue;
		}
		if (r.ttl < *ttl_out)
			*ttl_out = r.ttl;
	}
	if (*ttl_out == UINT32_MAX)
		*ttl_out = 0;
	return rcode;
}

/* ---- records ---- */

static bool
is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

bool
gw_dns_is_host(struct td_str name)
{
	size_t label = 0;

	if (name.len > 0 && name.p[name.len - 1] == '.')
		name.len--;
	if (name.len == 0 || name.len >= GW_DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] == '.' ? label == 0 : !is_host_char(name.p[i]) || label == 63)
			return false;
		label = name.p[i] == '.' ? 0 : label + 1;
	}
	return label > 0;
}

/* An uncompressed wire name as text; false: not of a host. */
static bool
host_text(const unsigned char *p, size_t len, char out[GW_DNS_NAME_MAX])
{
	size_t at = 0, n = 0;

	while (at < len && p[at] != 0) {
		unsigned l = p[at++];

		if (l > 63 || len - at < l || n + l + 2 > GW_DNS_NAME_MAX)
			return false;
		if (n > 0)
			out[n++] = '.';
		for (unsigned i = 0; i < l; i++, at++) {
			if (!is_host_char((char)p[at]))
				return false;
			out[n++] = (char)lower(p[at]);
		}
	}
	out[n] = '\0';
	return at + 1 == len;
}

bool
gw_dns_srv_parse(struct td_str rdata, struct gw_dns_srv *out)
{
	const unsigned char *p = (const unsigned char *)rdata.p;

	if (rdata.len < 7 || rdata.len > 6 + WIRE_NAME_MAX)
		return false;
	out->priority = (uint16_t)get16(p);
	out->weight = (uint16_t)get16(p + 2);
	out->port = (uint16_t)get16(p + 4);
	return host_text(p + 6, rdata.len - 6, out->target);
}

bool
gw_dns_tlsa_parse(struct td_str rdata, struct gw_tlsa *out)
{
	const unsigned char *p = (const unsigned char *)rdata.p;

	if (rdata.len < 4)
		return false;
	out->usage = p[0];
	out->selector = p[1];
	out->matching = p[2];
	out->data = td_str(rdata.p + 3, rdata.len - 3);
	return true;
}
