"""Arithmetic in GF(2^128): GHASH (NIST SP 800-38D) and POLYVAL (RFC 8452).

Elements are integers whose most significant bit is the coefficient of x^0, as GCM reads octets. Slow and
plain: a table of sixteen multiples per key, four bits a step.
"""

REDUCTION = 0xE1 << 120


def _times_x(element):
    """The product with x."""
    return (element >> 1) ^ (REDUCTION if element & 1 else 0)


class Hash:
    """A key's multiples; `digest` is GHASH without a length block."""

    def __init__(self, key):
        element = int.from_bytes(key, "big")
        # multiples[n] is the product of the key with the four coefficients in n, x^0 in its top bit.
        self.multiples = [0] * 16
        for bit in (8, 4, 2, 1):
            self.multiples[bit] = element
            element = _times_x(element)
        for n in range(16):
            if n & (n - 1):
                low = n & -n
                self.multiples[n] = self.multiples[low] ^ self.multiples[n ^ low]
        # What the four coefficients that leave at the bottom come back as.
        self.returns = []
        for n in range(16):
            value = n
            for _ in range(4):
                value = _times_x(value)
            self.returns.append(value)

    def times_key(self, element):
        """The product of an element with the key."""
        product = 0
        for _ in range(32):
            product = (product >> 4) ^ self.returns[product & 15]
            product ^= self.multiples[element & 15]
            element >>= 4
        return product

    def digest(self, data):
        """GHASH of `data`, padded with zeros to whole blocks."""
        state = 0
        for at in range(0, len(data), 16):
            block = data[at : at + 16].ljust(16, b"\0")
            state = self.times_key(state ^ int.from_bytes(block, "big"))
        return state.to_bytes(16, "big")


def polyval(key, data):
    """POLYVAL by GHASH (RFC 8452, appendix A); `data` is whole blocks."""
    doubled = _times_x(int.from_bytes(key[::-1], "big")).to_bytes(16, "big")
    turned = b"".join(data[at : at + 16][::-1] for at in range(0, len(data), 16))
    return Hash(doubled).digest(turned)[::-1]
