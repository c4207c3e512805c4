"""A program whose TCP begins at a sequence number of its choice (TCP_REPAIR), on a stream of the lab.

Arguments: address, port, way (up or down), length, initial sequence number, canary.
Speaks the protocol of streams.rs: order, octets, digest, half close at both ends.
"""

import hashlib
import socket
import struct
import sys

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
SEND_QUEUE = 2
REPAIR_OFF_WITHOUT_PROBE = -1
BLOCK = 64 << 10
STALL_S = 60


def connect(address, port, isn):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    stream = socket.socket(family, socket.SOCK_STREAM)
    stream.settimeout(STALL_S)
    stream.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    stream.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    stream.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("=I", isn))
    stream.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_WITHOUT_PROBE)
    stream.connect((address, port))
    return stream


def send(stream, length, canary):
    block = bytearray((canary + b" 0123456789abcdef\n") * (BLOCK // len(canary) + 1))[:BLOCK]
    digest, number = hashlib.sha256(), 0
    while length > 0:
        block[:8] = struct.pack(">Q", number)
        part = block[: min(length, BLOCK)]
        digest.update(part)
        stream.sendall(part)
        length -= len(part)
        number += 1
    return digest.digest()


def receive(stream, length, digest):
    rest = b""
    while length > 0:
        part = stream.recv(min(length, BLOCK))
        if not part:
            sys.exit("the stream ended too early")
        if digest is None:
            rest += part
        else:
            digest.update(part)
        length -= len(part)
    return rest


def main():
    address, port, way, length, isn, canary = sys.argv[1:]
    length = int(length)
    stream = connect(address, int(port), int(isn))
    stream.sendall((b"U" if way == "up" else b"D") + struct.pack(">Q", length))
    if way == "up":
        here = send(stream, length, canary.encode())
        stream.shutdown(socket.SHUT_WR)
    else:
        digest = hashlib.sha256()
        receive(stream, length, digest)
        here = digest.digest()
    there = receive(stream, 32, None)
    if stream.recv(1):
        sys.exit("an octet behind the end")
    if here != there:
        sys.exit("the digests of both ends differ")


main()
