"""compc - a component (XEP-0114) for tests: a Conn in jabber:component:accept that says what it is told."""
import hashlib
import xml.etree.ElementTree as ET
from xml.sax.saxutils import quoteattr

import xmppc
from xmppc import Conn, local

COMPONENT = "jabber:component:accept"


class Component(Conn):
    """Component(port, "irc.lab.test"): open() and handshake() by hand, or compc.join() for both."""
    ns = COMPONENT

    def __init__(self, port, name, **kw):
        super().__init__(port, **kw)
        self.ns = COMPONENT
        self.domain = self.name = name

    def open(self, to=None, version="", extra=""):
        self._new_parser()
        self.ended = False
        self.send(self.header_text(to, version, extra))
        while self.header is None and not (self.eof or self.ended):
            self._read(self.timeout)
        return self.header

    def proof(self, secret):
        return hashlib.sha1((self.header["id"] + secret).encode()).hexdigest()

    def handshake(self, secret, more=""):
        """Returns <handshake/>, or the stream error's condition."""
        self.send("<handshake>%s</handshake>%s" % (self.proof(secret), more))
        e = self.wait(lambda e: local(e) in ("handshake", "error"))
        return e if local(e) == "handshake" else self.wait_end()

    def stanza(self, name, to, from_=None, inner="", **attrs):
        self.send("<%s to=%s from=%s%s>%s</%s>" % (
            name, quoteattr(to), quoteattr(from_ or self.name),
            "".join(" %s=%s" % (k.rstrip("_"), quoteattr(v)) for k, v in attrs.items()), inner, name))

    def request(self, type_, payload, to, from_=None):
        """An iq and its answer."""
        id_ = self.new_id()
        self.stanza("iq", to, from_, payload, type_=type_, id_=id_)
        return self.reply(id_)

    def result(self, request, payload=""):
        self.stanza("iq", request.get("from"), request.get("to"), payload, type_="result", id_=request.get("id"))

    def fence(self, server):
        """Everything the server <server> wrote to us before is in what this returns."""
        self.request("get", "<ping xmlns='%s'/>" % xmppc.PING, server)
        return self.drain()


def join(port, name, secret, **kw):
    c = Component(port, name, **kw)
    c.open()
    e = c.handshake(secret)
    if not isinstance(e, ET.Element):
        raise AssertionError("no handshake for %s: %s" % (name, e))
    return c
