"""AES-256-GCM-SIV (RFC 8452). AES comes from the library `cryptography`, the rest is here: that library
has the mode only in versions newer than Debian's."""

import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .gf import polyval


def aes(key):
    """The block cipher as a function of whole blocks."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update


def _message_keys(key, nonce):
    block = aes(key)
    halves = [block(struct.pack("<I", n) + nonce)[:8] for n in range(6)]
    return halves[0] + halves[1], b"".join(halves[2:])


def _pad(data):
    return data + bytes(-len(data) % 16)


def _tag(authentication, encryption, nonce, plain, associated):
    lengths = struct.pack("<QQ", 8 * len(associated), 8 * len(plain))
    digest = polyval(authentication, _pad(associated) + _pad(plain) + lengths)
    mixed = bytearray(a ^ b for a, b in zip(digest, nonce + bytes(4)))
    mixed[15] &= 0x7F
    return aes(encryption)(bytes(mixed))


def _keystream(encryption, tag, length):
    block = aes(encryption)
    counter = int.from_bytes(tag[:4], "little")
    rest = tag[4:15] + bytes([tag[15] | 0x80])
    out = b""
    while len(out) < length:
        out += block(struct.pack("<I", counter) + rest)
        counter = (counter + 1) & 0xFFFFFFFF
    return out[:length]


def _xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def seal(key, nonce, plain, associated):
    """The sealed box: ciphertext and a tag of 16 octets."""
    authentication, encryption = _message_keys(key, nonce)
    tag = _tag(authentication, encryption, nonce, plain, associated)
    return _xor(plain, _keystream(encryption, tag, len(plain))) + tag


def open_box(key, nonce, box, associated):
    """The plaintext, or None where the box does not verify."""
    if len(box) < 16:
        return None
    cipher, tag = box[:-16], box[-16:]
    authentication, encryption = _message_keys(key, nonce)
    plain = _xor(cipher, _keystream(encryption, tag, len(cipher)))
    expected = _tag(authentication, encryption, nonce, plain, associated)
    return plain if hmac.compare_digest(tag, expected) else None
