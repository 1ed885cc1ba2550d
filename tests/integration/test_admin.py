"""test_admin - exit status, configuration errors, signals and every tandemctl command."""
import json
import signal
import subprocess

import lab
import xmppc
from case import ServerCase, at
from lab import PASSWORD, binary


def run(*args, **kw):
    return lab.checked(subprocess.run([binary("tandemd"), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, timeout=30 * lab.SLOW, **kw))


class ExitStatus(lab.Case):
    """0 orderly stop, 1 configuration or start-up error with one clear line, 2 usage."""

    def stopped(self, **kw):
        return self.lab.daemon(lab.token("d"), start=False, milter=False, **kw)

    def test_usage(self):
        for args in ((), ("--no-such-option",), ("-c",), ("-c", "x", "surplus")):
            with self.subTest(args=args):
                r = run(*args, cwd=self.lab.dir)
                self.assertEqual(r.returncode, 2, r.stderr)
                self.assertTrue(r.stderr.strip())

    def test_help_and_version(self):
        r = run("--help")
        self.assertEqual(r.returncode, 0)
        self.assertIn("-c", r.stdout)
        r = run("--version")
        self.assertEqual(r.returncode, 0)
        self.assertRegex(r.stdout, r"\d+\.\d+")

    def test_missing_file(self):
        r = run("-f", "-c", str(self.lab.dir / "absent.conf"))
        self.assertEqual(r.returncode, 1)
        self.assertIn("absent.conf", r.stderr)

    def test_good_file_checks(self):
        d = self.stopped()
        r = run("-t", "-c", str(d.conf))
        self.assertEqual(r.returncode, 0, r.stderr + r.stdout)

    def test_errors_have_a_place(self):
        """Every error of the file at once, each as file:line:col: message."""
        d = self.stopped()
        good = d.conf.read_text().splitlines()
        lines = good + ['no_such_option_at_all = 1', 'domain "x.test" { XMPP_Role = "emperor" }', "workers = many"]
        d.write_config("\n".join(lines) + "\n")
        for args in (("-t", "-c", str(d.conf)), ("-f", "-c", str(d.conf))):
            with self.subTest(args=args[0]):
                r = run(*args)
                self.assertEqual(r.returncode, 1)
                out = r.stderr + r.stdout
                for n in range(len(good) + 1, len(lines) + 1):
                    self.assertRegex(out, r"(?m)tandem\.conf:%d:\d+: \S" % n)

    def test_syntax_errors(self):
        d = self.stopped()
        good = d.conf.read_text()
        for bad in ("xmpp {\n", "= 1\n", '"', "hostname = = 1\n", "domain { }}\n", "include \"absent.conf\"\n", "\0\1\2\n", "a [ b\n"):
            with self.subTest(bad=bad):
                d.write_config(good + bad)
                r = run("-t", "-c", str(d.conf))
                self.assertEqual(r.returncode, 1, r.stdout + r.stderr)
                self.assertRegex(r.stderr + r.stdout, r":\d+:\d+: ")

    def test_empty_file(self):
        """Nothing to serve is an error with a reason, or a server of nothing; never a crash."""
        d = self.stopped()
        d.write_config("")
        r = run("-t", "-c", str(d.conf))
        self.assertIn(r.returncode, (0, 1))

    def test_busy_port(self):
        a = self.lab.daemon(lab.token("d"), milter=False)
        b = self.stopped()
        b.write_config(b.conf.read_text().replace("127.0.0.1:%d" % b.c2s_port, "127.0.0.1:%d" % a.c2s_port))
        r = run("-f", "-c", str(b.conf))
        self.assertEqual(r.returncode, 1)
        out = r.stderr + r.stdout + b.log_text()
        self.assertIn(str(a.c2s_port), out)
        self.assertNotIn("event=ready", out)

    def test_unusable_data_dir(self):
        d = self.stopped()
        (d.dir / "file").write_text("")
        d.write_config(d.conf.read_text().replace(str(d.data), str(d.dir / "file" / "data")))
        r = run("-f", "-c", str(d.conf))
        self.assertEqual(r.returncode, 1)
        self.assertIn(str(d.dir / "file"), r.stderr + r.stdout + d.log_text())

    def test_corrupt_store(self):
        """A store that is none is a start-up error; it is not overwritten."""
        d = self.lab.daemon(lab.token("d"), milter=False)
        d.add_account("alice")
        self.assertEqual(d.terminate(), 0)
        files = [p for p in d.data.iterdir() if p.is_file() and p.stat().st_size > 4096]
        self.assertTrue(files, list(d.data.iterdir()))
        store = max(files, key=lambda p: p.stat().st_size)
        broken = b"this is no database" * 1000
        store.write_bytes(broken)
        r = run("-f", "-c", str(d.conf))
        self.assertEqual(r.returncode, 1)
        self.assertEqual(store.read_bytes(), broken)

    def test_missing_script(self):
        d = self.stopped(scripts='script "x" { source = "no.such.script" }')
        r = run("-f", "-c", str(d.conf))
        self.assertEqual(r.returncode, 1)
        self.assertIn("no.such.script", (r.stderr + r.stdout + d.log_text()).replace("no/such/script", "no.such.script"))

    def test_broken_script(self):
        d = self.stopped(scripts='script "x" { source = "broken" }')
        d.script("broken", "local x = = 1\n")
        r = run("-f", "-c", str(d.conf))
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr + r.stdout + d.log_text(), r"broken\.lua:1:")

    def test_dump_and_list(self):
        d = self.stopped(extra='component "c.lab.test" { secret = "very-hidden-42" }')
        r = run("--dump-config", "-c", str(d.conf))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("mx.lab.test", r.stdout)
        self.assertNotIn("very-hidden-42", r.stdout)
        r = run("--list-options")
        self.assertEqual(r.returncode, 0)
        for option in ("hostname", "data_dir", "workers"):
            self.assertIn(option, r.stdout.lower())

    def test_orderly_stop(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(sig=sig):
                d = self.lab.daemon(lab.token("d"), accounts=["alice"])
                c = xmppc.login(d.c2s_port, "alice")
                d.signal(sig)
                self.assertEqual(c.wait_eof(20), "system-shutdown")
                self.assertEqual(d.wait_exit(), 0, d.tail())

    def test_stop_with_streams_in_every_state(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False)
        raw = xmppc.Conn(d.c2s_port)
        opened = xmppc.Conn(d.c2s_port)
        opened.open()
        tls = xmppc.connect(d.c2s_port)
        authed = xmppc.authed(d.c2s_port, "alice")
        bound = xmppc.login(d.c2s_port, "alice", presence=False)
        sleeping = xmppc.login(d.c2s_port, "alice", sm=True)
        sleeping.cut()
        self.assertEqual(d.terminate(), 0, d.tail())
        for c in (opened, tls, authed, bound):
            self.assertEqual(c.wait_eof(), "system-shutdown")
        raw.wait_eof()

    def test_restart_finds_its_data(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False)
        self.assertEqual(d.terminate(), 0)
        d.start()
        xmppc.login(d.c2s_port, "alice").close()

    def test_certificate_is_kept(self):
        """The self-signed certificate is made once: clients may pin it."""
        d = self.lab.daemon(lab.token("d"), milter=False)

        def cert():
            c = xmppc.connect(d.c2s_port)
            der = c.sock.getpeercert(True)
            c.close()
            return der
        first = cert()
        d.terminate()
        d.start()
        self.assertEqual(cert(), first)

    def test_no_world_readable_secrets(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False)
        for p in d.data.rglob("*"):
            if p.is_file():
                self.assertEqual(p.stat().st_mode & 0o007, 0, "%s is open to everybody: %o" % (p, p.stat().st_mode))
        self.assertEqual(d.control.stat().st_mode & 0o007, 0)

    def test_no_passwords_on_disk(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False)
        xmppc.login(d.c2s_port, "alice").close()
        d.terminate()
        for p in d.dir.rglob("*"):
            if p.is_file():
                self.assertNotIn(PASSWORD.encode(), p.read_bytes(), p)


class Signals(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.d = lab_.daemon(accounts=["alice", "bob"])

    def add_domain(self, name):
        text = self.d.conf.read_text() + 'domain "%s" { XMPP_Role = "server" }\n' % name
        self.d.write_config(text)
        return text

    def served(self, domain):
        c = xmppc.Conn(self.d.c2s_port, domain=domain)
        try:
            c.open()
            return True
        except xmppc.Closed:
            self.assertEqual(c.stream_error, "host-unknown")
            return False
        finally:
            c.close()

    def test_hup_reloads(self):
        c = xmppc.login(self.d.c2s_port, "alice")
        self.addCleanup(c.close)
        self.assertFalse(self.served("second.test"))
        self.add_domain("second.test")
        self.d.signal(signal.SIGHUP)
        lab.wait_until(lambda: self.served("second.test"), text="the new domain to be served")
        c.sync()    # the session stayed

    def test_hup_with_broken_file_changes_nothing(self):
        good = self.d.conf.read_text()
        self.addCleanup(self.d.write_config, good)
        at_ = len(self.d.log_text())
        self.d.write_config(good + "nonsense {{{\n")
        self.d.signal(signal.SIGHUP)
        self.d.wait_log(r"tandem\.conf:\d+:\d+", after=at_)
        self.assertTrue(self.d.alive())
        xmppc.login(self.d.c2s_port, "bob").close()

    def test_usr1_reopens_the_log(self):
        old = self.d.log.with_suffix(".old")
        self.d.log.rename(old)
        self.d.signal(signal.SIGUSR1)
        lab.wait_until(self.d.log.exists, text="a new log file")
        xmppc.login(self.d.c2s_port, "bob").close()
        lab.wait_until(lambda: self.d.log.stat().st_size > 0, text="lines in the new log")
        old.unlink()

    def test_ctl_log_reopen(self):
        old = self.d.log.with_suffix(".old2")
        self.d.log.rename(old)
        self.d.ctl("log", "reopen")
        lab.wait_until(self.d.log.exists, text="a new log file")

    def test_pipe_and_child_signals_are_harmless(self):
        for s in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGWINCH):
            self.d.signal(s)
        xmppc.login(self.d.c2s_port, "bob").close()


class Ctl(ServerCase):
    options = {"milter": True, "submit": 9, "scripts": lab.NOTIFY_AND_ROUTE}

    def fails(self, *args, stdin="", status=None):
        r = self.d.ctl(*args, stdin=stdin, check=False)
        self.assertNotEqual(r.returncode, 0, r.stdout)
        if status:
            self.assertEqual(r.returncode, status, r.stderr)
        self.assertTrue((r.stderr + r.stdout).strip(), "an error without a word")
        return r

    def test_usage(self):
        self.fails(status=2)
        self.fails("no-such-command")
        self.fails("account", "no-such-thing")
        self.fails("account", "add")

    def test_no_server(self):
        r = lab.checked(subprocess.run([binary("tandemctl"), "-s", str(self.lab.dir / "absent.sock"), "version"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       timeout=30 * lab.SLOW))
        self.assertEqual(r.returncode, 1)
        self.assertIn("absent.sock", r.stderr)

    def test_version_and_summary(self):
        self.assertRegex(self.d.ctl("version"), r"\d+\.\d+")
        self.assertTrue(self.d.ctl("summary").strip())

    def test_json_everywhere(self):
        self.login()
        for cmd in (("version",), ("summary",), ("account", "list"), ("session", "list"), ("s2s", "list"), ("milter", "list"),
                    ("outbox", "list")):
            with self.subTest(cmd=cmd):
                self.d.ctl(*cmd, json_out=True)

    def test_json_error(self):
        r = self.d.ctl("--json", "account", "delete", "nobody-here@lab.test", check=False)
        self.assertNotEqual(r.returncode, 0)

    def test_account_life(self):
        jid = "life@lab.test"
        self.d.ctl("account", "add", jid, stdin="first-pw\n")
        self.assertIn(jid, self.d.ctl("account", "list").split())
        self.assertIn(jid, json.dumps(self.d.ctl("account", "list", json_out=True)))
        xmppc.login(self.port, "life", password="first-pw").close()
        self.fails("account", "add", jid, stdin="again\n")
        xmppc.login(self.port, "life", password="first-pw").close()
        self.d.ctl("account", "password", jid, stdin="second-pw\n")
        xmppc.login(self.port, "life", password="second-pw").close()
        self.d.ctl("account", "delete", jid)
        self.assertNotIn(jid, self.d.ctl("account", "list"))
        self.fails("account", "delete", jid)
        self.fails("account", "password", jid, stdin="x\n")

    def test_account_bad_names(self):
        for jid in ("@lab.test", "a b@lab.test", "x@@lab.test", "x@elsewhere.test", "x@lab.test/r", "lab.test", "x" * 1100 + "@lab.test"):
            with self.subTest(jid=jid):
                self.fails("account", "add", jid, stdin="pw\n")

    def test_account_bad_passwords(self):
        for pw in ("", "\n", "\x07\n"):
            with self.subTest(pw=pw):
                self.fails("account", "add", "badpw@lab.test", stdin=pw)
        self.assertNotIn("badpw@lab.test", self.d.ctl("account", "list"))

    def test_names_are_normalised(self):
        self.d.ctl("account", "add", "MiXed@LAB.test", stdin=PASSWORD + "\n")
        self.assertIn("mixed@lab.test", self.d.ctl("account", "list").split())
        self.fails("account", "add", "mixed@lab.test", stdin="x\n")

    def test_import(self):
        lines = "".join("imp%d@lab.test\tpw %d\n" % (i, i) for i in range(20))
        self.d.ctl("account", "import", stdin=lines)
        listed = self.d.ctl("account", "list").split()
        for i in range(20):
            self.assertIn("imp%d@lab.test" % i, listed)
        xmppc.login(self.port, "imp7", password="pw 7").close()

    def test_import_of_broken_lines(self):
        r = self.fails("account", "import", stdin="good1@lab.test\tpw\nno-tab-here\n@lab.test\tx\n")
        self.assertRegex(r.stderr + r.stdout, r"\b2\b")

    def test_export_moves_accounts(self):
        """What export prints, import of another server understands; passwords stay valid."""
        name = self.user()
        dump = self.d.ctl("account", "export")
        self.assertNotIn(PASSWORD, dump)
        other = self.lab.daemon(lab.token("d"), milter=False)
        self.addCleanup(other.stop_quietly)
        other.ctl("account", "import", stdin=dump)
        xmppc.login(other.c2s_port, name).close()

    def test_roster(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        text = self.d.ctl("roster", "export", a.bare)
        roster = json.loads(text)
        self.assertEqual(roster[b.bare]["subscription"], "both")
        new = {"x@lab.test": {"name": "X", "groups": ["G", "H"], "pending_requests": {}, "subscription": "none"},
               b.bare: {"name": "", "groups": [], "pending_requests": {}, "subscription": "both"}}
        name = self.user()
        self.d.ctl("roster", "import", at(name), stdin=json.dumps(new))
        again = json.loads(self.d.ctl("roster", "export", at(name)))
        self.assertEqual(again[b.bare]["subscription"], "both")
        got = self.login(name).roster()
        self.assertEqual(set(got), set(new))
        self.assertEqual({g.text for g in got["x@lab.test"]}, {"G", "H"})
        # b knows nothing of it: the probe of the login may have taken the "to" half away (RFC 6121 4.3.2)
        self.assertIn(got[b.bare].get("subscription"), ("both", "from"))
        self.assertEqual(json.loads(self.d.ctl("roster", "export", at(name)))["x@lab.test"]["name"], "X")

    def test_roster_errors(self):
        self.fails("roster", "export", "nobody-here@lab.test")
        self.fails("roster", "import", at(self.user()), stdin="{ not json")
        self.fails("roster", "import", at(self.user()), stdin='{"a@@b": {"subscription": "both"}}')
        self.fails("roster", "import", at(self.user()), stdin='{"a@b": {"subscription": "maybe"}}')

    def test_session_list_and_kick(self):
        c = self.login()
        self.assertIn(c.jid, self.d.ctl("session", "list"))
        self.assertIn(c.jid, json.dumps(self.d.ctl("session", "list", json_out=True)))
        self.d.ctl("session", "kick", c.jid)
        c.wait_end()
        lab.wait_until(lambda: c.jid not in self.d.ctl("session", "list"), text="the session to be gone")
        self.fails("session", "kick", c.jid)

    def test_kick_bare_ends_all(self):
        name = self.user()
        all_ = [self.login(name) for _ in range(3)]
        self.d.ctl("session", "kick", at(name))
        for c in all_:
            c.wait_end()

    def test_kicked_session_cannot_resume(self):
        name = self.user()
        c = self.login(name, sm=True)
        self.d.ctl("session", "kick", c.jid)
        c.wait_end()
        self.assertEqual(xmppc.local(self.authed(name).sm_resume(c)), "failed")

    def test_lists_of_nothing(self):
        for cmd in (("s2s", "list"), ("milter", "list"), ("outbox", "list")):
            self.d.ctl(*cmd)
        self.fails("outbox", "drop", "999999")
        self.fails("outbox", "retry", "999999")

    def test_config_get_eval(self):
        self.assertIn("mx.lab.test", self.d.ctl("config", "get", "hostname"))
        self.assertIn("2", self.d.ctl("config", "eval", "workers"))
        self.assertIn("server", self.d.ctl("config", "get", "domain", lab.DOMAIN, "XMPP_Role"))
        r = self.d.ctl("config", "get", "no_such_option", check=False)
        self.assertTrue((r.stdout + r.stderr).strip())

    def test_config_set_is_memory_only(self):
        before = self.d.conf.read_text()
        self.d.ctl("config", "set", "hostname", "mx2.lab.test")
        self.assertIn("mx2.lab.test", self.d.ctl("config", "get", "hostname"))
        self.assertEqual(self.d.conf.read_text(), before)
        self.d.ctl("config", "reload")
        self.assertNotIn("mx2.lab.test", self.d.ctl("config", "get", "hostname"))

    def test_config_set_refuses_nonsense(self):
        self.fails("config", "set", "workers", "many")
        self.fails("config", "set", "no_such_option", "1")
        self.assertIn("2", self.d.ctl("config", "eval", "workers"))

    def test_config_reload_of_broken_file(self):
        good = self.d.conf.read_text()
        self.addCleanup(self.d.write_config, good)
        self.d.write_config(good + "nonsense {{{\n")
        r = self.fails("config", "reload")
        self.assertRegex(r.stderr + r.stdout, r":\d+:\d+")
        self.assertIn("mx.lab.test", self.d.ctl("config", "get", "hostname"))

    def test_config_secrets_are_masked(self):
        self.d.ctl("config", "set", "domain", lab.DOMAIN, "XMPP_Dialback_Secret", "very-hidden-43")
        for cmd in (("config", "get", "domain", lab.DOMAIN, "XMPP_Dialback_Secret"), ("config", "showrecurse")):
            r = self.d.ctl(*cmd, check=False)
            self.assertNotIn("very-hidden-43", r.stdout + r.stderr)

    def test_log_level(self):
        self.d.ctl("log", "level", "debug")
        at_ = len(self.d.log_text())
        self.login()
        self.d.wait_log(r" debug ", after=at_)
        self.d.ctl("log", "level", "info")
        self.fails("log", "level", "shouting")

    def test_no_password_in_debug_log(self):
        self.d.ctl("log", "level", "debug")
        name = self.user()
        self.d.ctl("account", "password", at(name), stdin="debug-secret-44\n")
        xmppc.login(self.port, name, password="debug-secret-44").close()
        self.d.ctl("log", "level", "info")
        self.assertNotIn("debug-secret-44", self.d.log_text())

    def test_many_at_once(self):
        procs = [subprocess.Popen([binary("tandemctl"), "-s", str(self.d.control), "account", "list"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(30)]
        for p in procs:
            p.communicate(timeout=60 * lab.SLOW)
            self.assertEqual(p.returncode, 0)

    def test_garbage_on_the_control_socket(self):
        import socket
        for data in (b"\0" * 100000, b"A" * 3000000, b"\xff\xfe\n\n\n", b""):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(10)
            s.connect(str(self.d.control))
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
            s.close()
        self.d.ctl("version")

    def test_shutdown(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice"])
        c = xmppc.login(d.c2s_port, "alice")
        d.ctl("shutdown")
        self.assertEqual(c.wait_eof(20), "system-shutdown")
        self.assertEqual(d.wait_exit(), 0, d.tail())


if __name__ == "__main__":
    lab.main()
