#!/usr/bin/python3
"""bench - CPU and memory of the daemon against programs that do the least possible.

  bench.py --build DIR [--quick] [--reps N] [--only NAME[,NAME]] [--against DIR] [--json FILE] [--keep]

The server under measurement is pinned to core 0, the load to core 1.  Every figure is CPU time of
the server process (all threads) or its anonymous memory, never wall time.  Daemon and floor take
turns within one run; a ratio is made per turn, and the middle one is judged.  A miss is printed as
a miss and does not change the exit status; that is 1 only when something could not be measured.

What the numbers mean: docs/bench.md.
"""
import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = "bench.test"
ROOMS = "rooms." + DOMAIN
PASSWORD = "bench-password"  # as in loadgen.c
SERVER_CORE, LOAD_CORE = 0, 1

# Highest ratio, or bytes; for copies nanoseconds, or the ratio where the floor leaves no room for that
TARGETS = {
    "chat-plain": 2.0, "chat-tls": 2.2, "login-tls": 1.4, "idle-plain": 2048, "idle-tls": 2560,
    "scale": 1.10, "milter-nobody": 1.3, "milter-notify": 3.0,
    "presence": (6000, 1.5), "room": (6000, 1.5), "archive": 2.0, "sm": 1.15, "storm": 1.2, "before": 1.05,
}

SIZES = {
    False: dict(reps=5, sessions=200, window=100, chat=50000, logins=1000, idle=(1000, 10000), scale_chat=50000,
                scale_reps=3, mails=5000, fan=100, quiet=200, loaded=1500, archive=40000, storm=2000),
    True: dict(reps=3, sessions=100, window=50, chat=12000, logins=200, idle=(200, 1500), scale_chat=15000,
               scale_reps=1, mails=1500, fan=50, quiet=60, loaded=400, archive=10000, storm=500),
}


class CannotMeasure(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core):
    def before_exec():
        if len(os.sched_getaffinity(0)) > core:
            os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    return before_exec


def wait_for(what, seconds, text):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise CannotMeasure("not within %d s: %s" % (seconds, text))
        time.sleep(0.05)


def peak(pid, reset=False):
    """Highest resident memory since the last reset, in bytes; it includes files."""
    if reset:
        Path("/proc/%d/clear_refs" % pid).write_text("5")
    for line in Path("/proc/%d/status" % pid).read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise CannotMeasure("no VmHWM")


def anonymous(pid):
    """Anonymous memory of a process, in bytes: heap, stacks, written data; no files, no kernel."""
    for line in Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise CannotMeasure("no smaps_rollup")


# --- servers ---------------------------------------------------------------------------------


class Server:
    """A process on the server core; name(), port by kind, pid."""
    proc = None

    def spawn(self, args, **kw):
        self.proc = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL,
                                     preexec_fn=pinned(SERVER_CORE), **kw)
        return self.proc

    @property
    def pid(self):
        return self.proc.pid

    def check(self):
        if self.proc.poll() is not None:
            raise CannotMeasure("%s ended with status %s" % (type(self).__name__, self.proc.returncode))

    def stop(self):
        if self.proc is None or self.proc.poll() is not None:
            return
        self.proc.terminate()
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


class Floor(Server):
    load_args = ("--floor",)

    def __init__(self, bench, expat=False, tls=False, bare=False, fan=False):
        args = [bench.tool("floor")] + (["--expat"] if expat else []) + (["--tls", bench.cert] if tls else [])
        args += ["--fan"] if fan else []
        self.spawn(args, stdout=subprocess.PIPE, text=True)
        line = self.proc.stdout.readline().strip()
        if not line.isdigit():
            raise CannotMeasure("the floor program did not start")
        self.port = int(line)
        self.load_args = ("--floor",) + (("--tls",) if tls else ()) + (("--bare",) if bare else ())


class Daemon(Server):
    """tandemd; .plain, .direct: ports without and with TLS from the first byte."""

    def __init__(self, bench, name, milter=False, scripts=None, archive=False, rooms=False, build=None):
        self.bench = bench
        self.build = build or bench.build
        self.dir = bench.dir / name
        self.plain, self.direct = free_port(), free_port()
        self.milter = self.dir / "milter.sock"
        self.dir.mkdir(exist_ok=True)
        (self.dir / "data").mkdir(exist_ok=True)
        self.log = self.dir / "log"
        conf = ['hostname = "mx.%s"' % DOMAIN, 'data_dir = "%s"' % (self.dir / "data"), "workers = 1",
                'log_file = "%s"' % self.log,
                "xmpp { tls_required = false  stanza_rate = 1000000  byte_rate = 1000000000 }",
                "xmpp_listener {", '  AuthParameters = [ uri = "store://" ]',
                '  TLS_Certificate = "%s"' % bench.cert,
                '  Listen "127.0.0.1:%d" {}' % self.plain,
                '  Listen "127.0.0.1:%d" { use_ssl = true }' % self.direct, "}",
                'control_listener { Listen "%s" {} }' % (self.dir / "ctl"),
                'domain "%s" { XMPP_Role = "server"  archive = %s }' % (DOMAIN, "true" if archive else "false")]
        if rooms:
            conf.append('domain "%s" { XMPP_Role = "server"  service = "muc"  archive = %s }' %
                        (ROOMS, "true" if archive else "false"))
        if milter:
            conf.append('milter_listener { Listen "%s" {} }' % self.milter)
        if scripts is not None:
            conf.append('scriptlet "scriptlet" { %s }' % scripts)
        (self.dir / "bench_policy.lua").write_text(POLICY)
        (self.dir / "tandem.conf").write_text("\n".join(conf) + "\n")
        self.start()

    def start(self):
        self.log.unlink(missing_ok=True)
        out = open(self.dir / "out", "ab")
        self.spawn([self.build / "tandemd", "-f", "-c", self.dir / "tandem.conf"], stdout=out, stderr=out)
        out.close()
        try:
            wait_for(self.is_ready, 20, "event=ready of tandemd")
        except CannotMeasure as e:
            raise CannotMeasure("%s\n%s" % (e, (self.dir / "out").read_text()[-500:]))

    def is_ready(self):
        self.check()
        return self.log.exists() and "event=ready" in self.log.read_text()

    def restart(self):
        self.stop()
        self.start()

    def accounts(self, n):
        """n accounts with one salt; a fresh process afterwards, so the import leaves no heap behind."""
        lines = subprocess.run([self.bench.tool("loadgen"), "--accounts", str(n), "--domain", DOMAIN],
                               stdout=subprocess.PIPE, check=True).stdout
        self.ctl(lines, "account", "import")
        self.restart()

    def ctl(self, text, *command):
        r = subprocess.run([self.build / "tandemctl", "-s", self.dir / "ctl", *command], input=text,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if r.returncode != 0:
            raise CannotMeasure("%s: %s" % (" ".join(command), r.stdout.decode()[-300:]))
        return r.stdout.decode()

    def befriend(self, n):
        """The first account and the n after it are in each other's rosters."""
        def both(*numbers):
            return json.dumps({"u%06d@%s" % (i, DOMAIN): {"name": "", "groups": [], "subscription": "both",
                                                          "pending_requests": {}} for i in numbers}).encode()
        self.ctl(both(*range(1, n + 1)), "roster", "import", "u000000@" + DOMAIN)
        for i in range(1, n + 1):
            self.ctl(both(0), "roster", "import", "u%06d@%s" % (i, DOMAIN))


# A policy that looks at addresses only: nothing needs headers or bodies.
POLICY = """\
local mod = {}
local refused = { ["spam.test"] = true }
function mod:validate_mailfrom(address, ac, vctx)
	self.from = address
end
function mod:validate_rcptto(msg, address, ac, vctx)
	if refused[address:match("@(.*)$") or ""] then
		vctx:set_code(550, "no")
	end
end
tandem.register(mod)
"""


# One callout of chat each; what they do is next to nothing.
HOOKS = (
    ("another callout only", "session_start = function() end"),
    ("client_message_recv, nothing", "client_message_recv = function(self, sess, st) end"),
    ("stanza_arrived, nothing", "stanza_arrived = function(self, account, st) end"),
    ("stanza_arrived, reads the body", "stanza_arrived = function(self, account, st) local b = st:child('body') return b and #b:contents() > 1e6 and 1 end"),
    ("stanza_arrived, replaces", "stanza_arrived = function(self, account, st) local c = st:copy() c:child('body'):contents('x') return c end"),
)


class NoopMilter(Server):
    def __init__(self, bench, steps):
        self.milter = bench.dir / ("noop%x.sock" % steps)
        self.spawn([bench.tool("noopmilter"), self.milter, hex(steps)], stdout=subprocess.PIPE, text=True)
        if self.proc.stdout.readline().strip() != "ready":
            raise CannotMeasure("the no-op milter did not start")

    def stop(self):  # libmilter would wait for its sessions
        self.proc.kill()
        self.proc.wait()


PROSODY_CONF = """\
run_as_root = true
pidfile = "{d}/pid"
data_path = "{d}/data"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
http_ports = {{}} https_ports = {{}} c2s_direct_tls_ports = {{}} s2s_direct_tls_ports = {{}}
modules_enabled = {{ "roster", "saslauth", "disco", "ping", "offline" }}
modules_disabled = {{ "tls", "s2s", "posix" }}
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
authentication = "internal_plain"
log = {{ {{ levels = {{ min = "info" }}, to = "file", filename = "{d}/log" }} }}
VirtualHost "{domain}"
"""


class Prosody(Server):
    load_args = ("--plain-auth", "--presence")

    def __init__(self, bench, accounts):
        self.dir = bench.dir / "prosody"
        self.port = free_port()
        folder = self.dir / "data" / DOMAIN.replace(".", "%2e") / "accounts"
        folder.mkdir(parents=True)
        for i in range(accounts):
            (folder / ("u%06d.dat" % i)).write_text('return { ["password"] = "%s" };\n' % PASSWORD)
        (self.dir / "prosody.cfg.lua").write_text(PROSODY_CONF.format(d=self.dir, port=self.port, domain=DOMAIN))
        with open(self.dir / "out", "wb") as out:
            self.spawn(["prosody", "--config", self.dir / "prosody.cfg.lua", "-F"], stdout=out, stderr=out)
        wait_for(lambda: self.check() or listening(self.port), 20, "prosody")


EJABBERD_CONF = """\
hosts: [ "{domain}" ]
loglevel: warning
certfiles: []
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    shaper: none
    starttls: false
auth_method: internal
auth_password_format: plain
shaper_rules: {{}}
access_rules: {{ local: {{ allow: all }} }}
modules: {{ mod_roster: {{}}, mod_disco: {{}}, mod_ping: {{}}, mod_offline: {{}} }}
"""


class Ejabberd(Server):
    load_args = ("--plain-auth", "--presence")

    def __init__(self, bench, accounts):
        self.dir = bench.dir / "ejabberd"
        self.dir.mkdir()
        self.port = free_port()
        for d in ("spool", "logs"):
            (self.dir / d).mkdir()
        conf = self.dir / "ejabberd.yml"
        conf.write_text(EJABBERD_CONF.format(port=self.port, domain=DOMAIN))
        register = "".join('ejabberd_auth:try_register(<<"u%06d">>,<<"%s">>,<<"%s">>),' % (i, DOMAIN, PASSWORD)
                           for i in range(accounts))
        script = self.dir / "register.erl"
        script.write_text(register.rstrip(",") + ".\n")
        libs = sorted(Path("/usr/lib").glob("**/ejabberd-*/ebin"))
        if not libs:
            raise CannotMeasure("ejabberd's modules are not where they were expected")
        with open(self.dir / "out", "wb") as out:
            self.spawn(["erl", "-noinput", "-pa", libs[0],
                        "-mnesia", "dir", '"%s"' % (self.dir / "spool"), "-ejabberd", "config", '"%s"' % conf,
                        "log_path", '"%s"' % (self.dir / "logs/ejabberd.log"), "-s", "ejabberd",
                        "-eval", 'timer:sleep(2000),file:eval("%s").' % script], stdout=out, stderr=out,
                       env=dict(os.environ, HOME=str(self.dir)))
        wait_for(lambda: self.check() or listening(self.port), 40, "ejabberd")
        time.sleep(4)


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


# --- load ------------------------------------------------------------------------------------


class Load:
    """One bench-loadgen on the load core."""

    def __init__(self, bench, server, port, *args):
        self.server = server
        self.proc = subprocess.Popen(
            [bench.tool("loadgen"), "--port", str(port), "--pid", str(server.pid), "--domain", DOMAIN, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=pinned(LOAD_CORE))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.kill()
        self.proc.wait()
        for f in (self.proc.stdin, self.proc.stdout, self.proc.stderr):
            f.close()

    def do(self, line):
        try:
            self.proc.stdin.write(line + "\n")
            self.proc.stdin.flush()
        except BrokenPipeError:
            pass
        out = self.proc.stdout.readline()
        if not out:
            raise CannotMeasure("loadgen: " + self.proc.stderr.read().strip()[-400:])
        return json.loads(out)

    def connect(self, n):
        """CPU nanoseconds per login."""
        r = self.do("connect %d" % n)
        return r["cpu_ns"] / r["logins"]

    def chat(self, count, window, burst=1):
        """CPU nanoseconds per message."""
        r = self.do("chat %d %d %d" % (count, window, burst))
        self.cipher = r["cipher"]
        self.rate = r["messages"] / r["wall_ns"] * 1e9
        return r["cpu_ns"] / r["messages"]

    def fan(self, command):
        """CPU nanoseconds per delivered copy; .copy: bytes of one."""
        r = self.do(command)
        self.copy = r["bytes_in"] // r["copies"]
        return r["cpu_ns"] / r["copies"]


# --- the table -------------------------------------------------------------------------------


def spread(values, unit=1.0, digits=1):
    values = sorted(v / unit for v in values)
    f = "%%.%df" % digits
    if len(values) == 1:
        return f % values[0]
    return (f + " [" + f + ".." + f + "]") % (statistics.median(values), values[0], values[-1])


class Table:
    def __init__(self):
        self.rows, self.notes, self.failed = [], [], 0

    def add(self, figure, unit, value, floor, ratio, target, ok, **raw):
        self.rows.append(dict(figure=figure, unit=unit, value=value, floor=floor, ratio=ratio, target=target,
                              result="" if ok is None else "pass" if ok else "MISS", raw=raw))
        r = self.rows[-1]
        print("  %-34s %-24s %s" % (figure, "%s %s" % (value, unit), ("x" + ratio + " ") * bool(ratio) + r["result"]),
              flush=True)

    def ratio(self, figure, unit, values, floors, scale, target=None, digits=1):
        """Values and floors taken in turns: one ratio per turn, the middle one is judged."""
        ratios = [v / f for v, f in zip(values, floors)]
        ok = None if target is None else statistics.median(ratios) <= target
        self.add(figure, unit, spread(values, scale, digits), spread(floors, scale, digits), spread(ratios, 1, 2),
                 "" if target is None else "x%.2f" % target, ok, values=values, floors=floors)

    def limit(self, figure, unit, values, floors, scale, target, ratio, digits=2):
        """The value is judged; where the floor alone takes most of the target, the ratio."""
        ratios = [v / f for v, f in zip(values, floors)]
        self.add(figure, unit, spread(values, scale, digits), spread(floors, scale, digits), spread(ratios, 1, 2),
                 "%g or x%.2f" % (target / scale, ratio),
                 statistics.median(values) <= target or statistics.median(ratios) <= ratio,
                 values=values, floors=floors)

    def info(self, figure, unit, values, scale, digits=1):
        self.add(figure, unit, spread(values, scale, digits), "", "", "", None, values=values)

    def absolute(self, figure, unit, value, target, floor=None):
        over = value - (floor or 0)
        self.add(figure, unit, "%.0f" % value, "" if floor is None else "%.0f" % floor,
                 "" if floor is None else "%.2f" % (value / floor),
                 "%s%d" % ("" if floor is None else "floor + ", target), over <= target, value_=value, floor_=floor)

    def fail(self, figure, why):
        self.failed += 1
        self.notes.append("%s: NOT MEASURED: %s" % (figure, why))
        print("  %-34s NOT MEASURED: %s" % (figure, why), flush=True)

    def note(self, text):
        self.notes.append(text)
        print("  " + text, flush=True)

    def text(self):
        head = ("figure", "value", "unit", "floor", "ratio", "target", "result")
        keys = ("figure", "value", "unit", "floor", "ratio", "target", "result")
        lines = [head] + [tuple(r[k] for k in keys) for r in self.rows]
        width = [max(len(line[i]) for line in lines) for i in range(len(head))]
        out = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, width)) + " |" for line in lines]
        out.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
        return "\n".join(out + [""] + self.notes)


# --- figures ---------------------------------------------------------------------------------


class Bench:
    def __init__(self, args):
        self.build = Path(args.build).resolve()
        self.size = dict(SIZES[args.quick])
        if args.reps:
            self.size["reps"] = self.size["scale_reps"] = args.reps
        (self.build / "bench-run").mkdir(parents=True, exist_ok=True)
        self.against = Path(args.against).resolve() if args.against else None
        self.dir = Path(tempfile.mkdtemp(prefix="b", dir=self.build / "bench-run"))
        if len(str(self.dir)) > 80:  # sockets live here
            self.dir.rmdir()
            self.dir = Path(tempfile.mkdtemp(prefix="tandem-bench-"))
        self.cert = self.dir / "cert.pem"
        self.make_cert()
        self.table = Table()

    def tool(self, name):
        return self.build / "tests" / ("bench-" + name)

    def make_cert(self):
        """ECDSA P-256, as the daemon makes for itself."""
        key = self.dir / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "30", "-subj", "/CN=" + DOMAIN, "-addext", "subjectAltName=DNS:" + DOMAIN,
                        "-keyout", key, "-out", self.cert], check=True, stderr=subprocess.DEVNULL)
        self.cert.write_text(self.cert.read_text() + key.read_text())
        self.cert.chmod(0o600)

    def xmpp(self, daemon, tls=False, *more):
        return Load(self, daemon, daemon.direct if tls else daemon.plain, "--presence",
                    *(["--tls"] if tls else []), *more)

    def floor_load(self, floor):
        return Load(self, floor, floor.port, *floor.load_args)

    def chat(self, tls):
        z, name = self.size, "chat-tls" if tls else "chat-plain"
        got = {k: [] for k in ("daemon", "expat", "raw", "daemon16", "expat16")}
        with Daemon(self, name) as d, Floor(self, True, tls) as fx, Floor(self, False, tls) as fr:
            d.accounts(z["sessions"])
            with self.xmpp(d, tls) as ld, self.floor_load(fx) as lx, self.floor_load(fr) as lr:
                for load in (ld, lx, lr):
                    load.connect(z["sessions"])
                for _ in range(z["reps"]):
                    for key, load in (("daemon", ld), ("expat", lx), ("raw", lr)):
                        got[key].append(load.chat(z["chat"], z["window"]))
                for _ in range(z["reps"]):
                    for key, load in (("daemon16", ld), ("expat16", lx)):
                        got[key].append(load.chat(z["chat"] // 2, z["window"] * 16, 16))
                if tls and not (ld.cipher == lx.cipher == lr.cipher):
                    raise CannotMeasure("different ciphers: %s, %s" % (ld.cipher, lx.cipher))
        t, target = self.table, TARGETS[name]
        # the TLS target is against the relay that knows no XML, the plain one against the one with expat
        t.ratio("%s: against relay + expat" % name, "us/msg", got["daemon"], got["expat"], 1e3, None if tls else target)
        t.ratio("%s: against raw relay" % name, "us/msg", got["daemon"], got["raw"], 1e3, target if tls else None)
        t.ratio("%s: 16 in one write, + expat" % name, "us/msg", got["daemon16"], got["expat16"], 1e3, digits=2)

    def login(self):
        z = self.size
        got = {k: [] for k in ("direct", "starttls", "floor")}
        with Daemon(self, "login") as d, Floor(self, tls=True, bare=True) as f:
            d.accounts(z["logins"])
            for rep in range(z["reps"] + 1):
                for key, make in (("direct", lambda: Load(self, d, d.direct, "--tls")),
                                  ("starttls", lambda: Load(self, d, d.plain, "--starttls")),
                                  ("floor", lambda: self.floor_load(f))):
                    with make() as load:
                        cpu = load.connect(z["logins"])
                    if rep > 0:  # the first is to warm up
                        got[key].append(cpu)
                    time.sleep(0.5)  # the server closes what is gone
        self.table.ratio("login-tls: SCRAM-SHA-256, direct TLS", "us/login", got["direct"], got["floor"], 1e3,
                         TARGETS["login-tls"], 0)
        self.table.ratio("login-tls: SCRAM-SHA-256, STARTTLS", "us/login", got["starttls"], got["floor"], 1e3, None, 0)

    def hooks(self):
        """What a callout of chat costs: a message without TLS, with and without scripts that ask for it."""
        z, got = self.size, {}
        for i, (label, handlers) in enumerate((("no script", None),) + HOOKS):
            name = "hooks%d" % i
            (self.dir / name).mkdir()
            (self.dir / name / "bench_hook.lua").write_text("tandem.register { %s }\n" % handlers)
            with Daemon(self, name, scripts=handlers and 'script "hook" { source = "bench_hook" }') as d:
                d.accounts(z["sessions"])
                with self.xmpp(d) as load:
                    load.connect(z["sessions"])
                    got[label] = [load.chat(z["chat"], z["window"]) for _ in range(z["reps"])]
        plain = got["no script"]
        for label, values in got.items():
            self.table.ratio("hooks: " + label, "us/msg", values, plain, 1e3, None, digits=2)

    def per_session(self, server, load):
        few, many = self.size["idle"]
        load.connect(few)
        time.sleep(1)
        before = anonymous(server.pid)
        load.connect(many)
        time.sleep(1)
        return (anonymous(server.pid) - before) / (many - few)

    def idle(self):
        few, many = self.size["idle"]
        with Daemon(self, "idle") as d:
            d.accounts(many)
            with self.xmpp(d) as load:
                plain = self.per_session(d, load)
            d.restart()
            with self.xmpp(d, True) as load:
                tls = self.per_session(d, load)
        with Floor(self, tls=True, bare=True) as f, self.floor_load(f) as load:
            floor = self.per_session(f, load)
        self.table.absolute("idle-plain: %d sessions" % many, "B/session", plain, TARGETS["idle-plain"])
        self.table.absolute("idle-tls: %d sessions" % many, "B/session", tls, TARGETS["idle-tls"], floor)

    def scale(self):
        z, (few, many) = self.size, self.size["idle"]
        got = {k: [] for k in ("few", "many", "floor few", "floor many")}
        with Daemon(self, "scale") as d, Floor(self, expat=True) as f:
            d.accounts(many)
            for _ in range(z["scale_reps"]):
                for prefix, make in (("", lambda: self.xmpp(d)), ("floor ", lambda: self.floor_load(f))):
                    with make() as load:
                        for key, n in (("few", few), ("many", many)):
                            load.connect(n)
                            got[prefix + key].append(load.chat(z["scale_chat"], z["window"]))
                    time.sleep(1)
        label = "%d sessions against %d" % (many, few)
        self.table.ratio("scale: " + label, "us/msg", got["many"], got["few"], 1e3, TARGETS["scale"])
        self.table.ratio("scale: the relay + expat itself", "us/msg", got["floor many"], got["floor few"], 1e3)

    # one to many

    def fan_out(self, name, label, daemon, load, shapes):
        """shapes: (label, command of loadgen, window, gap in us).  The floor writes as many bytes as often."""
        n, reps = self.size["fan"], self.size["reps"]
        with Floor(self, fan=True) as f, self.floor_load(f) as lf:
            lf.connect(2 * n)
            for shape, command, count, window, gap in shapes:
                values, floors = [], []
                for _ in range(reps):
                    values.append(load.fan(command % (count, window, gap)))
                    floors.append(lf.fan("fan %d %d %d %d" % (count, window, gap, load.copy)))
                self.table.limit("%s: %d %s, %s" % (name, n, label, shape), "us/copy", values, floors, 1e3,
                                 *TARGETS[name])

    def presence(self):
        z, n = self.size, self.size["fan"]
        with Daemon(self, "presence") as d:
            d.accounts(n + 1)
            d.befriend(n)
            d.restart()
            with self.xmpp(d) as load:
                load.connect(n + 1)
                command = "news %d %d %d " + str(n)
                self.fan_out("presence", "subscribers", d, load, (
                    ("one at a time", command, z["quiet"], 1, 500), ("busy", command, z["loaded"], 10, 0)))

    def room(self):
        z, n = self.size, self.size["fan"]
        with Daemon(self, "room", rooms=True) as d:
            d.accounts(n)
            with self.xmpp(d) as load:
                load.connect(n)
                load.do("join bench@%s %d" % (ROOMS, n))
                command = "room %d %d %d"
                self.fan_out("room", "occupants", d, load, (
                    ("one at a time", command, z["quiet"], 1, 500), ("busy", command, z["loaded"], 10, 0)))

    # what a feature adds to a message

    def turns(self, a, b, count, window, burst=1):
        """Two loads in turns: CPU per message of both servers, and messages a second of the first."""
        got, rates = ([], []), []
        for _ in range(self.size["reps"]):
            for values, load in zip(got, (a, b)):
                values.append(load.chat(count, window, burst))
            rates.append(a.rate)
        return got[0], got[1], rates

    def archive(self):
        """The commits behind the last message count too (--settle)."""
        z, n = self.size, self.size["archive"]
        with Daemon(self, "archive-on", archive=True) as on, Daemon(self, "archive-off") as off:
            for d in (on, off):
                d.accounts(z["sessions"])
            with self.xmpp(on, False, "--settle") as lon, self.xmpp(off, False, "--settle") as loff:
                for load in (lon, loff):
                    load.connect(z["sessions"])
                w, wo, rates = self.turns(lon, loff, n, z["window"])
                w16, wo16, _ = self.turns(lon, loff, n, z["window"] * 16, 16)
        self.table.ratio("archive: on against off", "us/msg", w, wo, 1e3, TARGETS["archive"])
        self.table.ratio("archive: on against off, 16 in one write", "us/msg", w16, wo16, 1e3)
        self.table.info("archive: messages a second, two rows each", "/s", rates, 1, 0)

    def sm(self):
        z = self.size
        with Daemon(self, "sm-on") as on, Daemon(self, "sm-off") as off:
            for d in (on, off):
                d.accounts(z["sessions"])
            with self.xmpp(on, False, "--sm", "--settle") as lon, self.xmpp(off, False, "--settle") as loff:
                for load in (lon, loff):
                    load.connect(z["sessions"])
                w, wo, _ = self.turns(lon, loff, z["chat"], z["window"])
        self.table.ratio("sm: on against off", "us/msg", w, wo, 1e3, TARGETS["sm"])

    def storm(self):
        """All at once, TLS from the first byte, against the same number, 32 at a time."""
        z, n = self.size, self.size["storm"]
        calm, storm, rates, p99, memory = [], [], [], [], []
        with Daemon(self, "storm") as d:
            d.accounts(n)
            for rep in range(min(z["reps"], 3) + 1):
                got = {}
                for window in (n, 32):
                    time.sleep(1)  # those of the last round are gone
                    before = peak(d.pid, reset=True)
                    with Load(self, d, d.direct, "--tls", "--login-window", str(window)) as load:
                        got[window] = load.do("connect %d" % n)
                    got[window]["peak"] = peak(d.pid) - before
                if rep == 0:  # to warm up; but memory is what a fresh process needs
                    memory.append(got[n]["peak"] / n)
                    continue
                calm.append(got[32]["cpu_ns"] / n)
                storm.append(got[n]["cpu_ns"] / n)
                rates.append(n / got[n]["wall_ns"] * 1e9)
                p99.append(got[n]["p99_ns"])
        self.table.ratio("storm: %d logins at once, against 32" % n, "us/login", storm, calm, 1e3, TARGETS["storm"], 0)
        self.table.info("storm: logins a second", "/s", rates, 1, 0)
        self.table.info("storm: 99 of 100 were in after", "ms", p99, 1e6, 0)
        self.table.info("storm: memory at the peak", "B/login", memory, 1, 0)

    def before(self):
        """The plain message path of this build against another one's (--against)."""
        z = self.size
        for name, tls in (("chat-plain", False), ("chat-tls", True)):
            with Daemon(self, "now-" + name) as now, Daemon(self, "then-" + name, build=self.against) as then:
                for d in (now, then):
                    d.accounts(z["sessions"])
                with self.xmpp(now, tls) as ln, self.xmpp(then, tls) as lt:
                    for load in (ln, lt):
                        load.connect(z["sessions"])
                    w, wo, _ = self.turns(ln, lt, z["chat"], z["window"])
                    self.table.ratio("before: %s" % name, "us/msg", w, wo, 1e3, TARGETS["before"])
                    w, wo, _ = self.turns(ln, lt, z["chat"], z["window"] * 16, 16)
                    self.table.ratio("before: %s, 16 in one write" % name, "us/msg", w, wo, 1e3, digits=2)

    def milt(self, server, *args):
        r = subprocess.run([self.tool("miltload"), "--socket", server.milter, "--pid", str(server.pid), "--domain", DOMAIN,
                            *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           preexec_fn=pinned(LOAD_CORE))
        if r.returncode != 0:
            raise CannotMeasure("miltload: " + r.stderr.strip())
        return json.loads(r.stdout)

    def milter(self):
        notify = 'script "notify" { source = "tandem.notify" }'
        self.milter_one("milter-nobody", "no scripts", None)
        self.milter_one("milter-nobody", "MAIL and RCPT policy", 'script "policy" { source = "bench_policy" }')
        self.milter_one("milter-notify", "no account here", notify, judged=False)
        self.milter_one("milter-notify", "recipients online", notify, 100)

    def milter_one(self, name, label, scripts, online=0, judged=True):
        """Recipients are <online> accounts with a session each; 0: an address that is no account."""
        z = self.size
        args = ["--mails", str(z["mails"]), "--rcpts", str(max(online, 1))]
        values, floors = [], []
        with Daemon(self, re.sub(r"\W+", "-", name + "-" + label), True, scripts) as d:
            if online:
                d.accounts(online)
            steps = self.milt(d, "--probe")["steps"]
            with NoopMilter(self, steps) as noop, self.xmpp(d) as load:
                if online:
                    load.connect(online)
                for _ in range(z["reps"]):
                    r = self.milt(d, *args)
                    if set(r["verdicts"]) - {"c", "a"}:
                        raise CannotMeasure("verdicts %s" % r["verdicts"])
                    values.append(r["cpu_ns"] / r["mails"])
                    r = self.milt(noop, *args)
                    floors.append(r["cpu_ns"] / r["mails"])
        self.table.ratio("%s: %s (steps 0x%x)" % (name, label, steps), "us/mail", values, floors, 1e3,
                         TARGETS[name] if judged else None, 0)

    def peers(self):
        z = self.size
        for cls, program in ((Prosody, "prosody"), (Ejabberd, "ejabberdctl")):
            name = cls.__name__.lower()
            if shutil.which(program) is None:
                self.table.note("%s: not installed, skipped" % name)
                continue
            try:
                few, many = z["sessions"], z["sessions"] * 5
                with cls(self, many) as s, Load(self, s, s.port, *s.load_args) as load:
                    load.connect(few)
                    cpu = [load.chat(z["chat"] // 10, z["window"]) for _ in range(3)]
                    before = anonymous(s.pid)
                    load.connect(many)
                    memory = (anonymous(s.pid) - before) / (many - few)
            except CannotMeasure as e:
                self.table.note("%s: not comparable here: %s" % (name, e))
                continue
            self.table.info("peer %s: chat-plain" % name, "us/msg", cpu, 1e3)
            self.table.info("peer %s: idle-plain" % name, "B/session", [memory], 1, 0)


FIGURES = {
    "chat-plain": lambda b: b.chat(False), "chat-tls": lambda b: b.chat(True), "login": Bench.login, "idle": Bench.idle,
    "scale": Bench.scale, "presence": Bench.presence, "room": Bench.room, "archive": Bench.archive, "sm": Bench.sm,
    "storm": Bench.storm, "hooks": Bench.hooks, "milter": Bench.milter, "peers": Bench.peers, "before": Bench.before,
}


def machine(build):
    def run(*a):
        r = subprocess.run(a, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
        return r.stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = (build / ".flags").read_text() if (build / ".flags").exists() else ""
    return "\n".join([
        "machine:  %s, %d cores%s, Linux %s" % (cpu.group(1) if cpu else platform.machine(), os.cpu_count(),
                                               ", virtual" if "hypervisor" in Path("/proc/cpuinfo").read_text() else "",
                                               platform.release()),
        "compiler: %s, %s" % (run("cc", "--version").split("\n")[0], " ".join(re.findall(r"-O\S+|-fsanitize\S+", flags)[:2])),
        "commit:   %s%s" % (run("git", "rev-parse", "--short", "HEAD"),
                            " with changes" if run("git", "status", "--porcelain", "-uno") else ""),
        "load:     %s at the start" % " ".join(Path("/proc/loadavg").read_text().split()[:3]),
    ])


def raise_limits():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for want in (40000, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, max(want, hard)))
            break
        except (ValueError, OSError):  # not ours to raise
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def main():
    p = argparse.ArgumentParser(description="figures against the floor programs; see docs/bench.md")
    p.add_argument("--build", default="build")
    p.add_argument("--quick", action="store_true", help="a minute instead of a quarter of an hour")
    p.add_argument("--reps", type=int, help="turns per figure")
    p.add_argument("--only", help="comma-separated: " + ", ".join(FIGURES))
    p.add_argument("--against", metavar="DIR", help="the build folder of another commit, for the figure 'before'")
    p.add_argument("--json", help="write everything measured to this file")
    p.add_argument("--keep", action="store_true", help="keep the folder with configurations and logs")
    args = p.parse_args()
    wanted = args.only.split(",") if args.only else [f for f in FIGURES if f != "before" or args.against]
    if set(wanted) - set(FIGURES):
        p.error("--only: choose from " + ", ".join(FIGURES))
    if "before" in wanted and not args.against:
        p.error("before: --against says which build")
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    files = raise_limits()
    b = Bench(args)
    head = machine(b.build)
    print(head + "\n", flush=True)
    if os.cpu_count() < 2:
        b.table.note("one core only: server and load share it")
    if files < b.size["idle"][1] + 100:
        b.table.note("only %d descriptors: figures with many sessions will fail" % files)
    try:
        for name in wanted:
            try:
                FIGURES[name](b)
            except (CannotMeasure, OSError, subprocess.SubprocessError, ValueError) as e:
                b.table.fail(name, e)
    finally:
        if args.keep:
            print("kept: %s" % b.dir)
        else:
            shutil.rmtree(b.dir, ignore_errors=True)
    print("\n%s\nload:     %s at the end\n\n%s" % (head, " ".join(Path("/proc/loadavg").read_text().split()[:3]),
                                                 b.table.text()))
    if args.json:
        Path(args.json).write_text(json.dumps(dict(machine=head, rows=b.table.rows, notes=b.table.notes), indent=1))
    return 1 if b.table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
