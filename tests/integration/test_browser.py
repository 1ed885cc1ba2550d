"""converse.js in headless Chromium: log in over WebSocket and over BOSH, chat, a room, a picture uploaded and seen.

Needs Debian's chromium and chromium-driver, and converse.js from npm: `make setup` fetches them.  What is missing is
the reason these tests are skipped.
"""
import functools
import http.server
import json
import os
import shutil
import socketserver
import subprocess
import threading
import time
import unittest
import urllib.request
from pathlib import Path

import case
import lab
import webc
import xmppc
from lab import DOMAIN, PASSWORD
from xmppc import body_is, is_

NPM = Path(os.environ.get("TANDEM_NPM", Path.home() / ".cache" / "tandem-npm"))
DIST = NPM / "node_modules" / "converse.js" / "dist"
UP, ROOMS = "upload." + DOMAIN, "rooms." + DOMAIN

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>converse</title>
<link rel="stylesheet" href="dist/converse.min.css"></head><body class="converse-fullscreen">
<converse-root></converse-root><script type="module">
import converse from "./dist/converse.min.js";
window.converse = converse;
window.problems = [];
window.addEventListener("error", e => problems.push(String(e.message)));
window.addEventListener("unhandledrejection", e => problems.push(String(e.reason)));
window.go = function (options) {
	converse.plugins.add("lab", { initialize() {
		window._converse = this._converse;
		window.api = this._converse.api;
		api.listen.on("connected", () => { window.connected = true; });
		api.listen.on("disconnected", () => { window.disconnected = true; });
	} });
	converse.initialize(Object.assign({
		authentication: "login", auto_login: true, view_mode: "fullscreen", discover_connection_methods: false,
		assets_path: "/dist/", i18n: "en", whitelisted_plugins: ["lab"], allow_non_roster_messaging: true,
		clear_cache_on_logout: true, show_desktop_notifications: false, play_sounds: false, auto_reconnect: false,
		omemo_default: false, loglevel: "info",
	}, options)).catch(e => problems.push(String(e)));
};
window.loaded = true;
</script></body></html>"""


def missing():
    """Why these tests cannot run here; None = they can."""
    for tool in ("chromium", "chromedriver"):
        if not shutil.which(tool):
            return "%s is not installed (make setup)" % tool
    if not (DIST / "converse.min.js").is_file():
        return "converse.js is not in %s (make setup)" % NPM
    return None


class Pages(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/":
            data = PAGE.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        elif path.startswith("/dist/"):
            self.path = self.path[5:]
            super().do_GET()
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


class Driver:
    """chromedriver (W3C WebDriver) with one browser."""

    def __init__(self, lab_):
        self.port = lab.free_port()
        self.out = open(lab_.dir / "chromedriver.log", "wb")
        self.proc = subprocess.Popen(["chromedriver", "--port=%d" % self.port], stdin=subprocess.DEVNULL, stdout=self.out,
                                     stderr=subprocess.STDOUT)
        lab.wait_until(lambda: lab.listening(self.port), 20, "chromedriver listens")
        self.session = None
        profile = lab_.dir / "profile"
        args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,900",
                "--user-data-dir=%s" % profile]
        r = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": args}}}})
        self.session = r["sessionId"]
        self.at("POST", "/timeouts", {"script": 30000 * lab.SLOW})

    def call(self, method, path, body=None, timeout=90):
        data = json.dumps(body).encode() if body is not None else None
        req = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(req, timeout=timeout * lab.SLOW) as r:
                return json.load(r)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError("WebDriver: %s" % e.read().decode()[:2000]) from None

    def at(self, method, path, body=None):
        return self.call(method, "/session/%s%s" % (self.session, path), body)

    def js(self, script, *args):
        """Run it as an async function and return what it returns."""
        got = self.at("POST", "/execute/async", {"args": list(args), "script": (
            "const done = arguments[arguments.length - 1]; const a = Array.from(arguments).slice(0, -1);"
            "(async (...a) => { %s })(...a).then(v => done({v: v === undefined ? null : v}), e => done({e: String(e && e.stack || e)}));" % script)})
        if "e" in got:
            raise AssertionError("in the page: " + got["e"])
        return got["v"]

    def until(self, script, *args, timeout=30, text=None):
        def look():
            try:
                return self.js(script, *args)
            except AssertionError:
                return None
        return lab.wait_until(look, timeout, lambda: "%s\n%s" % (text or script, self.state()), step=0.1)

    def state(self):
        try:
            log = [m["message"][:300] for m in self.at("POST", "/se/log", {"type": "browser"})][-40:]
            return "problems: %s\ntext: %s\nlog: %s" % (self.js("return problems"), self.js("return document.body.innerText")[:1500], "\n".join(log))
        except Exception as e:      # the browser may be what broke
            return "no state: %s" % e

    def picture(self, path):
        import base64
        Path(path).write_bytes(base64.b64decode(self.at("GET", "/screenshot")))

    def keys(self, selector, text):
        e = self.at("POST", "/element", {"using": "css selector", "value": selector})
        self.at("POST", "/element/%s/value" % next(iter(e.values())), {"text": text})

    def close(self):
        try:
            if self.session:
                self.call("DELETE", "/session/" + self.session, timeout=20)
        except Exception:
            pass
        self.proc.terminate()
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.out.close()


@unittest.skipIf(missing(), missing())
class Converse(case.ServerCase):
    options, plain, tls = webc.web_options()
    options["extra"] += """
domain "%s" { XMPP_Role = "server"  service = "upload"  public_url = "http://127.0.0.1:%d" }
domain "%s" { XMPP_Role = "server"  service = "muc" }""" % (UP, plain, ROOMS)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.web = socketserver.ThreadingTCPServer(("127.0.0.1", 0), functools.partial(Pages, directory=str(DIST)))
        cls.web.daemon_threads = True
        threading.Thread(target=cls.web.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.web.server_close)
        cls.addClassCleanup(cls.web.shutdown)
        cls.driver = Driver(cls.lab)
        cls.addClassCleanup(cls.driver.close)

    def converse(self, user, **options):
        """A fresh page, signed in."""
        d = self.driver
        d.at("POST", "/url", {"url": "http://127.0.0.1:%d/?%s" % (self.web.server_address[1], lab.token())})
        d.until("return window.loaded === true", text="converse.js is loaded")
        d.js("localStorage.clear(); sessionStorage.clear(); for (const b of await indexedDB.databases()) indexedDB.deleteDatabase(b.name);")
        d.js("go(a[0])", {"jid": case.at(user), "password": PASSWORD, **options})
        d.until("return window.connected === true", timeout=60, text="converse signs in")
        self.addCleanup(lambda: d.js("if (window.api && api.connection.connected()) await Promise.race([api.user.logout(), new Promise(r => setTimeout(r, 5000))])"))
        return d

    def websocket(self, user):
        return self.converse(user, websocket_url="ws://127.0.0.1:%d/xmpp-websocket" % self.plain)

    def bosh(self, user):
        return self.converse(user, bosh_service_url="http://127.0.0.1:%d/http-bind" % self.plain)

    def type_line(self, d, text):
        d.until("return !!document.querySelector('textarea.chat-textarea')", text="the chat's text field")
        d.keys("textarea.chat-textarea", text + "\ue007")      # Enter

    def shown(self, d, text):
        d.until("return Array.from(document.querySelectorAll('converse-chat-message-body')).some(e => e.innerText.includes(a[0]))",
                text, text="%r on the page" % text)

    def chat(self, d, user):
        peer = self.login()
        me = case.at(user)
        d.js("await api.chats.open(a[0])", peer.bare)
        word = lab.token("typed")
        self.type_line(d, word + " <b>&amp;")
        e = peer.wait(is_("message", type_="chat"))
        while xmppc.text(e) is None:
            e = peer.wait(is_("message", type_="chat"))
        self.assertEqual(xmppc.text(e), word + " <b>&amp;")
        answer = lab.token("answered")
        peer.message(me, answer)
        self.shown(d, answer)
        return peer

    def test_websocket_chat(self):
        user = self.user()
        self.chat(self.websocket(user), user)

    def test_bosh_chat(self):
        user = self.user()
        d = self.bosh(user)
        self.chat(d, user)

    def test_room(self):
        user = self.user()
        d = self.websocket(user)
        room = "%s@%s" % (lab.token("room"), ROOMS)
        d.js("await api.rooms.open(a[0], {nick: 'web', auto_configure: true})", room)
        d.until("const r = await api.rooms.get(a[0]); return !!r && r.session && r.session.get('connection_status') === converse.ROOMSTATUS.ENTERED",
                room, text="the room is entered", timeout=40)
        other = self.login()
        other.send("<presence xmlns='jabber:client' to='%s/other'><x xmlns='http://jabber.org/protocol/muc'/></presence>" % room)
        other.wait(is_("presence", from_=room + "/other"))
        word = lab.token("said")
        other.message(room, word, "groupchat")
        self.shown(d, word)
        back = lab.token("back")
        self.type_line(d, back)
        while True:
            if xmppc.text(other.wait(is_("message", from_=room + "/web"))) == back:
                break

    def test_upload(self):
        """A picture is drawn, uploaded, told to the other side, and shown in the chat."""
        user = self.user()
        d = self.websocket(user)
        peer = self.login()
        d.js("await api.chats.open(a[0])", peer.bare)
        d.js("""const c = document.createElement('canvas'); c.width = 64; c.height = 48;
                const g = c.getContext('2d'); g.fillStyle = '#c04020'; g.fillRect(0, 0, 64, 48);
                const blob = await new Promise(r => c.toBlob(r, 'image/png'));
                const chat = await api.chats.get(a[0]);
                await chat.sendFiles([new File([blob], 'drawn by hand.png', { type: 'image/png' })]);""", peer.bare)
        while True:
            url = xmppc.text(peer.wait(is_("message"), 40))
            if url and "/upload/" in url:
                break
        self.assertTrue(url.endswith("/drawn%20by%20hand.png"), url)
        with webc.Http(self.plain) as h:
            a = h.request("GET", url[url.index("/upload/"):])
        self.assertEqual((a.status, a["Content-Type"], a.body[:8]), (200, "image/png", b"\x89PNG\r\n\x1a\n"))
        d.until("return Array.from(document.querySelectorAll('img')).some(i => i.src === a[0] && i.complete && i.naturalWidth === 64)",
                url, text="the picture is shown", timeout=40)


if __name__ == "__main__":
    lab.main()
