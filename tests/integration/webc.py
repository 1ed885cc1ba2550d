"""webc - web clients for tests: raw HTTP, WebSocket frames as told, and XMPP over them.

Http is one connection that sends bytes and reads answers.  Ws adds frames (RFC 6455).  WsConn is
xmppc.Conn over a WebSocket, so every protocol helper of xmppc works on it.
"""
import base64
import hashlib
import os
import socket
import ssl
import struct
import time
import xml.etree.ElementTree as ET
from collections import deque
from xml.sax.saxutils import quoteattr

import lab
import xmppc
from lab import DOMAIN, PASSWORD

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

# What a lab daemon needs for the web: ports are filled in by listen()
HTTP = """http_listener {
  AuthParameters = [ uri = "store://" ]
  %s
  Listen "127.0.0.1:%d" { tls_required = false  %s }
  Listen "127.0.0.1:%d" { use_ssl = true }
}
%s"""


def web_options(options="", plain="", extra=""):
    """(options for lab.daemon, plain port, TLS port)."""
    a, b = lab.free_port(), lab.free_port()
    return {"extra": HTTP % (options, a, plain, b, extra)}, a, b


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def __repr__(self):
        return "%d %r %r" % (self.status, self.headers, self.body[:300])


class Http:
    """One connection; what was read ahead stays in self.buf."""

    def __init__(self, port, tls=False, timeout=10, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), timeout * lab.SLOW)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout * lab.SLOW
        self.buf = b""
        if tls:
            self.sock = xmppc.client_context().wrap_socket(self.sock, server_hostname=DOMAIN)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def fill(self, timeout=None):
        """Read once more; False at the end of the connection."""
        self.sock.settimeout(self.timeout if timeout is None else max(timeout, 0.001))
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        self.buf += data
        return bool(data)

    def read(self, n):
        while len(self.buf) < n:
            if not self.fill():
                raise EOFError("the connection ended after %r" % self.buf[:200])
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def head(self):
        while b"\r\n\r\n" not in self.buf:
            if not self.fill():
                raise EOFError("the connection ended after %r" % self.buf[:200])
        text, _, self.buf = self.buf.partition(b"\r\n\r\n")
        lines = text.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        return Answer(status, [tuple(x.strip() for x in h.split(":", 1)) for h in lines[1:]], b"")

    def answer(self, head_only=False):
        a = self.head()
        while a.status == 100:
            a = self.head()
        n = a["Content-Length"]
        if n is not None and not head_only and a.status not in (101, 204, 304):
            a.body = self.read(int(n))
        return a

    def request(self, method, path, headers=(), body=b"", length=True):
        """Send a request and read its answer."""
        body = body.encode() if isinstance(body, str) else body
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: localhost"]
        lines += ["%s: %s" % h for h in headers]
        if length and (body or method in ("POST", "PUT")):
            lines.append("Content-Length: %d" % len(body))
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.answer(method == "HEAD")

    def at_end(self, timeout=None):
        """True when the peer closes without another byte."""
        try:
            while self.fill(timeout or self.timeout):
                pass
        except TimeoutError:
            return False
        return not self.buf


def mask(data, key):
    return bytes(b ^ key[i % 4] for i, b in enumerate(data))


class Ws(Http):
    KEY = "dGhlIHNhbXBsZSBub25jZQ=="

    def handshake_text(self, path="/xmpp-websocket", key=KEY, version="13", protocol="xmpp", extra=()):
        lines = ["GET %s HTTP/1.1" % path, "Host: localhost", "Upgrade: websocket", "Connection: keep-alive, Upgrade"]
        if key is not None:
            lines.append("Sec-WebSocket-Key: " + key)
        if version is not None:
            lines.append("Sec-WebSocket-Version: " + version)
        if protocol is not None:
            lines.append("Sec-WebSocket-Protocol: " + protocol)
        return "\r\n".join(lines + list(extra)) + "\r\n\r\n"

    def handshake(self, **kw):
        self.send(self.handshake_text(**kw))
        return self.answer()

    def frame(self, payload, opcode=TEXT, fin=True, masked=True, rsv=0, length=None):
        payload = payload.encode() if isinstance(payload, str) else payload
        n = len(payload) if length is None else length
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        m = 0x80 if masked else 0
        if n < 126:
            head += bytes([m | n])
        elif n < 65536:
            head += bytes([m | 126]) + struct.pack(">H", n)
        else:
            head += bytes([m | 127]) + struct.pack(">Q", n)
        if not masked:
            return head + payload
        key = os.urandom(4)
        if len(payload) > 4096:     # the slow way is slow
            key = b"\0\0\0\0"
            return head + key + payload
        return head + key + mask(payload, key)

    def say(self, payload, **kw):
        self.send(self.frame(payload, **kw))

    def get(self):
        """(opcode, payload) of the next frame; server frames are whole and not masked."""
        a, b = self.read(2)
        if not a & 0x80 or a & 0x70 or b & 0x80:
            raise AssertionError("an odd frame from a server: %02x %02x" % (a, b))
        n = b & 0x7f
        if n == 126:
            n, = struct.unpack(">H", self.read(2))
        elif n == 127:
            n, = struct.unpack(">Q", self.read(8))
        return a & 15, self.read(n)

    def close_code(self):
        """Read until the close frame; its code."""
        while True:
            op, data = self.get()
            if op == CLOSE:
                return struct.unpack(">H", data[:2])[0] if data else None


class WsConn(xmppc.Conn):
    """An XMPP client over a WebSocket; self.ws has the frames."""

    def __init__(self, port, tls=False, timeout=10, domain=DOMAIN, shake=None):
        self.ws = Ws(port, tls=tls, timeout=timeout)
        got = self.ws.handshake(**(shake or {}))
        if got.status != 101:
            raise AssertionError("no WebSocket: %r" % got)
        self.sock = self.ws.sock
        self.timeout, self.domain, self.ns = timeout, domain, xmppc.CLIENT
        self.jid = self.features = self.header = self.stream_error = self.sm_in = self.sm_id = None
        self.ended = self.eof = False
        self.auto_ack = True
        self.sm_acked = self.last_id = 0
        self.seen = []
        self.texts = []     # messages as they came
        self.closed = None  # code of the close frame
        self._queue = deque()

    def send(self, data):
        if isinstance(data, ET.Element):
            data = ET.tostring(data)
        try:
            self.ws.say(data)
        except OSError as e:
            raise xmppc.Closed("peer closed while we sent: %s%s" % (e, self._history())) from None

    def _frame_there(self):
        b = self.ws.buf
        if len(b) < 2:
            return False
        n = b[1] & 0x7f
        skip = 2
        if n == 126:
            if len(b) < 4:
                return False
            n, skip = struct.unpack(">H", b[2:4])[0], 4
        elif n == 127:
            if len(b) < 10:
                return False
            n, skip = struct.unpack(">Q", b[2:10])[0], 10
        return len(b) >= skip + n

    def _read(self, timeout):
        if self.eof:
            return False
        if not self._frame_there():
            try:
                if not self.ws.fill(timeout):
                    self.eof = True
                    return True
            except (TimeoutError, ssl.SSLWantReadError):
                return False
        while self._frame_there():
            op, data = self.ws.get()
            if op == PING:
                self.ws.say(data, opcode=PONG)
            elif op == CLOSE:
                self.closed = struct.unpack(">H", data[:2])[0] if data else None
                self.ended = True
            elif op == TEXT:
                self._message(data.decode())
        return True

    def _message(self, text):
        self.texts.append(text)
        e = ET.fromstring(text)     # a document of its own, or this raises
        if e.tag == "{%s}open" % FRAMING:
            self.header = dict(e.attrib)
        elif e.tag == "{%s}close" % FRAMING:
            self.ended = True
        else:
            self._element(e)

    def open(self, to=None, version="1.0", extra=""):
        self.ended = False
        self.header = None
        self.send("<open xmlns='%s' to=%s version='%s' %s/>" % (FRAMING, quoteattr(to or self.domain), version, extra))
        self.features = self.wait(lambda e: e.tag == "{%s}features" % xmppc.STREAMS)
        return self.features

    def close(self):
        self.ws.close()


BOSH = "http://jabber.org/protocol/httpbind"
XBOSH = "urn:xmpp:xbosh"


def wrap(rid, inner="", **attrs):
    """A <body/>; x_restart= stands for xmpp:restart=."""
    out = "<body xmlns='%s' xmlns:xmpp='%s' rid='%s'" % (BOSH, XBOSH, rid)
    for k, v in attrs.items():
        if v is not None:
            out += " %s=%s" % (k.replace("x_", "xmpp:").replace("xml_", "xml:"), quoteattr(str(v)))
    return out + (">%s</body>" % inner if inner else "/>")


class Bind:
    """One BOSH session, request by request; every request gets a connection unless one is free."""

    def __init__(self, port, tls=False, rid=4711, timeout=10):
        self.port, self.tls, self.rid, self.timeout = port, tls, rid, timeout
        self.sid = None
        self.key = None
        self.free, self.all = [], []
        self.pending = {}       # rid -> connection

    def conn(self):
        if self.free:
            return self.free.pop()
        c = Http(self.port, tls=self.tls, timeout=self.timeout)
        self.all.append(c)
        return c

    def start(self, to=DOMAIN, wait=10, hold=1, ver="1.11", **attrs):
        """Ask for a session; its answer's <body/>."""
        attrs = {"xml_lang": "en", "x_version": "1.0", **attrs}
        e = self.ask(wrap(self.rid, to=to, wait=wait, hold=hold, ver=ver, **attrs))
        self.sid = e.get("sid")
        return e

    def post(self, text, rid=None):
        """Send; the answer is for answer()."""
        c = self.conn()
        body = text.encode()
        c.send(b"POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.pending[rid if rid is not None else self.rid] = c
        return c

    def read(self, c):
        """The answer on connection <c> as an Answer with .xml."""
        a = c.answer()
        self.free.append(c)
        for k in [k for k, v in self.pending.items() if v is c]:
            del self.pending[k]
        a.xml = ET.fromstring(a.body) if a.status == 200 else None
        return a

    def ask(self, text):
        """Send and read: the <body/>."""
        return self.read(self.post(text)).xml

    def next(self, inner="", **attrs):
        """Send the next request; returns its connection."""
        self.rid += 1
        return self.post(wrap(self.rid, inner, sid=self.sid, **attrs))

    def say(self, inner="", **attrs):
        """Send the next request, wait for its answer."""
        return self.read(self.next(inner, **attrs)).xml

    def close(self):
        for c in self.all:
            c.close()


class BoshConn(xmppc.Conn):
    """An XMPP client over BOSH, hold=1: one request waits, another carries what we say."""

    def __init__(self, port, tls=False, timeout=10, domain=DOMAIN, **attrs):
        self.b = Bind(port, tls, timeout=timeout)
        self.attrs = attrs
        self.timeout, self.domain, self.ns = timeout, domain, xmppc.CLIENT
        self.jid = self.features = self.header = self.stream_error = self.sm_in = self.sm_id = None
        self.ended = self.eof = False
        self.auto_ack = True
        self.sm_acked = self.last_id = 0
        self.seen = []
        self.condition = None
        self.sock = None
        self._queue = deque()

    def _take(self, body):
        self.condition = body.get("condition")
        for e in body:
            self._element(e)
        if body.get("type") == "terminate":
            self.ended = True

    def send(self, data):
        if isinstance(data, ET.Element):
            data = ET.tostring(data, encoding="unicode")
        while len(self.b.pending) >= 2:
            self._read(self.timeout * lab.SLOW)
        if self.ended:
            raise xmppc.Closed("the session is over%s" % self._history())
        self.b.next(data)

    def _read(self, timeout):
        if self.eof:
            return False
        if self.ended:
            self.eof = True
            return True
        if not self.b.pending:
            self.b.next()
        conns = list(self.b.pending.values())
        ready = [c for c in conns if c.buf]
        if not ready:
            import select
            socks, _, _ = select.select([c.sock for c in conns], [], [], max(timeout, 0.001))
            ready = [c for c in conns if c.sock in socks]
        for c in ready:
            a = self.b.read(c)
            if a.xml is None:
                self.eof = True
                return True
            self._take(a.xml)
        return bool(ready)

    def open(self, to=None, version="1.0", extra=""):
        if self.b.sid is None:
            e = self.b.start(to or self.domain, **self.attrs)
            self.header = dict(e.attrib)
            self._take(e)
        else:
            while len(self.b.pending) >= 2:
                self._read(self.timeout)
            self.b.next(to=to or self.domain, x_restart="true")
        self.features = self.wait(lambda e: e.tag == "{%s}features" % xmppc.STREAMS)
        return self.features

    def close(self):
        if not (self.ended or self.eof or self.b.sid is None):
            try:
                self.b.next(type="terminate")
            except OSError:
                pass
        self.b.close()
