"""demo_mail - anna logs in with a stock client, then a mail for her goes through the milter.

The milter is driven as an MTA drives it (the Sendmail milter protocol, version 6, no optional steps), so that
no mail server has to be set up.  Exit status 0 when the chat arrived.
"""
import asyncio
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


VERDICTS = {b"c": "goes on as mail", b"a": "goes on as mail", b"d": "was taken: it is chat now, the MTA drops its copy",
            b"r": "was refused", b"t": "has to be tried again later"}


class Anna(slixmpp.ClientXMPP):
    def __init__(self, jid, password, got):
        super().__init__(jid, password)
        self.got = got
        self.online = asyncio.Event()
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("message", lambda m: self.got.put_nowait(m))
        self.add_event_handler("failed_all_auth", lambda _: self.got.put_nowait(None))
        self.add_event_handler("presence_available", self.presence)

    async def start(self, _):
        await self.get_roster()
        self.send_presence()

    def presence(self, p):
        if p["from"] == self.boundjid:  # our own came back: the server knows that we are here
            self.online.set()


async def main():
    text = " ".join(sys.argv[1:]) or "Lunch at noon?"
    conf = (RUN / "tandem.conf").read_text()
    port = int(re.search(r'Listen "127\.0\.0\.1:(\d+)" \{\}', conf)[1])
    milter = re.search(r'milter_listener \{ Listen "([^"]*)"', conf)[1]
    jid, password = (RUN / "accounts.txt").read_text().splitlines()[0].split("\t")
    got = asyncio.Queue()
    anna = Anna(jid, password, got)
    anna.connect(("127.0.0.1", port), disable_starttls=False)
    await asyncio.wait_for(anna.online.wait(), WAIT)
    print("%s is online." % jid)
    mid = "<%s@client.localhost>" % uuid.uuid4()
    headers = [("From", "Carol <carol@example.org>"), ("To", jid), ("Subject", "Demo"), ("Message-ID", mid),
               ("Date", "Mon, 01 Jan 2029 12:00:00 +0000")]
    print("mail  carol@example.org -> %s: %s" % (jid, text))
    verdict = await asyncio.get_running_loop().run_in_executor(
        None, lambda: Milter(milter).mail("carol@example.org", jid, headers, text + "\n"))
    print("      the mail " + VERDICTS.get(verdict[:1], "was answered %r" % verdict))
    while True:
        m = await asyncio.wait_for(got.get(), WAIT)
        if m is None:
            raise SystemExit("demo-mail: the password in run/accounts.txt was refused")
        if text in m["body"]:
            break
    print("chat  %s -> %s:" % (m["from"], m["to"]))
    for line in m["body"].splitlines():
        print("      | " + line)
    anna.disconnect()
    await anna.disconnected


try:
    asyncio.get_event_loop().run_until_complete(main())
except (asyncio.TimeoutError, OSError) as e:
    sys.exit("demo-mail: %s" % (str(e) or "no answer within %d seconds; see run/tandem.log" % WAIT))
