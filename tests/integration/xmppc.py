"""xmppc - XMPP clients for tests: a raw one that says exactly what it is told, and slixmpp.

Conn is one stream over a blocking socket: what arrives is cut into top-level elements
(xml.etree elements, names as {namespace}name) and queued; wait() takes the first that fits and
leaves the others, so a test can ask in any order.  Nothing is answered by itself but <r/> of
XEP-0198 when auto_ack is set.
"""
import asyncio
import base64
import ctypes
import hashlib
import hmac
import logging
import os
import queue
import re
import socket
import ssl
import struct
import threading
import time
import unittest
import warnings
import xml.etree.ElementTree as ET
from collections import deque
from xml.sax.saxutils import escape, quoteattr

import lab
from lab import DOMAIN, PASSWORD

CLIENT = "jabber:client"
SERVER = "jabber:server"
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"
BIND2 = "urn:xmpp:bind:0"
FAST = "urn:xmpp:fast:0"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
SM = "urn:xmpp:sm:3"
ROSTER = "jabber:iq:roster"
DELAY = "urn:xmpp:delay"
PING = "urn:xmpp:ping"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"

STANZAS = {"{%s}%s" % (ns, n) for ns in (CLIENT, SERVER) for n in ("message", "presence", "iq")}


class Closed(AssertionError):
    """The peer ended the stream or the connection while the test waited for more."""


# --- elements ------------------------------------------------------------------------------------

def local(e):
    return e.tag.rpartition("}")[2]


def nsof(e):
    return e.tag[1:].partition("}")[0] if e.tag.startswith("{") else ""


def kid(e, name, ns=None):
    """The first child called <name>, in <ns> or in the parent's namespace; None if absent."""
    return e.find("{%s}%s" % (ns or nsof(e), name))


def text(e, name="body"):
    """Text of the child <name>; None if absent."""
    c = kid(e, name)
    return None if c is None else (c.text or "")


def show(e):
    return ET.tostring(e, encoding="unicode")


def error_of(e):
    """(type, condition) of an error stanza; None if it is none."""
    err = kid(e, "error")
    if e.get("type") != "error" or err is None:
        return None
    for c in err:
        if nsof(c) == STANZA_ERRORS and local(c) != "text":
            return err.get("type"), local(c)
    return err.get("type"), None


def error_text(e):
    t = kid(e, "error").find("{%s}text" % STANZA_ERRORS)
    return "" if t is None else t.text or ""


def is_(name, **attrs):
    """A test for wait(): element <name> with these attributes; from_/type_ name from and type,
    None asks that the attribute be absent."""
    def test(e):
        return local(e) == name and all(e.get(k.rstrip("_")) == v for k, v in attrs.items())
    test.text = "<%s %s>" % (name, attrs)
    return test


def _sasl2(e):
    return nsof(e) == SASL2 or e.tag == "{%s}error" % STREAMS


def body_is(word):
    def test(e):
        return local(e) == "message" and word in (text(e) or "") + (text(e, "subject") or "")
    test.text = "message with %r" % word
    return test


# --- channel bindings ------------------------------------------------------------------------------

def tls_server_end_point(der):
    """RFC 5929 section 4: hash of the certificate by its signature's hash, SHA-256 at least."""
    def tlv(data, at):
        size, at = data[at + 1], at + 2
        if size & 0x80:
            n = size & 0x7f
            size, at = int.from_bytes(data[at:at + n], "big"), at + n
        return at, at + size
    inner, _ = tlv(der, 0)
    _, after_tbs = tlv(der, inner)
    alg, _ = tlv(der, after_tbs)
    start, end = tlv(der, alg)
    oid = der[start:end].hex()
    name = {"2a864886f70d01010c": "sha384", "2a8648ce3d040303": "sha384",
            "2a864886f70d01010d": "sha512", "2a8648ce3d040304": "sha512"}.get(oid, "sha256")
    return hashlib.new(name, der).digest()


def tls_exporter(sslsock):
    """RFC 9266.  The ssl module does not offer it: call OpenSSL on the SSL pointer that follows
    the socket reference in CPython's object."""
    lib = ctypes.CDLL("libssl.so.3")
    ptr = ctypes.c_void_p.from_address(id(sslsock._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p))
    out = ctypes.create_string_buffer(32)
    label = b"EXPORTER-Channel-Binding"
    fn = lib.SSL_export_keying_material
    fn.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
                   ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    if fn(ptr.value, out, 32, label, len(label), b"", 0, 1) != 1:
        raise RuntimeError("SSL_export_keying_material failed")
    return out.raw


# --- one stream --------------------------------------------------------------------------------------

class Conn:
    def __init__(self, port, host="127.0.0.1", timeout=10, domain=DOMAIN, ns=CLIENT):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.domain = domain
        self.ns = ns
        self.jid = None
        self.features = None
        self.header = None          # attributes of the peer's stream header
        self.stream_error = None    # condition, once one came
        self.ended = False          # </stream:stream> came
        self.eof = False            # the connection is closed
        self.auto_ack = True
        self.sm_in = None           # stanzas received since <enabled/>; None = SM off
        self.sm_acked = 0           # the peer's last h
        self.sm_id = None
        self.seen = []              # everything ever received on this stream, for messages of failed tests
        self.last_id = 0
        self._queue = deque()
        self._new_parser()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # -- bytes

    def _new_parser(self):
        self.parser = ET.XMLPullParser(("start", "end"))
        self.depth = 0
        self.root = None
        self.header = None

    def send(self, data):
        if isinstance(data, ET.Element):
            data = ET.tostring(data)
        if isinstance(data, str):
            data = data.encode()
        self.sock.settimeout(self.timeout * lab.SLOW)
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise lab.TimedOut("the peer does not read%s" % self._history()) from None
        except OSError as e:
            self.pump(0.2)
            raise Closed("peer closed while we sent: %s%s" % (e, self._history())) from None

    def _read(self, timeout):
        """Read once; False at the deadline."""
        if self.eof:
            return False
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data = self.sock.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except (ConnectionResetError, ssl.SSLError, OSError):
            data = b""
        if not data:
            self.eof = True
            return True
        try:
            self.parser.feed(data)
            for event, e in self.parser.read_events():
                self._event(event, e)
        except ET.ParseError as e:
            raise AssertionError("the peer's XML is broken: %s: %r%s" % (e, data[:2000], self._history())) from None
        return True

    def _event(self, event, e):
        if event == "start":
            self.depth += 1
            if self.depth == 1:
                self.root = e
                self.header = dict(e.attrib)
            return
        self.depth -= 1
        if self.depth == 0:
            self.ended = True
        elif self.depth == 1:
            self.root.clear()
            self._element(e)

    def _element(self, e):
        self.seen.append(e)
        if e.tag == "{%s}error" % STREAMS:
            self.stream_error = next((local(c) for c in e if nsof(c) == STREAM_ERRORS and local(c) != "text"), "?")
        if e.tag in STANZAS and self.sm_in is not None:
            self.sm_in = (self.sm_in + 1) % 2 ** 32
        if e.tag == "{%s}a" % SM:
            self.sm_acked = int(e.get("h"))
        if e.tag == "{%s}r" % SM and self.auto_ack and self.sm_in is not None:
            try:
                self.ack()
            except Closed:
                pass
            return
        self._queue.append(e)

    def _history(self, n=12):
        return "\n--- last received%s:\n%s%s" % (
            " by %s" % self.jid if self.jid else "", "\n".join(show(e)[:600] for e in self.seen[-n:]) or "(nothing)",
            "\n(stream ended)" if self.ended else "\n(connection closed)" if self.eof else "")

    # -- elements

    def pump(self, timeout=0):
        """Take in what is there (and wait up to <timeout> for the first byte)."""
        if self._read(timeout):
            while self._read(0):
                pass

    def wait(self, want=None, timeout=None):
        """The first element for which want(e) is true (any by default); others stay queued."""
        if isinstance(want, str):
            want = is_(want)
        end = time.monotonic() + (timeout or self.timeout) * lab.SLOW
        while True:
            for i, e in enumerate(self._queue):
                if want is None or want(e):
                    del self._queue[i]
                    return e
            left = end - time.monotonic()
            if self.ended or self.eof:
                raise Closed("stream over while waiting for %s%s" % (getattr(want, "text", "an element"), self._history()))
            if left <= 0:
                raise lab.TimedOut("nothing like %s%s" % (getattr(want, "text", "an element"), self._history()))
            self._read(left)

    def wait_all(self, want, count, timeout=30):
        return [self.wait(want, timeout) for _ in range(count)]

    def drain(self):
        """Everything queued now."""
        self.pump()
        out = list(self._queue)
        self._queue.clear()
        return out

    def wait_end(self, timeout=None):
        """Wait until the stream or connection is over; returns the stream error's condition."""
        end = time.monotonic() + (timeout or self.timeout) * lab.SLOW
        while not (self.ended or self.eof):
            if time.monotonic() >= end:
                raise lab.TimedOut("stream still open%s" % self._history())
            self._read(end - time.monotonic())
        return self.stream_error

    def wait_eof(self, timeout=None):
        end = time.monotonic() + (timeout or self.timeout) * lab.SLOW
        while not self.eof:
            if time.monotonic() >= end:
                raise lab.TimedOut("connection still open%s" % self._history())
            self._read(end - time.monotonic())
        return self.stream_error

    def new_id(self):
        self.last_id += 1
        return "x%d" % self.last_id

    # -- stream

    def header_text(self, to=None, version="1.0", extra="", ns=None):
        return "<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='%s'%s%s%s>" % (
            ns or self.ns, STREAMS, " to=%s" % quoteattr(to or self.domain) if to != "" else "",
            " version='%s'" % version if version else "", " " + extra if extra else "")

    def open(self, to=None, version="1.0", extra=""):
        """Open (or restart) the stream; returns the features."""
        self._new_parser()
        self.ended = False
        self.send(self.header_text(to, version, extra))
        self.features = self.wait(lambda e: e.tag == "{%s}features" % STREAMS)
        return self.features

    def starttls(self, context=None):
        self.send("<starttls xmlns='%s'/>" % TLS)
        e = self.wait()
        if e.tag != "{%s}proceed" % TLS:
            raise AssertionError("no <proceed/>: %s" % show(e))
        self.wrap_tls(context)

    def wrap_tls(self, context=None):
        context = context or client_context()
        self.sock.settimeout(self.timeout * lab.SLOW)
        self.sock = context.wrap_socket(self.sock, server_hostname=self.domain)

    def mechanisms(self):
        m = self.features.find("{%s}mechanisms" % SASL)
        return [] if m is None else [x.text for x in m]

    # -- SASL

    def auth(self, user, password=PASSWORD, mech=None, **kw):
        """Authenticate, by the better SCRAM by default; returns <success/> or <failure/>."""
        mech = mech or ("SCRAM-SHA-256" if "SCRAM-SHA-256" in self.mechanisms() else "SCRAM-SHA-1")
        if mech == "PLAIN":
            authzid = kw.get("authzid", "")
            return self.sasl(mech, ("%s\0%s\0%s" % (authzid, user, password)).encode())
        if mech == "EXTERNAL":
            return self.sasl(mech, kw.get("authzid", "").encode())
        if mech == "DIGEST-MD5":
            return self._digest_md5(user, password)
        return self._scram(mech, user, password, **kw)

    def sasl(self, mech, initial=None):
        """Send <auth/> with initial data (bytes; None = none) and return the answer."""
        data = "" if initial is None else "=" if initial == b"" else base64.b64encode(initial).decode()
        self.send("<auth xmlns='%s' mechanism='%s'>%s</auth>" % (SASL, mech, data))
        return self.wait(lambda e: nsof(e) == SASL or e.tag == "{%s}error" % STREAMS)

    def respond(self, data):
        self.send("<response xmlns='%s'>%s</response>" % (SASL, base64.b64encode(data).decode()))
        return self.wait(lambda e: nsof(e) == SASL or e.tag == "{%s}error" % STREAMS)

    def binding_data(self, kind):
        if kind == "tls-server-end-point":
            return tls_server_end_point(self.sock.getpeercert(True))
        if kind == "tls-exporter":
            return tls_exporter(self.sock)
        if kind == "tls-unique":
            return self.sock.get_channel_binding("tls-unique")
        raise ValueError(kind)

    def _scram(self, mech, user, password, binding="tls-exporter", gs2=None, authzid="", bad_binding=False,
               say=None, respond=None):
        say, respond = say or self.sasl, respond or self.respond
        plus = mech.endswith("-PLUS")
        name = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[mech.removesuffix("-PLUS")]
        gs2 = gs2 or ("p=" + binding if plus else "n")
        gs2 += "," + ("a=" + authzid if authzid else "") + ","
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)
        e = say(mech, (gs2 + first).encode())
        if local(e) != "challenge":
            return e
        challenge = base64.b64decode(e.text).decode()
        part = self.server_first = dict(p.split("=", 1) for p in challenge.split(","))
        if not part["r"].startswith(nonce):
            raise AssertionError("SCRAM: the server's nonce does not begin with ours")
        cb = self.binding_data(binding) if plus else b""
        if bad_binding:
            cb = bytes(len(cb))
        final = "c=%s,r=%s" % (base64.b64encode(gs2.encode() + cb).decode(), part["r"])
        salted = hashlib.pbkdf2_hmac(name, password.encode(), base64.b64decode(part["s"]), int(part["i"]))

        def mac(key, data):
            return hmac.new(key, data, name).digest()
        client_key = mac(salted, b"Client Key")
        signed = ",".join((first, challenge, final)).encode()
        signature = mac(hashlib.new(name, client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        e = respond((final + ",p=" + base64.b64encode(proof).decode()).encode())
        if local(e) == "challenge":     # the server's signature may come in a challenge
            server = base64.b64decode(e.text)
            e = respond(b"")
        elif nsof(e) == SASL2 and local(e) in ("success", "continue"):
            server = base64.b64decode(text(e, "additional-data") or "")
        elif local(e) == "success":
            server = base64.b64decode(e.text or "")
        else:
            return e
        expected = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), signed))
        if server != expected:
            raise AssertionError("SCRAM: the server's signature is wrong: %r" % server)
        return e

    def _digest_md5(self, user, password):
        e = self.sasl("DIGEST-MD5")
        if local(e) != "challenge":
            return e
        text_ = base64.b64decode(e.text).decode()
        part = {k: v.strip('"') for k, v in re.findall(r'([\w-]+)=("[^"]*"|[^,]*)', text_)}
        realm, cnonce, uri = part.get("realm", self.domain), base64.b64encode(os.urandom(12)).decode(), "xmpp/" + self.domain

        def h(x):
            return hashlib.md5(x).digest()
        a1 = h(("%s:%s:%s" % (user, realm, password)).encode()) + (":%s:%s" % (part["nonce"], cnonce)).encode()

        def value(a2):
            return h(("%s:%s:00000001:%s:auth:%s" % (h(a1).hex(), part["nonce"], cnonce, h(a2.encode()).hex())).encode()).hex()
        reply = ('username="%s",realm="%s",nonce="%s",cnonce="%s",nc=00000001,qop=auth,digest-uri="%s",response=%s,charset=utf-8'
                 % (user, realm, part["nonce"], cnonce, uri, value("AUTHENTICATE:" + uri)))
        e = self.respond(reply.encode())
        if local(e) == "challenge":
            if base64.b64decode(e.text) != b"rspauth=" + value(":" + uri).encode():
                raise AssertionError("DIGEST-MD5: rspauth is wrong")
            e = self.respond(b"")
        return e

    # -- SASL2 (XEP-0388): authenticate2 says what it is told; auth2 does the mechanism, too

    def authentication(self):
        """The mechanisms SASL2 offers."""
        m = self.features.find("{%s}authentication" % SASL2)
        return None if m is None else [x.text for x in m.findall("{%s}mechanism" % SASL2)]

    def authenticate2(self, mech, initial=None, inner="", agent=None):
        self.send("<authenticate xmlns='%s' mechanism='%s'>%s%s%s</authenticate>" % (
            SASL2, mech,
            "" if initial is None else "<initial-response>%s</initial-response>" % base64.b64encode(initial).decode(),
            "<user-agent id='%s'><software>test</software></user-agent>" % agent if agent else "", inner))
        return self.wait(_sasl2)

    def respond2(self, data):
        self.send("<response xmlns='%s'>%s</response>" % (SASL2, base64.b64encode(data).decode()))
        return self.wait(_sasl2)

    def auth2(self, user, password=PASSWORD, mech="SCRAM-SHA-256", inner="", agent=None, **kw):
        """The whole exchange: returns <success/>, <failure/> or <continue/>."""
        if mech.startswith("HT-"):
            e = self._ht(user, mech, inner, agent, **kw)
        elif mech == "PLAIN":
            e = self.authenticate2(mech, ("%s\0%s\0%s" % (kw.get("authzid", ""), user, password)).encode(), inner, agent)
        else:
            e = self._scram(mech, user, password, say=lambda m, d: self.authenticate2(m, d, inner, agent),
                            respond=self.respond2, **kw)
        if e.tag == "{%s}success" % SASL2:
            self._signed_in(e)
        return e

    def _ht(self, user, mech, inner, agent, token, binding=None, fast="", **kw):
        """XEP-0484: one message; <token> is what the server gave."""
        kind = {"NONE": None, "ENDP": "tls-server-end-point", "EXPR": "tls-exporter"}[mech[-4:]]
        cb = (self.binding_data(kind) if kind else b"") if binding is None else binding
        mac = hmac.new(token.encode(), b"Initiator" + cb, "sha256").digest()
        if fast is not None:
            inner += "<fast xmlns='%s' %s/>" % (FAST, fast)
        e = self.authenticate2(mech, user.encode() + b"\0" + mac, inner, agent)
        if e.tag == "{%s}success" % SASL2:
            expected = hmac.new(token.encode(), b"Responder" + cb, "sha256").digest()
            if base64.b64decode(text(e, "additional-data") or "") != expected:
                raise AssertionError("HT: the server's answer is wrong")
        return e

    def _signed_in(self, e):
        jid = text(e, "authorization-identifier")
        if e.find("{%s}bound" % BIND2) is not None:
            self.jid = jid
        enabled = next(e.iter("{%s}enabled" % SM), None)
        resumed = e.find("{%s}resumed" % SM)
        if enabled is not None:
            self.sm_id, self.sm_acked = enabled.get("id"), 0
            self.sm_in = sum(1 for q in self.seen[self.seen.index(e) + 1:] if q.tag in STANZAS)
        if resumed is None:
            self.features = self.wait(lambda e: e.tag == "{%s}features" % STREAMS)

    # -- session

    def bind(self, resource=None):
        inner = "<resource>%s</resource>" % escape(resource) if resource else ""
        r = self.iq("set", "<bind xmlns='%s'>%s</bind>" % (BIND, inner))
        if r.get("type") == "result":
            self.jid = r.find("{%s}bind/{%s}jid" % (BIND, BIND)).text
        return r

    @property
    def bare(self):
        return self.jid.partition("/")[0]

    def iq(self, type_, payload="", to=None, id_=None, timeout=None):
        """Send an IQ and return its answer."""
        id_ = id_ or self.new_id()
        self.send("<iq type='%s' id='%s'%s>%s</iq>" % (type_, id_, " to=%s" % quoteattr(to) if to else "", payload))
        return self.reply(id_, timeout)

    def reply(self, id_, timeout=None):
        return self.wait(lambda e: local(e) == "iq" and e.get("id") == id_ and e.get("type") in ("result", "error"), timeout)

    def get(self, ns, name="query", to=None, attrs=""):
        return self.iq("get", "<%s xmlns='%s' %s/>" % (name, ns, attrs), to)

    def sync(self):
        """Return when the server has handled everything this client sent before."""
        self.iq("get", "<ping xmlns='%s'/>" % PING, self.domain)

    def presence(self, type_=None, to=None, priority=None, inner="", id_=None):
        self.send("<presence%s%s%s>%s%s</presence>" % (
            " type='%s'" % type_ if type_ else "", " to=%s" % quoteattr(to) if to else "",
            " id='%s'" % id_ if id_ else "",
            "<priority>%d</priority>" % priority if priority is not None else "", inner))

    def message(self, to, body, type_="chat", inner="", id_=None):
        id_ = id_ or lab.token("i")
        self.send("<message to=%s%s id='%s'>%s%s</message>" % (
            quoteattr(to), " type='%s'" % type_ if type_ else "", id_,
            "<body>%s</body>" % escape(body) if body is not None else "", inner))
        return id_

    def roster(self):
        """The roster as {jid: item element}."""
        q = kid(self.get(ROSTER), "query", ROSTER)
        return {i.get("jid"): i for i in q}

    # -- stream management

    def sm_enable(self, resume=True):
        self.sm_in = None
        self.send("<enable xmlns='%s'%s/>" % (SM, " resume='true'" if resume else ""))
        e = self.wait(lambda e: nsof(e) == SM and local(e) in ("enabled", "failed"))
        if local(e) == "enabled":
            # what stands in the queue came after <enabled/> only if we read on: count it
            self.sm_in = sum(1 for q in self.seen[self.seen.index(e) + 1:] if q.tag in STANZAS)
            self.sm_acked = 0
            self.sm_id = e.get("id")
        return e

    def ack(self):
        self.send("<a xmlns='%s' h='%d'/>" % (SM, self.sm_in))

    def sm_request(self, timeout=None):
        """Ask for an acknowledgement and return its h."""
        self.send("<r xmlns='%s'/>" % SM)
        return int(self.wait(lambda e: e.tag == "{%s}a" % SM, timeout).get("h"))

    def sm_resume(self, old, h=None):
        """Resume the stream of the Conn <old>; returns <resumed/> or <failed/>."""
        h = old.sm_in if h is None else h
        self.send("<resume xmlns='%s' previd=%s h='%d'/>" % (SM, quoteattr(old.sm_id), h))
        e = self.wait(lambda e: nsof(e) == SM and local(e) in ("resumed", "failed"))
        if local(e) == "resumed":
            self.jid, self.sm_id, self.sm_acked = old.jid, old.sm_id, int(e.get("h"))
            self.sm_in = h + sum(1 for q in self.seen[self.seen.index(e) + 1:] if q.tag in STANZAS)
        return e

    # -- the end

    def close(self):
        """End the stream as a client should and close the connection."""
        if self.sock is None:
            return
        try:
            if not (self.eof or self.ended):
                self.send("</stream:stream>")
                self.wait_end(2)
        except (AssertionError, OSError):
            pass
        self.sock.close()
        self.sock, self.eof = None, True

    def cut(self):
        """Drop the connection without a word, as a lost network does (reset, no FIN)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.sock.detach())
        self.sock, self.eof = None, True


def client_context():
    """TLS that believes any certificate: the daemon's own is self-signed."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def connect(port, **kw):
    """A connection with TLS and features ready for authentication."""
    c = Conn(port, **kw)
    c.open()
    c.starttls()
    c.open()
    return c


def authed(port, user, password=PASSWORD, mech=None, **kw):
    """Authenticated, stream restarted, not bound."""
    c = connect(port, **kw)
    e = c.auth(user, password, mech)
    if local(e) != "success":
        raise AssertionError("no <success/> for %s: %s" % (user, show(e)))
    c.open()
    return c


def login(port, user, resource=None, password=PASSWORD, presence=True, priority=None, sm=False, mech=None, **kw):
    """A bound session; available unless presence=False."""
    c = authed(port, user, password, mech, **kw)
    r = c.bind(resource)
    if r.get("type") != "result":
        raise AssertionError("bind: %s" % show(r))
    if sm:
        e = c.sm_enable()
        if local(e) != "enabled":
            raise AssertionError("SM: %s" % show(e))
    if presence:
        c.presence(priority=priority)
        # our own presence comes back to us (RFC 6121 4.2.2): then we are available for others
        c.wait(lambda e: local(e) == "presence" and e.get("from") == c.jid)
    return c


def fence(a, b):
    """Return what <b> got up to now: everything <a> sent to <b> before is in it.

    RFC 6120 10.1: stanzas from one entity to another are kept in order.
    """
    t = lab.token("fence")
    a.message(b.jid, t, "normal")
    b.wait(body_is(t))
    return b.drain()


# --- slixmpp -----------------------------------------------------------------------------------------

class Slix:
    """A stock client in a thread of its own: Slix(port, "alice"); .messages is a queue.Queue."""

    def __init__(self, port, user, password=PASSWORD, resource="slix", domain=DOMAIN):
        try:
            import slixmpp
        except ImportError:
            raise unittest.SkipTest("slixmpp is not installed: apt-get install python3-slixmpp") from None
        logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module="slixmpp")
        self.messages = queue.Queue()
        self.presences = queue.Queue()
        self.ready = threading.Event()
        self.failed = None
        self.port = port
        self.jid = "%s@%s/%s" % (user, domain, resource)
        self.loop = asyncio.new_event_loop()
        self.slixmpp = slixmpp
        self.password = password
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        if not self.ready.wait(20 * lab.SLOW) or self.failed:
            raise AssertionError("slixmpp: no session for %s: %s" % (self.jid, self.failed or "timed out"))

    def _run(self):
        asyncio.set_event_loop(self.loop)
        c = self.client = self.slixmpp.ClientXMPP(self.jid, self.password)
        # the daemon's certificate is self-signed
        c.ssl_context.check_hostname = False
        c.ssl_context.verify_mode = ssl.CERT_NONE
        c.register_plugin("xep_0030")
        c.register_plugin("xep_0199")
        c.register_plugin("xep_0198")
        c.add_event_handler("session_start", self._start)
        c.add_event_handler("message", self.messages.put)
        c.add_event_handler("changed_status", self.presences.put)
        c.add_event_handler("failed_auth", lambda e: self._fail("authentication refused"))
        c.add_event_handler("disconnected", lambda e: self.loop.call_soon(self.loop.stop))
        c.connect(("127.0.0.1", self.port))
        self.loop.run_forever()
        for t in asyncio.all_tasks(self.loop):
            t.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def _fail(self, why):
        self.failed = why
        self.ready.set()
        self.loop.call_soon(self.loop.stop)

    async def _start(self, _):
        try:
            await self.client.get_roster()
            self.client.send_presence()
            await self.client["xep_0199"].send_ping(self.client.boundjid.domain)
        except Exception as e:
            self._fail(repr(e))
        self.ready.set()

    def call(self, fn, *args, **kw):
        """Run fn (plain or coroutine function) in the client's thread and return its result."""
        async def run():
            r = fn(*args, **kw)
            return await r if asyncio.iscoroutine(r) or asyncio.isfuture(r) else r
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20 * lab.SLOW)

    def send(self, to, body, type_="chat", thread=None):
        def go():
            m = self.client.make_message(mto=to, mbody=body, mtype=type_)
            if thread:
                m["thread"] = thread
            m.send()
        self.call(go)

    def wait_message(self, word, timeout=15):
        """The first message with <word> in body or subject."""
        end, got = time.monotonic() + timeout * lab.SLOW, []
        while True:
            try:
                m = self.messages.get(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise lab.TimedOut("%s: no message with %r; got %s" % (self.jid, word, [str(g) for g in got])) from None
            if word in m["body"] + m["subject"] or word in str(m.xml.find("{%s}error" % CLIENT) or ""):
                return m
            got.append(m)

    def close(self):
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.client.disconnect)
            self.thread.join(5)
