"""demo_mail - anna logs in with a stock client, a mail for her goes through the milter, and her answer leaves as mail.

The milter is driven as an MTA drives it (the Sendmail milter protocol, version 6, no optional steps), and mail is
taken at the `submit` of run/tandem.conf, so that no mail server has to be set up.  Exit status 0 when both arrived.
"""
import asyncio
import email
import email.policy
import email.utils
import logging
import re
import socket
import ssl
import struct
import sys
import uuid
from pathlib import Path

logging.disable(logging.CRITICAL)  # slixmpp remarks on its own parts

import slixmpp  # noqa: E402

RUN = Path(__file__).resolve().parents[1] / "run"
WAIT = 20


class Milter:
    """One SMTP session, as the MTA tells it to the milter."""

    def __init__(self, address):
        if address.startswith("/"):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(WAIT)
            self.sock.connect(address)
        else:
            host, port = address.rsplit(":", 1)
            self.sock = socket.create_connection((host.strip("[]"), int(port)), WAIT)
        self.send(b"O", struct.pack(">III", 6, 0x1FF, 0))
        self.reply()

    def send(self, command, data=b""):
        self.sock.sendall(struct.pack(">I", len(data) + 1) + command + data)

    def reply(self):
        """The verdict: skips progress and changes."""
        while True:
            head = self.read(4)
            packet = self.read(struct.unpack(">I", head)[0])
            if packet[:1] not in b"phimbe+-q2":
                return packet

    def read(self, n):
        data = b""
        while len(data) < n:
            got = self.sock.recv(n - len(data))
            if not got:
                raise ConnectionError("the milter hung up")
            data += got
        return data

    def macros(self, command, **values):
        self.send(b"D", command + b"".join(("%s\0%s\0" % kv).encode() for kv in values.items()))

    def step(self, command, data=b""):
        self.send(command, data)
        return self.reply()

    def mail(self, sender, to, headers, body):
        self.step(b"C", b"client.localhost\0004" + struct.pack(">H", 25252) + b"127.0.0.1\0")
        self.step(b"H", b"client.localhost\0")
        self.macros(b"M", i="DEMO" + uuid.uuid4().hex[:8])
        self.step(b"M", b"<%s>\0" % sender.encode())
        verdict = self.step(b"R", b"<%s>\0" % to.encode())
        if verdict[:1] != b"c":
            return verdict
        self.step(b"T")
        for name, value in headers:
            self.step(b"L", ("%s\0%s\0" % (name, value)).encode())
        self.step(b"N")
        self.step(b"B", body.replace("\n", "\r\n").encode())
        return self.step(b"E")


class Submit:
    """The MTA that mail made from chat is handed to: as much SMTP as that needs."""

    def __init__(self):
        self.got = asyncio.Queue()

    async def serve(self, reader, writer):
        writer.write(b"220 demo\r\n")
        while line := await reader.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                self.got.put_nowait(email.message_from_bytes(data[:-3], policy=email.policy.default))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                break
        writer.close()


VERDICTS = {b"c": "goes on as mail", b"a": "goes on as mail", b"d": "was taken: it is chat now, the MTA drops its copy",
            b"r": "was refused", b"t": "has to be tried again later"}


class Anna(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.got = asyncio.Queue()
        self.ready = asyncio.get_running_loop().create_future()
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("message", self.got.put_nowait)
        self.add_event_handler("presence_available", self.presence)
        self.add_event_handler("failed_all_auth", lambda _: self.fail("the password in run/accounts.txt was refused"))
        self.add_event_handler("connection_failed", lambda _: self.fail("the server does not run: make run"))

    async def start(self, _):
        await self.get_roster()
        self.send_presence()

    def presence(self, p):
        if p["from"] == self.boundjid and not self.ready.done():  # our own came back: the server knows that we are here
            self.ready.set_result(True)

    def fail(self, why):
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))


def settings():
    """(port of clients, address of the milter, address of submit) as tools/run.sh writes them."""
    conf = (RUN / "tandem.conf").read_text()
    found = [re.search(r, conf, re.M) for r in (r'Listen "127\.0\.0\.1:(\d+)" \{\}', r'milter_listener \{ Listen "([^"]*)"',
                                                r'submit = "smtp://(127\.0\.0\.1:\d+)"')]
    if not found[0] or not found[1]:
        sys.exit("demo-mail: run/tandem.conf has other listeners than tools/run.sh writes")
    return int(found[0][1]), found[1][1], found[2] and found[2][1]


def show(what, lines):
    print(what)
    for line in lines:
        print("      | " + line)


async def mail_to_chat(anna, milter, text):
    mid = "<%s@client.localhost>" % uuid.uuid4()
    jid = anna.boundjid.bare
    headers = [("From", "Carol <carol@example.org>"), ("To", jid), ("Subject", "Demo"), ("Message-ID", mid),
               ("Date", email.utils.formatdate())]
    print("mail  carol@example.org -> %s: %s" % (jid, text))
    verdict = await asyncio.get_running_loop().run_in_executor(
        None, lambda: Milter(milter).mail("carol@example.org", jid, headers, text + "\n"))
    print("      the mail " + VERDICTS.get(verdict[:1], "was answered %r" % verdict))
    while True:
        m = await asyncio.wait_for(anna.got.get(), WAIT)
        if text in m["body"]:
            break
    show("chat  %s -> %s:" % (m["from"], m["to"]), m["body"].splitlines())
    return m


async def chat_to_mail(anna, chat, submit):
    mta = Submit()
    try:
        server = await asyncio.start_server(mta.serve, *submit.split(":"))
    except OSError:
        print("      (a mail server listens at %s: answers in the chat become mail for it)" % submit)
        return
    text = "Yes, see you then. (%s)" % uuid.uuid4().hex[:6]
    print("chat  %s -> %s: %s" % (chat["to"].bare, chat["from"], text))
    reply = anna.make_message(mto=chat["from"], mbody=text, mtype="chat")
    if chat["thread"]:
        reply["thread"] = chat["thread"]
    reply.send()
    while True:
        m = await asyncio.wait_for(mta.got.get(), WAIT)
        if text in m.get_content():  # not one that waited
            break
    heads = ["%s: %s" % (h, m[h]) for h in ("From", "To", "Subject", "In-Reply-To") if m[h]]
    show("mail  handed to the MTA at %s:" % submit, heads + [""] + m.get_content().splitlines())
    server.close()


async def main():
    text = " ".join(sys.argv[1:]) or "Lunch at noon?"
    port, milter, submit = settings()
    jid, password = (RUN / "accounts.txt").read_text().splitlines()[0].split("\t")
    anna = Anna(jid, password)
    anna.connect(("127.0.0.1", port), disable_starttls=False)
    await asyncio.wait_for(anna.ready, WAIT)
    print("%s is online." % jid)
    chat = await mail_to_chat(anna, milter, text)
    if submit:
        await chat_to_mail(anna, chat, submit)
    anna.disconnect()
    await anna.disconnected


try:
    asyncio.get_event_loop().run_until_complete(main())
except (asyncio.TimeoutError, OSError) as e:
    sys.exit("demo-mail: %s" % (str(e) or "no answer within %d seconds; see run/tandem.log" % WAIT))
