"""A small user-space TCP whose segments are sealed and opened here: one connection, either end.

It does what interoperation needs: handshake, acknowledgement, retransmission, orderly close. It has no
congestion control and takes data in order only.
"""

import os
import struct
import time

from . import craft, options
from .stream import MODULUS, Stream, protected_flags

MTU = 1500
CHUNK = 1380
WINDOW = 20 * CHUNK
RESEND = 0.4


class Conn:
    """`path` is (link, source, destination, description that every frame shares)."""

    def __init__(self, path, ports, request_id, client):
        self.link, self.source, self.destination, self.common = path
        self.ports, self.request_id, self.client = ports, request_id, client
        self.iss = int.from_bytes(os.urandom(4), "big")
        self.snd_nxt, self.snd_una = (self.iss + 1) % MODULUS, self.iss
        self.irs = self.rcv_nxt = None
        self.out = self.into = None
        self.keys = None
        self.received, self.fin_received, self.reset = bytearray(), False, False
        self.unacked = []
        self.counts = {"verified": 0, "bad_tags": 0, "untagged": 0}
        self.automatic = True
        self.opened = []

    def establish(self):
        """Makes the streams once the keys and both ISNs are known; whether they are."""
        if self.out is None and self.keys and self.irs is not None:
            out, into = (self.keys.c2s, self.keys.s2c)
            if not self.client:
                out, into = into, out
            self.out, self.into = Stream(self.iss, out), Stream(self.irs, into)
        return self.out is not None

    def emit(self, flags, seq, option_list=b"", payload=b"", **tcp):
        """Sends one segment as it is; `ip` in `tcp` goes to the description of the packet."""
        spec = dict(self.common) | tcp.pop("ip", {})
        spec |= {"src": self.source, "dst": self.destination}
        spec["tcp"] = {
            "sport": self.ports[0], "dport": self.ports[1], "flags": flags, "seq": seq,
            "ack": self.rcv_nxt or 0, "options": option_list.hex(), "payload": payload.hex(),
        } | tcp  # fmt: skip
        self.link.send(craft.build(spec, self.link.mac, self.link.default_mac))

    def emit_syn(self, extra=b""):
        """SYN with Request, or SYN-ACK with Accept."""
        kind = options.REQUEST if self.client else options.ACCEPT
        headers = 60 if ":" in self.source else 40
        plain = struct.pack(">BBH", 2, 4, MTU - headers) + extra
        listed = options.rewrite(plain, options.named(kind, self.request_id))
        self.emit("S" if self.client else "SA", self.iss, listed)

    def seal(self, offset, flags, payload, phase=0):
        """(sealed payload, option list with the tag)."""
        cipher, tag = self.out.seal(offset, protected_flags(flags), payload, phase)
        return cipher, options.tag_option(phase, tag)

    def emit_sealed(self, offset, flags, payload, **tcp):
        """Seals and sends a segment at a 64-bit offset."""
        cipher, listed = self.seal(offset, flags, payload)
        self.emit(flags, (self.out.origin + offset) % MODULUS, listed, cipher, **tcp)

    def send(self, data, fin=False):
        """Queues octets, and a FIN behind them; `poll` sends what the window takes."""
        offset = self.out.basis
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            flags = "FPA" if fin and last else "PA"
            length = len(piece) + (1 if "F" in flags else 0)
            if length:
                self.unacked.append([offset, length, flags, piece, 0.0])
            offset += length
        self.out.basis = offset
        self.poll(time.monotonic())

    def poll(self, now):
        """Sends what is due: first sendings within the window, and resendings."""
        if not self.unacked:
            return
        first = self.unacked[0][0]
        for entry in self.unacked:
            offset, length, flags, piece, sent = entry
            if offset + length - first > WINDOW:
                break
            if now - sent > RESEND:
                entry[4] = now
                self.emit_sealed(offset, flags, piece)

    def segment(self, view):
        """Takes a segment of this connection."""
        ack = view["ack"]
        if self.out and "A" in view["flags"]:
            acked = (ack - self.out.origin) % MODULUS
            self.unacked = [entry for entry in self.unacked if self._beyond(entry, acked)]
        payload = bytes.fromhex(view["payload"])
        flags = protected_flags(view["flags"])
        if not payload and not flags:
            return
        name, tag = options.read(bytes.fromhex(view["options"]))
        if name != "tag" or self.into is None:
            self.counts["untagged"] += 1
            return
        found = self.into.open(view["seq"], flags, payload, tag)
        if found is None:
            refused = "R" in view["flags"] and not payload and self.into.opens_refusal(tag)
            self.reset = self.reset or refused
            self.counts["verified" if refused else "bad_tags"] += 1
            return
        self.counts["verified"] += 1
        self.opened.append({"offset": found[0], "payload": found[1].hex(), "flags": view["flags"]})
        self._take(found, view["flags"])

    @staticmethod
    def _beyond(entry, acked):
        distance = (acked - entry[0] - entry[1] + MODULUS // 2) % MODULUS - MODULUS // 2
        return distance < 0

    def _take(self, found, flags):
        offset, plain = found
        at = (self.rcv_nxt - self.into.origin) % MODULUS
        start = offset % MODULUS
        if start <= at <= start + len(plain) and not self.fin_received:
            fresh = plain[at - start :]
            self.received += fresh
            self.rcv_nxt = (self.rcv_nxt + len(fresh)) % MODULUS
            if "F" in flags:
                self.fin_received = True
                self.rcv_nxt = (self.rcv_nxt + 1) % MODULUS
        if "R" in flags:
            self.reset = True
        elif self.automatic:
            self.emit("A", (self.out.origin + self.out.basis) % MODULUS)
