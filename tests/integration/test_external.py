"""test_external - clients with certificates (XEP-0178 section 2)."""
import os
import subprocess
import tempfile

import lab
import xmppc
from case import ServerCase, at
from lab import DOMAIN
from xmppc import BIND2, SASL, SASL2, kid, local, nsof, show, text


def condition(e):
    return [local(c) for c in e if local(c) != "text"][0]


class Certs:
    """A CA, and certificates of it; made once."""
    dir = None

    @classmethod
    def run(cls, *args, **kw):
        subprocess.run(["openssl", *args], check=True, cwd=cls.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)

    @classmethod
    def make(cls):
        if cls.dir is None:
            cls.keep = tempfile.TemporaryDirectory(prefix="tandem-ca-")
            cls.dir = cls.keep.name
            for ca in ("ca", "other"):
                cls.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" + ca,
                        "-keyout", ca + ".key", "-out", ca + ".pem")
        return cls.dir

    @classmethod
    def cert(cls, name, addrs=(), emails=(), cn="somebody", ca="ca", days="2"):
        cls.make()
        with open(os.path.join(cls.dir, name + ".cnf"), "w") as f:
            alt = ["otherName.%d=1.3.6.1.5.5.7.8.5;UTF8:%s" % (i + 1, a) for i, a in enumerate(addrs)] + \
                  ["email.%d=%s" % (i + 1, e) for i, e in enumerate(emails)]
            f.write("[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=%s\n[ext]\nbasicConstraints=CA:FALSE\n%s%s" % (
                cn, "subjectAltName=@alt\n" if alt else "", "[alt]\n" + "\n".join(alt) + "\n" if alt else ""))
        cls.run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", name + ".cnf", "-keyout", name + ".key",
                "-out", name + ".csr")
        cls.run("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial", "-days", days,
                "-extfile", name + ".cnf", "-extensions", "ext", "-out", name + ".pem")
        c = xmppc.client_context()
        c.load_cert_chain(os.path.join(cls.dir, name + ".pem"), os.path.join(cls.dir, name + ".key"))
        return c


class Base(ServerCase):
    n = 0

    def with_cert(self, **kw):
        Base.n += 1
        c = self.conn()
        c.open()
        c.starttls(Certs.cert("c%d" % Base.n, **kw))
        c.open()
        return c

    def offered(self, c):
        return "EXTERNAL" in c.mechanisms(), "EXTERNAL" in c.authentication()

    def succeeds(self, c, user, authzid=b""):
        e = c.sasl("EXTERNAL", authzid)
        self.assertEqual(local(e), "success", show(e))
        c.open()
        self.assertResult(c.bind())
        self.assertEqual(c.bare, at(user))

    def fails(self, e, cond):
        self.assertEqual((local(e), condition(e)), ("failure", cond), show(e))


class Addr(Base):
    options = {"listener": 'tls_verify_mode = "optional"  tls_client_ca = "%s/ca.pem"' % Certs.make()}

    def test_one_address(self):
        user = self.user()
        c = self.with_cert(addrs=[at(user)])
        self.assertEqual(self.offered(c), (True, True))
        self.succeeds(c, user)
        self.succeeds(self.with_cert(addrs=[at(user)]), user, at(user).encode())
        self.succeeds(self.with_cert(addrs=[at(user).upper()]), user)

    def test_sasl2(self):
        for user in self.users(3):
            c = self.with_cert(addrs=[at(user)])
            e = c.authenticate2("EXTERNAL", b"", "<bind xmlns='%s'/>" % BIND2)
            self.assertEqual(local(e), "success", show(e))
            self.assertTrue(text(e, "authorization-identifier").startswith(at(user) + "/"))

    def test_several_addresses(self):
        """Item 10.2: then it says which."""
        one, two, other = self.users(3)
        both = [at(one), at(two), "x@elsewhere.test"]
        self.fails(self.with_cert(addrs=both).sasl("EXTERNAL", b""), "invalid-authzid")
        self.succeeds(self.with_cert(addrs=both), two, at(two).encode())
        self.fails(self.with_cert(addrs=both).sasl("EXTERNAL", at(other).encode()), "invalid-authzid")
        self.succeeds(self.with_cert(addrs=[at(one), "x@elsewhere.test"]), one)

    def test_not_ours(self):
        for kw in ({"addrs": ["x@elsewhere.test"]}, {"addrs": [DOMAIN]}, {"addrs": ["nonsense@@"]}, {}, {"emails": [at("x")]}, {"cn": "ann"},
                   {"addrs": [at("x")], "ca": "other"}):
            with self.subTest(kw=kw):
                c = self.with_cert(**kw)
                self.assertEqual(self.offered(c), (False, False))
                self.fails(c.sasl("EXTERNAL", b""), "invalid-mechanism")

    def test_without_certificate(self):
        c = self.connect()
        self.assertEqual(self.offered(c), (False, False))
        self.assertEqual(local(c.auth(self.user())), "success")

    def test_no_such_account(self):
        c = self.with_cert(addrs=[at("nobody-at-all")])
        self.fails(c.sasl("EXTERNAL", b""), "not-authorized")

    def test_bad_authzid(self):
        user = self.user()
        for data in (b"\xff\xff", b"a\0b", b"@@", at(user).encode() + b"/res", b"x" * 4000):
            with self.subTest(data=data[:10]):
                e = self.with_cert(addrs=[at(user)]).sasl("EXTERNAL", data)
                self.assertEqual(local(e), "failure")

    def test_password_still_works(self):
        user, other = self.users(2)
        c = self.with_cert(addrs=[at(other)])
        self.assertEqual(local(c.auth(user)), "success")


class Names(Base):
    options = {"listener": 'tls_verify_mode = "optional"  tls_client_ca = "%s/ca.pem"  client_cert_identity = "commonname"' % Certs.make()}

    def test_common_name(self):
        user = self.user()
        self.succeeds(self.with_cert(cn=user), user)
        self.succeeds(self.with_cert(cn=at(user)), user)
        self.assertEqual(self.offered(self.with_cert(cn="x@elsewhere.test")), (False, False))
        # an address, when there is one, goes first
        self.assertEqual(self.offered(self.with_cert(cn=user, addrs=["x@elsewhere.test"])), (False, False))


class Mail(Base):
    options = {"listener": 'tls_verify_mode = "optional"  tls_client_ca = "%s/ca.pem"  client_cert_identity = "email"' % Certs.make()}

    def test_mail_address(self):
        user = self.user()
        self.succeeds(self.with_cert(emails=[at(user)]), user)
        self.assertEqual(self.offered(self.with_cert(cn=user)), (False, False))


if __name__ == "__main__":
    lab.main()
