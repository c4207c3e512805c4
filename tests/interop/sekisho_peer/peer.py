"""A client agent with its TCP client in one, and a gateway with its TCP server in one."""

import os
import socket
import struct
import time

from . import craft, messages, options
from .conn import Conn
from .delivery import ClientDelivery, GatewayDelivery
from .fields import device, service
from .schedule import DeviceKey

PORT = 1088
FIRST_RESEND, LAST_RESEND = 0.2, 3.0


def load_key(path, role):
    """A device key from its file."""
    with open(path, encoding="ascii") as file:
        return DeviceKey(bytes.fromhex(file.read().strip()), role)


def exchange_with_kdc(transport, address, request, limit=3.0):
    """One request to the KDC; its answer. UDP resends the same octets (M5.4)."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + limit
    if transport == "tcp":
        with socket.create_connection((host, int(port)), limit) as stream:
            stream.sendall(struct.pack(">H", len(request)) + request)
            file = stream.makefile("rb")
            return file.read(struct.unpack(">H", file.read(2))[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(0.5)
        while time.monotonic() < deadline:
            datagrams.sendto(request, (host, int(port)))
            try:
                return datagrams.recv(65536)
            except TimeoutError:
                continue
    raise TimeoutError("the KDC is silent")


class AgentPeer:
    """Client agent and TCP client: SYN with Request, key delivery, sealed stream."""

    def __init__(self, path, ports, identity, settings):
        request_id = os.urandom(8)
        self.conn = Conn(path, ports, request_id, client=True)
        self.conn.iss = settings.get("isn", self.conn.iss)
        self.conn.snd_nxt = self.conn.iss + 1
        self.extra_options = bytes.fromhex(settings.get("options", ""))
        self.udp_port = settings.get("udp_port", PORT)
        self.conn.automatic = settings.get("acknowledge", True)
        self.answer_syn_ack = settings.get("answer_syn_ack", True)
        name, key = identity
        target = service(path[2], ports[1])
        option = options.named(options.REQUEST, request_id)
        self.delivery = ClientDelivery(request_id, device(name), key, target, option)
        self.wait, self.due = FIRST_RESEND, time.monotonic() + FIRST_RESEND
        self.syn_due = time.monotonic() + 1
        self.established = False
        self.conn.emit_syn(self.extra_options)
        if settings.get("deliver", True):
            self._send_datagrams(self.delivery.pending)
        else:
            self.delivery.pending = []

    def _send_datagrams(self, datagrams):
        conn = self.conn
        for payload in datagrams:
            spec = dict(conn.common) | {"src": conn.source, "dst": conn.destination}
            spec["udp"] = {"sport": self.udp_port, "dport": PORT, "payload": payload.hex()}
            conn.link.send(craft.build(spec, conn.link.mac, conn.link.default_mac))

    def packet(self, view):
        """Takes a packet if it is ours; whether it was."""
        conn = self.conn
        if view["src"] != conn.destination or view["dst"] != conn.source:
            return False
        if view["kind"] == "udp" and (view["sport"], view["dport"]) == (PORT, self.udp_port):
            data = bytes.fromhex(view["payload"])
            if data[8:16] != conn.request_id:
                return False
            answers = self.delivery.receive(data)
            self._send_datagrams(answers)
            if answers or self.delivery.done:
                self.wait, self.due = FIRST_RESEND, time.monotonic() + FIRST_RESEND
            conn.keys = self.delivery.keys
            self._advance()
            return True
        if view["kind"] != "tcp" or (view["sport"], view["dport"]) != conn.ports[::-1]:
            return False
        if view["flags"] == "SA":
            self._syn_ack(view)
        elif conn.establish() or self._refused(view):
            conn.segment(view)
            if conn.counts["verified"]:
                self.delivery.heard_gateway()
        return True

    def _refused(self, view):
        """A RST before any SYN-ACK: the stream towards us is known by its keys alone."""
        if "R" in view["flags"] and self.conn.keys:
            self.conn.irs = self.conn.rcv_nxt = 0
            return self.conn.establish()
        return False

    def _syn_ack(self, view):
        conn = self.conn
        accept = options.read(bytes.fromhex(view["options"]))
        if accept != ("accept", conn.request_id):
            return
        if conn.irs is None:
            conn.irs, conn.rcv_nxt = view["seq"], (view["seq"] + 1) % 2**32
        self._advance()

    def _advance(self):
        if not self.established and self.conn.establish():
            self.established = True
            if self.answer_syn_ack:
                self.conn.emit("A", self.conn.out.origin)

    def poll(self, now):
        """Resends what is due."""
        if self.delivery.pending and now >= self.due:
            self.wait = min(self.wait * 2, LAST_RESEND)
            self.due = now + self.wait
            self._send_datagrams(self.delivery.pending)
        if self.conn.irs is None and now >= self.syn_due and not self.conn.reset:
            self.syn_due = now + 2
            self.conn.emit_syn(self.extra_options)
        if self.established:
            self.conn.poll(now)


class GatewayPeer:
    """Gateway and TCP server in one: answers SYNs with Request, asks the KDC, serves one response."""

    def __init__(self, path, port, identity, settings):
        self.path, self.port = path, port
        self.identity = (device(identity[0]), identity[1])
        self.kdc = (settings.get("transport", "udp"), settings["kdc"])
        self.response = bytes.fromhex(settings["response"])
        self.cookie_key = os.urandom(32)
        self.sessions = {}
        self.early = {}
        self.refused = 0

    def packet(self, view):
        """Takes a packet if it is for the service; whether it was."""
        if view["dst"] != self.path[1]:
            return False
        if view["kind"] == "udp" and view["dport"] == PORT:
            self._datagram(view)
            return True
        if view["kind"] != "tcp" or view["dport"] != self.port:
            return False
        key = (view["src"], view["sport"])
        if view["flags"] == "S":
            self._syn(key, view)
        elif key in self.sessions:
            self._segment(self.sessions[key], view)
        return True

    def _syn(self, key, view):
        name, request_id = options.read(bytes.fromhex(view["options"]))
        if name != "request":
            self.refused += 1
            return
        if key in self.sessions:
            return
        link, address, _, common = self.path
        conn = Conn((link, address, view["src"], common), (self.port, view["sport"]), request_id, False)
        conn.irs, conn.rcv_nxt = view["seq"], (view["seq"] + 1) % 2**32
        option = options.named(options.REQUEST, request_id)
        syn = ((key, view["seq"]), service(address, self.port), option)
        delivery = GatewayDelivery(self.identity, self.cookie_key, request_id, syn)
        self.sessions[key] = [conn, delivery, b""]
        waiting = self.early.pop(request_id, None)
        if waiting:
            self._answer(self.sessions[key], *waiting)

    def _datagram(self, view):
        data, source = bytes.fromhex(view["payload"]), (view["src"], view["sport"])
        request_id = data[8:16]
        for session in self.sessions.values():
            if session[0].request_id == request_id:
                self._answer(session, data, source)
                return
        if len(self.early) < 64 and data[1:2] == bytes([messages.EARLY]):
            self.early[request_id] = (data, source)

    def _answer(self, session, data, source):
        conn, delivery, _ = session
        answers = delivery.receive(data, source)
        if delivery.ask and not delivery.keys:
            answers += delivery.answered(exchange_with_kdc(*self.kdc, delivery.ask))
            conn.keys = delivery.keys
        link, address, _, common = self.path
        for payload in answers:
            spec = dict(common) | {"src": address, "dst": source[0]}
            spec["udp"] = {"sport": PORT, "dport": source[1], "payload": payload.hex()}
            link.send(craft.build(spec, link.mac, link.default_mac))
        if delivery.keys and conn.establish() and delivery.deliver in answers:
            conn.emit_syn()

    def _segment(self, session, view):
        conn, delivery, _ = session
        if not conn.establish():
            return
        conn.segment(view)
        if conn.counts["verified"]:
            delivery.synchronised = True
        if b"\r\n\r\n" in conn.received and not session[2]:
            session[2] = bytes(conn.received)
            conn.send(self.response, fin=True)

    def poll(self, now):
        """Resends what is due."""
        for conn, delivery, _ in self.sessions.values():
            if delivery.synchronised:
                conn.poll(now)
