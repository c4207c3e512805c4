"""An independent peer of the Sekisho protocol, version 1, written from docs/spec.md and docs/vectors alone.

module          owns
gf              arithmetic in GF(2^128): GHASH, POLYVAL
siv             AES-256-GCM-SIV (RFC 8452)
fields          length-prefixed fields, device identifiers, services
options         TCP options: ours, and how a list is rewritten (spec, section 2)
protection      sealing and opening of a segment (section 3)
schedule        HKDF labels, keys of an epoch (section 6)
messages        key delivery on the wire (section 4)
kdc             KEY-REQUEST, KEY-REPLY, KEY-REFUSAL, Ccl and Cgw (section 5)
delivery        both ends of a key delivery, without I/O
stream          one direction of a session: offsets, keys
link            packets in and out of an interface, by scapy
craft           packets from descriptions, descriptions from packets
peer            a client agent with its TCP, a gateway with its TCP server
helper          the process: one JSON command a line
"""
