"""Whole accounts in and out: XEP-0227 from Prosody and ejabberd, Tandem's own export, lists of names."""
import os
import re
import stat
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import foreign
import lab
import xmppc
from case import ServerCase
from lab import DOMAIN, PASSWORD

EXPORTS = Path(__file__).parent / "exports"
MAM = "urn:xmpp:mam:2"
PIE = "urn:xmpp:pie:0"
PUBSUB = "http://jabber.org/protocol/pubsub"
ACCOUNTS = {"ann": "Old-pass-1", "bob": "Old-pass-2", "carl": "p3", "dora": "p4"}
PHOTO = "c7a9c45fd419815a5ab1998503a9f03514c0e229"


def archive(c):
    """The bodies in the archive of <c>'s account, in order."""
    c.iq("set", "<query xmlns='%s'/>" % MAM)
    return [e.findtext(".//{jabber:client}body") for e in c.drain() if e.find("{%s}result" % MAM) is not None]


def items(c, node):
    r = c.iq("get", "<pubsub xmlns='%s'><items node='%s'/></pubsub>" % (PUBSUB, node))
    return {i.get("id"): i for i in r.iter("{%s}item" % PUBSUB)}


def private(c, element):
    return c.iq("get", "<query xmlns='jabber:iq:private'>%s</query>" % element)


class Moving(ServerCase):
    def tandemctl(self, *args, stdin="", daemon=None):
        r = subprocess.run([str(lab.BUILD / "tandemctl"), "-s", str((daemon or self.d).control), *map(str, args)],
                           input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120 * lab.SLOW)
        return lab.checked(r)

    def imports(self, *args, status=0, daemon=None, stdin=""):
        r = self.tandemctl("account", "import", *args, daemon=daemon, stdin=stdin)
        self.assertEqual(r.returncode, status, r.stdout + r.stderr)
        return r

    def daemon(self):
        d = self.lab.daemon(lab.token("d"), milter=False)
        self.addCleanup(d.stop_quietly)
        return d

    def file(self, text, name=None):
        p = Path(self.lab.dir) / (name or lab.token("f") + ".xml")
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text(text)
        return p

    def user_file(self, inner, name=None, attrs="", head="", host=DOMAIN):
        name = name or lab.token("m")
        return name, self.file("%s<server-data xmlns='%s'><host jid='%s'>\n<user name='%s' %s>%s</user></host></server-data>"
                               % (head, PIE, host, name, attrs, inner))

    def enter(self, port, user, password, mech=None):
        c = xmppc.login(port, user, password=password, mech=mech)
        self.addCleanup(c.close)
        return c

    # -- what foreign.fill() made

    def check_common(self, port, mechs):
        for mech in mechs:
            xmppc.login(port, "bob", password=ACCOUNTS["bob"], mech=mech).close()
        e = xmppc.connect(port).auth("ann", "wrong", mechs[0])
        self.assertEqual(xmppc.local(e), "failure")
        c = self.enter(port, "ann", ACCOUNTS["ann"], mechs[0])
        roster = c.roster()
        self.assertEqual(set(roster), {"bob@lab.test", "dora@lab.test"})
        bob = roster["bob@lab.test"]
        self.assertEqual((bob.get("name"), bob.get("subscription")), ("Bob <the best>", "both"))
        self.assertEqual({g.text for g in bob}, {"Friends", "Work & play"})
        self.assertEqual((roster["dora@lab.test"].get("subscription"), roster["dora@lab.test"].get("ask")), ("none", "subscribe"))
        c.presence()
        c.wait(xmppc.is_("presence", type_="subscribe", from_="carl@lab.test"))
        self.assertEqual(private(c, "<prefs xmlns='exodus:prefs'/>").findtext(".//{exodus:prefs}nick"), "Ann & Co")
        old = private(c, "<storage xmlns='storage:bookmarks'/>")
        self.assertIn("orchard@rooms.lab.test", {x.get("jid") for x in old.iter("{storage:bookmarks}conference")})
        self.assertEqual(old.find(".//{storage:bookmarks}url").get("url"), "https://example.org/")
        self.assertIn("orchard@rooms.lab.test", items(c, "urn:xmpp:bookmarks:1"))
        return c

    def check_prosody(self, port, mechs=("SCRAM-SHA-1",)):
        c = self.check_common(port, mechs)
        marks = items(c, "urn:xmpp:bookmarks:1")
        self.assertEqual(marks["theplay@rooms.lab.test"][0].get("name"), "The Play")
        self.assertEqual(items(c, "http://jabber.org/protocol/nick")["current"][0].text, "Annie")
        self.assertIn(PHOTO, items(c, "urn:xmpp:avatar:metadata"))
        self.assertEqual(archive(c), ["first in the archive", "second in the archive", "while you were out"])
        # others see what the node's configuration lets them
        b = self.enter(port, "carl", ACCOUNTS["carl"], mechs[0])
        r = b.iq("get", "<pubsub xmlns='%s'><items node='http://jabber.org/protocol/nick'/></pubsub>" % PUBSUB, to="ann@lab.test")
        self.assertEqual(r.get("type"), "result")
        r = b.iq("get", "<pubsub xmlns='%s'><items node='urn:xmpp:bookmarks:1'/></pubsub>" % PUBSUB, to="ann@lab.test")
        self.assertEqual(r.get("type"), "error")

    def check_ejabberd(self, port, mechs=("SCRAM-SHA-1",)):
        c = self.check_common(port, mechs)
        m = c.wait(xmppc.body_is("while you were out"))
        self.assertEqual(m.get("from"), "bob@lab.test/old")
        self.assertEqual(m.find("{urn:xmpp:delay}delay").get("from"), DOMAIN)
        self.assertIsNone(m.find("{urn:xmpp:sid:0}stanza-id"))
        self.assertIsNone(m.find("{urn:xmpp:mam:tmp}archived"))
        card = c.iq("get", "<vCard xmlns='vcard-temp'/>")
        self.assertEqual(card.findtext(".//{vcard-temp}FN"), "Ann of Before")
        own = c.wait(lambda e: xmppc.local(e) == "presence" and e.find("{vcard-temp:x:update}x") is not None)
        self.assertEqual(own.findtext(".//{vcard-temp:x:update}photo"), PHOTO)
        block = c.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
        self.assertEqual([i.get("jid") for i in block.iter("{urn:xmpp:blocking}item")], ["tybalt@lab.test"])


class FromExports(Moving):
    """Files that Prosody 0.12 and ejabberd 23.01 wrote."""

    def test_prosody(self):
        d = self.daemon()
        self.imports(*sorted(EXPORTS.glob("prosody-*.xml")), daemon=d)
        self.check_prosody(d.c2s_port)

    def test_ejabberd(self):
        """Also a main file that includes one per host, and keys in base64 of base64."""
        d = self.daemon()
        r = self.imports(EXPORTS / "ejabberd.xml", daemon=d)
        self.assertIn("4 accounts added", r.stdout)
        self.check_ejabberd(d.c2s_port)

    def test_again(self):
        """A second import changes nothing; --replace does; a crash loses nothing."""
        d = self.daemon()
        self.imports(EXPORTS / "ejabberd.xml", daemon=d)
        d.kill()
        d.start()
        c = xmppc.login(d.c2s_port, "ann", password=ACCOUNTS["ann"], mech="SCRAM-SHA-1")
        c.iq("set", "<query xmlns='jabber:iq:roster'><item jid='new@lab.test'/></query>")
        r = self.imports(EXPORTS / "ejabberd.xml", daemon=d)
        self.assertIn("0 accounts added", r.stdout)
        self.assertIn("4 exist already", r.stdout)
        self.assertIn("new@lab.test", c.roster())
        # who is signed in has to come again
        r = self.imports("--replace", EXPORTS / "ejabberd.xml", daemon=d)
        self.assertIn("4 replaced", r.stdout)
        self.assertEqual(c.wait_end(), "reset")
        self.check_ejabberd(d.c2s_port)

    def test_there_and_back(self):
        """What Tandem exports another Tandem takes, and exports the same."""
        d, e = self.daemon(), self.daemon()
        self.imports(*sorted(EXPORTS.glob("prosody-*.xml")), daemon=d)
        c = xmppc.login(d.c2s_port, "ann", password=ACCOUNTS["ann"], mech="SCRAM-SHA-1")
        c.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='x@lab.test'/></block>")
        c.iq("set", "<prefs xmlns='%s' default='roster'><always/><never><jid>n@lab.test</jid></never></prefs>" % MAM)
        c.close()
        one, two = Path(self.lab.dir) / "one.xml", Path(self.lab.dir) / "two.xml"
        r = self.tandemctl("account", "export", one, daemon=d)
        self.assertEqual((r.returncode, r.stdout), (0, "4 accounts exported\n"), r.stderr)
        self.assertEqual(stat.S_IMODE(one.stat().st_mode), 0o600)
        self.imports(one, daemon=e)
        self.assertEqual(self.tandemctl("account", "export", "--domain", DOMAIN, two, daemon=e).returncode, 0)
        self.check_prosody(e.c2s_port)

        def norm(p):
            # archive ids are each store's own
            return re.sub(r"(<result [^>]*id=)'[0-9a-f]+'", r"\1''", p.read_text())
        before, after = (ET.canonicalize(norm(p)).replace("><", ">\n<").splitlines() for p in (one, two))
        self.assertEqual([x for x in zip(before, after) if x[0] != x[1]][:3], [])
        self.assertEqual(len(before), len(after))


class FromServers(Moving):
    """The same from servers running here, through their own tools."""

    def run_(self, cls, check, mechs, **kw):
        with lab.Lab() as labor:
            server = cls(labor, ACCOUNTS, **kw)
            foreign.fill(server)
            out = server.export()
            d = self.daemon()
            files = sorted(out.glob("*@*.xml")) or [p for p in out.glob("*.xml") if "server-data" in p.read_text()]
            self.imports(*files, daemon=d)
            check(d.c2s_port, mechs)

    def test_prosody(self):
        self.run_(foreign.Prosody, self.check_prosody, ("SCRAM-SHA-1",))

    def test_prosody_sha256(self):
        self.run_(foreign.Prosody, self.check_prosody, ("SCRAM-SHA-256",), hash="SHA-256")

    def test_ejabberd(self):
        self.run_(foreign.Ejabberd, self.check_ejabberd, ("SCRAM-SHA-1",))

    def test_ejabberd_sha256(self):
        self.run_(foreign.Ejabberd, self.check_ejabberd, ("SCRAM-SHA-256",), hash="sha256")

    def test_ejabberd_clear(self):
        self.run_(foreign.Ejabberd, self.check_ejabberd, ("SCRAM-SHA-256", "SCRAM-SHA-1"), format="plain")


class TheFormat(Moving):
    def test_examples(self):
        """XEP-0227's own, the parts of one user together."""
        name, f = self.user_file(
            "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>100000</iter-count>"
            "<salt>TmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2wK</salt>"
            "<server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key><stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key>"
            "</scram-credentials><query xmlns='jabber:iq:roster'/><unknown xmlns='urn:x:y'><a/></unknown>"
            "<archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2' id='a'><forwarded xmlns='urn:xmpp:forward:0'>"
            "<delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/><message xmlns='jabber:client' from='romeo@montague.lit/orchard'"
            " to='juliet@capulet.lit' type='chat'><body>Call me but love</body></message></forwarded></result></archive>")
        r = self.imports(f)
        self.assertRegex(r.stderr, r"%s:2: <unknown xmlns='urn:x:y'/> is unknown here" % re.escape(str(f)))
        self.assertIn("1 pieces were left out", r.stdout)

    def test_password_and_disabled(self):
        name, f = self.user_file("", attrs="password='clear &amp; old'")
        self.imports(f)
        for mech in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
            self.enter(self.port, name, "clear & old", mech)
        name, f = self.user_file("", attrs="password='x' xmlns:p='http://prosody.im/protocol/extended-xep0227' p:disabled='true'")
        self.imports(f)
        self.assertEqual(xmppc.local(xmppc.connect(self.port).auth(name, "x")), "failure")
        name, f = self.user_file("")
        self.assertIn("1 came without a password", self.imports(f).stdout)
        self.tandemctl("account", "password", "%s@%s" % (name, DOMAIN), stdin="set later\n")
        self.enter(self.port, name, "set later")

    def test_bad_pieces(self):
        """Each is told of with its line; the account is made with the rest."""
        name, f = self.user_file(
            "\n<query xmlns='jabber:iq:roster'>\n<item jid='@@'/>\n<item jid='ok@lab.test' subscription='both'/>\n</query>"
            "\n<presence xmlns='jabber:client' type='available' from='a@b'/>"
            "\n<offline-messages>\n<message xmlns='jabber:client'><body>from nobody</body></message></offline-messages>"
            "\n<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'/>", attrs="password='p'")
        r = self.imports(f)
        lines = sorted(int(x) for x in re.findall(r"\.xml:(\d+): ", r.stderr))
        self.assertEqual(lines, [4, 7, 9], r.stderr)
        self.assertEqual(set(self.enter(self.port, name, "p").roster()), {"ok@lab.test"})

    def test_broken_documents(self):
        name = lab.token("m")
        body = "<server-data xmlns='%s'><host jid='%s'>\n<user name='%s' password='p'>" % (PIE, DOMAIN, name)
        for text, why in ((body + "<query xmlns='jabber:iq:roster'>", "not well-formed"),
                          ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + body + "&a;</user></host></server-data>", "document types are refused"),
                          ("<other/>", None),
                          (body.replace(DOMAIN, "other.example") + "</user></host></server-data>", "not hosted here"),
                          (body.replace(name, "a b") + "</user></host></server-data>", "not an account address")):
            with self.subTest(text=text):
                r = self.imports(self.file(text), status=0 if why is None else 1)
                self.assertIn(why or "is not expected here", r.stderr)
        self.assertNotIn(name + "@", self.tandemctl("account", "list").stdout)
        self.imports(Path(self.lab.dir) / "there-is-none.xml", status=1)
        self.assertEqual(self.tandemctl("account", "import", "--what").returncode, 2)
        self.assertEqual(self.tandemctl("account", "import", "--rounds", "10").returncode, 2)

    def test_include(self):
        """XInclude down to the children of a user, relative, below the folder, no further."""
        top = lab.token("i")
        xi = "xmlns:xi='http://www.w3.org/2001/XInclude'"
        user = lab.token("m")
        self.file("<query xmlns='jabber:iq:roster'><item jid='in@lab.test'/></query>", top + "/lab.test/deep/roster.xml")
        self.file("<user xmlns='%s' %s name='%s' password='p'><xi:include href='deep/roster.xml'/><query xmlns='jabber:iq:private'>"
                  "<xi:include href='deep/roster.xml'/><d xmlns='x:y'><xi:include href='/etc/passwd'/></d></query></user>" % (PIE, xi, user),
                  top + "/lab.test/%s.xml" % user)
        self.file("<host xmlns='%s' %s jid='lab.test'><xi:include href='lab.test/%s.xml'/></host>" % (PIE, xi, user.replace("m", "%6d", 1)),
                  top + "/lab.test.xml")
        main = self.file("<server-data xmlns='%s' %s><xi:include href='lab.test.xml'/></server-data>" % (PIE, xi), top + "/main.xml")
        self.imports(main)
        c = self.enter(self.port, user, "p")
        self.assertEqual(set(c.roster()), {"in@lab.test"})
        self.assertIn("/etc/passwd", xmppc.show(private(c, "<d xmlns='x:y'/>")))  # a user's data, as it was

        os.symlink("/etc/passwd", main.parent / "link.xml")
        self.file("<user xmlns='%s' name='outside'/>" % PIE, "outside.xml")
        for href in ("../outside.xml", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x", "link.xml", "none.xml", ".",
                     "lab.test/../../outside.xml", "%2e%2e/outside.xml", "a#b"):
            with self.subTest(href=href):
                f = self.file("<server-data xmlns='%s' %s><host jid='lab.test'><xi:include href='%s'/></host></server-data>"
                              % (PIE, xi, href), top + "/evil.xml")
                r = self.imports(f, status=1)
                self.assertIn("0 accounts added", r.stdout)
                self.assertRegex(r.stderr, r"xml:\d+: left out: ")

    def test_large_account(self):
        """In several requests and transactions; not whole: closed; again: whole."""
        name = lab.token("m")

        def text(n, end=""):
            yield "<server-data xmlns='%s'><host jid='%s'><user name='%s' password='p'><archive xmlns='urn:xmpp:pie:0#mam'>\n" % (PIE, DOMAIN, name)
            for i in range(n):
                yield ("<result xmlns='urn:xmpp:mam:2' id='%d'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'"
                       " stamp='2020-01-01T00:%02d:%02dZ'/><message xmlns='jabber:client' from='a@b.example/r' to='%s@%s' type='chat'>"
                       "<body>%d %s</body></message></forwarded></result>\n" % (i, i // 60, i % 60, name, DOMAIN, i, "x" * 2000))
            yield end
        whole = "</archive><vCard xmlns='vcard-temp'><FN>F</FN></vCard></user></host></server-data>"
        r = self.imports(self.file("".join(text(1500))), status=1)
        self.assertIn("it stays closed until it is imported again", r.stderr)
        self.assertEqual(xmppc.local(xmppc.connect(self.port).auth(name, "p")), "failure")
        r = self.imports(self.file("".join(text(1500, whole))))
        self.assertIn("archived 1500", r.stdout)
        c = self.enter(self.port, name, "p")
        c.iq("set", "<query xmlns='%s'><set xmlns='http://jabber.org/protocol/rsm'><max>3</max><before/></set></query>" % MAM)
        got = [e.findtext(".//{jabber:client}body").split()[0] for e in c.drain() if e.find("{%s}result" % MAM) is not None]
        self.assertEqual(got, ["1497", "1498", "1499"])
        out = Path(self.lab.dir) / (name + ".xml")
        self.assertEqual(self.tandemctl("account", "export", "%s@%s" % (name, DOMAIN), out).returncode, 0)
        back = ET.parse(out)
        self.assertEqual([b.text.split()[0] for b in back.iter("{jabber:client}body")], [str(i) for i in range(1500)])
        # and replacing it takes the archive away first
        self.assertIn("1 replaced", self.imports("--replace", out).stdout)
        self.assertIn("1 exist already", self.imports(out).stdout)

    def test_long_names(self):
        """Names of nodes and items, and a contact's groups, as long and as many as a client may have them."""
        node, item = "n" * 1023, "i" * 1023
        groups = "".join("<group>g%d</group><group>g0</group>" % i for i in range(90))
        name, f = self.user_file(
            "<query xmlns='jabber:iq:roster'><item jid='b@lab.test'>%s</item><item jid='c@lab.test'><group>g1</group></item></query>"
            "<pubsub xmlns='%s#owner'><configure node='%s'/></pubsub><pubsub xmlns='%s'><items node='%s'><item id='%s'>"
            "<x xmlns='u:x'/></item></items></pubsub><pubsub xmlns='%s'><items node='%s'><item id='i'/></items></pubsub>"
            % (groups, PUBSUB, node, PUBSUB, node, item, PUBSUB, node + "n"), attrs="password='p'")
        r = self.imports(f)
        self.assertEqual(r.stderr.count("with too long a name"), 1, r.stderr)
        c = self.enter(self.port, name, "p")
        self.assertEqual(list(items(c, node)), [item])
        roster = c.roster()
        self.assertEqual({g.text for g in roster["b@lab.test"]}, {"g%d" % i for i in range(90)})
        self.assertEqual([g.text for g in roster["c@lab.test"]], ["g1"])

    def test_export(self):
        user = self.user()
        f = Path(self.lab.dir) / (lab.token("o") + ".xml")
        jid = "%s@%s" % (user, DOMAIN)
        r = self.tandemctl("account", "export", jid, "nobody@" + DOMAIN, f)
        self.assertEqual(r.returncode, 1)
        self.assertIn("no account nobody@", r.stderr)
        self.assertEqual([u.get("name") for u in ET.parse(f).iter("{%s}user" % PIE)], [user])
        self.assertEqual(self.tandemctl("account", "export", jid, f).returncode, 1)  # it is there
        self.assertIn("<user name='%s'" % user, self.tandemctl("account", "export", jid, "-").stdout)
        self.assertEqual(self.tandemctl("account", "export", "--what", f).returncode, 2)

    def test_waiting_messages_and_items(self):
        """Pages of them, there and back."""
        messages = "".join("<message xmlns='jabber:client' from='a@b.example/r' type='chat'><body>m%03d</body></message>" % i for i in range(250))
        entries = "".join("<item id='i%03d'><x xmlns='u:x'>%d</x></item>" % (i, i) for i in range(250))
        name, f = self.user_file(
            "<offline-messages>%s</offline-messages><pubsub xmlns='%s#owner'><configure node='n'><x xmlns='jabber:x:data' type='form'>"
            "<field var='pubsub#max_items'><value>max</value></field><field var='pubsub#access_model'><value>strange</value></field>"
            "</x></configure><affiliations node='n'><affiliation jid='m@lab.test' affiliation='member'/></affiliations>"
            "<subscriptions node='n'><subscription jid='s@lab.test' subscription='subscribed'/>"
            "<subscription jid='t@lab.test' subscription='subscribed' subid='a1'/><subscription jid='t@lab.test' subscription='pending' subid='b2'/>"
            "</subscriptions></pubsub>"
            "<pubsub xmlns='%s'><items node='n'>%s</items></pubsub>" % (messages, PUBSUB, PUBSUB, entries), attrs="password='p'")
        r = self.imports(f)
        self.assertIn("node n: pubsub#access_model is not possible here", r.stderr)
        out = Path(self.lab.dir) / (name + ".xml")
        self.assertEqual(self.tandemctl("account", "export", "%s@%s" % (name, DOMAIN), out).returncode, 0)
        t = ET.parse(out)
        self.assertEqual([b.text for b in t.iter("{jabber:client}body")], ["m%03d" % i for i in range(250)])
        self.assertEqual([i.get("id") for i in t.iter("{%s}item" % PUBSUB)], ["i%03d" % i for i in range(250)])
        self.assertEqual([(a.get("jid"), a.get("affiliation")) for a in t.iter("{%s#owner}affiliation" % PUBSUB)], [("m@lab.test", "member")])
        subs = [(a.get("jid"), a.get("subscription"), a.get("subid")) for a in t.iter("{%s#owner}subscription" % PUBSUB)]
        self.assertEqual(subs[0][:2], ("s@lab.test", "subscribed"))
        self.assertTrue(subs[0][2])
        self.assertEqual(subs[1:], [("t@lab.test", "subscribed", "a1"), ("t@lab.test", "pending", "b2")])
        form = {x.get("var"): [v.text for v in x.iter("{jabber:x:data}value")] for x in t.iter("{jabber:x:data}field")}
        self.assertEqual((form["pubsub#access_model"], form["pubsub#max_items"]), (["whitelist"], ["max"]))
        c = self.enter(self.port, name, "p")
        c.presence()
        got = [xmppc.text(m) for m in c.wait_all(xmppc.is_("message"), 250)]
        self.assertEqual(got, ["m%03d" % i for i in range(250)])


class Lines(Moving):
    def test_many(self):
        n = 1200
        names = [lab.token("b%d" % i) for i in range(n)]
        text = "".join("%s@%s\tpw-%s\n" % (u, DOMAIN, u) for u in names)
        r = self.imports(self.file(text))
        self.assertIn("%d accounts added" % n, r.stdout)
        for mech in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
            self.enter(self.port, names[700], "pw-" + names[700], mech)
        c = xmppc.connect(self.port)
        c.auth(names[3], "pw-" + names[3])
        self.assertEqual(c.server_first["i"], "4096")
        self.assertIn("%d exist already" % n, self.imports(stdin=text).stdout)

    def test_rounds(self):
        name = lab.token("b")
        self.imports("--rounds", "12345", stdin="%s@%s\tx\n" % (name, DOMAIN))
        c = xmppc.connect(self.port)
        c.auth(name, "x")
        self.assertEqual(c.server_first["i"], "12345")

    def test_generate(self):
        names = [lab.token("g%d" % i) for i in range(3)]
        r = self.imports("--generate", stdin="".join("%s@%s\n" % (u, DOMAIN) for u in names))
        got = dict(line.split("\t") for line in r.stdout.splitlines())
        self.assertEqual(set(got), {"%s@%s" % (u, DOMAIN) for u in names})
        self.assertEqual(len(set(got.values())), 3)
        for u in names:
            self.enter(self.port, u, got["%s@%s" % (u, DOMAIN)])

    def test_bad_lines(self):
        r = self.imports(status=1, stdin="no-tab\n# a comment\n\nx@other.example\tp\nbad@%s\t{SCRAM-SHA-1}1$2\n%s\tp\n" % (DOMAIN, "y" * 9000))
        self.assertIn("(stdin):1: no TAB", r.stderr)
        self.assertRegex(r.stderr, r"\(stdin\):4: x@other.example: .*not hosted here")
        self.assertRegex(r.stderr, r"\(stdin\):5: .*malformed verifier")
        self.assertIn("(stdin):6: the line is too long", r.stderr)
        self.assertIn("4 failed", r.stdout)

    def test_ends_of_a_list(self):
        """The mark of UTF-8 before the first line; a last line that has no end and is too long."""
        name = "%s@%s" % (lab.token("u"), DOMAIN)
        r = self.imports(status=1, stdin="\ufeff%s\tmarked one\n%s" % (name, "z" * 9000))
        self.assertIn("(stdin):2: the line is too long", r.stderr)
        self.assertIn("1 accounts added, 0 replaced, 1 failed", r.stdout)
        self.enter(self.port, name.partition("@")[0], "marked one")


if __name__ == "__main__":
    lab.main()
