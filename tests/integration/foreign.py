"""foreign - other XMPP servers, run privately, for tests of moving in and out.

Each lives in one folder of the lab, listens on loopback only and is ended by its pid.  fill()
does what users do, through a socket, so that what is exported later is what that server writes.
"""
import os
import pwd
import re
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

import lab
import xmppc
from lab import wait_until

HOST = "lab.test"
PROSODY_CFG = """\
run_as_root = true
pidfile = "{d}/prosody.pid"
data_path = "{d}/data"
plugin_paths = {{}}
modules_enabled = {{ "disco", "roster", "saslauth", "blocklist", "pep", "private", "vcard_legacy", "mam", "offline",
	"presence", "message", "iq", "c2s" }}
modules_disabled = {{ "s2s" }}
authentication = "internal_hashed"
password_hash = "{hash}"
storage = "internal"
default_archive_policy = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
interfaces = {{ "127.0.0.1" }}
c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{}}
s2s_ports = {{}}
log = {{ info = "{d}/prosody.log" }}
VirtualHost "{host}"
"""
MIGRATOR_CFG = """\
input {{
	hosts = {{ ["{host}"] = {{ "accounts", "roster", "vcard", "private", "archive-archive", "pep-pubsub" }} }};
	type = "internal";
	path = "{d}/data";
}}
output {{
	type = "xep0227";
}}
"""
EJABBERD_CFG = """\
hosts:
  - {host}
loglevel: info
auth_method: internal
auth_password_format: {format}
auth_scram_hash: {hash}
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls_required: false
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
modules:
  mod_roster: {{versioning: true}}
  mod_offline: {{}}
  mod_private: {{}}
  mod_privacy: {{}}
  mod_blocking: {{}}
  mod_vcard: {{search: false}}
  mod_mam: {{default: always}}
  mod_disco: {{}}
  mod_caps: {{}}
  mod_pubsub:
    plugins: [flat, pep]
    force_node_config:
      "storage:bookmarks": {{access_model: whitelist}}
"""


def login(port, user, password, resource="old", mech=None):
    """In the clear: these servers are on loopback and live for seconds."""
    c = xmppc.Conn(port, domain=HOST)
    c.open()
    e = c.auth(user, password, mech)
    if xmppc.local(e) != "success":
        raise AssertionError("%s: %s" % (user, xmppc.show(e)))
    c.open()
    c.bind(resource)
    return c


class Foreign:
    name = "?"

    def __init__(self, labor, accounts):
        """accounts: {name: password}"""
        self.lab = labor
        self.accounts = accounts
        self.dir = Path(labor.dir) / self.name
        self.dir.mkdir()
        self.port = lab.free_port()
        self.proc = None
        labor.defer(self.stop)

    def log(self):
        return "\n".join(p.read_text(errors="replace")[-3000:] for p in self.dir.glob("*.log"))

    def run(self, args, **kw):
        self.out = open(self.dir / "out.log", "ab")
        self.proc = subprocess.Popen(args, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=self.out,
                                     stderr=subprocess.STDOUT, start_new_session=True, **kw)

        def up():
            if self.proc.poll() is not None:
                raise RuntimeError("%s ended: %s" % (self.name, self.log()))
            return lab.listening(self.port)
        wait_until(up, 60, lambda: "%s listening\n%s" % (self.name, self.log()))

    def stop(self):
        if self.proc is None:
            return
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait()
        self.proc = None
        self.out.close()


class Prosody(Foreign):
    name = "prosody"

    def __init__(self, labor, accounts, hash="SHA-1"):
        if not shutil.which("prosody") or not shutil.which("prosody-migrator"):
            raise unittest.SkipTest("Prosody is not installed: apt-get install prosody")
        super().__init__(labor, accounts)
        (self.dir / "data").mkdir()
        self.cfg = self.dir / "prosody.cfg.lua"
        self.cfg.write_text(PROSODY_CFG.format(d=self.dir, hash=hash, port=self.port, host=HOST))
        for user, password in accounts.items():
            r = subprocess.run(["prosodyctl", "--config", str(self.cfg), "register", user, HOST, password],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
            if r.returncode != 0:
                raise RuntimeError("prosodyctl register: " + r.stdout)
        self.run(["prosody", "-F", "--config", str(self.cfg)])

    def export(self):
        """The folder prosody-migrator wrote: one file per account."""
        self.stop()
        out = self.dir / "out"
        out.mkdir()
        script = self.dir / "migrator.lua"
        # where its XEP-0227 files go is compiled in: a copy of it with another folder
        script.write_text(re.sub(r"(?m)^CFG_DATADIR=.*$", "CFG_DATADIR='%s';" % out,
                                 Path(shutil.which("prosody-migrator")).read_text()))
        cfg = self.dir / "migrator.cfg.lua"
        cfg.write_text(MIGRATOR_CFG.format(d=self.dir, host=HOST))
        if os.geteuid() == 0:
            # it changes to that user
            user = pwd.getpwnam("prosody")
            for p in [out, *(self.dir / "data").rglob("*"), self.dir / "data"]:
                os.chown(p, user.pw_uid, user.pw_gid)
        r = subprocess.run(["lua5.4", str(script), "--config", str(cfg)], cwd=self.dir, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if r.returncode != 0 or not list(out.glob("*.xml")):
            raise RuntimeError("prosody-migrator: %s" % r.stdout)
        return out


class Ejabberd(Foreign):
    name = "ejabberd"

    def __init__(self, labor, accounts, format="scram", hash="sha"):
        ebin = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
        if not ebin or not shutil.which("erl"):
            raise unittest.SkipTest("ejabberd is not installed: apt-get install ejabberd")
        super().__init__(labor, accounts)
        self.ebin = str(ebin[0])
        (self.dir / "db").mkdir()
        (self.dir / "ejabberd.yml").write_text(EJABBERD_CFG.format(host=HOST, port=self.port, format=format, hash=hash))
        calls = "".join("{ok,_} = case ejabberd_auth:try_register(<<\"%s\">>,<<\"%s\">>,<<\"%s\">>) of ok -> {ok,1}; "
                        "R%d -> R%d end," % (u, HOST, p, i, i) for i, (u, p) in enumerate(accounts.items()))
        self.run(self.erl(calls + "ok."), env=self.env())

    def env(self):
        return {**os.environ, "HOME": str(self.dir), "EJABBERD_CONFIG_PATH": str(self.dir / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(self.dir / "ejabberd.log"), "SPOOL_DIR": str(self.dir / "db")}

    def erl(self, code):
        # no node name: no port mapper, nothing but the client port listens
        return ["erl", "-noinput", "-pa", self.ebin, "-mnesia", "dir", '"%s/db"' % self.dir, "-s", "ejabberd",
                "-eval", code]

    def export(self):
        """The folder ejabberd wrote: a main file that includes one per host."""
        self.stop()
        out = self.dir / "out"
        out.mkdir()
        r = subprocess.run(self.erl('io:format("~p~n", [ejabberd_piefxis:export_server(<<"%s">>)]), init:stop().' % out),
                           cwd=self.dir, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        if not list(out.glob("*.xml")):
            raise RuntimeError("export_server: %s\n%s" % (r.stdout, self.log()))
        return out


VCARD = ("<vCard xmlns='vcard-temp'><FN>Ann of Before</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>"
         "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
         "</BINVAL></PHOTO></vCard>")
BOOKMARK = "<conference xmlns='urn:xmpp:bookmarks:1' name='The Play' autojoin='true'><nick>Ann</nick></conference>"
OLD_BOOKMARKS = ("<storage xmlns='storage:bookmarks'><conference jid='orchard@rooms.lab.test' name='Orchard' autojoin='1'>"
                 "<nick>Ann</nick></conference><url name='Home' url='https://example.org/'/></storage>")
PREFS = "<prefs xmlns='exodus:prefs'><nick>Ann &amp; Co</nick></prefs>"


def publish(c, node, item, payload, access=None):
    options = "" if access is None else (
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        "<value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
        "<field var='pubsub#persist_items'><value>true</value></field>"
        "<field var='pubsub#access_model'><value>%s</value></field></x></publish-options>" % access)
    return c.iq("set", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='%s'><item id='%s'>%s</item>"
                "</publish>%s</pubsub>" % (node, item, payload, options))


def fill(server):
    """ann and bob are friends, carl has asked ann, dora is not; ann has a bit of everything."""
    a = login(server.port, "ann", server.accounts["ann"])
    b = login(server.port, "bob", server.accounts["bob"])
    ann, bob = "ann@" + HOST, "bob@" + HOST
    a.roster(), b.roster()
    a.presence(), b.presence()
    a.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s' name='Bob &lt;the best&gt;'><group>Friends</group>"
         "<group>Work &amp; play</group></item></query>" % bob)
    a.presence("subscribe", bob)
    b.wait(xmppc.is_("presence", type_="subscribe", from_=ann))
    b.presence("subscribed", ann)
    b.presence("subscribe", ann)
    a.wait(xmppc.is_("presence", type_="subscribe", from_=bob))
    a.presence("subscribed", bob)
    b.wait(xmppc.is_("presence", type_="subscribed", from_=ann))
    a.presence("subscribe", "dora@" + HOST)
    c = login(server.port, "carl", server.accounts["carl"])
    c.roster()
    c.presence()
    c.presence("subscribe", ann)
    a.wait(xmppc.is_("presence", type_="subscribe", from_="carl@" + HOST))
    c.close()
    for payload in (VCARD, "<query xmlns='jabber:iq:private'>%s</query>" % PREFS):
        r = a.iq("set", payload)
        assert r.get("type") == "result", xmppc.show(r)
    server.steps = {
        "bookmark": publish(a, "urn:xmpp:bookmarks:1", "theplay@rooms.lab.test", BOOKMARK, "whitelist").get("type"),
        "nick": publish(a, "http://jabber.org/protocol/nick", "current",
                        "<nick xmlns='http://jabber.org/protocol/nick'>Annie</nick>", "open").get("type"),
        "old": a.iq("set", "<query xmlns='jabber:iq:private'>%s</query>" % OLD_BOOKMARKS).get("type"),
        "block": a.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@lab.test'/></block>").get("type"),
    }
    a.message(bob, "first in the archive")
    b.wait(xmppc.body_is("first in the archive"))
    b.message(ann, "second in the archive")
    a.wait(xmppc.body_is("second in the archive"))
    a.sync()
    a.close()
    b.message(ann, "while you were out")
    b.sync()
    b.close()
