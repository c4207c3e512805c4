"""The process that a test drives: one JSON command a line on standard input, one JSON answer a line on
standard output. While it waits for a command it goes on taking packets and answering for its peers."""

import collections
import json
import os
import select
import sys
import time

from . import craft
from .link import Link
from .peer import AgentPeer, GatewayPeer, load_key

KEPT = 20_000
TICK = 0.02


class Helper:
    """Links by interface, what they received, and peers by number."""

    def __init__(self):
        self.links, self.queues, self.peers = {}, {}, []

    def pump(self, limit, extra=()):
        """Takes packets for at most `limit` seconds or until one came; the ready files of `extra`."""
        ready, _, _ = select.select([*self.links.values(), *extra], [], [], max(limit, 0))
        for link in self.links.values():
            if link in ready:
                self._take(link)
        now = time.monotonic()
        for peer in self.peers:
            peer.poll(now)
        return [file for file in extra if file in ready]

    def _take(self, link):
        while (frame := link.receive()) is not None:
            view = craft.describe(frame)
            if view is not None:
                self.queues[link.interface].append(view)
                # The newest first: it may have taken an older one's ports.
                any(peer.packet(view) for peer in reversed(self.peers))

    def open(self, interface, mac):
        """Opens an interface; `mac` is where its frames go unless they say otherwise."""
        self.links[interface] = Link(interface, mac)
        self.queues[interface] = collections.deque(maxlen=KEPT)
        return {"mac": self.links[interface].mac}

    def send(self, interface, frames):
        """Sends described frames in one go, built before the first is sent."""
        link = self.links[interface]
        built = [
            bytes.fromhex(spec) if isinstance(spec, str) else craft.build(spec, link.mac, link.default_mac)
            for spec in frames
        ]
        for frame in built:
            link.send(frame)
        return {"frames": [frame.hex() for frame in built]}

    def expect(self, interface, match, ms):
        """The first packet received that has all values of `match`, waiting up to `ms`; earlier ones of
        the same match only."""
        deadline = time.monotonic() + ms / 1000
        while True:
            queue = self.queues[interface]
            for view in queue:
                if all(view.get(name) == value for name, value in match.items()):
                    queue.remove(view)
                    return {"packet": view}
            left = deadline - time.monotonic()
            if left <= 0:
                return {"packet": None}
            self.pump(min(left, TICK))

    def drain(self, interface, match):
        """All packets received that have all values of `match`, removed."""
        self.pump(0)
        queue = self.queues[interface]
        found = [v for v in queue if all(v.get(name) == value for name, value in match.items())]
        self.queues[interface] = collections.deque((v for v in queue if v not in found), KEPT)
        return {"packets": found}

    def _path(self, interface, source, destination, common):
        return (self.links[interface], source, destination, common)

    def agent(self, interface, ends, identity, settings, ms):
        """A client agent that connects; its number once it is established, refused or out of time."""
        (source, sport), (destination, dport) = ends
        path = self._path(interface, source, destination, settings.get("common", {}))
        identity = (identity[0], load_key(identity[1], "client"))
        peer = AgentPeer(path, (sport, dport), identity, settings)
        self.peers.append(peer)
        deadline = time.monotonic() + ms / 1000
        while not peer.established and not peer.conn.reset and time.monotonic() < deadline:
            self.pump(TICK)
        return self.peer(len(self.peers) - 1)

    def established(self, number, ms):
        """Waits until an agent's session is established."""
        deadline = time.monotonic() + ms / 1000
        while not self.peers[number].established and time.monotonic() < deadline:
            self.pump(TICK)
        return self.peer(number)

    def hears(self, number, ms, hex, count=1):
        """Waits until an agent has verified these octets so often since it was last asked."""
        deadline, conn = time.monotonic() + ms / 1000, self.peers[number].conn
        while sum(seen["payload"] == hex for seen in conn.opened) < count:
            if time.monotonic() > deadline:
                return {"heard": False, "opened": conn.opened, **conn.counts}
            self.pump(TICK)
        opened, conn.opened = conn.opened, []
        return {"heard": True, "opened": opened}

    def resegmented(self, number, offset, payload):
        """A sealed segment cut in two on its way, the tag on both, as a segmenting path does it."""
        conn, data = self.peers[number].conn, bytes.fromhex(payload)
        cipher, listed = conn.seal(offset, "PA", data)
        seq, half = conn.out.origin + offset, len(data) // 2
        conn.emit("A", seq % 2**32, listed, cipher[:half])
        conn.emit("PA", (seq + half) % 2**32, listed, cipher[half:])
        return {}

    def gateway(self, interface, service, identity, settings):
        """A gateway and server for one service."""
        path = self._path(interface, service[0], None, settings.get("common", {}))
        identity = (identity[0], load_key(identity[1], "gateway"))
        self.peers.append(GatewayPeer(path, service[1], identity, settings))
        return {"peer": len(self.peers) - 1}

    def peer(self, number):
        """What a peer has seen."""
        self.pump(0)
        peer = self.peers[number]
        if isinstance(peer, GatewayPeer):
            sessions = [
                {"received": got.hex() if got else bytes(conn.received).hex(),
                 "fin": conn.fin_received, "acknowledged": not conn.unacked,
                 "synchronised": delivery.synchronised, **conn.counts}
                for conn, delivery, got in peer.sessions.values()
            ]  # fmt: skip
            return {"sessions": sessions, "refused": peer.refused}
        conn = peer.conn
        return {
            "peer": number, "established": peer.established, "delivered": peer.delivery.done,
            "keyed": conn.keys is not None, "refusals": peer.delivery.refusals,
            "iss": conn.iss, "irs": conn.irs, "rcv_nxt": conn.rcv_nxt, "reset": conn.reset,
            "request_id": conn.request_id.hex(), "fin": conn.fin_received,
            "received": bytes(conn.received).hex(), "opened": conn.opened,
            "acknowledged": not conn.unacked, **conn.counts,
        }  # fmt: skip

    def transmit(self, number, data, fin=False):
        """Sends octets as TCP does: cut, acknowledged, resent."""
        self.peers[number].conn.send(bytes.fromhex(data), fin)
        return {}

    def await_peer(self, number, ms, received=0, fin=False, acknowledged=False):
        """Waits until a peer has received so many octets, a FIN, or acknowledgements of all it sent."""
        conn, deadline = self.peers[number].conn, time.monotonic() + ms / 1000
        while time.monotonic() < deadline:
            enough = len(conn.received) >= received and (conn.fin_received or not fin)
            if enough and not (acknowledged and conn.unacked):
                break
            self.pump(TICK)
        return self.peer(number)

    def sealed(self, number, offset, flags, payload, forge=None, tcp=None):
        """One sealed segment at `offset`; `forge` turns octets over: "tag", "payload", or drops: "untagged";
        `tcp` overrides what is said of the segment after sealing."""
        conn, data = self.peers[number].conn, bytes.fromhex(payload)
        cipher, listed = conn.seal(offset, flags, data)
        if forge == "tag":
            listed = listed[:-1] + bytes([listed[-1] ^ 1])
        if forge == "payload":
            cipher = bytes([cipher[0] ^ 1]) + cipher[1:]
        if forge == "untagged":
            cipher, listed = data, b""
        seq = (conn.out.origin + offset) % 2**32
        tcp = dict(tcp or {})
        listed = bytes.fromhex(tcp.pop("options_before", "")) + listed
        conn.emit(tcp.pop("flags", flags), seq, listed, cipher, **tcp)
        return {"options": listed.hex(), "payload": cipher.hex(), "seq": seq}

    def plain(self, number, flags, seq, tcp=None):
        """One segment of a peer's connection that is not sealed."""
        conn = self.peers[number].conn
        tcp = dict(tcp or {})
        payload = bytes.fromhex(tcp.pop("payload", ""))
        listed = bytes.fromhex(tcp.pop("options", ""))
        conn.emit(flags, seq % 2**32, listed, payload, **tcp)
        return {}

    def acknowledge(self, number, ack):
        """A bare acknowledgement of that sequence number."""
        conn = self.peers[number].conn
        conn.rcv_nxt = ack % 2**32
        conn.emit("A", (conn.out.origin + conn.out.basis) % 2**32)
        return {}

    def sleep(self, ms):
        """Goes on for a while."""
        deadline = time.monotonic() + ms / 1000
        while time.monotonic() < deadline:
            self.pump(TICK)
        return {}

    COMMANDS = (
        "open", "send", "expect", "drain", "agent", "gateway", "peer", "transmit", "await_peer",
        "sealed", "plain", "acknowledge", "sleep", "established", "hears", "resegmented",
    )  # fmt: skip

    def serve(self, line):
        """One command; errors are answers."""
        try:
            command = json.loads(line)
            name = command.pop("op")
            if name not in self.COMMANDS:
                return {"error": f"no command {name}"}
            return getattr(self, name)(**command)
        except Exception as error:  # the caller decides what an error means
            return {"error": f"{type(error).__name__}: {error}"}


def main():
    """Serves commands until standard input ends."""
    helper, pending = Helper(), b""
    while True:
        if helper.pump(TICK, [sys.stdin.fileno()]):
            chunk = os.read(sys.stdin.fileno(), 1 << 20)
            if not chunk:
                return
            pending += chunk
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            sys.stdout.write(json.dumps(helper.serve(line)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
