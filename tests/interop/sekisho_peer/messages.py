"""Key delivery on the wire (spec, section 4)."""

import struct

from .fields import check_device, check_service, join, split, want
from .schedule import mac, sha256

EARLY, INVITE, IDENTIFY, DELIVER, SYNC, SYNCED, REFUSE = range(7)
NEW, REKEY, RESYNC = range(3)
FIELDS = {EARLY: 14, INVITE: 4, IDENTIFY: 14, DELIVER: 5, SYNC: 1, SYNCED: 1, REFUSE: 2}
LEAST_EARLY = 128
LONGEST = 1200
BAD_COOKIE, KDC_UNAVAILABLE, SERVICE_MISMATCH, OPTION_MISMATCH, TIMEOUT = 8, 7, 11, 12, 15


class Message:
    """A parsed message: type, request id, and its fields in order."""

    def __init__(self, kind, request_id, values, raw):
        self.kind, self.request_id, self.values, self.raw = kind, request_id, values, raw


def header(kind, request_id, epoch=0, reason=NEW):
    """The sixteen octets before every body."""
    return struct.pack(">BBBBI", 1, kind, reason, 1, epoch) + request_id


def build(kind, request_id, values):
    """A whole message."""
    return header(kind, request_id) + join(values)


def parse(data):
    """A message that a receiver may act upon; raises Malformed for every other."""
    want(16 <= len(data) <= LONGEST, "length")
    version, kind, reason, parts, epoch = struct.unpack(">BBBBI", data[:8])
    want(version == 1 and kind in FIELDS and parts == 1, "header")
    want(reason == NEW and epoch == 0, "reason or epoch not of this version")
    values, rest = split(data[16:], FIELDS[kind])
    if kind == EARLY:
        want(len(data) >= LEAST_EARLY and not any(rest), "padding of EARLY")
    else:
        want(not rest, "octets behind the last field")
    CHECKS[kind](values)
    return Message(kind, data[8:16], values, data)


def _lengths(values, allowed):
    for value, lengths in zip(values, allowed):
        want(len(value) in lengths, "length of a field")


ABSENT = (0,)


def _check_early(values):
    _lengths(values, [ABSENT] * 14)


def _check_invite(values):
    check_device(values[0])
    _lengths(values[1:], [range(1, 257), ABSENT, ABSENT])


def _check_identify(values):
    check_device(values[0])
    check_service(values[2])
    check_device(values[3])
    _lengths(values[1:2], [(4,)])
    _lengths(values[4:], [(32,), (13,), range(1, 257)] + [ABSENT] * 6 + [(32,)])


def _check_deliver(values):
    _lengths(values, [(32,), (32,), range(1, 601), ABSENT, (32,)])


def _check_sync(values):
    _lengths(values, [(32,)])


def _check_synced(values):
    want(values[0], "box absent")


def _check_refuse(values):
    _lengths(values, [(2,), (0, 32)])


CHECKS = {
    EARLY: _check_early,
    INVITE: _check_invite,
    IDENTIFY: _check_identify,
    DELIVER: _check_deliver,
    SYNC: _check_sync,
    SYNCED: _check_synced,
    REFUSE: _check_refuse,
}


def early(request_id):
    """A bare EARLY."""
    return build(EARLY, request_id, [b""] * 14).ljust(LEAST_EARLY, b"\0")


def authenticated(kind, request_id, values):
    """The ten fields that the authenticator covers (section 4.4), of the fields of an IDENTIFY."""
    rest = sha256(join(values[5:13]))
    return [
        bytes([kind]), request_id, struct.pack(">I", 0), bytes([NEW]),
        values[0], values[1], values[3], values[2], values[4], rest,
    ]  # fmt: skip


def identify(request_id, device, key, gateway, service, nonce, option, cookie, key_version=1):
    """An IDENTIFY under the client's device key."""
    values = [device, struct.pack(">I", key_version), service, gateway, nonce, option, cookie]
    values += [b""] * 6
    proof = mac(key.auth, join(authenticated(IDENTIFY, request_id, values)))
    return build(IDENTIFY, request_id, values + [proof])


def deliver_before_confirm(request_id, answered, nonce, ccl):
    """DELIVER up to the length of its confirm_g."""
    return header(DELIVER, request_id) + join([sha256(answered), nonce, ccl, b""])


def refuse_mac(control, head, code):
    """The MAC of a gateway's REFUSE (M4.10)."""
    return mac(control, b"gateway refuse" + head + struct.pack(">H", code))

