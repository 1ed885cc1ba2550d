"""stockc - what the tests with clients written by others share: a CA those clients believe in, a Node.js
process that runs snippets of JavaScript, and programs in a terminal.
"""
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import threading
import time
from pathlib import Path

import lab
from lab import DOMAIN

NPM = Path(os.environ.get("TANDEM_NPM", Path.home() / ".cache" / "tandem-npm"))


def missing(*programs, npm=()):
    """Why tests with these cannot run here; None = they can."""
    for p in programs:
        if not shutil.which(p):
            return "%s is not installed (make setup)" % p
    for p in npm:
        if not (NPM / "node_modules" / p / "package.json").is_file():
            return "%s is not in %s (make setup)" % (p, NPM)
    return None


# --- certificates ----------------------------------------------------------------------------------

class Ca:
    """A CA in a folder, and one certificate of it for the test domain and the loopback address."""

    def __init__(self, folder):
        self.dir = Path(folder)
        self.pem, self.server = self.dir / "ca.pem", self.dir / "server.pem"
        (self.dir / "ext.cnf").write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:%s,DNS:*.%s,DNS:localhost,IP:127.0.0.1\n" % (DOMAIN, DOMAIN))
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._run("req", "-x509", *key, "-days", "2", "-subj", "/CN=Lab CA", "-keyout", "ca.key", "-out", "ca.pem")
        self._run("req", "-new", *key, "-subj", "/CN=" + DOMAIN, "-keyout", "server.key", "-out", "server.csr")
        self._run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                  "-extfile", "ext.cnf", "-out", "server.crt")
        self.server.write_text((self.dir / "server.crt").read_text() + (self.dir / "server.key").read_text())

    def _run(self, *args):
        subprocess.run(["openssl", *args], check=True, cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# --- Node.js ---------------------------------------------------------------------------------------

BRIDGE = r"""
import readline from "node:readline";
// What a client saw, in order; take() waits for the first that fits and leaves the others.
globalThis.Box = class {
	constructor() { this.items = []; this.waiting = []; this.all = []; }
	push(x) {
		this.all.push(x);
		const i = this.waiting.findIndex(w => w.test(x));
		if (i < 0) { this.items.push(x); return; }
		this.waiting.splice(i, 1)[0].done(x);
	}
	take(test, text) {
		const i = this.items.findIndex(x => test(x));
		if (i >= 0) return Promise.resolve(this.items.splice(i, 1)[0]);
		return new Promise((done, fail) => {
			const w = { test, done: x => { clearTimeout(t); done(x); } };
			const t = setTimeout(() => {
				this.waiting = this.waiting.filter(o => o !== w);
				fail(new Error(`nothing like ${text || test}; saw\n` + this.all.slice(-12).map(x => show(x).slice(0, 500)).join("\n")));
			}, LIMIT);
			this.waiting.push(w);
		});
	}
};
globalThis.show = x => { try { return typeof x === "string" ? x : x.toString().startsWith("[object") ? JSON.stringify(x) : x.toString(); } catch (e) { return String(e); } };
globalThis.LIMIT = Number(process.env.LIMIT);
globalThis.g = {};
const Fn = Object.getPrototypeOf(async function () {}).constructor;
const answer = (id, x) => process.stdout.write(JSON.stringify({ id, ...x }) + "\n");
process.on("unhandledRejection", e => process.stderr.write("unhandled: " + (e && e.stack || JSON.stringify(e)) + "\n"));
process.on("uncaughtException", e => process.stderr.write("uncaught: " + (e && e.stack || JSON.stringify(e)) + "\n"));
"""

# last: a preamble awaits its imports, and nothing may be asked of it before
LISTEN = r"""
readline.createInterface({ input: process.stdin }).on("line", line => {
	const { id, code, args } = JSON.parse(line);
	new Fn("a", code)(args).then(v => answer(id, { v: v === undefined ? null : v }),
		e => answer(id, { e: String(e && e.stack || (e && typeof e === "object" ? JSON.stringify(e) : e)) }));
}).on("close", () => process.exit(0));
"""


class Node:
    """One Node.js process; the certificates of <ca> are good."""

    def __init__(self, lab_, ca, preamble=""):
        self.err = open(lab_.dir / "node.log", "w+")
        self.limit = 25 * lab.SLOW      # xmpp.js derives keys in JavaScript
        self.proc = subprocess.Popen(
            ["node", "--no-warnings", "--input-type=module", "-e", BRIDGE + preamble + LISTEN], cwd=NPM, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.err, text=True, env=dict(os.environ, NODE_EXTRA_CA_CERTS=str(ca.pem), LIMIT=str(1000 * self.limit)))
        self.answers = {}
        self.cond = threading.Condition()
        self.last = 0
        self.over = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.proc.stdout:
            r = json.loads(line)
            with self.cond:
                self.answers[r["id"]] = r
                self.cond.notify_all()
        with self.cond:
            self.over = True
            self.cond.notify_all()

    def begin(self, code, *args):
        """Start a snippet (the body of an async function of the list a); end() has its value."""
        self.last += 1
        self.proc.stdin.write(json.dumps({"id": self.last, "code": code, "args": args}) + "\n")
        self.proc.stdin.flush()
        return self.last

    def end(self, n):
        with self.cond:
            if not self.cond.wait_for(lambda: n in self.answers or self.over, self.limit + 5):
                raise lab.TimedOut("Node.js does not answer\n" + self.errors())
            r = self.answers.pop(n, {"e": "it ended"})
        if "e" in r:
            raise AssertionError("in Node.js: %s\n%s" % (r["e"], self.errors()))
        return r["v"]

    def js(self, code, *args):
        return self.end(self.begin(code, *args))

    def errors(self):
        return Path(self.err.name).read_text()[-3000:]

    def close(self):
        self.proc.stdin.close()
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()
        self.err.close()


# --- programs in a terminal ------------------------------------------------------------------------

class Terminal:
    """A program on a screen of its own: what it shows is text, what we type are keys."""

    def __init__(self, folder, cmd, env=None, columns=150, lines=50):
        self.folder = Path(folder)
        self.sock = self.folder / "tmux.sock"
        env = {"HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "SHELL": "/bin/sh", **(env or {})}
        self.env = env
        (self.folder / "tmux.conf").write_text("set -g remain-on-exit on\nset -g status off\nset -g escape-time 0\nset -g history-limit 5000\n")
        self._tmux("-f", str(self.folder / "tmux.conf"), "new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(folder),
                   " ".join(map(shlex.quote, cmd)))
        self.pid = int(self._tmux("display-message", "-p", "#{pid}"))

    def _tmux(self, *args):
        r = subprocess.run(["tmux", "-S", str(self.sock), *args], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=30 * lab.SLOW)
        if r.returncode != 0:
            raise AssertionError("tmux %s: %s" % (args[0], r.stdout))
        return r.stdout

    def screen(self):
        return self._tmux("capture-pane", "-p", "-J", "-S", "-200")

    def see(self, pattern, timeout=20):
        """Wait until the screen or what scrolled away has the regular expression; returns the match."""
        return lab.wait_until(lambda: re.search(pattern, self.screen()), timeout, lambda: "%r on the screen:\n%s" % (pattern, self.screen()), step=0.05)

    def type(self, text, enter=True):
        self._tmux("send-keys", "-l", "--", text)
        if enter:
            self._tmux("send-keys", "Enter")

    def keys(self, *names):
        self._tmux("send-keys", *names)

    def close(self):
        try:
            self._tmux("kill-server")
        except AssertionError:
            pass
        lab.wait_until(lambda: not Path("/proc/%d" % self.pid).exists(), 10, "tmux ends")


class Lines:
    """A program without a screen: the lines it prints, as they come."""

    def __init__(self, cmd, env=None, cwd=None):
        self.lines, self.queue = [], queue.Queue()
        self.proc = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                     env=dict(os.environ, **(env or {})), cwd=cwd)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.proc.stdout:
            self.queue.put(line.rstrip("\n"))
        self.queue.put(None)

    def see(self, pattern, timeout=20):
        end = time.monotonic() + timeout * lab.SLOW
        while True:
            try:
                line = self.queue.get(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise lab.TimedOut("no line with %r in\n%s" % (pattern, "\n".join(self.lines))) from None
            if line is None:
                raise AssertionError("it ended, without a line with %r:\n%s" % (pattern, "\n".join(self.lines)))
            self.lines.append(line)
            m = re.search(pattern, line)
            if m:
                return m

    def close(self):
        self.proc.stdin.close()
        self.proc.terminate()
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()
