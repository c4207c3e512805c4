"""One direction of a session (spec, section 7): offsets from sequence numbers, sealed and opened."""

from .protection import ANSWERS_SYN, FIN, RST, SegmentKey

MODULUS = 2**32
REACH = 2**30


class Stream:
    """Counts offsets from ISN + 1 and holds the keys of its direction."""

    def __init__(self, isn, keys):
        self.origin = (isn + 1) % MODULUS
        self.key = SegmentKey(*keys)
        self.basis = 0

    def offset(self, seq):
        """The offset nearest to the basis (M7.5), negative ones included; None beyond reach."""
        near = (seq - self.origin - self.basis + MODULUS // 2) % MODULUS - MODULUS // 2
        return self.basis + near if abs(near) <= REACH else None

    def seal(self, offset, flags, plain, phase=0):
        """Ciphertext and tag of a segment at `offset`."""
        return self.key.seal(offset, flags, phase, plain)

    def open(self, seq, flags, cipher, tag):
        """(offset, plaintext) of a verified segment, which moves the basis (M7.9); None otherwise."""
        offset = self.offset(seq)
        if offset is None or offset < 0:
            return None
        phase, tag = tag
        plain = self.key.open(offset, flags, phase, cipher, tag)
        if plain is None:
            return None
        self.basis = max(self.basis, offset + len(plain) + (1 if flags & FIN else 0))
        return offset, plain

    def opens_refusal(self, tag):
        """Whether the tag is that of a RST which answers a SYN (M7.4)."""
        phase, tag = tag
        return self.key.open(ANSWERS_SYN, RST, phase, b"", tag) is not None


def protected_flags(tcp_flags):
    """FIN and RST of a flag string, as the tag covers them."""
    return (FIN if "F" in tcp_flags else 0) | (RST if "R" in tcp_flags else 0)
