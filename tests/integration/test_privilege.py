"""test_privilege - XEP-0356 (privileged entities) and XEP-0355 (namespace delegation in both modes)."""
import compc
import lab
from case import ServerCase, at
from lab import DOMAIN
from xmppc import CLIENT, DISCO_INFO, DISCO_ITEMS, ROSTER, body_is, is_, kid, local, show

PRIV = "urn:xmpp:privilege:2"
DELEG = "urn:xmpp:delegation:2"
FWD = "urn:xmpp:forward:0"
SECRET = "s"
NAMES = ("all", "none", "getter", "setter", "iqs", "deleg", "other")


class Base(ServerCase):
    options = {"extra": """
component "all.lab.test" { secret = "s"  privilege_roster = "both"  privilege_message = "outgoing"  privilege_presence = "roster" }
component "none.lab.test" { secret = "s" }
component "getter.lab.test" { secret = "s"  privilege_roster = "get"  privilege_roster_push = false  privilege_presence = "managed_entity" }
component "setter.lab.test" { secret = "s"  privilege_roster = "set" }
component "iqs.lab.test" { secret = "s"  privilege_iq = [ "test:echo" = "both"  "test:get" = "get"  "jabber:iq:roster" = "get" ] }
component "deleg.lab.test" { secret = "s"
  delegate = [ "test:mood" = ""  "urn:xmpp:ping" = "node"  "jabber:iq:version" = ""
    "urn:xmpp:delegation:2:bare:disco#info:*" = "" ] }
component "other.test" { secret = "s"  serves = ( "lab.test" "nowhere.test" )  privilege_message = "outgoing" }
"""}

    def component(self, name="all.lab.test"):
        c = lab.wait_until(lambda: self.try_join(name), text="%s can connect" % name)
        self.addCleanup(c.close)
        return c

    def try_join(self, name):
        c = compc.Component(self.port, name)
        c.open()
        if isinstance(c.handshake(SECRET), str):
            c.close()
            return None
        return c

    def advert(self, c, name="privilege", ns=PRIV):
        m = c.wait(lambda e: local(e) == "message" and kid(e, name, ns) is not None)
        self.assertEqual((m.get("from"), m.get("to")), (DOMAIN, c.name))
        return kid(m, name, ns)


class Adverts(Base):
    def test_all(self):
        p = self.advert(self.component())
        self.assertEqual([(e.get("access"), e.get("type"), e.get("push")) for e in p], [
            ("roster", "both", "true"), ("message", "outgoing", None), ("presence", "roster", None)])

    def test_none(self):
        c = self.component("none.lab.test")
        self.assertEqual(c.fence(DOMAIN), [])

    def test_push_off(self):
        p = self.advert(self.component("getter.lab.test"))
        self.assertEqual([(e.get("access"), e.get("type"), e.get("push")) for e in p], [
            ("roster", "get", "false"), ("presence", "managed_entity", None)])

    def test_iq(self):
        p = self.advert(self.component("iqs.lab.test"))
        self.assertEqual([e.get("access") for e in p], ["iq"])
        self.assertEqual({(e.get("ns"), e.get("type")) for e in p[0]}, {
            ("test:echo", "both"), ("test:get", "get"), ("jabber:iq:roster", "get")})

    def test_serves(self):
        self.advert(self.component("other.test"))

    def test_delegation(self):
        c = self.component("deleg.lab.test")
        d = self.advert(c, "delegation", DELEG)
        got = {e.get("namespace"): [a.get("name") for a in e] for e in d}
        self.assertEqual(got["test:mood"], [])
        self.assertEqual(got["urn:xmpp:ping"], ["node"])


class Roster(Base):
    SET = "<query xmlns='%s'><item jid='nurse@%s' name='Nurse'/></query>" % (ROSTER, DOMAIN)
    GET = "<query xmlns='%s'/>" % ROSTER

    def test_get_and_set(self):
        a, c = self.login(), self.component()
        a.roster()
        r = c.request("set", self.SET, a.bare)
        self.assertResult(r)
        self.assertEqual(r.get("from"), a.bare)
        a.wait(lambda e: local(e) == "iq" and e.get("type") == "set")      # the user's client learns of it
        q = kid(c.request("get", self.GET, a.bare), "query", ROSTER)
        self.assertEqual([i.get("jid") for i in q], ["nurse@" + DOMAIN])

    def test_a_resource_of_the_same_name(self):
        """The component's resource is not the user's session."""
        a, c = self.login(resource="x"), self.component()
        r = c.request("get", self.GET, a.bare, "all.lab.test/x")
        self.assertResult(r)
        a.send("<iq type='set' id='z'><query xmlns='%s'><item jid='q@x.test'/></query></iq>" % ROSTER)
        a.reply("z")
        self.assertEqual([show(e) for e in a.drain() if local(e) == "iq"], [])     # it never asked for the roster

    def test_forbidden(self):
        a = self.login()
        for name, get, set_ in (("none", False, False), ("getter", True, False), ("setter", False, True)):
            c = self.component(name + ".lab.test")
            for ok, type_, xml in ((get, "get", self.GET), (set_, "set", self.SET)):
                r = c.request(type_, xml, a.bare)
                if ok:
                    self.assertResult(r)
                else:
                    self.assertError(r, "forbidden")

    def test_push(self):
        a, c, g = self.login(), self.component(), self.component("getter.lab.test")
        self.assertResult(a.iq("set", self.SET))
        p = c.wait(lambda e: local(e) == "iq" and e.get("type") == "set")
        self.assertEqual((p.get("from"), p.get("to")), (a.bare, c.name))
        self.assertEqual(kid(p, "query", ROSTER)[0].get("jid"), "nurse@" + DOMAIN)
        c.result(p)
        self.none_of(g.fence(DOMAIN), "iq", type_="set")

    def test_clients_have_no_privilege(self):
        a, b = self.login(), self.login()
        self.assertError(a.iq("get", self.GET, b.bare), "forbidden")
        self.assertError(a.iq("get", "<privileged_iq xmlns='%s'><iq xmlns='jabber:client' type='get' id='1'>"
                              "<query xmlns='%s'/></iq></privileged_iq>" % (PRIV, ROSTER), b.bare), "forbidden")

    def test_nobody(self):
        c = self.component()
        self.assertError(c.request("get", self.GET, at("nobody-at-all")), ("service-unavailable", "item-not-found", "forbidden"))


class Messages(Base):
    def send(self, c, from_, to, to_server=DOMAIN, inner=None):
        c.stanza("message", to_server, inner=(
            "<privilege xmlns='%s'><forwarded xmlns='%s'>%s</forwarded></privilege>" % (PRIV, FWD, inner or (
                "<message xmlns='jabber:client' from='%s' to='%s' id='foo'><body>in your name</body></message>" % (from_, to)))),
            id_="notif1")

    def test_outgoing(self):
        a, b = self.login(), self.login()
        for name in ("all.lab.test", "other.test"):
            c = self.component(name)
            for from_ in (a.bare, DOMAIN):
                self.send(c, from_, b.jid)
                m = b.wait(body_is("in your name"))
                self.assertEqual((m.tag, m.get("from"), m.get("id")), ("{%s}message" % CLIENT, from_, "foo"))
                self.assertIsNone(kid(m, "privilege", PRIV))

    def test_forbidden(self):
        a, b = self.login(), self.login()
        c, n = self.component(), self.component("none.lab.test")
        self.send(n, a.bare, b.jid)
        self.assertError(n.wait(is_("message", id="notif1", type_="error")), "forbidden")
        for from_ in (a.jid, "x@elsewhere.test", "all.lab.test", "x@all.lab.test"):
            self.send(c, from_, b.jid)
            self.assertError(c.wait(is_("message", id="notif1", type_="error")), "forbidden")
        self.send(c, at("nobody-at-all"), b.jid)    # no account, no message of it
        self.assertError(c.wait(is_("message", id="notif1", type_="error")), "forbidden")
        for inner in ("<x/>", "<message from='%s' to='%s'/>" % (a.bare, b.jid)):     # no jabber:client
            self.send(c, None, None, inner=inner)
            self.assertError(c.wait(is_("message", id="notif1", type_="error")), "bad-request")
        b.sync()
        self.none_of(b.drain(), "message")

    def test_no_more_than_the_account(self):
        """Section 9, rule 4: whom the account blocks, it cannot write to."""
        a, b, c = self.login(), self.login(), self.component()
        self.assertResult(a.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % b.bare))
        self.send(c, a.bare, b.jid)
        self.assertError(c.wait(is_("message", id="notif1", type_="error")), "not-acceptable")
        self.none_of(b.drain(), "message")

    def test_client_may_not(self):
        a, b = self.login(), self.login()
        a.send("<message to='%s' id='n'><privilege xmlns='%s'><forwarded xmlns='%s'><message xmlns='jabber:client' from='%s' to='%s'>"
               "<body>x</body></message></forwarded></privilege></message>" % (DOMAIN, PRIV, FWD, b.bare, b.jid))
        a.sync()
        b.sync()
        self.none_of(b.drain(), "message")


class Iqs(Base):
    def ask(self, c, to, type_="get", ns="test:echo", inner_type=None, from_="", inner_to="", xmlns="jabber:client"):
        return c.request(type_, "<privileged_iq xmlns='%s'><iq xmlns='%s' type='%s' id='in1'%s%s><query xmlns='%s'/></iq></privileged_iq>" % (
            PRIV, xmlns, inner_type or type_, " from='%s'" % from_ if from_ else "", " to='%s'" % inner_to if inner_to else "", ns), to)

    def test_on_behalf(self):
        a, b, c = self.login(), self.login(), self.component("iqs.lab.test")
        id_ = c.new_id()
        c.stanza("iq", a.bare, inner="<privileged_iq xmlns='%s'><iq xmlns='jabber:client' type='set' id='in1' to='%s'>"
                 "<query xmlns='test:echo'/></iq></privileged_iq>" % (PRIV, b.jid), type_="set", id_=id_)
        q = b.wait(is_("iq", from_=a.bare, type_="set"))
        b.send("<iq type='result' to='%s' id='%s'><done xmlns='test:echo'/></iq>" % (q.get("from"), q.get("id")))
        r = c.reply(id_)
        self.assertResult(r)
        self.assertEqual(r.get("from"), a.bare)
        i = r.find("{%s}privilege/{%s}forwarded/{%s}iq" % (PRIV, FWD, CLIENT))
        self.assertIsNotNone(i, show(r))
        self.assertEqual((i.get("id"), i.get("type"), i.get("from"), i.get("to")), ("in1", "result", b.jid, a.bare))
        self.assertIsNotNone(i.find("{test:echo}done"))

    def test_error_comes_back(self):
        a, c = self.login(), self.component("iqs.lab.test")
        r = self.ask(c, a.bare, inner_to=at("nobody-at-all"))
        i = r.find("{%s}privilege/{%s}forwarded/{%s}iq" % (PRIV, FWD, CLIENT))
        self.assertEqual(i.get("type"), "error", show(r))

    def test_own_account(self):
        """Without 'to' it is the account itself that answers."""
        a, c = self.login(), self.component("iqs.lab.test")
        r = self.ask(c, a.bare, ns=ROSTER)
        i = r.find("{%s}privilege/{%s}forwarded/{%s}iq" % (PRIV, FWD, CLIENT))
        self.assertEqual(i.get("type"), "result", show(r))
        self.assertIsNotNone(kid(i, "query", ROSTER))

    def test_forbidden(self):
        a, c = self.login(), self.component("iqs.lab.test")
        for kw in (dict(ns="test:other"), dict(type_="set", ns="test:get"), dict(inner_type="set"), dict(from_=a.jid),
                   dict(from_=at("x")), dict(xmlns="test:x"), dict(type_="set", ns=ROSTER)):
            self.assertError(self.ask(c, a.bare, **kw), "forbidden")
        self.assertError(self.ask(c, a.jid), "forbidden")
        self.assertError(self.ask(c, DOMAIN), "forbidden")
        self.assertError(self.ask(self.component(), a.bare), "forbidden")

    def test_own_from_is_fine(self):
        a, c = self.login(), self.component("iqs.lab.test")
        self.assertResult(self.ask(c, a.bare, from_=a.bare))


class Presence(Base):
    def test_managed_entity(self):
        c = self.component("getter.lab.test")
        a = self.login(presence=False)
        a.presence(inner="<status>balcony</status>")
        p = c.wait(is_("presence", from_=a.jid))
        self.assertEqual((p.get("to"), p.get("type")), (c.name, None))
        a.presence(inner="<show>away</show>")   # 7.1: only the initial one
        a.sync()
        c.fence(DOMAIN)
        a.presence("unavailable")
        p = c.wait(is_("presence", from_=a.jid))
        self.assertEqual(p.get("type"), "unavailable")

    def test_who_was_there(self):
        """8 rule 1."""
        a, b = self.login(), self.login()
        b.presence(inner="<show>dnd</show>")
        b.sync()
        c = self.component("getter.lab.test")
        c.wait(is_("presence", from_=a.jid, type_=None))
        p = c.wait(is_("presence", from_=b.jid, type_=None))
        self.assertEqual(kid(p, "show").text, "dnd")

    def test_roster_presence_once(self):
        """7.4, 8 rule 2."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        c = self.component()
        self.advert(c)
        c.wait(is_("presence", from_=a.jid))
        c.wait(is_("presence", from_=b.jid))
        a.presence("unavailable")
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))
        b.sync()
        got = [e for e in c.fence(DOMAIN) if e.get("from") == a.jid]
        lab.wait_until(lambda: got.extend(e for e in c.drain() if e.get("from") == a.jid) or got, text="unavailable")
        got += [e for e in c.fence(DOMAIN) if e.get("from") == a.jid]
        self.assertEqual([e.get("type") for e in got], ["unavailable"])

    def test_contact_elsewhere(self):
        """A contact that is a component's user; also when our user is offline."""
        a, c, x = self.login(), self.component(), self.component("none.lab.test")
        a.roster()
        a.presence("subscribe", "bot@none.lab.test")
        x.wait(is_("presence", type_="subscribe"))
        x.stanza("presence", a.bare, "bot@none.lab.test", type_="subscribed")
        a.wait(is_("presence", type_="subscribed"))
        x.stanza("presence", a.bare, "bot@none.lab.test/r")
        p = c.wait(is_("presence", from_="bot@none.lab.test/r"))
        self.assertEqual(p.get("to"), c.name)
        a.close()
        x.stanza("presence", a.bare, "bot@none.lab.test/r", type_="unavailable")
        c.wait(is_("presence", from_="bot@none.lab.test/r", type_="unavailable"))

    def test_none(self):
        c = self.component("none.lab.test")
        a = self.login()
        a.close()
        self.none_of(c.fence(DOMAIN), "presence")


class Delegation(Base):
    def setUp(self):
        self.c = self.component("deleg.lab.test")

    def forwarded(self, from_, timeout=None):
        def fits(e):
            i = e.find("{%s}delegation/{%s}forwarded/{%s}iq" % (DELEG, FWD, CLIENT))
            return i is not None and i.get("from") == from_
        e = self.c.wait(fits, timeout)
        self.assertEqual((e.get("from"), e.get("type")), (DOMAIN, "set"))
        return e, e.find("{%s}delegation/{%s}forwarded/{%s}iq" % (DELEG, FWD, CLIENT))

    def answer(self, e, inner):
        self.c.result(e, "<delegation xmlns='%s'><forwarded xmlns='%s'>%s</forwarded></delegation>" % (DELEG, FWD, inner))

    def test_to_server_account_and_self(self):
        a, b = self.login(), self.login()
        for to in (DOMAIN, b.bare, a.bare, None):
            id_ = a.new_id()
            a.send("<iq type='set' id='%s'%s><mood xmlns='test:mood'><happy/></mood></iq>" % (id_, " to='%s'" % to if to else ""))
            e, i = self.forwarded(a.jid)
            self.assertEqual((i.get("id"), i.get("type"), i.get("to")), (id_, "set", to))
            self.assertIsNotNone(i.find("{test:mood}mood/{test:mood}happy"))
            self.answer(e, "<iq xmlns='jabber:client' type='result' id='%s' to='%s'%s><mood xmlns='test:mood'>ok</mood></iq>" % (
                id_, a.jid, " from='%s'" % to if to else ""))
            r = a.reply(id_)
            self.assertResult(r)
            self.assertEqual(kid(r, "mood", "test:mood").text, "ok")

    def test_bad_answers(self):
        a = self.login()
        for n, inner in enumerate((
                "", "<iq xmlns='jabber:client' type='result' id='WRONG' to='{a}' from='{d}'/>",
                "<iq xmlns='jabber:client' type='result' id='{id}' to='x@x' from='{d}'/>",
                "<iq xmlns='jabber:client' type='result' id='{id}' to='{a}' from='x.test'/>",
                "<iq xmlns='jabber:client' type='result' id='{id}' to='{a}'/>",
                "<iq xmlns='jabber:client' type='error' id='{id}' to='{a}' from='{d}'/>",
                "<iq xmlns='test:x' type='result' id='{id}' to='{a}' from='{d}'/>")):
            id_ = "b%d" % n
            a.send("<iq type='get' id='%s' to='%s'><mood xmlns='test:mood'/></iq>" % (id_, DOMAIN))
            e, _ = self.forwarded(a.jid)
            self.answer(e, inner.format(id=id_, a=a.jid, d=DOMAIN))
            self.assertError(a.reply(id_), "service-unavailable")

    def test_error_answer(self):
        a = self.login()
        a.send("<iq type='get' id='e' to='%s'><mood xmlns='test:mood'/></iq>" % DOMAIN)
        e, _ = self.forwarded(a.jid)
        self.c.stanza("iq", DOMAIN, inner="<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
                      type_="error", id_=e.get("id"))
        self.assertError(a.reply("e"), "service-unavailable")

    def test_only_the_manager_answers(self):
        a, n = self.login(), self.component("none.lab.test")
        a.send("<iq type='get' id='o' to='%s'><mood xmlns='test:mood'/></iq>" % DOMAIN)
        e, _ = self.forwarded(a.jid)
        good = "<iq xmlns='jabber:client' type='result' id='o' to='%s' from='%s'>%%s</iq>" % (a.jid, DOMAIN)
        n.stanza("iq", DOMAIN, inner="<delegation xmlns='%s'><forwarded xmlns='%s'>%s</forwarded></delegation>" % (
            DELEG, FWD, good % "<evil xmlns='x'/>"), type_="result", id_=e.get("id"))
        n.fence(DOMAIN)
        self.answer(e, good % "")
        self.assertEqual(len(a.reply("o")), 0)

    def test_attribute_filter(self):
        a = self.login()
        self.assertResult(a.iq("get", "<ping xmlns='urn:xmpp:ping'/>", DOMAIN))
        a.send("<iq type='get' id='f' to='%s'><ping xmlns='urn:xmpp:ping' node='n'/></iq>" % DOMAIN)
        e, _ = self.forwarded(a.jid)
        self.answer(e, "<iq xmlns='jabber:client' type='result' id='f' to='%s' from='%s'/>" % (a.jid, DOMAIN))
        self.assertResult(a.reply("f"))

    def test_managers_own_requests(self):
        """4.3.1: answered by the server itself."""
        r = self.c.request("get", "<query xmlns='jabber:iq:version'/>", DOMAIN)
        self.assertResult(r)
        self.assertIsNotNone(kid(kid(r, "query", "jabber:iq:version"), "name", "jabber:iq:version"), show(r))

    def test_full_jid_is_not_delegated(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<iq type='get' id='j' to='%s'><query xmlns='jabber:iq:version'/></iq>" % b.jid)
        q = b.wait(is_("iq", id="j"))
        b.send("<iq type='result' id='j' to='%s'/>" % q.get("from"))
        self.assertResult(a.reply("j"))

    def test_unknown_account(self):
        a = self.login()
        self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", at("nobody-at-all")), "service-unavailable")

    def test_away(self):
        a = self.login()
        self.c.close()
        self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", DOMAIN), "service-unavailable")

    def test_disco(self):
        """7.2: its features in ours."""
        a = self.login()
        for _ in range(2 * 3):
            q = self.c.wait(lambda e: local(e) == "iq" and kid(e, "query", DISCO_INFO) is not None)
            node = kid(q, "query", DISCO_INFO).get("node")
            self.assertTrue(node.startswith(DELEG + "::") or node.startswith(DELEG + ":bare:"), node)
            self.c.result(q, "<query xmlns='%s' node='%s'><feature var='%s'/></query>" % (DISCO_INFO, node, "x-" + node))
        host = lab.wait_until(lambda: self.features(a, DOMAIN, "x-%s::test:mood" % DELEG), text="features of the component")
        self.assertIn(DELEG, host)
        self.assertNotIn("jabber:iq:version", host)
        lab.wait_until(lambda: self.features(a, DOMAIN, "x-%s::jabber:iq:version" % DELEG), text="those of the other namespace")
        account = lab.wait_until(lambda: self.features(a, a.bare, "x-%s:bare:test:mood" % DELEG), text="features of accounts")
        self.assertNotIn("x-%s::test:mood" % DELEG, account)
        self.c.close()
        lab.wait_until(lambda: not self.features(a, DOMAIN, "x-%s::test:mood" % DELEG), text="they went with it")

    def features(self, a, to, want):
        f = {e.get("var") for e in kid(a.get(DISCO_INFO, to=to), "query", DISCO_INFO)}
        return f if want in f else None

    def test_unknown_nodes(self):
        a = self.login()
        a.send("<iq type='get' id='n' to='%s'><query xmlns='%s' node='some:node'/></iq>" % (a.bare, DISCO_INFO))
        e, i = self.forwarded(a.jid)
        self.answer(e, "<iq xmlns='jabber:client' type='result' id='n' to='%s' from='%s'><query xmlns='%s' node='some:node'/></iq>" % (
            a.jid, a.bare, DISCO_INFO))
        self.assertResult(a.reply("n"))


class Items(Base):
    """7.2.5"""
    options = {"extra": 'component "deleg.lab.test" { secret = "s"  delegate = [ "urn:xmpp:delegation:2:bare:disco#items:*" = "" ] }'}

    def test_items(self):
        self.c = self.component("deleg.lab.test")
        a = self.login()
        for node in ("", " node='some:node'"):
            a.send("<iq type='get' id='n' to='%s'><query xmlns='%s'%s/></iq>" % (a.bare, DISCO_ITEMS, node))
            e, i = Delegation.forwarded(self, a.jid)
            self.assertEqual(kid(i, "query", DISCO_ITEMS).get("node"), "some:node" if node else None)
            Delegation.answer(self, e, "<iq xmlns='jabber:client' type='result' id='n' to='%s' from='%s'><query xmlns='%s'%s>"
                              "<item jid='%s' node='n1'/></query></iq>" % (a.jid, a.bare, DISCO_ITEMS, node, a.bare))
            r = a.reply("n")
            self.assertEqual([x.get("node") for x in kid(r, "query", DISCO_ITEMS)], ["n1"])
        # those of the server are the server's
        self.assertResult(a.iq("get", "<query xmlns='%s'/>" % DISCO_ITEMS, DOMAIN))


class ClientMode(Base):
    """Section 5: users give namespaces away themselves."""
    options = {"top": 'client_delegation = ( "test:mood" "test:other" "jabber:iq:private" "urn:xmpp:delegation:2" )',
               "extra": 'component "ent.lab.test" { secret = "s" }\ncomponent "ent2.lab.test" { secret = "s" }'}
    forwarded, answer = Delegation.forwarded, Delegation.answer

    def setUp(self):
        self.c = self.component("ent.lab.test")

    def request(self, user, *namespaces, c=None):
        return (c or self.c).request("get", "<query xmlns='%s' to='%s'>%s</query>" % (
            DELEG, user, "".join("<delegate namespace='%s'/>" % n for n in namespaces)), DOMAIN)

    def form(self, a):
        m = a.wait(lambda e: local(e) == "message" and kid(e, "x", "jabber:x:data") is not None)
        return m, kid(m, "x", "jabber:x:data")

    def value(self, x, var):
        return next(f for f in x if f.get("var") == var)[0].text

    def submit(self, a, x, type_="submit", **grants):
        a.send("<message to='%s' id='ans'><x xmlns='jabber:x:data' type='%s'><field var='FORM_TYPE'><value/></field>"
               "<field var='challenge'><value>%s</value></field>%s</x></message>" % (
                   DOMAIN, type_, self.value(x, "challenge"), "".join(
                       "<field var='test:%s'><value>%s</value></field>" % g for g in grants.items())))

    def granted(self, c=None):
        m = (c or self.c).wait(lambda e: local(e) == "message" and kid(e, "delegation", DELEG) is not None)
        self.assertEqual(m.get("from"), DOMAIN)
        d = kid(m, "delegation", DELEG)
        return d.get("to"), sorted(x.get("namespace") for x in d)

    def give(self, a, *namespaces):
        self.assertResult(self.request(a.bare, *("test:" + n for n in namespaces)))
        m, x = self.form(a)
        self.submit(a, x, **{n: "1" for n in namespaces})
        self.assertEqual(self.granted()[0], a.bare)

    def test_question(self):
        a = self.login()
        self.assertResult(self.request(a.bare, "test:mood", "jabber:iq:private"))
        m, x = self.form(a)
        self.assertEqual(m.get("from"), DOMAIN)
        self.assertIn("ent.lab.test", kid(m, "body").text)
        self.assertEqual(self.value(x, "FORM_TYPE"), DELEG)
        self.assertGreater(len(self.value(x, "challenge")), 20)
        f = {e.get("var"): e for e in x if e.get("var")}
        for ns in ("test:mood", "jabber:iq:private"):
            self.assertEqual(f[ns].get("type"), "list-single")
            self.assertEqual(self.value(x, ns), "0")
            self.assertEqual([o[0].text for o in f[ns] if local(o) == "option"], ["0", "1"])
            self.assertIn(ns, f[ns].get("label"))

    def test_granted(self):
        """5.2"""
        a, b = self.login(), self.login()
        self.assertResult(self.request(a.bare, "test:mood", "test:other"))
        m, x = self.form(a)
        self.submit(a, x, mood="1", other="0")
        self.assertEqual(self.granted(), (a.bare, ["test:mood"]))
        for who, to in ((a, DOMAIN), (a, a.bare), (a, None), (b, a.bare)):
            id_ = who.new_id()
            who.send("<iq type='set' id='%s'%s><mood xmlns='test:mood'/></iq>" % (id_, " to='%s'" % to if to else ""))
            e, i = self.forwarded(who.jid)
            self.answer(e, "<iq xmlns='jabber:client' type='result' id='%s' to='%s'%s><mood xmlns='test:mood'>ok</mood></iq>" % (
                id_, who.jid, " from='%s'" % to if to else ""))
            self.assertEqual(kid(who.reply(id_), "mood", "test:mood").text, "ok")
        # rule 3: nobody else's, no other namespace, no resource
        for who, to, ns in ((b, DOMAIN, "test:mood"), (b, b.bare, "test:mood"), (a, b.bare, "test:mood"), (a, DOMAIN, "test:other"),
                            (a, a.bare, "jabber:iq:private-x")):
            self.assertError(who.iq("get", "<mood xmlns='%s'/>" % ns, to), ("service-unavailable", "forbidden"))
        # rule 2: not what the entity asks itself
        self.assertError(self.c.request("get", "<mood xmlns='test:mood'/>", a.bare), "service-unavailable")

    def test_refused(self):
        a = self.login()
        for kw in ({"mood": "0"}, {}, {"mood": "yes"}, {"mood": "1", "type_": "cancel"}):
            self.request(a.bare, "test:mood")
            m, x = self.form(a)
            self.submit(a, x, **kw)
            self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", DOMAIN), "service-unavailable")
        self.assertEqual(self.c.fence(DOMAIN), [])

    def test_once(self):
        """An answer counts once, and only the user's."""
        a, b = self.login(), self.login()
        self.request(a.bare, "test:mood")
        m, x = self.form(a)
        self.submit(b, x, mood="1")
        self.assertError(b.wait(is_("message", type_="error")), "service-unavailable")
        self.submit(a, x, mood="0")
        self.submit(a, x, mood="1")
        self.assertError(a.wait(is_("message", type_="error")), "service-unavailable")
        self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", DOMAIN), "service-unavailable")

    def test_forbidden(self):
        """8, rule 5: never delegation itself; and only what the operator lists."""
        a = self.login()
        for ns in (DELEG, "test:unlisted", "urn:ietf:params:xml:ns:xmpp-sasl", "jabber:iq:roster"):
            self.assertError(self.request(a.bare, ns), "forbidden")
            self.assertError(self.request(a.bare, "test:mood", ns), "forbidden")
        self.assertError(self.request(a.bare), "bad-request")
        self.assertError(self.request(a.bare, ""), "bad-request")
        self.assertError(self.request(a.jid, "test:mood"), "bad-request")
        self.assertError(self.request(DOMAIN, "test:mood"), "bad-request")
        self.assertError(self.request("x@elsewhere.test", "test:mood"), "bad-request")
        self.assertError(self.request("", "test:mood"), "jid-malformed")
        self.assertError(a.iq("get", "<query xmlns='%s' to='%s'><delegate namespace='test:mood'/></query>" % (DELEG, a.bare), DOMAIN),
                         "forbidden")
        a.sync()
        self.none_of(a.drain(), "message")

    def test_nobody_there(self):
        """What is answered does not tell who exists, or is online."""
        self.assertResult(self.request(at("nobody-at-all"), "test:mood"))
        self.assertResult(self.request(at(self.user()), "test:mood"))

    def test_often(self):
        a = self.login()
        for _ in range(5):
            self.assertResult(self.request(a.bare, "test:mood"))
        self.assertError(self.request(a.bare, "test:mood"), "resource-constraint")

    def test_ends_with_the_session(self):
        a = self.login()
        user = a.bare.split("@")[0]
        a2 = self.login(user)
        self.give(a, "mood", "other")
        a.close()
        a2.sync()
        a2.send("<iq type='get' id='still' to='%s'><mood xmlns='test:mood'/></iq>" % DOMAIN)
        self.forwarded(a2.jid)
        a2.close()
        self.assertEqual([len(self.granted()[1]) for _ in range(2)], [1, 0])
        a = self.login(user)
        self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", DOMAIN), "service-unavailable")

    def test_another_entity(self):
        """The latest choice counts; who had it is told."""
        a, c2 = self.login(), self.component("ent2.lab.test")
        self.give(a, "mood")
        self.assertResult(self.request(a.bare, "test:mood", c=c2))
        m, x = self.form(a)
        self.submit(a, x, mood="1")
        self.assertEqual(self.granted(), (a.bare, []))
        self.assertEqual(self.granted(c2), (a.bare, ["test:mood"]))

    def test_entity_away(self):
        """8, rule 4"""
        a = self.login()
        self.give(a, "mood")
        self.c.close()
        self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", DOMAIN), "service-unavailable")

    def test_nested(self):
        """An answer in an answer goes nowhere."""
        a = self.login()
        self.give(a, "mood")
        for inner in ("<forwarded xmlns='%s'/>" % FWD, "<delegation xmlns='%s'/>" % DELEG):
            a.send("<iq type='get' id='e' to='%s'><mood xmlns='test:mood'/></iq>" % DOMAIN)
            e, _ = self.forwarded(a.jid)
            self.answer(e, "<iq xmlns='jabber:client' type='result' id='e' to='%s' from='%s'>%s</iq>" % (a.jid, DOMAIN, inner))
            self.assertError(a.reply("e"), "service-unavailable")

    def test_configure(self):
        """Section 6"""
        a = self.login()
        node = DELEG + "#configure"
        cmd = "<command xmlns='http://jabber.org/protocol/commands' node='%s'%%s>%%s</command>" % node
        r = kid(a.iq("set", cmd % ("", ""), DOMAIN), "command", "http://jabber.org/protocol/commands")
        self.assertEqual(r.get("status"), "completed")
        self.give(a, "mood", "other")
        r = kid(a.iq("set", cmd % ("", ""), DOMAIN), "command", "http://jabber.org/protocol/commands")
        x = kid(r, "x", "jabber:x:data")
        f = next(f for f in x if f.get("var") == "revoke")
        self.assertEqual(sorted(o[0].text for o in f if local(o) == "option"), ["test:mood", "test:other"])
        r = a.iq("set", cmd % (" action='complete' sessionid='%s'" % r.get("sessionid"),
                               "<x xmlns='jabber:x:data' type='submit'><field var='revoke'><value>test:mood</value></field></x>"), DOMAIN)
        self.assertEqual(kid(r, "command", "http://jabber.org/protocol/commands").get("status"), "completed")
        self.assertEqual(self.granted(), (a.bare, ["test:other"]))
        self.assertError(a.iq("get", "<mood xmlns='test:mood'/>", DOMAIN), "service-unavailable")


class Config(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.d = labor.daemon(milter=False, accounts=("alice",), extra='component "x.lab.test" { secret = "s" }')

    def test_reload(self):
        c = compc.join(self.d.c2s_port, "x.lab.test", "s")
        for more, ok in (('privilege_message = "outgoing"', True), ('privilege_presence = "roster"', False),
                         ('delegate = [ "urn:xmpp:delegation:2" = "" ]', False), ('privilege_iq = [ "a:b" = "maybe" ]', False)):
            self.d.extra = 'component "x.lab.test" { secret = "s"  %s }' % more
            self.d.write_config(self.d.config_text())
            self.assertEqual(self.d.ctl("config", "reload", check=False).returncode == 0, ok, more)
        m = c.wait("message")
        self.assertEqual([e.get("access") for e in kid(m, "privilege", PRIV)], ["message"])
        c.close()


if __name__ == "__main__":
    lab.main()
