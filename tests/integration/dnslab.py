"""dnslab - a real DNS server (Debian's knot) on a loopback port, with zones given as text, signed or not.

    dns = dnslab.DnsLab(lab, {"a.example": '''
        _xmpp-server._tcp SRV 0 5 5269 x
        x A 127.0.0.1
    '''}, signed=["a.example"])
    lab.daemon(top=dns.options())

Every zone gets its SOA and NS; what no zone has does not exist (there is a root zone without anything).  Signed zones
are islands with a trust anchor of their own each; those named in <bogus> are signed, but not by the key of their anchor.
Times to live are 1 s.  Nothing is run as root that need not be, and everything lies in the lab's folder.
"""
import os
import random
import shutil
import socket
import struct
import subprocess
import unittest

from lab import free_port, wait_until

SOA = "$ORIGIN %s\n$TTL 1\n@ SOA ns hostmaster %d 60 60 600 1\n@ NS ns\nns A 127.0.0.1\n"


class DnsLab:
    _made = 0

    def __init__(self, lab, zones, signed=(), bogus=()):
        for tool in ("knotd", "keymgr", "knotc"):
            if shutil.which(tool) is None and not os.path.exists("/usr/sbin/" + tool):
                raise unittest.SkipTest("%s is not installed: apt-get install knot" % tool)
        DnsLab._made += 1
        self.dir = lab.dir / ("dns%d" % DnsLab._made)
        (self.dir / "db").mkdir(parents=True)
        (self.dir / "z").mkdir()
        self.port = free_port()
        self.serial = 1
        self.signed, self.bogus = list(signed) + list(bogus), list(bogus)
        self.zones = {".": "", **zones}
        self.conf = self.dir / "knot.conf"
        self.anchor = self.dir / "anchors.key"
        self._write_conf()
        for name in self.zones:
            self._write(name)
        self._make_keys()
        self.log = open(self.dir / "knot.log", "wb")
        self.proc = subprocess.Popen([self._tool("knotd"), "-c", str(self.conf)], stdout=self.log,
                                     stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        lab.defer(self.stop)
        for name in self.zones:
            wait_until(lambda: self._serves(name), text="the DNS server serves %s" % name)

    @staticmethod
    def _tool(name):
        return shutil.which(name) or "/usr/sbin/" + name

    def options(self, **more):
        """Lines for the configuration: this server is asked, and its anchors are believed."""
        anchor = str(self.anchor) if self.signed else "none"
        return 'dns_servers = ( "127.0.0.1@%d" )\ndnssec_trust_anchor = ( "%s" )\nhosts_file = "none"\n%s' % (
            self.port, anchor, "".join("%s = %s\n" % kv for kv in more.items()))

    def update(self, name, text):
        """Another text for a zone; returns when the server has it."""
        self.zones[name] = text
        self.serial += 1
        self._write(name)
        subprocess.run([self._tool("knotc"), "-c", str(self.conf), "-b", "zone-reload", name + "."], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, timeout=30)

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.log.close()

    # --- the server's files ---

    def _file(self, name):
        return self.dir / "z" / ("root" if name == "." else name)

    def _write(self, name):
        origin = name if name == "." else name + "."
        text = "\n".join(line.strip() for line in self.zones[name].splitlines())
        self._file(name).write_text(SOA % (origin, self.serial) + text + "\n")

    def _write_conf(self):
        out = ["server:\n    listen: 127.0.0.1@%d\n    rundir: %s\n    udp-workers: 1\n    tcp-workers: 1\n"
               "    background-workers: 1" % (self.port, self.dir),
               "control:\n    listen: %s/knot.sock" % self.dir,
               "database:\n    storage: %s/db" % self.dir,
               "log:\n  - target: stderr\n    any: info",
               "policy:\n  - id: p\n    algorithm: ecdsap256sha256\n    single-type-signing: on",
               "template:\n  - id: default\n    zonefile-sync: -1\n    journal-content: none", "zone:"]
        for name in self.zones:
            out.append("  - domain: %s\n    file: %s" % (name if name == "." else name + ".", self._file(name)))
            if name in self.signed:
                out.append("    dnssec-signing: on\n    dnssec-policy: p")
        self.conf.write_text("\n".join(out) + "\n")

    def _keymgr(self, *args):
        return subprocess.run([self._tool("keymgr"), "-c", str(self.conf), *args], check=True, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout

    def _make_keys(self):
        anchors = ""
        for name in self.signed:
            self._keymgr(name + ".", "generate", "ksk=yes", "zsk=yes", "algorithm=ecdsap256sha256")
            key = self._keymgr(name + ".", "dnskey").strip()
            if name in self.bogus:
                head, b64 = key.rsplit(" ", 1)
                key = head + " " + ("B" if b64[0] != "B" else "C") + b64[1:]
            anchors += key + "\n"
        self.anchor.write_text(anchors)

    # --- is it up? ---

    def _serves(self, name):
        labels = [] if name == "." else name.split(".")
        q = b"".join(bytes([len(x)]) + x.encode() for x in labels) + b"\0" + struct.pack(">HH", 6, 1)
        ident = random.getrandbits(16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            try:
                s.sendto(struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + q, ("127.0.0.1", self.port))
                answer = s.recv(4096)
            except OSError:
                return False
        return len(answer) > 12 and answer[:2] == struct.pack(">H", ident) and answer[3] & 15 == 0 and answer[7] > 0
