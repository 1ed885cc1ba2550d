"""muclab - what the chat room tests share: rooms at muc.lab.test, and short ways to say things there."""
import case
import lab
import xmppc
from xmppc import is_, kid, local, show

MUC = "http://jabber.org/protocol/muc"
USER = MUC + "#user"
ADMIN = MUC + "#admin"
OWNER = MUC + "#owner"
CONFIG = MUC + "#roomconfig"
INFO = MUC + "#roominfo"
FORM = "jabber:x:data"
OCCUPANT_ID = "urn:xmpp:occupant-id:0"
SID = "urn:xmpp:sid:0"
SERVICE = "muc.lab.test"
CONF = 'domain "muc.lab.test" { XMPP_Role = "server" service = "muc" %s }'


def x_user(e):
    return kid(e, "x", USER)


def codes(e):
    x = x_user(e)
    return set() if x is None else {int(s.get("code")) for s in x if local(s) == "status"}


def item(e):
    return x_user(e).find("{%s}item" % USER)


def ranks(e):
    """(affiliation, role) of a room presence."""
    i = item(e)
    return i.get("affiliation"), i.get("role")


def form_of(e):
    """var -> list of values of the form below <e>."""
    x = e.find(".//{%s}x" % FORM)
    return {f.get("var"): [v.text or "" for v in f.findall("{%s}value" % FORM)] for f in x.findall("{%s}field" % FORM)}


def submit(fields, type_=CONFIG):
    out = "<x xmlns='%s' type='submit'><field var='FORM_TYPE'><value>%s</value></field>" % (FORM, type_)
    for var, value in fields.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        out += "<field var='%s'>%s</field>" % (var, "".join("<value>%s</value>" % xmppc.escape(str(v)) for v in values))
    return out + "</x>"


def config(**kw):
    """roomname='x' -> the field muc#roomconfig_roomname."""
    return submit({("muc#" + k if k == "maxhistoryfetch" else "muc#roomconfig_" + k): v for k, v in kw.items()})


class MucCase(case.ServerCase):
    options = {"extra": CONF % ""}

    def room(self):
        """The address of a room nobody has."""
        return "%s@%s" % (lab.token("room"), SERVICE)

    def enter(self, c, room, nick, inner="", presence=""):
        """Send the join and return the self-presence; what came before it is in c.entry."""
        c.send("<presence to='%s/%s'><x xmlns='%s'>%s</x>%s</presence>" % (room, xmppc.escape(nick), MUC, inner, presence))
        c.entry = []
        while True:
            e = c.wait(lambda e: local(e) == "presence" and (e.get("from") or "").startswith(room) and e.get("type") != "unavailable")
            c.entry.append(e)
            if e.get("type") == "error" or 110 in codes(e):
                return e

    def join(self, c, room, nick, inner=""):
        """Enter for sure, and read up to the subject."""
        e = self.enter(c, room, nick, inner)
        self.assertNotEqual(e.get("type"), "error", show(e))
        c.history = []
        while True:
            m = c.wait(is_("message", type_="groupchat"))
            if kid(m, "subject") is not None and kid(m, "body") is None:
                c.subject = m
                return e
            c.history.append(m)

    def create(self, c, room, nick, **kw):
        """Make a room with this configuration (instant without one)."""
        e = self.join(c, room, nick)
        self.assertIn(201, codes(e), show(e))
        self.assertResult(self.owner(c, room, config(**kw) if kw else "<x xmlns='%s' type='submit'/>" % FORM))
        c.sync()
        c.drain()
        return room

    def owner(self, c, room, payload, type_="set"):
        return c.iq(type_, "<query xmlns='%s'>%s</query>" % (OWNER, payload), room)

    def admin(self, c, room, items, type_="set"):
        return c.iq(type_, "<query xmlns='%s'>%s</query>" % (ADMIN, items), room)

    def affiliate(self, c, room, jid, affiliation, inner=""):
        r = self.admin(c, room, "<item jid='%s' affiliation='%s'>%s</item>" % (jid, affiliation, inner))
        self.assertResult(r)
        return r

    def role(self, c, room, nick, role, inner=""):
        return self.admin(c, room, "<item nick='%s' role='%s'>%s</item>" % (nick, role, inner))

    def items(self, c, room, what):
        r = self.admin(c, room, "<item %s/>" % what, "get")
        self.assertResult(r)
        return kid(r, "query", ADMIN).findall("{%s}item" % ADMIN)

    def say(self, c, room, body, inner=""):
        return c.message(room, body, "groupchat", inner)

    def hear(self, c, body):
        return c.wait(lambda e: local(e) == "message" and xmppc.text(e) == body)

    def quiet(self, c, room):
        """Everything the room had sent to <c> by now: a round trip through the room."""
        c.iq("get", "<query xmlns='%s'/>" % xmppc.DISCO_INFO, room)
        return c.drain()

    def seen(self, c, room, nick, **kw):
        return c.wait(is_("presence", from_="%s/%s" % (room, nick), **kw))
