"""test_roster - RFC 6121 section 2: get, set, remove, push, versions."""
import lab
from case import ServerCase
from xmppc import ROSTER, is_, kid, local, show

VER_FEATURE = "{urn:xmpp:features:rosterver}ver"


class Roster(ServerCase):
    def session(self, user=None, **kw):
        c = self.login(user, **kw)
        c.roster()
        return c

    def set(self, c, jid, name=None, groups=(), attrs="", to=None):
        return c.iq("set", "<query xmlns='%s'><item jid='%s'%s %s>%s</item></query>" % (
            ROSTER, jid, " name='%s'" % name if name is not None else "", attrs,
            "".join("<group>%s</group>" % g for g in groups)), to)

    def push(self, c):
        """The next roster push to <c>: its one item."""
        e = c.wait(lambda e: local(e) == "iq" and e.get("type") == "set" and kid(e, "query", ROSTER) is not None)
        self.assertTrue(e.get("id"))
        self.assertIn(e.get("from"), (None, c.bare))
        items = list(kid(e, "query", ROSTER))
        self.assertEqual(len(items), 1, show(e))
        c.send("<iq type='result' id='%s'/>" % e.get("id"))
        return items[0]

    def no_push(self, c):
        c.sync()
        self.assertEqual([show(e) for e in c.drain() if kid(e, "query", ROSTER) is not None], [])

    def test_new_account_has_empty_roster(self):
        c = self.login()
        r = c.get(ROSTER)
        self.assertResult(r)
        q = kid(r, "query", ROSTER)
        self.assertIsNotNone(q, show(r))
        self.assertEqual(len(q), 0)

    def test_get_before_presence(self):
        """2.2: a client asks before its first presence."""
        c = self.login(presence=False)
        self.assertResult(c.get(ROSTER))

    def test_set_adds_and_pushes(self):
        """2.3.2, 2.1.6: the push goes to every interested resource, the author's too."""
        user = self.user()
        a, b = self.session(user), self.session(user)
        self.assertResult(self.set(a, "friend@lab.test", "Fr\u00f6ud", ("A", "B")))
        for c in (a, b):
            item = self.push(c)
            self.assertEqual((item.get("jid"), item.get("name"), item.get("subscription")), ("friend@lab.test", "Fr\u00f6ud", "none"))
            self.assertEqual({g.text for g in item}, {"A", "B"})
            self.assertIsNone(item.get("ask"))

    def test_no_push_without_interest(self):
        """2.1.6: a resource that never asked for the roster gets no pushes."""
        user = self.user()
        a, b = self.session(user), self.login(user)
        self.set(a, "friend@lab.test")
        self.push(a)
        self.no_push(b)

    def test_interest_without_presence(self):
        user = self.user()
        a, b = self.session(user), self.session(user, presence=False)
        self.set(a, "friend@lab.test")
        self.push(b)

    def test_set_replaces(self):
        c = self.session()
        self.set(c, "f@lab.test", "one", ("A",))
        self.set(c, "f@lab.test", "two", ("B", "C"))
        item = c.roster()["f@lab.test"]
        self.assertEqual(item.get("name"), "two")
        self.assertEqual({g.text for g in item}, {"B", "C"})
        self.set(c, "f@lab.test")
        item = c.roster()["f@lab.test"]
        self.assertIn(item.get("name"), (None, ""))
        self.assertEqual(len(item), 0)

    def test_remove(self):
        user = self.user()
        a, b = self.session(user), self.session(user)
        self.set(a, "f@lab.test")
        self.push(a), self.push(b)
        self.assertResult(self.set(a, "f@lab.test", attrs="subscription='remove'"))
        for c in (a, b):
            item = self.push(c)
            self.assertEqual((item.get("jid"), item.get("subscription")), ("f@lab.test", "remove"))
        self.assertEqual(a.roster(), {})

    def test_remove_unknown(self):
        """2.5.3."""
        c = self.session()
        self.assertError(self.set(c, "never@lab.test", attrs="subscription='remove'"), "item-not-found")

    def test_remove_cancels_subscriptions(self):
        """2.5.2: both ways, and the other side hears of it."""
        a, b = self.session(), self.session()
        self.friends(a, b)
        a.drain(), b.drain()
        self.assertResult(self.set(a, b.bare, attrs="subscription='remove'"))
        b.wait(is_("presence", type_="unsubscribe", from_=a.bare))
        b.wait(is_("presence", type_="unsubscribed", from_=a.bare))
        lab.wait_until(lambda: b.roster()[a.bare].get("subscription") == "none", text="b's item is none")

    def test_jid_is_normalised(self):
        c = self.session()
        self.set(c, "FRIEND@Lab.Test")
        self.assertEqual(list(c.roster()), ["friend@lab.test"])

    def test_subscription_and_ask_are_the_servers(self):
        """2.1.2.2, 2.1.2.5: a client's own values are ignored."""
        for attrs in ("subscription='both'", "subscription='to'", "ask='subscribe'", "approved='true'"):
            with self.subTest(attrs=attrs):
                c = self.session()
                r = self.set(c, "f@lab.test", attrs=attrs)
                if r.get("type") == "result":
                    item = c.roster()["f@lab.test"]
                    self.assertEqual((item.get("subscription"), item.get("ask"), item.get("approved")), ("none", None, None))

    def test_set_with_two_items(self):
        """2.1.5: one item per set."""
        c = self.session()
        r = c.iq("set", "<query xmlns='%s'><item jid='a@lab.test'/><item jid='b@lab.test'/></query>" % ROSTER)
        self.assertError(r, "bad-request", "modify")
        self.assertEqual(c.roster(), {})

    def test_set_without_item(self):
        c = self.session()
        self.assertError(c.iq("set", "<query xmlns='%s'/>" % ROSTER), "bad-request")

    def test_set_without_or_with_broken_jid(self):
        c = self.session()
        self.assertError(c.iq("set", "<query xmlns='%s'><item name='x'/></query>" % ROSTER), "bad-request")
        self.assertError(self.set(c, "a@@b"), ("jid-malformed", "bad-request"))

    def test_set_in_another_roster(self):
        """2.1.5, 2.3.3: forbidden to others."""
        a, b = self.session(), self.session()
        self.assertError(self.set(a, "f@lab.test", to=b.bare), ("forbidden", "service-unavailable", "not-allowed", "not-authorized"))
        self.assertEqual(b.roster(), {})
        self.assertError(a.get(ROSTER, to=b.bare), ("forbidden", "service-unavailable", "not-allowed", "not-authorized"))

    def test_set_to_own_account(self):
        c = self.session()
        self.assertResult(self.set(c, "f@lab.test", to=c.bare))
        self.assertEqual(list(c.roster()), ["f@lab.test"])

    def test_empty_group(self):
        """2.3.3: an empty group name is not acceptable."""
        c = self.session()
        self.assertError(self.set(c, "f@lab.test", groups=("",)), "not-acceptable")

    def test_duplicate_group(self):
        """2.3.3."""
        c = self.session()
        self.assertError(self.set(c, "f@lab.test", groups=("A", "A")), "bad-request")

    def test_too_long_name(self):
        """2.3.3: above the server's limit an error, not a cut or a crash."""
        c = self.session()
        r = self.set(c, "f@lab.test", "n" * 9000)
        if r.get("type") == "result":
            self.assertEqual(len(c.roster()["f@lab.test"].get("name")), 9000)
        else:
            self.assertError(r, ("not-acceptable", "policy-violation", "bad-request"))

    def test_special_characters_survive(self):
        c = self.session()
        self.set(c, "f@lab.test", "&lt;&amp;&quot;&apos; \u2603", ("&amp;&lt;",))
        item = c.roster()["f@lab.test"]
        self.assertEqual((item.get("name"), item[0].text), ("<&\"' \u2603", "&<"))

    def test_many_items(self):
        c = self.session()
        n = 300
        c.send("".join("<iq type='set' id='n%d'><query xmlns='%s'><item jid='c%d@lab.test'/></query></iq>" % (i, ROSTER, i)
                       for i in range(n)))
        for i in range(n):
            self.assertResult(c.reply("n%d" % i))
        self.assertEqual(len(c.roster()), n)

    def test_result_of_push_is_not_answered(self):
        c = self.session()
        self.set(c, "f@lab.test")
        self.push(c)
        c.sync()
        self.none_of(c.drain(), "iq", type_="error")

    def test_survives_logout(self):
        user = self.user()
        c = self.session(user)
        self.set(c, "f@lab.test", "n", ("G",))
        c.close()
        item = self.login(user).roster()["f@lab.test"]
        self.assertEqual((item.get("name"), item[0].text), ("n", "G"))


class Versions(ServerCase):
    """RFC 6121 2.6."""

    def ask(self, c, ver):
        return c.get(ROSTER, attrs="ver='%s'" % ver)

    def add(self, c, jid, attrs=""):
        c.iq("set", "<query xmlns='%s'><item jid='%s' %s/></query>" % (ROSTER, jid, attrs))

    def test_advertised(self):
        self.assertIsNotNone(self.authed().features.find(VER_FEATURE))

    def test_empty_version_gets_all(self):
        c = self.login()
        self.add(c, "f@lab.test")
        q = kid(self.ask(c, ""), "query", ROSTER)
        self.assertTrue(q.get("ver"))
        self.assertEqual([i.get("jid") for i in q], ["f@lab.test"])

    def test_current_version_gets_nothing(self):
        c = self.login()
        self.add(c, "f@lab.test")
        ver = kid(self.ask(c, ""), "query", ROSTER).get("ver")
        r = self.ask(c, ver)
        self.assertResult(r)
        self.assertIsNone(kid(r, "query", ROSTER), show(r))

    def test_old_version_catches_up(self):
        """All of it, or an empty result and pushes: both lead to the same roster."""
        user = self.user()
        c = self.login(user)
        self.add(c, "keep@lab.test")
        self.add(c, "gone@lab.test")
        q = kid(self.ask(c, ""), "query", ROSTER)
        roster, ver = {i.get("jid"): i for i in q}, q.get("ver")
        self.add(c, "new@lab.test")
        self.add(c, "gone@lab.test", "subscription='remove'")
        d = self.login(user)
        r = self.ask(d, ver)
        q = kid(r, "query", ROSTER)
        if q is not None:
            roster = {i.get("jid"): i for i in q}
        else:
            d.sync()
            for e in d.drain():
                for i in kid(e, "query", ROSTER) if kid(e, "query", ROSTER) is not None else ():
                    if i.get("subscription") == "remove":
                        roster.pop(i.get("jid"), None)
                    else:
                        roster[i.get("jid")] = i
        self.assertEqual(set(roster), {"keep@lab.test", "new@lab.test"})

    def test_unknown_version_gets_all(self):
        c = self.login()
        self.add(c, "f@lab.test")
        q = kid(self.ask(c, "no-such-version"), "query", ROSTER)
        self.assertIsNotNone(q)
        self.assertEqual(len(q), 1)

    def test_push_carries_version(self):
        c = self.login()
        self.ask(c, "")
        self.add(c, "f@lab.test")
        e = c.wait(lambda e: local(e) == "iq" and e.get("type") == "set")
        self.assertTrue(kid(e, "query", ROSTER).get("ver"))


if __name__ == "__main__":
    lab.main()
