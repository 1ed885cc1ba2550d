"""test_docs - what the documentation says is so: reference pages, commands, links, names, examples."""
import difflib
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import lab  # noqa: E402
from lab import BUILD, ROOT, binary  # noqa: E402

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "HACKING.md", *DOCS.rglob("*.md")])
LAYERS = ("gateway", "conf", "store", "lua", "xmpp", "milter")
PATH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "")
# what an example adds to: everything else a working configuration needs
BASE = """
hostname = "mx.example.org"
data_dir = "%s"
xmpp {}
xmpp_listener { AuthParameters = [ uri = "store://" ]  Listen "127.0.0.1:5222" {} }
control_listener { Listen "/run/tandem/control.sock" {} }
domain "example.org" { XMPP_Role = "server" }
"""


def rel(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, kind):
    """(line number, text) of the page's fenced blocks of a kind."""
    text = page.read_text()
    for m in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if m[1] == kind:
            yield text[:m.start()].count("\n") + 2, m[2]


def commands(page):
    """(line number, words) of every command in the page's shell blocks, comments taken off."""
    for line, text in blocks(page, "sh"):
        for i, cmd in enumerate(text.splitlines()):
            words = re.sub(r"(^|\s)#.*", "", cmd).replace("'", " ").replace('"', " ").split()
            while words and (words[0] in ("sudo",) or re.match(r"[A-Z_]+=", words[0])):
                words = words[1:]
            if words:
                yield line + i, words


def run(*args, **kw):
    return lab.checked(subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                      timeout=60 * lab.SLOW, cwd=ROOT, **kw))


class Reference(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix="docs-", dir=BUILD)
        cls.addClassCleanup(cls.tmp.cleanup)
        # an absolute build folder: gendocs works from the root of the tree
        r = run("sh", "tools/gendocs.sh", str(BUILD), cls.tmp.name)
        if r.returncode != 0:
            raise AssertionError("tools/gendocs.sh: %s" % r.stdout)
        cls.said = r.stdout

    def test_up_to_date(self):
        """docs/reference is what the sources say; make docs mends it."""
        for name in ("config.md", "xeps.md", "events.md", "doap.xml"):
            with self.subTest(page=name):
                diff = difflib.unified_diff((DOCS / "reference" / name).read_text().splitlines(), (Path(self.tmp.name) / name).read_text().splitlines(),
                                            "docs/reference/" + name, "what the sources say", "", "", 0)
                diff = list(diff)
                if diff:
                    self.fail("run make docs:\n" + "\n".join(x[:200] for x in diff[:20]) + ("\n..." if len(diff) > 20 else ""))

    def test_deterministic(self):
        with tempfile.TemporaryDirectory(dir=BUILD) as again:
            self.assertEqual(run("sh", "tools/gendocs.sh", str(BUILD), again).returncode, 0)
            for p in Path(again).iterdir():
                self.assertEqual(p.read_bytes(), (Path(self.tmp.name) / p.name).read_bytes())

    def test_events_have_meanings(self):
        """tools/events.txt explains every event, and nothing else."""
        self.assertEqual(self.said, "")

    def test_every_event_is_listed(self):
        """Looked for in another way than gendocs does."""
        listed = set(re.findall(r"^\| [^|]+ \| `([a-z0-9-]+)` \|", (DOCS / "reference" / "events.md").read_text(), re.M))
        for layer in LAYERS:
            for p in sorted((ROOT / layer).rglob("*.c")):
                for m in re.finditer(r'td_log_\w+\((?:[^";]|\([^)]*\))*?,\s*"([a-z0-9-]+)"', p.read_text()):
                    self.assertIn(m[1], listed, rel(p))

    def test_every_option_is_listed(self):
        page = (DOCS / "reference" / "config.md").read_text()
        names = re.findall(r'^\t\{ "(\w+)", CT_', (ROOT / "conf" / "options.c").read_text(), re.M)
        self.assertGreater(len(names), 100)
        for n in names:
            self.assertIn("| `%s` |" % n, page)
        self.assertEqual(page.count("\n| `"), len(names))

    def test_every_module_is_listed(self):
        page = (DOCS / "reference" / "xeps.md").read_text()
        for p in sorted((ROOT / "xmpp" / "xep").glob("xep_*.c")):
            self.assertIn(rel(p), page)


class Doap(unittest.TestCase):
    def test_doap(self):
        """XEP-0453: RDF/XML with every XEP of the list, its version and its status."""
        rdf, xmpp, doap = ("{%s}" % n for n in ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "https://linkmauve.fr/ns/xmpp-doap#",
                                                "http://usefulinc.com/ns/doap#"))
        root = ET.parse(DOCS / "reference" / "doap.xml").getroot()
        self.assertEqual(root.tag, rdf + "RDF")
        self.assertEqual(root.findtext(doap + "Project/" + doap + "name"), "Tandem")
        told = {}
        for x in root.iter(xmpp + "SupportedXep"):
            url = x.find(xmpp + "xep").get(rdf + "resource")
            told[re.fullmatch(r"https://xmpp\.org/extensions/xep-(\d{4})\.html", url)[1]] = x.findtext(xmpp + "version")
            self.assertIn(x.findtext(xmpp + "status"), ("complete", "partial"), url)
            self.assertRegex(x.findtext(xmpp + "version"), r"^\d+\.\d+(\.\d+)?$", url)
        page = (DOCS / "reference" / "xeps.md").read_text()
        listed = dict(re.findall(r"^\| \[(\d{4})\]\S* \| (\S*) \|", page, re.M))
        self.assertEqual(told, listed)
        self.assertIn("0453", told)


class Links(unittest.TestCase):
    def anchors(self, page):
        out = set()
        for h in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M):
            h = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", h).lower()
            out.add(re.sub(r"[^\w\- ]", "", h).replace(" ", "-"))
        return out

    def test_links_resolve(self):
        for page in PAGES:
            text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                to = (page.parent / path).resolve() if path else page
                with self.subTest(page=rel(page), link=target):
                    self.assertTrue(to.exists(), "no such file")
                    if anchor:
                        self.assertIn(anchor, self.anchors(to))

    def test_every_page_is_reached(self):
        """From docs/README.md, by links."""
        seen, todo = set(), [DOCS / "README.md"]
        while todo:
            page = todo.pop()
            if page in seen or page.suffix != ".md" or not page.exists():
                continue
            seen.add(page)
            todo += [(page.parent / t.partition("#")[0]).resolve() for t in re.findall(r"\]\(([^)\s:]+)\)", page.read_text())]
        self.assertEqual([rel(p) for p in PAGES if p not in seen and p.is_relative_to(DOCS)], [])

    def test_files_named_exist(self):
        """`folder/file.c` in a page is a file."""
        for page in PAGES:
            for name in re.findall(r"`((?:%s|tests|tools|docs)/[\w./-]+\.(?:c|h|py|sh|md|lua|conf|txt))`" % "|".join(LAYERS), page.read_text()):
                if re.search(r"_X\.|_NNNN|_name\.", name):
                    continue    # a pattern: test_X.c
                with self.subTest(page=rel(page), file=name):
                    self.assertTrue((ROOT / name).exists())


class Names(unittest.TestCase):
    def body(self, path):
        return (ROOT / path).read_text()

    def test_ways_in_architecture(self):
        """The two lists of functions: each name is defined in the file named behind it."""
        text = (DOCS / "architecture.md").read_text()
        found = re.findall(r"`(\w+)` \(([\w/]+\.c)\)", text)
        for title in ("The way of a stanza", "The way of a mail"):
            part = text.split("## " + title)[1].split("\n## ")[0]
            self.assertGreaterEqual(len(re.findall(r"^\d+\. .*`\w+` \([\w/]+\.c\)", part, re.M)), 10, title)
        for name, path in found:
            with self.subTest(name=name, file=path):
                self.assertTrue((ROOT / path).exists())
                self.assertRegex(self.body(path), r"(?m)^%s\(" % re.escape(name))

    def test_identifiers_exist(self):
        """A `word_with_underscore` of our own in a page for programmers is somewhere in the sources."""
        code = "".join(p.read_text(errors="replace") for layer in LAYERS for p in sorted((ROOT / layer).rglob("*")) if p.suffix in (".c", ".h", ".lua"))
        tests = "".join(p.read_text() for p in sorted((ROOT / "tests").rglob("*")) if p.suffix in (".c", ".h", ".py"))
        for page in [DOCS / "architecture.md", *sorted((DOCS / "hacking").glob("*.md")), *sorted((DOCS / "adr").glob("*.md"))]:
            for name in set(re.findall(r"`(?:struct |enum )?((?:td|conf|store|tlua|xmpp|milt|gw|gwl|lab)_\w+)(?:\[\]|\(\))?`", page.read_text())):
                with self.subTest(page=rel(page), name=name):
                    self.assertRegex(code + tests, r"\b%s\b" % re.escape(name))

    def test_tables_named_exist(self):
        for table, path in re.findall(r"`(\w+)\[\]`[^`|]*? `([\w/]+\.c)`", (DOCS / "hacking" / "start-here.md").read_text()):
            with self.subTest(table=table):
                self.assertRegex(self.body(path), r"\b%s\[" % re.escape(table))


class Commands(unittest.TestCase):
    """Every command in a shell block of README.md and the guide runs, or at least is there."""

    @classmethod
    def setUpClass(cls):
        cls.ctl_help = run(binary("tandemctl"), "--help").stdout
        cls.d_help = run(binary("tandemd"), "--help").stdout
        cls.makefile = (ROOT / "Makefile").read_text()

    def check_make(self, words):
        for w in words[1:]:
            if "=" not in w and not w.startswith("-"):
                self.assertRegex(self.makefile, r"(?m)^%s:" % re.escape(w))

    def check_tandemd(self, words):
        for w in words[1:]:
            if w.startswith("-"):
                self.assertRegex(self.d_help, r"(?m)(^|[ ,\[])%s\b" % re.escape(w))

    def check_tandemctl(self, words):
        words = words[1:]
        while words and words[0].startswith("-"):
            self.assertIn(words[0], self.ctl_help)
            words = words[2:] if words[0] == "-s" else words[1:]
        self.is_command(words)

    def is_command(self, words):
        if words[0] in ("summary", "version", "shutdown", "help"):
            self.assertIn(words[0], self.ctl_help)
            return
        # "config get|eval [SCOPE", "s2s list | milter list"
        self.assertRegex(self.ctl_help, r"\b%s (\w+\|)*%s\b" % (re.escape(words[0]), re.escape(words[1])))

    def test_commands(self):
        for page in (ROOT / "README.md", *sorted((DOCS / "guide").glob("*.md")), *sorted((DOCS / "hacking").glob("*.md"))):
            for line, words in commands(page):
                with self.subTest(page=rel(page), line=line, command=" ".join(words)):
                    name = Path(words[0]).name
                    check = getattr(self, "check_" + name, None)
                    if check:
                        check(words)
                    elif words[0] in ("sqlite3", "journalctl", "prosody-migrator", "ejabberdctl"):     # not installed for the tests
                        pass
                    else:
                        self.assertEqual(run("sh", "-c", "command -v " + words[0], env={"PATH": PATH}).returncode, 0, "no such program")

    def test_make_targets_of_help(self):
        """make help names targets that are there."""
        out = run("make", "-s", "help").stdout
        for target in re.findall(r"(?m)^\s*make ([a-z]+)", out):
            self.assertRegex(self.makefile, r"(?m)^%s:" % target)

    def test_scripts_of_the_makefile(self):
        for name in re.findall(r"\b((?:tools|tests)/[\w/]+\.(?:sh|py|service\.in))\b", self.makefile):
            with self.subTest(file=name):
                self.assertTrue((ROOT / name).exists())

    def test_readme_check_runs(self):
        """The README's own check of the shipped example."""
        for line, words in commands(ROOT / "README.md"):
            if words[0] == "build/tandemd" and "-t" in words:
                r = run(binary("tandemd"), *words[1:])
                self.assertEqual(r.returncode, 0, r.stdout)
                return
        self.fail("README.md checks no configuration")

    def test_every_ctl_command_is_explained(self):
        """docs/guide/tandemctl.md has what the server understands, no more and no less."""
        table = re.findall(r'^\t\{ \{ "(\w+)", (?:"(\w+)"|NULL) \}', (ROOT / "gateway" / "commands.c").read_text(), re.M)
        known = {" ".join(w for w in row if w) for row in table} | {"help", "account import"}  # these two are tandemctl's own
        page = (DOCS / "guide" / "tandemctl.md").read_text()
        told = {" ".join(re.match(r"([a-z0-9]+(?: [a-z]+)?)", c)[0].split()) for c in re.findall(r"^\| `([^`]*)` \|", page, re.M)}
        self.assertEqual(known, told)


class Examples(unittest.TestCase):
    """Every configuration shown is one that tandemd takes."""

    def check(self, name, text):
        with tempfile.TemporaryDirectory(dir=BUILD) as d:
            p = Path(d) / "tandem.conf"
            (Path(d) / "conf.d").mkdir()
            p.write_text(text.replace("@DATA@", d))
            r = run(binary("tandemd"), "-t", "-c", str(p))
            self.assertEqual(r.returncode, 0, "%s:\n%s" % (name, r.stdout))

    def test_blocks(self):
        n = 0
        for page in PAGES:
            for line, text in blocks(page, "conf"):
                n += 1
                with self.subTest(page=rel(page), line=line):
                    self.check(rel(page), text if "hostname" in text and "control_listener" in text else BASE % "@DATA@" + text)
        self.assertGreater(n, 5)

    def test_shipped(self):
        for p in sorted((ROOT / "conf" / "examples").glob("*.conf")):
            with self.subTest(file=p.name):
                r = run(binary("tandemd"), "-t", "-c", str(p))
                self.assertEqual(r.returncode, 0, r.stdout)

    def test_options_named_exist(self):
        """An `option = value` in the prose of the guide is an option."""
        names = set(re.findall(r'^\t\{ "(\w+)", CT_', (ROOT / "conf" / "options.c").read_text(), re.M))
        lua = "".join(p.read_text() for p in (ROOT / "lua" / "scripts").rglob("*.lua"))
        for page in sorted((DOCS / "guide").glob("*.md")):
            text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
            if page.name in ("postfix.md", "sendmail.md"):
                continue    # the MTAs' own options
            for name in re.findall(r"`(\w+) = ", text):
                with self.subTest(page=rel(page), option=name):
                    self.assertTrue(name.lower() in names or '"%s"' % name in lua)


class Readme(lab.Case):
    """The configuration and the commands of the first screen, on other ports and folders."""

    def test_first_screen(self):
        (_, text), = [b for b in blocks(ROOT / "README.md", "conf")]

        def config(d):
            out = text
            for old, new in (("/var/lib/tandem", str(d.data)), ("*:5222", "127.0.0.1:%d" % d.c2s_port), ("/run/tandem/control.sock", str(d.control)),
                             ("127.0.0.1:8892", "127.0.0.1:%d" % lab.free_port())):
                self.assertIn(old, out)
                out = out.replace(old, new)
            return 'log_file = "%s"\n%s' % (d.log, out)
        d = self.lab.daemon(config=config)
        done = 0
        for _, words in commands(ROOT / "README.md"):
            if words[0] == "build/tandemctl":
                d.ctl(*words[1:], stdin=lab.PASSWORD + "\n")
                done += 1
        self.assertEqual(done, 1)
        self.assertIn("ann@example.org", d.ctl("account", "list"))
        self.assertEqual(d.terminate(), 0, d.tail())


class Prose(unittest.TestCase):
    def test_lines(self):
        for page in PAGES:
            for i, line in enumerate(page.read_text().splitlines(), 1):
                with self.subTest(page=rel(page), line=i):
                    self.assertNotIn("\t ", line)
                    self.assertEqual(line, line.rstrip())

    def test_readme_is_short(self):
        self.assertLessEqual(len((ROOT / "README.md").read_text().splitlines()), 70)

    def test_start_here_is_two_screens(self):
        self.assertLessEqual(len((DOCS / "hacking" / "start-here.md").read_text().splitlines()), 70)


if __name__ == "__main__":
    lab.main()
