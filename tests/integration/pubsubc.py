"""pubsubc - what the tests of publish-subscribe say and look for."""
import base64
import hashlib
from xml.sax.saxutils import escape, quoteattr

import xmppc
from xmppc import DISCO_INFO, kid, local, nsof

PUBSUB = "http://jabber.org/protocol/pubsub"
OWNER = PUBSUB + "#owner"
EVENT = PUBSUB + "#event"
ERRORS = PUBSUB + "#errors"
CAPS = "http://jabber.org/protocol/caps"
FORM = "jabber:x:data"
SHIM = "http://jabber.org/protocol/shim"
RSM = "http://jabber.org/protocol/rsm"


def form(form_type, fields, kind="submit"):
    out = "<x xmlns='%s' type='%s'><field var='FORM_TYPE' type='hidden'><value>%s</value></field>" % (FORM, kind, form_type)
    for k, v in fields.items():
        values = v if isinstance(v, (list, tuple)) else [v]
        out += "<field var='%s'>%s</field>" % (k if "#" in k else "pubsub#" + k, "".join("<value>%s</value>" % escape(str(x)) for x in values))
    return out + "</x>"


def fields(x):
    """{var: value or [values]} of a data form element."""
    out = {}
    for f in x.findall("{%s}field" % FORM):
        v = [e.text or "" for e in f.findall("{%s}value" % FORM)]
        out[f.get("var")] = v[0] if len(v) == 1 else v
    return out


def item(id_=None, payload="<e xmlns='t:e'>x</e>"):
    return "<item%s>%s</item>" % (" id=%s" % quoteattr(id_) if id_ is not None else "", payload)


def publish(c, node, items, to=None, options=None):
    if isinstance(items, str) and not items.startswith("<item"):
        items = item(items)
    opt = "<publish-options>%s</publish-options>" % form(PUBSUB + "#publish-options", options) if options else ""
    return c.iq("set", "<pubsub xmlns='%s'><publish node=%s>%s</publish>%s</pubsub>" % (PUBSUB, quoteattr(node), items, opt), to)


def retract(c, node, ids, to=None, notify=None):
    ids = [ids] if isinstance(ids, str) else ids
    n = " notify='%s'" % notify if notify is not None else ""
    return c.iq("set", "<pubsub xmlns='%s'><retract node=%s%s>%s</retract></pubsub>" % (
        PUBSUB, quoteattr(node), n, "".join("<item id=%s/>" % quoteattr(i) for i in ids)), to)


def items(c, node, to=None, ids=(), rsm="", attrs=""):
    return c.iq("get", "<pubsub xmlns='%s'><items node=%s %s>%s</items>%s</pubsub>" % (
        PUBSUB, quoteattr(node), attrs, "".join("<item id=%s/>" % quoteattr(i) for i in ids), rsm), to)


def item_ids(r):
    return [i.get("id") for i in r.iter("{%s}item" % PUBSUB)]


def subscribe(c, node, to=None, jid=None, options=None):
    opt = "<options>%s</options>" % form(PUBSUB + "#subscribe_options", options) if options else ""
    return c.iq("set", "<pubsub xmlns='%s'><subscribe node=%s jid=%s/>%s</pubsub>" % (
        PUBSUB, quoteattr(node), quoteattr(jid or c.bare), opt), to)


def unsubscribe(c, node, to=None, jid=None):
    return c.iq("set", "<pubsub xmlns='%s'><unsubscribe node=%s jid=%s/></pubsub>" % (
        PUBSUB, quoteattr(node), quoteattr(jid or c.bare)), to)


def create(c, node=None, to=None, config=None):
    conf = "<configure>%s</configure>" % form(PUBSUB + "#node_config", config) if config else ""
    return c.iq("set", "<pubsub xmlns='%s'><create%s/>%s</pubsub>" % (
        PUBSUB, " node=%s" % quoteattr(node) if node else "", conf), to)


def owner(c, type_, inner, to=None):
    return c.iq(type_, "<pubsub xmlns='%s'>%s</pubsub>" % (OWNER, inner), to)


def configure(c, node, config, to=None):
    return owner(c, "set", "<configure node=%s>%s</configure>" % (quoteattr(node), form(PUBSUB + "#node_config", config)), to)


def config(c, node, to=None):
    r = owner(c, "get", "<configure node=%s/>" % quoteattr(node), to)
    assert r.get("type") == "result", xmppc.show(r)
    return fields(next(r.iter("{%s}x" % FORM)))


def affiliate(c, node, who, affiliation, to=None):
    return owner(c, "set", "<affiliations node=%s><affiliation jid=%s affiliation='%s'/></affiliations>" % (
        quoteattr(node), quoteattr(who), affiliation), to)


def condition(e):
    """The pubsub#errors condition of an error, with its feature if it has one."""
    for c in kid(e, "error"):
        if nsof(c) == ERRORS:
            return local(c) if c.get("feature") is None else "%s %s" % (local(c), c.get("feature"))
    return None


def event(node=None, kind="items"):
    """A test for wait(): an event about <node>."""
    def test(e):
        ev = e.find("{%s}event" % EVENT)
        if local(e) != "message" or ev is None or e.get("type") == "error":
            return False
        k = ev.find("{%s}%s" % (EVENT, kind))
        return k is not None and (node is None or k.get("node") == node)
    test.text = "event %s of %s" % (kind, node)
    return test


def event_ids(e):
    return [i.get("id") for i in e.iter("{%s}item" % EVENT)]


def retracted(e):
    return [i.get("id") for i in e.iter("{%s}retract" % EVENT)]


# --- capabilities -----------------------------------------------------------------------------

def caps_ver(features, identity=("client", "pc", "", "test"), algo="sha1", forms=()):
    s = "%s/%s/%s/%s<" % identity + "".join("%s<" % f for f in sorted(features))
    return base64.b64encode(hashlib.new(algo, s.encode()).digest()).decode()


def caps_query(features, node=""):
    return "<query xmlns='%s'%s><identity category='client' type='pc' name='test'/>%s</query>" % (
        DISCO_INFO, " node=%s" % quoteattr(node) if node else "", "".join("<feature var=%s/>" % quoteattr(f) for f in features))


def caps_element(features, algo="sha-1", ver=None):
    ver = ver or caps_ver(features, algo=algo.replace("-", ""))
    return "<c xmlns='%s' hash='%s' node='http://client.test' ver='%s'/>" % (CAPS, algo, ver)


def is_disco(e):
    return local(e) == "iq" and e.get("type") == "get" and kid(e, "query", DISCO_INFO) is not None


def answer_disco(c, features, timeout=None):
    """Wait for the server's question and answer it."""
    q = c.wait(is_disco, timeout)
    node = kid(q, "query", DISCO_INFO).get("node")
    c.send("<iq type='result' id='%s' to='%s'>%s</iq>" % (q.get("id"), q.get("from"), caps_query(features, node)))
    return q


def online(c, nodes, inner=""):
    """Available presence with +notify of <nodes>; a feature of this client alone makes the server ask."""
    features = [DISCO_INFO, "test:" + c.jid] + [n + "+notify" for n in nodes]
    c.presence(inner=caps_element(features) + inner)
    answer_disco(c, features)
    c.sync()
    return features
