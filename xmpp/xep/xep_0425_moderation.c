/* xep-0425 - a moderator takes back somebody's message: the room says so to everybody, as XEP-0424 does. */
#include "xmpp/modules.h"
#include "xmpp/xep/muc.h"

static struct xmpp_stanza *
make_retraction(struct muc_iq *iq, struct td_str id, const struct xmpp_node *reason,
		const char *own_id)
{
	struct muc_room *room = iq->room;
	struct xmpp_stanza *m = xmpp_stanza_new(XK_MESSAGE, XT_GROUPCHAT);
	struct td_arena *a = m->arena;
	struct xmpp_node *retract = xmpp_node_add(a, m->root, "retract", NS_RETRACT), *n;

	xmpp_node_set(a, retract, "id", id);
	n = xmpp_node_add(a, retract, "moderated", NS_MODERATE);
	xmpp_node_set(a, n, "by", iq->occ->jid.full);
	n = xmpp_node_add(a, n, "occupant-id", NS_OCCUPANT_ID);
	xmpp_node_set(a, n, "id", td_cstr(iq->occ->oid));
	if (reason != NULL) {
		struct td_str text = xmpp_node_text(a, reason);

		n = xmpp_node_add(a, retract, "reason", NULL);
		xmpp_node_add_text(a, n, td_str(text.p, td_utf8_cut(text, MUC_REASON_MAX)));
	}
	n = xmpp_node_add(a, m->root, "stanza-id", NS_SID);
	xmpp_node_set(a, n, "by", room->jid.full);
	xmpp_node_set(a, n, "id", td_cstr(own_id));
	/* kept by who archives, though it has no body (XEP-0424 section 5) */
	(void)xmpp_node_add(a, m->root, "store", NS_HINTS);
	xmpp_stanza_set_id(m, td_cstr(own_id));
	xmpp_stanza_set_from(m, &room->jid);
	xmpp_stanza_seal(m);
	return m;
}

void
muc_moderate_set(struct muc_iq *iq)
{
	struct muc_room *room = iq->room;
	struct td_str id = xmpp_node_attr(iq->payload, "id");
	const struct xmpp_node *reason = xmpp_node_child(iq->payload, NULL, "reason");
	struct xmpp_stanza *m;
	char own_id[MUC_ID];

	if (iq->occ == NULL || iq->occ->role != MR_MODERATOR) {
		muc_refuse(room, iq->s, XE_FORBIDDEN,
			   "Only moderators are allowed to moderate other participants' messages");
	} else if (id.len == 0 || xmpp_node_child(iq->payload, NS_RETRACT, "retract") == NULL) {
		muc_refuse(room, iq->s, XE_BAD_REQUEST, NULL);
	} else if (!muc_archive_has(room, id)) {
		muc_refuse(room, iq->s, XE_ITEM_NOT_FOUND, NULL);
	} else {
		muc_stanza_id(room, own_id);
		m = make_retraction(iq, id, reason, own_id);
		muc_archive_retract(room, id, NULL, m);
		muc_archive(room, m, NULL, NULL, own_id, NULL);
		muc_fan_out(room, m);
		xmpp_stanza_unref(&m);
		muc_result(room, iq->s, TD_STR_NULL);
	}
}

const struct xmpp_module xep_0425_moderation = {
	.name = "xep-0425-moderation",
	.xep = "0425",
	.doc = "Moderators of a room retract messages of others",
	.version = "0.3.0",
};
