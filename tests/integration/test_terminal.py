"""go-sendxmpp and profanity, as Debian has them: programs for the terminal with libraries of their own.

What is not installed (make setup) is the reason its tests are skipped.
"""
import os
import subprocess
import tempfile
import unittest

import case
import lab
import pubsubc
import stockc
import webc
import xmppc
from lab import PASSWORD
from xmppc import body_is, is_, kid, text

ROOMS, UP = "rooms." + lab.DOMAIN, "upload." + lab.DOMAIN
MUC = "http://jabber.org/protocol/muc"
CA_DIR = tempfile.TemporaryDirectory(prefix="tandem-ca-")


class Base(case.ServerCase):
    """One daemon for both, with a certificate that has to be believed."""
    ca = None

    @classmethod
    def setUpClass(cls):
        if Base.ca is None:
            Base.ca = stockc.Ca(CA_DIR.name)
            Base.options, plain, _ = webc.web_options()
            # go-sendxmpp of Debian 12 knows PLAIN only
            Base.options["listener"] = 'tls_certificate = "%s"  AuthPLAINParameters = [ uri = "store://" ]' % Base.ca.server
            Base.options["extra"] += """
domain "%s" { XMPP_Role = "server"  service = "muc" }
domain "%s" { XMPP_Role = "server"  service = "upload"  public_url = "http://127.0.0.1:%d" }""" % (ROOMS, UP, plain)
        super().setUpClass()

    def room(self, c):
        room = "%s@%s" % (lab.token("room"), ROOMS)
        self.enter(c, room, "owner")
        self.assertResult(c.iq("set", "<query xmlns='%s#owner'><x xmlns='jabber:x:data' type='submit'/></query>" % MUC, room))
        return room

    def enter(self, c, room, nick):
        c.presence(to="%s/%s" % (room, nick), inner="<x xmlns='%s'/>" % MUC)
        c.wait(is_("presence", from_="%s/%s" % (room, nick)))


@unittest.skipIf(stockc.missing("go-sendxmpp", "openssl"), stockc.missing("go-sendxmpp", "openssl"))
class GoSendxmpp(Base):
    def command(self, user, *args):
        return ["go-sendxmpp", "-u", case.at(user), "-p", PASSWORD, "-j", "127.0.0.1:%d" % self.port, *args]

    @property
    def env(self):
        return {"SSL_CERT_FILE": str(self.ca.pem), "HOME": str(self.lab.dir)}

    def run_it(self, user, *args, text=""):
        r = subprocess.run(self.command(user, *args), input=text, env=dict(os.environ, **self.env), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=30 * lab.SLOW)
        self.assertEqual(r.returncode, 0, r.stdout)
        return r.stdout

    def test_to_accounts(self):
        a, b, user = self.login(), self.login(), self.user()
        word = lab.token("go")
        self.run_it(user, a.bare, b.bare, text="%s <&>\nsecond line \u2603\n" % word)
        for c in (a, b):
            self.assertEqual(text(c.wait(body_is(word))), "%s <&>\nsecond line \u2603" % word)

    def test_to_a_room(self):
        a, user = self.login(), self.user()
        room, word = self.room(a), lab.token("go")
        self.run_it(user, "-c", "-a", "gopher", room, text=word + "\n")
        self.assertEqual(a.wait(body_is(word)).get("from"), room + "/gopher")
        # said, and gone again
        a.wait(is_("presence", from_=room + "/gopher", type_="unavailable"))

    def test_listens(self):
        user, a = self.user(), self.login()
        p = stockc.Lines(self.command(user, "-l", "-r", "ear"), env=self.env)
        self.addCleanup(p.close)
        word = lab.token("heard")
        a.message(case.at(user), word)      # before it is there, or after
        self.assertIn(a.bare, p.see(word).string)
        word = lab.token("again")
        a.message(case.at(user), word)
        self.assertIn(a.bare, p.see(word).string)

    def test_interactive_room(self):
        """It stays in the room and says each line as it comes."""
        a, user = self.login(), self.user()
        room = self.room(a)
        p = stockc.Lines(self.command(user, "-i", "-c", "-a", "gopher", room), env=self.env)
        self.addCleanup(p.close)
        a.wait(is_("presence", from_=room + "/gopher", type_=None))
        for i in range(3):
            word = lab.token("line%d" % i)
            p.proc.stdin.write(word + "\n")
            p.proc.stdin.flush()
            self.assertEqual(a.wait(body_is(word)).get("from"), room + "/gopher")

    def test_file(self):
        """XEP-0363, found by service discovery; the address is told with XEP-0066."""
        a, user = self.login(), self.user()
        path = self.lab.dir / (lab.token("file") + ".txt")
        path.write_text("what was sent\n")
        self.run_it(user, "-h", str(path), a.bare)
        m = a.wait(is_("message"))
        url = m.find("{jabber:x:oob}x/{jabber:x:oob}url").text
        self.assertEqual(text(m), url)
        self.assertTrue(url.endswith("/" + path.name), url)
        r = subprocess.run(["curl", "-s", url], stdout=subprocess.PIPE, text=True, timeout=30) if lab.shutil.which("curl") else None
        self.assertTrue(r is None or r.stdout == "what was sent\n", r)

    def test_keys(self):
        """XEP-0373: the key is published so that others may read it."""
        a, user = self.login(), self.user()
        self.run_it(user, "--ox-genprivkey-x25519", "--ox-passphrase", "x")
        r = pubsubc.items(a, "urn:xmpp:openpgp:0:public-keys", to=case.at(user))
        self.assertResult(r)
        node = "urn:xmpp:openpgp:0:public-keys:" + next(r.iter("{urn:xmpp:openpgp:0}pubkey-metadata")).get("v4-fingerprint")
        self.assertEqual(len(pubsubc.item_ids(pubsubc.items(a, node, to=case.at(user)))), 1)


@unittest.skipIf(stockc.missing("profanity", "tmux", "openssl"), stockc.missing("profanity", "tmux", "openssl"))
class Profanity(Base):
    def start(self, user):
        home = self.lab.dir / lab.token("prof")
        for d in (".config/profanity", ".local/share/profanity", "certs"):
            (home / d).mkdir(parents=True)
        (home / "certs" / "ca.pem").write_bytes(self.ca.pem.read_bytes())
        subprocess.run(["openssl", "rehash", str(home / "certs")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (home / ".config/profanity/profrc").write_text(
            "[connection]\ntls.certpath=%s/certs\ncarbons=true\n[ui]\nsplash=false\nroster=false\noccupants=false\n" % home)
        (home / ".local/share/profanity/accounts").write_text(
            "[lab]\nenabled=true\njid=%s\nserver=127.0.0.1\nport=%d\nresource=prof\npassword=%s\ntls.policy=force\nmuc.service=%s\nmuc.nick=prof\n" % (
                case.at(user), self.port, PASSWORD, ROOMS))
        t = stockc.Terminal(home, ["profanity", "-l", "DEBUG", "-a", "lab"])
        self.addCleanup(t.close)
        t.see("%s/prof logged in successfully" % case.at(user))
        return t

    def test_contact_and_chat(self):
        user, b = self.user(), self.login()
        t = self.start(user)
        b.roster()
        t.type("/roster add %s Bobby" % b.bare)
        t.type("/sub request %s" % b.bare)
        b.wait(is_("presence", type_="subscribe", from_=case.at(user)))
        b.presence("subscribed", case.at(user))
        b.presence("subscribe", case.at(user))
        t.type("/sub allow %s" % b.bare)
        b.wait(is_("presence", from_=case.at(user) + "/prof", type_=None))
        word, back = lab.token("to"), lab.token("back")
        t.type("/msg %s %s" % (b.bare, word))
        m = b.wait(body_is(word))
        self.assertEqual(m.get("from"), case.at(user) + "/prof")
        b.message(m.get("from"), back, inner="<request xmlns='urn:xmpp:receipts'/>", id_="r1")
        t.see(back)
        b.presence(inner="<show>away</show><status>at lunch</status>")
        t.see(r"Bobby \[away\]")
        r = self.login(user).roster()[b.bare]
        self.assertEqual((r.get("name"), r.get("subscription")), ("Bobby", "both"))
        t.type("/quit")
        b.wait(is_("presence", from_=case.at(user) + "/prof", type_="unavailable"))

    def test_room(self):
        user, b = self.user(), self.login()
        t = self.start(user)
        name = lab.token("room")
        room = "%s@%s" % (name, ROOMS)
        t.type("/join " + name)
        t.see("You have joined the room as prof, role: moderator, affiliation: owner")
        t.type("/room accept")
        t.see("Room unlocked")
        self.enter(b, room, "bob")
        word, back = lab.token("said"), lab.token("heard")
        t.type(word)
        self.assertEqual(b.wait(body_is(word)).get("from"), room + "/prof")
        b.message(room, back, "groupchat")
        t.see("bob: " + back)
        t.type("/subject set all about it")
        self.assertEqual(text(b.wait(lambda e: kid(e, "subject") is not None and text(e, "subject")), "subject"), "all about it")
        t.type("/affiliation set member %s" % b.bare)
        e = b.wait(lambda e: xmppc.local(e) == "presence" and e.find("{%s#user}x/{%s#user}item[@affiliation='member']" % (MUC, MUC)) is not None)
        self.assertEqual(e.get("from"), room + "/bob")
        t.type("/kick bob out you go")
        b.wait(is_("presence", from_=room + "/bob", type_="unavailable"))

    def test_carbons_and_archive(self):
        user, b = self.user(), self.login()
        other = self.login(user)
        old, older = lab.token("old"), lab.token("older")
        other.message(b.bare, older)
        b.message(other.jid, old)
        other.wait(body_is(old))
        t = self.start(user)
        t.type("/mam on")
        # it asks the server only, and nothing before it has the answer
        t.type("/disco info " + lab.DOMAIN)
        t.see("urn:xmpp:mam:2")
        t.type("/msg " + b.bare)
        t.see(older)
        t.see(old)
        # what the other client says and hears is seen here at once
        mine, theirs = lab.token("mine"), lab.token("theirs")
        other.message(b.bare, mine)
        t.see(mine)
        b.message(other.jid, theirs)
        t.see(theirs)


if __name__ == "__main__":
    lab.main()
