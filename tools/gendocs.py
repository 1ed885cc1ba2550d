#!/usr/bin/python3
"""gendocs - docs/reference/{config,xeps,events}.md and doap.xml from the tables of the program and its sources.

    tools/gendocs.py PROGRAM OUTDIR     PROGRAM prints the tables (tools/gendocs.c); see gendocs.sh

The pages depend on the sources only: same sources, same bytes.
"""
import re
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("gateway", "conf", "store", "lua", "xmpp", "milter")
MADE = "<!-- Made by `make docs`; do not edit. -->\n"


def sources(*suffixes):
    """(path below the root, text) of every source file of the daemon and tandemctl, sorted."""
    out = []
    for layer in LAYERS:
        for p in (ROOT / layer).rglob("*"):
            if p.suffix in suffixes and p.is_file():
                out.append((p.relative_to(ROOT).as_posix(), p.read_text()))
    return sorted(out)


def cell(s):
    return s.replace("|", "\\|")


# --- config.md --------------------------------------------------------------------------------------------

# What the parser alone needs to know of an option is no use of it.
TABLES = ("conf/options.c", "conf/check.c", "conf/scopes.c")


def served_scopes(code):
    """Stanzas that some part of the program looks for."""
    kinds = set(re.findall(r'conf_next(?:_in_domain)?\([^;]*?"(\w+)"', code)) | set(re.findall(r'"(\w+_listener)"', code)) | set(re.findall(r'conf_scope_kind\([^)]*\),\s*"(\w+)"', code))
    return {k.lower() for k in kinds} | {"global", "listen", "peer", "domain"}


def is_read(name, scopes, code, served):
    if not re.search(r'"%s"' % re.escape(name), code, re.I):
        return False
    # Listen and Peer stand inside a listener: that one counts
    own = [s for s in scopes if s not in ("listen", "peer")] or scopes
    return any(s in served for s in own)


CONFIG_HEAD = MADE + """
# Configuration options

Every option there is, from the table the parser itself uses (`conf/options.c`); `tandemd --list-options` prints the same. Names are
read without regard to case. *Scopes* says in which stanzas an option may stand: `Listen` is a `Listen` inside a listener, `Peer` a
`Peer` inside that. An option that is unset there is looked for in the stanza around it, and at last in the global scope; how that goes
in detail is in [the guide](../guide/configuration.md).

- *needs a restart*: a reload accepts the change and says that it waits for the next start.
- *ignored*: accepted so that older configurations load; it has no effect, and `tandemd -v -t` says so.
- *not used yet*: checked like every other option, but no part of the program looks at it today.
- *secret*: shown as `********` in every dump.

"""


def config_page(program):
    code = "".join(text for path, text in sources(".c", ".h", ".lua") if path not in TABLES)
    served = served_scopes(code)
    out = [CONFIG_HEAD]
    table = subprocess.run([program, "options"], check=True, capture_output=True, text=True).stdout
    for line in table.splitlines(keepends=True):
        m = re.match(r"\| `(\w+)` \| [^|]* \| ([^|]*) \|", line)
        if m and "(ignored)" not in line and not is_read(m[1], [s.strip().lower() for s in m[2].split(",")], code, served):
            line = line.removesuffix(" |\n") + " (not used yet) |\n"
        out.append(line)
    return "".join(out)


# --- xeps.md ------------------------------------------------------------------------------------------------

# What is done without a module of its own: number, version, what of it, the file that says so.
OTHERS = (
    ("0004", "2.13.2", "Data forms: read within limits, written, what is left out stays", "xmpp/form.c"),
    ("0048", "1.2", "Older bookmarks are views of those of XEP-0402", "xmpp/xep/xep_0402_bookmarks.c"),
    ("0059", "1.0", "Pages of results: archives, items, rooms, searches", "xmpp/rsm.c"),
    ("0068", "1.3.0", "Forms have their type, fields the types of the registry", "xmpp/form.c"),
    ("0082", "1.1.1", "Times are written in UTC, read with offsets and fractions", "gateway/base/loop.c"),
    ("0084", "1.1.4", "Avatars of users are published by PEP", "xmpp/xep/xep_0163_pep.c"),
    ("0085", "2.1", "Chat states pass, and are kept nowhere", "xmpp/message.c"),
    ("0106", "1.1.1", "Escaped addresses stand for mail addresses", "xmpp/jid.c"),
    ("0122", "1.0.2", "Open lists in the form of the archive are marked", "xmpp/xep/mam_query.c"),
    ("0124", "1.11.2", "Streams over HTTP", "gateway/http/bosh.c"),
    ("0128", "1.0.1", "Forms in disco#info, one of each type", "xmpp/xep/xep_0030_disco.c"),
    ("0153", "1.1.1", "The hash of the avatar is put into presence", "xmpp/xep/xep_0398_avatar.c"),
    ("0156", "1.4.0", "host-meta and host-meta.json name WebSocket and BOSH", "gateway/http/hostmeta.c"),
    ("0170", "1.0", "TLS, SASL, binding, in that order; no compression", "xmpp/c2s.c"),
    ("0178", "1.2", "Clients sign in by a certificate that names their account", "xmpp/sasl_external.c"),
    ("0182", "1.1", "Conditions of an application stand beside the defined one", "xmpp/stanza.c"),
    ("0184", "1.4.0", "Receipts are archived and copied; the server makes none", "xmpp/message.c"),
    ("0201", "1.0", "A conversation by mail is one thread", "gateway/bridge.c"),
    ("0203", "2.0", "Delay stamps on messages that waited", "xmpp/xep/xep_0160_offline.c"),
    ("0205", "1.0.2", "Limits before authentication: bytes, depth, time, connections, attempts", "gateway/listener.c"),
    ("0206", "1.4", "XMPP over BOSH", "gateway/http/bosh.c"),
    ("0222", "1.0", "Public data of users in nodes that are open", "xmpp/xep/pubsub_publish.c"),
    ("0223", "1.1.1", "Private data of users: publish-options are preconditions", "xmpp/xep/pubsub_publish.c"),
    ("0227", "1.1", "Whole accounts from and to other servers", "gateway/move_in.c"),
    ("0237", "1.3", "Roster versions, now part of RFC 6121", "xmpp/roster.c"),
    ("0318", "0.2", "Probes of clients are answered to those who may see, with the time of the presence", "xmpp/presence.c"),
    ("0333", "1.0.0", "Markers without a body are archived and copied", "xmpp/message.c"),
    ("0334", "1.0.0", "Hints: store, no-store, no-permanent-store, no-copy", "xmpp/message.c"),
    ("0353", "0.8.0", "Proposals of calls are archived, copied, and not held back", "xmpp/message.c"),
    ("0359", "0.7.0", "Ids of the archive on what is delivered; forged ones are taken out", "xmpp/xep/xep_0313_mam.c"),
    ("0368", "1.1.0", "TLS from the first byte: `use_ssl` on a Listen", "gateway/conn.c"),
    ("0377", "0.4.1", "Reports with a block are logged", "xmpp/xep/xep_0191_blocking.c"),
    ("0380", "0.4.0", "Encrypted messages count as content", "xmpp/message.c"),
    ("0384", "0.9.1", "Device lists and bundles by PEP, open to those who ask", "xmpp/xep/xep_0163_pep.c"),
    ("0411", "1.1.0", "Bookmarks of private XML and PEP are kept in step", "xmpp/xep/xep_0402_bookmarks.c"),
    ("0424", "0.4.2", "Retractions are archived; in rooms a tombstone stays", "xmpp/xep/muc_mam.c"),
    ("0431", "0.2.0", "The text of the archive can be searched", "xmpp/xep/mam_query.c"),
    ("0438", "0.2.0", "SCRAM verifiers with random salts and 10000 rounds, made-up ones for unknown names, passwords of a least length", "xmpp/cred.c"),
    ("0440", "1.0.0", "Channel bindings are announced before SASL", "xmpp/c2s.c"),
    ("0441", "0.2.0", "What is archived: always, never, the roster's", "xmpp/xep/mam_prefs.c"),
    ("0444", "0.2.1", "Reactions are archived and copied", "xmpp/message.c"),
    ("0453", "0.1.2", "This list as a description of a project (docs/reference/doap.xml)", "xmpp/modules.c"),
    ("0474", "0.5.0", "SCRAM proves which mechanisms and bindings were announced", "xmpp/sasl_scram.c"),
)
# Not all of the XEP, and why.
PARTIAL = {
    "0033": "For clients of this server",
    "0060": "Collections are not there",
    "0122": "Open lists only",
    "0178": "No streams between servers yet",
    "0355": "Admin mode",
    "0368": "No streams between servers yet",
    "0485": "No streams between servers yet",
}


def modules(program):
    out = []
    for line in subprocess.run([program, "modules"], check=True, capture_output=True, text=True).stdout.splitlines():
        key, *values = line.split("\t")
        if key == "module":
            out.append({"name": values[0], "feature": [], "account-feature": [], "iq": []})
        elif key in ("feature", "account-feature"):
            out[-1][key].append(values[0])
        elif key == "iq":
            out[-1]["iq"].append(values)
        else:
            out[-1][key] = values[0]
    return out


def file_of(module, files):
    for path, text in files:
        if '.name = "%s"' % module in text:
            return path
    sys.exit("gendocs: no source file defines the module %s" % module)


def link(path):
    return "[`%s`](../../%s)" % (path, path)


def xep_link(number):
    return "[%s](https://xmpp.org/extensions/xep-%s.html)" % (number, number)


XEPS_HEAD = MADE + """
# Protocols

From the descriptors in `xmpp/modules.c` and the files it lists. A feature that is not here is not there.

| XEP | Version | What | File |
|---|---|---|---|
"""


def xep_rows(program):
    """What is implemented: (number or RFC, version, what, file, module), sorted; and the modules."""
    files = sources(".c")
    names = {path for path, _ in files}
    mods = modules(program)
    rows = [(m["xep"] or "RFC", m["version"], m["doc"], file_of(m["name"], files), m["name"]) for m in mods]
    have = {r[0] for r in rows}
    for n, _, _, path in OTHERS:
        if path not in names:
            sys.exit("gendocs: XEP-%s is said to be in %s, which is not there" % (n, path))
    rows += [(n, version, what, path, "") for n, version, what, path in OTHERS if n not in have]
    return sorted(rows, key=lambda r: (r[0] != "RFC", r[0], r[4])), mods


def xeps_page(program):
    out = [XEPS_HEAD]
    rows, mods = xep_rows(program)
    for xep, version, doc, path, name in rows:
        which = xep_link(xep) if xep != "RFC" else "RFC 6121" if version else "-"
        out.append("| %s | %s | %s | %s |\n" % (which, version, cell(doc), link(path)))
    out.append("\nBelow all of this: RFC 6120 (streams, TLS, SASL, binding: `xmpp/c2s.c`, `xmpp/sasl*.c`) and RFC 7622 addresses with the\n"
               "preparation of RFC 6122 (`xmpp/jid.c`).\n")
    out.append("\n## What service discovery tells\n\n| Feature | of our domains | of an account | Module |\n|---|---|---|---|\n")
    feats = {}
    for m in mods:
        for kind in ("feature", "account-feature"):
            for f in m[kind]:
                feats.setdefault(f, {"feature": [], "account-feature": []})[kind].append(m["name"])
    for f in sorted(feats):
        who = sorted(set(feats[f]["feature"] + feats[f]["account-feature"]))
        out.append("| `%s` | %s | %s | %s |\n" % (cell(f), "yes" if feats[f]["feature"] else "", "yes" if feats[f]["account-feature"] else "",
                                             ", ".join(who)))
    out.append("\n## Requests that are answered\n\n| Element | Namespace | iq | asked of | Module |\n|---|---|---|---|---|\n")
    for m in mods:
        for name, ns, types, to in m["iq"]:
            out.append("| `%s` | `%s` | %s | %s | %s |\n" % (name, ns, ", ".join(types.split()), ", ".join(to.replace("(its own only)", "").split())
                                                        + (" (its owner only)" if "own only" in to else ""), m["name"]))
    return "".join(out)


# --- doap.xml (XEP-0453) ------------------------------------------------------------------------------------

DOAP_HEAD = """<?xml version='1.0' encoding='UTF-8'?>
<!-- Made by `make docs`; do not edit. -->
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>Tandem</name>
    <shortdesc xml:lang='en'>XMPP server and mail filter in one daemon</shortdesc>
    <description xml:lang='en'>An XMPP server for clients and a milter for Postfix or Sendmail, with one address for mail and chat.</description>
    <language>en</language>
    <programming-language>C</programming-language>
    <os>Linux</os>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
"""
RFCS = ("6120", "6121", "6122", "7395")


def doap(program):
    out = [DOAP_HEAD]
    out += ["    <implements rdf:resource='https://xmpp.org/rfcs/rfc%s.html'/>\n" % n for n in RFCS]
    for xep, version, doc, _, _ in xep_rows(program)[0]:
        if xep == "RFC":
            continue
        note = PARTIAL.get(xep, doc).replace("`", "")
        out.append("    <implements>\n      <xmpp:SupportedXep>\n"
                   "        <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-%s.html'/>\n"
                   "        <xmpp:status>%s</xmpp:status>\n        <xmpp:version>%s</xmpp:version>\n"
                   "        <xmpp:note xml:lang='en'>%s</xmpp:note>\n"
                   "      </xmpp:SupportedXep>\n    </implements>\n"
                   % (xep, "partial" if xep in PARTIAL else "complete", escape(version), escape(note)))
    out.append("  </Project>\n</rdf:RDF>\n")
    return "".join(out)


# --- events.md ------------------------------------------------------------------------------------------------

MEANINGS = dict(line.rstrip("\n").split("\t", 1) for line in (ROOT / "tools" / "events.txt").read_text().splitlines(keepends=True)
                if line.strip() and not line.startswith("#"))
CALL = re.compile(r'td_log_(error|warn|notice|info|debug)\(\s*([^,"]+?)\s*,\s*"([a-z0-9-]+)"\s*,\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', re.S)
CONTEXT = re.compile(r'(?:static const struct td_logctx (\w+) =|(\S+)->log = \(struct td_logctx\))\s*\{[^}]*?"([a-z0-9.]+)"')
# whose log "X->log" is, where the file itself does not say
OWNERS = {"gw": "tandem", "gw.log": "tandem", "env": "xmpp", "s->log": "milter", "c->log": "xmpp.c2s", "xmpp_c2s_log(c)": "xmpp.c2s", "o->log": "outbox"}


def domain_of(path, text, ctx, shared):
    ctx = ctx.removeprefix("&").strip()
    for m in CONTEXT.finditer(text):
        if ctx == (m[1] or m[2] + "->log"):
            return m[3]
    if ctx in OWNERS:
        return OWNERS[ctx]
    owner = re.search(r"(\w+)->log$", ctx)
    if owner and owner[1] in OWNERS:
        return shared.get(owner[1], OWNERS[owner[1]])
    if ctx.endswith("o->log"):
        return OWNERS["o->log"]
    sys.exit("gendocs: %s logs to %s, of which tools/gendocs.py does not know the domain" % (path, ctx))


def events():
    """{(domain, name): {"levels": set, "fields": list, "files": set}}"""
    files = sources(".c", ".h")
    shared = {}
    for path, text in files:
        m = re.search(r'gw->log = \(struct td_logctx\)\s*\{[^}]*?"([a-z0-9.]+)"|\.log = \{ \.domain = "([a-z0-9.]+)"', text)
        if m and path.startswith("gateway/"):
            shared["gw"] = m[1] or m[2]
    out = {}
    for path, text in files:
        if path == "gateway/base/log.h":
            continue
        # every call must be understood: one that is not would be missing silently
        calls = len(re.findall(r"\btd_log_(?:error|warn|notice|info|debug)\(", text))
        found = list(CALL.finditer(text))
        if calls != len(found):
            sys.exit("gendocs: %s has %d calls of td_log_*, of which %d have a literal event and format" % (path, calls, len(found)))
        for m in found:
            level, ctx, name, fmt = m.groups()
            e = out.setdefault((domain_of(path, text, ctx, shared), name), {"levels": set(), "fields": [], "files": set()})
            e["levels"].add(level)
            e["files"].add(path)
            for f in re.findall(r"([a-z_-]+)=%?", "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', fmt))):
                if f not in e["fields"]:
                    e["fields"].append(f)
    return out


EVENTS_HEAD = MADE + """
# Log events

One line per event: time, level, domain, fields of the session or mail, then `event=NAME` and its own fields. Names are stable: match
them, not the text. How to read and filter the log is in [the guide](../guide/logs.md).

Every line of a stream also has `peer=` and, once known, `user=` and `sid=`; every line of a milter session `sid=`, and in a mail `mid=`
and the MTA's `qid=`. Scripts write events of their own in the domain `lua` (see [Lua](../lua.md)).

| Domain | Event | Level | Fields | Meaning | Source |
|---|---|---|---|---|---|
"""


def events_page():
    order = ("error", "warn", "notice", "info", "debug")
    out = [EVENTS_HEAD]
    all_ = events()
    for (domain, name), e in sorted(all_.items()):
        levels = ", ".join(x for x in order if x in e["levels"])
        files = ", ".join(link(f) for f in sorted(e["files"]))
        out.append("| %s | `%s` | %s | %s | %s | %s |\n" % (domain, name, levels, " ".join(e["fields"]), cell(MEANINGS.get(name, "")), files))
    named = {n for _, n in all_}
    for n in sorted(named - set(MEANINGS)):
        print("gendocs: event %s has no meaning in tools/events.txt" % n, file=sys.stderr)
    for n in sorted(set(MEANINGS) - named):
        print("gendocs: tools/events.txt explains %s, which nothing logs" % n, file=sys.stderr)
    return "".join(out)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, outdir = sys.argv[1], Path(sys.argv[2])
    for name, text in (("config.md", config_page(program)), ("xeps.md", xeps_page(program)), ("events.md", events_page()),
                       ("doap.xml", doap(program))):
        path = outdir / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main()
