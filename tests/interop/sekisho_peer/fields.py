"""Length-prefixed fields (M4.4), device identifiers (M4.6) and services (M4.7)."""

import ipaddress
import re
import struct

NAME = re.compile(rb"[a-z0-9._-]{1,64}\Z")


class Malformed(Exception):
    """A message or a field that the specification does not define."""


def field(value):
    """One field: a u16 length and the octets."""
    return struct.pack(">H", len(value)) + value


def join(values):
    """A sequence of fields."""
    return b"".join(field(value) for value in values)


def split(data, count):
    """Exactly `count` fields from the start of `data`, and what is left."""
    values = []
    for _ in range(count):
        if len(data) < 2:
            raise Malformed("truncated")
        (length,) = struct.unpack(">H", data[:2])
        if len(data) < 2 + length:
            raise Malformed("truncated")
        values.append(data[2 : 2 + length])
        data = data[2 + length :]
    return values, data


def want(condition, what):
    """Raises Malformed unless the condition holds."""
    if not condition:
        raise Malformed(what)


def _plain_ipv6(octets):
    return not octets.startswith(bytes(10) + b"\xff\xff")


def check_device(octets):
    """Refuses what is no device identifier."""
    want(octets, "device identifier absent")
    kind, value = octets[0], octets[1:]
    valid = (
        (kind == 1 and len(value) == 4)
        or (kind == 2 and len(value) == 16 and _plain_ipv6(value))
        or (kind == 3 and len(value) == 6)
        or (kind == 4 and NAME.match(value))
    )
    want(valid, "device identifier")


def check_service(octets):
    """Refuses what is no service."""
    want(octets, "service absent")
    kind, value = octets[0], octets[1:]
    valid = (
        (kind == 1 and len(value) == 6)
        or (kind == 2 and len(value) == 18 and _plain_ipv6(value[:16]))
        or (kind == 3 and NAME.match(value))
    )
    want(valid, "service")


def device(text):
    """The octets of `name:alice`, `ip:10.0.0.1`, `mac:…`."""
    kind, _, value = text.partition(":")
    if kind == "name":
        octets = b"\x04" + value.encode()
    elif kind == "mac":
        octets = b"\x03" + bytes.fromhex(value.replace(":", ""))
    else:
        address = ipaddress.ip_address(value)
        octets = bytes([1 if address.version == 4 else 2]) + address.packed
    check_device(octets)
    return octets


def service(address, port):
    """The octets of an address and a port."""
    address = ipaddress.ip_address(address)
    return bytes([1 if address.version == 4 else 2]) + address.packed + struct.pack(">H", port)
