"""test_kill - SIGKILL at random moments while archives, rooms, nodes, rosters and streams are written at full speed.

What was acknowledged is there afterwards: by <a/> of XEP-0198 for messages (docs/architecture.md, "The promise"), by the
result for requests.  What was not may be there or not, but never twice and never with a hole before it.
TANDEM_SEED repeats a run's moments, TANDEM_ROUNDS asks for more of them.
"""
import os
import random
import sqlite3
import threading
import time

import lab
import muclab
import pubsubc as ps
import xmppc
from case import at
from xmppc import Closed, kid, local, text

TIME_LIMIT = 600
ROUNDS = int(os.environ.get("TANDEM_ROUNDS", "5"))
SEED = int(os.environ.get("TANDEM_SEED", random.randrange(1 << 30)))
MUC, NODES = "muc.lab.test", "pubsub.lab.test"
MAM, FORWARD, RSM = "urn:xmpp:mam:2", "urn:xmpp:forward:0", "http://jabber.org/protocol/rsm"
ROOM = "room@" + MUC
LIMIT = 3000    # messages of one writer in one round
WINDOW = 60     # of them not acknowledged


class Writer(threading.Thread):
    """One client of one round; go() writes until the server is gone."""
    going = True    # something was acknowledged

    def __init__(self, conn):
        super().__init__(daemon=True)
        self.conn, self.fault = conn, None

    def run(self):
        try:
            self.go()
            while not self.conn.eof:        # it was done before the kill, or stopped in the middle
                self.conn.pump(0.1)
        except Closed:
            try:
                while not self.conn.eof:    # what the server managed to say counts
                    self.conn.pump(0.1)
            except AssertionError:
                pass
        except Exception as e:
            self.fault = e

    def requests(self, payloads, window=20):
        """Send requests of (key, type, payload, to), several at a time; yield (key, answer) as they come."""
        c, waiting, payloads = self.conn, {}, iter(payloads)
        while True:
            while len(waiting) < window:
                p = next(payloads, None)
                if p is None:
                    break
                id_ = c.new_id()
                waiting[id_] = p[0]
                c.send("<iq type='%s' id='%s'%s>%s</iq>" % (p[1], id_, " to='%s'" % p[3] if p[3] else "", p[2]))
            if not waiting:
                return
            e = c.wait(lambda e: local(e) == "iq" and e.get("id") in waiting, 60)
            yield waiting.pop(e.get("id")), e


class Talker(Writer):
    """Messages to one address; .sent in order, .acked of them were counted in <a/>."""

    def __init__(self, conn, to, type_, prefix):
        super().__init__(conn)
        self.to, self.type_, self.prefix = to, type_, prefix
        self.sent, self.base = [], conn.sm_request()

    def go(self):
        c = self.conn
        while len(self.sent) < LIMIT:
            # as fast as the server acknowledges; it is asked at each step, and told nothing else while it is behind
            while len(self.sent) - len(self.acked) > WINDOW and not c.eof:
                c.pump(0.05)
            words = ["%s-%d" % (self.prefix, len(self.sent) + i) for i in range(10)]
            self.sent += words
            c.send("".join("<message type='%s' to='%s' id='%s'><body>%s</body></message>" % (self.type_, self.to, w, w) for w in words)
                   + "<r xmlns='%s'/>" % xmppc.SM)
            c.pump()
        while True:
            c.send("<r xmlns='%s'/>" % xmppc.SM)
            c.pump(0.02)

    @property
    def going(self):
        return len(self.acked) > 0

    @property
    def acked(self):
        return self.sent[:self.conn.sm_acked - self.base]


class Publisher(Writer):
    """Items of one node; some are retracted again."""

    def __init__(self, conn, node, to, prefix):
        super().__init__(conn)
        self.node, self.to, self.prefix = node, to, prefix
        self.published, self.retracted, self.tried = [], [], set()

    @property
    def going(self):
        return len(self.published) > 0

    def payloads(self):
        for i in range(LIMIT):
            id_ = "%s-%d" % (self.prefix, i)
            yield ("publish", id_), "set", "<pubsub xmlns='%s'><publish node='%s'>%s</publish></pubsub>" % (
                ps.PUBSUB, self.node, ps.item(id_, "<e xmlns='t:e'>%s</e>" % id_)), self.to
            if i % 5 == 4:
                old = "%s-%d" % (self.prefix, i - 2)
                self.tried.add(old)
                yield ("retract", old), "set", "<pubsub xmlns='%s'><retract node='%s'><item id='%s'/></retract></pubsub>" % (
                    ps.PUBSUB, self.node, old), self.to

    def go(self):
        for (what, id_), e in self.requests(self.payloads()):
            if e.get("type") != "result":
                raise AssertionError(xmppc.show(e))
            (self.published if what == "publish" else self.retracted).append(id_)


class Setter(Writer):
    """One request after another; .state: what each thing may be now, one value once that was acknowledged."""

    def __init__(self, conn, prefix, state):
        super().__init__(conn)
        self.prefix, self.state = prefix, state

    def set(self, key, value, payload, to=None):
        self.state[key] = [self.state.get(key, [None])[0], value]     # before, or this
        e = self.conn.iq("set", payload, to, timeout=60)
        if e.get("type") != "result":
            raise AssertionError(xmppc.show(e))
        self.state[key] = [value]


class Owner(Setter):
    """The room's name and people's affiliations."""

    def go(self):
        i = 0
        while True:
            i += 1
            name, who = "%s-%d" % (self.prefix, i), "p%d@elsewhere.test" % (i % 7)
            rank = ("member", "outcast", "admin", "none")[i % 4]
            self.set("name", name, "<query xmlns='%s'>%s</query>" % (muclab.OWNER, muclab.config(roomname=name)), ROOM)
            self.set(who, rank, "<query xmlns='%s'><item jid='%s' affiliation='%s'/></query>" % (muclab.ADMIN, who, rank), ROOM)


class Contacts(Setter):
    """Roster items made, renamed and removed."""

    def go(self):
        i = 0
        while True:
            i += 1
            jid = "c%d@elsewhere.test" % (i % 11)
            name = None if i % 3 == 0 and self.state.get(jid, [None])[0] else "%s-%d" % (self.prefix, i)
            self.set(jid, name, "<query xmlns='%s'><item jid='%s' %s/></query>" % (
                xmppc.ROSTER, jid, "name='%s'" % name if name else "subscription='remove'"))


class Settings(Setter):
    """A private note and the block list."""

    def go(self):
        i = 0
        while True:
            i += 1
            note, who, how = "%s-%d" % (self.prefix, i), "b%d@elsewhere.test" % (i % 5), ("block", "unblock")[i // 5 % 2]
            self.set("note", note, "<query xmlns='jabber:iq:private'><n xmlns='t:n'>%s</n></query>" % note)
            self.set(who, how, "<%s xmlns='urn:xmpp:blocking'><item jid='%s'/></%s>" % (how, who, how))


class Reader(Writer):
    """Reads and acknowledges at once."""

    def go(self):
        c, told = self.conn, self.conn.sm_in
        while not c.eof:
            c.pump(0.05)
            if c.sm_in != told:
                c.ack()
                told = c.sm_in


class Resumer(threading.Thread):
    """A client with a bad network: it hears, loses its connection and resumes its session, until the server is gone."""

    def __init__(self, conn, d, rng):
        super().__init__(daemon=True)
        self.conn, self.d, self.rng = conn, d, rng
        self.heard, self.resumed, self.fault = [], 0, None

    def run(self):
        c = self.conn
        try:
            while True:
                end = time.monotonic() + self.rng.uniform(0, 0.1)
                while time.monotonic() < end and not c.eof:
                    c.pump(0.01)
                    if self.rng.random() < 0.3:
                        c.ack()
                self.take(c)
                if c.eof:
                    raise Closed("gone")
                c.cut()
                n = xmppc.authed(self.d.c2s_port, c.bare.partition("@")[0])
                e = n.sm_resume(c)
                if local(e) != "resumed":
                    raise AssertionError(xmppc.show(e))
                self.resumed += 1
                c = self.conn = n
        except (AssertionError, OSError) as e:
            try:
                self.d.proc.wait(5)     # it was killed, or this is a fault
            except Exception:
                self.fault = e
            self.take(c)

    def take(self, c):
        self.heard += [text(e) for e in c.seen if local(e) == "message" and text(e)]
        c.seen.clear()


class Kill(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.d = labor.daemon("kill", milter=False, accounts=["alice", "bob", "carol", "dave", "erin", "frank"], extra="""
domain "%s" { XMPP_Role = "server"  service = "muc" }
domain "%s" { XMPP_Role = "server"  service = "pubsub"  pubsub_max_items = 100000 }""" % (MUC, NODES))

    def login(self, user, **kw):
        c = xmppc.login(self.d.c2s_port, user, **kw)
        self.addCleanup(c.close)
        return c

    def result(self, e):
        self.assertEqual(e.get("type"), "result", xmppc.show(e))
        return e

    def setUp(self):
        self.rng = random.Random(SEED)

    def make(self):
        """A room and two nodes that stay."""
        c = self.login("carol")
        self.enter(c, "carol")
        self.result(c.iq("set", "<query xmlns='%s'>%s</query>" % (muclab.OWNER, muclab.config(persistentroom=1, roomname="first")), ROOM))
        self.result(ps.create(c, "news", NODES, {"max_items": "max", "persist_items": "true", "publish_model": "open"}))
        d = self.login("dave")
        self.result(ps.create(d, "own", None, {"max_items": "max", "persist_items": "true"}))
        c.close()
        d.close()

    def enter(self, c, nick):
        c.presence(to="%s/%s" % (ROOM, nick), inner="<x xmlns='%s'><history maxstanzas='0'/></x>" % muclab.MUC)
        e = c.wait(lambda e: local(e) == "presence" and (e.get("type") == "error" or 110 in self.codes(e)), 30)
        self.assertNotEqual(e.get("type"), "error", xmppc.show(e))

    @staticmethod
    def codes(e):
        return muclab.codes(e) if kid(e, "x", muclab.USER) is not None else set()

    def round(self, n):
        """One life of the server."""
        alice, carol, dave, frank = (self.login(u, sm=True) for u in ("alice", "carol", "dave", "frank"))
        erin = self.login("erin", sm=True, priority=1)
        for c, nick in ((carol, "carol"), (frank, "frank")):
            self.enter(c, nick)
        owner, roster = self.login("carol"), self.login("dave")
        self.enter(owner, "carol")
        w = {
            "offline": Talker(alice, at("bob"), "chat", "o%d" % n),
            "live": Talker(frank, erin.jid, "chat", "l%d" % n),
            "room": Talker(carol, ROOM, "groupchat", "r%d" % n),
            "news": Publisher(dave, "news", NODES, "n%d" % n),
            "own": Publisher(self.login("dave"), "own", None, "w%d" % n),
            "config": Owner(owner, "name%d" % n, self.room_state),
            "roster": Contacts(roster, "c%d" % n, self.roster_state),
            "settings": Settings(self.login("alice"), "s%d" % n, self.settings_state),
        }
        r = Reader(erin)
        moment = self.rng.uniform(0.02, 0.5) * lab.SLOW
        for t in (r, *w.values()):
            t.start()
        if n % 2 == 0:
            lab.wait_until(lambda: all(t.going or t.fault for t in w.values()), 60, "the first acknowledgements")
        time.sleep(moment)      # the random moment is what is tested
        self.d.kill()
        for name, t in (("reader", r), *w.items()):
            t.join(60 * lab.SLOW)
            self.assertFalse(t.is_alive(), "%s hangs" % name)
            if t.fault:
                raise AssertionError("%s in round %d: %s" % (name, n, t.fault)) from t.fault
        w["heard"] = [text(e) for e in erin.seen if local(e) == "message" and text(e)]
        print("round %d, %.3f s: %s" % (n, moment, ", ".join("%s %d/%d" % (k, len(t.acked), len(t.sent)) if isinstance(t, Talker) else "%s %d" % (
            k, len(t.published)) for k, t in w.items() if isinstance(t, (Talker, Publisher)))), flush=True)
        self.d.start()
        return w

    # -- what is there

    def archive(self, c, to=None):
        """[(id, stamp, body)] of all pages."""
        out, after = [], ""
        while True:
            at_ = len(c.seen)
            r = self.result(c.iq("set", "<query xmlns='%s'><set xmlns='%s'><max>200</max>%s</set></query>" % (MAM, RSM, after), to, timeout=30))
            page = []
            for m in c.seen[at_:]:
                res = kid(m, "result", MAM) if local(m) == "message" else None
                if res is not None:
                    f = kid(res, "forwarded", FORWARD)
                    page.append((res.get("id"), kid(f, "delay", xmppc.DELAY).get("stamp"), text(f.find("{jabber:client}message"))))
            out += page
            fin = kid(r, "fin", MAM)
            if fin.get("complete") == "true":
                return [x for x in out if x[2]]
            self.assertNotEqual(page, [], "an empty page that is not the last")
            after = "<after>%s</after>" % page[-1][0]

    def check_archive(self, what, rows, talkers):
        """Every acknowledged word, each once, in order, no hole before the last of a round."""
        ids, bodies = [i for i, _, _ in rows], [b for _, _, b in rows]
        self.assertEqual(len(ids), len(set(ids)), "%s: an id twice" % what)
        self.assertEqual([s for _, s, _ in rows], sorted(s for _, s, _ in rows), "%s: out of order" % what)
        self.assertEqual(len(bodies), len(set(bodies)), "%s: a message twice" % what)
        for t in talkers:
            have = [b for b in bodies if b.startswith(t.prefix + "-")]
            self.assertEqual(have, t.sent[:len(have)], "%s: a hole or a wrong order" % what)
            self.assertGreaterEqual(len(have), len(t.acked), "%s: %d of %d acknowledged" % (what, len(have), len(t.acked)))

    def check_words(self, what, got, talkers, once=True):
        if once:
            self.assertEqual(len(got), len(set(got)), "%s: a message twice" % what)
        for t in talkers:
            lost = set(t.acked) - set(got)
            self.assertEqual(lost, set(), "%s: lost" % what)

    def offline(self, user):
        """What waited for <user>, acknowledged now."""
        c = self.login(user, sm=True)
        for _ in range(3):
            xmppc.fence(c, c)
        return c, [text(e) for e in c.seen if local(e) == "message" and "-" in (text(e) or "")]

    def check_node(self, what, c, node, to, publishers):
        got, after = [], ""
        while True:
            r = self.result(ps.items(c, node, to, rsm="<set xmlns='%s'><max>250</max>%s</set>" % (RSM, after)))
            page = ps.item_ids(r)
            got += page
            for i in r.iter("{%s}item" % ps.PUBSUB):
                self.assertEqual(i[0].text, i.get("id"), "%s: an item with the payload of another" % what)
            if not page:
                break
            after = "<after>%s</after>" % kid(r.find("{%s}pubsub" % ps.PUBSUB), "set", RSM).find("{%s}last" % RSM).text
        self.assertEqual(len(got), len(set(got)), "%s: an item twice" % what)
        for p in publishers:
            have = [g for g in got if g.startswith(p.prefix + "-")]
            self.assertEqual(set(p.published) - p.tried - set(have), set(), "%s: published and lost" % what)
            self.assertEqual(set(p.retracted) & set(have), set(), "%s: retracted and there" % what)
            numbers = [int(h.rpartition("-")[2]) for h in have]
            self.assertEqual(numbers, sorted(numbers) if numbers[:1] <= numbers[-1:] else sorted(numbers, reverse=True), "%s: out of order" % what)
            # no hole: what is missing before the last one was retracted
            for i in range(max(numbers, default=-1)):
                self.assertTrue(i in numbers or "%s-%d" % (p.prefix, i) in p.tried, "%s: %d is missing" % (what, i))
        return got

    def check_room(self):
        c = self.login("carol")
        r = self.result(c.iq("get", "<query xmlns='%s'/>" % xmppc.DISCO_INFO, ROOM))
        name = next(i for i in r.iter("{%s}identity" % xmppc.DISCO_INFO)).get("name")
        self.assertIn(name, self.room_state["name"])
        have = {}
        for rank in ("member", "outcast", "admin"):
            r = self.result(c.iq("get", "<query xmlns='%s'><item affiliation='%s'/></query>" % (muclab.ADMIN, rank), ROOM))
            for i in r.iter("{%s}item" % muclab.ADMIN):
                self.assertNotIn(i.get("jid"), have)
                have[i.get("jid")] = rank
        for who, may in self.room_state.items():
            if who != "name":
                self.assertIn(have.get(who, "none"), [m or "none" for m in may], who)
        # what the disk has is what counts from now on
        for who in self.room_state:
            self.room_state[who] = [name if who == "name" else have.get(who, "none")]
        c.close()

    def check_roster(self):
        c = self.login("dave")
        have = {j: i.get("name") for j, i in c.roster().items()}
        for jid, may in self.roster_state.items():
            self.assertIn(have.get(jid), may, jid)
            self.roster_state[jid] = [have.get(jid)]
        c.close()

    def check_settings(self):
        c = self.login("alice")
        r = self.result(c.iq("get", "<query xmlns='jabber:iq:private'><n xmlns='t:n'/></query>"))
        have = {"note": next(r.iter("{t:n}n")).text}
        r = self.result(c.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>"))
        have.update({i.get("jid"): "block" for i in r.iter("{urn:xmpp:blocking}item")})
        for key, may in self.settings_state.items():
            if key != "note":
                may, have[key] = [m or "unblock" for m in may], have.get(key, "unblock")
            self.assertIn(have[key], may, key)
            self.settings_state[key] = [have[key]]
        c.close()

    def check_file(self):
        """The store itself, as SQLite sees it."""
        for f in self.d.data.glob("*.db"):
            db = sqlite3.connect("file:%s?mode=ro" % f, uri=True)
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(db.execute("PRAGMA foreign_key_check").fetchall(), [])
            db.close()

    def test_everything(self):
        print("seed %d, %d rounds" % (SEED, ROUNDS), flush=True)
        self.room_state, self.roster_state, self.settings_state = {"name": ["first"]}, {}, {}
        lives = []
        self.make()
        for n in range(ROUNDS):
            lives.append(self.round(n))
            self.check_room()
            self.check_roster()
            self.check_settings()
        try:
            self.check_all(lives)
        except AssertionError as e:
            raise AssertionError("seed %d, %d rounds: %s" % (SEED, ROUNDS, e)) from e

    def test_resumption(self):
        """Heard once as long as the server lives; and nothing acknowledged is lost when it dies."""
        print("seed %d" % SEED, flush=True)
        rounds = max(2, ROUNDS // 2)
        for n in range(rounds):
            frank, erin = self.login("frank", sm=True), self.login("erin", sm=True)
            t, r = Talker(frank, erin.jid, "chat", "z%d" % n), Resumer(erin, self.d, self.rng)
            r.start()
            t.start()
            time.sleep(self.rng.uniform(0.3, 1.0) * lab.SLOW)
            self.d.kill()
            for x in (t, r):
                x.join(60 * lab.SLOW)
                self.assertFalse(x.is_alive(), "seed %d: a client hangs" % SEED)
                if x.fault:
                    raise AssertionError("seed %d, round %d: %s" % (SEED, n, x.fault)) from x.fault
            self.d.start()
            c, late = self.offline("erin")
            late = [x for x in late if x.startswith(t.prefix)]
            print("round %d: %d resumptions, %d heard, %d of %d acknowledged, %d later" % (
                n, r.resumed, len(r.heard), len(t.acked), len(t.sent), len(late)), flush=True)
            where = "seed %d, round %d" % (SEED, n)
            self.assertEqual(r.heard, t.sent[:len(r.heard)], where + ": heard twice, not at all, or out of order")
            self.assertEqual(late, [x for x in t.sent if x in set(late)], where + ": twice or out of order after the restart")
            self.assertEqual(set(t.acked) - set(r.heard) - set(late), set(), where + ": lost")
            c.ack()
            c.close()

    def check_all(self, lives):
        def of(name):
            return [w[name] for w in lives]
        bob, got = self.offline("bob")
        self.check_words("offline", got, of("offline"))
        self.check_archive("bob's archive", self.archive(bob), of("offline"))
        self.check_archive("alice's archive", self.archive(self.login("alice")), of("offline"))
        erin, late = self.offline("erin")
        heard = [x for w in lives for x in w["heard"]]
        self.check_words("live", heard + late, of("live"), once=False)
        self.check_archive("erin's archive", self.archive(erin), of("live"))
        self.assertEqual(len(late), len(set(late)), "erin gets a message twice at one login")
        carol = self.login("carol")
        self.enter(carol, "carol")
        self.check_archive("the room's archive", self.archive(carol, ROOM), of("room"))
        self.check_node("news", carol, "news", NODES, of("news"))
        dave = self.login("dave")
        self.check_node("PEP", dave, "own", None, of("own"))
        # gone is gone: nothing waits any more
        bob.ack()
        bob.close()
        self.assertEqual(self.offline("bob")[1], [])
        acked = {k: sum(len(t.acked) for t in of(k)) for k in ("offline", "live", "room")}
        acked.update({k: sum(len(t.published) for t in of(k)) for k in ("news", "own")})
        print("acknowledged: %s" % acked, flush=True)
        for k, v in acked.items():
            self.assertGreater(v, 0, "nothing was acknowledged: %s" % k)
        self.d.stop_quietly()
        self.check_file()
        self.d.start()


if __name__ == "__main__":
    lab.main()
