"""HTTP file upload (XEP-0363 1.2): slots, PUT, GET, quotas, the end of files."""
import os
import re
import time
import urllib.parse

import case
import lab
import webc
import xmppc
from lab import DOMAIN
from xmppc import DISCO_INFO, DISCO_ITEMS

NS = "urn:xmpp:http:upload:0"
UP = "upload." + DOMAIN


def up_options(options="", **kw):
    o, plain, tls = webc.web_options(**kw)
    o["extra"] += '\ndomain "%s" { XMPP_Role = "server"  service = "upload"  public_url = "http://127.0.0.1:%d"  %s }' % (
        UP, plain, options)
    return o, plain, tls


class UploadCase(case.ServerCase):
    options, plain, tls = up_options("max_upload_size = 3000000")

    def ask(self, c, name="pic.png", size=10, type_="image/png", inner="", **attrs):
        at = "".join(" %s='%s'" % (k, v) for k, v in attrs.items())
        return c.iq("get", "<request xmlns='%s'%s%s%s%s>%s</request>" % (
            NS, " filename='%s'" % name if name is not None else "", " size='%s'" % size if size is not None else "",
            " content-type='%s'" % type_ if type_ else "", at, inner), to=UP)

    def slot(self, c, **kw):
        r = self.ask(c, **kw)
        self.assertEqual(r.get("type"), "result", xmppc.show(r))
        s = r.find("{%s}slot" % NS)
        put, get = s.find("{%s}put" % NS), s.find("{%s}get" % NS)
        self.assertEqual(len(put), 0)       # no headers needed
        base = "http://127.0.0.1:%d" % self.plain
        self.assertTrue(put.get("url").startswith(base), put.get("url"))
        return put.get("url")[len(base):], get.get("url")[len(base):]

    def http(self, tls=False):
        h = webc.Http(self.tls if tls else self.plain, tls=tls)
        self.addCleanup(h.close)
        return h

    def put(self, path, data, type_="image/png", **kw):
        return self.http().request("PUT", path, [("Content-Type", type_)] if type_ else [], data, **kw)

    def get(self, path, headers=(), method="GET"):
        return self.http().request(method, path, headers)

    def upload(self, c, data, type_="image/png", name="pic.png"):
        put, get = self.slot(c, name=name, size=len(data), type_=type_)
        a = self.put(put, data, type_)
        self.assertEqual(a.status, 201, a)
        return get

    def files(self, d=None):
        folder = (d or self.d).data / "upload"
        return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


class Discovery(UploadCase):
    def test_items_and_info(self):
        c = self.login()
        r = c.get(DISCO_ITEMS, to=DOMAIN)
        self.assertIn(UP, [i.get("jid") for i in r.iter("{%s}item" % DISCO_ITEMS)])
        r = c.get(DISCO_INFO, to=UP)
        q = r[0]
        self.assertIn(("store", "file"), [(i.get("category"), i.get("type")) for i in q.iter("{%s}identity" % DISCO_INFO)])
        self.assertIn(NS, [f.get("var") for f in q.iter("{%s}feature" % DISCO_INFO)])
        x = q.find("{jabber:x:data}x")
        self.assertEqual(x.get("type"), "result")
        fields = {f.get("var"): f.find("{jabber:x:data}value").text for f in x}
        self.assertEqual(fields, {"FORM_TYPE": NS, "max-file-size": "3000000"})

    def test_rest_of_the_service(self):
        c = self.login()
        self.assertResult(c.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=UP))
        self.assertError(c.iq("get", "<x xmlns='urn:none'/>", to=UP), "service-unavailable")
        self.assertError(c.get(DISCO_INFO, to=UP, attrs=" node='x'"), "item-not-found")
        self.assertError(c.iq("set", "<request xmlns='%s' filename='a' size='1'/>" % NS, to=UP), ("service-unavailable", "bad-request"))


class Slots(UploadCase):
    def test_too_large(self):
        c = self.login()
        r = self.ask(c, size=3000001)
        self.assertError(r, "not-acceptable", "modify")
        e = r.find("{jabber:client}error/{%s}file-too-large/{%s}max-file-size" % (NS, NS))
        self.assertEqual(e.text, "3000000")
        self.slot(c, size=3000000)

    def test_bad_requests(self):
        c = self.login()
        for kw in ({"name": None}, {"name": ""}, {"size": None}, {"size": "x"}, {"size": 0}, {"size": -5},
                   {"size": "99999999999999999999999"}, {"name": "n" * 300}, {"type_": "nonsense"}, {"type_": "/x"},
                   {"type_": "a/b&#10;X: y"}):
            self.assertError(self.ask(c, **kw), "bad-request")

    def test_names(self):
        """The end of the name stays; nothing of it is a path."""
        c = self.login()
        for name, end in (("tr\u00e8s cool.jpg", "tr%C3%A8s%20cool.jpg"), ("../../etc/passwd", ".._.._etc_passwd"), ("..", "__"),
                          ("a\\b", "a_b"), ("x?y#z.png", "x%3Fy%23z.png"), ("&lt;i&gt;", "%3Ci%3E")):
            put, get = self.slot(c, name=name)
            self.assertEqual(put, get)
            self.assertTrue(put.endswith("/" + end), put)
            self.assertRegex(put, r"^/upload/[a-z2-7]{40}/[^/]+$")

    def test_slots_differ(self):
        c = self.login()
        self.assertNotEqual(self.slot(c)[0], self.slot(c)[0])

    def test_open_slots_are_limited(self):
        c = self.login()
        for _ in range(20):
            self.slot(c)
        r = self.ask(c)
        self.assertError(r, "resource-constraint", "wait")
        stamp = r.find("{jabber:client}error/{%s}retry" % NS).get("stamp")
        self.assertRegex(stamp, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        self.slot(self.login())     # others are not affected


class Put(UploadCase):
    def test_round_trip(self):
        c = self.login()
        data = os.urandom(2500000)
        get = self.upload(c, data)
        a = self.get(get)
        self.assertEqual((a.status, a.body), (200, data))
        self.assertEqual(a["Content-Type"], "image/png")
        with webc.Http(self.tls, tls=True) as h:
            self.assertEqual(h.request("GET", get).body, data)

    def test_small_pieces(self):
        c = self.login()
        data = os.urandom(300)
        put, get = self.slot(c, size=300)
        h = self.http()
        h.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 300\r\n\r\n" % put)
        for i in range(0, 300, 7):
            h.send(data[i:i + 7])
        self.assertEqual(h.answer().status, 201)
        self.assertEqual(self.get(get).body, data)

    def test_expect(self):
        c = self.login()
        put, get = self.slot(c, size=5)
        h = self.http()
        h.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n" % put)
        self.assertEqual(h.head().status, 100)
        h.send(b"12345")
        self.assertEqual(h.answer().status, 201)
        # and a refusal comes without the body
        h = self.http()
        h.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n" % put)
        self.assertEqual(h.answer().status, 404)

    def test_wrong_length(self):
        c = self.login()
        put, get = self.slot(c, size=10)
        self.assertEqual(self.put(put, b"x" * 9).status, 400)
        self.assertEqual(self.put(put, b"x" * 11).status, 413)
        self.assertEqual(self.put(put, b"", length=False).status, 411)
        self.assertEqual(self.get(get).status, 404)
        self.assertEqual(self.put(put, b"x" * 10).status, 201)

    def test_chunked(self):
        put, _ = self.slot(self.login(), size=5)
        h = self.http()
        h.send("PUT %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n" % put)
        self.assertEqual(h.answer().status, 411)

    def test_wrong_type(self):
        c = self.login()
        put, get = self.slot(c, size=3)
        self.assertEqual(self.put(put, b"abc", "text/html").status, 415)
        self.assertEqual(self.put(put, b"abc", "IMAGE/PNG; x=y").status, 201)

    def test_once(self):
        c = self.login()
        put, get = self.slot(c, size=3)
        self.assertEqual(self.put(put, b"abc").status, 201)
        self.assertEqual(self.put(put, b"xyz").status, 404)
        self.assertEqual(self.get(get).body, b"abc")

    def test_two_at_once(self):
        put, get = self.slot(self.login(), size=6)
        one = self.http()
        one.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 6\r\n\r\nabc" % put)
        lab.wait_until(lambda: any(p.name.endswith(".part") for p in self.files()))
        self.assertEqual(self.put(put, b"xxxxxx").status, 404)
        one.send("def")
        self.assertEqual(one.answer().status, 201)
        self.assertEqual(self.get(get).body, b"abcdef")

    def test_broken_off(self):
        """Half a file is no file, and the slot can be used again."""
        put, get = self.slot(self.login(), size=200000)
        h = self.http()
        h.send(("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 200000\r\n\r\n" % put).encode() + b"x" * 150000)
        lab.wait_until(lambda: any(p.name.endswith(".part") for p in self.files()))
        h.close()
        lab.wait_until(lambda: not any(put.split("/")[2] in p.name for p in self.files()))
        self.assertEqual(self.get(get).status, 404)
        data = os.urandom(200000)
        self.assertEqual(lab.wait_until(lambda: self.put(put, data).status == 201), True)
        self.assertEqual(self.get(get).body, data)

    def test_more_than_said(self):
        """Bytes behind the body are no request."""
        put, get = self.slot(self.login(), size=3)
        h = self.http()
        h.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\nabcGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" % put)
        self.assertEqual(h.answer().status, 201)
        self.assertTrue(h.at_end())
        self.assertEqual(self.get(get).body, b"abc")

    def test_paths(self):
        for path in ("/upload/", "/upload/x", "/upload/../../etc/passwd", "/upload/" + "a" * 40, "/upload/" + "a" * 40 + "/x",
                     "/upload/" + "A" * 40 + "/x", "/upload/%2e%2e/" + "a" * 37 + "/x", "/upload/" + "." * 40 + "/x"):
            self.assertEqual(self.get(path).status, 404, path)
            self.assertEqual(self.put(path, b"x").status, 404, path)

    def test_cors(self):
        a = self.http().request("OPTIONS", "/upload/" + "a" * 40 + "/x", [
            ("Origin", "https://web.example"), ("Access-Control-Request-Method", "PUT")])
        self.assertEqual(a.status, 204)
        self.assertIn("PUT", a["Access-Control-Allow-Methods"])
        self.assertIn("Content-Type", a["Access-Control-Allow-Headers"])
        self.assertEqual(a["Access-Control-Allow-Origin"], "*")


class Get(UploadCase):
    def setUp(self):
        super().setUp()
        self.c = self.login()
        self.data = bytes(range(256)) * 4
        self.path = self.upload(self.c, self.data)

    def test_headers(self):
        a = self.get(self.path)
        self.assertEqual(a["X-Content-Type-Options"], "nosniff")
        self.assertIn("default-src 'none'", a["Content-Security-Policy"])
        self.assertIn("frame-ancestors 'none'", a["Content-Security-Policy"])
        self.assertTrue(a["Content-Disposition"].startswith("inline"))
        self.assertIn("pic.png", a["Content-Disposition"])
        self.assertIn("max-age", a["Cache-Control"])
        self.assertEqual(a["Accept-Ranges"], "bytes")
        self.assertIsNotNone(a["ETag"])
        self.assertIsNotNone(a["Last-Modified"])
        self.assertIsNone(a["Set-Cookie"])
        self.assertEqual(a["Access-Control-Allow-Origin"], "*")

    def test_active_content_is_for_saving(self):
        for type_, name in (("text/html", "a.html"), ("image/svg+xml", "a.svg"), ("application/xhtml+xml", "x"), (None, "what"),
                            ("application/pdf", "p.pdf")):
            path = self.upload(self.c, b"<script>alert(1)</script>", type_, name)
            a = self.get(path)
            self.assertTrue(a["Content-Disposition"].startswith("attachment"), type_)
            self.assertEqual(a["Content-Type"], type_ or "application/octet-stream")

    def test_head(self):
        h = self.http()
        a = h.request("HEAD", self.path)
        self.assertEqual((a.status, a["Content-Length"], h.buf), (200, "1024", b""))
        self.assertEqual(h.request("GET", self.path).body, self.data)       # the connection goes on

    def test_ranges(self):
        for field, status, start, end in (("bytes=0-9", 206, 0, 10), ("bytes=1000-", 206, 1000, 1024), ("bytes=-24", 206, 1000, 1024),
                                          ("bytes=1000-5000", 206, 1000, 1024), ("bytes=0-0", 206, 0, 1), ("bytes=010-019", 206, 10, 20), ("bytes=0x10-", 200, 0, 1024), ("bytes=-5000", 206, 0, 1024),
                                          ("bytes=5-3", 200, 0, 1024), ("items=0-1", 200, 0, 1024), ("bytes=0-1,5-6", 200, 0, 1024),
                                          ("bytes=a-b", 200, 0, 1024), ("bytes=", 200, 0, 1024), ("bytes=-", 200, 0, 1024)):
            a = self.get(self.path, [("Range", field)])
            self.assertEqual((a.status, a.body), (status, self.data[start:end]), field)
            if status == 206:
                self.assertEqual(a["Content-Range"], "bytes %d-%d/1024" % (start, end - 1))
        for field in ("bytes=1024-", "bytes=-0"):
            a = self.get(self.path, [("Range", field)])
            self.assertEqual((a.status, a["Content-Range"]), (416, "bytes */1024"), field)

    def test_conditions(self):
        tag = self.get(self.path)["ETag"]
        a = self.get(self.path, [("If-None-Match", tag)])
        self.assertEqual((a.status, a.body, a["ETag"]), (304, b"", tag))
        self.assertEqual(self.get(self.path, [("If-None-Match", '"x", ' + tag)]).status, 304)
        self.assertEqual(self.get(self.path, [("If-None-Match", '"x"')]).status, 200)
        self.assertEqual(self.get(self.path, [("Range", "bytes=0-1"), ("If-Range", tag)]).status, 206)
        self.assertEqual(self.get(self.path, [("Range", "bytes=0-1"), ("If-Range", '"x"')]).status, 200)

    def test_pipelined(self):
        h = self.http()
        h.send(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % self.path) * 5)
        for _ in range(5):
            self.assertEqual(h.answer().body, self.data)

    def test_reader_that_goes(self):
        path = self.upload(self.c, os.urandom(2900000))
        for _ in range(5):
            h = webc.Http(self.plain)
            h.send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            h.fill()
            h.close()
        self.assertEqual(len(self.get(path).body), 2900000)

    def test_the_name_is_not_looked_at(self):
        self.assertEqual(self.get(self.path.rpartition("/")[0] + "/other").body, self.data)

    def test_restart(self):
        o, plain, tls = up_options()
        d = self.lab.daemon(name=lab.token("d"), milter=False, **o)
        d.add_account("zoe")
        c = xmppc.login(d.c2s_port, "zoe")
        self.addCleanup(c.close)
        self.plain = plain
        path = self.upload(c, b"lasting")
        d.kill()
        d.start()
        self.assertEqual(self.get(path).body, b"lasting")
        self.assertEqual(d.terminate(), 0)


class Types(UploadCase):
    options, plain, tls = up_options('upload_types = ( "image/*" "text/plain" )')

    def test_types(self):
        c = self.login()
        for t in ("image/png", "IMAGE/JPEG", "text/plain; charset=utf-8"):
            self.slot(c, type_=t)
        for t in ("text/html", "video/mp4", "imagex/png", None):
            self.assertError(self.ask(c, type_=t), "not-acceptable")


class Quota(UploadCase):
    options, plain, tls = up_options("upload_quota = 1000")

    def test_quota(self):
        c = self.login()
        self.upload(c, b"x" * 600)
        r = self.ask(c, size=500)
        self.assertError(r, "resource-constraint", "wait")
        stamp = r.find("{jabber:client}error/{%s}retry" % NS).get("stamp")
        # the file that is in the way expires in 30 days
        self.assertGreater(time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime()), 29 * 86400)
        self.slot(c, size=400)
        self.slot(self.login(), size=1000)

    def test_never_fits(self):
        r = self.ask(self.login(), size=1001)
        self.assertError(r, "resource-constraint", "wait")
        self.assertIsNone(r.find("{jabber:client}error/{%s}retry" % NS))


class Daily(UploadCase):
    options, plain, tls = up_options("upload_quota_daily = 1000  upload_expire = 1")

    def test_day_and_expiry(self):
        c = self.login()
        path = self.upload(c, b"x" * 900)
        self.assertEqual(self.get(path).status, 200)
        lab.wait_until(lambda: self.get(path).status == 404, 10)
        lab.wait_until(lambda: not self.files(), 30, "the file is swept away")
        r = self.ask(c, size=200)       # gone, but of today
        self.assertError(r, "resource-constraint", "wait")
        stamp = r.find("{jabber:client}error/{%s}retry" % NS).get("stamp")
        self.assertGreater(time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime()), 23 * 3600)


class Account(UploadCase):
    def test_deleted_with_the_account(self):
        user = self.user()
        c = self.login(user)
        path = self.upload(c, b"mine")
        name = path.split("/")[2]
        self.assertTrue(any(name in p.name for p in self.files()))
        c.close()
        self.d.ctl("account", "delete", case.at(user))
        self.assertEqual(self.get(path).status, 404)
        lab.wait_until(lambda: not any(name in p.name for p in self.files()), 30, "the file is swept away")

    def test_who_may(self):
        """Files are not listable, and folders are nobody else's."""
        self.upload(self.login(), b"x")
        folder = self.d.data / "upload"
        self.assertEqual(folder.stat().st_mode & 0o077, 0)
        self.assertEqual(self.files()[0].stat().st_mode & 0o077, 0)

    def test_slow_upload(self):
        """A PUT that stops is not waited for for ever, and does not stop others."""
        c = self.login()
        put, _ = self.slot(c, size=1000)
        h = self.http()
        h.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc" % put)
        self.upload(c, b"meanwhile")


if __name__ == "__main__":
    lab.main()
