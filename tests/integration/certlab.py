"""certlab - certificates for tests of servers: a CA, what it signs, what it should not, and TLSA data.

    ca = Authority(folder)
    pem = ca.server("a.test")                        # dNSName; a file with key, certificate and chain
    pem = ca.server(srv=("a.test",))                 # SRVName _xmpp-server.a.test
    pem = ca.server(xmpp=("a.test",), name="x")      # XmppAddr
    pem = ca.server("a.test", days=-1)               # expired
    pem = ca.server("a.test", self_signed=True)
    ca.tlsa(pem, 3, 1, 1)                            # "3 1 1 AB12..."

By the openssl command; as a script it prints the records of a file: certlab.py PEM [USAGE SELECTOR MATCHING]..."""
import hashlib
import pathlib
import subprocess
import sys
import time

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
# for "openssl ca", which alone sets dates in the past
CONFIG = """[ca]
default_ca = lab
[lab]
database = index.txt
new_certs_dir = .
default_md = sha256
unique_subject = no
rand_serial = yes
policy = any
[any]
commonName = optional
"""
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _openssl(*args, cwd=None, data=None):
    return subprocess.run(["openssl", *(str(a) for a in args)], check=True, capture_output=True, cwd=cwd,
                          input=data).stdout


def certificates(pem):
    """The certificates of a PEM file, one text each; the server's own is the first."""
    parts = pathlib.Path(pem).read_text().split(BEGIN)[1:]
    return [BEGIN + p.split(END)[0] + END + "\n" for p in parts]


def tlsa(pem, usage, selector, matching, which=0):
    """Presentation form of a TLSA record about certificate <which> of a file (RFC 6698 2.2)."""
    text = certificates(pem)[which].encode()
    if selector == 0:
        der = _openssl("x509", "-outform", "DER", data=text)
    else:
        key = _openssl("x509", "-pubkey", "-noout", data=text)
        der = _openssl("pkey", "-pubin", "-outform", "DER", data=key)
    if matching:
        der = hashlib.new({1: "sha256", 2: "sha512"}[matching], der).digest()
    return "%d %d %d %s" % (usage, selector, matching, der.hex().upper())


class Authority:
    """A CA, with an intermediate one that signs; all its files are in <folder>."""

    def __init__(self, folder, name="Lab CA", intermediate=True):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.n = 0
        (self.dir / "ca.cnf").write_text(CONFIG)
        (self.dir / "index.txt").touch()
        self.ca = self.dir / "ca.pem"  # what trusts this CA has as its tls_ca
        _openssl("req", "-x509", *CURVE, "-days", "60", "-subj", "/CN=" + name, "-keyout", self.dir / "ca.key", "-out",
                 self.ca)
        self.issuer, self.issuer_key, self.chain = self.ca, self.dir / "ca.key", self.ca.read_text()
        if intermediate:
            ext = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
            key, crt = self._sign("inter", name + " 2", ext, 50)
            self.issuer, self.issuer_key, self.chain = crt, key, crt.read_text()

    def _sign(self, base, cn, ext, days, self_signed=False):
        key, csr, crt = (self.dir / ("%s.%s" % (base, e)) for e in ("key", "csr", "crt"))
        (self.dir / "ext").write_text(ext)
        _openssl("req", *CURVE, "-subj", "/CN=" + cn, "-keyout", key, "-out", csr)
        start, end = (time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 86400 * d))
                      for d in (min(-1, days - 10), days))
        signer = ["-selfsign", "-keyfile", key] if self_signed else ["-cert", self.issuer, "-keyfile", self.issuer_key]
        _openssl("ca", "-batch", "-notext", "-config", self.dir / "ca.cnf", "-in", csr, "-out", crt,
                 "-startdate", start, "-enddate", end, "-extfile", self.dir / "ext", *signer, cwd=self.dir)
        return key, crt

    def server(self, *names, srv=(), xmpp=(), ip=(), days=30, self_signed=False, eku="serverAuth,clientAuth",
               name=None):
        """PEM file with key, certificate and chain; names are dNSNames.  days < 0: it ended that long ago."""
        self.n += 1
        base = name or "%s-%d" % ((*names, *srv, *xmpp, *ip, "none")[0].replace("*", "any").replace(":", "_"), self.n)
        san = ["DNS:" + n for n in names] + ["IP:" + n for n in ip]
        san += ["otherName:1.3.6.1.5.5.7.8.7;IA5:_xmpp-server." + n for n in srv]
        san += ["otherName:1.3.6.1.5.5.7.8.5;UTF8:" + n for n in xmpp]
        ext = "subjectAltName=%s\n" % ",".join(san) if san else ""
        ext += "extendedKeyUsage=%s\n" % eku if eku else "keyUsage=digitalSignature\n"
        key, crt = self._sign(base, "lab", ext, days, self_signed)
        pem = self.dir / (base + ".pem")
        pem.write_text(key.read_text() + crt.read_text() + ("" if self_signed else self.chain))
        pem.chmod(0o644)
        return pem

    def tlsa(self, pem, usage, selector=1, matching=1):
        """About the server's certificate for usages 1 and 3, about that of its CA for 0 and 2."""
        return tlsa(self.issuer if usage in (0, 2) else pem, usage, selector, matching)


def main(argv):
    if len(argv) < 2 or (len(argv) - 2) % 3:
        sys.exit(__doc__)
    kinds = [tuple(map(int, argv[i:i + 3])) for i in range(2, len(argv), 3)] or [(3, 1, 1), (2, 0, 1)]
    for usage, selector, matching in kinds:
        which = len(certificates(argv[1])) - 1 if usage in (0, 2) else 0
        print(tlsa(argv[1], usage, selector, matching, which))


if __name__ == "__main__":
    main(sys.argv)
