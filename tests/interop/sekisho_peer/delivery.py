"""Both ends of a key delivery (spec, sections 4.5 to 4.8), without I/O: octets in, octets out."""

import hmac
import os
import struct
import time

from . import kdc, messages, siv
from .fields import Malformed, join, split
from .schedule import EpochKeys, sha256, transcript

MOST_INVITES = 4
COOKIE_SLOT = 5


class ClientDelivery:
    """The client's end. `pending` is what is resent until the next message arrives (M4.27)."""

    def __init__(self, request_id, device, key, service, option):
        self.request_id, self.device, self.key = request_id, device, key
        self.service, self.option = service, option
        self.answers, self.keys, self.done = {}, None, False
        self.refusals = []
        self.pending = [messages.early(request_id)]

    def receive(self, data):
        """Takes a datagram of the server's address; returns what to send at once."""
        try:
            message = messages.parse(data)
        except Malformed:
            return []
        if message.request_id != self.request_id:
            return []
        handle = {
            messages.INVITE: self._invite,
            messages.DELIVER: self._deliver,
            messages.SYNCED: self._synced,
            messages.REFUSE: self._refuse,
        }.get(message.kind)
        return handle(message) if handle else []

    def _invite(self, message):
        gateway, cookie = message.values[:2]
        if self.keys or len(self.answers) >= MOST_INVITES:
            return []
        if any(messages.parse(known).values[6] == cookie for known in self.answers.values()):
            return []
        identify = messages.identify(
            self.request_id, self.device, self.key, gateway, self.service,
            os.urandom(32), self.option, cookie,
        )  # fmt: skip
        self.answers[sha256(identify)] = identify
        self.pending = [identify]
        return [identify]

    def _deliver(self, message):
        if self.keys:
            return self.pending
        answered = self.answers.get(message.values[0])
        grant = answered and kdc.open_ccl(self.key, message.values[2])
        if not grant or grant.last not in (b"\x01", b"\x02"):
            return []
        identify, nonce = messages.parse(answered), message.values[1]
        if grant.bound != kdc.bound_fields(identify, nonce):
            return []
        before = message.raw[: -34]
        keys = EpochKeys(transcript(answered, before), grant.session_key)
        if not hmac.compare_digest(keys.confirm_gateway, message.values[4]):
            return []
        self.keys = keys
        sync = messages.build(messages.SYNC, self.request_id, [keys.confirm_client])
        self.pending = [sync]
        return [sync]

    def _synced(self, message):
        if self.keys:
            plain = siv.open_box(self.keys.synced, bytes(12), message.values[0], message.raw[:16])
            if plain is not None and split(plain, 2)[1] == b"":
                self.heard_gateway()
        return []

    def _refuse(self, message):
        # A hint ends nothing (M4.17); what it says is for the person.
        self.refusals.append(struct.unpack(">H", message.values[0])[0])
        return []

    def heard_gateway(self):
        """SYNCED, or a first segment whose tag verifies, ends the delivery (M4.31)."""
        self.done, self.pending = True, []


class GatewayDelivery:
    """The gateway's end for one SYN. `ask` is the KEY-REQUEST to send to the KDC."""

    def __init__(self, identity, cookie_key, request_id, syn):
        self.device, self.key = identity
        self.cookie_key, self.request_id, self.syn = cookie_key, request_id, syn
        self.identify = self.ask = self.nonce = self.deliver = self.synced_answer = None
        self.keys, self.synchronised = None, False

    def _cookie_plain(self, source):
        """What a cookie binds (M4.14): `syn` is (4-tuple and ISN, service, request option)."""
        return join([repr(source).encode(), repr(self.syn).encode(), self.request_id, b"\x00"])

    def _cookie(self, source):
        slot = struct.pack(">Q", int(time.monotonic()) // COOKIE_SLOT)
        nonce = os.urandom(12)
        return slot + nonce + siv.seal(self.cookie_key, nonce, self._cookie_plain(source), slot)

    def _cookie_valid(self, cookie, source):
        slot, nonce, box = cookie[:8], cookie[8:20], cookie[20:]
        age = int(time.monotonic()) // COOKIE_SLOT - struct.unpack(">Q", slot.ljust(8, b"\0"))[0]
        plain = siv.open_box(self.cookie_key, nonce, box, slot) if len(cookie) > 20 else None
        return plain == self._cookie_plain(source) and 0 <= age <= 1

    def receive(self, data, source):
        """Takes a datagram; returns what to send to its source."""
        try:
            message = messages.parse(data)
        except Malformed:
            return []
        if message.request_id != self.request_id:
            return []
        if message.kind == messages.EARLY and not self.deliver:
            invite = [self.device, self._cookie(source), b"", b""]
            return [messages.build(messages.INVITE, self.request_id, invite)]
        if message.kind == messages.IDENTIFY:
            return self._identified(message, source)
        if message.kind == messages.SYNC and self.keys:
            return self._sync(message)
        return []

    def _identified(self, message, source):
        if self.identify:
            same = self.identify.raw == message.raw and self.deliver
            return [self.deliver] if same else []
        values = message.values
        if not self._cookie_valid(values[6], source):
            hint = [struct.pack(">H", messages.BAD_COOKIE), b""]
            return [messages.build(messages.REFUSE, self.request_id, hint)]
        if values[3] != self.device or values[2] != self.syn[1] or values[5] != self.syn[2]:
            return []
        self.identify, self.nonce = message, os.urandom(32)
        self.ask = kdc.key_request(self.device, self.key, message, self.nonce)
        return []

    def answered(self, data):
        """Takes the KDC's answer; returns DELIVER once the answer is valid (M5.5, M5.6)."""
        found = kdc.answer(self.ask, data)
        if not found or found[0] != "reply":
            return []
        _, ccl, cgw = found
        grant = kdc.open_cgw(self.key, self.ask, ccl, cgw)
        if not grant or grant.bound != kdc.bound_fields(self.identify, self.nonce):
            return []
        if len(grant.last) not in (0, 32):
            return []
        before = messages.deliver_before_confirm(
            self.request_id, self.identify.raw, self.nonce, ccl
        )
        self.keys = EpochKeys(transcript(self.identify.raw, before), grant.session_key)
        self.deliver = before + join([self.keys.confirm_gateway])
        return [self.deliver]

    def _sync(self, message):
        if not hmac.compare_digest(message.values[0], self.keys.confirm_client):
            return []
        self.synchronised = True
        if not self.synced_answer:
            head = messages.header(messages.SYNCED, self.request_id)
            box = siv.seal(self.keys.synced, bytes(12), join([b"", b""]), head)
            self.synced_answer = head + join([box])
        return [self.synced_answer]
