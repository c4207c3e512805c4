"""Packets from descriptions and descriptions from packets, both by scapy.

A description is a JSON object: `src`, `dst`, and optionally `vlan` (list of ids), `tos`, `ttl`, `ip_options`
(hex), `extension` (hex of a whole IPv6 header, next header aside), then one of
`tcp` {sport, dport, seq, ack, flags, window, urgptr, options (hex), payload (hex), corrupt (bool)},
`udp` {sport, dport, payload (hex)}, `icmp` {type, code, mtu, quote (hex)}; `fragment` [offset, more] cuts.
"""

import ipaddress
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import checksum

ETHERNET = 14
FLAGS = "FSRPAUECN"


def _transport(spec):
    if "tcp" in spec:
        return _tcp(spec["tcp"])
    if "udp" in spec:
        udp = spec["udp"]
        payload = Raw(bytes.fromhex(udp.get("payload", "")))
        return UDP(sport=udp["sport"], dport=udp["dport"]) / payload
    return _icmp(spec)


def _tcp(tcp):
    options = bytes.fromhex(tcp.get("options", ""))
    layer = TCP(
        sport=tcp["sport"],
        dport=tcp["dport"],
        seq=tcp.get("seq", 0) % 2**32,
        ack=tcp.get("ack", 0) % 2**32,
        flags=tcp.get("flags", "A"),
        reserved=tcp.get("reserved", 0),
        window=tcp.get("window", 65535),
        urgptr=tcp.get("urgptr", 0),
        dataofs=5 + len(options) // 4,
    )
    return layer / Raw(options + bytes.fromhex(tcp.get("payload", "")))


def _icmp(spec):
    icmp = spec["icmp"]
    quote = Raw(bytes.fromhex(icmp["quote"]))
    if ":" not in spec["src"]:
        layer = ICMP(type=icmp["type"], code=icmp["code"])
        if icmp["type"] == 3 and icmp["code"] == 4:
            layer.nexthopmtu = icmp["mtu"]
        return layer / quote
    if icmp["type"] == 2:
        return ICMPv6PacketTooBig(code=icmp["code"], mtu=icmp["mtu"]) / quote
    return ICMPv6DestUnreach(type=icmp["type"], code=icmp["code"]) / quote


def build(spec, mac, default_mac):
    """The octets of a whole frame."""
    if ":" in spec["src"]:
        network = IPv6(
            src=spec["src"], dst=spec["dst"], tc=spec.get("tos", 0), hlim=spec.get("ttl", 64)
        )
    else:
        network = IP(src=spec["src"], dst=spec["dst"], tos=spec.get("tos", 0))
        network.ttl, network.flags = spec.get("ttl", 64), spec.get("ip_flags", "DF")
    packet = bytes(network / _transport(spec))
    packet = _corrupted(packet, spec)
    packet = _with_extras(packet, spec)
    frame = Ether(src=spec.get("smac", mac), dst=spec.get("dmac", default_mac))
    for vlan in spec.get("vlan", []):
        frame = frame / Dot1Q(vlan=vlan)
    kind = IPv6 if packet[0] >> 4 == 6 else IP
    return bytes(frame / kind(packet)) if not spec.get("odd") else _bare(frame, packet, kind)


def _bare(frame, packet, kind):
    """Ethernet before octets that scapy must not dissect and so mend."""
    head = bytearray(bytes(frame))
    head[-2:] = struct.pack(">H", 0x86DD if kind is IPv6 else 0x0800)
    return bytes(head) + packet


def _corrupted(packet, spec):
    if not spec.get("tcp", {}).get("corrupt"):
        return packet
    spec["odd"] = True
    last = bytearray(packet)
    last[-1] ^= 0x20
    return bytes(last)


def _with_extras(packet, spec):
    """IPv4 options, IPv6 extension header, fragmentation: what a finished packet is put through."""
    if "ip_options" in spec:
        options = bytes.fromhex(spec["ip_options"])
        head = bytearray(packet[:20] + options)
        head[0] = 0x40 | len(head) // 4
        head[2:4] = struct.pack(">H", len(packet) + len(options))
        head[10:12] = b"\0\0"
        head[10:12] = struct.pack(">H", checksum(bytes(head)))
        spec["odd"] = True
        return bytes(head) + packet[20:]
    if "extension" in spec:
        kind, body = spec["extension"]
        extension = bytes([packet[6]]) + bytes.fromhex(body)
        head = bytearray(packet[:40])
        head[6] = kind
        head[4:6] = struct.pack(">H", len(packet) - 40 + len(extension))
        spec["odd"] = True
        return bytes(head) + extension + packet[40:]
    if "fragment" in spec:
        spec["odd"] = True
        return _fragment(packet, *spec["fragment"])
    return packet


def _fragment(packet, start, more):
    """The part of a packet's body from `start` on, as a fragment; 64 octets where more follow."""
    if packet[0] >> 4 == 4:
        body = packet[20:][start : start + 64] if more else packet[20:][start:]
        head = bytearray(packet[:20])
        head[2:4] = struct.pack(">H", 20 + len(body))
        head[6:8] = struct.pack(">H", start // 8 | (0x2000 if more else 0))
        head[10:12] = b"\0\0"
        head[10:12] = struct.pack(">H", checksum(bytes(head)))
        return bytes(head) + body
    body = packet[40:][start : start + 64] if more else packet[40:][start:]
    head = IPv6(packet[:40])
    extension = IPv6ExtHdrFragment(nh=packet[6], offset=start // 8, m=int(more), id=0x5E50)
    made = IPv6(src=head.src, dst=head.dst, nh=44, plen=8 + len(body)) / extension / Raw(body)
    return bytes(made)


def describe(frame):
    """What a received frame says, or None where it is neither TCP, UDP nor ICMP over IP. By hand: a
    dissection by scapy costs milliseconds, and bulk transfers pass through here."""
    vlans, at = [], ETHERNET
    while frame[at - 2 : at] in (b"\x81\x00", b"\x88\xa8"):
        vlans.append(struct.unpack(">H", frame[at : at + 2])[0] & 0xFFF)
        at += 4
    packet = frame[at:]
    if frame[at - 2 : at] == b"\x08\x00" and len(packet) >= 20:
        head, end, protocol = 4 * (packet[0] & 15), int.from_bytes(packet[2:4], "big"), packet[9]
        tos, addresses = packet[1], (packet[12:16], packet[16:20])
    elif frame[at - 2 : at] == b"\x86\xdd" and len(packet) >= 40:
        head, end, protocol = 40, 40 + int.from_bytes(packet[4:6], "big"), packet[6]
        tos, addresses = (packet[0] << 4 | packet[1] >> 4) & 0xFF, (packet[8:24], packet[24:40])
    else:
        return None
    source, destination = (str(ipaddress.ip_address(address)) for address in addresses)
    out = {"src": source, "dst": destination, "vlan": vlans, "tos": tos, "frame": frame.hex()}
    out["dmac"], out["smac"] = frame[:6].hex(":"), frame[6:12].hex(":")
    out["ip"] = packet[:end].hex()
    return _describe_transport(out, protocol, packet[head:end])


def _describe_transport(out, protocol, data):
    if protocol == 6 and len(data) >= 20:
        return out | _describe_tcp(out, data)
    if protocol == 17 and len(data) >= 8:
        sport, dport = struct.unpack(">HH", data[:4])
        return out | {"kind": "udp", "sport": sport, "dport": dport, "payload": data[8:].hex()}
    if protocol in (1, 58) and len(data) >= 8:
        mtu = struct.unpack(">I", data[4:8])[0]
        return out | {
            "kind": "icmp", "type": data[0], "code": data[1], "mtu": mtu, "quote": data[8:].hex(),
            "checksum_ok": _checksum_ok(out, protocol, data),
        }  # fmt: skip
    return None


def _describe_tcp(out, data):
    sport, dport, seq, ack, bits, window, _, urgptr = struct.unpack(">HHIIHHHH", data[:20])
    length = 4 * (bits >> 12)
    return {
        "kind": "tcp",
        "sport": sport,
        "dport": dport,
        "seq": seq,
        "ack": ack,
        "flags": "".join(name for at, name in enumerate(FLAGS) if bits >> at & 1),
        "reserved": bits >> 9 & 7,
        "window": window,
        "urgptr": urgptr,
        "options": data[20:length].hex(),
        "payload": data[length:].hex(),
        "checksum_ok": _checksum_ok(out, 6, data),
    }


def _checksum_ok(out, protocol, data):
    if protocol == 1:
        return checksum(data) == 0
    packed = [ipaddress.ip_address(out[name]).packed for name in ("src", "dst")]
    pseudo = b"".join(packed) + struct.pack(">IHBB", len(data), 0, 0, protocol)
    return checksum(pseudo + data) == 0
