"""Protection of a segment (spec, section 3)."""

import hmac
import struct

from .gf import Hash
from .siv import aes

FIN, RST = 1, 2
ANSWERS_SYN = 2**64 - 1


class SegmentKey:
    """`K` and `H` of one session, epoch and direction."""

    def __init__(self, key, hash_key):
        self.block = aes(key)
        self.hash = Hash(hash_key)

    def tag(self, offset, flags, phase, plain):
        """The synthetic IV (M3.4, M3.5)."""
        associated = struct.pack(">QHBB4x", offset, len(plain), flags, phase)
        digest = bytearray(self.hash.digest(associated + plain))
        digest[0] &= 0x7F
        return self.block(bytes(digest))[:12]

    def keystream(self, offset, tag, length):
        """M3.6."""
        prefix = bytes([tag[0] | 0x80]) + tag[1:]
        count = -(-length // 16)
        blocks = (prefix + struct.pack(">I", (offset + i) % 2**32) for i in range(count))
        return self.block(b"".join(blocks))[:length]

    def seal(self, offset, flags, phase, plain):
        """Ciphertext and tag."""
        tag = self.tag(offset, flags, phase, plain)
        return self._xor(plain, offset, tag), tag

    def open(self, offset, flags, phase, cipher, tag):
        """The plaintext, or None where the tag does not verify (M3.8)."""
        plain = self._xor(cipher, offset, tag)
        expected = self.tag(offset, flags, phase, plain)
        return plain if hmac.compare_digest(tag, expected) else None

    def _xor(self, data, offset, tag):
        stream = self.keystream(offset, tag, len(data))
        return bytes(a ^ b for a, b in zip(data, stream))
