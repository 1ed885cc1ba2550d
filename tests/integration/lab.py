"""lab - private mail servers, an SMTP sink and the daemon under test, all on loopback.

A Lab owns one folder below the build folder and every process started in it.  Nothing here
sleeps for a fixed time: wait_until() looks every 20 ms until a deadline.  Ports are taken below
the kernel's ephemeral range under a lock file, so modules running side by side never meet.

Environment: TANDEM_BUILD (default: build), TANDEM_SAN, TANDEM_DEBS (folder with the Sendmail
packages; default ~/.cache/tandem-debs), TANDEM_KEEP=1 keeps the folder, TANDEM_RESULTS names the
file to which main() appends one JSON line per test for tests/run.py.
"""
import atexit
import fcntl
import json
import os
import pwd
import random
import re
import shutil
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TANDEM_BUILD", ROOT / "build")).resolve()
SAN = os.environ.get("TANDEM_SAN", "none")
# Sanitizers slow the daemon down several times; deadlines follow.
SLOW = {"none": 1, "asan": 3, "tsan": 6}.get(SAN, 1)
DOMAIN = "lab.test"
PASSWORD = "s3cret-Pass"


class TimedOut(AssertionError):
    """A deadline passed; a test failure, not an error of the test."""


def wait_until(what, timeout=10.0, text="condition", step=0.02):
    """Return what() as soon as it is true; raise TimedOut with <text> after the deadline."""
    end = time.monotonic() + timeout * SLOW
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() >= end:
            raise TimedOut("not within %gs: %s" % (timeout * SLOW, text() if callable(text) else text))
        time.sleep(step)


def token(prefix="t"):
    """A word that occurs nowhere else."""
    return "%s%08x%08x" % (prefix, random.getrandbits(32), os.getpid())


# --- programs that broke by themselves ------------------------------------------------------

class Fault(AssertionError):
    """A program of ours crashed, or a sanitizer reported on it, whatever the test was about."""


REPORT = re.compile(r"^.*(?:ERROR: (?:Address|Leak)Sanitizer|WARNING: ThreadSanitizer|UndefinedBehaviorSanitizer"
                    r"|\.[ch]:\d+:\d+: runtime error: ).*$", re.M)
REPORT_STATUS = {66: "ThreadSanitizer", 99: "AddressSanitizer"}  # the exit codes tests/run.py asks for
REPORT_LINES = 60


def fault_of(status, output, sent=()):
    """What is wrong with a program that printed <output> and ended with <status> (None: it runs), or None.

    sent: signals we sent it ourselves.
    """
    m = REPORT.search(output)
    head = "\n".join(output[m.start() if m else 0:].splitlines()[:REPORT_LINES])
    if m:
        return head
    if status is not None and status < 0 and -status not in sent:
        return "killed by %s\n%s" % (signal.Signals(-status).name, head)
    if SAN != "none" and status in REPORT_STATUS:
        return "exit status %d, of %s\n%s" % (status, REPORT_STATUS[status], head)
    return None


def checked(r):
    """<r>, the result of subprocess.run on a program of ours; raises Fault if it broke."""
    text = "\n".join(t if isinstance(t, str) else t.decode(errors="replace") for t in (r.stdout, r.stderr) if t)
    fault = fault_of(r.returncode, text)
    if fault:
        raise Fault("%s: %s" % (" ".join(map(str, r.args)), fault))
    return r


# --- ports ---------------------------------------------------------------------------------

_port_locks = []


def free_port():
    """A loopback port of this process for its lifetime."""
    folder = BUILD / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(2000):
        port = random.randrange(20000, 32000)
        fd = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
        except OSError:
            os.close(fd)
            continue
        _port_locks.append(fd)
        return port
    raise RuntimeError("no free loopback port between 20000 and 32000")


def listening(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


# --- the folder ------------------------------------------------------------------------------

def _traversable(path):
    """True if other users can reach <path>, mail servers read it as one word, and a socket name below it fits sun_path."""
    if len(str(path)) > 55 or re.search(r"[^\w./+-]", str(path)):
        return False
    modes = [p.stat().st_mode for p in (path, *path.parents) if p.exists()]
    # Sendmail wants no world-writable folder above the milter's socket
    return all(m & stat.S_IXOTH for m in modes) and not any(m & stat.S_IWOTH for m in modes)


def _lab_base():
    """Below the build folder; elsewhere only when the mail servers' users could not get there.

    Not the system temporary directory: Sendmail refuses a milter socket below a world-writable
    folder.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    if _traversable(BUILD):
        return BUILD
    if os.geteuid() == 0:
        return Path("/var/lib")
    return BUILD


class Lab:
    """with Lab() as lab: ...   or   Lab() + close(), which raises Fault if a daemon had one."""
    open_labs = []

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="tandem-lab-", dir=_lab_base()))
        os.chmod(self.dir, 0o755)
        self._closers = []
        self._closed = False
        self.daemons = []
        Lab.open_labs.append(self)
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def defer(self, fn):
        """Run fn() at close(), last registered first."""
        self._closers.append(fn)
        return fn

    def close(self):
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        Lab.open_labs.remove(self)
        faults = []
        for fn in reversed(self._closers):
            try:
                fn()
            except Fault as e:
                faults.append(str(e))
            except Exception as e:  # go on: the other processes must be stopped too
                print("lab: while closing: %r" % e, file=sys.stderr)
        if os.environ.get("TANDEM_KEEP") != "1":
            shutil.rmtree(self.dir, ignore_errors=True)
        if faults:
            raise Fault("\n".join(faults))

    def postfix(self, **kw):
        return Postfix(self, **kw)

    def sendmail(self, **kw):
        return Sendmail(self, **kw)

    def sink(self, **kw):
        sink = Sink(**kw)
        self.defer(sink.close)
        return sink

    def daemon(self, name="d", **kw):
        return Daemon(self, name, **kw)


# --- Maildir and mail --------------------------------------------------------------------------

def parse_mail(data):
    return BytesParser(policy=policy.default).parsebytes(data)


def mail(subject="hello", body="hello\n", sender="carol@lab.test", to="alice@lab.test", **headers):
    """A plain mail; keyword In_Reply_To="<x>" becomes the header In-Reply-To."""
    m = EmailMessage()
    m["From"] = sender
    m["To"] = to if isinstance(to, str) else ", ".join(to)
    m["Subject"] = subject
    m["Message-ID"] = headers.pop("Message_ID", "<%s@client.test>" % token("m"))
    m["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    for k, v in headers.items():
        m[k.replace("_", "-")] = v
    m.set_content(body)
    return m


def text_of(m):
    """The text of a parsed mail, all text parts joined."""
    return "\n".join(p.get_content() for p in m.walk() if p.get_content_type() == "text/plain")


class Mta:
    """What Postfix and Sendmail have in common: a port and Maildirs."""
    port = None
    mail_dir = None

    def inject(self, m, sender=None, to=None, port=None):
        """Submit <m>; smtplib's exceptions tell of refusals.  Returns refused recipients."""
        sender = sender if sender is not None else m["From"]
        to = to or [a.strip() for a in m["To"].split(",")]
        with smtplib.SMTP("127.0.0.1", port or self.port, local_hostname="client.test", timeout=30 * SLOW) as s:
            return s.send_message(m, sender, [to] if isinstance(to, str) else to)

    def mails(self, user):
        """Every mail delivered to <user>, parsed, oldest first."""
        out = []
        folder = self.mail_dir / user / "new"
        try:
            names = sorted(folder.iterdir(), key=lambda p: (p.stat().st_mtime_ns, p.name))
        except FileNotFoundError:
            return out
        for p in names:
            if p.suffix != ".tmp":
                out.append(parse_mail(p.read_bytes()))
        return out

    def find(self, user, word):
        return [m for m in self.mails(user) if word in m.as_string() or word in (m["Subject"] or "")
                or word in text_of(m)]

    def wait_mail(self, user, word, timeout=15.0):
        """The first mail to <user> that has <word> in a header or its text."""
        return wait_until(lambda: self.find(user, word), timeout,
                          lambda: "mail with %r for %s; has subjects %r\n%s" % (
                              word, user, [m["Subject"] for m in self.mails(user)], self.log_tail()))[0]

    def log_tail(self, lines=40):
        return ""


# --- Postfix -------------------------------------------------------------------------------------

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {p}/spool
data_directory = {p}/data
maillog_file = {p}/log/mail.log
maillog_file_prefixes = {p}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.lab.test
mydomain = lab.test
myorigin = lab.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_transport = error:no local mail here
alias_maps =
alias_database =
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
disable_dns_lookups = yes
virtual_mailbox_domains = lab.test
virtual_mailbox_base = {p}/mail
virtual_mailbox_maps = texthash:{p}/etc/vmail
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
recipient_delimiter = +
transport_maps = inline:{{ {{ sink.test = discard: }}, {{ out.test = smtp:[127.0.0.1]:{outport} }}, {{ later@lab.test = smtp:[127.0.0.1]:{outport} }} }}
default_transport = error:5.1.2 no route in this lab
relay_domains = sink.test, out.test
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 2000
smtpd_timeout = 60s
in_flow_delay = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
bounce_queue_lifetime = 1h
destination_concurrency_failed_cohort_limit = 10000
smtpd_milters = {milter}
non_smtpd_milters = {non_smtpd}
internal_mail_filter_classes = {classes}
milter_default_action = tempfail
milter_connect_timeout = 5s
milter_command_timeout = 20s
milter_content_timeout = 40s
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{plain} inet n - n - - smtpd
  -o smtpd_milters=
postlog    unix-dgram n - n - 1 postlogd
pickup     unix n - n 60 1 pickup
cleanup    unix n - n - 0 cleanup
qmgr       unix n - n 300 1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
verify     unix - - n - 1 verify
flush      unix n - n 1000? 0 flush
proxymap   unix - - n - - proxymap
smtp       unix - - n - - smtp
relay      unix - - n - - smtp
showq      unix n - n - - showq
error      unix - - n - - error
retry      unix - - n - - error
discard    unix - - n - - discard
virtual    unix - n n - - virtual
lmtp       unix - - n - - lmtp
anvil      unix - - n - 1 anvil
scache     unix - - n - 1 scache
"""


def need_root(what):
    if os.geteuid() != 0:
        raise unittest.SkipTest("%s needs root" % what)


class Postfix(Mta):
    """A private Postfix.

    <users>@lab.test have Maildirs (others: 550 at RCPT), *@sink.test vanishes, *@out.test and
    later@lab.test go to 127.0.0.1:<outport>.  Port .port passes the milter, .plain does not.
    milter: socket path or None.  bounces=True shows Postfix's own bounces to the milter.
    """

    def __init__(self, lab, milter=None, outport=9, users="alice bob carol dave erin later", bounces=False):
        need_root("Postfix")
        if shutil.which("postfix", path="/usr/sbin:" + os.environ["PATH"]) is None:
            raise unittest.SkipTest("Postfix is not installed: apt-get install postfix")
        self.lab = lab
        self.dir = Path(tempfile.mkdtemp(prefix="pf", dir=lab.dir))
        os.chmod(self.dir, 0o755)
        self.etc = self.dir / "etc"
        self.mail_dir = self.dir / "mail"
        self.port = free_port()
        self.plain = free_port()
        nobody = pwd.getpwnam("nobody")
        for d in ("etc", "spool", "data", "log", "mail"):
            (self.dir / d).mkdir(mode=0o755)
        shutil.chown(self.dir / "data", "postfix")
        os.chown(self.mail_dir, nobody.pw_uid, nobody.pw_gid)
        spec = "unix:%s" % milter if milter else ""
        (self.etc / "main.cf").write_text(MAIN_CF.format(
            p=self.dir, uid=nobody.pw_uid, gid=nobody.pw_gid, outport=outport, milter=spec,
            non_smtpd=spec if bounces else "", classes="bounce" if bounces else ""))
        (self.etc / "master.cf").write_text(MASTER_CF.format(port=self.port, plain=self.plain))
        (self.etc / "vmail").write_text("".join("%s@lab.test %s/\n" % (u, u) for u in users.split()))
        self.started = False
        lab.defer(self.stop)
        self.start()

    def _postfix(self, *args):
        return subprocess.run(["/usr/sbin/postfix", "-c", str(self.etc), *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def start(self):
        r = self._postfix("start")
        if r.returncode != 0:
            raise RuntimeError("postfix start: %s\n%s" % (r.stdout, self.log_tail()))
        self.started = True
        wait_until(lambda: listening(self.port) and listening(self.plain), 10, "Postfix listening")

    def flush(self):
        """Try everything in the queue now (a destination that failed is left alone for a while)."""
        subprocess.run(["/usr/sbin/postqueue", "-c", str(self.etc), "-f"], stdin=subprocess.DEVNULL, timeout=60)

    def stop(self):
        if self.started:
            self.started = False
            self._postfix("stop")

    def set(self, **params):
        """Change main.cf parameters and reload; returns when new smtpd processes answer."""
        for k, v in params.items():
            subprocess.run(["/usr/sbin/postconf", "-c", str(self.etc), "-e", "%s=%s" % (k, v)], check=True)
        before = self.log_text().count("reload")
        self._postfix("reload")
        wait_until(lambda: self.log_text().count("reload") > before, 5, "Postfix reload")

    def log_text(self):
        try:
            return (self.dir / "log" / "mail.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=40):
        return "--- Postfix log\n" + "\n".join(self.log_text().splitlines()[-lines:])


# --- Sendmail ------------------------------------------------------------------------------------

LAB_MC = """\
divert(0)dnl
OSTYPE(`linux')dnl
DOMAIN(`generic')dnl
define(`confPID_FILE', `{p}/sendmail.pid')dnl
define(`QUEUE_DIR', `{p}/queue')dnl
define(`ALIAS_FILE', `{p}/etc/aliases')dnl
define(`HELP_FILE', `')dnl
define(`STATUS_FILE', `')dnl
define(`confSERVICE_SWITCH_FILE', `{p}/etc/service.switch')dnl
define(`confDOMAIN_NAME', `smx.lab.test')dnl
define(`confCW_FILE', `-o {p}/etc/local-host-names')dnl
define(`confCR_FILE', `-o {p}/etc/relay-domains')dnl
define(`confCT_FILE', `-o {p}/etc/trusted-users')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confDONT_BLAME_SENDMAIL', `AssumeSafeChown,GroupWritableDirPathSafe,GroupWritableAliasFile,WorldWritableAliasFile,RunProgramInUnsafeDirPath,RunWritableProgram')dnl
define(`confRUN_AS_USER', `root')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `background')dnl
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
define(`confREFUSE_LA', `200')define(`confQUEUE_LA', `200')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confLOG_LEVEL', `9')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {outport}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Family=inet, Addr=127.0.0.1, Port={port}, Name=MTA, M=')dnl
{milter}
MAILER(`local')dnl
MAILER(`smtp')dnl
LOCAL_RULE_0
R$+ < @ sink.test $* > $*\t\t$#labsink $: $1
R$+ < @ out.test $* > $*\t\t$#relay $@ [127.0.0.1] $: $1 < @ out.test > $3
Runknown < @ lab.test $* > $*\t\t$#error $@ 5.1.1 $: "550 User unknown"
R$+ + $* < @ lab.test $* > $*\t\t$#labbox $: $1
R$+ < @ lab.test $* > $*\t\t$#labbox $: $1
MAILER_DEFINITIONS
Mlabbox,\tP={p}/deliver.sh, F=lsDFMnSu:|/@, S=EnvFromL/HdrFromL, R=EnvToL/HdrToL, T=DNS/RFC822/X-Unix, A=deliver.sh $u
Mlabsink,\tP={p}/sink.sh, F=lsDFMnSu:|/@, S=EnvFromL/HdrFromL, R=EnvToL/HdrToL, T=DNS/RFC822/X-Unix, A=sink.sh $u
"""

DELIVER_SH = """#!/bin/sh
# $1 = user; message on stdin -> one file per message in mail/<user>/new
d={p}/mail/$1/new; umask 0; mkdir -p "$d"; f="$d/$(date +%s%N).$$"; cat > "$f.tmp" && mv "$f.tmp" "$f"
"""


def sendmail_debs():
    """The folder with the three packages, or SkipTest saying how to get them."""
    debs = Path(os.environ.get("TANDEM_DEBS", Path.home() / ".cache/tandem-debs"))
    for name in ("sendmail-bin", "sendmail-base", "sendmail-cf"):
        if not list(debs.glob(name + "_*.deb")):
            raise unittest.SkipTest("Sendmail's packages are not in %s: mkdir -p it, cd there, "
                                    "apt-get download sendmail-bin sendmail-base sendmail-cf" % debs)
    return debs


class Sendmail(Mta):
    """A private Sendmail unpacked from its packages (installing it would remove Postfix).

    Any user of lab.test but "unknown" has a folder like a Maildir; *@sink.test vanishes,
    *@out.test goes to 127.0.0.1:<outport>.
    """

    def __init__(self, lab, milter=None, outport=9):
        need_root("Sendmail")
        debs = sendmail_debs()
        for tool in ("m4", "unshare", "dpkg"):
            if shutil.which(tool) is None:
                raise unittest.SkipTest("Sendmail's lab needs the program %s" % tool)
        self.lab = lab
        self.proc = None
        self.dir = Path(tempfile.mkdtemp(prefix="sm", dir=lab.dir))
        os.chmod(self.dir, 0o755)
        self.mail_dir = self.dir / "mail"
        self.port = free_port()
        root = self.dir / "root"
        for d, mode in (("root", 0o755), ("etc", 0o755), ("queue", 0o700), ("mail", 0o777)):
            (self.dir / d).mkdir()
            os.chmod(self.dir / d, mode)
        for name in ("sendmail-bin", "sendmail-base", "sendmail-cf"):
            deb = sorted(debs.glob(name + "_*.deb"))[-1]
            subprocess.run(["dpkg", "-x", str(deb), str(root)], check=True)
        # a plain copy: the package's own is setgid
        self.bin = self.dir / "sendmail.bin"
        shutil.copyfile(root / "usr/libexec/sendmail/sendmail", self.bin)
        os.chmod(self.bin, 0o755)
        for name, text in (("deliver.sh", DELIVER_SH.format(p=self.dir)), ("sink.sh", "#!/bin/sh\nexec cat > /dev/null\n")):
            (self.dir / name).write_text(text)
            os.chmod(self.dir / name, 0o755)
        etc = self.dir / "etc"
        (etc / "service.switch").write_text("hosts files\naliases files\n")
        for name in ("aliases", "local-host-names", "relay-domains", "trusted-users"):
            (etc / name).write_text("")
        filt = "INPUT_MAIL_FILTER(`tandem', `S=unix:%s, F=T, T=C:5s;S:20s;R:20s;E:40s')dnl" % milter if milter else "dnl"
        (etc / "lab.mc").write_text(LAB_MC.format(p=self.dir, port=self.port, outport=outport, milter=filt))
        cf = root / "usr/share/sendmail/cf"
        with open(etc / "lab.cf", "w") as out:
            subprocess.run(["m4", "-D_CF_DIR_=%s/" % cf, str(cf / "m4/cf.m4"), str(etc / "lab.mc")], stdout=out,
                           stderr=subprocess.DEVNULL, check=True)
        lab.defer(self.stop)
        self.start()

    def start(self):
        # With an unqualified host name Sendmail sleeps a minute at start: give it its own.
        cmd = "hostname smx.lab.test; exec %s -bD -q1s -C %s/etc/lab.cf" % (self.bin, self.dir)
        self.out = open(self.dir / "out.log", "ab")
        self.proc = subprocess.Popen(["unshare", "--uts", "sh", "-c", cmd], stdin=subprocess.DEVNULL,
                                     stdout=self.out, stderr=subprocess.STDOUT, start_new_session=True)

        def up():
            if self.proc.poll() is not None:
                raise RuntimeError("sendmail: %s" % (self.dir / "out.log").read_text(errors="replace"))
            return listening(self.port)
        wait_until(up, 15, "Sendmail listening")

    def stop(self):
        if self.proc is None:
            return
        try:
            os.killpg(self.proc.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait()
        self.proc = None
        self.out.close()


# --- an SMTP server of our own --------------------------------------------------------------------

class Sink:
    """An SMTP server that keeps what it gets.

    refuse: {address or "*": "550 5.1.1 text"} answers that RCPT so (4xx or 5xx);
    data_reply: what to answer after the final dot (None = accept).
    .mails: list of (sender, [recipients], parsed mail).
    """

    def __init__(self, refuse=None, data_reply=None, port=None):
        self.refuse = dict(refuse or {})
        self.data_reply = data_reply
        self.mails = []
        self.rcpt_tries = []
        self.port = port or free_port()
        self.lock = threading.Lock()
        self.sock = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self.open = True
        self.conns = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.open = False
        # wakes accept()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for c in list(self.conns):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while self.open:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.conns.add(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            with conn, conn.makefile("rb") as f:
                self._dialogue(conn, f)
        except OSError:
            pass
        finally:
            self.conns.discard(conn)

    def _rcpt(self, addr):
        with self.lock:
            self.rcpt_tries.append(addr)
            return self.refuse.get(addr) or self.refuse.get("*")

    def _dialogue(self, conn, f):
        def say(text):
            conn.sendall(text.encode() + b"\r\n")
        sender, rcpts = None, []
        say("220 sink.test ESMTP")
        while True:
            line = f.readline()
            if not line:
                return
            text = line.decode("utf-8", "replace").strip()
            verb = text[:4].upper()
            if verb == "EHLO":
                say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES")
            elif verb in ("HELO", "NOOP"):
                say("250 2.0.0 ok")
            elif verb == "MAIL":
                sender, rcpts = _addr(text), []
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                reply = self._rcpt(_addr(text))
                if reply is None:
                    rcpts.append(_addr(text))
                say(reply or "250 2.1.5 ok")
            elif verb == "DATA":
                if not rcpts:
                    say("503 5.5.1 no recipients")
                    continue
                say("354 go on")
                data = b""
                while True:
                    line = f.readline()
                    if not line:
                        return
                    if line == b".\r\n":
                        break
                    data += line[1:] if line.startswith(b".") else line
                if self.data_reply:
                    say(self.data_reply)
                else:
                    with self.lock:
                        self.mails.append((sender, rcpts, parse_mail(data)))
                    say("250 2.0.0 kept")
                sender, rcpts = None, []
            elif verb == "RSET":
                sender, rcpts = None, []
                say("250 2.0.0 ok")
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("502 5.5.2 not here")

    def find(self, word):
        with self.lock:
            return [x for x in self.mails if word in x[2].as_string() or word in (x[2]["Subject"] or "")
                    or word in text_of(x[2])]

    def wait_mail(self, word, timeout=15.0):
        return wait_until(lambda: self.find(word), timeout, "mail with %r at the sink; has %r" % (
            word, [(m[0], m[1], m[2]["Subject"]) for m in self.mails]))[0]


def _addr(text):
    m = re.search(r"<([^>]*)>", text)
    return m.group(1) if m else ""


# --- the daemon ------------------------------------------------------------------------------------

NOTIFY_ONLY = 'script "notify" { source = "tandem.notify" }'
NOTIFY_AND_ROUTE = 'script "notify" { source = "tandem.notify" }\n  script "route" { source = "tandem.route" }'


def binary(name):
    path = BUILD / name
    if not path.exists():
        raise RuntimeError("%s is not built: run make first" % path)
    return str(path)


class Daemon:
    """tandemd with a configuration and folder of its own.

    scripts: text inside scriptlet {}, None = no scriptlet stanza.  submit: port mail is submitted
    to, None = no mail stanza; mail: more text inside mail {} (without it each line of chat is a
    mail at once).  extra: text at the end of the file; xmpp: text inside xmpp {}; listener: text
    inside xmpp_listener {}.  Rates are lifted: tests are in a hurry.  config: the whole file's text instead (a function of
    self).  milter=False leaves the milter listener out.
    """

    def __init__(self, lab, name="d", scripts=None, submit=None, extra="", xmpp="", listener="",
                 accounts=(), milter=True, start=True, config=None, top="", mail=""):
        self.lab = lab
        self.name = name
        self.dir = lab.dir / name
        self.dir.mkdir(mode=0o755)
        self.data = self.dir / "data"
        self.data.mkdir(mode=0o755)
        self.conf = self.dir / "tandem.conf"
        self.log = self.dir / "tandem.log"
        self.milter = self.dir / "milter.sock"
        self.control = self.dir / "control.sock"
        self.c2s_port = free_port()
        self.s2s_port = free_port()
        self.scripts, self.submit, self.extra, self.xmpp, self.listener = scripts, submit, extra, xmpp, listener
        self.top, self.mail = top, mail
        self.with_milter = milter
        self.proc = None
        self.starts = 0
        self.sent = set()   # signals of ours to the running process
        self.told = False   # its fault was raised
        self.write_config(config(self) if config else self.config_text())
        lab.daemons.append(self)
        lab.defer(self.stop_quietly)
        if start:
            self.start()
            for a in accounts:
                self.add_account(a)

    def config_text(self):
        out = ['hostname = "mx.lab.test"', 'data_dir = "%s"' % self.data, "workers = 2",
               'log_file = "%s"' % self.log, self.top, 
               "xmpp { stanza_rate = 1000000  byte_rate = 1000000000  %s }" % self.xmpp, "store { max_offline = 100000 }",
               "xmpp_listener {", '  AuthParameters = [ uri = "store://" ]', "  " + self.listener,
               '  Listen "127.0.0.1:%d" {}' % self.c2s_port, '  Listen "127.0.0.1:%d" {}' % self.s2s_port, "}"]
        if self.with_milter:
            out.append('milter_listener { Listen "%s" { file_mode = 0666 } }' % self.milter)
        out += ['control_listener { Listen "%s" {} }' % self.control,
                'domain "%s" { XMPP_Role = "server" }' % DOMAIN]
        if self.submit:
            out.append('mail { submit = "smtp://127.0.0.1:%d"  domains = ( "lab.test" "out.test" )  collect = 0  rate = "100000/60"'
                       '  correspondent_rate = "100000/60"  retry_interval = 1  max_retry_interval = 2  %s }' % (self.submit, self.mail))
        if self.scripts is not None:
            out.append('scriptlet "scriptlet" {\n  %s\n}' % self.scripts)
        out.append(self.extra)
        return "\n".join(out) + "\n"

    def write_config(self, text):
        self.conf.write_text(text)

    def script(self, name, text):
        """Write the scriptlet file <name>.lua beside the configuration."""
        (self.dir / (name + ".lua")).write_text(text)

    # -- running it

    def start(self, wait=True):
        self.check()
        self.starts += 1
        self.sent = set()
        self.told = False
        seen = self.log_text().count("event=ready")
        self.out_path = self.dir / ("out%d.log" % self.starts)
        with open(self.out_path, "wb") as out:
            self.proc = subprocess.Popen([binary("tandemd"), "-c", str(self.conf), "-f"], stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=subprocess.STDOUT, cwd=self.dir)
        if wait:
            self.wait_ready(seen)

    def wait_ready(self, seen=0):
        def ready():
            if self.log_text().count("event=ready") > seen:
                return True
            if self.proc.poll() is not None:
                raise AssertionError("tandemd ended with status %d at start\n%s" % (self.proc.returncode, self.tail()))
            return False
        wait_until(ready, 20, lambda: "event=ready in the log\n" + self.tail())

    @property
    def pid(self):
        return self.proc.pid

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def check(self):
        """Raise Fault, once for each process, if it crashed or a sanitizer reported something."""
        fault = self.proc and not self.told and fault_of(self.proc.poll(), self.output(), self.sent)
        if fault:
            self.told = True
            raise Fault("tandemd %s: %s\n%s" % (self.name, fault, self.tail()))

    def kill(self):
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.proc.wait()
        self.check()

    def signal(self, sig):
        self.sent.add(int(sig))
        self.proc.send_signal(sig)

    def terminate(self, timeout=20):
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def wait_exit(self, timeout=20):
        try:
            status = self.proc.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise TimedOut("tandemd still runs %gs after it was told to stop\n%s" % (timeout * SLOW, self.tail())) from None
        self.check()
        return status

    def stop_quietly(self):
        """End it if it runs; Fault if it did not end well."""
        if self.alive():
            self.signal(signal.SIGTERM)
            try:
                status = self.proc.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Fault("tandemd %s did not stop\n%s" % (self.name, self.tail())) from None
            self.check()
            if status not in (0, -signal.SIGTERM) and not self.told:
                raise Fault("tandemd %s stopped with status %d\n%s" % (self.name, status, self.tail()))
        self.check()

    # -- looking at it

    def log_text(self):
        try:
            return self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, timeout=10, after=0):
        """Wait for a log line matching the regular expression, beyond offset <after>."""
        return wait_until(lambda: re.search(pattern, self.log_text()[after:]), timeout,
                          lambda: "log line %r\n%s" % (pattern, self.tail()))

    def output(self):
        return self.out_path.read_text(errors="replace") if self.starts else ""

    def tail(self, lines=60):
        return "--- %s log\n%s\n--- %s output\n%s" % (
            self.name, "\n".join(self.log_text().splitlines()[-lines:]), self.name,
            "\n".join(self.output().splitlines()[-lines:]))

    # -- the operator's side

    def ctl(self, *args, stdin="", check=True, json_out=False, timeout=30):
        """Run tandemctl; returns its output (parsed with json_out), or the result with check=False."""
        cmd = [binary("tandemctl"), "-s", str(self.control)] + (["--json"] if json_out else []) + list(args)
        r = subprocess.run(cmd, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           timeout=timeout * SLOW)
        checked(r)
        if not check:
            return r
        if r.returncode != 0:
            raise AssertionError("tandemctl %s: status %d\n%s%s\n%s" % (
                " ".join(args), r.returncode, r.stdout, r.stderr, self.tail()))
        return json.loads(r.stdout) if json_out else r.stdout

    def add_account(self, jid, password=PASSWORD):
        if "@" not in jid:
            jid = "%s@%s" % (jid, DOMAIN)
        self.ctl("account", "add", jid, stdin=password + "\n")
        return jid


# --- unittest glue -----------------------------------------------------------------------------------

class Case(unittest.TestCase):
    """A test that fails with the tail of the daemons' logs, and also when a daemon broke meanwhile."""
    maxDiff = None
    lab = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.prepare(cls.lab)

    @classmethod
    def prepare(cls, lab):
        """Start what the class's tests share."""

    def _callTestMethod(self, method):
        try:
            super()._callTestMethod(method)
        except (unittest.SkipTest, Fault):
            raise
        except Exception as e:
            self._check_daemons()
            for v in list(vars(type(self)).values()) + list(vars(self).values()):
                if isinstance(v, Daemon):
                    e.args = ("%s\n%s" % (e.args[0] if e.args else e, v.tail()), *e.args[1:])
            raise
        self._check_daemons()

    @staticmethod
    def _check_daemons():
        for lab in Lab.open_labs:
            for d in lab.daemons:
                d.check()


def put_result(test, kind, text=""):
    """One JSON line per test, to $TANDEM_RESULTS."""
    path = os.environ.get("TANDEM_RESULTS")
    if path:
        with open(path, "a") as f:
            f.write(json.dumps({"test": test, "kind": kind, "text": text}) + "\n")


class _Result(unittest.TextTestResult):
    """Also tells tests/run.py of each test that ended."""

    def _put(self, test, kind, text=""):
        put_result(test.id(), kind, text)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._put(test, "ok")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._put(test, "fail", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._put(test, "fail", self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._put(test, "skip", reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._put(test, "ok")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._put(test, "fail", "unexpected success")

    def addSubTest(self, test, subtest, err):
        before = len(self.failures) + len(self.errors)
        super().addSubTest(test, subtest, err)
        if err is not None and len(self.failures) + len(self.errors) > before:
            lst = self.failures if issubclass(err[0], test.failureException) else self.errors
            self._put(subtest, "fail", lst[-1][1])


def main():
    """unittest.main with the result file for tests/run.py; daemons that tests share are stopped and checked too."""
    # A run that is told to stop still stops its servers (atexit).
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
    ok = unittest.main(testRunner=unittest.TextTestRunner(resultclass=_Result, verbosity=2), module="__main__",
                       exit=False).result.wasSuccessful()
    for lab in list(Lab.open_labs):
        try:
            lab.close()
        except Fault as e:
            ok = False
            print("FAIL: at the end: %s" % e, file=sys.stderr)
            put_result("at the end", "fail", str(e))
    sys.exit(0 if ok else 1)
