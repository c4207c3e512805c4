"""Key schedule (spec, section 6): HKDF with SHA-256 and its labels."""

import hashlib
import hmac
import struct

from .fields import field, join

PROTOCOL = b"sekisho/1"


def sha256(data):
    """SHA-256."""
    return hashlib.sha256(data).digest()


def mac(key, data):
    """HMAC-SHA256."""
    return hmac.new(key, data, hashlib.sha256).digest()


def extract(salt, material):
    """HKDF-Extract."""
    return mac(salt, material)


def expand(key, label, length=32):
    """HKDF-Expand."""
    out, block, number = b"", b"", 1
    while len(out) < length:
        block = mac(key, block + label + bytes([number]))
        out, number = out + block, number + 1
    return out[:length]


class DeviceKey:
    """A long-term key, used only through its labels (M6.1)."""

    def __init__(self, key, role):
        root = extract(PROTOCOL, key)
        self.auth = expand(root, f"{role} auth".encode())
        self.wrap = expand(root, f"{role} wrap".encode())


def derived_device_key(master, role, identifier, version):
    """The key of a device that is derived and not registered (M6.2)."""
    label = b"device" + join([role.encode(), identifier, struct.pack(">I", version)])
    return expand(extract(PROTOCOL, master), label)


def transcript(answered, deliver_before_confirm):
    """`th`; `deliver_before_confirm` ends before the length of confirm_g."""
    return sha256(field(PROTOCOL) + field(answered) + field(deliver_before_confirm))


class EpochKeys:
    """All keys of an epoch (section 6.2)."""

    def __init__(self, transcript_hash, session_key, chain=bytes(32), shared=bytes(64)):
        self.transcript = transcript_hash
        root = extract(self.transcript, session_key + shared + chain)
        self.c2s = (expand(root, b"c2s aes"), expand(root, b"c2s ghash", 16))
        self.s2c = (expand(root, b"s2c aes"), expand(root, b"s2c ghash", 16))
        self.confirm_client = mac(expand(root, b"confirm_c"), self.transcript)
        self.confirm_gateway = mac(expand(root, b"confirm_g"), self.transcript)
        self.synced = expand(root, b"synced")
        self.control = expand(root, b"control")
        self.chain = expand(root, b"chain")
        if self.c2s[0] == self.s2c[0] or self.c2s[1] == self.s2c[1]:
            raise ValueError("both directions have the same key (M3.2)")
