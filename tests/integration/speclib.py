"""speclib - what the tests written from the specifications share: a component whose users are contacts
on another domain, so that a test sees what is routed to them and sends what no server of ours would."""
import case
import compc
import lab
import xmppc
from xmppc import is_, local

FAR = "far.lab.test"
SECRET = "s3cret"
CLIENT = xmppc.CLIENT
SUBSCRIPTIONS = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")


class Contact:
    """An address at the component: what it says and what reached it."""

    def __init__(self, comp, jid=None):
        self.comp, self.jid = comp, jid or "%s@%s" % (lab.token("k"), FAR)
        self._log = []

    def _mine(self, e):
        return (e.get("to") or "").partition("/")[0] == self.jid

    def say(self, name, to, inner="", resource=None, **attrs):
        self.comp.stanza(name, to, self.jid + ("/" + resource if resource else ""), inner, **attrs)

    def presence(self, to, type_=None, inner="", resource=None, **attrs):
        if type_:
            attrs["type"] = type_
        self.say("presence", to, inner, resource, **attrs)

    def wait(self, name="presence", **attrs):
        test = is_(name, **attrs)
        return self.comp.wait(lambda e: self._mine(e) and test(e))

    def got(self, user):
        """What <user> had sent here up to now (RFC 6120 10.1: in order)."""
        word = lab.token("f")
        user.message(self.jid, word, "normal")
        out = []
        while True:
            e = self.comp.wait(self._mine)
            if xmppc.text(e) == word:
                return out
            out.append(e)

    def settle(self, user):
        """Everything sent from here to <user> was handled; what <user> got is returned."""
        word = lab.token("f")
        self.say("message", user.jid, "<body>%s</body>" % word, type="normal")
        user.wait(xmppc.body_is(word))
        return user.drain()


class SpecCase(case.ServerCase):
    options = {"extra": 'component "%s" { secret = "%s" }' % (FAR, SECRET)}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.comp = compc.join(cls.port, FAR, SECRET)
        cls.addClassCleanup(cls.comp.close)

    def contact(self):
        return Contact(self.comp)

    def interested(self, user=None, resource=None, **kw):
        """A session that asked for the roster, then became available."""
        c = self.login(user, resource, presence=False)
        c.roster()
        c.presence(**kw)
        c.wait(lambda e: local(e) == "presence" and e.get("from") == c.jid)
        return c

    def push(self, c, jid):
        """The next roster push about <jid>: its item."""
        q = "{%s}query" % xmppc.ROSTER

        def test(e):
            return local(e) == "iq" and e.get("type") == "set" and any(i.get("jid") == jid for i in e.findall(q + "/*"))
        e = c.wait(test)
        self.assertIn(e.get("from"), (None, c.bare))
        items = e.find(q)
        self.assertEqual(len(items), 1)
        return items[0]

    def add(self, c, jid, name=None, groups=()):
        r = c.iq("set", "<query xmlns='%s'><item jid=%s%s>%s</item></query>" % (
            xmppc.ROSTER, xmppc.quoteattr(jid), " name=%s" % xmppc.quoteattr(name) if name is not None else "",
            "".join("<group>%s</group>" % xmppc.escape(g) for g in groups)))
        self.assertResult(r)

    def subscribe(self, a, k, sub):
        """The session <a> and the contact <k> come to the subscription <sub> ("to", "from" or "both"), step by step."""
        if sub in ("to", "both"):
            a.presence("subscribe", k.jid)
            k.wait(type_="subscribe")
            k.presence(a.bare, "subscribed")
            a.wait(is_("presence", type_="subscribed", from_=k.jid))
        if sub in ("from", "both"):
            k.presence(a.bare, "subscribe")
            a.wait(is_("presence", type_="subscribe", from_=k.jid))
            a.presence("subscribed", k.jid)
            k.wait(type_="subscribed")


def pushes(stanzas):
    """The items of the roster pushes among <stanzas>."""
    return [i for e in stanzas if local(e) == "iq" and e.get("type") == "set"
            for i in e.findall("{%s}query/{%s}item" % (xmppc.ROSTER, xmppc.ROSTER))]


def presences(stanzas, type_="*"):
    return [e for e in stanzas if local(e) == "presence" and type_ in ("*", e.get("type"))]
