"""case - what the protocol tests share: one daemon per module, logins that end with the test."""
import lab
import xmppc
from lab import DOMAIN


class ServerCase(lab.Case):
    """A class whose tests share the module's daemon self.d.

    Accounts used by one test only come from self.user(): tests never see each other's rosters.
    """
    options = {}
    _daemons = {}
    _spare = []
    _made = 0

    @classmethod
    def setUpClass(cls):
        # one daemon per module and set of options, stopped when the process ends
        key = (cls.__module__, repr(sorted(cls.options.items())))
        if key not in ServerCase._daemons:
            ServerCase._daemons[key] = None
            labor = lab.Lab()
            ServerCase._daemons[key] = (labor, labor.daemon(**{"milter": False, **cls.options}), [])
        if ServerCase._daemons[key] is None:
            raise RuntimeError("the daemon did not start (see the first class's error)")
        cls.lab, cls.d, cls._spare = ServerCase._daemons[key]
        cls.port = cls.d.c2s_port

    def user(self):
        """The name of a fresh account."""
        if not self._spare:
            names = ["u%d" % (ServerCase._made + i) for i in range(40)]
            ServerCase._made += 40
            self.d.ctl("account", "import", stdin="".join("%s@%s\t%s\n" % (n, DOMAIN, lab.PASSWORD) for n in names))
            self._spare.extend(names)
        return self._spare.pop(0)

    def users(self, n):
        return [self.user() for _ in range(n)]

    def conn(self, **kw):
        """A raw connection, nothing sent yet."""
        c = xmppc.Conn(self.port, **kw)
        self.addCleanup(c.close)
        return c

    def connect(self, **kw):
        c = xmppc.connect(self.port, **kw)
        self.addCleanup(c.close)
        return c

    def authed(self, user=None, **kw):
        c = xmppc.authed(self.port, user or self.user(), **kw)
        self.addCleanup(c.close)
        return c

    def login(self, user=None, resource=None, **kw):
        c = xmppc.login(self.port, user or self.user(), resource, **kw)
        self.addCleanup(c.close)
        return c

    def friends(self, a, b):
        """Subscribe the sessions <a> and <b> to each other's presence."""
        a.roster()      # RFC 6121 3.1.6: answers go to resources that asked for the roster
        b.roster()
        for x, y in ((a, b), (b, a)):
            x.presence("subscribe", y.bare)
            y.wait(xmppc.is_("presence", type_="subscribe", from_=x.bare))
            y.presence("subscribed", x.bare)
            x.wait(xmppc.is_("presence", type_="subscribed", from_=y.bare))
        for x, y in ((a, b), (b, a)):
            x.wait(xmppc.is_("presence", from_=y.jid, type_=None))
        xmppc.fence(a, b)
        xmppc.fence(b, a)

    def assertError(self, stanza, condition, type_=None):
        got = xmppc.error_of(stanza)
        self.assertIsNotNone(got, "not an error: " + xmppc.show(stanza))
        wanted = (condition,) if isinstance(condition, str) else condition
        self.assertIn(got[1], wanted, xmppc.show(stanza))
        if type_:
            self.assertEqual(got[0], type_, xmppc.show(stanza))

    def assertResult(self, stanza):
        self.assertEqual(stanza.get("type"), "result", xmppc.show(stanza))

    def none_of(self, stanzas, name, **attrs):
        test = xmppc.is_(name, **attrs)
        self.assertEqual([xmppc.show(s) for s in stanzas if test(s)], [])


def at(user):
    return "%s@%s" % (user, DOMAIN)


def settle(a, address):
    """Return when the owner of <address> has handled what <a> sent there before: it answers a
    request made in <a>'s name in order (RFC 6120 10.1)."""
    a.get("tandem:test:unknown", to=address)
