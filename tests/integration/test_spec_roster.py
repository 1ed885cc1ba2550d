"""test_spec_roster - RFC 6121 section 2, rule by rule: the roster."""
import lab
import xmppc
from case import at
from speclib import SpecCase, pushes
from xmppc import ROSTER, is_, kid, show

GROUP = "{%s}group" % ROSTER


def groups(item):
    return sorted(g.text for g in item.findall(GROUP))


class Roster(SpecCase):
    def set(self, c, items, to=None):
        return c.iq("set", "<query xmlns='%s'>%s</query>" % (ROSTER, items), to)

    def refused(self, items, condition, type_=None):
        c = self.interested()
        self.add(c, "old@x.test", "Old", ["A"])
        c.drain()
        r = self.set(c, items)
        self.assertError(r, condition, type_)
        self.assertEqual(list(c.roster()), ["old@x.test"])
        self.assertEqual([show(i) for i in pushes(c.drain())], [])

    # 2.1.4, 2.2
    def test_empty_roster_is_an_empty_query(self):
        c = self.login(presence=False)
        r = c.get(ROSTER)
        self.assertResult(r)
        self.assertEqual(len(kid(r, "query", ROSTER)), 0)

    def test_get_addressed_to_own_bare_jid(self):
        c = self.login(presence=False)
        self.add(c, "a@x.test")
        r = c.get(ROSTER, to=c.bare)
        self.assertResult(r)
        self.assertEqual([i.get("jid") for i in kid(r, "query", ROSTER)], ["a@x.test"])

    def test_get_of_anothers_roster_is_refused(self):
        a, b = self.login(), self.login()
        self.assertError(a.get(ROSTER, to=b.bare), ("forbidden", "not-allowed", "service-unavailable"))

    def test_get_of_anothers_roster_is_refused_to_friends_too(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        self.assertError(a.get(ROSTER, to=b.bare), ("forbidden", "not-allowed", "service-unavailable"))

    # 2.3.3
    def test_set_of_anothers_roster_is_forbidden(self):
        a, b = self.login(), self.interested()
        self.assertError(self.set(a, "<item jid='n@x.test'/>", b.bare), "forbidden", "auth")
        self.assertEqual(b.roster(), {})

    def test_set_of_a_roster_of_nobody(self):
        a = self.login()
        self.assertError(self.set(a, "<item jid='n@x.test'/>", at("nobody-there")), ("service-unavailable", "forbidden"))

    def test_set_without_item(self):
        self.refused("", "bad-request")

    def test_set_two_items(self):
        self.refused("<item jid='a@x.test'/><item jid='b@x.test'/>", "bad-request", "modify")

    def test_set_two_removals(self):
        self.refused("<item jid='old@x.test' subscription='remove'/><item jid='b@x.test' subscription='remove'/>",
                     "bad-request", "modify")

    def test_set_without_jid(self):
        self.refused("<item name='x'/>", ("bad-request", "jid-malformed"))

    def test_set_malformed_jid(self):
        self.refused("<item jid='a@b@x.test'/>", ("bad-request", "jid-malformed"))

    def test_set_empty_jid(self):
        self.refused("<item jid=''/>", ("bad-request", "jid-malformed"))

    def test_set_duplicate_groups(self):
        self.refused("<item jid='n@x.test'><group>S</group><group>T</group><group>S</group></item>", "bad-request", "modify")

    def test_set_empty_group(self):
        self.refused("<item jid='n@x.test'><group></group></item>", "not-acceptable", "modify")

    def test_set_empty_group_after_a_good_one(self):
        self.refused("<item jid='n@x.test'><group>G</group><group/></item>", "not-acceptable", "modify")

    def test_set_oversized_group(self):
        self.refused("<item jid='n@x.test'><group>%s</group></item>" % ("g" * 9000), "not-acceptable", "modify")

    def test_set_oversized_name(self):
        self.refused("<item jid='n@x.test' name='%s'/>" % ("n" * 9000), "not-acceptable", "modify")

    # 2.5.3
    def test_remove_what_is_not_there(self):
        self.refused("<item jid='n@x.test' subscription='remove'/>", "item-not-found")

    def test_remove_anothers_item_is_forbidden(self):
        a, b = self.login(), self.interested()
        self.add(b, "n@x.test")
        self.assertError(self.set(a, "<item jid='n@x.test' subscription='remove'/>", b.bare), "forbidden", "auth")
        self.assertIn("n@x.test", b.roster())

    # 2.3.2
    def test_add_result_and_push_to_interested(self):
        u = self.user()
        a, b = self.interested(u), self.login(u, presence=False)
        b.roster()              # connected and interested, not available
        c = self.login(u)       # available, not interested
        r = self.set(a, "<item jid='nurse@x.test' name='Nurse'><group>Servants</group></item>")
        self.assertResult(r)
        self.assertEqual(len(r), 0)
        for s in (a, b):
            i = self.push(s, "nurse@x.test")
            self.assertEqual((i.get("name"), i.get("subscription"), groups(i)), ("Nurse", "none", ["Servants"]))
            self.assertIsNone(i.get("ask"))
        c.sync()
        a.message(c.jid, "end")
        c.wait(xmppc.body_is("end"))
        self.assertEqual([show(i) for i in pushes(c.drain())], [])

    def test_push_is_addressed_to_the_full_jid_and_has_an_id(self):
        a = self.interested()
        self.add(a, "n@x.test")
        e = a.wait(is_("iq", type_="set"))
        self.assertEqual(e.get("to"), a.jid)
        self.assertTrue(e.get("id"))

    def test_each_push_has_an_own_id_and_an_error_answer_is_ignored(self):
        a = self.interested()
        ids = set()
        for n in "abc":
            self.add(a, n + "@x.test")
            e = a.wait(is_("iq", type_="set"))
            ids.add(e.get("id"))
            a.send("<iq type='error' id='%s'><error type='cancel'><service-unavailable xmlns='%s'/></error></iq>" % (
                e.get("id"), xmppc.STANZA_ERRORS))
        self.assertEqual(len(ids), 3)
        self.assertEqual(len(a.roster()), 3)
        self.none_of(a.drain(), "iq", type_="error")

    def test_add_addressed_to_own_bare_jid(self):
        a = self.interested()
        self.assertResult(self.set(a, "<item jid='n@x.test'/>", a.bare))
        self.assertIn("n@x.test", a.roster())

    # 2.1.2.x: what the client says and may not say
    def test_client_attributes_are_ignored(self):
        for attrs in ("subscription='both'", "subscription='to'", "subscription='from'", "subscription='none'",
                      "subscription='nonsense'", "ask='subscribe'", "approved='true'"):
            with self.subTest(attrs):
                a = self.interested()
                self.assertResult(self.set(a, "<item jid='n@x.test' %s/>" % attrs))
                i = a.roster()["n@x.test"]
                self.assertIn(i.get("subscription"), (None, "none"))
                self.assertIsNone(i.get("ask"))
                self.assertIn(i.get("approved"), (None, "false"))

    def test_text_is_kept_unmodified(self):
        a = self.interested()
        name, gs = "Ren\u00e9e <&> \"'\u00a0 \U0001f600  two  spaces", ["A & B", "a & b", "\u0416\u0436", " lead", "x" * 40]
        self.add(a, "n@x.test", name, gs)
        i = self.push(a, "n@x.test")
        self.assertEqual((i.get("name"), groups(i)), (name, sorted(gs)))
        i = a.roster()["n@x.test"]
        self.assertEqual((i.get("name"), groups(i)), (name, sorted(gs)))

    def test_jids_are_prepared(self):
        a = self.interested()
        self.add(a, "NURSE@X.Test")
        self.assertEqual(list(a.roster()), ["nurse@x.test"])
        self.assertResult(self.set(a, "<item jid='nurse@x.TEST' subscription='remove'/>"))
        self.assertEqual(a.roster(), {})

    def test_a_domain_is_an_item_too(self):
        a = self.interested()
        self.add(a, "x.test")
        self.assertEqual(list(a.roster()), ["x.test"])

    def test_own_address(self):
        a = self.interested()
        r = self.set(a, "<item jid='%s'/>" % a.bare)
        if r.get("type") == "error":
            self.assertError(r, "not-allowed")

    # 2.4
    def test_update_is_atomic(self):
        a = self.interested()
        for name, gs in (("Romeo", ["Friends"]), ("Romeo", ["Friends", "Lovers"]), ("Romeo", ["Lovers"]), (None, []),
                         ("MyRomeo", []), ("", [])):
            self.add(a, "romeo@x.test", name, gs)
            for i in (self.push(a, "romeo@x.test"), a.roster()["romeo@x.test"]):
                self.assertEqual((i.get("name") or "", groups(i)), (name or "", gs))

    def test_update_leaves_the_subscription(self):
        a, b = self.interested(), self.interested()
        self.friends(a, b)
        self.add(a, b.bare, "B", ["G"])
        i = a.roster()[b.bare]
        self.assertEqual((i.get("subscription"), i.get("name"), groups(i)), ("both", "B", ["G"]))

    def test_update_leaves_the_pending_request(self):
        a, k = self.interested(), self.contact()
        a.presence("subscribe", k.jid)
        self.push(a, k.jid)
        self.add(a, k.jid, "K")
        i = a.roster()[k.jid]
        self.assertEqual((i.get("subscription"), i.get("ask"), i.get("name")), ("none", "subscribe", "K"))

    # 2.5.2
    def test_remove_pushes_remove(self):
        u = self.user()
        a, b = self.interested(u), self.interested(u)
        self.add(a, "n@x.test", "N", ["G"])
        for s in (a, b):
            self.push(s, "n@x.test")
        r = self.set(a, "<item jid='n@x.test' subscription='remove'/>")
        self.assertResult(r)
        for s in (a, b):
            self.assertEqual(self.push(s, "n@x.test").get("subscription"), "remove")
        self.assertEqual(a.roster(), {})

    def removal(self, state, wanted):
        a, k = self.interested(), self.contact()
        if state in ("to", "both"):
            a.presence("subscribe", k.jid)
            k.wait(type_="subscribe")
            k.presence(a.bare, "subscribed")
            self.push(a, k.jid)
            self.push(a, k.jid)
        if state in ("from", "both"):
            k.presence(a.bare, "subscribe")
            a.wait(is_("presence", type_="subscribe"))
            a.presence("subscribed", k.jid)
            k.wait(type_="subscribed")
        if state == "none":
            self.add(a, k.jid)
        self.assertEqual(a.roster()[k.jid].get("subscription"), state)
        k.got(a)
        self.assertResult(self.set(a, "<item jid='%s' subscription='remove'/>" % k.jid))
        got = k.got(a)
        self.assertEqual(sorted(e.get("type") for e in got if e.get("type") != "unavailable"), wanted, [show(e) for e in got])
        for e in got:
            if e.get("type") in ("unsubscribe", "unsubscribed"):
                self.assertEqual(e.get("from"), a.bare)
        unavailable = [e.get("from") for e in got if e.get("type") == "unavailable"]
        self.assertEqual(unavailable, [a.jid] if state in ("from", "both") else [])
        # the contact sees nothing of this user from here on
        a.presence(inner="<show>away</show>")
        self.assertEqual([show(e) for e in k.got(a)], [])

    def test_remove_none(self):
        self.removal("none", [])

    def test_remove_to(self):
        self.removal("to", ["unsubscribe"])

    def test_remove_from(self):
        self.removal("from", ["unsubscribed"])

    def test_remove_both(self):
        self.removal("both", ["unsubscribe", "unsubscribed"])

    def test_remove_between_local_users(self):
        a, b = self.interested(), self.interested()
        self.friends(a, b)
        b.drain()
        self.assertResult(self.set(a, "<item jid='%s' subscription='remove'/>" % b.bare))
        types = {b.wait(is_("presence", from_=a.bare)).get("type") for _ in range(2)}
        self.assertEqual(types, {"unsubscribe", "unsubscribed"})
        b.wait(is_("presence", type_="unavailable", from_=a.jid))
        a.wait(is_("presence", type_="unavailable", from_=b.jid))
        self.assertEqual(b.roster()[a.bare].get("subscription"), "none")
        self.assertNotIn(b.bare, a.roster())

    # 2.6
    def test_versioning_is_advertised(self):
        c = self.authed()
        self.assertIsNotNone(c.features.find("{urn:xmpp:features:rosterver}ver"))

    def ver(self, c):
        return kid(c.get(ROSTER), "query", ROSTER).get("ver")

    def test_bootstrap_with_an_empty_version(self):
        c = self.login(presence=False)
        self.add(c, "a@x.test")
        r = c.get(ROSTER, attrs="ver=''")
        q = kid(r, "query", ROSTER)
        self.assertEqual(len(q), 1)
        self.assertTrue(q.get("ver"))

    def test_bootstrap_of_an_empty_roster(self):
        c = self.login(presence=False)
        r = c.get(ROSTER, attrs="ver=''")
        self.assertResult(r)
        q = kid(r, "query", ROSTER)
        if q is not None:
            self.assertIsNotNone(q.get("ver"))

    def test_current_version_gives_an_empty_result(self):
        u = self.user()
        c = self.login(u, presence=False)
        self.add(c, "a@x.test")
        v = self.ver(c)
        d = self.login(u, presence=False)
        r = d.get(ROSTER, attrs="ver='%s'" % v)
        self.assertResult(r)
        self.assertEqual(len(r), 0)

    def test_old_version_gives_the_changes(self):
        u = self.user()
        c = self.login(u, presence=False)
        for n in ("a", "b", "c"):
            self.add(c, n + "@x.test")
        v = self.ver(c)
        self.add(c, "b@x.test", "Bee")
        self.assertResult(self.set(c, "<item jid='a@x.test' subscription='remove'/>"))
        self.add(c, "d@x.test", "Dee")
        self.add(c, "d@x.test", "Dee2")
        now = self.ver(c)
        d = self.login(u, presence=False)
        r = d.get(ROSTER, attrs="ver='%s'" % v)
        self.assertResult(r)
        d.sync()
        q = kid(r, "query", ROSTER)
        if q is not None:
            self.assertEqual(sorted(i.get("jid") for i in q), ["b@x.test", "c@x.test", "d@x.test"])
            self.assertEqual(q.get("ver"), now)
            return
        got = [kid(e, "query", ROSTER) for e in d.drain() if e.get("type") == "set"]
        state = {q[0].get("jid"): (q[0].get("subscription"), q[0].get("name")) for q in got}
        self.assertEqual(state, {"a@x.test": ("remove", None), "b@x.test": ("none", "Bee"), "d@x.test": ("none", "Dee2")})
        vers = [q.get("ver") for q in got]
        self.assertEqual(len(set(vers)), 3)
        self.assertEqual(vers[-1], now)

    def test_unknown_version_gives_the_whole_roster(self):
        c = self.login(presence=False)
        self.add(c, "a@x.test")
        q = kid(c.get(ROSTER, attrs="ver='no-such-version-42'"), "query", ROSTER)
        self.assertIsNotNone(q)
        self.assertEqual([i.get("jid") for i in q], ["a@x.test"])
        self.assertTrue(q.get("ver"))

    def test_a_version_of_the_future_gives_the_whole_roster(self):
        c = self.login(presence=False)
        self.add(c, "a@x.test")
        for v in ("999999999", "18446744073709551615", "-1", "99999999999999999999999999"):
            q = kid(c.get(ROSTER, attrs="ver='%s'" % v), "query", ROSTER)
            self.assertIsNotNone(q, v)
            self.assertEqual(len(q), 1)

    def test_each_push_carries_a_new_version(self):
        a = self.interested()
        seen = [self.ver(a)]
        for n in "abc":
            self.add(a, n + "@x.test")
            seen.append(kid(a.wait(is_("iq", type_="set")), "query", ROSTER).get("ver"))
        self.assertNotIn(None, seen)
        self.assertEqual(len(set(seen)), 4)
        self.assertEqual(self.ver(a), seen[-1])

    def test_pushes_of_one_change_carry_one_version(self):
        u = self.user()
        a, b = self.interested(u), self.interested(u)
        self.add(a, "n@x.test")
        v = {kid(s.wait(is_("iq", type_="set")), "query", ROSTER).get("ver") for s in (a, b)}
        self.assertEqual(len(v), 1)

    def test_the_last_push_version_is_current(self):
        u, k = self.user(), self.contact()
        a = self.interested(u)
        a.presence("subscribe", k.jid)
        k.wait(type_="subscribe")
        k.presence(a.bare, "subscribed")
        self.push(a, k.jid)
        e = a.wait(is_("iq", type_="set"))
        v = kid(e, "query", ROSTER).get("ver")
        b = self.login(u, presence=False)
        self.assertEqual(len(b.get(ROSTER, attrs="ver='%s'" % v)), 0)

    def test_interest_lasts_with_an_empty_versioned_result(self):
        u = self.user()
        a = self.login(u, presence=False)
        self.add(a, "n@x.test")
        v = self.ver(a)
        b = self.login(u, presence=False)
        self.assertEqual(len(b.get(ROSTER, attrs="ver='%s'" % v)), 0)
        self.add(a, "m@x.test")
        self.push(b, "m@x.test")


if __name__ == "__main__":
    lab.main()
