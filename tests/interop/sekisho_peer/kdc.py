"""KDC messages (spec, section 5) as a gateway sends and hears them, and what Ccl and Cgw hold."""

import hmac
import struct

from . import siv
from .fields import join, split, want
from .messages import authenticated
from .schedule import mac, sha256

KEY_REQUEST, KEY_REPLY, KEY_REFUSAL = 1, 2, 3
NONCE = 12


def _message(kind, values):
    return struct.pack(">BBH", 1, kind, 0) + join(values)


def _body(data, kind, count):
    want(len(data) >= 4 and data[:4] == struct.pack(">BBH", 1, kind, 0), "KDC header")
    values, rest = split(data[4:], count)
    want(not rest, "octets behind the last field")
    return values


def key_request(gateway, key, identify, nonce, key_version=1):
    """A KEY-REQUEST for a parsed IDENTIFY."""
    values = [gateway, struct.pack(">I", key_version)]
    values += authenticated(identify.kind, identify.request_id, identify.values)
    values += [identify.values[13], nonce]
    head = _message(KEY_REQUEST, values)
    return head + join([mac(key.auth, head)])


def parse_request(data):
    """The fields of a KEY-REQUEST; raises Malformed."""
    values = _body(data, KEY_REQUEST, 15)
    fixed = {1: 4, 2: 1, 3: 8, 4: 4, 5: 1, 7: 4, 10: 32, 11: 32, 12: 32, 13: 32, 14: 32}
    for at, length in fixed.items():
        want(len(values[at]) == length, "length of a field")
    want(bool(values[8]) == (values[2] == b"\x02"), "IDgw among the ten fields (M5.2)")
    return values


def answer(request, data):
    """What a datagram says to `request`: ("reply", Ccl, Cgw), ("refusal", code, mac) or None where it
    answers another. Nothing is believed yet (M5.5)."""
    want(len(data) >= 2, "truncated")
    if data[1] == KEY_REPLY:
        values = _body(data, KEY_REPLY, 3)
        want(values[1] and values[2], "box absent")
        found = ("reply", values[1], values[2])
    else:
        values = _body(data, KEY_REFUSAL, 3)
        want(len(values[1]) == 2 and len(values[2]) in (0, 32), "length of a field")
        found = ("refusal", struct.unpack(">H", values[1])[0], values[2])
    return found if values[0] == sha256(request) else None


def refusal_verifies(key, data):
    """Whether the HMAC of a KEY-REFUSAL is the KDC's."""
    return hmac.compare_digest(data[-32:], mac(key.auth, data[:-34]))


class SessionGrant:
    """What a Ccl or Cgw holds."""

    def __init__(self, plain):
        values, rest = split(plain, 11)
        want(not rest, "octets behind the last field")
        self.session_key = values[0]
        self.bound = values[1:9]
        (self.lifetime,) = struct.unpack(">I", values[9])
        self.last = values[10]
        want(len(self.session_key) == 32 and self.lifetime > 0, "session key or lifetime")


def open_ccl(key, ccl):
    """The grant of a Ccl, or None."""
    plain = siv.open_box(key.wrap, ccl[:NONCE], ccl[NONCE:], b"")
    return plain and SessionGrant(plain)


def open_cgw(key, request, ccl, cgw):
    """The grant of a Cgw, or None."""
    associated = sha256(request) + sha256(ccl)
    plain = siv.open_box(key.wrap, cgw[:NONCE], cgw[NONCE:], associated)
    return plain and SessionGrant(plain)


def bound_fields(identify, nonce_gateway):
    """What a grant must say of the delivery that it belongs to (M5.6)."""
    values = identify.values
    return [
        identify.request_id, struct.pack(">I", 0), b"\x00",
        values[0], values[3], values[2], values[4], nonce_gateway,
    ]  # fmt: skip
