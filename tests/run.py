#!/usr/bin/python3
"""run - every test of the tree: units, fuzz corpora, lint of layers and calls, integration, documentation.

    tests/run.py --build build --san none|asan|tsan [--only NAME] [--jobs N]

One line per program or module while it goes; what a failed one printed follows its line.  The last
line is "N passed, N failed" or "N passed, N failed, N skipped"; the exit status is 1 when anything
failed or nothing ran.  --only keeps what has NAME in its name: a unit program (xmpp/test_jid), a
fuzz target, a lint script, a Python module, or single tests of a module (TestClass.test_x).
"""
import argparse
import ast
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNIT_TIMEOUT, MODULE_TIMEOUT, LINT_TIMEOUT = 300, 300, 300
SLOW = {"none": 1, "asan": 3, "tsan": 6}
LOG_LINES = 200


class Outcome:
    def __init__(self, name, passed=0, failed=0, skips=(), log="", note=""):
        self.name, self.passed, self.failed, self.skips, self.log, self.note = name, passed, failed, list(skips), log, note
        self.seconds = 0.0


class Job:
    """Something to run.  weight "side" jobs may run beside each other, two at a time."""

    def __init__(self, name, run):
        self.name, self.run = name, run


def environment(args):
    env = dict(os.environ, TANDEM_BUILD=str(args.build), TANDEM_SAN=args.san, LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1")
    supp = ROOT / "tests" / "tsan.supp"
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1")
    lsan = ROOT / "tests" / "lsan.supp"
    if lsan.exists():
        env.setdefault("LSAN_OPTIONS", "suppressions=%s:print_suppressions=0" % lsan)
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    env.setdefault("TSAN_OPTIONS", "halt_on_error=0:exitcode=66:second_deadlock_stack=1:history_size=4%s" % (
        ":suppressions=%s" % supp if supp.exists() else ""))
    if args.san == "asan":
        env["CK_FORK"] = "no"
    env["CK_DEFAULT_TIMEOUT"] = str(60 * SLOW[args.san])
    return env


children = set()
children_lock = threading.Lock()


def execute(cmd, env, timeout, cwd=ROOT):
    """Run to the end or the time limit; (status or None, output)."""
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(cmd, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                             start_new_session=True)
        with children_lock:
            children.add(p)
        try:
            status = p.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            stop(p)
        finally:
            with children_lock:
                children.discard(p)
        out.seek(0)
        return status, out.read().decode("utf-8", "replace")


def stop(p):
    """End a process group of ours: politely first, so that it stops its own servers."""
    for sig, wait in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(p.pid, sig)
        except ProcessLookupError:
            return
        try:
            p.wait(wait)
            return
        except subprocess.TimeoutExpired:
            pass


def ended(status, limit):
    if status is None:
        return "still running after %d s" % limit
    if status < 0:
        return "killed by %s" % signal.Signals(-status).name
    return "exit status %d" % status


# --- units and fuzz corpora -----------------------------------------------------------------------------

CHECKS = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
REPLAYED = re.compile(r"^replayed (\d+) inputs", re.M)


def run_unit(program, args, env):
    limit = UNIT_TIMEOUT * SLOW[args.san]
    status, log = execute([str(program)], env, limit)
    sums = [tuple(map(int, m)) for m in CHECKS.findall(log)]
    passed = sum(n - f - e for n, f, e in sums)
    failed = sum(f + e for _, f, e in sums)
    if status != 0 and failed == 0:
        # a sanitizer's report, a crash or a time-out
        failed, log = 1, log + "\n(%s)" % ended(status, limit)
    if not sums and failed == 0:
        failed, log = 1, log + "\n(no line of counts)"
    return Outcome("", passed, failed, log=log, note="%d checks" % (passed + failed))


def run_corpus(program, corpus, args, env):
    if not corpus.is_dir():
        return Outcome("", 0, 1, log="no corpus %s" % corpus.relative_to(ROOT))
    limit = UNIT_TIMEOUT * SLOW[args.san]
    status, log = execute([str(program), str(corpus)], env, limit)
    m = REPLAYED.search(log)
    n = int(m.group(1)) if m else 0
    if status != 0 or n == 0:
        return Outcome("", 0, 1, log=log + "\n(%s, %d inputs)" % (ended(status, limit), n))
    return Outcome("", 1, 0, note="%d inputs" % n)


def run_script(cmd, args, env):
    status, log = execute(cmd, env, LINT_TIMEOUT)
    if status == 77:
        return Outcome("", 0, 0, [log.strip().splitlines()[-1] if log.strip() else "no reason given"])
    return Outcome("", int(status == 0), int(status != 0), log=log + ("" if status == 0 else "\n(%s)" % ended(status, LINT_TIMEOUT)))


# --- Python modules ---------------------------------------------------------------------------------------

def tests_of(path):
    """Class.method names of a module, without importing it."""
    out = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            out += ["%s.%s" % (node.name, f.name) for f in node.body
                    if isinstance(f, ast.FunctionDef) and f.name.startswith("test")]
    return out


def time_limit(path):
    """A module that needs more says so: TIME_LIMIT = seconds."""
    m = re.search(r"^TIME_LIMIT = (\d+)", path.read_text(), re.M)
    return int(m.group(1)) if m else MODULE_TIMEOUT


def run_module(path, names, args, env):
    limit = time_limit(path) * SLOW[args.san]
    fd, results = tempfile.mkstemp(prefix="results-", dir=args.build)
    os.close(fd)
    try:
        status, log = execute(["/usr/bin/python3", "-W", "ignore", str(path), *names], dict(env, TANDEM_RESULTS=results), limit,
                              path.parent)
        lines = [json.loads(line) for line in Path(results).read_text().splitlines()]
    finally:
        os.unlink(results)
    passed = sum(x["kind"] == "ok" for x in lines)
    failed = sum(x["kind"] == "fail" for x in lines)
    skips = ["%s: %s" % (x["test"].removeprefix("__main__."), x["text"]) for x in lines if x["kind"] == "skip"]
    if failed == 0 and (status != 0 or not lines):
        failed, log = 1, log + "\n(%s)" % ended(status, limit)
    elif status is None:
        failed, log = failed + 1, log + "\n(%s)" % ended(status, limit)
    return Outcome("", passed, failed, skips, log, "%d tests" % (passed + failed + len(skips)))


# --- what there is to do ------------------------------------------------------------------------------------

def collect(args, env):
    """(jobs for a processor alone, jobs that wait a lot), in order."""
    def wanted(name):
        return not args.only or args.only in name
    quick, side = [], []
    # the sources say what must exist: a program that was not built is a failure, not an absence
    for src in sorted((ROOT / "tests" / "unit").glob("*/test_*.c")):
        name = "%s/%s" % (src.parent.name, src.stem)
        program = args.build / "tests" / name
        if wanted(name):
            quick.append(Job("unit " + name, lambda p=program: run_unit(p, args, env) if p.exists()
                             else Outcome("", 0, 1, log="%s is not built" % p)))
    for src in sorted((ROOT / "tests" / "fuzz").glob("fuzz_*.c")):
        program = args.build / "tests" / src.stem
        if wanted(src.stem):
            corpus = ROOT / "tests" / "fuzz" / "corpus" / src.stem.removeprefix("fuzz_")
            quick.append(Job("corpus " + src.stem, lambda p=program, c=corpus: run_corpus(p, c, args, env) if p.exists()
                             else Outcome("", 0, 1, log="%s is not built" % p)))
    for script in ("layers.sh", "banned.sh"):
        if wanted("lint/" + script) and args.san == "none":
            quick.append(Job("lint " + script, lambda s=script: run_script(["sh", str(ROOT / "tests/lint" / s)], args, env)))
    for folder in ("integration", "docs"):
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            name = "%s/%s" % (folder, path.stem)
            if wanted(name):
                names = []
            else:
                names = [t for t in tests_of(path) if args.only in t]
                if not names:
                    continue
            side.append(Job("python " + name, lambda p=path, n=names: run_module(p, n, args, env)))
    for path in sorted((ROOT / "tests" / "docs").glob("*.sh")):
        if wanted("docs/" + path.name):
            side.append(Job("docs " + path.name, lambda p=path: run_script(["sh", str(p), str(args.build)], args, env)))
    return quick, side


print_lock = threading.Lock()


def perform(job):
    start = time.monotonic()
    try:
        o = job.run()
    except Exception as e:
        o = Outcome(job.name, 0, 1, log="tests/run.py: %r" % e)
    o.name, o.seconds = job.name, time.monotonic() - start
    with print_lock:
        word = "FAIL" if o.failed else "ok  " if o.passed else "skip"
        parts = [p for p in (o.note, "%d failed" % o.failed if o.failed else "", "%d skipped" % len(o.skips) if o.skips else "") if p]
        print("%s %s (%s%.1f s)" % (word, o.name, "".join(p + ", " for p in parts), o.seconds))
        for s in o.skips:
            print("     skipped: %s" % s)
        if o.failed:
            lines = o.log.rstrip().splitlines()
            if len(lines) > LOG_LINES:
                print("     | ... %d lines" % (len(lines) - LOG_LINES))
            for line in lines[-LOG_LINES:]:
                print("     | " + line)
        sys.stdout.flush()
    return o


def interrupted(signum, frame):
    with children_lock:
        for p in list(children):
            try:
                os.killpg(p.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
    os._exit(128 + signum)


def main():
    ap = argparse.ArgumentParser(usage="%(prog)s --build DIR [--san none|asan|tsan] [--only NAME] [--jobs N]")
    ap.add_argument("--build", default="build")
    ap.add_argument("--san", choices=("none", "asan", "tsan"), default="none")
    ap.add_argument("--only", default="")
    ap.add_argument("--jobs", type=int, default=2)
    args = ap.parse_args()
    args.build = Path(args.build).resolve()
    args.build.mkdir(parents=True, exist_ok=True)
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, interrupted)
    env = environment(args)
    quick, side = collect(args, env)
    outcomes = []
    for jobs in (quick, side):
        with concurrent.futures.ThreadPoolExecutor(max(1, min(args.jobs, 2))) as pool:
            outcomes += pool.map(perform, jobs)
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    skipped = sum(len(o.skips) for o in outcomes)
    bad = [o.name for o in outcomes if o.failed]
    print()
    if bad:
        print("failed: " + ", ".join(bad))
    if passed + failed + skipped == 0:
        print("nothing ran%s" % (" that has %r in its name" % args.only if args.only else ""))
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
    return 1 if failed or passed + failed + skipped == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
